//! The epochs of one group whose keys this device holds, and how it comes to hold more.
//!
//! An addition is derived as soon as its base is held, a merge when it is asked for, a rekey when its slice has been
//! opened ([`super::slices`]). What a device cannot derive because it came later, it is told: a **welcome** gives the
//! secret of the addition that brought it in, a **complement** that of a merged set of which it lacks a head. Both
//! give that one secret and nothing from which an earlier one follows.
//!
//! Whose operations count is not known here: void ones keep their keys, because messages were sent under them, and
//! are simply no head any more.

use std::collections::{BTreeMap, BTreeSet};

use super::chain::EpochChains;
use super::epoch::EpochSecret;
use super::key_graph::{GraphError, KeyGraph, KeyKind, KeyOperation, epoch_of};
use crate::crypto::Secret;
use crate::ids::{EpochId, GroupDevice, GroupId, OperationId};
use crate::limits::{GROUP_EPOCH_KEEP_MS, GROUP_EPOCHS_MAX, GROUP_KEY_HEADS_MAX};
use crate::time::UnixTime;

/// Against whom the key of an epoch holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// Also against somebody who records everything and has a quantum computer later.
    PostQuantum,
    /// For at least one device the last rekey rests on X25519 alone.
    Classical,
}

/// What the key of an epoch rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// On what the operations themselves gave this device.
    Derived,
    /// On another member's word. What is derived replaces it.
    Told,
}

/// One epoch that is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    pub(super) heads: Vec<OperationId>,
    pub(super) join: Secret<32>,
    pub(super) topic: Secret<32>,
    pub(super) knock: Secret<32>,
    pub(super) exporter: Secret<32>,
    pub(super) secrecy: Secrecy,
    pub(super) source: Source,
    pub(super) superseded_at: Option<UnixTime>,
}

impl Epoch {
    /// The heads it is of.
    pub fn heads(&self) -> &[OperationId] {
        &self.heads
    }

    /// See [`super::epoch::Unfolded::topic`].
    pub fn topic(&self) -> &Secret<32> {
        &self.topic
    }

    /// See [`super::epoch::Unfolded::knock`].
    pub fn knock(&self) -> &Secret<32> {
        &self.knock
    }

    /// See [`super::epoch::Unfolded::exporter`].
    pub fn exporter(&self) -> &Secret<32> {
        &self.exporter
    }

    /// Against whom its key holds.
    pub fn secrecy(&self) -> Secrecy {
        self.secrecy
    }

    /// How it came to be held.
    pub fn source(&self) -> Source {
        self.source
    }
}

/// An epoch that has become readable, with its chains, which exist nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEpoch {
    /// Its name.
    pub id: EpochId,
    /// The chains of all its writers, in the order of [`KeyRing::writers`].
    pub chains: EpochChains,
}

/// What a change did. The caller stores all of it in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Epochs that have become readable, in the order in which they were derived.
    pub made: Vec<NewEpoch>,
    /// Epochs that are no longer held: their chains and skipped keys go with them.
    pub dropped: Vec<EpochId>,
}

/// The secret of one epoch, as a welcome or a complement carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadSecret {
    /// The heads the epoch is of, ascending.
    pub heads: Vec<OperationId>,
    /// Its secret.
    pub secret: EpochSecret,
    /// Against whom it holds, by the teller's word.
    pub secrecy: Secrecy,
}

/// Why keys were not taken or given. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The operation is not taken in.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A head is not known, or not of the kind that is needed.
    #[error("there is no such key operation")]
    Unknown,
    /// Nothing from which the key follows is held (any more).
    #[error("the key is not held")]
    NotHeld,
    /// The device is not among those the epoch is for.
    #[error("the epoch is not for this device")]
    NotForDevice,
    /// The epoch is held already: what is told a second time does not reset its chains.
    #[error("the epoch is held already")]
    Held,
    /// `limits::GROUP_EPOCHS_MAX` epochs are held, and none is superseded.
    #[error("too many epochs are in use")]
    Full,
}

/// What the next epoch comes from.
struct Base {
    join: Secret<32>,
    secrecy: Secrecy,
    source: Source,
}

/// The keys of one group on one device. `Debug` prints no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRing {
    pub(super) group: GroupId,
    pub(super) me: GroupDevice,
    pub(super) graph: KeyGraph,
    pub(super) epochs: BTreeMap<EpochId, Epoch>,
    /// Operations whose key has not been derived here; those of before one's time stay for ever.
    pub(super) pending: BTreeSet<OperationId>,
}

