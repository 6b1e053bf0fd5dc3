//! Group commit: requests that come in while others are on their way to the database go there together, in one statement and one
//! commit. Nobody waits for company: who comes while nothing is under way goes at once and alone. What a round did not do for a
//! request its asker does alone; a round never refuses anybody.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio_postgres::Row;

use crate::{Error, Result, Store};

/// What can be asked for together.
pub(crate) trait Request: Sized + Send + Sync + 'static {
    /// What its asker is told.
    type Answer: Send + 'static;
    /// Only those of one key go together.
    type Key: Copy + Eq + Hash + Send + Sync;

    /// Requests in one round at most: enough that a commit costs each of them next to nothing.
    const MOST: usize = 256;
    /// With as many waiting another round goes beside those under way, so that one connection is not all there is.
    const FULL: usize = 128;
    /// Rounds of one key under way at once, at most.
    const AT_ONCE: usize = 2;

    /// With whom it may go.
    fn key(&self) -> Self::Key;

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
    /// Of each key with a round under way.
    state: Mutex<HashMap<R::Key, State<R>>>,
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
        Self { state: Mutex::default() }
    }
}

/// Goes with the next round. None when the round did nothing for it: ask alone. Fails as [`Error::Away`] alone.
pub(crate) async fn together<R: Request>(store: &Store, request: R) -> Result<Option<R::Answer>> {
    let (tell, told) = oneshot::channel();
    let key = request.key();
    if R::rounds(store).join(key, (request, tell)) {
        tokio::spawn(go::<R>(store.clone(), key));
    }
    match told.await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(reason)) => Err(Error::Away(reason)),
        // The round broke down.
        Err(_) => Ok(None),
    }
}

/// Whose answer a row is: its column `place` counts the requests from 0.
pub(crate) fn place(row: &Row) -> Result<usize> {
    usize::try_from(row.try_get::<_, i64>("place")?).map_err(|_| unasked())
}

pub(crate) fn unasked() -> Error {
    Error::Broken("an answer to what nobody asked".to_owned())
}

/// Round after round, until nobody waits.
async fn go<R: Request>(store: Store, key: R::Key) {
    let rounds = R::rounds(&store);
    let mut way = Way { rounds, key, ended: false };
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
    fn join(&self, key: R::Key, asked: Asked<R>) -> bool {
        let mut state = self.state();
        let state = state.entry(key).or_insert_with(|| State { waiting: VecDeque::new(), under_way: 0 });
        state.waiting.push_back(asked);
        let full = state.waiting.len() >= R::FULL && state.under_way < R::AT_ONCE;
        let begins = state.under_way == 0 || full;
        state.under_way += usize::from(begins);
        begins
    }

    /// One round less is under way; with the last one goes the key, and whoever waits for it no longer does.
    fn leave(state: &mut HashMap<R::Key, State<R>>, key: R::Key) {
        if let Some(of_key) = state.get_mut(&key) {
            of_key.under_way -= 1;
            if of_key.under_way == 0 {
                state.remove(&key);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, HashMap<R::Key, State<R>>> {
        // Nothing can fail while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the rounds under way. Broken off, it leaves nobody waiting who would wait for ever.
struct Way<'a, R: Request> {
    rounds: &'a Rounds<R>,
    key: R::Key,
    ended: bool,
}

impl<R: Request> Way<'_, R> {
    fn next(&mut self) -> Option<Vec<Asked<R>>> {
        let mut state = self.rounds.state();
        let waiting = state.get_mut(&self.key).map(|of_key| &mut of_key.waiting);
        if let Some(waiting) = waiting.filter(|waiting| !waiting.is_empty()) {
            let most = waiting.len().min(R::MOST);
            Some(waiting.drain(..most).collect())
        } else {
            Rounds::<R>::leave(&mut state, self.key);
            self.ended = true;
            None
        }
    }
}

impl<R: Request> Drop for Way<'_, R> {
    fn drop(&mut self) {
        if !self.ended {
            let mut state = self.rounds.state();
            if let Some(of_key) = state.get_mut(&self.key) {
                of_key.waiting.clear();
            }
            Rounds::<R>::leave(&mut state, self.key);
        }
    }
}
