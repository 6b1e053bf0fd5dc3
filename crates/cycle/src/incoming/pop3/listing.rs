//! A listing as a cycle needs it: numbers, sizes, and what names each message across sessions.

use std::collections::HashMap;

use mail::pop3::Listed;

/// What the maildrop has, in the server's order. Made once and small: some mailboxes have a hundred thousand messages.
pub(crate) struct Listing {
    /// Number in this session and size.
    messages: Vec<(u32, u64)>,
    /// What names each across sessions.
    item_ids: Vec<String>,
}

impl Listing {
    /// The item ids are unique name, size, and which of several equal ones it is. Servers give one name to two
    /// messages (RFC 1939 section 7 allows it for equal ones), and some use a name again for another.
    pub(super) fn of(listed: &[Listed]) -> Self {
        let mut seen: HashMap<(&str, u64), u32> = HashMap::with_capacity(listed.len());
        let item_ids = listed
            .iter()
            .map(|message| {
                let occurrence = seen.entry((&message.uid, message.size)).or_default();
                *occurrence += 1;
                format!("{}/{}/{occurrence}", message.uid, message.size)
            })
            .collect();
        Self { messages: listed.iter().map(|message| (message.number, message.size)).collect(), item_ids }
    }

    pub(super) fn item_ids(&self) -> &[String] {
        &self.item_ids
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// The message at a place of the listing, as it is asked for, with its item id. Its name is not needed for that.
    pub(super) fn get(&self, place: usize) -> Option<(Listed, &str)> {
        let (number, size) = *self.messages.get(place)?;
        Some((Listed { number, size, uid: String::new() }, self.item_ids.get(place)?))
    }
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
        let listing = Listing::of(&listed);
        assert_eq!(listing.item_ids(), ["a/10/1", "b/10/1", "a/10/2", "a/11/1", "a/10/3"]);
        let (third, item_id) = listing.get(2).unwrap();
        assert_eq!((third.number, third.size, item_id), (3, 10, "a/10/2"));
    }
}
