//! Messages made to break a parser: deep, wide, long, and bytes at random.

use std::fmt::Write as _;

use model::message::ParseWarning;
use proptest::prelude::*;

use super::mutate::assert_storable;
use super::{limits, parse};

fn says(raw: &[u8], warning: ParseWarning) -> bool {
    let message = parse(raw);
    assert_storable(&message);
    message.warnings.contains(&warning)
}

#[test]
fn a_message_that_cannot_be_parsed_is_kept_with_a_warning() {
    for raw in [&b""[..], b"\r\n\r\n", b"no header here", b"\0\0\0\0", b"\xff\xfe\x00binary\x01"] {
        let message = parse(raw);
        assert_eq!(message.warnings, [ParseWarning::Unparsable]);
        assert_eq!(message.text, None);
    }
}

#[test]
fn ten_thousand_recipients_are_all_read() {
    let mut raw = String::from("From: a@example.com\r\nTo: ");
    for number in 0..10_000 {
        write!(raw, "\"Person {number}\" <person{number}@example.com>,\r\n ").unwrap();
    }
    raw.push_str("last@example.com\r\n\r\nbody\r\n");
    let message = parse(raw.as_bytes());
    assert_storable(&message);
    assert_eq!(message.to.len(), 10_001);
    assert_eq!(message.to[9_999].address, "person9999@example.com");
    assert_eq!(message.text.as_deref(), Some("body\n"));
}

#[test]
fn more_recipients_than_the_limit_are_cut_with_a_warning() {
    let raw = format!("From: a@example.com\r\nTo: {}\r\n\r\nx", "a@b.c, ".repeat(100_000));
    let message = parse(raw.as_bytes());
    assert_eq!(message.from.len() + message.to.len(), limits().parties);
    assert!(message.warnings.contains(&ParseWarning::TooManyParties));
}

#[test]
fn a_header_field_longer_than_its_limit_is_cut_and_the_rest_is_read() {
    for filler in
        ["x", "x ", "=?utf-8?Q?x", "=?utf-8?q?", " =?aa?b?", "<", "(", "\"", ";a=b", "@,", "a:b;", "\\"]
    {
        for field in
            ["Subject", "To", "Message-ID", "References", "Content-Type", "Received", "X-Odd", "Date"]
        {
            let length = if field == "To" { 1_200_000 } else { 80_000 };
            let raw = format!(
                "From: a@example.com\r\n{field}: {}\r\nList-Id: <after>\r\n\r\nbody",
                filler.repeat(length / filler.len())
            );
            let message = parse(raw.as_bytes());
            assert_storable(&message);
            assert!(message.warnings.contains(&ParseWarning::HeaderTooLong), "{field} {filler}");
            assert_eq!(message.list_id.as_deref(), Some("after"), "{field} {filler}");
        }
    }
}

#[test]
fn a_hundred_thousand_headers_are_cut_and_the_body_is_read() {
    let raw = format!("From: a@example.com\r\n{}\r\nbody", "X-Header: value\r\n".repeat(100_000));
    assert!(says(raw.as_bytes(), ParseWarning::TooManyHeaders));
    assert_eq!(parse(raw.as_bytes()).text.as_deref(), Some("body"));
}

#[test]
fn a_thousand_nested_parts_do_not_overflow_the_stack() {
    let mut raw = String::from("From: a@example.com\r\n");
    for level in 0..1_000 {
        write!(raw, "Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n").unwrap();
    }
    raw.push_str("\r\nthe core\r\n");
    let message = parse(raw.as_bytes());
    assert_storable(&message);
    assert!(message.warnings.contains(&ParseWarning::TooDeep));
    assert_eq!(message.attachments.len(), 1, "what lies deeper is one attachment");
    assert!(message.attachments[0].bytes.ends_with(b"the core\r\n"));
}

#[test]
fn a_hundred_thousand_nested_messages_are_one_attachment() {
    let raw = format!("From: a@example.com\r\n{}x", "Content-Type: message/rfc822\r\n\r\n".repeat(100_000));
    let message = parse(raw.as_bytes());
    assert_storable(&message);
    assert_eq!(message.attachments.len(), 1);
    assert_eq!(message.attachments[0].content_type, "message/rfc822");
}

#[test]
fn more_parts_than_the_limit_are_cut_with_a_warning() {
    let raw = format!(
        "From: a@example.com\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{}--b--\r\n",
        "--b\r\n\r\ntext\r\n".repeat(100_000)
    );
    let message = parse(raw.as_bytes());
    assert_storable(&message);
    assert!(message.warnings.contains(&ParseWarning::TooManyParts));
    assert_eq!(message.text.map(|text| text.lines().count()), Some(limits().parts - 1));
}

#[test]
fn megabytes_that_look_like_boundaries_cost_their_length() {
    let multipart = "From: a@example.com\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n";
    for filler in [
        "--bb\r\n",
        "--\r\n",
        "-",
        "--b \r",
        "\r\n",
        "\n",
        "Content-Type: multipart/mixed; boundary=c\r\n\r\n",
    ] {
        let raw = format!("{multipart}{}", filler.repeat(3_000_000 / filler.len()));
        assert_storable(&parse(raw.as_bytes()));
    }
}

