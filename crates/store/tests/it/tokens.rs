//! Tokens and the secrets beside them: who may renew, what ends on a known day, what a copy of the database keeps, and the
//! keys that all of it is sealed with.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use model::alert::AlertKind;
use model::credential::GrantType;
use model::id::{CredentialId, InstallationId, MailboxId};
use model::secret::{ExposeSecret as _, Secret};
use store::alert::{self, Subject};
use store::credential::CredentialOwner;
use store::oauth::{self, ApplicationFields, Given, NewTokens};
use store::seal::KeyRing;
use store::testing::pass;
use store::{credential, installation, mailbox, profile};

use crate::support::{one, start};
use crate::world::{World, author, profile_fields, world};

const DAY: Duration = Duration::from_secs(86400);
const OLD: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "new:HxwdHhsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
const ENDS_SOON: AlertKind = AlertKind::CredentialExpiresSoon;

fn ring(lines: &[&str]) -> KeyRing {
    KeyRing::from_text(&lines.join("\n")).unwrap()
}

fn application() -> ApplicationFields {
    ApplicationFields {
        grant: GrantType::AuthorizationCode,
        authorize_url: Some("https://login.example.com/auth".into()),
        token_url: "https://login.example.com/token".into(),
        client_id: "lockstep".into(),
        scopes: "mail".into(),
        issuer: None,
        secret_expires_at: None,
    }
}

fn given(access: &str, refresh: Option<&str>, refresh_lasts: Option<Duration>) -> NewTokens {
    NewTokens {
        access: Secret::from(access),
        expires_in: Duration::from_secs(3600),
        refresh: refresh.map(Secret::from),
        refresh_expires_in: refresh_lasts,
    }
}

/// An application that Ada consented to, for so long.
async fn consented(world: &World, lasts: Option<Duration>) -> CredentialId {
    let tenant = world.tenant().await;
    let (ring, by) = (ring(&[OLD]), author());
    let secret = Secret::from("of the application");
    oauth::set(&tenant, &ring, world.profile, &application(), Some(&secret), &by).await.unwrap();
    let owner = CredentialOwner::Mailbox(world.ada_box);
    let tokens = given("first access", Some("first refresh"), lasts);
    let consent = Given { owner, username: "ada@example.com", tokens: &tokens };
    oauth::given(&tenant, &ring, &consent, &by).await.unwrap();
    tenant.commit().await.unwrap();
    credential_of(world, world.ada_box).await
}

async fn credential_of(world: &World, id: MailboxId) -> CredentialId {
    let tenant = world.tenant().await;
    credential::of(&tenant, CredentialOwner::Mailbox(id)).await.unwrap().unwrap().id
}

/// What the scheduler's look ahead does; how many alerts it raised or counted up.
async fn look_ahead(world: &World) -> usize {
    let expiring = world.store.in_ring(async |ring| oauth::expiring(ring, 90, 100).await).await.unwrap();
    let mut told = 0;
    for expiring in expiring {
        let tenant = world.store.tenant(expiring.organization).await.unwrap();
        told += usize::from(oauth::warn(&tenant, &expiring, 30).await.unwrap());
        tenant.commit().await.unwrap();
    }
    told
}

async fn is_told(world: &World, subject: Subject) -> bool {
    alert::is_open(&world.tenant().await, ENDS_SOON, subject).await.unwrap()
}

