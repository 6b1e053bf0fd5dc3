//! The end of a try. Never fenced: a worker whose claim is long gone still writes down what the server said, because
//! nobody else knows it.

use std::time::Duration;

use model::email::{EmailState, RecipientState, SendAnswer};
use model::id::{AttemptId, EmailId, SendRequestId};
use tokio_postgres::Row;

use super::report::settle_doubt;
use super::request::due_again;
use super::{held, set_state, settle};
use crate::change::Author;
use crate::refusal::Refusal;
use crate::row::named;
use crate::{Result, Tenant};

/// What the server said about one recipient.
#[derive(Clone, Debug)]
pub struct RecipientAnswer {
    /// Its place in the request.
    pub position: i32,
    /// Accepted, deferred or refused.
    pub state: RecipientState,
    /// The SMTP reply code.
    pub reply_code: Option<i32>,
    /// The enhanced status code (RFC 3463).
    pub enhanced_code: Option<String>,
    /// The server's words, printable and bounded.
    pub said: Option<String>,
    /// How long until it is tried again, for a deferred one.
    pub retry_after: Duration,
}

/// What came of a try.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Of which try.
    pub attempt: AttemptId,
    /// How it ended.
    pub answer: SendAnswer,
    /// The server's words about the message, printable and bounded.
    pub said: Option<String>,
    /// What it said about recipients; one that is not named stays as it was. When nobody knows how the try ended, those
    /// it had turned away by then: the others are in doubt.
    pub recipients: Vec<RecipientAnswer>,
    /// How long until the recipients that are not named are tried again, when the message did not leave.
    pub retry_after: Duration,
}

/// What an answer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// Of which email.
    pub email: EmailId,
    /// Where the email stands now.
    pub state: EmailState,
    /// Whether the answer decided that; it did not when it was written down before, or a resend had begun.
    pub decided: bool,
    /// Whether an email that was sent again was accepted both times: the caller raises the alert once more.
    pub doubled: bool,
}

/// Writes down how a try ended. The first answer of a try counts and another one changes nothing. A late answer turns
/// Unknown into what it says, unless a resend began meanwhile.
pub async fn record_answer(tenant: &Tenant, answer: &Answer, by: &Author) -> Result<Answered> {
    // One statement that holds the email as well, and below what does not need each other's answers at once: a mailbox
    // sends one message after the other, so every round trip is time in which nothing is sent.
    let row = tenant
        .query_opt(
            "select e.id as email_id, e.state, e.mailbox_id, e.version, r.id, a.recipients from send_attempts a
             join send_requests r on r.organization_id = a.organization_id and r.id = a.send_request_id
             join emails e on e.organization_id = r.organization_id and e.id = r.email_id and e.direction = 'outgoing'
             where a.id = $1 for no key update of e",
            &[&answer.attempt.0],
        )
        .await?
        .ok_or(Refusal::Unknown { what: "attempt", field: "attempt" })?;
    let email = EmailId(row.try_get("email_id")?);
    let request = SendRequestId(row.try_get("id")?);
    let held = held(email, &row)?;
    let accepted: Vec<i32> = answer
        .recipients
        .iter()
        .filter(|recipient| recipient.state == RecipientState::Accepted)
        .map(|recipient| recipient.position)
        .collect();
    let (first, others) =
        tokio::try_join!(write_answer(tenant, answer), others(tenant, answer, request, email, &accepted))?;
    if first == 0 {
        return Ok(Answered { email, state: held.state, decided: false, doubled: false });
    }
    let waits = matches!(held.state, EmailState::Sending | EmailState::Unknown);
    let mut state = held.state;
    let decided = waits && !others.try_get::<_, bool>("later")?;
    if decided {
        if answer.answer == SendAnswer::Unknown {
            // Whom the server turned away before the doubt stays what it said; the doubt is about the others.
            write_named(tenant, request, answer).await?;
            if held.state != EmailState::Unknown {
                set_state(tenant, &held, EmailState::Unknown, by).await?;
            }
            // A report can be quicker than the end of a broken connection.
            state = settle_doubt(tenant, email, by).await?.unwrap_or(EmailState::Unknown);
        } else {
            write_named(tenant, request, answer).await?;
            let (named, tried) = (named_in(answer), row.try_get::<_, Vec<i32>>("recipients")?);
            if !tried.iter().all(|position| named.contains(position)) {
                write_others(tenant, request, answer).await?;
            }
            state = settle(tenant, &held, by).await?;
            if state == EmailState::PendingSend {
                due_again(tenant, email).await?;
            }
        }
    }
    let doubled = answer.answer == SendAnswer::Accepted && others.try_get("accepted_twice")?;
    if doubled {
        tenant.execute("update emails set maybe_duplicate = true where id = $1", &[&email.0]).await?;
    }
    Ok(Answered { email, state, decided, doubled })
}

