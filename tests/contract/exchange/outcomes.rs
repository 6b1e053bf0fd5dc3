//! Every fault of the simulated server at every request of a cycle, with its outcome named: `docs/exchange-faults.md` is the
//! table, held against what happens. Whatever the fault, nothing is lost or doubled once it has passed.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use ::exchange::{Fault, Rule};
use cycle::{Config, Ending};
use futures_util::future::join_all;
use model::cadence::Outcome;
use model::email::EmailState;
use model::workload::Workload;
use store::outgoing::Draft;

use super::ExchangeEws;
use super::testing::tested_by;
use crate::house::{House, Person, config, message, taking, to};
use crate::provider::Provider as _;

type Here = House<ExchangeEws>;

/// Each fault under the name that the table has for it.
fn faults() -> Vec<(&'static str, Fault)> {
    let five = Some(Duration::from_secs(5));
    vec![
        ("a slow answer", Fault::Slow(Duration::from_millis(100))),
        ("no answer in time", Fault::Slow(Duration::from_secs(60))),
        ("the connection ends before the request is read", Fault::DropBefore),
        ("the connection ends in the middle of the answer", Fault::DropMidway),
        ("the request is carried out, and no answer comes", Fault::DropAfter),
        ("503 with Retry-After", Fault::Status(503, Some(5))),
        ("429 with Retry-After", Fault::Status(429, Some(5))),
        ("500", Fault::Status(500, None)),
        ("ErrorServerBusy for the request", Fault::Busy(five)),
        ("ErrorServerBusy for the item", Fault::BusyMessage(five)),
        ("ErrorExceededConnectionCount", Fault::Refused("ErrorExceededConnectionCount".to_owned())),
        ("ErrorMailboxStoreUnavailable", Fault::RefusedMessage("ErrorMailboxStoreUnavailable".to_owned())),
        (
            "ErrorInternalServerError for the item",
            Fault::RefusedMessage("ErrorInternalServerError".to_owned()),
        ),
        ("401 whatever is said", Fault::Unauthorized),
        ("the sync state is forgotten", Fault::SyncStateInvalid),
        ("each change twice", Fault::DuplicatedChanges),
        ("an answer that ends in the middle of an element", Fault::Truncated),
        ("a bomb of entities", Fault::EntityBomb),
        ("an external entity", Fault::ExternalEntity),
        ("an answer without an end", Fault::EndlessChunks),
        ("a length of two gigabytes", Fault::FalseLength(2_000_000_000)),
        ("a web page", Fault::WebPage),
    ]
}

/// Faults that only make sense at one operation.
fn is_possible(fault: &Fault, operation: &str) -> bool {
    let of_changes = matches!(fault, Fault::SyncStateInvalid | Fault::DuplicatedChanges);
    !of_changes || operation == "SyncFolderItems"
}

/// What a cycle came to, in the words of its state.
fn told(ending: &Ending) -> String {
    match &ending.outcome {
        Outcome::Done { items, cut_off: false } => format!("done, {items}"),
        Outcome::Done { items, cut_off: true } => format!("done, {items}, more to do"),
        Outcome::Snooze { reason, .. } => format!("put off: {reason}"),
        Outcome::Failed(failure) => format!("failed: {}, `{}`", failure.scope, failure.alert),
    }
}

/// The server is well again, and whatever is held back is due.
async fn passed(house: &Here) {
    house.provider.server().heal();
    house.later().await;
}

/// A fault, the operation that it met, and what became of it.
type Row = (&'static str, &'static str, String);

async fn reading(operation: &'static str) -> Vec<Row> {
    let house = Here::with(Config { phase_seconds: 2, ..config() }, |_| {}).await;
    let anna = house.person("anna").await;
    let mut rows = Vec::new();
    let mut number = 0;
    for (name, fault) in faults() {
        if !is_possible(&fault, operation) {
            continue;
        }
        // A state that can be forgotten: something was read before.
        house.provider.deliver(&anna.address, &message(number, &anna.address));
        house.provider.server().fault(Rule::new(fault).on(operation));
        let (ending, _) = house.cycle(&anna, Workload::Incoming).await;
        let recorded = house.count("emails").await - i64::try_from(number).unwrap();
        let row = format!("{}; {}", told(&ending), if recorded == 1 { "recorded" } else { "not recorded" });
        rows.push((name, operation, row));
        number += 1;
        passed(&house).await;
        house.cycle(&anna, Workload::Incoming).await;
        let all = i64::try_from(number).unwrap();
        for what in ["emails", "receipts", "mailbox_items where decision = 'recorded'"] {
            assert_eq!(house.count(what).await, all, "{what}, {name} at {operation}");
        }
        passed(&house).await;
    }
    house.assert_recovered().await;
    rows
}

