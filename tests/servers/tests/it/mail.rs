//! Dovecot and Postfix.

use std::time::Duration;

use servers::{MailOptions, MailServers};

use crate::session::Session;

#[tokio::test]
async fn a_message_goes_in_by_submission_and_out_by_pop3() {
    let mail = MailServers::start_with(MailOptions::default().message_size_limit(20_000)).await;
    mail.add_mailbox("anna@example.org", "o:p\"ä");
    mail.add_mailbox("Bert@example.org", "two");

    // What is delivered past SMTP stays as it is.
    mail.deliver("anna@example.org", b"Subject: first\r\n\r\nbare\nlines\r\n");
    assert_eq!(mail.messages("anna@example.org"), [b"Subject: first\r\n\r\nbare\nlines\r\n"]);

    // No password without TLS, no wrong password with it; a changed one holds at once.
    let mut pop3 = Session::open(mail.pop3_port, mail.ca_pem()).await;
    assert!(pop3.line().await.starts_with("+OK"));
    pop3.ask_for("USER anna@example.org", "-ERR").await;
    pop3.ask_for("STLS", "+OK").await;
    let mut pop3 = pop3.secure().await;
    pop3.ask_for("USER anna@example.org", "+OK").await;
    pop3.ask_for("PASS wrong", "-ERR [AUTH]").await;
    mail.set_password("anna@example.org", "new");
    pop3.ask("USER anna@example.org").await;
    pop3.ask_for("PASS o:p\"ä", "-ERR [AUTH]").await;
    pop3.ask("USER anna@example.org").await;
    pop3.ask_for("PASS new", "+OK").await;
    pop3.ask_for("STAT", "+OK 1 ").await;

    // Submission: TLS and a password first; sizes and refusals as told.
    let mut smtp = Session::open(mail.submission_port, mail.ca_pem()).await;
    assert!(smtp.reply().await.starts_with("220"));
    assert!(smtp.exchange("EHLO here").await.contains("SIZE 20000"));
    smtp.exchange_for("MAIL FROM:<anna@example.org>", "530").await;
    smtp.exchange_for("STARTTLS", "220").await;
    let mut smtp = smtp.secure().await;
    assert!(smtp.exchange("EHLO here").await.contains("AUTH PLAIN"));
    smtp.exchange_for("MAIL FROM:<anna@example.org>", "250").await;
    smtp.exchange_for("RCPT TO:<bert@example.org>", "554").await;
    smtp.exchange("RSET").await;
    // \0bert@example.org\0bad and \0bert@example.org\0two
    smtp.exchange_for("AUTH PLAIN AGJlcnRAZXhhbXBsZS5vcmcAYmFk", "535").await;
    smtp.exchange_for("AUTH PLAIN AGJlcnRAZXhhbXBsZS5vcmcAdHdv", "235").await;
    smtp.exchange_for("MAIL FROM:<bert@example.org> SIZE=30000", "552").await;
    // Postfix remembers the size it refused until it is told to forget.
    smtp.exchange_for("RSET", "250").await;
    mail.refuse_recipient("full@example.org", Some("452 4.2.2 the mailbox is full"));
    mail.refuse_messages_from("bert@example.org", Some("554 5.7.1 not this one"));
    smtp.exchange_for("MAIL FROM:<bert@example.org>", "250").await;
    assert_eq!(
        smtp.exchange("RCPT TO:<full@example.org>").await,
        "452 4.2.2 <full@example.org>: Recipient address rejected: the mailbox is full"
    );
    smtp.exchange_for("RCPT TO:<anna@example.org>", "250").await;
    smtp.exchange_for("DATA", "354").await;
    smtp.exchange_for("Subject: refused\r\n\r\ntext\r\n.", "554").await;
    mail.refuse_messages_from("bert@example.org", None);
    smtp.exchange("MAIL FROM:<bert@example.org>").await;
    smtp.exchange("RCPT TO:<anna@example.org>").await;
    smtp.exchange("RCPT TO:<nobody@example.org>").await;
    smtp.exchange("DATA").await;
    smtp.exchange_for("Subject: second\r\n\r\ntext\r\n.", "250").await;

    // It arrives, and what has no mailbox comes back as a delivery report.
    let arrived = async {
        while mail.messages("anna@example.org").len() < 2 || mail.messages("bert@example.org").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), arrived).await.unwrap();
    let report = String::from_utf8(mail.messages("bert@example.org").remove(0)).unwrap();
    assert!(report.contains("Content-Type: message/delivery-status"), "{report}");

    // Both come back on their ports with what they had.
    mail.stop_postfix().await;
    mail.stop_dovecot().await;
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", mail.pop3_port)).await.is_err());
    mail.start_dovecot().await;
    mail.start_postfix().await;
    let pop3 = Session::open(mail.pop3s_port, mail.ca_pem()).await;
    let mut pop3 = pop3.secure().await;
    pop3.line().await;
    pop3.ask("USER anna@example.org").await;
    pop3.ask("PASS new").await;
    pop3.ask_for("STAT", "+OK 2 ").await;
    let smtps = Session::open(mail.submissions_port, mail.ca_pem()).await;
    assert!(smtps.secure().await.reply().await.starts_with("220"));
}
