//! `lockstep mailbox …`: mapping, approving, testing, and what is done with each mailbox when.

mod again;
mod arguments;
mod folders;
mod shown;
mod sync;
mod test;

use clap::Subcommand;
use model::email::Decision;
use model::mailbox::Approval;
use model::workload::Workload;
use serde_json::{Value, json};

use super::Extent;
use super::context::Context;
use super::delete::{self, Sure};
use super::input::{Password, exposed};
use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::table::{Tone, cell, plain, state};

pub(super) use sync::told;
pub(super) use test::{test, test_profile};

pub(super) const EXAMPLES: &str = "The first mailbox:
  lockstep mailbox create anna@example.com --profile Example --owner anna@example.com
  lockstep mailbox set-password anna@example.com
  lockstep mailbox approve anna@example.com
  lockstep mailbox test anna@example.com

Nothing is processed before a mailbox is approved, tested and enabled; a test that succeeds enables it.

Later:
  lockstep mailbox list --failing
  lockstep mailbox sync anna@example.com incoming --wait
  lockstep mailbox items anna@example.com --decision not_accepted
  lockstep mailbox re-examine anna@example.com";

/// What can be done with mailboxes.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Map a mailbox to its owner and server. It is processed once it is approved, tested and enabled.
    Create(arguments::Create),
    /// List the mailboxes, with how each workload stands.
    List {
        /// On this profile, by name or id.
        #[arg(long)]
        profile: Option<String>,
        /// Of this user or queue, by address or id.
        #[arg(long, value_name = "OWNER")]
        owner: Option<String>,
        /// With this approval: empty, pending, approved or rejected.
        #[arg(long)]
        approval: Option<Approval>,
        /// Only those where something fails, failed its test, or was switched off by Lockstep.
        #[arg(long)]
        failing: bool,
        #[command(flatten)]
        extent: Extent,
    },
    /// Show one mailbox: what is on, what the test said, when it is due and why, and what holds it back.
    Show {
        /// The address or id.
        mailbox: String,
    },
    /// Change a mailbox, or map it to another owner; what is left out stays.
    Update(arguments::Update),
    /// Remove a mailbox. What it received and sent stays with its owners; its server is not touched.
    ///
    /// Shows what would go and what stays, and asks.
    Delete {
        /// The address or id.
        mailbox: String,
        #[command(flatten)]
        sure: Sure,
    },
    /// Vouch for the addresses of mailboxes: they may be processed once tested and enabled.
    Approve {
        /// The addresses or ids.
        #[arg(required = true, value_name = "MAILBOX")]
        mailboxes: Vec<String>,
    },
    /// Refuse a mailbox's address: whatever runs stops.
    Reject {
        /// The address or id.
        mailbox: String,
    },
    /// Store the mailbox's own password, where credentials live on the mailboxes. It never comes out again.
    SetPassword {
        /// The address or id.
        mailbox: String,
        /// The login at the mail server; the mailbox's login when left out.
        #[arg(long, value_name = "LOGIN")]
        username: Option<String>,
        #[command(flatten)]
        password: Password,
    },
    /// Test and enable: sign in to both servers as a cycle would, and switch on what works.
    ///
    /// Runs as a job per mailbox; waits for them and prints their steps. Fails when a test does.
    Test {
        /// The addresses or ids.
        #[arg(value_name = "MAILBOX", required_unless_present = "profile", conflicts_with = "profile")]
        mailboxes: Vec<String>,
        /// All mailboxes of this profile, by name or id.
        #[arg(long)]
        profile: Option<String>,
        /// Start the tests and do not wait for them.
        #[arg(long)]
        no_wait: bool,
        /// Take mailboxes also where another installation or organization has marked them as its own. Both would
        /// synchronize them then: switch them off there.
        #[arg(long, conflicts_with = "profile")]
        force: bool,
    },
    /// Ask for the link by which whoever owns the mailbox consents to it, where the profile signs in by tokens.
    Consent {
        /// The address or id.
        mailbox: String,
    },
    /// Synchronize now, without waiting for the next due time. A back-off is still waited for.
    Sync {
        /// The address or id.
        mailbox: String,
        /// What: incoming, outgoing or act (appointments, contacts and tasks).
        workload: Workload,
        /// Wait until that cycle has ended; fails when the cycle does.
        #[arg(long)]
        wait: bool,
    },
    /// Switch a workload off; a cycle that runs stops at its next commit. A test switches it on again.
    Disable {
        /// The address or id.
        mailbox: String,
        /// What: incoming, outgoing or act (appointments, contacts and tasks).
        workload: Workload,
    },
    /// List every message ever seen in a mailbox, with what was decided about it and by which rule.
    Items {
        /// The address or id.
        mailbox: String,
        /// With this decision: recorded, duplicate, `not_accepted`, `before_the_floor`, `too_large`, failed, undeliverable or
        /// `ignored_class`.
        #[arg(long)]
        decision: Option<Decision>,
        #[command(flatten)]
        extent: Extent,
    },
    /// Show which folders an Exchange mailbox has, or choose which of them are read beside the inbox.
    Folders(folders::Folders),
    /// Have messages fetched and judged again that were passed over, after acceptance, floor or limit was changed, or the
    /// reason of a failure mended. Says how many there are, and asks.
    ReExamine(again::ReExamine),
}

pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let api = context.api;
    match command {
        Command::Create(new) => {
            let mailbox = api.post(&["mailboxes"], &new.body(context).await?).await?;
            context.show(&mailbox, |mailbox| {
                format!("{}\n{}", shown::one(context, mailbox), shown::next_step(context, mailbox))
            });
        }
        Command::List { profile, owner, approval, failing, extent } => {
            list(context, profile, owner, approval, failing, extent).await?;
        }
        Command::Show { mailbox } => {
            let id = api.id(Noun::Mailbox, &mailbox).await?;
            let mailbox = api.get(&["mailboxes", &id], &[]).await?;
            context.show(&mailbox, |mailbox| {
                format!("{}{}", shown::one(context, mailbox), shown::next_step(context, mailbox))
            });
        }
        Command::Update(change) => {
            let id = api.id(Noun::Mailbox, &change.mailbox).await?;
            let mailbox = api.patch(&["mailboxes", &id], None, &change.body(context).await?).await?;
            context.show(&mailbox, |mailbox| {
                format!("{}{}", shown::one(context, mailbox), shown::next_step(context, mailbox))
            });
        }
        Command::Delete { mailbox, sure } => {
            let id = api.id(Noun::Mailbox, &mailbox).await?;
            delete::run(context, ["mailboxes", &id], sure).await?;
        }
        Command::Approve { mailboxes } => approve(context, &mailboxes).await?,
        Command::Reject { mailbox } => {
            let id = api.id(Noun::Mailbox, &mailbox).await?;
            let mailbox = api.post(&["mailboxes", &id, "reject"], &Value::Null).await?;
            context.show(&mailbox, |mailbox| shown::one(context, mailbox));
        }
        Command::SetPassword { mailbox, username, password } => {
            let id = api.id(Noun::Mailbox, &mailbox).await?;
            let username = match username {
                Some(username) => username,
                None => Record(&api.get(&["mailboxes", &id], &[]).await?).text("incoming_login"),
            };
            let password = password.read(&username)?;
            let body = json!({"username": username, "password": exposed(&password)});
            let answer = api.put(&["mailboxes", &id, "credential"], &body).await?;
            context.show(&answer, |_| {
                format!("Stored the password of {username}. Try it: lockstep mailbox test {mailbox}")
            });
        }
        Command::Test { profile: Some(profile), no_wait, .. } => {
            let id = api.id(Noun::Profile, &profile).await?;
            test_profile(context, &id, !no_wait).await?;
        }
        Command::Test { mailboxes, no_wait, force, .. } => {
            let ids = test::ids(context, &mailboxes).await?;
            test(context, &ids, force, !no_wait).await?;
        }
        Command::Consent { mailbox } => {
            let id = api.id(Noun::Mailbox, &mailbox).await?;
            super::profile::consent(context, &["mailboxes", &id, "consent"], &json!({})).await?;
        }
        Command::Sync { mailbox, workload, wait } => {
            let id = api.id(Noun::Mailbox, &mailbox).await?;
            sync::now(context, &id, workload, wait).await?;
        }
        Command::Disable { mailbox, workload } => {
            let id = api.id(Noun::Mailbox, &mailbox).await?;
            let path = ["mailboxes", &id, "workloads", workload.as_str(), "disable"];
            let mailbox = api.post(&path, &Value::Null).await?;
            context.show(&mailbox, |mailbox| shown::one(context, mailbox));
        }
        Command::Items { mailbox, decision, extent } => {
            let id = api.id(Noun::Mailbox, &mailbox).await?;
            items(context, &id, decision, extent).await?;
        }
        Command::Folders(wanted) => wanted.run(context).await?,
        Command::ReExamine(wanted) => wanted.run(context).await?,
    }
    Ok(())
}

