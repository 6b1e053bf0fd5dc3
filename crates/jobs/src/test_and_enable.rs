//! Test and enable: signs in to both servers of a mailbox as a cycle would, writes down what was found, and switches
//! on what works. Only then does a workload become due.

mod search;

use std::time::Duration;

use cycle::access::{Keeper, NoAccess};
use cycle::{Finding, Taking, lease_request, test};
use jiff::Timestamp;
use model::alert::AlertKind;
use model::cadence::first_due;
use model::id::{CredentialId, MailboxId, ProfileId};
use model::job::{Step, StepOutcome, TestAndEnable};
use model::mailbox::{Approval, DeliveryMethod, TestResult};
use model::setting::EXPIRY_WARNING_DAYS;
use model::workload::{ServiceClass, Workload};
use serde_json::{Value, json};
use store::alert::{NewAlert, Subject};
use store::mailbox::MailboxForCycle;
use store::{Tenant, alert, credential, installation, job, mailbox, oauth, setting};
use throttle::Denied;

use crate::handler::{Context, Outcome};

/// What every workload is spread over when it is due first.
const FIRST_INTERVAL: Duration = Duration::from_secs(300);

/// The workloads that a test can say something about.
const TESTED: [Workload; 2] = [Workload::Incoming, Workload::Outgoing];

pub(crate) async fn run(context: &Context<'_>, payload: &Value) -> store::Result<Outcome> {
    let Ok(TestAndEnable { mailbox: id, force }) = serde_json::from_value(payload.clone()) else {
        return Ok(failed("the job names no mailbox", "start the test again"));
    };
    let ring = context.store().ring().await?;
    let installation = installation::get(&ring).await?;
    drop(ring);
    let Some(installation) = installation else {
        return Ok(failed("the database has no installation", "run `lockstep migrate`"));
    };
    let taking = Taking { installation, force };
    let mut steps = Vec::new();
    // A test finds the server anew, once for all that it tests.
    let mut anew = true;
    let (mut enabled, mut not_enabled) = (Vec::new(), Vec::new());
    for workload in TESTED {
        let Some(mut mailbox) = load(context, id, workload).await? else {
            return Ok(failed("the mailbox is gone", "nothing needs to be done"));
        };
        if let Some(obstacle) = obstacle(&mailbox) {
            return Ok(failed(obstacle.0, obstacle.1));
        }
        if mailbox.method == DeliveryMethod::None {
            steps.push(step(workload, StepOutcome::Skipped, "its delivery method is `none`"));
            continue;
        }
        steps.push(step(workload, StepOutcome::Running, ""));
        context.progress(&steps).await?;
        steps.pop();
        let Tested { finding, with } = match found(context, &mut mailbox, taking, anew).await? {
            Ok(tested) => tested,
            Err(Denied::Refused { why }) => {
                let cause = format!("the coordinator does not count connections to this server: {why}");
                let remedy = "correct the limits on the profile, then start the test again; if they are right, run \
                              `lockstep doctor`";
                return Ok(failed(&cause, remedy));
            }
            Err(denied) => return Ok(Outcome::Snooze(denied.retry_after().unwrap_or(context.retry))),
        };
        anew = false;
        for found in &finding.steps {
            steps.push(Step { name: format!("{workload}: {}", found.name), ..found.clone() });
        }
        if !write(context, &mailbox, &finding, &with).await? {
            // What was tested is not what is stored by now: begin again, with that.
            return Ok(Outcome::Snooze(Duration::ZERO));
        }
        for ending in ending(context, &mailbox).await? {
            let name = format!("{workload}: ends soon");
            // One thing that both workloads need is told of once.
            if !steps.iter().any(|step: &Step| step.detail == ending) {
                steps.push(Step { name, outcome: StepOutcome::Ok, detail: ending });
            }
        }
        if finding.failed.is_none() {
            enabled.push(workload);
        } else {
            not_enabled.push(workload);
        }
        context.progress(&steps).await?;
    }
    let result = json!({"enabled": enabled, "not_enabled": not_enabled});
    Ok(if not_enabled.is_empty() { Outcome::Succeeded(result) } else { Outcome::Failed(result) })
}

