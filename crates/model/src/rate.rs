//! How much a mail server takes in a time: messages, requests, bytes in any window of a length. What the known providers
//! publish is data here, each figure with its page; what an administrator gives passes over it.
//!
//! Providers move: check the page before you trust a row. Connections at once are the profile's limits, not rates.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::endpoint::Protocol;
use crate::names::names;

names! {
    /// What a rate is counted over. Nothing is counted over two organizations.
    "scope of a rate" RateScope {
        /// One mailbox.
        Mailbox = "mailbox",
        /// One server (protocol, host and port), for all mailboxes of the organization.
        Server = "server",
        /// Everything that the organization has at the provider.
        Tenant = "tenant",
        /// Whoever signs in with the same credentials: those of the profile, or of the mailbox where they live there.
        Application = "application",
    }

    /// What a rate counts.
    "unit of a rate" RateUnit {
        /// Messages that leave.
        Messages = "messages",
        /// Requests to a web service.
        Requests = "requests",
        /// Bytes that are sent to the server.
        BytesUp = "bytes_up",
        /// Bytes that are read from the server.
        BytesDown = "bytes_down",
    }

    /// Whose published figures hold for a server.
    "provider of rates" RateProvider {
        /// Whose the host names are, and none for others.
        Auto = "auto",
        /// No figures: only what is given.
        None = "none",
        /// Exchange Online and Outlook.com.
        ExchangeOnline = "exchange_online",
        /// Exchange on its own premises, as it is installed.
        ExchangeOnPremises = "exchange_on_premises",
        /// Gmail and Google Workspace.
        Gmail = "gmail",
    }
}

/// So much in any window of that length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// What it is counted over.
    pub scope: RateScope,
    /// What it counts.
    pub unit: RateUnit,
    /// How much there may be, at least 1.
    pub amount: u64,
    /// How long the window is, 1 to 86,400 seconds.
    pub window_seconds: u32,
}

/// A published figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figure {
    /// Whose.
    pub provider: RateProvider,
    /// For what is spoken to it by; none for a protocol that is not spoken yet (Microsoft Graph), kept as data.
    pub protocol: Option<Protocol>,
    /// What it says.
    pub limit: RateLimit,
}

/// The longest window.
pub const LONGEST_WINDOW: u32 = 86_400;
/// The most that a rate may say, so that sums of them are numbers yet.
pub const LARGEST_AMOUNT: u64 = 1 << 50;

const MINUTE: u32 = 60;
const DAY: u32 = 86_400;
const MEGABYTES: u64 = 1024 * 1024;

const fn figure(
    provider: RateProvider,
    protocol: Option<Protocol>,
    (amount, unit): (u64, RateUnit),
    window_seconds: u32,
    scope: RateScope,
) -> Figure {
    Figure { provider, protocol, limit: RateLimit { scope, unit, amount, window_seconds } }
}

use RateProvider::{ExchangeOnPremises, ExchangeOnline, Gmail};
use RateScope::{Application, Mailbox};
use RateUnit::{BytesDown, BytesUp, Messages, Requests};

