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
use serde_json::{Value, json};
use tokio_postgres::Row;
use uuid::Uuid;

use super::answer::{Answer, RecipientAnswer};
use super::attempt::{Attempt, DueRecipient, message};
use crate::change::{self, Author, Change, Fields};
use crate::round::{Request, Rounds, place, together};
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
    /// Whether its try goes in two steps, see [`goes_by_draft`](super::goes_by_draft()).
    pub by_draft: bool,
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
    let plain = turn.answer.as_ref().map(|(answer, _)| is_plain(answer));
    if !plain.unwrap_or(turn.next.is_some()) {
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
        let tenant = store.batch_by_keys(organization).await?;
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
    let mut recipients = Vec::new();
    for (place, turn) in turns.iter().enumerate() {
        let Some((answer, version)) = &turn.answer else { continue };
        places.push(wide(place));
        attempts.push(answer.attempt.0);
        versions.push(*version);
        words.push(answer.said.as_deref());
        authors.push(turn.by.name());
        counts.push(wide(answer.recipients.len()));
        recipients.push(Value::Array(answer.recipients.iter().map(described).collect()));
    }
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let rows = tenant
        .query(
            // Row by row and each by its key, whatever the planner thinks of the tables: `offset 0` keeps it from joining them in
            // another order, and what was found is gone to where it stands. An email is read as everything else is seen and
            // then locked; one that was changed in between has moved, and is passed over.
            "with held as materialized (
                select u.*, a.place as try, a.request, r.place as asked, r.email, e.place
                from unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::jsonb[])
                    as u(turn, attempt, version, words, author, count, recipients)
                cross join lateral (
                    select a.ctid as place, a.send_request_id as request, a.answered_at from send_attempts a
                    where a.id = u.attempt offset 0
                ) a
                cross join lateral (
                    select r.ctid as place, r.email_id as email, r.ended_at from send_requests r
                    where r.id = a.request offset 0
                ) r
                cross join lateral (
                    select f.ctid as place, f.state, f.version from emails f where f.id = r.email offset 0
                ) f
                -- It was for everybody who waits, and nobody waits any more.
                cross join lateral (
                    select count(*) = u.count and bool_and(rc.state in ('waiting', 'deferred')) as everybody
                    from send_recipients rc where rc.send_request_id = a.request
                ) w
                cross join lateral (
                    select count(*) filter (where l.id > u.attempt or l.answer = 'accepted') as tries
                    from send_attempts l where l.send_request_id = a.request
                ) o
                -- An alert that passes with it is more to write.
                cross join lateral (
                    select count(*) filter (where t.resolved_at is null and t.dismissed_at is null) as alerts
                    from alerts t where t.email_id = r.email
                ) t
                cross join lateral (
                    select e.ctid as place from emails e
                    where e.ctid = f.place and f.state = 'sending' and f.version = u.version
                      and a.answered_at is null and r.ended_at is null and w.everybody and o.tries = 0 and t.alerts = 0
                    for no key update skip locked
                ) e
                where e.place = f.place
             ),
             tries as (
                update send_attempts a set answered_at = now(), answer = 'accepted', server_said = h.words, turned_away = '{}'
                from held h where a.ctid = h.try
             ),
             recipients as (
                update send_recipients rc set state = 'accepted', reply_code = n.code, enhanced_code = n.enhanced,
                    server_said = n.said, attempts = rc.attempts + 1,
                    next_try_at = now() + make_interval(secs => n.retry)
                from (
                    select n.*, rc.place from held h
                    cross join lateral jsonb_to_recordset(h.recipients)
                        as n(position integer, code integer, enhanced text, said text, retry float8)
                    cross join lateral (
                        select rc.ctid as place from send_recipients rc
                        where rc.send_request_id = h.request and rc.position = n.position offset 0
                    ) rc
                ) n
                where rc.ctid = n.place
             ),
             requests as (
                update send_requests r set ended_at = now() from held h where r.ctid = h.asked
             )
             update emails e set state = 'sent', version = h.version + 1, modified_at = now(), modified_by = h.author,
                 sent_at = coalesce(e.sent_at, now())
             from held h where e.ctid = h.place
             returning h.turn as place, e.id, e.version",
            &[&places, &attempts, &versions, &words, &authors, &counts, &recipients],
        )
        .await?;
    rows.iter().map(|row| Ok((place(row)?, EmailId(row.try_get("id")?), row.try_get("version")?))).collect()
}

