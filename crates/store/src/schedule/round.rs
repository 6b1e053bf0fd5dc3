//! Group commit: requests that come in while others are on their way to the database go there together, in one statement and one
//! commit. Nobody waits for company: who comes while nothing is under way goes at once and alone. What a round did not do for a
//! request its asker does alone; a round never refuses anybody.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::{Error, Result, Store};

/// Requests in one round at most: enough that a commit costs each of them next to nothing.
const MOST: usize = 256;
/// With as many waiting another round goes beside the one under way, so that one connection is not all there is.
const FULL: usize = 128;
/// Rounds of one kind under way at once, at most.
const AT_ONCE: usize = 2;

/// What can be asked for together.
pub(crate) trait Request: Sized + Send + Sync + 'static {
    /// What its asker is told.
    type Answer: Send + 'static;

    /// Where those of the store meet.
    fn rounds(store: &Store) -> &Arc<Rounds<Self>>;

    /// Does all of them in one transaction, committed, and gives what came of those that it did something for, by their
    /// place. It waits for nobody's lock: whose row is locked goes without an answer.
    fn all(
        store: &Store,
        requests: &[Self],
    ) -> impl Future<Output = Result<Vec<(usize, Self::Answer)>>> + Send;
}

/// Requests of one kind, on their way and waiting.
pub(crate) struct Rounds<R: Request> {
    state: Mutex<State<R>>,
}

struct State<R: Request> {
    waiting: VecDeque<Asked<R>>,
    under_way: usize,
}

/// A request and who waits for it.
type Asked<R> = (R, oneshot::Sender<Told<R>>);

/// An answer; none when it is to be asked alone; the reason when the database is away.
type Told<R> = std::result::Result<Option<<R as Request>::Answer>, String>;

impl<R: Request> Default for Rounds<R> {
    fn default() -> Self {
        Self { state: Mutex::new(State { waiting: VecDeque::new(), under_way: 0 }) }
    }
}

/// Goes with the next round. None when the round did nothing for it: ask alone. Fails as [`Error::Away`] alone.
pub(super) async fn together<R: Request>(store: &Store, request: R) -> Result<Option<R::Answer>> {
    let (tell, told) = oneshot::channel();
    let rounds = R::rounds(store);
    if rounds.join((request, tell)) {
        tokio::spawn(go::<R>(store.clone()));
    }
    match told.await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(reason)) => Err(Error::Away(reason)),
        // The round broke down.
        Err(_) => Ok(None),
    }
}

/// Round after round, until nobody waits.
async fn go<R: Request>(store: Store) {
    let rounds = R::rounds(&store);
    let mut way = Way { rounds, ended: false };
    while let Some(round) = way.next() {
        let (requests, mut askers): (Vec<_>, Vec<_>) =
            round.into_iter().map(|(request, tell)| (request, Some(tell))).unzip();
        let done = R::all(&store, &requests).await;
        let away = match done {
            Ok(answers) => {
                for (place, answer) in answers {
                    if let Some(tell) = askers.get_mut(place).and_then(Option::take) {
                        // Whoever does not wait any more has stopped with all of its work.
                        let _gone = tell.send(Ok(Some(answer)));
                    }
                }
                None
            }
            Err(Error::Away(reason)) => Some(reason),
            Err(error) => {
                tracing::warn!(
                    requests = requests.len(),
                    "could not be done together, each is asked alone: {error}"
                );
                None
            }
        };
        for tell in askers.into_iter().flatten() {
            let _gone = tell.send(away.clone().map_or(Ok(None), Err));
        }
    }
}

impl<R: Request> Rounds<R> {
    /// Says whether another round is to begin.
    fn join(&self, asked: Asked<R>) -> bool {
        let mut state = self.state();
        state.waiting.push_back(asked);
        let full = state.waiting.len() >= FULL && state.under_way < AT_ONCE;
        let begins = state.under_way == 0 || full;
        state.under_way += usize::from(begins);
        begins
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        // Nothing can fail while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the rounds under way. Broken off, it leaves nobody waiting who would wait for ever.
struct Way<'a, R: Request> {
    rounds: &'a Rounds<R>,
    ended: bool,
}

impl<R: Request> Way<'_, R> {
    fn next(&mut self) -> Option<Vec<Asked<R>>> {
        let mut state = self.rounds.state();
        if state.waiting.is_empty() {
            state.under_way -= 1;
            self.ended = true;
            return None;
        }
        let most = state.waiting.len().min(MOST);
        Some(state.waiting.drain(..most).collect())
    }
}

impl<R: Request> Drop for Way<'_, R> {
    fn drop(&mut self) {
        if !self.ended {
            let mut state = self.rounds.state();
            state.under_way -= 1;
            state.waiting.clear();
        }
    }
}
