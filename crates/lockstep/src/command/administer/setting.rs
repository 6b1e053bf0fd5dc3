//! `lockstep setting …`: what an organization decides for all of its mailboxes.

use clap::Subcommand;
use serde_json::{Value, json};

use super::context::{Context, refused};
use crate::client::Record;
use crate::command::Failure;
use crate::table::{Tone, cell, plain};

pub(super) const EXAMPLES: &str = "Examples:
  lockstep setting list
  lockstep setting set max_message_mb 40
  lockstep setting set max_message_mb --default";

/// What can be done with settings.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List every setting with its value, its default and what it does.
    List,
    /// Show one setting.
    Get {
        /// The setting's name.
        name: String,
    },
    /// Set one setting; it holds from the next cycle of each mailbox.
    Set {
        /// The setting's name.
        name: String,
        /// The new value: a number, a name, or true or false.
        #[arg(required_unless_present = "default")]
        value: Option<String>,
        /// Go back to the default.
        #[arg(long, conflicts_with = "value")]
        default: bool,
    },
}

pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let api = context.api;
    let setting = match command {
        Command::List => {
            let page = api.list(&["settings"], &[], None).await?;
            context.list(
                &page,
                &["setting", "value", "default", "what it does"],
                "There are no settings.",
                |setting| {
                    let tone = if setting.flag("is_set") { Tone::Loud } else { Tone::Plain };
                    vec![
                        cell(setting.text("name"), Tone::Loud),
                        cell(setting.text("value"), tone),
                        cell(setting.text("default"), Tone::Quiet),
                        plain(setting.text("meaning")),
                    ]
                },
            );
            return Ok(());
        }
        Command::Get { name } => api.get(&["settings", &name], &[]).await?,
        Command::Set { name, value, .. } => {
            let value = value.as_deref().map_or(Value::Null, read);
            if value == Value::String(String::new()) {
                return Err(refused(
                    "the value is empty",
                    "give a value, or --default to go back to the default",
                ));
            }
            api.replace(&["settings", &name], &json!({"value": value})).await?
        }
    };
    context.show(&setting, |setting| shown(context, setting));
    Ok(())
}

/// A number, or true or false, when it reads as one, else a name: the API refuses what does not fit.
fn read(text: &str) -> Value {
    let number = text.parse::<i64>().map(Value::from);
    let switch = || text.parse::<bool>().map(Value::from);
    number.or_else(|_| switch()).unwrap_or_else(|_| Value::String(text.to_owned()))
}

fn shown(context: &Context<'_>, setting: Record<'_>) -> String {
    let set = if setting.flag("is_set") { "" } else { " (the default)" };
    let facts = context.look.facts([
        ("value", cell(format!("{}{set}", setting.text("value")), Tone::Loud)),
        ("default", plain(setting.text("default"))),
        ("may be", plain(setting.text("range"))),
        ("what it does", plain(setting.text("meaning"))),
        ("in the reference", plain(setting.text("reference"))),
    ]);
    context.described(&setting.text("name"), &facts)
}
