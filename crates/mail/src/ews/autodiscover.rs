//! Autodiscover: where a mailbox's web services are, found out from its address alone.
//!
//! It must never give credentials away. They are said over verified TLS, only to hosts under the mailbox's domain or named on
//! the profile, and only to a server that has asked for them by 401: a company's web site is asked too, and is nobody's mail
//! server. Whatever leads to another host ends in [`Discovery::NeedsConsent`] before that host hears a secret. What is found
//! is for the caller to keep.
//!
//! Absent on purpose: Active Directory's service connection points, which only members of a domain can ask for.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/exchange-web-services/autodiscover-for-exchange>

mod candidate;
mod exchange;
mod permit;
mod pox;
mod soap;

use model::address::EmailAddress;
use model::endpoint::Tls;
use url::Url;

pub use candidate::{Candidate, candidates};
use permit::Permit;

use super::Schemes;
use crate::error::{Error, Kind, Phase};
use crate::http::Address;
use crate::sasl::Proof;
use crate::transport;

/// The most redirects that are followed, by address and by URL together.
const HOPS: usize = 10;

/// How servers are asked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How connections are opened; the phase deadline holds for each question.
    pub transport: transport::Settings,
    /// How a password may be said.
    pub schemes: Schemes,
    /// Hosts that may hear the credentials beside those under the mailbox's domain: named on the profile, or consented to. A
    /// name that begins with a dot stands for every host under it.
    pub named: Vec<String>,
}

/// What proves whoever asks.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// The user name that goes with a password.
    pub login: &'a str,
    /// The proof.
    pub proof: Proof<'a>,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// The mailbox's web services are here.
    Found {
        /// Where. Its host may hear the credentials.
        address: Address,
        /// The mailbox's own address, where it was asked for by another one.
        mailbox: EmailAddress,
        /// Who said so; its path tells whether in SOAP or in plain XML.
        told_by: Address,
    },
    /// It goes on at a host that may not hear the credentials, and has not. Consented to, it is named in [`Settings::named`]
    /// the next time.
    NeedsConsent {
        /// The host.
        host: String,
        /// What it was that led there.
        by: Led,
    },
}

/// What leads to another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Led {
    /// The web services themselves are there: a server that was trusted says so.
    Services,
    /// A server that was trusted says that another one knows.
    Redirect,
    /// Somebody said so without TLS.
    Plain,
}

/// One answer to one question.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    /// The address of the web services, and the mailbox's own address where it was said.
    Services(String, Option<String>),
    /// Ask there instead.
    Url(String),
    /// Ask for this address instead.
    Mailbox(String),
}

/// Finds a mailbox's web services in the documented order.
pub async fn discover(
    mailbox: &EmailAddress,
    settings: &Settings,
    credentials: Credentials<'_>,
) -> Result<Discovery, Error> {
    discover_from(candidates(mailbox), mailbox, settings, credentials).await
}

/// Finds a mailbox's web services by asking these in turn.
pub async fn discover_from(
    candidates: Vec<Candidate>,
    mailbox: &EmailAddress,
    settings: &Settings,
    credentials: Credentials<'_>,
) -> Result<Discovery, Error> {
    let permit = Permit::new(mailbox, &settings.named);
    let mut search =
        Search { settings, credentials, permit, hops: 0, refused: Vec::new(), consent: None, failure: None };
    // Asked for from here on; whose domain the credentials belong to never changes.
    let mut mailbox = mailbox.clone();
    let mut candidates = candidates;
    loop {
        let mut other = None;
        for candidate in std::mem::take(&mut candidates) {
            match search.follow(candidate, &mailbox).await? {
                Some(End::Found(discovery)) => return Ok(discovery),
                Some(End::Mailbox(address)) => {
                    other = Some(address);
                    break;
                }
                None => {}
            }
        }
        let Some(address) = other else { return search.outcome() };
        mailbox = address;
        candidates = self::candidates(&mailbox);
    }
}

struct Search<'a> {
    settings: &'a Settings,
    credentials: Credentials<'a>,
    permit: Permit,
    hops: usize,
    /// Hosts that have refused the credentials: asked once more, they count one more wrong password.
    refused: Vec<String>,
    /// The best reason to ask for consent.
    consent: Option<(String, Led)>,
    /// The failure that says most.
    failure: Option<Error>,
}

enum End {
    Found(Discovery),
    Mailbox(EmailAddress),
}

