//! What is forgotten after its time, and what stays.

use lockstep_tests::until;
use serde_json::json;

use crate::house::House;

#[tokio::test]
async fn an_item_that_is_long_gone_from_its_server_is_forgotten_and_its_record_stays() {
    let (house, _process) = House::whole().await;
    let anna = house.enabled("anna").await;
    for number in 0..3 {
        house.deliver(&anna, "kept", number);
    }
    house.api.sync(&anna, "incoming").await;
    house.received(&anna, 3).await;
    house
        .installation
        .execute(
            "update mailbox_items set gone_at = now() - case
                 when item_id = (select min(item_id) from mailbox_items) then interval '89 days'
                 else interval '91 days' end",
        )
        .await;
    // A closed alert, an open one and a job that are as old.
    let alerts = "insert into alerts (organization_id, id, kind, level, scope, class, sameness, mailbox_id, resolved_at)
                  select organization_id, gen_random_uuid(), 'mailbox_locked', 'error', 'mailbox', 'transient', closed::text, id,
                         case when closed then now() - interval '181 days' end
                  from mailboxes, unnest(array[true, false]) closed";
    house.installation.execute(alerts).await;
    house.installation.execute("update jobs set ended_at = now() - interval '31 days'").await;
    let fresh = house.api.post("/jobs", &json!({"kind": "key_rotation"})).await.id();
    // As the schedule asks for it at night.
    house.installation.execute("update job_schedules set due_at = now() where kind = 'clean_up'").await;
    let items = "select count(*) from mailbox_items";
    until("two items are forgotten", async || match house.installation.count(items).await {
        1 => Ok(()),
        others => Err(format!("{others} items")),
    })
    .await;
    assert_eq!(house.installation.count("select count(*) from emails").await, 3);
    let removed = until("the job ends", async || {
        let jobs = house.api.get("/jobs?kind=clean_up&state=succeeded").await["items"].clone();
        if jobs[0]["result"].is_null() {
            Err(jobs.to_string())
        } else {
            Ok(jobs[0]["result"]["removed"].clone())
        }
    })
    .await;
    assert_eq!((&removed["items"], &removed["alerts"], &removed["jobs"]), (&json!(2), &json!(1), &json!(1)));
    assert_eq!(house.installation.count("select count(*) from alerts").await, 1);
    assert_eq!(house.api.get(&format!("/jobs/{fresh}")).await["kind"], "key_rotation", "what is young stays");
}
