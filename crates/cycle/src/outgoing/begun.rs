//! A try that has begun. Its end is written down once, whatever becomes of the cycle: dropped before the final dot was
//! let go it is *not sent*, after it *unknown*. It never leaves the email in Sending while the process lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::alert::AlertKind;
use model::crash::{self, Point};
use model::email::{EmailState, Leftover, SendAnswer};
use model::id::{EmailId, OrganizationId};
use serde_json::{Value, json};
use store::alert::{NewAlert, Subject};
use store::change::Author;
use store::outgoing::{Answer, Attempt, Turn, Turned};
use store::{Store, Tenant, alert, outgoing, schedule};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::Next;
use crate::ending::Interrupted;
use crate::start::Cycle;

/// How often an answer is tried to be written. After that the email stays in Sending, and the next claim finds it in
/// doubt: better than to guess.
const WRITE_TRIES: u32 = 10;

/// What is to be told about a try.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) kind: AlertKind,
    pub(super) parameters: Value,
    pub(super) said: Option<String>,
}

/// Where the ends of tries are written.
#[derive(Clone)]
pub(super) struct Desk {
    store: Store,
    organization: OrganizationId,
    by: Author,
    /// The endpoint's key, for the sentences of alerts.
    endpoint: String,
    /// What is still being written when a cycle is dropped; the end of the cycle waits for it.
    writes: TaskTracker,
}

/// A try whose end is not written yet.
pub(super) struct Begun {
    pub(super) attempt: Attempt,
    desk: Desk,
    /// The final dot may have left from here on.
    dot: Arc<AtomicBool>,
    /// What came of it, once that is known.
    known: Option<(Answer, Vec<Told>)>,
    /// What it leaves at the server as it stands.
    leaves: Option<Leftover>,
    /// In doubt, the server can be asked before a person is.
    can_be_asked: bool,
    open: bool,
}

/// A try whose answer is known and not written yet. Dropped, it is written all the same.
pub(super) struct Answered(Box<Begun>);

/// What became of an answer that was written together with the beginning of the next try.
enum Exchanged {
    /// The next one began, or was no longer to be sent.
    Began(Option<Box<Attempt>>),
    /// The answer is written; the claim is no longer ours.
    Fenced,
}

impl Desk {
    pub(super) fn of(cycle: &Cycle) -> Self {
        Self {
            store: cycle.parts.store.clone(),
            organization: cycle.organization,
            by: cycle.author(),
            endpoint: cycle.mailbox.endpoint().key(),
            writes: cycle.writes.clone(),
        }
    }

    /// Runs to its end although the cycle that asked may be dropped meanwhile.
    pub(super) async fn finished<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> store::Result<T> {
        let ended = self.writes.spawn(work.in_current_span()).await;
        ended.map_err(|_| store::Error::Broken("a task of sending ended early".to_owned()))
    }

    pub(super) fn told(&self, kind: AlertKind, mut parameters: Value, said: Option<&str>) -> Told {
        parameters["endpoint"] = json!(self.endpoint);
        Told { kind, parameters, said: said.map(str::to_owned) }
    }
}

impl Begun {
    pub(super) fn new(attempt: Attempt, desk: Desk) -> Self {
        let known = None;
        Self { attempt, desk, dot: Arc::default(), known, leaves: None, can_be_asked: false, open: true }
    }

    /// It goes in two steps: from here on something of it may lie at the server, under its name.
    pub(super) fn lays_down(&mut self) {
        self.leaves = Some(Leftover::Draft);
        self.can_be_asked = true;
    }

    /// What it leaves at the server.
    pub(super) fn leaves(&mut self, what: Option<Leftover>) {
        self.leaves = what;
    }

