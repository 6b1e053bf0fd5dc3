//! Queues: shared inboxes such as support@, with members who may read and send for them.

mod delete;

use jiff::Timestamp;
use model::address::EmailAddress;
use model::id::{QueueId, UserId};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::called::{self, Called, check_free};
use crate::change::{Author, Change, Fields};
use crate::refusal::{Refusal, check_external_id, check_line, check_version};
use crate::{Error, Result, Tenant, address, change};

pub use delete::{delete, deletion};

/// A shared inbox.
#[derive(Clone)]
pub struct Queue {
    /// Which.
    pub id: QueueId,
    /// The name to show.
    pub name: String,
    /// The address, unique among the organization's queues.
    pub address: String,
    /// Who may read it and send for it, in no order that means anything.
    pub members: Vec<UserId>,
    /// The host application's id.
    pub external_id: Option<String>,
    /// Raised by each change.
    pub version: i64,
    /// Since when.
    pub created_at: Timestamp,
    /// Last changed.
    pub modified_at: Timestamp,
}

/// What a queue is made of.
#[derive(Clone)]
pub struct NewQueue {
    /// The name to show.
    pub name: String,
    /// The address.
    pub address: EmailAddress,
    /// Who may read it and send for it.
    pub members: Vec<UserId>,
    /// The host application's id.
    pub external_id: Option<String>,
}

/// What may be changed of a queue; `None` leaves it as it is.
#[derive(Clone, Default)]
pub struct QueueUpdate {
    /// The name to show.
    pub name: Option<String>,
    /// The address.
    pub address: Option<EmailAddress>,
    /// All members from now on.
    pub members: Option<Vec<UserId>>,
}

const COLUMNS: &str = "id, name, address, external_id, version, created_at, modified_at,
    array(select m.user_id from queue_members m
          where m.organization_id = queues.organization_id and m.queue_id = queues.id order by m.user_id) as members";

fn read(row: &Row) -> Result<Queue> {
    let members: Vec<Uuid> = row.try_get("members")?;
    Ok(Queue {
        id: QueueId(row.try_get("id")?),
        name: row.try_get("name")?,
        address: row.try_get("address")?,
        members: members.into_iter().map(UserId).collect(),
        external_id: row.try_get("external_id")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        modified_at: row.try_get("modified_at")?,
    })
}

/// Makes a queue, with an address that mail resolves to.
pub async fn create(tenant: &Tenant, new: &NewQueue, by: &Author) -> Result<Queue> {
    check_line("name", &new.name, 1, 200)?;
    check_external_id(new.external_id.as_ref())?;
    check_free(tenant, "queue", "queues", new.external_id.as_ref(), None).await?;
    let id: QueueId = model::clock::new_id();
    tenant
        .execute(
            "insert into queues (organization_id, id, name, address, external_id)
             values (current_organization(), $1, $2, $3, $4)",
            &[&id.0, &new.name, &new.address.as_str(), &new.external_id],
        )
        .await
        .map_err(refused)?;
    replace_members(tenant, id, &new.members).await?;
    address::replace(tenant, "queue", id.0, &new.name, &[new.address.as_str().to_owned()]).await?;
    let queue = get(tenant, id).await?.ok_or(Refusal::Unknown { what: "queue", field: "id" })?;
    let fields = Fields::new()
        .set("name", &queue.name)
        .set("address", &queue.address)
        .set("members", &queue.members)
        .set("external_id", &queue.external_id);
    change::write(tenant, Change { record_type: "queue", id: id.0, version: 1, by, fields }).await?;
    Ok(queue)
}

/// One queue.
pub async fn get(tenant: &Tenant, id: QueueId) -> Result<Option<Queue>> {
    let row = tenant.query_opt(&format!("select {COLUMNS} from queues where id = $1"), &[&id.0]).await?;
    row.as_ref().map(read).transpose()
}

