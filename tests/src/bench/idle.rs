//! A million mailboxes with all their workloads, none of them due: what the scheduler and Postgres use of a core while they wait.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use model::workload::Workload;

use super::figure::{Line, Target};
use super::schedules::{Rows, Schedules};
use super::{Measured, Trouble, amount};

/// For how long it is looked at.
const TIME: Duration = Duration::from_secs(30);
/// A kernel counts processor time in hundredths of a second (`man 5 proc`, `USER_HZ`).
const TICKS: f64 = 100.0;

pub(super) async fn measure() -> Measured {
    let mailboxes = amount(1_000_000);
    let rows = Rows {
        mailboxes,
        workloads: Workload::ALL,
        due: "now() + interval '2 hours' + chance * interval '1 hour'",
    };
    let house = Schedules::build(&rows).await?;
    house.session().await?;
    let postmaster = fs::read_to_string(house.postgres.directory().join("data/postmaster.pid"))?;
    let postmaster: u32 = postmaster.lines().next().unwrap_or_default().trim().parse()?;
    let running = house.start()?;
    // What is done once at the start is not what waiting costs; vacuum may still be busy with what was seeded.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (begun, before) = (Instant::now(), used(postmaster)?);
    tokio::time::sleep(TIME).await;
    let [ours, theirs] = [0, 1].map(|at| used(postmaster).map(|after| after[at] - before[at]));
    let elapsed = begun.elapsed().as_secs_f64();
    running.stop().await?;
    let owner = house.database.owner().await?;
    let row = owner.query_one("select count(*) from schedules where claim <> 0 or flying", &[]).await?;
    if row.get::<_, i64>(0) != 0 {
        return Err("something was queued that was not due".into());
    }
    let [ours, theirs] = [ours?, theirs?].map(|seconds| 100.0 * seconds / elapsed);
    Ok(vec![
        Line::new(
            format!("{mailboxes} mailboxes, none due: scheduler and Postgres"),
            ours + theirs,
            "% of a core",
        )
        .reaching(Target::AtMost(2.0, "% of a core")),
        Line::new("– of which Postgres", theirs, "% of a core"),
    ])
}

/// Processor seconds of this process, and of Postgres with all of its own, the ended ones as well.
fn used(postmaster: u32) -> Result<[f64; 2], Trouble> {
    let mut theirs = 0.0;
    for entry in fs::read_dir("/proc")? {
        let Ok(id) = entry?.file_name().to_string_lossy().parse::<u32>() else { continue };
        let Some(process) = Process::read(&Path::new("/proc").join(id.to_string())) else { continue };
        if id == postmaster {
            theirs += process.own + process.of_ended_children;
        } else if process.parent == postmaster {
            theirs += process.own;
        }
    }
    let ours = Process::read(Path::new("/proc/self")).ok_or("this process has no line in /proc")?;
    Ok([ours.own, theirs])
}

struct Process {
    parent: u32,
    own: f64,
    of_ended_children: f64,
}

impl Process {
    /// `man 5 proc`: after the name, which may contain anything, come state, parent, and from the 12th on the four times.
    fn read(directory: &Path) -> Option<Self> {
        let text = fs::read_to_string(directory.join("stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let seconds = |at: usize| fields.get(at)?.parse::<f64>().ok().map(|ticks| ticks / TICKS);
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            own: seconds(11)? + seconds(12)?,
            of_ended_children: seconds(13)? + seconds(14)?,
        })
    }
}
