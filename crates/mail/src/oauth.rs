//! Access tokens for mail servers, from the token servers that give them out (RFC 6749). A token server is a server of
//! somebody's mail, so it is reached as one: over the same connections, with verified TLS, within the network policy,
//! and within bounds of time and size. Redirects are not followed, and no secret appears in an error.

mod error;
mod exchange;
mod issuer;
mod pkce;
mod scope;

use std::sync::Arc;
use std::time::Duration;

use model::network::NetworkPolicy;
use model::secret::{ExposeSecret as _, Secret};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::sync::Semaphore;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

pub use error::{Error, Refusal};
pub use issuer::{WrongIssuer, check_issuer};
pub use pkce::{Verifier, authorize_url};

pub use crate::http::{Address, BadAddress};
use crate::transport::{Settings, Trust};

/// Token servers that one process asks at once. Not leases: those count connections to mailboxes.
const AT_ONCE: usize = 16;
/// How long finding and connecting may take, and then the exchange.
const CONNECT: Duration = Duration::from_secs(10);
const EXCHANGE: Duration = Duration::from_secs(15);
/// What a token holds for where the server does not say (RFC 6749 section 5.1 leaves it to us).
const USUAL: Duration = Duration::from_secs(3600);

/// How long [`Client::token`] may take at most: what a holder's lease must outlast.
pub const LONGEST: Duration = Duration::from_secs(30);

/// Whoever asks token servers for tokens. Cheap to clone; clones share the bound on connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    network: NetworkPolicy,
    trust: Trust,
    exchange: Duration,
    bound: Semaphore,
}

/// An application as a token server knows it.
#[derive(Clone)]
pub struct Application {
    /// Where tokens are given out.
    pub token_address: Address,
    /// Its name there.
    pub client_id: String,
    /// Its secret; none for a public client.
    pub client_secret: Option<Secret>,
    /// What it asks for, as RFC 6749 section 3.3 separates it: by spaces.
    pub scopes: String,
    /// PEM of the token server's own authority, beside the system's.
    pub ca_certificate: Option<String>,
}

/// What a token is asked for with.
pub enum Grant<'a> {
    /// The application itself (RFC 6749 section 4.4).
    ClientCredentials,
    /// What a person's consent led back with (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
    Code {
        /// The code.
        code: &'a Secret,
        /// Where consent led back to.
        redirect: &'a str,
        /// Whose challenge was sent.
        verifier: &'a Verifier,
    },
    /// An earlier answer's refresh token (RFC 6749 section 6).
    Refresh(&'a Secret),
}

/// What a token server gave.
#[derive(Clone)]
pub struct Tokens {
    /// What opens the mailbox.
    pub access: Secret,
    /// For how long.
    pub expires_in: Duration,
    /// What gives the next one. A server that rotates gives a new one each time, and none means that the old one stays.
    pub refresh: Option<Secret>,
    /// For how long that is, where the server says so.
    pub refresh_expires_in: Option<Duration>,
    /// What was asked for and is granted no more, separated by spaces. Only of a renewal: where nothing is lost by it, a
    /// narrower scope is [`Error::Narrow`].
    pub narrowed: Option<String>,
}

impl Client {
    /// Asks within this policy, and trusts whom `trust` trusts.
    pub fn new(network: NetworkPolicy, trust: Trust) -> Self {
        Self::waiting(network, trust, EXCHANGE)
    }

    /// The same, and gives a token server so long for its answer.
    pub fn waiting(network: NetworkPolicy, trust: Trust, exchange: Duration) -> Self {
        Self(Arc::new(Inner { network, trust, exchange, bound: Semaphore::new(AT_ONCE) }))
    }

