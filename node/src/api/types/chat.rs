//! What is set for a conversation on this device.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A conversation, with what is set for it on this device only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Chat {
    /// Its id: of a contact, a group, a channel, or the note to self.
    pub id: String,
    /// True for a group.
    pub group: bool,
    /// True for a channel.
    pub channel: bool,
    /// What it is called here.
    pub name: String,
    /// True while nobody is notified of what comes.
    pub muted: bool,
    /// Until when; absent while not muted, and when it is for as long as nobody lifts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_until_at: Option<u64>,
    /// True while it is kept out of sight.
    pub archived: bool,
    /// A text to go on with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draft: Option<Draft>,
}

/// A text that is not sent yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Draft {
    /// The text so far.
    pub body: String,
    /// The message it will answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// When it was set.
    pub at: u64,
}

/// Parameters of `chat.list`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatList {
    /// Only those that are archived, or only those that are not.
    #[serde(default)]
    pub archived: Option<bool>,
}

/// Parameters of `chat.set`; what is left out stays.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChatSet {
    /// `me`, an id, a unique prefix of an id of at least 8 characters, or the local name; a group or channel by `#` and its name.
    pub chat: String,
    /// Seconds during which nobody is notified of what comes: 0 lifts it, 4,294,967,295 is until it is lifted.
    #[serde(default)]
    pub mute_s: Option<u32>,
    /// True keeps it out of sight until a message comes, or for as long as it is muted.
    #[serde(default)]
    pub archived: Option<bool>,
    /// A text to go on with later; empty forgets it.
    #[serde(default)]
    pub draft: Option<String>,
    /// The message the draft will answer; only with `draft`.
    #[serde(default)]
    pub reply_to: Option<String>,
}
