//! Submissions with two committed state changes each, over 1, 10 and 50 sessions, beside `smtp-source`, which keeps no
//! state, into the same sink.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Instant;

use model::id::MailboxId;
use model::message::NamedAddress;
use model::workload::Workload;
use store::outgoing::{self, Draft};
use tokio::process::Command;

use super::figure::{Line, Target};
use super::house::{House, Place, body, by};
use super::sink::Sink;
use super::{Measured, Trouble, rate};

/// Sessions, and messages over each of them: enough that connecting and signing in are a small part of the rate.
const RUNS: [(usize, usize); 3] = [(1, 2000), (10, 1000), (50, 200)];

pub(super) async fn measure() -> Measured {
    let sink = Sink::start().await?;
    let house = Arc::new(House::build(&Place::private(9, sink.tls, &sink.ca)).await?);
    let mut lines = Vec::new();
    let mut sent = 0;
    for (sessions, messages) in RUNS {
        let all = sessions * messages;
        let peer = smtp_source(&sink, sessions, all).await?;

        for session in 0..sessions {
            let mailbox = house.mailbox(&format!("writer{session}.{sessions}@bench.example")).await?;
            pending(&house, mailbox, messages).await?;
        }
        let begun = Instant::now();
        let driven = house.drive(Workload::Outgoing).await?;
        let ours = rate(all, begun);
        sent += all;
        house.expect(&[("emails where state = 'sent'", sent), ("emails", sent)]).await?;
        let taken = sink.take();
        let twice = taken.ids.values().filter(|count| **count > 1).count();
        if taken.messages != all || taken.ids.len() != all || twice > 0 || driven.items as usize != all {
            let messages = taken.messages;
            return Err(
                format!("{all} pending, {driven:?}, {messages} received, {twice} more than once").into()
            );
        }
        let words = if sessions == 1 { "session" } else { "sessions" };
        let line = Line::new(format!("SMTP submissions of 10 kB, {sessions} {words}"), ours, "messages/s");
        lines.push(line.beside("smtp-source -d, no state", peer).reaching(Target::Ratio(0.2)));
        let reused = Line::new(
            format!("– of which over a reused connection, {sessions} {words}"),
            percent(all - taken.connections, all),
            "%",
        );
        lines.push(reused);
    }
    Ok(lines)
}

/// Drafts that were asked to be sent.
async fn pending(house: &House, from: MailboxId, messages: usize) -> Result<(), Trouble> {
    let tenant = house.tenant().await?;
    for number in 0..messages {
        let draft = Draft {
            from: Some(from),
            to: vec![NamedAddress {
                name: None,
                address: format!("reader{number}@elsewhere.example").parse()?,
            }],
            subject: format!("Message {number}"),
            text: Some(body(number, "\n")),
            ..Draft::default()
        };
        let email = outgoing::create(&tenant, &draft, &[], None, &by()).await?;
        outgoing::request_send(&tenant, email, None, outgoing::Request::default(), &by()).await?;
    }
    Ok(tenant.commit().await?)
}

async fn smtp_source(sink: &Sink, sessions: usize, messages: usize) -> Result<f64, Trouble> {
    // A handful of messages are over before the clock can say anything.
    let messages = messages.max(5_000);
    let begun = Instant::now();
    let ended = Command::new("/usr/sbin/smtp-source")
        .args(["-d", "-s", &sessions.to_string(), "-m", &messages.to_string(), "-l", "10240"])
        .args(["-f", "writer@bench.example", "-t", "reader@elsewhere.example"])
        .arg(format!("inet:127.0.0.1:{}", sink.plain))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("smtp-source cannot be run: {error}"))?;
    let rate = rate(messages, begun);
    let taken = sink.take().messages;
    if !ended.status.success() || taken != messages {
        let words = String::from_utf8_lossy(&ended.stderr).into_owned();
        return Err(format!("smtp-source ended with {} after {taken} messages: {words}", ended.status).into());
    }
    Ok(rate)
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole as f64
}
