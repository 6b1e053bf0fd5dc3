//! Reports in plain words: Exim, qmail, Postfix, sendmail, Exchange, Domino, Gmail, Courier, `MDaemon`, Amazon SES and
//! programs that nobody knows, as they are without a delivery-status part. A text counts only from a program, and only for
//! addresses that it names.

mod addresses;
mod phrases;

use super::returned::Returned;
use super::{
    RECIPIENTS, Report, ReportKind, ReportedAction, ReportedRecipient, by_a_daemon, by_a_program, one_line,
    status_in,
};
use crate::address::normalize;
use crate::message::ParsedMessage;
use addresses::addresses;

/// How much of a text is looked at, in bytes; reports are short before the copy of the message begins.
const TEXT_BYTES: usize = 32 * 1024;

pub(super) fn read(message: &ParsedMessage) -> Option<Report> {
    if !by_a_program(message) || phrases::answers(message.subject.as_deref().unwrap_or_default()) {
        return None;
    }
    let text = message.text.as_deref().unwrap_or_default();
    let text = &text[..text.floor_char_boundary(TEXT_BYTES)];
    let told = phrases::before_the_copy(text);
    let subject = message.subject.as_deref().unwrap_or_default();
    let (by_subject, by_text) = (phrases::subject(subject), phrases::text(told));
    // Words that others write as well count from a daemon, beside a server's code.
    let by_code =
        || by_a_daemon(message) && phrases::fails(told) && told.lines().any(|line| coded(line).is_some());
    if message.failed_recipients.is_empty() && !by_subject && !by_text && !by_code() {
        return None;
    }
    let action =
        if phrases::delayed(subject, told) { ReportedAction::Delayed } else { ReportedAction::Failed };
    let returned = Returned::of(message);
    let mut recipients = recipients(message, told, action);
    // A Message-ID looks like an address.
    recipients.retain(|one| !returned.message_ids.iter().any(|id| normalize(id) == one.address));
    if recipients.is_empty() && by_text {
        // Nobody is named: whom it went to, if that was one.
        recipients.push(about(String::new(), told, action));
    }
    if recipients.is_empty() {
        return None;
    }
    let reporter = message.from.first().and_then(|party| party.address.split_once('@'));
    Some(Report {
        kind: ReportKind::DeliveryReport,
        message_ids: returned.message_ids,
        envelope_id: None,
        returned_date: returned.date,
        reporter: reporter.and_then(|(_, domain)| one_line(domain)),
        recipients,
    })
}

/// Who is named, each with the words from there to the next one.
fn recipients(message: &ParsedMessage, told: &str, action: ReportedAction) -> Vec<ReportedRecipient> {
    let owns: Vec<String> = message.to.iter().map(|party| normalize(&party.address)).collect();
    let mut named: Vec<(String, usize)> = Vec::new();
    for (address, at) in addresses(told) {
        if !named.iter().any(|(known, _)| *known == address) && named.len() < RECIPIENTS {
            named.push((address, at));
        }
    }
    if message.failed_recipients.is_empty() {
        if named.iter().any(|(address, _)| !owns.contains(address)) {
            named.retain(|(address, _)| !owns.contains(address));
        }
    } else {
        // The header is exact; the text says why.
        named.retain(|(address, _)| message.failed_recipients.contains(address));
        for address in message.failed_recipients.iter().take(RECIPIENTS) {
            if !named.iter().any(|(known, _)| known == address) {
                named.push((address.clone(), told.len()));
            }
        }
    }
    let coded_lines: Vec<(&str, String)> =
        told.lines().filter(|line| coded(line).is_some()).map(|line| (line, line.to_lowercase())).collect();
    let starts: Vec<usize> = named.iter().map(|(_, at)| *at).collect();
    let sections = named.into_iter().enumerate().map(|(index, (address, at))| {
        let end = starts.get(index + 1).copied().filter(|next| *next > at).unwrap_or(told.len());
        let section = told[at..end].get(address.len()..).unwrap_or_default();
        let section =
            section.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '<' | '\'' | '"' | '('));
        let beside = section.split("\n\n").next().unwrap_or_default();
        // The code stands beside the address, or in a transcript behind all of them that names it again, or further down.
        let transcript =
            coded_lines.iter().find(|(_, lower)| lower.contains(&address)).map(|(line, _)| *line);
        match (coded(beside), transcript) {
            (None, Some(line)) => ReportedRecipient {
                status: coded(line),
                said: one_line(line),
                ..about(address, beside, action)
            },
            (Some(_), _) => about(address, beside, action),
            (None, None) => about(address, section, action),
        }
    });
    sections.collect()
}

fn about(address: String, section: &str, action: ReportedAction) -> ReportedRecipient {
    let trimmed = section.trim_start_matches(['>', ')', '"', '\'', ':', ',', ' ', '\r', '\n', '\t', '.']);
    let lines = || trimmed.lines().map(str::trim).filter(|line| !line.is_empty());
    // The line with the code, and what follows it, says it all; before it stand phrases.
    let code_at = lines().position(|line| coded(line).is_some());
    let words: Vec<&str> = match code_at {
        Some(at) => lines().skip(at).take(4).collect(),
        None => lines().take(4).collect(),
    };
    ReportedRecipient {
        address,
        original: None,
        action,
        status: lines().find_map(coded),
        said: one_line(&words.join(" ")),
    }
}

/// The status code in a line: an enhanced one, else what an SMTP reply code amounts to.
fn coded(line: &str) -> Option<String> {
    status_in(line).or_else(|| {
        let reply = |word: &str| {
            let digits = word.get(..3).is_some_and(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
            let rest = word.get(3..).unwrap_or("x");
            digits && matches!(rest, "" | ":" | "-" | ".") && word.starts_with(['4', '5'])
        };
        let word = line.split_whitespace().find(|word| reply(word.trim_start_matches(['#', '(', '<'])))?;
        let class = word.trim_start_matches(['#', '(', '<']).chars().next()?;
        Some(format!("{class}.0.0"))
    })
}
