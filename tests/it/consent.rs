//! Mailboxes that are opened by tokens, from a real token server that rotates refresh tokens and ends a grant when one
//! comes twice: consent by a link, renewal by one worker at a time, and what happens when there is no token.

mod canaries;
mod exchange;
mod office;

use std::time::Duration;

use lockstep_tests::{browser, until};
use serde_json::json;

use self::office::Office;

#[tokio::test]
async fn a_person_consents_by_a_link_and_mail_travels() {
    let mut office = Office::open(|installation| installation).await;
    let anna = office.person("anna").await;
    let job = office.api.test(&anna).await;
    assert_eq!(job["state"], "failed", "there is nothing to sign in with yet: {job:#}");

    let owner = office.key_of(&anna).await;
    let link = owner.post(&format!("/mailboxes/{}/consent", anna.id), &json!({})).await.body;
    let url = link["url"].as_str().unwrap();
    assert_eq!(link["username"], anna.address);
    assert!(url.contains("code_challenge_method=S256") && url.contains("state="), "{url}");
    let landed = browser::consent(url, office.mail.ca_pem(), &anna.address, &office.callback()).await;
    assert_eq!(landed.status, 200, "{landed:?}");
    assert!(
        landed.html.contains("The mailbox is connected") && landed.html.contains(&anna.address),
        "{landed:?}"
    );
    assert!(
        landed.policy.starts_with("default-src 'none'") && !landed.policy.contains("unsafe"),
        "{landed:?}"
    );

    // The link is used up, and a state that was never given opens nothing.
    let again = reqwest::get(landed.url.clone()).await.unwrap();
    assert_eq!(again.status(), 400);
    assert!(again.text().await.unwrap().contains("This link does not hold"));
    let forged = landed.url.as_str().replace("state=", "state=0");
    assert_eq!(reqwest::get(forged).await.unwrap().status(), 400);
    // Who asked for it is who it is written down for.
    let by = "select count(*) from changes where record_type = 'credential' and actor_kind = 'user' and cause = 'consent'";
    assert_eq!(office.installation.count(by).await, 1);

    office.api.enable(&anna).await;
    office.deliver(&anna, "By a token");
    office.api.sync(&anna, "incoming").await;
    office.received(&anna, 1).await;
    let draft =
        json!({"from": anna.id, "to": [{"address": anna.address}], "subject": "Out", "text": "Hello."});
    let email = office.api.post("/emails", &draft).await.id();
    office.api.send(&email, &["sent"]).await;

    office.no_secret_is_told(&[&landed.url]).await;
}

#[tokio::test]
async fn who_refuses_and_who_comes_without_a_link_is_told_what_to_do() {
    let office = Office::open(|installation| installation).await;
    let anna = office.person("anna").await;
    let link = office.api.post(&format!("/mailboxes/{}/consent", anna.id), &json!({})).await.body;
    let url = reqwest::Url::parse(link["url"].as_str().unwrap()).unwrap();
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    // As a provider sends somebody back who refused.
    let refused = format!(
        "{}?state={state}&error=access_denied&error_description=%3Cb%3Eno%3C%2Fb%3E&iss={}",
        office.callback(),
        office.issuer()
    );
    let page = reqwest::get(refused).await.unwrap();
    assert_eq!(page.status(), 400);
    let html = page.text().await.unwrap();
    assert!(html.contains("There is no consent") && html.contains("access_denied: &lt;b&gt;no"), "{html}");
    // A code that the provider never gave: the link is used up by it, and nothing is stored.
    let link = office.api.post(&format!("/mailboxes/{}/consent", anna.id), &json!({})).await.body;
    let url = reqwest::Url::parse(link["url"].as_str().unwrap()).unwrap();
    let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    let forged = format!("{}?state={state}&code=never-given&iss={}", office.callback(), office.issuer());
    let html = reqwest::get(&forged).await.unwrap().text().await.unwrap();
    assert!(html.contains("The provider gave no token") && html.contains("invalid_grant"), "{html}");
    assert!(reqwest::get(&forged).await.unwrap().text().await.unwrap().contains("This link does not hold"));
    assert_eq!(office.installation.count("select count(*) from credentials").await, 0);
    // An older link does not hold once a newer one was asked for, nor after an hour.
    let ask = async || {
        let link = office.api.post(&format!("/mailboxes/{}/consent", anna.id), &json!({})).await.body;
        link["url"].as_str().unwrap().to_owned()
    };
    let (older, newer) = (ask().await, ask().await);
    let landed = browser::consent(&older, office.mail.ca_pem(), &anna.address, &office.callback()).await;
    assert!(landed.html.contains("This link does not hold"), "{landed:?}");
    office.installation.pass(Duration::from_secs(3601)).await;
    let landed = browser::consent(&newer, office.mail.ca_pem(), &anna.address, &office.callback()).await;
    assert!(landed.html.contains("This link does not hold"), "{landed:?}");
    // A colleague may not ask for it.
    let bert = office.person("bert").await;
    let colleague = office.key_of(&bert).await;
    let refused = colleague
        .ask(reqwest::Method::POST, &format!("/mailboxes/{}/consent", anna.id), Some(&json!({})))
        .await;
    assert_eq!(refused.status, 404, "{refused:?}");
}

