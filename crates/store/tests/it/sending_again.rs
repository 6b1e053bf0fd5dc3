//! Sent again: after a failure, to those who have not got it, and after a doubt. Nobody gets a second one in silence.

use std::time::Duration;

use model::email::{EmailState, RecipientState, SendAnswer};
use model::id::{EmailId, SessionId};
use store::Refusal;
use store::email::{Reader, get};
use store::outgoing::{
    Draft, Request, Resolution, age, backlog_by_profile, begin_attempt, cancel, earlier, recover,
    request_send, resolve_unknown, update,
};

use crate::outgoing::{answer, answered, begun, draft, recipients, refusal, requested, state, to, written};
use crate::world::{World, author, world};
use RecipientState::{Accepted, Canceled, Deferred, Refused, Waiting};

async fn again(world: &World, id: EmailId, to_all: bool) {
    let tenant = world.tenant().await;
    request_send(&tenant, id, None, Request { to_all, ..Request::default() }, &author()).await.unwrap();
    tenant.commit().await.unwrap();
}

async fn duplicate(world: &World, id: EmailId) -> (bool, i64) {
    let email = get(&world.tenant().await, id, Reader::Everything).await.unwrap().unwrap();
    (email.maybe_duplicate, world.count("select count(*) from alerts where kind = 'maybe_sent_twice'").await)
}

/// One of the three has got it, the others were refused.
async fn partly(world: &World) -> EmailId {
    let id = requested(world).await;
    let attempt = begun(world, id, 1).await.unwrap();
    answered(world, &answer(&attempt, SendAnswer::Accepted, &[Accepted, Refused, Refused])).await;
    assert_eq!(state(world, id).await, EmailState::Sent);
    id
}

#[tokio::test]
async fn a_mended_address_gets_it_under_a_new_message_id_and_who_has_it_gets_no_second_one() {
    let world = world().await;
    let id = partly(&world).await;
    let first = store::outgoing::state_of(&world.tenant().await, id).await.unwrap().unwrap();
    let tenant = world.tenant().await;
    let mended =
        Draft { to: vec![to("one@there.example"), to("right@there.example")], bcc: vec![], ..draft(&world) };
    update(&tenant, id, None, &mended, &author()).await.unwrap();
    let rewritten = Draft { text: Some("Something else.".into()), ..mended };
    assert_eq!(refusal(update(&tenant, id, None, &rewritten, &author()).await), Refusal::AlreadyGot);
    tenant.commit().await.unwrap();
    assert_eq!(state(&world, id).await, EmailState::Sent, "it stays what it is until somebody asks");

    again(&world, id, false).await;
    let attempt = begun(&world, id, 2).await.unwrap();
    let whom: Vec<_> = attempt.recipients.iter().map(|due| due.address.as_str()).collect();
    assert_eq!(whom, ["right@there.example"]);
    assert_ne!(attempt.message.message_id, first.message_id);
    let refused = answered(&world, &answer(&attempt, SendAnswer::NotAccepted, &[Refused])).await;
    assert_eq!(refused.state, EmailState::Sent, "somebody has got it");
    assert_eq!(duplicate(&world, id).await, (false, 0));
    let before = earlier(&world.tenant().await, id).await.unwrap();
    assert_eq!(before.len(), 1, "what became of the first request is still told");
    assert_eq!(
        before[0].recipients.iter().map(|to| to.state).collect::<Vec<_>>(),
        [Accepted, Refused, Refused]
    );
}

#[tokio::test]
async fn when_everybody_has_it_only_a_wish_for_all_sends_it_again_and_says_so() {
    let world = world().await;
    let id = requested(&world).await;
    let attempt = begun(&world, id, 1).await.unwrap();
    answered(&world, &answer(&attempt, SendAnswer::Accepted, &[Accepted; 3])).await;
    let tenant = world.tenant().await;
    let has_it = refusal(request_send(&tenant, id, None, Request::default(), &author()).await);
    assert_eq!(has_it, Refusal::EverybodyHasIt);
    let closed = refusal(update(&tenant, id, None, &draft(&world), &author()).await);
    assert!(matches!(closed, Refusal::WrongState { state: EmailState::Sent, .. }));
    drop(tenant);
    again(&world, id, true).await;
    assert_eq!(duplicate(&world, id).await, (true, 1));
    assert_eq!(begun(&world, id, 2).await.unwrap().recipients.len(), 3);
}

