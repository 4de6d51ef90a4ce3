//! A set of items as one session sees it: short ids under a salt that both ends share and that no one knew before.
//!
//! Nobody can prepare two items whose ids collide, because the salt comes from the handshake of the session. An id has
//! 48 bits: among 10,000 items two collide once in five million sessions. Of two items of one set with the same id one
//! is left out, by the smaller key, until the next session with another salt.
//!
//! Sources: bottom-k sketch: Cohen and Kaplan, "Summarizing data using bottom-k sketches", PODC 2007.

use crate::limits::RECONCILE_ITEMS_MAX;

/// Names an item: a content id, or whatever the caller hashes to 16 bytes.
pub type ItemKey = [u8; 16];

/// An item in one session: 48 bits, never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SaltedId(u64);

impl SaltedId {
    /// Bytes on the wire.
    pub const LEN: usize = 6;
    const MASK: u64 = (1 << 48) - 1;

    /// The id with this number; `None` for zero and for more than 48 bits.
    pub fn new(number: u64) -> Option<Self> {
        (number != 0 && number <= Self::MASK).then_some(Self(number))
    }

    /// The number, below 2^48.
    pub fn number(self) -> u64 {
        self.0
    }

    /// Big-endian.
    pub fn to_bytes(self) -> [u8; 6] {
        number_bytes(self.0)
    }

    /// Reads six bytes; `None` for another length or for zero.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        Self::new(read_number(bytes)?)
    }
}

impl std::fmt::Debug for SaltedId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SaltedId({:012x})", self.0)
    }
}

/// The low 48 bits, big-endian.
pub(super) fn number_bytes(number: u64) -> [u8; 6] {
    let [_, _, a, b, c, d, e, f] = number.to_be_bytes();
    [a, b, c, d, e, f]
}

