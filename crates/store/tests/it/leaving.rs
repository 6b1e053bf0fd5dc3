//! Mailboxes that change hands, people who leave, and what is removed: nothing of one person's goes to another, nothing
//! that runs goes on, and no record is lost.

use std::time::Duration;

use model::alert::AlertKind;
use model::email::{EmailState, RecipientState, SendAnswer};
use model::id::{EmailId, MailboxId, SessionId, UserId};
use model::mailbox::{Approval, DeliveryMethod, Owner};
use model::message::NamedAddress;
use model::secret::Secret;
use model::workload::Workload;
use store::alert::{self, AlertFilter, AlertReader};
use store::email::{self, EmailFilter, Reader};
use store::incoming::{IncomingBatch, IncomingItem, record};
use store::mailbox::{self, MailboxUpdate};
use store::outgoing::{Answer, Draft, RecipientAnswer, begin_attempt, record_answer, request_send, state_of};
use store::schedule::{self, Claim};
use store::seal::KeyRing;
use store::user::UserUpdate;
use store::{Error, Refusal, Result, profile, queue, user};

use crate::support::{self, DEAD_AFTER};
use crate::world::{World, author, enabled, item, message, new_mailbox, profile_fields, world};

fn refusal<T>(result: Result<T>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        Err(other) => panic!("failed instead of being refused: {other}"),
        Ok(_) => panic!("was not refused"),
    }
}

