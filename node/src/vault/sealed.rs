//! `vault.json`: the database key, wrapped under a key stretched from a passphrase.
//!
//! All parameters are authenticated with the wrapped key, and their bounds are checked before any work is done, so an
//! edited file can neither make guessing cheap nor exhaust the machine.

use std::fs;
use std::path::Path;

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use silbo_protocol::wire::base32;
use zeroize::Zeroizing;

use super::key::fill_random;
use super::{DatabaseKey, VaultError};
use crate::atomic_file;

/// The version this code writes.
const VERSION: u32 = 1;
/// Larger files are not a vault: the real one has about 300 bytes.
const VAULT_BYTES_MAX: u64 = 4_096;
/// Memory a passphrase is stretched with at least, in KiB: 19 MiB.
const MEMORY_KIB_MIN: u32 = 19 * 1_024;
/// Memory at most, in KiB: 1 GiB.
const MEMORY_KIB_MAX: u32 = 1_024 * 1_024;
/// Passes at least and at most. The product of both ceilings still ends in under a minute.
const PASSES_MIN: u32 = 2;
const PASSES_MAX: u32 = 16;
/// Lanes at most.
const LANES_MAX: u32 = 16;

/// How much work one guess at a passphrase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KdfCost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

impl Default for KdfCost {
    /// 64 MiB and 3 passes: half a second to a second on a phone or a small server.
    fn default() -> KdfCost {
        KdfCost { memory_kib: 64 * 1_024, passes: 3, lanes: 1 }
    }
}

impl KdfCost {
    /// The least work a vault may ask for.
    pub const FLOOR: KdfCost = KdfCost { memory_kib: MEMORY_KIB_MIN, passes: PASSES_MIN, lanes: 1 };

    fn is_allowed(self) -> bool {
        (MEMORY_KIB_MIN..=MEMORY_KIB_MAX).contains(&self.memory_kib)
            && (PASSES_MIN..=PASSES_MAX).contains(&self.passes)
            && (1..=LANES_MAX).contains(&self.lanes)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VaultFile {
    version: u32,
    kdf: String,
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: String,
    nonce: String,
    wrapped: String,
}

#[derive(Deserialize)]
struct VaultVersion {
    version: u32,
}

/// Unwraps the key.
pub(super) fn open(path: &Path, passphrase: &str) -> Result<DatabaseKey, VaultError> {
    let file = read(path)?;
    let cost = KdfCost { memory_kib: file.memory_kib, passes: file.passes, lanes: file.lanes };
    if file.kdf != "argon2id" || !cost.is_allowed() {
        return Err(VaultError::damaged(
            path,
            format!(
                "it asks for {} with m={} KiB, t={}, p={}; allowed are argon2id, m={MEMORY_KIB_MIN}..={MEMORY_KIB_MAX}, \
                 t={PASSES_MIN}..={PASSES_MAX}, p=1..={LANES_MAX}",
                file.kdf, cost.memory_kib, cost.passes, cost.lanes
            ),
        ));
    }
    let salt = bytes_of::<16>(path, "salt", &file.salt)?;
    let nonce = bytes_of::<24>(path, "nonce", &file.nonce)?;
    let wrapped = bytes_of::<48>(path, "wrapped", &file.wrapped)?;
    let cipher = cipher(path, passphrase, &salt, cost)?;
    let payload = Payload { msg: &wrapped, aad: &authenticated(cost, &salt) };
    let opened = cipher
        .decrypt(&XNonce::from(nonce), payload)
        .map(Zeroizing::new)
        .map_err(|_| VaultError::WrongPassphrase { path: path.to_owned() })?;
    let key: Zeroizing<[u8; 32]> = Zeroizing::new(
        opened.as_slice().try_into().map_err(|_| VaultError::damaged(path, "the wrapped key has a wrong length"))?,
    );
    Ok(DatabaseKey::from_bytes(&key))
}

/// Wraps the key under a fresh salt and nonce and replaces the file.
pub(super) fn write(path: &Path, key: &DatabaseKey, passphrase: &str, cost: KdfCost) -> Result<(), VaultError> {
    if passphrase.is_empty() {
        return Err(VaultError::EmptyPassphrase);
    }
    if !cost.is_allowed() {
        return Err(VaultError::damaged(path, "the cost asked for is out of bounds"));
    }
    let (mut salt, mut nonce) = ([0; 16], [0; 24]);
    fill_random(&mut salt).and_then(|()| fill_random(&mut nonce)).map_err(|error| VaultError::io(path, error))?;
    let cipher = cipher(path, passphrase, &salt, cost)?;
    let payload = Payload { msg: key.bytes().as_slice(), aad: &authenticated(cost, &salt) };
    let wrapped = cipher
        .encrypt(&XNonce::from(nonce), payload)
        .map_err(|_| VaultError::damaged(path, "the key could not be wrapped"))?;
    let file = VaultFile {
        version: VERSION,
        kdf: "argon2id".to_owned(),
        memory_kib: cost.memory_kib,
        passes: cost.passes,
        lanes: cost.lanes,
        salt: base32::encode_lower(&salt),
        nonce: base32::encode_lower(&nonce),
        wrapped: base32::encode_lower(&wrapped),
    };
    let mut text = serde_json::to_string_pretty(&file).map_err(|error| VaultError::damaged(path, error.to_string()))?;
    text.push('\n');
    atomic_file::replace(path, text.as_bytes(), 0o600).map_err(|error| VaultError::io(path, error))
}

fn read(path: &Path) -> Result<VaultFile, VaultError> {
    let length = fs::metadata(path).map_err(|error| VaultError::io(path, error))?.len();
    if length > VAULT_BYTES_MAX {
        return Err(VaultError::damaged(path, format!("it has {length} bytes")));
    }
    let bytes = fs::read(path).map_err(|error| VaultError::io(path, error))?;
    // serde_json's messages name fields and positions, never values of ours worth hiding.
    let not_json = |error: serde_json::Error| VaultError::damaged(path, error.to_string());
    if serde_json::from_slice::<VaultVersion>(&bytes).map_err(not_json)?.version > VERSION {
        return Err(VaultError::Newer { path: path.to_owned() });
    }
    serde_json::from_slice(&bytes).map_err(not_json)
}

fn cipher(path: &Path, passphrase: &str, salt: &[u8; 16], cost: KdfCost) -> Result<XChaCha20Poly1305, VaultError> {
    let refused = |_| VaultError::damaged(path, "its parameters cannot be used together");
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).map_err(refused)?;
    let mut wrapping = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passphrase.as_bytes(), salt, wrapping.as_mut())
        .map_err(refused)?;
    Ok(XChaCha20Poly1305::new_from_slice(wrapping.as_ref()).expect("the wrapping key has 32 bytes"))
}

/// What the tag of the wrapped key covers besides the key.
fn authenticated(cost: KdfCost, salt: &[u8; 16]) -> Vec<u8> {
    let mut bytes = format!("silbo vault v{VERSION} argon2id ").into_bytes();
    for number in [cost.memory_kib, cost.passes, cost.lanes] {
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    bytes.extend_from_slice(salt);
    bytes
}

fn bytes_of<const N: usize>(path: &Path, field: &str, text: &str) -> Result<[u8; N], VaultError> {
    base32::decode(text)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| VaultError::damaged(path, format!("{field} is not {N} bytes of base32")))
}
