//! Workers that are killed in the middle of their work: nothing is lost, and nothing is done twice without a word.

use std::collections::BTreeSet;
use std::time::Duration;

use lockstep_tests::{Installation, MailProfile, Mailbox, Process, Signal, until};
use model::crash::Point;
use serde_json::json;
use servers::{CountingProxy, Fault, Gate};

use crate::house::House;

#[tokio::test]
async fn a_worker_killed_while_fetching_loses_nothing_and_receives_nothing_twice() {
    let installation = Installation::new().await.with("cycle.batch_items", 5);
    let mut process = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut process).await;
    let mail = &installation.servers.mail;
    let pop3 = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
    // One connection in all: while the dead worker's lease is held, nobody else gets one.
    let profile =
        MailProfile::of(mail).incoming("localhost", pop3.port(), "start_tls").with("max_in_flight", 1);
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    for number in 0..60 {
        house.deliver(&anna, &format!("Message {number}"), 3000);
    }
    pop3.delay(Duration::from_millis(40));
    let mut killed = 0;
    for wanted in [5, 20, 40] {
        let mut worker = house.installation.start("worker");
        if killed == 0 {
            house.api.sync(&anna, "incoming").await;
        }
        until("some are fetched", async || {
            let count = house.receipts(&anna).await;
            let row =
                house.schedule(&anna, "incoming", "(state, due_at, due_reason, not_before, claim)").await;
            if count >= wanted { Ok(()) } else { Err(format!("{count} of {wanted} are; {row}")) }
        })
        .await;
        worker.kill().await;
        killed += 1;
        let count = house.receipts(&anna).await;
        assert!(count < 60 || killed > 1, "the first was killed in the middle");
        if count == 60 {
            break;
        }
    }
    pop3.delay(Duration::ZERO);
    let _worker = house.installation.start("worker");
    house.received(&anna, 60).await;
    house.scheduled(&anna, "incoming", "state", "idle").await;
    house.scheduled(&anna, "incoming", "last_outcome", "done").await;
    for table in ["emails", "receipts", "mailbox_items"] {
        assert_eq!(house.installation.count(&format!("select count(*) from {table}")).await, 60, "{table}");
    }
    assert_eq!(
        house.installation.count("select count(*) from mailbox_items where decision <> 'recorded'").await,
        0
    );
    assert!(house.api.list("/alerts").await.is_empty(), "a worker's death is nobody's alert");
    assert_eq!(house.api.workload(&anna, "incoming").await["enabled"], true);
}

