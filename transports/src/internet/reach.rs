//! Which addresses may be dialled, by who told us. An address is a claim: a stranger's must not turn this node into a
//! port scanner of its own machine, its network, or somebody else's (T-52).

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use super::address::{Place, ip, is_circuit, place};

/// Who gave us an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Somebody on the network: identify, DHT answers, probes, hole punching.
    Stranger,
    /// A contact, by the engine.
    Contact,
    /// A person, or a contact for its relay.
    Chosen,
}

/// The rules, shared by the driver and the behaviours.
#[derive(Clone, Debug, Default)]
pub(super) struct Reach(Arc<RwLock<Rules>>);

#[derive(Debug, Default)]
struct Rules {
    /// IP addresses we listen on.
    own: BTreeSet<IpAddr>,
    private_is_public: bool,
    /// Addresses given as [`Source::Chosen`], so that behaviours that dial on their own may use them.
    chosen: VecDeque<Multiaddr>,
}

/// Chosen addresses remembered: relays in use and of contacts, a few addresses each.
const CHOSEN_MAX: usize = 512;

impl Reach {
    /// Rules that know no own address yet.
    pub(super) fn new(private_is_public: bool) -> Self {
        Self(Arc::new(RwLock::new(Rules { private_is_public, ..Rules::default() })))
    }

    /// Says which IP addresses are ours. True if one is among them that was not ours before.
    pub(super) fn set_own(&self, own: BTreeSet<IpAddr>) -> bool {
        let mut rules = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let grown = !own.is_subset(&rules.own);
        rules.own = own;
        grown
    }

    /// Remembers a chosen address, with the relay in front of a circuit.
    pub(super) fn choose(&self, addr: &Multiaddr) {
        let addr = before_peer(addr);
        let mut rules = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if rules.chosen.contains(&addr) {
            return;
        }
        if rules.chosen.len() == CHOSEN_MAX {
            rules.chosen.pop_front();
        }
        rules.chosen.push_back(addr);
    }

    /// May `addr`, told by `source`, be dialled?
    pub(super) fn allows(&self, addr: &Multiaddr, source: Source) -> bool {
        if source == Source::Stranger && is_circuit(addr) && !self.knows(addr) {
            return false;
        }
        let rules = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let chosen = source == Source::Chosen || rules.chosen.contains(&before_peer(addr));
        let Some(port) = port(addr) else { return false };
        let Some(ip) = ip(addr) else {
            return is_name(addr) && (chosen || source == Source::Contact);
        };
        match place(ip) {
            Place::Nowhere => false,
            _ if chosen => true,
            _ if is_service(port) => false,
            Place::Internet => true,
            Place::Machine => rules.only_machine(),
            Place::Network => rules.private_is_public || rules.own.iter().any(|own| same_network(*own, ip)),
        }
    }

    /// May somebody test whether `addr` reaches us? Circuits, names and places only we can reach say nothing.
    pub(super) fn is_candidate(&self, addr: &Multiaddr) -> bool {
        let rules = self.0.read().unwrap_or_else(PoisonError::into_inner);
        !is_circuit(addr)
            && port(addr).is_some()
            && match ip(addr).map(place) {
                Some(Place::Internet | Place::Network) => true,
                Some(Place::Machine) => rules.only_machine(),
                Some(Place::Nowhere) | None => false,
            }
    }

    /// Does reaching `addr` mean that the world reaches us?
    pub(super) fn is_public(&self, addr: &Multiaddr) -> bool {
        let rules = self.0.read().unwrap_or_else(PoisonError::into_inner);
        !is_circuit(addr)
            && match ip(addr).map(place) {
                Some(Place::Internet) => true,
                Some(Place::Network) => rules.private_is_public,
                Some(_) => false,
                None => is_name(addr),
            }
    }

    fn knows(&self, addr: &Multiaddr) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).chosen.contains(&before_peer(addr))
    }
}

impl Rules {
    /// Nothing but this machine is listened on: tests, and machines without a network.
    fn only_machine(&self) -> bool {
        !self.own.is_empty() && self.own.iter().all(|own| place(*own) == Place::Machine)
    }
}

/// The part before the first `/p2p`: what a socket would connect to.
fn before_peer(addr: &Multiaddr) -> Multiaddr {
    addr.iter().take_while(|p| !matches!(p, Protocol::P2p(_) | Protocol::P2pCircuit)).collect()
}

/// The TCP or QUIC port; `None` if the address is neither.
fn port(addr: &Multiaddr) -> Option<u16> {
    let mut parts = addr.iter().skip(1);
    match (parts.next()?, parts.next()) {
        (Protocol::Tcp(port), None | Some(Protocol::P2p(_))) if port != 0 => Some(port),
        (Protocol::Udp(port), Some(Protocol::QuicV1)) if port != 0 => Some(port),
        _ => None,
    }
}

/// Ports below 1024 belong to services that are not ours, except those that pass firewalls.
fn is_service(port: u16) -> bool {
    port < 1024 && !matches!(port, 80 | 443)
}

fn is_name(addr: &Multiaddr) -> bool {
    matches!(addr.iter().next(), Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)))
}

