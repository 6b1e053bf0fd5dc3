//! A watch: over one connection an Exchange server tells that something came into mailboxes, and each of those is wished for.
//!
//! It writes nothing but wishes and who listens: what came in, how it is judged and what is wrong with a mailbox is for cycles
//! to say. What it misses the next poll finds.

mod hearing;
mod subscribing;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mail::error::{Busy, Kind};
use model::actor::Actor;
use model::clock;
use model::failure::clamped;
use model::id::MailboxId;
use model::watch::{WORKED, pause};
use model::workload::{ServiceClass, Workload};
use store::change::Author;
use store::mailbox::{self, MailboxForCycle};
use store::watch::{self, Claimed, Member};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::access::{Keeper, NoAccess};
use crate::life::Under;
use crate::{Mail, Parts, lease_request};

/// How long before its claim ends a watch is given up: time to close the connection.
const PARTING: Duration = Duration::from_secs(10);
/// How long a server that asks to be left alone without saying how long is.
const BUSY: Duration = Duration::from_secs(60);
/// How long a watch whose mailboxes may not be processed at all is put off.
const UNFIT: Duration = Duration::from_secs(60);

/// How a watch listens.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Mailboxes on one connection.
    pub most: u32,
    /// For how long it was claimed.
    pub lasts: Duration,
    /// The least time between two wishes for one mailbox.
    pub wish_every: Duration,
    /// How long it listens before it ends for the sake of mailboxes that it has room for.
    pub join_after: Duration,
}

/// What a watch tells of itself, to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It listens to so many mailboxes more.
    Listens(i64),
    /// The server told of a mailbox.
    Notified,
    /// So many mailboxes became due by it.
    Wished(u64),
}

/// How a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// In order: its time was over, the process stops, or its mailboxes are others by now.
    InOrder,
    /// The connection broke, or was refused.
    Broken,
    /// There was no connection for it.
    Denied,
    /// Nothing of it may be listened to.
    Unfit,
    /// The session was lost: others have its mailboxes.
    Lost,
}

impl Ended {
    /// Its name, for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InOrder => "in_order",
            Self::Broken => "broken",
            Self::Denied => "denied",
            Self::Unfit => "unfit",
            Self::Lost => "lost",
        }
    }
}

/// A watch that is ours.
pub struct Watch {
    /// What it works with.
    pub parts: Parts,
    /// The session that it is claimed by.
    pub under: Under,
    /// Which it is.
    pub claimed: Claimed,
    /// How it listens.
    pub terms: Terms,
    /// Whom it tells of itself.
    pub tell: Arc<dyn Fn(Told) + Send + Sync>,
}

/// What ends a watch.
enum End {
    Over,
    Nothing,
    Denied(Duration),
    Broken(Broken),
    Lost,
}

/// What breaks one.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("{0}")]
    Mail(#[from] mail::Error),
    #[error("{0}")]
    Store(#[from] store::Error),
    #[error("there is nothing to sign in with now: {0:?}")]
    NoAccess(NoAccess),
    #[error("the lease is lost")]
    Lease,
    #[error("the server ended it at once")]
    AtOnce,
}

impl From<NoAccess> for Broken {
    fn from(why: NoAccess) -> Self {
        Self::NoAccess(why)
    }
}

/// What a watch is about.
struct Scene<'a> {
    mail: &'a Mail,
    /// The mailbox in whose name the connection is: the first by its address.
    anchor: MailboxForCycle,
    members: Vec<Member>,
    /// Since when the server is listened to.
    since: &'a OnceLock<Instant>,
    until: Instant,
}

