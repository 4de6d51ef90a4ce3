//! Links over radios that carry packets: of this machine (`bluetooth`), or of an app this node lives in.
//!
//! ```text
//!   radio ── Pipe ──▶ hub ── one task a pipe ──▶ LinkEvent
//!                      ▲  LinkCommand
//! ```
//! A radio hands over a [`Pipe`] for each connection: packets in, packets out, how large they may be. Closing its
//! channels ends the link, and an ended link closes the channels. A socket that an app has opened becomes a pipe by
//! [`adopt`]. The hub keeps one link for each pair of nodes, says which neighbours are linked, and tells all of them when
//! this node takes a new name.

mod adopted;
mod beside;
mod pipe_task;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;
use silbo_protocol::ids::LinkId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::link::{LinkCommand, LinkEvent, LinkIds};
use crate::medium::RADIO;
use crate::packets::{End, Instance};
use crate::queue::{Queue, queue};
use crate::running::Running;
pub use adopted::adopt;
pub use beside::{BACKLOG_BYTES, Beside, Happening};
use beside::{BESIDE_AHEAD, HubEnd};
use pipe_task::PipeTask;

/// Connections that may be open; the memory of all of them is bounded by it.
pub const PIPES_MAX: usize = 32;
/// Of these, connections whose handshake is not done. One more is dropped at once.
pub const HALF_OPEN_MAX: usize = 8;
/// Commands, pipes and notes that may wait for the hub.
const WAITING_MAX: usize = 256;
/// Packets a radio may be ahead of a link, in either direction.
pub const PIPE_PACKETS: usize = 64;
/// Packets a radio takes at a time, so that a link is not woken for each of them.
pub const TAKEN_AT_ONCE: usize = 8;
/// Things radios tell each other that may wait.
const TOLD_AHEAD: usize = 4;

/// One connection of a radio.
#[derive(Debug)]
pub struct Pipe {
    /// Which end dialled.
    pub end: End,
    /// How large a packet may be; may change.
    pub packet_bytes: watch::Receiver<usize>,
    /// Packets from the other end. Closed: the connection is gone.
    pub incoming: mpsc::Receiver<Vec<u8>>,
    /// Packets to the other end; its bound is what the radio takes ahead. Closed: the connection is gone.
    pub outgoing: mpsc::Sender<Vec<u8>>,
    /// What the radio tells the one at the other end, sealed inside the link once it is up and kept.
    pub to_tell: mpsc::Receiver<Vec<u8>>,
    /// What the other end's radio tells this one. What finds no room is dropped.
    pub told: mpsc::Sender<Vec<u8>>,
}

/// The radio's end of a [`Pipe`].
#[derive(Debug)]
pub struct PipeEnd {
    /// The radio puts packets that arrived here.
    pub incoming: mpsc::Sender<Vec<u8>>,
    /// The radio takes packets to send from here. `None`: the link is over, close the connection.
    pub outgoing: mpsc::Receiver<Vec<u8>>,
    /// The radio says here when the size of packets changes.
    pub packet_bytes: watch::Sender<usize>,
    /// The radio says here what the other end's radio is to know, at most [`TOLD_BYTES_MAX`](crate::packets::link::TOLD_BYTES_MAX) bytes.
    pub tell: mpsc::Sender<Vec<u8>>,
    /// What the other end's radio says.
    pub told: mpsc::Receiver<Vec<u8>>,
}

/// Makes a pipe for a connection; `ahead` packets may wait for the radio.
pub fn pipe(end: End, packet_bytes: usize, ahead: usize) -> (Pipe, PipeEnd) {
    let (incoming_in, incoming) = mpsc::channel(PIPE_PACKETS);
    let (outgoing, outgoing_out) = mpsc::channel(ahead.clamp(1, PIPE_PACKETS));
    let (size_in, size) = watch::channel(packet_bytes);
    let (tell, to_tell) = mpsc::channel(TOLD_AHEAD);
    let (told_in, told) = mpsc::channel(TOLD_AHEAD);
    let radio = PipeEnd { incoming: incoming_in, outgoing: outgoing_out, packet_bytes: size_in, tell, told };
    (Pipe { end, packet_bytes: size, incoming, outgoing, to_tell, told: told_in }, radio)
}

/// How the radio links look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RadioSnapshot {
    /// Links that are up, with what their other ends are called now.
    pub links: Vec<RadioLink>,
    /// Connections whose handshake is not done.
    pub half_open: usize,
    /// Connections refused because there were too many.
    pub refused: u64,
    /// Second links between the same two nodes that were closed.
    pub doubles: u64,
}

/// One radio link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RadioLink {
    /// Its name.
    pub link: LinkId,
    /// What the other end calls itself.
    pub instance: Instance,
    /// Which end dialled.
    pub end: End,
    /// When the connection came up, and when a frame went over it last.
    pub used: LastUse,
}

