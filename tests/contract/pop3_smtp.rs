//! POP3 in and SMTP out, on Dovecot and Postfix: started once, and reached by each test through gates of its own.

use std::time::Duration;

use model::endpoint::{Endpoint, Protocol, Tls};
use model::profile::{CredentialsOn, Limits, ProfileKind};
use model::workload::Workload;
use servers::{CountingProxy, Fault, Gate, MailServers};
use store::profile::ProfileFields;
use tokio::sync::OnceCell;

use crate::provider::{Door, HandedOver, Provider, Refusal};

static SERVERS: OnceCell<MailServers> = OnceCell::const_new();

/// Dovecot and Postfix behind two gates.
pub(crate) struct Pop3Smtp {
    servers: &'static MailServers,
    pop3: Gate,
    smtp: Gate,
}

impl Provider for Pop3Smtp {
    const NAME: &'static str = "POP3+SMTP";
    const DOORS: &'static [Workload] = &[Workload::Incoming, Workload::Outgoing];
    const GREETS: bool = true;
    const REQUESTS: u32 = 5;
    const OF_A_MAILBOX: usize = 1;
    const CAN_BE_ASKED: bool = false;

    fn lacks(line: &str) -> Option<&'static str> {
        match line {
            "no_saved_copy_names_a_bcc" => Some("SMTP keeps no copy for the sender"),
            _ => None,
        }
    }

    async fn start() -> Self {
        let servers = SERVERS.get_or_init(MailServers::start).await;
        let pop3 = Gate::start(servers.pop3s_port, servers.ca_pem()).await;
        let smtp = Gate::start(servers.submissions_port, servers.ca_pem()).await;
        Self { servers, pop3, smtp }
    }

    fn profile(&self) -> ProfileFields {
        let endpoint = |protocol, gate: &Gate| Endpoint {
            protocol,
            host: "localhost".to_owned(),
            port: gate.port(),
            tls: Tls::Implicit,
        };
        ProfileFields {
            name: "under test".to_owned(),
            description: String::new(),
            kind: ProfileKind::Pop3Smtp,
            incoming: endpoint(Protocol::Pop3, &self.pop3),
            outgoing: endpoint(Protocol::Smtp, &self.smtp),
            exchange: None,
            ca_certificate: Some(format!("{}{}", self.pop3.ca_pem(), self.smtp.ca_pem())),
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

    fn door(&self, workload: Workload) -> &dyn Door {
        match workload {
            Workload::Outgoing => &self.smtp,
            Workload::Incoming | Workload::Act => &self.pop3,
        }
    }

    fn add_mailbox(&self, address: &str, password: &str) {
        self.servers.add_mailbox(address, password);
    }

    fn set_password(&self, address: &str, password: &str) {
        self.servers.set_password(address, password);
    }

    fn deliver(&self, address: &str, raw: &[u8]) {
        self.servers.deliver(address, raw);
    }

    fn holds(&self, address: &str) -> Vec<Vec<u8>> {
        self.servers.messages(address)
    }

    fn saved(&self, _: &str) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn refuse(&self, recipient: &str, how: Option<Refusal>) {
        let reply = how.map(|how| match how {
            Refusal::ForGood => "550 5.1.1 no such person",
            Refusal::ForNow => "450 4.2.1 come back later",
        });
        self.servers.refuse_recipient(recipient, reply);
    }

    fn handed_over(&self) -> Vec<HandedOver> {
        let mut all = Vec::new();
        for conversation in self.smtp.heard() {
            let (mut messages, mut recipients) = (conversation.messages.into_iter(), Vec::new());
            for request in conversation.requests {
                if request.starts_with("MAIL FROM:") {
                    recipients.clear();
                } else if let Some(to) = request.strip_prefix("RCPT TO:<") {
                    recipients.push(to.split('>').next().unwrap_or_default().to_lowercase());
                } else if request == "." {
                    let raw = messages.next().unwrap_or_default();
                    all.push(HandedOver { recipients: recipients.clone(), raw });
                }
            }
        }
        all
    }

    fn size_limit(&self) -> usize {
        25 * 1024 * 1024
    }

    fn submissions(&self) -> usize {
        self.smtp.heard().iter().filter(|conversation| !conversation.messages.is_empty()).count()
    }
}

impl Door for Gate {
    fn front(&self) -> &CountingProxy {
        Gate::front(self)
    }

    fn set(&self, fault: Fault) {
        Gate::set(self, fault);
    }

    fn reached(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(Gate::reached(self))
    }

    fn go_on(&self) {
        Gate::go_on(self);
    }

    fn struck(&self) -> bool {
        Gate::struck(self)
    }

    fn forget(&self) {
        Gate::forget(self);
    }

    fn heard_a_secret(&self) -> bool {
        let secret = |request: &String| {
            request.starts_with("PASS") || request.starts_with("AUTH") || request.ends_with("Authorization …")
        };
        self.heard().iter().any(|conversation| conversation.requests.iter().any(secret))
    }
}
