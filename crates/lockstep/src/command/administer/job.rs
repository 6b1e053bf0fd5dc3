//! `lockstep job …`: operations that run in the background, and how far they are.

use clap::Subcommand;
use comfy_table::Cell;
use model::job::JobKind;
use serde_json::{Value, json};

use super::Extent;
use super::context::Context;
use super::follow;
use crate::client::Record;
use crate::command::Failure;
use crate::table::{self, Tone, cell, plain, state, words};

pub(super) const EXAMPLES: &str = "Examples:
  lockstep job list
  lockstep job show 0198c2f4-…
  lockstep job wait 0198c2f4-…
  lockstep job rotate-keys --wait";

/// What can be done with jobs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the jobs, the newest first.
    List {
        /// Of this kind: `test_and_enable` or `key_rotation`.
        #[arg(long)]
        kind: Option<JobKind>,
        #[command(flatten)]
        extent: Extent,
    },
    /// Show one job with its steps.
    Show {
        /// The job's id.
        job: String,
    },
    /// Withdraw a job; one that runs stops at its next step.
    Cancel {
        /// The job's id.
        job: String,
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
        Command::List { kind, extent } => {
            let query: Vec<_> = kind.map(|kind| ("kind", kind.to_string())).into_iter().collect();
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
        Command::RotateKeys { wait } => {
            let mut job = api.post(&["jobs"], &json!({"kind": JobKind::KeyRotation})).await?;
            if wait {
                let id = Record(&job).text("id");
                follow::one(context, &id).await?;
                job = api.get(&["jobs", &id], &[]).await?;
            }
            // It has no steps that would have been printed; as a document its end was.
            if !(wait && context.json) {
                context.show(&job, |job| shown(context, job));
            }
        }
        Command::Wait { job } => drop(follow::one(context, &job).await?),
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

/// What came of a job, in a few words.
pub(super) fn came_of(job: Record<'_>) -> String {
    if let Some(error) = job.filled("result.error") {
        return error;
    }
    if let Some(resealed) = job.at("result.resealed").and_then(Value::as_u64) {
        let number = i64::try_from(resealed).unwrap_or(i64::MAX);
        return format!("{} sealed again", table::count(number, "secret", "secrets"));
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
        ("tries", plain(job.text("attempts"))),
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
