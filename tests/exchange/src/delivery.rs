//! What happens to a message that is sent: it leaves with a Message-ID, arrives in mailboxes, comes back, and is kept.

use jiff::Timestamp;

use crate::item::{Item, mailbox};
use crate::mime;
use crate::report::Handed;
use crate::soap::Refusal;
use crate::state::{Entry, State};
use crate::xml::Element;

/// Sends an item of the mailbox at `place` for whoever signed in as `login`. What is returned is the copy to keep.
pub(crate) fn send(
    state: &mut State,
    place: usize,
    login: &str,
    mut item: Item,
    now: Timestamp,
) -> Result<Item, Refusal> {
    let recipients = item.recipients();
    if recipients.is_empty() {
        return Err(Refusal::of("ErrorInvalidRecipients", "At least one recipient isn't valid."));
    }
    if let Some(bad) = recipients.iter().find(|one| !one.contains('@')) {
        let mut refusal = Refusal::of("ErrorInvalidRecipients", "At least one recipient isn't valid.");
        refusal.values.push(("InvalidRecipient".to_owned(), bad.clone()));
        return Err(refusal);
    }
    author(state, place, login, &mut item)?;
    let from = item.people("From").into_iter().next().map(|(_, address)| address).unwrap_or_default();
    let own = &state.mailboxes[place];
    let sender = own.address.clone();
    let domain = sender.rsplit('@').next().unwrap_or("localhost").to_owned();

    let given = item.field_text("InternetMessageId").filter(|_| state.options.keeps_message_id);
    let id = given.map_or_else(
        || {
            let random: [u8; 16] = model::clock::random_bytes();
            format!("<{}@mail.{domain}>", mime::hex(&random))
        },
        str::to_owned,
    );
    item.set_text("InternetMessageId", &id);
    item.sent = Some(now);
    item.received = now;
    item.draft = false;
    item.read = true;
    item.from_me = true;
    let whole = mime::of_item(&item);
    let people = |field: &str| {
        let list: Vec<String> = item.people(field).iter().map(header_address).collect();
        // A line has at most 998 bytes.
        list.join(",\r\n ")
    };
    let date = now.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string();
    let mut set = vec![("Message-ID", id.clone()), ("Date", date), ("From", people("From"))];
    // Recipients that were given beside the message are part of it when it leaves.
    for (field, header) in [("ToRecipients", "To"), ("CcRecipients", "Cc")] {
        if item.field(field).is_some() {
            set.push((header, people(field)));
        }
    }
    if item.people("Sender") != item.people("From") {
        set.push(("Sender", people("Sender")));
    }
    let message = mime::rewrite(&whole, &set, &["Bcc", "X-Unsent"]);
    // The kept copy shows its Bcc; what leaves does not.
    item.mime = Some(message.clone().into());
    state.handed.push(Handed {
        mailbox: sender.clone(),
        from: from.clone(),
        recipients: recipients.clone(),
        message_id: id.clone(),
        message: message.clone(),
        at: now,
    });

    let mut bounced = Vec::new();
    for recipient in &recipients {
        deliver(state, recipient, &message, now, &mut bounced, 0);
    }
    if !bounced.is_empty() {
        let report =
            report(&sender, &id, item.field_text("Subject").unwrap_or_default(), &bounced, &message, now);
        let inbox = state.mailboxes[place].distinguished("inbox").ok_or_else(Refusal::folder_not_found)?;
        let mut item = mime::read(&report, now);
        "REPORT.IPM.Note.NDR".clone_into(&mut item.class);
        state.put(place, inbox, item, true);
    }
    Ok(item)
}

/// Fills in who it is from, and refuses what the login may not say.
fn author(state: &State, place: usize, login: &str, item: &mut Item) -> Result<(), Refusal> {
    let own = &state.mailboxes[place];
    let from = item.people("From").into_iter().next();
    let (name, address) = match from {
        Some((_, address)) if own.is(&address) => (own.name.clone(), own.address.clone()),
        Some((name, address)) => {
            let denied = || {
                Refusal::of(
                    "ErrorSendAsDenied",
                    "The user account which was used to submit this request does not have the right to send mail on \
                     behalf of the specified sending account.",
                )
            };
            let other = state.place_of(&address).ok_or_else(denied)?;
            let other = &state.mailboxes[other];
            let names = [login.to_lowercase(), own.address.to_lowercase()];
            let may = |who: &std::collections::BTreeSet<String>| names.iter().any(|name| who.contains(name));
            if may(&other.send_as) {
                item.set(Element::t("From").with(mailbox(&other.name, &other.address)));
                item.set(Element::t("Sender").with(mailbox(&other.name, &other.address)));
                return Ok(());
            }
            if !may(&other.on_behalf) {
                return Err(denied());
            }
            (if name.is_empty() { other.name.clone() } else { name }, other.address.clone())
        }
        None => (own.name.clone(), own.address.clone()),
    };
    // Whoever opened another's mailbox sends from it on its behalf: the sender is the one who acts.
    item.set(Element::t("From").with(mailbox(&name, &address)));
    item.set(Element::t("Sender").with(mailbox(&own.name, &own.address)));
    Ok(())
}