async fn list(
    context: &Context<'_>,
    profile: Option<String>,
    owner: Option<String>,
    approval: Option<Approval>,
    failing: bool,
    extent: Extent,
) -> Result<(), Failure> {
    let mut query = Vec::new();
    if let Some(profile) = profile {
        query.push(("profile", context.api.id(Noun::Profile, &profile).await?));
    }
    if let Some(owner) = owner {
        let id = Record(&super::contact::owner_called(context, &owner).await?).text("id");
        query.push(("owner", id));
    }
    query.extend(approval.map(|approval| ("approval", approval.to_string())));
    if failing {
        query.push(("failing", "true".to_owned()));
    }
    let empty = if query.is_empty() {
        "There are no mailboxes yet. Make one: lockstep mailbox create ADDRESS --profile PROFILE --owner OWNER"
    } else {
        "No mailbox is like that."
    };
    let page = context.api.list(&["mailboxes"], &query, extent.most()).await?;
    context.list(&page, shown::COLUMNS, empty, |mailbox| shown::row(context, mailbox));
    Ok(())
}

async fn approve(context: &Context<'_>, called: &[String]) -> Result<(), Failure> {
    let mut approved = Vec::with_capacity(called.len());
    for id in test::ids(context, called).await? {
        approved.push(context.api.post(&["mailboxes", &id, "approve"], &Value::Null).await?);
    }
    if let [mailbox] = approved.as_slice() {
        context.show(mailbox, |mailbox| {
            format!("{}{}", shown::one(context, mailbox), shown::next_step(context, mailbox))
        });
        return Ok(());
    }
    let page = json!({"items": approved, "next_cursor": null});
    context.list(&page, shown::COLUMNS, "", |mailbox| shown::row(context, mailbox));
    Ok(())
}

async fn items(
    context: &Context<'_>,
    mailbox: &str,
    decision: Option<Decision>,
    extent: Extent,
) -> Result<(), Failure> {
    let query: Vec<_> = decision.map(|decision| ("decision", decision.to_string())).into_iter().collect();
    let page = context.api.list(&["mailboxes", mailbox, "items"], &query, extent.most()).await?;
    let columns = ["decision", "by rule", "received", "seen", "tries", "error", "deleted", "email", "item"];
    context.list(&page, &columns, "Nothing like that was seen in the mailbox yet.", |item| {
        vec![
            state(&item.text("decision")),
            plain(item.text("rule")),
            plain(context.ago(item.time("received_at"))),
            plain(context.ago(item.time("seen_at"))),
            plain(item.text("attempts")),
            plain(item.text("last_error")),
            plain(context.ago(item.time("deleted_at"))),
            cell(item.text("email"), Tone::Quiet),
            cell(item.text("item_id"), Tone::Quiet),
        ]
    });
    Ok(())
}
