//! The beginning of a cycle: what its claim and its mailbox say, before anything is connected to.

use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mail::transport::Ends;
use mail::{ews, smtp};
use model::actor::Actor;
use model::id::{OrganizationId, SessionId};
use model::workload::Workload;
use store::change::Author;
use store::mailbox::MailboxForCycle;
use store::schedule::{Claim, ClaimedCycle};
use store::seal::KeyRing;
use store::{Store, health, mailbox, schedule};
use throttle::{Allowance, Rate};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::{Access, Keeper, NoAccess};
use crate::ending::{Ending, Interrupted};
use crate::outgoing::{self, Sends};
use crate::pace::Pace;
use crate::search::{search, sought};
use crate::{Mail, incoming};

/// What every cycle of a process works with. Cheap to clone.
#[derive(Clone)]
pub struct Parts {
    /// The database.
    pub store: Store,
    /// How servers are reached.
    pub mail: Mail,
    /// What secrets are opened with.
    pub keys: Arc<KeyRing>,
    /// Cancelled when the process is to stop: a cycle ends at its next seam, as at a cap.
    pub drain: CancellationToken,
}

/// A cycle that is ours to run.
pub struct Cycle {
    pub(crate) parts: Parts,
    pub(crate) organization: OrganizationId,
    pub(crate) session: SessionId,
    pub(crate) claimed: ClaimedCycle,
    /// What the mailbox says.
    pub mailbox: MailboxForCycle,
    pub(crate) work: Work,
    /// What its server was looked for in vain with, where an older answer is gone on with.
    in_vain: Option<Ending>,
    ends: Ends,
    /// The least time between two sign-ins that the server announced to this mailbox.
    pub(crate) login_delay: OnceLock<Duration>,
    /// What is still being written although the cycle was dropped: the ends of tries to send.
    pub(crate) writes: TaskTracker,
    /// What it may use of the rates of its server.
    pub(crate) pace: Pace,
}

/// What a connection would be for.
pub(crate) enum Work {
    /// Nothing.
    None,
    /// To read what is new.
    Incoming,
    /// To send what is pending, and to look for what may have been sent.
    Outgoing(Sends),
}