#[tokio::test]
async fn an_answer_of_another_server_is_not_taken_and_its_code_is_shown_to_nobody() {
    let office = Office::open(|installation| installation).await;
    let anna = office.person("anna").await;
    let state = async || {
        let link = office.api.post(&format!("/mailboxes/{}/consent", anna.id), &json!({})).await.body;
        let url = reqwest::Url::parse(link["url"].as_str().unwrap()).unwrap();
        url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned()
    };
    let come_back = async |with: &str| {
        let answer = format!("{}?state={}&code=of-somebody-else{with}", office.callback(), state().await);
        let page = reqwest::get(answer).await.unwrap();
        assert_eq!(page.status(), 400);
        page.text().await.unwrap()
    };
    let ours = office.issuer();
    // Known to say who it is: silence and other names are not taken, and a code of a right name is asked about.
    let asked = office.tokens().counts().await.0;
    let silent = come_back("").await;
    assert!(silent.contains("does not say which server it is from"), "{silent}");
    for other in ["https://evil.example", &format!("{ours}/"), ""] {
        let html = come_back(&format!("&iss={other}")).await;
        assert!(html.contains("The answer is from somebody else") && html.contains("`issuer`"), "{html}");
    }
    assert_eq!(office.tokens().counts().await.0, asked, "nobody was shown the code");
    let html = come_back(&format!("&iss={ours}")).await;
    assert!(html.contains("The provider gave no token"), "{html}");
    assert_eq!(office.tokens().counts().await.0, asked + 1);
    // Not known to: only a name of another host is not taken.
    office.set_application(json!({})).await;
    let html = come_back("&iss=https://evil.example").await;
    assert!(html.contains("The answer is from somebody else"), "{html}");
    assert_eq!(office.tokens().counts().await.0, asked + 1);
    for with in ["", &format!("&iss={ours}")] {
        let html = come_back(with).await;
        assert!(html.contains("The provider gave no token"), "{html}");
    }
    assert_eq!(office.installation.count("select count(*) from credentials").await, 0);
}

#[tokio::test]
async fn a_consent_to_less_than_was_asked_for_is_told_at_once() {
    let office = Office::open(|installation| installation).await;
    office.set_application(json!({"scopes": "openid offline_access mail send-mail"})).await;
    let anna = office.person("anna").await;
    let link = office.api.post(&format!("/mailboxes/{}/consent", anna.id), &json!({})).await.body;
    let url = link["url"].as_str().unwrap();
    let landed = browser::consent(url, office.mail.ca_pem(), &anna.address, &office.callback()).await;
    assert_eq!(landed.status, 400, "{landed:?}");
    assert!(landed.html.contains("without `send-mail`") && landed.html.contains("permit that"), "{landed:?}");
    assert_eq!(office.installation.count("select count(*) from credentials").await, 0);
    // As is said there: corrected, it is taken.
    office.set_application(json!({})).await;
    office.consent(&anna).await;
    office.api.enable(&anna).await;
}

