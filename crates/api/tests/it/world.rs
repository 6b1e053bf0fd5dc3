//! An organization made through the API itself: an administrator, Ada and Bob, the queue Support with Ada as its member,
//! a profile, and a mailbox for each of the three.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use model::actor::Actor;
use model::email::Decision;
use model::id::{MailboxId, OrganizationId};
use model::identity::identity;
use model::mailbox::{Role, TestResult};
use model::message::{ParsedAttachment, ParsedMessage, Party};
use model::network::NetworkPolicy;
use model::secret::ExposeSecret as _;
use model::workload::Workload;
use serde_json::{Value, json};
use store::Tenant;
use store::change::Author;
use store::incoming::{IncomingBatch, IncomingItem, IncomingMessage, Raw, Verdict};
use store::key::KeyOwner;
use store::seal::KeyRing;
use store::testing::TestDatabase;
use store::user::NewUser;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::api;
use crate::client::Client;

/// A server of the test's own. Loopback is allowed to profiles, other closed networks are not.
pub(crate) struct Served {
    pub(crate) database: TestDatabase,
    pub(crate) nobody: Client,
    _shutdown: DropGuard,
}

pub(crate) fn author() -> Author {
    Author::new(Actor::Operator, "test")
}

pub(crate) fn config() -> api::Config {
    api::Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        request_timeout_seconds: 30,
        max_body_mb: 2,
        resolve_seconds: 5,
        max_connections: 100,
        header_timeout_seconds: 20,
        public_url: String::new(),
    }
}

/// Serves with this configuration and these networks open.
pub(crate) async fn served(config: api::Config, allow: &[&str]) -> Served {
    static SERVER: OnceCell<servers::Postgres> = OnceCell::const_new();
    let server = SERVER.get_or_init(servers::Postgres::start).await;
    let database = TestDatabase::create(&server.owner_url("postgres")).await.unwrap();
    serve(database, config, allow).await
}

/// Serves a database that is there.
pub(crate) async fn serve(database: TestDatabase, config: api::Config, allow: &[&str]) -> Served {
    let listener = TcpListener::bind(config.listen).await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let ring = "test:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let network = NetworkPolicy { allow: allow.iter().map(|network| network.parse().unwrap()).collect() };
    let parts = api::Parts {
        store: database.store.clone(),
        keys: Arc::new(KeyRing::from_text(ring).unwrap()),
        tokens: mail::oauth::Client::new(network.clone(), mail::transport::Trust::system()),
        network,
    };
    let shutdown = CancellationToken::new();
    tokio::spawn(api::serve(listener, config, parts, shutdown.clone()));
    Served { database, nobody: Client::new(&base, None), _shutdown: shutdown.drop_guard() }
}

impl Served {
    /// An organization with an administrator; the organization and the administrator's key.
    pub(crate) async fn organization(&self, name: &str) -> (OrganizationId, String) {
        let id: OrganizationId = model::clock::new_id();
        let tenant = self.database.store.tenant(id).await.unwrap();
        store::organization::create(&tenant, name).await.unwrap();
        let admin = NewUser {
            name: "Grace".into(),
            address: "grace@example.com".parse().unwrap(),
            role: Role::Admin,
            external_id: None,
        };
        let admin = store::user::create(&tenant, &admin, &author()).await.unwrap();
        let owner = KeyOwner::User(admin.id);
        let (_, key) = store::key::create(&tenant, "first", &owner, &author()).await.unwrap();
        tenant.commit().await.unwrap();
        (id, key.expose_secret().to_owned())
    }
}

pub(crate) struct World {
    pub(crate) served: Served,
    pub(crate) organization: OrganizationId,
    pub(crate) admin: Client,
    pub(crate) ada: Client,
    pub(crate) bob: Client,
    pub(crate) ada_id: String,
    pub(crate) bob_id: String,
    pub(crate) support: String,
    pub(crate) profile: String,
    pub(crate) ada_box: String,
    pub(crate) bob_box: String,
    pub(crate) support_box: String,
}

/// What a profile on loopback is made of.
pub(crate) fn new_profile(name: &str) -> Value {
    json!({
        "name": name,
        "incoming": {"host": "127.0.0.1", "port": 995, "tls": "implicit"},
        "outgoing": {"host": "127.0.0.1", "port": 587, "tls": "start_tls"},
        "credentials_on": "mailbox",
    })
}

