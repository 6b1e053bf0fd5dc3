//! How many connections there are and were. The proxy hears of a connection's end a moment after its client closed
//! it, and on a busy machine even after the client's next connection; so a maximum asks the kernel, which knows. Where
//! the proxy itself keeps the end from the server, the kernel is not asked: the server counts on, whatever the client did.

use std::{
    collections::{HashMap, HashSet},
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[derive(Default)]
pub(super) struct Counts(Mutex<Numbers>);

#[derive(Default)]
struct Numbers {
    /// The clients' ends of what is open, each under a number of its own: a port may come again at once.
    open: HashMap<u64, SocketAddr>,
    numbered: u64,
    maximum: usize,
    total: usize,
    /// Connections to the server, each under the number that it has as a client's, and the most of them.
    behind: HashMap<u64, Server>,
    most_behind: usize,
}

/// One connection as its server has it.
struct Server {
    client: SocketAddr,
    /// Whether the proxy passes nothing on, so that the server cannot have heard of the client's end.
    held: bool,
}

impl Counts {
    pub(super) fn current(&self) -> usize {
        self.lock().open.len()
    }

    pub(super) fn maximum(&self) -> usize {
        self.lock().maximum
    }

    pub(super) fn total(&self) -> usize {
        self.lock().total
    }

    pub(super) fn behind(&self) -> (usize, usize) {
        let numbers = self.lock();
        (numbers.behind.len(), numbers.most_behind)
    }

    pub(super) fn reset(&self) {
        let mut numbers = self.lock();
        numbers.total = 0;
        numbers.maximum = numbers.open.len();
        numbers.most_behind = numbers.behind.len();
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open connection, from being accepted until it is dropped.
pub(super) struct Counted {
    counts: Arc<Counts>,
    number: u64,
}

impl Counted {
    pub(super) fn new(counts: &Arc<Counts>, proxy: SocketAddr, client: SocketAddr) -> Self {
        let mut numbers = counts.lock();
        numbers.total += 1;
        numbers.numbered += 1;
        let number = numbers.numbered;
        numbers.open.insert(number, client);
        // Asked only when there could be more than ever: the kernel's table may be long.
        if numbers.open.len() > numbers.maximum {
            let established = established_to(proxy.port());
            let open = numbers.open.values().filter(|client| established.contains(&client.port())).count();
            numbers.maximum = numbers.maximum.max(open);
        }
        drop(numbers);
        Self { counts: Arc::clone(counts), number }
    }
}

impl Counted {
    /// A connection to the server, until it is dropped.
    pub(super) fn behind(&self, proxy: u16, client: SocketAddr) -> Behind {
        let mut numbers = self.counts.lock();
        numbers.behind.insert(self.number, Server { client, held: false });
        if numbers.behind.len() > numbers.most_behind {
            let established = established_to(proxy);
            let counts_on = |server: &&Server| server.held || established.contains(&server.client.port());
            let open = numbers.behind.values().filter(counts_on).count();
            numbers.most_behind = numbers.most_behind.max(open);
        }
        drop(numbers);
        Behind { counts: Arc::clone(&self.counts), number: self.number }
    }
}

/// One connection to the server, from being open until an end of either side has passed.
pub(super) struct Behind {
    counts: Arc<Counts>,
    number: u64,
}

impl Behind {
    pub(super) fn is_over(&self) {
        self.counts.lock().behind.remove(&self.number);
    }

    /// Nothing passes any more, or something does again.
    pub(super) fn hold(&self, held: bool) {
        if let Some(server) = self.counts.lock().behind.get_mut(&self.number) {
            server.held = held;
        }
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        self.is_over();
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counts.lock().open.remove(&self.number);
    }
}

/// The local ports of the sockets on this machine that have a connection to `port` and have not closed it; see
/// proc(5): each line has its number, the local and the remote address as `HEX:PORT`, and the state, 01 of which
/// is established.
pub(super) fn established_to(port: u16) -> HashSet<u16> {
    let port_of = |address: &str| u16::from_str_radix(address.rsplit(':').next()?, 16).ok();
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines().skip(1));
    lines
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, remote, state) = (fields.next()?, fields.next()?, fields.next()?);
            (state == "01" && port_of(remote)? == port).then(|| port_of(local)).flatten()
        })
        .collect()
}
