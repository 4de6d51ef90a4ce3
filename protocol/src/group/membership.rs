//! What a group's operations say together: who is in, as what, and what a sender has to know.
//!
//! Built from the set alone; equal sets give equal values. Nothing here keeps time: whether a link has expired or a
//! member is still muted is for whoever asks.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use super::bits::Bits;
use super::graph::Node;
use super::operation::{DeviceKeys, Info, Kind, Role};
use super::resolve::Resolved;
pub use super::resolve::Void;
use super::standing::Index;
use crate::crypto::ed25519::VerifyingKey;
use crate::crypto::fields;
use crate::crypto::hash::hash;
use crate::ids::{AccountId, DeviceId, GroupDevice, OperationId};

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// What it may do.
    pub role: Role,
    /// Its devices, ascending by id. Empty when its devices dropped each other.
    pub devices: Vec<DeviceKeys>,
    /// The operation that brought it in; of several the first by (lamport, id).
    pub since: OperationId,
    /// Who wrote that operation; the founder himself for the founder.
    pub added_by: AccountId,
}

/// A link by which people may join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Whoever holds the secret of this key holds the link.
    pub key: VerifyingKey,
    /// Accounts it may still let in; `None`: as many as like.
    pub left: Option<u32>,
    /// The last day it is good for; 0 if it does not expire.
    pub expires_day: u32,
    /// What it makes of those who join.
    pub role: Role,
    /// Whether somebody who may add members has to let them in.
    pub approval: bool,
}

/// What a group's operations say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Who is in.
    pub roster: BTreeMap<AccountId, Member>,
    /// The settings in force.
    pub info: Info,
    /// Links that are good, by the operation that made them.
    pub links: BTreeMap<OperationId, Link>,
    /// Whether nobody is to be added, raised or invited.
    pub frozen: bool,
    /// Members not to be heard, and until when.
    pub muted: BTreeMap<AccountId, u64>,
    /// Operations without effect.
    pub void: BTreeMap<OperationId, Void>,
    /// Key operations that count and that none that counts builds on. Together they give the key to send under.
    pub key_heads: BTreeSet<OperationId>,
    /// Removals, departures and dropped devices that no fresh key under the heads has shut out yet: whoever sends
    /// rekeys first. (Who else can know a key is answered by the graph of keys.)
    pub unkeyed: BTreeSet<OperationId>,
    /// Operations that none follows, void ones too: the parents of the next one.
    pub heads: BTreeSet<OperationId>,
    /// The last checkpoint that counts, by (lamport, id).
    pub checkpoint: Option<OperationId>,
    /// Devices that wrote two operations without knowledge of each other: a copied device, or a liar. Only shown.
    pub forked: BTreeSet<GroupDevice>,
}

impl Membership {
    pub(super) fn build(nodes: &[Node], within: &Bits, resolved: &Resolved) -> Self {
        let index = Index::new(nodes, within);
        let has = |place: usize| resolved.counts.has(place);
        let id_of = |place: &usize| nodes.get(*place).map(|node| node.op.id());
        let roster: BTreeMap<AccountId, Member> =
            index.accounts().filter_map(|account| Some((*account, member(&index, account, &has)?))).collect();
        let mut followed = Bits::default();
        for node in within.places().filter_map(|place| nodes.get(place)) {
            followed.add_all(&node.past);
        }
        let key_heads = key_heads(nodes, resolved);
        Self {
            info: settings(&index, &has),
            links: links(&index, resolved),
            frozen: index.frozen(&has),
            muted: muted(&index, resolved, &roster),
            void: resolved.void.iter().filter_map(|(place, why)| Some((id_of(place)?, *why))).collect(),
            unkeyed: unkeyed(nodes, resolved, &key_heads, &roster),
            key_heads: key_heads.iter().filter_map(id_of).collect(),
            heads: within.places().filter(|place| !followed.has(*place)).filter_map(|place| id_of(&place)).collect(),
            checkpoint: checkpoint(nodes, resolved),
            forked: forked(nodes, within),
            roster,
        }
    }

