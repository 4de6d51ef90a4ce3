//! X25519 with canonical public keys, no points of small order and no all-zero shared secret.

use subtle::ConstantTimeEq;
use x25519_dalek::StaticSecret;

use super::{KeyKind, Secret, typed};
use crate::chance::Chance;

/// Why bytes are not a usable X25519 key, or an agreement gave nothing. Always the fault of who sent the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum X25519Error {
    /// Not 32 bytes.
    #[error("an X25519 public key has 32 bytes")]
    Length,
    /// The coordinate is not below 2^255 − 19: two encodings of one point.
    #[error("the X25519 public key is not in canonical form")]
    NotCanonical,
    /// A point of small order: the shared secret would not depend on the secret key.
    #[error("the X25519 public key has small order")]
    SmallOrder,
}

/// The five canonical coordinates of points of order 1, 2, 4 and 8 on the curve and its twist (RFC 7748 §6.1).
const SMALL_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
        0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
];

/// A public key that is canonical and not of small order; only [`PublicKey::read`] and [`SecretKey::public`] make one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads a key from a peer.
    ///
    /// # Errors
    /// [`X25519Error`] for wrong lengths, second encodings and points of small order.
    pub fn read(bytes: &[u8]) -> Result<Self, X25519Error> {
        let key: [u8; 32] = bytes.try_into().map_err(|_| X25519Error::Length)?;
        if !is_canonical(&key) {
            return Err(X25519Error::NotCanonical);
        }
        if SMALL_ORDER.contains(&key) {
            return Err(X25519Error::SmallOrder);
        }
        Ok(Self(key))
    }

    /// The bytes, as they go on the wire.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// With the type byte, as it goes into hashes.
    pub fn typed(&self) -> Vec<u8> {
        typed(KeyKind::X25519, &self.0)
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "X25519({a:02x}{b:02x}{c:02x}{d:02x})")
    }
}

/// A secret key; zeroed when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey(Secret<32>);

impl SecretKey {
    /// A fresh key.
    pub fn generate(chance: &mut Chance) -> Self {
        Self(Secret::random(chance))
    }

    /// A stored key.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Secret::new(bytes))
    }

    /// Reads a stored key; `None` unless it has 32 bytes.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Secret::read(bytes).map(Self)
    }

    /// The bytes, for storage.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&StaticSecret::from(*self.0.expose())).to_bytes())
    }

    /// The shared secret with `peer`.
    ///
    /// # Errors
    /// [`X25519Error::SmallOrder`] when the result is all zero; unreachable for keys made by [`PublicKey::read`],
    /// and checked all the same.
    pub fn diffie_hellman(&self, peer: &PublicKey) -> Result<Secret<32>, X25519Error> {
        let shared = StaticSecret::from(*self.0.expose()).diffie_hellman(&x25519_dalek::PublicKey::from(peer.0));
        if !shared.was_contributory() || bool::from(shared.as_bytes().ct_eq(&[0; 32])) {
            return Err(X25519Error::SmallOrder);
        }
        Ok(Secret::new(shared.to_bytes()))
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// Whether the little-endian number is below 2^255 − 19 = `ed ff … ff 7f`.
fn is_canonical(key: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = key;
    *last < 0x7f || (*last == 0x7f && (*first < 0xed || middle.iter().any(|byte| *byte != 0xff)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree() {
        let mut chance = Chance::from_seed([1; 32]);
        let (a, b) = (SecretKey::generate(&mut chance), SecretKey::generate(&mut chance));
        assert_eq!(a.diffie_hellman(&b.public()), b.diffie_hellman(&a.public()));
    }

    #[test]
    fn t05_points_of_small_order_are_no_public_keys() {
        for point in SMALL_ORDER {
            assert_eq!(PublicKey::read(&point), Err(X25519Error::SmallOrder));
        }
    }

    #[test]
    fn t05_an_agreement_that_gives_zero_is_refused_even_without_the_list() {
        let secret = SecretKey::from_bytes([0x42; 32]);
        for point in SMALL_ORDER {
            assert_eq!(secret.diffie_hellman(&PublicKey(point)), Err(X25519Error::SmallOrder));
        }
    }

    #[test]
    fn t05_second_encodings_are_refused() {
        let mut high_bit = *SecretKey::from_bytes([9; 32]).public().as_bytes();
        high_bit[31] |= 0x80;
        assert_eq!(PublicKey::read(&high_bit), Err(X25519Error::NotCanonical));
        for low in 0xed..=0xff {
            let mut p = [0xff; 32];
            (p[0], p[31]) = (low, 0x7f);
            assert_eq!(PublicKey::read(&p), Err(X25519Error::NotCanonical), "p + {}", low - 0xed);
        }
        let mut below = [0xff; 32];
        (below[0], below[31]) = (0xeb, 0x7f);
        assert!(PublicKey::read(&below).is_ok(), "p − 2 is canonical");
    }

    #[test]
    fn a_secret_key_prints_nothing_of_itself() {
        assert_eq!(format!("{:?}", SecretKey::from_bytes([7; 32])), "SecretKey(..)");
    }
}
