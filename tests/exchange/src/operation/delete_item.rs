//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/deleteitem-operation>

use crate::call::Call;
use crate::meeting;
use crate::occurrence;
use crate::schema::Kind;
use crate::soap::{self, Fault, Message, Refusal};
use crate::xml::Element;

pub(super) fn answer(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let how = request.value("DeleteType").unwrap_or_default();
    if !["HardDelete", "SoftDelete", "MoveToDeletedItems"].contains(&how) {
        return Err(Fault::schema("The 'DeleteType' attribute is invalid."));
    }
    let ids = request.child("ItemIds").ok_or_else(|| Fault::schema("'ItemIds' is missing."))?;
    let messages = ids.children.iter().map(|id| one(call, request, id, how)).collect();
    Ok(soap::answer("DeleteItem", messages, &[]))
}

fn one(call: &mut Call<'_>, request: &Element, id: &Element, how: &str) -> Message {
    if let Some(occurrence) = occurrence::named(call, id) {
        occurrence?.delete(call)?;
        return Ok(Vec::new());
    }
    let at = call.item(id)?;
    let mut item = call.item_of(at)?.clone();
    if item.kind() == Kind::Calendar {
        let Some(cancels) = request.value("SendMeetingCancellations") else {
            return Err(Refusal::of(
                "ErrorSendMeetingCancellationsRequired",
                "The SendMeetingCancellations attribute is required for calendar items.",
            ));
        };
        if cancels != "SendToNone" {
            let save = cancels == "SendToAllAndSaveCopy";
            meeting::invite(call, at.0, &mut item, "Canceled", save);
        }
    }
    if item.kind() == Kind::Task && request.value("AffectedTaskOccurrences").is_none() {
        return Err(Refusal::of(
            "ErrorAffectedTaskOccurrencesRequired",
            "The AffectedTaskOccurrences attribute is required for tasks.",
        ));
    }
    let to = match how {
        "MoveToDeletedItems" => Some("deleteditems"),
        "SoftDelete" => Some("recoverableitemsdeletions"),
        _ => None,
    };
    match to.and_then(|to| call.mailbox(at.0).distinguished(to)).filter(|to| *to != item.folder) {
        Some(folder) => {
            call.state.relocate(at.0, at.1, at.0, folder)?;
        }
        None => {
            call.state.remove(at.0, at.1)?;
        }
    }
    Ok(Vec::new())
}
