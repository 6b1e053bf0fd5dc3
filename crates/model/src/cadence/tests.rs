//! The table of the cadence, row by row, and what each failure costs.

use super::*;

fn terms(policy: Policy, workload: Workload) -> Terms {
    Terms { policy, workload, incoming_too: false, min_polling: Duration::ZERO, profile_credential: false }
}

fn done(items: u32) -> Outcome {
    Outcome::Done { items, cut_off: false }
}

fn failed(scope: FailureScope) -> Outcome {
    Outcome::Failed(Failure { scope, alert: AlertKind::ConnectionRefused, said: None, retry_after: None })
}

fn minutes(delay: Option<Duration>) -> u64 {
    let delay = delay.expect("due");
    assert_eq!(delay.as_secs() % 60, 0);
    delay.as_secs() / 60
}

#[test]
fn the_table_of_gaps_is_the_designs() {
    use Policy::{Dynamic, PerWorkload};
    use Workload::{Act, Incoming, Outgoing};
    // (policy, workload, incoming too, quiet cycles before, items, cut off, minutes)
    for (policy, workload, incoming_too, quiet_cycles, items, cut_off, expected) in [
        (PerWorkload, Incoming, false, 0, 0, false, 5),
        (PerWorkload, Incoming, false, 99, 0, false, 5),
        (PerWorkload, Incoming, false, 0, 500, false, 5),
        (PerWorkload, Incoming, false, 0, 500, true, 0),
        (PerWorkload, Act, false, 7, 3, false, 5),
        (PerWorkload, Act, false, 0, 0, false, 6),
        (PerWorkload, Act, false, 6, 0, false, 12),
        (PerWorkload, Act, false, 60, 0, false, 12),
        (PerWorkload, Act, true, 6, 0, false, 12),
        (PerWorkload, Act, true, 9, 0, false, 15),
        (PerWorkload, Act, true, 60, 0, false, 15),
        (Dynamic, Incoming, false, 3, 20, false, 2),
        (Dynamic, Incoming, false, 3, 19, false, 5),
        (Dynamic, Incoming, false, 3, 1, true, 2),
        (Dynamic, Incoming, false, 0, 0, false, 6),
        (Dynamic, Incoming, false, 6, 0, false, 12),
        (Dynamic, Incoming, false, 60, 0, false, 12),
        (Dynamic, Outgoing, false, 0, 25, false, 2),
        (Dynamic, Outgoing, false, 0, 0, false, 6),
        (Dynamic, Act, true, 60, 0, false, 12),
    ] {
        let terms = Terms { incoming_too, ..terms(policy, workload) };
        let history = History { quiet_cycles, ..History::default() };
        let next = next(&terms, &Outcome::Done { items, cut_off }, &history, None, 0.99);
        assert_eq!(
            minutes(next.delay),
            expected,
            "{policy} {workload} after {quiet_cycles} quiet cycles, {items} items, cut off: {cut_off}"
        );
        assert_eq!(next.not_before, None, "an ordinary gap never holds back a wish");
    }
}

#[test]
fn outgoing_is_due_when_something_is_due_to_send() {
    let terms = terms(Policy::PerWorkload, Workload::Outgoing);
    let idle = next(&terms, &done(3), &History::default(), None, 0.0);
    assert_eq!((idle.delay, idle.reason), (None, DueReason::NothingToSend));
    let soon = Duration::from_secs(42);
    let pending = next(&terms, &done(3), &History::default(), Some(soon), 0.0);
    assert_eq!((pending.delay, pending.reason), (Some(soon), DueReason::PendingSend));
    let dynamic = Terms { policy: Policy::Dynamic, ..terms };
    assert_eq!(next(&dynamic, &done(1), &History::default(), Some(soon), 0.0).delay, Some(soon));
}

