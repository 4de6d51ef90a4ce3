//! Links and who can reach whom.
//!
//! ```text
//!   Dial ──latency──▶ DialArrives ──▶ LinkUp at both ends │ DialFailed at the dialler
//! ```
//! Frames of one link arrive whole, once and in order until the link is cut; what was handed over after the cut
//! vanishes, and the two ends learn of it at different times. Two links of one pair are independent of each other.

use std::collections::{BTreeMap, BTreeSet};

use silbo_protocol::ids::{LinkId, PeerAddress, PeerKey};
use silbo_protocol::input::{Input, Route};

use crate::address::{self, Place};
use crate::meetings::{Meetings, Tally};
use crate::node::NodeId;
use crate::world::{Happening, World};

/// How others can reach a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Anyone can dial it.
    #[default]
    Public,
    /// It can dial others; others need a circuit.
    BehindNat,
    /// Like `BehindNat`, and everyone on the same numbered network sees it nearby.
    Lan(u32),
    /// It has no network at all: only devices within reach of its radio, see [`World::contact_begins`].
    RadioOnly,
}

/// Longest time until the far end of a cut link notices.
const CUT_NOTICED_MS_MAX: u64 = 15_000;
/// Until a dial to a silent address is given up.
const DIAL_TIMEOUT_MS: u64 = 5_000;

/// All links, and what keeps nodes apart.
#[derive(Debug, Default)]
pub(crate) struct Network {
    links: BTreeMap<u64, Link>,
    /// Links that have an end at a node, dead ones among them until they are swept.
    links_at: BTreeMap<NodeId, BTreeSet<u64>>,
    next_link: u64,
    sweep_at: usize,
    reach: BTreeMap<NodeId, Reach>,
    pub(crate) meetings: Meetings,
    pub(crate) tally: Tally,
    blocked: BTreeSet<(NodeId, NodeId)>,
    apart: BTreeSet<(NodeId, NodeId)>,
}

#[derive(Debug)]
struct Link {
    ends: [End; 2],
    route: Route,
    /// Frames handed over from then on vanish.
    cut: bool,
    /// A physical contact: when each direction is free for the next frame, in microseconds.
    air: Option<[u64; 2]>,
}

#[derive(Debug)]
struct End {
    /// `None` for a stranger that the scenario plays itself.
    node: Option<(NodeId, u64)>,
    peer: PeerKey,
    up: bool,
    /// Nothing arrives here earlier, so that frames stay in order.
    arrives_ms: u64,
}

impl Link {
    fn is_dead(&self) -> bool {
        self.cut && !self.ends.iter().any(|end| end.up)
    }
}

impl Network {
    fn reach(&self, node: NodeId) -> Reach {
        self.reach.get(&node).copied().unwrap_or_default()
    }

    fn end_mut(&mut self, link: LinkId) -> Option<(&mut Link, usize)> {
        Some((self.links.get_mut(&(link.0 / 2))?, (link.0 % 2) as usize))
    }

    /// The node that a frame on this link would reach, and in which of its runs it has to be.
    pub(crate) fn reader(&self, id: LinkId) -> Option<(NodeId, u64)> {
        let end = &self.links.get(&(id.0 / 2))?.ends[(id.0 % 2) as usize];
        end.node.filter(|_| end.up)
    }

    /// Links with a live engine at `node`.
    pub(crate) fn links_of(&self, node: NodeId) -> Vec<LinkId> {
        let known = self.links_at.get(&node).into_iter().flatten();
        let links = known.filter_map(|id| Some((id, self.links.get(id)?)));
        let ends = links.flat_map(|(id, link)| (0..2).map(move |side| (id, side, &link.ends[side])));
        ends.filter(|(_, _, end)| end.up && end.node.is_some_and(|(owner, _)| owner == node))
            .map(|(id, side, _)| LinkId(id * 2 + side as u64))
            .collect()
    }

    /// Takes dead links away when there are twice as many as after the last time.
    fn sweep(&mut self) {
        if self.links.len() < self.sweep_at {
            return;
        }
        self.links.retain(|_, link| !link.is_dead());
        for known in self.links_at.values_mut() {
            known.retain(|id| self.links.contains_key(id));
        }
        self.links_at.retain(|_, known| !known.is_empty());
        self.sweep_at = 64.max(self.links.len() * 2);
    }

