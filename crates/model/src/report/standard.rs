//! Delivery reports as RFC 3464 writes them, and the liberties that servers take with it.

use super::fields::{Group, groups};
use super::returned::Returned;
use super::{
    RECIPIENTS, Report, ReportKind, ReportedAction, ReportedRecipient, by_a_program, one_line, status_in,
    typed_address,
};
use crate::message::ParsedMessage;

pub(super) fn read(message: &ParsedMessage) -> Option<Report> {
    const TYPES: &[&str] = &["message/delivery-status", "message/global-delivery-status"];
    let part = message.attachments.iter().find(|part| TYPES.contains(&part.content_type.as_str()))?;
    // A person who forwards one sends a message of another type, with a return path.
    if message.report_type.as_deref() != Some("delivery-status") && !by_a_program(message) {
        return None;
    }
    let groups = groups(&part.bytes);
    // The first group is about the message; a server that leaves it out begins with a recipient.
    let about_message = groups.first().filter(|group| recipient_of(group).is_none());
    let of_message = |name| about_message.and_then(|group| group.get(name));
    let recipients: Vec<_> = groups.iter().filter_map(recipient).take(RECIPIENTS).collect();
    if recipients.is_empty() {
        return None;
    }
    let mut returned = Returned::default();
    for name in ["original-message-id", "x-original-message-id"] {
        if let Some(id) = of_message(name) {
            returned.id(id);
        }
    }
    let found = Returned::of(message);
    for id in &found.message_ids {
        returned.id(id);
    }
    let reporter = of_message("reporting-mta").map(|mta| mta.split_once(';').map_or(mta, |(_, name)| name));
    Some(Report {
        kind: ReportKind::DeliveryReport,
        message_ids: returned.message_ids,
        envelope_id: of_message("original-envelope-id").and_then(one_line),
        returned_date: found.date,
        reporter: reporter.and_then(one_line),
        recipients,
    })
}

fn recipient_of(group: &Group) -> Option<String> {
    group.get("final-recipient").or(group.get("original-recipient")).and_then(typed_address)
}

fn recipient(group: &Group) -> Option<ReportedRecipient> {
    let address = recipient_of(group)?;
    let said = group.get("diagnostic-code").map(|code| match code.split_once(';') {
        // `smtp; 550 5.1.1 …`; some leave the type out.
        Some((kind, words)) if !kind.trim().contains(' ') => words,
        _ => code,
    });
    let status = group.get("status").and_then(status_in).or_else(|| said.and_then(status_in));
    let action = group.get("action").map(|action| action.split([' ', ';', '(']).next().unwrap_or_default());
    let action = match action.unwrap_or_default().to_ascii_lowercase().as_str() {
        "failed" | "failure" => ReportedAction::Failed,
        "delayed" | "delay" => ReportedAction::Delayed,
        "delivered" => ReportedAction::Delivered,
        "relayed" => ReportedAction::Relayed,
        "expanded" => ReportedAction::Expanded,
        _ => match status.as_deref()?.as_bytes().first()? {
            b'5' => ReportedAction::Failed,
            b'4' => ReportedAction::Delayed,
            _ => ReportedAction::Delivered,
        },
    };
    Some(ReportedRecipient {
        original: group.get("original-recipient").and_then(typed_address).filter(|other| *other != address),
        address,
        action,
        status,
        said: said.and_then(one_line),
    })
}
