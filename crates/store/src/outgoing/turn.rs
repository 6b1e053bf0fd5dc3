//! A turn of a session that sends: the answer of one message and the beginning of the next one, for many sessions of an organization
//! in one transaction (decision 0073). Only what is plain goes here: a message that was taken for everybody, and one without
//! files that is due. Everything else is passed over and left to [`record_answer`](super::record_answer()) and
//! [`begin_attempt`](super::begin_attempt()), which decide as if there were no turns.

use std::str::FromStr as _;
use std::sync::Arc;

use model::address::EmailAddress;
use model::crash::{self, Point};
use model::email::{EmailState, RecipientState, SendAnswer};
use model::id::{AttemptId, EmailId, OrganizationId, SendRequestId, SessionId};
use model::message::NamedAddress;
use tokio_postgres::Row;
use uuid::Uuid;

use super::answer::Answer;
use super::attempt::{Attempt, DueRecipient, message};
use crate::change::{self, Author, Change, Fields};
use crate::round::{Request, Rounds, together};
use crate::row::wide;
use crate::schedule::Claim;
use crate::{Error, Result, Store, Tenant};

/// What a session that sends has to write before it goes on.
pub struct Turn {
    /// Whose.
    pub organization: OrganizationId,
    /// How its message ended, with the version that the email got when the try began.
    pub answer: Option<(Answer, i64)>,
    /// What it sends next.
    pub next: Option<Next>,
    /// Who writes it.
    pub by: Author,
}

/// The email that a session sends next.
#[derive(Clone, Copy, Debug)]
pub struct Next {
    /// Which.
    pub email: EmailId,
    /// Under which claim of its mailbox.
    pub claim: Claim,
    /// Who runs that.
    pub session: SessionId,
}

/// What became of a turn; committed.
#[derive(Default)]
pub struct Turned {
    /// The answer is written, and the email is sent. Otherwise nothing is written of it.
    pub answered: bool,
    /// The try that began. Without one nothing began.
    pub begun: Option<Attempt>,
}

/// Takes the turn in one transaction with what else of the organization is to be taken at this moment. What was not done is to be
/// asked alone.
pub async fn turn_together(store: &Store, turn: Turn) -> Result<Turned> {
    if turn.answer.as_ref().is_some_and(|(answer, _)| !is_plain(answer)) {
        return Ok(Turned::default());
    }
    Ok(together(store, turn).await?.unwrap_or_default())
}

/// Taken by the server for everybody it was for.
fn is_plain(answer: &Answer) -> bool {
    answer.answer == SendAnswer::Accepted
        && !answer.recipients.is_empty()
        && answer.recipients.iter().all(|recipient| recipient.state == RecipientState::Accepted)
}

impl Request for Turn {
    type Answer = Turned;
    type Key = OrganizationId;

    // A round waits for the disk, and what one does for a message takes a connection's time: as many as a few sessions at a
    // fast server make, and then another connection.
    const MOST: usize = 64;
    const FULL: usize = 12;
    const AT_ONCE: usize = 3;

    fn key(&self) -> OrganizationId {
        self.organization
    }

    fn rounds(store: &Store) -> &Arc<Rounds<Self>> {
        &store.meeting().turns
    }

    async fn all(store: &Store, turns: &[Self]) -> Result<Vec<(usize, Turned)>> {
        let Some(organization) = turns.first().map(Self::key) else { return Ok(Vec::new()) };
        let tenant = store.tenant_by_keys(organization).await?;
        let mut turned: Vec<_> = turns.iter().map(|_| Turned::default()).collect();
        let mut changes = Vec::new();
        // First what ended: a mailbox has one message in Sending at most.
        for (place, email, version) in answer_all(&tenant, turns).await? {
            let (Some(turn), Some(turned)) = (turns.get(place), turned.get_mut(place)) else { continue };
            turned.answered = true;
            changes.push(moved(email, version, EmailState::Sending, EmailState::Sent, &turn.by));
        }
        let answered = !changes.is_empty();
        let mut begun = false;
        for (place, attempt) in begin_all(&tenant, turns, &turned).await? {
            let (Some(turn), Some(turned)) = (turns.get(place), turned.get_mut(place)) else { continue };
            let (from, to) = (EmailState::PendingSend, EmailState::Sending);
            changes.push(moved(attempt.email, attempt.version, from, to, &turn.by));
            turned.begun = Some(attempt);
            begun = true;
        }
        change::write_all(&tenant, &changes).await?;
        if answered {
            crash::point(Point::SentBefore);
        }
        if begun {
            crash::point(Point::SendingBefore);
        }
        tenant.commit().await?;
        if answered {
            crash::point(Point::SentAfter);
        }
        if begun {
            crash::point(Point::SendingAfter);
        }
        Ok(turned.into_iter().enumerate().collect())
    }
}

fn moved(email: EmailId, version: i64, from: EmailState, to: EmailState, by: &Author) -> Change<'_> {
    let fields = Fields::new().changed("state", &from, &to);
    Change { record_type: "email", id: email.0, version, by, fields }
}

