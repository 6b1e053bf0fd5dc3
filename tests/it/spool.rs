//! A worker that has no disk to put large messages on: they wait, whole, until it has one.

use lockstep_tests::{Installation, MailProfile, until};

use crate::house::House;

#[tokio::test]
async fn a_large_message_waits_for_a_disk_to_be_spooled_to_and_small_ones_do_not() {
    let installation = Installation::new().await.with("cycle.streamed_mb", 1);
    let mut others = installation.start("scheduler,coordinator,jobs,api");
    installation.ready(&mut others).await;
    let profile = MailProfile::of(&installation.servers.mail);
    let house = House::furnish(installation, &profile).await;
    let (anna, bert) = (house.enabled("anna").await, house.enabled("bert").await);
    // Where temporary files belong there is nothing: they cannot be written, as on a disk without room.
    let spool = house.installation.file("spool");
    let environment = [("TMPDIR".to_owned(), spool.display().to_string())];
    let _worker = house.installation.start_in("worker", &house.installation.configuration, &environment);
    house.deliver(&anna, "large", 3_000_000);
    house.deliver(&bert, "small", 0);
    for mailbox in [&anna, &bert] {
        house.api.sync(mailbox, "incoming").await;
    }
    house.scheduled(&anna, "incoming", "due_reason", "part_away").await;
    house.received(&bert, 1).await;
    // It counts against nobody, and the server has it still.
    assert_eq!(house.receipts(&anna).await, 0);
    for (column, value) in [("failures", "0"), ("refusals", "0"), ("state", "idle")] {
        house.scheduled(&anna, "incoming", column, value).await;
    }
    assert_eq!(house.api.workload(&anna, "incoming").await["enabled"], true);
    assert!(house.api.list("/alerts").await.is_empty(), "nothing that a person must do yet");
    let decided = "select count(*) from mailbox_items where decision in ('failed', 'too_large')";
    assert_eq!(house.installation.count(decided).await, 0);
    assert_eq!(house.installation.servers.mail.messages(&anna.address).len(), 1);

    std::fs::create_dir(&spool).unwrap();
    until("it is received by itself", async || {
        let back = "update schedules set due_at = now(), not_before = null
             where state = 'idle' and due_reason = 'part_away'";
        house.installation.execute(back).await;
        match house.receipts(&anna).await {
            1 => Ok(()),
            _ => Err(house.schedule(&anna, "incoming", "due_reason").await),
        }
    })
    .await;
    assert_eq!(house.installation.count("select count(*) from emails").await, 2);
    assert_eq!(std::fs::read_dir(&spool).unwrap().count(), 0, "nothing is left on the disk");
}
