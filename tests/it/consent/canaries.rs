//! One secret of each kind, and everything that can be seen from outside: what goes in is in no answer, no page, no word of
//! the command line, no log, no trace, no dead letter, not in the ledger, and in no column of any table but sealed.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use lockstep_tests::{Api, Canary, MailProfile, Mailbox, Otlp, browser, command, until};
use reqwest::Method;
use serde_json::{Value, json};

use super::office::Office;

const MAILBOX_PASSWORD: &str = "Kanarienvogel-of-the-mailbox-00001";
const PROFILE_PASSWORD: &str = "Kanarienvogel-of-the-profile-00002";
const WRONG_SECRET: &str = "Kanarienvogel-of-no-application-03";
const STATED: &str = "Kanarienvogel-in-a-wrong-place-004";
const KEY_RING: [u8; 32] = *b"Kanarienvogel-is-the-key-0123456";

fn look(canaries: &[Canary], place: &str, text: &str) {
    for canary in canaries {
        assert!(!canary.is_in(text), "{place} tells the {}", canary.kind);
    }
}

/// Every path that is read by GET, with each id that a path may want.
async fn everything(office: &Office, api: &Api, canaries: &[Canary]) {
    let ids: BTreeSet<String> = ids(office).await;
    let document: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).unwrap();
    let (mut read, mut found) = (0, 0);
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(path) = path.strip_prefix("/api/v1").filter(|_| operations.get("get").is_some()) else {
            continue;
        };
        // Two ids in one path, or a name in it, are of records that hold no secret.
        if path.matches('{').count() > 1 || path.contains("feed") {
            continue;
        }
        let wanted: Vec<String> = match path.split_once('{') {
            None => vec![path.to_owned()],
            Some((before, after)) => {
                let after = after.split_once('}').unwrap().1;
                ids.iter().map(|id| format!("{before}{id}{after}")).collect()
            }
        };
        for path in wanted {
            let answer = api.ask(Method::GET, &path, None).await;
            read += 1;
            found += u32::from(answer.status.is_success());
            look(canaries, &path, &format!("{answer:?}"));
        }
    }
    assert!(read > 100 && found > 40, "{found} of {read}");
    for path in ["/changes?limit=200", "/alerts?closed=true", "/jobs?limit=200"] {
        look(canaries, path, &api.get(path).await.to_string());
    }
}

/// Of each noun that has a path of its own a few.
async fn ids(office: &Office) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for table in ["profiles", "mailboxes", "users", "jobs", "emails", "alerts", "api_keys"] {
        let statement = format!("select id::text from {table} limit 8");
        if let Ok(rows) = office.installation.sql().await.query(&statement, &[]).await {
            ids.extend(rows.iter().map(|row| row.get::<_, String>(0)));
        }
    }
    assert!(ids.len() > 12, "{ids:?}");
    ids
}

