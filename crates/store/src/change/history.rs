//! The history of one record, for people: what is committed shows at once.

use uuid::Uuid;

use super::entry::{ChangeReader, Entry, columns, read, visible};
use crate::{Result, Tenant};

/// The history of one record, the oldest first, after a place in the log.
pub async fn of(tenant: &Tenant, record_type: &str, id: Uuid, after: i64, limit: i64) -> Result<Vec<Entry>> {
    history(tenant, ChangeReader::Everything, (Some(record_type), id), None, after, limit).await
}

/// What a reader may see of the history of one record, the oldest first, after a place in the log. Without a type every
/// record with this id is meant; with a field only what changed it.
pub async fn history(
    tenant: &Tenant,
    reader: ChangeReader,
    (record_type, id): (Option<&str>, Uuid),
    field: Option<&str>,
    after: i64,
    limit: i64,
) -> Result<Vec<Entry>> {
    let rows = tenant
        .query(
            &format!(
                "select {} from changes c
                 where ($1::text is null or c.record_type = $1) and c.record_id = $2 and c.sequence > $3
                   and ($4::text is null or c.fields ? $4) and {}
                 order by c.sequence limit $6",
                columns("$5"),
                visible("$5")
            ),
            &[&record_type, &id, &after, &field, &reader.user(), &limit],
        )
        .await?;
    rows.iter().map(read).collect()
}
