//! Profiles, people and mailboxes as tests need them: made over the API, on the private mail servers.

use serde_json::{Value, json};
use servers::MailServers;

use crate::{Api, until};

/// A mail server as an administrator describes it.
#[derive(Clone, Debug)]
pub struct MailProfile(Value);

/// A mailbox that was made over the API.
#[derive(Clone, Debug)]
pub struct Mailbox {
    /// Its id.
    pub id: String,
    /// Its address, which is also its login.
    pub address: String,
    /// Who owns it.
    pub owner: Owner,
}

/// Whose a mailbox is.
#[derive(Clone, Debug)]
pub enum Owner {
    /// A person, by id.
    User(String),
    /// A shared inbox, by id.
    Queue(String),
}

impl Owner {
    /// As the API takes it.
    pub fn json(&self) -> Value {
        match self {
            Self::User(id) => json!({"kind": "user", "id": id}),
            Self::Queue(id) => json!({"kind": "queue", "id": id}),
        }
    }
}

impl MailProfile {
    /// The private mail servers, with their authority: STLS and STARTTLS.
    pub fn of(mail: &MailServers) -> Self {
        Self(json!({
            "name": "mail",
            "kind": "pop3_smtp",
            "incoming": {"host": "localhost", "port": mail.pop3_port, "tls": "start_tls"},
            "outgoing": {"host": "localhost", "port": mail.submission_port, "tls": "start_tls"},
            "ca_certificate": mail.ca_pem(),
            "credentials_on": "mailbox",
        }))
    }

    /// Any profile, as the API takes it.
    pub fn of_json(profile: Value) -> Self {
        Self(profile)
    }

    /// Sets a field, such as `name`.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0[field] = value.into();
        self
    }

    /// Mail is read elsewhere.
    #[must_use]
    pub fn incoming(mut self, host: &str, port: u16, tls: &str) -> Self {
        self.0["incoming"] = json!({"host": host, "port": port, "tls": tls});
        self
    }

    /// Mail is submitted elsewhere.
    #[must_use]
    pub fn outgoing(mut self, host: &str, port: u16, tls: &str) -> Self {
        self.0["outgoing"] = json!({"host": host, "port": port, "tls": tls});
        self
    }

    /// What is sent to the API.
    pub fn json(&self) -> &Value {
        &self.0
    }
}

impl Api {
    /// Makes a profile and gives its id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn profile(&self, profile: &MailProfile) -> String {
        self.post("/profiles", profile.json()).await.id()
    }

    /// Makes a user and gives the id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn user(&self, address: &str) -> Owner {
        let name = address.split('@').next().unwrap_or(address);
        Owner::User(self.post("/users", &json!({"name": name, "address": address})).await.id())
    }

    /// Makes a queue and gives the id.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn queue(&self, address: &str) -> Owner {
        let name = address.split('@').next().unwrap_or(address);
        Owner::Queue(self.post("/queues", &json!({"name": name, "address": address})).await.id())
    }

    /// Makes a mailbox that takes every message there is, with its password, and approves it.
    ///
    /// # Panics
    /// When something is refused.
    pub async fn mailbox(&self, profile: &str, owner: Owner, address: &str, password: &str) -> Mailbox {
        let new = json!({
            "name": address,
            "address": address,
            "owner": owner.json(),
            "profile": profile,
            "acceptance": "all",
            "incoming": "server_side",
            "outgoing": "server_side",
            "process_email_received_after": "2000-01-01T00:00:00Z",
        });
        let id = self.post("/mailboxes", &new).await.id();
        self.put(&format!("/mailboxes/{id}/credential"), &json!({"username": address, "password": password}))
            .await;
        self.post(&format!("/mailboxes/{id}/approve"), &json!({})).await;
        Mailbox { id, address: address.to_owned(), owner }
    }

    /// Tests and enables a mailbox, and gives the job as it ended.
    ///
    /// # Panics
    /// When the job does not end.
    pub async fn test(&self, mailbox: &Mailbox) -> Value {
        let started = self.post(&format!("/mailboxes/{}/test", mailbox.id), &json!({})).await;
        self.job(started.body["jobs"][0]["job"].as_str().unwrap_or_default()).await
    }

    /// Tests and enables a mailbox that works.
    ///
    /// # Panics
    /// When the test fails, with its steps.
    pub async fn enable(&self, mailbox: &Mailbox) {
        let job = self.test(mailbox).await;
        assert_eq!(job["state"], "succeeded", "{job:#}");
    }

    /// Waits for the end of a job.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn job(&self, id: &str) -> Value {
        until("the job ends", async || {
            let job = self.get(&format!("/jobs/{id}")).await;
            match job["state"].as_str() {
                Some("waiting" | "queued" | "running") => Err(format!("{job:#}")),
                _ => Ok(job),
            }
        })
        .await
    }

    /// Sync now.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn sync(&self, mailbox: &Mailbox, workload: &str) {
        self.post(&format!("/mailboxes/{}/workloads/{workload}/sync", mailbox.id), &json!({})).await;
    }

    /// One workload of a mailbox as the API shows it.
    ///
    /// # Panics
    /// When it is not shown.
    pub async fn workload(&self, mailbox: &Mailbox, workload: &str) -> Value {
        let shown = self.get(&format!("/mailboxes/{}", mailbox.id)).await;
        let workloads = shown["workloads"].as_array().cloned().unwrap_or_default();
        let found = workloads.into_iter().find(|shown| shown["workload"] == workload);
        found.unwrap_or_else(|| panic!("no {workload} in {shown:#}"))
    }

    /// The open alerts of a kind.
    ///
    /// # Panics
    /// When the API refuses.
    pub async fn alerts(&self, kind: &str) -> Vec<Value> {
        self.list(&format!("/alerts?kind={kind}")).await
    }

    /// Asks for a draft to be sent, as a service that may send as anybody: an administrator may not.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn ask_to_send(&self, email: &str) -> Value {
        self.service().await.post(&format!("/emails/{email}/send"), &json!({})).await.body
    }

    /// The API as a service sees it that may send as anybody.
    ///
    /// # Panics
    /// When its key is refused.
    pub async fn service(&self) -> Self {
        let service = json!({"name": "service", "scopes": ["read", "send", "send_as_any"]});
        let made = self.post("/keys", &service).await;
        self.with_key(made.body["key"].as_str().unwrap_or_default())
    }

    /// Asks for a draft to be sent, and waits until it is in one of these states.
    ///
    /// # Panics
    /// When it is refused or stays in another state.
    pub async fn send(&self, email: &str, states: &[&str]) -> Value {
        self.ask_to_send(email).await;
        self.email_in(email, states).await
    }

    /// Waits until an email is in one of these states.
    ///
    /// # Panics
    /// When it stays in another state.
    pub async fn email_in(&self, email: &str, states: &[&str]) -> Value {
        until(&format!("the email is {}", states.join(" or ")), async || {
            let shown = self.get(&format!("/emails/{email}")).await;
            let state = shown["state"].as_str().unwrap_or_default();
            if states.contains(&state) { Ok(shown) } else { Err(format!("{shown:#}")) }
        })
        .await
    }
}
