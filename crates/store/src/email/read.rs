//! One email, and the one copy of it that a reader sees.

use std::collections::HashMap;

use bytes::{Bytes, BytesMut};
use model::address::normalize;
use model::email::Direction;
use model::id::{AttachmentId, CopyId, EmailId, MailboxId};
use model::identity::without_trace;
use model::mailbox::{Owner, OwnerKind};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    Attachment, COLUMNS, Email, EmailCopy, EmailParty, RawMessage, Reader, Receipt, own_receipt, sees_bcc,
    visible,
};
use crate::blob::{self, BlobId};
use crate::change::{Author, Change, Fields};
use crate::row::{named, named_if, owner};
use crate::{Result, Tenant, address, change};

/// One email with its parties and receipts, without its body; `None` when there is none that this reader may see. A
/// person sees the receipts of the own mailboxes alone: another one may be that of somebody in Bcc.
pub async fn get(tenant: &Tenant, id: EmailId, reader: Reader) -> Result<Option<Email>> {
    let row = tenant
        .query_opt(
            &format!("select {COLUMNS} from emails e where e.id = $1 and {}", visible("$2")),
            &[&id.0, &reader.user()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let mut emails = [email(&row)?];
    add_parties(tenant, &mut emails, reader).await?;
    let [mut email] = emails;
    let rows = tenant
        .query(
            &format!(
                "select r.mailbox_id, coalesce(m.name, t.name, '') as name, r.copy_id, r.received_at from receipts r
                 left join mailboxes m on m.organization_id = r.organization_id and m.id = r.mailbox_id
                 left join tombstones t on t.organization_id = r.organization_id and t.record_type = 'mailbox'
                      and t.record_id = r.mailbox_id
                 where r.email_id = $1 and ($2::uuid is null or {}) order by r.created_at, r.mailbox_id",
                own_receipt("$2")
            ),
            &[&id.0, &reader.user()],
        )
        .await?;
    for row in &rows {
        email.receipts.push(Receipt {
            mailbox: MailboxId(row.try_get("mailbox_id")?),
            mailbox_name: row.try_get("name")?,
            copy: CopyId(row.try_get("copy_id")?),
            received_at: row.try_get("received_at")?,
        });
    }
    Ok(Some(email))
}

/// All records with a Message-ID: a mail between two users has one sent and one received, and a forged one shows. One that
/// was sent again under another id has each of them.
pub async fn by_message_id(tenant: &Tenant, message_id: &str, reader: Reader) -> Result<Vec<Email>> {
    let rows = tenant
        .query(
            &format!(
                "select {COLUMNS} from emails e
                 where (e.message_id = $1
                        or e.id in (select r.email_id from send_requests r where r.message_id = $1)) and {}
                 order by e.id",
                visible("$2")
            ),
            &[&message_id, &reader.user()],
        )
        .await?;
    let mut emails = rows.iter().map(email).collect::<Result<Vec<_>>>()?;
    add_parties(tenant, &mut emails, reader).await?;
    Ok(emails)
}

/// The copy that this reader sees: that of the own or the queue's receipt; without a receipt the one that made the
/// record, if the reader may see the email at all. Opening somebody else's, as [`Reader::Everything`] does, is written
/// down as a change.
///
/// One who got several, by the own mailbox and a queue's or twice in one, sees the one that came to the own mailbox first,
/// and any other of them by its name in `wanted`: a forged copy never hides the true one.
pub async fn open_copy(
    tenant: &Tenant,
    id: EmailId,
    reader: Reader,
    wanted: Option<CopyId>,
    by: &Author,
) -> Result<Option<EmailCopy>> {
    let rows = tenant
        .query(
            &format!(
                "select c.id, copy_text(c) as text_body, c.html_body, c.raw_sha256, c.raw_size, c.header_size, e.version,
                        r.mine, r.header
                 from emails e
                 join email_copies c on c.organization_id = e.organization_id and c.email_id = e.id
                 left join lateral (
                     select true as mine, r.header, r.owner_kind = 'user' as personal, r.created_at from receipts r
                     where r.organization_id = c.organization_id and r.email_id = e.id and r.copy_id = c.id and {}
                     order by personal desc, r.created_at limit 1) as r on true
                 where e.id = $1 and {}
                 order by r.mine nulls last, r.personal desc, r.created_at, c.made_the_record desc, c.created_at, c.id",
                own_receipt("$2"),
                visible("$2")
            ),
            &[&id.0, &reader.user()],
        )
        .await?;
    let mut allowed = Vec::new();
    for row in &rows {
        let mine = row.try_get::<_, Option<bool>>("mine")?.unwrap_or(false);
        if mine || reader == Reader::Everything || allowed.is_empty() {
            allowed.push((CopyId(row.try_get("id")?), mine, row));
        }
        if !mine && reader != Reader::Everything {
            break;
        }
    }
    let chosen = match wanted {
        Some(wanted) => allowed.iter().find(|(id, ..)| *id == wanted),
        None => allowed.first(),
    };
    let Some((copy, mine, row)) = chosen else { return Ok(None) };
    if reader == Reader::Everything {
        let version = row.try_get("version")?;
        let fields = Fields::new().named("body_opened");
        change::write(tenant, Change { record_type: "email", id: id.0, version, by, fields }).await?;
    }
    let raw: Option<&[u8]> = row.try_get("raw_sha256")?;
    let raw = match raw {
        Some(raw) => {
            let raw = RawMessage {
                blob: BlobId::from_column(raw)?,
                size: unsigned(row, "raw_size")?,
                header_size: unsigned(row, "header_size")?,
                header: row.try_get::<_, Option<Vec<u8>>>("header")?.map(Bytes::from),
            };
            Some(if *mine || reader == Reader::Everything { raw } else { raw.without_trace(tenant).await? })
        }
        None => None,
    };
    let files = tenant
        .query(
            "select id, name, content_type, content_id, inline, size, sha256 from attachments
             where copy_id = $1 order by position",
            &[&copy.0],
        )
        .await?;
    Ok(Some(EmailCopy {
        id: *copy,
        text: row.try_get("text_body")?,
        html: row.try_get("html_body")?,
        raw,
        attachments: files.iter().map(attachment).collect::<Result<_>>()?,
        others: allowed.iter().map(|(id, ..)| *id).filter(|id| id != copy).collect(),
    }))
}

fn unsigned(row: &Row, column: &str) -> Result<u64> {
    Ok(u64::try_from(row.try_get::<_, i64>(column)?).unwrap_or_default())
}

/// The longest header that is read to take out of it what is not the reader's.
const LONGEST_HEADER: u64 = 4 * 1024 * 1024;

impl RawMessage {
    /// As its sender wrote it, for an owner who got none: the header names the mailbox that did.
    async fn without_trace(self, tenant: &Tenant) -> Result<Self> {
        let mut header = BytesMut::new();
        let size = usize::try_from(self.header_size.min(LONGEST_HEADER)).unwrap_or_default();
        for number in 0.. {
            match blob::chunk(tenant, self.blob, number).await? {
                Some(chunk) if header.len() < size => header.extend_from_slice(&chunk),
                _ => break,
            }
        }
        header.truncate(size);
        Ok(Self { header: Some(without_trace(&header).into()), ..self })
    }
}

/// What the files of an email have together, in bytes.
pub async fn attached_bytes(tenant: &Tenant, id: EmailId) -> Result<u64> {
    let row = tenant
        .query_one(
            "select coalesce(sum(a.size), 0)::bigint from attachments a
             join email_copies c on c.organization_id = a.organization_id and c.id = a.copy_id
             where c.email_id = $1",
            &[&id.0],
        )
        .await?;
    Ok(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0))
}

fn attachment(row: &Row) -> Result<Attachment> {
    Ok(Attachment {
        id: AttachmentId(row.try_get("id")?),
        name: row.try_get("name")?,
        content_type: row.try_get("content_type")?,
        content_id: row.try_get("content_id")?,
        inline: row.try_get("inline")?,
        size: row.try_get("size")?,
        blob: BlobId::from_column(row.try_get("sha256")?)?,
    })
}

pub(super) fn email(row: &Row) -> Result<Email> {
    let regarding: (Option<String>, Option<Uuid>) =
        (row.try_get("regarding_type")?, row.try_get("regarding_id")?);
    Ok(Email {
        id: EmailId(row.try_get("id")?),
        direction: named(row, "direction")?,
        state: named(row, "state")?,
        message_id: row.try_get("message_id")?,
        in_reply_to: row.try_get("in_reply_to")?,
        references: row.try_get("message_references")?,
        subject: row.try_get("subject")?,
        sent_at: row.try_get("sent_at")?,
        received_at: row.try_get("received_at")?,
        owner: owner(row)?,
        mailbox: row.try_get::<_, Option<Uuid>>("mailbox_id")?.map(MailboxId),
        auto_submitted: row.try_get("auto_submitted")?,
        precedence: row.try_get("precedence")?,
        list_id: row.try_get("list_id")?,
        return_path: row.try_get("return_path")?,
        automatic: named_if(row, "automatic")?,
        response_suppressed: row.try_get("response_suppressed")?,
        sensitivity: row.try_get("sensitivity")?,
        importance: row.try_get("importance")?,
        warnings: row.try_get("warnings")?,
        maybe_duplicate: row.try_get("maybe_duplicate")?,
        read_receipt_requested: row.try_get("read_receipt_requested")?,
        delivery_receipt_requested: row.try_get("delivery_receipt_requested")?,
        regarding: regarding.0.zip(regarding.1),
        external_id: row.try_get("external_id")?,
        created_by: row.try_get("created_by")?,
        modified_by: row.try_get("modified_by")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        modified_at: row.try_get("modified_at")?,
        parties: Vec::new(),
        receipts: Vec::new(),
    })
}

/// Adds the parties, and leaves out what a person may not know. Who was in Bcc of an outgoing email is for its sender and
/// administrators, who are the only ones that see the sent record. Of a received one it stands in the headers of the
/// copies that the sender and those in Bcc got; the record has it from the first that came, and shows a person only the
/// own address, or all to its sender. An owner or a recording mailbox that no header names for a reader got it by Bcc.
pub(super) async fn add_parties(tenant: &Tenant, emails: &mut [Email], reader: Reader) -> Result<()> {
    let ids: Vec<_> = emails.iter().map(|email| email.id.0).collect();
    let rows = tenant
        .query(
            &format!(
                "select p.email_id, p.role, p.address, p.name, p.party_type, p.party_id from email_parties p
                 where p.email_id = any($1) and (p.role <> 'bcc' or {}) order by p.email_id, p.position",
                sees_bcc("$2")
            ),
            &[&ids, &reader.user()],
        )
        .await?;
    let mut parties = HashMap::<EmailId, Vec<EmailParty>>::new();
    for row in &rows {
        let party: (Option<String>, Option<Uuid>) = (row.try_get("party_type")?, row.try_get("party_id")?);
        parties.entry(EmailId(row.try_get("email_id")?)).or_default().push(EmailParty {
            role: named(row, "role")?,
            address: row.try_get("address")?,
            name: row.try_get("name")?,
            party: party.0.zip(party.1),
        });
    }
    for email in &mut *emails {
        email.parties = parties.remove(&email.id).unwrap_or_default();
    }
    add_newly_known(tenant, emails).await?;
    let Reader::User(user) = reader else { return Ok(()) };
    let queues = tenant.query("select queue_id from queue_members where user_id = $1", &[&user.0]).await?;
    let queues = queues.iter().map(|row| Ok(row.try_get(0)?)).collect::<Result<Vec<Uuid>>>()?;
    for email in emails.iter_mut().filter(|email| email.direction == Direction::Incoming) {
        let known = |owner: Owner| {
            owner == Owner::User(user)
                || (owner.kind() == OwnerKind::Queue && queues.contains(&owner.id()))
                || email.parties.iter().any(|party| {
                    party
                        .party
                        .as_ref()
                        .is_some_and(|(kind, id)| kind == owner.kind().as_str() && *id == owner.id())
                })
        };
        email.owner = email.owner.filter(|owner| known(*owner));
        for by in [&mut email.created_by, &mut email.modified_by] {
            if by.starts_with("cycle:") {
                "cycle".clone_into(by);
            }
        }
    }
    Ok(())
}

/// A party that was known when the record was made stays what it was. An address that nobody knew then may be somebody's by
/// now: it is looked up at each reading, so that what a host application says later holds for all mail at once.
async fn add_newly_known(tenant: &Tenant, emails: &mut [Email]) -> Result<()> {
    let unknown = |party: &&mut EmailParty| party.party.is_none();
    let mut keys: Vec<_> = emails
        .iter_mut()
        .flat_map(|email| &mut email.parties)
        .filter(unknown)
        .map(|party| normalize(&party.address))
        .collect();
    if keys.is_empty() {
        return Ok(());
    }
    keys.sort_unstable();
    keys.dedup();
    let known: HashMap<_, _> = address::resolve(tenant, &keys)
        .await?
        .into_iter()
        .map(|known| (known.address, (known.party_type, known.party_id)))
        .collect();
    for party in emails.iter_mut().flat_map(|email| &mut email.parties).filter(unknown) {
        party.party = known.get(&normalize(&party.address)).cloned();
    }
    Ok(())
}

/// Which of these Message-IDs stand on an email of the organization: whether a message answers one of ours.
pub async fn known_message_ids(tenant: &Tenant, message_ids: &[String]) -> Result<Vec<String>> {
    let rows = tenant
        .query("select distinct message_id from emails where message_id = any($1::text[])", &[&message_ids])
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
