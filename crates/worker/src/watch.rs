//! Listening to servers that tell when mail comes in, beside the deliveries, with connections of its own. What they tell only
//! makes mailboxes due: the ring goes on as it does for every other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cycle::Parts;
use cycle::life::Under;
use cycle::watch::{Ended, Terms, Told};
use model::id::WatchId;
use model::watch::{LONGEST, MOST};
use opentelemetry::KeyValue;
use store::watch::{self, Claimed};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::config::Watch;
use crate::instruments::WatchInstruments;

/// Listens under one session until `stop`, and lets go of everything before it ends.
pub(crate) async fn listen(config: Watch, parts: Parts, under: Under, stop: CancellationToken) {
    let instruments = WatchInstruments::default();
    let mut watches = JoinSet::new();
    let mut held: HashMap<Id, WatchId> = HashMap::new();
    while !stop.is_cancelled() && !under.lost.is_cancelled() && config.connections > 0 {
        if watches.len() < config.connections.into() {
            let asked = Instant::now();
            let ours: Vec<_> = held.values().copied().collect();
            match stop.run_until_cancelled(claim(&config, &parts, &under, &ours)).await {
                Some(Ok(Some(claimed))) => {
                    let watch = one(&config, &parts, &under, claimed, &instruments);
                    let (stop, instruments) = (stop.clone(), instruments.clone());
                    let running = async move {
                        let profile = KeyValue::new("profile", claimed.profile.to_string());
                        instruments.connections.add(1, std::slice::from_ref(&profile));
                        let ended = watch.run(asked, &stop).await;
                        instruments.connections.add(-1, std::slice::from_ref(&profile));
                        instruments.ended.add(1, &[profile, KeyValue::new("how", ended.as_str())]);
                        ended
                    };
                    held.insert(watches.spawn(running).id(), claimed.id);
                    continue;
                }
                Some(Ok(None)) | None => {}
                Some(Err(error)) => tracing::warn!("nobody can say what to listen to: {error}"),
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = under.lost.cancelled() => {}
            Some(ended) = watches.join_next_with_id(), if !watches.is_empty() => {
                let id = match ended {
                    Ok((id, ended)) => {
                        tracing::debug!(ended = Ended::as_str(ended), "a watch ended");
                        id
                    }
                    Err(panic) => panic.id(),
                };
                held.remove(&id);
            }
            () = sleep(Duration::from_millis(config.look_millis.max(10))) => {}
        }
    }
    while watches.join_next().await.is_some() {}
}

async fn claim(
    config: &Watch,
    parts: &Parts,
    under: &Under,
    held: &[WatchId],
) -> store::Result<Option<Claimed>> {
    let Terms { most, lasts, .. } = terms(config);
    let ceiling_percent = parts.mail.shares().watch.ceiling_percent;
    let terms = watch::Terms { most, lasts, ceiling_percent };
    let id = model::clock::new_id();
    parts.store.in_ring(async |ring| watch::claim(ring, id, under.session, held, terms).await).await
}

fn one(
    config: &Watch,
    parts: &Parts,
    under: &Under,
    claimed: Claimed,
    instruments: &WatchInstruments,
) -> cycle::watch::Watch {
    let (instruments, profile) =
        (instruments.clone(), [KeyValue::new("profile", claimed.profile.to_string())]);
    let tell = move |told: Told| match told {
        Told::Listens(mailboxes) => instruments.mailboxes.add(mailboxes, &profile),
        Told::Notified => instruments.notifications.add(1, &profile),
        Told::Wished(mailboxes) => instruments.wishes.add(mailboxes, &profile),
    };
    cycle::watch::Watch {
        parts: parts.clone(),
        under: under.clone(),
        claimed,
        terms: terms(config),
        tell: Arc::new(tell),
    }
}

fn terms(config: &Watch) -> Terms {
    Terms {
        most: config.mailboxes.clamp(1, MOST),
        lasts: Duration::from_secs(60 * u64::from(config.minutes.max(2))).min(LONGEST),
        wish_every: Duration::from_millis(config.wish_millis),
        join_after: Duration::from_secs(config.join_seconds),
    }
}
