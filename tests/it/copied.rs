//! A copy of a production database: nothing runs on it until it is adopted, and then nothing by itself.

use lockstep_tests::{Api, MailProfile, Process, free_port, until};
use model::secret::ExposeSecret as _;
use serde_json::json;
use servers::CountingProxy;
use uuid::Uuid;

use crate::house::House;

#[tokio::test]
async fn a_copied_database_does_nothing_until_it_is_adopted_and_then_nothing_by_itself() {
    let installation = lockstep_tests::Installation::new().await;
    let mut process = installation.start_all().await;
    let mail = &installation.servers.mail;
    let pop3 = CountingProxy::start(format!("127.0.0.1:{}", mail.pop3_port)).await;
    let smtp = CountingProxy::start(format!("127.0.0.1:{}", mail.submission_port)).await;
    let profile = MailProfile::of(mail).incoming("localhost", pop3.port(), "start_tls").outgoing(
        "localhost",
        smtp.port(),
        "start_tls",
    );
    let mut house = House::furnish(installation, &profile).await;
    let anna = house.enabled("anna").await;
    house.deliver(&anna, "Before the copy", 500);
    house.api.sync(&anna, "incoming").await;
    house.received(&anna, 1).await;
    let letter = house.draft(&anna, &house.address("bert"), "For later").await;
    let later = json!({"not_before": "2099-01-01T00:00:00Z"});
    house.api.service().await.post(&format!("/emails/{letter}/send"), &later).await;

    // `createdb -T` takes nobody working on the original.
    assert!(process.terminate().await.success());
    let copy = house.installation.database.copy().await.expect("a copy");
    let original = house.installation.configuration.clone();
    let virtual_host = model::clock::new_id::<Uuid>().simple().to_string();
    house.installation.servers.rabbitmq.create_vhost(&virtual_host).await;
    let coordinator = format!("127.0.0.1:{}", free_port());
    let copied = original
        .clone()
        .with("installation.id", model::clock::new_id::<Uuid>().to_string())
        .with("database.url", copy.url.expose_secret())
        .with("migration.url", copy.owner_url.expose_secret())
        .with("broker.url", house.installation.servers.rabbitmq.amqp_uri(&virtual_host))
        .with("coordinator.listen", coordinator.as_str())
        .with("coordinator.key_prefix", virtual_host.as_str())
        .with("throttle.urls", vec![format!("http://{coordinator}")])
        .with("api.listen", format!("127.0.0.1:{}", free_port()));
    let connections = || (pop3.total(), smtp.total());
    let before = connections();

    for role in ["scheduler", "worker", "jobs", "api", "scheduler,coordinator,worker,jobs,api"] {
        let mut refused = house.installation.start_with(role, &copied);
        let ended = refused.ended().await;
        assert!(!ended.success(), "{role} runs on a copy");
        assert!(refused.log().contains("lockstep adopt"), "{role}: {}", refused.log());
    }
    house.installation.configuration = copied.clone();
    let created =
        house.installation.run(&["organization", "create", "Other", "--admin", "a@b.example"]).await;
    assert!(!created.status.success(), "nor does a command");
    let migrated = house.installation.run(&["migrate"]).await;
    assert!(String::from_utf8_lossy(&migrated.stderr).contains("lockstep adopt"));
    assert_eq!(connections(), before, "no connection to a mail server");

    let sql = copy.owner().await.expect("a session of the copy's owner");
    let one = async |statement: &str| -> String {
        sql.query_one(statement, &[]).await.expect(statement).get::<_, Option<String>>(0).unwrap_or_default()
    };
    assert_eq!(one("select string_agg(distinct state, ' ') from emails").await, "pending_send received");
    let asked = house.installation.run(&["adopt"]).await;
    assert!(!asked.status.success(), "without anybody to ask it does nothing");
    assert!(String::from_utf8_lossy(&asked.stdout).contains("1 mailboxes are switched off"), "{asked:?}");
    // The sessions of the original's processes were ended in good order, so that nobody seems to work on it.
    let adopted = house.installation.run(&["adopt", "--yes"]).await;
    assert!(adopted.status.success(), "{adopted:?}");
    let again = house.installation.run(&["adopt", "--yes"]).await;
    assert!(again.status.success() && String::from_utf8_lossy(&again.stdout).contains("nothing to do"));
    assert_eq!(one("select string_agg(distinct state, ' ') from emails").await, "draft received");
    let change = "select fields ->> 'installation' from changes where record_type = 'installation'";
    assert!(one(change).await.contains("old"), "it is written down");

    // Both run beside each other: the original goes on, the copy waits for a person.
    let mut second = house.installation.start_with("scheduler,coordinator,worker,jobs,api", &copied);
    house.installation.ready(&mut second).await;
    let copy_api = Api::new(&house.installation.url(), house.api.key(), &house.api.organization);
    house.installation.configuration = original;
    let mut first: Process = house.installation.start_all().await;
    house.deliver(&anna, "After the copy", 500);
    house.api.sync(&anna, "incoming").await;
    // The copy took every session of the original's database with it.
    let sql = house.installation.database.owner().await.expect("a session of the original's owner");
    until("the original goes on", async || {
        let row = sql.query_one("select count(*) from receipts", &[]).await.expect("a count");
        if row.get::<_, i64>(0) == 2 { Ok(()) } else { Err("it does not") }
    })
    .await;
    let shown = house.api.get(&format!("/emails/{letter}")).await;
    assert_eq!(shown["state"], "pending_send", "the original still sends it when it is time");
    for workload in ["incoming", "outgoing"] {
        let shown = copy_api.workload(&anna, workload).await;
        assert_eq!(
            (&shown["enabled"], &shown["schedule"]["due_at"]),
            (&json!(false), &json!(null)),
            "{shown:#}"
        );
    }
    let refused = copy_api
        .ask(
            reqwest::Method::POST,
            &format!("/mailboxes/{}/workloads/incoming/sync", anna.id),
            Some(&json!({})),
        )
        .await;
    assert_eq!(refused.status, 409, "{:#}", refused.body);
    assert_eq!(one("select count(*)::text from receipts").await, "1");
    // A person wakes it: it is tested, and then it has its own mail.
    copy_api.enable(&anna).await;
    copy_api.sync(&anna, "incoming").await;
    until("the copy reads by itself", async || {
        let found = one("select count(*)::text from receipts").await;
        if found == "2" { Ok(()) } else { Err(found) }
    })
    .await;
    assert!(first.terminate().await.success() && second.terminate().await.success());
}
