//! Marking messages deleted. Nothing here may be called before what the messages say is committed.

use std::fmt::Write as _;

use super::Session;
use super::answer::Answer;
use crate::error::{Error, Kind, Phase};

/// How many deletions are sent ahead of their answers.
const WINDOW: usize = 100;

impl Session {
    /// Marks a message deleted; it is removed when [`Session::quit`] succeeds. A refusal leaves the session usable.
    pub async fn dele(&mut self, number: u32) -> Result<(), Error> {
        match self.dele_many(&[number]).await?.pop() {
            Some((_, refused)) => Err(refused),
            None => Ok(()),
        }
    }

    /// Marks messages deleted, many at a time where pipelining is announced. What comes back are the numbers that the
    /// server refused to delete.
    pub async fn dele_many(&mut self, numbers: &[u32]) -> Result<Vec<(u32, Error)>, Error> {
        let mut refused = Vec::new();
        let window = if self.capabilities.pipelining { WINDOW } else { 1 };
        for batch in numbers.chunks(window) {
            self.settle().await?;
            self.connection.begin(Phase::Delete);
            let mut commands = String::new();
            for number in batch {
                let _ = write!(commands, "DELE {number}\r\n");
            }
            self.say(commands.as_bytes()).await?;
            for number in batch {
                if let Answer::Bad(refusal) = self.answer().await? {
                    refused.push((*number, refusal.error(&self.connection, Kind::TemporarilyRefused)));
                }
            }
        }
        Ok(refused)
    }

    /// Takes all deletion marks back (RSET).
    pub async fn reset(&mut self) -> Result<(), Error> {
        match self.command(Phase::Delete, "RSET").await? {
            Answer::Good(_) => Ok(()),
            Answer::Bad(refusal) => Err(refusal.error(&self.connection, Kind::TemporarilyRefused)),
        }
    }
}
