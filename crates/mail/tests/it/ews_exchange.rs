//! Mail in and out of an Exchange, as far as one can be had here: the simulator that exchangelib is content with.

use std::time::Duration;

use exchange::{Exchange, Fault, Options, Rule, SentCopy};
use futures_util::stream;
use mail::Error;
use mail::Proof;
use mail::error::{Busy, Kind, Phase};
use mail::ews::autodiscover::{Candidate, Credentials, Discovery, discover_from};
use mail::ews::{
    Access, Address, Deletion, Draft, Event, Fetched, FolderRef, Identity, ItemChange, ItemId, Limits,
    Notice, OwnerMark, RecipientKind, Schemes, Search, Sent, Session, Settings, Version,
};
use model::secret::Secret;

use crate::pop3_script;

const ANNA: &str = "anna@example.org";
const PASSWORD: &str = "Kanarienvogel-4711";

async fn started() -> Exchange {
    started_with(Options::default()).await
}

async fn started_with(options: Options) -> Exchange {
    let exchange = Exchange::start(options).await;
    exchange.add_mailbox(ANNA, "Anna", PASSWORD);
    exchange.add_mailbox("bert@example.org", "Bert", PASSWORD);
    exchange
}

fn settings(exchange: &Exchange) -> Settings {
    Settings {
        transport: pop3_script::settings(Some(exchange.ca_pem().as_bytes()), Duration::from_secs(10)),
        schemes: Schemes::default(),
        limits: Limits { message_deadline: Duration::from_secs(60), ..Limits::default() },
        version: None,
    }
}

async fn session_as(exchange: &Exchange, login: &str, mailbox: &str, access: Access) -> Session {
    let secret = Secret::from(PASSWORD);
    let proof = Proof::Password(&secret);
    let identity = Identity { login, proof, mailbox: mailbox.parse().unwrap(), access };
    let address = Address::parse(&exchange.url()).unwrap();
    Session::open(&address, &settings(exchange), identity).await.unwrap()
}

async fn anna(exchange: &Exchange) -> Session {
    session_as(exchange, ANNA, ANNA, Access::Own).await
}

fn message(number: usize) -> Vec<u8> {
    format!(
        "From: Carla <carla@example.net>\r\nTo: anna@example.org\r\nSubject: Number {number}\r\nMessage-ID: <{number}@example.net>\r\nDate: Sun, 22 Nov 2026 21:17:45 +0000\r\n\r\nThis is number {number}.\r\n"
    )
    .into_bytes()
}

fn draft(mime: &[u8], send_id: &str, bcc: &[&str]) -> Draft {
    Draft {
        folder: FolderRef::Drafts,
        size: mime.len() as u64,
        send_id: send_id.to_owned(),
        bcc: bcc.iter().map(|address| address.parse().unwrap()).collect(),
    }
}

fn mime(to: &str, subject: &str) -> Vec<u8> {
    format!(
        "From: Anna <anna@example.org>\r\nTo: {to}\r\nSubject: {subject}\r\nMessage-ID: <given@lockstep>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nHello.\r\n"
    )
    .into_bytes()
}

#[tokio::test]
async fn a_mailbox_is_read_page_by_page_and_left_as_it_is() {
    let exchange = started().await;
    for number in 0..25 {
        exchange.deliver(ANNA, &message(number));
    }
    let mut session = anna(&exchange).await;
    let folder = session.get_folder(&FolderRef::Inbox).await.unwrap();
    assert_eq!((folder.total, folder.unread), (Some(25), Some(25)));
    let (mut state, mut items) = (None, Vec::new());
    let mut pages = 0;
    loop {
        let page = session.sync_folder_items(&FolderRef::Inbox, state.as_deref(), 10).await.unwrap();
        pages += 1;
        for change in page.changes {
            let ItemChange::Created(item) = change else { panic!("{change:?}") };
            items.push(item);
        }
        state = Some(page.state);
        if page.last {
            break;
        }
    }
    assert_eq!((pages, items.len()), (3, 25));
    let lying = exchange.folder(ANNA, "inbox");
    for item in &items {
        let shown = lying.iter().find(|shown| shown.id == item.id.id).unwrap();
        assert_eq!(item.class.as_deref(), Some("IPM.Note"));
        assert_eq!(item.search_key.as_ref(), Some(&shown.search_key));
        assert_eq!(item.message_id.as_ref(), Some(&shown.message_id));
        assert!(item.received.is_some() && item.size.is_some_and(|size| size > 50));
        assert_eq!(item.read, Some(false));
    }
    let ids: Vec<_> = items.iter().map(|item| ItemId::new(item.id.id.clone())).collect();
    let mut fetching = session.get_items(&ids, 1_000_000).await.unwrap();
    let mut fetched = 0;
    while let Some((id, message)) = fetching.next().await.unwrap() {
        let Fetched::Whole(bytes) = message else { panic!("{message:?}") };
        let shown = lying.iter().find(|shown| shown.id == id.id).unwrap();
        assert!(bytes == shown.mime, "{}", shown.subject);
        fetched += 1;
    }
    assert_eq!(fetched, 25);
    assert!(exchange.folder(ANNA, "inbox").iter().all(|shown| !shown.read), "reading marks nothing");
    assert_eq!(exchange.connections_of(ANNA).most, 1);
}

