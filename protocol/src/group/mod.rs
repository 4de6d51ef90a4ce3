//! Groups: conversations of many without a server.
//!
//! ```text
//!   role.rs      what a member may do, in five steps      settings.rs  what a group has agreed on
//!   view.rs      a group as people and programs see it
//! ```

pub mod role;
pub mod settings;
pub mod view;

pub use role::GroupRole;
pub use settings::{GroupChanges, GroupHistory};
pub use view::{
    FormerMemberView, GroupLinkView, GroupState, GroupView, JoinRequestView, MemberDelivery, MemberView, VoidView,
};
