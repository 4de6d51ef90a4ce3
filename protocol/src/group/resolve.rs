//! Which operations of a group count: a pure function of the set.
//!
//! 1. An operation needs its author to be a member, by a device and key in force, with a sufficient role, in the state
//!    that the operations *of its causal past that count* give (`standing.rs`).
//! 2. It is void if a concurrent operation that counts takes that away: removes the author, lowers its role below what
//!    the operation needs, drops its device, revokes the link it uses, or freezes the group against it. Leaving takes
//!    nothing away from what other devices of the account wrote, and is never taken away itself.
//! 3. An owner outranks: a removal or a lower role by somebody of lesser role is void if an owner concurrently makes
//!    the same account admin or owner; a freeze binds nobody above its author. Else an admin could depose an owner by
//!    writing as if the promotion were unknown.
//! 4. Of operations that void each other in a circle those by the highest role count, all of them.
//! 5. If circles, or what follows from them, would leave the group without an owner, the owner whose removal comes last
//!    by (lamport, id) is spared.
//! 6. A link lets in as many accounts as it says: those that come first by (lamport, id), counted or not.
//!
//! The rules are evaluated like an argument: what has no open objection is decided first, then what depends on it, then
//! what can have authority in no case; when only circles are left, those that depend on nothing undecided outside
//! themselves are broken.

use std::collections::{BTreeMap, BTreeSet};

use super::bits::Bits;
use super::graph::Node;
use super::operation::{Kind, Role};
use super::standing::{Index, LinkUses};
use crate::ids::{AccountId, GroupDevice, OperationId};
use crate::limits::{DEVICES_MAX, GROUP_FREE_REKEY_DEVICES_MAX, GROUP_OWNERS_SPARED_MAX};

/// Why an operation has no effect. It is kept all the same, so that people can see what was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Void {
    /// The author, its device or the key it signed with was out, as far as its past knew.
    NotMember,
    /// The author's role did not permit it, or there was nothing to do.
    NotAllowed,
    /// The group was frozen.
    Frozen,
    /// Names heads, a link or a proof that are none.
    Unsound,
    /// The link had let in as many as it may.
    LinkSpent,
    /// A concurrent operation prevails.
    Against(OperationId),
    /// The removal of the last owner.
    LastOwner,
    /// One of several objections to each other of which none has authority.
    Circle,
}

/// The verdicts on a set of operations.
pub(super) struct Resolved {
    /// Operations that count.
    pub(super) counts: Bits,
    /// The others.
    pub(super) void: BTreeMap<usize, Void>,
}

/// What an operation's past says of it.
#[derive(Clone, Copy)]
struct Judgement {
    /// The author's role.
    rank: Role,
    /// The role it needs.
    need: Role,
    /// Whether it adds to anybody's power.
    raises: bool,
}

/// How one operation speaks against another.
#[derive(Clone, Copy)]
enum Objection {
    /// The author, its device or its link is out.
    Out,
    /// The author has a lesser role.
    Lowered(Role),
    /// Nobody is to be raised.
    Frozen,
    /// The account it acts on has been made admin or owner by an owner.
    Outranked,
}

/// Applies the rules to the operations `within`, which with each operation hold its past.
pub(super) fn resolve(nodes: &[Node], within: &Bits) -> Resolved {
    let index = Index::new(nodes, within);
    let spent = spent_joins(&index);
    let mut spared: BTreeSet<usize> = BTreeSet::new();
    for _ in 0..GROUP_OWNERS_SPARED_MAX {
        let mut rules = Rules::new(&index, within, &spent, &spared);
        rules.judge();
        let last = rules.last_owner();
        if last.is_empty() {
            return rules.resolved();
        }
        spared.extend(last);
    }
    let mut rules = Rules::new(&index, within, &spent, &spared);
    rules.judge();
    rules.resolved()
}