/// Every figure there is.
pub const FIGURES: &[Figure] = &[
    // "Message rate limit: 30 messages per minute".
    // https://learn.microsoft.com/en-us/exchange/troubleshoot/send-emails/smtp-submission-improvements
    figure(ExchangeOnline, Some(Protocol::Smtp), (30, Messages), MINUTE, Mailbox),
    // The same limit of the mailbox holds whatever it sends by (`MessageRateLimit`).
    // https://learn.microsoft.com/en-us/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits
    figure(ExchangeOnline, Some(Protocol::Ews), (30, Messages), MINUTE, Mailbox),
    // Microsoft Graph, Outlook service: for each application and mailbox 10,000 requests in 10 minutes, and 150 megabytes
    // of upload in 5; for each application over all tenants 130,000 requests in 10 seconds.
    // https://learn.microsoft.com/en-us/graph/throttling-limits
    figure(ExchangeOnline, None, (10_000, Requests), 10 * MINUTE, Mailbox),
    figure(ExchangeOnline, None, (150 * MEGABYTES, BytesUp), 5 * MINUTE, Mailbox),
    figure(ExchangeOnline, None, (130_000, Requests), 10, Application),
    // The connectors that clients submit to, Client Frontend and Client Proxy: `MessageRateLimit` 5 a minute for each user.
    // Its web service has budgets of time and connections (`EWSMaxConcurrency`), and no rate.
    // https://learn.microsoft.com/en-us/exchange/mail-flow/message-rate-limits
    figure(ExchangeOnPremises, Some(Protocol::Smtp), (5, Messages), MINUTE, Mailbox),
    // 1,250 megabytes a day by POP; 2,000 messages a day of a Workspace account (500 of a personal one).
    // https://support.google.com/a/answer/1071518 https://support.google.com/a/answer/166852
    figure(Gmail, Some(Protocol::Pop3), (1_250 * MEGABYTES, BytesDown), DAY, Mailbox),
    figure(Gmail, Some(Protocol::Smtp), (2_000, Messages), DAY, Mailbox),
];

impl RateProvider {
    /// Who runs a server, where its host name tells.
    pub fn of_host(host: &str) -> Self {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let under = |domain: &str| {
            host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        if ["office365.com", "office.com", "outlook.com", "office365.us", "partner.outlook.cn"]
            .into_iter()
            .any(under)
        {
            Self::ExchangeOnline
        } else if ["gmail.com", "googlemail.com"].into_iter().any(under) {
            Self::Gmail
        } else {
            Self::None
        }
    }

    /// Whose figures hold at a host.
    #[must_use]
    pub fn at(self, host: &str) -> Self {
        if self == Self::Auto { Self::of_host(host) } else { self }
    }
}

/// What holds for what is spoken to a host: the provider's figures, and what was given. Of a scope, unit and window what is
/// given passes over the figure.
pub fn in_force(
    provider: RateProvider,
    given: &[RateLimit],
    protocol: Protocol,
    host: &str,
) -> Vec<RateLimit> {
    let provider = provider.at(host);
    let published = FIGURES
        .iter()
        .filter(|figure| figure.provider == provider && figure.protocol == Some(protocol))
        .map(|figure| figure.limit)
        .filter(|limit| !given.iter().any(|given| given.counts_as(limit)));
    let given = given.iter().copied().filter(|limit| limit.unit.is_counted(protocol));
    published.chain(given).collect()
}

impl RateUnit {
    /// Whether anything of it is done over a protocol.
    pub const fn is_counted(self, protocol: Protocol) -> bool {
        match (self, protocol) {
            (_, Protocol::Ews)
            | (Self::Messages | Self::BytesUp, Protocol::Smtp)
            | (Self::BytesDown, Protocol::Pop3) => true,
            (_, Protocol::Smtp | Protocol::Pop3 | Protocol::Https) => false,
        }
    }
}

impl RateLimit {
    /// The window.
    pub fn window(&self) -> Duration {
        Duration::from_secs(self.window_seconds.into())
    }

    /// Whether the two say different amounts of the same thing.
    pub fn counts_as(&self, other: &Self) -> bool {
        (self.scope, self.unit, self.window_seconds) == (other.scope, other.unit, other.window_seconds)
    }

    /// What is wrong with it, if anything is.
    pub fn fault(&self) -> Option<String> {
        if !(1..=LARGEST_AMOUNT).contains(&self.amount) {
            return Some(format!("the amount cannot be {}", self.amount));
        }
        (!(1..=LONGEST_WINDOW).contains(&self.window_seconds))
            .then(|| format!("the window cannot be {} seconds", self.window_seconds))
    }
}

/// `30 messages/60s per mailbox`.
impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}s per {}", self.amount, self.unit, self.window_seconds, self.scope)
    }
}

