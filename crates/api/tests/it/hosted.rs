//! What a host application does: it knows records by its own ids, says the same over and over, and tells in bulk whose an
//! address is.

use reqwest::Method;
use serde_json::{Value, json};

use crate::client::answer;
use crate::world::{id, new_profile, world};

const ACCOUNT: &str = "01989c5e-7d5e-7cc0-8000-00000000000a";
const PROJECT: &str = "01989c5e-7d5e-7cc0-8000-00000000000b";

fn items(list: &Value) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(id).collect()
}

#[tokio::test]
async fn a_record_is_found_by_the_hosts_id_its_name_and_its_address() {
    let world = world().await;
    let admin = &world.admin;
    let mut profile = new_profile("Other mail");
    profile["external_id"] = "host-1".into();
    let news = [
        ("users", json!({"name": "Eve", "address": "eve@example.com", "external_id": "host-1"})),
        ("queues", json!({"name": "Sales", "address": "sales@example.com", "external_id": "host-1"})),
        ("contacts", json!({"name": "Carla", "addresses": ["carla@example.org"], "external_id": "host-1"})),
        ("profiles", profile),
        (
            "mailboxes",
            json!({"name": "New", "address": "new@example.com", "profile": world.profile, "external_id": "host-1"}),
        ),
    ];
    for (noun, new) in news {
        let made = admin.post(noun, new.clone()).await.expect(201);
        let found =
            |query: String| async move { items(&admin.get(&format!("{noun}?{query}")).await.expect(200)) };
        assert_eq!(found("external_id=host-1".into()).await, [id(&made)], "{noun}");
        assert!(found("external_id=host-2".into()).await.is_empty(), "{noun}");
        let name = new["name"].as_str().unwrap().to_uppercase().replace(' ', "%20");
        assert_eq!(found(format!("name={name}")).await, [id(&made)], "{noun}");
        let address = new["address"].as_str().or(new["addresses"][0].as_str());
        if let Some(address) = address.filter(|_| noun != "profiles") {
            assert_eq!(found(format!("address={}", address.to_uppercase())).await, [id(&made)], "{noun}");
        }
        let mut clash = new.clone();
        clash["address"] = "another@example.com".into();
        clash["name"] = "Another".into();
        if matches!(noun, "contacts" | "profiles") {
            clash.as_object_mut().unwrap().remove("address");
        }
        let problem = admin.post(noun, clash).await.problem(409, "external_id");
        let told = problem["detail"].as_str().unwrap();
        assert!(told.contains(&id(&made)) && told.contains(new["name"].as_str().unwrap()), "{noun}: {told}");
    }
    let draft = world.ada.post("emails", json!({"external_id": "host-1"})).await.expect(201);
    assert_eq!(items(&world.ada.get("emails?external_id=host-1").await.expect(200)), [id(&draft)]);
    assert!(items(&world.bob.get("emails?external_id=host-1").await.expect(200)).is_empty());
    let clash = world.bob.post("emails", json!({"external_id": "host-1"})).await.problem(409, "external_id");
    assert!(!clash.to_string().contains(&id(&draft)), "Bob may not know of it: {clash}");
}

#[tokio::test]
async fn what_a_host_says_of_a_record_by_its_own_id_is_made_once_and_changed_after() {
    let world = world().await;
    let admin = &world.admin;
    for (noun, first, second) in [
        (
            "users",
            json!({"name": "Eve", "address": "eve@example.com", "role": "admin"}),
            json!({"name": "Eve Adams", "address": "eve@example.com"}),
        ),
        (
            "queues",
            json!({"name": "Sales", "address": "sales@example.com", "members": [world.ada_id]}),
            json!({"name": "Sales", "address": "verkauf@example.com"}),
        ),
        (
            "contacts",
            json!({"name": "Carla", "addresses": ["carla@example.org"]}),
            json!({"name": "Carla", "addresses": [], "owner": {"kind": "user", "id": world.ada_id}}),
        ),
    ] {
        let path = format!("{noun}/by-external-id/crm%2F42");
        let put = |body: &Value| answer(admin.request(Method::PUT, &path).json(body));
        let made = put(&first).await.expect(201);
        assert_eq!((&made["external_id"], &made["version"]), (&json!("crm/42"), &json!(1)), "{noun}");
        assert_eq!(put(&first).await.expect(200), made, "{noun}: the same again changes nothing");
        let changed = put(&second).await;
        assert_eq!(changed.headers["etag"], "\"2\"");
        let changed = changed.expect(200);
        assert_eq!(id(&changed), id(&made));
        for (field, value) in second.as_object().unwrap() {
            assert_eq!(&changed[field], value, "{noun}");
        }
        for kept in ["role", "members"] {
            assert_eq!(changed[kept], made[kept], "{noun}: what is left out stays");
        }
        let mut other = first.clone();
        other["external_id"] = "crm/43".into();
        assert_eq!(put(&other).await.status, 422, "{noun}");
    }
    // Many at once make one.
    let new = json!({"name": "Zoe", "address": "zoe@example.com"});
    let put = || answer(admin.request(Method::PUT, "users/by-external-id/zoe").json(&new));
    let answers = futures_util::future::join_all((0..8).map(|_| put())).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(answers.iter().all(|answer| answer.status.is_success()));
}

