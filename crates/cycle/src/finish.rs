//! The end of a cycle: one transaction that says when it is due again, what its server is worth, and what people must
//! know.

use std::time::Duration;

use mail::error::Phase;
use model::alert::AlertKind;
use model::cadence::{DueReason, History, Next, Outcome, SwitchOff, next};
use model::clock;
use model::crash::{self, Point};
use model::failure::{Failure, FailureScope};
use model::workload::Workload;
use serde_json::{Value, json};
use store::alert::{NewAlert, Subject};
use store::schedule::End;
use store::{Tenant, alert, health, mailbox, outgoing, profile, schedule};

use crate::ending::Ending;
use crate::failure::Explained;
use crate::start::Cycle;

/// Kinds that pass when the server is reached again.
const OF_THE_SERVER: &[AlertKind] = &[
    AlertKind::NameNotResolved,
    AlertKind::NetworkForbidden,
    AlertKind::ConnectionRefused,
    AlertKind::ConnectionTimedOut,
    AlertKind::ConnectionLost,
    AlertKind::CertificateNotTrusted,
    AlertKind::TlsMismatch,
    AlertKind::TlsNotOffered,
    AlertKind::ServerBusy,
    AlertKind::AutodiscoverFailed,
    // Said of the server when it greets nobody as it should, and of a mailbox when that happens later.
    AlertKind::ProtocolViolated,
    AlertKind::MailboxRefused,
];

/// Kinds that pass when a cycle of the mailbox works again.
const OF_THE_MAILBOX: &[AlertKind] = &[
    AlertKind::LockstepFault,
    AlertKind::CredentialsMissing,
    AlertKind::MessagesWithheld,
    AlertKind::MailboxLocked,
    AlertKind::UidlNotOffered,
    AlertKind::ImpersonationRefused,
    AlertKind::MailboxUnknown,
    AlertKind::MailboxNotLicensed,
    AlertKind::SignInRefused,
    AlertKind::AutodiscoverFailed,
    AlertKind::HostConsentNeeded,
];

/// A profile's server that refuses this many of its mailboxes, and this share of them, has a problem of its own
/// (design section 4).
const WIDE_REFUSAL: (i64, i64) = (5, 10);

/// How long our own parts may hold a workload back before a person is told.
const HELD_BACK: Duration = Duration::from_secs(300);

/// A sign-in that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The server says that it is the credentials.
    OfCredentials,
    /// The server says that it is its own trouble.
    ForNow,
}

impl Refusal {
    fn of(failure: &Failure, explained: Option<&Explained>) -> Option<Self> {
        let signing_in =
            explained.is_some_and(|explained| explained.parameters["phase"] == Phase::SignIn.as_str());
        match (failure.scope, failure.alert) {
            (FailureScope::Credential, AlertKind::CredentialsRefused) => Some(Self::OfCredentials),
            (FailureScope::Mailbox, AlertKind::ServerBusy) if signing_in => Some(Self::ForNow),
            _ => None,
        }
    }
}

impl Cycle {
    /// Ends the cycle. Fails as [`store::Error::Fenced`] when the claim is no longer ours: then there is nothing to
    /// end.
    #[tracing::instrument(name = "cycle.finish", skip_all)]
    pub async fn finish(&self, ending: &Ending) -> store::Result<Next> {
        // What is due next is read from what the tries left behind, also those that were broken off.
        self.writes.close();
        self.writes.wait().await;
        if let Some(next) = self.finish_together(ending).await? {
            return Ok(next);
        }
        let tenant = self.parts.store.tenant(self.organization).await?;
        let mut outcome = ending.outcome.clone();
        let mut history = self.claimed.history;
        history.server_failures =
            health::server_failures(&tenant, self.mailbox.profile, self.mailbox.endpoint()).await?;
        if let Outcome::Failed(failure) = &mut outcome
            && let Some(refusal) = Refusal::of(failure, ending.explained.as_ref())
            && self.refused_widely(&tenant, refusal, history.server_failures > 0).await?
        {
            failure.scope = FailureScope::Server;
        }
        let pending_send = match self.mailbox.workload {
            Workload::Outgoing => {
                let next = outgoing::earliest_next_try(&tenant, self.mailbox.id).await?;
                let looks_again = crate::outgoing::looks_again(&tenant, &self.mailbox).await?;
                next.into_iter().chain(looks_again).min()
            }
            _ => None,
        };
        let next = self.next(ending, &outcome, &history, pending_send);
        let held = schedule::finish(&tenant, self.claimed.claim, &outcome, &next).await?;
        if let Some(part) = ending.held_by.as_ref().filter(|_| held.is_some_and(|held| held >= HELD_BACK)) {
            self.held_back(&tenant, part).await?;
        }
        match &outcome {
            Outcome::Failed(failure) if failure.scope == FailureScope::Server => {
                // The server is left alone also where this mailbox has nothing to try again.
                let pause = next.not_before.or(next.delay).unwrap_or_default();
                health::server_failed(&tenant, self.mailbox.profile, self.mailbox.endpoint(), pause).await?;
            }
            _ if ending.server_worked => self.worked(&tenant, history.server_failures > 0).await?,
            _ if ending.server_answered => self.answered(&tenant, history.server_failures > 0).await?,
            _ => {}
        }
        if ending.moved && self.mailbox.sought.is_some() {
            mailbox::doubt_found(&tenant, self.mailbox.id).await?;
        }
        if let Some(explained) = &ending.explained {
            self.tell(&tenant, explained, &outcome, &next).await?;
        }
        self.switch_off(&tenant, &next, ending.explained.as_ref()).await?;
        crash::point(Point::FinishBefore);
        tenant.commit().await?;
        crash::point(Point::FinishAfter);
        Ok(next)
    }

