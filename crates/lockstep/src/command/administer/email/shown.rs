//! How an email looks: in a row, and as a whole with its sending and its body.

use comfy_table::Cell;

use crate::client::Record;
use crate::command::administer::context::Context;
use crate::table::{self, Tone, bytes, cell, plain, state, words};

/// The columns of a list.
pub(super) const COLUMNS: &[&str] = &["state", "from", "to", "subject", "when", "id"];

/// One row of a list.
pub(super) fn row(context: &Context<'_>, email: Record<'_>) -> Vec<Cell> {
    let when = ["received_at", "sent_at", "created_at"].into_iter().find_map(|name| email.time(name));
    let mut to = parties(email, &["to", "cc", "bcc"]);
    let others = to.len().saturating_sub(1);
    to.truncate(1);
    let to = if others > 0 { format!("{} +{others}", to.concat()) } else { to.concat() };
    vec![
        state(&email.text("state")),
        plain(parties(email, &["from"]).join(", ")),
        plain(to),
        cell(email.text("subject"), Tone::Loud),
        plain(context.ago(when)),
        cell(email.text("id"), Tone::Quiet),
    ]
}

/// The addresses of the parties with these roles.
fn parties(email: Record<'_>, roles: &[&str]) -> Vec<String> {
    let parties = email.list("parties").into_iter();
    parties
        .filter(|party| roles.contains(&party.text("role").as_str()))
        .map(|party| party.text("address"))
        .collect()
}

/// The parties of one role with their names, a line each.
fn named(email: Record<'_>, role: &str) -> Cell {
    let parties = email.list("parties").into_iter().filter(|party| party.text("role") == role);
    let lines = parties.map(|party| match party.filled("name") {
        Some(name) => format!("{name} <{}>", party.text("address")),
        None => party.text("address"),
    });
    plain(lines.collect::<Vec<_>>().join("\n"))
}

/// An email as a whole.
pub(super) fn one(context: &Context<'_>, email: Record<'_>) -> String {
    let twice = if email.flag("maybe_duplicate") { "may have been sent twice" } else { "" };
    let facts = context.look.facts([
        ("state", state(&email.text("state"))),
        ("from", named(email, "from")),
        ("sent by", named(email, "sender")),
        ("to", named(email, "to")),
        ("cc", named(email, "cc")),
        ("bcc", named(email, "bcc")),
        ("reply to", named(email, "reply_to")),
        ("written", plain(context.when(email.time("sent_at")))),
        ("received", plain(context.when(email.time("received_at")))),
        ("warnings", cell(warnings(email), Tone::Uneasy)),
        ("beware", cell(twice, Tone::Uneasy)),
        ("message id", plain(email.text("message_id"))),
        ("answers", plain(email.text("in_reply_to"))),
        ("automatic", plain(words(&email.text("automatic")))),
        ("receipts", plain(receipts_asked(email))),
        ("external id", plain(email.text("external_id"))),
        ("created", plain(context.when(email.time("created_at")))),
        ("id", cell(email.text("id"), Tone::Quiet)),
    ]);
    let subject = email.filled("subject").unwrap_or_else(|| "(no subject)".to_owned());
    let mut text = context.described(&subject, &facts);
    text.push_str(&receipts(context, email));
    text.push_str(&sending(context, email));
    text.push_str(&reports(context, email));
    text.push_str(&body(context, email));
    text
}

/// What is odd about it, a sentence a line.
fn warnings(email: Record<'_>) -> String {
    let warnings = email.list("warnings").into_iter();
    warnings.map(|warning| warning.text("meaning")).collect::<Vec<_>>().join("\n")
}

/// Which receipts the sender asks for.
fn receipts_asked(email: Record<'_>) -> String {
    let asked = [("read_receipt_requested", "when read"), ("delivery_receipt_requested", "when delivered")];
    let asked = asked.into_iter().filter(|(field, _)| email.flag(field)).map(|(_, words)| words);
    match asked.collect::<Vec<_>>().join(" and ") {
        none if none.is_empty() => none,
        asked => format!("asked for, {asked}"),
    }
}

