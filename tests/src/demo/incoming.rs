//! Watching mail come in: how many of the messages that lie on the server were decided about, by mailbox.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;
use uuid::Uuid;

use super::office::Office;
use super::screen::Screen;

/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Where nobody watches, a line at most this often.
const LINE_EVERY: Duration = Duration::from_millis(500);

/// What was seen.
pub(super) struct Arrival {
    pub(super) messages: usize,
    /// From Sync now to the last decision.
    pub(super) took: Duration,
}

/// Wishes every mailbox to be synchronized now, and shows the mail that comes in until all of it is decided about.
pub(super) async fn watch(
    office: &Office,
    expected: &[u64],
    sql: &Client,
    screen: &Screen,
) -> Result<Arrival, String> {
    let bars: Vec<_> = if screen.is_terminal() {
        office
            .mailboxes
            .iter()
            .zip(expected)
            .map(|(mailbox, count)| screen.bar(&mailbox.address, *count))
            .collect()
    } else {
        Vec::new()
    };
    let wished = model::clock::now();
    for mailbox in &office.mailboxes {
        office.sync(mailbox).await;
    }
    let (mut before, mut changed, mut told) = (Vec::new(), Instant::now(), Instant::now());
    let decided = loop {
        let mut counts = Vec::new();
        for mailbox in &office.mailboxes {
            counts.push(decided_in(sql, &mailbox.id).await?.0);
        }
        for (bar, count) in bars.iter().zip(&counts) {
            bar.set_position(*count);
        }
        if counts != before {
            changed = Instant::now();
            if !screen.is_terminal() && (told.elapsed() > LINE_EVERY || counts == expected) {
                told = changed;
                let each = office.mailboxes.iter().zip(counts.iter().zip(expected));
                let each: Vec<_> =
                    each.map(|(mailbox, (count, of))| format!("{} {count}/{of}", mailbox.name)).collect();
                screen.line(&format!("    {}", each.join("   ")));
            }
            before.clone_from(&counts);
        }
        if counts.iter().zip(expected).all(|(count, expected)| count >= expected) {
            break usize::try_from(counts.iter().sum::<u64>()).unwrap_or(usize::MAX);
        }
        if changed.elapsed() > PATIENCE {
            return Err(format!(
                "no message came in for {} s: {counts:?} of {expected:?} are decided about",
                PATIENCE.as_secs()
            ));
        }
        sleep(LOOK_EVERY).await;
    };
    for bar in &bars {
        bar.finish_and_clear();
    }
    let mut last = wished;
    for (mailbox, of) in office.mailboxes.iter().zip(expected) {
        let at = decided_in(sql, &mailbox.id).await?.1.unwrap_or(wished);
        last = last.max(at);
        screen.full_bar(&mailbox.address, &format!("{of:>4} messages after {:.2} s", seconds(wished, at)));
    }
    Ok(Arrival { messages: decided, took: Duration::from_secs_f64(seconds(wished, last)) })
}

/// How many items of a mailbox are decided about, and when the last one was.
async fn decided_in(sql: &Client, mailbox: &str) -> Result<(u64, Option<Timestamp>), String> {
    let id: Uuid = mailbox.parse().map_err(|_| format!("`{mailbox}` is no id"))?;
    let row = sql
        .query_one("select count(*), max(seen_at) from mailbox_items where mailbox_id = $1", &[&id])
        .await
        .map_err(|error| error.to_string())?;
    Ok((u64::try_from(row.get::<_, i64>(0)).unwrap_or(0), row.get(1)))
}

/// Seconds from one moment to a later one.
pub(super) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}
