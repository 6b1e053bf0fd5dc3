//! People, profiles, keys, settings, alerts: what is refused, what is written down, who sees what.

use std::time::Duration;

use model::actor::Scope;
use model::alert::AlertKind;
use model::mailbox::{Owner, Role};
use serde_json::json;
use store::alert::{self, AlertFilter, AlertReader, NewAlert, Subject};
use store::contact::{self, ContactUpdate, NewContact};
use store::key::{self, KeyOwner};
use store::queue::{self, QueueUpdate};
use store::user::{self, NewUser, UserUpdate};
use store::{Called, Error, Refusal, Result, address, change, organization, profile, setting, testing};

use crate::support::{database, in_ring};
use crate::world::{author, profile_fields, world};

fn refusal<T>(result: Result<T>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        Err(other) => panic!("failed instead of being refused: {other}"),
        Ok(_) => panic!("was not refused"),
    }
}

#[tokio::test]
async fn an_organization_is_made_by_its_own_tenant_and_has_a_name_of_its_own() {
    let database = database().await;
    let tenant = database.store.tenant(model::clock::new_id()).await.unwrap();
    let id = organization::create(&tenant, "Engines").await.unwrap();
    assert_eq!(organization::get(&tenant).await.unwrap().unwrap().id, id);
    tenant.commit().await.unwrap();
    let other = database.store.tenant(model::clock::new_id()).await.unwrap();
    let taken = refusal(organization::create(&other, "Engines").await);
    assert_eq!(taken, Refusal::Taken { what: "organization", field: "name" });
    assert!(organization::get(&other).await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_read_in_a_snapshot_is_of_one_moment() {
    let world = world().await;
    let snapshot = world.store.snapshot(world.organization).await.unwrap();
    let name = async |tenant: &store::Tenant| user::get(tenant, world.ada).await.unwrap().unwrap().name;
    assert_eq!(name(&snapshot).await, "ada");
    let tenant = world.tenant().await;
    let update = UserUpdate { name: Some("Ada L.".into()), ..UserUpdate::default() };
    user::update(&tenant, world.ada, Some(1), &update, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    assert_eq!(name(&snapshot).await, "ada", "an answer's second statement belongs to its first");
    assert_eq!(name(&world.tenant().await).await, "Ada L.");
}

#[tokio::test]
async fn a_change_of_a_user_is_written_down_with_old_and_new_and_only_by_who_read_the_last_version() {
    let world = world().await;
    let tenant = world.tenant().await;
    let by = author();
    let update = UserUpdate { name: Some("Ada L.".into()), role: Some(Role::Admin), ..UserUpdate::default() };
    let changed = user::update(&tenant, world.ada, Some(1), &update, &by).await.unwrap();
    assert_eq!((changed.name.as_str(), changed.role, changed.version), ("Ada L.", Role::Admin, 2));
    assert_eq!(
        user::update(&tenant, world.ada, Some(2), &update, &by).await.unwrap().version,
        2,
        "nothing changed"
    );
    let stale = refusal(user::update(&tenant, world.ada, Some(1), &update, &by).await);
    assert_eq!(stale, Refusal::Changed { what: "user", expected: 1, present: 2 });
    let log = change::of(&tenant, "user", world.ada.0, 0, 10).await.unwrap();
    assert_eq!(log.len(), 2);
    let expected = json!({"name": {"old": "ada", "new": "Ada L."}, "role": {"old": "user", "new": "admin"}});
    assert_eq!(log[1].fields, expected);
    assert_eq!((log[1].actor_kind.as_str(), log[1].cause.as_str(), log[1].version), ("operator", "test", 2));
    assert_eq!(user::list(&tenant, &Called::default(), None, 10).await.unwrap().len(), 2);
    assert_eq!(user::list(&tenant, &Called::default(), Some(world.ada), 10).await.unwrap().len(), 1);
    let twin = NewUser {
        name: "Twin".into(),
        address: "ADA@example.com".parse().unwrap(),
        role: Role::User,
        external_id: None,
    };
    assert_eq!(refusal(user::create(&tenant, &twin, &by).await).field(), Some("address"));
}

#[tokio::test]
async fn an_address_resolves_to_a_user_before_a_contact_and_to_nobody_who_left() {
    let world = world().await;
    let tenant = world.tenant().await;
    let by = author();
    let both = NewContact {
        name: "Bob at home".into(),
        addresses: vec!["bob.private@example.com".parse().unwrap(), "home@bob.example".parse().unwrap()],
        owner: Some(Owner::User(world.ada)),
        external_id: None,
    };
    let contact = contact::create(&tenant, &both, &by).await.unwrap();
    let rows = ["account", "contact", "lead", "zebra"].map(|party_type| address::PartyAddress {
        address: "Shared@Example.com".into(),
        party_type: party_type.into(),
        party_id: model::clock::new_id(),
        name: party_type.into(),
    });
    assert_eq!(address::upsert(&tenant, &rows).await.unwrap(), 4);
    assert_eq!(address::upsert(&tenant, &rows).await.unwrap(), 0, "loading again changes nothing");
    let asked = ["bob@example.com", "home@bob.example", "shared@example.com", "nobody@example.com"]
        .map(str::to_owned);
    let found = address::resolve(&tenant, &asked).await.unwrap();
    let kinds: Vec<_> =
        found.iter().map(|found| (found.address.as_str(), found.party_type.as_str())).collect();
    assert_eq!(
        kinds,
        [("bob@example.com", "user"), ("home@bob.example", "contact"), ("shared@example.com", "contact")]
    );

    let gone = UserUpdate { active: Some(false), ..UserUpdate::default() };
    user::update(&tenant, world.bob, None, &gone, &by).await.unwrap();
    assert_eq!(address::resolve(&tenant, &asked[..1]).await.unwrap().len(), 0);
    let fewer = ContactUpdate {
        addresses: Some(vec!["bob.private@example.com".parse().unwrap()]),
        name: None,
        owner: None,
    };
    assert_eq!(contact::update(&tenant, contact.id, Some(1), &fewer, &by).await.unwrap().addresses.len(), 1);
    assert_eq!(address::resolve(&tenant, &asked[1..2]).await.unwrap().len(), 0);
    contact::delete(&tenant, contact.id, Some(2), &by).await.unwrap();
    assert!(contact::get(&tenant, contact.id).await.unwrap().is_none());
    assert!(contact::list(&tenant, &Called::default(), None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_queues_members_are_users_of_the_organization() {
    let world = world().await;
    let tenant = world.tenant().await;
    let by = author();
    let both = QueueUpdate { members: Some(vec![world.bob, world.ada, world.bob]), ..QueueUpdate::default() };
    assert_eq!(queue::update(&tenant, world.support, Some(1), &both, &by).await.unwrap().members.len(), 2);
    let one = QueueUpdate { members: Some(vec![world.bob]), ..QueueUpdate::default() };
    assert_eq!(queue::update(&tenant, world.support, Some(2), &one, &by).await.unwrap().members, [world.bob]);
    assert_eq!(queue::list(&tenant, &Called::default(), None, 10).await.unwrap().len(), 1);
    let ghost = QueueUpdate { members: Some(vec![model::clock::new_id()]), ..QueueUpdate::default() };
    let refused = refusal(queue::update(&tenant, world.support, None, &ghost, &by).await);
    assert_eq!(refused, Refusal::Unknown { what: "user", field: "members" });
}

#[tokio::test]
async fn a_key_is_shown_once_and_says_who_calls_until_it_is_revoked() {
    let world = world().await;
    let tenant = world.tenant().await;
    let by = author();
    let (ada_id, ada_key) = key::create(&tenant, "laptop", &KeyOwner::User(world.ada), &by).await.unwrap();
    let scopes = vec![Scope::Read, Scope::Send];
    let (_, service) = key::create(&tenant, "host", &KeyOwner::Service(scopes.clone()), &by).await.unwrap();
    let (_, bob_key) = key::create(&tenant, "phone", &KeyOwner::User(world.bob), &by).await.unwrap();
    let unknown = tenant
        .attempt(async |tenant| key::create(tenant, "x", &KeyOwner::User(model::clock::new_id()), &by).await)
        .await;
    assert_eq!(refusal(unknown), Refusal::Unknown { what: "user", field: "user" });
    let gone = UserUpdate { active: Some(false), ..UserUpdate::default() };
    user::update(&tenant, world.bob, None, &gone, &by).await.unwrap();
    tenant.commit().await.unwrap();
    let who = async |secret| {
        in_ring(&world.store, async |ring| key::authenticate(ring, key::hash(secret)).await).await
    };
    let ada = who(&ada_key).await.unwrap();
    assert_eq!((ada.organization, ada.user), (world.organization, Some((world.ada, Role::User))));
    let service = who(&service).await.unwrap();
    assert_eq!((service.user, service.scopes), (None, scopes));
    assert!(who(&bob_key).await.is_none(), "whose user is not active");

    let tenant = world.tenant().await;
    key::revoke(&tenant, ada_id, &by).await.unwrap();
    key::revoke(&tenant, ada_id, &by).await.unwrap();
    assert_eq!(key::list(&tenant).await.unwrap().iter().filter(|key| key.revoked_at.is_some()).count(), 1);
    tenant.commit().await.unwrap();
    assert!(who(&ada_key).await.is_none());
}

#[tokio::test]
async fn a_profile_in_use_stays_and_a_bad_field_is_named() {
    let world = world().await;
    let tenant = world.tenant().await;
    let by = author();
    let used = refusal(profile::delete(&tenant, world.profile, None, &by).await);
    assert_eq!(used, Refusal::ProfileInUse { name: "Mail".into(), mailboxes: 3 });
    let spoiled = |spoil: fn(&mut profile::ProfileFields)| {
        let mut fields = profile_fields("Other");
        spoil(&mut fields);
        fields
    };
    for (fields, field) in [
        (spoiled(|fields| fields.name = String::new()), "name"),
        (spoiled(|fields| fields.description = "x".repeat(2001)), "description"),
        (spoiled(|fields| fields.incoming.host = "pop3://mail".into()), "incoming.host"),
        (spoiled(|fields| fields.outgoing.host = String::new()), "outgoing.host"),
        (spoiled(|fields| fields.outgoing.port = 0), "outgoing.port"),
        (spoiled(|fields| fields.limits.max_connections = 0), "max_connections"),
        (spoiled(|fields| fields.limits.max_in_flight = 70_000), "max_in_flight"),
        (spoiled(|fields| fields.min_polling_minutes = 1441), "min_polling_minutes"),
        (
            spoiled(|fields| fields.connect_timeout = std::time::Duration::from_secs(101)),
            "connect_timeout_ms",
        ),
        (spoiled(|fields| fields.ca_certificate = Some("not PEM".into())), "ca_certificate"),
    ] {
        assert_eq!(refusal(profile::create(&tenant, &fields, &by).await).field(), Some(field));
    }
    let twin =
        tenant.attempt(async |tenant| profile::create(tenant, &profile_fields("Mail"), &by).await).await;
    assert_eq!(refusal(twin), Refusal::Taken { what: "profile", field: "name" });
    let unused = profile::create(&tenant, &profile_fields("Other"), &by).await.unwrap();
    assert_eq!(unused.fields, profile_fields("Other"));
    assert_eq!(profile::list(&tenant, &Called::default(), None, 10).await.unwrap().len(), 2);
    profile::delete(&tenant, unused.id, Some(1), &by).await.unwrap();
    assert!(profile::get(&tenant, unused.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_setting_has_its_default_until_somebody_sets_it_within_its_range() {
    let world = world().await;
    let tenant = world.tenant().await;
    let by = author();
    let unset = setting::get(&tenant, "max_message_mb").await.unwrap();
    assert!(unset.value == json!(25) && !unset.is_set);
    let set = setting::set(&tenant, "max_message_mb", None, Some(&json!(40)), &by).await.unwrap();
    assert!(set.value == json!(40) && set.is_set);
    let refused = refusal(setting::set(&tenant, "max_message_mb", None, Some(&json!(0)), &by).await);
    assert!(refused.to_string().contains("from 1 to 150"), "{refused}");
    assert_eq!(refusal(setting::get(&tenant, "nothing").await).field(), Some("name"));
    assert!(!setting::set(&tenant, "max_message_mb", None, None, &by).await.unwrap().is_set);
    assert_eq!(setting::list(&tenant).await.unwrap().len(), model::setting::SETTINGS.len());
    let log = change::of(&tenant, "setting", world.organization.0, 0, 10).await.unwrap();
    let values: Vec<_> = log.iter().map(|entry| entry.fields["max_message_mb"]["new"].clone()).collect();
    assert_eq!(values, [json!(40), json!(25)]);
}

#[tokio::test]
async fn a_repeated_alert_counts_up_and_each_reader_sees_the_own() {
    let world = world().await;
    let tenant = world.tenant().await;
    let alert = |kind, subject| NewAlert {
        kind,
        subject,
        detail: "incoming".into(),
        parameters: json!({"endpoint": "pop3://mail.example.com:995"}),
        server_said: Some("-ERR no".into()),
    };
    let bobs = alert(AlertKind::CredentialsRefused, Subject::Mailbox(world.bob_box));
    let (id, new) = alert::raise(&tenant, &bobs).await.unwrap();
    assert!(new);
    assert_eq!(alert::raise(&tenant, &bobs).await.unwrap(), (id, false));
    alert::raise(&tenant, &alert(AlertKind::MailboxLocked, Subject::Mailbox(world.support_box)))
        .await
        .unwrap();
    alert::raise(&tenant, &alert(AlertKind::ConnectionRefused, Subject::Profile(world.profile)))
        .await
        .unwrap();
    let list = async |reader| alert::list(&tenant, reader, &AlertFilter::default(), None, 10).await.unwrap();
    let kinds = async |reader| list(reader).await.iter().map(|alert| alert.kind).collect::<Vec<_>>();
    assert_eq!(list(AlertReader::Everything).await.len(), 3);
    assert_eq!(list(AlertReader::Everything).await[2].count, 2);
    let (ada, bob) = (AlertReader::User(world.ada), AlertReader::User(world.bob));
    assert_eq!(
        kinds(ada).await,
        [AlertKind::ConnectionRefused, AlertKind::MailboxLocked],
        "her queue's and her server's"
    );
    assert_eq!(kinds(bob).await, [AlertKind::ConnectionRefused, AlertKind::CredentialsRefused]);

    let hidden = refusal(alert::dismiss(&tenant, id, ada, &author()).await);
    assert_eq!(hidden, Refusal::Unknown { what: "alert", field: "id" });
    alert::dismiss(&tenant, id, bob, &author()).await.unwrap();
    let works = [AlertKind::ConnectionRefused, AlertKind::ConnectionLost];
    assert_eq!(alert::resolve(&tenant, &works, Subject::Profile(world.profile), None).await.unwrap(), 1);
    assert_eq!(kinds(bob).await, []);
    let (again, new) = alert::raise(&tenant, &bobs).await.unwrap();
    assert!(new && again != id, "what was put away and comes again is a new alert");
    let closed = AlertFilter { closed_too: true, ..AlertFilter::default() };
    assert_eq!(alert::list(&tenant, AlertReader::Everything, &closed, None, 10).await.unwrap().len(), 4);
}

#[tokio::test]
async fn an_answer_is_kept_with_its_effect_or_not_at_all_and_for_its_time() {
    use store::idempotency::{Answer, Kept, Once, enter, find, forget, keep};
    let world = world().await;
    let once = |principal: &str| Once { principal: principal.into(), key: "key".into() };
    let kept = |status| {
        let answer = Answer { status, etag: Some("\"1\"".into()), body: Some("{\"id\": 7}".into()) };
        Kept { request: [1; 32], answer }
    };
    let day = Duration::from_secs(86_400);
    let first = world.tenant().await;
    assert!(enter(&first, &once("ada")).await.unwrap());
    let second = world.tenant().await;
    assert!(!enter(&second, &once("ada")).await.unwrap(), "the first is under way");
    assert!(enter(&second, &once("bob")).await.unwrap(), "another's key of the same name");
    keep(&first, &once("ada"), &kept(201), day).await.unwrap();
    drop(first);
    assert!(find(&second, &once("ada")).await.unwrap().is_none(), "it did not come to its end");
    while !enter(&second, &once("ada")).await.unwrap() {}
    keep(&second, &once("ada"), &kept(202), day).await.unwrap();
    second.commit().await.unwrap();
    let tenant = world.tenant().await;
    assert!(find(&tenant, &once("ada")).await.unwrap() == Some(kept(202)));
    assert!(find(&tenant, &once("bob")).await.unwrap().is_none());
    tenant.commit().await.unwrap();
    let forgotten = async || world.database.store.in_ring(async |ring| forget(ring, 10).await).await.unwrap();
    assert_eq!(forgotten().await, 0);
    testing::pass(&world.database, day + Duration::from_secs(1)).await.unwrap();
    let tenant = world.tenant().await;
    assert!(find(&tenant, &once("ada")).await.unwrap().is_none());
    assert_eq!(forgotten().await, 1);
}
