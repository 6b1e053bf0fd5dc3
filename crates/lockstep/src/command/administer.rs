//! The administrator's commands: one file per noun, all over the REST API. They are a client like any other and never touch
//! the database.

mod alert;
mod contact;
mod context;
mod delete;
mod email;
mod follow;
mod history;
mod input;
mod job;
mod key;
mod mailbox;
mod profile;
mod queue;
mod schedule;
mod setting;
mod status;
mod user;

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::Failure;
use crate::client::{Api, Noun};
use crate::config;
use context::Context;
pub(super) use input::asked;

/// What an administrator asks for.
#[derive(Debug, Subcommand)]
pub enum Administer {
    /// The whole picture: what is late, failing, held back and why, what waits to be sent, and the open alerts.
    Status(status::Status),
    /// Who changed a record, when, and from which value to which.
    History(history::History),
    /// Every change of the organization, in an order that can be followed.
    Changes(history::Changes),
    /// Mail servers: where they are, how they are reached, and how much of them may be used.
    #[command(after_help = profile::EXAMPLES)]
    Profile(Verbs<profile::Command>),
    /// Mailboxes: whose they are, whether they work, and what is done with them when.
    #[command(after_help = mailbox::EXAMPLES)]
    Mailbox(Verbs<mailbox::Command>),
    /// The people of the organization.
    #[command(after_help = user::EXAMPLES)]
    User(Verbs<user::Command>),
    /// Shared inboxes such as support@, with their members.
    #[command(after_help = queue::EXAMPLES)]
    Queue(Verbs<queue::Command>),
    /// Emails: read what came in, write and send what goes out.
    #[command(after_help = email::EXAMPLES)]
    Email(Verbs<email::Command>),
    /// What went wrong, with what to do about it.
    #[command(after_help = alert::EXAMPLES)]
    Alert(Verbs<alert::Command>),
    /// Operations that run in the background, such as test and enable.
    #[command(after_help = job::EXAMPLES)]
    Job(Verbs<job::Command>),
    /// Jobs that are asked for by themselves: once, or again and again.
    #[command(after_help = schedule::EXAMPLES)]
    Schedule(Verbs<schedule::Command>),
    /// The organization's settings.
    #[command(after_help = setting::EXAMPLES)]
    Setting(Verbs<setting::Command>),
    /// API keys, of users and of services.
    #[command(after_help = key::EXAMPLES)]
    Key(Verbs<key::Command>),
    /// People outside whose mail is recognized by their addresses.
    #[command(after_help = contact::EXAMPLES)]
    Contact(Verbs<contact::Command>),
}

/// What can be done with a noun.
#[derive(Debug, Args)]
pub struct Verbs<C: Subcommand> {
    /// Print what the API answers, as one JSON document.
    #[arg(long, global = true, display_order = 1000)]
    json: bool,
    /// What to do.
    #[command(subcommand)]
    command: C,
}

/// How much of a list is wanted.
#[derive(Clone, Copy, Debug, Args)]
pub struct Extent {
    /// Show at most this many.
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: usize,
    /// Show all, however many there are.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

impl Extent {
    fn most(self) -> Option<usize> {
        if self.all { None } else { Some(self.limit.max(1)) }
    }
}

/// The body of a change: what was given. Refused when nothing was.
fn given<const N: usize>(fields: [(&str, Option<Value>); N]) -> Result<Value, Failure> {
    let known =
        fields.iter().map(|(name, _)| format!("--{}", name.replace('_', "-"))).collect::<Vec<_>>().join(", ");
    let body: Map<String, Value> =
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    if body.is_empty() {
        return Err(context::refused(
            "nothing to change was given",
            &format!("give at least one of {known}"),
        ));
    }
    Ok(Value::Object(body))
}

/// Does what an administrator asks for.
pub async fn run(client: &config::Client, command: Administer) -> Result<(), Failure> {
    let api = Api::open(client)?;
    macro_rules! run {
        ($noun:ident, $verbs:expr) => {
            $noun::run(&Context::new(&api, $verbs.json), $verbs.command).await
        };
    }
    match command {
        Administer::Status(status) => status::run(&Context::new(&api, status.json)).await,
        Administer::History(asked) => history::history(&Context::new(&api, asked.json), asked).await,
        Administer::Changes(asked) => history::changes(&Context::new(&api, asked.json), asked).await,
        Administer::Profile(verbs) => run!(profile, verbs),
        Administer::Mailbox(verbs) => run!(mailbox, verbs),
        Administer::User(verbs) => run!(user, verbs),
        Administer::Queue(verbs) => run!(queue, verbs),
        Administer::Email(verbs) => run!(email, verbs),
        Administer::Alert(verbs) => run!(alert, verbs),
        Administer::Job(verbs) => run!(job, verbs),
        Administer::Schedule(verbs) => run!(schedule, verbs),
        Administer::Setting(verbs) => run!(setting, verbs),
        Administer::Key(verbs) => run!(key, verbs),
        Administer::Contact(verbs) => run!(contact, verbs),
    }
}

/// Tests and enables a mailbox, called by its id or address, and prints the steps as they come. Fails when the test does.
pub async fn test_mailbox(client: &config::Client, called: &str) -> Result<(), Failure> {
    let api = Api::open(client)?;
    let context = Context::new(&api, false);
    let mailbox = api.id(Noun::Mailbox, called).await?;
    mailbox::test(&context, &[mailbox], false, true).await
}
