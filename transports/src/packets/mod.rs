//! Links over packets: what a small radio carries whole becomes an ordered, sealed link for frames of any size.
//!
//! ```text
//!   link    handshake, frames in sealed records        noise   the handshake and the seals
//!   pieces  numbers, window, repeats                   packet  the bytes on the air
//! ```
//! No clock, no radio, no task: `host_radio` drives it, for the radios of this machine and for those of an app.
//! The bytes are in `docs/wire-format.md` §7.5.

pub mod link;
pub mod noise;
pub mod packet;
pub mod pieces;

#[cfg(test)]
mod emulated;

pub use link::{Addressee, BESIDE_BYTES_MAX, Broken, End, Instance, News, PacketLink};
