//! An email's content: the one copy that the reader sees. HTML is made safe before it leaves; files and raw messages leave
//! as downloads that no browser runs.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use model::id::{AttachmentId, CopyId, EmailId, ReportId};
use serde::{Deserialize, Serialize};
use store::blob::{self, BlobId};
use store::email::{self, EmailCopy};
use store::outgoing;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::body::{Json, Path, Query};
use crate::caller::Caller;
use crate::html;
use crate::problem::Problem;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(body)).routes(routes!(raw)).routes(routes!(raw_report))
}

/// Which copy.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct CopyQuery {
    /// Another of the copies that the caller got, as `other_copies` and the receipts name them.
    copy: Option<Uuid>,
}

/// The content of an email, as the caller sees it.
#[derive(Serialize, ToSchema)]
struct EmailBody {
    /// Which copy this is.
    copy: Uuid,
    /// Copies with another content that the caller got of the same email: one of them may be forged.
    other_copies: Vec<Uuid>,
    /// The text to read.
    text: Option<String>,
    /// The HTML, without anything that acts or is loaded from elsewhere.
    html: Option<String>,
    /// The size of the raw message in bytes; null for one that was written here.
    raw_size: Option<i64>,
    /// The files, in their order.
    attachments: Vec<Attachment>,
}

/// A file of an email.
#[derive(Serialize, ToSchema)]
pub(super) struct Attachment {
    /// Which.
    pub(super) id: Uuid,
    /// The file name.
    pub(super) name: String,
    /// Media type.
    pub(super) content_type: String,
    /// The Content-ID, without angle brackets, by which the HTML names it as `cid:…`.
    pub(super) content_id: Option<String>,
    /// Meant to be shown within the body.
    pub(super) inline: bool,
    /// In bytes.
    pub(super) size: i64,
}

impl From<email::Attachment> for Attachment {
    fn from(file: email::Attachment) -> Self {
        Self {
            id: file.id.0,
            name: file.name,
            content_type: file.content_type,
            content_id: file.content_id,
            inline: file.inline,
            size: file.size,
        }
    }
}

/// Opens the copy that the caller sees; an administrator's look at somebody's mail is written down.
async fn opened(caller: &Caller, id: Uuid, wanted: Option<CopyId>) -> Result<EmailCopy, Problem> {
    let tenant = caller.begin().await?;
    let copy = email::open_copy(&tenant, EmailId(id), caller.reader(), wanted, caller.author()).await?;
    tenant.commit().await?;
    copy.ok_or_else(|| Problem::not_found("email"))
}

/// An email's text, HTML and files. An administrator's look at somebody's mail is written into the change log.
#[utoipa::path(
    get, path = "/emails/{id}/body", tag = "emails", security(("key" = ["read_bodies"])),
    extensions(("x-audience" = json!("own"))),
    params(("id" = Uuid, Path, description = "The email"), CopyQuery),
    responses((status = 200, body = EmailBody))
)]
async fn body(
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(query): Query<CopyQuery>,
) -> Result<Json<EmailBody>, Problem> {
    let copy = opened(&caller, id, query.copy.map(CopyId)).await?;
    Ok(Json(EmailBody {
        copy: copy.id.0,
        other_copies: copy.others.iter().map(|id| id.0).collect(),
        text: copy.text,
        html: copy.html.as_deref().map(html::sanitized),
        raw_size: copy.raw.map(|raw| i64::try_from(raw.reader_size()).unwrap_or(i64::MAX)),
        attachments: copy.attachments.into_iter().map(Attachment::from).collect(),
    }))
}

/// The raw message as it came, streamed.
#[utoipa::path(
    get, path = "/emails/{id}/raw", tag = "emails", security(("key" = ["read_bodies"])),
    extensions(("x-audience" = json!("own"))),
    params(("id" = Uuid, Path, description = "The email"), CopyQuery),
    responses((status = 200, description = "The message", content_type = "message/rfc822", body = Vec<u8>))
)]
async fn raw(
    caller: Caller,
    Path(id): Path<Uuid>,
    Query(query): Query<CopyQuery>,
) -> Result<Response, Problem> {
    let copy = opened(&caller, id, query.copy.map(CopyId)).await?;
    let raw = copy.raw.ok_or_else(|| Problem::not_found("raw message"))?;
    let (name, size) = (format!("{id}.eml"), raw.reader_size());
    let skip = if raw.header.is_some() { raw.header_size } else { 0 };
    let content = Content { blob: raw.blob, front: raw.header.unwrap_or_default(), skip, size };
    Ok(download(caller, content, "message/rfc822", &name))
}

