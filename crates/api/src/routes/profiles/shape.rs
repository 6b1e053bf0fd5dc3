//! Profiles as they travel.

use std::time::Duration;

use jiff::Timestamp;
use mail::oauth::Address;
use model::credential::CredentialKind;
use model::endpoint::{Endpoint, Protocol, Tls};
use model::profile::{self as kinds, CredentialsOn, ExchangeAccess, Limits, ProfileKind};
use serde::{Deserialize, Serialize};
use store::profile::{self, ProfileFields};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::body::Given;
use crate::problem::Problem;
use crate::routes::presets;
use crate::schema;

/// Where Exchange has its web service, unless an address says otherwise.
const EWS_PATH: &str = "/EWS/Exchange.asmx";

/// How a connection becomes private; there is no third way.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::routes) enum TlsMode {
    /// TLS from the first byte: 995 for POP3, 465 for submission.
    Implicit,
    /// Plain text upgraded before anything secret is said: 110 and 587.
    StartTls,
}

impl From<TlsMode> for Tls {
    fn from(mode: TlsMode) -> Self {
        match mode {
            TlsMode::Implicit => Self::Implicit,
            TlsMode::StartTls => Self::StartTls,
        }
    }
}

impl From<Tls> for TlsMode {
    fn from(tls: Tls) -> Self {
        match tls {
            Tls::Implicit => Self::Implicit,
            Tls::StartTls => Self::StartTls,
        }
    }
}

/// Where a server listens.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct Location {
    /// A host name or an address, as it stands in the server's certificate.
    #[schema(example = "mail.example.com")]
    host: String,
    /// The TCP port, 1 to 65535.
    #[schema(minimum = 1, maximum = 65535)]
    port: i64,
    /// How the connection becomes private.
    tls: TlsMode,
}

impl Location {
    /// Where a preset's server is.
    pub(in crate::routes) fn of(host: &str, port: u16, tls: Tls) -> Self {
        Self { host: host.to_owned(), port: port.into(), tls: tls.into() }
    }

    fn endpoint(self, field: &str, protocol: Protocol) -> Result<Endpoint, Problem> {
        let port = u16::try_from(self.port).ok().filter(|port| *port > 0).ok_or_else(|| {
            let usual = if protocol == Protocol::Pop3 { "995 or 110" } else { "465 or 587" };
            Problem::invalid(
                &format!("{field}.port"),
                format!("`{field}.port` cannot be {}", self.port),
                format!("give the server's TCP port, 1 to 65535; usual ones are {usual}"),
            )
        })?;
        Ok(Endpoint { protocol, host: self.host, port, tls: self.tls.into() })
    }
}

impl From<Endpoint> for Location {
    fn from(endpoint: Endpoint) -> Self {
        Self { host: endpoint.host, port: endpoint.port.into(), tls: endpoint.tls.into() }
    }
}

/// An Exchange server: one address for mail in, mail out and all else.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Exchange {
    /// The address of its web service; null or left out: autodiscover finds each mailbox's from its address, when it is tested.
    #[schema(example = "https://mail.example.com/EWS/Exchange.asmx")]
    url: Option<String>,
    /// In whose name it is asked. When left out: `own` with credentials on the mailbox, else `impersonation`.
    #[schema(value_type = Option<schema::ExchangeAccess>)]
    access: Option<ExchangeAccess>,
    /// The autodiscover service that is asked instead of the servers of a mailbox's domain; its host may hear the credentials.
    #[schema(example = "https://autodiscover.example.com/autodiscover/autodiscover.svc")]
    autodiscover_url: Option<String>,
    /// Hosts that may hear the credentials beside those under a mailbox's domain, by an administrator's consent: autodiscover goes
    /// nowhere else. One that begins with a dot stands for every host under it. When left out they stay as they are. One that is taken
    /// away stops the mailboxes until they are tested and enabled again.
    hosts: Option<Vec<String>>,
}

