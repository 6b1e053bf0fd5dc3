//! `lockstep profile set-oauth`, `consent` and `presets`: signing in by tokens instead of passwords.

use clap::Args;
use comfy_table::Cell;
use jiff::Timestamp;
use model::credential::GrantType;
use serde_json::{Value, json};

use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::command::administer::context::Context;
use crate::command::administer::given;
use crate::command::administer::input::{Password, exposed};
use crate::table::{Tone, cell, plain};

/// An application as the provider knows it.
#[derive(Debug, Args)]
pub struct SetOAuth {
    /// The name or id.
    profile: String,
    /// A provider whose addresses and scopes are taken where none are given: `lockstep profile presets` lists them.
    #[arg(long, value_name = "PRESET")]
    preset: Option<String>,
    /// How the application gets tokens: `authorization_code` (people consent) or `client_credentials` (by its own secret,
    /// for all mailboxes; the profile's credentials live on the profile then).
    #[arg(long, value_name = "GRANT", default_value = "authorization_code")]
    grant: GrantType,
    /// The application's name at the provider.
    #[arg(long, value_name = "ID")]
    client_id: String,
    /// The application has no secret (a public client), or the one that is stored stays.
    #[arg(long)]
    no_secret: bool,
    /// When the provider will not take the secret any more, such as 2027-01-31T00:00:00Z; an alert says so ahead.
    #[arg(long, value_name = "TIME")]
    secret_expires: Option<Timestamp>,
    /// Where people consent; a provider that wants more for a refresh token has it in the query.
    #[arg(long, value_name = "URL")]
    authorize_url: Option<String>,
    /// Where tokens are given out.
    #[arg(long, value_name = "URL")]
    token_url: Option<String>,
    /// What to ask for, separated by spaces.
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
    /// What the provider calls itself in its answers (RFC 9207): `issuer` in its metadata, where that also has
    /// `authorization_response_iss_parameter_supported`. An answer of anybody else is not taken then.
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    #[command(flatten)]
    secret: Password,
}

pub(super) async fn set(context: &Context<'_>, new: SetOAuth) -> Result<(), Failure> {
    let id = context.api.id(Noun::Profile, &new.profile).await?;
    let secret = if new.no_secret { None } else { Some(new.secret.read(&new.client_id)?) };
    let body = given([
        ("preset", new.preset.map(Value::from)),
        ("grant", Some(json!(new.grant.as_str()))),
        ("client_id", Some(new.client_id.into())),
        ("client_secret", secret.as_ref().map(|secret| exposed(secret).into())),
        ("client_secret_expires_at", new.secret_expires.map(|time| json!(time))),
        ("authorize_url", new.authorize_url.map(Value::from)),
        ("token_url", new.token_url.map(Value::from)),
        ("scopes", new.scopes.map(Value::from)),
        ("issuer", new.issuer.map(Value::from)),
    ])?;
    let stored = context.api.put(&["profiles", &id, "oauth"], &body).await?;
    context.show(&stored, |stored| {
        let next = match new.grant {
            GrantType::AuthorizationCode => format!(
                " Register this address at the provider, where consent leads back to: {}\n Then ask for consent: lockstep \
                 mailbox consent ADDRESS\n",
                stored.text("redirect_uri")
            ),
            GrantType::ClientCredentials => {
                format!(" Try it: lockstep profile test {}\n", super::quoted(&new.profile))
            }
        };
        format!("Stored the application {} of {}.\n{next}", stored.text("client_id"), new.profile)
    });
    Ok(())
}

/// Asks for a link, of a mailbox or a profile, and shows it.
pub(in crate::command::administer) async fn consent(
    context: &Context<'_>,
    path: &[&str],
    body: &Value,
) -> Result<(), Failure> {
    let link = context.api.post(path, body).await?;
    context.show(&link, |link| {
        format!(
            "Open this link as whoever owns {}, and consent there. It holds once, for an hour; whoever has it decides whose \
             mailbox it becomes.\n\n{}\n",
            link.text("username"),
            link.text("url")
        )
    });
    Ok(())
}

pub(super) async fn presets(context: &Context<'_>) -> Result<(), Failure> {
    let mut page = context.api.get(&["presets"], &[]).await?;
    page["next_cursor"] = Value::Null;
    let columns = ["preset", "provider", "incoming", "outgoing", "tokens", "notes"];
    context.list(&page, &columns, "There are none.", row);
    Ok(())
}

fn row(preset: Record<'_>) -> Vec<Cell> {
    vec![
        cell(preset.text("name"), Tone::Loud),
        plain(preset.text("title")),
        plain(super::location(preset, "incoming")),
        plain(super::location(preset, "outgoing")),
        plain(if preset.at("oauth").is_some() { "yes" } else { "no" }),
        cell(preset.text("notes"), Tone::Quiet),
    ]
}