/// The raw message of a report about an email that was sent, streamed. It returns what the email said, so an
/// administrator's look at it is written into the change log as well.
#[utoipa::path(
    get, path = "/emails/{id}/reports/{report}/raw", tag = "emails", security(("key" = ["read_bodies"])),
    extensions(("x-audience" = json!("own"))),
    params(
        ("id" = Uuid, Path, description = "The email"),
        ("report" = Uuid, Path, description = "The report, as the email lists it")
    ),
    responses((status = 200, description = "The message", content_type = "message/rfc822", body = Vec<u8>))
)]
async fn raw_report(caller: Caller, Path((id, report)): Path<(Uuid, Uuid)>) -> Result<Response, Problem> {
    let tenant = caller.begin().await?;
    let raw = outgoing::report::raw(&tenant, EmailId(id), ReportId(report), caller.reader(), caller.author())
        .await?;
    tenant.commit().await?;
    let (blob, size) = raw.ok_or_else(|| Problem::not_found("report"))?;
    let size = u64::try_from(size).unwrap_or_default();
    let content = Content { blob, front: Bytes::new(), skip: 0, size };
    Ok(download(caller, content, "message/rfc822", &format!("{report}.eml")))
}

/// One file of an email, streamed as a download.
pub(super) async fn attachment(caller: Caller, id: Uuid, wanted: AttachmentId) -> Result<Response, Problem> {
    let mut copy = opened(&caller, id, None).await?;
    for other in std::mem::take(&mut copy.others) {
        if copy.attachments.iter().any(|file| file.id == wanted) {
            break;
        }
        copy = opened(&caller, id, Some(other)).await?;
    }
    let file = copy.attachments.into_iter().find(|file| file.id == wanted);
    let file = file.ok_or_else(|| Problem::not_found("attachment"))?;
    let size = u64::try_from(file.size).unwrap_or_default();
    let content = Content { blob: file.blob, front: Bytes::new(), skip: 0, size };
    Ok(download(caller, content, &file.content_type, &file.name))
}

/// What is downloaded: something in front, then a stored content without its beginning.
struct Content {
    blob: BlobId,
    front: Bytes,
    skip: u64,
    size: u64,
}

/// A content as a download, a chunk per transaction, so that a slow reader holds no connection of the pool.
fn download(caller: Caller, content: Content, content_type: &str, name: &str) -> Response {
    let Content { blob, front, skip, size } = content;
    let front = stream::iter((!front.is_empty()).then_some(Ok(front)));
    let chunks = stream::try_unfold((caller, 0, skip), move |(caller, number, skip)| async move {
        let Some(mut chunk) = chunk(&caller, blob, number).await? else { return Ok(None) };
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(chunk.len());
        let rest = chunk.split_off(skipped);
        Ok::<_, std::io::Error>(Some((rest, (caller, number + 1, skip - skipped as u64))))
    });
    let chunks = front.chain(chunks);
    let mut response = Body::from_stream(chunks).into_response();
    let headers = response.headers_mut();
    let plain = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap_or(plain));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
    headers.insert(header::CONTENT_DISPOSITION, disposition(name));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}

async fn chunk(caller: &Caller, blob: BlobId, number: i32) -> std::io::Result<Option<Bytes>> {
    let read = async {
        let tenant = caller.begin().await?;
        let chunk = blob::chunk(&tenant, blob, number).await?;
        tenant.commit().await?;
        Ok::<_, Problem>(chunk)
    };
    read.await.map_err(|_| std::io::Error::other("the content cannot be read at the moment"))
}

/// `attachment` with the name in ASCII for old readers and exactly in UTF-8 (RFC 6266, RFC 8187).
fn disposition(name: &str) -> HeaderValue {
    let plain: String = name
        .chars()
        .map(|letter| {
            if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | ' ') {
                letter
            } else {
                '_'
            }
        })
        .collect();
    let exact: String = name
        .bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.' | b'-' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    let value = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}");
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("attachment"))
}
