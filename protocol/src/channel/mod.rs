//! Channels: one owner writes, anybody who holds the link reads, and any reader hands on what it has.
//!
//! ```text
//!   link ─▶ owner's key, key of a day ──▶ keys.rs   keys of that day and of all later ones
//!   post.rs    one post: signed by the owner, sealed under the key of its day, naming the post before it
//!   log.rs     which posts are here, and whether the owner has signed two histories
//!   ranges.rs  numbers of posts, as they are told and asked for
//! ```
//! A post counts by its signature alone, in whatever order it comes and whoever brings it; the hash of its predecessor
//! shows that nothing was exchanged. Nothing here knows links, stores or clocks.

pub mod keys;
pub mod log;
#[cfg(test)]
mod log_tests;
pub mod post;
pub mod ranges;
pub mod view;

use crate::crypto::ed25519::VerifyingKey;
use crate::crypto::hash::{hash, trunc};
use crate::ids::ChatId;

/// The conversation that is the channel of this owner's key.
pub fn channel_id(owner: &VerifyingKey) -> ChatId {
    ChatId(trunc(&hash("silbo/1/channel", &[&owner.typed()])))
}
