//! A world in which every id of a path exists, planted with canaries: words that may be read by those they are for and by
//! nobody else. New records get an id in `ids`, and canaries in whatever of them is not for everybody.

use std::collections::HashMap;

use model::alert::AlertKind;
use model::email::Decision;
use model::identity::{Identity, identity};
use model::message::{ParsedAttachment, ParsedMessage, Party};
use model::report::{Report, ReportKind, ReportedAction, ReportedRecipient};
use reqwest::Method;
use serde_json::{Value, json};
use store::alert::{NewAlert, Subject};
use store::incoming::{IncomingBatch, IncomingItem, IncomingMessage, Raw, Verdict};
use store::outgoing::report::{Found, IncomingReport};
use store::testing::TestDatabase;

use crate::client::{Client, answer};
use crate::world::{Served, World, author, id, new_profile, serve, world_named};

/// For whose eyes a canary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// Every user of the organization.
    Organization,
    /// Ada and administrators.
    Ada,
    /// The members of the queue Support, of whom Ada is one, and administrators.
    Support,
    /// Bob and administrators.
    Bob,
    /// Administrators and services alone.
    Administrators,
    /// Nobody, ever.
    Nobody,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Whose records the paths name.
    Owner,
    /// Bob, of the same organization.
    Colleague,
    /// Grace, who administers it.
    Administrator,
    /// The administrator of another one.
    Stranger,
}

impl Caller {
    pub(super) fn may_read(self, canary: For) -> bool {
        match canary {
            For::Nobody => false,
            For::Organization => self != Self::Stranger,
            For::Ada | For::Support => matches!(self, Self::Owner | Self::Administrator),
            For::Bob => matches!(self, Self::Colleague | Self::Administrator),
            For::Administrators => self == Self::Administrator,
        }
    }
}

/// The world, served.
pub(super) struct Planted {
    pub(super) served: Served,
    /// What stands for the parts of a path: `emails/{id}` for the first part after a noun, `{user}` for any other.
    pub(super) ids: HashMap<&'static str, String>,
    pub(super) canaries: Vec<(For, String)>,
    keys: [String; 4],
}

impl Planted {
    pub(super) async fn new() -> Self {
        let world = world_named("CANARY-organization").await;
        let mut canaries = Vec::new();
        let mut ids = plant(&world, &mut canaries).await;
        ids.extend([
            ("users/{id}", world.bob_id.clone()),
            ("users/{id} granter", world.ada_id.clone()),
            ("send-grants/{user} granter", world.bob_id.clone()),
            ("users/{id} giver", world.ada_id.clone()),
            ("send-grants/{user} giver", id(&world.admin.get("me").await.expect(200)["user"])),
            ("queues/{id}", world.support.clone()),
            ("profiles/{id}", world.profile.clone()),
            ("mailboxes/{id}", world.ada_box.clone()),
            ("{user}", world.ada_id.clone()),
            ("{workload}", "incoming".to_owned()),
            ("settings/{name}", "max_message_mb".to_owned()),
            ("record-types/{name}", "project".to_owned()),
            ("{external_id}", "new-external".to_owned()),
        ]);
        let granted = format!("users/{}/send-grants/{}", world.ada_id, world.bob_id);
        world.ada.put(&granted, json!({})).await.expect(204);
        let (_, stranger) = world.served.organization("Difference Engines").await;
        let keys = [&world.ada, &world.bob, &world.admin].map(|client| client.key().to_owned());
        let [ada, bob, admin] = keys;
        canaries.extend([&ada, &bob, &admin].map(|key| (For::Nobody, key.clone())));
        Self { ids, canaries, keys: [ada, bob, admin, stranger], served: world.served }
    }

    /// The same world once more, for an operation that changes it.
    pub(super) async fn again(&self, database: &TestDatabase) -> Self {
        Self {
            served: serve(database.copy().await.unwrap(), crate::world::config(), &["127.0.0.0/8"]).await,
            ids: self.ids.clone(),
            canaries: self.canaries.clone(),
            keys: self.keys.clone(),
        }
    }

