//! Addresses of the virtual world: real binary multiaddrs, so that parts that shorten or pack them meet true shapes.
//!
//! ```text
//!   direct    /ip4/10.7.HI.LO/udp/4001/quic-v1
//!   circuit   direct of the relay / p2p / key of the relay / p2p-circuit
//! ```

use silbo_protocol::ids::PeerKey;

use crate::node::NodeId;

const IP4: u8 = 0x04;
const NETWORK: [u8; 2] = [10, 7];
/// `/udp/4001/quic-v1`.
const UDP_4001_QUIC: [u8; 6] = [0x91, 0x02, 0x0f, 0xa1, 0xcd, 0x03];
/// `/p2p` and the length of a key.
const P2P: [u8; 3] = [0xa5, 0x03, 38];
const P2P_CIRCUIT: [u8; 2] = [0xa2, 0x02];
const DIRECT_BYTES: usize = 1 + 4 + UDP_4001_QUIC.len();
/// Protobuf and multihash prefix of an Ed25519 key in a `PeerId`.
const PEER_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// What an address says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Straight to a node.
    Direct(NodeId),
    /// To whoever holds a circuit at this relay.
    Circuit(NodeId),
}

/// The direct address of a node.
pub fn direct(node: NodeId) -> Vec<u8> {
    let [high, low] = (node.0 as u16).to_be_bytes();
    let mut out = vec![IP4, NETWORK[0], NETWORK[1], high, low];
    out.extend_from_slice(&UDP_4001_QUIC);
    out
}

/// The address of anyone who holds a circuit at `relay`.
pub fn circuit(relay: NodeId, relay_key: &PeerKey) -> Vec<u8> {
    let mut out = direct(relay);
    out.extend_from_slice(&P2P);
    out.extend_from_slice(&relay_key.0);
    out.extend_from_slice(&P2P_CIRCUIT);
    out
}

/// Reads an address; `None` for bytes that are no place of this world.
pub fn place(address: &[u8]) -> Option<Place> {
    let (head, tail) = address.split_at_checked(DIRECT_BYTES)?;
    let [IP4, a, b, high, low, rest @ ..] = head else { return None };
    if [*a, *b] != NETWORK || rest != UDP_4001_QUIC {
        return None;
    }
    let node = NodeId(usize::from(u16::from_be_bytes([*high, *low])));
    if tail.is_empty() {
        return Some(Place::Direct(node));
    }
    (tail.starts_with(&P2P) && tail.ends_with(&P2P_CIRCUIT)).then_some(Place::Circuit(node))
}

/// A transport key like the ones of libp2p: identity multihash of an Ed25519 public key.
pub fn peer_key(random: [u8; 32]) -> PeerKey {
    PeerKey([PEER_PREFIX.as_slice(), random.as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_its_node_and_nothing_else_is_an_address() {
        let key = peer_key([7; 32]);
        assert_eq!(key.0.len(), 38);
        assert_eq!(place(&direct(NodeId(300))), Some(Place::Direct(NodeId(300))));
        assert_eq!(place(&circuit(NodeId(2), &key)), Some(Place::Circuit(NodeId(2))));
        assert_eq!(place(b""), None);
        assert_eq!(place(&direct(NodeId(1))[..10]), None);
        assert_eq!(place(&[direct(NodeId(1)), vec![0]].concat()), None);
    }
}
