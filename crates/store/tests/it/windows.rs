//! What a scan takes: windows, turns, breakers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::alert::AlertKind;
use model::cadence::{self, History, Outcome, Policy, Terms};
use model::endpoint::{Endpoint, Protocol, Tls};
use model::failure::{Failure, FailureScope};
use model::id::{MailboxId, OrganizationId, ProfileId};
use model::window::room;
use model::workload::Workload;
use store::alert::{self, NewAlert, Subject};
use store::schedule::{self, Queued, Scan};
use store::testing::{TestDatabase, pass};
use store::{Store, health};

use crate::support::{database, done, in_ring, mailboxes, one, profile, scan, scan_with, start};

fn with(batch: u32, share_cap: u32) -> Scan {
    Scan { workload: Workload::Incoming, batch, share_cap, in_flight: u32::MAX, since_last: Duration::ZERO }
}

fn mailbox_of(queued: &Queued) -> MailboxId {
    queued.place.claim.mailbox
}

/// Runs cycles to their end.
async fn run(store: &Store, cycles: &[Queued]) {
    let session = start(store).await;
    let (outcome, next) = done();
    for cycle in cycles {
        let tenant = store.tenant(cycle.place.organization).await.unwrap();
        schedule::claim(&tenant, cycle.place.claim, session).await.unwrap().expect("the claim is ours");
        schedule::finish(&tenant, cycle.place.claim, &outcome, &next).await.unwrap();
        tenant.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_profile_gets_twice_its_limit_and_the_rest_waits() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let narrow = profile(&database, organization, 3).await;
    mailboxes(&database, organization, narrow, 50).await;
    assert_eq!(scan(&database.store, 1000).await.len(), 6);
    assert_eq!(scan(&database.store, 1000).await.len(), 0);
}

#[tokio::test]
async fn the_window_in_sql_is_the_models_window() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    // The last says where in flight begins: at others than what finished, or at the same.
    for (limit, share_cap, finished, in_flight, from) in [
        (1, 1000, 0, 0, 20),
        (1, 1, 0, 0, 20),
        (5, 1000, 4, 0, 20),
        (5, 7, 9, 0, 20),
        (5, 1000, 3, 4, 20),
        (20, 30, 0, 8, 20),
        (2, 3, 8, 3, 20),
        (5, 1000, 4, 4, 0),
        (5, 1000, 6, 3, 4),
    ] {
        let profile = profile(&database, organization, limit).await;
        let boxes = mailboxes(&database, organization, profile, 80).await;
        let owner = database.owner().await.unwrap();
        let ids =
            |from: usize, count: usize| boxes[from..from + count].iter().map(|id| id.0).collect::<Vec<_>>();
        owner
            .execute(
                "update schedules set last_finished_at = now() - interval '5 s', due_at = now() + interval '1 hour'
                 where workload = 'incoming' and mailbox_id = any($1)",
                &[&ids(0, finished)],
            )
            .await
            .unwrap();
        owner
            .execute(
                "update schedules set state = 'queued' where workload = 'incoming' and mailbox_id = any($1)",
                &[&ids(from, in_flight)],
            )
            .await
            .unwrap();
        let scan = Scan { since_last: Duration::from_secs(10), ..with(1000, share_cap) };
        let taken = scan_with(&database.store, &scan).await;
        let taken = taken.iter().filter(|queued| queued.place.profile == profile).count();
        let [limit, finished, in_flight, taken] =
            [usize::try_from(limit).unwrap(), finished, in_flight, taken]
                .map(|number| u32::try_from(number).unwrap());
        assert_eq!(taken, room(limit, finished, share_cap, in_flight), "limit {limit}, cap {share_cap}");
        owner
            .execute("update schedules set due_at = null, state = 'idle', session_id = null", &[])
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn with_mailbox_credentials_the_limit_is_what_may_be_in_flight() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 10).await;
    mailboxes(&database, organization, profile, 50).await;
    database
        .owner()
        .await
        .unwrap()
        .execute(
            "update profiles set credentials_on = 'mailbox', max_connections = 1, max_in_flight = 4",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(scan(&database.store, 1000).await.len(), 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_schedulers_at_once_never_exceed_the_window() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 4).await;
    mailboxes(&database, organization, profile, 120).await;
    let session = start(&database.store).await;
    let schedulers = (0..4).map(|_| {
        // The cap holds whatever finished meanwhile.
        let (store, scan) = (database.store.clone(), with(5, 8));
        tokio::spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..40 {
                let queued = scan_with(&store, &scan).await;
                for cycle in &queued {
                    let (outcome, next) = done();
                    let tenant = store.tenant(cycle.place.organization).await.unwrap();
                    schedule::claim(&tenant, cycle.place.claim, session)
                        .await
                        .unwrap()
                        .expect("claimed once only");
                    tenant.commit().await.unwrap();
                    let tenant = store.tenant(cycle.place.organization).await.unwrap();
                    schedule::finish(&tenant, cycle.place.claim, &outcome, &next).await.unwrap();
                    tenant.commit().await.unwrap();
                    seen.push(cycle.place.claim);
                }
            }
            seen
        })
    });
    let schedulers: Vec<_> = schedulers.collect();
    let owner = database.owner().await.unwrap();
    let mut most = 0;
    while schedulers.iter().any(|scheduler| !scheduler.is_finished()) {
        let now: i64 = owner
            .query_one("select count(*) from schedules where state <> 'idle'", &[])
            .await
            .unwrap()
            .get(0);
        most = most.max(now);
        assert!(now <= 8, "{now} in flight with a window of 8");
    }
    let mut claims = Vec::new();
    for scheduler in schedulers {
        claims.extend(scheduler.await.unwrap());
    }
    let distinct: BTreeSet<_> = claims.iter().map(|claim| claim.mailbox).collect();
    assert_eq!((claims.len(), distinct.len()), (120, 120), "every mailbox once");
    assert!(most > 0);
}

