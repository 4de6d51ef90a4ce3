//! Address rules as behaviours: [`Gate`] judges dials that libp2p's protocols ask for with addresses of their own
//! (probes, hole punching, relays) and keeps one place from taking all half-open connections (T-49), [`Filtered`]
//! cleans what one behaviour offers to the others.
//!
//! Neither speaks to the network. [`Gate`] stands first in the behaviour, so nothing below it sees a refused dial.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::task::{Context, Poll};

use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    dummy,
};
use libp2p::{Multiaddr, PeerId};

use super::address::ip;
use super::reach::{Reach, Source};

/// A dial to an address that may not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address may not be dialled")]
pub(super) struct Refused;

/// Too many connections from one place are half open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many half-open connections from one place")]
pub(super) struct Crowded;

/// Half-open connections of one IP address; all together may be four times as many.
const HALF_OPEN_PER_IP_MAX: usize = 16;

/// Refuses dials whose explicit addresses are all forbidden to strangers. A list that mixes good and merely unusable
/// addresses, as hole punching sends it, passes: its dials cost one packet each and authenticate the peer.
pub(super) struct Gate {
    reach: Reach,
    /// Bounded by the limit on pending connections, which stands right behind.
    half_open: HashMap<ConnectionId, IpAddr>,
}

impl Gate {
    pub(super) fn new(reach: Reach) -> Self {
        Self { reach, half_open: HashMap::new() }
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        let Some(ip) = ip(remote) else { return Ok(()) };
        if self.half_open.values().filter(|other| **other == ip).count() >= HALF_OPEN_PER_IP_MAX {
            return Err(ConnectionDenied::new(Crowded));
        }
        self.half_open.insert(connection, ip);
        Ok(())
    }

    fn handle_pending_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: Option<PeerId>,
        addresses: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        if !addresses.is_empty() && !addresses.iter().any(|addr| self.reach.allows(addr, Source::Contact)) {
            return Err(ConnectionDenied::new(Refused));
        }
        Ok(Vec::new())
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.half_open.remove(&connection);
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        if let FromSwarm::ListenFailure(failure) = event {
            self.half_open.remove(&failure.connection_id);
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// A behaviour whose address claims pass the rules: what it would add to a dial, and what it takes for our own
/// address.
pub(super) struct Filtered<B> {
    /// The behaviour itself.
    pub(super) inner: B,
    reach: Reach,
}

impl<B> Filtered<B> {
    pub(super) fn new(inner: B, reach: Reach) -> Self {
        Self { inner, reach }
    }
}

impl<B: NetworkBehaviour> NetworkBehaviour for Filtered<B> {
    type ConnectionHandler = B::ConnectionHandler;
    type ToSwarm = B::ToSwarm;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.inner.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let mut offered = self.inner.handle_pending_outbound_connection(connection, peer, addresses, role)?;
        offered.retain(|addr| self.reach.allows(addr, Source::Stranger));
        Ok(offered)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.inner.handle_established_outbound_connection(connection, peer, addr, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        self.inner.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        self.inner.on_connection_handler_event(peer, connection, event);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        loop {
            match self.inner.poll(cx) {
                Poll::Ready(ToSwarm::NewExternalAddrCandidate(addr)) if !self.reach.is_candidate(&addr) => {}
                Poll::Ready(ToSwarm::NewExternalAddrOfPeer { address, .. })
                    if !self.reach.allows(&address, Source::Stranger) => {}
                other => return other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dial(gate: &mut Gate, addresses: &[&str]) -> bool {
        let addresses: Vec<Multiaddr> = addresses.iter().map(|text| text.parse().expect("a multiaddr")).collect();
        let connection = ConnectionId::new_unchecked(1);
        gate.handle_pending_outbound_connection(connection, None, &addresses, Endpoint::Dialer).is_ok()
    }

    #[test]
    fn t49_half_open_connections_of_one_place_leave_room_for_others() {
        let mut gate = Gate::new(Reach::default());
        let mut knock = |id: usize, text: &str| {
            let remote: Multiaddr = text.parse().expect("a multiaddr");
            gate.handle_pending_inbound_connection(ConnectionId::new_unchecked(id), &remote, &remote).is_ok()
        };
        for id in 0..HALF_OPEN_PER_IP_MAX {
            assert!(knock(id, "/ip4/198.51.100.1/tcp/1"));
        }
        assert!(!knock(100, "/ip4/198.51.100.1/tcp/2"));
        assert!(knock(101, "/ip4/198.51.100.2/tcp/1"));
    }

    #[test]
    fn t52_a_probe_of_a_private_address_is_refused() {
        let mut gate = Gate::new(Reach::new(false));
        assert!(!dial(&mut gate, &["/ip4/10.0.0.5/tcp/22"]));
        assert!(!dial(&mut gate, &["/ip4/127.0.0.1/tcp/4001", "/ip4/169.254.169.254/tcp/80"]));
        assert!(dial(&mut gate, &["/ip4/10.0.0.5/tcp/4001", "/ip4/198.51.100.1/tcp/4001"]));
        assert!(dial(&mut gate, &[]));
    }
}