impl Watch {
    /// Listens until its time is over, it breaks, or `stop`; then lets go of its mailboxes. `asked` is when it was claimed, or
    /// earlier.
    #[tracing::instrument(name = "watch", skip_all, fields(watch.id = %self.claimed.id, profile.id = %self.claimed.profile))]
    pub async fn run(self, asked: Instant, stop: &CancellationToken) -> Ended {
        let (mail, ends) = self.parts.mail.with_ends();
        let since = OnceLock::new();
        let (anchor, members) = match self.read().await {
            Ok(Some(read)) => read,
            Ok(None) => return self.settle(End::Nothing, None, &[], None).await,
            Err(error) => return self.settle(End::Broken(error.into()), None, &[], None).await,
        };
        let until = asked + self.terms.lasts.saturating_sub(PARTING);
        let scene = Scene { mail: &mail, anchor, members, since: &since, until };
        let request = lease_request(&mail, &scene.anchor, ServiceClass::Watch);
        let acquired = tokio::select! {
            biased;
            () = self.under.lost.cancelled() => return Ended::Lost,
            () = stop.cancelled() => None,
            acquired = self.under.acquire(request, &ends) => Some(acquired),
        };
        let end = match acquired {
            None => End::Over,
            Some(Err(denied)) => {
                tracing::info!("{denied}");
                End::Denied(denied.retry_after().unwrap_or(BUSY))
            }
            Some(Ok(lease)) => {
                let mut listening = Box::pin(self.listen(&scene));
                let end = tokio::select! {
                    biased;
                    () = self.under.lost.cancelled() => End::Lost,
                    () = lease.lost() => End::Broken(Broken::Lease),
                    () = stop.cancelled() => End::Over,
                    () = sleep_until(until) => End::Over,
                    end = &mut listening => end.unwrap_or_else(End::Broken),
                };
                if matches!(end, End::Lost | End::Broken(Broken::Lease)) {
                    lease.fall_silent();
                }
                // Dropped, it leaves its connection to the lease's ends.
                drop(listening);
                lease.release().await;
                end
            }
        };
        self.settle(end, Some(&scene.anchor), &scene.members, since.get().copied()).await
    }

    /// Who is to be listened to. `None`: nobody.
    async fn read(&self) -> store::Result<Option<(MailboxForCycle, Vec<Member>)>> {
        let tenant = self.parts.store.tenant(self.claimed.organization).await?;
        let members = watch::members(&tenant, self.claimed.id).await?;
        let Some(service) = members.iter().find_map(|member| member.service.clone()) else { return Ok(None) };
        let (members, others): (Vec<_>, Vec<_>) =
            members.into_iter().partition(|member| member.service.as_ref() == Some(&service));
        // Those that were found elsewhere are listened to there, together; those that were not found yet, later.
        for other in others {
            let (pause, apart) = match other.service {
                Some(_) => (Duration::ZERO, Some(self.claimed.id)),
                None => (UNFIT, None),
            };
            watch::put_off(&tenant, self.claimed.id, &[other.mailbox], pause, apart).await?;
        }
        let Some(first) = members.first() else { return Ok(None) };
        let anchor = mailbox::for_cycle(&tenant, first.mailbox, Workload::Incoming).await?;
        tenant.commit().await?;
        Ok(anchor.filter(MailboxForCycle::may_run).map(|anchor| (anchor, members)))
    }

    async fn listen(&self, scene: &Scene<'_>) -> Result<End, Broken> {
        let keeper = self.keeper(scene.mail);
        let access = keeper.access(&scene.anchor, None, &author(scene.anchor.id)).await?;
        let mut session = scene.mail.exchange(&scene.anchor, &access, None).await?;
        let Some(mut heard) = self.subscribe(&mut session, scene, &keeper, access).await? else {
            return Ok(End::Nothing);
        };
        scene.since.get_or_init(Instant::now);
        tracing::info!(mailboxes = heard.mailboxes().len(), "listening");
        let counted = Counted::of(heard.mailboxes().len(), &self.tell);
        let end = self.hear(&mut session, &mut heard, scene).await;
        drop(counted);
        session.close();
        end
    }