#[tokio::test]
async fn organizations_take_turns_then_profiles() {
    let database = database().await;
    let (large, small) =
        (database.organization("large").await.unwrap(), database.organization("small").await.unwrap());
    let (first, second) = (profile(&database, large, 100).await, profile(&database, large, 100).await);
    let own = profile(&database, small, 100).await;
    for (organization, profile, count) in [(large, first, 60), (large, second, 60), (small, own, 5)] {
        mailboxes(&database, organization, profile, count).await;
    }
    let count = |queued: &[Queued]| {
        let mut counts: BTreeMap<(OrganizationId, ProfileId), usize> = BTreeMap::new();
        for one in queued {
            *counts.entry((one.place.organization, one.place.profile)).or_default() += 1;
        }
        counts
    };
    let counts = count(&scan(&database.store, 8).await);
    assert_eq!((counts[&(large, first)], counts[&(large, second)], counts[&(small, own)]), (2, 2, 4));
    let counts = count(&scan(&database.store, 8).await);
    assert_eq!(counts[&(small, own)], 1, "what is left of it");
    assert_eq!(counts[&(large, first)] + counts[&(large, second)], 7);
}

#[tokio::test]
async fn the_wished_come_first_then_the_oldest_due() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 1).await;
    let boxes = mailboxes(&database, organization, profile, 5).await;
    let wished = boxes[4];
    database
        .store
        .in_tenant(organization, async |tenant| schedule::wish(tenant, wished, Workload::Incoming).await)
        .await
        .unwrap();
    let taken: BTreeSet<_> = scan(&database.store, 100).await.iter().map(mailbox_of).collect();
    assert_eq!(taken, BTreeSet::from([wished, boxes[0]]));
}

#[tokio::test]
async fn a_paused_profile_gets_nothing_and_holds_nobody_up() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let (paused, other) =
        (profile(&database, organization, 9).await, profile(&database, organization, 9).await);
    mailboxes(&database, organization, paused, 5).await;
    mailboxes(&database, organization, other, 2).await;
    database
        .owner()
        .await
        .unwrap()
        .execute(
            "update profiles set paused_reason = 'profile_credentials_refused' where id = $1",
            &[&paused.0],
        )
        .await
        .unwrap();
    let taken = scan(&database.store, 100).await;
    assert!(taken.iter().all(|queued| queued.place.profile == other));
    assert_eq!(taken.len(), 2);
}

fn pop3() -> Endpoint {
    Endpoint { protocol: Protocol::Pop3, host: "mail.test".to_owned(), port: 995, tls: Tls::Implicit }
}

async fn fails(database: &TestDatabase, organization: OrganizationId, profile: ProfileId) -> u32 {
    database
        .store
        .in_tenant(organization, async |tenant| {
            health::server_failed(tenant, profile, &pop3(), Duration::from_secs(30)).await
        })
        .await
        .unwrap()
}

