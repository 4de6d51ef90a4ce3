//! One accepted connection: its socket under watch, its budget, its place among the others.
//!
//! [`Watched`] ends a connection whose reader takes nothing for too long, and every connection at once when the server is
//! killed: both fail the next read or write, so that whatever task holds the socket comes to its end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::caller::Budget;

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The Unix socket; the kernel vouched for the user.
    Unix,
    /// Loopback TCP; nobody vouched for anything.
    Tcp,
}

/// What every request knows of its connection (a request extension). Clones share everything.
#[derive(Clone, Debug)]
pub struct Connection {
    /// How it came in.
    pub carrier: Carrier,
    /// Calls it may make.
    pub budget: Arc<Budget>,
    /// Cancelled when the server stops; streams end.
    pub stop: CancellationToken,
    /// Cancelling it ends this connection.
    pub kill: CancellationToken,
    /// Held until the last task of the connection is gone.
    pub _place: Arc<OwnedSemaphorePermit>,
}

/// A socket that gives up on slow readers and on command.
#[derive(Debug)]
pub struct Watched<S> {
    io: S,
    kill: CancellationToken,
    kill_read: Pin<Box<WaitForCancellationFutureOwned>>,
    kill_write: Pin<Box<WaitForCancellationFutureOwned>>,
    stall_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Watched<S> {
    /// Watches `io`; cancelling `kill` ends it.
    pub fn new(io: S, kill: CancellationToken, stall_timeout: Duration) -> Self {
        Self {
            io,
            kill_read: Box::pin(kill.clone().cancelled_owned()),
            kill_write: Box::pin(kill.clone().cancelled_owned()),
            kill,
            stall_timeout,
            stalled: None,
        }
    }

    fn after_write<T>(&mut self, result: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.stalled = None;
            return result;
        }
        let timeout = self.stall_timeout;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(timer.as_mut().poll(cx));
        tracing::debug!("a slow reader is closed");
        self.kill.cancel();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_killed_write(&mut self, cx: &mut Context<'_>) -> bool {
        self.kill.is_cancelled() || self.kill_write.as_mut().poll(cx).is_ready()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.kill.is_cancelled() || self.kill_read.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.poll_killed_write(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.after_write(result, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.poll_killed_write(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.after_write(result, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.poll_killed_write(cx) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let result = Pin::new(&mut self.io).poll_flush(cx);
        self.after_write(result, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.poll_killed_write(cx) {
            return Poll::Ready(Ok(()));
        }
        let result = Pin::new(&mut self.io).poll_shutdown(cx);
        self.after_write(result, cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn t62_a_reader_that_takes_nothing_is_closed() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let kill = CancellationToken::new();
        let mut ours = Watched::new(ours, kill.clone(), Duration::from_millis(20));
        let error = ours.write_all(&[0; 64]).await.expect_err("the pipe holds 16 bytes");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(kill.is_cancelled());
        let error = ours.read_u8().await.expect_err("the other half ends too");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn killing_wakes_a_waiting_read() {
        let (ours, _theirs) = tokio::io::duplex(16);
        let kill = CancellationToken::new();
        let mut ours = Watched::new(ours, kill.clone(), Duration::from_secs(30));
        let read = tokio::spawn(async move { ours.read_u8().await });
        tokio::task::yield_now().await;
        kill.cancel();
        assert!(read.await.expect("the task ends").is_err());
    }
}
