//! What names a message across sessions.

use std::collections::HashMap;

use mail::pop3::Listed;

/// The item ids of a listing, in its order: unique name, size, and which of several equal ones it is. Servers give
/// one name to two messages (RFC 1939 section 7 allows it for equal ones), and some use a name again for another.
pub(super) fn item_ids(listed: &[Listed]) -> Vec<String> {
    let mut seen: HashMap<(&str, u64), u32> = HashMap::with_capacity(listed.len());
    listed
        .iter()
        .map(|message| {
            let occurrence = seen.entry((&message.uid, message.size)).or_default();
            *occurrence += 1;
            format!("{}/{}/{occurrence}", message.uid, message.size)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_told_apart_by_size_and_then_by_order() {
        let listed = [("a", 10), ("b", 10), ("a", 10), ("a", 11), ("a", 10)];
        let listed: Vec<_> = listed
            .iter()
            .enumerate()
            .map(|(index, (uid, size))| Listed {
                number: u32::try_from(index + 1).unwrap(),
                size: *size,
                uid: (*uid).to_owned(),
            })
            .collect();
        assert_eq!(item_ids(&listed), ["a/10/1", "b/10/1", "a/10/2", "a/11/1", "a/10/3"]);
    }
}