#[tokio::test]
async fn changes_are_told_and_a_state_that_is_lost_is_told_too() {
    let exchange = started().await;
    for number in 0..4 {
        exchange.deliver(ANNA, &message(number));
    }
    let mut session = anna(&exchange).await;
    let first = session.sync_folder_items(&FolderRef::Inbox, None, 512).await.unwrap();
    let lying = exchange.folder(ANNA, "inbox");
    exchange.remove(&lying[0].id);
    exchange.set_read(&lying[1].id, true);
    exchange.relocate(&lying[2].id, "deleteditems");
    exchange.set_subject(&lying[3].id, "Another");
    let next = session.sync_folder_items(&FolderRef::Inbox, Some(&first.state), 512).await.unwrap();
    let gone: Vec<_> = next
        .changes
        .iter()
        .filter_map(|change| match change {
            ItemChange::Deleted(id) => Some(id.id.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(gone.len(), 2);
    assert!(gone.contains(&lying[0].id.as_str()) && gone.contains(&lying[2].id.as_str()));
    let is_read = |change: &ItemChange| matches!(change, ItemChange::ReadFlag { id, read: true } if id.id == lying[1].id);
    assert!(next.changes.iter().any(is_read), "{:?}", next.changes);
    let is_updated =
        |change: &ItemChange| matches!(change, ItemChange::Updated(item) if item.id.id == lying[3].id);
    assert!(next.changes.iter().any(is_updated), "{:?}", next.changes);
    // It is another item where it went, and the same thing.
    let found = session
        .find_items(&FolderRef::DeletedItems, &Search::SearchKey(lying[2].search_key.clone()), 0, 10)
        .await
        .unwrap();
    assert_eq!(found.items.len(), 1);
    assert_ne!(found.items[0].id.id, lying[2].id);
    for state in ["", "bm9uc2Vuc2U=", "H4sIAAA"] {
        let error = session.sync_folder_items(&FolderRef::Inbox, Some(state), 512).await.err();
        if !state.is_empty() {
            assert_eq!(error.unwrap().kind(), &Kind::SyncStateInvalid, "{state}");
        }
    }
}

#[tokio::test]
async fn a_draft_is_sent_once_with_its_blind_copies_and_found_by_its_send_id() {
    let exchange = started().await;
    exchange.add_mailbox("eve@example.org", "Eve", PASSWORD);
    let mut session = anna(&exchange).await;
    let mime = mime("bert@example.org", "Offer");
    let pieces = stream::iter(mime.chunks(50).map(Ok::<_, Error>));
    let id = session.create_draft(&draft(&mime, "send-1", &["eve@example.org"]), pieces).await.unwrap();
    let found =
        session.find_items(&FolderRef::Drafts, &Search::SendId("send-1".into()), 0, 10).await.unwrap();
    assert_eq!(found.items.iter().map(|item| &item.id.id).collect::<Vec<_>>(), [&id.id]);
    assert_eq!(exchange.handed(), [], "kept, and not sent");
    assert_eq!(session.send_item(&id, Some(&FolderRef::SentItems)).await.unwrap(), Sent::Sent);
    let handed = exchange.handed();
    assert_eq!(handed.len(), 1);
    assert_eq!(handed[0].recipients, ["bert@example.org", "eve@example.org"]);
    for mailbox in ["bert@example.org", "eve@example.org"] {
        let got = exchange.folder(mailbox, "inbox");
        assert_eq!((got.len(), got[0].subject.as_str()), (1, "Offer"), "{mailbox}");
        let text = String::from_utf8_lossy(&got[0].mime).to_lowercase();
        assert!(!text.contains("eve@example.org"), "nobody sees a blind copy: {text}");
    }
    // The draft is gone; the copy has our send id, and the Message-ID that the server gave.
    let drafts =
        session.find_items(&FolderRef::Drafts, &Search::SendId("send-1".into()), 0, 10).await.unwrap();
    assert_eq!(drafts.items, []);
    let sent =
        session.find_items(&FolderRef::SentItems, &Search::SendId("send-1".into()), 0, 10).await.unwrap();
    assert_eq!(sent.items.len(), 1);
    let facts = session.get_item_facts(&[sent.items[0].id.clone()]).await.unwrap().pop().unwrap().unwrap();
    assert_eq!(facts.message_id.as_deref(), Some(handed[0].message_id.as_str()));
    // Once more is an error, and no second mail.
    match session.send_item(&id, None).await {
        Ok(Sent::Refused(error)) => assert_eq!(error.kind(), &Kind::NotFound),
        other => panic!("{other:?}"),
    }
    assert_eq!(exchange.handed().len(), 1);
}

#[tokio::test]
async fn in_whose_name_it_leaves_and_where_the_copy_lands_is_the_mailboxs_whoever_signs_in() {
    let exchange = started().await;
    let support = "support@example.org";
    exchange.add_mailbox(support, "Support", PASSWORD);
    exchange.add_account("service", PASSWORD);
    exchange.allow_impersonation("service");
    exchange.set_delegate(support, ANNA, true);
    let mime = format!(
        "From: Support <{support}>\r\nTo: bert@example.org\r\nSubject: Answer\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nHello.\r\n"
    )
    .into_bytes();
    let send = async |mut session: Session, send_id: &str| {
        let draft = draft(&mime, send_id, &[]);
        let id = session.create_draft(&draft, mail::smtp::whole::<Error>(&mime)).await.unwrap();
        session.send_item(&id, Some(&FolderRef::SentItems)).await.unwrap()
    };
    assert_eq!(send(session_as(&exchange, support, support, Access::Own).await, "own").await, Sent::Sent);
    let service = session_as(&exchange, "service", support, Access::Impersonation).await;
    assert_eq!(send(service, "impersonation").await, Sent::Sent);
    // Rights on the folders are no right to send.
    let delegate = session_as(&exchange, ANNA, support, Access::Delegate).await;
    let Sent::Refused(error) = send(delegate, "delegate").await else { panic!("nobody allowed it") };
    assert_eq!(error.kind(), &Kind::AccessDenied);
    exchange.allow_send_on_behalf(support, ANNA);
    let delegate = session_as(&exchange, ANNA, support, Access::Delegate).await;
    assert_eq!(send(delegate, "behalf").await, Sent::Sent);
    exchange.allow_send_as(support, ANNA);
    let delegate = session_as(&exchange, ANNA, support, Access::Delegate).await;
    assert_eq!(send(delegate, "as").await, Sent::Sent);
    let handed = exchange.handed();
    assert!(handed.iter().all(|mail| mail.from == support), "{handed:?}");
    let said = |number: usize| String::from_utf8_lossy(&handed[number].message).into_owned();
    assert_eq!(handed.len(), 4);
    for (number, behalf) in [(0, false), (1, false), (2, true), (3, false)] {
        assert_eq!(said(number).contains("Sender: "), behalf, "{}", said(number));
    }
    assert_eq!(exchange.folder(support, "sentitems").len(), 4);
    assert!(exchange.folder(ANNA, "sentitems").is_empty());
}

#[tokio::test]
async fn without_a_saved_copy_nothing_is_left_and_into_a_folder_of_ours_it_can_be_removed() {
    let exchange = started().await;
    let mut session = anna(&exchange).await;
    let mime = mime("bert@example.org", "Offer");
    let id = session.create_draft(&draft(&mime, "a", &[]), mail::smtp::whole::<Error>(&mime)).await.unwrap();
    assert_eq!(session.send_item(&id, None).await.unwrap(), Sent::Sent);
    assert!(exchange.folder(ANNA, "sentitems").is_empty() && exchange.folder(ANNA, "drafts").is_empty());
    let ours = session.create_folder(&FolderRef::Root, "Lockstep").await.unwrap();
    assert_eq!(session.create_folder(&FolderRef::Root, "Lockstep").await.unwrap().id, ours.id);
    let folder = FolderRef::Id(ours);
    let id = session.create_draft(&draft(&mime, "b", &[]), mail::smtp::whole::<Error>(&mime)).await.unwrap();
    assert_eq!(session.send_item(&id, Some(&folder)).await.unwrap(), Sent::Sent);
    let copy = session.find_items(&folder, &Search::SendId("b".into()), 0, 10).await.unwrap().items;
    session.delete_item(&copy[0].id, Deletion::Hard).await.unwrap();
    assert!(exchange.folder(ANNA, "Lockstep").is_empty());
    assert_eq!(exchange.handed().len(), 2);
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_a_doubt_that_the_send_id_settles() {
    let exchange = started_with(Options {
        sent_copy: SentCopy::ThroughOutbox(Duration::from_secs(600)),
        ..Options::default()
    })
    .await;
    let mut session = anna(&exchange).await;
    let mime = mime("bert@example.org", "Offer");
    for (number, fault, left) in
        [("1", Fault::DropBefore, false), ("2", Fault::DropAfter, true), ("3", Fault::DropMidway, true)]
    {
        let id = session
            .create_draft(&draft(&mime, number, &[]), mail::smtp::whole::<Error>(&mime))
            .await
            .unwrap();
        exchange.fault(Rule::new(fault.clone()).on("SendItem").times(1));
        let outcome = session.send_item(&id, Some(&FolderRef::SentItems)).await.unwrap();
        let Sent::Unknown(error) = outcome else { panic!("{fault:?}: {outcome:?}") };
        assert_eq!((error.phase(), error.kind()), (Phase::Verdict, &Kind::Closed));
        assert!(session.may_have_sent());
        let search = Search::SendId(number.into());
        let drafts = session.find_items(&FolderRef::Drafts, &search, 0, 10).await.unwrap().items.len();
        let outbox = session.find_items(&FolderRef::Outbox, &search, 0, 10).await.unwrap().items.len();
        assert_eq!((drafts, outbox), if left { (0, 1) } else { (1, 0) }, "{fault:?}");
    }
}

#[tokio::test]
async fn whose_mailbox_it_is_decides_who_may() {
    let exchange = started().await;
    exchange.add_account("service", PASSWORD);
    let bert = "bert@example.org";
    exchange.deliver(bert, &message(1));
    let error = session_as(&exchange, "service", bert, Access::Impersonation)
        .await
        .get_folder(&FolderRef::Inbox)
        .await
        .unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::SignIn, &Kind::ImpersonationRefused));
    exchange.allow_impersonation("service");
    let mut service = session_as(&exchange, "service", bert, Access::Impersonation).await;
    assert_eq!(service.get_folder(&FolderRef::Inbox).await.unwrap().total, Some(1));
    service.turn_to(ANNA.parse().unwrap());
    assert_eq!(service.get_folder(&FolderRef::Inbox).await.unwrap().total, Some(0));
    service.turn_to("nobody@example.org".parse().unwrap());
    let error = service.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::SignIn, &Kind::NoSuchMailbox));
    // A service account has no mailbox of its own.
    let error = session_as(&exchange, "service", bert, Access::Own)
        .await
        .get_folder(&FolderRef::Inbox)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &Kind::MailboxDisabled);
    let mut delegate = session_as(&exchange, ANNA, bert, Access::Delegate).await;
    let error = delegate.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::AccessDenied | Kind::NotFound), "{:?}", error.kind());
    exchange.set_delegate(bert, ANNA, true);
    let page = delegate.sync_folder_items(&FolderRef::Inbox, None, 10).await.unwrap();
    let ItemChange::Created(item) = &page.changes[0] else { panic!("{page:?}") };
    let mut body = delegate.get_item(&item.id, 100_000).await.unwrap();
    assert!(body.chunk().await.unwrap().is_some());
    exchange.set_password(ANNA, "another");
    let error = anna(&exchange).await.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::SignIn, &Kind::CredentialsRefused));
    exchange.refuse_mailbox(bert, Some("ErrorMailboxStoreUnavailable"));
    let error =
        session_as(&exchange, bert, bert, Access::Own).await.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!(error.kind(), &Kind::TemporarilyRefused);
}

