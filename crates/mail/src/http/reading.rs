//! The body of an answer, in pieces or whole, bounded in bytes and time whatever its head promised.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use super::channel::{Channel, kind_of};
use crate::error::Kind;

/// The most memory that is set aside on the word of a `Content-Length`.
const TRUSTED: u64 = 256 * 1024;

/// A body on its way.
#[derive(Debug)]
pub(crate) struct Reading {
    body: Incoming,
    /// Nothing waits past this.
    until: Instant,
    /// Each single wait may last this long.
    idle: Duration,
    /// How many bytes may still come.
    room: u64,
}

impl Reading {
    /// Reads at most `most` bytes, all of them by `until`, none of them later than `idle` after the one before it.
    pub(crate) fn new(body: Incoming, until: Instant, idle: Duration, most: u64) -> Self {
        Self { body, until, idle, room: most }
    }

    /// The next piece; `None` after the last. More than there is room for is [`Kind::TooLarge`].
    pub(crate) async fn piece(&mut self, channel: &mut Channel) -> Result<Option<Bytes>, Kind> {
        loop {
            // A server that floods never lets the timer's turn come: the clock is looked at, not only waited for.
            let now = Instant::now();
            if now >= self.until {
                return Err(Kind::TimedOut);
            }
            let deadline = self.until.min(now + self.idle);
            let frame = timeout_at(deadline, channel.driven(self.body.frame()));
            match frame.await.map_err(|_| Kind::TimedOut)? {
                None => return Ok(None),
                Some(Err(error)) => return Err(kind_of(&error)),
                Some(Ok(frame)) => {
                    let Ok(piece) = frame.into_data() else { continue };
                    if piece.is_empty() {
                        continue;
                    }
                    self.room =
                        self.room.checked_sub(piece.len() as u64).ok_or(Kind::TooLarge("the answer"))?;
                    return Ok(Some(piece));
                }
            }
        }
    }

    /// All that is left.
    pub(crate) async fn whole(mut self, channel: &mut Channel) -> Result<Bytes, Kind> {
        let promised = self.body.size_hint().lower();
        if promised > self.room {
            return Err(Kind::TooLarge("the answer"));
        }
        let promised = usize::try_from(promised.min(TRUSTED)).unwrap_or_default();
        let mut whole = BytesMut::with_capacity(promised);
        while let Some(piece) = self.piece(channel).await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}
