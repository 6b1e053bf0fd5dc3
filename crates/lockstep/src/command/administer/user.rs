//! `lockstep user …`: the people of the organization.

use clap::Subcommand;
use model::mailbox::Role;
use serde_json::json;

use super::Extent;
use super::context::Context;
use super::delete::{self, Sure};
use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::table::{self, Tone, cell, plain};

pub(super) const EXAMPLES: &str = "Examples:
  lockstep user create anna@example.com --name \"Anna Berg\"
  lockstep user list
  lockstep user update anna@example.com --role admin
  lockstep user update anna@example.com --active false
  lockstep user grant-send anna@example.com ben@example.com    # Ben may send in Anna's name

Then give the user a mailbox: lockstep mailbox create --help";

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a person to the organization.
    Create {
        /// The email address, unique among the organization's users.
        address: String,
        /// The name to show; what stands before the @ when left out.
        #[arg(long)]
        name: Option<String>,
        /// What the person may do: `admin` sets up the organization, `user` works with the own mail.
        #[arg(long, default_value = "user")]
        role: Role,
        /// The id of the person in your application.
        #[arg(long, value_name = "ID")]
        external_id: Option<String>,
    },
    /// List the people.
    List {
        #[command(flatten)]
        extent: Extent,
    },
    /// Show one person.
    Show {
        /// The address or id.
        user: String,
    },
    /// Change a person; what is left out stays.
    Update {
        /// The address or id.
        user: String,
        /// Another name.
        #[arg(long)]
        name: Option<String>,
        /// Another address.
        #[arg(long)]
        address: Option<String>,
        /// What the person may do: `admin` or `user`.
        #[arg(long)]
        role: Option<Role>,
        /// Whether the person may sign in. Of one who leaves the keys open nothing, the mailbox stops, and what waited to
        /// be sent is a draft again; the mailbox can be given to somebody else.
        #[arg(long, value_name = "TRUE|FALSE")]
        active: Option<bool>,
    },
    /// Let another user send in this one's name. Readers see From the one and Sender the other.
    GrantSend {
        /// In whose name, by address or id; yourself, unless you are an administrator.
        user: String,
        /// Who may, by address or id.
        grantee: String,
    },
    /// Take such a grant back: what still waits to be sent on it becomes a draft again.
    RevokeSend {
        /// In whose name, by address or id.
        user: String,
        /// Who may no more, by address or id.
        grantee: String,
    },
    /// Remove a person who is not to be known here any more. Their emails stay, for administrators.
    ///
    /// Shows what would go and what stays, and asks.
    Delete {
        /// The address or id.
        user: String,
        #[command(flatten)]
        sure: Sure,
    },
}

pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let api = context.api;
    match command {
        Command::Create { address, name, role, external_id } => {
            let name = name.unwrap_or_else(|| address.split('@').next().unwrap_or(&address).to_owned());
            let body = json!({"name": name, "address": address, "role": role, "external_id": external_id});
            let user = api.post(&["users"], &body).await?;
            context.show(&user, |user| shown(context, user));
        }
        Command::List { extent } => {
            let page = api.list(&["users"], &[], extent.most()).await?;
            let empty = "There are no users yet. Add the first: lockstep user create ADDRESS";
            context.list(&page, &["address", "name", "role", "active", "since"], empty, |user| {
                let active = user.flag("active");
                vec![
                    cell(user.text("address"), Tone::Loud),
                    plain(user.text("name")),
                    plain(user.text("role")),
                    cell(if active { "yes" } else { "no" }, if active { Tone::Plain } else { Tone::Uneasy }),
                    plain(context.ago(user.time("created_at"))),
                ]
            });
        }
        Command::Show { user } => {
            let id = api.id(Noun::User, &user).await?;
            let user = api.get(&["users", &id], &[]).await?;
            context.show(&user, |user| shown(context, user));
            // Another one's grants are not everybody's to see.
            if !context.json
                && let Ok(grants) = api.get(&["users", &id, "send-grants"], &[]).await
            {
                context.say(&granted(context, Record(&grants)));
            }
        }
        Command::GrantSend { user, grantee } => {
            let path = grant(context, &user, &grantee).await?;
            let answer = api.put(&path.each_ref().map(String::as_str), &json!({})).await?;
            context.show(&answer, |_| format!("{grantee} may send in the name of {user}."));
        }
        Command::RevokeSend { user, grantee } => {
            let path = grant(context, &user, &grantee).await?;
            let answer = api.delete(&path.each_ref().map(String::as_str)).await?;
            context.show(&answer, |_| format!("{grantee} may no longer send in the name of {user}."));
        }
        Command::Delete { user, sure } => {
            let id = api.id(Noun::User, &user).await?;
            delete::run(context, ["users", &id], sure).await?;
        }
        Command::Update { user, name, address, role, active } => {
            let id = api.id(Noun::User, &user).await?;
            let body = super::given([
                ("name", name.map(Into::into)),
                ("address", address.map(Into::into)),
                ("role", role.map(|role| json!(role))),
                ("active", active.map(Into::into)),
            ])?;
            let user = api.patch(&["users", &id], None, &body).await?;
            context.show(&user, |user| shown(context, user));
        }
    }
    Ok(())
}

/// The path of a grant.
async fn grant(context: &Context<'_>, user: &str, sender: &str) -> Result<[String; 4], Failure> {
    let granter = context.api.id(Noun::User, user).await?;
    let sender = context.api.id(Noun::User, sender).await?;
    Ok(["users".to_owned(), granter, "send-grants".to_owned(), sender])
}

/// The two directions of a user's grants to send; nothing when there are none.
fn granted(context: &Context<'_>, grants: Record<'_>) -> String {
    let names = |direction: &str| {
        let names = grants.list(direction).into_iter().map(|grant| grant.text("address"));
        plain(names.collect::<Vec<_>>().join(", "))
    };
    if grants.list("given").is_empty() && grants.list("received").is_empty() {
        return String::new();
    }
    let facts = [("who may send in this name", names("given")), ("may send as", names("received"))];
    format!("\n{}", table::drawn(&context.look.facts(facts)))
}

fn shown(context: &Context<'_>, user: Record<'_>) -> String {
    let facts = context.look.facts([
        ("name", plain(user.text("name"))),
        ("role", plain(user.text("role"))),
        ("active", if user.flag("active") { plain("yes") } else { cell("no", Tone::Uneasy) }),
        ("external id", plain(user.text("external_id"))),
        ("created", plain(context.when(user.time("created_at")))),
        ("changed", plain(context.when(user.time("modified_at")))),
        ("id", cell(user.text("id"), Tone::Quiet)),
    ]);
    context.described(&user.text("address"), &facts)
}
