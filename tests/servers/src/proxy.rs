//! A TCP proxy that counts connections and misbehaves on request. It never looks into what it forwards, so TLS
//! passes through unchanged. It runs on a thread of its own and so outlives the runtime of the test that made it.

mod counts;
mod forward;

use std::{
    collections::HashSet,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::yield_now,
    time::{Instant, sleep},
};

use crate::{
    Error,
    apart::{self, Apart},
    or_panic, ports,
};
use counts::{Counted, Counts};

/// A running proxy; dropping it cuts every connection and closes its port.
pub struct CountingProxy {
    address: SocketAddr,
    counts: Arc<Counts>,
    controls: watch::Sender<Controls>,
    _apart: Apart,
}

/// How the proxy behaves from now on.
#[derive(Clone, Default)]
struct Controls {
    refuse: bool,
    blackhole: bool,
    /// Raised once for each cut of all connections.
    cuts: u64,
    /// Raised once each time that all connections fall silent.
    severed: u64,
    /// The clients' ports of what fell silent then: those that had not ended their connection yet.
    silenced: Arc<HashSet<u16>>,
    /// After how long a server closes a connection that fell silent.
    idle: Duration,
    client_bytes: Option<u64>,
    server_bytes: Option<u64>,
    delay: Duration,
}

impl CountingProxy {
    /// Starts a proxy on a free port of 127.0.0.1 in front of `target`, given as `host:port`.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(target: impl ToString) -> Self {
        or_panic("cannot start a proxy", Self::try_start(target.to_string()).await)
    }

    pub(crate) async fn try_start(target: String) -> Result<Self, Error> {
        let [port] = ports::free()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener = TcpListener::bind(address).await.map_err(Error::io("cannot start a proxy"))?;
        let (controls, watched) = watch::channel(Controls::default());
        let counts = Arc::new(Counts::default());
        let counted = Arc::clone(&counts);
        let apart =
            apart::serve(listener, move |listener| serve(listener, address, target, counted, watched))?;
        Ok(Self { address, counts, controls, _apart: apart })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port on 127.0.0.1 where clients connect.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections are open now: from being accepted until one side ended.
    pub fn current(&self) -> usize {
        self.counts.current()
    }

    /// The most connections that clients ever had open at the same time, since the start or the last
    /// [reset](Self::reset). One that its client had closed before it opened the next does not count.
    pub fn maximum(&self) -> usize {
        self.counts.maximum()
    }

    /// How many connections were accepted since the start or the last [reset](Self::reset).
    pub fn total(&self) -> usize {
        self.counts.total()
    }

    /// Forgets the total and the maximum; connections that are open now go on counting.
    pub fn reset(&self) {
        self.counts.reset();
    }

    /// Refuses new connections as a machine does on which nobody listens, or accepts them again.
    pub fn refuse(&self, refuse: bool) {
        self.controls.send_modify(|controls| controls.refuse = refuse);
    }

    /// Accepts connections and takes bytes but passes nothing on, ends neither, or passes on what was held and goes on.
    pub fn blackhole(&self, blackhole: bool) {
        self.controls.send_modify(|controls| controls.blackhole = blackhole);
    }

    /// Cuts every connection that is open now.
    pub fn cut_all(&self) {
        self.controls.send_modify(|controls| controls.cuts += 1);
    }

    /// Every connection that is open now falls silent for good: nothing passes any more, neither bytes nor ends. Its server
    /// goes on counting it, and closes it after `idle`, as servers do whose clients say nothing.
    pub fn sever(&self, idle: Duration) {
        let silenced = Arc::new(counts::established_to(self.port()));
        self.controls.send_modify(|controls| {
            controls.severed += 1;
            controls.silenced = silenced;
            controls.idle = idle;
        });
    }

    /// Waits until the server has this many connections, and says whether it came to that: not for longer than a busy
    /// machine takes to make them.
    pub async fn connected(&self, wanted: usize) -> bool {
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.behind() < wanted && Instant::now() < deadline {
            sleep(Duration::from_millis(2)).await;
        }
        self.behind() >= wanted
    }

    /// How many connections the server has open now, as it counts: those that fell silent too, and those whose ends a
    /// blackhole holds.
    pub fn behind(&self) -> usize {
        self.counts.behind().0
    }

    /// The most connections that the server ever had open at the same time, since the start or the last
    /// [reset](Self::reset).
    pub fn most_behind(&self) -> usize {
        self.counts.behind().1
    }

    /// Each connection is cut once its client has sent this many bytes, all of which still arrive.
    pub fn cut_after_client_bytes(&self, bytes: Option<u64>) {
        self.controls.send_modify(|controls| controls.client_bytes = bytes);
    }

    /// Each connection is cut once its server has sent this many bytes, all of which still arrive.
    pub fn cut_after_server_bytes(&self, bytes: Option<u64>) {
        self.controls.send_modify(|controls| controls.server_bytes = bytes);
    }

    /// Holds each piece of what the server says for this long.
    pub fn delay(&self, delay: Duration) {
        self.controls.send_modify(|controls| controls.delay = delay);
    }
}

/// Accepts until the proxy's owner is gone.
async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    target: String,
    counts: Arc<Counts>,
    mut controls: watch::Receiver<Controls>,
) {
    let mut listener = Some(listener);
    loop {
        let accepted = tokio::select! {
            changed = controls.changed() => match changed {
                Ok(()) => None,
                Err(_) => return,
            },
            accepted = accept(listener.as_ref()) => accepted,
        };
        if let Some((client, peer)) = accepted {
            // Usually the end of an earlier connection is seen by now, or when the runtime looks at its sockets.
            for _ in 0..8 {
                if counts.current() < counts.maximum() {
                    break;
                }
                yield_now().await;
            }
            let counted = Counted::new(&counts, address, peer);
            tokio::spawn(forward::forward(
                client,
                (address, peer),
                target.clone(),
                counted,
                controls.clone(),
            ));
        }
        let refuse = controls.borrow().refuse;
        if refuse {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
            if listener.is_none() {
                sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Option<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await.ok(),
        None => std::future::pending().await,
    }
}
