//! Messages in and out over web services: fetched in batches and as streams, kept as drafts, and sent with their fate known.

use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::stream;
use mail::Error;
use mail::error::{Kind, Phase};
use mail::ews::{Draft, Fetched, FolderRef, ItemId, Search, Sent, Session};
use mail::smtp::whole;

use crate::ews_script::{Heard, Say, Script, answered, bad, fault, good, http, inbox, script};

fn message(mime: &[u8]) -> String {
    let base64 = BASE64_STANDARD.encode(mime);
    good(
        "GetItem",
        &format!(
            r#"<m:Items><t:Message><t:MimeContent CharacterSet="UTF-8">{base64}</t:MimeContent><t:ItemId Id="a" ChangeKey="b"/></t:Message></m:Items>"#
        ),
    )
}

fn ids(count: usize) -> Vec<ItemId> {
    (0..count).map(|number| ItemId::new(format!("id-{number}"))).collect()
}

#[tokio::test]
async fn messages_come_in_their_order_and_what_is_wrong_with_one_concerns_it_alone() {
    let large = vec![b'x'; 300_000];
    let server = script(move |_, number| {
        if number == 1 {
            return inbox();
        }
        let messages = [
            message(b"Subject: one\r\n\r\n1\r\n"),
            bad("GetItem", "ErrorItemNotFound"),
            message(&large),
            message(b""),
            message(b"Subject: two\r\n\r\n2\r\n"),
        ];
        answered("GetItem", &messages.concat())
    })
    .await;
    let mut session = server.settled().await;
    let ids = ids(5);
    let mut fetching = session.get_items(&ids, 100_000).await.unwrap();
    let mut seen = Vec::new();
    while let Some((id, fetched)) = fetching.next().await.unwrap() {
        seen.push(match fetched {
            Fetched::Whole(bytes) => format!("{} {}", id.id, bytes.len()),
            Fetched::TooLarge => format!("{} too large", id.id),
            Fetched::Refused(error) => format!("{} {}", id.id, error.code().unwrap()),
        });
    }
    assert_eq!(seen, ["id-0 19", "id-1 ErrorItemNotFound", "id-2 too large", "id-3 0", "id-4 19"]);
    // The answer was read to its end: the next request finds the connection free.
    session.get_folder(&FolderRef::Inbox).await.unwrap();
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    let heard = server.heard();
    assert!(heard[0].body.contains("<t:IncludeMimeContent>true</t:IncludeMimeContent>"));
    assert!(heard[0].body.contains(r#"<t:ItemId Id="id-4"/></m:ItemIds>"#));
}

#[tokio::test]
async fn a_large_message_comes_in_pieces_and_exactly() {
    let mime: Vec<u8> = (0..3_000_000_u32).map(|number| u8::try_from(number % 251).unwrap()).collect();
    let sent = mime.clone();
    let server = script(move |_, _| answered("GetItem", &message(&sent))).await;
    let mut session = server.settled().await;
    let mut body = session.get_item(&ItemId::new("a"), 10_000_000).await.unwrap();
    let (mut received, mut largest) = (Vec::new(), 0);
    while let Some(piece) = body.chunk().await.unwrap() {
        largest = largest.max(piece.len());
        received.extend_from_slice(&piece);
    }
    assert!(received == mime, "{} bytes", received.len());
    assert!(largest < 200_000, "{largest}");
    assert!(session.is_usable());
    // A cap is a cap; the session goes on where the rest could be thrown away.
    let mut body = session.get_item(&ItemId::new("a"), 1_000_000).await.unwrap();
    let mut taken = 0;
    let error = loop {
        match body.chunk().await {
            Ok(piece) => taken += piece.unwrap().len(),
            Err(error) => break error,
        }
    };
    assert_eq!((error.phase(), error.kind()), (Phase::Fetch, &Kind::TooLarge("the message")));
    assert!(taken <= 1_000_000 && session.is_usable());
    let mut settings = server.settings();
    settings.limits.drain_bytes = 100_000;
    settings.version = Some(mail::ews::Version::Exchange2013);
    let mut session = server.session_by(&settings, mail::ews::Access::Own).await;
    let mut body = session.get_item(&ItemId::new("a"), 1_000_000).await.unwrap();
    let error = loop {
        if let Err(error) = body.chunk().await {
            break error;
        }
    };
    assert_eq!(error.kind(), &Kind::TooLarge("a message"));
    assert!(!session.is_usable());
}

#[tokio::test]
async fn a_refused_message_a_fault_and_a_cut_answer_are_told_apart() {
    let refused = script(|_, _| answered("GetItem", &bad("GetItem", "ErrorItemNotFound"))).await;
    let mut session = refused.settled().await;
    let error = session.get_item(&ItemId::new("a"), 1000).await.unwrap().chunk().await.unwrap_err();
    assert_eq!(error.kind(), &Kind::NotFound);
    assert!(session.is_usable());
    for status in ["200 OK", "500 Internal Server Error"] {
        let server = script(move |_, _| Say::Answer(http(status, "", &fault("ErrorServerBusy", "")))).await;
        let mut session = server.settled().await;
        let error = match session.get_item(&ItemId::new("a"), 1000).await {
            Ok(mut body) => body.chunk().await.unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error.kind(), Kind::Throttled(_)), "{status}: {error}");
    }
    let Say::Answer(answer) = answered("GetItem", &message(&[b'x'; 5000])) else { panic!() };
    let cut = script(move |_, _| Say::Last(answer[..answer.len() / 2].to_vec())).await;
    let mut session = cut.settled().await;
    let ids = ids(1);
    let error = session.get_items(&ids, 100_000).await.unwrap().next().await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::Fetch, &Kind::Closed));
    // Fewer, more, and none.
    for messages in [String::new(), message(b"x") + &message(b"y")] {
        let server = script(move |_, _| answered("GetItem", &messages)).await;
        let mut session = server.settled().await;
        let error = session.get_items(&ids, 100_000).await.unwrap().next().await.unwrap_err();
        assert!(matches!(error.kind(), Kind::Violation(_)), "{error}");
    }
}

