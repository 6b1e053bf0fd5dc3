//! Sends in doubt at an Exchange server: looked for under the name of their try, before anything else is sent. What lies in
//! Drafts never left; what lies in the Outbox is on its way; what lies where copies go did leave. What lies nowhere is asked for
//! again, and a person is told only when that was done for long enough.

use std::time::Duration;

use mail::error::Kind;
use mail::ews::{Deletion, FolderRef, Item};
use model::alert::AlertKind;
use model::email::{EmailState, Leftover, RecipientState, SendAnswer, retry_after};
use model::rate::RateUnit;
use store::alert::Subject;
use store::outgoing::{ASKED_FOR, Answer, Doubtful, RecipientAnswer, record_found};
use store::{Tenant, alert, outgoing, schedule};

use super::copies::Station;
use crate::ending::Interrupted;
use crate::pace::STEP;
use crate::servers::bare;
use crate::start::Cycle;

/// For how long after the doubt began the server is asked: a copy may appear late.
pub(crate) const WITHIN: Duration = Duration::from_secs(15 * 60);
/// How soon it is asked again, before a person is told.
pub(crate) const AGAIN: Duration = Duration::from_secs(20);
/// How soon after that, and how soon what is left there is removed.
pub(crate) const LATER: Duration = Duration::from_secs(120);

/// Where a try was found.
enum Place {
    /// It never left; it was taken away from there.
    Drafts,
    /// The server is at it.
    Outbox,
    /// It left: the copy that stays.
    SentItems(Item),
    /// It left: the copy that is to be removed.
    Ours(Item),
    /// Nowhere, or not yet.
    Nowhere,
}

/// Looks for each, and writes down what was found. Says whether one of them never left, and is to be sent after all.
pub(super) async fn look_for(
    cycle: &Cycle,
    station: &mut Station,
    doubtful: &[Doubtful],
) -> Result<bool, Interrupted> {
    let mut pending_again = false;
    for doubt in doubtful {
        if !cycle.pace.allows(&[(RateUnit::Requests, STEP)]).await {
            break;
        }
        let place = place(station, doubt).await?;
        match place {
            Place::Nowhere => tracing::info!("a send in doubt is nowhere yet"),
            Place::Outbox => {
                tracing::info!("a send in doubt waits in the Outbox");
                if doubt.asked {
                    let tenant = begin(cycle).await?;
                    outgoing::ask_for(&tenant, doubt.attempt, ASKED_FOR).await?;
                    tenant.commit().await?;
                }
            }
            found => {
                let answer =
                    if matches!(found, Place::Drafts) { SendAnswer::NotSent } else { SendAnswer::Accepted };
                tracing::info!(answer = %answer, "a send in doubt was found");
                write(cycle, doubt, answer, &found).await?;
                pending_again |= answer == SendAnswer::NotSent;
                if let Place::Ours(item) = found {
                    station.knows(doubt.attempt, item.id);
                }
            }
        }
    }
    if !doubtful.is_empty() {
        let tenant = begin(cycle).await?;
        outgoing::tell_in_doubt(&tenant, cycle.mailbox.id, &cycle.mailbox.endpoint().key()).await?;
        tenant.commit().await?;
    }
    Ok(pending_again)
}

/// Asked in the order in which a server moves what it sends, so that nothing slips by.
async fn place(station: &mut Station, doubt: &Doubtful) -> Result<Place, mail::Error> {
    if still_a_draft(station, doubt).await? {
        return Ok(Place::Drafts);
    }
    if station.first(&FolderRef::Outbox, doubt.attempt).await?.is_some() {
        return Ok(Place::Outbox);
    }
    if let Some(copy) = station.first(&FolderRef::SentItems, doubt.attempt).await? {
        return Ok(Place::SentItems(copy));
    }
    Ok(station.first_of_ours(doubt.attempt).await?.map_or(Place::Nowhere, Place::Ours))
}

/// Whether it lies in Drafts; it is taken away there, so that nobody sends it any more. Where it vanishes meanwhile, somebody
/// did.
async fn still_a_draft(station: &mut Station, doubt: &Doubtful) -> Result<bool, mail::Error> {
    let Some(draft) = station.first(&FolderRef::Drafts, doubt.attempt).await? else { return Ok(false) };
    match station.session.delete_item(&draft.id, Deletion::Hard).await {
        Ok(()) => Ok(true),
        Err(error) if *error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

async fn begin(cycle: &Cycle) -> Result<Tenant, Interrupted> {
    let tenant = cycle.parts.store.tenant(cycle.organization).await?;
    schedule::fence(&tenant, cycle.claimed.claim).await?;
    Ok(tenant)
}

async fn write(
    cycle: &Cycle,
    doubt: &Doubtful,
    answer: SendAnswer,
    place: &Place,
) -> Result<(), Interrupted> {
    let accepted = answer == SendAnswer::Accepted;
    let recipients = doubt.recipients.iter().filter(|_| accepted).map(|position| RecipientAnswer {
        position: *position,
        state: RecipientState::Accepted,
        reply_code: None,
        enhanced_code: None,
        said: None,
        retry_after: Duration::ZERO,
    });
    // It goes at once; but a server that answers the word to send by hanging up each time is not asked all the time.
    let pause = if doubt.tries == 0 { Duration::ZERO } else { retry_after(doubt.tries) };
    let answer = Answer {
        attempt: doubt.attempt,
        answer,
        said: None,
        recipients: recipients.collect(),
        retry_after: pause,
    };
    let tenant = begin(cycle).await?;
    let answered = record_found(&tenant, &answer, &cycle.author()).await?;
    if answered.decided && answered.state != EmailState::Unknown {
        let over = [AlertKind::SendUnknown, AlertKind::SendWaiting];
        alert::resolve(&tenant, &over, Subject::Email(answered.email), None).await?;
    }
    match place {
        Place::Ours(_) => outgoing::leaves(&tenant, doubt.attempt, Leftover::Copy).await?,
        _ => outgoing::removed(&tenant, &[doubt.attempt]).await?,
    }
    if let Place::Ours(item) | Place::SentItems(item) = place
        && let Some(given) = item.message_id.as_deref().map(bare)
    {
        outgoing::renamed(&tenant, doubt.request, given).await?;
    }
    Ok(tenant.commit().await?)
}
