//! Mail from the records out through Postfix.

use std::sync::Arc;
use std::time::Duration;

use model::email::EmailState;
use model::id::{EmailId, MailboxId};
use model::message::{NamedAddress, OutgoingAttachment};
use model::workload::Workload;
use store::outgoing::{self, Draft};
use store::testing;

use crate::house::{House, by, config};

pub(crate) fn to(address: &str) -> Vec<NamedAddress> {
    vec![NamedAddress { name: None, address: address.parse().unwrap() }]
}

pub(crate) async fn pending(house: &House, from: MailboxId, draft: Draft) -> EmailId {
    let tenant = house.tenant().await;
    let draft = Draft { from: Some(from), subject: "Offer".to_owned(), ..draft };
    let file = OutgoingAttachment {
        name: "offer.txt".to_owned(),
        content_type: "text/plain".to_owned(),
        bytes: "42".into(),
        inline_id: None,
    };
    let email = outgoing::create(&tenant, &draft, &[file], None, &by()).await.unwrap();
    outgoing::request_send(&tenant, email, None, outgoing::Request::default(), &by()).await.unwrap();
    tenant.commit().await.unwrap();
    email
}

pub(crate) async fn state(house: &House, email: EmailId) -> EmailState {
    let owner = house.database.owner().await.unwrap();
    let row = owner.query_one("select state from emails where id = $1", &[&email.0]).await.unwrap();
    row.get::<_, String>(0).parse().unwrap()
}

#[tokio::test]
async fn a_sent_mail_arrives_with_everybody_and_nobody_sees_the_bcc() {
    let house = House::build().await;
    let (_, from, _) = house.person("sender").await;
    let (_, _, first) = house.person("first").await;
    let (_, _, hidden) = house.person("hidden").await;
    let draft = Draft {
        to: to(&first),
        bcc: to(&hidden),
        text: Some("Hello".to_owned()),
        html: Some("<p>Hello</p>".to_owned()),
        in_reply_to: Some("question@example.org".to_owned()),
        ..Draft::default()
    };
    let email = pending(&house, from, draft).await;
    let (_, next) = house.cycle(from, Workload::Outgoing).await;
    assert_eq!(state(&house, email).await, EmailState::Sent);
    assert_eq!(next.delay, None, "nothing more is due to send");
    for address in [&first, &hidden] {
        let arrived = house.arrived(address, 1).await;
        let text = String::from_utf8_lossy(&arrived[0]).to_string();
        assert!(!text.to_lowercase().contains("bcc") && !text.contains("hidden"), "{address}");
        assert!(text.contains("In-Reply-To: <question@example.org>"));
    }
}

#[tokio::test]
async fn a_refused_recipient_holds_up_nobody_and_a_deferred_one_is_tried_again() {
    let house = House::build().await;
    let (_, from, _) = house.person("sender").await;
    let (_, _, good) = house.person("good").await;
    let (_, _, never) = house.person("never").await;
    let (_, _, later) = house.person("later").await;
    house.servers.refuse_recipient(&never, Some("550 5.1.1 no such person"));
    house.servers.refuse_recipient(&later, Some("450 4.2.1 come back later"));
    let recipients = [&good, &never, &later].into_iter().flat_map(|address| to(address)).collect();
    let email = pending(&house, from, Draft { to: recipients, ..Draft::default() }).await;
    let (_, next) = house.cycle(from, Workload::Outgoing).await;
    assert_eq!(state(&house, email).await, EmailState::PendingSend);
    assert!(next.delay.unwrap() > Duration::from_secs(200), "{:?}", next.delay);
    assert_eq!(house.arrived(&good, 1).await.len(), 1);
    assert_eq!(
        house.count("alerts where kind = 'recipients_refused' and server_said like '%no such person%'").await,
        1
    );

    house.servers.refuse_recipient(&later, None);
    testing::pass(&house.database, Duration::from_secs(600)).await.unwrap();
    let owner = house.database.owner().await.unwrap();
    owner.execute("update sessions set seen_at = now()", &[]).await.unwrap();
    house.cycle(from, Workload::Outgoing).await;
    assert_eq!(state(&house, email).await, EmailState::Sent);
    assert_eq!(house.arrived(&later, 1).await.len(), 1);
    assert_eq!(house.arrived(&good, 1).await.len(), 1, "who has it gets no second one");
}

