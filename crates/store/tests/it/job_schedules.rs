//! Schedules: one job per due time whoever looks, one for all the times that passed, pausing, and what is refused.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use model::id::{JobId, JobScheduleId, OrganizationId};
use model::job::{JobKind, JobState};
use serde_json::{Value, json};
use store::job_schedule::{self, Fired, JobSchedule, NewSchedule, When};
use store::testing::{TestDatabase, pass};
use store::{Error, job};

use crate::support::{database, in_ring, mailboxes, profile};
use crate::world::author;

const MINUTE: Duration = Duration::from_secs(60);

struct Clock {
    database: TestDatabase,
    organization: OrganizationId,
}

async fn clock() -> Clock {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    Clock { database, organization }
}

fn cron(pattern: &str) -> When {
    When::Cron { pattern: pattern.to_owned(), zone: "Europe/Berlin".to_owned() }
}

impl Clock {
    async fn create(
        &self,
        name: &str,
        kind: JobKind,
        payload: Value,
        when: When,
    ) -> store::Result<JobScheduleId> {
        let new = NewSchedule { name: name.to_owned(), kind, payload, when };
        self.database
            .store
            .in_tenant(self.organization, async |tenant| job_schedule::create(tenant, &new, &author()).await)
            .await
    }

    async fn every_minute(&self) -> JobScheduleId {
        self.create("often", JobKind::KeyRotation, json!({}), cron("* * * * *")).await.unwrap()
    }

    async fn shown(&self, id: JobScheduleId) -> JobSchedule {
        let tenant = self.database.store.tenant(self.organization).await.unwrap();
        job_schedule::get(&tenant, id).await.unwrap().unwrap()
    }

    /// What one scheduler does at one look; what it asked for.
    async fn look(&self) -> Vec<Fired> {
        let due = in_ring(&self.database.store, async |ring| job_schedule::due(ring, 100).await).await;
        let mut fired = Vec::new();
        for due in due {
            let one = self
                .database
                .store
                .in_tenant(due.organization, async |tenant| job_schedule::fire(tenant, due.schedule).await)
                .await
                .unwrap();
            fired.extend(one);
        }
        fired
    }

    async fn pause(&self, id: JobScheduleId, paused: bool) {
        self.database
            .store
            .in_tenant(self.organization, async |tenant| {
                job_schedule::set_paused(tenant, id, paused, None, &author()).await
            })
            .await
            .unwrap();
    }

    async fn jobs(&self) -> Vec<job::Job> {
        let tenant = self.database.store.tenant(self.organization).await.unwrap();
        job::list(&tenant, &job::Page { limit: 100, ..job::Page::default() }).await.unwrap()
    }

    /// Ends all jobs, as if they had run.
    async fn run_all(&self) {
        let owner = self.database.owner().await.unwrap();
        owner
            .batch_execute("update jobs set state = 'succeeded', due_at = null, ended_at = now()")
            .await
            .unwrap();
    }

    async fn now(&self) -> Timestamp {
        self.database.owner().await.unwrap().query_one("select now()", &[]).await.unwrap().get(0)
    }

    async fn changes(&self, field: &str) -> i64 {
        let owner = self.database.owner().await.unwrap();
        let sql = "select count(*) from changes where record_type = 'schedule' and fields ? $1";
        owner.query_one(sql, &[&field]).await.unwrap().get(0)
    }
}

#[tokio::test]
async fn each_due_time_asks_for_one_job_however_many_schedulers_look_at_once() {
    let clock = clock().await;
    let id = clock.every_minute().await;
    assert_eq!(clock.look().await, [], "its first time has not come");
    for round in 1..=5 {
        pass(&clock.database, MINUTE).await.unwrap();
        let looks = join_all((0..8).map(|_| clock.look())).await;
        let fired: Vec<Fired> = looks.into_iter().flatten().collect();
        let [Fired::Asked(job)] = fired[..] else { panic!("round {round}: {fired:?}") };
        let shown = clock.shown(id).await;
        assert_eq!(shown.last_job, Some(job));
        assert!(shown.next_at.unwrap() > clock.now().await);
        let jobs = clock.jobs().await;
        assert_eq!((jobs.len(), jobs[0].schedule), (round, Some(id)));
        assert_eq!(jobs[0].created_by, format!("schedule:{id}"));
        clock.run_all().await;
    }
}

