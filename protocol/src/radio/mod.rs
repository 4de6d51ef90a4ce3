//! What a small radio does with its time and its few connections, without radio and without clock.
//!
//! ```text
//!   power, battery, motion ─▶ Duty: how often to listen and to say that one is there
//!   who is heard, digests, links ─▶ Neighbours: whom to dial, which link to let go
//! ```
//! The device asks at every look and does what it is told: a platform's radio differs, the decisions do not. A digest says
//! whether somebody has changed what they hold, and nothing about what it is (§5.4 of the design's protocol: two bytes of
//! a hash over the rotating id and the set).

pub mod duty;
pub mod neighbours;

pub use duty::{Battery, Conditions, Duty, RadioPower};
pub use neighbours::{Heard, Linked, Neighbours, Next};

use crate::crypto::hash::{hash, trunc};

/// What is on the air as the digest of what a node holds: under another rotating id it is another, so that nobody can
/// follow a device by it.
pub fn digest(rid: &[u8; 6], fingerprint: u64) -> [u8; 2] {
    trunc(&hash("silbo/1/held", &[rid, &fingerprint.to_be_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_changes_with_the_id_and_with_what_is_held() {
        let digests: std::collections::BTreeSet<[u8; 2]> =
            (0..200u8).flat_map(|n| [digest(&[n; 6], 7), digest(&[0; 6], u64::from(n))]).collect();
        assert!(digests.len() > 390, "{}", digests.len());
        assert_eq!(digest(&[1; 6], 2), digest(&[1; 6], 2));
    }
}
