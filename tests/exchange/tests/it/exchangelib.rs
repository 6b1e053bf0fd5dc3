//! exchangelib drives the simulator: a script a theme, each against a server of its own. What it expects and does not
//! get is a fault of the simulator.

use std::path::Path;
use std::process::Command;

use exchange::{Exchange, Offer, Options};

/// The private place that `tests/servers/setup.sh` fetches exchangelib to.
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.data/exchangelib/bin/python");
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/exchangelib");

/// A server with the people of the scripts.
async fn people() -> Exchange {
    let names = ["autodiscover.example.org", "autodiscover.other.example", "mail.example.org"];
    let exchange =
        Exchange::start(Options { names: names.map(str::to_owned).to_vec(), ..Options::default() }).await;
    exchange.add_mailbox("anna@example.org", "Anna Adams", "secret");
    exchange.add_mailbox("bert@example.org", "Bert Brown", "secret");
    exchange.add_mailbox("carla@example.org", "Carla Cole", "secret");
    exchange.add_alias("bert@example.org", "bertie@example.org");
    exchange.add_list("team@example.org", "The team", &["bert@example.org", "carla@example.org"]);
    exchange.add_contact("dora@example.net", "Dora Dale");
    exchange.add_account("service@example.org", "secret");
    exchange.allow_impersonation("service@example.org");
    exchange.add_account("other@example.org", "secret");
    exchange.set_delegate("bert@example.org", "anna@example.org", true);
    exchange.allow_send_on_behalf("bert@example.org", "anna@example.org");
    exchange
}

/// Runs a script to its end.
async fn run(exchange: &Exchange, script: &str) {
    assert!(Path::new(PYTHON).exists(), "exchangelib is missing: run `make setup`");
    let folder = std::env::temp_dir().join(format!("lockstep-exchange-{}", exchange.port));
    std::fs::create_dir_all(&folder).unwrap();
    let authority = folder.join("ca.pem");
    std::fs::write(&authority, exchange.ca_pem()).unwrap();
    let mut command = Command::new(PYTHON);
    command
        .arg("-B")
        .arg(format!("{SCRIPTS}/{script}.py"))
        .env("EXCHANGE_URL", exchange.url())
        .env("EXCHANGE_PORT", exchange.port.to_string())
        .env("REQUESTS_CA_BUNDLE", &authority)
        // Its cache of what autodiscover found stays with this run.
        .env("HOME", &folder)
        .env("XDG_DATA_HOME", &folder)
        .env("TMPDIR", &folder)
        .env_remove("HTTPS_PROXY")
        .env("NO_PROXY", "*");
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let _ = std::fs::remove_dir_all(&folder);
    assert!(
        output.status.success(),
        "{script}.py:\n{}\n{}\nlast requests: {:#?}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
        exchange.requests().iter().rev().take(2).collect::<Vec<_>>(),
    );
}

#[tokio::test]
async fn exchangelib_lists_folders_and_reads_mail() {
    let exchange = people().await;
    exchange.deliver(
        "anna@example.org",
        b"From: Carl Clark <carl@example.net>\r\nTo: anna@example.org\r\nMessage-ID: <first@example.net>\r\n\
          Date: Sun, 22 Nov 2026 10:00:00 +0100\r\nSubject: First\r\n\r\nHello Anna\r\n",
    );
    exchange.deliver(
        "anna@example.org",
        "From: carl@example.net\r\nTo: anna@example.org\r\nSubject: =?utf-8?Q?Zweite_Nachricht_=C3=A4?=\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\
         Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<p>Grüße</p>\r\n--b\r\n\
         Content-Type: text/plain\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\nfile content\r\n--b--\r\n"
            .as_bytes(),
    );
    exchange.deliver("anna@example.org", b"From: carl@example.net\r\nSubject: Third\r\n\r\n");
    run(&exchange, "read").await;
    assert!(exchange.count("GetItem") > 0 && exchange.count("FindFolder") > 0);
}

#[tokio::test]
async fn exchangelib_creates_finds_changes_moves_and_deletes_items() {
    run(&people().await, "items").await;
}

#[tokio::test]
async fn exchangelib_makes_renames_and_deletes_folders() {
    run(&people().await, "folders").await;
}

#[tokio::test]
async fn exchangelib_synchronizes_items_and_the_hierarchy() {
    let exchange = people().await;
    for number in 0..30 {
        let message = format!("From: carl@example.net\r\nSubject: Message {number:02}\r\n\r\n{number}\r\n");
        exchange.deliver("anna@example.org", message.as_bytes());
    }
    run(&exchange, "synchronization").await;
}

#[tokio::test]
async fn exchangelib_sends_answers_forwards_and_resolves_names() {
    let exchange = people().await;
    run(&exchange, "sending").await;
    let handed = exchange.handed();
    let kept = handed.iter().find(|one| one.recipients.contains(&"carla@example.org".to_owned())).unwrap();
    assert_eq!(kept.recipients, ["bert@example.org", "someone@example.net", "carla@example.org"]);
    assert!(!String::from_utf8_lossy(&kept.message).contains("carla"));
}

#[tokio::test]
async fn exchangelib_impersonates_and_opens_mailboxes_as_a_delegate() {
    let exchange = people().await;
    run(&exchange, "access").await;
    let requests = exchange.requests();
    assert!(requests.iter().any(|request| request.impersonated && request.anchor == "bert@example.org"));
}

#[tokio::test]
async fn exchangelib_signs_in_by_ntlm_once_for_a_connection() {
    let exchange = people().await;
    exchange.reconfigure(|options| options.offers = vec![Offer::Ntlm]);
    run(&exchange, "ntlm").await;
    let requests = exchange.requests();
    let refused = requests.iter().filter(|request| request.status == 401).count();
    let answered = requests.iter().filter(|request| request.status == 200).count();
    // Two refusals begin each connection; the requests that follow on it carry no proof of their own.
    assert!(refused >= 2 && answered > refused, "{refused} refused, {answered} answered");
}

#[tokio::test]
async fn exchangelib_writes_reads_and_finds_extended_properties() {
    run(&people().await, "properties").await;
}

#[tokio::test]
async fn exchangelib_attaches_files_and_items() {
    let exchange = people().await;
    exchange.deliver(
        "anna@example.org",
        b"From: carl@example.net\r\nSubject: Forwarded as a file\r\nMIME-Version: 1.0\r\n\
          Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee\r\n--b\r\n\
          Content-Type: message/rfc822\r\n\r\nMessage-ID: <original@example.net>\r\nSubject: The original\r\n\r\n\
          Text\r\n--b--\r\n",
    );
    run(&exchange, "attachments").await;
}

#[tokio::test]
async fn exchangelib_hears_what_happens_while_it_listens() {
    let exchange = people().await;
    run(&exchange, "streaming").await;
    assert_eq!(exchange.subscriptions(), 0, "each was ended");
}

#[tokio::test]
async fn exchangelib_finds_the_endpoint_by_autodiscover() {
    let exchange = people().await;
    exchange.redirect_address("moved@example.org", "bert@example.org");
    exchange.add_alias("anna@example.org", "elsewhere@other.example");
    exchange
        .redirect_url("elsewhere@other.example", "https://mail.example.org/autodiscover/autodiscover.svc");
    run(&exchange, "discovery").await;
}

#[tokio::test]
async fn exchangelib_keeps_appointments_series_and_meetings() {
    run(&people().await, "appointments").await;
}

#[tokio::test]
async fn exchangelib_keeps_contacts() {
    run(&people().await, "people").await;
}

#[tokio::test]
async fn exchangelib_keeps_tasks() {
    run(&people().await, "todo").await;
}
