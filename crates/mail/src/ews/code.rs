//! What a server's response codes mean: of the several hundred there are, those that somebody can do something about.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/responsecode>

use std::time::Duration;

use super::xml::Element;
use crate::error::{Busy, Error, Kind, Phase};

/// A no, in the server's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Its name for what went wrong; empty where it gave none.
    pub(super) code: String,
    /// Its sentence.
    pub(super) text: String,
    /// How long it wants to be left alone.
    pub(super) back_off: Option<Duration>,
}

/// Why an answer gives nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server said no.
    Refused(Said),
    /// What it said is no answer: why.
    Broken(&'static str),
}

impl From<&'static str> for Fault {
    fn from(why: &'static str) -> Self {
        Self::Broken(why)
    }
}

impl Said {
    /// From a SOAP fault (1.1 or 1.2), or the error details of Exchange inside of one.
    pub(super) fn of_fault(fault: &Element) -> Self {
        let text = |names: &[&str]| names.iter().find_map(|name| fault.find(name)?.text());
        // `a:ErrorSchemaValidation`: a qualified name.
        let code = text(&["ResponseCode"]).or_else(|| {
            text(&["faultcode"]).or_else(|| fault.find("Subcode")?.text_of("Value")).map(super::xml::local)
        });
        Self {
            code: code.unwrap_or_default().to_owned(),
            text: text(&["Message", "faultstring", "Text"]).unwrap_or_default().to_owned(),
            back_off: back_off(fault),
        }
    }

    /// From a response message whose class is `Error`.
    pub(super) fn of_message(message: &Element) -> Self {
        Self {
            code: message.text_of("ResponseCode").unwrap_or_default().to_owned(),
            text: message.text_of("MessageText").unwrap_or_default().to_owned(),
            back_off: message.child("MessageXml").and_then(back_off),
        }
    }

    /// Whether the server does not know the version that was asked for, or this operation in it.
    pub(super) fn wants_older(&self) -> bool {
        matches!(
            self.code.as_str(),
            "ErrorInvalidServerVersion"
                | "ErrorIncorrectSchemaVersion"
                | "ErrorInvalidSchemaVersionForMailboxVersion"
                | "ErrorSchemaValidation"
        )
    }

    /// The error that this is, of something that was begun in this phase.
    pub(super) fn error(&self, phase: Phase) -> Error {
        let kind = kind(&self.code);
        let phase = match kind {
            // Whoever asked may not, whatever was asked for.
            Kind::ImpersonationRefused | Kind::NoSuchMailbox | Kind::MailboxDisabled => Phase::SignIn,
            _ => phase,
        };
        let words = match (self.code.is_empty(), self.text.is_empty()) {
            (false, false) => format!("{}: {}", self.code, self.text),
            _ => format!("{}{}", self.code, self.text),
        };
        let error = Error::new(phase, kind).with_said(words).with_code(&self.code);
        match self.back_off {
            Some(pause) => error.with_retry_after(pause),
            None => error,
        }
    }
}

/// `<t:Value Name="BackOffMilliseconds">` somewhere in the details.
fn back_off(details: &Element) -> Option<Duration> {
    if details.name() == "Value" && details.attribute("Name") == Some("BackOffMilliseconds") {
        return details.text()?.parse().ok().map(Duration::from_millis);
    }
    details.children().iter().find_map(back_off)
}

