//! What may be used in a window, step by step and in random histories that are held against a list of every use.

use model::clock;

use super::super::{Claim, ClaimedLimit, Terms, Verdict};
use super::*;

const LIFE: Duration = Duration::from_secs(30);
const MINUTE: Duration = Duration::from_secs(60);
/// A window and the slice that is counted with its end.
const FORGOTTEN: Duration = Duration::from_millis(60_000 + 60_000 / 16);

fn rate(name: &str, amount: u64, least: u64, most: u64) -> ClaimedRate {
    ClaimedRate { key: key(MINUTE, name), amount, least, most, spent: 0, allowed: 0 }
}

/// Asks for a lease with rates; what it was allowed, or why not.
fn ask(book: &mut Book, rates: Vec<ClaimedRate>, now: Instant) -> Result<(Uuid, Vec<u64>), Verdict> {
    let mut terms = Terms { capacity: 1_000, ..Terms::default() };
    terms.quotas[0] = Some((1_000, 1_000));
    let (id, limits) = (clock::new_id(), vec![ClaimedLimit { key: "server".into(), version: 0, terms }]);
    let claim =
        Claim { id, stream: id, class: 0, limits, holder: String::new(), in_doubt: Duration::ZERO, rates };
    book.acquire(claim, now, now, now);
    match book.decisions().pop().unwrap().verdict {
        Verdict::Granted { .. } => Ok((id, book.allowed(id))),
        other => Err(other),
    }
}

fn give_back(book: &mut Book, id: Uuid, name: &str, spent: u64, now: Instant) {
    book.spent(id, &[(key(MINUTE, name), spent)], now);
    book.release(id, now);
}

