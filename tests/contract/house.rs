//! An organization on the provider under test, with people whose mailboxes are approved, tested and enabled, and whole
//! cycles as a worker runs them. No broker takes part: the tests queue and claim as the scheduler would.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use cycle::{Config, Cycle, Ending, Mail, Parts, Taking};
use model::actor::Actor;
use model::alert::AlertKind;
use model::cadence::{Next, Outcome};
use model::email::EmailState;
use model::failure::FailureScope;
use model::id::{EmailId, InstallationId, MailboxId, OrganizationId, ProfileId, SessionId};
use model::mailbox::{Acceptance, Approval, DeliveryMethod, Owner, Role, TestResult};
use model::message::{NamedAddress, OutgoingAttachment};
use model::network::NetworkPolicy;
use model::profile::CredentialsOn;
use model::secret::Secret;
use model::workload::Workload;
use servers::Postgres;
use store::change::Author;
use store::mailbox::NewMailbox;
use store::outgoing::{self, Draft};
use store::profile::ProfileFields;
use store::schedule::{Claim, Scan};
use store::seal::KeyRing;
use store::testing::{self, TestDatabase};
use store::user::NewUser;
use store::{Tenant, mailbox, profile, schedule, session, user};
use throttle::{ClassShare, Shares};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::provider::{Door, Provider};

static POSTGRES: OnceCell<Postgres> = OnceCell::const_new();

pub(crate) const PASSWORD: &str = "correct horse";

/// One test's own installation, on a provider with doors of its own.
pub(crate) struct House<P> {
    pub(crate) provider: P,
    pub(crate) database: TestDatabase,
    pub(crate) parts: Parts,
    pub(crate) organization: OrganizationId,
    pub(crate) profile: ProfileId,
    pub(crate) session: SessionId,
}

/// A person with a mailbox here and on the server.
#[derive(Clone)]
pub(crate) struct Person {
    pub(crate) mailbox: MailboxId,
    pub(crate) address: String,
}

pub(crate) fn by() -> Author {
    Author::new(Actor::Operator, "test")
}

pub(crate) fn shares() -> Shares {
    let share = ClassShare { share_percent: 20, ceiling_percent: 100 };
    Shares { incoming: share, outgoing: share, calendar: share, jobs: share, watch: share }
}

pub(crate) fn config() -> Config {
    Config {
        max_items: 500,
        max_mb: 64,
        max_seconds: 60,
        batch_items: 100,
        batch_mb: 16,
        phase_seconds: 20,
        pipeline: 50,
        smtp_client_name: "[127.0.0.1]".to_owned(),
        smtp_message_seconds: 20,
        smtp_verdict_seconds: 20,
        pop3_in_doubt_seconds: 600,
        smtp_in_doubt_seconds: 300,
        ews_in_doubt_seconds: 120,
        streamed_mb: 32,
        memory_mb: 64,
        send_memory_mb: 64,
    }
}

/// For servers that must be given up on soon.
pub(crate) fn impatient() -> Config {
    Config { phase_seconds: 2, ..config() }
}

/// For servers that fall silent now and then, and must answer in time whenever they do not, on a busy machine too.
pub(crate) fn patient() -> Config {
    Config { phase_seconds: 8, ..config() }
}

impl<P: Provider> House<P> {
    pub(crate) async fn build() -> Self {
        Self::with(config(), |_| {}).await
    }

    /// A house whose profile is changed before it is stored.
    pub(crate) async fn with(config: Config, change: impl FnOnce(&mut ProfileFields)) -> Self {
        let provider = P::start().await;
        let postgres = POSTGRES.get_or_init(Postgres::start).await;
        let database = TestDatabase::create(&postgres.owner_url("postgres")).await.unwrap();
        let network = NetworkPolicy { allow: vec!["127.0.0.0/8".parse().unwrap()] };
        let key = base64::prelude::BASE64_STANDARD.encode([7; 32]);
        let parts = Parts {
            store: database.store.clone(),
            mail: Mail::new(network, config, shares()).unwrap(),
            keys: Arc::new(KeyRing::from_text(&format!("test:{key}")).unwrap()),
            drain: CancellationToken::new(),
        };
        let organization = database.organization("contoso").await.unwrap();
        let mut fields = provider.profile();
        change(&mut fields);
        let tenant = parts.store.tenant(organization).await.unwrap();
        let profile = profile::create(&tenant, &fields, &by()).await.unwrap().id;
        tenant.commit().await.unwrap();
        let session = parts
            .store
            .in_ring(async |ring| session::start(ring, "test", 1000, Duration::from_secs(600)).await)
            .await
            .unwrap();
        Self { provider, database, parts, organization, profile, session }
    }

