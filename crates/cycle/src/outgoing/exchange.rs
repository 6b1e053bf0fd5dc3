//! One message at an Exchange server: laid down in Drafts under a name of ours, then sent from there. Until it is told to send
//! the server has a draft, and nothing left; from then on only its answer counts, or what is found under that name.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mail::ews::{self, Deletion, Draft, FolderRef, ItemId, Search};
use model::address::EmailAddress;
use model::alert::AlertKind;
use model::crash::{self, Point};
use model::email::{PartyRole, RecipientState as State, SendAnswer, retry_after};
use model::id::AttemptId;
use model::message::NamedAddress;
use serde_json::json;
use store::outgoing::{Answer, Attempt, RecipientAnswer};

use super::begun::Begun;
use super::submission::{Held, refuse};
use super::{Sending, Sent};
use crate::ending::Interrupted;
use crate::servers::bare;

impl Sending<'_> {
    pub(super) async fn submit_at_exchange(
        &self,
        session: &mut ews::Session,
        mut begun: Begun,
    ) -> Result<Sent, Interrupted> {
        only_who_is_due(&mut begun.attempt);
        let (begun, letter, files) = match self.written(begun).await? {
            Ok(written) => written,
            Err(sent) => return Ok(sent),
        };
        let attempt = &begun.attempt;
        let bytes = letter.size;
        let draft = Draft {
            folder: FolderRef::Drafts,
            size: bytes,
            send_id: send_id(attempt.id),
            bcc: hidden(attempt),
        };
        let dot = begun.dot();
        crash::point(Point::DataBefore);
        let laid_down = tokio::select! {
            biased;
            laid_down = session.create_draft::<_, Held>(&draft, letter.leave(&files)) => laid_down,
            () = self.held_back(&dot) => {
                begun.end_not_sent(None, Duration::ZERO).await?;
                return Ok(Sent::Broke);
            }
        };
        let id = match laid_down {
            Ok(id) => id,
            // Nothing was sent: at most a draft is there.
            Err(held) => return self.never_left(begun, held).await,
        };
        crash::point(Point::DataAfter);
        if !(self.may_go_on)() {
            return self.never_left(begun, Held::LeaseLost).await;
        }
        dot.store(true, Ordering::SeqCst);
        let sent = session.send_item(&id, Some(&FolderRef::SentItems)).await;
        crash::point(Point::VerdictAfter);
        match sent {
            Ok(ews::Sent::Sent) => {
                if let Err(error) = self.read_back(session, &begun.attempt).await {
                    tracing::info!("the Message-ID that the server gave could not be read back: {error}");
                }
                Ok(Sent::GoOn { bytes, answered: accepted(begun) })
            }
            Ok(ews::Sent::Refused(error)) => {
                take_away(session, &id).await;
                Ok(refuse(begun, &error.to_string(), error.said()))
            }
            Ok(ews::Sent::Unknown(error)) => {
                let said = error.said().map(str::to_owned);
                let told = begun.told(AlertKind::SendUnknown, json!({}), said.as_deref());
                let answer = answer(&begun.attempt, SendAnswer::Unknown, said, Vec::new());
                begun.end(answer, vec![told]).await?;
                Ok(Sent::Over(Interrupted::Mail(error)))
            }
            Err(error) => {
                take_away(session, &id).await;
                self.never_left(begun, Held::Mail(error)).await
            }
        }
    }

    /// Keeps the Message-ID under which the mail left, where the server gave it another than ours: answers name that one.
    async fn read_back(&self, session: &mut ews::Session, attempt: &Attempt) -> Result<(), Unread> {
        let search = Search::SendId(send_id(attempt.id));
        let found = session.find_items(&FolderRef::SentItems, &search, 0, 1).await?;
        let given = found.items.iter().find_map(|item| Some(bare(item.message_id.as_deref()?).to_owned()));
        let Some(given) = given.filter(|given| *given != attempt.message.message_id) else { return Ok(()) };
        let store = &self.cycle.parts.store;
        let request = attempt.request;
        let keep = async |tenant: &_| store::outgoing::renamed(tenant, request, &given).await;
        Ok(store.in_tenant(self.cycle.organization, keep).await?)
    }
}

/// Takes a draft away that was not sent: the next try lays down its own, and its owner should find none of ours.
async fn take_away(session: &mut ews::Session, draft: &ItemId) {
    if session.is_usable()
        && let Err(error) = session.delete_item(draft, Deletion::Hard).await
    {
        tracing::info!("a draft that was not sent stays behind: {error}");
    }
}

/// Why nothing was read back.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error(transparent)]
    Mail(#[from] mail::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// The name that a try's item has at the server, an extended property.
pub(super) fn send_id(attempt: AttemptId) -> String {
    attempt.0.simple().to_string()
}

/// The web service has no envelope: an item is sent to whom it names. Whoever has got it, or is not due, is not named.
fn only_who_is_due(attempt: &mut Attempt) {
    let due: HashSet<EmailAddress> =
        attempt.recipients.iter().map(|recipient| recipient.address.clone()).collect();
    let is_due = |named: &NamedAddress| due.contains(&named.address);
    attempt.message.to.retain(is_due);
    attempt.message.cc.retain(is_due);
}

/// Whom the item names without the others knowing.
fn hidden(attempt: &Attempt) -> Vec<EmailAddress> {
    let bcc = attempt.recipients.iter().filter(|recipient| recipient.role == PartyRole::Bcc);
    bcc.map(|recipient| recipient.address.clone()).collect()
}

/// The server took it for everybody; who cannot be reached comes back as a report.
fn accepted(begun: Begun) -> super::begun::Answered {
    let recipients = begun.attempt.recipients.iter().map(|recipient| RecipientAnswer {
        position: recipient.position,
        state: State::Accepted,
        reply_code: None,
        enhanced_code: None,
        said: None,
        retry_after: retry_after(u32::try_from(recipient.attempts).unwrap_or(0) + 1),
    });
    let answer = answer(&begun.attempt, SendAnswer::Accepted, None, recipients.collect());
    begun.answered(answer, Vec::new())
}

fn answer(
    attempt: &Attempt,
    answer: SendAnswer,
    said: Option<String>,
    recipients: Vec<RecipientAnswer>,
) -> Answer {
    Answer { attempt: attempt.id, answer, said, recipients, retry_after: retry_after(1) }
}
