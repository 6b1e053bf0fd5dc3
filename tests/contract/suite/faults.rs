//! Faults: each has the scope that the design gives it, hurts nobody else, and is forgotten once it has passed.

use std::time::Duration;

use cycle::Config;
use model::alert::AlertKind;
use model::cadence::Outcome;
use model::email::EmailState;
use model::failure::FailureScope;
use model::workload::Workload;
use servers::Fault;
use store::outgoing::Draft;

use crate::house::{House, config, impatient, message, patient, to};
use crate::provider::Provider;

/// A server that fails at its door: both workloads see the same failure of the server, nobody is switched off, and
/// when it has passed all goes on by itself.
async fn at_the_door<P: Provider>(fault: Fault, expected: AlertKind, secret_stays: bool) {
    let house = House::<P>::with(impatient(), |_| {}).await;
    broken(&house, expected, |house, workload| house.door(workload).set(fault)).await;
    for &workload in P::DOORS {
        assert!(!secret_stays || !house.door(workload).heard_a_secret(), "a password was said: {workload}");
    }
    mended(&house, |house, workload| house.door(workload).set(Fault::None)).await;
}

/// Breaks both doors, and looks at what a cycle of each workload makes of it.
async fn broken<P: Provider>(house: &House<P>, expected: AlertKind, break_it: impl Fn(&House<P>, Workload)) {
    let people = house.people(2).await;
    house.provider.deliver(&people[0].address, &message(1, &people[0].address));
    house.ask(&people[0], Draft { to: to(&people[1].address), ..Draft::default() }).await;
    for &workload in P::DOORS {
        break_it(house, workload);
        assert_eq!(house.fails(&people[0], workload).await, (FailureScope::Server, expected), "{workload}");
    }
    assert_eq!(house.count("mailbox_workloads where enabled").await, 4, "disables nobody");
    let endpoints = i64::try_from(P::DOORS.len()).unwrap();
    assert_eq!(house.count("endpoints where open_until > now()").await, endpoints, "pauses the others");
    assert!(house.claimed(&people[1], Workload::Incoming).await.is_none(), "the others do not try it");
    // Nor are they the first to try it again.
    house.execute("update schedules set wished_at = null").await;
    let open = format!("alerts where kind = '{expected}' and profile_id is not null and resolved_at is null");
    assert_eq!(house.count(&open).await, endpoints, "one for each endpoint");
    assert_eq!(house.count("emails where direction = 'incoming' or state <> 'pending_send'").await, 0);
}

/// Mends the doors: the first cycle of each workload works, and nothing is held against anybody.
async fn mended<P: Provider>(house: &House<P>, mend: impl Fn(&House<P>, Workload)) {
    for &workload in P::DOORS {
        mend(house, workload);
    }
    house.later().await;
    let owner = house.database.owner().await.unwrap();
    let row = owner.query_one("select address, id from mailboxes order by id limit 1", &[]).await.unwrap();
    let anna = crate::house::Person { address: row.get(0), mailbox: model::id::MailboxId(row.get(1)) };
    assert_eq!(house.receive(&anna).await, 1);
    assert_eq!(house.transmit(&anna).await, 1);
    assert_eq!(house.count("emails where direction = 'incoming'").await, 1);
    assert_eq!(house.count("emails where state = 'sent'").await, 1);
    house.assert_recovered().await;
}

