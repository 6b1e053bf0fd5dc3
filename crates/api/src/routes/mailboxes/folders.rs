//! The folders of a mailbox, as its server listed them last, and which of them are read.

use jiff::Timestamp;
use model::folder::{Folders, INBOX, Problem as NotRead};
use model::id::MailboxId;
use serde::{Deserialize, Serialize};
use store::{Tenant, folder, mailbox};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::seen;
use crate::app::App;
use crate::body::{Json, Path};
use crate::caller::Caller;
use crate::problem::Problem;
use crate::schema;
use crate::version::{IfMatch, Versioned};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, choose))
}

/// The folders of a mailbox.
#[derive(Serialize, ToSchema)]
struct MailboxFolders {
    /// What is read beside the inbox, or is meant to be, in the order that it was chosen in.
    read: Vec<ChosenFolder>,
    /// What is there, by path; none before the mailbox was first read, and none at a POP3 server.
    folders: Vec<MailboxFolder>,
    /// When the server was last asked for them: incoming cycles ask once in an hour, and when other folders were chosen.
    listed_at: Option<Timestamp>,
    /// The mailbox's version; the `ETag`.
    version: i64,
}

/// A folder that was chosen to be read.
#[derive(Serialize, ToSchema)]
struct ChosenFolder {
    /// As it was named when it was chosen.
    path: String,
    /// The folder that it was found to be, which it stays whatever it is called; null before it was found.
    folder: Option<Uuid>,
    /// Why it is not read.
    #[schema(value_type = Option<schema::FolderProblem>)]
    problem: Option<NotRead>,
}

/// A folder.
#[derive(Serialize, ToSchema)]
struct MailboxFolder {
    /// Which; the `folder` of its items ends with it.
    id: Uuid,
    /// Its names from the top, with slashes between them.
    path: String,
    /// Its own name.
    name: String,
    /// What is meant to be in it, such as `IPF.Note` for mail.
    class: Option<String>,
    /// What the server itself uses it for, such as `inbox` or `deleteditems`.
    role: Option<String>,
    /// Whether mail in it is read.
    read: bool,
}

/// Which folders are read beside the inbox.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FolderChoice {
    /// Their paths below the top, such as `Archive` or `Inbox/Support`, 20 at most; `[]`: the inbox alone.
    read: Vec<String>,
}

/// The folders of a mailbox as its server listed them last, with what is read of them.
#[utoipa::path(
    get, path = "/mailboxes/{id}/folders", tag = "mailboxes", security(("key" = ["read"])),
    extensions(("x-audience" = json!("own"))),
    params(("id" = Uuid, Path, description = "The mailbox")), responses((status = 200, body = MailboxFolders))
)]
async fn list(caller: Caller, Path(id): Path<Uuid>) -> Result<Versioned<Json<MailboxFolders>>, Problem> {
    let tenant = caller.begin().await?;
    let mailbox = seen(&caller, &tenant, MailboxId(id)).await?;
    let answer = answer(&tenant, &mailbox).await?;
    tenant.commit().await?;
    Ok(answer)
}

/// Choose which folders of a mailbox are read beside the inbox, instead of those that are. The next incoming cycle looks for them.
#[utoipa::path(
    put, path = "/mailboxes/{id}/folders", tag = "mailboxes", security(("key" = ["send"])),
    extensions(("x-audience" = json!("own"))),
    params(
        ("id" = Uuid, Path, description = "The mailbox"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    request_body = FolderChoice, responses((status = 200, body = MailboxFolders))
)]
async fn choose(
    caller: Caller,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Json(choice): Json<FolderChoice>,
) -> Result<Versioned<Json<MailboxFolders>>, Problem> {
    let tenant = caller.begin().await?;
    let mailbox = seen(&caller, &tenant, MailboxId(id)).await?;
    folder::choose(&tenant, mailbox.id, version, &choice.read, caller.author()).await?;
    let mailbox = seen(&caller, &tenant, mailbox.id).await?;
    let answer = answer(&tenant, &mailbox).await?;
    tenant.commit().await?;
    Ok(answer)
}

async fn answer(
    tenant: &Tenant,
    mailbox: &mailbox::Mailbox,
) -> Result<Versioned<Json<MailboxFolders>>, Problem> {
    let kept = folder::list(tenant, mailbox.id).await?;
    let chosen = folder::chosen(tenant, mailbox.id).await?;
    let listed_at = folder::listed_at(tenant, mailbox.id).await?;
    let all: Vec<_> = kept.iter().map(|kept| kept.folder.clone()).collect();
    let paths = Folders::new(&all);
    let is_read = |kept: &folder::Kept| {
        let is_chosen = |chosen: &folder::Chosen| chosen.folder == Some(kept.id) && chosen.problem.is_none();
        kept.folder.role.as_deref() == Some(INBOX) || chosen.iter().any(is_chosen)
    };
    let mut folders: Vec<MailboxFolder> = kept
        .iter()
        .map(|kept| MailboxFolder {
            id: kept.id.0,
            path: paths.path(&kept.folder),
            name: kept.folder.name.clone(),
            class: kept.class.clone(),
            role: kept.folder.role.clone(),
            read: is_read(kept),
        })
        .collect();
    folders.sort_by_cached_key(|folder| folder.path.to_lowercase());
    let read = chosen.into_iter().map(|chosen| ChosenFolder {
        path: chosen.path,
        folder: chosen.folder.map(|id| id.0),
        problem: chosen.problem,
    });
    let shown = MailboxFolders { read: read.collect(), folders, listed_at, version: mailbox.version };
    Ok(Versioned(mailbox.version, Json(shown)))
}
