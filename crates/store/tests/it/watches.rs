//! Who listens to which mailboxes.

use std::collections::BTreeSet;
use std::time::Duration;

use model::id::{MailboxId, OrganizationId, ProfileId, SessionId, WatchId};
use model::workload::Workload;
use store::testing::{TestDatabase, pass};
use store::watch::{self, Claimed, Standing, Terms};
use store::{Store, schedule};

use crate::support::{database, in_ring, mailboxes, profile, scan, start};

const LASTS: Duration = Duration::from_secs(29 * 60);

struct Office {
    database: TestDatabase,
    store: Store,
    organization: OrganizationId,
    profile: ProfileId,
}

/// An Exchange server that takes so many connections.
async fn exchange(database: &TestDatabase, organization: OrganizationId, connections: i32) -> ProfileId {
    let profile = profile(database, organization, connections).await;
    let statement = "update profiles set kind = 'exchange_ews', exchange_path = '/EWS/Exchange.asmx',
            exchange_access = 'impersonation' where id = $1";
    database.owner().await.unwrap().execute(statement, &[&profile.0]).await.unwrap();
    profile
}

async fn office(connections: i32) -> Office {
    let database = database().await;
    let organization = database.organization("one").await.unwrap();
    let profile = exchange(&database, organization, connections).await;
    Office { store: database.store.clone(), database, organization, profile }
}

impl Office {
    async fn mailboxes(&self, count: i32) -> Vec<MailboxId> {
        let mailboxes = mailboxes(&self.database, self.organization, self.profile, count).await;
        self.execute("update mailboxes set approval = 'approved'").await;
        self.execute("update mailbox_workloads set method = 'server_side'").await;
        mailboxes
    }

    async fn execute(&self, statement: &str) {
        self.database.owner().await.unwrap().execute(statement, &[]).await.unwrap();
    }

    async fn claim(&self, session: SessionId, held: &[WatchId]) -> Option<Claimed> {
        let terms = Terms { most: 200, lasts: LASTS, ceiling_percent: 30 };
        let id = model::clock::new_id();
        in_ring(&self.store, async |ring| watch::claim(ring, id, session, held, terms).await).await
    }

    async fn members(&self, watch: WatchId) -> BTreeSet<MailboxId> {
        let tenant = self.store.tenant(self.organization).await.unwrap();
        let members = watch::members(&tenant, watch).await.unwrap();
        members.into_iter().map(|member| member.mailbox).collect()
    }

    async fn heard(&self, watch: WatchId, mailboxes: &BTreeSet<MailboxId>) -> usize {
        let mailboxes: Vec<_> = mailboxes.iter().copied().collect();
        let tenant = self.store.tenant(self.organization).await.unwrap();
        let heard = watch::heard(&tenant, watch, &mailboxes).await.unwrap();
        tenant.commit().await.unwrap();
        heard.len()
    }

    async fn release(&self, watch: WatchId, pause: Option<Duration>) -> u64 {
        let tenant = self.store.tenant(self.organization).await.unwrap();
        let released = watch::release(&tenant, watch, 0, pause).await.unwrap();
        tenant.commit().await.unwrap();
        released
    }

    async fn standing(&self, watch: &Claimed) -> Standing {
        let tenant = self.store.tenant(self.organization).await.unwrap();
        watch::standing(&tenant, watch, 1, 200).await.unwrap()
    }
}

#[tokio::test]
async fn two_hundred_mailboxes_share_a_watch_and_nobody_has_a_mailbox_twice() {
    let office = office(10).await;
    let all: BTreeSet<_> = office.mailboxes(205).await.into_iter().collect();
    let (one, other) = (start(&office.store).await, start(&office.store).await);
    let first = office.claim(one, &[]).await.unwrap();
    let second = office.claim(other, &[]).await.unwrap();
    assert_eq!((first.mailboxes, second.mailboxes, first.profile), (200, 5, office.profile));
    let (those, rest) = (office.members(first.id).await, office.members(second.id).await);
    assert!(those.is_disjoint(&rest));
    assert_eq!(&those | &rest, all);
    assert_eq!(office.claim(one, &[first.id]).await, None);

    // Released, they are anybody's, after the pause where there is one, although another watch has room.
    assert_eq!(office.heard(first.id, &those).await, 200);
    assert_eq!(office.release(first.id, None).await, 200);
    assert_eq!(office.release(first.id, None).await, 0);
    let third = office.claim(other, &[second.id]).await.unwrap();
    assert_eq!(office.members(third.id).await, those);
    office.release(third.id, Some(Duration::from_secs(60))).await;
    assert_eq!(office.claim(one, &[]).await, None);
    pass(&office.database, Duration::from_secs(61)).await.unwrap();
    // A minute is longer than a session is silent for.
    let late = start(&office.store).await;
    assert_eq!(office.claim(late, &[]).await.unwrap().mailboxes, 200);
}