#[test]
fn outgoing_that_failed_with_nothing_left_to_send_is_due_at_no_time_and_held_back_all_the_same() {
    let terms = terms(Policy::PerWorkload, Workload::Outgoing);
    for (scope, reason) in [
        (FailureScope::Server, DueReason::ServerDown),
        (FailureScope::Mailbox, DueReason::Retry),
        (FailureScope::Ours, DueReason::PartAway),
        (FailureScope::Credential, DueReason::CredentialRefused),
    ] {
        let failed = |pending| next(&terms, &failed(scope), &History::default(), pending, 0.0);
        let (idle, busy) = (failed(None), failed(Some(Duration::ZERO)));
        assert_eq!((idle.delay, idle.reason), (None, DueReason::NothingToSend), "{scope:?}");
        assert_eq!((idle.not_before, idle.held_by), (busy.not_before, Some(reason)), "{scope:?}");
        assert_eq!((busy.delay, busy.reason), (busy.not_before, reason), "{scope:?}");
        assert!(busy.delay.is_some());
        assert_eq!((idle.failures, idle.refusals), (busy.failures, busy.refusals), "it counts as ever");
    }
    // What is switched off stays so, and the older rule knows no such thing.
    let tenth = History { failures: 9, ..History::default() };
    let off = next(&terms, &failed(FailureScope::Mailbox), &tenth, None, 0.0);
    assert_eq!((off.delay, off.reason), (None, DueReason::Disabled));
    let dynamic = Terms { policy: Policy::Dynamic, ..terms };
    let next = next(&dynamic, &failed(FailureScope::Mailbox), &History::default(), None, 0.0);
    assert_eq!((next.delay, next.reason), (Some(RETRY), DueReason::Retry));
}

#[test]
fn the_minimum_polling_interval_lengthens_a_gap_and_never_shortens_it() {
    for (min, expected) in [(0, 5), (4, 5), (5, 5), (60, 60), (1440, 1440)] {
        let terms = Terms {
            min_polling: Duration::from_secs(min * MINUTE),
            ..terms(Policy::PerWorkload, Workload::Incoming)
        };
        let next = next(&terms, &done(0), &History::default(), None, 0.5);
        assert_eq!(minutes(next.delay), expected);
        assert_eq!(next.reason == DueReason::MinimumPolling, expected > 5);
    }
}

#[test]
fn a_cycle_that_changed_something_starts_the_counters_again() {
    let history = History { quiet_cycles: 5, failures: 9, refusals: 1, ..History::default() };
    let terms = terms(Policy::Dynamic, Workload::Incoming);
    let next_busy = next(&terms, &done(1), &history, None, 0.0);
    assert_eq!((next_busy.quiet_cycles, next_busy.failures, next_busy.refusals), (0, 0, 0));
    let next_quiet = next(&terms, &done(0), &history, None, 0.0);
    assert_eq!((next_quiet.quiet_cycles, next_quiet.failures, next_quiet.refusals), (6, 0, 0));
}

#[test]
fn a_mailbox_that_fails_is_tried_ten_times_five_minutes_apart_and_then_switched_off() {
    let terms = terms(Policy::PerWorkload, Workload::Incoming);
    let mut history = History::default();
    for attempt in 1..=10 {
        let next = next(&terms, &failed(FailureScope::Mailbox), &history, None, 0.0);
        if attempt < 10 {
            assert_eq!(next.delay, Some(RETRY));
            assert_eq!(next.not_before, Some(RETRY), "a wish does not pass over a back-off");
            assert_eq!(next.switch_off, None, "try {attempt}");
        } else {
            assert_eq!(next.delay, None);
            assert_eq!(next.switch_off, Some(SwitchOff::Workload(AlertKind::MailboxKeptFailing)));
        }
        history.failures = next.failures;
    }
}

#[test]
fn a_credential_is_switched_off_only_when_refused_twice_at_least_five_minutes_apart() {
    let terms = terms(Policy::PerWorkload, Workload::Incoming);
    let outcome = failed(FailureScope::Credential);
    let first = next(&terms, &outcome, &History::default(), None, 0.0);
    assert_eq!((first.switch_off, first.delay, first.refusals), (None, Some(RETRY), 1));
    let again = |ago: u64| History {
        refusals: 1,
        first_refused: Some(Duration::from_secs(ago)),
        ..History::default()
    };
    assert_eq!(next(&terms, &outcome, &again(299), None, 0.0).switch_off, None);
    let second = next(&terms, &outcome, &again(300), None, 0.0);
    assert_eq!(second.switch_off, Some(SwitchOff::Workload(AlertKind::CredentialsRefused)));
    assert_eq!(second.delay, None);
}

#[test]
fn refused_profile_credentials_pause_the_profile_and_disable_no_mailbox() {
    let terms = Terms { profile_credential: true, ..terms(Policy::PerWorkload, Workload::Incoming) };
    let next = next(&terms, &failed(FailureScope::Credential), &History::default(), None, 0.0);
    assert_eq!(next.switch_off, Some(SwitchOff::Profile(AlertKind::ProfileCredentialsRefused)));
    assert_eq!(
        (next.delay, next.not_before),
        (Some(RETRY), None),
        "it goes on by itself when the profile does"
    );
}

