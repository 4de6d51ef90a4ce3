//! Key rings, chains and roots as bytes for the device's own database (`proto/group_state.proto`).
//!
//! A ring changes with the members, chains with every letter: they are stored apart. The record of an epoch's chains
//! holds those that are silent; one that is heard leaves it and has a record of its own ([`Chain::encode`]), so that a
//! letter writes a hundred bytes and an old seed stays nowhere.

use prost::Message as _;
use zeroize::Zeroize as _;

use super::chain::{Chain, EpochChains, Heard, LetterPlace, SenderChains, SkippedLetter};
use super::key_graph::{KeyKind, KeyOperation, epoch_of};
use super::key_ring::{Epoch, KeyRing, Secrecy, Source};
use super::roots::{ReceivingRoot, SendingRoot};
use super::state;
use super::welcome::read_heads;
use crate::crypto::Secret;
use crate::ids::{EpochId, GroupDevice, GroupId, OperationId};
use crate::limits::{
    GROUP_CHAINS_MAX, GROUP_DEVICES_MAX, GROUP_EPOCHS_MAX, GROUP_ROOT_JUMP_MAX, GROUP_SKIPPED_KEYS_MAX,
};
use crate::time::UnixTime;

/// Version of all encodings.
const VERSION: u32 = 1;

impl KeyRing {
    /// The bytes to store, without the operations: those are written once each ([`KeyOperation::encode`]).
    pub fn encode(&self) -> Vec<u8> {
        let mut stored = state::KeyRing {
            version: VERSION,
            group: self.group.0.to_vec(),
            me: self.me.to_bytes().to_vec(),
            epochs: self.epochs.values().map(write_epoch).collect(),
            pending: self.pending.iter().flat_map(|id| id.0).collect(),
        };
        let bytes = stored.encode_to_vec();
        stored.epochs.iter_mut().for_each(wipe_epoch);
        bytes
    }

    /// Reads what [`Self::encode`] wrote, with the operations the ring knew, heads before what builds on them; `None`
    /// for a damaged record or one of a newer program.
    pub fn decode(bytes: &[u8], operations: &[KeyOperation]) -> Option<Self> {
        let mut stored = state::KeyRing::decode(bytes).ok()?;
        let ring = read_ring(&stored, operations);
        stored.epochs.iter_mut().for_each(wipe_epoch);
        ring
    }
}

fn read_ring(stored: &state::KeyRing, operations: &[KeyOperation]) -> Option<KeyRing> {
    if stored.version != VERSION || stored.epochs.len() > GROUP_EPOCHS_MAX {
        return None;
    }
    let mut ring = KeyRing::new(GroupId::read(&stored.group)?, GroupDevice::read(&stored.me)?);
    for operation in operations {
        ring.graph.insert(operation).ok()?;
    }
    for epoch in &stored.epochs {
        let epoch = read_epoch(epoch)?;
        ring.graph.writers(&epoch.heads)?;
        ring.epochs.insert(epoch_of(&epoch.heads), epoch);
    }
    let (pending, rest) = stored.pending.as_chunks::<{ OperationId::LEN }>();
    ring.pending = pending.iter().copied().map(OperationId).collect();
    (rest.is_empty() && ring.pending.iter().all(|id| ring.graph.contains(id))).then_some(ring)
}

impl KeyOperation {
    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        write_operation(self).encode_to_vec()
    }

    /// Reads what [`Self::encode`] wrote; `None` for a damaged record or one of a newer program.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        read_operation(&state::KeyOperation::decode(bytes).ok()?)
    }
}

fn write_operation(operation: &KeyOperation) -> state::KeyOperation {
    state::KeyOperation {
        version: VERSION,
        id: operation.id.0.to_vec(),
        kind: match operation.kind {
            KeyKind::Genesis => 1,
            KeyKind::Forward => 2,
            KeyKind::Rekey => 3,
        },
        heads: operation.heads.iter().flat_map(|head| head.0).collect(),
        devices: operation.devices.iter().flat_map(GroupDevice::to_bytes).collect(),
    }
}

