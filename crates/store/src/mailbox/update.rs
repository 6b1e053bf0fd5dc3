//! Changing a mailbox. What an administrator vouched for (the address) and what was tested (server, login, secret)
//! counts no longer once it changes, and a running cycle stops at its next commit.

use jiff::Timestamp;
use model::address::EmailAddress;
use model::cadence::DueReason;
use model::id::{MailboxId, ProfileId};
use model::mailbox::{Acceptance, Approval};
use model::profile::CredentialsOn;
use model::secret::Secret;

use super::create::check_deletion;
use super::found::{Found, forget_found};
use super::{Mailbox, clash, get, locked, refused, touch, unknown};
use crate::change::{Author, Change, Fields};
use crate::credential::CredentialOwner;
use crate::refusal::{Refusal, check_line, check_time};
use crate::seal::KeyRing;
use crate::{Result, Tenant, change, credential, profile, schedule};

/// What may be changed of a mailbox; `None` leaves it as it is. The owner changes by [`super::remap`].
#[derive(Clone, Default)]
pub struct MailboxUpdate {
    /// The name to show.
    pub name: Option<String>,
    /// The address.
    pub address: Option<EmailAddress>,
    /// On which server.
    pub profile: Option<ProfileId>,
    /// The login that mail is read with.
    pub incoming_login: Option<String>,
    /// Which messages become records.
    pub acceptance: Option<Acceptance>,
    /// Nothing received before this is processed.
    pub process_email_received_after: Option<Timestamp>,
    /// Whether messages are deleted on the server once they are recorded.
    pub delete_after_processing: Option<bool>,
}

/// Changes a mailbox; `expected` is the version that the caller read. Another address waits for approval again;
/// another address, login or server stops it until it is tested and enabled again.
pub async fn update(
    tenant: &Tenant,
    id: MailboxId,
    expected: Option<i64>,
    update: &MailboxUpdate,
    by: &Author,
) -> Result<Mailbox> {
    let old = locked(tenant, id, expected).await?;
    let name = update.name.as_ref().unwrap_or(&old.name);
    check_line("name", name, 1, 200)?;
    check_time("process_email_received_after", update.process_email_received_after)?;
    let address = update.address.as_ref().map_or(old.address.as_str(), EmailAddress::as_str);
    let profile_id = update.profile.unwrap_or(old.profile);
    let profile = profile::get(tenant, profile_id)
        .await?
        .ok_or(Refusal::Unknown { what: "profile", field: "profile" })?;
    let login = match &update.incoming_login {
        // Whoever signs in asks for the mailbox by its address.
        _ if profile.fields.exchange.is_some() => address,
        login => login.as_ref().unwrap_or(&old.incoming_login),
    };
    check_line("incoming_login", login, 1, 320)?;
    let acceptance = update.acceptance.unwrap_or(old.acceptance);
    let floor = update.process_email_received_after.or(old.process_email_received_after);
    let delete = update.delete_after_processing.unwrap_or(old.delete_after_processing);
    check_deletion(delete, old.owner)?;
    let fields = Fields::new()
        .changed("name", &old.name, name)
        .changed("address", &old.address.as_str(), &address)
        .changed("profile", &old.profile, &profile_id)
        .changed("incoming_login", &old.incoming_login.as_str(), &login)
        .changed("acceptance", &old.acceptance, &acceptance)
        .changed("process_email_received_after", &old.process_email_received_after, &floor)
        .changed("delete_after_processing", &old.delete_after_processing, &delete);
    if fields.is_empty() {
        return Ok(old);
    }
    let endpoint = profile.fields.incoming.key();
    if let Some(refusal) = clash(tenant, Some(id), address, &endpoint, login).await? {
        return Err(refusal.into());
    }
    let moved = old.address != address;
    let elsewhere = moved || old.profile != profile_id || old.incoming_login != login;
    let approval = if moved && old.approval == Approval::Approved { Approval::Pending } else { old.approval };
    let fields = fields.changed("approval", &old.approval, &approval);
    let row = tenant
        .query_one(
            "update mailboxes set name = $2, address = $3, profile_id = $4, incoming_endpoint = $5, incoming_login = $6,
                 acceptance = $7, process_email_received_after = $8, delete_after_processing = $9, approval = $10,
                 version = version + 1, modified_at = now()
             where id = $1 returning version",
            &[
                &id.0,
                name,
                &address,
                &profile_id.0,
                &endpoint,
                &login,
                &acceptance.as_str(),
                &floor,
                &delete,
                &approval.as_str(),
            ],
        )
        .await
        .map_err(refused)?;
    if old.profile != profile_id {
        schedule::set_profile(tenant, id, profile_id).await?;
    }
    if elsewhere {
        test_again(tenant, id).await?;
    }
    let version = row.try_get("version")?;
    change::write(tenant, Change { record_type: "mailbox", id: id.0, version, by, fields }).await?;
    get(tenant, id).await?.ok_or_else(|| unknown().into())
}

