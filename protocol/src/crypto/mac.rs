//! HMAC-SHA-256, whole and truncated.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::fields;
use super::hash::trunc;

/// Shortest truncation that still authenticates: 64 bits, one online guess each.
pub const MAC_BYTES_MIN: usize = 8;

/// HMAC-SHA-256 over one message.
pub fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut state = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    state.update(message);
    state.finalize().into_bytes().into()
}

/// HMAC-SHA-256 over length-prefixed fields.
pub fn mac_fields(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    mac(key, &fields(parts))
}

/// The first `N` bytes of [`mac_fields`].
pub fn mac_trunc<const N: usize>(key: &[u8], parts: &[&[u8]]) -> [u8; N] {
    trunc(&mac_fields(key, parts))
}

/// Whether `tag`, 8 to 32 bytes, is the (truncated) MAC over the fields; in constant time for a given length.
pub fn mac_matches(key: &[u8], parts: &[&[u8]], tag: &[u8]) -> bool {
    let whole = mac_fields(key, parts);
    match whole.get(..tag.len()) {
        Some(prefix) if tag.len() >= MAC_BYTES_MIN => prefix.ct_eq(tag).into(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truncated_mac_is_accepted_from_eight_bytes_on() {
        let whole = mac_fields(b"key", &[b"a", b"b"]);
        assert!(mac_matches(b"key", &[b"a", b"b"], &whole));
        assert!(mac_matches(b"key", &[b"a", b"b"], &whole[..8]));
        assert!(!mac_matches(b"key", &[b"a", b"b"], &whole[..7]));
        assert!(!mac_matches(b"key", &[b"a", b"b"], &[]));
        assert!(!mac_matches(b"key", &[b"ab"], &whole));
        assert!(!mac_matches(b"key", &[b"a", b"b"], &[whole.as_slice(), &[0]].concat()));
    }
}
