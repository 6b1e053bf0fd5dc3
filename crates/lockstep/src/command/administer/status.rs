//! `lockstep status`: the whole picture on one screen, the worst first.

use clap::Args;

use super::context::Context;
use super::mailbox::told;
use crate::client::Record;
use crate::command::Failure;
use crate::table::{self, Tone, cell, count, lasting, plain, words};

/// How many of a list are shown; the rest is counted.
const SHOWN: usize = 8;
/// How many of the open alerts are shown.
const ALERTS: usize = 5;

/// What is asked of the status.
#[derive(Debug, Args)]
pub struct Status {
    /// Print what the API answers, as one JSON document.
    #[arg(long)]
    pub(super) json: bool,
}

pub(super) async fn run(context: &Context<'_>) -> Result<(), Failure> {
    let status = context.api.get(&["status"], &[]).await?;
    if context.json {
        context.document(&status);
        return Ok(());
    }
    let me = context.api.get(&["me"], &[]).await?;
    let alerts = context.api.list(&["alerts"], &[], Some(ALERTS)).await?;
    context.say(&picture(context, Record(&me), Record(&status), Record(&alerts)));
    Ok(())
}

fn picture(context: &Context<'_>, me: Record<'_>, status: Record<'_>, alerts: Record<'_>) -> String {
    let at = status.time("at").map_or_else(String::new, table::exact);
    let mut text = format!(
        "\n {}  {}\n\n",
        context.look.title(&me.text("organization.name")),
        context.look.text(&at, Tone::Quiet)
    );
    text.push_str(&workloads(context, status));
    text.push('\n');
    text.push_str(&facts(context, status));
    let troubles = [
        troubled(context, status, "disabled", "Switched off by Lockstep"),
        troubled(context, status, "failing", "Failing"),
        held_profiles(context, status),
        troubled(context, status, "held_back", "Held back"),
    ];
    let open = status.number("alerts.error") + status.number("alerts.warning");
    if open == 0 && troubles.iter().all(String::is_empty) {
        let well = "Nothing fails, nothing is switched off, nothing is held back.";
        text.extend(["\n ", &context.look.text(well, Tone::Good), "\n"]);
    }
    text.extend(troubles);
    text.push_str(&newest(context, status, alerts));
    text
}

/// A line per workload: how many are where, and how late the oldest is.
fn workloads(context: &Context<'_>, status: Record<'_>) -> String {
    let mut table = context.look.table(&["workload", "on", "idle", "queued", "running", "late", "oldest"]);
    let lines = status.list("workloads").into_iter();
    for line in lines.filter(|line| line.text("workload") != "act" || line.number("enabled") > 0) {
        let late = line.number("late");
        let oldest = if late > 0 { lasting(line.number("oldest_late_seconds")) } else { "-".to_owned() };
        let tone = if late > 0 { Tone::Uneasy } else { Tone::Quiet };
        table.add_row([
            cell(line.text("workload"), Tone::Loud),
            plain(line.text("enabled")),
            plain(line.text("idle")),
            plain(line.text("queued")),
            plain(line.text("running")),
            cell(late.to_string(), tone),
            cell(oldest, tone),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(comfy_table::CellAlignment::Right);
    }
    table::drawn(&table)
}

/// Workers, sending and alerts, a line each.
fn facts(context: &Context<'_>, status: Record<'_>) -> String {
    let workers = match status.number("live_sessions") {
        0 => cell("none is alive: nothing moves until one is started (`lockstep worker`)", Tone::Bad),
        number => cell(format!("{} alive", count(number, "process", "processes")), Tone::Good),
    };
    let sending = match status.number("sends.pending") {
        0 => plain("nothing waits"),
        number => {
            let oldest = match status.number("sends.oldest_seconds") {
                0 => String::new(),
                seconds => format!(", the oldest for {}", lasting(seconds)),
            };
            let tone = if status.number("sends.oldest_seconds") > 900 { Tone::Uneasy } else { Tone::Plain };
            cell(format!("{}{oldest}", count(number, "email waits", "emails wait")), tone)
        }
    };
    let doubt = match status.number("sends.unknown") {
        0 => plain(""),
        number => cell(
            format!("{}: `lockstep email list --state unknown`", count(number, "email", "emails")),
            Tone::Uneasy,
        ),
    };
    let levels =
        [("error", "error", "errors"), ("warning", "warning", "warnings"), ("information", "note", "notes")];
    let open: Vec<_> = levels
        .into_iter()
        .map(|(level, one, many)| (status.number(&format!("alerts.{level}")), one, many))
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, many)| count(number, one, many))
        .collect();
    let tone = match (status.number("alerts.error"), status.number("alerts.warning")) {
        (0, 0) => Tone::Plain,
        (0, _) => Tone::Uneasy,
        _ => Tone::Bad,
    };
    let open = if open.is_empty() { "none is open".to_owned() } else { open.join(", ") };
    let facts =
        [("workers", workers), ("sending", sending), ("in doubt", doubt), ("alerts", cell(open, tone))];
    table::drawn(&context.look.facts(facts))
}

