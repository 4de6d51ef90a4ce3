//! Where we can be dialled, and how the transport looks: worked out anew after every change, 200 ms after the first.

use std::collections::BTreeSet;
use std::time::Duration;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::FromSwarm;
use libp2p::swarm::NetworkBehaviour as _;
use libp2p::swarm::behaviour::{NewListenAddr, NewListener};
use silbo_protocol::ids::PeerAddress;
use silbo_protocol::limits::ADDRESSES_PER_PEER_MAX;
use tokio::time::Instant;

use super::address::{Place, ip, is_circuit, peer_key, place, without_peer};
use super::behaviour;
use super::driver::{Driver, Due};
use super::settings::DhtMode;
use super::snapshot::{NatStatus, NetPeer, NetSnapshot};
use crate::link::{Health, LinkEvent};

/// Changes come in bursts (one address per interface and protocol).
const DEBOUNCE: Duration = Duration::from_millis(200);
/// Of one kind in the addresses we tell: others need room too.
const PER_KIND_MAX: usize = 3;

impl Driver {
    /// Arms the announcement.
    pub(super) fn announce_soon(&mut self) {
        if !self.announce_armed {
            self.announce_armed = true;
            self.deadlines.insert((Instant::now() + DEBOUNCE, Due::Announce));
        }
    }

    /// Works out addresses, role and snapshot, and tells what has changed.
    pub(super) fn announce(&mut self) {
        let listen = self.listen_addrs();
        if self.reach.set_own(listen.iter().filter_map(ip).collect()) {
            // Neighbours that answered sooner were not believed: their addresses were of no network of ours.
            self.look_around();
        }
        self.serve_at(&listen);
        let circuits = self.circuit_addrs();
        let mut external: Vec<Multiaddr> =
            self.swarm.external_addresses().filter(|addr| !is_circuit(addr)).cloned().collect();
        external.sort_by_key(rank);
        self.review_reachability(&external);
        let dht_server = self.review_dht_mode();
        self.review_mdns();

        let own = own_address(&external, &circuits, &listen);
        let own = PeerAddress { peer: self.local_key.clone(), addrs: own.iter().map(|addr| addr.to_vec()).collect() };
        if self.announced.as_ref() != Some(&own) {
            let first = self.announced.is_none();
            self.announced = Some(own.clone());
            self.pending.retain(|event| !matches!(event, LinkEvent::OwnAddress { .. }));
            let event = LinkEvent::OwnAddress { address: own };
            // Who we are comes before whom we have seen.
            if first {
                self.pending.push_front(event);
            } else {
                self.push(event);
            }
        }

        let text = |addrs: &[Multiaddr]| addrs.iter().map(|addr| addr.to_string()).collect();
        let snapshot = NetSnapshot {
            local: self.local_key.clone(),
            peer_id: self.local.to_base58(),
            listen: text(&listen),
            external: text(&external),
            circuits: text(&circuits),
            nat: self.nat,
            upnp: !self.upnp_addrs.is_empty(),
            mdns: self.swarm.behaviour().mdns.is_enabled(),
            dht_peers: self.dht_peers(),
            dht_server,
            peers: self.net_peers(),
        };
        self.snapshot.send_if_modified(|old| {
            let changed = *old != snapshot;
            *old = snapshot;
            changed
        });
    }

    /// Direct addresses listened on, best first; loopback only where there is nothing else, link-local IPv6 never.
    fn listen_addrs(&self) -> Vec<Multiaddr> {
        let named = |addr: &&Multiaddr| !is_circuit(addr) && !ip(addr).is_some_and(is_link_local);
        let all: BTreeSet<Multiaddr> = self.swarm.listeners().filter(named).cloned().collect();
        let is_machine = |addr: &Multiaddr| ip(addr).map(place) == Some(Place::Machine);
        let only_machine = all.iter().all(is_machine);
        let mut listen: Vec<Multiaddr> = all.into_iter().filter(|addr| only_machine || !is_machine(addr)).collect();
        listen.sort_by_key(rank);
        listen
    }

    /// Circuits held, as `…/p2p/RELAY/p2p-circuit`.
    fn circuit_addrs(&self) -> Vec<Multiaddr> {
        let held: BTreeSet<Multiaddr> = self
            .swarm
            .listeners()
            .filter(|addr| is_circuit(addr))
            .filter_map(|addr| without_peer(addr.clone(), &self.local))
            .collect();
        held.into_iter().collect()
    }

    /// A server counts the addresses it listens on as reachable; without any, relays give reservations nobody can
    /// use.
    fn serve_at(&mut self, listen: &[Multiaddr]) {
        if !self.settings.relay_server && self.settings.dht_server != DhtMode::On {
            return;
        }
        let wanted: BTreeSet<Multiaddr> = listen.iter().cloned().collect();
        for gone in self.own_external.difference(&wanted) {
            self.swarm.remove_external_address(gone);
        }
        for addr in wanted.difference(&self.own_external) {
            self.swarm.add_external_address(addr.clone());
        }
        self.own_external = wanted;
    }

    fn review_reachability(&mut self, external: &[Multiaddr]) {
        let public = external.iter().any(|addr| self.reach.is_public(addr));
        let before = self.nat;
        if public {
            self.nat = NatStatus::Public;
        } else if self.nat == NatStatus::Public {
            self.nat = NatStatus::Private;
        }
        if before != self.nat {
            self.push(LinkEvent::Health(Health::Reachable(public)));
        }
    }

