//! A group as people and programs see it. Nothing here is stored or sent.

use crate::ids::{AccountId, ChatId, MessageId};
use crate::step::DeliveryState;
use crate::time::UnixTime;

use super::role::GroupRole;
use super::settings::GroupHistory;

/// Where this account stands with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// We followed a link or were added, and wait for the group's keys or for a decision.
    Joining,
    /// A member who can write.
    Active,
    /// We left.
    Left,
    /// Somebody removed us.
    Removed,
}

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// The conversation: the group's id.
    pub chat: ChatId,
    /// Name.
    pub name: String,
    /// Topic, empty if none.
    pub topic: String,
    /// Avatar bytes, empty if none.
    pub avatar: Vec<u8>,
    /// Where this account stands.
    pub state: GroupState,
    /// The own role; `None` unless a member.
    pub role: Option<GroupRole>,
    /// Everybody, by account id.
    pub members: Vec<MemberView>,
    /// Everybody who was a member once and is not any more, by account id: their messages stay, and need a name.
    pub former: Vec<FormerMemberView>,
    /// A short name of the keys in use: equal on two devices that read the same messages.
    pub epoch: [u8; 4],
    /// True while the keys have to be renewed before anything is sent (somebody was removed).
    pub rekey_due: bool,
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
    /// Links that still work, made by anybody; without their text where this account did not make them.
    pub links: Vec<GroupLinkView>,
    /// People who wait for a decision.
    pub requests: Vec<JoinRequestView>,
    /// Operations that do not count because others, made at the same time, go before them.
    pub void: Vec<VoidView>,
    /// Pinned messages, the last one pinned first.
    pub pins: Vec<PinView>,
    /// The last checkpoint, if there is one yet.
    pub checkpoint: Option<CheckpointView>,
}

/// An admin's word on what the operations of a group come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointView {
    /// Whose.
    pub by: AccountId,
    /// How many operations it is about.
    pub operations: u32,
    /// False where something else comes out on this device: the two are of versions that do not agree, or one lies.
    pub agrees: bool,
}

/// A message that moderators have pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinView {
    /// The message.
    pub id: MessageId,
    /// Who pinned it.
    pub by: AccountId,
    /// When they say they did.
    pub at: UnixTime,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Who.
    pub account: AccountId,
    /// The name they gave themselves; empty while unknown.
    pub name: String,
    /// What they may do.
    pub role: GroupRole,
    /// True for this account.
    pub own: bool,
    /// The contact they are, if they are one.
    pub contact: Option<ChatId>,
    /// Who added them; `None` for the founder of the group.
    pub added_by: Option<AccountId>,
    /// Until when they may not write.
    pub muted_until: Option<UnixTime>,
    /// A device of theirs changed the group twice, as if the other change did not exist: it was copied or set back, or
    /// somebody lies to a part of the group.
    pub forked: bool,
}

/// Somebody who left a group or was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerMemberView {
    /// Who.
    pub account: AccountId,
    /// The name they gave themselves; empty while unknown.
    pub name: String,
}

/// An invitation to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLinkView {
    /// Its name, to revoke it by.
    pub id: [u8; 16],
    /// Link to copy; empty where it is not known here.
    pub link: String,
    /// Text for a QR code (alphanumeric mode); empty where it is not known here.
    pub qr: String,
    /// When it stops working.
    pub expires_at: UnixTime,
    /// How many people may join by it.
    pub uses: u32,
    /// How many have.
    pub used: u32,
    /// True when each of them waits for a decision.
    pub approval: bool,
}

/// Somebody who wants to join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequestView {
    /// Who.
    pub account: AccountId,
    /// The name they gave themselves.
    pub name: String,
    /// When they asked.
    pub at: UnixTime,
}

/// An operation that does not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoidView {
    /// Whose.
    pub author: AccountId,
    /// What it would have done, in plain words.
    pub what: String,
    /// What went before it, in plain words.
    pub why: String,
}

/// How far a message has come with one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDelivery {
    /// Who.
    pub account: AccountId,
    /// The name they gave themselves; empty while unknown.
    pub name: String,
    /// `Queued`, `Held`, `Delivered`, `Read` or `Failed`.
    pub state: DeliveryState,
}
