//! The copy that is kept of a sent message, at once or late.

use std::time::Duration;

use crate::item::Item;
use crate::options::SentCopy;
use crate::state::State;

/// A copy that is on its way to its folder.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    pub(crate) due: std::time::Instant,
    /// Where it is now, if it waits in an Outbox.
    waits: Option<(usize, u64)>,
    to: (usize, u64),
    item: Item,
}

/// Keeps `copy` in the folder `to`; `sender` is whose Outbox it goes through.
pub(crate) fn keep(state: &mut State, sender: usize, to: (usize, u64), copy: Item) {
    let late = |state: &mut State, after: Duration, waits: Option<(usize, u64)>, item: Item| {
        let due = std::time::Instant::now() + after;
        state.late.push(Late { due, waits, to, item });
    };
    match state.options.sent_copy {
        SentCopy::AtOnce => {
            state.put(to.0, to.1, copy, false);
        }
        SentCopy::Late(after) => late(state, after, None, copy),
        SentCopy::ThroughOutbox(after) => {
            let outbox = state.mailboxes[sender].distinguished("outbox");
            let waits = outbox.map(|outbox| (sender, state.put(sender, outbox, copy.clone(), false)));
            late(state, after, waits, copy);
        }
    }
}

/// Brings every copy that is on its way to its folder, whatever the time.
pub(crate) fn settle_all(state: &mut State) {
    for late in &mut state.late {
        late.due = std::time::Instant::now();
    }
    settle(state);
}

/// Brings to their folders the copies whose time has come. Asked at the beginning of each request.
pub(crate) fn settle(state: &mut State) {
    let now = std::time::Instant::now();
    let (due, waiting): (Vec<Late>, Vec<Late>) =
        std::mem::take(&mut state.late).into_iter().partition(|late| late.due <= now);
    state.late = waiting;
    for late in due {
        match late.waits {
            Some((place, number)) => {
                // Somebody may have taken it out of the Outbox meanwhile.
                let _ = state.relocate(place, number, late.to.0, late.to.1);
            }
            None => {
                state.put(late.to.0, late.to.1, late.item, false);
            }
        }
    }
}
