//! Messages that were decided about before and are there again: whether they still are what they were.
//!
//! A unique id lasts as long as its message and no longer (RFC 1939 section 7). What was gone, and what is to be
//! deleted, is therefore looked at by its header before its row is believed.

use mail::mime;
use mail::pop3::{Fetched, Listed, Session};
use model::email::Decision;
use store::item::{self, Known};

use super::batch::HEADER_BYTES;
use super::{Listing, Reading};
use crate::ending::Interrupted;

impl Reading<'_> {
    /// Looks at messages that were gone and are listed again, as many as a cycle may have; the others stay gone until
    /// their turn comes. What is another message by the same name is new from now on.
    pub(super) async fn meet_again(
        &self,
        session: &mut Session,
        listing: &Listing,
    ) -> Result<(), Interrupted> {
        let (mailbox, most) = (self.intake.cycle.mailbox.id, self.intake.cycle.parts.mail.config().max_items);
        let tenant = self.intake.fenced().await?;
        let back = item::back(&tenant, mailbox, &self.intake.folder, listing.item_ids(), most).await?;
        tenant.commit().await?;
        let (same, others) = self.recognize(session, listing, back).await?;
        let tenant = self.intake.fenced().await?;
        item::came_back(&tenant, mailbox, &self.intake.folder, &ids(listing, &same)).await?;
        item::set_aside(&tenant, mailbox, &self.intake.folder, &ids(listing, &others)).await?;
        tenant.commit().await?;
        Ok(())
    }

    /// Places of the listing that are what was known by their names, and places that are something else or cannot be
    /// told: the same message was received at the same time. What failed before is read again anyway.
    pub(super) async fn recognize(
        &self,
        session: &mut Session,
        listing: &Listing,
        known: Vec<Known>,
    ) -> Result<(Vec<usize>, Vec<usize>), Interrupted> {
        let (failed, known): (Vec<Known>, Vec<Known>) =
            known.into_iter().partition(|known| known.decision == Decision::Failed);
        let mut same: Vec<usize> = failed.iter().map(|known| known.index).collect();
        let mut others = Vec::new();
        if !session.capabilities().top {
            return Ok((same, known.iter().map(|known| known.index).collect()));
        }
        let wanted: Vec<Listed> =
            known.iter().filter_map(|known| Some(listing.get(known.index)?.0)).collect();
        let window = self.window();
        let mut headers = session.top_many(&wanted, 0, window, HEADER_BYTES);
        for known in known {
            let received_at = match headers.next().await? {
                Some((_, Fetched::Whole(header))) => {
                    let header = mime::parse(&header, &mime::Limits::default());
                    header.received.or(header.date)
                }
                Some((_, Fetched::TooLarge | Fetched::Refused(_))) | None => None,
            };
            let recognized = received_at.is_some() && received_at == known.received_at;
            if recognized { &mut same } else { &mut others }.push(known.index);
        }
        Ok((same, others))
    }
}

/// The item ids at these places of the listing.
pub(super) fn ids<'a>(listing: &'a Listing, places: &[usize]) -> Vec<&'a str> {
    places.iter().filter_map(|place| Some(listing.get(*place)?.1)).collect()
}
