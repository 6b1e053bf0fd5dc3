//! The way of a job: the store's statements against the model's table, jobs that wait for others, asking again, and what
//! is forgotten.

use std::time::Duration;

use model::actor::Actor;
use model::id::JobId;
use model::job::{Event, JobKind, JobState, next};
use serde_json::json;
use store::change::Author;
use store::job::{self, Claim, Later, NewJob, Place};
use store::testing::pass;
use store::{Error, Refusal, session};

use crate::support::{One, SWEEP, in_ring, one, start};

fn author() -> Author {
    Author::new(Actor::Operator, "test")
}

async fn ask(one: &One, after: Option<JobId>) -> store::Result<JobId> {
    let job = NewJob { kind: JobKind::KeyRotation, payload: json!({}), max_attempts: 3, after };
    one.store
        .in_tenant(one.organization, async |tenant| {
            job::create(tenant, &job, &author(), Duration::ZERO).await
        })
        .await
}

async fn create(one: &One, after: Option<JobId>) -> JobId {
    ask(one, after).await.unwrap()
}

async fn look(one: &One, job: JobId) -> job::Job {
    job::get(&one.tenant().await, job).await.unwrap().unwrap()
}

async fn state(one: &One, job: JobId) -> JobState {
    look(one, job).await.state
}

/// The jobs that a scan queues.
async fn scan(one: &One) -> Vec<JobId> {
    let queued = in_ring(&one.store, async |ring| job::claim_due(ring, 100, 100).await).await;
    queued.iter().map(|queued| queued.place.claim.job).collect()
}

/// The claim that whoever has the job would write under.
async fn claim(one: &One, job: JobId) -> Claim {
    let owner = one.database.owner().await.unwrap();
    let row = owner.query_one("select claim from jobs where id = $1", &[&job.0]).await.unwrap();
    Claim { job, number: row.get(0) }
}

async fn set(one: &One, job: JobId, columns: &str) {
    let owner = one.database.owner().await.unwrap();
    owner.execute(&format!("update jobs set {columns} where id = $1"), &[&job.0]).await.unwrap();
}

/// Does what the event stands for, as the process does whose event it is; refused is fine.
async fn happen(one: &One, job: JobId, event: Event) {
    let (claim, tenant) = (claim(one, job).await, one.tenant().await);
    let place = Place { organization: one.organization, claim };
    let later = Later { delay: Duration::from_secs(30), counts: true, error: Some("why") };
    let died = async || {
        // Whoever runs something is dead by now.
        in_ring(&one.store, async |ring| session::end(ring, one.session).await).await;
        in_ring(&one.store, async |ring| store::schedule::sweep(ring, &SWEEP).await).await;
    };
    match event {
        Event::Queued => drop(scan(one).await),
        Event::NotDelivered => {
            in_ring(&one.store, async |ring| job::unpublish(ring, &[place]).await).await;
        }
        Event::Claimed => drop(job::claim(&tenant, claim, start(&one.store).await).await.unwrap()),
        Event::Succeeded => drop(job::finish(&tenant, claim, true, &json!({})).await),
        Event::Failed => drop(job::finish(&tenant, claim, false, &json!({})).await),
        Event::GivenBack => drop(job::retry_later(&tenant, claim, later).await),
        Event::Died => died().await,
        Event::DiedAtLast => {
            set(one, job, "attempts = max_attempts").await;
            died().await;
        }
        Event::NothingToWaitFor => {
            set(one, job, "held = true, after_id = gen_random_uuid()").await;
            assert!(!scan(one).await.contains(&job));
        }
        Event::Withdrawn => drop(job::cancel(&tenant, job, &author()).await.unwrap()),
        Event::AskedAgain => drop(job::retry(&tenant, job, &author()).await.unwrap()),
    }
    tenant.commit().await.unwrap();
}

/// The shortest way to a state.
fn way(state: JobState) -> &'static [Event] {
    match state {
        JobState::Waiting => &[],
        JobState::Queued => &[Event::Queued],
        JobState::Running => &[Event::Queued, Event::Claimed],
        JobState::Succeeded => &[Event::Queued, Event::Claimed, Event::Succeeded],
        JobState::Failed => &[Event::Queued, Event::Claimed, Event::Failed],
        JobState::Canceled => &[Event::Withdrawn],
    }
}

