//! Consents: a link is asked for, used once, and what it led to becomes a credential. The state in the link names its
//! organization, so that a browser without a key can come back; everything else about it is only here.

use std::time::Duration;

use model::actor::Actor;
use model::alert::AlertKind;
use model::clock::random_bytes;
use model::credential::{CredentialKind, GrantType};
use model::id::{CredentialId, MailboxId, OrganizationId, ProfileId};
use model::profile::CredentialsOn;
use model::secret::{ExposeSecret as _, Secret};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::alert::{self, Subject};
use crate::change::{Author, Change, Fields};
use crate::credential::CredentialOwner;
use crate::refusal::{Refusal, check_line};
use crate::seal::{KeyRing, Part};
use crate::{Error, Result, Tenant, change, credential, mailbox, profile};

use super::expiry::{self, Kind as ExpiringKind};
use super::token::NewTokens;
use super::{OpenedApplication, opened, sealed, unsealed};

/// How long a link holds.
const HOLDS: Duration = Duration::from_secs(3600);

/// A link's parts, for whoever writes it out.
#[derive(Clone)]
pub struct Asked {
    /// What comes back with the answer. Kept nowhere.
    pub state: Secret,
    /// Whom it is asked of.
    pub application: OpenedApplication,
    /// Who should consent, as the mail server knows them.
    pub username: String,
    /// How long the link holds.
    pub holds: Duration,
}

/// A link that came back.
#[derive(Clone)]
pub struct Redeemed {
    /// Whose credential it makes.
    pub owner: CredentialOwner,
    /// Of whom it was asked.
    pub application: OpenedApplication,
    /// Who should have consented.
    pub username: String,
    /// Where it led back to.
    pub redirect: String,
    /// What proves that the answer is to our question.
    pub verifier: Secret,
    /// Who asked for it.
    pub asked_by: Actor,
}

/// Makes a link for a mailbox or a profile, in place of what was asked for it before. `username` is who should consent;
/// for a mailbox it is the login that its mail is read with.
pub async fn ask(
    tenant: &Tenant,
    ring: &KeyRing,
    owner: CredentialOwner,
    username: Option<&str>,
    redirect: &str,
    verifier: &Secret,
    by: &Author,
) -> Result<Asked> {
    let (profile_id, mailbox_id, username) = match owner {
        CredentialOwner::Profile(id) => {
            let username = username.ok_or_else(|| {
                Refusal::invalid(
                    "username",
                    "nothing says who is to consent",
                    "give the login that the profile's mailboxes are read with",
                )
            })?;
            (id, None, username.to_owned())
        }
        CredentialOwner::Mailbox(id) => {
            let unknown = || Refusal::Unknown { what: "mailbox", field: "id" };
            let mailbox = mailbox::get(tenant, id).await?.ok_or_else(unknown)?;
            (mailbox.profile, Some(id), mailbox.incoming_login)
        }
    };
    check_line("username", &username, 1, 320)?;
    let unknown = || Refusal::Unknown { what: "profile", field: "id" };
    let profile = profile::get(tenant, profile_id).await?.ok_or_else(unknown)?;
    check_place(&profile.fields.name, profile.fields.limits.credentials_on, owner)?;
    let application = opened(tenant, ring, profile_id)
        .await?
        .filter(|application| application.fields.grant == GrantType::AuthorizationCode)
        .ok_or_else(|| {
            Refusal::invalid(
                "id",
                format!(
                    "the profile `{}` has no application that people can consent to",
                    profile.fields.name
                ),
                "store one first: `lockstep profile set-oauth`, or PUT /api/v1/profiles/{id}/oauth",
            )
        })?;
    let state = state(tenant.organization());
    let id: CredentialId = model::clock::new_id();
    let (bytes, key) = sealed(tenant, ring, id, Part::Verifier, Some(verifier));
    let asked_by = serde_json::to_value(by.actor).map_err(|error| Error::Broken(error.to_string()))?;
    // A new link takes the place of the last, and what is over goes with it.
    tenant
        .execute(
            "delete from oauth_consents where expires_at < now() or used_at is not null
                or (profile_id = $1 and mailbox_id is not distinct from $2)",
            &[&profile_id.0, &mailbox_id.map(|id| id.0)],
        )
        .await?;
    tenant
        .execute(
            "insert into oauth_consents (organization_id, id, state_hash, profile_id, mailbox_id, username, redirect,
                 verifier_sealed, verifier_sealed_with, asked_by, expires_at)
             values (current_organization(), $1, $2, $3, $4, $5, $6, $7, $8, $9, now() + make_interval(secs => $10))",
            &[
                &id.0,
                &hash(&state),
                &profile_id.0,
                &mailbox_id.map(|id| id.0),
                &username,
                &redirect,
                &bytes,
                &key,
                &asked_by,
                &HOLDS.as_secs_f64(),
            ],
        )
        .await?;
    let (record_type, record) = match owner {
        CredentialOwner::Profile(id) => ("profile", id.0),
        CredentialOwner::Mailbox(id) => ("mailbox", id.0),
    };
    let fields = Fields::new().named("consent_asked");
    change::write(tenant, Change { record_type, id: record, version: 0, by, fields }).await?;
    Ok(Asked { state, application, username, holds: HOLDS })
}

/// The organization that a state names, if it has the form of one.
pub fn organization(state: &Secret) -> Option<OrganizationId> {
    let (organization, rest) = state.expose_secret().split_once('.')?;
    (rest.len() == 64).then(|| Uuid::try_parse(organization).ok().map(OrganizationId)).flatten()
}

