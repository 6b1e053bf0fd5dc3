//! Mailboxes: whose they are, on which server, and what may be processed. Nothing is processed before a mailbox is
//! approved, tested and enabled, and whatever was vouched for or tested must be so again once it changes.

mod create;
mod delete;
mod for_cycle;
mod found;
mod map;
mod update;
mod workload;

use jiff::Timestamp;
use model::alert::AlertKind;
use model::id::{MailboxId, ProfileId, UserId};
use model::mailbox::{Acceptance, Approval, DeliveryMethod, Owner, TestResult};
use model::workload::Workload;
use tokio_postgres::Row;

use crate::called::Called;
use crate::refusal::Refusal;
use crate::row::{named, named_if, owner};
use crate::{Error, Result, Tenant};

pub use create::{NewMailbox, create};
pub use delete::{delete, deletion};
pub use for_cycle::{MailboxForCycle, Sought, for_cycle};
pub(crate) use found::{Found, forget_found};
pub use found::{KnownService, Service, asked_in_vain, doubt_found, found, keep_found};
pub(crate) use map::keep_messages;
pub use map::{remap, stop_for};
pub(crate) use update::go_on;
pub use update::{MailboxUpdate, set_approval, set_password, update};
pub use workload::{disable, enable, record_taking, record_test, set_method};

/// One mailbox.
#[derive(Clone)]
pub struct Mailbox {
    /// Which.
    pub id: MailboxId,
    /// The name to show.
    pub name: String,
    /// The address, unique in the installation.
    pub address: String,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// The owner's name.
    pub owner_name: Option<String>,
    /// On which server.
    pub profile: ProfileId,
    /// That server's name.
    pub profile_name: String,
    /// The login that mail is read with, unique at the server.
    pub incoming_login: String,
    /// Whether an administrator vouches for the address.
    pub approval: Approval,
    /// Which messages become records.
    pub acceptance: Acceptance,
    /// Nothing received before this is processed.
    pub process_email_received_after: Option<Timestamp>,
    /// When it was first enabled.
    pub first_enabled_at: Option<Timestamp>,
    /// Whether messages are deleted on the server once they are recorded; queues only.
    pub delete_after_processing: bool,
    /// Whether it has its own password.
    pub has_password: bool,
    /// Where autodiscover found its web services, where that was looked for.
    pub web_service: Option<KnownService>,
    /// The host application's id.
    pub external_id: Option<String>,
    /// Raised by each change.
    pub version: i64,
    /// Since when.
    pub created_at: Timestamp,
    /// Last changed.
    pub modified_at: Timestamp,
    /// Each workload, in the order incoming, outgoing, appointments.
    pub workloads: Vec<WorkloadState>,
}

/// Where one workload of a mailbox stands.
#[derive(Clone, Debug)]
pub struct WorkloadState {
    /// Which.
    pub workload: Workload,
    /// How it is delivered.
    pub method: DeliveryMethod,
    /// Whether it is processed.
    pub enabled: bool,
    /// The alert kind that switched it off; none when a person did or it is on.
    pub disabled_by: Option<AlertKind>,
    /// What the last test said.
    pub test_result: TestResult,
    /// The server's words in that test.
    pub test_said: Option<String>,
    /// When it was tested.
    pub tested_at: Option<Timestamp>,
    /// `idle`, `queued` or `running`.
    pub state: String,
    /// When it is due; none when nothing is.
    pub due_at: Option<Timestamp>,
    /// Why then.
    pub due_reason: String,
    /// Not before this, whatever is wished for.
    pub not_before: Option<Timestamp>,
    /// Why not before that.
    pub not_before_reason: Option<String>,
    /// Why its profile is paused; none when it is not.
    pub paused_reason: Option<String>,
    /// Until when its server's breaker is open.
    pub server_open_until: Option<Timestamp>,
    /// How the last cycle ended.
    pub last_outcome: Option<String>,
    /// When it ended.
    pub last_finished_at: Option<Timestamp>,
    /// Consecutive failures.
    pub failures: i32,
}

impl Mailbox {
    /// What stands in the way of testing it, with the remedy.
    pub fn test_obstacle(&self) -> Option<(&'static str, &'static str)> {
        if self.approval != Approval::Approved {
            return Some(("the mailbox is not approved", "approve it first"));
        }
        if self.owner.is_none() {
            return Some(("nobody owns the mailbox", "map it to a user or a queue first"));
        }
        if self.workloads.iter().all(|workload| workload.method == DeliveryMethod::None) {
            return Some((
                "every delivery method of the mailbox is `none`",
                "set one to `server_side` first",
            ));
        }
        None
    }
}

