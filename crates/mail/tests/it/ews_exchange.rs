//! Mail in and out of an Exchange, as far as one can be had here: the simulator that exchangelib is content with.

mod access;
mod outgoing;
mod watch;

use std::time::Duration;

use exchange::{Exchange, Fault, Options, Rule};
use mail::Proof;
use mail::error::{Busy, Kind};
use mail::ews::{
    Access, Address, Fetched, FolderRef, Identity, ItemChange, ItemId, Limits, Schemes, Search, Session,
    Settings, Version,
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
