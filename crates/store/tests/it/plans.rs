//! Plans: what a scan takes of much that is due, in which order, and what two of them do to each other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use model::id::{OrganizationId, ProfileId};
use model::workload::Workload;
use store::Store;
use store::schedule::{self, Plan, Queued, Scan, Turn};
use store::testing::{TestDatabase, pass};

use crate::support::{database, in_ring, mailboxes, one, profile};

const BATCH: u32 = 500;

fn scan() -> Scan {
    Scan {
        workload: Workload::Incoming,
        batch: BATCH,
        share_cap: 1_000_000,
        in_flight: u32::MAX,
        since_last: Duration::ZERO,
    }
}

async fn plan(store: &Store, most: u32, turn: Turn) -> Option<Plan> {
    in_ring(store, async |ring| schedule::plan(ring, &scan(), most, turn).await).await
}

async fn next(store: &Store, plan: &mut Plan, batch: u32) -> Option<Vec<Queued>> {
    in_ring(store, async |ring| schedule::queue_planned(ring, plan, batch).await).await
}

/// A whole plan, in the batches it was queued in.
async fn drain(store: &Store, most: u32) -> Vec<Vec<Queued>> {
    let mut plan = plan(store, most, Turn::Taken).await.expect("the turn is taken");
    let mut batches = Vec::new();
    while !plan.is_done() {
        batches.push(next(store, &mut plan, BATCH).await.expect("nobody else plans"));
    }
    batches
}

/// Schedule rows alone, due now, the first the longest: what a scan reads, without the mailboxes it does not.
async fn due(database: &TestDatabase, organization: OrganizationId, profile: ProfileId, count: i32) {
    let owner = database.owner().await.unwrap();
    owner.batch_execute("set session_replication_role = replica").await.unwrap();
    owner
        .execute(
            "insert into schedules (organization_id, mailbox_id, workload, profile_id, due_at, due_reason)
             select $1, gen_random_uuid(), 'incoming', $2, now() - make_interval(secs => 3600 - n / 100.0), 'cadence'
             from generate_series(1, $3) n",
            &[&organization.0, &profile.0, &count],
        )
        .await
        .unwrap();
    owner.batch_execute("analyze schedules").await.unwrap();
}

/// The server answers everything that it was asked: what is in flight of it is idle, and not due.
async fn answers(database: &TestDatabase, profiles: &[ProfileId]) {
    let profiles: Vec<_> = profiles.iter().map(|profile| profile.0).collect();
    database
        .owner()
        .await
        .unwrap()
        .execute(
            "update schedules set state = 'idle', due_at = now() + interval '5 min' where flying and profile_id = any($1)",
            &[&profiles],
        )
        .await
        .unwrap();
}

fn by_profile(queued: &[Queued]) -> BTreeMap<ProfileId, usize> {
    let mut counts = BTreeMap::new();
    for one in queued {
        *counts.entry(one.place.profile).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn a_plan_that_another_one_followed_queues_nothing_more() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 5).await;
    mailboxes(&database, organization, profile, 50).await;
    let store = &database.store;
    let mut first = plan(store, 100, Turn::Taken).await.unwrap();
    assert_eq!(next(store, &mut first, 4).await.unwrap().len(), 4);
    let mut second = plan(store, 100, Turn::Taken).await.unwrap();
    assert!(next(store, &mut first, 4).await.is_none(), "its counts are no longer true");
    assert_eq!(
        next(store, &mut second, 100).await.unwrap().len(),
        6,
        "the window, less what the first one queued"
    );
}

#[tokio::test]
async fn a_plan_that_is_being_queued_is_waited_for_but_not_for_long() {
    let one = one().await;
    let mut first = plan(&one.store, 100, Turn::Asked).await.unwrap();
    assert!(plan(&one.store, 100, Turn::Asked).await.is_none(), "somebody is at it");
    assert_eq!(next(&one.store, &mut first, 100).await.unwrap().len(), 1);
    assert!(plan(&one.store, 100, Turn::Asked).await.is_some(), "it has ended");
    assert!(plan(&one.store, 100, Turn::Asked).await.is_none());
    pass(&one.database, Duration::from_secs(3)).await.unwrap();
    assert!(plan(&one.store, 100, Turn::Asked).await.is_some(), "whoever was at it is gone");
}

#[tokio::test]
async fn what_changed_since_the_plan_is_passed_over() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 5).await;
    let boxes = mailboxes(&database, organization, profile, 3).await;
    let store = &database.store;
    let mut plan = plan(store, 100, Turn::Taken).await.unwrap();
    store.in_tenant(organization, async |tenant| schedule::bump(tenant, boxes[0], None).await).await.unwrap();
    let queued = next(store, &mut plan, 100).await.unwrap();
    let taken: BTreeSet<_> = queued.iter().map(|cycle| cycle.place.claim.mailbox).collect();
    assert_eq!(taken, BTreeSet::from([boxes[1], boxes[2]]));
}

