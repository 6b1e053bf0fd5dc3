//! A POP3 client: RFC 1939 with CAPA and response codes (2449, 3206), STLS (2595), SASL PLAIN (5034), UTF8 (6856) and
//! pipelining where announced. It never signs in without TLS and never says QUIT on its own.
//!
//! A session is one cycle: the maildrop is locked while it lasts, and new mail shows only in the next one. What was
//! retrieved stays on the server until it is deleted with [`Session::dele`] *and* [`Session::quit`] was said; a
//! session that is dropped resets its connection and changes nothing on the server.
//!
//! ```no_run
//! # extern crate lockstep_mail as mail;
//! # use mail::pop3::{Fetched, Limits, Session};
//! # use mail::{Error, transport::Settings};
//! # use model::{endpoint::Endpoint, secret::Secret};
//! # async fn example(endpoint: Endpoint, settings: Settings, limits: Limits, password: Secret) -> Result<(), Error> {
//! let mut session = Session::sign_in(&endpoint, &settings, limits, "anna", &password).await?;
//! let listed = session.list().await?;
//! let new: Vec<_> = listed.into_iter().filter(|item| item.size < 25_000_000 /* and its uid is new */).collect();
//! let mut fetched = session.retrieve_many(&new, 32, 25_000_000);
//! while let Some((item, message)) = fetched.next().await? {
//!     match message {
//!         Fetched::Whole(raw) => println!("{} has {} bytes", item.uid, raw.len()),
//!         Fetched::TooLarge => println!("{} is larger than the server said", item.uid),
//!         Fetched::Refused(why) => println!("{} was not given: {why}", item.uid),
//!     }
//! }
//! // … commit, and only then:
//! session.quit().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Errors: an `Err` ends the session, except that of a single refused command ([`Session::is_usable`] tells). A refusal
//! of one message is [`Fetched::Refused`], which concerns that message alone. A call that is cancelled while it waits
//! ends the session too: look at the clock between messages instead.

mod answer;
mod body;
mod capability;
mod delete;
mod fetch;
mod listing;
mod sign_in;
mod talk;

use std::fmt;
use std::time::Duration;

pub use capability::{Capabilities, Expire};
pub use fetch::{Body, Fetched, Fetching};

use crate::error::{Error, Kind, Phase};
use crate::transport::{Connection, Traffic};
use answer::Answer;
use body::Unstuff;

/// What bounds a session beside the connection's own deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most messages a listing may have; a longer one is an error.
    pub max_entries: usize,
    /// How many bytes past a message's cap are read and thrown away to keep the session; past them it is given up.
    pub drain_bytes: u64,
    /// The longest that one message may take, waiting for the server alone counted.
    pub message_deadline: Duration,
    /// Whether commands are sent ahead of their answers where the server announces that they may be.
    pub pipelining: bool,
}

/// One message of the maildrop, as LIST and UIDL name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its number in this session, from 1.
    pub number: u32,
    /// Its size in bytes as the server says, which some do wrongly; 0 when it gave none that can be read.
    pub size: u64,
    /// What names it across sessions. Two messages may share one (RFC 1939 section 7), so tell them apart by order.
    pub uid: String,
}

/// How many messages the maildrop has and how large they are together, as STAT says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Maildrop {
    /// Messages.
    pub count: u64,
    /// Bytes.
    pub size: u64,
}

/// A signed-in session. Dropping it is [`Session::drop_without_quit`].
pub struct Session {
    connection: Connection,
    capabilities: Capabilities,
    limits: Limits,
    /// Answers with a body that were asked for and not yet begun to be read.
    outstanding: usize,
    /// The body being read, if one is.
    body: Option<Unstuff>,
    /// How long the server may still be waited for over the message being read.
    time_left: Duration,
    /// Whether the last listing named every message that it counted.
    listed_all: bool,
    /// Why the session ended, once the two sides may disagree about where they are.
    lost: Option<Kind>,
}

impl Session {
    /// What the server announced, after sign-in where it answers CAPA then.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Whether further commands make sense. False after a lost connection, a violation or a deadline.
    pub fn is_usable(&self) -> bool {
        self.lost.is_none()
    }

    /// Whether the last listing was complete: UIDL named every message that LIST counted. What an incomplete one lacks
    /// may still be there.
    pub fn listed_all(&self) -> bool {
        self.listed_all
    }

    /// Bytes on the wire so far.
    pub fn traffic(&self) -> Traffic {
        self.connection.traffic()
    }

    /// Counts the maildrop (STAT).
    pub async fn stat(&mut self) -> Result<Maildrop, Error> {
        match self.command(Phase::List, "STAT").await? {
            Answer::Good(text) => match listing::numbers(&text) {
                Some((count, size)) => Ok(Maildrop { count, size: size.unwrap_or(0) }),
                None => self.lose(Kind::Violation("its answer to STAT has no numbers")),
            },
            Answer::Bad(refusal) => Err(refusal.error(&self.connection, Kind::TemporarilyRefused)),
        }
    }

    /// Ends the session, which is what removes the messages marked deleted. True when the server says that all of
    /// them are gone; false when it kept some (RFC 1939 section 6).
    pub async fn quit(mut self) -> Result<bool, Error> {
        let answer = self.command(Phase::Quit, "QUIT").await?;
        self.connection.close().await;
        Ok(matches!(answer, Answer::Good(_)))
    }

    /// Ends the session without changing anything on the server: the connection is reset.
    pub fn drop_without_quit(self) {
        self.connection.abort();
    }

    /// Says one command and reads the status line of its answer.
    async fn command(&mut self, phase: Phase, line: &str) -> Result<Answer, Error> {
        self.settle().await?;
        self.connection.begin(phase);
        self.say(format!("{line}\r\n").as_bytes()).await?;
        self.answer().await
    }

    /// Writes whole commands. While anything is awaited the session counts as lost, so that a cancelled call ends it.
    async fn say(&mut self, commands: &[u8]) -> Result<(), Error> {
        self.check()?;
        self.lost = Some(Kind::Closed);
        self.connection.write(commands).await?;
        self.lost = None;
        Ok(())
    }

    async fn answer(&mut self) -> Result<Answer, Error> {
        self.lost = Some(Kind::Closed);
        let answer = talk::answer(&mut self.connection).await.map_err(|error| self.lost_by(error))?;
        self.lost = None;
        Ok(answer)
    }

    /// Refuses to go on with a session that has ended.
    fn check(&self) -> Result<(), Error> {
        self.lost.clone().map_or(Ok(()), |kind| Err(self.connection.error(kind)))
    }

    /// Ends the session with an error of its connection.
    fn lose<T>(&mut self, kind: Kind) -> Result<T, Error> {
        let error = self.connection.error(kind);
        Err(self.lost_by(error))
    }

    /// Ends the session because of this error.
    fn lost_by(&mut self, error: Error) -> Error {
        self.lost = Some(error.kind().clone());
        error
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("connection", &self.connection)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}
