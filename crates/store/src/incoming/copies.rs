//! What a reader sees of an email: its body and attachments. Equal content is one copy, however many mailboxes got
//! it, and only a new copy brings its raw message and attachments along. The header of a raw message is its receipt's: no
//! reader gets what servers wrote on the way to another.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use model::id::{AttachmentId, CopyId, EmailId};
use model::identity::header_size;
use sha2::{Digest as _, Sha256};

use super::{CopyOf, EmailOf, IncomingMessage, Open, Raw, text};
use crate::blob::{self, BlobId};
use crate::row::{narrow, wide};
use crate::{Error, Result, Tenant};

type Key = (EmailId, BlobId);

/// Finds or makes the copy of each open item, in their order.
pub(super) async fn write(tenant: &Tenant, open: &[Open<'_>], emails: &[EmailOf]) -> Result<Vec<CopyOf>> {
    let contents: Vec<Content> = open.iter().map(|one| Content::of(one.message)).collect();
    let keys: Vec<Key> =
        emails.iter().zip(&contents).map(|(email, content)| (email.id, content.hash)).collect();

    let mut copies: HashMap<Key, CopyId> = HashMap::new();
    let asked: Vec<Key> =
        keys.iter().zip(emails).filter(|(_, email)| email.made_by.is_none()).map(|(key, _)| *key).collect();
    find(tenant, &asked, &mut copies).await?;

    let mut new: Vec<usize> = Vec::new();
    let mut seen = HashSet::new();
    for (at, key) in keys.iter().enumerate() {
        if !copies.contains_key(key) && seen.insert(*key) {
            new.push(at);
        }
    }
    if !new.is_empty() {
        let made = insert(tenant, open, emails, &contents, &keys, &new).await?;
        new.retain(|at| made.contains_key(&keys[*at]));
        copies.extend(made);
        // Somebody else may have stored the same copy between the question and the answer.
        let missing: Vec<Key> = keys.iter().filter(|key| !copies.contains_key(key)).copied().collect();
        find(tenant, &missing, &mut copies).await?;
    }
    keys.iter()
        .enumerate()
        .map(|(at, key)| {
            let id = copies.get(key).copied();
            let id = id.ok_or_else(|| Error::Broken("a copy is neither new nor there".to_owned()))?;
            Ok(CopyOf { id, raw: new.contains(&at) })
        })
        .collect()
}

/// Whether the organization has the content of a message already: it needs not be stored to be recorded.
pub async fn is_known(tenant: &Tenant, message: &IncomingMessage) -> Result<bool> {
    let known = tenant
        .query_opt(
            "select from email_copies c
             join emails e on e.organization_id = c.organization_id and e.id = c.email_id
             where e.organization_id = current_organization() and e.direction = 'incoming' and e.identity = $1
               and c.content_hash = $2",
            &[&message.identity.0.as_slice(), &Content::of(message).hash.0.as_slice()],
        )
        .await?;
    Ok(known.is_some())
}

/// What makes a copy: text, HTML and attachments, each behind its own length, and the raw body, so that every reader of
/// the copy has the same one under the own header.
struct Content {
    hash: BlobId,
    attachments: Vec<BlobId>,
}

impl Content {
    fn of(message: &IncomingMessage) -> Self {
        let body = message.raw.body();
        let message = &message.message;
        let attachments: Vec<_> = message.attachments.iter().map(|part| BlobId::of(&part.bytes)).collect();
        let mut digest = Sha256::new();
        let mut add = |part: Option<&[u8]>| match part {
            Some(part) => {
                digest.update([1]);
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
            None => digest.update([0]),
        };
        add(message.text.as_deref().map(str::as_bytes));
        add(message.html.as_deref().map(str::as_bytes));
        for (part, id) in message.attachments.iter().zip(&attachments) {
            add(Some(part.name.as_bytes()));
            add(Some(part.content_type.as_bytes()));
            add(part.content_id.as_deref().map(str::as_bytes));
            add(Some(&[u8::from(part.inline)]));
            add(Some(&id.0));
        }
        add(Some(&body));
        Self { hash: BlobId(digest.finalize().into()), attachments }
    }
}

async fn find(tenant: &Tenant, keys: &[Key], copies: &mut HashMap<Key, CopyId>) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let emails: Vec<_> = keys.iter().map(|(email, _)| email.0).collect();
    let hashes: Vec<_> = keys.iter().map(|(_, hash)| hash.0.to_vec()).collect();
    let rows = tenant
        .query(
            "select c.id, c.email_id, c.content_hash
             from unnest($1::uuid[], $2::bytea[]) as u(email, hash)
             join email_copies c on c.organization_id = current_organization() and c.email_id = u.email
                                and c.content_hash = u.hash",
            &[&emails, &hashes],
        )
        .await?;
    remember(&rows, copies)
}

fn remember(rows: &[tokio_postgres::Row], copies: &mut HashMap<Key, CopyId>) -> Result<()> {
    for row in rows {
        let key = (EmailId(row.try_get("email_id")?), BlobId::from_column(row.try_get("content_hash")?)?);
        copies.insert(key, CopyId(row.try_get("id")?));
    }
    Ok(())
}

/// Where the text of a message stands in its raw form, if that is one chunk and the text is in it word for word.
fn text_place(message: &IncomingMessage) -> Option<(i32, i32)> {
    match &message.raw {
        Raw::Bytes(raw) if raw.len() <= blob::CHUNK => {
            text::place(raw, header_size(raw), message.message.text.as_deref()?)
        }
        Raw::Bytes(_) | Raw::Stored(_) => None,
    }
}

/// Writes copies that were not there, and says which of them nobody else wrote meanwhile.
async fn insert(
    tenant: &Tenant,
    open: &[Open<'_>],
    emails: &[EmailOf],
    contents: &[Content],
    keys: &[Key],
    new: &[usize],
) -> Result<HashMap<Key, CopyId>> {
    let mut blobs: Vec<(BlobId, Bytes)> = Vec::new();
    let mut raw_ids = Vec::new();
    for at in new {
        let message = &open[*at].message;
        raw_ids.push(match &message.raw {
            Raw::Bytes(bytes) => {
                let id = BlobId::of(bytes);
                blobs.push((id, bytes.clone()));
                id.0.to_vec()
            }
            Raw::Stored(stored) => stored.blob.0.to_vec(),
        });
        let attachments = &message.message.attachments;
        blobs.extend(
            contents[*at].attachments.iter().copied().zip(attachments.iter().map(|part| part.bytes.clone())),
        );
    }
    blob::put_all(tenant, &blobs).await?;

    let message = |at: &usize| &open[*at].message.message;
    let ids: Vec<uuid::Uuid> = new.iter().map(|_| model::clock::new_id::<CopyId>().0).collect();
    let email_ids: Vec<_> = new.iter().map(|at| keys[*at].0.0).collect();
    let hashes: Vec<_> = new.iter().map(|at| keys[*at].1.0.to_vec()).collect();
    let sizes: Vec<_> = new
        .iter()
        .map(|at| wide(usize::try_from(open[*at].message.raw.size()).unwrap_or(usize::MAX)))
        .collect();
    let headers: Vec<_> = new.iter().map(|at| wide(open[*at].message.raw.header().len())).collect();
    let firsts: Vec<_> = new.iter().map(|at| emails[*at].made_by == Some(open[*at].place)).collect();
    let places: Vec<_> = new.iter().map(|at| text_place(open[*at].message)).collect();
    let (text_starts, text_lengths): (Vec<_>, Vec<_>) = places
        .iter()
        .map(|place| place.map(|(at, length)| (Some(at), Some(length))).unwrap_or_default())
        .unzip();
    let texts: Vec<_> = new
        .iter()
        .zip(&places)
        .map(|(at, place)| if place.is_some() { None } else { message(at).text.as_deref() })
        .collect();
    let htmls: Vec<_> = new.iter().map(|at| message(at).html.as_deref()).collect();
    let rows = tenant
        .query(
            "insert into email_copies (organization_id, id, email_id, content_hash, raw_sha256, raw_size, header_size,
                                       made_the_record, text_body, html_body, text_at, text_length)
             select current_organization(), i, e, h, r, s, z, f, t, m, a, l
             from unnest($1::uuid[], $2::uuid[], $3::bytea[], $4::bytea[], $5::bigint[], $6::bigint[], $7::boolean[],
                         $8::text[], $9::text[], $10::integer[], $11::integer[])
                  as u(i, e, h, r, s, z, f, t, m, a, l)
             order by e, h
             on conflict (organization_id, email_id, content_hash) do nothing returning id, email_id, content_hash",
            &[
                &ids,
                &email_ids,
                &hashes,
                &raw_ids,
                &sizes,
                &headers,
                &firsts,
                &texts,
                &htmls,
                &text_starts,
                &text_lengths,
            ],
        )
        .await?;
    let mut made = HashMap::new();
    remember(&rows, &mut made)?;

    let parts: Vec<_> = new
        .iter()
        .filter_map(|at| made.get(&keys[*at]).map(|copy| (*copy, *at)))
        .flat_map(|(copy, at)| {
            message(&at)
                .attachments
                .iter()
                .zip(&contents[at].attachments)
                .map(move |(part, id)| (copy, part, *id))
        })
        .collect();
    if parts.is_empty() {
        return Ok(made);
    }
    let ids: Vec<uuid::Uuid> = parts.iter().map(|_| model::clock::new_id::<AttachmentId>().0).collect();
    let copy_ids: Vec<_> = parts.iter().map(|(copy, ..)| copy.0).collect();
    let positions: Vec<_> = parts.iter().map(|(_, part, _)| narrow(part.position)).collect();
    let names: Vec<_> = parts.iter().map(|(_, part, _)| part.name.as_str()).collect();
    let types: Vec<_> = parts.iter().map(|(_, part, _)| part.content_type.as_str()).collect();
    let content_ids: Vec<_> = parts.iter().map(|(_, part, _)| part.content_id.as_deref()).collect();
    let inline: Vec<_> = parts.iter().map(|(_, part, _)| part.inline).collect();
    let sizes: Vec<_> = parts.iter().map(|(_, part, _)| wide(part.bytes.len())).collect();
    let hashes: Vec<_> = parts.iter().map(|(.., id)| id.0.to_vec()).collect();
    tenant
        .execute(
            "insert into attachments (organization_id, id, copy_id, position, name, content_type, content_id, inline,
                                      size, sha256)
             select current_organization(), i, c, p, n, t, d, l, s, h
             from unnest($1::uuid[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::text[], $7::boolean[],
                         $8::bigint[], $9::bytea[]) as u(i, c, p, n, t, d, l, s, h)",
            &[&ids, &copy_ids, &positions, &names, &types, &content_ids, &inline, &sizes, &hashes],
        )
        .await?;
    Ok(made)
}
