//! What the process has in hand: asked for or claimed, and not ended. A claim is asked for until its answer is heard, for one
//! whose answer was lost may have been granted, and nobody else would get it while this session lives.
//!
//! It must never let one claim be worked on twice at a time, however often its message is delivered.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store::Error;
use tokio_util::sync::CancellationToken;

/// How long after an answer was lost the next is asked for.
const AGAIN: Duration = Duration::from_millis(500);

/// The claims in hand, of cycles or of jobs.
#[derive(Debug)]
pub struct Hand<C>(Mutex<HashSet<C>>);

/// A claim in hand, until this is dropped.
#[derive(Debug)]
pub struct InHand<'a, C: Copy + Eq + Hash> {
    hand: &'a Hand<C>,
    claim: C,
}

impl<C> Default for Hand<C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<C: Copy + Eq + Hash> Hand<C> {
    /// Takes a claim in hand; `None` when it is already.
    pub fn take(&self, claim: C) -> Option<InHand<'_, C>> {
        let taken = self.claims().insert(claim);
        taken.then(|| InHand { hand: self, claim })
    }

    fn claims(&self) -> MutexGuard<'_, HashSet<C>> {
        // Nothing can fail while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Copy + Eq + Hash> Drop for InHand<'_, C> {
    fn drop(&mut self) {
        self.hand.claims().remove(&self.claim);
    }
}

/// Asks until the database answers or the session is lost. `what` says for people what it is about; `ask` is told whether an
/// answer was lost before.
///
/// # Errors
/// What the database answers; [`Error::Away`] when the session was lost meanwhile.
pub async fn until_heard<T, F: Future<Output = store::Result<T>>>(
    what: &str,
    lost: &CancellationToken,
    mut ask: impl FnMut(bool) -> F,
) -> store::Result<T> {
    let mut unheard = false;
    loop {
        let error = match ask(unheard).await {
            Err(error @ Error::Away(_)) => error,
            answer => return answer,
        };
        tracing::warn!("the database did not answer about {what}, trying again: {error}");
        unheard = true;
        if lost.run_until_cancelled(tokio::time::sleep(AGAIN)).await.is_none() {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_hand_is_taken_once_until_it_is_let_go() {
        let hand = Hand::default();
        let first = hand.take(7).unwrap();
        assert!(hand.take(7).is_none());
        assert!(hand.take(8).is_some());
        drop(first);
        assert!(hand.take(7).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_lost_is_asked_for_again_until_the_session_is_lost() {
        let lost = CancellationToken::new();
        let mut asked = Vec::new();
        let ask = |unheard| {
            asked.push(unheard);
            let heard = asked.len() == 3;
            std::future::ready(if heard { Ok(()) } else { Err(Error::Away("restarting".to_owned())) })
        };
        until_heard("a test", &lost, ask).await.unwrap();
        assert_eq!(asked, [false, true, true]);
        lost.cancel();
        let away = |_| std::future::ready(Err::<(), _>(Error::Away("gone".to_owned())));
        assert!(matches!(until_heard("a test", &lost, away).await, Err(Error::Away(_))));
    }
}
