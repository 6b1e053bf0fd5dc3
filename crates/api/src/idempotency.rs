//! `Idempotency-Key`, for every POST alike (draft-ietf-httpapi-idempotency-key-header): the same key with the same request
//! gets the first answer again, with another request it is refused, and two at once never both act.
//!
//! The handler's last transaction is not committed by the handler: its commit is held back until the answer is made,
//! which is stored in that same transaction. So effect and answer are committed together or not at all, whatever dies
//! in between. A refusal is not kept: nothing was done, and the request may be repeated.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::StreamExt as _;
use model::crash::{self, Point};
use sha2::{Digest as _, Sha256};
use store::idempotency::{self, Answer, Kept};
use store::{Tenant, setting};

use crate::body;
use crate::caller::Caller;
use crate::problem::{Kind, Problem};

/// The header.
pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is the first one's, as others do.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// The longest key.
const LONGEST: usize = 255;
/// The largest answer that is kept; none of ours comes near it.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;
/// What is read of a repeated upload at most, to compare it with the first: above the largest message there can be.
const LARGEST_UPLOAD: u64 = 256 * 1024 * 1024;

/// An answer that holds what is shown once and kept nowhere: it cannot be given again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShownOnce;

/// One request with a key, while it is answered.
pub(crate) struct Once {
    key: idempotency::Once,
    /// Method, path and query.
    target: Vec<u8>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was asked; not known of an upload before all of it came.
    request: Option<[u8; 32]>,
    /// The transaction whose commit waits for the answer.
    held: Option<Tenant>,
    /// What another request with the key was answered meanwhile.
    found: Option<Answer>,
}

impl Once {
    /// Reads the header; none without one. `principal` is whose key it is, such as `user:…`.
    pub(crate) fn of(request: &Request, principal: String) -> Result<Option<Self>, Problem> {
        let Some(value) = request.headers().get(&KEY) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default().trim();
        // The draft has a quoted string; most clients send the bare key.
        let key = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        if !(1..=LONGEST).contains(&key.len()) || !key.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(Problem::new(
                Kind::Unreadable,
                "the header `Idempotency-Key` holds no key",
                "give 1 to 255 ASCII characters that no other request of yours has, such as a new UUID",
            )
            .about("Idempotency-Key"));
        }
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        let target = format!("{} {path}\n", request.method()).into_bytes();
        let key = idempotency::Once { principal, key: key.to_owned() };
        Ok(Some(Self { key, target, state: Mutex::default() }))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says what the body is, by its SHA-256.
    pub(crate) fn sent(&self, body: [u8; 32]) {
        let request = Sha256::new().chain_update(&self.target).chain_update(body).finalize().into();
        self.with(|state| state.request = Some(request));
    }

    /// Whether transactions are bound to the key yet.
    pub(crate) fn binds(&self) -> bool {
        self.with(|state| state.request.is_some())
    }

    /// Takes a transaction of an earlier step of the same request, which is to be committed for itself.
    pub(crate) fn earlier(&self) -> Option<Tenant> {
        self.with(|state| state.held.take())
    }

    /// Holds a commit back until the answer is made.
    pub(crate) fn hold(&self, tenant: Tenant) {
        self.with(|state| state.held = Some(tenant));
    }

    /// Takes the key in a transaction that is about to have the effect.
    pub(crate) async fn enter(&self, tenant: &Tenant) -> Result<(), Problem> {
        if !idempotency::enter(tenant, &self.key).await? {
            return Err(Problem::new(
                Kind::UnderWay,
                "a request with this `Idempotency-Key` is under way",
                "repeat the request in a moment to get its answer",
            )
            .about("Idempotency-Key"));
        }
        let Some(answer) = self.again(idempotency::find(tenant, &self.key).await?)? else { return Ok(()) };
        self.with(|state| state.found = Some(answer));
        // Seen by nobody: the answer that was found is given instead.
        Err(Problem::internal())
    }

