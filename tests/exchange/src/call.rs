//! One request while it is answered: who asks, for whom, and what of it they may see and change.

use jiff::Timestamp;

use crate::event::Happening;
use crate::fault::Fault;
use crate::id::{Id, is_change_key};
use crate::item::Item;
use crate::mailbox::{Folder, Mailbox};
use crate::soap::Refusal;
use crate::state::State;
use crate::version::Version;
use crate::xml::Element;

pub(crate) struct Call<'a> {
    pub(crate) state: &'a mut State,
    pub(crate) login: String,
    /// The mailbox it acts as: impersonated, or the account's own.
    pub(crate) acting: Option<usize>,
    pub(crate) impersonating: bool,
    pub(crate) version: Version,
    /// The server behind the endpoint that answers.
    pub(crate) backend: u32,
    pub(crate) faults: &'a [Fault],
    pub(crate) now: Timestamp,
}

impl Call<'_> {
    pub(crate) fn mailbox(&self, place: usize) -> &Mailbox {
        &self.state.mailboxes[place]
    }

    pub(crate) fn folder_of(&self, (place, number): (usize, u64)) -> Result<&Folder, Refusal> {
        self.mailbox(place).folder(number)
    }

    pub(crate) fn item_of(&self, (place, number): (usize, u64)) -> Result<&Item, Refusal> {
        self.mailbox(place).item(number)
    }

    /// Whether the caller may open a mailbox.
    pub(crate) fn allowed(&self, place: usize) -> Result<(), Refusal> {
        let mailbox = self.state.mailboxes.get(place).ok_or_else(Refusal::item_not_found)?;
        if let Some((code, text)) = &mailbox.refuses {
            return Err(Refusal::of(code, text));
        }
        // Whoever impersonates has the rights of the impersonated, and no longer the own ones.
        let name = match (self.impersonating, self.acting) {
            (true, Some(acting)) => self.mailbox(acting).address.to_lowercase(),
            _ => self.login.to_lowercase(),
        };
        if self.acting == Some(place) || mailbox.delegates.contains(&name) {
            Ok(())
        } else {
            Err(Refusal::access_denied())
        }
    }

    /// `FolderId` or `DistinguishedFolderId`.
    pub(crate) fn folder(&self, id: &Element) -> Result<(usize, u64), Refusal> {
        match id.name.as_str() {
            "FolderId" => match Id::decode(id.value("Id").unwrap_or_default()) {
                Some(Id::Folder { mailbox, number }) => {
                    self.allowed(mailbox)?;
                    self.mailbox(mailbox).folder(number)?;
                    Ok((mailbox, number))
                }
                Some(_) => Err(Refusal::of(
                    "ErrorCannotUseItemIdForFolderId",
                    "The specified identifier is of an item, not of a folder.",
                )),
                None => Err(Refusal::malformed_id()),
            },
            "DistinguishedFolderId" => {
                let place = match id.at(&["Mailbox", "EmailAddress"]) {
                    Some(address) => self.state.place_of(&address.text).ok_or_else(|| {
                        Refusal::of(
                            "ErrorNonExistentMailbox",
                            "The SMTP address has no mailbox associated with it.",
                        )
                    })?,
                    None => self.acting.ok_or_else(|| {
                        Refusal::of(
                            "ErrorMissingEmailAddress",
                            "When making a request as an account that does not have a mailbox, you must specify the \
                             mailbox primary SMTP address for any distinguished folder Ids.",
                        )
                    })?,
                };
                self.allowed(place)?;
                let name = id.value("Id").unwrap_or_default();
                let number = self.mailbox(place).distinguished(name).ok_or_else(Refusal::folder_not_found)?;
                Ok((place, number))
            }
            _ => Err(Refusal::malformed_id()),
        }
    }

    /// The folder that an element such as `ParentFolderId` holds.
    pub(crate) fn folder_in(&self, element: &Element) -> Result<(usize, u64), Refusal> {
        element.children.first().map_or_else(|| Err(Refusal::malformed_id()), |id| self.folder(id))
    }

    /// An `ItemId`, whatever it is called.
    pub(crate) fn item(&self, id: &Element) -> Result<(usize, u64), Refusal> {
        if id.value("ChangeKey").is_some_and(|key| !key.is_empty() && !is_change_key(key)) {
            return Err(Refusal::of("ErrorInvalidChangeKey", "The change key is invalid."));
        }
        let text = id.value("Id").or(id.value("OccurrenceId")).unwrap_or_default();
        match Id::decode(text) {
            Some(Id::Occurrence { .. }) if id.name != "RecurringMasterItemId" => Err(Refusal::of(
                "ErrorCalendarCannotUseIdForOccurrenceId",
                "The Id of an occurrence cannot be used for this operation.",
            )),
            Some(Id::Item { mailbox, number } | Id::Occurrence { mailbox, item: number, .. }) => {
                self.allowed(mailbox)?;
                self.mailbox(mailbox).item(number)?;
                Ok((mailbox, number))
            }
            Some(Id::Folder { .. }) => Err(Refusal::of(
                "ErrorCannotUseFolderIdForItemId",
                "The specified identifier is of a folder, not of an item.",
            )),
            Some(_) => Err(Refusal::item_not_found()),
            None => Err(Refusal::malformed_id()),
        }
    }

    pub(crate) fn change_item(
        &mut self,
        (place, number): (usize, u64),
        change: impl FnOnce(&mut Item),
    ) -> Result<(), Refusal> {
        let item = self.state.mailboxes[place].items.get_mut(&number).ok_or_else(Refusal::item_not_found)?;
        change(item);
        Ok(())
    }

    /// Says that an item was copied here.
    pub(crate) fn copied(&mut self, place: usize, number: u64, folder: u64, old: (u64, u64)) {
        self.state.happen(place, Happening::Copied, number, folder, Some(old));
    }

    pub(crate) fn meets(&self, fault: &Fault) -> bool {
        self.faults.contains(fault)
    }
}