#[tokio::test]
async fn a_lease_that_is_lost_before_the_final_dot_sends_nothing() {
    let house = House::build().await;
    let (_, from, _) = house.person("sender").await;
    let (_, _, other) = house.person("other").await;
    let email = pending(&house, from, Draft { to: to(&other), ..Draft::default() }).await;
    let mut cycle = house.claimed(from, Workload::Outgoing).await.unwrap();
    let ending = cycle.run(|| false).await.unwrap();
    cycle.finish(&ending).await.unwrap();
    assert_eq!(state(&house, email).await, EmailState::PendingSend);
    assert_eq!(house.count("send_attempts where answer = 'not_sent'").await, 1);
    assert!(house.servers.messages(&other).is_empty());
}

#[tokio::test]
async fn what_a_dead_worker_left_in_sending_is_unknown_and_stays_so() {
    let house = House::build().await;
    let (_, from, _) = house.person("sender").await;
    let (_, _, other) = house.person("other").await;
    let email = pending(&house, from, Draft { to: to(&other), ..Draft::default() }).await;
    // As if the process died in the middle: begun, never answered.
    let owner = house.database.owner().await.unwrap();
    let cycle = house.claimed(from, Workload::Outgoing).await.unwrap();
    drop(cycle);
    let tenant = house.tenant().await;
    let number: i64 = owner
        .query_one("select claim from schedules where mailbox_id = $1 and workload = 'outgoing'", &[&from.0])
        .await
        .unwrap()
        .get(0);
    outgoing::begin_attempt(&tenant, from, number, house.session, email, &by()).await.unwrap().unwrap();
    tenant.commit().await.unwrap();
    owner
        .execute("update schedules set state = 'idle', session_id = null where mailbox_id = $1", &[&from.0])
        .await
        .unwrap();
    let (_, next) = house.cycle(from, Workload::Outgoing).await;
    assert_eq!(state(&house, email).await, EmailState::Unknown);
    assert_eq!(next.delay, None);
    assert_eq!(house.count("alerts where kind = 'send_unknown'").await, 1);
    assert!(house.servers.messages(&other).is_empty(), "nothing is sent blindly");
}

