//! The world: its clock, its heap of happenings, its nodes.

use std::collections::{BTreeMap, BTreeSet};

use silbo_protocol::Engine;
use silbo_protocol::chance::Chance;
use silbo_protocol::ids::{LinkId, PeerAddress, PeerKey};
use silbo_protocol::input::{Input, RelayLimits, Request, RequestId};

use crate::address;
use crate::chaos::Chaos;
use crate::dht::Dht;
use crate::disk::Disk;
use crate::driver::Phase;
use crate::failure::Failure;
use crate::invariants::{Ledger, Traffic};
use crate::network::{Network, Reach};
use crate::node::{Node, NodeId, PlannedCrash};
use crate::rehearsal::Rehearsed;
use crate::trace::Trace;
use crate::wiretap::Wiretap;

/// Something that is due at a virtual time.
#[derive(Debug)]
pub(crate) enum Happening {
    Start { node: NodeId },
    Wake { node: NodeId, generation: u64 },
    DialArrives { node: NodeId, run: u64, address: PeerAddress },
    DialFailed { node: NodeId, run: u64, peer: PeerKey },
    LinkUp { link: LinkId },
    Frame { link: LinkId, bytes: Vec<u8> },
    LinkDown { link: LinkId },
    Circuit { node: NodeId, run: u64, relay: NodeId },
    Nearby { node: NodeId, run: u64, seen: NodeId },
    Record { node: NodeId, run: u64, key: [u8; 32], value: Vec<u8> },
    Online { node: NodeId },
    DiskRepaired { node: NodeId },
    Meet { a: NodeId, b: NodeId, for_ms: u64 },
    InReach { a: NodeId, b: NodeId, meeting: u64 },
    Part { a: NodeId, b: NodeId },
    Post { node: NodeId, request: Box<Request> },
    Chaos,
}

/// A virtual world.
pub struct World {
    /// Hash of everything that happened.
    pub trace: Trace,
    /// What the distributed hash table holds.
    pub dht: Dht,
    pub(crate) seed: u64,
    pub(crate) chance: Chance,
    pub(crate) nodes: Vec<Node>,
    pub(crate) peers: BTreeMap<PeerKey, NodeId>,
    pub(crate) network: Network,
    pub(crate) ledger: Ledger,
    pub(crate) chaos: Option<Chaos>,
    pub(crate) pending: BTreeMap<RequestId, NodeId>,
    now_ms: u64,
    sequence: u64,
    pub(crate) heap: BTreeMap<(u64, u64), Happening>,
    next_request: u64,
    failure: Option<Failure>,
    pub(crate) keeps_history: bool,
    pub(crate) threads: usize,
    /// What engines made of frames that are about to arrive.
    pub(crate) rehearsed: BTreeMap<NodeId, Rehearsed>,
    recorder: Option<(NodeId, Vec<Vec<u8>>)>,
    pub(crate) wiretap: Wiretap,
    pub(crate) traffic: Traffic,
    /// Its bytes are counted by themselves.
    pub(crate) watched: Option<NodeId>,
}

