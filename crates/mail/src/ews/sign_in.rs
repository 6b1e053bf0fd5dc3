//! How a request says who asks, and what it means when that is refused. Secrets are said inside verified TLS only, since
//! there is no other connection here, and appear in no error.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use model::secret::{ExposeSecret as _, Secret};
use zeroize::Zeroizing;

use super::ntlm::{self, Account, Shaken};
use super::session::{Heard, Held, Way};
use super::{Identity, Schemes, Session, Settings};
use crate::error::{Error, Kind, Phase};
use crate::sasl::{self, Proof};

/// The schemes of a handshake, and what it takes a password for granted by, the plainer one first.
pub(super) const HANDSHAKES: [&str; 2] = ["NTLM", "Negotiate"];

/// Checks that what proves somebody can be said at all, before anything is, and finds how it is said first.
pub(super) fn held(identity: &Identity<'_>, settings: &Settings) -> Result<(Held, Way), Error> {
    let unspeakable = |what| Err(Error::new(Phase::SignIn, Kind::Unspeakable(what)));
    let way = match identity.proof {
        Proof::Token(token) => {
            sasl::speakable("token", token)?;
            Way::Each
        }
        Proof::Password(password) => {
            // RFC 7617 section 2: the first colon ends the user name.
            let login = identity.login;
            if login.is_empty() || login.contains(':') || login.chars().any(char::is_control) {
                return unspeakable("the user name is empty, or has a colon or a control character in it");
            }
            // Longer ones fit none of the schemes' fields.
            if login.len() > 1000 || password.expose_secret().chars().any(char::is_control) {
                return unspeakable(
                    "the user name is too long, or the password has a control character in it",
                );
            }
            match settings.schemes {
                Schemes { basic: true, .. } => Way::Each,
                Schemes { ntlm: true, .. } => Way::Handshake { scheme: HANDSHAKES[0], done: false },
                Schemes { .. } => {
                    return Err(Error::new(
                        Phase::SignIn,
                        Kind::Unsupported("a way to say the password that is allowed"),
                    ));
                }
            }
        }
    };
    Ok((identity.proof.into(), way))
}

impl Held {
    /// The `Authorization` field. `Debug` of it shows nothing.
    pub(super) fn field(&self, login: &str) -> Option<HeaderValue> {
        let value = match self {
            Self::Password(password) => basic(login, password),
            Self::Token(token) => Zeroizing::new(format!("Bearer {}", token.expose_secret())),
        };
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn secret(&self) -> &Secret {
        match self {
            Self::Password(secret) | Self::Token(secret) => secret,
        }
    }
}

/// RFC 7617.
pub(super) fn basic(login: &str, password: &Secret) -> Zeroizing<String> {
    let pair = Zeroizing::new(format!("{login}:{}", password.expose_secret()));
    Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())))
}

/// Whether a server takes this scheme; what it does not say it may take.
pub(super) fn offers(headers: &HeaderMap, scheme: &str) -> bool {
    let mut offered = headers.get_all(WWW_AUTHENTICATE).into_iter().peekable();
    offered.peek().is_none()
        || offered.any(|field| {
            // A field may hold several, separated by commas as their parameters are.
            let field = field.to_str().unwrap_or_default();
            field.split(',').any(|part| {
                part.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case(scheme))
            })
        })
}

impl Session {
    /// What the next request says of who asks; none where the connection is known already.
    pub(super) fn authorization(&mut self) -> Result<Option<HeaderValue>, Error> {
        match self.way {
            Way::Handshake { .. } => Ok(self.once.take()),
            Way::Each => {
                let unspeakable = Kind::Unspeakable("the credentials cannot be said in HTTP");
                let field = self.proof.field(&self.login);
                field.map(Some).ok_or_else(|| self.error(Phase::SignIn, unspeakable))
            }
        }
    }

    /// Whether another way to prove the same is left after a 401: the one that the server offers instead. A proof that was
    /// looked at and refused has none.
    pub(super) fn turn_to_handshake(&mut self, headers: &HeaderMap) -> bool {
        let refused = self.heard == Heard::Welcome || self.way != Way::Each || offers(headers, "Basic");
        if refused || !self.settings.schemes.ntlm || matches!(self.proof, Held::Token(_)) {
            return false;
        }
        let offered = HANDSHAKES.into_iter().find(|scheme| offers(headers, scheme));
        if let Some(scheme) = offered {
            self.way = Way::Handshake { scheme, done: false };
        }
        offered.is_some()
    }

