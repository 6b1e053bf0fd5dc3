//! When two copies are one email, and what each reader sees of it: raw messages from Dovecot into the records.

use model::email::PartyRole;
use model::id::{EmailId, UserId};
use model::mailbox::Owner;
use model::workload::Workload;
use store::email::{self, Email, EmailCopy, EmailFilter, Reader};

use crate::house::{House, by};

/// A mail with a Message-ID, as it came to one mailbox.
fn mail(id: &str, to: &str, delivered_to: &str, extra: &str, body: &str) -> Vec<u8> {
    let id = if id.is_empty() { String::new() } else { format!("Message-ID: <{id}>\r\n") };
    format!(
        "Return-Path: <boss@elsewhere.example>\r\nDelivered-To: {delivered_to}\r\n\
         Received: from elsewhere.example by mail.example for <{delivered_to}>; Fri, 20 Nov 2026 10:00:00 +0000\r\n\
         {id}Date: Fri, 20 Nov 2026 09:59:58 +0000\r\nFrom: Boss <boss@elsewhere.example>\r\n\
         To: {to}\r\n{extra}Subject: The plan\r\n\r\n{body}\r\n"
    )
    .into_bytes()
}

impl House {
    async fn gets(&self, person: &(UserId, model::id::MailboxId, String), raw: &[u8]) {
        self.servers.deliver(&person.2, raw);
        self.cycle(person.1, Workload::Incoming).await;
    }

    async fn list(&self, reader: Reader, filter: &EmailFilter) -> Vec<Email> {
        email::list(&self.tenant().await, reader, filter, None, 10).await.unwrap()
    }

    /// The only email that somebody sees.
    async fn only(&self, reader: Reader) -> Email {
        let mut found = self.list(reader, &EmailFilter::default()).await;
        assert_eq!(found.len(), 1);
        let id = found.remove(0).id;
        email::get(&self.tenant().await, id, reader).await.unwrap().unwrap()
    }

    async fn opened(&self, id: EmailId, reader: Reader) -> EmailCopy {
        let tenant = self.tenant().await;
        email::open_copy(&tenant, id, reader, None, &by()).await.unwrap().unwrap()
    }

    /// The header of the raw message that somebody gets.
    async fn header(&self, id: EmailId, reader: Reader) -> String {
        let raw = self.opened(id, reader).await.raw.unwrap();
        let stored = store::blob::read(&self.tenant().await, raw.blob).await.unwrap().unwrap();
        let own = stored.slice(..usize::try_from(raw.header_size).unwrap());
        String::from_utf8(raw.header.unwrap_or(own).to_vec()).unwrap()
    }
}

#[tokio::test]
async fn the_same_mail_to_two_mailboxes_is_one_record_and_each_reader_gets_the_own_header() {
    let house = House::build().await;
    let (anna, bert) = (house.person("anna").await, house.person("bert").await);
    let to = format!("{}, {}", anna.2, bert.2);
    for person in [&bert, &anna] {
        house.gets(person, &mail("1@elsewhere", &to, &person.2, "", "Let us meet.")).await;
    }
    assert_eq!((house.count("emails").await, house.count("email_copies").await), (1, 1));
    assert_eq!(house.count("receipts").await, 2);
    for (person, other) in [(&anna, &bert), (&bert, &anna)] {
        let reader = Reader::User(person.0);
        let email = house.only(reader).await;
        assert_eq!(email.owner, Some(Owner::User(anna.0)), "the first of To");
        assert_eq!(email.receipts.len(), 1);
        let header = house.header(email.id, reader).await;
        assert!(header.contains(&format!("Delivered-To: {}", person.2)), "{header}");
        assert!(!header.contains(&format!("for <{}>", other.2)), "{header}");
    }
}

