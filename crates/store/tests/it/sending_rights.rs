//! In whose name one may send: the own, a queue's, and that of whoever granted it; nobody else's.

use model::email::{EmailState, PartyRole, RecipientState, SendAnswer};
use model::id::{EmailId, MailboxId, UserId};
use store::email::{Reader, get};
use store::grant;
use store::outgoing::{Draft, Request, begin_attempt, request_send, state_of};
use store::user::UserUpdate;
use store::{Refusal, Result};

use crate::outgoing::{answer, answered, begun, draft, pending, recipients, refusal, state};
use crate::world::{World, author, user, world};

async fn asked(world: &World, from: MailboxId, person: UserId) -> Result<EmailId> {
    let tenant = world.tenant().await;
    let draft = Draft { from: Some(from), ..draft(world) };
    let id = store::outgoing::create(&tenant, &draft, &[], None, &author()).await?;
    request_send(&tenant, id, None, Request { person: Some(person), ..Request::default() }, &author())
        .await?;
    tenant.commit().await?;
    Ok(id)
}

async fn granted(world: &World, granter: UserId, sender: UserId) {
    let tenant = world.tenant().await;
    grant::give(&tenant, granter, sender, &author()).await.unwrap();
    tenant.commit().await.unwrap();
}

async fn taken_back(world: &World, granter: UserId, sender: UserId) {
    let tenant = world.tenant().await;
    grant::take_back(&tenant, granter, sender, &author()).await.unwrap();
    tenant.commit().await.unwrap();
}

