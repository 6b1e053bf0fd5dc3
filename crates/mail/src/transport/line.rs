//! Reading one line of a server's answer, of bounded length.

use bytes::{Buf as _, Bytes};

use super::Connection;
use crate::error::{Error, Kind};

/// The longest line of an answer, line end included. RFC 2449 allows 512 octets and RFC 5321 the same; servers in the
/// field go past that, but not this far.
pub const LONGEST_LINE: usize = 8 * 1024;

impl Connection {
    /// The next line without its end (CRLF, or a bare LF as some servers send). A line over [`LONGEST_LINE`] is a
    /// violation.
    pub async fn read_line(&mut self) -> Result<Bytes, Error> {
        let mut searched = 0;
        loop {
            if let Some(found) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                return self.take_line(searched + found);
            }
            searched = self.buffer.len();
            if searched > LONGEST_LINE {
                return Err(self.error(Kind::Violation("its line has no end")));
            }
            self.fill().await?;
        }
    }

    /// A whole line if one is in the buffer already.
    pub fn buffered_line(&mut self) -> Result<Option<Bytes>, Error> {
        match self.buffer.iter().position(|byte| *byte == b'\n') {
            Some(end) => self.take_line(end).map(Some),
            None if self.buffer.len() > LONGEST_LINE => {
                Err(self.error(Kind::Violation("its line has no end")))
            }
            None => Ok(None),
        }
    }

    fn take_line(&mut self, end: usize) -> Result<Bytes, Error> {
        if end > LONGEST_LINE {
            return Err(self.error(Kind::Violation("its line is too long")));
        }
        let mut line = self.buffer.split_to(end).freeze();
        self.buffer.advance(1);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Ok(line)
    }
}