#[tokio::test]
async fn a_reader_in_bcc_has_a_receipt_and_nobody_else_learns_of_it() {
    let house = House::build().await;
    let (anna, bert) = (house.person("anna").await, house.person("bert").await);
    let bcc = format!("Bcc: {}\r\n", bert.2);
    // First: what makes the record is the copy that names him.
    house.gets(&bert, &mail("2@elsewhere", &anna.2, &bert.2, &bcc, "Secret")).await;
    let before = house.only(Reader::User(anna.0)).await;
    let header = house.header(before.id, Reader::User(anna.0)).await;
    assert!(!header.contains(&bert.2), "an owner without a receipt sees no other's way: {header}");
    house.gets(&anna, &mail("2@elsewhere", &anna.2, &anna.2, "", "Secret")).await;
    assert_eq!((house.count("emails").await, house.count("receipts").await), (1, 2));

    let hers = house.only(Reader::User(anna.0)).await;
    assert!(hers.parties.iter().all(|party| party.role != PartyRole::Bcc));
    assert_eq!((hers.receipts.len(), hers.created_by.as_str()), (1, "cycle"));
    assert!(!house.header(hers.id, Reader::User(anna.0)).await.contains(&bert.2));
    let named = EmailFilter { address: Some(bert.2.clone()), ..EmailFilter::default() };
    assert!(house.list(Reader::User(anna.0), &named).await.is_empty(), "nor by asking for his address");

    let his = house.only(Reader::User(bert.0)).await;
    assert_eq!(his.owner, Some(Owner::User(anna.0)));
    assert!(his.parties.iter().any(|party| party.role == PartyRole::Bcc && party.address == bert.2));
}

#[tokio::test]
async fn a_forged_or_rewritten_copy_is_read_by_who_got_it_and_by_nobody_else() {
    for forged_first in [true, false] {
        let house = House::build().await;
        let (anna, mallory) = (house.person("anna").await, house.person("mallory").await);
        let real = mail("3@elsewhere", &anna.2, &anna.2, "", "The true words");
        let forged = mail("3@elsewhere", &anna.2, &mallory.2, "", "Pay elsewhere");
        let mut order = [(&anna, &real), (&mallory, &forged)];
        if forged_first {
            order.reverse();
        }
        for (person, raw) in order {
            house.gets(person, raw).await;
        }
        assert_eq!((house.count("emails").await, house.count("email_copies").await), (1, 2));
        for (person, words) in [(&anna, "The true words"), (&mallory, "Pay elsewhere")] {
            let reader = Reader::User(person.0);
            let email = house.only(reader).await;
            let copy = house.opened(email.id, reader).await;
            assert_eq!(copy.text.unwrap().trim(), words, "forged first: {forged_first}");
            assert!(copy.others.is_empty(), "no other copy can be opened");
        }
    }
}

#[tokio::test]
async fn a_forged_copy_in_the_same_mailbox_never_hides_the_true_one() {
    let house = House::build().await;
    let anna = house.person("anna").await;
    for words in ["Pay elsewhere", "The true words"] {
        house.gets(&anna, &mail("4@elsewhere", &anna.2, &anna.2, "", words)).await;
    }
    assert_eq!(house.count("mailbox_items where decision = 'recorded'").await, 2);
    let reader = Reader::User(anna.0);
    let email = house.only(reader).await;
    let first = house.opened(email.id, reader).await;
    assert_eq!(first.text.unwrap().trim(), "Pay elsewhere");
    let tenant = house.tenant().await;
    let second =
        email::open_copy(&tenant, email.id, reader, Some(first.others[0]), &by()).await.unwrap().unwrap();
    assert_eq!(second.text.unwrap().trim(), "The true words");
}

#[tokio::test]
async fn a_reused_message_id_is_a_second_record_with_a_warning() {
    let house = House::build().await;
    let anna = house.person("anna").await;
    let raw = mail("5@elsewhere", &anna.2, &anna.2, "", "One");
    house.gets(&anna, &raw).await;
    let other = String::from_utf8(raw).unwrap().replace("The plan", "Another plan");
    house.gets(&anna, other.as_bytes()).await;
    assert_eq!(house.count("emails").await, 2);
    let warned = "emails where 'message_id_reused' = any(warnings) and subject = 'Another plan'";
    assert_eq!(house.count(warned).await, 1);
    assert_eq!(house.count("emails where 'message_id_reused' = any(warnings)").await, 1);
}

#[tokio::test]
async fn without_a_message_id_header_and_body_decide_and_the_way_does_not() {
    let house = House::build().await;
    let (anna, bert) = (house.person("anna").await, house.person("bert").await);
    let to = format!("{}, {}", anna.2, bert.2);
    house.gets(&anna, &mail("", &to, &anna.2, "", "No name")).await;
    house.gets(&bert, &mail("", &to, &bert.2, "", "No name")).await;
    assert_eq!((house.count("emails").await, house.count("receipts").await), (1, 2));
    house.gets(&bert, &mail("", &to, &bert.2, "", "No name, other words")).await;
    assert_eq!(house.count("emails").await, 2);
}
