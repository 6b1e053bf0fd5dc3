//! The handshake on one connection: a request that asks for the challenge, and the proof for the request that comes next.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::Request;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, USER_AGENT, WWW_AUTHENTICATE};
use hyper::http::response::Parts;
use model::clock;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::{Account, Challenge, Salt, authenticate, channel_bindings, negotiate};
use crate::error::Kind;
use crate::http::{Address, Channel, Reading, Sending};

/// What a server says beside its challenge is read to its end, within this.
const BESIDE: u64 = 256 * 1024;
/// Between 1601 and 1970, in seconds.
const EPOCHS: i64 = 11_644_473_600;

/// How far the handshake came.
pub(in crate::ews) enum Shaken {
    /// To the proof, for the next request on this connection.
    Proof(HeaderValue),
    /// The server answered without a challenge.
    Unchallenged(Box<Parts>),
}

/// Asks for the challenge and answers it. The proof is for this connection alone.
pub(in crate::ews) async fn shake_hands(
    channel: &mut Channel,
    address: &Address,
    account: &Account<'_>,
    scheme: &str,
    until: Instant,
) -> Result<Shaken, Kind> {
    let unspeakable = Kind::Unspeakable("the credentials cannot be said in HTTP");
    let first = negotiate();
    let request = Request::post(address.target())
        .header(HOST, address.authority())
        .header(USER_AGENT, concat!("Lockstep/", env!("CARGO_PKG_VERSION")))
        .header(AUTHORIZATION, format!("{scheme} {}", BASE64_STANDARD.encode(&first)))
        .body(Sending::Whole(None))
        .map_err(|_| unspeakable.clone())?;
    let answer = channel.send(request, until).await.map_err(|unanswered| unanswered.kind)?;
    let (head, body) = answer.into_parts();
    let patience = until.saturating_duration_since(Instant::now());
    Reading::new(body, until, patience, BESIDE).whole(channel).await?;
    let Some(message) = challenged(&head.headers, scheme) else {
        return Ok(Shaken::Unchallenged(Box::new(head)));
    };
    let challenge = Challenge::parse(&message).ok_or(Kind::Violation("its challenge is none of NTLM"))?;
    if !channel.is_open() {
        return Err(Kind::Violation("it ends the connection that it has given a challenge for"));
    }
    let salt = Salt { challenge: clock::random_bytes(), now: now() };
    let bindings = channel.certificate().map(channel_bindings);
    let last = authenticate(account, &first, &challenge, &address.host(), bindings, &salt);
    let field = Zeroizing::new(format!("{scheme} {}", BASE64_STANDARD.encode(last.as_slice())));
    let mut field = HeaderValue::from_str(&field).map_err(|_| unspeakable)?;
    field.set_sensitive(true);
    Ok(Shaken::Proof(field))
}

/// The challenge in this scheme.
fn challenged(headers: &HeaderMap, scheme: &str) -> Option<Vec<u8>> {
    headers.get_all(WWW_AUTHENTICATE).into_iter().find_map(|field| {
        let (name, message) = field.to_str().ok()?.split_once(' ')?;
        name.eq_ignore_ascii_case(scheme).then(|| BASE64_STANDARD.decode(message.trim()).ok())?
    })
}

/// 100 nanoseconds since 1601. It goes into a proof that is random already, and decides nothing.
fn now() -> u64 {
    u64::try_from(clock::now().as_second().saturating_add(EPOCHS))
        .unwrap_or_default()
        .saturating_mul(10_000_000)
}
