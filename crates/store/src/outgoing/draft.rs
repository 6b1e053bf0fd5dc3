//! Drafts: what a person writes before asking for it to be sent. Only a draft or a failed email can be edited.

use model::email::{EmailState, PartyRole};
use model::id::{AttachmentId, CopyId, EmailId, MailboxId};
use model::mailbox::Owner;
use model::message::{Importance, NamedAddress, OutgoingAttachment};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Held, hold};
use crate::blob::{self, BlobId};
use crate::change::{Author, Change, Fields};
use crate::email::attached_bytes;
use crate::refusal::{Refusal, check_external_id, check_line};
use crate::row::{narrow, wide};
use crate::{Error, Result, Tenant, address, change};

/// What a person writes.
#[derive(Clone, Default)]
pub struct Draft {
    /// From which mailbox; needed before it can be sent.
    pub from: Option<MailboxId>,
    /// To.
    pub to: Vec<NamedAddress>,
    /// Cc.
    pub cc: Vec<NamedAddress>,
    /// Bcc.
    pub bcc: Vec<NamedAddress>,
    /// Where answers go, when not to From.
    pub reply_to: Vec<NamedAddress>,
    /// One line of up to 998 characters.
    pub subject: String,
    /// The text body.
    pub text: Option<String>,
    /// The HTML body.
    pub html: Option<String>,
    /// The Message-ID this one answers, without angle brackets.
    pub in_reply_to: Option<String>,
    /// The ids of the conversation, the oldest first, without angle brackets.
    pub references: Vec<String>,
    /// How important it is.
    pub importance: Importance,
    /// Asks the readers' programs to say that it was read (RFC 8098).
    pub read_receipt_requested: bool,
    /// Asks the servers to say that it was delivered (RFC 3461), where they can.
    pub delivery_receipt_requested: bool,
    /// What it is about: a record of this type and id.
    pub regarding: Option<(String, Uuid)>,
    /// The host application's id.
    pub external_id: Option<String>,
}

/// Makes a draft.
pub async fn create(
    tenant: &Tenant,
    draft: &Draft,
    attachments: &[OutgoingAttachment],
    owner: Option<Owner>,
    by: &Author,
) -> Result<EmailId> {
    check(draft)?;
    let id: EmailId = model::clock::new_id();
    tenant
        .execute(
            "insert into emails (organization_id, id, direction, state, mailbox_id, subject, in_reply_to,
                 message_references, importance, regarding_type, regarding_id, external_id, owner_kind, owner_id,
                 created_by, modified_by, read_receipt_requested, delivery_receipt_requested)
             values (current_organization(), $1, 'outgoing', 'draft', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $12,
                     $13, $14)",
            &[
                &id.0,
                &draft.from.map(|id| id.0),
                &draft.subject,
                &draft.in_reply_to,
                &draft.references,
                &draft.importance.as_str(),
                &draft.regarding.as_ref().map(|(kind, _)| kind),
                &draft.regarding.as_ref().map(|(_, id)| id),
                &draft.external_id,
                &owner.map(|owner| owner.kind().as_str()),
                &owner.map(Owner::id),
                &by.name(),
                &draft.read_receipt_requested,
                &draft.delivery_receipt_requested,
            ],
        )
        .await
        .map_err(refused)?;
    let copy: CopyId = model::clock::new_id();
    tenant
        .execute(
            "insert into email_copies (organization_id, id, email_id, content_hash, text_body, html_body)
             values (current_organization(), $1, $2, $3, $4, $5)",
            &[&copy.0, &id.0, &content_hash(draft).as_slice(), &draft.text, &draft.html],
        )
        .await?;
    put_parties(tenant, id, draft).await?;
    for attachment in attachments {
        put_attachment(tenant, copy, attachment).await?;
    }
    let fields = Fields::new()
        .set("state", EmailState::Draft)
        .set("from", draft.from)
        .set("subject", &draft.subject)
        .set("attachments", attachments.len())
        .named("body");
    change::write(tenant, Change { record_type: "email", id: id.0, version: 1, by, fields }).await?;
    Ok(id)
}

