//! Jobs by the clock and one after the other, in processes of their own.

use lockstep_tests::{Installation, MailProfile, command, until};
use serde_json::{Value, json};

use crate::house::House;

/// Runs a command as an administrator, and gives its document or what it said.
async fn run(file: &std::path::Path, arguments: &[&str]) -> Result<Value, String> {
    let output = command(arguments, file).arg("--json").output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        return Err(format!("{}{}", text(&output.stdout), text(&output.stderr)));
    }
    Ok(serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test]
async fn a_cron_schedule_makes_up_once_for_what_it_missed_and_jobs_run_one_after_the_other() {
    let mut installation = Installation::new().await;
    installation.configuration.set("jobs.retry_seconds", 1);
    let mut api = installation.start("api");
    installation.ready(&mut api).await;
    let profile = MailProfile::of(&installation.servers.mail);
    let house = House::furnish(installation, &profile).await;
    let me = house.api.get("/me").await;
    let key = house.api.post("/keys", &json!({"name": "cli", "user": me["user"]["id"]})).await;
    let url = house.installation.url();
    let configuration = house.installation.configuration.clone().with("client.url", url);
    let file = house.installation.file("cli.toml");
    configuration.with("client.key", key.body["key"].as_str().unwrap()).write(&file);
    let create =
        ["schedule", "create", "often", "key_rotation", "--cron", "*/5 * * * *", "--zone", "Europe/Berlin"];
    let often = run(&file, &create).await.unwrap();
    let start = async |kind: &str, more: &[&str]| {
        let mut arguments = vec!["job", "start", kind];
        arguments.extend(more);
        run(&file, &arguments).await.unwrap()["id"].as_str().unwrap().to_owned()
    };
    let first = start("key_rotation", &[]).await;
    let second = start("clean_up", &["--after", &first]).await;
    // Nobody has a mailbox: there is nothing to test.
    let fails = start("test_profile", &["--profile", &house.profile]).await;
    let never = start("clean_up", &["--after", &fails]).await;
    let nor = start("clean_up", &["--after", &never]).await;
    // What a later version may have written, and this one cannot read: a fault of ours, at each of two tries.
    let broken = start("clean_up", &[]).await;
    let broken_one = format!("update jobs set cursor = '7', max_attempts = 2 where id = '{broken}'");
    house.installation.execute(&broken_one).await;
    let ended = async |job: &str| {
        until("the job ends", async || {
            let job = house.api.get(&format!("/jobs/{job}")).await;
            if job["ended_at"].is_null() { Err(job.to_string()) } else { Ok(job) }
        })
        .await
    };

    // Three hours during which nothing ran, then two schedulers at once.
    let missed = "update job_schedules set due_at = now() - interval '3 hours' where name = 'often'";
    house.installation.execute(missed).await;
    let _rest = ["scheduler", "scheduler", "jobs"].map(|role| house.installation.start(role));
    let (first, second) = (ended(&first).await, ended(&second).await);
    assert_eq!((&first["state"], &second["state"]), (&json!("succeeded"), &json!("succeeded")), "{second:#}");
    let at = |job: &Value| job["ended_at"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(at(&first) < at(&second));
    let (fails, never, nor) = (ended(&fails).await, ended(&never).await, ended(&nor).await);
    assert_eq!(fails["result"]["error"], "the profile has no mailbox");
    for job in [never, nor] {
        assert_eq!(job["result"]["error"], "the job that this one waited for failed", "{job:#}");
        assert_eq!((&job["state"], &job["attempts"]), (&json!("failed"), &json!(0)));
    }

    let broken = ended(&broken).await;
    assert_eq!((&broken["state"], &broken["attempts"]), (&json!("failed"), &json!(2)), "{broken:#}");
    assert!(broken["result"]["error"].as_str().unwrap().contains("jobs.cursor"), "{broken:#}");

    let of_schedule = format!("/jobs?schedule={}", often["id"].as_str().unwrap());
    let asked = until("the schedule's job succeeds", async || {
        let jobs = house.api.get(&of_schedule).await["items"].clone();
        if jobs[0]["state"] == "succeeded" { Ok(jobs) } else { Err(jobs.to_string()) }
    })
    .await;
    assert_eq!(asked.as_array().unwrap().len(), 1, "{asked:#}");
    let shown = run(&file, &["schedule", "show", "often"]).await.unwrap();
    assert_eq!(shown["last_job"], asked[0]["id"]);
    let next: jiff::Timestamp = shown["next_at"].as_str().unwrap().parse().unwrap();
    assert!(next > model::clock::now() && next.as_second() % 300 == 0, "{next}");
    let retried = run(&file, &["job", "retry", fails["id"].as_str().unwrap(), "--wait"]).await;
    assert!(retried.unwrap_err().contains("the profile has no mailbox"));
    run(&file, &["schedule", "pause", "often"]).await.unwrap();
    run(&file, &["schedule", "delete", "often"]).await.unwrap();
    assert!(run(&file, &["schedule", "show", "often"]).await.unwrap_err().contains("no schedule called"));
}
