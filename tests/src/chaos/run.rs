//! A whole run of `make chaos`: every named place, then every fault in an order that the seed decides, until the time is
//! over. After each, the world must settle and its history must be without fault.

use std::sync::Arc;
use std::time::Duration;

use model::crash::Point;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use servers::Postgres;
use tokio::time::{Instant, sleep, timeout};

use super::fault::Fault;
use super::world::World;
use crate::{Servers, until};

/// Mailboxes of a world: more than a server may have connections.
const MAILBOXES: usize = 6;
/// How much time must be left for another fault.
const LEAST: Duration = Duration::from_secs(60);

/// Runs for `length`, prints what it does, and says whether everything held.
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

    let mut points = Point::ALL.to_vec();
    points.shuffle(&mut chance);
    // Half of the time at most: what is not reached now is reached with another seed.
    let half = begun + length / 2;
    let mut reached = 0;
    for chunk in points.chunks(4) {
        if Instant::now() + LEAST > half {
            break;
        }
        for point in chunk {
            world.die_at(*point).await;
        }
        reached += chunk.len();
        let names: Vec<&str> = chunk.iter().map(|point| point.name()).collect();
        if !settled(&world, &format!("a process died at {}", names.join(", ")), begun).await {
            return false;
        }
    }
    say(&format!("chaos: {reached} of {} places were died at", Point::ALL.len()));
    if Instant::now() + 2 * LEAST < until && !full_disk(begun).await {
        return false;
    }

    let (mut struck, mut deck) = (0, Vec::new());
    while Instant::now() + LEAST < until {
        if deck.is_empty() {
            deck = Fault::ALL.to_vec();
            deck.shuffle(&mut chance);
        }
        let Some(fault) = deck.pop() else { break };
        world.deliver();
        let office = world.office.clone();
        let asks = async {
            office.clone().send().await;
            office.test().await;
        };
        world.due().await;
        let also = chance.random_bool(0.3).then_some(Fault::Kill("worker"));
        let strikes = async {
            fault.strike(&mut world, &mut chance).await;
            if let Some(also) = also {
                also.strike(&mut world, &mut chance).await;
            }
        };
        tokio::join!(asks, strikes);
        struck += 1;
        let also = also.map(|also| format!(", and then {also}")).unwrap_or_default();
        if !settled(&world, &format!("{fault}{also}"), begun).await {
            return false;
        }
    }
    let (delivered, arrived) = (world.delivered.len(), world.arrived().len());
    say(&format!(
        "chaos: {struck} faults, {delivered} messages in and {arrived} copies out, everything held, in {} s (SEED={seed})",
        begun.elapsed().as_secs()
    ));
    true
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
        if !settled(&world, "the disk of Postgres was full", begun).await {
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
async fn settled(world: &World, what: &str, begun: Instant) -> bool {
    match world.settle().await {
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