/// What it signs in with that works today and soon will not.
async fn ending(context: &Context<'_>, mailbox: &MailboxForCycle) -> store::Result<Vec<String>> {
    let Some(credential) = mailbox.credential else { return Ok(Vec::new()) };
    let tenant = context.store().tenant(context.organization).await?;
    let days = setting::get(&tenant, EXPIRY_WARNING_DAYS).await?.value;
    let days = days.as_i64().and_then(|days| i32::try_from(days).ok()).unwrap_or_default();
    let ending = oauth::ending(&tenant, mailbox.profile, credential, days).await?;
    tenant.commit().await?;
    let told = |(what, at): (&str, Timestamp)| {
        let at = at.strftime("%Y-%m-%d %H:%M UTC").to_string();
        let (happened, remedy) = AlertKind::CredentialExpiresSoon.sentences(&json!({"what": what, "at": at}));
        format!("warning: {happened} {remedy}")
    };
    Ok(ending.into_iter().map(told).collect())
}

async fn load(
    context: &Context<'_>,
    id: MailboxId,
    workload: Workload,
) -> store::Result<Option<MailboxForCycle>> {
    context
        .store()
        .in_tenant(context.organization, async |tenant| mailbox::for_cycle(tenant, id, workload).await)
        .await
}

/// What stands in the way of any test, with the remedy.
fn obstacle(mailbox: &MailboxForCycle) -> Option<(&'static str, &'static str)> {
    if mailbox.approval != Approval::Approved {
        return Some(("the mailbox is not approved", "approve it first: `lockstep mailbox approve`"));
    }
    if mailbox.owner.is_none() {
        return Some(("nobody owns the mailbox", "map it to a user or a queue first"));
    }
    if mailbox.credential.is_none() {
        return Some((
            "nothing is stored to sign in with",
            "store a password with `lockstep mailbox set-password` (or on the profile when its credentials live there), or \
             ask for consent with `lockstep mailbox consent`",
        ));
    }
    None
}

/// What a test found, and what it signed in with.
struct Tested {
    finding: Finding,
    with: SignedIn,
}

/// Which secret a test is about.
#[derive(PartialEq, Eq)]
struct SignedIn {
    credential: CredentialId,
    stored_at: Option<Timestamp>,
    profile: ProfileId,
    profile_version: i64,
    login: String,
}

impl SignedIn {
    /// What a test of the mailbox would sign in with now.
    async fn now(tenant: &Tenant, mailbox: &MailboxForCycle) -> store::Result<Option<Self>> {
        let Some(credential) = mailbox.credential else { return Ok(None) };
        Ok(Some(Self {
            credential,
            stored_at: credential::stored_at(tenant, credential).await?,
            profile: mailbox.profile,
            profile_version: mailbox.server_version,
            login: mailbox.incoming_login.clone(),
        }))
    }
}

