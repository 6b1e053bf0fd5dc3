//! One page of changes: what of it is decided from what the listing says, and what must be read.

use std::collections::VecDeque;

use mail::ews::{Item, ItemChange, ItemPage, Session};
use model::accept::{Rule, before_the_floor};
use model::email::Decision;
use serde_json::Value;
use store::alert::Subject;
use store::incoming::{IncomingItem, SearchKeys, Verdict};
use store::item::{self, Arrived, KnownFolders};
use store::{Tenant, alert};

use super::super::intake::{self, Flow, Intake};
use super::{New, Reading};
use crate::ending::Interrupted;
use crate::servers::bare;

/// What is done with an item of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Read as a message.
    Message,
    /// Left to the appointments.
    Meeting,
    /// Nobody's.
    Other,
}

/// What a page says, sorted.
#[derive(Default)]
struct Sorted {
    /// Created or changed.
    there: Vec<Item>,
    /// Left the folder: deleted, or moved to another one.
    left: Vec<String>,
}

impl Reading<'_> {
    /// Takes in a page, and commits the cursor with the last of it.
    pub(super) async fn take_in(
        &mut self,
        session: &mut Session,
        page: ItemPage,
    ) -> Result<Flow, Interrupted> {
        // A poll that finds nothing writes nothing: the server has just taken the state that is committed.
        if page.changes.is_empty() && self.cursor.sync_state.is_some() {
            self.cursor.sync_state = Some(page.state);
            return Ok(Flow::GoOn);
        }
        let Sorted { mut there, left } = sorted(page.changes);
        let names: Vec<String> = there.iter().map(|item| item.id.id.clone()).collect();
        let (mailbox, folder) = (self.intake.cycle.mailbox.id, self.intake.folder.clone());
        let tenant = self.intake.fenced().await?;
        item::left(&tenant, mailbox, &folder, &left).await?;
        let moved = self.moved_here(&tenant, &there).await?;
        let unknown = item::unknown(&tenant, mailbox, &folder, &names, names.len()).await?;
        let back: Vec<&str> = names.iter().map(String::as_str).collect();
        item::came_back(&tenant, mailbox, &folder, &back).await?;
        tenant.commit().await?;
        self.intake.search_keys = search_keys(&mut there);

        self.cursor.sync_state = Some(page.state);
        let mut there: Vec<Option<Item>> = there.into_iter().map(Some).collect();
        let (mut waiting, mut decided) = (VecDeque::new(), Vec::new());
        for unknown in unknown {
            let Some(item) = there.get_mut(unknown.index).and_then(Option::take) else { continue };
            match self.decided_unread(&item) {
                Some(item) => decided.push(item),
                None => waiting.push_back(New {
                    size: item.size.unwrap_or(0),
                    received_at: item.received,
                    id: item.id,
                    deaths: unknown.deaths,
                }),
            }
        }
        tracing::debug!(
            listed = there.len(),
            new = waiting.len(),
            decided = decided.len(),
            moved,
            "a page of changes"
        );
        let cursor = self.cursor.value();
        self.read(session, &mut waiting, decided, Some(cursor)).await
    }

    /// What appears under a new name and is known keeps its row: what moved is not read again.
    async fn moved_here(&self, tenant: &Tenant, there: &[Item]) -> Result<usize, Interrupted> {
        let arrived: Vec<Arrived<'_>> = there
            .iter()
            .map(|item| Arrived {
                item_id: &item.id.id,
                search_key: item.search_key.as_deref().filter(|key| is_kept(key)),
                message_id: item.message_id.as_deref().map(bare),
                size: item.size.unwrap_or(0),
                received_at: item.received,
            })
            .collect();
        let Intake { cycle, folder, .. } = &self.intake;
        let within = cycle.mailbox.within();
        let known = KnownFolders { within: &within, listed: &self.listed };
        let moved = item::moved_here(tenant, cycle.mailbox.id, folder, &arrived, known).await?;
        let mailbox = Subject::Mailbox(cycle.mailbox.id);
        for (before, after) in &moved.told {
            alert::renamed(tenant, &intake::OF_AN_ITEM, mailbox, before, after).await?;
        }
        Ok(moved.all)
    }

    /// Reads what waits, batch after batch. The last one is committed with the cursor, and so is what was decided already.
    pub(super) async fn read(
        &mut self,
        session: &mut Session,
        waiting: &mut VecDeque<New>,
        mut decided: Vec<IncomingItem>,
        cursor: Option<Value>,
    ) -> Result<Flow, Interrupted> {
        while !waiting.is_empty() {
            match self.next_batch(session, waiting, std::mem::take(&mut decided), cursor.as_ref()).await? {
                Flow::GoOn if waiting.is_empty() => return Ok(Flow::GoOn),
                Flow::GoOn => {}
                over => return Ok(over),
            }
            let over = tokio::time::Instant::now() >= self.intake.until;
            if over || self.intake.cycle.parts.drain.is_cancelled() {
                return Ok(Flow::Full);
            }
        }
        if !decided.is_empty() || cursor.is_some() {
            let tenant = self.intake.fenced_for_batch().await?;
            self.intake.commit(tenant, decided, cursor).await?;
        }
        Ok(Flow::GoOn)
    }

    /// What can be decided without reading it: its class, its age, its size.
    fn decided_unread(&self, item: &Item) -> Option<IncomingItem> {
        let mailbox = &self.intake.cycle.mailbox;
        let size = item.size.unwrap_or(0);
        let (decision, rule) = match kind(item.class.as_deref()) {
            Kind::Meeting => (Decision::IgnoredClass, Rule::Meeting),
            Kind::Other => (Decision::IgnoredClass, Rule::ItemClass),
            Kind::Message if before_the_floor(item.received, mailbox.floor) => {
                (Decision::BeforeTheFloor, Rule::Floor)
            }
            // An item is larger than the message it is read as, by its properties and by what is kept beside it.
            Kind::Message if size / 2 > mailbox.max_message_bytes => (Decision::TooLarge, Rule::Size),
            Kind::Message => return None,
        };
        Some(IncomingItem {
            item_id: item.id.id.clone(),
            size,
            received_at: item.received,
            message_id: item.message_id.as_deref().map(|id| bare(id).to_owned()),
            rule: rule.to_string(),
            verdict: Verdict::Skip(decision),
        })
    }
}