impl Search<'_> {
    /// Asks one candidate, and whoever it leads to. None where that leads nowhere.
    async fn follow(&mut self, candidate: Candidate, mailbox: &EmailAddress) -> Result<Option<End>, Error> {
        let mut next = candidate;
        loop {
            let plain = matches!(next, Candidate::Plain { .. });
            let told = match self.ask(&next, mailbox).await {
                Ok(Some(told)) => told,
                Ok(None) => return Ok(None),
                Err(error) => {
                    if error.kind() == &Kind::CredentialsRefused {
                        self.refused.extend(next.host());
                    }
                    self.failed(error);
                    return Ok(None);
                }
            };
            match told {
                Told::Services(url, own) => {
                    let Ok(address) = Address::parse(&url) else {
                        self.failed(broken("it names web services at an address that is not https"));
                        return Ok(None);
                    };
                    let (Candidate::Soap(told_by) | Candidate::Pox(told_by)) = next else { return Ok(None) };
                    if !self.permit.allows(&address.host()) {
                        self.wants(address.host(), Led::Services);
                        return Ok(None);
                    }
                    let mailbox = own.and_then(|own| own.parse().ok()).unwrap_or_else(|| mailbox.clone());
                    return Ok(Some(End::Found(Discovery::Found { address, mailbox, told_by })));
                }
                Told::Url(url) => {
                    self.hop()?;
                    let Ok(address) = Address::parse(&url) else {
                        self.failed(broken("it leads to an address that is not https"));
                        return Ok(None);
                    };
                    if !self.permit.allows(&address.host()) {
                        self.wants(address.host(), if plain { Led::Plain } else { Led::Redirect });
                        return Ok(None);
                    }
                    next = Candidate::at(address);
                }
                Told::Mailbox(address) => {
                    self.hop()?;
                    let Ok(address) = address.parse() else {
                        self.failed(broken("it leads to what is no address"));
                        return Ok(None);
                    };
                    return Ok(Some(End::Mailbox(address)));
                }
            }
        }
    }

    async fn ask(&self, candidate: &Candidate, mailbox: &EmailAddress) -> Result<Option<Told>, Error> {
        match candidate {
            _ if candidate.host().is_some_and(|host| self.refused.contains(&host)) => Ok(None),
            Candidate::Plain { host, port } => {
                exchange::led(host, *port, self.settings).await.map(|url| url.map(Told::Url))
            }
            // A candidate of another address that it led to: nobody there has consent yet.
            Candidate::Soap(address) | Candidate::Pox(address) if !self.permit.allows(&address.host()) => {
                Err(Error::new(Phase::Discover, Kind::Unsupported(CONSENT)).at(address.host()))
            }
            Candidate::Soap(address) => {
                let body = soap::request(address, mailbox);
                let answer = exchange::post(address, body, self.settings, self.credentials).await?;
                answer.told(soap::read)
            }
            Candidate::Pox(address) => {
                let body = pox::request(mailbox);
                let answer = exchange::post(address, body, self.settings, self.credentials).await?;
                answer.told(pox::read)
            }
        }
    }

    fn hop(&mut self) -> Result<(), Error> {
        self.hops += 1;
        if self.hops > HOPS {
            return Err(broken("it leads from one server to the next without an end"));
        }
        Ok(())
    }

    fn wants(&mut self, host: String, by: Led) {
        let weight = |by| match by {
            Led::Services => 2,
            Led::Redirect => 1,
            Led::Plain => 0,
        };
        if self.consent.as_ref().is_none_or(|(_, known)| weight(by) > weight(*known)) {
            self.consent = Some((host, by));
        }
    }

    /// Keeps the failure that says most: what a server answered weighs more than that nobody did.
    fn failed(&mut self, error: Error) {
        if self.failure.as_ref().is_none_or(|known| weight(&error) > weight(known)) {
            self.failure = Some(error);
        }
    }

    fn outcome(self) -> Result<Discovery, Error> {
        match (self.consent, self.failure) {
            (Some((host, by)), _) => Ok(Discovery::NeedsConsent { host, by }),
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::new(Phase::Discover, Kind::Unsupported("Autodiscover"))),
        }
    }
}

const CONSENT: &str = "a host that may hear the credentials";

fn weight(error: &Error) -> u8 {
    match error.kind() {
        Kind::CredentialsRefused | Kind::NoSuchMailbox => 6,
        Kind::Throttled(_) | Kind::Unavailable => 5,
        Kind::PermanentlyRefused | Kind::TemporarilyRefused | Kind::Violation(_) => 4,
        Kind::CertificateNotTrusted(_) => 3,
        Kind::TimedOut => 2,
        Kind::Unresolvable => 0,
        _ => 1,
    }
}

fn broken(how: &'static str) -> Error {
    Error::new(Phase::Discover, Kind::Violation(how))
}

/// Where a redirect of HTTP leads, seen from where it was said.
fn joined(base: &Url, location: &str) -> Option<String> {
    base.join(location).ok().map(String::from)
}

/// How plain HTTP is reached: as a connection that has yet to become private, and never does.
const PLAIN: Tls = Tls::StartTls;
