//! Outgoing mail, over SMTP or at an Exchange server: one message after the other over one connection. `Sending` is committed before a message
//! leaves, at most one message is in Sending, and what nobody can know is never guessed.

mod begun;
mod copies;
mod exchange;
mod found;
mod letter;
mod outlet;
mod submission;

use std::time::Duration;

use model::alert::AlertKind;
use model::budget::Used;
use model::crash::{self, Point};
use model::id::{EmailId, OrganizationId, SessionId};
use model::profile::ProfileKind;
use model::rate::RateUnit;
use serde_json::json;
use store::alert::{NewAlert, Subject};
use store::change::Author;
use store::mailbox::MailboxForCycle;
use store::outgoing::{Answer, Attempt, Doubtful, Left, Pending, Turn};
use store::schedule::Claim;
use store::{Store, Tenant, alert, outgoing, schedule};
use tokio::time::Instant;

use self::begun::{Answered, Begun, Desk};
use self::found::{AGAIN, LATER, WITHIN};
use self::outlet::Outlet;
use crate::ending::{Ending, Interrupted};
use crate::pace::STEP;
use crate::start::{Cycle, Parts};

/// Bytes that any message takes of the process's memory while it is sent.
const HELD_ONCE: u64 = 64 * 1024;
/// How many times the bytes of its files are held at once: as they are, and as base64 in lines within the message (RFC 2045
/// section 6.8), which grows while it is built. Of larger ones as many chunks are held.
const HELD_OF_FILES: u64 = 3;

/// What the mailbox has to send, in the transaction that begins the cycle: what an older claim left behind is in doubt,
/// what waited for too long is given up, and the rest is due.
pub(crate) async fn pending(
    tenant: &Tenant,
    parts: &Parts,
    mailbox: &MailboxForCycle,
    claim: Claim,
    by: &Author,
) -> store::Result<Sends> {
    let endpoint = mailbox.endpoint().key();
    for doubt in outgoing::recover(tenant, mailbox.id, claim.number, by).await? {
        let alert = NewAlert {
            kind: AlertKind::SendUnknown,
            subject: Subject::Email(doubt.email),
            detail: String::new(),
            parameters: json!({"endpoint": endpoint}),
            server_said: None,
        };
        alert::raise(tenant, &alert).await?;
    }
    outgoing::age(tenant, mailbox.id, mailbox.max_send_age, by).await?;
    let pending = outgoing::next_pending(tenant, mailbox.id, parts.mail.config().max_items.into()).await?;
    let (doubtful, left) = match mailbox.server.kind {
        ProfileKind::ExchangeEws => (
            outgoing::in_doubt(tenant, mailbox.id, WITHIN).await?,
            outgoing::left(tenant, mailbox.id, copies::AT_ONCE).await?,
        ),
        // Nobody can be asked what became of a message that was given away.
        ProfileKind::Pop3Smtp => Default::default(),
    };
    Ok(Sends { pending, doubtful, left })
}

/// What a cycle of sending begins with.
pub(crate) struct Sends {
    /// What is to be sent.
    pending: Vec<Pending>,
    /// What may have been sent, and can be looked for.
    doubtful: Vec<Doubtful>,
    /// What earlier tries left at the server.
    left: Vec<Left>,
}

impl Sends {
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.doubtful.is_empty() && self.left.is_empty()
    }
}

/// How soon the mailbox looks for its sends in doubt again, or removes what they left; none when there is nothing, or nobody to ask.
pub(crate) async fn looks_again(
    tenant: &Tenant,
    mailbox: &MailboxForCycle,
) -> store::Result<Option<Duration>> {
    if mailbox.server.kind != ProfileKind::ExchangeEws {
        return Ok(None);
    }
    let doubtful = outgoing::in_doubt(tenant, mailbox.id, WITHIN).await?;
    if doubtful.iter().any(|doubt| doubt.asked) {
        return Ok(Some(AGAIN));
    }
    let left = outgoing::left(tenant, mailbox.id, copies::AT_ONCE).await?;
    let later = !doubtful.is_empty() || left.iter().any(|left| left.since < copies::A_DAY);
    Ok(later.then_some(LATER))
}

/// What sending goes on with.
struct Sending<'a> {
    pub(crate) cycle: &'a Cycle,
    pub(crate) may_go_on: &'a (dyn Fn() -> bool + Send + Sync),
}

/// What became of the connection with a message.
enum Sent {
    /// The next message may go over it.
    GoOn {
        /// Bytes of the message.
        bytes: u64,
        /// What is to be written of it.
        answered: Answered,
    },
    /// It broke again over the same message, whose fault that is: the others go on over another one.
    Broke,
    /// It is over: this is why.
    Over(Interrupted),
}

