//! What a received message says, in the shape a record stores it; it never fails to exist, it carries warnings.

use std::fmt;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::names::names;
use crate::report::ReportKind;

/// A received message, as far as it could be read. Every text is valid UTF-8 without NUL and bounded in length.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ParsedMessage {
    /// Message-ID without its angle brackets.
    pub message_id: Option<String>,
    /// The first id of In-Reply-To, without angle brackets.
    pub in_reply_to: Option<String>,
    /// The ids of References in order, the oldest first; the youngest are kept when there are too many.
    pub references: Vec<String>,
    /// The decoded subject in one line.
    pub subject: Option<String>,
    /// From, in order; RFC 5322 section 3.6.2 lets it be several.
    pub from: Vec<Party>,
    /// Sender.
    pub sender: Option<Party>,
    /// Reply-To, in order.
    pub reply_to: Vec<Party>,
    /// To, in order, with the members of groups.
    pub to: Vec<Party>,
    /// Cc, in order, with the members of groups.
    pub cc: Vec<Party>,
    /// Bcc, in order. Rare in received mail: only a sender's own copy has it.
    pub bcc: Vec<Party>,
    /// When the sender says it was written.
    pub date: Option<Timestamp>,
    /// When the last server says it took it: the date of the topmost Received.
    pub received: Option<Timestamp>,
    /// The text to read, lines ended by LF, format=flowed unfolded (RFC 3676).
    pub text: Option<String>,
    /// Whether `text`, or a part of it, was made from HTML because the sender gave no text.
    pub text_derived: bool,
    /// The HTML as it was sent, not sanitized: never for a browser as it is. Inline text that stands beside it in
    /// the message is appended, escaped, so that a reader of the HTML misses nothing.
    pub html: Option<String>,
    /// Everything that is not the body to read, in the order of the message.
    pub attachments: Vec<ParsedAttachment>,
    /// Auto-Submitted without parameters, in lower case (RFC 3834 section 5).
    pub auto_submitted: Option<String>,
    /// Precedence in lower case: `bulk`, `list`, `junk`.
    pub precedence: Option<String>,
    /// List-Id without its description and angle brackets (RFC 2919).
    pub list_id: Option<String>,
    /// Return-Path without angle brackets. Present and empty is the null path of a report (RFC 5321 section 4.5.5).
    pub return_path: Option<String>,
    /// X-Auto-Response-Suppress in lower case: which automatic answers the sender does not want.
    pub response_suppressed: Option<String>,
    /// Whether a header of an answering machine says that nobody wrote it: X-Autoreply and its like.
    pub autoreply: bool,
    /// Whether it says how to get no more of its kind: List-Unsubscribe (RFC 2369 section 3.2).
    pub unsubscribable: bool,
    /// The report-type of a multipart/report, in lower case (RFC 6522).
    pub report_type: Option<String>,
    /// The addresses of X-Failed-Recipients, normalized: how Exim and others name them without a delivery-status part.
    pub failed_recipients: Vec<String>,
    /// What kind of report it was known to be before its parts were let go, of a message too large to be held.
    pub report_kind: Option<ReportKind>,
    /// Sensitivity (RFC 2156 section 5.3.4).
    pub sensitivity: Sensitivity,
    /// Importance, or what older headers say in its place.
    pub importance: Importance,
    /// What was odd about it, each kind once.
    pub warnings: Vec<ParseWarning>,
}

impl ParsedMessage {
    /// Notes something odd, once.
    pub fn warn(&mut self, warning: ParseWarning) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }
}

impl fmt::Debug for ParsedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParsedMessage")
            .field("recipients", &(self.to.len() + self.cc.len() + self.bcc.len()))
            .field("attachments", &self.attachments)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

/// One address of a header with the name beside it, as the sender wrote them: the address need not be a valid one.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Party {
    /// The display name, decoded.
    pub name: Option<String>,
    /// The address as written, without angle brackets.
    pub address: String,
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::address::redacted(&self.address))
    }
}

