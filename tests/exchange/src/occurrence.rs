//! Recurring appointments: their occurrences, the exceptions among them, and the view that unfolds them.
//!
//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/occurrenceitemid>. An occurrence has no
//! item of its own until it is changed.

use jiff::{SignedDuration, Timestamp};

use crate::call::Call;
use crate::id::{Id, change_key};
use crate::item::{Change, Item};
use crate::mailbox::Mailbox;
use crate::recurrence::Pattern;
use crate::render;
use crate::schema::{Kind, Shape};
use crate::soap::Refusal;
use crate::time;
use crate::xml::Element;

/// One occurrence; `index` counts from 1, deleted ones included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occurrence {
    place: usize,
    master: u64,
    index: u64,
}

/// The occurrence that an id names, if it names one.
pub(crate) fn named(call: &Call<'_>, id: &Element) -> Option<Result<Occurrence, Refusal>> {
    let occurrence = match id.name.as_str() {
        "OccurrenceItemId" => {
            let Some(Id::Item { mailbox, number }) = Id::decode(id.value("RecurringMasterId")?) else {
                return Some(Err(Refusal::malformed_id()));
            };
            let index = id.value("InstanceIndex")?.trim().parse().ok()?;
            Occurrence { place: mailbox, master: number, index }
        }
        "ItemId" => match Id::decode(id.value("Id")?)? {
            Id::Occurrence { mailbox, item, index } => Occurrence { place: mailbox, master: item, index },
            _ => return None,
        },
        _ => return None,
    };
    Some(call.allowed(occurrence.place).and_then(|()| occurrence.check(call.mailbox(occurrence.place))))
}

impl Occurrence {
    fn check(self, mailbox: &Mailbox) -> Result<Self, Refusal> {
        let master = mailbox.item(self.master)?;
        let Some(pattern) = Pattern::of(master) else {
            return Err(Refusal::of(
                "ErrorCalendarIsNotRecurring",
                "The specified item is not a recurring master.",
            ));
        };
        if master.deleted.contains(&self.index) {
            return Err(Refusal::of(
                "ErrorCalendarOccurrenceIsDeletedFromRecurrence",
                "Occurrence with this index was previously deleted from the recurrence.",
            ));
        }
        if self.index == 0 || pattern.start(self.index).is_none() {
            return Err(Refusal::of(
                "ErrorCalendarOccurrenceIndexIsOutOfRecurrenceRange",
                "Occurrence index is out of recurrence range.",
            ));
        }
        Ok(self)
    }

    /// The occurrence as an item: the exception, or the master moved to its day.
    fn item(self, mailbox: &Mailbox) -> Result<Item, Refusal> {
        let master = mailbox.item(self.master)?;
        let exception =
            mailbox.items.values().find(|item| item.occurrence_of == Some((self.master, self.index)));
        if let Some(exception) = exception {
            return Ok(exception.clone());
        }
        let start = Pattern::of(master)
            .and_then(|pattern| pattern.start(self.index))
            .ok_or_else(Refusal::item_not_found)?;
        let mut item = master.clone();
        for name in ["Recurrence", "FirstOccurrence", "LastOccurrence"] {
            item.remove(name);
        }
        item.set_text("Start", time::write(start));
        item.set_text("End", time::write(start + length(master)));
        item.set_text("OriginalStart", time::write(start));
        item.set_text("RecurrenceId", time::write(start));
        item.set_text("CalendarItemType", "Occurrence");
        item.set_text("IsRecurring", true);
        item.deleted.clear();
        item.occurrence_of = Some((self.master, self.index));
        Ok(item)
    }

    pub(crate) fn render(self, call: &Call<'_>, shape: &Shape) -> Element {
        let mailbox = call.mailbox(self.place);
        match self.item(mailbox) {
            Ok(item) => render::item(mailbox, &item, shape),
            Err(_) => Element::t("CalendarItem"),
        }
    }

    /// Makes an exception of it, if it is none yet, and says where that is.
    pub(crate) fn except(self, call: &mut Call<'_>) -> Result<(usize, u64), Refusal> {
        let known = call
            .mailbox(self.place)
            .items
            .values()
            .find(|item| item.occurrence_of == Some((self.master, self.index)))
            .map(|item| item.number);
        if let Some(number) = known {
            return Ok((self.place, number));
        }
        let mut item = self.item(call.mailbox(self.place))?;
        item.set_text("CalendarItemType", "Exception");
        let number = call.state.tick();
        item.number = number;
        item.entered = number;
        item.changes.clear();
        call.state.mailboxes[self.place].items.insert(number, item);
        call.state.touch(self.place, self.master, Change::Content, call.now);
        Ok((self.place, number))
    }

