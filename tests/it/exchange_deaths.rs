//! Workers that are killed while they read from an Exchange server and send through it: each message comes in once, each mail leaves
//! once, and of a mail that nobody can know about a person is told.

use ::exchange::{Exchange, Options, SentCopy};
use lockstep_tests::{Installation, MailProfile, Mailbox, Process, until};
use model::crash::Point;
use serde_json::json;

use crate::house::{House, PASSWORD};

const OURS: &str = "Lockstep mail on its way";

/// Everything but workers, and people with enabled mailboxes.
async fn people(
    installation: Installation,
    server: &Exchange,
    count: usize,
) -> (House, Process, Vec<Mailbox>) {
    let mut process = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut process).await;
    let profile = MailProfile::of_json(json!({
        "name": "exchange",
        "credentials_on": "mailbox",
        "exchange": {"url": server.url()},
        "ca_certificate": server.ca_pem(),
        "max_in_flight": 50,
    }));
    let house = House::furnish(installation, &profile).await;
    let mut mailboxes = Vec::new();
    for number in 0..count {
        let address = house.address(&format!("person{number}"));
        server.add_mailbox(&address, &address, PASSWORD);
        let owner = house.api.user(&address).await;
        let mailbox = house.api.mailbox(&house.profile, owner, &address, PASSWORD).await;
        house.api.enable(&mailbox).await;
        mailboxes.push(mailbox);
    }
    (house, process, mailboxes)
}

fn doomed(house: &House, point: Point, pass: u32) -> Process {
    let place = ("LOCKSTEP_CRASH_AT".to_owned(), format!("{point}:{pass}"));
    house.installation.start_in("worker", &house.installation.configuration, &[place])
}

/// Sessions of workers that are dead have been so for long.
async fn noticed(house: &House) {
    let long_dead =
        "update sessions set seen_at = now() - interval '1 minute' where slots > 0 and ended_at is null";
    house.installation.execute(long_dead).await;
}

/// A mail from each mailbox, each by a worker that dies at another place; then others take over.
async fn each_dies(house: &House, people: &[Mailbox], to: &str, points: &[Point]) -> Vec<String> {
    let service = house.api.service().await;
    let mut emails = Vec::new();
    for (from, _) in people.iter().zip(points) {
        emails.push(house.draft(from, to, "Offer").await);
    }
    let mut workers: Vec<_> = points.iter().map(|point| doomed(house, *point, 1)).collect();
    for email in &emails {
        service.post(&format!("/emails/{email}/send"), &json!({})).await;
    }
    for worker in &mut workers {
        worker.ended().await;
    }
    noticed(house).await;
    emails
}