    /// Asks for a token. Takes [`LONGEST`] at most, the wait for its turn aside.
    pub async fn token(&self, application: &Application, grant: Grant<'_>) -> Result<Tokens, Error> {
        let form = form(application, &grant);
        // The semaphore is never closed.
        let _turn = self.0.bound.acquire().await;
        let settings = Settings {
            network: self.0.network.clone(),
            connect_timeout: CONNECT,
            phase_deadline: self.0.exchange,
            tls: self.0.trust.for_profile(application.ca_certificate.as_deref().map(str::as_bytes))?,
            ends: None,
        };
        let asked = exchange::post(&application.token_address, &settings, form.as_bytes());
        let answer =
            tokio::time::timeout(LONGEST, asked).await.map_err(|_| Error::Unusable("it took too long"))??;
        let tokens = read(&answer, &secrets(application, &grant), &application.scopes)?;
        match (&tokens.narrowed, grant) {
            // The server has forgotten the old refresh token by now: the new one is kept whatever it opens.
            (None, _) | (_, Grant::Refresh(_)) => Ok(tokens),
            (Some(missing), _) => Err(Error::Narrow(missing.clone())),
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

fn form(application: &Application, grant: &Grant<'_>) -> Zeroizing<String> {
    // With room for all of it: what grows leaves copies behind.
    let mut form = Serializer::new(String::with_capacity(16 * 1024));
    match grant {
        Grant::ClientCredentials => {
            form.append_pair("grant_type", "client_credentials").append_pair("scope", &application.scopes);
        }
        Grant::Code { code, redirect, verifier } => {
            form.append_pair("grant_type", "authorization_code")
                .append_pair("code", code.expose_secret())
                .append_pair("redirect_uri", redirect)
                .append_pair("code_verifier", verifier.secret().expose_secret());
        }
        Grant::Refresh(token) => {
            form.append_pair("grant_type", "refresh_token")
                .append_pair("refresh_token", token.expose_secret());
        }
    }
    form.append_pair("client_id", &application.client_id);
    if let Some(secret) = &application.client_secret {
        form.append_pair("client_secret", secret.expose_secret());
    }
    Zeroizing::new(form.finish())
}

/// What no word of the server may repeat.
fn secrets<'a>(application: &'a Application, grant: &'a Grant<'_>) -> Vec<&'a Secret> {
    let mut secrets: Vec<&Secret> = application.client_secret.iter().collect();
    match grant {
        Grant::ClientCredentials => {}
        Grant::Code { code, verifier, .. } => secrets.extend([*code, verifier.secret()]),
        Grant::Refresh(token) => secrets.push(token),
    }
    secrets
}

/// The successful answer (RFC 6749 section 5.1). What is beside the tokens is read as far as it can be: an answer that is
/// thrown away takes a new refresh token with it.
#[derive(Deserialize)]
struct Given {
    access_token: Secret,
    token_type: Option<String>,
    #[serde(default, deserialize_with = "seconds")]
    expires_in: Option<Duration>,
    refresh_token: Option<Secret>,
    // Microsoft's and Google's name, and Keycloak's.
    #[serde(default, alias = "refresh_expires_in", deserialize_with = "seconds")]
    refresh_token_expires_in: Option<Duration>,
    #[serde(default, deserialize_with = "words")]
    scope: Option<String>,
}

/// Numbers come as text from some servers. Nothing lasts longer than a century, nor less than no time.
fn seconds<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Duration>, D::Error> {
    let seconds = match Value::deserialize(value)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    let lasts = seconds.filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0);
    Ok(lasts.map(|seconds| Duration::from_secs_f64(seconds.min(3.2e9))))
}

/// A text, or a list of texts.
fn words<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(value)? {
        Value::String(text) => Some(text),
        Value::Array(list) => Some(list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")),
        _ => None,
    })
}

