//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/getstreamingevents-operation>: envelope
//! after envelope in one chunked answer, until its time is over or its subscriptions are gone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::event::notification;
use crate::sent_copy;
use crate::soap::{self, Fault, Refusal};
use crate::state::State;
use crate::version::Version;
use crate::xml::Element;

/// What a request asks for.
pub(crate) struct Watch {
    pub(crate) ids: Vec<String>,
    pub(crate) until: Instant,
    /// The server behind the endpoint that was asked.
    pub(crate) backend: u32,
}

impl Watch {
    pub(crate) fn parse(request: &Element, backend: u32) -> Result<Self, Fault> {
        let ids: Vec<String> = request
            .child("SubscriptionIds")
            .map_or(&[][..], |ids| &ids.children)
            .iter()
            .map(|id| id.text.trim().to_owned())
            .collect();
        if ids.is_empty() {
            return Err(Fault::schema("'SubscriptionIds' is missing."));
        }
        let minutes: u64 = request
            .child_text("ConnectionTimeout")
            .and_then(|minutes| minutes.trim().parse().ok())
            .filter(|minutes| (1..=30).contains(minutes))
            .ok_or_else(|| Fault::schema("The 'ConnectionTimeout' element must be between 1 and 30."))?;
        Ok(Self { ids, until: Instant::now() + Duration::from_secs(minutes * 60), backend })
    }
}

/// Says what happens, as it happens.
pub(crate) async fn stream(
    state: Arc<Mutex<State>>,
    version: Version,
    watch: Watch,
    out: mpsc::Sender<Bytes>,
) {
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut happened, heartbeat, listener) = {
        let mut state = lock();
        let listener = state.tick();
        for id in &watch.ids {
            if let Some(subscription) = state.subscriptions.get_mut(id) {
                subscription.listener = listener;
            }
        }
        // Whoever streamed one of them before is told to look, and ends.
        state.happened.send_replace(listener);
        (state.happened.subscribe(), state.options.heartbeat, listener)
    };
    let mut first = true;
    loop {
        happened.borrow_and_update();
        let (envelope, ended) = {
            let mut state = lock();
            sent_copy::settle(&mut state);
            let replaced =
                |id: &String| state.subscriptions.get(id).is_some_and(|one| one.listener != listener);
            if out.is_closed() || watch.ids.iter().any(replaced) {
                return;
            }
            say(&mut state, version, &watch, first)
        };
        if let Some(envelope) = envelope
            && out.send(Bytes::from(envelope)).await.is_err()
        {
            return;
        }
        if ended {
            return;
        }
        first = false;
        tokio::select! {
            _ = happened.changed() => {}
            () = tokio::time::sleep(heartbeat) => {
                let alive = soap::envelope(version, soap::answer("GetStreamingEvents", vec![Ok(vec![status("OK")])], &[]));
                if out.send(Bytes::from(alive)).await.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep_until(watch.until) => {
                let closed = Ok(vec![status("Closed")]);
                let closed = soap::envelope(version, soap::answer("GetStreamingEvents", vec![closed], &[]));
                let _ = out.send(Bytes::from(closed)).await;
                return;
            }
        }
    }
}

/// The next envelope if there is anything to say, and whether it is the last one.
fn say(state: &mut State, version: Version, watch: &Watch, first: bool) -> (Option<String>, bool) {
    let envelope = |message| soap::envelope(version, soap::answer("GetStreamingEvents", vec![message], &[]));
    let unknown: Vec<&String> = watch
        .ids
        .iter()
        .filter(|id| state.subscriptions.get(*id).is_none_or(|one| one.backend != watch.backend))
        .collect();
    if !unknown.is_empty() {
        let ids = unknown.iter().map(|id| Element::m("SubscriptionId").saying(id));
        let ids = Element::m("ErrorSubscriptionIds").with_all(ids);
        let refusal = Refusal::of("ErrorInvalidSubscription", "Subscription is invalid.");
        let body = soap::answer("GetStreamingEvents", vec![Err(refusal)], &[ids]);
        return (Some(soap::envelope(version, body)), true);
    }
    let mut notifications = Vec::new();
    for id in &watch.ids {
        let events = state.drain(id);
        let Some(subscription) = state.subscriptions.get(id) else { continue };
        if !events.is_empty() {
            notifications.push(notification(
                id,
                subscription,
                &state.mailboxes[subscription.mailbox],
                &events,
            ));
        }
    }
    if notifications.is_empty() {
        // The first answer comes at once, so that the client knows that it listens.
        return (first.then(|| envelope(Ok(vec![status("OK")]))), false);
    }
    (Some(envelope(Ok(vec![Element::m("Notifications").with_all(notifications)]))), false)
}

fn status(status: &str) -> Element {
    Element::m("ConnectionStatus").saying(status)
}