fn receipts(context: &Context<'_>, email: Record<'_>) -> String {
    let receipts = email.list("receipts");
    if receipts.is_empty() {
        return String::new();
    }
    let mut table = context.look.table(&["got by", "received"]);
    for receipt in receipts {
        table
            .add_row([plain(receipt.text("mailbox_name")), plain(context.when(receipt.time("received_at")))]);
    }
    format!("\n{}", table::drawn(&table))
}

/// Every send request, the latest first.
pub(super) fn sending(context: &Context<'_>, email: Record<'_>) -> String {
    let latest = email.at("sending").map(Record);
    let all = latest.into_iter().chain(email.list("earlier_sendings"));
    all.map(|request| one_sending(context, request)).collect()
}

fn one_sending(context: &Context<'_>, request: Record<'_>) -> String {
    let mut table =
        context.look.table(&["recipient", "as", "stands", "tries", "next try", "the server said"]);
    for recipient in request.list("recipients") {
        let codes = if recipient.at("report").is_some() {
            // What came later, from further on, says more than that our server took it.
            ["report.action", "report.status", "report.said"]
        } else {
            ["reply_code", "enhanced_code", "server_said"]
        };
        let codes = codes.map(|code| recipient.text(code));
        let mut said = codes.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        if let Some(reporter) = recipient.filled("report.reporter") {
            said = format!("{said} ({reporter})");
        }
        if let Some(read) = recipient.time("read_at") {
            said = format!("read {}", context.ago(Some(read)));
        }
        table.add_row([
            plain(recipient.text("address")),
            plain(recipient.text("role")),
            state(&recipient.text("state")),
            plain(recipient.text("attempts")),
            plain(recipient.time("next_try_at").map_or_else(String::new, |time| context.ago(Some(time)))),
            plain(said),
        ]);
    }
    let not_before = request.time("not_before");
    let asked = [
        Some(format!("asked for {}", context.ago(request.time("requested_at")))),
        context.is_ahead(not_before).then(|| format!("to leave {}", context.when(not_before))),
        request.time("canceled_at").map(|canceled| format!("taken back {}", context.ago(Some(canceled)))),
    ];
    let asked = asked.into_iter().flatten().collect::<Vec<_>>().join(", ");
    format!("\n {}\n{}", context.look.text(&asked, Tone::Quiet), table::drawn(&table))
}

fn reports(context: &Context<'_>, email: Record<'_>) -> String {
    let reports = email.list("reports");
    if reports.is_empty() {
        return String::new();
    }
    let mut table = context.look.table(&["report", "from", "received", "size", "id"]);
    for report in reports {
        table.add_row([
            plain(words(&report.text("kind"))),
            plain(report.text("reporter")),
            plain(context.when(report.time("received_at"))),
            plain(bytes(report.number("raw_size"))),
            cell(report.text("id"), Tone::Quiet),
        ]);
    }
    format!("\n{}", table::drawn(&table))
}

fn body(context: &Context<'_>, email: Record<'_>) -> String {
    if email.at("body").is_none() {
        return String::new();
    }
    let files = email.list("body.attachments");
    let files = if files.is_empty() {
        String::new()
    } else {
        let mut table = context.look.table(&["file", "type", "size", "id"]);
        for file in files {
            table.add_row([
                plain(file.text("name")),
                plain(file.text("content_type")),
                plain(bytes(file.number("size"))),
                cell(file.text("id"), Tone::Quiet),
            ]);
        }
        format!("\n{}", table::drawn(&table))
    };
    let body = match (email.filled("body.text"), email.at("body.html")) {
        (Some(body), _) => body.trim_end().to_owned(),
        (None, Some(_)) => " (only HTML; --json prints it)".to_owned(),
        (None, None) => " (no text)".to_owned(),
    };
    format!("{files}\n{body}\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_odd_is_told_in_sentences() {
        let email = json!({"warnings": [
            {"name": "no_date", "meaning": "It does not say when."},
            {"name": "outlook_rich_text", "meaning": "It was sent in Outlook's format."},
        ]});
        assert_eq!(warnings(Record(&email)), "It does not say when.\nIt was sent in Outlook's format.");
        assert_eq!(warnings(Record(&json!({}))), "");
    }
}
