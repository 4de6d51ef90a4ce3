//! Relays in use, and what this node holds for others.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters of `relay.add`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelayAdd {
    /// A multiaddr that ends in `/p2p/PEER`.
    pub address: String,
}

/// Parameters of `relay.remove`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelayRemove {
    /// The peer id, or a multiaddr that ends in it.
    pub peer: String,
}

/// A relay in use.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Relay {
    /// Its peer id.
    pub peer: String,
    /// Where it is; empty while unknown.
    pub address: String,
    /// A link to it is up.
    pub connected: bool,
    /// Queues of ours it has confirmed.
    pub queues: u32,
    /// True when the user added it, false when it came with a contact.
    pub own: bool,
    /// Days it promises to keep mail; 0 while unknown.
    pub retention_days: u32,
    /// When it was last heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard_at: Option<u64>,
}

/// Limits a relay enforces.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RelayLimitList {
    /// Envelopes a queue holds.
    pub queue_envelopes_max: u32,
    /// KiB a queue holds.
    pub queue_kib_max: u32,
    /// MiB the whole store may hold.
    pub total_mib_max: u32,
}

/// What this node holds for others.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RelayStatus {
    /// Whether the role is on.
    pub serving: bool,
    /// The address to hand to others; null while none is known.
    pub address: Option<String>,
    /// All addresses to hand to others.
    pub addresses: Vec<String>,
    /// Envelopes held.
    pub held: u64,
    /// Bytes held.
    pub bytes: u64,
    /// Queues.
    pub queues: u64,
    /// Contact cards held.
    pub blobs: u64,
    /// Deposits refused since start.
    pub refused: u64,
    /// Days mail is kept; 0 when the role is off.
    pub retention_days: u32,
    /// Limits in force; null when the role is off.
    pub limits: Option<RelayLimitList>,
}