    pub(super) fn client(&self, caller: Caller) -> Client {
        let key = match caller {
            Caller::Owner => &self.keys[0],
            Caller::Colleague => &self.keys[1],
            Caller::Administrator => &self.keys[2],
            Caller::Stranger => &self.keys[3],
        };
        self.served.nobody.with_key(Some(key))
    }

    /// The canaries that stand in an answer and are not for the caller's eyes.
    pub(super) fn leaked(&self, caller: Caller, text: &str) -> Vec<&str> {
        self.canaries
            .iter()
            .filter(|(whose, word)| !caller.may_read(*whose) && text.contains(word.as_str()))
            .map(|(_, word)| word.as_str())
            .collect()
    }

    /// The rows of all tables but the answers that are kept.
    pub(super) async fn rows(&self) -> Vec<(String, i64)> {
        let owner = self.served.database.owner().await.unwrap();
        let tables = owner
            .query(
                "select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
                   and relname not in ('idempotency_keys', 'contacts') order by 1",
                &[],
            )
            .await
            .unwrap();
        let mut rows = Vec::new();
        for table in tables {
            let table: String = table.get(0);
            let count = owner.query_one(&format!("select count(*) from {table}"), &[]).await.unwrap().get(0);
            rows.push((table, count));
        }
        rows
    }

    /// How many changes were written down, and how many of them are a look into somebody's mail.
    pub(super) async fn changes(&self) -> (i64, i64) {
        let owner = self.served.database.owner().await.unwrap();
        let row = owner
            .query_one(
                "select count(*), count(*) filter (where fields ?| array['body_opened']) from changes",
                &[],
            )
            .await
            .unwrap();
        (row.get(0), row.get(1))
    }
}

async fn plant(world: &World, canaries: &mut Vec<(For, String)>) -> HashMap<&'static str, String> {
    for (mailbox, name) in [(&world.ada_box, "ada"), (&world.bob_box, "bob"), (&world.support_box, "support")]
    {
        let login = format!("{name}@example.com");
        let credential = json!({"username": login, "password": "CANARY-password"});
        world.admin.put(&format!("mailboxes/{mailbox}/credential"), credential).await.expect(204);
        world.enable(mailbox).await;
    }
    canaries.push((For::Nobody, "CANARY-password".into()));
    let ada = receive(world, &world.ada_box, "ada", None).await;
    let bob = receive(world, &world.bob_box, "bob", None).await;
    let support = receive(world, &world.support_box, "support", None).await;
    // To Ada with Bob in Bcc: both read it, and neither learns that the other's mailbox got it.
    let shared = receive(world, &world.ada_box, "shared", None).await;
    receive(world, &world.bob_box, "shared", Some("bob-")).await;
    for (whose, name) in [(For::Ada, "ada"), (For::Bob, "bob"), (For::Support, "support")] {
        for part in ["subject", "body", "html", "raw", "file", "content", "uidl"] {
            canaries.push((whose, format!("CANARY-{name}-{part}")));
        }
        canaries.push((whose, format!("canary-{name}-sender@sender.example")));
    }
    canaries.extend([
        (For::Ada, ada.clone()),
        (For::Bob, bob),
        (For::Support, support),
        (For::Ada, world.ada_box.clone()),
        (For::Bob, world.bob_box.clone()),
        (For::Support, world.support_box.clone()),
    ]);
    let file = id(&world.ada.get(&format!("emails/{ada}/body")).await.expect(200)["attachments"][0]);
    let mut ids = drafts(world, canaries).await;
    ids.extend([("emails/{id}", ada), ("emails/{id} shared", shared), ("{attachment}", file)]);
    around(world, canaries, &mut ids).await;
    ids
}

