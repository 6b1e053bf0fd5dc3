//! A broker that takes no messages: what is due stays where it is, for all the time that the alarm lasts.

use std::time::Duration;

use lockstep_tests::{Installation, MailProfile, until};
use servers::RabbitMq;

use crate::house::House;

/// How many scans of the scheduler are watched.
const SCANS: u32 = 30;

#[tokio::test]
async fn nothing_is_claimed_while_rabbitmq_has_its_disk_alarm() {
    // One of its own: an alarm is the whole node's.
    let rabbitmq = RabbitMq::start().await;
    let installation = Installation::new()
        .await
        .with("broker.url", rabbitmq.amqp_uri("/"))
        .with("scheduler.scan_millis", 100);
    let process = installation.start_all().await;
    let profile = MailProfile::of(&installation.servers.mail);
    let house = House::furnish(installation, &profile).await;
    let (anna, bert) = (house.enabled("anna").await, house.address("bert"));
    house.installation.servers.mail.add_mailbox(&bert, "outside");
    house.scheduled(&anna, "incoming", "state", "idle").await;
    house.deliver(&anna, "during the alarm", 0);
    let letter = house.draft(&anna, &bert, "during the alarm").await;
    let ring = "(select string_agg(workload || ' ' || state || ' ' || claim, ', ' order by workload)
                 || ', jobs ' || (select count(*) from jobs where state <> 'waiting' and ended_at is null) from schedules)";
    let seen = async || {
        let row = house.installation.sql().await.query_one(&format!("select {ring}"), &[]).await.unwrap();
        row.get::<_, String>(0)
    };
    let before = seen().await;

    rabbitmq.set_disk_alarm(true).await;
    until("the scheduler knows", async || {
        if process.log().contains("RabbitMQ takes no messages") { Ok(()) } else { Err("it has not said so") }
    })
    .await;
    // Due, wished for, and asked for; and whoever waits is told.
    house.installation.execute("update schedules set due_at = now() where workload = 'incoming'").await;
    house.api.sync(&anna, "incoming").await;
    house.api.ask_to_send(&letter).await;
    house.api.post(&format!("/mailboxes/{}/test", anna.id), &serde_json::json!({})).await;
    for _ in 0..SCANS {
        house.installation.execute("select pg_notify('lockstep_due', '')").await;
        assert_eq!(seen().await, before, "something was claimed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    rabbitmq.set_disk_alarm(false).await;
    house.received(&anna, 1).await;
    house.api.email_in(&letter, &["sent"]).await;
}