/// Joins beyond the number of accounts their link lets in.
fn spent_joins(index: &Index) -> BTreeSet<usize> {
    let mut spent = BTreeSet::new();
    for (link, LinkUses { joins, .. }) in &index.links {
        let Some(Kind::Link { uses, .. }) = index.nodes.get(*link).map(|node| node.op.kind()) else {
            continue;
        };
        let sound = |place: &&usize| index.nodes.get(**place).is_some_and(|node| !node.unsound);
        let mut joins: Vec<usize> = joins.iter().filter(sound).copied().collect();
        joins.sort_unstable_by_key(|place| index.nodes.get(*place).map(Node::order));
        let mut let_in: BTreeSet<&AccountId> = BTreeSet::new();
        for place in joins {
            let Some(Kind::Join { account, .. }) = index.nodes.get(place).map(|node| node.op.kind()) else {
                continue;
            };
            if !let_in.contains(account) && let_in.len() >= *uses as usize && *uses != 0 {
                spent.insert(place);
            } else {
                let_in.insert(account);
            }
        }
    }
    spent
}

struct Rules<'a> {
    index: &'a Index<'a>,
    within: &'a Bits,
    spent: &'a BTreeSet<usize>,
    spared: &'a BTreeSet<usize>,
    /// Whether the operation counts; `None` while undecided.
    verdicts: Vec<Option<bool>>,
    judged: Vec<Option<Result<Judgement, Void>>>,
    /// How many undecided operations of its past the judgement waits for.
    unknown: Vec<usize>,
    /// How many undecided operations object.
    open: Vec<usize>,
    /// Objections that count, to operations that are not judged yet.
    standing: Vec<Vec<(usize, Objection)>>,
    /// What each operation speaks against.
    against: Vec<Vec<(usize, Objection)>>,
    /// Operations that count because a circle was broken for them.
    broken: BTreeSet<usize>,
    /// Decided, and not yet told to what depends on it.
    news: Vec<usize>,
}

impl<'a> Rules<'a> {
    fn new(index: &'a Index<'a>, within: &'a Bits, spent: &'a BTreeSet<usize>, spared: &'a BTreeSet<usize>) -> Self {
        let count = within.places().last().map_or(0, |last| last + 1);
        let mut rules = Self {
            index,
            within,
            spent,
            spared,
            verdicts: vec![None; count],
            judged: vec![None; count],
            unknown: vec![0; count],
            open: vec![0; count],
            standing: vec![Vec::new(); count],
            against: vec![Vec::new(); count],
            broken: BTreeSet::new(),
            news: Vec::new(),
        };
        for place in within.places() {
            for later in rules.dependents(place) {
                if let Some(unknown) = rules.unknown.get_mut(later) {
                    *unknown += 1;
                }
            }
            let against = rules.objections(place);
            for (target, _) in &against {
                if let Some(open) = rules.open.get_mut(*target) {
                    *open += 1;
                }
            }
            if let Some(slot) = rules.against.get_mut(place) {
                *slot = against;
            }
        }
        rules
    }

    fn judge(&mut self) {
        for place in self.within.places() {
            if self.spared.contains(&place) || self.spent.contains(&place) || self.node(place).is_none_or(|n| n.unsound)
            {
                self.decide(place, false);
            }
        }
        for place in self.within.places() {
            self.consider(place);
        }
        loop {
            while let Some(place) = self.news.pop() {
                self.tell(place);
            }
            let open: Vec<usize> = self.within.places().filter(|place| self.verdict(*place).is_none()).collect();
            if open.is_empty() {
                return;
            }
            self.break_circles(&open);
        }
    }

    fn decide(&mut self, place: usize, counts: bool) {
        if let Some(verdict @ None) = self.verdicts.get_mut(place) {
            *verdict = Some(counts);
            self.news.push(place);
        }
    }

