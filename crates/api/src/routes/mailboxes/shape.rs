//! Mailboxes as they travel, with everything one asks about one: what is on, what a test said, when it is due and why,
//! and what holds it back.

use jiff::Timestamp;
use model::address::EmailAddress;
use model::alert::AlertKind;
use model::mailbox::{Acceptance, Approval, DeliveryMethod, TestResult};
use model::workload::Workload;
use serde::{Deserialize, Serialize};
use store::mailbox::{self, KnownService, WorkloadState};
use store::outgoing;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::body::Given;
use crate::routes::owner::{NamedOwner, OwnerReference};
use crate::schema;

/// A mailbox to make: not approved, not tested, not enabled.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct NewMailbox {
    /// The name to show, 1 to 200 characters; the address when left out.
    pub(super) name: Option<String>,
    /// The address, unique in the installation.
    #[schema(value_type = String, format = Email)]
    pub(super) address: EmailAddress,
    /// Whose it is; a user or queue has at most one mailbox.
    pub(super) owner: Option<OwnerReference>,
    /// On which server.
    pub(super) profile: Uuid,
    /// The login that mail is read with. Left out: the profile's user name where credentials live there, else the address.
    pub(super) incoming_login: Option<String>,
    /// Which messages become records. Left out: `all` for queues, `known_senders_and_replies` for users.
    #[schema(value_type = Option<schema::Acceptance>)]
    pub(super) acceptance: Option<Acceptance>,
    /// How incoming mail is delivered; `server_side` when left out.
    #[schema(value_type = Option<schema::DeliveryMethod>)]
    pub(super) incoming: Option<DeliveryMethod>,
    /// How outgoing mail is delivered; `server_side` when left out.
    #[schema(value_type = Option<schema::DeliveryMethod>)]
    pub(super) outgoing: Option<DeliveryMethod>,
    /// Nothing received before this is processed. Left out: since the mailbox is first enabled.
    pub(super) process_email_received_after: Option<Timestamp>,
    /// Whether messages are deleted on the server once they are recorded; queues only.
    #[serde(default)]
    #[schema(required = false)]
    pub(super) delete_after_processing: bool,
    /// The host application's id.
    pub(super) external_id: Option<String>,
}

/// What to change of a mailbox; what is left out stays. Another address waits for approval again; another address, login
/// or server stops the mailbox until it is tested and enabled again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct MailboxChange {
    /// The name to show, 1 to 200 characters.
    pub(super) name: Option<String>,
    /// The address, unique in the installation.
    #[schema(value_type = Option<String>, format = Email)]
    pub(super) address: Option<EmailAddress>,
    /// Map it to this user or queue, or to nobody with null. One that belongs to somebody else needs `confirm_owner`.
    #[serde(default)]
    #[schema(value_type = Option<OwnerReference>)]
    pub(super) owner: Given<OwnerReference>,
    /// The id of the present owner, to confirm that it is taken away from them: its password and test are forgotten and it
    /// waits for approval again.
    pub(super) confirm_owner: Option<Uuid>,
    /// On which server.
    pub(super) profile: Option<Uuid>,
    /// The login that mail is read with.
    pub(super) incoming_login: Option<String>,
    /// Which messages become records.
    #[schema(value_type = Option<schema::Acceptance>)]
    pub(super) acceptance: Option<Acceptance>,
    /// How incoming mail is delivered; `none` stops it.
    #[schema(value_type = Option<schema::DeliveryMethod>)]
    pub(super) incoming: Option<DeliveryMethod>,
    /// How outgoing mail is delivered; `none` stops it.
    #[schema(value_type = Option<schema::DeliveryMethod>)]
    pub(super) outgoing: Option<DeliveryMethod>,
    /// How appointments, contacts and tasks are delivered; POP3 servers have none.
    #[schema(value_type = Option<schema::DeliveryMethod>)]
    pub(super) act: Option<DeliveryMethod>,
    /// Nothing received before this is processed.
    pub(super) process_email_received_after: Option<Timestamp>,
    /// Whether messages are deleted on the server once they are recorded; queues only.
    pub(super) delete_after_processing: Option<bool>,
}