    /// One value for everything that all members have to agree on: what a checkpoint says. Docs/wire-format.md, §10.
    pub fn digest(&self) -> [u8; 32] {
        let device = |keys: &DeviceKeys| [&keys.id.0[..], keys.sign.as_bytes(), keys.agree.as_bytes()].concat();
        let member = |(account, member): (&AccountId, &Member)| {
            let devices: Vec<u8> = member.devices.iter().flat_map(device).collect();
            fields(&[account.as_bytes(), &[member.role as u8], member.since.as_bytes(), &devices])
        };
        let roster: Vec<u8> = self.roster.iter().flat_map(member).collect();
        let muted: Vec<u8> =
            self.muted.iter().flat_map(|(account, until)| [&account.0[..], &until.to_be_bytes()].concat()).collect();
        let left = |link: &Link| link.left.unwrap_or(u32::MAX).to_be_bytes();
        let links: Vec<u8> = self.links.iter().flat_map(|(id, link)| [&id.0[..], &left(link)].concat()).collect();
        let void: Vec<u8> = self.void.keys().flat_map(|id| id.0).collect();
        let key_heads: Vec<u8> = self.key_heads.iter().flat_map(|id| id.0).collect();
        let info = self.info.to_proto().encode_to_vec();
        let frozen = [u8::from(self.frozen)];
        hash("silbo/1/group/state", &[&roster, &info, &frozen, &muted, &links, &void, &key_heads])
    }

    /// Every device of every member, ascending.
    pub fn devices(&self) -> impl Iterator<Item = GroupDevice> {
        self.roster.iter().flat_map(|(account, member)| {
            member.devices.iter().map(|device| GroupDevice { account: *account, device: device.id })
        })
    }

    /// The keys of a member's device.
    pub fn device(&self, who: &GroupDevice) -> Option<&DeviceKeys> {
        self.roster.get(&who.account)?.devices.iter().find(|device| device.id == who.device)
    }

    /// The account, those it brought in, those they brought in, and so on, ascending: what a removal names that is to
    /// take the whole branch out. What one of them adds unseen is void by the removal of its author.
    pub fn branch(&self, account: &AccountId) -> BTreeSet<AccountId> {
        let mut branch = BTreeSet::from([*account]);
        loop {
            let before = branch.len();
            let brought = |member: &Member| branch.contains(&member.added_by);
            let more: Vec<AccountId> =
                self.roster.iter().filter(|(_, member)| brought(member)).map(|(account, _)| *account).collect();
            branch.extend(more);
            if branch.len() == before {
                return branch;
            }
        }
    }
}

fn member(index: &Index, account: &AccountId, has: &dyn Fn(usize) -> bool) -> Option<Member> {
    let standing = index.standing(account, has)?;
    let first = standing.entries.iter().filter_map(|place| index.nodes.get(*place)).min_by_key(|node| node.order())?;
    let devices = index.devices(account, &standing, has).into_values().cloned().collect();
    Some(Member { role: standing.role, devices, since: first.op.id(), added_by: first.op.author().account })
}

fn settings(index: &Index, has: &dyn Fn(usize) -> bool) -> Info {
    Info {
        name: index.setting(has, |info| info.name.clone()),
        topic: index.setting(has, |info| info.topic.clone()),
        avatar: index.setting(has, |info| info.avatar.clone()),
        retention_s: index.setting(has, |info| info.retention_s),
        history_days: index.setting(has, |info| info.history_days),
        add_role: index.setting(has, |info| info.add_role),
        send_role: index.setting(has, |info| info.send_role),
        delete_role: index.setting(has, |info| info.delete_role),
        slow_s: index.setting(has, |info| info.slow_s),
    }
}

fn links(index: &Index, resolved: &Resolved) -> BTreeMap<OperationId, Link> {
    let mut links = BTreeMap::new();
    for place in resolved.counts.places() {
        let Some(node) = index.nodes.get(place) else {
            continue;
        };
        let Kind::Link { key, uses, expires_day, role, approval } = node.op.kind() else {
            continue;
        };
        let of_link = index.links.get(&place);
        if of_link.is_some_and(|link| link.revokes.iter().any(|revoke| resolved.counts.has(*revoke))) {
            continue;
        }
        // Those who came too late do not use it up further.
        let used: BTreeSet<&AccountId> = of_link
            .map_or(&[][..], |link| &link.joins)
            .iter()
            .filter_map(|join| index.nodes.get(*join))
            .filter(|join| !join.unsound)
            .filter_map(|join| match join.op.kind() {
                Kind::Join { account, .. } => Some(account),
                _ => None,
            })
            .collect();
        let left = (*uses != 0).then(|| uses.saturating_sub(u32::try_from(used.len()).unwrap_or(u32::MAX)));
        let link = Link { key: *key, left, expires_day: *expires_day, role: *role, approval: *approval };
        links.insert(node.op.id(), link);
    }
    links
}

