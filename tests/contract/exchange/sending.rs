//! What becomes of a mail that was laid down at an Exchange server: whether a copy stays, what is asked while nobody knows, and what a
//! cycle that ends in between leaves there.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::exchange::{Fault as Broken, Options, Rule, SentCopy};
use model::email::EmailState;
use model::id::EmailId;
use model::workload::Workload;
use store::outgoing::{self, Draft};
use store::testing;

use super::ExchangeEws;
use crate::house::{House, Person, message, to};

type Here = House<ExchangeEws>;

const OURS: &str = "Lockstep mail on its way";
const TOLD: &str = "alerts where kind = 'send_unknown' and resolved_at is null";

async fn two() -> (Here, Person, Person) {
    let house = Here::build().await;
    let [anna, bert] = <[Person; 2]>::try_from(house.people(2).await).ok().unwrap();
    (house, anna, bert)
}

async fn asked(house: &Here, from: &Person, to_whom: &Person) -> EmailId {
    house.ask(from, Draft { to: to(&to_whom.address), ..Draft::default() }).await
}

/// Lets this much time pass for everything but the session, which lives on.
async fn passes(house: &Here, time: Duration) {
    testing::pass(&house.database, time).await.unwrap();
    house.execute("update sessions set seen_at = now()").await;
    house.execute("update schedules set not_before = null").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_copy_is_to_stay_it_lies_in_a_folder_of_ours_until_the_mail_is_known_to_be_sent() {
    let (house, anna, bert) = two().await;
    let server = house.provider.server();
    house.set("save_sent_items", false).await;
    let kept = |folder: &str| server.folder(&anna.address, folder).len();
    let first = asked(&house, &anna, &bert).await;
    house.transmit(&anna).await;
    assert_eq!(house.state(first).await, EmailState::Sent);
    assert_eq!((kept("sentitems"), kept(OURS), kept("drafts")), (0, 0, 0), "nothing of it is kept");
    let given = server.handed()[0].message_id.trim_matches(['<', '>']).to_owned();
    let read_back = format!("send_requests where message_id = '{given}'");
    assert_eq!(house.count(&read_back).await, 1, "the Message-ID that the server gave is known all the same");

    // It cannot be removed now: it is sent all the same, and removed later.
    server.fault(Rule::new(Broken::Refused("ErrorInternalServerError".to_owned())).on("DeleteItem"));
    let second = asked(&house, &anna, &bert).await;
    let (_, next) = house.cycle(&anna, Workload::Outgoing).await;
    assert_eq!(house.state(second).await, EmailState::Sent);
    assert_eq!((kept("sentitems"), kept(OURS)), (0, 1));
    assert!(next.delay.is_some_and(|delay| delay <= Duration::from_secs(120)), "{next:?}");
    server.heal();
    house.transmit(&anna).await;
    assert_eq!(kept(OURS), 0);
    assert_eq!(house.count("send_attempts where leftover is not null").await, 0);

    // In doubt it is what says that the mail left; and it goes only after that is written down.
    server.fault(Rule::new(Broken::DropAfter).on("SendItem").times(1));
    let third = asked(&house, &anna, &bert).await;
    house.cycle(&anna, Workload::Outgoing).await;
    assert_eq!((house.state(third).await, kept(OURS)), (EmailState::Unknown, 1));
    house.transmit(&anna).await;
    assert_eq!((house.state(third).await, kept(OURS)), (EmailState::Sent, 0));
    assert_eq!(house.handed_over_to(&bert.address), 3);
    assert_eq!(house.count("alerts").await, 0);

    // On again, it stays as ever.
    house.set("save_sent_items", true).await;
    asked(&house, &anna, &bert).await;
    house.transmit(&anna).await;
    assert_eq!((kept("sentitems"), kept(OURS)), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_not_to_stay_and_comes_late_is_removed_when_it_comes() {
    let (house, anna, bert) = two().await;
    let server = house.provider.server();
    house.set("save_sent_items", false).await;
    server.reconfigure(|options: &mut Options| options.sent_copy = SentCopy::Late(Duration::from_secs(3600)));
    asked(&house, &anna, &bert).await;
    let (_, next) = house.cycle(&anna, Workload::Outgoing).await;
    assert!(next.delay.is_some_and(|delay| delay <= Duration::from_secs(120)), "{next:?}");
    server.bring_sent_copies();
    assert_eq!(server.folder(&anna.address, OURS).len(), 1);
    house.transmit(&anna).await;
    assert!(server.folder(&anna.address, OURS).is_empty());
    let (_, next) = house.cycle(&anna, Workload::Outgoing).await;
    assert_eq!(next.delay, None, "there is nothing left to do");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_while_the_server_is_asked_and_after_two_minutes_a_person_is() {
    let (house, anna, bert) = two().await;
    let server = house.provider.server();
    server.reconfigure(|options: &mut Options| options.sent_copy = SentCopy::Late(Duration::from_secs(3600)));
    server.fault(Rule::new(Broken::DropAfter).on("SendItem").times(1));
    let email = asked(&house, &anna, &bert).await;
    house.cycle(&anna, Workload::Outgoing).await;
    for _ in 0..3 {
        assert_eq!((house.state(email).await, house.count(TOLD).await), (EmailState::Unknown, 0));
        let (_, next) = house.cycle(&anna, Workload::Outgoing).await;
        assert!(next.delay.is_some_and(|delay| delay <= Duration::from_secs(20)), "{next:?}");
        passes(&house, Duration::from_secs(30)).await;
    }
    passes(&house, Duration::from_secs(60)).await;
    house.cycle(&anna, Workload::Outgoing).await;
    assert_eq!((house.state(email).await, house.count(TOLD).await), (EmailState::Unknown, 1));
    // Told once, however often it is looked for after that.
    house.cycle(&anna, Workload::Outgoing).await;
    assert_eq!(house.count(&format!("{TOLD} and count = 1")).await, 1);
    server.bring_sent_copies();
    house.transmit(&anna).await;
    assert_eq!((house.state(email).await, house.count(TOLD).await), (EmailState::Sent, 0));
    assert_eq!(house.handed_over_to(&bert.address), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_in_the_outbox_is_waited_for() {
    let (house, anna, bert) = two().await;
    let server = house.provider.server();
    let an_hour = SentCopy::ThroughOutbox(Duration::from_secs(3600));
    server.reconfigure(|options: &mut Options| options.sent_copy = an_hour);
    server.fault(Rule::new(Broken::DropAfter).on("SendItem").times(1));
    let email = asked(&house, &anna, &bert).await;
    house.cycle(&anna, Workload::Outgoing).await;
    for _ in 0..3 {
        house.cycle(&anna, Workload::Outgoing).await;
        assert_eq!((house.state(email).await, house.count(TOLD).await), (EmailState::Unknown, 0));
        passes(&house, Duration::from_secs(110)).await;
    }
    server.bring_sent_copies();
    house.transmit(&anna).await;
    assert_eq!((house.state(email).await, house.count("alerts").await), (EmailState::Sent, 0));
    assert_eq!(house.handed_over_to(&bert.address), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_no_cycle_can_ask_a_person_is_told_all_the_same() {
    let (house, anna, bert) = two().await;
    let server = house.provider.server();
    server.fault(Rule::new(Broken::DropAfter).on("SendItem").times(1));
    let email = asked(&house, &anna, &bert).await;
    house.cycle(&anna, Workload::Outgoing).await;
    let store = &house.parts.store;
    let held_up = async || store.in_ring(async |ring| outgoing::held_up(ring, 10).await).await.unwrap();
    assert_eq!(held_up().await, []);
    passes(&house, Duration::from_secs(121)).await;
    assert_eq!(held_up().await, [(house.organization, anna.mailbox)]);
    for _ in 0..2 {
        let tenant = house.tenant().await;
        outgoing::tell_in_doubt(&tenant, anna.mailbox, "ews://mail.example:443").await.unwrap();
        tenant.commit().await.unwrap();
    }
    assert_eq!(house.count(&format!("{TOLD} and count = 1")).await, 1);
    assert_eq!(held_up().await, []);
    // The server can be asked again, and has it.
    house.transmit(&anna).await;
    assert_eq!((house.state(email).await, house.count(TOLD).await), (EmailState::Sent, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_draft_that_a_cycle_left_is_removed_by_the_next_and_nobody_elses() {
    let (house, anna, bert) = two().await;
    let server = house.provider.server();
    let mine = message(7, &bert.address);
    server.put(&anna.address, "drafts", &mine, model::clock::now(), true);
    let drafts = || server.folder(&anna.address, "drafts").len();
    // It is laid down, and nobody hears of it.
    server.fault(Rule::new(Broken::DropMidway).on("CreateItem").times(1));
    let email = asked(&house, &anna, &bert).await;
    house.cycle(&anna, Workload::Outgoing).await;
    assert_eq!((house.state(email).await, drafts()), (EmailState::PendingSend, 2), "it never left");
    house.later().await;
    house.execute("update schedules set not_before = null").await;
    house.transmit(&anna).await;
    assert_eq!((house.state(email).await, drafts()), (EmailState::Sent, 1));

    // The lease is lost right before the server would be told to send.
    let email = asked(&house, &anna, &bert).await;
    let mut cycle = house.claimed(&anna, Workload::Outgoing).await.unwrap();
    let ending = cycle.run(|| false).await.unwrap();
    cycle.finish(&ending).await.unwrap();
    assert_eq!((house.state(email).await, drafts()), (EmailState::PendingSend, 2));
    house.later().await;
    house.execute("update schedules set not_before = null").await;
    house.transmit(&anna).await;
    assert_eq!((house.state(email).await, drafts()), (EmailState::Sent, 1));
    assert_eq!(server.folder(&anna.address, "drafts")[0].mime.len(), mine.len(), "it is her own");
    assert_eq!(house.handed_over_to(&bert.address), 2);
    assert_eq!(house.count(TOLD).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_up_at_the_word_to_send_is_asked_less_and_less_often() {
    let (house, anna, bert) = two().await;
    let server = house.provider.server();
    // Nothing is done: the draft stays where it is.
    server.fault(Rule::new(Broken::DropBefore).on("SendItem"));
    let email = asked(&house, &anna, &bert).await;
    let cycles = AtomicU32::new(0);
    while server.count("SendItem") < 3 {
        house.cycle(&anna, Workload::Outgoing).await;
        assert!(cycles.fetch_add(1, Ordering::Relaxed) < 20, "{} were sent", server.count("SendItem"));
        let waits = "send_recipients where state = 'waiting' and next_try_at > now() + interval '4 minutes'";
        if house.count(waits).await > 0 {
            house.later().await;
        }
    }
    assert!(cycles.load(Ordering::Relaxed) >= 4);
    server.heal();
    house.cycle(&anna, Workload::Outgoing).await;
    house.later().await;
    house.transmit(&anna).await;
    assert_eq!(house.state(email).await, EmailState::Sent);
    assert_eq!(house.handed_over_to(&bert.address), 1);
    assert!(server.folder(&anna.address, "drafts").is_empty());
}