    pub(crate) async fn tenant(&self) -> Tenant {
        self.parts.store.tenant(self.organization).await.unwrap()
    }

    /// An address that no other test has.
    pub(crate) fn address(&self, name: &str) -> String {
        let unique = self.organization.0.simple().to_string();
        format!("{name}.{}@example.org", &unique[20..])
    }

    /// A person whose workloads are enabled and take everything.
    pub(crate) async fn person(&self, name: &str) -> Person {
        self.person_at(name, self.profile, |address, password| self.provider.add_mailbox(address, password))
            .await
    }

    /// The same at a server of another profile.
    pub(crate) async fn person_at(
        &self,
        name: &str,
        profile: ProfileId,
        add_mailbox: impl Fn(&str, &str),
    ) -> Person {
        let address = self.address(name);
        add_mailbox(&address, PASSWORD);
        let tenant = self.tenant().await;
        let new = NewUser {
            name: name.to_owned(),
            address: address.parse().unwrap(),
            role: Role::User,
            external_id: None,
        };
        let user = user::create(&tenant, &new, &by()).await.unwrap().id;
        tenant.commit().await.unwrap();
        self.mailbox_at(Owner::User(user), &address, profile).await
    }

    /// The mailbox of an owner, approved, tested and enabled, here and at the server.
    pub(crate) async fn mailbox_of(&self, owner: Owner, address: &str) -> Person {
        self.provider.add_mailbox(address, PASSWORD);
        self.mailbox_at(owner, address, self.profile).await
    }

    async fn mailbox_at(&self, owner: Owner, address: &str, profile: ProfileId) -> Person {
        let address = address.to_owned();
        let tenant = self.tenant().await;
        let new = NewMailbox {
            name: address.clone(),
            address: address.parse().unwrap(),
            owner: Some(owner),
            profile,
            incoming_login: None,
            acceptance: Some(Acceptance::All),
            incoming: DeliveryMethod::ServerSide,
            outgoing: DeliveryMethod::ServerSide,
            process_email_received_after: Some("2000-01-01T00:00:00Z".parse().unwrap()),
            delete_after_processing: false,
            external_id: None,
        };
        let mailbox = mailbox::create(&tenant, &new, &by()).await.unwrap().id;
        let secret = Secret::from(PASSWORD.to_owned());
        let fields = profile::get(&tenant, profile).await.unwrap().unwrap().fields;
        if fields.limits.credentials_on == CredentialsOn::Mailbox {
            mailbox::set_password(&tenant, &self.parts.keys, mailbox, &address, &secret, &by())
                .await
                .unwrap();
        }
        mailbox::set_approval(&tenant, mailbox, None, Approval::Approved, &by()).await.unwrap();
        for workload in [Workload::Incoming, Workload::Outgoing] {
            mailbox::record_test(&tenant, mailbox, workload, TestResult::Success, None, &by()).await.unwrap();
            mailbox::enable(&tenant, mailbox, workload, Duration::ZERO, &by()).await.unwrap();
        }
        tenant.commit().await.unwrap();
        Person { mailbox, address }
    }

    /// Several people at once, by numbered names.
    pub(crate) async fn people(&self, count: usize) -> Vec<Person> {
        let mut people = Vec::with_capacity(count);
        for number in 0..count {
            people.push(self.person(&format!("person{number}")).await);
        }
        people
    }

    /// Wishes the workload, and claims it as a worker would; `None` while a back-off holds it.
    pub(crate) async fn claimed(&self, of: &Person, workload: Workload) -> Option<Cycle> {
        self.claimed_with(&self.parts, of, workload).await
    }

