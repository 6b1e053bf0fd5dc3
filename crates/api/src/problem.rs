//! What went wrong, for the caller: RFC 9457 problem details with the field, the cause and the remedy. Nothing here ever
//! repeats a secret, a subject or a body.

mod refusal;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// The kinds of problems; each has a paragraph in `docs/problems.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Unreadable,
    Invalid,
    Conflict,
    Changed,
    VersionMissing,
    UnderWay,
    KeyReused,
    Gone,
    TooLarge,
    UnsupportedMediaType,
    Unavailable,
    TimedOut,
    Internal,
}

impl Kind {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 17] = [
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Unreadable,
        Self::Invalid,
        Self::Conflict,
        Self::Changed,
        Self::VersionMissing,
        Self::UnderWay,
        Self::KeyReused,
        Self::Gone,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Unavailable,
        Self::TimedOut,
        Self::Internal,
    ];

    const fn facts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Unauthenticated => {
                (StatusCode::UNAUTHORIZED, "unauthenticated", "A valid API key is missing")
            }
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The key does not allow this"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "Not with this method")
            }
            Self::Unreadable => (StatusCode::BAD_REQUEST, "unreadable", "The request cannot be read"),
            Self::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "A value is not possible"),
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "Something else stands in the way"),
            Self::Changed => (StatusCode::PRECONDITION_FAILED, "changed", "It changed in the meantime"),
            Self::VersionMissing => {
                (StatusCode::PRECONDITION_REQUIRED, "version-missing", "The version that was read is missing")
            }
            Self::UnderWay => (StatusCode::CONFLICT, "under-way", "The same request is under way"),
            Self::KeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "key-reused", "The key is another request's")
            }
            Self::Gone => (StatusCode::GONE, "gone", "What was asked for is no longer kept"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "It is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body is not JSON")
            }
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Lockstep cannot answer now")
            }
            Self::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "timed-out", "It took too long"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "A fault of Lockstep's own"),
        }
    }

    /// The anchor of its paragraph.
    #[cfg(test)]
    pub(crate) const fn slug(self) -> &'static str {
        self.facts().1
    }
}

/// A problem on its way to the caller; the outermost layer adds the request's id and renders it.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    kind: Kind,
    field: Option<String>,
    cause: String,
    remedy: String,
}

impl Problem {
    pub(crate) fn new(kind: Kind, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { kind, field: None, cause: cause.into(), remedy: remedy.into() }
    }

    /// A value that is not possible.
    pub(crate) fn invalid(field: &str, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Kind::Invalid, cause, remedy).about(field)
    }

    /// A record that the caller's organization does not have, or that the caller may not see.
    pub(crate) fn not_found(noun: &str) -> Self {
        Self::new(
            Kind::NotFound,
            format!("there is no {noun} with this id that you may see"),
            format!("check the id, or list the {noun}s to find it"),
        )
        .about("id")
    }

    pub(crate) fn internal() -> Self {
        Self::new(
            Kind::Internal,
            "the request could not be completed because of a fault in Lockstep",
            "nothing was changed; report the request id to whoever runs Lockstep, its log says more",
        )
    }

    #[must_use]
    pub(crate) fn about(mut self, field: &str) -> Self {
        self.field = Some(field.to_owned());
        self
    }

    /// The body as it is sent.
    pub(crate) fn render(self, request_id: &str) -> Response {
        let (status, slug, title) = self.kind.facts();
        let body = ProblemBody {
            r#type: format!("docs/problems.md#{slug}"),
            title: title.to_owned(),
            status: status.as_u16(),
            detail: self.cause,
            field: self.field,
            remedy: self.remedy,
            request_id: request_id.to_owned(),
        };
        let mut response = (status, serde_json::to_string(&body).unwrap_or_default()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self.kind {
            Kind::Unauthenticated => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Kind::Unavailable | Kind::TimedOut => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            Kind::UnderWay => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.kind.facts().0.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<store::Error> for Problem {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Refused(refusal) => refusal.into(),
            store::Error::Away(reason) => {
                tracing::warn!(error = reason, "the database is away");
                Self::new(
                    Kind::Unavailable,
                    "the database cannot be asked at the moment",
                    "repeat the request in a few seconds; if it goes on, `lockstep doctor` says what is wrong",
                )
            }
            error => {
                tracing::error!(%error, "a request failed by a fault of our own");
                Self::internal()
            }
        }
    }
}

/// Problem details (RFC 9457): what went wrong, with the field, the cause and the remedy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// The kind of problem, as a link to the paragraph that explains it, relative to the project's root.
    #[schema(example = "docs/problems.md#invalid")]
    r#type: String,
    /// The kind in a few words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// The cause.
    detail: String,
    /// The field of the request that it is about, as a path such as `incoming.port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    field: Option<String>,
    /// What to do about it.
    remedy: String,
    /// The request's id, as in the header `x-request-id` and in Lockstep's log.
    request_id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_problem_has_its_paragraph() {
        let page = include_str!("../../../docs/problems.md");
        for kind in Kind::ALL {
            assert!(
                page.contains(&format!("## {}\n", kind.slug())),
                "docs/problems.md lacks `## {}`",
                kind.slug()
            );
        }
    }
}
