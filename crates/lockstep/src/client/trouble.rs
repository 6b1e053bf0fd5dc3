//! What went wrong between the command line and the API, said with cause and remedy. The key and what was sent are never
//! repeated.

use std::error::Error as _;
use std::path::Path;

use reqwest::{Response, StatusCode, Url};
use serde_json::Value;

use super::Record;
use crate::command::Failure;

const GIVE_A_KEY: &str = "give a key: `export LOCKSTEP__CLIENT__KEY=lk_…`, or `client.key` in the configuration file; \
                          `lockstep organization create` prints the first one, `lockstep key create` makes more";

/// No key is configured.
pub(super) fn no_key() -> Failure {
    said("no API key is configured", GIVE_A_KEY)
}

/// The client cannot be set up.
pub(super) fn unusable(base: &Url, error: &reqwest::Error) -> Failure {
    said(
        &format!("the client for {base} cannot be set up: {}", innermost(error)),
        "check `client.ca_file`, and that the system's CA certificates are installed (ca-certificates)",
    )
}

/// No answer came.
pub(super) fn unreachable(base: &Url, error: &reqwest::Error) -> Failure {
    let cause = innermost(error);
    let remedy = if cause.contains("certificate") {
        "check the API's certificate, or name its authority's PEM file as `client.ca_file` \
         (environment: LOCKSTEP__CLIENT__CA_FILE)"
    } else if error.is_timeout() && !error.is_connect() {
        "look whether it happened, then ask again"
    } else {
        "check that the API runs there (`lockstep api`, or `lockstep run`), or set `client.url` \
         (environment: LOCKSTEP__CLIENT__URL) to where it listens"
    };
    said(&format!("the API at {base} cannot be reached: {cause}"), remedy)
}

/// Something else answers at the API's address.
pub(super) fn not_the_api(base: &Url, why: &str) -> Failure {
    said(
        &format!("what answers at {base} is not Lockstep's API: {why}"),
        "set `client.url` (environment: LOCKSTEP__CLIENT__URL) to where the API listens",
    )
}

/// The API said no. Its problem details (RFC 9457) are told in full.
pub(super) async fn answered(base: &Url, response: Response) -> Failure {
    let status = response.status();
    let body = response.bytes().await.unwrap_or_default();
    let Ok(problem) = serde_json::from_slice::<Value>(&body) else {
        return not_the_api(base, &format!("it answered {status} without problem details"));
    };
    Failure::Said(sentence(status, Record(&problem)))
}

fn sentence(status: StatusCode, problem: Record<'_>) -> String {
    let title = problem.filled("title").unwrap_or_else(|| status.to_string());
    let first = match problem.filled("detail") {
        Some(detail) => format!("{title}: {detail}"),
        None => title,
    };
    let remedy = match status {
        StatusCode::UNAUTHORIZED => Some(GIVE_A_KEY.to_owned()),
        _ => problem.filled("remedy"),
    };
    let lines = [
        ("field", problem.filled("field")),
        ("what to do", remedy),
        ("request", problem.filled("request_id")),
    ];
    let lines = lines.into_iter().filter_map(|(name, value)| Some(format!("{name}: {}", value?)));
    std::iter::once(first).chain(lines).collect::<Vec<_>>().join("\n  ")
}

/// A file of the person's cannot be used; `what` is a verb.
pub(super) fn file(path: &Path, what: &str, error: &std::io::Error) -> Failure {
    said(&format!("{} cannot be {what}: {error}", path.display()), "check the path and its permissions")
}

/// What comes cannot be written down.
pub(super) fn unwritable(error: &std::io::Error) -> Failure {
    said(
        &format!("the content cannot be written: {error}"),
        "check the space and the permissions of its place",
    )
}

fn said(cause: &str, remedy: &str) -> Failure {
    Failure::Said(format!("{cause}\n  what to do: {remedy}"))
}

/// The outer errors only say that a request failed, which is known.
fn innermost(error: &reqwest::Error) -> String {
    let mut source = error.source();
    let mut text = if error.is_timeout() { "no answer in time".to_owned() } else { error.to_string() };
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_with_field_cause_remedy_and_request() {
        let problem = serde_json::json!({
            "type": "docs/problems.md#invalid", "title": "A value is not possible", "status": 422,
            "detail": "`incoming.port` cannot be 0", "field": "incoming.port",
            "remedy": "give the TCP port, 1 to 65535", "request_id": "r-1",
        });
        assert_eq!(
            sentence(StatusCode::UNPROCESSABLE_ENTITY, Record(&problem)),
            "A value is not possible: `incoming.port` cannot be 0\n  field: incoming.port\n  \
             what to do: give the TCP port, 1 to 65535\n  request: r-1"
        );
    }

    #[test]
    fn a_refused_key_is_answered_with_how_to_give_one() {
        let problem = serde_json::json!({"title": "A valid API key is missing", "remedy": "send a header"});
        let text = sentence(StatusCode::UNAUTHORIZED, Record(&problem));
        assert!(text.contains("LOCKSTEP__CLIENT__KEY") && !text.contains("send a header"), "{text}");
    }
}
