//! Where autodiscover found a mailbox's web services. What is kept here was found with what the mailbox and its profile say
//! now: whatever changes of that takes it away.

use jiff::Timestamp;
use model::alert::AlertKind;
use model::endpoint::{Endpoint, Protocol, Tls};
use model::id::{MailboxId, ProfileId};
use tokio_postgres::Row;

use super::for_cycle::MailboxForCycle;
use super::touch;
use crate::alert::{self, Subject};
use crate::change::{Author, Change, Fields};
use crate::{Result, Tenant, change};

/// A web service that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Its path.
    pub path: String,
    /// Who said so: host, port and path of the autodiscover service, whose name tells the way.
    pub told_by: String,
}

/// The same, with when it was found and by whom, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownService {
    /// Where it is.
    pub service: Service,
    /// Who looked: a kind of actor and its id.
    pub found_by: String,
    /// When it was found there first.
    pub found_at: Timestamp,
    /// Since when something says that it is elsewhere.
    pub doubted_at: Option<Timestamp>,
}

/// Of which mailboxes what was found is forgotten.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found {
    OfMailbox(MailboxId),
    OfProfile(ProfileId),
}

impl Service {
    /// Where it listens.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { protocol: Protocol::Ews, host: self.host.clone(), port: self.port, tls: Tls::Implicit }
    }

    /// Its whole address.
    pub fn url(&self) -> String {
        let port = if self.port == 443 { String::new() } else { format!(":{}", self.port) };
        format!("https://{}{port}{}", self.host, self.path)
    }
}

/// Reads the columns `found_host`, `found_port`, `found_path` and `told_by`; none where nothing was found.
pub(super) fn service(row: &Row) -> Result<Option<Service>> {
    let host: Option<String> = row.try_get("found_host")?;
    let Some(host) = host else { return Ok(None) };
    Ok(Some(Service {
        host,
        port: u16::try_from(row.try_get::<_, i32>("found_port")?).unwrap_or_default(),
        path: row.try_get("found_path")?,
        told_by: row.try_get("told_by")?,
    }))
}

/// Keeps what was found for a mailbox as it was read. Writes nothing and says no when its address, or anything about its
/// profile, is another by now: it was found with what no longer holds.
pub async fn keep_found(
    tenant: &Tenant,
    mailbox: &MailboxForCycle,
    service: &Service,
    by: &Author,
) -> Result<bool> {
    let old = found(tenant, mailbox.id).await?;
    let endpoint = service.endpoint().key();
    let kept = tenant
        .execute(
            "insert into found_services as f
                (organization_id, mailbox_id, host, port, path, endpoint, told_by, found_by)
             select m.organization_id, m.id, $5, $6, $7, $8, $9, $10
             from mailboxes m join profiles p on p.organization_id = m.organization_id and p.id = m.profile_id
             where m.id = $1 and m.address = $2 and p.id = $3 and p.version = $4
               and p.kind = 'exchange_ews' and p.exchange_path is null
             for share of p
             on conflict (organization_id, mailbox_id) do update set
                found_at = case when (f.host, f.port, f.path) = (excluded.host, excluded.port, excluded.path)
                                then f.found_at else now() end,
                found_by = case when (f.host, f.port, f.path) = (excluded.host, excluded.port, excluded.path)
                                then f.found_by else excluded.found_by end,
                host = excluded.host, port = excluded.port, path = excluded.path, endpoint = excluded.endpoint,
                told_by = excluded.told_by, asked_at = now(), doubted_at = null",
            &[
                &mailbox.id.0,
                &mailbox.address,
                &mailbox.profile.0,
                &mailbox.server_version,
                &service.host,
                &i32::from(service.port),
                &service.path,
                &endpoint,
                &service.told_by,
                &by.name(),
            ],
        )
        .await?;
    if kept == 0 {
        return Ok(false);
    }
    let old = old.map(|known| known.service);
    let fields = Fields::new().changed("web_service", &old.as_ref().map(Service::url), &Some(service.url()));
    if !fields.is_empty() {
        let version = touch(tenant, mailbox.id).await?;
        change::write(tenant, Change { record_type: "mailbox", id: mailbox.id.0, version, by, fields })
            .await?;
    }
    if old.as_ref().is_some_and(|old| old.url() != service.url()) {
        // How far another server's changes were read is no word of this one's: everything is compared once.
        tenant
            .execute(
                "update cursors set value = value - 'sync_state' where mailbox_id = $1 and value ? 'sync_state'",
                &[&mailbox.id.0],
            )
            .await?;
    }
    if let Some(left) = old.map(|old| old.endpoint().key()).filter(|left| *left != endpoint) {
        leave(tenant, mailbox.profile, &left).await?;
    }
    Ok(true)
}

