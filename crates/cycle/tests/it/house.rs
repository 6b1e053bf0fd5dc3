//! An organization with a profile on private mail servers, and mailboxes that are approved, tested and enabled.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use cycle::{Config, Cycle, Ending, Mail, Parts};
use model::actor::Actor;
use model::cadence::Next;
use model::endpoint::{Endpoint, Protocol, Tls};
use model::id::{MailboxId, OrganizationId, ProfileId, SessionId, UserId};
use model::mailbox::{Acceptance, Approval, DeliveryMethod, Owner, Role, TestResult};
use model::network::NetworkPolicy;
use model::profile::{CredentialsOn, Limits, ProfileKind};
use model::secret::Secret;
use model::setting::MAX_MESSAGE_MB;
use model::workload::Workload;
use servers::{MailServers, Postgres};
use store::change::Author;
use store::mailbox::NewMailbox;
use store::profile::ProfileFields;
use store::queue::NewQueue;
use store::schedule::{Claim, Scan};
use store::seal::KeyRing;
use store::testing::TestDatabase;
use store::user::NewUser;
use store::{Tenant, mailbox, profile, queue, schedule, session, setting, user};
use throttle::{ClassShare, Shares};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::scripted::Scripted;

static POSTGRES: OnceCell<Postgres> = OnceCell::const_new();
static MAIL: OnceCell<MailServers> = OnceCell::const_new();

/// The mail servers of this test binary.
pub(crate) async fn mail_servers() -> &'static MailServers {
    MAIL.get_or_init(MailServers::start).await
}

/// One test's own installation.
pub(crate) struct House {
    pub(crate) database: TestDatabase,
    pub(crate) servers: &'static MailServers,
    pub(crate) parts: Parts,
    pub(crate) organization: OrganizationId,
    pub(crate) profile: ProfileId,
    pub(crate) session: SessionId,
}

pub(crate) fn by() -> Author {
    Author::new(Actor::Operator, "test")
}

pub(crate) fn config() -> Config {
    Config {
        max_items: 500,
        max_mb: 64,
        max_seconds: 60,
        batch_items: 100,
        batch_mb: 16,
        phase_seconds: 10,
        pipeline: 50,
        smtp_client_name: "[127.0.0.1]".to_owned(),
        smtp_message_seconds: 10,
        smtp_verdict_seconds: 10,
        pop3_in_doubt_seconds: 600,
        smtp_in_doubt_seconds: 300,
        ews_in_doubt_seconds: 120,
        streamed_mb: 32,
        memory_mb: 64,
        send_memory_mb: 64,
    }
}

impl House {
    pub(crate) async fn build() -> Self {
        Self::with(config(), |_| {}).await
    }

    /// A house whose profile is changed before it is stored.
    pub(crate) async fn with(config: Config, change: impl FnOnce(&mut ProfileFields)) -> Self {
        let servers = mail_servers().await;
        let postgres = POSTGRES.get_or_init(Postgres::start).await;
        let database = TestDatabase::create(&postgres.owner_url("postgres")).await.unwrap();
        let network = NetworkPolicy { allow: vec!["127.0.0.0/8".parse().unwrap()] };
        let share = ClassShare { share_percent: 20, ceiling_percent: 100 };
        let shares = Shares { incoming: share, outgoing: share, calendar: share, jobs: share, watch: share };
        let key = base64::prelude::BASE64_STANDARD.encode([7; 32]);
        let parts = Parts {
            store: database.store.clone(),
            mail: Mail::new(network, config, shares).unwrap(),
            keys: Arc::new(KeyRing::from_text(&format!("test:{key}")).unwrap()),
            drain: CancellationToken::new(),
        };
        let organization = database.organization("contoso").await.unwrap();
        let mut fields = usual(servers);
        change(&mut fields);
        let store = &parts.store;
        let tenant = store.tenant(organization).await.unwrap();
        let profile = profile::create(&tenant, &fields, &by()).await.unwrap().id;
        tenant.commit().await.unwrap();
        let session = store
            .in_ring(async |ring| session::start(ring, "test", 1000, Duration::from_secs(600)).await)
            .await
            .unwrap();
        Self { database, servers, parts, organization, profile, session }
    }