    pub(crate) fn any_link(&self, pick: u64) -> Option<LinkId> {
        let open: Vec<u64> = self.links.iter().filter(|(_, link)| !link.cut).map(|(id, _)| *id).collect();
        let at = pick.checked_rem(open.len() as u64)? as usize;
        open.get(at).map(|id| LinkId(id * 2))
    }

    pub(crate) fn unblock_all(&mut self) {
        self.blocked.clone_from(&self.apart);
    }
}

impl World {
    /// Changes how others reach a node. Links that exist stay.
    pub fn set_reach(&mut self, node: NodeId, reach: Reach) {
        self.network.reach.insert(node, reach);
        self.look_around(node);
    }

    /// Keeps two nodes from making links with each other, circuits too, and cuts the ones they have.
    pub fn block_pair(&mut self, a: NodeId, b: NodeId) {
        self.network.blocked.insert((a.min(b), a.max(b)));
        for link in self.links_between(a, b) {
            self.cut_link(link);
        }
    }

    /// Like [`World::block_pair`], and healing does not end it.
    pub fn keep_apart(&mut self, a: NodeId, b: NodeId) {
        self.network.apart.insert((a.min(b), a.max(b)));
        self.block_pair(a, b);
    }

    /// Lets them again.
    pub fn unblock_pair(&mut self, a: NodeId, b: NodeId) {
        self.network.blocked.remove(&(a.min(b), a.max(b)));
    }

    /// Takes a node off the network; its engine goes on.
    pub fn go_offline(&mut self, node: NodeId) {
        self.trace.note(self.now_ms(), node, "offline");
        self.node_mut(node).online = false;
        for link in self.network.links_of(node) {
            self.lose_end(link);
        }
    }

    /// Brings a node back.
    pub fn go_online(&mut self, node: NodeId) {
        self.trace.note(self.now_ms(), node, "online");
        self.node_mut(node).online = true;
        self.tell_address(node);
        self.look_around(node);
        self.meet_again(node);
    }

    /// True while a link that both ends know of joins two nodes.
    pub fn linked(&self, a: NodeId, b: NodeId) -> bool {
        !self.links_between(a, b).is_empty()
    }

    /// Cuts every link of two nodes, as a change of networks does.
    pub fn cut_between(&mut self, a: NodeId, b: NodeId) {
        for link in self.links_between(a, b) {
            self.cut_link(link);
        }
    }

    /// A link to a peer that is no node of this world; the scenario hands frames in with [`World::inject`].
    pub fn stranger_link(&mut self, node: NodeId) -> LinkId {
        let run = self.node(node).run;
        let stranger = address::peer_key(self.chance.bytes());
        let local = self.node(node).peer.clone();
        let ends = [
            End { node: None, peer: stranger.clone(), up: false, arrives_ms: 0 },
            End { node: Some((node, run)), peer: local.clone(), up: true, arrives_ms: 0 },
        ];
        let id = self.add_link(Link { ends, route: Route::Direct, cut: false, air: None });
        let link = LinkId(id * 2 + 1);
        self.give(node, Input::LinkUp { link, peer: stranger, local, route: Route::Direct });
        link
    }

    /// Hands bytes to a node as if they came on a link. Does nothing when the node has closed it.
    pub fn inject(&mut self, node: NodeId, link: LinkId, bytes: Vec<u8>) {
        if self.network.links_of(node).contains(&link) {
            self.give(node, Input::Frame { link, bytes });
        }
    }

    fn add_link(&mut self, link: Link) -> u64 {
        self.network.sweep();
        let id = self.network.next_link;
        self.network.next_link += 1;
        for (node, _) in link.ends.iter().filter_map(|end| end.node) {
            self.network.links_at.entry(node).or_default().insert(id);
        }
        self.network.links.insert(id, link);
        id
    }

    /// A link of two devices within reach of each other. Both ends are told at once.
    pub(crate) fn add_radio_link(&mut self, a: NodeId, b: NodeId) -> u64 {
        let ends = [a, b].map(|node| {
            let state = self.node(node);
            End { node: Some((node, state.run)), peer: state.peer.clone(), up: false, arrives_ms: 0 }
        });
        let id = self.add_link(Link { ends, route: Route::Radio, cut: false, air: Some([0; 2]) });
        self.after(0, Happening::LinkUp { link: LinkId(id * 2) });
        self.after(0, Happening::LinkUp { link: LinkId(id * 2 + 1) });
        id
    }

