//! ML-KEM-768 (FIPS 203). The stored key is its 64-byte seed; expanded keys exist only for one call.

use ml_kem::kem::{Decapsulate as _, KeyExport as _};
use ml_kem::ml_kem_768;

use super::{KeyKind, Secret, typed};
use crate::chance::Chance;

/// Bytes of a public key.
pub const PUBLIC_BYTES: usize = 1_184;
/// Bytes of a ciphertext.
pub const CIPHERTEXT_BYTES: usize = 1_088;

/// Why bytes are not an ML-KEM-768 key or ciphertext. Always the fault of who sent them.
///
/// A ciphertext of the right length never fails here: it gives another secret (implicit rejection).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KemError {
    /// The public key has a wrong length or a coefficient not below the modulus.
    #[error("the ML-KEM-768 public key is not valid")]
    Key,
    /// The ciphertext has a wrong length.
    #[error("an ML-KEM-768 ciphertext has 1,088 bytes")]
    Ciphertext,
}

/// A public key that passed the modulus check of FIPS 203 §7.2.
#[derive(Clone, PartialEq, Eq)]
pub struct EncapsulationKey {
    bytes: Box<[u8; PUBLIC_BYTES]>,
}

impl EncapsulationKey {
    /// Reads a key from a peer.
    ///
    /// # Errors
    /// [`KemError::Key`].
    pub fn read(bytes: &[u8]) -> Result<Self, KemError> {
        let bytes: Box<[u8; PUBLIC_BYTES]> = Box::new(bytes.try_into().map_err(|_| KemError::Key)?);
        expand(&bytes)?;
        Ok(Self { bytes })
    }

    /// The bytes, as they go on the wire.
    pub fn as_bytes(&self) -> &[u8; PUBLIC_BYTES] {
        &self.bytes
    }

    /// With the type byte, as it goes into hashes.
    pub fn typed(&self) -> Vec<u8> {
        typed(KeyKind::MlKem768, self.bytes.as_slice())
    }

    /// A fresh shared secret and the ciphertext that carries it.
    pub fn encapsulate(&self, chance: &mut Chance) -> (Vec<u8>, Secret<32>) {
        self.encapsulate_with(&Secret::random(chance))
    }

    /// With given randomness, for the published vectors. Using one `m` twice breaks the secret.
    ///
    /// # Panics
    /// Never: the key was checked when it was read.
    pub fn encapsulate_with(&self, m: &Secret<32>) -> (Vec<u8>, Secret<32>) {
        let key = expand(&self.bytes).expect("the key was checked when it was read");
        let (ciphertext, shared) = key.encapsulate_deterministic(&(*m.expose()).into());
        (ciphertext.to_vec(), Secret::new(shared.into()))
    }
}

impl std::fmt::Debug for EncapsulationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [a, b, c, d, ..] = *self.bytes;
        write!(f, "MlKem768({a:02x}{b:02x}{c:02x}{d:02x})")
    }
}

/// A secret key as its seed `d ‖ z`; zeroed when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct DecapsulationKey {
    seed: Secret<64>,
}

impl DecapsulationKey {
    /// A fresh key.
    pub fn generate(chance: &mut Chance) -> Self {
        Self { seed: Secret::random(chance) }
    }

    /// A stored key.
    pub fn from_seed(seed: Secret<64>) -> Self {
        Self { seed }
    }

    /// The seed, for storage.
    pub fn seed(&self) -> &Secret<64> {
        &self.seed
    }

    /// The public half.
    pub fn public(&self) -> EncapsulationKey {
        EncapsulationKey { bytes: Box::new(self.expand().encapsulation_key().to_bytes().into()) }
    }

    /// The secret inside a ciphertext; another one, unknown to everybody, if the ciphertext was not made for this key.
    ///
    /// # Errors
    /// [`KemError::Ciphertext`] for a wrong length.
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret<32>, KemError> {
        let shared = self.expand().decapsulate_slice(ciphertext).map_err(|_| KemError::Ciphertext)?;
        Ok(Secret::new(shared.into()))
    }

    fn expand(&self) -> ml_kem_768::DecapsulationKey {
        ml_kem_768::DecapsulationKey::from_seed((*self.seed.expose()).into())
    }
}

impl std::fmt::Debug for DecapsulationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DecapsulationKey(..)")
    }
}

fn expand(bytes: &[u8; PUBLIC_BYTES]) -> Result<ml_kem_768::EncapsulationKey, KemError> {
    ml_kem_768::EncapsulationKey::new(&(*bytes).into()).map_err(|_| KemError::Key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_agree_and_a_changed_ciphertext_gives_another_secret() {
        let mut chance = Chance::from_seed([1; 32]);
        let secret = DecapsulationKey::generate(&mut chance);
        let public = EncapsulationKey::read(secret.public().as_bytes()).unwrap();
        let (mut ciphertext, shared) = public.encapsulate(&mut chance);
        assert_eq!(ciphertext.len(), CIPHERTEXT_BYTES);
        assert_eq!(secret.decapsulate(&ciphertext), Ok(shared.clone()));
        ciphertext[0] ^= 1;
        assert_ne!(secret.decapsulate(&ciphertext), Ok(shared));
        assert_eq!(secret.decapsulate(&ciphertext[1..]), Err(KemError::Ciphertext));
    }

    #[test]
    fn a_coefficient_above_the_modulus_is_refused() {
        assert_eq!(EncapsulationKey::read(&[0xff; PUBLIC_BYTES]), Err(KemError::Key));
        assert_eq!(EncapsulationKey::read(&[0; PUBLIC_BYTES - 1]), Err(KemError::Key));
    }
}
