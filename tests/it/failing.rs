//! What fails at mail servers, and how far it reaches.

use std::time::Duration;

use lockstep_tests::{Installation, MailProfile, until};
use servers::CountingProxy;

use crate::house::{House, PASSWORD};

#[tokio::test]
async fn a_wrong_password_switches_the_workload_off_with_a_permanent_alert() {
    let (house, _process) = House::whole().await;
    let (anna, bert) = (house.enabled("anna").await, house.enabled("bert").await);
    house.installation.servers.mail.set_password(&anna.address, "changed at the server");
    house.api.sync(&anna, "incoming").await;
    house.scheduled(&anna, "incoming", "refusals", "1").await;

    // Once is not enough, nor is twice within five minutes.
    house.api.sync(&anna, "incoming").await;
    assert_eq!(house.api.workload(&anna, "incoming").await["enabled"], true);
    assert!(house.api.alerts("credentials_refused").await.is_empty());
    assert_eq!(house.schedule(&anna, "incoming", "due_reason").await, "credential_refused");

    house.installation.pass(Duration::from_secs(400)).await;
    let alert = until("the workload is switched off", async || {
        let alerts = house.api.alerts("credentials_refused").await;
        alerts.first().cloned().ok_or_else(|| "no alert".to_owned())
    })
    .await;
    assert_eq!(alert["class"], "permanent");
    assert_eq!(alert["level"], "error");
    assert_eq!(alert["mailbox"], anna.id.as_str());
    assert!(!alert.to_string().contains(PASSWORD));
    let incoming = house.api.workload(&anna, "incoming").await;
    assert_eq!(incoming["enabled"], false, "{incoming:#}");
    assert_eq!(house.schedule(&anna, "incoming", "due_at").await, "", "due at no time");
    assert_eq!(
        house.api.workload(&anna, "outgoing").await["enabled"],
        true,
        "its other workload is for itself"
    );
    assert_eq!(house.api.workload(&bert, "incoming").await["enabled"], true, "nobody else is concerned");

    // The remedy works.
    house.installation.servers.mail.set_password(&anna.address, PASSWORD);
    house.api.enable(&anna).await;
    assert!(house.api.alerts("credentials_refused").await.is_empty());
    house.deliver(&anna, "again", 0);
    house.api.sync(&anna, "incoming").await;
    house.received(&anna, 1).await;
}

#[tokio::test]
async fn a_server_that_is_down_disables_nothing_and_recovers_by_itself() {
    let installation = Installation::new().await;
    let mut process = installation.start("scheduler,coordinator,worker,jobs,api");
    installation.ready(&mut process).await;
    let mail = &installation.servers.mail;
    let pop3 = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
    let profile = MailProfile::of(mail).incoming("localhost", pop3.port(), "start_tls");
    let house = House::furnish(installation, &profile).await;
    let mut people = Vec::new();
    for name in ["anna", "bert", "carl"] {
        people.push(house.enabled(name).await);
    }
    for person in &people {
        house.api.sync(person, "incoming").await;
        house.scheduled(person, "incoming", "last_outcome", "done").await;
    }

    pop3.refuse(true);
    for person in &people {
        house.deliver(person, "while it was down", 0);
        house.api.sync(person, "incoming").await;
    }
    let alert = until("the server's failure is told", async || {
        let alerts = house.api.alerts("connection_refused").await;
        alerts.first().cloned().ok_or_else(|| "no alert".to_owned())
    })
    .await;
    assert_eq!((&alert["profile"], &alert["class"]), (&house.profile.as_str().into(), &"transient".into()));
    // Half an hour of it: one alert, nothing switched off, a probe now and then.
    for _ in 0..6 {
        house.installation.pass(Duration::from_secs(301)).await;
        until("a probe was made", async || {
            let held = "select count(*) from endpoints where open_until > now()";
            if house.installation.count(held).await == 1 { Ok(()) } else { Err("none was") }
        })
        .await;
    }
    let alerts = house.api.list("/alerts").await;
    let about_servers: Vec<_> = alerts.iter().filter(|alert| alert["scope"] == "profile").collect();
    assert_eq!(about_servers.len(), 1, "a repeated alert counts up: {alerts:#?}");
    for person in &people {
        assert_eq!(house.api.workload(person, "incoming").await["enabled"], true);
    }

    pop3.refuse(false);
    // By itself: only time passes, and never while a cycle is on its way: its worker would be taken for dead.
    until("all mail is received", async || {
        let count = house.installation.count("select count(*) from receipts").await;
        if count == 3 {
            return Ok(());
        }
        let under_way = "select count(*) from schedules where workload = 'incoming' and (state <> 'idle'
             or (ready_at <= now() and not exists (select from endpoints where open_until > now())))";
        let under_way = house.installation.count(under_way).await;
        if under_way == 0 {
            house.installation.pass(Duration::from_secs(60)).await;
        }
        Err(format!("{count} of 3, {under_way} under way"))
    })
    .await;
    until("the alert is taken back", async || {
        let open = house.api.alerts("connection_refused").await.len();
        if open == 0 { Ok(()) } else { Err("it is open") }
    })
    .await;
}
