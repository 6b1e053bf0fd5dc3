//! The change feed: nothing is skipped, whenever it commits, and whoever follows is told what they cannot have.

use std::collections::HashMap;
use std::time::Duration;

use model::id::{OrganizationId, UserId};
use serde_json::json;
use store::change::{self, ChangeReader, Cursor, Feed, FeedFilter};
use store::testing::{TestDatabase, pass};
use store::{Error, Refusal, Result, Store, Tenant, setting};
use tokio::time::{sleep, timeout};

use crate::support::database;
use crate::world::{author, world};

struct Log {
    database: TestDatabase,
    store: Store,
    organization: OrganizationId,
}

async fn log() -> Log {
    let database = database().await;
    let store = database.store.clone();
    // Its log is empty: nobody made it but the owner of the database.
    let organization = database.organization("Analytical Engines").await.unwrap();
    Log { database, store, organization }
}

/// A change without anything around it.
async fn write(tenant: &Tenant, note: &str) {
    let by = author();
    let fields = change::Fields::new().set("note", note);
    let change =
        change::Change { record_type: "contact", id: model::clock::new_id(), version: 1, by: &by, fields };
    change::write(tenant, change).await.unwrap();
}

const EVERYTHING: FeedFilter<'static> = FeedFilter { reader: ChangeReader::Everything, record_type: None };

impl Log {
    async fn tenant(&self) -> Tenant {
        self.store.tenant(self.organization).await.unwrap()
    }

    async fn wrote(&self, note: &str) {
        let tenant = self.tenant().await;
        write(&tenant, note).await;
        tenant.commit().await.unwrap();
    }

    async fn read(&self, place: Option<Cursor>) -> Result<Feed> {
        change::after(&self.tenant().await, EVERYTHING, place, 100).await
    }

