//! Mail from an Exchange server into Postgres, first synchronization, beside the same messages by POP3: each next to a plain loop of
//! its protocol's calls at the same server, which throws everything away. The server is the simulator, in a process with what
//! is measured: it says what the roads cost, and nothing about Microsoft's servers.

use std::sync::Arc;
use std::time::Instant;

use ::exchange::{Exchange, Options};
use model::endpoint::{Endpoint, Protocol, Tls};
use model::profile::{ExchangeAccess, ProfileKind};
use model::workload::Workload;
use reqwest::{Certificate, Client};
use servers::MailServers;
use store::profile::ProfileFields;
use tokio::task::JoinSet;

use super::figure::Line;
use super::house::{House, PASSWORD, Place, message};
use super::pop3::{Bare, Way};
use super::{Measured, Trouble, rate};

const MAILBOXES: usize = 20;
const MESSAGES: usize = 500;
const ALL: usize = MAILBOXES * MESSAGES;
/// Items of one `GetItem` of the plain loop: what a cycle asks for at once.
const AT_ONCE: usize = 250;
/// Requests that the plain loop of POP3 sends ahead.
const WINDOW: usize = 100;

pub(super) async fn measure() -> Measured {
    let addresses: Vec<String> =
        (0..MAILBOXES).map(|number| format!("reader{number}@bench.example")).collect();
    let server = Exchange::start(Options::default()).await;
    let dovecot = MailServers::start().await;
    for address in &addresses {
        server.add_mailbox(address, address, PASSWORD);
        dovecot.add_mailbox(address, PASSWORD);
        for number in 0..MESSAGES {
            let raw = message(number, address);
            server.put(address, "inbox", &raw, model::clock::now(), false);
            dovecot.deliver(address, &raw);
        }
    }

    // The first wins; they are all the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client =
        Client::builder().tls_certs_only([Certificate::from_pem(server.ca_pem().as_bytes())?]).build()?;
    let begun = Instant::now();
    let mut reading = JoinSet::new();
    for address in addresses.clone() {
        let plain = Plain { client: client.clone(), url: server.url(), address };
        reading.spawn(async move { plain.read().await });
    }
    while let Some(read) = reading.join_next().await {
        let read = read??;
        if read != MESSAGES {
            return Err(format!("the plain loop brought {read} messages instead of {MESSAGES}").into());
        }
    }
    let bare_ews = rate(ALL, begun);
    let ews = taken_in(&addresses, at_exchange(&server)).await?;

    let bare = Bare::new(Way::private(dovecot.pop3s_port), dovecot.ca_pem())?;
    // Dovecot reads every message once to know its size; nobody's time.
    bare_pop3(&bare, &addresses).await?;
    let bare_pop3 = bare_pop3(&bare, &addresses).await?;
    let place = Place::private(dovecot.pop3s_port, dovecot.submissions_port, dovecot.ca_pem());
    let pop3 = taken_in(&addresses, place.profile()).await?;

    let what = format!("into Postgres, {MAILBOXES} × {MESSAGES} × 10 kB, committed");
    let ews = Line::new(format!("EWS from the simulator {what}"), ews, "messages/s");
    let pop3 = Line::new(format!("POP3 from Dovecot {what}"), pop3, "messages/s");
    Ok(vec![
        ews.beside("a plain loop of SyncFolderItems and GetItem", bare_ews),
        ews.beside("POP3 from Dovecot, as below", pop3.value),
        pop3.beside("bare pipelined RETR", bare_pop3),
    ])
}

/// What a worker takes in a second of these mailboxes.
async fn taken_in(addresses: &[String], profile: ProfileFields) -> Result<f64, Trouble> {
    let house = Arc::new(House::of(&profile).await?);
    for address in addresses {
        house.mailbox(address).await?;
    }
    let begun = Instant::now();
    house.drive(Workload::Incoming).await?;
    let rate = rate(ALL, begun);
    house
        .expect(&[
            ("emails", ALL),
            ("receipts", ALL),
            ("mailbox_items where decision = 'recorded'", ALL),
            ("(select distinct message_id from emails) as distinct_emails", ALL),
        ])
        .await?;
    Ok(rate)
}