impl Exchange {
    /// Where it listens, and how it is asked there.
    fn place(self, credentials_on: CredentialsOn) -> Result<(Endpoint, kinds::Exchange), Problem> {
        let usual = match credentials_on {
            CredentialsOn::Mailbox => ExchangeAccess::Own,
            CredentialsOn::Profile => ExchangeAccess::Impersonation,
        };
        let access = self.access.unwrap_or(usual);
        if let Some(Err(error)) = self.autodiscover_url.as_deref().map(Address::parse) {
            return Err(Problem::invalid(
                "exchange.autodiscover_url",
                format!("`exchange.autodiscover_url` cannot be used: {error}"),
                "give the address of the service, such as https://autodiscover.example.com/autodiscover/autodiscover.svc",
            ));
        }
        let hosts = self.hosts.unwrap_or_default();
        let hosts = hosts.iter().map(|host| host.trim().to_lowercase()).collect();
        let sought = kinds::Exchange { path: None, access, start: self.autodiscover_url, hosts };
        let Some(url) = self.url else { return Ok((kinds::Exchange::unfound(), sought)) };
        let address = Address::parse(&url).map_err(|error| {
            Problem::invalid(
                "exchange.url",
                format!("`exchange.url` cannot be used: {error}"),
                "give the address of the web service, such as https://mail.example.com/EWS/Exchange.asmx",
            )
        })?;
        let path = if address.path() == "/" { EWS_PATH } else { address.path() };
        let exchange = kinds::Exchange { path: Some(path.to_owned()), ..sought };
        let (host, port) = (address.host(), address.port());
        Ok((Endpoint { protocol: Protocol::Ews, host, port, tls: Tls::Implicit }, exchange))
    }

    fn of(endpoint: &Endpoint, exchange: &kinds::Exchange) -> Self {
        let port = if endpoint.port == 443 { String::new() } else { format!(":{}", endpoint.port) };
        let url = exchange.path.as_ref().map(|path| format!("https://{}{port}{path}", endpoint.host));
        Self {
            url,
            access: Some(exchange.access),
            autodiscover_url: exchange.start.clone(),
            hosts: Some(exchange.hosts.clone()),
        }
    }
}

/// A profile to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewProfile {
    /// Unique in the organization, 1 to 100 characters.
    name: String,
    /// Up to 2,000 characters.
    #[serde(default)]
    #[schema(required = false)]
    description: String,
    /// A provider whose servers are taken where none are given (GET /api/v1/presets).
    preset: Option<String>,
    /// What kind of server; when left out `exchange_ews` with `exchange`, else `pop3_smtp`.
    #[schema(value_type = Option<schema::ProfileKind>)]
    kind: Option<ProfileKind>,
    /// Where mail is read (POP3); needed without a preset, and not given for Exchange.
    incoming: Option<Location>,
    /// Where mail is submitted (SMTP); needed without a preset, and not given for Exchange.
    outgoing: Option<Location>,
    /// Where an Exchange server is, instead of `incoming` and `outgoing`; left out with the kind `exchange_ews`, autodiscover finds it.
    exchange: Option<Exchange>,
    /// PEM of the server's own certificate authority, trusted beside the system's.
    ca_certificate: Option<String>,
    /// Where credentials live: one on the profile for all mailboxes, or one on each mailbox.
    #[schema(value_type = schema::CredentialsOn)]
    credentials_on: CredentialsOn,
    /// Connections at once, 1 to 65,536; 10 when left out. Counted per endpoint of the profile when the credentials live there.
    /// On the mailboxes it bounds each of them, which with POP3 and SMTP never has more than one: there `max_in_flight` counts.
    #[schema(minimum = 1, maximum = 65536)]
    max_connections: Option<u32>,
    /// Connections at once per endpoint over all mailboxes with their own credentials, 1 to 65,536; 100 when left out.
    #[schema(minimum = 1, maximum = 65536)]
    max_in_flight: Option<u32>,
    /// Nothing received before this is processed.
    process_email_received_after: Option<Timestamp>,
    /// The shortest gap between two cycles in minutes, 0 to 1440; 0 when left out.
    #[schema(minimum = 0, maximum = 1440)]
    min_polling_minutes: Option<u32>,
    /// How long opening a connection may take in milliseconds, 1 to 100,000; 30,000 when left out.
    #[schema(minimum = 1, maximum = 100_000)]
    connect_timeout_ms: Option<u32>,
    /// Whether alerts are mailed.
    #[serde(default)]
    #[schema(required = false)]
    alert_mail: bool,
    /// The folder at the top of each Exchange mailbox that what could not be recorded in five tries is moved to, made where it is
    /// missing, 1 to 256 characters; it stays where it is when this is left out.
    undeliverable_folder: Option<String>,
    /// The host application's id.
    external_id: Option<String>,
}

