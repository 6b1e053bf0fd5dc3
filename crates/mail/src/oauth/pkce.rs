//! The link by which a person consents (RFC 6749 section 4.1.1), with the challenge that binds its answer to us
//! (RFC 7636, S256 only).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use model::clock::random_bytes;
use model::secret::{ExposeSecret as _, Secret};
use sha2::{Digest as _, Sha256};

use super::{Address, Application};

/// What only whoever asked for consent knows. `Debug` shows nothing of it.
#[derive(Clone, Debug)]
pub struct Verifier(Secret);

impl Verifier {
    /// 256 random bits, as RFC 7636 section 4.1 recommends.
    pub fn new() -> Self {
        Self(Secret::from(BASE64_URL_SAFE_NO_PAD.encode(random_bytes::<32>())))
    }

    /// One that was kept.
    pub fn kept(secret: Secret) -> Self {
        Self(secret)
    }

    /// To be kept, sealed.
    pub fn secret(&self) -> &Secret {
        &self.0
    }

    fn challenge(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(self.0.expose_secret().as_bytes()))
    }
}

impl Default for Verifier {
    fn default() -> Self {
        Self::new()
    }
}

/// The link. What the address asks for already (`access_type=offline`) stays in it; `login` is who should consent.
pub fn authorize_url(
    authorize: &Address,
    application: &Application,
    redirect: &str,
    state: &Secret,
    verifier: &Verifier,
    login: Option<&str>,
) -> String {
    let mut url = authorize.url().clone();
    {
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", &application.client_id)
            .append_pair("redirect_uri", redirect)
            .append_pair("scope", &application.scopes)
            .append_pair("state", state.expose_secret())
            .append_pair("code_challenge", &verifier.challenge())
            .append_pair("code_challenge_method", "S256");
        if let Some(login) = login {
            query.append_pair("login_hint", login);
        }
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_rfcs_example() {
        let verifier = Verifier::kept(Secret::from("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"));
        assert_eq!(verifier.challenge(), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert_ne!(Verifier::new().challenge(), Verifier::new().challenge());
    }

    #[test]
    fn the_link_keeps_what_the_address_asks_for_and_escapes_the_rest() {
        let application = Application {
            token_address: Address::parse("https://login.example.com/token").unwrap(),
            client_id: "an id&x=y".into(),
            client_secret: Some(Secret::from("canary")),
            scopes: "openid https://mail.example.com/".into(),
            ca_certificate: None,
        };
        let authorize = Address::parse("https://login.example.com/auth?access_type=offline").unwrap();
        let verifier = Verifier::new();
        let link = authorize_url(
            &authorize,
            &application,
            "https://lockstep.example.com/oauth/callback",
            &Secret::from("state"),
            &verifier,
            Some("anna@example.com"),
        );
        assert!(link.starts_with(
            "https://login.example.com/auth?access_type=offline&response_type=code&client_id=an+id%26x%3Dy&"
        ));
        assert!(link.contains("&login_hint=anna%40example.com"), "{link}");
        assert!(link.contains("&code_challenge_method=S256"), "{link}");
        assert!(!link.contains("canary") && !link.contains(verifier.secret().expose_secret()), "{link}");
    }
}