/// A part that is not the body to read: a file, an inline picture, a calendar, a signature, a nested message.
#[derive(Clone, PartialEq, Eq)]
pub struct ParsedAttachment {
    /// Its place among the attachments, from 0.
    pub position: usize,
    /// A file name fit to be shown: no path, no control or direction-changing characters. Not unique.
    pub name: String,
    /// Media type in lower case, such as `image/png`; `text/calendar` keeps its method parameter.
    pub content_type: String,
    /// Content-ID without angle brackets, by which HTML speaks of it.
    pub content_id: Option<String>,
    /// Meant to be shown within the body, not listed beside it.
    pub inline: bool,
    /// The decoded content.
    pub bytes: Bytes,
}

impl fmt::Debug for ParsedAttachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.content_type, self.bytes.len())
    }
}

names! {
    /// How private the sender calls a message.
    #[derive(Default)]
    "sensitivity" Sensitivity {
        /// Not said.
        #[default]
        Normal = "normal",
        /// Personal.
        Personal = "personal",
        /// Private.
        Private = "private",
        /// Company-Confidential.
        Confidential = "confidential",
    }

    /// How important the sender calls a message.
    #[derive(Default)]
    "importance" Importance {
        /// Can wait.
        Low = "low",
        /// Not said.
        #[default]
        Normal = "normal",
        /// Should not wait.
        High = "high",
    }

    /// What was odd about a received message. The raw message is kept in any case.
    "parse warning" ParseWarning {
        /// Nothing in it could be read as a message.
        Unparsable = "unparsable",
        /// No From with an address.
        NoFrom = "no_from",
        /// No Date.
        NoDate = "no_date",
        /// A Date that is none.
        BadDate = "bad_date",
        /// No recipient in To, Cc or Bcc.
        NoRecipients = "no_recipients",
        /// More than one header of a kind that may stand once; the first was taken (RFC 5322 section 3.6).
        RepeatedHeader = "repeated_header",
        /// Parts nested deeper than the limit; the rest is kept as an attachment.
        TooDeep = "too_deep",
        /// More parts than the limit; the rest is only in the raw message.
        TooManyParts = "too_many_parts",
        /// More header fields than the limit; the rest is only in the raw message.
        TooManyHeaders = "too_many_headers",
        /// More addresses than the limit; the rest is only in the raw message.
        TooManyParties = "too_many_parties",
        /// A header field longer than the limit; it was cut.
        HeaderTooLong = "header_too_long",
        /// A body longer than the limit; it was cut.
        TruncatedText = "truncated_text",
        /// A charset nobody knows; read as UTF-8, else as Windows-1252.
        CharsetUnknown = "charset_unknown",
        /// NUL bytes, taken out because a text cannot hold them.
        NulBytes = "nul_bytes",
        /// A transfer encoding that its content breaks; what could be decoded was.
        BrokenEncoding = "broken_encoding",
        /// A multipart without its boundary, read as text.
        BrokenMultipart = "broken_multipart",
        /// A winmail.dat (application/ms-tnef): what was formatted or attached may be in it alone.
        OutlookRichText = "outlook_rich_text",
        /// Encrypted, signed within an envelope, or rights-managed: only the program of whoever holds the key opens it.
        Sealed = "sealed",
        /// Something that begins like a uuencoded file and is none that could be read; it was left in the text.
        UuencodedText = "uuencoded_text",
        /// A file in yEnc, which was left in the text.
        YencText = "yenc_text",
    }
}