/// Takes a link that came back: once, and only while it holds. `None` when it is unknown, used or too old.
pub async fn redeem(tenant: &Tenant, ring: &KeyRing, state: &Secret) -> Result<Option<Redeemed>> {
    let row = tenant
        .query_opt(
            "update oauth_consents set used_at = now()
             where state_hash = $1 and used_at is null and expires_at > now()
             returning id, profile_id, mailbox_id, username, redirect, verifier_sealed, verifier_sealed_with, asked_by",
            &[&hash(state)],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let profile = ProfileId(row.try_get("profile_id")?);
    let mailbox = row.try_get::<_, Option<Uuid>>("mailbox_id")?.map(MailboxId);
    let id = CredentialId(row.try_get("id")?);
    let broken = |error: serde_json::Error| Error::Broken(error.to_string());
    let (Some(verifier), Some(application)) = (
        unsealed(tenant, ring, id, Part::Verifier, &row, "verifier_")?,
        opened(tenant, ring, profile).await?,
    ) else {
        return Ok(None);
    };
    Ok(Some(Redeemed {
        owner: mailbox.map_or(CredentialOwner::Profile(profile), CredentialOwner::Mailbox),
        application,
        username: row.try_get("username")?,
        redirect: row.try_get("redirect")?,
        verifier,
        asked_by: serde_json::from_value(row.try_get("asked_by")?).map_err(broken)?,
    }))
}

/// What consent led to.
pub struct Given<'a> {
    /// Whose credential it is.
    pub owner: CredentialOwner,
    /// Who consented, as the mail server knows them.
    pub username: &'a str,
    /// What the token server gave.
    pub tokens: &'a NewTokens,
}

/// Stores what consent led to, in place of whatever the mailbox or profile signed in with before, and lets go on what
/// waited for it. Fails where the mailbox or profile would not take it any more.
pub async fn given(tenant: &Tenant, ring: &KeyRing, given: &Given<'_>, by: &Author) -> Result<()> {
    let Given { owner, username, tokens } = given;
    let unknown = |what| Refusal::Unknown { what, field: "state" };
    let profile_id = match owner {
        CredentialOwner::Profile(id) => *id,
        CredentialOwner::Mailbox(id) => {
            let mailbox = mailbox::get(tenant, *id).await?.ok_or(unknown("mailbox"))?;
            mailbox.profile
        }
    };
    let profile = profile::get(tenant, profile_id).await?.ok_or(unknown("profile"))?;
    check_place(&profile.fields.name, profile.fields.limits.credentials_on, *owner)?;
    let id = credential::put_oauth(tenant, *owner, CredentialKind::AuthorizationCode, username, by).await?;
    let (access, access_with) = sealed(tenant, ring, id, Part::Access, Some(&tokens.access));
    let (refresh, refresh_with) = sealed(tenant, ring, id, Part::Refresh, tokens.refresh.as_ref());
    tenant
        .execute(
            "update oauth_tokens set generation = generation + 1, consent_needed_at = null, renewing_until = null,
                 held_back_until = null, warned_days = null,
                 access_sealed = $2, access_sealed_with = $3,
                 access_expires_at = now() + make_interval(secs => $4), renew_at = now() + make_interval(secs => $5),
                 refresh_sealed = $6, refresh_sealed_with = $7,
                 refresh_expires_at = now() + make_interval(secs => $8::float8)
             where credential_id = $1",
            &[
                &id.0,
                &access,
                &access_with,
                &super::token::until_unsafe(tokens.expires_in).as_secs_f64(),
                &tokens.expires_in.mul_f64(0.8).as_secs_f64(),
                &refresh,
                &refresh_with,
                &tokens.refresh_expires_in.map(|left| left.as_secs_f64()),
            ],
        )
        .await?;
    let kinds = [AlertKind::ConsentNeeded, AlertKind::CredentialsMissing];
    match owner {
        CredentialOwner::Profile(id) => {
            alert::resolve(tenant, &kinds, Subject::Profile(*id), None).await?;
            expiry::renewed(tenant, ExpiringKind::RefreshToken, Subject::Profile(*id)).await?;
            profile::go_on(tenant, *id).await
        }
        CredentialOwner::Mailbox(id) => {
            let subject = Subject::Mailbox(*id);
            alert::resolve(tenant, &kinds, subject, None).await?;
            expiry::renewed(tenant, ExpiringKind::RefreshToken, subject).await?;
            mailbox::go_on(tenant, *id).await
        }
    }
}

fn check_place(name: &str, place: CredentialsOn, owner: CredentialOwner) -> Result<(), Refusal> {
    match (place, owner) {
        (CredentialsOn::Profile, CredentialOwner::Mailbox(_)) => Err(Refusal::invalid(
            "id",
            format!("the credentials of this mailbox live on its profile `{name}`"),
            "ask for the profile's consent, or set the profile's `credentials_on` to `mailbox` first",
        )),
        (CredentialsOn::Mailbox, CredentialOwner::Profile(_)) => Err(Refusal::invalid(
            "id",
            format!("the credentials of the profile `{name}` live on its mailboxes"),
            "ask for the mailboxes' consents, or set `credentials_on` to `profile` first",
        )),
        _ => Ok(()),
    }
}

/// The organization, so that the answer finds it, and 256 random bits.
fn state(organization: OrganizationId) -> Secret {
    use std::fmt::Write as _;
    let mut state = format!("{}.", organization.0.simple());
    for byte in random_bytes::<32>() {
        let _ = write!(state, "{byte:02x}");
    }
    Secret::from(state)
}

fn hash(state: &Secret) -> Vec<u8> {
    Sha256::digest(state.expose_secret().as_bytes()).to_vec()
}
