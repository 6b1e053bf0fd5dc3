//! Sending: every state an email can come to, and what the recipients get.

use model::email::EmailState;
use model::workload::Workload;
use store::outgoing::{self, Draft};

use crate::house::{House, by, to, to_all};
use crate::provider::{Provider, Refusal};

pub(crate) async fn a_mail_to_many_arrives_once_with_each_and_is_sent<P: Provider>() {
    let house = House::<P>::build().await;
    let people = house.people(6).await;
    let draft = Draft { to: to_all(&people[1..4]), cc: to_all(&people[4..]), ..Draft::default() };
    let email = house.ask(&people[0], draft).await;
    assert_eq!(house.state(email).await, EmailState::PendingSend);
    assert_eq!(house.transmit(&people[0]).await, 1);
    assert_eq!(house.state(email).await, EmailState::Sent);
    for person in &people[1..] {
        assert_eq!(house.arrived(&person.address, 1).await.len(), 1);
    }
    assert_eq!(house.count("send_recipients where state = 'accepted'").await, 5);
    assert_eq!(house.provider.handed_over().len(), 1, "one message for all of them");
    house.transmit(&people[0]).await;
    assert_eq!(house.provider.handed_over().len(), 1, "and never again");
}

pub(crate) async fn who_is_refused_holds_up_nobody_and_who_is_deferred_gets_it_later<P: Provider>() {
    let house = House::<P>::build().await;
    let people = house.people(4).await;
    let [from, good, never, later] = &people[..] else { panic!("four people") };
    house.provider.refuse(&never.address, Some(Refusal::ForGood));
    house.provider.refuse(&later.address, Some(Refusal::ForNow));
    let email = house.ask(from, Draft { to: to_all(&people[1..]), ..Draft::default() }).await;
    house.transmit(from).await;
    assert_eq!(house.state(email).await, EmailState::PendingSend, "one recipient still waits");
    assert_eq!(house.arrived(&good.address, 1).await.len(), 1);
    for (state, expected) in [("accepted", 1), ("refused", 1), ("deferred", 1)] {
        assert_eq!(
            house.count(&format!("send_recipients where state = '{state}'")).await,
            expected,
            "{state}"
        );
    }
    assert_eq!(house.count("alerts where kind = 'recipients_refused' and server_said <> ''").await, 1);

    house.provider.refuse(&later.address, None);
    house.later().await;
    house.transmit(from).await;
    assert_eq!(house.state(email).await, EmailState::Sent);
    assert_eq!(house.arrived(&later.address, 1).await.len(), 1);
    assert_eq!(house.provider.holds(&good.address).len(), 1, "who has it gets no second one");
    assert!(house.provider.holds(&never.address).is_empty());
}

pub(crate) async fn a_mail_that_nobody_takes_has_failed<P: Provider>() {
    let house = House::<P>::build().await;
    let people = house.people(3).await;
    for person in &people[1..] {
        house.provider.refuse(&person.address, Some(Refusal::ForGood));
    }
    let email = house.ask(&people[0], Draft { to: to_all(&people[1..]), ..Draft::default() }).await;
    house.transmit(&people[0]).await;
    assert_eq!(house.state(email).await, EmailState::Failed);
    assert_eq!(house.count("alerts where email_id is not null and resolved_at is null").await, 1);
    assert_eq!(house.count("mailbox_workloads where workload = 'outgoing' and enabled").await, 3);
}

pub(crate) async fn several_mails_leave_over_one_connection_in_the_order_they_were_asked_for<P: Provider>() {
    let house = House::<P>::build().await;
    let people = house.people(2).await;
    let mut emails = Vec::new();
    for number in 0..12 {
        let draft =
            Draft { to: to(&people[1].address), subject: format!("Number {number}."), ..Draft::default() };
        emails.push(house.ask(&people[0], draft).await);
    }
    assert_eq!(house.transmit(&people[0]).await, 12);
    for email in emails {
        assert_eq!(house.state(email).await, EmailState::Sent);
    }
    assert_eq!(house.provider.submissions(), 1, "one connection for all of them");
    let handed = house.provider.handed_over();
    for (number, handed) in handed.iter().enumerate() {
        let raw = String::from_utf8_lossy(&handed.raw).to_string();
        assert!(raw.contains(&format!("Subject: Number {number}.")), "{raw}");
    }
    assert_eq!(house.arrived(&people[1].address, 12).await.len(), 12);
}

pub(crate) async fn a_reply_names_the_conversation_it_belongs_to<P: Provider>() {
    let house = House::<P>::build().await;
    let people = house.people(2).await;
    let draft = Draft {
        to: to(&people[1].address),
        in_reply_to: Some("second@example.org".to_owned()),
        references: vec!["first@example.org".to_owned(), "second@example.org".to_owned()],
        ..Draft::default()
    };
    house.ask(&people[0], draft).await;
    house.transmit(&people[0]).await;
    let arrived = house.arrived(&people[1].address, 1).await;
    let raw = String::from_utf8_lossy(&arrived[0]).replace("\r\n ", " ").replace("\r\n\t", " ");
    assert!(raw.contains("In-Reply-To: <second@example.org>"), "{raw}");
    assert!(raw.contains("References: <first@example.org> <second@example.org>"), "{raw}");
    // Its own id is the send request's, and comes back with the recipient's record.
    house.receive(&people[1]).await;
    let same = "emails o join emails i on i.message_id = o.message_id and i.direction = 'incoming'
                where o.direction = 'outgoing'";
    let linked = "send_requests r join emails i on i.message_id = r.message_id and i.direction = 'incoming'";
    assert_eq!(house.count(linked).await.max(house.count(same).await), 1);
}

pub(crate) async fn a_mail_that_is_canceled_before_its_turn_never_leaves<P: Provider>() {
    let house = House::<P>::build().await;
    let people = house.people(2).await;
    let email = house.ask(&people[0], Draft { to: to(&people[1].address), ..Draft::default() }).await;
    // Claimed already, and not begun.
    let mut cycle = house.claimed(&people[0], Workload::Outgoing).await.unwrap();
    let tenant = house.tenant().await;
    outgoing::cancel(&tenant, email, None, &by()).await.unwrap();
    tenant.commit().await.unwrap();
    let ending = cycle.run(|| true).await.unwrap();
    cycle.finish(&ending).await.unwrap();
    assert_eq!(house.handed_over_to(&people[1].address), 0);
    assert!(matches!(house.state(email).await, EmailState::Draft | EmailState::Failed));
}
