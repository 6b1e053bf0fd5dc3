//! Hearing pokes. They carry nothing and may be lost: whoever listens looks at the rows, and looks every so often
//! without any poke as well.
//!
//! LISTEN belongs to a session, so the address must be Postgres's own: behind a pooler that hands out sessions per
//! transaction no poke arrives, and what is wished waits for the next scan.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::due::CHANNEL;
use crate::connection::connect;
use crate::{Config, Result};

/// How long a lost connection is left alone before it is opened again.
const AGAIN: Duration = Duration::from_secs(1);

/// Pokes as they come in; several that came in meanwhile are one.
#[derive(Debug)]
pub struct Pokes {
    heard: mpsc::Receiver<()>,
}

impl Pokes {
    /// Waits for the next poke. Losing the connection is a poke, and so is having it again: what was wished in
    /// between was said to nobody. Safe to drop while it waits.
    pub async fn next(&mut self) {
        // The sender lives as long as this receiver does, unless the runtime ends.
        if self.heard.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// Listens on a connection of its own, opened again whenever it is lost, until the value is dropped.
pub fn listen(config: &Config) -> Pokes {
    let (poke, heard) = mpsc::channel(1);
    let config = config.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = poke.closed() => return,
                ended = hear(&config, &poke) => if let Err(error) = ended {
                    tracing::warn!(%error, "no pokes are heard until Postgres answers again; scans go on by the clock");
                },
            }
            let _ = poke.try_send(());
            tokio::select! {
                () = poke.closed() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    });
    Pokes { heard }
}

/// Hands on pokes until the connection ends.
async fn hear(config: &Config, poke: &mpsc::Sender<()>) -> Result<()> {
    let (client, mut messages) = connect(&config.url, &config.ca_file).await?;
    let statement = format!("listen {CHANNEL}");
    let listening = client.batch_execute(&statement);
    tokio::pin!(listening);
    let mut asked = false;
    loop {
        tokio::select! {
            // The stream drives the connection, so both are polled until the statement is answered.
            answer = &mut listening, if !asked => {
                answer?;
                asked = true;
                let _ = poke.try_send(());
            }
            message = messages.next() => match message {
                Some(Ok(tokio_postgres::AsyncMessage::Notification(_))) => { let _ = poke.try_send(()); }
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Ok(()),
            },
        }
    }
}
