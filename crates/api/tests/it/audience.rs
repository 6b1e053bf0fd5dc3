//! Who may see what, proved for every operation of the OpenAPI document with four keys: the owner's, a colleague's, an
//! administrator's and that of another organization's administrator. Each answer must have the status that the operation's
//! `x-audience` says, and no word in it that is not for the caller's eyes.
//!
//! A new operation needs: `x-audience` in its document; an id in `planted.rs` when its path has a new part; a body there
//! when `{}` is not enough.

mod contract;
mod planted;

use reqwest::Method;
use serde_json::{Value, json};

use self::planted::{Caller, For, Planted, body, narrowing, which};
use crate::api;
use crate::client::{Answer, answer};

/// One operation of the document.
struct Operation {
    method: String,
    path: String,
    audience: String,
    right: String,
    parameters: Vec<String>,
}

impl Operation {
    /// Such as `GET /api/v1/emails/{id}`.
    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether its path names a record: what stands for a word of ours is the same in every organization.
    fn names_record(&self) -> bool {
        self.path.contains("{id}") || self.path.contains("{user}")
    }

    fn changes(&self) -> bool {
        self.method != "GET"
    }

    /// The path with ids of the planted world.
    fn filled(&self, planted: &Planted) -> String {
        let which = which(&self.name());
        let mut filled = Vec::new();
        let mut noun = "";
        for part in self.path.split('/') {
            if !part.starts_with('{') {
                noun = part;
                filled.push(part.to_owned());
                continue;
            }
            let names = [format!("{noun}/{part} {which}"), format!("{part} {which}")];
            let others = [format!("{noun}/{part}"), part.to_owned()];
            let found = names.iter().chain(&others).find_map(|name| planted.ids.get(name.as_str()));
            let missing = || {
                panic!(
                    "{}: the planted world has nothing for {part}: add an id as `{noun}/{part}` or `{part}` to \
                     `ids` in crates/api/tests/it/audience/planted.rs",
                    self.name()
                )
            };
            filled.push(found.cloned().unwrap_or_else(missing));
        }
        filled.join("/")
    }

    async fn call(&self, planted: &Planted, caller: Caller, query: &str) -> Answer {
        let mut path = format!("{}{query}", self.filled(planted));
        let client = planted.client(caller);
        let request =
            |path: &str| client.request(self.method.parse::<Method>().unwrap(), path).header("if-match", "*");
        match self.name().as_str() {
            "POST /api/v1/emails/{id}/attachments" => {
                path.push_str("?name=x");
                answer(request(&path).body("file")).await
            }
            "GET /api/v1/changes" if query.is_empty() => {
                answer(request(&format!("{path}?record_id={}", planted.ids["emails/{id}"]))).await
            }
            "GET /api/v1/emails/explain" if query.is_empty() => {
                answer(request(&format!("{path}?message_id=ada@sender.example"))).await
            }
            _ if self.changes() => answer(request(&path).json(&body(planted, &self.name()))).await,
            _ => answer(request(&path)).await,
        }
    }
}

fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(&api::openapi_json()).unwrap();
    let mut operations = Vec::new();
    let mut silent = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_uppercase();
            let Some(audience) = operation["x-audience"].as_str() else {
                silent.push(format!("{method} {path}"));
                continue;
            };
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            operations.push(Operation {
                audience: audience.to_owned(),
                right: operation["security"][0]["key"][0].as_str().unwrap_or_default().to_owned(),
                parameters: parameters
                    .iter()
                    .filter(|parameter| parameter["in"] == "query")
                    .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
                    .collect(),
                path: path.clone(),
                method,
            });
        }
    }
    assert!(
        silent.is_empty(),
        "these operations do not say whom they are for: add `extensions((\"x-audience\" = json!(\"own\")))` (or \
         \"organization\", \"administrators\", \"own_alone\", \"public\"; crates/api/src/contract.rs says what each \
         means) to their #[utoipa::path]: {silent:#?}"
    );
    operations
}

/// What the audience says about a caller: the statuses that the answer may have.
fn expected(operation: &Operation, caller: Caller) -> &'static [u16] {
    const DONE: &[u16] = &[200, 201, 202, 204];
    const NOT_THERE: &[u16] = &[404];
    const NOT_ALLOWED: &[u16] = &[403];
    // A list is everybody's, and what is in it is the caller's own. Some need a body that only the owner has.
    const WHATEVER: &[u16] = &[200, 201, 202, 204, 400, 403, 404, 409, 422];
    match (operation.audience.as_str(), caller) {
        // A browser without the link that it came by.
        ("public", _) if operation.path == "/oauth/callback" => &[400],
        ("public", _) | ("own" | "own_alone", Caller::Owner) => DONE,
        ("own" | "own_alone", Caller::Colleague) | (_, Caller::Stranger) => {
            if operation.names_record() {
                NOT_THERE
            } else {
                WHATEVER
            }
        }
        ("own_alone", Caller::Administrator) => &[403, 404],
        ("administrators", Caller::Owner | Caller::Colleague) => NOT_ALLOWED,
        ("own" | "organization" | "administrators", _) => DONE,
        (audience, _) => panic!("{}: there is no audience `{audience}`", operation.name()),
    }
}

