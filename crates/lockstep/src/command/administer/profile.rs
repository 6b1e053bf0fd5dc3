//! `lockstep profile …`: mail servers, how they are reached, and how much of them may be used.

mod arguments;
mod location;
mod oauth;
mod rates;

use clap::Subcommand;
use comfy_table::Cell;
use serde_json::{Value, json};

use super::context::Context;
use super::delete::Sure;
use super::input::{Password, exposed};
use super::{Extent, delete, mailbox};
use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::table::{Tone, cell, count, plain, words};

pub(super) const EXAMPLES: &str = "The first profile:
  lockstep profile create Example --incoming mail.example.com:995 --outgoing mail.example.com:587

A server with a certificate of its own authority, and one credential for all mailboxes:
  lockstep profile create Example --incoming mail.example.com --outgoing mail.example.com \\
      --ca-file authority.pem --credentials-on profile
  lockstep profile set-password Example --username service@example.com

An Exchange server, asked in everybody's name by one account that may impersonate them:
  lockstep profile create Exchange --exchange https://mail.example.com/EWS/Exchange.asmx --credentials-on profile
  lockstep profile set-password Exchange --username 'EXAMPLE\\lockstep'

Exchange servers that autodiscover finds, each mailbox's from its address:
  lockstep profile create Exchange --exchange auto

A server that takes no more than ten messages a minute from a mailbox:
  lockstep profile rates Example --rate '10 messages/60s per mailbox'

A large provider, signed in to by consent instead of passwords:
  lockstep profile create Google --preset google
  lockstep profile set-oauth Google --preset google --client-id ID --secret-expires 2027-01-31T00:00:00Z
  lockstep mailbox consent anna@example.com

Then map mailboxes to it: lockstep mailbox create --help";

/// What can be done with profiles.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Name a mail server. Its host names are resolved at once; whether it answers is found by testing a mailbox.
    Create(Box<arguments::Create>),
    /// List the profiles.
    List {
        #[command(flatten)]
        extent: Extent,
    },
    /// Show one profile.
    Show {
        /// The name or id.
        profile: String,
    },
    /// Change a profile; what is left out stays. One that leads to another server stops its mailboxes until they are
    /// tested and enabled again.
    Update(Box<arguments::Update>),
    /// Remove a profile that no mailbox uses.
    ///
    /// Shows what would go and what stays, and asks.
    Delete {
        /// The name or id.
        profile: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// Let a host that autodiscover leads to hear the credentials of the profile's mailboxes.
    ///
    /// Autodiscover goes only to hosts under a mailbox's domain and to those that are allowed here; a test shows the host that it
    /// would go to. Allow a host only when you know whose it is: it will be told passwords.
    AllowHost {
        /// The name or id.
        profile: String,
        /// The host, such as `mail.example.com`; `.example.com` stands for all under it.
        host: String,
        /// Take it back: the profile's mailboxes stop until they are tested and enabled again.
        #[arg(long)]
        forget: bool,
    },
    /// Store the password that serves all mailboxes, where credentials live on the profile. It never comes out again.
    SetPassword {
        /// The name or id.
        profile: String,
        /// The login at the mail server.
        #[arg(long, value_name = "LOGIN")]
        username: String,
        #[command(flatten)]
        password: Password,
    },
    /// Store how Lockstep is known at the provider, to sign in by tokens instead of passwords. The secret is asked for, and
    /// never comes out again.
    SetOauth(Box<oauth::SetOAuth>),
    /// Ask for the link by which somebody consents to all mailboxes of the profile, where credentials live on the profile.
    Consent {
        /// The name or id.
        profile: String,
        /// Who is to consent: the login that the mailboxes are read with.
        #[arg(long, value_name = "LOGIN")]
        username: String,
    },
    /// List the providers whose servers are known, for `create --preset` and `set-oauth --preset`.
    Presets,
    /// Show or set how much the profile's servers take in a time: messages, requests, bytes.
    ///
    /// Mailboxes go as fast as that and wait then, with the reason `rate_spent`.
    Rates(Box<rates::Pace>),
    /// Test and enable all mailboxes of the profile.
    ///
    /// Runs as one job that starts another for each mailbox; waits for all and names those that did not pass. Fails when one
    /// does not.
    Test {
        /// The name or id.
        profile: String,
        /// Start the tests and do not wait for them.
        #[arg(long)]
        no_wait: bool,
    },
}

pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let api = context.api;
    match command {
        Command::Create(new) => {
            let profile = api.post(&["profiles"], &new.body()?).await?;
            context.show(&profile, |profile| {
                let name = quoted(&profile.text("name"));
                let next = if profile.text("credentials_on") == "profile" {
                    format!("lockstep profile set-password {name} --username LOGIN")
                } else {
                    format!("lockstep mailbox create ADDRESS --profile {name} --owner ADDRESS")
                };
                format!("{}\n Next: {}\n", shown(context, profile), context.look.text(&next, Tone::Loud))
            });
        }
        Command::List { extent } => {
            let page = api.list(&["profiles"], &[], extent.most()).await?;
            let empty = "There are no profiles yet. Name the first mail server: lockstep profile create --help shows how";
            let columns = ["name", "incoming", "outgoing", "credentials", "mailboxes", "state"];
            context.list(&page, &columns, empty, row);
        }
        Command::Show { profile } => {
            let id = api.id(Noun::Profile, &profile).await?;
            let profile = api.get(&["profiles", &id], &[]).await?;
            context.show(&profile, |profile| shown(context, profile));
        }
        Command::Update(change) => {
            let id = api.id(Noun::Profile, &change.profile).await?;
            let present = api.get(&["profiles", &id], &[]).await?;
            let version = Record(&present).number("version");
            let body = change.body(Record(&present))?;
            let profile = api.patch(&["profiles", &id], Some(version), &body).await?;
            context.show(&profile, |profile| shown(context, profile));
        }
        Command::Delete { profile, sure } => {
            let id = api.id(Noun::Profile, &profile).await?;
            delete::run(context, ["profiles", &id], sure).await?;
        }
        Command::AllowHost { profile, host, forget } => {
            let id = api.id(Noun::Profile, &profile).await?;
            let present = api.get(&["profiles", &id], &[]).await?;
            let body = allowed(&present, &host.to_lowercase(), forget);
            let version = Record(&present).number("version");
            let profile = api.patch(&["profiles", &id], Some(version), &body).await?;
            context.show(&profile, |profile| shown(context, profile));
        }
        Command::SetPassword { profile, username, password } => {
            let id = api.id(Noun::Profile, &profile).await?;
            let password = password.read(&username)?;
            let body = json!({"username": username, "password": exposed(&password)});
            let answer = api.put(&["profiles", &id, "credential"], &body).await?;
            context.show(&answer, |_| {
                let name = quoted(&profile);
                format!("Stored the password of {username}. Try it: lockstep profile test {name}")
            });
        }
        Command::SetOauth(new) => oauth::set(context, *new).await?,
        Command::Consent { profile, username } => {
            let id = api.id(Noun::Profile, &profile).await?;
            oauth::consent(context, &["profiles", &id, "consent"], &json!({"username": username})).await?;
        }
        Command::Rates(wanted) => rates::run(context, *wanted).await?,
        Command::Presets => oauth::presets(context).await?,
        Command::Test { profile, no_wait } => {
            let id = api.id(Noun::Profile, &profile).await?;
            mailbox::test_profile(context, &id, !no_wait).await?;
        }
    }
    Ok(())
}

pub(super) use oauth::consent;

/// A profile's Exchange server, with one host more or one less that may hear the credentials.
fn allowed(present: &Value, host: &str, forget: bool) -> Value {
    let mut exchange = present["exchange"].clone();
    let mut hosts: Vec<Value> = exchange["hosts"].as_array().cloned().unwrap_or_default();
    hosts.retain(|known| known.as_str() != Some(host));
    if !forget {
        hosts.push(json!(host));
    }
    if !exchange.is_object() {
        exchange = json!({});
    }
    exchange["hosts"] = json!(hosts);
    json!({"exchange": exchange})
}

/// A name as a shell takes it.
fn quoted(name: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '-' | '_' | '.' | '@');
    if !name.is_empty() && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("'{}'", name.replace('\'', r"'\''"))
    }
}