impl Cycle {
    /// Reads what the cycle needs. `None` when the mailbox is gone, or the claim is no longer ours.
    pub async fn start(
        parts: &Parts,
        organization: OrganizationId,
        session: SessionId,
        claimed: ClaimedCycle,
    ) -> store::Result<Option<Self>> {
        let claim = claimed.claim;
        let (mail, ends) = parts.mail.with_ends();
        let begun = async {
            let tenant = parts.store.tenant(organization).await?;
            // Only the beginning of sending writes: what a dead cycle left in doubt, what waited for too long.
            let (ours, mailbox) = tokio::join!(
                async {
                    match claim.workload {
                        Workload::Outgoing => schedule::fence(&tenant, claim).await,
                        Workload::Incoming | Workload::Act => schedule::ours(&tenant, claim).await,
                    }
                },
                mailbox::for_cycle(&tenant, claim.mailbox, claim.workload),
            );
            ours?;
            let Some(mut mailbox) = mailbox? else { return Ok(None) };
            if mailbox.sought.is_some_and(|sought| !sought.known) {
                mailbox = sought(&mailbox);
            }
            let work = match claim.workload {
                _ if !mailbox.may_run() => Work::None,
                Workload::Incoming => Work::Incoming,
                Workload::Outgoing => {
                    match outgoing::pending(&tenant, parts, &mailbox, claim, &author(&claim)).await? {
                        sends if sends.is_empty() => Work::None,
                        sends => Work::Outgoing(sends),
                    }
                }
                // POP3 and SMTP have no appointments, contacts and tasks.
                Workload::Act => Work::None,
            };
            tenant.commit().await?;
            Ok(Some((mailbox, work)))
        };
        match begun.await {
            Ok(Some((mailbox, work))) => Ok(Some(Self {
                parts: Parts { mail, ..parts.clone() },
                organization,
                session,
                claimed,
                mailbox,
                work,
                in_vain: None,
                ends,
                login_delay: OnceLock::new(),
                writes: TaskTracker::new(),
                pace: Pace::default(),
            })),
            Ok(None) | Err(store::Error::Fenced) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether there is anything to connect for.
    pub fn needs_connection(&self) -> bool {
        !matches!(self.work, Work::None)
    }

    /// Whether its server must be looked for first, under a lease of its own for [`Cycle::sought`].
    pub fn must_seek(&self) -> bool {
        self.mailbox.must_be_sought()
    }

    /// The mailbox as it is while its server is looked for.
    pub fn sought(&self) -> MailboxForCycle {
        sought(&self.mailbox)
    }

    /// Looks for the mailbox's server, by `mail`, which leaves its connections elsewhere. `Break` when the cycle ends with that;
    /// with nothing in it when the claim is no longer ours.
    pub async fn seek(&mut self, mail: &Mail) -> ControlFlow<Option<Ending>> {
        match self.searched(mail).await {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(ending)) => ControlFlow::Break(Some(ending)),
            Err(Interrupted::Fenced) => ControlFlow::Break(None),
            Err(Interrupted::Store(error) | Interrupted::NoAccess(NoAccess::Store(error))) => {
                tracing::warn!("the cycle ends early: {error}");
                ControlFlow::Break(Some(Ending::of_store(&error, &self.mailbox)))
            }
            Err(Interrupted::NoAccess(why)) => {
                ControlFlow::Break(Some(Ending::without_access(&why, &self.mailbox)))
            }
            Err(_) => ControlFlow::Break(Some(Ending::ours())),
        }
    }

    async fn searched(&mut self, mail: &Mail) -> Result<Option<Ending>, Interrupted> {
        let by = self.author();
        let keeper = Keeper { mail, ..self.keeper() };
        let found = search(&keeper, &self.mailbox, &by).await?;
        let tenant = self.parts.store.tenant(self.organization).await?;
        schedule::fence(&tenant, self.claimed.claim).await?;
        let ending = match found {
            Ok(service) => {
                if mailbox::keep_found(&tenant, &self.mailbox, &service, &by).await? {
                    self.mailbox.lead_to(&service);
                    None
                } else {
                    // The profile is another by now: the next cycle asks by what it says.
                    Some(Ending::ours())
                }
            }
            Err(unfound) if self.mailbox.sought.is_some_and(|sought| sought.known) => {
                tracing::info!(
                    "the mailbox's server was looked for in vain: the one that is known is tried again"
                );
                mailbox::asked_in_vain(&tenant, self.mailbox.id).await?;
                self.in_vain = Some(Ending::unfound(unfound));
                None
            }
            Err(unfound) => Some(Ending::unfound(unfound)),
        };
        tenant.commit().await?;
        Ok(ending)
    }

    /// How it ends when the server that was found for its mailbox is to be left alone, for it is down. `Break` as with
    /// [`Cycle::seek`].
    pub async fn waits_for_server(&self) -> ControlFlow<Option<Ending>> {
        if self.mailbox.sought.is_none() {
            return ControlFlow::Continue(());
        }
        let asked = async {
            let tenant = self.parts.store.tenant(self.organization).await?;
            schedule::fence(&tenant, self.claimed.claim).await?;
            let probe = 2 * self.mailbox.server.connect_timeout;
            let (profile, endpoint) = (self.mailbox.profile, self.mailbox.endpoint());
            let held = health::held_back(&tenant, profile, endpoint, probe).await?;
            tenant.commit().await?;
            Ok(held)
        };
        match asked.await {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(pause)) => ControlFlow::Break(Some(Ending::server_down(pause))),
            Err(store::Error::Fenced) => ControlFlow::Break(None),
            Err(error) => ControlFlow::Break(Some(Ending::of_store(&error, &self.mailbox))),
        }
    }

    /// What is asked for with its lease, of the rates that its server is held to; once it is known which one that is.
    pub fn rates(&mut self) -> Vec<Rate> {
        let (pace, rates) = Pace::of(self.organization, &self.mailbox);
        self.pace = pace;
        rates
    }

    /// What it was allowed of them.
    pub fn begin(&self, allowance: &Allowance) {
        self.pace.begin(allowance);
    }

    /// Counts what was used by now, before the lease is given back.
    pub fn settle(&self) {
        self.pace.settle();
    }

    /// Where the cycle leaves connections that the server has not closed.
    pub fn ends(&self) -> &Ends {
        &self.ends
    }

