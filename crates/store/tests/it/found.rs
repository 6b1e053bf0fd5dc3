//! What autodiscover found: kept only while it holds, and its servers hold nobody back but who is there.

use std::time::Duration;

use model::endpoint::Protocol;
use model::id::{MailboxId, ProfileId};
use model::profile::{CredentialsOn, Exchange, ExchangeAccess, ProfileKind};
use model::secret::Secret;
use model::workload::Workload;
use store::mailbox::{MailboxForCycle, MailboxUpdate, Service};
use store::profile::{self, ProfileFields};
use store::seal::KeyRing;
use store::{Refusal, Tenant, health, mailbox};

use crate::outgoing::refusal;
use crate::world::{World, author, new_mailbox, profile_fields, world};

fn fields(name: &str) -> ProfileFields {
    ProfileFields {
        kind: ProfileKind::ExchangeEws,
        incoming: Exchange::unfound(),
        outgoing: Exchange::unfound(),
        exchange: Some(Exchange {
            path: None,
            access: ExchangeAccess::Own,
            start: None,
            hosts: vec!["mail.hoster.example".into()],
        }),
        ..profile_fields(name)
    }
}

fn service(host: &str) -> Service {
    Service {
        host: host.into(),
        port: 443,
        path: "/EWS/Exchange.asmx".into(),
        told_by: "autodiscover.example.com:443/autodiscover/autodiscover.svc".into(),
    }
}

async fn read(tenant: &Tenant, id: MailboxId) -> MailboxForCycle {
    mailbox::for_cycle(tenant, id, Workload::Incoming).await.unwrap().unwrap()
}

async fn keep(tenant: &Tenant, id: MailboxId, host: &str) -> bool {
    let mailbox = read(tenant, id).await;
    mailbox::keep_found(tenant, &mailbox, &service(host), &author()).await.unwrap()
}

async fn ida(world: &World) -> (Tenant, ProfileId, MailboxId) {
    let tenant = world.tenant().await;
    let profile = profile::create(&tenant, &fields("Found"), &author()).await.unwrap().id;
    let ida = mailbox::create(&tenant, &new_mailbox("ida", None, profile), &author()).await.unwrap().id;
    (tenant, profile, ida)
}

/// Does what no tenant may, between two transactions.
async fn then(world: &World, tenant: Tenant, statement: &str) -> Tenant {
    tenant.commit().await.unwrap();
    world.database.owner().await.unwrap().execute(statement, &[]).await.unwrap();
    world.tenant().await
}

#[tokio::test]
async fn a_mailbox_leads_to_what_was_found_until_something_says_otherwise() {
    let world = world().await;
    let (tenant, _, ida) = ida(&world).await;
    assert!(read(&tenant, ida).await.must_be_sought());
    assert!(keep(&tenant, ida, "one.example.com").await);
    let known = read(&tenant, ida).await;
    assert!(!known.must_be_sought());
    assert_eq!(known.endpoint().key(), "ews://one.example.com:443");
    assert_eq!(known.server.outgoing.protocol, Protocol::Ews);
    // In doubt it is looked for again, yet not at once after it was.
    mailbox::doubt_found(&tenant, ida).await.unwrap();
    assert!(!read(&tenant, ida).await.must_be_sought());
    let tenant =
        then(&world, tenant, "update found_services set asked_at = now() - interval '16 minutes'").await;
    assert!(read(&tenant, ida).await.must_be_sought());
    mailbox::asked_in_vain(&tenant, ida).await.unwrap();
    assert!(!read(&tenant, ida).await.must_be_sought());
    // Found elsewhere: written down once, and what was thought of the server that was left is forgotten.
    health::server_failed(&tenant, known.profile, known.endpoint(), Duration::from_secs(60)).await.unwrap();
    assert!(keep(&tenant, ida, "two.example.com").await && keep(&tenant, ida, "two.example.com").await);
    assert_eq!(health::breakers(&tenant, known.profile).await.unwrap(), []);
    let changes = "select count(*) from changes where fields ? 'web_service'";
    tenant.commit().await.unwrap();
    assert_eq!(world.count(changes).await, 2);
}

