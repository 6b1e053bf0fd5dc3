//! The router and its document: every route is declared once, with what it takes, what it gives and whom it is for.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use mail::oauth::Client;
use model::network::NetworkPolicy;
use store::Store;
use store::seal::KeyRing;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use crate::problem::{Kind, Problem, ProblemBody};
use crate::rights::Rights;
use crate::waiting::WaitingRoom;
use crate::{Config, Parts, caller, contract, routes, trace};

/// What every request is answered with.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) network: NetworkPolicy,
    pub(crate) tokens: Client,
    pub(crate) rights: Rights,
    /// Where requests wait for a change.
    pub(crate) waiting: WaitingRoom,
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
    /// The largest JSON body, in bytes.
    pub(crate) fn json_limit(&self) -> usize {
        self.config.max_body_mb as usize * 1_000_000
    }

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
        tokens: parts.tokens,
        rights: Rights::of(&document),
        waiting: WaitingRoom::new(),
        paths: document.paths.paths.keys().cloned().collect(),
        document: crate::openapi_json(),
    }));
    surrounded(router, app)
}

/// What every request goes through on its way in and out, whatever the routes are.
fn surrounded(router: Router<App>, app: App) -> Router {
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
        .with_state(app)
}

/// The document alone.
pub(crate) fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = described().into_openapi();
    contract::complete(&mut document);
    document
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

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::{Request, StatusCode};
    use axum::routing::get;
    use model::secret::Secret;
    use tower::ServiceExt as _;

    use super::*;

    fn app() -> App {
        let database = store::Config {
            url: Secret::from("postgres://nobody@127.0.0.1:1/nothing"),
            ca_file: String::new(),
            pool_size: 1,
            pool_wait_seconds: 1,
            connect_timeout_seconds: 1,
            statement_timeout_seconds: 1,
            idle_transaction_timeout_seconds: 1,
        };
        let config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            request_timeout_seconds: 1,
            max_body_mb: 1,
            resolve_seconds: 1,
            max_connections: 10,
            header_timeout_seconds: 5,
            public_url: String::new(),
        };
        App(Arc::new(Inner {
            config,
            store: Store::open(&database).unwrap(),
            keys: Arc::new(KeyRing::from_text("a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap()),
            network: NetworkPolicy::default(),
            tokens: Client::new(NetworkPolicy::default(), mail::transport::Trust::system()),
            rights: Rights::default(),
            waiting: WaitingRoom::new(),
            document: String::new(),
            paths: HashSet::from(["/closed".to_owned()]),
        }))
    }

    async fn problem(router: Router<App>, path: &str) -> (StatusCode, serde_json::Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = surrounded(router, app()).oneshot(request).await.unwrap();
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn a_panic_becomes_a_problem_that_says_nothing_of_it() {
        let router = Router::new().route("/", get(async || -> &'static str { panic!("a secret thought") }));
        let (status, body) = problem(router, "/").await;
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body.to_string().contains("thought"), "{body}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_takes_too_long_becomes_a_problem() {
        let router = Router::new().route("/", get(std::future::pending::<&'static str>));
        assert_eq!(problem(router, "/").await.0, StatusCode::GATEWAY_TIMEOUT);
    }

    #[tokio::test]
    async fn a_route_whose_document_names_no_right_is_closed() {
        let router = Router::new().route("/closed", get(async || "open"));
        assert_eq!(problem(router, "/closed").await.0, StatusCode::UNAUTHORIZED);
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_said_to_be() {
        let router = described().split_for_parts().0;
        let (status, body) = problem(router, "/ready").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(body["remedy"].as_str().unwrap().contains("lockstep doctor"), "{body}");
    }
}