/// What a code means. What is not known is a no for good: an error that repeats is told then, instead of being tried
/// forever.
fn kind(code: &str) -> Kind {
    match code {
        "ErrorServerBusy" => Kind::Throttled(Busy::Server),
        "ErrorExceededConnectionCount"
        | "ErrorExceededSubscriptionCount"
        | "ErrorExceededFindCountLimit"
        | "ErrorMessageSubmissionBlocked"
        | "ErrorSubmissionQuotaExceeded" => Kind::Throttled(Busy::Mailbox),
        "ErrorImpersonateUserDenied"
        | "ErrorImpersonationDenied"
        | "ErrorImpersonationFailed"
        | "ErrorImpersonationRequired"
        | "ErrorInvalidExchangeImpersonationHeaderData" => Kind::ImpersonationRefused,
        "ErrorNonExistentMailbox" | "ErrorNonPrimarySmtpAddress" | "ErrorMailboxNotFound" => {
            Kind::NoSuchMailbox
        }
        "ErrorAccountDisabled"
        | "ErrorMissingEmailAddress"
        | "ErrorInvalidLicense"
        | "ErrorMailboxConfiguration"
        | "ErrorNoApplicableMailboxes" => Kind::MailboxDisabled,
        "ErrorAccessDenied"
        | "ErrorCreateItemAccessDenied"
        | "ErrorSendAsDenied"
        | "ErrorManagedFoldersRootFailure"
        | "ErrorCannotDeleteObject" => Kind::AccessDenied,
        "ErrorInvalidSyncStateData" => Kind::SyncStateInvalid,
        "ErrorItemNotFound"
        | "ErrorFolderNotFound"
        | "ErrorSyncFolderNotFound"
        | "ErrorToFolderNotFound"
        | "ErrorParentFolderNotFound"
        | "ErrorSubscriptionNotFound"
        | "ErrorExpiredSubscription"
        | "ErrorInvalidSubscription" => Kind::NotFound,
        "ErrorMessageSizeExceeded" | "ErrorAttachmentSizeLimitExceeded" | "ErrorRequestSizeExceeded" => {
            Kind::TooLarge("the message")
        }
        "ErrorADOperation"
        | "ErrorADUnavailable"
        | "ErrorBatchProcessingStopped"
        | "ErrorClientDisconnected"
        | "ErrorConnectionFailed"
        | "ErrorConnectionFailedTransientError"
        | "ErrorContentConversionFailed"
        | "ErrorInsufficientResources"
        | "ErrorInternalServerError"
        | "ErrorInternalServerTransientError"
        | "ErrorIrresolvableConflict"
        | "ErrorLockedItem"
        | "ErrorMailboxFailover"
        | "ErrorMailboxMoveInProgress"
        | "ErrorMailboxStoreUnavailable"
        | "ErrorNewEventStreamConnectionOpened"
        | "ErrorNoRespondingCASInDestinationSite"
        | "ErrorNotEnoughMemory"
        | "ErrorProxyRequestProcessingFailed"
        | "ErrorProxyServiceDiscoveryFailed"
        | "ErrorProxyCallFailed"
        | "ErrorProxyRequestNotAllowed"
        | "ErrorProxyTokenExpired"
        | "ErrorQuotaExceeded"
        | "ErrorReadEventsFailed"
        | "ErrorRightsManagementTransientException"
        | "ErrorServerTemporaryUnavailable"
        | "ErrorStaleObject"
        | "ErrorTimeoutExpired"
        | "ErrorTooManyObjectsOpened"
        | "ErrorMissedNotificationEvents"
        | "ErrorInvalidWatermark"
        | "ErrorWatermarkNotFound" => Kind::TemporarilyRefused,
        _ => Kind::PermanentlyRefused,
    }
}

