//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/getfolder-operation>

use crate::call::Call;
use crate::render;
use crate::schema::Shape;
use crate::soap::{self, Fault};
use crate::xml::Element;

pub(super) fn answer(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let shape = Shape::parse(request.child("FolderShape"))?;
    let ids = request.child("FolderIds").ok_or_else(|| Fault::schema("'FolderIds' is missing."))?;
    let messages = ids.children.iter().map(|id| {
        let at = call.folder(id)?;
        let folder = render::folder(call.mailbox(at.0), call.folder_of(at)?, &shape, call.version);
        Ok(vec![Element::m("Folders").with(folder)])
    });
    Ok(soap::answer("GetFolder", messages.collect(), &[Element::m("Folders")]))
}
