//! What the tests of this binary share: one server, a database per test, and rows to run cycles on.

use std::time::Duration;

use model::cadence::{DueReason, Next, Outcome};
use model::id::{MailboxId, OrganizationId, ProfileId, SessionId};
use model::workload::Workload;
use store::schedule::{self, Claim, ClaimedCycle, Queued, Scan, SweepTimes};
use store::testing::TestDatabase;
use store::{Result, Ring, Store, Tenant, session};
use tokio::sync::OnceCell;

/// The times that the issue names.
pub(crate) const DEAD_AFTER: Duration = Duration::from_secs(15);
pub(crate) const SWEEP: SweepTimes = SweepTimes { cycle_seconds: 120, job_seconds: 600, queued_seconds: 360 };

/// A database of the test's own.
pub(crate) async fn database() -> TestDatabase {
    static SERVER: OnceCell<servers::Postgres> = OnceCell::const_new();
    let server = SERVER.get_or_init(servers::Postgres::start).await;
    TestDatabase::create(&server.owner_url("postgres")).await.unwrap()
}

/// A profile whose credentials live on it, so that `max_connections` is its limit.
pub(crate) async fn profile(database: &TestDatabase, organization: OrganizationId, limit: i32) -> ProfileId {
    let profile: ProfileId = model::clock::new_id();
    database
        .owner()
        .await
        .unwrap()
        .execute(
            "insert into profiles (organization_id, id, name, kind, incoming_host, incoming_port, incoming_tls,
                outgoing_host, outgoing_port, outgoing_tls, credentials_on, max_connections)
             values ($1, $2, gen_random_uuid()::text, 'pop3_smtp', 'mail.test', 995, 'implicit', 'mail.test', 465, 'implicit', 'profile', $3)",
            &[&organization.0, &profile.0, &limit],
        )
        .await
        .unwrap();
    profile
}

/// Mailboxes whose incoming mail is enabled and due now, the first the longest.
pub(crate) async fn mailboxes(
    database: &TestDatabase,
    organization: OrganizationId,
    profile: ProfileId,
    count: i32,
) -> Vec<MailboxId> {
    let rows = database
        .owner()
        .await
        .unwrap()
        .query(
            "with planted as (
                insert into mailboxes (organization_id, id, name, address, profile_id, incoming_endpoint,
                    incoming_login, acceptance)
                select $1, id, 'mailbox', id || '@mail.test', $2, 'pop3://mail.test:995', id::text, 'all'
                from (select gen_random_uuid() as id from generate_series(1, $3)) g
                returning id
            ), switched as (
                insert into mailbox_workloads (organization_id, mailbox_id, workload, enabled)
                select $1, id, w, true from planted, unnest(array['incoming', 'outgoing']) w
            )
            insert into schedules (organization_id, mailbox_id, workload, profile_id, due_at, due_reason)
            select $1, id, w, $2, case w when 'incoming' then now() - make_interval(secs => 3600 - n) end,
                   case w when 'incoming' then 'enabled' else 'nothing_to_send' end
            from (select id, row_number() over () as n from planted) p, unnest(array['incoming', 'outgoing']) w
            returning mailbox_id, workload, due_at",
            &[&organization.0, &profile.0, &count],
        )
        .await
        .unwrap();
    let mut incoming: Vec<_> = rows.iter().filter(|row| row.get::<_, &str>(1) == "incoming").collect();
    incoming.sort_by_key(|row| row.get::<_, jiff::Timestamp>(2));
    incoming.iter().map(|row| MailboxId(row.get(0))).collect()
}

/// One organization with one mailbox that is due.
pub(crate) struct One {
    pub(crate) database: TestDatabase,
    pub(crate) store: Store,
    pub(crate) organization: OrganizationId,
    pub(crate) profile: ProfileId,
    pub(crate) mailbox: MailboxId,
    pub(crate) session: SessionId,
}

pub(crate) async fn one() -> One {
    let database = database().await;
    let store = database.store.clone();
    let organization = database.organization("one").await.unwrap();
    let profile = profile(&database, organization, 10).await;
    let mailbox = mailboxes(&database, organization, profile, 1).await[0];
    let session = start(&store).await;
    One { database, store, organization, profile, mailbox, session }
}

impl One {
    pub(crate) async fn tenant(&self) -> Tenant {
        self.store.tenant(self.organization).await.unwrap()
    }

    /// Queues the incoming cycle and gives its claim; `None` when it is not due.
    pub(crate) async fn queued(&self) -> Option<Claim> {
        scan(&self.store, 100).await.first().map(|queued| queued.place.claim)
    }

    /// Queues and claims the incoming cycle.
    pub(crate) async fn running(&self) -> Claim {
        let claim = self.queued().await.expect("the cycle is due");
        self.claim(claim).await.expect("the claim is ours").claim
    }

    pub(crate) async fn claim(&self, claim: Claim) -> Option<ClaimedCycle> {
        self.store
            .in_tenant(self.organization, async |tenant| schedule::claim(tenant, claim, self.session).await)
            .await
            .unwrap()
    }

    /// Ends the cycle with five minutes until the next.
    pub(crate) async fn finish(&self, claim: Claim) -> Result<()> {
        let (outcome, next) = done();
        self.store
            .in_tenant(self.organization, async |tenant| {
                schedule::finish(tenant, claim, &outcome, &next).await.map(drop)
            })
            .await
    }

    pub(crate) async fn wish(&self) -> bool {
        self.store
            .in_tenant(self.organization, async |tenant| {
                schedule::wish(tenant, self.mailbox, Workload::Incoming).await
            })
            .await
            .unwrap()
    }

    pub(crate) async fn bump(&self) {
        self.store
            .in_tenant(self.organization, async |tenant| schedule::bump(tenant, self.mailbox, None).await)
            .await
            .unwrap();
    }

    /// A column of the incoming schedule row, as text.
    pub(crate) async fn column(&self, column: &str) -> Option<String> {
        self.database
            .owner()
            .await
            .unwrap()
            .query_one(
                &format!(
                    "select {column}::text from schedules where mailbox_id = $1 and workload = 'incoming'"
                ),
                &[&self.mailbox.0],
            )
            .await
            .unwrap()
            .get(0)
    }
}

/// A quiet cycle, due again in five minutes.
pub(crate) fn done() -> (Outcome, Next) {
    let next = Next {
        delay: Some(Duration::from_secs(300)),
        reason: DueReason::Cadence,
        not_before: None,
        held_by: None,
        quiet_cycles: 1,
        failures: 0,
        refusals: 0,
        switch_off: None,
    };
    (Outcome::Done { items: 0, cut_off: false }, next)
}

pub(crate) async fn start(store: &Store) -> SessionId {
    in_ring(store, async |ring| session::start(ring, "test", 4, DEAD_AFTER).await).await
}

/// One scan of incoming mail without a bound on shares.
pub(crate) async fn scan(store: &Store, batch: u32) -> Vec<Queued> {
    scan_with(
        store,
        &Scan {
            workload: Workload::Incoming,
            batch,
            share_cap: 1000,
            in_flight: u32::MAX,
            since_last: Duration::ZERO,
        },
    )
    .await
}

pub(crate) async fn scan_with(store: &Store, scan: &Scan) -> Vec<Queued> {
    in_ring(store, async |ring| schedule::claim_due(ring, scan).await).await
}

pub(crate) async fn in_ring<T>(store: &Store, work: impl AsyncFnOnce(&Ring) -> Result<T>) -> T {
    store.in_ring(work).await.unwrap()
}