fn read_operation(stored: &state::KeyOperation) -> Option<KeyOperation> {
    let kind = match stored.kind {
        1 => KeyKind::Genesis,
        2 => KeyKind::Forward,
        3 => KeyKind::Rekey,
        _ => return None,
    };
    let (devices, rest) = stored.devices.as_chunks::<{ GroupDevice::LEN }>();
    if stored.version != VERSION || !rest.is_empty() || devices.len() > GROUP_DEVICES_MAX {
        return None;
    }
    let devices = devices.iter().map(|device| GroupDevice::read(device)).collect::<Option<Vec<_>>>()?;
    Some(KeyOperation { id: OperationId::read(&stored.id)?, kind, heads: read_heads(&stored.heads)?, devices })
}

fn write_epoch(epoch: &Epoch) -> state::Epoch {
    state::Epoch {
        heads: epoch.heads.iter().flat_map(|head| head.0).collect(),
        join: epoch.join.expose().to_vec(),
        topic: epoch.topic.expose().to_vec(),
        knock: epoch.knock.expose().to_vec(),
        classical: epoch.secrecy == Secrecy::Classical,
        told: epoch.source == Source::Told,
        superseded: epoch.superseded_at.is_some(),
        superseded_ms: epoch.superseded_at.map_or(0, |at| at.0),
        exporter: epoch.exporter.expose().to_vec(),
    }
}

fn read_epoch(stored: &state::Epoch) -> Option<Epoch> {
    let heads = read_heads(&stored.heads).filter(|heads| !heads.is_empty())?;
    if !stored.superseded && stored.superseded_ms != 0 {
        return None;
    }
    Some(Epoch {
        heads,
        join: Secret::read(&stored.join)?,
        topic: Secret::read(&stored.topic)?,
        knock: Secret::read(&stored.knock)?,
        exporter: Secret::read(&stored.exporter)?,
        secrecy: if stored.classical { Secrecy::Classical } else { Secrecy::PostQuantum },
        source: if stored.told { Source::Told } else { Source::Derived },
        superseded_at: stored.superseded.then_some(UnixTime(stored.superseded_ms)),
    })
}

fn wipe_epoch(epoch: &mut state::Epoch) {
    for secret in [&mut epoch.join, &mut epoch.topic, &mut epoch.knock, &mut epoch.exporter] {
        secret.zeroize();
    }
}

impl Chain {
    /// The bytes to store of a chain that has been heard; `None` for a silent one, which stands in the record of its
    /// epoch.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let Self::Heard(heard) = self else {
            return None;
        };
        let mut stored = state::HeardChain {
            version: VERSION,
            tag_key: heard.tag_key.expose().to_vec(),
            next: heard.next,
            chain_key: heard.chain_key.expose().to_vec(),
        };
        let bytes = stored.encode_to_vec();
        stored.tag_key.zeroize();
        stored.chain_key.zeroize();
        Some(bytes)
    }

    /// Reads what [`Self::encode`] wrote; `None` for a damaged record or one of a newer program.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut stored = state::HeardChain::decode(bytes).ok()?;
        let keys = Secret::read(&stored.tag_key).zip(Secret::read(&stored.chain_key));
        stored.tag_key.zeroize();
        stored.chain_key.zeroize();
        let (tag_key, chain_key) = keys.filter(|_| stored.version == VERSION)?;
        Some(Self::Heard(Box::new(Heard { tag_key, chain_key, next: stored.next })))
    }
}

impl EpochChains {
    /// The bytes to store of the silent chains: a seed each, in the order of the writers, zeros for a chain that has
    /// been heard.
    pub fn encode_silent(&self) -> Vec<u8> {
        let mut stored = state::SilentChains { version: VERSION, seeds: Vec::with_capacity(32 * self.chains.len()) };
        for chain in &self.chains {
            match chain {
                Chain::Silent(seed) => stored.seeds.extend_from_slice(seed.expose()),
                Chain::Heard(_) => stored.seeds.extend_from_slice(&[0; 32]),
            }
        }
        let bytes = stored.encode_to_vec();
        stored.seeds.zeroize();
        bytes
    }

    /// Reads [`Self::encode_silent`] and puts the chains that have been heard in their places; `None` if a record is
    /// damaged, or one of them is missing.
    pub fn decode(silent: &[u8], heard: &[(u16, Chain)]) -> Option<Self> {
        let mut stored = state::SilentChains::decode(silent).ok()?;
        let (seeds, rest) = stored.seeds.as_chunks::<32>();
        let whole = stored.version == VERSION && rest.is_empty() && seeds.len() <= GROUP_CHAINS_MAX;
        let mut chains: Vec<Chain> = seeds.iter().map(|seed| Chain::Silent(Secret::new(*seed))).collect();
        stored.seeds.zeroize();
        for (writer, chain) in heard {
            *chains.get_mut(usize::from(*writer))? = chain.clone();
        }
        let missing = Chain::Silent(Secret::new([0; 32]));
        (whole && chains.iter().all(|chain| *chain != missing)).then_some(Self { chains })
    }
}