async fn renew(world: &World, id: CredentialId, new: &NewTokens) -> bool {
    let tenant = world.tenant().await;
    let ring = ring(&[OLD]);
    let tokens = oauth::tokens(&tenant, &ring, id).await.unwrap().unwrap();
    let renewed = oauth::renewed(&tenant, &ring, id, tokens.generation, new, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    renewed
}

async fn change(world: &World, statement: &str) {
    let changed = world.database.owner().await.unwrap().execute(statement, &[]).await.unwrap();
    assert_eq!(changed, 1, "{statement}");
}

#[tokio::test]
async fn each_thing_that_ends_soon_is_told_of_and_put_away_when_it_is_renewed() {
    let world = world().await;
    let id = consented(&world, None).await;
    assert_eq!(look_ahead(&world).await, 0, "nothing is known to end");
    let (profile, mailbox) = (Subject::Profile(world.profile), Subject::Mailbox(world.ada_box));

    for (table, column, subject) in [
        ("oauth_applications", "secret_expires_at", profile),
        ("oauth_tokens", "refresh_expires_at", mailbox),
        ("profiles", "ca_expires_at", profile),
    ] {
        change(&world, &format!("update {table} set {column} = now() + interval '31 days'")).await;
        assert_eq!(look_ahead(&world).await, 0, "{column} is far away");
        assert!(!is_told(&world, subject).await);
        // Once at each threshold: 30, 7 and 1 days ahead, however often it is looked at.
        for days in [29, 20, 8, 6, 2] {
            change(&world, &format!("update {table} set {column} = now() + interval '{days} days'")).await;
            let expected = usize::from(matches!(days, 29 | 6));
            assert_eq!(look_ahead(&world).await, expected, "{column} in {days} days");
            assert!(is_told(&world, subject).await);
        }
        change(&world, &format!("update {table} set {column} = now() + interval '1 hour'")).await;
        assert_eq!((look_ahead(&world).await, look_ahead(&world).await), (1, 0), "{column}");

        let tenant = world.tenant().await;
        match table {
            "oauth_applications" => {
                let secret = Secret::from("the next");
                let new = application();
                oauth::set(&tenant, &ring(&[OLD]), world.profile, &new, Some(&secret), &author())
                    .await
                    .unwrap();
                tenant.commit().await.unwrap();
            }
            "oauth_tokens" => {
                drop(tenant);
                assert!(renew(&world, id, &given("a", Some("r"), Some(DAY * 60))).await);
            }
            _ => {
                let mut fields = profile_fields("Mail");
                let next = rcgen::generate_simple_self_signed(vec!["mail.example.com".to_owned()]).unwrap();
                fields.ca_certificate = Some(next.cert.pem());
                profile::update(&tenant, world.profile, None, &fields, &author()).await.unwrap();
                tenant.commit().await.unwrap();
            }
        }
        assert!(!is_told(&world, subject).await, "{column} was renewed");
        assert_eq!(look_ahead(&world).await, 0, "{column} was renewed");
    }
}

#[tokio::test]
async fn a_renewal_that_does_not_move_the_end_of_a_consent_tells_nothing_anew() {
    let world = world().await;
    let subject = Subject::Mailbox(world.ada_box);
    let id = consented(&world, Some(DAY * 5)).await;
    assert_eq!(look_ahead(&world).await, 1);
    // A server that counts down to one fixed day: rotated each hour, told once.
    for round in 1..4 {
        pass(&world.database, Duration::from_secs(3600)).await.unwrap();
        let left = (DAY * 5).saturating_sub(Duration::from_secs(3600) * round);
        assert!(renew(&world, id, &given("a", Some("r"), Some(left))).await);
        assert_eq!(look_ahead(&world).await, 0);
        assert!(is_told(&world, subject).await, "it still ends on that day");
    }
    // One whose tokens live on from each renewal, although they are short: nothing ends.
    for _ in 0..3 {
        pass(&world.database, Duration::from_secs(3600)).await.unwrap();
        assert!(renew(&world, id, &given("a", Some("r"), Some(DAY * 5))).await);
        assert_eq!(look_ahead(&world).await, 0);
        assert!(!is_told(&world, subject).await);
    }
    // Renewed no more, it is told of after all.
    pass(&world.database, DAY * 4 + Duration::from_secs(3600)).await.unwrap();
    assert_eq!(look_ahead(&world).await, 1);
    // A password in its place ends nothing.
    let tenant = world.tenant().await;
    let password = Secret::from("password");
    mailbox::set_password(&tenant, &ring(&[OLD]), world.ada_box, "ada", &password, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    assert!(!is_told(&world, subject).await);
    assert_eq!(look_ahead(&world).await, 0);
}

#[tokio::test]
async fn one_holder_renews_and_an_answer_to_an_older_token_is_not_written() {
    let world = world().await;
    let id = consented(&world, None).await;
    let (ring, by) = (ring(&[OLD]), author());
    let take = async |generation| {
        let tenant = world.tenant().await;
        let turn = Duration::from_secs(60);
        let taken = oauth::take_turn(&tenant, id, generation, turn).await.unwrap();
        tenant.commit().await.unwrap();
        taken
    };
    let generation = oauth::tokens(&world.tenant().await, &ring, id).await.unwrap().unwrap().generation;
    assert!(take(generation).await);
    assert!(!take(generation).await, "somebody has it");
    // Whoever has it died.
    pass(&world.database, Duration::from_secs(61)).await.unwrap();
    assert!(take(generation).await, "a turn ends by itself");
    assert!(renew(&world, id, &given("second access", Some("second refresh"), None)).await);
    assert!(!take(generation).await, "it is renewed already");

    // The first comes back late, with what the server gave for a token that it has ended since.
    let late = given("late access", Some("late refresh"), None);
    let tenant = world.tenant().await;
    assert!(!oauth::renewed(&tenant, &ring, id, generation, &late, &by).await.unwrap());
    assert!(!oauth::needs_consent(&tenant, id, generation, "invalid_grant", &by).await.unwrap());
    let tokens = oauth::tokens(&tenant, &ring, id).await.unwrap().unwrap();
    assert_eq!(tokens.access.unwrap().expose_secret(), "second access");
    assert_eq!(tokens.refresh.unwrap().expose_secret(), "second refresh");
    assert!(!tokens.consent_needed);
    tenant.commit().await.unwrap();

    // No new refresh token: the present one stays.
    assert!(renew(&world, id, &given("third access", None, None)).await);
    let tokens = oauth::tokens(&world.tenant().await, &ring, id).await.unwrap().unwrap();
    assert_eq!(tokens.access.unwrap().expose_secret(), "third access");
    assert_eq!(tokens.refresh.unwrap().expose_secret(), "second refresh");
    // Expired, it is shown to nobody.
    pass(&world.database, Duration::from_secs(3600)).await.unwrap();
    let tokens = oauth::tokens(&world.tenant().await, &ring, id).await.unwrap().unwrap();
    assert!(tokens.access.is_none() && tokens.renew && tokens.refresh.is_some());
}

#[tokio::test]
async fn an_adopted_copy_has_no_token_and_no_link_of_the_original_and_keeps_its_passwords() {
    let world = world().await;
    let id = consented(&world, Some(DAY * 5)).await;
    let (ring, by) = (ring(&[OLD]), author());
    let tenant = world.tenant().await;
    let verifier = Secret::from("verifier");
    let owner = CredentialOwner::Mailbox(world.support_box);
    let redirect = "https://lockstep.example.com/oauth/callback";
    let asked = oauth::ask(&tenant, &ring, owner, None, redirect, &verifier, &by).await.unwrap();
    let password = Secret::from("password");
    mailbox::set_password(&tenant, &ring, world.bob_box, "bob@example.com", &password, &by).await.unwrap();
    tenant.commit().await.unwrap();
    let bobs = credential_of(&world, world.bob_box).await;

    let copy: InstallationId = model::clock::new_id();
    installation::adopt(&world.database.owner_url, "", copy).await.unwrap();
    let tenant = world.tenant().await;
    let tokens = oauth::tokens(&tenant, &ring, id).await.unwrap().unwrap();
    assert!(tokens.access.is_none() && tokens.refresh.is_none() && tokens.consent_needed);
    assert!(
        oauth::redeem(&tenant, &ring, &asked.state).await.unwrap().is_none(),
        "an open link leads nowhere"
    );
    let opened = credential::open(&tenant, &ring, bobs).await.unwrap().unwrap();
    assert_eq!(opened.secret.expose_secret(), "password");
    let application = oauth::opened(&tenant, &ring, world.profile).await.unwrap().unwrap();
    assert_eq!(application.secret.unwrap().expose_secret(), "of the application");
    drop(tenant);
    let sealed =
        "select count(*) from oauth_tokens where refresh_sealed is not null or access_sealed is not null";
    assert_eq!(world.count(sealed).await, 0);
    assert_eq!(look_ahead(&world).await, 0, "what is not here ends never");
}

#[tokio::test]
async fn an_installation_that_is_in_use_is_not_adopted() {
    let one = one().await;
    let claim = one.running().await;
    start(&one.store).await;
    let copy: InstallationId = model::clock::new_id();
    for refused in [
        installation::adoption(&one.database.owner_url, "", copy).await.map(drop).unwrap_err(),
        installation::adopt(&one.database.owner_url, "", copy).await.map(drop).unwrap_err(),
    ] {
        let installation::Refused::InUse { processes, before } = &refused else { panic!("{refused}") };
        assert_eq!((*processes, *before), (2, one.database.installation));
        assert!(refused.to_string().contains("Nothing was changed"), "{refused}");
    }
    installation::check(&one.store, one.database.installation).await.unwrap();
    one.finish(claim).await.unwrap();
    // Of a copy the original's processes are forgotten soon.
    pass(&one.database, Duration::from_secs(61)).await.unwrap();
    installation::adopt(&one.database.owner_url, "", copy).await.unwrap();
    assert!(installation::check(&one.store, one.database.installation).await.is_err());
}

#[tokio::test]
async fn a_rotation_of_keys_leaves_nothing_behind_while_others_read_and_renew() {
    let world = world().await;
    let id = consented(&world, None).await;
    let (before, both, alone) = (ring(&[OLD]), ring(&[NEW, OLD]), ring(&[NEW]));
    let by = author();
    let tenant = world.tenant().await;
    let password = Secret::from("password");
    mailbox::set_password(&tenant, &before, world.bob_box, "bob@example.com", &password, &by).await.unwrap();
    let owner = CredentialOwner::Mailbox(world.support_box);
    let redirect = "https://lockstep.example.com/oauth/callback";
    let verifier = Secret::from("verifier");
    let asked = oauth::ask(&tenant, &before, owner, None, redirect, &verifier, &by).await.unwrap();
    tenant.commit().await.unwrap();
    let bobs = credential_of(&world, world.bob_box).await;

    // Too early: the key's name and what to do are said, wherever a secret is asked for.
    let tenant = world.tenant().await;
    for error in [
        credential::open(&tenant, &alone, bobs).await.err().unwrap(),
        oauth::tokens(&tenant, &alone, id).await.err().unwrap(),
        oauth::opened(&tenant, &alone, world.profile).await.err().unwrap(),
    ] {
        let said = error.to_string();
        assert!(said.contains("`old`") && said.contains("put that key back"), "{said}");
    }
    drop(tenant);

    // Somebody writes a secret while it is rotated: what is locked is passed over, and counted as left.
    let writing = world.tenant().await;
    mailbox::set_password(&writing, &before, world.bob_box, "bob@example.com", &password, &by).await.unwrap();
    let tenant = world.tenant().await;
    assert_eq!(credential::reseal(&tenant, &both, 100).await.unwrap(), 4);
    assert_eq!(credential::to_reseal(&tenant, &both).await.unwrap(), 1, "Bob's is being written");
    drop(tenant);
    writing.commit().await.unwrap();

    let done = AtomicBool::new(false);
    let read = async {
        let mut reads = 0_u32;
        while !done.load(Ordering::Relaxed) || reads < 20 {
            let tenant = world.tenant().await;
            let tokens = oauth::tokens(&tenant, &both, id).await.unwrap().unwrap();
            assert!(tokens.refresh.unwrap().expose_secret().ends_with("refresh"));
            let opened = credential::open(&tenant, &both, bobs).await.unwrap().unwrap();
            assert_eq!(opened.secret.expose_secret(), "password");
            reads += 1;
        }
    };
    let renewing = async {
        for _ in 0..20 {
            let tenant = world.tenant().await;
            let tokens = oauth::tokens(&tenant, &both, id).await.unwrap().unwrap();
            let new = given("next access", Some("next refresh"), None);
            assert!(oauth::renewed(&tenant, &both, id, tokens.generation, &new, &by).await.unwrap());
            tenant.commit().await.unwrap();
        }
    };
    let rotate = async {
        loop {
            let tenant = world.tenant().await;
            credential::reseal(&tenant, &both, 1).await.unwrap();
            let left = credential::to_reseal(&tenant, &both).await.unwrap();
            tenant.commit().await.unwrap();
            if left == 0 {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(read, renewing, rotate);

    let tenant = world.tenant().await;
    assert_eq!(credential::to_reseal(&tenant, &alone).await.unwrap(), 0);
    let tokens = oauth::tokens(&tenant, &alone, id).await.unwrap().unwrap();
    assert!(tokens.access.is_some() && tokens.refresh.is_some());
    assert!(credential::open(&tenant, &alone, bobs).await.unwrap().is_some());
    assert!(oauth::opened(&tenant, &alone, world.profile).await.unwrap().unwrap().secret.is_some());
    let redeemed = oauth::redeem(&tenant, &alone, &asked.state).await.unwrap().unwrap();
    assert_eq!(redeemed.verifier.expose_secret(), "verifier");
}
