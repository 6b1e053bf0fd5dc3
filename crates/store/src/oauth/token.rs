//! The tokens of a credential. Many workers read them and one at a time renews them: its turn ends by Postgres's clock,
//! and its answer is taken only while nobody has written a newer token. The new refresh token takes the old one's place
//! in one statement: at no moment is there none.

use std::time::Duration;

use model::alert::AlertKind;
use model::id::{CredentialId, MailboxId, ProfileId};
use model::secret::Secret;
use serde_json::json;
use uuid::Uuid;

use crate::alert::{self, NewAlert, Subject};
use crate::change::{Author, Change, Fields};
use crate::connection::seconds;
use crate::seal::{KeyRing, Part};
use crate::{Result, Tenant, change, profile};

use super::expiry::{self, Kind as ExpiringKind};
use super::{sealed, unsealed};

/// What is known of a credential's tokens.
#[derive(Clone)]
pub struct Tokens {
    /// Which of its tokens these are: another number after each renewal.
    pub generation: i64,
    /// The access token, while it holds.
    pub access: Option<Secret>,
    /// Whether it is time to renew it, although it still holds.
    pub renew: bool,
    /// What gives the next one.
    pub refresh: Option<Secret>,
    /// For how long nobody is to ask the token server, because it could not be asked.
    pub held_back: Option<Duration>,
    /// Whether nothing can be had until somebody consents again.
    pub consent_needed: bool,
}

/// What a token server gave.
#[derive(Clone)]
pub struct NewTokens {
    /// The access token.
    pub access: Secret,
    /// For how long it holds.
    pub expires_in: Duration,
    /// The next refresh token; none: the present one stays.
    pub refresh: Option<Secret>,
    /// For how long that holds, where it is known.
    pub refresh_expires_in: Option<Duration>,
}