impl World {
    /// An empty world. Everything in it follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            trace: Trace::default(),
            dht: Dht::default(),
            seed,
            chance: Chance::from_seed(derive(seed, "world", 0, 0)),
            nodes: Vec::new(),
            peers: BTreeMap::new(),
            network: Network::default(),
            ledger: Ledger::default(),
            chaos: None,
            pending: BTreeMap::new(),
            now_ms: 0,
            sequence: 0,
            heap: BTreeMap::new(),
            next_request: 0,
            failure: None,
            keeps_history: true,
            threads: 1,
            rehearsed: BTreeMap::new(),
            recorder: None,
            wiretap: Wiretap::default(),
            traffic: Traffic::default(),
            watched: None,
        }
    }

    /// From now on nodes remember of their events only what they were shown and who became a contact, so that long
    /// runs of many nodes fit into memory.
    pub fn forget_history(&mut self) {
        self.keeps_history = false;
    }

    /// Runs engines on so many threads where that cannot be told from one (`rehearsal.rs`).
    pub fn set_threads(&mut self, threads: usize) {
        self.threads = threads;
    }

    /// Virtual milliseconds since the beginning.
    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// A node.
    ///
    /// # Panics
    /// When the id is of another world.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0]
    }

    /// A node, to change what scenarios may change.
    ///
    /// # Panics
    /// When the id is of another world.
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[id.0]
    }

    /// Every node.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The world's own dice, for scenarios.
    pub fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    /// The first broken invariant, if any.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Adds a node with an empty disk and turns it on.
    pub fn add_node(&mut self, name: &str, serves: Option<RelayLimits>) -> NodeId {
        self.add_node_at(name, serves, Reach::default())
    }

    /// Adds a node where others reach it as `reach` says.
    pub fn add_node_at(&mut self, name: &str, serves: Option<RelayLimits>, reach: Reach) -> NodeId {
        let id = NodeId(self.nodes.len());
        if reach != Reach::default() {
            self.set_reach(id, reach);
        }
        self.nodes.push(Node::new(id, name, serves));
        self.start(id);
        id
    }

    /// Turns a node off and gives it the disk of a copy that was made before.
    pub fn set_back(&mut self, id: NodeId, disk: Disk) {
        self.stop(id);
        self.nodes[id.0].disk = disk;
        self.ledger.note_copied(id);
    }

    /// Turns a node on. Does nothing when it is on.
    pub fn start(&mut self, id: NodeId) {
        let now_ms = self.now_ms;
        let moment_base = self.chance.below(1 << 40);
        let node = &mut self.nodes[id.0];
        if node.is_on() {
            return;
        }
        node.disk.allow_reads();
        node.run += 1;
        let before = node.peer.clone();
        node.started_at_ms = now_ms;
        node.moment_base = moment_base;
        node.peer = address::peer_key(derive(self.seed, "peer", id.0 as u64, node.run));
        let seed = derive(self.seed, "engine", id.0 as u64, node.run);
        self.trace.note(now_ms, id, "on");
        match Engine::open(&node.disk, seed, node.now(now_ms)) {
            Ok((engine, step)) => {
                // A relay is found by its key, so it keeps the key; all others have one for each run.
                if node.serves.is_some() {
                    node.peer = address::peer_key(*blake3::hash(&engine.relay_seed()).as_bytes());
                }
                node.engine = Some(engine);
                self.carry_out(id, step);
            }
            Err(error) => self.broken("I1", id, format!("does not open what it has committed: {error}")),
        }
        let peer = self.nodes[id.0].peer.clone();
        if self.peers.get(&before) == Some(&id) {
            self.peers.remove(&before);
        }
        self.peers.insert(peer, id);
        self.tell_address(id);
        self.look_around(id);
        self.meet_again(id);
    }

    /// Turns a node off between two steps; it stays off.
    pub fn stop(&mut self, id: NodeId) {
        self.trace.note(self.now_ms, id, "off");
        let node = &mut self.nodes[id.0];
        node.engine = None;
        node.circuits.clear();
        node.wake_generation += 1;
        node.wake_at_ms = None;
        node.planned_crash = None;
        let lost: BTreeSet<RequestId> =
            self.pending.iter().filter(|(_, owner)| **owner == id).map(|(request, _)| *request).collect();
        self.pending.retain(|request, _| !lost.contains(request));
        self.nodes[id.0].requests_lost.extend(lost);
        self.abandon_ends(id);
    }

    /// Kills a node; it starts again from what it had committed after `dead_ms`.
    pub fn crash(&mut self, id: NodeId, dead_ms: u64) {
        self.stop(id);
        self.after(dead_ms, Happening::Start { node: id });
    }

    /// Kills a node within the step of one of its next inputs: the first, when `inputs_ahead` is 1.
    pub fn crash_at(&mut self, id: NodeId, inputs_ahead: u64, phase: Phase, dead_ms: u64) {
        let node = &mut self.nodes[id.0];
        node.planned_crash = Some(PlannedCrash { at_input: node.inputs + inputs_ahead, phase, dead_ms });
    }

    /// Takes everything from a node's disk and starts it again.
    pub fn wipe(&mut self, id: NodeId) {
        self.stop(id);
        self.nodes[id.0].disk.wipe();
        self.nodes[id.0].account = None;
        self.start(id);
    }

    /// Moves the wall clock of a node; its monotonic clock goes on.
    pub fn jump_clock(&mut self, id: NodeId, by_ms: i64) {
        self.trace.note(self.now_ms, id, &format!("clock jumps {by_ms} ms"));
        self.nodes[id.0].wall_skew_ms += by_ms;
    }

    /// Hands in a request without waiting. While the node is off it is lost.
    pub fn post(&mut self, id: NodeId, request: Request) -> RequestId {
        self.next_request += 1;
        let request_id = RequestId(self.next_request);
        if self.nodes[id.0].is_on() {
            self.pending.insert(request_id, id);
            self.give(id, Input::Request { id: request_id, request: Box::new(request) });
        } else {
            self.nodes[id.0].requests_lost.insert(request_id);
        }
        request_id
    }

    /// Lets the world go on until `done`, for at most `max_ms` of its time.
    ///
    /// # Errors
    /// The first broken invariant, or `TimedOut`.
    pub fn run_until(&mut self, what: &str, max_ms: u64, done: impl Fn(&Self) -> bool) -> Result<(), Failure> {
        let deadline = self.now_ms.saturating_add(max_ms);
        loop {
            if let Some(failure) = &self.failure {
                return Err(failure.clone());
            }
            if done(self) {
                return Ok(());
            }
            if !self.turn(deadline) {
                return Err(Failure::TimedOut { waited_ms: max_ms, what: what.to_owned(), state: self.summary() });
            }
        }
    }

    /// Lets the world go on for `ms` of its time.
    ///
    /// # Errors
    /// The first broken invariant.
    pub fn run_for(&mut self, ms: u64) -> Result<(), Failure> {
        let deadline = self.now_ms.saturating_add(ms);
        while self.failure.is_none() && self.turn(deadline) {}
        self.failure.clone().map_or(Ok(()), Err)
    }

    /// Keeps a copy of every frame that reaches a node from now on, as an eavesdropper at its door would.
    pub fn record_frames(&mut self, id: NodeId) {
        self.recorder = Some((id, Vec::new()));
    }

    /// Ends the recording and hands out the frames.
    pub fn recorded_frames(&mut self) -> Vec<Vec<u8>> {
        self.recorder.take().map(|(_, frames)| frames).unwrap_or_default()
    }

    pub(crate) fn record_frame(&mut self, id: NodeId, bytes: &[u8]) {
        if let Some((_, frames)) = self.recorder.as_mut().filter(|(of, _)| *of == id) {
            frames.push(bytes.to_vec());
        }
    }

    /// What went over links since it was asked the last time.
    pub fn take_traffic(&mut self) -> Traffic {
        std::mem::take(&mut self.traffic)
    }

    /// Counts the bytes to and from a node by themselves from now on.
    pub fn watch(&mut self, id: Option<NodeId>) {
        self.watched = id;
    }

    /// Where every node stands, a line each.
    pub fn summary(&self) -> String {
        self.nodes.iter().map(Node::summary).collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn broken(&mut self, invariant: &'static str, id: NodeId, what: String) {
        let node = self.nodes[id.0].name.clone();
        self.trace.note(self.now_ms, id, &format!("{invariant} broken: {what}"));
        self.failure.get_or_insert(Failure::Broken { invariant, node, at_ms: self.now_ms, what });
    }

    pub(crate) fn is_in_run(&self, id: NodeId, run: u64) -> bool {
        let node = &self.nodes[id.0];
        node.is_on() && node.run == run
    }

    pub(crate) fn after(&mut self, ms: u64, happening: Happening) {
        self.at(self.now_ms.saturating_add(ms), happening);
    }

    pub(crate) fn at(&mut self, at_ms: u64, happening: Happening) {
        self.sequence += 1;
        self.heap.insert((at_ms, self.sequence), happening);
    }

    /// One happening; false when none is due until `deadline`, which is then the time.
    fn turn(&mut self, deadline: u64) -> bool {
        let due = self.heap.first_key_value().is_some_and(|((at_ms, _), _)| *at_ms <= deadline);
        let Some(((at_ms, _), happening)) = due.then(|| self.heap.pop_first()).flatten() else {
            self.now_ms = deadline;
            return false;
        };
        self.now_ms = at_ms;
        if let Happening::Frame { link, bytes } = &happening {
            self.rehearse(*link, bytes);
        }
        match happening {
            Happening::Start { node } => self.start(node),
            Happening::Wake { node, generation } => {
                if self.nodes[node.0].wake_generation == generation {
                    self.nodes[node.0].wake_at_ms = None;
                    self.give(node, Input::Wake);
                }
            }
            Happening::DialArrives { node, run, address } => self.dial_arrives(node, run, address),
            Happening::DialFailed { node, run, peer } => self.give_in_run(node, run, Input::DialFailed { peer }),
            Happening::LinkUp { link } => self.link_up(link),
            Happening::Frame { link, bytes } => self.frame_arrives(link, bytes),
            Happening::LinkDown { link } => self.link_down(link),
            Happening::Circuit { node, run, relay } => self.circuit_reserved(node, run, relay),
            Happening::Nearby { node, run, seen } => self.seen_nearby(node, run, seen),
            Happening::Record { node, run, key, value } => {
                self.give_in_run(node, run, Input::Record { key, value });
            }
            Happening::Online { node } => {
                if !self.nodes[node.0].online {
                    self.go_online(node);
                }
            }
            Happening::DiskRepaired { node } => self.nodes[node.0].disk.repair(),
            Happening::Meet { a, b, for_ms } => self.meet(a, b, for_ms),
            Happening::InReach { a, b, meeting } => self.in_reach(a, b, meeting),
            Happening::Part { a, b } => self.contact_ends(a, b),
            Happening::Post { node, request } => {
                self.post(node, *request);
            }
            Happening::Chaos => self.strike(),
        }
        true
    }

    fn give_in_run(&mut self, node: NodeId, run: u64, input: Input) {
        if self.is_in_run(node, run) {
            self.give(node, input);
        }
    }
}

fn derive(seed: u64, what: &str, a: u64, b: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for bytes in [&seed.to_be_bytes()[..], &a.to_be_bytes(), &b.to_be_bytes(), what.as_bytes()] {
        hasher.update(bytes);
    }
    *hasher.finalize().as_bytes()
}