    /// The same for a process of its own.
    pub(crate) async fn claimed_with(&self, parts: &Parts, of: &Person, workload: Workload) -> Option<Cycle> {
        let tenant = self.tenant().await;
        assert!(schedule::wish(&tenant, of.mailbox, workload).await.unwrap(), "the workload is enabled");
        tenant.commit().await.unwrap();
        let store = &parts.store;
        let scan = Scan {
            workload,
            batch: 1000,
            share_cap: 1000,
            in_flight: u32::MAX,
            since_last: Duration::from_secs(1),
        };
        let queued = store.in_ring(async |ring| schedule::claim_due(ring, &scan).await).await.unwrap();
        let (mine, others): (Vec<_>, Vec<_>) =
            queued.iter().map(|queued| queued.place).partition(|place| place.claim.mailbox == of.mailbox);
        store.in_ring(async |ring| schedule::unpublish(ring, &others).await).await.unwrap();
        self.taken(parts, mine.first()?.claim).await
    }

    async fn taken(&self, parts: &Parts, claim: Claim) -> Option<Cycle> {
        let claimed = parts
            .store
            .in_tenant(self.organization, async |tenant| schedule::claim(tenant, claim, self.session).await)
            .await
            .unwrap()?;
        Cycle::start(parts, self.organization, self.session, claimed).await.unwrap()
    }

    /// Runs and finishes one cycle, to whichever end.
    pub(crate) async fn cycle(&self, of: &Person, workload: Workload) -> (Ending, Next) {
        let mut cycle = self.claimed(of, workload).await.expect("nothing holds it back");
        let ending = cycle.run(|| true).await.expect("the claim is ours");
        let next = cycle.finish(&ending).await.unwrap();
        (ending, next)
    }

    /// Runs one incoming cycle that works; gives how many items it decided about.
    pub(crate) async fn receive(&self, of: &Person) -> u32 {
        worked(&self.cycle(of, Workload::Incoming).await.0)
    }

    /// Runs one outgoing cycle that works; gives how many messages it tried.
    pub(crate) async fn transmit(&self, of: &Person) -> u32 {
        worked(&self.cycle(of, Workload::Outgoing).await.0)
    }

    /// Runs one cycle that fails; gives whose failure it was and what it is called.
    pub(crate) async fn fails(&self, of: &Person, workload: Workload) -> (FailureScope, AlertKind) {
        match self.cycle(of, workload).await.0.outcome {
            Outcome::Failed(failure) => (failure.scope, failure.alert),
            other => panic!("it did not fail: {other:?}"),
        }
    }

    /// The door of a workload.
    pub(crate) fn door(&self, workload: Workload) -> &dyn Door {
        self.provider.door(workload)
    }

    /// Asks for a mail to be sent.
    pub(crate) async fn ask(&self, from: &Person, draft: Draft) -> EmailId {
        self.ask_with(from, draft, &[]).await
    }

    /// The same with files.
    pub(crate) async fn ask_with(
        &self,
        from: &Person,
        draft: Draft,
        files: &[OutgoingAttachment],
    ) -> EmailId {
        let draft = Draft { from: Some(from.mailbox), text: Some("Hello".to_owned()), ..draft };
        let tenant = self.tenant().await;
        let email = outgoing::create(&tenant, &draft, files, None, &by()).await.unwrap();
        outgoing::request_send(&tenant, email, None, outgoing::Request::default(), &by()).await.unwrap();
        tenant.commit().await.unwrap();
        email
    }

    pub(crate) async fn state(&self, email: EmailId) -> EmailState {
        let owner = self.database.owner().await.unwrap();
        let row = owner.query_one("select state from emails where id = $1", &[&email.0]).await.unwrap();
        row.get::<_, String>(0).parse().unwrap()
    }

    /// A number that the database's owner counts.
    pub(crate) async fn count(&self, what: &str) -> i64 {
        let owner = self.database.owner().await.unwrap();
        owner.query_one(&format!("select count(*) from {what}"), &[]).await.unwrap().get(0)
    }

