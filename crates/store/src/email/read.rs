//! One email, and the one copy of it that a reader sees.

use std::collections::HashMap;

use model::address::normalize;
use model::id::{AttachmentId, CopyId, EmailId, MailboxId};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Attachment, COLUMNS, Email, EmailCopy, EmailParty, Reader, Receipt, own_receipt, visible};
use crate::blob::BlobId;
use crate::change::{Author, Change, Fields};
use crate::row::{named, owner};
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
    add_parties(tenant, &mut emails).await?;
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

/// All records with a Message-ID: a mail between two users has one sent and one received, and a forged one shows.
pub async fn by_message_id(tenant: &Tenant, message_id: &str, reader: Reader) -> Result<Vec<Email>> {
    let rows = tenant
        .query(
            &format!(
                "select {COLUMNS} from emails e where e.message_id = $1 and {} order by e.id",
                visible("$2")
            ),
            &[&message_id, &reader.user()],
        )
        .await?;
    let mut emails = rows.iter().map(email).collect::<Result<Vec<_>>>()?;
    add_parties(tenant, &mut emails).await?;
    Ok(emails)
}

/// The copy that this reader sees: that of the own or the queue's receipt; without a receipt the one that made the
/// record, if the reader may see the email at all. Opening somebody else's, as [`Reader::Everything`] does, is written
/// down as a change.
pub async fn open_copy(
    tenant: &Tenant,
    id: EmailId,
    reader: Reader,
    by: &Author,
) -> Result<Option<EmailCopy>> {
    let row = tenant
        .query_opt(
            &format!(
                "select c.id, c.text_body, c.html_body, c.raw_sha256, c.raw_size, e.version from emails e
                 join email_copies c on c.organization_id = e.organization_id and c.email_id = e.id
                 where e.id = $1 and {}
                 order by exists (
                     select from receipts r
                     where r.organization_id = c.organization_id and r.copy_id = c.id and {}) desc,
                     c.id
                 limit 1",
                visible("$2"),
                own_receipt("$2")
            ),
            &[&id.0, &reader.user()],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    if reader == Reader::Everything {
        let version = row.try_get("version")?;
        let fields = Fields::new().named("body_opened");
        change::write(tenant, Change { record_type: "email", id: id.0, version, by, fields }).await?;
    }
    let copy: Uuid = row.try_get("id")?;
    let raw: Option<&[u8]> = row.try_get("raw_sha256")?;
    let raw = match raw {
        Some(raw) => Some((BlobId::from_column(raw)?, row.try_get("raw_size")?)),
        None => None,
    };
    let files = tenant
        .query(
            "select id, name, content_type, content_id, inline, size, sha256 from attachments
             where copy_id = $1 order by position",
            &[&copy],
        )
        .await?;
    Ok(Some(EmailCopy {
        id: CopyId(copy),
        text: row.try_get("text_body")?,
        html: row.try_get("html_body")?,
        raw,
        attachments: files.iter().map(attachment).collect::<Result<_>>()?,
    }))
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

/// Adds the parties. Who was in Bcc of an outgoing email is for its sender and administrators, who are the only ones
/// that see the sent record; of a received one it stands in the headers of a sender's own copy at most.
pub(super) async fn add_parties(tenant: &Tenant, emails: &mut [Email]) -> Result<()> {
    let ids: Vec<_> = emails.iter().map(|email| email.id.0).collect();
    let rows = tenant
        .query(
            "select email_id, role, address, name, party_type, party_id from email_parties
             where email_id = any($1) order by email_id, position",
            &[&ids],
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
    add_newly_known(tenant, emails).await
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
