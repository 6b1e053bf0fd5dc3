//! The rules of mapping, and what must be true before anything is processed.

use std::time::Duration;

use model::alert::AlertKind;
use model::id::{MailboxId, ProfileId};
use model::mailbox::{Acceptance, Approval, Owner, TestResult};
use model::secret::{ExposeSecret as _, Secret};
use model::workload::Workload;
use store::mailbox::{self, Mailbox, MailboxUpdate, NewMailbox};
use store::seal::KeyRing;
use store::{Error, Refusal, Result, Tenant, credential, profile};

use crate::world::{World, author, enabled, new_mailbox, profile_fields, queue, user, world};

fn refusal<T>(result: Result<T>) -> Refusal {
    match result {
        Err(Error::Refused(refusal)) => refusal,
        Err(other) => panic!("failed instead of being refused: {other}"),
        Ok(_) => panic!("was not refused"),
    }
}

fn ring() -> KeyRing {
    KeyRing::from_text("only:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap()
}

async fn made(tenant: &Tenant, new: &NewMailbox) -> Result<Mailbox> {
    tenant.attempt(async |tenant| mailbox::create(tenant, new, &author()).await).await
}

async fn present(world: &World, id: MailboxId) -> Mailbox {
    mailbox::get(&world.tenant().await, id).await.unwrap().unwrap()
}

fn switched_on(mailbox: &Mailbox) -> Vec<Workload> {
    mailbox.workloads.iter().filter(|state| state.enabled).map(|state| state.workload).collect()
}

#[tokio::test]
async fn a_user_or_queue_has_at_most_one_mailbox() {
    let world = world().await;
    let tenant = world.tenant().await;
    for (owner, kind, name, mailbox) in [
        (Owner::User(world.ada), "user", "ada", world.ada_box),
        (Owner::Queue(world.support), "queue", "support", world.support_box),
    ] {
        let refused = refusal(made(&tenant, &new_mailbox("second", Some(owner), world.profile)).await);
        let mailbox_name = name.to_owned();
        assert_eq!(refused, Refusal::OwnerHasMailbox { kind, owner: name.into(), mailbox, mailbox_name });
        assert_eq!(refused.field(), Some("owner"));
    }
}

#[tokio::test]
async fn unknown_profiles_users_and_queues_are_named_as_the_field_they_stand_in() {
    let world = world().await;
    let tenant = world.tenant().await;
    let nowhere: ProfileId = model::clock::new_id();
    for (new, what, field) in [
        (new_mailbox("new", None, nowhere), "profile", "profile"),
        (new_mailbox("new", Some(Owner::User(model::clock::new_id())), world.profile), "user", "owner"),
        (new_mailbox("new", Some(Owner::Queue(model::clock::new_id())), world.profile), "queue", "owner"),
    ] {
        assert_eq!(refusal(made(&tenant, &new).await), Refusal::Unknown { what, field });
    }
    let keep = NewMailbox { delete_after_processing: true, ..new_mailbox("new", None, world.profile) };
    assert_eq!(refusal(made(&tenant, &keep).await).field(), Some("delete_after_processing"));
}

#[tokio::test]
async fn an_address_or_login_that_is_taken_names_the_mailbox_inside_the_organization() {
    let world = world().await;
    let tenant = world.tenant().await;
    let same_address = NewMailbox {
        address: "ADA@example.com".parse().unwrap(),
        ..new_mailbox("other", None, world.profile)
    };
    let same_login = NewMailbox {
        incoming_login: Some("Ada@Example.com".into()),
        ..new_mailbox("other", None, world.profile)
    };
    for (new, field) in [(same_address, "address"), (same_login, "incoming_login")] {
        let refused = refusal(made(&tenant, &new).await);
        let owner = Some("ada".to_owned());
        assert_eq!(
            refused,
            Refusal::MailboxTaken { field, mailbox: world.ada_box, name: "ada".into(), owner }
        );
        assert!(refused.to_string().contains("`ada` of ada"), "{refused}");
    }
}

#[tokio::test]
async fn a_clash_with_another_organization_is_refused_without_naming_it() {
    let world = world().await;
    let stranger = world.database.organization("stranger").await.unwrap();
    let tenant = world.store.tenant(stranger).await.unwrap();
    let profile = profile::create(&tenant, &profile_fields("Mail"), &author()).await.unwrap().id;
    let same_address = new_mailbox("ada", None, profile);
    let same_login =
        NewMailbox { incoming_login: Some("ADA@example.com".into()), ..new_mailbox("other", None, profile) };
    for (new, field) in [(same_address, "address"), (same_login, "incoming_login")] {
        let refused = refusal(made(&tenant, &new).await);
        assert_eq!(refused, Refusal::MailboxTakenElsewhere { field });
        let said = refused.to_string();
        assert!(!said.contains("Analytical") && !said.contains("ada"), "{said}");
    }
    // The transaction lives on, and so does what is free.
    assert!(made(&tenant, &new_mailbox("free", None, profile)).await.is_ok());
}

#[tokio::test]
async fn nothing_is_enabled_before_it_is_owned_approved_and_tested() {
    let world = world().await;
    let tenant = world.tenant().await;
    let by = author();
    let mut fresh = new_mailbox("fresh", None, world.profile);
    fresh.outgoing = model::mailbox::DeliveryMethod::None;
    let id = made(&tenant, &fresh).await.unwrap().id;
    let carol = user(&tenant, "carol").await;
    let on = async |workload| {
        tenant.attempt(async |tenant| mailbox::enable(tenant, id, workload, Duration::ZERO, &by).await).await
    };
    let said = async |workload| refusal(on(workload).await).to_string();
    assert!(said(Workload::Outgoing).await.contains("`none`"));
    assert!(said(Workload::Incoming).await.contains("nobody owns it"));
    mailbox::remap(&tenant, id, None, Some(Owner::User(carol)), None, &by).await.unwrap();
    assert!(said(Workload::Incoming).await.contains("not approved"));
    mailbox::set_approval(&tenant, id, None, Approval::Approved, &by).await.unwrap();
    assert!(said(Workload::Incoming).await.contains("test"));
    mailbox::record_test(&tenant, id, Workload::Incoming, TestResult::Failure, Some("-ERR no"), &by)
        .await
        .unwrap();
    assert!(said(Workload::Incoming).await.contains("test"));
    mailbox::record_test(&tenant, id, Workload::Incoming, TestResult::Success, Some("+OK"), &by)
        .await
        .unwrap();
    on(Workload::Incoming).await.unwrap();
    on(Workload::Incoming).await.unwrap();
    let mailbox = mailbox::get(&tenant, id).await.unwrap().unwrap();
    assert_eq!(switched_on(&mailbox), [Workload::Incoming]);
    assert!(mailbox.workloads[0].due_at.is_some() && mailbox.workloads[1].due_at.is_none());
    assert!(mailbox.first_enabled_at.is_some());
    assert_eq!(mailbox.process_email_received_after, mailbox.first_enabled_at, "only what comes from now on");
}

#[tokio::test]
async fn the_floor_is_what_an_administrator_said_and_the_later_of_the_two() {
    let world = world().await;
    let tenant = world.tenant().await;
    let old: jiff::Timestamp = "2001-01-01T00:00:00Z".parse().unwrap();
    let dora = user(&tenant, "dora").await;
    let new = NewMailbox {
        process_email_received_after: Some(old),
        ..new_mailbox("dora", Some(Owner::User(dora)), world.profile)
    };
    let id = made(&tenant, &new).await.unwrap().id;
    enabled(&tenant, id).await;
    let cycle = mailbox::for_cycle(&tenant, id, Workload::Incoming).await.unwrap().unwrap();
    assert_eq!(cycle.floor, Some(old));
    assert!(cycle.may_run());
    assert_eq!(cycle.acceptance, Acceptance::KnownSendersAndReplies);
    assert_eq!(cycle.endpoint().key(), "pop3://mail.example.com:995");
    assert_eq!(cycle.max_message_bytes, 25 * 1024 * 1024);

    let later: jiff::Timestamp = "2011-01-01T00:00:00Z".parse().unwrap();
    let mut fields = profile_fields("Mail");
    fields.process_email_received_after = Some(later);
    profile::update(&tenant, world.profile, Some(1), &fields, &author()).await.unwrap();
    let twenty = serde_json::json!(20);
    store::setting::set(&tenant, "max_message_mb", None, Some(&twenty), &author()).await.unwrap();
    let cycle = mailbox::for_cycle(&tenant, id, Workload::Outgoing).await.unwrap().unwrap();
    assert_eq!((cycle.floor, cycle.max_message_bytes), (Some(later), 20 * 1024 * 1024));
    assert!(cycle.may_run(), "a floor is not a place: nothing must be tested again");
    assert_eq!(cycle.endpoint().key(), "smtp://mail.example.com:465");
    assert_eq!(cycle.owner_name.as_deref(), Some("dora"));
}

#[tokio::test]
async fn a_profile_that_leads_elsewhere_stops_its_mailboxes_until_they_are_tested_again() {
    let world = world().await;
    let claims = "select sum(claim)::bigint from schedules";
    let before = world.count(claims).await;
    let tenant = world.tenant().await;
    let mut fields = profile_fields("Mail");
    fields.incoming.host = "new.example.com".into();
    profile::update(&tenant, world.profile, Some(1), &fields, &author()).await.unwrap();
    tenant.commit().await.unwrap();
    let mailbox = present(&world, world.ada_box).await;
    assert_eq!(switched_on(&mailbox), []);
    assert!(
        mailbox
            .workloads
            .iter()
            .all(|state| state.test_result == TestResult::NotRun && state.due_at.is_none())
    );
    assert_eq!(world.count(claims).await, before + 9, "every claim of the three mailboxes was raised");
    let moved = "select count(*) from mailboxes where incoming_endpoint = 'pop3://new.example.com:995'";
    assert_eq!(world.count(moved).await, 3);
}

#[tokio::test]
async fn an_address_that_changed_waits_for_approval_again() {
    let world = world().await;
    let tenant = world.tenant().await;
    let update =
        MailboxUpdate { address: Some("ada.l@example.com".parse().unwrap()), ..MailboxUpdate::default() };
    let version = present(&world, world.ada_box).await.version;
    let stale = refusal(mailbox::update(&tenant, world.ada_box, Some(version - 1), &update, &author()).await);
    assert!(matches!(stale, Refusal::Changed { .. }));
    let mailbox = mailbox::update(&tenant, world.ada_box, Some(version), &update, &author()).await.unwrap();
    assert_eq!((mailbox.approval, switched_on(&mailbox)), (Approval::Pending, vec![]));
    let taken =
        MailboxUpdate { address: Some("bob@example.com".parse().unwrap()), ..MailboxUpdate::default() };
    let refused = refusal(mailbox::update(&tenant, world.ada_box, None, &taken, &author()).await);
    assert!(matches!(refused, Refusal::MailboxTaken { field: "address", .. }), "{refused}");
}

#[tokio::test]
async fn a_rejected_mailbox_stops_and_lockstep_says_why_it_switched_one_off() {
    let world = world().await;
    let tenant = world.tenant().await;
    let by = author();
    let off = mailbox::disable(
        &tenant,
        world.bob_box,
        Workload::Incoming,
        Some(AlertKind::CredentialsRefused),
        &by,
    );
    assert!(off.await.unwrap());
    assert!(!mailbox::disable(&tenant, world.bob_box, Workload::Incoming, None, &by).await.unwrap());
    let bob = mailbox::get(&tenant, world.bob_box).await.unwrap().unwrap();
    assert_eq!(bob.workloads[0].disabled_by, Some(AlertKind::CredentialsRefused));
    assert_eq!(switched_on(&bob), [Workload::Outgoing]);
    let rejected =
        mailbox::set_approval(&tenant, world.ada_box, None, Approval::Rejected, &by).await.unwrap();
    assert_eq!(switched_on(&rejected), []);
}

#[tokio::test]
async fn a_mailbox_moves_only_with_its_owners_name_and_takes_nothing_along() {
    let world = world().await;
    let tenant = world.tenant().await;
    let by = author();
    mailbox::set_password(&tenant, &ring(), world.ada_box, "ada@example.com", &Secret::from("old"), &by)
        .await
        .unwrap();
    let sales = queue(&tenant, "sales", vec![]).await;
    let to = Some(Owner::Queue(sales));
    let refused = refusal(mailbox::remap(&tenant, world.ada_box, None, to, None, &by).await);
    assert_eq!(refused, Refusal::OwnerNotConfirmed { mailbox: "ada".into(), owner: "ada".into() });
    let wrong = Some(Owner::User(world.bob));
    assert_eq!(refusal(mailbox::remap(&tenant, world.ada_box, None, to, wrong, &by).await), refused);
    let busy = Some(Owner::User(world.bob));
    let confirmed = Some(Owner::User(world.ada));
    let taken = refusal(mailbox::remap(&tenant, world.ada_box, None, busy, confirmed, &by).await);
    assert!(matches!(taken, Refusal::OwnerHasMailbox { .. }), "{taken}");
    let moved = mailbox::remap(&tenant, world.ada_box, None, to, confirmed, &by).await.unwrap();
    assert_eq!((moved.owner, moved.approval, moved.has_password), (to, Approval::Pending, false));
    assert!(switched_on(&moved).is_empty());
}

#[tokio::test]
async fn a_secret_is_opened_for_signing_in_and_shown_nowhere_else() {
    let world = world().await;
    let tenant = world.tenant().await;
    let by = author();
    let password = Secret::from("correct horse");
    mailbox::set_password(&tenant, &ring(), world.ada_box, "ada-login", &password, &by).await.unwrap();
    let mailbox = mailbox::get(&tenant, world.ada_box).await.unwrap().unwrap();
    assert!(mailbox.has_password && mailbox.incoming_login == "ada-login");
    assert_eq!(switched_on(&mailbox), [], "another login is another maildrop");
    enabled(&tenant, world.ada_box).await;
    mailbox::set_password(&tenant, &ring(), world.ada_box, "ADA-login", &password, &by).await.unwrap();
    let mailbox = mailbox::get(&tenant, world.ada_box).await.unwrap().unwrap();
    assert_eq!(
        switched_on(&mailbox),
        [Workload::Incoming, Workload::Outgoing],
        "it goes on with the new secret"
    );
    mailbox::set_password(&tenant, &ring(), world.ada_box, "ada-login", &password, &by).await.unwrap();
    let cycle = mailbox::for_cycle(&tenant, world.ada_box, Workload::Incoming).await.unwrap().unwrap();
    let id = cycle.credential.unwrap();
    let opened = credential::open(&tenant, &ring(), id).await.unwrap().unwrap();
    assert_eq!((opened.username.as_str(), opened.secret.expose_secret()), ("ada-login", "correct horse"));
    tenant.commit().await.unwrap();
    let told = "select count(*) from changes where fields::text like '%correct horse%'";
    assert_eq!(world.count(told).await, 0);
    let stored = "select count(*) from credentials where encode(sealed, 'escape') like '%correct%'";
    assert_eq!(world.count(stored).await, 0);
    let written = "select count(*) from changes where record_type = 'credential' and fields ? 'secret'";
    assert_eq!(world.count(written).await, 3);

    // The same bytes under another credential open nothing.
    let tenant = world.tenant().await;
    mailbox::set_password(&tenant, &ring(), world.bob_box, "bob@example.com", &password, &by).await.unwrap();
    tenant.commit().await.unwrap();
    world
        .database
        .owner()
        .await
        .unwrap()
        .execute(
            "update credentials set sealed = (select sealed from credentials where id <> $1 limit 1) where id = $1",
            &[&id.0],
        )
        .await
        .unwrap();
    let moved = credential::open(&world.tenant().await, &ring(), id).await;
    assert!(matches!(moved, Err(Error::Sealed(_))));
}

#[tokio::test]
async fn rotation_seals_every_secret_with_the_new_key_and_the_old_one_can_go() {
    let world = world().await;
    let tenant = world.tenant().await;
    let by = author();
    for (mailbox, login) in [(world.ada_box, "ada@example.com"), (world.bob_box, "bob@example.com")] {
        mailbox::set_password(&tenant, &ring(), mailbox, login, &Secret::from("secret"), &by).await.unwrap();
    }
    let new = "new:HxwdHhsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
    let both =
        KeyRing::from_text(&format!("{new}\nonly:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")).unwrap();
    let alone = KeyRing::from_text(new).unwrap();
    let cycle = mailbox::for_cycle(&tenant, world.ada_box, Workload::Incoming).await.unwrap().unwrap();
    let id = cycle.credential.unwrap();
    let too_early = credential::open(&tenant, &alone, id).await.err().unwrap().to_string();
    assert!(too_early.contains("`only`") && too_early.contains("put that key back"), "{too_early}");
    assert_eq!(credential::reseal_all(&tenant, &both).await.unwrap(), 2);
    assert_eq!(credential::reseal_all(&tenant, &both).await.unwrap(), 0);
    assert_eq!(
        credential::open(&tenant, &alone, id).await.unwrap().unwrap().secret.expose_secret(),
        "secret"
    );
    assert!(credential::open(&tenant, &ring(), id).await.is_err());
}

#[tokio::test]
async fn a_profiles_own_secret_lets_a_paused_profile_go_on() {
    let world = world().await;
    let tenant = world.tenant().await;
    let by = author();
    let secret = Secret::from("secret");
    let elsewhere =
        refusal(profile::set_password(&tenant, &ring(), world.profile, "master", &secret, &by).await);
    assert!(elsewhere.to_string().contains("live on its mailboxes"), "{elsewhere}");
    let mut fields = profile_fields("Mail");
    fields.limits.credentials_on = model::profile::CredentialsOn::Profile;
    profile::update(&tenant, world.profile, None, &fields, &by).await.unwrap();
    let refused = AlertKind::ProfileCredentialsRefused.as_str();
    assert!(profile::pause(&tenant, world.profile, refused, &by).await.unwrap());
    assert!(!profile::pause(&tenant, world.profile, refused, &by).await.unwrap());
    profile::set_password(&tenant, &ring(), world.profile, "master", &secret, &by).await.unwrap();
    let present = profile::get(&tenant, world.profile).await.unwrap().unwrap();
    assert_eq!(present.paused_reason, None);
    assert_eq!(present.credential.unwrap().username, "master");
    let cycle = mailbox::for_cycle(&tenant, world.ada_box, Workload::Incoming).await.unwrap().unwrap();
    assert!(cycle.credential.is_some() && cycle.terms().profile_credential);
}

#[tokio::test]
async fn of_two_who_map_the_same_owner_at_once_one_is_refused_with_the_others_mailbox() {
    let world = world().await;
    let tenant = world.tenant().await;
    let carol = user(&tenant, "carol").await;
    tenant.commit().await.unwrap();
    let map = async |name: &str| {
        let tenant = world.tenant().await;
        let made =
            mailbox::create(&tenant, &new_mailbox(name, Some(Owner::User(carol)), world.profile), &author())
                .await?;
        tenant.commit().await?;
        Ok(made.id)
    };
    let (one, two) = tokio::join!(map("first"), map("second"));
    let (made, refused) = match (one, two) {
        (Ok(made), other) | (other, Ok(made)) => (made, refusal(other)),
        (Err(one), Err(two)) => panic!("neither was made: {one}; {two}"),
    };
    assert!(matches!(refused, Refusal::OwnerHasMailbox { mailbox, .. } if mailbox == made), "{refused}");
}