impl NewProfile {
    pub(super) fn fields(self) -> Result<ProfileFields, Problem> {
        if let Some(exchange) = self.exchange.clone() {
            return self.of_exchange(exchange);
        }
        if self.kind == Some(ProfileKind::ExchangeEws) {
            return self.of_exchange(Exchange::default());
        }
        let preset = presets::named(self.preset.as_ref())?;
        let known = |(host, port, tls): (&str, u16, Tls)| Location::of(host, port, tls);
        let lacks = |field: &str| {
            Problem::invalid(
                field,
                format!("`{field}` is missing"),
                "add it, or name a `preset` (GET /api/v1/presets)",
            )
        };
        let incoming = self.incoming.clone().or(preset.map(|preset| known(preset.incoming)));
        let outgoing = self.outgoing.clone().or(preset.map(|preset| known(preset.outgoing)));
        let incoming = incoming.ok_or_else(|| lacks("incoming"))?;
        let outgoing = outgoing.ok_or_else(|| lacks("outgoing"))?;
        let incoming = incoming.endpoint("incoming", Protocol::Pop3)?;
        let outgoing = outgoing.endpoint("outgoing", Protocol::Smtp)?;
        Ok(self.at(ProfileKind::Pop3Smtp, incoming, outgoing, None))
    }

    fn of_exchange(self, exchange: Exchange) -> Result<ProfileFields, Problem> {
        let other = [
            ("incoming", self.incoming.is_some()),
            ("outgoing", self.outgoing.is_some()),
            ("preset", self.preset.is_some()),
            ("kind", self.kind.is_some_and(|kind| kind != ProfileKind::ExchangeEws)),
        ];
        if let Some((field, _)) = other.into_iter().find(|(_, given)| *given) {
            return Err(Problem::invalid(
                field,
                format!("`{field}` does not fit a profile with `exchange`"),
                "leave it out: the one address of an Exchange server serves mail in and mail out",
            ));
        }
        let (endpoint, exchange) = exchange.place(self.credentials_on)?;
        Ok(self.at(ProfileKind::ExchangeEws, endpoint.clone(), endpoint, Some(exchange)))
    }

    fn at(
        self,
        kind: ProfileKind,
        incoming: Endpoint,
        outgoing: Endpoint,
        exchange: Option<kinds::Exchange>,
    ) -> ProfileFields {
        ProfileFields {
            name: self.name,
            description: self.description,
            kind,
            incoming,
            outgoing,
            exchange,
            ca_certificate: self.ca_certificate,
            limits: Limits {
                credentials_on: self.credentials_on,
                max_connections: self.max_connections.unwrap_or(10),
                max_in_flight: self.max_in_flight.unwrap_or(100),
            },
            process_email_received_after: self.process_email_received_after,
            min_polling_minutes: self.min_polling_minutes.unwrap_or(0),
            connect_timeout: Duration::from_millis(self.connect_timeout_ms.unwrap_or(30_000).into()),
            alert_mail: self.alert_mail,
            undeliverable_folder: self.undeliverable_folder,
            external_id: self.external_id,
        }
    }
}

