//! Removing jobs that ended long ago, with what is nothing without them.

use std::time::Duration;

use crate::{Result, Tenant};

/// Forgets jobs that ended longer than `age` ago, and schedules for once whose time was, of the transaction's organization,
/// `limit` of each at most. A job stays while another one waits for it, or while the one that started it has not ended.
/// Gives how many jobs.
pub async fn forget(tenant: &Tenant, age: Duration, limit: u32) -> Result<u64> {
    let (age, limit) = (age.as_secs_f64(), i64::from(limit));
    tenant
        .execute(
            "delete from job_schedules where organization_id = current_organization() and id in (
                 select id from job_schedules
                 where organization_id = current_organization() and once_at is not null and due_at is null
                   and last_at < now() - make_interval(secs => $1)
                 limit $2)",
            &[&age, &limit],
        )
        .await?;
    tenant
        .execute(
            // Materialized, or a nested loop would draw its limit anew for each row.
            "with old as materialized (
                 select j.id from jobs j
                 where j.organization_id = current_organization() and j.ended_at < now() - make_interval(secs => $1)
                   and not exists (select from jobs w where w.organization_id = j.organization_id
                                       and w.after_id = j.id and w.state = 'waiting' and w.held)
                   and not exists (select from jobs p where p.organization_id = j.organization_id
                                       and p.id = j.parent_id and p.ended_at is null)
                 limit $2 for update of j skip locked)
             delete from jobs j using old where j.organization_id = current_organization() and j.id = old.id",
            &[&age, &limit],
        )
        .await
}