#[tokio::test]
async fn a_fetch_that_is_dropped_half_way_ends_the_session() {
    let server = script(|_, _| answered("GetItem", &message(&vec![b'x'; 1_000_000]))).await;
    let mut session = server.settled().await;
    let mut body = session.get_item(&ItemId::new("a"), 10_000_000).await.unwrap();
    body.chunk().await.unwrap().unwrap();
    drop(body);
    assert!(!session.is_usable());
    assert_eq!(session.get_folder(&FolderRef::Inbox).await.unwrap_err().kind(), &Kind::Closed);
    assert_eq!(server.heard().len(), 1);
}

/// A server that keeps drafts and sends them: `bcc` says whom it keeps of the blind copies, and `send` what it says to
/// `SendItem`.
async fn outgoing(
    bcc: impl Fn(&[Heard]) -> bool + Send + Sync + 'static,
    send: impl Fn() -> Say + Send + Sync + 'static,
) -> Script {
    let seen = std::sync::Mutex::new(Vec::new());
    script(move |heard, _| {
        let mut seen = seen.lock().unwrap();
        seen.push(heard.clone());
        let item = r#"<t:ItemId Id="draft" ChangeKey="k1"/>"#;
        let items = |more: &str| format!("<m:Items><t:Message>{item}{more}</t:Message></m:Items>");
        let body = &heard.body;
        if body.contains("<m:CreateItem") {
            answered("CreateItem", &good("CreateItem", &items("")))
        } else if body.contains("<m:UpdateItem") {
            answered("UpdateItem", &good("UpdateItem", &items("")))
        } else if body.contains("<m:SendItem") {
            send()
        } else if body.contains("BccRecipients") {
            let kept = "<t:BccRecipients><t:Mailbox><t:EmailAddress>Eve@Example.com</t:EmailAddress></t:Mailbox></t:BccRecipients>";
            answered("GetItem", &good("GetItem", &items(if bcc(&seen) { kept } else { "" })))
        } else if body.contains("<m:GetItem") {
            answered("GetItem", &good("GetItem", &items("<t:InternetMessageId>&lt;a@b&gt;</t:InternetMessageId>")))
        } else {
            inbox()
        }
    })
    .await
}

