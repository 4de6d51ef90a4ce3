//! What a group costs: bytes on the wire and processor time of a post, an addition, a removal and a join, beside what
//! they would cost pair by pair and with sender keys.
//!
//! ```text
//!   engines.rs   a group of real engines in one process, over links of the simulated world
//!   large.rs     the real operations, keys and letters of a group that is too large for that
//!   others.rs    the same with ratchets pair by pair and with sender keys: the same primitives, really run
//!   table.rs     how it is shown
//! ```
//! Bytes are of frames as they are handed to links, before the transport encrypts them. Processor time is of this machine.

mod engines;
mod large;
mod others;
mod table;

use crate::failure::Failure;
use crate::progress::Progress;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Members with an engine each.
    pub engines: usize,
    /// Posts of which the mean is taken.
    pub posts: u32,
    /// Members of the large group.
    pub members: usize,
    /// Their devices.
    pub devices: usize,
    /// All chance follows from it.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { engines: 100, posts: 10, members: 1_000, devices: 1_500, seed: 1 }
    }
}

/// Most bytes of a post, in copies of its letter for each member who reads it.
pub const POST_COPIES_AIM: f64 = 2.2;
/// Most bytes of key material for each device that stays.
pub const REMOVAL_BYTES_AIM: f64 = 55.0;
/// Most bytes of a join, without history.
pub const JOIN_BYTES_AIM: u64 = 100_000;

/// Measures everything and gives the table.
///
/// # Errors
/// A broken invariant.
pub fn run(settings: &Settings, progress: &Progress) -> Result<String, Failure> {
    progress.say("engines");
    let engines = engines::measure(settings)?;
    progress.say("large group");
    let large = large::measure(settings)?;
    progress.say("pairs and sender keys");
    let small_others = others::measure(settings.engines, settings.seed)?;
    let large_others = others::measure(settings.devices, settings.seed)?;
    Ok(table::text(settings, &engines, &large, &small_others, &large_others))
}

fn broken(what: impl std::fmt::Debug) -> Failure {
    Failure::Unexpected(format!("{what:?}"))
}