fn at_exchange(server: &Exchange) -> ProfileFields {
    let (host, port) = ("localhost".to_owned(), server.port);
    let endpoint = Endpoint { protocol: Protocol::Ews, host, port, tls: Tls::Implicit };
    let ca = server.ca_pem();
    let place = Place::private(port, port, &ca);
    ProfileFields {
        kind: ProfileKind::ExchangeEws,
        incoming: endpoint.clone(),
        outgoing: endpoint,
        exchange: Some(model::profile::Exchange::at("/EWS/Exchange.asmx", ExchangeAccess::Own)),
        ..place.profile()
    }
}

async fn bare_pop3(bare: &Bare, addresses: &[String]) -> Result<f64, Trouble> {
    let begun = Instant::now();
    let mut reading = JoinSet::new();
    for address in addresses {
        let (bare, address) = (bare.clone(), address.clone());
        reading.spawn(async move { bare.read(&address, WINDOW).await });
    }
    while let Some(brought) = reading.join_next().await {
        let brought = brought??;
        if brought.messages != MESSAGES {
            return Err(format!("the bare reading brought {brought:?}").into());
        }
    }
    Ok(rate(ALL, begun))
}

/// The calls of the protocol written out, and nothing done with what they bring.
struct Plain {
    client: Client,
    url: String,
    address: String,
}

impl Plain {
    /// How many messages came.
    async fn read(&self) -> Result<usize, Trouble> {
        let (mut state, mut messages) = (String::new(), 0);
        loop {
            let since =
                if state.is_empty() { String::new() } else { format!("<m:SyncState>{state}</m:SyncState>") };
            let page = self
                .ask(&format!(
                    "<m:SyncFolderItems><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape></m:ItemShape><m:SyncFolderId>\
                     <t:DistinguishedFolderId Id=\"inbox\"/></m:SyncFolderId>{since}\
                     <m:MaxChangesReturned>512</m:MaxChangesReturned></m:SyncFolderItems>"
                ))
                .await?;
            state = between(&page, "SyncState>", "<").first().ok_or("a page without a state")?.to_string();
            let ids = between(&page, "ItemId Id=\"", "\"");
            for some in ids.chunks(AT_ONCE) {
                let wanted: Vec<String> = some.iter().map(|id| format!("<t:ItemId Id=\"{id}\"/>")).collect();
                let wanted = wanted.concat();
                let answer = self
                    .ask(&format!(
                        "<m:GetItem><m:ItemShape><t:BaseShape>IdOnly</t:BaseShape><t:IncludeMimeContent>true\
                         </t:IncludeMimeContent></m:ItemShape><m:ItemIds>{wanted}</m:ItemIds></m:GetItem>"
                    ))
                    .await?;
                messages += answer
                    .matches("MimeContent CharacterSet")
                    .count()
                    .max(answer.matches("</t:MimeContent>").count());
            }
            if page.contains("IncludesLastItemInRange>true<") {
                return Ok(messages);
            }
        }
    }

    async fn ask(&self, body: &str) -> Result<String, Trouble> {
        let envelope = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" \
             xmlns:m=\"http://schemas.microsoft.com/exchange/services/2006/messages\" \
             xmlns:t=\"http://schemas.microsoft.com/exchange/services/2006/types\"><s:Header>\
             <t:RequestServerVersion Version=\"Exchange2013\"/></s:Header><s:Body>{body}</s:Body></s:Envelope>"
        );
        let answer = self
            .client
            .post(&self.url)
            .basic_auth(&self.address, Some(PASSWORD))
            .header("Content-Type", "text/xml; charset=utf-8")
            .body(envelope)
            .send()
            .await?;
        Ok(answer.error_for_status()?.text().await?)
    }
}

/// What stands between these, each time that they come.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Vec<&'a str> {
    let behind = text.split(before).skip(1);
    behind.filter_map(|rest| rest.split(after).next().filter(|found| !found.is_empty())).collect()
}
