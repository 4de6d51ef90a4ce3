//! Events: what changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HeldBy, ItemState, MessagePath, PartOf};

/// Parameters of `events.list`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsList {
    /// Only events after this number; 0 is the beginning.
    #[serde(default)]
    pub since: Option<u64>,
    /// A durable consumer, whose cursor is used.
    #[serde(default)]
    pub consumer: Option<String>,
    /// Events at most, up to 200.
    #[serde(default = "page")]
    pub limit: u32,
    /// Only these kinds.
    #[serde(default)]
    pub kinds: Option<Vec<String>>,
    /// Only these conversations.
    #[serde(default)]
    pub chats: Option<Vec<String>>,
}

fn page() -> u32 {
    super::super::limits::EVENTS_PER_READ
}

/// Parameters of `events.subscribe`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsSubscribe {
    /// Replay from after this number; without it and without a consumer only what happens from here on.
    #[serde(default)]
    pub since: Option<u64>,
    /// A durable consumer, whose cursor is used.
    #[serde(default)]
    pub consumer: Option<String>,
    /// Only these kinds.
    #[serde(default)]
    pub kinds: Option<Vec<String>>,
    /// Only these conversations.
    #[serde(default)]
    pub chats: Option<Vec<String>>,
}

/// Parameters of `events.unsubscribe`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsUnsubscribe {
    /// The number `events.subscribe` returned.
    pub subscription: u64,
}

/// Parameters of `events.ack`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventsAck {
    /// The consumer; made by its first use.
    pub consumer: String,
    /// Everything up to this number is dealt with.
    pub seq: u64,
}

/// Numbers that were dropped from the log before they were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Gap {
    /// First number missing.
    pub from: u64,
    /// Last number missing.
    pub to: u64,
}

/// Result of `events.list`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Events {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The `since` of the next call; also what to acknowledge.
    pub next: u64,
    /// Changes when the database was restored; cursors of another epoch mean nothing.
    pub epoch: String,
    /// Present when events were dropped before they were read: read the state anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
}

/// Something that happened. Which fields there are depends on `kind` (see `docs/api.md`, Events).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its number; absent for ephemeral kinds, which are never replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The epoch its number belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// What happened.
    pub kind: String,
    /// When.
    pub at: u64,
    /// The conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat: Option<String>,
    /// True for what happens in a channel: its name is chosen by its owner, and may be that of a contact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<bool>,
    /// What the contact is called here, or the name of the group or channel; for `contact.request` the name they gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// When the author says it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<u64>,
    /// The message it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// How it travelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<MessagePath>,
    /// The contact's id, or `me`; in a group, the name the member gave themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// In a group, the account id of who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// True when the message mentions this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mentions_me: Option<bool>,
    /// True when the conversation was muted here when the message came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted: Option<bool>,
    /// Where the message stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<ItemState>,
    /// What relays promised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldBy>,
    /// How many members have it, while `partial`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<PartOf>,
    /// Why it will not arrive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// The emoji.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emoji: Option<String>,
    /// True when we did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outgoing: Option<bool>,
    /// True when the reaction, the pin or the vote was taken back, or when somebody else removed the member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed: Option<bool>,
    /// Account id of the member a change of a group is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The name that member gave themselves; the account id while that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// What an operation that does not count would have done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// What went before it, or why a radio is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How many messages of before this account came are here from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Number of the post of a channel that showed two histories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post: Option<u64>,
    /// The greeting of a contact request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hello: Option<String>,
    /// Retention.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u32>,
    /// The relay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The warning, or what to do about a radio that is off, in plain words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What a node in range is called on the air for now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    /// Whether there is a link to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linked: Option<bool>,
    /// Whether the contact is writing, the radio works, or the node is in range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<bool>,
    /// Whether the contact can be reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub online: Option<bool>,
    /// First number missing, of `events.gap`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_from: Option<u64>,
    /// Last number missing, of `events.gap`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gap_to: Option<u64>,
}