fn described(answer: &RecipientAnswer) -> Value {
    json!({
        "position": answer.position,
        "code": answer.reply_code,
        "enhanced": answer.enhanced_code,
        "said": answer.said,
        "retry": answer.retry_after.as_secs_f64(),
    })
}

/// Begins the tries of emails that nobody else holds, under claims that nobody else holds either. Their places, and the tries.
async fn begin_all(tenant: &Tenant, turns: &[Turn], turned: &[Turned]) -> Result<Vec<(usize, Attempt)>> {
    let (mut places, mut emails, mut mailboxes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut claims, mut sessions, mut authors) = (Vec::new(), Vec::new(), Vec::new());
    let mut by_draft = Vec::new();
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
        by_draft.push(next.by_draft);
    }
    if places.is_empty() {
        return Ok(Vec::new());
    }
    let attempts: Vec<Uuid> = places.iter().map(|_| model::clock::new_id::<AttemptId>().0).collect();
    let permitted = super::permission::may_send("r.rests_on");
    let rows = tenant
        .query(
            &format!(
                "with begun as materialized (
                    select u.*, e.place as stands, f.*, r.*, c.*, d.*
                    from unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::bigint[], $5::uuid[], $6::text[], $7::uuid[], $8::boolean[])
                        as u(place, email, mailbox, claim, session, author, attempt, by_draft)
                    cross join lateral (
                        select s.ctid as running, s.claim as number, s.state as runs from schedules s
                        where s.mailbox_id = u.mailbox and s.workload = 'outgoing' offset 0
                    ) q
                    cross join lateral (
                        select s.ctid as fence from schedules s
                        where s.ctid = q.running and q.number = u.claim and q.runs = 'running'
                        for share skip locked
                    ) s
                    cross join lateral (
                        select f.ctid as found, f.state, f.mailbox_id, f.version, f.subject, f.in_reply_to, f.message_references,
                               f.importance, f.auto_submitted, f.read_receipt_requested, f.delivery_receipt_requested
                        from emails f where f.id = u.email and f.direction = 'outgoing' offset 0
                    ) f
                    cross join lateral (
                        select r.id as request, r.message_id, r.requested_at, r.rests_on,
                               coalesce(r.not_before <= now(), true) as due
                        from send_requests r where r.email_id = u.email and r.ended_at is null offset 0
                    ) r
                    cross join lateral (
                        select c.id as copy, c.text_body, c.html_body from email_copies c where c.email_id = u.email offset 0
                    ) c
                    cross join lateral (
                        select array_agg(rc.position order by rc.position) as due_positions,
                               array_agg(rc.address order by rc.position) as due_addresses,
                               array_agg(rc.role order by rc.position) as due_roles,
                               array_agg(rc.attempts order by rc.position) as due_tries
                        from send_recipients rc
                        where rc.send_request_id = r.request and rc.state in ('waiting', 'deferred')
                          and rc.next_try_at <= now()
                    ) d
                    cross join lateral (
                        select count(*) as sending from emails b where b.mailbox_id = u.mailbox and b.state = 'sending'
                    ) b
                    cross join lateral (select count(*) as files from attachments a where a.copy_id = c.copy) a
                    cross join lateral (
                        select r.rests_on is null or coalesce({permitted}, false) as permitted
                        from mailboxes m where m.id = u.mailbox offset 0
                    ) m
                    cross join lateral (
                        select e.ctid as place from emails e
                        where e.ctid = f.found and f.state = 'pending_send' and f.mailbox_id = u.mailbox
                          and r.due and d.due_positions is not null and b.sending = 0 and a.files = 0 and m.permitted
                        for no key update skip locked
                    ) e
                    where s.fence = q.running and e.place = f.found
                 ),
                 tries as (
                    insert into send_attempts (organization_id, id, send_request_id, recipients, claim, session_id, by_draft)
                    select current_organization(), attempt, request, due_positions, claim, session, by_draft from begun
                 ),
                 moved as (
                    update emails e set state = 'sending', version = b.version + 1, modified_at = now(), modified_by = b.author
                    from begun b where e.ctid = b.stands
                 )
                 select b.*, b.version + 1 as next_version, p.*
                 from begun b
                 cross join lateral (
                    select array_agg(p.role order by p.position) as roles,
                           array_agg(p.address order by p.position) as addresses,
                           array_agg(p.name order by p.position) as names
                    from email_parties p where p.email_id = b.email
                 ) p"
            ),
            &[&places, &emails, &mailboxes, &claims, &sessions, &authors, &attempts, &by_draft],
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