#[tokio::test]
async fn only_what_has_something_due_is_told() {
    let one = one().await;
    let told = async || in_ring(&one.store, async |ring| schedule::any_due(ring).await).await;
    assert_eq!(told().await, [Workload::Incoming]);
    let claim = one.running().await;
    assert_eq!(told().await, []);
    one.finish(claim).await.unwrap();
    assert_eq!(told().await, []);
    one.wish().await;
    assert_eq!(told().await, [Workload::Incoming]);
}

#[tokio::test]
async fn fifty_thousand_mailboxes_of_a_slow_server_hold_up_none_of_the_fast_ones() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let slow = profile(&database, organization, 10).await;
    due(&database, organization, slow, 50_000).await;
    let mut fast = Vec::new();
    for _ in 0..10 {
        let profile = profile(&database, organization, 10).await;
        due(&database, organization, profile, 100).await;
        fast.push(profile);
    }
    // The slow server never answers: after its window it gets nothing, and the fast ones get theirs in every plan.
    let mut of_fast = 0;
    for round in 0..5 {
        let queued: Vec<_> = drain(&database.store, 20_000).await.concat();
        let counts = by_profile(&queued);
        assert_eq!(counts.get(&slow).copied(), if round == 0 { Some(20) } else { None });
        for profile in &fast {
            assert_eq!(counts.get(profile), Some(&20), "a window's worth each time");
        }
        of_fast += queued.iter().filter(|cycle| cycle.place.profile != slow).count();
        answers(&database, &fast).await;
    }
    assert_eq!(of_fast, 1000, "every fast mailbox once");
    let in_flight = in_ring(&database.store, async |ring| schedule::in_flight(ring).await).await;
    assert_eq!(in_flight.iter().map(|line| (line.profile, line.queued)).collect::<Vec<_>>(), [(slow, 20)]);
}

#[tokio::test]
async fn an_organization_with_a_hundred_thousand_due_takes_turns_with_one_that_has_ten() {
    let database = database().await;
    let (large, small) =
        (database.organization("large").await.unwrap(), database.organization("small").await.unwrap());
    let mut of_large = Vec::new();
    for _ in 0..4 {
        let profile = profile(&database, large, 60_000).await;
        due(&database, large, profile, 25_000).await;
        of_large.push(profile);
    }
    // Due later than all of the large one's.
    let own = profile(&database, small, 100).await;
    due(&database, small, own, 10).await;
    let batches = drain(&database.store, 20_000).await;
    let first = by_profile(&batches[0]);
    assert_eq!((batches[0].len(), first[&own]), (500, 10), "all of the small one's in the first batch");
    let all = by_profile(&batches.concat());
    assert!(all.values().sum::<usize>() >= 10_000, "a plan worth its counting");
    let [least, most] = [of_large.iter().map(|id| all[id]).min(), of_large.iter().map(|id| all[id]).max()];
    assert!(most.unwrap() - least.unwrap() <= 1, "profiles take turns: {all:?}");
}

#[tokio::test]
async fn what_is_wished_for_comes_first_out_of_a_backlog() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 2).await;
    due(&database, organization, profile, 10_000).await;
    database
        .owner()
        .await
        .unwrap()
        .execute(
            "update schedules set wished_at = now() where ready_at = (select max(ready_at) from schedules)",
            &[],
        )
        .await
        .unwrap();
    let queued = drain(&database.store, 20_000).await.concat();
    assert_eq!(queued.len(), 4, "the window");
    let latest = queued.iter().map(|cycle| cycle.waited).min().unwrap();
    assert!(
        latest < Duration::from_secs(3600 - 90),
        "the wished one is due latest, and among them: {latest:?}"
    );
}

#[tokio::test]
async fn a_few_profiles_with_all_the_work_fill_a_plan() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    for _ in 0..50 {
        profile(&database, organization, 10).await;
    }
    let busy = profile(&database, organization, 60_000).await;
    due(&database, organization, busy, 12_000).await;
    let queued = drain(&database.store, 10_000).await.concat();
    assert!(queued.len() >= 5_000, "{} of one profile among fifty idle ones", queued.len());
    let distinct: BTreeSet<_> = queued.iter().map(|cycle| cycle.place.claim.mailbox).collect();
    assert_eq!(distinct.len(), queued.len());
    let oldest_left: f64 = database
        .owner()
        .await
        .unwrap()
        .query_one(
            "select extract(epoch from now() - min(ready_at))::float8 from schedules where not flying",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    let youngest = queued.iter().map(|cycle| cycle.waited).min().unwrap();
    assert!(youngest.as_secs_f64() + 60.0 > oldest_left, "the oldest due went first");
}

