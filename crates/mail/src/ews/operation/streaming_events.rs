//! `GetStreamingEvents`: one answer that goes on for minutes, an envelope for each time that something happened. What
//! happened says little and is not trusted with more: it is a reason to look.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/getstreamingevents-operation>

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::subscribe::SubscriptionId;
use crate::error::{Error, Kind, Phase};
use crate::ews::Session;
use crate::ews::answer::{Answer, messages};
use crate::ews::ask::Ask;
use crate::ews::code::Fault;
use crate::ews::envelopes::Envelopes;
use crate::ews::xml::{Element, escaped};
use crate::http::Reading;

/// The longest that servers listen.
const LONGEST: u8 = 30;
/// Servers say that they are there about every 45 seconds; two may be lost.
const SILENCE: Duration = Duration::from_secs(150);
/// How long past its minutes the connection may go on.
const GRACE: Duration = Duration::from_secs(60);

/// Something that the server told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// It is still there.
    Alive,
    /// Something happened in a mailbox.
    Changed {
        /// Where.
        subscription: SubscriptionId,
        /// What, in the server's order.
        events: Vec<Event>,
    },
    /// It will tell nothing more of these, or of none that it named, and why.
    Lost(Vec<SubscriptionId>, Error),
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// Mail came in.
    NewMail,
    /// An item or a folder was made.
    Created,
    /// One came from another folder, or went to one.
    Moved,
    /// One was deleted.
    Deleted,
    /// Something else.
    Other,
}

impl Session {
    /// Listens to subscriptions, of several mailboxes too, for so many minutes, of 1 to 30.
    pub async fn streaming_events(
        &mut self,
        ids: &[SubscriptionId],
        minutes: u8,
    ) -> Result<Events<'_>, Error> {
        let minutes = minutes.clamp(1, LONGEST);
        self.confirm(Phase::Watch).await?;
        let body = request(ids, minutes);
        let until = self.soon();
        let (head, body) = self.say(Ask::reading(Phase::Watch, "GetStreamingEvents", &body), until).await?;
        if !head.status.is_success() {
            let answer = self.answer(Phase::Watch, head, body, until).await?;
            let fault =
                answer.response().err().unwrap_or(Fault::Broken("its status is not that of an answer"));
            return Err(self.fault(Phase::Watch, fault));
        }
        self.note(&head);
        self.busy = true;
        let until = Instant::now() + Duration::from_secs(60) * u32::from(minutes) + GRACE;
        let reading = Reading::new(body, until, SILENCE, u64::MAX);
        Ok(Events {
            session: self,
            reading: Some(reading),
            envelopes: Envelopes::default(),
            notices: VecDeque::new(),
        })
    }
}

fn request(ids: &[SubscriptionId], minutes: u8) -> String {
    let ids: Vec<_> =
        ids.iter().map(|id| format!("<t:SubscriptionId>{}</t:SubscriptionId>", escaped(&id.0))).collect();
    let ids = ids.concat();
    format!(
        "<m:GetStreamingEvents><m:SubscriptionIds>{ids}</m:SubscriptionIds>\
         <m:ConnectionTimeout>{minutes}</m:ConnectionTimeout></m:GetStreamingEvents>"
    )
}

/// What a server tells as it happens. Dropping it before its end ends the session.
#[derive(Debug)]
pub struct Events<'a> {
    session: &'a mut Session,
    reading: Option<Reading>,
    envelopes: Envelopes,
    notices: VecDeque<Notice>,
}

