//! What else lies in inboxes: newsletters, automatic answers, delivery reports, colleagues, scans, and what is broken.

use jiff::Timestamp;

use super::chance::Chance;
use super::writing::{Part, Script, Transfer, base64_lines, file, multipart, part};
use super::{DOMAIN, Message, PEOPLE, Sample, files, later, message_id, office_hour};

const PLAIN: Script = Script::new("us-ascii", Transfer::SevenBit);
const UTF_8: Script = Script::new("utf-8", Transfer::QuotedPrintable);
// Their places among PEOPLE.
const ANNA: usize = 0;
const BEN: usize = 1;
const CLARA: usize = 2;
const SUPPORT: usize = 3;

/// Adds a few of each.
pub(super) fn all(chance: &mut Chance, now: Timestamp, samples: &mut Vec<Sample>) {
    for issue in 1..=12 {
        samples.push(newsletter(chance, now, issue));
    }
    for _ in 0..3 {
        samples.push(out_of_office(chance, now));
        samples.push(delivery_report(chance, now));
        samples.push(scan(chance, now));
    }
    for _ in 0..4 {
        colleagues(chance, now, samples);
    }
    samples.push(twice_in_one_mailbox(chance, now));
    samples.push(never_closed(chance, now));
    samples.push(no_message(chance, now));
}

fn plain(chance: &mut Chance, now: Timestamp, from: (&str, &str), to: &[usize], subject: &str) -> Message {
    let domain = from.1.rsplit_once('@').map_or(DOMAIN, |(_, domain)| domain);
    Message {
        script: PLAIN,
        from: (from.0.to_owned(), from.1.to_owned()),
        to: to.to_vec(),
        cc: Vec::new(),
        date: office_hour(chance, now, 2),
        hours_east: 0,
        id: Some(message_id(chance, domain)),
        references: Vec::new(),
        subject: subject.to_owned(),
        extra: String::new(),
    }
}

fn boundary(chance: &mut Chance) -> String {
    format!("----=_Part_{:016x}", chance.next())
}

fn newsletter(chance: &mut Chance, now: Timestamp, issue: usize) -> Sample {
    let to = [*chance.pick(&[ANNA, BEN, CLARA, SUPPORT])];
    let subject = format!("Warehouse Weekly № {issue}: what moves the market");
    let mut message =
        plain(chance, now, ("Warehouse Weekly", "news@warehouse-weekly.example"), &to, &subject);
    message.script = UTF_8;
    message.extra.push_str(
        "List-Id: Warehouse Weekly <weekly.warehouse-weekly.example>\r\n\
         List-Unsubscribe: <https://warehouse-weekly.example/leave>\r\nPrecedence: bulk\r\n\
         Auto-Submitted: auto-generated\r\n",
    );
    let text =
        format!("Freight rates this week – {} €/pallet\n\nRead more on our pages.\n", chance.between(40, 90));
    let html = format!(
        "<html><body><h1>Warehouse Weekly</h1><p>{}</p><img src=\"https://warehouse-weekly.example/open.gif\">\
         </body></html>\n",
        text.trim().replace("\n\n", "</p><p>")
    );
    let parts = [UTF_8.text("plain", &text), UTF_8.text("html", &html)];
    let part = multipart("alternative", &boundary(chance), &parts);
    message.sample(&part, text.lines().next().map(str::to_owned), 0)
}

fn out_of_office(chance: &mut Chance, now: Timestamp) -> Sample {
    let to = [*chance.pick(&[ANNA, BEN, CLARA])];
    let subject = "Automatic reply: Your order is on its way";
    let mut message = plain(chance, now, ("Grace Mensah", "grace@harbourline.example"), &to, subject);
    message.references = vec![message_id(chance, DOMAIN)];
    message.extra.push_str("Auto-Submitted: auto-replied\r\nX-Auto-Response-Suppress: All\r\n");
    let text = "I am out of the office until Monday with limited access to email.\n\nGrace Mensah\n";
    message.sample(&PLAIN.text("plain", text), text.lines().next().map(str::to_owned), 0)
}

/// RFC 3464: a report, its status and the message it speaks of.
fn delivery_report(chance: &mut Chance, now: Timestamp) -> Sample {
    let place = *chance.pick(&[ANNA, BEN, CLARA]);
    let sender = PEOPLE[place].address();
    let from = ("Mail Delivery System", "MAILER-DAEMON@mx.nordwind.example");
    let mut message = plain(chance, now, from, &[place], "Undelivered Mail Returned to Sender");
    message.extra.push_str("Auto-Submitted: auto-replied\r\n");
    let lost = format!("purchasing{}@old-customer.example", chance.between(1, 99));
    let text = format!(
        "I'm sorry to have to inform you that your message could not be delivered.\n\n<{lost}>: who?\n"
    );
    let status = format!(
        "Reporting-MTA: dns; mx.{DOMAIN}\r\n\r\nFinal-Recipient: rfc822; {lost}\r\nAction: failed\r\n\
         Status: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 <{lost}>: user unknown\r\n"
    );
    let original = format!(
        "From: {sender}\r\nTo: {lost}\r\nSubject: Price list\r\nMessage-ID: <{}>\r\n\r\nPlease find our prices.\r\n",
        message_id(chance, DOMAIN)
    );
    let parts = [
        PLAIN.text("plain", &text),
        part("Content-Type: message/delivery-status", status.as_bytes()),
        part("Content-Type: message/rfc822", original.as_bytes()),
    ];
    let report = multipart("report; report-type=delivery-status", &boundary(chance), &parts);
    let mut sample = message.sample(&report, text.lines().next().map(str::to_owned), 2);
    sample.return_path = String::new();
    sample
}

