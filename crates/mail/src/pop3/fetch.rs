//! Messages and their headers, one streamed or many pipelined, each bounded in size and time.
//!
//! POP3 cannot stop in the middle of a message: judge by [`Listed::size`] first. A message that turns out larger than
//! its cap is read on and thrown away up to [`Limits::drain_bytes`](super::Limits::drain_bytes), then the session is
//! given up.

use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::answer::Answer;
use super::body::Unstuff;
use super::{Listed, Session};
use crate::error::{Error, Kind, Phase};

/// The most memory that is set aside for a message on the server's word alone.
const TRUSTED_SIZE: u64 = 1024 * 1024;
/// The most commands that are sent ahead of their answers: few enough that they fit every socket's buffer.
const WIDEST_WINDOW: usize = 500;

/// What became of one message that was asked for.
#[derive(Debug)]
pub enum Fetched {
    /// All of it, exactly as the server keeps it: CRLF line ends, no stuffed dots, no final dot.
    Whole(Bytes),
    /// It is larger than the cap, whatever the listing said. Nothing of it is kept.
    TooLarge,
    /// The server would not give this message.
    Refused(Error),
}

impl Session {
    /// Fetches one message as a stream, so that memory stays flat however large it is. A refusal is an error that
    /// leaves the session usable.
    pub async fn retrieve(&mut self, number: u32, max_bytes: u64) -> Result<Body<'_>, Error> {
        self.settle().await?;
        self.begin_message();
        self.say(format!("RETR {number}\r\n").as_bytes()).await?;
        self.outstanding += 1;
        match self.begin_body().await? {
            None => Ok(Body { session: self, taken: 0, max_bytes, over: false }),
            Some(refused) => Err(refused),
        }
    }

    /// Fetches the header and the first `lines` lines of the body of one message.
    pub async fn top(&mut self, number: u32, lines: u32, max_bytes: u64) -> Result<Fetched, Error> {
        self.settle().await?;
        self.begin_message();
        self.say(format!("TOP {number} {lines}\r\n").as_bytes()).await?;
        self.outstanding += 1;
        self.collect(0, max_bytes).await
    }

    /// Fetches messages in the order given, at most `window` asked for ahead of their answers (one at a time where
    /// the server does not announce pipelining). `max_bytes` bounds each message.
    pub fn retrieve_many<'a>(
        &'a mut self,
        wanted: &'a [Listed],
        window: usize,
        max_bytes: u64,
    ) -> Fetching<'a> {
        Fetching::new(self, wanted, None, window, max_bytes)
    }

    /// As [`Session::retrieve_many`], for headers and the first `lines` lines of bodies.
    pub fn top_many<'a>(
        &'a mut self,
        wanted: &'a [Listed],
        lines: u32,
        window: usize,
        max_bytes: u64,
    ) -> Fetching<'a> {
        Fetching::new(self, wanted, Some(lines), window, max_bytes)
    }

    /// Reads and throws away what was asked for and not taken, so that the next command meets its own answer.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        self.check()?;
        if self.body.is_none() && self.outstanding == 0 {
            return Ok(());
        }
        self.begin_message();
        let mut room = self.limits.drain_bytes;
        loop {
            self.skip(&mut room).await?;
            if self.outstanding == 0 {
                return Ok(());
            }
            self.begin_body().await?;
        }
    }

    /// Grants the time of one message.
    fn begin_message(&mut self) {
        self.time_left = self.limits.message_deadline;
        let now = Instant::now();
        self.connection.begin_stream(Phase::Fetch, self.connection.phase_deadline(), now + self.time_left);
    }

    /// Reads the status line of the next answer; a refusal comes back as its error.
    async fn begin_body(&mut self) -> Result<Option<Error>, Error> {
        let answer = self.answer().await?;
        self.outstanding -= 1;
        match answer {
            Answer::Good(_) => {
                self.body = Some(Unstuff::default());
                Ok(None)
            }
            Answer::Bad(refusal) => Ok(Some(refusal.error(&self.connection, Kind::TemporarilyRefused))),
        }
    }

    /// Moves what has come of the body to `output`; false when the body has ended.
    async fn more(&mut self, output: &mut BytesMut) -> Result<bool, Error> {
        let before = output.len();
        loop {
            let Some(body) = &mut self.body else { return Ok(false) };
            let ended = body.decode(self.connection.buffer(), output);
            if ended {
                self.body = None;
            }
            if ended || output.len() > before {
                return Ok(true);
            }
            // Only waiting for the server counts, not what the caller does between two chunks.
            let began = Instant::now();
            let idle = self.connection.phase_deadline();
            self.connection.begin_stream(Phase::Fetch, idle, began + self.time_left);
            self.lost = Some(Kind::Closed);
            self.connection.fill().await.map_err(|error| self.lost_by(error))?;
            self.lost = None;
            self.time_left = self.time_left.saturating_sub(began.elapsed());
        }
    }

    /// Throws the rest of the body away, within the room that is left for that.
    async fn skip(&mut self, room: &mut u64) -> Result<(), Error> {
        let mut thrown = BytesMut::new();
        while self.more(&mut thrown).await? {
            match room.checked_sub(thrown.len() as u64) {
                Some(left) => *room = left,
                None => return self.lose(Kind::TooLarge("a message")),
            }
            thrown.clear();
        }
        Ok(())
    }

    /// Reads one whole answer that was asked for.
    async fn collect(&mut self, expected: u64, max_bytes: u64) -> Result<Fetched, Error> {
        if let Some(refused) = self.begin_body().await? {
            return Ok(Fetched::Refused(refused));
        }
        let expected = usize::try_from(expected.min(max_bytes).min(TRUSTED_SIZE)).unwrap_or_default();
        let mut message = BytesMut::with_capacity(expected);
        while self.more(&mut message).await? {
            if message.len() as u64 > max_bytes {
                drop(message);
                let mut room = self.limits.drain_bytes;
                // Whether the session survives is found out by the next command; this message's fate is known.
                let _ = self.skip(&mut room).await;
                return Ok(Fetched::TooLarge);
            }
        }
        Ok(Fetched::Whole(message.freeze()))
    }
}

