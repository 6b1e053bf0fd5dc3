//! What the ring must look like once nothing is broken: every workload is where the policy puts it.

use super::world::{QUEUED, World};

impl World {
    /// What nobody will do, or not when the policy says: an enabled workload is running under a live session, queued for no
    /// longer than a message lives, or due by the interval that its reason allows. What counts is `ready_at`: the due time or
    /// the wish, not before a back-off is over. Outgoing has such a time exactly when something is pending, and once within
    /// the first interval after it was enabled. What a server's pause holds back is on schedule too, as long as the pause has
    /// an end by that same policy.
    pub(crate) async fn off_schedule(&self) -> Vec<String> {
        let statement = format!(
            "with pending as (
                select e.organization_id, e.mailbox_id, min(greatest(r.next_try_at, q.not_before)) as earliest
                from emails e
                join send_requests q on q.organization_id = e.organization_id and q.email_id = e.id
                                    and q.ended_at is null
                join send_recipients r on r.organization_id = q.organization_id and r.send_request_id = q.id
                                      and r.state in ('waiting', 'deferred')
                where e.state = 'pending_send' group by e.organization_id, e.mailbox_id
             ), rows as (
                select s.*, w.enabled, m.address, p.earliest, b.open_until,
                       case s.due_reason
                           when 'enabled' then interval '5 minutes'
                           when 'cadence' then interval '5 minutes'
                           when 'minimum_polling' then make_interval(mins => f.min_polling_minutes)
                           -- Wished for, and nothing else.
                           when 'nothing_to_send' then interval '0'
                           when 'more_to_do' then interval '0'
                           when 'worker_died' then interval '0'
                           when 'not_delivered' then interval '0'
                           when 'pending_send' then greatest(p.earliest - now(), interval '0')
                           -- What failed waits for up to a fifth longer.
                           when 'no_capacity' then interval '36 seconds'
                           when 'part_away' then interval '36 seconds'
                           when 'server_down' then interval '6 minutes'
                           when 'retry' then interval '6 minutes'
                           when 'credential_refused' then interval '6 minutes'
                           when 'server_asked' then interval '72 minutes'
                           when 'rate_spent' then interval '72 minutes'
                       end as allowed
                from schedules s
                join mailboxes m on m.organization_id = s.organization_id and m.id = s.mailbox_id
                join profiles f on f.organization_id = s.organization_id and f.id = s.profile_id
                join mailbox_workloads w on w.organization_id = s.organization_id
                    and w.mailbox_id = s.mailbox_id and w.workload = s.workload
                left join pending p on p.organization_id = s.organization_id and p.mailbox_id = s.mailbox_id
                    and s.workload = 'outgoing'
                left join lateral (
                    select max(e.open_until) as open_until from endpoints e
                    where e.organization_id = s.organization_id and e.profile_id = s.profile_id
                      and e.protocol = case s.workload when 'incoming' then 'pop3' else 'smtp' end
                      and e.open_until between now() and now() + interval '6 minutes') b on true
                where w.method = 'server_side'
             )
             select workload || ' of ' || address || ' is ' || state || ', due ' ||
                    coalesce((ready_at - now())::text, 'at no time') || ' because ' || due_reason ||
                    case when earliest is null then '' else ', with something pending' end ||
                    case when enabled then '' else ', switched off' end
             from rows
             where not coalesce(case
                 when not enabled then false
                 when state = 'running' then exists (
                     select from sessions l where l.id = session_id and l.ended_at is null
                         and l.seen_at + l.dead_after > now())
                 when state = 'queued' then since > now() - interval '{queued} seconds'
                 when workload = 'outgoing' and due_reason <> 'enabled'
                      and (ready_at is null) <> (earliest is null) then false
                 when workload = 'outgoing' and ready_at is null then true
                 else ready_at <= now() + allowed + interval '2 seconds'
                      and (ready_at >= now() - interval '2 seconds' or open_until is not null)
             end, false)
             union all
             select 'job ' || kind || ' is ' || state from jobs
             where ended_at is null and since < now() - interval '25 seconds'",
            queued = QUEUED.as_secs()
        );
        self.rows(&statement).await.iter().map(|row| row.get(0)).collect()
    }
}
