//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/findfolder-operation>

use crate::call::Call;
use crate::render;
use crate::restriction;
use crate::schema::Shape;
use crate::soap::{self, Fault, Message};
use crate::xml::Element;

pub(super) fn answer(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let shape = Shape::parse(request.child("FolderShape"))?;
    let parents =
        request.child("ParentFolderIds").ok_or_else(|| Fault::schema("'ParentFolderIds' is missing."))?;
    let messages = parents.children.iter().map(|parent| one(call, request, parent, &shape)).collect();
    Ok(soap::answer("FindFolder", messages, &[]))
}

fn one(call: &Call<'_>, request: &Element, parent: &Element, shape: &Shape) -> Message {
    let (place, parent) = call.folder(parent)?;
    let mailbox = call.mailbox(place);
    let found = match request.value("Traversal").unwrap_or("Shallow") {
        "Deep" => mailbox.below(parent),
        "SoftDeleted" => Vec::new(),
        _ => mailbox.children(parent).map(|child| child.number).collect(),
    };
    let restriction = request.child("Restriction").and_then(|all| all.children.first());
    let mut shown = Vec::new();
    for number in found {
        let folder = mailbox.folder(number)?;
        let values = restriction::folder_values(mailbox, folder, call.version);
        if restriction.is_none_or(|restriction| restriction::holds(restriction, &values)) {
            shown.push(render::folder(mailbox, folder, shape, call.version));
        }
    }
    let page = super::find_item::Page::of(request.child("IndexedPageFolderView"), shown.len());
    let shown: Vec<Element> = shown.drain(page.range()).collect();
    let root = page.describe(Element::m("RootFolder")).with(Element::t("Folders").with_all(shown));
    Ok(vec![root])
}