/// When a frame went over a link last, either way. Clones are one.
#[derive(Clone, Debug)]
pub struct LastUse {
    since: Instant,
    after_ms: Arc<AtomicU64>,
}

impl LastUse {
    fn new() -> Self {
        Self { since: Instant::now(), after_ms: Arc::new(AtomicU64::new(0)) }
    }

    fn now(&self) {
        let after = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.after_ms.store(after, Ordering::Relaxed);
    }

    /// When the link began.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// When a frame went over it last.
    pub fn at(&self) -> Instant {
        self.since + Duration::from_millis(self.after_ms.load(Ordering::Relaxed))
    }
}

impl PartialEq for LastUse {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.after_ms, &other.after_ms)
    }
}

impl Eq for LastUse {}

/// A running hub. Dropping it ends its links, without waiting.
#[derive(Debug)]
pub struct Hub {
    /// What to do with links. A full channel is an answer: try later.
    pub commands: mpsc::Sender<LinkCommand>,
    /// Where radios hand over connections.
    pub pipes: mpsc::Sender<Pipe>,
    /// What this node calls itself.
    pub name: watch::Sender<Instance>,
    /// How it looks.
    pub snapshot: watch::Receiver<RadioSnapshot>,
    /// What the node wants of its radios.
    pub wishes: watch::Receiver<Wishes>,
    /// For a radio that brings up faster links to the same nodes; `None` when it was taken.
    pub beside: Option<Beside>,
    /// Ends it.
    pub running: Running,
}

/// What a node wants of its radios, apart from its links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Another number whenever the node holds something else.
    pub held: u64,
    /// Somebody wants to know now who is near; since when.
    pub look: Option<Instant>,
}

/// 16 fresh random bytes for a name.
pub fn new_instance() -> Instance {
    let mut name = [0; 16];
    rand::rng().fill_bytes(&mut name);
    Instance(name)
}

/// Starts a hub, which puts what happens into `events`. Must be called inside a tokio runtime.
pub fn start(link_ids: LinkIds, events: mpsc::Sender<LinkEvent>) -> Hub {
    let (commands, commands_in) = mpsc::channel(WAITING_MAX);
    let (pipes, pipes_in) = mpsc::channel(PIPES_MAX);
    let (notes_out, notes) = mpsc::channel(WAITING_MAX);
    let name = watch::Sender::new(new_instance());
    let snapshot = watch::Sender::new(RadioSnapshot::default());
    let seen = snapshot.subscribe();
    let (wishes, wished) = watch::channel(Wishes::default());
    let stop = CancellationToken::new();
    let (beside, hub_end) = beside::pair();
    let state = State {
        beside: hub_end,
        link_ids,
        events,
        notes_out,
        name: name.subscribe(),
        pipes: BTreeMap::new(),
        shown: RadioSnapshot::default(),
        snapshot,
        wishes,
        tasks: TaskTracker::new(),
        stop: stop.clone(),
    };
    let task = tokio::spawn(state.run(commands_in, pipes_in, notes));
    let running = Running::new("radio hub", task, stop);
    Hub { commands, pipes, name, snapshot: seen, wishes: wished, beside: Some(beside), running }
}

/// What the task of a pipe tells the hub.
#[derive(Debug)]
enum Note {
    /// The handshake is done. The answer is whether this is the link to keep.
    Agreed { link: LinkId, instance: Instance, keep: oneshot::Sender<bool> },
    /// The other end said something that is no frame.
    Beside { link: LinkId, bytes: Vec<u8> },
    /// The other end has a new name.
    Renamed { link: LinkId, instance: Instance },
    /// It is over.
    Ended { link: LinkId },
}

struct Open {
    end: End,
    instance: Option<Instance>,
    queue: Queue,
    used: LastUse,
    /// Records to send that are no frames.
    beside: mpsc::Sender<Vec<u8>>,
    /// The engine knows the other end.
    vouched: bool,
    close: CancellationToken,
}

impl Open {
    /// An open link to this node.
    fn is(&self, instance: Instance) -> bool {
        self.instance == Some(instance) && !self.close.is_cancelled()
    }
}