/// A mail with canaries in all its parts; `uidl` tells two copies of one mail apart.
async fn receive(world: &World, mailbox: &str, name: &str, uidl: Option<&str>) -> String {
    let raw = bytes::Bytes::from(format!("Subject: CANARY-{name}-subject\r\n\r\nCANARY-{name}-raw\r\n"));
    let party = |address: String| Party { name: None, address };
    let message = ParsedMessage {
        message_id: Some(format!("{name}@sender.example")),
        subject: Some(format!("CANARY-{name}-subject")),
        from: vec![party(format!("canary-{name}-sender@sender.example"))],
        to: vec![party(format!("{name}@example.com"))],
        date: Some(jiff::Timestamp::from_second(1_700_000_000).unwrap()),
        text: Some(format!("CANARY-{name}-body")),
        html: Some(format!("<p>CANARY-{name}-html</p>")),
        attachments: vec![ParsedAttachment {
            position: 0,
            name: format!("CANARY-{name}-file.txt"),
            content_type: "text/plain".into(),
            content_id: None,
            inline: false,
            bytes: format!("CANARY-{name}-content").into(),
        }],
        ..ParsedMessage::default()
    };
    let recorded = IncomingItem {
        item_id: format!("CANARY-{}{name}-uidl", uidl.unwrap_or_default()),
        size: raw.len() as u64,
        received_at: message.date,
        message_id: message.message_id.clone(),
        rule: "all".into(),
        verdict: Verdict::Record(Box::new(IncomingMessage {
            identity: identity(&message, &raw),
            message,
            raw: Raw::Bytes(raw),
        })),
    };
    let skipped = IncomingItem {
        item_id: format!("CANARY-{}{name}-uidl-skipped", uidl.unwrap_or_default()),
        size: 10,
        received_at: None,
        message_id: Some(format!("skipped-{name}@sender.example")),
        rule: "known_senders_and_replies".into(),
        verdict: Verdict::Skip(Decision::NotAccepted),
    };
    let tenant = world.tenant().await;
    let batch = IncomingBatch {
        search_keys: &std::collections::HashMap::new(),
        mailbox: mailbox.parse().unwrap(),
        folder: "pop3://127.0.0.1:995",
        items: vec![recorded, skipped],
        cursor: None,
        retry_after: std::time::Duration::from_secs(60),
        by: &author(),
    };
    let recorded = store::incoming::record(&tenant, &batch).await.unwrap();
    tenant.commit().await.unwrap();
    recorded[0].email.unwrap().to_string()
}

/// A delivery report about an email of Ada's.
async fn reported(world: &World, email: &str, canaries: &mut Vec<(For, String)>) -> String {
    let sending = world.ada.get(&format!("emails/{email}")).await.expect(200);
    let recipient = ReportedRecipient {
        address: "canary-reported@elsewhere.example".into(),
        original: None,
        action: ReportedAction::Failed,
        status: None,
        said: Some("CANARY-reported-words".into()),
    };
    let report = IncomingReport {
        found: Found {
            email: email.parse().unwrap(),
            request: sending["sending"]["request"].as_str().unwrap().parse().unwrap(),
        },
        report: Report {
            kind: ReportKind::DeliveryReport,
            message_ids: Vec::new(),
            envelope_id: None,
            returned_date: None,
            reporter: Some("CANARY-reporter".into()),
            recipients: vec![recipient],
        },
        identity: Identity([7; 32]),
        raw: Raw::Bytes(
            "CANARY-reporter: canary-reported@elsewhere.example: CANARY-reported-words CANARY-reported-raw"
                .into(),
        ),
    };
    for word in ["reported-words", "reporter", "reported-raw"] {
        canaries.push((For::Ada, format!("CANARY-{word}")));
    }
    canaries.push((For::Ada, "canary-reported@elsewhere.example".into()));
    let tenant = world.tenant().await;
    let mailbox = world.ada_box.parse().unwrap();
    assert!(store::outgoing::report::apply(&tenant, mailbox, &report, None, &author()).await.unwrap());
    tenant.commit().await.unwrap();
    id(&world.ada.get(&format!("emails/{email}")).await.expect(200)["reports"][0])
}

