//! A server's limit holds, whatever is due at once and however many workers there are.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use lockstep_tests::{Installation, MailProfile, until};
use reqwest::Method;
use serde_json::json;
use servers::CountingProxy;

use crate::house::{House, message};

const MAILBOXES: i64 = 200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_mailboxes_and_four_workers_never_open_a_fourth_connection() {
    let installation = Installation::new().await.with("throttle.wait_seconds", 5);
    let mut process = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut process).await;
    let mail = &installation.servers.mail;
    let pop3 = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
    let smtp = CountingProxy::start(format!("127.0.0.1:{}", mail.submission_port)).await;
    let profile = MailProfile::of(mail)
        .incoming("localhost", pop3.port(), "start_tls")
        .outgoing("localhost", smtp.port(), "start_tls")
        .with("max_in_flight", 3);
    let house = House::furnish(installation, &profile).await;
    let names: Vec<String> = (0..MAILBOXES).map(|number| format!("person{number}")).collect();
    let mailboxes: Vec<_> =
        stream::iter(&names).map(|name| house.person(name)).buffer_unordered(8).collect().await;

    // The tests of all of them count too.
    let started = house.api.post(&format!("/profiles/{}/test", house.profile), &json!({})).await.body;
    assert_eq!(started["kind"], "test_profile", "{started:#}");
    until("every mailbox is enabled", async || {
        let enabled = house.installation.count("select count(*) from mailbox_workloads where enabled").await;
        if enabled == 2 * MAILBOXES { Ok(()) } else { Err(format!("{enabled} workloads are")) }
    })
    .await;
    assert!(pop3.maximum() <= 3 && smtp.maximum() <= 3, "{} and {}", pop3.maximum(), smtp.maximum());

    for mailbox in &mailboxes {
        let raw = message(&house.address("sender"), &mailbox.address, "One for each", 0);
        house.installation.servers.mail.deliver(&mailbox.address, raw.as_bytes());
    }
    pop3.reset();
    let _workers: Vec<_> = (0..4).map(|_| house.installation.start("worker")).collect();
    house
        .installation
        .execute("update schedules set due_at = now() where workload = 'incoming' and due_at is not null")
        .await;
    until("every mailbox has its message", async || {
        let received = house.installation.count("select count(distinct mailbox_id) from receipts").await;
        if received == MAILBOXES { Ok(()) } else { Err(format!("{received} have")) }
    })
    .await;
    assert_eq!(pop3.maximum(), 3, "the limit is used and never passed");
    assert!(pop3.total() >= 200, "{} connections", pop3.total());
    assert_eq!(house.installation.count("select count(*) from emails").await, MAILBOXES);
    assert_eq!(house.installation.count("select count(*) from alerts where resolved_at is null").await, 0);
    let sessions = "select count(distinct actor_id) from changes where actor_kind = 'cycle'";
    assert_eq!(house.installation.count(sessions).await, MAILBOXES);
}

/// Changes the limit, which makes a newer version of the profile.
async fn limit(house: &House, to: usize) {
    let path = format!("/profiles/{}", house.profile);
    let read = house.api.get(&path).await;
    let changed = house.api.ask(Method::PATCH, &path, Some(&json!({"max_in_flight": to}))).await;
    assert_eq!(changed.body["max_in_flight"], to, "{:#}", changed.body);
    assert!(changed.body["version"].as_i64() > read["version"].as_i64(), "{:#}", changed.body);
}

#[tokio::test]
async fn a_limit_that_is_changed_under_load_holds_from_the_next_lease_on_without_a_restart() {
    const PEOPLE: usize = 20;
    let installation = Installation::new().await.with("scheduler.profile_share_percent", 100);
    let mut process = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut process).await;
    let mail = &installation.servers.mail;
    let pop3 = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
    let profile =
        MailProfile::of(mail).incoming("localhost", pop3.port(), "start_tls").with("max_in_flight", 3);
    let house = House::furnish(installation, &profile).await;
    let names: Vec<String> = (0..PEOPLE).map(|number| format!("person{number}")).collect();
    let people: Vec<_> =
        stream::iter(&names).map(|name| house.person(name)).buffer_unordered(8).collect().await;
    stream::iter(&people)
        .map(|person| house.api.enable(person))
        .buffer_unordered(4)
        .collect::<Vec<_>>()
        .await;
    let _workers: Vec<_> = (0..2).map(|_| house.installation.start("worker")).collect();
    pop3.delay(Duration::from_millis(30));

    // Everybody is due again as soon as a cycle is over.
    let due = "update schedules set due_at = now(), not_before = null where workload = 'incoming' and state = 'idle'";
    let full = async |limit: usize, connections: usize| {
        until(&format!("{limit} are connected at once, {connections} times in all"), async || {
            house.installation.execute(due).await;
            let (most, total) = (pop3.maximum(), pop3.total());
            if most == limit && total >= connections { Ok(()) } else { Err(format!("{most} of {total}")) }
        })
        .await;
    };
    pop3.reset();
    full(3, 2 * PEOPLE).await;
    for new in [1, 6, 2] {
        limit(&house, new).await;
        let since = house.installation.sql().await.query_one("select now()::text", &[]).await.unwrap();
        let since: String = since.get(0);
        let older = format!(
            "select count(*) from schedules where workload = 'incoming' and state = 'running' and since < '{since}'"
        );
        until("what ran under the old limit is over", async || {
            house.installation.execute(due).await;
            let older = house.installation.count(&older).await;
            if older == 0 { Ok(()) } else { Err(format!("{older} run")) }
        })
        .await;
        until("its connections are closed", async || {
            house.installation.execute(due).await;
            pop3.reset();
            if pop3.maximum() <= new { Ok(()) } else { Err(format!("{} are open", pop3.current())) }
        })
        .await;
        full(new, 2 * PEOPLE).await;
        assert_eq!(pop3.maximum(), new, "used and never passed");
    }
    assert_eq!(house.installation.count("select count(*) from alerts where resolved_at is null").await, 0);
}