struct State {
    beside: HubEnd,
    link_ids: LinkIds,
    events: mpsc::Sender<LinkEvent>,
    notes_out: mpsc::Sender<Note>,
    name: watch::Receiver<Instance>,
    pipes: BTreeMap<LinkId, Open>,
    shown: RadioSnapshot,
    snapshot: watch::Sender<RadioSnapshot>,
    wishes: watch::Sender<Wishes>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl State {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<LinkCommand>,
        mut pipes: mpsc::Receiver<Pipe>,
        mut notes: mpsc::Receiver<Note>,
    ) {
        let stop = self.stop.clone();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(note) = notes.recv() => self.on_note(note),
                command = commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => break,
                },
                Some((link, record)) = self.beside.records.recv() => self.tell(link, record),
                Some(pipe) = pipes.recv() => self.on_pipe(pipe),
            }
            self.show();
        }
        self.stop.cancel();
        self.pipes.clear();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn on_command(&mut self, command: LinkCommand) {
        match command {
            LinkCommand::Frame { link, bytes } => {
                let Some(open) = self.pipes.get(&link) else { return };
                if open.queue.push(bytes).is_err() {
                    tracing::debug!(%link, "the radio is too slow for what it is given: closed");
                    open.close.cancel();
                } else if open.vouched && open.queue.waiting_bytes() > BACKLOG_BYTES {
                    self.beside.happened(Happening::Backlog { link });
                }
            }
            LinkCommand::Close { link } => {
                if let Some(open) = self.pipes.get(&link) {
                    open.close.cancel();
                }
            }
            LinkCommand::Vouch { link } => {
                if let Some(open) = self.pipes.get_mut(&link) {
                    open.vouched = true;
                }
            }
            LinkCommand::LookAround => self.wishes.send_modify(|wishes| wishes.look = Some(Instant::now())),
            LinkCommand::Held { fingerprint } => self.wishes.send_modify(|wishes| wishes.held = fingerprint),
            // Nobody is dialled by an address, and there is no DHT.
            LinkCommand::Dial { .. }
            | LinkCommand::ReserveCircuit { .. }
            | LinkCommand::PublishRecord { .. }
            | LinkCommand::FindRecord { .. } => {}
        }
    }

    fn on_pipe(&mut self, pipe: Pipe) {
        let half_open = self.pipes.values().filter(|open| open.instance.is_none()).count();
        if self.pipes.len() >= PIPES_MAX || half_open >= HALF_OPEN_MAX {
            self.shown.refused += 1;
            return; // dropping it closes its channels
        }
        let link = self.link_ids.next_id();
        let (frames, drain) = queue(RADIO);
        let close = CancellationToken::new();
        let (beside, beside_out) = mpsc::channel(BESIDE_AHEAD);
        let (end, used) = (pipe.end, LastUse::new());
        let task = PipeTask {
            link,
            pipe,
            drain,
            events: self.events.clone(),
            notes: self.notes_out.clone(),
            name: self.name.clone(),
            used: used.clone(),
            beside: beside_out,
            close: close.clone(),
            stop: self.stop.clone(),
        };
        self.pipes.insert(link, Open { end, instance: None, queue: frames, used, beside, vouched: false, close });
        self.tasks.spawn(task.run());
    }

    fn on_note(&mut self, note: Note) {
        match note {
            Note::Agreed { link, instance, keep } => {
                let kept = self.settle(link, instance);
                if keep.send(kept).is_err() {
                    tracing::trace!(%link, "the link ended while it was agreed on");
                }
            }
            Note::Renamed { link, instance } => {
                if let Some(open) = self.pipes.get_mut(&link) {
                    open.instance = Some(instance);
                }
            }
            Note::Beside { link, bytes } => {
                let vouched = self.pipes.get(&link).is_some_and(|open| open.vouched);
                self.beside.happened(Happening::Record { link, vouched, bytes });
            }
            Note::Ended { link } => {
                self.pipes.remove(&link);
                self.beside.happened(Happening::Down { link });
            }
        }
    }

    fn tell(&mut self, link: LinkId, record: Vec<u8>) {
        if let Some(open) = self.pipes.get(&link)
            && open.beside.try_send(record).is_err()
        {
            tracing::debug!(%link, "a record beside the frames found no room");
        }
    }

    /// Whether this link to `instance` is kept. Of two, both ends keep the one that the lower name has dialled; of two
    /// in one direction the later, because its dialler has lost the other.
    fn settle(&mut self, link: LinkId, instance: Instance) -> bool {
        let own = *self.name.borrow();
        let Some(end) = self.pipes.get(&link).map(|open| open.end) else { return false };
        if instance == own {
            return false; // our own advertisement, heard by another radio of ours
        }
        let preferred = if own < instance { End::Dialler } else { End::Listener };
        let mut others: Vec<&mut Open> = self.pipes.values_mut().filter(|open| open.is(instance)).collect();
        if !others.is_empty() {
            self.shown.doubles += 1;
            if end != preferred && others.iter().any(|open| open.end == preferred) {
                return false;
            }
            for open in &mut others {
                open.close.cancel();
            }
        }
        if let Some(open) = self.pipes.get_mut(&link) {
            open.instance = Some(instance);
        }
        true
    }

    fn show(&mut self) {
        let links = self.pipes.iter().filter_map(|(link, open)| {
            let instance = open.instance.filter(|_| !open.close.is_cancelled())?;
            Some(RadioLink { link: *link, instance, end: open.end, used: open.used.clone() })
        });
        self.shown.links = links.collect();
        self.shown.half_open = self.pipes.values().filter(|open| open.instance.is_none()).count();
        self.snapshot.send_if_modified(|known| {
            let changed = *known != self.shown;
            if changed {
                known.clone_from(&self.shown);
            }
            changed
        });
    }
}