    /// Decides on an operation if that can be done.
    fn consider(&mut self, place: usize) {
        if self.verdict(place).is_some() {
            return;
        }
        if self.judgement(place).is_none() && self.unknown.get(place) == Some(&0) {
            let judgement = self.evaluate(place, &|earlier| self.verdict(earlier) == Some(true));
            if let Some(slot) = self.judged.get_mut(place) {
                *slot = Some(judgement);
            }
            let standing = self.standing.get_mut(place).map(std::mem::take).unwrap_or_default();
            if judgement.is_err() || standing.iter().any(|(by, how)| self.hits(*by, place, *how) == Some(true)) {
                self.decide(place, false);
                return;
            }
        }
        if matches!(self.judgement(place), Some(Ok(_))) && self.open.get(place) == Some(&0) {
            self.decide(place, true);
        }
    }

    /// Tells a verdict to the operations that wait for it.
    fn tell(&mut self, place: usize) {
        let counts = self.verdict(place) == Some(true);
        let against = self.against.get_mut(place).map(std::mem::take).unwrap_or_default();
        for (target, how) in &against {
            if let Some(open) = self.open.get_mut(*target) {
                *open -= 1;
            }
            if self.verdict(*target).is_some() {
                continue;
            }
            if counts {
                match self.hits(place, *target, *how) {
                    Some(true) => self.decide(*target, false),
                    Some(false) => {}
                    None => {
                        if let Some(standing) = self.standing.get_mut(*target) {
                            standing.push((place, *how));
                        }
                    }
                }
            }
            self.consider(*target);
        }
        for later in self.dependents(place) {
            if let Some(unknown) = self.unknown.get_mut(later) {
                *unknown -= 1;
            }
            self.consider(later);
        }
        if let Some(slot) = self.against.get_mut(place) {
            *slot = against;
        }
    }

    /// Whether an objection that counts voids the operation; `None` while that depends on what its past says.
    fn hits(&self, by: usize, target: usize, how: Objection) -> Option<bool> {
        match (how, self.judgement(target)) {
            (Objection::Out, _) => Some(true),
            (_, Some(Ok(target))) => Some(self.hits_as(by, &target, how)),
            _ => None,
        }
    }

    /// Whether it voids an operation of which the past says this.
    fn hits_as(&self, by: usize, target: &Judgement, how: Objection) -> bool {
        match how {
            Objection::Out => true,
            Objection::Lowered(role) => role < target.need,
            Objection::Outranked => target.rank < Role::Owner,
            Objection::Frozen => match self.judgement(by) {
                Some(Ok(by)) => target.raises && by.rank >= target.rank,
                _ => target.raises,
            },
        }
    }

    /// What the operation speaks against, should it count.
    fn objections(&self, place: usize) -> Vec<(usize, Objection)> {
        let Some(node) = self.node(place) else {
            return Vec::new();
        };
        let author = node.op.author();
        let mut found: Vec<(usize, Objection)> = Vec::new();
        match node.op.kind() {
            Kind::Remove { accounts, .. } => {
                for account in accounts {
                    found.extend(self.written_by(place, account).map(|target| (target, Objection::Out)));
                }
            }
            Kind::Role { account, role } => {
                found.extend(self.written_by(place, account).map(|target| (target, Objection::Lowered(*role))));
                if *role >= Role::Admin {
                    found.extend(self.outranked(place, account));
                }
            }
            Kind::Add { account, role, .. } if *role >= Role::Admin => found.extend(self.outranked(place, account)),
            Kind::Devices { drop, .. } => {
                let dropped =
                    |target: &usize| self.node(*target).is_some_and(|other| drop.contains(&other.op.author().device));
                found.extend(self.written_by(place, &author.account).filter(dropped).map(|t| (t, Objection::Out)));
            }
            Kind::Freeze { on: true } => {
                let concurrent = self.index.raising.iter().filter(|target| self.index.concurrent(place, **target));
                found.extend(concurrent.map(|target| (*target, Objection::Frozen)));
            }
            Kind::RevokeLink { .. } => {
                let joins = node.link.and_then(|link| self.index.links.get(&link)).map_or(&[][..], |uses| &uses.joins);
                let concurrent = joins.iter().filter(|target| self.index.concurrent(place, **target));
                found.extend(concurrent.map(|target| (*target, Objection::Out)));
            }
            _ => {}
        }
        found
    }

