//! Files of emails, streamed in and out: an upload goes to a file of the process first, so that its size and its hash are
//! known before the database is asked for anything, and memory stays flat.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures_util::StreamExt as _;
use model::id::{AttachmentId, EmailId};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use store::blob::{self, BlobId};
use store::outgoing::{self, StoredAttachment};
use store::{email, setting};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};
use tokio_util::io::ReaderStream;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::body::{self, Attachment};
use super::{outgoing_only, seen};
use crate::app::App;
use crate::body::{Json, Path, Query, announced, discard, discard_rest};
use crate::caller::Caller;
use crate::problem::{Kind, Problem};
use crate::version::{IfMatch, Versioned};

const MB: u64 = 1024 * 1024;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(upload)).routes(routes!(download, remove))
}

/// What the file is called.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct UploadQuery {
    /// The file name the reader sees, 1 to 255 characters.
    name: String,
    /// The Content-ID, without angle brackets, by which the HTML names it as `cid:…`: a picture shown in the body.
    content_id: Option<String>,
}

/// Add a file to a draft. The body is the file as it is, with its media type in `Content-Type`. With the files already
/// there it may have up to the organization's `max_message_mb` (1,048,576 bytes each). The `ETag` is the email's.
#[utoipa::path(
    post, path = "/emails/{id}/attachments", tag = "emails", security(("key" = ["send"])),
    extensions(("x-audience" = json!("own"))),
    params(
        ("id" = Uuid, Path, description = "The email"),
        UploadQuery,
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 201, body = Attachment))
)]
async fn upload(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(query): Query<UploadQuery>,
    IfMatch(version): IfMatch,
    request: Request,
) -> Result<(StatusCode, Versioned<Json<Attachment>>), Problem> {
    let id = EmailId(id);
    check(&query)?;
    let content_type = media_type(request.headers())?;
    let limit = limit(&caller, id).await?;
    if let Some(problem) = announced(request.headers()).and_then(|length| limit.check(length).err()) {
        discard(request).await;
        return Err(problem);
    }
    let patience = Duration::from_secs(app.config.request_timeout_seconds);
    let spooled = spool(request.into_body(), &limit, patience).await?;
    caller.uploaded(spooled.blob.0);
    let tenant = caller.begin().await?;
    let blob = spooled.blob;
    blob::put_stream(&tenant, blob, spooled.size, ReaderStream::with_capacity(spooled.file, 256 * 1024))
        .await?;
    let size = i64::try_from(spooled.size).unwrap_or(i64::MAX);
    let file = StoredAttachment { name: query.name, content_type, inline_id: query.content_id, blob, size };
    let attachment = outgoing::attach(&tenant, id, version, &file, limit.megabytes, caller.author()).await?;
    let version = seen(&caller, &tenant, id).await?.version;
    tenant.commit().await?;
    let attachment = Attachment {
        id: attachment.0,
        inline: file.inline_id.is_some(),
        name: file.name,
        content_type: file.content_type,
        content_id: file.inline_id,
        size,
    };
    Ok((StatusCode::CREATED, Versioned(version, Json(attachment))))
}

/// One file of an email, streamed as a download that no browser runs.
#[utoipa::path(
    get, path = "/emails/{id}/attachments/{attachment}", tag = "emails", security(("key" = ["read_bodies"])),
    extensions(("x-audience" = json!("own"))),
    params(("id" = Uuid, Path, description = "The email"), ("attachment" = Uuid, Path, description = "The file")),
    responses((status = 200, description = "The file", content_type = "application/octet-stream", body = Vec<u8>))
)]
async fn download(caller: Caller, Path((id, attachment)): Path<(Uuid, Uuid)>) -> Result<Response, Problem> {
    body::attachment(caller, id, AttachmentId(attachment)).await
}

