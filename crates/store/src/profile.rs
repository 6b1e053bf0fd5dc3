//! Email server profiles: where a mail server is, how it is reached, and how much of it may be used at once. What a
//! mailbox was tested against is what it is processed with: a profile that leads elsewhere must be tested again.

mod check;
mod consequence;
mod delete;
pub mod rate;

use std::time::Duration;

use jiff::Timestamp;
use model::endpoint::{Endpoint, Protocol};
use model::id::ProfileId;
use model::profile::{CredentialsOn, Exchange, Limits, ProfileKind};
use tokio_postgres::Row;

use crate::alert::Subject;
use crate::called::{Called, check_free};
use crate::change::{Author, Change, Fields};
use crate::credential::Credential;
use crate::oauth::expiry;
use crate::refusal::{Refusal, check_version};
use crate::row::{self, named};
use crate::{Error, Result, Tenant, change};

pub(crate) use consequence::go_on;
pub use consequence::{pause, resume, set_password};
pub use delete::{delete, deletion};

/// Everything about a profile that an administrator decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileFields {
    /// Unique in the organization, 1 to 100 characters.
    pub name: String,
    /// Up to 2,000 characters.
    pub description: String,
    /// What kind of server.
    pub kind: ProfileKind,
    /// Where mail is read.
    pub incoming: Endpoint,
    /// Where mail is submitted; with Exchange the same.
    pub outgoing: Endpoint,
    /// How Exchange is asked, where it is Exchange.
    pub exchange: Option<Exchange>,
    /// PEM of the server's own certificate authority.
    pub ca_certificate: Option<String>,
    /// How much may be used at once, and where credentials live.
    pub limits: Limits,
    /// Nothing received before this is processed.
    pub process_email_received_after: Option<Timestamp>,
    /// The shortest gap between two cycles, 0 to 1440 minutes.
    pub min_polling_minutes: u32,
    /// How long opening a connection may take, up to 100 s.
    pub connect_timeout: Duration,
    /// Whether alerts are mailed.
    pub alert_mail: bool,
    /// The folder at the top of each mailbox that what could not be recorded is moved to; none: it stays where it is. Exchange only.
    pub undeliverable_folder: Option<String>,
    /// The host application's id.
    pub external_id: Option<String>,
}

/// One mail server.
#[derive(Clone)]
pub struct Profile {
    /// Which.
    pub id: ProfileId,
    /// What an administrator decides.
    pub fields: ProfileFields,
    /// The credential, when it lives here and was stored.
    pub credential: Option<Credential>,
    /// Why no mailbox of it is processed.
    pub paused_reason: Option<String>,
    /// How many mailboxes use it.
    pub mailboxes: i64,
    /// Raised by each change.
    pub version: i64,
    /// Since when.
    pub created_at: Timestamp,
    /// Last changed.
    pub modified_at: Timestamp,
}

/// The columns of `profiles` that [`fields`] reads, with `p` for the table.
pub(crate) const FIELDS: &str = "p.name as profile_name, p.description, p.kind, p.incoming_host, p.incoming_port,
    p.incoming_tls, p.outgoing_host, p.outgoing_port, p.outgoing_tls, p.exchange_path, p.exchange_access,
    p.exchange_start, p.exchange_hosts, p.ca_certificate, p.credentials_on,
    p.max_connections, p.max_in_flight, p.process_email_received_after as profile_floor, p.min_polling_minutes,
    p.connect_timeout_ms, p.alert_mail, p.undeliverable_folder, p.external_id as profile_external_id";

const SELECT: &str = "p.id, p.paused_reason, p.version, p.created_at, p.modified_at,
    c.id as credential_id, c.kind as credential_kind, c.username, c.modified_at as credential_modified_at,
    (select count(*) from mailboxes m where m.organization_id = p.organization_id and m.profile_id = p.id) as mailboxes
    from profiles p left join credentials c on c.organization_id = p.organization_id and c.profile_id = p.id";

