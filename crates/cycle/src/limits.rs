//! Which limits a connection counts in, and for how long a slot stays charged when nobody knows whether it is closed.

use std::time::Duration;

use model::endpoint::Protocol;
use model::workload::ServiceClass;
use store::mailbox::MailboxForCycle;
use throttle::{AcquireRequest, Holder, Limit};

use crate::Mail;

/// One connection for this mailbox's workload: counted at its server's endpoint, for the mailbox itself, and, where
/// the mailbox has its own credentials, within what the server allows each of them.
pub fn lease_request(mail: &Mail, mailbox: &MailboxForCycle, class: ServiceClass) -> AcquireRequest {
    let endpoint = mailbox.endpoint();
    let seconds = match endpoint.protocol {
        Protocol::Pop3 => mail.config().pop3_in_doubt_seconds,
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
            // POP3 locks the maildrop, and SMTP servers count few connections per account: one of each, which is within
            // `max_connections` of a mailbox with credentials of its own, whatever that is.
            Limit::of_mailbox(mailbox.id, endpoint, 1, version, shares, in_doubt),
        ],
        wait: None,
        holder: Holder {
            profile: Some(mailbox.profile),
            mailbox: Some(mailbox.id),
            workload: class.as_str().to_owned(),
        },
    }
}
