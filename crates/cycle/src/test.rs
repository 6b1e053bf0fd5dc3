//! Test and enable's test: really signs in, and asks the server everything that a cycle will need, without changing
//! anything there.

mod exchange;

use mail::pop3::Expire;
use mail::{pop3, smtp};
use model::address::EmailAddress;
use model::alert::AlertKind;
use model::failure::{Failure, FailureScope};
use model::id::InstallationId;
use model::job::{Step, StepOutcome};
use model::profile::ProfileKind;
use model::workload::Workload;
use serde_json::json;
use store::change::Author;
use store::mailbox::{MailboxForCycle, Service};

use crate::Mail;
use crate::access::{Access, Keeper, NoAccess};
use crate::failure::{Explained, explained};
use crate::search::{search, sought};

/// What a test of one workload found.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Line by line, what was done and what was seen.
    pub steps: Vec<Step>,
    /// What went wrong, when something did.
    pub failed: Option<Explained>,
    /// Whose mark was replaced at the server.
    pub taken_from: Option<String>,
}

/// In whose name a mailbox is taken into use, where its server can keep a mark of it.
#[derive(Clone, Copy, Debug)]
pub struct Taking {
    /// The installation that will synchronize it.
    pub installation: InstallationId,
    /// Whether another's mark is replaced.
    pub force: bool,
}

impl Finding {
    /// What a person reads in the mailbox's test result: the last thing that was seen.
    pub fn said(&self) -> String {
        self.steps
            .iter()
            .rev()
            .find(|step| !step.detail.is_empty())
            .map(|step| step.detail.clone())
            .unwrap_or_default()
    }

    /// Says first where the server was found.
    pub fn begin_with(&mut self, service: &Service) {
        let detail = format!("{} says that the web services are at {}", service.told_by, service.url());
        let step = Step { name: "autodiscover".to_owned(), outcome: StepOutcome::Ok, detail };
        self.steps.insert(0, step);
    }

    fn ok(&mut self, name: &str, detail: impl Into<String>) {
        self.steps.push(Step { name: name.to_owned(), outcome: StepOutcome::Ok, detail: detail.into() });
    }

    fn fail(&mut self, name: &str, found: Explained) {
        let (happened, remedy) = found.failure.alert.sentences(&found.parameters);
        let said =
            found.failure.said.as_ref().map(|said| format!(" The server said: {said}")).unwrap_or_default();
        self.steps.push(Step {
            name: name.to_owned(),
            outcome: StepOutcome::Failed,
            detail: format!("{happened} {remedy}{said}"),
        });
        self.failed = Some(found);
    }
}

/// Tests the workload that `mailbox` was read for, under a lease that the caller holds. A token that is refused is renewed
/// once, as a cycle does.
pub async fn test(
    keeper: &Keeper<'_>,
    mailbox: &MailboxForCycle,
    taking: Taking,
    by: &Author,
) -> Result<Finding, NoAccess> {
    let mut finding = Finding { steps: Vec::new(), failed: None, taken_from: None };
    let access = match keeper.access(mailbox, None, by).await {
        Ok(access) => access,
        Err(why) => return without_access(why, mailbox, finding),
    };
    let mut tried = conversation(keeper, mailbox, &access, taking, &mut finding).await;
    if let Err(error) = &tried
        && Keeper::may_renew(&access, error)
    {
        match keeper.access(mailbox, Some(&access), by).await {
            Ok(renewed) => tried = conversation(keeper, mailbox, &renewed, taking, &mut finding).await,
            Err(why) => return without_access(why, mailbox, finding),
        }
    }
    if let Err(error) = tried {
        let mut found = explained(&error, mailbox.endpoint());
        if found.failure.alert == AlertKind::CredentialsRefused {
            // Asked once, and nothing is switched off by it.
            found.failure.alert = AlertKind::SignInRefused;
        }
        finding.fail(&error.phase().as_str().replace('_', " "), found);
    }
    Ok(finding)
}

/// Looks for the server of a mailbox before it is tested, under a lease for [`crate::sought`]. What was looked for in vain is
/// what the test found.
pub async fn find(
    keeper: &Keeper<'_>,
    mailbox: &MailboxForCycle,
    by: &Author,
) -> Result<Result<Service, Finding>, NoAccess> {
    let mut finding = Finding { steps: Vec::new(), failed: None, taken_from: None };
    match search(keeper, mailbox, by).await {
        Ok(Ok(service)) => Ok(Ok(service)),
        Ok(Err(unfound)) => {
            finding.fail("autodiscover", unfound.explained);
            Ok(Err(finding))
        }
        Err(why) => without_access(why, &sought(mailbox), finding).map(Err),
    }
}

