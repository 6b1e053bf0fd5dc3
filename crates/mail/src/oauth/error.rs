//! Why there is no token, by what the caller must do. The server's words may name people: they leave by `said` alone.

use std::fmt;
use std::time::Duration;

use model::secret::{ExposeSecret as _, Secret};
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::exchange::Answer;
use crate::error::printable;

/// Why a token server gave no token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be reached, or the connection broke: ask again later.
    #[error(transparent)]
    Connection(#[from] crate::Error),
    /// It cannot answer now: ask again later.
    #[error("the token server cannot answer now (HTTP {status}): it is asked again later")]
    Unavailable {
        /// The HTTP status.
        status: u16,
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// It says no (RFC 6749 section 5.2): a person must do something.
    #[error("the token server said no: read its words, and correct the application or consent again")]
    Refused(Refusal),
    /// What it answers is nothing that a token server says.
    #[error(
        "what answers at the token server's address is none ({0}): check the address of the token server"
    )]
    Unusable(&'static str),
    /// It gives less than was asked for (RFC 6749 section 5.1), and names what: a person must permit that there, or the
    /// application must ask for what there is.
    #[error(
        "the token server granted less than was asked for, without `{0}`: permit that to the application at the provider, \
         or correct the application's scopes"
    )]
    Narrow(String),
}

/// A token server's no.
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    code: String,
    description: Option<String>,
}

impl Refusal {
    /// Whether a person's consent is what is missing: the refresh token or the code holds no longer, or the person must
    /// come by (`invalid_grant`; `OpenID` Connect Core section 3.1.2.6).
    pub fn needs_consent(&self) -> bool {
        matches!(
            self.code.as_str(),
            "invalid_grant"
                | "interaction_required"
                | "consent_required"
                | "login_required"
                | "access_denied"
        )
    }

    /// The server's words, printable and bounded.
    pub fn said(&self) -> String {
        match &self.description {
            Some(description) => format!("{}: {description}", self.code),
            None => self.code.clone(),
        }
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refusal")
    }
}

/// The error answer (RFC 6749 section 5.2).
#[derive(Deserialize)]
struct Said {
    error: String,
    error_description: Option<String>,
}

/// What an answer other than 200 means.
pub(super) fn of(answer: &Answer, secrets: &[&Secret]) -> Error {
    match answer.status {
        429 | 500..=599 => Error::Unavailable { status: answer.status, retry_after: answer.retry_after },
        300..=399 => Error::Unusable("it leads elsewhere, and that is not followed"),
        _ => match serde_json::from_slice::<Said>(&answer.body) {
            Ok(said) => {
                let clean = |text: &str| {
                    let echoes = secrets.iter().any(|secret| repeats(text, secret));
                    Some(printable(text.as_bytes())).filter(|text| !echoes && !text.is_empty())
                };
                let code =
                    clean(&said.error).unwrap_or_else(|| "refused".to_owned()).chars().take(60).collect();
                let description = said.error_description.as_deref().and_then(clean);
                match code {
                    // Its own way of saying 503 (RFC 6749 section 4.1.2.1), which some servers use here as well.
                    code if code == "temporarily_unavailable" || code == "server_error" => {
                        Error::Unavailable { status: answer.status, retry_after: answer.retry_after }
                    }
                    code => Error::Refused(Refusal { code, description }),
                }
            }
            Err(_) => Error::Unusable("its refusal is not one of OAuth 2.0"),
        },
    }
}

/// Whether the text has the secret in it, as it is or as it was sent.
fn repeats(text: &str, secret: &Secret) -> bool {
    let secret = secret.expose_secret();
    let sent: Zeroizing<String> = Zeroizing::new(byte_serialize(secret.as_bytes()).collect());
    text.contains(secret) || text.contains(sent.as_str())
}
