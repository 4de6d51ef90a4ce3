//! What a rekeyer shares with each device beside X25519: a secret agreed by ML-KEM-768, stepped at every rekey.
//!
//! A device sends each rekeyer one **init**, a ciphertext for the rekeyer's ML-KEM key, over an authenticated session.
//! The root that comes of it is used by that rekeyer towards that device only. Each rekey takes the next step and says
//! which: the device follows, also when rekeys cross, arrive in another order or are lost. Steps are one-way, so what
//! was used is gone on both sides.

use std::collections::BTreeMap;

use crate::chance::Chance;
use crate::crypto::kdf::kdf_fields;
use crate::crypto::kem::{DecapsulationKey, EncapsulationKey, KemError};
use crate::crypto::{Secret, fields, kdf};
use crate::ids::{GroupDevice, GroupId};
use crate::limits::GROUP_ROOT_JUMP_MAX;

/// Between whom a root is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootEnds {
    /// The group.
    pub group: GroupId,
    /// Who rekeys.
    pub rekeyer: GroupDevice,
    /// For whom.
    pub device: GroupDevice,
}

/// The rekeyer's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendingRoot {
    pub(super) root: Secret<32>,
    pub(super) used: u16,
}

/// The device's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivingRoot {
    pub(super) root: Secret<32>,
    pub(super) used: u16,
    /// Steps that were passed, at most `limits::GROUP_ROOT_JUMP_MAX`, the newest.
    pub(super) skipped: BTreeMap<u16, Secret<32>>,
}

/// Makes an init for a rekeyer: the ciphertext to send, and one's own end.
pub fn make_init(ends: &RootEnds, kem: &EncapsulationKey, chance: &mut Chance) -> (Vec<u8>, ReceivingRoot) {
    let (ciphertext, shared) = kem.encapsulate(chance);
    let root = root_of(ends, kem, &ciphertext, &shared);
    (ciphertext, ReceivingRoot { root, used: 0, skipped: BTreeMap::new() })
}

/// Takes an init. The caller knows from the session it came by that it is of `ends.device`.
///
/// # Errors
/// [`KemError::Ciphertext`] for a wrong length.
pub fn take_init(ends: &RootEnds, kem: &DecapsulationKey, ciphertext: &[u8]) -> Result<SendingRoot, KemError> {
    let shared = kem.decapsulate(ciphertext)?;
    Ok(SendingRoot { root: root_of(ends, &kem.public(), ciphertext, &shared), used: 0 })
}

impl SendingRoot {
    /// The number and the key of the next step, and the root behind it; `None` at the end of the numbers.
    pub fn step(&self) -> Option<(u16, Secret<32>, Self)> {
        let used = self.used.checked_add(1)?;
        let (key, root) = step(&self.root);
        Some((used, key, Self { root, used }))
    }
}

impl ReceivingRoot {
    /// The key of step `number` and the root as it is once that key has been used; `None` if it has been used, or is
    /// more than `limits::GROUP_ROOT_JUMP_MAX` ahead.
    pub fn reach(&self, number: u16) -> Option<(Secret<32>, Self)> {
        let mut after = self.clone();
        if let Some(key) = after.skipped.remove(&number) {
            return Some((key, after));
        }
        let ahead = number.checked_sub(self.used).filter(|ahead| (1..=GROUP_ROOT_JUMP_MAX).contains(ahead))?;
        for passed in 1..ahead {
            let (key, root) = step(&after.root);
            after.root = root;
            after.skipped.insert(self.used.saturating_add(passed), key);
        }
        let (key, root) = step(&after.root);
        (after.root, after.used) = (root, number);
        while after.skipped.len() > usize::from(GROUP_ROOT_JUMP_MAX) {
            after.skipped.pop_first();
        }
        Some((key, after))
    }
}

