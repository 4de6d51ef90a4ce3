//! Messages, history, search, retention.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Parameters of `message.send`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MessageSend {
    /// `me`, an id, a unique prefix of an id of at least 8 characters, or the local name; a group or channel by `#` and its name.
    pub chat: String,
    /// The text.
    pub body: String,
    /// The message it answers.
    #[serde(default)]
    pub reply_to: Option<String>,
    /// Seconds after which it disappears on both sides.
    #[serde(default)]
    pub expire_s: Option<u32>,
    /// Chosen by the caller; sending again with the same value returns the first message.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Seconds after which nobody tries to deliver it any more, from 3,600 to 2,592,000 (30 days); the longest without it.
    #[serde(default)]
    pub ttl_s: Option<u32>,
    /// True lets it travel only by radio between devices and in bags, never over the internet or a local network.
    #[serde(default)]
    pub no_infra: bool,
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ItemState {
    /// On this device only.
    Queued,
    /// Relays have signed that they hold it.
    Held,
    /// Devices of some members of the group have stored it.
    Partial,
    /// The other device has stored it; in a group, a device of every member.
    Delivered,
    /// A person has read it.
    Read,
    /// It will not arrive.
    Failed,
    /// It came from the contact.
    Received,
    /// A note to self.
    Note,
}

/// How a message travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MessagePath {
    /// Straight to the other device, on the same network or over the internet.
    Direct,
    /// Straight through a relay's circuit.
    Circuit,
    /// Straight to the other device by radio.
    Radio,
    /// Through a mailbox at a relay.
    Relay,
    /// With people who carried it.
    Courier,
    /// Never left this device.
    Local,
}

/// What relays promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldBy {
    /// How many relays hold it.
    pub relays: u8,
    /// Until when.
    pub until_at: u64,
}

/// How many of the members it was written to have a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PartOf {
    /// How many have it.
    pub delivered: u32,
    /// Of how many.
    pub of: u32,
}

/// Result of `message.send` and `message.edit`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    /// The message.
    pub id: String,
    /// The conversation.
    pub chat: String,
    /// Where it stands.
    pub state: ItemState,
    /// When it was written.
    pub sent_at: u64,
}

/// Parameters of `message.edit`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageEdit {
    /// The message.
    pub id: String,
    /// The new text.
    pub body: String,
}

/// Parameters of `message.delete`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MessageDelete {
    /// The messages.
    pub ids: Vec<String>,
    /// True deletes on both sides.
    #[serde(default)]
    pub for_both: bool,
}

/// Result of `message.delete`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Count {
    /// How many were changed.
    pub count: u32,
}

/// Parameters of `message.react`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageReact {
    /// The message.
    pub id: String,
    /// One emoji.
    pub emoji: String,
    /// True takes it back.
    #[serde(default)]
    pub remove: bool,
}

/// A text a message had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TextVersion {
    /// The text.
    pub body: String,
    /// When it was written.
    pub at: u64,
}

/// A reaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Reaction {
    /// The contact's id, or `me`; in a group, the name the member gave themselves.
    pub from: String,
    /// In a group, the account id of who reacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The emoji.
    pub emoji: String,
}

/// A place in a text that means a member of the group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Mention {
    /// Account id.
    pub account: String,
    /// The name they gave themselves; the account id while that is not known.
    pub name: String,
    /// Where it begins: bytes of UTF-8 before its `@`.
    pub from: u32,
    /// How many bytes it has, the `@` included.
    pub len: u32,
}

/// Parameters of `message.pin`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessagePin {
    /// The message.
    pub id: String,
    /// True takes it back.
    #[serde(default)]
    pub remove: bool,
}

/// A message.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The message.
    pub id: String,
    /// The conversation.
    pub chat: String,
    /// The contact's id, or `me`; in a group, the name the member gave themselves.
    pub from: String,
    /// In a group, the account id of who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// True when this account wrote it.
    pub outgoing: bool,
    /// The text; empty when deleted.
    pub body: String,
    /// Where it stands.
    pub state: ItemState,
    /// How it travelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<MessagePath>,
    /// What relays promised, while `held`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldBy>,
    /// How many members have it, while `partial`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<PartOf>,
    /// Why it will not arrive, when `failed`: `expired`, `blocked`, `keyChanged` or `refused`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// When its author says it was written.
    pub sent_at: u64,
    /// When it was stored here.
    pub stored_at: u64,
    /// When the text was changed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<u64>,
    /// Earlier texts, oldest first.
    pub edits: Vec<TextVersion>,
    /// The message it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// Whom the text mentions by `@name`, in a group; absent where nobody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<Mention>,
    /// True when one of them is this account; absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub mentions_me: bool,
    /// What can be chosen from, where it asks; absent otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub poll: Option<super::Poll>,
    /// True while it is pinned; absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pinned: bool,
    /// Reactions.
    pub reactions: Vec<Reaction>,
    /// When it disappears.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
    /// True once deleted.
    pub deleted: bool,
}