/// What was tested is no longer what would be processed.
pub(super) async fn test_again(tenant: &Tenant, id: MailboxId) -> Result<()> {
    forget_found(tenant, Found::OfMailbox(id)).await?;
    tenant
        .execute(
            "update mailbox_workloads set test_result = 'not_run', test_said = null, tested_at = null,
                 enabled = false, disabled_by = null
             where mailbox_id = $1",
            &[&id.0],
        )
        .await?;
    schedule::bump(tenant, id, None).await
}

/// Says whether an administrator vouches for the mailbox's address. Anything but approved stops it.
pub async fn set_approval(
    tenant: &Tenant,
    id: MailboxId,
    expected: Option<i64>,
    approval: Approval,
    by: &Author,
) -> Result<Mailbox> {
    let old = locked(tenant, id, expected).await?;
    if old.approval == approval {
        return Ok(old);
    }
    let row = tenant
        .query_one(
            "update mailboxes set approval = $2, version = version + 1, modified_at = now()
             where id = $1 returning version",
            &[&id.0, &approval.as_str()],
        )
        .await?;
    if approval != Approval::Approved {
        tenant
            .execute(
                "update mailbox_workloads set enabled = false, disabled_by = null where mailbox_id = $1 and enabled",
                &[&id.0],
            )
            .await?;
        schedule::bump(tenant, id, None).await?;
    }
    let fields = Fields::new().changed("approval", &old.approval, &approval);
    let version = row.try_get("version")?;
    change::write(tenant, Change { record_type: "mailbox", id: id.0, version, by, fields }).await?;
    get(tenant, id).await?.ok_or_else(|| unknown().into())
}

/// Stores the mailbox's user name and password. Workloads that are enabled stay so and are due at once with the new
/// secret; a test is due again, because the last one was of the old secret. Another user name opens another maildrop:
/// then they stop until they are tested and enabled again.
pub async fn set_password(
    tenant: &Tenant,
    ring: &KeyRing,
    id: MailboxId,
    username: &str,
    password: &Secret,
    by: &Author,
) -> Result<()> {
    let mailbox = locked(tenant, id, None).await?;
    check_line("username", username, 1, 320)?;
    let profile = profile::get(tenant, mailbox.profile).await?.ok_or_else(unknown)?;
    if profile.fields.limits.credentials_on != CredentialsOn::Mailbox {
        return Err(Refusal::invalid(
            "password",
            format!("the credentials of this mailbox live on its profile `{}`", profile.fields.name),
            "store the password on the profile, or set the profile's `credentials_on` to `mailbox` first",
        )
        .into());
    }
    let login = if profile.fields.exchange.is_some() { &mailbox.address } else { username };
    let elsewhere = !mailbox.incoming_login.eq_ignore_ascii_case(login);
    if elsewhere {
        let endpoint = profile.fields.incoming.key();
        if let Some(refusal) = clash(tenant, Some(id), &mailbox.address, &endpoint, login).await? {
            return Err(refusal.into());
        }
        tenant
            .execute("update mailboxes set incoming_login = $2 where id = $1", &[&id.0, &login])
            .await
            .map_err(refused)?;
    }
    credential::put(tenant, ring, CredentialOwner::Mailbox(id), username, password, by).await?;
    if elsewhere {
        test_again(tenant, id).await?;
    } else {
        go_on(tenant, id).await?;
    }
    let version = touch(tenant, id).await?;
    let fields =
        Fields::new().changed("incoming_login", &mailbox.incoming_login.as_str(), &login).named("password");
    change::write(tenant, Change { record_type: "mailbox", id: id.0, version, by, fields }).await
}

/// The mailbox signs in with something new: workloads that are enabled are due at once with it, and a test is due again.
pub(crate) async fn go_on(tenant: &Tenant, id: MailboxId) -> Result<()> {
    forget_found(tenant, Found::OfMailbox(id)).await?;
    tenant
        .execute(
            "update mailbox_workloads set test_result = 'not_run', test_said = null, tested_at = null
             where mailbox_id = $1",
            &[&id.0],
        )
        .await?;
    schedule::bump(tenant, id, None).await?;
    let mailbox = get(tenant, id).await?.ok_or_else(unknown)?;
    for state in mailbox.workloads.iter().filter(|state| state.enabled) {
        schedule::make_due(tenant, id, state.workload, DueReason::Enabled, std::time::Duration::ZERO).await?;
    }
    Ok(())
}