/// One mailbox.
#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct Mailbox {
    /// Which.
    id: Uuid,
    /// The name to show.
    name: String,
    /// The address.
    address: String,
    /// Whose it is.
    owner: Option<NamedOwner>,
    /// On which server.
    profile: ProfileReference,
    /// The login that mail is read with.
    incoming_login: String,
    /// Whether an administrator vouches for the address.
    #[schema(value_type = schema::Approval)]
    approval: Approval,
    /// Which messages become records.
    #[schema(value_type = schema::Acceptance)]
    acceptance: Acceptance,
    /// Nothing received before this is processed; null until it is first enabled.
    process_email_received_after: Option<Timestamp>,
    /// When it was first enabled.
    first_enabled_at: Option<Timestamp>,
    /// Whether messages are deleted on the server once they are recorded.
    delete_after_processing: bool,
    /// Whether it has its own password; the password itself is never shown.
    has_password: bool,
    /// Where autodiscover found its web services; null where the profile names its server, and where it was not looked for yet.
    web_service: Option<WebService>,
    /// The host application's id.
    external_id: Option<String>,
    /// Raised by each change; the `ETag`.
    version: i64,
    /// Since when.
    created_at: Timestamp,
    /// Last changed.
    modified_at: Timestamp,
    /// Each workload: `incoming`, `outgoing`, `act`.
    workloads: Vec<WorkloadShape>,
    /// What waits to be sent; null in a list.
    backlog: Option<Backlog>,
}

/// A profile with the name to show.
#[derive(Serialize, ToSchema)]
struct ProfileReference {
    /// Which.
    id: Uuid,
    /// Its name.
    name: String,
}

/// Web services that were found.
#[derive(Serialize, ToSchema)]
struct WebService {
    /// Their address.
    #[schema(example = "https://mail.example.com/EWS/Exchange.asmx")]
    url: String,
    /// Who said so: host, port and path of the autodiscover service; its name tells the way (`.svc` SOAP, `.xml` plain XML).
    #[schema(example = "autodiscover.example.com:443/autodiscover/autodiscover.svc")]
    told_by: String,
    /// Who looked: a test's job or a cycle, with its id.
    found_by: String,
    /// When they were found there first.
    found_at: Timestamp,
    /// Since when something says that they are elsewhere: they are looked for again.
    doubted_at: Option<Timestamp>,
}

impl From<KnownService> for WebService {
    fn from(known: KnownService) -> Self {
        Self {
            url: known.service.url(),
            told_by: known.service.told_by,
            found_by: known.found_by,
            found_at: known.found_at,
            doubted_at: known.doubted_at,
        }
    }
}

/// What waits to be sent from a mailbox.
#[derive(Serialize, ToSchema)]
struct Backlog {
    /// How many emails.
    emails: i64,
    /// Since when the oldest waits.
    oldest_since: Option<Timestamp>,
}

/// One workload of a mailbox.
#[derive(Serialize, ToSchema)]
#[schema(as = MailboxWorkload)]
struct WorkloadShape {
    /// Which.
    #[schema(value_type = schema::Workload)]
    workload: Workload,
    /// How it is delivered.
    #[schema(value_type = schema::DeliveryMethod)]
    method: DeliveryMethod,
    /// Whether it is processed.
    enabled: bool,
    /// Why Lockstep switched it off; null when a person did or it is on.
    disabled_by: Option<DisabledBy>,
    /// The last test.
    test: Test,
    /// When it runs.
    schedule: Schedule,
}

/// The alert by which Lockstep switched a workload off.
#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct DisabledBy {
    /// The kind of alert.
    #[schema(value_type = schema::AlertKind)]
    kind: AlertKind,
    /// In a few words.
    title: String,
    /// The page that says more, relative to the project's root.
    page: String,
}

impl From<AlertKind> for DisabledBy {
    fn from(kind: AlertKind) -> Self {
        Self { kind, title: kind.facts().title.to_owned(), page: kind.page() }
    }
}

