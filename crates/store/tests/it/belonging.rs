//! Rows that belong to another without a foreign key (decision 0041): none is left behind, whoever deletes what.

use store::incoming::{IncomingBatch, record};
use store::outgoing::{self, Draft};

use crate::world::{World, author, item, message, world};

/// A child, the columns that name its parent, and the parent. The organization is part of each.
const BELONGING: [(&str, &str, &str, &str); 9] = [
    ("email_copies", "email_id", "emails", "id"),
    ("email_parties", "email_id", "emails", "id"),
    ("receipts", "email_id", "emails", "id"),
    ("receipts", "copy_id", "email_copies", "id"),
    ("mailbox_items", "email_id", "emails", "id"),
    ("mailbox_items", "mailbox_id", "mailboxes", "id"),
    ("blob_chunks", "sha256", "blobs", "sha256"),
    ("emails", "organization_id", "organizations", "id"),
    ("changes", "organization_id", "organizations", "id"),
];

async fn orphans(world: &World) -> Vec<String> {
    let mut orphans = Vec::new();
    for (child, name, parent, key) in BELONGING {
        let organization = if parent == "organizations" { "id" } else { "organization_id" };
        let count = world
            .count(&format!(
                "select count(*) from {child} c where c.{name} is not null and not exists (
                     select from {parent} p where p.{organization} = c.organization_id and p.{key} = c.{name})"
            ))
            .await;
        if count > 0 {
            orphans.push(format!("{count} of {child} without their {parent}"));
        }
    }
    orphans
}

async fn received(world: &World) {
    let by = author();
    for mailbox in [world.ada_box, world.bob_box] {
        let items = (0..3)
            .map(|n| {
                item(
                    &format!("u{n}"),
                    message(n, &["ada@example.com", "bob@example.com"]),
                    &format!("raw {n}"),
                )
            })
            .collect();
        let batch = IncomingBatch {
            search_keys: &std::collections::HashMap::new(),
            mailbox,
            folder: "pop3://mail.example.com:995 ada@example.com",
            items,
            cursor: None,
            retry_after: std::time::Duration::from_secs(300),
            by: &by,
        };
        let tenant = world.tenant().await;
        record(&tenant, &batch).await.unwrap();
        tenant.commit().await.unwrap();
    }
}

#[tokio::test]
async fn what_belongs_to_a_deleted_row_goes_with_it() {
    let world = world().await;
    received(&world).await;
    let count = async |what: &str| world.count(&format!("select count(*) from {what}")).await;
    assert_eq!(orphans(&world).await, Vec::<String>::new());
    assert_eq!((count("receipts").await, count("mailbox_items").await), (6, 6));
    let owner = world.database.owner().await.unwrap();

    let one = "(select id from emails order by id limit 1)";
    assert_eq!(owner.execute(&format!("delete from emails where id = {one}"), &[]).await.unwrap(), 1);
    assert_eq!(orphans(&world).await, Vec::<String>::new());
    assert_eq!(
        (count("email_copies").await, count("email_parties").await, count("receipts").await),
        (2, 6, 4)
    );
    assert_eq!(count("mailbox_items where email_id is null").await, 2, "what was decided is still known");

    let one = "(select id from email_copies order by id limit 1)";
    owner.execute(&format!("delete from email_copies where id = {one}"), &[]).await.unwrap();
    assert_eq!(orphans(&world).await, Vec::<String>::new());
    assert_eq!((count("emails").await, count("receipts").await), (2, 2));

    let unused = "sha256 not in (select sha256 from attachments)
        and sha256 not in (select raw_sha256 from email_copies where raw_sha256 is not null)";
    let before = count("blob_chunks").await;
    let gone = owner.execute(&format!("delete from blobs where {unused}"), &[]).await.unwrap();
    assert_eq!(orphans(&world).await, Vec::<String>::new());
    assert_eq!((gone, count("blob_chunks").await), (2, before - 2));
    let used = owner.execute("delete from blobs", &[]).await.unwrap_err();
    assert_eq!(used.code().unwrap().code(), "23503", "a content that a copy names stays");
}

#[tokio::test]
async fn a_draft_that_a_tenant_deletes_takes_its_rows_along() {
    let world = world().await;
    let tenant = world.tenant().await;
    let draft = Draft {
        from: Some(world.ada_box),
        subject: "Plans".to_owned(),
        text: Some("Text".to_owned()),
        ..Draft::default()
    };
    let id = outgoing::create(&tenant, &draft, &[], None, &author()).await.unwrap();
    assert_eq!(orphans(&world).await, Vec::<String>::new());
    outgoing::delete(&tenant, id, None, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    assert_eq!(orphans(&world).await, Vec::<String>::new());
    for table in ["emails", "email_copies", "email_parties"] {
        assert_eq!(world.count(&format!("select count(*) from {table}")).await, 0, "{table}");
    }
}

#[tokio::test]
async fn an_organization_of_which_only_changes_are_left_is_refused_to_be_deleted() {
    let world = world().await;
    let owner = world.database.owner().await.unwrap();
    let bare: model::id::OrganizationId = model::clock::new_id();
    owner.execute("insert into organizations (id, name) values ($1, 'bare')", &[&bare.0]).await.unwrap();
    let insert = "insert into changes (organization_id, record_type, record_id, version, actor_kind, actor_id, cause, fields)
                  values ($1, 'setting', $1, 1, 'operator', '', 'test', '{}')";
    owner.execute(insert, &[&bare.0]).await.unwrap();
    let refused = owner.execute("delete from organizations where id = $1", &[&bare.0]).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "23503");
    owner.execute("delete from changes where organization_id = $1", &[&bare.0]).await.unwrap();
    assert_eq!(owner.execute("delete from organizations where id = $1", &[&bare.0]).await.unwrap(), 1);
}
