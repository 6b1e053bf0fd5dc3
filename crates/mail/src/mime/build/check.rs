//! What cannot be sent, said before it is tried: line breaks where one line is meant, ids and types that are none.

use model::message::{NamedAddress, OutgoingMessage};

/// The longest id that fits into a line with its field's name (RFC 5322 section 2.1.1).
const ID_BYTES: usize = 900;

/// Why a message cannot be built. The texts name the field and never repeat what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Nobody to send to.
    #[error("the message has no recipient; add one to to, cc or bcc")]
    NoRecipients,
    /// A text that must be one line is not.
    #[error("{field} contains a line break or another control character; write it as one line of text")]
    ControlCharacter {
        /// Which field, such as `subject` or `attachments[0].name`.
        field: String,
    },
    /// A Message-ID or Content-ID that no header can hold.
    #[error(
        "{field} is no message id; use printable ASCII without spaces and angle brackets, such as 1f3a@example.com"
    )]
    BadId {
        /// Which field.
        field: String,
    },
    /// A media type that is none.
    #[error(
        "{field} is no media type; use one such as application/pdf, or application/octet-stream when in doubt"
    )]
    BadContentType {
        /// Which field.
        field: String,
    },
}

pub(super) fn check(message: &OutgoingMessage) -> Result<(), BuildError> {
    if message.to.is_empty() && message.cc.is_empty() && message.bcc.is_empty() {
        return Err(BuildError::NoRecipients);
    }
    one_line("subject", &message.subject)?;
    let authors = [("from", Some(&message.from)), ("sender", message.sender.as_ref())];
    for (field, named) in authors {
        named.map_or(Ok(()), |named| name(field, named))?;
    }
    let lists =
        [("reply_to", &message.reply_to), ("to", &message.to), ("cc", &message.cc), ("bcc", &message.bcc)];
    for (field, list) in lists {
        for (position, named) in list.iter().enumerate() {
            name(&format!("{field}[{position}]"), named)?;
        }
    }
    if !is_id(&message.message_id) {
        return Err(BuildError::BadId { field: "message_id".into() });
    }
    for (position, attachment) in message.attachments.iter().enumerate() {
        let field = |name: &str| format!("attachments[{position}].{name}");
        one_line(&field("name"), &attachment.name)?;
        if media_type(&attachment.content_type).is_none() {
            return Err(BuildError::BadContentType { field: field("content_type") });
        }
        if attachment.inline_id.as_deref().is_some_and(|id| !is_id(id)) {
            return Err(BuildError::BadId { field: field("inline_id") });
        }
    }
    Ok(())
}

fn name(field: &str, named: &NamedAddress) -> Result<(), BuildError> {
    one_line(&format!("{field}.name"), named.name.as_deref().unwrap_or_default())
}

fn one_line(field: &str, text: &str) -> Result<(), BuildError> {
    // U+2028 and U+2029 end a line for some readers, so they are none of one line.
    let breaks = |character: char| character.is_control() || matches!(character, '\u{2028}' | '\u{2029}');
    if text.chars().any(breaks) {
        return Err(BuildError::ControlCharacter { field: field.to_owned() });
    }
    Ok(())
}

/// Whether a text can stand between angle brackets as it is: stricter than RFC 5322 section 3.6.4, which lets
/// comments and folding in.
pub(super) fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>');
    !id.is_empty() && id.len() <= ID_BYTES && id.bytes().all(allowed)
}

/// Type and parameters, each checked: `text/csv; charset=utf-8`.
pub(super) fn media_type(text: &str) -> Option<(String, Vec<(String, String)>)> {
    let mut pieces = text.split(';');
    let (main, sub) = pieces.next()?.trim().split_once('/')?;
    if !is_token(main) || !is_token(sub) {
        return None;
    }
    let mut parameters = Vec::new();
    for piece in pieces.map(str::trim).filter(|piece| !piece.is_empty()) {
        let (key, value) = piece.split_once('=')?;
        let value = value.trim().trim_matches('"');
        let printable =
            value.len() <= 200 && value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if !is_token(key.trim()) || value.is_empty() || !printable {
            return None;
        }
        parameters.push((key.trim().to_ascii_lowercase(), value.to_owned()));
    }
    Some((format!("{main}/{sub}").to_ascii_lowercase(), parameters))
}

fn is_token(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
    !text.is_empty() && text.len() <= 127 && text.bytes().all(allowed)
}