fn pause_of(asked: Result<(Uuid, Vec<u64>), Verdict>) -> Duration {
    match asked {
        Err(Verdict::Spent { pause, .. }) => pause,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_spent_counts_for_a_window_and_the_rest_is_free_at_once() {
    let (mut book, now) = (Book::new(LIFE), Instant::now());
    let (first, allowed) = ask(&mut book, vec![rate("m", 5, 1, 10)], now).unwrap();
    assert_eq!(allowed, [5], "no more than there is");
    assert!(
        ask(&mut book, vec![rate("m", 5, 1, 10)], now).is_err(),
        "what is allowed counts before it is spent"
    );
    give_back(&mut book, first, "m", 3, now);
    let (second, allowed) = ask(&mut book, vec![rate("m", 5, 1, 10)], now).unwrap();
    assert_eq!(allowed, [2]);
    give_back(&mut book, second, "m", 2, now + LIFE / 2);
    assert_eq!(
        pause_of(ask(&mut book, vec![rate("m", 5, 3, 3)], now + LIFE / 2)),
        FORGOTTEN.saturating_sub(LIFE / 2)
    );
    assert_eq!(pause_of(ask(&mut book, vec![rate("m", 5, 5, 5)], now + LIFE / 2)), FORGOTTEN);
    let (_, allowed) = ask(&mut book, vec![rate("m", 5, 1, 10)], now + FORGOTTEN).unwrap();
    assert_eq!(allowed, [3], "what was spent later counts yet");
}

#[test]
fn all_rates_of_a_request_or_none() {
    let (mut book, now) = (Book::new(LIFE), Instant::now());
    ask(&mut book, vec![rate("application", 2, 2, 2)], now).unwrap();
    let both = || vec![rate("mailbox", 5, 1, 5), rate("application", 2, 1, 1)];
    assert!(matches!(
        ask(&mut book, both(), now),
        Err(Verdict::Spent { key: spent, .. }) if spent == key(MINUTE, "application")
    ));
    let (_, allowed) = ask(&mut book, vec![rate("mailbox", 5, 5, 5)], now).unwrap();
    assert_eq!(allowed, [5], "nothing of it was charged");
}

#[test]
fn a_request_without_a_least_is_granted_with_nothing() {
    let (mut book, now) = (Book::new(LIFE), Instant::now());
    ask(&mut book, vec![rate("m", 2, 2, 2)], now).unwrap();
    assert_eq!(ask(&mut book, vec![rate("m", 2, 0, 2)], now).unwrap().1, [0]);
}

#[test]
fn what_a_dead_worker_was_allowed_counts_as_spent_when_its_lease_ended() {
    let (mut book, now) = (Book::new(LIFE), Instant::now());
    let (id, _) = ask(&mut book, vec![rate("m", 5, 1, 5)], now).unwrap();
    book.stream_ended(id, now);
    book.pass(now + LIFE);
    assert!(book.leases.is_empty());
    assert_eq!(pause_of(ask(&mut book, vec![rate("m", 5, 1, 5)], now + LIFE)), FORGOTTEN);
    assert!(ask(&mut book, vec![rate("m", 5, 5, 5)], now + LIFE + FORGOTTEN).is_ok());
}

#[test]
fn more_is_drawn_under_a_lease_and_a_word_said_twice_counts_once() {
    let (mut book, now) = (Book::new(LIFE), Instant::now());
    let (id, allowed) = ask(&mut book, vec![rate("m", 5, 1, 2)], now).unwrap();
    assert_eq!(allowed, [2]);
    let more = |least, most, spent| vec![ClaimedRate { spent, ..rate("m", 5, least, most) }];
    for _ in 0..2 {
        assert_eq!(book.draw(id, &more(3, 4, 2), now), Drawing::Allowed(vec![4]));
    }
    assert!(matches!(book.draw(id, &more(6, 6, 4), now), Drawing::Spent { pause, .. } if pause == FORGOTTEN));
    let later = now + FORGOTTEN;
    book.renew(id, id, now + LIFE / 2);
    assert_eq!(
        book.draw(id, &more(6, 20, 4), later),
        Drawing::Allowed(vec![9]),
        "a window later as much again"
    );
    give_back(&mut book, id, "m", 4, later);
    assert!(ask(&mut book, vec![rate("m", 5, 5, 5)], later).is_ok());
    assert_eq!(book.draw(id, &more(20, 20, 4), later), Drawing::Lost);
}

#[test]
fn more_than_was_allowed_is_counted_as_it_was_spent() {
    let (mut book, now) = (Book::new(LIFE), Instant::now());
    let (id, _) = ask(&mut book, vec![rate("m", 5, 1, 2)], now).unwrap();
    give_back(&mut book, id, "m", 7, now);
    assert_eq!(pause_of(ask(&mut book, vec![rate("m", 5, 1, 1)], now)), FORGOTTEN);
    assert_eq!(book.rates[&key(MINUTE, "m")].logged, 7);
}

#[test]
fn what_a_worker_says_it_was_allowed_counts_where_the_ledger_went_back() {
    let (mut book, now) = (Book::new(LIFE), Instant::now());
    let (id, _) = ask(&mut book, vec![rate("m", 5, 1, 1)], now).unwrap();
    let told = ClaimedRate { allowed: 4, spent: 2, ..rate("m", 5, 0, 0) };
    assert_eq!(book.draw(id, &[told], now), Drawing::Allowed(vec![4]));
    assert_eq!(ask(&mut book, vec![rate("m", 5, 1, 5)], now).unwrap().1, [1]);
}

#[test]
fn a_rate_that_nothing_counts_in_is_forgotten_here_and_in_the_journal() {
    let (mut book, now) = (Book::new(LIFE), Instant::now());
    let (id, _) = ask(&mut book, vec![rate("m", 5, 1, 2), rate("n", 5, 1, 2)], now).unwrap();
    give_back(&mut book, id, "m", 1, now);
    assert_eq!(book.rates.len(), 2);
    let written = book.changes(now).rates;
    assert_eq!(written.iter().filter(|(_, record)| !record.is_empty()).count(), 2);
    book.pass(now + FORGOTTEN);
    assert!(book.rates.is_empty() && book.rate_looks.is_empty());
    let erased = book.changes(now + FORGOTTEN).rates;
    assert_eq!(erased.iter().filter(|(_, record)| record.is_empty()).count(), 2);
    // Who only asks, or gives everything back, leaves nothing to be written.
    let (id, _) = ask(&mut book, vec![rate("m", 5, 1, 2)], now + FORGOTTEN).unwrap();
    give_back(&mut book, id, "m", 0, now + FORGOTTEN);
    assert!(book.rates.is_empty() && book.changes(now + FORGOTTEN).rates.is_empty());
}

#[test]
fn the_next_coordinator_counts_what_was_spent_and_what_is_allowed() {
    let (mut book, now) = (Book::new(LIFE), Instant::now());
    let (given_back, _) = ask(&mut book, vec![rate("m", 10, 1, 3)], now).unwrap();
    give_back(&mut book, given_back, "m", 3, now);
    let (held, _) = ask(&mut book, vec![rate("m", 10, 1, 4)], now).unwrap();
    book.draw(held, &[ClaimedRate { spent: 1, ..rate("m", 10, 0, 0) }], now);
    let written = book.whole(now);
    let mut next = Book::new(LIFE);
    for (id, record) in &written.written {
        assert!(next.load(*id, record, now));
        assert!(next.load(*id, record, now), "a scan may find it twice");
    }
    for (name, record) in &written.rates {
        assert!(next.load_rate(name, record, now));
        assert!(next.load_rate(name, record, now), "a scan may find it twice");
    }
    let bucket = &next.rates[&key(MINUTE, "m")];
    assert_eq!((bucket.logged, bucket.open), (4, 3));
    assert_eq!(next.whole(now).written, written.written, "and writes down the same");
    give_back(&mut next, held, "m", 4, now);
    assert_eq!(ask(&mut next, vec![rate("m", 10, 1, 10)], now).unwrap().1, [3]);
    for wrong in ["x", "1:", "a:1", "1"] {
        assert!(!Book::new(LIFE).load_rate("60000 m", wrong, now), "{wrong}");
    }
    assert!(!Book::new(LIFE).load_rate("m", "1:1", now));
}

/// A worker with a lease, as a random history has it.
struct Worker {
    lease: Uuid,
    spent: [u64; 2],
    until: Instant,
}

#[test]
fn no_random_history_uses_more_in_any_window_than_there_may_be() {
    const AMOUNTS: [u64; 2] = [7, 4];
    let (mut uses_of_all, mut changes_of_hands) = (0, 0);
    for seed in 0..400_u64 {
        let mut state = seed;
        let mut dice = move |sides: u64| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (mixed ^ (mixed >> 29)) % sides
        };
        let mut book = Book::new(LIFE);
        let mut now = Instant::now();
        let mut workers: Vec<Worker> = Vec::new();
        let mut uses: [VecDeque<Instant>; 2] = Default::default();
        let claimed = |at: usize, least: u64, most: u64, spent: u64| {
            let name = ["one", "two"][at];
            ClaimedRate { spent, ..rate(name, AMOUNTS[at], least, most) }
        };
        for _ in 0..600 {
            now += Duration::from_millis(dice(3_000));
            book.pass(now);
            workers.retain(|worker| worker.until > now);
            match dice(9) {
                0 | 1 => {
                    let rates = (0..2).map(|at| claimed(at, dice(2), 1 + dice(4), 0)).collect();
                    if let Ok((lease, _)) = ask(&mut book, rates, now) {
                        workers.push(Worker { lease, spent: [0; 2], until: now + LIFE * 5 / 6 });
                    }
                }
                // It uses what it is allowed.
                2..=4 => {
                    for worker in &mut workers {
                        let allowed = book.allowed(worker.lease);
                        for at in 0..2 {
                            if dice(2) == 0 && worker.spent[at] < allowed[at] {
                                worker.spent[at] += 1;
                                uses[at].push_back(now);
                                uses_of_all += 1;
                            }
                        }
                    }
                }
                5 => {
                    for worker in &workers {
                        let rates: Vec<_> = (0..2)
                            .map(|at| {
                                claimed(
                                    at,
                                    worker.spent[at] + 1,
                                    worker.spent[at] + 1 + dice(3),
                                    worker.spent[at],
                                )
                            })
                            .collect();
                        book.draw(worker.lease, &rates, now);
                    }
                }
                6 if !workers.is_empty() => {
                    let at = usize::try_from(dice(workers.len() as u64)).unwrap();
                    let Worker { lease, spent, .. } = workers.swap_remove(at);
                    let spent = [(key(MINUTE, "one"), spent[0]), (key(MINUTE, "two"), spent[1])];
                    book.spent(lease, &spent, now);
                    book.release(lease, now);
                }
                // It dies without a word.
                7 if !workers.is_empty() => {
                    workers.remove(0);
                }
                // The next coordinator has what was written down.
                8 if dice(6) == 0 => {
                    let written = book.whole(now);
                    now += Duration::from_millis(dice(1_000));
                    book = Book::new(LIFE);
                    for (id, record) in &written.written {
                        assert!(book.load(*id, record, now));
                    }
                    for (name, record) in &written.rates {
                        assert!(book.load_rate(name, record, now));
                    }
                    workers.retain(|worker| worker.until > now);
                    changes_of_hands += 1;
                }
                _ => {}
            }
            for at in 0..2 {
                while uses[at].pop_front_if(|used| *used + MINUTE <= now).is_some() {}
                assert!(uses[at].len() as u64 <= AMOUNTS[at], "seed {seed}: {} uses", uses[at].len());
            }
        }
    }
    assert!(
        uses_of_all > 20_000 && changes_of_hands > 1_000,
        "{uses_of_all} uses, {changes_of_hands} changes"
    );
}
