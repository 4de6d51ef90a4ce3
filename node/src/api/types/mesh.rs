//! What this device carries for others, and mail in a bag.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LinkRoute;

/// How much a device gives: for others, and of its battery to its radios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PowerMode {
    /// 100,000 envelopes, 64 MiB: what a device starts with. Radios listen always.
    Performance,
    /// 20,000 envelopes, 16 MiB. Radios listen a quarter of the time, a tenth while nothing changes around.
    Balanced,
    /// 2,000 envelopes, 2 MiB. Radios listen a tenth of the time, a fiftieth while nothing changes around, and links over
    /// which nothing goes are let go.
    Saver,
}

/// Result of `mesh.status` and `mesh.set`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Mesh {
    /// Whether it carries mail for others; its own travels with others either way.
    pub enabled: bool,
    /// The power mode whose numbers these are; null when they were chosen one by one.
    pub power: Option<PowerMode>,
    /// The power mode of its radios.
    pub radio_power: PowerMode,
    /// Envelopes it is willing to carry.
    pub max_envelopes: u32,
    /// Bytes of envelopes it is willing to carry.
    pub max_bytes: u64,
    /// Envelopes of others it carries.
    pub carried: u32,
    /// Of them, kept for friends beside what it is willing to carry for anybody.
    pub pinned: u32,
    /// Bytes of what it carries.
    pub carried_bytes: u64,
    /// Proofs of arrival it passes on, which end the journey of copies elsewhere.
    pub vaccines: u32,
    /// Own messages that have not arrived.
    pub waiting: u32,
    /// Contacts that carry for this device: appointed, or those it spends most time with.
    pub appointed: u32,
    /// Of them, how many it chooses by itself at most.
    pub auto_carriers: u8,
    /// Friends this device carries for.
    pub carries_for: u32,
    /// Carriers it is with right now.
    pub carriers: u32,
    /// Encounters of the last 24 hours, at most 255.
    pub encounters_per_day: u8,
    /// Envelopes handed over since the node was started.
    pub handed_over: u64,
    /// Envelopes taken since the node was started.
    pub taken: u64,
}

/// Result of `mesh.radio`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RadioStatus {
    /// Whether the Bluetooth radio works.
    pub bluetooth: RadioState,
    /// Its adapter, when it works.
    pub adapter: Option<String>,
    /// Why it does not work, in words.
    pub reason: Option<String>,
    /// What to do about it; null where nothing is wrong.
    pub hint: Option<String>,
    /// The power mode in use: saver below 15 % of the battery, else what was chosen.
    pub power: PowerMode,
    /// Part of the time in which it listens now, in percent; null while it is off.
    pub scan_percent: Option<u8>,
    /// Milliseconds between two advertisements, where the system does what it is told; null while it is off.
    pub advertise_ms: Option<u64>,
    /// Links by radio.
    pub links: u32,
    /// Nodes that are heard.
    pub items: Vec<RadioNeighbour>,
    /// Wi-Fi Direct, a fast link beside the Bluetooth one while there is much to move.
    pub wifi_direct: WifiDirectStatus,
}

/// Whether Wi-Fi Direct works, and with whom there is a group.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WifiDirectStatus {
    /// How far it is.
    pub state: WifiDirectState,
    /// Its interface, when it works.
    pub interface: Option<String>,
    /// Why it is off or busy, in words.
    pub reason: Option<String>,
    /// With whom a group is being made or is there: what it was called on the air then, in hexadecimal.
    pub with: Option<String>,
    /// Whether this node is the owner of the group.
    pub owner: Option<bool>,
    /// Groups that led to a link since the node was started.
    pub groups: u32,
    /// Why the last attempt or group ended, in words.
    pub ended: Option<String>,
}