    /// A house whose mail leaves by a scripted server.
    pub(crate) async fn sending_to(server: &Scripted, config: Config) -> Self {
        Self::with(config, |profile| {
            profile.outgoing = server.endpoint.clone();
            profile.ca_certificate = Some(server.ca_pem.clone());
        })
        .await
    }

    /// Another profile: the people who come from now on are on it.
    pub(crate) async fn move_to(&mut self, name: &str, change: impl FnOnce(&mut ProfileFields)) {
        let mut fields = ProfileFields { name: name.to_owned(), ..usual(self.servers) };
        change(&mut fields);
        let tenant = self.tenant().await;
        self.profile = profile::create(&tenant, &fields, &by()).await.unwrap().id;
        tenant.commit().await.unwrap();
    }

    pub(crate) async fn tenant(&self) -> Tenant {
        self.parts.store.tenant(self.organization).await.unwrap()
    }

    /// A person with a mailbox on both servers, approved, with a password, tested and enabled. `name` is the local
    /// part; the address is unique to this house, because the mail servers are shared.
    pub(crate) async fn person(&self, name: &str) -> (UserId, MailboxId, String) {
        let unique = self.organization.0.simple().to_string();
        let address = format!("{name}.{}@example.org", &unique[20..]);
        self.servers.add_mailbox(&address, "correct horse");
        let tenant = self.tenant().await;
        let new = NewUser {
            name: name.to_owned(),
            address: address.parse().unwrap(),
            role: Role::User,
            external_id: None,
        };
        let user = user::create(&tenant, &new, &by()).await.unwrap().id;
        let new = NewMailbox {
            name: name.to_owned(),
            address: address.parse().unwrap(),
            owner: Some(Owner::User(user)),
            profile: self.profile,
            incoming_login: None,
            acceptance: Some(Acceptance::All),
            incoming: DeliveryMethod::ServerSide,
            outgoing: DeliveryMethod::ServerSide,
            process_email_received_after: Some("2000-01-01T00:00:00Z".parse().unwrap()),
            delete_after_processing: false,
            external_id: None,
        };
        let id = mailbox::create(&tenant, &new, &by()).await.unwrap().id;
        self.set_password(&tenant, id, &address, "correct horse").await;
        mailbox::set_approval(&tenant, id, None, Approval::Approved, &by()).await.unwrap();
        for workload in [Workload::Incoming, Workload::Outgoing] {
            mailbox::record_test(&tenant, id, workload, TestResult::Success, None, &by()).await.unwrap();
            mailbox::enable(&tenant, id, workload, Duration::ZERO, &by()).await.unwrap();
        }
        tenant.commit().await.unwrap();
        (user, id, address)
    }

    /// Sets the size that messages may have.
    pub(crate) async fn takes_messages_up_to(&self, megabytes: u32) {
        let tenant = self.tenant().await;
        let value = serde_json::json!(megabytes);
        setting::set(&tenant, MAX_MESSAGE_MB, None, Some(&value), &by()).await.unwrap();
        tenant.commit().await.unwrap();
    }

    /// Makes a mailbox that of a queue which has recorded mail deleted on the server.
    pub(crate) async fn give_to_a_queue_that_deletes(&self, id: MailboxId) {
        let tenant = self.tenant().await;
        let new = NewQueue {
            name: "support".to_owned(),
            address: "support@example.org".parse().unwrap(),
            members: Vec::new(),
            external_id: None,
        };
        let queue = queue::create(&tenant, &new, &by()).await.unwrap();
        tenant.commit().await.unwrap();
        let owner = self.database.owner().await.unwrap();
        owner
            .execute(
                "update mailboxes set user_id = null, queue_id = $1, delete_after_processing = true where id = $2",
                &[&queue.id.0, &id.0],
            )
            .await
            .unwrap();
    }

