//! Peers, their connections and their link: dialling, agreeing on one stream, replacing a circuit by a direct path.
//!
//! Who wants a link opens a stream on the best connection; that is the dialer, or both. When both have opened one at
//! the same time, the stream of the smaller peer id stays. Nobody opens streams on connections that only the DHT uses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::time::Duration;

use libp2p::core::ConnectedPoint;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, Stream};
use libp2p::{Multiaddr, PeerId};
use silbo_protocol::ids::{LinkId, PeerAddress};
use silbo_protocol::input::Route;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::address::{dialable, ip, is_circuit, peer_id, peer_key, route};
use super::clock::unix_ms;
use super::driver::{Driver, Due};
use super::link_task::{LinkTask, Note, Role, await_accept, offer_replacement};
use super::reach::Source;
use crate::link::LinkEvent;
use crate::medium::INTERNET;
use crate::queue::{Full, Queue, queue};

/// A dial that has led to no link by then has failed.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Dials of one peer at a time: addresses learned meanwhile need not wait for those that lead nowhere.
const DIALS_MAX: usize = 3;

/// A peer that is connected, dialled, or linked.
#[derive(Debug, Default)]
pub(super) struct Peer {
    connections: Vec<ConnectionId>,
    link: Option<LinkId>,
    /// A link is wanted: `Up` or `DialFailed` is owed by then.
    wanted: Option<Instant>,
    /// Dials under way, and the addresses each tries.
    dials: Vec<(ConnectionId, Vec<Multiaddr>)>,
    /// The stream we have opened, not yet taken by the other end.
    proposal: Option<Proposal>,
    /// The other end is being asked whether it means to replace our link.
    replacing: bool,
}

#[derive(Clone, Copy, Debug)]
struct Proposal {
    attempt: u64,
    connection: ConnectionId,
}

/// An authenticated connection.
#[derive(Debug)]
pub(super) struct Connection {
    peer: PeerId,
    /// Where the other end is.
    pub(super) remote: Multiaddr,
    /// We dialled it, so `remote` is where the peer listens.
    pub(super) dialled: bool,
    /// The address of this machine it runs from; `None` where the system cannot say.
    local: Option<IpAddr>,
    route: Route,
}

/// A link as the driver sees it. Dropping it ends its task.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    pub(super) connection: ConnectionId,
    pub(super) route: Route,
    pub(super) connected_at: u64,
    queue: Queue,
    close: CancellationToken,
    task: Option<JoinHandle<()>>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close.cancel();
    }
}

impl Driver {
    /// Dials a peer for a link.
    pub(super) fn dial(&mut self, address: &PeerAddress, relay: bool) {
        let Some(peer) = peer_id(&address.peer).filter(|peer| *peer != self.local) else {
            self.push(LinkEvent::DialFailed { peer: address.peer.clone() });
            return;
        };
        let source = if relay { Source::Chosen } else { Source::Contact };
        let mut addrs = dialable(address, &peer);
        addrs.retain(|addr| self.reach.allows(addr, source));
        if relay {
            addrs.iter().for_each(|addr| self.reach.choose(addr));
            self.dht.remember_relay(peer);
        }
        self.swarm.behaviour_mut().limits.bypass_peer_id(&peer);

        let entry = self.peers.entry(peer).or_default();
        if entry.wanted.is_some() && entry.link.is_none() {
            addrs.retain(|addr| !entry.dials.iter().any(|(_, tried)| tried.contains(addr)));
            if !addrs.is_empty() && (1..DIALS_MAX).contains(&entry.dials.len()) {
                let deadline = Instant::now() + DIAL_TIMEOUT;
                entry.wanted = Some(deadline);
                self.deadlines.insert((deadline, Due::Dial(peer)));
                self.start_dial(peer, addrs, PeerCondition::Always);
            }
            return;
        }
        if let Some(link) = entry.link {
            let circuit = self.links.get(&link).is_some_and(|link| link.route == Route::Circuit);
            addrs.retain(|addr| !is_circuit(addr));
            if circuit && !addrs.is_empty() && entry.dials.is_empty() {
                self.start_dial(peer, addrs, PeerCondition::Always);
            }
            return;
        }
        let deadline = Instant::now() + DIAL_TIMEOUT;
        entry.wanted = Some(deadline);
        let known_elsewhere = address.addrs.is_empty();
        let connected = !entry.connections.is_empty();
        self.deadlines.insert((deadline, Due::Dial(peer)));
        if connected {
            self.propose(peer);
        } else if addrs.is_empty() && !known_elsewhere {
            tracing::debug!("none of a peer's addresses may be dialled");
            self.fail_dial(peer);
        } else {
            self.start_dial(peer, addrs, PeerCondition::Always);
        }
    }

