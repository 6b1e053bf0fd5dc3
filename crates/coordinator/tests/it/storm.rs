//! Everything dies and comes back at random for a while: never a connection too many, and in the end nothing is left.

use std::time::Duration;

use model::clock;
use servers::Redis;
use throttle::Throttle;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::ring::{Ring, Running, Server, limit, status, take, until, worker};

/// A worker process: its death closes its connections and its stream, and says nothing.
struct Process {
    runtime: Option<Runtime>,
}

impl Process {
    fn start(coordinators: &[Running], server: &Server) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let throttle = {
            let _inside = runtime.enter();
            worker(&coordinators.iter().collect::<Vec<_>>())
        };
        for _ in 0..4 {
            runtime.spawn(cycles(throttle.clone(), server.clone()));
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
async fn cycles(throttle: Throttle, server: Server) {
    let mut wanted = limit("profile/p", 3);
    wanted.in_doubt = Duration::from_secs(1);
    loop {
        let class = model::workload::ServiceClass::Incoming;
        match crate::ring::acquire(&throttle, class, &wanted, Duration::from_secs(5)).await {
            Ok(lease) => {
                let connection = Connection::open(&server);
                let work = Duration::from_millis(5).mul_f64(1.0 + 80.0 * clock::random_fraction());
                tokio::select! {
                    () = lease.lost() => {}
                    () = tokio::time::sleep(work) => {}
                }
                drop(connection);
                if clock::random_fraction() < 0.5 {
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
    let mut ring = Ring { redis: Redis::durable().await, ..Ring::with_lease(Duration::from_secs(3)).await };
    ring.quiet = Duration::from_secs(4);
    let server = Server::default();
    let mut coordinators = vec![ring.coordinator().await, ring.coordinator().await];
    let mut processes: Vec<_> = (0..3).map(|_| Process::start(&coordinators, &server)).collect();
    let end = Instant::now() + Duration::from_secs(15);
    let mut happened = Vec::new();
    while Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(100).mul_f64(1.0 + 6.0 * clock::random_fraction())).await;
        let dice = clock::random_fraction();
        happened.push(dice);
        if dice < 0.4 {
            // All at the port of the old one: workers know where coordinators are.
            let victim = usize::from(clock::random_fraction() < 0.5);
            let address = coordinators[victim].address;
            coordinators.remove(victim).stop().await;
            coordinators.insert(victim, ring.coordinator_at(address).await);
        } else if dice < 0.8 {
            let victim = happened.len() % processes.len();
            drop(processes.remove(victim));
            processes.push(Process::start(&coordinators, &server));
        } else {
            ring.redis.kill().await;
            ring.redis.start_again().await;
        }
        assert!(server.most() <= 3, "{} connections after {happened:?}", server.most());
    }
    assert_eq!(server.most(), 3, "the limit was reached");
    drop(processes);
    until("every slot is free again", || async { status(&coordinators[0]).await.limits.is_empty() }).await;
    let throttle = worker(&coordinators.iter().collect::<Vec<_>>());
    take(&throttle, &limit("profile/p", 3)).await.release().await;
}