#[tokio::test]
async fn a_token_is_taken_while_it_is_good() {
    let exchange = started().await;
    exchange.set_token(ANNA, "eyJ0.eyJh.c2ln", true);
    let token = Secret::from("eyJ0.eyJh.c2ln");
    let address = Address::parse(&exchange.url()).unwrap();
    let identity = Identity {
        login: "",
        proof: Proof::Token(&token),
        mailbox: ANNA.parse().unwrap(),
        access: Access::Own,
    };
    let mut session = Session::open(&address, &settings(&exchange), identity).await.unwrap();
    session.get_folder(&FolderRef::Inbox).await.unwrap();
    exchange.set_token(ANNA, "eyJ0.eyJh.c2ln", false);
    let error = session.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!(error.kind(), &Kind::CredentialsRefused);
}

#[tokio::test]
async fn an_older_exchange_is_spoken_to_in_its_own_version() {
    for (known, expected) in [
        (exchange::Version::Exchange2007Sp1, Version::Exchange2007Sp1),
        (exchange::Version::Exchange2010Sp1, Version::Exchange2010Sp1),
        (exchange::Version::Exchange2013Sp1, Version::Exchange2013Sp1),
        (exchange::Version::Exchange2016, Version::Exchange2016),
    ] {
        let exchange = started_with(Options { version: known, ..Options::default() }).await;
        exchange.deliver(ANNA, &message(1));
        let mut session = anna(&exchange).await;
        let page = session.sync_folder_items(&FolderRef::Inbox, None, 10).await.unwrap();
        assert_eq!((page.changes.len(), session.version()), (1, Some(expected)));
        assert!(session.server().is_some());
    }
}

