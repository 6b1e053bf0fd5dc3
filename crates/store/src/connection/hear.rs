//! LISTEN on a connection of its own, opened again whenever it is lost. What is heard may be lost at any moment: whoever
//! listens looks at the rows, and looks every so often without hearing anything.

use std::time::Duration;

use futures_util::StreamExt as _;

use super::connect;
use crate::{Config, Result};

/// How long a lost connection is left alone before it is opened again, and how often it is asked whether anybody still
/// listens.
const AGAIN: Duration = Duration::from_secs(1);

/// Hands on what is said on a channel until `heard` says false: nobody listens any more. `None` is told when the
/// connection was lost, and when it is there again: what was said in between was said to nobody.
pub(crate) fn hear(
    config: &Config,
    channel: &'static str,
    mut heard: impl FnMut(Option<&str>) -> bool + Send + 'static,
) {
    let config = config.clone();
    tokio::spawn(async move {
        loop {
            match connected(&config, channel, &mut heard).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(%error, channel, "nothing is heard until Postgres answers again; looks go on by the clock");
                }
            }
            if !heard(None) {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    });
}

/// Until the connection ends or nobody listens.
async fn connected(
    config: &Config,
    channel: &str,
    heard: &mut (impl FnMut(Option<&str>) -> bool + Send),
) -> Result<()> {
    let (client, mut messages) = connect(&config.url, &config.ca_file).await?;
    let statement = format!("listen {channel}");
    let listening = client.batch_execute(&statement);
    tokio::pin!(listening);
    let mut asked = false;
    loop {
        tokio::select! {
            // The stream drives the connection, so both are polled until the statement is answered.
            answer = &mut listening, if !asked => {
                answer?;
                asked = true;
                if !heard(None) {
                    return Ok(());
                }
            }
            message = messages.next() => match message {
                Some(Ok(tokio_postgres::AsyncMessage::Notification(said))) => {
                    if !heard(Some(said.payload())) {
                        return Ok(());
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
        }
    }
}
