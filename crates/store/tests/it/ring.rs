//! The ring: claims, fences, wishes, bumps.

use std::time::Duration;

use model::cadence::{DueReason, Next, Outcome};
use model::workload::Workload;
use store::schedule::{self, Claim};
use store::testing::pass;
use store::{Error, session};

use crate::support::{done, in_ring, one, scan};

#[tokio::test]
async fn a_second_claim_of_the_same_cycle_gets_nothing() {
    let one = one().await;
    let claim = one.queued().await.unwrap();
    assert!(one.claim(claim).await.is_some());
    assert!(one.claim(claim).await.is_none());
}

#[tokio::test]
async fn what_is_queued_or_running_is_not_queued_again() {
    let one = one().await;
    let claim = one.queued().await.unwrap();
    assert_eq!(one.queued().await, None);
    one.claim(claim).await.unwrap();
    assert_eq!(one.queued().await, None);
}

#[tokio::test]
async fn a_claim_of_an_older_number_gets_nothing() {
    let one = one().await;
    let first = one.running().await;
    one.finish(first).await.unwrap();
    assert!(one.wish().await);
    let second = one.queued().await.unwrap();
    assert_eq!(second.number, first.number + 1);
    assert!(one.claim(first).await.is_none());
    assert!(one.claim(Claim { number: second.number + 1, ..second }).await.is_none());
    assert!(one.claim(second).await.is_some());
}

#[tokio::test]
async fn a_claimed_cycle_knows_its_row() {
    let one = one().await;
    let claimed = one.claim(one.queued().await.unwrap()).await.unwrap();
    assert_eq!(claimed.profile, one.profile);
    assert_eq!(claimed.due_reason, DueReason::Enabled);
    assert_eq!(claimed.deaths, 0);
    assert_eq!(claimed.history.quiet_cycles, 0);
    assert!(claimed.waited >= Duration::from_secs(3590), "due an hour ago: {:?}", claimed.waited);
}

#[tokio::test]
async fn a_finished_cycle_is_due_again_after_its_delay_by_postgres_clock() {
    let one = one().await;
    let claim = one.running().await;
    one.finish(claim).await.unwrap();
    assert_eq!(one.queued().await, None);
    pass(&one.database, Duration::from_secs(299)).await.unwrap();
    assert_eq!(one.queued().await, None);
    pass(&one.database, Duration::from_secs(2)).await.unwrap();
    assert!(one.queued().await.is_some());
}

#[tokio::test]
async fn finishing_twice_is_refused() {
    let one = one().await;
    let claim = one.running().await;
    one.finish(claim).await.unwrap();
    assert!(matches!(one.finish(claim).await, Err(Error::Fenced)));
}

#[tokio::test]
async fn a_wish_during_a_running_cycle_is_not_lost() {
    let one = one().await;
    let claim = one.running().await;
    assert!(one.wish().await);
    assert_eq!(one.queued().await, None);
    one.finish(claim).await.unwrap();
    let again = one.queued().await.expect("due at once");
    assert_eq!(again.number, claim.number + 1);
    // Claiming cleared it: after this cycle the ordinary gap holds.
    one.claim(again).await.unwrap();
    one.finish(again).await.unwrap();
    assert_eq!(one.queued().await, None);
}

#[tokio::test]
async fn a_wish_while_queued_is_answered_by_that_cycle() {
    let one = one().await;
    let claim = one.queued().await.unwrap();
    assert!(one.wish().await);
    one.claim(claim).await.unwrap();
    one.finish(claim).await.unwrap();
    assert_eq!(one.queued().await, None);
}

#[tokio::test]
async fn a_wish_passes_over_the_due_time_and_never_over_a_back_off() {
    let one = one().await;
    let claim = one.running().await;
    let (outcome, next) = done();
    let held = Next { not_before: Some(Duration::from_secs(60)), reason: DueReason::ServerAsked, ..next };
    one.store
        .in_tenant(one.organization, async |tenant| schedule::finish(tenant, claim, &outcome, &held).await)
        .await
        .unwrap();
    assert!(one.wish().await);
    assert_eq!(one.queued().await, None);
    pass(&one.database, Duration::from_secs(61)).await.unwrap();
    assert!(one.queued().await.is_some());
}

#[tokio::test]
async fn a_workload_that_is_not_enabled_takes_no_wish() {
    let one = one().await;
    one.database
        .owner()
        .await
        .unwrap()
        .execute("update mailbox_workloads set enabled = false", &[])
        .await
        .unwrap();
    one.bump().await;
    assert!(!one.wish().await);
    assert_eq!(one.queued().await, None);
}

#[tokio::test]
async fn a_bump_stops_a_running_cycle_at_its_next_commit() {
    let one = one().await;
    let claim = one.running().await;
    let tenant = one.tenant().await;
    schedule::fence(&tenant, claim).await.unwrap();
    tenant.commit().await.unwrap();
    one.bump().await;
    let tenant = one.tenant().await;
    assert!(matches!(schedule::fence(&tenant, claim).await, Err(Error::Fenced)));
    drop(tenant);
    assert!(matches!(one.finish(claim).await, Err(Error::Fenced)));
    assert_eq!(one.column("state").await.as_deref(), Some("idle"));
    assert_eq!(one.column("due_at").await, None);
    assert_eq!(one.queued().await, None);
}

#[tokio::test]
async fn a_bump_makes_the_message_on_its_way_worthless() {
    let one = one().await;
    let claim = one.queued().await.unwrap();
    one.bump().await;
    assert!(one.claim(claim).await.is_none());
}

