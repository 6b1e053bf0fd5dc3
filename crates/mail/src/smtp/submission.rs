//! What is asked of a submission and what became of it, per message and per recipient. Values only.

use model::address::EmailAddress;

use super::reply::{Class, Reply};
use super::{Capabilities, SizeLimit};
use crate::error::Kind;

/// Who sends to whom, and what the server must be told about the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// MAIL FROM.
    pub from: EmailAddress,
    /// RCPT TO, Bcc among them, at least one. Answers come back in this order.
    pub recipients: Vec<EmailAddress>,
    /// The message's size in bytes with CRLF line ends.
    pub size: u64,
    /// The message has bytes above 127. Ask [`Capabilities::eight_bit_mime`] before it is built so.
    pub eight_bit: bool,
    /// The message's headers have text beyond ASCII that was not encoded. What the addresses need is seen by itself.
    pub utf8: bool,
    /// Which reports are asked for; said where the server offers DSN, and nowhere else.
    pub reports: Option<Reports>,
}

/// The delivery reports that are asked for (RFC 3461): failures and delays always.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reports {
    /// Comes back in every report (ENVID): names the message to us and says nothing to others.
    pub envelope_id: String,
    /// Successful delivery is reported as well.
    pub success: bool,
}

impl Envelope {
    /// What stands in the way of sending this to a server with these capabilities, found before anything is said.
    pub fn obstacle(&self, capabilities: &Capabilities) -> Option<Kind> {
        if self.recipients.is_empty() {
            return Some(Kind::Unspeakable("a message needs at least one recipient"));
        }
        if let SizeLimit::AtMost(limit) = capabilities.size
            && self.size > limit
        {
            return Some(Kind::OverSize { size: self.size, limit });
        }
        if !capabilities.smtp_utf8 {
            if self.from.needs_utf8() {
                return Some(Kind::Unsupported("SMTPUTF8 (for the sender's address)"));
            }
            if self.recipients.iter().any(EmailAddress::needs_utf8) {
                return Some(Kind::Unsupported("SMTPUTF8 (for a recipient's address)"));
            }
            if self.utf8 {
                return Some(Kind::Unsupported("SMTPUTF8 (for the message's headers)"));
            }
        }
        if self.eight_bit && !capabilities.eight_bit_mime {
            return Some(Kind::Unsupported("8BITMIME (for the message's content)"));
        }
        None
    }

    fn needs_utf8(&self) -> bool {
        self.utf8 || self.from.needs_utf8() || self.recipients.iter().any(EmailAddress::needs_utf8)
    }

    /// MAIL with the parameters that are needed and announced (RFC 1870, RFC 6152, RFC 6531, RFC 3461). Reports bring back
    /// the headers and not the text: they travel unasked through other people's servers.
    pub(super) fn mail_command(&self, capabilities: &Capabilities) -> String {
        let size = match capabilities.size {
            SizeLimit::NotAnnounced => String::new(),
            SizeLimit::Unknown | SizeLimit::AtMost(_) => format!(" SIZE={}", self.size),
        };
        let body = if self.eight_bit { " BODY=8BITMIME" } else { "" };
        let utf8 = if self.needs_utf8() { " SMTPUTF8" } else { "" };
        let reports = match self.reports.as_ref().filter(|_| capabilities.dsn) {
            Some(reports) => format!(" RET=HDRS ENVID={}", xtext(&reports.envelope_id)),
            None => String::new(),
        };
        format!("MAIL FROM:<{}>{size}{body}{utf8}{reports}", self.from.as_str())
    }

    /// RCPT with what is to be reported, where DSN is announced. ORCPT keeps the address as we know it through every
    /// rewriting on the way; one beyond ASCII goes without (RFC 6533 section 3 needs servers that know it).
    pub(super) fn recipient_command(&self, recipient: &EmailAddress, capabilities: &Capabilities) -> String {
        let address = recipient.as_str();
        let reports = match self.reports.as_ref().filter(|_| capabilities.dsn) {
            Some(reports) => {
                let notify = if reports.success { "SUCCESS,FAILURE,DELAY" } else { "FAILURE,DELAY" };
                let original = if address.is_ascii() {
                    format!(" ORCPT=rfc822;{}", xtext(address))
                } else {
                    String::new()
                };
                format!(" NOTIFY={notify}{original}")
            }
            None => String::new(),
        };
        format!("RCPT TO:<{address}>{reports}")
    }
}

