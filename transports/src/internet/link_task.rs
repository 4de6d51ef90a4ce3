//! One link: a task that owns the stream, from the moment both ends agreed on it until it is down.
//!
//! Both ends of a fresh stream agree first, because both may have opened one at the same time:
//! ```text
//!   opener                    acceptor
//!     │  ───── (stream) ─────▶  │   takes it, or drops the stream
//!     │  ◀────── ACCEPT ──────  │
//!     │  ────── CONFIRM ─────▶  │   or drops it: has taken another stream meanwhile
//!     │  ◀────── frames ─────▶  │
//! ```

use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::PeerId;
use libp2p::swarm::{ConnectionId, Stream};
use silbo_protocol::ids::{LinkId, PeerKey};
use silbo_protocol::input::Route;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::framing::{FrameError, read_frame, write_frames};
use crate::link::LinkEvent;
use crate::medium::INTERNET;
use crate::queue::Drain;

/// The acceptor takes the stream.
const ACCEPT: u8 = 0x01;
/// The opener still wants it.
const CONFIRM: u8 = 0x02;
/// Each step of the agreement.
const AGREE_TIMEOUT: Duration = Duration::from_secs(10);

/// What link tasks tell the driver.
#[derive(Debug)]
pub(super) enum Note {
    /// The other end took the stream we opened.
    Accepted { peer: PeerId, connection: ConnectionId, attempt: u64, stream: Stream },
    /// It did not.
    Refused { peer: PeerId, connection: ConnectionId, attempt: u64 },
    /// The other end replaces the link we have by this stream.
    Replaced { peer: PeerId, connection: ConnectionId, stream: Stream },
    /// It does not after all.
    Kept { peer: PeerId },
    /// A link is down.
    Ended { link: LinkId, peer: PeerId, connection: ConnectionId, violation: bool },
}

/// Which end of the stream we are, and what is left to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// We opened it; it was accepted and is to be confirmed.
    Opener,
    /// We take it; the other end has yet to confirm.
    Acceptor,
    /// Both have agreed.
    Agreed,
}

/// Waits for the other end to take the stream we opened.
pub(super) async fn await_accept(mut stream: Stream, peer: PeerId, connection: ConnectionId, attempt: u64) -> Note {
    match timeout(AGREE_TIMEOUT, expect_byte(&mut stream, ACCEPT)).await {
        Ok(Ok(())) => Note::Accepted { peer, connection, attempt, stream },
        _ => Note::Refused { peer, connection, attempt },
    }
}

/// Offers to replace the link we have by a stream the other end opened, and waits whether it means it.
pub(super) async fn offer_replacement(mut stream: Stream, peer: PeerId, connection: ConnectionId) -> Note {
    let agreed = async {
        stream.write_all(&[ACCEPT]).await?;
        stream.flush().await?;
        expect_byte(&mut stream, CONFIRM).await
    };
    match timeout(AGREE_TIMEOUT, agreed).await {
        Ok(Ok(())) => Note::Replaced { peer, connection, stream },
        _ => Note::Kept { peer },
    }
}

/// Everything a link task needs.
pub(super) struct LinkTask {
    pub(super) link: LinkId,
    pub(super) peer: PeerId,
    pub(super) peer_key: PeerKey,
    pub(super) local: PeerKey,
    pub(super) connection: ConnectionId,
    pub(super) route: Route,
    pub(super) role: Role,
    pub(super) stream: Stream,
    pub(super) drain: Drain,
    pub(super) events: mpsc::Sender<LinkEvent>,
    pub(super) notes: mpsc::Sender<Note>,
    /// Ends this link.
    pub(super) close: CancellationToken,
    /// Ends everything, without waiting for a reader of the events.
    pub(super) stop: CancellationToken,
    /// The link this one replaces: its `Down` comes before our `Up`.
    pub(super) previous: Option<JoinHandle<()>>,
}

impl LinkTask {
    /// Runs the link until it is down. `Up` comes before its frames, `Down` after them.
    pub(super) async fn run(mut self) {
        if let Some(previous) = self.previous.take() {
            // A link that panicked has been reported by the runtime; there is nothing left to wait for.
            let _ended = previous.await;
        }
        let stop = self.stop.clone();
        let violation = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            violation = report_and_carry(&mut self) => violation,
        };
        let note = Note::Ended { link: self.link, peer: self.peer, connection: self.connection, violation };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _sent = self.notes.send(note) => {}
        }
    }
}

/// `Up`, frames, `Down`. True if the other end broke the rules.
async fn report_and_carry(task: &mut LinkTask) -> bool {
    let up =
        LinkEvent::Up { link: task.link, peer: task.peer_key.clone(), local: task.local.clone(), route: task.route };
    if task.events.send(up).await.is_err() {
        return false;
    }
    let close = task.close.clone();
    let ended = tokio::select! {
        biased;
        () = close.cancelled() => None,
        ended = carry(task) => Some(ended),
    };
    if let Some(reason) = &ended {
        tracing::debug!(link = %task.link, %reason, "link ended");
    }
    let _driver_gone = task.events.send(LinkEvent::Down { link: task.link }).await;
    matches!(ended, Some(FrameError::Violation))
}

/// Frames both ways until either direction ends.
async fn carry(task: &mut LinkTask) -> FrameError {
    let (link, role, events) = (task.link, task.role, task.events.clone());
    let (reader, mut writer) = (&mut task.stream).split();
    let mut reader = futures::io::BufReader::with_capacity(8 * 1024, reader);
    let reading = read_all(&mut reader, link, role, &events);
    let drain = &mut task.drain;
    let writing = async {
        if let Err(error) = greet(&mut writer, role).await {
            return FrameError::Io(error);
        }
        match write_frames(&mut writer, drain).await {
            Ok(()) => FrameError::Closed,
            Err(error) => FrameError::Io(error),
        }
    };
    tokio::select! {
        ended = reading => ended,
        ended = writing => ended,
    }
}

async fn greet(writer: &mut (impl AsyncWrite + Unpin), role: Role) -> std::io::Result<()> {
    let byte = match role {
        Role::Opener => CONFIRM,
        Role::Acceptor => ACCEPT,
        Role::Agreed => return Ok(()),
    };
    writer.write_all(&[byte]).await?;
    writer.flush().await
}

async fn read_all(
    reader: &mut (impl AsyncRead + Unpin),
    link: LinkId,
    role: Role,
    events: &mpsc::Sender<LinkEvent>,
) -> FrameError {
    if role == Role::Acceptor
        && let Err(error) = expect_byte(reader, CONFIRM).await
    {
        return error;
    }
    loop {
        let bytes = match read_frame(reader, INTERNET.frame_bytes_max).await {
            Ok(bytes) => bytes,
            Err(error) => return error,
        };
        tracing::trace!(%link, bytes = bytes.len(), "frame in");
        // A full event channel holds this link back, and through the stream's window its sender.
        if events.send(LinkEvent::Frame { link, bytes }).await.is_err() {
            return FrameError::Closed;
        }
    }
}

async fn expect_byte(reader: &mut (impl AsyncRead + Unpin), expected: u8) -> Result<(), FrameError> {
    let mut byte = [0; 1];
    if reader.read(&mut byte).await? == 0 {
        return Err(FrameError::Closed);
    }
    if byte == [expected] { Ok(()) } else { Err(FrameError::Violation) }
}