#[tokio::test]
async fn the_times_that_passed_while_everything_was_down_are_one_job() {
    let clock = clock().await;
    let id = clock.every_minute().await;
    pass(&clock.database, 600 * MINUTE).await.unwrap();
    assert_eq!(clock.look().await.len(), 1);
    clock.run_all().await;
    assert_eq!(clock.look().await, []);
    let next = clock.shown(id).await.next_at.unwrap();
    let wait = next.duration_since(clock.now().await);
    assert!(wait.is_positive() && wait.as_secs() <= 60, "the next time is the pattern's own: {wait:?}");
}

#[tokio::test]
async fn a_time_that_comes_while_the_last_job_has_not_ended_asks_for_no_other() {
    let clock = clock().await;
    clock.every_minute().await;
    pass(&clock.database, MINUTE).await.unwrap();
    let [Fired::Asked(first)] = clock.look().await[..] else { panic!("it was due") };
    pass(&clock.database, MINUTE).await.unwrap();
    assert_eq!(clock.look().await, [Fired::StillThere(first)]);
    clock.run_all().await;
    assert_eq!(clock.look().await, [], "it is not made up for");
    pass(&clock.database, MINUTE).await.unwrap();
    assert!(matches!(clock.look().await[..], [Fired::Asked(_)]));
    assert_eq!(clock.jobs().await.len(), 2);
}

