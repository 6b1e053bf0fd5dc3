//! What only an Exchange server does to a mailbox: items that move, states that are forgotten, pauses that are asked for, copies
//! that appear late.

use std::time::Duration;

use ::exchange::{Fault as Broken, Options, Rule, SentCopy};
use cycle::{BackOff, Config};
use model::alert::AlertKind;
use model::cadence::{DueReason, Outcome};
use model::email::EmailState;
use model::failure::FailureScope;
use model::workload::Workload;
use servers::Fault;
use store::outgoing::Draft;

use super::ExchangeEws;
use crate::house::{House, by, config, message, to};
use crate::pop3_smtp::Pop3Smtp;
use crate::provider::Provider as _;

type Here = House<ExchangeEws>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_messages_are_recorded_once_each_although_ten_cycles_die_on_the_way() {
    const ALL: i64 = 10_000;
    let house = Here::with(Config { max_items: 2_000, batch_items: 250, ..config() }, |_| {}).await;
    let anna = house.person("anna").await;
    for number in 0..ALL {
        house.provider.deliver(&anna.address, &message(usize::try_from(number).unwrap(), &anna.address));
    }
    let mut deaths = 0;
    while house.count("mailbox_items").await < ALL {
        let mut cycle = house.claimed(&anna, Workload::Incoming).await.unwrap();
        let before = house.count("mailbox_items").await;
        let running = tokio::spawn(async move {
            let ending = cycle.run(|| true).await;
            (ending, cycle)
        });
        if deaths < 10 {
            // Somewhere in the middle of a batch: after the first, the second, the third one of this cycle.
            let batches = 250 * (1 + deaths % 3);
            while !running.is_finished() && house.count("mailbox_items").await < (before + batches).min(ALL) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            running.abort();
            deaths += 1;
            running.await.ok();
            house
                .execute("update schedules set state = 'idle', session_id = null where state = 'running'")
                .await;
        } else {
            let (ending, cycle) = running.await.unwrap();
            cycle.finish(&ending.unwrap()).await.unwrap();
        }
        let kept = "emails e where not exists (select from mailbox_items i where i.email_id = e.id)";
        assert_eq!(house.count(kept).await, 0, "records and decisions go together");
    }
    assert_eq!(deaths, 10);
    for what in ["emails", "receipts", "mailbox_items where decision = 'recorded'"] {
        assert_eq!(house.count(what).await, ALL, "{what}");
    }
    assert_eq!(house.receive(&anna).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_moves_or_goes_while_it_is_read_is_nobodys_failure() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    for number in 0..6 {
        house.provider.deliver(&anna.address, &message(number, &anna.address));
    }
    let door = house.door(Workload::Incoming);
    door.set(Fault::Hold(2));
    let mut cycle = house.claimed(&anna, Workload::Incoming).await.unwrap();
    let running = tokio::spawn(async move { (cycle.run(|| true).await.unwrap(), cycle) });
    door.reached().await;
    // Listed, and asked for in a moment: one is deleted, one moves away, one is read by its owner.
    let listed = server.folder(&anna.address, "inbox");
    server.remove(&listed[0].id);
    server.relocate(&listed[1].id, "deleteditems");
    server.set_read(&listed[2].id, true);
    door.go_on();
    let (ending, cycle) = running.await.unwrap();
    door.set(Fault::None);
    assert!(matches!(ending.outcome, Outcome::Done { items: 4, .. }), "{:?}", ending.outcome);
    cycle.finish(&ending).await.unwrap();
    assert_eq!((house.count("emails").await, house.count("mailbox_items").await), (4, 4));
    house.receive(&anna).await;
    assert_eq!((house.count("emails").await, house.count("alerts").await), (4, 0));

    // Moved back it has another id there, and is the same item here; what is deleted there stays here.
    let recorded = server.folder(&anna.address, "inbox");
    let away = server.relocate(&recorded[0].id, "deleteditems");
    house.receive(&anna).await;
    assert_eq!(house.count("mailbox_items where gone_at is not null").await, 1);
    server.relocate(&away, "inbox");
    server.remove(&recorded[1].id);
    assert_eq!(house.receive(&anna).await, 0);
    assert_eq!((house.count("emails").await, house.count("mailbox_items").await), (4, 4));
    assert_eq!(house.count("mailbox_items where gone_at is not null").await, 1);
    assert_eq!(house.count("receipts").await, 4);
    // Nobody's read flag was touched, and nothing was deleted.
    let flags: Vec<bool> = server.folder(&anna.address, "inbox").iter().map(|shown| shown.read).collect();
    assert_eq!(flags.iter().filter(|read| **read).count(), 1, "{flags:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_the_server_forgot_means_to_compare_all_and_to_record_nothing_twice() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    for number in 0..20 {
        house.provider.deliver(&anna.address, &message(number, &anna.address));
    }
    assert_eq!(house.receive(&anna).await, 20);
    house.provider.deliver(&anna.address, &message(20, &anna.address));
    server.fault(Rule::new(Broken::SyncStateInvalid).on("SyncFolderItems").times(1));
    let before = server.count("GetItem");
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!(server.count("GetItem") - before, 1, "what is known is not fetched again");
    assert_eq!((house.count("emails").await, house.count("receipts").await), (21, 21));

    server.fault(Rule::new(Broken::DuplicatedChanges).on("SyncFolderItems"));
    house.provider.deliver(&anna.address, &message(21, &anna.address));
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!(house.count("emails").await, 22);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_the_server_asks_for_is_no_failure_and_is_told_on() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    house.provider.deliver(&anna.address, &message(1, &anna.address));
    let five = Duration::from_secs(5);
    for (fault, asked) in [
        (Broken::Status(503, Some(5)), Some(five)),
        (Broken::Status(429, Some(5)), Some(five)),
        (Broken::Busy(Some(five)), Some(five)),
        (Broken::BusyMessage(Some(five)), Some(five)),
        // Nobody is held back for longer than an hour, whatever a server says.
        (Broken::Busy(Some(Duration::from_secs(900_000))), Some(Duration::from_secs(3600))),
        (Broken::Refused("ErrorExceededConnectionCount".to_owned()), None),
    ] {
        server.fault(Rule::new(fault.clone()).on("SyncFolderItems").times(1));
        let (ending, next) = house.cycle(&anna, Workload::Incoming).await;
        assert!(
            matches!(ending.outcome, Outcome::Snooze { reason: DueReason::ServerAsked, .. }),
            "{fault:?}: {:?}",
            ending.outcome
        );
        assert_eq!(ending.back_off.map(|BackOff { pause, .. }| pause), asked, "{fault:?}");
        assert_eq!((next.reason, next.failures), (DueReason::ServerAsked, 0), "{fault:?}");
        assert!(next.delay.is_some_and(|delay| asked.is_none_or(|asked| delay >= asked)), "{fault:?}");
        server.heal();
        house.later().await;
        house.execute("update schedules set not_before = null").await;
    }
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!(house.count("alerts").await, 0, "nothing is wrong with a server that asks for a pause");
    house.assert_recovered().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_class_of_an_item_decides_who_takes_care_of_it() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    for (number, class) in [
        "IPM.Note",
        "IPM.Note.SMIME.MultipartSigned",
        "REPORT.IPM.Note.NDR",
        "IPM.Schedule.Meeting.Request",
        "IPM.Schedule.Meeting.Resp.Pos",
        "IPM.Contact",
        "IPM.StickyNote",
    ]
    .into_iter()
    .enumerate()
    {
        let raw = message(number, &anna.address);
        let id = server.put(&anna.address, "inbox", &raw, model::clock::now(), false);
        server.set_class(&id, class);
    }
    assert_eq!(house.receive(&anna).await, 7);
    assert_eq!(house.count("emails").await, 3);
    for (rule, items) in [("meeting", 2), ("item_class", 2)] {
        let ignored = format!("mailbox_items where decision = 'ignored_class' and rule = '{rule}'");
        assert_eq!(house.count(&ignored).await, items, "{rule}");
    }
    assert_eq!(house.count("blobs").await, 3, "nothing is stored of the others");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_mail_to_a_pop3_and_an_exchange_mailbox_is_one_record_with_two_receipts() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let pop3 = Pop3Smtp::start().await;
    let tenant = house.tenant().await;
    let mut fields = pop3.profile();
    "by POP3".clone_into(&mut fields.name);
    let profile = store::profile::create(&tenant, &fields, &by()).await.unwrap().id;
    tenant.commit().await.unwrap();
    let bert =
        house.person_at("bert", profile, |address, password| pop3.add_mailbox(address, password)).await;

    let mail = message(1, "both@example.org");
    house.provider.deliver(&anna.address, &mail);
    pop3.deliver(&bert.address, &mail);
    assert_eq!((house.receive(&anna).await, house.receive(&bert).await), (1, 1));
    assert_eq!(house.count("emails").await, 1);
    assert_eq!(house.count("(select distinct mailbox_id from receipts) r").await, 2);
    assert_eq!(house.count("mailbox_items where decision = 'recorded'").await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_appears_late_ends_the_doubt_when_it_does() {
    let house = Here::build().await;
    let people = house.people(2).await;
    let server = house.provider.server();
    server.reconfigure(|options: &mut Options| options.sent_copy = SentCopy::Late(Duration::from_secs(2)));
    server.fault(Rule::new(Broken::DropAfter).on("SendItem").times(1));
    let email = house.ask(&people[0], Draft { to: to(&people[1].address), ..Draft::default() }).await;
    house.cycle(&people[0], Workload::Outgoing).await;
    assert_eq!(house.state(email).await, EmailState::Unknown);
    assert_eq!(house.count("alerts").await, 0, "nobody is told while the server can still tell");
    // It is neither a draft any more nor among the sent items yet: looked for again soon.
    house.execute("update schedules set not_before = null").await;
    let mut looks = 0;
    while house.state(email).await == EmailState::Unknown {
        house.execute("update schedules set not_before = null").await;
        let (_, next) = house.cycle(&people[0], Workload::Outgoing).await;
        looks += 1;
        if house.state(email).await == EmailState::Unknown {
            assert!(next.delay.is_some_and(|delay| delay <= Duration::from_secs(20)), "{next:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(looks < 100, "it never ended");
    }
    assert_eq!(house.state(email).await, EmailState::Sent);
    assert_eq!(house.count("alerts where kind = 'send_unknown' and resolved_at is null").await, 0);
    assert_eq!(house.handed_over_to(&people[1].address), 1);
    assert!(server.folder(&people[0].address, "drafts").is_empty(), "no draft stays behind");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_send_that_the_server_puts_off_leaves_no_draft_and_is_tried_again() {
    let house = Here::build().await;
    let people = house.people(2).await;
    let server = house.provider.server();
    let email = house.ask(&people[0], Draft { to: to(&people[1].address), ..Draft::default() }).await;
    for fault in [Broken::Busy(None), Broken::BusyMessage(None), Broken::Status(503, Some(1))] {
        server.fault(Rule::new(fault.clone()).on("SendItem").times(1));
        house.cycle(&people[0], Workload::Outgoing).await;
        assert_eq!(house.state(email).await, EmailState::PendingSend, "{fault:?}");
        assert!(server.folder(&people[0].address, "drafts").is_empty(), "{fault:?}");
        house.later().await;
        house.execute("update schedules set not_before = null").await;
    }
    house.transmit(&people[0]).await;
    assert_eq!(house.state(email).await, EmailState::Sent);
    assert_eq!(house.handed_over_to(&people[1].address), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_that_finds_nothing_writes_nothing() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    house.provider.deliver(&anna.address, &message(1, &anna.address));
    assert_eq!(house.receive(&anna).await, 1);
    house.execute("update cursors set modified_at = '2000-01-01'").await;
    assert_eq!(house.receive(&anna).await, 0);
    assert_eq!(house.count("cursors where modified_at > '2000-01-01'").await, 0);
    house.provider.deliver(&anna.address, &message(2, &anna.address));
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!(house.count("cursors where modified_at > '2000-01-01'").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_would_break_a_careless_reader_are_the_servers_failure_and_harm_nothing() {
    let house = Here::with(Config { phase_seconds: 3, ..config() }, |_| {}).await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    house.provider.deliver(&anna.address, &message(1, &anna.address));
    for fault in [
        Broken::DropBefore,
        Broken::DropMidway,
        Broken::DropAfter,
        Broken::Truncated,
        Broken::EntityBomb,
        Broken::ExternalEntity,
        Broken::EndlessChunks,
        Broken::FalseLength(2_000_000_000),
        Broken::WebPage,
        Broken::Status(500, None),
    ] {
        for operation in ["SyncFolderItems", "GetItem"] {
            server.fault(Rule::new(fault.clone()).on(operation));
            let (ending, _) = house.cycle(&anna, Workload::Incoming).await;
            match &ending.outcome {
                Outcome::Failed(failure) => {
                    let scopes = [FailureScope::Server, FailureScope::Mailbox];
                    assert!(scopes.contains(&failure.scope), "{fault:?} at {operation}: {failure:?}");
                    assert_ne!(failure.alert, AlertKind::LockstepFault, "{fault:?} at {operation}");
                }
                other => panic!("{fault:?} at {operation}: {other:?}"),
            }
            assert_eq!(house.count("emails").await, 0, "{fault:?} at {operation}");
            assert_eq!(house.count("mailbox_workloads where enabled").await, 2);
            server.heal();
            house.execute("update endpoints set open_until = null, failures = 0").await;
            house.execute("update schedules set not_before = null, failures = 0, wished_at = null").await;
            house.execute("update mailbox_items set attempts = 1, next_try_at = now()").await;
        }
    }
    house.later().await;
    house.receive(&anna).await;
    house.later().await;
    house.receive(&anna).await;
    assert_eq!(house.count("emails").await, 1);
}
