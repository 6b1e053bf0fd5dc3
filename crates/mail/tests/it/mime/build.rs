//! Messages built: clean for every server, the same again when parsed, and without a Bcc.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;
use mail::mime::{BuildError, BuiltMessage, Content, Piece, build, frame};
use model::address::EmailAddress;
use model::message::{Importance, NamedAddress, OutgoingAttachment, OutgoingMessage, Party};
use proptest::prelude::*;

use super::mutate::assert_storable;
use super::parse;

fn address(text: &str) -> EmailAddress {
    text.parse().unwrap()
}

fn named(name: &str, text: &str) -> NamedAddress {
    NamedAddress { name: (!name.is_empty()).then(|| name.to_owned()), address: address(text) }
}

fn message() -> OutgoingMessage {
    let date = Timestamp::from_second(1_700_000_000).unwrap();
    OutgoingMessage {
        to: vec![named("Charles Babbage", "charles@example.org")],
        subject: "Notes".into(),
        text: Some("Hello\n".into()),
        ..OutgoingMessage::new(
            named("Ada Lovelace", "ada@example.com"),
            "0123456789abcdef@lockstep.example",
            date,
        )
    }
}

fn file(name: &str, content_type: &str, bytes: &'static [u8]) -> OutgoingAttachment {
    OutgoingAttachment {
        name: name.into(),
        content_type: content_type.into(),
        bytes: Bytes::from_static(bytes),
        inline_id: None,
    }
}

/// The names of the header fields of a built message, each with how often it stands there.
fn fields(built: &BuiltMessage) -> BTreeMap<String, usize> {
    let text = String::from_utf8_lossy(&built.bytes).into_owned();
    let head = text.split("\r\n\r\n").next().unwrap();
    let mut fields = BTreeMap::new();
    for line in head.split("\r\n").filter(|line| !line.starts_with([' ', '\t'])) {
        let name = line.split_once(':').unwrap_or_else(|| panic!("no field: {line:?}")).0;
        *fields.entry(name.to_lowercase()).or_default() += 1;
    }
    fields
}

/// What holds for every message that leaves: CRLF lines of at most 998 bytes, one header of each kind, no Bcc, and
/// nothing beyond ASCII unless an address is.
fn assert_clean(built: &BuiltMessage) {
    let mut rest: &[u8] = &built.bytes;
    assert!(rest.ends_with(b"\r\n"));
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        assert!(end > 0 && rest[end - 1] == b'\r', "a line ends without CR");
        assert!(end < 999, "a line of {end} bytes");
        assert!(!rest[..end - 1].contains(&b'\r') && !rest[..end].contains(&0));
        rest = &rest[end + 1..];
    }
    for (field, count) in fields(built) {
        assert_eq!(count, 1, "{field} stands more than once");
        assert_ne!(field, "bcc");
    }
    assert!(built.needs_utf8 || built.bytes.is_ascii());
    assert_eq!(built.needs_eight_bit, !built.bytes.is_ascii());
    assert_eq!(built.size, built.bytes.len());
}

fn built(message: &OutgoingMessage) -> BuiltMessage {
    let built = build(message).unwrap();
    assert_clean(&built);
    assert_eq!(build(message).unwrap(), built, "a second try looks the same");
    built
}

