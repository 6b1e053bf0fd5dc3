//! One message at an Exchange server: laid down in Drafts under a name of ours, then sent from there. Until it is told to send
//! the server has a draft, and nothing left; it is told only once the draft's id is committed here. From then on only its answer
//! counts, or what is found under that name.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mail::error::{Kind, Phase};
use mail::ews::{self, Deletion, Draft, FolderRef, ItemId};
use model::address::EmailAddress;
use model::alert::AlertKind;
use model::crash::{self, Point};
use model::email::{Leftover, PartyRole, RecipientState as State, SendAnswer, retry_after};
use model::id::AttemptId;
use model::message::NamedAddress;
use store::outgoing::{Answer, Attempt, RecipientAnswer};
use store::{outgoing, schedule};

use super::begun::{Begun, Desk};
use super::copies::Station;
use super::submission::{Held, refuse_as};
use super::{Sending, Sent};
use crate::ending::Interrupted;
use crate::servers::bare;

impl Sending<'_> {
    pub(super) async fn submit_at_exchange(
        &self,
        station: &mut Station,
        mut begun: Begun,
    ) -> Result<Sent, Interrupted> {
        only_who_is_due(&mut begun.attempt);
        let (mut begun, letter, files) = match self.written(begun).await? {
            Ok(written) => written,
            Err(sent) => return Ok(sent),
        };
        let id = begun.attempt.id;
        let bytes = letter.size;
        let draft = Draft {
            folder: FolderRef::Drafts,
            size: bytes,
            send_id: send_id(id),
            bcc: hidden(&begun.attempt),
        };
        let dot = begun.dot();
        begun.lays_down();
        crash::point(Point::DataBefore);
        let laid_down = tokio::select! {
            biased;
            laid_down = station.session.create_draft::<_, Held>(&draft, letter.leave(&files)) => laid_down,
            () = self.held_back(&dot) => {
                begun.end_not_sent(None, Duration::ZERO).await?;
                return Ok(Sent::Broke);
            }
        };
        let draft = match laid_down {
            Ok(draft) => draft,
            // Nothing was sent: at most a draft is there.
            Err(held) => {
                if !may_lie_there(&held, &begun.attempt) {
                    begun.leaves(None);
                }
                return self.never_left(begun, held).await;
            }
        };
        crash::point(Point::DataAfter);
        let kept = Desk::of(self.cycle).finished(self.lay_down(id, &draft)).await;
        if let Err(error) = kept.and_then(|kept| kept) {
            take_away(station, &mut begun, &draft).await;
            let held = match error {
                store::Error::Fenced => Held::LeaseLost,
                error => Held::Store(error),
            };
            return self.never_left(begun, held).await;
        }
        crash::point(Point::LaidDownAfter);
        if !(self.may_go_on)() {
            return self.never_left(begun, Held::LeaseLost).await;
        }
        dot.store(true, Ordering::SeqCst);
        let sent = station.session.send_item(&draft, Some(&station.copies)).await;
        crash::point(Point::VerdictAfter);
        match sent {
            Ok(ews::Sent::Sent) => {
                begun.leaves(station.removes_copies().then_some(Leftover::Copy));
                if let Err(error) = self.read_back(station, &begun.attempt).await {
                    tracing::info!("the Message-ID that the server gave could not be read back: {error}");
                }
                Ok(Sent::GoOn { bytes, answered: accepted(begun) })
            }
            Ok(ews::Sent::Refused(error)) => {
                take_away(station, &mut begun, &draft).await;
                let kind = match error.code() {
                    Some("ErrorSendAsDenied") => AlertKind::SendAsRefused,
                    _ => AlertKind::MessageRefused,
                };
                Ok(refuse_as(begun, kind, &error.to_string(), error.said()))
            }
            // Whoever comes next looks for it, at once: a person is told when it was asked for long enough.
            Ok(ews::Sent::Unknown(error)) => {
                tracing::info!("a send is in doubt: {error}");
                if station.removes_copies() {
                    begun.leaves(Some(Leftover::Copy));
                }
                let said = error.said().map(str::to_owned);
                let answer = answer(&begun.attempt, SendAnswer::Unknown, said, Vec::new());
                begun.end(answer, Vec::new()).await?;
                Ok(match error.kind() {
                    Kind::Unavailable => Sent::Over(Interrupted::Mail(error)),
                    _ => Sent::Broke,
                })
            }
            Err(error) => {
                take_away(station, &mut begun, &draft).await;
                self.never_left(begun, Held::Mail(error)).await
            }
        }
    }

    /// Commits the draft's id, under the fence: whoever claims later knows by it that something may have left.
    fn lay_down(
        &self,
        attempt: AttemptId,
        draft: &ItemId,
    ) -> impl Future<Output = store::Result<()>> + Send + 'static {
        let (store, organization) = (self.cycle.parts.store.clone(), self.cycle.organization);
        let (claim, draft) = (self.cycle.claimed.claim, draft.id.clone());
        async move {
            let tenant = store.tenant(organization).await?;
            schedule::fence(&tenant, claim).await?;
            if !outgoing::laid_down(&tenant, attempt, &draft).await? {
                return Err(store::Error::Fenced);
            }
            tenant.commit().await
        }
    }

    /// Keeps the Message-ID under which the mail left, where the server gave it another than ours: answers name that one.
    async fn read_back(&self, station: &mut Station, attempt: &Attempt) -> Result<(), Unread> {
        let Some(copy) = station.first(&station.copies.clone(), attempt.id).await? else { return Ok(()) };
        let given = copy.message_id.as_deref().map(|given| bare(given).to_owned());
        if station.removes_copies() {
            station.knows(attempt.id, copy.id);
        }
        let Some(given) = given.filter(|given| *given != attempt.message.message_id) else { return Ok(()) };
        let store = &self.cycle.parts.store;
        let request = attempt.request;
        let keep = async |tenant: &_| store::outgoing::renamed(tenant, request, &given).await;
        Ok(store.in_tenant(self.cycle.organization, keep).await?)
    }
}

/// Takes a draft away that was not sent: the next try lays down its own, and its owner should find none of ours. One that cannot
/// be taken away now is, once the end of its try is committed.
async fn take_away(station: &mut Station, begun: &mut Begun, draft: &ItemId) {
    if !station.session.is_usable() {
        return;
    }
    match station.session.delete_item(draft, Deletion::Hard).await {
        Ok(()) => begun.leaves(None),
        Err(error) => tracing::info!("a draft that was not sent stays behind: {error}"),
    }
}

/// Whether a draft may lie at the server although laying it down failed: the server had all of it, or only its blind copies could
/// not be read back.
fn may_lie_there(held: &Held, attempt: &Attempt) -> bool {
    match held {
        Held::Mail(error) => error.phase() == Phase::Verdict || !hidden(attempt).is_empty(),
        Held::Store(_) | Held::LeaseLost => false,
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
