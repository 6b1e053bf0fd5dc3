//! Conversations with people outside: who writes, to whom, what is attached, and how one letter answers another.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::cast::{CORRESPONDENTS, Correspondent, Language};
use super::chance::Chance;
use super::texts::{Matter, conversations};
use super::writing::{Part, file, multipart};
use super::{DOMAIN, Message, Sample, files, later, message_id, office_hour};

/// Adds the letters of one conversation. What the organization answered in between is in nobody's inbox, but the later
/// letters refer to it.
pub(super) fn conversation(chance: &mut Chance, number: usize, now: Timestamp, samples: &mut Vec<Sample>) {
    let of = chance.pick(&CORRESPONDENTS);
    let all = conversations(of.language);
    let picked = chance.pick(&all);
    let mut date = office_hour(chance, now, 12);
    let matter = Matter::new(chance, number, of, date);
    let subject = matter.fill(picked.subject);
    let mut references: Vec<String> = Vec::new();
    let mut before = None;
    for (at, letter) in picked.letters.iter().enumerate() {
        let text = matter.fill(letter);
        let phrase = text.lines().next().map(str::to_owned);
        let carried = if at == 0 { picked.files.as_slice() } else { &[] };
        let (part, attachments) = body(chance, of, &signed(&text, of, before.as_deref()), &subject, carried);
        let id = message_id(chance, domain(of));
        let (to, cc) = picked.recipients.split_at(1);
        let message = Message {
            script: of.script,
            from: (of.name.to_owned(), of.address.to_owned()),
            to: to.to_vec(),
            cc: cc.to_vec(),
            date,
            hours_east: of.language.hours_east(),
            id: Some(id.clone()),
            references: references.clone(),
            subject: if at == 0 { subject.clone() } else { format!("{}{subject}", answer(of.language)) },
            extra: String::new(),
        };
        samples.push(message.sample(&part, phrase, attachments));
        references.push(id);
        references.push(message_id(chance, DOMAIN));
        date = later(date, chance.between(3600, 4 * 86_400));
        before = Some(text);
    }
}

fn domain(of: &Correspondent) -> &'static str {
    of.address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

/// What mail programs of a language put before the subject of an answer.
fn answer(language: Language) -> &'static str {
    match language {
        Language::German => "AW: ",
        Language::French => "RE: ",
        _ => "Re: ",
    }
}

/// A letter with what comes below it: who wrote it, and what was written before.
fn signed(text: &str, of: &Correspondent, before: Option<&str>) -> String {
    let mut signed = format!("{text}\n\n-- \n{}\n{}\n", of.name, of.company);
    if let Some(before) = before {
        signed.push('\n');
        for line in before.lines() {
            let _ = writeln!(signed, "> {line}");
        }
    }
    signed
}

/// The part of a letter and how many files are in it.
fn body(
    chance: &mut Chance,
    of: &Correspondent,
    text: &str,
    subject: &str,
    carried: &[&str],
) -> (Part, usize) {
    let mut boundary = |kind: &str| format!("=_{kind}_{:016x}", chance.next());
    let mut part = of.script.text("plain", text);
    let mut attachments = 0;
    if of.html {
        let (alternative, related) = (boundary("alt"), boundary("rel"));
        let logo = of.logo.then(|| format!("logo.{:x}@{}", chance.next(), domain(of)));
        let html = of.script.text("html", &html(text, of, logo.as_deref()));
        let html = match &logo {
            Some(id) => {
                attachments += 1;
                let image = file("logo.png", "image/png", Some(id), &files::png(chance, 96, 32));
                multipart("related", &related, &[html, image])
            }
            None => html,
        };
        part = multipart("alternative", &alternative, &[part, html]);
    }
    if carried.is_empty() {
        return (part, attachments);
    }
    let mixed = format!("=_mix_{:016x}", chance.next());
    let mut parts = vec![part];
    for kind in carried {
        parts.push(attachment(chance, kind, subject));
        attachments += 1;
    }
    (multipart("mixed", &mixed, &parts), attachments)
}

fn attachment(chance: &mut Chance, kind: &str, subject: &str) -> Part {
    let number = chance.between(1000, 9999);
    match kind {
        "pdf" => {
            let title: String = subject.chars().filter(char::is_ascii).collect();
            let lines = [title, format!("Document {number}"), "Thank you for your business.".to_owned()];
            file(&format!("document-{number}.pdf"), "application/pdf", None, &files::pdf(&lines))
        }
        "csv" => file(&format!("list-{number}.csv"), "text/csv", None, &files::csv(chance)),
        _ => file(&format!("IMG_{number}.png"), "image/png", None, &files::png(chance, 160, 90)),
    }
}

/// The same letter as HTML.
pub(super) fn html(text: &str, of: &Correspondent, logo: Option<&str>) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let paragraphs: Vec<String> =
        escaped.split("\n\n").map(|paragraph| paragraph.trim().replace('\n', "<br>\n")).collect();
    let paragraphs = paragraphs.join("</p>\n<p>");
    let charset = of.script.charset;
    let image = logo
        .map(|id| format!("<img src=\"cid:{id}\" alt=\"logo\" width=\"96\" height=\"32\">\n"))
        .unwrap_or_default();
    format!(
        "<html><head><meta http-equiv=\"Content-Type\" content=\"text/html; charset={charset}\"></head>\n\
         <body style=\"font-family: sans-serif; color: #223\">\n{image}<p>{paragraphs}</p>\n</body></html>\n"
    )
}