fn read(answer: &exchange::Answer, secrets: &[&Secret], asked: &str) -> Result<Tokens, Error> {
    if answer.status != 200 {
        return Err(error::of(answer, secrets));
    }
    // What serde would say about it may hold the token.
    let given: Given =
        serde_json::from_slice(&answer.body).map_err(|_| Error::Unusable("its answer is not a token's"))?;
    let kind = given.token_type.unwrap_or_default();
    if !kind.is_empty() && !kind.eq_ignore_ascii_case("bearer") {
        return Err(Error::Unusable("its token is not of the type `Bearer`"));
    }
    let access = given.access_token.expose_secret();
    if access.is_empty() {
        return Err(Error::Unusable("its answer has no token"));
    }
    // RFC 6750 section 2.1. A mail server is told the token between control characters.
    if !access.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Error::Unusable("its token has line breaks or other characters that no token has"));
    }
    let missing = scope::missing(asked, given.scope.as_deref());
    Ok(Tokens {
        access: given.access_token,
        expires_in: given.expires_in.unwrap_or(USUAL),
        refresh: given.refresh_token.filter(|token| !token.expose_secret().is_empty()),
        refresh_expires_in: given.refresh_token_expires_in,
        narrowed: (!missing.is_empty()).then(|| missing.join(" ")),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn answered(status: u16, body: &'static str) -> exchange::Answer {
        exchange::Answer { status, retry_after: None, body: Bytes::from_static(body.as_bytes()) }
    }

    #[test]
    fn answers_are_read_as_servers_write_them() {
        let given = |body| read(&answered(200, body), &[], "x y").unwrap();
        let tokens = given(
            r#"{"access_token":"a","token_type":"Bearer","expires_in":3599,"refresh_token":"r","scope":"x y","other":[1]}"#,
        );
        assert_eq!(tokens.access.expose_secret(), "a");
        assert_eq!(tokens.expires_in, Duration::from_secs(3599));
        assert_eq!(tokens.refresh.unwrap().expose_secret(), "r");
        assert_eq!(tokens.narrowed, None);
        let narrowed = given(r#"{"access_token":"a","scope":"y"}"#).narrowed;
        assert_eq!(narrowed.as_deref(), Some("x"));
        assert_eq!(given(r#"{"access_token":"a","scope":["x","y"],"token_type":null}"#).narrowed, None);
        let tokens = given(
            r#"{"access_token":"a","token_type":"bearer","expires_in":"60","refresh_token_expires_in":90}"#,
        );
        assert_eq!(
            (tokens.expires_in, tokens.refresh_expires_in),
            (Duration::from_secs(60), Some(Duration::from_secs(90)))
        );
        for odd in ["-5", "0", "1e30000", "null", r#""soon""#, r#""""#, r#""-1""#, r#""NaN""#, "[1]", "true"]
        {
            let body = format!(
                r#"{{"access_token":"a","expires_in":{odd},"refresh_token":"kept","refresh_expires_in":{odd}}}"#
            );
            let answer = exchange::Answer { status: 200, retry_after: None, body: body.into() };
            // A number that no machine can hold is no JSON to serde, and nothing is said about it here.
            let Ok(tokens) = read(&answer, &[], "") else {
                assert_eq!(odd, "1e30000");
                continue;
            };
            assert_eq!((tokens.expires_in, tokens.refresh_expires_in), (USUAL, None), "{odd}");
            assert_eq!(tokens.refresh.unwrap().expose_secret(), "kept");
        }
        assert_eq!(
            given(r#"{"access_token":"a","expires_in":1e300}"#).expires_in,
            Duration::from_secs(3_200_000_000)
        );
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        for body in [
            "",
            "<html>canary",
            r#"{"access_token":7,"x":"canary"}"#,
            r#"{"access_token":"canary","token_type":"mac"}"#,
            r#"{"access_token":""}"#,
            r#"{"access_token":"canary\r\nRCPT TO:<x>"}"#,
            r#"{"access_token":"canary\u0001auth=Bearer other"}"#,
            r#"{"access_token":"canäry"}"#,
        ] {
            let Err(error) = read(&answered(200, body), &[], "x y") else { panic!("{body}") };
            for shown in [error.to_string(), format!("{error:?}")] {
                assert!(!shown.contains("canary"), "{shown}");
            }
        }
    }

    #[test]
    fn a_refusal_keeps_the_servers_words_unless_they_repeat_a_secret() {
        let secret = Secret::from("canary");
        let refused = |body| match read(&answered(400, body), &[&secret], "") {
            Err(Error::Refused(refusal)) => refusal,
            other => panic!("{:?}", other.err()),
        };
        let refusal = refused(r#"{"error":"invalid_grant","error_description":"gone"}"#);
        assert!(refusal.needs_consent());
        assert_eq!(refusal.said(), "invalid_grant: gone");
        assert_eq!(
            refused(r#"{"error":"invalid_client","error_description":"no canary"}"#).said(),
            "invalid_client"
        );
        assert!(matches!(read(&answered(503, "x"), &[], ""), Err(Error::Unavailable { .. })));
        assert!(matches!(read(&answered(302, ""), &[], ""), Err(Error::Unusable(_))));
        assert!(matches!(read(&answered(400, "<html>"), &[], ""), Err(Error::Unusable(_))));
    }
}
