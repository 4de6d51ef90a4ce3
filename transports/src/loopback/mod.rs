//! Two ends in one process, speaking the same events and commands as any medium. For tests and examples.
//!
//! The link is up from the start; `Close` takes it down and `Dial` of the other end brings it up again. DHT records
//! published at one end are found at both. There is no relay, so reserving a circuit does nothing.

use std::collections::{BTreeMap, VecDeque};

use silbo_protocol::ids::{LinkId, PeerAddress, PeerKey};
use silbo_protocol::input::Route;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::link::{LinkCommand, LinkEvent, LinkIds};
use crate::medium::LOOPBACK;
use crate::running::Running;

/// One end.
#[derive(Debug)]
pub struct End {
    /// What happens at this end.
    pub events: mpsc::Receiver<LinkEvent>,
    /// What this end wants.
    pub commands: mpsc::Sender<LinkCommand>,
    /// The key of this end.
    pub local: PeerKey,
}

/// Connects two ends. Must be called inside a tokio runtime. Each end may use its own link names.
pub fn pair(a_ids: LinkIds, b_ids: LinkIds) -> (End, End, Running) {
    let (a, a_side) = end(1, a_ids);
    let (b, b_side) = end(2, b_ids);
    let stop = CancellationToken::new();
    let wire = Loop { sides: [a_side, b_side], records: BTreeMap::new() };
    let task = tokio::spawn(wire.run(stop.clone()));
    (a, b, Running::new("loopback", task, stop))
}

fn end(name: u8, ids: LinkIds) -> (End, Side) {
    let (events, events_out) = mpsc::channel(LOOPBACK.queue_frames_max);
    let (commands_in, commands) = mpsc::channel(LOOPBACK.queue_frames_max);
    let local = PeerKey([&PEER_PREFIX[..], &[name; 32]].concat());
    let side = Side { events, commands, local: local.clone(), ids, link: None, pending: VecDeque::new() };
    (End { events: events_out, commands: commands_in, local }, side)
}

/// What a `PeerId` of an Ed25519 key begins with: invitations carry only keys of this form.
const PEER_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
/// `/ip4/203.0.113.1/tcp/4001`, an address for documentation: invitations only name a peer that has one.
const NOWHERE: [u8; 8] = [0x04, 203, 0, 113, 1, 0x06, 0x0f, 0xa1];
/// Records the pair keeps.
const RECORDS_MAX: usize = 1_024;

struct Side {
    events: mpsc::Sender<LinkEvent>,
    commands: mpsc::Receiver<LinkCommand>,
    local: PeerKey,
    ids: LinkIds,
    link: Option<LinkId>,
    /// Events that wait for the reader; over the bound, the link goes down.
    pending: VecDeque<LinkEvent>,
}

struct Loop {
    sides: [Side; 2],
    records: BTreeMap<[u8; 32], Vec<u8>>,
}

/// Which end.
#[derive(Clone, Copy)]
enum At {
    A,
    B,
}

impl Loop {
    async fn run(mut self, stop: CancellationToken) {
        for at in [At::A, At::B] {
            let (side, _) = self.side(at);
            let address = PeerAddress { peer: side.local.clone(), addrs: vec![NOWHERE.to_vec()] };
            side.pending.push_back(LinkEvent::OwnAddress { address });
        }
        self.up();
        loop {
            let [a, b] = &mut self.sides;
            let (at, command) = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                permit = a.events.reserve(), if !a.pending.is_empty() => {
                    let (Ok(permit), Some(event)) = (permit, a.pending.pop_front()) else { return };
                    permit.send(event);
                    continue;
                }
                permit = b.events.reserve(), if !b.pending.is_empty() => {
                    let (Ok(permit), Some(event)) = (permit, b.pending.pop_front()) else { return };
                    permit.send(event);
                    continue;
                }
                command = a.commands.recv() => (At::A, command),
                command = b.commands.recv() => (At::B, command),
            };
            let Some(command) = command else { return };
            self.on_command(at, command);
        }
    }

    fn side(&mut self, at: At) -> (&mut Side, &mut Side) {
        let [a, b] = &mut self.sides;
        match at {
            At::A => (a, b),
            At::B => (b, a),
        }
    }

    fn on_command(&mut self, at: At, command: LinkCommand) {
        let (here, there) = self.side(at);
        match command {
            LinkCommand::Frame { link, bytes } if here.link == Some(link) => {
                let fits = bytes.len() <= LOOPBACK.frame_bytes_max && there.pending.len() < LOOPBACK.queue_frames_max;
                match there.link {
                    Some(link) if fits => there.pending.push_back(LinkEvent::Frame { link, bytes }),
                    _ => self.down(),
                }
            }
            LinkCommand::Close { link } if here.link == Some(link) => self.down(),
            LinkCommand::Dial { address, .. } => {
                if address.peer != there.local {
                    here.pending.push_back(LinkEvent::DialFailed { peer: address.peer });
                } else if here.link.is_none() {
                    self.up();
                }
            }
            LinkCommand::PublishRecord { key, value } => {
                if self.records.len() < RECORDS_MAX || self.records.contains_key(&key) {
                    self.records.insert(key, value);
                }
            }
            LinkCommand::FindRecord { key } => {
                if let Some(value) = self.records.get(&key).cloned() {
                    self.side(at).0.pending.push_back(LinkEvent::Record { key, value });
                }
            }
            LinkCommand::Frame { .. }
            | LinkCommand::Close { .. }
            | LinkCommand::Vouch { .. }
            | LinkCommand::LookAround
            | LinkCommand::Held { .. }
            | LinkCommand::ReserveCircuit { .. } => {}
        }
    }

    fn up(&mut self) {
        for at in [At::A, At::B] {
            let (here, there) = self.side(at);
            let link = here.ids.next_id();
            here.link = Some(link);
            let (peer, local) = (there.local.clone(), here.local.clone());
            here.pending.push_back(LinkEvent::Up { link, peer, local, route: Route::Local });
        }
    }

    fn down(&mut self) {
        for side in &mut self.sides {
            if let Some(link) = side.link.take() {
                side.pending.push_back(LinkEvent::Down { link });
            }
        }
    }
}
