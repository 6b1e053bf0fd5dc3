//! What happens to a delivery: claim the cycle or drop it; ack; acquire a lease or snooze; connect and run; finish.

use std::ops::ControlFlow;
use std::time::Duration;

use broker::{Claimed, CycleInvitation, Delivery, Handler, Invitation};
use cycle::hand::{Hand, until_heard};
use cycle::life::Under;
use cycle::{BackOff, Cycle, Ending, Held};
use model::crash::{self, Point};
use store::schedule::{self, Claim, ClaimedCycle};
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use crate::instruments::Instruments;
use crate::trace;

/// Runs cycles for one session.
pub(crate) struct Cycles {
    parts: cycle::Parts,
    under: Under,
    instruments: Instruments,
    hand: Hand<Claim>,
}

/// How long a cycle that must stop still takes in what its server said already: a process that goes on after it was stopped
/// learns of the time before it learns what came in.
const HEARING: Duration = Duration::from_millis(100);

impl Handler for Cycles {
    async fn handle(&self, delivery: Delivery) -> Claimed {
        let Invitation::Cycle(invitation) = delivery.invitation else { return Claimed::Asked };
        let span = trace::span(&invitation, delivery.trace.as_ref());
        // On the heap: a cycle's state is large, and a thousand of them may wait.
        Box::pin(self.deliver(delivery, invitation).instrument(span)).await
    }

    async fn can_ask(&self) -> bool {
        self.parts.store.ring().await.is_ok()
    }
}

impl Cycles {
    pub(crate) fn new(parts: cycle::Parts, under: Under) -> Self {
        Self { parts, under, instruments: Instruments::default(), hand: Hand::default() }
    }