    /// What the account wrote without knowing the operation, and the operation without knowing it. Leaving is exempt.
    fn written_by(&self, place: usize, account: &AccountId) -> impl Iterator<Item = usize> {
        let authored = self.index.concerning(account).map_or(&[][..], |concerning| &concerning.authored);
        let leaves = |target: usize| self.node(target).is_none_or(|n| matches!(n.op.kind(), Kind::Leave { .. }));
        authored.iter().copied().filter(move |target| self.index.concurrent(place, *target) && !leaves(*target))
    }

    /// Removals and roles of the account that do not know the operation.
    fn outranked(&self, place: usize, account: &AccountId) -> impl Iterator<Item = (usize, Objection)> {
        let acting = self.index.concerning(account).map_or(&[][..], |concerning| &concerning.acting);
        let lowers = |target: usize| {
            self.node(target).is_some_and(|n| matches!(n.op.kind(), Kind::Remove { .. } | Kind::Role { .. }))
        };
        acting
            .iter()
            .copied()
            .filter(move |target| self.index.concurrent(place, *target) && lowers(*target))
            .map(|target| (target, Objection::Outranked))
    }

    /// Operations whose judgement looks at this one: it is in their past and concerns what they depend on.
    fn dependents(&self, place: usize) -> Vec<usize> {
        let Some(node) = self.node(place) else {
            return Vec::new();
        };
        let author = node.op.author().account;
        let mut found: Vec<usize> = Vec::new();
        let about = |account: &AccountId, found: &mut Vec<usize>| {
            if let Some(concerning) = self.index.concerning(account) {
                found.extend(&concerning.authored);
                found.extend(&concerning.acting);
                if concerning.may_own {
                    found.extend(&self.index.own_roles);
                }
            }
        };
        let authored = |account: &AccountId| self.index.concerning(account).map_or(&[][..], |c| &c.authored);
        match node.op.kind() {
            Kind::Create { .. } => return self.within.places().filter(|later| *later != place).collect(),
            Kind::Add { account, .. } | Kind::Join { account, .. } | Kind::Role { account, .. } => {
                about(account, &mut found);
            }
            Kind::Remove { accounts, .. } => accounts.iter().for_each(|account| about(account, &mut found)),
            Kind::Leave { .. } => about(&author, &mut found),
            Kind::Devices { .. } => found.extend(authored(&author)),
            Kind::Info(info) if info.add_role.is_some() => {
                let asks = |later: &&usize| {
                    self.node(**later).is_some_and(|n| matches!(n.op.kind(), Kind::Add { .. } | Kind::Join { .. }))
                };
                found.extend(self.index.raising.iter().filter(asks));
            }
            Kind::Freeze { .. } => found.extend(&self.index.raising),
            Kind::Link { .. } => {
                found.extend(self.index.links.get(&place).map_or(&[][..], |uses| &uses.joins));
            }
            Kind::RevokeLink { .. } => {
                let uses = node.link.and_then(|link| self.index.links.get(&link));
                found.extend(uses.map_or(&[][..], |uses| &uses.joins));
            }
            _ => {}
        }
        found.retain(|later| self.index.knows(*later, place));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What the operations of its past say of an operation, of those for which `counts` holds.
    fn evaluate(&self, place: usize, counts: &dyn Fn(usize) -> bool) -> Result<Judgement, Void> {
        let node = self.node(place).ok_or(Void::Unsound)?;
        let has = |earlier: usize| node.past.has(earlier) && counts(earlier);
        let author = node.op.author();
        let kind = node.op.kind();
        if matches!(kind, Kind::Create { .. }) {
            return Ok(Judgement { rank: Role::Owner, need: Role::Reader, raises: false });
        }
        let standing = self.index.standing(&author.account, &has).ok_or(Void::NotMember)?;
        let introductions = self.index.introductions(&author, &standing, &has);
        let in_force =
            |place: &usize| self.index.introduced(*place, &author.device).is_some_and(|d| d.sign == node.key);
        if !introductions.iter().any(in_force) {
            return Err(Void::NotMember);
        }
        let rank = standing.role;
        let role_of = |account: &AccountId| self.index.standing(account, &has).map(|standing| standing.role);
        let add_role = || self.index.setting(&has, |info| info.add_role).unwrap_or(Role::Admin);
        let outside = |account: &AccountId| if role_of(account).is_none() { Ok(()) } else { Err(Void::NotAllowed) };
        let (mut need, mut raises) = (Role::Admin, false);
        match kind {
            Kind::Add { account, role, .. } => {
                outside(account)?;
                raises = true;
                need = match role {
                    Role::Admin | Role::Owner => Role::Owner,
                    Role::Moderator => add_role().max(Role::Admin),
                    Role::Member | Role::Reader if self.index.was_removed(account, &has) => add_role().max(Role::Admin),
                    Role::Member | Role::Reader => add_role(),
                };
            }
            Kind::Join { account, .. } => {
                outside(account)?;
                raises = true;
                let link = node.link.filter(|link| has(*link)).ok_or(Void::NotAllowed)?;
                let revokes = self.index.links.get(&link).map_or(&[][..], |uses| &uses.revokes);
                if revokes.iter().any(|revoke| has(*revoke)) || self.index.was_removed(account, &has) {
                    return Err(Void::NotAllowed);
                }
                let approval = matches!(self.node(link).map(|n| n.op.kind()), Some(Kind::Link { approval: true, .. }));
                need = if approval { add_role() } else { Role::Member };
            }
            Kind::Remove { accounts, .. } => {
                if accounts.contains(&author.account) {
                    return Err(Void::NotAllowed);
                }
                let above = accounts.iter().filter_map(role_of).any(|role| role >= Role::Admin);
                need = if above { Role::Owner } else { Role::Admin };
            }
            Kind::Role { account, role } => {
                let before = role_of(account).ok_or(Void::NotAllowed)?;
                raises = *role > before;
                need = if *account == author.account {
                    self.check_own_role(&author, before, *role, &has)?;
                    Role::Reader
                } else if before.max(*role) >= Role::Admin {
                    Role::Owner
                } else {
                    Role::Admin
                };
            }
            Kind::Devices { add, drop } => {
                let mut ids: BTreeSet<_> = self.index.devices(&author.account, &standing, &has).into_keys().collect();
                ids.retain(|id| !drop.contains(id));
                ids.extend(add.iter().map(|device| device.id));
                if ids.len() > DEVICES_MAX {
                    return Err(Void::NotAllowed);
                }
                need = Role::Reader;
            }
            Kind::Rekey { .. } if node.recipients.len() <= GROUP_FREE_REKEY_DEVICES_MAX => need = Role::Member,
            Kind::Link { role, .. } => {
                raises = true;
                if *role >= Role::Admin {
                    return Err(Void::NotAllowed);
                }
            }
            Kind::Mute { account, .. } => {
                let muted = role_of(account).filter(|_| *account != author.account).ok_or(Void::NotAllowed)?;
                need = match muted {
                    Role::Admin | Role::Owner => Role::Owner,
                    Role::Moderator => Role::Admin,
                    Role::Member | Role::Reader => Role::Moderator,
                };
            }
            Kind::Leave { .. } | Kind::Other | Kind::Create { .. } => need = Role::Reader,
            Kind::Info(_)
            | Kind::Rekey { .. }
            | Kind::RevokeLink { .. }
            | Kind::Freeze { .. }
            | Kind::Checkpoint { .. } => {}
        }
        if rank < need {
            return Err(Void::NotAllowed);
        }
        if raises && self.index.frozen(&has) {
            return Err(Void::Frozen);
        }
        Ok(Judgement { rank, need, raises })
    }

    /// Whoever steps down may, except the only owner.
    fn check_own_role(
        &self,
        author: &GroupDevice,
        before: Role,
        role: Role,
        has: &dyn Fn(usize) -> bool,
    ) -> Result<(), Void> {
        let is_owner = |account: &&AccountId| self.index.standing(account, has).is_some_and(|s| s.role == Role::Owner);
        let others = || self.index.possible_owners().filter(|a| **a != author.account).any(|a| is_owner(&a));
        if role < before && (before < Role::Owner || others()) { Ok(()) } else { Err(Void::NotAllowed) }
    }

    /// Nothing follows from what is decided. What waited only for objections that cannot hit it counts; then what can
    /// have authority in no case is void. When only circles are left, in each that depends on nothing undecided outside
    /// itself the objections by the highest role count: first those whose authority is beyond doubt, else those that
    /// have it if the rest of the circle counts. Where no objection has, none counts.
    fn break_circles(&mut self, open: &[usize]) {
        let edges = self.open_edges(open);
        let unhit: Vec<usize> =
            open.iter().copied().filter(|place| edges.get(place).is_none_or(Vec::is_empty)).collect();
        unhit.iter().for_each(|place| self.decide(*place, matches!(self.judgement(*place), Some(Ok(_)))));
        if !unhit.is_empty() {
            return;
        }
        let hopeless: Vec<usize> = open.iter().copied().filter(|place| !self.can_have_authority(*place)).collect();
        hopeless.iter().for_each(|place| self.decide(*place, false));
        if !hopeless.is_empty() {
            return;
        }
        for circle in sinks(open, &edges) {
            let inside = |place: &usize| circle.binary_search(place).is_ok();
            let objects = |place: &usize| {
                let against = self.against.get(*place).map_or(&[][..], Vec::as_slice);
                against.iter().any(|(target, how)| inside(target) && self.hits(*place, *target, *how) != Some(false))
            };
            let objectors: Vec<usize> = circle.iter().copied().filter(objects).collect();
            let sure = |place: &usize| match self.judgement(*place) {
                Some(Ok(judgement)) => Some((*place, judgement)),
                _ => None,
            };
            let mut candidates: Vec<(usize, Judgement)> = objectors.iter().filter_map(sure).collect();
            if candidates.is_empty() {
                let if_all_counts = |earlier: usize| self.verdict(earlier) != Some(false);
                let judge = |place: &usize| Some((*place, self.evaluate(*place, &if_all_counts).ok()?));
                candidates = objectors.iter().filter_map(judge).collect();
            }
            let Some(rank) = candidates.iter().map(|(_, judgement)| judgement.rank).max() else {
                objectors.iter().for_each(|place| self.decide(*place, false));
                continue;
            };
            for (place, judgement) in candidates.into_iter().filter(|(_, judgement)| judgement.rank == rank) {
                if let Some(slot) = self.judged.get_mut(place) {
                    *slot = Some(Ok(judgement));
                }
                self.broken.insert(place);
                self.decide(place, true);
            }
        }
    }

    /// Whether the author can have the role that the operation needs at least, however the undecided end. Else whoever
    /// may do nothing could void what others do, by operations that wait for each other.
    fn can_have_authority(&self, place: usize) -> bool {
        let Some(node) = self.node(place) else {
            return false;
        };
        let may = |earlier: usize| node.past.has(earlier) && self.verdict(earlier) != Some(false);
        let does = |earlier: usize| node.past.has(earlier) && self.verdict(earlier) == Some(true);
        let author = node.op.author().account;
        let best = self.index.best_role(&author, &may, &does);
        least_need(node.op.kind(), &author).is_some_and(|need| best >= Some(need))
    }

    /// For each undecided operation the undecided ones its verdict depends on.
    fn open_edges(&self, open: &[usize]) -> BTreeMap<usize, Vec<usize>> {
        let mut edges: BTreeMap<usize, Vec<usize>> = open.iter().map(|place| (*place, Vec::new())).collect();
        for place in open {
            for later in self.dependents(*place) {
                if let Some(edges) = edges.get_mut(&later) {
                    edges.push(*place);
                }
            }
            for (target, how) in self.against.get(*place).map_or(&[][..], Vec::as_slice) {
                if let Some(edges) = edges.get_mut(target)
                    && self.hits(*place, *target, *how) != Some(false)
                {
                    edges.push(*place);
                }
            }
        }
        edges
    }

    /// If circles have left no owner: what to void so that the last of them stays.
    fn last_owner(&self) -> Vec<usize> {
        if self.broken.is_empty() {
            return Vec::new();
        }
        // Whoever leaves or steps down does so by himself; that never brings another one back.
        let own = |place: usize| match self.node(place).map(|n| (n.op.author().account, n.op.kind())) {
            Some((_, Kind::Leave { .. })) => true,
            Some((author, Kind::Role { account, .. })) => author == *account,
            _ => false,
        };
        let has = |place: usize| self.verdict(place) == Some(true) && !own(place);
        let is_owner = |account: &AccountId, has: &dyn Fn(usize) -> bool| {
            self.index.standing(account, has).is_some_and(|standing| standing.role == Role::Owner)
        };
        if self.index.possible_owners().any(|account| is_owner(account, &has)) {
            return Vec::new();
        }
        // Those of circles first; one of the others may have followed from them.
        let others = self.within.places().filter(|place| has(*place));
        for pool in [self.broken.iter().copied().collect(), others.collect::<Vec<usize>>()] {
            if let Some(owner) = self.last_lowered_owner(&pool) {
                return pool.into_iter().filter(|other| self.lowers(*other).contains(&owner)).collect();
            }
        }
        Vec::new()
    }

    /// The owner whom the last of these operations by (lamport, id) lowers, of those who were owners in its past.
    fn last_lowered_owner(&self, pool: &[usize]) -> Option<AccountId> {
        let mut pool = pool.to_vec();
        pool.sort_unstable_by_key(|place| std::cmp::Reverse(self.node(*place).map(Node::order)));
        pool.into_iter().find_map(|place| {
            let known = |earlier: usize| self.index.knows(place, earlier) && self.verdict(earlier) == Some(true);
            let owns = |account: &AccountId| {
                self.index.standing(account, &known).is_some_and(|standing| standing.role == Role::Owner)
            };
            self.lowers(place).into_iter().find(owns)
        })
    }

    /// The accounts an operation removes or gives a role below that of an owner.
    fn lowers(&self, place: usize) -> Vec<AccountId> {
        match self.node(place).map(|node| node.op.kind()) {
            Some(Kind::Remove { accounts, .. }) => accounts.clone(),
            Some(Kind::Role { account, role }) if *role < Role::Owner => vec![*account],
            _ => Vec::new(),
        }
    }

    fn resolved(&self) -> Resolved {
        let counts: Bits = self.within.places().filter(|place| self.verdict(*place) == Some(true)).collect();
        let mut objectors: BTreeMap<usize, Vec<(usize, Objection)>> = BTreeMap::new();
        for by in counts.places() {
            for (target, how) in self.against.get(by).map_or(&[][..], Vec::as_slice) {
                if !counts.has(*target) {
                    objectors.entry(*target).or_default().push((by, *how));
                }
            }
        }
        // Judged once more with all verdicts known: an operation may have been voided before it was judged, or not,
        // depending on the order of arrival, and the reason must not.
        let prevailing = |place: usize, judgement: &Judgement| {
            let objectors = objectors.get(&place).map_or(&[][..], Vec::as_slice).iter();
            let hits = objectors.filter(|(by, how)| self.hits_as(*by, judgement, *how));
            hits.filter_map(|(by, _)| self.node(*by)).min_by_key(|node| node.order()).map(|node| node.op.id())
        };
        let reason = |place: usize| {
            if self.spared.contains(&place) {
                Void::LastOwner
            } else if self.node(place).is_none_or(|node| node.unsound) {
                Void::Unsound
            } else if self.spent.contains(&place) {
                Void::LinkSpent
            } else {
                match self.evaluate(place, &|earlier| counts.has(earlier)) {
                    Err(void) => void,
                    Ok(judgement) => prevailing(place, &judgement).map_or(Void::Circle, Void::Against),
                }
            }
        };
        let void = self.within.places().filter(|place| !counts.has(*place)).map(|p| (p, reason(p))).collect();
        Resolved { counts, void }
    }

    fn node(&self, place: usize) -> Option<&'a Node> {
        self.index.nodes.get(place)
    }

