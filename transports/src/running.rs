//! The right to end what runs in a task of its own.

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Ends a transport, a hub or a radio whose channels were handed on. Dropping it does so too, without waiting.
#[derive(Debug)]
pub struct Running {
    /// What it is called in the log.
    what: &'static str,
    task: JoinHandle<()>,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Running {
    /// Of a task that ends when `stop` is cancelled.
    pub(crate) fn new(what: &'static str, task: JoinHandle<()>, stop: CancellationToken) -> Self {
        Self { what, task, stop: stop.clone(), _stop_on_drop: stop.drop_guard() }
    }

    /// Closes every link and connection, takes what is on the air off it, and returns when no task is left.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the {} ended badly", self.what);
        }
    }
}
