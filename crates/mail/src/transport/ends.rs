//! Whether connections are closed for the server too. What is dropped in the middle of a conversation is left here; whoever
//! has to know says goodbye by a FIN and listens for the server's.
//!
//! It must never take a server's silence for a yes: a FIN or a reset may be lost on the way, and the server goes on counting.

use std::fmt;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// The ends of the connections that were opened under one lease. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Ends(Arc<Shared>);

#[derive(Default)]
struct Shared {
    left: Mutex<Vec<Left>>,
    mute: AtomicBool,
    may_speak: Mutex<Option<MaySpeak>>,
}

/// Whether something may still be said.
type MaySpeak = Arc<dyn Fn() -> bool + Send + Sync>;

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("left", &self.left).field("mute", &self.mute).finish_non_exhaustive()
    }
}

/// A connection that was dropped before the server had closed it.
#[derive(Debug)]
pub(super) enum Left {
    /// It can still be said goodbye to.
    Open(TcpStream),
    /// The system has given it up.
    Lost,
}

/// Servers from which nothing was heard in time. Dropping it resets what is left of the connections.
#[derive(Debug)]
pub struct Unheard(Vec<Left>);

/// What a server says past this after our FIN it can only say because it hears us: more than the buffers of both systems
/// hold. It hears the reset as well, each time that it says more.
const DRAINED: usize = 16 * 1024 * 1024;

impl Ends {
    pub(super) fn leave(&self, left: Left) {
        self.0.left.lock().unwrap_or_else(PoisonError::into_inner).push(left);
    }

    /// From now on nothing more is said over these connections, and no other one is opened. What the server has answered
    /// already can still be read.
    pub fn fall_silent(&self) {
        self.0.mute.store(true, Ordering::SeqCst);
    }

    /// From now on `may` is asked before each word over these connections; once it has said no, they have fallen silent.
    /// A process that stood still may say nothing more before anybody could tell it that its time is over.
    pub fn speak_while(&self, may: impl Fn() -> bool + Send + Sync + 'static) {
        *self.0.may_speak.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(may));
    }

    /// Whether these connections were given up: an error over one of them is no longer the server's.
    pub fn is_silent(&self) -> bool {
        if self.0.mute.load(Ordering::SeqCst) {
            return true;
        }
        let may = self.0.may_speak.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let over = may.is_some_and(|may| !may());
        if over {
            self.fall_silent();
        }
        over
    }

    /// Says goodbye to what was dropped since the last time and waits for the servers to close as well. An error when
    /// one did not in time: it may go on counting the connection.
    pub async fn part(&self, patience: Duration) -> Result<(), Unheard> {
        let left = mem::take(&mut *self.0.left.lock().unwrap_or_else(PoisonError::into_inner));
        let mut left = Unheard(left);
        left.part(Instant::now() + patience).await;
        if left.0.is_empty() { Ok(()) } else { Err(left) }
    }
}

impl Unheard {
    /// Listens on: true as soon as every server has closed, false when the time is over or one can never be heard.
    pub async fn closed(mut self, within: Duration) -> bool {
        self.part(Instant::now() + within).await;
        self.0.is_empty()
    }

    async fn part(&mut self, deadline: Instant) {
        // All of them have heard our FIN before the first one is waited for.
        for left in &mut self.0 {
            if let Left::Open(socket) = left {
                // What a broken connection says about that is read from it below.
                socket.shutdown().await.ok();
            }
        }
        let mut unheard = Vec::new();
        for left in self.0.drain(..) {
            match left {
                Left::Open(socket) => match timeout_at(deadline, end_of(&socket)).await {
                    Ok(true) => {}
                    Ok(false) => unheard.push(Left::Lost),
                    Err(_) => unheard.push(Left::Open(socket)),
                },
                Left::Lost => unheard.push(Left::Lost),
            }
        }
        self.0 = unheard;
    }
}

/// Reads to the server's FIN or reset; false when the system gave the connection up.
async fn end_of(socket: &TcpStream) -> bool {
    let (mut drained, mut buffer) = (0, vec![0; 8 * 1024]);
    loop {
        if socket.readable().await.is_err() {
            return false;
        }
        match socket.try_read(&mut buffer) {
            Ok(0) => return true,
            Ok(read) => drained += read,
            Err(cause) if cause.kind() == io::ErrorKind::WouldBlock => {}
            Err(cause) => return cause.kind() == io::ErrorKind::ConnectionReset,
        }
        if drained > DRAINED {
            return true;
        }
        // A server that floods leaves the timer its turn.
        tokio::task::yield_now().await;
    }
}
