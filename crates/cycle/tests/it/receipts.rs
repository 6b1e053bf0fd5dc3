//! Receipts that a sender wants are asked for on the wire, and nobody else's: reports of servers where the server offers
//! them (RFC 3461), read receipts in the header (RFC 8098).

use std::sync::{Arc, Mutex};

use model::email::EmailState;
use model::workload::Workload;
use store::outgoing::Draft;

use crate::house::{House, config};
use crate::outgoing::{pending, state, to};
use crate::scripted::{Scripted, say};

/// A house whose server offers these extensions, and what the server hears.
async fn listening(extensions: &'static str) -> (House, Scripted, Arc<Mutex<Vec<String>>>) {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let ears = heard.clone();
    let server = Scripted::smtp(move |line| {
        ears.lock().unwrap().push(line.to_owned());
        line.starts_with("EHLO").then(|| say(format!("250-here\r\n{extensions}250 AUTH PLAIN\r\n")))
    })
    .await;
    let (endpoint, ca) = (server.endpoint.clone(), server.ca_pem.clone());
    let house = House::with(config(), |profile| {
        profile.outgoing = endpoint;
        profile.ca_certificate = Some(ca);
    })
    .await;
    (house, server, heard)
}

/// What is said of receipts, in the envelope and in the header, for each of what a sender may want.
async fn asked(extensions: &'static str, expected: impl Fn(bool, &str) -> [String; 3]) {
    let (house, _server, heard) = listening(extensions).await;
    let (_, from, address) = house.person("sender").await;
    for (read, delivered) in [(false, false), (true, false), (false, true), (true, true)] {
        let draft = Draft {
            to: to("one+x@example.org"),
            bcc: to("two@example.org"),
            text: Some("Hello".to_owned()),
            read_receipt_requested: read,
            delivery_receipt_requested: delivered,
            ..Draft::default()
        };
        let email = pending(&house, from, draft).await;
        heard.lock().unwrap().clear();
        house.cycle(from, Workload::Outgoing).await;
        assert_eq!(state(&house, email).await, EmailState::Sent);
        let request = store::outgoing::state_of(&house.tenant().await, email).await.unwrap().unwrap().request;
        let heard = heard.lock().unwrap().clone();
        let of = |starts: &[&str]| -> Vec<String> {
            let lines = heard.iter().filter(|line| starts.iter().any(|start| line.starts_with(start)));
            lines.cloned().collect()
        };
        let [mail, one, two] = expected(delivered, &request.0.simple().to_string());
        assert_eq!(
            of(&["MAIL", "RCPT"]),
            [
                format!("MAIL FROM:<{address}>{mail}"),
                format!("RCPT TO:<one+x@example.org>{one}"),
                format!("RCPT TO:<two@example.org>{two}")
            ],
            "delivered: {delivered}"
        );
        let wanted: Vec<String> =
            read.then(|| format!("| Disposition-Notification-To: <{address}>")).into_iter().collect();
        assert_eq!(of(&["| Disposition-Notification", "| Return-Receipt"]), wanted, "read: {read}");
    }
}

#[tokio::test]
async fn a_server_that_offers_reports_is_asked_for_those_that_the_sender_wants() {
    asked("250-DSN\r\n", |delivered, request| {
        let notify = if delivered { "SUCCESS,FAILURE,DELAY" } else { "FAILURE,DELAY" };
        [
            format!(" RET=HDRS ENVID={request}"),
            format!(" NOTIFY={notify} ORCPT=rfc822;one+2Bx@example.org"),
            format!(" NOTIFY={notify} ORCPT=rfc822;two@example.org"),
        ]
    })
    .await;
}

#[tokio::test]
async fn a_server_that_offers_no_reports_is_asked_for_none_and_a_read_receipt_is_asked_for_all_the_same() {
    asked("250-8BITMIME\r\n", |_, _| [const { String::new() }; 3]).await;
}