#[tokio::test]
async fn every_fault_has_its_name() {
    let exchange = started().await;
    exchange.deliver(ANNA, &message(1));
    let id = ItemId::new(exchange.folder(ANNA, "inbox")[0].id.clone());
    let seconds = Duration::from_secs;
    for (fault, expected, pause) in [
        (Fault::Slow(seconds(60)), "timed out", None),
        (Fault::DropBefore, "closed", None),
        (Fault::DropMidway, "closed", None),
        (Fault::DropAfter, "closed", None),
        (Fault::Status(503, Some(17)), "server busy", Some(seconds(17))),
        (Fault::Status(429, Some(3)), "server busy", Some(seconds(3))),
        (Fault::Status(503, None), "unavailable", None),
        (Fault::Status(502, None), "unavailable", None),
        (Fault::Busy(Some(seconds(40))), "server busy", Some(seconds(40))),
        (Fault::BusyMessage(Some(seconds(41))), "server busy", Some(seconds(41))),
        (Fault::Refused("ErrorExceededConnectionCount".into()), "mailbox busy", None),
        (Fault::RefusedMessage("ErrorAccessDenied".into()), "access denied", None),
        (Fault::Unauthorized, "credentials", None),
        (Fault::Truncated, "violation", None),
        (Fault::EntityBomb, "violation", None),
        (Fault::ExternalEntity, "violation", None),
        (Fault::EndlessChunks, "too large", None),
        (Fault::FalseLength(1_000_000), "closed", None),
        (Fault::FalseLength(2 * 1024 * 1024 * 1024), "too large", None),
        (Fault::WebPage, "violation", None),
    ] {
        for fetch in [false, true] {
            exchange.heal();
            let mut quick = settings(&exchange);
            quick.transport.phase_deadline = seconds(2);
            quick.limits.answer_bytes = 1024 * 1024;
            quick.limits.drain_bytes = 1024 * 1024;
            quick.limits.message_deadline = seconds(2);
            quick.version = Some(Version::Exchange2016);
            let secret = Secret::from(PASSWORD);
            let identity = Identity {
                login: ANNA,
                proof: Proof::Password(&secret),
                mailbox: ANNA.parse().unwrap(),
                access: Access::Own,
            };
            let address = Address::parse(&exchange.url()).unwrap();
            let mut session = Session::open(&address, &quick, identity).await.unwrap();
            exchange.fault(Rule::new(fault.clone()).of(ANNA));
            let error = if fetch {
                match session.get_item(&id, 100_000).await {
                    Ok(mut body) => loop {
                        match body.chunk().await {
                            Ok(Some(_)) => {}
                            Ok(None) => panic!("{fault:?}"),
                            Err(error) => break error,
                        }
                    },
                    Err(error) => error,
                }
            } else {
                session.sync_folder_items(&FolderRef::Inbox, None, 10).await.unwrap_err()
            };
            let told = match error.kind() {
                Kind::TimedOut => "timed out",
                Kind::Closed => "closed",
                Kind::Throttled(Busy::Server) => "server busy",
                Kind::Throttled(Busy::Mailbox) => "mailbox busy",
                Kind::Unavailable => "unavailable",
                Kind::AccessDenied => "access denied",
                Kind::CredentialsRefused => "credentials",
                Kind::Violation(_) => "violation",
                Kind::TooLarge(_) => "too large",
                other => panic!("{fault:?} {other:?}"),
            };
            // What is streamed is not judged by the length that it claims, and ends where it is too much.
            let streamed = match (&fault, fetch) {
                (Fault::FalseLength(_), true) => "closed",
                (Fault::EndlessChunks, true) if told == "violation" || told == "timed out" => told,
                _ => expected,
            };
            assert_eq!(told, streamed, "{fault:?} {fetch}");
            assert_eq!(error.retry_after(), pause, "{fault:?}");
        }
    }
    exchange.heal();
    exchange.fault(Rule::new(Fault::SyncStateInvalid).on("SyncFolderItems").times(1));
    let mut session = anna(&exchange).await;
    let state = session.sync_folder_items(&FolderRef::Inbox, None, 10).await;
    let state = match state {
        Ok(page) => page.state,
        Err(error) => {
            assert_eq!(error.kind(), &Kind::SyncStateInvalid);
            session.sync_folder_items(&FolderRef::Inbox, None, 10).await.unwrap().state
        }
    };
    session.sync_folder_items(&FolderRef::Inbox, Some(&state), 10).await.ok();
    exchange.fault(Rule::new(Fault::DuplicatedChanges).on("SyncFolderItems").times(1));
    exchange.deliver(ANNA, &message(2));
    let page = session.sync_folder_items(&FolderRef::Inbox, Some(&state), 10).await.unwrap();
    assert_eq!(page.changes.len(), 2, "the same twice is for the caller to see through");
}

