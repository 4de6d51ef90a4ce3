//! Which entries of a device log count: a pure function of the set.
//!
//! 1. Entries of the root count, unless a rotation of that root key does not know them. Of several rotations of one
//!    key the first by (lamport, id) counts.
//! 2. An entry of a device counts if an entry that counts added the device before, and no revocation of the device
//!    that counts is without knowledge of the entry. So whatever a thief writes after its revocation, or hides from
//!    it, is void; and what it wrote before, seen by the revoker, stays.
//! 3. Where revocations void each other (two devices revoke each other unseen, or in a longer circle), all of them
//!    count: both devices are out, and the root recovers. Seniority would let a stolen old phone win.
//! 4. A revoked device never comes back; its key is burnt.
//!
//! The rules are evaluated like an argument: what has no open objection is decided first, then what depends on it;
//! when only circles are left, the revocations in those circles that depend on no other circle count.

use std::collections::BTreeSet;

use super::device_log::{Author, Device, Entry, Kind};
use crate::ids::DeviceId;
use crate::limits::{DEVICES_MAX, LOG_ENTRIES_MAX};
use crate::wire::proto;

const WORDS: usize = LOG_ENTRIES_MAX.div_ceil(64);

/// A set of entries, by their place in the sorted log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits([u64; WORDS]);

impl Bits {
    pub(super) fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word >> (place % 64) & 1 == 1)
    }

    pub(super) fn add(&mut self, place: usize) {
        if let Some(word) = self.0.get_mut(place / 64) {
            *word |= 1 << (place % 64);
        }
    }

    pub(super) fn add_all(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(other.0) {
            *word |= more;
        }
    }
}

/// What a log says.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) live: Vec<Device>,
    pub(super) revoked: BTreeSet<DeviceId>,
    pub(super) root: [u8; 32],
    pub(super) closed: bool,
    pub(super) policy: Option<proto::LogPolicy>,
    /// Entries that count.
    pub(super) counts: Bits,
}

/// Applies the rules to entries sorted by (lamport, id); `None` without a genesis.
pub(super) fn resolve(entries: &[Entry], pasts: &[Bits]) -> Option<State> {
    let genesis_root = entries.iter().find_map(|e| match e.kind {
        Kind::Genesis { root, .. } => Some(root),
        _ => None,
    })?;
    let mut rules = Rules { entries, pasts, verdicts: vec![None; entries.len()] };
    let root = rules.judge_root(genesis_root);
    rules.judge_devices();
    Some(rules.state(root))
}

struct Rules<'a> {
    entries: &'a [Entry],
    pasts: &'a [Bits],
    /// Whether the entry counts; `None` while undecided.
    verdicts: Vec<Option<bool>>,
}

/// What the verdict on an entry depends on.
struct Grounds {
    /// Revocations of its author that do not know it: one that counts voids it.
    against: Vec<usize>,
    /// Entries in its past that add its author: one that counts is needed.
    by: Vec<usize>,
}

