//! Recording what came in: once, whoever brings it and however often.

use std::time::Duration;

use model::email::Decision;
use model::id::MailboxId;
use model::mailbox::Owner;
use model::message::ParsedMessage;
use store::email::{EmailFilter, Reader};
use store::incoming::{IncomingBatch, IncomingItem, Recorded, Verdict, record};
use store::{Store, blob, cursor, email, item as items};

use crate::world::{World, author, item, message, world};

const FOLDER: &str = "pop3://mail.example.com:995 ada@example.com";

async fn recorded(store: &Store, world: &World, mailbox: MailboxId, new: Vec<IncomingItem>) -> Vec<Recorded> {
    let by = author();
    let batch = IncomingBatch {
        search_keys: &std::collections::HashMap::new(),
        mailbox,
        folder: FOLDER,
        items: new,
        cursor: Some(serde_json::json!({"at": 1})),
        retry_after: Duration::from_secs(300),
        by: &by,
    };
    let tenant = store.tenant(world.organization).await.unwrap();
    let recorded = record(&tenant, &batch).await.unwrap();
    tenant.commit().await.unwrap();
    recorded
}

async fn here(world: &World, mailbox: MailboxId, new: Vec<IncomingItem>) -> Vec<Recorded> {
    recorded(&world.store, world, mailbox, new).await
}

fn decisions(recorded: &[Recorded]) -> Vec<Decision> {
    recorded.iter().map(|one| one.decision).collect()
}

fn hundred() -> Vec<IncomingItem> {
    (0..100).map(|n| item(&format!("u{n}"), message(n, &["ada@example.com"]), &format!("raw {n}"))).collect()
}

const TABLES: [&str; 8] = [
    "emails",
    "email_copies",
    "email_parties",
    "receipts",
    "attachments",
    "mailbox_items",
    "blob_chunks",
    "changes",
];

async fn sizes(world: &World) -> Vec<i64> {
    let mut sizes = Vec::new();
    for table in TABLES {
        sizes.push(world.count(&format!("select count(*) from {table}")).await);
    }
    sizes
}

#[tokio::test]
async fn a_batch_recorded_twice_leaves_the_same_rows() {
    let world = world().await;
    let first = here(&world, world.ada_box, hundred()).await;
    assert_eq!(decisions(&first), vec![Decision::Recorded; 100]);
    assert!(first.iter().all(|one| one.new_email));
    let rows = sizes(&world).await;
    assert_eq!(&rows[..6], &[100, 100, 200, 100, 100, 100]);
    assert_eq!(rows[6], 101, "a hundred raw messages and one attachment that they share");

    let second = here(&world, world.ada_box, hundred()).await;
    assert_eq!(decisions(&second), vec![Decision::Recorded; 100]);
    assert!(
        second.iter().zip(&first).all(|(second, first)| second.email == first.email && !second.new_email)
    );
    assert_eq!(sizes(&world).await, rows);
}

#[tokio::test]
async fn recording_can_run_on_any_thread() {
    let world = std::sync::Arc::new(world().await);
    let other = world.clone();
    let recorded = tokio::spawn(async move { here(&other, other.ada_box, hundred()).await }).await.unwrap();
    assert_eq!(recorded.len(), 100);
}

#[tokio::test]
async fn the_same_messages_into_two_mailboxes_at_once_are_one_email_each_with_two_receipts() {
    let world = world().await;
    // In opposite orders, so that they would wait for each other in a circle if the rows were not sorted.
    let mut backwards = hundred();
    backwards.reverse();
    let (one, two) =
        tokio::join!(here(&world, world.ada_box, hundred()), here(&world, world.bob_box, backwards),);
    assert_eq!(decisions(&one), vec![Decision::Recorded; 100]);
    assert_eq!(decisions(&two), vec![Decision::Recorded; 100]);
    let made = one.iter().chain(&two).filter(|one| one.new_email).count();
    assert_eq!(made, 100);
    assert_eq!(&sizes(&world).await[..6], &[100, 100, 200, 200, 100, 200]);
}

