//! What an Exchange server needs of the records: profiles that lead to one, items that are listed once, sends that can be looked
//! for.

use std::time::Duration;

use model::email::{Decision, EmailState, RecipientState, SendAnswer};
use model::endpoint::{Endpoint, Protocol, Tls};
use model::profile::{CredentialsOn, Exchange, ExchangeAccess, ProfileKind};
use model::workload::Workload;
use store::Refusal;
use store::folder;
use store::item::{self, ItemDecision};
use store::mailbox::MailboxUpdate;
use store::outgoing::{goes_by_draft, in_doubt, laid_down, left, record_found, recover, removed, renamed};
use store::profile::{self, ProfileFields};

use crate::outgoing::{answer, begun, refusal, requested, state};
use crate::world::{author, new_mailbox, profile_fields, world};

fn exchange_fields() -> ProfileFields {
    let endpoint =
        Endpoint { protocol: Protocol::Ews, host: "mail.example.com".into(), port: 443, tls: Tls::Implicit };
    ProfileFields {
        kind: ProfileKind::ExchangeEws,
        incoming: endpoint.clone(),
        outgoing: endpoint,
        exchange: Some(Exchange::at("/EWS/Exchange.asmx", ExchangeAccess::Own)),
        ..profile_fields("Exchange")
    }
}

#[tokio::test]
async fn a_profile_leads_to_an_exchange_server_and_its_mailboxes_are_asked_for_by_address() {
    let world = world().await;
    let tenant = world.tenant().await;
    let made = profile::create(&tenant, &exchange_fields(), &author()).await.unwrap();
    assert_eq!(made.fields, exchange_fields());
    let new = store::mailbox::NewMailbox {
        incoming_login: Some("EXAMPLE\\ida".into()),
        ..new_mailbox("ida", None, made.id)
    };
    let mailbox = store::mailbox::create(&tenant, &new, &author()).await.unwrap();
    assert_eq!(mailbox.incoming_login, "ida@example.com");
    let moved = MailboxUpdate {
        address: Some("ida.rhodes@example.com".parse().unwrap()),
        ..MailboxUpdate::default()
    };
    let mailbox = store::mailbox::update(&tenant, mailbox.id, None, &moved, &author()).await.unwrap();
    assert_eq!(mailbox.incoming_login, "ida.rhodes@example.com");
    for workload in [Workload::Incoming, Workload::Outgoing] {
        let cycle = store::mailbox::for_cycle(&tenant, mailbox.id, workload).await.unwrap().unwrap();
        assert_eq!(cycle.endpoint().key(), "ews://mail.example.com:443");
        assert_eq!(cycle.incoming_folder(), "ews ida.rhodes@example.com inbox");
    }
}

#[tokio::test]
async fn what_does_not_fit_an_exchange_server_is_refused_with_the_field() {
    let world = world().await;
    let tenant = world.tenant().await;
    let with = |change: fn(&mut ProfileFields)| {
        let mut fields = exchange_fields();
        change(&mut fields);
        fields
    };
    for (fields, field) in [
        (with(|fields| fields.exchange = None), "exchange"),
        (with(|fields| fields.kind = ProfileKind::Pop3Smtp), "exchange"),
        (with(|fields| fields.exchange.as_mut().unwrap().path = Some("EWS".into())), "exchange.url"),
        (with(|fields| fields.exchange.as_mut().unwrap().path = Some("/EWS?x".into())), "exchange.url"),
        (with(|fields| fields.outgoing.port = 465), "incoming"),
        (with(|fields| fields.incoming.tls = Tls::StartTls), "incoming"),
        (
            with(|fields| fields.exchange.as_mut().unwrap().access = ExchangeAccess::Delegate),
            "exchange.access",
        ),
        (with(|fields| fields.limits.credentials_on = CredentialsOn::Profile), "exchange.access"),
    ] {
        match refusal(profile::create(&tenant, &fields, &author()).await) {
            Refusal::Invalid { field: found, .. } => assert_eq!(found, field),
            other => panic!("{other}"),
        }
    }
}

fn failed(item_id: &str) -> ItemDecision {
    ItemDecision {
        item_id: item_id.into(),
        decision: Decision::Failed,
        rule: "fetch".into(),
        size: 7,
        error: Some("no".into()),
        retry_after: Duration::ZERO,
        email: None,
        received_at: None,
        message_id: None,
        search_key: None,
    }
}

