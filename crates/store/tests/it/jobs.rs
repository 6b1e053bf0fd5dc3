//! Async operations on the ring.

use std::time::Duration;

use model::actor::Actor;
use model::id::JobId;
use model::job::{JobKind, JobState, Step, StepOutcome};
use serde_json::json;
use store::change::Author;
use store::job::{self, Claim, Later, NewJob, Page, QueuedJob};
use store::testing::pass;
use store::{Error, session};

use crate::support::{One, SWEEP, in_ring, one, start};

async fn create(one: &One, max_attempts: u32) -> JobId {
    let job = NewJob {
        kind: JobKind::TestAndEnable,
        payload: json!({"mailbox": one.mailbox}),
        max_attempts,
        after: None,
    };
    one.store
        .in_tenant(one.organization, async |tenant| {
            job::create(tenant, &job, &Author::new(Actor::Operator, "test"), Duration::ZERO).await
        })
        .await
        .unwrap()
}

async fn scan(one: &One) -> Vec<QueuedJob> {
    in_ring(&one.store, async |ring| job::claim_due(ring, 100, 10).await).await
}

async fn running(one: &One) -> Claim {
    let claim = scan(one).await[0].place.claim;
    one.store
        .in_tenant(one.organization, async |tenant| job::claim(tenant, claim, one.session).await)
        .await
        .unwrap()
        .expect("the claim is ours")
        .claim
}