/// Writes the answer of a try that has none; how many that were.
async fn write_answer(tenant: &Tenant, answer: &Answer) -> Result<u64> {
    tenant
        .execute(
            "update send_attempts set answered_at = now(), answer = $2, server_said = $3, turned_away = $4
             where id = $1 and answered_at is null",
            &[&answer.attempt.0, &answer.answer.as_str(), &answer.said, &turned_away(answer)],
        )
        .await
}

/// What other tries of the request say. Somebody who was deferred and is accepted later is in two tries and got it once;
/// one who was accepted before, or of whom an earlier try said so while a resend had begun, got it twice.
async fn others(
    tenant: &Tenant,
    answer: &Answer,
    request: SendRequestId,
    email: EmailId,
    accepted: &[i32],
) -> Result<Row> {
    tenant
        .query_one(
            "select exists (select from send_attempts l where l.send_request_id = $2 and l.id > $1) as later,
                    exists (
                        select from send_attempts l where l.send_request_id = $2 and l.id <> $1
                           and l.answer = 'accepted' and l.recipients && $4::integer[]
                           and (e.maybe_duplicate or exists (
                               select from send_recipients rc
                               where rc.send_request_id = $2 and rc.position = any($4) and rc.state in ('accepted', 'delayed', 'bounced')
                                 and rc.position = any(l.recipients)))) as accepted_twice
             from emails e where e.id = $3",
            &[&answer.attempt.0, &request.0, &email.0, &accepted],
        )
        .await
}

/// Of a try that ended in doubt: whom the server had turned away by then.
fn turned_away(answer: &Answer) -> Vec<i32> {
    if answer.answer != SendAnswer::Unknown {
        return Vec::new();
    }
    let turned_away = |state| matches!(state, RecipientState::Refused | RecipientState::Deferred);
    let recipients = answer.recipients.iter().filter(|recipient| turned_away(recipient.state));
    recipients.map(|recipient| recipient.position).collect()
}

/// Writes what was said about recipients.
async fn write_named(tenant: &Tenant, request: SendRequestId, answer: &Answer) -> Result<()> {
    if answer.recipients.is_empty() {
        return Ok(());
    }
    let named = named_in(answer);
    let states: Vec<_> = answer.recipients.iter().map(|recipient| recipient.state.as_str()).collect();
    let codes: Vec<_> = answer.recipients.iter().map(|recipient| recipient.reply_code).collect();
    let enhanced: Vec<_> =
        answer.recipients.iter().map(|recipient| recipient.enhanced_code.as_deref()).collect();
    let said: Vec<_> = answer.recipients.iter().map(|recipient| recipient.said.as_deref()).collect();
    let retries: Vec<_> =
        answer.recipients.iter().map(|recipient| recipient.retry_after.as_secs_f64()).collect();
    tenant
        .execute(
            "update send_recipients rc set state = u.state, reply_code = u.code, enhanced_code = u.enhanced,
                 server_said = u.said, attempts = rc.attempts + 1,
                 next_try_at = now() + make_interval(secs => u.retry)
             from unnest($2::integer[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::float8[])
                  as u(position, state, code, enhanced, said, retry)
             where rc.send_request_id = $1 and rc.position = u.position and rc.state in ('waiting', 'deferred')",
            &[&request.0, &named, &states, &codes, &enhanced, &said, &retries],
        )
        .await?;
    Ok(())
}

/// Counts the try for those of whom nothing was said.
async fn write_others(tenant: &Tenant, request: SendRequestId, answer: &Answer) -> Result<()> {
    tenant
        .execute(
            "update send_recipients rc set attempts = rc.attempts + 1,
                 server_said = coalesce($4, rc.server_said), next_try_at = now() + make_interval(secs => $5)
             from send_attempts a
             where a.id = $2 and rc.send_request_id = $1 and rc.position = any(a.recipients)
               and rc.position <> all($3) and rc.state in ('waiting', 'deferred')",
            &[
                &request.0,
                &answer.attempt.0,
                &named_in(answer),
                &answer.said,
                &answer.retry_after.as_secs_f64(),
            ],
        )
        .await?;
    Ok(())
}

fn named_in(answer: &Answer) -> Vec<i32> {
    answer.recipients.iter().map(|recipient| recipient.position).collect()
}

/// The state of an attempt's answer, if it has one.
pub(super) fn answer_of(row: &Row) -> Result<Option<SendAnswer>> {
    let answered: Option<&str> = row.try_get("answer")?;
    answered.map(|_| named(row, "answer")).transpose()
}