    fn verdict(&self, place: usize) -> Option<bool> {
        self.verdicts.get(place).copied().flatten()
    }

    fn judgement(&self, place: usize) -> Option<Result<Judgement, Void>> {
        self.judged.get(place).copied().flatten()
    }
}

/// The role that an operation needs in every state of the group; `None` if none suffices.
fn least_need(kind: &Kind, author: &AccountId) -> Option<Role> {
    match kind {
        Kind::Add { role: Role::Owner | Role::Admin, .. } => Some(Role::Owner),
        Kind::Add { role: Role::Moderator, .. } => Some(Role::Admin),
        Kind::Remove { accounts, .. } if accounts.contains(author) => None,
        Kind::Role { account, .. } if account == author => Some(Role::Reader),
        Kind::Role { role: Role::Owner | Role::Admin, .. } => Some(Role::Owner),
        Kind::Link { role: Role::Owner | Role::Admin, .. } => None,
        Kind::Mute { account, .. } if account == author => None,
        Kind::Mute { .. } => Some(Role::Moderator),
        Kind::Remove { .. }
        | Kind::Role { .. }
        | Kind::Info(_)
        | Kind::Link { .. }
        | Kind::RevokeLink { .. }
        | Kind::Freeze { .. }
        | Kind::Checkpoint { .. } => Some(Role::Admin),
        Kind::Create { .. }
        | Kind::Add { .. }
        | Kind::Join { .. }
        | Kind::Devices { .. }
        | Kind::Leave { .. }
        | Kind::Rekey { .. }
        | Kind::Other => Some(Role::Reader),
    }
}

