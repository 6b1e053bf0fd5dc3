//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/convertid-operation>: ids here are the
//! same in every format.

use crate::call::Call;
use crate::id::Id;
use crate::soap::{self, Fault, Message, Refusal};
use crate::xml::Element;

pub(super) fn answer(_call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let format = request.value("DestinationFormat").unwrap_or("EwsId").to_owned();
    let sources = request.child("SourceIds").ok_or_else(|| Fault::schema("'SourceIds' is missing."))?;
    let messages = sources.children.iter().map(|source| one(source, &format)).collect();
    Ok(soap::answer("ConvertId", messages, &[]))
}

fn one(source: &Element, format: &str) -> Message {
    let id = source.value("Id").unwrap_or_default();
    if Id::decode(id).is_none() {
        return Err(Refusal::malformed_id());
    }
    let mut converted = Element::m("AlternateId")
        .attribute("Format", format)
        .attribute("Id", id)
        .attribute("Mailbox", source.value("Mailbox").unwrap_or_default());
    if source.value("IsArchive").is_some() {
        converted = converted.attribute("IsArchive", false);
    }
    Ok(vec![converted])
}