impl House {
    /// Waits until this many messages are in the mailbox.
    pub(crate) async fn arrived(&self, address: &str, count: usize) -> Vec<Vec<u8>> {
        for _ in 0..200 {
            let messages = self.servers.messages(address);
            if messages.len() >= count {
                return messages;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{count} messages never arrived");
    }
}

#[tokio::test]
async fn a_send_that_waits_is_told_about_and_never_sent_late_even_where_no_cycle_runs() {
    let house = House::build().await;
    let (_, from, _) = house.person("sender").await;
    let (_, _, other) = house.person("other").await;
    let email = pending(&house, from, Draft { to: to(&other), ..Draft::default() }).await;
    let tenant = house.tenant().await;
    store::mailbox::disable(&tenant, from, Workload::Outgoing, None, &by()).await.unwrap();
    tenant.commit().await.unwrap();
    let store = &house.parts.store;
    let held_up = async || store.in_ring(async |ring| outgoing::held_up(ring, 10).await).await.unwrap();
    assert_eq!(held_up().await, []);

    testing::pass(&house.database, outgoing::TOLD_AFTER).await.unwrap();
    assert_eq!(held_up().await, [(house.organization, from)]);
    let day = Duration::from_secs(24 * 3600);
    let tenant = house.tenant().await;
    outgoing::age(&tenant, from, day, &by()).await.unwrap();
    tenant.commit().await.unwrap();
    assert_eq!(state(&house, email).await, EmailState::PendingSend);
    assert_eq!(house.count("alerts where kind = 'send_waiting' and resolved_at is null").await, 1);

    testing::pass(&house.database, day).await.unwrap();
    let tenant = house.tenant().await;
    outgoing::age(&tenant, from, day, &by()).await.unwrap();
    tenant.commit().await.unwrap();
    assert_eq!(state(&house, email).await, EmailState::Failed);
    assert_eq!(house.count("alerts where kind = 'send_waiting' and resolved_at is null").await, 0);
    assert_eq!(house.count("alerts where kind = 'send_too_late' and resolved_at is null").await, 1);
    assert_eq!(held_up().await, []);
}

#[tokio::test]
async fn an_answer_is_committed_with_the_beginning_of_the_next_message_and_the_last_by_itself() {
    let house = House::build().await;
    let (_, from, _) = house.person("sender").await;
    let (_, _, reader) = house.person("reader").await;
    for _ in 0..3 {
        pending(&house, from, Draft { to: to(&reader), ..Draft::default() }).await;
    }
    house.cycle(from, Workload::Outgoing).await;
    assert_eq!(house.arrived(&reader, 3).await.len(), 3);
    assert_eq!(house.count("emails where state = 'sent'").await, 3);
    let moves = "changes where record_type = 'email' and fields->'state'->>'new' in ('sending', 'sent')";
    assert_eq!(house.count(moves).await, 6);
    let commits = format!("(select distinct transaction_id from {moves}) as transactions");
    assert_eq!(house.count(&commits).await, 4, "one more than messages");
    // In none of them is there more than one message that may be on its way.
    let begun = format!(
        "(select transaction_id from {moves} and fields->'state'->>'new' = 'sending' group by 1 having count(*) > 1) as two"
    );
    assert_eq!(house.count(&begun).await, 0);
}

#[tokio::test]
async fn an_answer_is_written_although_the_claim_is_lost_and_nothing_more_begins() {
    let house = Arc::new(House::build().await);
    let (_, from, _) = house.person("sender").await;
    let (_, _, reader) = house.person("reader").await;
    let first = pending(&house, from, Draft { to: to(&reader), ..Draft::default() }).await;
    let second = pending(&house, from, Draft { to: to(&reader), ..Draft::default() }).await;
    let mut cycle = house.claimed(from, Workload::Outgoing).await.unwrap();
    // The last moment before the final dot: the claim is raised by somebody else.
    let (sender, raised) = std::sync::mpsc::channel();
    let (ask, asked) = std::sync::mpsc::channel();
    let elsewhere = Arc::clone(&house);
    let raise = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        asked.recv().unwrap();
        runtime.block_on(async {
            let database = elsewhere.database.owner().await.unwrap();
            let bump = "update schedules set claim = claim + 1, state = 'idle', session_id = null
                        where workload = 'outgoing' and state = 'running'";
            database.execute(bump, &[]).await.unwrap();
        });
        sender.send(()).unwrap();
    });
    let raised = std::sync::Mutex::new(raised);
    let ending = cycle.run(move || ask.send(()).is_err() || raised.lock().unwrap().recv().is_ok()).await;
    raise.join().unwrap();
    assert!(ending.is_none(), "the claim is somebody else's by now");
    assert_eq!(state(&house, first).await, EmailState::Sent);
    assert_eq!(state(&house, second).await, EmailState::PendingSend);
    assert_eq!(house.arrived(&reader, 1).await.len(), 1);
    assert_eq!(house.count("send_attempts").await, 1);
}