fn draft(size: u64, bcc: &[&str]) -> Draft {
    let bcc = bcc.iter().map(|address| address.parse().unwrap()).collect();
    Draft { folder: FolderRef::Drafts, size, send_id: "send-1".into(), bcc }
}

fn mime(size: usize) -> Vec<u8> {
    (0..size).map(|number| u8::try_from(number % 253).unwrap()).collect()
}

fn content(heard: &Heard) -> Vec<u8> {
    let (_, rest) = heard.body.split_once(r#"<t:MimeContent CharacterSet="UTF-8">"#).unwrap();
    BASE64_STANDARD.decode(rest.split_once("</t:MimeContent>").unwrap().0).unwrap()
}

#[tokio::test]
async fn a_draft_arrives_exactly_however_its_message_is_cut() {
    let server = outgoing(|_| true, || answered("SendItem", &good("SendItem", ""))).await;
    let mut session = server.session().await;
    for (size, cut) in [(0, 1), (1, 1), (2, 1), (3, 2), (100, 7), (500_000, 65_536), (500_001, 1_000_000)] {
        let mime = mime(size);
        let pieces = stream::iter(mime.chunks(cut).map(Ok::<_, Error>));
        let id = session.create_draft(&draft(size as u64, &[]), pieces).await.unwrap();
        assert_eq!((id.id.as_str(), id.change_key.as_deref()), ("draft", Some("k1")));
        let heard = server.heard().pop().unwrap();
        assert!(content(&heard) == mime, "{size} by {cut}");
        assert!(heard.body.contains("<t:Value>send-1</t:Value>") && !heard.body.contains("Bcc"));
        assert_eq!(heard.field("Transfer-Encoding"), None);
    }
    // One request that asked for the version, and one connection.
    assert_eq!((server.heard().len(), server.connections.load(Ordering::SeqCst)), (8, 1));
    let sent = session.send_item(&ItemId::new("draft"), Some(&FolderRef::SentItems)).await.unwrap();
    assert_eq!(sent, Sent::Sent);
    assert!(session.may_have_sent());
    let said = server.heard().pop().unwrap().body;
    assert!(
        said.contains(r#"<t:ItemId Id="draft" ChangeKey="k1"/>"#),
        "asked for what sending needs: {said}"
    );
}

#[tokio::test]
async fn a_message_of_another_length_is_kept_from_the_server() {
    let server = outgoing(|_| true, || Say::Nothing).await;
    for said in [10, 12] {
        let mut session = server.settled().await;
        let mime = mime(11);
        let error = session.create_draft(&draft(said, &[]), whole::<Error>(&mime)).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::Unspeakable(_)), "{said}: {error}");
    }
    let mut session = server.settled().await;
    let broken = stream::iter([Ok(b"abc".as_slice()), Err(Error::new(Phase::Quit, Kind::Closed))]);
    let error = session.create_draft(&draft(9, &[]), broken).await.unwrap_err();
    assert_eq!(error.phase(), Phase::Quit, "the error of the source is handed on");
    assert!(server.heard().is_empty());
}

#[tokio::test]
async fn blind_copies_are_on_the_item_or_there_is_no_draft_to_send() {
    let bcc = ["eve@example.com"];
    let once = |session: Session| async move {
        let mut session = session;
        session.create_draft(&draft(3, &bcc), whole::<Error>(b"abc")).await
    };
    let kept = outgoing(|_| true, || Say::Nothing).await;
    once(kept.settled().await).await.unwrap();
    assert!(kept.heard()[0].body.contains(
        "<t:BccRecipients><t:Mailbox><t:EmailAddress>eve@example.com</t:EmailAddress></t:Mailbox></t:BccRecipients>"
    ));
    assert_eq!(kept.heard().len(), 2);
    // Lost at first, and set again.
    let late =
        outgoing(|seen| seen.iter().any(|heard| heard.body.contains("<m:UpdateItem")), || Say::Nothing).await;
    once(late.settled().await).await.unwrap();
    assert_eq!(late.heard().len(), 4);
    let never = outgoing(|_| false, || Say::Nothing).await;
    let error = once(never.settled().await).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Unsupported(_)), "{error}");
}

