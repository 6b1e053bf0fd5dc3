//! Mailboxes that are kept in a file are there at the next start, under the same ids.

use std::path::PathBuf;

use exchange::{Exchange, Options};

use crate::wire::{anna, ask};

const MESSAGE: &[u8] =
    b"From: bert@example.net\r\nTo: anna@example.org\r\nSubject: Kept\r\n\r\nHello \xff\x00\r\n";

/// A file of this test alone, removed when the test ends.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("lockstep-exchange-{}-{name}", std::process::id())))
    }

    fn options(&self) -> Options {
        Options { data: Some(self.0.clone()), ..Options::default() }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

fn changes(state: &str) -> String {
    format!(
        "<m:SyncFolderItems><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:SyncFolderId>\
         <t:DistinguishedFolderId Id=\"inbox\"/></m:SyncFolderId>{state}<m:MaxChangesReturned>10</m:MaxChangesReturned>\
         </m:SyncFolderItems>"
    )
}

fn state_of(answer: &str) -> String {
    let begin = answer.find("<m:SyncState>").unwrap();
    let end = answer.find("</m:SyncState>").unwrap() + "</m:SyncState>".len();
    answer[begin..end].to_owned()
}

#[tokio::test]
async fn what_is_in_a_mailbox_outlives_its_server_and_so_do_ids_and_states() {
    let file = File::new("outlives");
    let first = anna(file.options()).await;
    first.add_alias("anna@example.org", "ann@example.org");
    first.deliver("anna@example.org", MESSAGE);
    first.put("anna@example.org", "drafts", MESSAGE, model::clock::now(), true);
    let before = (first.folder("anna@example.org", "inbox"), first.folder("anna@example.org", "drafts"));
    let state = state_of(&ask(&first, &changes("")).await);
    drop(first);

    let second = anna(file.options()).await;
    let after = (second.folder("anna@example.org", "inbox"), second.folder("anna@example.org", "drafts"));
    assert_eq!(after, before);
    let nothing = ask(&second, &changes(&state)).await;
    assert!(nothing.contains("NoError") && !nothing.contains("<t:Create>"), "{nothing}");
    second.deliver("ann@example.org", MESSAGE);
    let one = ask(&second, &changes(&state)).await;
    assert_eq!(one.matches("<t:Create>").count(), 1, "{one}");
}

#[tokio::test]
async fn changes_are_written_soon_and_a_file_that_is_none_is_refused() {
    let file = File::new("soon");
    let running = anna(file.options()).await;
    running.deliver("anna@example.org", MESSAGE);
    // A server that dies saves nothing more; another one reads a copy of what this one had written by itself.
    let copied = File::new("copied");
    for tried in 0.. {
        let kept = std::fs::copy(&file.0, &copied.0).is_ok_and(|_| {
            let seen = Exchange::try_start(copied.options()).unwrap();
            seen.add_mailbox("anna@example.org", "Anna", "secret");
            seen.folder("anna@example.org", "inbox").len() == 1
        });
        if kept {
            break;
        }
        assert!(tried < 200, "it was never written");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    std::fs::write(&file.0, b"no mailboxes").unwrap();
    let Err(error) = Exchange::try_start(file.options()) else { panic!("it is taken for mailboxes") };
    assert!(error.to_string().contains("cannot read the mailboxes in"), "{error}");
}
