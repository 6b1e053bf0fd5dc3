//! A colleague whose mailbox lies on an Exchange server: read and sent from beside the POP3 ones, by one account that may
//! impersonate everybody. What is shown is held against what lies on that server.

use std::time::{Duration, Instant};

use ::exchange::{Exchange, Options};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::checks::Checks;
use super::corpus::Corpus;
use super::office::Office;
use super::screen::Screen;
use crate::{Api, MailProfile, within};

/// Messages that lie in the inbox; one of them is an invitation, which appointments take care of.
const MESSAGES: usize = 120;
const LIMIT: Duration = Duration::from_secs(60);
const ACCOUNT: &str = "lockstep-service";

/// Runs the act. The server lives for as long as the value.
pub(super) async fn act(
    office: &Office,
    sql: &Client,
    screen: &Screen,
    checks: &mut Checks,
) -> Result<Exchange, String> {
    let step = screen.step("Exchange", "starting a server, with one account that may impersonate everybody");
    let server = Exchange::start(Options::default()).await;
    let secret = model::clock::new_id::<Uuid>().to_string();
    server.add_account(ACCOUNT, &secret);
    server.allow_impersonation(ACCOUNT);
    let [eva, finn] = ["eva", "finn"].map(|name| format!("{name}@exchange.{}", Corpus::domain()));
    for (address, name) in [(&eva, "Eva Lind"), (&finn, "Finn Berg")] {
        server.add_mailbox(address, name, "nobody signs in with it");
    }
    let begun = model::clock::now();
    for number in 0..MESSAGES {
        let received = begun - SignedDuration::from_mins(i64::try_from(MESSAGES - number).unwrap_or(0));
        let id = server.put(&eva, "inbox", &message(number, &eva, received), received, false);
        if number == 7 {
            server.set_class(&id, "IPM.Schedule.Meeting.Request");
        }
    }

    let api = &office.admin;
    let profile = json!({
        "name": "Nordwind Exchange",
        "credentials_on": "profile",
        "exchange": {"url": server.url(), "access": "impersonation"},
        "ca_certificate": server.ca_pem(),
    });
    let profile = api.profile(&MailProfile::of_json(profile)).await;
    let credential = json!({"username": ACCOUNT, "password": secret});
    api.put(&format!("/profiles/{profile}/credential"), &credential).await;
    let (id, user) = mailbox(api, &profile, &eva, "Eva Lind", begun).await;
    step.awaits("testing and enabling the mailbox");
    let job = api.post(&format!("/mailboxes/{id}/test"), &json!({})).await.body["jobs"][0]["job"].clone();
    let path = format!("/jobs/{}", job.as_str().unwrap_or_default());
    let ended = within(LIMIT, async || {
        let job = api.get(&path).await;
        match job["state"].as_str() {
            Some("waiting" | "queued" | "running") => Err("it runs".to_owned()),
            _ => Ok(job),
        }
    });
    let ended = ended.await?;
    if ended["state"] != "succeeded" {
        return Err(format!("the test of {eva} failed: {ended:#}"));
    }
    step.done("one account, impersonating; the mailbox is a mailbox and marked as ours");

    let step = screen.step("In", "reading what changed in the inbox");
    let started = Instant::now();
    let uuid: Uuid = id.parse().map_err(|_| "a mailbox without an id".to_owned())?;
    let decided = async |what: &str| -> Result<i64, String> {
        let statement = format!("select count(*) from mailbox_items where mailbox_id = $1 and {what}");
        let row = sql.query_one(&statement, &[&uuid]).await;
        row.map(|row| row.get(0)).map_err(|error| error.to_string())
    };
    api.post(&format!("/mailboxes/{id}/workloads/incoming/sync"), &json!({})).await;
    let all = i64::try_from(MESSAGES).unwrap_or(i64::MAX);
    let read = within(LIMIT, async || match decided("true").await? {
        some if some == all => Ok(()),
        some => Err(format!("{some} of {all} items are decided about")),
    });
    read.await?;
    let took = started.elapsed().as_secs_f64();
    checks.equal("Exchange: items on the server", &MESSAGES, &server.folder(&eva, "inbox").len());
    checks.equal("Exchange: recorded", &(all - 1), &decided("decision = 'recorded'").await?);
    checks.equal("Exchange: left to the calendar", &1, &decided("rule = 'meeting'").await?);
    let flags = server.folder(&eva, "inbox").iter().filter(|shown| shown.read).count();
    checks.equal("Exchange: read flags that were touched", &0, &flags);
    step.done(&format!(
        "{MESSAGES} items in {took:.2} s, an invitation left to the calendar; nothing there was touched"
    ));

    let step = screen.step("Out", "sending from Drafts");
    let letter = json!({
        "from": id,
        "to": [{"address": finn}],
        "bcc": [{"address": eva}],
        "subject": "By way of Exchange",
        "text": "Hi Finn,\n\nlaid down in Drafts, then sent.\n\nEva",
    });
    let key = api.post("/keys", &json!({"name": "demo", "user": user})).await;
    let own = api.with_key(key.body["key"].as_str().unwrap_or_default());
    let email = own.post("/emails", &letter).await.id();
    let asked = Instant::now();
    own.post(&format!("/emails/{email}/send"), &json!({})).await;
    let path = format!("/emails/{email}");
    let sent = within(LIMIT, async || match own.get(&path).await["state"].as_str() {
        Some("sent") => Ok(()),
        other => Err(format!("the email is {other:?}")),
    });
    sent.await?;
    let took = asked.elapsed().as_secs_f64();
    let arrived = server.folder(&finn, "inbox");
    checks.equal("Exchange: in the recipient's inbox", &1, &arrived.len());
    checks.equal(
        "Exchange: Bcc that the recipient sees",
        &0,
        &arrived.iter().map(|shown| shown.bcc.len()).sum::<usize>(),
    );
    checks.equal("Exchange: in Sent Items", &1, &server.folder(&eva, "sentitems").len());
    checks.equal("Exchange: drafts left behind", &0, &server.folder(&eva, "drafts").len());
    checks.equal("Exchange: handed over", &1, &server.handed().len());
    step.done(&format!(
        "Send to Sent {took:.2} s; one copy with the recipient, one in Sent Items, no draft left"
    ));
    Ok(server)
}

async fn mailbox(api: &Api, profile: &str, address: &str, name: &str, floor: Timestamp) -> (String, String) {
    let user = api.post("/users", &json!({"name": name, "address": address})).await.id();
    let new = json!({
        "address": address,
        "owner": {"kind": "user", "id": user},
        "profile": profile,
        "acceptance": "all",
        "process_email_received_after": (floor - SignedDuration::from_hours(24)).to_string(),
    });
    let id = api.post("/mailboxes", &new).await.id();
    api.post(&format!("/mailboxes/{id}/approve"), &json!({})).await;
    (id, user)
}

fn message(number: usize, to: &str, received: Timestamp) -> Vec<u8> {
    let date = received.strftime("%a, %d %b %Y %H:%M:%S +0000");
    format!(
        "Message-ID: <{number}@harbour.example>\r\nDate: {date}\r\nFrom: Harbour office <office@harbour.example>\r\n\
         To: <{to}>\r\nSubject: Berth {number}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         The berth {number} is free from noon.\r\n"
    )
    .into_bytes()
}