#[tokio::test]
async fn a_failed_email_that_is_edited_goes_to_everybody_again() {
    let world = world().await;
    let id = requested(&world).await;
    let attempt = begun(&world, id, 1).await.unwrap();
    answered(&world, &answer(&attempt, SendAnswer::NotAccepted, &[Refused; 3])).await;
    assert_eq!(state(&world, id).await, EmailState::Failed);
    let tenant = world.tenant().await;
    let better = Draft { text: Some("Better.".into()), ..draft(&world) };
    update(&tenant, id, None, &better, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    assert_eq!(state(&world, id).await, EmailState::Draft);
    again(&world, id, false).await;
    assert_eq!(recipients(&world, id).await, [Waiting; 3]);
    assert_eq!(duplicate(&world, id).await, (false, 0));
}

#[tokio::test]
async fn a_resend_that_is_taken_back_or_too_late_leaves_the_doubt_as_it_was() {
    let world = world().await;
    for by_age in [false, true] {
        let id = requested(&world).await;
        let attempt = begun(&world, id, 1).await.unwrap();
        answered(&world, &answer(&attempt, SendAnswer::Unknown, &[])).await;
        let tenant = world.tenant().await;
        resolve_unknown(&tenant, id, None, Resolution::Resend, None, &author()).await.unwrap();
        tenant.commit().await.unwrap();
        assert_eq!(state(&world, id).await, EmailState::PendingSend);
        let day = Duration::from_secs(24 * 3600);
        if by_age {
            store::testing::pass(&world.database, day).await.unwrap();
        }
        let tenant = world.tenant().await;
        if by_age {
            age(&tenant, world.ada_box, day, &author()).await.unwrap();
        } else {
            assert_eq!(cancel(&tenant, id, None, &author()).await.unwrap(), EmailState::Unknown);
        }
        tenant.commit().await.unwrap();
        assert_eq!(state(&world, id).await, EmailState::Unknown, "by age: {by_age}");
        let open = "select count(*) from alerts where kind = 'send_unknown' and resolved_at is null";
        assert_eq!(world.count(open).await, 1);
        let tenant = world.tenant().await;
        let sent = resolve_unknown(&tenant, id, None, Resolution::MarkSent, None, &author()).await.unwrap();
        tenant.commit().await.unwrap();
        assert_eq!(sent, EmailState::Sent);
        assert_eq!(world.count(open).await, 0);
    }
}

#[tokio::test]
async fn a_resend_taken_back_drops_those_who_only_waited_and_keeps_the_doubt_of_the_others() {
    let world = world().await;
    let id = requested(&world).await;
    let first = begun(&world, id, 1).await.unwrap();
    answered(&world, &answer(&first, SendAnswer::Accepted, &[Accepted, Deferred, Refused])).await;
    store::testing::pass(&world.database, Duration::from_secs(601)).await.unwrap();
    let second = begun(&world, id, 2).await.unwrap();
    answered(&world, &answer(&second, SendAnswer::Unknown, &[])).await;
    let tenant = world.tenant().await;
    resolve_unknown(&tenant, id, None, Resolution::Resend, None, &author()).await.unwrap();
    assert_eq!(cancel(&tenant, id, None, &author()).await.unwrap(), EmailState::Unknown);
    tenant.commit().await.unwrap();
    assert_eq!(recipients(&world, id).await, [Accepted, Deferred, Refused]);
    let late = answered(&world, &answer(&second, SendAnswer::Accepted, &[Accepted])).await;
    assert!(!late.decided, "a try has one answer");
}

#[tokio::test]
async fn a_mailbox_has_one_message_in_sending_whatever_claims_it() {
    let world = world().await;
    let (one, two) = (requested(&world).await, requested(&world).await);
    begun(&world, one, 1).await.unwrap();
    assert!(begun(&world, two, 1).await.is_none());
    assert!(begun(&world, two, 2).await.is_none(), "another claim does not look past it either");
    let owner = world.database.owner().await.unwrap();
    let forced = owner.execute("update emails set state = 'sending' where id = $1", &[&two.0]).await;
    assert!(forced.is_err(), "the schema holds it too");
    let tenant = world.tenant().await;
    assert_eq!(recover(&tenant, world.ada_box, 2, &author()).await.unwrap().len(), 1);
    tenant.commit().await.unwrap();
    assert!(begun(&world, two, 2).await.is_some());
}

#[tokio::test]
async fn a_late_answer_that_leaves_somebody_deferred_sets_the_next_try_due() {
    let world = world().await;
    let id = requested(&world).await;
    let attempt = begun(&world, id, 1).await.unwrap();
    let tenant = world.tenant().await;
    recover(&tenant, world.ada_box, 2, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    let owner = world.database.owner().await.unwrap();
    owner.execute("update schedules set due_at = null, wished_at = null", &[]).await.unwrap();
    answered(&world, &answer(&attempt, SendAnswer::Accepted, &[Accepted, Deferred, Accepted])).await;
    let due = "select count(*) from schedules where workload = 'outgoing'
                  and due_at between now() + interval '500 seconds' and now() + interval '600 seconds'";
    assert_eq!(world.count(due).await, 1);
}

#[tokio::test]
async fn what_waits_is_counted_per_profile_with_the_age_of_the_oldest() {
    let world = world().await;
    let lines = async || world.store.in_ring(async |ring| backlog_by_profile(ring).await).await.unwrap();
    let none = lines().await;
    assert_eq!((none.len(), none[0].emails, none[0].oldest), (1, 0, Duration::ZERO));
    requested(&world).await;
    store::testing::pass(&world.database, Duration::from_secs(120)).await.unwrap();
    let later = written(&world, &draft(&world)).await;
    let tenant = world.tenant().await;
    let tomorrow = model::clock::now().checked_add(jiff::SignedDuration::from_hours(24)).unwrap();
    let request = Request { not_before: Some(tomorrow), ..Request::default() };
    request_send(&tenant, later, None, request, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    let line = lines().await[0];
    assert_eq!((line.profile, line.emails), (world.profile, 2));
    assert!((120..200).contains(&line.oldest.as_secs()), "what is for later is not late: {line:?}");
    let backlog = store::outgoing::backlog(&world.tenant().await, world.ada_box).await.unwrap();
    assert_eq!(backlog.emails, 2);
    assert!(backlog.oldest.unwrap() < model::clock::now());
}

#[tokio::test]
async fn canceled_before_anybody_was_tried_it_is_a_draft_and_can_be_asked_for_again() {
    let world = world().await;
    let id = requested(&world).await;
    let tenant = world.tenant().await;
    assert_eq!(cancel(&tenant, id, None, &author()).await.unwrap(), EmailState::Draft);
    tenant.commit().await.unwrap();
    assert_eq!(recipients(&world, id).await, [Canceled; 3]);
    again(&world, id, false).await;
    let tenant = world.tenant().await;
    let session: SessionId = model::clock::new_id();
    assert!(begin_attempt(&tenant, world.ada_box, 1, session, id, &author()).await.unwrap().is_some());
}
