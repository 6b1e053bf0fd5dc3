//! The SOAP around every answer: its envelope, its fault, and its response messages, each with a class of its own.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/responsemessages>

use std::time::Duration;

use super::code::{Fault, Said};
use super::version::ServerVersion;
use super::xml::Element;

/// An answer without its envelope.
#[derive(Debug)]
pub(super) struct Answer {
    envelope: Element,
    /// What the server says it is.
    pub(super) server: Option<ServerVersion>,
    /// How long the server wants to be left alone, by the fields around the answer.
    pub(super) pause: Option<Duration>,
}

impl Answer {
    /// Reads an envelope, with whatever is in it.
    pub(super) fn parse(xml: &[u8]) -> Result<Self, &'static str> {
        let envelope = Element::parse(xml)?;
        if envelope.name() != "Envelope" || envelope.child("Body").is_none() {
            return Err("its answer is not SOAP");
        }
        let server = envelope.child("Header").and_then(ServerVersion::read);
        Ok(Self { envelope, server, pause: None })
    }

    /// The server's fault, if it is one.
    pub(super) fn fault(&self) -> Option<Said> {
        self.envelope.child("Body")?.child("Fault").map(Said::of_fault)
    }

    /// Whether it is a fault that says what went wrong.
    pub(super) fn explains(&self) -> bool {
        self.fault().is_some_and(|said| said.code.starts_with("Error"))
    }

    /// What answers the operation: the element `…Response`.
    pub(super) fn response(&self) -> Result<&Element, Fault> {
        if let Some(mut said) = self.fault() {
            said.back_off = said.back_off.or(self.pause);
            return Err(Fault::Refused(said));
        }
        let body = self.envelope.child("Body").map(Element::children).unwrap_or_default();
        body.first().ok_or(Fault::Broken("its answer is empty"))
    }
}

/// Each response message in the order of what was asked for: what it holds, or why there is nothing. A class that is
/// missing is a success where the code says so, or where there is none.
pub(super) fn messages(response: &Element) -> impl Iterator<Item = Result<&Element, Said>> {
    // Some operations answer without the list around their one message.
    let listed = response.child("ResponseMessages").map(Element::children);
    listed.unwrap_or(std::slice::from_ref(response)).iter().map(judged)
}

/// A response message, or its refusal.
pub(super) fn judged(message: &Element) -> Result<&Element, Said> {
    let fine = matches!(message.text_of("ResponseCode"), None | Some("NoError"));
    match message.attribute("ResponseClass") {
        Some("Success") => Ok(message),
        Some("Error") => Err(Said::of_message(message)),
        _ if fine => Ok(message),
        // A warning is what was not processed because of an error before it, or a hint beside a result.
        _ if message.text_of("ResponseCode") == Some("ErrorBatchProcessingStopped") => {
            Err(Said::of_message(message))
        }
        Some("Warning") => Ok(message),
        _ => Err(Said::of_message(message)),
    }
}

/// The one response message of an operation that has one.
pub(super) fn only(response: &Element) -> Result<&Element, Fault> {
    messages(response)
        .next()
        .ok_or(Fault::Broken("its answer has no response message"))?
        .map_err(Fault::Refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(xml: &str) -> Result<(), String> {
        judged(&Element::parse(xml.as_bytes()).unwrap()).map(drop).map_err(|said| said.code)
    }

    #[test]
    fn a_message_is_what_its_class_says_and_its_code_where_it_says_none() {
        for (xml, refused) in [
            (r#"<m ResponseClass="Success"><ResponseCode>NoError</ResponseCode></m>"#, None),
            (r#"<m ResponseClass="Success"/>"#, None),
            ("<m><ResponseCode>NoError</ResponseCode></m>", None),
            ("<m/>", None),
            (
                r#"<m ResponseClass="Error"><MessageText>x</MessageText><ResponseCode>ErrorItemNotFound</ResponseCode></m>"#,
                Some("ErrorItemNotFound"),
            ),
            (r#"<m ResponseClass="Error"/>"#, Some("")),
            ("<m><ResponseCode>ErrorItemNotFound</ResponseCode></m>", Some("ErrorItemNotFound")),
            (
                r#"<m ResponseClass="Warning"><ResponseCode>ErrorNameResolutionMultipleResults</ResponseCode></m>"#,
                None,
            ),
            (
                r#"<m ResponseClass="Warning"><ResponseCode>ErrorBatchProcessingStopped</ResponseCode></m>"#,
                Some("ErrorBatchProcessingStopped"),
            ),
        ] {
            assert_eq!(message(xml).err().as_deref(), refused, "{xml}");
        }
    }

    #[test]
    fn what_is_no_envelope_is_no_answer() {
        for xml in ["<html><body>Sign in</body></html>", "<Envelope/>", "<Envelope><Header/></Envelope>"] {
            assert_eq!(Answer::parse(xml.as_bytes()).err(), Some("its answer is not SOAP"), "{xml}");
        }
        let empty = Answer::parse(b"<Envelope><Body/></Envelope>").unwrap();
        assert_eq!(empty.response().err(), Some(Fault::Broken("its answer is empty")));
    }
}