/// The tokens of a credential; `None` when there is no such credential with tokens.
pub async fn tokens(tenant: &Tenant, ring: &KeyRing, id: CredentialId) -> Result<Option<Tokens>> {
    let row = tenant
        .query_opt(
            "select generation, refresh_sealed, refresh_sealed_with, consent_needed_at is not null as consent_needed,
                    case when access_expires_at > now() then access_sealed end as access_sealed,
                    access_sealed_with, coalesce(renew_at <= now(), true) as renew,
                    extract(epoch from held_back_until - now())::float8 as held_back
             from oauth_tokens where credential_id = $1",
            &[&id.0],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let held_back: Option<f64> = row.try_get("held_back")?;
    Ok(Some(Tokens {
        generation: row.try_get("generation")?,
        access: unsealed(tenant, ring, id, Part::Access, &row, "access_")?,
        renew: row.try_get("renew")?,
        refresh: unsealed(tenant, ring, id, Part::Refresh, &row, "refresh_")?,
        held_back: held_back.map(seconds).filter(|left| !left.is_zero()),
        consent_needed: row.try_get("consent_needed")?,
    }))
}

/// Takes the turn to renew the tokens of this generation, for so long. False when somebody else has it, or has already
/// renewed them.
pub async fn take_turn(tenant: &Tenant, id: CredentialId, generation: i64, turn: Duration) -> Result<bool> {
    let taken = tenant
        .execute(
            "update oauth_tokens set renewing_until = now() + make_interval(secs => $3)
             where credential_id = $1 and generation = $2 and consent_needed_at is null
               and coalesce(renewing_until <= now(), true) and coalesce(held_back_until <= now(), true)",
            &[&id.0, &generation, &turn.as_secs_f64()],
        )
        .await?;
    Ok(taken == 1)
}

/// Writes what the token server gave to whoever had the turn. False when newer tokens are there: those hold.
pub async fn renewed(
    tenant: &Tenant,
    ring: &KeyRing,
    id: CredentialId,
    generation: i64,
    new: &NewTokens,
    by: &Author,
) -> Result<bool> {
    let (access, access_with) = sealed(tenant, ring, id, Part::Access, Some(&new.access));
    let (refresh, refresh_with) = sealed(tenant, ring, id, Part::Refresh, new.refresh.as_ref());
    let written = tenant
        .query_opt(
            // A refresh token whose end moves on with each renewal is told of again only when it is renewed no more (what is
            // further off than the widest threshold is told of as if it were new); one that takes over the end of the one
            // before has been told of as that was.
            "with old as (
                 select generation, warned_days, refresh_expires_at,
                        case when $9::float8 is not null then now() + make_interval(secs => $9)
                             when $7::bytea is null then refresh_expires_at end as ends
                 from oauth_tokens where credential_id = $1 and generation = $2 and consent_needed_at is null for update),
             judged as (
                 select *, ends is distinct from refresh_expires_at
                        and (ends <= refresh_expires_at + interval '1 minute') is not true as moved_on from old)
             update oauth_tokens t set
                 generation = t.generation + 1, renewing_until = null, held_back_until = null,
                 access_sealed = $3, access_sealed_with = $4,
                 access_expires_at = now() + make_interval(secs => $5), renew_at = now() + make_interval(secs => $6),
                 refresh_sealed = coalesce($7, refresh_sealed),
                 refresh_sealed_with = coalesce($8, refresh_sealed_with),
                 refresh_expires_at = j.ends,
                 warned_days = case when not j.moved_on then j.warned_days
                                    when j.ends < now() + interval '1 day' then 1
                                    when j.ends < now() + interval '7 days' then 7
                                    when j.ends < now() + interval '90 days' then 8 end
             from judged j where t.credential_id = $1 and t.generation = j.generation
             returning t.generation, j.moved_on",
            &[
                &id.0,
                &generation,
                &access,
                &access_with,
                &until_unsafe(new.expires_in).as_secs_f64(),
                &(new.expires_in.mul_f64(0.8)).as_secs_f64(),
                &refresh,
                &refresh_with,
                &new.refresh_expires_in.map(|left| left.as_secs_f64()),
            ],
        )
        .await?;
    let Some(row) = written else { return Ok(false) };
    if new.refresh.is_some() {
        let version = row.try_get("generation")?;
        let fields = Fields::new().named("refresh_token");
        change::write(tenant, Change { record_type: "credential", id: id.0, version, by, fields }).await?;
    }
    let place = Place::of(tenant, id).await?;
    if let Some(place) = place {
        alert::resolve(tenant, &[AlertKind::TokenServerAway], Subject::Profile(place.profile), None).await?;
        if row.try_get("moved_on")? {
            expiry::renewed(tenant, ExpiringKind::RefreshToken, place.owner()).await?;
        }
    }
    Ok(true)
}

/// A token is not shown to a server any more when it is about to end: it may end on its way.
pub(super) fn until_unsafe(expires_in: Duration) -> Duration {
    expires_in.saturating_sub(Duration::from_secs(30).min(expires_in / 10))
}

/// Gives the turn back after a try that had no answer: nobody asks again for so long, and a person is told.
pub async fn held_back(
    tenant: &Tenant,
    id: CredentialId,
    generation: i64,
    pause: Duration,
    reason: &str,
) -> Result<()> {
    let held = tenant
        .execute(
            "update oauth_tokens set renewing_until = null, held_back_until = now() + make_interval(secs => $3)
             where credential_id = $1 and generation = $2",
            &[&id.0, &generation, &pause.as_secs_f64()],
        )
        .await?;
    let Some(place) = Place::of(tenant, id).await? else { return Ok(()) };
    if held == 1 {
        raise(tenant, AlertKind::TokenServerAway, Subject::Profile(place.profile), &place, reason, None)
            .await?;
    }
    Ok(())
}

