//! Lists of emails, the newest first, a page at a time: a page costs the same however deep it lies.

use model::address::normalize;
use model::automatic::Automatic;
use model::email::{Direction, EmailState};
use model::id::{EmailId, MailboxId};
use model::mailbox::Owner;

use super::read::{add_parties, email};
use super::{COLUMNS, Email, Reader, sees_bcc, visible};
use crate::{Result, Tenant};

/// Which emails to list; what is not given does not narrow.
#[derive(Clone, Default)]
pub struct EmailFilter {
    /// Incoming or outgoing.
    pub direction: Option<Direction>,
    /// In this state.
    pub state: Option<EmailState>,
    /// Of this owner.
    pub owner: Option<Owner>,
    /// Received by or sent from this mailbox.
    pub mailbox: Option<MailboxId>,
    /// With this address among its parties.
    pub address: Option<String>,
    /// With this Message-ID, without angle brackets.
    pub message_id: Option<String>,
    /// With this id of the host application.
    pub external_id: Option<String>,
    /// Of this kind of automatic mail.
    pub automatic: Option<Automatic>,
}

/// Emails that the reader may see, the newest first, before the last of the page before; with their parties, without
/// receipts and bodies.
pub async fn list(
    tenant: &Tenant,
    reader: Reader,
    filter: &EmailFilter,
    before: Option<EmailId>,
    limit: i64,
) -> Result<Vec<Email>> {
    let rows = tenant
        .query(
            &format!(
                "select {COLUMNS} from emails e
                 where ($1::text is null or e.direction = $1) and ($2::text is null or e.state = $2)
                   and ($3::text is null or (e.owner_kind = $3 and e.owner_id = $4::uuid))
                   and ($5::uuid is null or e.mailbox_id = $5 or exists (
                        select from receipts r where r.organization_id = e.organization_id and r.email_id = e.id
                           and r.mailbox_id = $5))
                   and ($6::text is null or e.id in (
                        select p.email_id from email_parties p
                        where p.address_key = $6 and (p.role <> 'bcc' or {})))
                   and ($7::text is null or e.message_id = $7)
                   and ($8::uuid is null or e.id < $8) and {}
                 and ($11::text is null or e.external_id = $11) and ($12::text is null or e.automatic = $12)
                 order by e.id desc limit $10",
                sees_bcc("$9"),
                visible("$9")
            ),
            &[
                &filter.direction.map(Direction::as_str),
                &filter.state.map(EmailState::as_str),
                &filter.owner.map(|owner| owner.kind().as_str()),
                &filter.owner.map(Owner::id),
                &filter.mailbox.map(|id| id.0),
                &filter.address.as_deref().map(normalize),
                &filter.message_id,
                &before.map(|id| id.0),
                &reader.user(),
                &limit,
                &filter.external_id,
                &filter.automatic.map(Automatic::as_str),
            ],
        )
        .await?;
    let mut emails = rows.iter().map(email).collect::<Result<Vec<_>>>()?;
    add_parties(tenant, &mut emails, reader).await?;
    Ok(emails)
}
