//! `lockstep key …`: API keys. A key's secret is printed once, when it is made.

use clap::Subcommand;
use model::actor::Scope;
use serde_json::json;

use super::Extent;
use super::context::Context;
use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::table::{Tone, cell, plain, words};

pub(super) const EXAMPLES: &str = "Examples:
  lockstep key create \"Anna's laptop\" --user anna@example.com
  lockstep key create \"CRM\" --scope read --scope send
  lockstep key list
  lockstep key revoke 0198c2f4-…

A user's key may do what the user may. A service key may do what its scopes name: read, read_bodies,
send (on the right of a user it names), send_as_any (from any mailbox), administer.";

/// What can be done with keys.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key and print its secret, this once.
    Create {
        /// What the key is for.
        name: String,
        /// The user whose key it is, by address or id; leave it out for a service key.
        #[arg(long, conflicts_with = "scopes", required_unless_present = "scopes")]
        user: Option<String>,
        /// What a service key may do: read, `read_bodies`, send or administer; may be given several times.
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<Scope>,
    },
    /// List the keys, without their secrets.
    List {
        #[command(flatten)]
        extent: Extent,
    },
    /// Withdraw a key: it is refused from now on.
    Revoke {
        /// The key's id.
        key: String,
    },
}

pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let api = context.api;
    match command {
        Command::Create { name, user, scopes } => {
            let body = match user {
                Some(user) => json!({"name": name, "user": api.id(Noun::User, &user).await?}),
                None => json!({"name": name, "scopes": scopes}),
            };
            let key = api.post(&["keys"], &body).await?;
            context.show(&key, |key| {
                format!(
                    "The key, shown this once and stored nowhere:\n\n  {}\n\nUse it with `export \
                     LOCKSTEP__CLIENT__KEY=…`; withdraw it with `lockstep key revoke {}`.",
                    context.look.title(&key.text("key")),
                    key.text("id")
                )
            });
        }
        Command::List { extent } => {
            let page = api.list(&["keys"], &[], extent.most()).await?;
            let users = if context.json { json!({}) } else { api.list(&["users"], &[], None).await? };
            let users = Record(&users).items();
            let empty = "There are no keys. Make one: lockstep key create NAME --user ADDRESS";
            context.list(&page, &["name", "of", "since", "state", "id"], empty, |key| {
                let revoked = key.time("revoked_at");
                vec![
                    cell(key.text("name"), Tone::Loud),
                    plain(speaks_for(key, &users)),
                    plain(context.ago(key.time("created_at"))),
                    match revoked {
                        Some(_) => cell(format!("revoked {}", context.ago(revoked)), Tone::Quiet),
                        None => cell("valid", Tone::Good),
                    },
                    cell(key.text("id"), Tone::Quiet),
                ]
            });
        }
        Command::Revoke { key } => {
            let answer = api.delete(&["keys", &key]).await?;
            context.show(&answer, |_| format!("The key {key} is withdrawn: it is refused from now on."));
        }
    }
    Ok(())
}

fn speaks_for(key: Record<'_>, users: &[Record<'_>]) -> String {
    if let Some(id) = key.filled("user") {
        return users.iter().find(|user| user.text("id") == id).map_or(id, |user| user.text("address"));
    }
    let scopes: Vec<_> = key.list("scopes").iter().filter_map(|scope| scope.0.as_str()).map(words).collect();
    format!("a service: {}", scopes.join(", "))
}