/// One list of workloads that need a look; empty when there is nothing in it.
fn troubled(context: &Context<'_>, status: Record<'_>, list: &str, title: &str) -> String {
    let total = status.number(&format!("{list}.total"));
    let entries = status.list(&format!("{list}.first"));
    if total == 0 {
        return String::new();
    }
    let mut table = context.look.table(&["mailbox", "workload", "why", "until"]);
    for entry in entries.iter().take(SHOWN) {
        let why = why(*entry);
        let until = entry.time("held_back.until").map_or_else(String::new, |until| context.ago(Some(until)));
        table.add_row([plain(entry.text("name")), plain(entry.text("workload")), plain(why), plain(until)]);
    }
    section(context, title, total, &table::drawn(&table), entries.len().min(SHOWN))
}

fn why(entry: Record<'_>) -> String {
    if let Some(title) = entry.filled("disabled_by.title") {
        return title;
    }
    let failures = match entry.number("failures") {
        0 => None,
        number => Some(count(number, "failure", "failures in a row")),
    };
    let because = entry.filled("held_back.because").map(|because| words(&because));
    let last = entry.filled("last_outcome").map(|outcome| format!("the last ended {}", told(&outcome)));
    [because, failures, last].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn held_profiles(context: &Context<'_>, status: Record<'_>) -> String {
    let total = status.number("held_profiles.total");
    let entries = status.list("held_profiles.first");
    if total == 0 {
        return String::new();
    }
    let mut table = context.look.table(&["profile", "mailboxes", "why", "until"]);
    for entry in entries.iter().take(SHOWN) {
        let mut why = words(&entry.text("held_back.because"));
        if let Some(endpoint) = entry.filled("endpoint") {
            why = format!("{why}: {endpoint}");
        }
        let until = match entry.time("held_back.until") {
            Some(until) => context.ago(Some(until)),
            None => "somebody does something".to_owned(),
        };
        table.add_row([plain(entry.text("name")), plain(entry.text("mailboxes")), plain(why), plain(until)]);
    }
    section(
        context,
        "Servers and profiles that hold their mailboxes back",
        total,
        &table::drawn(&table),
        entries.len().min(SHOWN),
    )
}

fn section(context: &Context<'_>, title: &str, total: i64, table: &str, shown: usize) -> String {
    let more = match usize::try_from(total).unwrap_or(usize::MAX).saturating_sub(shown) {
        0 => String::new(),
        more => format!(" … and {more} more (`lockstep mailbox list --failing`, or --json)\n"),
    };
    format!(
        "\n {} {}\n{table}{more}",
        context.look.title(title),
        context.look.text(&format!("({total})"), Tone::Quiet)
    )
}

fn newest(context: &Context<'_>, status: Record<'_>, alerts: Record<'_>) -> String {
    let items = alerts.items();
    if items.is_empty() {
        return "\n".to_owned();
    }
    let told = |alert: Record<'_>| {
        let times = match alert.number("count") {
            number if number > 1 => format!(", {number} times"),
            _ => String::new(),
        };
        let when = context.ago(alert.time("last_at"));
        plain(format!("{} ({when}{times})\nWhat to do: {}", alert.text("happened"), alert.text("remedy")))
    };
    let mut table = context.look.prose();
    table.add_rows(items.iter().map(|alert| [super::alert::level(*alert), told(*alert)]));
    let open: i64 = ["error", "warning", "information"]
        .iter()
        .map(|level| status.number(&format!("alerts.{level}")))
        .sum();
    let title = format!(
        "\n {} {}\n",
        context.look.title("Newest alerts"),
        context
            .look
            .text(&format!("({} of {open}; `lockstep alert list` shows all)", items.len()), Tone::Quiet)
    );
    format!("{title}{}\n", table::drawn(&table))
}