#[tokio::test]
async fn what_is_for_once_comes_once_and_late_rather_than_never() {
    let clock = clock().await;
    let hour = clock.now().await + Duration::from_secs(3600);
    let ahead = clock.create("ahead", JobKind::CleanUp, json!({}), When::Once(hour)).await.unwrap();
    assert_eq!(clock.look().await, []);
    pass(&clock.database, 120 * MINUTE).await.unwrap();
    assert_eq!(clock.look().await.len(), 1);
    clock.run_all().await;
    let shown = clock.shown(ahead).await;
    assert_eq!((shown.next_at, shown.last_job.is_some()), (None, true));
    clock.pause(ahead, true).await;
    clock.pause(ahead, false).await;
    assert_eq!(clock.look().await, [], "once is once");
    let past = When::Once("2020-01-01T00:00:00Z".parse().unwrap());
    clock.create("past", JobKind::CleanUp, json!({}), past).await.unwrap();
    assert_eq!(clock.look().await.len(), 1);
    clock.run_all().await;
    // Forgotten with the jobs.
    pass(&clock.database, 1440 * MINUTE).await.unwrap();
    let age = 720 * MINUTE;
    let forget = async |tenant: &store::Tenant| job::forget(tenant, age, 10).await;
    assert_eq!(clock.database.store.in_tenant(clock.organization, forget).await.unwrap(), 2);
    let tenant = clock.database.store.tenant(clock.organization).await.unwrap();
    assert!(job_schedule::list(&tenant, None, None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_paused_schedule_asks_for_nothing_and_goes_on_with_its_next_time() {
    let clock = clock().await;
    let id = clock.every_minute().await;
    clock.pause(id, true).await;
    clock.pause(id, true).await;
    assert_eq!(clock.shown(id).await.next_at, None);
    pass(&clock.database, 10 * MINUTE).await.unwrap();
    assert_eq!(clock.look().await, []);
    clock.pause(id, false).await;
    assert_eq!(clock.look().await, [], "what passed is not made up for");
    assert!(clock.shown(id).await.next_at.unwrap() > clock.now().await);
    pass(&clock.database, MINUTE).await.unwrap();
    assert_eq!(clock.look().await.len(), 1);
    assert_eq!(clock.changes("paused").await, 2, "each change once");
}

#[tokio::test]
async fn a_schedule_that_is_removed_leaves_its_jobs_and_its_history() {
    let clock = clock().await;
    let id = clock.every_minute().await;
    pass(&clock.database, MINUTE).await.unwrap();
    clock.look().await;
    let store = &clock.database.store;
    let delete = async |version| {
        let delete =
            async |tenant: &store::Tenant| job_schedule::delete(tenant, id, version, &author()).await;
        store.in_tenant(clock.organization, delete).await
    };
    assert!(matches!(delete(Some(7)).await, Err(Error::Refused(_))), "another version");
    delete(Some(1)).await.unwrap();
    assert!(matches!(delete(None).await, Err(Error::Refused(_))), "gone");
    pass(&clock.database, MINUTE).await.unwrap();
    assert_eq!(clock.look().await, []);
    assert_eq!((clock.jobs().await.len(), clock.changes("deleted").await), (1, 1));
}

#[tokio::test]
async fn an_organization_neither_sees_nor_fires_another_ones_schedules() {
    let clock = clock().await;
    let id = clock.every_minute().await;
    let other = clock.database.organization("other").await.unwrap();
    pass(&clock.database, MINUTE).await.unwrap();
    let tenant = clock.database.store.tenant(other).await.unwrap();
    assert!(job_schedule::get(&tenant, id).await.unwrap().is_none());
    assert!(job_schedule::list(&tenant, None, None, 10).await.unwrap().is_empty());
    assert_eq!(job_schedule::fire(&tenant, id).await.unwrap(), None);
    assert!(job_schedule::set_paused(&tenant, id, true, None, &author()).await.is_err());
    drop(tenant);
    assert_eq!(clock.look().await.len(), 1);
}

#[tokio::test]
async fn an_organization_begins_with_a_schedule_that_cleans_up_at_night() {
    let database = database().await;
    let organization: OrganizationId = model::clock::new_id();
    let tenant = database.store.tenant(organization).await.unwrap();
    store::organization::create(&tenant, "Engines").await.unwrap();
    let schedules = job_schedule::list(&tenant, None, None, 10).await.unwrap();
    let [schedule] = &schedules[..] else { panic!("{schedules:?}") };
    assert_eq!((schedule.kind, schedule.name.as_str()), (JobKind::CleanUp, "clean-up"));
    let next = schedule.next_at.unwrap().to_zoned(jiff::tz::TimeZone::UTC);
    assert_eq!(next.hour(), 3);
}

#[tokio::test]
async fn what_could_never_run_is_refused_when_the_schedule_is_made() {
    let clock = clock().await;
    let none: JobId = model::clock::new_id();
    let refused = async |name: &str, kind, payload, when| match clock.create(name, kind, payload, when).await
    {
        Err(Error::Refused(refusal)) => refusal.field(),
        other => panic!("{name}: {other:?}"),
    };
    let often = || cron("* * * * *");
    for (payload, kind) in [
        (json!({"mailbox": none}), JobKind::TestAndEnable),
        (json!({}), JobKind::TestAndEnable),
        (json!({"mailbox": 7}), JobKind::TestAndEnable),
        (json!({"profile": none}), JobKind::TestProfile),
        (json!({"profile": none}), JobKind::ReExamine),
        (json!({"decisions": ["recorded"]}), JobKind::ReExamine),
        (json!({"all": true}), JobKind::KeyRotation),
        (json!([]), JobKind::CleanUp),
    ] {
        let field = refused("wrong", kind, payload.clone(), often()).await;
        assert_eq!(field, Some("payload"), "{kind}: {payload}");
    }
    assert_eq!(refused("wrong", JobKind::CleanUp, json!({}), cron("0 0 31 2 *")).await, Some("cron"));
    let atlantis = When::Cron { pattern: "@daily".into(), zone: "Atlantis".into() };
    assert_eq!(refused("wrong", JobKind::CleanUp, json!({}), atlantis).await, Some("zone"));
    assert_eq!(refused("", JobKind::CleanUp, json!({}), often()).await, Some("name"));
    clock.every_minute().await;
    assert_eq!(refused("OFTEN", JobKind::CleanUp, json!({}), often()).await, Some("name"));
    let profile = profile(&clock.database, clock.organization, 10).await;
    let mailbox = mailboxes(&clock.database, clock.organization, profile, 1).await[0];
    for (kind, payload) in [
        (JobKind::TestAndEnable, json!({"mailbox": mailbox})),
        (JobKind::TestProfile, json!({"profile": profile})),
        (JobKind::ReExamine, json!({"profile": profile, "decisions": ["too_large"]})),
        (JobKind::ReExamine, json!({})),
    ] {
        clock.create(&payload.to_string(), kind, payload.clone(), often()).await.unwrap();
    }
    assert_eq!(clock.jobs().await.iter().filter(|job| job.state != JobState::Waiting).count(), 0);
}
