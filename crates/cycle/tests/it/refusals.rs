//! Every answer at every step of sending, over whole cycles: what is believed of each recipient, what is told, when it is
//! tried again, and above all that what the server took is what we believe it took, or that we say we do not know.

use std::time::Duration;

use model::alert::AlertKind;
use model::email::{EmailState, RecipientState};
use model::endpoint::Tls;
use model::id::{EmailId, MailboxId};
use model::workload::Workload;
use store::outgoing::{self, Draft};
use store::testing;

use crate::fickle::{At, Does, Fickle, GHOST};
use crate::house::{House, by, config};
use crate::outgoing::{pending, state, to};
use AlertKind as K;
use RecipientState::{Accepted, Deferred, Refused, Waiting};

const STEPS: [At; 13] = [
    At::Greeting,
    At::Ehlo,
    At::StartTls,
    At::EhloInTls,
    At::Auth,
    At::Mail,
    At::FirstRcpt,
    At::SecondRcpt,
    At::EveryRcpt,
    At::Data,
    At::Dot,
    At::Rset,
    At::Quit,
];

const QUICK: [Does; 8] = [
    Does::Says("450 4.2.0 later"),
    Does::Says("451 later"),
    Does::Says("550 5.6.0 never"),
    Does::Says("554 never"),
    Does::Says("421 4.3.2 closing"),
    Does::Says("421 closing"),
    Does::Leaves,
    Does::ObeysAndLeaves,
];

/// What must be true after the cycle that met the fault.
#[derive(Debug, PartialEq, Eq)]
struct Expected {
    recipients: [RecipientState; 2],
    email: EmailState,
    /// About the email.
    told: Option<AlertKind>,
    /// About the mailbox or the profile.
    trouble: Option<AlertKind>,
    /// Tries that were begun.
    tries: i64,
}

/// The table, as a rule: read off the design, not off the code.
fn expected(at: At, does: Does) -> Expected {
    use EmailState::{Failed, PendingSend, Sent, Unknown};
    let leaves = matches!(does, Does::Says(words) if words.starts_with("421"));
    let temporary = matches!(does, Does::Says(words) if words.starts_with("45"));
    let before_sign_in = matches!(at, At::Greeting | At::Ehlo | At::StartTls | At::EhloInTls);
    // Why the session ended, when it did.
    let trouble = match does {
        Does::Says(_) if leaves || temporary => K::ServerBusy,
        Does::Says(_) if at == At::StartTls => K::TlsNotOffered,
        Does::Says(_) => K::MailboxRefused,
        Does::Leaves | Does::ObeysAndLeaves => K::ConnectionLost,
        Does::AnswersLate => K::ConnectionTimedOut,
    };
    let gone = leaves || !matches!(does, Does::Says(_));
    let of = |recipients, email, told| Expected { recipients, email, told, trouble: None, tries: 1 };
    let not_sent = Expected {
        recipients: [Waiting; 2],
        email: PendingSend,
        told: None,
        trouble: Some(trouble),
        tries: 1,
    };
    let verdict = if temporary { Deferred } else { Refused };
    match at {
        At::Quit => of([Accepted; 2], Sent, None),
        At::Dot if gone && !leaves => {
            Expected { trouble: Some(trouble), ..of([Waiting; 2], Unknown, Some(K::SendUnknown)) }
        }
        _ if before_sign_in || at == At::Auth => Expected { tries: 0, ..not_sent },
        At::Rset => not_sent,
        _ if gone => not_sent,
        At::FirstRcpt if temporary => of([Deferred, Accepted], PendingSend, None),
        At::SecondRcpt if temporary => of([Accepted, Deferred], PendingSend, None),
        At::FirstRcpt => of([Refused, Accepted], Sent, Some(K::RecipientsRefused)),
        At::SecondRcpt => of([Accepted, Refused], Sent, Some(K::RecipientsRefused)),
        At::EveryRcpt if !temporary => of([Refused; 2], Failed, Some(K::RecipientsRefused)),
        _ if temporary => of([verdict; 2], PendingSend, None),
        _ => of([verdict; 2], Failed, Some(K::MessageRefused)),
    }
}

struct Case {
    house: House,
    server: Fickle,
    from: MailboxId,
}

impl Case {
    async fn new(tls: Tls, extensions: &'static str, config: cycle::Config) -> Self {
        let server = Fickle::start(tls, extensions).await;
        let (endpoint, ca) = (server.endpoint.clone(), server.ca_pem.clone());
        let house = House::with(config, |profile| {
            profile.outgoing = endpoint;
            profile.ca_certificate = Some(ca);
        })
        .await;
        let (_, from, _) = house.person("sender").await;
        Self { house, server, from }
    }

    async fn sql(&self, statement: &str) {
        self.house.database.owner().await.unwrap().batch_execute(statement).await.unwrap();
    }

    /// As if nothing had failed before.
    async fn forget(&self) {
        self.sql(
            "update endpoints set failures = 0, open_until = null, failing_since = null;
             update schedules set not_before = null, failures = 0, refusals = 0, first_refused_at = null;
             update sessions set seen_at = now();
             delete from alerts",
        )
        .await;
    }

    async fn recipients(&self, email: EmailId) -> Vec<RecipientState> {
        let tenant = self.house.tenant().await;
        let state = outgoing::state_of(&tenant, email).await.unwrap().unwrap();
        state.recipients.iter().map(|recipient| recipient.state).collect()
    }

    async fn alert(&self, of: &str) -> Option<AlertKind> {
        let owner = self.house.database.owner().await.unwrap();
        let query = format!("select kind from alerts where {of} and resolved_at is null");
        let rows = owner.query(&query, &[]).await.unwrap();
        assert!(rows.len() <= 1, "one trouble is told once");
        rows.first().map(|row| row.get::<_, String>(0).parse().unwrap())
    }

