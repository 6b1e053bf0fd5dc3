//! `CreateItem`: a message into a folder, from its MIME, without sending it.
//!
//! Blind copies are recipients of the item, since a message that everybody gets must not name them and there is no
//! envelope. Exchange takes them beside the MIME; whether a server did is read back, and set once more where it did not.
//!
//! <https://learn.microsoft.com/en-us/exchange/client-developer/web-service-reference/createitem-operation-email-message>

use std::pin::pin;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt as _};
use model::address::{EmailAddress, normalize};
use tokio::time::{Instant, timeout_at};

use super::listed;
use crate::error::{Error, Kind, Phase};
use crate::ews::answer::only;
use crate::ews::code::Fault;
use crate::ews::property::Property;
use crate::ews::xml::{Element, escaped};
use crate::ews::{FolderRef, ItemId, Session};
use crate::http::Feeder;

/// How much of a message is encoded at once: a multiple of three, so that no padding comes in between.
const PIECE: usize = 48 * 1024;

/// A message that is to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Where.
    pub folder: FolderRef,
    /// How many bytes the message has.
    pub size: u64,
    /// Which of our sends it is: by it the item is found again.
    pub send_id: String,
    /// Who gets a blind copy.
    pub bcc: Vec<EmailAddress>,
}

impl Session {
    /// Keeps a message, which is not sent. `message` is its MIME in pieces cut anywhere.
    ///
    /// After an error of phase [`Phase::Verdict`] the item may be there: [`Session::find_items`] finds it by its send id.
    /// After any other it is not.
    pub async fn create_draft<B, E>(
        &mut self,
        draft: &Draft,
        message: impl Stream<Item = Result<B, E>>,
    ) -> Result<ItemId, E>
    where
        B: AsRef<[u8]>,
        E: From<Error>,
    {
        self.confirm_all(Phase::Data).await?;
        let (before, after) = self.around();
        let (begin, end) = parts(draft, &draft.folder.xml(self.folders_of()));
        let (before, after) = (format!("{before}{begin}"), format!("{end}{after}"));
        let length = before.len() as u64 + draft.size.div_ceil(3) * 4 + after.len() as u64;
        let patience = self.settings.transport.phase_deadline;
        let until = Instant::now() + self.limits().message_deadline;
        let too_slow = self.error(Phase::Data, Kind::TimedOut);
        let other_size = self.error(Phase::Data, Kind::Unspeakable("the message is not as long as was said"));
        let feed = async |feeder: &Feeder| -> Result<(), E> {
            let give = async |piece: Bytes| {
                let deadline = until.min(Instant::now() + patience);
                timeout_at(deadline, feeder.give(piece)).await.map_err(|_| too_slow.clone())
            };
            let mut message = pin!(message);
            let mut pending = Vec::with_capacity(2 * PIECE);
            let mut left = draft.size;
            give(before.into()).await?;
            while let Some(piece) = message.next().await {
                for part in piece?.as_ref().chunks(PIECE) {
                    left = left.checked_sub(part.len() as u64).ok_or_else(|| other_size.clone())?;
                    pending.extend_from_slice(part);
                    if pending.len() >= PIECE {
                        let whole = pending.len() / 3 * 3;
                        give(BASE64_STANDARD.encode(&pending[..whole]).into()).await?;
                        pending.drain(..whole);
                    }
                }
            }
            if left > 0 {
                return Err(other_size.clone().into());
            }
            give(BASE64_STANDARD.encode(&pending).into()).await?;
            give(after.into()).await?;
            Ok(())
        };
        let (head, body) = self.say_fed::<E>(Phase::Data, "CreateItem", length, until, feed).await?;
        let until = self.patiently();
        // A server that answers in time has the message, or has refused it; anything else may be either.
        let answer = self.answer(Phase::Verdict, head, body, until).await?;
        let id = answer.response().and_then(read).map_err(|fault| match fault {
            Fault::Refused(said) => self.refusal(Phase::Data, &said),
            broken @ Fault::Broken(_) => self.fault(Phase::Verdict, broken),
        })?;
        Ok(self.with_blind_copies(id, &draft.bcc).await?)
    }