#[tokio::test]
async fn a_worker_killed_while_sending_sends_nothing_twice_without_a_word() {
    let installation = Installation::new().await;
    let mut process = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut process).await;
    let mail = &installation.servers.mail;
    let smtp = CountingProxy::start(format!("127.0.0.1:{}", mail.submission_port)).await;
    let profile =
        MailProfile::of(mail).outgoing("localhost", smtp.port(), "start_tls").with("max_in_flight", 1);
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    let bert = house.address("bert");
    house.installation.servers.mail.add_mailbox(&bert, "outside");
    let mut emails = Vec::new();
    for number in 0..25 {
        let email = house.draft(&anna, &bert, &format!("Letter {number}")).await;
        house.api.ask_to_send(&email).await;
        emails.push(email);
    }
    smtp.delay(Duration::from_millis(30));
    for wanted in [2, 8, 14] {
        let mut worker = house.installation.start("worker");
        until("some are sent", async || {
            let sent = house.installation.count("select count(*) from emails where state = 'sent'").await;
            if sent >= wanted { Ok(()) } else { Err(format!("{sent} of {wanted} are")) }
        })
        .await;
        worker.kill().await;
        let sent = house.installation.count("select count(*) from emails where state = 'sent'").await;
        assert!(sent < 25, "killed in the middle");
    }
    smtp.delay(Duration::ZERO);
    let _worker = house.installation.start("worker");
    until("nothing is on its way any more", async || {
        let open = "select count(*) from emails where state not in ('sent', 'unknown')";
        let open = house.installation.count(open).await;
        if open == 0 { Ok(()) } else { Err(format!("{open} are")) }
    })
    .await;

    let unknown = house.api.list("/emails?state=unknown").await;
    assert!(unknown.len() <= 3, "one for each death at most: {unknown:#?}");
    let told = house.api.alerts("send_unknown").await;
    assert_eq!(told.len(), unknown.len(), "each doubt is told: {told:#?}");
    let mut sent = BTreeSet::new();
    for email in &emails {
        let shown = house.api.get(&format!("/emails/{email}")).await;
        if shown["state"] == "sent" {
            sent.insert(shown["sending"]["message_id"].as_str().unwrap().to_owned());
        }
    }
    let mut arrived = until("all that is sent is there", async || {
        let arrived = message_ids(&house, &bert);
        let missing: Vec<_> = sent.iter().filter(|id| !arrived.contains(id)).collect();
        if missing.is_empty() { Ok(arrived) } else { Err(format!("missing: {missing:?}")) }
    })
    .await;
    arrived.sort();
    let copies = arrived.len();
    arrived.dedup();
    assert_eq!(arrived.len(), copies, "something was sent twice");

    // A person decides about the doubt.
    for email in unknown {
        let email = email["id"].as_str().unwrap();
        house.api.post(&format!("/emails/{email}/mark-sent"), &json!({})).await;
        house.api.email_in(email, &["sent"]).await;
    }
}

/// The Message-IDs of what an address has, without angle brackets.
fn message_ids(house: &House, address: &str) -> Vec<String> {
    let id = |raw: &Vec<u8>| {
        let raw = String::from_utf8_lossy(raw).into_owned();
        let id = raw.lines().find_map(|line| line.strip_prefix("Message-ID: "))?;
        Some(id.trim().trim_start_matches('<').trim_end_matches('>').to_owned())
    };
    house.installation.servers.mail.messages(address).iter().filter_map(id).collect()
}