pub(crate) fn id(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

/// A user with a key.
async fn person(admin: &Client, name: &str) -> (String, Client) {
    let address = format!("{}@example.com", name.to_lowercase());
    let user = id(&admin.post("users", json!({"name": name, "address": address})).await.expect(201));
    let key = admin.post("keys", json!({"name": "browser", "user": user})).await.expect(201);
    (user, admin.with_key(key["key"].as_str()))
}

async fn mailbox(admin: &Client, kind: &str, owner: &str, name: &str, profile: &str) -> String {
    let new = json!({
        "name": name, "address": format!("{}@example.com", name.to_lowercase()), "profile": profile,
        "owner": {"kind": kind, "id": owner},
    });
    id(&admin.post("mailboxes", new).await.expect(201))
}

pub(crate) async fn world() -> World {
    world_named("Analytical Engines").await
}

pub(crate) async fn world_named(name: &str) -> World {
    let served = served(config(), &["127.0.0.0/8", "::1/128"]).await;
    let (organization, key) = served.organization(name).await;
    let admin = served.nobody.with_key(Some(&key));
    let (ada_id, ada) = person(&admin, "Ada").await;
    let (bob_id, bob) = person(&admin, "Bob").await;
    let queue = json!({"name": "Support", "address": "support@example.com", "members": [ada_id]});
    let support = id(&admin.post("queues", queue).await.expect(201));
    let profile = id(&admin.post("profiles", new_profile("Mail")).await.expect(201));
    let ada_box = mailbox(&admin, "user", &ada_id, "Ada", &profile).await;
    let bob_box = mailbox(&admin, "user", &bob_id, "Bob", &profile).await;
    let support_box = mailbox(&admin, "queue", &support, "Support", &profile).await;
    World {
        served,
        organization,
        admin,
        ada,
        bob,
        ada_id,
        bob_id,
        support,
        profile,
        ada_box,
        bob_box,
        support_box,
    }
}

impl World {
    pub(crate) async fn tenant(&self) -> Tenant {
        self.served.database.store.tenant(self.organization).await.unwrap()
    }

    /// Approves a mailbox, and enables it as a test that succeeded would.
    pub(crate) async fn enable(&self, mailbox: &str) {
        self.admin.post(&format!("mailboxes/{mailbox}/approve"), json!({})).await.expect(200);
        let id: MailboxId = mailbox.parse().unwrap();
        let tenant = self.tenant().await;
        for workload in [Workload::Incoming, Workload::Outgoing] {
            let by = author();
            store::mailbox::record_test(&tenant, id, workload, TestResult::Success, Some("+OK"), &by)
                .await
                .unwrap();
            store::mailbox::enable(&tenant, id, workload, Duration::ZERO, &by).await.unwrap();
        }
        tenant.commit().await.unwrap();
    }

    /// Lets a mail come in, and another one be turned away; the id of the email.
    pub(crate) async fn receive(&self, mailbox: &str, number: u32) -> String {
        self.receive_words(mailbox, number, &format!("Body {number}")).await
    }

    /// The same, with other words in it.
    pub(crate) async fn receive_words(&self, mailbox: &str, number: u32, words: &str) -> String {
        let raw = format!("Subject: Number {number}\r\n\r\n{words}\r\n");
        let raw = bytes::Bytes::from(raw);
        let party = |address: &str| Party { name: None, address: address.into() };
        let message = ParsedMessage {
            message_id: Some(format!("{number}@sender.example")),
            subject: Some(format!("Number {number}")),
            from: vec![party("carol@sender.example")],
            to: vec![party("ada@example.com")],
            date: Some(Timestamp::from_second(1_700_000_000).unwrap()),
            text: Some(words.to_owned()),
            html: Some(format!("<p>{words}</p><script>alert(1)</script><img src=\"https://spy.example/\">")),
            attachments: vec![ParsedAttachment {
                position: 0,
                name: "nötes.html".into(),
                content_type: "text/html".into(),
                content_id: None,
                inline: false,
                bytes: "<script>alert(2)</script>".into(),
            }],
            ..ParsedMessage::default()
        };
        let recorded = IncomingItem {
            item_id: format!("uidl-{number}"),
            size: raw.len() as u64,
            received_at: message.date,
            message_id: message.message_id.clone(),
            rule: "all".into(),
            verdict: Verdict::Record(Box::new(IncomingMessage {
                identity: identity(&message, &raw),
                message,
                raw: Raw::Bytes(raw),
            })),
        };
        let skipped = IncomingItem {
            item_id: format!("uidl-skipped-{number}"),
            size: 10,
            received_at: None,
            message_id: Some(format!("skipped-{number}@sender.example")),
            rule: "known_senders_and_replies".into(),
            verdict: Verdict::Skip(Decision::NotAccepted),
        };
        let tenant = self.tenant().await;
        let batch = IncomingBatch {
            search_keys: &std::collections::HashMap::new(),
            mailbox: mailbox.parse().unwrap(),
            folder: "pop3://127.0.0.1:995 ada@example.com",
            items: vec![recorded, skipped],
            cursor: None,
            retry_after: Duration::from_secs(60),
            by: &author(),
        };
        let recorded = store::incoming::record(&tenant, &batch).await.unwrap();
        tenant.commit().await.unwrap();
        recorded[0].email.unwrap().to_string()
    }
}
