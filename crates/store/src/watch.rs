//! Who listens to which mailboxes. A mailbox belongs to one watch at most, by Postgres's clock, and nobody else's until that
//! watch is released, its time is over or its session is dead. Listening changes nothing here but wishes.

mod claim;

use std::time::Duration;

use model::id::{MailboxId, OrganizationId, ProfileId, WatchId};
use model::setting;
use model::workload::Workload;

use crate::{Result, Tenant};

pub use claim::{Terms, claim};

/// A watch that is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// What it is fenced by.
    pub id: WatchId,
    /// Whose mailboxes.
    pub organization: OrganizationId,
    /// At which server.
    pub profile: ProfileId,
    /// How many.
    pub mailboxes: u32,
}

/// A mailbox that is to be listened to.
#[derive(Clone)]
pub struct Member {
    /// Which.
    pub mailbox: MailboxId,
    /// Its address.
    pub address: String,
    /// Whether it was listened to before: something may have come in since that nobody told.
    pub heard: bool,
    /// Tries in a row that came to nothing.
    pub failures: u32,
    /// Which web services it was found at: empty where the profile says it for all, none while they were not looked for.
    pub service: Option<String>,
}

/// What a watch may go on with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Mailboxes that are still its own and still may be listened to.
    pub mailboxes: Vec<MailboxId>,
    /// Others wait that it has room for.
    pub others_wait: bool,
}

/// The mailboxes of a watch that may be processed, by address.
pub async fn members(tenant: &Tenant, watch: WatchId) -> Result<Vec<Member>> {
    let rows = tenant
        .query(
            "select w.mailbox_id, m.address, w.heard, w.failures,
                    case when p.exchange_path is not null then '' else f.host || ':' || f.port || f.path end as service
             from watches w
             join profiles p on p.organization_id = w.organization_id and p.id = w.profile_id
             left join found_services f on f.organization_id = w.organization_id and f.mailbox_id = w.mailbox_id
             join mailboxes m on m.organization_id = w.organization_id and m.id = w.mailbox_id
                and m.profile_id = w.profile_id and m.approval = 'approved'
             join mailbox_workloads k on k.organization_id = w.organization_id and k.mailbox_id = w.mailbox_id
                and k.workload = $2 and k.enabled and k.method = 'server_side'
             where w.watch_id = $1 and w.until > now() order by m.address_key",
            &[&watch.0, &Workload::Incoming.as_str()],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Member {
                mailbox: MailboxId(row.try_get("mailbox_id")?),
                address: row.try_get("address")?,
                heard: row.try_get("heard")?,
                failures: u32::try_from(row.try_get::<_, i32>("failures")?).unwrap_or(0),
                service: row.try_get("service")?,
            })
        })
        .collect()
}

/// From now on these are listened to. Gives those that are ours.
pub async fn heard(tenant: &Tenant, watch: WatchId, mailboxes: &[MailboxId]) -> Result<Vec<MailboxId>> {
    let rows = tenant
        .query(
            "update watches set heard = true where watch_id = $1 and mailbox_id = any($2) and until > now()
             returning mailbox_id",
            &[&watch.0, &ids(mailboxes)],
        )
        .await?;
    rows.iter().map(|row| Ok(MailboxId(row.try_get(0)?))).collect()
}