    /// When it is due next, and what its counters become.
    fn next(
        &self,
        ending: &Ending,
        outcome: &Outcome,
        history: &History,
        pending_send: Option<Duration>,
    ) -> Next {
        let mut next = next(&self.mailbox.terms(), outcome, history, pending_send, clock::random_fraction());
        if let Some(pause) = self.login_delay.get() {
            next = next.held_back(*pause, DueReason::ServerAsked);
        }
        if let Some(pause) = ending.paced {
            next = next.held_back(pause, DueReason::RateSpent);
        }
        if matches!(outcome, Outcome::Done { .. }) && !ending.server_worked {
            // Nothing was tried: that proves nothing about what failed before, and its alerts stay.
            (next.failures, next.refusals) = (history.failures, history.refusals);
        }
        next
    }

    /// Ends a cycle that changes nothing but its schedule row together with others that end now. `None`, and nothing is
    /// written, when there is more to read or to write: a failure, an alert that passes, a server that is back, the next send.
    async fn finish_together(&self, ending: &Ending) -> store::Result<Option<Next>> {
        let history = self.claimed.history;
        let sends = self.mailbox.workload == Workload::Outgoing;
        let alone = match &ending.outcome {
            Outcome::Done { .. } => sends,
            Outcome::Snooze { .. } => false,
            Outcome::Failed(_) => true,
        };
        let passes =
            ending.server_worked && (self.claimed.held_back || history.failures > 0 || history.refusals > 0);
        if alone || passes || ending.explained.is_some() || ending.held_by.is_some() {
            return Ok(None);
        }
        let next = self.next(ending, &ending.outcome, &history, None);
        let answered = ending.server_worked || ending.server_answered;
        let end = End {
            organization: self.organization,
            claim: self.claimed.claim,
            session: self.session,
            outcome: ending.outcome.clone(),
            next: next.clone(),
            sound: answered.then(|| self.mailbox.endpoint().key()),
        };
        let ended = schedule::finish_together(&self.parts.store, end).await?;
        Ok(ended.then_some(next))
    }

    /// Whether the server refuses so many mailboxes that it cannot be about their passwords, or about one of them.
    async fn refused_widely(&self, tenant: &Tenant, refusal: Refusal, failing: bool) -> store::Result<bool> {
        let (profile, workload) = (self.mailbox.profile, self.mailbox.workload);
        let refusals = health::refusals(tenant, profile, workload, self.mailbox.id, failing).await?;
        let (least, percent) = WIDE_REFUSAL;
        let least = match refusal {
            Refusal::OfCredentials => least,
            // Nobody's password is in question: where there are few mailboxes, all of them are enough.
            Refusal::ForNow => least.min(refusals.enabled),
        };
        Ok(refusals.mailboxes >= least && refusals.mailboxes * 100 >= refusals.enabled * percent)
    }

