//! The account of this node: root seed, the keys of this device, and the log that binds them.
//!
//! Every change of the account is an entry of its log, made and taken in here; contacts get the entries. The root seed
//! is 12 words on paper; a device that was linked, not created, does not have it.

use bip39::{Language, Mnemonic};
use prost::Message;
use zeroize::{Zeroize, Zeroizing};

use super::device_log::{ALG_ED25519, Author, Device, DeviceLog, ENTRY_PURPOSE, LogError, NEW_ROOT_PURPOSE, device_id};
use super::state::OwnAccountState;
use crate::chance::Chance;
use crate::crypto::ed25519::SigningKey;
use crate::crypto::x25519::SecretKey;
use crate::crypto::{Secret, kdf};
use crate::ids::{AccountId, DeviceId};
use crate::wire::proto;
use crate::wire::proto::log_entry::E;

/// Version of the stored form.
const STATE_VERSION: u32 = 1;
/// Suites this version speaks: 1 is X25519 with ML-KEM-768, ChaCha20-Poly1305, SHA-256.
const SUITES: [u32; 1] = [1];

/// Why the account of this node cannot do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    /// This device does not hold the root seed.
    #[error("the 12 words are not on this device")]
    NoRoot,
    /// Not 12 words of the list, or a wrong checksum.
    #[error("these are not the 12 words of an account: check spelling and order")]
    BadWords,
    /// The words are those of another account.
    #[error("the 12 words belong to another account")]
    OtherRoot,
    /// The log refuses the entry.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// The 16 bytes behind the 12 words.
#[derive(Clone, PartialEq, Eq)]
pub struct RootSeed(Secret<16>);

impl RootSeed {
    /// Reads 12 English BIP-39 words, whatever the case and the white space between them.
    ///
    /// # Errors
    /// [`AccountError::BadWords`].
    pub fn from_words(words: &str) -> Result<Self, AccountError> {
        let plain = Zeroizing::new(words.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase());
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, &plain).map_err(|_| AccountError::BadWords)?;
        let entropy = Zeroizing::new(mnemonic.to_entropy());
        Secret::read(&entropy).map(Self).ok_or(AccountError::BadWords)
    }

    /// The 12 words.
    pub fn words(&self) -> Vec<String> {
        Mnemonic::from_entropy_in(Language::English, self.0.expose())
            .map(|mnemonic| mnemonic.words().map(str::to_owned).collect())
            .unwrap_or_default()
    }

    fn key(&self) -> SigningKey {
        SigningKey::from_seed(kdf::<32>(self.0.expose(), b"", "silbo/1/root").expose())
    }
}

impl std::fmt::Debug for RootSeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RootSeed(..)")
    }
}

/// Account and device of this node. `Debug` prints no secret.
#[derive(Clone, Debug)]
pub struct OwnAccount {
    root: Option<RootSeed>,
    dik: SigningKey,
    ddh: SecretKey,
    device: Device,
    log: DeviceLog,
}

impl OwnAccount {
    /// A fresh account with this device as its first. `day` is days since 2024-01-01.
    pub fn create(chance: &mut Chance, day: u32) -> Self {
        let root = RootSeed(Secret::random(chance));
        let (dik, ddh) = (SigningKey::generate(chance), SecretKey::generate(chance));
        let cert = device_cert(&dik, &ddh, day);
        let genesis = proto::Genesis {
            root_vk: root.key().verifying_key().as_bytes().to_vec(),
            first: Some(cert.clone()),
            nonce: chance.bytes::<16>().to_vec(),
        };
        let entry = proto::LogEntry { aid20: Vec::new(), lamport: 0, prev: Vec::new(), e: Some(E::Genesis(genesis)) };
        let log = DeviceLog::read(&[sign_entry(&root.key(), &[], &entry)]).expect("a genesis of our own verifies");
        let device = Device::read(&cert.encode_to_vec()).expect("a certificate of our own is well-formed");
        Self { root: Some(root), dik, ddh, device, log }
    }