/// Tests under a lease of the jobs' own class: never one connection more than the server allows. A server that is looked for is
/// looked for `anew`, or where that was never done.
async fn found(
    context: &Context<'_>,
    mailbox: &mut MailboxForCycle,
    taking: Taking,
    anew: bool,
) -> store::Result<Result<Tested, Denied>> {
    let tenant = context.store().tenant(context.organization).await?;
    let with = SignedIn::now(&tenant, mailbox).await?;
    tenant.commit().await?;
    let Some(with) = with else { return Ok(Err(away(context))) };
    let mut found = None;
    if mailbox.must_be_sought() || (anew && mailbox.sought.is_some()) {
        match search::search(context, mailbox).await? {
            Ok(Ok(service)) => found = Some(service),
            Ok(Err(finding)) => return Ok(Ok(Tested { finding, with })),
            Err(denied) => return Ok(Err(denied)),
        }
    }
    let request = lease_request(&context.parts.mail, mailbox, ServiceClass::Jobs);
    let (mail, ends) = context.parts.mail.with_ends();
    let lease = match context.under.acquire(request, &ends).await {
        Ok(lease) => lease,
        Err(denied) => return Ok(Err(denied)),
    };
    let keeper = Keeper {
        store: context.store(),
        keys: &context.parts.keys,
        mail: &mail,
        organization: context.organization,
    };
    let by = context.author();
    let finding = tokio::select! {
        biased;
        () = lease.lost() => None,
        () = context.under.lost.cancelled() => None,
        // On the heap: whatever waits for it stays small.
        finding = Box::pin(test(&keeper, mailbox, taking, &by)) => Some(finding),
    };
    // What was found over a connection that was given up says nothing about the server.
    let finding = finding.filter(|_| !ends.is_silent());
    lease.release().await;
    match finding {
        Some(Ok(mut finding)) => {
            if let Some(service) = &found {
                finding.begin_with(service);
            }
            Ok(Ok(Tested { finding, with }))
        }
        Some(Err(NoAccess::Store(error))) => Err(error),
        Some(Err(_)) | None => Ok(Err(away(context))),
    }
}

fn away(context: &Context<'_>) -> Denied {
    Denied::Away { retry_after: context.retry }
}

/// The result, the alert and the switch, in one transaction. Writes nothing and says no when another secret was stored, or
/// another server or login was set, while the test was under way: it says nothing about those.
async fn write(
    context: &Context<'_>,
    mailbox: &MailboxForCycle,
    finding: &Finding,
    with: &SignedIn,
) -> store::Result<bool> {
    let by = context.author();
    let (id, workload) = (mailbox.id, mailbox.workload);
    let result = if finding.failed.is_some() { TestResult::Failure } else { TestResult::Success };
    let said = finding.said();
    let tenant = context.store().tenant(context.organization).await?;
    // Withdrawn while the server was asked, it enables nothing any more.
    job::fence(&tenant, context.claim).await?;
    // Holds the mailbox as well: from here on nobody changes it until this transaction ends.
    if let Some(from) = &finding.taken_from {
        mailbox::record_taking(&tenant, id, from, &by).await?;
    }
    mailbox::record_test(&tenant, id, workload, result, Some(&said), &by).await?;
    let now = match mailbox::for_cycle(&tenant, id, workload).await? {
        Some(now) => SignedIn::now(&tenant, &now).await?,
        None => None,
    };
    if now.as_ref() != Some(with) {
        return Ok(false);
    }
    if let Some(failed) = &finding.failed {
        let alert = NewAlert {
            kind: failed.failure.alert,
            subject: Subject::Mailbox(id),
            detail: workload.to_string(),
            parameters: failed.parameters.clone(),
            server_said: failed.failure.said.clone(),
        };
        alert::raise(&tenant, &alert).await?;
    } else {
        let delay = first_due(id, workload, FIRST_INTERVAL);
        mailbox::enable(&tenant, id, workload, delay, &by).await?;
        resolve(&tenant, mailbox).await?;
    }
    tenant.commit().await?;
    Ok(true)
}

/// What the mailbox was told before no longer holds.
async fn resolve(tenant: &Tenant, mailbox: &MailboxForCycle) -> store::Result<()> {
    let subject = Subject::Mailbox(mailbox.id);
    alert::resolve(tenant, AlertKind::ALL, subject, Some(mailbox.workload.as_str())).await?;
    Ok(())
}

fn step(workload: Workload, outcome: StepOutcome, detail: &str) -> Step {
    Step { name: workload.to_string(), outcome, detail: detail.to_owned() }
}

fn failed(cause: &str, remedy: &str) -> Outcome {
    Outcome::Failed(json!({"error": cause, "remedy": remedy}))
}
