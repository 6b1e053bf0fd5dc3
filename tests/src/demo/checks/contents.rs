//! Whether each message was read as its writer meant it, and kept as it came.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};
use tokio_postgres::Client;

use super::{Checks, text};
use crate::demo::corpus::Corpus;
use crate::demo::letter::Letter;
use crate::demo::office::Office;
use crate::demo::stage::Stage;

/// Subjects as the API shows them, first lines and threads as they are stored, for every message with a Message-ID.
pub(super) async fn read(
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
            "select e.message_id, e.in_reply_to, copy_text(c) as text_body from emails e
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
pub(super) async fn raw(
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
