//! Test and enable of a mailbox of an Exchange server: each reason has a kind of its own, and nobody's mailbox is taken.

use ::exchange::{Fault as Broken, Rule};
use cycle::access::Keeper;
use cycle::{Finding, Taking};
use model::alert::AlertKind;
use model::profile::{CredentialsOn, ExchangeAccess};
use model::secret::Secret;
use model::workload::Workload;
use store::{mailbox, profile};

use super::ExchangeEws;
use crate::house::{House, Person, by, config, message, taking};
use crate::provider::Provider as _;

type Here = House<ExchangeEws>;

pub(super) async fn tested_by(house: &Here, of: &Person, workload: Workload, taking: Taking) -> Finding {
    let tenant = house.tenant().await;
    let mailbox = mailbox::for_cycle(&tenant, of.mailbox, workload).await.unwrap().unwrap();
    tenant.commit().await.unwrap();
    let cycle::Parts { store, keys, mail, .. } = &house.parts;
    let keeper = Keeper { store, keys, mail, organization: house.organization };
    cycle::test(&keeper, &mailbox, taking, &by()).await.unwrap()
}

async fn tested(house: &Here, of: &Person) -> Option<AlertKind> {
    let found = tested_by(house, of, Workload::Incoming, taking()).await;
    found.failed.map(|failed| failed.failure.alert)
}

/// A house whose profile has one account for all mailboxes.
async fn of_one_account(access: ExchangeAccess) -> Here {
    let house = Here::with(config(), |profile| {
        profile.limits.credentials_on = CredentialsOn::Profile;
        profile.exchange.as_mut().unwrap().access = access;
    })
    .await;
    house.provider.server().add_account("service", "secret");
    let tenant = house.tenant().await;
    let secret = Secret::from("secret".to_owned());
    let keys = &house.parts.keys;
    profile::set_password(&tenant, keys, house.profile, "service", &secret, &by()).await.unwrap();
    tenant.commit().await.unwrap();
    house
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_reason_why_a_mailbox_cannot_be_used_has_its_own_kind() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let server = house.provider.server();
    assert_eq!(tested(&house, &anna).await, None);
    for (code, expected) in [
        ("ErrorNonExistentMailbox", AlertKind::MailboxUnknown),
        ("ErrorMailboxStoreUnavailable", AlertKind::ServerBusy),
        ("ErrorAccountDisabled", AlertKind::MailboxNotLicensed),
        ("ErrorAccessDenied", AlertKind::MailboxRefused),
    ] {
        server.refuse_mailbox(&anna.address, Some(code));
        assert_eq!(tested(&house, &anna).await, Some(expected), "{code}");
        server.refuse_mailbox(&anna.address, None);
    }
    server.fault(Rule::new(Broken::Unauthorized).times(4));
    assert_eq!(tested(&house, &anna).await, Some(AlertKind::SignInRefused));
    server.heal();
    server.fault(Rule::new(Broken::Busy(None)));
    assert_eq!(tested(&house, &anna).await, Some(AlertKind::ServerBusy));
    server.heal();
    assert_eq!(tested(&house, &anna).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_no_mailbox_is_refused_with_what_to_use_instead() {
    let house = Here::build().await;
    let server = house.provider.server();
    let anna = house.person("anna").await;
    let told = async |found: Finding| {
        let failed = found.failed.expect("it is refused");
        assert_eq!(failed.failure.alert, AlertKind::NotAMailbox);
        failed.failure.alert.sentences(&failed.parameters)
    };
    // Another name of a mailbox: whoever has it signs in with his own password.
    let other = house.address("anna.other");
    server.add_alias(&anna.address, &other);
    house
        .execute(&format!("update mailboxes set address = '{other}' where address = '{}'", anna.address))
        .await;
    let (happened, remedy) = told(tested_by(&house, &anna, Workload::Incoming, taking()).await).await;
    assert!(happened.contains("another name of the mailbox"), "{happened}");
    assert!(remedy.contains(&anna.address), "{remedy}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_is_marked_as_ours_and_anothers_is_taken_only_by_force() {
    let house = Here::build().await;
    let anna = house.person("anna").await;
    let found = tested_by(&house, &anna, Workload::Incoming, taking()).await;
    assert!(
        found.failed.is_none() && found.steps.iter().any(|step| step.name == "whose it is"),
        "{:?}",
        found.steps
    );
    // Ours already: nothing to say.
    let found = tested_by(&house, &anna, Workload::Outgoing, taking()).await;
    assert!(found.failed.is_none() && found.steps.iter().all(|step| step.name != "whose it is"));

    let another = Taking { installation: model::clock::new_id(), force: false };
    let refused =
        tested_by(&house, &anna, Workload::Incoming, another).await.failed.expect("it is another's");
    assert_eq!(refused.failure.alert, AlertKind::MailboxClaimed);
    let (happened, remedy) = refused.failure.alert.sentences(&refused.parameters);
    assert!(
        happened.contains(&house.organization.to_string()) && remedy.contains("--force"),
        "{happened} {remedy}"
    );
    assert_eq!(tested(&house, &anna).await, None, "the mark is as it was");

    let taken = tested_by(&house, &anna, Workload::Incoming, Taking { force: true, ..another }).await;
    assert!(taken.failed.is_none());
    assert!(taken.taken_from.is_some_and(|from| from.contains(&house.organization.to_string())));
    assert_eq!(tested(&house, &anna).await, Some(AlertKind::MailboxClaimed), "it is theirs now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_account_reads_and_sends_for_all_by_impersonation_or_as_their_delegate() {
    for access in [ExchangeAccess::Impersonation, ExchangeAccess::Delegate] {
        let house = of_one_account(access).await;
        let server = house.provider.server();
        let people = house.people(2).await;
        let refused = match access {
            ExchangeAccess::Impersonation => AlertKind::ImpersonationRefused,
            _ => AlertKind::MailboxRefused,
        };
        assert_eq!(tested(&house, &people[0]).await, Some(refused), "{access}");
        for person in &people {
            if access == ExchangeAccess::Impersonation {
                server.allow_impersonation("service");
            } else {
                server.set_delegate(&person.address, "service", true);
                server.allow_send_as(&person.address, "service");
            }
        }
        for (number, person) in people.iter().enumerate() {
            assert_eq!(tested(&house, person).await, None, "{access}");
            house.provider.deliver(&person.address, &message(number, &person.address));
            assert_eq!(house.receive(person).await, 1, "{access}");
        }
        let subjects = "emails e join receipts r on r.email_id = e.id join mailboxes m on m.id = r.mailbox_id
                        where e.message_id like '%' || m.address || '%'";
        assert_eq!(house.count(subjects).await, 2, "each got his own, {access}");

        let draft = store::outgoing::Draft { to: crate::house::to(&people[1].address), ..Default::default() };
        let email = house.ask(&people[0], draft).await;
        assert_eq!(house.transmit(&people[0]).await, 1);
        assert_eq!(house.state(email).await, model::email::EmailState::Sent, "{access}");
        assert_eq!(house.arrived(&people[1].address, 2).await.len(), 2);
        // The copy lies with whoever it is from, and nowhere else.
        assert_eq!(house.provider.saved(&people[0].address).len(), 1, "{access}");
        assert_eq!(server.handed()[0].from.to_lowercase(), people[0].address.to_lowercase(), "{access}");
    }
}