impl SkippedLetter {
    /// The bytes to store under the place.
    pub fn encode(&self) -> Vec<u8> {
        let message_key = self.message_key.expose().to_vec();
        let mut stored = state::SkippedLetter { version: VERSION, expires_ms: self.expires_at.0, message_key };
        let bytes = stored.encode_to_vec();
        stored.message_key.zeroize();
        bytes
    }

    /// Reads what [`Self::encode`] wrote; `None` for a damaged record or one of a newer program.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut stored = state::SkippedLetter::decode(bytes).ok()?;
        let message_key = Secret::read(&stored.message_key);
        stored.message_key.zeroize();
        let message_key = message_key.filter(|_| stored.version == VERSION)?;
        Some(Self { message_key, expires_at: UnixTime(stored.expires_ms) })
    }
}

impl SenderChains {
    /// The keys of overtaken letters, by place, to be stored one by one.
    pub fn skipped(&self) -> impl Iterator<Item = (&LetterPlace, &SkippedLetter)> {
        self.skipped.iter()
    }

    /// Puts everything together again: epochs in the order in which they were taken in. `None` if there is more than
    /// the limits allow, or a skipped key of an epoch that is not there.
    pub fn restore(epochs: Vec<(EpochId, EpochChains)>, skipped: Vec<(LetterPlace, SkippedLetter)>) -> Option<Self> {
        let mut chains = Self::default();
        for (epoch, kept) in epochs {
            if !chains.insert(epoch, kept).is_empty() {
                return None;
            }
        }
        if skipped.len() > GROUP_SKIPPED_KEYS_MAX {
            return None;
        }
        for (place, key) in skipped {
            chains.chain(&place.epoch, place.writer)?;
            chains.skipped.insert(place, key);
        }
        Some(chains)
    }
}

impl SendingRoot {
    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let mut stored =
            state::SendingRoot { version: VERSION, used: u32::from(self.used), root: self.root.expose().to_vec() };
        let bytes = stored.encode_to_vec();
        stored.root.zeroize();
        bytes
    }

    /// Reads what [`Self::encode`] wrote; `None` for a damaged record or one of a newer program.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut stored = state::SendingRoot::decode(bytes).ok()?;
        let root = Secret::read(&stored.root);
        stored.root.zeroize();
        let root = root.filter(|_| stored.version == VERSION)?;
        Some(Self { root, used: u16::try_from(stored.used).ok()? })
    }
}

impl ReceivingRoot {
    /// The bytes to store.
    pub fn encode(&self) -> Vec<u8> {
        let skipped = self.skipped.iter();
        let mut stored = state::ReceivingRoot {
            version: VERSION,
            used: u32::from(self.used),
            skipped: skipped
                .map(|(step, key)| state::SkippedStep { step: u32::from(*step), key: key.expose().to_vec() })
                .collect(),
            root: self.root.expose().to_vec(),
        };
        let bytes = stored.encode_to_vec();
        wipe_root(&mut stored);
        bytes
    }

    /// Reads what [`Self::encode`] wrote; `None` for a damaged record or one of a newer program.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut stored = state::ReceivingRoot::decode(bytes).ok()?;
        let root = read_receiving(&stored);
        wipe_root(&mut stored);
        root
    }
}

fn read_receiving(stored: &state::ReceivingRoot) -> Option<ReceivingRoot> {
    if stored.version != VERSION || stored.skipped.len() > usize::from(GROUP_ROOT_JUMP_MAX) {
        return None;
    }
    let steps = stored.skipped.iter();
    let skipped =
        steps.map(|kept| Some((u16::try_from(kept.step).ok()?, Secret::read(&kept.key)?))).collect::<Option<_>>()?;
    Some(ReceivingRoot { root: Secret::read(&stored.root)?, used: u16::try_from(stored.used).ok()?, skipped })
}

fn wipe_root(stored: &mut state::ReceivingRoot) {
    stored.root.zeroize();
    for step in &mut stored.skipped {
        step.key.zeroize();
    }
}