#[tokio::test]
async fn a_large_message_goes_out_and_comes_in_exactly() {
    let exchange = started().await;
    let mut session = anna(&exchange).await;
    let mut mime = mime("bert@example.org", "Large");
    let line = b"0123456789 0123456789 0123456789 0123456789 0123456789 012345\r\n";
    while mime.len() < 20_000_000 {
        mime.extend_from_slice(line);
    }
    let pieces = stream::iter(mime.chunks(1_000_000).map(Ok::<_, Error>));
    let id = session.create_draft(&draft(&mime, "large", &[]), pieces).await.unwrap();
    let kept = exchange.folder(ANNA, "drafts")[0].mime.clone();
    let mut body = session.get_item(&id, 100_000_000).await.unwrap();
    let mut received = Vec::new();
    while let Some(piece) = body.chunk().await.unwrap() {
        assert!(piece.len() < 1_000_000);
        received.extend_from_slice(&piece);
    }
    assert!(received == kept && received.len() > 19_000_000, "{} and {}", received.len(), kept.len());
}

#[tokio::test]
async fn an_address_stands_for_a_mailbox_a_list_a_contact_or_nobody() {
    let exchange = started().await;
    exchange.add_alias(ANNA, "info@example.org");
    exchange.add_list("all@example.org", "Everybody", &[ANNA]);
    exchange.add_contact("carla@example.net", "Carla");
    let mut session = anna(&exchange).await;
    for (address, expected) in [
        (ANNA, Some((RecipientKind::Mailbox, ANNA))),
        ("info@example.org", Some((RecipientKind::Mailbox, ANNA))),
        ("all@example.org", Some((RecipientKind::DistributionList, "all@example.org"))),
        ("carla@example.net", Some((RecipientKind::Contact, "carla@example.net"))),
        ("nobody@example.org", None),
    ] {
        let found = session.resolve_names(address).await.unwrap();
        let told = found.first().map(|first| (first.kind, first.address.as_str()));
        assert_eq!(told, expected, "{address}: {found:?}");
    }
    let found = session.resolve_names("info@example.org").await.unwrap();
    assert!(found[0].aliases.iter().any(|alias| alias == "info@example.org"), "{found:?}");
}

