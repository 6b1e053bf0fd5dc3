//! Synchronization and the job service hold each other up nowhere, in one process or in two; and no load of incoming mail
//! holds up a send.

use lockstep_tests::{Installation, MailProfile, Mailbox, Process, until};
use serde_json::json;
use servers::CountingProxy;

use crate::house::{House, PASSWORD};

const SLOTS: usize = 2;

/// Who shares a process with whom.
const SHAPES: [&[&str]; 2] =
    [&["scheduler,coordinator,worker,jobs,api"], &["scheduler,coordinator,api", "worker", "jobs"]];

/// An installation with few slots of each kind, one good mail server, and one whose network can fall silent.
struct Street {
    house: House,
    slow: CountingProxy,
    /// As many people at the slow server as there are slots, and one more.
    people: Vec<Mailbox>,
    /// Somebody at the good one.
    anna: Mailbox,
    _processes: Vec<Process>,
}

impl Street {
    async fn build(roles: &[&str]) -> Self {
        let slots = i64::try_from(SLOTS).unwrap();
        let installation = Installation::new()
            .await
            .with("worker.slots", slots)
            .with("jobs.slots", slots)
            .with("scheduler.profile_share_percent", 100);
        let mut processes: Vec<_> = roles.iter().map(|roles| installation.start(roles)).collect();
        installation.ready(&mut processes[0]).await;
        let mail = &installation.servers.mail;
        let slow = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
        let profile = MailProfile::of(mail);
        let far =
            MailProfile::of(mail).with("name", "far away").incoming("localhost", slow.port(), "start_tls");
        let house = House::furnish(installation, &profile).await;
        let far = house.api.profile(&far).await;
        let mut people = Vec::new();
        for number in 0..=SLOTS {
            let address = house.address(&format!("person{number}"));
            house.installation.servers.mail.add_mailbox(&address, PASSWORD);
            let owner = house.api.user(&address).await;
            people.push(house.api.mailbox(&far, owner, &address, PASSWORD).await);
        }
        let anna = house.enabled("anna").await;
        house.scheduled(&anna, "incoming", "state", "idle").await;
        Self { house, slow, people, anna, _processes: processes }
    }

    /// Waits until all slots are held up at the slow server.
    async fn stuck(&self, running: &str) {
        until("all slots are held", async || {
            let running = self.house.installation.count(running).await;
            if running == 2 && self.slow.current() == SLOTS {
                return Ok(());
            }
            Err(format!("{running} run, {} are connected", self.slow.current()))
        })
        .await;
    }
}

const JOBS: &str = "select count(*) from jobs where state = 'running' and kind = 'test_and_enable'";
const CYCLES: &str = "select count(*) from schedules where state = 'running'";

#[tokio::test]
async fn jobs_that_hold_all_their_slots_hold_up_no_synchronization() {
    for roles in SHAPES {
        let street = Street::build(roles).await;
        let Street { house, anna, .. } = &street;
        street.slow.blackhole(true);
        for person in &street.people {
            house.api.post(&format!("/mailboxes/{}/test", person.id), &json!({})).await;
        }
        street.stuck(JOBS).await;
        house.deliver(anna, "in", 0);
        house.api.sync(anna, "incoming").await;
        house.received(anna, 1).await;
        let email = house.draft(anna, &anna.address, "out").await;
        house.api.ask_to_send(&email).await;
        house.api.email_in(&email, &["sent"]).await;
        street.stuck(JOBS).await;
    }
}

#[tokio::test]
async fn synchronization_that_holds_all_its_slots_holds_up_no_job() {
    for roles in SHAPES {
        let street = Street::build(roles).await;
        let Street { house, anna, .. } = &street;
        for person in &street.people {
            house.api.enable(person).await;
            house.scheduled(person, "incoming", "state", "idle").await;
        }
        street.slow.blackhole(true);
        for person in &street.people {
            house.api.sync(person, "incoming").await;
        }
        street.stuck(CYCLES).await;
        // Another cycle waits for a slot, and this job for none.
        let started = house.api.post(&format!("/mailboxes/{}/test", anna.id), &json!({})).await.body;
        let job = started["jobs"][0]["job"].as_str().unwrap();
        let ended = until("the job ends", async || {
            let job = house.api.get(&format!("/jobs/{job}")).await;
            if job["ended_at"].is_null() { Err(job.to_string()) } else { Ok(job) }
        })
        .await;
        assert_eq!(ended["state"], "succeeded", "{ended:#}");
        street.stuck(CYCLES).await;
    }
}

#[tokio::test]
async fn a_send_leaves_while_incoming_mail_is_at_full_load() {
    let installation =
        Installation::new().await.with("worker.slots", 2).with("scheduler.profile_share_percent", 100);
    let _process = installation.start_all().await;
    let mail = &installation.servers.mail;
    let pop3 = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
    let profile = MailProfile::of(mail).incoming("localhost", pop3.port(), "start_tls");
    let house = House::furnish(installation, &profile).await;
    let mut people = Vec::new();
    for number in 0..12 {
        people.push(house.enabled(&format!("person{number}")).await);
    }
    for person in &people {
        house.scheduled(person, "incoming", "state", "idle").await;
    }
    // Every mailbox is due again as soon as its cycle is over, and each takes a while.
    pop3.delay(std::time::Duration::from_millis(100));
    let due = "update schedules set due_at = now() where workload = 'incoming' and state = 'idle'";
    let wait = "select count(*) from schedules where workload = 'incoming' and state <> 'idle'";
    house.installation.execute(due).await;
    until("the workers are busy", async || {
        let count = house.installation.count(wait).await;
        if count >= 2 { Ok(()) } else { Err(format!("{count} cycles")) }
    })
    .await;
    let email = house.draft(&people[0], &people[1].address, "out").await;
    house.api.ask_to_send(&email).await;
    until("it is sent", async || {
        house.installation.execute(due).await;
        let sent = house.api.get(&format!("/emails/{email}")).await;
        if sent["state"] == "sent" { Ok(()) } else { Err(sent["state"].to_string()) }
    })
    .await;
    let ready =
        "select count(*) from schedules where workload = 'incoming' and (state <> 'idle' or due_at <= now())";
    assert!(house.installation.count(ready).await >= 10, "there was more to do all the while");
}
