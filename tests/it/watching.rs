//! Exchange servers are listened to: what comes in is recorded without a poll, and whatever goes wrong with listening costs
//! nobody a message.

use ::exchange::{Exchange, Fault, Options, Rule};
use futures_util::future::join_all;
use lockstep_tests::{Installation, MailProfile, Mailbox, Process, until};
use serde_json::{Value, json};

use crate::house::{House, PASSWORD, message};

/// An installation whose mailboxes are polled once a day: what comes in sooner was told of.
struct Watched {
    house: House,
    server: Exchange,
    /// Everybody has a password of their own.
    own: bool,
    worker: Process,
    _others: Process,
}

/// A worker looks for what nobody listens to ten times a second, and listens to so many mailboxes over one connection.
async fn installation(mailboxes: i64) -> Installation {
    Installation::new()
        .await
        .with("worker.watch.look_millis", 100)
        .with("worker.watch.join_seconds", 1)
        .with("worker.watch.mailboxes", mailboxes)
}

impl Watched {
    /// One service account on the profile that asks in everybody's name, over so many connections.
    async fn impersonating(connections: u32) -> Self {
        let server = Exchange::start(Options::default()).await;
        server.add_account("lockstep", PASSWORD);
        server.allow_impersonation("lockstep");
        let profile = json!({
            "name": "exchange",
            "credentials_on": "profile",
            "max_connections": connections,
            "exchange": {"url": server.url()},
            "ca_certificate": server.ca_pem(),
        });
        let watched = Self::of(server, profile).await;
        let credential = json!({"username": "lockstep", "password": PASSWORD});
        let path = format!("/profiles/{}/credential", watched.house.profile);
        watched.house.api.put(&path, &credential).await;
        watched
    }

    /// Everybody has a password of their own.
    async fn own() -> Self {
        let server = Exchange::start(Options::default()).await;
        let profile = json!({
            "name": "exchange",
            "credentials_on": "mailbox",
            "exchange": {"url": server.url()},
            "ca_certificate": server.ca_pem(),
        });
        Self::of(server, profile).await
    }

    async fn of(server: Exchange, mut profile: Value) -> Self {
        profile["min_polling_minutes"] = json!(1440);
        let installation = installation(20).await;
        let mut others = installation.start("scheduler,coordinator,jobs,api");
        installation.ready(&mut others).await;
        let worker = installation.start("worker");
        let house = House::furnish(installation, &MailProfile::of_json(profile)).await;
        let own = house.api.get(&format!("/profiles/{}", house.profile)).await["credentials_on"] == "mailbox";
        Self { house, server, own, worker, _others: others }
    }

    /// A person whose mailbox is enabled.
    async fn person(&self, name: &str) -> Mailbox {
        let address = self.house.address(name);
        self.server.add_mailbox(&address, name, PASSWORD);
        let api = &self.house.api;
        let owner = api.user(&address).await;
        let mailbox = if self.own {
            api.mailbox(&self.house.profile, owner, &address, PASSWORD).await
        } else {
            let new = json!({
                "name": name,
                "address": address,
                "owner": owner.json(),
                "profile": self.house.profile,
                "acceptance": "all",
                "incoming": "server_side",
                "process_email_received_after": "2000-01-01T00:00:00Z",
            });
            let id = api.post("/mailboxes", &new).await.id();
            api.post(&format!("/mailboxes/{id}/approve"), &json!({})).await;
            Mailbox { id, address, owner }
        };
        self.house.api.enable(&mailbox).await;
        // Its first cycle, which is a while away otherwise.
        self.house.api.sync(&mailbox, "incoming").await;
        mailbox
    }

    /// Waits until so many mailboxes are listened to, and until nothing is due any more: what comes from now on was told of.
    async fn listened_to(&self, mailboxes: i64) {
        until(&format!("{mailboxes} mailboxes are listened to"), async || match self.listened().await {
            all if all == mailboxes => Ok(()),
            some => Err(format!("{some} are")),
        })
        .await;
        self.quiet().await;
    }

    /// How many mailboxes are listened to by somebody who lives.
    async fn listened(&self) -> i64 {
        let statement = "select count(*) from watches w join sessions s on s.id = w.session_id
             where w.heard and s.ended_at is null and s.seen_at + s.dead_after > now()";
        self.house.installation.count(statement).await
    }

    /// Waits until nothing runs, is due or is wished for.
    async fn quiet(&self) {
        let busy = "select count(*) from schedules
                    where workload = 'incoming' and (flying or ready_at < now() + interval '10 minutes')";
        until("nothing is due", async || match self.house.installation.count(busy).await {
            0 => Ok(()),
            some => Err(format!("{some} are")),
        })
        .await;
    }

    fn deliver(&self, mailbox: &Mailbox, subject: &str) {
        let message = message(&self.house.address("sender"), &mailbox.address, subject, 0);
        self.server.deliver(&mailbox.address, message.as_bytes());
    }