/// What a person must do about it is a finding; what passes is not.
fn without_access(
    why: NoAccess,
    mailbox: &MailboxForCycle,
    mut finding: Finding,
) -> Result<Finding, NoAccess> {
    let alert = match why {
        NoAccess::ConsentNeeded => AlertKind::ConsentNeeded,
        NoAccess::Refused => AlertKind::TokenRefused,
        NoAccess::Missing => AlertKind::CredentialsMissing,
        other => return Err(other),
    };
    let failure = Failure { scope: FailureScope::Credential, alert, said: None, retry_after: None };
    let endpoint = mailbox.endpoint().key();
    let parameters =
        json!({"endpoint": endpoint, "token_server": "of the profile", "reason": "its alert says why"});
    finding.fail("token", Explained { failure, parameters });
    Ok(finding)
}

async fn conversation(
    keeper: &Keeper<'_>,
    mailbox: &MailboxForCycle,
    access: &Access,
    taking: Taking,
    finding: &mut Finding,
) -> Result<(), mail::Error> {
    let mail = keeper.mail;
    if mailbox.server.kind == ProfileKind::ExchangeEws {
        return exchange::conversation(keeper, mailbox, access, taking, finding).await;
    }
    match mailbox.workload {
        Workload::Incoming => incoming(mail, mailbox, access, finding).await,
        Workload::Outgoing => outgoing(mail, mailbox, access, finding).await,
        Workload::Act => Ok(()),
    }
}

async fn incoming(
    mail: &Mail,
    mailbox: &MailboxForCycle,
    access: &Access,
    finding: &mut Finding,
) -> Result<(), mail::Error> {
    let endpoint = &mailbox.server.incoming;
    let settings = mail.transport(mailbox)?;
    let mut session =
        pop3::Session::sign_in(endpoint, &settings, mail.pop3_limits(), &access.login, access.proof())
            .await?;
    finding.ok("sign in", format!("signed in at {endpoint} over verified TLS"));
    let listed = session.list().await?;
    finding.ok("list", format!("the mailbox has {} messages, each with a lasting name (UIDL)", listed.len()));
    // What the server does with mail after it was read belongs to what a person should know before it is.
    if let Some(Expire::Days(days)) = session.capabilities().expire {
        finding.ok("keeps mail", kept_for(days, mailbox.delete_after_processing));
    }
    session.quit().await?;
    Ok(())
}

/// What a server that keeps mail for so many days (RFC 2449 section 6.7) does to this mailbox.
fn kept_for(days: u32, deletes: bool) -> String {
    match (days, deletes) {
        (0, true) => "the server deletes what was read as soon as a session ends (EXPIRE 0); Lockstep ends one only \
                      when all of that is recorded"
            .to_owned(),
        (0, false) => "warning: the server wants to delete what was read as soon as a session ends (EXPIRE 0). \
                       Lockstep leaves each session without ending it, which changes nothing there; but other mail \
                       programs will find mail gone. Ask whoever runs the server to keep mail."
            .to_owned(),
        (days, _) => format!("warning: the server deletes every message after {days} days (EXPIRE {days})"),
    }
}

async fn outgoing(
    mail: &Mail,
    mailbox: &MailboxForCycle,
    access: &Access,
    finding: &mut Finding,
) -> Result<(), mail::Error> {
    let endpoint = &mailbox.server.outgoing;
    let settings = mail.smtp(mailbox)?;
    let mut session = smtp::Session::open(endpoint, &settings, &access.login, access.proof()).await?;
    finding.ok("sign in", format!("signed in at {endpoint} over verified TLS"));
    let refused = |reason: &str, said: Option<String>| Explained {
        failure: Failure {
            scope: FailureScope::Mailbox,
            alert: AlertKind::MessageRefused,
            said,
            retry_after: None,
        },
        parameters: json!({"endpoint": endpoint.key(), "reason": reason}),
    };
    let Ok(address) = mailbox.address.parse::<EmailAddress>() else {
        finding.fail("sender", refused("the mailbox's address cannot be said in SMTP", None));
        return Ok(());
    };
    let probe = session.probe(&address).await?;
    match probe.refusal() {
        None => finding
            .ok("send", "the server takes mail from and to the mailbox's own address; nothing was sent"),
        Some(reply) => {
            let found = refused(
                "it does not take mail from and to the mailbox's own address",
                Some(reply.to_string()),
            );
            finding.fail("send", found);
        }
    }
    session.quit().await;
    Ok(())
}
