//! The device log: signed entries that name their predecessors, from the genesis on.
//!
//! An account *is* this log: its id is the hash of the genesis entry, its devices are what the rest adds and revokes.
//! What it says is a function of the **set** of entries: any order, any repetition, any way of merging gives the same
//! state (the rules are in `log_rules.rs`). A batch is taken whole or not at all: one bad entry changes nothing.
//!
//! ```text
//!   genesis (root) ── add phone B (A) ──┬── add desktop C (B) ──┐
//!                                       └── revoke B (A) ───────┴── … C was added unseen by the revocation: void
//! ```

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::log_rules::{Bits, State, resolve};
use crate::crypto::ed25519::VerifyingKey;
use crate::crypto::hash::{hash, sha256, trunc};
use crate::crypto::x25519::PublicKey;
use crate::ids::{AccountId, DeviceId};
use crate::limits::LOG_ENTRIES_MAX;
use crate::wire::invite::Aid20;
use crate::wire::proto;
use crate::wire::proto::log_entry::E;

/// Purpose of the signature of an entry.
pub(super) const ENTRY_PURPOSE: &str = "silbo/1/sign/log-entry";
/// Purpose of the signature by which a new root key accepts its role.
pub(super) const NEW_ROOT_PURPOSE: &str = "silbo/1/sign/new-root";
/// `Signed.alg` of Ed25519.
pub const ALG_ED25519: u32 = 1;
/// Largest body of an entry: a device certificate takes about 150 bytes.
pub const ENTRY_BYTES_MAX: usize = 1_024;
/// Entries only the root may still write, so that a stolen device cannot fill the log up against its revocation.
pub const ROOT_RESERVE: usize = 64;
/// Predecessors an entry may name.
pub const PREDECESSORS_MAX: usize = 4;

/// Names an entry: first 16 bytes of a hash over its signer and its body.
pub type EntryId = [u8; 16];

/// Why entries are refused. Always the fault of who sent them; the log is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Not one genesis, or more than one.
    #[error("the device log does not begin with one genesis entry")]
    Genesis,
    /// An entry of another account.
    #[error("an entry belongs to the log of another account")]
    OtherAccount,
    /// Bytes that are no entry, keys that are no keys, impossible numbers.
    #[error("an entry of the device log is malformed")]
    Malformed,
    /// A predecessor is missing: ask for the whole log.
    #[error("the device log has a gap")]
    Gap,
    /// Signed by a device that the entries before it do not add.
    #[error("an entry is signed by an unknown device")]
    UnknownSigner,
    /// The signature does not verify.
    #[error("the signature of an entry does not verify")]
    Signature,
    /// Reserved for the root, signed by a device.
    #[error("an entry needs the signature of the root key")]
    NeedsRoot,
    /// More than `limits::LOG_ENTRIES_MAX` entries, or than the share of devices in them.
    #[error("the device log is full")]
    Full,
}

/// A device of an account, as its certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Names it within the account.
    pub id: DeviceId,
    /// Its signing key.
    pub dik: VerifyingKey,
    /// Its agreement key.
    pub ddh: PublicKey,
    /// The certificate as it travelled, for hashes.
    pub cert_bytes: Vec<u8>,
    /// The certificate, parsed.
    pub cert: proto::DeviceCert,
}

/// Who signed an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// The key on paper.
    Root,
    /// A device.
    Device(DeviceId),
}

/// What an entry says.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Genesis {
        root: [u8; 32],
        first: Device,
    },
    Add(Device),
    Revoke(DeviceId),
    /// All devices the entry knows of: what the 12 words do when everything is lost.
    RevokeAll,
    Rotate {
        root: [u8; 32],
    },
    Policy(proto::LogPolicy),
    Closed,
    /// Checkpoints, and kinds of later versions: kept, signed over, without effect here.
    Other,
}

/// A verified entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    pub(super) lamport: u64,
    pub(super) prev: Vec<EntryId>,
    pub(super) author: Author,
    /// The root key that signed it, for entries of the root.
    pub(super) root_key: Option<[u8; 32]>,
    pub(super) kind: Kind,
    aid20: Vec<u8>,
    signed: proto::Signed,
}

/// A verified log and what it says.
#[derive(Clone, Debug)]
pub struct DeviceLog {
    aid: AccountId,
    /// By (lamport, id), which is an order in which predecessors come first.
    entries: Vec<Entry>,
    signed: Vec<proto::Signed>,
    state: State,
}

impl DeviceLog {
    /// Reads a whole log, from its genesis on, in any order.
    ///
    /// # Errors
    /// [`LogError`].
    pub fn read(entries: &[proto::Signed]) -> Result<Self, LogError> {
        Self::build(Vec::new(), entries)
    }

