//! Groups.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{HeldBy, ItemState, PartOf};

/// What a member may do, least first; a role can do everything the ones before it can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupRole {
    /// Reads, and writes nothing.
    Reader,
    /// Writes.
    Member,
    /// Also deletes what others wrote, and mutes.
    Moderator,
    /// Also adds, removes, invites and changes settings.
    Admin,
    /// Also makes admins and owners.
    Owner,
}

/// What somebody who joins can read of the time before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum GroupHistory {
    /// Nothing.
    None,
    /// The last days.
    Days {
        /// How many.
        days: u32,
    },
    /// Everything that is kept.
    All,
}

/// Where this account stands with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupState {
    /// We wait for the group's keys, or for a decision.
    Joining,
    /// We are a member.
    Active,
    /// We left.
    Left,
    /// Somebody removed us.
    Removed,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupMember {
    /// Account id.
    pub account: String,
    /// The name they gave themselves; the account id while that is not known.
    pub name: String,
    /// What they may do.
    pub role: GroupRole,
    /// Account id of who added them; absent for the founder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added_by: Option<String>,
    /// Until when they may not write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub muted_until_at: Option<u64>,
    /// True if a device of theirs changed the group twice, as if the other change did not exist: it was copied or set
    /// back, or somebody lies to a part of the group. Absent otherwise.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forked: bool,
}

/// Somebody who left a group or was removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FormerMember {
    /// Account id.
    pub account: String,
    /// The name they gave themselves; the account id while that is not known.
    pub name: String,
}

/// A link by which others join, as every member sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupLinkState {
    /// Its id, to revoke it by.
    pub id: String,
    /// The end of the day on which it stops working.
    pub expires_at: u64,
    /// How many may join by it.
    pub uses: u32,
    /// How many have.
    pub used: u32,
    /// True when each of them waits for a decision.
    pub approval: bool,
}

/// A link by which others join, with what to hand over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupLink {
    /// Its id, to revoke it by.
    pub id: String,
    /// The link to hand over.
    pub link: String,
    /// The text of its QR code.
    pub qr: String,
    /// When it stops working.
    pub expires_at: u64,
    /// How many may join by it.
    pub uses: u32,
    /// How many have.
    pub used: u32,
    /// True when each of them waits for a decision.
    pub approval: bool,
}

/// Somebody who wants to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct JoinRequest {
    /// Account id.
    pub account: String,
    /// The name they gave themselves.
    pub name: String,
    /// When they asked.
    pub at: u64,
}

/// An operation on a group that does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct VoidOperation {
    /// Account id of who made it.
    pub author: String,
    /// What it would have done.
    pub what: String,
    /// What went before it.
    pub why: String,
}

/// What an admin's device says the changes of a group come to, compared with what comes out here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Checkpoint {
    /// Account id of whose device says it.
    pub by: String,
    /// How many changes it is about.
    pub operations: u32,
    /// False where something else comes out on this device.
    pub agrees: bool,
}

/// A pinned message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PinnedMessage {
    /// The message.
    pub id: String,
    /// Account id of who pinned it.
    pub by: String,
    /// When.
    pub at: u64,
}

/// A member who is a contact here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MemberContact {
    /// Account id of the member.
    pub account: String,
    /// Id of the contact.
    pub contact: String,
    /// What the contact is called here.
    pub alias: String,
}

/// What of a group is true on this device only, or not told to everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupLocal {
    /// Where this account stands.
    pub state: GroupState,
    /// The own account id.
    pub account: String,
    /// The own role, while a member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<GroupRole>,
    /// True while the keys have to be renewed before anything is sent.
    pub rekey_due: bool,
    /// Members who are contacts here.
    pub contacts: Vec<MemberContact>,
    /// Links whose text is known here: those made on this device.
    pub links: Vec<GroupLink>,
    /// People who wait for a decision, as far as this device knows.
    pub requests: Vec<JoinRequest>,
}

/// A group. Everything but `local` is the same on every device that knows the same operations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Group {
    /// Its id, also the id of the conversation.
    pub id: String,
    /// Name.
    pub name: String,
    /// Topic; empty if none.
    pub topic: String,
    /// Avatar bytes; empty if none.
    pub avatar: String,
    /// A short name of the keys in use: the same on two devices that read the same messages.
    pub epoch: String,
    /// Everybody, by account id.
    pub members: Vec<GroupMember>,
    /// Who was a member once, by account id.
    pub former: Vec<FormerMember>,
    /// Seconds messages stay; 0 for ever.
    pub retention_s: u32,
    /// What somebody who joins can read of the time before.
    pub history: GroupHistory,
    /// The least role that may add members and make links.
    pub may_add: GroupRole,
    /// The least role that may write.
    pub may_send: GroupRole,
    /// The least role that may delete what others wrote.
    pub may_delete: GroupRole,
    /// Seconds between two messages of one member; 0 is no limit.
    pub slow_mode_s: u32,
    /// True while nobody joins and nothing changes.
    pub frozen: bool,
    /// Links that still work.
    pub links: Vec<GroupLinkState>,
    /// Operations that do not count because others, made at the same time, go before them.
    pub void: Vec<VoidOperation>,
    /// Pinned messages, the last one pinned first.
    pub pins: Vec<PinnedMessage>,
    /// The last checkpoint, after some hundred changes; absent before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// What is true on this device only.
    pub local: GroupLocal,
}