#[tokio::test]
async fn a_refresh_token_rotates_at_each_renewal_and_the_old_one_is_never_shown_again() {
    let office = Office::open(|installation| installation).await;
    let anna = office.connected("anna").await;
    for round in 1..=4 {
        let granted = office.tokens().counts().await.1;
        office.installation.pass(Duration::from_secs(3600)).await;
        // Both workloads want a token at once.
        office.deliver(&anna, &format!("Round {round}"));
        let draft =
            json!({"from": anna.id, "to": [{"address": "x@nowhere.example"}], "subject": "x", "text": "x"});
        let email = office.api.post("/emails", &draft).await.id();
        office.api.sync(&anna, "incoming").await;
        office.api.send(&email, &["sent"]).await;
        office.received(&anna, round).await;
        assert_eq!(office.tokens().counts().await.1, granted + 1, "one renewal in round {round}");
    }
    assert_eq!(office.api.alerts("consent_needed").await.len(), 0);
    let rotations = "select count(*) from changes where fields ? 'refresh_token'";
    assert_eq!(office.installation.count(rotations).await, 4);
}

#[tokio::test]
async fn many_workers_that_want_one_token_ask_for_it_once() {
    let office = Office::open(|installation| installation.with("worker.slots", 20)).await;
    let second = office.installation.start("worker");
    office.use_own_tokens().await;
    let mut people = Vec::new();
    for number in 0..8 {
        let person = office.person(&format!("person{number}")).await;
        office.api.enable(&person).await;
        people.push(person);
    }
    let granted = office.tokens().counts().await;
    office.installation.pass(Duration::from_secs(3600)).await;
    office.tokens().delay(1000).await;
    for person in &people {
        office.deliver(person, "At once");
        office.api.sync(person, "incoming").await;
    }
    for person in &people {
        office.received(person, 1).await;
    }
    let asked = office.tokens().counts().await;
    assert_eq!((asked.0 - granted.0, asked.1 - granted.1), (1, 1), "asked and granted");
    drop(second);
}

#[tokio::test]
async fn a_withdrawn_consent_pauses_the_mailbox_until_somebody_consents_again() {
    let office = Office::open(|installation| installation).await;
    let anna = office.connected("anna").await;
    office.tokens().revoke(&anna.address).await;
    office.installation.pass(Duration::from_secs(3600)).await;
    office.deliver(&anna, "Later");
    office.api.sync(&anna, "incoming").await;
    let alerts = until("the alert is raised", async || {
        let alerts = office.api.alerts("consent_needed").await;
        if alerts.is_empty() { Err("there is none") } else { Ok(alerts) }
    })
    .await;
    assert!(alerts[0]["server_said"].as_str().unwrap().starts_with("invalid_grant"), "{alerts:#?}");
    assert!(alerts[0]["remedy"].as_str().unwrap().contains("lockstep mailbox consent"), "{alerts:#?}");
    office.scheduled(&anna, "due_reason", "consent_needed").await;
    for (column, value) in [("failures", "0"), ("refusals", "0"), ("due_at", "")] {
        office.scheduled(&anna, column, value).await;
    }
    assert_eq!(office.api.workload(&anna, "incoming").await["enabled"], true);
    // Wishing does not help, asks nobody, and counts up nothing.
    let asked = office.tokens().counts().await.0;
    office.api.sync(&anna, "incoming").await;
    until("the wish was answered", async || {
        let wished = office.column(&anna, "wished_at").await;
        if wished.is_empty() && office.column(&anna, "state").await == "idle" { Ok(()) } else { Err(wished) }
    })
    .await;
    assert_eq!(office.tokens().counts().await.0, asked);
    assert_eq!(office.api.alerts("consent_needed").await[0]["count"], 1);

    office.consent(&anna).await;
    office.received(&anna, 1).await;
    assert_eq!(office.api.alerts("consent_needed").await.len(), 0);
}

