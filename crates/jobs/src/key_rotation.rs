//! Seals every secret of the organization again with the active key of the ring. It says so only when none is left with
//! another key: whoever takes a key out of the ring goes by that.

use std::time::Duration;

use serde_json::{Value, json};
use store::{credential, job};

use crate::batches::{Turn, kept, resumed};
use crate::handler::{Context, Outcome};

/// How many secrets one transaction seals: workers renew tokens meanwhile, and wait for none of its locks for long.
const AT_ONCE: i64 = 100;
/// What somebody else is writing is there to be sealed a moment later; no slot is kept for that.
const MOMENT: Duration = Duration::from_secs(1);

pub(crate) async fn run(context: &Context<'_>, cursor: Option<&Value>) -> store::Result<Outcome> {
    let keys = &context.parts.keys;
    let mut resealed: u64 = resumed(cursor)?;
    let turn = Turn::begin();
    loop {
        let tenant = context.store().tenant(context.organization).await?;
        job::fence(&tenant, context.claim).await?;
        let more = credential::reseal(&tenant, keys, AT_ONCE).await?;
        let left = credential::to_reseal(&tenant, keys).await?;
        resealed = resealed.saturating_add(more);
        job::go_on(&tenant, context.claim, &kept(&resealed)?, &[]).await?;
        tenant.commit().await?;
        match (more, left) {
            (_, 0) => return Ok(Outcome::Succeeded(json!({"resealed": resealed}))),
            (0, _) => return Ok(Outcome::Snooze(MOMENT)),
            _ if turn.is_over(context) => return Ok(Outcome::Snooze(Duration::ZERO)),
            _ => {}
        }
    }
}
