//! The closed set of things that can go wrong, each with what happened and what to do.
//!
//! An alert stores its kind and parameters, never finished text: the sentences are here, so that a better wording
//! reaches alerts that were raised before it. Every kind has a page under `docs/alerts/`.

use serde_json::Value;

use crate::names::names;

mod text;

names! {
    /// How loudly an alert speaks.
    "alert level" Level {
        /// A person should act.
        Error = "error",
        /// Something is not as it should be; Lockstep goes on trying.
        Warning = "warning",
        /// Good to know.
        Information = "information",
    }

    /// What an alert is about.
    "alert scope" Scope {
        /// One email.
        Email = "email",
        /// One mailbox.
        Mailbox = "mailbox",
        /// A profile: its server, for all of its mailboxes.
        Profile = "profile",
    }

    /// Whether it can pass by itself.
    "alert class" Class {
        /// Lockstep tries again.
        Transient = "transient",
        /// Lockstep has stopped trying.
        Permanent = "permanent",
    }

    /// What went wrong.
    "alert kind" AlertKind {
        /// The server's name has no address.
        NameNotResolved = "name_not_resolved",
        /// The server's address lies in a network that is closed to profiles.
        NetworkForbidden = "network_forbidden",
        /// Nothing listens at the server's port.
        ConnectionRefused = "connection_refused",
        /// The server did not answer in time.
        ConnectionTimedOut = "connection_timed_out",
        /// The server ended the connection.
        ConnectionLost = "connection_lost",
        /// The server's certificate is not trusted for its name.
        CertificateNotTrusted = "certificate_not_trusted",
        /// TLS and the port do not fit together.
        TlsMismatch = "tls_mismatch",
        /// The server does not offer the TLS that the profile asks for.
        TlsNotOffered = "tls_not_offered",
        /// The server asked to be left alone for a while.
        ServerBusy = "server_busy",
        /// The server answered against its protocol.
        ProtocolViolated = "protocol_violated",
        /// A test's user name or password was refused.
        SignInRefused = "sign_in_refused",
        /// The mailbox's own credentials were refused.
        CredentialsRefused = "credentials_refused",
        /// The profile's credentials were refused.
        ProfileCredentialsRefused = "profile_credentials_refused",
        /// No credentials are stored.
        CredentialsMissing = "credentials_missing",
        /// Somebody must consent before there are tokens to sign in with.
        ConsentNeeded = "consent_needed",
        /// The token server refuses the application.
        TokenRefused = "token_refused",
        /// The token server cannot be asked.
        TokenServerAway = "token_server_away",
        /// A secret, a consent or a certificate will soon hold no longer.
        CredentialExpiresSoon = "credential_expires_soon",
        /// The server does not let the mailbox in, for a reason that is not its password.
        MailboxRefused = "mailbox_refused",
        /// The server gives none of several messages that it lists.
        MessagesWithheld = "messages_withheld",
        /// Another session holds the mailbox.
        MailboxLocked = "mailbox_locked",
        /// The server cannot name messages lastingly.
        UidlNotOffered = "uidl_not_offered",
        /// The account may not act in the mailbox owner's name.
        ImpersonationRefused = "impersonation_refused",
        /// The server has no mailbox by the address.
        MailboxUnknown = "mailbox_unknown",
        /// The mailbox has no license, or is switched off at the server.
        MailboxNotLicensed = "mailbox_not_licensed",
        /// The address is a list, a contact or another name of a mailbox.
        NotAMailbox = "not_a_mailbox",
        /// Nobody says where a mailbox's server is.
        AutodiscoverFailed = "autodiscover_failed",
        /// A mailbox's server is looked for at a host that nobody has allowed to hear its credentials.
        HostConsentNeeded = "host_consent_needed",
        /// Another installation or organization has marked the mailbox as its own.
        MailboxClaimed = "mailbox_claimed",
        /// A mailbox failed ten times.
        MailboxKeptFailing = "mailbox_kept_failing",
        /// Over half of the known messages have gone from the server at once.
        MailboxEmptied = "mailbox_emptied",
        /// Messages have gone from the server before they could be read or recorded.
        MessagesVanished = "messages_vanished",
        /// A folder that is to be read beside the inbox is not.
        FolderNotRead = "folder_not_read",
        /// A message is larger than the limit.
        MessageTooLarge = "message_too_large",
        /// A message could not be parsed and is kept raw.
        MessageUnparsable = "message_unparsable",
        /// A message could not be recorded, five times.
        MessageUndeliverable = "message_undeliverable",
        /// The server refused to send for this sender or refused the message.
        MessageRefused = "message_refused",
        /// The account may not send in the name of the mailbox.
        SendAsRefused = "send_as_refused",
        /// The server refused recipients for good.
        RecipientsRefused = "recipients_refused",
        /// A server further on reports that recipients cannot be reached.
        RecipientBounced = "recipient_bounced",
        /// A server further on reports that it still tries to reach recipients.
        RecipientDelayed = "recipient_delayed",
        /// Nobody knows whether a message was sent.
        SendUnknown = "send_unknown",
        /// A message may have been sent twice.
        MaybeSentTwice = "maybe_sent_twice",
        /// A message has waited to be sent for a quarter of an hour.
        SendWaiting = "send_waiting",
        /// A message was not sent in time and will not be sent any more.
        SendTooLate = "send_too_late",
        /// A send was taken back, because of something that happened since it was asked for.
        SendWithdrawn = "send_withdrawn",
        /// A mailbox was tested and enabled.
        MailboxEnabled = "mailbox_enabled",
        /// A cycle could not be run for a reason inside Lockstep.
        LockstepFault = "lockstep_fault",
        /// One of our own parts is away.
        LockstepPartAway = "lockstep_part_away",
    }
}

