//! Queues: shared inboxes and their members.

use axum::http::StatusCode;
use jiff::Timestamp;
use model::address::EmailAddress;
use model::id::{QueueId, UserId};
use serde::{Deserialize, Serialize};
use store::Called;
use store::queue::{self, NewQueue, QueueUpdate};
use store::user;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::body::{Json, Path, Query};
use crate::caller::Caller;
use crate::page::{Page, Wanted};
use crate::problem::Problem;
use crate::version::{IfMatch, Versioned};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(upsert))
        .routes(routes!(get, update))
        .routes(routes!(add_member, remove_member))
}

/// A queue to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewQueue)]
struct QueueToMake {
    /// The name to show, 1 to 200 characters.
    name: String,
    /// The address, unique among the organization's queues.
    #[schema(value_type = String, format = Email)]
    address: EmailAddress,
    /// The users who may read it and send for it.
    #[serde(default)]
    #[schema(required = false)]
    members: Vec<Uuid>,
    /// The host application's id.
    external_id: Option<String>,
}

/// A queue as a host application says it is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct QueueToPut {
    /// The name to show, 1 to 200 characters.
    name: String,
    /// The address, unique among the organization's queues.
    #[schema(value_type = String, format = Email)]
    address: EmailAddress,
    /// All users who may read it and send for it.
    members: Option<Vec<Uuid>>,
}

/// What to change of a queue; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct QueueChange {
    /// The name to show, 1 to 200 characters.
    name: Option<String>,
    /// The address.
    #[schema(value_type = Option<String>, format = Email)]
    address: Option<EmailAddress>,
    /// All members from now on.
    members: Option<Vec<Uuid>>,
}

/// A shared inbox such as support@.
#[derive(Serialize, ToSchema)]
struct Queue {
    /// Which.
    id: Uuid,
    /// The name to show.
    name: String,
    /// The address.
    address: String,
    /// The users who may read it and send for it.
    members: Vec<Uuid>,
    /// The host application's id.
    external_id: Option<String>,
    /// Raised by each change; the `ETag`.
    version: i64,
    /// Since when.
    created_at: Timestamp,
    /// Last changed.
    modified_at: Timestamp,
}

impl From<queue::Queue> for Queue {
    fn from(queue: queue::Queue) -> Self {
        Self {
            id: queue.id.0,
            name: queue.name,
            address: queue.address,
            members: queue.members.into_iter().map(|member| member.0).collect(),
            external_id: queue.external_id,
            version: queue.version,
            created_at: queue.created_at,
            modified_at: queue.modified_at,
        }
    }
}

fn answer(queue: queue::Queue) -> Versioned<Json<Queue>> {
    Versioned(queue.version, Json(queue.into()))
}

/// Which queues.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct QueueQuery {
    /// With this name, whatever its case.
    name: Option<String>,
    /// With this address, whatever its case.
    address: Option<String>,
    /// With this id of the host application.
    external_id: Option<String>,
    /// Items of a page, 1 to 200; 50 when left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Make a queue.
#[utoipa::path(
    post, path = "/queues", tag = "queues", security(("key" = ["administer"])),
    request_body = QueueToMake, responses((status = 201, body = Queue))
)]
async fn create(
    caller: Caller,
    Json(new): Json<QueueToMake>,
) -> Result<(StatusCode, Versioned<Json<Queue>>), Problem> {
    let members = new.members.into_iter().map(UserId).collect();
    let new = NewQueue { name: new.name, address: new.address, members, external_id: new.external_id };
    let tenant = caller.begin().await?;
    let queue = queue::create(&tenant, &new, caller.author()).await?;
    tenant.commit().await?;
    Ok((StatusCode::CREATED, answer(queue)))
}

/// Make the queue with this external id so, or make one: what a host application says of its queues, over and over. Members
/// that are left out stay as they are.
#[utoipa::path(
    put, path = "/queues/by-external-id/{external_id}", tag = "queues", security(("key" = ["administer"])),
    extensions(("x-unconditional" = json!("the host application's record is the one that counts"))),
    params(("external_id" = String, Path, description = "The host application's id")),
    request_body = QueueToPut,
    responses((status = 200, body = Queue), (status = 201, description = "It is new", body = Queue))
)]
async fn upsert(
    caller: Caller,
    Path(external_id): Path<String>,
    Json(new): Json<QueueToPut>,
) -> Result<(StatusCode, Versioned<Json<Queue>>), Problem> {
    let members = new.members.map(|members| members.into_iter().map(UserId).collect());
    let new = NewQueue { name: new.name, address: new.address, members: Vec::new(), external_id: None };
    let tenant = caller.begin().await?;
    let (queue, is_new) = queue::upsert(&tenant, &external_id, &new, members, caller.author()).await?;
    tenant.commit().await?;
    Ok((if is_new { StatusCode::CREATED } else { StatusCode::OK }, answer(queue)))
}