/// Text as an ESMTP parameter holds it (RFC 3461 section 4): what is not printable, `+` and `=` by their numbers.
fn xtext(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'!'..=b'~' if byte != b'+' && byte != b'=' => char::from(byte).to_string(),
            other => format!("+{other:02X}"),
        })
        .collect()
}

/// How far a message went, and each recipient's fate. Errors before the final dot are not here: they are `Err`.
#[must_use = "it says whether the message was sent"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The message's fate.
    pub outcome: Outcome,
    /// Each recipient's, in the envelope's order.
    pub recipients: Vec<RecipientState>,
}

impl Submission {
    /// How many recipients the server took responsibility for.
    pub fn accepted(&self) -> usize {
        self.recipients.iter().filter(|state| matches!(state, RecipientState::Accepted(_))).count()
    }
}

/// The fate of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server took responsibility, for the recipients it accepted, with this answer to the final dot.
    Sent(Reply),
    /// The server said no, to all, at this step and with these words. Nobody got it. The session goes on.
    Refused {
        /// Where it said no.
        step: Step,
        /// Its words. Each recipient's own stand with the recipient.
        reply: Reply,
    },
    /// The final dot may have left, and no answer that can be understood came back: the message was delivered to the
    /// recipients in doubt, or it was not. The session is closed.
    Unknown(crate::Error),
}

/// The steps of a transaction at which a server can say no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// MAIL FROM: the sender, the size, or the account.
    Sender,
    /// RCPT TO: every recipient was turned away.
    Recipients,
    /// DATA, before the message.
    Data,
    /// The whole message, after the final dot.
    Message,
}

/// The fate of one recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientState {
    /// The server took responsibility; what it said to RCPT.
    Accepted(Reply),
    /// Not now; the same again later may succeed.
    Deferred(Reply),
    /// No; the same again will fail again.
    Refused(Reply),
    /// The final dot may have left and no answer came; what was said to RCPT.
    InDoubt(Reply),
}

impl RecipientState {
    /// What the server last said about this recipient.
    pub fn reply(&self) -> &Reply {
        match self {
            Self::Accepted(reply) | Self::Deferred(reply) | Self::Refused(reply) | Self::InDoubt(reply) => {
                reply
            }
        }
    }

    /// What an answer to RCPT means: too many at once is never for good.
    pub(super) fn of(reply: Reply) -> Self {
        match reply.class() {
            Class::Done => Self::Accepted(reply),
            _ if reply.says_too_many_recipients() => Self::Deferred(reply),
            Class::Temporary => Self::Deferred(reply),
            Class::GoOn | Class::Permanent => Self::Refused(reply),
        }
    }

    /// What a refusal of the whole message makes of a recipient: those turned away before keep their own answer.
    pub(super) fn refused_with(self, reply: &Reply) -> Self {
        match self {
            Self::Accepted(_) | Self::InDoubt(_) if reply.class() == Class::Temporary => {
                Self::Deferred(reply.clone())
            }
            Self::Accepted(_) | Self::InDoubt(_) => Self::Refused(reply.clone()),
            already => already,
        }
    }

    pub(super) fn in_doubt(self) -> Self {
        match self {
            Self::Accepted(reply) => Self::InDoubt(reply),
            other => other,
        }
    }