impl FromStr for RateLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [amount, what, "per", scope] = words.as_slice() else {
            return Err(format!("`{text}` is no rate; write it like `30 messages/60s per mailbox`"));
        };
        let (unit, window) = what
            .split_once('/')
            .ok_or_else(|| format!("`{what}` names no window; write it like `messages/60s`"))?;
        let seconds = window.strip_suffix('s').unwrap_or(window);
        let limit = Self {
            scope: scope.parse().map_err(|error: crate::UnknownName| error.to_string())?,
            unit: unit.parse().map_err(|error: crate::UnknownName| error.to_string())?,
            amount: amount.parse().map_err(|_| format!("`{amount}` is no amount; give a whole number"))?,
            window_seconds: seconds
                .parse()
                .map_err(|_| format!("`{window}` is no window; give seconds, such as 60s"))?,
        };
        limit.fault().map_or(Ok(limit), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> RateLimit {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_name_tells_the_provider_only_where_it_is_one_of_its_own() {
        for (host, expected) in [
            ("outlook.office365.com", ExchangeOnline),
            ("SMTP.Office365.com.", ExchangeOnline),
            ("smtp-mail.outlook.com", ExchangeOnline),
            ("smtp.gmail.com", Gmail),
            ("pop.googlemail.com", Gmail),
            ("mail.example.com", RateProvider::None),
            ("notgmail.com", RateProvider::None),
            ("gmail.com.example.com", RateProvider::None),
        ] {
            assert_eq!(RateProvider::Auto.at(host), expected, "{host}");
        }
        assert_eq!(
            ExchangeOnPremises.at("smtp.gmail.com"),
            ExchangeOnPremises,
            "what is said passes over the name"
        );
    }

    #[test]
    fn what_holds_is_what_is_published_unless_something_else_is_given() {
        let (auto, online) = (RateProvider::Auto, "outlook.office365.com");
        for (provider, given, protocol, host, expected) in [
            (auto, vec![], Protocol::Smtp, "smtp.office365.com", vec!["30 messages/60s per mailbox"]),
            (auto, vec![], Protocol::Ews, online, vec!["30 messages/60s per mailbox"]),
            (auto, vec![], Protocol::Pop3, online, vec![]),
            (auto, vec![], Protocol::Ews, "mail.example.com", vec![]),
            (
                ExchangeOnPremises,
                vec![],
                Protocol::Smtp,
                "mail.example.com",
                vec!["5 messages/60s per mailbox"],
            ),
            (ExchangeOnPremises, vec![], Protocol::Ews, "mail.example.com", vec![]),
            (RateProvider::None, vec![], Protocol::Smtp, "smtp.gmail.com", vec![]),
            (
                auto,
                vec!["10 messages/60s per mailbox"],
                Protocol::Smtp,
                "smtp.office365.com",
                vec!["10 messages/60s per mailbox"],
            ),
            (
                auto,
                vec!["10000 messages/86400s per mailbox", "500 requests/600s per application"],
                Protocol::Smtp,
                "smtp.office365.com",
                // A mail is given to SMTP in no request.
                vec!["30 messages/60s per mailbox", "10000 messages/86400s per mailbox"],
            ),
        ] {
            let given: Vec<_> = given.into_iter().map(rate).collect();
            let expected: Vec<_> = expected.into_iter().map(rate).collect();
            assert_eq!(in_force(provider, &given, protocol, host), expected, "{provider} {protocol} {host}");
        }
    }

    #[test]
    fn a_rate_reads_as_it_is_written() {
        for figure in FIGURES {
            assert_eq!(rate(&figure.limit.to_string()), figure.limit);
            assert_eq!(figure.limit.fault(), None);
        }
        for wrong in [
            "",
            "30",
            "30 messages per mailbox",
            "30 messages/60s",
            "x messages/60s per mailbox",
            "30 words/60s per mailbox",
            "30 messages/60s per planet",
            "0 messages/60s per mailbox",
            "1 messages/0s per mailbox",
            "1 messages/86401s per mailbox",
            "-1 messages/60s per mailbox",
        ] {
            assert!(wrong.parse::<RateLimit>().is_err(), "{wrong}");
        }
    }
}