/// A message being streamed. Dropping it before its end leaves the rest to be thrown away by the next command.
#[derive(Debug)]
pub struct Body<'a> {
    session: &'a mut Session,
    taken: u64,
    max_bytes: u64,
    over: bool,
}

impl Body<'_> {
    /// The next piece of the message, `None` after the last. Past the cap it is [`Kind::TooLarge`]; whether the
    /// session can go on then says [`Session::is_usable`].
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let mut piece = BytesMut::new();
        if !self.over {
            while self.session.more(&mut piece).await? {
                if !piece.is_empty() {
                    break;
                }
            }
            self.taken += piece.len() as u64;
            self.over = self.taken > self.max_bytes;
            if !self.over {
                return Ok(Some(piece.freeze()).filter(|piece| !piece.is_empty()));
            }
            let mut room = self.session.limits.drain_bytes;
            let _ = self.session.skip(&mut room).await;
        }
        Err(self.session.connection.error(Kind::TooLarge("the message")))
    }
}

/// Messages on their way, in the order they were asked for.
#[derive(Debug)]
pub struct Fetching<'a> {
    session: &'a mut Session,
    wanted: &'a [Listed],
    /// Lines of the body, for TOP; all of the message when there are none.
    lines: Option<u32>,
    window: usize,
    max_bytes: u64,
    asked: usize,
    given: usize,
}

impl<'a> Fetching<'a> {
    fn new(
        session: &'a mut Session,
        wanted: &'a [Listed],
        lines: Option<u32>,
        window: usize,
        max_bytes: u64,
    ) -> Self {
        let window = if session.capabilities.pipelining { window.clamp(1, WIDEST_WINDOW) } else { 1 };
        Self { session, wanted, lines, window, max_bytes, asked: 0, given: 0 }
    }

    /// Whether more can be had over this session.
    pub fn is_usable(&self) -> bool {
        self.session.is_usable()
    }

    /// The next message with what became of it; `None` after the last. An error ends the session.
    pub async fn next(&mut self) -> Result<Option<(&'a Listed, Fetched)>, Error> {
        let Some(item) = self.wanted.get(self.given) else { return Ok(None) };
        if self.asked == 0 {
            self.session.settle().await?;
        }
        self.session.check()?;
        self.session.begin_message();
        self.ask().await?;
        let fetched = match self.session.collect(item.size, self.max_bytes).await {
            Ok(fetched) => fetched,
            // A connection that ends may be ended by anything; silence and nonsense after a good answer may not.
            Err(error)
                if self.given > 0
                    && self.window > 1
                    && self.session.body.is_none()
                    && *error.kind() != Kind::Closed =>
            {
                return Err(error.with_sent_ahead());
            }
            Err(error) => return Err(error),
        };
        self.given += 1;
        Ok(Some((item, fetched)))
    }

    /// Asks for more once half of the window is answered, so that commands go out several to a packet.
    async fn ask(&mut self) -> Result<(), Error> {
        let ahead = self.asked - self.given;
        if ahead > self.window / 2 || self.asked == self.wanted.len() {
            return Ok(());
        }
        let until = (self.given + self.window).min(self.wanted.len());
        let mut commands = String::new();
        for item in &self.wanted[self.asked..until] {
            let number = item.number;
            let _ = match self.lines {
                Some(lines) => write!(commands, "TOP {number} {lines}\r\n"),
                None => write!(commands, "RETR {number}\r\n"),
            };
        }
        self.session.say(commands.as_bytes()).await?;
        self.session.outstanding += until - self.asked;
        self.asked = until;
        Ok(())
    }
}
