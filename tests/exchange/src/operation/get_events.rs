//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/getevents-operation>

use crate::call::Call;
use crate::event::notification;
use crate::soap::{self, Message};
use crate::xml::Element;

pub(super) fn answer(call: &mut Call<'_>, request: &Element) -> Element {
    soap::answer("GetEvents", vec![events(call, request)], &[])
}

fn events(call: &mut Call<'_>, request: &Element) -> Message {
    let id = request.child_text("SubscriptionId").unwrap_or_default().trim().to_owned();
    let events = call.state.drain(&id);
    let subscription = call.state.subscriptions.get_mut(&id).ok_or_else(super::subscribe::not_found)?;
    let before = subscription.clone();
    if let Some(last) = events.back() {
        subscription.watermark = last.watermark;
    }
    Ok(vec![notification(&id, &before, call.mailbox(before.mailbox), &events)])
}
