//! `SendItem`: a draft on its way. The last moment to think better of it is before this is called.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/senditem-operation>

use hyper::StatusCode;
use model::crash::{self, Point};

use crate::error::{Error, Kind, Phase};
use crate::ews::answer::only;
use crate::ews::ask::Ask;
use crate::ews::code::Fault;
use crate::ews::{FolderRef, ItemId, Session};

/// What became of a message that was to be sent.
#[must_use = "it says whether the message was sent"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The server took responsibility.
    Sent,
    /// The server said no: the draft is still there.
    Refused(Error),
    /// The request left, and no answer that settles it came back: the draft is gone, or it is still there.
    Unknown(Error),
}

impl Session {
    /// Sends a draft. The server keeps a copy in the folder, and none where none is given.
    ///
    /// `Err` always means *not sent*. If this future is dropped, [`Session::may_have_sent`] tells how far it came.
    pub async fn send_item(&mut self, id: &ItemId, copy: Option<&FolderRef>) -> Result<Sent, Error> {
        self.may_have_sent = false;
        self.confirm(Phase::Data).await?;
        let id = self.current(id).await?;
        let body = request(&id, copy.map(|folder| folder.xml(self.folders_of())).as_deref());
        let until = self.patiently();
        self.may_have_sent = true;
        let said = self.say(Ask::changing(Phase::Data, "SendItem", &body), until).await;
        let (head, body) = match said {
            Ok(answered) => {
                crash::point(Point::DotAfter);
                answered
            }
            Err(unsaid) if unsaid.left => return Ok(Sent::Unknown(unsaid.error.in_phase(Phase::Verdict))),
            Err(unsaid) => {
                self.may_have_sent = false;
                return Err(unsaid.error);
            }
        };
        let status = head.status;
        let answer = match self.answer(Phase::Verdict, head, body, until).await {
            Ok(answer) => answer,
            Err(error) if turned_away(status) => {
                self.may_have_sent = false;
                return Err(match error.phase() {
                    Phase::Verdict => error.in_phase(Phase::Data),
                    _ => error,
                });
            }
            Err(error) => return Ok(Sent::Unknown(error)),
        };
        Ok(match answer.response().and_then(only) {
            Ok(_) => Sent::Sent,
            Err(Fault::Refused(said)) if is_open(&said.code) => {
                Sent::Unknown(self.refusal(Phase::Verdict, &said))
            }
            Err(Fault::Refused(said)) => {
                self.may_have_sent = false;
                let error = self.refusal(Phase::Data, &said);
                if is_about_the_message(error.kind()) { Sent::Refused(error) } else { return Err(error) }
            }
            Err(broken) => Sent::Unknown(self.fault(Phase::Verdict, broken)),
        })
    }

    /// Whether the latest message may have been sent. For a caller that dropped the future of [`Session::send_item`]: false
    /// means that it was not, true that its fate is unknown.
    pub fn may_have_sent(&self) -> bool {
        self.may_have_sent
    }
}

/// Nothing is wrong with a message whose server only wants to be asked later, or whose mailbox cannot be reached now.
fn is_about_the_message(kind: &Kind) -> bool {
    !matches!(
        kind,
        Kind::Throttled(_)
            | Kind::TemporarilyRefused
            | Kind::ImpersonationRefused
            | Kind::NoSuchMailbox
            | Kind::MailboxDisabled
    )
}

/// Statuses of whoever stands before the server, which has seen nothing then.
fn turned_away(status: StatusCode) -> bool {
    matches!(status.as_u16(), 400 | 401 | 403 | 404 | 405 | 411 | 413 | 415 | 429 | 503)
}

/// Refusals that leave open how far the server came.
fn is_open(code: &str) -> bool {
    matches!(
        code,
        "" | "ErrorTimeoutExpired"
            // Somebody sent or removed the draft: its owner, or an earlier telling of this request.
            | "ErrorItemNotFound"
            | "ErrorInternalServerError"
            | "ErrorInternalServerTransientError"
            | "ErrorConnectionFailed"
            | "ErrorConnectionFailedTransientError"
            | "ErrorClientDisconnected"
            | "ErrorMailboxFailover"
            | "ErrorBatchProcessingStopped"
    ) || code.starts_with("ErrorProxy")
}

fn request(id: &ItemId, copy: Option<&str>) -> String {
    let ids = ItemId::list(std::slice::from_ref(id));
    match copy {
        Some(folder) => format!(
            "<m:SendItem SaveItemToFolder=\"true\">{ids}<m:SavedItemFolderId>{folder}</m:SavedItemFolderId>\
             </m:SendItem>"
        ),
        None => format!("<m:SendItem SaveItemToFolder=\"false\">{ids}</m:SendItem>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_sent_with_a_copy_or_without() {
        let id = ItemId { id: "a".into(), change_key: Some("k".into()) };
        assert_eq!(
            request(&id, Some(&FolderRef::SentItems.xml(None))),
            r#"<m:SendItem SaveItemToFolder="true"><m:ItemIds><t:ItemId Id="a" ChangeKey="k"/></m:ItemIds><m:SavedItemFolderId><t:DistinguishedFolderId Id="sentitems"/></m:SavedItemFolderId></m:SendItem>"#
        );
        assert_eq!(
            request(&id, None),
            r#"<m:SendItem SaveItemToFolder="false"><m:ItemIds><t:ItemId Id="a" ChangeKey="k"/></m:ItemIds></m:SendItem>"#
        );
    }

    #[test]
    fn a_refusal_settles_it_unless_the_server_does_not_know_itself() {
        for (code, open) in [
            ("ErrorInvalidRecipients", false),
            ("ErrorItemNotFound", true),
            ("ErrorServerBusy", false),
            ("ErrorSendAsDenied", false),
            ("ErrorTimeoutExpired", true),
            ("ErrorProxyRequestProcessingFailed", true),
            ("", true),
        ] {
            assert_eq!(is_open(code), open, "{code}");
        }
    }
}
