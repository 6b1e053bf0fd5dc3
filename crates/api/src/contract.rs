//! What holds for every operation, written into the document where its own file does not have to say it: a name, the
//! problem it answers with, whom what it shows is for, `Idempotency-Key` and `If-Match`.

use serde_json::json;
use utoipa::openapi::content::Content;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{OpenApi, Ref, RefOr, Required};

use crate::rights::{self, Right};

/// Whom an operation's records are for. `public`: everybody. `organization`: every user of it. `own`: the user whose
/// record it is, the members of the queue whose it is, and administrators. `own_alone`: the same without administrators.
/// `administrators`: they and services, no user. A test walks the document and holds every operation to it.
pub(crate) const AUDIENCE: &str = "x-audience";

/// Why an operation that changes or removes takes no `If-Match`: there is nothing that could be lost.
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
            if method == "post" {
                operation.parameters.get_or_insert_default().push(RefOr::T(idempotency_key()));
            } else {
                ask_for_version(operation);
            }
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

/// Every POST takes one.
fn idempotency_key() -> Parameter {
    ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .description(Some(
            "1 to 255 ASCII characters of your choice, such as a new UUID. The same request with the same key gets the \
             first answer again and does nothing; it is kept for the setting `idempotency_hours`",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

/// What changes or removes a record takes the version that was read (`version::IfMatch`).
fn ask_for_version(operation: &mut Operation) {
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        if parameter.name == "If-Match" {
            parameter.required = Required::True;
            parameter.description =
                Some("The `ETag` that was read; another version is refused. `*` stands for any".to_owned());
        }
    }
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
