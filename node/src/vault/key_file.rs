//! The key file of a profile without a passphrase: 32 bytes that only their owner may read.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zeroize::Zeroizing;

use super::{DatabaseKey, VaultError};
use crate::atomic_file;

/// Reads a key file.
pub(super) fn read(path: &Path) -> Result<DatabaseKey, VaultError> {
    let metadata = fs::metadata(path).map_err(|error| VaultError::io(path, error))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(VaultError::TooOpen { path: path.to_owned(), mode });
    }
    if metadata.len() != DatabaseKey::LEN as u64 {
        return Err(VaultError::damaged(path, format!("it has {} bytes instead of 32", metadata.len())));
    }
    let mut bytes = Zeroizing::new([0; DatabaseKey::LEN]);
    File::open(path)
        .and_then(|mut file| file.read_exact(bytes.as_mut()))
        .map_err(|error| VaultError::io(path, error))?;
    Ok(DatabaseKey::from_bytes(&bytes))
}

/// Writes a key file, whole or not at all.
pub(super) fn write(path: &Path, key: &DatabaseKey) -> Result<(), VaultError> {
    atomic_file::replace(path, key.bytes(), 0o600).map_err(|error| VaultError::io(path, error))
}