/// Which mailboxes to list.
#[derive(Clone, Debug, Default)]
pub struct MailboxFilter {
    /// On this profile.
    pub profile: Option<ProfileId>,
    /// Of this owner.
    pub owner: Option<Owner>,
    /// With this approval.
    pub approval: Option<Approval>,
    /// Only those where an enabled workload fails, or one was switched off by Lockstep or failed its test.
    pub failing: bool,
    /// Only what this user sees: the own mailbox and those of the user's queues.
    pub reader: Option<UserId>,
    /// What is called so.
    pub called: Called,
}

const SELECT: &str = "select m.id, m.name, m.address,
        case when m.user_id is not null then 'user' when m.queue_id is not null then 'queue' end as owner_kind,
        coalesce(m.user_id, m.queue_id) as owner_id, coalesce(u.name, q.name) as owner_name,
        m.profile_id, p.name as profile_name, m.incoming_login, m.approval, m.acceptance,
        m.process_email_received_after, m.first_enabled_at, m.delete_after_processing, c.id is not null as has_password,
        m.external_id, m.version, m.created_at, m.modified_at,
        f.host as found_host, f.port as found_port, f.path as found_path, f.told_by, f.found_by, f.found_at, f.doubted_at
    from mailboxes m
    left join found_services f on f.organization_id = m.organization_id and f.mailbox_id = m.id
    join profiles p on p.organization_id = m.organization_id and p.id = m.profile_id
    left join users u on u.organization_id = m.organization_id and u.id = m.user_id
    left join queues q on q.organization_id = m.organization_id and q.id = m.queue_id
    left join credentials c on c.organization_id = m.organization_id and c.mailbox_id = m.id";

fn read(row: &Row) -> Result<Mailbox> {
    Ok(Mailbox {
        id: MailboxId(row.try_get("id")?),
        name: row.try_get("name")?,
        address: row.try_get("address")?,
        owner: owner(row)?,
        owner_name: row.try_get("owner_name")?,
        profile: ProfileId(row.try_get("profile_id")?),
        profile_name: row.try_get("profile_name")?,
        incoming_login: row.try_get("incoming_login")?,
        approval: named(row, "approval")?,
        acceptance: named(row, "acceptance")?,
        process_email_received_after: row.try_get("process_email_received_after")?,
        first_enabled_at: row.try_get("first_enabled_at")?,
        delete_after_processing: row.try_get("delete_after_processing")?,
        has_password: row.try_get("has_password")?,
        web_service: found::known(row)?,
        external_id: row.try_get("external_id")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        modified_at: row.try_get("modified_at")?,
        workloads: Vec::new(),
    })
}

/// One mailbox, with its workloads.
pub async fn get(tenant: &Tenant, id: MailboxId) -> Result<Option<Mailbox>> {
    let row = tenant.query_opt(&format!("{SELECT} where m.id = $1"), &[&id.0]).await?;
    let mut mailboxes = row.iter().map(read).collect::<Result<Vec<_>>>()?;
    add_workloads(tenant, &mut mailboxes).await?;
    Ok(mailboxes.pop())
}

/// Mailboxes in the order they were made, after the last of the page before, with their workloads.
pub async fn list(
    tenant: &Tenant,
    filter: &MailboxFilter,
    after: Option<MailboxId>,
    limit: i64,
) -> Result<Vec<Mailbox>> {
    let rows = tenant
        .query(
            &format!(
                "{SELECT}
                 where ($1::uuid is null or m.profile_id = $1)
                   and ($2::uuid is null or coalesce(m.user_id, m.queue_id) = $2)
                   and ($3::text is null or m.approval = $3)
                   and ($4::uuid is null or m.id > $4)
                   and ($6::uuid is null or m.user_id = $6 or exists (
                        select from queue_members r where r.organization_id = m.organization_id
                           and r.queue_id = m.queue_id and r.user_id = $6))
                   and (not $7 or exists (
                        select from mailbox_workloads w
                        join schedules s on s.organization_id = w.organization_id and s.mailbox_id = w.mailbox_id
                                        and s.workload = w.workload
                        where w.organization_id = m.organization_id and w.mailbox_id = m.id
                          and (w.disabled_by is not null or w.test_result = 'failure'
                               or (w.enabled and (s.failures > 0 or s.refusals > 0)))))
                   and ($8::text is null or m.address_key = lower($8))
                   and ($9::text is null or lower(m.name) = lower($9))
                   and ($10::text is null or m.external_id = $10)
                 order by m.id limit $5"
            ),
            &[
                &filter.profile.map(|id| id.0),
                &filter.owner.map(Owner::id),
                &filter.approval.map(Approval::as_str),
                &after.map(|id| id.0),
                &limit,
                &filter.reader.map(|id| id.0),
                &filter.failing,
                &filter.called.address,
                &filter.called.name,
                &filter.called.external_id,
            ],
        )
        .await?;
    let mut mailboxes = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
    add_workloads(tenant, &mut mailboxes).await?;
    Ok(mailboxes)
}

