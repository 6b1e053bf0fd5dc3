//! Who may at the simulated Exchange, whose a mailbox is, and where it is found.

use exchange::Options;
use mail::Proof;
use mail::error::{Kind, Phase};
use mail::ews::autodiscover::{Candidate, Credentials, Discovery, discover_from};
use mail::ews::{
    Access, Address, FolderRef, Identity, ItemChange, OwnerMark, RecipientKind, Schemes, Session, Version,
};
use model::secret::Secret;

use super::{ANNA, PASSWORD, anna, message, session_as, settings, started, started_with};

#[tokio::test]
async fn whose_mailbox_it_is_decides_who_may() {
    let exchange = started().await;
    exchange.add_account("service", PASSWORD);
    let bert = "bert@example.org";
    exchange.deliver(bert, &message(1));
    let error = session_as(&exchange, "service", bert, Access::Impersonation)
        .await
        .get_folder(&FolderRef::Inbox)
        .await
        .unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::SignIn, &Kind::ImpersonationRefused));
    exchange.allow_impersonation("service");
    let mut service = session_as(&exchange, "service", bert, Access::Impersonation).await;
    assert_eq!(service.get_folder(&FolderRef::Inbox).await.unwrap().total, Some(1));
    service.turn_to(ANNA.parse().unwrap());
    assert_eq!(service.get_folder(&FolderRef::Inbox).await.unwrap().total, Some(0));
    service.turn_to("nobody@example.org".parse().unwrap());
    let error = service.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::SignIn, &Kind::NoSuchMailbox));
    // A service account has no mailbox of its own.
    let error = session_as(&exchange, "service", bert, Access::Own)
        .await
        .get_folder(&FolderRef::Inbox)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), &Kind::MailboxDisabled);
    let mut delegate = session_as(&exchange, ANNA, bert, Access::Delegate).await;
    let error = delegate.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::AccessDenied | Kind::NotFound), "{:?}", error.kind());
    exchange.set_delegate(bert, ANNA, true);
    let page = delegate.sync_folder_items(&FolderRef::Inbox, None, 10).await.unwrap();
    let ItemChange::Created(item) = &page.changes[0] else { panic!("{page:?}") };
    let mut body = delegate.get_item(&item.id, 100_000).await.unwrap();
    assert!(body.chunk().await.unwrap().is_some());
    exchange.set_password(ANNA, "another");
    let error = anna(&exchange).await.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!((error.phase(), error.kind()), (Phase::SignIn, &Kind::CredentialsRefused));
    exchange.refuse_mailbox(bert, Some("ErrorMailboxStoreUnavailable"));
    let error =
        session_as(&exchange, bert, bert, Access::Own).await.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!(error.kind(), &Kind::TemporarilyRefused);
}

#[tokio::test]
async fn a_token_is_taken_while_it_is_good() {
    let exchange = started().await;
    exchange.set_token(ANNA, "eyJ0.eyJh.c2ln", true);
    let token = Secret::from("eyJ0.eyJh.c2ln");
    let address = Address::parse(&exchange.url()).unwrap();
    let identity = Identity {
        login: "",
        proof: Proof::Token(&token),
        mailbox: ANNA.parse().unwrap(),
        access: Access::Own,
    };
    let mut session = Session::open(&address, &settings(&exchange), identity).await.unwrap();
    session.get_folder(&FolderRef::Inbox).await.unwrap();
    exchange.set_token(ANNA, "eyJ0.eyJh.c2ln", false);
    let error = session.get_folder(&FolderRef::Inbox).await.unwrap_err();
    assert_eq!(error.kind(), &Kind::CredentialsRefused);
}

#[tokio::test]
async fn an_older_exchange_is_spoken_to_in_its_own_version() {
    for (known, expected) in [
        (exchange::Version::Exchange2007Sp1, Version::Exchange2007Sp1),
        (exchange::Version::Exchange2010Sp1, Version::Exchange2010Sp1),
        (exchange::Version::Exchange2013Sp1, Version::Exchange2013Sp1),
        (exchange::Version::Exchange2016, Version::Exchange2016),
    ] {
        let exchange = started_with(Options { version: known, ..Options::default() }).await;
        exchange.deliver(ANNA, &message(1));
        let mut session = anna(&exchange).await;
        let page = session.sync_folder_items(&FolderRef::Inbox, None, 10).await.unwrap();
        assert_eq!((page.changes.len(), session.version()), (1, Some(expected)));
        assert!(session.server().is_some());
    }
}