/// Status, version and what must not be read.
fn check(
    operation: &Operation,
    planted: &Planted,
    caller: Caller,
    answered: &Answer,
    wrong: &mut Vec<String>,
) {
    let status = answered.status.as_u16();
    let name = operation.name();
    let wanted = expected(operation, caller);
    if !wanted.contains(&status) {
        wrong.push(format!("{name}: {caller:?} got {status}, not {wanted:?}: {}", answered.text));
    }
    if let Some(version) = answered.json()["version"].as_i64().filter(|_| answered.status.is_success()) {
        let tag = answered.headers.get("etag").map(|tag| tag.to_str().unwrap().to_owned());
        if tag != Some(format!("\"{version}\"")) {
            wrong.push(format!("{name}: the record has version {version} and the answer the ETag {tag:?}"));
        }
    }
    let headers = format!("{:?}", answered.headers);
    for word in planted.leaked(caller, &answered.text).into_iter().chain(planted.leaked(caller, &headers)) {
        wrong.push(format!("{name}: {caller:?} was shown `{word}` with status {status}"));
    }
}

const CALLERS: [Caller; 4] = [Caller::Stranger, Caller::Colleague, Caller::Owner, Caller::Administrator];

#[tokio::test]
async fn every_reading_operation_shows_each_caller_what_is_for_their_eyes_and_nothing_else() {
    let planted = Planted::new().await;
    let mut wrong = Vec::new();
    let mut seen = std::collections::HashMap::<&str, Vec<Caller>>::new();
    for operation in operations().iter().filter(|operation| !operation.changes()) {
        for caller in CALLERS {
            let opened = planted.changes().await.1;
            let answered = operation.call(&planted, caller, "").await;
            check(operation, &planted, caller, &answered, &mut wrong);
            for (_, word) in planted.canaries.iter().filter(|(_, word)| answered.text.contains(word)) {
                seen.entry(word).or_default().push(caller);
            }
            let opened = planted.changes().await.1 - opened;
            let looked = operation.right == "read_bodies" && caller == Caller::Administrator;
            if opened != i64::from(looked) {
                wrong.push(format!("{}: {caller:?} left {opened} rows of an opened body", operation.name()));
            }
            for parameter in &operation.parameters {
                let Some(value) = narrowing(&planted, parameter) else { continue };
                let answered = operation.call(&planted, caller, &format!("?{parameter}={value}")).await;
                let status = answered.status.as_u16();
                if status >= 500 {
                    wrong.push(format!("{}?{parameter}: {status}", operation.name()));
                }
                let named = |word: &&str| *word != value && !value.contains(*word);
                for word in planted.leaked(caller, &answered.text).into_iter().filter(named) {
                    wrong.push(format!("{}?{parameter}: {caller:?} was shown `{word}`", operation.name()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A canary that nobody ever sees proves nothing.
    for (whose, word) in &planted.canaries {
        let callers = seen.get(word.as_str()).cloned().unwrap_or_default();
        for (theirs, caller) in [
            (For::Ada, Caller::Owner),
            (For::Support, Caller::Owner),
            (For::Bob, Caller::Colleague),
            (For::Organization, Caller::Colleague),
            (For::Administrators, Caller::Administrator),
        ] {
            let alive = *whose != theirs || callers.contains(&caller) || only_inside(word);
            assert!(alive, "`{word}` is for {whose:?}, and {caller:?} never saw it");
        }
    }
}

#[tokio::test]
async fn no_operation_answers_without_a_key() {
    let planted = Planted::new().await;
    for operation in operations() {
        let method = operation.method.parse::<Method>().unwrap();
        let request = planted.served.nobody.request(method, &operation.filled(&planted));
        let answered = answer(request.json(&body(&planted, &operation.name()))).await;
        let wanted = match operation.audience.as_str() {
            // A browser without the link that it came by.
            "public" if operation.path == "/oauth/callback" => 400,
            "public" => 200,
            _ => 401,
        };
        assert_eq!(answered.status.as_u16(), wanted, "{}: {}", operation.name(), answered.text);
    }
}

#[tokio::test]
async fn a_reader_in_bcc_and_the_addressee_learn_nothing_of_each_others_mailbox() {
    let planted = Planted::new().await;
    let path = format!("emails/{}", planted.ids["emails/{id} shared"]);
    for caller in [Caller::Owner, Caller::Colleague, Caller::Administrator] {
        let answered = planted.client(caller).get(&path).await;
        assert_eq!(planted.leaked(caller, &answered.text), [""; 0], "{caller:?}: {}", answered.text);
        let receipts = answered.expect(200)["receipts"].as_array().unwrap().len();
        assert_eq!(receipts, if caller == Caller::Administrator { 2 } else { 1 }, "{caller:?}");
    }
    planted.client(Caller::Stranger).get(&path).await.problem(404, "id");
}

#[tokio::test]
async fn the_new_owner_of_a_mailbox_is_shown_nothing_of_the_old_ones() {
    let planted = Planted::new().await;
    let admin = planted.client(Caller::Administrator);
    let (adas, ada) = (&planted.ids["mailboxes/{id}"], &planted.ids["{user}"]);
    let bob = &planted.ids["users/{id}"];
    let bobs = admin.get(&format!("mailboxes?owner={bob}")).await.expect(200)["items"][0]["id"].clone();
    let away = json!({"owner": null, "confirm_owner": bob});
    let path = format!("mailboxes/{}", bobs.as_str().unwrap());
    admin.patch(&path, away).await.expect(200);
    let moved = json!({"owner": {"kind": "user", "id": bob}, "confirm_owner": ada});
    admin.patch(&format!("mailboxes/{adas}"), moved).await.expect(200);
    let bob = planted.client(Caller::Colleague);
    assert_eq!(bob.get(&format!("mailboxes/{adas}")).await.expect(200)["owner"]["name"], "Bob");
    let items = bob.get(&format!("mailboxes/{adas}/items")).await.expect(200);
    assert_eq!(items["items"], json!([]), "what was decided before it was his");
    for list in ["emails", "alerts"] {
        let seen = bob.get(&format!("{list}?mailbox={adas}")).await;
        let leaked: Vec<_> =
            planted.leaked(Caller::Colleague, &seen.text).into_iter().filter(|word| word != adas).collect();
        assert!(leaked.is_empty(), "{list}: {leaked:?}");
    }
    let all = admin.get(&format!("mailboxes/{adas}/items")).await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 4, "administrators see what was decided");
}

/// Contents that only the operation on their own record shows, and that record is another one's.
fn only_inside(word: &str) -> bool {
    let inside = ["body", "html", "raw", "content", "text", "file", "uidl"];
    !word.contains("-ada-") && inside.iter().any(|part| word.ends_with(&format!("-{part}")))
}

#[tokio::test]
async fn every_changing_operation_obeys_its_owner_and_nobody_else() {
    let first = Planted::new().await;
    let mut wrong = Vec::new();
    for operation in operations().iter().filter(|operation| operation.changes()) {
        let planted = first.again(&first.served.database).await;
        for caller in [Caller::Stranger, Caller::Colleague] {
            let before = planted.changes().await;
            let answered = operation.call(&planted, caller, "").await;
            check(operation, &planted, caller, &answered, &mut wrong);
            if answered.status.as_u16() >= 400 && planted.changes().await != before {
                wrong.push(format!("{}: {caller:?} was refused and changed something", operation.name()));
            }
        }
        let answered = operation.call(&planted, Caller::Owner, "").await;
        check(operation, &planted, Caller::Owner, &answered, &mut wrong);
        let planted = if operation.names_record() && answered.status.is_success() {
            first.again(&first.served.database).await
        } else {
            planted
        };
        let before = planted.changes().await;
        let answered = operation.call(&planted, Caller::Administrator, "").await;
        check(operation, &planted, Caller::Administrator, &answered, &mut wrong);
        let traceless = TRACELESS.iter().any(|(name, _)| *name == operation.name());
        if answered.status.is_success() && (planted.changes().await == before) != traceless {
            wrong.push(format!(
                "{}: what changes something writes a row through store::change, and the log has {}; give it a body in \
                 planted.rs that changes something, or name it in TRACELESS with the reason",
                operation.name(),
                if traceless { "one" } else { "none" }
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Operations that change no record, setting, mapping, approval or secret.
const TRACELESS: [(&str, &str); 6] = [
    ("POST /api/v1/mailboxes/{id}/workloads/{workload}/sync", "a wish to run now"),
    ("POST /api/v1/mailboxes/{id}/approve", "the planted mailbox is approved"),
    ("PUT /api/v1/queues/{id}/members/{user}", "the planted user is a member"),
    ("PUT /api/v1/addresses", "none are given"),
    ("POST /api/v1/mailboxes/{id}/re-examine", "what the planted mailbox passed over lies on no server"),
    ("PUT /api/v1/mailboxes/{id}/folders", "the planted mailbox is no Exchange server's and has none"),
];