    /// Takes a link from both ends at once; what is under way is lost.
    pub(crate) fn end_radio_link(&mut self, id: u64) {
        if let Some(link) = self.network.links.get_mut(&id) {
            link.cut = true;
        }
        for side in 0..2 {
            self.link_down(LinkId(id * 2 + side));
        }
    }

    /// True while both ends of a link may use it.
    pub(crate) fn is_link_alive(&self, id: u64) -> bool {
        self.network.links.get(&id).is_some_and(|link| !link.cut)
    }

    fn links_between(&self, a: NodeId, b: NodeId) -> Vec<LinkId> {
        let joins = |link: &Link| {
            let owners = [0, 1].map(|side| link.ends[side].node.map(|(node, _)| node));
            owners == [Some(a), Some(b)] || owners == [Some(b), Some(a)]
        };
        let known = self.network.links_at.get(&a).into_iter().flatten();
        let links = known.filter_map(|id| Some((id, self.network.links.get(id)?)));
        let links = links.filter(|(_, link)| !link.cut && joins(link));
        links.filter(|(_, link)| link.ends.iter().all(|end| end.up)).map(|(id, _)| LinkId(id * 2)).collect()
    }

    fn is_blocked(&self, a: NodeId, b: NodeId) -> bool {
        self.network.blocked.contains(&(a.min(b), a.max(b)))
    }

    /// How `from` reaches `to` without help, if it does.
    fn way(&self, from: NodeId, to: NodeId) -> Option<Route> {
        let ready = |node: NodeId| self.nodes.get(node.0).is_some_and(|node| node.online && node.is_on());
        if from == to || !ready(from) || !ready(to) || self.is_blocked(from, to) {
            return None;
        }
        if [from, to].iter().any(|node| self.network.reach(*node) == Reach::RadioOnly) {
            return None;
        }
        match (self.network.reach(from), self.network.reach(to)) {
            (Reach::Lan(a), Reach::Lan(b)) if a == b => Some(Route::Local),
            (_, Reach::Public) => Some(Route::Direct),
            _ => None,
        }
    }

    /// Whom a dial reaches: the best route over all addresses.
    fn resolve(&self, from: NodeId, address: &PeerAddress) -> Option<(NodeId, Route)> {
        let is_peer = |node: &NodeId| self.nodes.get(node.0).is_some_and(|node| node.peer == address.peer);
        let by_key = self.peers.get(&address.peer).copied().filter(is_peer);
        let nearby = by_key.and_then(|to| Some((to, self.way(from, to)?))).filter(|(_, route)| *route == Route::Local);
        let mut best = if address.addrs.is_empty() { nearby } else { None };
        for place in address.addrs.iter().filter_map(|bytes| address::place(bytes)) {
            let found = match place {
                Place::Direct(to) if is_peer(&to) => self.way(from, to).map(|route| (to, route)),
                Place::Direct(_) => None,
                Place::Circuit(relay) => by_key
                    .filter(|to| !self.is_blocked(from, *to) && self.nodes[to.0].circuits.contains(&relay))
                    .filter(|to| self.way(from, relay).is_some() && self.way(*to, relay).is_some())
                    .map(|to| (to, Route::Circuit)),
            };
            best = match (best, found) {
                (Some(old), Some(new)) if new.1 <= old.1 => Some(old),
                (old, new) => new.or(old),
            };
        }
        best
    }

    pub(crate) fn latency_ms(&mut self, route: Route) -> u64 {
        match route {
            Route::Radio | Route::Local => 1 + self.chance.below(5),
            Route::Direct => 10 + self.chance.below(110),
            Route::Circuit => 40 + self.chance.below(260),
        }
    }

    pub(crate) fn dial(&mut self, from: NodeId, address: PeerAddress) {
        let run = self.node(from).run;
        if self.network.reach(from) == Reach::RadioOnly {
            return self.after(0, Happening::DialFailed { node: from, run, peer: address.peer });
        }
        let delay = self.latency_ms(Route::Direct);
        self.after(delay, Happening::DialArrives { node: from, run, address });
    }

