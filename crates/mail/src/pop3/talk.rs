//! Single exchanges on a connection, used before and after sign-in.

use bytes::Bytes;

use super::answer::Answer;
use super::capability::Capabilities;
use crate::error::{Error, Kind};
use crate::transport::Connection;

/// The most capability lines that are read.
const MOST_CAPABILITIES: usize = 200;

/// Reads a status line.
pub(super) async fn answer(connection: &mut Connection) -> Result<Answer, Error> {
    let line = connection.read_line().await?;
    Answer::parse(&line).ok_or_else(|| {
        connection.error(Kind::Violation("its answer begins with neither +OK nor -ERR")).with_said(&line)
    })
}

/// Says a command and reads the status line of its answer.
pub(super) async fn command(connection: &mut Connection, line: &str) -> Result<Answer, Error> {
    connection.write(format!("{line}\r\n").as_bytes()).await?;
    answer(connection).await
}

/// Reads the answer to CAPA. A server that does not know it announces nothing.
pub(super) async fn capabilities(connection: &mut Connection) -> Result<Capabilities, Error> {
    let mut capabilities = Capabilities::default();
    if let Answer::Bad(_) = answer(connection).await? {
        return Ok(capabilities);
    }
    capabilities.announced = true;
    for _ in 0..MOST_CAPABILITIES {
        match listed_line(connection).await? {
            Some(line) => capabilities.note(&line),
            None => return Ok(capabilities),
        }
    }
    Err(connection.error(Kind::Violation("its list of capabilities has no end")))
}

/// One line of a multi-line answer, unstuffed; `None` at its end.
pub(super) async fn listed_line(connection: &mut Connection) -> Result<Option<Bytes>, Error> {
    let line = connection.read_line().await?;
    Ok(match line.first() {
        Some(b'.') if line.len() == 1 => None,
        Some(b'.') => Some(line.slice(1..)),
        _ => Some(line),
    })
}
