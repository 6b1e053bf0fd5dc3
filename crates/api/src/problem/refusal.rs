//! The store's refusals as problems: which status, and the sentence taken apart into cause and remedy.

use store::Refusal;

use super::{Kind, Problem};

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let kind = kind(&refusal);
        let (cause, remedy) = sentence(&refusal);
        let problem = Self::new(kind, cause, remedy);
        match refusal.field() {
            Some(field) => problem.about(field),
            None => problem,
        }
    }
}

fn kind(refusal: &Refusal) -> Kind {
    match refusal {
        Refusal::Changed { .. } => Kind::Changed,
        Refusal::ChangesForgotten { .. } | Refusal::FeedRestarted => Kind::Gone,
        Refusal::FeedNotMended => Kind::Unavailable,
        // The record itself is named by the path; another record by a field of the body.
        Refusal::Unknown { field: "id", .. }
        | Refusal::Unknown { what: "mailbox", field: "mailbox" }
        | Refusal::Unknown { what: "attachment", .. } => Kind::NotFound,
        Refusal::Unknown { .. } | Refusal::Invalid { .. } | Refusal::NoRecipients | Refusal::NoSender => {
            Kind::Invalid
        }
        Refusal::FilesTooLarge { .. } => Kind::TooLarge,
        Refusal::NotYourSender { .. } | Refusal::ForAdministrators { .. } => Kind::Forbidden,
        Refusal::ExternalIdTaken { .. }
        | Refusal::LastAdministrator
        | Refusal::TypeInUse { .. }
        | Refusal::Taken { .. }
        | Refusal::OwnerHasMailbox { .. }
        | Refusal::MailboxTaken { .. }
        | Refusal::MailboxTakenElsewhere { .. }
        | Refusal::OwnerNotConfirmed { .. }
        | Refusal::ProfileInUse { .. }
        | Refusal::NotReady { .. }
        | Refusal::SenderNotReady { .. }
        | Refusal::EverybodyHasIt
        | Refusal::AlreadyGot
        | Refusal::WrongState { .. } => Kind::Conflict,
    }
}

/// Cause and remedy. The sentences of refusals are `cause: remedy`; what is missing to be ready is `cause; remedy`.
fn sentence(refusal: &Refusal) -> (String, String) {
    if let Refusal::Invalid { cause, remedy, .. } = refusal {
        return (cause.clone(), remedy.clone());
    }
    let text = refusal.to_string();
    let parts = match refusal {
        Refusal::NotReady { .. } | Refusal::SenderNotReady { .. } => text.rsplit_once("; "),
        _ => text.rsplit_once(": "),
    };
    match parts {
        Some((cause, remedy)) => (cause.to_owned(), remedy.to_owned()),
        None => (text, "correct it, then repeat the request".to_owned()),
    }
}
