//! One email that leaves and arrives: written over the API with its author's own key, sent by SMTP, found in the mailboxes
//! of its recipients, and recorded for them.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use servers::MailServers;

use super::incoming::seconds;
use super::office::Office;
use super::screen::{Look, Screen, Step};
use crate::{Api, within};

pub(super) const ANNA: usize = 0;
pub(super) const BEN: usize = 1;
pub(super) const CLARA: usize = 2;
pub(super) const SUPPORT: usize = 3;
/// To, Cc and Bcc.
pub(super) const RECIPIENTS: [usize; 3] = [BEN, SUPPORT, CLARA];

const SUBJECT: &str = "Offer for Müller Maschinenbau – please check";
const LIMIT: Duration = Duration::from_secs(60);
/// The way of an email that leaves at the first try.
const STATES: [(&str, &str); 4] =
    [("draft", "Draft"), ("pending_send", "Pending send"), ("sending", "Sending"), ("sent", "Sent")];

/// What happened to the email.
pub(super) struct Letter {
    pub(super) subject: &'static str,
    /// The record of the one who sent it, at the end.
    pub(super) sent: Value,
    /// The records of those who got it, with their receipts.
    pub(super) received: Vec<Value>,
    /// What was attached.
    pub(super) file: Vec<u8>,
    pub(super) file_name: String,
    /// From Send to the server's acceptance, as the change log has it.
    pub(super) to_sent: f64,
    /// From Send until it lay in every mailbox.
    pub(super) to_delivered: f64,
    /// From Send until it was recorded for every recipient.
    pub(super) to_received: f64,
    /// The states in their order with their times, as the change log has them.
    pub(super) states: Vec<(String, Timestamp)>,
}

/// Writes, sends and follows it.
pub(super) async fn send(
    office: &Office,
    mail: &MailServers,
    (file_name, file): (String, Vec<u8>),
    screen: &Screen,
) -> Result<Letter, String> {
    let step = screen.step("Send", "Anna writes to Ben");
    let anna = own_key(office, ANNA).await;
    let id = write(office, &anna, &file_name, &file).await?;
    let asked = model::clock::now();
    anna.post(&format!("/emails/{id}/send"), &json!({})).await;
    let sent = follow(&anna, &id, &step).await?;
    let message_id = sent["sending"]["message_id"].as_str().unwrap_or_default().to_owned();

    step.awaits("looking for it in the mailboxes of Dovecot");
    within(LIMIT, async || {
        let lacking: Vec<_> = RECIPIENTS
            .iter()
            .map(|place| &office.mailboxes[*place].address)
            .filter(|address| copies(mail, address, &message_id).is_empty())
            .cloned()
            .collect();
        if lacking.is_empty() { Ok(()) } else { Err(lacking.join(", ")) }
    })
    .await
    .map_err(|lacking| format!("the email was sent, but does not arrive at {lacking}"))?;
    let delivered = model::clock::now();

    step.awaits("waiting for it to be recorded for everybody who got it");
    for place in RECIPIENTS {
        office.sync(&office.mailboxes[place]).await;
    }
    let path = format!("/emails?direction=incoming&message_id={}", encoded(&message_id));
    let received = within(LIMIT, async || {
        let mut records = Vec::new();
        for record in office.admin.list(&path).await {
            records.push(
                office.admin.get(&format!("/emails/{}", record["id"].as_str().unwrap_or_default())).await,
            );
        }
        let receipts: usize =
            records.iter().map(|record| record["receipts"].as_array().map_or(0, Vec::len)).sum();
        if receipts >= RECIPIENTS.len() { Ok(records) } else { Err(format!("{receipts} receipts")) }
    })
    .await
    .map_err(|seen| format!("the email lies in three mailboxes, but was not recorded for them: {seen}"))?;
    let recorded = model::clock::now();
    step.done("Anna to Ben, in copy Support, hidden copy Clara; text, HTML and a PDF");

    let states = states(office, &id).await;
    let sent_at = states.last().map_or(asked, |(_, at)| *at);
    for (state, at) in &states {
        show(screen, state, *at, asked);
    }
    show(screen, "In Dovecot", delivered, asked);
    show(screen, "Received", recorded, asked);
    Ok(Letter {
        subject: SUBJECT,
        sent: anna.get(&format!("/emails/{id}")).await,
        received,
        file,
        file_name,
        to_sent: seconds(asked, sent_at),
        to_delivered: seconds(asked, delivered),
        to_received: seconds(asked, recorded),
        states,
    })
}

