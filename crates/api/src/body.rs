//! Reading requests: JSON bodies, query strings and path segments, each mistake told with its field, cause and remedy.
//! No text with NUL gets in: Postgres stores none.

use std::time::Duration;

use axum::body::{BodyDataStream, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::problem::{Kind, Problem};

/// A JSON body, in and out. An empty one reads as `{}`.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let is_json = is_json(&request);
        let (_, bytes) = whole(request, app.json_limit()).await?;
        if bytes.is_empty() {
            return read(b"{}").map(Self);
        }
        if !is_json {
            return Err(Problem::new(
                Kind::UnsupportedMediaType,
                "the body's type is not JSON",
                "send JSON with the header `Content-Type: application/json`",
            )
            .about("Content-Type"));
        }
        read(&bytes).map(Self)
    }
}

/// A request with all of its body, of at most `limit` bytes.
pub(crate) async fn whole(request: Request, limit: usize) -> Result<(Parts, Bytes), Problem> {
    let announced = announced(request.headers());
    if announced.is_some_and(|length| length > limit as u64) {
        discard(request).await;
        return Err(too_large(announced, limit));
    }
    let (head, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, limit).await.map_err(|_| too_large(None, limit))?;
    Ok((head, bytes))
}

/// Reads what is refused to its end, within bounds: a connection that is closed on a client in the middle of its sending
/// never shows it the answer. One that asked first (`Expect: 100-continue`) has sent nothing yet.
pub(crate) async fn discard(request: Request) {
    if request.headers().contains_key(header::EXPECT) {
        return;
    }
    discard_rest(request.into_body().into_data_stream(), 0).await;
}

/// The same for a body of which `came` bytes were read.
pub(crate) async fn discard_rest(mut parts: BodyDataStream, came: u64) {
    const MOST: u64 = 256 * 1024 * 1024;
    const LONGEST: Duration = Duration::from_secs(20);
    let mut came = came;
    let rest = async {
        while let Some(Ok(part)) = parts.next().await {
            came += part.len() as u64;
            if came > MOST {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(LONGEST, rest).await;
}

/// What `Content-Length` says, in bytes.
pub(crate) fn announced(headers: &axum::http::HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_json(request: &Request) -> bool {
    let Some(kind) = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

fn too_large(announced: Option<u64>, limit: usize) -> Problem {
    let size = announced.map_or_else(|| format!("more than {limit}"), |length| length.to_string());
    Problem::new(
        Kind::TooLarge,
        format!("the body has {size} bytes, and a JSON body may have {limit}"),
        "send less at once; files go to `/emails/{id}/attachments` as they are",
    )
}

/// Reads a JSON text, or says what is wrong with it and where.
fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if let Some(field) = holds_nul(bytes) {
        return Err(Problem::invalid(&field, format!("`{field}` holds the character NUL"), "leave NUL out"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.classify() == serde_json::error::Category::Data {
            wrong_value(&path, &inner.to_string())
        } else {
            unreadable(&inner)
        }
    })?;
    deserializer.end().map_err(|error| unreadable(&error))?;
    Ok(value)
}

fn unreadable(error: &serde_json::Error) -> Problem {
    Problem::new(
        Kind::Unreadable,
        format!("the body is no JSON: {error}"),
        "correct the JSON, then send it again",
    )
}

/// The field of a text that holds NUL; only an escape can bring one in.
fn holds_nul(bytes: &[u8]) -> Option<String> {
    if !bytes.windows(6).any(|window| window == b"\\u0000") {
        return None;
    }
    let value: Value = serde_json::from_slice(bytes).ok()?;
    find_nul(&value, String::new())
}

fn find_nul(value: &Value, path: String) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then_some(path),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(place, item)| find_nul(item, format!("{path}[{place}]")))
        }
        Value::Object(members) => members.iter().find_map(|(name, member)| {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            find_nul(member, path)
        }),
        _ => None,
    }
}

/// Serde's sentence about a value as field, cause and remedy. Our own types say `cause; remedy`.
fn wrong_value(path: &str, said: &str) -> Problem {
    let said = said.rsplit_once(" at line ").map_or(said, |(said, _)| said);
    let parent = if path == "." { "" } else { path };
    if let Some(name) = quoted_after(said, "missing field ") {
        let field = joined(parent, name);
        return Problem::invalid(&field, format!("`{field}` is missing"), format!("give `{field}`"));
    }
    if let Some(name) = quoted_after(said, "unknown field ") {
        let field = if parent == name || parent.ends_with(&format!(".{name}")) {
            parent.to_owned()
        } else {
            joined(parent, name)
        };
        let remedy = match said.split_once("expected ") {
            Some((_, known)) => format!("leave it out, or use one that is known here: {}", listed(known)),
            None => "leave it out".to_owned(),
        };
        return Problem::invalid(&field, format!("there is no field `{field}` here"), remedy);
    }
    let field = if parent.is_empty() { "body" } else { parent };
    let said = &without_value(said);
    if let Some((cause, remedy)) = said.split_once("; ") {
        return Problem::invalid(field, cause, remedy);
    }
    match said.split_once(", expected ") {
        Some((cause, expected)) => {
            Problem::invalid(field, format!("`{field}`: {cause}"), format!("give {}", listed(expected)))
        }
        None => Problem::invalid(field, format!("`{field}`: {said}"), "correct the value"),
    }
}

/// Serde repeats a value of the wrong type, and any value may be a password in the wrong place: what kind it is says enough.
fn without_value(said: &str) -> String {
    let Some((cause, expected)) =
        said.rsplit_once(", expected ").filter(|_| said.starts_with("invalid type: "))
    else {
        return said.to_owned();
    };
    let kind = cause.split(['`', '"']).next().unwrap_or_default().trim_end();
    format!("{kind}, expected {expected}")
}

fn joined(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

fn listed(expected: &str) -> &str {
    expected.strip_prefix("one of ").unwrap_or(expected)
}

fn quoted_after<'a>(said: &'a str, prefix: &str) -> Option<&'a str> {
    said.strip_prefix(prefix)?.strip_prefix('`')?.split_once('`').map(|(name, _)| name)
}

