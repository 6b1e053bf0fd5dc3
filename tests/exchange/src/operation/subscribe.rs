//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/subscribe-operation> and
//! `unsubscribe-operation`. A push subscription is taken, but this server calls nobody.

use std::collections::{BTreeSet, VecDeque};

use crate::call::Call;
use crate::event::{Subscription, watermark};
use crate::mime;
use crate::soap::{self, Message, Refusal};
use crate::xml::Element;

pub(super) fn answer(call: &mut Call<'_>, request: &Element) -> Element {
    let message = match request.children.first() {
        Some(kind) if kind.name == "StreamingSubscriptionRequest" => one(call, kind, true),
        Some(kind)
            if ["PullSubscriptionRequest", "PushSubscriptionRequest"].contains(&kind.name.as_str()) =>
        {
            one(call, kind, false)
        }
        _ => Err(Refusal::of("ErrorInvalidSubscriptionRequest", "Subscription request is not valid.")),
    };
    soap::answer("Subscribe", vec![message], &[])
}

fn one(call: &mut Call<'_>, request: &Element, streaming: bool) -> Message {
    let kinds: BTreeSet<String> = request
        .child("EventTypes")
        .map_or(&[][..], |kinds| &kinds.children)
        .iter()
        .map(|kind| kind.text.trim().to_owned())
        .collect();
    let (mailbox, folders) = if request.says("SubscribeToAllFolders") {
        let own = call.acting.ok_or_else(|| {
            Refusal::of("ErrorMissingEmailAddress", "An account without a mailbox must name the folders.")
        })?;
        call.allowed(own)?;
        (own, None)
    } else {
        let mut folders = BTreeSet::new();
        let mut place = None;
        for id in request.child("FolderIds").map_or(&[][..], |ids| &ids.children) {
            let (at, folder) = call.folder(id)?;
            if *place.get_or_insert(at) != at {
                return Err(Refusal::of(
                    "ErrorInvalidSubscriptionRequest",
                    "The folders of a subscription must be in one mailbox.",
                ));
            }
            folders.insert(folder);
        }
        let place = place.ok_or_else(|| {
            Refusal::of(
                "ErrorInvalidSubscriptionRequest",
                "Subscription request is not valid: it names no folder.",
            )
        })?;
        (place, Some(folders))
    };
    let random: [u8; 16] = model::clock::random_bytes();
    let id = format!("JABsb2NhbGhvc3Q{}", mime::hex(&random));
    let mark = call.state.sequence();
    let subscription = Subscription {
        mailbox,
        folders,
        kinds,
        streaming,
        queue: VecDeque::new(),
        watermark: mark,
        backend: call.backend,
        listener: 0,
    };
    call.state.subscriptions.insert(id.clone(), subscription);
    let mut content = vec![Element::m("SubscriptionId").saying(id)];
    if !streaming {
        content.push(Element::m("Watermark").saying(watermark(mark)));
    }
    Ok(content)
}

pub(super) fn end(call: &mut Call<'_>, request: &Element) -> Element {
    let id = request.child_text("SubscriptionId").unwrap_or_default().trim();
    let gone = call.state.subscriptions.remove(id);
    // Whoever streams it is told.
    let now = call.state.tick();
    call.state.happened.send_replace(now);
    let message = gone.map(|_| Vec::new()).ok_or_else(not_found);
    soap::answer("Unsubscribe", vec![message], &[])
}

pub(super) fn not_found() -> Refusal {
    Refusal::of("ErrorSubscriptionNotFound", "The specified subscription was not found.")
}
