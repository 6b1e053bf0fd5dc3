//! Sends in doubt at an Exchange server: looked for under the name of their try, before anything else is sent. What lies in
//! Drafts never left; what lies among the sent items did. What lies nowhere yet stays in doubt.

use std::time::Duration;

use mail::error::Kind;
use mail::ews::{Deletion, FolderRef, Item, Search, Session};
use model::alert::AlertKind;
use model::email::{EmailState, RecipientState, SendAnswer};
use store::alert::Subject;
use store::outgoing::{Answer, Doubtful, RecipientAnswer, record_found};
use store::{alert, schedule};

use super::exchange::send_id;
use crate::ending::Interrupted;
use crate::start::Cycle;

/// For how long after the doubt began the server is asked: a copy may appear late.
pub(crate) const WITHIN: Duration = Duration::from_secs(15 * 60);
/// How soon it is asked again.
pub(crate) const AGAIN: Duration = Duration::from_secs(20);

/// Looks for each, and writes down what was found. Says whether one of them never left, and is to be sent after all.
pub(super) async fn look_for(
    cycle: &Cycle,
    session: &mut Session,
    doubtful: &[Doubtful],
) -> Result<bool, Interrupted> {
    let mut pending_again = false;
    for doubt in doubtful {
        let search = Search::SendId(send_id(doubt.attempt));
        let answer = if still_a_draft(session, &search).await? {
            SendAnswer::NotSent
        } else if first(session, &FolderRef::SentItems, &search).await?.is_some() {
            SendAnswer::Accepted
        } else {
            tracing::info!("a send in doubt is neither a draft nor among the sent items yet");
            continue;
        };
        tracing::info!(answer = %answer, "a send in doubt was found");
        write(cycle, doubt, answer).await?;
        pending_again |= answer == SendAnswer::NotSent;
    }
    Ok(pending_again)
}

/// Whether it lies in Drafts; it is taken away there, so that nobody sends it any more. Where it vanishes meanwhile, somebody
/// did.
async fn still_a_draft(session: &mut Session, search: &Search) -> Result<bool, mail::Error> {
    let Some(draft) = first(session, &FolderRef::Drafts, search).await? else { return Ok(false) };
    match session.delete_item(&draft.id, Deletion::Hard).await {
        Ok(()) => Ok(true),
        Err(error) if *error.kind() == Kind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

async fn first(
    session: &mut Session,
    folder: &FolderRef,
    search: &Search,
) -> Result<Option<Item>, mail::Error> {
    Ok(session.find_items(folder, search, 0, 1).await?.items.into_iter().next())
}

async fn write(cycle: &Cycle, doubt: &Doubtful, answer: SendAnswer) -> Result<(), Interrupted> {
    let accepted = answer == SendAnswer::Accepted;
    let recipients = doubt.recipients.iter().filter(|_| accepted).map(|position| RecipientAnswer {
        position: *position,
        state: RecipientState::Accepted,
        reply_code: None,
        enhanced_code: None,
        said: None,
        retry_after: Duration::ZERO,
    });
    let answer = Answer {
        attempt: doubt.attempt,
        answer,
        said: None,
        recipients: recipients.collect(),
        retry_after: Duration::ZERO,
    };
    let tenant = cycle.parts.store.tenant(cycle.organization).await?;
    schedule::fence(&tenant, cycle.claimed.claim).await?;
    let answered = record_found(&tenant, &answer, &cycle.author()).await?;
    if answered.decided && answered.state != EmailState::Unknown {
        let over = [AlertKind::SendUnknown, AlertKind::SendWaiting];
        alert::resolve(&tenant, &over, Subject::Email(answered.email), None).await?;
    }
    Ok(tenant.commit().await?)
}
