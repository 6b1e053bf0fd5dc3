//! Raw messages and attachments: stored once per organization by SHA-256, in chunks of at most 1 MiB. This is the seam
//! behind which an object storage may stand one day; nothing else reads or writes these tables.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use sha2::{Digest as _, Sha256};

use crate::row::{narrow, wide};
use crate::{Error, Result, Tenant};

/// The longest chunk.
pub(crate) const CHUNK: usize = 1024 * 1024;
/// How much travels to Postgres in one statement.
const STATEMENT: usize = 8 * CHUNK;

/// The name of a content: its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BlobId(pub [u8; 32]);

impl BlobId {
    /// The name of this content.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    pub(crate) fn from_column(bytes: &[u8]) -> Result<Self> {
        bytes.try_into().map(Self).map_err(|_| Error::Broken("a SHA-256 that has not 32 bytes".to_owned()))
    }
}

/// Stores contents that are not stored yet. Two transactions may store the same one at once: the second waits for the
/// first and writes nothing.
pub async fn put_all(tenant: &Tenant, contents: &[(BlobId, Bytes)]) -> Result<()> {
    if contents.is_empty() {
        return Ok(());
    }
    let new = claim(tenant, contents.iter().map(|(id, content)| (*id, content.len()))).await?;
    let mut batch = Chunks::default();
    let mut done = HashSet::new();
    for (id, content) in contents {
        if !new.contains(id) || !done.insert(*id) {
            continue;
        }
        for (number, data) in content.chunks(CHUNK).enumerate() {
            batch.add(tenant, *id, number, data).await?;
        }
    }
    batch.write(tenant).await
}

/// Stores a content that is too large to hold in memory, whose name and size are known from a first pass over it.
/// Fails when what came is something else; the caller's transaction must then not be committed.
pub async fn put_stream<E>(
    tenant: &Tenant,
    id: BlobId,
    size: u64,
    content: impl Stream<Item = Result<Bytes, E>>,
) -> Result<()>
where
    E: std::fmt::Display,
{
    let length = usize::try_from(size).map_err(|error| Error::Broken(error.to_string()))?;
    if claim(tenant, std::iter::once((id, length))).await?.is_empty() {
        return Ok(());
    }
    let mut content = std::pin::pin!(content);
    let (mut digest, mut waiting, mut number, mut came) = (Sha256::new(), BytesMut::new(), 0, 0);
    loop {
        let next = content.next().await;
        let ended = next.is_none();
        if let Some(part) = next {
            let part =
                part.map_err(|error| Error::Broken(format!("a content that could not be read: {error}")))?;
            digest.update(&part);
            came += part.len();
            waiting.extend_from_slice(&part);
        }
        while waiting.len() >= CHUNK || (ended && !waiting.is_empty()) {
            let chunk = waiting.split_to(waiting.len().min(CHUNK));
            let mut batch = Chunks::default();
            batch.add(tenant, id, number, &chunk).await?;
            batch.write(tenant).await?;
            number += 1;
        }
        if ended {
            break;
        }
    }
    let found: [u8; 32] = digest.finalize().into();
    if found != id.0 || came != length {
        return Err(Error::Broken("a content changed between being named and being stored".to_owned()));
    }
    Ok(())
}

/// The size of a content in bytes; `None` when it is not stored.
pub async fn size(tenant: &Tenant, id: BlobId) -> Result<Option<u64>> {
    let row = tenant.query_opt("select size from blobs where sha256 = $1", &[&id.0.as_slice()]).await?;
    row.map(|row| Ok(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0))).transpose()
}

/// One chunk of a content, counted from 0; `None` behind the last. A reader streams by asking for one after another.
pub async fn chunk(tenant: &Tenant, id: BlobId, number: i32) -> Result<Option<Bytes>> {
    let row = tenant
        .query_opt(
            "select data from blob_chunks where sha256 = $1 and number = $2",
            &[&id.0.as_slice(), &number],
        )
        .await?;
    row.map(|row| Ok(Bytes::from(row.try_get::<_, Vec<u8>>(0)?))).transpose()
}

/// A whole content, for one that is known to be small; `None` when it is not stored.
pub async fn read(tenant: &Tenant, id: BlobId) -> Result<Option<Bytes>> {
    let Some(size) = size(tenant, id).await? else { return Ok(None) };
    let mut content = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
    for number in 0.. {
        match chunk(tenant, id, number).await? {
            Some(chunk) => content.extend_from_slice(&chunk),
            None => break,
        }
    }
    Ok(Some(content.freeze()))
}

/// Which of these were not stored yet and are now ours to fill. In the order of their names, so that two
/// transactions never wait for each other in a circle.
async fn claim(tenant: &Tenant, contents: impl Iterator<Item = (BlobId, usize)>) -> Result<HashSet<BlobId>> {
    let (ids, sizes): (Vec<_>, Vec<_>) = contents.map(|(id, size)| (id.0.to_vec(), wide(size))).unzip();
    let rows = tenant
        .query(
            "insert into blobs (organization_id, sha256, size)
             select distinct on (h) current_organization(), h, s from unnest($1::bytea[], $2::bigint[]) as u(h, s)
             order by h
             on conflict do nothing returning sha256",
            &[&ids, &sizes],
        )
        .await?;
    rows.iter().map(|row| BlobId::from_column(row.try_get(0)?)).collect()
}

/// Chunks on their way, written when a statement is full.
#[derive(Default)]
struct Chunks<'a> {
    ids: Vec<Vec<u8>>,
    numbers: Vec<i32>,
    data: Vec<&'a [u8]>,
    bytes: usize,
}

impl<'a> Chunks<'a> {
    async fn add(&mut self, tenant: &Tenant, id: BlobId, number: usize, data: &'a [u8]) -> Result<()> {
        if self.bytes + data.len() > STATEMENT {
            std::mem::take(self).write(tenant).await?;
        }
        self.ids.push(id.0.to_vec());
        self.numbers.push(narrow(number));
        self.data.push(data);
        self.bytes += data.len();
        Ok(())
    }

    async fn write(self, tenant: &Tenant) -> Result<()> {
        if self.ids.is_empty() {
            return Ok(());
        }
        tenant
            .execute(
                "insert into blob_chunks (organization_id, sha256, number, data)
                 select current_organization(), h, n, d from unnest($1::bytea[], $2::integer[], $3::bytea[]) as u(h, n, d)",
                &[&self.ids, &self.numbers, &self.data],
            )
            .await?;
        Ok(())
    }
}
