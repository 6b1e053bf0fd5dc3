//! Kills a process at one named place after the other.

use std::time::Duration;

use model::crash::Point;
use tokio::time::{Instant, sleep};

use super::world::World;

/// How long a process may take to reach the place where it dies.
const PATIENCE: Duration = Duration::from_secs(60);

impl World {
    /// Puts something in at both ends, starts the process that is to die there, waits for its death and starts another in
    /// its place. What it left behind is not waited for: the next one finds it.
    ///
    /// # Panics
    /// When it does not come to die there.
    pub async fn die_at(&mut self, point: Point) {
        let places = self.fleet.of(point.role());
        let Some(place) = places.first().copied() else { panic!("no process passes {point}") };
        // Nobody else may do its work meanwhile.
        for place in places {
            self.fleet.members[place].kill().await;
        }
        self.fleet.members[place].start_to_die(&self.installation, point);
        self.deliver();
        let office = self.office.clone();
        let asking = async {
            match point.role() {
                "jobs" => office.test().await,
                _ => office.send().await,
            }
        };
        tokio::join!(asking, self.death(point, place));
    }

    /// Waits until it died, and starts what is missing.
    async fn death(&mut self, point: Point, place: usize) {
        let begun = Instant::now();
        while !self.fleet.members[place].was_killed() {
            assert!(begun.elapsed() < PATIENCE, "nothing died at {point} within a minute");
            self.due().await;
            sleep(Duration::from_millis(150)).await;
        }
        self.fleet.complete(&self.installation);
    }
}
