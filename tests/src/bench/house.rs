//! What a measurement runs on: a durable Postgres of its own, and an organization whose mailboxes are approved, tested
//! and enabled. The settings are those of `config.default.toml`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use cycle::{Config, Cycle, Mail, Parts};
use model::actor::Actor;
use model::cadence::Outcome;
use model::clock;
use model::endpoint::{Endpoint, Protocol, Tls};
use model::id::{MailboxId, OrganizationId, ProfileId, SessionId};
use model::mailbox::{Acceptance, Approval, DeliveryMethod, Owner, Role, TestResult};
use model::network::NetworkPolicy;
use model::profile::{CredentialsOn, Limits, ProfileKind};
use model::secret::Secret;
use model::workload::Workload;
use serde::de::DeserializeOwned;
use servers::Postgres;
use store::change::Author;
use store::mailbox::NewMailbox;
use store::profile::ProfileFields;
use store::schedule::{Claim, Scan};
use store::seal::KeyRing;
use store::testing::TestDatabase;
use store::user::NewUser;
use store::{Store, Tenant, mailbox, profile, schedule, session, user};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Trouble;

/// Cycles at once: a worker has this many slots unless told otherwise, and more than the server has mailboxes here.
const SLOTS: u32 = 100;

/// The password of every mailbox.
pub(super) const PASSWORD: &str = "correct horse";

/// An installation with one organization.
pub(super) struct House {
    pub(super) database: TestDatabase,
    pub(super) parts: Parts,
    pub(super) organization: OrganizationId,
    profile: ProfileId,
    session: SessionId,
    _postgres: Postgres,
}

/// Where the mail servers are.
pub(super) struct Place<'a> {
    pub(super) pop3: u16,
    /// How POP3 becomes private there.
    pub(super) pop3_tls: Tls,
    pub(super) submissions: u16,
    pub(super) ca: &'a str,
}

/// What cycles did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Driven {
    pub(super) cycles: u32,
    pub(super) items: u32,
}

pub(super) fn by() -> Author {
    Author::new(Actor::Operator, "bench")
}

/// A section of `config.default.toml`.
pub(super) fn defaults<T: DeserializeOwned>(path: &str) -> Result<T, Trouble> {
    let text = include_str!("../../../config.default.toml");
    let mut value: toml::Value = toml::Value::Table(text.parse()?);
    for name in path.split('.') {
        value = value.get(name).cloned().ok_or("a section that is not there")?;
    }
    Ok(value.try_into()?)
}

/// A database on a Postgres that waits for the disk.
pub(super) async fn database(postgres: &Postgres) -> Result<(TestDatabase, Store), Trouble> {
    let database = TestDatabase::create(&postgres.owner_url("postgres")).await?;
    let pool_size = defaults("database.pool_size")?;
    let store = Store::open(&store::Config { pool_size, ..database.config.clone() })?;
    Ok((database, store))
}

impl<'a> Place<'a> {
    /// TLS from the first byte everywhere.
    pub(super) fn private(pop3: u16, submissions: u16, ca: &'a str) -> Self {
        Self { pop3, pop3_tls: Tls::Implicit, submissions, ca }
    }

    /// A profile that leads there.
    pub(super) fn profile(&self) -> ProfileFields {
        ProfileFields {
            name: "bench".to_owned(),
            description: String::new(),
            kind: ProfileKind::Pop3Smtp,
            incoming: endpoint(Protocol::Pop3, self.pop3, self.pop3_tls),
            outgoing: endpoint(Protocol::Smtp, self.submissions, Tls::Implicit),
            exchange: None,
            ca_certificate: Some(self.ca.to_owned()),
            limits: Limits {
                credentials_on: CredentialsOn::Mailbox,
                max_connections: 10,
                max_in_flight: 1000,
            },
            process_email_received_after: None,
            min_polling_minutes: 0,
            connect_timeout: Duration::from_secs(10),
            alert_mail: false,
            undeliverable_folder: None,
            external_id: None,
        }
    }
}

