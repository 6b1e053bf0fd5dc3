//! `lockstep email …`: reading what came in, writing and sending what goes out.

mod draft;
mod explain;
mod shown;

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use jiff::Timestamp;
use model::automatic::Automatic;
use model::email::{Direction, EmailState};
use serde_json::{Value, json};

use super::Extent;
use super::context::{Context, refused};
use super::follow::Spinner;
use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::table::words;

pub(super) const EXAMPLES: &str = "Examples:
  lockstep email draft --from anna@example.com --to \"Ben <ben@example.com>\" --subject Hello --text Hi --send --wait
  lockstep email list --mailbox anna@example.com --direction incoming
  lockstep email show 0198c2f4-… --body
  lockstep email list --state unknown
  lockstep email explain '<abc@example.com>'

An email that is `unknown` may or may not have left: ask its recipients, then `lockstep email mark-sent`
or `lockstep email resend`.";

/// How often an email is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(300);

/// What can be done with emails.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write an email. It stays a draft until it is sent.
    Draft(Box<draft::Draft>),
    /// Ask for an email to be sent, to everybody who has not got it.
    ///
    /// You may send from your own mailbox, from a queue's that you are a member of, and in the name of a user who lets
    /// you (`lockstep user grant-send`).
    Send {
        /// The email's id.
        email: String,
        /// Not to leave before this, such as 2026-01-31T08:00:00Z.
        #[arg(long, value_name = "TIME")]
        not_before: Option<Timestamp>,
        /// Also to those who have got it already: they get it again.
        #[arg(long)]
        to_all: bool,
        /// With a service key: on whose right, by address or id; that user must be allowed to send from the mailbox.
        #[arg(long = "as", value_name = "USER")]
        person: Option<String>,
        /// Wait until it was sent or failed; fails when it does.
        #[arg(long)]
        wait: bool,
    },
    /// List emails, the newest first.
    List {
        /// Received by or sent from this mailbox, by address or id.
        #[arg(long)]
        mailbox: Option<String>,
        /// Which way: incoming or outgoing.
        #[arg(long)]
        direction: Option<Direction>,
        /// In this state: received, draft, `pending_send`, sending, sent, failed or unknown.
        #[arg(long)]
        state: Option<EmailState>,
        /// With this address among its parties.
        #[arg(long)]
        address: Option<String>,
        /// With this Message-ID.
        #[arg(long, value_name = "ID")]
        message_id: Option<String>,
        /// Of this kind of automatic mail: `delivery_report`, `out_of_office`, `read_receipt`, list, bulk or other.
        #[arg(long, value_name = "KIND")]
        automatic: Option<Automatic>,
        #[command(flatten)]
        extent: Extent,
    },
    /// Show one email: its parties, the mailboxes that got it, and how its sending went.
    Show {
        /// The email's id.
        email: String,
        /// Also its text and files. Reading somebody else's mail is written into the change log.
        #[arg(long)]
        body: bool,
    },
    /// Say why a mail is here or is not: what became of its Message-ID in each mailbox, by which rule, and what would change
    /// it.
    Explain {
        /// The value of the mail's header `Message-ID`.
        message_id: String,
        /// Only in this mailbox, by address or id.
        #[arg(long)]
        mailbox: Option<String>,
    },
    /// Take a send request back: whoever still waits is dropped, whoever has got it keeps it.
    Cancel {
        /// The email's id.
        email: String,
    },
    /// Send an email in doubt (unknown) again, although its recipients may have got it.
    Resend {
        /// The email's id.
        email: String,
        /// With a service key: on whose right, by address or id.
        #[arg(long = "as", value_name = "USER")]
        person: Option<String>,
    },
    /// Say of an email in doubt (unknown) that it was sent.
    MarkSent {
        /// The email's id.
        email: String,
    },
    /// Write out the raw message as it came in.
    Raw {
        /// The email's id.
        email: String,
        /// Into this file instead of standard output.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Write out the raw message of a report about an email: a delivery report or a read receipt.
    Report {
        /// The email's id.
        email: String,
        /// The report's id, as `email show` lists it.
        report: String,
        /// Into this file instead of standard output.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Write out one file of an email.
    Attachment {
        /// The email's id.
        email: String,
        /// The file's id, as `email show --body` lists it.
        attachment: String,
        /// Into this file instead of standard output.
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Remove a draft or a failed email.
    Delete {
        /// The email's id.
        email: String,
    },
}

pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let api = context.api;
    match command {
        Command::Draft(draft) => draft.write(context).await?,
        Command::Send { email, not_before, to_all, person, wait } => {
            let asked = Asked { not_before, to_all, person, wait };
            send(context, &email, asked).await?;
        }
        Command::List { mailbox, direction, state, address, message_id, automatic, extent } => {
            let mut query = Vec::new();
            if let Some(mailbox) = mailbox {
                query.push(("mailbox", api.id(Noun::Mailbox, &mailbox).await?));
            }
            query.extend(direction.map(|direction| ("direction", direction.to_string())));
            query.extend(state.map(|state| ("state", state.to_string())));
            query.extend(automatic.map(|kind| ("automatic", kind.to_string())));
            query.extend(address.map(|address| ("address", address)));
            query.extend(message_id.map(|id| ("message_id", bare(&id).to_owned())));
            let empty = if query.is_empty() {
                "There are no emails yet. Mail comes in once a mailbox is enabled: lockstep mailbox --help"
            } else {
                "No email is like that."
            };
            let page = api.list(&["emails"], &query, extent.most()).await?;
            context.list(&page, shown::COLUMNS, empty, |email| shown::row(context, email));
        }
        Command::Show { email, body } => show(context, &email, body).await?,
        Command::Explain { message_id, mailbox } => explain::explain(context, &message_id, mailbox).await?,
        Command::Cancel { email } => asked(context, &email, "cancel", &Value::Null).await?,
        Command::Resend { email, person } => {
            let options = match person {
                Some(person) => json!({"person": api.id(Noun::User, &person).await?}),
                None => Value::Null,
            };
            asked(context, &email, "resend", &options).await?;
        }
        Command::MarkSent { email } => asked(context, &email, "mark-sent", &Value::Null).await?,
        Command::Raw { email, output } => download(context, &["emails", &email, "raw"], output).await?,
        Command::Report { email, report, output } => {
            download(context, &["emails", &email, "reports", &report, "raw"], output).await?;
        }
        Command::Attachment { email, attachment, output } => {
            download(context, &["emails", &email, "attachments", &attachment], output).await?;
        }
        Command::Delete { email } => {
            let answer = api.remove(&["emails", &email]).await?;
            context.show(&answer, |_| format!("Removed {email}."));
        }
    }
    Ok(())
}

/// How an email is asked to be sent.
#[derive(Default)]
struct Asked {
    not_before: Option<Timestamp>,
    to_all: bool,
    person: Option<String>,
    wait: bool,
}

/// Asks for an email to be sent, and waits for what comes of it when asked to.
async fn send(context: &Context<'_>, id: &str, asked: Asked) -> Result<(), Failure> {
    let mut options = json!({});
    if let Some(time) = asked.not_before {
        options["not_before"] = json!(time);
    }
    if asked.to_all {
        options["recipients"] = json!("all");
    }
    if let Some(person) = asked.person {
        options["person"] = json!(context.api.id(Noun::User, &person).await?);
    }
    let email = context.api.post(&["emails", id, "send"], &options).await?;
    if !asked.wait {
        context.show(&email, |email| {
            format!("{}\n Follow it: lockstep email show {id}\n", shown::one(context, email))
        });
        return Ok(());
    }
    let email = settled(context, id).await?;
    context.show(&email, |email| shown::one(context, email));
    match Record(&email).text("state").as_str() {
        "sent" => Ok(()),
        "unknown" => Err(refused(
            "nobody knows whether the email left: the connection was lost before the server answered",
            "ask a recipient, then `lockstep email mark-sent` or `lockstep email resend`",
        )),
        state => Err(refused(
            &format!("the email was not sent: it is {}", words(state)),
            &format!(
                "the server's words stand beside each recipient; `lockstep alert list --email {id}` says what to do"
            ),
        )),
    }
}

/// Waits until no try is under way and nobody waits any more.
async fn settled(context: &Context<'_>, id: &str) -> Result<Value, Failure> {
    let spinner = Spinner::new(context);
    loop {
        let email = context.api.get(&["emails", id], &[]).await?;
        let view = Record(&email);
        let state = view.text("state");
        if !matches!(state.as_str(), "pending_send" | "sending") {
            return Ok(email);
        }
        // A deferred recipient is tried again much later; a person should not stare at a spinner for that.
        let deferred =
            view.list("sending.recipients").into_iter().find(|one| one.text("state") == "deferred");
        if let Some(one) = deferred {
            drop(spinner);
            return Err(refused(
                &format!("the server refused {} for now: {}", one.text("address"), one.text("server_said")),
                &format!("nothing: Lockstep tries again {}", context.ago(one.time("next_try_at"))),
            ));
        }
        spinner.shows(words(&state));
        tokio::time::sleep(LOOK).await;
    }
}

async fn asked(context: &Context<'_>, id: &str, verb: &str, options: &Value) -> Result<(), Failure> {
    let email = context.api.post(&["emails", id, verb], options).await?;
    context.show(&email, |email| shown::one(context, email));
    Ok(())
}

async fn show(context: &Context<'_>, id: &str, with_body: bool) -> Result<(), Failure> {
    let mut email = context.api.get(&["emails", id], &[]).await?;
    if with_body {
        email["body"] = context.api.get(&["emails", id, "body"], &[]).await?;
    }
    context.show(&email, |email| shown::one(context, email));
    Ok(())
}

async fn download(context: &Context<'_>, path: &[&str], output: Option<PathBuf>) -> Result<(), Failure> {
    let Some(file) = output else { return context.api.download(path, &mut tokio::io::stdout()).await };
    let made = tokio::fs::File::create(&file).await;
    let mut into = made.map_err(|error| {
        refused(
            &format!("{} cannot be written: {error}", file.display()),
            "check the path and its permissions",
        )
    })?;
    context.api.download(path, &mut into).await?;
    context.show(&json!({"file": file}), |_| format!("Written to {}.", file.display()));
    Ok(())
}

/// A Message-ID without angle brackets, as the API has it.
fn bare(id: &str) -> &str {
    id.trim().trim_start_matches('<').trim_end_matches('>')
}