/// Reads what [`FIELDS`] selected.
pub(crate) fn fields(row: &Row) -> Result<ProfileFields> {
    let number =
        |column: &str| -> Result<u32> { Ok(u32::try_from(row.try_get::<_, i32>(column)?).unwrap_or(0)) };
    let endpoint = |protocol, host: &str, port: &str, tls: &str| -> Result<Endpoint> {
        let port = u16::try_from(number(port)?).map_err(|error| Error::Broken(error.to_string()))?;
        Ok(Endpoint { protocol, host: row.try_get(host)?, port, tls: row::by_serde(row, tls)? })
    };
    let kind = named(row, "kind")?;
    let (incoming, outgoing) = match kind {
        ProfileKind::Pop3Smtp => (Protocol::Pop3, Protocol::Smtp),
        ProfileKind::ExchangeEws => (Protocol::Ews, Protocol::Ews),
    };
    let exchange = match kind {
        ProfileKind::Pop3Smtp => None,
        ProfileKind::ExchangeEws => Some(Exchange {
            path: row.try_get("exchange_path")?,
            access: named(row, "exchange_access")?,
            start: row.try_get("exchange_start")?,
            hosts: row.try_get("exchange_hosts")?,
        }),
    };
    Ok(ProfileFields {
        name: row.try_get("profile_name")?,
        description: row.try_get("description")?,
        kind,
        incoming: endpoint(incoming, "incoming_host", "incoming_port", "incoming_tls")?,
        outgoing: endpoint(outgoing, "outgoing_host", "outgoing_port", "outgoing_tls")?,
        exchange,
        ca_certificate: row.try_get("ca_certificate")?,
        limits: Limits {
            credentials_on: named(row, "credentials_on")?,
            max_connections: number("max_connections")?,
            max_in_flight: number("max_in_flight")?,
        },
        process_email_received_after: row.try_get("profile_floor")?,
        min_polling_minutes: number("min_polling_minutes")?,
        connect_timeout: Duration::from_millis(number("connect_timeout_ms")?.into()),
        alert_mail: row.try_get("alert_mail")?,
        undeliverable_folder: row.try_get("undeliverable_folder")?,
        external_id: row.try_get("profile_external_id")?,
    })
}

fn read(row: &Row) -> Result<Profile> {
    let credential: Option<uuid::Uuid> = row.try_get("credential_id")?;
    let credential = match credential {
        Some(id) => Some(Credential {
            id: id.into(),
            kind: named(row, "credential_kind")?,
            username: row.try_get("username")?,
            modified_at: row.try_get("credential_modified_at")?,
        }),
        None => None,
    };
    Ok(Profile {
        id: ProfileId(row.try_get("id")?),
        fields: fields(row)?,
        credential,
        paused_reason: row.try_get("paused_reason")?,
        mailboxes: row.try_get("mailboxes")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        modified_at: row.try_get("modified_at")?,
    })
}

/// Makes a profile. Whether its addresses may be reached at all is the mail crate's to say, not asked here.
pub async fn create(tenant: &Tenant, new: &ProfileFields, by: &Author) -> Result<Profile> {
    check::fields(new)?;
    check_free(tenant, "profile", "profiles", new.external_id.as_ref(), None).await?;
    let id: ProfileId = model::clock::new_id();
    tenant
        .execute(
            "insert into profiles (organization_id, id, name, description, kind, incoming_host, incoming_port,
                 incoming_tls, outgoing_host, outgoing_port, outgoing_tls, ca_certificate, credentials_on,
                 max_connections, max_in_flight, process_email_received_after, min_polling_minutes,
                 connect_timeout_ms, alert_mail, external_id, exchange_path, exchange_access,
                 exchange_start, exchange_hosts)
             values (current_organization(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
                     $17, $18, $19, $20, $21, $22, $23)",
            &columns!(id, new),
        )
        .await
        .map_err(refused)?;
    put_undeliverable_folder(tenant, id, new).await?;
    authority_changed(tenant, id, new).await?;
    let fields = difference(None, new);
    change::write(tenant, Change { record_type: "profile", id: id.0, version: 1, by, fields }).await?;
    get(tenant, id).await?.ok_or_else(|| unknown("id").into())
}

/// One profile.
pub async fn get(tenant: &Tenant, id: ProfileId) -> Result<Option<Profile>> {
    let row = tenant.query_opt(&format!("select {FIELDS}, {SELECT} where p.id = $1"), &[&id.0]).await?;
    row.as_ref().map(read).transpose()
}

