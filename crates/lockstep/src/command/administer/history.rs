//! `lockstep history …` and `lockstep changes`: who changed what, when, from which value to which.

use std::fmt::Write as _;

use clap::Args;
use comfy_table::Cell;
use serde_json::Value;

use super::Extent;
use super::context::{Context, refused};
use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::table::{Tone, cell, drawn, plain};

/// The history of one record.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lockstep history mailbox anna@example.com
  lockstep history mailbox anna@example.com --field owner
  lockstep history email 01989c5e-7d5e-7cc0-8000-000000000000
  lockstep history setting max_message_mb")]
pub struct History {
    /// Print what the API answers, as one JSON document.
    #[arg(long)]
    pub(super) json: bool,
    /// The noun: mailbox, user, queue, profile, email, contact, key, alert, job, credential, setting, …
    #[arg(value_name = "NOUN")]
    noun: String,
    /// Which: an address, a name or an id; the id of what is gone. Of settings a name, or all when left out.
    #[arg(value_name = "WHICH")]
    which: Option<String>,
    /// Only what changed this field.
    #[arg(long)]
    field: Option<String>,
    #[command(flatten)]
    extent: Extent,
}

/// The change feed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lockstep changes --after now --follow
  lockstep changes --after 1.7342.118 --json")]
pub struct Changes {
    /// Print what the API answers, as one JSON document; with --follow one on each line.
    #[arg(long)]
    pub(super) json: bool,
    /// Go on behind this place, which an earlier call gave; `now` for the end. From the oldest change that is kept when
    /// left out.
    #[arg(long, value_name = "PLACE")]
    after: Option<String>,
    /// Only changes of this noun, such as mailbox.
    #[arg(long, value_name = "NOUN")]
    noun: Option<String>,
    /// Show at most this many.
    #[arg(long, value_name = "NUMBER", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    limit: u32,
    /// Go on and on, and show each change as it comes.
    #[arg(long)]
    follow: bool,
}

const COLUMNS: [&str; 5] = ["when", "who", "by", "record", "what"];

pub(super) async fn history(context: &Context<'_>, asked: History) -> Result<(), Failure> {
    let api = context.api;
    let mut query = vec![("record_type", asked.noun.clone())];
    let mut field = asked.field;
    let id = match (asked.noun.as_str(), asked.which) {
        ("setting", name) => {
            if field.is_none() {
                field = name;
            }
            Record(&api.get(&["me"], &[]).await?).text("organization.id")
        }
        (_, None) => return Err(refused("it is not said which", "give an address, a name or an id")),
        ("mailbox", Some(which)) => api.id(Noun::Mailbox, &which).await?,
        ("user", Some(which)) => api.id(Noun::User, &which).await?,
        ("queue", Some(which)) => api.id(Noun::Queue, &which).await?,
        ("profile", Some(which)) => api.id(Noun::Profile, &which).await?,
        (_, Some(id)) => id,
    };
    query.push(("record_id", id));
    query.extend(field.map(|field| ("field", field)));
    let page = api.list(&["changes"], &query, asked.extent.most()).await?;
    let empty = "Nothing is written down about it: it is unknown, or older than changes are kept (`changes_kept_days`).";
    context.list(&page, &COLUMNS, empty, |change| row(context, change));
    Ok(())
}

pub(super) async fn changes(context: &Context<'_>, asked: Changes) -> Result<(), Failure> {
    let mut after = asked.after;
    loop {
        let mut query = vec![("limit", asked.limit.to_string())];
        query.extend(after.map(|after| ("after", after)));
        query.extend(asked.noun.clone().map(|noun| ("record_type", noun)));
        if asked.follow {
            query.push(("wait", "20".to_owned()));
        }
        let page = context.api.get(&["changes"], &query).await?;
        let feed = Record(&page);
        after = feed.filled("after");
        if asked.follow {
            if context.json {
                for item in feed.items() {
                    context.say(&format!("{}\n", item.0));
                }
            } else if !feed.items().is_empty() {
                context.say(&table(context, feed));
            }
            continue;
        }
        context.show(&page, |feed| shown(context, feed));
        return Ok(());
    }
}

fn shown(context: &Context<'_>, feed: Record<'_>) -> String {
    let mut text = if feed.items().is_empty() {
        "Nothing has changed since.\n".to_owned()
    } else {
        table(context, feed)
    };
    if let Some(since) = feed.time("held_back.since") {
        let number = feed.text("held_back.changes");
        let since = context.when(Some(since));
        let _ = writeln!(
            text,
            "\n {number} more wait for an older transaction to end, the oldest since {since}."
        );
    }
    let more = if feed.flag("more") { "There are more. " } else { "" };
    let _ = writeln!(text, "\n {more}Go on: lockstep changes --after {}", feed.text("after"));
    text
}

fn table(context: &Context<'_>, feed: Record<'_>) -> String {
    let mut table = context.look.table(&COLUMNS);
    table.add_rows(feed.items().into_iter().map(|change| row(context, change)));
    drawn(&table)
}

fn row(context: &Context<'_>, change: Record<'_>) -> Vec<Cell> {
    let who = change.filled("actor_name").unwrap_or_else(|| change.text("actor_id"));
    let name = change.filled("record_name").unwrap_or_else(|| change.text("record_id"));
    vec![
        plain(context.when(change.time("at"))),
        cell(who, Tone::Loud),
        plain(change.text("actor_kind")),
        plain(format!("{} {name}", change.text("record_type"))),
        plain(fields(change.at("fields"))),
    ]
}

/// A line for each field: `name: old → new`; the name alone of what must not be written down.
fn fields(fields: Option<&Value>) -> String {
    let Some(Value::Object(fields)) = fields else { return String::new() };
    let lines = fields.iter().map(|(name, value)| {
        let value = Record(value);
        match (value.at("old"), value.at("new")) {
            (None, None) => name.clone(),
            (None, Some(_)) => format!("{name}: {}", value.text("new")),
            (Some(_), None) => format!("{name}: {} → nothing", value.text("old")),
            _ => format!("{name}: {} → {}", value.text("old"), value.text("new")),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_and_a_value_is_told_from_old_to_new() {
        let changed = serde_json::json!({
            "name": {"old": "Ada", "new": "Countess"}, "password": {}, "owner": {"old": null, "new": "x"},
            "gone": {"old": 1, "new": null},
        });
        let text = fields(Some(&changed));
        assert_eq!(text, "gone: 1 → nothing\nname: Ada → Countess\nowner: x\npassword");
    }
}
