//! A corpus of awkward messages, each with a snapshot of what it becomes.

use std::fmt::Write as _;

use model::message::{ParsedMessage, Party};

use super::mutate::assert_storable;
use super::parse;

#[test]
fn every_awkward_message_becomes_what_its_snapshot_says() {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut names: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert!(names.len() >= 80, "the corpus is there");
    for path in names {
        let raw = std::fs::read(&path).unwrap();
        let message = parse(&raw);
        assert_storable(&message);
        assert_eq!(parse(&raw), message, "parsing again gives the same");
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(path.file_stem().unwrap().to_str().unwrap(), shown(&message));
        });
    }
}

fn party(party: &Party) -> String {
    match &party.name {
        Some(name) => format!("{name:?} <{}>", party.address),
        None => format!("<{}>", party.address),
    }
}

/// A message with all that is in it, absent values left out.
fn shown(message: &ParsedMessage) -> String {
    let mut shown = String::new();
    let mut line = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            writeln!(shown, "{name}: {value}").unwrap();
        }
    };
    line("message id", message.message_id.clone());
    line("in reply to", message.in_reply_to.clone());
    line("references", (!message.references.is_empty()).then(|| message.references.join(" ")));
    line("subject", message.subject.as_ref().map(|subject| format!("{subject:?}")));
    let lists = [
        ("from", &message.from),
        ("reply to", &message.reply_to),
        ("to", &message.to),
        ("cc", &message.cc),
        ("bcc", &message.bcc),
    ];
    for (name, list) in lists {
        for entry in list {
            line(name, Some(party(entry)));
        }
    }
    line("sender", message.sender.as_ref().map(party));
    line("date", message.date.map(|date| date.to_string()));
    line("received", message.received.map(|date| date.to_string()));
    line("auto submitted", message.auto_submitted.clone());
    line("precedence", message.precedence.clone());
    line("list id", message.list_id.clone());
    line("return path", message.return_path.as_ref().map(|path| format!("<{path}>")));
    line("sensitivity", Some(message.sensitivity.to_string()).filter(|word| word != "normal"));
    line("importance", Some(message.importance.to_string()).filter(|word| word != "normal"));
    line("warnings", {
        let warnings: Vec<&str> = message.warnings.iter().map(|warning| warning.as_str()).collect();
        (!warnings.is_empty()).then(|| warnings.join(" "))
    });
    line(
        if message.text_derived { "text (derived)" } else { "text" },
        message.text.as_ref().map(|t| format!("{t:?}")),
    );
    line("html", message.html.as_ref().map(|html| format!("{html:?}")));
    for attachment in &message.attachments {
        let inline = if attachment.inline { " inline" } else { "" };
        let id = attachment.content_id.as_ref().map(|id| format!(" cid:{id}")).unwrap_or_default();
        let what = format!(
            "{} {:?} {}{inline}{id} {} bytes",
            attachment.position,
            attachment.name,
            attachment.content_type,
            attachment.bytes.len()
        );
        line("attachment", Some(what));
    }
    shown
}
