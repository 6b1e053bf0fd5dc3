//! Groups of header-like fields, as a delivery-status part has them (RFC 3464 section 2.1). Never decodes a value.

/// The fields of one group, names in lower case, folded values in one line.
#[derive(Debug, Default)]
pub(super) struct Group(Vec<(String, String)>);

/// How many fields of a part are read.
const FIELDS: usize = 10_000;

impl Group {
    /// The first field of this lower-case name, without comments where they begin the value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The groups of a part, parted by empty lines. A line that is no field and continues none is passed over.
pub(super) fn groups(bytes: &[u8]) -> Vec<Group> {
    let text = String::from_utf8_lossy(bytes);
    let mut groups = Vec::new();
    let mut group = Group::default();
    for line in text.lines().take(FIELDS) {
        let line = line.trim_end();
        if line.is_empty() {
            if !group.is_empty() {
                groups.push(std::mem::take(&mut group));
            }
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = group.0.last_mut() {
                value.push(' ');
                value.push_str(line.trim_start());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.trim_end().to_ascii_lowercase();
            if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) {
                group.0.push((name, value.trim().to_owned()));
            }
        }
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}