/// Writes a draft anew; its attachments stay. A failed email becomes a draft by it. Of one that some have got and others
/// have not, only the recipients can be changed, and it stays what it is. Returns the new version.
pub async fn update(
    tenant: &Tenant,
    id: EmailId,
    expected: Option<i64>,
    draft: &Draft,
    by: &Author,
) -> Result<i64> {
    check(draft)?;
    let held = hold(tenant, id, expected).await?;
    let state = if sent_to_some(tenant, &held, draft).await? {
        held.state
    } else {
        check_editable(&held)?;
        EmailState::Draft
    };
    let row = tenant
        .query_one(
            "update emails e set state = $11, mailbox_id = $2, subject = $3, in_reply_to = $4,
                 message_references = $5, importance = $6, regarding_type = $7, regarding_id = $8, external_id = $9,
                 read_receipt_requested = $12, delivery_receipt_requested = $13,
                 modified_by = $10, modified_at = now(), version = e.version + 1
             from emails old
             where e.id = $1 and old.organization_id = e.organization_id and old.id = e.id
             returning e.version, old.subject, old.mailbox_id",
            &[
                &id.0,
                &draft.from.map(|id| id.0),
                &draft.subject,
                &draft.in_reply_to,
                &draft.references,
                &draft.importance.as_str(),
                &draft.regarding.as_ref().map(|(kind, _)| kind),
                &draft.regarding.as_ref().map(|(_, id)| id),
                &draft.external_id,
                &by.name(),
                &state.as_str(),
                &draft.read_receipt_requested,
                &draft.delivery_receipt_requested,
            ],
        )
        .await
        .map_err(refused)?;
    tenant
        .execute(
            "update email_copies set content_hash = $2, text_body = $3, html_body = $4 where email_id = $1",
            &[&id.0, &content_hash(draft).as_slice(), &draft.text, &draft.html],
        )
        .await?;
    tenant.execute("delete from email_parties where email_id = $1", &[&id.0]).await?;
    put_parties(tenant, id, draft).await?;
    let version: i64 = row.try_get("version")?;
    let old_subject: String = row.try_get("subject")?;
    let old_from: Option<Uuid> = row.try_get("mailbox_id")?;
    let fields = Fields::new()
        .changed("state", &held.state, &state)
        .changed("subject", &old_subject, &draft.subject)
        .changed("from", &old_from.map(MailboxId), &draft.from)
        .named("parties")
        .named("body");
    change::write(tenant, Change { record_type: "email", id: id.0, version, by, fields }).await?;
    Ok(version)
}

/// Removes a draft or a failed email.
pub async fn delete(tenant: &Tenant, id: EmailId, expected: Option<i64>, by: &Author) -> Result<()> {
    let held = editable(tenant, id, expected).await?;
    tenant.execute("delete from emails where id = $1", &[&id.0]).await?;
    let fields = Fields::new().changed("deleted", &false, &true);
    let version = held.version + 1;
    change::write(tenant, Change { record_type: "email", id: id.0, version, by, fields }).await
}

/// Adds a file to a draft; the caller has checked its size against the organization's limit.
pub async fn add_attachment(
    tenant: &Tenant,
    id: EmailId,
    expected: Option<i64>,
    attachment: &OutgoingAttachment,
    by: &Author,
) -> Result<AttachmentId> {
    let held = editable(tenant, id, expected).await?;
    let row = tenant.query_one("select id from email_copies where email_id = $1", &[&id.0]).await?;
    let attachment_id = put_attachment(tenant, CopyId(row.try_get(0)?), attachment).await?;
    touch(tenant, &held, Fields::new().set("attachment", &attachment.name), by).await?;
    Ok(attachment_id)
}

/// A file whose content is stored already, such as one that was streamed in.
#[derive(Clone)]
pub struct StoredAttachment {
    /// The file name the reader sees.
    pub name: String,
    /// Media type, such as `application/pdf`.
    pub content_type: String,
    /// The Content-ID, without angle brackets, of a picture shown in the body.
    pub inline_id: Option<String>,
    /// Its content, stored in this transaction or before.
    pub blob: BlobId,
    /// In bytes.
    pub size: i64,
}

/// Adds a file whose content is stored; the caller has checked its size against the organization's limit.
pub async fn attach(
    tenant: &Tenant,
    id: EmailId,
    expected: Option<i64>,
    attachment: &StoredAttachment,
    megabytes: u64,
    by: &Author,
) -> Result<AttachmentId> {
    let held = editable(tenant, id, expected).await?;
    let row = tenant.query_one("select id from email_copies where email_id = $1", &[&id.0]).await?;
    let attachment_id = put_stored(tenant, CopyId(row.try_get(0)?), attachment).await?;
    // Counted while the email is held: two files that come at once are counted together.
    let together = attached_bytes(tenant, id).await?;
    if together > megabytes * 1024 * 1024 {
        return Err(Refusal::FilesTooLarge { together, megabytes }.into());
    }
    touch(tenant, &held, Fields::new().set("attachment", &attachment.name), by).await?;
    Ok(attachment_id)
}

