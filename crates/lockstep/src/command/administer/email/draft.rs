//! `lockstep email draft`: the email's parts from arguments and files, its attachments one after the other.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Asked, bare, send, shown};
use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::command::administer::context::{Context, refused};

/// What an email is written from.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[derive(Debug, Args)]
pub struct Draft {
    /// The mailbox it is sent from, by address or id; needed before it can be sent.
    #[arg(long, value_name = "MAILBOX")]
    from: Option<String>,
    /// To whom: `ben@example.com` or `Ben <ben@example.com>`; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    to: Vec<String>,
    /// Who gets a copy; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    cc: Vec<String>,
    /// Who gets a copy without the others knowing; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    bcc: Vec<String>,
    /// Where answers go, when not to the sender; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    reply_to: Vec<String>,
    /// The subject; `Re:` and the other's subject when it answers an email and none is given.
    #[arg(long)]
    subject: Option<String>,
    /// The text.
    #[arg(long)]
    text: Option<String>,
    /// The text, from a file; `-` is standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "text")]
    text_file: Option<PathBuf>,
    /// The HTML, from a file; without a text, the text is made from it.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// A file to attach; may be given several times.
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    /// The email it answers: the id of one that is here, or a Message-ID.
    #[arg(long, value_name = "EMAIL")]
    in_reply_to: Option<String>,
    /// Ask the readers' programs to say that it was read; they may refuse.
    #[arg(long)]
    read_receipt: bool,
    /// Ask the servers to say that it was delivered, where they can. Failures are told without asking.
    #[arg(long)]
    delivery_receipt: bool,
    /// The id of the email in your application.
    #[arg(long, value_name = "ID")]
    external_id: Option<String>,
    /// Send it at once.
    #[arg(long)]
    send: bool,
    /// With --send and a service key: on whose right, by address or id.
    #[arg(long = "as", value_name = "USER", requires = "send")]
    person: Option<String>,
    /// With --send: wait until it was sent or failed; fails when it does.
    #[arg(long, requires = "send")]
    wait: bool,
}

impl Draft {
    /// Writes the draft with its files, and sends it when asked to.
    pub(super) async fn write(self, context: &Context<'_>) -> Result<(), Failure> {
        // A file that cannot be read is found before anything is made.
        for file in &self.attach {
            readable(file)?;
        }
        let email = context.api.post(&["emails"], &self.body(context).await?).await?;
        let id = Record(&email).text("id");
        for file in &self.attach {
            if let Err(failure) = attach(context, &id, file).await {
                return Err(Failure::Said(format!(
                    "{failure}\n  the draft is kept as {id}; `lockstep email delete {id}` removes it"
                )));
            }
        }
        if self.send {
            let asked = Asked { person: self.person, wait: self.wait, ..Asked::default() };
            return send(context, &id, asked).await;
        }
        let email = context.api.get(&["emails", &id], &[]).await?;
        context.show(&email, |email| {
            format!("{}\n Send it: lockstep email send {id}\n", shown::one(context, email))
        });
        Ok(())
    }

    async fn body(&self, context: &Context<'_>) -> Result<Value, Failure> {
        let from = match &self.from {
            Some(mailbox) => Some(context.api.id(Noun::Mailbox, mailbox).await?),
            None => None,
        };
        let answered = match &self.in_reply_to {
            Some(called) => answered(context, called).await?,
            None => Answered::default(),
        };
        let text = match (&self.text, &self.text_file) {
            (Some(text), _) => Some(text.clone()),
            (None, Some(file)) => Some(content(file)?),
            (None, None) => None,
        };
        let html = self.html.as_deref().map(content).transpose()?;
        Ok(json!({
            "from": from,
            "to": parties(&self.to),
            "cc": parties(&self.cc),
            "bcc": parties(&self.bcc),
            "reply_to": parties(&self.reply_to),
            "subject": self.subject.clone().or(answered.subject).unwrap_or_default(),
            "text": text,
            "html": html,
            "in_reply_to": answered.message_id,
            "references": answered.references,
            "read_receipt_requested": self.read_receipt,
            "delivery_receipt_requested": self.delivery_receipt,
            "external_id": self.external_id,
        }))
    }
}

