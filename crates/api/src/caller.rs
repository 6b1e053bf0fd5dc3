//! Who calls: the key of the request, and what it may see. A handler runs only after its route's right was checked.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use model::actor::Principal;
use model::id::UserId;
use model::mailbox::{Owner, Role};
use model::secret::Secret;
use store::alert::AlertReader;
use store::change::Author;
use store::email::Reader;
use store::{Store, Tenant, key};

use crate::app::App;
use crate::idempotency::{self, Once};
use crate::problem::{Kind, Problem};
use crate::rights::Right;
use crate::trace::Trace;
use crate::transaction::Transaction;

/// An authenticated caller who may do what the route asks for.
#[derive(Clone)]
pub(crate) struct Caller(Arc<Inner>);

struct Inner {
    store: Store,
    principal: Principal,
    author: Author,
    once: Option<Arc<Once>>,
    /// Whether the request only reads: its answer is of one moment.
    reads: bool,
}

impl Caller {
    /// Whom the call speaks for.
    pub(crate) fn principal(&self) -> &Principal {
        &self.0.principal
    }

    /// Who a change is written down for.
    pub(crate) fn author(&self) -> &Author {
        &self.0.author
    }

    /// Begins a transaction that sees the caller's organization. Of a request with an `Idempotency-Key`, the last one is
    /// the one that is committed with the answer: what has an effect belongs into it.
    pub(crate) async fn begin(&self) -> Result<Transaction, Problem> {
        let Some(once) = self.0.once.as_ref().filter(|once| once.binds()) else {
            return Ok(Transaction::new(self.tenant().await?, None));
        };
        if let Some(earlier) = once.earlier() {
            earlier.commit().await?;
        }
        let tenant = self.tenant().await?;
        once.enter(&tenant).await?;
        Ok(Transaction::new(tenant, Some(Arc::clone(once))))
    }

    /// A transaction for itself, whatever key the request has.
    pub(crate) async fn tenant(&self) -> Result<Tenant, Problem> {
        let organization = self.0.principal.organization;
        if self.0.reads {
            return Ok(self.0.store.snapshot(organization).await?);
        }
        Ok(self.0.store.tenant(organization).await?)
    }

    /// Says what an upload was, by its SHA-256, before the transaction that stores it begins.
    pub(crate) fn uploaded(&self, digest: [u8; 32]) {
        if let Some(once) = &self.0.once {
            once.sent(digest);
        }
    }

    /// The user whose own things are all the caller sees; none sees everything.
    pub(crate) fn confined_to(&self) -> Option<UserId> {
        match self.0.principal.user {
            Some((id, Role::User)) => Some(id),
            _ => None,
        }
    }

    /// As whom emails are read.
    pub(crate) fn reader(&self) -> Reader {
        self.confined_to().map_or(Reader::Everything, Reader::User)
    }

    /// As whom alerts are read.
    pub(crate) fn alert_reader(&self) -> AlertReader {
        self.confined_to().map_or(AlertReader::Everything, AlertReader::User)
    }

    /// Whether a mailbox of this owner is the caller's to see.
    pub(crate) async fn sees(&self, tenant: &Tenant, owner: Option<Owner>) -> Result<bool, Problem> {
        let Some(user) = self.confined_to() else { return Ok(true) };
        match owner {
            Some(Owner::User(id)) => Ok(id == user),
            Some(Owner::Queue(id)) => {
                Ok(store::queue::get(tenant, id).await?.is_some_and(|queue| queue.members.contains(&user)))
            }
            None => Ok(false),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            tracing::error!("a handler without authentication before it");
            Problem::internal()
        })
    }
}

/// Lets a request through to its handler when its key has the right that the route's document names.
pub(crate) async fn authenticate(
    State(app): State<App>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    if !app.knows(path) {
        return Ok(next.run(request).await);
    }
    let right = app.rights.wanted(request.method(), path);
    if right == Some(Right::Open) {
        return Ok(next.run(request).await);
    }
    let principal = principal(&app, request.headers()).await?;
    let Some(right) = right else {
        // The path is ours and nothing is said of this method: no such operation, or none that may be called.
        return Err(Problem::new(
            Kind::MethodNotAllowed,
            "this path does not take this method",
            "the methods of each path are in the OpenAPI document at /api/v1/openapi.json",
        ));
    };
    if !right.is_held_by(&principal) {
        return Err(Problem::new(
            Kind::Forbidden,
            "your key does not allow this",
            format!("it takes {}", right.held_by()),
        ));
    }
    let trace = request.extensions().get::<Trace>().and_then(|trace| trace.parent.clone());
    let author = Author { actor: principal.actor(), cause: "api", trace };
    let once = match *request.method() {
        Method::POST => Once::of(&request, author.name())?.map(Arc::new),
        _ => None,
    };
    let reads = request.method().is_safe();
    let store = app.store.clone();
    let caller = Caller(Arc::new(Inner { store, principal, author, once: once.clone(), reads }));
    request.extensions_mut().insert(caller.clone());
    match once {
        Some(once) => {
            idempotency::answered(&caller, &once, request, app.json_limit(), |request| next.run(request))
                .await
        }
        None => Ok(next.run(request).await),
    }
}

async fn principal(app: &App, headers: &HeaderMap) -> Result<Principal, Problem> {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(given) = given else {
        return Err(unauthenticated("the request carries no API key"));
    };
    let token = match given.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => return Err(unauthenticated("the header `Authorization` is not of the form `Bearer lk_…`")),
    };
    if !token.starts_with(key::PREFIX) {
        return Err(unauthenticated("the key does not begin with `lk_`"));
    }
    let hash = key::hash(&Secret::from(token.to_owned()));
    let ring = app.store.ring().await?;
    let principal = key::authenticate(&ring, hash).await?;
    ring.commit().await?;
    principal.ok_or_else(|| unauthenticated("the key is unknown, revoked, or its user is not active"))
}

fn unauthenticated(cause: &str) -> Problem {
    Problem::new(
        Kind::Unauthenticated,
        cause,
        "send the header `Authorization: Bearer lk_…` with a valid key; an administrator makes one with \
         `POST /api/v1/keys`",
    )
    .about("Authorization")
}
