//! `lockstep mailbox test`: starts the jobs, and follows them.

use serde_json::{Value, json};

use crate::client::{Noun, Record};
use crate::command::Failure;
use crate::command::administer::context::Context;
use crate::command::administer::follow;
use crate::table::count;

/// The ids of several mailboxes, each called by its address or id.
pub(super) async fn ids(context: &Context<'_>, called: &[String]) -> Result<Vec<String>, Failure> {
    let mut ids = Vec::with_capacity(called.len());
    for called in called {
        ids.push(context.api.id(Noun::Mailbox, called).await?);
    }
    Ok(ids)
}

/// Tests and enables these mailboxes.
pub(in crate::command::administer) async fn test(
    context: &Context<'_>,
    ids: &[String],
    force: bool,
    wait: bool,
) -> Result<(), Failure> {
    let started = match ids {
        // Of one alone the API says as an error what stands in its way.
        [id] if !force => context.api.post(&["mailboxes", id, "test"], &Value::Null).await?,
        ids => {
            let body = json!({"mailboxes": ids, "force": force});
            context.api.post(&["mailboxes", "test"], &body).await?
        }
    };
    followed(context, &started, wait).await
}

/// Tests and enables all mailboxes of a profile.
pub(in crate::command::administer) async fn test_profile(
    context: &Context<'_>,
    id: &str,
    wait: bool,
) -> Result<(), Failure> {
    let job = context.api.post(&["profiles", id, "test"], &Value::Null).await?;
    let job_id = Record(&job).text("id");
    if wait {
        return follow::tests_of_a_profile(context, &job_id).await;
    }
    context.show(&job, |_| {
        format!("Started the tests of all its mailboxes. Follow them: lockstep job wait {job_id}")
    });
    Ok(())
}

async fn followed(context: &Context<'_>, started: &Value, wait: bool) -> Result<(), Failure> {
    if wait {
        return follow::tests(context, started).await;
    }
    context.show(started, |started| {
        let jobs = started.list("jobs");
        let number = i64::try_from(jobs.len()).unwrap_or_default();
        let first = format!("Started {}.\n", count(number, "test", "tests"));
        let jobs =
            jobs.iter().map(|job| format!("  {}: lockstep job wait {}\n", job.text("name"), job.text("job")));
        let skipped = started.list("skipped").into_iter().map(skipped_line);
        std::iter::once(first).chain(jobs).chain(skipped).collect()
    });
    Ok(())
}

fn skipped_line(skipped: Record<'_>) -> String {
    format!(
        "  {} was not started: {}\n    what to do: {}\n",
        skipped.text("name"),
        skipped.text("cause"),
        skipped.text("remedy")
    )
}
