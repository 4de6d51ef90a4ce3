//! How bytes get across: links to other nodes over the media this node has, as plain values over bounded channels.
//!
//! ```text
//!   driver ──LinkCommand──▶ medium ──frames──▶ another node
//!          ◀──LinkEvent────
//! ```
//! [`link`] holds the two enums every medium speaks, [`medium`] what a medium is like, [`internet`] rust-libp2p over
//! the internet and the local network, [`host_radio`] radios that carry packets (`bluetooth` on Linux), `wifi_direct` a fast
//! link beside those, [`loopback`] two ends in one process.
//! Nothing here reads a frame: bytes go in and come out whole. Peers are transport keys, disposable, never a person.

#![forbid(unsafe_code)]

#[cfg(all(feature = "bluetooth", target_os = "linux"))]
pub mod bluetooth;
pub mod host_radio;
#[cfg(feature = "internet")]
pub mod internet;
pub mod link;
pub mod loopback;
pub mod medium;
pub mod packets;
mod queue;
mod running;
#[cfg(all(feature = "wifi_direct", target_os = "linux"))]
pub mod wifi_direct;

pub use link::{Health, LinkCommand, LinkEvent, LinkIds};
pub use running::Running;
