//! Who asks, who tells, and which method is the cheapest: both ends compute the same from the two openings.

use super::super::salted_set::{SKETCH_LEN, SaltedSet, Sketch};
use crate::limits::RECONCILE_ITEMS_MAX;

/// Differences that power sums are used for. The work is quadratic; at 48 the sums cost 288 B and cells 650 B, so that
/// sums asked for in vain waste little.
pub const SUMS_MAX: usize = 48;

/// What each end says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Items of the set.
    pub items: u32,
    /// See [`SaltedSet::digest`].
    pub digest: u64,
    /// See [`SaltedSet::sketch`].
    pub sketch: Sketch,
}

impl Opening {
    /// Bytes on the wire: items 4, digest 8, sketch 16×4.
    pub const LEN: usize = 4 + 8 + 4 * SKETCH_LEN;

    /// Of a set.
    pub fn of(set: &SaltedSet) -> Self {
        Self { items: set.ids().len() as u32, digest: set.digest(), sketch: set.sketch() }
    }

    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let numbers = self.sketch.iter().flat_map(|hash| hash.to_be_bytes());
        let bytes = self.items.to_be_bytes().into_iter().chain(self.digest.to_be_bytes()).chain(numbers);
        for (place, byte) in out.iter_mut().zip(bytes) {
            *place = byte;
        }
        out
    }

    /// Reads an opening; `None` for another length, more than `RECONCILE_ITEMS_MAX` items or a sketch that does not ascend.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (items, rest) = bytes.split_first_chunk()?;
        let (digest, rest) = rest.split_first_chunk()?;
        let (hashes, rest) = rest.as_chunks::<4>();
        let mut sketch = [u32::MAX; SKETCH_LEN];
        if hashes.len() != SKETCH_LEN || !rest.is_empty() {
            return None;
        }
        for (place, hash) in sketch.iter_mut().zip(hashes) {
            *place = u32::from_be_bytes(*hash);
        }
        let items = u32::from_be_bytes(*items);
        let good = items as usize <= RECONCILE_ITEMS_MAX && sketch.is_sorted();
        good.then_some(Self { items, digest: u64::from_be_bytes(*digest), sketch })
    }
}

/// What this end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The sets are equal.
    Equal,
    /// Has the smaller set: of the ids it finds, those that cost 6 bytes to tell are fewer.
    Reader,
    Teller,
}

/// How to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// With so many power sums.
    Sums(usize),
    /// With so many cells.
    Cells(usize),
    /// The reader sends everything.
    List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub role: Role,
    pub method: Method,
}

impl Plan {
    pub fn new(own: &Opening, peer: &Opening) -> Self {
        let role = match (own.items, own.digest).cmp(&(peer.items, peer.digest)) {
            std::cmp::Ordering::Less => Role::Reader,
            std::cmp::Ordering::Equal => Role::Equal,
            std::cmp::Ordering::Greater => Role::Teller,
        };
        Self { role, method: method(own, peer) }
    }
}

/// All figures in bytes or differences; the same whichever end computes it.
fn method(own: &Opening, peer: &Opening) -> Method {
    let (own_items, peer_items) = (own.items as usize, peer.items as usize);
    let (small, large) = (own_items.min(peer_items), own_items.max(peer_items));
    // As many differences as the sizes differ by, at least, and an even number more.
    let least = large - small;
    let (shared, sampled) = compare(&own.sketch, &peer.sketch);
    // J = shared/sampled, and the sets have (1-J)/(1+J) of their items, counted twice, on one side only.
    let likely = ((small + large) * (sampled - shared) / (sampled + shared).max(1)).max(least);
    // One or two of sixteen missing happens with few differences too: no conclusion from that, and from more a quarter.
    let probable = if sampled - shared >= 3 { (likely / 4).max(least) } else { least };

    let only_small = likely.saturating_sub(least) / 2;
    let only_large = likely - only_small;
    let decode = if likely <= SUMS_MAX { 6 * likely.max(SUMS_FIRST) + 16 } else { 13 * likely + 64 };
    let stream = decode + 6 * only_small + 2 * only_large;
    let list = 6 * small + small.div_ceil(8) + 6 * only_large;
    if list <= stream {
        Method::List
    } else if probable > SUMS_MAX {
        Method::Cells(cells_first(probable).min(cells_max(small, large)))
    } else {
        let first = probable.max(SUMS_FIRST);
        Method::Sums((first + (first + least) % 2).min(SUMS_MAX))
    }
}