/// A server that no mailbox of the profile is on any more: nobody waits for it, and what was said of it is settled.
async fn leave(tenant: &Tenant, profile: ProfileId, endpoint: &str) -> Result<()> {
    let used = tenant
        .query_opt(
            "select from found_services f
             join mailboxes m on m.organization_id = f.organization_id and m.id = f.mailbox_id
             where f.endpoint = $2 and m.profile_id = $1 limit 1",
            &[&profile.0, &endpoint],
        )
        .await?;
    if used.is_some() {
        return Ok(());
    }
    tenant
        .execute("delete from endpoints where profile_id = $1 and endpoint = $2", &[&profile.0, &endpoint])
        .await?;
    alert::resolve(tenant, AlertKind::ALL, Subject::Profile(profile), Some(endpoint)).await?;
    Ok(())
}

/// What is known of where a mailbox's web services are.
pub async fn found(tenant: &Tenant, id: MailboxId) -> Result<Option<KnownService>> {
    let row = tenant
        .query_opt(
            "select f.host as found_host, f.port as found_port, f.path as found_path, f.told_by, f.found_by,
                    f.found_at, f.doubted_at
             from found_services f where f.mailbox_id = $1",
            &[&id.0],
        )
        .await?;
    row.as_ref().map_or(Ok(None), known)
}

/// Reads the columns of [`service`], `found_by`, `found_at` and `doubted_at`.
pub(super) fn known(row: &Row) -> Result<Option<KnownService>> {
    let Some(service) = service(row)? else { return Ok(None) };
    Ok(Some(KnownService {
        service,
        found_by: row.try_get("found_by")?,
        found_at: row.try_get("found_at")?,
        doubted_at: row.try_get("doubted_at")?,
    }))
}

/// Something says that a mailbox's web services are elsewhere: they are looked for again before the next cycle connects.
pub async fn doubt_found(tenant: &Tenant, id: MailboxId) -> Result<()> {
    tenant
        .execute(
            "update found_services set doubted_at = now() where mailbox_id = $1 and doubted_at is null",
            &[&id.0],
        )
        .await?;
    Ok(())
}

/// They were looked for, and what is known is all there is: it is gone on with for a while.
pub async fn asked_in_vain(tenant: &Tenant, id: MailboxId) -> Result<()> {
    tenant.execute("update found_services set asked_at = now() where mailbox_id = $1", &[&id.0]).await?;
    Ok(())
}

/// Forgets what was found: it is looked for again before anything connects.
pub(crate) async fn forget_found(tenant: &Tenant, of: Found) -> Result<()> {
    let statement = match of {
        Found::OfMailbox(_) => "delete from found_services where mailbox_id = $1",
        Found::OfProfile(_) => {
            "delete from found_services f using mailboxes m
             where m.profile_id = $1 and f.organization_id = m.organization_id and f.mailbox_id = m.id"
        }
    };
    let id = match of {
        Found::OfMailbox(id) => id.0,
        Found::OfProfile(id) => id.0,
    };
    tenant.execute(statement, &[&id]).await?;
    Ok(())
}
