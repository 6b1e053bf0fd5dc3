//! `ResolveNames`: who or what an address stands for in the server's directory.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/resolvenames-operation>

use crate::error::{Error, Phase};
use crate::ews::Session;
use crate::ews::answer::only;
use crate::ews::ask::Ask;
use crate::ews::code::Fault;
use crate::ews::xml::{Element, escaped};

/// Somebody or something that an address may stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Its name for people.
    pub name: Option<String>,
    /// Its own address, whichever was asked for.
    pub address: String,
    /// What it is.
    pub kind: RecipientKind,
    /// Its other addresses, where the server tells them.
    pub aliases: Vec<String>,
}

/// What an address stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecipientKind {
    /// A mailbox on the server.
    Mailbox,
    /// Everybody on a list, or in a group.
    DistributionList,
    /// Somebody elsewhere.
    Contact,
    /// A folder that takes mail.
    PublicFolder,
    /// The server does not say, or says something else.
    Other,
}

impl Session {
    /// What the directory has for an address, which may be more than one, and may have it as an alias. Empty when it has
    /// nothing.
    pub async fn resolve_names(&mut self, address: &str) -> Result<Vec<Resolution>, Error> {
        let body = request(address);
        self.ask(Ask::reading(Phase::Lookup, "ResolveNames", &body), read).await
    }
}

fn request(address: &str) -> String {
    format!(
        "<m:ResolveNames ReturnFullContactData=\"true\" SearchScope=\"ActiveDirectory\"><m:UnresolvedEntry>{}\
         </m:UnresolvedEntry></m:ResolveNames>",
        escaped(address)
    )
}

fn read(response: &Element) -> Result<Vec<Resolution>, Fault> {
    let message = match only(response) {
        Err(Fault::Refused(said)) if said.code == "ErrorNameResolutionNoResults" => return Ok(Vec::new()),
        message => message?,
    };
    let set = message.child("ResolutionSet").map(Element::children).unwrap_or_default();
    Ok(set.iter().filter_map(resolution).collect())
}

fn resolution(resolution: &Element) -> Option<Resolution> {
    let mailbox = resolution.child("Mailbox")?;
    let entries = resolution.child("Contact").and_then(|contact| contact.child("EmailAddresses"));
    let address = mailbox.text_of("EmailAddress")?.to_owned();
    let aliases = entries
        .map(Element::children)
        .unwrap_or_default()
        .iter()
        .filter_map(Element::text)
        .filter_map(|entry| match entry.split_once(':') {
            Some((kind, address)) => Some(address).filter(|_| kind.eq_ignore_ascii_case("smtp")),
            None => Some(entry),
        })
        .filter(|alias| !alias.eq_ignore_ascii_case(&address))
        .map(str::to_owned)
        .collect();
    Some(Resolution {
        name: mailbox.text_of("Name").map(str::to_owned),
        kind: kind(mailbox.text_of("MailboxType").unwrap_or_default()),
        address,
        aliases,
    })
}

/// <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/mailboxtype>
fn kind(name: &str) -> RecipientKind {
    match name {
        "Mailbox" => RecipientKind::Mailbox,
        "PublicDL" | "PrivateDL" | "GroupMailbox" => RecipientKind::DistributionList,
        "Contact" => RecipientKind::Contact,
        "PublicFolder" => RecipientKind::PublicFolder,
        _ => RecipientKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(xml: &str) -> Result<Vec<Resolution>, Fault> {
        read(&Element::parse(xml.as_bytes()).unwrap())
    }

    #[test]
    fn an_address_is_asked_for_and_may_be_somebodys_alias() {
        assert_eq!(
            request("info@example.com"),
            r#"<m:ResolveNames ReturnFullContactData="true" SearchScope="ActiveDirectory"><m:UnresolvedEntry>info@example.com</m:UnresolvedEntry></m:ResolveNames>"#
        );
        let found = told(
            r#"<m:ResolveNamesResponse><m:ResponseMessages><m:ResolveNamesResponseMessage ResponseClass="Warning"><m:MessageText>Multiple results were found.</m:MessageText><m:ResponseCode>ErrorNameResolutionMultipleResults</m:ResponseCode><m:ResolutionSet TotalItemsInView="2" IncludesLastItemInRange="true"><t:Resolution><t:Mailbox><t:Name>Anna</t:Name><t:EmailAddress>anna@example.com</t:EmailAddress><t:RoutingType>SMTP</t:RoutingType><t:MailboxType>Mailbox</t:MailboxType></t:Mailbox><t:Contact><t:EmailAddresses><t:Entry Key="EmailAddress1">SMTP:Anna@example.com</t:Entry><t:Entry Key="EmailAddress2">smtp:info@example.com</t:Entry><t:Entry Key="EmailAddress3">X400:c=de</t:Entry></t:EmailAddresses></t:Contact></t:Resolution><t:Resolution><t:Mailbox><t:EmailAddress>info-list@example.com</t:EmailAddress><t:MailboxType>PublicDL</t:MailboxType></t:Mailbox></t:Resolution></m:ResolutionSet></m:ResolveNamesResponseMessage></m:ResponseMessages></m:ResolveNamesResponse>"#,
        )
        .unwrap();
        assert_eq!(
            found[0],
            Resolution {
                name: Some("Anna".into()),
                address: "anna@example.com".into(),
                kind: RecipientKind::Mailbox,
                aliases: vec!["info@example.com".into()],
            }
        );
        assert_eq!((found[1].kind, found[1].name.as_deref()), (RecipientKind::DistributionList, None));
    }

    #[test]
    fn nobody_is_no_error_and_a_refusal_is() {
        let none = told(
            r#"<m:ResolveNamesResponse><m:ResponseMessages><m:ResolveNamesResponseMessage ResponseClass="Error"><m:MessageText>No results were found.</m:MessageText><m:ResponseCode>ErrorNameResolutionNoResults</m:ResponseCode></m:ResolveNamesResponseMessage></m:ResponseMessages></m:ResolveNamesResponse>"#,
        );
        assert_eq!(none, Ok(Vec::new()));
        let refused = told(
            r#"<m:ResolveNamesResponse><m:ResponseMessages><m:ResolveNamesResponseMessage ResponseClass="Error"><m:ResponseCode>ErrorAccessDenied</m:ResponseCode></m:ResolveNamesResponseMessage></m:ResponseMessages></m:ResolveNamesResponse>"#,
        );
        assert!(matches!(refused, Err(Fault::Refused(said)) if said.code == "ErrorAccessDenied"));
    }
}