#[tokio::test]
async fn the_same_message_twice_in_one_maildrop_is_recorded_and_a_duplicate() {
    let world = world().await;
    let twice = vec![
        item("first", message(1, &["ada@example.com"]), "raw"),
        item("second", message(1, &["ada@example.com"]), "raw"),
    ];
    assert_eq!(
        decisions(&here(&world, world.ada_box, twice).await),
        vec![Decision::Recorded, Decision::Duplicate]
    );
    let renamed = vec![item("third", message(1, &["ada@example.com"]), "raw")];
    assert_eq!(decisions(&here(&world, world.ada_box, renamed).await), vec![Decision::Duplicate]);
    assert_eq!(world.count("select count(*) from receipts").await, 1);
    let tenant = world.tenant().await;
    let found = email::list(&tenant, Reader::Everything, &EmailFilter::default(), None, 10).await.unwrap();
    assert_eq!(items::of_email(&tenant, found[0].id).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_message_id_under_another_identity_is_a_second_record_with_a_warning() {
    let world = world().await;
    let forged =
        |subject: &str| ParsedMessage { subject: Some(subject.into()), ..message(1, &["ada@example.com"]) };
    let together =
        vec![item("a", message(1, &["ada@example.com"]), "raw 1"), item("b", forged("Other"), "raw 2")];
    here(&world, world.ada_box, together).await;
    here(&world, world.bob_box, vec![item("c", forged("Third"), "raw 3")]).await;
    let tenant = world.tenant().await;
    let found = email::by_message_id(&tenant, "1@sender.example", Reader::Everything).await.unwrap();
    let warnings: Vec<_> =
        found.iter().map(|email| email.warnings.contains(&"message_id_reused".to_owned())).collect();
    assert_eq!(warnings, [false, true, true]);
}

#[tokio::test]
async fn a_reader_sees_the_copy_of_the_own_receipt_and_no_other() {
    let world = world().await;
    let to = ["ada@example.com", "bob@example.com"];
    let other_body = ParsedMessage { text: Some("Pay elsewhere".into()), ..message(1, &to) };
    let real = here(&world, world.ada_box, vec![item("a", message(1, &to), "raw 1")]).await;
    let forged = here(&world, world.bob_box, vec![item("b", other_body, "raw 2")]).await;
    assert_eq!(real[0].email, forged[0].email);
    let id = real[0].email.unwrap();
    let tenant = world.tenant().await;
    let by = author();
    for (reader, text) in [
        (Reader::User(world.ada), "Body 1"),
        (Reader::User(world.bob), "Pay elsewhere"),
        (Reader::Everything, "Body 1"),
    ] {
        let copy = email::open_copy(&tenant, id, reader, None, &by).await.unwrap().unwrap();
        assert_eq!(copy.text.as_deref(), Some(text));
        assert_eq!(copy.attachments[0].name, "notes.txt");
        let content = blob::read(&tenant, copy.attachments[0].blob).await.unwrap().unwrap();
        assert_eq!(content, "the same notes in every message");
    }
    // Opened once by somebody whom it is not for: written down.
    let opened = store::change::of(&tenant, "email", id.0, 0, 100).await.unwrap();
    assert_eq!(opened.iter().filter(|change| change.fields.get("body_opened").is_some()).count(), 1);

    let seen = email::get(&tenant, id, Reader::User(world.bob)).await.unwrap().unwrap();
    assert_eq!(seen.owner, Some(Owner::User(world.ada)), "the first of To with a mailbox");
    assert_eq!(seen.parties.len(), 3, "a receipt adds no party");
    assert_eq!(seen.receipts.len(), 1, "that somebody else got it too is not Bob's to know");
    let seen = email::get(&tenant, id, Reader::Everything).await.unwrap().unwrap();
    assert_eq!(seen.receipts.len(), 2);
}

#[tokio::test]
async fn parties_are_resolved_and_strangers_see_nothing() {
    let world = world().await;
    let tenant = world.tenant().await;
    let contact = store::contact::NewContact {
        name: "Carol".into(),
        addresses: vec!["carol@sender.example".parse().unwrap()],
        owner: None,
        external_id: None,
    };
    let carol = store::contact::create(&tenant, &contact, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    let one = vec![item("a", message(1, &["list@elsewhere.example", "Support@Example.com"]), "raw")];
    let id = here(&world, world.support_box, one).await[0].email.unwrap();
    let tenant = world.tenant().await;
    let seen = email::get(&tenant, id, Reader::User(world.ada)).await.unwrap().unwrap();
    assert_eq!(seen.owner, Some(Owner::Queue(world.support)));
    let parties: Vec<_> = seen.parties.iter().map(|party| party.party.clone()).collect();
    let expected =
        [Some(("contact".to_owned(), carol.id.0)), None, Some(("queue".to_owned(), world.support.0))];
    assert_eq!(parties, expected);
    assert!(email::get(&tenant, id, Reader::User(world.bob)).await.unwrap().is_none());
    assert!(email::open_copy(&tenant, id, Reader::User(world.bob), None, &author()).await.unwrap().is_none());
    let filter = EmailFilter { address: Some("CAROL@sender.example".into()), ..EmailFilter::default() };
    assert_eq!(email::list(&tenant, Reader::User(world.ada), &filter, None, 10).await.unwrap().len(), 1);
    assert_eq!(email::list(&tenant, Reader::User(world.bob), &filter, None, 10).await.unwrap().len(), 0);
}

#[tokio::test]
async fn ten_thousand_known_items_are_one_query_and_only_the_new_one_is_named() {
    let world = world().await;
    let owner = world.database.owner().await.unwrap();
    owner
        .execute(
            "insert into mailbox_items (organization_id, mailbox_id, folder, item_id, decision, rule)
             select $1, $2, $3, 'u' || n, 'recorded', 'all' from generate_series(1, 10000) n",
            &[&world.organization.0, &world.ada_box.0, &FOLDER],
        )
        .await
        .unwrap();
    let mut listing: Vec<String> = (1..=10_000).map(|n| format!("u{n}")).collect();
    listing.insert(5_000, "new".into());
    let tenant = world.tenant().await;
    let unknown = items::unknown(&tenant, world.ada_box, FOLDER, &listing, usize::MAX).await.unwrap();
    assert_eq!(unknown, [items::Unknown { index: 5_000, attempts: 0, deaths: 0 }]);
    // Another folder knows nothing of them.
    assert_eq!(
        items::unknown(&tenant, world.ada_box, "other", &listing, usize::MAX).await.unwrap().len(),
        10_001
    );

    let gone = items::mark_gone(&tenant, world.ada_box, FOLDER, &listing[..4_000]).await.unwrap();
    assert_eq!(gone, items::Compared { known: 10_000, gone: 6_000, unread: 0, back: 0 });
    for _ in 0..2 {
        let again = items::mark_gone(&tenant, world.ada_box, FOLDER, &listing[..4_001]).await.unwrap();
        assert_eq!(again, items::Compared { known: 4_000, gone: 0, unread: 0, back: 1 });
    }
    let back = items::back(&tenant, world.ada_box, FOLDER, &listing[..4_001], 10).await.unwrap();
    assert_eq!(back.iter().map(|known| known.index).collect::<Vec<_>>(), [4_000]);
    items::came_back(&tenant, world.ada_box, FOLDER, &["u4001"]).await.unwrap();
    let back = items::mark_gone(&tenant, world.ada_box, FOLDER, &listing[..4_001]).await.unwrap();
    assert_eq!(back, items::Compared { known: 4_001, gone: 0, unread: 0, back: 0 });
}

#[tokio::test]
async fn what_was_seen_before_the_mailbox_moved_to_another_server_is_gone_and_known_again_when_it_moves_back()
{
    let world = world().await;
    let batch =
        || (1..=3).map(|n| item(&format!("u{n}"), message(n, &["ada@example.com"]), &format!("raw {n}")));
    here(&world, world.ada_box, batch().collect()).await;
    here(&world, world.bob_box, batch().collect()).await;
    let gone = "select count(*) from mailbox_items where gone_at is not null";
    let listing = ["u1", "u2", "u3"].map(str::to_owned);
    let elsewhere = "pop3://other.example.com:995 ada@example.com";
    let tenant = world.tenant().await;
    let compared = items::mark_gone(&tenant, world.ada_box, elsewhere, &[]).await.unwrap();
    assert_eq!(compared, items::Compared::default(), "nothing of this folder is missed");
    assert_eq!(
        items::unknown(&tenant, world.ada_box, elsewhere, &listing, usize::MAX).await.unwrap().len(),
        3
    );
    tenant.commit().await.unwrap();
    assert_eq!(world.count(gone).await, 3, "and nothing of anybody else's");
    let tenant = world.tenant().await;
    let back = items::mark_gone(&tenant, world.ada_box, FOLDER, &listing).await.unwrap();
    assert_eq!(back, items::Compared { known: 0, gone: 0, unread: 0, back: 3 });
    assert_eq!(items::unknown(&tenant, world.ada_box, FOLDER, &listing, usize::MAX).await.unwrap(), []);
}

#[tokio::test]
async fn what_was_passed_over_is_marked_in_bounded_batches_and_each_item_once() {
    let world = world().await;
    let skipped = |n: usize| IncomingItem {
        verdict: Verdict::Skip(Decision::NotAccepted),
        rule: "known_senders_and_replies".into(),
        received_at: None,
        ..item(&format!("u{n:03}"), message(n, &["ada@example.com"]), "raw")
    };
    for mailbox in [world.ada_box, world.bob_box] {
        here(&world, mailbox, (0..25).map(skipped).collect()).await;
    }
    let owner = world.database.owner().await.unwrap();
    owner
        .execute("update mailbox_items i set folder = m.incoming_endpoint || ' ' || m.login_key from mailboxes m where m.id = i.mailbox_id", &[])
        .await
        .unwrap();
    let both = [world.ada_box, world.bob_box];
    let (mut batches, mut seen) = (Vec::new(), std::collections::HashMap::new());
    loop {
        let tenant = world.tenant().await;
        let marked = items::ask_some(&tenant, &both, Some(&[Decision::NotAccepted]), 10).await.unwrap();
        tenant.commit().await.unwrap();
        if marked.is_empty() {
            break;
        }
        batches.push(marked.iter().map(|(_, items)| items).sum::<i64>());
        for (mailbox, items) in marked {
            *seen.entry(mailbox).or_insert(0) += items;
        }
    }
    assert_eq!(batches, [10, 10, 10, 10, 10]);
    assert_eq!(both.map(|mailbox| seen[&mailbox]), [25, 25]);
    assert_eq!(
        world.count("select count(*) from mailbox_items where examine_again_at is not null").await,
        50
    );
}

#[tokio::test]
async fn what_is_gone_is_forgotten_after_its_time_and_what_is_listed_never_is() {
    let world = world().await;
    let batch =
        (1..=3).map(|n| item(&format!("u{n}"), message(n, &["ada@example.com"]), &format!("raw {n}")));
    here(&world, world.ada_box, batch.collect()).await;
    let week = Duration::from_secs(7 * 24 * 3600);
    let forgotten = async |age: Duration, limit: u32| {
        let tenant = world.tenant().await;
        let forgotten = items::forget(&tenant, age, limit).await.unwrap();
        tenant.commit().await.unwrap();
        forgotten
    };
    let tenant = world.tenant().await;
    items::mark_gone(&tenant, world.ada_box, FOLDER, &["u3".to_owned()]).await.unwrap();
    tenant.commit().await.unwrap();
    store::testing::pass(&world.database, week.saturating_sub(Duration::from_secs(60))).await.unwrap();
    assert_eq!(forgotten(week, 100).await, 0);
    store::testing::pass(&world.database, Duration::from_secs(120)).await.unwrap();
    assert_eq!((forgotten(week, 1).await, forgotten(week, 100).await, forgotten(week, 100).await), (1, 1, 0));
    assert_eq!(world.count("select count(*) from mailbox_items where item_id = 'u3'").await, 1);
    assert_eq!(world.count("select count(*) from emails").await, 3, "records stay");
}

#[tokio::test]
async fn only_what_is_recorded_can_be_asked_to_be_deleted_and_the_asking_is_kept() {
    let world = world().await;
    let poison = ParsedMessage { subject: Some("a\0b".into()), ..message(7, &["ada@example.com"]) };
    let batch = vec![
        item("good", message(1, &["ada@example.com"]), "raw 1"),
        item("again", message(1, &["ada@example.com"]), "raw 1"),
        item("bad", poison, "raw 7"),
        item("fine", message(2, &["ada@example.com"]), "raw 2"),
    ];
    here(&world, world.ada_box, batch).await;
    let tenant = world.tenant().await;
    let wanted = ["good", "again", "bad", "fine", "never seen"];
    let mut asked = items::ask_deletion(&tenant, world.ada_box, FOLDER, &wanted[..3]).await.unwrap();
    asked.sort();
    assert_eq!(asked, ["again", "good"]);
    // What the server was not asked for it cannot have deleted for us.
    items::deleted(&tenant, world.ada_box, FOLDER, &["good".to_owned(), "fine".to_owned()]).await.unwrap();
    let mut rows = items::of(&tenant, world.ada_box, FOLDER, &wanted).await.unwrap();
    rows.sort_by(|one, other| one.item_id.cmp(&other.item_id));
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row.item_id.as_str(), row.delete_asked_at.is_some(), row.deleted_at.is_some()))
        .collect();
    assert_eq!(
        seen,
        [("again", true, false), ("bad", false, false), ("fine", false, false), ("good", true, true)]
    );
    // What is gone is not asked for again before somebody recognised it.
    assert!(items::ask_deletion(&tenant, world.ada_box, FOLDER, &["good"]).await.unwrap().is_empty());
    items::came_back(&tenant, world.ada_box, FOLDER, &["good"]).await.unwrap();
    assert_eq!(items::ask_deletion(&tenant, world.ada_box, FOLDER, &["good"]).await.unwrap(), ["good"]);
}

#[tokio::test]
async fn one_item_that_cannot_be_stored_never_holds_up_its_batch() {
    let world = world().await;
    // Postgres takes no NUL in a text, whoever let it through.
    let poison = ParsedMessage { subject: Some("a\0b".into()), ..message(7, &["ada@example.com"]) };
    let batch = || {
        vec![
            item("good", message(1, &["ada@example.com"]), "raw 1"),
            item("bad", poison.clone(), "raw 7"),
            item("fine", message(2, &["ada@example.com"]), "raw 2"),
        ]
    };
    let first = here(&world, world.ada_box, batch()).await;
    assert_eq!(decisions(&first), [Decision::Recorded, Decision::Failed, Decision::Recorded]);
    assert!(first[1].error.is_some() && first[1].attempts == 1);
    assert_eq!(world.count("select count(*) from emails").await, 2);

    // It is not due yet; later it is, from its row; the fifth failure is the last.
    let listing = ["good", "bad", "fine"].map(str::to_owned);
    let due = async || {
        let tenant = world.tenant().await;
        items::unknown(&tenant, world.ada_box, FOLDER, &listing, usize::MAX).await.unwrap()
    };
    assert_eq!(due().await, []);
    for (tries, minutes) in [(2, 5), (3, 10), (4, 20), (5, 40)] {
        store::testing::pass(&world.database, Duration::from_secs(60 * minutes - 30)).await.unwrap();
        assert_eq!(due().await, [], "each failure doubles the time until the next try");
        store::testing::pass(&world.database, Duration::from_secs(31)).await.unwrap();
        assert_eq!(due().await, [items::Unknown { index: 1, attempts: tries - 1, deaths: 0 }]);
        // What failed stands behind what is new, and is left out first.
        let (tenant, more) = (world.tenant().await, ["bad", "new", "newer"].map(str::to_owned));
        let unknown = async |most| items::unknown(&tenant, world.ada_box, FOLDER, &more, most).await.unwrap();
        let places = async |most| unknown(most).await.iter().map(|unknown| unknown.index).collect::<Vec<_>>();
        assert_eq!((places(3).await, places(2).await), (vec![1, 2, 0], vec![1, 2]));
        tenant.commit().await.unwrap();
        let again = here(&world, world.ada_box, vec![item("bad", poison.clone(), "raw 7")]).await;
        assert_eq!(u32::try_from(again[0].attempts).unwrap(), tries);
        let expected = if tries == 5 { Decision::Undeliverable } else { Decision::Failed };
        assert_eq!(again[0].decision, expected);
    }
    store::testing::pass(&world.database, Duration::from_secs(3600)).await.unwrap();
    assert_eq!(due().await, []);
}

#[tokio::test]
async fn a_failed_item_that_is_mended_becomes_a_record() {
    let world = world().await;
    let failed = IncomingItem {
        verdict: Verdict::Fail("it could not be read".into()),
        ..item("a", message(1, &["ada@example.com"]), "raw")
    };
    assert_eq!(decisions(&here(&world, world.ada_box, vec![failed]).await), [Decision::Failed]);
    let mended = here(&world, world.ada_box, vec![item("a", message(1, &["ada@example.com"]), "raw")]).await;
    assert_eq!(decisions(&mended), [Decision::Recorded]);
    assert!(mended[0].email.is_some());
}

#[tokio::test]
async fn of_an_item_that_is_not_accepted_no_content_is_stored_and_the_cursor_moves() {
    let world = world().await;
    let skipped = IncomingItem {
        verdict: Verdict::Skip(Decision::NotAccepted),
        rule: "known_senders_and_replies".into(),
        ..item("a", message(1, &["ada@example.com"]), "raw")
    };
    assert_eq!(decisions(&here(&world, world.ada_box, vec![skipped]).await), [Decision::NotAccepted]);
    assert_eq!(&sizes(&world).await[..6], &[0, 0, 0, 0, 0, 1]);
    let tenant = world.tenant().await;
    let at = cursor::get(&tenant, world.ada_box, model::workload::Workload::Incoming, FOLDER).await.unwrap();
    assert_eq!(at, Some(serde_json::json!({"at": 1})));
    assert_eq!(items::counts(&tenant, world.ada_box).await.unwrap(), [(Decision::NotAccepted, 1)]);
}

#[tokio::test]
async fn a_text_that_stands_in_its_raw_message_is_stored_once_and_read_as_it_was() {
    let world = world().await;
    let to = ["ada@example.com"];
    let saying = |n, text: &str| ParsedMessage { text: Some(text.into()), ..message(n, &to) };
    let long = "a line of words that is there again and again\n".repeat(300);
    let long_raw = format!("A: b\r\n\r\n{}", long.replace('\n', "\r\n"));
    let large_raw = format!("A: b\r\n\r\nin the first of two chunks{}", " ".repeat(1_100_000));
    let cases = [
        ("A: b\r\n\r\nGrüße\r\n\r\nan alle\r\n", "Grüße\n\nan alle\n", true),
        ("A: b\r\n\r\n--x\r\n\r\n\\ one 'two' \\000\r\n--x--\r\n", "\\ one 'two' \\000", true),
        (&long_raw, &long, true),
        ("A: b\r\n\r\nGr=C3=BC=C3=9Fe\r\n", "Grüße\n", false),
        ("A: b\r\n\r\none\rtwo\r\n", "one\ntwo\n", false),
        (&large_raw, "in the first of two chunks", false),
        ("A: b\r\n\r\n", "", false),
    ];
    let items =
        cases.iter().enumerate().map(|(n, (raw, text, _))| item(&format!("u{n}"), saying(n, text), raw));
    let recorded = here(&world, world.ada_box, items.collect()).await;
    let (tenant, owner) = (world.tenant().await, world.database.owner().await.unwrap());
    for (one, (raw, text, once)) in recorded.iter().zip(cases) {
        let id = one.email.unwrap();
        let copy = email::open_copy(&tenant, id, Reader::User(world.ada), None, &author()).await.unwrap();
        assert_eq!(copy.unwrap().text.as_deref(), Some(text), "{raw:?}");
        let row = owner
            .query_one(
                "select c.text_body is null, copy_text(c) from email_copies c where c.email_id = $1",
                &[&id.0],
            )
            .await
            .unwrap();
        assert_eq!((row.get(0), row.get::<_, Option<String>>(1).as_deref()), (once, Some(text)), "{raw:?}");
    }
}

#[tokio::test]
async fn a_large_content_is_kept_in_chunks_and_streamed_back() {
    let world = world().await;
    let content: bytes::Bytes = (0..3_500_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let id = blob::BlobId::of(&content);
    let tenant = world.tenant().await;
    let parts = || {
        let content = content.clone();
        futures_util::stream::iter((0..content.len()).step_by(70_000).map(move |at| {
            Ok::<_, std::convert::Infallible>(content.slice(at..content.len().min(at + 70_000)))
        }))
    };
    blob::put_stream(&tenant, id, content.len() as u64, parts()).await.unwrap();
    blob::put_stream(&tenant, id, content.len() as u64, parts()).await.unwrap();
    blob::put_all(&tenant, &[(id, content.clone())]).await.unwrap();
    tenant.commit().await.unwrap();
    assert_eq!(world.count("select count(*) from blob_chunks").await, 4);
    let tenant = world.tenant().await;
    assert_eq!(blob::size(&tenant, id).await.unwrap(), Some(content.len() as u64));
    assert_eq!(blob::read(&tenant, id).await.unwrap(), Some(content.clone()));
    // A content that is not what was announced is no blob.
    let other = blob::BlobId([9; 32]);
    assert!(blob::put_stream(&tenant, other, 5, parts()).await.is_err());
}

#[tokio::test]
async fn an_organization_finds_nothing_of_another_ones_mail() {
    let world = world().await;
    let id = here(&world, world.ada_box, hundred()).await[0].email.unwrap();
    let stranger = world.database.organization("stranger").await.unwrap();
    let tenant = world.store.tenant(stranger).await.unwrap();
    assert!(email::get(&tenant, id, Reader::Everything).await.unwrap().is_none());
    assert!(blob::read(&tenant, blob::BlobId::of(b"raw 1")).await.unwrap().is_none());
    assert!(
        email::list(&tenant, Reader::Everything, &EmailFilter::default(), None, 10).await.unwrap().is_empty()
    );
}

#[tokio::test]
async fn pages_of_items_show_each_once() {
    let world = world().await;
    here(&world, world.ada_box, hundred()).await;
    let tenant = world.tenant().await;
    let (mut after, mut seen) = (None, std::collections::HashSet::new());
    loop {
        let page = items::list(&tenant, world.ada_box, false, Some(Decision::Recorded), after.as_ref(), 30)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some(items::ItemPlace::of(last).to_string().parse().unwrap());
        seen.extend(page.into_iter().map(|item| item.item_id));
    }
    assert_eq!(seen.len(), 100);
    assert!(
        items::list(&tenant, world.ada_box, false, Some(Decision::Failed), None, 30)
            .await
            .unwrap()
            .is_empty()
    );
}