pub(crate) async fn run(
    cycle: &Cycle,
    mut sends: Sends,
    may_go_on: &(dyn Fn() -> bool + Send + Sync),
) -> Result<Ending, Interrupted> {
    let started = Instant::now();
    let (mail, profile) = (&cycle.parts.mail, cycle.mailbox.profile);
    let mut outlet = Box::pin(Outlet::open(cycle)).await?;
    if let Outlet::Exchange(station) = &mut outlet {
        let pending_again = Box::pin(found::look_for(cycle, station, &sends.doubtful)).await?;
        if !sends.left.is_empty() {
            Box::pin(copies::remove_leftovers(cycle, station)).await?;
        }
        if pending_again {
            let tenant = cycle.parts.store.tenant(cycle.organization).await?;
            let most = mail.config().max_items.into();
            sends.pending = outgoing::next_pending(&tenant, cycle.mailbox.id, most).await?;
            tenant.commit().await?;
        }
    }
    let sending = Sending { cycle, may_go_on };
    let caps = mail.config().caps();
    let (mut used, mut tried, mut cut_off) = (Used::default(), 0, false);
    let mut answered: Option<Answered> = None;
    for next in sends.pending {
        // A server that says goodbye after so many messages is done with for this time; the rest is due at once.
        let stop = caps.reached(used, started.elapsed()) || cycle.parts.drain.is_cancelled();
        // Asked before the email is Sending: it stays as it is until it may leave.
        if stop || !outlet.is_open() || !cycle.pace.allows(&needs(&next)).await {
            cut_off = true;
            break;
        }
        // Before the message is read from the records: its files, and the message that is built of them.
        let held = HELD_ONCE + HELD_OF_FILES * next.attached.min(outgoing::FILES_AT_ONCE);
        // An answer waits for no memory: while there is none, it is written by itself.
        let (reserved, begun) = match (answered.take(), mail.sent().reserve_now(profile, held)) {
            (Some(answered), Some(reserved)) => (reserved, answered.exchange(sending.next(&next)).await?),
            (None, Some(reserved)) => (reserved, sending.begin(&next).await?),
            (last, None) => {
                if let Some(answered) = last {
                    answered.write().await?;
                }
                let Some(reserved) = mail.sent().reserve(profile, vec![held], started + caps.time).await
                else {
                    cut_off = true;
                    break;
                };
                (reserved, sending.begin(&next).await?)
            }
        };
        let Some(begun) = begun else { continue };
        cycle.pace.spend(RateUnit::Messages, 1);
        tried += 1;
        used.items += 1;
        match outlet.submit(&sending, begun).await? {
            Sent::GoOn { bytes, answered: last } => {
                used.bytes += bytes;
                outlet.count(cycle, bytes);
                answered = Some(last);
            }
            Sent::Broke => return Ok(Ending::done(tried, true)),
            Sent::Over(why) => return Err(why),
        }
        drop(reserved);
    }
    if let Some(answered) = answered {
        answered.write().await?;
    }
    if let Outlet::Exchange(station) = &mut outlet
        && station.removes_copies()
        && station.session.is_usable()
    {
        Box::pin(copies::remove_leftovers(cycle, station)).await?;
    }
    outlet.close().await;
    Ok(Ending::done(tried, cut_off))
}

/// What a message takes of rates, as far as is known before it is read.
fn needs(next: &Pending) -> [(RateUnit, u64); 3] {
    let bytes = u64::from(u32::MAX).min(HELD_ONCE + next.attached / 3 * 4);
    [(RateUnit::Messages, 1), (RateUnit::Requests, STEP), (RateUnit::BytesUp, bytes)]
}

impl Sending<'_> {
    /// Commits that the message is about to leave. `None` when it no longer is: cancelled, or sent by now. Runs to its
    /// end although the cycle may be dropped: what began without anybody left to send it is written down as not sent.
    async fn begin(&self, next: &Pending) -> Result<Option<Begun>, Interrupted> {
        let cycle = self.cycle;
        let (store, organization) = (cycle.parts.store.clone(), cycle.organization);
        let (next, desk) = (self.next(next), Desk::of(cycle));
        let begins = Box::pin(async move {
            let turn = next.turn(organization, None);
            match outgoing::turn_together(&store, turn).await?.begun {
                Some(attempt) => Ok(Some(attempt)),
                None => next.alone(&store, organization).await,
            }
        });
        let begun = async move {
            let attempt: store::Result<_> = begins.await;
            Ok(attempt?.map(|attempt| Begun::new(attempt, desk)))
        };
        let ended: store::Result<_> = Desk::of(cycle).finished(begun).await?;
        Ok(ended?)
    }

    fn next(&self, pending: &Pending) -> Next {
        let cycle = self.cycle;
        Next {
            claim: cycle.claimed.claim,
            session: cycle.session,
            email: pending.email,
            has_files: pending.attached > 0,
            by_draft: cycle.mailbox.server.kind == ProfileKind::ExchangeEws,
            by: cycle.author(),
        }
    }
}

/// The try that begins next, apart from the cycle, which may be dropped meanwhile.
struct Next {
    claim: Claim,
    session: SessionId,
    email: EmailId,
    /// What is read with it makes it no part of a round.
    has_files: bool,
    /// It is laid down at the server, and then sent from there.
    by_draft: bool,
    by: Author,
}

impl Next {
    /// Begins it, under the fence of whoever asks.
    async fn begin(&self, tenant: &Tenant) -> store::Result<Option<Attempt>> {
        let Claim { mailbox, number, .. } = self.claim;
        let begun =
            outgoing::begin_attempt(tenant, mailbox, number, self.session, self.email, &self.by).await?;
        if let Some(attempt) = begun.as_ref().filter(|_| self.by_draft) {
            outgoing::goes_by_draft(tenant, attempt.id).await?;
        }
        Ok(begun)
    }

    /// Begins it in a transaction of its own, committed, which says what it is that no round did.
    async fn alone(&self, store: &Store, organization: OrganizationId) -> store::Result<Option<Attempt>> {
        let tenant = store.tenant(organization).await?;
        schedule::fence(&tenant, self.claim).await?;
        let attempt = self.begin(&tenant).await?;
        crash::point(Point::SendingBefore);
        tenant.commit().await?;
        crash::point(Point::SendingAfter);
        Ok(attempt)
    }

    /// As a part of a round, with the answer of the one before it.
    fn turn(&self, organization: OrganizationId, answer: Option<(Answer, i64)>) -> Turn {
        let Self { email, claim, session, by_draft, .. } = *self;
        let next = outgoing::Next { email, claim, session, by_draft };
        Turn { organization, answer, next: (!self.has_files).then_some(next), by: self.by.clone() }
    }
}