    /// What comes after a place until there are `count`, over as many looks as it takes: a neighbour's transaction on this
    /// server delays the feed.
    async fn notes(&self, mut place: Option<Cursor>, count: usize) -> (Vec<String>, Cursor) {
        let mut notes = Vec::new();
        let reading = async {
            loop {
                let feed = self.read(place).await.unwrap();
                notes.extend(feed.entries.iter().map(|(_, entry)| note(entry)));
                place = Some(feed.next);
                if notes.len() >= count {
                    return feed.next;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        let next = timeout(Duration::from_secs(60), reading).await.unwrap();
        (notes, next)
    }
}

fn note(entry: &change::Entry) -> String {
    entry.fields["note"]["new"].as_str().unwrap_or_default().to_owned()
}

fn refusal<T>(result: Result<T>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        Err(other) => panic!("failed instead of being refused: {other}"),
        Ok(_) => panic!("was not refused"),
    }
}

#[tokio::test]
async fn what_takes_its_sequence_first_and_commits_last_is_not_skipped() {
    let log = log().await;
    log.wrote("before").await;
    let (_, place) = log.notes(None, 1).await;
    let late = log.tenant().await;
    write(&late, "first").await;
    log.wrote("second").await;

    let feed = log.read(Some(place)).await.unwrap();
    assert!(feed.entries.is_empty(), "nothing is offered while an older transaction is open");
    assert_eq!(feed.next, place);
    assert_eq!(feed.held_back.unwrap().changes, 1, "and how much waits is said");
    // A person who looks at the record sees it at once.
    let tenant = log.tenant().await;
    let row = log.database.owner().await.unwrap();
    let second =
        row.query_one("select record_id from changes order by sequence desc limit 1", &[]).await.unwrap();
    let history =
        change::history(&tenant, ChangeReader::Everything, (None, second.get(0)), None, 0, 10).await.unwrap();
    assert_eq!(history.len(), 1);
    drop(tenant);

    late.commit().await.unwrap();
    let (notes, next) = log.notes(Some(place), 2).await;
    assert_eq!(notes, ["first", "second"]);
    let feed = log.read(Some(next)).await.unwrap();
    assert!(feed.entries.is_empty() && !feed.more && feed.held_back.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_writers_and_a_follower_count_every_row_exactly_once() {
    const EACH: usize = 60;
    let log = log().await;
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (store, organization) = (log.store.clone(), log.organization);
            tokio::spawn(async move {
                for number in 0..EACH {
                    let tenant = store.tenant(organization).await.unwrap();
                    write(&tenant, &format!("{writer}-{number}a")).await;
                    // Long and short transactions, so that they end in another order than they began.
                    sleep(Duration::from_micros(((writer * 7 + number * 13) % 11 * 300) as u64)).await;
                    write(&tenant, &format!("{writer}-{number}b")).await;
                    if number % 10 == 9 {
                        drop(tenant);
                    } else {
                        tenant.commit().await.unwrap();
                    }
                }
            })
        })
        .collect();
    let wanted = 8 * 2 * (EACH - EACH / 10);
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut place = None;
    let following = async {
        let mut last: HashMap<String, usize> = HashMap::new();
        while seen.len() < wanted {
            // Small pages, so that a page ends in the middle of a transaction.
            let tenant = log.tenant().await;
            let feed = change::after(&tenant, EVERYTHING, place, 7).await.unwrap();
            drop(tenant);
            for (_, entry) in &feed.entries {
                let note = note(entry);
                let (writer, number) = note.split_once('-').unwrap();
                let number: usize = number.trim_end_matches(['a', 'b']).parse().unwrap();
                let before = last.insert(writer.to_owned(), number);
                assert!(before.is_none_or(|before| before <= number), "one writer's changes come in order");
                *seen.entry(note).or_default() += 1;
            }
            place = Some(feed.next);
        }
    };
    timeout(Duration::from_secs(120), following).await.unwrap();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(seen.len(), wanted);
    assert!(seen.values().all(|times| *times == 1), "and none twice");
    assert!(log.read(place).await.unwrap().entries.is_empty());
}

#[tokio::test]
async fn an_open_transaction_delays_the_feed_and_one_that_only_reads_does_not() {
    let log = log().await;
    // What a dump does: a snapshot that stays, and nothing written.
    let dump = log.database.owner().await.unwrap();
    dump.batch_execute("begin isolation level repeatable read read only; select count(*) from changes")
        .await
        .unwrap();
    log.wrote("while a dump runs").await;
    let (_, place) = log.notes(None, 1).await;
    dump.batch_execute("commit").await.unwrap();

    // A neighbour's transaction, in another database of the same server, that wrote something and then does nothing.
    let neighbour = database().await.owner().await.unwrap();
    neighbour.batch_execute("begin; create table nothing ()").await.unwrap();
    for number in 0..5 {
        log.wrote(&number.to_string()).await;
    }
    let feed = log.read(Some(place)).await.unwrap();
    assert_eq!((feed.entries.len(), feed.held_back.unwrap().changes), (0, 5));
    pass(&log.database, Duration::from_secs(600)).await.unwrap();
    let since = log.read(Some(place)).await.unwrap().held_back.unwrap().since;
    assert!(model::clock::now().duration_since(since).as_secs() >= 600, "how late it is can be told");
    neighbour.batch_execute("rollback").await.unwrap();
    assert_eq!(log.notes(Some(place), 5).await.0, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
async fn a_follower_who_was_away_for_too_long_is_told_and_begins_anew() {
    let log = log().await;
    log.wrote("old").await;
    let (_, old) = log.notes(None, 1).await;
    log.wrote("older than is kept").await;
    let (_, newest) = log.notes(Some(old), 1).await;
    let tenant = log.tenant().await;
    setting::set(&tenant, "changes_kept_days", None, Some(&json!(10)), &author()).await.unwrap();
    tenant.commit().await.unwrap();
    let forget = async || {
        let organization = log.organization;
        log.store.in_ring(async |ring| change::forget(ring, organization, 10, 2).await).await.unwrap()
    };
    assert_eq!(forget().await, 0, "nothing is too old");
    pass(&log.database, Duration::from_secs(11 * 86_400)).await.unwrap();
    log.wrote("new").await;
    let mut forgotten = 0;
    let all = async {
        while forgotten < 3 {
            forgotten += forget().await;
        }
    };
    timeout(Duration::from_secs(60), all).await.unwrap();
    assert_eq!(forget().await, 0, "what is kept stays");
    assert_eq!(refusal(log.read(Some(old)).await), Refusal::ChangesForgotten { days: 10 });
    assert!(matches!(refusal(log.read(Some(newest)).await), Refusal::ChangesForgotten { .. }));
    assert_eq!(log.notes(None, 1).await.0, ["new"], "without a place, from the oldest that is kept");
    let head = change::head(&log.tenant().await).await.unwrap();
    log.wrote("newer").await;
    let (notes, _) = log.notes(Some(head), 1).await;
    assert_eq!(notes.last().unwrap(), "newer");
}

#[tokio::test]
async fn a_tenant_cannot_shorten_or_rewrite_the_log() {
    use secrecy::ExposeSecret as _;
    let log = log().await;
    log.wrote("this stays").await;
    let (client, connection) =
        tokio_postgres::connect(log.database.url.expose_secret(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    for statement in [
        "delete from changes",
        "update changes set cause = 'nobody'",
        "select forget_changes(0, 100)",
        "select forget_changes(current_organization(), 0, 100)",
        "delete from tombstones",
        "delete from change_horizons",
    ] {
        let tenant = format!(
            "begin; set local role lockstep_tenant; set local lockstep.organization = '{}'; {statement}",
            log.organization.0
        );
        let refused = client.batch_execute(&tenant).await.unwrap_err();
        assert_eq!(
            refused.code(),
            Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE),
            "{statement}"
        );
        client.batch_execute("rollback").await.unwrap();
    }
}

#[tokio::test]
async fn a_restored_database_says_so_until_its_feed_is_put_in_order() {
    let log = log().await;
    for note in ["a", "b", "c"] {
        log.wrote(note).await;
    }
    let (_, place) = log.notes(None, 3).await;
    // As another server's transactions would have left them.
    let owner = log.database.owner().await.unwrap();
    owner
        .batch_execute(
            "update changes set transaction_id = (transaction_id::text::bigint + 4000000000)::text::xid8",
        )
        .await
        .unwrap();
    assert_eq!(refusal(log.read(Some(place)).await), Refusal::FeedNotMended);
    log.wrote("d").await;
    let migration = store::migrate::Migration {
        owner_url: log.database.owner_url.clone(),
        application_url: log.database.url.clone(),
        ca_file: String::new(),
        installation: log.database.installation,
    };
    for _ in 0..2 {
        store::migrate::run(&migration).await.unwrap();
        assert_eq!(refusal(log.read(Some(place)).await), Refusal::FeedRestarted);
        assert_eq!(log.notes(None, 4).await.0, ["a", "b", "c", "d"]);
    }
    log.wrote("e").await;
    assert_eq!(log.notes(None, 5).await.0[4], "e", "and it goes on");
}

#[tokio::test]
async fn a_person_follows_what_they_may_see_and_names_stand_beside_ids() {
    let world = world().await;
    let tenant = world.tenant().await;
    let feed = async |reader: ChangeReader, record_type: Option<&'static str>| {
        let tenant = world.tenant().await;
        let reading = async {
            let mut place = None;
            let mut entries = Vec::new();
            loop {
                let feed =
                    change::after(&tenant, FeedFilter { reader, record_type }, place, 5).await.unwrap();
                entries.extend(feed.entries.into_iter().map(|(_, entry)| entry));
                place = Some(feed.next);
                if !feed.more && feed.held_back.is_none() {
                    return entries;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(60), reading).await.unwrap()
    };
    drop(tenant);
    let all = feed(ChangeReader::Everything, None).await;
    let kinds = |entries: &[change::Entry]| {
        let mut kinds: Vec<_> = entries.iter().map(|entry| entry.record_type.clone()).collect();
        kinds.sort();
        kinds.dedup();
        kinds
    };
    assert_eq!(kinds(&all), ["mailbox", "profile", "queue", "schedule", "user"]);
    let boxes = feed(ChangeReader::Everything, Some("mailbox")).await;
    assert_eq!(kinds(&boxes), ["mailbox"]);
    let reader = |user: UserId| ChangeReader::User(user);
    let adas = feed(reader(world.ada), None).await;
    let mut names: Vec<_> = adas
        .iter()
        .map(|entry| format!("{} {}", entry.record_type, entry.record_name.as_deref().unwrap_or("?")))
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names, ["mailbox ada", "mailbox support", "queue support", "user ada"]);
    let bobs = feed(reader(world.bob), Some("mailbox")).await;
    assert!(!bobs.is_empty() && bobs.iter().all(|entry| entry.record_id == world.bob_box.0));
}
