//! What a change of a profile does to its mailboxes: stop, wait for a test, or go on. One statement each, whether the
//! profile has one mailbox or fifty thousand.

use model::alert::AlertKind;
use model::cadence::DueReason;
use model::id::ProfileId;
use model::profile::CredentialsOn;
use model::secret::Secret;

use super::{ProfileFields, unknown};
use crate::alert::{self, Subject};
use crate::change::{Author, Change, Fields};
use crate::credential::CredentialOwner;
use crate::mailbox::{self, Found};
use crate::refusal::{Refusal, check_line};
use crate::seal::KeyRing;
use crate::{Error, Result, Tenant, change, credential, schedule};

/// The mailboxes were tested against another server: nothing runs until they are tested and enabled again.
pub(super) async fn test_again(tenant: &Tenant, id: ProfileId, new: &ProfileFields) -> Result<()> {
    tenant
        .execute(
            "update mailboxes set incoming_endpoint = $2 where profile_id = $1 and incoming_endpoint <> $2",
            &[&id.0, &new.incoming.key()],
        )
        .await
        .map_err(|error| match error.constraint() {
            Some("mailboxes_login_installation") => {
                Error::from(Refusal::MailboxTakenElsewhere { field: "login" })
            }
            _ => error,
        })?;
    mailbox::forget_found(tenant, Found::OfProfile(id)).await?;
    tenant
        .execute(
            "update mailbox_workloads w set test_result = 'not_run', test_said = null, tested_at = null,
                 enabled = false, disabled_by = null
             from mailboxes m
             where m.profile_id = $1 and w.organization_id = m.organization_id and w.mailbox_id = m.id",
            &[&id.0],
        )
        .await?;
    // What schedule::bump does to one mailbox.
    tenant
        .execute(
            "update schedules set claim = claim + 1, state = 'idle', session_id = null, since = now(),
                 due_at = null, due_reason = $2, not_before = null, not_before_reason = null, wished_at = null
             where profile_id = $1",
            &[&id.0, &DueReason::Disabled.as_str()],
        )
        .await?;
    Ok(())
}

/// Stores the profile's user name and password. A profile that was paused because its secret was refused goes on,
/// and so do its mailboxes, by themselves.
pub async fn set_password(
    tenant: &Tenant,
    ring: &KeyRing,
    id: ProfileId,
    username: &str,
    password: &Secret,
    by: &Author,
) -> Result<()> {
    check_line("username", username, 1, 320)?;
    let profile = super::get(tenant, id).await?.ok_or(unknown("profile"))?;
    if profile.fields.limits.credentials_on != CredentialsOn::Profile {
        return Err(Refusal::invalid(
            "password",
            format!("the credentials of the profile `{}` live on its mailboxes", profile.fields.name),
            "store the password on the mailbox, or set `credentials_on` to `profile` first",
        )
        .into());
    }
    credential::put(tenant, ring, CredentialOwner::Profile(id), username, password, by).await?;
    let refused = [AlertKind::ProfileCredentialsRefused, AlertKind::ConsentNeeded, AlertKind::TokenRefused];
    alert::resolve(tenant, &refused, Subject::Profile(id), None).await?;
    go_on(tenant, id).await
}

/// The profile signs in with something new: what was paused because the old was refused goes on. A cycle that still signs
/// in with the old secret stops at its next commit; the rest is due at once, and the windows spread it.
pub(crate) async fn go_on(tenant: &Tenant, id: ProfileId) -> Result<()> {
    mailbox::forget_found(tenant, Found::OfProfile(id)).await?;
    let reasons = [
        AlertKind::ProfileCredentialsRefused.as_str(),
        AlertKind::ConsentNeeded.as_str(),
        AlertKind::TokenRefused.as_str(),
    ];
    tenant
        .execute(
            "update profiles set paused_reason = null where id = $1 and paused_reason = any($2)",
            &[&id.0, &reasons.as_slice()],
        )
        .await?;
    tenant
        .execute(
            "update schedules s set claim = claim + 1, state = 'idle', session_id = null, since = now(),
                 due_at = now(), due_reason = $2, not_before = null, not_before_reason = null,
                 failures = 0, refusals = 0, first_refused_at = null
             from mailbox_workloads w
             where s.profile_id = $1 and w.organization_id = s.organization_id and w.mailbox_id = s.mailbox_id
               and w.workload = s.workload and w.enabled",
            &[&id.0, &DueReason::Enabled.as_str()],
        )
        .await?;
    schedule::poke(tenant).await
}

/// Stops all mailboxes of a profile without switching any off: `reason` is an alert kind, or a person's words. Says
/// whether it was running until now.
pub async fn pause(tenant: &Tenant, id: ProfileId, reason: &str, by: &Author) -> Result<bool> {
    set_paused(tenant, id, Some(reason), by).await
}

/// Lets the mailboxes of a paused profile go on. Says whether it was paused until now.
pub async fn resume(tenant: &Tenant, id: ProfileId, by: &Author) -> Result<bool> {
    let resumed = set_paused(tenant, id, None, by).await?;
    if resumed {
        schedule::poke(tenant).await?;
    }
    Ok(resumed)
}

async fn set_paused(tenant: &Tenant, id: ProfileId, reason: Option<&str>, by: &Author) -> Result<bool> {
    let row = tenant
        .query_opt(
            "update profiles set paused_reason = $2, version = version + 1, modified_at = now()
             where id = $1 and (paused_reason is null) <> ($2::text is null) returning version",
            &[&id.0, &reason],
        )
        .await?;
    let Some(row) = row else { return Ok(false) };
    let fields = Fields::new().changed("paused", &reason.is_none(), &reason.is_some());
    let version = row.try_get("version")?;
    change::write(tenant, Change { record_type: "profile", id: id.0, version, by, fields }).await?;
    Ok(true)
}
