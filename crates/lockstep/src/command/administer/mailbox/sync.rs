//! `lockstep mailbox sync`: wishes a workload due at once, and waits for the end of that cycle when asked to.

use std::time::Duration;

use model::workload::Workload;
use serde_json::Value;

use crate::client::Record;
use crate::command::Failure;
use crate::command::administer::context::{Context, refused};
use crate::command::administer::follow::Spinner;
use crate::table::words;

/// How often the mailbox is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// Looks after which waiting is given up: ten minutes.
const LOOKS: u32 = 2400;
/// Looks at an idle workload after which no second cycle will come.
const SETTLED: u32 = 12;

/// Synchronizes now.
pub(super) async fn now(
    context: &Context<'_>,
    id: &str,
    workload: Workload,
    wait: bool,
) -> Result<(), Failure> {
    let path = ["mailboxes", id, "workloads", workload.as_str(), "sync"];
    let wished = context.api.post(&path, &Value::Null).await?;
    if !wait {
        context.show(&wished, |mailbox| match held_back(of(mailbox, workload), context) {
            Some(held) => format!("Wished; it runs when it is no longer held back ({held})."),
            None => format!("Wished: {} is synchronized now.", mailbox.text("address")),
        });
        return Ok(());
    }
    let ended = ended(context, id, workload, &wished).await?;
    let view = of(Record(&ended), workload);
    let outcome = view.text("schedule.last_outcome");
    context.show(&ended, |mailbox| {
        format!("{}: the {workload} cycle ended {}.", mailbox.text("address"), told(&outcome))
    });
    if outcome.starts_with("failed") {
        return Err(refused(
            &format!("the cycle did not succeed: {}", told(&outcome)),
            &format!("`lockstep alert list --mailbox {id}` says what to do"),
        ));
    }
    Ok(())
}

/// Waits for the end of a cycle that began after the wish: of a cycle that ran already, the one behind it.
async fn ended(
    context: &Context<'_>,
    id: &str,
    workload: Workload,
    wished: &Value,
) -> Result<Value, Failure> {
    let before = of(Record(wished), workload);
    let mut last = before.text("schedule.last_finished_at");
    let mut to_come = if before.text("schedule.state") == "running" { 2 } else { 1 };
    let mut settled = 0;
    let spinner = Spinner::new(context);
    for _ in 0..LOOKS {
        let mailbox = context.api.get(&["mailboxes", id], &[]).await?;
        let view = of(Record(&mailbox), workload);
        let (state, finished) = (view.text("schedule.state"), view.text("schedule.last_finished_at"));
        spinner.shows(format!("{workload}: {state}"));
        if finished != last {
            last = finished;
            to_come -= 1;
        }
        // Two cycles may end between two looks; then the workload stays idle.
        settled = if to_come == 1 && last != before.text("schedule.last_finished_at") && state == "idle" {
            settled + 1
        } else {
            0
        };
        if to_come == 0 || settled > SETTLED {
            return Ok(mailbox);
        }
        if !view.flag("enabled") {
            return Err(refused(
                &format!("the {workload} workload is switched off"),
                &format!("`lockstep alert list --mailbox {id}` says why; a test switches it on again"),
            ));
        }
        if let Some(held) = held_back(view, context).filter(|_| state == "idle") {
            return Err(refused(
                &format!("the {workload} workload is held back: {held}"),
                "it runs by itself when that has passed; `lockstep status` shows what is held back",
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(refused(
        "the cycle did not end within 10 minutes",
        "look whether a scheduler and a worker run: `lockstep status` shows the live workers",
    ))
}

fn of(mailbox: Record<'_>, workload: Workload) -> Record<'_> {
    let found = mailbox.list("workloads").into_iter().find(|view| view.text("workload") == workload.as_str());
    found.unwrap_or(mailbox)
}

fn held_back(workload: Record<'_>, context: &Context<'_>) -> Option<String> {
    let because = workload.filled("schedule.held_back.because")?;
    Some(match workload.time("schedule.held_back.until") {
        Some(until) => format!("{}, until {}", words(&because), context.when(Some(until))),
        None => words(&because),
    })
}

/// An outcome such as `failed:connection_refused` in words.
pub(in crate::command::administer) fn told(outcome: &str) -> String {
    match outcome.split_once(':') {
        Some(("snooze", why)) => format!("early, to go on later ({})", words(why)),
        Some(("failed", why)) => format!("in failure ({})", words(why)),
        _ if outcome == "done" => "well".to_owned(),
        _ => words(outcome),
    }
}
