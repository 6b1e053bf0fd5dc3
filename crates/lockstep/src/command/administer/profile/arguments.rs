//! What `profile create` and `profile update` take, and the bodies that they make.

use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use model::profile::{CredentialsOn, ExchangeAccess};
use serde_json::{Value, json};

use super::location::{Location, Tls, with_tls};
use crate::client::Record;
use crate::command::Failure;
use crate::command::administer::context::refused;
use crate::command::administer::given;

/// The ports where TLS begins at once (RFC 8314 section 3).
const POP3S: i64 = 995;
const SUBMISSIONS: i64 = 465;

/// What a profile is made of.
#[derive(Debug, Args)]
pub struct Create {
    /// The profile's name, unique in the organization.
    name: String,
    /// A provider whose servers are taken where none are given: `lockstep profile presets` lists them.
    #[arg(long, value_name = "PRESET")]
    preset: Option<String>,
    /// Where mail is read, by POP3: HOST or HOST:PORT; port 995 when left out.
    #[arg(long, value_name = "HOST[:PORT]", required_unless_present_any = ["preset", "exchange"])]
    incoming: Option<Location>,
    /// Where mail is submitted, by SMTP: HOST or HOST:PORT; port 465 when left out.
    #[arg(long, value_name = "HOST[:PORT]", required_unless_present_any = ["preset", "exchange"])]
    outgoing: Option<Location>,
    /// An Exchange server instead: the address of its web service, such as `https://mail.example.com/EWS/Exchange.asmx`, or
    /// `auto` to find each mailbox's by autodiscover.
    #[arg(long, value_name = "URL|auto", conflicts_with_all = ["preset", "incoming", "outgoing", "incoming_tls", "outgoing_tls"])]
    exchange: Option<String>,
    /// In whose name the Exchange server is asked: `own` (each mailbox's), `impersonation` or `delegate` (the profile's)
    /// [`own` with credentials on the mailbox, else `impersonation`].
    #[arg(long, value_name = "ACCESS", requires = "exchange")]
    access: Option<ExchangeAccess>,
    /// Whom autodiscover asks instead of the servers of a mailbox's domain, such as
    /// `https://autodiscover.example.com/autodiscover/autodiscover.svc`. Its host may hear the credentials.
    #[arg(long, value_name = "URL", requires = "exchange")]
    autodiscover_url: Option<String>,
    /// How the connection to the incoming server becomes private; what is usual at its port when left out.
    #[arg(long, value_name = "TLS")]
    incoming_tls: Option<Tls>,
    /// How the connection to the outgoing server becomes private; what is usual at its port when left out.
    #[arg(long, value_name = "TLS")]
    outgoing_tls: Option<Tls>,
    /// Where credentials live: `mailbox` (each has its own) or `profile` (one for all of them).
    #[arg(long, value_name = "WHERE", default_value = "mailbox")]
    credentials_on: CredentialsOn,
    #[command(flatten)]
    more: More,
}

/// What is alike when a profile is made and when it is changed.
#[derive(Debug, Args)]
pub struct More {
    /// A few words for people.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// PEM file with the authority of the server's certificate, trusted beside the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Connections at once, 1 to 65536: to each server where credentials live on the profile, else for each mailbox
    /// [10 when made].
    #[arg(long, value_name = "NUMBER")]
    max_connections: Option<u32>,
    /// Connections at once to each server over all mailboxes with their own credentials, 1 to 65536 [100 when made].
    #[arg(long, value_name = "NUMBER")]
    max_in_flight: Option<u32>,
    /// The shortest gap between two cycles of a mailbox in minutes, 0 to 1440 [0 when made].
    #[arg(long, value_name = "MINUTES")]
    min_polling_minutes: Option<u32>,
    /// How long opening a connection may take in milliseconds, 1 to 100000 [30000 when made].
    #[arg(long, value_name = "MILLISECONDS")]
    connect_timeout_ms: Option<u32>,
    /// Nothing received before this is processed, such as 2026-01-31T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    received_after: Option<Timestamp>,
    /// Whether alerts are mailed.
    #[arg(long, value_name = "TRUE|FALSE")]
    alert_mail: Option<bool>,
    /// The folder at the top of each Exchange mailbox that what could not be recorded in five tries is moved to; made where it is
    /// missing, and "" leaves it where it is.
    #[arg(long, value_name = "FOLDER")]
    undeliverable_folder: Option<String>,
    /// The id of the profile in your application.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
}

/// An empty text is none.
fn or_none(text: String) -> Value {
    if text.is_empty() { Value::Null } else { Value::from(text) }
}

