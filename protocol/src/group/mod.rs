//! Groups: conversations of many without a server.
//!
//! ```text
//!   operation.rs   one signed change                     graph.rs       all that are known, in causal order
//!   resolve.rs     which of them count                   membership.rs  what they say together
//!   standing.rs    what they say of one account          role.rs        what a member may do
//!   key_graph.rs   who can know which key                key_ring.rs    the keys this device holds
//!   epoch.rs       secrets of one epoch                  slices.rs      a fresh key for those who stay
//!   roots.rs       what a rekeyer shares with a device   welcome.rs     keys told to a newcomer
//!   chain.rs       sender chains and tags                letter.rs      one sealed message
//!   settings.rs    what a group has agreed on            view.rs        a group as people see it
//!   history.rs     what newcomers are told of before
//! ```

mod bits;
pub mod chain;
pub mod epoch;
pub mod graph;
pub mod history;
pub mod key_graph;
pub mod key_ring;
pub mod letter;
pub mod membership;
pub mod operation;
pub mod receipt;
mod resolve;
pub mod role;
pub mod roots;
pub mod settings;
pub mod slices;
mod standing;
mod stored;
pub mod view;
pub mod welcome;

pub use role::GroupRole;
pub use settings::{GroupChanges, GroupHistory};
pub use view::{
    FormerMemberView, GroupLinkView, GroupState, GroupView, JoinRequestView, MemberDelivery, MemberView, PinView,
    VoidView,
};

#[cfg(test)]
mod chain_tests;
#[cfg(test)]
mod closure_tests;
#[cfg(test)]
mod key_ring_tests;
#[cfg(test)]
mod letter_tests;
#[cfg(test)]
mod model;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod resolve_tests;
#[cfg(test)]
mod slices_tests;
#[cfg(test)]
mod test_group;
#[cfg(test)]
mod test_people;

/// Generated from `proto/group_state.proto`.
#[allow(missing_docs, clippy::all)]
mod state {
    include!(concat!(env!("OUT_DIR"), "/silbo.state.group.rs"));
}
