//! Gathers the history of a world, and waits until it has settled: nothing under way, everything on schedule.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::Row;

use super::history::{Connections, Delivered, History, Send, Violation, violations};
use super::world::{CANARY, IN_DOUBT, LEASE, LIMIT, QUEUED, QUIET, World};
use crate::Canary;

/// How long it may take to be on schedule again after the last wait that is owed.
const SETTLING: Duration = Duration::from_secs(30);

impl World {
    /// Waits until everything is on schedule, at most 30 s after `owed` has passed: what the fault that was mended a moment
    /// ago lets leases, slots in doubt or a lost ledger wait for. Then until everything that was put in is through. Says how
    /// long it took.
    ///
    /// # Errors
    /// Everything that is wrong in the end.
    pub async fn settle(&self, owed: Duration) -> Result<Duration, Vec<Violation>> {
        let begun = Instant::now();
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
        // Then as if hours had passed, until all of it is through. Nothing is said of how long that may take: what is let
        // through now may meet a slot in doubt, or be lost on its way once more.
        let deadline = Instant::now() + LEASE + IN_DOUBT + QUIET + QUEUED + SETTLING;
        loop {
            self.pass_waits().await;
            sleep(Duration::from_millis(700)).await;
            let history = self.history(false).await;
            let found = violations(&history);
            if found.is_empty() {
                let leaks = self.leaks().await;
                let told: Vec<_> = leaks.into_iter().map(Violation::Told).collect();
                return if told.is_empty() { Ok(begun.elapsed()) } else { Err(told) };
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
        // As the server counts: what the client closed and the server has not heard of is one of its connections.
        let most = [("POP3", self.pop3.most_behind()), ("SMTP", self.smtp.most_behind())];
        let connections =
            most.map(|(server, most)| Connections { server: server.to_owned(), most, limit: LIMIT });
        History {
            delivered: self.delivered.clone(),
            recorded: self.recorded().await,
            without_receipt: self.without_receipt().await,
            undecided: self.undecided().await,
            taken: self.office.taken(),
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

    /// Leases that are held, waited for or in doubt, as the first coordinator says that answers.
    async fn leases(&self) -> Result<usize, String> {
        let status = throttle::status(&self.throttle, "").await.map_err(|error| error.to_string())?;
        let held: u32 = status.limits.iter().map(|limit| limit.in_use + limit.waiting).sum();
        let held = usize::try_from(held).unwrap_or(usize::MAX);
        Ok(held + status.in_doubt.len() + usize::from(status.quiet_for_ms > 0))
    }

    /// Where the canary is seen: logs, spans, every column of every table, dead letters and the ledger.
    async fn leaks(&self) -> Vec<String> {
        let names: Vec<&str> = self.office.mailboxes.iter().map(|mailbox| mailbox.address.as_str()).collect();
        let canary = Canary::password("password", CANARY, &names);
        let logs = self.installation.logs().into_iter();
        let mut leaks: Vec<String> =
            logs.filter(|(_, text)| canary.is_in(text)).map(|(name, _)| name).collect();
        let told = format!("{:?} {:?}", self.spans.spans(), self.spans.metrics());
        leaks.extend(canary.is_in(&told).then(|| "a trace or a metric".to_owned()));
        leaks.extend(self.installation.keeps(&canary).await);
        leaks
    }
}
