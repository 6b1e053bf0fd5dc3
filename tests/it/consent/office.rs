//! An installation whose mail servers take tokens, with a token server of their own.

use lockstep_tests::{Api, Installation, MailProfile, Mailbox, Owner, Process, browser, until};
use model::secret::{ExposeSecret as _, Secret};
use serde_json::{Value, json};
use servers::{MailOptions, MailServers, TokenClient, TokenOptions, TokenServer};
use store::seal::KeyRing;

use crate::house::message;

pub(super) const APPLICATION_SECRET: &str = "Kanarienvogel-of-the-application-1";
const SERVICE_SECRET: &str = "Kanarienvogel-of-the-service-00002";

pub(super) struct Office {
    pub(super) installation: Installation,
    pub(super) mail: MailServers,
    pub(super) api: Api,
    pub(super) profile: String,
    domain: String,
    process: Option<Process>,
}

impl Office {
    pub(super) async fn open(configured: impl FnOnce(Installation) -> Installation) -> Self {
        let installation = configured(Installation::new().await.with("telemetry.log_level", "trace"));
        let domain = format!("{}.example", &installation.virtual_host[..12]);
        let known = |id: &str, secret: &str, redirect| TokenClient {
            id: id.into(),
            secret: secret.into(),
            redirect,
            domain: domain.clone(),
        };
        let clients = vec![
            known("lockstep", APPLICATION_SECRET, Some(format!("{}/oauth/callback", installation.url()))),
            known("service", SERVICE_SECRET, None),
        ];
        let tokens = TokenOptions { clients, access_token_seconds: 3600, mechanisms: "xoauth2 oauthbearer" };
        let mail = MailServers::start_with(MailOptions::default().tokens(tokens)).await;
        let process = Some(installation.start_all().await);
        let api = installation.organization("Example").await;
        let profile = api.profile(&MailProfile::of(&mail)).await;
        let tokens = mail.tokens.as_ref().unwrap();
        let application = json!({
            "grant": "authorization_code", "client_id": "lockstep", "client_secret": APPLICATION_SECRET,
            "authorize_url": format!("{}?prompt=consent", tokens.authorize_url()), "token_url": tokens.token_url(),
            "scopes": "openid offline_access mail", "issuer": format!("https://127.0.0.1:{}", tokens.port),
        });
        let stored = api.put(&format!("/profiles/{profile}/oauth"), &application).await.body;
        assert_eq!(stored["redirect_uri"], format!("{}/oauth/callback", installation.url()));
        Self { installation, mail, api, profile, domain, process }
    }

    pub(super) fn tokens(&self) -> &TokenServer {
        self.mail.tokens.as_ref().unwrap()
    }

    pub(super) fn callback(&self) -> String {
        format!("{}/oauth/callback", self.installation.url())
    }

    /// A person with an approved mailbox, and nothing to sign in with.
    pub(super) async fn person(&self, name: &str) -> Mailbox {
        self.mapped(name, &self.profile).await
    }

    /// The same on another profile.
    pub(super) async fn mapped(&self, name: &str, profile: &str) -> Mailbox {
        let address = format!("{name}@{}", self.domain);
        self.mail.add_mailbox(&address, "unused");
        let owner = self.api.user(&address).await;
        let Owner::User(user) = &owner else { unreachable!("a user") };
        let new = json!({
            "address": address, "owner": {"kind": "user", "id": user}, "profile": profile, "acceptance": "all",
            "process_email_received_after": "2000-01-01T00:00:00Z",
        });
        let id = self.api.post("/mailboxes", &new).await.id();
        self.api.post(&format!("/mailboxes/{id}/approve"), &json!({})).await;
        Mailbox { id, address, owner }
    }

    /// A person whose mailbox is enabled by consent.
    pub(super) async fn connected(&self, name: &str) -> Mailbox {
        let person = self.person(name).await;
        self.consent(&person).await;
        self.api.enable(&person).await;
        person
    }

    /// Consents as the person, by a link that an administrator asked for.
    pub(super) async fn consent(&self, person: &Mailbox) {
        let link = self.api.post(&format!("/mailboxes/{}/consent", person.id), &json!({})).await.body;
        let url = link["url"].as_str().unwrap();
        let landed = browser::consent(url, self.mail.ca_pem(), &person.address, &self.callback()).await;
        assert_eq!(landed.status, 200, "{landed:?}");
    }

    /// The person's own access to the API.
    pub(super) async fn key_of(&self, person: &Mailbox) -> Api {
        let Owner::User(user) = &person.owner else { unreachable!("a user") };
        let key = self.api.post("/keys", &json!({"name": "own", "user": user})).await.body;
        self.api.with_key(key["key"].as_str().unwrap())
    }

    /// The application gets tokens by itself from now on, for all mailboxes.
    pub(super) async fn use_own_tokens(&self) {
        let place = json!({"credentials_on": "profile"});
        self.api.patch(&format!("/profiles/{}", self.profile), &place).await;
        self.set_service(json!({})).await;
    }

    /// The application that people consent to, with this in it.
    pub(super) async fn set_application(&self, more: Value) {
        let mut application = json!({
            "grant": "authorization_code", "client_id": "lockstep", "client_secret": APPLICATION_SECRET,
            "authorize_url": format!("{}?prompt=consent", self.tokens().authorize_url()),
            "token_url": self.tokens().token_url(), "scopes": "openid offline_access mail",
        });
        for (name, value) in more.as_object().unwrap() {
            application[name] = value.clone();
        }
        self.api.put(&format!("/profiles/{}/oauth", self.profile), &application).await;
    }

