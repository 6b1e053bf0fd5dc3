//! In whose name mail leaves an Exchange server and in whose Sent Items its copy lies, whoever signs in: the mailbox that it is from, of
//! whoever asked, of a queue, or of a person who lets another send.

use model::email::EmailState;
use model::id::{EmailId, UserId};
use model::mailbox::Owner;
use model::profile::{CredentialsOn, ExchangeAccess};
use model::secret::Secret;
use model::workload::Workload;
use store::outgoing::{self, Draft, Request};
use store::queue::{self, NewQueue};
use store::{grant, profile};
use uuid::Uuid;

use super::ExchangeEws;
use crate::house::{House, Person, by, config, to};

type Here = House<ExchangeEws>;

/// What the account may do at the server with the mailboxes of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Right {
    /// It is theirs.
    Own,
    Impersonate,
    SendAs,
    OnBehalf,
    /// It opens them, and may not send.
    Open,
}

/// A house whose mailboxes are reached with this right, and the account's address where there is one for all of them.
async fn house(right: Right) -> (Here, Option<String>) {
    if right == Right::Own {
        return (Here::build().await, None);
    }
    let house = Here::with(config(), |profile| {
        profile.limits.credentials_on = CredentialsOn::Profile;
        profile.exchange.as_mut().unwrap().access = match right {
            Right::Impersonate => ExchangeAccess::Impersonation,
            _ => ExchangeAccess::Delegate,
        };
    })
    .await;
    let account = house.address("service");
    house.provider.server().add_mailbox(&account, "Service", "secret");
    let tenant = house.tenant().await;
    let secret = Secret::from("secret".to_owned());
    profile::set_password(&tenant, &house.parts.keys, house.profile, &account, &secret, &by()).await.unwrap();
    tenant.commit().await.unwrap();
    (house, Some(account))
}

fn allow(house: &Here, right: Right, account: Option<&str>, mailbox: &str) {
    let (server, Some(account)) = (house.provider.server(), account) else { return };
    match right {
        Right::Impersonate => server.allow_impersonation(account),
        Right::SendAs => server.allow_send_as(mailbox, account),
        Right::OnBehalf => server.allow_send_on_behalf(mailbox, account),
        Right::Own | Right::Open => {}
    }
    if right != Right::Impersonate {
        server.set_delegate(mailbox, account, true);
    }
}

async fn user_of(house: &Here, person: &Person) -> UserId {
    let owner = house.database.owner().await.unwrap();
    let row = owner.query_one("select user_id from mailboxes where id = $1", &[&person.mailbox.0]).await;
    UserId(row.unwrap().get::<_, Uuid>(0))
}

/// A mail from a mailbox that a person asks for.
async fn asked(house: &Here, from: &Person, person: UserId, to_whom: &Person) -> EmailId {
    let (from, to) = (Some(from.mailbox), to(&to_whom.address));
    let draft = Draft { from, to, text: Some("Hello".to_owned()), ..Draft::default() };
    let tenant = house.tenant().await;
    let email = outgoing::create(&tenant, &draft, &[], None, &by()).await.unwrap();
    let request = Request { person: Some(person), ..Request::default() };
    outgoing::request_send(&tenant, email, None, request, &by()).await.unwrap();
    tenant.commit().await.unwrap();
    email
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_is_from_the_mailbox_it_is_sent_from_and_its_copy_lies_there_whoever_signs_in() {
    for right in [Right::Own, Right::Impersonate, Right::SendAs, Right::OnBehalf] {
        let (house, account) = house(right).await;
        let server = house.provider.server();
        let people = house.people(2).await;
        let [anna, bert] = &people[..] else { panic!("two people") };
        let (annas, berts) = (user_of(&house, anna).await, user_of(&house, bert).await);
        let tenant = house.tenant().await;
        grant::give(&tenant, annas, berts, &by()).await.unwrap();
        let address = house.address("support");
        let new = NewQueue {
            name: "support".to_owned(),
            address: address.parse().unwrap(),
            members: vec![berts],
            external_id: None,
        };
        let support = queue::create(&tenant, &new, &by()).await.unwrap().id;
        tenant.commit().await.unwrap();
        let support = house.mailbox_of(Owner::Queue(support), &address).await;
        for from in [bert, anna, &support] {
            allow(&house, right, account.as_deref(), &from.address);
        }
        // His own, for who granted it, for his queue.
        for (number, from) in [bert, anna, &support].into_iter().enumerate() {
            let email = asked(&house, from, berts, anna).await;
            house.transmit(from).await;
            assert_eq!(house.state(email).await, EmailState::Sent, "{right:?}");
            let handed = server.handed();
            assert_eq!(handed.len(), number + 1);
            let left = &handed[number];
            assert_eq!(left.from.to_lowercase(), from.address.to_lowercase(), "{right:?}");
            let raw = String::from_utf8_lossy(&left.message).to_lowercase();
            let says_sender = |who: &str| {
                raw.lines().any(|line| line.starts_with("sender:") && line.contains(&who.to_lowercase()))
            };
            // Who acts on behalf of somebody is named by the server, and nobody else is named as the account.
            let account = account.as_deref().unwrap_or("nobody@nowhere");
            assert_eq!(says_sender(account), right == Right::OnBehalf, "{right:?}: {raw}");
            let copies = |of: &str| server.folder(of, "sentitems").len();
            assert_eq!(copies(&from.address), 1, "{right:?}: the copy lies where it is from");
            let kept = [bert, anna, &support].iter().map(|one| copies(&one.address)).sum::<usize>();
            assert_eq!(kept, number + 1, "{right:?}: and nowhere else");
            if account.contains("service") {
                assert_eq!(copies(account), 0, "{right:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_that_may_not_send_in_the_mailboxs_name_fails_with_the_remedy_and_nobody_gets_it() {
    let (house, account) = house(Right::Open).await;
    let server = house.provider.server();
    let people = house.people(2).await;
    allow(&house, Right::Open, account.as_deref(), &people[0].address);
    let annas = user_of(&house, &people[0]).await;
    let email = asked(&house, &people[0], annas, &people[1]).await;
    house.cycle(&people[0], Workload::Outgoing).await;
    assert_eq!(house.state(email).await, EmailState::Failed);
    let told = "alerts where kind = 'send_as_refused' and server_said like 'ErrorSendAsDenied%' and resolved_at is null";
    assert_eq!(house.count(told).await, 1);
    assert_eq!(house.count("mailbox_workloads where workload = 'outgoing' and enabled").await, 2);
    assert!(server.handed().is_empty() && server.folder(&people[0].address, "drafts").is_empty());
}
