//! The key of the databases: where it is kept and what opens it.
//!
//! ```text
//!   no passphrase     key         0600, 32 random bytes
//!   with passphrase   vault.json  Argon2id(passphrase, salt) ─▶ XChaCha20-Poly1305 ─▶ the same 32 bytes
//! ```
//! [`Vault`] finds or makes the [`DatabaseKey`]; changing the passphrase wraps the same key anew, so the databases are
//! never rewritten. A vault may not open a database and knows nothing of what is in one.

mod key;
mod key_file;
mod sealed;

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::atomic_file;
pub use crate::settings::Unlock;
pub use key::DatabaseKey;
pub use sealed::KdfCost;

/// Name of the key file of a profile without a passphrase.
pub const KEY_FILE: &str = "key";
/// Name of the file that holds the wrapped key of a profile with a passphrase.
pub const VAULT_FILE: &str = "vault.json";

/// The opened vault of one profile.
#[derive(Debug)]
pub struct Vault {
    dir: PathBuf,
    key: DatabaseKey,
    cost: KdfCost,
}

/// What a folder needs before its databases can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VaultState {
    /// Nothing is there yet.
    Empty,
    /// A key file: no question to ask.
    KeyFile,
    /// A passphrase is needed.
    Passphrase,
}

/// Why a vault did not open or could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The passphrase does not open the vault, or the vault was tampered with: the two look alike on purpose.
    #[error("the passphrase is wrong, or {} was changed", .path.display())]
    WrongPassphrase {
        /// The vault file.
        path: PathBuf,
    },
    /// The profile has a passphrase and none was given.
    #[error("this profile is locked with a passphrase")]
    PassphraseNeeded,
    /// A passphrase was given for a profile that has none.
    #[error("this profile has no passphrase")]
    NoPassphraseSet,
    /// An empty passphrase protects nothing.
    #[error("a passphrase may not be empty")]
    EmptyPassphrase,
    /// There are databases but nothing that holds their key.
    #[error("there are databases in {} but no key", .dir.display())]
    KeyMissing {
        /// The folder.
        dir: PathBuf,
    },
    /// Others on this machine can read the key.
    #[error("{} can be read by others (mode {mode:o}); hint: chmod 600 {}", .path.display(), .path.display())]
    TooOpen {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is not what this version writes, or asks for more or less work than is allowed.
    #[error("{} cannot be used: {why}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file was written by a later version.
    #[error("{} was written by a later version of silbo", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl VaultError {
    /// The exit class of `docs/api.md`: 8 locked, 11 version, 1 anything else.
    #[must_use]
    pub fn class(&self) -> u8 {
        match self {
            VaultError::WrongPassphrase { .. } | VaultError::PassphraseNeeded | VaultError::NoPassphraseSet => 8,
            VaultError::EmptyPassphrase => 2,
            VaultError::Newer { .. } => 11,
            _ => 1,
        }
    }

    fn io(path: &Path, source: io::Error) -> VaultError {
        VaultError::Io { path: path.to_owned(), source }
    }

    fn damaged(path: &Path, why: impl Into<String>) -> VaultError {
        VaultError::Damaged { path: path.to_owned(), why: why.into() }
    }
}

impl Vault {
    /// What `dir` needs before its databases can be opened. Reads no secret.
    ///
    /// When both files are there (a change of passphrase was cut short) the passphrase is asked for: both hold the same
    /// key, and asking is the cautious reading.
    #[must_use]
    pub fn state(dir: &Path) -> VaultState {
        match (dir.join(VAULT_FILE).exists(), dir.join(KEY_FILE).exists()) {
            (true, _) => VaultState::Passphrase,
            (false, true) => VaultState::KeyFile,
            (false, false) => VaultState::Empty,
        }
    }

    /// Opens the vault of `dir`, or makes one with a fresh key if there is neither vault nor database.
    ///
    /// # Errors
    /// A wrong, missing or needless passphrase; a key file others can read; a vault whose parameters are out of bounds;
    /// databases whose key is gone.
    pub fn open_or_create(dir: &Path, unlock: Unlock) -> Result<Vault, VaultError> {
        Vault::open_or_create_with(dir, unlock, KdfCost::default())
    }

    /// As [`Vault::open_or_create`], with the cost a passphrase is stretched with when one is set from here on.
    ///
    /// # Errors
    /// As [`Vault::open_or_create`].
    pub fn open_or_create_with(dir: &Path, unlock: Unlock, cost: KdfCost) -> Result<Vault, VaultError> {
        let dir = dir.to_owned();
        let (vault_path, key_path) = (dir.join(VAULT_FILE), dir.join(KEY_FILE));
        match (Vault::state(&dir), unlock) {
            (VaultState::Passphrase, Unlock::Passphrase(passphrase)) => {
                let key = sealed::open(&vault_path, &passphrase)?;
                atomic_file::remove(&key_path).map_err(|error| VaultError::io(&key_path, error))?;
                Ok(Vault { dir, key, cost })
            }
            (VaultState::Passphrase, Unlock::KeyFile) => Err(VaultError::PassphraseNeeded),
            (VaultState::KeyFile, Unlock::KeyFile) => Ok(Vault { key: key_file::read(&key_path)?, dir, cost }),
            (VaultState::KeyFile, Unlock::Passphrase(_)) => Err(VaultError::NoPassphraseSet),
            (VaultState::Empty, unlock) => Vault::create(dir, unlock, cost),
        }
    }

    fn create(dir: PathBuf, unlock: Unlock, cost: KdfCost) -> Result<Vault, VaultError> {
        if crate::storage::DATABASE_FILES.iter().any(|name| dir.join(name).exists()) {
            return Err(VaultError::KeyMissing { dir });
        }
        atomic_file::make_private_dir(&dir).map_err(|error| VaultError::io(&dir, error))?;
        let key = DatabaseKey::random().map_err(|error| VaultError::io(&dir, error))?;
        match unlock {
            Unlock::KeyFile => key_file::write(&dir.join(KEY_FILE), &key)?,
            Unlock::Passphrase(passphrase) => sealed::write(&dir.join(VAULT_FILE), &key, &passphrase, cost)?,
        }
        Ok(Vault { dir, key, cost })
    }

    /// The key of the databases.
    #[must_use]
    pub fn key(&self) -> &DatabaseKey {
        &self.key
    }

    /// Sets, changes or (with `None`) removes the passphrase. The key stays the same; at every moment at least one file
    /// that opens is on disk.
    ///
    /// # Errors
    /// An empty passphrase, or what the operating system says.
    pub fn set_passphrase(&mut self, passphrase: Option<Zeroizing<String>>) -> Result<(), VaultError> {
        let (vault_path, key_path) = (self.dir.join(VAULT_FILE), self.dir.join(KEY_FILE));
        let obsolete = match passphrase {
            Some(passphrase) => {
                sealed::write(&vault_path, &self.key, &passphrase, self.cost)?;
                key_path
            }
            None => {
                key_file::write(&key_path, &self.key)?;
                vault_path
            }
        };
        atomic_file::remove(&obsolete).map_err(|error| VaultError::io(&obsolete, error))
    }
}

#[cfg(test)]
mod tests;
