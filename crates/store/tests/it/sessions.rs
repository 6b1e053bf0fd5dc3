//! Sessions and sweeps: telling the dead from the slow.

use std::time::Duration;

use model::workload::Workload;
use store::schedule::{self, Swept};
use store::session::{self, Beat};
use store::testing::pass;
use store::{Error, Store};

use crate::support::{One, SWEEP, in_ring, one, start};

async fn sweep(store: &Store) -> Swept {
    in_ring(store, async |ring| schedule::sweep(ring, &SWEEP).await).await
}

async fn beat(one: &One) -> Beat {
    in_ring(&one.store, async |ring| session::beat(ring, one.session).await).await
}

#[tokio::test]
async fn a_session_that_beats_stays_alive_however_long() {
    let one = one().await;
    let claim = one.running().await;
    for _ in 0..6 {
        pass(&one.database, Duration::from_secs(14)).await.unwrap();
        assert_eq!(beat(&one).await, Beat::Alive);
        assert_eq!(sweep(&one.store).await, Swept::default());
    }
    one.finish(claim).await.unwrap();
}

#[tokio::test]
async fn a_session_that_missed_its_beats_does_not_come_back() {
    let one = one().await;
    pass(&one.database, Duration::from_secs(16)).await.unwrap();
    assert_eq!(beat(&one).await, Beat::Dead);
    assert_eq!(beat(&one).await, Beat::Dead);
    assert_eq!(sweep(&one.store).await.sessions, 1);
    assert_eq!(beat(&one).await, Beat::Dead);
    let next = start(&one.store).await;
    assert_eq!(in_ring(&one.store, async |ring| session::beat(ring, next).await).await, Beat::Alive);
}

#[tokio::test]
async fn a_dead_sessions_rows_are_due_again_and_its_late_finish_is_refused() {
    let one = one().await;
    let claim = one.running().await;
    assert_eq!(sweep(&one.store).await, Swept::default());
    pass(&one.database, Duration::from_secs(16)).await.unwrap();
    let swept = sweep(&one.store).await;
    assert_eq!((swept.sessions, swept.cycles), (1, 1));
    assert!(matches!(one.finish(claim).await, Err(Error::Fenced)));
    assert_eq!(one.column("deaths").await.as_deref(), Some("1"));
    assert_eq!(one.column("due_reason").await.as_deref(), Some("worker_died"));
    let again = one.queued().await.expect("due at once");
    assert!(matches!(one.finish(claim).await, Err(Error::Fenced)));
    let other = start(&one.store).await;
    let claimed = one
        .store
        .in_tenant(one.organization, async |tenant| schedule::claim(tenant, again, other).await)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(claimed.deaths, 1);
    assert!(matches!(one.finish(claim).await, Err(Error::Fenced)), "a later claim runs under another number");
}

#[tokio::test]
async fn a_session_that_ended_in_good_order_frees_what_it_held_at_once() {
    let one = one().await;
    one.running().await;
    in_ring(&one.store, async |ring| session::end(ring, one.session).await).await;
    assert_eq!(beat(&one).await, Beat::Dead);
    assert_eq!(sweep(&one.store).await.cycles, 1);
}

#[tokio::test]
async fn a_cycle_past_twice_its_cap_is_taken_back_although_its_session_lives() {
    let one = one().await;
    let claim = one.running().await;
    for _ in 0..10 {
        pass(&one.database, Duration::from_secs(13)).await.unwrap();
        assert_eq!(beat(&one).await, Beat::Alive);
    }
    assert_eq!(sweep(&one.store).await.cycles, 1);
    assert!(matches!(one.finish(claim).await, Err(Error::Fenced)));
}

#[tokio::test]
async fn a_row_queued_for_longer_than_its_message_lives_is_due_again() {
    let one = one().await;
    let claim = one.queued().await.unwrap();
    pass(&one.database, Duration::from_secs(359)).await.unwrap();
    assert_eq!(sweep(&one.store).await.undelivered, 0);
    pass(&one.database, Duration::from_secs(2)).await.unwrap();
    assert_eq!(sweep(&one.store).await.undelivered, 1);
    assert_eq!(one.column("due_reason").await.as_deref(), Some("not_delivered"));
    assert!(one.claim(claim).await.is_none());
    assert!(one.queued().await.is_some());
}

#[tokio::test]
async fn a_sweep_passes_over_a_row_whose_cycle_is_committing() {
    let one = one().await;
    let claim = one.running().await;
    let tenant = one.tenant().await;
    schedule::fence(&tenant, claim).await.unwrap();
    in_ring(&one.store, async |ring| session::end(ring, one.session).await).await;
    assert_eq!(sweep(&one.store).await.cycles, 0);
    tenant.commit().await.unwrap();
    assert_eq!(sweep(&one.store).await.cycles, 1);
}

#[tokio::test]
async fn live_sessions_and_their_slots_are_counted() {
    let one = one().await;
    start(&one.store).await;
    let live = in_ring(&one.store, async |ring| session::live(ring).await).await;
    assert_eq!((live.sessions, live.slots), (2, session::Slots::from(8)));
    pass(&one.database, Duration::from_secs(16)).await.unwrap();
    let live = in_ring(&one.store, async |ring| session::live(ring).await).await;
    assert_eq!((live.sessions, live.slots), (0, session::Slots::default()));
}

#[tokio::test]
async fn a_pending_send_without_a_due_time_gets_the_earliest_next_try() {
    let one = one().await;
    let owner = one.database.owner().await.unwrap();
    owner
        .batch_execute(&format!(
            "insert into emails (organization_id, id, direction, state, mailbox_id, created_by, modified_by)
             values ('{0}', '{1}', 'outgoing', 'pending_send', '{1}', 'test', 'test');
             insert into send_requests (organization_id, id, email_id, message_id, requested_by)
             values ('{0}', '{1}', '{1}', 'one@mail.test', 'test');
             insert into send_recipients (organization_id, send_request_id, position, address, role, next_try_at)
             values ('{0}', '{1}', 0, 'a@mail.test', 'to', now() + interval '10 minutes'),
                    ('{0}', '{1}', 1, 'b@mail.test', 'to', now() + interval '20 minutes')",
            one.organization, one.mailbox
        ))
        .await
        .unwrap();
    let repair = async || in_ring(&one.store, async |ring| schedule::repair_outgoing(ring).await).await;
    assert_eq!(repair().await, 1);
    assert_eq!(repair().await, 0);
    let minutes: f64 = owner
        .query_one(
            "select (extract(epoch from due_at - now()) / 60)::float8 from schedules where workload = 'outgoing'",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert!((9.0..=10.0).contains(&minutes), "due in {minutes} minutes");
    one.bump().await;
    assert_eq!(repair().await, 0, "a workload that is switched off stays off");
    let _ = Workload::Outgoing;
}

#[tokio::test]
async fn slots_that_are_kept_for_sends_are_counted_for_sends_alone() {
    let one = one().await;
    let slots = session::Slots { sends: 10, others: 9 };
    in_ring(&one.store, async |ring| session::start(ring, "test", slots, Duration::from_secs(15)).await)
        .await;
    // A process that does not know the difference.
    let owner = one.database.owner().await.unwrap();
    owner.execute("update sessions set send_slots = null where send_slots = 4", &[]).await.unwrap();
    let live = in_ring(&one.store, async |ring| session::live(ring).await).await;
    assert_eq!(live.slots, session::Slots { sends: 14, others: 13 });
    assert_eq!((live.slots.of(Workload::Outgoing), live.slots.of(Workload::Incoming)), (14, 13));
}
