//! What is true, given what has happened: the core of Silbo, without clock, disk, network or threads.
//!
//! ```text
//!   Input ──▶ Engine::handle(input, now, store) ──▶ Step { writes, sends, reply, events }
//! ```
//! The driver commits `writes`, then hands out `sends`, then answers `reply`, then publishes `events`.

#![forbid(unsafe_code)]

pub mod carry;
pub mod chance;
pub mod channel;
pub mod conversation;
pub mod crypto;
pub mod delivery;
pub mod engine;
pub mod group;
pub mod identity;
pub mod ids;
pub mod input;
pub mod limits;
pub mod mailbox;
pub mod memory_store;
pub mod presence;
pub mod radio;
pub mod session;
pub mod step;
pub mod store;
pub mod time;
pub mod wire;

pub use engine::Engine;
