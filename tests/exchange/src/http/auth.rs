//! Signing in: Basic and Bearer for each request, NTLM for the connection.

use std::sync::PoisonError;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use hyper::http::request::Parts;

use super::Connection;
use super::answer::{Answer, plain};
use super::ntlm::{self, Said};
use crate::options::Offer;
use crate::state::{Account, State};

/// How far a connection's own signing in is.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    pub(super) login: Option<String>,
    challenge: Option<[u8; 8]>,
}

pub(super) enum SignedIn {
    As(String),
    Refused(Answer),
}

/// Who makes a request.
pub(super) fn sign_in(connection: &Connection, head: &Parts) -> SignedIn {
    let mut handshake = connection.signed_in.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(login) = &handshake.login {
        return SignedIn::As(login.clone());
    }
    let state = connection.lock();
    let given = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (scheme, rest) = given.split_once(' ').unwrap_or((given, ""));
    let offers = |offer: Offer| state.options.offers.contains(&offer);
    let login = match scheme.to_ascii_lowercase().as_str() {
        "basic" if offers(Offer::Basic) => basic(&state, rest),
        "bearer" if offers(Offer::Bearer) => {
            let token = rest.trim();
            state
                .accounts
                .iter()
                .find(|account| account.tokens.contains(token))
                .map(|account| account.login.clone())
        }
        "ntlm" if offers(Offer::Ntlm) => {
            let message = BASE64_STANDARD.decode(rest.trim()).unwrap_or_default();
            match Said::parse(&message) {
                Some(Said::Negotiate { flags }) => {
                    return SignedIn::Refused(challenged(&mut handshake, flags));
                }
                Some(Said::Authenticate(answer)) => {
                    let login =
                        handshake.challenge.take().and_then(|challenge| ntlm(&state, &answer, challenge));
                    handshake.login.clone_from(&login);
                    login
                }
                None => None,
            }
        }
        _ => None,
    };
    match login {
        Some(login) => SignedIn::As(login),
        None => SignedIn::Refused(refused(&state)),
    }
}

/// 401 with everything that is offered.
pub(super) fn refused(state: &State) -> Answer {
    let mut answer = plain(StatusCode::UNAUTHORIZED, "Unauthorized");
    for offer in &state.options.offers {
        let value = match offer {
            Offer::Basic => "Basic realm=\"localhost\"",
            Offer::Bearer => {
                "Bearer client_id=\"00000002-0000-0ff1-ce00-000000000000\", trusted_issuers=\"\", \
                 token_types=\"app_asserted_user_v1 service_asserted_app_v1\", \
                 authorization_uri=\"https://login.invalid/common/oauth2/authorize\""
            }
            Offer::Ntlm => "NTLM",
        };
        if let Ok(value) = value.parse() {
            answer.headers_mut().append(WWW_AUTHENTICATE, value);
        }
    }
    answer
}

/// 401 with the challenge, on a connection that stays.
fn challenged(handshake: &mut Handshake, flags: u32) -> Answer {
    let challenge: [u8; 8] = model::clock::random_bytes();
    handshake.challenge = Some(challenge);
    let mut answer = plain(StatusCode::UNAUTHORIZED, "Unauthorized");
    let message = format!("NTLM {}", BASE64_STANDARD.encode(ntlm::challenge(flags, challenge)));
    if let Ok(message) = message.parse() {
        answer.headers_mut().insert(WWW_AUTHENTICATE, message);
    }
    answer
}

fn ntlm(state: &State, answer: &ntlm::Answer, challenge: [u8; 8]) -> Option<String> {
    let named = if answer.domain.is_empty() || answer.user.contains('@') {
        answer.user.clone()
    } else {
        format!("{}\\{}", answer.domain, answer.user)
    };
    let account = account(state, &named)?;
    answer.proves(&account.password, challenge).then(|| account.login.clone())
}

fn basic(state: &State, encoded: &str) -> Option<String> {
    let decoded = String::from_utf8(BASE64_STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (login, password) = decoded.split_once(':')?;
    let account = account(state, login)?;
    (account.password == password).then(|| account.login.clone())
}

/// The account of a login: an address or alias, `DOMAIN\user`, or the part before the `@`.
pub(super) fn account<'a>(state: &'a State, login: &str) -> Option<&'a Account> {
    let exact = state.account(login);
    exact.or_else(|| {
        let place = state.place_of(login);
        let user = login.rsplit('\\').next().unwrap_or(login);
        state.accounts.iter().find(|account| {
            place.is_some() && account.mailbox == place
                || !login.contains('@')
                    && account.login.split('@').next().is_some_and(|local| local.eq_ignore_ascii_case(user))
        })
    })
}
