//! What a report may change: the state of a recipient that a server had accepted, and nothing that sends mail again.

use super::ReportedAction;
use crate::email::RecipientState;

/// What follows from a report for one recipient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// Where the recipient stands from now on, when that changes.
    pub state: Option<RecipientState>,
    /// Whether the report's words are kept with the recipient.
    pub noted: bool,
    /// Whether the recipient is known to have read it from now on.
    pub read: bool,
}

/// Judges a report about a recipient that stands like this and of which `before` was reported last.
///
/// A bounce is final. Reports may come out of order and more than once: a delay that is told after the delivery changes
/// nothing, nor does what was told before. A recipient that no server accepted is not touched: its next try is its own
/// affair, and no stranger's report ends or begins one.
pub fn effect(stands: RecipientState, before: Option<ReportedAction>, action: ReportedAction) -> Effect {
    use RecipientState as S;
    use ReportedAction as A;
    let arrived =
        matches!(before, Some(A::Delivered | A::Relayed | A::Expanded | A::Read | A::Deleted | A::Processed));
    let state = match (stands, action) {
        (S::Accepted | S::Delayed, A::Failed) => Some(S::Bounced),
        (S::Accepted, A::Delayed) if !arrived => Some(S::Delayed),
        (S::Delayed, A::Delivered | A::Relayed | A::Expanded | A::Read | A::Deleted | A::Processed) => {
            Some(S::Accepted)
        }
        _ => None,
    };
    let more = matches!(stands, S::Accepted) && rank(Some(action)) > rank(before) && action != A::Delayed;
    let read = matches!(stands, S::Accepted | S::Delayed) && action == A::Read;
    Effect { state, noted: state.is_some() || more, read }
}

/// How much an action says: a receipt says more than a delivery, and that more than a delay.
fn rank(action: Option<ReportedAction>) -> u8 {
    match action {
        None => 0,
        Some(ReportedAction::Delayed) => 1,
        Some(ReportedAction::Relayed | ReportedAction::Expanded) => 2,
        Some(ReportedAction::Delivered) => 3,
        Some(ReportedAction::Processed) => 4,
        Some(ReportedAction::Deleted) => 5,
        Some(ReportedAction::Read) => 6,
        Some(ReportedAction::Failed) => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RecipientState::{Accepted, Bounced, Canceled, Deferred, Delayed, Refused, Waiting};
    use ReportedAction as A;

    #[test]
    fn a_report_moves_only_a_recipient_that_a_server_had_accepted() {
        for stands in [Waiting, Deferred, Refused, Canceled, Bounced] {
            for action in A::ALL {
                assert_eq!(effect(stands, None, *action), Effect::default(), "{stands} {action}");
            }
        }
    }

    #[test]
    fn no_report_makes_a_recipient_wait_for_another_try() {
        for stands in RecipientState::ALL {
            for before in A::ALL.iter().copied().map(Some).chain([None]) {
                for action in A::ALL {
                    let state = effect(*stands, before, *action).state;
                    assert!(matches!(state, None | Some(Accepted | Delayed | Bounced)), "{stands} {action}");
                }
            }
        }
    }

    #[test]
    fn delayed_then_delivered_or_bounced_and_nothing_twice() {
        for (stands, before, action, state, noted) in [
            (Accepted, None, A::Delayed, Some(Delayed), true),
            (Delayed, Some(A::Delayed), A::Delayed, None, false),
            (Delayed, Some(A::Delayed), A::Delivered, Some(Accepted), true),
            (Delayed, Some(A::Delayed), A::Failed, Some(Bounced), true),
            (Accepted, None, A::Failed, Some(Bounced), true),
            (Bounced, Some(A::Failed), A::Failed, None, false),
            (Bounced, Some(A::Failed), A::Delivered, None, false),
            (Bounced, Some(A::Failed), A::Delayed, None, false),
            (Accepted, Some(A::Delivered), A::Delayed, None, false),
            (Accepted, Some(A::Relayed), A::Failed, Some(Bounced), true),
            (Accepted, None, A::Delivered, None, true),
            (Accepted, Some(A::Delivered), A::Delivered, None, false),
            (Accepted, Some(A::Delivered), A::Read, None, true),
            (Accepted, Some(A::Read), A::Delivered, None, false),
        ] {
            let effect = effect(stands, before, action);
            assert_eq!((effect.state, effect.noted), (state, noted), "{stands} {before:?} {action}");
        }
        assert!(effect(Accepted, None, A::Read).read);
        assert!(!effect(Bounced, None, A::Read).read);
    }
}
