//! A message as it leaves: built when its size is known, with large files read chunk by chunk while it is given to the
//! server. It never holds more of them than a chunk, and no transaction while the server takes its time.

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use mail::mime::{self, BuildError, Cleanness, Content, Encoder, Piece};
use model::id::OrganizationId;
use model::message::OutgoingMessage;
use store::blob;
use store::outgoing::{Attempt, StoredFile};
use store::{Error, Store};

use crate::servers::MEGABYTE;

/// Text of at most so many bytes is made a message on the thread that sends it.
const BUILT_AT_ONCE: usize = 32 * 1024;

/// A message that can be sent, and what the server must be able to do.
pub(super) struct Letter {
    pub(super) needs_eight_bit: bool,
    pub(super) needs_utf8: bool,
    /// As SIZE asks for it.
    pub(super) size: u64,
    pieces: Vec<Piece>,
}

/// Why there is no letter.
pub(super) enum Unwritten {
    /// The message is at fault, in words.
    Message(String),
    /// Its files could not be read.
    Store(Error),
}

/// The files of a message that are too large to be in it.
#[derive(Clone)]
pub(super) struct Files {
    store: Store,
    organization: OrganizationId,
    stored: Vec<StoredFile>,
}

impl Letter {
    /// Builds the message of a try, of at most `limit` bytes.
    pub(super) async fn write(attempt: &Attempt, files: &Files, limit: u64) -> Result<Self, Unwritten> {
        let message = &attempt.message;
        let contents = Box::pin(files.contents(message)).await.map_err(Unwritten::Store)?;
        let texts = [&message.text, &message.html];
        let text: usize = texts.into_iter().flatten().map(String::len).sum();
        // A message of a few pages is built sooner than another thread wakes up.
        let built = if message.attachments.is_empty() && text <= BUILT_AT_ONCE {
            Self::build(message, &contents)
        } else {
            let message = message.clone();
            tokio::task::spawn_blocking(move || Self::build(&message, &contents))
                .await
                .map_err(|_| Unwritten::Message("building it ended its thread".to_owned()))?
        };
        let letter = built.map_err(|error| Unwritten::Message(error.to_string()))?;
        if letter.size > limit {
            return Err(Unwritten::Message(format!(
                "with its attachments it has {} MB, and the limit (`max_message_mb`) is {} MB",
                letter.size.div_ceil(MEGABYTE),
                limit / MEGABYTE
            )));
        }
        Ok(letter)
    }

    fn build(message: &OutgoingMessage, contents: &[Content]) -> Result<Self, BuildError> {
        if contents.is_empty() {
            let built = mime::build(message)?;
            return Ok(Self {
                needs_eight_bit: built.needs_eight_bit,
                needs_utf8: built.needs_utf8,
                size: built.size as u64,
                pieces: vec![Piece::Bytes(built.bytes)],
            });
        }
        let frame = mime::frame(message, contents)?;
        Ok(Self {
            needs_eight_bit: frame.needs_eight_bit,
            needs_utf8: frame.needs_utf8,
            size: frame.size,
            pieces: frame.pieces,
        })
    }

    /// The message in pieces, with its files in their places. It has the announced size, or ends in an error.
    pub(super) fn leave<E: From<Error>>(self, files: &Files) -> impl Stream<Item = Result<Bytes, E>> {
        let leaving = Leaving { pieces: self.pieces.into_iter(), files: files.clone(), file: None };
        stream::try_unfold(leaving, async |mut leaving| {
            // Boxed, as most messages have no such file, and none should carry what reading one takes.
            let piece = Box::pin(leaving.next()).await?;
            Ok(piece.map(|piece| (piece, leaving)))
        })
    }
}

impl Files {
    pub(super) fn of(store: &Store, organization: OrganizationId, attempt: &Attempt) -> Self {
        Self { store: store.clone(), organization, stored: attempt.stored.clone() }
    }

    /// What must be known of them ahead; nothing when the message holds them itself.
    async fn contents(&self, message: &OutgoingMessage) -> Result<Vec<Content>, Error> {
        let mut contents = Vec::with_capacity(self.stored.len());
        for (file, attachment) in self.stored.iter().zip(&message.attachments) {
            let clean = mime::may_be_as_it_is(&attachment.content_type) && self.is_clean(file).await?;
            contents.push(Content { size: file.size, clean });
        }
        Ok(contents)
    }

    async fn is_clean(&self, file: &StoredFile) -> Result<bool, Error> {
        let (mut cleanness, mut reading) = (Cleanness::default(), Reading::of(*file));
        while let Some(chunk) = reading.chunk(self).await? {
            cleanness.look(&chunk);
            if !cleanness.is_clean() {
                break;
            }
        }
        Ok(cleanness.is_clean())
    }
}

/// A file that is read.
struct Reading {
    file: StoredFile,
    /// The chunk that is next.
    number: i32,
    came: u64,
}

impl Reading {
    fn of(file: StoredFile) -> Self {
        Self { file, number: 0, came: 0 }
    }

    /// The next chunk, in a transaction of its own; `None` when as much came as was announced.
    async fn chunk(&mut self, files: &Files) -> Result<Option<Bytes>, Error> {
        if self.came == self.file.size {
            return Ok(None);
        }
        let (blob, number) = (self.file.blob, self.number);
        let read = async |tenant: &store::Tenant| blob::chunk(tenant, blob, number).await;
        let chunk = files.store.in_tenant(files.organization, read).await?;
        let chunk = chunk
            .filter(|chunk| !chunk.is_empty() && self.came + chunk.len() as u64 <= self.file.size)
            .ok_or_else(|| {
                Error::Broken("an attachment whose content is not stored as a whole".to_owned())
            })?;
        self.number += 1;
        self.came += chunk.len() as u64;
        Ok(Some(chunk))
    }
}

/// A letter on its way out.
struct Leaving {
    pieces: std::vec::IntoIter<Piece>,
    files: Files,
    file: Option<(Reading, Encoder)>,
}

impl Leaving {
    async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some((reading, encoder)) = &mut self.file {
                let mut out = Vec::new();
                if let Some(chunk) = reading.chunk(&self.files).await? {
                    encoder.push(&chunk, &mut out);
                } else {
                    encoder.end(&mut out);
                    self.file = None;
                }
                return Ok(Some(out.into()));
            }
            match self.pieces.next() {
                Some(Piece::File { number, encoding }) => {
                    let file = self.files.stored.get(number).copied();
                    let file =
                        file.ok_or_else(|| Error::Broken("a file of a message that has none".to_owned()))?;
                    self.file = Some((Reading::of(file), encoding.encoder()));
                }
                Some(Piece::Bytes(bytes)) => return Ok(Some(bytes)),
                None => return Ok(None),
            }
        }
    }
}
