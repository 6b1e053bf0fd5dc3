//! Notifications of the simulated Exchange.

use std::time::Duration;

use exchange::Options;
use mail::error::Kind;
use mail::ews::{Access, Event, FolderRef, Notice};

use super::{ANNA, PASSWORD, anna, message, session_as, started_with};

#[tokio::test]
async fn new_mail_is_told_over_a_stream_and_a_lost_subscription_too() {
    let exchange =
        started_with(Options { heartbeat: Duration::from_millis(200), ..Options::default() }).await;
    let mut session = anna(&exchange).await;
    session.keep_affinity(ANNA.parse().unwrap());
    let id = session.subscribe(&[FolderRef::Inbox]).await.unwrap();
    let mut events = session.streaming_events(std::slice::from_ref(&id), 1).await.unwrap();
    assert_eq!(events.next().await.unwrap(), Some(Notice::Alive));
    exchange.deliver(ANNA, &message(1));
    let told = loop {
        match events.next().await.unwrap() {
            Some(Notice::Changed { subscription, events }) => break (subscription, events),
            Some(Notice::Alive) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told.0, id);
    assert!(told.1.contains(&Event::NewMail) || told.1.contains(&Event::Created), "{told:?}");
    drop(events);
    let mut session = anna(&exchange).await;
    session.unsubscribe(&id).await.unwrap();
    session.unsubscribe(&id).await.unwrap();
    assert_eq!(exchange.subscriptions(), 0);
    let lost = match session.streaming_events(std::slice::from_ref(&id), 1).await {
        Ok(mut events) => match events.next().await {
            Ok(Some(Notice::Lost(_, error))) | Err(error) => error,
            other => panic!("{other:?}"),
        },
        Err(error) => error,
    };
    assert_eq!(lost.kind(), &Kind::NotFound);
}

#[tokio::test]
async fn several_mailboxes_are_listened_to_over_one_connection() {
    let exchange =
        started_with(Options { heartbeat: Duration::from_millis(200), ..Options::default() }).await;
    exchange.add_account("service", PASSWORD);
    exchange.allow_impersonation("service");
    let bert = "bert@example.org";
    let mut session = session_as(&exchange, "service", ANNA, Access::Impersonation).await;
    session.keep_affinity(ANNA.parse().unwrap());
    let of_anna = session.subscribe(&[FolderRef::Inbox]).await.unwrap();
    session.turn_to(bert.parse().unwrap());
    let of_bert = session.subscribe(&[FolderRef::Inbox]).await.unwrap();
    session.turn_to(ANNA.parse().unwrap());
    let both = [of_anna.clone(), of_bert.clone()];
    let mut events = session.streaming_events(&both, 1).await.unwrap();
    for (mailbox, id) in [(bert, &of_bert), (ANNA, &of_anna)] {
        exchange.deliver(mailbox, &message(1));
        loop {
            match events.next().await.unwrap() {
                Some(Notice::Changed { subscription, .. }) if subscription == *id => break,
                Some(Notice::Changed { .. } | Notice::Alive) => {}
                other => panic!("{mailbox}: {other:?}"),
            }
        }
    }
    assert_eq!(exchange.connections().most, 1);
    assert!(exchange.requests().iter().all(|request| request.anchor == ANNA), "the group stays together");
}