/// One thing that happened to a message on its way.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceHop {
    /// When.
    pub at: u64,
    /// What: `queued`, `sent`, `held`, `carried`, `collected`, `delivered`, `read`, `failed`, `received`.
    pub what: String,
    /// How.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<MessagePath>,
    /// The peer or relay involved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// Until when a relay holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_at: Option<u64>,
}

/// Result of `message.trace`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Trace {
    /// The message.
    pub id: String,
    /// The conversation.
    pub chat: String,
    /// Where it stands.
    pub state: ItemState,
    /// What happened, oldest first.
    pub hops: Vec<TraceHop>,
    /// In a group, where an own message stands with each member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<super::MemberDelivery>>,
}

/// A state to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WaitState {
    /// Stored here.
    Queued,
    /// Held by a relay, or better.
    Held,
    /// Stored by the other device, or better.
    Delivered,
    /// Read by a person.
    Read,
}

/// Parameters of `message.wait`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MessageWait {
    /// The message.
    pub id: String,
    /// The state to wait for; a better one will do.
    pub state: WaitState,
    /// How long to wait.
    pub timeout_ms: u64,
}

/// Result of `message.wait`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waited {
    /// The message.
    pub id: String,
    /// The conversation.
    pub chat: String,
    /// Where it stands.
    pub state: ItemState,
    /// How it travelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<MessagePath>,
    /// What relays promised, while `held`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldBy>,
    /// How many members have it, while `partial`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<PartOf>,
    /// In a group, where it stands with each member, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<super::StateByMember>,
    /// When it was written.
    pub sent_at: u64,
}

/// Parameters of `message.read`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageRead {
    /// `me`, an id, a unique prefix of an id of at least 8 characters, or the local name; a group or channel by `#` and its name.
    pub chat: String,
    /// The last message read; all without it.
    #[serde(default)]
    pub upto: Option<String>,
}

/// Parameters of `message.typing`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MessageTyping {
    /// An id, a unique prefix of an id of at least 8 characters, or the local name; a group or channel by `#` and its name.
    pub chat: String,
    /// True while writing.
    pub on: bool,
}

/// Parameters of `history.list`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryList {
    /// `me`, an id, a unique prefix of an id of at least 8 characters, or the local name; a group or channel by `#` and its name.
    pub chat: String,
    /// Items in one page, at most 200.
    #[serde(default = "page")]
    pub limit: u32,
    /// Only messages above this one.
    #[serde(default)]
    pub before: Option<String>,
    /// Only messages below this one.
    #[serde(default)]
    pub after: Option<String>,
}

fn page() -> u32 {
    50
}

/// Result of `history.list`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct History {
    /// Messages, oldest first.
    pub items: Vec<Item>,
    /// The `before` of the page above; absent when there is nothing above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Parameters of `search.find`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchFind {
    /// Words to find.
    pub query: String,
    /// Only in this conversation.
    #[serde(default)]
    pub chat: Option<String>,
    /// Items at most, up to 200.
    #[serde(default = "page")]
    pub limit: u32,
    /// Only messages written after this time (milliseconds).
    #[serde(default)]
    pub after: Option<u64>,
    /// Only messages written before this time (milliseconds).
    #[serde(default)]
    pub before: Option<u64>,
}

/// Result of `retention.show` and `retention.set`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Retention {
    /// The conversation.
    pub chat: String,
    /// Seconds messages stay; 0 for ever.
    pub seconds: u32,
}

/// Parameters of `retention.set`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionSet {
    /// `me`, an id, a unique prefix of an id of at least 8 characters, or the local name; a group or channel by `#` and its name.
    pub chat: String,
    /// 0, or from 1 day to 90 days.
    pub seconds: u32,
}