impl ParseWarning {
    /// What it means to whoever reads the message, and what can be done.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Unparsable => {
                "Nothing in it could be read as a message. The raw message is kept: download it, or ask its sender for \
                 another."
            }
            Self::NoFrom => "It does not say who sent it. The raw message shows which way it came.",
            Self::NoDate => "It does not say when it was written. When it was received counts instead.",
            Self::BadDate => "Its date cannot be read. When it was received counts instead.",
            Self::NoRecipients => {
                "It names no recipient, as newsletters and mail in Bcc do. Nothing needs to be done."
            }
            Self::RepeatedHeader => {
                "A header that may stand once stands several times; the first was taken. The raw message shows the others."
            }
            Self::TooDeep => "Its parts are nested very deeply. The innermost are in an attachment.",
            Self::TooManyParts => "It has more parts than are read. The others are in the raw message.",
            Self::TooManyHeaders => "It has more headers than are read. The others are in the raw message.",
            Self::TooManyParties => {
                "It names more addresses than are read. The others are in the raw message."
            }
            Self::HeaderTooLong => {
                "One of its headers is very long and was cut. The raw message has it whole."
            }
            Self::TruncatedText => "Its text is very long and was cut. The raw message has it whole.",
            Self::CharsetUnknown => {
                "It is written in a character set that is not known, so some letters may be wrong. The raw message is \
                 as it was sent."
            }
            Self::NulBytes => {
                "It holds bytes that no text can hold, which were left out. The raw message has them."
            }
            Self::BrokenEncoding => {
                "Some of it was damaged on its way or made wrongly, and was read as far as possible. Ask its sender for \
                 another when something is missing."
            }
            Self::BrokenMultipart => {
                "Its parts could not be told apart and are shown as one text. The raw message has them."
            }
            Self::OutlookRichText => {
                "It was sent in Outlook's rich text format; formatting and attachments may be inside winmail.dat, which \
                 Outlook opens. Ask its sender to send it as HTML or plain text."
            }
            Self::Sealed => {
                "Its content is sealed (S/MIME, PGP or rights management), so nothing of it was read but its header. The raw \
                 message is kept: download it, and open it with the program that has the key."
            }
            Self::UuencodedText => {
                "A file that somebody put into the text (uuencode) is not whole, so it was left there. Ask its sender \
                 to attach the file."
            }
            Self::YencText => {
                "A file stands in the text in an encoding of newsgroups (yEnc), which is not decoded. Ask its sender to \
                 attach the file."
            }
        }
    }
}

/// The warning that a Message-ID was used by another email before: found out when an email is recorded, not when it is read.
pub const MESSAGE_ID_REUSED: &str = "message_id_reused";

/// What a warning with this name, as emails keep it, means to whoever reads the email. One that nobody knows any more
/// means that something is odd.
pub fn meaning(warning: &str) -> &'static str {
    if warning == MESSAGE_ID_REUSED {
        return "Another email came with the same Message-ID, which senders should use once: one of the two may be forged. \
                Look at who sent them.";
    }
    let known: Option<ParseWarning> = warning.parse().ok();
    known.map_or("Something is odd about it. The raw message is kept.", ParseWarning::sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_value_and_is_what_serde_writes() {
        for warning in ParseWarning::ALL {
            assert_eq!(warning.as_str().parse(), Ok(*warning));
            assert_eq!(serde_json::to_string(warning).unwrap(), format!("\"{warning}\""));
            assert_eq!(meaning(warning.as_str()), warning.sentence());
            assert!(warning.sentence().len() > 40 && warning.sentence().ends_with('.'), "{warning}");
        }
        assert!(meaning(MESSAGE_ID_REUSED).contains("same Message-ID"));
        for importance in Importance::ALL {
            assert_eq!(importance.as_str().parse(), Ok(*importance));
        }
        for sensitivity in Sensitivity::ALL {
            assert_eq!(sensitivity.as_str().parse(), Ok(*sensitivity));
        }
    }

    #[test]
    fn debug_shows_neither_subject_nor_address_nor_body() {
        let party = Party { name: Some("Secret Name".into()), address: "secret@example.com".into() };
        let message = ParsedMessage {
            subject: Some("secret subject".into()),
            text: Some("secret body".into()),
            from: vec![party.clone()],
            to: vec![party],
            ..ParsedMessage::default()
        };
        let shown = format!("{message:?} {:?}", message.from);
        assert!(!shown.to_lowercase().contains("secret"), "{shown}");
    }
}
