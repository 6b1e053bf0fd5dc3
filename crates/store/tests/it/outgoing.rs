//! Sending: every way an email can go from draft to its end, and none of them twice in silence.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use model::email::{EmailState, PartyRole, RecipientState, SendAnswer};
use model::id::{EmailId, SessionId, UserId};
use model::message::{NamedAddress, OutgoingAttachment};
use model::workload::Workload;
use store::email::{Reader, get};
use store::outgoing::{
    Answer, Answered, Attempt, Backlog, Draft, RecipientAnswer, Request, Resolution, begin_attempt, cancel,
    create, earliest_next_try, expire, next_pending, record_answer, recover, request_send, resolve_unknown,
    state_of, update, waiting_since,
};
use store::{Error, Refusal, Result};

use crate::world::{World, author, world};

pub(crate) fn to(address: &str) -> NamedAddress {
    NamedAddress { name: Some("Somebody".into()), address: address.parse().unwrap() }
}

pub(crate) fn draft(world: &World) -> Draft {
    Draft {
        from: Some(world.ada_box),
        to: vec![to("one@there.example"), to("two@there.example")],
        bcc: vec![to("hidden@there.example"), to("ONE@there.example")],
        subject: "Engines".into(),
        text: Some("They weave.".into()),
        ..Draft::default()
    }
}

fn attachment() -> OutgoingAttachment {
    OutgoingAttachment {
        name: "plan.txt".into(),
        content_type: "text/plain".into(),
        bytes: "the plan".into(),
        inline_id: None,
    }
}

