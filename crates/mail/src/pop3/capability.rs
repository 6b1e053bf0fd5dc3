//! What a server announces with CAPA (RFC 2449). A server without CAPA announces nothing.

use std::time::Duration;

/// What the server announced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one word of the announcement, and any mix is possible"
)]
pub struct Capabilities {
    /// Whether the server knows CAPA at all; without it nothing else here is known.
    pub announced: bool,
    /// STLS (RFC 2595).
    pub start_tls: bool,
    /// SASL mechanisms in upper case (RFC 5034).
    pub sasl: Vec<String>,
    /// USER and PASS.
    pub user: bool,
    /// UIDL.
    pub uidl: bool,
    /// TOP.
    pub top: bool,
    /// PIPELINING: commands may be sent before earlier ones are answered.
    pub pipelining: bool,
    /// RESP-CODES: refusals carry response codes.
    pub response_codes: bool,
    /// AUTH-RESP-CODE (RFC 3206): refused credentials say so by `[AUTH]`.
    pub auth_response_code: bool,
    /// UTF8 (RFC 6856).
    pub utf8: bool,
    /// LOGIN-DELAY: the least time between sign-ins. It may be longer for this user than what was said before sign-in.
    pub login_delay: Option<Duration>,
    /// EXPIRE: how many days messages are kept.
    pub expire: Option<Expire>,
}

/// How long a server keeps messages (RFC 2449 section 6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expire {
    /// For ever.
    Never,
    /// This many days; 0 means that what was retrieved may be gone in the next session.
    Days(u32),
}

impl Capabilities {
    /// Notes one line of the answer to CAPA. Unknown capabilities and bad values are passed over.
    pub(super) fn note(&mut self, line: &[u8]) {
        self.announced = true;
        let line = String::from_utf8_lossy(line).to_ascii_uppercase();
        let mut words = line.split_ascii_whitespace();
        match words.next() {
            Some("STLS") => self.start_tls = true,
            Some("SASL") => self.sasl.extend(words.map(str::to_owned)),
            Some("USER") => self.user = true,
            Some("UIDL") => self.uidl = true,
            Some("TOP") => self.top = true,
            Some("PIPELINING") => self.pipelining = true,
            Some("RESP-CODES") => self.response_codes = true,
            Some("AUTH-RESP-CODE") => self.auth_response_code = true,
            Some("UTF8") => self.utf8 = true,
            Some("LOGIN-DELAY") => {
                self.login_delay = words.next().and_then(|word| word.parse().ok()).map(Duration::from_secs);
            }
            Some("EXPIRE") => {
                self.expire = words.next().and_then(|word| match word {
                    "NEVER" => Some(Expire::Never),
                    days => days.parse().ok().map(Expire::Days),
                });
            }
            _ => {}
        }
    }

    /// Whether this SASL mechanism (in upper case) is offered.
    pub fn offers(&self, mechanism: &str) -> bool {
        self.sasl.iter().any(|offered| offered == mechanism)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> Capabilities {
        let mut capabilities = Capabilities::default();
        lines.lines().for_each(|line| capabilities.note(line.as_bytes()));
        capabilities
    }

    #[test]
    fn the_example_of_the_rfc_is_understood() {
        let capabilities = read(
            "TOP\nUSER\nSASL CRAM-MD5 Plain\nRESP-CODES\nLOGIN-DELAY 900 USER\nPIPELINING\nEXPIRE 60\nUIDL\nSTLS\n\
             UTF8 USER\nAUTH-RESP-CODE\nIMPLEMENTATION Shlemazle-Plotz-v302",
        );
        assert!(capabilities.announced && capabilities.top && capabilities.user && capabilities.pipelining);
        assert!(
            capabilities.uidl && capabilities.start_tls && capabilities.utf8 && capabilities.response_codes
        );
        assert!(
            capabilities.auth_response_code && capabilities.offers("PLAIN") && !capabilities.offers("LOGIN")
        );
        assert_eq!(capabilities.login_delay, Some(Duration::from_mins(15)));
        assert_eq!(capabilities.expire, Some(Expire::Days(60)));
    }

    #[test]
    fn bad_values_are_passed_over() {
        let capabilities =
            read("LOGIN-DELAY\nLOGIN-DELAY -5\nLOGIN-DELAY 99999999999999999999999\nEXPIRE soon\n\nSASL");
        assert_eq!(capabilities, Capabilities { announced: true, ..Capabilities::default() });
        assert_eq!(read("EXPIRE NEVER").expire, Some(Expire::Never));
        assert!(read("pipelining").pipelining);
        assert!(!read("XPIPELINING\nPIPELININGX").pipelining);
    }
}