#[test]
fn a_server_that_is_down_backs_off_and_disables_nothing_however_often() {
    let terms = terms(Policy::PerWorkload, Workload::Incoming);
    for (server_failures, seconds) in [(0, 30), (1, 60), (2, 120), (3, 240), (4, 300), (1_000_000, 300)] {
        let history = History { server_failures, failures: 9, refusals: 1, ..History::default() };
        let next = next(&terms, &failed(FailureScope::Server), &history, None, 0.0);
        assert_eq!(next.delay, Some(Duration::from_secs(seconds)));
        assert_eq!((next.switch_off, next.failures, next.refusals), (None, 9, 1));
    }
}

#[test]
fn our_own_failures_count_nowhere() {
    let terms = terms(Policy::PerWorkload, Workload::Incoming);
    let history = History { quiet_cycles: 3, failures: 9, refusals: 1, ..History::default() };
    let next = next(&terms, &failed(FailureScope::Ours), &history, None, 0.0);
    assert_eq!(next.delay, Some(Duration::from_secs(30)));
    assert_eq!((next.quiet_cycles, next.failures, next.refusals, next.switch_off), (3, 9, 1, None));
}

#[test]
fn a_servers_own_word_is_obeyed_within_reason() {
    let terms = terms(Policy::PerWorkload, Workload::Incoming);
    for (asked, expected) in [(0, 30), (10, 30), (90, 90), (3600, 3600), (1_000_000_000, 3600)] {
        let outcome = Outcome::Failed(Failure {
            scope: FailureScope::Server,
            alert: AlertKind::ServerBusy,
            said: None,
            retry_after: Some(Duration::from_secs(asked)),
        });
        assert_eq!(
            next(&terms, &outcome, &History::default(), None, 0.0).not_before,
            Some(Duration::from_secs(expected)),
            "asked for {asked} s"
        );
    }
}

#[test]
fn jitter_only_lengthens_failures_and_by_a_fifth_at_most() {
    let terms = terms(Policy::PerWorkload, Workload::Incoming);
    for jitter in [0.0, 0.3, 0.999, 7.0, -1.0] {
        let delay =
            next(&terms, &failed(FailureScope::Mailbox), &History::default(), None, jitter).delay.unwrap();
        assert!(delay >= RETRY && delay <= RETRY.mul_f64(1.2), "{delay:?}");
        assert_eq!(minutes(next(&terms, &done(0), &History::default(), None, jitter).delay), 5);
    }
}

#[test]
fn first_due_times_are_stable_and_spread_over_the_interval() {
    let interval = Duration::from_secs(300);
    let mut buckets = [0_u32; 10];
    for number in 0..10_000_u128 {
        let mailbox = MailboxId(uuid::Uuid::from_u128(number));
        let due = first_due(mailbox, Workload::Incoming, interval);
        assert!(due < interval);
        assert_eq!(due, first_due(mailbox, Workload::Incoming, interval));
        buckets[usize::try_from(due.as_millis() / 30_000).unwrap()] += 1;
    }
    assert!(buckets.iter().all(|bucket| (800..1200).contains(bucket)), "{buckets:?}");
}

#[test]
fn an_announced_pause_holds_back_and_says_so_whatever_the_cycle_came_to() {
    let terms = terms(Policy::PerWorkload, Workload::Incoming);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let cut_off = Outcome::Done { items: 500, cut_off: true };
    // (outcome, pause, delay, reason, not before, held by)
    for (outcome, pause, delay, reason, not_before, held_by) in [
        (done(0), 120, 300, DueReason::Cadence, 120, Some(DueReason::ServerAsked)),
        (done(0), 900, 900, DueReason::ServerAsked, 900, Some(DueReason::ServerAsked)),
        (done(0), 1_000_000, 3600, DueReason::ServerAsked, 3600, Some(DueReason::ServerAsked)),
        (cut_off, 60, 60, DueReason::ServerAsked, 60, Some(DueReason::ServerAsked)),
        (failed(FailureScope::Mailbox), 60, 300, DueReason::Retry, 300, None),
        (failed(FailureScope::Mailbox), 900, 900, DueReason::ServerAsked, 900, Some(DueReason::ServerAsked)),
    ] {
        let next = next(&terms, &outcome, &History::default(), None, 0.0)
            .held_back(Duration::from_secs(pause), DueReason::ServerAsked);
        assert_eq!(
            (next.delay, next.reason, next.not_before, next.held_by),
            (seconds(delay), reason, seconds(not_before), held_by),
            "{outcome:?} and {pause} s"
        );
    }
    // What is switched off stays without a due time.
    let history = History { failures: 9, ..History::default() };
    let off = next(&terms, &failed(FailureScope::Mailbox), &history, None, 0.0);
    assert_eq!(off.held_back(Duration::from_secs(60), DueReason::ServerAsked).delay, None);
}
