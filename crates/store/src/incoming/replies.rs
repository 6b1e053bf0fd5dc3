//! Which Message-IDs are of mail that we sent: an answer to it is welcome whoever writes it.

use std::collections::HashSet;

use crate::{Result, Tenant};

/// Those of the given Message-IDs that an outgoing email of the organization carries.
pub async fn sent_by_us(tenant: &Tenant, message_ids: &[String]) -> Result<HashSet<String>> {
    if message_ids.is_empty() {
        return Ok(HashSet::new());
    }
    let rows = tenant
        .query(
            "select message_id from emails where message_id = any($1) and direction = 'outgoing'
             union select message_id from send_requests where message_id = any($1)",
            &[&message_ids],
        )
        .await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}
