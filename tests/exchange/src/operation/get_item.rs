//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/getitem-operation>

use crate::call::Call;
use crate::occurrence;
use crate::render;
use crate::schema::Shape;
use crate::soap::{self, Fault, Message};
use crate::xml::Element;

pub(super) fn answer(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let shape = Shape::parse(request.child("ItemShape"))?;
    let ids = request.child("ItemIds").ok_or_else(|| Fault::schema("'ItemIds' is missing."))?;
    let messages = ids.children.iter().map(|id| one(call, id, &shape)).collect();
    Ok(soap::answer("GetItem", messages, &[Element::m("Items")]))
}

fn one(call: &Call<'_>, id: &Element, shape: &Shape) -> Message {
    if let Some(occurrence) = occurrence::named(call, id) {
        return Ok(vec![Element::m("Items").with(occurrence?.render(call, shape))]);
    }
    let at = call.item(id)?;
    let item = render::item(call.mailbox(at.0), call.item_of(at)?, shape);
    Ok(vec![Element::m("Items").with(item)])
}
