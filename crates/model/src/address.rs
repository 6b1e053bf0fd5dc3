//! One mailbox address: parsed, checked against RFC 5321 and RFC 6531, and compared by one normal form.
//!
//! Nothing here resolves a domain or asks whether a mailbox exists, and a display name never gets in.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The octets a local part may have (RFC 5321 section 4.5.3.1.1).
const LOCAL_PART_OCTETS: usize = 64;
/// The octets a domain may have (RFC 5321 section 4.5.3.1.2).
const DOMAIN_OCTETS: usize = 255;
/// The octets an address may have: a path of 256 less its angle brackets (RFC 5321 section 4.5.3.1.3).
const ADDRESS_OCTETS: usize = 254;
/// The octets one label of a domain may have (RFC 1035 section 2.3.4).
const LABEL_OCTETS: usize = 63;

/// A mailbox address such as `ada@example.com`, without a display name.
///
/// Local parts may be UTF-8 (RFC 6531 section 3.3) and domains internationalized; both are kept as given, so an
/// A-label and its U-label are two addresses here.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EmailAddress {
    text: String,
    at: usize,
}

impl EmailAddress {
    /// The address as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What stands before the last `@`.
    pub fn local_part(&self) -> &str {
        &self.text[..self.at]
    }

    /// What stands after the last `@`: a domain, or an address literal in brackets.
    pub fn domain(&self) -> &str {
        &self.text[self.at + 1..]
    }

    /// The key of the address table: every letter in lower case, ASCII and beyond.
    ///
    /// RFC 5321 section 2.4 lets a server tell `Ada` from `ada`; no server in use does, and people do not.
    pub fn normalized(&self) -> String {
        normalize(&self.text)
    }

    /// Whether the envelope needs SMTPUTF8 (RFC 6531): something in it is not ASCII.
    pub fn needs_utf8(&self) -> bool {
        !self.text.is_ascii()
    }
}

/// The normal form of an address as it stands in a header, whether or not it is a valid one: letters in lower case,
/// each by itself, so that the form of a text never depends on its neighbours.
pub fn normalize(address: &str) -> String {
    address.trim().chars().flat_map(char::to_lowercase).collect()
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Addresses are personal: what reaches a log by way of `Debug` keeps the first letter and the domain.
impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.text))
    }
}

/// An address as a log may show it: `a***@example.com`.
pub fn redacted(address: &str) -> String {
    let first = address.chars().next().filter(|first| *first != '@').map(String::from).unwrap_or_default();
    match address.rsplit_once('@') {
        Some((_, domain)) => format!("{first}***@{domain}"),
        None => format!("{first}***"),
    }
}

impl From<EmailAddress> for String {
    fn from(address: EmailAddress) -> Self {
        address.text
    }
}

impl TryFrom<String> for EmailAddress {
    type Error = InvalidAddress;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Why a text is no address. The messages never repeat what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// Nothing was given.
    #[error("the address is empty; give one such as ada@example.com")]
    Empty,
    /// No `@`.
    #[error("the address has no @; give one such as ada@example.com")]
    NoAt,
    /// Control characters, spaces or brackets.
    #[error(
        "the address contains {0}; give the bare address, such as ada@example.com, without a name or spaces"
    )]
    Forbidden(&'static str),
    /// The local part breaks a rule.
    #[error("the part before the @ {0}; a good address is ada@example.com")]
    LocalPart(&'static str),
    /// The domain breaks a rule.
    #[error("the part after the @ {0}; a good address is ada@example.com")]
    Domain(&'static str),
    /// More octets than a server must take.
    #[error("the address is longer than 254 bytes; give one such as ada@example.com")]
    TooLong,
}

impl FromStr for EmailAddress {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(InvalidAddress::Empty);
        }
        for character in text.chars() {
            if let Some(what) = forbidden(character) {
                return Err(InvalidAddress::Forbidden(what));
            }
        }
        let at = text.rfind('@').ok_or(InvalidAddress::NoAt)?;
        check_local_part(&text[..at])?;
        check_domain(&text[at + 1..])?;
        if text.len() > ADDRESS_OCTETS {
            return Err(InvalidAddress::TooLong);
        }
        Ok(Self { text: text.to_owned(), at })
    }
}

