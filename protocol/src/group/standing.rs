//! What a set of operations says about one account: whether it is in, as what, with which devices.
//!
//! The set is given as a question, `has(place)`, so that the same rules answer for an operation's causal past, for a
//! past whose verdicts are still open, and for the whole group. All of them are strong removals: an entry stands only
//! if it knows every exit, a device only if its introduction knows every drop, and of roles given without knowledge of
//! each other the least counts.

use std::collections::BTreeMap;

use super::bits::Bits;
use super::graph::Node;
use super::operation::{DeviceKeys, Kind, Role};
use crate::ids::{AccountId, DeviceId, GroupDevice};

/// Which operations concern whom; built once for a resolution.
pub(super) struct Index<'a> {
    pub(super) nodes: &'a [Node],
    accounts: BTreeMap<AccountId, Concerning>,
    /// Settings and creation, by (lamport, id).
    pub(super) infos: Vec<usize>,
    pub(super) freezes: Vec<usize>,
    /// Operations that may add to anybody's power, and are void under a freeze.
    pub(super) raising: Vec<usize>,
    /// What somebody does to his own role.
    pub(super) own_roles: Vec<usize>,
    /// By the place of the link.
    pub(super) links: BTreeMap<usize, LinkUses>,
}

/// Operations that concern one account, in the order they came.
#[derive(Default)]
pub(super) struct Concerning {
    /// Entries, exits and roles.
    pub(super) changes: Vec<usize>,
    /// Changes of its devices.
    pub(super) deltas: Vec<usize>,
    /// What it wrote.
    pub(super) authored: Vec<usize>,
    /// What others do to it, entries included.
    pub(super) acting: Vec<usize>,
    /// Whether any operation would make it an owner; a link makes nobody one.
    pub(super) may_own: bool,
}

/// Operations that concern one link, in the order they came.
#[derive(Default)]
pub(super) struct LinkUses {
    pub(super) revokes: Vec<usize>,
    pub(super) joins: Vec<usize>,
}

/// The standing of a member.
pub(super) struct Standing {
    pub(super) role: Role,
    /// The entries that stand.
    pub(super) entries: Vec<usize>,
}

/// What an operation does to the standing of an account.
enum Change {
    In(Role),
    Out,
    Set(Role),
}

impl<'a> Index<'a> {
    /// Looks at the operations `within`.
    pub(super) fn new(nodes: &'a [Node], within: &Bits) -> Self {
        let mut index = Self {
            nodes,
            accounts: BTreeMap::new(),
            infos: Vec::new(),
            freezes: Vec::new(),
            raising: Vec::new(),
            own_roles: Vec::new(),
            links: BTreeMap::new(),
        };
        for place in within.places() {
            if let Some(node) = nodes.get(place) {
                index.enter(place, node);
            }
        }
        let order = |place: &usize| nodes.get(*place).map(Node::order);
        index.infos.sort_unstable_by_key(order);
        index
    }

    fn enter(&mut self, place: usize, node: &Node) {
        let author = node.op.author().account;
        self.accounts.entry(author).or_default().authored.push(place);
        let mut change = |account: &AccountId, to: Option<Role>, acting: bool| {
            let concerning = self.accounts.entry(*account).or_default();
            concerning.changes.push(place);
            concerning.may_own |= to == Some(Role::Owner);
            if acting {
                concerning.acting.push(place);
            }
        };
        match node.op.kind() {
            Kind::Create { .. } => {
                change(&author, Some(Role::Owner), false);
                self.infos.push(place);
            }
            Kind::Add { account, role, .. } => {
                change(account, Some(*role), true);
                self.raising.push(place);
            }
            Kind::Remove { accounts, .. } => accounts.iter().for_each(|account| change(account, None, true)),
            Kind::Role { account, role } => {
                change(account, Some(*role), true);
                self.raising.push(place);
                if *account == author {
                    self.own_roles.push(place);
                }
            }
            Kind::Devices { .. } => self.accounts.entry(author).or_default().deltas.push(place),
            Kind::Leave { .. } => change(&author, None, false),
            Kind::Info(_) => self.infos.push(place),
            Kind::Link { .. } => self.raising.push(place),
            Kind::RevokeLink { .. } => {
                if let Some(link) = node.link {
                    self.links.entry(link).or_default().revokes.push(place);
                }
            }
            Kind::Join { account, .. } => {
                change(account, None, true);
                self.raising.push(place);
                if let Some(link) = node.link {
                    self.links.entry(link).or_default().joins.push(place);
                }
            }
            Kind::Freeze { .. } => self.freezes.push(place),
            Kind::Mute { account, .. } => self.accounts.entry(*account).or_default().acting.push(place),
            Kind::Rekey { .. } | Kind::Checkpoint { .. } | Kind::Other => {}
        }
    }