/// Writes the answers of emails that nobody else holds and that are as they were when their tries began: whoever changed one since has
/// raised its version. Their places, and the emails with their new versions.
async fn answer_all(tenant: &Tenant, turns: &[Turn]) -> Result<Vec<(usize, EmailId, i64)>> {
    let (mut places, mut attempts, mut versions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut words, mut authors, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    let (mut of, mut positions, mut codes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut enhanced, mut said, mut retries) = (Vec::new(), Vec::new(), Vec::new());
    for (place, turn) in turns.iter().enumerate() {
        let Some((answer, version)) = &turn.answer else { continue };
        places.push(wide(place));
        attempts.push(answer.attempt.0);
        versions.push(*version);
        words.push(answer.said.as_deref());
        authors.push(turn.by.name());
        counts.push(wide(answer.recipients.len()));
        for recipient in &answer.recipients {
            of.push(answer.attempt.0);
            positions.push(recipient.position);
            codes.push(recipient.reply_code);
            enhanced.push(recipient.enhanced_code.as_deref());
            said.push(recipient.said.as_deref());
            retries.push(recipient.retry_after.as_secs_f64());
        }
    }
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let rows = tenant
        .query(
            "with held as materialized (
                select u.*, h.* from unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::bigint[])
                    as u(place, attempt, version, words, author, recipients)
                cross join lateral (
                    select e.id as email, r.id as request
                    from send_attempts a
                    join send_requests r on r.organization_id = a.organization_id and r.id = a.send_request_id
                                        and r.ended_at is null
                    join emails e on e.organization_id = r.organization_id and e.id = r.email_id
                                 and e.state = 'sending' and e.version = u.version
                    where a.id = u.attempt and a.answered_at is null
                      and not exists (select from send_attempts l where l.send_request_id = r.id
                                         and (l.id > a.id or l.answer = 'accepted'))
                      -- It was for everybody who waits, and nobody waits any more.
                      and (select count(*) = u.recipients and bool_and(rc.state in ('waiting', 'deferred'))
                           from send_recipients rc where rc.send_request_id = r.id)
                      -- An alert that passes with it is more to write.
                      and not exists (select from alerts t where t.email_id = e.id
                                         and t.resolved_at is null and t.dismissed_at is null)
                    for no key update of e skip locked
                ) h
             ),
             tries as (
                update send_attempts a set answered_at = now(), answer = 'accepted', server_said = h.words, turned_away = '{}'
                from held h where a.id = h.attempt
             ),
             recipients as (
                update send_recipients rc set state = 'accepted', reply_code = n.code, enhanced_code = n.enhanced,
                    server_said = n.said, attempts = rc.attempts + 1,
                    next_try_at = now() + make_interval(secs => n.retry)
                from unnest($7::uuid[], $8::integer[], $9::integer[], $10::text[], $11::text[], $12::float8[])
                    as n(attempt, position, code, enhanced, said, retry)
                join held h on h.attempt = n.attempt
                where rc.send_request_id = h.request and rc.position = n.position
             ),
             requests as (
                update send_requests r set ended_at = now() from held h where r.id = h.request
             )
             update emails e set state = 'sent', version = h.version + 1, modified_at = now(), modified_by = h.author,
                 sent_at = coalesce(e.sent_at, now())
             from held h where e.id = h.email
             returning h.place, e.id, e.version",
            &[
                &places, &attempts, &versions, &words, &authors, &counts, &of, &positions, &codes, &enhanced,
                &said, &retries,
            ],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((place(row)?, EmailId(row.try_get("id")?), row.try_get("version")?)))
        .collect()
}