#[test]
fn a_body_longer_than_the_limit_is_cut_between_two_characters() {
    let raw = format!(
        "From: a@example.com\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{}",
        "é".repeat(3_000_000)
    );
    let message = parse(raw.as_bytes());
    assert!(message.warnings.contains(&ParseWarning::TruncatedText));
    assert_eq!(message.text.unwrap().len(), limits().body_bytes);
}

#[test]
fn html_made_to_break_a_layout_still_becomes_a_message() {
    let colspan = "<table><tr><td colspan=1000000000>x</td><td rowspan=4294967295>y</td></tr></table>";
    for html in [
        "<div>".repeat(100_000),
        "<table><tr><td>".repeat(30_000),
        "<b><i>".repeat(50_000),
        "<a href=x>".repeat(30_000),
        "<ul><li>".repeat(30_000),
        "<blockquote>".repeat(150),
        "<p>".repeat(100_000),
        "<table><tr><td>".repeat(66),
        format!("<table>{}</table>", "<tr><td>x<td>y".repeat(20_000)),
        format!("<table><tr>{}</tr></table>", "<td>x</td>".repeat(20_000)),
        colspan.to_owned(),
        "&".repeat(200_000),
        "&#x110000;&#0;&#xD800;".repeat(10_000),
        "<!--".repeat(50_000),
        "<svg><math>".repeat(20_000),
        format!("<pre>{}</pre>", "x".repeat(250_000)),
        format!("<p>{}</p>", "\u{301}".repeat(100_000)),
        "<ol start=99999999999999999999><li>x<li>y</ol>".to_owned(),
        "<ol start=-9223372036854775808><li>x<li>y</ol>".to_owned(),
        "<select><option>".repeat(20_000),
        "</p>".repeat(60_000),
        "<font></p>".repeat(20_000),
        "<b><p></b>".repeat(20_000),
        "<a b=c ".repeat(30_000),
        // Names of attributes that begin beyond ASCII, which slicing by bytes once broke over.
        "<a üü href=x>y</a><img \u{202e}><ol ÿ><li>x</ol>".to_owned(),
    ] {
        let raw = format!("From: a@example.com\r\nContent-Type: text/html\r\n\r\n{html}");
        let message = parse(raw.as_bytes());
        assert_storable(&message);
        assert!(message.text_derived);
    }
}

#[test]
fn a_report_names_nobody_by_an_address_longer_than_any() {
    let long = format!("{}@b.example", "a".repeat(2_000));
    for raw in [
        format!(
            "Return-Path: <>\r\nFrom: mailer-daemon@b.example\r\nX-Failed-Recipients: {long}, a@b.example\r\n\r\nx"
        ),
        format!(
            "Return-Path: <>\r\nFrom: {long}\r\nContent-Type: message/disposition-notification\r\n\r\nDisposition: x; displayed"
        ),
    ] {
        super::mutate::hold(raw.as_bytes());
    }
}

#[test]
fn two_thousand_broken_messages_hold_what_every_message_holds() {
    let seeds = super::mutate::seeds();
    for number in 0..2_000 {
        let raw = super::mutate::case(&seeds, number);
        let held = std::panic::catch_unwind(|| super::mutate::hold(&raw));
        assert!(held.is_ok(), "case {number}; `make fuzz FROM={number} CASES=1` runs it alone");
    }
}

/// Bytes that look like a message now and then.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "From: ",
        "To: ",
        "Subject: ",
        "Date: ",
        "Content-Type: ",
        "multipart/mixed; ",
        "multipart/alternative; ",
        "multipart/related; ",
        "boundary=b",
        "boundary=\"c\"",
        "text/html; ",
        "text/plain; ",
        "charset=utf-16",
        "charset=utf-7",
        "charset=iso-2022-jp",
        "format=flowed; delsp=yes",
        "message/rfc822",
        "\r\n",
        "\r\n\r\n",
        "\n",
        "\r",
        "--b\r\n",
        "--c\r\n",
        "--b--\r\n",
        "--c--\r\n",
        "=?utf-8?Q?",
        "=?utf-8?B?",
        "?=",
        "=E9",
        "a@b.c",
        "<",
        ">",
        "\"",
        "(",
        ")",
        ",",
        ";",
        ":",
        "\\",
        " ",
        "\t",
        "\0",
        "é",
        "💌",
        "=",
        "name*0*=utf-8''%E9",
        "filename=",
        "Content-Disposition: attachment; ",
        "Content-Transfer-Encoding: base64",
        "quoted-printable",
        "Received: ",
        "<table>",
        "<td>",
        "<p>",
        "&amp;",
        "Message-ID: <",
        "References: ",
        "Tue, 14 Nov 2023 22:13:20 +9999",
        "> ",
    ]);
    let piece = prop_oneof![
        8 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(piece, 0..120).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_never_panic(raw in prop::collection::vec(any::<u8>(), 0..2_000)) {
        assert_storable(&parse(&raw));
    }

    #[test]
    fn random_pieces_of_messages_never_panic(raw in pieces()) {
        let message = parse(&raw);
        assert_storable(&message);
        model::identity::identity(&message, &raw);
    }

    #[test]
    fn a_message_cut_anywhere_never_panics(cut in 0_usize..4_000) {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus");
        for entry in std::fs::read_dir(directory).unwrap() {
            let raw = std::fs::read(entry.unwrap().path()).unwrap();
            assert_storable(&parse(&raw[..cut.min(raw.len())]));
        }
    }
}
