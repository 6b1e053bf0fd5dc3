//! How fast a cycle goes: what it may use of the rates that its server is held to. Where one is spent the cycle ends at its next
//! seam, as at a cap, and is due when there is more.
//!
//! Nothing that counts is begun before [`Pace::allows`] said so, and nothing that was used is left uncounted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use mail::ews::Tally;
use model::id::OrganizationId;
use model::rate::{RateLimit, RateScope, RateUnit, in_force};
use model::workload::Workload;
use store::mailbox::MailboxForCycle;
use throttle::{Allowance, Rate, Spent};

/// More requests than one step at an Exchange server takes, with a sign-in, the versions that it does not know and what is
/// tidied up: so many there must be before a step begins.
pub(crate) const STEP: u64 = 12;

const MEGABYTE: u64 = 1024 * 1024;

/// What a cycle may use, and whether that stopped it.
#[derive(Default)]
pub(crate) struct Pace {
    /// What each rate of the lease counts, by its place.
    units: Vec<RateUnit>,
    allowance: OnceLock<Allowance>,
    /// What sessions at an Exchange server asked since it was looked at.
    tally: Arc<Tally>,
    stopped: Mutex<Option<Spent>>,
}

impl Pace {
    /// With what a mailbox's workload is held to, and what is asked for with its lease.
    pub(crate) fn of(organization: OrganizationId, mailbox: &MailboxForCycle) -> (Self, Vec<Rate>) {
        let (units, rates) = rates(organization, mailbox).into_iter().unzip();
        let pace =
            Self { units, allowance: OnceLock::new(), tally: Arc::default(), stopped: Mutex::default() };
        (pace, rates)
    }

    /// From the lease on.
    pub(crate) fn begin(&self, allowance: &Allowance) {
        self.allowance.set(allowance.clone()).ok();
    }

    /// Where sessions at an Exchange server count what they ask.
    pub(crate) fn tally(&self) -> &Arc<Tally> {
        &self.tally
    }

    /// Whether so much more may be used; asked where the cycle can end, before anything of it is begun. Once it may not,
    /// the cycle is over.
    pub(crate) async fn allows(&self, wants: &[(RateUnit, u64)]) -> bool {
        let wants: Vec<_> = wants.iter().map(|(unit, amount)| (*unit, *amount, *amount)).collect();
        self.allows_up_to(&wants).await
    }

    /// The same for what may be less, down to the first number; [`Pace::left`] says how much it is.
    pub(crate) async fn allows_up_to(&self, wants: &[(RateUnit, u64, u64)]) -> bool {
        let Some(allowance) = self.allowance.get().filter(|_| !self.units.is_empty()) else { return true };
        self.settle();
        let wanted = |unit: RateUnit| wants.iter().find(|(wanted, ..)| *wanted == unit);
        let places = self.units.iter().enumerate();
        let wants: Vec<_> = places
            .filter_map(|(place, unit)| {
                let (_, least, most) = wanted(*unit)?;
                Some((place, *least, *most))
            })
            .collect();
        match allowance.room(&wants).await {
            Ok(()) => true,
            Err(spent) => {
                tracing::info!("the cycle ends here: {spent}");
                *self.stopped.lock().unwrap_or_else(PoisonError::into_inner) = Some(spent);
                false
            }
        }
    }

    /// How much of a unit may be used without asking; none where no rate counts it.
    pub(crate) fn left(&self, unit: RateUnit) -> Option<u64> {
        let allowance = self.allowance.get()?;
        let places = self.units.iter().enumerate().filter(|(_, counted)| **counted == unit);
        places.map(|(place, _)| allowance.left(place)).min()
    }

    /// Counts what is about to be used.
    pub(crate) fn spend(&self, unit: RateUnit, amount: u64) {
        let Some(allowance) = self.allowance.get().filter(|_| amount > 0) else { return };
        for (place, _) in self.units.iter().enumerate().filter(|(_, counted)| **counted == unit) {
            allowance.spend(place, amount);
        }
    }

    /// Counts what sessions have asked by now.
    pub(crate) fn settle(&self) {
        let take = |count: &AtomicU64| count.swap(0, Ordering::Relaxed);
        self.spend(RateUnit::Requests, take(&self.tally.requests));
        self.spend(RateUnit::BytesUp, take(&self.tally.bytes_up));
        self.spend(RateUnit::BytesDown, take(&self.tally.bytes_down));
    }

    /// How long until there is more, if that is what ended the cycle.
    pub(crate) fn stopped(&self) -> Option<Duration> {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.as_ref().map(|spent| spent.retry_after)
    }
}

/// The rates that a workload counts in, each with its unit.
fn rates(organization: OrganizationId, mailbox: &MailboxForCycle) -> Vec<(RateUnit, Rate)> {
    let endpoint = mailbox.endpoint();
    let set = &mailbox.rates;
    in_force(set.provider, &set.given, endpoint.protocol, &endpoint.host)
        .into_iter()
        .filter(|limit| mailbox.workload == Workload::Outgoing || limit.unit != RateUnit::Messages)
        .map(|limit| (limit.unit, rate(organization, mailbox, &limit)))
        .collect()
}

fn rate(organization: OrganizationId, mailbox: &MailboxForCycle, limit: &RateLimit) -> Rate {
    let (least, portion) = match limit.unit {
        RateUnit::Messages => (1, 10),
        RateUnit::Requests => (STEP, 2 * STEP),
        RateUnit::BytesUp | RateUnit::BytesDown => (1, MEGABYTE),
    };
    Rate {
        key: format!("{}/{}", counted_over(organization, mailbox, limit.scope), limit.unit),
        amount: limit.amount,
        window: limit.window(),
        // More than half of a window's amount is never waited for.
        least: least.min(limit.amount.div_ceil(2)),
        portion,
    }
}

/// The name of what a rate is counted over. Every name is one organization's: a server that is everybody's counts everybody's
/// connections by itself.
fn counted_over(organization: OrganizationId, mailbox: &MailboxForCycle, scope: RateScope) -> String {
    let endpoint = mailbox.endpoint();
    match (scope, &mailbox.client_id, mailbox.credential) {
        (RateScope::Mailbox, ..) => format!("mailbox/{}", mailbox.id),
        (RateScope::Server, ..) => format!("organization/{organization}/{}", endpoint.key()),
        (RateScope::Tenant, ..) => {
            format!("organization/{organization}/{}", mailbox.rates.provider.at(&endpoint.host))
        }
        (RateScope::Application, Some(client), _) => {
            let client: String = client.chars().filter(char::is_ascii_graphic).take(200).collect();
            format!("organization/{organization}/application/{client}")
        }
        (RateScope::Application, None, Some(credential)) => format!("credential/{credential}"),
        (RateScope::Application, None, None) => format!("profile/{}", mailbox.profile),
    }
}