/// What an answer takes from the email it answers.
#[derive(Default)]
struct Answered {
    message_id: Option<String>,
    references: Vec<String>,
    subject: Option<String>,
}

async fn answered(context: &Context<'_>, called: &str) -> Result<Answered, Failure> {
    let Ok(id) = called.parse::<Uuid>() else {
        let id = bare(called).to_owned();
        return Ok(Answered { message_id: Some(id.clone()), references: vec![id], subject: None });
    };
    let email = context.api.get(&["emails", &id.to_string()], &[]).await?;
    let email = Record(&email);
    let Some(message_id) = email.filled("message_id") else {
        return Err(refused("the email to be answered has no Message-ID", "leave --in-reply-to out"));
    };
    // RFC 5322 section 3.6.4: the conversation so far, then the one that is answered.
    let mut references: Vec<String> =
        email.list("references").iter().filter_map(|id| id.0.as_str().map(str::to_owned)).collect();
    references.push(message_id.clone());
    let subject = email.text("subject");
    let has_prefix = subject.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("re:"));
    let subject = if has_prefix { subject } else { format!("Re: {subject}") };
    Ok(Answered { message_id: Some(message_id), references, subject: Some(subject) })
}

/// Addresses with their names, as the API takes them; whether an address is one is the API's to say.
fn parties(given: &[String]) -> Vec<Value> {
    given.iter().map(|text| party(text)).collect()
}

fn party(text: &str) -> Value {
    match text.trim().strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, address)) => match name.trim().trim_matches('"').trim() {
            "" => json!({"address": address.trim()}),
            name => json!({"address": address.trim(), "name": name}),
        },
        None => json!({"address": text.trim()}),
    }
}

fn readable(file: &Path) -> Result<(), Failure> {
    let is_file = std::fs::metadata(file).map(|metadata| metadata.is_file());
    match is_file {
        Ok(true) => Ok(()),
        Ok(false) => Err(refused(&format!("{} is no file", file.display()), "give the path of a file")),
        Err(error) => Err(unreadable(file, &error)),
    }
}

fn content(file: &Path) -> Result<String, Failure> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|error| unreadable(file, &error))
}

fn unreadable(file: &Path, error: &std::io::Error) -> Failure {
    refused(&format!("{} cannot be read: {error}", file.display()), "check the path and its permissions")
}

async fn attach(context: &Context<'_>, id: &str, file: &Path) -> Result<(), Failure> {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let kind = media_type(file);
    context.api.upload(&["emails", id, "attachments"], &[("name", name)], file, kind).await?;
    Ok(())
}

/// The media type of the usual kinds of files, by the end of the name; what is not known says nothing about itself.
fn media_type(file: &Path) -> &'static str {
    let end = file.extension().map(|end| end.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    match end.as_str() {
        "csv" => "text/csv",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "eml" => "message/rfc822",
        "gif" => "image/gif",
        "htm" | "html" => "text/html",
        "ics" => "text/calendar",
        "jpeg" | "jpg" => "image/jpeg",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "svg" => "image/svg+xml",
        "log" | "md" | "txt" => "text/plain",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_party_is_an_address_or_a_name_with_one() {
        for (text, party) in [
            ("ben@example.com", json!({"address": "ben@example.com"})),
            ("Ben Olsen <ben@example.com>", json!({"address": "ben@example.com", "name": "Ben Olsen"})),
            ("\"Olsen, Ben\" <ben@example.com>", json!({"address": "ben@example.com", "name": "Olsen, Ben"})),
            (" <ben@example.com> ", json!({"address": "ben@example.com"})),
            ("nobody", json!({"address": "nobody"})),
        ] {
            assert_eq!(super::party(text), party, "{text}");
        }
    }
}
