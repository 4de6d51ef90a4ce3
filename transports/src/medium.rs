//! What a medium is like. Whoever chooses between links goes by these natures, never by a medium's name.

use silbo_protocol::limits::FRAME_BYTES_MAX;

/// The nature of a medium: bounds its links keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Medium {
    /// Largest frame it carries.
    pub frame_bytes_max: usize,
    /// Frames that may wait on one link before it is closed.
    pub queue_frames_max: usize,
    /// Bytes that may wait on one link before it is closed.
    pub queue_bytes_max: usize,
}

/// IP networks through libp2p: 16 of the largest frames may wait, 4 MiB.
pub const INTERNET: Medium =
    Medium { frame_bytes_max: FRAME_BYTES_MAX, queue_frames_max: 256, queue_bytes_max: 16 * FRAME_BYTES_MAX };

/// Two ends in one process.
pub const LOOPBACK: Medium = INTERNET;

/// Small radios: the same frames, of which a megabyte may wait; that is a minute on the air.
pub const RADIO: Medium =
    Medium { frame_bytes_max: FRAME_BYTES_MAX, queue_frames_max: 256, queue_bytes_max: 4 * FRAME_BYTES_MAX };
