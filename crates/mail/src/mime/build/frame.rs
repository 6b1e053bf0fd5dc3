//! A message around its files: everything that leaves but their contents, which are put into their places on the way out.
//! It never holds a content, so that a message may be larger than what may be held of it.

use bytes::Bytes;
use mail_builder::Writer;
use model::address::EmailAddress;
use model::clock;
use model::message::OutgoingMessage;

use super::check::{BuildError, check};
use super::file::{Content, Encoding};
use super::parts;
use super::{headers, recipients};

/// A message whose files are yet to be put in, and what the server must be able to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The message in its order. With the files in their places it is what [`super::BuiltMessage`] holds.
    pub pieces: Vec<Piece>,
    /// Needs 8BITMIME (RFC 6152). Files never do.
    pub needs_eight_bit: bool,
    /// Needs SMTPUTF8 (RFC 6531): an address of the envelope or the header is not ASCII.
    pub needs_utf8: bool,
    /// The size in bytes with the files in their places, as SIZE asks for it (RFC 1870).
    pub size: u64,
    /// To, Cc and Bcc in order, each address once by its normal form.
    pub recipients: Vec<EmailAddress>,
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it leaves. Not dot-stuffed.
    Bytes(Bytes),
    /// The place of a file.
    File {
        /// Which of the message's attachments, counted from 0.
        number: usize,
        /// How its content travels.
        encoding: Encoding,
    },
}

/// Builds a message around its files, of which `contents` says what must be known ahead, in their order; their `bytes` are
/// not looked at.
pub fn frame(message: &OutgoingMessage, contents: &[Content]) -> Result<Frame, BuildError> {
    check(message)?;
    let recipients = recipients(message);
    // Nobody who writes a text knows it, so nothing but a file's place looks like this.
    let secret: [u8; 16] = clock::random_bytes();
    let marks = (0..message.attachments.len()).map(|number| [&secret[..], &number.to_le_bytes()].concat());
    let marks: Vec<_> = marks.collect();
    let (body, encodings) = parts::body(message, contents, &marks);
    let mut places = Places { marks: &marks, encodings: &encodings, pieces: Vec::new(), text: Vec::new() };
    headers(message).body(body).serialize(&mut places);
    let pieces = places.finish();
    let authors = [Some(&message.from), message.sender.as_ref()].into_iter().flatten();
    let named = authors.chain(&message.reply_to).map(|named| &named.address);
    let needs_utf8 = named.chain(&recipients).any(EmailAddress::needs_utf8);
    let needs_eight_bit =
        pieces.iter().any(|piece| matches!(piece, Piece::Bytes(bytes) if !bytes.is_ascii()));
    let sizes = pieces.iter().map(|piece| match piece {
        Piece::Bytes(bytes) => bytes.len() as u64,
        Piece::File { number, encoding } => {
            encoding.size(contents.get(*number).copied().unwrap_or_default().size)
        }
    });
    let size = sizes.sum();
    Ok(Frame { pieces, needs_eight_bit, needs_utf8, size, recipients })
}

/// Takes a message as it is written, and finds the files' places by the marks that stand in for them.
struct Places<'a> {
    marks: &'a [Vec<u8>],
    encodings: &'a [Encoding],
    pieces: Vec<Piece>,
    text: Vec<u8>,
}

impl Places<'_> {
    fn end_text(&mut self) {
        if !self.text.is_empty() {
            self.pieces.push(Piece::Bytes(std::mem::take(&mut self.text).into()));
        }
    }

    fn finish(mut self) -> Vec<Piece> {
        self.end_text();
        self.pieces
    }
}

impl Writer for Places<'_> {
    /// A body that is not encoded by the builder comes as a whole, as a mark does.
    fn write(&mut self, bytes: &[u8]) {
        let place = self.marks.iter().position(|mark| mark == bytes);
        match place.and_then(|number| Some((number, *self.encodings.get(number)?))) {
            Some((number, encoding)) => {
                self.end_text();
                self.pieces.push(Piece::File { number, encoding });
            }
            None => self.text.extend_from_slice(bytes),
        }
    }

    fn write_with(&mut self, len: usize, fill: impl FnOnce(&mut [u8]) -> usize) {
        self.text.write_with(len, fill);
    }

    fn append_with<T>(&mut self, len: usize, append: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        self.text.append_with(len, append)
    }
}
