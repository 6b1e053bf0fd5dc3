//! The handle a worker process asks with. It holds no state: everything lives in the one link task behind it.

use std::time::Duration;

use model::clock;
use model::endpoint::Endpoint;
use model::id::{MailboxId, ProfileId, SessionId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use crate::config::{Config, ConfigError};
use crate::lease::Lease;
use crate::link::{Command, Link};
use crate::rate::Rate;
use crate::request::{AcquireRequest, Denied, endpoint_key, mailbox_key};
use crate::v1;

/// Who asks: the same for the whole life of a process.
#[derive(Clone, Debug)]
pub struct Session {
    /// The worker's session row.
    pub id: SessionId,
    /// Host name and process id, for people.
    pub process: String,
}

/// The door to the coordinators. Clones share one stream.
#[derive(Clone, Debug)]
pub struct Throttle {
    commands: mpsc::UnboundedSender<Command>,
    wait: Duration,
    away_snooze: Duration,
}

impl Throttle {
    /// Starts the link to the coordinators and returns at once; it connects, and connects again, by itself. Must be
    /// called inside a tokio runtime.
    pub fn connect(config: &Config, session: Session) -> Result<Self, ConfigError> {
        let (commands, inbox) = mpsc::unbounded_channel();
        let link = Link::new(config.endpoints()?, config.bearer()?, session, commands.downgrade(), inbox);
        tokio::spawn(link.run());
        Ok(Self { commands, wait: config.wait(), away_snooze: config.away_snooze() })
    }

    /// Waits in the queue for a lease over all limits of the request. Dropping the future leaves the queue.
    pub async fn acquire(&self, request: AcquireRequest) -> Result<Lease, Denied> {
        self.acquire_within(request, Vec::new()).await
    }

    /// The same with what is to be allowed of rates: there is no lease without the least of each.
    #[tracing::instrument(name = "lease.acquire", skip_all, fields(class = %request.class))]
    pub async fn acquire_within(&self, request: AcquireRequest, rates: Vec<Rate>) -> Result<Lease, Denied> {
        let wait = request.wait.unwrap_or(self.wait);
        let id: Uuid = clock::new_id();
        let away = || Denied::Away { retry_after: self.away_snooze };
        let (answer, answered) = oneshot::channel();
        let deadline = Instant::now() + wait;
        let unspent = rates.iter().map(Rate::to_wire).collect();
        let mut guard = Abandoned { id, commands: &self.commands, unspent, armed: true };
        let command = Command::Acquire { id, request, rates, deadline, answer };
        self.commands.send(command).map_err(|_| away())?;
        // The coordinator answers by the deadline. When it does not, it is away, whatever it may think.
        let answered = tokio::time::timeout_at(deadline + Duration::from_secs(1), answered).await;
        match answered {
            Ok(Ok(answer)) => {
                guard.armed = false;
                answer.map_err(|denied| match denied {
                    Denied::Away { retry_after } if retry_after.is_zero() => away(),
                    denied => denied,
                })
            }
            _ => Err(away()),
        }
    }

    /// Tells every worker to leave an endpoint alone, because its server said so.
    pub fn report_back_off(&self, profile: ProfileId, endpoint: &Endpoint, pause: Duration) {
        self.hold_back(endpoint_key(profile, endpoint), pause);
    }

    /// Tells every worker to leave one mailbox at an endpoint alone, because its server said so.
    pub fn report_mailbox_back_off(&self, mailbox: MailboxId, endpoint: &Endpoint, pause: Duration) {
        self.hold_back(mailbox_key(mailbox, endpoint), pause);
    }

    /// The same for any limit by its key.
    pub fn hold_back(&self, key: String, pause: Duration) {
        self.commands.send(Command::BackOff { key, pause }).ok();
    }

    /// Ends the link in order, when every connection is closed: what is still held is free at once. Waits 2 s at most.
    pub async fn goodbye(self) {
        let (done, said) = oneshot::channel();
        if self.commands.send(Command::Goodbye { done }).is_ok() {
            tokio::time::timeout(Duration::from_secs(2), said).await.ok();
        }
    }
}

/// Takes a request back when its caller stopped waiting, so that no slot is granted to nobody.
struct Abandoned<'a> {
    id: Uuid,
    commands: &'a mpsc::UnboundedSender<Command>,
    unspent: Vec<v1::Rate>,
    armed: bool,
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if self.armed {
            let spent = std::mem::take(&mut self.unspent);
            self.commands.send(Command::Release { id: self.id, in_doubt: false, spent, done: None }).ok();
        }
    }
}
