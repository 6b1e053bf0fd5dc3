//! Which properties an item of a class has, in the order of the schema, and which of them a shape names.
//!
//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/fielduri>

mod names;
mod request;

use std::collections::BTreeSet;

use crate::property::Key;
use crate::soap::{Fault, Refusal};
use crate::xml::{Element, truth};

pub(crate) use request::check;

/// The element that an item of a class is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Message,
    Post,
    Calendar,
    Contact,
    List,
    Task,
    Request,
    Response,
    Cancellation,
    Meeting,
    Other,
}

impl Kind {
    pub(crate) fn of_class(class: &str) -> Self {
        let class = class.to_ascii_lowercase();
        let is = |name: &str| class == name || class.starts_with(&format!("{name}."));
        if is("ipm.appointment") {
            Self::Calendar
        } else if is("ipm.contact") {
            Self::Contact
        } else if is("ipm.distlist") {
            Self::List
        } else if is("ipm.task") {
            Self::Task
        } else if is("ipm.post") {
            Self::Post
        } else if is("ipm.schedule.meeting.request") {
            Self::Request
        } else if is("ipm.schedule.meeting.resp") {
            Self::Response
        } else if is("ipm.schedule.meeting.canceled") {
            Self::Cancellation
        } else if is("ipm.schedule.meeting") {
            Self::Meeting
        } else if is("ipm.note") || is("report") || is("ipm") && class.contains("sms") {
            Self::Message
        } else {
            Self::Other
        }
    }

    pub(crate) fn of_element(name: &str) -> Option<Self> {
        Some(match name {
            "Message" => Self::Message,
            "PostItem" => Self::Post,
            "CalendarItem" => Self::Calendar,
            "Contact" => Self::Contact,
            "DistributionList" => Self::List,
            "Task" => Self::Task,
            "MeetingRequest" => Self::Request,
            "MeetingResponse" => Self::Response,
            "MeetingCancellation" => Self::Cancellation,
            "MeetingMessage" => Self::Meeting,
            "Item" => Self::Other,
            _ => return None,
        })
    }

    pub(crate) fn element(self) -> &'static str {
        match self {
            Self::Message => "Message",
            Self::Post => "PostItem",
            Self::Calendar => "CalendarItem",
            Self::Contact => "Contact",
            Self::List => "DistributionList",
            Self::Task => "Task",
            Self::Request => "MeetingRequest",
            Self::Response => "MeetingResponse",
            Self::Cancellation => "MeetingCancellation",
            Self::Meeting => "MeetingMessage",
            Self::Other => "Item",
        }
    }

    /// The class of an item that is created without one.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Post => "IPM.Post",
            Self::Calendar => "IPM.Appointment",
            Self::Contact => "IPM.Contact",
            Self::List => "IPM.DistList",
            Self::Task => "IPM.Task",
            Self::Request => "IPM.Schedule.Meeting.Request",
            Self::Response => "IPM.Schedule.Meeting.Resp.Pos",
            Self::Cancellation => "IPM.Schedule.Meeting.Canceled",
            Self::Message | Self::Meeting | Self::Other => "IPM.Note",
        }
    }

    /// Whether items of this kind are mail, with recipients and a sender.
    pub(crate) fn is_mail(self) -> bool {
        matches!(
            self,
            Self::Message | Self::Post | Self::Request | Self::Response | Self::Cancellation | Self::Meeting
        )
    }

    /// The names of all its elements, in the order in which they must come.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        let own: [&str; 3] = match self {
            Self::Message => [names::MESSAGE, "", ""],
            Self::Post => [names::POST, "", ""],
            Self::Calendar => [names::CALENDAR, "", ""],
            Self::Contact => [names::CONTACT, "", ""],
            Self::List => [names::LIST, "", ""],
            Self::Task => [names::TASK, "", ""],
            Self::Request => [names::MESSAGE, names::MEETING, names::REQUEST],
            Self::Response | Self::Cancellation => [names::MESSAGE, names::MEETING, names::RESPONSE],
            Self::Meeting => [names::MESSAGE, names::MEETING, ""],
            Self::Other => [""; 3],
        };
        names::ITEM.split(' ').chain(own.into_iter().flat_map(str::split_whitespace))
    }

    /// What the shape `Default` shows.
    fn by_default(self) -> &'static str {
        match self {
            Self::Calendar => names::CALENDAR_BY_DEFAULT,
            Self::Contact | Self::List => names::CONTACT_BY_DEFAULT,
            Self::Task => names::TASK_BY_DEFAULT,
            Self::Other => names::OTHER_BY_DEFAULT,
            _ => names::MAIL_BY_DEFAULT,
        }
    }
}

/// One property that a shape, a sort order or a restriction names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Path {
    /// The element's name; `Body` for `item:Body`.
    Field(String),
    /// An entry of a dictionary: the element, the part of an address if it has parts, and the key.
    Indexed {
        name: String,
        part: Option<String>,
        key: String,
    },
    Extended {
        key: Key,
        kind: String,
    },
}