#[tokio::test]
async fn what_a_dead_session_an_ended_claim_or_a_lost_answer_left_is_free() {
    let office = office(10).await;
    office.mailboxes(3).await;
    let dead = start(&office.store).await;
    let first = office.claim(dead, &[]).await.unwrap();
    let session = start(&office.store).await;
    assert_eq!(office.claim(session, &[]).await, None);
    pass(&office.database, Duration::from_secs(16)).await.unwrap();
    let session = start(&office.store).await;
    let second = office.claim(session, &[]).await.unwrap();
    assert_eq!((second.mailboxes, office.members(first.id).await.len()), (3, 0));
    // The dead one can neither release nor claim.
    assert_eq!(office.release(first.id, None).await, 0);
    assert_eq!(office.claim(dead, &[]).await, None);

    // The answer to a claim was lost: the session does not know that it holds it.
    let third = office.claim(session, &[]).await.unwrap();
    assert_eq!((third.mailboxes, office.members(second.id).await.len()), (3, 0));

    // The time of a claim is over, whoever lives.
    pass(&office.database, LASTS).await.unwrap();
    office.execute("update sessions set seen_at = now()").await;
    assert_eq!(office.members(third.id).await.len(), 0);
    assert_eq!(office.claim(start(&office.store).await, &[]).await.unwrap().mailboxes, 3);
}

#[tokio::test]
async fn only_what_may_be_processed_at_a_server_that_tells_is_listened_to() {
    let office = office(10).await;
    let mailboxes_ = office.mailboxes(4).await;
    let session = start(&office.store).await;
    let pop3 = profile(&office.database, office.organization, 10).await;
    mailboxes(&office.database, office.organization, pop3, 2).await;
    for (close, open) in [
        ("update profiles set paused_reason = 'x'", "update profiles set paused_reason = null"),
        ("update profiles set max_connections = 1", "update profiles set max_connections = 10"),
        (
            "insert into endpoints (organization_id, profile_id, endpoint, protocol, failures, open_until)
             select organization_id, id, 'ews://mail.test:443', 'ews', 1, now() + interval '1 minute' from profiles
             where kind = 'exchange_ews'",
            "delete from endpoints",
        ),
        (
            "insert into settings (organization_id, name, value) select id, 'push', 'false' from organizations",
            "update settings set value = 'true'",
        ),
        ("update schedules set due_at = null", "update schedules set due_at = now()"),
    ] {
        office.execute(close).await;
        assert_eq!(office.claim(session, &[]).await, None, "{close}");
        office.execute(open).await;
    }
    let watch = office.claim(session, &[]).await.unwrap();
    assert_eq!(office.standing(&watch).await.mailboxes.len(), 4);

    // What is switched off, or rejected, is no member; what is switched off stands no longer.
    office
        .execute(&format!(
            "update mailbox_workloads set enabled = false where mailbox_id = '{}'",
            mailboxes_[0]
        ))
        .await;
    office
        .execute(&format!("update mailboxes set approval = 'rejected' where id = '{}'", mailboxes_[1]))
        .await;
    assert_eq!(office.members(watch.id).await.len(), 2);
    let tenant = office.store.tenant(office.organization).await.unwrap();
    schedule::bump(&tenant, mailboxes_[2], None).await.unwrap();
    tenant.commit().await.unwrap();
    assert_eq!(office.standing(&watch).await.mailboxes.len(), 3);
    office.execute("update profiles set version = 2").await;
    assert_eq!(office.standing(&watch).await, Standing::default());
}

#[tokio::test]
async fn a_profile_has_no_more_watches_than_its_share_and_organizations_take_turns() {
    let office = office(10).await;
    office.mailboxes(1000).await;
    let other = office.database.organization("other").await.unwrap();
    let theirs = exchange(&office.database, other, 2).await;
    mailboxes(&office.database, other, theirs, 500).await;
    let session = start(&office.store).await;
    let mut held = Vec::new();
    let mut whose = Vec::new();
    while let Some(watch) = office.claim(session, &held).await {
        held.push(watch.id);
        whose.push(watch.organization);
    }
    // Three of ten connections, and one of two.
    assert_eq!(whose.iter().filter(|one| **one == office.organization).count(), 3);
    assert_eq!(whose.iter().filter(|one| **one == other).count(), 1);
    assert!(whose[..2].contains(&other), "{whose:?}");
}

