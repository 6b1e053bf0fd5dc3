//! Bcc: everyone named there gets the mail, and nobody finds out about anybody who was.

use model::email::EmailState;
use model::id::EmailId;
use store::outgoing::Draft;

use crate::house::{House, Person, to_all};
use crate::provider::Provider;

/// A sender, one To, one Cc and two Bcc.
async fn sent<P: Provider>(house: &House<P>) -> (Vec<Person>, EmailId) {
    let people = house.people(5).await;
    let draft = Draft {
        to: to_all(&people[1..2]),
        cc: to_all(&people[2..3]),
        bcc: to_all(&people[3..5]),
        subject: "For your eyes".to_owned(),
        html: Some("<p>Hello</p>".to_owned()),
        ..Draft::default()
    };
    let email = house.ask(&people[0], draft).await;
    house.transmit(&people[0]).await;
    assert_eq!(house.state(email).await, EmailState::Sent);
    (people, email)
}

/// What a reader could see of a message: all of it but the trace lines that a server adds for this recipient alone.
fn visible(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw).to_lowercase();
    let (mut seen, mut trace) = (String::new(), false);
    for line in text.lines() {
        let folded = line.starts_with([' ', '\t']);
        trace =
            if folded { trace } else { line.starts_with("delivered-to:") || line.starts_with("received:") };
        if !trace {
            seen.push_str(line);
            seen.push('\n');
        }
    }
    seen
}

fn assert_unseen(raw: &[u8], hidden: &[Person]) {
    let seen = visible(raw);
    assert!(!seen.contains("\nbcc:") && !seen.starts_with("bcc:"), "{seen}");
    for person in hidden {
        assert!(!seen.contains(&person.address.to_lowercase()), "{} in {seen}", person.address);
    }
}

pub(crate) async fn each_bcc_recipient_gets_the_mail_and_nobody_sees_a_bcc<P: Provider>() {
    let house = House::<P>::build().await;
    let (people, _) = sent(&house).await;
    for reader in &people[1..] {
        let arrived = house.arrived(&reader.address, 1).await;
        assert_eq!(arrived.len(), 1, "{}", reader.address);
        assert_unseen(&arrived[0], &people[3..]);
        // Not even in a trace line of somebody else's copy.
        let raw = String::from_utf8_lossy(&arrived[0]).to_lowercase();
        for hidden in people[3..].iter().filter(|hidden| hidden.address != reader.address) {
            assert!(
                !raw.contains(&hidden.address.to_lowercase()),
                "{} sees {}",
                reader.address,
                hidden.address
            );
        }
    }
    let handed = house.provider.handed_over();
    assert_eq!(handed.len(), 1);
    assert_unseen(&handed[0].raw, &people[3..]);
    for person in &people[1..] {
        assert!(handed[0].recipients.contains(&person.address.to_lowercase()), "the envelope has everybody");
    }
}

pub(crate) async fn a_mail_to_bcc_recipients_alone_names_none_of_them<P: Provider>() {
    let house = House::<P>::build().await;
    let people = house.people(3).await;
    let draft = Draft { bcc: to_all(&people[1..]), subject: "Quiet".to_owned(), ..Draft::default() };
    let email = house.ask(&people[0], draft).await;
    house.transmit(&people[0]).await;
    assert_eq!(house.state(email).await, EmailState::Sent);
    for reader in &people[1..] {
        assert_unseen(&house.arrived(&reader.address, 1).await[0], &people[1..]);
    }
}

pub(crate) async fn no_record_of_a_recipient_names_a_bcc_and_the_senders_own_does<P: Provider>() {
    let house = House::<P>::build().await;
    let (people, email) = sent(&house).await;
    for reader in &people[1..] {
        house.arrived(&reader.address, 1).await;
        assert_eq!(house.receive(reader).await, 1);
    }
    // However the copies differ by their trace lines, they are one record, with a receipt for each reader.
    assert_eq!(house.count("emails where direction = 'incoming'").await, 1);
    assert_eq!(house.count("(select distinct mailbox_id from receipts) r").await, 4);
    let parties = "email_parties p join emails e on e.id = p.email_id where e.direction = 'incoming'";
    assert_eq!(house.count(&format!("{parties} and p.role in ('to', 'cc')")).await, 2);
    assert_eq!(house.count(&format!("{parties} and p.role = 'bcc'")).await, 0);
    for hidden in &people[3..] {
        assert_eq!(house.count(&format!("{parties} and p.address_key = '{}'", hidden.address)).await, 0);
        let copies = "email_copies c join emails e on e.id = c.email_id where e.direction = 'incoming'";
        let told = format!("{copies} and concat(copy_text(c), c.html_body) like '%{}%'", hidden.address);
        assert_eq!(house.count(&told).await, 0);
    }
    let own = format!("email_parties where email_id = '{}' and role = 'bcc'", email.0);
    assert_eq!(house.count(&own).await, 2, "the sender may know whom he wrote to");
}

pub(crate) async fn no_saved_copy_names_a_bcc<P: Provider>() {
    let house = House::<P>::build().await;
    let (people, _) = sent(&house).await;
    let saved = house.provider.saved(&people[0].address);
    assert_eq!(saved.len(), 1);
    assert_unseen(&saved[0], &people[3..]);
}
