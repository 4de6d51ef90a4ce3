//! A receipt for a letter that travels back the way the letter came, from member to member: 12 bytes that only the
//! author of the letter can check, and only the device whose receipt it is can make.
//!
//! ```text
//! key     = KDF(X25519(device key of one, device key of the other), gid, "silbo/1/group/receipt-key")
//! receipt = trunc_4(H("silbo/1/group/receipt-by"; dev)) ‖ trunc_8(MAC(key; gid, CID of the letter, dev))
//! ```
//! Whoever guesses at receipts is right once in 2^64 times, and what is won is that one letter is not offered again to one
//! member, who can still have it from all others.

use crate::crypto::Secret;
use crate::crypto::hash::{hash, trunc};
use crate::crypto::kdf::kdf;
use crate::crypto::mac::{mac_matches, mac_trunc};
use crate::crypto::x25519::{PublicKey, SecretKey};
use crate::ids::{Cid, GroupDevice, GroupId};

/// A device has stored a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetterReceipt {
    by: [u8; 4],
    proof: [u8; 8],
}

impl LetterReceipt {
    /// Bytes of one.
    pub const LEN: usize = 12;

    /// Says to the author, whose device has this key, that `by` has stored a letter. `None` for a key that is none.
    pub fn make(group: &GroupId, letter: &Cid, by: &GroupDevice, own: &SecretKey, author: &PublicKey) -> Option<Self> {
        let key = key_of(group, own, author)?;
        let proof = mac_trunc(key.expose(), &[group.as_bytes(), letter.as_bytes(), &by.to_bytes()]);
        Some(Self { by: name_of(by), proof })
    }

    /// Whether a device with this key has made it, for a letter of the device whose secret key is `own`.
    pub fn is_of(&self, group: &GroupId, letter: &Cid, by: &GroupDevice, own: &SecretKey, key: &PublicKey) -> bool {
        let parts: [&[u8]; 3] = [group.as_bytes(), letter.as_bytes(), &by.to_bytes()];
        self.by == name_of(by)
            && key_of(group, own, key).is_some_and(|key| mac_matches(key.expose(), &parts, &self.proof))
    }

    /// The bytes as they travel.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (by, proof) = bytes.split_at_mut(self.by.len());
        by.copy_from_slice(&self.by);
        proof.copy_from_slice(&self.proof);
        bytes
    }

    /// `None` unless there are 12.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (by, proof) = bytes.split_first_chunk()?;
        Some(Self { by: *by, proof: proof.try_into().ok()? })
    }
}

fn key_of(group: &GroupId, own: &SecretKey, other: &PublicKey) -> Option<Secret<32>> {
    let shared = own.diffie_hellman(other).ok()?;
    Some(kdf(shared.expose(), group.as_bytes(), "silbo/1/group/receipt-key"))
}

fn name_of(device: &GroupDevice) -> [u8; 4] {
    trunc(&hash("silbo/1/group/receipt-by", &[&device.to_bytes()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use crate::group::test_group::{GROUP, device};

    #[test]
    fn the_author_makes_the_same_receipt_and_nobody_else_does() {
        let mut chance = Chance::from_seed([7; 32]);
        let [author, reader, other] = [0; 3].map(|_| SecretKey::generate(&mut chance));
        let letter = Cid([5; 16]);
        let receipt = LetterReceipt::make(&GROUP, &letter, &device(2), &reader, &author.public()).unwrap();
        let is_of =
            |group, letter, device, key: &SecretKey| receipt.is_of(group, letter, &device, &author, &key.public());
        assert!(is_of(&GROUP, &letter, device(2), &reader));
        assert!(!is_of(&GROUP, &letter, device(3), &reader), "of another device");
        assert!(!is_of(&GROUP, &letter, device(2), &other), "with another key");
        assert!(!is_of(&GROUP, &Cid([6; 16]), device(2), &reader), "for another letter");
        assert!(!is_of(&GroupId([9; 16]), &letter, device(2), &reader), "in another group");
        assert_eq!(LetterReceipt::read(&receipt.to_bytes()), Some(receipt));
        for bit in 0..8 * LetterReceipt::LEN {
            let mut bytes = receipt.to_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let changed = LetterReceipt::read(&bytes).unwrap();
            assert!(!changed.is_of(&GROUP, &letter, &device(2), &author, &reader.public()), "bit {bit}");
        }
        assert_eq!(LetterReceipt::read(&[0; 11]), None);
        assert_eq!(LetterReceipt::read(&[0; 13]), None);
    }
}
