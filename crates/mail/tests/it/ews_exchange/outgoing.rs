//! Drafts at the simulated Exchange, and what becomes of them once they are sent.

use std::time::Duration;

use exchange::{Fault, Options, Rule, SentCopy};
use futures_util::stream;
use mail::Error;
use mail::error::{Kind, Phase};
use mail::ews::{Access, Deletion, Draft, FolderRef, Search, Sent, Session};

use super::{ANNA, PASSWORD, anna, session_as, started, started_with};

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
    // Once more sends no second mail, and does not say that there was no first.
    match session.send_item(&id, None).await {
        Ok(Sent::Unknown(error)) => assert_eq!(error.kind(), &Kind::NotFound),
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
