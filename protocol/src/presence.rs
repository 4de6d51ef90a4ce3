//! The presence record: where a contact is, in a DHT whose nodes learn neither who nor what.
//!
//! The signing key is blinded anew each day, as in Tor's third-generation onion services: contacts know the public key
//! and can compute the key of the day, only the owner can sign under it, and nodes see keys of one day that nothing
//! links to those of another.
//!
//! ```text
//!   h = SHA-512(blind label, key, day)     key of the day = h · key      DHT key = SHA-256(label, key of the day)
//!   value = { key of the day, seq, expiry, AEAD(addresses, padded) , signature }, always 1,024 bytes
//! ```
//! [`validate`] is what a DHT node runs before it stores or hands on anything; [`open`] is for contacts. This module
//! neither publishes nor looks up: the engine does, through its driver.

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign};
use prost::Message;
use sha2::{Digest, Sha512};
use zeroize::{Zeroize, Zeroizing};

use crate::chance::Chance;
use crate::crypto::ed25519::{SigningKey, VerifyingKey};
use crate::crypto::hash::hash;
use crate::crypto::mac::mac_trunc;
use crate::crypto::{Secret, aead, fields, kdf};
use crate::identity::state::PresenceState;
use crate::limits::{ADDRESSES_PER_PEER_MAX, DHT_VALUE_BYTES_MAX, RELAYS_MAX};
use crate::time::{DAY_MS, SECOND_MS};
use crate::wire::padding::{pad_to, unpad};
use crate::wire::proto;

/// Furthest expiry a DHT node accepts: 48 hours ahead. Publish with an hour less, for clocks that are wrong.
pub const EXPIRES_AHEAD_S_MAX: u64 = 2 * DAY_MS / SECOND_MS;

const STATE_VERSION: u32 = 1;
const SIV_BYTES: usize = 16;
const SIGN_PURPOSE: &str = "silbo/1/sign/presence";
/// Key and length of the `ct` field in protobuf, for lengths of 128 to 16,383.
const CT_PREFIX_BYTES: usize = 3;

/// Why a record is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PresenceError {
    /// The addresses do not fit into a record: leave some out.
    #[error("the addresses are too many for a presence record")]
    TooManyAddresses,
    /// Longer than `limits::DHT_VALUE_BYTES_MAX`.
    #[error("the presence record is too long")]
    TooLong,
    /// Not a record, or not in the one encoding a record has.
    #[error("the presence record is malformed")]
    Malformed,
    /// The DHT key is not that of the signing key, or the signing key not that of the contact on that day.
    #[error("the presence record belongs to another key")]
    OtherKey,
    /// The signature does not verify.
    #[error("the presence record is not signed by its key")]
    Signature,
    /// Expired, or with an expiry further ahead than [`EXPIRES_AHEAD_S_MAX`].
    #[error("the expiry of the presence record is past or too far ahead")]
    Expiry,
    /// The public presence keys of the contact are no keys.
    #[error("the presence keys are not valid")]
    Keys,
    /// Signed rightly, but not encrypted for contacts of this key.
    #[error("the presence record cannot be decrypted")]
    Rejected,
}

/// What a DHT node may know of a record it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validated {
    /// Higher replaces lower.
    pub seq: u64,
    /// Seconds since 1970.
    pub expires: u64,
}

impl Validated {
    /// Whether this record takes the place of one that is held under the same key.
    pub fn replaces(&self, held: &Self) -> bool {
        self.seq > held.seq
    }
}

/// The presence keys of an account; shared by its devices. `Debug` prints no bytes.
#[derive(Clone, Debug)]
pub struct PresenceKeys {
    seed: SigningKey,
    k_pres: Secret<32>,
    generation: u32,
}

impl PresenceKeys {
    /// Fresh keys.
    pub fn generate(chance: &mut Chance) -> Self {
        Self { seed: SigningKey::generate(chance), k_pres: Secret::random(chance), generation: 1 }
    }

    /// Keys that others know too, or that are derived: of channels.
    pub fn of_parts(seed: SigningKey, k_pres: Secret<32>) -> Self {
        Self { seed, k_pres, generation: 1 }
    }

    /// Fresh keys in place of these, after a contact was blocked: who has only these finds nothing any more.
    pub fn rotated(&self, chance: &mut Chance) -> Self {
        Self { generation: self.generation.saturating_add(1), ..Self::generate(chance) }
    }

