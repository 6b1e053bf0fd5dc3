//! Claims and ends that go to the database together: granted and written as each alone would be, whosever they are.

use std::time::Duration;

use futures_util::future::join_all;
use model::cadence::{DueReason, Next, Outcome};
use model::endpoint::{Endpoint, Protocol, Tls};
use model::failure::Failure;
use model::id::SessionId;
use model::workload::Workload;
use store::schedule::{self, Claim, ClaimedCycle, End, Place, claim_together, finish_together};
use store::testing::pass;
use store::{Error, Store, health};

use crate::support::{One, done, mailboxes, one, profile, scan, start};

/// How many transactions wrote the rows of incoming mail as they stand.
async fn writers(one: &One) -> i64 {
    let owner = one.database.owner().await.unwrap();
    let statement = "select count(distinct xmin::text) from schedules where workload = 'incoming'";
    owner.query_one(statement, &[]).await.unwrap().get(0)
}

/// Cycles of three organizations, queued.
async fn queued_of_three(one: &One, each: i32) -> Vec<Place> {
    mailboxes(&one.database, one.organization, one.profile, each).await;
    for name in ["two", "three"] {
        let organization = one.database.organization(name).await.unwrap();
        let profile = profile(&one.database, organization, 1000).await;
        mailboxes(&one.database, organization, profile, each).await;
    }
    let owner = one.database.owner().await.unwrap();
    owner.execute("update profiles set max_connections = 1000", &[]).await.unwrap();
    scan(&one.store, 1000).await.into_iter().map(|queued| queued.place).collect()
}

async fn claimed(store: &Store, places: &[Place], session: SessionId) -> Vec<Option<ClaimedCycle>> {
    let claims = places.iter().map(|place| async {
        claim_together(store, place.organization, place.claim, session).await.unwrap()
    });
    join_all(claims).await
}

fn end(one: &One, place: Place) -> End {
    let (outcome, next) = done();
    let Place { organization, claim, .. } = place;
    End { organization, claim, session: one.session, outcome, next, sound: None }
}

fn place(one: &One, claim: Claim) -> Place {
    Place { organization: one.organization, profile: one.profile, claim }
}

#[tokio::test]
async fn what_is_claimed_and_ended_at_once_costs_a_few_commits_whosever_it_is() {
    let one = one().await;
    let places = queued_of_three(&one, 100).await;
    assert_eq!(places.len(), 301);
    let taken = claimed(&one.store, &places, one.session).await;
    assert!(taken.iter().all(Option::is_some), "each is told, and each of its own");
    for (place, taken) in places.iter().zip(&taken) {
        assert_eq!(
            taken.as_ref().map(|taken| (taken.claim, taken.profile)),
            Some((place.claim, place.profile))
        );
    }
    let writers_of_claims = writers(&one).await;
    let ended = join_all(places.iter().map(|place| finish_together(&one.store, end(&one, *place)))).await;
    assert!(ended.into_iter().all(Result::unwrap));
    let commits = (writers_of_claims, writers(&one).await);
    assert!(commits.0 <= 4 && commits.1 <= 4, "{commits:?} transactions for 301 claims and as many ends");
    let owner = one.database.owner().await.unwrap();
    let row = owner
        .query_one("select count(*) filter (where state = 'idle' and due_at > now() + interval '4 minutes') from schedules where workload = 'incoming'", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 301);
}

#[tokio::test]
async fn of_two_who_ask_for_the_same_claim_at_once_one_gets_it() {
    let one = one().await;
    let places = queued_of_three(&one, 20).await;
    let other = start(&one.store).await;
    let (first, second, third) = tokio::join!(
        claimed(&one.store, &places, one.session),
        claimed(&one.store, &places, other),
        claimed(&one.store, &places, one.session)
    );
    for at in 0..places.len() {
        let granted = [&first, &second, &third].iter().filter(|taken| taken[at].is_some()).count();
        assert_eq!(granted, 1);
    }
}

