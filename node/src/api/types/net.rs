//! The network as this node sees it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{LinkRoute, MessagePath};

/// A connected peer.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Its peer id. Disposable, never an identity.
    pub peer: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// How the link runs.
    pub route: LinkRoute,
    /// When it came up.
    pub connected_at: u64,
    /// The contact behind it, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
}

/// Result of `net.check`.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct NetCheck {
    /// Addresses listened on.
    pub listen: Vec<String>,
    /// Addresses others see.
    pub external: Vec<String>,
    /// `public`, `private` or `unknown`.
    pub nat: String,
    /// A router forwards a port to us.
    pub upnp: bool,
    /// Circuits reserved at relays.
    pub circuits: Vec<String>,
    /// Discovery on the local network runs.
    pub mdns: bool,
    /// QUIC is listened on.
    pub quic: bool,
    /// TCP is listened on.
    pub tcp: bool,
}

/// Parameters of `net.ping`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetPing {
    /// An id, a unique prefix of an id of at least 8 characters, or the local name.
    pub contact: String,
    /// How long to wait.
    #[serde(default = "ten_seconds_ms")]
    pub timeout_ms: u64,
}

fn ten_seconds_ms() -> u64 {
    10_000
}

/// Result of `net.ping`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pong {
    /// Round trip in milliseconds.
    pub rtt_ms: u64,
    /// How.
    pub path: MessagePath,
}
