//! `lockstep schedule …`: jobs that are asked for by the clock, and when the next one is.

use clap::Subcommand;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Extent;
use super::context::Context;
use super::job::Wanted;
use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::table::{Tone, cell, plain, words};

pub(super) const EXAMPLES: &str = "Examples:
  lockstep schedule create nightly test_profile --profile Mail --cron \"30 2 * * *\" --zone Europe/Rome
  lockstep schedule create \"new key\" key_rotation --at 2026-05-01T22:00:00Z
  lockstep schedule list
  lockstep schedule pause clean-up
  lockstep job list --schedule clean-up

Each time asks for one job. A time that comes while the job of an earlier one has not ended asks
for no other, and of the times that passed while nothing ran one is made up for. Every
organization begins with `clean-up`.";

/// What can be done with schedules.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a schedule: its jobs are asked for by themselves.
    Create {
        /// Its name, unique in the organization.
        name: String,
        #[command(flatten)]
        wanted: Wanted,
        /// Minute, hour, day of the month, month and day of the week, such as `30 3 * * 1-5`; or `@hourly`, `@daily`,
        /// `@weekly`, `@monthly`.
        #[arg(long, required_unless_present = "at", conflicts_with = "at")]
        cron: Option<String>,
        /// The time zone that --cron is read in, such as Europe/Berlin; UTC when left out.
        #[arg(long, requires = "cron")]
        zone: Option<String>,
        /// Once, at this time, such as 2026-05-01T22:00:00Z.
        #[arg(long)]
        at: Option<Timestamp>,
    },
    /// List the schedules with their next times, the newest first.
    List {
        #[command(flatten)]
        extent: Extent,
    },
    /// Show one schedule with its next time and its last job.
    Show {
        /// The name or id.
        schedule: String,
    },
    /// Ask for nothing until it is resumed; what it has asked for goes on.
    Pause {
        /// The name or id.
        schedule: String,
    },
    /// Go on with the next time; those that passed meanwhile are not made up for.
    Resume {
        /// The name or id.
        schedule: String,
    },
    /// Remove a schedule; the jobs that it asked for stay.
    Delete {
        /// The name or id.
        schedule: String,
    },
}

pub(super) async fn run(context: &Context<'_>, command: Command) -> Result<(), Failure> {
    let api = context.api;
    match command {
        Command::Create { name, wanted, cron, zone, at } => {
            let mut body = wanted.body(context).await?;
            body["name"] = json!(name);
            body["cron"] = json!(cron);
            body["zone"] = json!(zone);
            body["at"] = json!(at);
            let schedule = api.post(&["schedules"], &body).await?;
            context.show(&schedule, |schedule| shown(context, schedule));
        }
        Command::List { extent } => {
            let page = api.list(&["schedules"], &[], extent.most()).await?;
            let columns = ["name", "does", "when", "next", "last", "id"];
            let empty = "There are no schedules. Make one: `lockstep schedule create --help`";
            context.list(&page, &columns, empty, |schedule| {
                vec![
                    cell(schedule.text("name"), Tone::Loud),
                    plain(words(&schedule.text("kind"))),
                    plain(times(schedule)),
                    plain(next(context, schedule)),
                    plain(context.ago(schedule.time("last_at"))),
                    cell(schedule.text("id"), Tone::Quiet),
                ]
            });
        }
        Command::Show { schedule } => {
            let id = api.id(Noun::Schedule, &schedule).await?;
            let schedule = api.get(&["schedules", &id], &[]).await?;
            context.show(&schedule, |schedule| shown(context, schedule));
        }
        Command::Pause { schedule } => set(context, &schedule, "pause").await?,
        Command::Resume { schedule } => set(context, &schedule, "resume").await?,
        Command::Delete { schedule } => {
            let id = api.id(Noun::Schedule, &schedule).await?;
            let answer = api.remove(&["schedules", &id]).await?;
            context.show(&answer, |_| format!("Removed {schedule}; the jobs that it asked for stay."));
        }
    }
    Ok(())
}

async fn set(context: &Context<'_>, schedule: &str, verb: &str) -> Result<(), Failure> {
    let id = context.api.id(Noun::Schedule, schedule).await?;
    let schedule = context.api.post(&["schedules", &id, verb], &Value::Null).await?;
    context.show(&schedule, |schedule| shown(context, schedule));
    Ok(())
}

fn times(schedule: Record<'_>) -> String {
    match schedule.filled("cron") {
        Some(cron) => format!("{cron} ({})", schedule.text("zone")),
        None => format!("once, {}", schedule.text("at")),
    }
}

fn next(context: &Context<'_>, schedule: Record<'_>) -> String {
    if schedule.flag("paused") { "paused".to_owned() } else { context.when(schedule.time("next_at")) }
}

fn shown(context: &Context<'_>, schedule: Record<'_>) -> String {
    let facts = context.look.facts([
        ("does", plain(words(&schedule.text("kind")))),
        ("to", plain(schedule.at("payload").map_or_else(String::new, Value::to_string))),
        ("when", plain(times(schedule))),
        ("next", plain(next(context, schedule))),
        ("last", plain(context.when(schedule.time("last_at")))),
        ("last job", plain(schedule.text("last_job"))),
        ("made", plain(context.when(schedule.time("created_at")))),
        ("by", plain(schedule.text("created_by"))),
        ("id", cell(schedule.text("id"), Tone::Quiet)),
    ]);
    context.described(&schedule.text("name"), &facts)
}
