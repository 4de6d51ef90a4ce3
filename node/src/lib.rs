//! The node: the daemon around the engine, and everything a person touches.
//!
//! ```text
//!   cli ─▶ api ─▶ core thread ── Engine (silbo-protocol)
//!                     │  └────── storage, spool, vault
//!                     └───────── transports
//! ```

pub mod api;
pub mod atomic_file;
pub mod battery;
pub mod bench;
pub mod cli;
pub mod core;
#[cfg(debug_assertions)]
mod key_log;
pub mod node;
pub mod paths;
pub mod radio;
pub mod settings;
pub mod shutdown;
pub mod spool;
pub mod storage;
pub mod vault;
