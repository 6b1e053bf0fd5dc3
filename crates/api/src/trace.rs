//! The outermost layer: the request's id in and out, the W3C trace it belongs to, its deadline, its one log line, and
//! problems rendered. A log line has the matched route, never an id or an address.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use tracing::Instrument as _;

use crate::app::App;
use crate::problem::{Kind, Problem};

/// The header of the request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from the caller.
const LONGEST_ID: usize = 128;

/// What the request belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// The caller's `traceparent` (W3C Trace Context), which the change log keeps.
    pub(crate) parent: Option<String>,
}

/// Surrounds every request.
pub(crate) async fn surround(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let parent = traceparent(request.headers());
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let method = request.method().clone();
    let span = tracing::info_span!(
        "request",
        otel.kind = "server",
        otel.name = format!("{method} {route}"),
        http.request.method = %method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
        request.id = id,
        trace.parent = parent,
    );
    request.extensions_mut().insert(Trace { parent });
    let begun = Instant::now();
    // A file may take as long as its line does.
    let unbounded = route.contains("/attachments") || route.ends_with("/raw");
    let limit = Duration::from_secs(app.config.request_timeout_seconds);
    let answer = async {
        if unbounded {
            return next.run(request).await;
        }
        match tokio::time::timeout(limit, next.run(request)).await {
            Ok(response) => response,
            Err(_) => timed_out(limit),
        }
    };
    let mut response = answer.instrument(span.clone()).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        response = problem.render(&id);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    // What the API says is for its caller alone, and is what its type says it is.
    for (name, value) in [(header::X_CONTENT_TYPE_OPTIONS, "nosniff"), (header::CACHE_CONTROL, "no-store")] {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    span.record("http.response.status_code", response.status().as_u16());
    let elapsed = begun.elapsed().as_millis();
    span.in_scope(|| tracing::debug!(elapsed_ms = elapsed, "answered"));
    response
}

fn timed_out(limit: Duration) -> Response {
    Problem::new(
        Kind::TimedOut,
        format!("the answer took longer than {} s", limit.as_secs()),
        "look whether it happened before you ask again; the operator may raise `api.request_timeout_seconds`",
    )
    .into_response()
}

/// The caller's id when it is short and plain, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let plain = |id: &&str| {
        (1..=LONGEST_ID).contains(&id.len())
            && id
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'))
    };
    given.filter(plain).map_or_else(|| model::clock::new_id::<uuid::Uuid>().to_string(), str::to_owned)
}

/// `traceparent` when it is one: `00-<32 hex>-<16 hex>-<2 hex>` (W3C Trace Context section 3.2).
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'));
    let parts: Vec<_> = text.split('-').collect();
    let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
    (lengths == [2, 32, 16, 2] && parts.iter().all(|part| hex(part))).then(|| text.to_owned())
}

/// Refuses NUL in path and query: Postgres stores none, and nothing meant has one.
pub(crate) async fn without_nul(request: Request, next: Next) -> Result<Response, Problem> {
    if request.uri().path_and_query().is_some_and(|text| text.as_str().contains("%00")) {
        return Err(Problem::new(Kind::Unreadable, "the address holds the character NUL", "leave NUL out"));
    }
    Ok(next.run(request).await)
}
