//! An application: how Lockstep is known at the token server of a profile. One per profile; its mailboxes share it.

use jiff::Timestamp;
use model::alert::AlertKind;
use model::credential::{CredentialKind, GrantType};
use model::id::{CredentialId, ProfileId};
use model::profile::CredentialsOn;
use model::secret::Secret;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::alert::{self, Subject};
use crate::change::{Author, Change, Fields};
use crate::credential::CredentialOwner;
use crate::profile::{self, Profile};
use crate::refusal::{Refusal, check_line, check_time};
use crate::row::named;
use crate::seal::{KeyRing, Part};
use crate::{Result, Tenant, change, credential};

use super::expiry::{self, Kind as ExpiringKind};
use super::{sealed, unsealed};

/// What an administrator decides about an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationFields {
    /// How it gets its tokens.
    pub grant: GrantType,
    /// Where people consent; for [`GrantType::AuthorizationCode`] alone.
    pub authorize_url: Option<String>,
    /// Where tokens are given out.
    pub token_url: String,
    /// Its name at the token server.
    pub client_id: String,
    /// What it asks for, separated by spaces.
    pub scopes: String,
    /// What the server calls itself in every answer (RFC 9207); none where it is not known to.
    pub issuer: Option<String>,
    /// When the token server will not take its secret any more.
    pub secret_expires_at: Option<Timestamp>,
}

/// What may be shown of an application.
#[derive(Clone, Debug)]
pub struct Application {
    /// What an administrator decided.
    pub fields: ApplicationFields,
    /// Whether a secret is stored; a public client has none.
    pub has_secret: bool,
    /// Raised by each change.
    pub version: i64,
    /// Last changed.
    pub modified_at: Timestamp,
}

/// An application with its secret.
#[derive(Clone)]
pub struct OpenedApplication {
    /// What an administrator decided.
    pub fields: ApplicationFields,
    /// Its secret.
    pub secret: Option<Secret>,
    /// PEM of the profile's own authority, which may vouch for the token server as well.
    pub ca_certificate: Option<String>,
}

const COLUMNS: &str =
    "a.id, a.grant_type, a.authorize_url, a.token_url, a.client_id, a.scopes, a.issuer, a.secret_expires_at,
    a.version, a.modified_at, a.sealed, a.sealed_with";

fn fields(row: &Row) -> Result<ApplicationFields> {
    Ok(ApplicationFields {
        grant: named(row, "grant_type")?,
        authorize_url: row.try_get("authorize_url")?,
        token_url: row.try_get("token_url")?,
        client_id: row.try_get("client_id")?,
        scopes: row.try_get("scopes")?,
        issuer: row.try_get("issuer")?,
        secret_expires_at: row.try_get("secret_expires_at")?,
    })
}

/// The application of a profile, without its secret.
pub async fn application(tenant: &Tenant, profile: ProfileId) -> Result<Option<Application>> {
    let row = tenant
        .query_opt(
            &format!("select {COLUMNS} from oauth_applications a where a.profile_id = $1"),
            &[&profile.0],
        )
        .await?;
    row.map(|row| {
        Ok(Application {
            fields: fields(&row)?,
            has_secret: row.try_get::<_, Option<String>>("sealed_with")?.is_some(),
            version: row.try_get("version")?,
            modified_at: row.try_get("modified_at")?,
        })
    })
    .transpose()
}