/// Begins the tries of emails that nobody else holds, under claims that nobody else holds either. Their places, and the tries.
async fn begin_all(tenant: &Tenant, turns: &[Turn], turned: &[Turned]) -> Result<Vec<(usize, Attempt)>> {
    let (mut places, mut emails, mut mailboxes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut claims, mut sessions, mut authors) = (Vec::new(), Vec::new(), Vec::new());
    for (place, (turn, turned)) in turns.iter().zip(turned).enumerate() {
        // Whose answer is not written has to write that first.
        let goes_on = turn.answer.is_none() || turned.answered;
        let Some(next) = turn.next.filter(|_| goes_on) else { continue };
        places.push(wide(place));
        emails.push(next.email.0);
        mailboxes.push(next.claim.mailbox.0);
        claims.push(next.claim.number);
        sessions.push(next.session.0);
        authors.push(turn.by.name());
    }
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let attempts: Vec<Uuid> = places.iter().map(|_| model::clock::new_id::<AttemptId>().0).collect();
    let permitted = super::permission::may_send("r.rests_on");
    let rows = tenant
        .query(
            // The email is read twice: as it is locked, and as all that belongs to it is seen. Both are the same, or it is passed over.
            &format!(
                "with begun as materialized (
                    select u.*, h.*, d.* from unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::bigint[], $5::uuid[], $6::text[],
                                                     $7::uuid[])
                        as u(place, email, mailbox, claim, session, author, attempt)
                    cross join lateral (
                        select s.claim as ours from schedules s
                        where s.mailbox_id = u.mailbox and s.workload = 'outgoing' and s.claim = u.claim
                          and s.state = 'running'
                        for share skip locked
                    ) s
                    cross join lateral (
                        select r.id as request, r.message_id, r.requested_at, e.version,
                               f.subject, f.in_reply_to, f.message_references, f.importance, f.auto_submitted,
                               f.read_receipt_requested, f.delivery_receipt_requested, c.id as copy
                        from emails e
                        join emails f on f.organization_id = e.organization_id and f.id = e.id and f.version = e.version
                        join mailboxes m on m.organization_id = e.organization_id and m.id = e.mailbox_id
                        join send_requests r on r.organization_id = e.organization_id and r.email_id = e.id
                                            and r.ended_at is null and (r.not_before is null or r.not_before <= now())
                        join email_copies c on c.organization_id = e.organization_id and c.email_id = e.id
                        where e.id = u.email and e.mailbox_id = u.mailbox and e.direction = 'outgoing'
                          and e.state = 'pending_send'
                          and not exists (select from emails b where b.mailbox_id = u.mailbox and b.state = 'sending')
                          and (r.rests_on is null or coalesce({permitted}, false))
                          and not exists (select from attachments a where a.copy_id = c.id)
                        for no key update of e skip locked
                    ) h
                    cross join lateral (
                        select array_agg(rc.position order by rc.position) as due_positions,
                               array_agg(rc.address order by rc.position) as due_addresses,
                               array_agg(rc.role order by rc.position) as due_roles,
                               array_agg(rc.attempts order by rc.position) as due_tries
                        from send_recipients rc
                        where rc.send_request_id = h.request and rc.state in ('waiting', 'deferred')
                          and rc.next_try_at <= now()
                    ) d
                    where d.due_positions is not null
                 ),
                 tries as (
                    insert into send_attempts (organization_id, id, send_request_id, recipients, claim, session_id)
                    select current_organization(), attempt, request, due_positions, claim, session from begun
                 ),
                 moved as (
                    update emails e set state = 'sending', version = b.version + 1, modified_at = now(), modified_by = b.author
                    from begun b where e.id = b.email
                 )
                 select b.*, b.version + 1 as next_version, c.text_body, c.html_body, p.*
                 from begun b
                 join email_copies c on c.id = b.copy
                 cross join lateral (
                    select array_agg(p.role order by p.position) as roles,
                           array_agg(p.address order by p.position) as addresses,
                           array_agg(p.name order by p.position) as names
                    from email_parties p where p.email_id = b.email
                 ) p"
            ),
            &[&places, &emails, &mailboxes, &claims, &sessions, &authors, &attempts],
        )
        .await?;
    rows.iter().map(|row| Ok((place(row)?, attempt(row)?))).collect()
}

fn attempt(row: &Row) -> Result<Attempt> {
    let parties: Vec<(String, String, String)> =
        threes(row.try_get("roles")?, row.try_get("addresses")?, row.try_get("names")?);
    let parties = parties.into_iter().map(|(role, address, name)| {
        let name = Some(name).filter(|name| !name.is_empty());
        Ok((role.parse().map_err(broken)?, NamedAddress { name, address: address_of(&address)? }))
    });
    let positions: Vec<i32> = row.try_get("due_positions")?;
    let tries: Vec<i32> = row.try_get("due_tries")?;
    let due = threes(row.try_get("due_roles")?, row.try_get("due_addresses")?, positions);
    let recipients = due.into_iter().zip(tries).map(|((role, address, position), attempts)| {
        let (role, address) = (role.parse().map_err(broken)?, address_of(&address)?);
        Ok(DueRecipient { position, address, role, attempts })
    });
    let parties = parties.collect::<Result<Vec<_>>>()?;
    Ok(Attempt {
        id: AttemptId(row.try_get("attempt")?),
        email: EmailId(row.try_get("email")?),
        version: row.try_get("next_version")?,
        request: SendRequestId(row.try_get("request")?),
        message: message(row, parties, row.try_get("message_id")?, row.try_get("requested_at")?)?,
        stored: Vec::new(),
        recipients: recipients.collect::<Result<_>>()?,
        delivery_receipt_requested: row.try_get("delivery_receipt_requested")?,
    })
}

/// Arrays that one `group by` made, put together again.
fn threes<T>(first: Vec<String>, second: Vec<String>, third: Vec<T>) -> Vec<(String, String, T)> {
    first.into_iter().zip(second).zip(third).map(|((first, second), third)| (first, second, third)).collect()
}

fn address_of(text: &str) -> Result<EmailAddress> {
    EmailAddress::from_str(text).map_err(broken)
}

fn broken(error: impl std::fmt::Display) -> Error {
    Error::Broken(error.to_string())
}

fn place(row: &Row) -> Result<usize> {
    usize::try_from(row.try_get::<_, i64>("place")?)
        .map_err(|_| Error::Broken("an answer to what nobody asked".to_owned()))
}