/// How far Wi-Fi Direct is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WifiDirectState {
    /// It is being started.
    Starting,
    /// It does not work; `reason` says why.
    Off,
    /// A group can be made.
    On,
    /// The radio is used for something else, which is left alone; `reason` says for what.
    Busy,
    /// A group is being made.
    Forming,
    /// There is a group.
    Group,
}

/// Whether a radio works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RadioState {
    /// It is being started.
    Starting,
    /// It advertises and listens.
    On,
    /// It does not; `reason` says why.
    Off,
}

/// Somebody who is heard by radio.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RadioNeighbour {
    /// What it is called on the air, in hexadecimal; changes every 15 minutes.
    pub rid: String,
    /// How well it is heard, in dBm.
    pub rssi: Option<i16>,
    /// Seconds since it was heard last.
    pub heard_seconds_ago: u64,
    /// Whether there is a link to it.
    pub linked: bool,
}

/// Somebody one step away. Nobody tells others whom it knows, so there is no second step on the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MeshNode {
    /// The contact it has proven to be: its name here.
    pub contact: Option<String>,
    /// That contact's id.
    pub id: Option<String>,
    /// How the link runs; null while it is only heard.
    pub route: Option<LinkRoute>,
    /// It can carry mail for others.
    pub carries: bool,
    /// What it is called on the air, in hexadecimal, if it is near by radio.
    pub rid: Option<String>,
    /// How well it is heard, in dBm.
    pub rssi: Option<i16>,
    /// Milliseconds the link has been up.
    pub up_ms: Option<u64>,
}

/// Parameters of `mesh.set`; what is not given stays.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MeshSet {
    /// Whether to carry mail for others. False also drops what is carried.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Envelopes to carry at most, from 1 to 100,000.
    #[serde(default)]
    pub max_envelopes: Option<u32>,
    /// Bytes of envelopes to carry at most, from 16,384 to 67,108,864 (64 MiB).
    #[serde(default)]
    pub max_bytes: Option<u64>,
    /// Both numbers and the power mode of the radios in one word; not together with either number.
    #[serde(default)]
    pub power: Option<PowerMode>,
    /// How many contacts carry for this device because it spends most time with them, from 0 to 16.
    #[serde(default)]
    pub auto_carriers: Option<u8>,
}

/// Parameters of `mesh.appoint`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MeshAppoint {
    /// An id, a unique prefix of an id of at least 8 characters, or the local name.
    pub contact: String,
    /// True appoints, false takes it back.
    pub on: bool,
}

/// Parameters of `message.pack`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MessagePack {
    /// Only own mail to this contact: an id, a unique prefix of an id of at least 8 characters, or the local name. Without
    /// it everything that waits, and what is carried for others.
    #[serde(default)]
    pub chat: Option<String>,
    /// Bytes of the bag at most, from 1,024 to 524,288.
    #[serde(default = "half_a_mebibyte")]
    pub max_bytes: u32,
}

fn half_a_mebibyte() -> u32 {
    512 << 10
}

/// Result of `message.pack`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Packed {
    /// The bag, base64url: what is to be written into a file.
    pub bag: String,
    /// The bag as the text of a QR code; null when it has more bytes than one holds (2,600).
    pub text: Option<String>,
    /// Its bytes.
    pub bytes: u32,
    /// Own envelopes in it.
    pub own: u32,
    /// Envelopes of others in it.
    pub carried: u32,
    /// Proofs of arrival in it.
    pub vaccines: u32,
    /// Envelopes that did not fit.
    pub left_out: u32,
}

/// Parameters of `message.unpack`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MessageUnpack {
    /// The bag: base64url, or the text of a QR code.
    pub bag: String,
}

/// Result of `message.unpack`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unpacked {
    /// Envelopes for this device, those it had already included.
    pub for_me: u32,
    /// Envelopes that are carried on for others.
    pub carried: u32,
    /// Proofs of arrival.
    pub vaccines: u32,
    /// Envelopes that were not taken: known already, expired, arrived, or this device carries no more.
    pub refused: u32,
}
