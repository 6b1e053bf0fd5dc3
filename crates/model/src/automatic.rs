//! Which mail nobody wrote by hand, and of which kind: a pure reading of what a message says of itself (RFC 3834).
//!
//! Nothing automatic is ever answered by Lockstep, whatever its kind.

use crate::message::ParsedMessage;
use crate::names::names;
use crate::report::{ReportKind, report};

names! {
    /// What kind of automatic mail a message is.
    "kind of automatic mail" Automatic {
        /// A mail server tells what became of an email.
        DeliveryReport = "delivery_report",
        /// An answering machine: somebody is away, or a system says that it got an email.
        OutOfOffice = "out_of_office",
        /// A reader's program tells that an email was read.
        ReadReceipt = "read_receipt",
        /// Came by a mailing list.
        List = "list",
        /// Sent to many at once.
        Bulk = "bulk",
        /// Sent by a program for another reason.
        Other = "other",
    }
}

impl Automatic {
    /// Whether it can be somebody's answer to an email: a list passes on what people write, an answering machine does not.
    pub const fn may_be_an_answer(self) -> bool {
        matches!(self, Self::List | Self::Bulk)
    }
}

/// Beginnings of subjects that answering machines write, in lower case, for those that say nothing in their header.
const AWAY: &[&str] = &[
    "automatic reply:",
    "auto reply:",
    "auto-reply:",
    "autoreply:",
    "auto:",
    "out of office",
    "out of the office",
    "automatische antwort:",
    "abwesenheitsnotiz",
    "abwesenheit:",
    "réponse automatique",
    "respuesta automática",
    "risposta automatica",
    "automatisch antwoord",
    "resposta automática",
    "odpowiedź automatyczna",
    "automatiskt svar",
    "自動返信",
    "自动答复",
];

/// The kind of a message, or nothing when a person wrote it.
pub fn automatic(message: &ParsedMessage) -> Option<Automatic> {
    // A report that says so in its header is one even where what it reports cannot be read.
    let said = match message.report_type.as_deref() {
        Some("delivery-status") => Some(ReportKind::DeliveryReport),
        Some("disposition-notification") => Some(ReportKind::ReadReceipt),
        _ => message.report_kind,
    };
    match said.or_else(|| report(message).map(|report| report.kind)) {
        Some(ReportKind::DeliveryReport) => return Some(Automatic::DeliveryReport),
        Some(ReportKind::ReadReceipt) => return Some(Automatic::ReadReceipt),
        None => {}
    }
    let submitted = message.auto_submitted.as_deref().unwrap_or("no");
    let precedence = message.precedence.as_deref().unwrap_or_default();
    let by_program = submitted != "no" || message.return_path.as_deref() == Some("");
    let subject = message.subject.as_deref().unwrap_or_default().trim().to_lowercase();
    // A person may begin a subject so as well: something else has to say that nobody wrote it.
    let machine = by_program || message.response_suppressed.is_some() || precedence == "bulk";
    let away = machine && AWAY.iter().any(|phrase| subject.starts_with(phrase));
    if submitted == "auto-replied" || precedence == "auto_reply" || message.autoreply || away {
        Some(Automatic::OutOfOffice)
    } else if message.list_id.is_some() || precedence == "list" {
        Some(Automatic::List)
    } else if matches!(precedence, "bulk" | "junk") || message.unsubscribable {
        Some(Automatic::Bulk)
    } else if by_program {
        Some(Automatic::Other)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Automatic::{Bulk, List, Other, OutOfOffice};

    #[test]
    fn a_message_is_of_the_kind_that_it_says_of_itself() {
        let said = |change: fn(&mut ParsedMessage)| {
            let mut message = ParsedMessage { subject: Some("Hello".into()), ..ParsedMessage::default() };
            change(&mut message);
            automatic(&message)
        };
        assert_eq!(said(|_| {}), None);
        assert_eq!(said(|m| m.auto_submitted = Some("no".into())), None);
        assert_eq!(said(|m| m.return_path = Some("ada@here.example".into())), None);
        assert_eq!(said(|m| m.subject = Some("Out of office furniture".into())), None);
        assert_eq!(said(|m| m.precedence = Some("first-class".into())), None);
        assert_eq!(said(|m| m.auto_submitted = Some("auto-replied".into())), Some(OutOfOffice));
        assert_eq!(said(|m| m.precedence = Some("auto_reply".into())), Some(OutOfOffice));
        assert_eq!(said(|m| m.autoreply = true), Some(OutOfOffice));
        assert_eq!(said(|m| m.list_id = Some("news.example.com".into())), Some(List));
        assert_eq!(said(|m| m.precedence = Some("list".into())), Some(List));
        assert_eq!(said(|m| m.precedence = Some("bulk".into())), Some(Bulk));
        assert_eq!(said(|m| m.unsubscribable = true), Some(Bulk));
        assert_eq!(said(|m| m.auto_submitted = Some("auto-generated".into())), Some(Other));
        assert_eq!(said(|m| m.return_path = Some(String::new())), Some(Other));
    }

    #[test]
    fn only_what_people_write_through_lists_and_in_bulk_may_answer() {
        let may: Vec<_> = Automatic::ALL.iter().filter(|kind| kind.may_be_an_answer()).collect();
        assert_eq!(may, [&List, &Bulk]);
    }

    #[test]
    fn a_report_is_one_by_its_header_and_by_what_it_was_before_its_parts_were_let_go() {
        let bare = ParsedMessage { return_path: Some(String::new()), ..ParsedMessage::default() };
        for (kind, report_type, known) in [
            (Automatic::DeliveryReport, Some("delivery-status"), None),
            (Automatic::ReadReceipt, Some("disposition-notification"), None),
            (Automatic::DeliveryReport, None, Some(ReportKind::DeliveryReport)),
            (Automatic::ReadReceipt, None, Some(ReportKind::ReadReceipt)),
            (Other, Some("feedback-report"), None),
        ] {
            let report_type = report_type.map(str::to_owned);
            let message = ParsedMessage { report_type, report_kind: known, ..bare.clone() };
            assert_eq!(automatic(&message), Some(kind));
            assert!(!kind.may_be_an_answer());
        }
    }

    #[test]
    fn an_answering_machine_is_known_by_its_subject_when_its_header_says_that_nobody_wrote_it() {
        for subject in AWAY {
            let away = ParsedMessage {
                subject: Some(format!("{} Hello", subject.to_uppercase())),
                auto_submitted: Some("auto-generated".into()),
                response_suppressed: Some("all".into()),
                ..ParsedMessage::default()
            };
            assert_eq!(automatic(&away), Some(OutOfOffice), "{subject}");
            let person = ParsedMessage { auto_submitted: None, response_suppressed: None, ..away };
            assert_eq!(automatic(&person), None, "{subject}");
        }
    }
}