    fn start_dial(&mut self, peer: PeerId, addrs: Vec<Multiaddr>, condition: PeerCondition) {
        let opts = if addrs.is_empty() {
            DialOpts::peer_id(peer).condition(condition).build()
        } else {
            DialOpts::peer_id(peer).condition(condition).addresses(addrs.clone()).build()
        };
        let connection = opts.connection_id();
        match self.swarm.dial(opts) {
            Ok(()) => self.peers.entry(peer).or_default().dials.push((connection, addrs)),
            Err(error) => {
                tracing::debug!(%error, "cannot dial");
                if self.peers.get(&peer).is_some_and(|entry| entry.dials.is_empty()) {
                    self.fail_dial(peer);
                }
            }
        }
    }

    /// Reports a failed dial, if one is owed.
    fn fail_dial(&mut self, peer: PeerId) {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        if entry.wanted.take().is_some() && entry.link.is_none() {
            self.push(LinkEvent::DialFailed { peer: peer_key(&peer) });
        }
        self.forget_if_idle(peer);
    }

    pub(super) fn on_dial_deadline(&mut self, peer: PeerId, now: Instant) {
        if self.peers.get(&peer).and_then(|entry| entry.wanted).is_some_and(|deadline| deadline <= now) {
            self.fail_dial(peer);
        }
    }

    pub(super) fn on_dial_error(&mut self, peer: Option<PeerId>, connection: ConnectionId) {
        let Some(peer) = peer else { return };
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        let before = entry.dials.len();
        entry.dials.retain(|(id, _)| *id != connection);
        if entry.dials.len() == before {
            return;
        }
        if !entry.connections.is_empty() || entry.link.is_some() {
            self.propose(peer);
        } else if entry.dials.is_empty() {
            self.fail_dial(peer);
        }
    }

    pub(super) fn on_established(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let remote = endpoint.get_remote_address().clone();
        // The accepting end of a circuit sees no relay in the other end's address.
        let route = if endpoint.is_relayed() { Route::Circuit } else { route(&remote) };
        tracing::debug!(?route, dialled = endpoint.is_dialer(), "connected");
        let local = ip(&remote).and_then(source_towards);
        self.connections.insert(id, Connection { peer, remote, dialled: endpoint.is_dialer(), local, route });
        let local = self.local;
        let entry = self.peers.entry(peer).or_default();
        entry.connections.push(id);
        entry.dials.retain(|(dial, _)| *dial != id);
        match entry.link {
            None if entry.wanted.is_some() => self.propose(peer),
            // Both ends see the direct connection; one of them moves the link.
            Some(link)
                if local < peer
                    && route != Route::Circuit
                    && self.links.get(&link).is_some_and(|link| link.route == Route::Circuit) =>
            {
                self.propose(peer);
            }
            _ => {}
        }
    }

    pub(super) fn on_connection_closed(&mut self, peer: PeerId, id: ConnectionId) {
        self.connections.remove(&id);
        // A stream of a Yamux connection that was closed at this end is not told: its reader would wait on.
        self.links.values().filter(|link| link.connection == id).for_each(|link| link.close.cancel());
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        entry.connections.retain(|known| *known != id);
        if entry.proposal.is_some_and(|proposal| proposal.connection == id) {
            entry.proposal = None;
        }
        let idle = entry.proposal.is_none() && entry.link.is_none();
        if idle && entry.wanted.is_some() {
            if !entry.connections.is_empty() {
                self.propose(peer);
            } else if entry.dials.is_empty() {
                self.fail_dial(peer);
            }
        }
        self.forget_if_idle(peer);
    }

