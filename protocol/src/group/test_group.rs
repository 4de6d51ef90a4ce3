//! Devices, operations and rings for the tests of this module.

use super::chain::{EpochChains, SenderChains};
use super::epoch::EpochSecret;
use super::key_graph::{KeyKind, KeyOperation};
use super::key_ring::{Changes, KeyError, KeyRing, Secrecy};
use crate::crypto::Secret;
use crate::ids::{AccountId, DeviceId, EpochId, GroupDevice, GroupId, OperationId};

pub(super) const GROUP: GroupId = GroupId([0x67; 16]);

pub(super) fn device(n: u16) -> GroupDevice {
    let [high, low] = n.to_be_bytes();
    let mut account = [0xac; 32];
    (account[0], account[1]) = (high, low);
    GroupDevice { account: AccountId(account), device: DeviceId([low; 8]) }
}

pub(super) fn devices(numbers: &[u16]) -> Vec<GroupDevice> {
    let mut list: Vec<GroupDevice> = numbers.iter().map(|n| device(*n)).collect();
    list.sort_unstable();
    list
}

pub(super) fn id(n: u8) -> OperationId {
    OperationId([n; 16])
}

pub(super) fn ids(numbers: &[u8]) -> Vec<OperationId> {
    let mut list: Vec<OperationId> = numbers.iter().map(|n| id(*n)).collect();
    list.sort_unstable();
    list
}

pub(super) fn operation(n: u8, kind: KeyKind, heads: &[u8], named: &[u16]) -> KeyOperation {
    KeyOperation { id: id(n), kind, heads: ids(heads), devices: devices(named) }
}

/// The fresh secret of the genesis or rekey number `n`.
pub(super) fn x(n: u8) -> Secret<32> {
    Secret::new([n ^ 0x55; 32])
}

/// One device: its keys, and all it ever held.
pub(super) struct Holder {
    pub(super) me: GroupDevice,
    pub(super) ring: KeyRing,
    pub(super) chains: SenderChains,
}

impl Holder {
    pub(super) fn new(n: u16) -> Self {
        Self { me: device(n), ring: KeyRing::new(GROUP, device(n)), chains: SenderChains::default() }
    }

    /// Takes an operation in, with its slice if there is one for this device.
    pub(super) fn learn(&mut self, operation: &KeyOperation, fresh: &Secret<32>) {
        let changes = self.ring.learn(operation).unwrap();
        self.apply(changes);
        if operation.kind != KeyKind::Forward && operation.devices.contains(&self.me) {
            match self.ring.hold_fresh(&operation.id, fresh, Secrecy::PostQuantum) {
                Ok(changes) => self.apply(changes),
                Err(error) => assert_eq!(error, KeyError::Held, "told twice"),
            }
        }
    }

    pub(super) fn apply(&mut self, changes: Changes) {
        for epoch in &changes.dropped {
            self.chains.remove(epoch);
        }
        for made in changes.made {
            assert!(self.chains.insert(made.id, made.chains).is_empty());
        }
    }
}

/// The chains of an epoch of nothing but these writers.
pub(super) fn chains_of(seed: u8, writers: &[GroupDevice]) -> EpochChains {
    let secret = EpochSecret::read(&[seed; 32]).unwrap();
    EpochChains::cut(&secret.unfold(&GROUP, &EpochId([seed; 16])).chain_root, writers)
}
