//! Thin typed wrappers around reviewed primitives; the only module that names the crates behind them.
//!
//! Keys are types, every derivation carries a label, every multi-part input is length-prefixed. Nothing here
//! knows a protocol: that is `session`, `identity` and `mailbox`. No primitive is implemented here.

pub mod aead;
pub mod ed25519;
pub mod hash;
pub mod kdf;
pub mod kem;
pub mod mac;
pub mod secret;
pub mod stream;
pub mod x25519;

pub use hash::{cid, hash, sha256};
pub use kdf::kdf;
pub use secret::Secret;

/// Length-prefixed concatenation: each field preceded by its length as u32, big-endian.
///
/// # Panics
/// If a field is longer than 4 GiB, which no bounded input is.
pub fn fields(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|p| p.len() + 4).sum());
    for part in parts {
        let len = u32::try_from(part.len()).expect("a field is shorter than 4 GiB");
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// A public key with its type byte in front, as it goes into hashes: no X25519 key can pass for a KEM key.
pub fn typed(kind: KeyKind, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + key.len());
    out.push(kind as u8);
    out.extend_from_slice(key);
    out
}

/// The type byte of a public key inside a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum KeyKind {
    /// X25519, 32 bytes.
    X25519 = 0x01,
    /// Ed25519, 32 bytes.
    Ed25519 = 0x02,
    /// ML-KEM-768 encapsulation key, 1,184 bytes.
    MlKem768 = 0x03,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_cannot_be_shifted_into_one_another() {
        assert_ne!(fields(&[b"ab", b"c"]), fields(&[b"a", b"bc"]));
        assert_ne!(fields(&[b"ab", b""]), fields(&[b"ab"]));
        assert_eq!(fields(&[b"ab"]), [0, 0, 0, 2, b'a', b'b']);
    }

    #[test]
    fn keys_of_different_kinds_never_hash_alike() {
        assert_ne!(typed(KeyKind::X25519, &[7; 32]), typed(KeyKind::Ed25519, &[7; 32]));
    }
}