    pub(super) async fn set_service_secret(&self, secret: &str) {
        self.set_service(json!({"client_secret": secret})).await;
    }

    pub(super) async fn set_service(&self, more: Value) {
        let mut application = json!({
            "grant": "client_credentials", "client_id": "service", "client_secret": SERVICE_SECRET,
            "token_url": self.tokens().token_url(), "scopes": "mail",
        });
        for (name, value) in more.as_object().unwrap() {
            application[name] = value.clone();
        }
        self.api.put(&format!("/profiles/{}/oauth", self.profile), &application).await;
    }

    pub(super) fn deliver(&self, to: &Mailbox, subject: &str) {
        let message = message(&format!("sender@{}", self.domain), &to.address, subject, 0);
        self.mail.deliver(&to.address, message.as_bytes());
    }

    pub(super) async fn received(&self, mailbox: &Mailbox, count: i64) {
        let statement = format!("select count(*) from receipts where mailbox_id = '{}'", mailbox.id);
        until(&format!("{count} messages are received"), async || {
            let found = self.installation.count(&statement).await;
            if found == count { Ok(()) } else { Err(format!("{found} are")) }
        })
        .await;
    }

    /// A column of the incoming workload's row in the ring, as text.
    pub(super) async fn column(&self, mailbox: &Mailbox, column: &str) -> String {
        let statement = format!(
            "select coalesce({column}::text, '') from schedules where mailbox_id = '{}' and workload = 'incoming'",
            mailbox.id
        );
        self.installation.sql().await.query_one(&statement, &[]).await.unwrap().get(0)
    }

    /// Waits until that column has this value.
    pub(super) async fn scheduled(&self, mailbox: &Mailbox, column: &str, value: &str) {
        until(&format!("{column} is `{value}`"), async || {
            let found = self.column(mailbox, column).await;
            if found == value { Ok(()) } else { Err(format!("it is `{found}`")) }
        })
        .await;
    }

    /// What the token server calls itself.
    pub(super) fn issuer(&self) -> String {
        format!("https://127.0.0.1:{}", self.tokens().port)
    }

    /// The domain of its mailboxes.
    pub(super) fn domain(&self) -> &str {
        &self.domain
    }

    /// Ends the process in good order.
    pub(super) async fn end(&mut self) {
        assert_eq!(self.process.take().unwrap().terminate().await.code(), Some(0));
    }

    /// Every token that is stored now.
    pub(super) async fn tokens_now(&self) -> Vec<String> {
        let ring =
            KeyRing::from_text(self.installation.configuration.get("secrets.key_ring").unwrap()).unwrap();
        let tenant =
            self.installation.database.store.tenant(self.api.organization.parse().unwrap()).await.unwrap();
        let ids =
            self.installation.sql().await.query("select credential_id from oauth_tokens", &[]).await.unwrap();
        let mut secrets = Vec::new();
        for row in ids {
            let id = row.get::<_, uuid::Uuid>(0).into();
            let tokens = store::oauth::tokens(&tenant, &ring, id).await.unwrap().unwrap();
            let told = |secret: Secret| secret.expose_secret().to_owned();
            secrets.extend([tokens.access, tokens.refresh].into_iter().flatten().map(told));
        }
        secrets
    }

    /// Everything that opens anything, as it is sealed now.
    async fn secrets(&self) -> Vec<String> {
        let mut secrets = self.tokens_now().await;
        assert!(!secrets.is_empty(), "there are tokens");
        secrets.extend([APPLICATION_SECRET.to_owned(), SERVICE_SECRET.to_owned()]);
        secrets
    }

    /// No secret, token, code or state stands in a column, an answer or a log.
    pub(super) async fn no_secret_is_told(&mut self, callbacks: &[&reqwest::Url]) {
        let mut secrets = self.secrets().await;
        for callback in callbacks {
            secrets.extend(
                callback
                    .query_pairs()
                    .filter(|(name, _)| matches!(name.as_ref(), "code" | "state"))
                    .map(|(_, value)| value.into_owned()),
            );
        }
        for path in ["/profiles", "/mailboxes", "/alerts?closed=true", "/jobs", "/status", "/presets"] {
            let shown = self.api.get(path).await.to_string();
            for secret in &secrets {
                assert!(!shown.contains(secret), "{path} shows a secret");
            }
        }
        for path in [
            format!("/profiles/{}/oauth", self.profile),
            format!("/changes?record_type=profile&record_id={}", self.profile),
        ] {
            let shown = self.api.get(&path).await.to_string();
            for secret in &secrets {
                assert!(!shown.contains(secret), "{path} shows a secret: {shown}");
            }
        }
        let sql = self.installation.sql().await;
        let tables = "select c.relname::text from pg_class c where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace";
        for table in sql.query(tables, &[]).await.unwrap() {
            let table: String = table.get(0);
            for secret in &secrets {
                let hexadecimal =
                    secret.bytes().fold(String::new(), |digits, byte| format!("{digits}{byte:02x}"));
                let statement = format!(
                    "select count(*) from \"{table}\" t where position('{secret}' in t::text) > 0
                     or position('{hexadecimal}' in t::text) > 0"
                );
                assert_eq!(self.installation.count(&statement).await, 0, "{table} tells a secret");
            }
        }
        self.end().await;
        for (name, text) in self.installation.logs() {
            assert!(text.lines().count() > 5, "{name} says something");
            for secret in &secrets {
                let line = text.lines().find(|line| line.contains(secret));
                assert!(line.is_none(), "{name} tells a secret: {}", line.unwrap_or_default());
            }
        }
    }
}