/// The mailbox of an owner.
pub async fn of_owner(tenant: &Tenant, owner: Owner) -> Result<Option<Mailbox>> {
    let filter = MailboxFilter { owner: Some(owner), ..MailboxFilter::default() };
    Ok(list(tenant, &filter, None, 1).await?.pop())
}

async fn add_workloads(tenant: &Tenant, mailboxes: &mut [Mailbox]) -> Result<()> {
    let ids: Vec<_> = mailboxes.iter().map(|mailbox| mailbox.id.0).collect();
    let rows = tenant
        .query(
            "select w.mailbox_id, w.workload, w.method, w.enabled, w.disabled_by, w.test_result, w.test_said, w.tested_at,
                    s.state, s.due_at, s.due_reason, s.not_before, s.not_before_reason, s.last_outcome,
                    s.last_finished_at, s.failures, p.paused_reason,
                    (select max(e.open_until) from endpoints e
                     where e.organization_id = s.organization_id and e.profile_id = s.profile_id
                       and (e.protocol = case w.workload when 'incoming' then 'pop3' when 'outgoing' then 'smtp' end
                            or (e.protocol = 'ews' and w.workload <> 'act')
                            or (e.protocol = 'ews_found' and w.workload <> 'act' and e.endpoint = f.endpoint)))
                        as server_open_until
             from mailbox_workloads w
             join schedules s on s.organization_id = w.organization_id and s.mailbox_id = w.mailbox_id
                             and s.workload = w.workload
             join profiles p on p.organization_id = s.organization_id and p.id = s.profile_id
             left join found_services f on f.organization_id = w.organization_id and f.mailbox_id = w.mailbox_id
             where w.mailbox_id = any($1)",
            &[&ids],
        )
        .await?;
    for row in &rows {
        let id = MailboxId(row.try_get("mailbox_id")?);
        let state = WorkloadState {
            workload: named(row, "workload")?,
            method: named(row, "method")?,
            enabled: row.try_get("enabled")?,
            disabled_by: named_if(row, "disabled_by")?,
            test_result: named(row, "test_result")?,
            test_said: row.try_get("test_said")?,
            tested_at: row.try_get("tested_at")?,
            state: row.try_get("state")?,
            due_at: row.try_get("due_at")?,
            due_reason: row.try_get("due_reason")?,
            not_before: row.try_get("not_before")?,
            not_before_reason: row.try_get("not_before_reason")?,
            paused_reason: row.try_get("paused_reason")?,
            server_open_until: row.try_get("server_open_until")?,
            last_outcome: row.try_get("last_outcome")?,
            last_finished_at: row.try_get("last_finished_at")?,
            failures: row.try_get("failures")?,
        };
        if let Some(mailbox) = mailboxes.iter_mut().find(|mailbox| mailbox.id == id) {
            mailbox.workloads.push(state);
        }
    }
    for mailbox in mailboxes {
        mailbox.workloads.sort_by_key(|state| state.workload);
    }
    Ok(())
}

/// A mailbox whose row this transaction holds, for a change. Its rows in the ring are held first: a cycle that ends holds
/// its own of these when it comes to the mailbox, and would wait here for us while we wait for it.
pub(crate) async fn locked(tenant: &Tenant, id: MailboxId, expected: Option<i64>) -> Result<Mailbox> {
    tenant
        .query("select from schedules where mailbox_id = $1 order by workload for no key update", &[&id.0])
        .await?;
    let row = tenant
        .query_opt("select version from mailboxes where id = $1 for no key update", &[&id.0])
        .await?
        .ok_or(unknown())?;
    crate::refusal::check_version("mailbox", expected, row.try_get("version")?)?;
    get(tenant, id).await?.ok_or_else(|| unknown().into())
}