impl House {
    pub(super) async fn build(place: &Place<'_>) -> Result<Self, Trouble> {
        Self::of(&place.profile()).await
    }

    /// An installation whose mailboxes lie behind this profile.
    pub(super) async fn of(fields: &ProfileFields) -> Result<Self, Trouble> {
        let postgres = Postgres::sized().await;
        let (database, store) = database(&postgres).await?;
        let network = NetworkPolicy { allow: vec!["127.0.0.0/8".parse()?] };
        let config: Config = defaults("cycle")?;
        let key = base64::prelude::BASE64_STANDARD.encode(clock::random_bytes::<32>());
        let parts = Parts {
            store: store.clone(),
            mail: Mail::new(network, config, defaults("throttle.shares")?)?,
            keys: Arc::new(KeyRing::from_text(&format!("bench:{key}"))?),
            drain: CancellationToken::new(),
        };
        let organization = database.organization("bench").await?;
        let tenant = store.tenant(organization).await?;
        let profile = profile::create(&tenant, fields, &by()).await?.id;
        tenant.commit().await?;
        let session = store
            .in_ring(async |ring| session::start(ring, "bench", SLOTS, Duration::from_secs(3600)).await)
            .await?;
        Ok(Self { database, parts, organization, profile, session, _postgres: postgres })
    }

    pub(super) async fn tenant(&self) -> Result<Tenant, Trouble> {
        Ok(self.parts.store.tenant(self.organization).await?)
    }

    /// A person with a mailbox that is due now.
    pub(super) async fn mailbox(&self, address: &str) -> Result<MailboxId, Trouble> {
        let tenant = self.tenant().await?;
        let name = address.split('@').next().unwrap_or(address).to_owned();
        let new =
            NewUser { name: name.clone(), address: address.parse()?, role: Role::User, external_id: None };
        let user = user::create(&tenant, &new, &by()).await?.id;
        let new = NewMailbox {
            name,
            address: address.parse()?,
            owner: Some(Owner::User(user)),
            profile: self.profile,
            incoming_login: None,
            acceptance: Some(Acceptance::All),
            incoming: DeliveryMethod::ServerSide,
            outgoing: DeliveryMethod::ServerSide,
            process_email_received_after: Some("2000-01-01T00:00:00Z".parse()?),
            delete_after_processing: false,
            external_id: None,
        };
        let id = mailbox::create(&tenant, &new, &by()).await?.id;
        let secret = Secret::from(PASSWORD.to_owned());
        mailbox::set_password(&tenant, &self.parts.keys, id, address, &secret, &by()).await?;
        mailbox::set_approval(&tenant, id, None, Approval::Approved, &by()).await?;
        for workload in [Workload::Incoming, Workload::Outgoing] {
            mailbox::record_test(&tenant, id, workload, TestResult::Success, None, &by()).await?;
            mailbox::enable(&tenant, id, workload, Duration::ZERO, &by()).await?;
        }
        tenant.commit().await?;
        Ok(id)
    }

    /// Makes every mailbox's workload due now.
    pub(super) async fn wish(&self, mailboxes: &[MailboxId], workload: Workload) -> Result<(), Trouble> {
        let tenant = self.tenant().await?;
        for id in mailboxes {
            schedule::wish(&tenant, *id, workload).await?;
        }
        Ok(tenant.commit().await?)
    }