    pub(super) fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted(_))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn envelope(from: &str, recipients: &[&str]) -> Envelope {
        Envelope {
            from: from.parse().unwrap(),
            recipients: recipients.iter().map(|to| to.parse().unwrap()).collect(),
            size: 1000,
            eight_bit: false,
            utf8: false,
            reports: None,
        }
    }

    fn reply(text: &str) -> Reply {
        Reply::parse(text).unwrap().unwrap()
    }

    #[test]
    fn parameters_are_said_only_where_announced_and_needed() {
        let plain = envelope("a@x", &["b@y"]);
        let all = Capabilities {
            size: SizeLimit::AtMost(5000),
            eight_bit_mime: true,
            smtp_utf8: true,
            ..Capabilities::default()
        };
        assert_eq!(plain.mail_command(&Capabilities::default()), "MAIL FROM:<a@x>");
        assert_eq!(plain.mail_command(&all), "MAIL FROM:<a@x> SIZE=1000");
        let rich = Envelope { eight_bit: true, ..envelope("a@x", &["b@y", "ü@y"]) };
        assert_eq!(rich.mail_command(&all), "MAIL FROM:<a@x> SIZE=1000 BODY=8BITMIME SMTPUTF8");
    }

    #[test]
    fn reports_are_asked_for_where_the_server_offers_them_and_nowhere_else() {
        let able = Capabilities { dsn: true, ..Capabilities::default() };
        let to: EmailAddress = "b+x=y@y.example".parse().unwrap();
        let beyond: EmailAddress = "ü@y.example".parse().unwrap();
        let plain = envelope("a@x", &["b@y"]);
        let asked = |success| Envelope {
            reports: Some(Reports { envelope_id: "id+1".into(), success }),
            ..plain.clone()
        };
        assert_eq!(asked(false).mail_command(&able), "MAIL FROM:<a@x> RET=HDRS ENVID=id+2B1");
        assert_eq!(
            asked(false).recipient_command(&to, &able),
            "RCPT TO:<b+x=y@y.example> NOTIFY=FAILURE,DELAY ORCPT=rfc822;b+2Bx+3Dy@y.example"
        );
        assert_eq!(
            asked(true).recipient_command(&beyond, &able),
            "RCPT TO:<ü@y.example> NOTIFY=SUCCESS,FAILURE,DELAY"
        );
        for (envelope, capabilities) in [(asked(true), Capabilities::default()), (plain.clone(), able)] {
            assert_eq!(envelope.mail_command(&capabilities), "MAIL FROM:<a@x>");
            assert_eq!(envelope.recipient_command(&to, &capabilities), "RCPT TO:<b+x=y@y.example>");
        }
    }

    #[test]
    fn what_a_server_cannot_take_is_known_before_a_word_is_said() {
        let none = Capabilities::default();
        let small = Capabilities { size: SizeLimit::AtMost(999), ..Capabilities::default() };
        let named = |kind: Option<Kind>| match kind {
            Some(Kind::Unsupported(what)) => what,
            other => panic!("{other:?}"),
        };
        assert_eq!(envelope("a@x", &["b@y"]).obstacle(&none), None);
        assert_eq!(
            envelope("a@x", &["b@y"]).obstacle(&small),
            Some(Kind::OverSize { size: 1000, limit: 999 })
        );
        assert!(named(envelope("ä@x", &["b@y"]).obstacle(&none)).contains("sender"));
        assert!(named(envelope("a@x", &["b@y", "ö@y"]).obstacle(&none)).contains("recipient"));
        assert!(
            named(Envelope { utf8: true, ..envelope("a@x", &["b@y"]) }.obstacle(&none)).contains("headers")
        );
        assert!(
            named(Envelope { eight_bit: true, ..envelope("a@x", &["b@y"]) }.obstacle(&none))
                .contains("8BITMIME")
        );
        assert!(matches!(envelope("a@x", &[]).obstacle(&none), Some(Kind::Unspeakable(_))));
    }

    #[test]
    fn a_refused_message_leaves_earlier_refusals_as_they_were() {
        let late = reply("451 4.3.0 later");
        let no = RecipientState::of(reply("550 5.1.1 unknown"));
        assert_eq!(no.clone().refused_with(&late), no);
        let yes = RecipientState::of(reply("250 2.1.5 ok"));
        assert_eq!(yes.clone().refused_with(&late), RecipientState::Deferred(late));
        assert!(matches!(yes.refused_with(&reply("554 5.7.1 spam")), RecipientState::Refused(_)));
        assert!(matches!(RecipientState::of(reply("552 5.5.3 too many")), RecipientState::Deferred(_)));
        assert!(matches!(RecipientState::of(reply("552 5.2.2 full")), RecipientState::Refused(_)));
    }

    proptest! {
        /// The commands trust the type: what it lets through can neither end a command nor add a parameter.
        #[test]
        fn no_address_can_say_more_than_itself(text in "\\PC{0,20}@\\PC{0,20}|[ -~\\r\\n\\x00\"\\\\]{0,20}@[ -~\\r\\n]{0,20}") {
            if let Ok(address) = text.parse::<EmailAddress>() {
                prop_assert!(!address.as_str().contains(['\r', '\n', '\0', ' ', '\t', '<', '>']));
            }
        }
    }
}
