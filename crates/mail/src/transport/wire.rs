//! The socket below TLS: it counts bytes, remembers how the server began to speak, and resets when dropped, or leaves its
//! end to whoever waits for the server's.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Traffic;
use super::ends::{Ends, Left};

/// How much of the server's first words is remembered, to tell what it speaks.
const OPENING: usize = 256;

/// A TCP connection that resets when dropped, unless somebody is there to part from it in order.
pub(crate) struct Wire {
    /// Always there until it is dropped.
    socket: Option<TcpStream>,
    traffic: Traffic,
    opening: Vec<u8>,
    ends: Option<Ends>,
    /// How it ended, once it has.
    ended: Option<End>,
}

/// What is known of a connection that is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The server said that it closes, or closed: by an answer, a FIN or a RST.
    Heard,
    /// The system gave it up, and nobody knows what the server thinks.
    Silent,
}

impl Wire {
    /// Takes a connected socket: no delay for small writes, and a reset instead of a FIN when dropped.
    pub(super) fn new(socket: TcpStream, ends: Option<Ends>) -> io::Result<Self> {
        let (traffic, opening) = (Traffic::default(), Vec::new());
        let wire = Self { socket: Some(socket), traffic, opening, ends, ended: None };
        if let Some(socket) = &wire.socket {
            socket.set_nodelay(true)?;
            socket.set_zero_linger()?;
        }
        Ok(wire)
    }

    /// The server said that it closes: nothing more has to be heard of it.
    pub(super) fn said_goodbye(&mut self) {
        self.ended = Some(End::Heard);
    }

    fn socket(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.socket.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Keeps the first thing that is known of its end.
    fn note<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(cause) = &result {
            let reset = matches!(
                cause.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionAborted
            );
            self.ended.get_or_insert(if reset { End::Heard } else { End::Silent });
        }
        result
    }

    /// From here on a drop closes with a FIN, after what was written.
    #[expect(
        deprecated,
        reason = "lingering is switched off here, which cannot block; there is no other way to ask"
    )]
    pub(super) fn linger(&self) {
        if let Some(socket) = &self.socket {
            let _ = socket.set_linger(None);
        }
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// The first bytes the server sent since the last [`Wire::forget_opening`].
    pub(super) fn opening(&self) -> &[u8] {
        &self.opening
    }

    pub(super) fn forget_opening(&mut self) {
        self.opening.clear();
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = ready!(this.socket()?.poll_read(cx, buf));
        this.note(read)?;
        let new = &buf.filled()[before..];
        if new.is_empty() && buf.remaining() > 0 {
            this.ended.get_or_insert(End::Heard);
        }
        this.traffic.received += new.len() as u64;
        let room = OPENING - this.opening.len().min(OPENING);
        this.opening.extend_from_slice(&new[..new.len().min(room)]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.ends.as_ref().is_some_and(Ends::is_silent) {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        }
        let written = ready!(this.socket()?.poll_write(cx, bytes));
        let written = this.note(written)?;
        this.traffic.sent += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket()?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().socket()?.poll_shutdown(cx)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let (Some(ends), Some(socket)) = (&self.ends, self.socket.take()) else { return };
        match self.ended {
            Some(End::Heard) => {}
            Some(End::Silent) => ends.leave(Left::Lost),
            None => ends.leave(Left::Open(socket)),
        }
    }
}

/// A connection before or inside TLS.
pub(crate) enum Stream {
    Plain(Wire),
    Tls(Box<TlsStream<Wire>>),
}

impl Stream {
    /// Bytes received and sent so far, TLS included.
    pub(crate) fn traffic(&self) -> Traffic {
        self.wire().traffic()
    }

    /// The certificate that the server showed, in DER.
    pub(crate) fn certificate(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.peer_certificates()?.first().map(AsRef::as_ref),
        }
    }

    pub(super) fn wire(&self) -> &Wire {
        match self {
            Self::Plain(wire) => wire,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    pub(super) fn wire_mut(&mut self) -> &mut Wire {
        match self {
            Self::Plain(wire) => wire,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(wire) => Pin::new(wire).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