/// A group.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByGroup {
    /// `#name` or a unique beginning of it, an id, or a unique prefix of an id of at least 8 characters.
    pub group: String,
}

/// Parameters of `group.create`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupCreate {
    /// Name, with or without `#`.
    pub name: String,
    /// Topic.
    #[serde(default)]
    pub topic: String,
    /// Contacts to add at once.
    #[serde(default)]
    pub members: Vec<String>,
}

/// Parameters of `group.set`; what is left out stays.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupSet {
    /// `#name` or a unique beginning of it, an id, or a unique prefix of an id of at least 8 characters.
    pub group: String,
    /// Name, with or without `#`.
    #[serde(default)]
    pub name: Option<String>,
    /// Topic; empty removes it.
    #[serde(default)]
    pub topic: Option<String>,
    /// Avatar bytes; empty removes it.
    #[serde(default)]
    pub avatar: Option<String>,
    /// Seconds messages stay: 0 for ever, or from 1 day to 90 days.
    #[serde(default)]
    pub retention_s: Option<u32>,
    /// What somebody who joins can read of the time before.
    #[serde(default)]
    pub history: Option<GroupHistory>,
    /// The least role that may add members and make links.
    #[serde(default)]
    pub may_add: Option<GroupRole>,
    /// The least role that may write.
    #[serde(default)]
    pub may_send: Option<GroupRole>,
    /// The least role that may delete what others wrote.
    #[serde(default)]
    pub may_delete: Option<GroupRole>,
    /// Seconds between two messages of one member; 0 is no limit.
    #[serde(default)]
    pub slow_mode_s: Option<u32>,
    /// True: nobody joins and nothing changes until an owner lifts it.
    #[serde(default)]
    pub frozen: Option<bool>,
}

/// Parameters of `group.add`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupAdd {
    /// `#name` or a unique beginning of it, an id, or a unique prefix of an id of at least 8 characters.
    pub group: String,
    /// Contacts to add.
    pub members: Vec<String>,
}

/// Parameters of `group.remove`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupRemove {
    /// `#name` or a unique beginning of it, an id, or a unique prefix of an id of at least 8 characters.
    pub group: String,
    /// Members, by local name, the name they gave themselves, or account id.
    pub members: Vec<String>,
    /// Also everybody they have added, and whom those have added.
    #[serde(default)]
    pub with_branch: bool,
}

/// Parameters of `group.setRole`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupSetRole {
    /// `#name` or a unique beginning of it, an id, or a unique prefix of an id of at least 8 characters.
    pub group: String,
    /// A member, by local name, the name they gave themselves, or account id.
    pub member: String,
    /// The role from then on.
    pub role: GroupRole,
}

/// Parameters of `group.mute`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupMute {
    /// `#name` or a unique beginning of it, an id, or a unique prefix of an id of at least 8 characters.
    pub group: String,
    /// A member, by local name, the name they gave themselves, or account id.
    pub member: String,
    /// For how long; 0 lifts it.
    pub seconds: u32,
}

/// Parameters of `group.invite`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupInvite {
    /// `#name` or a unique beginning of it, an id, or a unique prefix of an id of at least 8 characters.
    pub group: String,
    /// How many may join by it.
    #[serde(default = "one")]
    pub uses: u32,
    /// Lifetime in milliseconds, 1 minute to 365 days.
    #[serde(default = "one_week_ms")]
    pub ttl_ms: u64,
    /// True: each of them waits for a decision.
    #[serde(default)]
    pub approval: bool,
}

fn one() -> u32 {
    1
}

fn one_week_ms() -> u64 {
    7 * silbo_protocol::time::DAY_MS
}

/// Parameters of `group.revokeLink`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupRevokeLink {
    /// `#name` or a unique beginning of it, an id, or a unique prefix of an id of at least 8 characters.
    pub group: String,
    /// The id of the link, a unique prefix of it of at least 8 characters, or the link itself.
    pub link: String,
}

/// Parameters of `group.join`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupJoin {
    /// The link or QR text of an invitation to a group.
    pub link: String,
}

/// Parameters of `group.decide`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupDecide {
    /// `#name` or a unique beginning of it, an id, or a unique prefix of an id of at least 8 characters.
    pub group: String,
    /// Who asks, by the name they gave or account id.
    pub member: String,
    /// True lets them in.
    pub accept: bool,
}

/// How far a message has come with one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MemberDelivery {
    /// Account id.
    pub account: String,
    /// The name they gave themselves; the account id while that is not known.
    pub name: String,
    /// Where the message stands with them.
    pub state: ItemState,
    /// What relays promised, while `held`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldBy>,
    /// Why it will not arrive, when `failed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// Result of `message.deliveries`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Deliveries {
    /// The message.
    pub id: String,
    /// The conversation.
    pub chat: String,
    /// Where it stands.
    pub state: ItemState,
    /// How many members have it, while `partial`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial: Option<PartOf>,
    /// Everybody it was written to.
    pub members: Vec<MemberDelivery>,
}

/// Members by name, with where a message stands with them. Of two with one name both are under their account ids.
pub type StateByMember = BTreeMap<String, ItemState>;