    /// Runs the cycle to one of its ends. `may_go_on` is asked right before what cannot be undone: whether the lease
    /// still holds. `None` when the claim is no longer ours, and nothing more may be written under it.
    ///
    /// Dropping the future leaves the connection to [`Cycle::ends`]: what was not committed did not happen.
    #[tracing::instrument(
        name = "cycle",
        skip_all,
        fields(mailbox.id = %self.mailbox.id, workload = %self.mailbox.workload, cycle.no = self.claimed.claim.number)
    )]
    pub async fn run(&mut self, may_go_on: impl Fn() -> bool + Send + Sync) -> Option<Ending> {
        let work = std::mem::replace(&mut self.work, Work::None);
        let result = match work {
            Work::None => return Some(Ending::idle()),
            Work::Incoming => incoming::run(self).await,
            Work::Outgoing(sends) => outgoing::run(self, sends, &may_go_on).await,
        };
        match result {
            Ok(ending) => Some(ending.paced(self.pace.stopped())),
            Err(Interrupted::Fenced) => {
                tracing::info!("the claim went to somebody else: stopping without a word");
                None
            }
            Err(Interrupted::Store(error)) => {
                tracing::warn!("the cycle ends early: {error}");
                Some(Ending::of_store(&error, &self.mailbox))
            }
            Err(Interrupted::Withheld(refused, error)) => {
                Some(Ending::withheld(refused, &error, &self.mailbox))
            }
            Err(Interrupted::Mail(error)) => {
                // Gone from where it was, and not found elsewhere: the search says what a person can do.
                let in_vain = self.in_vain.take().filter(|_| error.says_moved());
                Some(in_vain.unwrap_or_else(|| Ending::failed(&error, &self.mailbox)))
            }
            Err(Interrupted::LeaseLost) => Some(Ending::ours()),
            Err(Interrupted::NoAccess(NoAccess::Store(error))) => {
                tracing::warn!("the cycle ends early: {error}");
                Some(Ending::of_store(&error, &self.mailbox))
            }
            Err(Interrupted::NoAccess(why)) => Some(Ending::without_access(&why, &self.mailbox)),
        }
    }

    /// What to sign in with; after `refused`, another token where one may help.
    pub(crate) async fn access(&self, refused: Option<&Access>) -> Result<Access, Interrupted> {
        Ok(self.keeper().access(&self.mailbox, refused, &self.author()).await?)
    }

    /// Opens a connection for sending. A token that is refused is renewed once: it may have been taken back before its end.
    pub(crate) async fn open(&self) -> Result<smtp::Session, Interrupted> {
        let settings = self.parts.mail.smtp(&self.mailbox)?;
        let endpoint = &self.mailbox.server.outgoing;
        let access = self.access(None).await?;
        match smtp::Session::open(endpoint, &settings, &access.login, access.proof()).await {
            Err(error) if Keeper::may_renew(&access, &error) => {
                let access = self.access(Some(&access)).await?;
                Ok(smtp::Session::open(endpoint, &settings, &access.login, access.proof()).await?)
            }
            other => Ok(other?),
        }
    }

    /// Opens a session at an Exchange server, which signs in with its first question.
    pub(crate) async fn exchange(
        &self,
        access: &Access,
        version: Option<&str>,
    ) -> Result<ews::Session, Interrupted> {
        let mut session = self.parts.mail.exchange(&self.mailbox, access, version).await?;
        session.count_in(self.pace.tally());
        Ok(session)
    }

    fn keeper(&self) -> Keeper<'_> {
        let Parts { store, keys, mail, .. } = &self.parts;
        Keeper { store, keys, mail, organization: self.organization }
    }

    /// Keeps the pause that the server wants before the next sign-in (RFC 2449 section 6.5).
    pub(crate) fn note_login_delay(&self, announced: Option<Duration>) {
        if let Some(delay) = announced.filter(|delay| !delay.is_zero()) {
            self.login_delay.get_or_init(|| delay);
        }
    }

    /// Whom the change log names for what this cycle does.
    pub(crate) fn author(&self) -> Author {
        author(&self.claimed.claim)
    }
}

fn author(claim: &Claim) -> Author {
    let actor = Actor::Cycle { mailbox: claim.mailbox, workload: claim.workload, claim: claim.number };
    Author::new(actor, "synchronization")
}