#[tokio::test]
async fn a_mailbox_is_marked_and_the_mark_is_read_by_whoever_comes_next() {
    let exchange = started().await;
    let mut session = anna(&exchange).await;
    assert_eq!(session.owner_mark().await.unwrap(), None);
    let mark = OwnerMark { installation: "one".into(), organization: "two".into() };
    session.set_owner_mark(Some(&mark)).await.unwrap();
    assert_eq!(anna(&exchange).await.owner_mark().await.unwrap(), Some(mark));
    session.set_owner_mark(None).await.unwrap();
    assert_eq!(session.owner_mark().await.unwrap(), None);
}

#[tokio::test]
async fn folders_are_told_with_what_changed_about_them() {
    let exchange = started().await;
    exchange.add_folder(ANNA, "Fairs");
    let mut session = anna(&exchange).await;
    let all = session.sync_folder_hierarchy(None).await.unwrap();
    let name = |change: &mail::ews::FolderChange| match change {
        mail::ews::FolderChange::Kept(folder) => folder.name.clone(),
        mail::ews::FolderChange::Deleted(id) => id.id.clone(),
    };
    let names: Vec<_> = all.changes.iter().map(name).collect();
    assert!(
        all.last && names.contains(&"Inbox".to_owned()) && names.contains(&"Fairs".to_owned()),
        "{names:?}"
    );
    exchange.add_folder(ANNA, "Lost");
    let next = session.sync_folder_hierarchy(Some(&all.state)).await.unwrap();
    assert_eq!(next.changes.iter().map(name).collect::<Vec<_>>(), ["Lost"]);
    let lost = session.find_folder(&FolderRef::Root, "Lost").await.unwrap().unwrap();
    exchange.deliver(ANNA, &message(1));
    let id = ItemId::new(exchange.folder(ANNA, "inbox")[0].id.clone());
    let moved = session.move_item(&id, &FolderRef::Id(lost)).await.unwrap().unwrap();
    assert_eq!(exchange.folder(ANNA, "Lost")[0].id, moved.id);
    assert_eq!(session.move_item(&id, &FolderRef::Inbox).await.unwrap_err().kind(), &Kind::NotFound);
}

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

