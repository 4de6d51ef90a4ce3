//! What is called with the bytes of an input, and what must hold afterwards.

pub mod carry;
pub mod channel;
pub mod engine;
pub mod group;
pub mod group_operations;
pub mod identity;
pub mod mailbox;
pub mod packets;
pub mod presence;
pub mod records;
pub mod session;
pub mod text;
pub mod wire;