    /// Goes through the handshake, so that the next request proves who asks for as long as the connection lasts.
    pub(super) async fn shake_hands(&mut self, scheme: &'static str) -> Result<(), Error> {
        let Held::Password(password) = &self.proof else { return Ok(()) };
        let password = password.clone();
        let login = self.login.clone();
        let account = Account::new(&login, &password);
        let until = self.soon();
        let mut scheme = scheme;
        loop {
            self.count();
            let Some(channel) = &mut self.channel else {
                return Err(self.error(Phase::SignIn, Kind::Closed));
            };
            self.busy = true;
            let shaken = ntlm::shake_hands(channel, &self.address, &account, scheme, until).await;
            self.busy = false;
            if shaken.is_ok() {
                self.heard = self.heard.max(Heard::Answer);
            }
            match shaken {
                Ok(Shaken::Proof(field)) => {
                    self.way = Way::Handshake { scheme, done: true };
                    self.once = Some(field);
                    return Ok(());
                }
                Ok(Shaken::Unchallenged(head)) if head.status == StatusCode::UNAUTHORIZED => {
                    // The other name of the same, where that is the one that is offered.
                    let other = HANDSHAKES.into_iter().find(|other| offers(&head.headers, other));
                    match other {
                        Some(other) if other != scheme && scheme == HANDSHAKES[0] => scheme = other,
                        _ => return Err(self.error(Phase::SignIn, Kind::Unsupported("NTLM authentication"))),
                    }
                }
                Ok(Shaken::Unchallenged(head)) => {
                    return Err(match head.status {
                        status if status.is_success() => {
                            self.error(Phase::SignIn, Kind::Unsupported("NTLM authentication"))
                        }
                        _ => self.status(Phase::SignIn, &head),
                    });
                }
                Err(kind) => return Err(self.lose(Phase::SignIn, kind)),
            }
        }
    }

    /// What 401 means.
    pub(super) fn unauthorized(&self, headers: &HeaderMap) -> Error {
        let (scheme, wanted) = match self.proof {
            Held::Password(_) => ("Basic", "Basic authentication"),
            Held::Token(_) => ("Bearer", "OAuth 2.0 (Bearer authentication)"),
        };
        if self.way == Way::Each && !offers(headers, scheme) {
            return self.error(Phase::SignIn, Kind::Unsupported(wanted));
        }
        let error = self.error(Phase::SignIn, Kind::CredentialsRefused);
        // Why a token is refused stands in either; a reason for a password does not exist.
        let said = ["x-ms-diagnostics", "www-authenticate"]
            .into_iter()
            .filter_map(|name| headers.get(name)?.to_str().ok())
            .find(|said| said.contains("error") || said.contains("reason"));
        match said {
            Some(said) if !said.contains(self.proof.secret().expose_secret()) => error.with_said(said),
            _ => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_specification_comes_out_as_it_stands_there() {
        let said = basic("Aladdin", &Secret::from("open sesame"));
        assert_eq!(said.as_str(), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        let field = Held::Password(Secret::from("open sesame")).field("Aladdin").unwrap();
        assert!(field.is_sensitive() && !format!("{field:?}").contains("QWxh"));
    }

    #[test]
    fn a_scheme_is_offered_by_its_name_in_any_field() {
        let offers = |fields: &[&str], scheme| {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(WWW_AUTHENTICATE, field.parse().unwrap());
            }
            super::offers(&headers, scheme)
        };
        assert!(offers(&["Negotiate", "NTLM", "Basic realm=\"x\""], "Basic"));
        assert!(offers(&["Bearer client_id=\"x\", trusted_issuers=\"y\", Basic Realm=\"\""], "Basic"));
        assert!(offers(&["basic"], "Basic"));
        assert!(offers(&[], "Basic"));
        assert!(!offers(&["Negotiate", "NTLM"], "Basic"));
        assert!(!offers(&["Bearer realm=\"Basic\""], "Basic"));
    }
}
