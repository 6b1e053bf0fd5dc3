//! Recording what came in: records, receipts, item decisions and the cursor in one transaction. Nothing may be marked,
//! moved or deleted on a mail server before this is committed, and recording a batch twice leaves the same rows.

mod copies;
mod emails;
mod receipts;
mod replies;
mod reports;
mod text;

pub use copies::is_known;
pub use replies::sent_by_us;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use model::email::Decision;
use model::id::{CopyId, EmailId, MailboxId};
use model::identity::{BodyDigest, Identity, header_size};
use model::message::ParsedMessage;
use model::workload::Workload;
use serde_json::Value;

use crate::blob::BlobId;
use crate::change::Author;
use crate::item::{self, ItemDecision};
use crate::outgoing::report::IncomingReport;
use crate::{Error, Result, Tenant, cursor};

/// What stays the same of items when they move, by the provider's names of them.
pub type SearchKeys = HashMap<String, Vec<u8>>;

/// What a batch of one mailbox and folder was found to hold. About a hundred items are the best size.
pub struct IncomingBatch<'a> {
    /// In which mailbox.
    pub mailbox: MailboxId,
    /// In which folder.
    pub folder: &'a str,
    /// What was decided about each.
    pub items: Vec<IncomingItem>,
    /// The search keys of those that have one; others may be among them.
    pub search_keys: &'a SearchKeys,
    /// Where reading stopped, if the provider keeps a cursor.
    pub cursor: Option<Value>,
    /// How long after a first failure an item may be tried again; each further one doubles it.
    pub retry_after: Duration,
    /// Who records it.
    pub by: &'a Author,
}

/// One item of a mailbox, decided about.
pub struct IncomingItem {
    /// The provider's name of it.
    pub item_id: String,
    /// Its size on the server, in bytes.
    pub size: u64,
    /// When the server received it, as far as anyone can tell.
    pub received_at: Option<Timestamp>,
    /// Its Message-ID without angle brackets, where it could be read; of a message that is not recorded only a hash stays.
    pub message_id: Option<String>,
    /// The rule that decided.
    pub rule: String,
    /// What follows.
    pub verdict: Verdict,
}

/// What is to happen with an item.
pub enum Verdict {
    /// It becomes an email, or joins one.
    Record(Box<IncomingMessage>),
    /// It does not, and no content of it is stored.
    Skip(Decision),
    /// It reports what became of an email that this mailbox sent, and belongs to that email.
    Report(Box<IncomingReport>),
    /// It could not be read; why.
    Fail(String),
}

/// A message that is to be recorded.
pub struct IncomingMessage {
    /// What makes it itself.
    pub identity: Identity,
    /// What was read in it.
    pub message: ParsedMessage,
    /// The raw message.
    pub raw: Raw,
}

/// The raw form of a message.
pub enum Raw {
    /// In memory.
    Bytes(Bytes),
    /// Too large for that.
    Stored(StoredRaw),
}

/// A raw message that is already stored in this transaction by `blob::put_stream`.
pub struct StoredRaw {
    /// Under which name.
    pub blob: BlobId,
    /// In bytes.
    pub size: u64,
    /// Its header, with the empty line.
    pub header: Bytes,
    /// The digest of what follows.
    pub body: [u8; 32],
}

impl Raw {
    fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Stored(stored) => stored.size,
        }
    }

    fn header(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => &bytes[..header_size(bytes)],
            Self::Stored(stored) => &stored.header,
        }
    }

    fn body(&self) -> [u8; 32] {
        match self {
            Self::Bytes(bytes) => BodyDigest::of(&bytes[header_size(bytes)..]),
            Self::Stored(stored) => stored.body,
        }
    }
}

/// What became of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The provider's name of it.
    pub item_id: String,
    /// How its row stands now.
    pub decision: Decision,
    /// The record it became or joined.
    pub email: Option<EmailId>,
    /// Whether that record was made now.
    pub new_email: bool,
    /// How often it failed.
    pub attempts: i32,
    /// Why it failed, without anything of the message.
    pub error: Option<String>,
    /// Whether something else was decided about it before: it failed, or was examined again.
    pub was_decided: bool,
}