    /// The answer to give again; refused when it was to another request.
    fn again(&self, kept: Option<Kept>) -> Result<Option<Answer>, Problem> {
        match kept {
            None => Ok(None),
            Some(kept) if self.with(|state| state.request) == Some(kept.request) => Ok(Some(kept.answer)),
            Some(_) => Err(Problem::new(
                Kind::KeyReused,
                "this `Idempotency-Key` belongs to another request of yours",
                "give every request a key of its own, and repeat a request exactly as it was",
            )
            .about("Idempotency-Key")),
        }
    }
}

/// Answers a request that has a key. `act` answers it for real.
pub(crate) async fn answered<F>(
    caller: &Caller,
    once: &Once,
    request: Request,
    limit: usize,
    act: impl FnOnce(Request) -> F,
) -> Result<Response, Problem>
where
    F: Future<Output = Response>,
{
    let tenant = caller.tenant().await?;
    let kept = idempotency::find(&tenant, &once.key).await?;
    tenant.commit().await?;
    let request = if is_upload(&request) {
        if kept.is_none() {
            request
        } else {
            once.sent(digest(request).await?);
            Request::default()
        }
    } else {
        let (head, body) = body::whole(request, limit).await?;
        once.sent(Sha256::digest(&body).into());
        Request::from_parts(head, Body::from(body))
    };
    if let Some(answer) = once.again(kept)? {
        return replayed(answer);
    }
    let response = act(request).await;
    if let Some(answer) = once.with(|state| state.found.take()) {
        return replayed(answer);
    }
    let held = once.earlier();
    match held {
        Some(tenant) if response.status().is_success() => keep(once, tenant, response).await,
        // Rolled back: nothing happened, so nothing is remembered.
        _ => Ok(response),
    }
}

/// Stores the answer beside its effect, and commits both.
async fn keep(once: &Once, tenant: Tenant, response: Response) -> Result<Response, Problem> {
    let shown_once = response.extensions().get::<ShownOnce>().is_some();
    let (head, body) = response.into_parts();
    let body = axum::body::to_bytes(body, LARGEST_ANSWER).await.map_err(|_| Problem::internal())?;
    let request = once.with(|state| state.request).ok_or_else(Problem::internal)?;
    let text = String::from_utf8(body.to_vec()).map_err(|_| Problem::internal())?;
    let answer = Answer {
        status: head.status.as_u16(),
        etag: head.headers.get(header::ETAG).and_then(|tag| tag.to_str().ok()).map(str::to_owned),
        body: (!shown_once).then_some(text),
    };
    let hours = setting::get(&tenant, model::setting::IDEMPOTENCY_HOURS).await?.value.as_u64().unwrap_or(24);
    let time = Duration::from_secs(hours * 3600);
    idempotency::keep(&tenant, &once.key, &Kept { request, answer }, time).await?;
    crash::point(Point::RequestBefore);
    tenant.commit().await?;
    crash::point(Point::RequestAfter);
    Ok(Response::from_parts(head, Body::from(body)))
}

/// The first answer once more.
fn replayed(answer: Answer) -> Result<Response, Problem> {
    let Some(body) = answer.body else {
        return Err(Problem::new(
            Kind::Conflict,
            "the first request with this `Idempotency-Key` was answered, and what it made is shown only once",
            "find what it made in the list, withdraw it, and make another with a key of its own",
        )
        .about("Idempotency-Key"));
    };
    let status = StatusCode::from_u16(answer.status).map_err(|_| Problem::internal())?;
    let is_empty = body.is_empty();
    let mut response = (status, Bytes::from(body)).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    if !is_empty {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    if let Some(tag) = answer.etag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(response)
}

/// A file is not held in memory: its handler says what came once it has all of it.
fn is_upload(request: &Request) -> bool {
    request.uri().path().ends_with("/attachments")
}

async fn digest(request: Request) -> Result<[u8; 32], Problem> {
    let mut digest = Sha256::new();
    let mut came = 0;
    let mut parts = request.into_body().into_data_stream();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| {
            Problem::new(Kind::Unreadable, "the body broke off", "repeat the request as it was")
        })?;
        came += part.len() as u64;
        if came > LARGEST_UPLOAD {
            body::discard_rest(parts, came).await;
            break;
        }
        digest.update(&part);
    }
    Ok(digest.finalize().into())
}
