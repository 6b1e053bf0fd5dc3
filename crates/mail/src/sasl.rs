//! What a sign-in proves itself with, and how an access token is shown to a mail server: OAUTHBEARER (RFC 7628), and
//! XOAUTH2, which Google and Microsoft had before it. A token is written inside TLS only, and appears in no error.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use model::endpoint::Endpoint;
use model::secret::{ExposeSecret as _, Secret};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Phase, printable};

/// The secret of a sign-in.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'a> {
    /// A password.
    Password(&'a Secret),
    /// An OAuth 2.0 access token (RFC 6750).
    Token(&'a Secret),
}

impl<'a> From<&'a Secret> for Proof<'a> {
    fn from(password: &'a Secret) -> Self {
        Self::Password(password)
    }
}

/// How a token is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    OauthBearer,
    Xoauth2,
}

impl Mechanism {
    /// What a refused server lacks.
    pub(crate) const WANTED: &'static str = "SASL OAUTHBEARER or XOAUTH2";

    /// The one with an RFC where both are offered.
    pub(crate) fn offered(offers: impl Fn(&str) -> bool) -> Option<Self> {
        [Self::OauthBearer, Self::Xoauth2].into_iter().find(|mechanism| offers(mechanism.name()))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OauthBearer => "OAUTHBEARER",
            Self::Xoauth2 => "XOAUTH2",
        }
    }

    /// The client's response, in base64.
    pub(crate) fn response(self, login: &str, token: &Secret, endpoint: &Endpoint) -> Zeroizing<String> {
        let token = token.expose_secret();
        let plain = Zeroizing::new(match self {
            Self::OauthBearer => {
                // `=` and `,` mean something in a GS2 header (RFC 5801 section 4).
                let login = login.replace('=', "=3D").replace(',', "=2C");
                let (host, port) = (&endpoint.host, endpoint.port);
                format!("n,a={login},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01")
            }
            Self::Xoauth2 => format!("user={login}\x01auth=Bearer {token}\x01\x01"),
        });
        Zeroizing::new(STANDARD.encode(plain.as_bytes()))
    }

    /// What a client says to the challenge that explains a refusal, so that the server ends the exchange: a single
    /// `%x01` (RFC 7628 section 3.2.3), or nothing.
    pub(crate) fn surrender(self) -> &'static str {
        match self {
            Self::OauthBearer => "AQ==",
            Self::Xoauth2 => "",
        }
    }
}

/// Why a server does not take a token, from its challenge: `invalid_token`, or a number such as `401`. Nothing when the
/// challenge is none of the kind.
pub(crate) fn challenge(text: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Challenge {
        status: String,
    }
    let text = text.trim_ascii();
    let json = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok()?;
    let challenge: Challenge = serde_json::from_slice(&json).ok()?;
    let status: String = printable(challenge.status.as_bytes()).chars().take(60).collect();
    Some(status).filter(|status| !status.is_empty())
}

/// A token has its own alphabet (RFC 6750 section 2.1), and `%x01` separates the parts of what is said.
pub(crate) fn speakable(login: &str, token: &Secret) -> Result<(), Error> {
    let unspeakable = |what| Err(Error::new(Phase::SignIn, Kind::Unspeakable(what)));
    if login.is_empty() || login.chars().any(char::is_control) {
        return unspeakable("the user name is empty or has a control character in it");
    }
    let token = token.expose_secret();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return unspeakable("the access token is empty or has a character in it that tokens have not");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::endpoint::{Protocol, Tls};

    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint {
            protocol: Protocol::Pop3,
            host: "server.example.com".into(),
            port: 143,
            tls: Tls::Implicit,
        }
    }

    #[test]
    fn the_examples_of_the_specifications_come_out_as_they_stand_there() {
        // RFC 7628 section 4.1, with the header fields in its order.
        let token = Secret::from("vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==");
        let said = Mechanism::OauthBearer.response("user@example.com", &token, &endpoint());
        assert_eq!(
            said.as_str(),
            "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyIHZGOWRmdDRxb\
             VRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
        );
        // Google's page on XOAUTH2.
        let token = Secret::from("ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg");
        let said = Mechanism::Xoauth2.response("someuser@example.com", &token, &endpoint());
        assert_eq!(
            said.as_str(),
            "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZ\
             Mjl0Q2cBAQ=="
        );
    }

    #[test]
    fn a_login_cannot_say_more_than_a_login() {
        let said = Mechanism::OauthBearer.response("a=b,c", &Secret::from("t"), &endpoint());
        assert!(STANDARD.decode(said.as_bytes()).unwrap().starts_with(b"n,a=a=3Db=2Cc,\x01"));
        assert!(speakable("anna", &Secret::from("abc-._~+/=")).is_ok());
        for (login, token) in [
            ("", "t"),
            ("a\x01auth=Bearer x", "t"),
            ("a\r\nQUIT", "t"),
            ("a", ""),
            ("a", "t\x01"),
            ("a", "t t"),
        ] {
            assert!(speakable(login, &Secret::from(token)).is_err(), "{login:?} {token:?}");
        }
    }

    #[test]
    fn a_challenge_is_read_for_its_status_and_nothing_else() {
        let said = |json: &str| challenge(STANDARD.encode(json).as_bytes());
        assert_eq!(said(r#"{"status":"invalid_token","scope":"mail"}"#).as_deref(), Some("invalid_token"));
        assert_eq!(said(r#"{"status":"401","schemes":"bearer"}"#).as_deref(), Some("401"));
        for none in [r#"{"state":"x"}"#, "{", "", r#"{"status":""}"#] {
            assert_eq!(said(none), None, "{none}");
        }
        assert_eq!(challenge(b"!!"), None);
    }

    #[test]
    fn the_mechanism_with_an_rfc_goes_first() {
        assert_eq!(Mechanism::offered(|_| true), Some(Mechanism::OauthBearer));
        assert_eq!(Mechanism::offered(|name| name == "XOAUTH2"), Some(Mechanism::Xoauth2));
        assert_eq!(Mechanism::offered(|name| name == "PLAIN"), None);
    }
}