/// Files that are too large to be read when a try begins: bytes of every kind, a message that must travel as it is, a
/// message that cannot, and a picture of the text.
fn large_files() -> Vec<OutgoingAttachment> {
    let file = |name: &str, content_type: &str, bytes: Vec<u8>, inline_id: Option<&str>| OutgoingAttachment {
        name: name.to_owned(),
        content_type: content_type.to_owned(),
        bytes: bytes.into(),
        inline_id: inline_id.map(str::to_owned),
    };
    let message = |end: &str| {
        let line = [".and a dot at the start", end, "plain", end].concat();
        format!("From: x@example.com{end}Subject: y{end}{end}{}", line.repeat(50_000)).into_bytes()
    };
    let bytes =
        |count: u32| (0..count).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[1]).collect();
    vec![
        file("all.bin", "application/octet-stream", bytes(2_500_001), None),
        file("original.eml", "message/rfc822", message("\r\n"), None),
        file("broken.eml", "message/rfc822", message("\n"), None),
        file("empty.txt", "text/plain", Vec::new(), None),
        file("logo.png", "image/png", bytes(1_048_576), Some("logo@example.com")),
    ]
}

fn unix(text: &[u8]) -> String {
    String::from_utf8_lossy(text).replace("\r\n", "\n")
}

async fn pending_with_large_files(house: &House, from: MailboxId, to_whom: &str) -> EmailId {
    let tenant = house.tenant().await;
    let draft = Draft {
        from: Some(from),
        to: to(to_whom),
        subject: "Large".to_owned(),
        html: Some("<p>See <img src=\"cid:logo@example.com\"></p>".to_owned()),
        ..Draft::default()
    };
    let email = outgoing::create(&tenant, &draft, &large_files(), None, &by()).await.unwrap();
    outgoing::request_send(&tenant, email, None, outgoing::Request::default(), &by()).await.unwrap();
    tenant.commit().await.unwrap();
    email
}

#[tokio::test]
async fn large_files_are_read_while_they_leave_and_arrive_as_they_were() {
    // Of less memory than they have bytes.
    let house = House::with(cycle::Config { send_memory_mb: 4, ..config() }, |_| {}).await;
    let (_, from, _) = house.person("sender").await;
    let (_, _, reader) = house.person("reader").await;
    let email = pending_with_large_files(&house, from, &reader).await;
    house.cycle(from, Workload::Outgoing).await;
    assert_eq!(state(&house, email).await, EmailState::Sent);
    let arrived = house.arrived(&reader, 1).await;
    let parsed = mail::mime::parse(&arrived[0], &mail::mime::Limits::default());
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    for sent in large_files() {
        let found = parsed.attachments.iter().find(|found| found.name == sent.name);
        let found = found.unwrap_or_else(|| panic!("{} is not there", sent.name));
        // The server keeps what travels as text with line ends of its own.
        let as_text = sent.name == "original.eml" && unix(&found.bytes) == unix(&sent.bytes);
        assert!(as_text || found.bytes == sent.bytes, "{} is another", sent.name);
        assert_eq!(found.content_id, sent.inline_id);
    }
    let text = unix(&arrived[0]);
    assert!(text.contains("Content-Type: message/rfc822") && text.contains("\n.and a dot at the start\n"));
}

#[tokio::test]
async fn a_file_that_ends_early_is_sent_to_nobody_and_leaves_no_doubt() {
    let house = House::build().await;
    let (_, from, _) = house.person("sender").await;
    let (_, _, reader) = house.person("reader").await;
    let email = pending_with_large_files(&house, from, &reader).await;
    let owner = house.database.owner().await.unwrap();
    owner.batch_execute("create table kept as select * from blob_chunks where number = 1").await.unwrap();
    owner.execute("delete from blob_chunks where number = 1", &[]).await.unwrap();
    house.cycle(from, Workload::Outgoing).await;
    assert_eq!(state(&house, email).await, EmailState::PendingSend);
    let answers = "select count(*) from send_attempts where answer = 'not_sent'";
    assert_eq!(owner.query_one(answers, &[]).await.unwrap().get::<_, i64>(0), 1);

    owner.batch_execute("insert into blob_chunks select * from kept").await.unwrap();
    testing::pass(&house.database, Duration::from_secs(361)).await.unwrap();
    house.cycle(from, Workload::Outgoing).await;
    assert_eq!(state(&house, email).await, EmailState::Sent);
    assert_eq!(house.arrived(&reader, 1).await.len(), 1, "once, and as a whole");
}