fn muted(index: &Index, resolved: &Resolved, roster: &BTreeMap<AccountId, Member>) -> BTreeMap<AccountId, u64> {
    let mut last: BTreeMap<AccountId, ((u64, OperationId), u64)> = BTreeMap::new();
    for node in resolved.counts.places().filter_map(|place| index.nodes.get(place)) {
        if let Kind::Mute { account, until_ms } = node.op.kind() {
            let entry = last.entry(*account).or_insert((node.order(), *until_ms));
            if node.order() > entry.0 {
                *entry = (node.order(), *until_ms);
            }
        }
    }
    let in_force = |(account, (_, until)): (AccountId, (_, u64))| {
        (until != 0 && roster.contains_key(&account)).then_some((account, until))
    };
    last.into_iter().filter_map(in_force).collect()
}

/// Key operations that count and that none that counts builds on.
///
/// By what they name, not by causal order: a key that knew of a removal's rekey but does not build on it must not
/// hide it.
fn key_heads(nodes: &[Node], resolved: &Resolved) -> BTreeSet<usize> {
    let keys = |place: &usize| nodes.get(*place).filter(|node| node.op.kind().heads().is_some());
    let mut heads: BTreeSet<usize> = resolved.counts.places().filter(|place| keys(place).is_some()).collect();
    // Among operations that count, naming is transitive by itself: each of them takes what it names away.
    for named in resolved.counts.places().filter_map(|place| keys(&place)).flat_map(|node| &node.heads) {
        heads.remove(named);
    }
    heads
}

fn unkeyed(
    nodes: &[Node],
    resolved: &Resolved,
    key_heads: &BTreeSet<usize>,
    roster: &BTreeMap<AccountId, Member>,
) -> BTreeSet<OperationId> {
    let rekeys = rekeys_under(nodes, key_heads);
    let device_in = |who: &GroupDevice| {
        roster.get(&who.account).is_some_and(|member| member.devices.iter().any(|device| device.id == who.device))
    };
    let shut_out = |place: usize, author: &GroupDevice, kind: &Kind| {
        rekeys.iter().filter(|rekey| rekey.past.has(place)).any(|rekey| {
            let excluded = |account: &AccountId, device: Option<&DeviceId>| {
                !rekey.recipients.iter().any(|to| {
                    to.account == *account && device.is_none_or(|device| to.device == *device) && !device_in(to)
                })
            };
            match kind {
                Kind::Remove { accounts, .. } => accounts.iter().all(|account| excluded(account, None)),
                Kind::Devices { drop, .. } => drop.iter().all(|device| excluded(&author.account, Some(device))),
                _ => excluded(&author.account, None),
            }
        })
    };
    resolved
        .counts
        .places()
        .filter_map(|place| Some((place, nodes.get(place)?)))
        .filter(|(_, node)| match node.op.kind() {
            Kind::Remove { .. } | Kind::Leave { .. } => true,
            Kind::Devices { drop, .. } => !drop.is_empty(),
            _ => false,
        })
        .filter(|(place, node)| !shut_out(*place, &node.op.author(), node.op.kind()))
        .map(|(_, node)| node.op.id())
        .collect()
}

/// The rekeys whose secret is needed for the keys of the heads: those reached without passing another rekey.
fn rekeys_under<'a>(nodes: &'a [Node], key_heads: &BTreeSet<usize>) -> Vec<&'a Node> {
    let (mut seen, mut found) = (key_heads.clone(), Vec::new());
    let mut todo: Vec<usize> = key_heads.iter().copied().collect();
    while let Some(node) = todo.pop().and_then(|place| nodes.get(place)) {
        if matches!(node.op.kind(), Kind::Rekey { .. }) {
            found.push(node);
            continue;
        }
        todo.extend(node.heads.iter().copied().filter(|head| seen.insert(*head)));
    }
    found
}

fn checkpoint(nodes: &[Node], resolved: &Resolved) -> Option<OperationId> {
    let counting = resolved.counts.places().filter_map(|place| nodes.get(place));
    let checkpoints = counting.filter(|node| matches!(node.op.kind(), Kind::Checkpoint { .. }));
    checkpoints.max_by_key(|node| node.order()).map(|node| node.op.id())
}

fn forked(nodes: &[Node], within: &Bits) -> BTreeSet<GroupDevice> {
    let mut last: BTreeMap<GroupDevice, usize> = BTreeMap::new();
    let mut forked = BTreeSet::new();
    for place in within.places() {
        if let Some(node) = nodes.get(place) {
            // In an order in which parents come first, a device that never forked follows its last operation.
            if let Some(before) = last.insert(node.op.author(), place)
                && !node.past.has(before)
            {
                forked.insert(node.op.author());
            }
        }
    }
    forked
}