/// Whether a refusal for one item says nothing about that item: the server wants to be left alone, or the whole mailbox cannot
/// be reached now.
pub fn is_about_the_mailbox(error: &Error) -> bool {
    let code = error.code().unwrap_or_default();
    match error.kind() {
        Kind::Throttled(_) | Kind::ImpersonationRefused | Kind::NoSuchMailbox | Kind::MailboxDisabled => true,
        Kind::TemporarilyRefused => {
            code.starts_with("ErrorAD")
                || code.starts_with("ErrorConnectionFailed")
                || code.starts_with("ErrorMailbox")
                || code.starts_with("ErrorProxy")
                || matches!(
                    code,
                    "ErrorBatchProcessingStopped"
                        | "ErrorInsufficientResources"
                        | "ErrorNotEnoughMemory"
                        | "ErrorServerTemporaryUnavailable"
                        | "ErrorTooManyObjectsOpened"
                )
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(xml: &str) -> Said {
        Said::of_fault(&Element::parse(xml.as_bytes()).unwrap())
    }

    #[test]
    fn a_fault_is_read_in_either_version_of_soap_and_without_details() {
        let said = fault(
            r#"<s:Fault><faultcode xmlns:a="http://schemas.microsoft.com/exchange/services/2006/types">a:ErrorServerBusy</faultcode><faultstring xml:lang="en-US">The server cannot service this request right now. Try again later.</faultstring><detail><e:ResponseCode xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors">ErrorServerBusy</e:ResponseCode><e:Message xmlns:e="http://schemas.microsoft.com/exchange/services/2006/errors">The server cannot service this request right now.</e:Message><t:MessageXml xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types"><t:Value Name="BackOffMilliseconds">297749</t:Value></t:MessageXml></detail></s:Fault>"#,
        );
        assert_eq!(said.code, "ErrorServerBusy");
        let error = said.error(Phase::List);
        assert_eq!(error.kind(), &Kind::Throttled(Busy::Server));
        assert_eq!(error.retry_after(), Some(Duration::from_millis(297_749)));
        assert_eq!(error.code(), Some("ErrorServerBusy"));
        assert!(error.said().unwrap().ends_with("right now."), "{:?}", error.said());
        let bare = fault("<Fault><faultcode>soap:Client</faultcode><faultstring>no</faultstring></Fault>");
        assert_eq!((bare.code.as_str(), bare.text.as_str()), ("Client", "no"));
        let newer = fault(
            "<e:Fault><e:Code><e:Value>e:Receiver</e:Value><e:Subcode><e:Value>t:ErrorAccessDenied</e:Value></e:Subcode></e:Code><e:Reason><e:Text>no</e:Text></e:Reason></e:Fault>",
        );
        assert_eq!((newer.code.as_str(), newer.text.as_str()), ("ErrorAccessDenied", "no"));
    }

    #[test]
    fn codes_mean_what_somebody_can_do() {
        for (code, phase, kind) in [
            ("ErrorServerBusy", Phase::List, Kind::Throttled(Busy::Server)),
            ("ErrorExceededConnectionCount", Phase::List, Kind::Throttled(Busy::Mailbox)),
            ("ErrorImpersonateUserDenied", Phase::SignIn, Kind::ImpersonationRefused),
            ("ErrorNonExistentMailbox", Phase::SignIn, Kind::NoSuchMailbox),
            ("ErrorMissingEmailAddress", Phase::SignIn, Kind::MailboxDisabled),
            ("ErrorAccountDisabled", Phase::SignIn, Kind::MailboxDisabled),
            ("ErrorAccessDenied", Phase::List, Kind::AccessDenied),
            ("ErrorInvalidSyncStateData", Phase::List, Kind::SyncStateInvalid),
            ("ErrorItemNotFound", Phase::List, Kind::NotFound),
            ("ErrorMailboxMoveInProgress", Phase::List, Kind::TemporarilyRefused),
            ("ErrorInternalServerError", Phase::List, Kind::TemporarilyRefused),
            ("ErrorMimeContentInvalid", Phase::List, Kind::PermanentlyRefused),
            ("ErrorOfTheYear2031", Phase::List, Kind::PermanentlyRefused),
            ("", Phase::List, Kind::PermanentlyRefused),
        ] {
            let said = Said { code: code.into(), text: "anna@example.com".into(), back_off: None };
            let error = said.error(Phase::List);
            assert_eq!((error.phase(), error.kind()), (phase, &kind), "{code}");
            assert!(error.said().unwrap().contains("anna"));
            assert!(!format!("{error} {error:?}").contains("anna"));
        }
        for (code, of_all) in [
            ("ErrorServerBusy", true),
            ("ErrorMailboxStoreUnavailable", true),
            ("ErrorBatchProcessingStopped", true),
            ("ErrorInternalServerError", false),
            ("ErrorContentConversionFailed", false),
            ("ErrorItemNotFound", false),
            ("ErrorOfTheYear2031", false),
        ] {
            let said = Said { code: code.into(), ..Said::default() };
            assert_eq!(is_about_the_mailbox(&said.error(Phase::Fetch)), of_all, "{code}");
        }
        let personal = Said { code: "anna@example.com".into(), ..Said::default() }.error(Phase::List);
        assert_eq!(personal.code(), None);
    }
}