    /// The stored form; secret.
    pub fn encode(&self) -> Vec<u8> {
        let mut state = PresenceState {
            version: STATE_VERSION,
            seed: self.seed.expose().to_vec(),
            k_pres: self.k_pres.expose().to_vec(),
            r#gen: self.generation,
        };
        let bytes = state.encode_to_vec();
        state.seed.zeroize();
        state.k_pres.zeroize();
        bytes
    }

    /// Reads the stored form; `None` if it is damaged or of a later version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut state = PresenceState::decode(bytes).ok()?;
        let keys = SigningKey::read(&state.seed).zip(Secret::read(&state.k_pres));
        state.seed.zeroize();
        state.k_pres.zeroize();
        let (seed, k_pres) = keys.filter(|_| state.version == STATE_VERSION && state.r#gen != 0)?;
        Some(Self { seed, k_pres, generation: state.r#gen })
    }

    /// What contacts get.
    pub fn public(&self) -> proto::Presence {
        proto::Presence {
            blind_vk: self.seed.verifying_key().as_bytes().to_vec(),
            k_pres: self.k_pres.expose().to_vec(),
            r#gen: self.generation,
        }
    }
}

/// Whether presence keys received from a contact can be used.
pub fn is_usable(presence: &proto::Presence) -> bool {
    point(&presence.blind_vk).is_some() && presence.k_pres.len() == 32
}

/// The signed record for a day (days since 1970), and the DHT key it belongs under. `seq` must grow with each call.
///
/// # Errors
/// [`PresenceError::TooManyAddresses`].
pub fn publish(
    keys: &PresenceKeys,
    epoch_day: u32,
    seq: u64,
    plain: &proto::PresencePlain,
    expires_s: u64,
) -> Result<([u8; 32], Vec<u8>), PresenceError> {
    let expanded = ExpandedSecretKey::from(keys.seed.expose());
    let vk = keys.seed.verifying_key();
    let factor = blinding_factor(&vk, epoch_day);
    // The nonce prefix is blinded by hashing, so that no two days share a nonce for one message.
    let prefix = Zeroizing::new(wide_hash("silbo/1/blind-prefix", &[&expanded.hash_prefix, &epoch_day.to_be_bytes()]));
    let mut hash_prefix = [0; 32];
    hash_prefix.copy_from_slice(&prefix[..32]);
    let blinded = ExpandedSecretKey { scalar: expanded.scalar * factor, hash_prefix };
    let blinded_vk = ed25519_dalek::VerifyingKey::from(&blinded);

    let mut record = proto::PresenceRecord {
        blinded_vk: blinded_vk.to_bytes().to_vec(),
        seq,
        expires_s,
        ct: Vec::new(),
        sig: vec![0; 64],
    };
    let around = record.encoded_len() + CT_PREFIX_BYTES + SIV_BYTES + aead::TAG_BYTES;
    let room = DHT_VALUE_BYTES_MAX.saturating_sub(around);
    let padded = pad_to(&plain.encode_to_vec(), room).ok_or(PresenceError::TooManyAddresses)?;
    record.ct = seal(&keys.k_pres, epoch_day, &record, &padded);
    record.sig = raw_sign::<Sha512>(&blinded, &signed_bytes(&record), &blinded_vk).to_bytes().to_vec();
    Ok((dht_key(blinded_vk.as_bytes()), record.encode_to_vec()))
}

/// Where the record of a contact is to be found on a day (days since 1970).
///
/// # Errors
/// [`PresenceError::Keys`].
pub fn lookup_key(presence: &proto::Presence, epoch_day: u32) -> Result<[u8; 32], PresenceError> {
    blinded_key(presence, epoch_day).map(|key| dht_key(&key))
}

/// What a DHT node checks before it stores a record or hands it on; needs no key of anybody.
///
/// # Errors
/// [`PresenceError`].
pub fn validate(key: &[u8], value: &[u8], now_unix_s: u64) -> Result<Validated, PresenceError> {
    let record = read_record(value)?;
    if dht_key(&record.blinded_vk) != key {
        return Err(PresenceError::OtherKey);
    }
    verify(&record)?;
    if record.expires_s <= now_unix_s || record.expires_s > now_unix_s.saturating_add(EXPIRES_AHEAD_S_MAX) {
        return Err(PresenceError::Expiry);
    }
    Ok(Validated { seq: record.seq, expires: record.expires_s })
}

/// Opens the record of a contact for a day (days since 1970). Its expiry is for [`validate`] to judge.
///
/// # Errors
/// [`PresenceError`].
pub fn open(presence: &proto::Presence, epoch_day: u32, value: &[u8]) -> Result<proto::PresencePlain, PresenceError> {
    let record = read_record(value)?;
    if blinded_key(presence, epoch_day)? != record.blinded_vk[..] {
        return Err(PresenceError::OtherKey);
    }
    verify(&record)?;
    let k_pres = Secret::read(&presence.k_pres).ok_or(PresenceError::Keys)?;
    let (siv, ciphertext) = record.ct.split_first_chunk::<SIV_BYTES>().ok_or(PresenceError::Malformed)?;
    let (key, nonce) = seal_key(&day_key(&k_pres, epoch_day), siv);
    let padded =
        aead::open(&key, nonce.expose(), &associated(&record), ciphertext).map_err(|_| PresenceError::Rejected)?;
    let plain = unpad(&padded).ok_or(PresenceError::Malformed)?;
    let mut plain = proto::PresencePlain::decode(plain).map_err(|_| PresenceError::Malformed)?;
    plain.relays.truncate(RELAYS_MAX);
    for hint in plain.me.iter_mut().chain(&mut plain.relays) {
        hint.addrs.truncate(ADDRESSES_PER_PEER_MAX);
    }
    Ok(plain)
}

fn read_record(value: &[u8]) -> Result<proto::PresenceRecord, PresenceError> {
    if value.len() > DHT_VALUE_BYTES_MAX {
        return Err(PresenceError::TooLong);
    }
    let record = proto::PresenceRecord::decode(value).map_err(|_| PresenceError::Malformed)?;
    // Nodes must not be able to vary a record that stays valid, so there is one encoding and nothing beside it.
    if record.encode_to_vec() != value {
        return Err(PresenceError::Malformed);
    }
    Ok(record)
}

fn verify(record: &proto::PresenceRecord) -> Result<(), PresenceError> {
    let key = VerifyingKey::read(&record.blinded_vk).map_err(|_| PresenceError::Signature)?;
    key.verify_raw(&signed_bytes(record), &record.sig).map_err(|_| PresenceError::Signature)
}

fn signed_bytes(record: &proto::PresenceRecord) -> Vec<u8> {
    fields(&[SIGN_PURPOSE.as_bytes(), &associated(record), &record.ct])
}

fn associated(record: &proto::PresenceRecord) -> Vec<u8> {
    fields(&[&record.blinded_vk, &record.seq.to_be_bytes(), &record.expires_s.to_be_bytes()])
}

fn dht_key(blinded_vk: &[u8]) -> [u8; 32] {
    hash("silbo/1/dht/presence", &[blinded_vk])
}

/// A point of prime order; `None` for anything else, as its multiples could be linked.
fn point(key: &[u8]) -> Option<(VerifyingKey, EdwardsPoint)> {
    let vk = VerifyingKey::read(key).ok()?;
    let point = CompressedEdwardsY(*vk.as_bytes()).decompress()?;
    point.is_torsion_free().then_some((vk, point))
}

fn blinded_key(presence: &proto::Presence, epoch_day: u32) -> Result<[u8; 32], PresenceError> {
    let (vk, point) = point(&presence.blind_vk).ok_or(PresenceError::Keys)?;
    Ok((blinding_factor(&vk, epoch_day) * point).compress().to_bytes())
}

fn blinding_factor(vk: &VerifyingKey, epoch_day: u32) -> Scalar {
    Scalar::from_bytes_mod_order_wide(&wide_hash("silbo/1/blind", &[&vk.typed(), &epoch_day.to_be_bytes()]))
}

fn wide_hash(label: &str, parts: &[&[u8]]) -> [u8; 64] {
    Sha512::new().chain_update(fields(&[label.as_bytes()])).chain_update(fields(parts)).finalize().into()
}

fn day_key(k_pres: &Secret<32>, epoch_day: u32) -> Secret<32> {
    kdf(k_pres.expose(), &epoch_day.to_be_bytes(), "silbo/1/presence/day")
}

/// Sealed with a synthetic nonce: the same `seq` with other addresses never repeats a nonce.
fn seal(k_pres: &Secret<32>, epoch_day: u32, record: &proto::PresenceRecord, padded: &[u8]) -> Vec<u8> {
    let day_key = day_key(k_pres, epoch_day);
    let siv: [u8; SIV_BYTES] = mac_trunc(day_key.expose(), &[&associated(record), padded]);
    let (key, nonce) = seal_key(&day_key, &siv);
    let mut out = siv.to_vec();
    out.extend_from_slice(&aead::seal(&key, nonce.expose(), &associated(record), padded));
    out
}

fn seal_key(day_key: &Secret<32>, siv: &[u8; SIV_BYTES]) -> (Secret<32>, Secret<12>) {
    kdf::<44>(day_key.expose(), siv, "silbo/1/presence/seal").split()
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
