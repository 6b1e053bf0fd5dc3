//! SOAP 1.1 as Exchange speaks it: envelopes, the headers that matter, faults and lists of response messages.
//!
//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/responsecode>

use std::time::Duration;

use crate::version::Version;
use crate::xml::{Element, Malformed, Space};

/// A request taken apart.
pub(crate) struct Envelope {
    /// `RequestServerVersion`, as it stands there.
    pub(crate) version: Option<String>,
    /// `ExchangeImpersonation/ConnectingSID`: which kind of name, and the name.
    pub(crate) impersonated: Option<(String, String)>,
    /// The operation.
    pub(crate) body: Element,
}

impl Envelope {
    pub(crate) fn parse(document: &str) -> Result<Self, Fault> {
        let root = Element::parse(document).map_err(|Malformed(why)| Fault::schema(&why))?;
        if root.name != "Envelope" || root.space != Space::Soap {
            return Err(Fault::schema("The root is no SOAP 1.1 envelope."));
        }
        let header = root.child("Header");
        let version = header
            .and_then(|header| header.child("RequestServerVersion"))
            .and_then(|version| version.value("Version"))
            .map(str::to_owned);
        let impersonated = header
            .and_then(|header| header.at(&["ExchangeImpersonation", "ConnectingSID"]))
            .map(|who| match who.children.first() {
                Some(name) => (name.name.clone(), name.text.trim().to_owned()),
                None => (String::new(), String::new()),
            });
        let body = root.children.into_iter().find(|child| child.name == "Body");
        let body = body.and_then(|body| body.children.into_iter().next());
        let body = body.ok_or_else(|| Fault::schema("The body of the envelope is empty."))?;
        Ok(Self { version, impersonated, body })
    }
}

/// The answer's envelope.
pub(crate) fn envelope(version: Version, body: Element) -> String {
    Element::new(Space::Soap, "Envelope")
        .with(Element::new(Space::Soap, "Header").with(version.header()))
        .with(Element::new(Space::Soap, "Body").with(body))
        .document()
}

/// A request that was refused as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) code: String,
    pub(crate) text: String,
    pub(crate) back_off: Option<Duration>,
    violation: bool,
}

impl Fault {
    pub(crate) fn of(code: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: code.into(), text: text.into(), back_off: None, violation: false }
    }

    /// A request that is not in the schema.
    pub(crate) fn schema(violation: &str) -> Self {
        let text = format!("The request failed schema validation: {violation}");
        Self { code: "ErrorSchemaValidation".to_owned(), text, back_off: None, violation: true }
    }

    pub(crate) fn busy(back_off: Option<Duration>) -> Self {
        Self { back_off, ..Self::of("ErrorServerBusy", BUSY) }
    }

    /// The envelope. A fault that comes before the version is known carries no header, as on real servers.
    pub(crate) fn envelope(&self) -> String {
        let mut detail = Element::new(Space::None, "detail")
            .with(Element::new(Space::Errors, "ResponseCode").saying(&self.code))
            .with(Element::new(Space::Errors, "Message").saying(&self.text));
        if self.violation {
            detail = detail.with(
                Element::t("MessageXml")
                    .with(Element::text("LineNumber", 1))
                    .with(Element::text("LinePosition", 1))
                    .with(Element::text("Violation", &self.text)),
            );
        } else if let Some(back_off) = self.back_off {
            let value = Element::text("Value", back_off.as_millis()).attribute("Name", "BackOffMilliseconds");
            detail = detail.with(Element::t("MessageXml").with(value));
        }
        let fault = Element::new(Space::Soap, "Fault")
            .with(
                Element::new(Space::None, "faultcode")
                    .saying(format!("a:{}", self.code))
                    .attribute("xmlns:a", "http://schemas.microsoft.com/exchange/services/2006/types"),
            )
            .with(Element::new(Space::None, "faultstring").saying(&self.text).attribute("xml:lang", "en-US"))
            .with(detail);
        Element::new(Space::Soap, "Envelope").with(Element::new(Space::Soap, "Body").with(fault)).document()
    }
}

/// What Exchange says when it throttles.
pub(crate) const BUSY: &str = "The server cannot service this request right now. Try again later.";

/// One message of an answer that says no.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) text: String,
    pub(crate) values: Vec<(String, String)>,
    /// `Warning` instead of `Error`.
    pub(crate) warning: bool,
}

impl Refusal {
    pub(crate) fn of(code: &str, text: &str) -> Self {
        Self { code: code.to_owned(), text: text.to_owned(), values: Vec::new(), warning: false }
    }

    pub(crate) fn item_not_found() -> Self {
        Self::of("ErrorItemNotFound", "The specified object was not found in the store.")
    }

    pub(crate) fn folder_not_found() -> Self {
        Self::of("ErrorFolderNotFound", "The specified folder could not be found in the store.")
    }

    pub(crate) fn access_denied() -> Self {
        Self::of("ErrorAccessDenied", "Access is denied. Check credentials and try again.")
    }

    pub(crate) fn malformed_id() -> Self {
        Self::of("ErrorInvalidIdMalformed", "Id is malformed.")
    }
}

/// One message of an answer.
pub(crate) type Message = Result<Vec<Element>, Refusal>;

/// `<m:NAMEResponse>` with one message for each thing asked for. A refusal carries `empty`, as on real servers.
pub(crate) fn answer(name: &str, messages: Vec<Message>, empty: &[Element]) -> Element {
    let messages = messages.into_iter().map(|message| self::message(name, message, empty));
    Element::m(format!("{name}Response")).with(Element::m("ResponseMessages").with_all(messages))
}

/// One `<m:NAMEResponseMessage>`.
pub(crate) fn message(name: &str, message: Message, empty: &[Element]) -> Element {
    let element = Element::m(format!("{name}ResponseMessage"));
    result(element, message, empty)
}

/// Fills an element that says whether something was done.
pub(crate) fn result(element: Element, message: Message, empty: &[Element]) -> Element {
    match message {
        Ok(content) => element
            .attribute("ResponseClass", "Success")
            .with(Element::m("ResponseCode").saying("NoError"))
            .with_all(content),
        Err(refusal) => {
            let mut element = element
                .attribute("ResponseClass", if refusal.warning { "Warning" } else { "Error" })
                .with(Element::m("MessageText").saying(&refusal.text))
                .with(Element::m("ResponseCode").saying(&refusal.code))
                .with(Element::m("DescriptiveLinkKey").saying(0));
            if !refusal.values.is_empty() {
                let values = refusal
                    .values
                    .iter()
                    .map(|(name, value)| Element::text("Value", value).attribute("Name", name));
                element = element.with(Element::m("MessageXml").with_all(values));
            }
            element.with_all(empty.iter().cloned())
        }
    }
}