#[tokio::test]
async fn a_limit_that_is_changed_holds_for_the_next_plan() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 10).await;
    due(&database, organization, profile, 6_000).await;
    let limit = async |limit: i32| {
        let owner = database.owner().await.unwrap();
        owner.execute("update profiles set max_connections = $1", &[&limit]).await.unwrap();
    };
    assert_eq!(drain(&database.store, 1_000).await.concat().len(), 20);
    limit(50).await;
    assert_eq!(
        drain(&database.store, 1_000).await.concat().len(),
        80,
        "the wider window, less what is in flight"
    );
    limit(3).await;
    assert_eq!(
        drain(&database.store, 1_000).await.concat().len(),
        0,
        "more than the narrower one is in flight"
    );
    answers(&database, &[profile]).await;
    assert_eq!(drain(&database.store, 1_000).await.concat().len(), 6);
}

#[tokio::test]
async fn a_send_is_queued_while_a_plan_of_incoming_mail_is_under_way() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 60_000).await;
    due(&database, organization, profile, 6_000).await;
    let sender = mailboxes(&database, organization, profile, 1).await[0];
    let store = &database.store;
    let mut backlog = plan(store, 5_000, Turn::Asked).await.unwrap();
    assert_eq!(next(store, &mut backlog, BATCH).await.unwrap().len(), 500);
    assert!(!backlog.is_done());
    store
        .in_tenant(organization, async |tenant| schedule::wish(tenant, sender, Workload::Outgoing).await)
        .await
        .unwrap();
    // Even while a batch of incoming mail is being queued and not yet committed.
    let held = store.ring().await.unwrap();
    assert_eq!(schedule::queue_planned(&held, &mut backlog, BATCH).await.unwrap().unwrap().len(), 500);
    let sends = Scan { workload: Workload::Outgoing, ..scan() };
    let mut urgent =
        in_ring(store, async |ring| schedule::plan(ring, &sends, 5_000, Turn::Asked).await).await.unwrap();
    let queued = next(store, &mut urgent, BATCH).await.unwrap();
    assert_eq!(queued.iter().map(|cycle| cycle.place.claim.mailbox).collect::<Vec<_>>(), [sender]);
    held.commit().await.unwrap();
    assert!(!next(store, &mut backlog, BATCH).await.unwrap().is_empty(), "and the backlog goes on");
}

#[tokio::test]
async fn a_cycle_that_begins_changes_no_column_that_an_index_knows() {
    let database = database().await;
    let known: Vec<String> = database
        .owner()
        .await
        .unwrap()
        .query(
            "select distinct a.attname::text from pg_depend d
             join pg_index i on i.indexrelid = d.objid
             join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
             where i.indrelid = 'schedules'::regclass and d.refobjid = 'schedules'::regclass and d.refobjsubid > 0",
            &[],
        )
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(known.contains(&"flying".to_owned()), "{known:?}");
    for column in ["state", "session_id", "since", "claim"] {
        assert!(!known.contains(&column.to_owned()), "an index on {column} is written twice more a cycle");
    }
}

/// As a worker with slots for a half of what may be in flight would leave it: the oldest of the queue ends, and what a plan
/// finds next stands behind the others.
async fn end_and_plan(database: &TestDatabase, scan: &Scan, line: &mut VecDeque<Queued>) {
    let ended = line.pop_front().expect("something is in flight").place.claim.mailbox;
    let owner = database.owner().await.unwrap();
    owner
        .execute(
            "update schedules set state = 'idle', due_at = now() + interval '5 min' where mailbox_id = $1",
            &[&ended.0],
        )
        .await
        .unwrap();
    let store = &database.store;
    line.extend(in_ring(store, async |ring| schedule::claim_due(ring, scan).await).await);
}