#[tokio::test]
async fn addresses_are_taken_in_bulk_for_registered_types_and_a_bad_row_holds_up_no_other() {
    let world = world().await;
    let admin = &world.admin;
    let row = |kind: &str, id: &str, address: &str| json!({"party_type": kind, "party_id": id, "address": address, "name": "Acme"});
    let load = |rows: Vec<Value>| admin.put("addresses", json!({"addresses": rows}));
    let refused = load(vec![
        row("project", PROJECT, "a@acme.example"),
        row("account", ACCOUNT, "b@acme.example"),
        row("account", ACCOUNT, "no address"),
        row("user", &world.ada_id, "c@acme.example"),
        json!({"party_type": "account", "party_id": ACCOUNT}),
    ])
    .await
    .expect(200);
    assert_eq!(refused["changed"], 1);
    let rows: Vec<_> = refused["rejected"].as_array().unwrap().iter().map(|row| row["row"].clone()).collect();
    assert_eq!(rows, [0, 2, 3, 4]);
    let unregistered = &refused["rejected"][0];
    assert!(unregistered["remedy"].as_str().unwrap().contains("/api/v1/record-types/"), "{unregistered}");
    let label = json!({"label": "Project", "plural": "Projects"});
    for wrong in ["user", "Project", &"x".repeat(51)] {
        admin.put(&format!("record-types/{wrong}"), label.clone()).await.problem(422, "name");
    }
    admin.put("record-types/project", label.clone()).await.expect(200);
    admin.put("record-types/project", label).await.expect(200);
    let types = world.ada.get("record-types").await.expect(200);
    let names: Vec<_> =
        types["items"].as_array().unwrap().iter().map(|known| known["name"].clone()).collect();
    assert_eq!(names, ["account", "lead", "project"]);

    // Mail that came before anybody knew the address shows whose it is from now on.
    let email = world.receive(&world.ada_box, 1).await;
    let party = async || {
        let email = world.ada.get(&format!("emails/{email}")).await.expect(200);
        let from = email["parties"].as_array().unwrap().iter().find(|party| party["role"] == "from").cloned();
        from.unwrap()["party"].clone()
    };
    assert_eq!(party().await, Value::Null);
    let carols = vec![row("project", PROJECT, "Carol@Sender.example")];
    assert_eq!(load(carols.clone()).await.expect(200)["changed"], 1);
    assert_eq!(load(carols).await.expect(200)["changed"], 0, "the same again changes nothing");
    assert_eq!(party().await, json!({"type": "project", "id": PROJECT}));
    admin.delete("record-types/project").await.problem(409, "name");

    // The address moves to an account, in one load.
    let mut away = row("project", PROJECT, "carol@sender.example");
    away["removed"] = true.into();
    let moved = load(vec![away, row("account", ACCOUNT, "carol@sender.example")]).await.expect(200);
    assert_eq!((&moved["changed"], &moved["removed"]), (&json!(1), &json!(1)));
    assert_eq!(party().await, json!({"type": "account", "id": ACCOUNT}));
    // Mail that came while it was known keeps the party it had.
    let later = world.receive(&world.ada_box, 2).await;
    let gone = json!({"party_type": "account", "party_id": ACCOUNT, "removed": true});
    assert_eq!(load(vec![gone]).await.expect(200)["removed"], 2);
    assert_eq!(party().await, Value::Null);
    let kept = world.ada.get(&format!("emails/{later}")).await.expect(200);
    assert!(kept["parties"].to_string().contains(ACCOUNT), "{kept}");
    admin.delete("record-types/project").await.expect(204);
    let many = vec![row("account", ACCOUNT, "x@acme.example"); 1001];
    load(many).await.problem(422, "addresses");
}

