//! Seals every secret of the organization again with the active key of the ring. It says so only when none is left with
//! another key: whoever takes a key out of the ring goes by that.

use std::time::Duration;

use serde_json::json;
use store::{credential, job};
use tokio::time::sleep;

use crate::handler::{Context, Outcome};

/// How many secrets one transaction seals: workers renew tokens meanwhile, and wait for none of its locks for long.
const AT_ONCE: i64 = 100;
/// What somebody else is writing is there to be sealed a moment later.
const MOMENT: Duration = Duration::from_millis(100);

pub(crate) async fn run(context: &Context<'_>) -> store::Result<Outcome> {
    let keys = &context.parts.keys;
    let mut resealed = 0;
    loop {
        let tenant = context.store().tenant(context.organization).await?;
        job::fence(&tenant, context.claim).await?;
        let more = credential::reseal(&tenant, keys, AT_ONCE).await?;
        let left = credential::to_reseal(&tenant, keys).await?;
        tenant.commit().await?;
        resealed += more;
        match (more, left) {
            (_, 0) => return Ok(Outcome::Succeeded(json!({"resealed": resealed}))),
            (0, _) => sleep(MOMENT).await,
            _ => {}
        }
    }
}
