//! Messages taken apart and put together: what awkward ones become, and that no bytes break anything.

mod build;
mod corpus;
mod hostile;

use model::message::{ParsedMessage, Party};

fn limits() -> mail::mime::Limits {
    mail::mime::Limits::default()
}

fn parse(raw: &[u8]) -> ParsedMessage {
    mail::mime::parse(raw, &limits())
}

/// What holds for every message: no NUL and no surprise in any text, nothing longer than its bound.
fn assert_storable(message: &ParsedMessage) {
    let limits = limits();
    let parties = [&message.from, &message.reply_to, &message.to, &message.cc, &message.bcc];
    let parties: Vec<&Party> = parties.into_iter().flatten().chain(&message.sender).collect();
    assert!(parties.len() <= limits.parties);
    let mut lines: Vec<&str> = Vec::new();
    for party in parties {
        assert!(
            !party.address.is_empty() && !party.address.contains(char::is_whitespace),
            "{:?}",
            party.address
        );
        lines.push(&party.address);
        lines.extend(party.name.as_deref());
    }
    for attachment in &message.attachments {
        assert!(!attachment.name.is_empty() && attachment.name.len() <= 255);
        assert!(!attachment.name.contains(['/', '\\']), "{}", attachment.name);
        assert!(attachment.content_type.is_ascii());
        lines.push(&attachment.name);
        lines.extend(attachment.content_id.as_deref());
    }
    let ids = [&message.message_id, &message.in_reply_to, &message.subject, &message.auto_submitted];
    let marks = [&message.precedence, &message.list_id, &message.return_path];
    lines.extend(ids.into_iter().chain(marks).flatten().map(String::as_str));
    lines.extend(message.references.iter().map(String::as_str));
    for line in lines {
        assert!(!line.contains(|character: char| character.is_control()), "{line:?}");
        assert!(line.len() <= limits.header_text_bytes);
    }
    for body in [&message.text, &message.html].into_iter().flatten() {
        assert!(!body.contains('\0') && body.len() <= limits.body_bytes);
    }
    for (position, attachment) in message.attachments.iter().enumerate() {
        assert_eq!(attachment.position, position);
    }
}