/// The application of a profile, to ask its token server with.
pub async fn opened(
    tenant: &Tenant,
    ring: &KeyRing,
    profile: ProfileId,
) -> Result<Option<OpenedApplication>> {
    let row = tenant
        .query_opt(
            &format!(
                "select {COLUMNS}, p.ca_certificate from oauth_applications a
                 join profiles p on p.organization_id = a.organization_id and p.id = a.profile_id
                 where a.profile_id = $1"
            ),
            &[&profile.0],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let id = CredentialId(row.try_get("id")?);
    Ok(Some(OpenedApplication {
        fields: fields(&row)?,
        secret: unsealed(tenant, ring, id, Part::ClientSecret, &row, "")?,
        ca_certificate: row.try_get("ca_certificate")?,
    }))
}

/// Makes or changes the application of a profile. Without a secret the one that is stored stays, as long as it is the
/// same application. Tokens that another application was given are forgotten, and what was paused because the token
/// server refused the old one goes on.
pub async fn set(
    tenant: &Tenant,
    ring: &KeyRing,
    profile: ProfileId,
    new: &ApplicationFields,
    secret: Option<&Secret>,
    by: &Author,
) -> Result<Application> {
    check(new)?;
    let unknown = || Refusal::Unknown { what: "profile", field: "id" };
    tenant
        .query_opt("select from profiles where id = $1 for no key update", &[&profile.0])
        .await?
        .ok_or_else(unknown)?;
    let shown = profile::get(tenant, profile).await?.ok_or_else(unknown)?;
    if new.grant == GrantType::ClientCredentials {
        check_client_credentials(&shown)?;
    }
    let old = application(tenant, profile).await?;
    let same = old.as_ref().is_some_and(|old| {
        let (old, new) = (&old.fields, new);
        old.grant == new.grant && old.token_url == new.token_url && old.client_id == new.client_id
    });
    let keeps = secret.is_none() && same && old.as_ref().is_some_and(|old| old.has_secret);
    if new.grant == GrantType::ClientCredentials && secret.is_none() && !keeps {
        return Err(Refusal::invalid(
            "client_secret",
            "an application that gets tokens by itself has a secret, and none was given",
            "give the secret that the token server made for it",
        )
        .into());
    }
    let present: Option<Uuid> = tenant
        .query_opt("select id from oauth_applications where profile_id = $1", &[&profile.0])
        .await?
        .map(|row| row.try_get("id"))
        .transpose()?;
    let id = present.map_or_else(model::clock::new_id, CredentialId);
    let (bytes, key) = sealed(tenant, ring, id, Part::ClientSecret, secret);
    let row = tenant
        .query_one(
            "insert into oauth_applications as a (organization_id, profile_id, id, grant_type, authorize_url, token_url,
                 client_id, scopes, secret_expires_at, sealed, sealed_with, issuer)
             values (current_organization(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $12)
             on conflict (organization_id, profile_id) do update set
                 grant_type = excluded.grant_type, authorize_url = excluded.authorize_url,
                 token_url = excluded.token_url, client_id = excluded.client_id, scopes = excluded.scopes,
                 issuer = excluded.issuer,
                 secret_expires_at = excluded.secret_expires_at, warned_days = null,
                 sealed = case when $11 then a.sealed else excluded.sealed end,
                 sealed_with = case when $11 then a.sealed_with else excluded.sealed_with end,
                 version = a.version + 1, modified_at = now()
             returning version",
            &[
                &profile.0,
                &id.0,
                &new.grant.as_str(),
                &new.authorize_url,
                &new.token_url,
                &new.client_id,
                &new.scopes,
                &new.secret_expires_at,
                &bytes,
                &key,
                &keeps,
                &new.issuer,
            ],
        )
        .await?;
    if !same {
        forget_credentials(tenant, profile).await?;
    }
    if new.grant == GrantType::ClientCredentials {
        let owner = CredentialOwner::Profile(profile);
        credential::put_oauth(tenant, owner, CredentialKind::ClientCredentials, &new.client_id, by).await?;
    }
    tenant
        .execute(
            "update oauth_tokens t set held_back_until = null, renewing_until = null,
                 access_sealed = null, access_sealed_with = null
             from credentials c left join mailboxes m on m.organization_id = c.organization_id and m.id = c.mailbox_id
             where c.organization_id = t.organization_id and c.id = t.credential_id
               and coalesce(c.profile_id, m.profile_id) = $1",
            &[&profile.0],
        )
        .await?;
    let subject = Subject::Profile(profile);
    alert::resolve(tenant, &[AlertKind::TokenRefused, AlertKind::TokenServerAway], subject, None).await?;
    expiry::renewed(tenant, ExpiringKind::ClientSecret, subject).await?;
    profile::go_on(tenant, profile).await?;
    let change = difference(old.as_ref().map(|old| &old.fields), new);
    let fields = if secret.is_some() { change.named("client_secret") } else { change };
    let version = row.try_get("version")?;
    change::write(tenant, Change { record_type: "oauth_application", id: profile.0, version, by, fields })
        .await?;
    Ok(application(tenant, profile).await?.ok_or_else(unknown)?)
}

/// Forgets a profile's application, with all tokens that it was given. Says whether there was one.
pub async fn remove(tenant: &Tenant, profile: ProfileId, by: &Author) -> Result<bool> {
    let row = tenant
        .query_opt("delete from oauth_applications where profile_id = $1 returning version", &[&profile.0])
        .await?;
    let Some(row) = row else { return Ok(false) };
    forget_credentials(tenant, profile).await?;
    let subject = Subject::Profile(profile);
    alert::resolve(tenant, &[AlertKind::TokenRefused, AlertKind::TokenServerAway], subject, None).await?;
    expiry::renewed(tenant, ExpiringKind::ClientSecret, subject).await?;
    let version: i64 = row.try_get("version")?;
    let fields = Fields::new().changed("deleted", &false, &true);
    let change = Change { record_type: "oauth_application", id: profile.0, version: version + 1, by, fields };
    change::write(tenant, change).await?;
    Ok(true)
}

/// What another application was given opens nothing for this one.
async fn forget_credentials(tenant: &Tenant, profile: ProfileId) -> Result<()> {
    tenant
        .execute(
            "delete from credentials c where c.kind <> 'password' and (c.profile_id = $1 or exists (
                 select from mailboxes m where m.organization_id = c.organization_id and m.id = c.mailbox_id
                    and m.profile_id = $1))",
            &[&profile.0],
        )
        .await?;
    expiry::consents_renewed(tenant, profile).await
}