/// The messages of a mailbox that carry this Message-ID.
pub(super) fn copies(mail: &MailServers, address: &str, message_id: &str) -> Vec<String> {
    let all = mail.messages(address).into_iter().map(|raw| String::from_utf8_lossy(&raw).into_owned());
    all.filter(|raw| header(raw).contains(message_id)).collect()
}

/// The header of a message.
pub(super) fn header(raw: &str) -> &str {
    let end = ["\r\n\r\n", "\n\n"].into_iter().filter_map(|end| raw.find(end)).min();
    &raw[..end.unwrap_or(raw.len())]
}

/// A key of a person's own.
pub(super) async fn own_key(office: &Office, place: usize) -> Api {
    let mailbox = &office.mailboxes[place];
    let made = office.admin.post("/keys", &json!({"name": "demo", "user": mailbox.owner})).await;
    office.admin.with_key(made.body["key"].as_str().unwrap_or_default())
}

async fn write(office: &Office, anna: &Api, file_name: &str, file: &[u8]) -> Result<String, String> {
    let party = |place: usize| {
        let mailbox = &office.mailboxes[place];
        json!([{"address": mailbox.address, "name": mailbox.name}])
    };
    let draft = json!({
        "from": office.mailboxes[ANNA].id,
        "to": party(BEN),
        "cc": party(SUPPORT),
        "bcc": party(CLARA),
        "subject": SUBJECT,
        "text": "Hi Ben,\n\nplease look over the attached offer before it goes out - above all the delivery dates.\n\n\
                 Thanks, Anna\n",
        "html": "<p>Hi Ben,</p><p>please look over the attached offer before it goes out – above all the \
                 <b>delivery dates</b>.</p><p>Thanks, Anna</p>",
    });
    let id = anna.post("/emails", &draft).await.id();
    let path = format!("/emails/{id}/attachments?name={}", encoded(file_name));
    let answer = anna.upload(&path, "application/pdf", file.to_vec()).await;
    if answer.status.is_success() {
        Ok(id)
    } else {
        Err(format!("the attachment is refused: {:#}", answer.body))
    }
}

async fn follow(anna: &Api, id: &str, step: &Step<'_>) -> Result<Value, String> {
    let sent = within(LIMIT, async || {
        let email = anna.get(&format!("/emails/{id}")).await;
        let state = email["state"].as_str().unwrap_or_default().to_owned();
        step.awaits(&format!("{state}: waiting for the SMTP server to take it"));
        if state == "sent" || state == "failed" || state == "unknown" { Ok(email) } else { Err(state) }
    })
    .await
    .map_err(|state| format!("the email is still {state} after {} s", LIMIT.as_secs()))?;
    if sent["state"] == "sent" { Ok(sent) } else { Err(format!("the email was not sent: {sent:#}")) }
}

/// The states that the change log knows, in the words of the product.
async fn states(office: &Office, id: &str) -> Vec<(String, Timestamp)> {
    let changes = office.admin.list(&format!("/changes?record_id={id}")).await;
    let state = |change: &Value| {
        let new = change["fields"]["state"]["new"].as_str()?.to_owned();
        let shown =
            STATES.iter().find(|(name, _)| *name == new).map_or(new, |(_, shown)| (*shown).to_owned());
        Some((shown, change["at"].as_str()?.parse().ok()?))
    };
    changes.iter().filter_map(state).collect()
}

/// What the states must have been.
pub(super) fn expected_states() -> Vec<&'static str> {
    STATES.iter().map(|(_, shown)| *shown).collect()
}

/// One line of the email's way.
fn show(screen: &Screen, what: &str, at: Timestamp, asked: Timestamp) {
    let since = if at < asked { String::new() } else { format!("{:8.2} s after Send", seconds(asked, at)) };
    let what = screen.paint(Look::Accent, &format!("{what:<12}"));
    screen.line(format!("    {what} {}{since}", at.strftime("%H:%M:%S%.3f")).trim_end());
}

/// A value in a query.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
