//! Where a sending stands, for whoever looks at it.

use jiff::Timestamp;
use model::email::{PartyRole, RecipientState, SendAnswer};
use model::id::{AttemptId, EmailId, SendRequestId, UserId};
use model::report::ReportedAction;
use tokio_postgres::Row;

use super::answer::answer_of;
use crate::row::{named, named_if};
use crate::{Result, Tenant};

/// One send request of an email.
#[derive(Clone)]
pub struct SendState {
    /// Which.
    pub request: SendRequestId,
    /// Its Message-ID, without angle brackets.
    pub message_id: String,
    /// Who asked.
    pub requested_by: String,
    /// On whose right; none for a service that may send as anybody, and for the operator.
    pub rests_on: Option<UserId>,
    /// When.
    pub requested_at: Timestamp,
    /// Not to leave before this.
    pub not_before: Option<Timestamp>,
    /// When it was taken back.
    pub canceled_at: Option<Timestamp>,
    /// When nobody waited any more.
    pub ended_at: Option<Timestamp>,
    /// Each recipient.
    pub recipients: Vec<RecipientStatus>,
    /// Each try, the oldest first.
    pub attempts: Vec<AttemptState>,
}

/// Where one recipient stands.
#[derive(Clone)]
pub struct RecipientStatus {
    /// Its place in the request.
    pub position: i32,
    /// The address.
    pub address: String,
    /// How it is addressed.
    pub role: PartyRole,
    /// Where it stands.
    pub state: RecipientState,
    /// How often it was tried.
    pub attempts: i32,
    /// When it is tried next, while it waits or is deferred.
    pub next_try_at: Timestamp,
    /// The server's last reply code.
    pub reply_code: Option<i32>,
    /// The server's last enhanced status code.
    pub enhanced_code: Option<String>,
    /// The server's last words.
    pub server_said: Option<String>,
    /// What was reported of it since.
    pub report: Option<RecipientReport>,
    /// When its reader's program says it was read.
    pub read_at: Option<Timestamp>,
}

/// What was reported last of a recipient that a server had accepted.
#[derive(Clone)]
pub struct RecipientReport {
    /// What was done.
    pub action: ReportedAction,
    /// The status code (RFC 3463).
    pub status: Option<String>,
    /// The words of the server that reports.
    pub said: Option<String>,
    /// Which server or program that is.
    pub reporter: Option<String>,
    /// When it was read here.
    pub at: Option<Timestamp>,
}

/// One try.
#[derive(Clone, Debug)]
pub struct AttemptState {
    /// Which.
    pub id: AttemptId,
    /// When it began.
    pub started_at: Timestamp,
    /// When the answer was written down.
    pub answered_at: Option<Timestamp>,
    /// How it ended.
    pub answer: Option<SendAnswer>,
    /// The server's words about the message.
    pub server_said: Option<String>,
}

/// The latest send request of an email; `None` when nobody asked yet.
pub async fn state_of(tenant: &Tenant, email: EmailId) -> Result<Option<SendState>> {
    Ok(requests(tenant, email, 0, 1).await?.pop())
}

/// The send requests before the latest, the youngest first: who was refused there, and who has got it.
pub async fn earlier(tenant: &Tenant, email: EmailId) -> Result<Vec<SendState>> {
    requests(tenant, email, 1, 100).await
}

async fn requests(tenant: &Tenant, email: EmailId, skip: i64, limit: i64) -> Result<Vec<SendState>> {
    let rows = tenant
        .query(
            "select id, message_id, requested_by, rests_on, requested_at, not_before, canceled_at, ended_at
             from send_requests where email_id = $1 order by id desc offset $2 limit $3",
            &[&email.0, &skip, &limit],
        )
        .await?;
    let mut states = Vec::new();
    for row in &rows {
        states.push(state(tenant, row).await?);
    }
    Ok(states)
}

async fn state(tenant: &Tenant, row: &Row) -> Result<SendState> {
    let request = SendRequestId(row.try_get("id")?);
    let recipients = tenant
        .query(
            "select position, address, role, state, attempts, next_try_at, reply_code, enhanced_code, server_said,
                    reported, reported_status, reported_said, reported_by, reported_at, read_at
             from send_recipients where send_request_id = $1 order by position",
            &[&request.0],
        )
        .await?;
    let attempts = tenant
        .query(
            "select id, started_at, answered_at, answer, server_said from send_attempts where send_request_id = $1
             order by id",
            &[&request.0],
        )
        .await?;
    Ok(SendState {
        request,
        message_id: row.try_get("message_id")?,
        requested_by: row.try_get("requested_by")?,
        rests_on: row.try_get::<_, Option<uuid::Uuid>>("rests_on")?.map(UserId),
        requested_at: row.try_get("requested_at")?,
        not_before: row.try_get("not_before")?,
        canceled_at: row.try_get("canceled_at")?,
        ended_at: row.try_get("ended_at")?,
        recipients: recipients.iter().map(recipient).collect::<Result<_>>()?,
        attempts: attempts.iter().map(attempt).collect::<Result<_>>()?,
    })
}

fn recipient(row: &Row) -> Result<RecipientStatus> {
    Ok(RecipientStatus {
        position: row.try_get("position")?,
        address: row.try_get("address")?,
        role: named(row, "role")?,
        state: named(row, "state")?,
        attempts: row.try_get("attempts")?,
        next_try_at: row.try_get("next_try_at")?,
        reply_code: row.try_get("reply_code")?,
        enhanced_code: row.try_get("enhanced_code")?,
        server_said: row.try_get("server_said")?,
        report: reported(row)?,
        read_at: row.try_get("read_at")?,
    })
}

fn reported(row: &Row) -> Result<Option<RecipientReport>> {
    let Some(action) = named_if(row, "reported")? else { return Ok(None) };
    Ok(Some(RecipientReport {
        action,
        status: row.try_get("reported_status")?,
        said: row.try_get("reported_said")?,
        reporter: row.try_get("reported_by")?,
        at: row.try_get("reported_at")?,
    }))
}

fn attempt(row: &Row) -> Result<AttemptState> {
    Ok(AttemptState {
        id: AttemptId(row.try_get("id")?),
        started_at: row.try_get("started_at")?,
        answered_at: row.try_get("answered_at")?,
        answer: answer_of(row)?,
        server_said: row.try_get("server_said")?,
    })
}
