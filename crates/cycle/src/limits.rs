//! Which limits a connection counts in, and for how long a slot stays charged when nobody knows whether it is closed.

use std::time::Duration;

use model::endpoint::Protocol;
use model::profile::CredentialsOn;
use model::workload::ServiceClass;
use store::mailbox::MailboxForCycle;
use throttle::{AcquireRequest, Holder, Limit};

use crate::Mail;

/// Connections of one mailbox to an Exchange server at once (design section 5).
const AT_EXCHANGE: u32 = 3;

/// One connection for this mailbox's workload: counted at its server's endpoint, for the mailbox itself, and, where
/// the mailbox has its own credentials, within what the server allows each of them.
pub fn lease_request(mail: &Mail, mailbox: &MailboxForCycle, class: ServiceClass) -> AcquireRequest {
    let endpoint = mailbox.endpoint();
    let seconds = match endpoint.protocol {
        Protocol::Pop3 => mail.config().pop3_in_doubt_seconds,
        Protocol::Ews => mail.config().ews_in_doubt_seconds,
        Protocol::Smtp | Protocol::Https => mail.config().smtp_in_doubt_seconds,
    };
    let in_doubt = Duration::from_secs(seconds.into());
    let version = u64::try_from(mailbox.server_version).unwrap_or(0);
    let shares = mail.shares();
    let everyone = mailbox.server.limits.per_endpoint();
    AcquireRequest {
        class,
        limits: vec![
            Limit::of_endpoint(mailbox.profile, endpoint, everyone, version, shares, in_doubt),
            Limit::of_mailbox(mailbox.id, endpoint, of_mailbox(mailbox), version, shares, in_doubt),
        ],
        wait: None,
        holder: Holder {
            profile: Some(mailbox.profile),
            mailbox: Some(mailbox.id),
            workload: class.as_str().to_owned(),
        },
    }
}

/// Connections of one mailbox at once. POP3 locks the maildrop, and SMTP servers count few connections per account: one of
/// each, which is within `max_connections` of a mailbox with credentials of its own, whatever that is. Exchange throttles who
/// asks for more than a few (`EWSMaxConcurrency`), and a worker needs one for each class of service.
fn of_mailbox(mailbox: &MailboxForCycle) -> u32 {
    match (mailbox.endpoint().protocol, mailbox.server.limits.credentials_on) {
        (Protocol::Ews, CredentialsOn::Mailbox) => AT_EXCHANGE.min(mailbox.server.limits.max_connections),
        (Protocol::Ews, CredentialsOn::Profile) => AT_EXCHANGE,
        (Protocol::Pop3 | Protocol::Smtp | Protocol::Https, _) => 1,
    }
}
