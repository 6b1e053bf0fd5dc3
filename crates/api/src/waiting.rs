//! Long polls: requests that wait for the next change of their organization. One connection listens for all of them, and
//! each looks at the rows every second whatever it hears.

use std::sync::OnceLock;
use std::time::Duration;

use model::id::OrganizationId;
use store::{Store, change};
use tokio::sync::{Semaphore, SemaphorePermit, broadcast};
use tokio::task::AbortHandle;

/// Requests that may wait at once in this process.
const PLACES: usize = 512;
/// How long nothing is heard before a request looks by itself.
const LOOK: Duration = Duration::from_secs(1);

/// The waiting room of this process.
pub(crate) struct WaitingRoom {
    places: Semaphore,
    wakes: broadcast::Sender<Option<OrganizationId>>,
    listening: OnceLock<AbortHandle>,
}

impl WaitingRoom {
    pub(crate) fn new() -> Self {
        let (wakes, _) = broadcast::channel(256);
        Self { places: Semaphore::new(PLACES), wakes, listening: OnceLock::new() }
    }

    /// A place to wait in, if one is free. The first to come makes somebody listen.
    pub(crate) fn enter(&self, store: &Store) -> Option<Waiting<'_>> {
        let place = self.places.try_acquire().ok()?;
        self.listening.get_or_init(|| {
            let (mut heard, wakes) = (change::listen(store), self.wakes.clone());
            tokio::spawn(async move {
                loop {
                    // Nobody waits at the moment: nothing is lost, for whoever comes looks first.
                    let _ = wakes.send(heard.next().await);
                }
            })
            .abort_handle()
        });
        Some(Waiting { _place: place, wakes: self.wakes.subscribe() })
    }
}

impl Drop for WaitingRoom {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.get() {
            listening.abort();
        }
    }
}

/// One request that waits.
pub(crate) struct Waiting<'a> {
    _place: SemaphorePermit<'a>,
    wakes: broadcast::Receiver<Option<OrganizationId>>,
}

impl Waiting<'_> {
    /// Until the organization may have changed, or a look is due anyway.
    pub(crate) async fn next(&mut self, organization: OrganizationId) {
        let heard = async {
            loop {
                match self.wakes.recv().await {
                    Ok(Some(other)) if other != organization => {}
                    // Ours, or nobody knows whose: too many at once, or the connection was lost.
                    _ => return,
                }
            }
        };
        let _ = tokio::time::timeout(LOOK, heard).await;
    }
}