/// What to change of a profile; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileChange {
    /// Unique in the organization, 1 to 100 characters.
    name: Option<String>,
    /// Up to 2,000 characters.
    description: Option<String>,
    /// Where mail is read (POP3), as a whole.
    incoming: Option<Location>,
    /// Where mail is submitted (SMTP), as a whole.
    outgoing: Option<Location>,
    /// Where an Exchange server is, as a whole.
    exchange: Option<Exchange>,
    /// PEM of the server's own certificate authority; null forgets it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    ca_certificate: Given<String>,
    /// Where credentials live. From the profile to the mailboxes the profile's password is forgotten.
    #[schema(value_type = Option<schema::CredentialsOn>)]
    credentials_on: Option<CredentialsOn>,
    /// Connections at once, 1 to 65,536.
    #[schema(minimum = 1, maximum = 65536)]
    max_connections: Option<u32>,
    /// Connections at once per endpoint over all mailboxes with their own credentials, 1 to 65,536.
    #[schema(minimum = 1, maximum = 65536)]
    max_in_flight: Option<u32>,
    /// Nothing received before this is processed; null: everything.
    #[serde(default)]
    #[schema(value_type = Option<Timestamp>)]
    process_email_received_after: Given<Timestamp>,
    /// The shortest gap between two cycles in minutes, 0 to 1440.
    #[schema(minimum = 0, maximum = 1440)]
    min_polling_minutes: Option<u32>,
    /// How long opening a connection may take in milliseconds, 1 to 100,000.
    #[schema(minimum = 1, maximum = 100_000)]
    connect_timeout_ms: Option<u32>,
    /// Whether alerts are mailed.
    alert_mail: Option<bool>,
    /// The folder that what could not be recorded is moved to; null: it stays where it is.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    undeliverable_folder: Given<String>,
    /// The host application's id; null forgets it.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    external_id: Given<String>,
    /// True stops all mailboxes of the profile without switching any off, false lets them go on.
    pub(super) paused: Option<bool>,
}

impl ProfileChange {
    /// The fields as they are to be.
    pub(super) fn applied(self, mut fields: ProfileFields) -> Result<ProfileFields, Problem> {
        fn set<T>(field: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *field = value;
            }
        }
        let was = fields.limits.credentials_on;
        set(&mut fields.limits.credentials_on, self.credentials_on);
        let is_exchange = fields.exchange.is_some();
        let wrong = [
            ("incoming", is_exchange && self.incoming.is_some()),
            ("outgoing", is_exchange && self.outgoing.is_some()),
            ("exchange", !is_exchange && self.exchange.is_some()),
        ];
        if let Some((field, _)) = wrong.into_iter().find(|(_, wrong)| *wrong) {
            return Err(Problem::invalid(
                field,
                format!("`{field}` does not fit a profile of the kind `{}`", fields.kind),
                "make a profile of the other kind; a profile keeps its kind",
            ));
        }
        if let Some(present) = fields.exchange.take() {
            let moved = fields.limits.credentials_on != was;
            let mut given = self.exchange.unwrap_or_else(|| Exchange {
                access: Some(present.access).filter(|_| !moved),
                ..Exchange::of(&fields.incoming, &present)
            });
            if given.url.is_none() {
                given.hosts.get_or_insert(present.hosts);
            }
            let (endpoint, exchange) = given.place(fields.limits.credentials_on)?;
            (fields.incoming, fields.outgoing) = (endpoint.clone(), endpoint);
            fields.exchange = Some(exchange);
        }
        if let Some(location) = self.incoming {
            fields.incoming = location.endpoint("incoming", Protocol::Pop3)?;
        }
        if let Some(location) = self.outgoing {
            fields.outgoing = location.endpoint("outgoing", Protocol::Smtp)?;
        }
        set(&mut fields.name, self.name);
        set(&mut fields.description, self.description);
        fields.ca_certificate = self.ca_certificate.or(fields.ca_certificate);
        set(&mut fields.limits.max_connections, self.max_connections);
        set(&mut fields.limits.max_in_flight, self.max_in_flight);
        fields.process_email_received_after =
            self.process_email_received_after.or(fields.process_email_received_after);
        set(&mut fields.min_polling_minutes, self.min_polling_minutes);
        set(
            &mut fields.connect_timeout,
            self.connect_timeout_ms.map(|millis| Duration::from_millis(millis.into())),
        );
        set(&mut fields.alert_mail, self.alert_mail);
        fields.undeliverable_folder = self.undeliverable_folder.or(fields.undeliverable_folder);
        fields.external_id = self.external_id.or(fields.external_id);
        Ok(fields)
    }
}