    /// Takes back what was said while it did not work.
    async fn worked(&self, tenant: &Tenant, server_had_failed: bool) -> store::Result<()> {
        self.answered(tenant, server_had_failed).await?;
        if self.claimed.held_back {
            let parts = Subject::Profile(self.mailbox.profile);
            alert::resolve(tenant, &[AlertKind::LockstepPartAway], parts, None).await?;
        }
        let history = self.claimed.history;
        if history.failures > 0 || history.refusals > 0 {
            let mailbox = Subject::Mailbox(self.mailbox.id);
            let workload = Some(self.mailbox.workload.as_str());
            alert::resolve(tenant, OF_THE_MAILBOX, mailbox, workload).await?;
            alert::resolve(tenant, OF_THE_SERVER, mailbox, workload).await?;
        }
        Ok(())
    }

    /// Ends the server's pause: it answered, whatever it said to this mailbox.
    async fn answered(&self, tenant: &Tenant, server_had_failed: bool) -> store::Result<()> {
        if server_had_failed {
            let endpoint = self.mailbox.endpoint();
            health::server_worked(tenant, self.mailbox.profile, endpoint).await?;
            let server = Subject::Profile(self.mailbox.profile);
            alert::resolve(tenant, OF_THE_SERVER, server, Some(&endpoint.key())).await?;
        }
        Ok(())
    }

    /// Tells that one of our own parts has been away for minutes: once, however many mailboxes wait for it.
    async fn held_back(&self, tenant: &Tenant, part: &str) -> store::Result<()> {
        let (kind, subject) = (AlertKind::LockstepPartAway, Subject::Profile(self.mailbox.profile));
        if alert::is_open(tenant, kind, subject).await? {
            return Ok(());
        }
        let parameters = json!({"part": part});
        let alert = NewAlert { kind, subject, detail: String::new(), parameters, server_said: None };
        alert::raise(tenant, &alert).await?;
        Ok(())
    }

    /// Raises the alert of a failure, unless it is one that is only counted yet: a first refusal, our own absence.
    async fn tell(
        &self,
        tenant: &Tenant,
        explained: &Explained,
        outcome: &Outcome,
        next: &Next,
    ) -> store::Result<()> {
        let Outcome::Failed(failure) = outcome else { return Ok(()) };
        let (subject, detail) = match failure.scope {
            FailureScope::Server => (Subject::Profile(self.mailbox.profile), self.mailbox.endpoint().key()),
            FailureScope::Mailbox => (Subject::Mailbox(self.mailbox.id), self.mailbox.workload.to_string()),
            FailureScope::Credential | FailureScope::Ours | FailureScope::Item => return Ok(()),
        };
        if next.switch_off.is_some() {
            return Ok(());
        }
        // Refused by most mailboxes at once, the server itself is what people must look at.
        let kind = if failure.alert == AlertKind::CredentialsRefused {
            AlertKind::ServerBusy
        } else {
            failure.alert
        };
        let alert = NewAlert {
            kind,
            subject,
            detail,
            parameters: explained.parameters.clone(),
            server_said: failure.said.clone(),
        };
        alert::raise(tenant, &alert).await?;
        Ok(())
    }

    /// Switches off what the cadence says is to be switched off, with the alert that says so.
    async fn switch_off(
        &self,
        tenant: &Tenant,
        next: &Next,
        explained: Option<&Explained>,
    ) -> store::Result<()> {
        let author = self.author();
        let (kind, subject) = match next.switch_off {
            None => return Ok(()),
            Some(SwitchOff::Workload(kind)) => {
                mailbox::disable(tenant, self.mailbox.id, self.mailbox.workload, Some(kind), &author).await?;
                (kind, Subject::Mailbox(self.mailbox.id))
            }
            Some(SwitchOff::Profile(kind)) => {
                profile::pause(tenant, self.mailbox.profile, kind.as_str(), &author).await?;
                (kind, Subject::Profile(self.mailbox.profile))
            }
        };
        let detail = match subject {
            Subject::Profile(_) => self.mailbox.endpoint().key(),
            _ => self.mailbox.workload.to_string(),
        };
        let alert = NewAlert {
            kind,
            subject,
            detail,
            parameters: self.why(explained),
            server_said: explained.and_then(|explained| explained.failure.said.clone()),
        };
        alert::raise(tenant, &alert).await?;
        Ok(())
    }

    /// What the alert's sentences name.
    fn why(&self, explained: Option<&Explained>) -> Value {
        let reason = explained.map(|explained| explained.parameters["reason"].clone()).unwrap_or_default();
        json!({"endpoint": self.mailbox.endpoint().key(), "workload": self.mailbox.workload, "reason": reason})
    }
}
