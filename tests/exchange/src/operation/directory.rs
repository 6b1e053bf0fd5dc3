//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/resolvenames-operation> and
//! `expanddl-operation`: the directory of mailboxes, distribution lists and contacts.

use crate::call::Call;
use crate::soap::{self, Fault, Message, Refusal};
use crate::state::Entry;
use crate::xml::Element;

/// One entry that a name may mean.
struct Person {
    name: String,
    address: String,
    /// `Mailbox`, `PublicDL` or `Contact`.
    kind: &'static str,
    /// Other addresses of the same mailbox.
    aliases: Vec<String>,
}

fn all(call: &Call<'_>) -> Vec<Person> {
    let mailboxes = call.state.mailboxes.iter().map(|mailbox| Person {
        name: mailbox.name.clone(),
        address: mailbox.address.clone(),
        kind: "Mailbox",
        aliases: mailbox.aliases.iter().cloned().collect(),
    });
    let others = call.state.directory.iter().map(|entry| match entry {
        Entry::List { name, address, .. } => {
            Person { name: name.clone(), address: address.clone(), kind: "PublicDL", aliases: Vec::new() }
        }
        Entry::Contact { name, address } => {
            Person { name: name.clone(), address: address.clone(), kind: "Contact", aliases: Vec::new() }
        }
    });
    mailboxes.chain(others).collect()
}

pub(super) fn resolve(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let entry = request
        .child_text("UnresolvedEntry")
        .ok_or_else(|| Fault::schema("'UnresolvedEntry' is missing."))?;
    let full = request.says("ReturnFullContactData");
    let wanted = entry.trim().trim_start_matches("smtp:").trim_start_matches("SMTP:").trim_start_matches('=');
    let wanted = wanted.to_lowercase();
    let found: Vec<Person> = all(call)
        .into_iter()
        .filter(|person| {
            let address = person.address.to_lowercase();
            let name = person.name.to_lowercase();
            !wanted.is_empty()
                && (address == wanted
                    || person.aliases.contains(&wanted)
                    || !wanted.contains('@')
                        && (name.split_whitespace().any(|word| word.starts_with(&wanted))
                            || name.starts_with(&wanted)
                            || address.starts_with(&wanted)))
        })
        .collect();
    let message = set(&found, full);
    Ok(soap::answer("ResolveNames", vec![message.0], &message.1))
}

/// The message, and what a warning carries too.
fn set(found: &[Person], full: bool) -> (Message, Vec<Element>) {
    if found.is_empty() {
        let none = Refusal::of("ErrorNameResolutionNoResults", "No results were found.");
        return (Err(none), Vec::new());
    }
    let shown = &found[..found.len().min(100)];
    let resolutions = shown.iter().map(|person| {
        let resolution = Element::t("Resolution").with(mailbox(person));
        if full { resolution.with(contact(person)) } else { resolution }
    });
    let set = Element::m("ResolutionSet")
        .attribute("TotalItemsInView", shown.len())
        .attribute("IncludesLastItemInRange", found.len() <= 100)
        .with_all(resolutions);
    if found.len() > 1 {
        let many = Refusal::of("ErrorNameResolutionMultipleResults", "Multiple results were found.");
        return (Err(Refusal { warning: true, ..many }), vec![set]);
    }
    (Ok(vec![set]), Vec::new())
}

pub(super) fn expand(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let list = request.child("Mailbox").ok_or_else(|| Fault::schema("'Mailbox' is missing."))?;
    let address = list.child_text("EmailAddress").unwrap_or_default().trim().to_lowercase();
    let members = call.state.directory.iter().find_map(|entry| match entry {
        Entry::List { address: known, members, .. } if known.eq_ignore_ascii_case(&address) => Some(members),
        _ => None,
    });
    let message = members
        .ok_or_else(|| Refusal::of("ErrorNameResolutionNoResults", "No results were found."))
        .map(|members| {
            let known = all(call);
            let shown = members.iter().map(|member| {
                match known.iter().find(|person| person.address.eq_ignore_ascii_case(member)) {
                    Some(person) => mailbox(person),
                    None => mailbox(&Person {
                        name: member.clone(),
                        address: member.clone(),
                        kind: "OneOff",
                        aliases: Vec::new(),
                    }),
                }
            });
            let expansion = Element::m("DLExpansion")
                .attribute("TotalItemsInView", members.len())
                .attribute("IncludesLastItemInRange", true)
                .with_all(shown);
            vec![expansion]
        });
    Ok(soap::answer("ExpandDL", vec![message], &[]))
}

fn mailbox(person: &Person) -> Element {
    Element::t("Mailbox")
        .with(Element::text("Name", &person.name))
        .with(Element::text("EmailAddress", &person.address))
        .with(Element::text("RoutingType", "SMTP"))
        .with(Element::text("MailboxType", person.kind))
}

fn contact(person: &Person) -> Element {
    let mut addresses = vec![format!("SMTP:{}", person.address)];
    addresses.extend(person.aliases.iter().map(|alias| format!("smtp:{alias}")));
    let entries = addresses.iter().take(3).enumerate().map(|(at, address)| {
        Element::text("Entry", address).attribute("Key", format!("EmailAddress{}", at + 1))
    });
    Element::t("Contact")
        .with(Element::text("DisplayName", &person.name))
        .with(Element::t("EmailAddresses").with_all(entries))
        .with(Element::text("ContactSource", "ActiveDirectory"))
}