fn root_of(ends: &RootEnds, kem: &EncapsulationKey, ciphertext: &[u8], shared: &Secret<32>) -> Secret<32> {
    let salt = fields(&[ends.group.as_bytes(), &ends.rekeyer.to_bytes(), &ends.device.to_bytes()]);
    kdf_fields(&[shared.expose(), &kem.typed(), ciphertext], &salt, "silbo/1/group/root")
}

/// The key of a step, and the next root.
fn step(root: &Secret<32>) -> (Secret<32>, Secret<32>) {
    kdf::<64>(root.expose(), b"", "silbo/1/group/root-step").split()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AccountId, DeviceId};

    fn ends() -> RootEnds {
        let device = |n| GroupDevice { account: AccountId([n; 32]), device: DeviceId([n; 8]) };
        RootEnds { group: GroupId([1; 16]), rekeyer: device(1), device: device(2) }
    }

    fn pair() -> (SendingRoot, ReceivingRoot) {
        let mut chance = Chance::from_seed([1; 32]);
        let kem = DecapsulationKey::generate(&mut chance);
        let (init, receiving) = make_init(&ends(), &kem.public(), &mut chance);
        assert_eq!(take_init(&ends(), &kem, &init[1..]), Err(KemError::Ciphertext));
        (take_init(&ends(), &kem, &init).unwrap(), receiving)
    }

    /// The first `count` steps of a root.
    fn steps(mut root: SendingRoot, count: u16) -> Vec<(u16, Secret<32>)> {
        let mut out = Vec::new();
        for _ in 0..count {
            let (number, key, after) = root.step().unwrap();
            out.push((number, key));
            root = after;
        }
        out
    }

    #[test]
    fn both_ends_stay_in_step_when_rekeys_cross_or_are_lost() {
        let (sending, mut receiving) = pair();
        let steps = steps(sending, 6);
        for at in [2, 0, 5, 4] {
            let (number, wanted) = &steps[at];
            let (key, after) = receiving.reach(*number).unwrap();
            assert_eq!(key, *wanted, "step {number}");
            receiving = after;
            assert!(receiving.reach(*number).is_none(), "step {number} is used");
        }
        assert_eq!(receiving.skipped.len(), 2, "steps 2 and 4 are still open");
    }

    #[test]
    fn a_step_too_far_ahead_or_number_zero_is_refused() {
        let (_, receiving) = pair();
        assert!(receiving.reach(0).is_none());
        assert!(receiving.reach(GROUP_ROOT_JUMP_MAX + 1).is_none());
        assert!(receiving.reach(GROUP_ROOT_JUMP_MAX).is_some());
    }

    #[test]
    fn no_more_steps_are_kept_than_the_limit() {
        let (_, receiving) = pair();
        let (_, receiving) = receiving.reach(GROUP_ROOT_JUMP_MAX).unwrap();
        let (_, receiving) = receiving.reach(2 * GROUP_ROOT_JUMP_MAX).unwrap();
        assert_eq!(receiving.skipped.len(), usize::from(GROUP_ROOT_JUMP_MAX));
        assert!(receiving.reach(1).is_none(), "the oldest went");
    }

    #[test]
    fn a_root_that_is_used_up_gives_nothing() {
        let (sending, _) = pair();
        assert!(SendingRoot { used: u16::MAX, ..sending }.step().is_none());
    }

    #[test]
    fn another_pair_of_devices_or_group_has_another_root() {
        let mut chance = Chance::from_seed([1; 32]);
        let kem = DecapsulationKey::generate(&mut chance);
        let (init, _) = make_init(&ends(), &kem.public(), &mut chance);
        let root = take_init(&ends(), &kem, &init).unwrap();
        let swapped = RootEnds { rekeyer: ends().device, device: ends().rekeyer, ..ends() };
        assert_ne!(take_init(&swapped, &kem, &init).unwrap(), root);
        assert_ne!(take_init(&RootEnds { group: GroupId([2; 16]), ..ends() }, &kem, &init).unwrap(), root);
    }
}