    /// What the server took for each is what we believe it took.
    fn agrees(&self, addresses: &[String; 2], recipients: &[RecipientState], what: &str) {
        for (address, recipient) in addresses.iter().zip(recipients) {
            assert_eq!(self.server.taken(address), usize::from(*recipient == Accepted), "{what}: {address}");
        }
    }

    async fn meets(&self, number: usize, at: At, does: Does) {
        let what = format!("{at:?} {does:?}");
        self.forget().await;
        if at == At::Rset {
            // RSET is said where a message came to nothing before.
            pending(&self.house, self.from, Draft { to: to(GHOST), ..Draft::default() }).await;
        }
        let addresses = [format!("one.{number}@example.org"), format!("two.{number}@example.org")];
        let both = addresses.iter().flat_map(|address| to(address)).collect();
        let email = pending(&self.house, self.from, Draft { to: both, ..Draft::default() }).await;
        self.server.set(Some((at, does)));
        self.house.cycle(self.from, Workload::Outgoing).await;

        let recipients = self.recipients(email).await;
        let found = Expected {
            recipients: [recipients[0], recipients[1]],
            email: state(&self.house, email).await,
            told: self.alert(&format!("email_id = '{email}'")).await,
            trouble: self.alert("email_id is null").await,
            tries: self.tries(email).await,
        };
        assert_eq!(found, expected(at, does), "{what}");
        if found.email == EmailState::Unknown {
            self.stays_in_doubt(email, &addresses, &what).await;
            return;
        }
        self.agrees(&addresses, &recipients, &what);
        if found.email == EmailState::PendingSend {
            self.goes_again(email, &addresses, &what).await;
        }
    }

    async fn tries(&self, email: EmailId) -> i64 {
        let of_email = format!(
            "send_attempts a join send_requests r on r.id = a.send_request_id where r.email_id = '{email}'"
        );
        self.house.count(&of_email).await
    }

    /// Due again by itself, not before its time, and then everybody who was not refused gets it once.
    async fn goes_again(&self, email: EmailId, addresses: &[String; 2], what: &str) {
        let due = format!(
            "schedules where mailbox_id = '{}' and workload = 'outgoing' and due_at <= now() + interval '7 minutes'",
            self.from
        );
        assert_eq!(self.house.count(&due).await, 1, "{what}: due by itself");
        let early = format!(
            "send_recipients rc join send_requests r on r.id = rc.send_request_id where r.email_id = '{email}'
             and rc.attempts > 0 and rc.state in ('waiting', 'deferred')
             and rc.next_try_at not between now() + interval '4 minutes' and now() + interval '6 minutes'"
        );
        assert_eq!(self.house.count(&early).await, 0, "{what}: tried again after five minutes");
        self.server.set(None);
        testing::pass(&self.house.database, Duration::from_secs(7 * 60)).await.unwrap();
        self.sql("update sessions set seen_at = now(); update endpoints set open_until = null").await;
        self.house.cycle(self.from, Workload::Outgoing).await;
        let recipients = self.recipients(email).await;
        assert_eq!(state(&self.house, email).await, EmailState::Sent, "{what}");
        assert_eq!(recipients, [Accepted; 2], "{what}");
        self.agrees(addresses, &recipients, what);
    }

    /// Nothing is sent blindly, however often cycles come by.
    async fn stays_in_doubt(&self, email: EmailId, addresses: &[String; 2], what: &str) {
        let before = addresses.each_ref().map(|address| self.server.taken(address));
        self.server.set(None);
        testing::pass(&self.house.database, Duration::from_secs(7 * 60)).await.unwrap();
        self.sql("update sessions set seen_at = now(); update schedules set not_before = null").await;
        self.house.cycle(self.from, Workload::Outgoing).await;
        assert_eq!(state(&self.house, email).await, EmailState::Unknown, "{what}");
        assert_eq!(before, addresses.each_ref().map(|address| self.server.taken(address)), "{what}");
        let tenant = self.house.tenant().await;
        outgoing::resolve_unknown(&tenant, email, None, outgoing::Resolution::MarkSent, None, &by())
            .await
            .unwrap();
        tenant.commit().await.unwrap();
    }
}

async fn every_answer_at_every_step(tls: Tls, extensions: &'static str) {
    let case = Case::new(tls, extensions, config()).await;
    let mut number = 0;
    for at in STEPS {
        if tls == Tls::Implicit && matches!(at, At::Ehlo | At::StartTls) {
            continue;
        }
        for does in QUICK {
            if at == At::EveryRcpt && does == Does::ObeysAndLeaves {
                continue;
            }
            number += 1;
            case.meets(number, at, does).await;
        }
    }
}

#[tokio::test]
async fn whatever_a_server_says_one_command_at_a_time_what_we_believe_is_what_it_took() {
    Box::pin(every_answer_at_every_step(Tls::StartTls, "")).await;
}

#[tokio::test]
async fn whatever_a_server_says_to_pipelined_commands_what_we_believe_is_what_it_took() {
    Box::pin(every_answer_at_every_step(Tls::Implicit, "250-PIPELINING\r\n250-DSN\r\n")).await;
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_no_answer_and_after_the_final_dot_a_doubt() {
    let hasty =
        cycle::Config { phase_seconds: 2, smtp_message_seconds: 2, smtp_verdict_seconds: 2, ..config() };
    let case = Case::new(Tls::StartTls, "", hasty).await;
    for (number, at) in STEPS.into_iter().filter(|at| *at != At::EveryRcpt).enumerate() {
        case.meets(number, at, Does::AnswersLate).await;
    }
}