/// The refresh token holds no longer: raises the alert, and stops asking until somebody consents again. False when newer
/// tokens are there: those hold.
pub async fn needs_consent(
    tenant: &Tenant,
    id: CredentialId,
    generation: i64,
    said: &str,
    by: &Author,
) -> Result<bool> {
    let marked = tenant
        .execute(
            "update oauth_tokens set consent_needed_at = now(), renewing_until = null, access_sealed = null,
                 access_sealed_with = null, refresh_sealed = null, refresh_sealed_with = null,
                 generation = generation + 1
             where credential_id = $1 and generation = $2 and consent_needed_at is null",
            &[&id.0, &generation],
        )
        .await?;
    let Some(place) = Place::of(tenant, id).await? else { return Ok(false) };
    if marked == 0 {
        return Ok(false);
    }
    raise(tenant, AlertKind::ConsentNeeded, place.owner(), &place, "", Some(said)).await?;
    if place.mailbox.is_none() {
        profile::pause(tenant, place.profile, AlertKind::ConsentNeeded.as_str(), by).await?;
    }
    let fields = Fields::new().changed("consent_needed", &false, &true);
    let change = Change { record_type: "credential", id: id.0, version: generation + 1, by, fields };
    change::write(tenant, change).await?;
    Ok(true)
}

/// The token server refuses the application itself, for all of the profile's mailboxes: pauses the profile with an alert
/// that names the reason, and the server's words where it said any.
pub async fn refused(
    tenant: &Tenant,
    id: CredentialId,
    generation: i64,
    reason: &str,
    said: Option<&str>,
    by: &Author,
) -> Result<()> {
    tenant
        .execute(
            "update oauth_tokens set renewing_until = null where credential_id = $1 and generation = $2",
            &[&id.0, &generation],
        )
        .await?;
    let Some(place) = Place::of(tenant, id).await? else { return Ok(()) };
    let subject = Subject::Profile(place.profile);
    raise(tenant, AlertKind::TokenRefused, subject, &place, reason, said).await?;
    profile::pause(tenant, place.profile, AlertKind::TokenRefused.as_str(), by).await?;
    Ok(())
}

/// Whose a credential is.
struct Place {
    profile: ProfileId,
    mailbox: Option<MailboxId>,
    token_url: String,
}

impl Place {
    /// Whose sign-in it is.
    fn owner(&self) -> Subject {
        self.mailbox.map_or(Subject::Profile(self.profile), Subject::Mailbox)
    }

    async fn of(tenant: &Tenant, id: CredentialId) -> Result<Option<Self>> {
        let row = tenant
            .query_opt(
                "select coalesce(c.profile_id, m.profile_id) as profile_id, c.mailbox_id,
                        coalesce(a.token_url, '') as token_url
                 from credentials c
                 left join mailboxes m on m.organization_id = c.organization_id and m.id = c.mailbox_id
                 left join oauth_applications a on a.organization_id = c.organization_id
                    and a.profile_id = coalesce(c.profile_id, m.profile_id)
                 where c.id = $1",
                &[&id.0],
            )
            .await?;
        row.map(|row| {
            Ok(Self {
                profile: ProfileId(row.try_get("profile_id")?),
                mailbox: row.try_get::<_, Option<Uuid>>("mailbox_id")?.map(MailboxId),
                token_url: row.try_get("token_url")?,
            })
        })
        .transpose()
    }
}

async fn raise(
    tenant: &Tenant,
    kind: AlertKind,
    subject: Subject,
    place: &Place,
    reason: &str,
    said: Option<&str>,
) -> Result<()> {
    // The host is enough to know the server by, and a query may hold anything.
    let host = place.token_url.trim_start_matches("https://").split(['/', '?']).next().unwrap_or_default();
    let alert = NewAlert {
        kind,
        subject,
        detail: String::new(),
        parameters: json!({"token_server": host, "reason": reason}),
        server_said: said.map(str::to_owned),
    };
    alert::raise(tenant, &alert).await?;
    Ok(())
}
