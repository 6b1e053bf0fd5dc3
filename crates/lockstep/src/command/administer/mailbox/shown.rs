//! How a mailbox looks: in a row, as a whole, and what its next step is.

use comfy_table::Cell;

use super::sync::told;
use crate::client::Record;
use crate::command::administer::context::Context;
use crate::table::{self, Tone, cell, count, plain, state, words};

/// The columns of a list.
pub(super) const COLUMNS: &[&str] = &["address", "owner", "profile", "approval", "incoming", "outgoing"];

/// One row of a list.
pub(super) fn row(context: &Context<'_>, mailbox: Record<'_>) -> Vec<Cell> {
    let workload = |name: &str| {
        let found = mailbox.list("workloads").into_iter().find(|workload| workload.text("workload") == name);
        found.map_or_else(|| plain("-"), |workload| standing(context, workload))
    };
    vec![
        cell(mailbox.text("address"), Tone::Loud),
        owner(mailbox),
        plain(mailbox.text("profile.name")),
        state(&mailbox.text("approval")),
        workload("incoming"),
        workload("outgoing"),
    ]
}

fn owner(mailbox: Record<'_>) -> Cell {
    match mailbox.filled("owner.name") {
        Some(name) if mailbox.text("owner.kind") == "queue" => plain(format!("{name} (queue)")),
        Some(name) => plain(name),
        None => cell("nobody", Tone::Uneasy),
    }
}

/// How a workload stands, in a few words: the worst that is to be said of it.
fn standing(context: &Context<'_>, workload: Record<'_>) -> Cell {
    if workload.text("method") == "none" {
        return cell("none", Tone::Quiet);
    }
    if !workload.flag("enabled") {
        return match (workload.filled("disabled_by.title"), workload.text("test.result").as_str()) {
            (Some(title), _) => cell(format!("switched off: {title}"), Tone::Bad),
            (None, "failure") => cell("test failed", Tone::Bad),
            (None, "not_run") => cell("not tested", Tone::Quiet),
            (None, _) => cell("off", Tone::Quiet),
        };
    }
    if let Some(because) = workload.filled("schedule.held_back.because") {
        let until = match workload.time("schedule.held_back.until") {
            Some(until) => format!(", {}", context.ago(Some(until))),
            None => String::new(),
        };
        return cell(format!("held back: {}{until}", words(&because)), Tone::Uneasy);
    }
    let failures = workload.number("schedule.failures");
    if failures > 0 {
        return cell(count(failures, "failure", "failures in a row"), Tone::Uneasy);
    }
    match workload.text("schedule.state").as_str() {
        "idle" => cell("on", Tone::Good),
        other => cell(other, Tone::Good),
    }
}

/// A mailbox as a whole.
pub(super) fn one(context: &Context<'_>, mailbox: Record<'_>) -> String {
    let password =
        if mailbox.flag("has_password") { plain("stored") } else { cell("none of its own", Tone::Quiet) };
    let floor = match mailbox.time("process_email_received_after") {
        Some(time) => plain(context.when(Some(time))),
        None => cell("the moment it is first enabled", Tone::Quiet),
    };
    let deletes = if mailbox.flag("delete_after_processing") {
        "deletes messages on the server once recorded"
    } else {
        ""
    };
    let facts = context.look.facts([
        ("name", plain(mailbox.text("name"))),
        ("owner", owner(mailbox)),
        ("profile", plain(mailbox.text("profile.name"))),
        ("login", plain(mailbox.text("incoming_login"))),
        ("web services", plain(mailbox.text("web_service.url"))),
        ("found", plain(context.when(mailbox.time("web_service.found_at")))),
        ("password", password),
        ("approval", state(&mailbox.text("approval"))),
        ("accepts", plain(words(&mailbox.text("acceptance")))),
        ("received after", floor),
        ("also", cell(deletes, Tone::Uneasy)),
        ("external id", plain(mailbox.text("external_id"))),
        ("first enabled", plain(context.when(mailbox.time("first_enabled_at")))),
        ("to be sent", backlog(context, mailbox)),
        ("changed", plain(context.when(mailbox.time("modified_at")))),
        ("id", cell(mailbox.text("id"), Tone::Quiet)),
    ]);
    let described = context.described(&mailbox.text("address"), &facts);
    let workloads =
        mailbox.list("workloads").into_iter().filter(|workload| workload.text("method") != "none");
    std::iter::once(described).chain(workloads.map(|workload| one_workload(context, workload))).collect()
}

fn backlog(context: &Context<'_>, mailbox: Record<'_>) -> Cell {
    match mailbox.number("backlog.emails") {
        0 => plain(""),
        number => {
            let oldest = context.ago(mailbox.time("backlog.oldest_since"));
            cell(format!("{}, the oldest asked for {oldest}", count(number, "email", "emails")), Tone::Uneasy)
        }
    }
}

fn one_workload(context: &Context<'_>, workload: Record<'_>) -> String {
    let result = workload.text("test.result");
    let tested = match workload.time("test.at") {
        Some(at) => format!("{}, {}", words(&result), context.ago(Some(at))),
        None => words(&result),
    };
    let due = match workload.time("schedule.due_at") {
        _ if !workload.flag("enabled") => String::new(),
        Some(at) => format!("{}: {}", context.when(Some(at)), words(&workload.text("schedule.due_reason"))),
        None => words(&workload.text("schedule.due_reason")),
    };
    let last = match workload.time("schedule.last_finished_at") {
        Some(at) => {
            format!("ended {}, {}", told(&workload.text("schedule.last_outcome")), context.ago(Some(at)))
        }
        None => String::new(),
    };
    let held_until = match workload.filled("schedule.held_back.because") {
        Some(_) => match workload.time("schedule.held_back.until") {
            Some(at) => context.when(Some(at)),
            None => "somebody does something about it".to_owned(),
        },
        None => String::new(),
    };
    let facts = context.look.facts([
        ("stands", standing(context, workload)),
        ("held back until", plain(held_until)),
        ("last cycle", plain(last)),
        ("next cycle", plain(due)),
        ("test", cell(tested, Tone::of(&result))),
        ("the server said", plain(workload.text("test.said"))),
        ("more", plain(workload.text("disabled_by.page"))),
    ]);
    format!("\n {}\n{}", context.look.title(&workload.text("workload")), table::drawn(&facts))
}

/// What is to be done next until the mailbox works; empty once it does.
pub(super) fn next_step(context: &Context<'_>, mailbox: Record<'_>) -> String {
    let address = mailbox.text("address");
    let off = |workload: &Record<'_>| workload.text("method") != "none" && !workload.flag("enabled");
    let step = if mailbox.at("owner").is_none() {
        format!("lockstep mailbox update {address} --owner ADDRESS")
    } else if mailbox.text("approval") != "approved" {
        format!("lockstep mailbox approve {address}")
    } else if mailbox.list("workloads").iter().any(off) {
        format!("lockstep mailbox test {address}")
    } else {
        return String::new();
    };
    format!("\n Next: {}\n", context.look.text(&step, Tone::Loud))
}
