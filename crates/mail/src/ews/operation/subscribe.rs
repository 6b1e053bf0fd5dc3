//! `Subscribe` and `Unsubscribe`: which folders of a mailbox are watched.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/subscribe-operation>,
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/unsubscribe-operation>

use model::address::EmailAddress;

use crate::error::{Error, Phase};
use crate::ews::Session;
use crate::ews::affinity::Affinity;
use crate::ews::answer::only;
use crate::ews::ask::Ask;
use crate::ews::code::Fault;
use crate::ews::folder::FolderRef;
use crate::ews::xml::{Element, escaped};

/// The server's name for a subscription. It lives for half an hour without a connection that listens to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubscriptionId(pub String);

impl Session {
    /// Has these folders of the mailbox watched. What is told about them comes by [`Session::streaming_events`].
    pub async fn subscribe(&mut self, folders: &[FolderRef]) -> Result<SubscriptionId, Error> {
        let folders: String = folders.iter().map(|folder| folder.xml(self.folders_of())).collect();
        let body = request(&folders);
        self.ask(Ask::changing(Phase::Watch, "Subscribe", &body), read).await
    }

    /// Ends a subscription. One that the server has forgotten has ended.
    pub async fn unsubscribe(&mut self, id: &SubscriptionId) -> Result<(), Error> {
        let body =
            format!("<m:Unsubscribe><m:SubscriptionId>{}</m:SubscriptionId></m:Unsubscribe>", escaped(&id.0));
        let ask = Ask::reading(Phase::Watch, "Unsubscribe", &body);
        let ended = self.ask(ask, |response| only(response).map(drop)).await;
        match ended {
            Err(error) if error.kind() == &crate::error::Kind::NotFound => Ok(()),
            ended => ended,
        }
    }

    /// From now on requests go to the one of several servers that has the mailbox of `anchor`: subscriptions that are listened
    /// to over one connection must be made so, and the first of them is the anchor's own.
    pub fn keep_affinity(&mut self, anchor: EmailAddress) {
        self.affinity = Some(Affinity::new(anchor));
    }
}

fn request(folders: &str) -> String {
    format!(
        "<m:Subscribe><m:StreamingSubscriptionRequest><t:FolderIds>{folders}</t:FolderIds><t:EventTypes>\
         <t:EventType>NewMailEvent</t:EventType><t:EventType>CreatedEvent</t:EventType>\
         <t:EventType>MovedEvent</t:EventType><t:EventType>DeletedEvent</t:EventType></t:EventTypes>\
         </m:StreamingSubscriptionRequest></m:Subscribe>"
    )
}

fn read(response: &Element) -> Result<SubscriptionId, Fault> {
    let id = only(response)?.text_of("SubscriptionId");
    id.map(|id| SubscriptionId(id.to_owned())).ok_or(Fault::Broken("its answer has no subscription"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_watched() {
        assert_eq!(
            request(&FolderRef::Inbox.xml(None)),
            r#"<m:Subscribe><m:StreamingSubscriptionRequest><t:FolderIds><t:DistinguishedFolderId Id="inbox"/></t:FolderIds><t:EventTypes><t:EventType>NewMailEvent</t:EventType><t:EventType>CreatedEvent</t:EventType><t:EventType>MovedEvent</t:EventType><t:EventType>DeletedEvent</t:EventType></t:EventTypes></m:StreamingSubscriptionRequest></m:Subscribe>"#
        );
        let answer = r#"<m:SubscribeResponse><m:ResponseMessages><m:SubscribeResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:SubscriptionId>JgBzbjFw</m:SubscriptionId></m:SubscribeResponseMessage></m:ResponseMessages></m:SubscribeResponse>"#;
        assert_eq!(read(&Element::parse(answer.as_bytes()).unwrap()).unwrap().0, "JgBzbjFw");
    }
}
