//! The task of one connection: it owns the link and moves its packets and frames until either is over.

use std::time::Duration;

use rand::Rng;
use silbo_protocol::ids::LinkId;
use silbo_protocol::input::Route;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant as Time, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{LastUse, Note, Pipe};
use crate::link::LinkEvent;
use crate::packets::{Addressee, Broken, Instance, News, PacketLink};
use crate::queue::Drain;

/// Frames cut ahead inside the link; the others wait in the bounded queue.
const FRAMES_AHEAD: usize = 2;

/// Everything a pipe's task needs.
pub(super) struct PipeTask {
    pub(super) link: LinkId,
    pub(super) pipe: Pipe,
    pub(super) drain: Drain,
    pub(super) events: mpsc::Sender<LinkEvent>,
    pub(super) notes: mpsc::Sender<Note>,
    pub(super) name: watch::Receiver<Instance>,
    pub(super) used: LastUse,
    /// Records to send that are no frames.
    pub(super) beside: mpsc::Receiver<Vec<u8>>,
    pub(super) close: CancellationToken,
    pub(super) stop: CancellationToken,
}

/// Why a link is over.
#[derive(Debug, thiserror::Error)]
enum Over {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error("the connection is gone")]
    Gone,
    #[error("it was a second link between the same two")]
    Double,
    #[error("closed from here")]
    Closed,
}

impl PipeTask {
    /// Runs until the link is over. `Up` comes before its frames, `Down` after them.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.carry() => {}
        }
    }

    async fn carry(&mut self) {
        let mut up = false;
        let over = self.until_over(&mut up).await;
        tracing::debug!(link = %self.link, reason = %over, "radio link ended");
        if up && self.events.send(LinkEvent::Down { link: self.link }).await.is_err() {
            tracing::trace!("nobody listens any more");
        }
        if self.notes.send(Note::Ended { link: self.link }).await.is_err() {
            tracing::trace!("the hub is gone");
        }
    }

    async fn until_over(&mut self, up: &mut bool) -> Over {
        match self.frames(up).await {
            Ok(never) => match never {},
            Err(over) => over,
        }
    }

    async fn frames(&mut self, up: &mut bool) -> Result<std::convert::Infallible, Over> {
        let began = Time::now();
        let now = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut seed = [0; 32];
        rand::rng().fill_bytes(&mut seed);
        let size = *self.pipe.packet_bytes.borrow_and_update();
        let name = *self.name.borrow_and_update();
        let mut link = PacketLink::new(self.pipe.end, size, name, seed, 0);
        let mut event = None;
        let mut packet = None;
        let mut queued = 0;
        let mut tells = true;
        // Read once a turn: the clock is a system call on some machines.
        let mut at = now();
        loop {
            if event.is_none()
                && let Some(news) = link.next_news()
            {
                event = self.event(news, up).await?;
                continue;
            }
            if packet.is_none() {
                packet = link.next_packet(at)?;
            }
            let (waiting, left) = link.queued();
            if left < queued {
                self.drain.done(queued - left);
                queued = left;
            }
            let wake =
                link.next_wake().map_or(began + Duration::from_secs(3_600), |at| began + Duration::from_millis(at));
            tokio::select! {
                biased;
                () = self.close.cancelled() => return Err(Over::Closed),
                permit = self.events.reserve(), if event.is_some() => match (permit, event.take()) {
                    (Ok(permit), Some(event)) => permit.send(event),
                    _ => return Err(Over::Closed),
                },
                permit = self.pipe.outgoing.reserve(), if packet.is_some() => match (permit, packet.take()) {
                    (Ok(permit), Some(packet)) => permit.send(packet),
                    _ => return Err(Over::Gone),
                },
                arrived = self.pipe.incoming.recv(), if !link.is_full() => {
                    at = now();
                    link.arrived(&arrived.ok_or(Over::Gone)?, at)?;
                    continue;
                }
                frame = self.drain.next(), if link.is_up() && waiting < FRAMES_AHEAD => {
                    let frame = frame.ok_or(Over::Closed)?;
                    self.used.now();
                    queued += frame.len();
                    link.send(frame);
                }
                Some(record) = self.beside.recv(), if link.has_room_beside() => link.tell(Addressee::Hub, &record),
                Ok(()) = self.pipe.packet_bytes.changed() => {
                    link.set_packet_bytes(*self.pipe.packet_bytes.borrow_and_update());
                }
                told = self.pipe.to_tell.recv(), if *up && tells => match told {
                    Some(told) => link.tell(Addressee::Radio, &told),
                    None => tells = false,
                },
                Ok(()) = self.name.changed() => link.rename(*self.name.borrow_and_update()),
                () = self.pipe.outgoing.closed() => return Err(Over::Gone),
                () = sleep_until(wake), if packet.is_none() => {}
            }
            at = now();
        }
    }

    /// What the engine is to be told.
    async fn event(&mut self, news: News, up: &mut bool) -> Result<Option<LinkEvent>, Over> {
        let link = self.link;
        match news {
            News::Up { peer, local, instance } => {
                let (keep, kept) = oneshot::channel();
                self.notes.send(Note::Agreed { link, instance, keep }).await.map_err(|_| Over::Closed)?;
                if !kept.await.unwrap_or(false) {
                    return Err(Over::Double);
                }
                *up = true;
                Ok(Some(LinkEvent::Up { link, peer, local, route: Route::Radio }))
            }
            News::Renamed(instance) => {
                self.notes.send(Note::Renamed { link, instance }).await.map_err(|_| Over::Closed)?;
                Ok(None)
            }
            News::Frame(bytes) => {
                self.used.now();
                Ok(Some(LinkEvent::Frame { link, bytes }))
            }
            News::Told(Addressee::Radio, told) => {
                if self.pipe.told.try_send(told).is_err() {
                    tracing::trace!(%link, "nobody listens to what the other radio tells");
                }
                Ok(None)
            }
            News::Told(Addressee::Hub, bytes) => {
                self.notes.send(Note::Beside { link, bytes }).await.map_err(|_| Over::Closed)?;
                Ok(None)
            }
        }
    }
}
