//! What no client looks at: versions, ways to sign in, faults, counts, and what becomes of a sent copy.

use std::time::Duration;

use exchange::{Fault, Offer, Options, Rule, SentCopy, Version};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::wire::{ANNA, GET_INBOX, anna, ask, connect, envelope, send};

#[tokio::test]
async fn the_newest_version_is_negotiated_and_every_answer_names_the_server() {
    let exchange = anna(Options { version: Version::Exchange2013, ..Options::default() }).await;
    let answer = ask(&exchange, GET_INBOX).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("content-type: text/xml; charset=utf-8\r\n"), "{answer}");
    assert!(
        answer.contains("MajorVersion=\"15\"") && answer.contains("Version=\"Exchange2013\""),
        "{answer}"
    );
    let headers = format!("Authorization: {ANNA}\r\n");
    let newer = envelope("Exchange2016", GET_INBOX);
    let answer = send(&exchange, "POST /EWS/Exchange.asmx", &headers, &newer).await;
    assert!(answer.starts_with("HTTP/1.1 500"), "{answer}");
    assert!(
        answer.contains("<faultcode xmlns:a=") && answer.contains("a:ErrorInvalidServerVersion"),
        "{answer}"
    );
    let versions: Vec<String> = exchange.requests().into_iter().map(|request| request.version).collect();
    assert_eq!(versions, ["Exchange2013", "Exchange2016"]);
}

