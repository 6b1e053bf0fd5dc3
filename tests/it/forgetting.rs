//! What is forgotten after its time, and what stays.

use lockstep_tests::until;

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
    // As the schedule asks for it at night.
    house.installation.execute("update job_schedules set due_at = now() where kind = 'clean_up'").await;
    let items = "select count(*) from mailbox_items";
    until("two items are forgotten", async || match house.installation.count(items).await {
        1 => Ok(()),
        others => Err(format!("{others} items")),
    })
    .await;
    assert_eq!(house.installation.count("select count(*) from emails").await, 3);
}