#[tokio::test]
async fn every_event_in_every_state_does_to_a_row_what_the_table_says() {
    let mut one = one().await;
    for from in JobState::ALL {
        for event in Event::ALL {
            one.database.owner().await.unwrap().batch_execute("delete from jobs").await.unwrap();
            one.session = start(&one.store).await;
            let job = create(&one, None).await;
            for step in way(*from) {
                // The claim is by a session that the event ends.
                if *step == Event::Claimed {
                    let (claim, tenant) = (claim(&one, job).await, one.tenant().await);
                    job::claim(&tenant, claim, one.session).await.unwrap().unwrap();
                    tenant.commit().await.unwrap();
                } else {
                    happen(&one, job, *step).await;
                }
            }
            assert_eq!(state(&one, job).await, *from, "on the way");
            happen(&one, job, event).await;
            let wanted = next(*from, event).unwrap_or(*from);
            let row = look(&one, job).await;
            assert_eq!(row.state, wanted, "{from} and {event:?}");
            assert_eq!(row.ended_at.is_some(), row.state.has_ended(), "{from} and {event:?}");
            assert!(!(row.due_at.is_some() && row.state.has_ended()), "{from} and {event:?}");
        }
    }
}

/// Runs a queued job to its end.
async fn run(one: &One, job: JobId, succeeded: bool) {
    let (claim, tenant) = (claim(one, job).await, one.tenant().await);
    let session = start(&one.store).await;
    job::claim(&tenant, claim, session).await.unwrap().expect("it was queued");
    job::finish(&tenant, claim, succeeded, &json!({})).await.unwrap();
    tenant.commit().await.unwrap();
}

#[tokio::test]
async fn a_job_that_waits_for_another_is_due_when_that_one_has_succeeded_and_not_before() {
    let one = one().await;
    let first = create(&one, None).await;
    let second = create(&one, Some(first)).await;
    let third = create(&one, Some(second)).await;
    assert_eq!(scan(&one).await, [first]);
    assert_eq!((look(&one, second).await.held, look(&one, second).await.after), (true, Some(first)));
    assert_eq!(scan(&one).await, [], "while it runs");
    run(&one, first, true).await;
    assert_eq!(scan(&one).await, [second]);
    assert!(!look(&one, second).await.held);
    run(&one, second, true).await;
    assert_eq!(scan(&one).await, [third]);
    let late = create(&one, Some(first)).await;
    assert_eq!(scan(&one).await, [late], "what has succeeded is not waited for");
}

#[tokio::test]
async fn a_job_fails_with_the_reason_when_the_one_it_waits_for_does_not_succeed_and_so_does_the_next() {
    let one = one().await;
    for (how, cause) in [("failed", "failed"), ("canceled", "was canceled"), ("gone", "is gone")] {
        let first = create(&one, None).await;
        let second = create(&one, Some(first)).await;
        let third = create(&one, Some(second)).await;
        assert_eq!(scan(&one).await, [first]);
        match how {
            "failed" => run(&one, first, false).await,
            "canceled" => happen(&one, first, Event::Withdrawn).await,
            _ => {
                let owner = one.database.owner().await.unwrap();
                owner.execute("delete from jobs where id = $1", &[&first.0]).await.unwrap();
            }
        }
        assert_eq!(scan(&one).await, [], "{how}");
        for (job, cause) in [(second, cause), (third, "failed")] {
            let job = look(&one, job).await;
            let result = job.result.unwrap();
            assert_eq!((job.state, job.attempts), (JobState::Failed, 0), "{how}");
            assert!(result["error"].as_str().unwrap().contains(cause), "{how}: {result}");
            assert!(result["remedy"].is_string());
        }
    }
}

#[tokio::test]
async fn nothing_waits_for_a_job_that_did_not_succeed_or_that_is_not_there() {
    let one = one().await;
    let failed = create(&one, None).await;
    scan(&one).await;
    run(&one, failed, false).await;
    for (after, what) in [(failed, "failed"), (model::clock::new_id(), "no job")] {
        match ask(&one, Some(after)).await {
            Err(Error::Refused(refusal)) => assert_eq!(refusal.field(), Some("after"), "{what}"),
            other => panic!("{what}: {other:?}"),
        }
    }
    let tenants = [one.organization, one.database.organization("another").await.unwrap()];
    let tenant = one.store.tenant(tenants[1]).await.unwrap();
    let job = NewJob { kind: JobKind::KeyRotation, payload: json!({}), max_attempts: 3, after: Some(failed) };
    let refused = job::create(&tenant, &job, &author(), Duration::ZERO).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::Unknown { what: "job", .. }))), "{refused:?}");
}

