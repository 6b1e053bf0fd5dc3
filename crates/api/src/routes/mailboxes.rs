//! Mailboxes: mapping, approving, credentials, and what is on. Nothing is processed before a mailbox is approved, tested
//! and enabled; tests and workloads are in the files below.

mod folders;
mod items;
mod shape;
mod test;
mod workloads;

use axum::extract::State;
use axum::http::StatusCode;
use model::id::{MailboxId, ProfileId, QueueId, UserId};
use model::mailbox::{Approval, DeliveryMethod, Owner};
use model::workload::Workload;
use serde::Deserialize;
use store::mailbox::{self, MailboxFilter, MailboxUpdate};
use store::{Called, Tenant, outgoing, queue, user};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

pub(super) use self::shape::{DisabledBy, HeldBack};
use self::shape::{Mailbox, MailboxChange, NewMailbox};
use super::profiles::NewCredential;
use crate::app::App;
use crate::body::{Given, Json, Path, Query};
use crate::caller::Caller;
use crate::page::{Page, Wanted};
use crate::problem::Problem;
use crate::schema;
use crate::transaction::Transaction;
use crate::version::{IfMatch, Versioned};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update))
        .routes(routes!(set_credential))
        .routes(routes!(approve))
        .routes(routes!(reject))
        .merge(test::routes())
        .merge(workloads::routes())
        .merge(items::routes())
        .merge(folders::routes())
}

/// Which mailboxes.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct MailboxQuery {
    /// On this profile.
    profile: Option<Uuid>,
    /// Of this user or queue.
    owner: Option<Uuid>,
    /// With this approval.
    #[param(value_type = Option<schema::Approval>)]
    approval: Option<Approval>,
    /// True: only those where a workload fails, failed its test, or was switched off by Lockstep.
    failing: Option<bool>,
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

/// The mailbox that the path names, when the caller may see it.
async fn seen(caller: &Caller, tenant: &Tenant, id: MailboxId) -> Result<mailbox::Mailbox, Problem> {
    let mailbox = mailbox::get(tenant, id).await?.ok_or_else(|| Problem::not_found("mailbox"))?;
    if caller.sees(tenant, mailbox.owner).await? { Ok(mailbox) } else { Err(Problem::not_found("mailbox")) }
}

/// The whole answer about a mailbox, with its backlog.
async fn answer(tenant: Transaction, mailbox: mailbox::Mailbox) -> Result<Versioned<Json<Mailbox>>, Problem> {
    let backlog = outgoing::backlog(&tenant, mailbox.id).await?;
    tenant.commit().await?;
    Ok(Versioned(mailbox.version, Json(Mailbox::from(mailbox).with(backlog))))
}

/// Make a mailbox. It is processed once it is approved, tested and enabled.
#[utoipa::path(
    post, path = "/mailboxes", tag = "mailboxes", security(("key" = ["administer"])),
    request_body = NewMailbox, responses((status = 201, body = Mailbox))
)]
async fn create(
    caller: Caller,
    Json(new): Json<NewMailbox>,
) -> Result<(StatusCode, Versioned<Json<Mailbox>>), Problem> {
    let new = mailbox::NewMailbox {
        name: new.name.unwrap_or_else(|| new.address.as_str().chars().take(200).collect()),
        address: new.address,
        owner: new.owner.map(Owner::from),
        profile: ProfileId(new.profile),
        incoming_login: new.incoming_login,
        acceptance: new.acceptance,
        incoming: new.incoming.unwrap_or(DeliveryMethod::ServerSide),
        outgoing: new.outgoing.unwrap_or(DeliveryMethod::ServerSide),
        process_email_received_after: new.process_email_received_after,
        delete_after_processing: new.delete_after_processing,
        external_id: new.external_id,
    };
    let tenant = caller.begin().await?;
    let mailbox = mailbox::create(&tenant, &new, caller.author()).await?;
    Ok((StatusCode::CREATED, answer(tenant, mailbox).await?))
}

/// Mailboxes in the order they were made: a user's own and those of the user's queues, or all for administrators.
#[utoipa::path(
    get, path = "/mailboxes", tag = "mailboxes", security(("key" = ["read"])),
    extensions(("x-audience" = json!("own"))),
    params(MailboxQuery), responses((status = 200, body = Page<Mailbox>))
)]
async fn list(caller: Caller, Query(query): Query<MailboxQuery>) -> Result<Json<Page<Mailbox>>, Problem> {
    let wanted = Wanted::<MailboxId>::new("mailboxes", query.limit, query.cursor.as_deref())?;
    let tenant = caller.begin().await?;
    let filter = MailboxFilter {
        profile: query.profile.map(ProfileId),
        owner: match query.owner {
            Some(id) => Some(owner(&tenant, id).await?),
            None => None,
        },
        approval: query.approval,
        failing: query.failing.unwrap_or(false),
        reader: caller.confined_to(),
        called: Called { name: query.name, address: query.address, external_id: query.external_id },
    };
    let mailboxes = mailbox::list(&tenant, &filter, wanted.after, wanted.limit()).await?;
    tenant.commit().await?;
    Ok(Json(wanted.page(mailboxes, |mailbox| mailbox.id.to_string(), Mailbox::from)))
}

