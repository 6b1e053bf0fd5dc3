//! A whole run of `make chaos`: every named place, then every fault in an order that the seed decides, until the time is
//! over. After each four places and after each fault the world must settle, and its history must be without fault.

use std::sync::Arc;
use std::time::Duration;

use model::crash::Point;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use servers::Postgres;
use tokio::time::{Instant, sleep, timeout};

use super::fault::Fault;
use super::world::{LEASE, World};
use crate::{Servers, until};

/// Mailboxes of a world: more than a server may have connections.
const MAILBOXES: usize = 6;
/// How much time must be left for another fault.
const LEAST: Duration = Duration::from_secs(60);
/// A run of at least this length is a whole one: it reaches every place and strikes with every fault, or fails.
pub const WHOLE: Duration = Duration::from_secs(1200);

/// Runs for `length`, prints what it does, and says whether everything held, and was tried where the run is a whole one.
///
/// # Panics
/// When the servers cannot be started or a process does not do what it must.
pub async fn run(seed: u64, length: Duration) -> bool {
    let begun = Instant::now();
    let until = begun + length;
    say(&format!("chaos: SEED={seed} SECONDS={}", length.as_secs()));
    let Some(servers) = servers(Postgres::durable().await).await else { return false };
    let mut chance = StdRng::seed_from_u64(seed);
    let mut world = World::new(servers, MAILBOXES, 2).await;
    say(&format!("chaos: {MAILBOXES} mailboxes are enabled after {} s", begun.elapsed().as_secs()));

    let mut agenda = Agenda::new(&mut chance);
    // A short run spends half of its time here at most: what it does not reach, it says.
    let places = if length >= WHOLE { until } else { begun + length / 2 };
    while Instant::now() + LEAST < places {
        let points = agenda.next_points();
        if points.is_empty() {
            break;
        }
        for point in &points {
            world.die_at(*point).await;
        }
        let names: Vec<&str> = points.iter().map(|point| point.name()).collect();
        // Whoever died held a lease, or knew of one.
        if !settled(&world, LEASE, &format!("a process died at {}", names.join(", ")), begun).await {
            return false;
        }
    }
    if Instant::now() + 2 * LEAST < until {
        if !full_disk(begun).await {
            return false;
        }
        agenda.disk_was_full = true;
    }

    let mut struck = 0;
    while Instant::now() + LEAST < until {
        let Some(fault) = agenda.next_fault(&mut chance) else { break };
        let also = chance.random_bool(0.3).then_some(Fault::Kill("worker"));
        strike(&mut world, fault, also, &mut chance).await;
        struck += 1;
        let owed = also.map_or(fault.owes(), |also| fault.owes().max(also.owes()));
        let also = also.map(|also| format!(", and then {also}")).unwrap_or_default();
        if !settled(&world, owed, &format!("{fault}{also}"), begun).await {
            return false;
        }
    }
    let (delivered, arrived) = (world.delivered.len(), world.arrived().len());
    say(&format!(
        "chaos: {struck} faults, {delivered} messages in and {arrived} copies out, everything held, in {} s (SEED={seed})",
        begun.elapsed().as_secs()
    ));
    let Some(missed) = agenda.missed() else {
        say(&format!(
            "chaos: every one of {} places and {} faults was tried",
            passed().len(),
            Fault::ALL.len()
        ));
        return true;
    };
    if length < WHOLE {
        say(&format!("chaos: too short for all of it: {missed}"));
        return true;
    }
    say(&format!(
        "chaos: BROKEN: what was not tried does not hold: {missed}. The machine is too slow or too busy for {} s: give more SECONDS",
        length.as_secs()
    ));
    false
}

/// Breaks something while mail comes and goes, and perhaps kills a worker on top of it.
async fn strike(world: &mut World, fault: Fault, also: Option<Fault>, chance: &mut StdRng) {
    world.deliver();
    let office = world.office.clone();
    let asks = async {
        office.clone().send().await;
        office.test().await;
    };
    world.due().await;
    let strikes = async {
        fault.strike(world, chance).await;
        if let Some(also) = also {
            also.strike(world, chance).await;
        }
    };
    tokio::join!(asks, strikes);
}

/// The places to die at: all but those that only what goes through an Exchange server passes (`it/exchange.rs`).
fn passed() -> Vec<Point> {
    let mut places = Point::ALL.to_vec();
    places.retain(|point| *point != Point::LaidDownAfter);
    places
}

/// What a whole run must have tried, each in an order of its own.
struct Agenda {
    points: Vec<Point>,
    faults: Vec<Fault>,
    /// Faults that struck already, to be tried again in another order.
    again: Vec<Fault>,
    disk_was_full: bool,
}

impl Agenda {
    fn new(chance: &mut StdRng) -> Self {
        let (mut points, mut faults) = (passed(), Fault::ALL.to_vec());
        points.shuffle(chance);
        faults.shuffle(chance);
        Self { points, faults, again: Vec::new(), disk_was_full: false }
    }