/// All queues, in the order they were made.
#[utoipa::path(
    get, path = "/queues", tag = "queues", security(("key" = ["read"])),
    extensions(("x-audience" = json!("organization"))),
    params(QueueQuery), responses((status = 200, body = Page<Queue>))
)]
async fn list(caller: Caller, Query(query): Query<QueueQuery>) -> Result<Json<Page<Queue>>, Problem> {
    let wanted = Wanted::<QueueId>::new("queues", query.limit, query.cursor.as_deref())?;
    let narrowed = Called { name: query.name, address: query.address, external_id: query.external_id };
    let tenant = caller.begin().await?;
    let queues = queue::list(&tenant, &narrowed, wanted.after, wanted.limit()).await?;
    tenant.commit().await?;
    Ok(Json(wanted.page(queues, |queue| queue.id.to_string(), Queue::from)))
}

/// One queue.
#[utoipa::path(
    get, path = "/queues/{id}", tag = "queues", security(("key" = ["read"])),
    extensions(("x-audience" = json!("organization"))),
    params(("id" = Uuid, Path, description = "The queue")), responses((status = 200, body = Queue))
)]
async fn get(caller: Caller, Path(id): Path<Uuid>) -> Result<Versioned<Json<Queue>>, Problem> {
    let tenant = caller.begin().await?;
    let queue = queue::get(&tenant, QueueId(id)).await?.ok_or_else(|| Problem::not_found("queue"))?;
    tenant.commit().await?;
    Ok(answer(queue))
}

/// Change a queue.
#[utoipa::path(
    patch, path = "/queues/{id}", tag = "queues", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The queue"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    request_body = QueueChange, responses((status = 200, body = Queue))
)]
async fn update(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Json(change): Json<QueueChange>,
) -> Result<Versioned<Json<Queue>>, Problem> {
    let members = change.members.map(|members| members.into_iter().map(UserId).collect());
    let change = QueueUpdate { name: change.name, address: change.address, members };
    let tenant = caller.begin().await?;
    let queue = queue::update(&tenant, QueueId(id), version, &change, caller.author()).await?;
    tenant.commit().await?;
    Ok(answer(queue))
}

/// Make a user a member of a queue; doing it again changes nothing.
#[utoipa::path(
    put, path = "/queues/{id}/members/{user}", tag = "queues", security(("key" = ["administer"])),
    extensions(("x-unconditional" = json!("adds one member, and takes nobody else in or out"))),
    params(("id" = Uuid, Path, description = "The queue"), ("user" = Uuid, Path, description = "The user")),
    responses((status = 200, body = Queue))
)]
async fn add_member(
    caller: Caller,
    Path(path): Path<(Uuid, Uuid)>,
) -> Result<Versioned<Json<Queue>>, Problem> {
    set_member(&caller, path, true).await
}

/// Take a user out of a queue; doing it again changes nothing.
#[utoipa::path(
    delete, path = "/queues/{id}/members/{user}", tag = "queues", security(("key" = ["administer"])),
    extensions(("x-unconditional" = json!("takes one member out, and nobody else"))),
    params(("id" = Uuid, Path, description = "The queue"), ("user" = Uuid, Path, description = "The user")),
    responses((status = 200, body = Queue))
)]
async fn remove_member(
    caller: Caller,
    Path(path): Path<(Uuid, Uuid)>,
) -> Result<Versioned<Json<Queue>>, Problem> {
    set_member(&caller, path, false).await
}

async fn set_member(
    caller: &Caller,
    (id, member): (Uuid, Uuid),
    wanted: bool,
) -> Result<Versioned<Json<Queue>>, Problem> {
    let (id, member) = (QueueId(id), UserId(member));
    let tenant = caller.begin().await?;
    let queue = queue::get(&tenant, id).await?.ok_or_else(|| Problem::not_found("queue"))?;
    user::get(&tenant, member).await?.ok_or_else(|| Problem::not_found("user"))?;
    let mut members = queue.members;
    members.retain(|present| *present != member);
    if wanted {
        members.push(member);
    }
    let change = QueueUpdate { members: Some(members), ..QueueUpdate::default() };
    // The version that was read here: a member added meanwhile by somebody else is not lost.
    let queue = queue::update(&tenant, id, Some(queue.version), &change, caller.author()).await?;
    tenant.commit().await?;
    Ok(answer(queue))
}
