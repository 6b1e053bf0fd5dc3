//! A small world that searches for one connection too many, or for more in a window than a rate allows: a mail server that counts, workers, coordinators that run
//! the desk's own code and rules, and a Redis of a few fields; everything dies, freezes, is cut off, forgotten and set
//! back by the seed.
//!
//! Time is made up, so thousands of seeds take seconds. Each rule that keeps the limit can be broken on purpose, and the
//! search must find it then.

mod world;

use self::world::{Broken, World};

/// What is tried of each world when nothing is broken.
const SEEDS: u64 = 1_500;

#[test]
fn no_seed_finds_a_connection_too_many() {
    let (mut connections, mut uses, mut takeovers, mut losses) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed, None);
        if let Err(why) = world.run() {
            panic!("seed {seed}: {why}");
        }
        connections += world.connections;
        uses += world.uses;
        takeovers += world.takeovers;
        losses += world.losses;
    }
    // The search is worth something only when much happens in it.
    assert!(connections > 20 * SEEDS, "{connections} connections");
    assert!(uses > 15 * SEEDS, "{uses} uses");
    assert!(takeovers > SEEDS && losses > SEEDS / 2, "{takeovers} takeovers, {losses} losses");
}

#[test]
fn every_rule_that_is_broken_on_purpose_is_found_out() {
    for broken in Broken::ALL {
        let found = (0..SEEDS).find(|seed| World::new(*seed, Some(*broken)).run().is_err());
        assert!(found.is_some(), "nobody notices {broken:?}");
    }
}
