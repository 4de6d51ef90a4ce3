//! The operations of one group that are known here: verified, in causal order, with their pasts.
//!
//! ```text
//!   bytes ── Operation::read ──▶ Graph::insert ──┬─ parents here: signature, lamport ─▶ Node ──▶ Graph::membership
//!                                                └─ parents missing: waits, bounded by who handed it over
//! ```
//! A `Node` is made in one place, after the signature has been checked with a key that the operation's own causal
//! past introduces for that device; so nothing here depends on the order in which operations came. Whether an
//! operation *counts* is another question, answered by `resolve.rs` for the whole set.

use std::collections::BTreeMap;

use super::bits::Bits;
use super::membership::Membership;
use super::operation::{Kind, Operation, PARENTS_MAX, Role, sign, verify_join};
use super::resolve::resolve;
use crate::crypto::ed25519::{SigningKey, VerifyingKey};
use crate::ids::{AccountId, GroupDevice, GroupId, OperationId};
use crate::limits::{
    GROUP_OPERATIONS_MAX, GROUP_OPERATIONS_PER_MEMBER_MAX, GROUP_OPERATIONS_RESERVE, GROUP_WAITING_MAX,
    GROUP_WAITING_PER_MEMBER_MAX,
};
use crate::wire::proto;

/// Why an operation is not taken in. The graph is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// Not the beginning of a group, or not signed by a device it names.
    #[error("the group does not begin with this operation")]
    Genesis,
    /// Of another group.
    #[error("the operation belongs to another group")]
    OtherGroup,
    /// The lamport is not one more than that of its parents.
    #[error("the operation is not dated after its parents")]
    Lamport,
    /// By a device no operation before it introduces.
    #[error("the operation is by an unknown device")]
    UnknownAuthor,
    /// The signature does not verify.
    #[error("the signature of the operation does not verify")]
    Signature,
    /// The group, or the author's share of it, is full.
    #[error("the group holds too many operations")]
    Full,
    /// Too many operations wait for their parents; offer it again when those are here.
    #[error("too many operations wait for their parents")]
    Waiting,
}

/// What came of an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Operations that are in the graph by this: itself and those that waited for it. Empty if it was known.
    pub added: Vec<OperationId>,
    /// Operations that had waited and turned out to be bad.
    pub refused: Vec<(OperationId, GraphError)>,
    /// It waits for its parents.
    pub waits: bool,
}

/// A verified operation at its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) op: Operation,
    /// The places of everything it follows.
    pub(super) past: Bits,
    /// The key of the author's device that verified it.
    pub(super) key: VerifyingKey,
    /// The place of the link it uses or revokes.
    pub(super) link: Option<usize>,
    /// What the link makes of the one who joins.
    pub(super) joins_as: Option<Role>,
    /// The places of the key operations it builds on.
    pub(super) heads: Vec<usize>,
    /// It names heads that are no key operations in its past, a link that is none, or a proof that is none.
    pub(super) unsound: bool,
    /// Of a rekey: the devices that its past alone makes members, ascending. Those the fresh key is for.
    pub(super) recipients: Vec<GroupDevice>,
}

impl Node {
    /// Where the order of (lamport, id) has it; what follows has a greater one.
    pub(super) fn order(&self) -> (u64, OperationId) {
        (self.op.lamport(), self.op.id())
    }
}

/// The verified operations of one group.
#[derive(Clone, Debug)]
pub struct Graph {
    group: GroupId,
    /// In the order they came, parents first.
    nodes: Vec<Node>,
    places: BTreeMap<OperationId, usize>,
    written: BTreeMap<AccountId, usize>,
    /// By name and signature: a copy with a bad signature must not keep the good one out.
    waiting: BTreeMap<(OperationId, Vec<u8>), (Operation, AccountId)>,
}

