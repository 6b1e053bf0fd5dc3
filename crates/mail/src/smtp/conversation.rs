//! Commands out, replies in. Whatever breaks the order of question and answer ends the session: a reply taken for the
//! answer to another question could turn a refusal into a delivery.

use futures_util::FutureExt as _;

use super::reply::{Class, Malformed, Reply, ReplyReader};
use super::{Capabilities, Session, Settings};
use crate::error::{Error, Kind, Phase};
use crate::transport::Connection;

/// What the server said where it had not been asked.
const UNASKED: &str = "it answered what it had not been asked";

impl Session {
    pub(super) fn new(connection: Connection, settings: &Settings) -> Self {
        Self {
            connection: Some(connection),
            busy: false,
            unfinished: false,
            dot_left: false,
            capabilities: Capabilities::default(),
            settings: settings.clone(),
        }
    }

    /// Starts an exchange: refuses on a session that is closed or owes an answer, and hears what the server may have
    /// said since, which can only be goodbye.
    pub(super) async fn begin(&mut self, phase: Phase) -> Result<(), Error> {
        if self.busy {
            self.connection = None;
        }
        self.wire(phase)?.begin(phase);
        self.busy = true;
        self.hear_nothing().await
    }

    /// Ends an exchange: every question has its answer.
    pub(super) fn end(&mut self) {
        self.busy = false;
    }

    /// Fails when the server has closed or said anything on its own. Does not wait.
    pub(super) async fn hear_nothing(&mut self) -> Result<(), Error> {
        let wire = self.open_wire()?;
        if wire.buffer().is_empty() {
            match wire.fill().now_or_never() {
                None => return Ok(()),
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(self.lost(error)),
            }
        }
        let reply = self.reply().await?;
        self.gone(&reply)?;
        let error = self.open_wire()?.error(Kind::Violation(UNASKED)).with_said(reply.to_string());
        Err(self.lost(error))
    }

    /// Sends one command and takes its reply. A 421 is an error: the server is leaving.
    pub(super) async fn command(&mut self, line: &str) -> Result<Reply, Error> {
        self.say(format!("{line}\r\n").as_bytes()).await?;
        let reply = self.reply().await?;
        self.gone(&reply)?;
        Ok(reply)
    }

    /// Writes. When the server has hung up, what it said before explains why.
    pub(super) async fn say(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let wire = self.open_wire()?;
        let Err(mut error) = wire.write(bytes).await else { return Ok(()) };
        if let Some(Ok(())) = wire.fill().now_or_never()
            && let Ok(Some(last)) = wire.buffered_line()
        {
            error =
                if last.starts_with(b"421") { wire.error(Kind::Unavailable) } else { error }.with_said(last);
        }
        Err(self.lost(error))
    }

    /// The next reply, whatever it says. An error closes the session.
    pub(super) async fn reply(&mut self) -> Result<Reply, Error> {
        Ok(self.reply_and_lines().await?.0)
    }

    pub(super) async fn reply_and_lines(&mut self) -> Result<(Reply, Vec<String>), Error> {
        let result = read(self.open_wire()?, ReplyReader::default()).await;
        result.map_err(|error| self.lost(error))
    }

    /// 421 (RFC 5321 section 3.8): an error of the server, whatever was asked.
    pub(super) fn gone(&mut self, reply: &Reply) -> Result<(), Error> {
        if !reply.closes() {
            return Ok(());
        }
        let error = self.open_wire()?.error(Kind::Unavailable).with_said(reply.to_string());
        Err(self.lost(error))
    }

    /// The error that a reply which is not the one hoped for amounts to, where the reply is about the server and not
    /// about a message. Closes the session.
    pub(super) fn refused(&mut self, reply: &Reply) -> Error {
        let kind = match reply.class() {
            _ if reply.closes() => Kind::Unavailable,
            Class::Temporary => Kind::TemporarilyRefused,
            Class::Permanent => Kind::PermanentlyRefused,
            Class::Done | Class::GoOn => Kind::Violation("its answer does not fit the question"),
        };
        self.failed(kind, reply)
    }

    /// An error of this kind with the server's words. Closes the session.
    pub(super) fn failed(&mut self, kind: Kind, reply: &Reply) -> Error {
        match self.open_wire() {
            Ok(wire) => {
                let error = wire.error(kind).with_said(reply.to_string());
                self.lost(error)
            }
            Err(closed) => closed,
        }
    }

    pub(super) fn done(&mut self, reply: &Reply) -> Result<(), Error> {
        if reply.class() == Class::Done { Ok(()) } else { Err(self.refused(reply)) }
    }

    /// Closes the session, by a reset, and passes the error on.
    pub(super) fn lost(&mut self, error: Error) -> Error {
        self.connection = None;
        error
    }

    pub(super) fn wire(&mut self, phase: Phase) -> Result<&mut Connection, Error> {
        self.connection.as_mut().ok_or_else(|| Error::new(phase, Kind::Closed))
    }

    pub(super) fn open_wire(&mut self) -> Result<&mut Connection, Error> {
        self.wire(Phase::Envelope)
    }
}

/// Reads lines until a reply is complete.
pub(super) async fn read(
    wire: &mut Connection,
    mut reader: ReplyReader,
) -> Result<(Reply, Vec<String>), Error> {
    loop {
        let line = wire.read_line().await?;
        match reader.push(&line) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(why) => return Err(malformed(wire, why, &line)),
        }
    }
}

pub(super) fn malformed(wire: &Connection, why: Malformed, line: &[u8]) -> Error {
    wire.error(Kind::Violation(why.as_str())).with_said(line)
}