impl KeyRing {
    /// A ring that knows nothing yet.
    pub fn new(group: GroupId, me: GroupDevice) -> Self {
        Self { group, me, graph: KeyGraph::default(), epochs: BTreeMap::new(), pending: BTreeSet::new() }
    }

    /// The device whose ring it is.
    pub fn me(&self) -> GroupDevice {
        self.me
    }

    /// The operations it knows.
    pub fn graph(&self) -> &KeyGraph {
        &self.graph
    }

    /// The epoch of this name, if it is held.
    pub fn epoch(&self, id: &EpochId) -> Option<&Epoch> {
        self.epochs.get(id)
    }

    /// Every epoch that is held.
    pub fn epochs(&self) -> impl Iterator<Item = (&EpochId, &Epoch)> {
        self.epochs.iter()
    }

    /// The devices that send in an epoch, in the order of their chains. `None` if the epoch is not held.
    pub fn writers(&self, id: &EpochId) -> Option<Vec<GroupDevice>> {
        self.graph.writers(&self.epochs.get(id)?.heads)
    }

    /// Takes a key operation in and derives what follows from it.
    ///
    /// # Errors
    /// [`KeyError::Graph`].
    pub fn learn(&mut self, operation: &KeyOperation) -> Result<Changes, KeyError> {
        let mut changes = Changes::default();
        if self.graph.insert(operation)? {
            self.pending.insert(operation.id);
            self.settle(&mut changes);
        }
        Ok(changes)
    }

    /// Takes the fresh secret of a genesis or rekey that is known: one's own, or out of one's slice.
    ///
    /// # Errors
    /// [`KeyError::Unknown`], [`KeyError::NotForDevice`], [`KeyError::Held`] or [`KeyError::Full`].
    pub fn hold_fresh(&mut self, id: &OperationId, x: &Secret<32>, secrecy: Secrecy) -> Result<Changes, KeyError> {
        let operation = self.graph.operation(id).ok_or(KeyError::Unknown)?;
        if operation.kind == KeyKind::Forward {
            return Err(KeyError::Unknown);
        }
        if operation.devices.binary_search(&self.me).is_err() {
            return Err(KeyError::NotForDevice);
        }
        let mut changes = Changes::default();
        let secret = EpochSecret::fresh(x, id);
        let held = HeadSecret { heads: vec![*id], secret, secrecy };
        self.put(&held, Source::Derived, &mut changes)?;
        self.settle(&mut changes);
        Ok(changes)
    }

    /// Derives the epoch of several heads, all of which are held; no change if it has been derived.
    ///
    /// # Errors
    /// [`KeyError::Unknown`], [`KeyError::NotHeld`] if a complement is needed, or [`KeyError::Full`].
    pub fn merge(&mut self, heads: &[OperationId]) -> Result<Changes, KeyError> {
        self.known(heads)?;
        let mut changes = Changes::default();
        if !self.try_merge(heads, &mut changes)? {
            return Err(KeyError::NotHeld);
        }
        self.settle(&mut changes);
        Ok(changes)
    }

    /// The welcome for a device that an addition brought in. The caller has checked that it is still a member.
    ///
    /// # Errors
    /// [`KeyError::Unknown`], [`KeyError::NotForDevice`] or [`KeyError::NotHeld`].
    pub fn welcome(&self, addition: &OperationId, to: &GroupDevice) -> Result<HeadSecret, KeyError> {
        let operation = self.graph.operation(addition).ok_or(KeyError::Unknown)?;
        if operation.kind != KeyKind::Forward {
            return Err(KeyError::Unknown);
        }
        if operation.devices.binary_search(to).is_err() {
            return Err(KeyError::NotForDevice);
        }
        let base = self.base(&operation.heads).ok_or(KeyError::NotHeld)?;
        let secret = EpochSecret::forward(&base.join, addition);
        Ok(HeadSecret { heads: vec![*addition], secret, secrecy: base.secrecy })
    }

    /// The complement for a member that lacks some of these heads. Never for one a head has left behind, whatever the
    /// roster says: [`KeyGraph::must_rekey`] relies on it, and [`KeyGraph::leaves_out`] says when it takes a rekey.
    ///
    /// # Errors
    /// [`KeyError::Unknown`], [`KeyError::NotForDevice`] or [`KeyError::NotHeld`].
    pub fn complement(&self, heads: &[OperationId], to: &GroupDevice) -> Result<HeadSecret, KeyError> {
        self.known(heads)?;
        if heads.len() < 2 {
            return Err(KeyError::Unknown);
        }
        if !self.graph.holders(heads).is_some_and(|holders| holders.contains(to)) {
            return Err(KeyError::NotForDevice);
        }
        let (secret, secrecy, _) = self.merged(heads).ok_or(KeyError::NotHeld)?;
        Ok(HeadSecret { heads: heads.to_vec(), secret, secrecy })
    }

