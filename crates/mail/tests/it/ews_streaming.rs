//! Notifications: one answer that goes on, cut wherever the network cuts it.

use std::time::Duration;

use mail::error::{Kind, Phase};
use mail::ews::{Event, FolderRef, Notice, SubscriptionId};

use crate::ews_script::{Say, answered, bad, envelope, fault, good, http, script};

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn told(inside: &str) -> String {
    envelope(&format!(
        r#"<m:GetStreamingEventsResponse xmlns:m="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><m:ResponseMessages>{inside}</m:ResponseMessages></m:GetStreamingEventsResponse>"#
    ))
}

fn notification(id: &str, event: &str) -> String {
    good(
        "GetStreamingEvents",
        &format!(
            r#"<m:Notifications><m:Notification><t:SubscriptionId>{id}</t:SubscriptionId><t:{event}><t:TimeStamp>2026-11-22T21:17:45Z</t:TimeStamp><t:ItemId Id="i" ChangeKey="k"/></t:{event}></m:Notification></m:Notifications>"#
        ),
    )
}

#[tokio::test]
async fn notifications_are_told_one_by_one_until_the_minutes_are_over() {
    let server = script(|heard, _| {
        if heard.body.contains("<m:Subscribe>") {
            return match answered("Subscribe", &good("Subscribe", "<m:SubscriptionId>one</m:SubscriptionId>")) {
                Say::Answer(bytes) => {
                    let text = String::from_utf8(bytes).unwrap();
                    let field = "200 OK\r\nSet-Cookie: X-BackEndOverrideCookie=be1~5; path=/; HttpOnly\r\n";
                    Say::Answer(text.replacen("200 OK\r\n", field, 1).into_bytes())
                }
                say => say,
            };
        }
        let lost = bad("GetStreamingEvents", "ErrorSubscriptionNotFound").replace(
            "</m:GetStreamingEventsResponseMessage>",
            "<m:ErrorSubscriptionIds><m:SubscriptionId>two</m:SubscriptionId></m:ErrorSubscriptionIds></m:GetStreamingEventsResponseMessage>",
        );
        let stream = [
            told(&good("GetStreamingEvents", "<m:ConnectionStatus>OK</m:ConnectionStatus>")),
            told(&notification("one", "StatusEvent")),
            told(&notification("one", "NewMailEvent")) + "\r\n" + &told(&notification("three", "CreatedEvent")),
            told(&lost),
            told(&good("GetStreamingEvents", "<m:ConnectionStatus>Closed</m:ConnectionStatus>")),
        ]
        .concat();
        // Cut where no envelope ends.
        let chunks: String = stream.as_bytes().chunks(777).map(|part| chunk(std::str::from_utf8(part).unwrap())).collect();
        Say::Answer(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n").into_bytes())
    })
    .await;
    let mut session = server.session().await;
    session.keep_affinity("group@example.com".parse().unwrap());
    let id = session.subscribe(&[FolderRef::Inbox]).await.unwrap();
    assert_eq!(id, SubscriptionId("one".into()));
    let mut events = session.streaming_events(std::slice::from_ref(&id), 5).await.unwrap();
    let mut notices = Vec::new();
    while let Some(notice) = events.next().await.unwrap() {
        notices.push(notice);
    }
    let changed =
        |id: &str, event| Notice::Changed { subscription: SubscriptionId(id.into()), events: vec![event] };
    assert_eq!(
        notices[..4],
        [Notice::Alive, Notice::Alive, changed("one", Event::NewMail), changed("three", Event::Created),]
    );
    let Notice::Lost(lost, error) = &notices[4] else { panic!("{notices:?}") };
    assert_eq!((lost.as_slice(), error.kind()), ([SubscriptionId("two".into())].as_slice(), &Kind::NotFound));
    assert_eq!((&notices[5], notices.len()), (&Notice::Alive, 6));
    assert!(session.is_usable());
    let heard = server.heard();
    assert_eq!(heard[0].field("X-AnchorMailbox"), Some("group@example.com"));
    assert_eq!(heard[0].field("X-PreferServerAffinity"), Some("true"));
    assert_eq!(heard[0].field("Cookie"), None);
    assert_eq!(heard[1].field("Cookie"), Some("X-BackEndOverrideCookie=be1~5"));
}

#[tokio::test]
async fn waiting_for_a_notification_may_be_given_up_and_begun_again() {
    let server = script(|_, _| {
        let begin = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            chunk(&told(&good("GetStreamingEvents", "<m:ConnectionStatus>OK</m:ConnectionStatus>")))
        );
        Say::Answer(begin.into_bytes())
    })
    .await;
    let mut session = server.settled().await;
    let mut events = session.streaming_events(&[SubscriptionId("one".into())], 1).await.unwrap();
    assert_eq!(events.next().await.unwrap(), Some(Notice::Alive));
    for _ in 0..3 {
        tokio::time::timeout(Duration::from_millis(50), events.next()).await.unwrap_err();
    }
    drop(events);
    assert!(!session.is_usable());
}

#[tokio::test]
async fn a_stream_that_is_refused_broken_or_cut_is_told_as_that() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (answer, kind) in [
        (
            http("500 x", "", &fault("ErrorExceededSubscriptionCount", "")),
            Kind::Throttled(mail::error::Busy::Mailbox),
        ),
        (http("200 OK", "", &fault("ErrorServerBusy", "")), Kind::Throttled(mail::error::Busy::Server)),
        (
            format!("{head}{}", chunk("<a></b></a>")).into_bytes(),
            Kind::Violation("its XML is not well formed"),
        ),
        (
            format!("{head}{}", chunk("<!DOCTYPE a>")).into_bytes(),
            Kind::Violation("its XML declares a document type, which is not read"),
        ),
        (format!("{head}{}", &chunk("<a><b>")[..7]).into_bytes(), Kind::Closed),
    ] {
        let server = script(move |_, _| Say::Last(answer.clone())).await;
        let mut session = server.settled().await;
        let error = match session.streaming_events(&[SubscriptionId("one".into())], 1).await {
            Ok(mut events) => events.next().await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!((error.phase(), error.kind()), (Phase::Watch, &kind));
    }
}

#[tokio::test]
async fn a_notification_without_an_end_is_left_at_its_bound() {
    let server = script(|_, _| {
        Say::Endless(
            format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{}", chunk("<s:Envelope>"))
                .into_bytes(),
            chunk(&"<a></a>".repeat(1000)).into_bytes(),
        )
    })
    .await;
    let mut session = server.settled().await;
    let mut events = session.streaming_events(&[SubscriptionId("one".into())], 1).await.unwrap();
    let error = events.next().await.unwrap_err();
    assert_eq!(error.kind(), &Kind::Violation("what it tells at once is too much"));
}
