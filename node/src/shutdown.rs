//! The closing sequence: a state that only goes forward, shared by everything that has to end.
//!
//! ```text
//!   Running ──▶ Draining ──▶ Closed
//!            signal,        everything is
//!            request        committed and closed
//! ```
//! Whoever serves others watches for [`Phase::Draining`] and takes nothing more in; whoever started the node waits for
//! [`Phase::Closed`]. Nothing can turn the node back: a phase is only ever raised.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// How far closing has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// Taking nothing more in; finishing what was begun.
    Draining,
    /// Everything is on disk and closed.
    Closed,
}

/// The shared state of closing. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Shutdown {
    phase: watch::Sender<Phase>,
}

impl Shutdown {
    /// A node that is running.
    #[must_use]
    pub fn new() -> Shutdown {
        Shutdown { phase: watch::Sender::new(Phase::Running) }
    }

    /// How far closing has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// True from the moment the node has been asked to end.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.phase() >= Phase::Draining
    }

    /// Asks the node to end. Returns at once; asking again does nothing.
    pub fn drain(&self) {
        self.raise(Phase::Draining);
    }

    /// Says that everything is closed. For the one who has closed it.
    pub fn close(&self) {
        self.raise(Phase::Closed);
    }

    /// Waits until the node has been asked to end. May be cancelled.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Waits until everything is closed. May be cancelled.
    pub async fn closed(&self) {
        self.reached(Phase::Closed).await;
    }

    fn raise(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let raised = to > *phase;
            *phase = to.max(*phase);
            raised
        });
    }

    async fn reached(&self, wanted: Phase) {
        // `self` is a sender, so the channel cannot be closed while it is waited for.
        let waited = self.phase.subscribe().wait_for(|phase| *phase >= wanted).await.is_ok();
        debug_assert!(waited, "the sender lives as long as this call");
    }
}

impl Default for Shutdown {
    fn default() -> Shutdown {
        Shutdown::new()
    }
}

/// How the operating system or a person at the terminal ended the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM: a service manager.
    Terminate,
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGHUP: the terminal went away.
    HangUp,
}

/// The signals that end a node. They are caught from the moment this exists.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl StopSignals {
    /// Catches the signals. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// When the operating system does not allow it.
    pub fn catch() -> io::Result<StopSignals> {
        Ok(StopSignals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next of them. May be cancelled.
    pub async fn next(&mut self) -> StopSignal {
        tokio::select! {
            biased;
            Some(()) = self.terminate.recv() => StopSignal::Terminate,
            Some(()) = self.interrupt.recv() => StopSignal::Interrupt,
            Some(()) = self.hang_up.recv() => StopSignal::HangUp,
            // The streams never end while the runtime lives; without one nobody is left to stop.
            else => std::future::pending().await,
        }
    }

    /// Drains the node at the first signal and returns at the second, or when everything is closed: the second signal
    /// means that a person does not want to wait. May be cancelled.
    pub async fn watch(mut self, shutdown: Shutdown) -> Option<StopSignal> {
        tokio::select! {
            signal = self.next() => tracing::info!(?signal, "asked to end"),
            () = shutdown.draining() => {}
        }
        shutdown.drain();
        tokio::select! {
            biased;
            () = shutdown.closed() => None,
            signal = self.next() => Some(signal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn phases_only_go_forward() {
        let shutdown = Shutdown::new();
        assert_eq!(shutdown.phase(), Phase::Running);
        shutdown.drain();
        shutdown.close();
        shutdown.drain();
        assert_eq!(shutdown.phase(), Phase::Closed);
        assert!(shutdown.is_draining());
        shutdown.draining().await;
        shutdown.closed().await;
    }

    #[tokio::test]
    async fn everybody_who_waits_is_told_once_it_is_time() {
        let shutdown = Shutdown::new();
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let shutdown = shutdown.clone();
                tokio::spawn(async move { shutdown.draining().await })
            })
            .collect();
        shutdown.drain();
        for task in waiting {
            task.await.expect("the task ends");
        }
        assert!(futures::poll!(Box::pin(shutdown.closed())).is_pending());
    }

    #[tokio::test]
    async fn a_signal_drains_and_a_second_one_ends_the_waiting() {
        let shutdown = Shutdown::new();
        let signals = StopSignals::catch().expect("signals");
        let watch = tokio::spawn(signals.watch(shutdown.clone()));
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::HUP).expect("a signal to oneself");
        shutdown.draining().await;
        rustix::process::kill_process(own, rustix::process::Signal::HUP).expect("a signal to oneself");
        assert_eq!(watch.await.expect("the task ends"), Some(StopSignal::HangUp));
    }

    #[tokio::test]
    async fn closing_ends_the_watch_without_a_signal() {
        let shutdown = Shutdown::new();
        let signals = StopSignals::catch().expect("signals");
        let watch = tokio::spawn(signals.watch(shutdown.clone()));
        shutdown.drain();
        shutdown.close();
        assert_eq!(watch.await.expect("the task ends"), None);
    }
}