impl Events<'_> {
    /// The next thing that the server tells; `None` when its minutes are over. May be dropped and called again.
    pub async fn next(&mut self) -> Result<Option<Notice>, Error> {
        loop {
            if let Some(notice) = self.notices.pop_front() {
                return Ok(Some(notice));
            }
            while let Some(envelope) = self.envelopes.next() {
                let told = Answer::parse(&envelope)
                    .map_err(Fault::Broken)
                    .and_then(|answer| answer.response().map(|response| self.read(response)));
                match told {
                    Ok(notices) => self.notices.extend(notices),
                    Err(fault @ Fault::Refused(_)) => {
                        self.end();
                        return Err(self.session.fault(Phase::Watch, fault));
                    }
                    Err(Fault::Broken(why)) => return Err(self.lose(Kind::Violation(why))),
                }
            }
            if !self.notices.is_empty() {
                continue;
            }
            let (Some(reading), Some(channel)) = (&mut self.reading, &mut self.session.channel) else {
                return Ok(None);
            };
            match reading.piece(channel).await {
                Ok(Some(bytes)) => {
                    self.envelopes.push(&bytes).map_err(|why| self.lose(Kind::Violation(why)))?;
                }
                Ok(None) => self.end(),
                Err(kind) => return Err(self.lose(kind)),
            }
        }
    }

    fn read(&self, response: &Element) -> Vec<Notice> {
        let mut notices = Vec::new();
        for message in messages(response) {
            match message {
                Ok(message) => {
                    let before = notices.len();
                    let told = message.child("Notifications").map(Element::children).unwrap_or_default();
                    notices.extend(told.iter().filter_map(changed));
                    if notices.len() == before {
                        notices.push(Notice::Alive);
                    }
                }
                Err(said) => {
                    let lost = Self::lost(response);
                    notices.push(Notice::Lost(lost, self.session.refusal(Phase::Watch, &said)));
                }
            }
        }
        notices
    }

    fn lost(response: &Element) -> Vec<SubscriptionId> {
        let listed = response.find("ErrorSubscriptionIds").map(Element::children).unwrap_or_default();
        listed.iter().filter_map(Element::text).map(|id| SubscriptionId(id.to_owned())).collect()
    }

    fn end(&mut self) {
        self.reading = None;
        self.session.busy = false;
    }

    fn lose(&mut self, kind: Kind) -> Error {
        self.reading = None;
        self.session.lose(Phase::Watch, kind)
    }
}

/// A heartbeat is a `StatusEvent`, and no change.
fn changed(notification: &Element) -> Option<Notice> {
    let subscription = SubscriptionId(notification.text_of("SubscriptionId")?.to_owned());
    let events: Vec<_> = notification
        .children()
        .iter()
        .filter_map(|event| {
            Some(match event.name() {
                "StatusEvent" => return None,
                "NewMailEvent" => Event::NewMail,
                "CreatedEvent" => Event::Created,
                "MovedEvent" => Event::Moved,
                "DeletedEvent" => Event::Deleted,
                name if name.ends_with("Event") => Event::Other,
                _ => return None,
            })
        })
        .collect();
    (!events.is_empty()).then_some(Notice::Changed { subscription, events })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_listened_to() {
        assert_eq!(
            request(&[SubscriptionId("a".into()), SubscriptionId("b".into())], 29),
            r"<m:GetStreamingEvents><m:SubscriptionIds><t:SubscriptionId>a</t:SubscriptionId><t:SubscriptionId>b</t:SubscriptionId></m:SubscriptionIds><m:ConnectionTimeout>29</m:ConnectionTimeout></m:GetStreamingEvents>"
        );
    }

    #[test]
    fn a_notification_tells_what_happened_and_a_heartbeat_nothing() {
        let told = |inside: &str| {
            let xml =
                format!("<m:Notification><t:SubscriptionId>a</t:SubscriptionId>{inside}</m:Notification>");
            changed(&Element::parse(xml.as_bytes()).unwrap())
        };
        assert_eq!(
            told(
                r#"<t:CreatedEvent><t:TimeStamp>2026-11-22T21:17:45Z</t:TimeStamp><t:ItemId Id="i" ChangeKey="k"/><t:ParentFolderId Id="f"/></t:CreatedEvent><t:NewMailEvent><t:ItemId Id="i"/></t:NewMailEvent><t:FreeBusyChangedEvent/>"#
            ),
            Some(Notice::Changed {
                subscription: SubscriptionId("a".into()),
                events: vec![Event::Created, Event::NewMail, Event::Other],
            })
        );
        assert_eq!(told("<t:StatusEvent/>"), None);
    }
}