#[tokio::test]
async fn a_bump_waits_for_a_transaction_that_holds_the_fence() {
    let one = one().await;
    let claim = one.running().await;
    let tenant = one.tenant().await;
    schedule::fence(&tenant, claim).await.unwrap();
    let bump = tokio::spawn({
        let (store, organization, mailbox) = (one.store.clone(), one.organization, one.mailbox);
        async move {
            store
                .in_tenant(organization, async |tenant| schedule::bump(tenant, mailbox, None).await)
                .await
                .unwrap();
        }
    });
    // The bump is seen waiting for the row before the batch commits.
    let owner = one.database.owner().await.unwrap();
    while owner
        .query_one("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'", &[])
        .await
        .unwrap()
        .get::<_, i64>(0)
        == 0
    {
        tokio::task::yield_now().await;
    }
    assert!(!bump.is_finished());
    tenant.commit().await.unwrap();
    bump.await.unwrap();
    assert!(matches!(one.finish(claim).await, Err(Error::Fenced)));
}

#[tokio::test]
async fn after_a_bump_a_workload_can_be_made_due_again() {
    let one = one().await;
    let claim = one.running().await;
    one.bump().await;
    one.store
        .in_tenant(one.organization, async |tenant| {
            schedule::make_due(tenant, one.mailbox, Workload::Incoming, DueReason::Enabled, Duration::ZERO)
                .await
        })
        .await
        .unwrap();
    assert!(one.queued().await.unwrap().number > claim.number);
}

#[tokio::test]
async fn a_snooze_keeps_the_count_of_deaths_and_a_success_forgets_it() {
    let one = one().await;
    let owner = one.database.owner().await.unwrap();
    owner.execute("update schedules set deaths = 2", &[]).await.unwrap();
    let claim = one.running().await;
    let (_, next) = done();
    let snooze = Outcome::Snooze { delay: Duration::from_secs(30), reason: DueReason::NoCapacity };
    one.store
        .in_tenant(one.organization, async |tenant| schedule::finish(tenant, claim, &snooze, &next).await)
        .await
        .unwrap();
    assert_eq!(one.column("deaths").await.as_deref(), Some("2"));
    assert!(one.wish().await);
    let claim = one.running().await;
    one.finish(claim).await.unwrap();
    assert_eq!(one.column("deaths").await.as_deref(), Some("0"));
}

#[tokio::test]
async fn what_could_not_be_published_is_due_again_unless_somebody_has_it() {
    let one = one().await;
    let queued = scan(&one.store, 10).await;
    let places: Vec<_> = queued.iter().map(|queued| queued.place).collect();
    assert_eq!(in_ring(&one.store, async |ring| schedule::unpublish(ring, &places).await).await, 1);
    assert_eq!(in_ring(&one.store, async |ring| schedule::unpublish(ring, &places).await).await, 0);
    assert!(one.claim(places[0].claim).await.is_none(), "the message arrived after all, too late");
    let again = one.queued().await.unwrap();
    one.claim(again).await.unwrap();
    assert_eq!(in_ring(&one.store, async |ring| schedule::unpublish(ring, &places).await).await, 0);
    assert_eq!(one.column("state").await.as_deref(), Some("running"));
}

#[tokio::test]
async fn what_was_queued_for_a_lost_queue_is_due_now() {
    let one = one().await;
    let claim = one.queued().await.unwrap();
    let lost =
        async |workload| in_ring(&one.store, async |ring| schedule::queue_lost(ring, workload).await).await;
    assert_eq!(lost(Workload::Outgoing).await, 0);
    assert_eq!(lost(Workload::Incoming).await, 1);
    assert!(one.claim(claim).await.is_none());
    assert!(one.queued().await.is_some());
}

#[tokio::test]
async fn a_poke_is_heard_when_the_wish_is_committed() {
    let one = one().await;
    let mut pokes = schedule::listen(&one.database.config);
    pokes.next().await; // Listening begins with one, because what came before was said to nobody.
    let tenant = one.tenant().await;
    schedule::wish(&tenant, one.mailbox, Workload::Incoming).await.unwrap();
    drop(tenant);
    assert!(tokio::time::timeout(Duration::from_millis(300), pokes.next()).await.is_err(), "rolled back");
    assert!(one.wish().await);
    tokio::time::timeout(Duration::from_secs(10), pokes.next()).await.expect("the poke is heard");
}

#[tokio::test]
async fn a_listener_that_lost_its_connection_pokes_and_listens_again() {
    let one = one().await;
    let mut pokes = schedule::listen(&one.database.config);
    pokes.next().await;
    let owner = one.database.owner().await.unwrap();
    let ended = owner
        .execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity
             where datname = current_database() and query like 'listen %'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(ended, 1);
    pokes.next().await; // It is lost.
    pokes.next().await; // It is there again.
    assert!(one.wish().await);
    tokio::time::timeout(Duration::from_secs(10), pokes.next()).await.expect("the poke is heard");
}

#[tokio::test]
async fn a_dead_session_claims_nothing() {
    let one = one().await;
    let claim = one.queued().await.unwrap();
    pass(&one.database, Duration::from_secs(16)).await.unwrap();
    assert!(one.claim(claim).await.is_none());
    assert_eq!(
        in_ring(&one.store, async |ring| session::beat(ring, one.session).await).await,
        session::Beat::Dead
    );
}
