//! Read receipts (message disposition notifications, RFC 8098).

use super::fields::groups;
use super::returned::Returned;
use super::{
    ADDRESS_BYTES, Report, ReportKind, ReportedAction, ReportedRecipient, by_a_program, one_line,
    typed_address,
};
use crate::address::normalize;
use crate::message::ParsedMessage;

pub(super) fn read(message: &ParsedMessage) -> Option<Report> {
    const TYPES: &[&str] = &["message/disposition-notification", "message/global-disposition-notification"];
    let part = message.attachments.iter().find(|part| TYPES.contains(&part.content_type.as_str()))?;
    if message.report_type.as_deref() != Some("disposition-notification") && !by_a_program(message) {
        return None;
    }
    let group = groups(&part.bytes).into_iter().next()?;
    // `manual-action/MDN-sent-manually; displayed/error`: what counts is behind the modes.
    let disposition = group.get("disposition").unwrap_or_default();
    let kind = disposition.rsplit_once(';').map_or(disposition, |(_, kind)| kind).trim().to_ascii_lowercase();
    let action = match kind.split(['/', ' ', '(']).next().unwrap_or_default() {
        "displayed" | "read" => ReportedAction::Read,
        "deleted" => ReportedAction::Deleted,
        _ => ReportedAction::Processed,
    };
    let original = group.get("original-recipient").and_then(typed_address);
    let address = group
        .get("final-recipient")
        .and_then(typed_address)
        .or_else(|| original.clone())
        .or_else(|| message.from.first().map(|party| normalize(&party.address)))
        .filter(|address| address.len() <= ADDRESS_BYTES)?;
    let mut returned = Returned::default();
    if let Some(id) = group.get("original-message-id") {
        returned.id(id);
    }
    let found = Returned::of(message);
    for id in &found.message_ids {
        returned.id(id);
    }
    let said = None;
    let original = original.filter(|other| *other != address);
    Some(Report {
        kind: ReportKind::ReadReceipt,
        message_ids: returned.message_ids,
        envelope_id: None,
        returned_date: found.date,
        reporter: group.get("reporting-ua").and_then(one_line),
        recipients: vec![ReportedRecipient { address, original, action, status: None, said }],
    })
}
