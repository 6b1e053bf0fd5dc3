//! When two messages are one record, whose it is, and who reads which copy: what design section 6 says, row by row.

use std::cell::Cell;
use std::time::Duration;

use model::id::{MailboxId, OrganizationId, UserId};
use model::identity::{BodyDigest, header_size, identity_of_parts};
use model::mailbox::Owner;
use model::message::{ParsedMessage, Party};
use store::email::{EmailFilter, Reader};
use store::incoming::{
    IncomingBatch, IncomingItem, IncomingMessage, Raw, Recorded, StoredRaw, Verdict, record,
};
use store::{Tenant, blob, email};

use crate::world::{World, author, enabled, item, message, new_mailbox, profile_fields, world};

async fn record_in(tenant: &Tenant, mailbox: MailboxId, items: Vec<IncomingItem>) -> Vec<Recorded> {
    let by = author();
    let folder = "pop3s://mail.example.com:995 somebody";
    let batch = IncomingBatch {
        search_keys: &std::collections::HashMap::new(),
        mailbox,
        folder,
        items,
        cursor: None,
        retry_after: Duration::from_secs(300),
        by: &by,
    };
    record(tenant, &batch).await.unwrap()
}

async fn here(world: &World, mailbox: MailboxId, new: IncomingItem) -> Recorded {
    let tenant = world.tenant().await;
    let mut recorded = record_in(&tenant, mailbox, vec![new]).await;
    tenant.commit().await.unwrap();
    recorded.remove(0)
}

/// A second organization in the same database, with Eve and her mailbox.
async fn neighbour(world: &World) -> (OrganizationId, UserId, MailboxId) {
    let organization: OrganizationId = model::clock::new_id();
    let tenant = world.store.tenant(organization).await.unwrap();
    store::organization::create(&tenant, "Difference Engines").await.unwrap();
    let eve = crate::world::user(&tenant, "eve").await;
    let profile = store::profile::create(&tenant, &profile_fields("Mail"), &author()).await.unwrap().id;
    let new = new_mailbox("eve", Some(Owner::User(eve)), profile);
    let mailbox = store::mailbox::create(&tenant, &new, &author()).await.unwrap().id;
    enabled(&tenant, mailbox).await;
    tenant.commit().await.unwrap();
    (organization, eve, mailbox)
}