/// What the last test of a workload found.
#[derive(Serialize, ToSchema)]
#[schema(as = WorkloadTest)]
struct Test {
    /// Whether it worked.
    #[schema(value_type = schema::TestResult)]
    result: TestResult,
    /// What the server said.
    said: Option<String>,
    /// When.
    at: Option<Timestamp>,
}

/// When a workload runs, and what holds it back.
#[derive(Serialize, ToSchema)]
#[schema(as = WorkloadSchedule)]
struct Schedule {
    /// `idle`, `queued` or `running`.
    #[schema(example = "idle")]
    state: String,
    /// When it is due next; null when nothing is.
    due_at: Option<Timestamp>,
    /// Why then, such as `cadence` or `server_asked`.
    due_reason: String,
    /// What holds it back, whatever is wished for; null when nothing does.
    held_back: Option<HeldBack>,
    /// How the last cycle ended.
    last_outcome: Option<String>,
    /// When it ended.
    last_finished_at: Option<Timestamp>,
    /// Failures in a row.
    failures: i32,
}

/// What keeps a workload from running although it is enabled.
#[derive(Serialize, ToSchema)]
pub(in crate::routes) struct HeldBack {
    /// Until when; null: until somebody does something about it.
    pub(in crate::routes) until: Option<Timestamp>,
    /// Why, such as `server_down`, `server_asked` or `profile_paused: …`.
    pub(in crate::routes) because: String,
}

/// What holds a workload back: the profile's pause, the server's breaker, its own back-off, in that order.
fn held_back(state: &WorkloadState) -> Option<HeldBack> {
    if let Some(reason) = &state.paused_reason {
        return Some(HeldBack { until: None, because: format!("profile_paused: {reason}") });
    }
    let now = model::clock::now();
    let own = state.not_before.filter(|until| *until > now);
    match state.server_open_until.filter(|until| *until > now) {
        Some(until) if own.is_none_or(|own| own < until) => {
            Some(HeldBack { until: Some(until), because: "server_down".to_owned() })
        }
        _ => own.map(|until| HeldBack {
            until: Some(until),
            because: state.not_before_reason.clone().unwrap_or_else(|| "back_off".to_owned()),
        }),
    }
}

impl From<WorkloadState> for WorkloadShape {
    fn from(state: WorkloadState) -> Self {
        let held_back = if state.enabled { held_back(&state) } else { None };
        Self {
            workload: state.workload,
            method: state.method,
            enabled: state.enabled,
            disabled_by: state.disabled_by.map(DisabledBy::from),
            test: Test { result: state.test_result, said: state.test_said, at: state.tested_at },
            schedule: Schedule {
                state: state.state,
                due_at: state.due_at,
                due_reason: state.due_reason,
                held_back,
                last_outcome: state.last_outcome,
                last_finished_at: state.last_finished_at,
                failures: state.failures,
            },
        }
    }
}

impl Mailbox {
    /// With what waits to be sent from it.
    pub(super) fn with(mut self, backlog: outgoing::Backlog) -> Self {
        self.backlog = Some(Backlog { emails: backlog.emails, oldest_since: backlog.oldest });
        self
    }
}

impl From<mailbox::Mailbox> for Mailbox {
    fn from(mailbox: mailbox::Mailbox) -> Self {
        Self {
            id: mailbox.id.0,
            name: mailbox.name,
            address: mailbox.address,
            owner: mailbox.owner.map(|owner| NamedOwner::new(owner, mailbox.owner_name)),
            profile: ProfileReference { id: mailbox.profile.0, name: mailbox.profile_name },
            incoming_login: mailbox.incoming_login,
            approval: mailbox.approval,
            acceptance: mailbox.acceptance,
            process_email_received_after: mailbox.process_email_received_after,
            first_enabled_at: mailbox.first_enabled_at,
            delete_after_processing: mailbox.delete_after_processing,
            has_password: mailbox.has_password,
            web_service: mailbox.web_service.map(WebService::from),
            external_id: mailbox.external_id,
            version: mailbox.version,
            created_at: mailbox.created_at,
            modified_at: mailbox.modified_at,
            workloads: mailbox.workloads.into_iter().map(WorkloadShape::from).collect(),
            backlog: None,
        }
    }
}
