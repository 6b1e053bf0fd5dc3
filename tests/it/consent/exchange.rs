//! An Exchange server that takes tokens alone: the application gets one by itself and acts in each mailbox's name.

use ::exchange::{Exchange, Offer, Options};
use lockstep_tests::{MailProfile, until};
use serde_json::json;

use super::office::Office;
use crate::house::message;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_mailbox_is_read_and_sent_from_with_a_token_of_the_application() {
    let options = Options { offers: vec![Offer::Bearer], ..Options::default() };
    let server = Exchange::start(options).await;
    server.add_account("service", "never said");
    server.allow_impersonation("service");
    let mut office = Office::open(|installation| installation).await;
    // Two servers, two authorities: the profile trusts both.
    let profile = MailProfile::of_json(json!({
        "name": "exchange",
        "credentials_on": "profile",
        "exchange": {"url": server.url()},
        "ca_certificate": format!("{}{}", server.ca_pem(), office.mail.ca_pem()),
    }));
    office.profile = office.api.profile(&profile).await;
    office.set_service(json!({})).await;
    let anna = office.person("anna").await;
    server.add_mailbox(&anna.address, "Anna", "never said either");

    // The server does not know the token yet: nobody may have guessed it.
    let job = office.api.test(&anna).await;
    assert_eq!(job["state"], "failed", "{job:#}");
    let tokens = office.tokens_now().await;
    assert_eq!(tokens.len(), 1, "an application alone is given no refresh token");
    server.set_token("service", &tokens[0], true);
    office.api.enable(&anna).await;

    let arrives = message("sender@elsewhere.example", &anna.address, "By a token", 0);
    server.deliver(&anna.address, arrives.as_bytes());
    office.api.sync(&anna, "incoming").await;
    office.received(&anna, 1).await;
    let draft =
        json!({"from": anna.id, "to": [{"address": anna.address}], "subject": "Out", "text": "Hello."});
    let email = office.api.post("/emails", &draft).await.id();
    office.api.send(&email, &["sent"]).await;
    until("the copy lies in the mailbox's own Sent Items", async || {
        match server.folder(&anna.address, "sentitems").len() {
            1 => Ok(()),
            some => Err(format!("{some} do")),
        }
    })
    .await;
    office.no_secret_is_told(&[]).await;
}
