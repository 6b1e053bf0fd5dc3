//! Autodiscover: from an address to the endpoint, in plain XML and over SOAP.
//!
//! <https://learn.microsoft.com/exchange/client-developer/web-service-reference/pox-autodiscover-web-service-reference-for-exchange>
//! and `soap-autodiscover-web-service-reference-for-exchange` beside it.

use std::fmt::Write as _;

use crate::state::{Redirect, State};
use crate::xml::{Element, Space};

/// What is known of an address.
enum Known {
    Mailbox(usize),
    Address(String),
    Url(String),
    Nobody,
}

fn known(state: &State, host: &str, address: &str) -> Known {
    match state.redirects.get(&address.to_lowercase()) {
        Some(Redirect::Address(to)) => return Known::Address(to.clone()),
        // Whoever came to where it leads has followed it.
        Some(Redirect::Url(to)) if !to.contains(&format!("//{host}/")) => return Known::Url(to.clone()),
        Some(Redirect::Url(_)) | None => {}
    }
    state.place_of(address).map_or(Known::Nobody, Known::Mailbox)
}

fn endpoint(port: u16) -> String {
    format!("https://localhost:{port}/EWS/Exchange.asmx")
}

/// Answers a POX request.
pub(crate) fn pox(state: &State, port: u16, host: &str, document: &str) -> String {
    const RESPONSE: &str = "http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006";
    const OUTLOOK: &str = "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a";
    let request = Element::parse(document).ok();
    let request = request.as_ref().and_then(|root| root.child("Request"));
    let address = request.and_then(|request| request.child_text("EMailAddress")).unwrap_or_default().trim();
    let schema =
        request.and_then(|request| request.child_text("AcceptableResponseSchema")).unwrap_or_default().trim();
    let error = |code: u32, message: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><Autodiscover xmlns=\"{RESPONSE}\"><Response>\
             <Error Time=\"00:00:00.0000000\" Id=\"1\"><ErrorCode>{code}</ErrorCode><Message>{message}</Message>\
             <DebugData /></Error></Response></Autodiscover>"
        )
    };
    if address.is_empty() {
        return error(600, "Invalid Request");
    }
    if schema != OUTLOOK {
        return error(601, "Provider is not available");
    }
    let account = match known(state, host, address) {
        Known::Nobody => return error(500, "The email address can't be found."),
        Known::Address(to) => format!(
            "<Account><Action>redirectAddr</Action><RedirectAddr>{}</RedirectAddr></Account>",
            escaped(&to)
        ),
        Known::Url(to) => format!(
            "<Account><Action>redirectUrl</Action><RedirectUrl>{}</RedirectUrl></Account>",
            escaped(&to)
        ),
        Known::Mailbox(place) => {
            let mailbox = &state.mailboxes[place];
            let url = endpoint(port);
            let mut account = format!(
                "<User><DisplayName>{}</DisplayName><LegacyDN>/o=Lockstep/cn=Recipients/cn={}</LegacyDN>\
                 <AutoDiscoverSMTPAddress>{}</AutoDiscoverSMTPAddress></User>\
                 <Account><AccountType>email</AccountType><Action>settings</Action>\
                 <MicrosoftOnline>False</MicrosoftOnline>",
                escaped(&mailbox.name),
                mailbox.place,
                escaped(&mailbox.address)
            );
            for kind in ["EXCH", "EXPR"] {
                let _ = write!(
                    account,
                    "<Protocol><Type>{kind}</Type><Server>localhost</Server><ServerVersion>738280E3</ServerVersion>\
                     <AuthPackage>Basic</AuthPackage><ASUrl>{url}</ASUrl><EwsUrl>{url}</EwsUrl></Protocol>"
                );
            }
            account.push_str("</Account>");
            account
        }
    };
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Autodiscover xmlns=\"{RESPONSE}\"><Response xmlns=\"{OUTLOOK}\">\
         {account}</Response></Autodiscover>"
    )
}