#[test]
fn a_message_with_everything_looks_like_this() {
    let message = OutgoingMessage {
        sender: Some(named("Secretary", "secretary@example.com")),
        cc: vec![named("Jürgen \"J\" Müller", "juergen@example.de"), named("", "plain@example.com")],
        bcc: vec![named("Secret", "secret@example.com")],
        reply_to: vec![named("Office, the", "office@example.com")],
        subject: "Zahlen für 2024 – 数字".into(),
        text: Some("Grüße\n\nein sehr langer Satz, der nicht in eine Zeile passt, weil er länger ist als achtzig Zeichen\n".into()),
        html: Some("<p>Grüße <img src=\"cid:logo@lockstep\"></p>".into()),
        attachments: vec![
            file("Übersicht.pdf", "application/pdf", b"%PDF-1.4"),
            file("table.csv", "text/csv; charset=utf-8", b"a;b\n1;2\n"),
            OutgoingAttachment {
                inline_id: Some("logo@lockstep".into()),
                ..file("logo.png", "image/png", b"\x89PNG\r\n\x1a\n")
            },
            file("original.eml", "message/rfc822", b"From: x@example.com\r\nSubject: y\r\n\r\nz\r\n"),
        ],
        in_reply_to: Some("first@example.org".into()),
        references: vec!["zero@example.org".into(), "first@example.org".into()],
        auto_submitted: true,
        importance: Importance::High,
        request_read_receipt: true,
        ..message()
    };
    let built = built(&message);
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!("built_with_everything", String::from_utf8_lossy(&built.bytes));
    });
    let parsed = parse(&built.bytes);
    assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
    let bytes: Vec<&Bytes> = parsed.attachments.iter().map(|attachment| &attachment.bytes).collect();
    let sent: Vec<&Bytes> = [2, 0, 1, 3].iter().map(|index| &message.attachments[*index].bytes).collect();
    assert_eq!(bytes, sent, "files arrive as they were");
    assert!(parsed.attachments[0].inline);
    assert_eq!(parsed.attachments[0].content_id.as_deref(), Some("logo@lockstep"));
    assert_eq!(parsed.auto_submitted.as_deref(), Some("auto-generated"));
    assert_eq!(parsed.importance, Importance::High);
}

#[test]
fn bcc_recipients_are_in_the_envelope_and_nowhere_in_the_message() {
    let everyone = OutgoingMessage {
        cc: vec![named("", "Charles@Example.org"), named("", "cc@example.com")],
        bcc: vec![named("Hidden Name", "hidden@example.net"), named("", "CC@example.com")],
        ..message()
    };
    let everyone = built(&everyone);
    let envelope: Vec<&str> = everyone.recipients.iter().map(EmailAddress::as_str).collect();
    assert_eq!(envelope, ["charles@example.org", "cc@example.com", "hidden@example.net"]);

    let nobody_seen = OutgoingMessage {
        to: Vec::new(),
        bcc: vec![named("Hidden Name", "hidden@example.net")],
        ..message()
    };
    let nobody_seen = built(&nobody_seen);
    assert_eq!(nobody_seen.recipients, [address("hidden@example.net")]);
    for built in [everyone, nobody_seen] {
        let text = String::from_utf8_lossy(&built.bytes).to_lowercase();
        assert!(!text.contains("hidden") && !text.contains("bcc"), "{text}");
    }
}

type Change = Box<dyn Fn(&mut OutgoingMessage)>;

#[test]
fn what_would_break_a_header_is_refused_with_the_field() {
    let date = Timestamp::from_second(0).unwrap();
    let cases: Vec<(&str, Change)> = vec![
        ("subject", Box::new(|m| m.subject = "a\r\nBcc: b@example.com".into())),
        ("subject", Box::new(|m| m.subject = "a\nb".into())),
        ("subject", Box::new(|m| m.subject = "a\0b".into())),
        ("subject", Box::new(|m| m.subject = "a\u{2028}b".into())),
        ("from.name", Box::new(|m| m.from.name = Some("a\r\nTo: x".into()))),
        ("to[0].name", Box::new(|m| m.to[0].name = Some("a\rb".into()))),
        ("message_id", Box::new(|m| m.message_id = "a>\r\nX: <b".into())),
        ("message_id", Box::new(|m| m.message_id = String::new())),
        ("attachments[0].name", Box::new(|m| m.attachments = vec![file("a\r\nb", "text/plain", b"")])),
        (
            "attachments[0].content_type",
            Box::new(|m| m.attachments = vec![file("a", "text/plain\r\nX: y", b"")]),
        ),
        ("attachments[0].content_type", Box::new(|m| m.attachments = vec![file("a", "text", b"")])),
        (
            "attachments[0].inline_id",
            Box::new(|m| {
                m.attachments =
                    vec![OutgoingAttachment { inline_id: Some("a b".into()), ..file("a", "image/png", b"") }];
            }),
        ),
    ];
    for (field, change) in cases {
        let mut changed = message();
        change(&mut changed);
        let error = build(&changed).unwrap_err().to_string();
        assert!(error.starts_with(field), "{error}");
    }
    let empty = OutgoingMessage::new(named("", "ada@example.com"), "1@example.com", date);
    assert_eq!(build(&empty), Err(BuildError::NoRecipients));
}

