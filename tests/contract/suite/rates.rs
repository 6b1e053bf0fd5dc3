//! Rates: how much there may be in a time, whoever asks for it. What may not leave stays as it is.

use cycle::{Config, Cycle, Ending, lease_request};
use model::cadence::{DueReason, Next, Outcome};
use model::email::EmailState;
use model::rate::RateProvider;
use model::workload::Workload;
use store::outgoing::Draft;
use store::profile::rate::{self, Rates};
use throttle::Throttle;

use crate::house::{House, Person, by, config, message, to};
use crate::provider::Provider;
use crate::ring::Ring;

async fn held_to<P: Provider>(house: &House<P>, rates: &[&str]) {
    let given = rates.iter().map(|rate| rate.parse().unwrap()).collect();
    let tenant = house.tenant().await;
    let rates = Rates { provider: RateProvider::None, given };
    rate::set(&tenant, house.profile, None, &rates, &by()).await.unwrap();
    tenant.commit().await.unwrap();
}

/// A whole cycle as a worker runs it, with its lease.
async fn run<P: Provider>(
    house: &House<P>,
    throttle: &Throttle,
    of: &Person,
    workload: Workload,
) -> (Ending, Next) {
    let mut cycle = house.claimed(of, workload).await.expect("nothing holds it back");
    let ending = leased(house, throttle, &mut cycle).await;
    let next = cycle.finish(&ending).await.unwrap();
    (ending, next)
}

async fn leased<P: Provider>(house: &House<P>, throttle: &Throttle, cycle: &mut Cycle) -> Ending {
    let request = lease_request(&house.parts.mail, &cycle.mailbox, cycle.mailbox.workload.class());
    match throttle.acquire_within(request, cycle.rates()).await {
        Ok(lease) => {
            cycle.begin(lease.allowance());
            let ending = cycle.run(|| lease.check()).await.unwrap();
            cycle.ends().part(std::time::Duration::from_secs(5)).await.unwrap();
            cycle.settle();
            lease.release().await;
            ending
        }
        Err(denied) => Ending::denied(&denied),
    }
}

fn assert_waits(next: &Next) {
    assert_eq!(next.reason, DueReason::RateSpent);
    assert!(next.not_before.is_some() && next.failures == 0, "{next:?}");
}

pub(crate) async fn a_mailbox_sends_as_many_as_it_may_and_the_rest_waits_without_failing<P: Provider>() {
    let house = House::<P>::build().await;
    let ring = Ring::start(&house.organization.0.simple().to_string()).await;
    let throttle = ring.process();
    held_to(&house, &["5 messages/600s per mailbox"]).await;
    let (anna, bert) = (house.person("anna").await, house.person("bert").await);
    let mut emails = Vec::new();
    for _ in 0..7 {
        emails.push(house.ask(&anna, Draft { to: to(&bert.address), ..Draft::default() }).await);
    }
    let (ending, next) = run(&house, &throttle, &anna, Workload::Outgoing).await;
    assert!(matches!(ending.outcome, Outcome::Done { items: 5, .. }), "{ending:?}");
    assert_waits(&next);
    house.arrived(&bert.address, 5).await;
    for (number, email) in emails.iter().enumerate() {
        let expected = if number < 5 { EmailState::Sent } else { EmailState::PendingSend };
        assert_eq!(house.state(*email).await, expected, "{number}");
    }
    assert_eq!(house.count("send_attempts").await, 5, "what may not leave was not begun");
    assert_eq!(
        house.count("schedules where not_before_reason = 'rate_spent' and due_reason = 'rate_spent'").await,
        1
    );
    assert!(house.claimed(&anna, Workload::Outgoing).await.is_none(), "no wish passes over it");

    // The time is over here, and not for whoever counts: there is no lease for nothing.
    house.later().await;
    let (ending, next) = run(&house, &throttle, &anna, Workload::Outgoing).await;
    assert!(matches!(ending.outcome, Outcome::Snooze { reason: DueReason::RateSpent, .. }), "{ending:?}");
    assert_waits(&next);
    assert_eq!(house.handed_over_to(&bert.address), 5);

    // Who may send more is not kept waiting by what was before, and nobody gets a second copy.
    held_to(&house, &["50 messages/600s per mailbox"]).await;
    let (ending, _) = run(&house, &throttle, &anna, Workload::Outgoing).await;
    assert!(matches!(ending.outcome, Outcome::Done { items: 2, .. }), "{ending:?}");
    house.arrived(&bert.address, 7).await;
    assert_eq!(house.handed_over_to(&bert.address), 7);
    house.assert_recovered().await;
}

pub(crate) async fn mailboxes_that_share_a_server_share_what_it_takes<P: Provider>() {
    let house = House::<P>::build().await;
    let ring = Ring::start(&house.organization.0.simple().to_string()).await;
    let (one, two) = (ring.process(), ring.process());
    held_to(&house, &["3 messages/600s per server", "100 messages/60s per mailbox"]).await;
    let (anna, bert) = (house.person("anna").await, house.person("bert").await);
    let mut emails = Vec::new();
    for from in [&anna, &anna, &bert, &bert] {
        emails.push(house.ask(from, Draft { to: to(&anna.address), ..Draft::default() }).await);
    }
    let (_, next) = run(&house, &one, &anna, Workload::Outgoing).await;
    assert_eq!(next.not_before, None, "{next:?}");
    let (_, next) = run(&house, &two, &bert, Workload::Outgoing).await;
    assert_waits(&next);
    house.arrived(&anna.address, 3).await;
    assert_eq!(house.state(emails[3]).await, EmailState::PendingSend);
    assert_eq!(house.handed_over_to(&anna.address), 3);
}

pub(crate) async fn reading_ends_at_a_seam_where_its_rate_is_spent_and_goes_on_there<P: Provider>() {
    let house = House::<P>::with(Config { batch_items: 5, ..config() }, |_| {}).await;
    let ring = Ring::start(&house.organization.0.simple().to_string()).await;
    let throttle = ring.process();
    held_to(&house, &["1000000 bytes_down/600s per mailbox"]).await;
    let anna = house.person("anna").await;
    for number in 0..20 {
        let mut raw = message(number, &anna.address);
        raw.extend(std::iter::repeat_n(b"A line of thirty characters..\r\n".as_slice(), 3_000).flatten());
        house.provider.deliver(&anna.address, &raw);
    }
    let (ending, next) = run(&house, &throttle, &anna, Workload::Incoming).await;
    assert!(matches!(ending.outcome, Outcome::Done { items: 1.., cut_off: true }), "{ending:?}");
    assert_waits(&next);
    let some = house.count("emails").await;
    assert!(some > 0 && some <= 10, "{some}");
    held_to(&house, &[]).await;
    run(&house, &throttle, &anna, Workload::Incoming).await;
    assert_eq!((house.count("emails").await, house.count("receipts").await), (20, 20));
    house.assert_recovered().await;
}