#[tokio::test]
async fn the_place_of_a_mailbox_is_found_out_and_an_address_elsewhere_is_a_question() {
    let exchange = started().await;
    let url = Address::parse(&exchange.url()).unwrap();
    let at = |file: &str| {
        let (host, port) = (url.host(), url.port());
        Address::parse(&format!("https://{host}:{port}/autodiscover/autodiscover.{file}")).unwrap()
    };
    let search = mail::ews::autodiscover::Settings {
        transport: settings(&exchange).transport,
        schemes: Schemes::default(),
        named: vec![url.host()],
    };
    let secret = Secret::from(PASSWORD);
    let credentials = Credentials { login: ANNA, proof: Proof::Password(&secret) };
    let mailbox = ANNA.parse().unwrap();
    for candidate in [Candidate::Soap(at("svc")), Candidate::Pox(at("xml"))] {
        let found = discover_from(vec![candidate.clone()], &mailbox, &search, credentials).await.unwrap();
        match found {
            Discovery::Found { address, .. } => assert_eq!(address.port(), url.port(), "{candidate:?}"),
            consent @ Discovery::NeedsConsent { .. } => panic!("{candidate:?}: {consent:?}"),
        }
    }
    exchange.redirect_url(ANNA, "https://autodiscover.cloud.example/autodiscover/autodiscover.xml");
    for candidate in [Candidate::Soap(at("svc")), Candidate::Pox(at("xml"))] {
        let found = discover_from(vec![candidate], &mailbox, &search, credentials).await.unwrap();
        assert!(
            matches!(&found, Discovery::NeedsConsent { host, .. } if host == "autodiscover.cloud.example"),
            "{found:?}"
        );
    }
    let nobody = "nobody@example.org".parse().unwrap();
    let error =
        discover_from(vec![Candidate::Pox(at("xml"))], &nobody, &search, credentials).await.unwrap_err();
    assert_eq!(error.phase(), Phase::Discover, "{error:?}");
}
