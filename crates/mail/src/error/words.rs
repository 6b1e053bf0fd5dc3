//! What people read: the cause and the remedy of each kind of error, and foreign words made safe to show.
//!
//! Nothing here may show what the server said or who was signing in.

use std::fmt;

use super::{Busy, Distrust, Error, Kind, Phase};

/// The longest that is kept of a server's words, in characters.
const SAID_LIMIT: usize = 500;

/// A server's words without control and direction-changing characters, on one line, at most 500 characters.
pub fn printable(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let mut shown = String::new();
    let mut length = 0;
    for character in text.chars() {
        let blank = character.is_control() || character.is_whitespace();
        if blank && shown.ends_with(' ') || is_invisible(character) {
            continue;
        }
        shown.push(if blank { ' ' } else { character });
        length += 1;
        if length == SAID_LIMIT {
            break;
        }
    }
    shown.trim().to_owned()
}

/// Characters that reorder or hide what stands beside them.
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{61c}')
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = self.0.place.as_deref().unwrap_or("the server");
        let phase = doing(self.0.phase);
        match &self.0.kind {
            Kind::Unresolvable => write!(
                f,
                "the host of {server} has no address: check the spelling of the host name and that its DNS record \
                 exists"
            ),
            Kind::ForbiddenAddress { address, class } => write!(
                f,
                "{server} leads to {address}, which is a {class} address: use a public address, or have the operator \
                 add its network to `network.allow`"
            ),
            Kind::Refused => write!(
                f,
                "{server} refused the connection: check the port, and that the mail server is running and lets this \
                 machine in"
            ),
            Kind::Unreachable => write!(
                f,
                "{server} cannot be reached from here: check the address, the route and the firewalls in between"
            ),
            Kind::TimedOut => write!(f, "{server} took too long {phase}: {}", self.patience()),
            Kind::CertificateNotTrusted(why) => write!(f, "the certificate of {server} {}", distrust(*why)),
            Kind::AuthorityUnreadable => f.write_str(
                "the profile's CA is not readable: paste one or more certificates in PEM form, from `-----BEGIN \
                 CERTIFICATE-----` to `-----END CERTIFICATE-----`",
            ),
            Kind::TlsOnPlain => write!(
                f,
                "{server} speaks without TLS at this port: choose STARTTLS, or the TLS port (995 for POP3, 465 for \
                 SMTP)"
            ),
            Kind::PlainOnTls => write!(
                f,
                "{server} speaks TLS from the first byte at this port: choose implicit TLS, or the STARTTLS port \
                 (110 for POP3, 587 for SMTP)"
            ),
            Kind::TlsFailed => write!(
                f,
                "no TLS connection to {server} came about: it must speak TLS 1.2 or 1.3 with a modern cipher suite"
            ),
            Kind::TlsNotOffered => write!(
                f,
                "{server} does not offer STARTTLS, and credentials are never sent in the clear: enable it on the \
                 server, or use the TLS port (995 for POP3, 465 for SMTP)"
            ),
            Kind::CredentialsRefused => write!(
                f,
                "{server} refused the credentials: check user name and password, and whether the server wants an \
                 app password"
            ),
            Kind::Locked => write!(
                f,
                "another program has the mailbox open on {server}: it is tried again; close other POP3 clients of \
                 this mailbox if this goes on"
            ),
            Kind::LoginDelay => write!(
                f,
                "{server} asks for a longer pause between sign-ins: it is tried again later; raise the minimum \
                 polling interval if this goes on"
            ),
            Kind::TemporarilyRefused => write!(
                f,
                "{server} says no for now {phase}: it is tried again; ask its administrator if this goes on"
            ),
            Kind::PermanentlyRefused => write!(
                f,
                "{server} said no for good {phase}: read its words, and ask its administrator what to change"
            ),
            Kind::Unsupported(what) => write!(
                f,
                "{server} does not support {what}, which is needed: enable it there, or use another server or protocol"
            ),
            Kind::Violation(how) => write!(
                f,
                "{server} broke the protocol {phase} ({how}): check that the port is the right one for the protocol, \
                 and tell its administrator"
            ),
            Kind::Unavailable => write!(
                f,
                "{server} takes nothing now {phase} and closes the connection: it is tried again; ask its \
                 administrator if this goes on"
            ),
            Kind::OverSize { size, limit } => write!(
                f,
                "the message has {size} bytes and {server} takes at most {limit}: send smaller or fewer attachments, \
                 or have its administrator raise the limit"
            ),
            Kind::TooLarge(what) => write!(
                f,
                "{what} from or for {server} is larger than the limit: raise the limit, or handle it by hand"
            ),
            Kind::Closed => write!(
                f,
                "{server} ended the connection {phase}: it is tried again; look into the server's log if this goes on"
            ),
            Kind::Unspeakable(what) => write!(f, "{what}: correct the value"),
            Kind::Throttled(Busy::Server) => write!(
                f,
                "{server} has too much to do {phase}: everybody leaves it alone for as long as it asked; lower the \
                 profile's connections if this goes on"
            ),
            Kind::Throttled(Busy::Mailbox) => write!(
                f,
                "{server} was asked too much for this mailbox {phase}: it is left alone for as long as the server \
                 asked; look for other programs that use the mailbox if this goes on"
            ),
            Kind::ImpersonationRefused => write!(
                f,
                "{server} does not let the profile's account act for this mailbox: give the account the role \
                 ApplicationImpersonation for it"
            ),
            Kind::NoSuchMailbox => write!(
                f,
                "{server} has no mailbox with this address: use the primary address of a mailbox that is on this server"
            ),
            Kind::MailboxDisabled => write!(
                f,
                "{server} has an account and no mailbox that can be used behind it: enable the mailbox, give it a \
                 licence, or open Exchange Web Services for it"
            ),
            Kind::AccessDenied => write!(
                f,
                "{server} keeps the account out {phase}: give it full access to the mailbox, or the rights on the \
                 folder"
            ),
            Kind::SyncStateInvalid => write!(
                f,
                "{server} does not know any more where the last synchronization ended: it is begun anew"
            ),
            Kind::NotFound => write!(
                f,
                "{server} has no such item or folder any more {phase}: it was moved or deleted meanwhile"
            ),
        }
    }
}