/// Take a file out of a draft.
#[utoipa::path(
    delete, path = "/emails/{id}/attachments/{attachment}", tag = "emails", security(("key" = ["send"])),
    extensions(("x-audience" = json!("own"))),
    params(
        ("id" = Uuid, Path, description = "The email"),
        ("attachment" = Uuid, Path, description = "The file"),
        ("If-Match" = Option<String>, Header, description = "The `ETag` that was read; another version is refused")
    ),
    responses((status = 204, description = "Taken out"))
)]
async fn remove(
    caller: Caller,
    Path((id, attachment)): Path<(Uuid, Uuid)>,
    IfMatch(version): IfMatch,
) -> Result<StatusCode, Problem> {
    let tenant = caller.begin().await?;
    let email = seen(&caller, &tenant, EmailId(id)).await?;
    outgoing_only(&email)?;
    outgoing::remove_attachment(&tenant, email.id, version, AttachmentId(attachment), caller.author())
        .await?;
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check(query: &UploadQuery) -> Result<(), Problem> {
    let plain = |text: &str| !text.chars().any(char::is_control);
    if !(1..=255).contains(&query.name.chars().count()) || !plain(&query.name) {
        return Err(Problem::invalid(
            "name",
            "the file name is empty or too long",
            "give 1 to 255 characters in one line",
        ));
    }
    if let Some(id) = &query.content_id
        && (id.is_empty()
            || id.len() > 200
            || !id.chars().all(|letter| letter.is_ascii_graphic() && !"<>\"".contains(letter)))
    {
        let cause = "`content_id` is no Content-ID";
        return Err(Problem::invalid(
            "content_id",
            cause,
            "give up to 200 ASCII characters without spaces and angle brackets",
        ));
    }
    Ok(())
}

/// The file's media type; a missing one says nothing about it.
fn media_type(headers: &HeaderMap) -> Result<String, Problem> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok("application/octet-stream".to_owned());
    };
    let text = value.to_str().unwrap_or_default().trim();
    let essence = text.split(';').next().unwrap_or_default().trim();
    let token = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let is_one = essence.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype));
    if is_one && text.len() <= 255 && text.is_ascii() {
        return Ok(text.to_owned());
    }
    let cause = "the header `Content-Type` holds no media type";
    Err(Problem::new(Kind::Unreadable, cause, "give one such as `application/pdf`").about("Content-Type"))
}

/// How much may still come.
struct Limit {
    megabytes: u64,
    /// In the files that are there.
    present: u64,
}

impl Limit {
    fn check(&self, coming: u64) -> Result<(), Problem> {
        let limit = self.megabytes * MB;
        if self.present + coming <= limit {
            return Ok(());
        }
        let mut cause = format!("the file has {} MB", tenths(coming));
        if self.present > 0 {
            cause = format!("{cause}, with the files already there {} MB", tenths(self.present + coming));
        }
        Err(Problem::new(
            Kind::TooLarge,
            format!("{cause}, and an email may have {} MB (`max_message_mb`)", self.megabytes),
            "send a smaller file or a link to it, or let an administrator raise the setting `max_message_mb`",
        )
        .about("attachment"))
    }
}

/// Megabytes with one decimal, rounded up, so that what is over a limit also reads so.
fn tenths(bytes: u64) -> String {
    let tenths = (bytes * 10).div_ceil(MB);
    if tenths.is_multiple_of(10) {
        (tenths / 10).to_string()
    } else {
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

/// What the organization allows, and what the draft already has. No transaction stays open while the body comes in.
async fn limit(caller: &Caller, id: EmailId) -> Result<Limit, Problem> {
    let tenant = caller.begin().await?;
    let email = seen(caller, &tenant, id).await?;
    outgoing_only(&email)?;
    let present = email::attached_bytes(&tenant, id).await?;
    let megabytes = setting::get(&tenant, model::setting::MAX_MESSAGE_MB).await?.value.as_u64().unwrap_or(0);
    tenant.commit().await?;
    Ok(Limit { megabytes, present })
}

/// A body that came in as a whole.
struct Spooled {
    file: File,
    blob: BlobId,
    size: u64,
}

async fn spool(body: Body, limit: &Limit, patience: Duration) -> Result<Spooled, Problem> {
    let broken = |error: std::io::Error| {
        tracing::error!(%error, "an upload could not be kept in a temporary file");
        Problem::internal()
    };
    let file = tokio::task::spawn_blocking(tempfile::tempfile).await.map_err(std::io::Error::other);
    let mut file = File::from_std(file.and_then(|file| file).map_err(broken)?);
    let (mut digest, mut size) = (Sha256::new(), 0_u64);
    let mut parts = body.into_data_stream();
    loop {
        // A file may take long; a line that says nothing for long is dead.
        let Ok(next) = tokio::time::timeout(patience, parts.next()).await else {
            let cause = format!("nothing of the file came for {} s", patience.as_secs());
            return Err(Problem::new(Kind::TimedOut, cause, "send it again over a better line"));
        };
        let Some(part) = next else { break };
        let part = part.map_err(|_| {
            Problem::new(Kind::Unreadable, "the file broke off before its end", "send it again")
        })?;
        size += part.len() as u64;
        if let Err(problem) = limit.check(size) {
            discard_rest(parts, size).await;
            return Err(problem);
        }
        digest.update(&part);
        file.write_all(&part).await.map_err(broken)?;
    }
    file.flush().await.map_err(broken)?;
    file.rewind().await.map_err(broken)?;
    Ok(Spooled { file, blob: BlobId(digest.finalize().into()), size })
}