#[tokio::test]
async fn a_token_that_was_taken_back_is_renewed_before_it_counts_as_refused() {
    let office = Office::open(|installation| installation).await;
    let anna = office.connected("anna").await;
    let granted = office.tokens().counts().await.1;
    office.tokens().forget_access_tokens(&anna.address).await;
    office.deliver(&anna, "After");
    office.api.sync(&anna, "incoming").await;
    office.received(&anna, 1).await;
    assert_eq!(office.tokens().counts().await.1, granted + 1);
    office.scheduled(&anna, "refusals", "0").await;
}

#[tokio::test]
async fn a_token_server_that_is_away_disables_nobody() {
    let office = Office::open(|installation| installation).await;
    let anna = office.connected("anna").await;
    office.tokens().stop().await;
    office.installation.pass(Duration::from_secs(3600)).await;
    office.api.sync(&anna, "incoming").await;
    office.scheduled(&anna, "due_reason", "token_server_away").await;
    for (column, value) in [("failures", "0"), ("refusals", "0"), ("state", "idle")] {
        office.scheduled(&anna, column, value).await;
    }
    let alerts = office.api.alerts("token_server_away").await;
    assert_eq!(alerts.len(), 1, "{alerts:#?}");
    assert_eq!(office.api.workload(&anna, "incoming").await["enabled"], true);
}

#[tokio::test]
async fn a_refused_application_pauses_the_profile_until_its_secret_is_right() {
    let office = Office::open(|installation| installation).await;
    office.use_own_tokens().await;
    let anna = office.person("anna").await;
    office.api.enable(&anna).await;
    office.set_service_secret("not-the-secret-it-is").await;
    office.deliver(&anna, "Later");
    office.api.sync(&anna, "incoming").await;
    until("the profile is paused", async || {
        let profile = office.api.get(&format!("/profiles/{}", office.profile)).await;
        if profile["paused_reason"] == "token_refused" { Ok(()) } else { Err(format!("{profile:#}")) }
    })
    .await;
    let alerts = office.api.alerts("token_refused").await;
    assert!(alerts[0]["server_said"].as_str().unwrap().starts_with("invalid_client"), "{alerts:#?}");
    office.use_own_tokens().await;
    office.received(&anna, 1).await;
    assert_eq!(office.api.alerts("token_refused").await.len(), 0);
}

#[tokio::test]
async fn what_ends_on_a_known_day_is_told_of_once_at_each_threshold() {
    let office = Office::open(|installation| installation).await;
    office.use_own_tokens().await;
    let day = Duration::from_secs(86400);
    let expires = model::clock::now() + jiff::SignedDuration::from_hours(24 * 40);
    office.set_service(json!({"client_secret_expires_at": expires})).await;
    let told = async || office.api.alerts("credential_expires_soon").await;
    let counted = async |wanted: i64| {
        until(&format!("it is told of {wanted} times"), async || {
            let alerts = told().await;
            let count = alerts.first().map_or(0, |alert| alert["count"].as_i64().unwrap());
            if count == wanted { Ok(alerts) } else { Err(format!("{alerts:#?}")) }
        })
        .await
    };
    for (days, count) in [(12, 1), (22, 2), (5, 3)] {
        office.installation.pass(day * days).await;
        let alerts = counted(count).await;
        assert!(alerts[0]["happened"].as_str().unwrap().contains("client secret"), "{alerts:#?}");
    }
    // Whoever tests a mailbox is told as well.
    let anna = office.person("anna").await;
    let job = office.api.test(&anna).await;
    assert_eq!(job["state"], "succeeded", "{job:#}");
    let soon =
        job.to_string().matches("warning: The client secret of the profile or mailbox ends at").count();
    assert_eq!(soon, 1, "{job:#}");
    // A new one says that it is well again.
    office.use_own_tokens().await;
    assert_eq!(told().await.len(), 0);
    assert!(!office.api.test(&anna).await.to_string().contains("ends at"));
}
