//! The reports about an email, for whoever may see the email.

use jiff::Timestamp;
use model::id::{EmailId, ReportId, SendRequestId};
use model::report::ReportKind;
use serde_json::Value;

use crate::blob::BlobId;
use crate::change::{self, Author, Change, Fields};
use crate::email::{self, Reader};
use crate::row::named;
use crate::{Result, Tenant};

/// A report as it was read.
#[derive(Clone)]
pub struct StoredReport {
    /// Which.
    pub id: ReportId,
    /// Under which send request the email had left.
    pub request: SendRequestId,
    /// A delivery report or a read receipt.
    pub kind: ReportKind,
    /// Which server or program reports.
    pub reporter: Option<String>,
    /// What it says: a list of `{address, original, action, status, said}`.
    pub recipients: Value,
    /// The size of its raw message, in bytes.
    pub raw_size: i64,
    /// When the server received it.
    pub received_at: Option<Timestamp>,
}

/// The reports about an email, the oldest first. The caller has asked whether the reader may see the email.
pub async fn of_email(tenant: &Tenant, email: EmailId) -> Result<Vec<StoredReport>> {
    let rows = tenant
        .query(
            "select id, send_request_id, kind, reporter, recipients, raw_size, received_at from reports
             where email_id = $1 order by id",
            &[&email.0],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(StoredReport {
                id: ReportId(row.try_get("id")?),
                request: SendRequestId(row.try_get("send_request_id")?),
                kind: named(row, "kind")?,
                reporter: row.try_get("reporter")?,
                recipients: row.try_get("recipients")?,
                raw_size: row.try_get("raw_size")?,
                received_at: row.try_get("received_at")?,
            })
        })
        .collect()
}

/// The raw message of a report with its size; `None` when the reader may not see the email. Opening somebody else's, as
/// [`Reader::Everything`] does, is written down: it returns what the email said.
pub async fn raw(
    tenant: &Tenant,
    id: EmailId,
    report: ReportId,
    reader: Reader,
    by: &Author,
) -> Result<Option<(BlobId, i64)>> {
    let Some(email) = email::get(tenant, id, reader).await? else { return Ok(None) };
    let row = tenant
        .query_opt(
            "select raw_sha256, raw_size from reports where email_id = $1 and id = $2",
            &[&id.0, &report.0],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    if reader == Reader::Everything {
        let fields = Fields::new().named("body_opened");
        let change = Change { record_type: "email", id: id.0, version: email.version, by, fields };
        change::write(tenant, change).await?;
    }
    Ok(Some((BlobId::from_column(row.try_get("raw_sha256")?)?, row.try_get("raw_size")?)))
}