#[tokio::test]
async fn an_organization_that_filled_everything_first_holds_up_one_that_is_due_later_by_what_stands_in_line()
{
    const MOST: u32 = 60;
    let database = database().await;
    let (large, small) =
        (database.organization("large").await.unwrap(), database.organization("small").await.unwrap());
    for _ in 0..30 {
        let profile = profile(&database, large, 100).await;
        due(&database, large, profile, 50).await;
    }
    let scan = Scan { share_cap: 25, in_flight: MOST, batch: 20_000, ..scan() };
    let plans = async || in_ring(&database.store, async |ring| schedule::claim_due(ring, &scan).await).await;
    let mut line: VecDeque<_> = plans().await.into();
    assert_eq!(
        line.len(),
        60,
        "alone it has all that may be in flight, and no more whatever its windows are"
    );
    assert_eq!(plans().await.len(), 0);

    // Due later than all of the large one's, which are not done for long.
    let own = profile(&database, small, 100).await;
    due(&database, small, own, 10).await;
    for ended in 1..=10 {
        end_and_plan(&database, &scan, &mut line).await;
        assert_eq!(line.len(), 60, "never more than may be");
        let of_small = line.iter().filter(|cycle| cycle.place.profile == own).count();
        assert_eq!(of_small, ended, "each place that is free goes to whoever has least");
    }
    let last = line.iter().rposition(|cycle| cycle.place.profile == own).unwrap();
    let before = line.iter().take(last).filter(|cycle| cycle.place.profile != own).count();
    assert_eq!(before, 50, "of the large one's more than a thousand, what stood in line already");

    // Both go on with much: they come to have the same.
    due(&database, small, own, 200).await;
    for _ in 0..120 {
        end_and_plan(&database, &scan, &mut line).await;
    }
    let of_small = line.iter().filter(|cycle| cycle.place.profile == own).count();
    assert_eq!(of_small, 25, "the profile's share of the slots, which is less than a half");
}

#[tokio::test]
async fn what_is_wished_for_takes_the_next_place_of_its_organization_and_no_others() {
    let database = database().await;
    let (large, small) =
        (database.organization("large").await.unwrap(), database.organization("small").await.unwrap());
    let mut of_large = Vec::new();
    for _ in 0..5 {
        of_large.push(profile(&database, large, 100).await);
        due(&database, large, of_large[of_large.len() - 1], 50).await;
    }
    let scan = Scan { in_flight: 20, batch: 20_000, ..scan() };
    let mut line: VecDeque<_> =
        in_ring(&database.store, async |ring| schedule::claim_due(ring, &scan).await).await.into();
    let owner = database.owner().await.unwrap();
    // Three of one profile, which are the last by their time, and by the turns of the profiles.
    owner
        .execute(
            "update schedules set wished_at = now() where mailbox_id in (
                select mailbox_id from schedules where profile_id = $1 and not flying order by ready_at desc limit 3)",
            &[&of_large[4].0],
        )
        .await
        .unwrap();
    let own = profile(&database, small, 100).await;
    due(&database, small, own, 2).await;
    let wished = "select count(*) from schedules where wished_at is not null";
    for (of_small, left) in [(1, 3), (2, 3), (2, 2), (2, 1), (2, 0)] {
        end_and_plan(&database, &scan, &mut line).await;
        assert_eq!(line.iter().filter(|cycle| cycle.place.profile == own).count(), of_small);
        assert_eq!(owner.query_one(wished, &[]).await.unwrap().get::<_, i64>(0), left);
    }
}

#[tokio::test]
async fn what_ended_since_the_last_scan_makes_room_for_twice_as_many() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 1000).await;
    due(&database, organization, profile, 100).await;
    let scan = Scan { in_flight: 10, since_last: Duration::from_secs(10), ..scan() };
    let plans = async || in_ring(&database.store, async |ring| schedule::claim_due(ring, &scan).await).await;
    assert_eq!(plans().await.len(), 10);
    let owner = database.owner().await.unwrap();
    owner
        .execute(
            "update schedules set state = 'idle', due_at = null, last_finished_at = now() - interval '5 s' where flying",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(plans().await.len(), 30, "ten, and twice the ten that ended");
    assert_eq!(plans().await.len(), 0);
    pass(&database, Duration::from_secs(10)).await.unwrap();
    assert_eq!(plans().await.len(), 0, "they are long ago: there are more in flight than may be");
}

#[tokio::test]
async fn a_plan_that_takes_all_the_room_there_is_is_the_last_for_now() {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 60_000).await;
    due(&database, organization, profile, 6_000).await;
    for (in_flight, most, complete, length) in
        [(100, 1_000, true, 100), (1_100, 1_000, false, 1_000), (9_000, 20_000, true, 4_900)]
    {
        let scan = Scan { in_flight, ..scan() };
        let plan =
            in_ring(&database.store, async |ring| schedule::plan(ring, &scan, most, Turn::Taken).await).await;
        let mut plan = plan.unwrap();
        assert_eq!(plan.complete, complete, "{in_flight} {most}");
        let queued = next(&database.store, &mut plan, 20_000).await.unwrap();
        assert_eq!(queued.len(), length, "{in_flight} {most}");
    }
}
