//! What a server answered is written down, whatever became of the cycle that asked.

use std::sync::Arc;
use std::time::Duration;

use cycle::Cycle;
use model::email::{EmailState, RecipientState};
use model::id::{EmailId, MailboxId};
use model::workload::Workload;
use store::outgoing::Draft;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::house::{House, config};
use crate::outgoing::{pending, state, to};
use crate::scripted::{Do, Scripted, say};

/// A cycle that has sent its final dot, and a server that answers it when it is told to.
struct Asked {
    house: House,
    from: MailboxId,
    email: EmailId,
    running: JoinHandle<Cycle>,
    answer: Arc<Notify>,
    _server: Scripted,
}

async fn asked() -> Asked {
    let (dot, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (heard, told) = (dot.clone(), answer.clone());
    let server = Scripted::smtp(move |line| {
        (line == ".").then(|| {
            heard.notify_one();
            Do::When(told.clone(), b"250 2.0.0 taken\r\n".to_vec())
        })
    })
    .await;
    let house = House::sending_to(&server, config()).await;
    let (_, from, _) = house.person("sender").await;
    let email = pending(&house, from, Draft { to: to("other@example.org"), ..Draft::default() }).await;
    let mut cycle = house.claimed(from, Workload::Outgoing).await.unwrap();
    let running = tokio::spawn(async move {
        cycle.run(|| true).await;
        cycle
    });
    dot.notified().await;
    Asked { house, from, email, running, answer, _server: server }
}

async fn until(house: &House, what: &str) {
    for _ in 0..400 {
        if house.count(what).await > 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn an_answer_that_came_in_is_written_although_the_cycle_is_dropped() {
    let Asked { house, email, running, answer, .. } = &asked().await;
    let mut owner = house.database.owner().await.unwrap();
    let held = owner.transaction().await.unwrap();
    held.query("select from emails where id = $1 for update", &[&email.0]).await.unwrap();
    answer.notify_one();
    until(house, "pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'").await;
    // As when the session or the lease is lost.
    running.abort();
    tokio::time::sleep(Duration::from_millis(100)).await;
    held.commit().await.unwrap();
    until(house, "send_attempts where answer = 'accepted'").await;
    assert_eq!(state(house, *email).await, EmailState::Sent);
}

#[tokio::test]
async fn a_late_answer_settles_what_was_in_doubt_and_closes_its_alert() {
    let Asked { house, from, email, running, answer, .. } = asked().await;
    let owner = house.database.owner().await.unwrap();
    owner
        .execute("update schedules set state = 'idle', session_id = null where mailbox_id = $1", &[&from.0])
        .await
        .unwrap();
    house.cycle(from, Workload::Outgoing).await;
    assert_eq!(state(&house, email).await, EmailState::Unknown);
    assert_eq!(house.count("alerts where kind = 'send_unknown' and resolved_at is null").await, 1);
    answer.notify_one();
    running.await.unwrap();
    assert_eq!(state(&house, email).await, EmailState::Sent);
    assert_eq!(house.count("alerts where kind = 'send_unknown' and resolved_at is null").await, 0);
}

/// Runs a cycle against a server that stalls at the line, and drops it there: as when the lease or the session is lost.
async fn broken_off_at(line: &'static str) -> (House, MailboxId, EmailId, usize) {
    let (reached, heard) = (Arc::new(Notify::new()), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let (at, dots) = (reached.clone(), heard.clone());
    let server = Scripted::smtp(move |said| {
        if said == "." {
            dots.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        said.starts_with(line).then(|| {
            at.notify_one();
            Do::Stall
        })
    })
    .await;
    let house = House::sending_to(&server, config()).await;
    let (_, from, _) = house.person("sender").await;
    let email = pending(&house, from, Draft { to: to("other@example.org"), ..Draft::default() }).await;
    let mut cycle = house.claimed(from, Workload::Outgoing).await.unwrap();
    tokio::select! {
        _ = cycle.run(|| true) => panic!("the server stalls"),
        () = reached.notified() => {}
    }
    cycle.finish(&cycle::Ending::ours()).await.unwrap();
    drop(server);
    let dots = heard.load(std::sync::atomic::Ordering::SeqCst);
    (house, from, email, dots)
}

#[tokio::test]
async fn a_cycle_that_is_dropped_before_the_final_dot_has_sent_nothing_and_the_mail_goes_again() {
    for line in ["EHLO", "AUTH", "MAIL", "RCPT", "DATA"] {
        let (house, from, email, dots) = broken_off_at(line).await;
        assert_eq!((state(&house, email).await, dots), (EmailState::PendingSend, 0), "{line}");
        assert_eq!(house.count("send_attempts where answer is distinct from 'not_sent'").await, 0, "{line}");
        assert_eq!(house.count("alerts where kind = 'send_unknown'").await, 0, "{line}");
        let due = format!(
            "schedules where mailbox_id = '{from}' and workload = 'outgoing' and due_at < now() + interval '1 minute'"
        );
        assert_eq!(house.count(&due).await, 1, "{line}: it is due again by itself");
    }
}

#[tokio::test]
async fn a_cycle_that_is_dropped_after_the_final_dot_leaves_a_doubt_that_is_told_at_once() {
    let (house, _, email, dots) = broken_off_at(".").await;
    assert_eq!((state(&house, email).await, dots), (EmailState::Unknown, 1));
    assert_eq!(house.count("send_attempts where answer = 'unknown'").await, 1);
    assert_eq!(house.count("alerts where kind = 'send_unknown' and resolved_at is null").await, 1);
}

#[tokio::test]
async fn a_process_that_is_to_stop_holds_back_what_has_not_reached_its_final_dot() {
    let reached = Arc::new(Notify::new());
    let at = reached.clone();
    let server = Scripted::smtp(move |said| {
        said.starts_with("DATA").then(|| {
            at.notify_one();
            Do::Stall
        })
    })
    .await;
    let patient = cycle::Config { phase_seconds: 60, ..config() };
    let house = House::sending_to(&server, patient).await;
    let (_, from, _) = house.person("sender").await;
    let email = pending(&house, from, Draft { to: to("other@example.org"), ..Draft::default() }).await;
    let mut cycle = house.claimed(from, Workload::Outgoing).await.unwrap();
    let (ending, ()) = tokio::join!(cycle.run(|| true), async {
        reached.notified().await;
        house.parts.drain.cancel();
    });
    let next = cycle.finish(&ending.unwrap()).await.unwrap();
    assert_eq!(state(&house, email).await, EmailState::PendingSend);
    assert_eq!(house.count("send_attempts where answer = 'not_sent'").await, 1);
    assert_eq!(next.delay, Some(Duration::ZERO), "another process sends it at once");
}

#[tokio::test]
async fn whom_the_server_turned_away_stays_so_when_the_connection_breaks_after_the_final_dot() {
    let server = Scripted::smtp(|line| match line {
        _ if line.starts_with("RCPT TO:<gone@") => Some(say("550 5.1.1 nobody of that name\r\n")),
        _ if line.starts_with("RCPT TO:<busy@") => Some(say("451 4.7.1 greylisted\r\n")),
        "." => Some(Do::Break),
        _ => None,
    })
    .await;
    let house = House::sending_to(&server, config()).await;
    let (_, from, _) = house.person("sender").await;
    let all = ["gone@example.org", "busy@example.org", "taken@example.org"];
    let all = all.iter().flat_map(|address| to(address)).collect();
    let email = pending(&house, from, Draft { to: all, ..Draft::default() }).await;
    house.cycle(from, Workload::Outgoing).await;
    assert_eq!(state(&house, email).await, EmailState::Unknown);
    let recipients =
        store::outgoing::state_of(&house.tenant().await, email).await.unwrap().unwrap().recipients;
    let stand: Vec<_> =
        recipients.iter().map(|one| (one.state, one.reply_code, one.server_said.as_deref())).collect();
    assert_eq!(
        stand,
        [
            (RecipientState::Refused, Some(550), Some("nobody of that name")),
            (RecipientState::Deferred, Some(451), Some("greylisted")),
            (RecipientState::Waiting, None, None),
        ]
    );
    for kind in ["send_unknown", "recipients_refused"] {
        assert_eq!(house.count(&format!("alerts where kind = '{kind}'")).await, 1, "{kind}");
    }
}

#[tokio::test]
async fn a_doubt_with_nothing_else_to_send_leaves_no_due_time() {
    let server = Scripted::smtp(|line| (line == ".").then_some(Do::Break)).await;
    let house = House::sending_to(&server, config()).await;
    let (_, from, _) = house.person("sender").await;
    let email = pending(&house, from, Draft { to: to("other@example.org"), ..Draft::default() }).await;
    let (_, next) = house.cycle(from, Workload::Outgoing).await;
    assert_eq!(state(&house, email).await, EmailState::Unknown);
    assert!(next.not_before.is_some(), "it failed: {next:?}");
    assert_eq!(next.delay, None, "and nothing is pending");
    let due = "schedules where workload = 'outgoing' and ready_at is not null";
    assert_eq!(house.count(due).await, 0);
}
