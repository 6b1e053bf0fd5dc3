//! Examining again what a mailbox passed over: counted first, then marked, and judged by the next incoming cycle. Nothing is
//! decided here; an item keeps its decision until it was fetched and judged anew.

use model::email::Decision;
use model::id::{MailboxId, ProfileId};
use model::setting::MAX_MESSAGE_MB;
use model::workload::Workload;
use serde_json::json;
use uuid::Uuid;

use crate::change::{self, Author, Change, Fields};
use crate::refusal::Refusal;
use crate::row::named;
use crate::{Result, Tenant, schedule, setting};

/// How far somebody wants to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Over one mailbox: its acceptance or floor changed.
    Mailbox(MailboxId),
    /// Over the mailboxes of a profile: its floor changed.
    Profile(ProfileId),
    /// Over all mailboxes: the limit of a message's size changed.
    Organization,
}

impl Extent {
    fn columns(self) -> (Option<Uuid>, Option<Uuid>) {
        match self {
            Self::Mailbox(id) => (Some(id.0), None),
            Self::Profile(id) => (None, Some(id.0)),
            Self::Organization => (None, None),
        }
    }
}

/// The items with one decision that today's rules do not rule out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// What was decided.
    pub decision: Decision,
    /// How many the server may still have.
    pub could: i64,
    /// How many more it lists no longer, or had when the mailbox was read elsewhere: they cannot be fetched.
    pub gone: i64,
}

/// What there is to examine again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// By decision; without those of which there are none.
    pub decisions: Vec<PassedOver>,
    /// Asked for before, and not judged yet.
    pub waiting: i64,
}

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// How many items are examined again.
    pub items: i64,
    /// In how many mailboxes.
    pub mailboxes: i64,
    /// In how many of these incoming mail is off: they are examined once it is on.
    pub off: i64,
}

/// Items `i` of mailboxes `m` and profiles `p` that today's policy, floor ($3 is the limit in bytes) and size do not rule
/// out. A policy that asks for known senders rules nobody out: who is known may have changed.
const TAKEABLE: &str = "i.decision in ('not_accepted', 'before_the_floor', 'too_large', 'undeliverable')
    and ($1::uuid is null or m.id = $1) and ($2::uuid is null or m.profile_id = $2)
    and m.acceptance <> 'none' and i.size <= $3
    and (i.received_at is null or date_trunc('second', i.received_at)
             >= coalesce(date_trunc('second', greatest(p.process_email_received_after, m.process_email_received_after)),
                         '-infinity'))";

/// Whether the server may still have it: under the names of the server and login that the mailbox is read with, or in any folder
/// of the mailbox at an Exchange server.
const THERE: &str = "(i.gone_at is null and case when starts_with(m.incoming_endpoint, 'ews:')
    then starts_with(i.folder, 'ews ' || lower(m.address) || ' ')
    else i.folder = m.incoming_endpoint || ' ' || m.login_key end)";

/// How many items could be taken by today's rules.
pub async fn count(tenant: &Tenant, extent: Extent) -> Result<Counted> {
    let (mailbox, profile) = extent.columns();
    let limit = limit(tenant).await?;
    let rows = tenant
        .query(
            &format!(
                "select i.decision, count(*) filter (where {THERE} and i.examine_again_at is null) as could,
                        count(*) filter (where not {THERE}) as gone
                 from mailbox_items i
                 join mailboxes m on m.organization_id = i.organization_id and m.id = i.mailbox_id
                 join profiles p on p.organization_id = m.organization_id and p.id = m.profile_id
                 where {TAKEABLE} group by i.decision order by 1"
            ),
            &[&mailbox, &profile, &limit],
        )
        .await?;
    let mut decisions = Vec::new();
    for row in &rows {
        let passed = PassedOver {
            decision: named(row, "decision")?,
            could: row.try_get("could")?,
            gone: row.try_get("gone")?,
        };
        if passed.could + passed.gone > 0 {
            decisions.push(passed);
        }
    }
    let row = tenant
        .query_one(
            &format!(
                "select count(*) as waiting from mailbox_items i
                 join mailboxes m on m.organization_id = i.organization_id and m.id = i.mailbox_id
                 where i.examine_again_at is not null and {THERE}
                   and ($1::uuid is null or m.id = $1) and ($2::uuid is null or m.profile_id = $2)"
            ),
            &[&mailbox, &profile],
        )
        .await?;
    Ok(Counted { decisions, waiting: row.try_get("waiting")? })
}

