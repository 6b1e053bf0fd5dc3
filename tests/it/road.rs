//! The road in and out: real mail travels from a POP3 server into the records, and from the records out over SMTP.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lockstep_tests::until;
use serde_json::json;

use crate::house::{House, message};

#[tokio::test]
async fn mail_travels_in_and_out_and_comes_back_as_a_record() {
    let (house, _process) = House::whole().await;
    let (anna, bert) = (house.enabled("anna").await, house.enabled("bert").await);
    let (carl, dora) = (house.address("carl"), house.address("dora"));
    let mail = &house.installation.servers.mail;
    for outsider in [&carl, &dora] {
        mail.add_mailbox(outsider, "outside");
    }

    // In.
    let question = message(&carl, &anna.address, "A question", 0);
    mail.deliver(&anna.address, question.as_bytes());
    house.api.sync(&anna, "incoming").await;
    house.received(&anna, 1).await;
    let received = house.api.list("/emails?direction=incoming").await;
    assert_eq!(received.len(), 1, "{received:#?}");
    let question = house.api.get(&format!("/emails/{}", received[0]["id"].as_str().unwrap())).await;
    assert_eq!(question["subject"], "A question");
    assert_eq!(question["state"], "received");
    let question_id = question["message_id"].as_str().unwrap();
    assert!(question_id.ends_with("@sender.example"), "{question_id}");

    // Out: Cc, Bcc, an attachment and HTML.
    let draft = json!({
        "from": anna.id,
        "to": [{"address": bert.address, "name": "Bert"}],
        "cc": [{"address": carl}],
        "bcc": [{"address": dora}],
        "subject": "Re: A question – beantwortet",
        "html": "<p>Grüße aus <b>Köln</b></p>",
        "in_reply_to": question_id,
    });
    let draft = house.api.post("/emails", &draft).await.id();
    let content: Vec<u8> = (0..=255).cycle().take(70_000).collect();
    let path = format!("/emails/{draft}/attachments?name=bytes.bin");
    let uploaded = house.api.upload(&path, "application/octet-stream", content.clone()).await;
    assert!(uploaded.status.is_success(), "{uploaded:?}");
    let sent = house.api.send(&draft, &["sent"]).await;
    for address in [&bert.address, &carl, &dora] {
        let raw = house.arrived(address, 1).await.remove(0);
        let (headers, _) = raw.split_once("\r\n\r\n").or(raw.split_once("\n\n")).unwrap();
        assert!(!headers.to_lowercase().contains("bcc:"), "{headers}");
        assert!(headers_of_delivery(headers, &dora), "nobody sees a Bcc: {headers}");
        assert!(headers.contains(&format!("In-Reply-To: <{question_id}>")), "{headers}");
        assert!(headers.contains(sent["sending"]["message_id"].as_str().unwrap()), "{headers}");
        let encoded = BASE64_STANDARD.encode(&content);
        assert!(raw.replace(['\r', '\n'], "").contains(&encoded), "the attachment travels whole");
    }

    // Back in, as Bert's record.
    house.api.sync(&bert, "incoming").await;
    house.received(&bert, 1).await;
    let received = house.api.list(&format!("/emails?direction=incoming&mailbox={}", bert.id)).await;
    let record = house.api.get(&format!("/emails/{}", received[0]["id"].as_str().unwrap())).await;
    assert_eq!(record["subject"], "Re: A question – beantwortet");
    assert_eq!(record["in_reply_to"], question_id);
    assert_eq!(record["message_id"], sent["sending"]["message_id"], "linked with what was sent");
    assert!(!record.to_string().contains(&dora), "nobody sees a Bcc: {record:#}");
    let body = house.api.get(&format!("/emails/{}/body", record["id"].as_str().unwrap())).await;
    assert!(body["html"].as_str().unwrap().contains("Köln"), "{body:#}");
    assert!(body["text"].as_str().unwrap().contains("Grüße aus"), "HTML has a text alternative: {body:#}");
    let attachments = body["attachments"].as_array().unwrap();
    assert_eq!(attachments.len(), 1, "{body:#}");
    assert_eq!(attachments[0]["name"], "bytes.bin");
    let path = format!(
        "/emails/{}/attachments/{}",
        record["id"].as_str().unwrap(),
        attachments[0]["id"].as_str().unwrap()
    );
    assert_eq!(house.api.download(&path).await, content);
    let raw = house.api.download(&format!("/emails/{}/raw", record["id"].as_str().unwrap())).await;
    let arrived = house.arrived(&bert.address, 1).await.remove(0);
    assert!(String::from_utf8_lossy(&raw).lines().eq(arrived.lines()), "kept byte for byte as POP3 gives it");
}

