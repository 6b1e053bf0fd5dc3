//! A job's way through its states, and what a failure does to it. The store's statements are held against this table by a
//! test that tries every event in every state.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::JobState;
use crate::id::JobId;

/// What can happen to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The scheduler offers it to the job workers.
    Queued,
    /// The offer was lost on its way.
    NotDelivered,
    /// A worker takes it.
    Claimed,
    /// It did what was wished.
    Succeeded,
    /// It ended otherwise: a person must act first, or it was the last try.
    Failed,
    /// It is to be tried again later, or had its turn and goes on later.
    GivenBack,
    /// Its worker died, and there are tries left.
    Died,
    /// Its worker died at the last try.
    DiedAtLast,
    /// The job that it waits for failed, was withdrawn, or is gone.
    NothingToWaitFor,
    /// A person withdrew it.
    Withdrawn,
    /// A person asked for it again.
    AskedAgain,
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 11] = [
        Self::Queued,
        Self::NotDelivered,
        Self::Claimed,
        Self::Succeeded,
        Self::Failed,
        Self::GivenBack,
        Self::Died,
        Self::DiedAtLast,
        Self::NothingToWaitFor,
        Self::Withdrawn,
        Self::AskedAgain,
    ];
}

/// The state after an event; `None` when the event does not happen to a job in this state and changes nothing.
pub const fn next(state: JobState, event: Event) -> Option<JobState> {
    use Event as E;
    use JobState as S;
    Some(match (state, event) {
        (S::Waiting, E::Queued) => S::Queued,
        (S::Queued, E::Claimed) => S::Running,
        (S::Queued, E::NotDelivered)
        | (S::Running, E::GivenBack | E::Died)
        | (S::Failed | S::Canceled, E::AskedAgain) => S::Waiting,
        (S::Running, E::Succeeded) => S::Succeeded,
        (S::Waiting, E::NothingToWaitFor) | (S::Running, E::Failed | E::DiedAtLast) => S::Failed,
        (S::Waiting | S::Queued | S::Running, E::Withdrawn) => S::Canceled,
        _ => return None,
    })
}

/// Whose doing it was that a job did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setback {
    /// Nothing was tried: one of our own parts was away, or no connection was free.
    NotTried,
    /// A fault of ours that may pass.
    Fault,
    /// What was asked for cannot be done as things stand: a person must act first.
    ForAPerson,
}

/// How long a job that failed is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure; doubled after each further one.
    pub first: Duration,
    /// At most.
    pub most: Duration,
}

/// What becomes of a job that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is tried again.
    Again {
        /// After this time.
        delay: Duration,
        /// Whether what happened was a try.
        counts: bool,
    },
    /// It ends as failed.
    End,
}

/// Decides what a setback at the job's `attempt`-th try (from 1) of `tries` does. Delays are only lengthened, by up to a
/// fifth, so that what failed together does not come back together.
pub fn after(setback: Setback, job: JobId, attempt: u32, tries: u32, backoff: Backoff) -> Verdict {
    match setback {
        Setback::ForAPerson => Verdict::End,
        Setback::NotTried => Verdict::Again { delay: backoff.first, counts: false },
        Setback::Fault if attempt >= tries => Verdict::End,
        Setback::Fault => {
            let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1));
            let delay = backoff.first.saturating_mul(doubled).min(backoff.most);
            Verdict::Again { delay: delay + delay.mul_f64(fraction(job, attempt) / 5.0), counts: true }
        }
    }
}

/// A number in `0.0..1.0` that is the same for the same try.
fn fraction(job: JobId, attempt: u32) -> f64 {
    let mut digest = Sha256::new();
    digest.update(job.0.as_bytes());
    digest.update(attempt.to_be_bytes());
    let digest = digest.finalize();
    f64::from(u16::from_be_bytes([digest[0], digest[1]])) / 65_536.0
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_event_leads_where_the_table_says_and_nowhere_else() {
        use Event as E;
        use JobState as S;
        let table = [
            (S::Waiting, E::Queued, S::Queued),
            (S::Waiting, E::NothingToWaitFor, S::Failed),
            (S::Waiting, E::Withdrawn, S::Canceled),
            (S::Queued, E::NotDelivered, S::Waiting),
            (S::Queued, E::Claimed, S::Running),
            (S::Queued, E::Withdrawn, S::Canceled),
            (S::Running, E::Succeeded, S::Succeeded),
            (S::Running, E::Failed, S::Failed),
            (S::Running, E::GivenBack, S::Waiting),
            (S::Running, E::Died, S::Waiting),
            (S::Running, E::DiedAtLast, S::Failed),
            (S::Running, E::Withdrawn, S::Canceled),
            (S::Failed, E::AskedAgain, S::Waiting),
            (S::Canceled, E::AskedAgain, S::Waiting),
        ];
        for state in S::ALL {
            for event in E::ALL {
                let row = table.iter().find(|(from, what, _)| (from, *what) == (state, event));
                assert_eq!(next(*state, event), row.map(|(_, _, to)| *to), "{state} and {event:?}");
            }
        }
    }

    #[test]
    fn what_succeeded_stays_so_and_what_ended_moves_only_when_a_person_asks_again() {
        for event in Event::ALL {
            assert_eq!(next(JobState::Succeeded, event), None, "{event:?}");
        }
        for state in JobState::ALL.iter().filter(|state| state.has_ended()) {
            for event in Event::ALL.into_iter().filter(|event| *event != Event::AskedAgain) {
                assert_eq!(next(*state, event), None, "{state} and {event:?}");
            }
        }
    }

    const BACKOFF: Backoff = Backoff { first: Duration::from_secs(30), most: Duration::from_secs(100) };

    fn job(number: u128) -> JobId {
        JobId(Uuid::from_u128(number))
    }

    #[test]
    fn a_failure_of_ours_is_tried_again_after_twice_the_time_up_to_the_most_and_then_ends() {
        for (attempt, least) in [(1, 30), (2, 60), (3, 100), (4, 100)] {
            for number in 0..100 {
                let verdict = after(Setback::Fault, job(number), attempt, 5, BACKOFF);
                let Verdict::Again { delay, counts: true } = verdict else { panic!("{verdict:?}") };
                let least = Duration::from_secs(least);
                assert!(delay >= least && delay < least.mul_f64(1.2), "{attempt}: {delay:?}");
            }
        }
        for attempt in [5, 6, u32::MAX] {
            assert_eq!(after(Setback::Fault, job(1), attempt, 5, BACKOFF), Verdict::End);
        }
    }

    #[test]
    fn jobs_that_failed_together_do_not_come_back_together() {
        let delays: std::collections::HashSet<_> = (0..100)
            .map(|number| match after(Setback::Fault, job(number), 1, 5, BACKOFF) {
                Verdict::Again { delay, .. } => delay,
                Verdict::End => panic!("there are tries left"),
            })
            .collect();
        assert!(delays.len() > 90, "{}", delays.len());
    }

    #[test]
    fn what_was_not_tried_counts_nowhere_and_what_is_for_a_person_ends_at_once() {
        let again = Verdict::Again { delay: BACKOFF.first, counts: false };
        for attempt in [1, 5, 100] {
            assert_eq!(after(Setback::NotTried, job(1), attempt, 5, BACKOFF), again);
            assert_eq!(after(Setback::ForAPerson, job(1), attempt, 5, BACKOFF), Verdict::End);
        }
    }
}