    /// Set right before the final dot is let go: from then on nobody but the server knows.
    pub(super) fn dot(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.dot)
    }

    pub(super) fn told(&self, kind: AlertKind, parameters: Value, said: Option<&str>) -> Told {
        self.desk.told(kind, parameters, said)
    }

    /// The end of the try is known: written with the beginning of the next one, or by itself.
    pub(super) fn answered(mut self, answer: Answer, told: Vec<Told>) -> Answered {
        self.known = Some((answer, told));
        Answered(Box::new(self))
    }

    /// Writes the end of the try, not fenced: a server's word is true whoever holds the claim by now.
    pub(super) async fn end(self, answer: Answer, told: Vec<Told>) -> Result<(), Interrupted> {
        self.answered(answer, told).write().await
    }

    /// The message never left: its recipients wait as before, each time longer where the connection broke over it.
    pub(super) async fn end_not_sent(
        self,
        said: Option<&str>,
        retry_after: Duration,
    ) -> Result<(), Interrupted> {
        let answer = self.not_sent(said, retry_after);
        self.end(answer, Vec::new()).await
    }

    fn not_sent(&self, said: Option<&str>, retry_after: Duration) -> Answer {
        Answer {
            attempt: self.attempt.id,
            answer: SendAnswer::NotSent,
            said: said.map(str::to_owned),
            recipients: Vec::new(),
            retry_after,
        }
    }

    /// What is to be written of it; from here on that is the caller's to do.
    fn close(&mut self) -> Writing {
        self.open = false;
        let (answer, told) = self.known.take().unwrap_or_else(|| self.broken_off());
        let doubled = self.told(AlertKind::MaybeSentTwice, json!({}), None);
        Writing {
            desk: self.desk.clone(),
            asks: self.can_be_asked && answer.answer == SendAnswer::Unknown,
            answer,
            version: self.attempt.version,
            told,
            doubled,
            leaves: self.leaves,
        }
    }
}

impl Begun {
    /// A try that nobody ended: not sent before the final dot, in doubt after it.
    fn broken_off(&self) -> (Answer, Vec<Told>) {
        let mut answer = self.not_sent(None, Duration::ZERO);
        let mut told = Vec::new();
        if self.dot.load(Ordering::SeqCst) {
            answer.answer = SendAnswer::Unknown;
            if !self.can_be_asked {
                told.push(self.told(AlertKind::SendUnknown, json!({}), None));
            }
        }
        tracing::warn!(answer = %answer.answer, "a try was broken off");
        (answer, told)
    }
}

impl Answered {
    /// Writes the end of the try, not fenced: a server's word is true whoever holds the claim by now.
    pub(super) async fn write(mut self) -> Result<(), Interrupted> {
        let desk = self.0.desk.clone();
        let work = async move {
            let writing = self.0.close();
            // Whatever came of the round, what it did not write is written.
            match writing.together(None).await {
                Ok(turned) if turned.answered => Ok(()),
                _ => writing.run().await,
            }
        };
        Ok(desk.finished(Box::pin(work)).await??)
    }

    /// Writes the end of the try and begins the next one in one transaction: one commit a message instead of two, and never
    /// two messages in Sending. When the next one cannot begin, the end is written by itself. Runs to its end although the
    /// cycle may be dropped.
    pub(super) async fn exchange(mut self, next: Next) -> Result<Option<Begun>, Interrupted> {
        let desk = self.0.desk.clone();
        let work = async move {
            let writing = self.0.close();
            match writing.exchange(&next).await {
                Ok(Exchanged::Began(attempt)) => {
                    Ok(attempt.map(|attempt| Begun::new(*attempt, writing.desk.clone())))
                }
                Ok(Exchanged::Fenced) => Err(store::Error::Fenced),
                Err(error) => {
                    writing.run().await?;
                    Err(error)
                }
            }
        };
        Ok(desk.finished(Box::pin(work)).await??)
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Without a runtime the process is ending: the next claim finds the email in Sending, and in doubt.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.open {
            return;
        }
        let writing = self.close();
        let write = async move {
            if let Err(error) = writing.run().await {
                tracing::error!("the end of a try could not be written: {error}");
            }
        };
        self.desk.writes.spawn_on(write.in_current_span(), &runtime);
    }
}

/// An answer on its way into the records.
struct Writing {
    desk: Desk,
    answer: Answer,
    /// Of the email, since its try began.
    version: i64,
    told: Vec<Told>,
    /// What is told when the email turns out to be accepted twice.
    doubled: Told,
    /// What stays at the server, to be removed there.
    leaves: Option<Leftover>,
    /// The server is asked what became of it, before a person is told.
    asks: bool,
}

