//! Ed25519: purpose-labelled signatures, verified strictly (RFC 8032 and no small-order keys or nonces).

use curve25519_dalek::edwards::CompressedEdwardsY;
use ed25519_dalek::{Signature, Signer as _};

use super::{KeyKind, fields, typed};
use crate::chance::Chance;

/// Why a key or a signature is refused. Always the fault of who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ed25519Error {
    /// Not 32 bytes, not a point, a second encoding of one, or of small order.
    #[error("the Ed25519 key is not valid")]
    Key,
    /// The signature is not 64 bytes or does not verify.
    #[error("the signature does not verify")]
    Signature,
}

/// A signing key; zeroed when dropped.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A fresh key.
    pub fn generate(chance: &mut Chance) -> Self {
        Self::from_seed(&chance.bytes())
    }

    /// A stored key, from its 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads a stored seed; `None` unless it has 32 bytes.
    pub fn read(seed: &[u8]) -> Option<Self> {
        seed.try_into().ok().map(|seed: &[u8; 32]| Self::from_seed(seed))
    }

    /// The seed, for storage.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// Signs the fields under a purpose; a signature for one purpose never verifies for another.
    pub fn sign(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 64] {
        self.sign_raw(&labelled(purpose, parts))
    }

    /// Signs bare bytes, for the published vectors. The protocol uses [`Self::sign`].
    pub fn sign_raw(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// A verifying key: a canonical point not of small order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// Reads a key from a peer.
    ///
    /// # Errors
    /// [`Ed25519Error::Key`].
    pub fn read(bytes: &[u8]) -> Result<Self, Ed25519Error> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| Ed25519Error::Key)?;
        let point = CompressedEdwardsY(*bytes).decompress().ok_or(Ed25519Error::Key)?;
        if point.compress().to_bytes() != *bytes {
            return Err(Ed25519Error::Key);
        }
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| Ed25519Error::Key)?;
        if key.is_weak() { Err(Ed25519Error::Key) } else { Ok(Self(key)) }
    }

    /// The bytes, as they go on the wire.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// With the type byte, as it goes into hashes.
    pub fn typed(&self) -> Vec<u8> {
        typed(KeyKind::Ed25519, self.as_bytes())
    }

    /// Checks a signature made by [`SigningKey::sign`] for the same purpose.
    ///
    /// # Errors
    /// [`Ed25519Error::Signature`].
    pub fn verify(&self, purpose: &str, parts: &[&[u8]], signature: &[u8]) -> Result<(), Ed25519Error> {
        self.verify_raw(&labelled(purpose, parts), signature)
    }

    /// Checks a signature over bare bytes, for the published vectors.
    ///
    /// # Errors
    /// [`Ed25519Error::Signature`].
    pub fn verify_raw(&self, message: &[u8], signature: &[u8]) -> Result<(), Ed25519Error> {
        let signature = Signature::from_slice(signature).map_err(|_| Ed25519Error::Signature)?;
        self.0.verify_strict(message, &signature).map_err(|_| Ed25519Error::Signature)
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, ..] = self.as_bytes();
        write!(f, "Ed25519({a:02x}{b:02x}{c:02x}{d:02x})")
    }
}

fn labelled(purpose: &str, parts: &[&[u8]]) -> Vec<u8> {
    [fields(&[purpose.as_bytes()]), fields(parts)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_one_purpose_only() {
        let key = SigningKey::from_seed(&[1; 32]);
        let signature = key.sign("silbo/1/bundle", &[b"x"]);
        let public = key.verifying_key();
        assert_eq!(public.verify("silbo/1/bundle", &[b"x"], &signature), Ok(()));
        assert_eq!(public.verify("silbo/1/log", &[b"x"], &signature), Err(Ed25519Error::Signature));
        assert_eq!(public.verify("silbo/1/bundle", &[b"y"], &signature), Err(Ed25519Error::Signature));
        assert_eq!(public.verify("silbo/1/bundle", &[b"x"], &signature[..63]), Err(Ed25519Error::Signature));
    }

    #[test]
    fn t05_weak_and_non_canonical_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(VerifyingKey::read(&identity), Err(Ed25519Error::Key));
        assert_eq!(VerifyingKey::read(&[0; 32]), Err(Ed25519Error::Key), "order 4");
        let mut above_p = [0xff; 32];
        (above_p[0], above_p[31]) = (0xee, 0x7f);
        assert_eq!(VerifyingKey::read(&above_p), Err(Ed25519Error::Key), "p + 1 is a second encoding of 1");
        assert_eq!(VerifyingKey::read(&[0; 31]), Err(Ed25519Error::Key));
    }

    #[test]
    fn a_signing_key_prints_nothing_of_itself() {
        assert_eq!(format!("{:?}", SigningKey::from_seed(&[7; 32])), "SigningKey(..)");
    }
}
