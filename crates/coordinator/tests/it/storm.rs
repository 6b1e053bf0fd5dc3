//! Everything dies without a word and comes back at random for a while, and Redis forgets: never a connection too many, and
//! in the end nothing is left. What happens is the seed's to say; `LOCKSTEP_SEED` repeats one.

use std::time::Duration;

use model::clock;
use throttle::Throttle;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::ring::{Crashing, Ring, Server, client_of, limit, take, until, worker_at_any};

/// Numbers that follow from a seed (splitmix64).
#[derive(Clone, Debug)]
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, sides: usize) -> usize {
        usize::try_from(self.next() % sides as u64).unwrap()
    }

    fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.next() % (to - from))
    }
}

/// The seed that is wanted, or a new one; shown when the test fails.
fn seed() -> u64 {
    let wanted = std::env::var_os("LOCKSTEP_SEED").and_then(|seed| seed.to_str()?.parse().ok());
    wanted.unwrap_or_else(|| u64::from_le_bytes(clock::random_bytes::<8>()) >> 32)
}

/// A worker process: its death closes its connections and its stream, and says nothing.
struct Process {
    runtime: Option<Runtime>,
}

impl Process {
    fn start(coordinators: &[Crashing], server: &Server, dice: &mut Dice) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let urls: Vec<_> = coordinators.iter().map(|coordinator| coordinator.url.clone()).collect();
        let throttle = {
            let _inside = runtime.enter();
            worker_at_any(&urls)
        };
        for _ in 0..4 {
            runtime.spawn(cycles(throttle.clone(), server.clone(), Dice(dice.next())));
        }
        Self { runtime: Some(runtime) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Cycle after cycle: acquire, connect, work, close, release.
async fn cycles(throttle: Throttle, server: Server, mut dice: Dice) {
    let mut wanted = limit("profile/p", 3);
    wanted.in_doubt = Duration::from_secs(1);
    loop {
        let class = model::workload::ServiceClass::Incoming;
        match crate::ring::acquire(&throttle, class, &wanted, Duration::from_secs(5)).await {
            Ok(lease) => {
                let connection = Connection::open(&server);
                let work = dice.millis(5, 400);
                tokio::select! {
                    () = lease.lost() => {}
                    () = tokio::time::sleep(work) => {}
                }
                drop(connection);
                if dice.below(2) == 0 {
                    lease.release().await;
                }
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

struct Connection(Server);

impl Connection {
    fn open(server: &Server) -> Self {
        server.open();
        Self(server.clone())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_a_server_never_sees_a_connection_too_many() {
    let seed = seed();
    let mut dice = Dice(seed);
    let mut ring = Ring::with_lease(Duration::from_secs(3)).await;
    // A lease and its second in doubt.
    ring.quiet = Duration::from_secs(4);
    let server = Server::default();
    let mut coordinators = vec![Crashing::start(&ring), Crashing::start(&ring)];
    let mut processes: Vec<_> = (0..3).map(|_| Process::start(&coordinators, &server, &mut dice)).collect();
    let end = Instant::now() + Duration::from_secs(15);
    let mut happened = Vec::new();
    while Instant::now() < end {
        tokio::time::sleep(dice.millis(100, 700)).await;
        // Nobody says goodbye, and a coordinator comes back at the port of the old one: workers know it.
        let what = match dice.below(20) {
            0..=5 => {
                let victim = dice.below(coordinators.len());
                coordinators[victim].crash_and_start_again(&ring).await;
                "coordinator"
            }
            6..=16 => {
                let victim = dice.below(processes.len());
                drop(processes.remove(victim));
                processes.push(Process::start(&coordinators, &server, &mut dice));
                "worker"
            }
            17 => {
                ring.flush().await;
                "flush"
            }
            18 => {
                ring.redis.kill().await;
                ring.redis.start_again().await;
                "Redis"
            }
            _ => {
                // The one case in which nobody is left who remembers.
                ring.redis.kill().await;
                for coordinator in &mut coordinators {
                    coordinator.crash_and_start_again(&ring).await;
                }
                ring.redis.start_again().await;
                "Redis with every coordinator"
            }
        };
        happened.push(what);
        assert!(server.most() <= 3, "LOCKSTEP_SEED={seed}: {} connections after {happened:?}", server.most());
    }
    assert_eq!(server.most(), 3, "LOCKSTEP_SEED={seed}: the limit was reached");
    drop(processes);
    until(&format!("every slot is free again (LOCKSTEP_SEED={seed})"), || async {
        let mut client = client_of(&coordinators[0].url).await;
        let status = client.status(throttle::v1::StatusRequest::default()).await;
        status.is_ok_and(|status| {
            let status = status.into_inner();
            status.limits.is_empty() && status.quiet_for_ms == 0
        })
    })
    .await;
    let throttle = worker_at_any(&[coordinators[0].url.clone()]);
    take(&throttle, &limit("profile/p", 3)).await.release().await;
}