/// The query string.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri).map(|query| Self(query.0)).map_err(|rejection| {
            match rejection {
                QueryRejection::FailedToDeserializeQueryString(said) => {
                    let said = said.body_text();
                    let said = said.strip_prefix("Failed to deserialize query string: ").unwrap_or(&said);
                    match said.split_once(": ") {
                        Some((field, said)) if !field.contains(' ') => wrong_value(field, said),
                        _ => wrong_value(".", said),
                    }
                }
                _ => Problem::new(Kind::Unreadable, "the query string cannot be read", "encode it as a form"),
            }
        })
    }
}

/// The segments of the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(path) => Ok(Self(path.0)),
            Err(rejection) if rejection.status() == StatusCode::INTERNAL_SERVER_ERROR => {
                Err(Problem::internal())
            }
            Err(_) => Err(Problem::new(
                Kind::NotFound,
                "a part of the path is not what can stand there",
                "ids are UUIDs as they were given; the OpenAPI document says what each part is",
            )
            .about("path")),
        }
    }
}

/// A field of a change: left out, cleared with null, or given.
#[derive(Clone, Debug, Default)]
pub(crate) enum Given<T> {
    /// It stays as it is.
    #[default]
    LeftOut,
    /// It is cleared.
    Null,
    /// It becomes this.
    Value(T),
}

impl<T> Given<T> {
    /// What the field is to be, when it is this now.
    pub(crate) fn or(self, present: Option<T>) -> Option<T> {
        match self {
            Self::LeftOut => present,
            Self::Null => None,
            Self::Value(value) => Some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::deserialize(deserializer)? {
            Some(value) => Self::Value(value),
            None => Self::Null,
        })
    }
}
