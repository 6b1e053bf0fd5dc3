//! The organization of the demo, set up over the API as an administrator would: a profile, people, a queue, mailboxes,
//! passwords, approval, and the test that switches them on.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::corpus::{Corpus, ORGANIZATION, PEOPLE};
use super::screen::Screen;
use super::stage::Stage;
use crate::{Api, MailProfile, within};

const TEST_LIMIT: Duration = Duration::from_secs(60);

/// What was set up.
pub(super) struct Office {
    /// The administrator's access.
    pub(super) admin: Api,
    /// The administrator's key.
    pub(super) key: String,
    /// The mailboxes by the places of their owners.
    pub(super) mailboxes: Vec<Mailbox>,
}

/// A mailbox and its owner.
pub(super) struct Mailbox {
    pub(super) id: String,
    pub(super) owner: String,
    pub(super) address: String,
    pub(super) name: &'static str,
}

impl Office {
    /// Makes everything up to approved mailboxes.
    pub(super) async fn open(
        stage: &mut Stage<'_>,
        corpus: &Corpus,
        screen: &Screen,
    ) -> Result<Self, String> {
        let step = screen.step("Office", "creating the organization");
        let admin = format!("admin@{}", Corpus::domain());
        let created =
            stage.command(&["organization", "create", ORGANIZATION, "--admin", &admin, "--json"]).await?;
        let created: Value = serde_json::from_str(&created).map_err(|error| error.to_string())?;
        let text = |name: &str| created[name].as_str().unwrap_or_default().to_owned();
        let key = text("secret");
        let api = Api::new(&stage.url(), &key, &text("organization"));
        // From now on the file leads the command line to the API too.
        stage.configuration.set("client.key", key.as_str());
        stage.configuration.write(&stage.directory.join("lockstep.toml"));

        step.awaits("setting up people, a queue and their mailboxes");
        let mail = &stage.servers.mail;
        let profile = api.profile(&MailProfile::of(mail).with("name", "Nordwind mail")).await;
        let (mut mailboxes, mut users) = (Vec::new(), Vec::new());
        for person in &PEOPLE {
            let address = person.address();
            let body = json!({"name": person.name, "address": address});
            let (kind, owner) = if person.queue {
                let members = json!({"members": users});
                ("queue", api.post("/queues", &merged(body, members)).await.id())
            } else {
                let user = api.post("/users", &body).await.id();
                users.push(user.clone());
                ("user", user)
            };
            let password = model::clock::new_id::<uuid::Uuid>().to_string();
            mail.add_mailbox(&address, &password);
            let id =
                mailbox(&api, &profile, json!({"kind": kind, "id": owner}), &address, corpus.floor()).await;
            let credential = json!({"username": address, "password": password});
            api.put(&format!("/mailboxes/{id}/credential"), &credential).await;
            api.post(&format!("/mailboxes/{id}/approve"), &json!({})).await;
            mailboxes.push(Mailbox { id, owner, address, name: person.name });
        }
        let people = users.len();
        step.done(&format!(
            "{ORGANIZATION}: {people} people, {} queue, {} approved mailboxes on one profile",
            PEOPLE.len() - people,
            mailboxes.len()
        ));
        Ok(Self { admin: api, key, mailboxes })
    }

    /// Tests every mailbox of the profile and switches on what works.
    pub(super) async fn enable(&self, screen: &Screen) -> Result<(), String> {
        let step = screen.step("Test", "signing in to both servers with every mailbox");
        let ids: Vec<_> = self.mailboxes.iter().map(|mailbox| mailbox.id.as_str()).collect();
        let started = self.admin.post("/mailboxes/test", &json!({"mailboxes": ids})).await.body;
        let mut steps = 0;
        for mailbox in &self.mailboxes {
            let jobs = started["jobs"].as_array().into_iter().flatten();
            let job = jobs.into_iter().find(|job| job["mailbox"] == mailbox.id.as_str());
            let job =
                job.ok_or_else(|| format!("no test was started for {}: {started:#}", mailbox.address))?;
            let path = format!("/jobs/{}", job["job"].as_str().unwrap_or_default());
            let ended = within(TEST_LIMIT, async || {
                let job = self.admin.get(&path).await;
                let done = job["steps"].as_array().map_or(0, Vec::len);
                let last =
                    job["steps"].as_array().and_then(|steps| steps.last()).map(|step| step["name"].clone());
                let last = last.as_ref().and_then(Value::as_str).unwrap_or("waiting for its turn");
                step.awaits(&format!("{}: {last}", mailbox.address));
                match job["state"].as_str() {
                    Some("waiting" | "queued" | "running") => {
                        Err(format!("{done} steps, the last one: {last}"))
                    }
                    _ => Ok(job),
                }
            });
            let ended = ended
                .await
                .map_err(|seen| format!("the test of {} does not end: {seen}", mailbox.address))?;
            if ended["state"] != "succeeded" {
                return Err(format!("the test of {} failed: {ended:#}", mailbox.address));
            }
            steps += ended["steps"].as_array().map_or(0, Vec::len);
        }
        step.done(&format!("{steps} steps, all passed: POP3 and SMTP are on for every mailbox"));
        Ok(())
    }

    /// Sync now.
    pub(super) async fn sync(&self, mailbox: &Mailbox) {
        self.admin.post(&format!("/mailboxes/{}/workloads/incoming/sync", mailbox.id), &json!({})).await;
    }
}

async fn mailbox(api: &Api, profile: &str, owner: Value, address: &str, floor: Timestamp) -> String {
    let new = json!({
        "address": address,
        "owner": owner,
        "profile": profile,
        "acceptance": "all",
        "process_email_received_after": floor.to_string(),
    });
    api.post("/mailboxes", &new).await.id()
}

fn merged(mut one: Value, other: Value) -> Value {
    if let (Some(one), Value::Object(other)) = (one.as_object_mut(), other) {
        one.extend(other);
    }
    one
}
