//! A message that is too large to be held in memory, or over which processes died: spooled to a file without a name, stored
//! from there in chunks, and parsed from its first part only, or not at all.

use std::io::SeekFrom;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream};
use mail::error::Kind;
use mail::mime;
use mail::pop3::Session;
use model::identity::{BodyDigest, header_size, identity_of_parts};
use model::message::{ParseWarning, ParsedMessage};
use model::report::report;
use sha2::{Digest as _, Sha256};
use store::Tenant;
use store::blob::{self, BlobId};
use store::incoming::{self, IncomingItem, IncomingMessage, Raw, StoredRaw, Verdict};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};

use super::batch::{Read, Stopped};
use super::{Flow, New, Reading};
use crate::ending::Interrupted;

/// How much of it is parsed, from the end of its header: copies whose headers grew on different ways are cut at one place.
const PARSED: usize = 1024 * 1024;
/// How much of it is held in memory: what is parsed, and a header of usual length.
const HELD: usize = PARSED + 256 * 1024;
/// What it takes of the process's memory: what is held, and what is made of it.
pub(super) const TAKES: u64 = 4 * PARSED as u64;
/// How much is read from the spool at a time: one chunk of the store.
const CHUNK: usize = 1024 * 1024;

/// Fetches, stores, judges and commits one large message, with the decisions that were made before it.
pub(super) async fn record(
    reading: &mut Reading<'_>,
    session: &mut Session,
    new: &New,
    mut items: Vec<IncomingItem>,
) -> Result<Flow, Interrupted> {
    reading.retrieved = reading.retrieved.saturating_add(1);
    let spooled = match spool(session, new, reading.cycle.mailbox.max_message_bytes).await {
        Ok(spooled) => spooled,
        Err(Interrupted::Mail(error)) => return unread(reading, session, new, items, error).await,
        Err(interrupted) => return Err(interrupted),
    };
    let end = header_size(&spooled.head).saturating_add(PARSED).min(spooled.head.len());
    let mut message = mime::parse(&spooled.head.slice(..end), &mime::Limits::default());
    message.warn(ParseWarning::TruncatedText);
    // A report that returns a large message says what it has to say before it.
    let report = report(&message);
    message.report_kind = report.as_ref().map(|report| report.kind);
    // Attachments that were cut off in the middle are no attachments; the raw message has them whole.
    message.attachments.clear();
    let header = spooled.head.slice(..header_size(&spooled.head));
    let identity = identity_of_parts(&message, &header, spooled.body);
    let raw = Raw::Stored(StoredRaw { blob: spooled.id, size: spooled.size, header, body: spooled.body });
    let read = Read { new: new.clone(), message, raw, identity, report };
    let tenant = reading.fenced().await?;
    let judged = reading.judged(&tenant, vec![read]).await?;
    store_content(&tenant, &judged, spooled.id, spooled.size, spooled.file).await?;
    items.extend(judged);
    reading.commit(tenant, items).await?;
    Ok(Flow::GoOn)
}

/// Keeps a message over which processes died: stored as it is, looked into by nobody, with an alert. No policy is asked
/// about it, because that would mean to read it, and what cannot be judged is not lost.
pub(super) async fn keep_raw(
    reading: &mut Reading<'_>,
    session: &mut Session,
    new: &New,
) -> Result<Flow, Interrupted> {
    reading.retrieved = reading.retrieved.saturating_add(1);
    let spooled = match spool(session, new, reading.cycle.mailbox.max_message_bytes).await {
        Ok(spooled) => spooled,
        Err(Interrupted::Mail(error)) => return unread(reading, session, new, Vec::new(), error).await,
        Err(interrupted) => return Err(interrupted),
    };
    let mut message = ParsedMessage::default();
    message.warn(ParseWarning::Unparsable);
    let header = spooled.head.slice(..header_size(&spooled.head));
    let identity = identity_of_parts(&message, &header, spooled.body);
    let raw = Raw::Stored(StoredRaw { blob: spooled.id, size: spooled.size, header, body: spooled.body });
    let item = IncomingItem {
        item_id: new.item_id.clone(),
        size: new.listed.size,
        received_at: None,
        message_id: None,
        rule: "kept_raw".to_owned(),
        verdict: Verdict::Record(Box::new(IncomingMessage { identity, message, raw })),
    };
    tracing::error!(item.deaths = new.deaths, "processes died over a message: it is kept as it is");
    let tenant = reading.fenced().await?;
    store_content(&tenant, std::slice::from_ref(&item), spooled.id, spooled.size, spooled.file).await?;
    reading.commit(tenant, vec![item]).await?;
    Ok(Flow::GoOn)
}

/// Stores the content of a message that is wanted, and that the organization does not have under another header.
async fn store_content(
    tenant: &Tenant,
    judged: &[IncomingItem],
    id: BlobId,
    size: u64,
    file: File,
) -> store::Result<()> {
    for item in judged {
        let wanted = match &item.verdict {
            Verdict::Record(message) => !incoming::is_known(tenant, message).await?,
            Verdict::Report(_) => true,
            Verdict::Skip(_) | Verdict::Fail(_) => false,
        };
        if wanted {
            return blob::put_stream(tenant, id, size, chunks(file)).await;
        }
    }
    Ok(())
}

/// Commits that the message could not be fetched: its own failure, and no other message's.
async fn unread(
    reading: &mut Reading<'_>,
    session: &Session,
    new: &New,
    mut items: Vec<IncomingItem>,
    error: mail::Error,
) -> Result<Flow, Interrupted> {
    let too_large = matches!(error.kind(), Kind::TooLarge(_));
    let stopped = match (session.is_usable(), too_large) {
        (true, _) => None,
        (false, true) => Some(Stopped::Enough),
        (false, false) => Some(Stopped::Broke(error.clone())),
    };
    items.push(if too_large {
        new.too_large()
    } else if stopped.is_none() {
        new.failed(format!("the server would not give it: {error}"))
    } else {
        new.failed(format!("the connection ended over it: {error}"))
    });
    let tenant = reading.fenced().await?;
    reading.commit(tenant, items).await?;
    reading.after(stopped)
}

/// A message on disk, with what is known of it.
struct Spooled {
    file: File,
    head: Bytes,
    id: BlobId,
    size: u64,
    /// The digest of what follows the header, or what of the header is in the head.
    body: [u8; 32],
}

/// Reads the message from the server at the server's pace, with no transaction open.
async fn spool(session: &mut Session, new: &New, max_bytes: u64) -> Result<Spooled, Interrupted> {
    let mut file = File::from_std(tempfile::tempfile().map_err(disk)?);
    let (mut head, mut digest, mut size) = (BytesMut::new(), Sha256::new(), 0);
    let mut whole_head: Option<BodyDigest> = None;
    let mut body = session.retrieve(new.listed.number, max_bytes).await?;
    while let Some(chunk) = body.chunk().await? {
        let room = HELD.saturating_sub(head.len()).min(chunk.len());
        head.extend_from_slice(&chunk[..room]);
        if room < chunk.len() {
            whole_head.get_or_insert_with(|| behind_header(&head)).add(&chunk[room..]);
        }
        digest.update(&chunk);
        size += chunk.len() as u64;
        file.write_all(&chunk).await.map_err(disk)?;
    }
    let body = whole_head.unwrap_or_else(|| behind_header(&head)).finish();
    file.flush().await.map_err(disk)?;
    file.seek(SeekFrom::Start(0)).await.map_err(disk)?;
    Ok(Spooled { file, head: head.freeze(), id: BlobId(digest.finalize().into()), size, body })
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