/// Profiles in the order they were made, after the last of the page before.
pub async fn list(
    tenant: &Tenant,
    called: &Called,
    after: Option<ProfileId>,
    limit: i64,
) -> Result<Vec<Profile>> {
    let rows = tenant
        .query(
            &format!(
                "select {FIELDS}, {SELECT}
                 where ($1::uuid is null or p.id > $1) and ($3::text is null or lower(p.name) = lower($3))
                   and ($4::text is null or p.external_id = $4)
                 order by p.id limit $2"
            ),
            &[&after.map(|id| id.0), &limit, &called.name, &called.external_id],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Changes a profile; `expected` is the version that the caller read. When it leads to another server or signs in
/// otherwise, its mailboxes stop and wait to be tested and enabled again.
pub async fn update(
    tenant: &Tenant,
    id: ProfileId,
    expected: Option<i64>,
    new: &ProfileFields,
    by: &Author,
) -> Result<Profile> {
    check::fields(new)?;
    let present = tenant
        .query_opt("select version from profiles where id = $1 for no key update", &[&id.0])
        .await?
        .ok_or(unknown("id"))?;
    check_version("profile", expected, present.try_get("version")?)?;
    let old = get(tenant, id).await?.ok_or(unknown("id"))?;
    let fields = difference(Some(&old.fields), new);
    if fields.is_empty() {
        return Ok(old);
    }
    check_free(tenant, "profile", "profiles", new.external_id.as_ref(), Some(id.0)).await?;
    tenant
        .execute(
            "update profiles set name = $2, description = $3, kind = $4, incoming_host = $5, incoming_port = $6,
                 incoming_tls = $7, outgoing_host = $8, outgoing_port = $9, outgoing_tls = $10, ca_certificate = $11,
                 credentials_on = $12, max_connections = $13, max_in_flight = $14,
                 process_email_received_after = $15, min_polling_minutes = $16, connect_timeout_ms = $17,
                 alert_mail = $18, external_id = $19, exchange_path = $20, exchange_access = $21,
                 exchange_start = $22, exchange_hosts = $23, version = version + 1, modified_at = now()
             where id = $1",
            &columns!(id, new),
        )
        .await
        .map_err(refused)?;
    put_undeliverable_folder(tenant, id, new).await?;
    if old.fields.ca_certificate != new.ca_certificate {
        authority_changed(tenant, id, new).await?;
    }
    if old.fields.incoming != new.incoming || old.fields.outgoing != new.outgoing {
        forget_other_endpoints(tenant, id, new).await?;
    }
    if leads_elsewhere(&old.fields, new) {
        consequence::test_again(tenant, id, new).await?;
    }
    if old.fields.limits.credentials_on == CredentialsOn::Profile
        && new.limits.credentials_on == CredentialsOn::Mailbox
    {
        tenant.execute("delete from credentials where profile_id = $1", &[&id.0]).await?;
    }
    let version = old.version + 1;
    change::write(tenant, Change { record_type: "profile", id: id.0, version, by, fields }).await?;
    get(tenant, id).await?.ok_or_else(|| unknown("id").into())
}

async fn put_undeliverable_folder(tenant: &Tenant, id: ProfileId, new: &ProfileFields) -> Result<()> {
    let statement = "update profiles set undeliverable_folder = $2 where id = $1 and undeliverable_folder is distinct from $2";
    tenant.execute(statement, &[&id.0, &new.undeliverable_folder]).await?;
    Ok(())
}

/// Keeps when the profile's own authority ends, to be warned of ahead.
async fn authority_changed(tenant: &Tenant, id: ProfileId, new: &ProfileFields) -> Result<()> {
    tenant
        .execute(
            "update profiles set ca_expires_at = $2, ca_warned_days = null where id = $1",
            &[&id.0, &check::authority_ends(new)],
        )
        .await?;
    expiry::renewed(tenant, expiry::Kind::Authority, Subject::Profile(id)).await
}

fn leads_elsewhere(old: &ProfileFields, new: &ProfileFields) -> bool {
    old.kind != new.kind
        || old.incoming != new.incoming
        || old.outgoing != new.outgoing
        || asks_elsewhere(old.exchange.as_ref(), new.exchange.as_ref())
        || old.ca_certificate != new.ca_certificate
        || old.limits.credentials_on != new.limits.credentials_on
}

/// Another host that may hear the credentials leads nowhere by itself; one that no longer may is left.
fn asks_elsewhere(old: Option<&Exchange>, new: Option<&Exchange>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return old.is_some() != new.is_some() };
    let lost = old.hosts.iter().any(|host| !new.hosts.contains(host));
    lost || (&old.path, old.access, &old.start) != (&new.path, new.access, &new.start)
}

/// What is known of the servers that the profile led to before says nothing about those it leads to now.
async fn forget_other_endpoints(tenant: &Tenant, id: ProfileId, new: &ProfileFields) -> Result<()> {
    let keys = [new.incoming.key(), new.outgoing.key()];
    tenant
        .execute(
            "delete from endpoints where profile_id = $1 and endpoint <> all($2)",
            &[&id.0, &keys.as_slice()],
        )
        .await?;
    Ok(())
}

fn difference(old: Option<&ProfileFields>, new: &ProfileFields) -> Fields {
    macro_rules! compare {
        ($($name:literal = $($field:ident).+;)*) => {
            match old {
                Some(old) => Fields::new()$(.changed($name, &old.$($field).+, &new.$($field).+))*,
                None => Fields::new()$(.set($name, &new.$($field).+))*,
            }
        };
    }
    compare! {
        "name" = name;
        "description" = description;
        "kind" = kind;
        "incoming" = incoming;
        "outgoing" = outgoing;
        "exchange" = exchange;
        "ca_certificate" = ca_certificate;
        "credentials_on" = limits.credentials_on;
        "max_connections" = limits.max_connections;
        "max_in_flight" = limits.max_in_flight;
        "process_email_received_after" = process_email_received_after;
        "min_polling_minutes" = min_polling_minutes;
        "connect_timeout" = connect_timeout;
        "alert_mail" = alert_mail;
        "undeliverable_folder" = undeliverable_folder;
        "external_id" = external_id;
    }
}

fn unknown(field: &'static str) -> Refusal {
    Refusal::Unknown { what: "profile", field }
}

fn refused(error: Error) -> Error {
    match error.constraint() {
        Some("profiles_organization_id_name_key") => Refusal::Taken { what: "profile", field: "name" }.into(),
        Some("profiles_organization_id_external_id_key") => {
            Refusal::Taken { what: "profile", field: "external_id" }.into()
        }
        _ => error,
    }
}

/// The values of the columns in the order that `create` and `update` write them, `$1` the id.
macro_rules! columns {
    ($id:ident, $new:ident) => {
        [
            &$id.0 as &(dyn tokio_postgres::types::ToSql + Sync),
            &$new.name,
            &$new.description,
            &$new.kind.as_str(),
            &$new.incoming.host,
            &i32::from($new.incoming.port),
            &row::serde_name($new.incoming.tls),
            &$new.outgoing.host,
            &i32::from($new.outgoing.port),
            &row::serde_name($new.outgoing.tls),
            &$new.ca_certificate,
            &$new.limits.credentials_on.as_str(),
            &i32::try_from($new.limits.max_connections).unwrap_or(i32::MAX),
            &i32::try_from($new.limits.max_in_flight).unwrap_or(i32::MAX),
            &$new.process_email_received_after,
            &i32::try_from($new.min_polling_minutes).unwrap_or(i32::MAX),
            &i32::try_from($new.connect_timeout.as_millis()).unwrap_or(i32::MAX),
            &$new.alert_mail,
            &$new.external_id,
            &$new.exchange.as_ref().and_then(|exchange| exchange.path.as_deref()),
            &$new.exchange.as_ref().map(|exchange| exchange.access.as_str()),
            &$new.exchange.as_ref().and_then(|exchange| exchange.start.as_deref()),
            &$new.exchange.as_ref().map(|exchange| exchange.hosts.as_slice()).unwrap_or_default(),
        ]
    };
}
use columns;
