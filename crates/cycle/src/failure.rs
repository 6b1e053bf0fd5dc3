//! What a failed conversation means: how far it reaches, and what it is called towards people (design section 4).
//!
//! The phase decides: what fails before anyone signed in is the server's failure and pauses its mailboxes; what fails
//! after is the mailbox's.

use std::time::Duration;

use mail::error::{Busy, Distrust, Kind, Phase};
use model::alert::AlertKind;
use model::cadence::{DueReason, Outcome};
use model::endpoint::Endpoint;
use model::failure::{Failure, FailureScope, clamped};
use serde_json::{Value, json};

/// A failure with the values for its alert's sentences.
#[derive(Clone, Debug)]
pub struct Explained {
    /// What decides the consequence.
    pub failure: Failure,
    /// For the alert.
    pub parameters: Value,
}

/// How long a server that delays sign-ins without saying how long is left alone.
const LOGIN_DELAY: Duration = Duration::from_secs(60);

/// What this error means when it ends a cycle.
pub(crate) fn explained(error: &mail::Error, endpoint: &Endpoint) -> Explained {
    let (scope, alert, reason) = judged(error);
    Explained {
        failure: Failure {
            scope,
            alert,
            said: error.said().map(str::to_owned),
            retry_after: error.retry_after(),
        },
        parameters: json!({"endpoint": endpoint.key(), "phase": error.phase().as_str(), "reason": reason}),
    }
}

/// How a cycle that ended with this failure is counted. A server that only wants to be asked later has not failed.
pub(crate) fn outcome(failure: &Failure, asks_for_a_pause: bool) -> Outcome {
    if asks_for_a_pause {
        let delay = clamped(failure.retry_after.unwrap_or(LOGIN_DELAY));
        return Outcome::Snooze { delay, reason: DueReason::ServerAsked };
    }
    Outcome::Failed(failure.clone())
}

/// Whether the server only wants a longer pause: between sign-ins (RFC 2449 section 8.1.1), or because too much was asked of
/// it (EWS throttling).
pub(crate) fn asks_for_a_pause(error: &mail::Error) -> bool {
    matches!(error.kind(), Kind::LoginDelay | Kind::Throttled(_))
}

fn judged(error: &mail::Error) -> (FailureScope, AlertKind, &'static str) {
    use FailureScope::{Credential, Item, Mailbox, Server};
    let before_sign_in = matches!(
        error.phase(),
        Phase::Resolve
            | Phase::Connect
            | Phase::Tls
            | Phase::Greeting
            | Phase::Capabilities
            | Phase::StartTls
    );
    let by_phase = if before_sign_in { Server } else { Mailbox };
    match error.kind() {
        Kind::Unresolvable => (Server, AlertKind::NameNotResolved, "the name has no address"),
        Kind::ForbiddenAddress { class, .. } => (Server, AlertKind::NetworkForbidden, class),
        Kind::Refused => (Server, AlertKind::ConnectionRefused, "nothing listens at the port"),
        Kind::Unreachable => (Server, AlertKind::ConnectionRefused, "there is no way to the host"),
        Kind::TimedOut => (by_phase, AlertKind::ConnectionTimedOut, "the time allowed passed"),
        Kind::CertificateNotTrusted(distrust) => {
            (Server, AlertKind::CertificateNotTrusted, distrusted(*distrust))
        }
        Kind::AuthorityUnreadable => (
            Server,
            AlertKind::CertificateNotTrusted,
            "the certificate authority stored on the profile cannot be read as PEM",
        ),
        Kind::TlsOnPlain => {
            (Server, AlertKind::TlsMismatch, "TLS was expected and the server spoke plain text")
        }
        Kind::PlainOnTls => {
            (Server, AlertKind::TlsMismatch, "plain text was expected and the server spoke TLS")
        }
        Kind::TlsFailed => (Server, AlertKind::TlsMismatch, "no TLS version or cipher is common to both"),
        Kind::TlsNotOffered => (Server, AlertKind::TlsNotOffered, "STARTTLS is not offered"),
        Kind::CredentialsRefused => {
            (Credential, AlertKind::CredentialsRefused, "the credentials were refused")
        }
        Kind::Locked => (Mailbox, AlertKind::MailboxLocked, "another session holds the mailbox"),
        Kind::LoginDelay => (Mailbox, AlertKind::ServerBusy, "sign-ins come too often"),
        Kind::Unavailable => (Server, AlertKind::ServerBusy, "the service is not available now"),
        // One mailbox that cannot be opened says nothing of its server; most of them at once do (`finish`).
        Kind::TemporarilyRefused if error.phase() == Phase::SignIn => {
            (Mailbox, AlertKind::ServerBusy, "the server cannot open the mailbox now")
        }
        Kind::TemporarilyRefused => (by_phase, AlertKind::ServerBusy, "refused for now"),
        Kind::PermanentlyRefused => (by_phase, AlertKind::MailboxRefused, "refused for good"),
        Kind::Unsupported("UIDL") => (Mailbox, AlertKind::UidlNotOffered, "UIDL is not offered"),
        Kind::Unsupported(what) | Kind::TooLarge(what) => (by_phase, AlertKind::ProtocolViolated, what),
        Kind::Violation(how) => (by_phase, AlertKind::ProtocolViolated, how),
        Kind::OverSize { .. } => {
            (Item, AlertKind::MessageRefused, "the message is larger than the server takes")
        }
        Kind::Throttled(Busy::Server) => {
            (Mailbox, AlertKind::ServerBusy, "the server asked to be left alone")
        }
        Kind::Throttled(Busy::Mailbox) => (Mailbox, AlertKind::ServerBusy, "the mailbox was asked too much"),
        Kind::ImpersonationRefused => {
            (Mailbox, AlertKind::ImpersonationRefused, "the account may not act in the mailbox owner's name")
        }
        Kind::NoSuchMailbox => {
            (Mailbox, AlertKind::MailboxUnknown, "the server has no mailbox by this address")
        }
        Kind::MailboxDisabled => {
            (Mailbox, AlertKind::MailboxNotLicensed, "the mailbox is not licensed, or switched off")
        }
        Kind::AccessDenied => {
            (Mailbox, AlertKind::MailboxRefused, "the account has no access to the mailbox")
        }
        Kind::SyncStateInvalid => {
            (Mailbox, AlertKind::ProtocolViolated, "the server forgets what it just said")
        }
        Kind::NotFound => (Mailbox, AlertKind::MailboxRefused, "what was asked for is not there"),
        Kind::Closed => (by_phase, AlertKind::ConnectionLost, "the connection ended before the answer did"),
        Kind::Unspeakable(what) => (Mailbox, AlertKind::MailboxRefused, what),
    }
}

