//! Sending without sending twice: drafts, send requests, attempts and their answers. `Sending` is committed before a
//! message leaves, an answer is written down whoever brings it, and what is in doubt waits for a person.

mod age;
mod answer;
mod attempt;
mod cycle;
mod doubt;
mod draft;
mod found;
mod laid_down;
mod permission;
pub mod report;
mod request;
mod state;
mod turn;
mod waiting;
mod withdraw;

pub use age::{TOLD_AFTER, age, held_up};
pub use answer::{Answer, Answered, RecipientAnswer, record_answer};
pub use attempt::{Attempt, DueRecipient, FILES_AT_ONCE, StoredFile, begin_attempt};
pub use cycle::{InDoubt, Pending, earliest_next_try, expire, next_pending, recover, waiting_since};
pub use doubt::{Resolution, resolve_unknown};
pub use draft::{Draft, StoredAttachment, add_attachment, attach, create, delete, remove_attachment, update};
pub use found::{Doubtful, in_doubt, record_found, renamed};
pub use laid_down::{
    ASKED_FOR, Left, ask_for, goes_by_draft, laid_down, leaves, left, removed, tell_in_doubt,
};
pub use permission::may_send_from;
pub use request::{Request, cancel, request_send};
pub use state::{AttemptState, RecipientReport, RecipientStatus, SendState, earlier, state_of};
pub use turn::{Next, Turn, Turned, turn_together};
pub use waiting::{Backlog, ProfileBacklog, backlog, backlog_by_profile};
pub(crate) use withdraw::{withdraw_from, withdraw_of};

use model::email::EmailState;
use model::id::{EmailId, MailboxId};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::refusal::{Refusal, check_version};
use crate::row::named;
use crate::{Error, Result, Tenant};

/// An outgoing email whose row this transaction holds.
struct Held {
    id: EmailId,
    state: EmailState,
    mailbox: Option<MailboxId>,
    version: i64,
}

async fn hold(tenant: &Tenant, id: EmailId, expected: Option<i64>) -> Result<Held> {
    let row: Row = tenant
        .query_opt(
            "select state, mailbox_id, version from emails where id = $1 and direction = 'outgoing' for no key update",
            &[&id.0],
        )
        .await?
        .ok_or(Refusal::Unknown { what: "email", field: "id" })?;
    let held = held(id, &row)?;
    check_version("email", expected, held.version)?;
    Ok(held)
}

/// An email as the statement found it that holds its row.
fn held(id: EmailId, row: &Row) -> Result<Held> {
    let mailbox: Option<uuid::Uuid> = row.try_get("mailbox_id")?;
    let (state, version) = (named(row, "state")?, row.try_get("version")?);
    Ok(Held { id, state, mailbox: mailbox.map(MailboxId), version })
}

/// Moves a held email on; returns its new version.
async fn set_state(
    tenant: &Tenant,
    held: &Held,
    state: EmailState,
    by: &crate::change::Author,
) -> Result<i64> {
    set_state_with(tenant, held, state, crate::change::Fields::new(), by).await
}

/// The same, where the change says more than where the email stands.
async fn set_state_with(
    tenant: &Tenant,
    held: &Held,
    state: EmailState,
    fields: crate::change::Fields,
    by: &crate::change::Author,
) -> Result<i64> {
    // Its row is held, so the next version is known, and both are written in one round trip.
    let version = held.version + 1;
    let name = by.name();
    let parameters: [&(dyn ToSql + Sync); 4] = [&held.id.0, &state.as_str(), &name, &version];
    let moved = tenant.execute(
        "update emails set state = $2, version = $4::bigint, modified_at = now(), modified_by = $3,
             sent_at = case when $2 = 'sent' then coalesce(sent_at, now()) else sent_at end
         where id = $1 and version = $4::bigint - 1",
        &parameters,
    );
    let fields = fields.changed("state", &held.state, &state);
    let change = crate::change::Change { record_type: "email", id: held.id.0, version, by, fields };
    let (moved, ()) = tokio::try_join!(moved, crate::change::write(tenant, change))?;
    if moved != 1 {
        return Err(Error::Broken("an email that was held has another version".to_owned()));
    }
    Ok(version)
}

/// Ends the open request once nobody waits any more, and moves the email to where its recipients put it: those of the
/// request, and whoever has got it by an earlier one.
async fn settle(tenant: &Tenant, held: &Held, by: &crate::change::Author) -> Result<EmailState> {
    let state = end_request(tenant, held).await?;
    if state != held.state {
        set_state(tenant, held, state, by).await?;
    }
    Ok(state)
}

/// Ends the open request once nobody waits any more; where its recipients put the email.
async fn end_request(tenant: &Tenant, held: &Held) -> Result<EmailState> {
    // Taken back while a try was under way: whom that try did not reach is not tried again.
    let rows = tenant
        .query(
            "with canceled as (
                 update send_recipients rc set state = 'canceled' from send_requests r
                 where r.email_id = $1 and r.ended_at is null and r.canceled_at is not null
                   and r.organization_id = rc.organization_id and r.id = rc.send_request_id
                   and rc.state in ('waiting', 'deferred')
                 returning rc.send_request_id, rc.position, rc.state)
             select coalesce(c.state, rc.state) as state from send_recipients rc
             join send_requests r on r.organization_id = rc.organization_id and r.id = rc.send_request_id
             left join canceled c on c.send_request_id = rc.send_request_id and c.position = rc.position
             where r.email_id = $1 and (r.ended_at is null or rc.state in ('accepted', 'delayed'))",
            &[&held.id.0],
        )
        .await?;
    let recipients = rows.iter().map(|row| named(row, "state")).collect::<Result<Vec<_>>>()?;
    let state = model::email::settled(recipients);
    if state != EmailState::PendingSend {
        tenant
            .execute(
                "update send_requests set ended_at = now() where email_id = $1 and ended_at is null",
                &[&held.id.0],
            )
            .await?;
    }
    Ok(state)
}
