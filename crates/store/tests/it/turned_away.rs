//! A connection that breaks after the final dot leaves in doubt whom the server had taken, and nobody else: whom it had
//! turned away before stays what it said.

use std::time::Duration;

use model::email::{EmailState, RecipientState, SendAnswer};
use model::id::EmailId;
use model::report::ReportedAction;
use store::outgoing::{Attempt, Resolution, cancel, earliest_next_try, next_pending, resolve_unknown};
use store::testing;

use crate::reports::{ONE, TWO, begun, comes, ended, says, sending, state, states, tried};
use crate::world::{World, author, world};
use RecipientState::{Accepted, Canceled, Deferred, Refused, Waiting};

const THREE: &str = "three@there.example";

/// An email to three that broke after its final dot: the server had refused the first and deferred the second.
async fn broken(world: &World) -> EmailId {
    let attempt = begun(world, &[ONE, TWO, THREE]).await;
    ended(world, &attempt, SendAnswer::Unknown, &[Refused, Deferred]).await;
    assert_eq!(state(world, attempt.email).await, EmailState::Unknown);
    assert_eq!(states(world, attempt.email).await, [Refused, Deferred, Waiting]);
    assert!(next_pending(&world.tenant().await, world.ada_box, 10).await.unwrap().is_empty());
    attempt.email
}

async fn decided(world: &World, id: EmailId, resolution: Resolution) -> EmailState {
    let tenant = world.tenant().await;
    let state = resolve_unknown(&tenant, id, None, resolution, None, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    state
}

fn addresses(attempt: &Attempt) -> Vec<&str> {
    attempt.recipients.iter().map(|recipient| recipient.address.as_str()).collect()
}

#[tokio::test]
async fn marked_as_sent_is_sent_for_nobody_whom_the_server_had_turned_away() {
    let world = world().await;
    let id = broken(&world).await;
    let recipient = sending(&world, id).await.recipients.remove(0);
    assert_eq!(recipient.server_said.as_deref(), Some("queued"), "the server's words stay with it");
    assert_eq!(decided(&world, id, Resolution::MarkSent).await, EmailState::PendingSend);
    assert_eq!(states(&world, id).await, [Refused, Deferred, Accepted]);
    testing::pass(&world.database, Duration::from_secs(601)).await.unwrap();
    let again = tried(&world, id).await;
    assert_eq!(addresses(&again), [TWO], "who was deferred is tried again, and nobody else");
    ended(&world, &again, SendAnswer::Accepted, &[Accepted]).await;
    assert_eq!(states(&world, id).await, [Refused, Accepted, Accepted]);
    assert_eq!(state(&world, id).await, EmailState::Sent);
}

#[tokio::test]
async fn it_is_sent_again_to_those_in_doubt_and_those_deferred_and_not_to_whom_was_refused() {
    let world = world().await;
    let id = broken(&world).await;
    assert_eq!(decided(&world, id, Resolution::Resend).await, EmailState::PendingSend);
    let again = tried(&world, id).await;
    assert_eq!(addresses(&again), [TWO, THREE]);
}

#[tokio::test]
async fn a_report_proves_that_it_left_for_those_in_doubt_alone() {
    let world = world().await;
    let id = broken(&world).await;
    let message_id = sending(&world, id).await.message_id;
    for (number, address) in [(1, ONE), (2, TWO)] {
        let report = says(&message_id, &[(address, ReportedAction::Delivered)]);
        comes(&world, &format!("item {number}"), number, report).await;
        assert_eq!(state(&world, id).await, EmailState::Unknown, "{address} was turned away");
        assert_eq!(states(&world, id).await, [Refused, Deferred, Waiting]);
    }
    comes(&world, "item 3", 3, says(&message_id, &[(THREE, ReportedAction::Delivered)])).await;
    assert_eq!(states(&world, id).await, [Refused, Deferred, Accepted]);
    assert_eq!(state(&world, id).await, EmailState::PendingSend, "who was deferred is still tried");
    let next = earliest_next_try(&world.tenant().await, world.ada_box).await.unwrap();
    assert!(next.is_some_and(|next| next > Duration::from_secs(500)), "at its own time: {next:?}");
}

#[tokio::test]
async fn who_was_deferred_before_the_doubt_can_be_dropped_once_it_is_decided() {
    let world = world().await;
    let id = broken(&world).await;
    decided(&world, id, Resolution::MarkSent).await;
    let tenant = world.tenant().await;
    assert_eq!(cancel(&tenant, id, None, &author()).await.unwrap(), EmailState::Sent);
    tenant.commit().await.unwrap();
    assert_eq!(states(&world, id).await, [Refused, Canceled, Accepted]);
}

#[tokio::test]
async fn a_doubt_about_those_deferred_is_ended_by_a_report_although_another_was_decided_before() {
    let world = world().await;
    let id = broken(&world).await;
    decided(&world, id, Resolution::MarkSent).await;
    testing::pass(&world.database, Duration::from_secs(601)).await.unwrap();
    let again = tried(&world, id).await;
    ended(&world, &again, SendAnswer::Unknown, &[]).await;
    assert_eq!(state(&world, id).await, EmailState::Unknown);
    let message_id = sending(&world, id).await.message_id;
    comes(&world, "a", 1, says(&message_id, &[(TWO, ReportedAction::Relayed)])).await;
    assert_eq!(states(&world, id).await, [Refused, Accepted, Accepted]);
    assert_eq!(state(&world, id).await, EmailState::Sent);
}
