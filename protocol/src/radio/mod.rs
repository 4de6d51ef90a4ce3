//! What a small radio does with its time and its few connections, without radio and without clock.
//!
//! ```text
//!   power, battery, motion ─▶ Duty: how often to listen and to say that one is there
//!   who is heard, digests, links ─▶ Neighbours: whom to dial, which link to let go
//! ```
//! The device asks at every look and does what it is told: a platform's radio differs, the decisions do not. A digest says
//! whether somebody has changed what they hold, and nothing about what it is.

pub mod duty;
pub mod neighbours;

pub use duty::{Battery, Conditions, Duty, RadioPower};
pub use neighbours::{Heard, Linked, Neighbours, Next};

use crate::crypto::hash::{hash, trunc};

/// What is on the air as the digest of what a node holds. Under another rotating id it is another, and nobody without the
/// node's `secret` can try what somebody might hold: who has met a device cannot tell it by what both have.
pub fn digest(secret: &[u8; 32], rid: &[u8; 6], fingerprint: u64) -> [u8; 2] {
    trunc(&hash("silbo/1/held", &[secret, rid, &fingerprint.to_be_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_changes_with_the_secret_with_the_id_and_with_what_is_held() {
        let of =
            |n: u8| [digest(&[0; 32], &[n; 6], 7), digest(&[0; 32], &[0; 6], n.into()), digest(&[n; 32], &[8; 6], 9)];
        let digests: std::collections::BTreeSet<[u8; 2]> = (0..200).flat_map(of).collect();
        assert!(digests.len() > 585, "{}", digests.len());
        assert_eq!(of(1), of(1));
    }
}
