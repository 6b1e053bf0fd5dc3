//! Folders of a mailbox: how people name one by its path, and which are still there. Rules over what a server listed; nothing
//! here knows a server.

use std::collections::HashMap;

use crate::names::names;

/// Levels of folders at most that are followed: a listing may go round in circles.
const DEPTH: usize = 100;

/// What holds the folders that people threw away.
pub const DELETED_ITEMS: &str = "deleteditems";

/// Where mail comes in.
pub const INBOX: &str = "inbox";

names! {
    /// Why a folder that was chosen to be read is not.
    "folder problem" Problem {
        /// There is none of this name.
        NotFound = "not_found",
        /// It was there once.
        Deleted = "deleted",
        /// The server does not let it be read.
        Refused = "refused",
    }
}

impl Problem {
    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::NotFound => "the mailbox has no folder of this name",
            Self::Deleted => "it was deleted",
            Self::Refused => "the server does not let it be read",
        }
    }
}

/// A folder as a server lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// The server's name for it.
    pub id: String,
    /// What it is in; none, or one that is not listed: at the top.
    pub parent: Option<String>,
    /// Its name for people.
    pub name: String,
    /// What the server itself uses it for, such as [`INBOX`].
    pub role: Option<String>,
}

/// The folders of a mailbox.
pub struct Folders<'a> {
    all: &'a [Folder],
    places: HashMap<&'a str, usize>,
}

impl<'a> Folders<'a> {
    /// Those that a server lists.
    pub fn new(all: &'a [Folder]) -> Self {
        let places = all.iter().enumerate().map(|(place, folder)| (folder.id.as_str(), place)).collect();
        Self { all, places }
    }

    /// The folder of this path below the top, such as `Archive` or `Inbox/Support`, whatever its case. `Inbox` at the beginning
    /// is where mail comes in, whatever that is called in the mailbox's language. A name may hold a slash itself.
    pub fn find(&self, path: &str) -> Option<&'a Folder> {
        let path = path.trim().trim_matches('/').to_lowercase();
        self.below(None, &path, 0).or_else(|| {
            let inbox = self.all.iter().find(|folder| folder.role.as_deref() == Some(INBOX))?;
            match path.strip_prefix(INBOX)? {
                "" => Some(inbox),
                rest => self.below(Some(&inbox.id), rest.strip_prefix('/')?, 0),
            }
        })
    }

    fn below(&self, parent: Option<&str>, path: &str, depth: usize) -> Option<&'a Folder> {
        if depth > DEPTH {
            return None;
        }
        let inside = |folder: &&Folder| match (self.parent(folder), parent) {
            (Some(one), Some(other)) => one.id == other,
            (one, other) => one.is_none() && other.is_none(),
        };
        self.all.iter().filter(inside).find_map(|folder| {
            match path.strip_prefix(&folder.name.to_lowercase()) {
                Some("") => Some(folder),
                Some(rest) if !folder.name.is_empty() => {
                    self.below(Some(&folder.id), rest.strip_prefix('/')?, depth + 1)
                }
                _ => None,
            }
        })
    }

    fn parent(&self, folder: &Folder) -> Option<&'a Folder> {
        Some(&self.all[*self.places.get(folder.parent.as_deref()?)?])
    }

    /// What it is in, from the inside out.
    fn above(&self, folder: &Folder) -> impl Iterator<Item = &'a Folder> {
        std::iter::successors(self.parent(folder), |folder| self.parent(folder)).take(DEPTH)
    }

    /// The folder with this name of the server's.
    pub fn get(&self, id: &str) -> Option<&'a Folder> {
        self.places.get(id).map(|place| &self.all[*place])
    }

    /// Its names from the top.
    pub fn path(&self, folder: &Folder) -> String {
        let mut names: Vec<&str> = self.above(folder).map(|folder| folder.name.as_str()).collect();
        names.reverse();
        names.push(&folder.name);
        names.join("/")
    }

    /// Whether somebody threw it away: it lies among the deleted items.
    pub fn is_thrown_away(&self, folder: &Folder) -> bool {
        self.above(folder).any(|folder| folder.role.as_deref() == Some(DELETED_ITEMS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(id: &str, parent: &str, name: &str, role: &str) -> Folder {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Folder { id: id.to_owned(), parent: some(parent), name: name.to_owned(), role: some(role) }
    }

    fn listed() -> Vec<Folder> {
        vec![
            folder("i", "top", "Posteingang", INBOX),
            folder("s", "i", "Support", ""),
            folder("a", "top", "Archive", ""),
            folder("y", "a", "2026", ""),
            folder("n", "", "In/Out", ""),
            folder("o", "n", "Open", ""),
            folder("d", "top", "Papierkorb", DELETED_ITEMS),
            folder("t", "d", "Archive", ""),
            folder("u", "t", "Old", ""),
        ]
    }

    #[test]
    fn a_folder_is_found_by_its_path_whatever_its_case() {
        let all = listed();
        let folders = Folders::new(&all);
        for (path, expected) in [
            ("archive", Some("a")),
            ("/Archive/2026/", Some("y")),
            ("Posteingang/support", Some("s")),
            ("Inbox/Support", Some("s")),
            ("INBOX", Some("i")),
            ("In/Out", Some("n")),
            ("in/out/open", Some("o")),
            ("Papierkorb/Archive", Some("t")),
            ("2026", None),
            ("Archive/2025", None),
            ("Archiv", None),
            ("Archives", None),
            ("Inboxes", None),
            ("", None),
        ] {
            assert_eq!(folders.find(path).map(|folder| folder.id.as_str()), expected, "{path}");
        }
    }

    #[test]
    fn what_lies_among_the_deleted_items_was_thrown_away() {
        let all = listed();
        let folders = Folders::new(&all);
        for folder in &all {
            let expected = ["t", "u"].contains(&folder.id.as_str());
            assert_eq!(folders.is_thrown_away(folder), expected, "{}", folder.id);
        }
        assert_eq!(folders.path(folders.get("u").unwrap()), "Papierkorb/Archive/Old");
    }

    #[test]
    fn folders_that_go_round_in_circles_end() {
        let all = [folder("a", "b", "A", ""), folder("b", "a", "B", ""), folder("c", "c", "", "")];
        let folders = Folders::new(&all);
        assert_eq!(folders.find("A/B/A"), None);
        assert!(folders.path(&all[0]).len() < 1000);
        assert!(!folders.is_thrown_away(&all[0]));
    }
}