    /// The places to die at before the world has to settle; none when all of them were.
    fn next_points(&mut self) -> Vec<Point> {
        self.points.split_off(self.points.len().saturating_sub(4))
    }

    /// Each of them once, and then all of them again.
    fn next_fault(&mut self, chance: &mut StdRng) -> Option<Fault> {
        if let Some(fault) = self.faults.pop() {
            return Some(fault);
        }
        if self.again.is_empty() {
            self.again = Fault::ALL.to_vec();
            self.again.shuffle(chance);
        }
        self.again.pop()
    }

    /// What was not tried, by name; none when everything was.
    fn missed(&self) -> Option<String> {
        let mut missed = Vec::new();
        if !self.points.is_empty() {
            let names: Vec<&str> = self.points.iter().map(|point| point.name()).collect();
            missed.push(format!("nobody died at {}", names.join(", ")));
        }
        if !self.faults.is_empty() {
            let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
            missed.push(format!("it never was that {}", faults.join("; that ")));
        }
        if !self.disk_was_full {
            missed.push("the disk of Postgres was never full".to_owned());
        }
        (!missed.is_empty()).then(|| missed.join(", and "))
    }
}

/// A world whose Postgres has a disk of its own, which fills up twice while mail comes and goes.
async fn full_disk(begun: Instant) -> bool {
    let Some(servers) = servers(Postgres::on_a_disk_of(400).await).await else { return false };
    let mut world = World::new(Arc::clone(&servers), 2, 1).await;
    for _ in 0..2 {
        let office = world.office.clone();
        servers.postgres.fill(true);
        let fills = async {
            until("nothing more fits on the disk", async || world.no_room().await).await;
            for _ in 0..8 {
                world.deliver();
                // A full disk takes nothing, and Postgres may be away for it.
                let _ = timeout(Duration::from_millis(300), world.due()).await;
                sleep(Duration::from_millis(300)).await;
            }
            let refused = world.no_room().await;
            servers.postgres.fill(false);
            refused.unwrap_or_else(|why| panic!("the disk was not full all the time: {why}"));
        };
        tokio::join!(office.send(), fills);
        if !settled(&world, Duration::ZERO, "the disk of Postgres was full", begun).await {
            return false;
        }
    }
    true
}

async fn servers(postgres: Postgres) -> Option<Arc<Servers>> {
    match Servers::around(postgres).await {
        Ok(servers) => Some(servers),
        Err(error) => {
            say(&format!("chaos: the servers cannot be started: {error}"));
            None
        }
    }
}

/// Waits for the world to settle and prints one line; what is wrong is printed with where the logs are.
async fn settled(world: &World, owed: Duration, what: &str, begun: Instant) -> bool {
    match world.settle(owed).await {
        Ok(took) => {
            let (at, took) = (begun.elapsed().as_secs(), took.as_secs_f64());
            say(&format!("chaos: {at:>4} s  {what}: settled in {took:.1} s"));
            true
        }
        Err(violations) => {
            say(&format!("chaos: BROKEN after {what}:"));
            for violation in violations.iter().take(30) {
                say(&format!("  {violation}"));
            }
            say(&format!("chaos: the logs are in {}", world.keep_logs().display()));
            false
        }
    }
}

#[expect(clippy::print_stdout, reason = "what a person reads while it runs")]
fn say(text: &str) {
    println!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_tried_is_named_until_all_of_it_was() {
        let mut agenda = Agenda::new(&mut StdRng::seed_from_u64(1));
        let mut points = Vec::new();
        loop {
            let next = agenda.next_points();
            if next.is_empty() {
                break;
            }
            let missed = agenda.missed().expect("much is left");
            assert!(next.iter().all(|point| !missed.contains(&format!(" {}", point.name()))), "{missed}");
            assert!(agenda.points.iter().all(|point| missed.contains(point.name())), "{missed}");
            points.extend(next);
        }
        assert_eq!(points.len(), passed().len());
        agenda.disk_was_full = true;
        let mut struck = Vec::new();
        while let Some(missed) = agenda.missed() {
            assert!(agenda.faults.iter().all(|fault| missed.contains(&fault.to_string())), "{missed}");
            struck.extend(agenda.next_fault(&mut StdRng::seed_from_u64(2)));
        }
        assert_eq!(struck.len(), Fault::ALL.len());
        assert!(Fault::ALL.iter().all(|fault| struck.contains(fault)));
        assert!(agenda.next_fault(&mut StdRng::seed_from_u64(2)).is_some(), "and then once more");
        assert_eq!(agenda.missed(), None);
        agenda.disk_was_full = false;
        assert_eq!(agenda.missed().as_deref(), Some("the disk of Postgres was never full"));
    }
}
