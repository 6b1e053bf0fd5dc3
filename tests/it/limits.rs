//! A server's limit holds, whatever is due at once and however many workers there are.

use futures_util::{StreamExt as _, stream};
use lockstep_tests::{Installation, MailProfile, until};
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
    let started =
        house.api.post(&format!("/profiles/{}/test", house.profile), &serde_json::json!({})).await.body;
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