/// Each server writes whom it delivers to into its own copy; that is not the sender's doing.
fn headers_of_delivery(headers: &str, address: &str) -> bool {
    headers.lines().filter(|line| line.contains(address)).all(|line| {
        let line = line.trim_start();
        line.starts_with("Delivered-To:")
            || line.starts_with("for <")
            || line.starts_with("X-Original-To:")
            || line.contains(" for <")
    })
}

#[tokio::test]
async fn what_was_seen_is_never_recorded_again() {
    let (house, _process) = House::whole().await;
    let anna = house.enabled("anna").await;
    for number in 0..30 {
        house.deliver(&anna, &format!("Message {number}"), 1000);
    }
    house.api.sync(&anna, "incoming").await;
    house.received(&anna, 30).await;
    house.scheduled(&anna, "incoming", "state", "idle").await;
    let changed = house.installation.count("select count(*) from changes").await;
    for _ in 0..3 {
        let finished = house.schedule(&anna, "incoming", "last_finished_at").await;
        house.api.sync(&anna, "incoming").await;
        until("another cycle ends", async || {
            let now = house.schedule(&anna, "incoming", "last_finished_at").await;
            if now == finished { Err("none has") } else { Ok(()) }
        })
        .await;
    }
    assert_eq!(house.receipts(&anna).await, 30);
    assert_eq!(house.installation.count("select count(*) from emails").await, 30);
    assert_eq!(
        house.installation.count("select count(*) from changes").await,
        changed,
        "a cycle that changed nothing only updates its row in the ring"
    );
}

#[tokio::test]
async fn refused_recipients_are_told_apart() {
    let (house, _process) = House::whole().await;
    let anna = house.enabled("anna").await;
    let (good, later, never) = (house.address("good"), house.address("later"), house.address("never"));
    let mail = &house.installation.servers.mail;
    mail.add_mailbox(&good, "outside");
    mail.add_mailbox(&later, "outside");
    mail.refuse_recipient(&later, Some("450 4.2.0 come back later"));
    mail.refuse_recipient(&never, Some("550 5.1.1 nobody of that name"));
    let draft = json!({
        "from": anna.id,
        "to": [{"address": good}, {"address": later}, {"address": never}],
        "subject": "To three",
        "text": "Hello.",
    });
    let draft = house.api.post("/emails", &draft).await.id();
    house.api.ask_to_send(&draft).await;
    house.arrived(&good, 1).await;
    let states = "select string_agg(state, ' ' order by position) from send_recipients";
    let states_are = async |wanted: &str| {
        until(&format!("the recipients are {wanted}"), async || {
            let row = house.installation.sql().await.query_one(states, &[]).await.expect("recipients");
            let found: String = row.get(0);
            if found == wanted { Ok(()) } else { Err(found) }
        })
        .await;
    };
    states_are("accepted deferred refused").await;
    house.api.email_in(&draft, &["pending_send"]).await;
    house.scheduled(&anna, "outgoing", "state", "idle").await;
    let alerts = house.api.alerts("recipients_refused").await;
    assert_eq!(alerts.len(), 1);
    assert!(alerts[0]["server_said"].as_str().unwrap().contains("nobody of that name"), "{:#}", alerts[0]);

    mail.refuse_recipient(&later, None);
    house.installation.pass(std::time::Duration::from_secs(3600)).await;
    house.api.email_in(&draft, &["sent"]).await;
    states_are("accepted accepted refused").await;
    house.arrived(&later, 1).await;
    assert_eq!(house.arrived(&good, 1).await.len(), 1, "who has it does not get it again");
}