    /// Takes further entries in; true if any was unknown.
    ///
    /// # Errors
    /// [`LogError`]; nothing has changed.
    pub fn merge(&mut self, entries: &[proto::Signed]) -> Result<bool, LogError> {
        let merged = Self::build(self.entries.clone(), entries)?;
        let changed = merged.entries.len() != self.entries.len();
        *self = merged;
        Ok(changed)
    }

    /// The account.
    pub fn aid(&self) -> AccountId {
        self.aid
    }

    /// All entries, the void ones too; predecessors come first.
    pub fn entries(&self) -> &[proto::Signed] {
        &self.signed
    }

    /// Devices that count, oldest first, at most `limits::DEVICES_MAX`.
    pub fn live_devices(&self) -> &[Device] {
        &self.state.live
    }

    /// The live device of this id.
    pub fn device(&self, id: &DeviceId) -> Option<&Device> {
        self.state.live.iter().find(|device| device.id == *id)
    }

    /// True once a device has been revoked; it never comes back.
    pub fn is_revoked(&self, id: &DeviceId) -> bool {
        self.state.revoked.contains(id)
    }

    /// The root key in force.
    pub fn root_key(&self) -> &[u8; 32] {
        &self.state.root
    }

    /// True once the account has been closed by its owner.
    pub fn closed(&self) -> bool {
        self.state.closed
    }

    /// The settings of the account in force.
    pub fn policy(&self) -> Option<&proto::LogPolicy> {
        self.state.policy.as_ref()
    }

    /// Entries nobody names as a predecessor, in ascending order.
    pub fn heads(&self) -> Vec<EntryId> {
        let named: BTreeSet<&EntryId> = self.entries.iter().flat_map(|e| &e.prev).collect();
        let heads: BTreeSet<EntryId> = self.entries.iter().map(|e| e.id).filter(|id| !named.contains(id)).collect();
        heads.into_iter().collect()
    }

    /// Three bytes that differ when two people see different logs; every message carries them.
    pub fn head3(&self) -> [u8; 3] {
        let heads = self.heads();
        let parts: Vec<&[u8]> = heads.iter().map(<[u8; 16]>::as_slice).collect();
        trunc(&hash("silbo/1/log-heads", &parts))
    }

    /// The entry that would follow: names up to four heads, those that count first.
    pub(super) fn next_entry(&self, kind: E) -> proto::LogEntry {
        let heads: BTreeSet<EntryId> = self.heads().into_iter().collect();
        let mut named: Vec<(bool, u64, EntryId)> = (0..)
            .zip(&self.entries)
            .filter(|(_, entry)| heads.contains(&entry.id))
            .map(|(index, entry)| (self.state.counts.has(index), entry.lamport, entry.id))
            .collect();
        named.sort_unstable_by(|a, b| b.cmp(a));
        named.truncate(PREDECESSORS_MAX);
        proto::LogEntry {
            aid20: Aid20::of(&self.aid).0.to_vec(),
            lamport: named.iter().map(|(_, lamport, _)| lamport.saturating_add(1)).max().unwrap_or(1),
            prev: named.iter().map(|(_, _, id)| id.to_vec()).collect(),
            e: Some(kind),
        }
    }

    /// Joins verified entries with others that are verified here.
    fn build(known: Vec<Entry>, others: &[proto::Signed]) -> Result<Self, LogError> {
        if others.len() > 4 * LOG_ENTRIES_MAX {
            return Err(LogError::Full);
        }
        let verified: BTreeSet<EntryId> = known.iter().map(|e| e.id).collect();
        let mut all: BTreeMap<(u64, EntryId), Entry> = known.into_iter().map(|e| ((e.lamport, e.id), e)).collect();
        for signed in others {
            if !verified.contains(&entry_id(signed)) {
                let entry = Entry::parse(signed)?;
                let place = all.entry((entry.lamport, entry.id)).or_insert_with(|| entry.clone());
                // Two signatures over one content in one batch: which one stands would depend on the order.
                if place.signed.sig != entry.signed.sig {
                    return Err(LogError::Malformed);
                }
            }
        }
        let by_devices = all.values().filter(|e| matches!(e.author, Author::Device(_))).count();
        if all.len() > LOG_ENTRIES_MAX || by_devices > LOG_ENTRIES_MAX - ROOT_RESERVE {
            return Err(LogError::Full);
        }
        let mut entries: Vec<Entry> = all.into_values().collect();
        let aid = genesis_aid(&entries)?;
        let pasts = pasts(&entries)?;
        for index in 0..entries.len() {
            let (before, rest) = entries.split_at_mut(index);
            if let (Some(entry), Some(past)) = (rest.first_mut(), pasts.get(index)) {
                entry.check_account(&aid)?;
                if !verified.contains(&entry.id) {
                    entry.verify(before, past)?;
                }
            }
        }
        let state = resolve(&entries, &pasts).ok_or(LogError::Genesis)?;
        let signed = entries.iter().map(|e| e.signed.clone()).collect();
        Ok(Self { aid, entries, signed, state })
    }
}

