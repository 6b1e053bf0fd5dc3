//! What will stop working on a day that is known: secrets of applications, refresh tokens, and authorities of profiles.
//! Each threshold is told once.

use jiff::Timestamp;
use model::alert::AlertKind;
use model::id::{CredentialId, MailboxId, OrganizationId, ProfileId};
use serde_json::json;
use uuid::Uuid;

use crate::alert::{self, NewAlert, Subject};
use crate::{Error, Result, Ring, Tenant};

/// What expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The secret of a profile's application.
    ClientSecret,
    /// A credential's refresh token.
    RefreshToken,
    /// The certificate of a profile's own authority.
    Authority,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::ClientSecret => "client secret",
            Self::RefreshToken => "consent",
            Self::Authority => "certificate authority",
        }
    }

    fn of(text: &str) -> Result<Self> {
        [Self::ClientSecret, Self::RefreshToken, Self::Authority]
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| Error::Broken(format!("{text} is nothing that expires")))
    }
}

/// Something that passed a threshold and was not told of yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiring {
    /// Whose.
    pub organization: OrganizationId,
    /// What.
    pub kind: Kind,
    /// Of which profile, or which credential.
    pub id: Uuid,
}

/// What expires within `days` and was not told of since: over all organizations, at most `limit`. One question for each
/// organization's setting is asked when it is told; this asks for the widest.
pub async fn expiring(ring: &Ring, days: i32, limit: i64) -> Result<Vec<Expiring>> {
    // A threshold passes when fewer days are left than it has, and it is told when no smaller one was told before.
    let rows = ring
        .query(
            "select organization_id, kind, id from (
                 select organization_id, 'client secret' as kind, profile_id as id, secret_expires_at as at, warned_days
                 from oauth_applications where secret_expires_at is not null
                 union all
                 select organization_id, 'consent', credential_id, refresh_expires_at, warned_days
                 from oauth_tokens where refresh_expires_at is not null
                 union all
                 select organization_id, 'certificate authority', id, ca_expires_at, ca_warned_days
                 from profiles where ca_expires_at is not null) e
             where at < now() + make_interval(days => $1)
               and (warned_days is null or (warned_days > 7 and at < now() + interval '7 days')
                    or (warned_days > 1 and at < now() + interval '1 day'))
             order by at limit $2",
            &[&days, &limit],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Expiring {
                organization: OrganizationId(row.try_get("organization_id")?),
                kind: Kind::of(row.try_get("kind")?)?,
                id: row.try_get("id")?,
            })
        })
        .collect()
}

/// Tells of it, once per threshold: `first` days ahead, and 7 and 1 day ahead where that is later.
pub async fn warn(tenant: &Tenant, expiring: &Expiring, first: i32) -> Result<bool> {
    let (table, key, at, warned) = match expiring.kind {
        Kind::ClientSecret => ("oauth_applications", "profile_id", "secret_expires_at", "warned_days"),
        Kind::RefreshToken => ("oauth_tokens", "credential_id", "refresh_expires_at", "warned_days"),
        Kind::Authority => ("profiles", "id", "ca_expires_at", "ca_warned_days"),
    };
    let row = tenant
        .query_opt(
            &format!(
                "with reached as (
                     select {key} as id, {at} as at,
                            case when {at} < now() + interval '1 day' then 1
                                 when {at} < now() + interval '7 days' then 7 else $2 end as days
                     from {table} where {key} = $1 and {at} < now() + make_interval(days => $2) for update)
                 update {table} t set {warned} = r.days from reached r
                 where t.organization_id = current_organization() and t.{key} = r.id
                   and (t.{warned} is null or t.{warned} > r.days)
                 returning r.at"
            ),
            &[&expiring.id, &first],
        )
        .await?;
    let Some(row) = row else { return Ok(false) };
    let at: Timestamp = row.try_get("at")?;
    let subject = match expiring.kind {
        Kind::ClientSecret | Kind::Authority => Subject::Profile(ProfileId(expiring.id)),
        Kind::RefreshToken => {
            let owner = tenant
                .query_one("select profile_id, mailbox_id from credentials where id = $1", &[&expiring.id])
                .await?;
            match owner.try_get::<_, Option<Uuid>>("mailbox_id")? {
                Some(id) => Subject::Mailbox(MailboxId(id)),
                None => Subject::Profile(ProfileId(owner.try_get("profile_id")?)),
            }
        }
    };
    let what = expiring.kind.name();
    let alert = NewAlert {
        kind: AlertKind::CredentialExpiresSoon,
        subject,
        detail: what.to_owned(),
        parameters: json!({"what": what, "at": at.strftime("%Y-%m-%d %H:%M UTC").to_string()}),
        server_said: None,
    };
    alert::raise(tenant, &alert).await?;
    Ok(true)
}

/// What was told to end soon was renewed, or is not used any more: its alert goes.
pub(crate) async fn renewed(tenant: &Tenant, kind: Kind, owner: Subject) -> Result<()> {
    alert::resolve(tenant, &[AlertKind::CredentialExpiresSoon], owner, Some(kind.name())).await?;
    Ok(())
}

/// The same for the consents of all of a profile's mailboxes, and its own.
pub(super) async fn consents_renewed(tenant: &Tenant, profile: ProfileId) -> Result<()> {
    tenant
        .execute(
            "update alerts set resolved_at = now()
             where kind = $2 and parameters ->> 'what' = $3 and resolved_at is null and dismissed_at is null
               and (profile_id = $1 or mailbox_id in (select id from mailboxes where profile_id = $1))",
            &[&profile.0, &AlertKind::CredentialExpiresSoon.as_str(), &Kind::RefreshToken.name()],
        )
        .await?;
    Ok(())
}

/// What a mailbox signs in with that ends within so many days, and when: for whoever tests it.
pub async fn ending(
    tenant: &Tenant,
    profile: ProfileId,
    credential: CredentialId,
    days: i32,
) -> Result<Vec<(&'static str, Timestamp)>> {
    let rows = tenant
        .query(
            "select kind, at from (
                 select 'client secret' as kind, secret_expires_at as at from oauth_applications
                 where profile_id = $1 and exists (select from oauth_tokens where credential_id = $2)
                 union all
                 select 'consent', refresh_expires_at from oauth_tokens where credential_id = $2
                 union all
                 select 'certificate authority', ca_expires_at from profiles where id = $1) e
             where at < now() + make_interval(days => $3) order by at",
            &[&profile.0, &credential.0, &days],
        )
        .await?;
    rows.iter().map(|row| Ok((Kind::of(row.try_get("kind")?)?.name(), row.try_get("at")?))).collect()
}
