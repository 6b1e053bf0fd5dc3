//! One kept-alive connection that takes one request after the other. Whoever owns it drives it: nothing of it runs on when
//! its owner is gone, so a dropped one is closed at once, or left to its `Ends`.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use model::endpoint::Endpoint;
use tokio::time::{Instant, timeout_at};

use super::metered::{Meter, Metered};
use super::sending::Sending;
use crate::error::{Error, Kind};
use crate::transport::{Connection, Settings, Traffic};

/// The most that the head of an answer may have. Cookies of some front ends are long.
const HEAD: usize = 64 * 1024;

type Driver = Pin<Box<http1::Connection<TokioIo<Metered>, Sending>>>;

/// A connection and what drives it.
pub(crate) struct Channel {
    sender: SendRequest<Sending>,
    /// None once the connection is over.
    driver: Option<Driver>,
    meter: Arc<Meter>,
    certificate: Option<Bytes>,
    answered: bool,
}

/// Why no answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unanswered {
    /// What went wrong.
    pub(crate) kind: Kind,
    /// Some of the request may have left.
    pub(crate) left: bool,
}

impl Channel {
    /// Connects. Nothing is said yet.
    pub(crate) async fn open(endpoint: &Endpoint, settings: &Settings) -> Result<Self, Error> {
        let connection = Connection::open(endpoint, settings).await?;
        let closed = connection.error(Kind::Closed);
        let stream = connection.into_stream();
        let certificate = stream.certificate().map(Bytes::copy_from_slice);
        let (io, meter) = Metered::new(stream);
        let (sender, driver) =
            http1::Builder::new().max_buf_size(HEAD).handshake(TokioIo::new(io)).await.map_err(|_| closed)?;
        Ok(Self { sender, driver: Some(Box::pin(driver)), meter, certificate, answered: false })
    }

    /// Whether another request can be said. Looks at what has already arrived, and does not wait: a server that closed
    /// between two requests is noticed here.
    pub(crate) fn is_open(&mut self) -> bool {
        self.driven(std::future::ready(())).now_or_never();
        self.driver.is_some() && !self.sender.is_closed()
    }

    /// Whether an answer has come over it before: a server closes a connection that it has kept for long enough.
    pub(crate) fn was_used(&self) -> bool {
        self.answered
    }

    /// The certificate that the server showed, in DER: what binds a proof to this connection.
    pub(crate) fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_deref()
    }

    /// Bytes on the wire so far, TLS included.
    pub(crate) fn traffic(&self) -> Traffic {
        self.meter.traffic()
    }

    /// Says a request and waits for the head of its answer.
    pub(crate) async fn send(
        &mut self,
        request: Request<Sending>,
        until: Instant,
    ) -> Result<Response<Incoming>, Unanswered> {
        let Self { sender, driver, .. } = self;
        let exchange = driven(driver, async {
            if sender.ready().await.is_err() {
                return Err(Unanswered { kind: Kind::Closed, left: false });
            }
            sender.try_send_request(request).await.map_err(|mut failed| Unanswered {
                left: failed.take_message().is_none(),
                kind: kind_of(failed.error()),
            })
        });
        let answer =
            timeout_at(until, exchange).await.unwrap_or(Err(Unanswered { kind: Kind::TimedOut, left: true }));
        self.answered |= answer.is_ok();
        answer
    }

    /// Says a request whose body is fed meanwhile by `feed`, all of it by `until`, and waits for the head of the answer for
    /// `patience` more. A server may answer before it has heard everything. The error of the feed is the outer one.
    pub(crate) async fn send_fed<E>(
        &mut self,
        request: Request<Sending>,
        feed: impl Future<Output = Result<(), E>>,
        until: Instant,
        patience: Duration,
    ) -> Result<Result<Response<Incoming>, Unanswered>, E> {
        let Self { sender, driver, .. } = self;
        let exchange = driven(driver, async {
            if !matches!(timeout_at(until, sender.ready()).await, Ok(Ok(()))) {
                return Ok(Err(Unanswered { kind: Kind::Closed, left: false }));
            }
            let mut answer = pin!(sender.try_send_request(request));
            let early = tokio::select! {
                biased;
                answer = &mut answer => Some(answer),
                given = feed => {
                    given?;
                    None
                }
            };
            let was_said = early.is_none();
            let answer = match early {
                Some(answer) => Ok(answer),
                None => timeout_at(Instant::now() + patience, answer).await,
            };
            Ok(match answer {
                Ok(Ok(answer)) => Ok(answer),
                // What was not said to its end is no request.
                Ok(Err(failed)) => Err(Unanswered { kind: kind_of(failed.error()), left: was_said }),
                Err(_) => Err(Unanswered { kind: Kind::TimedOut, left: true }),
            })
        });
        let answer = exchange.await?;
        self.answered |= answer.is_ok();
        Ok(answer)
    }

    /// Lets `work` and the connection go on together.
    pub(super) async fn driven<T>(&mut self, work: impl Future<Output = T>) -> T {
        driven(&mut self.driver, work).await
    }
}

async fn driven<T>(driver: &mut Option<Driver>, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| {
        // A server that closes has said everything: what it said is still to be read by the work.
        if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(context).is_ready()) {
            *driver = None;
        }
        work.as_mut().poll(context)
    })
    .await
}

/// What an error of the library is here.
pub(super) fn kind_of(error: &hyper::Error) -> Kind {
    if error.is_parse_too_large() {
        Kind::TooLarge("the head of the answer")
    } else if error.is_parse() {
        Kind::Violation("its answer is not HTTP")
    } else {
        Kind::Closed
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("open", &self.driver.is_some()).finish_non_exhaustive()
    }
}