#[test]
fn an_answer_to_a_hostile_id_leaves_that_id_out() {
    let message = OutgoingMessage {
        in_reply_to: Some("a\r\nBcc: x@example.com".into()),
        references: vec!["good@example.com".into(), "bad id".into(), "é@example.com".into(), String::new()],
        ..message()
    };
    let parsed = parse(&built(&message).bytes);
    assert_eq!(parsed.in_reply_to, None);
    assert_eq!(parsed.references, ["good@example.com"]);
}

#[test]
fn a_long_conversation_is_folded_and_its_youngest_ids_stay() {
    let references: Vec<String> =
        (0..500).map(|number| format!("{number}.{}@example.com", "x".repeat(60))).collect();
    let message = OutgoingMessage { references: references.clone(), ..message() };
    assert_eq!(parse(&built(&message).bytes).references, references[400..]);
}

#[test]
fn html_alone_gets_a_text_beside_it() {
    let message = OutgoingMessage {
        text: None,
        html: Some("<h1>Title</h1><p>Words &amp; more</p>".into()),
        ..message()
    };
    let parsed = parse(&built(&message).bytes);
    assert!(!parsed.text_derived, "the text was sent");
    let text = parsed.text.unwrap();
    assert!(text.contains("Title") && text.contains("Words & more"), "{text}");
}

#[test]
fn addresses_beyond_ascii_ask_for_smtputf8_wherever_they_are() {
    let change: [fn(&mut OutgoingMessage, NamedAddress); 5] = [
        |m, a| m.from = a,
        |m, a| m.to.push(a),
        |m, a| m.bcc.push(a),
        |m, a| m.reply_to.push(a),
        |m, a| m.sender = Some(a),
    ];
    for change in change {
        let mut message = message();
        assert!(!built(&message).needs_utf8);
        change(&mut message, named("José", "josé@example.es"));
        assert!(built(&message).needs_utf8);
    }
}

#[test]
fn a_message_to_ten_thousand_is_folded_and_read_again() {
    let to: Vec<_> =
        (0..10_000).map(|n| named(&format!("Person {n}"), &format!("p{n}@example.com"))).collect();
    let message = OutgoingMessage { to, ..message() };
    let built = built(&message);
    assert_eq!(built.recipients.len(), 10_000);
    assert_eq!(parse(&built.bytes).to.len(), 10_000);
}

#[test]
fn files_arrive_byte_for_byte_whatever_they_call_themselves() {
    let contents: [&'static [u8]; 7] = [
        b"",
        b"\r\n",
        b"a\rb\nc\r\nd",
        b"\0\0",
        b"\xff\xfe",
        b"--=_x\r\n--",
        b"From: a@b.c\nSubject: bare\n\nx",
    ];
    for content_type in
        ["text/plain", "text/html", "message/rfc822", "multipart/mixed", "application/octet-stream"]
    {
        for bytes in contents {
            let message = OutgoingMessage { attachments: vec![file("f", content_type, bytes)], ..message() };
            let parsed = parse(&built(&message).bytes);
            assert_eq!(parsed.attachments.len(), 1);
            assert_eq!(parsed.attachments[0].bytes, bytes, "{content_type}");
        }
    }
}