    /// Does something as the database's owner.
    pub(crate) async fn execute(&self, statement: &str) {
        self.database.owner().await.unwrap().batch_execute(statement).await.unwrap();
    }

    /// Gives a setting of the organization a value.
    pub(crate) async fn set(&self, name: &str, value: impl std::fmt::Display) {
        let statement = format!(
            "insert into settings (organization_id, name, value) values ('{}', '{name}', '{value}')
             on conflict (organization_id, name) do update set value = excluded.value",
            self.organization.0
        );
        self.execute(&statement).await;
    }

    /// Lets so much time pass that whatever waits or is held back is due, with the session alive all the while.
    pub(crate) async fn later(&self) {
        testing::pass(&self.database, Duration::from_secs(700)).await.unwrap();
        self.execute("update sessions set seen_at = now()").await;
    }

    /// Waits until this many messages are in the mailbox.
    pub(crate) async fn arrived(&self, address: &str, count: usize) -> Vec<Vec<u8>> {
        for _ in 0..600 {
            let messages = self.provider.holds(address);
            if messages.len() >= count {
                return messages;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{count} messages never arrived, {} did", self.provider.holds(address).len());
    }

    /// How often a message for this recipient was handed over.
    pub(crate) fn handed_over_to(&self, address: &str) -> usize {
        let to = address.to_lowercase();
        self.provider.handed_over().iter().filter(|handed| handed.recipients.contains(&to)).count()
    }

    /// Nobody was switched off.
    pub(crate) async fn assert_enabled(&self) {
        assert_eq!(self.count("mailbox_workloads where enabled = (method = 'none')").await, 0, "all enabled");
        assert_eq!(self.count("schedules where failures > 0 or refusals > 0").await, 0, "failures counted");
    }

    /// What must be so once a fault has passed: everything is switched on, nothing is held against anybody.
    pub(crate) async fn assert_recovered(&self) {
        assert_eq!(self.count("mailbox_workloads where enabled = (method = 'none')").await, 0, "all enabled");
        assert_eq!(self.count("endpoints where open_until > now()").await, 0, "a breaker is open");
        assert_eq!(self.count("schedules where failures > 0 or refusals > 0").await, 0, "failures counted");
        let owner = self.database.owner().await.unwrap();
        let open = "select kind, scope from alerts where resolved_at is null and scope <> 'email'";
        let open = owner.query(open, &[]).await.unwrap();
        let open: Vec<(String, String)> = open.iter().map(|row| (row.get(0), row.get(1))).collect();
        assert_eq!(open, [], "alerts are open for what has passed");
    }
}

/// The number of items of a cycle that worked.
pub(crate) fn worked(ending: &Ending) -> u32 {
    match ending.outcome {
        Outcome::Done { items, .. } => items,
        ref other => panic!("it did not work: {other:?}"),
    }
}

/// As the mailbox's own installation, and nobody else's.
pub(crate) fn taking() -> Taking {
    Taking { installation: InstallationId(Uuid::from_u128(1)), force: false }
}

pub(crate) fn to(address: &str) -> Vec<NamedAddress> {
    vec![NamedAddress { name: None, address: address.parse().unwrap() }]
}

pub(crate) fn to_all<'a>(people: impl IntoIterator<Item = &'a Person>) -> Vec<NamedAddress> {
    people.into_iter().flat_map(|person| to(&person.address)).collect()
}

/// A plain message, different for each number.
pub(crate) fn message(number: usize, to: &str) -> Vec<u8> {
    received_at(number, to, "Fri, 20 Nov 2026 10:00:00 +0000")
}

/// The same, received at another time.
pub(crate) fn received_at(number: usize, to: &str, when: &str) -> Vec<u8> {
    format!(
        "Return-Path: <sender@elsewhere.example>\r\nReceived: from elsewhere.example by mail.example; {when}\r\n\
         Message-ID: <{number}.{to}>\r\nDate: Fri, 20 Nov 2026 09:59:58 +0000\r\n\
         From: Sender <sender@elsewhere.example>\r\nTo: <{to}>\r\nSubject: Message {number}\r\n\r\nBody {number}\r\n"
    )
    .into_bytes()
}