    fn forget_if_idle(&mut self, peer: PeerId) {
        let Some(entry) = self.peers.get(&peer) else {
            return;
        };
        let busy = entry.link.is_some() || entry.wanted.is_some() || !entry.dials.is_empty() || entry.replacing;
        if !busy && entry.connections.is_empty() {
            self.peers.remove(&peer);
            self.swarm.behaviour_mut().limits.remove_peer_id(&peer);
        }
    }

    /// Opens a stream on the best connection of a peer, unless one is being agreed on.
    fn propose(&mut self, peer: PeerId) {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        if entry.proposal.is_some() {
            return;
        }
        let connections = &self.connections;
        let best = entry.connections.iter().filter_map(|id| Some((connections.get(id)?.route, *id))).max();
        let Some((_, connection)) = best else { return };
        self.attempts = self.attempts.wrapping_add(1);
        entry.proposal = Some(Proposal { attempt: self.attempts, connection });
        self.swarm.behaviour_mut().streams.open(peer, connection);
    }

    /// The stream we asked for is open: ask the other end to take it.
    pub(super) fn on_outbound(&mut self, peer: PeerId, connection: ConnectionId, stream: Stream) {
        let proposal = self.peers.get(&peer).and_then(|entry| entry.proposal);
        let Some(proposal) = proposal.filter(|proposal| proposal.connection == connection) else {
            return;
        };
        self.spawn_note(await_accept(stream, peer, connection, proposal.attempt));
    }

    /// The other end does not speak our protocol, or the connection is dying.
    pub(super) fn on_open_failed(&mut self, peer: PeerId, connection: ConnectionId) {
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        if entry.proposal.is_some_and(|proposal| proposal.connection == connection) {
            entry.proposal = None;
            self.fail_dial(peer);
        }
    }

    /// The other end opened a stream.
    pub(super) fn on_inbound(&mut self, peer: PeerId, connection: ConnectionId, stream: Stream) {
        let local = self.local;
        let Some(entry) = self.peers.get_mut(&peer) else {
            return;
        };
        if entry.proposal.is_some() && local < peer {
            return; // both opened one, and ours stays
        }
        entry.proposal = None;
        if entry.link.is_none() {
            self.start_link(peer, connection, stream, Role::Acceptor);
        } else if !entry.replacing {
            entry.replacing = true;
            self.spawn_note(offer_replacement(stream, peer, connection));
        }
    }