#[tokio::test]
async fn a_frozen_worker_writes_nothing_once_others_have_its_work() {
    let installation = Installation::new().await.with("cycle.batch_items", 5);
    let mut process = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut process).await;
    let mail = &installation.servers.mail;
    let pop3 = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
    let profile = MailProfile::of(mail).incoming("localhost", pop3.port(), "start_tls");
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    for number in 0..40 {
        house.deliver(&anna, &format!("Message {number}"), 3000);
    }
    pop3.delay(Duration::from_millis(40));
    let mut frozen = house.installation.start("worker");
    house.api.sync(&anna, "incoming").await;
    until("some are fetched", async || {
        let count = house.receipts(&anna).await;
        if count >= 5 { Ok(()) } else { Err(format!("{count} are")) }
    })
    .await;
    frozen.signal(Signal::Stop).await;
    until("its session is dead", async || {
        let dead = "select count(*) from sessions where slots > 0 and ended_at is not null";
        if house.installation.count(dead).await == 1 { Ok(()) } else { Err("it lives") }
    })
    .await;
    pop3.delay(Duration::ZERO);
    // Its slot at the server stays charged, for nobody knows whether its connection is closed.
    let _other = house.installation.start("worker");
    frozen.signal(Signal::Continue).await;
    house.received(&anna, 40).await;
    house.scheduled(&anna, "incoming", "state", "idle").await;
    for table in ["emails", "mailbox_items"] {
        assert_eq!(house.installation.count(&format!("select count(*) from {table}")).await, 40, "{table}");
    }
    until("the thawed worker has a new life", async || {
        let live = "select count(*) from sessions where slots > 0 and ended_at is null";
        if house.installation.count(live).await == 2 { Ok(()) } else { Err("it has none") }
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_stood_still_blames_no_message_for_the_connection_that_it_gave_up() {
    let installation = Installation::new().await.with("cycle.batch_items", 5);
    let mut process = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut process).await;
    let profile = MailProfile::of(&installation.servers.mail);
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    for number in 0..40 {
        house.deliver(&anna, &format!("Message {number}"), 3000);
    }
    // It stands still with a transaction open: nobody can take its row, and what it wrote is committed when it goes on.
    let place = ("LOCKSTEP_CRASH_AT".to_owned(), format!("{}:2:stop", Point::CommitBefore));
    let mut frozen = house.installation.start_in("worker", &house.installation.configuration, &[place]);
    house.api.sync(&anna, "incoming").await;
    until("its session is dead", async || {
        let dead = "select count(*) from sessions where slots > 0 and ended_at is not null";
        if house.installation.count(dead).await == 1 { Ok(()) } else { Err("it lives") }
    })
    .await;
    let _other = house.installation.start("worker");
    frozen.signal(Signal::Continue).await;
    house.received(&anna, 40).await;
    let blamed = "select count(*) from mailbox_items where attempts > 0";
    assert_eq!(house.installation.count(blamed).await, 0);
    assert!(house.api.list("/alerts").await.is_empty(), "standing still is nobody's alert");
}

/// A worker that stood still at a point, past the end of its session and its lease, and goes on there: what the server hears
/// over the connection that it had.
async fn stands_still(point: Point, workload: &str) -> Thawed {
    let installation = Installation::new().await;
    let mut process = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut process).await;
    let mail = &installation.servers.mail;
    let incoming = workload == "incoming";
    let gate =
        Gate::start(if incoming { mail.pop3s_port } else { mail.submissions_port }, mail.ca_pem()).await;
    let profile = MailProfile::of(mail).with("ca_certificate", format!("{}{}", gate.ca_pem(), mail.ca_pem()));
    let profile = if incoming {
        profile.incoming("localhost", gate.port(), "implicit")
    } else {
        profile.outgoing("localhost", gate.port(), "implicit")
    };
    let house = House::furnish(installation, &profile).await;
    let anna = if incoming { house.deleting_queue("anna").await } else { house.enabled("anna").await };
    gate.forget();
    let place = ("LOCKSTEP_CRASH_AT".to_owned(), format!("{point}:1:stop"));
    let mut frozen = house.installation.start_in("worker", &house.installation.configuration, &[place]);
    if incoming {
        house.deliver(&anna, "Offer", 0);
        house.api.sync(&anna, "incoming").await;
    } else {
        let bert = house.address("bert");
        house.installation.servers.mail.add_mailbox(&bert, "outside");
        let email = house.draft(&anna, &bert, "Offer").await;
        house.api.ask_to_send(&email).await;
    }
    until("its session is dead", async || {
        let dead = "select count(*) from sessions where slots > 0 and ended_at is not null";
        if house.installation.count(dead).await == 1 { Ok(()) } else { Err("it lives") }
    })
    .await;
    let before = gate.heard()[0].requests.clone();
    frozen.signal(Signal::Continue).await;
    // Its next life does what is left.
    house.scheduled(&anna, workload, "last_outcome", "done").await;
    house.scheduled(&anna, workload, "state", "idle").await;
    let after = gate.heard()[0].requests.clone();
    Thawed { house, anna, before, after, _processes: [process, frozen] }
}

/// A house with a worker that stood still, in its next life.
struct Thawed {
    house: House,
    anna: Mailbox,
    /// The requests over its old connection when it stood still.
    before: Vec<String>,
    /// The requests over its old connection in the end.
    after: Vec<String>,
    _processes: [Process; 2],
}

#[tokio::test]
async fn a_worker_that_stood_still_after_signing_in_asks_for_nothing_over_that_connection() {
    let Thawed { house, anna, before, after, _processes } =
        stands_still(Point::SignInAfter, "incoming").await;
    assert!(!before.contains(&"LIST".to_owned()), "{before:?}");
    assert_eq!(after, before);
    house.received(&anna, 1).await;
}