async fn works(database: &TestDatabase, organization: OrganizationId, profile: ProfileId) {
    database
        .store
        .in_tenant(organization, async |tenant| health::server_worked(tenant, profile, &pop3()).await)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_server_that_is_down_gets_nothing_then_one_probe_then_more_and_more() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 8).await;
    mailboxes(&database, organization, profile, 200).await;
    assert_eq!(fails(&database, organization, profile).await, 1);
    assert_eq!(fails(&database, organization, profile).await, 1, "the same outage counts once");
    assert_eq!(scan(&database.store, 100).await.len(), 0);
    pass(&database, Duration::from_secs(31)).await.unwrap();
    let probe = scan(&database.store, 100).await;
    assert_eq!(probe.len(), 1);
    assert_eq!(scan(&database.store, 100).await.len(), 0, "one probe at a time");
    run(&database.store, &probe).await;
    assert_eq!(fails(&database, organization, profile).await, 2);
    pass(&database, Duration::from_secs(31)).await.unwrap();
    let probe = scan(&database.store, 100).await;
    assert_eq!(probe.len(), 1);
    run(&database.store, &probe).await;
    works(&database, organization, profile).await;
    assert_eq!(scan(&database.store, 100).await.len(), 2);
    works(&database, organization, profile).await;
    assert_eq!(scan(&database.store, 100).await.len(), 1, "one more with each that works");
    let tenant = database.store.tenant(organization).await.unwrap();
    assert_eq!(health::server_failures(&tenant, profile, &pop3()).await.unwrap(), 1, "it comes back");
    drop(tenant);
    for _ in 3..=16 {
        works(&database, organization, profile).await;
    }
    assert_eq!(scan(&database.store, 100).await.len(), 13, "the whole window");
    let tenant = database.store.tenant(organization).await.unwrap();
    assert_eq!(health::server_failures(&tenant, profile, &pop3()).await.unwrap(), 0);
    assert_eq!(health::breakers(&tenant, profile).await.unwrap(), vec![]);
}

/// Ends cycles as those of a server that is down, with what they tell people; gives for how long it is left alone.
async fn down(database: &TestDatabase, organization: OrganizationId, cycles: &[Queued]) -> Duration {
    let session = start(&database.store).await;
    let terms = Terms {
        policy: Policy::PerWorkload,
        workload: Workload::Incoming,
        incoming_too: false,
        min_polling: Duration::ZERO,
        profile_credential: true,
    };
    let alert = AlertKind::ConnectionRefused;
    let failure = Failure { scope: FailureScope::Server, alert, said: None, retry_after: None };
    let outcome = Outcome::Failed(failure);
    let mut pause = Duration::ZERO;
    for cycle in cycles {
        let tenant = database.store.tenant(organization).await.unwrap();
        let (claim, profile) = (cycle.place.claim, cycle.place.profile);
        schedule::claim(&tenant, claim, session).await.unwrap().expect("the claim is ours");
        let server_failures = health::server_failures(&tenant, profile, &pop3()).await.unwrap();
        let history = History { server_failures, ..History::default() };
        let next = cadence::next(&terms, &outcome, &history, None, 0.0);
        schedule::finish(&tenant, claim, &outcome, &next).await.unwrap();
        // What would be switched off is said here and done by who ends the cycle.
        assert_eq!(next.switch_off, None, "a server that is down switches nobody off");
        pause = next.delay.expect("tried again");
        health::server_failed(&tenant, profile, &pop3(), pause).await.unwrap();
        let new = NewAlert {
            kind: alert,
            subject: Subject::Profile(profile),
            detail: pop3().key(),
            parameters: serde_json::json!({"endpoint": pop3().key()}),
            server_said: None,
        };
        alert::raise(&tenant, &new).await.unwrap();
        tenant.commit().await.unwrap();
    }
    pause
}