#[test]
fn a_message_around_its_files_is_the_same_message_and_looks_into_none() {
    const FORWARDED: &[u8] = b"From: x@example.com\r\nSubject: y\r\n\r\nz\r\n";
    let contents: [&'static [u8]; 4] = [b"", b"\x89PNG\r\n", &[7; 1000], FORWARDED];
    let picture =
        OutgoingAttachment { inline_id: Some("logo@x".into()), ..file("l", "image/png", contents[1]) };
    let attachments = vec![
        file("empty", "text/plain", contents[0]),
        picture,
        file("large", "application/pdf", contents[2]),
        file("mail.eml", "message/rfc822", contents[3]),
    ];
    let message = OutgoingMessage { html: Some("<img src=\"cid:logo@x\">".into()), attachments, ..message() };
    let whole = built(&message);

    let known: Vec<Content> = contents
        .iter()
        .map(|bytes| Content { size: bytes.len() as u64, clean: *bytes == FORWARDED })
        .collect();
    let mut without = message;
    without.attachments.iter_mut().for_each(|file| file.bytes = Bytes::new());
    let frame = frame(&without, &known).unwrap();
    let mut bytes = Vec::new();
    for piece in &frame.pieces {
        match piece {
            Piece::Bytes(text) => bytes.extend_from_slice(text),
            Piece::File { number, encoding } => {
                let mut encoder = encoding.encoder();
                for piece in contents[*number].chunks(100) {
                    encoder.push(piece, &mut bytes);
                }
                encoder.end(&mut bytes);
            }
        }
    }
    assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&whole.bytes));
    assert_eq!(frame.size, whole.size as u64, "known before a file is read");
    assert_eq!((frame.needs_eight_bit, frame.needs_utf8), (whole.needs_eight_bit, whole.needs_utf8));
    assert_eq!(frame.recipients, whole.recipients);
}

/// Lines of several scripts, with everything that headers give a meaning to.
fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,200}",
        "[a-zA-Z ]{0,1500}",
        "[àéîõüßÆŁşğı ]{0,80}",
        "[Α-Ωα-ωА-Яа-я ]{0,80}",
        "[א-ת؀-ۿ ]{0,60}",
        "[一-龥ぁ-んァ-ヶ가-힣 ]{0,80}",
        "[😀-🙏a-z ]{0,40}",
        "(=\\?utf-8\\?[QB]\\?[a-zA-Z0-9=_]{0,12}\\?= ?){1,3}",
        "[\"\\\\<>@,;:().= a-z]{0,60}",
        "\\PC{0,100}",
    ]
}

/// What a line of text is when white space does not count.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_built_is_clean_and_parses_back(
        subject in line(), name in line(), file_name in line(), text in "(\\PC{0,200}\r?\n?){0,8}", html in prop::option::of("\\PC{0,300}"),
    ) {
        prop_assume!(![&subject, &name, &file_name].iter().any(|l| l.contains(['\u{2028}', '\u{2029}'])));
        let message = OutgoingMessage {
            subject: subject.clone(),
            to: vec![named(&name, "to@example.com")],
            text: Some(text.clone()),
            html,
            attachments: vec![file(&file_name, "application/octet-stream", b"content")],
            ..message()
        };
        let built = built(&message);
        let parsed = parse(&built.bytes);
        assert_storable(&parsed);
        prop_assert_eq!(words(parsed.subject.as_deref().unwrap_or_default()), words(&subject));
        prop_assert_eq!(&parsed.to[0].address, "to@example.com");
        prop_assert_eq!(&parsed.from, &[Party { name: Some("Ada Lovelace".into()), address: "ada@example.com".into() }]);
        prop_assert_eq!(parsed.date, Some(message.date));
        prop_assert_eq!(parsed.message_id.as_deref(), Some(message.message_id.as_str()));
        let sent = text.replace("\r\n", "\n");
        prop_assert_eq!(words(parsed.text.as_deref().unwrap_or_default()), words(&sent.replace(char::is_control, " ")));
        prop_assert_eq!(parsed.attachments.len(), 1);
        prop_assert_eq!(&parsed.attachments[0].bytes[..], b"content");
    }

    #[test]
    fn names_survive_the_way(name in "[a-zA-Zàéüß一-龥א-תА-я0-9.,;:@()<>]{1,40}( [a-zA-Zàéüß一-龥א-תА-я0-9.,;:@()<>]{1,40}){0,3}") {
        let message = OutgoingMessage { to: vec![named(&name, "to@example.com")], ..message() };
        let parsed = parse(&built(&message).bytes);
        prop_assert_eq!(parsed.to.len(), 1);
        prop_assert_eq!(parsed.to[0].name.as_deref(), Some(name.as_str()));
    }
}
