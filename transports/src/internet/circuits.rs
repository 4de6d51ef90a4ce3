//! Circuits held at relays: reserved on command, renewed by libp2p, reserved again after a loss with growing pauses.

use std::time::Duration;

use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use silbo_protocol::ids::PeerAddress;
use silbo_protocol::limits::RELAYS_MAX;
use tokio::time::Instant;

use super::address::{dialable, is_circuit, peer_id};
use super::driver::{Driver, Due};
use super::reach::Source;

/// Pause after the first loss; doubles each time …
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// … up to this.
const RETRY_MAX: Duration = Duration::from_secs(300);

/// A circuit we want at one relay.
#[derive(Debug)]
pub(super) struct Circuit {
    /// Where the relay listens, best first.
    addrs: Vec<Multiaddr>,
    /// Asked for or held.
    listener: Option<ListenerId>,
    /// Losses and refusals since it last held.
    failures: u32,
    /// When to try again, while there is no listener.
    retry_at: Option<Instant>,
}

impl Driver {
    /// Wants a circuit at a relay from now on.
    pub(super) fn reserve_circuit(&mut self, address: &PeerAddress) {
        let Some(relay) = peer_id(&address.peer).filter(|relay| *relay != self.local) else {
            return;
        };
        let mut addrs = dialable(address, &relay);
        addrs.retain(|addr| !is_circuit(addr) && self.reach.allows(addr, Source::Chosen));
        if addrs.is_empty() {
            tracing::debug!("a relay without a usable address");
            return;
        }
        addrs.iter().for_each(|addr| self.reach.choose(addr));
        if let Some(known) = self.circuits.get_mut(&relay) {
            known.addrs = addrs;
            return; // held, being asked for, or waiting for its turn
        }
        if self.circuits.len() >= RELAYS_MAX {
            tracing::warn!("too many relays: no circuit at one more");
            return;
        }
        self.circuits.insert(relay, Circuit { addrs, listener: None, failures: 0, retry_at: None });
        self.ask_for_circuit(relay);
    }

    fn ask_for_circuit(&mut self, relay: PeerId) {
        let connected = self.connected_at(relay);
        let Some(circuit) = self.circuits.get_mut(&relay) else {
            return;
        };
        // The address that works right now, else one after the other.
        let turn = usize::try_from(circuit.failures).unwrap_or(0).checked_rem(circuit.addrs.len()).unwrap_or(0);
        let known = connected.filter(|addr| circuit.addrs.contains(addr));
        let Some(addr) = known.or_else(|| circuit.addrs.get(turn).cloned()) else {
            return;
        };
        circuit.retry_at = None;
        match self.swarm.listen_on(addr.with(Protocol::P2p(relay)).with(Protocol::P2pCircuit)) {
            Ok(listener) => circuit.listener = Some(listener),
            Err(error) => {
                tracing::debug!(%error, "cannot ask for a circuit");
                self.try_circuit_later(relay);
            }
        }
    }

    /// The address at which we have dialled a peer.
    fn connected_at(&self, peer: PeerId) -> Option<Multiaddr> {
        let mut dialled = self.connections_of(peer).filter(|connection| connection.dialled);
        super::address::without_peer(dialled.next()?.remote.clone(), &peer)
    }

    fn try_circuit_later(&mut self, relay: PeerId) {
        let Some(circuit) = self.circuits.get_mut(&relay) else {
            return;
        };
        let pause = RETRY_FIRST.saturating_mul(1 << circuit.failures.min(10)).min(RETRY_MAX);
        circuit.listener = None;
        circuit.failures = circuit.failures.saturating_add(1);
        let at = Instant::now() + pause.mul_f64(rand::random_range(0.75..1.25));
        circuit.retry_at = Some(at);
        self.deadlines.insert((at, Due::Circuit(relay)));
    }

    pub(super) fn on_circuit_due(&mut self, relay: PeerId, now: Instant) {
        let due = |circuit: &Circuit| circuit.listener.is_none() && circuit.retry_at.is_some_and(|at| at <= now);
        if self.circuits.get(&relay).is_some_and(due) {
            self.ask_for_circuit(relay);
        }
    }

    pub(super) fn on_circuit_listening(&mut self, listener: ListenerId) {
        let mut circuits = self.circuits.values_mut();
        if let Some(circuit) = circuits.find(|circuit| circuit.listener == Some(listener)) {
            circuit.failures = 0;
        }
    }

    pub(super) fn on_circuit_closed(&mut self, listener: ListenerId) {
        let lost = self.circuits.iter().find(|(_, circuit)| circuit.listener == Some(listener));
        if let Some(relay) = lost.map(|(relay, _)| *relay) {
            self.try_circuit_later(relay);
        }
    }
}
