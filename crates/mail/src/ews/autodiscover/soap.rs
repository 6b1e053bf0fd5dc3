//! Autodiscover in SOAP (MS-OXWSADISC).
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/getusersettings-operation-soap>

use model::address::EmailAddress;

use super::Told;
use crate::error::{Error, Kind, Phase};
use crate::ews::answer::Answer;
use crate::ews::code::Fault;
use crate::ews::xml::{Element, escaped};
use crate::http::Address;

const SCHEMA: &str = "http://schemas.microsoft.com/exchange/2010/Autodiscover";

pub(super) fn request(address: &Address, mailbox: &EmailAddress) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\" xmlns:a=\"{SCHEMA}\" \
         xmlns:w=\"http://www.w3.org/2005/08/addressing\"><s:Header>\
         <a:RequestedServerVersion>Exchange2010</a:RequestedServerVersion>\
         <w:Action>{SCHEMA}/Autodiscover/GetUserSettings</w:Action><w:To>{}</w:To></s:Header><s:Body>\
         <a:GetUserSettingsRequestMessage><a:Request><a:Users><a:User><a:Mailbox>{}</a:Mailbox></a:User></a:Users>\
         <a:RequestedSettings><a:Setting>ExternalEwsUrl</a:Setting><a:Setting>InternalEwsUrl</a:Setting>\
         <a:Setting>AutoDiscoverSMTPAddress</a:Setting></a:RequestedSettings></a:Request>\
         </a:GetUserSettingsRequestMessage></s:Body></s:Envelope>",
        escaped(&address.to_string()),
        escaped(mailbox.as_str()),
    )
}

pub(super) fn read(xml: &[u8]) -> Result<Told, Error> {
    let broken = |why| Error::new(Phase::Discover, Kind::Violation(why));
    let answer = Answer::parse(xml).map_err(broken)?;
    let response = answer.response().map_err(|fault| match fault {
        Fault::Refused(said) => said.error(Phase::Discover),
        Fault::Broken(why) => broken(why),
    })?;
    let user = response.find("UserResponse").ok_or_else(|| broken("its answer is not Autodiscover's"))?;
    let target = || user.text_of("RedirectTarget").map(str::to_owned);
    let code = user.text_of("ErrorCode").unwrap_or("NoError");
    let kind = match code {
        "NoError" => return services(user),
        "RedirectUrl" => {
            return target()
                .map(Told::Url)
                .ok_or_else(|| broken("it leads elsewhere, and does not say where"));
        }
        "RedirectAddress" => {
            return target()
                .map(Told::Mailbox)
                .ok_or_else(|| broken("it leads elsewhere, and does not say where"));
        }
        "InvalidUser" => Kind::NoSuchMailbox,
        "ServerBusy" => Kind::Throttled(crate::error::Busy::Server),
        "InternalServerError" => Kind::TemporarilyRefused,
        _ => Kind::PermanentlyRefused,
    };
    let words = user.text_of("ErrorMessage").unwrap_or_default();
    Err(Error::new(Phase::Discover, kind).with_said(format!("{code}: {words}")).with_code(code))
}

fn services(user: &Element) -> Result<Told, Error> {
    let settings = user.child("UserSettings").map(Element::children).unwrap_or_default();
    let setting = |name: &str| {
        let setting = settings.iter().find(|setting| setting.text_of("Name") == Some(name))?;
        setting.text_of("Value").map(str::to_owned)
    };
    let url = setting("ExternalEwsUrl").or_else(|| setting("InternalEwsUrl"));
    let url = url.ok_or_else(|| Error::new(Phase::Discover, Kind::Unsupported("Exchange Web Services")))?;
    Ok(Told::Services(url, setting("AutoDiscoverSMTPAddress")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(inside: &str) -> Result<Told, Error> {
        let xml = format!(
            r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header><h:ServerVersionInfo xmlns:h="http://schemas.microsoft.com/exchange/2010/Autodiscover"/></s:Header><s:Body><GetUserSettingsResponseMessage xmlns="http://schemas.microsoft.com/exchange/2010/Autodiscover"><Response><ErrorCode>NoError</ErrorCode><ErrorMessage/><UserResponses><UserResponse>{inside}</UserResponse></UserResponses></Response></GetUserSettingsResponseMessage></s:Body></s:Envelope>"#
        );
        read(xml.as_bytes())
    }

    #[test]
    fn settings_are_asked_for() {
        let address =
            Address::parse("https://autodiscover.example.com/autodiscover/autodiscover.svc").unwrap();
        assert_eq!(
            request(&address, &"anna@example.com".parse().unwrap()),
            r#"<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:a="http://schemas.microsoft.com/exchange/2010/Autodiscover" xmlns:w="http://www.w3.org/2005/08/addressing"><s:Header><a:RequestedServerVersion>Exchange2010</a:RequestedServerVersion><w:Action>http://schemas.microsoft.com/exchange/2010/Autodiscover/Autodiscover/GetUserSettings</w:Action><w:To>https://autodiscover.example.com/autodiscover/autodiscover.svc</w:To></s:Header><s:Body><a:GetUserSettingsRequestMessage><a:Request><a:Users><a:User><a:Mailbox>anna@example.com</a:Mailbox></a:User></a:Users><a:RequestedSettings><a:Setting>ExternalEwsUrl</a:Setting><a:Setting>InternalEwsUrl</a:Setting><a:Setting>AutoDiscoverSMTPAddress</a:Setting></a:RequestedSettings></a:Request></a:GetUserSettingsRequestMessage></s:Body></s:Envelope>"#
        );
    }

    #[test]
    fn services_redirects_and_refusals_are_read() {
        assert_eq!(
            answered(
                r#"<ErrorCode>NoError</ErrorCode><ErrorMessage>No error.</ErrorMessage><RedirectTarget i:nil="true" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"/><UserSettingErrors/><UserSettings><UserSetting xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="StringSetting"><Name>InternalEwsUrl</Name><Value>https://in.example.com/EWS</Value></UserSetting><UserSetting i:type="StringSetting" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><Value>https://out.example.com/EWS</Value><Name>ExternalEwsUrl</Name></UserSetting></UserSettings>"#
            )
            .unwrap(),
            Told::Services("https://out.example.com/EWS".into(), None)
        );
        assert_eq!(
            answered(
                "<ErrorCode>RedirectAddress</ErrorCode><RedirectTarget>anna@cloud.example</RedirectTarget>"
            )
            .unwrap(),
            Told::Mailbox("anna@cloud.example".into())
        );
        assert_eq!(
            answered("<ErrorCode>RedirectUrl</ErrorCode><RedirectTarget>https://y/</RedirectTarget>")
                .unwrap(),
            Told::Url("https://y/".into())
        );
        let kind = |inside: &str| answered(inside).unwrap_err().kind().clone();
        assert_eq!(kind("<ErrorCode>InvalidUser</ErrorCode>"), Kind::NoSuchMailbox);
        assert!(matches!(kind("<ErrorCode>RedirectUrl</ErrorCode>"), Kind::Violation(_)));
        assert_eq!(kind("<UserSettings/>"), Kind::Unsupported("Exchange Web Services"));
    }
}