#[tokio::test]
async fn what_is_asked_for_again_begins_anew_and_waits_again_only_for_what_has_not_succeeded() {
    let one = one().await;
    let first = create(&one, None).await;
    let second = create(&one, Some(first)).await;
    scan(&one).await;
    run(&one, first, false).await;
    assert_eq!(scan(&one).await, []);
    // Not alone: what it waits for has failed still.
    happen(&one, second, Event::AskedAgain).await;
    assert_eq!(scan(&one).await, []);
    assert_eq!(state(&one, second).await, JobState::Failed);

    set(&one, first, "attempts = 3, cursor = '{}', progress = '[{\"name\": \"a\", \"outcome\": \"ok\"}]'")
        .await;
    happen(&one, first, Event::AskedAgain).await;
    happen(&one, second, Event::AskedAgain).await;
    let again = look(&one, first).await;
    assert_eq!((again.attempts, again.progress.len(), again.result, again.ended_at), (0, 0, None, None));
    assert_eq!(scan(&one).await, [first]);
    run(&one, first, true).await;
    assert_eq!(scan(&one).await, [second]);
    run(&one, second, false).await;
    happen(&one, second, Event::AskedAgain).await;
    assert_eq!(scan(&one).await, [second], "what it waited for has succeeded");
    let owner = one.database.owner().await.unwrap();
    let sql = "select count(*) from changes where record_type = 'job' and fields ? 'asked_again'";
    assert_eq!(owner.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 4);
}

#[tokio::test]
async fn an_operation_over_many_that_is_asked_for_again_counts_only_what_it_starts_then() {
    let one = one().await;
    let parent = create(&one, None).await;
    scan(&one).await;
    let claim = claim(&one, parent).await;
    let tenant = one.tenant().await;
    job::claim(&tenant, claim, one.session).await.unwrap().unwrap();
    let new = NewJob { kind: JobKind::KeyRotation, payload: json!({}), max_attempts: 1, after: None };
    job::create_all(&tenant, parent, &[new.clone(), new], &author()).await.unwrap();
    job::finish(&tenant, claim, false, &json!({})).await.unwrap();
    assert!(job::retry(&tenant, parent, &author()).await.unwrap());
    assert_eq!(job::children(&tenant, parent).await.unwrap(), job::Children::default());
    tenant.commit().await.unwrap();
    assert_eq!(scan(&one).await, [parent], "what the first time started was withdrawn");
}

#[tokio::test]
async fn the_last_failure_and_the_next_try_are_shown_while_there_is_one() {
    let one = one().await;
    let job = create(&one, None).await;
    scan(&one).await;
    let claim = claim(&one, job).await;
    let tenant = one.tenant().await;
    job::claim(&tenant, claim, one.session).await.unwrap().unwrap();
    let later = Later { delay: Duration::from_secs(60), counts: true, error: Some("it broke") };
    job::retry_later(&tenant, claim, later).await.unwrap();
    tenant.commit().await.unwrap();
    let shown = look(&one, job).await;
    assert_eq!((shown.attempts, shown.max_attempts, shown.last_error.as_deref()), (1, 3, Some("it broke")));
    assert!(shown.due_at.unwrap() > shown.created_at);
    pass(&one.database, Duration::from_secs(61)).await.unwrap();
    scan(&one).await;
    run(&one, job, true).await;
    assert_eq!(look(&one, job).await.last_error, None);
}

#[tokio::test]
async fn whoever_was_withdrawn_does_nothing_more_to_anything() {
    let one = one().await;
    let job = create(&one, None).await;
    scan(&one).await;
    let claim = claim(&one, job).await;
    let tenant = one.tenant().await;
    job::claim(&tenant, claim, one.session).await.unwrap().unwrap();
    job::fence(&tenant, claim).await.unwrap();
    job::cancel(&tenant, job, &author()).await.unwrap();
    assert!(matches!(job::fence(&tenant, claim).await, Err(Error::Fenced)));
}

#[tokio::test]
async fn what_ended_long_ago_is_forgotten_unless_somebody_needs_it() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let one = one().await;
    let jobs = [create(&one, None).await, create(&one, None).await, create(&one, None).await];
    let [plain, awaited, parent] = jobs;
    let waiting = create(&one, Some(awaited)).await;
    scan(&one).await;
    let tenant = one.tenant().await;
    let new = NewJob { kind: JobKind::KeyRotation, payload: json!({}), max_attempts: 1, after: None };
    job::create_all(&tenant, parent, &[new], &author()).await.unwrap();
    tenant.commit().await.unwrap();
    let child = scan(&one).await[0];
    for job in [plain, awaited, child] {
        run(&one, job, true).await;
    }
    let forget = async |age: Duration, limit: u32| {
        one.store
            .in_tenant(one.organization, async |tenant| job::forget(tenant, age, limit).await)
            .await
            .unwrap()
    };
    pass(&one.database, 10 * DAY).await.unwrap();
    assert_eq!(forget(11 * DAY, 10).await, 0, "what is younger stays");
    // No scan has let go of the waiting one yet.
    assert_eq!(forget(9 * DAY, 10).await, 1);
    assert!(job::get(&one.tenant().await, plain).await.unwrap().is_none());
    assert_eq!(scan(&one).await, [waiting], "what it waited for was there");
    run(&one, parent, true).await;
    assert_eq!((forget(9 * DAY, 1).await, forget(9 * DAY, 1).await, forget(9 * DAY, 1).await), (1, 1, 0));
    assert_eq!(state(&one, parent).await, JobState::Succeeded);
}
