//! A secret that goes in, and the forms in which it could come out: for searching what must not tell it. The same forms
//! everywhere, so that no search knows fewer of them than another.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// A secret, and what it looks like to whoever tells it.
#[derive(Clone, Debug)]
pub struct Canary {
    /// Which secret it is, for people.
    pub kind: &'static str,
    forms: Vec<String>,
}

impl Canary {
    /// A secret as it is, in hexadecimal digits, and in Base64 wherever it stands in what was encoded: a sign-in by LOGIN
    /// encodes it alone, one by PLAIN after other words (RFC 4616).
    pub fn new(kind: &'static str, secret: &[u8]) -> Self {
        let digits = hexadecimal(secret);
        let mut forms = vec![digits.to_uppercase(), digits];
        if let Ok(text) = std::str::from_utf8(secret) {
            forms.push(text.to_owned());
        }
        for before in 0..3 {
            let padded: Vec<u8> = std::iter::repeat_n(0, before).chain(secret.iter().copied()).collect();
            // Only what the secret alone decides: not the group that begins before it, and not the one that ends after it.
            let encoded = BASE64_STANDARD.encode(&padded[..padded.len() / 3 * 3]);
            forms.push(encoded[if before == 0 { 0 } else { 4 }..].to_owned());
        }
        Self { kind, forms }
    }

    /// A password, with all of what AUTH PLAIN says with each of these names.
    pub fn password(kind: &'static str, password: &str, names: &[&str]) -> Self {
        let mut canary = Self::new(kind, password.as_bytes());
        let plain = |name: &&str| BASE64_STANDARD.encode(format!("\0{name}\0{password}"));
        canary.forms.extend(names.iter().map(plain));
        canary
    }

    /// Each form, as it would stand in a text.
    pub fn forms(&self) -> &[String] {
        &self.forms
    }

    /// Whether a text has it in any form.
    pub fn is_in(&self, text: &str) -> bool {
        self.forms.iter().any(|form| text.contains(form))
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "Kanarienvogel-4802";

    #[test]
    fn it_is_found_however_it_is_written_and_wherever_it_stands() {
        let canary = Canary::new("password", SECRET.as_bytes());
        for before in ["", "a", "ab", "abc", "anna@mail.example"] {
            for after in ["", "!", "?!"] {
                let text = format!("{before}{SECRET}{after}");
                let digits = hexadecimal(text.as_bytes());
                for told in [BASE64_STANDARD.encode(&text), digits.to_uppercase(), digits, text] {
                    assert!(canary.is_in(&format!("C: {told} .")), "{told}");
                }
            }
        }
        assert!(!canary.is_in("Kanarienvogel-4803 S2FuYXJpZW52b2dlbC00ODAz"));
    }

    #[test]
    fn a_sign_in_by_plain_or_login_tells_it() {
        let canary = Canary::password("password", SECRET, &["anna@mail.example"]);
        let plain = BASE64_STANDARD.encode(format!("\0anna@mail.example\0{SECRET}"));
        assert!(canary.forms().contains(&plain));
        for said in [format!("AUTH PLAIN {plain}"), BASE64_STANDARD.encode(SECRET)] {
            assert!(canary.is_in(&said), "{said}");
        }
    }
}