fn check(new: &ApplicationFields) -> Result<(), Refusal> {
    check_line("token_url", &new.token_url, 1, 2000)?;
    check_line("client_id", &new.client_id, 1, 500)?;
    check_line("scopes", &new.scopes, 0, 2000)?;
    check_time("client_secret_expires_at", new.secret_expires_at)?;
    if let Some(issuer) = &new.issuer {
        check_line("issuer", issuer, 1, 2000)?;
    }
    match (new.grant, &new.authorize_url) {
        (GrantType::AuthorizationCode, None) => Err(Refusal::invalid(
            "authorize_url",
            "people consent at an address of the provider, and none was given",
            "give `authorize_url`, or a `preset` that has it",
        )),
        (GrantType::ClientCredentials, Some(_)) => Err(Refusal::invalid(
            "authorize_url",
            "an application that gets tokens by itself asks nobody for consent",
            "leave `authorize_url` out, or set `grant` to `authorization_code`",
        )),
        (_, Some(url)) => check_line("authorize_url", url, 1, 2000),
        (_, None) => Ok(()),
    }
}

/// One token of the application's own opens many mailboxes: it belongs to the profile.
fn check_client_credentials(profile: &Profile) -> Result<(), Refusal> {
    if profile.fields.limits.credentials_on == CredentialsOn::Profile {
        return Ok(());
    }
    Err(Refusal::invalid(
        "grant",
        format!("the credentials of the profile `{}` live on its mailboxes", profile.fields.name),
        "set the profile's `credentials_on` to `profile` first, or `grant` to `authorization_code`",
    ))
}

fn difference(old: Option<&ApplicationFields>, new: &ApplicationFields) -> Fields {
    let Some(old) = old else {
        return Fields::new()
            .set("grant", new.grant.as_str())
            .set("authorize_url", &new.authorize_url)
            .set("token_url", &new.token_url)
            .set("client_id", &new.client_id)
            .set("scopes", &new.scopes)
            .set("issuer", &new.issuer)
            .set("client_secret_expires_at", new.secret_expires_at);
    };
    Fields::new()
        .changed("grant", &old.grant.as_str(), &new.grant.as_str())
        .changed("authorize_url", &old.authorize_url, &new.authorize_url)
        .changed("token_url", &old.token_url, &new.token_url)
        .changed("client_id", &old.client_id, &new.client_id)
        .changed("scopes", &old.scopes, &new.scopes)
        .changed("issuer", &old.issuer, &new.issuer)
        .changed("client_secret_expires_at", &old.secret_expires_at, &new.secret_expires_at)
}