    /// The account again, on a fresh device, when all others are lost: revokes every device of the log.
    ///
    /// # Errors
    /// [`AccountError`]: not the words of this log, or not a log.
    pub fn from_words(words: &str, log: &[proto::Signed], chance: &mut Chance, day: u32) -> Result<Self, AccountError> {
        let root = RootSeed::from_words(words)?;
        let log = DeviceLog::read(log)?;
        if root.key().verifying_key().as_bytes() != log.root_key() {
            return Err(AccountError::OtherRoot);
        }
        let (dik, ddh) = (SigningKey::generate(chance), SecretKey::generate(chance));
        let cert = device_cert(&dik, &ddh, day);
        let device = Device::read(&cert.encode_to_vec())?;
        let mut own = Self { root: Some(root), dik, ddh, device, log };
        let revoke_all = proto::RevokeDevice { device_id: Vec::new(), reason: 0, as_of_day: day };
        own.append(Author::Root, E::Revoke(revoke_all))?;
        own.append(Author::Root, E::Add(proto::AddDevice { cert: Some(cert), link_transcript: Vec::new() }))?;
        Ok(own)
    }

    /// The stored form; as secret as the account.
    pub fn encode(&self) -> Vec<u8> {
        let mut state = OwnAccountState {
            version: STATE_VERSION,
            root_seed: self.root.as_ref().map(|root| root.0.expose().to_vec()).unwrap_or_default(),
            dik_seed: self.dik.expose().to_vec(),
            ddh: self.ddh.expose().to_vec(),
            cert: self.device.cert_bytes.clone(),
            log: self.log.entries().iter().map(Message::encode_to_vec).collect(),
        };
        let bytes = state.encode_to_vec();
        wipe(&mut state);
        bytes
    }

