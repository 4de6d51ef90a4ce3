//! Which key operations exist, what they build on, and which devices can know the keys they make.
//!
//! ```text
//!   genesis {a1,a2} ── forward +b1 ──┬── forward +c1 ───────┐
//!                                    └── rekey {a1,a2} ─────┴── heads {+c1, rekey}: merged without a message
//! ```
//! Knows ids and devices, no secrets and no authority: the caller says which operations exist and which of them are
//! the current heads. Everything here is a function of the set of operations and of the heads asked about.

use std::collections::{BTreeMap, BTreeSet};

use crate::crypto::hash;
use crate::crypto::hash::trunc;
use crate::ids::{EpochId, GroupDevice, OperationId};
use crate::limits::{GROUP_DEVICES_EVER_MAX, GROUP_DEVICES_MAX, GROUP_KEY_HEADS_MAX, GROUP_KEY_OPERATIONS_MAX};

/// How an operation makes its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// The beginning of the group; its devices are the founder's.
    Genesis,
    /// An addition: from the key of its heads, by everybody who has it. Its devices are those it brings in.
    Forward,
    /// A fresh key, sealed for each of its devices; everybody else is left behind.
    Rekey,
}

/// What the keys need to know of an operation on the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOperation {
    /// The operation.
    pub id: OperationId,
    /// How it makes its key.
    pub kind: KeyKind,
    /// The key operations it builds on: sorted, without duplicates, empty only for the genesis.
    pub heads: Vec<OperationId>,
    /// Sorted, without duplicates; see [`KeyKind`]. A place in the list of a rekey is the place of a slice.
    pub devices: Vec<GroupDevice>,
}

/// Why a key operation is not taken in. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Heads or devices unsorted, doubled, missing or too many.
    #[error("the key operation is malformed")]
    Malformed,
    /// A second genesis, or an operation with the id of another.
    #[error("the key operation contradicts one that is known")]
    Conflict,
    /// It builds on an operation that is not known yet.
    #[error("the key operation builds on an unknown one")]
    Gap,
    /// `limits::GROUP_KEY_OPERATIONS_MAX` or `limits::GROUP_DEVICES_EVER_MAX` is reached.
    #[error("the group has too many key operations or devices")]
    Full,
}

/// The key operations of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyGraph {
    /// In the order they came: heads before what builds on them.
    nodes: Vec<Node>,
    places: BTreeMap<OperationId, usize>,
    /// Every device that was ever named, in the order of first naming.
    devices: Vec<GroupDevice>,
    device_places: BTreeMap<GroupDevice, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Node {
    id: OperationId,
    kind: KeyKind,
    heads: Vec<usize>,
    named: Set,
    /// Devices that have a sending chain in the epoch of this operation.
    writers: Set,
    /// Devices that a rekey in its past has left behind and nothing after it has brought back.
    left_behind: Set,
}

/// The epoch of a set of heads: the operation itself if it is one, else a hash over all of them.
pub fn epoch_of(heads: &[OperationId]) -> EpochId {
    match heads {
        [one] => EpochId(one.0),
        many => {
            let parts: Vec<&[u8]> = many.iter().map(OperationId::as_bytes).collect();
            EpochId(trunc(&hash("silbo/1/group/heads", &parts)))
        }
    }
}

