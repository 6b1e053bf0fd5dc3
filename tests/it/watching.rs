//! Exchange servers are listened to: what comes in is recorded without a poll, and whatever goes wrong with listening costs
//! nobody a message.

use ::exchange::{Exchange, Options};
use lockstep_tests::{Installation, MailProfile, Mailbox, Process, until};
use serde_json::{Value, json};

use crate::house::{House, PASSWORD, message};

/// An installation whose mailboxes are polled once a day: what comes in sooner was told of.
struct Watched {
    house: House,
    server: Exchange,
    /// Everybody has a password of their own.
    own: bool,
    process: Option<Process>,
}

fn installation(installation: Installation) -> Installation {
    installation.with("worker.watch.look_millis", 100).with("worker.watch.join_seconds", 1)
}

impl Watched {
    /// One service account on the profile that asks in everybody's name, over so many connections.
    async fn impersonating(options: Options, connections: u32) -> Self {
        let server = Exchange::start(options).await;
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
    async fn own(options: Options) -> Self {
        let server = Exchange::start(options).await;
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
        let installation = installation(Installation::new().await);
        let process = installation.start_all().await;
        let house = House::furnish(installation, &MailProfile::of_json(profile)).await;
        let own = house.api.get(&format!("/profiles/{}", house.profile)).await["credentials_on"] == "mailbox";
        Self { house, server, own, process: Some(process) }
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
        let listened = "select count(*) from watches where watch_id is not null and heard";
        until(&format!("{mailboxes} mailboxes are listened to"), async || {
            match self.house.installation.count(listened).await {
                all if all == mailboxes => Ok(()),
                some => Err(format!("{some} are")),
            }
        })
        .await;
        self.quiet().await;
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
    let watched = Watched::impersonating(Options::default(), 10).await;
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