impl Graph {
    /// A group as far as its first operation says.
    ///
    /// # Errors
    /// [`GraphError::Genesis`].
    pub fn new(genesis: Operation) -> Result<Self, GraphError> {
        let author = genesis.author();
        let Kind::Create { devices, .. } = genesis.kind() else {
            return Err(GraphError::Genesis);
        };
        let own = devices.iter().find(|device| device.id == author.device).ok_or(GraphError::Genesis)?;
        if !genesis.is_signed_by(&own.sign) {
            return Err(GraphError::Genesis);
        }
        let key = own.sign;
        let mut graph = Self {
            group: genesis.group(),
            nodes: Vec::new(),
            places: BTreeMap::new(),
            written: BTreeMap::new(),
            waiting: BTreeMap::new(),
        };
        graph.push(genesis, Bits::default(), key);
        Ok(graph)
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// Takes an operation in; `from` is the member who handed it over, whose share of the waiting room it uses up (the
    /// author is only a claim until the parents are here). Whatever comes in whatever order, the same set of
    /// operations gives the same [`Self::membership`].
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn insert(&mut self, op: Operation, from: &AccountId) -> Result<Taken, GraphError> {
        if op.group() != self.group {
            return Err(GraphError::OtherGroup);
        }
        if self.places.contains_key(&op.id()) {
            return Ok(Taken::default());
        }
        if op.parents().iter().any(|parent| !self.places.contains_key(parent)) {
            return self.wait(op, from);
        }
        let mut taken = Taken { added: vec![op.id()], ..Taken::default() };
        self.verify(op)?;
        self.settle(&mut taken);
        Ok(taken)
    }

    /// Whether the operation is in the graph.
    pub fn contains(&self, id: &OperationId) -> bool {
        self.places.contains_key(id)
    }

    /// The operation of this name.
    pub fn operation(&self, id: &OperationId) -> Option<&Operation> {
        Some(&self.nodes.get(*self.places.get(id)?)?.op)
    }

    /// All operations, the void ones too; parents come first.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.nodes.iter().map(|node| &node.op)
    }