#[tokio::test]
async fn a_hundred_loads_of_a_thousand_addresses_leave_each_row_once() {
    let world = world().await;
    for load in 0..100 {
        let rows: Vec<_> = (0..1000)
            .map(|row| {
                json!({"party_type": "account", "party_id": uuid::Uuid::from_u128(load * 1000 + row),
                       "address": format!("a{row}@b{load}.example")})
            })
            .collect();
        let loaded = world.admin.put("addresses", json!({"addresses": rows})).await.expect(200);
        assert_eq!(loaded["changed"], 1000);
    }
    let owner = world.served.database.owner().await.unwrap();
    let count = owner.query_one("select count(*) from addresses where party_type = 'account'", &[]).await;
    assert_eq!(count.unwrap().get::<_, i64>(0), 100_000);
}

#[tokio::test]
async fn the_last_administrator_stays_one() {
    let world = world().await;
    let admin = &world.admin;
    let grace = admin.get("me").await.expect(200)["user"]["id"].as_str().unwrap().to_owned();
    let path = format!("users/{grace}");
    for change in [json!({"role": "user"}), json!({"active": false})] {
        let problem = admin.patch(&path, change).await.problem(409, "role");
        assert!(problem["remedy"].as_str().unwrap().contains("admin"), "{problem}");
    }
    let adas = format!("users/{}", world.ada_id);
    admin.patch(&adas, json!({"role": "admin"})).await.expect(200);
    let (one, other) = tokio::join!(
        admin.patch(&path, json!({"role": "user"})),
        world.ada.patch(&adas, json!({"active": false})),
    );
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "of two who leave at once one stays");
}

#[tokio::test]
async fn a_service_key_makes_no_key_that_may_do_more_than_itself() {
    let world = world().await;
    let scopes = json!({"name": "host", "scopes": ["administer", "read"]});
    let host = world.admin.post("keys", scopes).await.expect(201);
    let host = world.admin.with_key(host["key"].as_str());
    host.post("keys", json!({"name": "x", "scopes": ["read"]})).await.expect(201);
    host.post("keys", json!({"name": "x", "scopes": ["read", "read_bodies"]})).await.problem(403, "scopes");
    host.post("keys", json!({"name": "x", "user": world.ada_id})).await.problem(403, "user");
}

#[tokio::test]
async fn two_files_that_come_at_once_are_counted_together() {
    let world = world().await;
    world.admin.put("settings/max_message_mb", json!({"value": 1})).await.expect(200);
    let email = id(&world.ada.post("emails", json!({})).await.expect(201));
    let upload = |name: usize| {
        let path = format!("emails/{email}/attachments?name={name}");
        answer(world.ada.request(Method::POST, &path).body(vec![7_u8; 700_000]))
    };
    let answers = futures_util::future::join_all((0..4).map(upload)).await;
    let taken = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(taken, 1, "{:?}", answers.iter().map(|answer| &answer.text).collect::<Vec<_>>());
    for answer in answers.into_iter().filter(|answer| answer.status != 201) {
        let problem = answer.problem(413, "attachment");
        assert!(problem["detail"].as_str().unwrap().contains("max_message_mb"), "{problem}");
    }
    let body = world.ada.get(&format!("emails/{email}/body")).await.expect(200);
    assert_eq!(body["attachments"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn clients_that_say_nothing_are_let_go_and_those_who_wait_get_their_turn() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let config =
        crate::api::Config { max_connections: 2, header_timeout_seconds: 1, ..crate::world::config() };
    let served = crate::world::served(config, &[]).await;
    let address = served.nobody.base().trim_start_matches("http://").to_owned();
    let mut silent = tokio::net::TcpStream::connect(&address).await.unwrap();
    let mut slow = tokio::net::TcpStream::connect(&address).await.unwrap();
    slow.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Half").await.unwrap();
    // Both places are taken: this one is answered once they are free.
    served.nobody.get("/health").await.expect(200);
    for stream in [&mut silent, &mut slow] {
        let mut rest = Vec::new();
        // Closed by the server, whether it said so first or not.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    }
}

#[tokio::test]
async fn an_authority_that_cannot_vouch_for_anything_is_refused_when_it_is_set() {
    let world = world().await;
    let issued = |not_after: i32| {
        let mut parameters = rcgen::CertificateParams::new(vec!["mail.example.com".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(not_after, 1, 1);
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap().pem()
    };
    let (good, expired) = (issued(2999), issued(2020));
    let with = |pem: String| {
        let mut profile = new_profile("Private");
        profile["ca_certificate"] = pem.into();
        world.admin.post("profiles", profile)
    };
    let told = with(format!("{good}{expired}")).await.problem(422, "ca_certificate");
    assert!(
        told["detail"].as_str().unwrap().contains("number 2") && told["detail"].to_string().contains("2020")
    );
    let garbage = "-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n".to_owned();
    with(garbage).await.problem(422, "ca_certificate");
    with(format!("{good}{good}")).await.expect(201);
}