impl Path {
    /// Reads `FieldURI`, `IndexedFieldURI` or `ExtendedFieldURI`; `None` for anything else.
    pub(crate) fn parse(element: &Element) -> Option<Result<Self, Refusal>> {
        let uri = element.value("FieldURI").unwrap_or_default();
        match element.name.as_str() {
            "FieldURI" => Some(Ok(Self::Field(element_of(uri).to_owned()))),
            "IndexedFieldURI" => {
                let part = uri.strip_prefix("contacts:PhysicalAddress:").map(str::to_owned);
                let key = element.value("FieldIndex").unwrap_or_default().to_owned();
                Some(Ok(Self::Indexed { name: element_of(uri).to_owned(), part, key }))
            }
            "ExtendedFieldURI" => {
                let kind = element.value("PropertyType").unwrap_or_default().to_owned();
                Some(Key::parse(element).map(|key| Self::Extended { key, kind }))
            }
            _ => None,
        }
    }

    /// The path among an element's children.
    pub(crate) fn within(element: &Element) -> Option<Result<Self, Refusal>> {
        element.children.iter().find_map(Self::parse)
    }
}

/// The element that a field URI names.
pub(crate) fn element_of(uri: &str) -> &str {
    if uri.starts_with("contacts:PhysicalAddress:") {
        return "PhysicalAddresses";
    }
    match uri {
        "contacts:EmailAddress" => "EmailAddresses",
        "contacts:PhoneNumber" => "PhoneNumbers",
        "contacts:ImAddress" => "ImAddresses",
        "item:InternetMessageHeader" => "InternetMessageHeaders",
        _ => uri.rsplit(':').next().unwrap_or(uri),
    }
}

/// How much of an item an answer shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shape {
    base: String,
    pub(crate) mime: bool,
    /// `Best`, `HTML` or `Text`.
    pub(crate) body_type: String,
    named: BTreeSet<String>,
    hidden: &'static [&'static str],
    pub(crate) extended: Vec<(Key, String)>,
}

impl Shape {
    /// `IdOnly`, `Default` or `AllProperties`, with bodies as text.
    pub(crate) fn of_base(base: &str) -> Self {
        Self { base: base.to_owned(), body_type: "Text".to_owned(), ..Self::default() }
    }

    /// Reads `ItemShape` or `AttachmentShape`.
    pub(crate) fn parse(element: Option<&Element>) -> Result<Self, Fault> {
        let Some(element) = element else {
            return Ok(Self {
                base: "AllProperties".to_owned(),
                body_type: "Best".to_owned(),
                ..Self::default()
            });
        };
        let base = element.child_text("BaseShape").unwrap_or("AllProperties").trim().to_owned();
        if !["IdOnly", "Default", "AllProperties"].contains(&base.as_str()) {
            return Err(Fault::schema(&format!("The 'BaseShape' element is invalid: '{base}'.")));
        }
        let mut shape = Self {
            base,
            mime: element.child_text("IncludeMimeContent").is_some_and(truth),
            body_type: element.child_text("BodyType").unwrap_or("Best").trim().to_owned(),
            ..Self::default()
        };
        for property in element.child("AdditionalProperties").map_or(&[][..], |all| &all.children) {
            match Path::parse(property) {
                Some(Ok(Path::Field(name) | Path::Indexed { name, .. })) => {
                    shape.named.insert(name);
                }
                Some(Ok(Path::Extended { key, kind })) => shape.extended.push((key, kind)),
                Some(Err(refusal)) => return Err(Fault::of(refusal.code, refusal.text)),
                None => return Err(Fault::schema(&format!("Unexpected element '{}'.", property.name))),
            }
        }
        Ok(shape)
    }

    /// Whether it shows the element `name` of an item of this kind.
    pub(crate) fn shows(&self, kind: Kind, name: &str) -> bool {
        if self.hidden.contains(&name) {
            return false;
        }
        if name == "ItemId" || self.named.contains(name) || name == "MimeContent" && self.mime {
            return true;
        }
        match self.base.as_str() {
            "IdOnly" => false,
            "Default" => has(kind.by_default(), name),
            _ => !has(names::ON_REQUEST, name),
        }
    }

    /// Whether the shape of a folder shows `name`.
    pub(crate) fn shows_of_folder(&self, name: &str) -> bool {
        if name == "FolderId" || self.named.contains(name) {
            return true;
        }
        match self.base.as_str() {
            "IdOnly" => false,
            "Default" => ["DisplayName", "TotalCount", "ChildFolderCount", "UnreadCount"].contains(&name),
            _ => name != "ManagedFolderInformation",
        }
    }

    /// Without these, even where they are named.
    pub(crate) fn without(self, hidden: &'static [&'static str]) -> Self {
        Self { hidden, ..self }
    }

    /// Without the message itself, which only `GetItem` and `GetAttachment` give.
    pub(crate) fn without_content(mut self) -> Self {
        self.named.remove("MimeContent");
        self.mime = false;
        self
    }
}

/// Whether a list of names has one.
fn has(names: &str, name: &str) -> bool {
    names.split(' ').any(|one| one == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_the_element_that_exchange_makes_of_it() {
        for (class, element) in [
            ("IPM.Note", "Message"),
            ("IPM.Note.SMIME.MultipartSigned", "Message"),
            ("REPORT.IPM.Note.NDR", "Message"),
            ("IPM.Schedule.Meeting.Request", "MeetingRequest"),
            ("IPM.Schedule.Meeting.Resp.Neg", "MeetingResponse"),
            ("ipm.appointment", "CalendarItem"),
            ("IPM.Contact", "Contact"),
            ("IPM.Task", "Task"),
            ("IPM.Notes", "Item"),
        ] {
            assert_eq!(Kind::of_class(class).element(), element, "{class}");
        }
    }
}