    /// Queues, claims, runs and finishes cycles until nothing is due any more: the ring without broker and leases.
    pub(super) async fn drive(self: &Arc<Self>, workload: Workload) -> Result<Driven, Trouble> {
        let scan = Scan {
            workload,
            batch: 1000,
            share_cap: SLOTS,
            in_flight: u32::MAX,
            since_last: Duration::from_secs(1),
        };
        let (mut running, mut driven) = (JoinSet::new(), Driven::default());
        loop {
            let store = &self.parts.store;
            let queued = store.in_ring(async |ring| schedule::claim_due(ring, &scan).await).await?;
            for cycle in &queued {
                let (house, claim) = (Arc::clone(self), cycle.place.claim);
                running.spawn(async move { house.cycle(claim).await });
            }
            let Some(ended) = running.join_next().await else { return Ok(driven) };
            let mut ended = Some(ended);
            while let Some(items) = ended {
                driven.cycles += 1;
                driven.items += items??;
                ended = running.try_join_next();
            }
        }
    }

    /// One cycle; how many items it had.
    async fn cycle(&self, claim: Claim) -> Result<u32, Trouble> {
        let parts = &self.parts;
        let claimed = schedule::claim_together(&parts.store, self.organization, claim, self.session).await?;
        let claimed = claimed.ok_or("a cycle that was queued could not be claimed")?;
        let cycle = Cycle::start(parts, self.organization, self.session, claimed).await?;
        let mut cycle = cycle.ok_or("a cycle that was claimed did not start")?;
        let ending = cycle.run(|| true).await.ok_or("a cycle lost its claim")?;
        cycle.finish(&ending).await?;
        match ending.outcome {
            Outcome::Done { items, .. } => Ok(items),
            other => Err(format!("a cycle ended otherwise: {other:?}").into()),
        }
    }

    /// Counts what the database's owner sees, and fails when it is not what was expected.
    pub(super) async fn expect(&self, counts: &[(&str, usize)]) -> Result<(), Trouble> {
        let owner = self.database.owner().await?;
        for (what, expected) in counts {
            let row = owner.query_one(&format!("select count(*) from {what}"), &[]).await?;
            let found: i64 = row.get(0);
            if usize::try_from(found) != Ok(*expected) {
                return Err(format!("{what}: {found} instead of {expected}").into());
            }
        }
        Ok(())
    }
}

fn endpoint(protocol: Protocol, port: u16, tls: Tls) -> Endpoint {
    Endpoint { protocol, host: "localhost".to_owned(), port, tls }
}

/// A message of about 10 kB that no other mailbox has, with lines of text as people write them.
pub(super) fn message(number: usize, to: &str) -> Vec<u8> {
    let mut text = format!(
        "Return-Path: <sender@elsewhere.example>\r\n\
         Received: from elsewhere.example by mail.example; Fri, 20 Nov 2026 10:00:00 +0000\r\n\
         Message-ID: <{number}.{to}>\r\nDate: Fri, 20 Nov 2026 09:59:58 +0000\r\n\
         From: Sender Number {number} <sender{number}@elsewhere.example>\r\nTo: <{to}>\r\n\
         Subject: Message {number} for {to}\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    );
    text.push_str(&body(number, "\r\n"));
    text.into_bytes()
}

/// About 10 kB of lines.
pub(super) fn body(number: usize, end_of_line: &str) -> String {
    const WORDS: [&str; 16] = [
        "offer", "meeting", "the", "invoice", "attached", "we", "please", "confirm", "delivery", "of",
        "Thursday", "price", "regards", "contract", "and", "für",
    ];
    let mut state = number as u64 + 1;
    let mut text = String::with_capacity(10_300);
    while text.len() < 9_800 {
        let mut line = 0;
        while line < 66 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let word = WORDS[usize::try_from(state >> 60).unwrap_or(0)];
            text.push_str(word);
            text.push(' ');
            line += word.len() + 1;
        }
        text.push_str(end_of_line);
    }
    text
}

/// How often each is there more than once.
pub(super) fn twice<T: Eq + std::hash::Hash>(all: impl IntoIterator<Item = T>) -> usize {
    let mut counts: HashMap<T, usize> = HashMap::new();
    for one in all {
        *counts.entry(one).or_default() += 1;
    }
    counts.values().map(|count| count - 1).sum()
}