impl Writing {
    /// Writes it as a part of a round, with the beginning of the next try; nothing when there is more to write than that it was
    /// sent.
    async fn together(&self, next: Option<&Next>) -> store::Result<Turned> {
        if !self.told.is_empty() || self.leaves.is_some() {
            return Ok(Turned::default());
        }
        let (organization, answer) = (self.desk.organization, Some((self.answer.clone(), self.version)));
        let turn = match next {
            Some(next) => next.turn(organization, answer),
            None => Turn { organization, answer, next: None, by: self.desk.by.clone() },
        };
        outgoing::turn_together(&self.desk.store, turn).await
    }

    async fn run(&self) -> store::Result<()> {
        let mut tries = 1;
        loop {
            let (store, organization) = (&self.desk.store, self.desk.organization);
            let written = store.in_tenant(organization, async |tenant| self.once(tenant).await).await;
            if written.is_ok() {
                crash::point(Point::SentAfter);
            }
            match written {
                Err(store::Error::Away(reason)) if tries < WRITE_TRIES => {
                    tracing::warn!("a server's answer could not be written, trying again: {reason}");
                    tries += 1;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                written => return written,
            }
        }
    }

    /// Together with what else is asked for at this moment; what the round did not do, in a transaction of its own.
    async fn exchange(&self, next: &Next) -> store::Result<Exchanged> {
        if next.has_files {
            return self.exchange_alone(next).await;
        }
        let turned = self.together(Some(next)).await?;
        match (turned.answered, turned.begun) {
            (true, Some(begun)) => Ok(Exchanged::Began(Some(Box::new(begun)))),
            (true, None) => match next.alone(&self.desk.store, self.desk.organization).await {
                Ok(begun) => Ok(Exchanged::Began(begun.map(Box::new))),
                Err(store::Error::Fenced) => Ok(Exchanged::Fenced),
                Err(error) => Err(error),
            },
            (false, _) => self.exchange_alone(next).await,
        }
    }

    /// The fence first, as everybody locks the schedule row before the emails; what it says holds only for what begins.
    async fn exchange_alone(&self, next: &Next) -> store::Result<Exchanged> {
        let tenant = self.desk.store.tenant(self.desk.organization).await?;
        let ours = match schedule::fence(&tenant, next.claim).await {
            Ok(()) => true,
            Err(store::Error::Fenced) => false,
            Err(error) => return Err(error),
        };
        self.once(&tenant).await?;
        let begun = if ours { next.begin(&tenant).await? } else { None };
        if begun.is_some() {
            crash::point(Point::SendingBefore);
        }
        tenant.commit().await?;
        crash::point(Point::SentAfter);
        if begun.is_some() {
            crash::point(Point::SendingAfter);
        }
        Ok(if ours { Exchanged::Began(begun.map(Box::new)) } else { Exchanged::Fenced })
    }

    async fn once(&self, tenant: &Tenant) -> store::Result<()> {
        let answered = outgoing::record_answer(tenant, &self.answer, &self.desk.by).await?;
        if let Some(what) = self.leaves {
            outgoing::leaves(tenant, self.answer.attempt, what).await?;
        }
        if self.asks && answered.decided && answered.state == EmailState::Unknown {
            outgoing::ask_for(tenant, self.answer.attempt, outgoing::ASKED_FOR).await?;
        }
        let mut over = Vec::new();
        if answered.decided && answered.state != EmailState::Unknown {
            // A late answer settles what a newer claim found in doubt.
            over.push(AlertKind::SendUnknown);
        }
        if answered.decided && answered.state != EmailState::PendingSend {
            over.push(AlertKind::SendWaiting);
        }
        if !over.is_empty() {
            alert::resolve(tenant, &over, Subject::Email(answered.email), None).await?;
        }
        // A report may have ended the doubt before it was written down.
        let passed =
            |told: &Told| told.kind == AlertKind::SendUnknown && answered.state != EmailState::Unknown;
        for told in self.told.iter().filter(|told| answered.decided && !passed(told)) {
            alert::raise(tenant, &told.about(answered.email)).await?;
        }
        if answered.doubled {
            alert::raise(tenant, &self.doubled.about(answered.email)).await?;
        }
        crash::point(Point::SentBefore);
        Ok(())
    }
}

impl Told {
    fn about(&self, email: EmailId) -> NewAlert {
        NewAlert {
            kind: self.kind,
            subject: Subject::Email(email),
            detail: String::new(),
            parameters: self.parameters.clone(),
            server_said: self.said.clone(),
        }
    }
}
