//! `lockstep mailbox folders`: which folders a mailbox has, and which of them are read.

use std::fmt::Write as _;

use clap::Args;
use model::folder::Problem;
use serde_json::json;

use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::command::administer::context::Context;
use crate::table::{self, Tone, cell, plain, state};

/// What to show or to choose.
#[derive(Debug, Args)]
pub struct Folders {
    /// The address or id.
    mailbox: String,
    /// Read this folder beside the inbox, by its path such as Archive or Inbox/Support, and no others than those that are named
    /// here. May be repeated. A folder stays the same when it is renamed.
    #[arg(long = "read", value_name = "PATH")]
    read: Vec<String>,
    /// Read the inbox alone.
    #[arg(long, conflicts_with = "read")]
    inbox_only: bool,
}

impl Folders {
    pub(super) async fn run(self, context: &Context<'_>) -> Result<(), Failure> {
        let id = context.api.id(Noun::Mailbox, &self.mailbox).await?;
        let path = ["mailboxes", &id, "folders"];
        let answer = if self.inbox_only || !self.read.is_empty() {
            context.api.replace(&path, &json!({"read": self.read})).await?
        } else {
            context.api.get(&path, &[]).await?
        };
        context.show(&answer, |answer| shown(context, answer));
        Ok(())
    }
}

fn shown(context: &Context<'_>, answer: Record<'_>) -> String {
    let mut text = String::new();
    for chosen in answer.list("read") {
        let path = chosen.text("path");
        let problem = chosen.filled("problem").and_then(|problem| problem.parse::<Problem>().ok());
        let why = match problem {
            Some(problem) => problem.words(),
            None if chosen.filled("folder").is_none() => "it is looked for when the mailbox is read next",
            None => continue,
        };
        let _ = writeln!(text, "{path} is to be read and is not: {why}.");
    }
    let folders = answer.list("folders");
    if folders.is_empty() {
        text.push_str("No folders are known: the mailbox was not read yet, or its server has none.");
        return text;
    }
    let mut table = context.look.table(&["folder", "read", "class", "used for", "id"]);
    for folder in folders {
        table.add_row(vec![
            plain(folder.text("path")),
            state(if folder.flag("read") { "yes" } else { "-" }),
            plain(folder.text("class")),
            plain(folder.text("role")),
            cell(folder.text("id"), Tone::Quiet),
        ]);
    }
    let _ = write!(text, "{}\nAsked for {}.", table::drawn(&table), context.ago(answer.time("listed_at")));
    text
}