impl KeyGraph {
    /// Takes an operation in; `false` if it was known.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn insert(&mut self, operation: &KeyOperation) -> Result<bool, GraphError> {
        let KeyOperation { id, kind, heads, devices } = operation;
        let genesis = *kind == KeyKind::Genesis;
        if !ascending(heads)
            || !ascending(devices)
            || genesis != heads.is_empty()
            || (devices.is_empty() && *kind != KeyKind::Forward)
            || heads.len() > GROUP_KEY_HEADS_MAX
            || devices.len() > GROUP_DEVICES_MAX
        {
            return Err(GraphError::Malformed);
        }
        if let Some(known) = self.operation(id) {
            return if known == *operation { Ok(false) } else { Err(GraphError::Conflict) };
        }
        if genesis && !self.nodes.is_empty() {
            return Err(GraphError::Conflict);
        }
        let heads = self.find(heads).ok_or(GraphError::Gap)?;
        let fresh = devices.iter().filter(|device| !self.device_places.contains_key(device)).count();
        if self.nodes.len() >= GROUP_KEY_OPERATIONS_MAX || self.devices.len() + fresh > GROUP_DEVICES_EVER_MAX {
            return Err(GraphError::Full);
        }
        let named: Set = devices.iter().map(|device| self.intern(*device)).collect();
        let (before, already) = (self.union(&heads, |node| &node.writers), self.union(&heads, |n| &n.left_behind));
        let (writers, left_behind) = match kind {
            KeyKind::Genesis => (named.clone(), Set::default()),
            KeyKind::Forward => (before.with(&named), already.without(&named)),
            KeyKind::Rekey => (named.clone(), before.with(&already).without(&named)),
        };
        self.places.insert(*id, self.nodes.len());
        self.nodes.push(Node { id: *id, kind: *kind, heads, named, writers, left_behind });
        Ok(true)
    }

    /// The operation of this id, as it was taken in.
    pub fn operation(&self, id: &OperationId) -> Option<KeyOperation> {
        let node = self.node(id)?;
        let mut devices = self.list(&node.named);
        devices.sort_unstable();
        let mut heads: Vec<OperationId> =
            node.heads.iter().filter_map(|&at| self.nodes.get(at)).map(|n| n.id).collect();
        heads.sort_unstable();
        Some(KeyOperation { id: *id, kind: node.kind, heads, devices })
    }

    /// Whether the operation is known.
    pub fn contains(&self, id: &OperationId) -> bool {
        self.places.contains_key(id)
    }

    /// What an addition builds on; `None` for other kinds and unknown ids.
    pub fn base_of(&self, addition: &OperationId) -> Option<Vec<OperationId>> {
        let node = self.node(addition).filter(|node| node.kind == KeyKind::Forward)?;
        let mut heads: Vec<OperationId> =
            node.heads.iter().filter_map(|&at| self.nodes.get(at)).map(|n| n.id).collect();
        heads.sort_unstable();
        Some(heads)
    }

    /// Every operation, heads before what builds on them.
    pub fn operations(&self) -> impl Iterator<Item = KeyOperation> + '_ {
        self.nodes.iter().filter_map(|node| self.operation(&node.id))
    }

    /// How many operations there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether not even the genesis is known.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Devices with a sending chain in the epoch of these heads, sorted: the same at everybody. `None` if a head is
    /// unknown.
    pub fn writers(&self, heads: &[OperationId]) -> Option<Vec<GroupDevice>> {
        let heads = self.find(heads)?;
        let mut devices = self.list(&self.union(&heads, |node| &node.writers));
        devices.sort_unstable();
        Some(devices)
    }

    /// Devices that may be told the key of these heads: its writers without whom one of the heads has left behind.
    pub fn holders(&self, heads: &[OperationId]) -> Option<BTreeSet<GroupDevice>> {
        let heads = self.find(heads)?;
        Some(self.list(&self.holder_set(&heads)).into_iter().collect())
    }

    /// Whether devices outside of the roster, all of them together, can know the key of these heads: whoever writes
    /// must rekey first. True if a head is unknown.
    ///
    /// Looks at every operation once: O(operations × heads) words of device sets.
    pub fn must_rekey(&self, heads: &[OperationId], roster: &BTreeSet<GroupDevice>) -> bool {
        let Some(heads) = self.find(heads) else {
            return true;
        };
        let outside: Set =
            self.devices.iter().enumerate().filter(|(_, device)| !roster.contains(device)).map(|(at, _)| at).collect();
        let mut known: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let by_name = node.named.meets(&outside);
            known.push(by_name || (node.kind == KeyKind::Forward && self.know(&outside, &node.heads, &known)));
        }
        self.know(&outside, &heads, &known)
    }

    /// Whether one of these heads has left a device of the roster behind: its removal did not count after all, and nothing
    /// but a rekey gives it the key.
    pub fn leaves_out(&self, heads: &[OperationId], roster: &BTreeSet<GroupDevice>) -> bool {
        let heads = self.find(heads).unwrap_or_default();
        let left_behind = self.list(&self.union(&heads, |node| &node.left_behind));
        left_behind.iter().any(|device| roster.contains(device))
    }

    /// Whether `outside` knows the key of a set of heads, given which operations' keys it knows.
    fn know(&self, outside: &Set, heads: &[usize], known: &[bool]) -> bool {
        let every = heads.iter().all(|&at| known.get(at).copied().unwrap_or(true));
        // A merged key is told to members who lack a head; of one operation, only to whom it names.
        every || (heads.len() > 1 && self.holder_set(heads).meets(outside))
    }

    fn holder_set(&self, heads: &[usize]) -> Set {
        self.union(heads, |node| &node.writers).without(&self.union(heads, |node| &node.left_behind))
    }

    fn node(&self, id: &OperationId) -> Option<&Node> {
        self.nodes.get(*self.places.get(id)?)
    }

    fn find(&self, heads: &[OperationId]) -> Option<Vec<usize>> {
        heads.iter().map(|id| self.places.get(id).copied()).collect()
    }

    fn union(&self, heads: &[usize], of: impl Fn(&Node) -> &Set) -> Set {
        heads.iter().filter_map(|&at| self.nodes.get(at)).fold(Set::default(), |all, node| all.with(of(node)))
    }

    fn list(&self, set: &Set) -> Vec<GroupDevice> {
        set.places().filter_map(|at| self.devices.get(at)).copied().collect()
    }

    fn intern(&mut self, device: GroupDevice) -> usize {
        *self.device_places.entry(device).or_insert_with(|| {
            self.devices.push(device);
            self.devices.len() - 1
        })
    }
}

fn ascending<T: Ord>(list: &[T]) -> bool {
    list.is_sorted_by(|a, b| a < b)
}

/// A set of devices by their place in the table, without zero words at its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Set(Vec<u64>);

impl Set {
    fn with(mut self, other: &Self) -> Self {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
        self
    }

    fn without(mut self, other: &Self) -> Self {
        self.0.iter_mut().zip(&other.0).for_each(|(word, less)| *word &= !less);
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        self
    }

    fn meets(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }

    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        self.0
            .iter()
            .enumerate()
            .flat_map(|(at, word)| (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit))
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        let mut words = Vec::new();
        for place in places {
            if words.len() <= place / 64 {
                words.resize(place / 64 + 1, 0);
            }
            if let Some(word) = words.get_mut(place / 64) {
                *word |= 1 << (place % 64);
            }
        }
        Self(words)
    }
}