/// Prefix lengths are not known, so the usual ones stand in: /16 for IPv4, /64 for IPv6.
fn same_network(a: IpAddr, b: IpAddr) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.octets().first_chunk::<2>() == b.octets().first_chunk::<2>(),
        (IpAddr::V6(a), IpAddr::V6(b)) => a.octets().first_chunk::<8>() == b.octets().first_chunk::<8>(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(own: &[&str]) -> Reach {
        let reach = Reach::new(false);
        reach.set_own(own.iter().map(|ip| ip.parse().expect("an IP address")).collect());
        reach
    }

    fn addr(text: &str) -> Multiaddr {
        text.parse().expect("a multiaddr")
    }

    const RELAY: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn t52_private_and_odd_addresses_of_strangers_are_not_dialled() {
        let reach = reach(&["127.0.0.1", "192.168.1.5", "203.0.113.9"]);
        for hostile in [
            "/ip4/127.0.0.1/tcp/4001",
            "/ip6/::1/tcp/4001",
            "/ip6/::ffff:127.0.0.1/tcp/4001",
            "/ip6/64:ff9b::7f00:1/tcp/4001",
            "/ip4/169.254.169.254/tcp/80",
            "/ip4/169.254.1.1/tcp/4001",
            "/ip4/10.0.0.1/tcp/4001",
            "/ip4/172.16.0.1/udp/4001/quic-v1",
            "/ip4/192.168.77.1/tcp/22",
            "/ip4/192.168.1.1/tcp/22",
            "/ip4/198.51.100.1/tcp/22",
            "/ip4/198.51.100.1/tcp/25",
            "/ip4/198.51.100.1/tcp/0",
            "/ip4/198.51.100.1/udp/53",
            "/ip4/224.0.0.251/udp/5353/quic-v1",
            "/ip4/255.255.255.255/tcp/4001",
            "/ip4/0.0.0.0/tcp/4001",
            "/ip6/fe80::1/tcp/4001",
            "/ip6/fd12:3456::1/tcp/4001",
            "/dns4/victim.example/tcp/4001",
            "/unix/%2ftmp%2fsocket",
        ] {
            let Ok(parsed) = hostile.parse::<Multiaddr>() else {
                continue;
            };
            let allowed = reach.allows(&parsed, Source::Stranger);
            // 192.168.0.0/16 is our own network here: only the port speaks against 192.168.x.x:22.
            assert!(!allowed, "{hostile}");
        }
        let circuit = format!("/ip4/198.51.100.1/tcp/4001/p2p/{RELAY}/p2p-circuit");
        assert!(!reach.allows(&addr(&circuit), Source::Stranger));
    }

    #[test]
    fn t52_public_addresses_and_our_own_network_are_dialled() {
        let reach = reach(&["192.168.1.5", "fd12:3456::5"]);
        for fine in [
            "/ip4/198.51.100.1/udp/4001/quic-v1",
            "/ip4/198.51.100.1/tcp/443",
            "/ip4/192.168.1.77/tcp/4001",
            "/ip6/fd12:3456::77/tcp/4001",
            "/ip6/2001:db8::1/tcp/4001",
        ] {
            assert!(reach.allows(&addr(fine), Source::Stranger), "{fine}");
        }
    }

    #[test]
    fn t52_loopback_is_dialled_only_where_nothing_else_is_listened_on() {
        let loopback = addr("/ip4/127.0.0.1/tcp/4001");
        assert!(reach(&["127.0.0.1"]).allows(&loopback, Source::Stranger));
        assert!(!reach(&["127.0.0.1", "192.168.1.5"]).allows(&loopback, Source::Stranger));
        assert!(!reach(&["127.0.0.1", "192.168.1.5"]).allows(&loopback, Source::Contact));
        assert!(!reach(&[]).allows(&loopback, Source::Stranger));
    }

    #[test]
    fn a_chosen_relay_may_be_anywhere_and_stays_allowed() {
        let reach = reach(&["192.168.1.5"]);
        let relay = addr("/ip4/10.9.8.7/tcp/22");
        assert!(!reach.allows(&relay, Source::Contact));
        assert!(reach.allows(&relay, Source::Chosen));
        assert!(!reach.allows(&addr("/ip4/169.254.169.254/tcp/80"), Source::Chosen));

        reach.choose(&relay);

        assert!(reach.allows(&relay, Source::Stranger));
        assert!(reach.allows(&addr(&format!("/ip4/10.9.8.7/tcp/22/p2p/{RELAY}/p2p-circuit")), Source::Contact));
        assert!(!reach.allows(&addr("/ip4/10.9.8.7/tcp/23"), Source::Stranger));
    }

    #[test]
    fn remembered_choices_are_bounded() {
        let reach = reach(&[]);
        for port in 1..=u16::try_from(CHOSEN_MAX).expect("small") + 1 {
            reach.choose(&addr(&format!("/ip4/10.0.0.1/tcp/{port}")));
        }
        assert!(!reach.allows(&addr("/ip4/10.0.0.1/tcp/1"), Source::Stranger));
        assert!(reach.allows(&addr("/ip4/10.0.0.1/tcp/2"), Source::Stranger));
    }

    #[test]
    fn circuits_and_names_are_never_probe_candidates() {
        let reach = reach(&["192.168.1.5"]);
        assert!(reach.is_candidate(&addr("/ip4/198.51.100.1/udp/4001/quic-v1")));
        for no in [
            format!("/ip4/198.51.100.1/tcp/1/p2p/{RELAY}/p2p-circuit"),
            format!("/p2p/{RELAY}"),
            "/memory/2".to_owned(),
            "/dns4/example.org/tcp/1".to_owned(),
            "/ip4/127.0.0.1/tcp/4001".to_owned(),
        ] {
            assert!(!reach.is_candidate(&addr(&no)), "{no}");
        }
    }

    #[test]
    fn a_mesh_of_private_networks_can_be_the_internet() {
        let reach = Reach::new(true);
        assert!(reach.allows(&addr("/ip4/10.1.2.3/tcp/4001"), Source::Stranger));
        assert!(reach.is_public(&addr("/ip4/10.1.2.3/tcp/4001")));
        assert!(!Reach::new(false).is_public(&addr("/ip4/10.1.2.3/tcp/4001")));
    }
}
