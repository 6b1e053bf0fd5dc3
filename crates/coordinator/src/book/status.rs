//! The book as people see it.

use std::sync::Arc;

use model::workload::ServiceClass;
use throttle::{class_to_wire, v1};
use tokio::time::Instant;
use uuid::Uuid;

use super::limit::Limit;
use super::{Book, Lease, State, rate};

/// How many leases in doubt are listed.
const LISTED: usize = 1_000;

impl Book {
    /// Every limit whose key begins with `begins`, in the order of keys, and the leases in doubt there.
    pub(crate) fn status(&self, begins: &str, now: Instant) -> v1::StatusReply {
        let mut limits: Vec<_> = self
            .limits
            .iter()
            .filter(|(key, _)| key.starts_with(begins))
            .map(|(key, limit)| limit_status(key, limit, now))
            // A limit may only be named by requests that wait for another one.
            .filter(|limit| limit.in_use + limit.waiting > 0 || limit.held_back_for_ms > 0)
            .collect();
        limits.sort_by(|a, b| a.key.cmp(&b.key));
        let mut in_doubt: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.state == State::InDoubt)
            .filter(|(_, lease)| lease.keys.iter().any(|key| key.starts_with(begins)))
            .map(|(id, lease)| lease_status(*id, lease, now))
            .collect();
        in_doubt.sort_by_key(|lease| lease.charged_for_ms);
        in_doubt.truncate(LISTED);
        let mut rates: Vec<_> = self
            .rates
            .iter()
            .filter_map(|(key, bucket)| {
                let (window, name) = rate::parts(key)?;
                Some(v1::RateStatus {
                    key: name.to_owned(),
                    window_ms: millis(window),
                    amount: bucket.amount,
                    spent: bucket.logged,
                    allowed: bucket.open,
                })
            })
            .filter(|rate| rate.key.starts_with(begins))
            .collect();
        rates.sort_by(|a, b| (&a.key, a.window_ms).cmp(&(&b.key, b.window_ms)));
        v1::StatusReply { limits, in_doubt, quiet_for_ms: millis(self.quiet_for(now)), rates }
    }
}

fn limit_status(key: &Arc<str>, limit: &Limit, now: Instant) -> v1::LimitStatus {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let classes: Vec<_> = ServiceClass::ALL
        .iter()
        .enumerate()
        .filter_map(|(at, class)| {
            let (minimum, ceiling) = limit.terms.quotas[at]?;
            Some(v1::ClassStatus {
                class: class_to_wire(*class).into(),
                in_use: limit.held[at],
                waiting: count(limit.waiting(at)),
                minimum,
                ceiling,
            })
        })
        .collect();
    let held_back = limit.held_back_until.map(|until| until.saturating_duration_since(now));
    v1::LimitStatus {
        key: key.to_string(),
        capacity: limit.terms.capacity,
        in_use: limit.in_use(),
        waiting: classes.iter().map(|class| class.waiting).sum(),
        in_doubt: limit.in_doubt,
        held_back_for_ms: held_back.map_or(0, millis),
        classes,
    }
}

fn lease_status(id: Uuid, lease: &Lease, now: Instant) -> v1::LeaseStatus {
    let mut holder = lease.holder.splitn(3, '/').map(str::to_owned);
    v1::LeaseStatus {
        lease_id: id.to_string(),
        class: class_to_wire(ServiceClass::ALL[lease.class]).into(),
        holder: Some(v1::Holder {
            profile_id: holder.next().unwrap_or_default(),
            mailbox_id: holder.next().unwrap_or_default(),
            workload: holder.next().unwrap_or_default(),
        }),
        keys: lease.keys.iter().map(ToString::to_string).collect(),
        charged_for_ms: millis(lease.ends.saturating_duration_since(now)),
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
