//! Seals every secret of the organization again with the active key of the ring.

use serde_json::json;
use store::credential;

use crate::handler::{Context, Outcome};

pub(crate) async fn run(context: &Context<'_>) -> store::Result<Outcome> {
    let keys = &context.parts.keys;
    let resealed = context
        .store()
        .in_tenant(context.organization, async |tenant| credential::reseal_all(tenant, keys).await)
        .await?;
    Ok(Outcome::Succeeded(json!({"resealed": resealed})))
}
