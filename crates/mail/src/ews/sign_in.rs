//! How a request says who asks, and what it means when that is refused. Secrets are said inside verified TLS only, since
//! there is no other connection here, and appear in no error.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use model::secret::{ExposeSecret as _, Secret};
use zeroize::Zeroizing;

use super::session::Held;
use super::{Identity, Session, Settings};
use crate::error::{Error, Kind, Phase};
use crate::sasl::{self, Proof};

/// Checks that what proves somebody can be said at all, before anything is.
pub(super) fn held(identity: &Identity<'_>, settings: &Settings) -> Result<Held, Error> {
    let unspeakable = |what| Err(Error::new(Phase::SignIn, Kind::Unspeakable(what)));
    match identity.proof {
        Proof::Token(token) => sasl::speakable("token", token)?,
        Proof::Password(_) if !settings.schemes.basic => {
            return Err(Error::new(
                Phase::SignIn,
                Kind::Unsupported("a way to say the password that is allowed"),
            ));
        }
        Proof::Password(password) => {
            // RFC 7617 section 2: the first colon ends the user name.
            let login = identity.login;
            if login.is_empty() || login.contains(':') || login.chars().any(char::is_control) {
                return unspeakable("the user name is empty, or has a colon or a control character in it");
            }
            if password.expose_secret().chars().any(char::is_control) {
                return unspeakable("the password has a control character in it");
            }
        }
    }
    Ok(identity.proof.into())
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
    /// What 401 means.
    pub(super) fn unauthorized(&self, headers: &HeaderMap) -> Error {
        let (scheme, wanted) = match self.proof {
            Held::Password(_) => ("Basic", "Basic authentication"),
            Held::Token(_) => ("Bearer", "OAuth 2.0 (Bearer authentication)"),
        };
        if !offers(headers, scheme) {
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
