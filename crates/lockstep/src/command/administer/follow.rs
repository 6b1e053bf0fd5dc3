//! Following jobs until they end: their steps are printed as they come, with a spinner on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::context::{Context, refused};
use super::job::came_of;
use crate::client::Record;
use crate::command::Failure;
use crate::table::{Tone, count, words};

/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(300);
/// After this many looks at a job that nobody takes, the reason is guessed at.
const PATIENCE: u32 = 50;
/// How many jobs are looked at in turn.
const AT_ONCE: usize = 20;

/// A spinner on a terminal; nothing elsewhere. Draws on standard error, so that standard output stays clean.
pub(super) struct Spinner(ProgressBar);

impl Spinner {
    pub(super) fn new(context: &Context<'_>) -> Self {
        if context.json || !console::user_attended_stderr() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("  {spinner} {wide_msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// What is waited for.
    pub(super) fn shows(&self, text: impl Into<String>) {
        self.0.set_message(text.into());
    }

    /// Prints above the spinner.
    pub(super) fn say(&self, context: &Context<'_>, text: &str) {
        self.0.suspend(|| context.say(text));
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Follows one job, step by step, and returns it as it ended. Fails when the job does.
pub(super) async fn one(context: &Context<'_>, id: &str) -> Result<Value, Failure> {
    let spinner = Spinner::new(context);
    let mut printed = 0;
    let mut looks = 0;
    let job = loop {
        let job = context.api.get(&["jobs", id], &[]).await?;
        let view = Record(&job);
        if !context.json {
            printed += print_steps(context, &spinner, view, printed);
        }
        spinner.shows(under_way(view));
        if has_ended(view) {
            break job;
        }
        looks += 1;
        let is_due = !view.flag("held") && !context.is_ahead(view.time("due_at"));
        if looks == PATIENCE && view.text("state") != "running" && is_due && !context.json {
            spinner.say(
                context,
                "  …     nobody takes the job yet: is a job service running (`lockstep jobs`)?\n",
            );
        }
        tokio::time::sleep(LOOK).await;
    };
    drop(spinner);
    if context.json {
        context.document(&job);
    }
    judged(Record(&job))?;
    Ok(job)
}

/// Follows the tests that were started, a line per mailbox as each ends, or the steps when there is but one. Fails when
/// one of them does, or when one could not be started.
pub(super) async fn tests(context: &Context<'_>, started: &Value) -> Result<(), Failure> {
    let view = Record(started);
    let (jobs, skipped) = (view.list("jobs"), view.list("skipped"));
    if !context.json {
        for test in &skipped {
            let text = format!(
                "{}: {}\n        what to do: {}\n",
                test.text("name"),
                test.text("cause"),
                test.text("remedy")
            );
            context.say(&marked(context, "failed", &text));
        }
    }
    if let ([job], []) = (jobs.as_slice(), skipped.as_slice())
        && !context.json
    {
        return one(context, &job.text("job")).await.map(drop);
    }
    let ended = all(context, &jobs).await?;
    if context.json {
        context.document(&json!({"jobs": ended, "skipped": view.at("skipped")}));
    }
    let failed = ended.iter().filter(|job| judged(Record(job)).is_err()).count() + skipped.len();
    if jobs.is_empty() && skipped.is_empty() {
        return Err(refused("there is no mailbox to test", "make one: `lockstep mailbox create --help`"));
    }
    let number = |number: usize| mailboxes(i64::try_from(number).unwrap_or(i64::MAX));
    if failed > 0 {
        return Err(refused(
            &format!("{} of {} did not pass the test", number(failed), ended.len() + skipped.len()),
            "do what stands beside each, then test again",
        ));
    }
    if !context.json {
        context.say(&format!("\n{} tested and enabled.\n", number(ended.len())));
    }
    Ok(())
}

/// Follows the tests of all mailboxes of a profile, which are one job. Fails when one of them does.
pub(super) async fn tests_of_a_profile(context: &Context<'_>, job: &str) -> Result<(), Failure> {
    let ended = one(context, job).await?;
    if !context.json {
        let passed = Record(&ended).number("result.passed");
        context.say(&format!("\n{} tested and enabled.\n", mailboxes(passed)));
    }
    Ok(())
}

fn mailboxes(number: i64) -> String {
    count(number, "mailbox", "mailboxes")
}

/// Follows several jobs; returns them in the order they ended.
async fn all(context: &Context<'_>, jobs: &[Record<'_>]) -> Result<Vec<Value>, Failure> {
    let spinner = Spinner::new(context);
    let mut waiting: Vec<(String, String)> =
        jobs.iter().map(|job| (job.text("job"), job.text("name"))).collect();
    let mut ended = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        spinner.shows(format!("{} of {} tested", ended.len(), jobs.len()));
        let mut done = Vec::new();
        for (place, (id, name)) in waiting.iter().enumerate().take(AT_ONCE) {
            let job = context.api.get(&["jobs", id], &[]).await?;
            if has_ended(Record(&job)) {
                if !context.json {
                    spinner.say(context, &summary(context, name, Record(&job)));
                }
                ended.push(job);
                done.push(place);
            }
        }
        for place in done.iter().rev() {
            waiting.remove(*place);
        }
        // Those that were not looked at come first the next time.
        let looked = waiting.len().min(AT_ONCE - done.len().min(AT_ONCE));
        waiting.rotate_left(looked);
        if done.is_empty() {
            tokio::time::sleep(LOOK).await;
        }
    }
    Ok(ended)
}

/// One mailbox's line, with what did not work under it.
fn summary(context: &Context<'_>, name: &str, job: Record<'_>) -> String {
    let outcome = if judged(job).is_ok() { "ok" } else { "failed" };
    let first = marked(context, outcome, &format!("{name}: {}\n", said_of(job)));
    let failed = job.list("steps").into_iter().filter(|step| step.text("outcome") == "failed");
    let failed =
        failed.map(|step| format!("        {}: {}\n", step.text("name"), indented(&step.text("detail"))));
    std::iter::once(first).chain(failed).collect()
}

/// Prints the steps that have ended since; how many there were.
fn print_steps(context: &Context<'_>, spinner: &Spinner, job: Record<'_>, printed: usize) -> usize {
    let ended =
        job.list("steps").into_iter().skip(printed).take_while(|step| step.text("outcome") != "running");
    let mut number = 0;
    for step in ended {
        let mut line = step.text("name");
        if let Some(detail) = step.filled("detail") {
            line.push_str(": ");
            line.push_str(&indented(&detail));
        }
        spinner.say(context, &marked(context, &step.text("outcome"), &format!("{line}\n")));
        number += 1;
    }
    number
}

fn marked(context: &Context<'_>, outcome: &str, text: &str) -> String {
    let mark = match outcome {
        "ok" => "ok  ",
        "failed" => "FAIL",
        _ => "-   ",
    };
    format!("  {}  {text}", context.look.text(mark, Tone::of(outcome)))
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n        ")
}

fn under_way(job: Record<'_>) -> String {
    let running = job.list("steps").into_iter().rev().find(|step| step.text("outcome") == "running");
    match (running, job.text("state").as_str()) {
        (Some(step), _) => step.text("name"),
        (None, "waiting") if job.flag("held") => format!("waiting for the job {}", job.text("after")),
        (None, "waiting" | "queued") => "waiting for the job service".to_owned(),
        (None, state) => words(state),
    }
}

fn has_ended(job: Record<'_>) -> bool {
    matches!(job.text("state").as_str(), "succeeded" | "failed" | "canceled")
}

/// What came of a job, or its state when it does not say.
fn said_of(job: Record<'_>) -> String {
    Some(came_of(job)).filter(|text| !text.is_empty()).unwrap_or_else(|| words(&job.text("state")))
}

fn judged(job: Record<'_>) -> Result<(), Failure> {
    if job.text("state") == "succeeded" {
        return Ok(());
    }
    let remedy = job.filled("result.remedy").unwrap_or_else(|| match job.text("state").as_str() {
        "canceled" => "start it again when it is wanted".to_owned(),
        _ => "do what stands beside the steps that failed, then try again".to_owned(),
    });
    Err(refused(&format!("the job did not succeed: {}", said_of(job)), &remedy))
}
