//! What is done to the log itself, and by nobody who writes into it: removing what is too old, and mending the feed of a
//! database that was restored elsewhere.

use model::id::{InstallationId, OrganizationId};
use serde_json::json;
use tokio_postgres::{Client, Transaction};

use crate::{Result, Ring};

/// Removes up to `most` of what is older than `days` from the front of an organization's log; how many it were.
pub async fn forget(ring: &Ring, organization: OrganizationId, days: i32, most: u32) -> Result<i64> {
    let most = i32::try_from(most).unwrap_or(i32::MAX);
    Ok(ring
        .query_one("select forget_changes($1, $2, $3)", &[&organization.0, &days, &most])
        .await?
        .try_get(0)?)
}

/// Gives the log of a restored database an order that its new server's transactions go on from: ids of transactions are a
/// server's own, and rows from another one would wait for theirs for years. Places in the old feed mean nothing any more.
/// Does nothing to a database that was not restored.
pub(crate) async fn mend(owner: &Client) -> Result<()> {
    owner
        .batch_execute(
            "do $$
             begin
                if exists (
                    select from organizations o
                    cross join lateral (select c.transaction_id from changes c where c.organization_id = o.id
                                        order by c.transaction_id desc limit 1) as last
                    where last.transaction_id >= pg_snapshot_xmax(pg_current_snapshot())
                ) then
                    update changes set transaction_id = '0';
                    delete from change_horizons;
                    update installation set feed = feed + 1;
                end if;
             end
             $$",
        )
        .await?;
    Ok(())
}

/// Writes down in every organization that the database is another installation's from now on, by the operator.
pub async fn write_adoption(
    owner: &Transaction<'_>,
    before: InstallationId,
    now: InstallationId,
) -> Result<()> {
    let fields = json!({"installation": {"old": before, "new": now}});
    owner
        .execute(
            "insert into changes (organization_id, record_type, record_id, version, actor_kind, actor_id, cause, fields)
             select o.id, 'installation', $1, 1, 'operator', 'operator', 'adopt', $2 from organizations o",
            &[&now.0, &fields],
        )
        .await?;
    Ok(())
}
