//! Access tokens for mail servers, from the token servers that give them out (RFC 6749). A token server is a server of
//! somebody's mail, so it is reached as one: over the same connections, with verified TLS, within the network policy,
//! and within bounds of time and size. Redirects are not followed, and no secret appears in an error.

mod address;
mod error;
mod exchange;
mod pkce;

use std::sync::Arc;
use std::time::Duration;

use model::network::NetworkPolicy;
use model::secret::{ExposeSecret as _, Secret};
use serde::Deserialize;
use tokio::sync::Semaphore;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

pub use address::{Address, BadAddress};
pub use error::{Error, Refusal};
pub use pkce::{Verifier, authorize_url};

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
    /// What was granted, where it is not all that was asked for.
    pub scopes: Option<String>,
}

impl Client {
    /// Asks within this policy, and trusts whom `trust` trusts.
    pub fn new(network: NetworkPolicy, trust: Trust) -> Self {
        Self(Arc::new(Inner { network, trust, bound: Semaphore::new(AT_ONCE) }))
    }

    /// Asks for a token. Takes [`LONGEST`] at most, the wait for its turn aside.
    pub async fn token(&self, application: &Application, grant: Grant<'_>) -> Result<Tokens, Error> {
        let form = form(application, &grant);
        // The semaphore is never closed.
        let _turn = self.0.bound.acquire().await;
        let settings = Settings {
            network: self.0.network.clone(),
            connect_timeout: CONNECT,
            phase_deadline: EXCHANGE,
            tls: self.0.trust.for_profile(application.ca_certificate.as_deref().map(str::as_bytes))?,
        };
        let asked = exchange::post(&application.token_address, &settings, form.as_bytes());
        let answer =
            tokio::time::timeout(LONGEST, asked).await.map_err(|_| Error::Unusable("it took too long"))??;
        read(&answer, &secrets(application, &grant))
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

/// The successful answer (RFC 6749 section 5.1). Numbers come as text from some servers.
#[derive(Deserialize)]
struct Given {
    access_token: Secret,
    #[serde(default)]
    token_type: String,
    expires_in: Option<Seconds>,
    refresh_token: Option<Secret>,
    // Microsoft's and Google's name, and Keycloak's.
    #[serde(alias = "refresh_expires_in")]
    refresh_token_expires_in: Option<Seconds>,
    scope: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    Text(#[serde(deserialize_with = "number_in_text")] f64),
}

fn number_in_text<'de, D: serde::Deserializer<'de>>(text: D) -> Result<f64, D::Error> {
    String::deserialize(text)?.parse().map_err(serde::de::Error::custom)
}

impl Seconds {
    /// Nothing lasts longer than a century, nor less than no time.
    fn duration(self) -> Option<Duration> {
        let (Self::Number(seconds) | Self::Text(seconds)) = self;
        (seconds.is_finite() && seconds > 0.0).then(|| Duration::from_secs_f64(seconds.min(3.2e9)))
    }
}

fn read(answer: &exchange::Answer, secrets: &[&Secret]) -> Result<Tokens, Error> {
    if answer.status != 200 {
        return Err(error::of(answer, secrets));
    }
    // What serde would say about it may hold the token.
    let given: Given =
        serde_json::from_slice(&answer.body).map_err(|_| Error::Unusable("its answer is not a token's"))?;
    if !given.token_type.is_empty() && !given.token_type.eq_ignore_ascii_case("bearer") {
        return Err(Error::Unusable("its token is not of the type `Bearer`"));
    }
    if given.access_token.expose_secret().is_empty() {
        return Err(Error::Unusable("its answer has no token"));
    }
    Ok(Tokens {
        access: given.access_token,
        expires_in: given.expires_in.and_then(Seconds::duration).unwrap_or(USUAL),
        refresh: given.refresh_token.filter(|token| !token.expose_secret().is_empty()),
        refresh_expires_in: given.refresh_token_expires_in.and_then(Seconds::duration),
        scopes: given.scope,
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
        let given = |body| read(&answered(200, body), &[]).unwrap();
        let tokens = given(
            r#"{"access_token":"a","token_type":"Bearer","expires_in":3599,"refresh_token":"r","scope":"x y","other":[1]}"#,
        );
        assert_eq!(tokens.access.expose_secret(), "a");
        assert_eq!(tokens.expires_in, Duration::from_secs(3599));
        assert_eq!(tokens.refresh.unwrap().expose_secret(), "r");
        assert_eq!(tokens.scopes.as_deref(), Some("x y"));
        let tokens = given(
            r#"{"access_token":"a","token_type":"bearer","expires_in":"60","refresh_token_expires_in":90}"#,
        );
        assert_eq!(
            (tokens.expires_in, tokens.refresh_expires_in),
            (Duration::from_secs(60), Some(Duration::from_secs(90)))
        );
        for odd in ["-5", "0", "1e400", "null"] {
            let body = format!(r#"{{"access_token":"a","expires_in":{odd}}}"#);
            let answer = exchange::Answer { status: 200, retry_after: None, body: body.into() };
            if let Ok(tokens) = read(&answer, &[]) {
                assert_eq!(tokens.expires_in, USUAL, "{odd}");
            }
        }
    }

    #[test]
    fn what_is_no_token_is_refused_without_being_repeated() {
        for body in [
            "",
            "<html>canary",
            r#"{"access_token":7,"x":"canary"}"#,
            r#"{"access_token":"canary","token_type":"mac"}"#,
            r#"{"access_token":""}"#,
        ] {
            let Err(error) = read(&answered(200, body), &[]) else { panic!("{body}") };
            for shown in [error.to_string(), format!("{error:?}")] {
                assert!(!shown.contains("canary"), "{shown}");
            }
        }
    }

    #[test]
    fn a_refusal_keeps_the_servers_words_unless_they_repeat_a_secret() {
        let secret = Secret::from("canary");
        let refused = |body| match read(&answered(400, body), &[&secret]) {
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
        assert!(matches!(read(&answered(503, "x"), &[]), Err(Error::Unavailable { .. })));
        assert!(matches!(read(&answered(302, ""), &[]), Err(Error::Unusable(_))));
        assert!(matches!(read(&answered(400, "<html>"), &[]), Err(Error::Unusable(_))));
    }
}
