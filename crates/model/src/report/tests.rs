//! Reading reports: what is believed, and who is no reporter. Whole messages are read in the mail crate's tests.

use bytes::Bytes;

use super::*;
use crate::message::{ParsedAttachment, Party};

fn part(content_type: &str, bytes: &'static str) -> ParsedAttachment {
    ParsedAttachment {
        position: 0,
        name: "part".into(),
        content_type: content_type.into(),
        content_id: None,
        inline: false,
        bytes: Bytes::from_static(bytes.as_bytes()),
    }
}

fn from(address: &str) -> Vec<Party> {
    vec![Party { name: None, address: address.into() }]
}

const STATUS: &str = "Reporting-MTA: dns; mx.there.example\nOriginal-Envelope-Id: 0198\n\n\
                      Final-Recipient: rfc822; Who@there.example\nAction: failed\nStatus: 5.1.1\n\
                      Diagnostic-Code: smtp; 550 5.1.1 nobody\n of that name\n";

fn bounce() -> ParsedMessage {
    ParsedMessage {
        report_type: Some("delivery-status".into()),
        from: from("MAILER-DAEMON@there.example"),
        attachments: vec![
            part("message/delivery-status", STATUS),
            part(
                "text/rfc822-headers",
                "Message-ID: <sent@here.example>\nDate: Tue, 14 Nov 2023 22:13:20 +0000\n",
            ),
        ],
        ..ParsedMessage::default()
    }
}

#[test]
fn a_delivery_status_part_says_who_failed_and_why() {
    let report = report(&bounce()).unwrap();
    assert_eq!(report.kind, ReportKind::DeliveryReport);
    assert_eq!(report.message_ids, ["sent@here.example"]);
    assert_eq!(report.envelope_id.as_deref(), Some("0198"));
    assert_eq!(report.reporter.as_deref(), Some("mx.there.example"));
    assert_eq!(report.returned_date.unwrap().as_second(), 1_700_000_000);
    let [recipient] = report.recipients.as_slice() else { panic!("{report:?}") };
    assert_eq!(recipient.address, "who@there.example");
    assert_eq!((recipient.action, recipient.status.as_deref()), (ReportedAction::Failed, Some("5.1.1")));
    assert_eq!(recipient.said.as_deref(), Some("550 5.1.1 nobody of that name"));
}

#[test]
fn a_report_that_a_person_forwards_is_none() {
    let forwarded = ParsedMessage {
        report_type: None,
        from: from("ada@here.example"),
        return_path: Some("ada@here.example".into()),
        ..bounce()
    };
    assert_eq!(report(&forwarded), None);
    // As a whole it lies in a message of its own, which is not looked into.
    let attached = ParsedMessage {
        attachments: vec![part("message/rfc822", "Content-Type: multipart/report\n\nAction: failed")],
        text: Some("Look at this: your message could not be delivered to who@there.example".into()),
        ..forwarded
    };
    assert_eq!(report(&attached), None);
}

#[test]
fn an_answer_that_quotes_what_it_answers_is_no_report() {
    for (subject, auto_submitted, return_path, text) in [
        (
            "Re: Undeliverable: hello",
            None,
            Some("bob@there.example"),
            "It says: your message could not be delivered",
        ),
        (
            "Automatic reply: hello",
            Some("auto-replied"),
            Some(""),
            "I am away. Undeliverable: mail is read by ann@there.example",
        ),
        (
            "Out of Office",
            Some("auto-generated"),
            Some(""),
            "Your message was not delivered to me, ask ann@there.example",
        ),
        ("Ticket 17 was opened", Some("auto-generated"), Some(""), "We got your mail, bob@here.example."),
    ] {
        let message = ParsedMessage {
            subject: Some(subject.into()),
            auto_submitted: auto_submitted.map(Into::into),
            return_path: return_path.map(Into::into),
            from: from("bob@there.example"),
            text: Some(text.into()),
            in_reply_to: Some("sent@here.example".into()),
            ..ParsedMessage::default()
        };
        assert_eq!(report(&message), None, "{subject}");
    }
}

#[test]
fn a_status_code_is_no_address_of_a_host() {
    for (text, status) in [
        ("550 5.1.1 nobody", Some("5.1.1")),
        ("#5.7.1 smtp;550", Some("5.7.1")),
        ("host mx[4.4.4.4] said", None),
        ("v5.1.1-2", None),
        ("(#4.4.7).", Some("4.4.7")),
        ("5.1.1234", None),
        ("5.1.1.9", None),
        ("2.0.0", Some("2.0.0")),
    ] {
        assert_eq!(status_in(text).as_deref(), status, "{text}");
    }
}