/// The strongly connected parts that no edge leaves, each ascending (Tarjan, without recursion).
fn sinks(open: &[usize], edges: &BTreeMap<usize, Vec<usize>>) -> Vec<Vec<usize>> {
    #[derive(Clone, Copy)]
    struct Mark {
        number: usize,
        low: usize,
        on_stack: bool,
        leaves: bool,
    }
    let mut marks: BTreeMap<usize, Mark> = BTreeMap::new();
    let (mut stack, mut found, mut next) = (Vec::new(), Vec::new(), 0);
    for root in open {
        if marks.contains_key(root) {
            continue;
        }
        let mut path: Vec<(usize, usize)> = vec![(*root, 0)];
        while let Some((place, edge)) = path.pop() {
            if edge == 0 {
                marks.insert(place, Mark { number: next, low: next, on_stack: true, leaves: false });
                next += 1;
                stack.push(place);
            }
            let targets = edges.get(&place).map_or(&[][..], Vec::as_slice);
            let Some(mut mark) = marks.get(&place).copied() else {
                continue;
            };
            if let Some(target) = targets.get(edge) {
                match marks.get(target) {
                    None => {
                        path.push((place, edge + 1));
                        path.push((*target, 0));
                        continue;
                    }
                    Some(other) if other.on_stack => mark.low = mark.low.min(other.number),
                    Some(_) => mark.leaves = true,
                }
                marks.insert(place, mark);
                path.push((place, edge + 1));
                continue;
            }
            let mut part_leaves = mark.leaves;
            if mark.low == mark.number {
                let mut part = Vec::new();
                while let Some(member) = stack.pop() {
                    if let Some(mark) = marks.get_mut(&member) {
                        mark.on_stack = false;
                        part_leaves |= mark.leaves;
                    }
                    part.push(member);
                    if member == place {
                        break;
                    }
                }
                part.sort_unstable();
                if !part_leaves {
                    found.push(part);
                }
            }
            if let Some(parent) = path.last().and_then(|(parent, _)| marks.get_mut(parent)) {
                if mark.low == mark.number {
                    parent.leaves = true;
                } else {
                    parent.low = parent.low.min(mark.low);
                }
            }
        }
    }
    found
}