/// Which kind of owner an id belongs to.
async fn owner(tenant: &Tenant, id: Uuid) -> Result<Owner, Problem> {
    if user::get(tenant, UserId(id)).await?.is_some() {
        return Ok(Owner::User(UserId(id)));
    }
    if queue::get(tenant, QueueId(id)).await?.is_some() {
        return Ok(Owner::Queue(QueueId(id)));
    }
    let cause = "no user and no queue of the organization has this id";
    Err(Problem::invalid("owner", cause, "list the users or queues to find the id"))
}

/// One mailbox.
#[utoipa::path(
    get, path = "/mailboxes/{id}", tag = "mailboxes", security(("key" = ["read"])),
    extensions(("x-audience" = json!("own"))),
    params(("id" = Uuid, Path, description = "The mailbox")), responses((status = 200, body = Mailbox))
)]
async fn get(caller: Caller, Path(id): Path<Uuid>) -> Result<Versioned<Json<Mailbox>>, Problem> {
    let tenant = caller.begin().await?;
    let mailbox = seen(&caller, &tenant, MailboxId(id)).await?;
    answer(tenant, mailbox).await
}

/// Change a mailbox, or map it to another owner.
#[utoipa::path(
    patch, path = "/mailboxes/{id}", tag = "mailboxes", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The mailbox"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    request_body = MailboxChange, responses((status = 200, body = Mailbox))
)]
async fn update(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Json(change): Json<MailboxChange>,
) -> Result<Versioned<Json<Mailbox>>, Problem> {
    let id = MailboxId(id);
    let by = caller.author();
    let fields = MailboxUpdate {
        name: change.name,
        address: change.address,
        profile: change.profile.map(ProfileId),
        incoming_login: change.incoming_login,
        acceptance: change.acceptance,
        process_email_received_after: change.process_email_received_after,
        delete_after_processing: change.delete_after_processing,
    };
    let tenant = caller.begin().await?;
    let before = mailbox::update(&tenant, id, version, &fields, by).await?;
    let to = match change.owner {
        Given::LeftOut => before.owner,
        Given::Null => None,
        Given::Value(owner) => Some(owner.into()),
    };
    let confirmed = before.owner.filter(|owner| change.confirm_owner == Some(owner.id()));
    mailbox::remap(&tenant, id, None, to, confirmed, by).await?;
    let methods = [
        (Workload::Incoming, change.incoming),
        (Workload::Outgoing, change.outgoing),
        (Workload::Act, change.act),
    ];
    for (workload, method) in methods {
        if let Some(method) = method {
            mailbox::set_method(&tenant, id, workload, method, by).await?;
        }
    }
    let mailbox = mailbox::get(&tenant, id).await?.ok_or_else(|| Problem::not_found("mailbox"))?;
    answer(tenant, mailbox).await
}

/// Store the mailbox's own user name and password, where credentials live on the mailboxes. Write only.
#[utoipa::path(
    put, path = "/mailboxes/{id}/credential", tag = "mailboxes", security(("key" = ["administer"])),
    extensions(("x-unconditional" = json!("nobody can have read what it replaces"))),
    params(("id" = Uuid, Path, description = "The mailbox")),
    request_body = NewCredential, responses((status = 204, description = "Stored"))
)]
async fn set_credential(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Json(new): Json<NewCredential>,
) -> Result<StatusCode, Problem> {
    new.check()?;
    let tenant = caller.begin().await?;
    let id = MailboxId(id);
    mailbox::set_password(&tenant, &app.keys, id, &new.username, &new.password, caller.author()).await?;
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Vouch for a mailbox's address: it may be processed once tested and enabled.
#[utoipa::path(
    post, path = "/mailboxes/{id}/approve", tag = "mailboxes", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The mailbox"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    responses((status = 200, body = Mailbox))
)]
async fn approve(
    caller: Caller,
    Path(id): Path<Uuid>,
    version: IfMatch,
) -> Result<Versioned<Json<Mailbox>>, Problem> {
    set_approval(&caller, id, version, Approval::Approved).await
}

/// Refuse a mailbox's address: whatever runs stops.
#[utoipa::path(
    post, path = "/mailboxes/{id}/reject", tag = "mailboxes", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The mailbox"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    responses((status = 200, body = Mailbox))
)]
async fn reject(
    caller: Caller,
    Path(id): Path<Uuid>,
    version: IfMatch,
) -> Result<Versioned<Json<Mailbox>>, Problem> {
    set_approval(&caller, id, version, Approval::Rejected).await
}

async fn set_approval(
    caller: &Caller,
    id: Uuid,
    IfMatch(version): IfMatch,
    approval: Approval,
) -> Result<Versioned<Json<Mailbox>>, Problem> {
    let tenant = caller.begin().await?;
    let mailbox = mailbox::set_approval(&tenant, MailboxId(id), version, approval, caller.author()).await?;
    answer(tenant, mailbox).await
}