/// A draft, committed.
pub(crate) async fn written(world: &World, draft: &Draft) -> EmailId {
    let tenant = world.tenant().await;
    let id = create(&tenant, draft, &[attachment()], None, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    id
}

pub(crate) async fn requested(world: &World) -> EmailId {
    let id = written(world, &draft(world)).await;
    let tenant = world.tenant().await;
    request_send(&tenant, id, None, Request::default(), &author()).await.unwrap();
    tenant.commit().await.unwrap();
    id
}

pub(crate) async fn begun(world: &World, id: EmailId, claim: i64) -> Option<Attempt> {
    let tenant = world.tenant().await;
    let session: SessionId = model::clock::new_id();
    let attempt = begin_attempt(&tenant, world.ada_box, claim, session, id, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    attempt
}

fn said(position: i32, state: RecipientState) -> RecipientAnswer {
    RecipientAnswer {
        position,
        state,
        reply_code: Some(250),
        enhanced_code: None,
        said: Some("so be it".into()),
        retry_after: Duration::from_secs(600),
    }
}

pub(crate) fn answer(attempt: &Attempt, answer: SendAnswer, states: &[RecipientState]) -> Answer {
    let recipients =
        attempt.recipients.iter().zip(states).map(|(due, state)| said(due.position, *state)).collect();
    Answer { attempt: attempt.id, answer, said: None, recipients, retry_after: Duration::from_secs(300) }
}

pub(crate) async fn answered(world: &World, answer: &Answer) -> Answered {
    let tenant = world.tenant().await;
    let answered = record_answer(&tenant, answer, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    answered
}

pub(crate) async fn state(world: &World, id: EmailId) -> EmailState {
    get(&world.tenant().await, id, Reader::Everything).await.unwrap().unwrap().state
}

pub(crate) async fn recipients(world: &World, id: EmailId) -> Vec<RecipientState> {
    let state = state_of(&world.tenant().await, id).await.unwrap().unwrap();
    state.recipients.iter().map(|recipient| recipient.state).collect()
}

pub(crate) async fn pending(world: &World) -> usize {
    next_pending(&world.tenant().await, world.ada_box, 10).await.unwrap().len()
}

pub(crate) fn refusal<T>(result: Result<T>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        Err(other) => panic!("failed instead of being refused: {other}"),
        Ok(_) => panic!("was not refused"),
    }
}

use RecipientState::{Accepted, Canceled, Deferred, Refused, Waiting};

#[tokio::test]
async fn a_draft_is_sent_once_to_each_recipient() {
    let world = world().await;
    let id = requested(&world).await;
    assert_eq!(state(&world, id).await, EmailState::PendingSend);
    assert_eq!(recipients(&world, id).await, [Waiting; 3], "an address in two lists is one recipient");
    assert_eq!(pending(&world).await, 1);
    let tenant = world.tenant().await;
    assert_eq!(earliest_next_try(&tenant, world.ada_box).await.unwrap(), Some(Duration::ZERO));
    let backlog = store::outgoing::backlog(&tenant, world.ada_box).await.unwrap();
    assert!(backlog.emails == 1 && backlog.oldest.is_some());
    let wished = "select count(*) from schedules where workload = 'outgoing' and wished_at is not null";
    assert_eq!(world.count(wished).await, 1);
    drop(tenant);

    let attempt = begun(&world, id, 1).await.unwrap();
    assert_eq!(state(&world, id).await, EmailState::Sending);
    assert!(begun(&world, id, 1).await.is_none(), "a try is under way");
    let message = &attempt.message;
    assert_eq!(message.from.address.as_str(), "ada@example.com");
    assert_eq!(message.from.name.as_deref(), Some("ada"));
    assert_eq!((message.to.len(), message.bcc.len(), message.attachments.len()), (2, 2, 1));
    assert_eq!(message.attachments[0].bytes, "the plan");
    assert_eq!(message.text.as_deref(), Some("They weave."));
    let (random, domain) = message.message_id.split_once('@').unwrap();
    assert_eq!((random.len(), domain), (22, "example.com"));
    assert_eq!(
        attempt.recipients.iter().map(|due| due.role).collect::<Vec<_>>(),
        [PartyRole::To, PartyRole::To, PartyRole::Bcc,]
    );

    let done = answer(&attempt, SendAnswer::Accepted, &[Accepted; 3]);
    let first = answered(&world, &done).await;
    assert_eq!(first, Answered { email: id, state: EmailState::Sent, decided: true, doubled: false });
    let again = answered(&world, &answer(&attempt, SendAnswer::NotAccepted, &[Refused; 3])).await;
    assert_eq!(again, Answered { email: id, state: EmailState::Sent, decided: false, doubled: false });
    assert_eq!(recipients(&world, id).await, [Accepted; 3]);
    assert_eq!(pending(&world).await, 0);
    let tenant = world.tenant().await;
    assert_eq!(earliest_next_try(&tenant, world.ada_box).await.unwrap(), None);
    assert_eq!(store::outgoing::backlog(&tenant, world.ada_box).await.unwrap(), Backlog::default());
    let email = get(&tenant, id, Reader::Everything).await.unwrap().unwrap();
    assert!(email.sent_at.is_some() && email.message_id.as_deref() == Some(&message.message_id));
}

#[tokio::test]
async fn who_is_deferred_is_tried_again_and_nobody_else_is() {
    let world = world().await;
    let id = requested(&world).await;
    let attempt = begun(&world, id, 1).await.unwrap();
    let partly =
        answered(&world, &answer(&attempt, SendAnswer::Accepted, &[Accepted, Deferred, Refused])).await;
    assert_eq!(partly.state, EmailState::PendingSend);
    assert_eq!(pending(&world).await, 0, "not before its next try");
    assert!(begun(&world, id, 2).await.is_none());
    let wait = earliest_next_try(&world.tenant().await, world.ada_box).await.unwrap().unwrap();
    assert!(wait > Duration::from_secs(500) && wait <= Duration::from_secs(600), "{wait:?}");

    store::testing::pass(&world.database, Duration::from_secs(601)).await.unwrap();
    let second = begun(&world, id, 2).await.unwrap();
    assert_eq!(second.recipients.len(), 1);
    assert_eq!(
        (second.recipients[0].address.as_str(), second.recipients[0].attempts),
        ("two@there.example", 1)
    );
    assert_eq!(second.message.to.len(), 2, "the headers still name everybody");
    assert_eq!(second.message.message_id, attempt.message.message_id);
    let done = answered(&world, &answer(&second, SendAnswer::Accepted, &[Accepted])).await;
    assert_eq!(done, Answered { email: id, state: EmailState::Sent, decided: true, doubled: false });
    assert_eq!(recipients(&world, id).await, [Accepted, Accepted, Refused]);
}

#[tokio::test]
async fn refused_by_all_is_failed_and_an_edited_one_goes_out_under_a_new_message_id() {
    let world = world().await;
    let id = requested(&world).await;
    let first = begun(&world, id, 1).await.unwrap();
    let refused = answered(&world, &answer(&first, SendAnswer::NotAccepted, &[Refused; 3])).await;
    assert_eq!(refused.state, EmailState::Failed);

    let tenant = world.tenant().await;
    let better = Draft { to: vec![to("right@there.example")], bcc: vec![], ..draft(&world) };
    update(&tenant, id, None, &better, &author()).await.unwrap();
    request_send(&tenant, id, None, Request::default(), &author()).await.unwrap();
    tenant.commit().await.unwrap();
    let second = begun(&world, id, 2).await.unwrap();
    assert_ne!(second.message.message_id, first.message.message_id);
    assert_eq!(second.recipients.len(), 1);
    assert_eq!(second.message.attachments.len(), 1, "its files stay");
}

#[tokio::test]
async fn a_message_that_never_left_is_tried_again_later() {
    let world = world().await;
    let id = requested(&world).await;
    let attempt = begun(&world, id, 1).await.unwrap();
    let not_sent = answered(&world, &answer(&attempt, SendAnswer::NotSent, &[])).await;
    assert_eq!(not_sent.state, EmailState::PendingSend);
    assert_eq!((pending(&world).await, recipients(&world, id).await), (0, vec![Waiting; 3]));
    store::testing::pass(&world.database, Duration::from_secs(301)).await.unwrap();
    assert_eq!(begun(&world, id, 2).await.unwrap().recipients[0].attempts, 1);
}

#[tokio::test]
async fn what_a_dead_worker_left_in_sending_is_unknown_and_a_late_answer_decides_it() {
    let world = world().await;
    let id = requested(&world).await;
    let attempt = begun(&world, id, 1).await.unwrap();
    let tenant = world.tenant().await;
    assert_eq!(recover(&tenant, world.ada_box, 1, &author()).await.unwrap(), [], "its own try is under way");
    let found = recover(&tenant, world.ada_box, 2, &author()).await.unwrap();
    assert_eq!((found.len(), found[0].email, found[0].attempt), (1, id, attempt.id));
    assert_eq!(recover(&tenant, world.ada_box, 2, &author()).await.unwrap(), []);
    tenant.commit().await.unwrap();
    assert_eq!(state(&world, id).await, EmailState::Unknown);
    assert_eq!(pending(&world).await, 0, "nothing happens until somebody decides");
    assert!(begun(&world, id, 2).await.is_none());

    let late = answered(&world, &answer(&attempt, SendAnswer::Accepted, &[Accepted; 3])).await;
    assert_eq!(late, Answered { email: id, state: EmailState::Sent, decided: true, doubled: false });
}

#[tokio::test]
async fn a_late_refusal_turns_unknown_into_failed() {
    let world = world().await;
    let id = requested(&world).await;
    let attempt = begun(&world, id, 1).await.unwrap();
    let lost = answered(&world, &answer(&attempt, SendAnswer::Unknown, &[])).await;
    assert_eq!((lost.state, lost.decided), (EmailState::Unknown, true));
    assert_eq!(state(&world, id).await, EmailState::Unknown);

    let other = requested(&world).await;
    let attempt = begun(&world, other, 1).await.unwrap();
    let tenant = world.tenant().await;
    recover(&tenant, world.ada_box, 2, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    let late = answered(&world, &answer(&attempt, SendAnswer::NotAccepted, &[Refused; 3])).await;
    assert_eq!((late.state, late.decided), (EmailState::Failed, true));
}

#[tokio::test]
async fn a_resend_is_marked_and_a_late_answer_no_longer_decides() {
    let world = world().await;
    let id = requested(&world).await;
    let first = begun(&world, id, 1).await.unwrap();
    let tenant = world.tenant().await;
    recover(&tenant, world.ada_box, 2, &author()).await.unwrap();
    let resent = resolve_unknown(&tenant, id, None, Resolution::Resend, None, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    assert_eq!(resent, EmailState::PendingSend);
    assert_eq!(world.count("select count(*) from alerts where kind = 'maybe_sent_twice'").await, 1);
    let late = answered(&world, &answer(&first, SendAnswer::Accepted, &[Accepted; 3])).await;
    assert_eq!(late, Answered { email: id, state: EmailState::PendingSend, decided: false, doubled: false });
    assert_eq!(recipients(&world, id).await, [Waiting; 3]);

    let second = begun(&world, id, 2).await.unwrap();
    assert_eq!(second.recipients.len(), 3);
    let done = answered(&world, &answer(&second, SendAnswer::Accepted, &[Accepted; 3])).await;
    assert_eq!(done, Answered { email: id, state: EmailState::Sent, decided: true, doubled: true });
    assert!(get(&world.tenant().await, id, Reader::Everything).await.unwrap().unwrap().maybe_duplicate);
}

#[tokio::test]
async fn marked_as_sent_is_sent_for_those_of_the_try_in_doubt() {
    let world = world().await;
    let id = requested(&world).await;
    let attempt = begun(&world, id, 1).await.unwrap();
    answered(&world, &answer(&attempt, SendAnswer::Unknown, &[])).await;
    let tenant = world.tenant().await;
    let sent = resolve_unknown(&tenant, id, None, Resolution::MarkSent, None, &author()).await.unwrap();
    assert_eq!(sent, EmailState::Sent);
    let twice = refusal(resolve_unknown(&tenant, id, None, Resolution::Resend, None, &author()).await);
    assert!(matches!(twice, Refusal::WrongState { state: EmailState::Sent, .. }), "{twice}");
    tenant.commit().await.unwrap();
    assert_eq!(recipients(&world, id).await, [Accepted; 3]);
}

#[tokio::test]
async fn cancel_drops_only_those_who_still_wait() {
    let world = world().await;
    let untouched = requested(&world).await;
    let tenant = world.tenant().await;
    assert_eq!(cancel(&tenant, untouched, None, &author()).await.unwrap(), EmailState::Draft);
    let again = refusal(cancel(&tenant, untouched, None, &author()).await);
    assert!(matches!(again, Refusal::WrongState { state: EmailState::Draft, .. }));
    tenant.commit().await.unwrap();
    assert_eq!(pending(&world).await, 0);

    let id = requested(&world).await;
    let attempt = begun(&world, id, 1).await.unwrap();
    let sending = refusal(cancel(&world.tenant().await, id, None, &author()).await);
    assert!(matches!(sending, Refusal::WrongState { state: EmailState::Sending, .. }));
    answered(&world, &answer(&attempt, SendAnswer::Accepted, &[Accepted, Deferred, Deferred])).await;
    let tenant = world.tenant().await;
    assert_eq!(cancel(&tenant, id, None, &author()).await.unwrap(), EmailState::Sent);
    tenant.commit().await.unwrap();
    assert_eq!(recipients(&world, id).await, [Accepted, Canceled, Canceled]);
}

#[tokio::test]
async fn a_request_is_refused_with_the_field_and_a_remedy() {
    let world = world().await;
    let tenant = world.tenant().await;
    let by = author();
    let lonely = Draft { to: vec![], bcc: vec![], ..draft(&world) };
    let nobody = Draft { from: None, ..draft(&world) };
    let bobs = Draft { from: Some(world.bob_box), ..draft(&world) };
    let supports = Draft { from: Some(world.support_box), ..draft(&world) };
    let ask = async |draft: &Draft, person: Option<UserId>| {
        tenant
            .attempt(async |tenant| {
                let id = create(tenant, draft, &[], None, &by).await?;
                request_send(tenant, id, None, Request { person, ..Request::default() }, &by).await
            })
            .await
    };
    assert_eq!(refusal(ask(&lonely, Some(world.ada)).await), Refusal::NoRecipients);
    assert_eq!(refusal(ask(&nobody, Some(world.ada)).await), Refusal::NoSender);
    let not_hers = refusal(ask(&bobs, Some(world.ada)).await);
    assert!(matches!(not_hers, Refusal::NotYourSender { .. }));
    assert!(not_hers.to_string().contains("ask bob, or an administrator, for the grant"), "{not_hers}");
    assert!(ask(&supports, Some(world.ada)).await.is_ok(), "a member sends for the queue");

    store::mailbox::disable(&tenant, world.ada_box, Workload::Outgoing, None, &by).await.unwrap();
    let disabled = refusal(ask(&draft(&world), Some(world.ada)).await);
    assert_eq!(disabled.field(), Some("from"));
    assert!(disabled.to_string().contains("test and enable it first"), "{disabled}");
    let unknown = Draft { from: Some(model::clock::new_id()), ..draft(&world) };
    assert_eq!(refusal(ask(&unknown, None).await), Refusal::Unknown { what: "mailbox", field: "from" });
}

#[tokio::test]
async fn a_send_for_later_waits_for_its_time_and_one_that_is_too_late_is_never_sent() {
    let world = world().await;
    let id = written(&world, &draft(&world)).await;
    let tenant = world.tenant().await;
    let later = model::clock::now().checked_add(SignedDuration::from_hours(2)).unwrap();
    request_send(&tenant, id, None, Request { not_before: Some(later), ..Request::default() }, &author())
        .await
        .unwrap();
    tenant.commit().await.unwrap();
    assert_eq!(pending(&world).await, 0);
    assert!(begun(&world, id, 1).await.is_none());
    let due: Timestamp = world
        .database
        .owner()
        .await
        .unwrap()
        .query_one(
            "select due_at from schedules where workload = 'outgoing' and mailbox_id = $1",
            &[&world.ada_box.0],
        )
        .await
        .unwrap()
        .get(0);
    assert!(due <= later);

    // Its age counts from the later of request and not-before.
    let day = Duration::from_secs(24 * 3600);
    store::testing::pass(&world.database, Duration::from_secs(3 * 3600)).await.unwrap();
    assert_eq!(pending(&world).await, 1);
    assert_eq!(
        waiting_since(&world.tenant().await, world.ada_box, Duration::from_secs(900)).await.unwrap(),
        [id]
    );
    let tenant = world.tenant().await;
    assert_eq!(expire(&tenant, world.ada_box, day, &author()).await.unwrap(), []);
    tenant.commit().await.unwrap();
    store::testing::pass(&world.database, Duration::from_secs(23 * 3600 + 60)).await.unwrap();
    let tenant = world.tenant().await;
    assert_eq!(expire(&tenant, world.ada_box, day, &author()).await.unwrap(), [id]);
    tenant.commit().await.unwrap();
    assert_eq!(state(&world, id).await, EmailState::Failed);
    assert_eq!(pending(&world).await, 0);
}

#[tokio::test]
async fn a_draft_is_edited_by_one_person_at_a_time_and_not_while_it_is_under_way() {
    let world = world().await;
    let id = written(&world, &draft(&world)).await;
    let by = author();
    let tenant = world.tenant().await;
    assert_eq!(update(&tenant, id, Some(1), &draft(&world), &by).await.unwrap(), 2);
    let stale = refusal(update(&tenant, id, Some(1), &draft(&world), &by).await);
    assert_eq!(stale, Refusal::Changed { what: "email", expected: 1, present: 2 });
    let file = store::outgoing::add_attachment(&tenant, id, Some(2), &attachment(), &by).await.unwrap();
    store::outgoing::remove_attachment(&tenant, id, Some(3), file, &by).await.unwrap();
    let two_lines = Draft { subject: "a\r\nBcc: x@y.example".into(), ..draft(&world) };
    assert_eq!(refusal(update(&tenant, id, None, &two_lines, &by).await).field(), Some("subject"));
    request_send(&tenant, id, Some(4), Request::default(), &by).await.unwrap();
    let pending = refusal(update(&tenant, id, None, &draft(&world), &by).await);
    assert!(pending.to_string().contains("cancel its sending first"), "{pending}");
    let twice = refusal(request_send(&tenant, id, None, Request::default(), &by).await);
    assert!(matches!(twice, Refusal::WrongState { state: EmailState::PendingSend, .. }));
    cancel(&tenant, id, None, &by).await.unwrap();
    store::outgoing::delete(&tenant, id, None, &by).await.unwrap();
    assert!(get(&tenant, id, Reader::Everything).await.unwrap().is_none());
    let history = store::change::of(&tenant, "email", id.0, 0, 100).await.unwrap();
    let versions: Vec<_> = history.iter().map(|change| change.version).collect();
    assert_eq!(versions, [1, 2, 3, 4, 5, 6, 7], "one row for each change");
}
