//! Channels.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A channel, as it is on this device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// Its id, which is also that of its conversation.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it is about.
    pub topic: String,
    /// True where this account writes in it.
    pub owner: bool,
    /// The beginning of the first day that can be read here.
    pub readable_from_at: u64,
    /// Posts that are here and are handed on to other readers, those that say what the channel is among them.
    pub posts: u32,
    /// Their bytes.
    pub bytes: u64,
    /// Number of the newest of them, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<u64>,
    /// Days that posts stay; 0 is for ever.
    pub retention_days: u32,
    /// The owner, or whoever has its key, has signed two histories: the number of the post that showed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forked: Option<u64>,
    /// Readers there is a link to right now.
    pub readers: u32,
    /// True where other readers can find this device to read from it.
    pub serve: bool,
    /// Since when it is here.
    pub joined_at: u64,
}

/// A link to a channel. Whoever has it reads; it cannot be taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelLink {
    /// The channel.
    pub id: String,
    /// Link to copy.
    pub link: String,
    /// Text for a QR code.
    pub qr: String,
    /// The beginning of the first day its holder can read.
    pub readable_from_at: u64,
}

/// A channel.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByChannel {
    /// `#name`, the name, a unique beginning of it, an id, or a unique prefix of an id of at least 8 characters.
    pub channel: String,
}

/// Parameters of `channel.create`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelCreate {
    /// What to call it.
    pub name: String,
    /// What it is about.
    #[serde(default)]
    pub topic: String,
    /// Days that posts stay: 0 for ever, or 1 to 90.
    #[serde(default)]
    pub retention_days: u32,
}

/// Parameters of `channel.join`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelJoin {
    /// The link.
    pub link: String,
    /// Let other readers find this device to read from it. Every holder of a link can then learn its address.
    #[serde(default)]
    pub serve: bool,
}

/// Parameters of `channel.set`; what is left out stays. All but `serve` is for the owner.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChannelSet {
    /// The channel.
    pub channel: String,
    /// What to call it.
    #[serde(default)]
    pub name: Option<String>,
    /// What it is about.
    #[serde(default)]
    pub topic: Option<String>,
    /// Days that posts stay: 0 for ever, or 1 to 90.
    #[serde(default)]
    pub retention_days: Option<u32>,
    /// Let other readers find this device to read from it.
    #[serde(default)]
    pub serve: Option<bool>,
}

/// From when the holder of a link reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ChannelFrom {
    /// From the day the link is made; nothing of before. By the owner.
    Today,
    /// From the first day that can be read here.
    #[default]
    First,
}

/// Parameters of `channel.link`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelLinkMake {
    /// The channel.
    pub channel: String,
    /// From when its holder reads.
    #[serde(default)]
    pub from: ChannelFrom,
}
