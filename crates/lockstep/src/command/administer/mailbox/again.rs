//! `lockstep mailbox re-examine`: how much was passed over, a question, and the request.

use std::io::{BufRead as _, IsTerminal as _};

use clap::Args;
use model::email::Decision;
use serde_json::{Value, json};

use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::command::administer::context::{Context, refused};
use crate::command::administer::follow;
use crate::table::{self, count, plain, state};

/// What to examine again.
#[derive(Debug, Args)]
pub struct ReExamine {
    /// The address or id.
    #[arg(required_unless_present_any = ["profile", "all"], conflicts_with_all = ["profile", "all"])]
    mailbox: Option<String>,
    /// All mailboxes of this profile, by name or id: after its `process_email_received_after` was changed.
    #[arg(long, conflicts_with = "all")]
    profile: Option<String>,
    /// All mailboxes: after the setting `max_message_mb` was raised.
    #[arg(long)]
    all: bool,
    /// Only messages with this decision: `not_accepted`, `before_the_floor`, `too_large` or undeliverable. May be repeated.
    #[arg(long = "decision", value_name = "DECISION")]
    decisions: Vec<Decision>,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

impl ReExamine {
    pub(super) async fn run(self, context: &Context<'_>) -> Result<(), Failure> {
        let api = context.api;
        let under: Vec<String> = match (&self.mailbox, &self.profile) {
            (Some(mailbox), _) => vec!["mailboxes".to_owned(), api.id(Noun::Mailbox, mailbox).await?],
            (None, Some(profile)) => vec!["profiles".to_owned(), api.id(Noun::Profile, profile).await?],
            (None, None) => Vec::new(),
        };
        let path = |last: &'static str| {
            under.iter().map(String::as_str).chain(std::iter::once(last)).collect::<Vec<_>>()
        };
        let counted = api.get(&path("re-examination"), &[]).await?;
        let total = self.total(Record(&counted));
        if !context.json {
            context.show(&counted, |counted| shown(context, counted));
        }
        if total == 0 {
            if context.json {
                context.document(&json!({"items": 0, "mailboxes": 0, "mailboxes_off": 0}));
            }
            return Ok(());
        }
        if !self.yes && !agreed(total)? {
            context.say("Nothing was asked for.\n");
            return Ok(());
        }
        let decisions = if self.decisions.is_empty() { Value::Null } else { json!(self.decisions) };
        let asked = api.post(&path("re-examine"), &json!({"decisions": decisions})).await?;
        if self.mailbox.is_none() {
            // Over many mailboxes it is a job.
            return follow::one(context, &Record(&asked).text("id")).await.map(drop);
        }
        context.show(&asked, done);
        Ok(())
    }

    /// How many messages the request is about.
    fn total(&self, counted: Record<'_>) -> i64 {
        let wanted = |passed: &Record<'_>| {
            let decision = passed.text("decision");
            self.decisions.is_empty() || self.decisions.iter().any(|one| one.as_str() == decision)
        };
        counted.list("decisions").iter().filter(|passed| wanted(passed)).map(|one| one.number("could")).sum()
    }
}

fn shown(context: &Context<'_>, counted: Record<'_>) -> String {
    let decisions = counted.list("decisions");
    let waiting = match counted.number("waiting") {
        0 => String::new(),
        waiting => format!(
            " {} asked for before, and not judged yet.\n",
            count(waiting, "message was", "messages were")
        ),
    };
    if decisions.is_empty() {
        return format!(
            "Nothing was passed over that today's acceptance, floor and limit would let in.\n{waiting}"
        );
    }
    let mut drawn = context.look.table(&["decision", "could come in now", "gone from the server"]);
    for passed in decisions {
        drawn.add_row([
            state(&passed.text("decision")),
            plain(passed.text("could")),
            plain(passed.text("gone")),
        ]);
    }
    format!("{}{waiting}", table::drawn(&drawn))
}

/// Asks on a terminal; where there is none, nobody can agree.
fn agreed(total: i64) -> Result<bool, Failure> {
    let messages = count(total, "message", "messages");
    if !std::io::stdin().is_terminal() {
        return Err(refused(
            &format!("{messages} would be fetched and judged again, and there is no terminal to ask"),
            "give --yes",
        ));
    }
    let mut terminal = console::Term::stderr();
    let _ = std::io::Write::write_all(
        &mut terminal,
        format!("Have {messages} fetched and judged again? [y/N] ").as_bytes(),
    );
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| refused(&format!("no answer could be read: {error}"), "give --yes"))?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn done(asked: Record<'_>) -> String {
    let messages = count(asked.number("items"), "message is", "messages are");
    let mailboxes = count(asked.number("mailboxes"), "mailbox", "mailboxes");
    let off = match asked.number("mailboxes_off") {
        0 => String::new(),
        off => {
            format!(
                "\nIncoming mail is off in {}: that waits until it is on.",
                count(off, "mailbox", "mailboxes")
            )
        }
    };
    format!("{messages} fetched and judged again by the next incoming cycle of {mailboxes}.{off}")
}
