//! The router and its document: every route is declared once, with what it takes, what it gives and whom it is for.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use model::network::NetworkPolicy;
use store::Store;
use store::seal::KeyRing;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::content::Content;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use crate::problem::{Kind, Problem, ProblemBody};
use crate::rights::Rights;
use crate::{Config, Parts, caller, routes, trace};

/// What every request is answered with.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) network: NetworkPolicy,
    pub(crate) rights: Rights,
    /// The document, rendered once.
    pub(crate) document: String,
    paths: HashSet<String>,
}

impl std::ops::Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    /// Whether a matched path is one of the document's.
    pub(crate) fn knows(&self, path: &str) -> bool {
        self.paths.contains(path)
    }
}

/// Everything that is served.
pub(crate) fn router(config: Config, parts: Parts) -> Router {
    let (router, document) = described().split_for_parts();
    let app = App(Arc::new(Inner {
        config,
        store: parts.store,
        keys: parts.keys,
        network: parts.network,
        rights: Rights::of(&document),
        paths: document.paths.paths.keys().cloned().collect(),
        document: crate::openapi_json(),
    }));
    router
        .fallback(async || {
            Problem::new(
                Kind::NotFound,
                "there is nothing at this path",
                "the paths are in the OpenAPI document at /api/v1/openapi.json",
            )
        })
        .method_not_allowed_fallback(async || {
            Problem::new(
                Kind::MethodNotAllowed,
                "this path does not take this method",
                "the methods of each path are in the OpenAPI document at /api/v1/openapi.json",
            )
        })
        .layer(from_fn_with_state(app.clone(), caller::authenticate))
        .layer(from_fn(trace::without_nul))
        .layer(CatchPanicLayer::custom(|_| {
            tracing::error!("a handler panicked");
            axum::response::IntoResponse::into_response(Problem::internal())
        }))
        .layer(from_fn_with_state(app.clone(), trace::surround))
        // Each body has its own bound: JSON the configured one, files the organization's.
        .layer(DefaultBodyLimit::disable())
        .with_state(app)
}

/// The document alone.
pub(crate) fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = described().into_openapi();
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
        }
    }
    document
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

fn described() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi()).merge(routes::open()).nest("/api/v1", routes::all())
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lockstep",
        description = "Server-side mail synchronization: profiles of mail servers, mailboxes, emails in and out, and how \
                       it all runs. Every call but the health checks carries `Authorization: Bearer lk_…` and sees the \
                       key's organization alone. Errors are problem details (RFC 9457). Times are RFC 3339 in UTC.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(ProblemBody)),
    modifiers(&Common),
)]
struct Document;

/// What all operations have in common.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let scheme = Http::builder()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "An API key, `lk_…`. The name beside it in an operation's security is the right it asks for: any, read, \
                 read_bodies, send, oversee or administer.",
            ))
            .build();
        components.add_security_scheme("key", SecurityScheme::Http(scheme));
    }
}
