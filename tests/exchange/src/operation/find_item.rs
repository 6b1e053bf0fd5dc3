//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/finditem-operation>

use std::ops::Range;

use crate::call::Call;
use crate::occurrence;
use crate::render;
use crate::restriction;
use crate::schema::Shape;
use crate::soap::{self, Fault, Message};
use crate::time;
use crate::xml::Element;

/// What only `GetItem` gives.
const HIDDEN: &[&str] = &[
    "Body",
    "Attachments",
    "UniqueBody",
    "TextBody",
    "NormalizedBody",
    "ToRecipients",
    "CcRecipients",
    "BccRecipients",
    "ReplyTo",
    "InternetMessageHeaders",
    "RequiredAttendees",
    "OptionalAttendees",
    "Resources",
];

pub(super) fn answer(call: &mut Call<'_>, request: &Element) -> Result<Element, Fault> {
    let shape = Shape::parse(request.child("ItemShape"))?.without_content();
    let parents =
        request.child("ParentFolderIds").ok_or_else(|| Fault::schema("'ParentFolderIds' is missing."))?;
    let messages = parents.children.iter().map(|parent| one(call, request, parent, &shape)).collect();
    Ok(soap::answer("FindItem", messages, &[]))
}

fn one(call: &Call<'_>, request: &Element, parent: &Element, shape: &Shape) -> Message {
    let (place, folder) = call.folder(parent)?;
    let mailbox = call.mailbox(place);
    // FindItem never returns what only GetItem can: bodies and attachments.
    let shape = shape.clone().without(HIDDEN);
    if let Some(view) = request.child("CalendarView") {
        let moment = |name| view.value(name).and_then(time::read);
        let (Some(from), Some(to)) = (moment("StartDate"), moment("EndDate")) else {
            return Err(soap::Refusal::of(
                "ErrorCalendarEndDateIsEarlierThanStartDate",
                "The view has no range.",
            ));
        };
        if request.child("Restriction").is_some() || request.child("SortOrder").is_some() {
            return Err(soap::Refusal::of(
                "ErrorInvalidOperation",
                "A CalendarView is combined neither with a restriction nor with a sort order.",
            ));
        }
        let mut shown = occurrence::view(mailbox, folder, from, to, &shape);
        if let Some(most) = view.value("MaxEntriesReturned").and_then(|most| most.parse().ok()) {
            shown.truncate(most);
        }
        let root =
            Page { offset: 0, size: shown.len(), total: shown.len() }.describe(Element::m("RootFolder"));
        return Ok(vec![root.with(Element::t("Items").with_all(shown))]);
    }
    let traversal = request.value("Traversal").unwrap_or("Shallow");
    let restriction = request.child("Restriction").and_then(|all| all.children.first());
    let mut found: Vec<_> = mailbox
        .items
        .values()
        .filter(|item| item.folder == folder && item.associated == (traversal == "Associated"))
        .filter(|item| traversal != "SoftDeleted" && item.occurrence_of.is_none())
        .filter(|item| {
            let values = restriction::item_values(mailbox, item);
            restriction.is_none_or(|restriction| restriction::holds(restriction, &values))
                && request.child_text("QueryString").is_none_or(|query| restriction::found(query, &values))
        })
        .collect();
    match request.child("SortOrder") {
        Some(order) => found.sort_by(|one, other| {
            let (one, other) =
                (restriction::item_values(mailbox, one), restriction::item_values(mailbox, other));
            restriction::sorted(&order.children, &one, &other)
        }),
        // The newest comes first.
        None => found.sort_by_key(|item| std::cmp::Reverse((item.received, item.number))),
    }
    let view = request.child("IndexedPageItemView").or_else(|| request.child("FractionalPageItemView"));
    let page = Page::of(view, found.len());
    let shown = found.drain(page.range()).map(|item| short(render::item(mailbox, item, &shape)));
    let items = Element::t("Items").with_all(shown);
    Ok(vec![page.describe(Element::m("RootFolder")).with(items)])
}

/// No text of more than 255 characters: the rest is for `GetItem`.
fn short(mut item: Element) -> Element {
    for field in &mut item.children {
        let long = field.text.char_indices().nth(255).map(|(at, _)| at);
        if let Some(at) = long.filter(|_| field.attributes.is_empty()) {
            field.text.truncate(at);
        }
    }
    item
}

/// A part of what was found.
pub(super) struct Page {
    offset: usize,
    size: usize,
    total: usize,
}

impl Page {
    /// Reads `IndexedPageItemView`, `FractionalPageItemView` or `IndexedPageFolderView`; without one it is everything,
    /// up to the 1,000 that Exchange gives at most.
    pub(super) fn of(view: Option<&Element>, total: usize) -> Self {
        let number = |name: &str| view.and_then(|view| view.value(name)?.trim().parse::<usize>().ok());
        let most = number("MaxEntriesReturned").unwrap_or(1000).min(1000);
        let offset = match (number("Numerator"), number("Denominator")) {
            (Some(numerator), Some(denominator)) if denominator > 0 => total * numerator / denominator,
            _ => number("Offset").unwrap_or(0),
        };
        let from_end = view.and_then(|view| view.value("BasePoint")) == Some("End");
        let offset = offset.min(total);
        let (offset, size) = if from_end {
            let end = total - offset;
            let start = end.saturating_sub(most);
            (start, end - start)
        } else {
            (offset, most.min(total - offset))
        };
        Self { offset, size, total }
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.size
    }

    pub(super) fn describe(&self, root: Element) -> Element {
        let end = self.offset + self.size;
        root.attribute("IndexedPagingOffset", end)
            .attribute("TotalItemsInView", self.total)
            .attribute("IncludesLastItemInRange", end >= self.total)
    }
}
