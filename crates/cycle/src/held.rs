//! A lease with the connections that were opened under it: given back only as what is known of their ends.
//!
//! It must never say that a slot is free while the server may go on counting its connection, whether the cycle came to its
//! end or was dropped in the middle.

use std::time::Duration;

use mail::transport::Ends;
use throttle::{AcquireRequest, Allowance, Denied, Lease, Rate};
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

use crate::life::Under;

/// How long a server may take to close after we did, before its slot is in doubt.
const PATIENCE: Duration = Duration::from_secs(2);

/// The right to one connection at a time, with what became of the connections. [`Held::release`] it when the work is over;
/// dropped, it does the same behind the scenes.
#[derive(Debug)]
pub struct Held {
    lease: Option<Lease>,
    ends: Ends,
    in_doubt: Duration,
    partings: TaskTracker,
}

impl Under {
    /// Waits for a lease, for connections that leave their ends here. Nothing is said over them that the lease and the session
    /// do not cover.
    pub async fn acquire(&self, request: AcquireRequest, ends: &Ends) -> Result<Held, Denied> {
        self.acquire_within(request, Vec::new(), ends).await
    }

    /// The same with what is to be allowed of rates.
    pub async fn acquire_within(
        &self,
        request: AcquireRequest,
        rates: Vec<Rate>,
        ends: &Ends,
    ) -> Result<Held, Denied> {
        let in_doubt = request.limits.iter().map(|limit| limit.in_doubt).max().unwrap_or_default();
        let lease = self.throttle.acquire_within(request, rates).await?;
        let (validity, lost) = (lease.validity(), self.lost.clone());
        ends.speak_while(move || validity.holds() && !lost.is_cancelled());
        Ok(Held { lease: Some(lease), ends: ends.clone(), in_doubt, partings: self.partings.clone() })
    }
}

impl Held {
    /// Whether the connection may still be used; see [`Lease::check`].
    pub fn check(&self) -> bool {
        self.lease.as_ref().is_some_and(Lease::check)
    }

    /// What it is allowed of rates.
    pub fn allowance(&self) -> Option<&Allowance> {
        self.lease.as_ref().map(Lease::allowance)
    }

    /// Completes when the lease is lost; see [`Lease::lost`].
    pub fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        let lost = self.lease.as_ref().map(Lease::lost);
        async move {
            if let Some(lost) = lost {
                lost.await;
            }
        }
    }

    /// From now on nothing more is said over its connections; see [`Ends::fall_silent`].
    pub fn fall_silent(&self) {
        self.ends.fall_silent();
    }

    /// Gives the lease back, when nothing is said over its connections any more.
    pub async fn release(mut self) {
        if let Some(lease) = self.lease.take() {
            // To its end, although whoever waits for it may be stopped meanwhile.
            self.partings.spawn(part(lease, self.ends.clone(), self.in_doubt)).await.ok();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let (Some(lease), Ok(_)) = (self.lease.take(), Handle::try_current()) {
            self.partings.spawn(part(lease, self.ends.clone(), self.in_doubt));
        }
    }
}

/// Says goodbye to the server and then to the ledger. A lease that could not be renewed has little time left for that: before
/// its slot may be somebody else's the connection is reset. One that is over already, because this process was stopped for
/// long, is in doubt in the ledger, and only the server's end frees its slot.
async fn part(lease: Lease, ends: Ends, in_doubt: Duration) {
    let charged_for = lease.charged_for();
    let holds = lease.check();
    let patience = if charged_for.is_zero() { PATIENCE } else { PATIENCE.min(charged_for / 2) };
    let Err(unheard) = ends.part(patience).await else {
        return lease.release().await;
    };
    tracing::warn!(lease.id = %lease.id(), "the mail server did not close the connection: its slot is in doubt");
    if !holds {
        drop(unheard);
        lease.leave_in_doubt().await;
        return;
    }
    let doubt = lease.leave_in_doubt().await;
    // As long as the slot is charged there is somebody to hear of the server: a slow one closes in the end.
    tokio::spawn(async move {
        if unheard.closed(in_doubt).await {
            doubt.closed().await;
        }
    });
}