#[test]
fn a_recipient_is_read_in_all_the_ways_that_servers_write_it() {
    for (value, address) in [
        ("rfc822; Ada@There.example", Some("ada@there.example")),
        ("rfc822;<ada@there.example>", Some("ada@there.example")),
        ("utf-8; käthe@there.example", Some("käthe@there.example")),
        ("ada@there.example", Some("ada@there.example")),
        ("x-local; ada", None),
        ("rfc822; a b@there.example", None),
    ] {
        assert_eq!(typed_address(value).as_deref(), address, "{value}");
    }
}

/// A report of a daemon in plain words.
fn in_words(text: &str) -> ParsedMessage {
    ParsedMessage {
        subject: Some("Mail delivery failed".into()),
        return_path: Some(String::new()),
        from: from("MAILER-DAEMON@there.example"),
        text: Some(text.into()),
        in_reply_to: Some("sent@here.example".into()),
        ..ParsedMessage::default()
    }
}

#[test]
fn whom_the_header_names_as_failed_failed_and_nobody_else_whom_the_text_names() {
    let text = "<who@there.example>: 550 5.1.1 nobody\n\nAsk <help@there.example>, 550 for short.";
    let bare = report(&in_words(text)).unwrap();
    assert_eq!(bare.recipients.len(), 2, "the text alone tells no more");
    let named = ParsedMessage { failed_recipients: vec!["who@there.example".into()], ..in_words(text) };
    let [recipient] = &report(&named).unwrap().recipients[..] else { panic!("the header is exact") };
    assert_eq!(
        (recipient.address.as_str(), recipient.status.as_deref()),
        ("who@there.example", Some("5.1.1"))
    );
}

#[test]
fn a_report_of_the_end_that_tells_of_the_delays_before_it_is_one_of_the_end() {
    let delayed = "Your message to <who@there.example> has been delayed: 451 4.3.0 busy.";
    for (text, action) in [
        (delayed.to_owned(), ReportedAction::Delayed),
        (format!("{delayed}\nIt failed permanently after four days."), ReportedAction::Failed),
        (format!("{delayed}\nGiving up on it."), ReportedAction::Failed),
    ] {
        assert_eq!(report(&in_words(&text)).unwrap().recipients[0].action, action, "{text}");
    }
}

#[test]
fn a_status_stands_in_for_an_action_that_is_missing() {
    for (status, action) in [
        ("5.1.1", ReportedAction::Failed),
        ("4.4.1", ReportedAction::Delayed),
        ("2.0.0", ReportedAction::Delivered),
    ] {
        let bytes =
            format!("Reporting-MTA: dns; mx\n\nFinal-Recipient: rfc822; a@b.example\nStatus: {status}\n");
        let mut message = bounce();
        message.attachments[0].bytes = Bytes::from(bytes);
        assert_eq!(report(&message).unwrap().recipients[0].action, action, "{status}");
    }
}

#[test]
fn what_strangers_write_is_bounded_and_printable() {
    let said = one_line(&format!("550 no\u{7}\u{1b}[2J {}", "ü ".repeat(5_000))).unwrap();
    assert!(said.starts_with("550 no[2J ü ") && said.len() <= SAID_BYTES, "{} bytes", said.len());
    assert_eq!(one_line(&"x".repeat(5_000)).unwrap().len(), SAID_BYTES);
    let group = |number| format!("Final-Recipient: rfc822; {number}@b.example\nAction: failed\n\n");
    let many = (0..2 * RECIPIENTS).map(group).collect::<Vec<_>>().concat();
    let mut message = bounce();
    message.attachments[0].bytes = Bytes::from(many);
    assert_eq!(report(&message).unwrap().recipients.len(), RECIPIENTS);
    let words = (0..2 * RECIPIENTS).map(|number| format!("{number}@b.example ")).collect::<Vec<_>>().concat();
    assert_eq!(report(&in_words(&words)).unwrap().recipients.len(), RECIPIENTS);
}

#[test]
fn words_that_others_write_as_well_count_from_a_daemon_alone() {
    let text = "Your mail to who@there.example could not be delivered: 550 5.1.1 nobody";
    let gateway = |return_path: &str| ParsedMessage {
        subject: Some("About your mail".into()),
        return_path: Some(return_path.into()),
        from: from("gateway@there.example"),
        auto_submitted: Some("auto-generated".into()),
        ..in_words(text)
    };
    assert!(report(&gateway("")).is_some());
    assert_eq!(report(&gateway("gateway@there.example")), None);
}
