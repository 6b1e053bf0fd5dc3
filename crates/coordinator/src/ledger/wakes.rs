//! Calls from other coordinators: a slot came free for one of our waiting requests. A lost call costs one recheck
//! interval and nothing else.

use std::time::Duration;

use futures_util::StreamExt as _;
use model::secret::Secret;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::open;

/// Listens until shutdown, through any number of connections.
pub(crate) async fn listen(
    url: Secret,
    prefix: String,
    coordinator: Uuid,
    calls: mpsc::UnboundedSender<Uuid>,
    shutdown: CancellationToken,
) {
    let listening = async {
        loop {
            if let Err(error) = hear(&url, &prefix, coordinator, &calls).await {
                tracing::debug!(
                    kind = error.category(),
                    "calls from other coordinators are not heard; trying again"
                );
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    shutdown.run_until_cancelled(listening).await;
}

async fn hear(
    url: &Secret,
    prefix: &str,
    coordinator: Uuid,
    calls: &mpsc::UnboundedSender<Uuid>,
) -> redis::RedisResult<()> {
    let mut subscription = open(url)?.get_async_pubsub().await?;
    subscription.subscribe(format!("{prefix}wake:{coordinator}")).await?;
    let mut messages = subscription.on_message();
    while let Some(message) = messages.next().await {
        let id: String = message.get_payload()?;
        if let Ok(id) = id.parse() {
            calls.send(id).ok();
        }
    }
    Ok(())
}