    fn spawn_note(&self, note: impl Future<Output = Note> + Send + 'static) {
        let (notes, stop) = (self.notes_out.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let told = async { notes.send(note.await).await };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                _sent = told => {}
            }
        });
    }

    pub(super) fn on_note(&mut self, note: Note) {
        match note {
            Note::Accepted { peer, connection, attempt, stream } => {
                let Some(entry) = self.peers.get_mut(&peer) else {
                    return;
                };
                if entry.proposal.is_some_and(|proposal| proposal.attempt == attempt) {
                    entry.proposal = None;
                    self.start_link(peer, connection, stream, Role::Opener);
                }
            }
            Note::Refused { peer, connection, attempt } => {
                tracing::debug!(%connection, "the other end did not take our stream");
                let Some(entry) = self.peers.get_mut(&peer) else {
                    return;
                };
                if entry.proposal.is_some_and(|proposal| proposal.attempt == attempt) {
                    entry.proposal = None; // its own stream is on the way, or the deadline decides
                }
            }
            Note::Replaced { peer, connection, stream } => {
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.replacing = false;
                    self.start_link(peer, connection, stream, Role::Agreed);
                }
            }
            Note::Kept { peer } => {
                if let Some(entry) = self.peers.get_mut(&peer) {
                    entry.replacing = false;
                    self.forget_if_idle(peer);
                }
            }
            Note::Ended { link, peer, connection, violation } => {
                self.forget_link(link);
                if violation {
                    self.close_connection(peer, connection);
                }
            }
        }
    }

    /// Makes a stream the peer's link, in place of the one it has.
    fn start_link(&mut self, peer: PeerId, connection: ConnectionId, stream: Stream, role: Role) {
        let Some(Connection { route, .. }) = self.connections.get(&connection) else {
            return;
        };
        let route = *route;
        let link = self.settings.link_ids.next_id();
        let entry = self.peers.entry(peer).or_default();
        entry.wanted = None;
        let old = entry.link.replace(link).and_then(|old| self.links.remove(&old));
        let previous = old.and_then(|mut old| {
            old.close.cancel();
            if old.route == Route::Circuit && old.connection != connection {
                self.swarm.close_connection(old.connection);
            }
            old.task.take()
        });
        let (queue, drain) = queue(INTERNET);
        let close = CancellationToken::new();
        let task = LinkTask {
            link,
            peer,
            peer_key: peer_key(&peer),
            local: self.local_key.clone(),
            connection,
            route,
            role,
            stream,
            drain,
            events: self.events.clone(),
            notes: self.notes_out.clone(),
            close: close.clone(),
            stop: self.stop.clone(),
            previous,
        };
        let task = Some(self.tasks.spawn(task.run()));
        self.links.insert(link, Link { peer, connection, route, connected_at: unix_ms(), queue, close, task });
        tracing::debug!(%link, ?route, "link up");
        self.announce_soon();
    }

    /// Hands a frame to its link; a link that has no room for it is closed.
    pub(super) fn send_frame(&mut self, link: LinkId, bytes: Vec<u8>) {
        let Some(known) = self.links.get(&link) else {
            return;
        };
        if known.queue.push(bytes) == Err(Full) {
            tracing::warn!(%link, "the queue is full: the link is closed");
            known.close.cancel();
        }
    }

    /// Ends a link and the connection below it.
    pub(super) fn close_link(&mut self, link: LinkId) {
        let Some(known) = self.links.get(&link) else {
            return;
        };
        let (peer, connection) = (known.peer, known.connection);
        known.close.cancel();
        self.close_connection(peer, connection);
    }

    /// This machine has lost an address: what ran from it is dead, and would be noticed only after a long silence.
    pub(super) fn on_address_lost(&mut self, gone: IpAddr) {
        let dead = self.connections.iter().filter(|(_, connection)| connection.local == Some(gone));
        let dead: Vec<(PeerId, ConnectionId)> = dead.map(|(id, connection)| (connection.peer, *id)).collect();
        for (peer, id) in dead {
            tracing::debug!(%id, "the address below a connection is gone");
            self.close_connection(peer, id);
        }
    }

    pub(super) fn close_connection(&mut self, peer: PeerId, connection: ConnectionId) {
        let known = self.connections.get(&connection).is_some_and(|known| known.peer == peer);
        if known && !self.swarm.close_connection(connection) {
            tracing::debug!(%connection, "was closed already");
        }
    }

    fn forget_link(&mut self, link: LinkId) {
        let Some(known) = self.links.remove(&link) else {
            return;
        };
        let peer = known.peer;
        if let Some(entry) = self.peers.get_mut(&peer)
            && entry.link == Some(link)
        {
            entry.link = None;
        }
        self.forget_if_idle(peer);
        self.announce_soon();
    }
}

/// The address this machine writes to `remote` from. Asks the system for the route; nothing is sent.
fn source_towards(remote: IpAddr) -> Option<IpAddr> {
    let any = if remote.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((remote, 9)).ok()?;
    socket.local_addr().ok().map(|local| local.ip()).filter(|local| !local.is_unspecified())
}

impl Driver {
    /// The connections of a peer.
    pub(super) fn connections_of(&self, peer: PeerId) -> impl Iterator<Item = &Connection> {
        let ids = self.peers.get(&peer).map(|entry| entry.connections.as_slice()).unwrap_or_default();
        ids.iter().filter_map(|id| self.connections.get(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_this_machine_starts_here() {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_eq!(source_towards(here), Some(here));
    }
}