/// Answers `GetUserSettings`.
pub(crate) fn soap(state: &State, port: u16, host: &str, document: &str) -> String {
    let a = |name: &str| Element::new(Space::Autodiscover, name);
    let root = Element::parse(document).ok();
    let request =
        root.as_ref().and_then(|root| root.at(&["Body", "GetUserSettingsRequestMessage", "Request"]));
    let envelope = |body: Element| {
        let [major, minor, build, revision] = parts(&state.options.version.build());
        let info = a("ServerVersionInfo")
            .with(a("MajorVersion").saying(major))
            .with(a("MinorVersion").saying(minor))
            .with(a("MajorBuildNumber").saying(build))
            .with(a("MinorBuildNumber").saying(revision))
            .with(a("Version").saying(state.options.version.name()));
        let action = Element::new(Space::Addressing, "Action").saying(
            "http://schemas.microsoft.com/exchange/2010/Autodiscover/Autodiscover/GetUserSettingsResponse",
        );
        Element::new(Space::Soap, "Envelope")
            .with(Element::new(Space::Soap, "Header").with(action).with(info))
            .with(Element::new(Space::Soap, "Body").with(a("GetUserSettingsResponseMessage").with(body)))
            .document()
    };
    let Some(request) = request else {
        let response = a("Response")
            .with(a("ErrorCode").saying("InvalidRequest"))
            .with(a("ErrorMessage").saying("The request is invalid."));
        return envelope(response);
    };
    let wanted: Vec<&str> = request
        .child("RequestedSettings")
        .map_or(&[][..], |settings| &settings.children)
        .iter()
        .map(|setting| setting.text.trim())
        .collect();
    let users = request.child("Users").map_or(&[][..], |users| &users.children);
    let responses = users.iter().map(|user| {
        let address = user.child_text("Mailbox").unwrap_or_default().trim();
        let code = |code: &str, message: &str| {
            a("UserResponse").with(a("ErrorCode").saying(code)).with(a("ErrorMessage").saying(message))
        };
        match known(state, host, address) {
            Known::Nobody => code("InvalidUser", &format!("Invalid user: '{address}'")),
            Known::Address(to) => code("RedirectAddress", &format!("Redirection address: '{to}'"))
                .with(a("RedirectTarget").saying(to))
                .with(a("UserSettingErrors"))
                .with(a("UserSettings")),
            Known::Url(to) => code("RedirectUrl", &format!("Redirection URL: '{to}'"))
                .with(a("RedirectTarget").saying(to))
                .with(a("UserSettingErrors"))
                .with(a("UserSettings")),
            Known::Mailbox(place) => {
                let found = wanted.iter().filter_map(|name| {
                    let value = setting(state, port, place, name)?;
                    let mut setting =
                        a("UserSetting").with(a("Name").saying(name)).with(a("Value").saying(value));
                    setting
                        .attributes
                        .push(("xmlns:i".to_owned(), "http://www.w3.org/2001/XMLSchema-instance".to_owned()));
                    setting.attributes.push(("i:type".to_owned(), "a:StringSetting".to_owned()));
                    Some(setting)
                });
                let missing =
                    wanted.iter().filter(|name| setting(state, port, place, name).is_none()).map(|name| {
                        a("UserSettingError")
                            .with(a("ErrorCode").saying("SettingIsNotAvailable"))
                            .with(a("ErrorMessage").saying(format!("Setting '{name}' is not available.")))
                            .with(a("SettingName").saying(name))
                    });
                code("NoError", "No error.")
                    .with(a("UserSettingErrors").with_all(missing))
                    .with(a("UserSettings").with_all(found))
            }
        }
    });
    let response = a("Response")
        .with(a("ErrorCode").saying("NoError"))
        .with(a("ErrorMessage"))
        .with(a("UserResponses").with_all(responses));
    envelope(response)
}

fn setting(state: &State, port: u16, place: usize, name: &str) -> Option<String> {
    let mailbox = &state.mailboxes[place];
    Some(match name {
        "ExternalEwsUrl" | "InternalEwsUrl" => endpoint(port),
        "AutoDiscoverSMTPAddress" => mailbox.address.clone(),
        "UserDisplayName" => mailbox.name.clone(),
        "UserDN" => format!("/o=Lockstep/cn=Recipients/cn={}", mailbox.place),
        "EwsSupportedSchemas" => state.options.version.supported().collect::<Vec<_>>().join(", "),
        "ExternalEwsVersion" | "CasVersion" => state.options.version.build(),
        _ => return None,
    })
}

fn parts(build: &str) -> [String; 4] {
    let mut parts = build.split('.').map(str::to_owned);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
