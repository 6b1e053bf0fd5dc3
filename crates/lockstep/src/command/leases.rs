//! `lockstep leases`: the coordinators' ledger for whoever holds the configuration, and the word that frees a slot in doubt.

use std::time::Duration;

use serde_json::{Value, json};
use throttle::{class_from_wire, v1};
use uuid::Uuid;

use super::Failure;
use crate::cli::LeasesCommand;
use crate::config::Config;
use crate::table::{Look, Tone, cell, drawn, lasting, plain};

pub(super) async fn run(config: &Config, command: LeasesCommand) -> Result<(), Failure> {
    match command {
        LeasesCommand::List { key, json } => {
            let status =
                throttle::status(&config.throttle, &key).await.map_err(|error| unanswered(&error))?;
            if json {
                println!("{:#}", document(&status));
            } else {
                print!("{}", picture(Look::of_standard_output(), &status));
            }
            Ok(())
        }
        LeasesCommand::Free { lease } => {
            if throttle::free(&config.throttle, lease).await.map_err(|error| unanswered(&error))? {
                println!("The slot is free.");
                return Ok(());
            }
            Err(Failure::Said(format!(
                "nobody holds the lease {lease}\n  what to do: `lockstep leases list` shows what is in doubt; it may be \
                 free by now"
            )))
        }
    }
}

fn unanswered(error: &throttle::CheckError) -> Failure {
    Failure::Said(error.to_string())
}

fn document(status: &v1::StatusReply) -> Value {
    let limits = status.limits.iter().map(|limit| {
        let classes = limit.classes.iter().map(|class| {
            json!({
                "class": class_name(class.class), "in_use": class.in_use, "waiting": class.waiting,
                "minimum": class.minimum, "ceiling": class.ceiling,
            })
        });
        json!({
            "key": limit.key, "capacity": limit.capacity, "in_use": limit.in_use, "waiting": limit.waiting,
            "in_doubt": limit.in_doubt, "held_back_for_ms": limit.held_back_for_ms,
            "classes": classes.collect::<Vec<_>>(),
        })
    });
    let in_doubt = status.in_doubt.iter().map(|lease| {
        let holder = lease.holder.clone().unwrap_or_default();
        json!({
            "lease": lease.lease_id, "class": class_name(lease.class), "keys": lease.keys,
            "profile": holder.profile_id, "mailbox": holder.mailbox_id, "workload": holder.workload,
            "charged_for_ms": lease.charged_for_ms,
        })
    });
    let rates = status.rates.iter().map(|rate| {
        json!({
            "key": rate.key, "window_ms": rate.window_ms, "amount": rate.amount, "spent": rate.spent,
            "allowed": rate.allowed,
        })
    });
    json!({
        "limits": limits.collect::<Vec<_>>(), "rates": rates.collect::<Vec<_>>(), "in_doubt": in_doubt.collect::<Vec<_>>(),
        "quiet_for_ms": status.quiet_for_ms,
    })
}

fn picture(look: Look, status: &v1::StatusReply) -> String {
    let mut text = String::new();
    if status.quiet_for_ms > 0 {
        let quiet = format!(
            "The ledger may have lost something: nothing is granted for {}.",
            left(status.quiet_for_ms)
        );
        text.extend([&look.text(&quiet, Tone::Bad), "\n\n"]);
    }
    if status.limits.is_empty() {
        text.push_str("No connection to a mail server is held or waited for.\n");
        spent(look, status, &mut text);
        return text;
    }
    let mut table = look.table(&["limit", "held", "of", "waiting", "in doubt", "held back"]);
    for limit in &status.limits {
        let doubt = if limit.in_doubt > 0 { Tone::Uneasy } else { Tone::Quiet };
        let held_back =
            if limit.held_back_for_ms > 0 { left(limit.held_back_for_ms) } else { "-".to_owned() };
        table.add_row([
            plain(&limit.key),
            plain(limit.in_use.to_string()),
            plain(limit.capacity.to_string()),
            plain(limit.waiting.to_string()),
            cell(limit.in_doubt.to_string(), doubt),
            plain(held_back),
        ]);
    }
    text.push_str(&drawn(&table));
    spent(look, status, &mut text);
    if status.in_doubt.is_empty() {
        return text;
    }
    text.push_str(
        "\nIn doubt: nobody knows whether the mail server has closed these connections. Each slot is free by itself \
         after the time it names; sooner with `lockstep leases free ID`, when the server's own list shows that it has.\n\n",
    );
    let mut table = look.table(&["id", "for", "mailbox", "limit", "charged for"]);
    for lease in &status.in_doubt {
        let holder = lease.holder.clone().unwrap_or_default();
        let limit = lease.keys.first().cloned().unwrap_or_default();
        table.add_row([
            plain(&lease.lease_id),
            plain(class_name(lease.class)),
            plain(holder.mailbox_id),
            plain(limit),
            plain(left(lease.charged_for_ms)),
        ]);
    }
    text.push_str(&drawn(&table));
    text
}

/// What counts yet of the rates that servers are held to.
fn spent(look: Look, status: &v1::StatusReply, text: &mut String) {
    if status.rates.is_empty() {
        return;
    }
    let mut table = look.table(&["rate", "spent", "allowed", "of", "in any"]);
    for rate in &status.rates {
        table.add_row([
            plain(&rate.key),
            plain(rate.spent.to_string()),
            plain(rate.allowed.to_string()),
            plain(rate.amount.to_string()),
            plain(lasting(i64::try_from(rate.window_ms / 1000).unwrap_or(i64::MAX))),
        ]);
    }
    text.push('\n');
    text.push_str(&drawn(&table));
}

fn class_name(class: i32) -> &'static str {
    class_from_wire(class).map_or("", model::workload::ServiceClass::as_str)
}

fn left(millis: u64) -> String {
    let seconds = Duration::from_millis(millis).as_secs().saturating_add(1);
    lasting(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// A lease's id, as the list shows it.
pub(crate) fn lease(text: &str) -> Result<Uuid, String> {
    text.parse().map_err(|_| "a lease's id is a UUID; `lockstep leases list` shows those in doubt".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_in_doubt_is_shown_with_its_id_and_its_time() {
        let lease = v1::LeaseStatus {
            lease_id: "018f".to_owned(),
            class: v1::ServiceClass::Incoming.into(),
            keys: vec!["profile/p".to_owned()],
            charged_for_ms: 599_000,
            ..v1::LeaseStatus::default()
        };
        let limit = v1::LimitStatus {
            key: "profile/p".to_owned(),
            capacity: 10,
            in_use: 1,
            in_doubt: 1,
            ..v1::LimitStatus::default()
        };
        let mut status = v1::StatusReply {
            limits: vec![limit],
            in_doubt: vec![lease],
            quiet_for_ms: 0,
            rates: vec![v1::RateStatus {
                key: "mailbox/m/messages".to_owned(),
                window_ms: 60_000,
                amount: 30,
                spent: 27,
                allowed: 3,
            }],
        };
        let text = picture(Look::plain(), &status);
        assert!(text.contains("mailbox/m/messages") && text.contains("27"), "{text}");
        assert_eq!(document(&status)["rates"][0]["spent"], 27);
        assert!(text.contains("018f") && text.contains("10 min") && text.contains("incoming"), "{text}");
        assert_eq!(document(&status)["in_doubt"][0]["charged_for_ms"], 599_000);
        status.in_doubt.clear();
        assert!(!picture(Look::plain(), &status).contains("doubt:"));
        assert!(picture(Look::plain(), &v1::StatusReply::default()).starts_with("No connection"));
    }
}