/// What Ada wrote, in each state that an operation wants.
async fn drafts(world: &World, canaries: &mut Vec<(For, String)>) -> HashMap<&'static str, String> {
    let mut ids = HashMap::new();
    for state in ["draft", "pending", "unknown"] {
        let draft = json!({
            "from": world.ada_box,
            "to": [{"address": "bob@example.com", "name": format!("CANARY-{state}-to")}],
            "bcc": [{"address": format!("canary-{state}-bcc@elsewhere.example")}],
            "subject": format!("CANARY-{state}-subject"), "text": format!("CANARY-{state}-text"),
            "external_id": format!("CANARY-{state}-external"),
        });
        let email = id(&world.ada.post("emails", draft).await.expect(201));
        for part in ["to", "subject", "text", "external", "file", "content"] {
            canaries.push((For::Ada, format!("CANARY-{state}-{part}")));
        }
        canaries.push((For::Ada, format!("canary-{state}-bcc@elsewhere.example")));
        canaries.push((For::Ada, email.clone()));
        let path = format!("emails/{email}/attachments?name=CANARY-{state}-file");
        let upload = world.ada.request(Method::POST, &path).body(format!("CANARY-{state}-content"));
        let file = id(&answer(upload).await.expect(201));
        if state != "draft" {
            world.ada.post(&format!("emails/{email}/send"), json!({})).await.expect(202);
        }
        match state {
            "draft" => {
                ids.insert("emails/{id} draft", email);
                ids.insert("{attachment} draft", file);
            }
            "pending" => {
                let report = reported(world, &email, canaries).await;
                ids.extend([("emails/{id} pending", email), ("{report}", report)]);
            }
            _ => {
                let owner = world.served.database.owner().await.unwrap();
                let sql = format!("update emails set state = 'unknown' where id = '{email}'");
                owner.batch_execute(&sql).await.unwrap();
                ids.insert("emails/{id} unknown", email);
            }
        }
    }
    ids
}