/// From a machine that gives no Message-ID; the same to two people.
fn scan(chance: &mut Chance, now: Timestamp) -> Sample {
    let number = chance.between(10_000, 99_999);
    let from = ("Scanner 3rd floor", "scanner@nordwind.example");
    let mut message = plain(chance, now, from, &[CLARA, ANNA], &format!("Scan {number}"));
    message.id = None;
    let pdf = files::pdf(&[format!("Scan {number}"), "signed".to_owned()]);
    let parts = [
        PLAIN.text("plain", &format!("Scan {number} of 1 page.\n")),
        file(&format!("scan-{number}.pdf"), "application/pdf", None, &pdf),
    ];
    let part = multipart("mixed", &boundary(chance), &parts);
    message.sample(&part, Some(format!("Scan {number} of 1 page.")), 1)
}

/// Three letters between colleagues, each answering the one before, with a third in copy.
fn colleagues(chance: &mut Chance, now: Timestamp, samples: &mut Vec<Sample>) {
    let year = chance.between(2019, 2026);
    let subject = format!("Stock count {year}: who counts what?");
    let mut date = office_hour(chance, now, 6);
    let mut references = Vec::new();
    for (writer, reader, text) in [
        (ANNA, BEN, "Ben, could your people count the south hall? I have the fair that week."),
        (BEN, ANNA, "We can, if Clara sends us the lists before Wednesday."),
        (ANNA, BEN, "She will. I asked her for them at lunch - the old ones had the wrong units."),
    ] {
        let person = PEOPLE[writer];
        let subject = if references.is_empty() { subject.clone() } else { format!("Re: {subject}") };
        let mut message = plain(chance, now, (person.name, &person.address()), &[reader], &subject);
        message.cc = vec![CLARA];
        message.date = date;
        message.references.clone_from(&references);
        references.extend(message.id.clone());
        samples.push(message.sample(&PLAIN.text("plain", &format!("{text}\n")), Some(text.to_owned()), 0));
        date = later(date, chance.between(600, 86_400));
    }
}

/// Sent to the queue by itself and by way of a list: the mailbox holds it twice.
fn twice_in_one_mailbox(chance: &mut Chance, now: Timestamp) -> Sample {
    let from = ("Shannon Works Service", "service@shannonworks.example");
    let message = plain(chance, now, from, &[SUPPORT], "Recall of power supplies, batch 7731");
    let text = "Please check the serial numbers of all power supplies from batch 7731.\n";
    let mut sample = message.sample(&PLAIN.text("plain", text), text.lines().next().map(str::to_owned), 0);
    sample.mailboxes = vec![SUPPORT, SUPPORT];
    sample
}

/// A multipart that was cut off in the middle of a file, whose encoding is damaged too.
fn never_closed(chance: &mut Chance, now: Timestamp) -> Sample {
    let message =
        plain(chance, now, ("Tom", "tom.obrien@shannonworks.example"), &[SUPPORT], "Photos, second try");
    let boundary = boundary(chance);
    let text = "The upload broke off, here is what I have.\n";
    let mut photo = base64_lines(&files::png(chance, 160, 90));
    photo.truncate(photo.len() / 2);
    photo.splice(200..204, *b"####");
    photo.extend_from_slice(b"\r\n");
    let whole: Part = multipart("mixed", &boundary, &[PLAIN.text("plain", text)]);
    let end = format!("--{boundary}--\r\n");
    let opened = &whole[..whole.len() - end.len()];
    let head = format!(
        "--{boundary}\r\nContent-Type: image/png; name=\"IMG_1.png\"\r\nContent-Disposition: attachment\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n"
    );
    let part = [opened, head.as_bytes(), &photo].concat();
    message.sample(&part, text.lines().next().map(str::to_owned), 1)
}

/// The rest of a file where a message should be: not one header field.
fn no_message(chance: &mut Chance, now: Timestamp) -> Sample {
    let mut message = plain(chance, now, ("", "nobody@invalid"), &[SUPPORT], "");
    message.id = None;
    let raw = base64_lines(&files::png(chance, 24, 24));
    let mut sample = message.sample(&[], None, 0);
    (sample.raw, sample.subject, sample.unparsable) = (raw, None, true);
    sample
}