#[tokio::test]
async fn a_claim_is_refused_together_as_it_is_alone() {
    let one = one().await;
    let other = one.database.organization("other").await.unwrap();
    let claim = one.queued().await.unwrap();
    let ask = async |organization, claim, session| {
        claim_together(&one.store, organization, claim, session).await.unwrap().is_some()
    };
    assert!(!ask(one.organization, Claim { number: claim.number + 1, ..claim }, one.session).await);
    assert!(!ask(one.organization, Claim { workload: Workload::Outgoing, ..claim }, one.session).await);
    assert!(!ask(other, claim, one.session).await, "named under an organization that it is not of");
    assert!(!ask(one.organization, claim, model::clock::new_id()).await, "a session that is not there");
    pass(&one.database, Duration::from_secs(16)).await.unwrap();
    assert!(!ask(one.organization, claim, one.session).await, "a session that is dead");
    let session = start(&one.store).await;
    assert!(ask(one.organization, claim, session).await);
    assert!(!ask(one.organization, claim, session).await, "running already");
}

#[tokio::test]
async fn a_row_that_somebody_holds_holds_up_nobody_else_and_is_granted_when_it_is_let_go() {
    let one = one().await;
    let places = queued_of_three(&one, 10).await;
    let held = places.iter().find(|place| place.organization == one.organization).copied().unwrap();
    let tenant = one.tenant().await;
    schedule::wish(&tenant, held.claim.mailbox, Workload::Incoming).await.unwrap();
    let waiting = tokio::spawn({
        let (store, session) = (one.store.clone(), one.session);
        async move { claim_together(&store, held.organization, held.claim, session).await.unwrap() }
    });
    let others: Vec<_> = places.iter().filter(|place| **place != held).copied().collect();
    assert!(claimed(&one.store, &others, one.session).await.iter().all(Option::is_some));
    assert!(!waiting.is_finished());
    tenant.commit().await.unwrap();
    assert!(waiting.await.unwrap().is_some(), "a lock is no refusal");
}

/// Everything a row says, times as how far off they are.
async fn row(one: &One) -> Vec<(String, Option<String>)> {
    let owner = one.database.owner().await.unwrap();
    let columns = owner
        .query("select column_name, data_type from information_schema.columns where table_name = 'schedules' order by 1", &[])
        .await
        .unwrap();
    let mut said = Vec::new();
    for column in columns {
        let (name, kind): (String, String) = (column.get(0), column.get(1));
        let what = match kind.as_str() {
            "timestamp with time zone" => format!("round(extract(epoch from {name} - since) / 5)::text"),
            _ => format!("{name}::text"),
        };
        said.push((name, one.column(&what).await));
    }
    said
}

#[tokio::test]
async fn an_end_leaves_the_same_row_together_as_alone() {
    let snooze = Next {
        delay: Some(Duration::from_secs(45)),
        reason: DueReason::NoCapacity,
        not_before: Some(Duration::from_secs(45)),
        held_by: None,
        quiet_cycles: 3,
        failures: 2,
        refusals: 1,
        switch_off: None,
    };
    let held = Next {
        not_before: Some(Duration::from_secs(600)),
        held_by: Some(DueReason::ServerAsked),
        ..done().1
    };
    let nothing = Next { delay: None, reason: DueReason::NothingToSend, ..done().1 };
    let ends = [
        (Outcome::Done { items: 7, cut_off: true }, done().1),
        (Outcome::Done { items: 0, cut_off: false }, held),
        (Outcome::Done { items: 0, cut_off: false }, nothing),
        (Outcome::Snooze { delay: Duration::from_secs(45), reason: DueReason::NoCapacity }, snooze),
    ];
    let one = one().await;
    let owner = one.database.owner().await.unwrap();
    for (outcome, next) in ends {
        let mut left = Vec::new();
        for together in [false, true] {
            owner
                .execute(
                    "update schedules set state = 'running', claim = 40, session_id = $1, due_at = now() - interval '1 minute',
                        not_before = null, not_before_reason = null, wished_at = null, deaths = 2, quiet_cycles = 5, failures = 4,
                        refusals = 1, first_refused_at = now() - interval '7 minutes', held_since = now() - interval '9 minutes'
                     where mailbox_id = $2 and workload = 'incoming'",
                    &[&one.session.0, &one.mailbox.0],
                )
                .await
                .unwrap();
            let claim = Claim { mailbox: one.mailbox, workload: Workload::Incoming, number: 40 };
            if together {
                let end =
                    End { outcome: outcome.clone(), next: next.clone(), ..end(&one, place(&one, claim)) };
                assert!(finish_together(&one.store, end).await.unwrap());
            } else {
                let tenant = one.tenant().await;
                schedule::finish(&tenant, claim, &outcome, &next).await.unwrap();
                tenant.commit().await.unwrap();
            }
            left.push(row(&one).await);
        }
        assert_eq!(left[0], left[1], "{outcome:?}");
    }
}

