//! The master key of a profile's databases, and the keys derived from it.

use std::fmt;
use std::io;

use hkdf::Hkdf;
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// 32 random bytes. Every file is encrypted under a key derived from it with a label of its own, so that a page of one
/// file is never valid in another.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct DatabaseKey([u8; 32]);

impl DatabaseKey {
    /// Length in bytes.
    pub const LEN: usize = 32;

    /// A fresh key from the operating system.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn random() -> io::Result<DatabaseKey> {
        let mut key = DatabaseKey([0; DatabaseKey::LEN]);
        fill_random(&mut key.0)?;
        Ok(key)
    }

    /// The key with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> DatabaseKey {
        DatabaseKey(*bytes)
    }

    /// HKDF-SHA256 of the key under `label`.
    #[must_use]
    pub fn derive(&self, label: &str) -> Zeroizing<[u8; 32]> {
        let mut out = Zeroizing::new([0; 32]);
        Hkdf::<Sha256>::new(None, &self.0)
            .expand(label.as_bytes(), out.as_mut())
            .expect("HKDF-SHA256 gives up to 8,160 bytes");
        out
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for DatabaseKey {
    fn eq(&self, other: &DatabaseKey) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for DatabaseKey {}

impl fmt::Debug for DatabaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseKey(..)")
    }
}

/// Fills `out` from the operating system.
///
/// # Errors
/// When the operating system has no randomness.
pub(crate) fn fill_random(out: &mut [u8]) -> io::Result<()> {
    SysRng.try_fill_bytes(out).map_err(|error| io::Error::other(format!("the system has no randomness: {error}")))
}
