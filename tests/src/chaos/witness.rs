//! Gathers the history of a world, and waits until it has settled: nothing under way, everything on schedule.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::Row;

use super::history::{Connections, Delivered, History, Send, Violation, violations};
use super::world::{CANARY, IN_DOUBT, LEASE, LIMIT, QUEUED, QUIET, World};

/// How long it may take to be on schedule again, after the last wait that is owed: a lease, a slot in doubt, the quiet time
/// of the ledger, a message in its queue.
const SETTLING: Duration = Duration::from_secs(30);

impl World {
    /// Waits until everything is on schedule and everything that was put in is through, and says how long it took.
    ///
    /// # Errors
    /// Everything that is wrong in the end.
    pub async fn settle(&self) -> Result<Duration, Vec<Violation>> {
        let begun = Instant::now();
        let owed = LEASE + IN_DOUBT + QUIET + QUEUED;
        let deadline = begun + owed + SETTLING;
        // First without help: what waits for its time must have one, and what is held must come free.
        loop {
            let (wrong, leases) = tokio::join!(self.off_schedule(), self.leases());
            match (wrong.as_slice(), leases) {
                ([], Ok(0)) => break,
                (wrong, leases) if Instant::now() > deadline => {
                    let mut found: Vec<_> = wrong.iter().cloned().map(Violation::OffSchedule).collect();
                    match leases {
                        Ok(0) => {}
                        Ok(held) => found.push(Violation::Leaked(held)),
                        Err(why) => {
                            found.push(Violation::OffSchedule(format!("no coordinator answers: {why}")));
                        }
                    }
                    return Err(found);
                }
                _ => sleep(Duration::from_millis(300)).await,
            }
        }
        // Then as if hours had passed, until all of it is through.
        let deadline = Instant::now() + SETTLING + owed;
        loop {
            self.pass_waits().await;
            sleep(Duration::from_millis(700)).await;
            let history = self.history(false).await;
            let found = violations(&history);
            if found.is_empty() {
                let whole = violations(&self.history(true).await);
                return if whole.is_empty() { Ok(begun.elapsed()) } else { Err(whole) };
            }
            // No time mends these. What arrived and is not yet said to be sent may be in the moment before that is committed.
            let hopeless = found.iter().any(|violation| {
                matches!(
                    violation,
                    Violation::Doubled(..) | Violation::SentTwice(..) | Violation::TooManyConnections(..)
                )
            });
            if hopeless || Instant::now() > deadline {
                return Err(found);
            }
        }
    }

    /// Everything that is held against everything else; `whole` looks for secrets as well.
    pub async fn history(&self, whole: bool) -> History {
        // The servers' side first: what comes in between is known to the store a moment later, never earlier.
        let arrived = self.arrived();
        let most = [("POP3", self.pop3.maximum()), ("SMTP", self.smtp.maximum())];
        let connections =
            most.map(|(server, most)| Connections { server: server.to_owned(), most, limit: LIMIT });
        History {
            delivered: self.delivered.clone(),
            recorded: self.recorded().await,
            without_receipt: self.without_receipt().await,
            undecided: self.undecided().await,
            sends: self.sends().await,
            arrived,
            connections: connections.to_vec(),
            off_schedule: self.off_schedule().await,
            leases: self.leases().await.unwrap_or(usize::MAX),
            leaks: if whole { self.leaks().await } else { Vec::new() },
        }
    }

    async fn recorded(&self) -> Vec<Delivered> {
        let rows = self
            .rows(
                "select m.address, coalesce(e.message_id, '')
                 from receipts r
                 join emails e on e.organization_id = r.organization_id and e.id = r.email_id
                 join mailboxes m on m.organization_id = r.organization_id and m.id = r.mailbox_id
                 where e.direction = 'incoming'",
            )
            .await;
        let bare = |id: String| id.trim_start_matches('<').trim_end_matches('>').to_owned();
        rows.iter().map(|row| Delivered { mailbox: row.get(0), message_id: bare(row.get(1)) }).collect()
    }

    async fn without_receipt(&self) -> usize {
        let rows = self
            .rows(
                "select from emails e where e.direction = 'incoming'
                   and not exists (select from receipts r
                                   where r.organization_id = e.organization_id and r.email_id = e.id)",
            )
            .await;
        rows.len()
    }

    async fn undecided(&self) -> Vec<String> {
        let rows = self
            .rows(
                "select decision || coalesce(': ' || last_error, '') from mailbox_items
                 where decision not in ('recorded', 'duplicate') or email_id is null",
            )
            .await;
        rows.iter().map(|row| row.get(0)).collect()
    }