#[tokio::test]
async fn the_folders_that_are_read_are_chosen_by_path_and_each_choice_is_written_down() {
    let world = world().await;
    let tenant = world.tenant().await;
    let made = profile::create(&tenant, &exchange_fields(), &author()).await.unwrap();
    let mailbox =
        store::mailbox::create(&tenant, &new_mailbox("ida", None, made.id), &author()).await.unwrap();
    let choose = async |version: Option<i64>, paths: &[&str]| {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        folder::choose(&tenant, mailbox.id, version, &paths, &author()).await
    };
    let chosen = async || -> Vec<String> {
        folder::chosen(&tenant, mailbox.id).await.unwrap().into_iter().map(|chosen| chosen.path).collect()
    };
    let version = async || store::mailbox::get(&tenant, mailbox.id).await.unwrap().unwrap().version;
    choose(None, &["/Archive/", "INBOX", "Inbox/Support", "archive"]).await.unwrap();
    assert_eq!(chosen().await, ["Archive", "Inbox/Support"]);
    let read = version().await;
    choose(Some(read), &["Archive", "Inbox/Support"]).await.unwrap();
    assert_eq!(version().await, read, "nothing changed");
    choose(Some(read), &["Inbox/Support"]).await.unwrap();
    let log = store::change::of(&tenant, "mailbox", mailbox.id.0, 0, 10).await.unwrap();
    assert_eq!(log.iter().filter(|change| change.fields.get("folders").is_some()).count(), 2);

    let many: Vec<String> = (0..21).map(|number| format!("folder {number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(refusal(choose(None, &many).await).field(), Some("read"));
    assert_eq!(refusal(choose(None, &["two\nlines"]).await).field(), Some("read"));
    assert_eq!(refusal(choose(Some(read), &[]).await).field(), Some("version"));
    let pop3 = [String::from("Archive")];
    assert_eq!(
        refusal(folder::choose(&tenant, world.ada_box, None, &pop3, &author()).await).field(),
        Some("read")
    );
    assert_eq!(chosen().await, ["Inbox/Support"]);
}

#[tokio::test]
async fn what_failed_is_due_again_by_its_row_until_it_leaves_the_folder() {
    let world = world().await;
    let (tenant, mailbox) = (world.tenant().await, world.ada_box);
    let later = ItemDecision { retry_after: Duration::from_secs(600), ..failed("later") };
    let kept = ItemDecision { decision: Decision::NotAccepted, error: None, ..failed("kept") };
    let decisions = [failed("now"), later, kept, failed("left")];
    item::decide(&tenant, mailbox, "inbox", &decisions).await.unwrap();
    item::decide(&tenant, mailbox, "another", &[failed("elsewhere")]).await.unwrap();
    item::left(&tenant, mailbox, "inbox", &["left".to_owned(), "unheard of".to_owned()]).await.unwrap();
    let due = async || -> Vec<String> {
        let due = item::due_again(&tenant, mailbox, "in", 10).await.unwrap();
        let mut due: Vec<String> = due.into_iter().map(|due| due.item_id).collect();
        due.sort_unstable();
        due
    };
    assert_eq!(due().await, ["now"]);
    item::came_back(&tenant, mailbox, "inbox", &["left"]).await.unwrap();
    assert_eq!(due().await, ["left", "now"]);
}

#[tokio::test]
async fn a_try_that_laid_nothing_down_never_left_and_one_that_did_is_asked_about_first() {
    let world = world().await;
    for laid in [false, true] {
        let id = requested(&world).await;
        let attempt = begun(&world, id, 1).await.unwrap();
        let tenant = world.tenant().await;
        goes_by_draft(&tenant, attempt.id).await.unwrap();
        assert!(!laid || laid_down(&tenant, attempt.id, "AAMk=").await.unwrap());
        let told = recover(&tenant, world.ada_box, 2, &author()).await.unwrap();
        assert_eq!(told, [], "nobody is told yet");
        // What lies there under its name is removed once its end is known.
        assert_eq!(left(&tenant, world.ada_box, 10).await.unwrap().len(), usize::from(!laid));
        assert!(!laid_down(&tenant, attempt.id, "AAMl=").await.unwrap() || laid, "it has ended");
        tenant.commit().await.unwrap();
        let expected = if laid { EmailState::Unknown } else { EmailState::PendingSend };
        assert_eq!(state(&world, id).await, expected);
        let tenant = world.tenant().await;
        let doubtful = in_doubt(&tenant, world.ada_box, Duration::from_secs(60)).await.unwrap();
        assert_eq!(doubtful.iter().filter(|doubt| doubt.asked).count(), usize::from(laid));
        removed(&tenant, &[attempt.id]).await.unwrap();
        assert_eq!(left(&tenant, world.ada_box, 10).await.unwrap(), []);
        store::outgoing::cancel(&tenant, id, None, &author()).await.ok();
        tenant.commit().await.unwrap();
    }
}

#[tokio::test]
async fn a_send_in_doubt_is_looked_for_and_what_is_found_ends_the_doubt() {
    let world = world().await;
    let within = Duration::from_secs(60);
    for (found, expected) in
        [(SendAnswer::Accepted, EmailState::Sent), (SendAnswer::NotSent, EmailState::PendingSend)]
    {
        let id = requested(&world).await;
        let attempt = begun(&world, id, 1).await.unwrap();
        // The worker died; or it came so far as to say that nobody knows.
        let tenant = world.tenant().await;
        if found == SendAnswer::Accepted {
            recover(&tenant, world.ada_box, 2, &author()).await.unwrap();
        } else {
            store::outgoing::record_answer(&tenant, &answer(&attempt, SendAnswer::Unknown, &[]), &author())
                .await
                .unwrap();
        }
        let doubtful = in_doubt(&tenant, world.ada_box, within).await.unwrap();
        assert_eq!(doubtful.iter().map(|doubt| doubt.attempt).collect::<Vec<_>>(), [attempt.id]);
        assert_eq!(doubtful[0].recipients, [1, 2, 3]);
        tenant.commit().await.unwrap();
        assert_eq!(state(&world, id).await, EmailState::Unknown);

        let states =
            if found == SendAnswer::Accepted { vec![RecipientState::Accepted; 3] } else { Vec::new() };
        let tenant = world.tenant().await;
        let answered = record_found(&tenant, &answer(&attempt, found, &states), &author()).await.unwrap();
        assert!(answered.decided && answered.state == expected);
        assert!(in_doubt(&tenant, world.ada_box, within).await.unwrap().is_empty());
        renamed(&tenant, attempt.request, &format!("{}@the.server", attempt.request.0)).await.unwrap();
        // Nothing that an answer said is taken back.
        let again =
            record_found(&tenant, &answer(&attempt, SendAnswer::NotAccepted, &[]), &author()).await.unwrap();
        assert!(!again.decided);
        tenant.commit().await.unwrap();
        assert_eq!(state(&world, id).await, expected);
        store::outgoing::cancel(&world.tenant().await, id, None, &author()).await.ok();
    }
}