    pub(super) fn concerning(&self, account: &AccountId) -> Option<&Concerning> {
        self.accounts.get(account)
    }

    /// Every account any operation concerns.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &AccountId> {
        self.accounts.keys()
    }

    /// Accounts some operation would make an owner.
    pub(super) fn possible_owners(&self) -> impl Iterator<Item = &AccountId> {
        self.accounts.iter().filter(|(_, concerning)| concerning.may_own).map(|(account, _)| account)
    }

    /// The standing of an account; `None` if it is out.
    ///
    /// Linear in what concerns the account.
    pub(super) fn standing(&self, account: &AccountId, has: &dyn Fn(usize) -> bool) -> Option<Standing> {
        let changes: Vec<(usize, Change)> = self
            .accounts
            .get(account)?
            .changes
            .iter()
            .filter(|place| has(**place))
            .filter_map(|place| Some((*place, self.change(*place)?)))
            .collect();
        // The latest exit first: it is the one an older entry does not know.
        let exits: Vec<usize> =
            changes.iter().rev().filter(|(_, change)| matches!(change, Change::Out)).map(|(place, _)| *place).collect();
        let entries: Vec<usize> = changes
            .iter()
            .filter(|(place, change)| {
                matches!(change, Change::In(_)) && exits.iter().all(|exit| self.knows(*place, *exit))
            })
            .map(|(place, _)| *place)
            .collect();
        let role = self.least_role(&changes, &entries)?;
        Some(Standing { role, entries })
    }

    /// Of the roles nothing later overrides the least; a role given before an exit does not come back with an entry.
    fn least_role(&self, changes: &[(usize, Change)], entries: &[usize]) -> Option<Role> {
        let mut overridden = Bits::default();
        let mut least = None;
        for (place, change) in changes.iter().rev() {
            let role = match change {
                Change::In(role) if entries.contains(place) => *role,
                Change::Set(role) if entries.iter().any(|entry| self.knows(*place, *entry)) => *role,
                _ => continue,
            };
            if overridden.has(*place) {
                continue;
            }
            if let Some(node) = self.nodes.get(*place) {
                overridden.add_all(&node.past);
            }
            least = Some(least.map_or(role, |least: Role| least.min(role)));
        }
        least
    }

    /// The highest role the account can have if entries and roles are among those that `may` count, and exits are those
    /// that `does` says count.
    pub(super) fn best_role(
        &self,
        account: &AccountId,
        may: &dyn Fn(usize) -> bool,
        does: &dyn Fn(usize) -> bool,
    ) -> Option<Role> {
        let changes: Vec<(usize, Change)> =
            self.accounts.get(account)?.changes.iter().filter_map(|at| Some((*at, self.change(*at)?))).collect();
        let stands = |entry: usize| {
            let exits = changes.iter().filter(|(exit, change)| matches!(change, Change::Out) && does(*exit));
            may(entry) && exits.into_iter().all(|(exit, _)| self.knows(entry, *exit))
        };
        let entries: Vec<usize> = changes
            .iter()
            .filter(|(place, change)| matches!(change, Change::In(_)) && stands(*place))
            .map(|(place, _)| *place)
            .collect();
        let given = changes.iter().filter_map(|(place, change)| match change {
            Change::In(role) => entries.contains(place).then_some(*role),
            Change::Set(role) => {
                (may(*place) && entries.iter().any(|entry| self.knows(*place, *entry))).then_some(*role)
            }
            Change::Out => None,
        });
        given.max()
    }

    fn change(&self, place: usize) -> Option<Change> {
        let node = self.nodes.get(place)?;
        match node.op.kind() {
            Kind::Create { .. } => Some(Change::In(Role::Owner)),
            Kind::Add { role, .. } => Some(Change::In(*role)),
            Kind::Join { .. } => Some(Change::In(node.joins_as?)),
            Kind::Remove { .. } | Kind::Leave { .. } => Some(Change::Out),
            Kind::Role { role, .. } => Some(Change::Set(*role)),
            _ => None,
        }
    }

    /// Whether others put the account out once; then no link and no mere member brings it back.
    pub(super) fn was_removed(&self, account: &AccountId, has: &dyn Fn(usize) -> bool) -> bool {
        let removes =
            |place: &usize| self.nodes.get(*place).is_some_and(|n| matches!(n.op.kind(), Kind::Remove { .. }));
        self.accounts.get(account).is_some_and(|c| c.changes.iter().any(|place| has(*place) && removes(place)))
    }

    /// The introductions of a device that stand and that no later one replaces.
    pub(super) fn introductions(
        &self,
        who: &GroupDevice,
        standing: &Standing,
        has: &dyn Fn(usize) -> bool,
    ) -> Vec<usize> {
        let deltas: Vec<usize> = self.deltas(&who.account, has).collect();
        let drops: Vec<usize> = deltas.iter().rev().copied().filter(|place| self.drops(*place, &who.device)).collect();
        let mut found: Vec<usize> = standing
            .entries
            .iter()
            .copied()
            .chain(deltas.iter().copied().filter(|d| standing.entries.iter().any(|entry| self.knows(*d, *entry))))
            .filter(|place| self.introduced(*place, &who.device).is_some())
            .filter(|place| drops.iter().all(|drop| drop == place || self.knows(*place, *drop)))
            .collect();
        found.sort_unstable();
        let mut overridden = Bits::default();
        let mut standing = Vec::new();
        for place in found.into_iter().rev() {
            if !overridden.has(place) {
                standing.push(place);
                if let Some(node) = self.nodes.get(place) {
                    overridden.add_all(&node.past);
                }
            }
        }
        standing
    }

    /// The devices of a member, by id, with the keys that were given last.
    pub(super) fn devices(
        &self,
        account: &AccountId,
        standing: &Standing,
        has: &dyn Fn(usize) -> bool,
    ) -> BTreeMap<DeviceId, &'a DeviceKeys> {
        let mut ids: Vec<DeviceId> = standing
            .entries
            .iter()
            .copied()
            .chain(self.deltas(account, has))
            .filter_map(|place| self.nodes.get(place))
            .flat_map(|node| node.op.kind().devices())
            .map(|device| device.id)
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter()
            .filter_map(|device| {
                let who = GroupDevice { account: *account, device };
                let last = self
                    .introductions(&who, standing, has)
                    .into_iter()
                    .max_by_key(|place| self.nodes.get(*place).map(Node::order))?;
                Some((device, self.introduced(last, &device)?))
            })
            .collect()
    }

    fn deltas(&self, account: &AccountId, has: &dyn Fn(usize) -> bool) -> impl Iterator<Item = usize> {
        let deltas = self.accounts.get(account).map_or(&[][..], |concerning| &concerning.deltas);
        deltas.iter().copied().filter(move |place| has(*place))
    }

    pub(super) fn introduced(&self, place: usize, device: &DeviceId) -> Option<&'a DeviceKeys> {
        let nodes: &'a [Node] = self.nodes;
        nodes.get(place)?.op.kind().devices().iter().find(|keys| keys.id == *device)
    }

    pub(super) fn drops(&self, place: usize, device: &DeviceId) -> bool {
        let kind = self.nodes.get(place).map(|node| node.op.kind());
        matches!(kind, Some(Kind::Devices { drop, .. }) if drop.contains(device))
    }

    /// Whether `earlier` is in the causal past of `place`.
    pub(super) fn knows(&self, place: usize, earlier: usize) -> bool {
        self.nodes.get(place).is_some_and(|node| node.past.has(earlier))
    }

    pub(super) fn concurrent(&self, a: usize, b: usize) -> bool {
        a != b && !self.knows(a, b) && !self.knows(b, a)
    }

    /// The last setting of something.
    pub(super) fn setting<T>(
        &self,
        has: &dyn Fn(usize) -> bool,
        of: impl Fn(&'a super::operation::Info) -> Option<T>,
    ) -> Option<T> {
        let nodes: &'a [Node] = self.nodes;
        self.infos.iter().rev().filter(|place| has(**place)).find_map(|place| match nodes.get(*place)?.op.kind() {
            Kind::Info(info) | Kind::Create { info, .. } => of(info),
            _ => None,
        })
    }

    /// Whether a freeze is on that nobody who knew it has lifted.
    pub(super) fn frozen(&self, has: &dyn Fn(usize) -> bool) -> bool {
        let is = |place: usize, wanted: bool| {
            let kind = self.nodes.get(place).map(|node| node.op.kind());
            matches!(kind, Some(Kind::Freeze { on }) if *on == wanted)
        };
        let known: Vec<usize> = self.freezes.iter().copied().filter(|place| has(*place)).collect();
        let mut lifts = known.iter().rev().filter(|lift| is(**lift, false)).peekable();
        if lifts.peek().is_none() {
            return known.iter().any(|place| is(*place, true));
        }
        let mut lifted = Bits::default();
        for lift in lifts {
            if let Some(node) = self.nodes.get(*lift) {
                lifted.add_all(&node.past);
            }
        }
        known.iter().any(|place| is(*place, true) && !lifted.has(*place))
    }
}
