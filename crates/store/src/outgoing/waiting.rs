//! How much waits to be sent, and since when: per mailbox for people, per profile for metrics.

use std::time::Duration;

use jiff::Timestamp;
use model::id::{MailboxId, ProfileId};

use crate::connection::seconds;
use crate::{Result, Ring, Tenant};

/// What waits to be sent from a mailbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many emails, those for later among them.
    pub emails: i64,
    /// Since when the oldest waits that may leave.
    pub oldest: Option<Timestamp>,
}

/// What waits to be sent from a mailbox.
pub async fn backlog(tenant: &Tenant, mailbox: MailboxId) -> Result<Backlog> {
    let row = tenant
        .query_one(
            "select count(*) as emails,
                    min(greatest(r.requested_at, r.not_before))
                        filter (where coalesce(r.not_before <= now(), true)) as oldest
             from emails e
             join send_requests r on r.organization_id = e.organization_id and r.email_id = e.id and r.ended_at is null
             where e.mailbox_id = $1 and e.state = 'pending_send'",
            &[&mailbox.0],
        )
        .await?;
    Ok(Backlog { emails: row.try_get("emails")?, oldest: row.try_get("oldest")? })
}

/// What waits to be sent over a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileBacklog {
    /// Which.
    pub profile: ProfileId,
    /// How many emails.
    pub emails: i64,
    /// How long the oldest waits that may leave; zero when none does.
    pub oldest: Duration,
}

/// One line per profile, each time all of them, over all organizations.
pub async fn backlog_by_profile(ring: &Ring) -> Result<Vec<ProfileBacklog>> {
    let rows = ring
        .query(
            "select p.id, coalesce(w.emails, 0)::bigint as emails, coalesce(w.oldest, 0)::float8 as oldest
             from profiles p
             left join (
                select s.organization_id, s.profile_id, count(*) as emails,
                       max(extract(epoch from now() - greatest(r.requested_at, r.not_before)))
                           filter (where coalesce(r.not_before <= now(), true)) as oldest
                from emails e
                join send_requests r on r.organization_id = e.organization_id and r.email_id = e.id
                                    and r.ended_at is null
                join schedules s on s.organization_id = e.organization_id and s.mailbox_id = e.mailbox_id
                                and s.workload = 'outgoing'
                where e.state = 'pending_send'
                group by s.organization_id, s.profile_id
             ) w on w.organization_id = p.organization_id and w.profile_id = p.id
             order by p.id",
            &[],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(ProfileBacklog {
                profile: ProfileId(row.try_get("id")?),
                emails: row.try_get("emails")?,
                oldest: seconds(row.try_get("oldest")?),
            })
        })
        .collect()
}
