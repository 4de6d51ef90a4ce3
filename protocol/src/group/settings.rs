//! What the members of a group have agreed on, and a wish to change it.

use super::role::GroupRole;

/// What somebody who joins can read of the time before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupHistory {
    /// Nothing.
    #[default]
    None,
    /// The last days.
    Days(u32),
    /// Everything that is kept.
    All,
}

/// Changes to a group; `None` leaves a field as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupChanges {
    /// Name, 1 to `limits::NAME_BYTES_MAX` bytes.
    pub name: Option<String>,
    /// Topic, up to `limits::GROUP_TOPIC_BYTES_MAX` bytes; empty removes it.
    pub topic: Option<String>,
    /// Picture, up to `limits::AVATAR_BYTES_MAX` bytes; empty removes it.
    pub avatar: Option<Vec<u8>>,
    /// Seconds messages stay: 0 for ever, else within `limits::CHAT_RETENTION_S_RANGE`.
    pub retention_s: Option<u32>,
    /// What somebody who joins can read of the time before.
    pub history: Option<GroupHistory>,
    /// The least role that may add members and make links.
    pub may_add: Option<GroupRole>,
    /// The least role that may write.
    pub may_send: Option<GroupRole>,
    /// The least role that may delete what others wrote.
    pub may_delete: Option<GroupRole>,
    /// Seconds between two messages of one member; 0 is no limit.
    pub slow_mode_s: Option<u32>,
    /// True: nobody joins and nothing changes until an owner lifts it.
    pub frozen: Option<bool>,
}
