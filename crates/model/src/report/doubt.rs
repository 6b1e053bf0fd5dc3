//! When a report ends the doubt about an email that may have left. It ends no doubt about what it does not speak of.

use super::ReportedAction;

/// Whether an email in doubt is known to have left, when reports say this about recipients of the try in doubt.
///
/// Only a server that took the message, or a reader who got it, has anything to report, be it that it came back; so any
/// report is proof, as a late answer is (design section 6). Once the email was sent again there are several `tries` of
/// which nobody knows: a report does not say of which it speaks, and the doubt stays with the person who sent it again.
pub fn ends_doubt(tries: usize, reported: impl IntoIterator<Item = ReportedAction>) -> bool {
    tries == 1 && reported.into_iter().next().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::email::{EmailState, RecipientState, settled};
    use crate::report::effect;
    use ReportedAction as A;

    #[test]
    fn any_report_proves_that_an_email_left_unless_it_was_sent_again_since() {
        for action in A::ALL {
            assert!(ends_doubt(1, [*action]), "{action}");
            assert!(!ends_doubt(2, [*action]), "{action}: of which try it speaks nobody knows");
            assert!(!ends_doubt(0, [*action]), "{action}: there is no doubt");
        }
        assert!(!ends_doubt(1, []), "what is said of others proves nothing");
    }

    #[test]
    fn what_left_is_sent_or_failed_by_what_is_reported() {
        for (reported, state) in [
            ([Some(A::Failed), Some(A::Failed)], EmailState::Failed),
            ([Some(A::Failed), None], EmailState::Sent),
            ([Some(A::Delayed), None], EmailState::Sent),
            ([Some(A::Delivered), None], EmailState::Sent),
            ([Some(A::Relayed), Some(A::Failed)], EmailState::Sent),
            ([Some(A::Expanded), None], EmailState::Sent),
            ([None, Some(A::Read)], EmailState::Sent),
        ] {
            assert!(ends_doubt(1, reported.into_iter().flatten()));
            let stand = reported.map(|action| {
                let accepted = RecipientState::Accepted;
                action.and_then(|action| effect(accepted, None, action).state).unwrap_or(accepted)
            });
            assert_eq!(settled(stand), state, "{reported:?}");
        }
    }
}