/// What of a watch still holds, of a profile as it was in this version; `most` is how many mailboxes it may have.
pub async fn standing(tenant: &Tenant, watch: &Claimed, profile_version: i64, most: u32) -> Result<Standing> {
    let rows = tenant
        .query(
            "select w.mailbox_id from watches w
             join profiles p on p.organization_id = w.organization_id and p.id = w.profile_id
                and p.version = $2 and p.paused_reason is null
             join schedules s on s.organization_id = w.organization_id and s.mailbox_id = w.mailbox_id
                and s.workload = $3 and s.profile_id = w.profile_id and (s.flying or s.due_at is not null)
             where w.watch_id = $1 and w.until > now()
               and not exists (select from settings o where o.name = $4 and o.value = 'false')",
            &[&watch.id.0, &profile_version, &Workload::Incoming.as_str(), &setting::PUSH],
        )
        .await?;
    let mailboxes = rows.iter().map(|row| Ok(MailboxId(row.try_get(0)?))).collect::<Result<Vec<_>>>()?;
    if u32::try_from(mailboxes.len()).unwrap_or(u32::MAX) >= most {
        return Ok(Standing { mailboxes, others_wait: false });
    }
    let others = tenant
        .query_one(
            &format!(
                "select coalesce((select exists (
                    with alive as materialized (
                        select id from sessions where ended_at is null and seen_at + dead_after > now()
                    ), own as materialized (select {MARK} as mark from watches w where w.watch_id = $1 limit 1)
                    select from own, schedules s
                    left join watches w on w.organization_id = s.organization_id and w.mailbox_id = s.mailbox_id
                    where s.profile_id = $2 and {FREE} and {MARK} is not distinct from own.mark
                 )
                 from profiles p where p.id = $2 and p.credentials_on = 'profile'), false)"
            ),
            &[&watch.id.0, &watch.profile.0],
        )
        .await?;
    Ok(Standing { mailboxes, others_wait: others.try_get(0)? })
}

/// Makes incoming mail of these mailboxes due, as "Sync now" does: before its due time, never before what a server or a back-off
/// asks for. One that is wished for already stays as it is. Says how many were not.
pub async fn wish(tenant: &Tenant, mailboxes: &[MailboxId]) -> Result<u64> {
    let wished = tenant
        .execute(
            "update schedules s set wished_at = now()
             where s.mailbox_id = any($1) and s.workload = $2 and s.wished_at is null
               and exists (select from mailbox_workloads w
                           where w.organization_id = s.organization_id and w.mailbox_id = s.mailbox_id
                             and w.workload = s.workload and w.enabled)",
            &[&ids(mailboxes), &Workload::Incoming.as_str()],
        )
        .await?;
    if wished > 0 {
        crate::schedule::poke(tenant).await?;
    }
    Ok(wished)
}

/// Lets go of some mailboxes of a watch and leaves them alone for a while. Those that are set `apart` are not listened to
/// together with the rest for a day, but with each other.
pub async fn put_off(
    tenant: &Tenant,
    watch: WatchId,
    mailboxes: &[MailboxId],
    pause: Duration,
    apart: Option<WatchId>,
) -> Result<u64> {
    tenant
        .execute(
            "update watches set watch_id = null, session_id = null, until = null, failures = failures + 1,
                not_before = now() + make_interval(secs => $3),
                apart = coalesce($4, apart), apart_at = case when $4::uuid is null then apart_at else now() end
             where watch_id = $1 and mailbox_id = any($2)",
            &[&watch.0, &ids(mailboxes), &pause.as_secs_f64(), &apart.map(|apart| apart.0)],
        )
        .await
}

/// Lets go of a watch: whoever comes next may have its mailboxes, after a pause where there is one. `failures` is how many tries
/// in a row came to nothing by now.
pub async fn release(tenant: &Tenant, watch: WatchId, failures: u32, pause: Option<Duration>) -> Result<u64> {
    tenant
        .execute(
            "update watches set watch_id = null, session_id = null, until = null, failures = $2,
                not_before = now() + make_interval(secs => $3)
             where watch_id = $1",
            &[
                &watch.0,
                &i32::try_from(failures).unwrap_or(i32::MAX),
                &pause.map(|pause| pause.as_secs_f64()),
            ],
        )
        .await
}

/// A schedule row `s`, with its row `w` of watches if there is one, that may be listened to and is by nobody who is `alive`.
/// What is in flight is passed over until it is not: an index has the rest.
const FREE: &str =
    "s.workload = 'incoming' and not s.flying and s.ready_at is not null and s.due_at is not null
    and (w.watch_id is null or w.until <= now() or w.session_id not in (select id from alive))
    and (w.not_before is null or w.not_before <= now())";

/// Which mailboxes of a profile may share a connection: those with the same mark.
const MARK: &str = "case when w.apart_at > now() - interval '1 day' then w.apart end";

fn ids(mailboxes: &[MailboxId]) -> Vec<uuid::Uuid> {
    mailboxes.iter().map(|id| id.0).collect()
}