    /// How many there are; the genesis is always here.
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// How many operations wait.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The parents that operations wait for and that do not wait themselves: what to ask others for.
    pub fn missing(&self) -> Vec<OperationId> {
        let waits =
            |id: &OperationId| self.waiting.range((*id, Vec::new())..).next().is_some_and(|(key, _)| key.0 == *id);
        let mut missing: Vec<OperationId> = self
            .waiting
            .values()
            .flat_map(|(op, _)| op.parents())
            .filter(|id| !self.places.contains_key(id) && !waits(id))
            .copied()
            .collect();
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// Whether `earlier` is in the causal past of `later`: who wrote `later` knew it.
    pub fn knows(&self, later: &OperationId, earlier: &OperationId) -> bool {
        let places = self.places.get(later).and_then(|at| self.nodes.get(*at)).zip(self.places.get(earlier));
        places.is_some_and(|(node, place)| node.past.has(*place))
    }

    /// What the operations say.
    ///
    /// A function of the set of operations alone. Linear in the pairs of operations that concern the same account,
    /// which is far below n² in a group that grew by itself.
    pub fn membership(&self) -> Membership {
        let all: Bits = (0..self.nodes.len()).collect();
        self.membership_within(&all)
    }

    /// What the operations up to these parents come to, as one value (`Membership::digest`): what a checkpoint after them
    /// says. `None` if a parent is not here.
    pub fn state_after(&self, parents: &[OperationId]) -> Option<[u8; 32]> {
        Some(self.state_within(&self.past_after(parents)?))
    }

    /// How many operations one after these parents knows. `None` if a parent is not here.
    pub fn known_after(&self, parents: &[OperationId]) -> Option<usize> {
        Some(self.past_after(parents)?.places().count())
    }

    /// Whether a checkpoint says of what it knows what comes out here. `None` for any other operation.
    pub fn agrees_with(&self, checkpoint: &OperationId) -> Option<bool> {
        let node = self.nodes.get(*self.places.get(checkpoint)?)?;
        let Kind::Checkpoint { state_hash } = node.op.kind() else { return None };
        Some(self.state_within(&node.past)[..] == state_hash[..])
    }

    /// How many operations this one knows.
    pub fn known_to(&self, id: &OperationId) -> Option<usize> {
        Some(self.nodes.get(*self.places.get(id)?)?.past.places().count())
    }

    /// The devices a rekey after these parents is for, ascending: a place in the list is the place of a slice. `None`
    /// if a parent is not here.
    pub fn recipients_after(&self, parents: &[OperationId]) -> Option<Vec<GroupDevice>> {
        Some(self.recipients(&self.past_after(parents)?))
    }

    /// The devices the rekey of this name is for.
    pub fn recipients_of(&self, rekey: &OperationId) -> Option<&[GroupDevice]> {
        let node = self.nodes.get(*self.places.get(rekey)?)?;
        matches!(node.op.kind(), Kind::Rekey { .. }).then_some(node.recipients.as_slice())
    }

    /// The parents an operation written here names: the heads, those that count first, the latest first.
    pub fn parents_for(&self, membership: &Membership) -> Vec<OperationId> {
        let mut heads: Vec<(bool, u64, OperationId)> = membership
            .heads
            .iter()
            .filter_map(|id| Some((!membership.void.contains_key(id), self.operation(id)?.lamport(), *id)))
            .collect();
        heads.sort_unstable_by(|a, b| b.cmp(a));
        heads.truncate(PARENTS_MAX);
        let mut parents: Vec<OperationId> = heads.into_iter().map(|(_, _, id)| id).collect();
        parents.sort_unstable();
        parents
    }

    /// Writes an operation after these parents. `None` if a parent is not here or the kind cannot be written.
    pub fn write(
        &self,
        kind: &Kind,
        author: &GroupDevice,
        parents: &[OperationId],
        key: &SigningKey,
    ) -> Option<proto::Signed> {
        let lamports: Option<Vec<u64>> = parents.iter().map(|id| Some(self.operation(id)?.lamport())).collect();
        let op = proto::GroupOp {
            group: self.group.0.to_vec(),
            author: author.to_bytes().to_vec(),
            lamport: lamports?.into_iter().max()?.saturating_add(1),
            parents: parents.iter().map(|id| id.0.to_vec()).collect(),
            b: Some(kind.to_proto([0; 16]).filter(|_| !matches!(kind, Kind::Create { .. }))?),
        };
        Some(sign(key, &op))
    }

    fn wait(&mut self, op: Operation, from: &AccountId) -> Result<Taken, GraphError> {
        let of_member = self.waiting.values().filter(|(_, other)| other == from).count();
        let key = (op.id(), op.signed().sig.clone());
        if !self.waiting.contains_key(&key) {
            if self.waiting.len() >= GROUP_WAITING_MAX || of_member >= GROUP_WAITING_PER_MEMBER_MAX {
                return Err(GraphError::Waiting);
            }
            self.waiting.insert(key, (op, *from));
        }
        Ok(Taken { waits: true, ..Taken::default() })
    }

    /// Takes in what has waited long enough.
    fn settle(&mut self, taken: &mut Taken) {
        loop {
            let ready = |op: &Operation| op.parents().iter().all(|parent| self.places.contains_key(parent));
            let Some(key) = self.waiting.iter().find(|(_, (op, _))| ready(op)).map(|(key, _)| key.clone()) else {
                return;
            };
            let Some((op, _)) = self.waiting.remove(&key) else {
                return;
            };
            if self.places.contains_key(&key.0) {
                continue;
            }
            match self.verify(op) {
                Ok(()) => taken.added.push(key.0),
                Err(error) => taken.refused.push((key.0, error)),
            }
        }
    }

    /// Checks an operation whose parents are here, and takes it in.
    fn verify(&mut self, op: Operation) -> Result<(), GraphError> {
        let parents: Vec<usize> = op.parents().iter().filter_map(|id| self.places.get(id).copied()).collect();
        let lamport = parents.iter().filter_map(|p| self.nodes.get(*p)).map(|n| n.op.lamport()).max();
        if lamport.map(|lamport| lamport.saturating_add(1)) != Some(op.lamport()) {
            return Err(GraphError::Lamport);
        }
        self.check_room(&op.author().account)?;
        let past = self.past_of(&parents);
        let mut keys = self.keys_of(&op.author(), &past).into_iter().peekable();
        keys.peek().ok_or(GraphError::UnknownAuthor)?;
        let key = keys.find(|key| op.is_signed_by(key)).ok_or(GraphError::Signature)?;
        self.push(op, past, key);
        Ok(())
    }

    fn check_room(&self, author: &AccountId) -> Result<(), GraphError> {
        let founder = self.nodes.first().map(|node| node.op.author().account);
        let room = if founder == Some(*author) {
            self.nodes.len() < GROUP_OPERATIONS_MAX
        } else {
            let written = self.written.get(author).copied().unwrap_or(0);
            self.nodes.len() < GROUP_OPERATIONS_MAX - GROUP_OPERATIONS_RESERVE
                && written < GROUP_OPERATIONS_PER_MEMBER_MAX
        };
        if room { Ok(()) } else { Err(GraphError::Full) }
    }

    /// Every key the past gives the device, without repetition.
    fn keys_of(&self, who: &GroupDevice, past: &Bits) -> Vec<VerifyingKey> {
        let mut keys: Vec<VerifyingKey> = Vec::new();
        for node in past.places().filter_map(|place| self.nodes.get(place)) {
            if node.op.owner_of_devices() == who.account {
                let found = node.op.kind().devices().iter().filter(|device| device.id == who.device);
                for key in found.map(|device| device.sign) {
                    if !keys.contains(&key) {
                        keys.push(key);
                    }
                }
            }
        }
        keys
    }

    fn past_after(&self, parents: &[OperationId]) -> Option<Bits> {
        let places: Vec<usize> = parents.iter().map(|id| self.places.get(id).copied()).collect::<Option<_>>()?;
        Some(self.past_of(&places))
    }

    fn past_of(&self, parents: &[usize]) -> Bits {
        let mut past = Bits::default();
        for parent in parents {
            if let Some(node) = self.nodes.get(*parent) {
                past.add_all(&node.past);
                past.add(*parent);
            }
        }
        past
    }

    fn recipients(&self, past: &Bits) -> Vec<GroupDevice> {
        self.membership_within(past).devices().collect()
    }

    fn state_within(&self, past: &Bits) -> [u8; 32] {
        self.membership_within(past).digest()
    }

    fn membership_within(&self, past: &Bits) -> Membership {
        let resolved = resolve(&self.nodes, past);
        Membership::build(&self.nodes, past, &resolved)
    }

    fn push(&mut self, op: Operation, past: Bits, key: VerifyingKey) {
        let place_of = |id: &OperationId| self.places.get(id).copied().filter(|place| past.has(*place));
        let node_of = |id: &OperationId| place_of(id).and_then(|place| self.nodes.get(place));
        let named = op.kind().heads().unwrap_or_default();
        let is_key = |id: &&OperationId| node_of(id).is_some_and(|node| node.op.kind().heads().is_some());
        let mut unsound = named.iter().filter(is_key).count() != named.len();
        let heads = named.iter().filter_map(place_of).collect();
        let (mut link, mut joins_as) = (None, None);
        match op.kind() {
            Kind::RevokeLink { link: id } => link = place_of(id),
            Kind::Join { link: id, account, devices, proof, .. } => {
                link = place_of(id);
                match node_of(id).map(|node| node.op.kind()) {
                    Some(Kind::Link { key, role, .. }) => {
                        joins_as = Some(*role);
                        unsound |= !verify_join(key, &self.group, id, account, devices, proof);
                    }
                    _ => unsound = true,
                }
            }
            _ => {}
        }
        let recipients = if matches!(op.kind(), Kind::Rekey { .. }) { self.recipients(&past) } else { Vec::new() };
        *self.written.entry(op.author().account).or_default() += 1;
        self.places.insert(op.id(), self.nodes.len());
        self.nodes.push(Node { op, past, key, link, joins_as, heads, unsound, recipients });
    }
}

impl FromIterator<usize> for Bits {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        let mut bits = Self::default();
        places.into_iter().for_each(|place| bits.add(place));
        bits
    }
}
