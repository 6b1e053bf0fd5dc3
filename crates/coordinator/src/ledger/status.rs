//! The ledger as people see it. Reading takes many small steps, so the numbers of two limits may be a moment apart.

use std::collections::HashMap;
use std::time::Duration;

use model::workload::ServiceClass;
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands as _, RedisResult};
use throttle::{class_to_wire, v1};

/// How many leases in doubt are listed.
const LISTED: usize = 1_000;

/// Reads every limit whose key begins with `begins`.
pub(crate) async fn read(
    connection: &mut MultiplexedConnection,
    prefix: &str,
    begins: &str,
) -> RedisResult<v1::StatusReply> {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(connection).await?;
    let now = seconds * 1000 + micros / 1000;
    let quiet: Option<u64> = connection.get(format!("{prefix}quiet")).await?;
    let mut limits = Vec::new();
    let root = format!("{prefix}limit:");
    let mut cursor = 0_u64;
    loop {
        let pattern = format!("{}*", escaped(&format!("{root}{begins}")));
        let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(pattern)
            .arg("COUNT")
            .arg(1000)
            .query_async(connection)
            .await?;
        let mut pipeline = redis::pipe();
        for key in &keys {
            pipeline.hgetall(key);
        }
        if !keys.is_empty() {
            let rows: Vec<HashMap<String, String>> = pipeline.query_async(connection).await?;
            let named = keys.iter().filter_map(|key| key.strip_prefix(&root)).zip(rows);
            limits.extend(named.filter(|(_, row)| !row.is_empty()).map(|(key, row)| limit(key, &row, now)));
        }
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    limits.sort_by(|a, b| a.key.cmp(&b.key));
    // A scan may show a key twice.
    limits.dedup_by(|a, b| a.key == b.key);
    let in_doubt = in_doubt(connection, prefix, begins, now).await?;
    Ok(v1::StatusReply { limits, in_doubt, quiet_for_ms: quiet.unwrap_or(0).saturating_sub(now) })
}

fn limit(key: &str, row: &HashMap<String, String>, now: u64) -> v1::LimitStatus {
    let number = |field: &str| row.get(field).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0);
    let per_class = |field: &str| -> Vec<u32> {
        row.get(field)
            .into_iter()
            .flat_map(|list| list.split(' '))
            .map(|part| part.parse().unwrap_or(0))
            .collect()
    };
    let (held, waiting) = (per_class("held"), per_class("waiting"));
    let mut config = row.get("config").map_or("", String::as_str).split(' ');
    let capacity = config.next().and_then(|capacity| capacity.parse().ok()).unwrap_or(0);
    let classes = config
        .skip(1)
        .filter_map(|quota| {
            let mut parts = quota.split(':').map(|part| part.parse::<u32>().unwrap_or(0));
            let at = parts.next()?.checked_sub(1)? as usize;
            let class = *ServiceClass::ALL.get(at)?;
            Some(v1::ClassStatus {
                class: class_to_wire(class).into(),
                in_use: held.get(at).copied().unwrap_or(0),
                waiting: waiting.get(at).copied().unwrap_or(0),
                minimum: parts.next()?,
                ceiling: parts.next()?,
            })
        })
        .collect();
    v1::LimitStatus {
        key: key.to_owned(),
        capacity,
        in_use: held.iter().sum(),
        waiting: waiting.iter().sum(),
        in_doubt: u32::try_from(number("doubt")).unwrap_or(u32::MAX),
        held_back_for_ms: number("hold").saturating_sub(now),
        classes,
    }
}

async fn in_doubt(
    connection: &mut MultiplexedConnection,
    prefix: &str,
    begins: &str,
    now: u64,
) -> RedisResult<Vec<v1::LeaseStatus>> {
    let mut found = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let (next, rows): (u64, Vec<(String, String)>) = redis::cmd("HSCAN")
            .arg(format!("{prefix}lease"))
            .arg(cursor)
            .arg("COUNT")
            .arg(1000)
            .query_async(connection)
            .await?;
        found.extend(rows.iter().filter_map(|(id, packed)| lease(id, packed)));
        cursor = next;
        if cursor == 0 || found.len() >= LISTED {
            break;
        }
    }
    found.retain(|lease| lease.keys.iter().any(|key| key.starts_with(begins)));
    found.truncate(LISTED);
    for lease in &mut found {
        let until: Option<f64> = connection.zscore(format!("{prefix}expiry"), &lease.lease_id).await?;
        let until = Duration::try_from_secs_f64(until.unwrap_or(0.0) / 1000.0).unwrap_or_default();
        lease.charged_for_ms = super::whole_millis(until).saturating_sub(now);
    }
    found.sort_by_key(|lease| lease.charged_for_ms);
    Ok(found)
}

/// A lease in doubt, as the script packs it; none when its worker is well.
fn lease(id: &str, packed: &str) -> Option<v1::LeaseStatus> {
    let mut parts = packed.split('\t');
    let class = *ServiceClass::ALL.get(parts.next()?.parse::<usize>().ok()?.checked_sub(1)?)?;
    if parts.next()? != "d" {
        return None;
    }
    let mut holder = parts.nth(2)?.splitn(3, '/').map(str::to_owned);
    Some(v1::LeaseStatus {
        lease_id: id.to_owned(),
        class: class_to_wire(class).into(),
        holder: Some(v1::Holder {
            profile_id: holder.next().unwrap_or_default(),
            mailbox_id: holder.next().unwrap_or_default(),
            workload: holder.next().unwrap_or_default(),
        }),
        keys: parts.map(str::to_owned).collect(),
        charged_for_ms: 0,
    })
}

/// A pattern that matches nothing but itself.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