fn ring() -> KeyRing {
    KeyRing::from_text("only:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap()
}

async fn received(world: &World, mailbox: MailboxId, items: Vec<IncomingItem>) {
    let by = author();
    let batch = IncomingBatch {
        search_keys: &std::collections::HashMap::new(),
        mailbox,
        folder: "pop3://mail.example.com:995 somebody",
        items,
        cursor: None,
        retry_after: Duration::from_secs(300),
        by: &by,
    };
    let tenant = world.tenant().await;
    record(&tenant, &batch).await.unwrap();
    tenant.commit().await.unwrap();
}

/// What a person sees of what was received.
async fn seen(world: &World, user: UserId) -> usize {
    let filter = EmailFilter { direction: Some(model::email::Direction::Incoming), ..EmailFilter::default() };
    email::list(&world.tenant().await, Reader::User(user), &filter, None, 100).await.unwrap().len()
}

/// An email to two people that waits to be sent from Ada's mailbox.
async fn pending(world: &World) -> EmailId {
    let to = |address: &str| NamedAddress { name: None, address: address.parse().unwrap() };
    let draft = Draft {
        from: Some(world.ada_box),
        to: vec![to("one@there.example"), to("two@there.example")],
        subject: "Engines".into(),
        ..Draft::default()
    };
    let tenant = world.tenant().await;
    let owner = Some(Owner::User(world.ada));
    let id = store::outgoing::create(&tenant, &draft, &[], owner, &author()).await.unwrap();
    request_send(&tenant, id, None, store::outgoing::Request::default(), &author()).await.unwrap();
    tenant.commit().await.unwrap();
    id
}

/// Begins to send it, and answers for the first recipient if there is an answer.
async fn tried(world: &World, email: EmailId, first: Option<RecipientState>) -> model::id::AttemptId {
    let session: SessionId = model::clock::new_id();
    let tenant = world.tenant().await;
    let attempt = begin_attempt(&tenant, world.ada_box, 1, session, email, &author()).await.unwrap().unwrap();
    tenant.commit().await.unwrap();
    if let Some(first) = first {
        answered(world, attempt.id, &[first, RecipientState::Deferred]).await;
    }
    attempt.id
}

async fn answered(world: &World, attempt: model::id::AttemptId, states: &[RecipientState]) -> EmailState {
    let recipients = states
        .iter()
        .zip(1..)
        .map(|(state, position)| RecipientAnswer {
            position,
            state: *state,
            reply_code: Some(250),
            enhanced_code: None,
            said: None,
            retry_after: Duration::from_secs(600),
        })
        .collect();
    let answer = Answer {
        attempt,
        answer: SendAnswer::Accepted,
        said: None,
        recipients,
        retry_after: Duration::from_secs(300),
    };
    let tenant = world.tenant().await;
    let answered = record_answer(&tenant, &answer, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    answered.state
}

async fn state(world: &World, id: EmailId) -> EmailState {
    email::get(&world.tenant().await, id, Reader::Everything).await.unwrap().unwrap().state
}

/// The kinds of open alerts about emails that a person sees.
async fn told(world: &World, user: UserId) -> Vec<AlertKind> {
    let reader = AlertReader::User(user);
    let alerts =
        alert::list(&world.tenant().await, reader, &AlertFilter::default(), None, 100).await.unwrap();
    let mut kinds: Vec<_> = alerts.iter().map(|alert| alert.kind).collect();
    kinds.sort_by_key(|kind| kind.as_str());
    kinds
}

/// A cycle of incoming mail that runs right now.
async fn running(world: &World, mailbox: MailboxId) -> Claim {
    let session = support::start(&world.store).await;
    let queued = support::scan(&world.store, 100).await;
    let claim = queued.iter().find(|queued| queued.place.claim.mailbox == mailbox).unwrap().place.claim;
    let tenant = world.tenant().await;
    schedule::claim(&tenant, claim, session).await.unwrap().unwrap();
    tenant.commit().await.unwrap();
    assert!(DEAD_AFTER > Duration::ZERO);
    claim
}

async fn fenced(world: &World, claim: Claim) -> bool {
    matches!(schedule::fence(&world.tenant().await, claim).await, Err(Error::Fenced))
}

/// The fields of the last change of a record.
async fn last_change(world: &World, record_type: &str, id: uuid::Uuid) -> serde_json::Value {
    let tenant = world.tenant().await;
    store::change::of(&tenant, record_type, id, 0, 1000).await.unwrap().pop().unwrap().fields
}

async fn password(world: &World, mailbox: MailboxId, login: &str) {
    let tenant = world.tenant().await;
    mailbox::set_password(&tenant, &ring(), mailbox, login, &Secret::from("secret"), &author())
        .await
        .unwrap();
    tenant.commit().await.unwrap();
}

#[tokio::test]
async fn a_mailbox_that_moves_while_it_runs_stops_and_takes_nothing_of_its_former_owner_along() {
    let world = world().await;
    let by = author();
    received(&world, world.ada_box, vec![item("a", message(1, &["ada@example.com"]), "one")]).await;
    // Bob's record, of which Ada has a receipt: what she got is hers, whoever the record's owner is.
    received(&world, world.ada_box, vec![item("b", message(2, &["bob@example.com"]), "two")]).await;
    password(&world, world.ada_box, "ada@example.com").await;
    let waiting = pending(&world).await;
    let partly = pending(&world).await;
    tried(&world, partly, Some(RecipientState::Accepted)).await;
    let leaving = pending(&world).await;
    let attempt = tried(&world, leaving, None).await;
    let claim = running(&world, world.ada_box).await;
    assert_eq!(seen(&world, world.ada).await, 2);

    let tenant = world.tenant().await;
    let carol = crate::world::user(&tenant, "carol").await;
    let (to, confirmed) = (Some(Owner::User(carol)), Some(Owner::User(world.ada)));
    mailbox::remap(&tenant, world.ada_box, None, to, confirmed, &by).await.unwrap();
    tenant.commit().await.unwrap();

    assert!(fenced(&world, claim).await, "the running cycle can commit nothing more");
    let moved = mailbox::get(&world.tenant().await, world.ada_box).await.unwrap().unwrap();
    assert_eq!((moved.owner, moved.approval, moved.has_password), (to, Approval::Pending, false));
    assert!(moved.workloads.iter().all(|state| !state.enabled && state.tested_at.is_none()));
    assert_eq!(world.count("select count(*) from credentials").await, 0);

    assert_eq!(state(&world, waiting).await, EmailState::Draft);
    assert_eq!(state(&world, partly).await, EmailState::Sent, "one has got it, and nobody else will");
    assert_eq!(state(&world, leaving).await, EmailState::Unknown);
    let kinds = [AlertKind::SendUnknown, AlertKind::SendWithdrawn, AlertKind::SendWithdrawn];
    assert_eq!(told(&world, world.ada).await, kinds);
    assert_eq!(told(&world, carol).await, []);
    // The server's answer is written down whoever brings it, and ends the doubt.
    let both = [RecipientState::Accepted, RecipientState::Accepted];
    assert_eq!(answered(&world, attempt, &both).await, EmailState::Sent);

    assert_eq!(seen(&world, world.ada).await, 2, "what she received stays hers");
    assert_eq!(seen(&world, carol).await, 0, "and is nobody else's");
    received(&world, world.ada_box, vec![item("c", message(3, &["ada@example.com"]), "three")]).await;
    assert_eq!((seen(&world, world.ada).await, seen(&world, carol).await), (2, 1));
    let change = last_change(&world, "mailbox", world.ada_box.0).await;
    assert_eq!(change["owner"]["old"]["id"], world.ada.0.to_string());
    assert_eq!(change["owner"]["new"]["id"], carol.0.to_string());
    assert_eq!(change["password"], serde_json::json!({}), "named, never shown");
    assert_eq!(last_change(&world, "email", waiting.0).await["state"]["new"], "draft");
}

#[tokio::test]
async fn a_cycle_that_ends_and_a_mailbox_that_moves_never_wait_for_each_other() {
    let world = world().await;
    let claim = running(&world, world.ada_box).await;
    let (outcome, next) = support::done();
    // The cycle's last transaction holds its row in the ring and has not come to the mailbox yet.
    let ending = world.tenant().await;
    schedule::finish(&ending, claim, &outcome, &next).await.unwrap();
    let moving = async {
        let tenant = world.tenant().await;
        let moved =
            mailbox::remap(&tenant, world.ada_box, None, None, Some(Owner::User(world.ada)), &author()).await;
        tenant.commit().await.unwrap();
        moved.unwrap();
    };
    let ended = async {
        let waits =
            "select count(*) from pg_locks where not granted and locktype in ('tuple', 'transactionid')";
        while world.count(waits).await == 0 {
            tokio::task::yield_now().await;
        }
        let kind = Some(AlertKind::CredentialsRefused);
        mailbox::disable(&ending, world.ada_box, Workload::Incoming, kind, &author()).await.unwrap();
        ending.commit().await.unwrap();
    };
    tokio::join!(moving, ended);
    assert!(fenced(&world, claim).await);
}

#[tokio::test]
async fn another_address_login_or_server_stops_what_runs_until_it_is_tested() {
    let world = world().await;
    let by = author();
    let tenant = world.tenant().await;
    let other = profile::create(&tenant, &profile_fields("Other"), &by).await.unwrap().id;
    tenant.commit().await.unwrap();
    let updates = [
        MailboxUpdate { address: Some("ada@elsewhere.example".parse().unwrap()), ..MailboxUpdate::default() },
        MailboxUpdate { incoming_login: Some("lovelace".into()), ..MailboxUpdate::default() },
        MailboxUpdate { profile: Some(other), ..MailboxUpdate::default() },
    ];
    for (update, approval) in updates.iter().zip([Approval::Pending, Approval::Approved, Approval::Approved])
    {
        let claim = running(&world, world.ada_box).await;
        let tenant = world.tenant().await;
        let changed = mailbox::update(&tenant, world.ada_box, None, update, &by).await.unwrap();
        tenant.commit().await.unwrap();
        assert!(fenced(&world, claim).await);
        assert_eq!(changed.approval, approval);
        assert!(changed.workloads.iter().all(|state| !state.enabled && state.due_at.is_none()));
        let tenant = world.tenant().await;
        enabled(&tenant, world.ada_box).await;
        tenant.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_user_who_leaves_stops_everywhere_and_their_mailbox_can_be_handed_on() {
    let world = world().await;
    let by = author();
    let tenant = world.tenant().await;
    let (_, secret) =
        store::key::create(&tenant, "ada", &store::key::KeyOwner::User(world.ada), &by).await.unwrap();
    tenant.commit().await.unwrap();
    let known = async || {
        let ring = world.store.ring().await.unwrap();
        store::key::authenticate(&ring, store::key::hash(&secret)).await.unwrap().is_some()
    };
    assert!(known().await);
    received(&world, world.ada_box, vec![item("a", message(1, &["ada@example.com"]), "one")]).await;
    let waiting = pending(&world).await;
    let claim = running(&world, world.ada_box).await;

    let tenant = world.tenant().await;
    let gone = UserUpdate { active: Some(false), ..UserUpdate::default() };
    user::update(&tenant, world.ada, None, &gone, &by).await.unwrap();
    tenant.commit().await.unwrap();
    assert!(!known().await, "the key opens nothing");
    assert!(fenced(&world, claim).await);
    assert_eq!(state(&world, waiting).await, EmailState::Draft);
    assert_eq!(told(&world, world.ada).await, [AlertKind::SendWithdrawn]);
    let stopped = mailbox::get(&world.tenant().await, world.ada_box).await.unwrap().unwrap();
    assert!(stopped.workloads.iter().all(|state| !state.enabled));
    assert_eq!(stopped.owner, Some(Owner::User(world.ada)), "it is still theirs");
    assert_eq!(last_change(&world, "mailbox", world.ada_box.0).await["incoming.enabled"]["new"], false);

    let tenant = world.tenant().await;
    let on = mailbox::enable(&tenant, world.ada_box, Workload::Incoming, Duration::ZERO, &by).await;
    assert!(refusal(on).to_string().contains("no longer active"));
    let nobodys = mailbox::create(&tenant, &new_mailbox("free", None, world.profile), &by).await.unwrap().id;
    let to_the_gone = mailbox::remap(&tenant, nobodys, None, Some(Owner::User(world.ada)), None, &by).await;
    assert_eq!(refusal(to_the_gone).field(), Some("owner"));

    let sales = crate::world::queue(&tenant, "sales", vec![world.bob]).await;
    let (to, confirmed) = (Some(Owner::Queue(sales)), Some(Owner::User(world.ada)));
    mailbox::remap(&tenant, world.ada_box, None, to, confirmed, &by).await.unwrap();
    tenant.commit().await.unwrap();
    assert_eq!((seen(&world, world.ada).await, seen(&world, world.bob).await), (1, 0), "records stay theirs");
}

#[tokio::test]
async fn a_removed_mailbox_leaves_its_records_and_its_name() {
    let world = world().await;
    let by = author();
    let shared = message(1, &["bob@example.com"]);
    received(&world, world.bob_box, vec![item("a", shared.clone(), "one")]).await;
    received(
        &world,
        world.ada_box,
        vec![item("a", shared, "one"), item("b", message(2, &["ada@example.com"]), "two")],
    )
    .await;
    password(&world, world.ada_box, "ada@example.com").await;
    let waiting = pending(&world).await;
    let sent = pending(&world).await;
    let attempt = tried(&world, sent, None).await;
    assert_eq!(answered(&world, attempt, &[RecipientState::Accepted; 2]).await, EmailState::Sent);
    let claim = running(&world, world.ada_box).await;

    let tenant = world.tenant().await;
    let told_before = mailbox::deletion(&tenant, world.ada_box).await.unwrap();
    assert!(told_before.refused.is_none());
    let counts = |parts: &[store::deletion::Part]| -> Vec<(&'static str, i64)> {
        parts.iter().map(|part| (part.what, part.count)).collect()
    };
    assert_eq!(
        counts(&told_before.goes),
        [("credentials", 1), ("running cycles", 1), ("pending sends", 1), ("decisions", 2), ("alerts", 0)]
    );
    assert_eq!(counts(&told_before.stays)[..3], [("received emails", 2), ("sent emails", 1), ("drafts", 0)]);
    let stale = mailbox::delete(&tenant, world.ada_box, Some(told_before.version - 1), &by).await;
    assert!(matches!(refusal(stale), Refusal::Changed { .. }));
    mailbox::delete(&tenant, world.ada_box, Some(told_before.version), &by).await.unwrap();
    tenant.commit().await.unwrap();

    assert!(fenced(&world, claim).await, "the running cycle can commit nothing more");
    assert_eq!(seen(&world, world.ada).await, 2, "the one she owns, and the one she has a receipt of");
    for left in ["credentials", "mailbox_items where mailbox_id <> all (select id from mailboxes)"] {
        assert_eq!(world.count(&format!("select count(*) from {left}")).await, 0, "{left}");
    }
    assert_eq!(world.count("select count(*) from receipts").await, 3);
    let filter = EmailFilter::default();
    let tenant = world.tenant().await;
    let hers = email::list(&tenant, Reader::User(world.ada), &filter, None, 100).await.unwrap();
    for one in hers.iter().filter(|email| email.direction == model::email::Direction::Incoming) {
        let email = email::get(&tenant, one.id, Reader::User(world.ada)).await.unwrap().unwrap();
        let names: Vec<_> = email.receipts.iter().map(|receipt| receipt.mailbox_name.as_str()).collect();
        assert_eq!(names, ["ada"], "it still says where it came to");
        assert!(
            email::open_copy(&tenant, one.id, Reader::User(world.ada), None, &by).await.unwrap().is_some()
        );
    }
    assert_eq!(
        (state(&world, waiting).await, state(&world, sent).await),
        (EmailState::Draft, EmailState::Sent)
    );
    assert_eq!(told(&world, world.ada).await, [AlertKind::SendWithdrawn]);
    let again = request_send(&tenant, waiting, None, store::outgoing::Request::default(), &by).await;
    assert_eq!(refusal(again), Refusal::NoSender);
    drop(tenant);
    let change = last_change(&world, "mailbox", world.ada_box.0).await;
    assert_eq!((&change["deleted"]["new"], &change["name"]["old"]), (&true.into(), &"ada".into()));

    // Mapped again, on the same server, the same messages are no second record.
    let tenant = world.tenant().await;
    let again = new_mailbox("ada", Some(Owner::User(world.ada)), world.profile);
    let again = mailbox::create(&tenant, &again, &by).await.unwrap().id;
    tenant.commit().await.unwrap();
    let records = world.count("select count(*) from emails").await;
    received(&world, again, vec![item("z", message(2, &["ada@example.com"]), "two")]).await;
    assert_eq!(world.count("select count(*) from emails").await, records);
}

#[tokio::test]
async fn a_late_answer_reaches_an_email_whose_mailbox_was_removed_and_nobody_is_tried_again() {
    let world = world().await;
    let leaving = pending(&world).await;
    let attempt = tried(&world, leaving, None).await;
    let tenant = world.tenant().await;
    mailbox::delete(&tenant, world.ada_box, None, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    assert_eq!(state(&world, leaving).await, EmailState::Unknown);
    let one = [RecipientState::Accepted, RecipientState::Deferred];
    assert_eq!(answered(&world, attempt, &one).await, EmailState::Sent);
    let sending = state_of(&world.tenant().await, leaving).await.unwrap().unwrap();
    let states: Vec<_> = sending.recipients.iter().map(|recipient| recipient.state).collect();
    assert_eq!(states, [RecipientState::Accepted, RecipientState::Canceled]);
}

#[tokio::test]
async fn a_removed_user_or_queue_leaves_its_mailbox_unowned_and_its_records_with_its_name() {
    let world = world().await;
    let by = author();
    received(&world, world.support_box, vec![item("a", message(1, &["support@example.com"]), "one")]).await;
    let tenant = world.tenant().await;
    let deleting = MailboxUpdate { delete_after_processing: Some(true), ..MailboxUpdate::default() };
    mailbox::update(&tenant, world.support_box, None, &deleting, &by).await.unwrap();
    tenant.commit().await.unwrap();
    let claim = running(&world, world.support_box).await;
    assert_eq!(seen(&world, world.ada).await, 1, "as a member");

    let tenant = world.tenant().await;
    let told = queue::deletion(&tenant, world.support).await.unwrap();
    assert_eq!((told.goes[0].count, told.stays[0].count, told.stays[1].count), (1, 1, 1));
    queue::delete(&tenant, world.support, None, &by).await.unwrap();
    assert!(queue::get(&tenant, world.support).await.unwrap().is_none());
    let left = mailbox::get(&tenant, world.support_box).await.unwrap().unwrap();
    assert_eq!((left.owner, left.approval, left.delete_after_processing), (None, Approval::Pending, false));
    tenant.commit().await.unwrap();
    assert!(fenced(&world, claim).await);
    assert_eq!(seen(&world, world.ada).await, 0, "there is no queue to be a member of");
    assert_eq!(world.count("select count(*) from emails where owner_kind = 'queue'").await, 1);

    let tenant = world.tenant().await;
    let told = user::deletion(&tenant, world.bob).await.unwrap();
    assert!(told.refused.is_none() && told.stays[0].count == 1);
    user::delete(&tenant, world.bob, Some(told.version), &by).await.unwrap();
    let left = mailbox::get(&tenant, world.bob_box).await.unwrap().unwrap();
    assert!(left.owner.is_none() && left.workloads.iter().all(|state| !state.enabled));
    // Everything unique is free.
    crate::world::user(&tenant, "bob").await;
    crate::world::queue(&tenant, "support", vec![]).await;
    tenant.commit().await.unwrap();
    let buried = "select count(*) from tombstones where (record_type, name) in (('user', 'bob'), ('queue', 'support'))";
    assert_eq!(world.count(buried).await, 2);
}

#[tokio::test]
async fn the_last_administrator_and_a_profile_in_use_are_not_removed() {
    let world = world().await;
    let by = author();
    let tenant = world.tenant().await;
    let admin = UserUpdate { role: Some(model::mailbox::Role::Admin), ..UserUpdate::default() };
    user::update(&tenant, world.ada, None, &admin, &by).await.unwrap();
    assert!(user::deletion(&tenant, world.ada).await.unwrap().refused.is_some());
    let last = tenant.attempt(async |tenant| user::delete(tenant, world.ada, None, &by).await).await;
    assert!(refusal(last).to_string().contains("last administrator"));
    user::update(&tenant, world.bob, None, &admin, &by).await.unwrap();
    user::delete(&tenant, world.ada, None, &by).await.unwrap();

    let told = profile::deletion(&tenant, world.profile).await.unwrap();
    let in_use = Refusal::ProfileInUse { name: "Mail".into(), mailboxes: 3 };
    assert_eq!(told.refused.as_ref(), Some(&in_use));
    let refused =
        refusal(tenant.attempt(async |tenant| profile::delete(tenant, world.profile, None, &by).await).await);
    assert_eq!(refused, in_use);
    assert!(refused.to_string().contains("3 mailboxes still use"), "{refused}");
    for id in [world.ada_box, world.bob_box, world.support_box] {
        mailbox::delete(&tenant, id, None, &by).await.unwrap();
    }
    profile::delete(&tenant, world.profile, None, &by).await.unwrap();
    let again = profile::create(&tenant, &profile_fields("Mail"), &by).await;
    assert!(again.is_ok(), "the name is free");
    let mut fresh = new_mailbox("bob", None, again.unwrap().id);
    fresh.incoming = DeliveryMethod::None;
    assert!(mailbox::create(&tenant, &fresh, &by).await.is_ok(), "the address and the login are free");
}