/// Queues in the order they were made, after the last of the page before.
pub async fn list(
    tenant: &Tenant,
    called: &Called,
    after: Option<QueueId>,
    limit: i64,
) -> Result<Vec<Queue>> {
    let rows = tenant
        .query(
            &format!(
                "select {COLUMNS} from queues
                 where ($1::uuid is null or id > $1)
                   and ($3::text is null or address_key = lower($3)) and ($4::text is null or lower(name) = lower($4))
                   and ($5::text is null or external_id = $5)
                 order by id limit $2"
            ),
            &[&after.map(|id| id.0), &limit, &called.address, &called.name, &called.external_id],
        )
        .await?;
    rows.iter().map(read).collect()
}

/// Makes the queue with this external id so, or makes one; says whether it is new.
pub async fn upsert(
    tenant: &Tenant,
    external_id: &str,
    new: &NewQueue,
    members: Option<Vec<UserId>>,
    by: &Author,
) -> Result<(Queue, bool)> {
    if let Some(id) = called::by_external_id(tenant, "queues", external_id).await? {
        let change =
            QueueUpdate { name: Some(new.name.clone()), address: Some(new.address.clone()), members };
        return Ok((update(tenant, QueueId(id), None, &change, by).await?, false));
    }
    let new = NewQueue {
        external_id: Some(external_id.to_owned()),
        members: members.unwrap_or_default(),
        ..new.clone()
    };
    Ok((create(tenant, &new, by).await?, true))
}

/// Changes a queue; `expected` is the version that the caller read.
pub async fn update(
    tenant: &Tenant,
    id: QueueId,
    expected: Option<i64>,
    update: &QueueUpdate,
    by: &Author,
) -> Result<Queue> {
    let row = tenant
        .query_opt(&format!("select {COLUMNS} from queues where id = $1 for no key update"), &[&id.0])
        .await?
        .ok_or(Refusal::Unknown { what: "queue", field: "id" })?;
    let old = read(&row)?;
    check_version("queue", expected, old.version)?;
    let name = update.name.as_ref().unwrap_or(&old.name);
    check_line("name", name, 1, 200)?;
    let address = update.address.as_ref().map_or(old.address.as_str(), EmailAddress::as_str);
    let mut members = update.members.clone().unwrap_or_else(|| old.members.clone());
    members.sort_unstable();
    members.dedup();
    let fields = Fields::new()
        .changed("name", &old.name, name)
        .changed("address", &old.address.as_str(), &address)
        .changed("members", &old.members, &members);
    if fields.is_empty() {
        return Ok(old);
    }
    tenant
        .execute(
            "update queues set name = $2, address = $3, version = version + 1, modified_at = now() where id = $1",
            &[&id.0, name, &address],
        )
        .await
        .map_err(refused)?;
    if members != old.members {
        replace_members(tenant, id, &members).await?;
    }
    address::replace(tenant, "queue", id.0, name, &[address.to_owned()]).await?;
    let queue = get(tenant, id).await?.ok_or(Refusal::Unknown { what: "queue", field: "id" })?;
    change::write(tenant, Change { record_type: "queue", id: id.0, version: queue.version, by, fields })
        .await?;
    Ok(queue)
}

async fn replace_members(tenant: &Tenant, id: QueueId, members: &[UserId]) -> Result<()> {
    let members: Vec<Uuid> = members.iter().map(|member| member.0).collect();
    tenant
        .execute("delete from queue_members where queue_id = $1 and user_id <> all($2)", &[&id.0, &members])
        .await?;
    tenant
        .execute(
            "insert into queue_members (organization_id, queue_id, user_id)
             select distinct current_organization(), $1::uuid, u from unnest($2::uuid[]) as u on conflict do nothing",
            &[&id.0, &members],
        )
        .await
        .map_err(refused)?;
    Ok(())
}

fn refused(error: Error) -> Error {
    match error.constraint() {
        Some("queues_address") => Refusal::Taken { what: "queue", field: "address" }.into(),
        Some("queues_organization_id_external_id_key") => {
            Refusal::Taken { what: "queue", field: "external_id" }.into()
        }
        Some("queue_members_organization_id_user_id_fkey") => {
            Refusal::Unknown { what: "user", field: "members" }.into()
        }
        _ => error,
    }
}