    /// Reads the stored form; `None` if it is damaged or of a later version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut state = OwnAccountState::decode(bytes).ok()?;
        let own = Self::from_state(&state);
        wipe(&mut state);
        own
    }

    fn from_state(state: &OwnAccountState) -> Option<Self> {
        if state.version != STATE_VERSION {
            return None;
        }
        let entries: Vec<proto::Signed> =
            state.log.iter().map(|bytes| proto::Signed::decode(bytes.as_slice())).collect::<Result<_, _>>().ok()?;
        let root = if state.root_seed.is_empty() { None } else { Some(RootSeed(Secret::read(&state.root_seed)?)) };
        let (dik, ddh) = (SigningKey::read(&state.dik_seed)?, SecretKey::read(&state.ddh)?);
        let device = Device::read(&state.cert).ok()?;
        if device.dik != dik.verifying_key() || device.ddh != ddh.public() {
            return None;
        }
        Some(Self { root, dik, ddh, device, log: DeviceLog::read(&entries).ok()? })
    }

    /// The account.
    pub fn aid(&self) -> AccountId {
        self.log.aid()
    }

    /// This device.
    pub fn device_id(&self) -> DeviceId {
        self.device.id
    }

    /// The signing key of this device.
    pub fn dik(&self) -> &SigningKey {
        &self.dik
    }

    /// The agreement key of this device.
    pub fn ddh(&self) -> &SecretKey {
        &self.ddh
    }

    /// The certificate of this device, as it stands in the log.
    pub fn device_cert_bytes(&self) -> &[u8] {
        &self.device.cert_bytes
    }

    /// The log.
    pub fn log(&self) -> &DeviceLog {
        &self.log
    }

    /// True unless another device or the root has revoked this one.
    pub fn is_live(&self) -> bool {
        self.log.device(&self.device.id).is_some()
    }

    /// The 12 words; none if this device does not hold the root seed.
    pub fn words(&self) -> Vec<String> {
        self.root.as_ref().map(RootSeed::words).unwrap_or_default()
    }

    /// Signs with the key of this device.
    pub fn sign(&self, purpose: &str, bytes: &[u8]) -> [u8; 64] {
        self.dik.sign(purpose, &[bytes])
    }

    /// Takes in entries other devices of this account wrote; true if any was unknown.
    ///
    /// # Errors
    /// [`LogError`]; nothing has changed.
    pub fn merge(&mut self, entries: &[proto::Signed]) -> Result<bool, LogError> {
        if entries.is_empty() {
            return Ok(false);
        }
        self.log.merge(entries)
    }

    /// Adds a device; the entry is for the other devices and for contacts.
    ///
    /// # Errors
    /// [`AccountError`]; nothing has changed.
    pub fn add_device(&mut self, author: Signer, cert: proto::DeviceCert) -> Result<proto::Signed, AccountError> {
        let author = self.author(author);
        self.append(author, E::Add(proto::AddDevice { cert: Some(cert), link_transcript: Vec::new() }))
    }

    /// Revokes a device for ever; the entry is for the other devices and for contacts.
    ///
    /// # Errors
    /// [`AccountError`]; nothing has changed.
    pub fn revoke_device(
        &mut self,
        author: Signer,
        id: DeviceId,
        reason: u32,
        day: u32,
    ) -> Result<proto::Signed, AccountError> {
        let author = self.author(author);
        self.append(author, E::Revoke(proto::RevokeDevice { device_id: id.0.to_vec(), reason, as_of_day: day }))
    }

    /// Replaces the 12 words; the old ones are worth nothing to who has seen the entry.
    ///
    /// # Errors
    /// [`AccountError`]; nothing has changed.
    pub fn rotate_root(&mut self, chance: &mut Chance) -> Result<proto::Signed, AccountError> {
        let new = RootSeed(Secret::random(chance));
        let key = new.key();
        let aid20 = crate::wire::invite::Aid20::of(&self.aid());
        let new_root_vk = key.verifying_key().as_bytes().to_vec();
        let new_root_sig = key.sign(NEW_ROOT_PURPOSE, &[&aid20.0, &new_root_vk]).to_vec();
        let signed = self.append(Author::Root, E::Rotate(proto::RotateRoot { new_root_vk, new_root_sig }))?;
        self.root = Some(new);
        Ok(signed)
    }

    fn author(&self, signer: Signer) -> Author {
        match signer {
            Signer::Root => Author::Root,
            Signer::ThisDevice => Author::Device(self.device.id),
        }
    }

    fn append(&mut self, author: Author, kind: E) -> Result<proto::Signed, AccountError> {
        let entry = self.log.next_entry(kind);
        let signed = match author {
            Author::Root => sign_entry(&self.root.as_ref().ok_or(AccountError::NoRoot)?.key(), &[], &entry),
            Author::Device(id) => sign_entry(&self.dik, id.as_bytes(), &entry),
        };
        self.log.merge(std::slice::from_ref(&signed))?;
        Ok(signed)
    }
}

/// Whose signature an entry gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signer {
    /// The root key, if its seed is here: stands above every device.
    Root,
    /// The key of this device.
    ThisDevice,
}

/// The certificate of a device with these keys.
pub fn device_cert(dik: &SigningKey, ddh: &SecretKey, day: u32) -> proto::DeviceCert {
    let dik = dik.verifying_key();
    proto::DeviceCert {
        device_id: device_id(&dik).0.to_vec(),
        dik: dik.as_bytes().to_vec(),
        ddh: ddh.public().as_bytes().to_vec(),
        kind: 0,
        caps: 0,
        created_day: day,
        suites: SUITES.to_vec(),
    }
}

/// An entry with its signature. An empty signer is the root.
pub(super) fn sign_entry(key: &SigningKey, signer: &[u8], entry: &proto::LogEntry) -> proto::Signed {
    let body = entry.encode_to_vec();
    let sig = key.sign(ENTRY_PURPOSE, &[signer, &body]).to_vec();
    proto::Signed { body, sig, alg: ALG_ED25519, signer: signer.to_vec() }
}

fn wipe(state: &mut OwnAccountState) {
    state.root_seed.zeroize();
    state.dik_seed.zeroize();
    state.ddh.zeroize();
}

#[cfg(test)]
#[path = "account_tests.rs"]
mod tests;
