//! The switches of a mailbox's workloads: Sync now, and off. On is what a test does.

use axum::http::StatusCode;
use model::id::MailboxId;
use model::workload::Workload;
use store::{mailbox, schedule};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::shape::Mailbox;
use super::{answer, seen};
use crate::app::App;
use crate::body::{Json, Path};
use crate::caller::Caller;
use crate::problem::{Kind, Problem};
use crate::schema;
use crate::version::Versioned;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(sync)).routes(routes!(disable))
}

/// Sync now: the workload is wished due at once. A back-off is still waited for.
#[utoipa::path(
    post, path = "/mailboxes/{id}/workloads/{workload}/sync", tag = "mailboxes", security(("key" = ["send"])),
    extensions(("x-audience" = json!("own"))),
    params(
        ("id" = Uuid, Path, description = "The mailbox"),
        ("workload" = schema::Workload, Path, description = "Which workload")
    ),
    responses((status = 202, body = Mailbox))
)]
async fn sync(
    caller: Caller,
    Path((id, workload)): Path<(Uuid, Workload)>,
) -> Result<(StatusCode, Versioned<Json<Mailbox>>), Problem> {
    let tenant = caller.begin().await?;
    let mailbox = seen(&caller, &tenant, MailboxId(id)).await?;
    if !schedule::wish(&tenant, mailbox.id, workload).await? {
        return Err(Problem::new(
            Kind::Conflict,
            format!("the {workload} workload of the mailbox is not enabled"),
            "approve, then test and enable the mailbox first; a test that failed says why",
        )
        .about("workload"));
    }
    Ok((StatusCode::ACCEPTED, answer(tenant, mailbox).await?))
}

/// Switch a workload off; one that runs stops at its next commit.
#[utoipa::path(
    post, path = "/mailboxes/{id}/workloads/{workload}/disable", tag = "mailboxes", security(("key" = ["administer"])),
    params(
        ("id" = Uuid, Path, description = "The mailbox"),
        ("workload" = schema::Workload, Path, description = "Which workload")
    ),
    responses((status = 200, body = Mailbox))
)]
async fn disable(
    caller: Caller,
    Path((id, workload)): Path<(Uuid, Workload)>,
) -> Result<Versioned<Json<Mailbox>>, Problem> {
    let id = MailboxId(id);
    let tenant = caller.begin().await?;
    seen(&caller, &tenant, id).await?;
    mailbox::disable(&tenant, id, workload, None, caller.author()).await?;
    let mailbox = seen(&caller, &tenant, id).await?;
    answer(tenant, mailbox).await
}
