//! Whether everything came true: what Lockstep recorded is held against the files on the mail server and against what the
//! corpus says a faithful reader finds. It never asks Lockstep whether Lockstep is right without looking elsewhere too.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use sha2::{Digest as _, Sha256};
use tokio_postgres::Client;
use uuid::Uuid;

use super::corpus::{Corpus, Sample};
use super::letter::{self, BEN, CLARA, Letter, RECIPIENTS};
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
    fn equal<T: PartialEq + Debug>(&mut self, what: &str, expected: &T, found: &T) {
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

    contents(office, corpus, letter, sql, checks).await?;
    raw_messages(stage, office, sql, checks).await?;
    follow_letter(stage, office, letter, checks).await?;
    follow_round(office, round, sql, checks).await?;
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

/// Subjects as the API shows them, first lines and threads as they are stored, for every message with a Message-ID.
async fn contents(
    office: &Office,
    corpus: &Corpus,
    letter: &Letter,
    sql: &Client,
    checks: &mut Checks,
) -> Result<(), String> {
    let shown = office.admin.list("/emails?direction=incoming").await;
    let shown: BTreeMap<String, String> = shown
        .iter()
        .filter_map(|email| Some((email["message_id"].as_str()?.to_owned(), text(&email["subject"]))))
        .collect();
    let rows = sql
        .query(
            "select e.message_id, e.in_reply_to, c.text_body from emails e
             join email_copies c on c.email_id = e.id where e.direction = 'incoming' and e.message_id is not null",
            &[],
        )
        .await
        .map_err(|error| error.to_string())?;
    let stored: BTreeMap<String, (Option<String>, Option<String>)> =
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    for sample in &corpus.samples {
        let (Some(id), Some(subject)) = (&sample.message_id, &sample.subject) else { continue };
        let what = format!("the {} message “{subject}”", sample.charset);
        checks.equal(&format!("{what}: its subject"), &Some(subject), &shown.get(id));
        let (answers, body) = stored.get(id).cloned().unwrap_or_default();
        checks.equal(&format!("{what}: what it answers"), &sample.answers, &answers);
        if let Some(phrase) = &sample.phrase {
            let first = body.as_deref().and_then(|body| body.lines().next()).map(str::to_owned);
            checks.equal(&format!("{what}: its first line"), &Some(phrase.clone()), &first);
        }
    }
    let id = text(&letter.sent["sending"]["message_id"]);
    checks.equal(
        "the subject of the email that was sent",
        &Some(&letter.subject.to_owned()),
        &shown.get(&id),
    );
    Ok(())
}

/// Every raw message that is kept is, byte for byte, one that lies on the server.
async fn raw_messages(
    stage: &Stage<'_>,
    office: &Office,
    sql: &Client,
    checks: &mut Checks,
) -> Result<(), String> {
    let mut on_server = BTreeSet::new();
    for mailbox in &office.mailboxes {
        for raw in stage.servers.mail.messages(&mailbox.address) {
            // POP3 ends every line with CRLF (RFC 1939 section 3), whatever the file does.
            let lines: Vec<&[u8]> = raw
                .split(|byte| *byte == b'\n')
                .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
                .collect();
            on_server.insert(Sha256::digest(lines.join(b"\r\n".as_slice())).to_vec());
        }
    }
    let rows = sql
        .query(
            "select c.raw_sha256 from email_copies c join emails e on e.id = c.email_id where e.direction = 'incoming'",
            &[],
        )
        .await
        .map_err(|error| error.to_string())?;
    let altered = rows.iter().filter(|row| !on_server.contains(&row.get::<_, Vec<u8>>(0))).count();
    checks.equal("raw messages that differ from the server's", &0, &altered);
    Ok(())
}

/// The email that was sent: its states, its recipients, what they can see, and what arrived.
async fn follow_letter(
    stage: &Stage<'_>,
    office: &Office,
    letter: &Letter,
    checks: &mut Checks,
) -> Result<(), String> {
    let states: Vec<&str> = letter.states.iter().map(|(state, _)| state.as_str()).collect();
    checks.equal("the states of the email that was sent", &letter::expected_states(), &states);
    let sending = &letter.sent["sending"];
    let accepted = sending["recipients"].as_array().into_iter().flatten();
    let accepted = accepted.filter(|recipient| recipient["state"] == "accepted").count();
    checks.equal("recipients that the server accepted", &RECIPIENTS.len(), &accepted);

    let message_id = text(&sending["message_id"]);
    let hidden = &office.mailboxes[CLARA].address;
    for place in RECIPIENTS {
        let address = &office.mailboxes[place].address;
        let copies = letter::copies(&stage.servers.mail, address, &message_id);
        checks.equal(&format!("copies of the sent email in {address}"), &1, &copies.len());
        for copy in copies {
            let bcc = letter::header(&copy).lines().any(|line| line.to_lowercase().starts_with("bcc:"));
            checks.equal(&format!("a Bcc header in the copy of {address}"), &false, &bcc);
            if place != CLARA {
                checks.equal(
                    &format!("{hidden} to be seen by {address}"),
                    &false,
                    &copy.contains(hidden.as_str()),
                );
            }
        }
    }
    checks.equal("received records of the sent email", &1, &letter.received.len());
    let Some(received) = letter.received.first() else { return Ok(()) };
    let receipts: BTreeSet<String> = received["receipts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|receipt| text(&receipt["mailbox"]))
        .collect();
    let expected = RECIPIENTS.iter().map(|place| office.mailboxes[*place].id.clone()).collect();
    checks.equal("mailboxes with a receipt of the sent email", &expected, &receipts);
    let parties = received["parties"].as_array().into_iter().flatten();
    let seen = parties.filter(|party| party["role"] == "bcc" || text(&party["address"]) == *hidden).count();
    checks.equal("hidden recipients in the received record", &0, &seen);

    let ben = letter::own_key(office, BEN).await;
    let path = format!("/emails/{}", text(&received["id"]));
    let body = ben.get(&format!("{path}/body")).await;
    let files: Vec<String> =
        body["attachments"].as_array().into_iter().flatten().map(|file| text(&file["name"])).collect();
    checks.equal("the files that Ben sees", &vec![letter.file_name.clone()], &files);
    let file = ben.download(&format!("{path}/attachments/{}", text(&body["attachments"][0]["id"]))).await;
    checks.equal(
        "bytes of the file that Ben opens are those that Anna attached",
        &true,
        &(file == letter.file),
    );
    Ok(())
}

/// Every email of the round was sent in one attempt and got by the one it was for, once.
async fn follow_round(
    office: &Office,
    round: &Round,
    sql: &Client,
    checks: &mut Checks,
) -> Result<(), String> {
    checks.equal("different Message-IDs of the round", &(PAIRS.len() * EACH), &round.emails.len());
    let rows = sql
        .query(
            "select s.message_id, count(distinct a.id), count(distinct e.id), count(distinct (r.copy_id, r.mailbox_id)),
                    min(r.mailbox_id::text)
             from send_requests s join send_attempts a on a.send_request_id = s.id
             left join emails e on e.message_id = s.message_id and e.direction = 'incoming'
             left join receipts r on r.email_id = e.id
             where s.message_id = any($1) group by 1",
            &[&round.emails.keys().collect::<Vec<_>>()],
        )
        .await
        .map_err(|error| error.to_string())?;
    let found: BTreeMap<String, (i64, i64, i64, Option<String>)> =
        rows.iter().map(|row| (row.get(0), (row.get(1), row.get(2), row.get(3), row.get(4)))).collect();
    for (id, to) in &round.emails {
        let expected = (1, 1, 1, Some(office.mailboxes[*to].id.clone()));
        let what = "an email of the round: attempts, received records, receipts and whose";
        checks.equal(what, &Some(&expected), &found.get(id));
    }
    let other =
        "select count(*) from emails where direction = 'outgoing' and (state <> 'sent' or maybe_duplicate)";
    checks.equal("outgoing emails in another state than Sent", &0, &number(sql, other, &[]).await?);
    Ok(())
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