    /// Asks the local network often while there is nobody, rarely afterwards.
    fn review_mdns(&mut self) {
        let lonely = self.links.is_empty();
        if lonely == self.mdns_lonely || !self.swarm.behaviour().mdns.is_enabled() {
            return;
        }
        self.mdns_lonely = lonely;
        self.begin_mdns_anew();
    }

    /// Asks the local network right away.
    pub(super) fn look_around(&mut self) {
        if self.swarm.behaviour().mdns.is_enabled() {
            self.begin_mdns_anew();
        }
    }

    /// Discovery asks at once when it begins, and knows nobody yet, so that whoever is near is reported once more.
    fn begin_mdns_anew(&mut self) {
        let lonely = self.mdns_lonely;
        let mut fresh = match behaviour::mdns(self.local, &self.reach, lonely) {
            Ok(fresh) => fresh,
            Err(error) => {
                self.report_discovery(error.to_string());
                return;
            }
        };
        // A behaviour made in mid-flight has missed the listeners.
        for listener_id in self.listeners.keys() {
            fresh.on_swarm_event(FromSwarm::NewListener(NewListener { listener_id: *listener_id }));
        }
        if let Some(listener_id) = self.listeners.keys().next().copied() {
            for addr in self.swarm.listeners().filter(|addr| !is_circuit(addr)) {
                fresh.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr }));
            }
        }
        self.swarm.behaviour_mut().mdns = Some(fresh).into();
    }

    fn dht_peers(&mut self) -> usize {
        self.swarm.behaviour_mut().kad.inner.kbuckets().map(|bucket| bucket.num_entries()).sum()
    }

    fn net_peers(&self) -> Vec<NetPeer> {
        let mut links: Vec<_> = self.links.iter().collect();
        links.sort_by_key(|(link, _)| **link);
        let peers = links.into_iter().map(|(_, link)| NetPeer {
            peer: peer_key(&link.peer),
            addrs: self.connections.get(&link.connection).map(|c| c.remote.to_string()).into_iter().collect(),
            route: link.route,
            connected_at: link.connected_at,
        });
        peers.collect()
    }
}

/// The addresses to tell others: few of each kind, best first, within the limit of a peer's addresses.
fn own_address(external: &[Multiaddr], circuits: &[Multiaddr], listen: &[Multiaddr]) -> Vec<Multiaddr> {
    let dialable = |addr: &&Multiaddr| match ip(addr) {
        None => true,
        Some(ip) => place(ip) != Place::Nowhere && !is_link_local(ip),
    };
    let first = external.iter().filter(dialable).take(PER_KIND_MAX).chain(circuits.iter().take(PER_KIND_MAX));
    let mut own: Vec<Multiaddr> = Vec::new();
    for addr in first.chain(listen.iter().filter(dialable)) {
        if own.len() < ADDRESSES_PER_PEER_MAX && !own.contains(addr) {
            own.push(addr.clone());
        }
    }
    own
}

/// Sorts addresses by whom they serve, then QUIC before TCP: who is given one address is given the first.
fn rank(addr: &Multiaddr) -> (u8, bool, Multiaddr) {
    let serves = match ip(addr).map(place) {
        None | Some(Place::Internet) => 0,
        Some(Place::Network) => 1,
        Some(Place::Machine) => 2,
        Some(Place::Nowhere) => 3,
    };
    let is_tcp = addr.iter().any(|part| matches!(part, Protocol::Tcp(_)));
    (serves, is_tcp, addr.clone())
}

/// Link-local IPv6 addresses mean nothing without the interface they belong to.
fn is_link_local(ip: std::net::IpAddr) -> bool {
    matches!(ip, std::net::IpAddr::V6(ip) if ip.segments().first().is_some_and(|first| first & 0xffc0 == 0xfe80))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().expect("a multiaddr")).collect()
    }

    #[test]
    fn circuits_find_room_among_many_interfaces() {
        let external = addrs(&["/ip4/198.51.100.1/tcp/1", "/ip4/198.51.100.1/udp/1/quic-v1"]);
        let relay = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";
        let circuits = addrs(&[&format!("/ip4/203.0.113.1/tcp/1/p2p/{relay}/p2p-circuit")]);
        let listen: Vec<String> = (1..20).map(|i| format!("/ip4/10.0.0.{i}/tcp/1")).collect();
        let listen = addrs(&listen.iter().map(String::as_str).collect::<Vec<_>>());
        let own = own_address(&external, &circuits, &listen);
        assert_eq!(own.len(), ADDRESSES_PER_PEER_MAX);
        assert_eq!(own[..2], external);
        assert_eq!(own[2..3], circuits);
    }

    #[test]
    fn the_first_address_serves_most() {
        let mut known = addrs(&[
            "/ip4/10.0.0.1/udp/1/quic-v1",
            "/ip6/::1/tcp/1",
            "/ip4/198.51.100.1/tcp/1",
            "/ip4/198.51.100.1/udp/1/quic-v1",
        ]);
        known.sort_by_key(rank);
        let expected = addrs(&[
            "/ip4/198.51.100.1/udp/1/quic-v1",
            "/ip4/198.51.100.1/tcp/1",
            "/ip4/10.0.0.1/udp/1/quic-v1",
            "/ip6/::1/tcp/1",
        ]);
        assert_eq!(known, expected);
    }

    #[test]
    fn addresses_that_mean_nothing_elsewhere_are_not_told() {
        let listen = addrs(&["/ip6/fe80::1/tcp/1", "/ip4/0.0.0.0/tcp/1", "/ip4/10.0.0.1/tcp/1"]);
        assert_eq!(own_address(&[], &[], &listen), addrs(&["/ip4/10.0.0.1/tcp/1"]));
    }
}
