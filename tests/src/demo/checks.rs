//! Whether everything came true: what Lockstep recorded is held against the files on the mail server and against what the
//! corpus says a faithful reader finds. It never asks Lockstep whether Lockstep is right without looking elsewhere too.

mod contents;
mod sent;

use std::fmt::Debug;

use tokio_postgres::Client;
use uuid::Uuid;

use super::corpus::{Corpus, Sample};
use super::letter::{Letter, RECIPIENTS};
use super::office::{Mailbox, Office};
use super::round::{EACH, PAIRS, Round};
use super::stage::Stage;

/// What is counted of a mailbox.
pub(super) const COLUMNS: [&str; 7] =
    ["on server", "decided", "records", "receipts", "files", "duplicates", "unparsable"];

/// The counts of a mailbox.
pub(super) type Figures = [i64; COLUMNS.len()];

/// What was compared, and what did not agree.
#[derive(Default)]
pub(super) struct Checks {
    pub(super) passed: usize,
    pub(super) mismatches: Vec<String>,
}

impl Checks {
    pub(super) fn equal<T: PartialEq + Debug>(&mut self, what: &str, expected: &T, found: &T) {
        if expected == found {
            self.passed += 1;
        } else {
            self.mismatches.push(format!("{what}: expected {expected:?}, found {found:?}"));
        }
    }
}

/// Checks everything, and gives the counts of each mailbox and the number of different emails that came in.
pub(super) async fn all(
    stage: &mut Stage<'_>,
    office: &Office,
    corpus: &Corpus,
    (letter, round): (&Letter, &Round),
    sql: &Client,
    checks: &mut Checks,
) -> Result<(Vec<Figures>, i64), String> {
    let mut figures = Vec::new();
    for (place, mailbox) in office.mailboxes.iter().enumerate() {
        let found = figures_of(stage, mailbox, sql).await?;
        let expected = expected_figures(corpus, place);
        for (column, (expected, found)) in COLUMNS.iter().zip(expected.iter().zip(&found)) {
            checks.equal(&format!("{}: {column}", mailbox.address), expected, found);
        }
        figures.push(found);
    }
    let other = "select count(*) from mailbox_items where decision not in ('recorded', 'duplicate')";
    checks.equal("messages that were not recorded", &0, &number(sql, other, &[]).await?);
    let records = number(sql, "select count(*) from emails where direction = 'incoming'", &[]).await?;
    checks.equal(
        "different emails received",
        &(count(corpus.samples.len()) + 1 + count(PAIRS.len() * EACH)),
        &records,
    );

    contents::read(office, corpus, letter, sql, checks).await?;
    contents::raw(stage, office, sql, checks).await?;
    sent::letter(stage, office, letter, checks).await?;
    sent::round(office, round, sql, checks).await?;
    let mut alerts: Vec<_> =
        office.admin.list("/alerts").await.iter().map(|alert| text(&alert["kind"])).collect();
    alerts.sort();
    let unparsable = corpus.samples.iter().filter(|sample| sample.unparsable).count();
    checks.equal("open alerts", &vec!["message_unparsable".to_owned(); unparsable], &alerts);
    for running in &mut stage.processes {
        let ended = running.process.has_ended().map(|status| status.to_string());
        checks.equal(&format!("the {} runs", running.name), &None, &ended);
    }
    Ok((figures, records))
}

async fn figures_of(stage: &Stage<'_>, mailbox: &Mailbox, sql: &Client) -> Result<Figures, String> {
    let id: Uuid = mailbox.id.parse().map_err(|_| "a mailbox without an id".to_owned())?;
    let mut figures = [count(stage.servers.mail.messages(&mailbox.address).len()), 0, 0, 0, 0, 0, 0];
    for (figure, statement) in figures[1..].iter_mut().zip([
        "select count(*) from mailbox_items where mailbox_id = $1",
        "select count(distinct email_id) from receipts where mailbox_id = $1",
        "select count(*) from receipts where mailbox_id = $1",
        "select count(*) from attachments a join receipts r on r.copy_id = a.copy_id where r.mailbox_id = $1",
        "select count(*) from mailbox_items where mailbox_id = $1 and decision = 'duplicate'",
        "select count(*) from emails e join receipts r on r.email_id = e.id
         where r.mailbox_id = $1 and 'unparsable' = any(e.warnings)",
    ]) {
        *figure = number(sql, statement, &[&id]).await?;
    }
    Ok(figures)
}

/// What the corpus and the letter make of a mailbox.
fn expected_figures(corpus: &Corpus, place: usize) -> Figures {
    let letter = i64::from(RECIPIENTS.contains(&place));
    let round = count(PAIRS.iter().filter(|(_, to)| *to == place).count() * EACH);
    let within: Vec<&Sample> =
        corpus.samples.iter().filter(|sample| sample.mailboxes.contains(&place)).collect();
    let messages = count(corpus.messages_of(place)) + letter + round;
    let distinct = count(within.len()) + letter + round;
    let files = count(within.iter().map(|sample| sample.attachments).sum()) + letter;
    let unparsable = count(within.iter().filter(|sample| sample.unparsable).count());
    [messages, messages, distinct, distinct, files, messages - distinct, unparsable]
}

async fn number(
    sql: &Client,
    statement: &str,
    parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<i64, String> {
    let row = sql.query_one(statement, parameters).await;
    row.map(|row| row.get(0)).map_err(|error| format!("{statement}: {error}"))
}

fn count(of: usize) -> i64 {
    i64::try_from(of).unwrap_or(i64::MAX)
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
