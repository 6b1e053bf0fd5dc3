//! What an outgoing cycle asks before it sends: what was left in doubt, what is too late, what is due.

use std::time::Duration;

use jiff::Timestamp;
use model::email::{EmailState, Leftover, RecipientState, SendAnswer, retry_after};
use model::id::{AttemptId, EmailId, MailboxId, SendRequestId};

use super::answer::{Answer, record_answer};
use super::report::settle_doubt;
use super::withdraw::give_up;
use super::{held, hold, laid_down, set_state};
use crate::change::Author;
use crate::{Result, Tenant};

/// How often what never left is tried again at once.
const AT_ONCE: u32 = 3;

/// A try of a claim that ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InDoubt {
    /// Which email.
    pub email: EmailId,
    /// Which try.
    pub attempt: AttemptId,
}

/// An email that is due to be tried.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// Which email.
    pub email: EmailId,
    /// Under which request.
    pub request: SendRequestId,
    /// When that was made.
    pub requested_at: Timestamp,
    /// Bytes of its files.
    pub attached: u64,
}

/// Turns what an older claim left in Sending into Unknown: the message may have left. What a report has told of already
/// is in no doubt. A try of two steps whose draft's id was not committed did not leave, and is pending again; of another one the
/// server is asked before a person is. The caller raises the alerts about the rest, in the same transaction.
pub async fn recover(tenant: &Tenant, mailbox: MailboxId, claim: i64, by: &Author) -> Result<Vec<InDoubt>> {
    let rows = tenant
        .query(
            "select e.id, e.state, e.mailbox_id, e.version, a.id as attempt_id, a.by_draft, a.draft_id is not null as laid_down,
                    (select coalesce(max(rc.attempts), 0) from send_recipients rc
                     where rc.organization_id = e.organization_id and rc.send_request_id = a.send_request_id
                       and rc.position = any(a.recipients)) as tries
             from emails e
             join lateral (select a.id, a.claim, a.send_request_id, a.recipients, a.by_draft, a.draft_id from send_attempts a
                           join send_requests r on r.organization_id = a.organization_id and r.id = a.send_request_id
                           where r.organization_id = e.organization_id and r.email_id = e.id
                           order by a.id desc limit 1) as a on true
             where e.mailbox_id = $1 and e.state = 'sending' and a.claim <> $2
             for no key update of e",
            &[&mailbox.0, &claim],
        )
        .await?;
    let mut found = Vec::new();
    for row in &rows {
        let email = EmailId(row.try_get("id")?);
        let held = held(email, row)?;
        let attempt = AttemptId(row.try_get("attempt_id")?);
        let by_draft = row.try_get("by_draft")?;
        if by_draft {
            laid_down::leaves(tenant, attempt, Leftover::Draft).await?;
        }
        if by_draft && !row.try_get::<_, bool>("laid_down")? {
            never_left(tenant, attempt, row.try_get("tries")?, by).await?;
            continue;
        }
        set_state(tenant, &held, EmailState::Unknown, by).await?;
        if settle_doubt(tenant, email, by).await?.is_some() {
            continue;
        }
        if by_draft {
            laid_down::ask_for(tenant, attempt, laid_down::ASKED_FOR).await?;
        } else {
            found.push(InDoubt { email, attempt });
        }
    }
    Ok(found)
}

/// Ends a try that did not come so far that anything could leave. One over which workers die again and again is tried more and
/// more rarely.
async fn never_left(tenant: &Tenant, attempt: AttemptId, tries: i32, by: &Author) -> Result<()> {
    let tries = u32::try_from(tries).unwrap_or_default();
    let answer = Answer {
        attempt,
        answer: SendAnswer::NotSent,
        said: None,
        recipients: Vec::new(),
        retry_after: if tries < AT_ONCE { Duration::ZERO } else { retry_after(tries) },
    };
    record_answer(tenant, &answer, by).await?;
    Ok(())
}