impl More {
    fn fields(&self) -> Result<[(&'static str, Option<Value>); 10], Failure> {
        let authority = self.ca_file.as_deref().map(pem).transpose()?;
        Ok([
            ("description", self.description.clone().map(Value::from)),
            ("ca_certificate", authority.map(Value::from)),
            ("max_connections", self.max_connections.map(Value::from)),
            ("max_in_flight", self.max_in_flight.map(Value::from)),
            ("min_polling_minutes", self.min_polling_minutes.map(Value::from)),
            ("connect_timeout_ms", self.connect_timeout_ms.map(Value::from)),
            ("process_email_received_after", self.received_after.map(|time| json!(time))),
            ("alert_mail", self.alert_mail.map(Value::from)),
            ("undeliverable_folder", self.undeliverable_folder.clone().map(or_none)),
            ("external_id", self.external_id.clone().map(Value::from)),
        ])
    }
}

impl Create {
    pub(super) fn body(&self) -> Result<Value, Failure> {
        let mut body = json!({"name": self.name, "credentials_on": self.credentials_on});
        if let Some(preset) = &self.preset {
            body["preset"] = json!(preset);
        }
        if let Some(incoming) = &self.incoming {
            body["incoming"] = incoming.body(self.incoming_tls, POP3S);
        }
        if let Some(outgoing) = &self.outgoing {
            body["outgoing"] = outgoing.body(self.outgoing_tls, SUBMISSIONS);
        }
        if let Some(url) = &self.exchange {
            body["exchange"] = at_exchange(url, self.access, self.autodiscover_url.as_deref());
        }
        for (name, value) in self.more.fields()? {
            if let Some(value) = value {
                body[name] = value;
            }
        }
        Ok(body)
    }
}

/// What can be changed of a profile.
#[derive(Debug, Args)]
pub struct Update {
    /// The name or id.
    pub(super) profile: String,
    /// Another name.
    #[arg(long)]
    name: Option<String>,
    /// Where mail is read, by POP3: HOST or HOST:PORT.
    #[arg(long, value_name = "HOST[:PORT]")]
    incoming: Option<Location>,
    /// Where mail is submitted, by SMTP: HOST or HOST:PORT.
    #[arg(long, value_name = "HOST[:PORT]")]
    outgoing: Option<Location>,
    /// The address of an Exchange server's web service, or `auto` to find each mailbox's by autodiscover.
    #[arg(long, value_name = "URL|auto")]
    exchange: Option<String>,
    /// Whom autodiscover asks instead of the servers of a mailbox's domain.
    #[arg(long, value_name = "URL")]
    autodiscover_url: Option<String>,
    /// In whose name the Exchange server is asked: `own`, `impersonation` or `delegate`.
    #[arg(long, value_name = "ACCESS")]
    access: Option<ExchangeAccess>,
    /// How the connection to the incoming server becomes private.
    #[arg(long, value_name = "TLS")]
    incoming_tls: Option<Tls>,
    /// How the connection to the outgoing server becomes private.
    #[arg(long, value_name = "TLS")]
    outgoing_tls: Option<Tls>,
    /// Where credentials live: `mailbox` or `profile`. From the profile to the mailboxes its password is forgotten.
    #[arg(long, value_name = "WHERE")]
    credentials_on: Option<CredentialsOn>,
    /// Trust the system's authorities alone again.
    #[arg(long, conflicts_with = "ca_file")]
    forget_ca: bool,
    /// Stop all mailboxes of the profile without switching any off (true), or let them go on (false).
    #[arg(long, value_name = "TRUE|FALSE")]
    paused: Option<bool>,
    #[command(flatten)]
    more: More,
}

impl Update {
    /// The change to a profile as it is at present.
    pub(super) fn body(&self, present: Record<'_>) -> Result<Value, Failure> {
        let moved =
            |location: Option<&Location>, tls: Option<Tls>, which: &str, usual: i64| match (location, tls) {
                (Some(location), tls) => Some(location.body(tls, usual)),
                (None, Some(tls)) => present.at(which).map(|location| with_tls(location, tls)),
                (None, None) => None,
            };
        let changes = self.exchange.is_some() || self.access.is_some() || self.autodiscover_url.is_some();
        let exchange = changes.then(|| {
            let present_url = || present.filled("exchange.url").unwrap_or_else(|| AUTO.to_owned());
            let url = self.exchange.clone().unwrap_or_else(present_url);
            // Another address of the service begins anew.
            let present_start = || match self.exchange {
                None => present.filled("exchange.autodiscover_url"),
                Some(_) => None,
            };
            let start = self.autodiscover_url.clone().or_else(present_start);
            let changes_place = self.credentials_on.is_some();
            let access = self
                .access
                .or_else(|| present.text("exchange.access").parse().ok().filter(|_| !changes_place));
            at_exchange(&url, access, start.as_deref())
        });
        let [description, authority, connections, in_flight, polling, timeout, after, mail, folder, id] =
            self.more.fields()?;
        let authority = if self.forget_ca { (authority.0, Some(Value::Null)) } else { authority };
        given([
            ("name", self.name.clone().map(Value::from)),
            ("incoming", moved(self.incoming.as_ref(), self.incoming_tls, "incoming", POP3S)),
            ("outgoing", moved(self.outgoing.as_ref(), self.outgoing_tls, "outgoing", SUBMISSIONS)),
            ("exchange", exchange),
            ("credentials_on", self.credentials_on.map(|place| json!(place))),
            ("paused", self.paused.map(Value::from)),
            description,
            authority,
            connections,
            in_flight,
            polling,
            timeout,
            after,
            mail,
            folder,
            id,
        ])
    }
}

/// What stands for the address of a web service that is found.
const AUTO: &str = "auto";

fn at_exchange(url: &str, access: Option<ExchangeAccess>, start: Option<&str>) -> Value {
    let mut exchange = json!({"url": Some(url).filter(|url| *url != AUTO)});
    if let Some(start) = start {
        exchange["autodiscover_url"] = json!(start);
    }
    if let Some(access) = access {
        exchange["access"] = json!(access);
    }
    exchange
}

fn pem(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| {
        refused(
            &format!("{} cannot be read: {error}", file.display()),
            "give a PEM file with the authority's certificate",
        )
    })
}