pub(crate) async fn a_server_that_is_down_disables_nobody_and_all_goes_on_when_it_is_back<P: Provider>() {
    let house = House::<P>::build().await;
    let refuse = |refuse| move |house: &House<P>, workload| house.door(workload).front().refuse(refuse);
    for &workload in P::DOORS {
        refuse(true)(&house, workload);
        // The port is closed a moment after it was asked for.
        let port = house.door(workload).front().port();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {}
    }
    broken(&house, AlertKind::ConnectionRefused, refuse(true)).await;
    for &workload in P::DOORS {
        refuse(false)(&house, workload);
        let port = house.door(workload).front().port();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    mended(&house, refuse(false)).await;
}

pub(crate) async fn a_port_that_takes_connections_and_says_nothing_is_given_up_in_time<P: Provider>() {
    let house =
        House::<P>::with(impatient(), |profile| profile.connect_timeout = Duration::from_secs(2)).await;
    let swallow = |swallow| move |house: &House<P>, workload| house.door(workload).front().blackhole(swallow);
    broken(&house, AlertKind::ConnectionTimedOut, swallow(true)).await;
    mended(&house, swallow(false)).await;
}

pub(crate) async fn a_server_without_tls_is_told_apart_and_gets_no_password<P: Provider>() {
    at_the_door::<P>(Fault::PlainText, AlertKind::TlsMismatch, true).await;
}

pub(crate) async fn a_certificate_of_an_unknown_authority_is_refused<P: Provider>() {
    at_the_door::<P>(Fault::UnknownAuthority, AlertKind::CertificateNotTrusted, true).await;
}

pub(crate) async fn a_certificate_for_another_name_is_refused<P: Provider>() {
    at_the_door::<P>(Fault::WrongName, AlertKind::CertificateNotTrusted, true).await;
}

pub(crate) async fn a_certificate_that_expired_is_refused<P: Provider>() {
    at_the_door::<P>(Fault::Expired, AlertKind::CertificateNotTrusted, true).await;
}

pub(crate) async fn a_greeting_that_never_comes_is_given_up_in_time<P: Provider>() {
    at_the_door::<P>(Fault::Silent, AlertKind::ConnectionTimedOut, P::GREETS).await;
}

pub(crate) async fn a_greeting_of_garbage_is_the_servers_failure<P: Provider>() {
    at_the_door::<P>(Fault::Garbage(0), AlertKind::ProtocolViolated, P::GREETS).await;
}

/// Breaks a reading cycle at its first request, then at its second, and so on until there are no more.
async fn reading<P: Provider>(fault: fn(u32) -> Fault) {
    let house = House::<P>::with(patient(), |_| {}).await;
    let anna = house.person("anna").await;
    let door = house.door(Workload::Incoming);
    let mut delivered = 0;
    for number in 0.. {
        for _ in 0..3 {
            delivered += 1;
            house.provider.deliver(&anna.address, &message(delivered, &anna.address));
        }
        door.forget();
        door.set(fault(number));
        let (ending, _) = house.cycle(&anna, Workload::Incoming).await;
        if let Outcome::Failed(failure) = &ending.outcome {
            let scopes = [FailureScope::Server, FailureScope::Mailbox, FailureScope::Credential];
            assert!(scopes.contains(&failure.scope), "{failure:?} at request {number}");
        }
        assert_eq!(house.count("mailbox_workloads where enabled").await, 2, "at request {number}");
        let came_so_far = number == 0 || door.struck();
        let kept = "emails e where not exists (select from mailbox_items i where i.email_id = e.id)";
        assert_eq!(house.count(kept).await, 0, "records and decisions go together, at request {number}");
        door.set(Fault::None);
        // What failed once may wait for its turn.
        for _ in 0..2 {
            house.later().await;
            house.receive(&anna).await;
        }
        let all = i64::try_from(delivered).unwrap();
        for what in ["emails", "receipts", "mailbox_items where decision = 'recorded'"] {
            assert_eq!(house.count(what).await, all, "{what} at request {number}");
        }
        house.assert_recovered().await;
        if !came_so_far {
            assert!(number >= P::REQUESTS, "a conversation of {number} requests is none");
            return;
        }
    }
}

/// The same for a sending cycle. Only what hits the request that hands the message over leaves its fate in doubt.
async fn sending<P: Provider>(fault: fn(u32) -> Fault) {
    let house = House::<P>::with(patient(), |_| {}).await;
    let from = house.person("sender").await;
    let door = house.door(Workload::Outgoing);
    let (mut unknown, mut before) = (0, 0);
    for number in 0.. {
        let other = house.person(&format!("other{number}")).await;
        let email = house.ask(&from, Draft { to: to(&other.address), ..Draft::default() }).await;
        door.set(fault(number));
        house.cycle(&from, Workload::Outgoing).await;
        let came_so_far = number == 0 || door.struck();
        door.set(Fault::None);
        // The next mail goes as if nothing had been.
        let next = house.ask(&from, Draft { to: to(&other.address), ..Draft::default() }).await;
        house.later().await;
        house.transmit(&from).await;
        assert_eq!(house.state(next).await, EmailState::Sent, "at request {number}");
        let (state, handed) = (house.state(email).await, house.handed_over_to(&other.address));
        match state {
            EmailState::Sent => {
                assert_eq!(handed, 2, "each once, at request {number}");
                assert_eq!(house.arrived(&other.address, 2).await.len(), 2);
            }
            EmailState::Unknown => {
                assert!(handed <= 2, "nothing is sent blindly, at request {number}");
                unknown += 1;
            }
            other => panic!("{other:?} at request {number}"),
        }
        house.assert_recovered().await;
        before = number;
        if !came_so_far {
            break;
        }
        door.forget();
    }
    assert!(before >= P::REQUESTS, "a conversation of {before} requests is none");
    let in_doubt = i64::from(!P::CAN_BE_ASKED);
    assert_eq!(unknown, in_doubt, "in doubt is what was lost as it was handed over, and nothing else");
    assert_eq!(house.count("alerts where kind = 'send_unknown' and resolved_at is null").await, in_doubt);
}

pub(crate) async fn garbage_at_any_request_of_reading_loses_nothing<P: Provider>() {
    reading::<P>(Fault::Garbage).await;
}

pub(crate) async fn garbage_at_any_request_of_sending_sends_nothing_twice<P: Provider>() {
    sending::<P>(Fault::Garbage).await;
}

pub(crate) async fn a_line_dropped_at_any_request_of_reading_loses_nothing_and_doubles_nothing<
    P: Provider,
>() {
    reading::<P>(Fault::CutBefore).await;
    reading::<P>(Fault::CutAfter).await;
}

pub(crate) async fn a_line_dropped_before_any_request_of_sending_sends_nothing_twice<P: Provider>() {
    sending::<P>(Fault::CutBefore).await;
}

pub(crate) async fn a_line_dropped_after_any_request_of_sending_sends_nothing_twice<P: Provider>() {
    sending::<P>(Fault::CutAfter).await;
}

pub(crate) async fn a_server_that_speaks_one_byte_at_a_time_is_waited_for<P: Provider>() {
    let house = House::<P>::with(Config { phase_seconds: 20, ..config() }, |_| {}).await;
    let people = house.people(2).await;
    for number in 0..3 {
        house.provider.deliver(&people[0].address, &message(number, &people[0].address));
    }
    let email = house.ask(&people[0], Draft { to: to(&people[1].address), ..Draft::default() }).await;
    for &workload in P::DOORS {
        house.door(workload).set(Fault::Trickle(Duration::from_millis(1)));
    }
    assert_eq!(house.receive(&people[0]).await, 3);
    assert_eq!(house.transmit(&people[0]).await, 1);
    assert_eq!(house.state(email).await, EmailState::Sent);
    assert_eq!(house.count("alerts").await, 0);
}

pub(crate) async fn a_server_that_answers_only_to_turn_one_away_is_not_down<P: Provider>() {
    let house = House::<P>::build().await;
    let people = house.people(2).await;
    let door = house.door(Workload::Incoming);
    door.set(Fault::PlainText);
    assert_eq!(house.fails(&people[0], Workload::Incoming).await.0, FailureScope::Server);
    door.set(Fault::None);
    house.later().await;
    // The one mailbox that tries whether it is back has lost its password.
    house.provider.set_password(&people[0].address, "changed");
    assert_eq!(house.fails(&people[0], Workload::Incoming).await.0, FailureScope::Credential);
    // The server is back, one by one: what answered counts once.
    assert_eq!(house.count("endpoints where failures > 1 or open_until is not null").await, 0);
    assert_eq!(house.count("endpoints where worked = 1").await, 1);
    assert_eq!(house.count("alerts where profile_id is not null and resolved_at is null").await, 0);
    house.receive(&people[1]).await;
}

pub(crate) async fn a_refused_password_is_asked_twice_and_then_never_again<P: Provider>() {
    let house = House::<P>::build().await;
    let people = house.people(2).await;
    house.provider.set_password(&people[0].address, "changed");
    for _ in 0..2 {
        let failed = house.fails(&people[0], Workload::Incoming).await;
        assert_eq!(failed, (FailureScope::Credential, AlertKind::CredentialsRefused));
        assert!(house.door(Workload::Incoming).heard_a_secret());
        house.later().await;
    }
    assert_eq!(house.count("mailbox_workloads where workload = 'incoming' and enabled").await, 1);
    let told = "alerts where kind = 'credentials_refused' and class = 'permanent' and mailbox_id is not null";
    assert_eq!(house.count(told).await, 1);
    assert_eq!(house.count("schedules where workload = 'incoming' and due_at is null").await, 1);
    house.receive(&people[1]).await;
}
