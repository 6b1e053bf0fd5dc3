//! An organization made through the store's own functions: Ada and Bob, the queue Support with Ada as its member, one
//! profile, and a mailbox for each of the three, approved, tested and enabled.

use std::time::Duration;

use jiff::Timestamp;
use model::actor::Actor;
use model::endpoint::{Endpoint, Protocol, Tls};
use model::id::{MailboxId, OrganizationId, ProfileId, QueueId, UserId};
use model::identity::identity;
use model::mailbox::{Approval, DeliveryMethod, Owner, Role, TestResult};
use model::message::{ParsedAttachment, ParsedMessage, Party};
use model::profile::{CredentialsOn, Limits, ProfileKind};
use model::workload::Workload;
use store::change::Author;
use store::incoming::{IncomingItem, IncomingMessage, Raw, Verdict};
use store::mailbox::NewMailbox;
use store::profile::ProfileFields;
use store::testing::TestDatabase;
use store::{Store, Tenant};

use crate::support::database;

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) store: Store,
    pub(crate) organization: OrganizationId,
    pub(crate) profile: ProfileId,
    pub(crate) ada: UserId,
    pub(crate) bob: UserId,
    pub(crate) support: QueueId,
    pub(crate) ada_box: MailboxId,
    pub(crate) bob_box: MailboxId,
    pub(crate) support_box: MailboxId,
}

pub(crate) fn author() -> Author {
    Author::new(Actor::Operator, "test")
}

impl World {
    pub(crate) async fn tenant(&self) -> Tenant {
        self.store.tenant(self.organization).await.unwrap()
    }

    /// One number of a query as the owner of the tables, over all organizations.
    pub(crate) async fn count(&self, query: &str) -> i64 {
        self.database.owner().await.unwrap().query_one(query, &[]).await.unwrap().get(0)
    }
}

pub(crate) fn profile_fields(name: &str) -> ProfileFields {
    let endpoint =
        |protocol, port| Endpoint { protocol, host: "mail.example.com".into(), port, tls: Tls::Implicit };
    ProfileFields {
        name: name.into(),
        description: String::new(),
        kind: ProfileKind::Pop3Smtp,
        incoming: endpoint(Protocol::Pop3, 995),
        outgoing: endpoint(Protocol::Smtp, 465),
        exchange: None,
        ca_certificate: None,
        limits: Limits { credentials_on: CredentialsOn::Mailbox, max_connections: 10, max_in_flight: 100 },
        process_email_received_after: None,
        min_polling_minutes: 0,
        connect_timeout: Duration::from_secs(30),
        alert_mail: false,
        undeliverable_folder: None,
        external_id: None,
    }
}

pub(crate) fn new_mailbox(name: &str, owner: Option<Owner>, profile: ProfileId) -> NewMailbox {
    NewMailbox {
        name: name.into(),
        address: format!("{name}@example.com").parse().unwrap(),
        owner,
        profile,
        incoming_login: None,
        acceptance: None,
        incoming: DeliveryMethod::ServerSide,
        outgoing: DeliveryMethod::ServerSide,
        process_email_received_after: None,
        delete_after_processing: false,
        external_id: None,
    }
}

pub(crate) async fn user(tenant: &Tenant, name: &str) -> UserId {
    let new = store::user::NewUser {
        name: name.into(),
        address: format!("{name}@example.com").parse().unwrap(),
        role: Role::User,
        external_id: None,
    };
    store::user::create(tenant, &new, &author()).await.unwrap().id
}

pub(crate) async fn queue(tenant: &Tenant, name: &str, members: Vec<UserId>) -> QueueId {
    let address = format!("{name}@example.com").parse().unwrap();
    let new = store::queue::NewQueue { name: name.into(), address, members, external_id: None };
    store::queue::create(tenant, &new, &author()).await.unwrap().id
}

pub(crate) async fn enabled(tenant: &Tenant, mailbox: MailboxId) {
    let by = author();
    store::mailbox::set_approval(tenant, mailbox, None, Approval::Approved, &by).await.unwrap();
    for workload in [Workload::Incoming, Workload::Outgoing] {
        store::mailbox::record_test(tenant, mailbox, workload, TestResult::Success, None, &by).await.unwrap();
        store::mailbox::enable(tenant, mailbox, workload, Duration::ZERO, &by).await.unwrap();
    }
}

pub(crate) async fn world() -> World {
    let database = database().await;
    let store = database.store.clone();
    let organization: OrganizationId = model::clock::new_id();
    let tenant = store.tenant(organization).await.unwrap();
    store::organization::create(&tenant, "Analytical Engines").await.unwrap();
    let (ada, bob) = (user(&tenant, "ada").await, user(&tenant, "bob").await);
    let support = queue(&tenant, "support", vec![ada]).await;
    let profile = store::profile::create(&tenant, &profile_fields("Mail"), &author()).await.unwrap().id;
    let mut boxes = Vec::new();
    for (name, owner) in
        [("ada", Owner::User(ada)), ("bob", Owner::User(bob)), ("support", Owner::Queue(support))]
    {
        let mailbox = store::mailbox::create(&tenant, &new_mailbox(name, Some(owner), profile), &author())
            .await
            .unwrap();
        enabled(&tenant, mailbox.id).await;
        boxes.push(mailbox.id);
    }
    tenant.commit().await.unwrap();
    let (ada_box, bob_box, support_box) = (boxes[0], boxes[1], boxes[2]);
    World { database, store, organization, profile, ada, bob, support, ada_box, bob_box, support_box }
}

/// A message from Carol to these people.
pub(crate) fn message(number: usize, to: &[&str]) -> ParsedMessage {
    let party = |address: &str| Party { name: None, address: address.into() };
    ParsedMessage {
        message_id: Some(format!("{number}@sender.example")),
        subject: Some(format!("Number {number}")),
        from: vec![party("Carol@Sender.example")],
        to: to.iter().map(|address| party(address)).collect(),
        date: Some(Timestamp::from_second(1_700_000_000).unwrap()),
        text: Some(format!("Body {number}")),
        attachments: vec![ParsedAttachment {
            position: 0,
            name: "notes.txt".into(),
            content_type: "text/plain".into(),
            content_id: None,
            inline: false,
            bytes: "the same notes in every message".into(),
        }],
        ..ParsedMessage::default()
    }
}

/// The item that a message is in a mailbox.
pub(crate) fn item(name: &str, message: ParsedMessage, raw: &str) -> IncomingItem {
    let raw = bytes::Bytes::copy_from_slice(raw.as_bytes());
    IncomingItem {
        item_id: name.into(),
        size: raw.len() as u64,
        received_at: message.date,
        message_id: message.message_id.clone(),
        rule: "all".into(),
        verdict: Verdict::Record(Box::new(IncomingMessage {
            identity: identity(&message, &raw),
            message,
            raw: Raw::Bytes(raw),
        })),
    }
}
