//! Sends in doubt at a server that can be asked: what lies there under the name of a try says how it ended.

use std::time::Duration;

use model::id::{AttemptId, EmailId, MailboxId, SendRequestId};

use super::answer::{Answer, Answered};
use crate::change::Author;
use crate::{Result, Tenant};

/// A try of which nobody knows yet whether it left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubtful {
    /// Of which email.
    pub email: EmailId,
    /// Which: its name at the server.
    pub attempt: AttemptId,
    /// Under which request.
    pub request: SendRequestId,
    /// Whom it was for, without those that the server had turned away, by their places in the request.
    pub recipients: Vec<i32>,
    /// How often one of them was tried before.
    pub tries: u32,
    /// Whether a person is told only when the server was asked for long enough; false once that happened.
    pub asked: bool,
}

/// The last tries of a mailbox's emails that came into doubt within this time, the oldest doubt first.
pub async fn in_doubt(tenant: &Tenant, mailbox: MailboxId, within: Duration) -> Result<Vec<Doubtful>> {
    let rows = tenant
        .query(
            "select e.id, a.id as attempt_id, a.send_request_id,
                    array(select p from unnest(a.recipients) p where p <> all(a.turned_away)) as recipients,
                    a.asked_until is not null as asked,
                    (select coalesce(max(rc.attempts), 0) from send_recipients rc
                     where rc.organization_id = e.organization_id and rc.send_request_id = a.send_request_id
                       and rc.position = any(a.recipients)) as tries
             from emails e
             cross join lateral (
                select a.id, a.send_request_id, a.recipients, a.turned_away, a.answer, a.asked_until from send_requests r
                join send_attempts a on a.organization_id = r.organization_id and a.send_request_id = r.id
                where r.organization_id = e.organization_id and r.email_id = e.id order by a.id desc limit 1
             ) a
             where e.mailbox_id = $1 and e.state = 'unknown' and e.modified_at > now() - make_interval(secs => $2)
               and coalesce(a.answer, 'unknown') = 'unknown'
             order by e.modified_at",
            &[&mailbox.0, &within.as_secs_f64()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Doubtful {
                email: EmailId(row.try_get("id")?),
                attempt: AttemptId(row.try_get("attempt_id")?),
                request: SendRequestId(row.try_get("send_request_id")?),
                recipients: row.try_get("recipients")?,
                tries: u32::try_from(row.try_get::<_, i32>("tries")?).unwrap_or_default(),
                asked: row.try_get("asked")?,
            })
        })
        .collect()
}

/// Keeps the Message-ID that the server gave instead of ours: answers will name that one.
pub async fn renamed(tenant: &Tenant, request: SendRequestId, message_id: &str) -> Result<()> {
    tenant
        .execute("update send_requests set message_id = $2 where id = $1", &[&request.0, &message_id])
        .await?;
    Ok(())
}

/// Writes down what was found of a try, as if its server had answered: an answer of which only *unknown* was known is replaced,
/// every other one stays.
pub async fn record_found(tenant: &Tenant, answer: &Answer, by: &Author) -> Result<Answered> {
    tenant
        .execute(
            "update send_attempts set answered_at = null, answer = null where id = $1 and answer = 'unknown'",
            &[&answer.attempt.0],
        )
        .await?;
    tenant
        .execute(
            "update send_attempts set asked_until = null where id = $1 and asked_until is not null",
            &[&answer.attempt.0],
        )
        .await?;
    super::record_answer(tenant, answer, by).await
}