/// Pending sends with a recipient whose next try is due, the longest waiting first.
pub async fn next_pending(tenant: &Tenant, mailbox: MailboxId, limit: i64) -> Result<Vec<Pending>> {
    let rows = tenant
        .query(
            // Laterally, so that each of the mailbox's emails is gone on from by its keys: a plan from a time when the tables were
            // small reads what all mailboxes have waiting. What is attached is summed for those alone that are taken.
            "select q.id, q.request_id, q.requested_at,
                    (select coalesce(sum(a.size), 0) from email_copies c
                     join attachments a on a.organization_id = c.organization_id and a.copy_id = c.id
                     where c.organization_id = q.organization_id and c.email_id = q.id)::bigint as attached
             from (
                select e.organization_id, e.id, r.id as request_id, r.requested_at,
                       greatest(r.requested_at, r.not_before) as since
                from emails e
                cross join lateral (
                    select r.organization_id, r.id, r.requested_at, r.not_before from send_requests r
                    where r.organization_id = e.organization_id and r.email_id = e.id and r.ended_at is null
                      and (r.not_before is null or r.not_before <= now())
                    offset 0
                ) r
                cross join lateral (
                    select from send_recipients rc
                    where rc.organization_id = r.organization_id and rc.send_request_id = r.id
                      and rc.state in ('waiting', 'deferred') and rc.next_try_at <= now()
                    limit 1
                ) rc
                where e.mailbox_id = $1 and e.state = 'pending_send'
                order by since, r.id limit $2
             ) q order by q.since, q.request_id",
            &[&mailbox.0, &limit],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Pending {
                email: EmailId(row.try_get("id")?),
                request: SendRequestId(row.try_get("request_id")?),
                requested_at: row.try_get("requested_at")?,
                attached: u64::try_from(row.try_get::<_, i64>("attached")?).unwrap_or(0),
            })
        })
        .collect()
}

/// How long until a pending send of the mailbox may be tried next; `None` when nothing is pending. The due time of the
/// outgoing workload.
pub async fn earliest_next_try(tenant: &Tenant, mailbox: MailboxId) -> Result<Option<Duration>> {
    let row = tenant
        .query_one(
            // One that is still said to be sending lost its end: the next cycle finds it in doubt. `greatest` passes over
            // null, so nothing pending would read as zero.
            "select case when exists (select from emails where mailbox_id = $1 and state = 'sending') then 0::float8
                 when count(*) > 0 then
                 extract(epoch from greatest(min(greatest(rc.next_try_at, r.not_before)) - now(), interval '0'))::float8
                 end
             from emails e
             join send_requests r on r.organization_id = e.organization_id and r.email_id = e.id and r.ended_at is null
             join send_recipients rc on rc.organization_id = r.organization_id and rc.send_request_id = r.id
                                    and rc.state in ('waiting', 'deferred')
             where e.mailbox_id = $1 and e.state = 'pending_send'",
            &[&mailbox.0],
        )
        .await?;
    let seconds: Option<f64> = row.try_get(0)?;
    Ok(seconds.map(Duration::from_secs_f64))
}

/// Gives up what has waited longer than `max_age` since the later of its request and its not-before: it is never sent
/// late. Returns what was given up; the caller raises the alerts.
pub async fn expire(
    tenant: &Tenant,
    mailbox: MailboxId,
    max_age: Duration,
    by: &Author,
) -> Result<Vec<EmailId>> {
    let late = waiting_since(tenant, mailbox, max_age).await?;
    let mut expired = Vec::new();
    for email in late {
        let held = hold(tenant, email, None).await?;
        if held.state != EmailState::PendingSend {
            continue;
        }
        give_up(tenant, &held, RecipientState::Refused, Some("not sent in time"), by).await?;
        expired.push(email);
    }
    Ok(expired)
}

/// Pending sends that have waited at least this long since the later of their request and their not-before.
pub async fn waiting_since(tenant: &Tenant, mailbox: MailboxId, age: Duration) -> Result<Vec<EmailId>> {
    let rows = tenant
        .query(
            "select e.id from emails e
             join send_requests r on r.organization_id = e.organization_id and r.email_id = e.id and r.ended_at is null
             where e.mailbox_id = $1 and e.state = 'pending_send'
               and greatest(r.requested_at, r.not_before) <= now() - make_interval(secs => $2)
             order by e.id",
            &[&mailbox.0, &age.as_secs_f64()],
        )
        .await?;
    rows.iter().map(|row| Ok(EmailId(row.try_get(0)?))).collect()
}
