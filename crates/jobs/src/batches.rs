//! Operations over many: batch after batch, each committed with how far it came, for a while at a time. Between two turns
//! the job is given back, so that none keeps a slot from others and a service that is told to stop waits for one batch.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use store::Error;
use tokio::time::Instant;

use crate::handler::Context;

/// How long such an operation goes on before it lets others have their turn.
const TURN: Duration = Duration::from_secs(20);

/// The end of a turn.
pub(crate) struct Turn(Instant);

impl Turn {
    pub(crate) fn begin() -> Self {
        Self(Instant::now() + TURN)
    }

    /// Whether the next batch is for another turn.
    pub(crate) fn is_over(&self, context: &Context<'_>) -> bool {
        Instant::now() >= self.0 || context.parts.drain.is_cancelled()
    }
}

/// How far the job came, or its beginning.
pub(crate) fn resumed<C: DeserializeOwned + Default>(cursor: Option<&Value>) -> store::Result<C> {
    let Some(cursor) = cursor else { return Ok(C::default()) };
    serde_json::from_value(cursor.clone()).map_err(|error| Error::Broken(format!("jobs.cursor: {error}")))
}

/// How far it came, to be stored.
pub(crate) fn kept(cursor: &impl Serialize) -> store::Result<Value> {
    serde_json::to_value(cursor).map_err(|error| Error::Broken(error.to_string()))
}
