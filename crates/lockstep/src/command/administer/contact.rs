//! `lockstep contact …`: people outside, known by their addresses.

use clap::Subcommand;
use serde_json::{Value, json};

use super::Extent;
use super::context::{Context, refused};
use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::table::{Tone, cell, plain};

pub(super) const EXAMPLES: &str = "Examples:
  lockstep contact create \"Carla Diaz\" --address carla@customer.example --address carla@home.example
  lockstep contact list

Mail from a contact's address is linked to the contact, and counts as mail from a known sender.
A host application fills addresses in bulk: PUT /api/v1/addresses.";

/// What can be done with contacts.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a contact.
    Create {
        /// The name to show.
        name: String,
        /// An email address; may be given several times.
        #[arg(long = "address", value_name = "ADDRESS")]
        addresses: Vec<String>,
        /// Whose contact it is: a user or queue, by address.
        #[arg(long, value_name = "ADDRESS")]
        owner: Option<String>,
        /// The id of the contact in your application.
        #[arg(long, value_name = "ID")]
        external_id: Option<String>,
    },
    /// List the contacts.
    List {
        #[command(flatten)]
        extent: Extent,
    },
}

pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let api = context.api;
    match command {
        Command::Create { name, addresses, owner, external_id } => {
            let owner = match owner {
                Some(called) => Some(owner_called(context, &called).await?),
                None => None,
            };
            let body =
                json!({"name": name, "addresses": addresses, "owner": owner, "external_id": external_id});
            let contact = api.post(&["contacts"], &body).await?;
            context.show(&contact, |contact| shown(context, contact));
        }
        Command::List { extent } => {
            let page = api.list(&["contacts"], &[], extent.most()).await?;
            let empty = "There are no contacts yet. Add one: lockstep contact create NAME --address ADDRESS";
            context.list(&page, &["name", "addresses", "since", "id"], empty, |contact| {
                vec![
                    cell(contact.text("name"), Tone::Loud),
                    plain(addresses_of(contact).join(", ")),
                    plain(context.ago(contact.time("created_at"))),
                    cell(contact.text("id"), Tone::Quiet),
                ]
            });
        }
    }
    Ok(())
}

/// A user or a queue, whichever has this address, as the API names owners.
pub(super) async fn owner_called(context: &Context<'_>, address: &str) -> Result<Value, Failure> {
    for (noun, kind) in [(Noun::User, "user"), (Noun::Queue, "queue")] {
        if let Some(id) = context.api.find(noun, address).await? {
            return Ok(json!({"kind": kind, "id": id}));
        }
    }
    Err(refused(
        &format!("neither a user nor a queue is called `{address}`"),
        "give the address of one: `lockstep user list` and `lockstep queue list` show them",
    ))
}

fn addresses_of(contact: Record<'_>) -> Vec<String> {
    contact.list("addresses").iter().filter_map(|address| address.0.as_str().map(str::to_owned)).collect()
}

fn shown(context: &Context<'_>, contact: Record<'_>) -> String {
    let facts = context.look.facts([
        ("addresses", plain(addresses_of(contact).join("\n"))),
        ("external id", plain(contact.text("external_id"))),
        ("created", plain(context.when(contact.time("created_at")))),
        ("id", cell(contact.text("id"), Tone::Quiet)),
    ]);
    context.described(&contact.text("name"), &facts)
}
