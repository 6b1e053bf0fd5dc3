//! The whole picture of the organization: what is late, failing, held back and why.

use jiff::Timestamp;
use model::workload::Workload;
use serde::Serialize;
use store::status::{self, Counted, HeldProfile, Troubled};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::mailboxes::{DisabledBy, HeldBack};
use crate::app::App;
use crate::body::Json;
use crate::caller::Caller;
use crate::problem::Problem;
use crate::schema;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get))
}

/// The whole picture of the organization. Lists are cut off at a hundred; `total` counts all.
#[derive(Serialize, ToSchema)]
struct Status {
    /// Postgres's clock is what everything is due by; this is the API's, for reading ages.
    at: Timestamp,
    /// Each workload over all mailboxes.
    workloads: Vec<WorkloadStatus>,
    /// Workloads that are on and fail.
    failing: TroubledList,
    /// Workloads that Lockstep switched off.
    disabled: TroubledList,
    /// Workloads that wait out a back-off of their own.
    held_back: TroubledList,
    /// Profiles that are paused or whose server is down: all of their mailboxes wait.
    held_profiles: HeldProfileList,
    /// What waits to be sent.
    sends: Sends,
    /// Open alerts by level.
    alerts: OpenAlerts,
    /// Worker and job processes that are alive, over the whole installation. None means that nothing moves.
    live_sessions: i64,
}

/// One workload over all mailboxes of the organization.
#[derive(Serialize, ToSchema)]
struct WorkloadStatus {
    /// Which.
    #[schema(value_type = schema::Workload)]
    workload: Workload,
    /// Mailboxes where it is on.
    enabled: i64,
    /// Idle, of those that are on.
    idle: i64,
    /// Waiting for a worker.
    queued: i64,
    /// At work.
    running: i64,
    /// Due and not queued yet, those that are held back left out.
    late: i64,
    /// How long ago the oldest of these became due, in seconds.
    oldest_late_seconds: u64,
}

/// Workloads that need a look.
#[derive(Serialize, ToSchema)]
struct TroubledList {
    /// How many there are.
    total: i64,
    /// The first hundred.
    first: Vec<TroubledWorkload>,
}

/// A workload of a mailbox that needs a look.
#[derive(Serialize, ToSchema)]
struct TroubledWorkload {
    /// Of which mailbox.
    mailbox: Uuid,
    /// The mailbox's name.
    name: String,
    /// Which workload.
    #[schema(value_type = schema::Workload)]
    workload: Workload,
    /// Failures in a row.
    failures: i32,
    /// How the last cycle ended.
    last_outcome: Option<String>,
    /// Why Lockstep switched it off.
    disabled_by: Option<DisabledBy>,
    /// What holds it back.
    held_back: Option<HeldBack>,
}

/// Profiles whose mailboxes wait.
#[derive(Serialize, ToSchema)]
struct HeldProfileList {
    /// How many there are.
    total: i64,
    /// The first hundred.
    first: Vec<HeldProfileStatus>,
}

/// A profile whose mailboxes wait.
#[derive(Serialize, ToSchema)]
#[schema(as = HeldProfile)]
struct HeldProfileStatus {
    /// Which.
    profile: Uuid,
    /// Its name.
    name: String,
    /// The server that is down; null for a paused profile.
    endpoint: Option<String>,
    /// Why and until when.
    held_back: HeldBack,
    /// How many mailboxes use it.
    mailboxes: i64,
}

/// What waits to be sent.
#[derive(Serialize, ToSchema)]
struct Sends {
    /// Emails that wait for their turn.
    pending: i64,
    /// Since when the oldest of those that may leave waits.
    oldest_since: Option<Timestamp>,
    /// How long that is, in seconds.
    oldest_seconds: Option<u64>,
    /// Emails of which nobody knows whether they were sent: resend them or mark them as sent.
    unknown: i64,
}

/// Open alerts by level.
#[derive(Default, Serialize, ToSchema)]
struct OpenAlerts {
    /// A person should act.
    error: i64,
    /// Something is not as it should be.
    warning: i64,
    /// Good to know.
    information: i64,
}

fn troubled(list: Counted<Troubled>) -> TroubledList {
    let shape = |entry: Troubled| TroubledWorkload {
        mailbox: entry.mailbox.0,
        name: entry.name,
        workload: entry.workload,
        failures: entry.failures,
        last_outcome: entry.last_outcome,
        disabled_by: entry.disabled_by.map(DisabledBy::from),
        held_back: entry.until.map(|until| HeldBack {
            until: Some(until),
            because: entry.because.unwrap_or_else(|| "back_off".to_owned()),
        }),
    };
    TroubledList { total: list.total, first: list.first.into_iter().map(shape).collect() }
}

fn profiles(list: Counted<HeldProfile>) -> HeldProfileList {
    let shape = |entry: HeldProfile| HeldProfileStatus {
        profile: entry.profile.0,
        name: entry.name,
        endpoint: entry.endpoint,
        held_back: HeldBack {
            until: entry.until,
            because: match entry.paused_reason {
                Some(reason) => format!("profile_paused: {reason}"),
                None => "server_down".to_owned(),
            },
        },
        mailboxes: entry.mailboxes,
    };
    HeldProfileList { total: list.total, first: list.first.into_iter().map(shape).collect() }
}

/// The whole picture: what is late, failing, switched off, held back and why, what waits to be sent, what alerts are open.
#[utoipa::path(
    get, path = "/status", tag = "status", security(("key" = ["oversee"])), responses((status = 200, body = Status))
)]
async fn get(caller: Caller) -> Result<Json<Status>, Problem> {
    let tenant = caller.begin().await?;
    let workloads = status::workloads(&tenant).await?;
    let failing = troubled(status::failing(&tenant).await?);
    let disabled = troubled(status::disabled(&tenant).await?);
    let held_back = troubled(status::held_back(&tenant).await?);
    let held_profiles = profiles(status::held_profiles(&tenant).await?);
    let sends = status::sends(&tenant).await?;
    let alerts = status::alerts(&tenant).await?;
    let live_sessions = status::live_sessions(&tenant).await?;
    tenant.commit().await?;
    let at = model::clock::now();
    let age = |since: Timestamp| u64::try_from(at.duration_since(since).as_secs()).unwrap_or(0);
    let mut open = OpenAlerts::default();
    for (level, count) in alerts {
        match level {
            model::alert::Level::Error => open.error = count,
            model::alert::Level::Warning => open.warning = count,
            model::alert::Level::Information => open.information = count,
        }
    }
    Ok(Json(Status {
        at,
        workloads: workloads
            .into_iter()
            .map(|counts| WorkloadStatus {
                workload: counts.workload,
                enabled: counts.enabled,
                idle: counts.idle,
                queued: counts.queued,
                running: counts.running,
                late: counts.late,
                oldest_late_seconds: counts.oldest.as_secs(),
            })
            .collect(),
        failing,
        disabled,
        held_back,
        held_profiles,
        sends: Sends {
            pending: sends.pending,
            oldest_since: sends.oldest,
            oldest_seconds: sends.oldest.map(age),
            unknown: sends.unknown,
        },
        alerts: open,
        live_sessions,
    }))
}
