//! Streaming across mailboxes: one connection for many, as long as one server knows all of their subscriptions.

use exchange::{Exchange, Options};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::wire::{connect, envelope, send};

const SERVICE: &str = "Authorization: Basic c2VydmljZTpzZWNyZXQ=\r\n";

fn text<'a>(answer: &'a str, begin: &str, end: &str) -> &'a str {
    let rest = answer.split(begin).nth(1).unwrap_or_else(|| panic!("{begin} is not in {answer}"));
    rest.split(end).next().unwrap()
}

fn impersonating(mailbox: &str, body: &str) -> String {
    let header = format!(
        "<t:ExchangeImpersonation><t:ConnectingSID><t:SmtpAddress>{mailbox}</t:SmtpAddress></t:ConnectingSID>\
         </t:ExchangeImpersonation></s:Header>"
    );
    envelope("Exchange2013", body).replace("</s:Header>", &header)
}

async fn subscribe(exchange: &Exchange, mailbox: &str, headers: &str) -> String {
    let body = "<m:Subscribe><m:StreamingSubscriptionRequest><t:FolderIds><t:DistinguishedFolderId Id=\"inbox\"/>\
                </t:FolderIds><t:EventTypes><t:EventType>NewMailEvent</t:EventType></t:EventTypes>\
                </m:StreamingSubscriptionRequest></m:Subscribe>";
    let headers = format!("{SERVICE}X-PreferServerAffinity: true\r\n{headers}");
    send(exchange, "POST /EWS/Exchange.asmx", &headers, &impersonating(mailbox, body)).await
}

fn listen(ids: &[String]) -> String {
    let ids = ids.join("</t:SubscriptionId><t:SubscriptionId>");
    format!(
        "<m:GetStreamingEvents><m:SubscriptionIds><t:SubscriptionId>{ids}</t:SubscriptionId></m:SubscriptionIds><m:ConnectionTimeout>1</m:ConnectionTimeout>\
         </m:GetStreamingEvents>"
    )
}

#[tokio::test]
async fn one_connection_hears_of_many_mailboxes_when_the_cookie_led_all_to_one_server() {
    let exchange = Exchange::start(Options { backends: 7, ..Options::default() }).await;
    exchange.add_account("service", "secret");
    exchange.allow_impersonation("service");
    let mailboxes: Vec<String> = (0..20).map(|number| format!("user{number}@example.org")).collect();
    for mailbox in &mailboxes {
        exchange.add_mailbox(mailbox, mailbox, "secret");
    }
    let anchor = format!("X-AnchorMailbox: {}\r\n", mailboxes[0]);
    let first = subscribe(&exchange, &mailboxes[0], &anchor).await;
    let cookie = text(&first, "set-cookie: ", ";").to_owned();
    let group = format!("{anchor}Cookie: {cookie}\r\n");
    let mut ids = vec![text(&first, "<m:SubscriptionId>", "<").to_owned()];
    for mailbox in &mailboxes[1..] {
        let answer = subscribe(&exchange, mailbox, &group).await;
        ids.push(text(&answer, "<m:SubscriptionId>", "<").to_owned());
    }

    let mut stream = connect(&exchange).await;
    let body = impersonating(&mailboxes[0], &listen(&ids));
    let request = format!(
        "POST /EWS/Exchange.asmx HTTP/1.1\r\nHost: localhost\r\n{SERVICE}{group}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut heard = String::new();
    let mut part = vec![0; 16 * 1024];
    let mut delivered = false;
    while heard.matches("<t:NewMailEvent>").count() < mailboxes.len() {
        let read = stream.read(&mut part).await.unwrap();
        assert!(read > 0, "it ended: {heard}");
        heard.push_str(&String::from_utf8_lossy(&part[..read]));
        if !delivered && heard.contains("<m:ConnectionStatus>OK<") {
            for mailbox in &mailboxes {
                exchange.deliver(mailbox, b"From: carl@example.net\r\nSubject: News\r\n\r\n");
            }
            delivered = true;
        }
    }
    assert!(ids.iter().all(|id| heard.contains(id.as_str())));
}

#[tokio::test]
async fn a_subscription_is_unknown_to_the_servers_it_was_not_made_on() {
    let exchange = Exchange::start(Options { backends: 7, ..Options::default() }).await;
    exchange.add_account("service", "secret");
    exchange.allow_impersonation("service");
    let mut ids = Vec::new();
    for number in 0..20 {
        let mailbox = format!("user{number}@example.org");
        exchange.add_mailbox(&mailbox, &mailbox, "secret");
        // Each is led to where its own mailbox is at home.
        let answer = subscribe(&exchange, &mailbox, &format!("X-AnchorMailbox: {mailbox}\r\n")).await;
        ids.push(text(&answer, "<m:SubscriptionId>", "<").to_owned());
    }
    let headers = format!("{SERVICE}X-AnchorMailbox: user0@example.org\r\n");
    let body = impersonating("user0@example.org", &listen(&ids));
    let answer = send(&exchange, "POST /EWS/Exchange.asmx", &headers, &body).await;
    assert!(
        answer.contains("ErrorInvalidSubscription") && answer.contains("<m:ErrorSubscriptionIds>"),
        "{answer}"
    );
    assert!(!text(&answer, "<m:ErrorSubscriptionIds>", "</m:ErrorSubscriptionIds>").contains(&ids[0]));
}

#[tokio::test]
async fn an_old_version_of_the_schema_has_no_streams() {
    let exchange = Exchange::start(Options::default()).await;
    exchange.add_account("service", "secret");
    let body = listen(&["none".to_owned()]);
    for (version, code) in
        [("Exchange2010", "ErrorSchemaValidation"), ("Exchange2010_SP1", "ErrorInvalidSubscription")]
    {
        let answer = send(&exchange, "POST /EWS/Exchange.asmx", SERVICE, &envelope(version, &body)).await;
        assert!(answer.contains(code), "{version}: {answer}");
    }
}