#[tokio::test]
async fn after_an_hour_without_a_server_ten_thousand_mailboxes_come_back_by_one_two_four_eight() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 20).await;
    mailboxes(&database, organization, profile, 10_000).await;
    let owner = database.owner().await.unwrap();
    let count = async |of: &str| {
        let row = owner.query_one(&format!("select count(*) from {of}"), &[]).await.unwrap();
        row.get::<_, i64>(0)
    };
    let cycles = scan(&database.store, 1000).await;
    assert_eq!(cycles.len(), 40, "those that find out");
    let mut pause = down(&database, organization, &cycles).await;
    let (mut past, mut probes) = (Duration::ZERO, 0);
    while past < Duration::from_secs(3600) {
        assert_eq!(scan(&database.store, 1000).await.len(), 0, "it is left alone");
        pass(&database, pause).await.unwrap();
        past += pause;
        let probe = scan(&database.store, 1000).await;
        assert_eq!(probe.len(), 1);
        assert_eq!(scan(&database.store, 1000).await.len(), 0, "one probe at a time");
        pause = down(&database, organization, &probe).await;
        probes += 1;
    }
    assert!((10..=20).contains(&probes), "{probes} probes in an hour");
    assert_eq!(count("alerts").await, 1, "one alert, however often");
    assert_eq!(count("mailbox_workloads where enabled").await, 20_000, "nor did anything on the way");

    pass(&database, pause).await.unwrap();
    let mut rounds = Vec::new();
    while rounds.last() != Some(&40) || health_of(&database, organization, profile).await > 0 {
        let cycles = scan(&database.store, 1000).await;
        rounds.push(cycles.len());
        assert!(rounds.len() < 20, "it never comes back: {rounds:?}");
        run(&database.store, &cycles).await;
        for _ in &cycles {
            works(&database, organization, profile).await;
        }
    }
    assert_eq!(rounds, [1, 2, 4, 8, 16, 32, 40]);
    // A server that falters on its way back begins at the beginning.
    let cycles = scan(&database.store, 1000).await;
    let pause = down(&database, organization, &cycles).await;
    pass(&database, pause).await.unwrap();
    let probe = scan(&database.store, 1000).await;
    run(&database.store, &probe).await;
    works(&database, organization, profile).await;
    let two = scan(&database.store, 1000).await;
    let pause = down(&database, organization, &two).await;
    assert_eq!(
        (probe.len(), two.len(), pause),
        (1, 2, Duration::from_secs(120)),
        "and is not blamed for the hour"
    );
    assert_eq!(count("alerts").await, 1);
}

async fn health_of(database: &TestDatabase, organization: OrganizationId, profile: ProfileId) -> u32 {
    let tenant = database.store.tenant(organization).await.unwrap();
    health::server_failures(&tenant, profile, &pop3()).await.unwrap()
}

#[tokio::test]
async fn a_server_that_is_down_for_sending_still_receives() {
    let one = one().await;
    let smtp = Endpoint { protocol: Protocol::Smtp, port: 465, ..pop3() };
    one.store
        .in_tenant(one.organization, async |tenant| {
            health::server_failed(tenant, one.profile, &smtp, Duration::from_secs(30)).await
        })
        .await
        .unwrap();
    assert!(one.queued().await.is_some());
}

#[tokio::test]
async fn refusals_are_counted_over_the_profile() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 8).await;
    let boxes = mailboxes(&database, organization, profile, 10).await;
    database
        .owner()
        .await
        .unwrap()
        .execute(
            "update schedules set refusals = 1, last_finished_at = now() where workload = 'incoming' and mailbox_id = any($1)",
            &[&boxes[..4].iter().map(|id| id.0).collect::<Vec<_>>()],
        )
        .await
        .unwrap();
    let tenant = database.store.tenant(organization).await.unwrap();
    let refusals = health::refusals(&tenant, profile, Workload::Incoming, boxes[9], false).await.unwrap();
    assert_eq!((refusals.mailboxes, refusals.enabled), (5, 10));
    drop(tenant);
    pass(&database, Duration::from_secs(601)).await.unwrap();
    let tenant = database.store.tenant(organization).await.unwrap();
    let refusals = health::refusals(&tenant, profile, Workload::Incoming, boxes[9], false).await.unwrap();
    assert_eq!((refusals.mailboxes, refusals.enabled), (1, 10));
}

#[tokio::test]
async fn the_picture_counts_what_waits_and_what_is_in_flight() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 2).await;
    mailboxes(&database, organization, profile, 10).await;
    let queued = scan(&database.store, 3).await;
    let session = start(&database.store).await;
    let tenant = database.store.tenant(organization).await.unwrap();
    schedule::claim(&tenant, queued[0].place.claim, session).await.unwrap().unwrap();
    tenant.commit().await.unwrap();
    let lateness = in_ring(&database.store, async |ring| schedule::lateness(ring).await).await;
    assert_eq!(lateness.len(), Workload::ALL.len());
    let incoming = lateness[0];
    assert_eq!(
        (incoming.workload, incoming.ready, incoming.queued, incoming.running),
        (Workload::Incoming, 7, 2, 1)
    );
    assert!(incoming.oldest >= Duration::from_secs(3500));
    assert_eq!((lateness[1].ready, lateness[1].oldest), (0, Duration::ZERO));
    let in_flight = in_ring(&database.store, async |ring| schedule::in_flight(ring).await).await;
    assert_eq!(in_flight.len(), 1);
    assert_eq!((in_flight[0].profile, in_flight[0].queued, in_flight[0].running), (profile, 2, 1));
}
