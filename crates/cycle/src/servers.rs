//! How cycles reach mail servers: whom they trust, where they may go and how long they wait.

use std::sync::Arc;
use std::time::Duration;

use mail::error::{Kind, Phase};
use mail::oauth;
use mail::transport::{Ends, Settings, Trust};
use mail::{ews, pop3, smtp};
use model::address::EmailAddress;
use model::network::NetworkPolicy;
use model::profile::ExchangeAccess;
use store::mailbox::MailboxForCycle;
use throttle::Shares;

use crate::Config;
use crate::access::Access;
use crate::memory::Memory;

/// What `max_message_mb` counts in.
pub(crate) const MEGABYTE: u64 = 1024 * 1024;

/// A Message-ID as the records have it: an Exchange server says it in angle brackets.
pub(crate) fn bare(message_id: &str) -> &str {
    message_id.trim().trim_matches(['<', '>'])
}

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

    /// How a mailbox of an Exchange server is asked. `version` is what an earlier session found the server to speak.
    pub(crate) async fn exchange(
        &self,
        mailbox: &MailboxForCycle,
        access: &Access,
        version: Option<&str>,
    ) -> Result<ews::Session, mail::Error> {
        let unspeakable = |what| mail::Error::new(Phase::SignIn, Kind::Unspeakable(what));
        let exchange = mailbox
            .server
            .exchange
            .as_ref()
            .ok_or_else(|| unspeakable("the profile names no web service"))?;
        let endpoint = &mailbox.server.incoming;
        let path = exchange.path.as_deref();
        let path = path.ok_or_else(|| unspeakable("the mailbox's web service was not looked for yet"))?;
        let address = ews::Address::parse(&format!("https://{}:{}{path}", endpoint.host, endpoint.port))
            .map_err(|_| unspeakable("the address of the profile's web service is none"))?;
        let owner: EmailAddress =
            mailbox.address.parse().map_err(|_| unspeakable("the mailbox's address is none"))?;
        let settings = ews::Settings {
            transport: self.transport(mailbox)?,
            schemes: ews::Schemes::default(),
            limits: ews::Limits {
                message_deadline: Duration::from_secs(self.parts.config.max_seconds.into()),
                verdict_timeout: Duration::from_secs(self.parts.config.smtp_verdict_seconds.into()),
                ..ews::Limits::default()
            },
            version: version.and_then(|version| version.parse().ok()),
        };
        let identity = ews::Identity {
            login: &access.login,
            proof: access.proof(),
            mailbox: owner,
            access: match exchange.access {
                ExchangeAccess::Own => ews::Access::Own,
                ExchangeAccess::Impersonation => ews::Access::Impersonation,
                ExchangeAccess::Delegate => ews::Access::Delegate,
            },
        };
        ews::Session::open(&address, &settings, identity).await
    }

    /// What the failure of a session's question means: one that was never answered fails as a server that does not greet.
    pub(crate) fn first_word(session: &ews::Session, error: mail::Error) -> mail::Error {
        let unanswered = matches!(error.kind(), Kind::TimedOut | Kind::Closed | Kind::Violation(_));
        if unanswered && !session.was_answered() { error.at_the_greeting() } else { error }
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
