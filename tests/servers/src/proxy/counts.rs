//! How many connections there are and were. The proxy hears of a connection's end a moment after its client closed
//! it, and on a busy machine even after the client's next connection; so the maximum asks the kernel, which knows.

use std::{
    collections::{HashMap, HashSet},
    fs,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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
    /// Connections to the server, and the most of them.
    behind: usize,
    most_behind: usize,
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
        (numbers.behind, numbers.most_behind)
    }

    pub(super) fn reset(&self) {
        let mut numbers = self.lock();
        numbers.total = 0;
        numbers.maximum = numbers.open.len();
        numbers.most_behind = numbers.behind;
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
    pub(super) fn behind(&self) -> Behind {
        let mut numbers = self.counts.lock();
        numbers.behind += 1;
        numbers.most_behind = numbers.most_behind.max(numbers.behind);
        drop(numbers);
        Behind { counts: Arc::clone(&self.counts), over: AtomicBool::new(false) }
    }
}

/// One connection to the server, from being open until either side of it ended.
pub(super) struct Behind {
    counts: Arc<Counts>,
    over: AtomicBool,
}

impl Behind {
    pub(super) fn is_over(&self) {
        if !self.over.swap(true, Ordering::SeqCst) {
            self.counts.lock().behind -= 1;
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
fn established_to(port: u16) -> HashSet<u16> {
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