#[tokio::test]
async fn the_fate_of_a_message_is_told_as_far_as_it_is_known() {
    fn sent(result: Result<Sent, Error>) -> (&'static str, Phase) {
        match result {
            Ok(Sent::Sent) => ("sent", Phase::Verdict),
            Ok(Sent::Refused(error)) => ("refused", error.phase()),
            Ok(Sent::Unknown(error)) => ("unknown", error.phase()),
            Err(error) => ("not sent", error.phase()),
        }
    }
    type Answer = fn() -> Say;
    let cases: [(Answer, (&str, Phase)); 13] = [
        (|| answered("SendItem", &good("SendItem", "")), ("sent", Phase::Verdict)),
        (|| answered("SendItem", &bad("SendItem", "ErrorInvalidRecipients")), ("refused", Phase::Data)),
        (|| answered("SendItem", &bad("SendItem", "ErrorServerBusy")), ("not sent", Phase::Data)),
        (|| answered("SendItem", &bad("SendItem", "ErrorTimeoutExpired")), ("unknown", Phase::Verdict)),
        (|| Say::Last(Vec::new()), ("unknown", Phase::Verdict)),
        (
            || Say::Last(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n<s:Env".to_vec()),
            ("unknown", Phase::Verdict),
        ),
        (|| Say::Answer(http("200 OK", "", "<html/>")), ("unknown", Phase::Verdict)),
        (|| Say::Answer(http("502 Bad Gateway", "", "")), ("unknown", Phase::Verdict)),
        (|| Say::Answer(http("503 x", "Retry-After: 9\r\n", "")), ("not sent", Phase::Data)),
        (|| Say::Answer(http("401 Unauthorized", "", "")), ("not sent", Phase::SignIn)),
        (
            || Say::Answer(http("500 x", "", &fault("ErrorImpersonateUserDenied", ""))),
            ("not sent", Phase::SignIn),
        ),
        (
            || answered("SendItem", &bad("SendItem", "ErrorMailboxStoreUnavailable")),
            ("not sent", Phase::Data),
        ),
        (|| answered("SendItem", &bad("SendItem", "ErrorItemNotFound")), ("unknown", Phase::Verdict)),
    ];
    for (number, (answer, expected)) in cases.into_iter().enumerate() {
        let server = outgoing(|_| true, answer).await;
        let mut session = server.settled().await;
        let id = ItemId { id: "draft".into(), change_key: Some("k".into()) };
        let outcome = sent(session.send_item(&id, None).await);
        assert_eq!(outcome, expected, "{number}");
        assert_eq!(server.heard().len(), 1, "{number}: it is said once");
        assert_eq!(session.may_have_sent(), matches!(expected.0, "sent" | "unknown"), "{number}");
    }
}

#[tokio::test]
async fn what_is_looked_for_is_found_by_us_even_where_the_server_finds_everything() {
    let server = script(|_, _| {
        let item = |id: &str, send: &str| {
            format!(r#"<t:Message><t:ItemId Id="{id}"/><t:ExtendedProperty><t:ExtendedFieldURI PropertySetId="fdde4ea6-9be5-4bba-b33f-cb1fd988233a" PropertyName="LockstepSend" PropertyType="String"/><t:Value>{send}</t:Value></t:ExtendedProperty></t:Message>"#)
        };
        let items = item("a", "send-1") + &item("b", "send-2") + r#"<t:Message><t:ItemId Id="c"/></t:Message>"#;
        answered("FindItem", &good("FindItem", &format!(r#"<m:RootFolder TotalItemsInView="3" IncludesLastItemInRange="true"><t:Items>{items}</t:Items></m:RootFolder>"#)))
    })
    .await;
    let mut session = server.session().await;
    let found =
        session.find_items(&FolderRef::Drafts, &Search::SendId("send-2".into()), 0, 10).await.unwrap();
    assert_eq!(found.items.iter().map(|item| item.id.id.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(found.next, None);
}