async fn settled(house: &House, states: &str) {
    until(&format!("every mail is {states}"), async || {
        let open =
            format!("select count(*) from emails where direction = 'outgoing' and state not in ({states})");
        match house.installation.count(&open).await {
            0 => Ok(()),
            some => Err(some.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_dies_while_a_mail_is_laid_down_and_sent_sends_it_once_all_the_same() {
    let server = Exchange::start(Options::default()).await;
    let points = [
        Point::SendingBefore,
        Point::SendingAfter,
        Point::DataBefore,
        Point::DataAfter,
        Point::LaidDownAfter,
        Point::DotAfter,
        Point::VerdictAfter,
        Point::SentBefore,
        Point::SentAfter,
    ];
    // One mail for each worker: none takes two.
    let installation = Installation::new()
        .await
        .with("worker.slots", 1)
        .with("worker.workloads", vec!["outgoing"])
        .with("scheduler.profile_share_percent", 100);
    let (house, _process, senders) = people(installation, &server, points.len()).await;
    let to = house.address("reader");
    server.add_mailbox(&to, "Reader", PASSWORD);
    let left = |folder: &str, of: usize| -> usize {
        senders[..of].iter().map(|sender| server.folder(&sender.address, folder).len()).sum()
    };
    // A copy that is to stay, and one that is not, where that makes a difference.
    let mut wanted = 0;
    for (points, save) in [(&points[..], true), (&points[4..], false)] {
        wanted += points.len();
        house.api.put("/settings/save_sent_items", &json!({"value": save})).await;
        let emails = each_dies(&house, &senders, &to, points).await;
        let mut others = Vec::new();
        for _ in 0..3 {
            others.push(house.installation.start("worker"));
        }
        settled(&house, "'sent'").await;
        for email in &emails {
            let shown = house.api.get(&format!("/emails/{email}")).await;
            assert_eq!(shown["maybe_duplicate"], false, "{shown:#}");
        }
        assert_eq!(server.folder(&to, "inbox").len(), wanted, "each left once");
        let ours = || if save { 0 } else { left(OURS, points.len()) };
        until("nothing is left behind", async || match (left("drafts", senders.len()), ours()) {
            (0, 0) => Ok(()),
            some => Err(format!("{some:?}")),
        })
        .await;
        assert_eq!(left("sentitems", senders.len()), senders.len(), "what stays is what is wanted");
        for worker in &mut others {
            worker.kill().await;
        }
        noticed(&house).await;
    }
    assert!(house.api.list("/alerts").await.is_empty(), "nobody had to be told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mail_whose_worker_died_and_that_lies_nowhere_is_told_of_and_never_sent_again() {
    let late = SentCopy::Late(std::time::Duration::from_secs(3600));
    let server = Exchange::start(Options { sent_copy: late, ..Options::default() }).await;
    let installation = Installation::new().await;
    let (house, _process, senders) = people(installation, &server, 1).await;
    let to = house.address("reader");
    server.add_mailbox(&to, "Reader", PASSWORD);
    let emails = each_dies(&house, &senders, &to, &[Point::VerdictAfter]).await;
    let _worker = house.installation.start("worker");
    settled(&house, "'unknown'").await;
    house.scheduled(&senders[0], "outgoing", "state", "idle").await;
    assert!(house.api.alerts("send_unknown").await.is_empty(), "the server is asked first");
    // Two minutes later, whoever comes first says so: a cycle, or the scheduler's upkeep.
    house
        .installation
        .execute("update send_attempts set asked_until = now() where asked_until is not null")
        .await;
    until("a person is told", async || match house.api.alerts("send_unknown").await.len() {
        1 => Ok(()),
        some => Err(some.to_string()),
    })
    .await;
    assert_eq!(server.folder(&to, "inbox").len(), 1);
    // A copy that appears after all says that it left.
    server.bring_sent_copies();
    house.api.sync(&senders[0], "outgoing").await;
    house.api.email_in(&emails[0], &["sent"]).await;
    assert!(house.api.alerts("send_unknown").await.is_empty());
    assert_eq!(server.folder(&to, "inbox").len(), 1, "it left once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_workers_are_killed_on_their_way_through_a_mailbox_and_each_message_comes_in_once() {
    const ALL: i64 = 400;
    let server = Exchange::start(Options::default()).await;
    let installation = Installation::new().await.with("cycle.batch_items", 20);
    let (house, _process, readers) = people(installation, &server, 1).await;
    let reader = &readers[0];
    for number in 0..ALL {
        server
            .deliver(&reader.address, &super::exchange::message(number.try_into().unwrap(), &reader.address));
    }
    house.api.sync(reader, "incoming").await;
    let places = [
        (Point::FetchBefore, 3),
        (Point::FetchAfter, 3),
        // After two deaths in a row one message is taken at a time.
        (Point::CommitBefore, 12),
        (Point::CommitAfter, 12),
        (Point::FetchAfter, 12),
        (Point::SignInAfter, 1),
        (Point::CommitAfter, 15),
        (Point::CommitBefore, 15),
        (Point::FetchBefore, 12),
        (Point::CommitAfter, 1),
    ];
    for (point, pass) in places {
        doomed(&house, point, pass).ended().await;
        let received = house.receipts(reader).await;
        assert!(received < ALL, "killed in the middle");
        noticed(&house).await;
    }
    let _worker = house.installation.start("worker");
    house.received(reader, ALL).await;
    house.scheduled(reader, "incoming", "state", "idle").await;
    for what in ["emails", "receipts", "mailbox_items where decision = 'recorded'"] {
        assert_eq!(house.installation.count(&format!("select count(*) from {what}")).await, ALL, "{what}");
    }
    assert_eq!(house.installation.count("select count(*) from mailbox_items").await, ALL);
    assert!(house.api.list("/alerts").await.is_empty(), "a worker's death is nobody's alert");
}