#[tokio::test]
async fn who_comes_later_waits_for_a_watch_that_has_room_and_whoever_is_apart_stays_apart() {
    let office = office(100).await;
    let mailboxes_ = office.mailboxes(3).await;
    let session = start(&office.store).await;
    let watch = office.claim(session, &[]).await.unwrap();
    assert!(!office.standing(&watch).await.others_wait);
    office.mailboxes(2).await;
    assert_eq!(office.claim(session, &[watch.id]).await, None);
    assert!(office.standing(&watch).await.others_wait);

    // Two of the three are known to another server behind the endpoint.
    let tenant = office.store.tenant(office.organization).await.unwrap();
    watch::put_off(&tenant, watch.id, &mailboxes_[..2], Duration::ZERO, Some(watch.id)).await.unwrap();
    tenant.commit().await.unwrap();
    let apart = office.claim(session, &[watch.id]).await.unwrap();
    assert_eq!(office.members(apart.id).await, mailboxes_[..2].iter().copied().collect());
    office.release(watch.id, None).await;
    let rest = office.claim(session, &[apart.id]).await.unwrap();
    assert_eq!((rest.mailboxes, office.standing(&rest).await.others_wait), (3, false));

    // A day later they are together again.
    office.release(apart.id, None).await;
    office.release(rest.id, None).await;
    pass(&office.database, Duration::from_secs(86_401)).await.unwrap();
    assert_eq!(office.claim(start(&office.store).await, &[]).await.unwrap().mailboxes, 5);
}

#[tokio::test]
async fn whoever_has_a_credential_of_its_own_is_listened_to_alone() {
    let office = office(10).await;
    office.mailboxes(2).await;
    office.execute("update profiles set exchange_access = 'own', credentials_on = 'mailbox'").await;
    let session = start(&office.store).await;
    let first = office.claim(session, &[]).await.unwrap();
    let second = office.claim(session, &[first.id]).await.unwrap();
    assert_eq!((first.mailboxes, second.mailboxes), (1, 1));
    assert_ne!(office.members(first.id).await, office.members(second.id).await);
    assert!(!office.standing(&first).await.others_wait);
}

#[tokio::test]
async fn a_wish_makes_incoming_due_and_never_before_a_back_off() {
    let office = office(10).await;
    let all = office.mailboxes(3).await;
    office
        .execute("update schedules set due_at = now() + interval '1 day' where workload = 'incoming'")
        .await;
    let held = format!(
        "update schedules set not_before = now() + interval '1 hour' where mailbox_id = '{}'",
        all[0]
    );
    office.execute(&held).await;
    let off = format!("update mailbox_workloads set enabled = false where mailbox_id = '{}'", all[1]);
    office.execute(&off).await;
    assert_eq!(scan(&office.store, 100).await.len(), 0);
    let wish = async || {
        let tenant = office.store.tenant(office.organization).await.unwrap();
        let wished = watch::wish(&tenant, &all).await.unwrap();
        tenant.commit().await.unwrap();
        wished
    };
    assert_eq!((wish().await, wish().await), (2, 0));
    let queued = scan(&office.store, 100).await;
    let queued: Vec<_> = queued.iter().map(|queued| queued.place.claim).collect();
    assert_eq!(queued.len(), 1);
    assert_eq!((queued[0].mailbox, queued[0].workload), (all[2], Workload::Incoming));
    // The claim answers the wish; what is told from then on is another one.
    let session = start(&office.store).await;
    let tenant = office.store.tenant(office.organization).await.unwrap();
    schedule::claim(&tenant, queued[0], session).await.unwrap().unwrap();
    tenant.commit().await.unwrap();
    assert_eq!(wish().await, 1);
}

#[tokio::test]
async fn each_mailbox_of_a_server_that_is_found_says_where_it_was_found() {
    let office = office(10).await;
    let mailboxes_ = office.mailboxes(2).await;
    let session = start(&office.store).await;
    let watch = office.claim(session, &[]).await.unwrap();
    let services = async || {
        let tenant = office.store.tenant(office.organization).await.unwrap();
        let members = watch::members(&tenant, watch.id).await.unwrap();
        members.into_iter().map(|member| member.service).collect::<BTreeSet<_>>()
    };
    assert_eq!(services().await, BTreeSet::from([Some(String::new())]));
    office.execute("update profiles set exchange_path = null").await;
    office
        .execute(&format!(
            "insert into found_services (organization_id, mailbox_id, host, port, path, endpoint, told_by, found_by)
             select organization_id, id, 'mail.test', 443, '/EWS', 'ews://mail.test:443', 'x', 'x' from mailboxes
             where id = '{}'",
            mailboxes_[0]
        ))
        .await;
    assert_eq!(services().await, BTreeSet::from([None, Some("mail.test:443/EWS".to_owned())]));
}