/// Alerts, secrets, jobs, schedules, contacts and keys.
async fn around(world: &World, canaries: &mut Vec<(For, String)>, ids: &mut HashMap<&'static str, String>) {
    let tenant = world.tenant().await;
    let alert = |kind, subject, said: &str| NewAlert {
        kind,
        subject,
        detail: String::new(),
        parameters: json!({}),
        server_said: Some(said.to_owned()),
    };
    let email = ids["emails/{id} unknown"].parse().unwrap();
    let of_ada = [
        alert(
            AlertKind::MailboxLocked,
            Subject::Mailbox(world.ada_box.parse().unwrap()),
            "CANARY-ada-mailbox-words",
        ),
        alert(AlertKind::SendUnknown, Subject::Email(email), "CANARY-ada-email-words"),
    ];
    for alert in of_ada {
        let (raised, _) = store::alert::raise(&tenant, &alert).await.unwrap();
        canaries.extend([(For::Ada, raised.to_string()), (For::Ada, alert.server_said.unwrap_or_default())]);
        ids.insert("alerts/{id}", raised.to_string());
    }
    let of_profile = Subject::Profile(world.profile.parse().unwrap());
    let of_profile = alert(AlertKind::ConnectionRefused, of_profile, "CANARY-profile-words");
    store::alert::raise(&tenant, &of_profile).await.unwrap();
    let key = store::key::list(&tenant).await.unwrap()[0].id;
    tenant.commit().await.unwrap();
    ids.insert("keys/{id}", key.to_string());
    canaries.push((For::Administrators, "CANARY-profile-words".into()));

    let change =
        json!({"description": "CANARY-profile-description", "external_id": "CANARY-profile-external"});
    world.admin.patch(&format!("profiles/{}", world.profile), change).await.expect(200);
    for word in ["CANARY-profile-description", "CANARY-profile-external"] {
        canaries.push((For::Administrators, word.into()));
    }
    let label = json!({"label": "Project", "plural": "CANARY-record-type"});
    world.admin.put("record-types/project", label).await.expect(200);
    canaries.push((For::Organization, "CANARY-record-type".into()));
    let job = world.admin.post("jobs", json!({"kind": "key_rotation"})).await.expect(202);
    ids.insert("jobs/{id}", id(&job));
    let canceled = id(&world.admin.post("jobs", json!({"kind": "clean_up"})).await.expect(202));
    world.admin.post(&format!("jobs/{canceled}/cancel"), json!({})).await.expect(200);
    ids.insert("jobs/{id} canceled", canceled);
    for (name, key) in [("CANARY-schedule", "schedules/{id}"), ("CANARY-paused", "schedules/{id} paused")] {
        let schedule = json!({"name": name, "kind": "key_rotation", "cron": "@daily"});
        ids.insert(key, id(&world.admin.post("schedules", schedule).await.expect(201)));
        canaries.push((For::Administrators, name.into()));
    }
    let pause = format!("schedules/{}/pause", ids["schedules/{id} paused"]);
    world.admin.post(&pause, json!({})).await.expect(200);
    let contact = json!({"name": "CANARY-contact", "addresses": ["canary-contact@sender.example"]});
    ids.insert("contacts/{id}", id(&world.admin.post("contacts", contact).await.expect(201)));
    let key = json!({"name": "CANARY-key-name", "scopes": ["read"]});
    let key = world.admin.post("keys", key).await.expect(201);
    // A profile that no mailbox uses, so that it can go.
    let mut unused = new_profile("Unused");
    unused["credentials_on"] = "profile".into();
    let unused = world.admin.post("profiles", unused).await.expect(201);
    ids.insert("profiles/{id} unused", id(&unused));
    for profile in [&world.profile, &id(&unused)] {
        world.admin.put(&format!("profiles/{profile}/oauth"), application()).await.expect(200);
    }
    canaries.push((For::Nobody, "CANARY-client-secret".into()));
    canaries.extend([
        (For::Organization, "CANARY-contact".to_owned()),
        (For::Organization, "canary-contact@sender.example".to_owned()),
        (For::Organization, "CANARY-organization".to_owned()),
        (For::Organization, world.ada_id.clone()),
        (For::Organization, world.support.clone()),
        (For::Administrators, "CANARY-key-name".to_owned()),
        (For::Administrators, ids["jobs/{id}"].clone()),
        (For::Nobody, key["key"].as_str().unwrap().to_owned()),
    ]);
}

fn application() -> Value {
    json!({
        "grant": "authorization_code", "client_id": "x", "client_secret": "CANARY-client-secret", "scopes": "mail",
        "authorize_url": "https://127.0.0.1/auth", "token_url": "https://127.0.0.1/token",
    })
}

/// What an operation is called with: the value of each query parameter that names a record of Ada's.
pub(super) fn narrowing(planted: &Planted, parameter: &str) -> Option<String> {
    Some(match parameter {
        "mailbox" => planted.ids["mailboxes/{id}"].clone(),
        "email" | "record_id" => planted.ids["emails/{id}"].clone(),
        "profile" => planted.ids["profiles/{id}"].clone(),
        "owner" | "user" => planted.ids["{user}"].clone(),
        "queue" => planted.ids["queues/{id}"].clone(),
        "record" => format!("email:{}", planted.ids["emails/{id}"]),
        "record_type" => "email".to_owned(),
        "address" => "canary-ada-sender@sender.example".to_owned(),
        "message_id" => "ada@sender.example".to_owned(),
        "external_id" => "CANARY-draft-external".to_owned(),
        "name" => "Ada".to_owned(),
        _ => return None,
    })
}