fn forbidden(character: char) -> Option<&'static str> {
    match character {
        '\r' | '\n' => Some("a line break"),
        '\0' => Some("a NUL byte"),
        '<' | '>' => Some("an angle bracket"),
        ',' | ';' => Some("a list separator"),
        _ if character.is_whitespace() => Some("a space"),
        _ if character.is_control() || is_invisible(character) => Some("an invisible character"),
        _ => None,
    }
}

/// Characters that show nothing and can make one address look like another (Unicode category Cf, those in use).
fn is_invisible(character: char) -> bool {
    matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A dot-string or a quoted string (RFC 5321 section 4.1.2), with UTF-8 where RFC 6531 lets it.
fn check_local_part(local: &str) -> Result<(), InvalidAddress> {
    let wrong = |what| Err(InvalidAddress::LocalPart(what));
    if local.is_empty() {
        return wrong("is empty");
    }
    if local.len() > LOCAL_PART_OCTETS {
        return wrong("is longer than 64 bytes");
    }
    if let Some(quoted) = local.strip_prefix('"') {
        let Some(inner) = quoted.strip_suffix('"') else {
            return wrong("opens a quotation and does not close it");
        };
        let mut characters = inner.chars();
        while let Some(character) = characters.next() {
            if character == '"' || (character == '\\' && characters.next().is_none()) {
                return wrong("has a quotation mark that is not escaped");
            }
        }
        return Ok(());
    }
    if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        return wrong("has a dot at an end or two dots in a row");
    }
    let allowed = |character: char| {
        character.is_ascii_alphanumeric()
            || "!#$%&'*+-/=?^_`{|}~.".contains(character)
            || !character.is_ascii()
    };
    if !local.chars().all(allowed) {
        return wrong("has a character that is not allowed there");
    }
    Ok(())
}

