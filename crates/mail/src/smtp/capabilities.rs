//! What a server announced in its answer to EHLO. Never assumes what was not said.

/// The extensions of a server that this client knows how to use.
#[expect(clippy::struct_excessive_bools, reason = "each is a keyword that was announced or was not")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// PIPELINING, RFC 2920.
    pub pipelining: bool,
    /// 8BITMIME, RFC 6152. Without it a message must be built from 7-bit lines.
    pub eight_bit_mime: bool,
    /// SMTPUTF8, RFC 6531. Without it every address and header must be ASCII.
    pub smtp_utf8: bool,
    /// STARTTLS, RFC 3207.
    pub starttls: bool,
    /// ENHANCEDSTATUSCODES, RFC 2034. Codes are read whether it was announced or not.
    pub enhanced_status_codes: bool,
    /// DSN, RFC 3461.
    pub dsn: bool,
    /// SIZE, RFC 1870: the largest message taken, in bytes.
    pub size: SizeLimit,
    /// AUTH PLAIN, RFC 4616.
    pub auth_plain: bool,
    /// AUTH LOGIN, draft-murchison-sasl-login.
    pub auth_login: bool,
    /// The mechanisms announced, as said, for people to read; at most twenty.
    pub mechanisms: Vec<String>,
}

/// What SIZE says (RFC 1870 section 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SizeLimit {
    /// Not announced: MAIL takes no SIZE.
    #[default]
    NotAnnounced,
    /// Announced without a number or with 0: MAIL takes SIZE, no fixed limit.
    Unknown,
    /// The largest message in bytes.
    AtMost(u64),
}

impl Capabilities {
    /// Reads the lines of a 250 reply to EHLO, without codes. The first is the greeting.
    pub(crate) fn parse(lines: &[String]) -> Self {
        let mut found = Self::default();
        for line in lines.iter().skip(1) {
            // `AUTH=PLAIN LOGIN` is how servers older than RFC 2554 wrote it; some still do.
            let line = line.to_ascii_uppercase().replacen("AUTH=", "AUTH ", 1);
            let mut words = line.split_ascii_whitespace();
            match words.next().unwrap_or_default() {
                "PIPELINING" => found.pipelining = true,
                "8BITMIME" => found.eight_bit_mime = true,
                "SMTPUTF8" => found.smtp_utf8 = true,
                "STARTTLS" => found.starttls = true,
                "ENHANCEDSTATUSCODES" => found.enhanced_status_codes = true,
                "DSN" => found.dsn = true,
                "SIZE" => {
                    found.size = match words.next().and_then(|number| number.parse().ok()) {
                        None | Some(0) => SizeLimit::Unknown,
                        Some(bytes) => SizeLimit::AtMost(bytes),
                    };
                }
                "AUTH" => {
                    for mechanism in words {
                        found.auth_plain |= mechanism == "PLAIN";
                        found.auth_login |= mechanism == "LOGIN";
                        if found.mechanisms.len() < 20
                            && !found.mechanisms.iter().any(|known| known == mechanism)
                        {
                            found.mechanisms.push(mechanism.chars().take(30).collect());
                        }
                    }
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Capabilities {
        Capabilities::parse(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_was_announced_is_known_and_nothing_else() {
        let found = parse(
            "mx greets you\nPIPELINING\nSIZE 10240000\nETRN\nSTARTTLS\nauth plain login\n8bitmime\nDSN\nSMTPUTF8\nENHANCEDSTATUSCODES\nCHUNKING",
        );
        assert!(found.pipelining && found.starttls && found.eight_bit_mime && found.smtp_utf8 && found.dsn);
        assert!(found.auth_plain && found.auth_login && found.enhanced_status_codes);
        assert_eq!(found.size, SizeLimit::AtMost(10_240_000));
        assert_eq!(found.mechanisms, ["PLAIN", "LOGIN"]);
        assert_eq!(parse("PIPELINING"), Capabilities::default(), "the first line is the server's name");
        assert_eq!(parse("mx\nXPIPELINING\nPIPELININGX"), Capabilities::default());
    }

    #[test]
    fn sizes_without_a_number_are_no_limit() {
        assert_eq!(parse("mx\nSIZE").size, SizeLimit::Unknown);
        assert_eq!(parse("mx\nSIZE 0").size, SizeLimit::Unknown);
        assert_eq!(parse("mx\nSIZE 99999999999999999999999").size, SizeLimit::Unknown);
        assert_eq!(parse("mx").size, SizeLimit::NotAnnounced);
    }

    #[test]
    fn the_old_way_to_write_auth_is_read() {
        let found = parse("mx\nAUTH=LOGIN PLAIN\nAUTH LOGIN PLAIN CRAM-MD5");
        assert!(found.auth_plain && found.auth_login);
        assert_eq!(found.mechanisms, ["LOGIN", "PLAIN", "CRAM-MD5"]);
    }
}