    /// How many cycles of incoming mail were begun so far.
    async fn cycles(&self) -> i64 {
        let statement = "select coalesce(sum(claim), 0)::bigint from schedules where workload = 'incoming'";
        self.house.installation.count(statement).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_tells_of_is_recorded_without_a_poll_and_a_burst_is_few_wishes() {
    let watched = Watched::impersonating(10).await;
    let (anna, bert) = (watched.person("anna").await, watched.person("bert").await);
    watched.listened_to(2).await;
    let before = watched.cycles().await;
    watched.deliver(&anna, "one");
    watched.house.received(&anna, 1).await;
    watched.quiet().await;
    assert!(watched.cycles().await - before <= 2);

    let before = watched.cycles().await;
    for number in 0..50 {
        watched.deliver(&bert, &format!("Number {number}"));
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    watched.house.received(&bert, 50).await;
    watched.quiet().await;
    let cycles = watched.cycles().await - before;
    assert!((1..=4).contains(&cycles), "{cycles} cycles for fifty messages");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_watch_makes_its_mailboxes_due_and_one_that_is_refused_holds_up_no_other() {
    let watched = Watched::impersonating(10).await;
    let (anna, bert) = (watched.person("anna").await, watched.person("bert").await);
    watched.listened_to(2).await;
    // Nobody tells of what comes while nobody listens.
    watched.server.fault(
        Rule::new(Fault::RefusedMessage("ErrorExceededSubscriptionCount".into()))
            .on("Subscribe")
            .of(&bert.address),
    );
    watched.server.forget_subscriptions();
    watched.deliver(&anna, "unheard");
    watched.deliver(&bert, "unheard");
    watched.house.received(&anna, 1).await;
    watched.house.received(&bert, 1).await;
    watched.listened_to(1).await;
    watched.deliver(&anna, "heard");
    watched.house.received(&anna, 2).await;

    watched.server.heal();
    watched.listened_to(2).await;
    watched.deliver(&bert, "heard");
    watched.house.received(&bert, 2).await;
    // Refused or broken, it is nobody's failure.
    let failed = "select count(*) from schedules where failures > 0 or last_outcome like 'failed%'";
    assert_eq!(watched.house.installation.count(failed).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_listened_to_is_listened_to_by_the_next_one_and_nothing_is_missed_between() {
    let mut watched = Watched::impersonating(10).await;
    let anna = watched.person("anna").await;
    watched.listened_to(1).await;
    // One that stops in order lets go of everything.
    assert!(watched.worker.terminate().await.success());
    let held = "select count(*) from watches where watch_id is not null";
    assert_eq!(watched.house.installation.count(held).await, 0);
    watched.deliver(&anna, "while nobody is there");
    watched.worker = watched.house.installation.start("worker");
    watched.house.received(&anna, 1).await;
    watched.listened_to(1).await;

    watched.worker.kill().await;
    watched.deliver(&anna, "while nobody knows that it is dead");
    watched.worker = watched.house.installation.start("worker");
    watched.house.received(&anna, 2).await;
    watched.listened_to(1).await;
    watched.deliver(&anna, "again");
    watched.house.received(&anna, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_mailboxes_share_two_connections_beside_cycles_and_the_servers_limit_holds() {
    let watched = Watched::impersonating(7).await;
    let names: Vec<String> = (0..23).map(|number| format!("person{number}")).collect();
    let people = join_all(names.iter().map(|name| watched.person(name))).await;
    watched.listened_to(23).await;
    let listening = "select count(distinct watch_id) from watches";
    assert_eq!(watched.house.installation.count(listening).await, 2);
    for mailbox in &people {
        watched.deliver(mailbox, "for everybody");
        watched.house.api.sync(mailbox, "incoming").await;
    }
    let received = "select count(*) from receipts";
    until("everybody has a message", async || match watched.house.installation.count(received).await {
        23 => Ok(()),
        some => Err(format!("{some} have")),
    })
    .await;
    watched.quiet().await;
    let connections = watched.server.connections();
    assert!(connections.most <= 7, "{connections:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_a_password_of_their_own_is_listened_to_alone() {
    let watched = Watched::own().await;
    let (anna, bert) = (watched.person("anna").await, watched.person("bert").await);
    watched.listened_to(2).await;
    let listening = "select count(distinct watch_id) from watches";
    assert_eq!(watched.house.installation.count(listening).await, 2);
    for mailbox in [&anna, &bert] {
        watched.deliver(mailbox, "heard");
        watched.house.received(mailbox, 1).await;
        assert!(watched.server.connections_of(&mailbox.address).most <= 3);
    }

    // Switched off, nobody listens.
    watched.house.api.put("/settings/push", &json!({"value": false})).await;
    watched.listened_to(0).await;
}
