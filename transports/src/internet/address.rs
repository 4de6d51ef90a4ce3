//! Multiaddrs and peer keys: bytes ↔ text ↔ libp2p's types. Everything from outside is parsed here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use silbo_protocol::ids::{PeerAddress, PeerKey};
use silbo_protocol::input::Route;
use silbo_protocol::limits::ADDRESSES_PER_PEER_MAX;

/// Why a text is not an address or a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a multiaddr.
    #[error("not a multiaddr")]
    Malformed,
    /// Does not end in `/p2p/…`.
    #[error("the address does not end in /p2p/ and the peer")]
    NoPeer,
    /// Not a peer id.
    #[error("not a peer id")]
    BadPeer,
}

/// The text of a binary multiaddr; `None` if it is not one.
pub fn multiaddr_text(bytes: &[u8]) -> Option<String> {
    read_multiaddr(bytes).map(|addr| addr.to_string())
}

/// Reads `…/p2p/PEER` into a dialable address.
///
/// # Errors
/// [`AddressError`], always the writer's fault.
pub fn parse_multiaddr_with_peer(text: &str) -> Result<PeerAddress, AddressError> {
    let mut addr: Multiaddr = text.trim().parse().map_err(|_| AddressError::Malformed)?;
    let Some(Protocol::P2p(peer)) = addr.pop() else {
        return Err(AddressError::NoPeer);
    };
    let addrs = if addr.is_empty() { Vec::new() } else { vec![addr.to_vec()] };
    Ok(PeerAddress { peer: peer_key(&peer), addrs })
}

/// The peer as libp2p writes it; the base32 form if it is not a libp2p key.
pub fn peer_text(peer: &PeerKey) -> String {
    peer_id(peer).map_or_else(|| peer.to_string(), |id| id.to_base58())
}

/// Reads a peer as libp2p writes it.
///
/// # Errors
/// [`AddressError::BadPeer`].
pub fn parse_peer(text: &str) -> Result<PeerKey, AddressError> {
    text.trim().parse::<PeerId>().map(|id| peer_key(&id)).map_err(|_| AddressError::BadPeer)
}

/// The core's name of a libp2p peer.
pub(super) fn peer_key(peer: &PeerId) -> PeerKey {
    PeerKey(peer.to_bytes())
}

/// The libp2p peer of a key; `None` for keys of other media.
pub(super) fn peer_id(key: &PeerKey) -> Option<PeerId> {
    PeerId::from_bytes(&key.0).ok()
}

/// A multiaddr of sane length; `None` otherwise.
fn read_multiaddr(bytes: &[u8]) -> Option<Multiaddr> {
    // The longest we write is IPv6, UDP, QUIC, two peers and a circuit: about 110 bytes; a DNS name adds 255.
    const BYTES_MAX: usize = 512;
    (!bytes.is_empty() && bytes.len() <= BYTES_MAX).then(|| Multiaddr::try_from(bytes.to_vec()).ok()).flatten()
}

/// The addresses of `address` that parse, without `/p2p/PEER` at the end, at most `ADDRESSES_PER_PEER_MAX`.
pub(super) fn dialable(address: &PeerAddress, peer: &PeerId) -> Vec<Multiaddr> {
    let mut out = Vec::new();
    for bytes in address.addrs.iter().take(ADDRESSES_PER_PEER_MAX) {
        let Some(addr) = read_multiaddr(bytes).and_then(|addr| without_peer(addr, peer)) else {
            continue;
        };
        if !out.contains(&addr) {
            out.push(addr);
        }
    }
    out
}

/// Strips a trailing `/p2p/peer`; `None` if it names somebody else.
pub(super) fn without_peer(mut addr: Multiaddr, peer: &PeerId) -> Option<Multiaddr> {
    if let Some(Protocol::P2p(named)) = addr.iter().last() {
        if named != *peer {
            return None;
        }
        addr.pop();
    }
    (!addr.is_empty()).then_some(addr)
}

/// True for addresses through a relay.
pub(super) fn is_circuit(addr: &Multiaddr) -> bool {
    addr.iter().any(|p| matches!(p, Protocol::P2pCircuit))
}

/// The address an IP packet would go to, with embedded IPv4 unwrapped; `None` for names and other networks.
pub(super) fn ip(addr: &Multiaddr) -> Option<IpAddr> {
    match addr.iter().next()? {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(unwrap_v4(ip)),
        _ => None,
    }
}

/// IPv4 inside IPv6 (mapped, and NAT64's well-known prefix) is judged as the IPv4 address it is.
fn unwrap_v4(ip: Ipv6Addr) -> IpAddr {
    if let Some(v4) = ip.to_ipv4_mapped() {
        return IpAddr::V4(v4);
    }
    if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = ip.segments() {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        return IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    }
    IpAddr::V6(ip)
}

