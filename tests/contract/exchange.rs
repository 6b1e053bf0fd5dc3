//! Exchange Web Services, on an Exchange of its own for each test, reached through one gate.

mod alone;
mod folders;
mod moving;
mod names;
mod outcomes;
mod sending;
mod testing;
mod undeliverable;

use std::time::Duration;

use ::exchange::{Exchange, Options};
use jiff::Timestamp;
use model::endpoint::{Endpoint, Protocol, Tls};
use model::profile::{CredentialsOn, ExchangeAccess, Limits, ProfileKind};
use model::workload::Workload;
use servers::Gate;
use store::profile::ProfileFields;

use crate::provider::{Door, HandedOver, Provider, Refusal};

/// An Exchange behind a gate.
pub(crate) struct ExchangeEws {
    exchange: Exchange,
    gate: Gate,
}

impl ExchangeEws {
    /// The server itself, past the gate.
    pub(crate) fn server(&self) -> &Exchange {
        &self.exchange
    }
}

/// What its requests may have, in bytes.
const MAX_REQUEST: usize = 25 * 1024 * 1024;

impl Provider for ExchangeEws {
    const NAME: &'static str = "Exchange (EWS)";
    const DOORS: &'static [Workload] = &[Workload::Incoming];
    const GREETS: bool = false;
    const REQUESTS: u32 = 2;
    const OF_A_MAILBOX: usize = 3;
    const CAN_BE_ASKED: bool = true;

    fn lacks(line: &str) -> Option<&'static str> {
        match line {
            "who_is_refused_holds_up_nobody_and_who_is_deferred_gets_it_later"
            | "a_mail_that_nobody_takes_has_failed" => {
                Some("Exchange takes a mail for everybody, and whom it cannot reach comes back as a report")
            }
            _ => None,
        }
    }

    async fn start() -> Self {
        let options = Options { max_request: MAX_REQUEST, ..Options::default() };
        let exchange = Exchange::start(options).await;
        let gate = Gate::start_http(exchange.port, &exchange.ca_pem()).await;
        Self { exchange, gate }
    }

    fn profile(&self) -> ProfileFields {
        let endpoint = Endpoint {
            protocol: Protocol::Ews,
            host: "localhost".to_owned(),
            port: self.gate.port(),
            tls: Tls::Implicit,
        };
        ProfileFields {
            name: "under test".to_owned(),
            description: String::new(),
            kind: ProfileKind::ExchangeEws,
            incoming: endpoint.clone(),
            outgoing: endpoint,
            exchange: Some(model::profile::Exchange::at("/EWS/Exchange.asmx", ExchangeAccess::Own)),
            ca_certificate: Some(self.gate.ca_pem().to_owned()),
            limits: Limits {
                credentials_on: CredentialsOn::Mailbox,
                max_connections: 10,
                max_in_flight: 100,
            },
            process_email_received_after: None,
            min_polling_minutes: 0,
            connect_timeout: Duration::from_secs(5),
            alert_mail: false,
            undeliverable_folder: None,
            external_id: None,
        }
    }

    fn door(&self, _: Workload) -> &dyn Door {
        &self.gate
    }

    fn add_mailbox(&self, address: &str, password: &str) {
        self.exchange.add_mailbox(address, address, password);
    }

    fn set_password(&self, address: &str, password: &str) {
        self.exchange.set_password(address, password);
    }

    fn deliver(&self, address: &str, raw: &[u8]) {
        let received = received(raw).unwrap_or_else(model::clock::now);
        self.exchange.put(address, "inbox", raw, received, false);
    }

    fn holds(&self, address: &str) -> Vec<Vec<u8>> {
        self.exchange.folder(address, "inbox").into_iter().map(|shown| shown.mime).collect()
    }

    fn saved(&self, address: &str) -> Vec<Vec<u8>> {
        self.exchange.folder(address, "sentitems").into_iter().map(|shown| shown.mime).collect()
    }

    fn refuse(&self, recipient: &str, _: Option<Refusal>) {
        panic!("no line that runs here refuses {recipient}");
    }

    fn handed_over(&self) -> Vec<HandedOver> {
        let handed = self.exchange.handed().into_iter();
        handed.map(|handed| HandedOver { recipients: handed.recipients, raw: handed.message }).collect()
    }

    fn size_limit(&self) -> usize {
        MAX_REQUEST
    }

    fn submissions(&self) -> usize {
        let sends = |request: &String| request.contains("SendItem");
        self.gate.heard().iter().filter(|conversation| conversation.requests.iter().any(sends)).count()
    }
}

/// When the topmost Received field says that it came: what a server would have noted.
fn received(raw: &[u8]) -> Option<Timestamp> {
    let text = String::from_utf8_lossy(raw);
    let head = text.split("\r\n\r\n").next()?.replace("\r\n ", " ").replace("\r\n\t", " ");
    let field = head.lines().find(|line| line.to_ascii_lowercase().starts_with("received:"))?;
    let zoned = jiff::fmt::rfc2822::parse(field.rsplit_once(';')?.1.trim()).ok()?;
    Some(zoned.timestamp())
}