fn row(profile: Record<'_>) -> Vec<Cell> {
    vec![
        cell(profile.text("name"), Tone::Loud),
        plain(location(profile, "incoming")),
        plain(location(profile, "outgoing")),
        credentials(profile),
        plain(profile.text("mailboxes")),
        standing(profile),
    ]
}

fn location(profile: Record<'_>, which: &str) -> String {
    if profile.at("exchange").is_some() && profile.filled("exchange.url").is_none() {
        return "autodiscover".to_owned();
    }
    format!("{}:{}", profile.text(&format!("{which}.host")), profile.text(&format!("{which}.port")))
}

fn credentials(profile: Record<'_>) -> Cell {
    match (profile.text("credentials_on").as_str(), profile.filled("credential.username")) {
        ("profile", Some(username)) => plain(format!("here: {username}")),
        ("profile", None) => cell("here: none stored yet", Tone::Uneasy),
        _ => plain("on each mailbox"),
    }
}

fn standing(profile: Record<'_>) -> Cell {
    match profile.filled("paused_reason") {
        Some(reason) => cell(format!("paused: {}", words(&reason)), Tone::Bad),
        None => cell("open", Tone::Good),
    }
}

/// Where the web services are, or that they are found.
fn found(profile: Record<'_>) -> String {
    match (profile.at("exchange").is_some(), profile.filled("exchange.url")) {
        (true, None) => "found by autodiscover, for each mailbox".to_owned(),
        (_, url) => url.unwrap_or_default(),
    }
}

fn hosts(profile: Record<'_>) -> String {
    let hosts = profile.at("exchange.hosts").and_then(Value::as_array);
    let hosts = hosts.map(|hosts| hosts.iter().filter_map(Value::as_str).collect::<Vec<_>>());
    hosts.unwrap_or_default().join(", ")
}

fn shown(context: &Context<'_>, profile: Record<'_>) -> String {
    let server = |which: &str, protocol: &str| {
        let tls = match profile.text(&format!("{which}.tls")).as_str() {
            "start_tls" => "STARTTLS",
            _ => "TLS from the first byte",
        };
        plain(format!("{} ({protocol}, {tls})", location(profile, which)))
    };
    let exchange = profile.at("exchange").is_some();
    let limit = match profile.text("credentials_on").as_str() {
        "profile" => format!("{} connections at once to each server", profile.text("max_connections")),
        _ => format!(
            "{} at once to each server, {} for each mailbox",
            count(profile.number("max_in_flight"), "connection", "connections"),
            profile.text("max_connections")
        ),
    };
    let polling = match profile.number("min_polling_minutes") {
        0 => String::new(),
        minutes => format!("at most every {}", count(minutes, "minute", "minutes")),
    };
    let authority =
        if profile.at("ca_certificate").is_some() { "its own, beside the system's" } else { "the system's" };
    let facts = context.look.facts([
        ("description", plain(profile.text("description"))),
        ("incoming", if exchange { plain("") } else { server("incoming", "POP3") }),
        ("outgoing", if exchange { plain("") } else { server("outgoing", "SMTP") }),
        ("exchange", plain(found(profile))),
        ("autodiscover", plain(profile.text("exchange.autodiscover_url"))),
        ("allowed hosts", plain(hosts(profile))),
        ("access", plain(profile.text("exchange.access"))),
        ("authority", plain(authority)),
        ("credentials", credentials(profile)),
        ("stored", plain(context.when(profile.time("credential.modified_at")))),
        ("limit", plain(limit)),
        ("polling", plain(polling)),
        ("connecting", plain(format!("{} ms at most", profile.text("connect_timeout_ms")))),
        ("received after", plain(context.when(profile.time("process_email_received_after")))),
        ("state", standing(profile)),
        ("mailboxes", plain(profile.text("mailboxes"))),
        ("external id", plain(profile.text("external_id"))),
        ("changed", plain(context.when(profile.time("modified_at")))),
        ("id", cell(profile.text("id"), Tone::Quiet)),
    ]);
    context.described(&profile.text("name"), &facts)
}
