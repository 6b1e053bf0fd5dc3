//! Versions as entity tags: a record's version goes out as `ETag`, and `If-Match` makes a change conditional on it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, header};
use axum::response::{AppendHeaders, IntoResponse, Response};

use crate::problem::{Kind, Problem};

/// The version that `If-Match` names; none for `*`. A POST may leave the header out, which is like `*`: it asks for
/// something to happen. What changes or removes a record must not, or somebody's change is lost unseen (RFC 6585
/// section 3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct IfMatch(pub(crate) Option<i64>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(header::IF_MATCH) else {
            if parts.method == Method::POST {
                return Ok(Self(None));
            }
            return Err(Problem::new(
                Kind::VersionMissing,
                "the header `If-Match` is missing",
                "read the record and send its `ETag` in `If-Match`; `*` says that any version will do",
            )
            .about("If-Match"));
        };
        match value.to_str().ok().and_then(read) {
            Some(version) => Ok(Self(version)),
            None => Err(Problem::new(
                Kind::Unreadable,
                "the header `If-Match` holds no version",
                "give the `ETag` of the record as it was read, such as \"3\", or `*` for any version",
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