#[tokio::test]
async fn only_the_owner_a_member_of_the_queue_and_who_was_granted_it_may_send() {
    let world = world().await;
    let tenant = world.tenant().await;
    let carl = user(&tenant, "carl").await;
    let admin = user(&tenant, "root").await;
    let role = UserUpdate { role: Some(model::mailbox::Role::Admin), ..UserUpdate::default() };
    store::user::update(&tenant, admin, None, &role, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    granted(&world, world.bob, carl).await;
    let table = [
        (world.ada_box, world.ada, true),
        (world.support_box, world.ada, true),
        (world.bob_box, world.ada, false),
        (world.bob_box, world.bob, true),
        (world.ada_box, world.bob, false),
        (world.support_box, world.bob, false),
        (world.bob_box, carl, true),
        (world.ada_box, carl, false),
        (world.ada_box, admin, false),
        (world.support_box, admin, false),
        (world.bob_box, admin, false),
    ];
    for (place, (from, person, may)) in table.into_iter().enumerate() {
        let tenant = world.tenant().await;
        assert_eq!(store::outgoing::may_send_from(&tenant, person, from).await.unwrap(), may, "line {place}");
        drop(tenant);
        match asked(&world, from, person).await {
            Ok(_) => assert!(may, "line {place}"),
            refused => {
                let refused = refusal(refused);
                assert!(!may && matches!(refused, Refusal::NotYourSender { .. }), "line {place}: {refused}");
            }
        }
    }
}

#[tokio::test]
async fn sent_on_a_grant_it_is_from_the_granter_and_says_who_sent_it() {
    let world = world().await;
    granted(&world, world.ada, world.bob).await;
    let id = asked(&world, world.ada_box, world.bob).await.unwrap();
    let attempt = begun(&world, id, 1).await.unwrap();
    assert_eq!(attempt.message.from.address.as_str(), "ada@example.com");
    assert_eq!(attempt.message.sender.as_ref().unwrap().address.as_str(), "bob@example.com");
    let tenant = world.tenant().await;
    let parties = get(&tenant, id, Reader::Everything).await.unwrap().unwrap().parties;
    assert_eq!(parties.iter().filter(|party| party.role == PartyRole::Sender).count(), 1);
    assert_eq!(state_of(&tenant, id).await.unwrap().unwrap().rests_on, Some(world.bob));

    // In the own name, and for a queue, there is no other person to name.
    answered(&world, &answer(&attempt, SendAnswer::Accepted, &[RecipientState::Accepted; 3])).await;
    let own = asked(&world, world.ada_box, world.ada).await.unwrap();
    assert_eq!(begun(&world, own, 1).await.unwrap().message.sender, None);
    let queue = asked(&world, world.support_box, world.ada).await.unwrap();
    let tenant = world.tenant().await;
    let session = model::clock::new_id();
    let attempt =
        begin_attempt(&tenant, world.support_box, 1, session, queue, &author()).await.unwrap().unwrap();
    assert_eq!(attempt.message.sender, None);
}

#[tokio::test]
async fn a_grant_that_is_taken_back_stops_what_waits_on_it_and_nothing_else() {
    let world = world().await;
    granted(&world, world.ada, world.bob).await;
    let bobs = asked(&world, world.ada_box, world.bob).await.unwrap();
    let adas = asked(&world, world.ada_box, world.ada).await.unwrap();
    let own = asked(&world, world.bob_box, world.bob).await.unwrap();
    taken_back(&world, world.ada, world.bob).await;
    taken_back(&world, world.ada, world.bob).await;
    assert_eq!(state(&world, bobs).await, EmailState::Draft);
    assert_eq!(recipients(&world, bobs).await, [RecipientState::Canceled; 3]);
    assert_eq!(
        (state(&world, adas).await, state(&world, own).await),
        (EmailState::PendingSend, EmailState::PendingSend)
    );
    assert_eq!(world.count("select count(*) from alerts where kind = 'send_withdrawn'").await, 1);
    let tenant = world.tenant().await;
    let history = store::change::of(&tenant, "user", world.ada.0, 0, 100).await.unwrap();
    let of_grants = history.iter().filter(|change| change.fields.get("send_grant").is_some()).count();
    assert_eq!(of_grants, 2, "given and taken back, each once");
    drop(tenant);
    let again = refusal(asked(&world, world.ada_box, world.bob).await);
    assert!(again.to_string().contains("ask ada, or an administrator, for the grant"), "{again}");
}

#[tokio::test]
async fn what_is_deferred_on_a_right_that_ended_is_not_tried_again() {
    let world = world().await;
    granted(&world, world.ada, world.bob).await;
    let id = asked(&world, world.ada_box, world.bob).await.unwrap();
    let attempt = begun(&world, id, 1).await.unwrap();
    // The try under way cannot be called back; its answer counts.
    taken_back(&world, world.ada, world.bob).await;
    let states = [RecipientState::Accepted, RecipientState::Deferred, RecipientState::Deferred];
    answered(&world, &answer(&attempt, SendAnswer::Accepted, &states)).await;
    store::testing::pass(&world.database, std::time::Duration::from_secs(601)).await.unwrap();
    assert_eq!(pending(&world).await, 1);
    assert!(begun(&world, id, 2).await.is_none());
    assert_eq!(state(&world, id).await, EmailState::Sent);
    let left = [RecipientState::Accepted, RecipientState::Canceled, RecipientState::Canceled];
    assert_eq!(recipients(&world, id).await, left);
    assert_eq!(world.count("select count(*) from alerts where kind = 'send_withdrawn'").await, 1);
}

#[tokio::test]
async fn somebody_who_left_sends_nothing_any_more() {
    let world = world().await;
    let id = asked(&world, world.support_box, world.ada).await.unwrap();
    let tenant = world.tenant().await;
    let gone = UserUpdate { active: Some(false), ..UserUpdate::default() };
    store::user::update(&tenant, world.ada, None, &gone, &author()).await.unwrap();
    let session = model::clock::new_id();
    let begun = begin_attempt(&tenant, world.support_box, 1, session, id, &author()).await.unwrap();
    assert!(begun.is_none());
    let grant = refusal(grant::give(&tenant, world.bob, world.ada, &author()).await);
    assert_eq!(grant.field(), Some("user"));
    tenant.commit().await.unwrap();
    assert_eq!(state(&world, id).await, EmailState::Draft);
}