/// Six bytes, big-endian.
pub(super) fn read_number(bytes: &[u8]) -> Option<u64> {
    let &[a, b, c, d, e, f] = bytes else { return None };
    Some(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
}

/// Hashes ids under the salt: checksums, digests, sketches and the places of an id in a cell stream.
///
/// Ids are outputs of a keyed hash already; this only breaks their linearity, so a mixing function is enough.
#[derive(Clone, Copy, Debug)]
pub struct IdHash(u64);

impl IdHash {
    /// Of this session.
    pub fn of(self, id: SaltedId) -> u64 {
        mix(id.0 ^ self.0)
    }

    #[cfg(test)]
    pub(super) fn for_test(key: u64) -> Self {
        Self(key)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): a bijection in which each input bit moves half the output.
pub(super) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Ids in bottom-k sketches.
pub const SKETCH_LEN: usize = 16;

/// The smallest hashes of a set, ascending; `u32::MAX` where the set is smaller.
pub type Sketch = [u32; SKETCH_LEN];

/// My items under the salt of one session.
#[derive(Clone, Debug)]
pub struct SaltedSet {
    hash: IdHash,
    /// Ascending, no id twice.
    ids: Vec<SaltedId>,
    /// In the order of `ids`.
    keys: Vec<ItemKey>,
    digest: u64,
}

/// More than `limits::RECONCILE_ITEMS_MAX` items; the caller offers a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more items than one reconciliation takes")]
pub struct TooManyItems;

impl SaltedSet {
    /// Hashes every item once: BLAKE3, keyed with the salt, first 6 bytes.
    ///
    /// # Errors
    /// [`TooManyItems`], the caller's fault.
    pub fn new(salt: &[u8; 16], items: impl IntoIterator<Item = ItemKey>) -> Result<Self, TooManyItems> {
        let key = blake3::derive_key("silbo/1/carry/salt", salt);
        let mut pairs = Vec::new();
        for item in items {
            if pairs.len() == RECONCILE_ITEMS_MAX {
                return Err(TooManyItems);
            }
            pairs.push((salted(&key, &item), item));
        }
        Self::of_pairs(salt, pairs)
    }

    fn of_pairs(salt: &[u8; 16], mut pairs: Vec<(SaltedId, ItemKey)>) -> Result<Self, TooManyItems> {
        pairs.sort_unstable();
        pairs.dedup_by_key(|(id, _)| *id);
        let (ids, keys) = pairs.into_iter().unzip();
        Ok(Self { keys, ..Self::of_ids(salt, ids)? })
    }

    /// A set of ids that the caller has made under the salt; it has no [`item`](Self::item)s.
    ///
    /// # Errors
    /// [`TooManyItems`], the caller's fault.
    pub fn of_ids(salt: &[u8; 16], mut ids: Vec<SaltedId>) -> Result<Self, TooManyItems> {
        if ids.len() > RECONCILE_ITEMS_MAX {
            return Err(TooManyItems);
        }
        ids.sort_unstable();
        ids.dedup();
        let hash = IdHash(first_number(&blake3::derive_key("silbo/1/carry/check", salt)));
        let digest = sum(hash, &ids);
        Ok(Self { hash, ids, keys: Vec::new(), digest })
    }

    /// The ids, ascending.
    pub fn ids(&self) -> &[SaltedId] {
        &self.ids
    }

    /// The item behind an id, if it is one of mine.
    pub fn item(&self, id: SaltedId) -> Option<&ItemKey> {
        self.keys.get(self.ids.binary_search(&id).ok()?)
    }

    /// Whether the id is one of mine.
    pub fn holds(&self, id: SaltedId) -> bool {
        self.ids.binary_search(&id).is_ok()
    }

    /// The sum of the hashes of all ids: equal sets have equal digests, different ones do with 2^-64.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The hash of this session.
    pub fn hash(&self) -> IdHash {
        self.hash
    }

    /// The bottom 16 hashes.
    pub fn sketch(&self) -> Sketch {
        let mut hashes: Vec<u32> = self.ids.iter().map(|id| (self.hash.of(*id) >> 32) as u32).collect();
        hashes.sort_unstable();
        let mut sketch = [u32::MAX; SKETCH_LEN];
        for (place, hash) in sketch.iter_mut().zip(hashes) {
            *place = hash;
        }
        sketch
    }

    /// The digest the other end must have if these are exactly the differences.
    pub fn digest_with(&self, mine: &[SaltedId], theirs: &[SaltedId]) -> u64 {
        self.digest.wrapping_sub(sum(self.hash, mine)).wrapping_add(sum(self.hash, theirs))
    }
}

/// The sum of the hashes of some ids.
pub(super) fn sum(hash: IdHash, ids: &[SaltedId]) -> u64 {
    ids.iter().fold(0, |sum, id| sum.wrapping_add(hash.of(*id)))
}

fn salted(key: &[u8; 32], item: &ItemKey) -> SaltedId {
    // Zero adds nothing to a power sum, so it shares a place with one.
    SaltedId((first_number(blake3::keyed_hash(key, item).as_bytes()) >> 16).max(1))
}

fn first_number(digest: &[u8; 32]) -> u64 {
    digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(count: u64) -> impl Iterator<Item = ItemKey> {
        (0..count).map(|n| u128::from(n).to_be_bytes())
    }

    #[test]
    fn the_order_of_the_items_does_not_matter_and_a_repeated_one_counts_once() {
        let there = SaltedSet::new(&[1; 16], items(50)).unwrap();
        let mut reversed: Vec<_> = items(50).chain(items(3)).collect();
        reversed.reverse();
        let back = SaltedSet::new(&[1; 16], reversed).unwrap();
        assert_eq!((there.ids(), there.digest(), there.sketch()), (back.ids(), back.digest(), back.sketch()));
    }

    #[test]
    fn another_salt_gives_other_ids_and_another_digest() {
        let one = SaltedSet::new(&[1; 16], items(50)).unwrap();
        let other = SaltedSet::new(&[2; 16], items(50)).unwrap();
        assert!(one.ids().iter().all(|id| !other.holds(*id)));
        assert_ne!(one.digest(), other.digest());
    }

    #[test]
    fn of_two_items_with_one_id_the_smaller_key_stays_in_any_order() {
        let id = |n| SaltedId::new(n).unwrap();
        let pairs = vec![(id(7), [2; 16]), (id(3), [9; 16]), (id(7), [1; 16]), (id(7), [3; 16])];
        let set = SaltedSet::of_pairs(&[1; 16], pairs).unwrap();
        assert_eq!(set.ids(), [id(3), id(7)]);
        assert_eq!((set.item(id(3)), set.item(id(7))), (Some(&[9; 16]), Some(&[1; 16])));
    }

    #[test]
    fn too_many_items_are_refused() {
        let too_many = items(RECONCILE_ITEMS_MAX as u64 + 1);
        assert_eq!(SaltedSet::new(&[1; 16], too_many).err(), Some(TooManyItems));
    }

    #[test]
    fn every_item_is_found_by_its_id() {
        let set = SaltedSet::new(&[1; 16], items(50)).unwrap();
        let found: std::collections::BTreeSet<_> = set.ids().iter().filter_map(|id| set.item(*id)).collect();
        assert_eq!(found.len(), 50);
        assert_eq!(SaltedId::new(0), None);
        assert_eq!(SaltedId::read(&[0; 6]), None);
        assert_eq!(SaltedId::read(&[1; 7]), None);
    }
}
