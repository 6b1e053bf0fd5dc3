//! What stands around a request: the envelope of SOAP, with the version and the mailbox that is meant, and the fields of
//! HTTP. Nothing of an answer is here.

use hyper::Request;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderValue, USER_AGENT};

use super::Access;
use super::session::Session;
use super::xml::escaped;
use crate::error::{Error, Kind, Phase};
use crate::http::Sending;

const SOAP: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const MESSAGES: &str = "http://schemas.microsoft.com/exchange/services/2006/messages";
const TYPES: &str = "http://schemas.microsoft.com/exchange/services/2006/types";

impl Session {
    /// The envelope around a request.
    pub(super) fn envelope(&self, body: &str) -> String {
        let (before, after) = self.around();
        format!("{before}{body}{after}")
    }

    /// What stands before and after a request.
    pub(super) fn around(&self) -> (String, &'static str) {
        let impersonation = match self.access {
            Access::Impersonation => format!(
                "<t:ExchangeImpersonation><t:ConnectingSID><t:PrimarySmtpAddress>{}</t:PrimarySmtpAddress>\
                 </t:ConnectingSID></t:ExchangeImpersonation>",
                escaped(self.mailbox.as_str())
            ),
            Access::Own | Access::Delegate => String::new(),
        };
        let before = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
             <s:Envelope xmlns:s=\"{SOAP}\" xmlns:m=\"{MESSAGES}\" xmlns:t=\"{TYPES}\">\
             <s:Header><t:RequestServerVersion Version=\"{}\"/>{impersonation}</s:Header><s:Body>",
            self.schema.version
        );
        (before, "</s:Body></s:Envelope>")
    }

    /// The request of HTTP around an envelope.
    pub(super) fn request(
        &self,
        operation: &str,
        proof: Option<HeaderValue>,
        body: Sending,
    ) -> Result<Request<Sending>, Error> {
        let unspeakable =
            || self.error(Phase::SignIn, Kind::Unspeakable("the credentials cannot be said in HTTP"));
        let anchor = self.affinity.as_ref().map_or(&self.mailbox, |affinity| &affinity.anchor);
        let mut request = Request::post(self.address.target())
            .header(HOST, self.address.authority())
            .header(USER_AGENT, concat!("Lockstep/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "text/xml")
            .header(CONTENT_TYPE, "text/xml; charset=utf-8")
            .header("SOAPAction", format!("\"{MESSAGES}/{operation}\""));
        if let Some(proof) = proof {
            request = request.header(AUTHORIZATION, proof);
        }
        // By it a front end finds the server that has the mailbox.
        if let Ok(anchor) = HeaderValue::from_str(anchor.as_str()) {
            request = request.header("X-AnchorMailbox", anchor);
        }
        if let Some(affinity) = &self.affinity {
            request = request.header("X-PreferServerAffinity", "true");
            if let Some(cookie) = affinity.cookie() {
                request = request.header(COOKIE, cookie);
            }
        }
        request.body(body).map_err(|_| unspeakable())
    }
}
