//! Sessions with a server's web services: who asks, over how many connections, in which version, and what refusals mean.

use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use mail::Proof;
use mail::error::{Busy, Distrust, Kind, Phase};
use mail::ews::{Access, FolderRef, Identity, ItemId, Schemes, Session, Settings, Version};
use mail::transport::Ends;
use model::secret::Secret;

use crate::ews_script::{CANARY, LOGIN, Say, answered, bad, envelope, fault, good, http, inbox, script};

#[tokio::test]
async fn requests_follow_one_another_on_one_connection_and_say_who_asks() {
    let server = script(|_, _| inbox()).await;
    let mut session = server.session().await;
    for _ in 0..5 {
        assert_eq!(session.get_folder(&FolderRef::Inbox).await.unwrap().name, "Inbox");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    assert_eq!(session.requests(), 5);
    assert!(session.traffic().received > 2_000 && session.traffic().sent > 2_000);
    assert_eq!(session.server().unwrap().to_string(), "15.1.2507");
    let heard = server.heard();
    assert!(heard[0].head.starts_with("POST /EWS/Exchange.asmx HTTP/1.1\r\n"));
    let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{LOGIN}:{CANARY}")));
    assert_eq!(heard[0].field("Authorization"), Some(basic.as_str()));
    assert_eq!(heard[0].field("Content-Type"), Some("text/xml; charset=utf-8"));
    assert_eq!(heard[0].field("X-AnchorMailbox"), Some(LOGIN));
    assert!(heard[0].body.contains(r#"<t:RequestServerVersion Version="Exchange2016"/></s:Header>"#));
    assert!(!heard[0].body.contains("Impersonation"));
}

#[tokio::test]
async fn a_token_an_impersonated_and_a_delegated_mailbox_are_said_in_their_own_ways() {
    let server = script(|_, _| inbox()).await;
    let token = Secret::from("eyJ0.eyJh.c2ln");
    let identity = Identity {
        login: "",
        proof: Proof::Token(&token),
        mailbox: "bob@example.com".parse().unwrap(),
        access: Access::Impersonation,
    };
    let mut session = Session::open(&server.address, &server.settings(), identity).await.unwrap();
    session.get_folder(&FolderRef::Inbox).await.unwrap();
    session.turn_to("carla@example.com".parse().unwrap());
    session.get_folder(&FolderRef::Inbox).await.unwrap();
    let mut delegate = server.session_by(&server.settings(), Access::Delegate).await;
    delegate.turn_to("support@example.com".parse().unwrap());
    delegate.get_folder(&FolderRef::Inbox).await.unwrap();
    let heard = server.heard();
    assert_eq!(heard[0].field("Authorization"), Some("Bearer eyJ0.eyJh.c2ln"));
    for (heard, who) in heard.iter().zip(["bob@example.com", "carla@example.com"]) {
        assert!(
            heard.body.contains(&format!(
                "<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>{who}</t:PrimarySmtpAddress></t:ConnectingSID></t:ExchangeImpersonation></s:Header>"
            )),
            "{}",
            heard.body
        );
        assert_eq!(heard.field("X-AnchorMailbox"), Some(who));
    }
    assert!(heard[2].body.contains(
        r#"<t:DistinguishedFolderId Id="inbox"><t:Mailbox><t:EmailAddress>support@example.com</t:EmailAddress></t:Mailbox></t:DistinguishedFolderId>"#
    ));
    assert!(!heard[2].body.contains("Impersonation"));
    assert_eq!(heard[2].field("X-AnchorMailbox"), Some("support@example.com"));
}

#[tokio::test]
async fn the_version_steps_down_until_the_server_knows_it_and_is_kept() {
    let server = script(|heard, _| {
        if heard.body.contains(r#""Exchange2010_SP2""#) {
            inbox()
        } else {
            Say::Answer(http("500 Internal Server Error", "", &fault("ErrorInvalidServerVersion", "")))
        }
    })
    .await;
    let mut session = server.session().await;
    assert_eq!(session.version(), None);
    session.get_folder(&FolderRef::Inbox).await.unwrap();
    assert_eq!(session.version(), Some(Version::Exchange2010Sp2));
    assert_eq!(server.heard().len(), 4);
    session.get_folder(&FolderRef::Inbox).await.unwrap();
    assert_eq!(server.heard().len(), 5);
    let kept = Settings { version: session.version(), ..server.settings() };
    server.session_by(&kept, Access::Own).await.get_folder(&FolderRef::Inbox).await.unwrap();
    assert_eq!(server.heard().len(), 6);
    // A server that knows none of them is refused, and not asked without an end.
    let none = script(|_, _| Say::Answer(http("500 x", "", &fault("ErrorInvalidServerVersion", "")))).await;
    let error = none.session().await.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!((error.kind(), none.heard().len()), (&Kind::PermanentlyRefused, 7));
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_opened_anew_between_two_requests() {
    let server = script(|heard, _| match inbox() {
        // Without a word about it in the answer.
        Say::Answer(bytes) if heard.connection < 2 => Say::Last(bytes),
        say => say,
    })
    .await;
    let mut session = server.session().await;
    for _ in 0..4 {
        session.get_folder(&FolderRef::Inbox).await.unwrap();
    }
    assert_eq!((server.heard().len(), server.connections.load(Ordering::SeqCst)), (4, 3));
    assert!(session.is_usable());
}

#[tokio::test]
async fn a_question_is_asked_again_when_a_kept_connection_dies_of_it_and_a_change_is_not() {
    let server =
        script(
            |heard, number| {
                if heard.body.contains("MoveItem") || number == 1 { Say::Last(Vec::new()) } else { inbox() }
            },
        )
        .await;
    let mut session = server.session().await;
    session.get_folder(&FolderRef::Inbox).await.unwrap();
    session.get_folder(&FolderRef::Inbox).await.unwrap();
    assert_eq!(server.heard().len(), 3);
    let error = session.move_item(&ItemId::new("a"), &FolderRef::JunkEmail).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::Change, &Kind::Closed));
    assert_eq!(server.heard().len(), 4);
    // The first request on a connection is not said twice: who closes on it closes on everybody.
    let closing = script(|_, _| Say::Last(Vec::new())).await;
    let error = closing.session().await.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!((error.kind(), closing.heard().len()), (&Kind::Closed, 1));
}

#[tokio::test]
async fn what_a_server_refuses_is_told_by_what_somebody_can_do() {
    let busy = r#"<t:MessageXml xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><t:Value Name="BackOffMilliseconds">90000</t:Value></t:MessageXml>"#;
    let per_message = |code: &str| match answered("GetFolder", &bad("GetFolder", code)) {
        Say::Answer(bytes) => bytes,
        _ => Vec::new(),
    };
    let seconds = Duration::from_secs;
    for (answer, phase, kind, pause) in [
        (
            http("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n", ""),
            Phase::SignIn,
            Kind::CredentialsRefused,
            None,
        ),
        (http("401 Unauthorized", "", ""), Phase::SignIn, Kind::CredentialsRefused, None),
        (
            http("401 Unauthorized", "WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\n", ""),
            Phase::SignIn,
            Kind::Unsupported("Basic authentication"),
            None,
        ),
        (http("403 Forbidden", "", ""), Phase::SignIn, Kind::MailboxDisabled, None),
        (
            http("404 Not Found", "", "<html>"),
            Phase::List,
            Kind::Unsupported("Exchange Web Services at this address"),
            None,
        ),
        (
            http("405 Method Not Allowed", "", ""),
            Phase::List,
            Kind::Unsupported("Exchange Web Services at this address"),
            None,
        ),
        (
            http("302 Found", "Location: https://evil.example/\r\n", ""),
            Phase::List,
            Kind::Violation("its answer leads elsewhere, and that is not followed"),
            None,
        ),
        (
            http("503 Service Unavailable", "Retry-After: 30\r\n", ""),
            Phase::List,
            Kind::Throttled(Busy::Server),
            Some(seconds(30)),
        ),
        (
            http("429 Too Many Requests", "Retry-After: 5\r\n", "{}"),
            Phase::List,
            Kind::Throttled(Busy::Server),
            Some(seconds(5)),
        ),
        (http("429 Too Many Requests", "", ""), Phase::List, Kind::Throttled(Busy::Server), None),
        (http("503 Service Unavailable", "", "<html>down</html>"), Phase::List, Kind::Unavailable, None),
        (http("500 Internal Server Error", "", ""), Phase::List, Kind::Unavailable, None),
        (http("502 Bad Gateway", "", "<html><body>"), Phase::List, Kind::Unavailable, None),
        (
            http("500 Internal Server Error", "", &fault("ErrorServerBusy", busy)),
            Phase::List,
            Kind::Throttled(Busy::Server),
            Some(seconds(90)),
        ),
        (
            http("200 OK", "", &fault("ErrorServerBusy", busy)),
            Phase::List,
            Kind::Throttled(Busy::Server),
            Some(seconds(90)),
        ),
        (
            http("503 Service Unavailable", "Retry-After: 7\r\n", &fault("ErrorServerBusy", "")),
            Phase::List,
            Kind::Throttled(Busy::Server),
            Some(seconds(7)),
        ),
        (
            http("500 x", "", &fault("ErrorExceededConnectionCount", "")),
            Phase::List,
            Kind::Throttled(Busy::Mailbox),
            None,
        ),
        (
            http("500 x", "", &fault("ErrorImpersonateUserDenied", "")),
            Phase::SignIn,
            Kind::ImpersonationRefused,
            None,
        ),
        (http("500 x", "", &fault("ErrorNonExistentMailbox", "")), Phase::SignIn, Kind::NoSuchMailbox, None),
        (per_message("ErrorNonExistentMailbox"), Phase::SignIn, Kind::NoSuchMailbox, None),
        (per_message("ErrorMissingEmailAddress"), Phase::SignIn, Kind::MailboxDisabled, None),
        (per_message("ErrorAccountDisabled"), Phase::SignIn, Kind::MailboxDisabled, None),
        (per_message("ErrorAccessDenied"), Phase::List, Kind::AccessDenied, None),
        (per_message("ErrorFolderNotFound"), Phase::List, Kind::NotFound, None),
        (per_message("ErrorInvalidSyncStateData"), Phase::List, Kind::SyncStateInvalid, None),
        (per_message("ErrorMailboxMoveInProgress"), Phase::List, Kind::TemporarilyRefused, None),
        (per_message("ErrorInvalidOperation"), Phase::List, Kind::PermanentlyRefused, None),
        (
            http("200 OK", "", "<html><form>Sign in</form></html>"),
            Phase::List,
            Kind::Violation("its answer is not SOAP"),
            None,
        ),
        (http("200 OK", "", &envelope("")), Phase::List, Kind::Violation("its answer is empty"), None),
        (
            http("200 OK", "", &envelope("<m:GetFolderResponse xmlns:m=\"m\"/>")),
            Phase::List,
            Kind::Violation("its answer has no folder"),
            None,
        ),
        (http("200 OK", "", ""), Phase::List, Kind::Violation("its XML ends too early"), None),
    ] {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        let server = script(move |_, _| Say::Answer(answer.clone())).await;
        let mut session = server.session().await;
        let error = session.get_folder(&FolderRef::Inbox).await.unwrap_err();
        assert_eq!((error.phase(), error.kind(), error.retry_after()), (phase, &kind, pause), "{shown}");
        assert_eq!(server.heard().len(), 1, "{shown}");
        for shown in [error.to_string(), format!("{error:?} {session:?}")] {
            assert!(!shown.contains("anna") && !shown.contains(CANARY), "{shown}");
        }
        // What was refused leaves the session as it is.
        assert!(session.is_usable(), "{shown}");
    }
}

#[tokio::test]
async fn why_a_token_is_refused_is_kept_unless_it_repeats_the_token() {
    for (field, said) in [
        (
            "x-ms-diagnostics: 2000003;reason=\"The audience is wrong.\";error_category=\"invalid_resource\"",
            true,
        ),
        ("WWW-Authenticate: Bearer error=\"invalid_token\"", true),
        ("WWW-Authenticate: Bearer error=\"invalid_token eyJ0.eyJh.c2ln\"", false),
        ("WWW-Authenticate: Bearer realm=\"x\"", false),
    ] {
        let server =
            script(move |_, _| Say::Answer(http("401 Unauthorized", &format!("{field}\r\n"), ""))).await;
        let token = Secret::from("eyJ0.eyJh.c2ln");
        let identity = Identity {
            login: "",
            proof: Proof::Token(&token),
            mailbox: LOGIN.parse().unwrap(),
            access: Access::Own,
        };
        let mut session = Session::open(&server.address, &server.settings(), identity).await.unwrap();
        let error = session.get_folder(&FolderRef::Inbox).await.unwrap_err();
        assert_eq!(error.kind(), &Kind::CredentialsRefused, "{field}");
        assert_eq!(error.said().is_some(), said, "{field}: {:?}", error.said());
    }
}

#[tokio::test]
async fn a_token_that_was_renewed_is_said_over_the_same_connection() {
    let server = script(|heard, _| match heard.field("Authorization") {
        Some("Bearer new") => inbox(),
        _ => Say::Answer(http("401 Unauthorized", "WWW-Authenticate: Bearer\r\n", "")),
    })
    .await;
    let token = Secret::from("old");
    let identity = Identity {
        login: "",
        proof: Proof::Token(&token),
        mailbox: LOGIN.parse().unwrap(),
        access: Access::Own,
    };
    let mut session = Session::open(&server.address, &server.settings(), identity).await.unwrap();
    assert!(!session.was_answered());
    let error = session.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!((error.kind(), session.was_answered()), (&Kind::CredentialsRefused, true));
    session.renew(Proof::Token(&Secret::from("new")));
    session.get_folder(&FolderRef::Inbox).await.unwrap();
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_cannot_be_said_or_may_not_be_is_refused_before_anybody_hears_it() {
    let server = script(|_, _| inbox()).await;
    let closed = Settings { schemes: Schemes { basic: false, ntlm: false }, ..server.settings() };
    let (good, odd, broken) = (Secret::from(CANARY), Secret::from("a\r\nb"), Secret::from("a b"));
    for (settings, login, proof) in [
        (&closed, LOGIN, Proof::Password(&good)),
        (&server.settings(), "anna:x", Proof::Password(&good)),
        (&server.settings(), "", Proof::Password(&good)),
        (&server.settings(), "a\r\nX: y", Proof::Password(&good)),
        (&server.settings(), LOGIN, Proof::Password(&odd)),
        (&server.settings(), "", Proof::Token(&broken)),
    ] {
        let mailbox = LOGIN.parse().unwrap();
        let identity = Identity { login, proof, mailbox, access: Access::Own };
        let error = Session::open(&server.address, settings, identity).await.unwrap_err();
        assert_eq!(error.phase(), Phase::SignIn, "{login:?}: {error}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_stranger_hears_nothing() {
    let server = script(|_, _| inbox()).await;
    let mut settings = server.settings();
    settings.transport.tls = mail::transport::Trust::system().for_profile(None).unwrap();
    let secret = Secret::from(CANARY);
    let identity = Identity {
        login: LOGIN,
        proof: Proof::Password(&secret),
        mailbox: LOGIN.parse().unwrap(),
        access: Access::Own,
    };
    let error = Session::open(&server.address, &settings, identity).await.unwrap_err();
    assert_eq!(error.kind(), &Kind::CertificateNotTrusted(Distrust::UnknownIssuer));
    assert!(server.heard().is_empty());
}

#[tokio::test]
async fn a_session_that_was_dropped_or_fell_silent_says_nothing_more_and_is_parted_from() {
    let server = script(|_, _| inbox()).await;
    let ends = Ends::default();
    let mut settings = server.settings();
    settings.transport.ends = Some(ends.clone());
    let mut session = server.session_by(&settings, Access::Own).await;
    session.get_folder(&FolderRef::Inbox).await.unwrap();
    ends.fall_silent();
    let error = session.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!((error.kind(), server.heard().len()), (&Kind::Closed, 1));
    session.close();
    assert!(ends.part(Duration::from_secs(10)).await.is_ok(), "the server closes when we do");
}

#[tokio::test]
async fn a_message_of_changes_is_read_from_a_server_that_is_not_microsofts() {
    let server = script(|_, _| {
        let body = r#"<ns2:SyncFolderItemsResponse xmlns:ns2="http://schemas.microsoft.com/exchange/services/2006/messages" xmlns="http://schemas.microsoft.com/exchange/services/2006/types"><ns2:ResponseMessages><ns2:SyncFolderItemsResponseMessage><ns2:Changes><Create><Message><DateTimeReceived>2026-11-22T21:17:45.123456789</DateTimeReceived><ItemId Id="a"/></Message></Create></ns2:Changes><ns2:SyncState>s1</ns2:SyncState></ns2:SyncFolderItemsResponseMessage></ns2:ResponseMessages></ns2:SyncFolderItemsResponse>"#;
        let envelope = format!(r#"<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Body>{body}</S:Body></S:Envelope>"#);
        Say::Last(format!("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\n\r\n{envelope}").into_bytes())
    })
    .await;
    let mut session = server.session().await;
    let page = session.sync_folder_items(&FolderRef::Inbox, None, 512).await.unwrap();
    assert_eq!((page.state.as_str(), page.last, page.changes.len()), ("s1", false, 1));
    let mail::ews::ItemChange::Created(item) = &page.changes[0] else { panic!("{page:?}") };
    assert_eq!(item.received.unwrap().to_string(), "2026-11-22T21:17:45.123456789Z");
    assert_eq!(session.server(), None);
    session.sync_folder_items(&FolderRef::Inbox, Some(&page.state), 512).await.unwrap();
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn folders_are_made_or_found_and_the_mailbox_is_marked() {
    let server = script(|heard, _| {
        let operation = ["CreateFolder", "FindFolder", "UpdateFolder", "GetFolder"]
            .into_iter()
            .find(|name| heard.body.contains(&format!("<m:{name}")))
            .unwrap();
        match operation {
            "CreateFolder" => answered(operation, &bad(operation, "ErrorFolderExists")),
            "FindFolder" => answered(
                operation,
                &good(operation, r#"<m:RootFolder IncludesLastItemInRange="true"><t:Folders><t:Folder><t:FolderId Id="other"/><t:DisplayName>Other</t:DisplayName></t:Folder><t:Folder><t:FolderId Id="found"/><t:DisplayName>undeliverable</t:DisplayName></t:Folder></t:Folders></m:RootFolder>"#),
            ),
            "UpdateFolder" => answered(operation, &good(operation, "")),
            _ => inbox(),
        }
    })
    .await;
    let mut session = server.session().await;
    let made = session.create_folder(&FolderRef::Root, "Undeliverable").await.unwrap();
    assert_eq!(made.id, "found");
    assert_eq!(session.owner_mark().await.unwrap(), None);
    let mark = mail::ews::OwnerMark { installation: "i".into(), organization: "o".into() };
    session.set_owner_mark(Some(&mark)).await.unwrap();
    assert!(server.heard().last().unwrap().body.contains("<t:Value>i/o</t:Value>"));
}