fn distrusted(distrust: Distrust) -> &'static str {
    match distrust {
        Distrust::Expired => "it has expired",
        Distrust::NotYetValid => "it is not valid yet",
        Distrust::UnknownIssuer => "no trusted authority issued it",
        Distrust::WrongHost => "it is for another host name",
        Distrust::Revoked => "its authority revoked it",
        Distrust::AuthorityAsServer => "it is an authority's certificate shown as a server's own",
        Distrust::Unusable => "it is malformed or of a kind that is not supported",
    }
}

#[cfg(test)]
mod tests {
    use model::endpoint::{Protocol, Tls};

    use super::*;

    fn scope(phase: Phase, kind: Kind) -> (FailureScope, AlertKind) {
        let endpoint =
            Endpoint { protocol: Protocol::Pop3, host: "mail.example".into(), port: 995, tls: Tls::Implicit };
        let explained = explained(&mail::Error::new(phase, kind), &endpoint);
        assert_eq!(explained.parameters["endpoint"], "pop3://mail.example:995");
        (explained.failure.scope, explained.failure.alert)
    }

    #[test]
    fn the_phase_decides_whose_failure_it_is() {
        use FailureScope::{Credential, Mailbox, Server};
        for (phase, kind, expected) in [
            (Phase::Resolve, Kind::Unresolvable, (Server, AlertKind::NameNotResolved)),
            (Phase::Connect, Kind::Refused, (Server, AlertKind::ConnectionRefused)),
            (Phase::Connect, Kind::TimedOut, (Server, AlertKind::ConnectionTimedOut)),
            (Phase::Tls, Kind::TlsOnPlain, (Server, AlertKind::TlsMismatch)),
            (
                Phase::Tls,
                Kind::CertificateNotTrusted(Distrust::UnknownIssuer),
                (Server, AlertKind::CertificateNotTrusted),
            ),
            (Phase::Greeting, Kind::TimedOut, (Server, AlertKind::ConnectionTimedOut)),
            (Phase::Greeting, Kind::Closed, (Server, AlertKind::ConnectionLost)),
            (Phase::StartTls, Kind::TlsNotOffered, (Server, AlertKind::TlsNotOffered)),
            (Phase::SignIn, Kind::CredentialsRefused, (Credential, AlertKind::CredentialsRefused)),
            (Phase::SignIn, Kind::Locked, (Mailbox, AlertKind::MailboxLocked)),
            (Phase::SignIn, Kind::TemporarilyRefused, (Mailbox, AlertKind::ServerBusy)),
            (Phase::SignIn, Kind::PermanentlyRefused, (Mailbox, AlertKind::MailboxRefused)),
            (Phase::SignIn, Kind::Unavailable, (Server, AlertKind::ServerBusy)),
            (Phase::List, Kind::Unsupported("UIDL"), (Mailbox, AlertKind::UidlNotOffered)),
            (Phase::List, Kind::TimedOut, (Mailbox, AlertKind::ConnectionTimedOut)),
            (Phase::Fetch, Kind::Closed, (Mailbox, AlertKind::ConnectionLost)),
            (Phase::Fetch, Kind::Violation("no dot"), (Mailbox, AlertKind::ProtocolViolated)),
        ] {
            assert_eq!(scope(phase, kind.clone()), expected, "{phase} {kind:?}");
        }
    }
}