/// What the rows of a page's items keep beside what is decided.
fn search_keys(there: &mut [Item]) -> SearchKeys {
    let keys = there.iter_mut().filter_map(|item| {
        let key = item.search_key.take().filter(|key| is_kept(key))?;
        Some((item.id.id.clone(), key))
    });
    keys.collect()
}

fn is_kept(key: &[u8]) -> bool {
    (1..=item::SEARCH_KEY).contains(&key.len())
}

/// A page may name one item more than once; the last word counts.
fn sorted(changes: Vec<ItemChange>) -> Sorted {
    let mut sorted = Sorted::default();
    for change in changes {
        match change {
            ItemChange::Created(item) | ItemChange::Updated(item) => {
                sorted.left.retain(|id| *id != item.id.id);
                sorted.there.retain(|other| other.id.id != item.id.id);
                sorted.there.push(item);
            }
            ItemChange::Deleted(id) => {
                sorted.there.retain(|item| item.id.id != id.id);
                sorted.left.push(id.id);
            }
            // Read flags are nobody's business here, and are never changed.
            ItemChange::ReadFlag { .. } => {}
        }
    }
    sorted
}

/// By the message class (\[MS-OXCMSG\] section 2.2.1.3, \[MS-OXCMAIL\] section 2.2.3.2): names in them are compared without
/// their case. An item without one is read: losing mail is worse than looking at something else.
fn kind(class: Option<&str>) -> Kind {
    let Some(class) = class.filter(|class| !class.is_empty()) else { return Kind::Message };
    let class = class.to_ascii_uppercase();
    let is = |family: &str| {
        class.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if is("IPM.SCHEDULE.MEETING") {
        Kind::Meeting
    } else if is("IPM.NOTE") || is("REPORT") || class == "IPM" {
        Kind::Message
    } else {
        Kind::Other
    }
}

#[cfg(test)]
mod tests {
    use mail::ews::ItemId;

    use super::*;

    #[test]
    fn the_class_decides_what_is_read() {
        for (class, expected) in [
            (None, Kind::Message),
            (Some(""), Kind::Message),
            (Some("IPM.Note"), Kind::Message),
            (Some("ipm.note"), Kind::Message),
            (Some("IPM.Note.SMIME"), Kind::Message),
            (Some("IPM.Note.SMIME.MultipartSigned"), Kind::Message),
            (Some("REPORT.IPM.Note.NDR"), Kind::Message),
            (Some("IPM.Schedule.Meeting.Request"), Kind::Meeting),
            (Some("IPM.Schedule.Meeting.Resp.Pos"), Kind::Meeting),
            (Some("IPM.Notebook"), Kind::Other),
            (Some("IPM.Contact"), Kind::Other),
            (Some("IPM.Post"), Kind::Other),
        ] {
            assert_eq!(kind(class), expected, "{class:?}");
        }
    }

    #[test]
    fn of_an_item_that_is_named_twice_the_last_word_counts() {
        let item = |id: &str| Item {
            id: ItemId { id: id.to_owned(), change_key: None },
            parent: None,
            class: None,
            received: None,
            size: None,
            message_id: None,
            search_key: None,
            send_id: None,
            read: None,
        };
        let gone = |id: &str| ItemChange::Deleted(ItemId { id: id.to_owned(), change_key: None });
        let sorted = sorted(vec![
            ItemChange::Created(item("a")),
            ItemChange::Created(item("b")),
            ItemChange::Created(item("b")),
            gone("a"),
            gone("c"),
            ItemChange::Updated(item("c")),
        ]);
        let there: Vec<&str> = sorted.there.iter().map(|item| item.id.id.as_str()).collect();
        assert_eq!((there, sorted.left), (vec!["b", "c"], vec!["a".to_owned()]));
    }
}
