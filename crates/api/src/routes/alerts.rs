//! Alerts: what went wrong, in sentences made from the kind and its parameters, with the remedy and the server's words.

use axum::http::StatusCode;
use jiff::Timestamp;
use model::alert::{AlertKind, Class, Level, Scope};
use model::id::{AlertId, EmailId, MailboxId, ProfileId};
use serde::{Deserialize, Serialize};
use store::alert::{self, AlertFilter};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::app::App;
use crate::body::{Json, Path, Query};
use crate::caller::Caller;
use crate::page::{Page, Wanted};
use crate::problem::Problem;
use crate::schema;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(get)).routes(routes!(dismiss))
}

/// Something that went wrong; a repeated one counts up.
#[derive(Serialize, ToSchema)]
struct Alert {
    /// Which.
    id: Uuid,
    /// What went wrong.
    #[schema(value_type = schema::AlertKind)]
    kind: AlertKind,
    /// How loudly it speaks.
    #[schema(value_type = schema::AlertLevel)]
    level: Level,
    /// What it is about.
    #[schema(value_type = schema::AlertScope)]
    scope: Scope,
    /// Whether it can pass by itself.
    #[schema(value_type = schema::AlertClass)]
    class: Class,
    /// A few words, for a table.
    title: String,
    /// What happened.
    happened: String,
    /// What to do about it.
    remedy: String,
    /// The server's own words.
    server_said: Option<String>,
    /// The page that says more, relative to the project's root.
    page: String,
    /// The email it is about.
    email: Option<Uuid>,
    /// The mailbox it is about.
    mailbox: Option<Uuid>,
    /// The profile it is about.
    profile: Option<Uuid>,
    /// How often it happened.
    count: i32,
    /// The first time.
    first_at: Timestamp,
    /// The last time.
    last_at: Timestamp,
    /// When its cause had passed.
    resolved_at: Option<Timestamp>,
    /// When a person put it away.
    dismissed_at: Option<Timestamp>,
}

impl From<alert::Alert> for Alert {
    fn from(alert: alert::Alert) -> Self {
        let (happened, remedy) = alert.kind.sentences(&alert.parameters);
        Self {
            id: alert.id.0,
            kind: alert.kind,
            level: alert.level,
            scope: alert.scope,
            class: alert.class,
            title: alert.kind.facts().title.to_owned(),
            happened,
            remedy,
            server_said: alert.server_said,
            page: alert.kind.page(),
            email: alert.email.map(|id| id.0),
            mailbox: alert.mailbox.map(|id| id.0),
            profile: alert.profile.map(|id| id.0),
            count: alert.count,
            first_at: alert.first_at,
            last_at: alert.last_at,
            resolved_at: alert.resolved_at,
            dismissed_at: alert.dismissed_at,
        }
    }
}

/// Which alerts.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct AlertQuery {
    /// Also those that were resolved or dismissed; only open ones when left out.
    #[serde(default)]
    #[param(required = false)]
    closed: bool,
    /// About this mailbox.
    mailbox: Option<Uuid>,
    /// About this email.
    email: Option<Uuid>,
    /// About this profile.
    profile: Option<Uuid>,
    /// Of this kind.
    #[param(value_type = Option<schema::AlertKind>)]
    kind: Option<AlertKind>,
    /// Items of a page, 1 to 200; 50 when left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Alerts, the newest first: a user's own, or all for administrators.
#[utoipa::path(
    get, path = "/alerts", tag = "alerts", security(("key" = ["read"])),
    extensions(("x-audience" = json!("own"))),
    params(AlertQuery), responses((status = 200, body = Page<Alert>))
)]
async fn list(caller: Caller, Query(query): Query<AlertQuery>) -> Result<Json<Page<Alert>>, Problem> {
    let wanted = Wanted::<AlertId>::new("alerts", query.limit, query.cursor.as_deref())?;
    let filter = AlertFilter {
        closed_too: query.closed,
        mailbox: query.mailbox.map(MailboxId),
        email: query.email.map(EmailId),
        profile: query.profile.map(ProfileId),
        kind: query.kind,
    };
    let tenant = caller.begin().await?;
    let alerts = alert::list(&tenant, caller.alert_reader(), &filter, wanted.after, wanted.limit()).await?;
    tenant.commit().await?;
    Ok(Json(wanted.page(alerts, |alert| alert.id.to_string(), Alert::from)))
}

/// One alert.
#[utoipa::path(
    get, path = "/alerts/{id}", tag = "alerts", security(("key" = ["read"])),
    extensions(("x-audience" = json!("own"))),
    params(("id" = Uuid, Path, description = "The alert")), responses((status = 200, body = Alert))
)]
async fn get(caller: Caller, Path(id): Path<Uuid>) -> Result<Json<Alert>, Problem> {
    let tenant = caller.begin().await?;
    let alert = alert::get(&tenant, AlertId(id), caller.alert_reader()).await?;
    let alert = alert.ok_or_else(|| Problem::not_found("alert"))?;
    tenant.commit().await?;
    Ok(Json(alert.into()))
}

/// Put an alert away; doing it again changes nothing. It is raised anew if its cause shows again.
#[utoipa::path(
    post, path = "/alerts/{id}/dismiss", tag = "alerts", security(("key" = ["send"])),
    extensions(("x-audience" = json!("own"))),
    params(("id" = Uuid, Path, description = "The alert")), responses((status = 204, description = "Put away"))
)]
async fn dismiss(caller: Caller, Path(id): Path<Uuid>) -> Result<StatusCode, Problem> {
    let tenant = caller.begin().await?;
    alert::dismiss(&tenant, AlertId(id), caller.alert_reader(), caller.author()).await?;
    tenant.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
