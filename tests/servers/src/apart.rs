//! Listeners that live on a thread and a runtime of their own, because a test's runtime ends before what it shares.

use std::thread;

use tokio::{net::TcpListener, sync::oneshot};

use crate::Error;

/// Ends the thread and everything on it when dropped.
pub(crate) struct Apart(#[expect(dead_code, reason = "held for its end")] oneshot::Sender<()>);

/// Runs what `work` makes of the listener until it ends or its owner is gone.
pub(crate) fn serve<W, F>(listener: TcpListener, work: W) -> Result<Apart, Error>
where
    W: FnOnce(TcpListener) -> F + Send + 'static,
    F: Future<Output = ()>,
{
    let doing = || Error::io("cannot start a listener");
    // A socket belongs to the runtime that registered it.
    let listener = listener.into_std().map_err(doing())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(doing())?;
    let (owner, gone) = oneshot::channel();
    thread::spawn(move || {
        runtime.block_on(async {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            tokio::select! {
                _ = gone => {}
                () = work(listener) => {}
            }
        });
    });
    Ok(Apart(owner))
}
