//! Synchronization and the job service hold each other up nowhere, in one process or in two; and no load of incoming mail
//! holds up a send.

use lockstep_tests::{Installation, MailProfile, Mailbox, Process, until};
use serde_json::json;
use servers::CountingProxy;

use crate::house::{House, PASSWORD};

const SLOTS: usize = 2;
/// People at the slow server: many times as many as there are slots for them.
const FLOOD: usize = 16;

/// Who shares a process with whom.
const SHAPES: [&[&str]; 2] =
    [&["scheduler,coordinator,worker,jobs,api"], &["scheduler,coordinator,api", "worker", "jobs"]];

/// An installation with few slots of each kind, one good mail server, and one whose network can fall silent.
struct Street {
    house: House,
    slow: CountingProxy,
    /// The people at the slow server.
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
            .with("worker.slots_for_sends_percent", 0)
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
        for number in 0..FLOOD {
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
        let asked = house
            .installation
            .count("select count(*) from jobs where kind = 'test_and_enable' and ended_at is null");
        assert_eq!(asked.await, i64::try_from(FLOOD).unwrap(), "all the others wait");
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
        let waiting = "select count(*) from schedules where workload = 'incoming' and state <> 'running' and ready_at <= now()";
        let waiting = house.installation.count(waiting).await;
        assert_eq!(waiting, i64::try_from(FLOOD - SLOTS).unwrap(), "all the others wait");
        // They wait for a slot, and this job for none.
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
        Installation::new().await.with("worker.slots", 3).with("scheduler.profile_share_percent", 100);
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

#[tokio::test]
async fn a_send_leaves_while_every_slot_for_incoming_mail_hangs_at_servers_that_never_answer() {
    const SLOW: usize = 4;
    let installation = Installation::new()
        .await
        .with("worker.slots", 8)
        .with("cycle.phase_seconds", 120)
        .with("scheduler.profile_share_percent", 50);
    let _process = installation.start_all().await;
    let mail = &installation.servers.mail;
    let profile = MailProfile::of(mail);
    let mut slow = Vec::new();
    for _ in 0..SLOW {
        slow.push(CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await);
    }
    let house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    let mut people = Vec::new();
    for (number, proxy) in slow.iter().enumerate() {
        let profile = profile
            .clone()
            .with("name", format!("slow {number}"))
            .with("connect_timeout_ms", 100_000)
            .incoming("localhost", proxy.port(), "start_tls");
        let profile = house.api.profile(&profile).await;
        for person in 0..3 {
            let address = house.address(&format!("person{number}{person}"));
            house.installation.servers.mail.add_mailbox(&address, PASSWORD);
            let owner = house.api.user(&address).await;
            let mailbox = house.api.mailbox(&profile, owner, &address, PASSWORD).await;
            house.api.enable(&mailbox).await;
            people.push(mailbox);
        }
    }
    for person in people.iter().chain([&anna]) {
        house.scheduled(person, "incoming", "state", "idle").await;
    }
    for proxy in &slow {
        proxy.blackhole(true);
    }
    let ended = "select count(*) from schedules where workload = 'incoming' and last_finished_at > (select max(since) from held)";
    house.installation.execute("create table held as select now() as since").await;
    let due = format!(
        "update schedules set due_at = now() where workload = 'incoming' and mailbox_id <> '{}'",
        anna.id
    );
    house.installation.execute(&due).await;
    // Whatever there is for incoming mail is taken, and more waits.
    let running = "select count(*) from schedules where workload = 'incoming' and state = 'running'";
    until("the servers hold all they may", async || {
        let connected: usize = slow.iter().map(CountingProxy::current).sum();
        let running = house.installation.count(running).await;
        if connected >= 7 && running >= 7 {
            Ok(())
        } else {
            Err(format!("{running} run, {connected} connected"))
        }
    })
    .await;
    for number in 0..3 {
        let email = house.draft(&anna, &anna.address, &format!("out {number}")).await;
        house.api.send(&email, &["sent"]).await;
        assert_eq!(house.installation.count(ended).await, 0, "no cycle had to end for it");
    }
    assert!(house.installation.count(running).await >= 7, "they hang as before");
}

#[tokio::test]
async fn thousands_of_mailboxes_of_a_server_that_never_answers_keep_no_fast_one_from_its_turns() {
    const MANY: i64 = 5000;
    const FAST: i64 = 8;
    // A quarter of the slots that are not for sends alone.
    const SHARE: i64 = 4;
    let installation = Installation::new().await.with("worker.slots", 20).with("cycle.phase_seconds", 120);
    let _process = installation.start_all().await;
    let mail = &installation.servers.mail;
    let profile = MailProfile::of(mail);
    let slow = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
    slow.blackhole(true);
    let far = profile
        .clone()
        .with("name", "far away")
        .with("credentials_on", "profile")
        .with("max_connections", 1000)
        .with("connect_timeout_ms", 100_000)
        .incoming("localhost", slow.port(), "start_tls");
    let house = House::furnish(installation, &profile).await;
    let far = house.api.profile(&far).await;
    let password = json!({"username": "everybody", "password": PASSWORD});
    house.api.put(&format!("/profiles/{far}/credential"), &password).await;
    let mut fast = Vec::new();
    for number in 0..FAST {
        fast.push(house.enabled(&format!("fast{number}")).await);
    }
    for person in &fast {
        house.scheduled(person, "incoming", "state", "idle").await;
    }
    // Due for longer than all of the fast ones.
    for statement in [
        format!(
            "insert into mailboxes (organization_id, id, name, address, profile_id, incoming_endpoint, incoming_login,
                                    approval, acceptance)
             select p.organization_id, gen_random_uuid(), 'many', 'many' || n || '@many.example', p.id,
                    'pop3://localhost:' || p.incoming_port, 'many' || n, 'approved', 'all'
             from profiles p, generate_series(1, {MANY}) n where p.id = '{far}'"
        ),
        "insert into mailbox_workloads (organization_id, mailbox_id, workload, method, enabled, test_result)
         select m.organization_id, m.id, w, 'server_side', w = 'incoming', 'success'
         from mailboxes m, unnest(array['incoming', 'outgoing', 'act']) w where m.name = 'many'"
            .to_owned(),
        "insert into schedules (organization_id, mailbox_id, workload, profile_id, due_at, due_reason)
         select m.organization_id, m.id, 'incoming', m.profile_id, now() - interval '1 hour', 'cadence'
         from mailboxes m where m.name = 'many'"
            .to_owned(),
    ] {
        house.installation.execute(&statement).await;
    }
    let held = format!("select count(*) from schedules where profile_id = '{far}' and state = 'running'");
    until("the slow server holds its share", async || {
        let held = house.installation.count(&held).await;
        if held == SHARE && slow.current() == usize::try_from(SHARE).unwrap() {
            return Ok(());
        }
        Err(format!("{held} run, {} are connected", slow.current()))
    })
    .await;
    let due = format!(
        "update schedules set due_at = now() where workload = 'incoming' and profile_id = '{}' and state = 'idle'",
        house.profile
    );
    let untouched = format!(
        "select count(*) from schedules where profile_id = '{far}' and not flying and claim = 0 and ready_at <= now()"
    );
    for turn in 1..=5 {
        for person in &fast {
            house.deliver(person, &format!("turn {turn}"), 0);
        }
        house.installation.execute(&due).await;
        until("each fast one has had its turn", async || {
            let received = house.installation.count("select count(*) from receipts").await;
            if received == turn * FAST { Ok(()) } else { Err(format!("{received} of turn {turn}")) }
        })
        .await;
        for person in &fast {
            house.scheduled(person, "incoming", "state", "idle").await;
        }
        assert_eq!(house.installation.count(&held).await, SHARE, "the slow server has its share of slots");
        assert_eq!(
            house.installation.count(&untouched).await,
            MANY - SHARE,
            "no cycle of its ended, and none was added"
        );
    }
    assert_eq!(slow.total(), usize::try_from(SHARE).unwrap());
}