/// Records a batch. One item that Postgres does not take becomes `failed` and holds up no other; only when Postgres
/// itself is away does the whole batch fail. Results are in the order of the items.
pub async fn record(tenant: &Tenant, batch: &IncomingBatch<'_>) -> Result<Vec<Recorded>> {
    let ids: Vec<_> = batch.items.iter().map(|item| item.item_id.as_str()).collect();
    let decided = item::of(tenant, batch.mailbox, batch.folder, &ids).await?;
    let before: HashSet<_> = decided.iter().map(|item| item.item_id.as_str()).collect();
    let decided: HashMap<_, _> =
        decided.iter().filter(|item| item.is_settled()).map(|item| (item.item_id.as_str(), item)).collect();
    let mut open: Vec<Open<'_>> = Vec::new();
    for (place, item) in batch.items.iter().enumerate() {
        if let (Verdict::Record(message), false) =
            (&item.verdict, decided.contains_key(item.item_id.as_str()))
        {
            open.push(Open { place, item, message });
        }
    }
    let mut outcomes = write(tenant, batch, &open).await?;
    for (place, item) in batch.items.iter().enumerate() {
        if let (Verdict::Report(report), false) = (&item.verdict, decided.contains_key(item.item_id.as_str()))
        {
            outcomes.insert(place, reports::write(tenant, batch, item, report).await?);
        }
    }

    let mut decisions = Vec::with_capacity(batch.items.len());
    for (place, item) in batch.items.iter().enumerate() {
        if decided.contains_key(item.item_id.as_str()) {
            continue;
        }
        let (decision, email, error) = match (&item.verdict, outcomes.get(&place)) {
            (Verdict::Skip(decision), _) => (*decision, None, None),
            (Verdict::Fail(error), _) | (_, Some(Outcome::Failed(error))) => {
                (Decision::Failed, None, Some(error.clone()))
            }
            (_, Some(Outcome::Written { email, decision, .. })) => (*decision, Some(*email), None),
            (Verdict::Record(_) | Verdict::Report(_), None) => continue,
        };
        decisions.push(ItemDecision {
            item_id: item.item_id.clone(),
            decision,
            rule: item.rule.clone(),
            size: item.size,
            error,
            retry_after: batch.retry_after,
            email,
            received_at: item.received_at,
            message_id: item.message_id.clone(),
            search_key: batch.search_keys.get(&item.item_id).cloned(),
        });
    }
    let mut rows = HashMap::new();
    if !decisions.is_empty() {
        for row in item::decide(tenant, batch.mailbox, batch.folder, &decisions).await? {
            rows.insert(row.item_id.clone(), row);
        }
    }
    if let Some(value) = &batch.cursor {
        cursor::put(tenant, batch.mailbox, Workload::Incoming, batch.folder, value).await?;
    }

    let mut recorded = Vec::with_capacity(batch.items.len());
    for (place, item) in batch.items.iter().enumerate() {
        let row = rows
            .get(&item.item_id)
            .or_else(|| decided.get(item.item_id.as_str()).copied())
            .ok_or_else(|| Error::Broken("an item without a row after it was decided about".to_owned()))?;
        recorded.push(Recorded {
            item_id: item.item_id.clone(),
            decision: row.decision,
            email: row.email,
            new_email: matches!(outcomes.remove(&place), Some(Outcome::Written { new_email: true, .. })),
            attempts: row.attempts,
            error: row.last_error.clone(),
            was_decided: before.contains(item.item_id.as_str())
                && !decided.contains_key(item.item_id.as_str()),
        });
    }
    Ok(recorded)
}

/// An item that is to be written, with its place in the batch.
#[derive(Clone, Copy)]
struct Open<'a> {
    place: usize,
    item: &'a IncomingItem,
    message: &'a IncomingMessage,
}

enum Outcome {
    Written { email: EmailId, new_email: bool, decision: Decision },
    Failed(String),
}

/// Writes all at once; when that is not possible, one by one, so that it shows which one is at fault.
async fn write(
    tenant: &Tenant,
    batch: &IncomingBatch<'_>,
    open: &[Open<'_>],
) -> Result<HashMap<usize, Outcome>> {
    if open.is_empty() {
        return Ok(HashMap::new());
    }
    match tenant.attempt(async |tenant| write_together(tenant, batch, open).await).await {
        Ok(outcomes) => return Ok(outcomes),
        Err(error @ (Error::Away(_) | Error::Fenced)) => return Err(error),
        Err(error) if open.len() == 1 => return Ok(HashMap::from([(open[0].place, failed(&error))])),
        Err(_) => {}
    }
    let mut outcomes = HashMap::new();
    for one in open {
        let alone = std::slice::from_ref(one);
        match tenant.attempt(async |tenant| write_together(tenant, batch, alone).await).await {
            Ok(written) => outcomes.extend(written),
            Err(error @ (Error::Away(_) | Error::Fenced)) => return Err(error),
            Err(error) => {
                outcomes.insert(one.place, failed(&error));
            }
        }
    }
    Ok(outcomes)
}

fn failed(error: &Error) -> Outcome {
    tracing::warn!(error = %error, "a message could not be recorded and will be tried again");
    Outcome::Failed(error.to_string())
}

/// The tables are written in one order by everybody, and the rows of each in the order of their keys: two batches
/// that hold the same messages wait for each other and never in a circle.
async fn write_together(
    tenant: &Tenant,
    batch: &IncomingBatch<'_>,
    open: &[Open<'_>],
) -> Result<HashMap<usize, Outcome>> {
    let emails = emails::write(tenant, batch, open).await?;
    let copies = copies::write(tenant, open, &emails).await?;
    let first: HashMap<usize, bool> = receipts::write(tenant, batch, open, &emails, &copies).await?;
    Ok(open
        .iter()
        .zip(&emails)
        .map(|(one, email)| {
            let decision =
                if first.get(&one.place) == Some(&true) { Decision::Recorded } else { Decision::Duplicate };
            let outcome =
                Outcome::Written { email: email.id, new_email: email.made_by == Some(one.place), decision };
            (one.place, outcome)
        })
        .collect())
}

/// The email of one open item.
struct EmailOf {
    id: EmailId,
    /// The place of the item that made it, when this batch did.
    made_by: Option<usize>,
}

/// The copy of one open item.
#[derive(Clone, Copy)]
struct CopyOf {
    id: CopyId,
    /// Whether the copy's raw message is this item's: else the receipt keeps its own header.
    raw: bool,
}
