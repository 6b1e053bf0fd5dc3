//! The one death that is arranged for this process, or the one place where it stands still. Death is SIGKILL: nothing is
//! flushed, closed or rolled back.

use std::num::NonZeroU32;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Signal, getpid, kill_process};

use super::{Fate, Point, Unarmed};

/// Arranged before the first thread starts, and read by all of them.
static ARMED: OnceLock<Armed> = OnceLock::new();

/// By then the whole process stands still.
const STOPPING: Duration = Duration::from_millis(200);

struct Armed {
    point: Point,
    left: AtomicU32,
    fate: Fate,
}

pub(super) fn arm(point: Point, pass: NonZeroU32, fate: Fate) -> Result<(), Unarmed> {
    ARMED.set(Armed { point, left: AtomicU32::new(pass.get()), fate }).map_err(|_| Unarmed::Twice)
}

pub(super) fn pass(point: Point) {
    let Some(armed) = ARMED.get().filter(|armed| armed.point == point) else { return };
    // Past the last pass it wraps around and never comes back to one.
    if armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
        if armed.fate == Fate::StandsStill {
            let _ = kill_process(getpid(), Signal::STOP);
            // Another thread may take the signal: until it has stopped all of them, this one does nothing.
            std::thread::sleep(STOPPING);
            return;
        }
        let _ = kill_process(getpid(), Signal::KILL);
        // The signal is delivered when the system call returns; should it ever not be, nothing goes on here.
        std::process::abort();
    }
}
