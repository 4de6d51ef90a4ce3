//! The five roles of a group, least first. A role can do everything the ones below it can.

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum GroupRole {
    /// Reads, and writes nothing.
    Reader = 0,
    /// Writes.
    Member = 1,
    /// Also deletes what others wrote, and mutes.
    Moderator = 2,
    /// Also adds, removes, invites and changes settings.
    Admin = 3,
    /// Also makes admins and owners.
    Owner = 4,
}

impl GroupRole {
    /// Every role, least first.
    pub const ALL: [Self; 5] = [Self::Reader, Self::Member, Self::Moderator, Self::Admin, Self::Owner];

    /// The number it is stored and sent as. Never reuse one.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// The role of a number; `None` for an unknown one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The word for people and programs: `reader`, `member`, `moderator`, `admin` or `owner`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Member => "member",
            Self::Moderator => "moderator",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_no_other() {
        for code in 0..=u8::MAX {
            assert_eq!(GroupRole::from_code(code).map(GroupRole::code), (code < 5).then_some(code));
        }
        assert!(GroupRole::Reader < GroupRole::Member && GroupRole::Admin < GroupRole::Owner);
    }
}