/// What is fixed about a kind of alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// How loudly it speaks.
    pub level: Level,
    /// What it is about.
    pub scope: Scope,
    /// Whether it can pass by itself.
    pub class: Class,
    /// A few words, for a table.
    pub title: &'static str,
    /// What happened, with `{parameters}`.
    pub happened: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

impl AlertKind {
    /// What is fixed about this kind.
    pub const fn facts(self) -> Facts {
        text::facts(self)
    }

    /// What happened and what to do, with the parameters put in. A parameter that is missing reads as `?`.
    pub fn sentences(self, parameters: &Value) -> (String, String) {
        let facts = self.facts();
        (filled(facts.happened, parameters), filled(facts.remedy, parameters))
    }

    /// The page that says more.
    pub fn page(self) -> String {
        format!("docs/alerts/{}.md", self.as_str())
    }
}

fn filled(template: &str, parameters: &Value) -> String {
    let mut text = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        let Some((name, behind)) = after.split_once('}') else { break };
        match parameters.get(name) {
            Some(Value::String(value)) => text.push_str(value),
            Some(value) if !value.is_null() => text.push_str(&value.to_string()),
            _ => text.push('?'),
        }
        rest = behind;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_says_what_happened_and_what_to_do() {
        for kind in AlertKind::ALL {
            let facts = kind.facts();
            for sentence in [facts.happened, facts.remedy] {
                assert!(sentence.ends_with('.'), "{kind}: {sentence}");
                assert!(sentence.len() > 20, "{kind}: {sentence}");
            }
            assert!(!facts.title.ends_with('.') && facts.title.len() < 60, "{kind}: {}", facts.title);
            if facts.class == Class::Permanent && facts.level == Level::Information {
                assert_eq!(*kind, AlertKind::MailboxEnabled, "what needs a person is no mere information");
            }
        }
    }

    #[test]
    fn parameters_are_put_in_once_and_are_not_templates_themselves() {
        assert_eq!(filled("{a} and {b}.", &serde_json::json!({"a": "{b}", "b": 2})), "{b} and 2.");
        assert_eq!(filled("{missing}.", &Value::Null), "?.");
    }
}