    pub(crate) fn delete(self, call: &mut Call<'_>) -> Result<(), Refusal> {
        let exception = call
            .mailbox(self.place)
            .items
            .values()
            .find(|item| item.occurrence_of == Some((self.master, self.index)))
            .map(|item| item.number);
        if let Some(number) = exception {
            call.state.mailboxes[self.place].items.remove(&number);
        }
        call.change_item((self.place, self.master), |master| {
            master.deleted.insert(self.index);
        })?;
        call.state.touch(self.place, self.master, Change::Content, call.now);
        Ok(())
    }
}

/// The id of an occurrence, as its item shows it.
pub(crate) fn id(place: usize, item: &Item, (master, index): (u64, u64)) -> Element {
    Element::t("ItemId")
        .attribute("Id", Id::Occurrence { mailbox: place, item: master, index }.encode())
        .attribute("ChangeKey", change_key(item.version()))
}

/// Everything in a calendar that overlaps a range, unfolded, in the order of its start.
pub(crate) fn view(
    mailbox: &Mailbox,
    folder: u64,
    from: Timestamp,
    to: Timestamp,
    shape: &Shape,
) -> Vec<Element> {
    let mut found: Vec<(Timestamp, Element)> = Vec::new();
    let mut add = |item: &Item| {
        let moment = |name| item.field_text(name).and_then(time::read);
        if let (Some(start), Some(end)) = (moment("Start"), moment("End"))
            && start < to
            // What ends where the view begins is in it.
            && end >= from
        {
            found.push((start, render::item(mailbox, item, shape)));
        }
    };
    for item in mailbox.items_of(folder).filter(|item| item.kind() == Kind::Calendar) {
        let Some(pattern) = Pattern::of(item) else {
            add(item);
            continue;
        };
        let mut index = 1;
        while let Some(start) = pattern.start(index) {
            if start >= to {
                break;
            }
            if !item.deleted.contains(&index) {
                let occurrence = Occurrence { place: mailbox.place, master: item.number, index };
                if let Ok(item) = occurrence.item(mailbox) {
                    add(&item);
                }
            }
            index += 1;
        }
    }
    found.sort_by_key(|(start, _)| *start);
    found.into_iter().map(|(_, item)| item).collect()
}

/// What a master says of its occurrences: `FirstOccurrence` and the like.
pub(crate) fn summary(mailbox: &Mailbox, master: &Item, name: &str) -> Option<Element> {
    let pattern = Pattern::of(master)?;
    let one = |name: &str, index: u64| {
        let start = pattern.start(index)?;
        let exception =
            mailbox.items.values().find(|item| item.occurrence_of == Some((master.number, index)));
        let moment = |field: &str, otherwise: Timestamp| {
            let shown = exception.and_then(|item| item.field_text(field)).map(str::to_owned);
            shown.unwrap_or_else(|| time::write(otherwise))
        };
        Some(
            Element::t(name)
                .with(id(mailbox.place, exception.unwrap_or(master), (master.number, index)))
                .with(Element::text("Start", moment("Start", start)))
                .with(Element::text("End", moment("End", start + length(master))))
                .with(Element::text("OriginalStart", time::write(start))),
        )
    };
    match name {
        "FirstOccurrence" => one(name, 1),
        "LastOccurrence" => one(name, pattern.last()?),
        "ModifiedOccurrences" => {
            let mut indexes: Vec<u64> = mailbox
                .items
                .values()
                .filter_map(|item| {
                    item.occurrence_of.filter(|(of, _)| *of == master.number).map(|(_, index)| index)
                })
                .collect();
            indexes.sort_unstable();
            let all: Vec<Element> =
                indexes.into_iter().filter_map(|index| one("Occurrence", index)).collect();
            (!all.is_empty()).then(|| Element::t(name).with_all(all))
        }
        "DeletedOccurrences" => {
            let all = master.deleted.iter().filter_map(|index| {
                let start = time::write(pattern.start(*index)?);
                Some(Element::t("DeletedOccurrence").with(Element::text("Start", start)))
            });
            let all: Vec<Element> = all.collect();
            (!all.is_empty()).then(|| Element::t(name).with_all(all))
        }
        _ => None,
    }
}

fn length(master: &Item) -> SignedDuration {
    let moment = |name| master.field_text(name).and_then(time::read);
    match (moment("Start"), moment("End")) {
        (Some(start), Some(end)) => end.duration_since(start),
        _ => SignedDuration::from_mins(30),
    }
}
