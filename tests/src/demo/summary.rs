//! The table of what happened, and where to look next.

use ::exchange::Exchange;

use super::checks::{COLUMNS, Checks, Figures};
use super::incoming::Arrival;
use super::letter::Letter;
use super::office::Office;
use super::round::Round;
use super::screen::{Look, Screen};
use super::stage::{Running, Stage};
use crate::lockstep;

/// Shows the numbers.
pub(super) fn show(
    screen: &Screen,
    (office, stage): (&Office, &Stage<'_>),
    (figures, records): (&[Figures], i64),
    (arrival, letter, round): (&Arrival, &Letter, &Round),
    checks: &Checks,
) {
    screen.heading("What happened");
    let cells = |figures: &Figures| figures.iter().map(i64::to_string).collect();
    let each = office.mailboxes.iter().zip(figures);
    let mut rows: Vec<(String, Vec<String>)> =
        each.map(|(mailbox, figures)| (mailbox.address.clone(), cells(figures))).collect();
    let mut total = [0; COLUMNS.len()];
    for figures in figures {
        total.iter_mut().zip(figures).for_each(|(total, figure)| *total += figure);
    }
    // A mail to two of them is one record with two receipts.
    total[2] = records;
    rows.push(("together".to_owned(), cells(&total)));
    screen.table(&COLUMNS, &rows);
    screen.line("");

    let seconds = arrival.took.as_secs_f64();
    let rate = |count: usize, seconds: f64| {
        let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        screen.paint(Look::Bold, &format!("{:.0} messages per second", count / seconds.max(0.001)))
    };
    screen.line(&format!(
        "  In            {} messages in {seconds:.2} s from Sync now: {}",
        arrival.messages,
        rate(arrival.messages, seconds)
    ));
    let sent = round.emails.len();
    screen.line(&format!(
        "  Out           {sent} messages in {:.2} s from Send: {}; all received after {:.2} s",
        round.to_sent,
        rate(sent, round.to_sent),
        round.to_received
    ));
    screen.line(&format!(
        "  One email     Send to Sent {:.2} s, in every mailbox {:.2} s, recorded for everybody {:.2} s",
        letter.to_sent, letter.to_delivered, letter.to_received
    ));
    let memory: Vec<String> = stage.processes.iter().map(peak).collect();
    screen.line(&format!("  Peak MB       {}", memory.join(", ")));
    let (all, failed) = (checks.passed + checks.mismatches.len(), checks.mismatches.len());
    if failed == 0 {
        let said = format!("✓ {all} of {all} comparisons with what lies on the servers agree");
        screen.line(&format!("  {}", screen.paint(Look::Good, &said)));
    } else {
        screen.line(&format!(
            "  {}",
            screen.paint(Look::Bad, &format!("✗ {failed} of {all} comparisons do not agree:"))
        ));
        for mismatch in &checks.mismatches {
            screen.line(&format!("      {mismatch}"));
        }
    }
}

/// Shows the doors that stay open while the demo runs.
pub(super) fn doors(screen: &Screen, office: &Office, stage: &Stage<'_>) {
    screen.heading("Where to look next");
    let mail = &stage.servers.mail;
    let (url, directory) = (stage.url(), stage.directory.display());
    let metrics: Vec<String> = stage.processes.iter().map(|running| running.metrics.to_string()).collect();
    for (what, how) in [
        ("API", format!("curl -H 'Authorization: Bearer {}' \\", office.key)),
        ("", format!("  '{url}/api/v1/emails?limit=5'")),
        ("", format!("{url}/api/v1/openapi.json describes it")),
        ("Command line", format!("LOCKSTEP_CONFIG={directory}/lockstep.toml \\")),
        ("", format!("  {} status", lockstep().display())),
        ("Metrics", format!("curl http://127.0.0.1:{{{}}}/metrics", metrics.join(","))),
        ("Logs", format!("tail -F {directory}/*.log")),
        ("Postgres", format!("psql {}", stage.configuration.get("migration.url").unwrap_or_default())),
        ("RabbitMQ", format!("http://127.0.0.1:{} (guest, guest)", stage.servers.rabbitmq.management_port)),
        ("Dovecot", format!("POP3 {}, IMAP {}, on 127.0.0.1", mail.pop3_port, mail.imap_port)),
        ("Exchange", stage.exchange.as_ref().map_or_else(String::new, Exchange::url)),
        ("Postfix", format!("submission {}, on 127.0.0.1", mail.submission_port)),
    ] {
        screen.line(&format!("  {} {how}", screen.paint(Look::Accent, &format!("{what:<13}"))));
    }
}

/// The most memory a process ever held: `VmHWM` of proc(5).
fn peak(running: &Running) -> String {
    let status = running.process.id().map(|id| std::fs::read_to_string(format!("/proc/{id}/status")));
    let peak = status.and_then(Result::ok).and_then(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    match peak {
        Some(kilobytes) => format!("{} {}", running.name, kilobytes.div_ceil(1024)),
        None => format!("{} ended", running.name),
    }
}