    /// Takes what another member tells. The caller has checked that it is a member, over an authenticated session.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn accept(&mut self, told: &HeadSecret) -> Result<Changes, KeyError> {
        self.known(&told.heads)?;
        let for_me = match told.heads.as_slice() {
            [one] => self.graph.operation(one).is_some_and(|operation| {
                operation.kind != KeyKind::Rekey && operation.devices.binary_search(&self.me).is_ok()
            }),
            many => self.graph.holders(many).is_some_and(|holders| holders.contains(&self.me)),
        };
        if !for_me {
            return Err(KeyError::NotForDevice);
        }
        let mut changes = Changes::default();
        self.put(told, Source::Told, &mut changes)?;
        self.settle(&mut changes);
        Ok(changes)
    }

    /// Forgets an epoch that was told, and all that was derived from it: no letter of others opens under it.
    ///
    /// # Errors
    /// [`KeyError::NotHeld`] if it is not held, or was derived here.
    pub fn distrust(&mut self, id: &EpochId) -> Result<Changes, KeyError> {
        if !self.epochs.get(id).is_some_and(|epoch| epoch.source == Source::Told) {
            return Err(KeyError::NotHeld);
        }
        let mut changes = Changes::default();
        self.drop_with_descendants(*id, &mut changes);
        self.settle(&mut changes);
        Ok(changes)
    }

    /// Says which heads are current. Epochs that are not of them are superseded from `now` on and dropped, with all
    /// their secrets, `limits::GROUP_EPOCH_KEEP_MS` later.
    pub fn keep_current(&mut self, heads: &[OperationId], now: UnixTime) -> Changes {
        let mut current: BTreeSet<EpochId> = heads.iter().map(|head| epoch_of(&[*head])).collect();
        current.insert(epoch_of(heads));
        for (id, epoch) in &mut self.epochs {
            if current.contains(id) {
                epoch.superseded_at = None;
            } else {
                epoch.superseded_at.get_or_insert(now);
            }
        }
        let old = |epoch: &Epoch| epoch.superseded_at.is_some_and(|at| at.after_ms(GROUP_EPOCH_KEEP_MS) <= now);
        let dropped: Vec<EpochId> = self.epochs.iter().filter(|(_, e)| old(e)).map(|(id, _)| *id).collect();
        for id in &dropped {
            self.forget(id);
        }
        Changes { made: Vec::new(), dropped }
    }

    /// Derives pending additions until nothing more follows.
    fn settle(&mut self, changes: &mut Changes) {
        loop {
            let mut moved = false;
            for id in self.pending.clone() {
                let Some(heads) = self.graph.base_of(&id) else {
                    continue;
                };
                if heads.len() > 1 && self.try_merge(&heads, changes).is_err() {
                    return;
                }
                let Some(base) = self.base(&heads) else {
                    continue;
                };
                if base.source == Source::Told && self.epochs.contains_key(&epoch_of(&[id])) {
                    continue;
                }
                let secret = EpochSecret::forward(&base.join, &id);
                let made = HeadSecret { heads: vec![id], secret, secrecy: base.secrecy };
                // Full: it stays pending.
                if self.put(&made, base.source, changes).is_err() {
                    return;
                }
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    /// Whether the epoch of these heads is held, or could be made from their joins just now.
    fn try_merge(&mut self, heads: &[OperationId], changes: &mut Changes) -> Result<bool, KeyError> {
        let held = self.epochs.get(&epoch_of(heads)).map(|epoch| epoch.source);
        if held == Some(Source::Derived) {
            return Ok(true);
        }
        match self.merged(heads) {
            Some((_, _, Source::Told)) if held.is_some() => Ok(true),
            Some((secret, secrecy, source)) => {
                self.put(&HeadSecret { heads: heads.to_vec(), secret, secrecy }, source, changes)?;
                Ok(true)
            }
            None => Ok(held.is_some()),
        }
    }

    /// The secret of several heads, from their joins.
    fn merged(&self, heads: &[OperationId]) -> Option<(EpochSecret, Secrecy, Source)> {
        let epochs: Vec<&Epoch> =
            heads.iter().map(|head| self.epochs.get(&epoch_of(&[*head]))).collect::<Option<_>>()?;
        let joins: Vec<&Secret<32>> = epochs.iter().map(|epoch| &epoch.join).collect();
        // Whoever cannot break one of the heads cannot work out the whole.
        let strong = epochs.iter().any(|epoch| epoch.secrecy == Secrecy::PostQuantum);
        let secrecy = if strong { Secrecy::PostQuantum } else { Secrecy::Classical };
        let derived = epochs.iter().all(|epoch| epoch.source == Source::Derived);
        let source = if derived { Source::Derived } else { Source::Told };
        Some((EpochSecret::merged(heads, &joins), secrecy, source))
    }

    /// The join of the epoch of these heads: as it is held, or of what they merge to.
    fn base(&self, heads: &[OperationId]) -> Option<Base> {
        let id = epoch_of(heads);
        if let Some(epoch) = self.epochs.get(&id) {
            return Some(Base { join: epoch.join.clone(), secrecy: epoch.secrecy, source: epoch.source });
        }
        let (secret, secrecy, source) = self.merged(heads).filter(|_| heads.len() > 1)?;
        Some(Base { join: secret.unfold(&self.group, &id).join, secrecy, source })
    }

    fn put(&mut self, head: &HeadSecret, source: Source, changes: &mut Changes) -> Result<(), KeyError> {
        let id = epoch_of(&head.heads);
        let unfolded = head.secret.unfold(&self.group, &id);
        if let Some(epoch) = self.epochs.get_mut(&id) {
            if epoch.source == Source::Derived || source == Source::Told {
                return Err(KeyError::Held);
            }
            if epoch.join == unfolded.join {
                epoch.source = Source::Derived;
                self.no_longer_pending(&head.heads);
                return Ok(());
            }
            self.drop_with_descendants(id, changes);
        }
        self.make_room(changes)?;
        let writers = self.graph.writers(&head.heads).ok_or(KeyError::Unknown)?;
        changes.made.push(NewEpoch { id, chains: EpochChains::cut(&unfolded.chain_root, &writers) });
        let epoch = Epoch {
            heads: head.heads.clone(),
            join: unfolded.join,
            topic: unfolded.topic,
            knock: unfolded.knock,
            exporter: unfolded.exporter,
            secrecy: head.secrecy,
            source,
            superseded_at: None,
        };
        self.epochs.insert(id, epoch);
        if source == Source::Derived {
            self.no_longer_pending(&head.heads);
        }
        Ok(())
    }

    fn no_longer_pending(&mut self, heads: &[OperationId]) {
        if let [one] = heads {
            self.pending.remove(one);
        }
    }

    /// When all places are taken, the epoch that was superseded first makes room.
    fn make_room(&mut self, changes: &mut Changes) -> Result<(), KeyError> {
        if self.epochs.len() < GROUP_EPOCHS_MAX {
            return Ok(());
        }
        let superseded = self.epochs.iter().filter_map(|(id, epoch)| Some((epoch.superseded_at?, *id)));
        let (_, oldest) = superseded.min().ok_or(KeyError::Full)?;
        self.forget(&oldest);
        changes.dropped.push(oldest);
        Ok(())
    }

    fn forget(&mut self, id: &EpochId) {
        if let Some(epoch) = self.epochs.remove(id) {
            self.no_longer_pending(&epoch.heads);
        }
    }

    /// Drops a false epoch and all that was made of it; additions among them wait again.
    fn drop_with_descendants(&mut self, id: EpochId, changes: &mut Changes) {
        let mut doomed = BTreeSet::from([id]);
        loop {
            let more: Vec<EpochId> =
                self.epochs.keys().filter(|id| !doomed.contains(id) && self.rests_on(id, &doomed)).copied().collect();
            if more.is_empty() {
                break;
            }
            doomed.extend(more);
        }
        for id in doomed {
            if let Some(epoch) = self.epochs.remove(&id) {
                if let [one] = epoch.heads.as_slice() {
                    self.pending.insert(*one);
                }
                changes.made.retain(|made| made.id != id);
                changes.dropped.push(id);
            }
        }
    }

    /// Whether an epoch builds on one of these.
    fn rests_on(&self, id: &EpochId, doomed: &BTreeSet<EpochId>) -> bool {
        let Some(epoch) = self.epochs.get(id) else {
            return false;
        };
        match epoch.heads.as_slice() {
            [one] => self.graph.base_of(one).is_some_and(|heads| doomed.contains(&epoch_of(&heads))),
            many => many.iter().any(|head| doomed.contains(&epoch_of(&[*head]))),
        }
    }

    /// Refuses heads that are unsorted, doubled, too many or unknown.
    fn known(&self, heads: &[OperationId]) -> Result<(), KeyError> {
        let sorted = !heads.is_empty() && heads.len() <= GROUP_KEY_HEADS_MAX && heads.is_sorted_by(|a, b| a < b);
        if sorted && heads.iter().all(|head| self.graph.contains(head)) { Ok(()) } else { Err(KeyError::Unknown) }
    }
}