impl Error {
    /// The remedy for silence depends on where it fell silent.
    fn patience(&self) -> &'static str {
        match self.0.phase {
            Phase::Resolve => "check the name service of this machine",
            Phase::Connect => "check the port, and whether a firewall drops connections from here",
            Phase::Greeting | Phase::Tls => {
                "check that the port belongs to the protocol and that TLS is set as the port wants it"
            }
            _ => "it is tried again; the server may be overloaded",
        }
    }
}

fn distrust(why: Distrust) -> &'static str {
    match why {
        Distrust::Expired => "has expired: renew it on the server",
        Distrust::NotYetValid => "is not valid yet: check the clocks of the server and of this machine",
        Distrust::UnknownIssuer => {
            "is signed by an authority that is not trusted here: install a certificate of a public authority with \
             its whole chain, or name the server's own CA on the profile"
        }
        Distrust::WrongHost => {
            "is for other host names: use a host name that stands in the certificate, or renew it for this one"
        }
        Distrust::Revoked => "was revoked by its authority: renew it on the server",
        Distrust::AuthorityAsServer => {
            "is an authority's and not a server's: give the server a certificate signed by that authority, and name \
             the authority on the profile"
        }
        Distrust::Unusable => {
            "cannot be checked, being malformed or of an unsupported kind: renew it on the server"
        }
    }
}

fn doing(phase: Phase) -> &'static str {
    match phase {
        Phase::Resolve => "when its name was looked up",
        Phase::Connect => "when the connection was opened",
        Phase::Tls => "in the TLS handshake",
        Phase::Greeting => "before its greeting",
        Phase::Capabilities => "when asked what it can do",
        Phase::StartTls => "when asked for TLS",
        Phase::SignIn => "at sign-in",
        Phase::List => "when listing the mailbox",
        Phase::Fetch => "when a message was fetched",
        Phase::Delete => "when a message was deleted",
        Phase::Envelope => "when given sender and recipients",
        Phase::Data => "when given the message",
        Phase::Verdict => "after the whole message had been given to it",
        Phase::Quit => "at the end of the session",
        Phase::Discover => "when asked where the mailbox's web services are",
        Phase::Lookup => "when asked whose the address is",
        Phase::Change => "when something in the mailbox was changed",
        Phase::Watch => "when waiting for its notifications",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_words_become_one_printable_line_of_bounded_length() {
        assert_eq!(printable(b" no\r\n\tway\x1b[31m \x00\xff "), "no way [31m \u{fffd}");
        assert_eq!(printable("a\u{202e}b".as_bytes()), "ab");
        assert_eq!(printable("ü".repeat(9_000).as_bytes()).chars().count(), SAID_LIMIT);
        assert_eq!(printable(b"\r\n"), "");
    }

    #[test]
    fn neither_debug_nor_display_shows_what_the_server_said() {
        let error = Error::new(Phase::SignIn, Kind::CredentialsRefused)
            .at("mail.example:995")
            .with_said("no such user: anna@example.com");
        assert_eq!(error.said(), Some("no such user: anna@example.com"));
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains("anna"), "{shown}");
            assert!(shown.contains("mail.example:995"), "{shown}");
        }
    }
}
