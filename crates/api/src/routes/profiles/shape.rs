//! Profiles as they travel.

use std::time::Duration;

use jiff::Timestamp;
use model::credential::CredentialKind;
use model::endpoint::{Endpoint, Protocol, Tls};
use model::profile::{CredentialsOn, Limits, ProfileKind};
use serde::{Deserialize, Serialize};
use store::profile::{self, ProfileFields};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::body::Given;
use crate::problem::Problem;
use crate::routes::presets;
use crate::schema;

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
    /// What kind of server; `pop3_smtp` when left out.
    #[schema(value_type = Option<schema::ProfileKind>)]
    kind: Option<ProfileKind>,
    /// Where mail is read (POP3); needed without a preset.
    incoming: Option<Location>,
    /// Where mail is submitted (SMTP); needed without a preset.
    outgoing: Option<Location>,
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
    /// The host application's id.
    external_id: Option<String>,
}

impl NewProfile {
    pub(super) fn fields(self) -> Result<ProfileFields, Problem> {
        let preset = presets::named(self.preset.as_ref())?;
        let known = |(host, port, tls): (&str, u16, Tls)| Location::of(host, port, tls);
        let lacks = |field: &str| {
            Problem::invalid(
                field,
                format!("`{field}` is missing"),
                "add it, or name a `preset` (GET /api/v1/presets)",
            )
        };
        let incoming = self.incoming.or(preset.map(|preset| known(preset.incoming)));
        let outgoing = self.outgoing.or(preset.map(|preset| known(preset.outgoing)));
        let incoming = incoming.ok_or_else(|| lacks("incoming"))?;
        let outgoing = outgoing.ok_or_else(|| lacks("outgoing"))?;
        Ok(ProfileFields {
            name: self.name,
            description: self.description,
            kind: self.kind.unwrap_or(ProfileKind::Pop3Smtp),
            incoming: incoming.endpoint("incoming", Protocol::Pop3)?,
            outgoing: outgoing.endpoint("outgoing", Protocol::Smtp)?,
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
            external_id: self.external_id,
        })
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
        if let Some(location) = self.incoming {
            fields.incoming = location.endpoint("incoming", Protocol::Pop3)?;
        }
        if let Some(location) = self.outgoing {
            fields.outgoing = location.endpoint("outgoing", Protocol::Smtp)?;
        }
        set(&mut fields.name, self.name);
        set(&mut fields.description, self.description);
        fields.ca_certificate = self.ca_certificate.or(fields.ca_certificate);
        set(&mut fields.limits.credentials_on, self.credentials_on);
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
    /// Where mail is read (POP3).
    incoming: Location,
    /// Where mail is submitted (SMTP).
    outgoing: Location,
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
            paused_reason: profile.paused_reason,
            mailboxes: profile.mailboxes,
            external_id: fields.external_id,
            version: profile.version,
            created_at: profile.created_at,
            modified_at: profile.modified_at,
        }
    }
}
