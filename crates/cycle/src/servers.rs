//! How cycles reach mail servers: whom they trust, where they may go and how long they wait.

use std::sync::Arc;
use std::time::Duration;

use mail::oauth;
use mail::transport::{Ends, Settings, Trust};
use mail::{pop3, smtp};
use model::network::NetworkPolicy;
use store::mailbox::MailboxForCycle;
use throttle::Shares;

use crate::Config;
use crate::memory::Memory;

/// What `max_message_mb` counts in.
pub(crate) const MEGABYTE: u64 = 1024 * 1024;

/// Everything about mail servers that is the same for all cycles of a process. Cheap to clone; clones share the TLS
/// session tickets, which are all that a worker keeps between two cycles.
#[derive(Clone)]
pub struct Mail {
    parts: Arc<Parts>,
    /// Where connections that are dropped are left.
    ends: Option<Ends>,
}

struct Parts {
    network: NetworkPolicy,
    trust: Trust,
    client_name: smtp::ClientName,
    shares: Shares,
    config: Config,
    tokens: oauth::Client,
    /// What messages on their way in may hold.
    fetched: Memory,
    /// What messages on their way out may hold: a send waits for no server that mail is fetched from.
    sent: Memory,
}

impl Mail {
    /// Reads the system's certificate authorities and the configuration. Fails when `cycle.smtp_client_name` is no
    /// host name.
    pub fn new(
        network: NetworkPolicy,
        config: Config,
        shares: Shares,
    ) -> Result<Self, smtp::InvalidClientName> {
        let client_name = smtp::ClientName::parse(&config.smtp_client_name)?;
        let [fetched, sent] = [config.memory_mb, config.send_memory_mb]
            .map(|megabytes| Memory::new(u64::from(megabytes) * 1_000_000));
        let trust = Trust::system();
        let tokens = oauth::Client::new(network.clone(), trust.clone());
        let parts = Arc::new(Parts { network, trust, client_name, shares, config, tokens, fetched, sent });
        Ok(Self { parts, ends: None })
    }

    /// The same for whatever is done under one lease, with the ends of its connections.
    pub fn with_ends(&self) -> (Self, Ends) {
        let ends = Ends::default();
        (Self { parts: Arc::clone(&self.parts), ends: Some(ends.clone()) }, ends)
    }

    /// The caps and deadlines of a cycle.
    pub fn config(&self) -> &Config {
        &self.parts.config
    }

    /// Whoever asks token servers for tokens, for all of the process.
    pub fn tokens(&self) -> &oauth::Client {
        &self.parts.tokens
    }

    /// What each class of service is due at every limit.
    pub fn shares(&self) -> &Shares {
        &self.parts.shares
    }

    /// The memory of messages on their way in.
    pub(crate) fn fetched(&self) -> &Memory {
        &self.parts.fetched
    }

    /// The memory of messages on their way out.
    pub(crate) fn sent(&self) -> &Memory {
        &self.parts.sent
    }

    /// How a mailbox's server is connected to.
    pub(crate) fn transport(&self, mailbox: &MailboxForCycle) -> Result<Settings, mail::Error> {
        let tls =
            self.parts.trust.for_profile(mailbox.server.ca_certificate.as_deref().map(str::as_bytes))?;
        Ok(Settings {
            network: self.parts.network.clone(),
            connect_timeout: mailbox.server.connect_timeout,
            phase_deadline: self.parts.config.phase_deadline(),
            tls,
            ends: self.ends.clone(),
        })
    }

    /// The same for SMTP.
    pub(crate) fn smtp(&self, mailbox: &MailboxForCycle) -> Result<smtp::Settings, mail::Error> {
        Ok(smtp::Settings {
            transport: self.transport(mailbox)?,
            client_name: self.parts.client_name.clone(),
            message_timeout: Duration::from_secs(self.parts.config.smtp_message_seconds.into()),
            verdict_timeout: Duration::from_secs(self.parts.config.smtp_verdict_seconds.into()),
        })
    }

    /// What bounds a POP3 session.
    pub(crate) fn pop3_limits(&self) -> pop3::Limits {
        pop3::Limits {
            max_entries: 250_000,
            drain_bytes: 8_000_000,
            message_deadline: Duration::from_secs(self.parts.config.max_seconds.into()),
            pipelining: true,
        }
    }
}
