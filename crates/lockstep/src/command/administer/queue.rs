//! `lockstep queue …`: shared inboxes and their members.

use clap::Subcommand;
use serde_json::{Value, json};

use super::Extent;
use super::context::Context;
use super::delete::{self, Sure};
use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::table::{Tone, cell, count, plain};

pub(super) const EXAMPLES: &str = "Examples:
  lockstep queue create support@example.com --name Support --member anna@example.com
  lockstep queue add-member support@example.com ben@example.com
  lockstep queue list

Then give the queue a mailbox: lockstep mailbox create --help";

/// What can be done with queues.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a shared inbox.
    Create {
        /// The email address, unique among the organization's queues.
        address: String,
        /// The name to show; what stands before the @ when left out.
        #[arg(long)]
        name: Option<String>,
        /// A user who may read it and send for it, by address or id; may be given several times.
        #[arg(long = "member", value_name = "USER")]
        members: Vec<String>,
        /// The id of the queue in your application.
        #[arg(long, value_name = "ID")]
        external_id: Option<String>,
    },
    /// List the queues.
    List {
        #[command(flatten)]
        extent: Extent,
    },
    /// Show one queue with its members.
    Show {
        /// The address or id.
        queue: String,
    },
    /// Change a queue; what is left out stays.
    Update {
        /// The address or id.
        queue: String,
        /// Another name.
        #[arg(long)]
        name: Option<String>,
        /// Another address.
        #[arg(long)]
        address: Option<String>,
    },
    /// Remove a shared inbox. What it received and sent stays, for administrators.
    ///
    /// Shows what would go and what stays, and asks.
    Delete {
        /// The address or id.
        queue: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// Let a user read the queue and send for it.
    AddMember {
        /// The queue's address or id.
        queue: String,
        /// The user's address or id.
        user: String,
    },
    /// Take a user out of the queue.
    RemoveMember {
        /// The queue's address or id.
        queue: String,
        /// The user's address or id.
        user: String,
    },
}

pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let api = context.api;
    let queue = match command {
        Command::Create { address, name, members, external_id } => {
            let name = name.unwrap_or_else(|| address.split('@').next().unwrap_or(&address).to_owned());
            let mut ids = Vec::with_capacity(members.len());
            for member in &members {
                ids.push(api.id(Noun::User, member).await?);
            }
            let body = json!({"name": name, "address": address, "members": ids, "external_id": external_id});
            api.post(&["queues"], &body).await?
        }
        Command::List { extent } => {
            let page = api.list(&["queues"], &[], extent.most()).await?;
            let empty = "There are no queues yet. Make one: lockstep queue create ADDRESS --member USER";
            context.list(&page, &["address", "name", "members", "since"], empty, |queue| {
                vec![
                    cell(queue.text("address"), Tone::Loud),
                    plain(queue.text("name")),
                    plain(queue.list("members").len().to_string()),
                    plain(context.ago(queue.time("created_at"))),
                ]
            });
            return Ok(());
        }
        Command::Show { queue } => {
            let id = api.id(Noun::Queue, &queue).await?;
            api.get(&["queues", &id], &[]).await?
        }
        Command::Update { queue, name, address } => {
            let id = api.id(Noun::Queue, &queue).await?;
            let body = super::given([("name", name.map(Into::into)), ("address", address.map(Into::into))])?;
            api.patch(&["queues", &id], None, &body).await?
        }
        Command::Delete { queue, sure } => {
            let id = api.id(Noun::Queue, &queue).await?;
            return delete::run(context, ["queues", &id], sure).await;
        }
        Command::AddMember { queue, user } => {
            let (queue, user) = (api.id(Noun::Queue, &queue).await?, api.id(Noun::User, &user).await?);
            api.put(&["queues", &queue, "members", &user], &json!({})).await?
        }
        Command::RemoveMember { queue, user } => {
            let (queue, user) = (api.id(Noun::Queue, &queue).await?, api.id(Noun::User, &user).await?);
            api.delete(&["queues", &queue, "members", &user]).await?
        }
    };
    let members = if context.json { Vec::new() } else { members(context, &queue).await? };
    context.show(&queue, |queue| shown(context, queue, &members));
    Ok(())
}

/// The members by name, as people know them.
async fn members(context: &Context<'_>, queue: &Value) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for member in Record(queue).list("members") {
        let id = member.0.as_str().unwrap_or_default();
        let user = context.api.get(&["users", id], &[]).await?;
        let user = Record(&user);
        names.push(format!("{} <{}>", user.text("name"), user.text("address")));
    }
    Ok(names)
}

fn shown(context: &Context<'_>, queue: Record<'_>, members: &[String]) -> String {
    let number = i64::try_from(members.len()).unwrap_or_default();
    let facts = context.look.facts([
        ("name", plain(queue.text("name"))),
        (&count(number, "member", "members"), plain(members.join("\n"))),
        ("external id", plain(queue.text("external_id"))),
        ("created", plain(context.when(queue.time("created_at")))),
        ("changed", plain(context.when(queue.time("modified_at")))),
        ("id", cell(queue.text("id"), Tone::Quiet)),
    ]);
    context.described(&queue.text("address"), &facts)
}
