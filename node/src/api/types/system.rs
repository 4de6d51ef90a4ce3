//! The node itself: version, status, paths, checks, settings.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Mesh, Relay, RelayStatus};

/// Result of `system.version`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Version {
    /// Version of the program.
    pub version: String,
    /// Version of this API; grows when something is taken away or changes its meaning.
    pub api: u32,
}

/// Media in use.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct TransportsInUse {
    /// QUIC over UDP.
    pub quic: bool,
    /// TCP with Noise.
    pub tcp: bool,
    /// Discovery on the local network.
    pub mdns: bool,
    /// At least one circuit is reserved at a relay.
    pub circuit: bool,
}

/// Size of the database.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct DatabaseSize {
    /// Bytes of all its files.
    pub bytes: u64,
}

/// Result of `system.status`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Own name; null before there is an account.
    pub name: Option<String>,
    /// Own account id; null before there is an account.
    pub account: Option<String>,
    /// Id of the note to self, also one's own id for others; null before there is an account.
    pub id: Option<String>,
    /// Best address to reach this node directly.
    pub address: Option<String>,
    /// Process id.
    pub pid: u32,
    /// When the node was started.
    pub started_at: u64,
    /// Addresses listened on.
    pub listen: Vec<String>,
    /// Media in use.
    pub transports: TransportsInUse,
    /// Peers connected.
    pub peers: u32,
    /// Contacts that are active or requested.
    pub contacts: u32,
    /// Contacts with a direct link.
    pub online: u32,
    /// Requests waiting for a decision.
    pub requests: u32,
    /// Own messages not yet delivered, read or failed.
    pub queued: u32,
    /// Relays in use.
    pub relays: Vec<Relay>,
    /// What this node holds for others; null when it is no relay.
    pub relay: Option<RelayStatus>,
    /// What this device carries for others; null before there is an account.
    pub mesh: Option<Mesh>,
    /// Size of the database.
    pub database: DatabaseSize,
    /// `public`, `private` or `unknown`.
    pub nat: String,
}

/// Result of `system.paths`.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct PathList {
    /// The folder that holds everything, when one was chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub home: Option<String>,
    /// Database and identity.
    pub data: String,
    /// The configuration file.
    pub config: String,
    /// Logs and token.
    pub state: String,
    /// Unix socket of the API.
    pub socket: String,
    /// Token of the API on the loopback.
    pub token: String,
    /// The log.
    pub log: String,
}

/// One check.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Check {
    /// What is checked.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Result of `system.doctor`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Checks {
    /// The checks.
    pub checks: Vec<Check>,
}

/// Parameters of `settings.get`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsGet {
    /// One key; all without it.
    #[serde(default)]
    pub key: Option<String>,
}

/// Parameters of `settings.set`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettingsSet {
    /// `privacy.read_receipts` or `privacy.typing`.
    pub key: String,
    /// The value.
    pub value: Value,
}

/// Settings by key.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SettingValues {
    /// From key to value.
    pub values: BTreeMap<String, Value>,
}