    pub(crate) fn dial_arrives(&mut self, from: NodeId, run: u64, address: PeerAddress) {
        if !self.is_in_run(from, run) {
            return;
        }
        let Some((to, route)) = self.resolve(from, &address) else {
            let silent = self.chance.below(2) * DIAL_TIMEOUT_MS;
            self.after(silent, Happening::DialFailed { node: from, run, peer: address.peer });
            return;
        };
        let far_run = self.node(to).run;
        let latency = self.latency_ms(route);
        let now_ms = self.now_ms();
        let ends = [
            End {
                node: Some((from, run)),
                peer: self.node(from).peer.clone(),
                up: false,
                arrives_ms: now_ms + latency,
            },
            End { node: Some((to, far_run)), peer: self.node(to).peer.clone(), up: false, arrives_ms: now_ms },
        ];
        let id = self.add_link(Link { ends, route, cut: false, air: None });
        self.after(0, Happening::LinkUp { link: LinkId(id * 2 + 1) });
        self.after(latency, Happening::LinkUp { link: LinkId(id * 2) });
    }

    pub(crate) fn link_up(&mut self, id: LinkId) {
        let Some((link, side)) = self.network.end_mut(id) else { return };
        let peer = link.ends[1 - side].peer.clone();
        let local = link.ends[side].peer.clone();
        let (route, cut) = (link.route, link.cut);
        let Some((node, run)) = link.ends[side].node else { return };
        if !self.is_in_run(node, run) {
            self.cut_link(id);
            return;
        }
        if cut || !self.node(node).online {
            self.cut_link(id);
            if side == 0 {
                self.give(node, Input::DialFailed { peer });
            }
            return;
        }
        if let Some((link, side)) = self.network.end_mut(id) {
            link.ends[side].up = true;
        }
        self.give(node, Input::LinkUp { link: id, peer, local, route });
    }

    pub(crate) fn send_frame(&mut self, from: NodeId, id: LinkId, bytes: Vec<u8>) {
        let to = self.network.links.get(&(id.0 / 2)).and_then(|link| link.ends[1 - (id.0 % 2) as usize].node);
        self.check_sent(from, to.map(|(node, _)| node), &bytes);
        let hostility = self.node(from).hostility;
        let Some((link, side)) = self.network.end_mut(id) else { return };
        let far_is_node = link.ends[1 - side].node.is_some();
        let route = link.route;
        if link.cut || !link.ends[side].up || !far_is_node {
            return;
        }
        let has_air = link.air.is_some();
        let kept = if self.node(from).drops_carried { self.without_carried(from, bytes) } else { Some(bytes) };
        let Some(bytes) = kept else { return };
        for sent in hostility.treat(bytes, &mut self.chance) {
            let latency = if has_air { 0 } else { self.latency_ms(route) };
            let sent_ms = if has_air { self.through_air(id, sent.bytes.len()) } else { Some(self.now_ms()) };
            let Some(sent_ms) = sent_ms else { return self.cut_link(id) };
            let mut at_ms = sent_ms + latency + sent.late_ms.unwrap_or(0);
            let Some((link, side)) = self.network.end_mut(id) else { return };
            let far = &mut link.ends[1 - side];
            at_ms = at_ms.max(far.arrives_ms);
            if sent.late_ms.is_none() {
                far.arrives_ms = at_ms;
            }
            self.at(at_ms, Happening::Frame { link: LinkId(id.0 ^ 1), bytes: sent.bytes });
        }
    }

    /// When a frame is through the air of its link; `None` when the link breaks over it.
    fn through_air(&mut self, id: LinkId, frame_bytes: usize) -> Option<u64> {
        let took = self.network.meetings.radio.transfer_us(frame_bytes as u64, &mut self.chance)?;
        let delay_ms = self.network.meetings.radio.delay_ms;
        let now_us = self.now_ms() * 1_000;
        let (link, side) = self.network.end_mut(id)?;
        let free_us = &mut link.air.as_mut()?[side];
        *free_us = now_us.max(*free_us) + took;
        Some(free_us.div_ceil(1_000) + delay_ms)
    }

