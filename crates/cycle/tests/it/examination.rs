//! Asking what became of a mail, and having what was passed over examined again: on Dovecot.

use model::email::Decision;
use model::mailbox::Acceptance;
use model::workload::Workload;
use serde_json::json;
use store::email::Reader;
use store::item::{self, Asked, Counted, Extent, PassedOver};
use store::mailbox::{self, MailboxUpdate};
use store::setting;

use crate::house::{House, by, message};

impl House {
    async fn update(&self, id: model::id::MailboxId, update: MailboxUpdate) {
        let tenant = self.tenant().await;
        mailbox::update(&tenant, id, None, &update, &by()).await.unwrap();
        tenant.commit().await.unwrap();
    }

    async fn ask(&self, extent: Extent) -> Asked {
        let tenant = self.tenant().await;
        let asked = item::ask(&tenant, extent, None, &by()).await.unwrap();
        tenant.commit().await.unwrap();
        asked
    }

    async fn counted(&self, extent: Extent) -> Counted {
        item::count(&self.tenant().await, extent).await.unwrap()
    }
}

fn could(decision: Decision, could: i64, gone: i64) -> Vec<PassedOver> {
    vec![PassedOver { decision, could, gone }]
}

#[tokio::test]
async fn what_a_policy_refused_comes_in_when_it_is_examined_again_and_what_is_gone_is_said_to_be() {
    let house = House::build().await;
    let (user, id, address) = house.person("anna").await;
    house.update(id, MailboxUpdate { acceptance: Some(Acceptance::None), ..MailboxUpdate::default() }).await;
    for number in 0..3 {
        house.servers.deliver(&address, &message(number, &address));
    }
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(house.count("mailbox_items where decision = 'not_accepted'").await, 3);
    assert_eq!((house.count("emails").await, house.count("blobs").await), (0, 0));
    let extent = Extent::Mailbox(id);
    assert_eq!(house.counted(extent).await.decisions, [], "the policy would refuse them again");

    // One can ask why, by Message-ID, although nothing of it is stored.
    let tenant = house.tenant().await;
    let named = format!("1.{address}");
    let seen = item::by_message_id(&tenant, &named, Reader::User(user), None).await.unwrap();
    assert_eq!(seen.len(), 1);
    assert_eq!((seen[0].item.decision, seen[0].item.rule.as_str()), (Decision::NotAccepted, "none"));
    assert!(item::by_message_id(&tenant, "other@x", Reader::User(user), None).await.unwrap().is_empty());
    let search = item::search(&tenant, Reader::User(user), None).await.unwrap();
    assert!(search.mailboxes == 1 && search.looked[0].last_at.is_some());
    let stranger = Reader::User(model::clock::new_id());
    assert!(item::by_message_id(&tenant, &named, stranger, None).await.unwrap().is_empty());
    drop(tenant);

    house.update(id, MailboxUpdate { acceptance: Some(Acceptance::All), ..MailboxUpdate::default() }).await;
    let owner = house.database.owner().await.unwrap();
    owner
        .execute(
            "update mailbox_items set gone_at = now() where item_id = (select max(item_id) from mailbox_items)",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(house.counted(extent).await.decisions, could(Decision::NotAccepted, 2, 1));
    assert_eq!(house.ask(extent).await, Asked { items: 2, mailboxes: 1, off: 0 });
    assert_eq!(house.ask(extent).await, Asked::default(), "asking twice is as good as once");
    assert_eq!(house.counted(extent).await.waiting, 2);
    assert_eq!(house.count("changes where fields ? 're_examined'").await, 1);
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(house.count("emails").await, 2);
    assert_eq!(house.counted(extent).await.waiting, 0);
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(house.count("emails").await, 2);
}

#[tokio::test]
async fn a_floor_moved_back_and_a_raised_limit_let_in_what_they_kept_out() {
    let house = House::build().await;
    let (_, id, address) = house.person("bert").await;
    let owner = house.database.owner().await.unwrap();
    let floor = |text: &str| MailboxUpdate {
        process_email_received_after: Some(text.parse().unwrap()),
        ..MailboxUpdate::default()
    };
    house.update(id, floor("2026-11-20T12:00:00Z")).await;
    house.servers.deliver(&address, &message(1, &address));
    let young = String::from_utf8(message(2, &address)).unwrap().replace("10:00:00", "13:00:00");
    let large = format!("{young}{}", "0123456789012345678901234567890123456789\r\n".repeat(60_000));
    house.servers.deliver(&address, large.as_bytes());
    let tenant = house.tenant().await;
    setting::set(&tenant, "max_message_mb", None, Some(&json!(1)), &by()).await.unwrap();
    tenant.commit().await.unwrap();
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(house.count("mailbox_items where decision = 'before_the_floor'").await, 1);
    assert_eq!(house.count("mailbox_items where decision = 'too_large'").await, 1);
    assert_eq!(house.count("alerts where kind = 'message_too_large' and resolved_at is null").await, 1);
    assert_eq!(house.counted(Extent::Organization).await.decisions, []);

    house.update(id, floor("2026-11-20T09:00:00Z")).await;
    let profile = Extent::Profile(house.profile);
    assert_eq!(house.counted(profile).await.decisions, could(Decision::BeforeTheFloor, 1, 0));
    house.ask(profile).await;
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(house.count("emails").await, 1);

    let tenant = house.tenant().await;
    setting::set(&tenant, "max_message_mb", None, Some(&json!(10)), &by()).await.unwrap();
    tenant.commit().await.unwrap();
    assert_eq!(house.counted(Extent::Organization).await.decisions, could(Decision::TooLarge, 1, 0));
    house.ask(Extent::Organization).await;
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(house.count("emails").await, 2);
    assert_eq!(house.count("alerts where kind = 'message_too_large' and resolved_at is null").await, 0);

    // What was given up has five new tries.
    owner.execute("update mailbox_items set decision = 'undeliverable', attempts = 5", &[]).await.unwrap();
    assert_eq!(house.ask(Extent::Mailbox(id)).await.items, 2);
    house.cycle(id, Workload::Incoming).await;
    assert_eq!(house.count("mailbox_items where decision = 'duplicate' and attempts = 0").await, 2);
}
