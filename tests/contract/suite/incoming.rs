//! Reading: only what is new, once, in order, by the rules of the mailbox.

use cycle::Config;
use model::workload::Workload;

use crate::house::{House, config, message, received_at};
use crate::provider::Provider;

pub(crate) async fn only_what_is_new_is_fetched_and_in_the_order_of_its_arrival<P: Provider>() {
    let house = House::<P>::build().await;
    let anna = house.person("anna").await;
    for number in 0..30 {
        house.provider.deliver(&anna.address, &message(number, &anna.address));
    }
    assert_eq!(house.receive(&anna).await, 30);
    assert_eq!(house.receive(&anna).await, 0, "what was seen is not fetched again");
    for number in 30..35 {
        house.provider.deliver(&anna.address, &message(number, &anna.address));
    }
    house.door(Workload::Incoming).forget();
    assert_eq!(house.receive(&anna).await, 5);
    assert_eq!(house.count("emails").await, 35);
    let owner = house.database.owner().await.unwrap();
    let rows = owner.query("select subject from emails order by id", &[]).await.unwrap();
    let subjects: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let expected: Vec<String> = (0..35).map(|number| format!("Message {number}")).collect();
    assert_eq!(subjects, expected);
}

pub(crate) async fn what_was_recorded_is_recorded_once_however_often_it_is_offered<P: Provider>() {
    let house = House::<P>::build().await;
    let (anna, bert) = (house.person("anna").await, house.person("bert").await);
    // The same mail for both, and for Anna a second time as another item.
    let mail = message(1, "list@example.org");
    for address in [&anna.address, &anna.address, &bert.address] {
        house.provider.deliver(address, &mail);
    }
    assert_eq!(house.receive(&anna).await, 2);
    assert_eq!(house.receive(&bert).await, 1);
    house.receive(&anna).await;
    assert_eq!(house.count("emails").await, 1);
    assert_eq!(house.count("(select distinct mailbox_id from receipts) r").await, 2);
    assert_eq!(house.count("mailbox_items where decision = 'duplicate'").await, 1);
    assert_eq!(house.count("mailbox_items where decision = 'recorded'").await, 2);
}

pub(crate) async fn a_process_that_dies_in_the_middle_loses_nothing_and_doubles_nothing<P: Provider>() {
    let house = House::<P>::with(Config { batch_items: 4, ..config() }, |_| {}).await;
    let anna = house.person("anna").await;
    for number in 0..20 {
        house.provider.deliver(&anna.address, &message(number, &anna.address));
    }
    let mut cycle = house.claimed(&anna, Workload::Incoming).await.unwrap();
    let dying = tokio::spawn(async move { cycle.run(|| true).await.is_some() });
    while house.count("emails").await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    dying.abort();
    let before = house.count("emails").await;
    assert_eq!(before, house.count("mailbox_items").await, "records and decisions go together");
    // As the sweep does once the session is dead.
    house.execute("update schedules set state = 'idle', session_id = null where state = 'running'").await;
    house.receive(&anna).await;
    assert_eq!(house.count("emails").await, 20);
    assert_eq!(house.count("receipts").await, 20);
    assert_eq!(house.count("mailbox_items where decision = 'recorded'").await, 20);
}

pub(crate) async fn nothing_older_than_the_floor_comes_in_and_nothing_of_it_is_stored<P: Provider>() {
    let house = House::<P>::build().await;
    let anna = house.person("anna").await;
    house.execute("update mailboxes set process_email_received_after = '2026-11-20T12:00:00Z'").await;
    for (number, time) in ["10:00:00", "12:00:01", "11:59:59", "13:00:00"].iter().enumerate() {
        let when = format!("Fri, 20 Nov 2026 {time} +0000");
        house.provider.deliver(&anna.address, &received_at(number, &anna.address, &when));
    }
    assert_eq!(house.receive(&anna).await, 4);
    assert_eq!(house.count("emails").await, 2);
    assert_eq!(house.count("blobs").await, 2);
    let old = "mailbox_items where decision = 'before_the_floor' and email_id is null";
    assert_eq!(house.count(old).await, 2);
}

pub(crate) async fn the_policy_decides_and_of_what_it_refuses_nothing_is_stored<P: Provider>() {
    let house = House::<P>::build().await;
    let anna = house.person("anna").await;
    house.execute("update mailboxes set acceptance = 'known_senders_and_replies'").await;
    house.provider.deliver(&anna.address, &message(1, &anna.address));
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!((house.count("emails").await, house.count("blobs").await), (0, 0));
    assert_eq!(house.count("mailbox_items where decision = 'not_accepted'").await, 1);

    let known = house.person("known").await;
    let from_known = String::from_utf8(message(2, &anna.address)).unwrap();
    let from_known =
        from_known.replace("From: Sender <sender@elsewhere.example>", &format!("From: <{}>", known.address));
    house.provider.deliver(&anna.address, from_known.as_bytes());
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!(house.count("emails").await, 1);

    house.execute("update mailboxes set acceptance = 'none'").await;
    house.provider.deliver(&anna.address, from_known.replace("<2.", "<3.").as_bytes());
    house.receive(&anna).await;
    assert_eq!(house.count("emails").await, 1);
    house.execute("update mailboxes set acceptance = 'all'").await;
    house.provider.deliver(&anna.address, &message(4, &anna.address));
    house.receive(&anna).await;
    assert_eq!(house.count("emails").await, 2);
    assert_eq!(house.count("mailbox_items").await, 4, "every message has its decision");
}

pub(crate) async fn a_cycle_stops_at_its_caps_and_the_next_goes_on_there<P: Provider>() {
    let house = House::<P>::with(Config { max_items: 8, batch_items: 3, ..config() }, |_| {}).await;
    let anna = house.person("anna").await;
    for number in 0..20 {
        house.provider.deliver(&anna.address, &message(number, &anna.address));
    }
    for expected in [8, 16, 20] {
        let (_, next) = house.cycle(&anna, Workload::Incoming).await;
        assert_eq!(house.count("emails").await, expected);
        assert_eq!(next.delay.unwrap().is_zero(), expected < 20, "the rest is due at once");
    }
}