impl Entry {
    fn parse(signed: &proto::Signed) -> Result<Self, LogError> {
        if signed.body.len() > ENTRY_BYTES_MAX || signed.alg != ALG_ED25519 || signed.sig.len() != 64 {
            return Err(LogError::Malformed);
        }
        let body = proto::LogEntry::decode(signed.body.as_slice()).map_err(|_| LogError::Malformed)?;
        let author = if signed.signer.is_empty() {
            Author::Root
        } else {
            Author::Device(DeviceId::read(&signed.signer).ok_or(LogError::Malformed)?)
        };
        let prev: Vec<EntryId> = body
            .prev
            .iter()
            .map(|id| id.as_slice().try_into())
            .collect::<Result<_, _>>()
            .map_err(|_| LogError::Malformed)?;
        let distinct: BTreeSet<&EntryId> = prev.iter().collect();
        if prev.len() > PREDECESSORS_MAX || distinct.len() != prev.len() {
            return Err(LogError::Malformed);
        }
        let kind = Kind::parse(&body, &signed.body)?;
        let is_genesis = matches!(kind, Kind::Genesis { .. });
        if is_genesis != prev.is_empty() || is_genesis != (body.lamport == 0) || is_genesis != body.aid20.is_empty() {
            return Err(LogError::Malformed);
        }
        let root_only = matches!(kind, Kind::Genesis { .. } | Kind::RevokeAll | Kind::Rotate { .. });
        if root_only && author != Author::Root {
            return Err(LogError::NeedsRoot);
        }
        Ok(Self {
            id: entry_id(signed),
            lamport: body.lamport,
            prev,
            author,
            root_key: None,
            kind,
            aid20: body.aid20,
            signed: proto::Signed {
                body: signed.body.clone(),
                sig: signed.sig.clone(),
                alg: signed.alg,
                signer: signed.signer.clone(),
            },
        })
    }

    fn check_account(&self, aid: &AccountId) -> Result<(), LogError> {
        let own = matches!(self.kind, Kind::Genesis { .. }) || self.aid20 == Aid20::of(aid).0;
        if own { Ok(()) } else { Err(LogError::OtherAccount) }
    }

    /// Checks the signature with a key that the entry's own past introduces.
    fn verify(&mut self, before: &[Entry], past: &Bits) -> Result<(), LogError> {
        let known = || (0..).zip(before).filter(|(index, _)| past.has(*index)).map(|(_, entry)| entry);
        match self.author {
            Author::Device(id) => {
                let mut keys = known().filter_map(Entry::introduced).filter(|device| device.id == id).peekable();
                keys.peek().ok_or(LogError::UnknownSigner)?;
                if !keys.any(|device| self.is_signed_by(&device.dik)) {
                    return Err(LogError::Signature);
                }
            }
            Author::Root => {
                let superseded: BTreeSet<[u8; 32]> =
                    known().filter(|e| matches!(e.kind, Kind::Rotate { .. })).filter_map(|e| e.root_key).collect();
                let own = match &self.kind {
                    Kind::Genesis { root, .. } => Some(*root),
                    _ => None,
                };
                let mut roots = known().filter_map(Entry::root).chain(own).filter(|root| !superseded.contains(root));
                let signer = roots.find(|root| VerifyingKey::read(root).is_ok_and(|key| self.is_signed_by(&key)));
                self.root_key = Some(signer.ok_or(LogError::Signature)?);
            }
        }
        Ok(())
    }

    fn is_signed_by(&self, key: &VerifyingKey) -> bool {
        key.verify(ENTRY_PURPOSE, &[&self.signed.signer, &self.signed.body], &self.signed.sig).is_ok()
    }

    /// The device it adds.
    pub(super) fn introduced(&self) -> Option<&Device> {
        match &self.kind {
            Kind::Genesis { first, .. } => Some(first),
            Kind::Add(device) => Some(device),
            _ => None,
        }
    }

    /// The root key it puts in force.
    fn root(&self) -> Option<[u8; 32]> {
        match self.kind {
            Kind::Genesis { root, .. } | Kind::Rotate { root } => Some(root),
            _ => None,
        }
    }
}