/// One mail server and how it is reached.
#[derive(Serialize, ToSchema)]
pub(super) struct Profile {
    /// Which.
    id: Uuid,
    /// Unique in the organization.
    name: String,
    /// For people.
    description: String,
    /// What kind of server.
    #[schema(value_type = schema::ProfileKind)]
    kind: ProfileKind,
    /// Where mail is read: by POP3, or at the Exchange server; the host `autodiscover` where each mailbox's is found.
    incoming: Location,
    /// Where mail is submitted: by SMTP, or at the Exchange server.
    outgoing: Location,
    /// Of an Exchange server; null for others.
    exchange: Option<Exchange>,
    /// PEM of the server's own certificate authority.
    ca_certificate: Option<String>,
    /// Where credentials live.
    #[schema(value_type = schema::CredentialsOn)]
    credentials_on: CredentialsOn,
    /// The stored credential's user name and age; null when none is stored here. The password is never shown.
    credential: Option<CredentialState>,
    /// Connections at once, per endpoint or per mailbox.
    max_connections: u32,
    /// Connections at once per endpoint over all mailboxes with their own credentials.
    max_in_flight: u32,
    /// Nothing received before this is processed.
    process_email_received_after: Option<Timestamp>,
    /// The shortest gap between two cycles, in minutes.
    min_polling_minutes: u32,
    /// How long opening a connection may take, in milliseconds.
    connect_timeout_ms: u64,
    /// Whether alerts are mailed.
    alert_mail: bool,
    /// The folder that what could not be recorded is moved to; null: it stays where it is.
    undeliverable_folder: Option<String>,
    /// Why no mailbox of it is processed: an alert kind or a person's words; null when they are.
    paused_reason: Option<String>,
    /// How many mailboxes use it.
    mailboxes: i64,
    /// The host application's id.
    external_id: Option<String>,
    /// Raised by each change; the `ETag`.
    version: i64,
    /// Since when.
    created_at: Timestamp,
    /// Last changed.
    modified_at: Timestamp,
}

/// What may be shown of a credential.
#[derive(Serialize, ToSchema)]
struct CredentialState {
    /// What it is.
    #[schema(value_type = schema::CredentialKind)]
    kind: CredentialKind,
    /// The login name; of an application's own tokens the application's.
    username: String,
    /// When it was stored.
    modified_at: Timestamp,
}

impl From<profile::Profile> for Profile {
    fn from(profile: profile::Profile) -> Self {
        let fields = profile.fields;
        let credential = profile.credential.map(|credential| CredentialState {
            kind: credential.kind,
            username: credential.username,
            modified_at: credential.modified_at,
        });
        Self {
            id: profile.id.0,
            name: fields.name,
            description: fields.description,
            kind: fields.kind,
            exchange: fields.exchange.as_ref().map(|exchange| Exchange::of(&fields.incoming, exchange)),
            incoming: fields.incoming.into(),
            outgoing: fields.outgoing.into(),
            ca_certificate: fields.ca_certificate,
            credentials_on: fields.limits.credentials_on,
            credential,
            max_connections: fields.limits.max_connections,
            max_in_flight: fields.limits.max_in_flight,
            process_email_received_after: fields.process_email_received_after,
            min_polling_minutes: fields.min_polling_minutes,
            connect_timeout_ms: u64::try_from(fields.connect_timeout.as_millis()).unwrap_or(u64::MAX),
            alert_mail: fields.alert_mail,
            undeliverable_folder: fields.undeliverable_folder,
            paused_reason: profile.paused_reason,
            mailboxes: profile.mailboxes,
            external_id: fields.external_id,
            version: profile.version,
            created_at: profile.created_at,
            modified_at: profile.modified_at,
        }
    }
}
