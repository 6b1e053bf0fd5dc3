//! What holds for every operation, written into the document where its own file does not have to say it: a name, the
//! problem it answers with, and whom what it shows is for.

use serde_json::json;
use utoipa::openapi::content::Content;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::Operation;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::{OpenApi, Ref, RefOr};

use crate::rights::{self, Right};

/// Whom an operation's records are for. `public`: everybody. `organization`: every user of it. `own`: the user whose
/// record it is, the members of the queue whose it is, and administrators. `own_alone`: the same without administrators.
/// `administrators`: they and services, no user. A test walks the document and holds every operation to it.
pub(crate) const AUDIENCE: &str = "x-audience";

/// Completes the document.
pub(crate) fn complete(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let operations = [
            ("get", &mut item.get),
            ("put", &mut item.put),
            ("post", &mut item.post),
            ("patch", &mut item.patch),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in operations {
            let Some(operation) = operation else { continue };
            operation.operation_id = Some(operation_id(method, path));
            operation.responses.responses.insert("default".to_owned(), RefOr::T(problem()));
            name_audience(operation);
        }
    }
}

/// A right that no user has says whom the operation is for; of the others the operation itself says it.
fn name_audience(operation: &mut Operation) {
    let audience = match rights::named(operation) {
        Some(Right::Open) => "public",
        Some(Right::Oversee | Right::Administer) => "administrators",
        _ => return,
    };
    let extensions = operation.extensions.get_or_insert_with(Extensions::default);
    extensions.entry(AUDIENCE.to_owned()).or_insert_with(|| json!(audience));
}

/// A name that is unique in the document: `get_mailboxes_id_items`.
fn operation_id(method: &str, path: &str) -> String {
    let words = path.trim_start_matches("/api/v1").replace(['{', '}'], "").replace(['/', '-', '.'], "_");
    format!("{method}{words}")
}

/// How every operation answers when it cannot do what was asked.
fn problem() -> Response {
    ResponseBuilder::new()
        .description("What went wrong: the cause, the field and the remedy (RFC 9457)")
        .content("application/problem+json", Content::new(Some(Ref::from_schema_name("Problem"))))
        .build()
}
