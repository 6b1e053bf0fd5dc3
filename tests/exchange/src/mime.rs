//! MIME both ways: a message becomes the fields of an item, and an item without a message of its own becomes one.

mod build;
mod header;

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use mail_parser::{Address, Message, MessageParser, MimeHeaders as _, PartType};

pub(crate) use build::{build, hex};
pub(crate) use header::rewrite;

use crate::item::{Attachment, Body, Content, Item, mailbox};
use crate::time;
use crate::xml::Element;

/// An item made of a message.
pub(crate) fn read(message: &[u8], now: Timestamp) -> Item {
    let parsed = MessageParser::default().parse(message);
    let mut item = match &parsed {
        Some(parsed) => of_message(parsed, now),
        None => Item::new("IPM.Note", now),
    };
    item.mime = Some(Arc::from(message));
    item
}

fn of_message(message: &Message<'_>, now: Timestamp) -> Item {
    let mut item = Item::new(class(message), now);
    if let Some(subject) = message.subject() {
        item.set_text("Subject", subject);
    }
    for (name, address) in [("From", message.from()), ("Sender", message.sender().or(message.from()))] {
        if let Some((name_of, address)) = address.and_then(|all| people(all).into_iter().next()) {
            item.set(Element::t(name).with(mailbox(&name_of, &address)));
        }
    }
    for (name, addresses) in [
        ("ToRecipients", message.to()),
        ("CcRecipients", message.cc()),
        ("BccRecipients", message.bcc()),
        ("ReplyTo", message.reply_to()),
    ] {
        let people = addresses.map(people).unwrap_or_default();
        if !people.is_empty() {
            let mailboxes = people.iter().map(|(name, address)| mailbox(name, address));
            item.set(Element::t(name).with_all(mailboxes));
        }
    }
    if let Some(id) = message.message_id() {
        item.set_text("InternetMessageId", format!("<{id}>"));
    }
    for (name, header) in [("InReplyTo", "In-Reply-To"), ("References", "References")] {
        if let Some(value) = message.header_raw(header) {
            item.set_text(name, value.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    let importance = message.header_raw("Importance").map(|value| value.trim().to_lowercase());
    let priority = message.header_raw("X-Priority").map(|value| value.trim().chars().next().unwrap_or('3'));
    item.set_text(
        "Importance",
        match (importance.as_deref(), priority) {
            (Some("high"), _) | (None, Some('1' | '2')) => "High",
            (Some("low"), _) | (None, Some('4' | '5')) => "Low",
            _ => "Normal",
        },
    );
    item.set_text(
        "Sensitivity",
        match message.header_raw("Sensitivity").map(|value| value.trim().to_lowercase()).as_deref() {
            Some("personal") => "Personal",
            Some("private") => "Private",
            Some("company-confidential") => "Confidential",
            _ => "Normal",
        },
    );
    item.sent = message.date().and_then(|date| Timestamp::from_second(date.to_timestamp()).ok());
    item.body = body(message);
    item.headers = message
        .headers_raw()
        .map(|(name, value)| (name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect();
    for part in message.attachments() {
        let content = match &part.body {
            PartType::Message(inner) => {
                let mut inner_item = of_message(inner, now);
                inner_item.mime = Some(Arc::from(inner.raw_message()));
                Content::Item(Box::new(inner_item))
            }
            _ => Content::File(Arc::from(part.contents())),
        };
        let name = match (&content, part.attachment_name()) {
            (_, Some(name)) => name.to_owned(),
            (Content::Item(inner), None) => inner.field_text("Subject").unwrap_or("Untitled").to_owned(),
            (Content::File(_), None) => format!("ATT{:05}.bin", item.attachments.len() + 1),
        };
        item.attachments.push(Attachment {
            number: Attachment::number(),
            name,
            content_type: part.content_type().map(|kind| match kind.subtype() {
                Some(subtype) => format!("{}/{subtype}", kind.ctype()),
                None => kind.ctype().to_owned(),
            }),
            content_id: part.content_id().map(str::to_owned),
            content_location: part.content_location().map(str::to_owned),
            inline: part.content_disposition().is_some_and(mail_parser::ContentType::is_inline)
                || part.content_id().is_some() && part.content_disposition().is_none(),
            modified: now,
            content,
        });
    }
    item
}

/// The class that Exchange gives to a message from outside, by its content type.
fn class(message: &Message<'_>) -> &'static str {
    let Some(kind) = message.content_type() else { return "IPM.Note" };
    let (main, sub) = (kind.ctype().to_lowercase(), kind.subtype().unwrap_or_default().to_lowercase());
    match (main.as_str(), sub.as_str()) {
        ("multipart", "signed") => "IPM.Note.SMIME.MultipartSigned",
        ("application", "pkcs7-mime" | "x-pkcs7-mime") => "IPM.Note.SMIME",
        ("multipart", "report") => report(message, kind.attribute("report-type").unwrap_or_default()),
        _ => calendar(message).unwrap_or("IPM.Note"),
    }
}

fn report(message: &Message<'_>, kind: &str) -> &'static str {
    if kind.eq_ignore_ascii_case("disposition-notification") {
        return "REPORT.IPM.Note.IPNRN";
    }
    let raw = String::from_utf8_lossy(message.raw_message()).to_lowercase();
    if raw.contains("action: delivered") || raw.contains("action: relayed") {
        "REPORT.IPM.Note.DR"
    } else if raw.contains("action: delayed") {
        "REPORT.IPM.Note.Delayed"
    } else {
        "REPORT.IPM.Note.NDR"
    }
}

fn calendar(message: &Message<'_>) -> Option<&'static str> {
    let part = message.parts.iter().find_map(|part| {
        let kind = part.content_type()?;
        (kind.ctype().eq_ignore_ascii_case("text")
            && kind.subtype().is_some_and(|sub| sub.eq_ignore_ascii_case("calendar")))
        .then(|| (kind.attribute("method").unwrap_or_default().to_uppercase(), part))
    })?;
    let text = part.1.text_contents().unwrap_or_default().to_uppercase();
    Some(match part.0.as_str() {
        "REQUEST" => "IPM.Schedule.Meeting.Request",
        "CANCEL" => "IPM.Schedule.Meeting.Canceled",
        "REPLY" if text.contains("PARTSTAT=DECLINED") => "IPM.Schedule.Meeting.Resp.Neg",
        "REPLY" if text.contains("PARTSTAT=TENTATIVE") => "IPM.Schedule.Meeting.Resp.Tent",
        "REPLY" => "IPM.Schedule.Meeting.Resp.Pos",
        _ => return None,
    })
}

fn body(message: &Message<'_>) -> Option<Body> {
    let html = message.html_part(0).filter(|part| part.is_text_html());
    match html {
        Some(part) => part.text_contents().map(|text| Body { html: true, text: text.to_owned() }),
        None => message
            .text_part(0)
            .and_then(|part| part.text_contents())
            .map(|text| Body { html: false, text: text.to_owned() }),
    }
}

fn people(addresses: &Address<'_>) -> Vec<(String, String)> {
    addresses
        .iter()
        .filter_map(|one| {
            let address = one.address.as_deref()?;
            Some((one.name.as_deref().unwrap_or_default().to_owned(), address.to_owned()))
        })
        .collect()
}

/// The message of an item: its own, or one made of its fields.
pub(crate) fn of_item(item: &Item) -> Vec<u8> {
    match &item.mime {
        Some(mime) => mime.to_vec(),
        None => build(item),
    }
}

/// The message as `MimeContent`.
pub(crate) fn content(item: &Item) -> Element {
    Element::text("MimeContent", BASE64_STANDARD.encode(of_item(item))).attribute("CharacterSet", "UTF-8")
}

/// The moment at which a message was sent, or otherwise the one it came.
pub(crate) fn sent(item: &Item) -> String {
    time::write(item.sent.unwrap_or(item.created))
}

/// Text that fits into one header line; what is not ASCII becomes an encoded word.
pub(crate) fn one_line(text: &str) -> String {
    let text = text.replace(['\r', '\n'], " ");
    if text.is_ascii() { text } else { format!("=?utf-8?B?{}?=", BASE64_STANDARD.encode(text)) }
}