/// The body that an operation is called with.
pub(super) fn body(planted: &Planted, operation: &str) -> Value {
    let ids = &planted.ids;
    match operation {
        "POST /api/v1/keys" => json!({"name": "x", "user": ids["{user}"]}),
        "PUT /api/v1/mailboxes/{id}/credential" | "PUT /api/v1/profiles/{id}/credential" => {
            json!({"username": "x", "password": "CANARY-password"})
        }
        "PATCH /api/v1/mailboxes/{id}"
        | "PATCH /api/v1/users/{id}"
        | "PATCH /api/v1/queues/{id}"
        | "PATCH /api/v1/profiles/{id}"
        | "PATCH /api/v1/contacts/{id}" => json!({"name": "Renamed"}),
        "PATCH /api/v1/emails/{id}" => json!({"subject": "Renamed"}),
        "POST /api/v1/mailboxes/test" => json!({"mailboxes": [ids["mailboxes/{id}"]]}),
        "POST /api/v1/mailboxes" => json!({"address": "new@example.com", "profile": ids["profiles/{id}"]}),
        "POST /api/v1/queues" => {
            json!({"name": "x", "address": "new@example.com", "members": [ids["{user}"]]})
        }
        "PUT /api/v1/record-types/{name}" => json!({"label": "x", "plural": "x"}),
        "PUT /api/v1/users/by-external-id/{external_id}"
        | "PUT /api/v1/queues/by-external-id/{external_id}" => {
            json!({"name": "x", "address": "new@example.com"})
        }
        "PUT /api/v1/contacts/by-external-id/{external_id}" => json!({"name": "x"}),
        "POST /api/v1/users" => json!({"name": "x", "address": "new@example.com"}),
        "POST /api/v1/contacts" => json!({"name": "x", "addresses": ["new@example.com"]}),
        "POST /api/v1/emails" => json!({"subject": "x"}),
        "POST /api/v1/jobs" => json!({"kind": "key_rotation"}),
        "POST /api/v1/schedules" => json!({"name": "x", "kind": "clean_up", "cron": "@daily"}),
        "POST /api/v1/profiles" => new_profile("New"),
        "PUT /api/v1/profiles/{id}/oauth" => application(),
        "POST /api/v1/profiles/{id}/consent" => json!({"username": "service@example.com"}),
        "PUT /api/v1/profiles/{id}/rates" => json!({"provider": "none"}),
        "PUT /api/v1/settings/{name}" => json!({"value": 30}),
        "PUT /api/v1/mailboxes/{id}/folders" => json!({"read": []}),
        "PUT /api/v1/addresses" => json!({"addresses": []}),
        _ => json!({}),
    }
}

/// Which of several records of a noun an operation is called with, where it wants a certain one.
pub(super) fn which(operation: &str) -> &'static str {
    match operation {
        "PATCH /api/v1/emails/{id}"
        | "DELETE /api/v1/emails/{id}"
        | "POST /api/v1/emails/{id}/send"
        | "POST /api/v1/emails/{id}/attachments"
        | "DELETE /api/v1/emails/{id}/attachments/{attachment}" => "draft",
        "POST /api/v1/jobs/{id}/retry" => "canceled",
        "POST /api/v1/schedules/{id}/resume" => "paused",
        "POST /api/v1/emails/{id}/cancel" | "GET /api/v1/emails/{id}/reports/{report}/raw" => "pending",
        "POST /api/v1/emails/{id}/mark-sent" | "POST /api/v1/emails/{id}/resend" => "unknown",
        "PUT /api/v1/users/{id}/send-grants/{user}" => "giver",
        "GET /api/v1/users/{id}/send-grants" | "DELETE /api/v1/users/{id}/send-grants/{user}" => "granter",
        "DELETE /api/v1/profiles/{id}"
        | "PUT /api/v1/profiles/{id}/credential"
        | "PUT /api/v1/profiles/{id}/oauth"
        | "POST /api/v1/profiles/{id}/consent" => "unused",
        _ => "",
    }
}