    async fn sends(&self) -> Vec<Send> {
        let emails = "select id::text, state, maybe_duplicate from emails
             where direction = 'outgoing' and state <> 'draft'";
        let requests = "select email_id::text, message_id from send_requests";
        let recipients = "select distinct q.email_id::text, r.address from send_recipients r
             join send_requests q on q.organization_id = r.organization_id and q.id = r.send_request_id";
        let alerts =
            "select email_id::text, kind from alerts where email_id is not null and resolved_at is null";
        let by_email = |rows: Vec<Row>| {
            let mut all: HashMap<String, Vec<String>> = HashMap::new();
            for row in rows {
                let text: String = row.get(1);
                let text = text.trim_start_matches('<').trim_end_matches('>').to_owned();
                all.entry(row.get(0)).or_default().push(text);
            }
            all
        };
        let rows = self.rows(emails).await;
        let mut requests = by_email(self.rows(requests).await);
        let mut recipients = by_email(self.rows(recipients).await);
        let mut alerts = by_email(self.rows(alerts).await);
        let send = |row: &Row| {
            let email: String = row.get(0);
            Send {
                state: row.get(1),
                maybe_duplicate: row.get(2),
                message_ids: requests.remove(&email).unwrap_or_default(),
                recipients: recipients.remove(&email).unwrap_or_default(),
                alerts: alerts.remove(&email).unwrap_or_default(),
                email,
            }
        };
        rows.iter().map(send).collect()
    }

    /// What nobody will do: an enabled workload is due in the future, or queued or running under a live session; outgoing
    /// has no due time when nothing is pending. What a server's outage holds back is on schedule too, as long as that pause
    /// has an end.
    async fn off_schedule(&self) -> Vec<String> {
        let rows = self
            .rows(
                "select s.workload || ' of ' || m.address || ' is ' || s.state || ', due ' ||
                        coalesce((s.due_at - now())::text, 'at no time') || ' because ' || s.due_reason ||
                        case when w.enabled then '' else ', switched off' end
                 from schedules s
                 join mailboxes m on m.organization_id = s.organization_id and m.id = s.mailbox_id
                 join mailbox_workloads w on w.organization_id = s.organization_id
                     and w.mailbox_id = s.mailbox_id and w.workload = s.workload
                 where w.method = 'server_side' and not coalesce(case
                     when not w.enabled then false
                     when s.state = 'idle' and exists (
                         select from endpoints p where p.organization_id = s.organization_id
                             and p.profile_id = s.profile_id
                             and p.protocol = case s.workload when 'incoming' then 'pop3' else 'smtp' end
                             and p.open_until between now() and now() + interval '1 hour') then true
                     when s.state = 'running' then exists (
                         select from sessions l where l.id = s.session_id and l.ended_at is null
                             and l.seen_at + l.dead_after > now())
                     when s.state = 'queued' then s.since > now() - interval '13 seconds'
                     when s.workload = 'incoming' then s.due_at between now() - interval '2 seconds'
                                                                   and now() + interval '1 hour'
                     when s.due_at is null then not exists (
                         select from emails e where e.organization_id = s.organization_id
                             and e.mailbox_id = s.mailbox_id and e.state = 'pending_send')
                     else s.due_at between now() - interval '2 seconds' and now() + interval '1 hour'
                 end, false)
                 union all
                 select 'job ' || kind || ' is ' || state from jobs
                 where ended_at is null and since < now() - interval '25 seconds'",
            )
            .await;
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// Leases that are held, waited for or in doubt, as the first coordinator says that answers.
    async fn leases(&self) -> Result<usize, String> {
        let status = throttle::status(&self.throttle, "").await.map_err(|error| error.to_string())?;
        let held: u32 = status.limits.iter().map(|limit| limit.in_use + limit.waiting).sum();
        let held = usize::try_from(held).unwrap_or(usize::MAX);
        Ok(held + status.in_doubt.len() + usize::from(status.quiet_for_ms > 0))
    }

    /// Where the canary is seen: logs, spans, and every column of every table.
    async fn leaks(&self) -> Vec<String> {
        let mut leaks: Vec<String> = self
            .installation
            .logs()
            .into_iter()
            .filter(|(_, text)| text.contains(CANARY))
            .map(|(name, _)| name)
            .collect();
        leaks.extend(format!("{:?}", self.spans.spans()).contains(CANARY).then(|| "a trace".to_owned()));
        let hexadecimal = CANARY.bytes().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"));
        let tables = "select c.relname::text from pg_class c
             where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace";
        for table in self.rows(tables).await {
            let table: String = table.get(0);
            let statement = format!(
                "select from \"{table}\" t where t::text like '%{CANARY}%' or t::text like '%{hexadecimal}%' limit 1"
            );
            leaks.extend((!self.rows(&statement).await.is_empty()).then_some(format!("table {table}")));
        }
        leaks
    }
}