#[tokio::test]
async fn a_worker_that_stood_still_before_its_quit_deletes_nothing_over_that_connection() {
    let Thawed { house, anna, before, after, _processes } = stands_still(Point::DeleAfter, "incoming").await;
    assert!(before.last().is_some_and(|request| request.starts_with("DELE")), "{before:?}");
    assert_eq!(after, before);
    house.received(&anna, 1).await;
}

#[tokio::test]
async fn a_worker_that_stood_still_before_the_envelope_sends_nothing_over_that_connection() {
    let Thawed { house, before, after, _processes, .. } = stands_still(Point::DataBefore, "outgoing").await;
    assert!(before.iter().all(|request| !request.starts_with("MAIL")), "{before:?}");
    // The thawed worker knows that nothing left; should its word come too late, a person decides.
    until("it is sent or in doubt", async || {
        let ended = "select count(*) from emails where state in ('sent', 'unknown')";
        if house.installation.count(ended).await == 1 { Ok(()) } else { Err("it is on its way") }
    })
    .await;
    assert_eq!(after, before);
    let sent = house.installation.count("select count(*) from emails where state = 'sent'").await;
    let unknown = house.installation.count("select count(*) from emails where state = 'unknown'").await;
    assert_eq!(
        (sent + unknown, house.api.alerts("send_unknown").await.len()),
        (1, usize::try_from(unknown).unwrap())
    );
    house.arrived(&house.address("bert"), usize::try_from(sent).unwrap()).await;
}

/// Which request of a conversation carries the final dot: EHLO, AUTH, MAIL, RCPT and DATA come before it.
const DOT: u32 = 6;