impl Rules<'_> {
    /// Decides on the entries of the root; the root key in force.
    fn judge_root(&mut self, genesis_root: [u8; 32]) -> [u8; 32] {
        let mut chain = vec![genesis_root];
        let mut root = genesis_root;
        let mut void = Bits::default();
        // Each round uses up one rotation, and a key that was in force before ends the chain.
        loop {
            let signed_by_root = |e: &Entry| e.root_key == Some(root);
            let rotation = self
                .places()
                .find(|(place, e)| matches!(e.kind, Kind::Rotate { .. }) && signed_by_root(e) && !void.has(*place));
            let Some((winner, Entry { kind: Kind::Rotate { root: next }, .. })) = rotation else {
                break;
            };
            let unknown: Vec<usize> = self
                .places()
                .filter(|(place, e)| signed_by_root(e) && *place != winner && !self.knows(winner, *place))
                .map(|(place, _)| place)
                .collect();
            for place in unknown {
                void.add(place);
            }
            if chain.contains(next) {
                break;
            }
            root = *next;
            chain.push(root);
        }
        for (place, entry) in self.entries.iter().enumerate() {
            if let (Some(key), Some(verdict)) = (entry.root_key, self.verdicts.get_mut(place)) {
                *verdict = Some(chain.contains(&key) && !void.has(place));
            }
        }
        root
    }

    /// Decides on the entries of devices.
    fn judge_devices(&mut self) {
        let grounds: Vec<Grounds> = self.places().map(|(place, entry)| self.grounds(place, entry)).collect();
        while self.verdicts.contains(&None) {
            if !self.judge_open(&grounds) {
                self.break_circles(&grounds);
            }
        }
    }

    fn grounds(&self, place: usize, entry: &Entry) -> Grounds {
        let Author::Device(author) = entry.author else {
            return Grounds { against: Vec::new(), by: Vec::new() };
        };
        let against = self
            .places()
            .filter(|(other, _)| *other != place && self.revokes(*other, &author) && !self.knows(*other, place))
            .map(|(other, _)| other)
            .collect();
        let by = self
            .places()
            .filter(|(other, e)| self.knows(place, *other) && e.introduced().is_some_and(|d| d.id == author))
            .map(|(other, _)| other)
            .collect();
        Grounds { against, by }
    }

    /// Decides what can be decided; false if that is nothing.
    fn judge_open(&mut self, grounds: &[Grounds]) -> bool {
        let mut progress = false;
        for (place, grounds) in grounds.iter().enumerate() {
            if self.verdict(place).is_some() {
                continue;
            }
            let any = |places: &[usize], verdict| places.iter().any(|p| self.verdict(*p) == verdict);
            let verdict =
                if any(&grounds.against, Some(true)) || !any(&grounds.by, Some(true)) && !any(&grounds.by, None) {
                    Some(false)
                } else if !any(&grounds.against, None) && any(&grounds.by, Some(true)) {
                    Some(true)
                } else {
                    None
                };
            if let (Some(_), Some(slot)) = (verdict, self.verdicts.get_mut(place)) {
                *slot = verdict;
                progress = true;
            }
        }
        progress
    }

    /// Only circles are left: lets the revocations count in those that depend on nothing undecided outside themselves.
    fn break_circles(&mut self, grounds: &[Grounds]) {
        let open: Vec<usize> = (0..grounds.len()).filter(|p| self.verdict(*p).is_none()).collect();
        let reach = self.reach(grounds, &open);
        let reaches = |from: usize, to: usize| reach.get(from).is_some_and(|bits| bits.has(to));
        let independent: Vec<usize> = open
            .iter()
            .copied()
            .filter(|p| open.iter().all(|other| !reaches(*p, *other) || reaches(*other, *p)))
            .collect();
        let revocations: Vec<usize> =
            independent.iter().copied().filter(|p| self.entries.get(*p).is_some_and(is_revocation)).collect();
        // A circle without a revocation cannot exist, since additions only depend on their past; were there one, it
        // would be void, so that this ends.
        let (places, verdict) = if revocations.is_empty() { (open, false) } else { (revocations, true) };
        for place in places {
            if let Some(slot) = self.verdicts.get_mut(place) {
                *slot = Some(verdict);
            }
        }
    }

    /// For each entry the undecided entries its verdict depends on, directly or not.
    fn reach(&self, grounds: &[Grounds], open: &[usize]) -> Vec<Bits> {
        let mut reach = vec![Bits::default(); grounds.len()];
        for (bits, grounds) in reach.iter_mut().zip(grounds) {
            for place in grounds.against.iter().chain(&grounds.by).filter(|p| self.verdict(**p).is_none()) {
                bits.add(*place);
            }
        }
        for middle in open {
            let Some(beyond) = reach.get(*middle).copied() else {
                continue;
            };
            for bits in reach.iter_mut().filter(|bits| bits.has(*middle)) {
                bits.add_all(&beyond);
            }
        }
        reach
    }

    fn state(&self, root: [u8; 32]) -> State {
        let mut counts = Bits::default();
        for (place, _) in self.counting() {
            counts.add(place);
        }
        let mut added: Vec<&Device> = Vec::new();
        // Devices the root added come first when there are more than an account may have.
        for by_root in [true, false] {
            let entries = self.counting().filter(|(_, e)| (e.author == Author::Root) == by_root);
            for device in entries.filter_map(|(_, e)| e.introduced()) {
                if !added.iter().any(|other| other.id == device.id) {
                    added.push(device);
                }
            }
        }
        let revoked: BTreeSet<DeviceId> = added
            .iter()
            .map(|device| device.id)
            .filter(|id| self.counting().any(|(place, _)| self.revokes(place, id)))
            .collect();
        let live = added.into_iter().filter(|d| !revoked.contains(&d.id)).take(DEVICES_MAX).cloned().collect();
        let policy = self.counting().filter_map(|(_, e)| match &e.kind {
            Kind::Policy(policy) => Some(policy.clone()),
            _ => None,
        });
        State {
            live,
            revoked,
            root,
            closed: self.counting().any(|(_, e)| matches!(e.kind, Kind::Closed)),
            policy: policy.last(),
            counts,
        }
    }

    fn places(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.entries.iter().enumerate()
    }

    fn counting(&self) -> impl Iterator<Item = (usize, &Entry)> {
        self.places().filter(|(place, _)| self.verdict(*place) == Some(true))
    }

    fn verdict(&self, place: usize) -> Option<bool> {
        self.verdicts.get(place).copied().flatten()
    }

    /// Whether `earlier` is in the causal past of `place`.
    fn knows(&self, place: usize, earlier: usize) -> bool {
        self.pasts.get(place).is_some_and(|past| past.has(earlier))
    }

    /// Whether the entry is a revocation of the device.
    fn revokes(&self, place: usize, device: &DeviceId) -> bool {
        match self.entries.get(place).map(|e| &e.kind) {
            Some(Kind::Revoke(target)) => target == device,
            Some(Kind::RevokeAll) => self
                .places()
                .any(|(other, e)| self.knows(place, other) && e.introduced().is_some_and(|d| d.id == *device)),
            _ => false,
        }
    }
}

fn is_revocation(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::Revoke(_) | Kind::RevokeAll)
}
