//! What a failure costs: nothing but what the design says.

use std::time::Duration;

use model::alert::AlertKind;
use model::cadence::{DueReason, Outcome};
use model::endpoint::{Protocol, Tls};
use model::failure::FailureScope;
use model::id::MailboxId;
use model::workload::Workload;
use store::testing;

use crate::house::{House, config, endpoint};

async fn failed(house: &House, id: MailboxId) -> (FailureScope, AlertKind) {
    let (ending, _) = house.cycle(id, Workload::Incoming).await;
    match ending.outcome {
        Outcome::Failed(failure) => (failure.scope, failure.alert),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refused_password_disables_the_workload_at_the_second_time_five_minutes_later() {
    let house = House::build().await;
    let (_, id, address) = house.person("anna").await;
    house.servers.set_password(&address, "changed");
    assert_eq!(failed(&house, id).await, (FailureScope::Credential, AlertKind::CredentialsRefused));
    let enabled = "mailbox_workloads where workload = 'incoming' and enabled";
    assert_eq!((house.count(enabled).await, house.count("alerts").await), (1, 0));
    // Not before its time, whatever is wished.
    assert!(house.claimed(id, Workload::Incoming).await.is_none());
    testing::pass(&house.database, Duration::from_secs(361)).await.unwrap();
    let owner = house.database.owner().await.unwrap();
    owner.execute("update sessions set seen_at = now()", &[]).await.unwrap();
    failed(&house, id).await;
    assert_eq!(house.count(enabled).await, 0);
    assert_eq!(
        house
            .count(
                "alerts where kind = 'credentials_refused' and class = 'permanent' and mailbox_id is not null"
            )
            .await,
        1
    );
    assert_eq!(
        house.count("schedules where workload = 'incoming' and due_at is null and wished_at is null").await,
        1
    );
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_the_servers_failure_and_disables_nobody() {
    let house = House::with(config(), |profile| profile.ca_certificate = None).await;
    let (_, id, _) = house.person("anna").await;
    assert_eq!(failed(&house, id).await, (FailureScope::Server, AlertKind::CertificateNotTrusted));
    assert_eq!(
        house.count("alerts where kind = 'certificate_not_trusted' and profile_id is not null").await,
        1
    );
    assert_eq!(house.count("mailbox_workloads where enabled").await, 2);
    assert_eq!(house.count("endpoints where failures = 1 and open_until > now()").await, 1);
}

#[tokio::test]
async fn a_port_that_speaks_otherwise_and_one_that_nobody_listens_at_are_told_apart() {
    for (port, tls, kind) in [
        (house_port(|servers| servers.pop3_port).await, Tls::Implicit, AlertKind::TlsMismatch),
        (house_port(|servers| servers.pop3s_port).await, Tls::StartTls, AlertKind::TlsMismatch),
        (1, Tls::Implicit, AlertKind::ConnectionRefused),
    ] {
        let house =
            House::with(config(), |profile| profile.incoming = endpoint(Protocol::Pop3, port, tls)).await;
        let (_, id, _) = house.person("anna").await;
        assert_eq!(failed(&house, id).await, (FailureScope::Server, kind), "port {port}");
    }
}

async fn house_port(port: impl FnOnce(&servers::MailServers) -> u16) -> u16 {
    port(crate::house::mail_servers().await)
}

async fn reason(house: &House, id: MailboxId) -> DueReason {
    house.cycle(id, Workload::Incoming).await.1.reason
}

#[tokio::test]
async fn a_server_that_refuses_everybody_for_long_disables_nobody() {
    let house = House::build().await;
    let mut people = Vec::new();
    for name in ["anna", "bert", "carl", "dora", "emil", "fritz"] {
        let (_, id, address) = house.person(name).await;
        house.servers.set_password(&address, "changed");
        people.push((id, address));
    }
    for (id, _) in &people[..4] {
        assert_eq!(reason(&house, *id).await, DueReason::CredentialRefused);
    }
    assert_eq!(reason(&house, people[4].0).await, DueReason::ServerDown);
    let owner = house.database.owner().await.unwrap();
    for minutes in [6, 16] {
        for (id, _) in &people {
            testing::pass(&house.database, Duration::from_secs(minutes * 60)).await.unwrap();
            owner.execute("update sessions set seen_at = now()", &[]).await.unwrap();
            assert_eq!(reason(&house, *id).await, DueReason::ServerDown);
        }
    }
    assert_eq!(house.count("mailbox_workloads where workload = 'incoming' and enabled").await, 6);
}

#[tokio::test]
async fn our_own_absence_is_told_of_once_it_lasts_for_minutes_and_not_a_word_more() {
    let house = House::build().await;
    let (_, anna, _) = house.person("anna").await;
    let (_, bert, _) = house.person("bert").await;
    let told = "alerts where kind = 'lockstep_part_away' and profile_id is not null";
    let held = async |id: MailboxId| {
        let tenant = house.tenant().await;
        store::schedule::wish(&tenant, id, Workload::Incoming).await.unwrap();
        tenant.commit().await.unwrap();
        let cycle = house.claimed(id, Workload::Incoming).await.expect("due");
        let away = throttle::Denied::Away { retry_after: Duration::from_secs(30) };
        cycle.finish(&cycle::Ending::denied(&away)).await.unwrap();
    };
    let later = async |seconds| {
        testing::pass(&house.database, Duration::from_secs(seconds)).await.unwrap();
        let owner = house.database.owner().await.unwrap();
        owner.execute("update sessions set seen_at = now()", &[]).await.unwrap();
    };
    for _ in 0..5 {
        held(anna).await;
        assert_eq!(house.count(told).await, 0, "nobody needs to know of a moment");
        later(60).await;
    }
    held(anna).await;
    later(60).await;
    for id in [anna, bert, anna] {
        held(id).await;
        later(400).await;
    }
    assert_eq!(house.count(&format!("{told} and count = 1 and resolved_at is null")).await, 1);
    assert_eq!(house.count("alerts").await, 1);
    assert_eq!(house.count("mailbox_workloads where enabled").await, 4);
    house.cycle(anna, Workload::Incoming).await;
    assert_eq!(house.count(&format!("{told} and resolved_at is not null")).await, 1);
    assert_eq!(house.count("schedules where failures > 0 or refusals > 0").await, 0);
}
