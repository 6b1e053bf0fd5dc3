//! Automatic mail on its way in: what counts as an answer, and where a report from outside ends up.

use model::automatic::Automatic;
use model::workload::Workload;
use store::email::{EmailFilter, Reader, list};

use crate::house::{House, config};

/// A message of a stranger that answers `sent@here.example`.
fn answer(to: &str, name: &str, header: &str) -> Vec<u8> {
    format!(
        "{header}Received: from elsewhere.example by mail.example; Fri, 20 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <{name}.{to}>\r\nDate: Fri, 20 Nov 2026 09:59:58 +0000\r\nFrom: stranger@elsewhere.example\r\n\
         To: <{to}>\r\nSubject: {name}\r\nIn-Reply-To: <sent.{to}>\r\n\r\nHello.\r\n"
    )
    .into_bytes()
}

#[tokio::test]
async fn an_answering_machine_makes_no_acquaintance_and_a_person_does() {
    let house = House::build().await;
    let (_, id, address) = house.person("away").await;
    let owner = house.database.owner().await.unwrap();
    owner
        .execute("update mailboxes set acceptance = 'known_senders_and_replies' where id = $1", &[&id.0])
        .await
        .unwrap();
    owner
        .execute(
            "insert into emails (organization_id, id, direction, state, message_id, created_by, modified_by)
             values ($1, gen_random_uuid(), 'outgoing', 'sent', $2, 'test', 'test')",
            &[&house.organization.0, &format!("sent.{address}")],
        )
        .await
        .unwrap();
    for (name, header) in [
        ("person", ""),
        ("through a list", "List-Id: <team.elsewhere.example>\r\n"),
        ("away", "Auto-Submitted: auto-replied\r\n"),
        ("Automatic reply: away", "Auto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\n"),
        ("by a program", "Auto-Submitted: auto-generated\r\n"),
    ] {
        house.servers.deliver(&address, &answer(&address, name, header));
    }
    house.cycle(id, Workload::Incoming).await;
    let tenant = house.tenant().await;
    let of = async |automatic| {
        let filter = EmailFilter { automatic, ..EmailFilter::default() };
        list(&tenant, Reader::Everything, &filter, None, 10).await.unwrap()
    };
    assert_eq!(of(Some(Automatic::List)).await.len(), 1);
    assert_eq!(of(Some(Automatic::OutOfOffice)).await.len(), 0);
    assert_eq!(of(None).await.len(), 3, "the one sent, a person's answer, and one through a list");
    assert_eq!(house.count("mailbox_items where decision = 'not_accepted'").await, 3);
}

#[tokio::test]
async fn a_report_about_nothing_that_was_sent_is_mail_and_says_what_kind() {
    let house = House::build().await;
    let (_, id, address) = house.person("bounced").await;
    let report = format!(
        "Return-Path: <>\r\nFrom: MAILER-DAEMON@elsewhere.example\r\nTo: <{address}>\r\n\
         Message-ID: <bounce.{address}>\r\nDate: Fri, 20 Nov 2026 09:59:58 +0000\r\nSubject: failure notice\r\n\r\n\
         Sorry, we were unable to deliver your message to the following address.\r\n\r\n<who@elsewhere.example>:\r\n\
         550 5.1.1 nobody\r\n\r\n--- Below this line is a copy of the message.\r\n\r\nMessage-ID: <never@sent.example>\r\n"
    );
    house.servers.deliver(&address, report.as_bytes());
    let away = String::from_utf8(answer(&address, "away", "Auto-Submitted: auto-replied\r\n")).unwrap();
    house.servers.deliver(&address, away.as_bytes());
    house.cycle(id, Workload::Incoming).await;
    let tenant = house.tenant().await;
    for kind in [Automatic::DeliveryReport, Automatic::OutOfOffice] {
        let filter = EmailFilter { automatic: Some(kind), ..EmailFilter::default() };
        let found = list(&tenant, Reader::Everything, &filter, None, 10).await.unwrap();
        assert_eq!(found.len(), 1, "{kind}");
        assert_eq!(found[0].automatic, Some(kind));
    }
    assert_eq!(house.count("reports").await, 0);
}

#[tokio::test]
async fn a_report_too_large_to_be_held_is_read_from_its_beginning_and_keeps_its_mark() {
    let mut config = config();
    config.streamed_mb = 1;
    let house = House::with(config, |_| {}).await;
    let (_, id, address) = house.person("bounced").await;
    house.takes_messages_up_to(100).await;
    // Nothing but the status part tells what it is, and that part is let go with the others.
    let mut report = format!(
        "Return-Path: <>\r\nFrom: MAILER-DAEMON@elsewhere.example\r\nTo: <{address}>\r\n\
         Message-ID: <bounce.{address}>\r\nDate: Fri, 20 Nov 2026 09:59:58 +0000\r\nSubject: Your mail\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee below.\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.elsewhere.example\r\n\r\n\
         Final-Recipient: rfc822; who@elsewhere.example\r\nAction: failed\r\nStatus: 5.1.1\r\n\r\n\
         --b\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: <never@sent.example>\r\n\r\n"
    );
    while report.len() < 1_500_000 {
        report.push_str("A line of the message that came back, one of very many.\r\n");
    }
    report.push_str("--b--\r\n");
    house.servers.deliver(&address, report.as_bytes());
    house.cycle(id, Workload::Incoming).await;
    let filter = EmailFilter { automatic: Some(Automatic::DeliveryReport), ..EmailFilter::default() };
    let found = list(&house.tenant().await, Reader::Everything, &filter, None, 10).await.unwrap();
    assert_eq!(found.len(), 1, "it is known for what it is");
    assert!(found[0].warnings.contains(&"truncated_text".to_owned()), "it was streamed");
}
