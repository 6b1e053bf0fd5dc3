//! Taking mailboxes to listen to, over all organizations: the organization with the fewest watches first, then the profile.

use std::time::Duration;

use model::id::{OrganizationId, ProfileId, SessionId, WatchId};

use super::{Claimed, FREE, MARK};
use crate::{Result, Ring};

/// How much is taken at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Mailboxes of one watch.
    pub most: u32,
    /// For how long it is claimed.
    pub lasts: Duration,
    /// How much of a profile's connections may be watches, in percent; one may always be, where there are two. The coordinator
    /// holds the limit: this only keeps from asking it in vain.
    pub ceiling_percent: u32,
}

/// Claims mailboxes of one profile that one connection can listen to, under an id that is new; `None` when there is nothing to
/// listen to. `held` are the session's watches: what else it has was claimed without an answer, or could not be released,
/// and is free.
pub async fn claim(
    ring: &Ring,
    id: WatchId,
    session: SessionId,
    held: &[WatchId],
    terms: Terms,
) -> Result<Option<Claimed>> {
    // One at a time, so that no connection is begun for a few mailboxes that another one is about to have.
    ring.execute(
        "select pg_advisory_xact_lock(1279414347, 5), set_config('idle_in_transaction_session_timeout', '5s', true)",
        &[],
    )
    .await?;
    let held: Vec<_> = held.iter().map(|watch| watch.0).collect();
    ring.execute(
        "update watches set watch_id = null, session_id = null, until = null
         where watch_id is not null and session_id = $1 and watch_id <> all($2)",
        &[&session.0, &held],
    )
    .await?;
    let rows = ring
        .query(
            &format!(
                "with alive as materialized (
                    select id from sessions where ended_at is null and seen_at + dead_after > now()
                 ), busy as materialized (
                    select w.organization_id, w.profile_id, w.watch_id, {MARK} as mark, count(*) as mailboxes
                    from watches w
                    where w.watch_id is not null and w.until > now() and w.session_id in (select id from alive)
                    group by w.organization_id, w.profile_id, w.watch_id, mark
                 ), place as materialized (
                    select p.organization_id, p.id as profile_id, p.alone, c.mark
                    from (
                        select organization_id, id, credentials_on = 'mailbox' as alone,
                               case credentials_on when 'profile' then max_connections
                                                   else max_in_flight end as connections
                        from profiles
                        where kind = 'exchange_ews' and paused_reason is null and max_connections > 1
                    ) p
                    cross join lateral (
                        select count(distinct b.watch_id) filter (where b.profile_id = p.id) as here,
                               count(distinct b.watch_id) as everywhere
                        from busy b where b.organization_id = p.organization_id
                    ) n
                    cross join lateral (
                        select {MARK} as mark
                        from schedules s
                        left join watches w on w.organization_id = s.organization_id and w.mailbox_id = s.mailbox_id
                        where s.organization_id = p.organization_id and s.profile_id = p.id and {FREE}
                          -- Who is new waits for a watch that has room, which ends for them; who was listened to does not.
                          and (p.alone or w.heard or not exists (
                                select from busy b
                                where b.organization_id = p.organization_id and b.profile_id = p.id
                                  and b.mark is not distinct from {MARK} and b.mailboxes < $3))
                        limit 1
                    ) c
                    where p.connections > 1 and n.here < greatest(1, p.connections * $5 / 100)
                      and not exists (select from endpoints e
                                      where e.organization_id = p.organization_id and e.profile_id = p.id
                                        and e.protocol = 'ews' and e.open_until > now())
                      and not exists (select from settings o
                                      where o.organization_id = p.organization_id and o.name = 'push'
                                        and o.value = 'false')
                    order by n.everywhere, n.here, random() limit 1
                 ), chosen as (
                    select s.organization_id, s.mailbox_id, s.profile_id
                    from place p
                    join schedules s on s.organization_id = p.organization_id and s.profile_id = p.profile_id
                    left join watches w on w.organization_id = s.organization_id and w.mailbox_id = s.mailbox_id
                    where {FREE} and {MARK} is not distinct from p.mark
                    limit (select case when alone then 1 else $3 end from place)
                 )
                 insert into watches as w (organization_id, mailbox_id, profile_id, watch_id, session_id, until)
                 select organization_id, mailbox_id, profile_id, $1, $2, now() + make_interval(secs => $4)
                 from chosen where exists (select from alive where id = $2)
                 on conflict (organization_id, mailbox_id) do update set
                    watch_id = excluded.watch_id, session_id = excluded.session_id, since = now(), until = excluded.until,
                    profile_id = excluded.profile_id,
                    apart = case when w.profile_id = excluded.profile_id then w.apart end,
                    apart_at = case when w.profile_id = excluded.profile_id then w.apart_at end
                 returning w.organization_id, w.profile_id"
            ),
            &[
                &id.0,
                &session.0,
                &i64::from(terms.most),
                &terms.lasts.as_secs_f64(),
                &i32::try_from(terms.ceiling_percent).unwrap_or(100),
            ],
        )
        .await?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(Claimed {
        id,
        organization: OrganizationId(row.try_get("organization_id")?),
        profile: ProfileId(row.try_get("profile_id")?),
        mailboxes: u32::try_from(rows.len()).unwrap_or(u32::MAX),
    }))
}
