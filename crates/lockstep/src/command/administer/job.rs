//! `lockstep job …`: operations that run in the background, and how far they are.

use clap::{Args, Subcommand};
use comfy_table::Cell;
use model::email::Decision;
use model::job::{JobKind, JobState};
use serde_json::{Value, json};

use super::Extent;
use super::context::Context;
use super::follow;
use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::table::{self, Tone, cell, plain, state, words};

pub(super) const EXAMPLES: &str = "Examples:
  lockstep job list --state failed
  lockstep job show 0198c2f4-…
  lockstep job retry 0198c2f4-… --wait
  lockstep job start test_profile --profile \"Company mail\"
  lockstep job start clean_up --after 0198c2f4-…
  lockstep job rotate-keys --wait

`lockstep schedule` asks for jobs by the clock.";

/// What a job does, and to what.
#[derive(Debug, Args)]
pub struct Wanted {
    /// What it does: `test_and_enable`, `test_profile`, `re_examine`, `key_rotation` or `clean_up`.
    kind: JobKind,
    /// The profile, by name or id: of `test_profile`, or whose mailboxes `re_examine` is about.
    #[arg(long)]
    profile: Option<String>,
    /// The mailbox of `test_and_enable`, by address or id.
    #[arg(long, conflicts_with = "profile")]
    mailbox: Option<String>,
    /// Of `re_examine`: only messages with this decision. May be repeated.
    #[arg(long = "decision", value_name = "DECISION")]
    decisions: Vec<Decision>,
}

impl Wanted {
    /// The fields of the request that say it.
    pub(super) async fn body(&self, context: &Context<'_>) -> Result<Value, Failure> {
        let mut payload = json!({});
        if let Some(profile) = &self.profile {
            payload["profile"] = json!(context.api.id(Noun::Profile, profile).await?);
        }
        if let Some(mailbox) = &self.mailbox {
            payload["mailbox"] = json!(context.api.id(Noun::Mailbox, mailbox).await?);
        }
        if !self.decisions.is_empty() {
            payload["decisions"] = json!(self.decisions);
        }
        Ok(json!({"kind": self.kind, "payload": payload}))
    }
}

/// What can be done with jobs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the jobs, the newest first.
    List {
        /// Of this kind: `test_and_enable`, `test_profile`, `re_examine`, `key_rotation` or `clean_up`.
        #[arg(long)]
        kind: Option<JobKind>,
        /// In this state: waiting, queued, running, succeeded, failed or canceled.
        #[arg(long)]
        state: Option<JobState>,
        /// That this schedule asked for, by name or id.
        #[arg(long)]
        schedule: Option<String>,
        #[command(flatten)]
        extent: Extent,
    },
    /// Show one job with its steps.
    Show {
        /// The job's id.
        job: String,
    },
    /// Start a job.
    Start {
        #[command(flatten)]
        wanted: Wanted,
        /// Wait for this job first; when it does not succeed, the new one fails with the reason.
        #[arg(long, value_name = "JOB")]
        after: Option<String>,
        /// Wait for its end; fails when the job does.
        #[arg(long)]
        wait: bool,
    },
    /// Withdraw a job; one that runs stops at its next step.
    Cancel {
        /// The job's id.
        job: String,
    },
    /// Ask again for a job that failed or was canceled: it begins anew.
    Retry {
        /// The job's id.
        job: String,
        /// Wait for its end; fails when the job does.
        #[arg(long)]
        wait: bool,
    },
    /// Seal every secret of the organization again with the active key of the ring.
    ///
    /// To change the key: add the new key at the end of the ring (`secrets.key_ring`) of every process, so that all of them
    /// can open what it seals; then move it to the front everywhere, which makes it the active one; then run this for each
    /// organization. When every job has succeeded nothing needs the old key any more, and it can be taken out of the ring.
    RotateKeys {
        /// Wait for its end; fails when the job does.
        #[arg(long)]
        wait: bool,
    },
    /// Print a job's steps as they come, until it ends; fails when the job does.
    Wait {
        /// The job's id.
        job: String,
    },
}

pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let api = context.api;
    match command {
        Command::List { kind, state, schedule, extent } => {
            let mut query: Vec<_> = kind.map(|kind| ("kind", kind.to_string())).into_iter().collect();
            query.extend(state.map(|state| ("state", state.to_string())));
            if let Some(schedule) = schedule {
                query.push(("schedule", api.id(Noun::Schedule, &schedule).await?));
            }
            let page = api.list(&["jobs"], &query, extent.most()).await?;
            let empty = "There are no jobs. `lockstep mailbox test` starts one.";
            context.list(&page, &["what", "state", "asked for", "ended", "came of it", "id"], empty, |job| {
                row(context, job)
            });
        }
        Command::Show { job } => {
            let job = api.get(&["jobs", &job], &[]).await?;
            context.show(&job, |job| shown(context, job));
        }
        Command::Cancel { job } => {
            let job = api.post(&["jobs", &job, "cancel"], &Value::Null).await?;
            context.show(&job, |job| shown(context, job));
        }
        Command::Start { wanted, after, wait } => {
            let mut body = wanted.body(context).await?;
            if let Some(after) = after {
                body["after"] = json!(after);
            }
            let job = api.post(&["jobs"], &body).await?;
            ended(context, job, wait).await?;
        }
        Command::Retry { job, wait } => {
            let job = api.post(&["jobs", &job, "retry"], &Value::Null).await?;
            ended(context, job, wait).await?;
        }
        Command::RotateKeys { wait } => {
            let job = api.post(&["jobs"], &json!({"kind": JobKind::KeyRotation})).await?;
            ended(context, job, wait).await?;
        }
        Command::Wait { job } => drop(follow::one(context, &job).await?),
    }
    Ok(())
}

/// Shows a job that was asked for; at its end when that is waited for.
async fn ended(context: &Context<'_>, mut job: Value, wait: bool) -> Result<(), Failure> {
    if wait {
        let id = Record(&job).text("id");
        follow::one(context, &id).await?;
        job = context.api.get(&["jobs", &id], &[]).await?;
    }
    // As a document its end was printed.
    if !(wait && context.json) {
        context.show(&job, |job| shown(context, job));
    }
    Ok(())
}

fn row(context: &Context<'_>, job: Record<'_>) -> Vec<Cell> {
    vec![
        plain(words(&job.text("kind"))),
        state(&job.text("state")),
        plain(context.ago(job.time("created_at"))),
        plain(context.ago(job.time("ended_at"))),
        plain(came_of(job)),
        cell(job.text("id"), Tone::Quiet),
    ]
}

/// When it is tried; of what waits for another job nobody knows.
fn due(context: &Context<'_>, job: Record<'_>) -> String {
    let due = job.time("due_at").filter(|_| job.text("state") == "waiting" && !job.flag("held"));
    due.map_or_else(String::new, |due| context.when(Some(due)))
}

/// What came of a job, in a few words.
pub(super) fn came_of(job: Record<'_>) -> String {
    if let Some(error) = job.filled("result.error") {
        return error;
    }
    if let Some(resealed) = job.at("result.resealed").and_then(Value::as_u64) {
        let number = i64::try_from(resealed).unwrap_or(i64::MAX);
        return format!("{} sealed again", table::count(number, "secret", "secrets"));
    }
    if let Some(Value::Object(removed)) = job.at("result.removed") {
        let numbers = removed.iter().filter(|(_, number)| number.as_u64() != Some(0));
        let said: Vec<_> = numbers.map(|(what, number)| format!("{number} {what}")).collect();
        return if said.is_empty() {
            "nothing was old".to_owned()
        } else {
            format!("removed {}", said.join(", "))
        };
    }
    let listed = |path: &str| {
        job.list(path).iter().filter_map(|item| item.0.as_str()).collect::<Vec<_>>().join(" and ")
    };
    let enabled = listed("result.enabled");
    let not_enabled = listed("result.not_enabled");
    match (enabled.is_empty(), not_enabled.is_empty()) {
        (true, true) => String::new(),
        (false, true) => format!("enabled {enabled}"),
        (true, false) => format!("not enabled: {not_enabled}"),
        (false, false) => format!("enabled {enabled}; not enabled: {not_enabled}"),
    }
}

fn shown(context: &Context<'_>, job: Record<'_>) -> String {
    let facts = context.look.facts([
        ("state", state(&job.text("state"))),
        ("came of it", plain(came_of(job))),
        ("what to do", cell(job.text("result.remedy"), Tone::Loud)),
        ("of", plain(job.at("payload").map_or_else(String::new, Value::to_string))),
        ("asked for", plain(context.when(job.time("created_at")))),
        ("by", plain(job.text("created_by"))),
        ("tries", plain(format!("{} of {}", job.text("attempts"), job.text("max_attempts")))),
        ("last failure", plain(job.text("last_error"))),
        ("waits for", plain(if job.flag("held") { job.text("after") } else { String::new() })),
        ("due", plain(due(context, job))),
        ("schedule", plain(job.text("schedule"))),
        ("ended", plain(context.when(job.time("ended_at")))),
        ("id", cell(job.text("id"), Tone::Quiet)),
    ]);
    let mut text = context.described(&words(&job.text("kind")), &facts);
    let steps = job.list("steps");
    if !steps.is_empty() {
        let mut table = context.look.table(&["step", "outcome", "what was found"]);
        for step in steps {
            table.add_row([
                plain(step.text("name")),
                state(&step.text("outcome")),
                plain(step.text("detail")),
            ]);
        }
        text.push('\n');
        text.push_str(&table::drawn(&table));
    }
    text
}
