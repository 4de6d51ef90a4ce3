//! `H`: SHA-256 over a label and length-prefixed fields; and BLAKE3, only for ids of envelopes.

use sha2::{Digest, Sha256};

use super::fields;
use crate::ids::Cid;

/// SHA-256 over the label and the fields, each length-prefixed. One label a purpose.
pub fn hash(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    Sha256::new().chain_update(fields(&[label.as_bytes()])).chain_update(fields(parts)).finalize().into()
}

/// Plain SHA-256, for ids that are defined as the hash of one encoded object.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The first `N` of 32 bytes.
pub fn trunc<const N: usize>(digest: &[u8; 32]) -> [u8; N] {
    let mut out = [0; N];
    let kept = N.min(32);
    out[..kept].copy_from_slice(&digest[..kept]);
    out
}

/// Content id of an envelope: first 16 bytes of BLAKE3 over its bytes.
pub fn cid(envelope: &[u8]) -> Cid {
    Cid(trunc(blake3::hash(envelope).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_separates_purposes() {
        assert_ne!(hash("silbo/1/a", &[b"x"]), hash("silbo/1/b", &[b"x"]));
        assert_ne!(hash("silbo/1/a", &[b"x"]), hash("silbo/1/ax", &[]));
    }

    #[test]
    fn one_flipped_bit_changes_the_content_id() {
        assert_ne!(cid(&[0; 100]), cid(&[[0; 99].as_slice(), &[1]].concat()));
    }
}