/// What kind of place an IP address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nobody may be dialled there: unspecified, multicast, broadcast, cloud metadata services.
    Nowhere,
    /// This machine.
    Machine,
    /// A private or link-local network.
    Network,
    /// The internet.
    Internet,
}

/// Classifies an IP address.
pub(super) fn place(ip: IpAddr) -> Place {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            if a == 0 || a >= 224 || ip == Ipv4Addr::new(169, 254, 169, 254) {
                Place::Nowhere
            } else if ip.is_loopback() {
                Place::Machine
            } else if ip.is_private() || ip.is_link_local() || (a == 100 && b & 0xc0 == 64) {
                Place::Network
            } else {
                Place::Internet
            }
        }
        IpAddr::V6(ip) => {
            let [first, ..] = ip.segments();
            if ip.is_unspecified() || ip.is_multicast() || ip == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254) {
                Place::Nowhere
            } else if ip.is_loopback() {
                Place::Machine
            } else if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80 {
                Place::Network
            } else {
                Place::Internet
            }
        }
    }
}

/// How bytes to `remote` travel.
pub(super) fn route(remote: &Multiaddr) -> Route {
    if is_circuit(remote) {
        return Route::Circuit;
    }
    match ip(remote).map(place) {
        Some(Place::Machine | Place::Network) => Route::Local,
        _ => Route::Direct,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    #[test]
    fn an_address_with_a_peer_round_trips() {
        let address = parse_multiaddr_with_peer(&format!("/ip4/192.0.2.7/udp/4001/quic-v1/p2p/{PEER}")).expect("valid");
        assert_eq!(peer_text(&address.peer), PEER);
        assert_eq!(parse_peer(PEER).expect("valid"), address.peer);
        assert_eq!(multiaddr_text(&address.addrs[0]).as_deref(), Some("/ip4/192.0.2.7/udp/4001/quic-v1"));
    }

    #[test]
    fn a_circuit_keeps_its_relay() {
        let text = format!("/ip4/192.0.2.7/tcp/1/p2p/{PEER}/p2p-circuit");
        let address = parse_multiaddr_with_peer(&format!("{text}/p2p/{PEER}")).expect("valid");
        assert_eq!(multiaddr_text(&address.addrs[0]), Some(text));
    }

    #[test]
    fn malformed_addresses_are_refused() {
        assert_eq!(parse_multiaddr_with_peer("/ip4/1.2.3.4/tcp/1"), Err(AddressError::NoPeer));
        assert_eq!(parse_multiaddr_with_peer("hello"), Err(AddressError::Malformed));
        assert_eq!(parse_peer("hello"), Err(AddressError::BadPeer));
        assert_eq!(multiaddr_text(&[0xff; 4]), None);
        assert_eq!(multiaddr_text(&[]), None);
        assert_eq!(multiaddr_text(&vec![4; 5_000]), None);
    }

    #[test]
    fn an_address_of_another_peer_is_not_dialled() {
        let peer = PeerId::random();
        let other: Multiaddr = format!("/ip4/192.0.2.7/tcp/1/p2p/{PEER}").parse().expect("valid");
        let address = PeerAddress { peer: peer_key(&peer), addrs: vec![other.to_vec(), vec![0xff], Vec::new()] };
        assert!(dialable(&address, &peer).is_empty());
    }

    #[test]
    fn routes_follow_the_address() {
        let case = |text: &str| route(&text.parse().expect("valid"));
        assert_eq!(case("/ip4/127.0.0.1/tcp/1"), Route::Local);
        assert_eq!(case("/ip4/192.168.1.2/udp/1/quic-v1"), Route::Local);
        assert_eq!(case("/ip6/fe80::1/tcp/1"), Route::Local);
        assert_eq!(case("/ip4/198.51.100.2/tcp/1"), Route::Direct);
        assert_eq!(case(&format!("/ip4/127.0.0.1/tcp/1/p2p/{PEER}/p2p-circuit")), Route::Circuit);
    }

    #[test]
    fn hidden_ipv4_is_judged_as_ipv4() {
        let case = |text: &str| ip(&text.parse().expect("valid")).map(place);
        assert_eq!(case("/ip6/::ffff:127.0.0.1/tcp/1"), Some(Place::Machine));
        assert_eq!(case("/ip6/64:ff9b::a00:1/tcp/1"), Some(Place::Network));
        assert_eq!(case("/ip4/169.254.169.254/tcp/80"), Some(Place::Nowhere));
        assert_eq!(case("/ip4/224.0.0.251/udp/5353"), Some(Place::Nowhere));
        assert_eq!(case("/ip4/0.0.0.0/tcp/1"), Some(Place::Nowhere));
        assert_eq!(case("/ip4/100.64.3.4/tcp/1"), Some(Place::Network));
        assert_eq!(case("/dns4/example.org/tcp/1"), None);
    }
}