#[tokio::test]
async fn only_what_is_offered_signs_in() {
    let exchange = anna(Options { offers: vec![Offer::Bearer], ..Options::default() }).await;
    exchange.set_token("anna@example.org", "good", true);
    let asked = envelope("Exchange2013", GET_INBOX);
    let with = async |header: &str| {
        send(&exchange, "POST /EWS/Exchange.asmx", &format!("Authorization: {header}\r\n"), &asked).await
    };
    let refused = with(ANNA).await;
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");
    assert!(
        refused.contains("www-authenticate: Bearer client_id=") && !refused.contains("Basic realm"),
        "{refused}"
    );
    assert!(with("Bearer good").await.starts_with("HTTP/1.1 200"));
    exchange.set_token("anna@example.org", "good", false);
    assert!(with("Bearer good").await.starts_with("HTTP/1.1 401"));

    // A look at the endpoint without credentials says how to sign in; strict clients accept 401 or 200 only.
    exchange.reconfigure(|options| options.offers = vec![Offer::Basic]);
    let answer = send(&exchange, "GET /EWS/Exchange.asmx", "", "").await;
    assert!(
        answer.starts_with("HTTP/1.1 401") && answer.contains("www-authenticate: Basic realm"),
        "{answer}"
    );
    let answer = send(&exchange, "GET /EWS/Exchange.asmx", &format!("Authorization: {ANNA}\r\n"), "").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn each_fault_breaks_the_answer_it_is_set_for_and_no_other() {
    let exchange = anna(Options::default()).await;
    let second = Some(Duration::from_millis(1500));
    for (fault, expected) in [
        (Fault::Status(503, Some(7)), vec!["HTTP/1.1 503", "retry-after: 7"]),
        (Fault::Status(429, None), vec!["HTTP/1.1 429"]),
        (Fault::Busy(second), vec!["HTTP/1.1 500", "ErrorServerBusy", "Name=\"BackOffMilliseconds\">1500<"]),
        (
            Fault::BusyMessage(second),
            vec!["HTTP/1.1 200", "ErrorServerBusy", "Name=\"BackOffMilliseconds\">1500<"],
        ),
        (
            Fault::Refused("ErrorExceededConnectionCount".into()),
            vec!["HTTP/1.1 500", "ErrorExceededConnectionCount"],
        ),
        (
            Fault::RefusedMessage("ErrorMailboxMoveInProgress".into()),
            vec!["HTTP/1.1 200", "ErrorMailboxMoveInProgress"],
        ),
        (Fault::Unauthorized, vec!["HTTP/1.1 401", "www-authenticate"]),
        (Fault::EntityBomb, vec!["HTTP/1.1 200", "<!ENTITY a9"]),
        (Fault::ExternalEntity, vec!["file:///etc/passwd"]),
        (Fault::WebPage, vec!["content-type: text/html"]),
        (Fault::FalseLength(2 << 30), vec!["content-length: 2147483648", "</s:Envelope>"]),
        (Fault::EndlessChunks, vec!["transfer-encoding: chunked", "xxxxxxxx"]),
    ] {
        exchange.fault(Rule::new(fault.clone()).on("GetFolder").times(1));
        let answer = ask(&exchange, GET_INBOX).await;
        for part in expected {
            assert!(
                answer.contains(part),
                "{fault:?}: {part} is not in {}",
                &answer[..answer.len().min(2000)]
            );
        }
        let whole = ask(&exchange, GET_INBOX).await;
        assert!(
            whole.starts_with("HTTP/1.1 200") && whole.ends_with("</s:Envelope>"),
            "after {fault:?}: {whole}"
        );
    }
    for fault in [Fault::DropBefore, Fault::DropAfter, Fault::DropMidway, Fault::Truncated] {
        exchange.fault(Rule::new(fault.clone()).on("GetFolder").times(1));
        let answer = ask(&exchange, GET_INBOX).await;
        assert!(!answer.ends_with("</s:Envelope>"), "{fault:?}: {answer}");
        assert_eq!(
            answer.is_empty(),
            matches!(fault, Fault::DropBefore | Fault::DropAfter),
            "{fault:?}: {answer}"
        );
    }
    assert!(ask(&exchange, GET_INBOX).await.ends_with("</s:Envelope>"));
}

#[tokio::test]
async fn a_sent_copy_may_be_nowhere_for_a_while_or_in_the_outbox() {
    for (how, in_outbox) in [
        (SentCopy::Late(Duration::from_secs(3600)), 0),
        (SentCopy::ThroughOutbox(Duration::from_secs(3600)), 1),
    ] {
        let exchange = anna(Options { sent_copy: how, ..Options::default() }).await;
        let sent = ask(
            &exchange,
            "<m:CreateItem MessageDisposition=\"SendAndSaveCopy\"><m:Items><t:Message><t:Subject>Hi</t:Subject>\
             <t:ToRecipients><t:Mailbox><t:EmailAddress>bert@example.org</t:EmailAddress></t:Mailbox></t:ToRecipients>\
             </t:Message></m:Items></m:CreateItem>",
        )
        .await;
        assert!(sent.contains("NoError"), "{sent}");
        assert_eq!(exchange.folder("bert@example.org", "inbox").len(), 1);
        assert_eq!(exchange.folder("anna@example.org", "outbox").len(), in_outbox);
        assert_eq!(exchange.folder("anna@example.org", "sentitems").len(), 0);
        exchange.bring_sent_copies();
        assert_eq!(exchange.folder("anna@example.org", "outbox").len(), 0);
        let (copy, got) = (
            &exchange.folder("anna@example.org", "sentitems")[0],
            &exchange.folder("bert@example.org", "inbox")[0],
        );
        assert_eq!(copy.message_id, got.message_id);
    }
}

#[tokio::test]
async fn requests_connections_and_mailboxes_are_counted() {
    let exchange = anna(Options::default()).await;
    let (one, other) = tokio::join!(connect(&exchange), connect(&exchange));
    while exchange.connections().now < 2 {
        tokio::task::yield_now().await;
    }
    drop((one, other));
    while exchange.connections().now > 0 {
        tokio::task::yield_now().await;
    }
    ask(&exchange, GET_INBOX).await;
    ask(&exchange, GET_INBOX).await;
    assert_eq!(exchange.connections().most, 2);
    assert_eq!(exchange.connections_of("anna@example.org").most, 1);
    assert_eq!(exchange.connections_of("bert@example.org").most, 0);
    assert_eq!(exchange.count("GetFolder"), 2);
    assert_eq!(exchange.requests()[0].login, "anna@example.org");
}

#[tokio::test]
async fn a_mailbox_has_so_many_connections_and_no_more() {
    let exchange = anna(Options { max_connections: Some(2), ..Options::default() }).await;
    let request = {
        let body = envelope("Exchange2013", GET_INBOX);
        format!(
            "POST /EWS/Exchange.asmx HTTP/1.1\r\nHost: localhost\r\nAuthorization: {ANNA}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = connect(&exchange).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).await.unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200");
        held.push(stream);
    }
    let answer = ask(&exchange, GET_INBOX).await;
    assert!(
        answer.starts_with("HTTP/1.1 500") && answer.contains("ErrorExceededConnectionCount"),
        "{answer}"
    );
    held.pop();
    while exchange.connections_of("anna@example.org").now > 1 {
        tokio::task::yield_now().await;
    }
    assert!(ask(&exchange, GET_INBOX).await.starts_with("HTTP/1.1 200"));
    assert_eq!(exchange.connections_of("anna@example.org").most, 3);
}

#[tokio::test]
async fn requests_outside_the_schema_are_refused_as_exchange_refuses_them() {
    let exchange = anna(Options::default()).await;
    for (body, code) in [
        ("<m:Nonsense/>", "ErrorInvalidRequest"),
        (
            "<m:CreateItem MessageDisposition=\"SaveOnly\"><m:Items><t:Message><t:ToRecipients/><t:Subject>x</t:Subject>\
             </t:Message></m:Items></m:CreateItem>",
            "ErrorSchemaValidation",
        ),
        (
            "<m:SyncFolderItems><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:SyncFolderId>\
             <t:DistinguishedFolderId Id=\"inbox\"/></m:SyncFolderId><m:MaxChangesReturned>513</m:MaxChangesReturned>\
             </m:SyncFolderItems>",
            "ErrorSchemaValidation",
        ),
    ] {
        let answer = ask(&exchange, body).await;
        assert!(answer.starts_with("HTTP/1.1 500") && answer.contains(code), "{answer}");
    }
    let headers = format!("Authorization: {ANNA}\r\n");
    let bomb = "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>";
    let answer = send(&exchange, "POST /EWS/Exchange.asmx", &headers, bomb).await;
    assert!(answer.contains("DTD is prohibited"), "{answer}");
    for (id, code) in [("AAMkbroken", "ErrorInvalidIdMalformed"), ("", "ErrorInvalidIdMalformed")] {
        let body = format!(
            "<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:ItemIds><t:ItemId Id=\"{id}\"/>\
             </m:ItemIds></m:GetItem>"
        );
        let answer = ask(&exchange, &body).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(code), "{answer}");
    }
}

#[tokio::test]
async fn bodies_are_rewritten_and_message_ids_given_as_exchange_does() {
    let exchange = anna(Options { rewrites_bodies: true, ..Options::default() }).await;
    exchange.deliver(
        "anna@example.org",
        b"Message-ID: <a@b.example>\r\nContent-Type: text/html\r\n\r\n<p>Hi</p>\n",
    );
    let got = &exchange.folder("anna@example.org", "inbox")[0];
    assert_eq!(got.message_id, "<a@b.example>");
    let text = String::from_utf8_lossy(&got.mime).into_owned();
    assert!(text.contains("charset=3Dutf-8") || text.contains("charset=utf-8\""), "{text}");
}
