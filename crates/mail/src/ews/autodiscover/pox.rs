//! Autodiscover in plain old XML (MS-OXDSCLI).
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/pox-autodiscover-request-for-exchange>

use model::address::EmailAddress;

use super::Told;
use crate::error::{Error, Kind, Phase};
use crate::ews::xml::{Element, escaped};

/// Kinds of access whose address is worth most, first: from outside, from inside, either.
const PROTOCOLS: [&str; 3] = ["EXPR", "EXCH", "EXHTTP"];

pub(super) fn request(mailbox: &EmailAddress) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <Autodiscover xmlns=\"http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006\">\
         <Request><EMailAddress>{}</EMailAddress><AcceptableResponseSchema>\
         http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a\
         </AcceptableResponseSchema></Request></Autodiscover>",
        escaped(mailbox.as_str())
    )
}

pub(super) fn read(xml: &[u8]) -> Result<Told, Error> {
    let broken = |why| Error::new(Phase::Discover, Kind::Violation(why));
    let answer = Element::parse(xml).map_err(broken)?;
    let response = answer.find("Response").filter(|_| answer.name() == "Autodiscover");
    let response = response.ok_or_else(|| broken("its answer is not Autodiscover's"))?;
    if let Some(error) = response.child("Error") {
        let code = error.text_of("ErrorCode").unwrap_or_default();
        let kind = match code {
            "500" => Kind::NoSuchMailbox,
            "501" | "602" => Kind::TemporarilyRefused,
            _ => Kind::PermanentlyRefused,
        };
        let words = error.text_of("Message").unwrap_or_default();
        return Err(Error::new(Phase::Discover, kind).with_said(format!("{code} {words}")));
    }
    let account = response.child("Account").ok_or_else(|| broken("its answer has no account"))?;
    let text = |name| account.text_of(name).map(str::to_owned);
    if let Some(address) = text("RedirectAddr") {
        return Ok(Told::Mailbox(address));
    }
    if let Some(url) = text("RedirectUrl") {
        return Ok(Told::Url(url));
    }
    let protocols = || account.children().iter().filter(|child| child.name() == "Protocol");
    let of =
        |kind: &str| protocols().find_map(|one| services(one).filter(|_| one.text_of("Type") == Some(kind)));
    let url = PROTOCOLS.iter().find_map(|kind| of(kind)).or_else(|| protocols().find_map(services));
    let own = response.child("User").and_then(|user| user.text_of("AutoDiscoverSMTPAddress"));
    let url = url.ok_or_else(|| Error::new(Phase::Discover, Kind::Unsupported("Exchange Web Services")))?;
    Ok(Told::Services(url.to_owned(), own.map(str::to_owned)))
}

/// Newer servers nest the protocol's addresses in another one's.
fn services(protocol: &Element) -> Option<&str> {
    ["EwsUrl", "ASUrl"].into_iter().find_map(|name| protocol.find(name)?.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(inside: &str) -> String {
        format!(
            r#"<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006"><Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a"><User><DisplayName>Anna</DisplayName><AutoDiscoverSMTPAddress>anna@example.com</AutoDiscoverSMTPAddress></User><Account><AccountType>email</AccountType>{inside}</Account></Response></Autodiscover>"#
        )
    }

    #[test]
    fn an_address_is_asked_for() {
        assert_eq!(
            request(&"anna@example.com".parse().unwrap()),
            r#"<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request><EMailAddress>anna@example.com</EMailAddress><AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>"#
        );
    }

    #[test]
    fn services_and_redirects_are_read() {
        let told = |inside: &str| read(account(inside).as_bytes()).unwrap();
        assert_eq!(
            told(
                "<Action>settings</Action><Protocol><Type>EXCH</Type><EwsUrl>https://in.example.com/EWS</EwsUrl></Protocol><Protocol><Type>EXPR</Type><EwsUrl>https://out.example.com/EWS</EwsUrl></Protocol>"
            ),
            Told::Services("https://out.example.com/EWS".into(), Some("anna@example.com".into()))
        );
        assert_eq!(
            told(
                "<Protocol><Type>EXPR</Type></Protocol><Protocol><Type>WEB</Type><External><Protocol><ASUrl>https://x.example.com/</ASUrl></Protocol></External></Protocol>"
            ),
            Told::Services("https://x.example.com/".into(), Some("anna@example.com".into()))
        );
        assert_eq!(
            told(
                "<Action>redirectUrl</Action><RedirectUrl>https://y.example.com/autodiscover/autodiscover.xml</RedirectUrl>"
            ),
            Told::Url("https://y.example.com/autodiscover/autodiscover.xml".into())
        );
        assert_eq!(
            told("<Action>redirectAddr</Action><RedirectAddr>anna@cloud.example</RedirectAddr>"),
            Told::Mailbox("anna@cloud.example".into())
        );
    }

    #[test]
    fn a_no_and_what_is_no_answer_are_told_apart() {
        let kind = |xml: &str| read(xml.as_bytes()).unwrap_err().kind().clone();
        assert_eq!(
            kind(
                r#"<Autodiscover><Response><Error Time="06:46:11" Id="1"><ErrorCode>500</ErrorCode><Message>The email address can't be found.</Message><DebugData/></Error></Response></Autodiscover>"#
            ),
            Kind::NoSuchMailbox
        );
        assert_eq!(kind("<html><body/></html>"), Kind::Violation("its answer is not Autodiscover's"));
        assert_eq!(kind(&account("")), Kind::Unsupported("Exchange Web Services"));
        assert!(matches!(kind("<!DOCTYPE x><Autodiscover/>"), Kind::Violation(_)));
    }
}