    /// Sees to it that the item has everybody who is to get a blind copy.
    async fn with_blind_copies(&mut self, id: ItemId, bcc: &[EmailAddress]) -> Result<ItemId, Error> {
        if bcc.is_empty() || self.has(&id, bcc).await? {
            return Ok(id);
        }
        let updated = self.update_blind_copies(&id, bcc).await?;
        if self.has(&updated, bcc).await? {
            return Ok(updated);
        }
        Err(self.error(Phase::Data, Kind::Unsupported("blind copies (Bcc recipients of a draft)")))
    }

    async fn has(&mut self, id: &ItemId, bcc: &[EmailAddress]) -> Result<bool, Error> {
        let kept = self.blind_copies(id).await?;
        Ok(bcc.iter().all(|wanted| kept.contains(&normalize(wanted.as_str()))))
    }
}

/// What stands before and after the message.
fn parts(draft: &Draft, folder: &str) -> (String, String) {
    let begin = format!(
        "<m:CreateItem MessageDisposition=\"SaveOnly\"><m:SavedItemFolderId>{folder}</m:SavedItemFolderId>\
         <m:Items><t:Message><t:MimeContent CharacterSet=\"UTF-8\">"
    );
    let bcc = if draft.bcc.is_empty() { String::new() } else { blind_copies(&draft.bcc) };
    let end = format!(
        "</t:MimeContent>{}{bcc}</t:Message></m:Items></m:CreateItem>",
        Property::SendId.xml(&draft.send_id)
    );
    (begin, end)
}

/// The recipients of an item that nobody sees.
pub(super) fn blind_copies(bcc: &[EmailAddress]) -> String {
    let mailboxes: Vec<_> = bcc
        .iter()
        .map(|address| {
            let address = escaped(address.as_str());
            format!("<t:Mailbox><t:EmailAddress>{address}</t:EmailAddress></t:Mailbox>")
        })
        .collect();
    format!("<t:BccRecipients>{}</t:BccRecipients>", mailboxes.concat())
}

fn read(response: &Element) -> Result<ItemId, Fault> {
    let item = listed(only(response)?, "Items").first();
    let id = item.and_then(|item| ItemId::read(item.child("ItemId")?));
    id.ok_or(Fault::Broken("its answer has no item"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_made_of_its_message_and_of_what_must_not_stand_in_it() {
        let mut draft = Draft {
            folder: FolderRef::Drafts,
            size: 3,
            send_id: "7f".into(),
            bcc: vec!["eve@example.com".parse().unwrap()],
        };
        let (begin, end) = parts(&draft, &draft.folder.xml(None));
        assert_eq!(
            format!("{begin}QUJD{end}"),
            r#"<m:CreateItem MessageDisposition="SaveOnly"><m:SavedItemFolderId><t:DistinguishedFolderId Id="drafts"/></m:SavedItemFolderId><m:Items><t:Message><t:MimeContent CharacterSet="UTF-8">QUJD</t:MimeContent><t:ExtendedProperty><t:ExtendedFieldURI PropertySetId="fdde4ea6-9be5-4bba-b33f-cb1fd988233a" PropertyName="LockstepSend" PropertyType="String"/><t:Value>7f</t:Value></t:ExtendedProperty><t:BccRecipients><t:Mailbox><t:EmailAddress>eve@example.com</t:EmailAddress></t:Mailbox></t:BccRecipients></t:Message></m:Items></m:CreateItem>"#
        );
        draft.bcc.clear();
        assert!(!parts(&draft, "").1.contains("Bcc"));
        let answer = r#"<m:CreateItemResponse><m:ResponseMessages><m:CreateItemResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode><m:Items><t:Message><t:ItemId Id="a" ChangeKey="k"/></t:Message></m:Items></m:CreateItemResponseMessage></m:ResponseMessages></m:CreateItemResponse>"#;
        let id = read(&Element::parse(answer.as_bytes()).unwrap()).unwrap();
        assert_eq!((id.id.as_str(), id.change_key.as_deref()), ("a", Some("k")));
    }
}
