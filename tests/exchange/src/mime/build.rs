//! A message made of an item's fields, for items that were created without one.

use mail_builder::MessageBuilder;
use mail_builder::headers::address::Address;
use mail_builder::headers::raw::Raw;
use mail_builder::mime::MimePart;

use crate::item::{Content, Item};

/// Writes the message. What is missing is left out, except Date and Message-ID, which a message must have.
pub(crate) fn build(item: &Item) -> Vec<u8> {
    let mut message = MessageBuilder::new()
        .date(item.sent.unwrap_or(item.created).as_second())
        .subject(item.field_text("Subject").unwrap_or_default().to_owned());
    let id = item.field_text("InternetMessageId").map_or_else(
        || format!("{}@lockstep.invalid", hex(&item.search_key)),
        |id| id.trim_matches(['<', '>']).to_owned(),
    );
    message = message.message_id(id);
    if let Some(from) = addresses(item, "From") {
        message = message.from(from);
    }
    if let Some(sender) = addresses(item, "Sender").filter(|_| item.people("Sender") != item.people("From")) {
        message = message.sender(sender);
    }
    if let Some(to) = addresses(item, "ToRecipients") {
        message = message.to(to);
    }
    if let Some(cc) = addresses(item, "CcRecipients") {
        message = message.cc(cc);
    }
    if let Some(reply_to) = addresses(item, "ReplyTo") {
        message = message.reply_to(reply_to);
    }
    for (field, header) in [("InReplyTo", "In-Reply-To"), ("References", "References")] {
        if let Some(value) = item.field_text(field).filter(|value| !value.is_empty()) {
            message = message.header(header, Raw::new(value.to_owned()));
        }
    }
    if let Some(importance) = item.field_text("Importance").filter(|value| *value != "Normal") {
        message = message.header("Importance", Raw::new(importance.to_lowercase()));
    }
    for header in item.field("InternetMessageHeaders").map_or(&[][..], |headers| &headers.children) {
        let name = header.value("HeaderName").unwrap_or_default().to_owned();
        if !name.is_empty() {
            message = message.header(name, Raw::new(header.text.clone()));
        }
    }
    message = match &item.body {
        Some(body) if body.html => message.html_body(body.text.clone()),
        Some(body) => message.text_body(body.text.clone()),
        None => message.text_body(String::new()),
    };
    for attachment in &item.attachments {
        let kind = attachment.content_type.clone();
        message = match &attachment.content {
            Content::Item(inner) => {
                let inner = super::of_item(inner);
                message.attachment("message/rfc822", format!("{}.eml", attachment.name), inner)
            }
            Content::File(bytes) => {
                let kind = kind.unwrap_or_else(|| "application/octet-stream".to_owned());
                let mut part = MimePart::new(kind, bytes.to_vec());
                part = match &attachment.content_id {
                    Some(id) if attachment.inline => part.inline().cid(id.clone()),
                    _ => part.attachment(attachment.name.clone()),
                };
                message.attachments.get_or_insert_default().push(part);
                message
            }
        };
    }
    message.write_to_vec().unwrap_or_default()
}

fn addresses(item: &Item, field: &str) -> Option<Address<'static>> {
    let people = item.people(field);
    let list: Vec<Address<'static>> = people
        .into_iter()
        .map(|(name, address)| {
            let name = Some(name).filter(|name| !name.is_empty() && *name != address);
            Address::new_address(name, address)
        })
        .collect();
    (!list.is_empty()).then(|| Address::new_list(list))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
