//! Versions as entity tags: a record's version goes out as `ETag`, and `If-Match` makes a change conditional on it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{AppendHeaders, IntoResponse, Response};

use crate::problem::{Kind, Problem};

/// The version that `If-Match` names; none when the header is missing or `*`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IfMatch(pub(crate) Option<i64>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else { return Ok(Self(None)) };
        match value.to_str().ok().and_then(read) {
            Some(version) => Ok(Self(version)),
            None => Err(Problem::new(
                Kind::Unreadable,
                "the header `If-Match` holds no version",
                "give the `ETag` of the record as it was read, such as \"3\", or leave the header out",
            )
            .about("If-Match")),
        }
    }
}

#[expect(clippy::option_option, reason = "any version, this version, or nothing readable")]
fn read(text: &str) -> Option<Option<i64>> {
    let text = text.trim();
    if text == "*" {
        return Some(None);
    }
    let text = text.strip_prefix("W/").unwrap_or(text);
    text.trim_matches('"').parse().ok().map(Some)
}

/// A body with the version of its record.
pub(crate) struct Versioned<T>(pub(crate) i64, pub(crate) T);

impl<T: IntoResponse> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        let tag =
            HeaderValue::from_str(&format!("\"{}\"", self.0)).unwrap_or(HeaderValue::from_static("\"0\""));
        (AppendHeaders([(header::ETAG, tag)]), self.1).into_response()
    }
}
