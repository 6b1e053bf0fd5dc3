//! Whether what was sent left once, arrived once, and showed nobody what was hidden.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::{Checks, number, text};
use crate::demo::letter::{self as followed, BEN, CLARA, Letter, RECIPIENTS};
use crate::demo::office::Office;
use crate::demo::round::{EACH, PAIRS, Round};
use crate::demo::stage::Stage;

/// The email that was sent: its states, its recipients, what they can see, and what arrived.
pub(super) async fn letter(
    stage: &Stage<'_>,
    office: &Office,
    letter: &Letter,
    checks: &mut Checks,
) -> Result<(), String> {
    let states: Vec<&str> = letter.states.iter().map(|(state, _)| state.as_str()).collect();
    checks.equal("the states of the email that was sent", &followed::expected_states(), &states);
    let sending = &letter.sent["sending"];
    let accepted = sending["recipients"].as_array().into_iter().flatten();
    let accepted = accepted.filter(|recipient| recipient["state"] == "accepted").count();
    checks.equal("recipients that the server accepted", &RECIPIENTS.len(), &accepted);

    let message_id = text(&sending["message_id"]);
    let hidden = &office.mailboxes[CLARA].address;
    for place in RECIPIENTS {
        let address = &office.mailboxes[place].address;
        let copies = followed::copies(&stage.servers.mail, address, &message_id);
        checks.equal(&format!("copies of the sent email in {address}"), &1, &copies.len());
        for copy in copies {
            let bcc = followed::header(&copy).lines().any(|line| line.to_lowercase().starts_with("bcc:"));
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

    let ben = followed::own_key(office, BEN).await;
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
pub(super) async fn round(
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