/// Marks what today's rules do not rule out, all of it or that with these decisions, and makes the mailboxes due. The next
/// incoming cycle fetches and judges it; asking twice is as good as once.
pub async fn ask(
    tenant: &Tenant,
    extent: Extent,
    decisions: Option<&[Decision]>,
    by: &Author,
) -> Result<Asked> {
    let (mailbox, profile) = extent.columns();
    subject(tenant, extent).await?;
    let limit = limit(tenant).await?;
    let named: Option<Vec<&str>> =
        decisions.map(|decisions| decisions.iter().map(|decision| decision.as_str()).collect());
    let rows = tenant
        .query(
            &format!(
                "with marked as (
                     update mailbox_items i set examine_again_at = now()
                     from mailboxes m, profiles p
                     where m.organization_id = i.organization_id and m.id = i.mailbox_id
                       and p.organization_id = m.organization_id and p.id = m.profile_id
                       and {TAKEABLE} and {THERE} and i.examine_again_at is null
                       and ($4::text[] is null or i.decision = any($4))
                     returning i.mailbox_id)
                 select mailbox_id, count(*) as items from marked group by mailbox_id"
            ),
            &[&mailbox, &profile, &limit, &named],
        )
        .await?;
    let mut asked = Asked::default();
    let mut mailboxes = Vec::with_capacity(rows.len());
    for row in &rows {
        mailboxes.push(MailboxId(row.try_get("mailbox_id")?));
        asked.items += row.try_get::<_, i64>("items")?;
    }
    if mailboxes.is_empty() {
        return Ok(asked);
    }
    asked.mailboxes = i64::try_from(mailboxes.len()).unwrap_or(i64::MAX);
    let wished = schedule::wish_all(tenant, &mailboxes, Workload::Incoming).await?;
    asked.off = asked.mailboxes - i64::try_from(wished).unwrap_or(asked.mailboxes);
    tell(tenant, extent, &asked, by).await?;
    Ok(asked)
}

/// Marks at most so many items of these mailboxes, as [`ask`] does, and says in which mailboxes how many. Makes nothing due
/// and writes no change: that is for whoever marks batch by batch, once a mailbox is through.
pub async fn ask_some(
    tenant: &Tenant,
    mailboxes: &[MailboxId],
    decisions: Option<&[Decision]>,
    most: i64,
) -> Result<Vec<(MailboxId, i64)>> {
    let (nothing, limit) = (None::<Uuid>, limit(tenant).await?);
    let ids: Vec<_> = mailboxes.iter().map(|id| id.0).collect();
    let named: Option<Vec<&str>> =
        decisions.map(|decisions| decisions.iter().map(|decision| decision.as_str()).collect());
    let rows = tenant
        .query(
            &format!(
                "with chosen as (
                     select i.mailbox_id, i.folder, i.item_id from mailbox_items i
                     join mailboxes m on m.organization_id = i.organization_id and m.id = i.mailbox_id
                     join profiles p on p.organization_id = m.organization_id and p.id = m.profile_id
                     where i.mailbox_id = any($5::uuid[]) and {TAKEABLE} and {THERE} and i.examine_again_at is null
                       and ($4::text[] is null or i.decision = any($4))
                     order by i.mailbox_id, i.folder, i.item_id limit $6 for no key update of i),
                 marked as (
                     update mailbox_items i set examine_again_at = now() from chosen c
                     where i.organization_id = current_organization() and i.mailbox_id = c.mailbox_id
                       and i.folder = c.folder and i.item_id = c.item_id
                     returning i.mailbox_id)
                 select mailbox_id, count(*) as items from marked group by mailbox_id"
            ),
            &[&nothing, &nothing, &limit, &named, &ids, &most],
        )
        .await?;
    rows.iter().map(|row| Ok((MailboxId(row.try_get("mailbox_id")?), row.try_get("items")?))).collect()
}

/// Writes down what was asked for in all, once it was asked for batch by batch.
pub async fn tell(tenant: &Tenant, extent: Extent, asked: &Asked, by: &Author) -> Result<()> {
    let (record_type, id, version) = subject(tenant, extent).await?;
    let fields =
        Fields::new().set("re_examined", json!({"items": asked.items, "mailboxes": asked.mailboxes}));
    change::write(tenant, Change { record_type, id, version, by, fields }).await
}

/// What the change log names.
async fn subject(tenant: &Tenant, extent: Extent) -> Result<(&'static str, Uuid, i64)> {
    let (table, id) = match extent {
        Extent::Mailbox(id) => ("mailbox", id.0),
        Extent::Profile(id) => ("profile", id.0),
        // A setting has no id of its own: it is the organization that looks again.
        Extent::Organization => return Ok(("setting", tenant.organization().0, 1)),
    };
    let plural = if table == "mailbox" { "mailboxes" } else { "profiles" };
    let row = tenant.query_opt(&format!("select version from {plural} where id = $1"), &[&id]).await?;
    let row = row.ok_or(Refusal::Unknown { what: table, field: "id" })?;
    Ok((table, id, row.try_get("version")?))
}

/// The largest message that is read today, in bytes.
pub(super) async fn limit(tenant: &Tenant) -> Result<i64> {
    let megabytes = setting::get(tenant, MAX_MESSAGE_MB).await?.value.as_i64().unwrap_or_default();
    Ok(megabytes * 1024 * 1024)
}
