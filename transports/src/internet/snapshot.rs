//! What the internet transport looks like from outside, for status pages. Published whole whenever it changes.

use silbo_protocol::ids::PeerKey;
use silbo_protocol::input::Route;

/// Whether others reach us directly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NatStatus {
    /// Nobody has tested it yet.
    #[default]
    Unknown,
    /// A probe or the configuration says yes.
    Public,
    /// Probes failed.
    Private,
}

/// The transport at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetSnapshot {
    /// Our transport key.
    pub local: PeerKey,
    /// The same as libp2p writes it.
    pub peer_id: String,
    /// Addresses listened on, wildcards expanded.
    pub listen: Vec<String>,
    /// Addresses known to be reachable from outside.
    pub external: Vec<String>,
    /// Circuits held at relays.
    pub circuits: Vec<String>,
    /// Whether others reach us directly.
    pub nat: NatStatus,
    /// A router maps a port to us.
    pub upnp: bool,
    /// The local network is searched.
    pub mdns: bool,
    /// DHT servers in the routing table.
    pub dht_peers: usize,
    /// We answer DHT queries.
    pub dht_server: bool,
    /// Links that are up.
    pub peers: Vec<NetPeer>,
}

/// One link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetPeer {
    /// The peer at the other end.
    pub peer: PeerKey,
    /// Where it is connected from, as text.
    pub addrs: Vec<String>,
    /// How the bytes travel.
    pub route: Route,
    /// Since when, Unix milliseconds.
    pub connected_at: u64,
}