fn check_domain(domain: &str) -> Result<(), InvalidAddress> {
    let wrong = |what| Err(InvalidAddress::Domain(what));
    if domain.is_empty() {
        return wrong("is empty");
    }
    if domain.len() > DOMAIN_OCTETS {
        return wrong("is longer than 255 bytes");
    }
    if let Some(literal) = domain.strip_prefix('[') {
        let inner = literal.strip_suffix(']').unwrap_or_default();
        let known = match inner.get(..5) {
            Some(tag) if tag.eq_ignore_ascii_case("ipv6:") => inner[5..].parse::<Ipv6Addr>().is_ok(),
            _ => inner.parse::<Ipv4Addr>().is_ok(),
        };
        return if known {
            Ok(())
        } else {
            wrong("is no address literal such as [192.0.2.1] or [IPv6:2001:db8::1]")
        };
    }
    for label in domain.split('.') {
        if label.is_empty() {
            return wrong("has a dot at an end or two dots in a row");
        }
        if label.len() > LABEL_OCTETS {
            return wrong("has a label longer than 63 bytes");
        }
        if label.starts_with('-') || label.ends_with('-') {
            return wrong("has a label with a hyphen at an end");
        }
        // Underscores are no host name, but mail to them is delivered.
        let allowed = |character: char| {
            character.is_ascii_alphanumeric() || matches!(character, '-' | '_') || !character.is_ascii()
        };
        if !label.chars().all(allowed) {
            return wrong("has a character that no domain has");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_use_are_taken_as_they_are() {
        let longest = format!("{}@example.com", "a".repeat(64));
        for good in [
            "ada@example.com",
            "Ada.Lovelace+work@Mail.Example.COM",
            "o'brien@example.ie",
            "x@localhost",
            "josé@example.es",
            "用户@例子.广告",
            "ada@xn--fsqu00a.xn--55qw42g",
            "a@[192.0.2.1]",
            "a@[IPv6:2001:db8::1]",
            "\"a\\\"b\"@example.com",
            "\"a@b\"@example.com",
            "a_b@under_score.example",
            "!#$%&'*+-/=?^_`{|}~@example.com",
            &longest,
        ] {
            assert_eq!(good.parse::<EmailAddress>().map(|address| address.to_string()).as_deref(), Ok(good));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_part_that_is_wrong() {
        let long_local = format!("{}@example.com", "a".repeat(65));
        let long_label = format!("a@{}.example", "b".repeat(64));
        let long_domain = format!("a@{}", vec!["abcdefghi"; 26].join("."));
        let long_all = format!("{}@{}.example", "a".repeat(64), vec!["abcdefghi"; 19].join("."));
        for (bad, why) in [
            ("", "empty"),
            ("ada", "no @"),
            ("@example.com", "before the @ is empty"),
            ("ada@", "after the @ is empty"),
            ("ada lovelace@example.com", "a space"),
            ("Ada <ada@example.com>", "a space"),
            ("<ada@example.com>", "angle bracket"),
            ("a@example.com\r\nRCPT TO:<b@example.com>", "a line break"),
            ("a\0@example.com", "NUL"),
            ("a@example.com,b@example.com", "list separator"),
            ("ada\u{202e}@example.com", "invisible"),
            ("ada\u{a0}@example.com", "a space"),
            (".ada@example.com", "dot"),
            ("a..b@example.com", "dot"),
            ("a(b)@example.com", "not allowed"),
            ("\"ada@example.com", "quotation"),
            ("a@b@example.com", "not allowed"),
            ("a@-example.com", "hyphen"),
            ("a@example..com", "dot"),
            ("a@example.com.", "dot"),
            ("a@exa$mple.com", "no domain has"),
            ("a@[300.0.0.1]", "literal"),
            ("a@[IPv6:zz]", "literal"),
            ("a@[192.0.2.1", "literal"),
            (&long_local, "64"),
            (&long_label, "63"),
            (&long_domain, "255"),
            (&long_all, "254"),
        ] {
            let error = bad.parse::<EmailAddress>().unwrap_err().to_string();
            assert!(error.contains(why), "{bad}: {error}");
            assert!(error.contains("ada@example.com"), "{error} gives an example");
        }
    }

    #[test]
    fn two_spellings_of_one_address_have_one_key() {
        let key = |text: &str| text.parse::<EmailAddress>().unwrap().normalized();
        assert_eq!(key("Ada@Example.COM"), key("ada@example.com"));
        assert_eq!(key("JOSÉ@Example.ES"), key("josé@example.es"));
        assert_eq!(key("ΣΟΦΟΣ@example.gr"), "σοφοσ@example.gr");
        assert_ne!(key("ada+work@example.com"), key("ada@example.com"));
    }

    #[test]
    fn a_log_line_never_shows_the_whole_address() {
        let address: EmailAddress = "ada.lovelace@example.com".parse().unwrap();
        assert_eq!(format!("{address:?}"), "a***@example.com");
        assert_eq!(redacted("no address"), "n***");
        assert_eq!(redacted("@example.com"), "***@example.com");
    }

    #[test]
    fn the_parts_are_those_around_the_last_at() {
        let address: EmailAddress = "\"a@b\"@example.com".parse().unwrap();
        assert_eq!((address.local_part(), address.domain()), ("\"a@b\"", "example.com"));
        assert!(!address.needs_utf8());
        assert!("josé@example.es".parse::<EmailAddress>().unwrap().needs_utf8());
    }

    #[test]
    fn an_address_is_checked_when_it_is_read() {
        assert!(serde_json::from_str::<EmailAddress>("\"ada@example.com\"").is_ok());
        assert!(serde_json::from_str::<EmailAddress>("\"ada\"").is_err());
    }
}
