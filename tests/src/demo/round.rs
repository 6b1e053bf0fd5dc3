//! A round of emails between the three people, all asked for at once: how fast mail leaves, and whether each one arrives
//! exactly once.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::try_join_all;
use indicatif::ProgressBar;
use jiff::Timestamp;
use serde_json::json;
use tokio_postgres::Client;

use super::incoming::seconds;
use super::letter::{ANNA, BEN, CLARA, own_key};
use super::office::Office;
use super::screen::Screen;
use crate::within;

/// Who writes to whom.
pub(super) const PAIRS: [(usize, usize); 3] = [(ANNA, BEN), (BEN, CLARA), (CLARA, ANNA)];
/// How many emails each of them writes.
pub(super) const EACH: usize = 40;
const LIMIT: Duration = Duration::from_secs(60);

/// What became of the round.
pub(super) struct Round {
    /// From the first Send to the last acceptance, in seconds.
    pub(super) to_sent: f64,
    /// From the first Send until the last was recorded for its recipient, in seconds.
    pub(super) to_received: f64,
    /// Each Message-ID with the place of its recipient.
    pub(super) emails: BTreeMap<String, usize>,
}

/// Writes the drafts, asks for all of them to be sent, and follows them to their recipients' records.
pub(super) async fn go(office: &Office, sql: &Client, screen: &Screen) -> Result<Round, String> {
    let total = PAIRS.len() * EACH;
    let step = screen.step("Round", "writing drafts");
    let mut drafts = Vec::new();
    for (from, to) in PAIRS {
        let api = own_key(office, from).await;
        for number in 1..=EACH {
            let (sender, recipient) = (&office.mailboxes[from], &office.mailboxes[to]);
            let draft = json!({
                "from": sender.id,
                "to": [{"address": recipient.address, "name": recipient.name}],
                "subject": format!("Delivery note {number} of {EACH}"),
                "text": format!("Hello {},\n\ndelivery note {number} is signed.\n\n{}\n", recipient.name, sender.name),
            });
            drafts.push((api.clone(), to, api.post("/emails", &draft).await.id()));
        }
    }
    let asked = model::clock::now();
    let sends = drafts.iter().map(async |(api, to, id)| {
        let sent = api.post(&format!("/emails/{id}/send"), &json!({})).await.body;
        let message_id = sent["sending"]["message_id"].as_str().map(str::to_owned);
        message_id.map(|id| (id, *to)).ok_or_else(|| format!("no send request was made: {sent:#}"))
    });
    let emails: BTreeMap<String, usize> = try_join_all(sends).await?.into_iter().collect();
    let ids: Vec<String> = emails.keys().cloned().collect();

    let bar = screen.is_terminal().then(|| screen.bar("sent", total as u64));
    let sent_at = all(sql, "direction = 'outgoing' and state = 'sent'", &ids, bar.as_ref(), || {
        step.awaits("emails leave by SMTP");
    })
    .await
    .map_err(|seen| format!("{seen} of {total} emails were sent"))?;
    let bar = screen.is_terminal().then(|| screen.bar("received", total as u64));
    let received_at = all(sql, "direction = 'incoming'", &ids, bar.as_ref(), || {
        step.awaits("emails arrive at their recipients");
    });
    // As an impatient administrator would, until everything is there: SMTP servers deliver when they like.
    let wishes = async {
        loop {
            for (_, to) in PAIRS {
                office.sync(&office.mailboxes[to]).await;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let received_at = tokio::select! {
        received = received_at => received.map_err(|seen| format!("{seen} of {total} emails were received"))?,
        () = wishes => asked,
    };
    step.done(&format!("{total} emails between Anna, Ben and Clara, {EACH} from each"));
    Ok(Round { to_sent: seconds(asked, sent_at), to_received: seconds(asked, received_at), emails })
}

/// Waits until as many different emails with these Message-IDs are so; gives the moment of the last change, or how many
/// there were.
async fn all(
    sql: &Client,
    so: &str,
    ids: &[String],
    bar: Option<&ProgressBar>,
    look: impl Fn(),
) -> Result<Timestamp, String> {
    let statement = format!(
        "select count(distinct message_id), max(modified_at) from emails where message_id = any($1) and {so}"
    );
    let done = within(LIMIT, async || {
        look();
        let row = sql.query_one(&statement, &[&ids]).await.map_err(|error| error.to_string())?;
        let count = usize::try_from(row.get::<_, i64>(0)).unwrap_or(0);
        if let Some(bar) = bar {
            bar.set_position(count as u64);
        }
        if count == ids.len() { Ok(row.get::<_, Option<Timestamp>>(1)) } else { Err(count.to_string()) }
    })
    .await?;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    done.ok_or_else(|| "none".to_owned())
}