fn unknown() -> Refusal {
    Refusal::Unknown { what: "mailbox", field: "mailbox" }
}

/// Raises the version after a change of a column of another table that belongs to the mailbox.
pub(crate) async fn touch(tenant: &Tenant, id: MailboxId) -> Result<i64> {
    let row = tenant
        .query_opt(
            "update mailboxes set version = version + 1, modified_at = now() where id = $1 returning version",
            &[&id.0],
        )
        .await?
        .ok_or(Error::Refused(unknown()))?;
    Ok(row.try_get(0)?)
}

/// Refuses an address or login that another mailbox has: inside the organization that one is named, outside it is
/// only said that there is one.
async fn clash(
    tenant: &Tenant,
    except: Option<MailboxId>,
    address: &str,
    endpoint: &str,
    login: &str,
) -> Result<Option<Refusal>> {
    let row = tenant
        .query_opt(
            "select m.id, m.name, coalesce(u.name, q.name) as owner_name, m.address_key = lower($2) as by_address
             from mailboxes m
             left join users u on u.organization_id = m.organization_id and u.id = m.user_id
             left join queues q on q.organization_id = m.organization_id and q.id = m.queue_id
             where (m.address_key = lower($2) or (m.incoming_endpoint = $3 and m.login_key = lower($4)))
               and m.id is distinct from $1
             order by by_address desc limit 1",
            &[&except.map(|id| id.0), &address, &endpoint, &login],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let by_address: bool = row.try_get("by_address")?;
    Ok(Some(Refusal::MailboxTaken {
        field: if by_address { "address" } else { "incoming_login" },
        mailbox: MailboxId(row.try_get("id")?),
        name: row.try_get("name")?,
        owner: row.try_get("owner_name")?,
    }))
}

/// The refusal for an owner that is unknown or already has a mailbox.
async fn check_owner(tenant: &Tenant, owner: Owner, except: Option<MailboxId>) -> Result<()> {
    let (kind, table) = match owner {
        Owner::User(_) => ("user", "users"),
        Owner::Queue(_) => ("queue", "queues"),
    };
    // Locked first and looked at after: whoever maps the same owner at the same time is seen by the second question.
    let active = match owner {
        Owner::User(_) => "active",
        Owner::Queue(_) => "true",
    };
    let row = tenant
        .query_opt(
            &format!("select {active}, name from {table} where id = $1 for no key update"),
            &[&owner.id()],
        )
        .await?
        .ok_or(Refusal::Unknown { what: kind, field: "owner" })?;
    if !row.try_get::<_, bool>(0)? {
        let name: String = row.try_get(1)?;
        return Err(Refusal::invalid(
            "owner",
            format!("{name} is no longer active, and nobody would read the mailbox"),
            "map it to somebody who is, or to a queue",
        )
        .into());
    }
    let row = tenant
        .query_one(
            &format!(
                "select o.name as owner_name, m.id, m.name from {table} o
                 left join mailboxes m on m.organization_id = o.organization_id and m.{kind}_id = o.id
                 where o.id = $1"
            ),
            &[&owner.id()],
        )
        .await?;
    let mailbox: Option<uuid::Uuid> = row.try_get("id")?;
    match mailbox.map(MailboxId) {
        Some(mailbox) if Some(mailbox) != except => Err(Refusal::OwnerHasMailbox {
            kind,
            owner: row.try_get("owner_name")?,
            mailbox,
            mailbox_name: row.try_get("name")?,
        }
        .into()),
        _ => Ok(()),
    }
}

/// Turns a broken installation-wide key into what may be said about it.
fn refused(error: Error) -> Error {
    match error.constraint() {
        Some("mailboxes_address_installation") => Refusal::MailboxTakenElsewhere { field: "address" }.into(),
        Some("mailboxes_login_installation") => {
            Refusal::MailboxTakenElsewhere { field: "incoming_login" }.into()
        }
        Some("mailboxes_organization_id_external_id_key") => {
            Refusal::Taken { what: "mailbox", field: "external_id" }.into()
        }
        _ => error,
    }
}