#[tokio::test]
async fn an_address_stands_for_a_mailbox_a_list_a_contact_or_nobody() {
    let exchange = started().await;
    exchange.add_alias(ANNA, "info@example.org");
    exchange.add_list("all@example.org", "Everybody", &[ANNA]);
    exchange.add_contact("carla@example.net", "Carla");
    let mut session = anna(&exchange).await;
    for (address, expected) in [
        (ANNA, Some((RecipientKind::Mailbox, ANNA))),
        ("info@example.org", Some((RecipientKind::Mailbox, ANNA))),
        ("all@example.org", Some((RecipientKind::DistributionList, "all@example.org"))),
        ("carla@example.net", Some((RecipientKind::Contact, "carla@example.net"))),
        ("nobody@example.org", None),
    ] {
        let found = session.resolve_names(address).await.unwrap();
        let told = found.first().map(|first| (first.kind, first.address.as_str()));
        assert_eq!(told, expected, "{address}: {found:?}");
    }
    let found = session.resolve_names("info@example.org").await.unwrap();
    assert!(found[0].aliases.iter().any(|alias| alias == "info@example.org"), "{found:?}");
}

#[tokio::test]
async fn a_mailbox_is_marked_and_the_mark_is_read_by_whoever_comes_next() {
    let exchange = started().await;
    let mut session = anna(&exchange).await;
    assert_eq!(session.owner_mark().await.unwrap(), None);
    let mark = OwnerMark { installation: "one".into(), organization: "two".into() };
    session.set_owner_mark(Some(&mark)).await.unwrap();
    assert_eq!(anna(&exchange).await.owner_mark().await.unwrap(), Some(mark));
    session.set_owner_mark(None).await.unwrap();
    assert_eq!(session.owner_mark().await.unwrap(), None);
}

#[tokio::test]
async fn the_place_of_a_mailbox_is_found_out_and_an_address_elsewhere_is_a_question() {
    let exchange = started().await;
    let url = Address::parse(&exchange.url()).unwrap();
    let at = |file: &str| {
        let (host, port) = (url.host(), url.port());
        Address::parse(&format!("https://{host}:{port}/autodiscover/autodiscover.{file}")).unwrap()
    };
    let search = mail::ews::autodiscover::Settings {
        transport: settings(&exchange).transport,
        schemes: Schemes::default(),
        named: vec![url.host()],
    };
    let secret = Secret::from(PASSWORD);
    let credentials = Credentials { login: ANNA, proof: Proof::Password(&secret) };
    let mailbox = ANNA.parse().unwrap();
    for candidate in [Candidate::Soap(at("svc")), Candidate::Pox(at("xml"))] {
        let found = discover_from(vec![candidate.clone()], &mailbox, &search, credentials).await.unwrap();
        match found {
            Discovery::Found { address, .. } => assert_eq!(address.port(), url.port(), "{candidate:?}"),
            consent @ Discovery::NeedsConsent { .. } => panic!("{candidate:?}: {consent:?}"),
        }
    }
    exchange.redirect_url(ANNA, "https://autodiscover.cloud.example/autodiscover/autodiscover.xml");
    for candidate in [Candidate::Soap(at("svc")), Candidate::Pox(at("xml"))] {
        let found = discover_from(vec![candidate], &mailbox, &search, credentials).await.unwrap();
        assert!(
            matches!(&found, Discovery::NeedsConsent { host, .. } if host == "autodiscover.cloud.example"),
            "{found:?}"
        );
    }
    let nobody = "nobody@example.org".parse().unwrap();
    let error =
        discover_from(vec![Candidate::Pox(at("xml"))], &nobody, &search, credentials).await.unwrap_err();
    assert_eq!(error.phase(), Phase::Discover, "{error:?}");
}