async fn sending(operation: &'static str) -> Vec<Row> {
    let house = Here::with(Config { phase_seconds: 2, ..config() }, |_| {}).await;
    let people = house.people(2).await;
    let mut rows = Vec::new();
    let mut copies = 0;
    for (name, fault) in faults() {
        if !is_possible(&fault, operation) {
            continue;
        }
        let draft = Draft { to: to(&people[1].address), ..Draft::default() };
        let email = house.ask(&people[0], draft).await;
        house.provider.server().fault(Rule::new(fault).on(operation));
        let (ending, _) = house.cycle(&people[0], Workload::Outgoing).await;
        let then = house.state(email).await;
        passed(&house).await;
        house.cycle(&people[0], Workload::Outgoing).await;
        passed(&house).await;
        let last = house.state(email).await;
        let drafts = house.provider.server().folder(&people[0].address, "drafts");
        let mut row = format!("{}; {then}", told(&ending));
        if then != last {
            let _ = write!(row, ", later {last}");
        }
        if !drafts.is_empty() {
            row.push_str(", a draft stays behind");
        }
        for draft in &drafts {
            house.provider.server().remove(&draft.id);
        }
        rows.push((name, operation, row));
        let handed = house.handed_over_to(&people[1].address) - copies;
        copies += handed;
        match last {
            EmailState::Sent => assert_eq!(handed, 1, "{name} at {operation}"),
            EmailState::Failed => assert_eq!(handed, 0, "{name} at {operation}"),
            other => panic!("{name} at {operation}: it stays {other}"),
        }
    }
    house.assert_recovered().await;
    rows
}

async fn testing(operation: &'static str) -> Vec<Row> {
    let house = Here::with(Config { phase_seconds: 2, ..config() }, |_| {}).await;
    let mut rows = Vec::new();
    for (place, (name, fault)) in faults().into_iter().enumerate() {
        if !is_possible(&fault, operation) {
            continue;
        }
        // A mailbox of its own each time: the mark is written once.
        let person: Person = house.person(&format!("person{place}")).await;
        let server = house.provider.server();
        server.fault(Rule::new(fault).on(operation));
        let found = tested_by(&house, &person, Workload::Incoming, taking()).await;
        let row = match &found.failed {
            None => "passed".to_owned(),
            Some(failed) => format!("failed: `{}`", failed.failure.alert),
        };
        rows.push((name, operation, row));
        server.heal();
        let again = tested_by(&house, &person, Workload::Incoming, taking()).await;
        assert!(again.failed.is_none(), "{name} at {operation}: {:?}", again.steps);
    }
    rows
}

/// A column for each operation, a row for each fault.
fn written(title: &str, about: &str, rows: &[Row]) -> String {
    let mut operations: Vec<&str> = Vec::new();
    for (_, operation, _) in rows {
        if !operations.contains(operation) {
            operations.push(operation);
        }
    }
    let mut text = format!("\n## {title}\n\n{about}\n\n| fault | {} |\n", operations.join(" | "));
    let _ = writeln!(text, "| --- |{}", " --- |".repeat(operations.len()));
    for (name, _) in faults() {
        let cells = operations.iter().map(|operation| {
            let row = rows.iter().find(|(fault, at, _)| *fault == name && at == operation);
            row.map_or("–", |(_, _, outcome)| outcome.as_str())
        });
        let _ = writeln!(text, "| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
    text
}

/// Run with `LOCKSTEP_BLESS=1` to write it anew, and read what changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_at_every_request_has_the_outcome_that_the_table_names() {
    let read = ["SyncFolderItems", "GetItem"].map(reading);
    let sent = ["GetFolder", "CreateItem", "SendItem", "FindItem"].map(sending);
    let tested = ["GetFolder", "ResolveNames", "SyncFolderItems", "UpdateFolder"].map(testing);
    let (read, sent, tested) = tokio::join!(join_all(read), join_all(sent), join_all(tested));
    let (read, sent, tested) = (read.concat(), sent.concat(), tested.concat());
    let mut text = "# What becomes of a cycle when an Exchange server misbehaves\n\n\
        Each cell is a test (`tests/contract/exchange/outcomes.rs`): the fault meets every request of that operation, a cycle \
        runs, and this is how it ends, with the scope and the kind of alert of a failure. Then the fault passes, and in every \
        cell what was to come in is recorded exactly once and what was to leave has left exactly once.\n"
        .to_owned();
    text += &written("Incoming", "One new message; whether it is recorded while the fault is there.", &read);
    text += &written(
        "Outgoing",
        "One message that is asked to be sent; its state after the cycle, and once the fault has passed.",
        &sent,
    );
    text += &written("Test and enable", "A mailbox that was not marked yet.", &tested);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/exchange-faults.md");
    if std::env::var_os("LOCKSTEP_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_same(&found, &text);
}

/// Names the lines that differ, not the whole page.
fn assert_same(found: &str, expected: &str) {
    let differing: Vec<(&str, &str)> =
        found.lines().zip(expected.lines()).filter(|(found, expected)| found != expected).collect();
    assert!(
        found == expected,
        "docs/exchange-faults.md says otherwise: run `LOCKSTEP_BLESS=1 cargo test -p lockstep-tests --test contract \
         outcomes` and read what changed: {differing:#?}"
    );
}