/// Takes a file out of a draft.
pub async fn remove_attachment(
    tenant: &Tenant,
    id: EmailId,
    expected: Option<i64>,
    attachment: AttachmentId,
    by: &Author,
) -> Result<()> {
    let held = editable(tenant, id, expected).await?;
    let removed = tenant
        .execute(
            "delete from attachments a using email_copies c
             where a.id = $2 and c.email_id = $1 and c.organization_id = a.organization_id and c.id = a.copy_id",
            &[&id.0, &attachment.0],
        )
        .await?;
    if removed == 0 {
        return Err(Refusal::Unknown { what: "attachment", field: "attachment" }.into());
    }
    touch(tenant, &held, Fields::new().named("attachment"), by).await
}

async fn editable(tenant: &Tenant, id: EmailId, expected: Option<i64>) -> Result<Held> {
    let held = hold(tenant, id, expected).await?;
    check_editable(&held)?;
    Ok(held)
}

fn check_editable(held: &Held) -> Result<()> {
    if matches!(held.state, EmailState::Draft | EmailState::Failed) {
        return Ok(());
    }
    let remedy = if held.state == EmailState::PendingSend {
        "cancel its sending first"
    } else {
        "write a new email instead"
    };
    Err(Refusal::WrongState { state: held.state, verb: "edited", remedy }.into())
}

/// Whether the email has reached some and not others, so that its recipients alone can be mended: what those who have it
/// have got stays on record as they got it.
async fn sent_to_some(tenant: &Tenant, held: &Held, draft: &Draft) -> Result<bool> {
    if held.state != EmailState::Sent {
        return Ok(false);
    }
    let row = tenant
        .query_one(
            "select exists (select from send_recipients rc
                        join send_requests r on r.organization_id = rc.organization_id and r.id = rc.send_request_id
                        where r.email_id = e.id and rc.state not in ('accepted', 'delayed')) as some_lack_it,
                    e.mailbox_id is not distinct from $2 and e.subject = $3 and e.in_reply_to is not distinct from $4
                        and e.message_references = $5 and coalesce(e.importance, 'normal') = $6
                        and c.content_hash = $7
                        and (select coalesce(array_agg(p.address order by p.position), '{}') from email_parties p
                             where p.email_id = e.id and p.role = 'reply_to') = $8::text[] as unchanged
             from emails e
             join email_copies c on c.organization_id = e.organization_id and c.email_id = e.id where e.id = $1",
            &[
                &held.id.0,
                &draft.from.map(|id| id.0),
                &draft.subject,
                &draft.in_reply_to,
                &draft.references,
                &draft.importance.as_str(),
                &content_hash(draft).as_slice(),
                &draft.reply_to.iter().map(|party| party.address.as_str()).collect::<Vec<_>>(),
            ],
        )
        .await?;
    if !row.try_get::<_, bool>("some_lack_it")? {
        return Ok(false);
    }
    if !row.try_get::<_, bool>("unchanged")? {
        return Err(Refusal::AlreadyGot.into());
    }
    Ok(true)
}

async fn touch(tenant: &Tenant, held: &Held, fields: Fields, by: &Author) -> Result<()> {
    tenant
        .execute(
            "update emails set version = version + 1, modified_at = now(), modified_by = $2 where id = $1",
            &[&held.id.0, &by.name()],
        )
        .await?;
    let version = held.version + 1;
    change::write(tenant, Change { record_type: "email", id: held.id.0, version, by, fields }).await
}

fn check(draft: &Draft) -> Result<()> {
    check_line("subject", &draft.subject, 0, 998)?;
    check_external_id(draft.external_id.as_ref())?;
    if let Some((kind, _)) = &draft.regarding {
        check_line("regarding.type", kind, 1, 50)?;
    }
    for (field, body) in [("text", &draft.text), ("html", &draft.html)] {
        if body.as_ref().is_some_and(|body| body.contains('\0')) {
            return Err(Refusal::invalid(field, format!("`{field}` holds NUL"), "leave NUL out").into());
        }
    }
    Ok(())
}