fn deliver(
    state: &mut State,
    recipient: &str,
    message: &[u8],
    now: Timestamp,
    bounced: &mut Vec<(String, String)>,
    depth: usize,
) {
    if let Some(words) = state.refused.get(recipient) {
        bounced.push((recipient.to_owned(), words.clone()));
        return;
    }
    if let Some(place) = state.place_of(recipient) {
        arrive(state, place, "inbox", message, now);
        return;
    }
    let members = state.directory.iter().find_map(|entry| match entry {
        Entry::List { address, members, .. } if address.eq_ignore_ascii_case(recipient) => {
            Some(members.clone())
        }
        _ => None,
    });
    if let Some(members) = members.filter(|_| depth < 8) {
        for member in members {
            deliver(state, &member, message, now, bounced, depth + 1);
        }
        return;
    }
    let domain = recipient.rsplit('@').next().unwrap_or_default();
    let is_contact = state.directory.iter().any(
        |entry| matches!(entry, Entry::Contact { address, .. } if address.eq_ignore_ascii_case(recipient)),
    );
    let local = domain.eq_ignore_ascii_case(&state.options.domain)
        || state
            .mailboxes
            .iter()
            .any(|mailbox| mailbox.address.to_lowercase().ends_with(&format!("@{domain}")));
    if local && !is_contact {
        bounced.push((
            recipient.to_owned(),
            "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup"
                .to_owned(),
        ));
    }
}

/// A message that came from outside or from a mailbox here, with the trace that delivery leaves.
pub(crate) fn arrive(
    state: &mut State,
    place: usize,
    folder: &str,
    message: &[u8],
    now: Timestamp,
) -> Option<u64> {
    let own = &state.mailboxes[place];
    let folder = own.find(folder)?;
    let trace = format!(
        "Received: from localhost (127.0.0.1) by localhost (127.0.0.1) with Microsoft SMTP Server; {}\r\n",
        now.strftime("%a, %d %b %Y %H:%M:%S +0000")
    );
    let mut whole = trace.into_bytes();
    whole.extend_from_slice(message);
    let mut item = mime::read(&whole, now);
    if item.field("InternetMessageId").is_none() {
        let random: [u8; 16] = model::clock::random_bytes();
        item.set_text("InternetMessageId", format!("<{}@localhost>", mime::hex(&random)));
    }
    if state.options.rewrites_bodies {
        item.body = item.body.as_ref().map(crate::body::rewritten);
        item.mime = None;
    }
    Some(state.put(place, folder, item, true))
}

fn header_address((name, address): &(String, String)) -> String {
    if name.is_empty() || name == address {
        address.clone()
    } else if name.is_ascii() {
        format!("\"{}\" <{address}>", name.replace(['"', '\\'], ""))
    } else {
        use base64::{Engine as _, prelude::BASE64_STANDARD};
        // RFC 2047 allows 75 characters a word; a name of more than 45 bytes is cut into several.
        let mut words = Vec::new();
        let mut word = String::new();
        for character in name.chars() {
            if word.len() + character.len_utf8() > 42 {
                words.push(std::mem::take(&mut word));
            }
            word.push(character);
        }
        words.push(word);
        let words: Vec<String> =
            words.iter().map(|word| format!("=?utf-8?B?{}?=", BASE64_STANDARD.encode(word))).collect();
        format!("{} <{address}>", words.join(" "))
    }
}

/// RFC 3464, as Exchange writes it.
fn report(
    sender: &str,
    id: &str,
    subject: &str,
    bounced: &[(String, String)],
    message: &[u8],
    now: Timestamp,
) -> Vec<u8> {
    let date = now.strftime("%a, %d %b %Y %H:%M:%S +0000").to_string();
    let domain = sender.rsplit('@').next().unwrap_or("localhost");
    let random: [u8; 8] = model::clock::random_bytes();
    let boundary = format!("report-{}", mime::hex(&random));
    let list: Vec<&str> = bounced.iter().map(|(address, _)| address.as_str()).collect();
    let details = bounced.iter().fold(String::new(), |all, (address, words)| {
            let status = words.split_whitespace().find(|word| word.starts_with("5.") || word.starts_with("4."));
            format!(
                "{all}Original-Recipient: rfc822;{address}\r\nFinal-Recipient: rfc822;{address}\r\nAction: failed\r\n\
                 Status: {}\r\nDiagnostic-Code: smtp;{words}\r\n\r\n",
                status.unwrap_or("5.0.0")
            )
        });
    let end = message.windows(4).position(|four| four == b"\r\n\r\n").map_or(message.len(), |at| at + 2);
    let header = String::from_utf8_lossy(&message[..end]);
    let subject = mime::one_line(subject);
    format!(
        "From: postmaster@{domain}\r\nTo: {sender}\r\nDate: {date}\r\nMessage-ID: <{}@mail.{domain}>\r\n\
         In-Reply-To: {id}\r\nReferences: {id}\r\nSubject: Undeliverable: {subject}\r\nMIME-Version: 1.0\r\n\
         Auto-Submitted: auto-replied\r\nX-MS-Exchange-Message-Is-Ndr:\r\n\
         Content-Type: multipart/report; report-type=delivery-status; boundary=\"{boundary}\"\r\n\r\n\
         --{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
         Delivery has failed to these recipients or groups:\r\n\r\n{}\r\n\r\n\
         --{boundary}\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns;mail.{domain}\r\n\r\n{details}\
         --{boundary}\r\nContent-Type: text/rfc822-headers\r\n\r\n{header}\r\n--{boundary}--\r\n",
        mime::hex(&random),
        list.join("\r\n"),
    )
    .into_bytes()
}
