//! Where a mailbox's Exchange server is, when its profile names none: asked by autodiscover, under a lease of its own that is counted
//! where the question goes. Credentials go only to hosts under the mailbox's domain and to those that the profile names.

use mail::error::{Kind, Phase};
use mail::ews::autodiscover::{Candidate, Credentials, Discovery, Led, Settings, candidates, discover_from};
use mail::ews::{Address, Schemes};
use model::address::EmailAddress;
use model::alert::AlertKind;
use model::endpoint::{Endpoint, Protocol, Tls};
use model::failure::{Failure, FailureScope};
use serde_json::json;
use store::change::Author;
use store::mailbox::{MailboxForCycle, Service};

use crate::Mail;
use crate::access::{Access, Keeper, NoAccess};
use crate::failure::{self, Explained};

/// Why nothing was found.
#[derive(Debug)]
pub(crate) struct Unfound {
    /// The failure, for people.
    pub(crate) explained: Explained,
    /// What the servers said, where it was a failure of theirs.
    pub(crate) error: Option<mail::Error>,
}

/// The mailbox while its server is looked for: whatever is said of its endpoint is said of whom is asked, and a lease is counted
/// there.
pub fn sought(mailbox: &MailboxForCycle) -> MailboxForCycle {
    let mut sought = mailbox.clone();
    let endpoint = asked(mailbox);
    (sought.server.incoming, sought.server.outgoing) = (endpoint.clone(), endpoint);
    sought
}

/// Whom to ask first: whoever the profile names, or the mailbox's domain.
fn asked(mailbox: &MailboxForCycle) -> Endpoint {
    let (host, port) = if let Some(Ok(address)) = start(mailbox) {
        (address.host(), address.port())
    } else {
        (format!("autodiscover.{}", domain(mailbox).to_lowercase()), 443)
    };
    Endpoint { protocol: Protocol::Ews, host, port, tls: Tls::Implicit }
}

fn domain(mailbox: &MailboxForCycle) -> &str {
    mailbox.address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

fn start(mailbox: &MailboxForCycle) -> Option<Result<Address, mail::ews::BadAddress>> {
    let exchange = mailbox.server.exchange.as_ref()?;
    exchange.start.as_deref().map(Address::parse)
}

/// Looks for a mailbox's web services, under a lease that the caller holds. A token that is refused is renewed once.
pub(crate) async fn search(
    keeper: &Keeper<'_>,
    mailbox: &MailboxForCycle,
    by: &Author,
) -> Result<Result<Service, Unfound>, NoAccess> {
    let access = keeper.access(mailbox, None, by).await?;
    let mut answer = discovered(keeper.mail, mailbox, &access).await;
    if let Err(error) = &answer
        && Keeper::may_renew(&access, error)
    {
        let renewed = keeper.access(mailbox, Some(&access), by).await?;
        answer = discovered(keeper.mail, mailbox, &renewed).await;
    }
    Ok(match answer {
        Ok(Discovery::Found { address, told_by, .. }) => Ok(Service {
            host: address.host(),
            port: address.port(),
            path: address.path().to_owned(),
            told_by: format!("{told_by:?}"),
        }),
        Ok(Discovery::NeedsConsent { host, by }) => Err(needs_consent(mailbox, &host, by)),
        Err(error) => Err(failed(mailbox, error)),
    })
}

async fn discovered(
    mail: &Mail,
    mailbox: &MailboxForCycle,
    access: &Access,
) -> Result<Discovery, mail::Error> {
    let unspeakable = |what| mail::Error::new(Phase::Discover, Kind::Unspeakable(what));
    let address: EmailAddress =
        mailbox.address.parse().map_err(|_| unspeakable("the mailbox's address is none"))?;
    let exchange = mailbox.server.exchange.as_ref();
    let exchange = exchange.ok_or_else(|| unspeakable("the profile leads to no Exchange server"))?;
    let mut named = exchange.hosts.clone();
    let asked = match start(mailbox) {
        None => candidates(&address),
        Some(start) => {
            let start = start
                .map_err(|_| unspeakable("the address of the profile's autodiscover service is none"))?;
            named.push(start.host());
            vec![Candidate::at(start)]
        }
    };
    let settings = Settings { transport: mail.transport(mailbox)?, schemes: Schemes::default(), named };
    let credentials = Credentials { login: &access.login, proof: access.proof() };
    discover_from(asked, &address, &settings, credentials).await
}

fn needs_consent(mailbox: &MailboxForCycle, host: &str, by: Led) -> Unfound {
    let led = match by {
        Led::Services => "A server that may hear the credentials says that the web services are there",
        Led::Redirect => "A server that may hear the credentials says that this one knows where they are",
        Led::Plain => {
            "Somebody without TLS, which anybody can pretend to be, says that this one knows where they are"
        }
    };
    let failure = Failure {
        scope: FailureScope::Mailbox,
        alert: AlertKind::HostConsentNeeded,
        said: None,
        retry_after: None,
    };
    let parameters = json!({
        "endpoint": asked(mailbox).key(),
        "host": host,
        "led": led,
        "profile": mailbox.server.name,
        "reason": "autodiscover leads to a host that may not hear the credentials",
    });
    Unfound { explained: Explained { failure, parameters }, error: None }
}

/// What people can do something about by itself is told as it is; the rest is that nobody knows.
fn failed(mailbox: &MailboxForCycle, error: mail::Error) -> Unfound {
    let endpoint = asked(mailbox);
    let mut explained = failure::explained(&error, &endpoint);
    if explained.failure.scope == FailureScope::Credential {
        // Whoever knows no such password may be no mail server at all: no reason to stop the profile.
        explained.failure.scope = FailureScope::Mailbox;
        explained.failure.alert = AlertKind::SignInRefused;
    }
    let by_itself = matches!(
        explained.failure.alert,
        AlertKind::SignInRefused
            | AlertKind::MailboxUnknown
            | AlertKind::CertificateNotTrusted
            | AlertKind::NetworkForbidden
            | AlertKind::ServerBusy
    );
    if !by_itself {
        explained.failure.alert = AlertKind::AutodiscoverFailed;
        explained.parameters["profile"] = json!(mailbox.server.name);
        let whom = match start(mailbox) {
            Some(_) => endpoint.host,
            None => domain(mailbox).to_owned(),
        };
        explained.parameters["whom"] = json!(whom);
        if *error.kind() == Kind::Unsupported("Autodiscover") {
            explained.parameters["reason"] = json!("no autodiscover service answers there");
        }
    }
    Unfound { explained, error: Some(error) }
}
