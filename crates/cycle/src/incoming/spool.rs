//! A message that is too large to be held in memory, or over which processes died: spooled to a file without a name, stored
//! from there in chunks, and parsed from its first part only, or not at all.

use std::io::SeekFrom;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use jiff::Timestamp;
use mail::mime;
use model::identity::{BodyDigest, header_size, identity_of_parts};
use model::message::{ParseWarning, ParsedMessage};
use model::report::report;
use sha2::{Digest as _, Sha256};
use store::Tenant;
use store::blob::{self, BlobId};
use store::incoming::{self, IncomingItem, IncomingMessage, Raw, StoredRaw, Verdict};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::intake::Read;
use crate::ending::Interrupted;

/// How much of it is parsed, from the end of its header: copies whose headers grew on different ways are cut at one place.
const PARSED: usize = 1024 * 1024;
/// How much of it is held in memory: what is parsed, and a header of usual length.
const HELD: usize = PARSED + 256 * 1024;
/// What it takes of the process's memory: what is held, and what is made of it.
pub(super) const TAKES: u64 = 4 * PARSED as u64;
/// How much is read from the spool at a time: one chunk of the store.
const CHUNK: usize = 1024 * 1024;

/// A message on its way to the disk, with no transaction open.
pub(super) struct Spool {
    file: File,
    head: BytesMut,
    whole_head: Option<BodyDigest>,
    digest: Sha256,
    size: u64,
}

/// A message on disk, with what is known of it.
pub(super) struct Spooled {
    file: File,
    head: Bytes,
    id: BlobId,
    size: u64,
    /// The digest of what follows the header, or what of the header is in the head.
    body: [u8; 32],
}

impl Spool {
    pub(super) fn new() -> Result<Self, Interrupted> {
        let file = File::from_std(tempfile::tempfile().map_err(disk)?);
        Ok(Self { file, head: BytesMut::new(), whole_head: None, digest: Sha256::new(), size: 0 })
    }

    pub(super) async fn push(&mut self, chunk: &[u8]) -> Result<(), Interrupted> {
        let room = HELD.saturating_sub(self.head.len()).min(chunk.len());
        self.head.extend_from_slice(&chunk[..room]);
        if room < chunk.len() {
            self.whole_head.get_or_insert_with(|| behind_header(&self.head)).add(&chunk[room..]);
        }
        self.digest.update(chunk);
        self.size += chunk.len() as u64;
        self.file.write_all(chunk).await.map_err(disk)
    }

    pub(super) async fn finish(mut self) -> Result<Spooled, Interrupted> {
        let body = self.whole_head.unwrap_or_else(|| behind_header(&self.head)).finish();
        self.file.flush().await.map_err(disk)?;
        self.file.seek(SeekFrom::Start(0)).await.map_err(disk)?;
        let id = BlobId(self.digest.finalize().into());
        Ok(Spooled { file: self.file, head: self.head.freeze(), id, size: self.size, body })
    }
}

impl Spooled {
    /// What is read of it to judge it: its header, and its beginning.
    pub(super) fn read(&self, item_id: &str, size: u64, received_at: Option<Timestamp>) -> Read {
        let end = header_size(&self.head).saturating_add(PARSED).min(self.head.len());
        let mut message = mime::parse(&self.head.slice(..end), &mime::Limits::default());
        message.warn(ParseWarning::TruncatedText);
        // A report that returns a large message says what it has to say before it.
        let report = report(&message);
        message.report_kind = report.as_ref().map(|report| report.kind);
        // Attachments that were cut off in the middle are no attachments; the raw message has them whole.
        message.attachments.clear();
        let (raw, header) = self.raw();
        let identity = identity_of_parts(&message, &header, self.body);
        Read { item_id: item_id.to_owned(), size, received_at, message, raw, identity, report }
    }

    /// Kept as it is, looked into by nobody. No policy is asked about it, because that would mean to read it, and what cannot
    /// be judged is not lost.
    pub(super) fn unread(&self, item_id: &str, size: u64) -> IncomingItem {
        let mut message = ParsedMessage::default();
        message.warn(ParseWarning::Unparsable);
        let (raw, header) = self.raw();
        let identity = identity_of_parts(&message, &header, self.body);
        IncomingItem {
            item_id: item_id.to_owned(),
            size,
            received_at: None,
            message_id: None,
            rule: "kept_raw".to_owned(),
            verdict: Verdict::Record(Box::new(IncomingMessage { identity, message, raw })),
        }
    }

    /// Stores the content of a message that is wanted, and that the organization does not have under another header.
    pub(super) async fn store(self, tenant: &Tenant, judged: &[IncomingItem]) -> store::Result<()> {
        for item in judged {
            let wanted = match &item.verdict {
                Verdict::Record(message) => !incoming::is_known(tenant, message).await?,
                Verdict::Report(_) => true,
                Verdict::Skip(_) | Verdict::Fail(_) => false,
            };
            if wanted {
                return blob::put_stream(tenant, self.id, self.size, chunks(self.file)).await;
            }
        }
        Ok(())
    }

    fn raw(&self) -> (Raw, Bytes) {
        let header = self.head.slice(..header_size(&self.head));
        let raw = StoredRaw { blob: self.id, size: self.size, header: header.clone(), body: self.body };
        (Raw::Stored(raw), header)
    }
}

/// The digest of a body that begins in the head.
fn behind_header(head: &[u8]) -> BodyDigest {
    let mut digest = BodyDigest::default();
    digest.add(&head[header_size(head)..]);
    digest
}

fn chunks(file: File) -> impl Stream<Item = std::io::Result<Bytes>> {
    stream::try_unfold(file, async |mut file| {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        let read = file.read_buf(&mut chunk).await?;
        Ok((read > 0).then(|| (chunk.freeze(), file)))
    })
}

/// A full or broken disk of ours is nobody else's failure.
#[expect(clippy::needless_pass_by_value, reason = "the form that map_err calls")]
fn disk(error: std::io::Error) -> Interrupted {
    Interrupted::Store(store::Error::Away(format!("a large message cannot be spooled: {error}")))
}
