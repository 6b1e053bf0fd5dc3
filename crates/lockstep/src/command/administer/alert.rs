//! `lockstep alert …`: what went wrong, in sentences, with what to do about it.

use clap::Subcommand;
use comfy_table::Cell;
use model::alert::AlertKind;
use serde_json::Value;

use super::Extent;
use super::context::{Context, refused};
use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::table::{Tone, cell, plain, words};

pub(super) const EXAMPLES: &str = "Examples:
  lockstep alert list
  lockstep alert list --mailbox anna@example.com --closed
  lockstep alert show 0198c2f4-…
  lockstep alert dismiss 0198c2f4-…

An alert closes by itself when its cause has passed, and is raised anew if the cause shows again.";

/// What can be done with alerts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the open alerts, the newest first.
    List {
        /// About this mailbox, by address or id.
        #[arg(long)]
        mailbox: Option<String>,
        /// About this profile, by name or id.
        #[arg(long)]
        profile: Option<String>,
        /// About this email, by id.
        #[arg(long)]
        email: Option<String>,
        /// Of this kind, such as `credentials_refused`.
        #[arg(long)]
        kind: Option<AlertKind>,
        /// Also those whose cause has passed or that were put away.
        #[arg(long)]
        closed: bool,
        #[command(flatten)]
        extent: Extent,
    },
    /// Show one alert: what happened, what to do, and the server's own words.
    Show {
        /// The alert's id.
        alert: String,
    },
    /// Put an alert away.
    Dismiss {
        /// The alert's id.
        alert: String,
    },
}

pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let api = context.api;
    match command {
        Command::List { mailbox, profile, email, kind, closed, extent } => {
            let mut query = Vec::new();
            if let Some(mailbox) = mailbox {
                query.push(("mailbox", api.id(Noun::Mailbox, &mailbox).await?));
            }
            if let Some(profile) = profile {
                query.push(("profile", api.id(Noun::Profile, &profile).await?));
            }
            query.extend(email.map(|email| ("email", email)));
            query.extend(kind.map(|kind| ("kind", kind.to_string())));
            if closed {
                query.push(("closed", "true".to_owned()));
            }
            let page = api.list(&["alerts"], &query, extent.most()).await?;
            let columns = ["level", "what happened", "times", "last", "id"];
            context.list(&page, &columns, "There are no open alerts.", |alert| row(context, alert));
        }
        Command::Show { alert } => {
            let alert = one(context, &alert).await?;
            context.show(&alert, |alert| shown(context, alert));
        }
        Command::Dismiss { alert } => {
            let answer = api.post(&["alerts", &alert, "dismiss"], &Value::Null).await?;
            context.show(&answer, |_| "Put away. It is raised anew if its cause shows again.".to_owned());
        }
    }
    Ok(())
}

/// One alert, out of the list of all: the API has no path of its own for it.
async fn one(context: &Context<'_>, id: &str) -> Result<Value, Failure> {
    let page = context.api.list(&["alerts"], &[("closed", "true".to_owned())], None).await?;
    let found =
        Record(&page).items().into_iter().find(|alert| alert.text("id") == id).map(|alert| alert.0.clone());
    found.ok_or_else(|| {
        refused(&format!("there is no alert {id}"), "`lockstep alert list --closed` shows all with their ids")
    })
}

/// A level in its tone.
pub(super) fn level(alert: Record<'_>) -> Cell {
    let level = alert.text("level");
    cell(level.clone(), Tone::of(&level))
}

fn row(context: &Context<'_>, alert: Record<'_>) -> Vec<Cell> {
    vec![
        level(alert),
        plain(alert.text("happened")),
        plain(alert.text("count")),
        plain(context.ago(alert.time("last_at"))),
        cell(alert.text("id"), Tone::Quiet),
    ]
}

fn shown(context: &Context<'_>, alert: Record<'_>) -> String {
    let class = match alert.text("class").as_str() {
        "permanent" => "Lockstep has stopped trying",
        "transient" => "Lockstep tries again by itself",
        _ => "",
    };
    let facts = context.look.facts([
        ("level", level(alert)),
        ("what happened", plain(alert.text("happened"))),
        ("what to do", cell(alert.text("remedy"), Tone::Loud)),
        ("the server said", plain(alert.text("server_said"))),
        ("and now", plain(class)),
        ("times", plain(alert.text("count"))),
        ("first", plain(context.when(alert.time("first_at")))),
        ("last", plain(context.when(alert.time("last_at")))),
        ("passed", plain(context.when(alert.time("resolved_at")))),
        ("put away", plain(context.when(alert.time("dismissed_at")))),
        ("mailbox", plain(alert.text("mailbox"))),
        ("profile", plain(alert.text("profile"))),
        ("email", plain(alert.text("email"))),
        ("kind", plain(words(&alert.text("kind")))),
        ("more", plain(alert.text("page"))),
        ("id", cell(alert.text("id"), Tone::Quiet)),
    ]);
    context.described(&alert.text("title"), &facts)
}