#[tokio::test]
async fn a_worker_that_is_frozen_in_the_middle_of_a_send_records_its_answer_and_says_nothing_more() {
    let installation = Installation::new().await;
    let mut process = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut process).await;
    let mail = &installation.servers.mail;
    let gate = Gate::start(mail.submissions_port, mail.ca_pem()).await;
    let profile = MailProfile::of(mail)
        .outgoing("localhost", gate.port(), "implicit")
        .with("ca_certificate", format!("{}{}", gate.ca_pem(), mail.ca_pem()));
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    let bert = house.address("bert");
    house.installation.servers.mail.add_mailbox(&bert, "outside");
    // Two letters: the second would leave right after the first one's answer.
    let mut emails = Vec::new();
    for subject in ["first", "second"] {
        let email = house.draft(&anna, &bert, subject).await;
        emails.push(email);
    }
    gate.forget();
    gate.set(Fault::Hold(DOT));
    for email in &emails {
        house.api.ask_to_send(email).await;
    }
    let mut frozen = house.installation.start("worker");
    gate.reached().await;
    gate.set(Fault::None);
    frozen.signal(Signal::Stop).await;
    assert_eq!(house.api.get(&format!("/emails/{}", emails[0])).await["state"], "sending");
    until("its session is dead", async || {
        let dead = "select count(*) from sessions where slots > 0 and ended_at is not null";
        if house.installation.count(dead).await == 1 { Ok(()) } else { Err("it lives") }
    })
    .await;
    // Others find the first in doubt; the second waits for the connection that may still be open.
    let _other = house.installation.start("worker");
    house.api.email_in(&emails[0], &["unknown"]).await;
    assert_eq!(house.api.alerts("send_unknown").await.len(), 1);
    let claim = house.schedule(&anna, "outgoing", "claim").await;
    // The server takes the letter and says so, to a process that does not run.
    gate.go_on();
    house.arrived(&bert, 1).await;
    until("the server has answered", async || {
        let heard = gate.heard();
        if heard[0].messages.len() == 1 { Ok(()) } else { Err("not yet") }
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let said = gate.heard()[0].requests.clone();
    assert_eq!(said.len(), usize::try_from(DOT).unwrap(), "{said:?}");
    frozen.signal(Signal::Continue).await;
    let sent = house.api.email_in(&emails[0], &["sent"]).await;
    assert_eq!(sent["maybe_duplicate"], false, "{sent:#}");
    assert!(house.api.alerts("send_unknown").await.is_empty(), "the doubt is over");
    house.api.email_in(&emails[1], &["sent"]).await;
    assert_eq!(gate.heard()[0].requests, said, "not a command more over the old connection");
    assert_ne!(house.schedule(&anna, "outgoing", "claim").await, "", "{claim}");
    assert_eq!(house.arrived(&bert, 2).await.len(), 2, "each letter once");
    let attempts = "select count(*) from send_attempts where answer = 'accepted'";
    assert_eq!(house.installation.count(attempts).await, 2);
}

#[tokio::test]
async fn a_send_whose_worker_died_is_in_doubt_until_a_person_decides() {
    let installation = Installation::new().await;
    let mut process = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut process).await;
    let mail = &installation.servers.mail;
    let smtp = CountingProxy::start(format!("127.0.0.1:{}", mail.submission_port)).await;
    let profile = MailProfile::of(mail).outgoing("localhost", smtp.port(), "start_tls");
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    let bert = house.address("bert");
    house.installation.servers.mail.add_mailbox(&bert, "outside");
    for (button, copies) in [("mark-sent", 0), ("resend", 1)] {
        let email = house.draft(&anna, &bert, button).await;
        let mut worker = house.installation.start("worker");
        smtp.delay(Duration::from_millis(400));
        house.api.ask_to_send(&email).await;
        house.api.email_in(&email, &["sending"]).await;
        worker.kill().await;
        // Whatever it had said to the server, this connection says no more.
        smtp.cut_all();
        smtp.delay(Duration::ZERO);
        let mut worker = house.installation.start("worker");
        house.api.email_in(&email, &["unknown"]).await;
        let told = house.api.list(&format!("/alerts?kind=send_unknown&email={email}")).await;
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0]["remedy"].as_str().unwrap().len() > 20);
        let before = house.installation.servers.mail.messages(&bert).len();
        house.api.service().await.post(&format!("/emails/{email}/{button}"), &json!({})).await;
        let sent = house.api.email_in(&email, &["sent"]).await;
        assert_eq!(sent["maybe_duplicate"], button == "resend", "{sent:#}");
        house.arrived(&bert, before + copies).await;
        let told = house.api.list(&format!("/alerts?kind=send_unknown&email={email}")).await;
        assert!(told.is_empty(), "decided: {told:#?}");
        worker.kill().await;
    }
}

#[tokio::test]
async fn a_delivery_to_a_worker_whose_session_died_goes_to_another() {
    let installation = Installation::new().await;
    let mut process = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut process).await;
    let profile = MailProfile::of(&installation.servers.mail);
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    let mut worker = house.installation.start("worker");
    house.deliver(&anna, "first", 0);
    house.api.sync(&anna, "incoming").await;
    house.received(&anna, 1).await;
    house.scheduled(&anna, "incoming", "state", "idle").await;

    worker.signal(Signal::Stop).await;
    until("its session is dead", async || {
        let dead = "select count(*) from sessions where slots > 0 and ended_at is not null";
        if house.installation.count(dead).await == 1 { Ok(()) } else { Err("it lives") }
    })
    .await;
    // The broker knows nothing of sessions, and gives it the invitation.
    house.deliver(&anna, "second", 0);
    house.api.sync(&anna, "incoming").await;
    house.scheduled(&anna, "incoming", "state", "queued").await;
    let claim = house.schedule(&anna, "incoming", "claim").await;
    worker.signal(Signal::Continue).await;
    house.received(&anna, 2).await;
    assert_eq!(house.schedule(&anna, "incoming", "claim").await, claim, "by that very invitation");
}