impl Kind {
    fn parse(entry: &proto::LogEntry, body: &[u8]) -> Result<Self, LogError> {
        Ok(match &entry.e {
            Some(E::Genesis(genesis)) => {
                let root = VerifyingKey::read(&genesis.root_vk).map_err(|_| LogError::Malformed)?;
                let cert = raw_field(body, 10).and_then(|genesis| raw_field(genesis, 2)).ok_or(LogError::Malformed)?;
                Self::Genesis { root: *root.as_bytes(), first: Device::read(cert)? }
            }
            Some(E::Add(_)) => {
                let cert = raw_field(body, 11).and_then(|add| raw_field(add, 1)).ok_or(LogError::Malformed)?;
                Self::Add(Device::read(cert)?)
            }
            Some(E::Revoke(revoke)) if revoke.device_id.is_empty() => Self::RevokeAll,
            Some(E::Revoke(revoke)) => Self::Revoke(DeviceId::read(&revoke.device_id).ok_or(LogError::Malformed)?),
            Some(E::Rotate(rotate)) => {
                let key = VerifyingKey::read(&rotate.new_root_vk).map_err(|_| LogError::Malformed)?;
                key.verify(NEW_ROOT_PURPOSE, &[&entry.aid20, key.as_bytes()], &rotate.new_root_sig)
                    .map_err(|_| LogError::Signature)?;
                Self::Rotate { root: *key.as_bytes() }
            }
            Some(E::Policy(policy)) => Self::Policy(policy.clone()),
            Some(E::Closed(_)) => Self::Closed,
            Some(E::Checkpoint(_)) | None => Self::Other,
        })
    }
}

impl Device {
    /// Reads a certificate: the id must be that of the signing key, both keys must be usable.
    ///
    /// # Errors
    /// [`LogError::Malformed`].
    pub fn read(cert_bytes: &[u8]) -> Result<Self, LogError> {
        let cert = proto::DeviceCert::decode(cert_bytes).map_err(|_| LogError::Malformed)?;
        let dik = VerifyingKey::read(&cert.dik).map_err(|_| LogError::Malformed)?;
        let ddh = PublicKey::read(&cert.ddh).map_err(|_| LogError::Malformed)?;
        let id = device_id(&dik);
        if cert.device_id != id.0 {
            return Err(LogError::Malformed);
        }
        Ok(Self { id, dik, ddh, cert_bytes: cert_bytes.to_vec(), cert })
    }
}

/// Names a device by its signing key.
pub fn device_id(dik: &VerifyingKey) -> DeviceId {
    DeviceId(trunc(&sha256(&dik.typed())))
}

/// Names an account by the body of its genesis entry.
pub fn account_id(genesis_body: &[u8]) -> AccountId {
    AccountId(hash("silbo/1/aid", &[genesis_body]))
}

/// Names an entry. The signature is left out: a second one over the same content makes no second entry.
fn entry_id(signed: &proto::Signed) -> EntryId {
    trunc(&hash("silbo/1/log-entry", &[&signed.signer, &signed.body]))
}

/// The account, if the sorted entries begin with the one and only genesis.
fn genesis_aid(entries: &[Entry]) -> Result<AccountId, LogError> {
    let mut found = entries.iter().filter(|e| matches!(e.kind, Kind::Genesis { .. }));
    match (found.next(), found.next()) {
        (Some(genesis), None) => Ok(account_id(&genesis.signed.body)),
        _ => Err(LogError::Genesis),
    }
}

/// The causal past of each of the sorted entries; checks that every predecessor is there and that lamports follow.
fn pasts(entries: &[Entry]) -> Result<Vec<Bits>, LogError> {
    let mut places: BTreeMap<EntryId, usize> = BTreeMap::new();
    let mut pasts: Vec<Bits> = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let mut past = Bits::default();
        let mut lamport = 0;
        for prev in &entry.prev {
            let place = *places.get(prev).ok_or(LogError::Gap)?;
            let (named, before) = entries.get(place).zip(pasts.get(place)).ok_or(LogError::Gap)?;
            past.add_all(before);
            past.add(place);
            lamport = lamport.max(named.lamport.checked_add(1).ok_or(LogError::Malformed)?);
        }
        if lamport != entry.lamport {
            return Err(LogError::Malformed);
        }
        places.insert(entry.id, index);
        pasts.push(past);
    }
    Ok(pasts)
}

/// The bytes of a nested message as they travelled; `None` unless the field is there exactly once.
fn raw_field(mut bytes: &[u8], wanted: u32) -> Option<&[u8]> {
    let mut found = None;
    while !bytes.is_empty() {
        let (tag, wire_type) = decode_key(&mut bytes).ok()?;
        if tag != wanted {
            skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).ok()?;
            continue;
        }
        let len = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
        let (value, rest) = bytes.split_at_checked(len)?;
        if wire_type != WireType::LengthDelimited || found.replace(value).is_some() {
            return None;
        }
        bytes = rest;
    }
    found
}

#[cfg(test)]
#[path = "device_log_tests.rs"]
mod tests;