    /// Makes due what was not heard of, and lets go of what is left of the watch.
    async fn settle(
        &self,
        end: End,
        anchor: Option<&MailboxForCycle>,
        members: &[Member],
        since: Option<Instant>,
    ) -> Ended {
        let failures = members.iter().map(|member| member.failures).max().unwrap_or(0);
        let (ended, failures, pause) = match end {
            // Whoever has them now begins with a wish.
            End::Lost => return Ended::Lost,
            End::Over => (Ended::InOrder, 0, None),
            End::Nothing => (Ended::Unfit, failures, Some(UNFIT)),
            End::Denied(pause) => (Ended::Denied, failures, Some(pause)),
            End::Broken(why) => {
                tracing::info!("the watch broke: {why}");
                let worked = since.is_some_and(|since| since.elapsed() >= WORKED);
                let failures = if worked { 1 } else { failures.saturating_add(1) };
                let asked = anchor.and_then(|anchor| self.hold_back(anchor, &why));
                let pause = pause(failures, clock::random_fraction()).max(asked.unwrap_or_default());
                if since.is_some() {
                    let mailboxes: Vec<_> = members.iter().map(|member| member.mailbox).collect();
                    self.wish(&mailboxes).await.ok();
                }
                (Ended::Broken, failures, Some(pause))
            }
        };
        let (store, claimed) = (&self.parts.store, &self.claimed);
        let released = store
            .in_tenant(claimed.organization, async |tenant| {
                watch::release(tenant, claimed.id, failures, pause).await
            })
            .await;
        if let Err(error) = released {
            // The next claim of this session sets free what it does not know of; its end does, too.
            tracing::warn!("the watch could not be released: {error}");
        }
        ended
    }

    /// Tells every worker what the server asked for, and says how long that is.
    fn hold_back(&self, anchor: &MailboxForCycle, why: &Broken) -> Option<Duration> {
        let Broken::Mail(error) = why else { return None };
        let (throttle, endpoint) = (&self.under.throttle, anchor.endpoint());
        let pause = clamped(error.retry_after().unwrap_or(BUSY));
        match error.kind() {
            Kind::Throttled(Busy::Server) => {
                throttle.report_back_off(anchor.profile, endpoint, pause);
                Some(pause)
            }
            // Too many connections or subscriptions of one account are no reason to leave its mail alone.
            Kind::Throttled(Busy::Mailbox) => Some(pause),
            _ => error.retry_after().map(clamped),
        }
    }

    /// Makes mailboxes due.
    async fn wish(&self, mailboxes: &[MailboxId]) -> store::Result<()> {
        let wished = self
            .parts
            .store
            .in_tenant(self.claimed.organization, async |tenant| watch::wish(tenant, mailboxes).await)
            .await
            .inspect_err(|error| tracing::warn!("mailboxes could not be made due: {error}"))?;
        (self.tell)(Told::Wished(wished));
        Ok(())
    }

    fn keeper<'a>(&'a self, mail: &'a Mail) -> Keeper<'a> {
        let Parts { store, keys, .. } = &self.parts;
        Keeper { store, keys, mail, organization: self.claimed.organization }
    }
}

/// Whom the change log names for a token that is renewed on the way.
fn author(mailbox: MailboxId) -> Author {
    Author::new(Actor::Cycle { mailbox, workload: Workload::Incoming, claim: 0 }, "listening")
}

/// Counts mailboxes for as long as they are listened to.
struct Counted<'a> {
    mailboxes: i64,
    tell: &'a (dyn Fn(Told) + Send + Sync),
}

impl<'a> Counted<'a> {
    fn of(mailboxes: usize, tell: &'a Arc<dyn Fn(Told) + Send + Sync>) -> Self {
        let mailboxes = i64::try_from(mailboxes).unwrap_or(i64::MAX);
        tell(Told::Listens(mailboxes));
        Self { mailboxes, tell: tell.as_ref() }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        (self.tell)(Told::Listens(-self.mailboxes));
    }
}