async fn refused(office: &Office, mailbox: &Mailbox, kind: &str) {
    let job = office.api.test(mailbox).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    until(&format!("there is an alert of the kind {kind}"), async || {
        let alerts = office.api.alerts(kind).await;
        if alerts.is_empty() { Err("there is none") } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn no_secret_of_any_kind_is_seen_anywhere() {
    let otlp = Otlp::start().await;
    let ring = format!("canary:{}", BASE64_STANDARD.encode(KEY_RING));
    let mut office = Office::open(|installation| {
        installation
            .with("telemetry.otlp_url", otlp.url())
            .with("secrets.key_ring", ring)
            .with("telemetry.log_level", "trace")
    })
    .await;

    // Consent, mail in and out, a renewal, a withdrawn consent.
    let anna = office.person("anna").await;
    let link = office.api.post(&format!("/mailboxes/{}/consent", anna.id), &json!({})).await.body;
    let landed = browser::consent(
        link["url"].as_str().unwrap(),
        office.mail.ca_pem(),
        &anna.address,
        &office.callback(),
    )
    .await;
    assert_eq!(landed.status, 200, "{landed:?}");
    office.api.enable(&anna).await;
    let mut tokens = office.tokens_now().await;
    office.tokens().forget_access_tokens(&anna.address).await;
    office.deliver(&anna, "One");
    office.api.sync(&anna, "incoming").await;
    office.received(&anna, 1).await;
    let draft =
        json!({"from": anna.id, "to": [{"address": anna.address}], "subject": "Out", "text": "Hello."});
    let email = office.api.post("/emails", &draft).await.id();
    office.api.send(&email, &["sent"]).await;
    tokens.extend(office.tokens_now().await);
    assert!(tokens.len() > 3, "a token before and after its renewal");

    // Refused passwords, of a mailbox and of a profile.
    let by_password = MailProfile::of(&office.mail).with("name", "by password");
    let by_password = office.api.profile(&by_password).await;
    let bert = format!("bert@{}", office.domain());
    let owner = office.api.user(&bert).await;
    let bert = office.api.mailbox(&by_password, owner, &bert, MAILBOX_PASSWORD).await;
    refused(&office, &bert, "sign_in_refused").await;
    let shared = MailProfile::of(&office.mail).with("name", "shared").with("credentials_on", "profile");
    let shared = office.api.profile(&shared).await;
    let password = json!({"username": "reader", "password": PROFILE_PASSWORD});
    office.api.put(&format!("/profiles/{shared}/credential"), &password).await;
    let cleo = office.mapped("cleo", &shared).await;
    refused(&office, &cleo, "sign_in_refused").await;
    // A refused application.
    let service = MailProfile::of(&office.mail).with("name", "service").with("credentials_on", "profile");
    let service = office.api.profile(&service).await;
    let application = json!({
        "grant": "client_credentials", "client_id": "service", "client_secret": WRONG_SECRET,
        "token_url": office.tokens().token_url(), "scopes": "mail",
    });
    office.api.put(&format!("/profiles/{service}/oauth"), &application).await;
    let dora = office.mapped("dora", &service).await;
    refused(&office, &dora, "token_refused").await;
    // Secrets where none belong: refused, and not repeated.
    for (path, body) in [
        (
            format!("/mailboxes/{}/credential", bert.id),
            json!({"username": "b", "password": STATED, "more": STATED}),
        ),
        (
            format!("/profiles/{service}/oauth"),
            json!({"grant": "client_credentials", "client_secret": [STATED]}),
        ),
    ] {
        let answer = office.api.ask(Method::PUT, &path, Some(&body)).await;
        assert!(answer.status.is_client_error() && !answer.body.to_string().contains(STATED), "{answer:?}");
    }
    let stranger = office.api.with_key(&format!("{}{STATED}", office.api.key()));
    let answer = stranger.ask(Method::GET, "/me", None).await;
    assert!(answer.status == 401 && !format!("{answer:?}").contains(STATED), "{answer:?}");

    let secret = |kind, text: &str| Canary::new(kind, text.as_bytes());
    let mut canaries = vec![
        Canary::password("mailbox's password", MAILBOX_PASSWORD, &[&bert.address]),
        Canary::password("profile's password", PROFILE_PASSWORD, &["reader"]),
        secret("application's secret", super::office::APPLICATION_SECRET),
        secret("secret of the refused application", WRONG_SECRET),
        secret("API key", office.api.key()),
        secret("what was said in a wrong place", STATED),
        Canary::new("key of the ring", &KEY_RING),
    ];
    canaries.extend(tokens.iter().map(|token| secret("token", token)));
    for (name, value) in landed.url.query_pairs() {
        if matches!(name.as_ref(), "code" | "state") {
            canaries.push(secret("code or state of a consent", &value));
        }
    }

    // A page, every answer, the command line.
    look(&canaries, "the page after consent", &landed.html);
    everything(&office, &office.api, &canaries).await;
    let url = office.installation.url();
    let configuration = office
        .installation
        .configuration
        .clone()
        .with("client.url", url)
        .with("client.key", office.api.key());
    let file = office.installation.file("client.toml");
    configuration.write(&file);
    for arguments in [
        &["doctor"][..],
        &["status"],
        &["profile", "list"],
        &["profile", "show", "shared", "--json"],
        &["mailbox", "show", &anna.address, "--json"],
        &["mailbox", "show", &bert.address],
        &["alert", "list"],
        &["job", "list"],
        &["setting", "list"],
    ] {
        let said = command(arguments, &file).output().await.unwrap();
        let words =
            format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
        assert!(words.lines().count() > 1, "{arguments:?}: {words}");
        look(&canaries, &format!("{arguments:?}"), &words);
    }

    // Every column of every table, what the broker set aside, and the ledger.
    for canary in &canaries {
        assert_eq!(office.installation.keeps(canary).await, [""; 0], "the {}", canary.kind);
    }

    // Every line of every log, and every trace.
    office.end().await;
    for (name, text) in office.installation.logs() {
        assert!(text.lines().count() > 5, "{name} says something");
        look(&canaries, &name, &text);
    }
    let spans = otlp.spans();
    assert!(spans.len() > 20, "{} spans", spans.len());
    look(&canaries, "a trace", &format!("{spans:?}"));
    look(&canaries, "a metric", &format!("{:?}", otlp.metrics()));
}