async fn put_parties(tenant: &Tenant, id: EmailId, draft: &Draft) -> Result<()> {
    let lists = [
        (PartyRole::ReplyTo, &draft.reply_to),
        (PartyRole::To, &draft.to),
        (PartyRole::Cc, &draft.cc),
        (PartyRole::Bcc, &draft.bcc),
    ];
    let parties: Vec<_> =
        lists.iter().flat_map(|(role, list)| list.iter().map(move |party| (*role, party))).collect();
    let keys: Vec<_> = parties.iter().map(|(_, party)| party.address.normalized()).collect();
    let known = address::resolve(tenant, &keys).await?;
    let known: Vec<_> = keys.iter().map(|key| known.iter().find(|known| known.address == *key)).collect();
    // The position 0 is From's.
    let positions: Vec<_> = (1..=parties.len()).map(narrow).collect();
    let roles: Vec<_> = parties.iter().map(|(role, _)| role.as_str()).collect();
    let addresses: Vec<_> = parties.iter().map(|(_, party)| party.address.as_str()).collect();
    let names: Vec<_> = parties.iter().map(|(_, party)| party.name.as_deref().unwrap_or_default()).collect();
    let types: Vec<_> = known.iter().map(|known| known.map(|known| known.party_type.as_str())).collect();
    let ids: Vec<_> = known.iter().map(|known| known.map(|known| known.party_id)).collect();
    tenant
        .execute(
            "insert into email_parties (organization_id, email_id, position, role, address, name, party_type, party_id)
             select current_organization(), $1::uuid, p, r, a, n, t, i
             from unnest($2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], $7::uuid[]) as u(p, r, a, n, t, i)",
            &[&id.0, &positions, &roles, &addresses, &names, &types, &ids],
        )
        .await?;
    if let Some(from) = draft.from {
        tenant
            .execute(
                "insert into email_parties (organization_id, email_id, position, role, address, name, party_type,
                                            party_id)
                 select current_organization(), $1, 0, 'from', m.address, coalesce(u.name, q.name, m.name),
                        case when u.id is not null then 'user' when q.id is not null then 'queue' end,
                        coalesce(u.id, q.id)
                 from mailboxes m
                 left join users u on u.organization_id = m.organization_id and u.id = m.user_id
                 left join queues q on q.organization_id = m.organization_id and q.id = m.queue_id
                 where m.id = $2",
                &[&id.0, &from.0],
            )
            .await?;
    }
    Ok(())
}

async fn put_attachment(
    tenant: &Tenant,
    copy: CopyId,
    attachment: &OutgoingAttachment,
) -> Result<AttachmentId> {
    let stored = StoredAttachment {
        name: attachment.name.clone(),
        content_type: attachment.content_type.clone(),
        inline_id: attachment.inline_id.clone(),
        blob: BlobId::of(&attachment.bytes),
        size: wide(attachment.bytes.len()),
    };
    blob::put_all(tenant, &[(stored.blob, attachment.bytes.clone())]).await?;
    put_stored(tenant, copy, &stored).await
}

async fn put_stored(tenant: &Tenant, copy: CopyId, attachment: &StoredAttachment) -> Result<AttachmentId> {
    check_line("name", &attachment.name, 1, 255)?;
    let id: AttachmentId = model::clock::new_id();
    tenant
        .execute(
            "insert into attachments (organization_id, id, copy_id, position, name, content_type, content_id, inline,
                                      size, sha256)
             select current_organization(), $1, $2,
                    coalesce((select max(position) + 1 from attachments where copy_id = $2), 0), $3, $4, $5, $6, $7, $8",
            &[
                &id.0,
                &copy.0,
                &attachment.name,
                &attachment.content_type,
                &attachment.inline_id,
                &attachment.inline_id.is_some(),
                &attachment.size,
                &attachment.blob.0.as_slice(),
            ],
        )
        .await?;
    Ok(id)
}

/// A draft has one copy; its hash only has to follow its text.
fn content_hash(draft: &Draft) -> [u8; 32] {
    let mut digest = Sha256::new();
    for body in [&draft.text, &draft.html] {
        let body = body.as_deref().unwrap_or_default().as_bytes();
        digest.update((body.len() as u64).to_be_bytes());
        digest.update(body);
    }
    digest.finalize().into()
}

fn refused(error: Error) -> Error {
    match error.constraint() {
        Some("emails_organization_id_mailbox_id_fkey") => {
            Refusal::Unknown { what: "mailbox", field: "from" }.into()
        }
        Some("emails_organization_id_external_id_key") => {
            Refusal::Taken { what: "email", field: "external_id" }.into()
        }
        _ => error,
    }
}
