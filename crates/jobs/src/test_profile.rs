//! Test and enable every mailbox of a profile: starts a job for each, a page of mailboxes per transaction, then waits until
//! they have ended and counts. It keeps no slot while it waits.

use std::time::Duration;

use model::id::MailboxId;
use model::job::{JobKind, Step, StepOutcome, TestAndEnable, TestProfile};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use store::job::{self, Children, NewJob};
use store::mailbox::{self, MailboxFilter};

use crate::batches::{Turn, kept, resumed};
use crate::handler::{Context, Outcome};

/// Mailboxes of a batch.
const PAGE: i64 = 100;
/// How often a mailbox's test may be tried when one of our own parts is away.
const TRIES: u32 = 3;
/// When it is looked again whether all have ended.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// Mailboxes that are named with what went wrong; the others are counted.
const NAMED: usize = 100;

/// How far it came.
#[derive(Default, Serialize, Deserialize)]
struct Cursor {
    after: Option<MailboxId>,
    all_started: bool,
    started: i64,
    not_started: i64,
    /// Why the first of those were not started.
    obstacles: Vec<Step>,
}

pub(crate) async fn run(
    context: &Context<'_>,
    payload: &Value,
    cursor: Option<&Value>,
) -> store::Result<Outcome> {
    let Ok(TestProfile { profile }) = serde_json::from_value(payload.clone()) else {
        let error = json!({"error": "the job names no profile", "remedy": "start the test again"});
        return Ok(Outcome::Failed(error));
    };
    let mut cursor: Cursor = resumed(cursor)?;
    let (turn, by) = (Turn::begin(), context.author());
    while !cursor.all_started {
        if turn.is_over(context) {
            return Ok(Outcome::Snooze(Duration::ZERO));
        }
        let tenant = context.store().tenant(context.organization).await?;
        let filter = MailboxFilter { profile: Some(profile), ..MailboxFilter::default() };
        let page = mailbox::list(&tenant, &filter, cursor.after, PAGE).await?;
        let mut jobs = Vec::with_capacity(page.len());
        for mailbox in &page {
            if let Some((cause, remedy)) = mailbox.test_obstacle() {
                cursor.not_started += 1;
                if cursor.obstacles.len() < NAMED {
                    cursor.obstacles.push(failed(&mailbox.name, &format!("{cause}; {remedy}")));
                }
            } else {
                cursor.started += 1;
                let payload = json!(TestAndEnable { mailbox: mailbox.id, force: false });
                jobs.push(NewJob { kind: JobKind::TestAndEnable, payload, max_attempts: TRIES, after: None });
            }
        }
        cursor.all_started = page.last().is_none();
        cursor.after = page.last().map(|mailbox| mailbox.id).or(cursor.after);
        // First, because it fails when the job was withdrawn.
        job::go_on(&tenant, context.claim, &kept(&cursor)?, &cursor.steps(Children::default())).await?;
        job::create_all(&tenant, context.claim.job, &jobs, &by).await?;
        tenant.commit().await?;
    }
    if cursor.started + cursor.not_started == 0 {
        let error =
            json!({"error": "the profile has no mailbox", "remedy": "make one, then start the test again"});
        return Ok(Outcome::Failed(error));
    }
    let tenant = context.store().tenant(context.organization).await?;
    let children = job::children(&tenant, context.claim.job).await?;
    let mut steps = cursor.steps(children);
    if children.under_way == 0 {
        let most = i64::try_from(NAMED).unwrap_or(i64::MAX);
        for unhappy in job::unhappy(&tenant, context.claim.job, most).await? {
            let id = unhappy.payload.get("mailbox").and_then(Value::as_str).and_then(|id| id.parse().ok());
            let named = match id {
                Some(id) => mailbox::get(&tenant, id).await?.map(|mailbox| mailbox.name),
                None => None,
            };
            let why = format!("did not pass: see `lockstep job show {}`", unhappy.id);
            steps.push(failed(named.as_deref().unwrap_or("a mailbox that is gone"), &why));
        }
    }
    job::go_on(&tenant, context.claim, &kept(&cursor)?, &steps).await?;
    tenant.commit().await?;
    if children.under_way > 0 {
        return Ok(Outcome::Snooze(LOOK_AGAIN));
    }
    let failed = children.failed + cursor.not_started;
    let mut result =
        json!({"passed": children.succeeded, "failed": children.failed, "not_started": cursor.not_started});
    if failed == 0 {
        return Ok(Outcome::Succeeded(result));
    }
    let of = children.succeeded + failed;
    result["error"] = json!(format!("{failed} of {of} mailboxes did not pass the test"));
    result["remedy"] = json!("do what stands beside each, then test again");
    Ok(Outcome::Failed(result))
}

impl Cursor {
    /// What a person follows: how many were started, those that could not be, and how many have ended.
    fn steps(&self, children: Children) -> Vec<Step> {
        let outcome = if self.all_started { StepOutcome::Ok } else { StepOutcome::Running };
        let detail = format!("{} started, {} not", self.started, self.not_started);
        let mut steps = vec![Step { name: "start the tests".to_owned(), outcome, detail }];
        if !self.all_started {
            return steps;
        }
        steps.extend(self.obstacles.iter().cloned());
        let outcome = match children {
            Children { under_way: 1.., .. } => StepOutcome::Running,
            Children { failed: 0, .. } => StepOutcome::Ok,
            Children { .. } => StepOutcome::Failed,
        };
        let ended = children.succeeded + children.failed;
        let detail = format!("{ended} of {} ended, {} passed", self.started, children.succeeded);
        steps.push(Step { name: "tests".to_owned(), outcome, detail });
        steps
    }
}

fn failed(name: &str, detail: &str) -> Step {
    Step { name: name.to_owned(), outcome: StepOutcome::Failed, detail: detail.to_owned() }
}
