//! Tags: the 12 bytes by which a receiver knows session, chain and number of an envelope, and nobody else does.
//!
//! `P_n = trunc16(HMAC(KDF(HK, "tag"), "v", n))`, `T_n = trunc12(H("silbo/tag/1", P_n))`. Publishing `P_n` is the
//! delivery receipt: anyone can check it against `T_n`, only the two ends can compute it.

pub use super::ratchet::{Chain, TagPlace};
use crate::crypto::hash::trunc;
use crate::crypto::mac::mac_trunc;
use crate::crypto::{Secret, hash, kdf};
use crate::ids::{Preimage, Tag};

/// The tag of a preimage: what carriers and relays check a receipt with.
pub fn tag_of(preimage: &Preimage) -> Tag {
    Tag(trunc(&hash("silbo/tag/1", &[preimage.as_bytes()])))
}

/// The keys that one header key is root of.
pub(super) struct TagKey(Secret<32>);

impl TagKey {
    pub(super) fn of(header_key: &Secret<32>) -> Self {
        Self(kdf(header_key.expose(), b"", "silbo/1/tag"))
    }

    pub(super) fn preimage(&self, n: u32) -> Preimage {
        Preimage(mac_trunc(self.0.expose(), &[b"v", &n.to_be_bytes()]))
    }

    pub(super) fn tag(&self, n: u32) -> Tag {
        tag_of(&self.preimage(n))
    }
}

/// The header cipher key that one header key is root of.
pub(super) fn header_cipher_key(header_key: &Secret<32>) -> Secret<32> {
    kdf(header_key.expose(), b"", "silbo/1/hdr")
}

/// The numbers a receiver listens for: `dense` from `next` on, then every `step`-th up to `reach` ahead.
pub(crate) fn window(next: u32, dense: u32, step: u32, reach: u32) -> impl Iterator<Item = u32> {
    let dense_end = next.saturating_add(dense);
    let end = next.saturating_add(reach).saturating_add(1);
    let first_landmark = dense_end.checked_next_multiple_of(step).unwrap_or(u32::MAX);
    let step = usize::try_from(step).unwrap_or(1).max(1);
    (next..dense_end).chain((first_landmark..end).step_by(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_dense_then_has_landmarks() {
        let numbers: Vec<u32> = window(3, 4, 32, 100).collect();
        assert_eq!(numbers, [3, 4, 5, 6, 32, 64, 96]);
        assert_eq!(window(0, 64, 32, 4_096).count(), 64 + 127, "landmarks 64, 96 … 4,096");
    }

    #[test]
    fn a_window_at_the_end_of_the_numbers_is_empty_not_endless() {
        assert_eq!(window(u32::MAX, 64, 32, 4_096).count(), 0);
        assert!(window(u32::MAX - 100, 64, 32, 4_096).count() <= 68);
    }

    #[test]
    fn tags_of_two_keys_or_two_numbers_differ() {
        let (a, b) = (TagKey::of(&Secret::new([1; 32])), TagKey::of(&Secret::new([2; 32])));
        assert_ne!(a.tag(0), b.tag(0));
        assert_ne!(a.tag(0), a.tag(1));
        assert_eq!(a.tag(7), tag_of(&a.preimage(7)));
    }
}
