//! Servers that mean harm, or are broken as if they did: memory stays bounded, time too, and the error says what it was.

use std::sync::atomic::Ordering;
use std::time::Duration;

use mail::error::{Kind, Phase};
use mail::ews::{Access, FolderRef, ItemId, Settings, Version};

use crate::ews_script::{CANARY, Say, envelope, http, inbox, script};

const MEBIBYTE: u64 = 1024 * 1024;

async fn refused(answer: Vec<u8>) -> Kind {
    let server = script(move |_, _| Say::Answer(answer.clone())).await;
    let error = server.session().await.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains(CANARY));
    error.kind().clone()
}

#[tokio::test]
async fn bombs_and_entities_are_refused_before_they_are_anything() {
    let levels: Vec<_> =
        (1..12).map(|n| format!("<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10))).collect();
    let levels = levels.concat();
    let laughs = format!("<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY l0 \"ha\">{levels}]><x>&l11;</x>");
    let external = r#"<?xml version="1.0"?><!DOCTYPE x SYSTEM "https://127.0.0.1:1/x.dtd"><x/>"#;
    for xml in [laughs.as_str(), external] {
        assert!(
            matches!(refused(http("200 OK", "", xml)).await, Kind::Violation(why) if why.contains("document type"))
        );
    }
    let entity = envelope("<m:R>&xxe;</m:R>");
    assert!(
        matches!(refused(http("200 OK", "", &entity)).await, Kind::Violation(why) if why.contains("entity"))
    );
    let deep = envelope(&"<a>".repeat(500_000));
    assert!(matches!(refused(http("200 OK", "", &deep)).await, Kind::Violation(why) if why.contains("deep")));
    let wide = envelope(&"<a/>".repeat(1_000_000));
    assert!(
        matches!(refused(http("200 OK", "", &wide)).await, Kind::Violation(why) if why.contains("elements"))
    );
}

#[tokio::test]
async fn a_length_of_two_gigabytes_is_refused_before_any_of_it_is_read() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2147483648\r\n\r\n".to_vec();
    assert_eq!(refused(answer).await, Kind::TooLarge("the answer"));
    // One that comes with a refusal does not hide it.
    let answer = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2147483648\r\n\r\n".to_vec();
    assert_eq!(refused(answer).await, Kind::CredentialsRefused);
}

#[tokio::test]
async fn an_endless_answer_is_left_at_its_bound() {
    let chunk = |bytes: &[u8]| [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let plain = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    let some = vec![b' '; 32 * 1024];
    for (begin, again) in [
        ([head.clone(), chunk(b"<s:Envelope>")].concat(), chunk(&some)),
        ([head, chunk(b"<s:Envelope ")].concat(), chunk(&some)),
        ([plain, b"<s:Envelope>".to_vec()].concat(), some.clone()),
    ] {
        let server = script(move |_, _| Say::Endless(begin.clone(), again.clone())).await;
        let mut session = server.session().await;
        let limit = server.settings().limits.answer_bytes;
        let error = session.get_folder(&FolderRef::Inbox).await.unwrap_err();
        assert_eq!(error.kind(), &Kind::TooLarge("the answer"));
        assert!(!session.is_usable());
        drop(session);
        // What lies in the buffers of the system is not ours.
        let poured = server.poured.load(Ordering::SeqCst);
        assert!(poured < limit + 16 * MEBIBYTE, "{poured}");
    }
}

#[tokio::test]
async fn an_endless_answer_with_a_message_is_left_too() {
    let before = envelope("").replace("</s:Body></s:Envelope>", "<m:GetItemResponse><m:ResponseMessages>");
    let head = format!("HTTP/1.1 200 OK\r\n\r\n{before}");
    let message = r#"<m:GetItemResponseMessage ResponseClass="Success"><m:Items><t:Message><t:MimeContent>"#;
    for (begin, again) in [
        // Content without an end.
        (format!("{head}{message}"), "QUJD".repeat(8192)),
        // Blanks in it, which are nothing once decoded.
        (format!("{head}{message}"), "\r\n".repeat(16_384)),
        // Text around it, or a tag that does not end.
        (format!("{head}{}", message.replace("<t:MimeContent>", "")), "text".repeat(8192)),
        (format!("{head}<m:x "), "text".repeat(8192)),
        // Messages without an end.
        (
            head.clone(),
            format!("{message}QUJD</t:MimeContent></t:Message></m:Items></m:GetItemResponseMessage>"),
        ),
    ] {
        let server =
            script(move |_, _| Say::Endless(begin.clone().into_bytes(), again.clone().into_bytes())).await;
        let mut settings = Settings { version: Some(Version::Exchange2013), ..server.settings() };
        settings.limits.drain_bytes = 4 * MEBIBYTE;
        settings.limits.message_deadline = Duration::from_secs(3);
        let mut session = server.session_by(&settings, Access::Own).await;
        let id = ItemId::new("a");
        let mut body = session.get_item(&id, MEBIBYTE).await.unwrap();
        let mut taken = 0;
        let error = loop {
            match body.chunk().await {
                Ok(Some(piece)) => taken += piece.len() as u64,
                Ok(None) => panic!("it has no end"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.phase(), Phase::Fetch);
        assert!(
            matches!(error.kind(), Kind::TooLarge(_) | Kind::Violation(_) | Kind::TimedOut),
            "{:?}",
            error.kind()
        );
        assert!(taken <= MEBIBYTE && !session.is_usable());
    }
}

#[tokio::test]
async fn heads_without_an_end_and_what_is_no_http_are_refused() {
    let server = script(|_, _| {
        Say::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-More: and more and more and more\r\n".to_vec())
    })
    .await;
    let error = server.session().await.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::TooLarge("the head of the answer")), "{:?}", error.kind());
    let server = script(|_, _| Say::Last(b"220 mail.example.com ESMTP\r\n".to_vec())).await;
    let error = server.session().await.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!(error.kind(), &Kind::Violation("its answer is not HTTP"));
}

#[tokio::test]
async fn a_server_that_says_nothing_or_stops_in_the_middle_is_left_after_its_deadline() {
    let begun = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<s:Envelope".to_vec();
    for slow in [None, Some(begun)] {
        let server = script(move |_, number| match (number, &slow) {
            (0, _) => inbox(),
            (_, None) => Say::Nothing,
            (_, Some(begun)) => Say::Answer(begun.clone()),
        })
        .await;
        let settings = server.settings_within(Duration::from_secs(2));
        let mut session = server.session_by(&settings, Access::Own).await;
        session.get_folder(&FolderRef::Inbox).await.unwrap();
        let error = session.get_folder(&FolderRef::Inbox).await.unwrap_err();
        assert_eq!((error.phase(), error.kind()), (Phase::List, &Kind::TimedOut));
        assert!(!session.is_usable());
        assert!(session.get_folder(&FolderRef::Inbox).await.is_err());
        assert_eq!(server.heard().len(), 2);
    }
}

#[tokio::test]
async fn a_server_that_dribbles_is_left_all_the_same() {
    // One byte now and then keeps every single wait short.
    let server = script(|_, _| Say::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), b" ".to_vec())).await;
    let mut settings = server.settings_within(Duration::from_secs(2));
    settings.limits.answer_bytes = u64::MAX;
    let mut session = server.session_by(&settings, Access::Own).await;
    let error = session.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!(error.kind(), &Kind::TimedOut);
}

#[tokio::test]
async fn a_request_that_is_dropped_ends_the_session() {
    let server = script(|_, number| if number == 0 { inbox() } else { Say::Nothing }).await;
    let mut session = server.session().await;
    session.get_folder(&FolderRef::Inbox).await.unwrap();
    tokio::time::timeout(Duration::from_millis(300), session.get_folder(&FolderRef::Inbox))
        .await
        .unwrap_err();
    assert!(!session.is_usable());
    assert_eq!(session.get_folder(&FolderRef::Inbox).await.unwrap_err().kind(), &Kind::Closed);
    assert_eq!(server.heard().len(), 2);
}