    pub(crate) async fn set_password(&self, tenant: &Tenant, id: MailboxId, login: &str, password: &str) {
        let secret = Secret::from(password.to_owned());
        mailbox::set_password(tenant, &self.parts.keys, id, login, &secret, &by()).await.unwrap();
    }

    /// Queues what is due of this workload and claims the mailbox's, as scheduler and worker would.
    pub(crate) async fn claimed(&self, id: MailboxId, workload: Workload) -> Option<Cycle> {
        let store = &self.parts.store;
        let scan = Scan {
            workload,
            batch: 1000,
            share_cap: 1000,
            in_flight: u32::MAX,
            since_last: Duration::from_secs(1),
        };
        let queued = store.in_ring(async |ring| schedule::claim_due(ring, &scan).await).await.unwrap();
        let (mine, others): (Vec<_>, Vec<_>) =
            queued.iter().map(|queued| queued.place).partition(|place| place.claim.mailbox == id);
        store.in_ring(async |ring| schedule::unpublish(ring, &others).await).await.unwrap();
        let claim = mine.first()?.claim;
        self.taken(claim).await
    }

    /// Claims as a worker would.
    pub(crate) async fn taken(&self, claim: Claim) -> Option<Cycle> {
        let store = &self.parts.store;
        let claimed =
            schedule::claim_together(store, self.organization, claim, self.session).await.unwrap()?;
        Cycle::start(&self.parts, self.organization, self.session, claimed).await.unwrap()
    }

    /// Wishes, runs and finishes one cycle.
    pub(crate) async fn cycle(&self, id: MailboxId, workload: Workload) -> (Ending, Next) {
        let tenant = self.tenant().await;
        assert!(schedule::wish(&tenant, id, workload).await.unwrap(), "the workload is enabled");
        tenant.commit().await.unwrap();
        let mut cycle = self.claimed(id, workload).await.expect("due");
        let ending = cycle.run(|| true).await.expect("ours");
        let next = cycle.finish(&ending).await.unwrap();
        (ending, next)
    }

    /// A number that the database's owner counts.
    pub(crate) async fn count(&self, what: &str) -> i64 {
        let owner = self.database.owner().await.unwrap();
        owner.query_one(&format!("select count(*) from {what}"), &[]).await.unwrap().get(0)
    }
}

/// The private mail servers, as an administrator describes them.
fn usual(servers: &MailServers) -> ProfileFields {
    ProfileFields {
        name: "private".to_owned(),
        description: String::new(),
        kind: ProfileKind::Pop3Smtp,
        incoming: endpoint(Protocol::Pop3, servers.pop3s_port, Tls::Implicit),
        outgoing: endpoint(Protocol::Smtp, servers.submission_port, Tls::StartTls),
        exchange: None,
        ca_certificate: Some(servers.ca_pem().to_owned()),
        limits: Limits { credentials_on: CredentialsOn::Mailbox, max_connections: 10, max_in_flight: 100 },
        process_email_received_after: None,
        min_polling_minutes: 0,
        connect_timeout: Duration::from_secs(10),
        alert_mail: false,
        undeliverable_folder: None,
        external_id: None,
    }
}

pub(crate) fn endpoint(protocol: Protocol, port: u16, tls: Tls) -> Endpoint {
    Endpoint { protocol, host: "localhost".to_owned(), port, tls }
}

/// A plain message, different for each number.
pub(crate) fn message(number: usize, to: &str) -> Vec<u8> {
    format!(
        "Return-Path: <sender@elsewhere.example>\r\nReceived: from elsewhere.example by mail.example; Fri, 20 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <{number}.{to}>\r\nDate: Fri, 20 Nov 2026 09:59:58 +0000\r\n\
         From: Sender <sender@elsewhere.example>\r\nTo: <{to}>\r\nSubject: Message {number}\r\n\r\nBody {number}\r\n"
    )
    .into_bytes()
}