#[tokio::test]
async fn one_mail_to_two_organizations_is_a_record_of_each_and_shares_nothing() {
    let world = world().await;
    let (theirs, eve, eve_box) = neighbour(&world).await;
    let to = ["ada@example.com", "eve@example.com"];
    let ours = here(&world, world.ada_box, item("a", message(1, &to), "raw 1")).await;
    let other = world.store.tenant(theirs).await.unwrap();
    let hers = record_in(&other, eve_box, vec![item("a", message(1, &to), "raw 1")]).await.remove(0);
    // Not even the same Message-ID under another subject tells one of them that the other has it.
    let another = ParsedMessage { subject: Some("Number two".into()), ..message(2, &to) };
    let second = record_in(&other, eve_box, vec![item("b", another, "raw 2")]).await.remove(0);
    other.commit().await.unwrap();
    let second_here = here(&world, world.ada_box, item("b", message(2, &to), "raw 2")).await;

    assert!(ours.new_email && hers.new_email && second.new_email && second_here.new_email);
    assert_ne!(ours.email, hers.email);
    for table in ["emails", "email_copies", "receipts", "mailbox_items"] {
        let by_organization = format!("select count(*) from {table} where organization_id = '{theirs}'");
        assert_eq!(world.count(&by_organization).await, 2, "{table}");
        assert_eq!(world.count(&format!("select count(*) from {table}")).await, 4, "{table}");
    }
    // The raw message and the attachment of each are stored by each: a content that is there says nothing.
    let raw = "select count(*) from blobs where sha256 = sha256('raw 1')";
    assert_eq!(world.count(raw).await, 2);
    assert_eq!(world.count("select count(*) from emails where warnings <> '{}'").await, 0);

    let (tenant, other) = (world.tenant().await, world.store.tenant(theirs).await.unwrap());
    for (tenant, own, foreign, owner, known) in [
        (&tenant, ours.email, hers.email, world.ada, "ada@example.com"),
        (&other, hers.email, ours.email, eve, "eve@example.com"),
    ] {
        let (own, foreign) = (own.unwrap(), foreign.unwrap());
        let found = email::by_message_id(tenant, "1@sender.example", Reader::Everything).await.unwrap();
        assert_eq!(found.iter().map(|email| email.id).collect::<Vec<_>>(), [own]);
        let seen = email::get(tenant, own, Reader::Everything).await.unwrap().unwrap();
        assert_eq!((seen.owner, seen.receipts.len()), (Some(Owner::User(owner)), 1));
        let people: Vec<_> = seen.parties.iter().filter(|party| party.party.is_some()).collect();
        assert_eq!(people.len(), 1, "the other's people are strangers");
        assert_eq!(people[0].address, known);
        assert!(email::get(tenant, foreign, Reader::Everything).await.unwrap().is_none());
        let items = store::item::by_message_id(tenant, "1@sender.example", Reader::Everything, None).await;
        assert_eq!(items.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn the_owner_is_the_first_of_to_then_cc_then_bcc_with_a_mailbox() {
    let world = world().await;
    let parties = |addresses: &[&str]| -> Vec<Party> {
        addresses.iter().map(|address| Party { name: None, address: (*address).into() }).collect()
    };
    let (strange, ada, bob, support) =
        ("who@elsewhere.example", "Ada@Example.com", "bob@example.com", "support@example.com");
    // To, Cc, Bcc, who must be the owner. The reader is always Ada.
    let table = [
        (vec![strange, bob], vec![ada], vec![support], Owner::User(world.bob)),
        (vec![strange], vec![strange, bob, ada], vec![], Owner::User(world.bob)),
        (vec![strange], vec![support], vec![bob], Owner::Queue(world.support)),
        (vec![strange], vec![strange], vec![bob, ada], Owner::User(world.bob)),
        (vec![], vec![], vec![support], Owner::Queue(world.support)),
        // Nobody whom the header names: a list brought it, or a Bcc that nobody sees.
        (vec![strange], vec![], vec![], Owner::User(world.ada)),
        (vec![], vec![], vec![], Owner::User(world.ada)),
    ];
    for (number, (to, cc, bcc, owner)) in table.into_iter().enumerate() {
        let message = ParsedMessage { cc: parties(&cc), bcc: parties(&bcc), ..message(number, &to) };
        let name = format!("u{number}");
        let id = here(&world, world.ada_box, item(&name, message, &name)).await.email.unwrap();
        let seen = email::get(&world.tenant().await, id, Reader::Everything).await.unwrap().unwrap();
        assert_eq!(seen.owner, Some(owner), "To {to:?}, Cc {cc:?}, Bcc {bcc:?}");
    }
}

#[tokio::test]
async fn who_got_it_and_whose_queue_got_it_reads_the_own_copy_first_and_may_open_the_queues() {
    let world = world().await;
    let to = ["ada@example.com", "support@example.com", "bob@example.com"];
    let words = |text: &str| ParsedMessage { text: Some(text.into()), ..message(1, &to) };
    // The queue's came first, so that order alone does not decide.
    for (mailbox, text) in
        [(world.support_box, "To all"), (world.bob_box, "To Bob"), (world.ada_box, "To Ada")]
    {
        here(&world, mailbox, item("a", words(text), text)).await;
    }
    let tenant = world.tenant().await;
    let found = email::list(&tenant, Reader::Everything, &EmailFilter::default(), None, 10).await.unwrap();
    assert_eq!(found.len(), 1);
    let (id, by) = (found[0].id, author());
    let ada = Reader::User(world.ada);
    let own = email::open_copy(&tenant, id, ada, None, &by).await.unwrap().unwrap();
    assert_eq!((own.text.as_deref(), own.others.len()), (Some("To Ada"), 1));
    let queues = email::open_copy(&tenant, id, ada, Some(own.others[0]), &by).await.unwrap().unwrap();
    assert_eq!(queues.text.as_deref(), Some("To all"));
    assert_eq!(email::get(&tenant, id, ada).await.unwrap().unwrap().receipts.len(), 2);

    let bobs = email::open_copy(&tenant, id, Reader::User(world.bob), None, &by).await.unwrap().unwrap();
    assert_eq!((bobs.text.as_deref(), bobs.others.len()), (Some("To Bob"), 0));
    let denied = email::open_copy(&tenant, id, ada, Some(bobs.id), &by).await.unwrap();
    assert!(denied.is_none(), "another's copy is not opened by its name");
}

/// A message that is stored in chunks, as a large one is, with the header that a mailbox of its own gave it.
async fn large(tenant: &Tenant, header: &str, body: &[u8]) -> IncomingItem {
    let raw = bytes::Bytes::from([header.as_bytes(), b"\r\n\r\n", body].concat());
    let size = header_size(&raw);
    let message =
        ParsedMessage { attachments: Vec::new(), ..message(1, &["ada@example.com", "bob@example.com"]) };
    let id = blob::BlobId::of(&raw);
    let (header, digest) = (raw.slice(..size), BodyDigest::of(&raw[size..]));
    let identity = identity_of_parts(&message, &header, digest);
    let stored = StoredRaw { blob: id, size: raw.len() as u64, header, body: digest };
    let new = IncomingMessage { identity, message, raw: Raw::Stored(stored) };
    if !store::incoming::is_known(tenant, &new).await.unwrap() {
        let parts = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(raw.clone())]);
        blob::put_stream(tenant, id, raw.len() as u64, parts).await.unwrap();
    }
    IncomingItem {
        item_id: "large".into(),
        size: raw.len() as u64,
        received_at: None,
        message_id: new.message.message_id.clone(),
        rule: "all".into(),
        verdict: Verdict::Record(Box::new(new)),
    }
}

#[tokio::test]
async fn copies_of_a_large_message_share_their_content_and_each_reader_has_the_own_header() {
    let world = world().await;
    let body = vec![b'x'; 2_500_000];
    for (mailbox, name) in [(world.ada_box, "ada"), (world.bob_box, "bob")] {
        let tenant = world.tenant().await;
        let item =
            large(&tenant, &format!("Delivered-To: {name}@example.com\r\nSubject: Number 1"), &body).await;
        record_in(&tenant, mailbox, vec![item]).await;
        tenant.commit().await.unwrap();
    }
    assert_eq!(world.count("select count(*) from email_copies").await, 1);
    assert_eq!(world.count("select count(*) from receipts").await, 2);
    assert_eq!(world.count("select count(*) from blobs").await, 1, "the body is stored once");
    assert_eq!(world.count("select count(*) from blob_chunks").await, 3);
    // Behind the same first part another end: another copy.
    let tenant = world.tenant().await;
    let other = [&body[..], b"but"].concat();
    let item = large(&tenant, "Delivered-To: support@example.com\r\nSubject: Number 1", &other).await;
    record_in(&tenant, world.support_box, vec![item]).await;
    tenant.commit().await.unwrap();
    assert_eq!(world.count("select count(*) from emails").await, 1);
    assert_eq!(world.count("select count(*) from email_copies").await, 2);

    let tenant = world.tenant().await;
    let id = email::list(&tenant, Reader::Everything, &EmailFilter::default(), None, 10).await.unwrap()[0].id;
    for (reader, name) in [(world.ada, "ada"), (world.bob, "bob")] {
        let copy =
            email::open_copy(&tenant, id, Reader::User(reader), None, &author()).await.unwrap().unwrap();
        let raw = copy.raw.unwrap();
        let stored = blob::read(&tenant, raw.blob).await.unwrap().unwrap();
        let split = usize::try_from(raw.header_size).unwrap();
        assert_eq!(&stored[split..], body);
        let header = raw.header.unwrap_or(stored.slice(..split));
        assert!(header.starts_with(format!("Delivered-To: {name}@").as_bytes()));
    }
}

#[tokio::test]
async fn of_two_mails_that_take_one_message_id_in_the_same_instant_one_is_warned_of() {
    let world = world().await;
    let titled = |subject: &str| {
        item(
            subject,
            ParsedMessage { subject: Some(subject.into()), ..message(1, &["ada@example.com"]) },
            subject,
        )
    };
    let (first, second) = (world.tenant().await, world.tenant().await);
    record_in(&first, world.ada_box, vec![titled("One")]).await;
    let owner = world.database.owner().await.unwrap();
    let ended = Cell::new(false);
    let ((), recorded) = tokio::join!(
        async {
            // Until the second waits for the first, or has seen nothing of it and is through.
            let waits = "select count(*) from pg_stat_activity
                         where datname = current_database() and wait_event_type = 'Lock'";
            while !ended.get() && owner.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
            first.commit().await.unwrap();
        },
        async {
            let mut batch = vec![titled("Two")];
            // What has nothing to do with it comes along unharmed.
            batch.push(item("other", message(2, &["bob@example.com"]), "raw 2"));
            let recorded = record_in(&second, world.bob_box, batch).await;
            second.commit().await.unwrap();
            ended.set(true);
            recorded
        }
    );
    assert!(recorded.iter().all(|one| one.new_email));
    assert_eq!(world.count("select count(*) from emails").await, 3);
    let warned = "select count(*) from emails where 'message_id_reused' = any(warnings)";
    assert_eq!(world.count(warned).await, 1);
    assert_eq!(world.count(&format!("{warned} and subject = 'Two'")).await, 1);

    // The same mail at the same instant is one email, and no reuse.
    let (first, second) = (world.tenant().await, world.tenant().await);
    let same = || item("same", message(3, &["ada@example.com", "bob@example.com"]), "raw 3");
    let one = record_in(&first, world.ada_box, vec![same()]).await.remove(0);
    let ended = Cell::new(false);
    let ((), other) = tokio::join!(
        async {
            let waits = "select count(*) from pg_stat_activity
                         where datname = current_database() and wait_event_type = 'Lock'";
            while !ended.get() && owner.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {}
            first.commit().await.unwrap();
        },
        async {
            let other = record_in(&second, world.bob_box, vec![same()]).await.remove(0);
            second.commit().await.unwrap();
            ended.set(true);
            other
        }
    );
    assert_eq!((other.email, other.new_email), (one.email, false));
    assert_eq!(world.count(warned).await, 1);
}