/// Of the bottom hashes of both sets together: how many are in both, of how many.
fn compare(own: &Sketch, peer: &Sketch) -> (usize, usize) {
    let (mut own, mut peer) = (own.iter().peekable(), peer.iter().peekable());
    let (mut shared, mut sampled) = (0, 0);
    while sampled < SKETCH_LEN {
        let next = match (own.peek(), peer.peek()) {
            (Some(a), Some(b)) => **a.min(b),
            _ => break,
        };
        if next == u32::MAX {
            break;
        }
        let in_own = own.next_if(|hash| **hash == next).is_some();
        let in_peer = peer.next_if(|hash| **hash == next).is_some();
        shared += usize::from(in_own && in_peer);
        sampled += 1;
    }
    (shared, sampled)
}

/// Differences expected of an encounter of which nothing is known.
const SUMS_FIRST: usize = 8;

/// How many sums to ask for after so many: 8, 16, 28, 48 in all; 0 when it is time for cells. A round trip is worth
/// some sums in vain: over Bluetooth it takes as long as 300 bytes. Even, because the parity of the difference is known.
pub(super) fn sums_more(sums: usize) -> usize {
    (sums * 3 / 8 * 2).max(8).min(SUMS_MAX.saturating_sub(sums))
}

/// Cells that are likely to be a little too few for so many differences.
pub(super) fn cells_first(differences: usize) -> usize {
    (differences + differences / 3).clamp(8, super::CELLS_PER_MESSAGE_MAX)
}

/// What the decoder wants, as long as that is not a guess far beyond what it has.
pub(super) fn cells_more(cells: usize, wanted: usize) -> usize {
    wanted.min(cells / 2).clamp(4, super::CELLS_PER_MESSAGE_MAX)
}

/// Where cells have cost more than a list, 9 B against 6 B an item of the smaller set; or where the answer to them
/// would be longer than a message.
pub(super) fn cells_max(own_items: usize, peer_items: usize) -> usize {
    (own_items.min(peer_items) + 64).min(super::message::FOUND_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(range: std::ops::Range<u32>) -> Opening {
        let items = range.map(|n| u128::from(n).to_be_bytes());
        Opening::of(&SaltedSet::new(&[7; 16], items).unwrap())
    }

    #[test]
    fn both_ends_come_to_the_same_plan() {
        for (own, peer) in [(0..10, 5..15), (0..1_000, 10..1_010), (0..100, 50..900), (0..0, 0..5), (0..400, 0..600)] {
            let (own, peer) = (opening(own), opening(peer));
            let (here, there) = (Plan::new(&own, &peer), Plan::new(&peer, &own));
            assert_eq!(here.method, there.method);
            assert_ne!(here.role, there.role);
        }
        assert_eq!(Plan::new(&opening(0..10), &opening(0..10)).role, Role::Equal);
    }

    #[test]
    fn small_and_very_different_sets_are_listed_and_similar_ones_are_not() {
        let plan = |own, peer| Plan::new(&opening(own), &opening(peer)).method;
        assert_eq!(plan(0..2, 1..3), Method::List);
        assert_eq!(plan(0..0, 0..50), Method::List);
        assert_eq!(plan(0..500, 400..900), Method::List);
        assert_eq!(plan(0..2_000, 10..2_010), Method::Sums(8));
        assert_eq!(plan(0..2_000, 0..2_021), Method::Sums(21));
        assert!(matches!(plan(0..2_000, 0..2_200), Method::Cells(_)));
    }

    #[test]
    fn sums_are_asked_for_up_to_their_limit() {
        let mut sums = SUMS_FIRST;
        let mut rounds = 1;
        while sums_more(sums) > 0 {
            sums += sums_more(sums);
            rounds += 1;
        }
        assert_eq!((sums, rounds), (SUMS_MAX, 4));
    }

    #[test]
    fn an_opening_has_one_encoding() {
        let opening = opening(0..9);
        assert_eq!(Opening::decode(&opening.encode()), Some(opening));
        assert_eq!(Opening::decode(&opening.encode()[1..]), None);
        assert_eq!(Opening::decode(&[&opening.encode()[..], &[0]].concat()), None);
        let too_many = Opening { items: RECONCILE_ITEMS_MAX as u32 + 1, ..opening };
        assert_eq!(Opening::decode(&too_many.encode()), None);
        let mut unsorted = opening;
        unsorted.sketch.reverse();
        assert_eq!(Opening::decode(&unsorted.encode()), None);
    }
}
