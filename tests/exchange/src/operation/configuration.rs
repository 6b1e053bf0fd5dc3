//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/getuserconfiguration-operation> and its
//! companions: settings that a client keeps in a folder.

use crate::call::Call;
use crate::id::{Id, change_key};
use crate::mailbox::Configuration;
use crate::soap::{self, Message, Refusal};
use crate::xml::{Element, truth};

pub(super) fn get(call: &mut Call<'_>, request: &Element) -> Element {
    soap::answer("GetUserConfiguration", vec![read(call, request)], &[])
}

fn read(call: &Call<'_>, request: &Element) -> Message {
    let (place, folder, name) = named(call, request.child("UserConfigurationName"))?;
    let known =
        call.mailbox(place).configurations.get(&(folder, name.clone())).ok_or_else(|| not_found(&name))?;
    let wanted = request.child_text("UserConfigurationProperties").unwrap_or("All");
    let wants = |part: &str| wanted.contains("All") || wanted.split_whitespace().any(|one| one == part);
    let mut shown = Element::m("UserConfiguration").with(request.child("UserConfigurationName").map_or_else(
        || Element::t("UserConfigurationName"),
        |name| Element { space: crate::xml::Space::Types, ..name.clone() },
    ));
    if wants("Id") {
        let id = Id::Item { mailbox: place, number: known.number }.encode();
        shown = shown
            .with(Element::t("ItemId").attribute("Id", id).attribute("ChangeKey", change_key(known.changed)));
    }
    let parts = known.parts.iter().filter(|part| wants(&part.name)).cloned();
    Ok(vec![shown.with_all(parts)])
}

pub(super) fn create(call: &mut Call<'_>, request: &Element) -> Element {
    let done = write(call, request, true);
    soap::answer("CreateUserConfiguration", vec![done], &[])
}

pub(super) fn update(call: &mut Call<'_>, request: &Element) -> Element {
    let done = write(call, request, false);
    soap::answer("UpdateUserConfiguration", vec![done], &[])
}

fn write(call: &mut Call<'_>, request: &Element, anew: bool) -> Message {
    let given = request.child("UserConfiguration").ok_or_else(|| not_found(""))?;
    let (place, folder, name) = named(call, given.child("UserConfigurationName"))?;
    let key = (folder, name.clone());
    let known = call.mailbox(place).configurations.get(&key).cloned();
    match (&known, anew) {
        (Some(_), true) => {
            return Err(Refusal::of(
                "ErrorItemSave",
                "The user configuration cannot be saved: one of this name exists in this folder.",
            ));
        }
        (None, false) => return Err(not_found(&name)),
        _ => {}
    }
    let at = call.state.tick();
    let mut configuration = known.unwrap_or(Configuration { number: at, ..Configuration::default() });
    configuration.changed = at;
    for part in given.children.iter().filter(|part| part.name != "UserConfigurationName") {
        configuration.parts.retain(|old| old.name != part.name);
        configuration.parts.push(plain(part));
    }
    call.state.mailboxes[place].configurations.insert(key, configuration);
    Ok(Vec::new())
}

/// Truth in one spelling.
fn plain(part: &Element) -> Element {
    let mut part = part.clone();
    if part.child_text("Type") == Some("Boolean") {
        for value in part.children.iter_mut().filter(|child| child.name == "Value") {
            value.text = truth(&value.text).to_string();
        }
    }
    part.children = part.children.iter().map(plain).collect();
    part
}

pub(super) fn delete(call: &mut Call<'_>, request: &Element) -> Element {
    let done = named(call, request.child("UserConfigurationName")).and_then(|(place, folder, name)| {
        let gone = call.state.mailboxes[place].configurations.remove(&(folder, name.clone()));
        gone.map(|_| Vec::new()).ok_or_else(|| not_found(&name))
    });
    soap::answer("DeleteUserConfiguration", vec![done], &[])
}

fn named(call: &Call<'_>, name: Option<&Element>) -> Result<(usize, u64, String), Refusal> {
    let name = name.ok_or_else(|| not_found(""))?;
    let (place, folder) = call.folder_in(name)?;
    Ok((place, folder, name.value("Name").unwrap_or_default().to_owned()))
}

fn not_found(name: &str) -> Refusal {
    Refusal::of("ErrorItemNotFound", &format!("The specified object was not found in the store: '{name}'."))
}
