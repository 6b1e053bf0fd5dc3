//! A try that has begun. Its end is written down once, whatever becomes of the cycle: dropped before the final dot was
//! let go it is *not sent*, after it *unknown*. It never leaves the email in Sending while the process lives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::alert::AlertKind;
use model::crash::{self, Point};
use model::email::{EmailState, SendAnswer};
use model::id::{EmailId, OrganizationId};
use serde_json::{Value, json};
use store::alert::{NewAlert, Subject};
use store::change::Author;
use store::outgoing::{Answer, Attempt};
use store::{Store, Tenant, alert, outgoing};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

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
    open: bool,
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
        Self { attempt, desk, dot: Arc::default(), open: true }
    }

    /// Set right before the final dot is let go: from then on nobody but the server knows.
    pub(super) fn dot(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.dot)
    }

    pub(super) fn told(&self, kind: AlertKind, parameters: Value, said: Option<&str>) -> Told {
        self.desk.told(kind, parameters, said)
    }

    /// Writes the end of the try, not fenced: a server's word is true whoever holds the claim by now.
    pub(super) async fn end(mut self, answer: Answer, told: Vec<Told>) -> Result<(), Interrupted> {
        self.open = false;
        let writing = self.writing(answer, told);
        Ok(self.desk.finished(writing.run()).await??)
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

    fn writing(&self, answer: Answer, told: Vec<Told>) -> Writing {
        let doubled = self.told(AlertKind::MaybeSentTwice, json!({}), None);
        Writing { desk: self.desk.clone(), answer, told, doubled }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        // Without a runtime the process is ending: the next claim finds the email in Sending, and in doubt.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.open {
            return;
        }
        let mut answer = self.not_sent(None, Duration::ZERO);
        let mut told = Vec::new();
        if self.dot.load(Ordering::SeqCst) {
            answer.answer = SendAnswer::Unknown;
            told.push(self.told(AlertKind::SendUnknown, json!({}), None));
        }
        tracing::warn!(answer = %answer.answer, "a try was broken off");
        let writing = self.writing(answer, told);
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
    told: Vec<Told>,
    /// What is told when the email turns out to be accepted twice.
    doubled: Told,
}

impl Writing {
    async fn run(self) -> store::Result<()> {
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

    async fn once(&self, tenant: &Tenant) -> store::Result<()> {
        let answered = outgoing::record_answer(tenant, &self.answer, &self.desk.by).await?;
        if answered.decided && answered.state != EmailState::Unknown {
            // A late answer settles what a newer claim found in doubt.
            alert::resolve(tenant, &[AlertKind::SendUnknown], Subject::Email(answered.email), None).await?;
        }
        if answered.decided && answered.state != EmailState::PendingSend {
            let email = Subject::Email(answered.email);
            alert::resolve(tenant, &[AlertKind::SendWaiting], email, None).await?;
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