#[tokio::test]
async fn an_end_whose_claim_is_no_longer_ours_writes_nothing() {
    let one = one().await;
    let claim = one.running().await;
    let ours = place(&one, claim);
    let other = start(&one.store).await;
    assert!(!finish_together(&one.store, End { session: other, ..end(&one, ours) }).await.unwrap());
    let other = one.database.organization("other").await.unwrap();
    assert!(!finish_together(&one.store, End { organization: other, ..end(&one, ours) }).await.unwrap());
    one.bump().await;
    assert!(!finish_together(&one.store, end(&one, ours)).await.unwrap());
    assert_eq!(one.column("due_at").await, None);
    assert!(matches!(one.finish(claim).await, Err(Error::Fenced)));
}

#[tokio::test]
async fn a_wish_during_a_cycle_that_ends_with_others_is_not_lost() {
    let one = one().await;
    let claim = one.running().await;
    assert!(one.wish().await);
    let mut pokes = schedule::listen(&one.database.config);
    pokes.next().await;
    assert!(finish_together(&one.store, end(&one, place(&one, claim))).await.unwrap());
    tokio::time::timeout(Duration::from_secs(10), pokes.next()).await.expect("the scheduler is told");
    assert_eq!(one.queued().await.map(|claim| claim.number), Some(claim.number + 1));
}

#[tokio::test]
async fn an_end_that_must_write_more_than_its_row_is_not_written_with_others() {
    let one = one().await;
    let claim = one.running().await;
    let failed = Outcome::Failed(Failure::ours());
    assert!(
        !finish_together(&one.store, End { outcome: failed, ..end(&one, place(&one, claim)) }).await.unwrap()
    );
    let failing =
        Endpoint { protocol: Protocol::Pop3, host: "mail.test".to_owned(), port: 995, tls: Tls::Implicit };
    let tenant = one.tenant().await;
    health::server_failed(&tenant, one.profile, &failing, Duration::from_secs(30)).await.unwrap();
    tenant.commit().await.unwrap();
    let sound = |key: String| End { sound: Some(key), ..end(&one, place(&one, claim)) };
    assert!(!finish_together(&one.store, sound(failing.key())).await.unwrap(), "its breaker is to be closed");
    assert_eq!(one.column("state").await.as_deref(), Some("running"));
    assert!(finish_together(&one.store, sound("pop3://another.test:995".to_owned())).await.unwrap());
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_taken_again_by_its_own_session_alone() {
    let one = one().await;
    let queued = scan(&one.store, 10).await.remove(0).place;
    assert!(claimed(&one.store, &[queued], one.session).await[0].is_some());
    let (tenant, other) = (one.tenant().await, start(&one.store).await);
    assert!(schedule::claim(&tenant, queued.claim, one.session).await.unwrap().is_none());
    assert!(schedule::claim_unheard(&tenant, queued.claim, other).await.unwrap().is_none());
    assert!(schedule::claim_unheard(&tenant, queued.claim, one.session).await.unwrap().is_some());
    let (outcome, next) = done();
    schedule::finish(&tenant, queued.claim, &outcome, &next).await.unwrap();
    assert!(schedule::claim_unheard(&tenant, queued.claim, one.session).await.unwrap().is_none());
}