#[tokio::test]
async fn a_change_of_address_profile_or_credentials_forgets_what_was_found() {
    let world = world().await;
    let (tenant, profile, ida) = ida(&world).await;
    let key = format!("test:{}", "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=");
    let ring = KeyRing::from_text(&key).unwrap();
    let is_known = async |tenant: &Tenant| !read(tenant, ida).await.must_be_sought();
    keep(&tenant, ida, "one.example.com").await;
    mailbox::set_password(&tenant, &ring, ida, "ida", &Secret::from("new"), &author()).await.unwrap();
    assert!(!is_known(&tenant).await, "another password");
    keep(&tenant, ida, "one.example.com").await;
    let update =
        MailboxUpdate { address: Some("ida.rhodes@example.com".parse().unwrap()), ..Default::default() };
    mailbox::update(&tenant, ida, None, &update, &author()).await.unwrap();
    assert!(!is_known(&tenant).await, "another address");
    // One more host that may hear them changes nothing; one less forgets, as it may be the one.
    keep(&tenant, ida, "mail.hoster.example").await;
    let mut more = fields("Found");
    more.exchange.as_mut().unwrap().hosts.push(".other.example".into());
    profile::update(&tenant, profile, None, &more, &author()).await.unwrap();
    assert!(is_known(&tenant).await);
    let stale = read(&tenant, ida).await;
    let mut less = fields("Found");
    less.exchange.as_mut().unwrap().hosts.clear();
    profile::update(&tenant, profile, None, &less, &author()).await.unwrap();
    assert!(!is_known(&tenant).await, "a consent that was taken back");
    // Whoever searched with what was is too late.
    let late =
        mailbox::keep_found(&tenant, &stale, &service("mail.hoster.example"), &author()).await.unwrap();
    assert!(!late && !is_known(&tenant).await);
    let other = profile::create(&tenant, &fields("Other"), &author()).await.unwrap().id;
    keep(&tenant, ida, "one.example.com").await;
    let update = MailboxUpdate { profile: Some(other), ..MailboxUpdate::default() };
    mailbox::update(&tenant, ida, None, &update, &author()).await.unwrap();
    assert!(!is_known(&tenant).await, "another profile");
}

#[tokio::test]
async fn a_found_server_that_is_down_is_tried_by_one_when_its_pause_is_over() {
    let world = world().await;
    let (tenant, profile, ida) = ida(&world).await;
    keep(&tenant, ida, "one.example.com").await;
    let endpoint = read(&tenant, ida).await.endpoint().clone();
    let held = async |tenant: &Tenant| {
        health::held_back(tenant, profile, &endpoint, Duration::from_secs(60)).await.unwrap()
    };
    assert_eq!(held(&tenant).await, None);
    health::server_failed(&tenant, profile, &endpoint, Duration::from_secs(300)).await.unwrap();
    assert!(held(&tenant).await.is_some_and(|left| left > Duration::from_secs(200)));
    // The scheduler does not hold the profile's other mailboxes back for it.
    let over = "update endpoints set open_until = now() where protocol = 'ews_found'";
    let tenant = then(&world, tenant, over).await;
    assert_eq!(held(&tenant).await, None);
    assert!(held(&tenant).await.is_some(), "one tries, and the others wait for it");
    health::server_worked(&tenant, profile, &endpoint).await.unwrap();
    assert_eq!((held(&tenant).await, held(&tenant).await), (None, None));
}

#[tokio::test]
async fn what_does_not_fit_a_server_that_is_found_is_refused_with_the_field() {
    let world = world().await;
    let tenant = world.tenant().await;
    let with = |change: fn(&mut Exchange)| {
        let mut fields = fields("Found");
        change(fields.exchange.as_mut().unwrap());
        fields
    };
    for (fields, field) in [
        (with(|exchange| exchange.path = Some("/EWS".into())), "exchange.hosts"),
        (
            with(|exchange| {
                *exchange = Exchange::at("/EWS", ExchangeAccess::Own);
                exchange.start = Some("https://x.example/".into());
            }),
            "exchange.autodiscover_url",
        ),
        (with(|exchange| exchange.hosts = vec![".com".into()]), "exchange.hosts"),
        (with(|exchange| exchange.hosts = vec!["https://x.example".into()]), "exchange.hosts"),
        (with(|exchange| exchange.hosts = vec![String::new()]), "exchange.hosts"),
    ] {
        match refusal(profile::create(&tenant, &fields, &author()).await) {
            Refusal::Invalid { field: found, .. } => assert_eq!(found, field),
            other => panic!("{other}"),
        }
    }
    let fits = ProfileFields { limits: profile_fields("x").limits, ..fields("Fits") };
    assert_eq!(fits.limits.credentials_on, CredentialsOn::Mailbox);
    profile::create(&tenant, &fits, &author()).await.unwrap();
}
