//! Making a mailbox, with the rules of mapping: at most one mailbox per user or queue, and an address and a login
//! that no other mailbox of the installation has.

use jiff::Timestamp;
use model::address::EmailAddress;
use model::credential::CredentialKind;
use model::id::{MailboxId, ProfileId};
use model::mailbox::{Acceptance, DeliveryMethod, Owner};
use model::profile::CredentialsOn;
use model::workload::Workload;
use tokio_postgres::types::ToSql;

use super::{Mailbox, check_owner, clash, get, refused, unknown};
use crate::called::check_free;
use crate::change::{Author, Change, Fields};
use crate::refusal::{Refusal, check_external_id, check_line, check_time};
use crate::{Result, Tenant, change, profile, schedule};

/// What a mailbox is made of.
#[derive(Clone)]
pub struct NewMailbox {
    /// The name to show.
    pub name: String,
    /// The address, unique in the installation.
    pub address: EmailAddress,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// On which server.
    pub profile: ProfileId,
    /// The login that mail is read with; none: the profile's user name when credentials live there, else the address. An
    /// Exchange server is asked for the mailbox by its address, whoever signs in.
    pub incoming_login: Option<String>,
    /// Which messages become records; none: what fits the owner.
    pub acceptance: Option<Acceptance>,
    /// How incoming mail is delivered.
    pub incoming: DeliveryMethod,
    /// How outgoing mail is delivered.
    pub outgoing: DeliveryMethod,
    /// Nothing received before this is processed; none: since it was first enabled.
    pub process_email_received_after: Option<Timestamp>,
    /// Whether messages are deleted on the server once they are recorded; queues only.
    pub delete_after_processing: bool,
    /// The host application's id.
    pub external_id: Option<String>,
}

const INSERT: &str = "insert into mailboxes (organization_id, id, name, address, user_id, queue_id, profile_id,
        incoming_endpoint, incoming_login, acceptance, process_email_received_after, delete_after_processing, external_id)
    values (current_organization(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

/// Makes a mailbox: not approved, not tested, not enabled, with a row in the ring for each workload.
pub async fn create(tenant: &Tenant, new: &NewMailbox, by: &Author) -> Result<Mailbox> {
    check_line("name", &new.name, 1, 200)?;
    check_time("process_email_received_after", new.process_email_received_after)?;
    check_external_id(new.external_id.as_ref())?;
    check_free(tenant, "mailbox", "mailboxes", new.external_id.as_ref(), None).await?;
    check_deletion(new.delete_after_processing, new.owner)?;
    let profile = profile::get(tenant, new.profile)
        .await?
        .ok_or(Refusal::Unknown { what: "profile", field: "profile" })?;
    if let Some(owner) = new.owner {
        check_owner(tenant, owner, None).await?;
    }
    let endpoint = profile.fields.incoming.key();
    let login = match (&new.incoming_login, &profile.credential) {
        _ if profile.fields.exchange.is_some() => new.address.as_str().to_owned(),
        (Some(login), _) => login.clone(),
        // An application's own tokens open each mailbox by its own login.
        (None, Some(credential))
            if profile.fields.limits.credentials_on == CredentialsOn::Profile
                && credential.kind != CredentialKind::ClientCredentials =>
        {
            credential.username.clone()
        }
        (None, _) => new.address.as_str().to_owned(),
    };
    check_line("incoming_login", &login, 1, 320)?;
    if let Some(refusal) = clash(tenant, None, new.address.as_str(), &endpoint, &login).await? {
        return Err(refusal.into());
    }
    let id: MailboxId = model::clock::new_id();
    let acceptance =
        new.acceptance.unwrap_or_else(|| new.owner.map_or(Acceptance::All, Owner::default_acceptance));
    let (user, queue) = owner_columns(new.owner);
    let columns: [&(dyn ToSql + Sync); 12] = [
        &id.0,
        &new.name,
        &new.address.as_str(),
        &user,
        &queue,
        &new.profile.0,
        &endpoint,
        &login,
        &acceptance.as_str(),
        &new.process_email_received_after,
        &new.delete_after_processing,
        &new.external_id,
    ];
    let inserted = tenant.attempt(async |tenant| tenant.execute(INSERT, &columns).await).await;
    if let Err(error) = inserted {
        // Somebody of the organization may have been quicker than the question above.
        let quicker = clash(tenant, None, new.address.as_str(), &endpoint, &login).await?;
        return Err(quicker.map_or_else(|| refused(error), Into::into));
    }
    for workload in Workload::ALL {
        let method = match workload {
            Workload::Incoming => new.incoming,
            Workload::Outgoing => new.outgoing,
            Workload::Act => DeliveryMethod::None,
        };
        tenant
            .execute(
                "insert into mailbox_workloads (organization_id, mailbox_id, workload, method)
                 values (current_organization(), $1, $2, $3)",
                &[&id.0, &workload.as_str(), &method.as_str()],
            )
            .await?;
        schedule::create(tenant, id, *workload, new.profile).await?;
    }
    let fields = Fields::new()
        .set("name", &new.name)
        .set("address", &new.address)
        .set("owner", new.owner)
        .set("profile", new.profile)
        .set("incoming_login", &login)
        .set("acceptance", acceptance)
        .set("incoming", new.incoming)
        .set("outgoing", new.outgoing)
        .set("process_email_received_after", new.process_email_received_after)
        .set("delete_after_processing", new.delete_after_processing)
        .set("external_id", &new.external_id);
    change::write(tenant, Change { record_type: "mailbox", id: id.0, version: 1, by, fields }).await?;
    get(tenant, id).await?.ok_or_else(|| unknown().into())
}

pub(super) fn owner_columns(owner: Option<Owner>) -> (Option<uuid::Uuid>, Option<uuid::Uuid>) {
    match owner {
        Some(Owner::User(id)) => (Some(id.0), None),
        Some(Owner::Queue(id)) => (None, Some(id.0)),
        None => (None, None),
    }
}

pub(super) fn check_deletion(delete: bool, owner: Option<Owner>) -> Result<(), Refusal> {
    if delete && !matches!(owner, Some(Owner::Queue(_))) {
        return Err(Refusal::invalid(
            "delete_after_processing",
            "only the mailbox of a queue can have its messages deleted after they are processed",
            "leave it off, or map the mailbox to a queue",
        ));
    }
    Ok(())
}
