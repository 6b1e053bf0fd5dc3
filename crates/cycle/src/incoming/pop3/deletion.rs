//! Deleting on the server what is recorded here, for a queue whose mailbox asks for it. Nothing else is ever deleted.
//!
//! A message is deleted only in a session that saw it: one that read it whole and recorded it, or one that recognised
//! it by its header. The intention is committed first; it is repeated each cycle until the server says that it is
//! done.

use std::collections::{HashMap, HashSet};

use mail::pop3::{Expire, Session};
use model::crash::{self, Point};
use store::item;

use super::known::ids;
use super::{Listing, Reading};
use crate::ending::Interrupted;

impl Reading<'_> {
    /// Marks deleted on the server what is recorded here. Takes effect at QUIT. Gives the items that the server took.
    pub(super) async fn delete(
        &self,
        session: &mut Session,
        listing: &Listing,
    ) -> Result<Vec<String>, Interrupted> {
        let mailbox = self.intake.cycle.mailbox.id;
        let here: HashSet<&str> = self.kept_here.iter().map(String::as_str).collect();
        let most = u32::try_from(here.len()).unwrap_or(u32::MAX);
        let most = self.intake.cycle.parts.mail.config().max_items.saturating_add(most);
        let tenant = self.intake.fenced().await?;
        let mut kept = item::kept(&tenant, mailbox, &self.intake.folder, listing.item_ids(), most).await?;
        tenant.commit().await?;
        kept.retain(|known| listing.get(known.index).is_some_and(|(_, id)| !here.contains(id)));
        let (same, others) = self.recognize(session, listing, kept).await?;

        let mut wanted = ids(listing, &same);
        wanted.extend(here);
        let tenant = self.intake.fenced().await?;
        item::set_aside(&tenant, mailbox, &self.intake.folder, &ids(listing, &others)).await?;
        let asked = item::ask_deletion(&tenant, mailbox, &self.intake.folder, &wanted).await?;
        tenant.commit().await?;

        let asked: HashSet<String> = asked.into_iter().collect();
        let mut items: HashMap<u32, String> = (0..listing.len())
            .filter_map(|place| listing.get(place))
            .filter(|(_, id)| asked.contains(*id))
            .map(|(listed, id)| (listed.number, id.to_owned()))
            .collect();
        let mut numbers: Vec<u32> = items.keys().copied().collect();
        numbers.sort_unstable();
        crash::point(Point::DeleBefore);
        let refused = session.dele_many(&numbers).await?;
        crash::point(Point::DeleAfter);
        for (number, error) in &refused {
            tracing::debug!(number, "the server would not delete a message: {error}");
            items.remove(number);
        }
        if !refused.is_empty() {
            tracing::warn!(
                messages = refused.len(),
                "the server would not delete what is recorded; asked again next time"
            );
        }
        Ok(items.into_values().collect())
    }

    /// Writes down that the server deleted these items, by its own word. When this cannot be written, the next listing
    /// says the same.
    pub(super) async fn deleted(&self, items: &[String]) -> Result<(), Interrupted> {
        if items.is_empty() {
            return Ok(());
        }
        let tenant = self.intake.fenced().await?;
        item::deleted(&tenant, self.intake.cycle.mailbox.id, &self.intake.folder, items).await?;
        tenant.commit().await?;
        Ok(())
    }

    /// Whether QUIT deletes nothing but what was asked for. A server that keeps no mail (`EXPIRE 0`) takes it for a
    /// deletion of everything that was retrieved (RFC 2449 section 6.7): then it is said only where all of that may go.
    pub(super) fn may_quit(&self, session: &Session) -> bool {
        let deletes_what_was_read = session.capabilities().expire == Some(Expire::Days(0));
        let may_go = self.intake.cycle.mailbox.delete_after_processing
            && self.kept_here.len() == usize::try_from(self.retrieved).unwrap_or(usize::MAX);
        !deletes_what_was_read || self.retrieved == 0 || may_go
    }
}