    pub(crate) fn frame_arrives(&mut self, id: LinkId, bytes: Vec<u8>) {
        let Some((link, side)) = self.network.end_mut(id) else { return };
        let Some((node, run)) = link.ends[side].node.filter(|_| link.ends[side].up) else { return };
        let has_air = link.air.is_some();
        let far = link.ends[1 - side].node;
        if self.is_in_run(node, run) && self.node(node).online {
            if let Some((from, _)) = far {
                self.overhear(from, node, &bytes);
            }
            if has_air {
                self.count_frame(&bytes);
            }
            self.note_deposit(node, &bytes);
            self.record_frame(node, &bytes);
            self.give(node, Input::Frame { link: id, bytes });
        }
    }

    pub(crate) fn link_down(&mut self, id: LinkId) {
        let Some((link, side)) = self.network.end_mut(id) else { return };
        let end = &mut link.ends[side];
        let Some((node, run)) = end.node.filter(|_| end.up) else { return };
        end.up = false;
        if self.is_in_run(node, run) {
            self.give(node, Input::LinkDown { link: id });
        }
    }

    /// Cuts a link for both ends; each notices in its own time.
    pub(crate) fn cut_link(&mut self, id: LinkId) {
        let Some((link, _)) = self.network.end_mut(id) else { return };
        if link.cut {
            return;
        }
        link.cut = true;
        for side in 0..2 {
            let noticed = self.chance.below(2) * self.chance.below(CUT_NOTICED_MS_MAX);
            self.after(noticed, Happening::LinkDown { link: LinkId(id.0 / 2 * 2 + side) });
        }
    }

    /// This end is told at once, the other one later.
    pub(crate) fn lose_end(&mut self, id: LinkId) {
        self.cut_link(id);
        self.after(0, Happening::LinkDown { link: id });
    }

    /// The node at this end is gone and is told nothing.
    pub(crate) fn abandon_ends(&mut self, node: NodeId) {
        for id in self.network.links_of(node) {
            if let Some((link, side)) = self.network.end_mut(id) {
                link.ends[side].up = false;
            }
            self.cut_link(id);
        }
    }

    pub(crate) fn reserve_circuit(&mut self, node: NodeId, address: &PeerAddress) {
        let run = self.node(node).run;
        if let Some((relay, _)) = self.resolve(node, address).filter(|(_, route)| *route != Route::Circuit) {
            let delay = self.latency_ms(Route::Direct);
            self.after(delay, Happening::Circuit { node, run, relay });
        }
    }

    pub(crate) fn circuit_reserved(&mut self, node: NodeId, run: u64, relay: NodeId) {
        if self.is_in_run(node, run) && self.way(node, relay).is_some() {
            self.node_mut(node).circuits.insert(relay);
            self.tell_address(node);
        }
    }

    /// Tells a node its own address as its transport would.
    pub(crate) fn tell_address(&mut self, id: NodeId) {
        let node = self.node(id);
        if !node.is_on() || !node.online {
            return;
        }
        if self.network.reach(id) == Reach::RadioOnly {
            return;
        }
        let mut address = node.address();
        for relay in &node.circuits {
            address.addrs.push(address::circuit(*relay, &self.node(*relay).peer));
        }
        self.give(id, Input::OwnAddress { address });
    }

    /// True while a node has some network besides its radio.
    pub(crate) fn has_network(&self, id: NodeId) -> bool {
        self.node(id).online && self.network.reach(id) != Reach::RadioOnly
    }

    /// Nodes of one local network see each other.
    pub(crate) fn look_around(&mut self, id: NodeId) {
        let Reach::Lan(_) = self.network.reach(id) else { return };
        let others: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        for other in others {
            if self.way(id, other) == Some(Route::Local) {
                for (seer, seen) in [(id, other), (other, id)] {
                    let delay = 100 + self.chance.below(2_000);
                    let run = self.node(seer).run;
                    self.after(delay, Happening::Nearby { node: seer, run, seen });
                }
            }
        }
    }

    pub(crate) fn seen_nearby(&mut self, node: NodeId, run: u64, seen: NodeId) {
        if self.is_in_run(node, run) && self.way(node, seen) == Some(Route::Local) {
            let address = self.node(seen).address();
            self.give(node, Input::Nearby { address });
        }
    }
}
