//! Tries that go in two steps: laid down at the server as a draft, and sent from there. Until the draft's id is committed nothing
//! can have left; from then on only the server knows. What a try leaves behind there is written down until it is removed, and
//! nothing is removed before the try's end is committed.

use std::collections::HashSet;
use std::time::Duration;

use model::alert::AlertKind;
use model::email::{EmailState, Leftover};
use model::id::{AttemptId, EmailId, MailboxId};
use serde_json::json;

use crate::alert::{self, NewAlert, Subject};
use crate::row::named;
use crate::{Result, Tenant};

/// How long a server is asked what became of a try before a person is (design section 6).
pub const ASKED_FOR: Duration = Duration::from_secs(120);

/// What a try that has ended may have left at the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Which try: its name at the server.
    pub attempt: AttemptId,
    /// What.
    pub what: Leftover,
    /// How long ago its end was written down.
    pub since: Duration,
}

/// Marks a try that has just begun as one of two steps, in the transaction that begins it.
pub async fn goes_by_draft(tenant: &Tenant, attempt: AttemptId) -> Result<()> {
    tenant.execute("update send_attempts set by_draft = true where id = $1", &[&attempt.0]).await?;
    Ok(())
}

/// Keeps the id of the draft that a try has laid down; false when the try has ended meanwhile. The caller holds the fence of the
/// claim, and commits before the server is told to send: whoever claims later knows by it what may have left.
pub async fn laid_down(tenant: &Tenant, attempt: AttemptId, draft: &str) -> Result<bool> {
    let kept = tenant
        .execute(
            "update send_attempts set draft_id = $2 where id = $1 and by_draft and answered_at is null",
            &[&attempt.0, &draft],
        )
        .await?;
    Ok(kept == 1)
}

/// Writes down what a try leaves at the server, in the transaction that ends it.
pub async fn leaves(tenant: &Tenant, attempt: AttemptId, what: Leftover) -> Result<()> {
    tenant
        .execute(
            "update send_attempts set leftover = $2 where id = $1 and by_draft",
            &[&attempt.0, &what.as_str()],
        )
        .await?;
    Ok(())
}

/// What a mailbox's tries have left at its server, the longest there first. Only of tries whose end is committed, by an answer or by a
/// person who decided.
pub async fn left(tenant: &Tenant, mailbox: MailboxId, limit: i64) -> Result<Vec<Left>> {
    let rows = tenant
        .query(
            "select a.id, a.leftover, extract(epoch from now() - coalesce(a.answered_at, a.started_at))::float8 as since
             from send_attempts a
             join send_requests r on r.organization_id = a.organization_id and r.id = a.send_request_id
             join emails e on e.organization_id = r.organization_id and e.id = r.email_id
             where a.leftover is not null and e.mailbox_id = $1
               and (a.answer <> 'unknown' or e.state not in ('unknown', 'sending'))
             order by a.id limit $2",
            &[&mailbox.0, &limit],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Left {
                attempt: AttemptId(row.try_get("id")?),
                what: named(row, "leftover")?,
                since: crate::connection::seconds(row.try_get("since")?),
            })
        })
        .collect()
}

/// Forgets what was removed at the server, or is not there.
pub async fn removed(tenant: &Tenant, attempts: &[AttemptId]) -> Result<()> {
    let attempts: Vec<_> = attempts.iter().map(|attempt| attempt.0).collect();
    tenant.execute("update send_attempts set leftover = null where id = any($1)", &[&attempts]).await?;
    Ok(())
}

/// A try in doubt is asked about for so long from now on, before a person is told.
pub async fn ask_for(tenant: &Tenant, attempt: AttemptId, time: Duration) -> Result<()> {
    tenant
        .execute(
            "update send_attempts set asked_until = now() + make_interval(secs => $2) where id = $1 and by_draft",
            &[&attempt.0, &time.as_secs_f64()],
        )
        .await?;
    Ok(())
}

/// Nobody asks any more about an email's tries: a person has decided, or the server has told.
pub(super) async fn asked_enough(tenant: &Tenant, email: EmailId) -> Result<()> {
    tenant
        .execute(
            "update send_attempts a set asked_until = null from send_requests r
             where r.email_id = $1 and a.organization_id = r.organization_id and a.send_request_id = r.id
               and a.asked_until is not null",
            &[&email.0],
        )
        .await?;
    Ok(())
}

/// Tells about the emails of a mailbox that the server was asked about for long enough and that are still in doubt. `endpoint` is
/// the server, for people.
pub async fn tell_in_doubt(tenant: &Tenant, mailbox: MailboxId, endpoint: &str) -> Result<()> {
    let rows = tenant
        .query(
            "select e.id, e.state from send_attempts a
             join send_requests r on r.organization_id = a.organization_id and r.id = a.send_request_id
             join emails e on e.organization_id = r.organization_id and e.id = r.email_id
             where a.asked_until <= now() and e.mailbox_id = $1
             order by e.id for no key update of e",
            &[&mailbox.0],
        )
        .await?;
    let mut told = HashSet::new();
    for row in &rows {
        let email = EmailId(row.try_get("id")?);
        asked_enough(tenant, email).await?;
        if named::<EmailState>(row, "state")? != EmailState::Unknown || !told.insert(email) {
            continue;
        }
        let alert = NewAlert {
            kind: AlertKind::SendUnknown,
            subject: Subject::Email(email),
            detail: String::new(),
            parameters: json!({"endpoint": endpoint}),
            server_said: None,
        };
        alert::raise(tenant, &alert).await?;
    }
    Ok(())
}
