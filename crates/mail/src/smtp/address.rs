//! An address fit to stand in MAIL FROM and RCPT TO. Never lets through a character that could end the command or
//! start another one.

use std::fmt;

/// Longest local part and longest whole address in octets (RFC 5321 section 4.5.3.1).
const MAX_LOCAL: usize = 64;
const MAX_ADDRESS: usize = 254;

/// A `local@domain` address checked for the envelope (RFC 5321 section 4.1.2, RFC 6531 section 3.3).
///
/// Dot-string and quoted local parts, domains and address literals are taken; source routes, comments and display
/// names are not. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address(String);

impl Address {
    /// Checks an address as people and records write it, without angle brackets.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let (local, domain) = text.rsplit_once('@').ok_or(InvalidAddress::NoAt)?;
        if text.len() > MAX_ADDRESS || local.len() > MAX_LOCAL {
            return Err(InvalidAddress::TooLong);
        }
        if !is_local_part(local) {
            return Err(InvalidAddress::LocalPart);
        }
        if !is_domain(domain) && !is_literal(domain) {
            return Err(InvalidAddress::Domain);
        }
        Ok(Self(text.to_owned()))
    }

    /// The address, without angle brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the address can travel only where the server announced SMTPUTF8.
    pub fn needs_utf8(&self) -> bool {
        !self.0.is_ascii()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(…)")
    }
}

/// Why a text is no address for the envelope. Does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// There is no `@`.
    #[error("the address has no @; write it as name@example.org")]
    NoAt,
    /// Longer than SMTP carries.
    #[error("the address is longer than SMTP allows: at most 64 bytes before the @ and 254 in all")]
    TooLong,
    /// The part before the `@`.
    #[error("the part before the @ is empty or has a character or a dot where SMTP allows none")]
    LocalPart,
    /// The part after the `@`.
    #[error("the part after the @ is not a domain name")]
    Domain,
}

fn is_local_part(local: &str) -> bool {
    match local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(quoted) if local.len() >= 2 => is_quoted(quoted),
        _ => local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext)),
    }
}

/// RFC 5322 atext, and beyond ASCII what RFC 6531 adds, less controls and spaces of any script.
fn is_atext(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c)
    } else {
        !c.is_control() && !c.is_whitespace()
    }
}

/// Between the quotes: printable characters, `"` and `\` only behind a backslash. A space is legal here (RFC 5321
/// `qtextSMTP`), yet refused with the angle brackets: they are what command injection is made of.
fn is_quoted(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match chars.next() {
                Some(escaped) => escaped,
                None => return false,
            },
            '"' => return false,
            plain => plain,
        };
        if c.is_control() || c.is_whitespace() || c == '<' || c == '>' {
            return false;
        }
    }
    true
}

/// Letters, digits and inner hyphens in labels of at most 63 octets; beyond ASCII whatever is alphanumeric (U-labels).
pub(crate) fn is_domain(domain: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .chars()
                .all(|c| if c.is_ascii() { c.is_ascii_alphanumeric() || c == '-' } else { is_atext(c) })
    };
    !domain.is_empty() && domain.len() <= 253 && domain.split('.').all(label)
}

/// An address literal (RFC 5321 section 4.1.3): `[192.0.2.1]` or `[IPv6:2001:db8::1]`.
pub(crate) fn is_literal(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else { return false };
    match inner.strip_prefix("IPv6:") {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => inner.parse::<std::net::Ipv4Addr>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_people_have_are_taken() {
        for good in [
            "a@b",
            "anna.muster@example.org",
            "a+b=c@sub.example.co.uk",
            "o'neil@example.org",
            "\"a..b\"@example.org",
            "\"a\\\"b\"@example.org",
            "x@[192.0.2.1]",
            "x@[IPv6:2001:db8::1]",
            "jörg@example.org",
            "用户@例子.公司",
        ] {
            assert_eq!(Address::parse(good).map(|a| a.as_str().to_owned()), Ok(good.to_owned()));
        }
        assert!(Address::parse("jörg@example.org").unwrap().needs_utf8());
        assert!(!Address::parse("joerg@example.org").unwrap().needs_utf8());
    }

    #[test]
    fn what_could_inject_a_command_or_header_is_refused() {
        let table = [
            ("", InvalidAddress::NoAt),
            ("anna", InvalidAddress::NoAt),
            ("@example.org", InvalidAddress::LocalPart),
            ("anna@", InvalidAddress::Domain),
            ("anna@example..org", InvalidAddress::Domain),
            ("anna@-example.org", InvalidAddress::Domain),
            ("anna@example.org>\r\nRCPT TO:<eve@example.org", InvalidAddress::LocalPart),
            ("anna@example.org\r\nDATA", InvalidAddress::Domain),
            ("anna\n@example.org", InvalidAddress::LocalPart),
            ("anna\0@example.org", InvalidAddress::LocalPart),
            ("an na@example.org", InvalidAddress::LocalPart),
            ("<anna@example.org>", InvalidAddress::LocalPart),
            ("anna@example.org> SIZE=1", InvalidAddress::Domain),
            ("anna@example.org BODY=8BITMIME", InvalidAddress::Domain),
            ("@relay,@other:anna@example.org", InvalidAddress::LocalPart),
            ("\"an na\"@example.org", InvalidAddress::LocalPart),
            ("\"an\\\r\nna\"@example.org", InvalidAddress::LocalPart),
            ("\"anna@example.org", InvalidAddress::LocalPart),
            ("\"@example.org", InvalidAddress::LocalPart),
            ("anna\u{85}@example.org", InvalidAddress::LocalPart),
            ("anna\u{2028}@example.org", InvalidAddress::LocalPart),
            ("anna@exa\u{a0}mple.org", InvalidAddress::Domain),
            ("anna@[1.2.3]", InvalidAddress::Domain),
        ];
        for (text, why) in table {
            assert_eq!(Address::parse(text), Err(why), "{text:?}");
        }
        assert_eq!(Address::parse(&format!("{}@b", "x".repeat(65))), Err(InvalidAddress::TooLong));
        assert_eq!(Address::parse(&format!("a@{}", "x.".repeat(130))), Err(InvalidAddress::TooLong));
    }

    #[test]
    fn debug_does_not_show_the_address() {
        assert_eq!(format!("{:?}", Address::parse("anna@example.org").unwrap()), "Address(…)");
    }

    proptest! {
        #[test]
        fn an_accepted_address_never_holds_what_ends_a_command(text in "\\PC{0,20}@\\PC{0,20}|[ -~\\r\\n\\x00\"\\\\]{0,20}@[ -~\\r\\n]{0,20}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert!(!address.as_str().contains(['\r', '\n', '\0', ' ', '<', '>']));
            }
        }
    }
}