async fn look(one: &One, job: JobId) -> job::Job {
    job::get(&one.tenant().await, job).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_no_other_try_and_nobody_elses() {
    let one = one().await;
    let id = create(&one, 3).await;
    let claim = scan(&one).await[0].place.claim;
    let tenant = one.tenant().await;
    // Never granted: then it is now.
    assert_eq!(job::claim_unheard(&tenant, claim, one.session).await.unwrap().unwrap().attempt, 1);
    // Granted, and nobody heard it.
    assert_eq!(job::claim_unheard(&tenant, claim, one.session).await.unwrap().unwrap().attempt, 1);
    let other = start(&one.store).await;
    assert!(job::claim_unheard(&tenant, claim, other).await.unwrap().is_none());
    job::finish(&tenant, claim, true, &json!({})).await.unwrap();
    assert!(job::claim_unheard(&tenant, claim, one.session).await.unwrap().is_none());
    assert_eq!(job::get(&tenant, id).await.unwrap().unwrap().state, JobState::Succeeded);
}

#[tokio::test]
async fn a_job_is_claimed_once_followed_and_ended() {
    let one = one().await;
    let id = create(&one, 3).await;
    assert_eq!(look(&one, id).await.state, JobState::Waiting);
    let claim = running(&one).await;
    assert_eq!(scan(&one).await, vec![]);
    let tenant = one.tenant().await;
    assert!(job::claim(&tenant, claim, one.session).await.unwrap().is_none(), "a second claim gets nothing");
    let steps = vec![Step { name: "Sign in".to_owned(), outcome: StepOutcome::Ok, detail: String::new() }];
    job::progress(&tenant, claim, &steps).await.unwrap();
    job::finish(&tenant, claim, true, &json!({"enabled": 1})).await.unwrap();
    assert!(matches!(job::finish(&tenant, claim, true, &json!({})).await, Err(Error::Fenced)));
    tenant.commit().await.unwrap();
    let job = look(&one, id).await;
    assert_eq!((job.state, job.attempts, job.progress), (JobState::Succeeded, 1, steps));
    assert_eq!(job.result, Some(json!({"enabled": 1})));
    assert!(job.ended_at.is_some());
}

#[tokio::test]
async fn a_canceled_job_stops_at_its_next_step() {
    let one = one().await;
    let id = create(&one, 3).await;
    let claim = running(&one).await;
    let tenant = one.tenant().await;
    assert!(job::cancel(&tenant, id, &crate::world::author()).await.unwrap());
    assert!(!job::cancel(&tenant, id, &crate::world::author()).await.unwrap());
    assert!(matches!(job::progress(&tenant, claim, &[]).await, Err(Error::Fenced)));
    tenant.commit().await.unwrap();
    assert_eq!(look(&one, id).await.state, JobState::Canceled);
    assert_eq!(scan(&one).await, vec![]);
}

#[tokio::test]
async fn a_job_given_back_is_due_later_and_a_snooze_is_no_try() {
    let one = one().await;
    let id = create(&one, 3).await;
    let claim = running(&one).await;
    let tenant = one.tenant().await;
    let later = Later { delay: Duration::from_secs(30), counts: false, error: None };
    job::retry_later(&tenant, claim, later).await.unwrap();
    tenant.commit().await.unwrap();
    assert_eq!(look(&one, id).await.attempts, 0);
    assert_eq!(scan(&one).await, vec![]);
    pass(&one.database, Duration::from_secs(31)).await.unwrap();
    let again = scan(&one).await;
    assert_eq!(again[0].place.claim, Claim { job: id, number: claim.number + 1 });
}

#[tokio::test]
async fn a_job_whose_worker_dies_is_tried_again_and_fails_at_its_last_try() {
    let one = one().await;
    let id = create(&one, 1).await;
    let claim = running(&one).await;
    in_ring(&one.store, async |ring| session::end(ring, one.session).await).await;
    let sweep =
        async || in_ring(&one.store, async |ring| store::schedule::sweep(ring, &SWEEP).await).await.jobs;
    assert_eq!(sweep().await, 1);
    assert_eq!(sweep().await, 0);
    let job = look(&one, id).await;
    assert_eq!(job.state, JobState::Failed);
    assert!(job.result.unwrap()["remedy"].is_string());
    let tenant = one.tenant().await;
    assert!(matches!(job::finish(&tenant, claim, true, &json!({})).await, Err(Error::Fenced)));
}

#[tokio::test]
async fn jobs_lost_on_their_way_are_due_again() {
    let one = one().await;
    create(&one, 3).await;
    let place = scan(&one).await[0].place;
    assert_eq!(in_ring(&one.store, async |ring| job::unpublish(ring, &[place]).await).await, 1);
    assert_eq!(in_ring(&one.store, async |ring| job::unpublish(ring, &[place]).await).await, 0);
    assert_eq!(scan(&one).await.len(), 1);
    assert_eq!(in_ring(&one.store, async |ring| job::queue_lost(ring).await).await, 1);
    assert_eq!(scan(&one).await.len(), 1);
    pass(&one.database, Duration::from_secs(361)).await.unwrap();
    assert_eq!(in_ring(&one.store, async |ring| store::schedule::sweep(ring, &SWEEP).await).await.jobs, 1);
}

#[tokio::test]
async fn no_more_jobs_are_in_flight_than_the_window() {
    let one = one().await;
    for _ in 0..15 {
        create(&one, 3).await;
    }
    assert_eq!(scan(&one).await.len(), 10);
    assert_eq!(scan(&one).await.len(), 0);
}

#[tokio::test]
async fn jobs_are_listed_page_by_page_the_newest_first() {
    let one = one().await;
    let mut made = Vec::new();
    for _ in 0..5 {
        made.push(create(&one, 3).await);
    }
    made.reverse();
    let (mut listed, mut before) = (Vec::new(), None);
    loop {
        let page = Page { before, limit: 2, ..Page::default() };
        let jobs = job::list(&one.tenant().await, &page).await.unwrap();
        before = jobs.last().map(|job| job.id);
        listed.extend(jobs.iter().map(|job| job.id));
        if jobs.len() < 2 {
            break;
        }
    }
    assert_eq!(listed, made);
}

/// Three jobs on behalf of another, as one of its batches starts them.
async fn three(one: &One, parent: Claim, cursor: &serde_json::Value) -> store::Result<()> {
    let new = NewJob {
        kind: JobKind::TestAndEnable,
        payload: json!({"mailbox": one.mailbox}),
        max_attempts: 1,
        after: None,
    };
    let jobs = vec![new; 3];
    let step = Step { name: "start".to_owned(), outcome: StepOutcome::Running, detail: "3".to_owned() };
    one.store
        .in_tenant(one.organization, async |tenant| {
            job::go_on(tenant, parent, cursor, std::slice::from_ref(&step)).await?;
            job::create_all(tenant, parent.job, &jobs, &crate::world::author()).await
        })
        .await
}

#[tokio::test]
async fn an_operation_over_many_goes_on_where_its_last_batch_was_committed() {
    let one = one().await;
    let id = create(&one, 3).await;
    let claim = running(&one).await;
    three(&one, claim, &json!({"after": 3})).await.unwrap();
    // Its worker dies, and whoever was late writes nothing.
    in_ring(&one.store, async |ring| session::end(ring, one.session).await).await;
    in_ring(&one.store, async |ring| store::schedule::sweep(ring, &SWEEP).await).await;
    assert!(matches!(three(&one, claim, &json!({"after": 6})).await, Err(Error::Fenced)));
    let session = crate::support::start(&one.store).await;
    let queued = scan(&one).await;
    let mut again = None;
    for queued in queued.iter().filter(|queued| queued.place.claim.job == id) {
        let claim = queued.place.claim;
        again = one
            .store
            .in_tenant(one.organization, async |tenant| job::claim(tenant, claim, session).await)
            .await
            .unwrap();
    }
    let again = again.expect("due again");
    assert_eq!(again.cursor, Some(json!({"after": 3})));
    assert_eq!(look(&one, id).await.progress[0].detail, "3", "what was shown stays");
    let tenant = one.tenant().await;
    let children = job::children(&tenant, id).await.unwrap();
    assert_eq!(children, job::Children { under_way: 3, succeeded: 0, failed: 0 });
    assert_eq!(queued.len(), 4, "those that it started are jobs like others");
}

#[tokio::test]
async fn withdrawing_an_operation_over_many_withdraws_what_it_started() {
    let one = one().await;
    let id = create(&one, 3).await;
    let claim = running(&one).await;
    three(&one, claim, &json!({"after": 3})).await.unwrap();
    let child = scan(&one).await[0].place.claim;
    let tenant = one.tenant().await;
    job::claim(&tenant, child, one.session).await.unwrap().unwrap();
    job::finish(&tenant, child, false, &json!({"error": "no"})).await.unwrap();
    assert_eq!(job::unhappy(&tenant, id, 10).await.unwrap()[0].id, child.job);
    job::cancel(&tenant, id, &crate::world::author()).await.unwrap();
    tenant.commit().await.unwrap();
    assert!(matches!(three(&one, claim, &json!({"after": 6})).await, Err(Error::Fenced)));
    let tenant = one.tenant().await;
    let children = job::children(&tenant, id).await.unwrap();
    assert_eq!(children, job::Children { under_way: 0, succeeded: 0, failed: 3 });
    assert_eq!(look(&one, child.job).await.state, JobState::Failed, "what has ended stays as it ended");
    assert_eq!(scan(&one).await, vec![]);
}
