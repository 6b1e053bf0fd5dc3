//! A stand-in before a real mail server that ends TLS, hears every request, and fails on request: at the door, at any
//! single request, or in every byte. It answers nothing by itself; what it passes on it passes on unchanged.
//!
//! The real server behind it is reached over TLS from the first byte, so its clients must use that as well.

mod conversation;
mod http;
mod identity;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};

use crate::{
    CountingProxy, Error,
    apart::{self, Apart},
    or_panic, ports,
};
use identity::{Identity, Shown};

/// What a gate does to the conversations that begin from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// Shows a certificate that an authority issued which nobody knows.
    UnknownAuthority,
    /// Shows a certificate for another host name.
    WrongName,
    /// Shows a certificate that expired years ago.
    Expired,
    /// Speaks no TLS at all: says a line in plain text.
    PlainText,
    /// Makes the connection private and then says nothing, ever.
    Silent,
    /// Ends the connection instead of passing this request on; requests are counted from 1, 0 is before the greeting.
    CutBefore(u32),
    /// Passes this request on, and ends the connection when the server has answered, without the answer.
    CutAfter(u32),
    /// Keeps this request back until [`Gate::go_on`], and says by [`Gate::reached`] that it does.
    Hold(u32),
    /// Says what no protocol knows instead of the server's answer to this request, 0 is the greeting.
    Garbage(u32),
    /// Passes on what the server says one byte at a time, each after such a pause.
    Trickle(Duration),
}

/// What one client said over one connection, as the server heard it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// The request lines without their line ends, in order; secrets are left out.
    pub requests: Vec<String>,
    /// The messages that were handed over, as they travelled: dot-stuffed, without the final dot.
    pub messages: Vec<Vec<u8>>,
}

/// A running gate. Dropping it ends every connection and closes its port.
pub struct Gate {
    front: CountingProxy,
    authority: String,
    faults: watch::Sender<Fault>,
    heard: Heard,
    held: Arc<Held>,
    _apart: Apart,
}

/// What a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speech {
    /// A line; what follows DATA is a message.
    Lines,
    /// A head and its body.
    Http,
}

/// Where a held request and the test that holds it meet.
#[derive(Default)]
pub(super) struct Held {
    reached: Notify,
    go_on: Notify,
    /// The fault that was set last has struck.
    struck: AtomicBool,
}

/// The conversations so far, the oldest first.
pub(super) type Heard = Arc<Mutex<Vec<Conversation>>>;

impl Gate {
    /// Stands before the server that speaks TLS from the first byte at this port of 127.0.0.1, with a certificate for
    /// `localhost` that the authority `ca_pem` issued.
    ///
    /// # Panics
    /// When no port or no certificate can be had.
    pub async fn start(port: u16, ca_pem: &str) -> Self {
        or_panic("cannot start a gate", Self::try_start(port, ca_pem, Speech::Lines).await)
    }

    /// The same before a server that speaks HTTP/1.1. It has no greeting: 0 is before the first request there.
    ///
    /// # Panics
    /// When no port or no certificate can be had.
    pub async fn start_http(port: u16, ca_pem: &str) -> Self {
        or_panic("cannot start a gate", Self::try_start(port, ca_pem, Speech::Http).await)
    }

    async fn try_start(port: u16, ca_pem: &str, speech: Speech) -> Result<Self, Error> {
        let identity = Arc::new(Identity::make(ca_pem)?);
        let authority = identity.authority.clone();
        let [own] = ports::free()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, own));
        let listener = TcpListener::bind(address).await.map_err(Error::io("cannot start a gate"))?;
        let (faults, watched) = watch::channel(Fault::None);
        let heard = Heard::default();
        let hearing = Arc::clone(&heard);
        let held = Arc::new(Held::default());
        let holding = Arc::clone(&held);
        let apart = apart::serve(listener, async move |listener| {
            while let Ok((client, _)) = listener.accept().await {
                let fault = *watched.borrow();
                let (identity, hearing) = (Arc::clone(&identity), Arc::clone(&hearing));
                // A conversation that breaks is what a gate is for.
                tokio::spawn(conversation::lead(
                    client,
                    port,
                    (speech, fault),
                    identity,
                    hearing,
                    Arc::clone(&holding),
                ));
            }
        })?;
        let front = CountingProxy::try_start(address.to_string()).await?;
        Ok(Self { front, authority, faults, heard, held, _apart: apart })
    }

    /// Where clients connect, with TLS from the first byte.
    pub fn port(&self) -> u16 {
        self.front.port()
    }

    /// The authority that vouches for the gate's certificate, as PEM.
    pub fn ca_pem(&self) -> &str {
        &self.authority
    }

    /// What counts the connections, and can refuse, cut and swallow them.
    pub fn front(&self) -> &CountingProxy {
        &self.front
    }

    /// Does this to every conversation that begins from now on.
    pub fn set(&self, fault: Fault) {
        self.held.struck.store(false, Ordering::SeqCst);
        self.faults.send_replace(fault);
    }

    /// Waits until a request is kept back.
    pub async fn reached(&self) {
        self.held.reached.notified().await;
    }

    /// Passes the request on that is kept back, and what follows it.
    pub fn go_on(&self) {
        self.held.go_on.notify_one();
    }

    /// Whether a conversation came to the request at which the fault that was set last strikes.
    pub fn struck(&self) -> bool {
        self.held.struck.load(Ordering::SeqCst)
    }

    /// What was heard so far, one conversation after the other.
    pub fn heard(&self) -> Vec<Conversation> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets what was heard so far.
    pub fn forget(&self) {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The server's end of a connection.
pub(super) async fn connect(port: u16) -> std::io::Result<TcpStream> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    server.set_nodelay(true)?;
    Ok(server)
}

/// Which certificate a fault shows.
fn shown(fault: Fault) -> Shown {
    match fault {
        Fault::UnknownAuthority => Shown::OfNobody,
        Fault::WrongName => Shown::ForAnother,
        Fault::Expired => Shown::Expired,
        _ => Shown::Good,
    }
}
