//! Which mailbox got which copy, and whose it was then: a mailbox may move or go, and its receipts stay with whoever got
//! them. A receipt never adds a party: those come from headers only.

use std::collections::{HashMap, HashSet};

use super::{CopyOf, EmailOf, IncomingBatch, Open};
use crate::{Result, Tenant};

/// Writes the receipts of the open items; says for each place whether it is the mailbox's first of that copy.
pub(super) async fn write(
    tenant: &Tenant,
    batch: &IncomingBatch<'_>,
    open: &[Open<'_>],
    emails: &[EmailOf],
    copies: &[CopyOf],
) -> Result<HashMap<usize, bool>> {
    let email_ids: Vec<_> = emails.iter().map(|email| email.id.0).collect();
    let copy_ids: Vec<_> = copies.iter().map(|copy| copy.id.0).collect();
    let headers: Vec<_> =
        open.iter().zip(copies).map(|(one, copy)| (!copy.raw).then(|| one.message.raw.header())).collect();
    let received: Vec<_> = open.iter().map(|one| one.item.received_at).collect();
    let rows = tenant
        .query(
            "insert into receipts (organization_id, email_id, mailbox_id, copy_id, received_at, owner_kind, owner_id, header)
             select distinct on (e, c) current_organization(), e, m.id, c, r,
                    case when m.user_id is not null then 'user' when m.queue_id is not null then 'queue' end,
                    coalesce(m.user_id, m.queue_id), h
             from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $5::bytea[]) with ordinality as u(e, c, r, h, place)
             join mailboxes m on m.id = $4::uuid
             order by e, c, place
             on conflict do nothing returning copy_id",
            &[&email_ids, &copy_ids, &received, &batch.mailbox.0, &headers],
        )
        .await?;
    let mut new = HashSet::new();
    for row in &rows {
        new.insert(row.try_get::<_, uuid::Uuid>(0)?);
    }
    // The first of several items with one copy is the recorded one.
    Ok(open.iter().zip(copies).map(|(one, copy)| (one.place, new.remove(&copy.id.0))).collect())
}