    async fn deliver(&self, delivery: Delivery, invitation: CycleInvitation) -> Claimed {
        crash::point(Point::ClaimBefore);
        let Some(_in_hand) = self.hand.take(claim(&invitation)) else { return Claimed::Asked };
        let claimed = match until_heard("a claim", &self.under.lost, |unheard| {
            self.claim(&invitation, unheard)
        })
        .await
        {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!("the claim cannot be asked: {error}");
                return Claimed::Unasked;
            }
        };
        if claimed.is_none() && self.under.is_dead(&self.parts.store, invitation.organization).await {
            return Claimed::Unasked;
        }
        crash::point(Point::ClaimAfter);
        delivery.ack().await;
        let Some(claimed) = claimed else { return Claimed::Asked };
        crash::point(Point::AckAfter);
        // What the session's end interrupts did not happen, except what is committed; others begin again from there.
        let mut running = Box::pin(self.run(&invitation, claimed));
        tokio::select! {
            biased;
            () = self.under.lost.cancelled() => {
                tracing::warn!("stopped: the session is lost");
                // A moment, in which nothing more is said to the server: see `leased`.
                timeout(HEARING * 2, running).await.ok();
            }
            () = &mut running => {}
        }
        Claimed::Asked
    }

    async fn claim(
        &self,
        invitation: &CycleInvitation,
        unheard: bool,
    ) -> store::Result<Option<ClaimedCycle>> {
        let (store, organization) = (&self.parts.store, invitation.organization);
        let (claim, session) = (claim(invitation), self.under.session);
        if unheard {
            let ask = async |tenant: &_| schedule::claim_unheard(tenant, claim, session).await;
            return store.in_tenant(organization, ask).await;
        }
        schedule::claim_together(store, organization, claim, session).await
    }

    async fn run(&self, invitation: &CycleInvitation, claimed: ClaimedCycle) {
        let started = Instant::now();
        let (organization, session) = (invitation.organization, self.under.session);
        let start = |_| Cycle::start(&self.parts, organization, session, claimed.clone());
        let cycle = until_heard("the beginning of a cycle", &self.under.lost, start).await;
        let mut cycle = match cycle {
            Ok(Some(cycle)) => cycle,
            Ok(None) => return,
            // The row stays running under a live session; its time cap or the next sweep makes it due.
            Err(error) => {
                return tracing::error!("the cycle could not be begun and is left to the sweep: {error}");
            }
        };
        let Some(ending) = self.work(&mut cycle).await else { return };
        self.hold_back(&cycle, &ending);
        self.finish(&cycle, &ending, started.elapsed()).await;
    }

    /// Acquires a lease or snoozes, connects, and runs. `None` when the claim is no longer ours.
    async fn work(&self, cycle: &mut Cycle) -> Option<Ending> {
        if !cycle.needs_connection() {
            return Some(Ending::idle());
        }
        if cycle.must_seek()
            && let ControlFlow::Break(ending) = self.seek(cycle).await
        {
            return ending;
        }
        if let ControlFlow::Break(ending) = cycle.waits_for_server().await {
            return ending;
        }
        let request = cycle::lease_request(&self.parts.mail, &cycle.mailbox, cycle.mailbox.workload.class());
        crash::point(Point::LeaseBefore);
        let lease = match self.under.acquire_within(request, cycle.rates(), cycle.ends()).await {
            Ok(lease) => lease,
            Err(denied) => {
                tracing::info!("{denied}");
                return Some(Ending::denied(&denied));
            }
        };
        crash::point(Point::LeaseAfter);
        if let Some(allowance) = lease.allowance() {
            cycle.begin(allowance);
        }
        let ending = leased(cycle, &lease, &self.under).await;
        cycle.settle();
        // The connection is over by now: closed, or left to be parted from in order.
        crash::point(Point::ReleaseBefore);
        lease.release().await;
        crash::point(Point::ReleaseAfter);
        ending
    }

    /// Looks for the mailbox's server under a lease at whoever is asked. `Break` when the cycle ends with that.
    async fn seek(&self, cycle: &mut Cycle) -> ControlFlow<Option<Ending>> {
        let (mail, ends) = self.parts.mail.with_ends();
        let request = cycle::lease_request(&mail, &cycle.sought(), cycle.mailbox.workload.class());
        let lease = match self.under.acquire(request, &ends).await {
            Ok(lease) => lease,
            Err(denied) => {
                tracing::info!("{denied}");
                return ControlFlow::Break(Some(Ending::denied(&denied)));
            }
        };
        let sought = tokio::select! {
            biased;
            () = self.under.lost.cancelled() => ControlFlow::Break(Some(Ending::ours())),
            () = lease.lost() => ControlFlow::Break(Some(Ending::ours())),
            // On the heap: few cycles look for anything.
            sought = Box::pin(cycle.seek(&mail)) => sought,
        };
        lease.release().await;
        sought
    }

    /// Tells every worker what the server asked for.
    fn hold_back(&self, cycle: &Cycle, ending: &Ending) {
        let Some(BackOff { of_the_mailbox, pause }) = ending.back_off else { return };
        let (throttle, endpoint) = (&self.under.throttle, cycle.mailbox.endpoint());
        if of_the_mailbox {
            throttle.report_mailbox_back_off(cycle.mailbox.id, endpoint, pause);
        } else {
            throttle.report_back_off(cycle.mailbox.profile, endpoint, pause);
        }
    }

    /// Writes the end down; while Postgres is away it is tried again, for as long as the session lives.
    async fn finish(&self, cycle: &Cycle, ending: &Ending, took: Duration) {
        match until_heard("the end of a cycle", &self.under.lost, |_| cycle.finish(ending)).await {
            Ok(next) => {
                self.instruments.record(cycle, ending, took);
                tracing::debug!(next.reason = %next.reason, "finished");
            }
            Err(store::Error::Fenced) => tracing::info!("finished by somebody else"),
            Err(error) => {
                tracing::error!(
                    "the end of the cycle could not be written and is left to the sweep: {error}"
                );
            }
        }
    }
}

fn claim(invitation: &CycleInvitation) -> Claim {
    Claim { mailbox: invitation.mailbox, workload: invitation.workload, number: invitation.claim }
}

/// Runs the cycle for as long as its lease and its session hold. Without them nothing more is said to the server; what it
/// answered already, when this process was stopped and went on, is still heard, for an answer to a send is true whoever
/// holds the claim by now. Then the connection is given up.
async fn leased(cycle: &mut Cycle, lease: &Held, under: &Under) -> Option<Ending> {
    let cycle_ends = cycle.ends().clone();
    let mut running = Box::pin(cycle.run(|| lease.check() && !under.lost.is_cancelled()));
    tokio::select! {
        biased;
        () = under.lost.cancelled() => {}
        () = lease.lost() => tracing::warn!("the lease is lost: the connection is given up"),
        // What ended over a connection that was given up says nothing about its server.
        ending = &mut running => return ending.map(|ending| if cycle_ends.is_silent() { ending.given_up() } else { ending }),
    }
    lease.fall_silent();
    timeout(HEARING, running).await.ok();
    Some(Ending::ours())
}
