//! The rules of membership read literally, without any regard to cost: what the fast resolution is compared with.
//!
//! Shares nothing with `resolve.rs` and `standing.rs` but the types of operations. Pasts are whole tables, every
//! question scans every operation, circles are found by the transitive closure.

use std::collections::{BTreeMap, BTreeSet};

use super::membership::{Member, Membership};
use super::operation::{DeviceKeys, Kind, Operation, Role};
use crate::crypto::ed25519::VerifyingKey;
use crate::ids::{AccountId, DeviceId, GroupDevice, OperationId};

pub(super) struct Model<'a> {
    ops: Vec<&'a Operation>,
    places: BTreeMap<OperationId, usize>,
    /// `past[a][b]`: a knows b.
    past: Vec<Vec<bool>>,
    keys: Vec<VerifyingKey>,
    recipients: Vec<usize>,
}

/// What the model says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) roster: BTreeMap<AccountId, Member>,
    pub(super) void: BTreeSet<OperationId>,
    pub(super) key_heads: BTreeSet<OperationId>,
    pub(super) heads: BTreeSet<OperationId>,
    pub(super) links: BTreeMap<OperationId, Option<u32>>,
    pub(super) frozen: bool,
    pub(super) muted: BTreeMap<AccountId, u64>,
    pub(super) name: Option<String>,
}

impl Said {
    /// The same of what the fast resolution says.
    pub(super) fn of(membership: &Membership) -> Self {
        Self {
            roster: membership.roster.clone(),
            void: membership.void.keys().copied().collect(),
            key_heads: membership.key_heads.clone(),
            heads: membership.heads.clone(),
            links: membership.links.iter().map(|(id, link)| (*id, link.left)).collect(),
            frozen: membership.frozen,
            muted: membership.muted.clone(),
            name: membership.info.name.clone(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct View {
    rank: Role,
    need: Role,
    raises: bool,
}

/// What an operation's view looks at.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    In(AccountId),
    Devices(AccountId),
    AddRole,
    Freeze,
    Link(OperationId),
    Owners,
}

type Has<'h> = &'h dyn Fn(usize) -> bool;

impl<'a> Model<'a> {
    /// Operations with parents first; `recipients` says for how many devices a rekey is.
    pub(super) fn new(ops: Vec<&'a Operation>, recipients: impl Fn(&OperationId) -> usize) -> Self {
        let places: BTreeMap<OperationId, usize> = (0..).zip(&ops).map(|(at, op)| (op.id(), at)).collect();
        let mut past: Vec<Vec<bool>> = Vec::new();
        for op in &ops {
            let mut row = vec![false; ops.len()];
            for parent in op.parents() {
                let parent = places[parent];
                row[parent] = true;
                (0..parent).for_each(|earlier| row[earlier] |= past[parent][earlier]);
            }
            past.push(row);
        }
        let recipients = ops.iter().map(|op| recipients(&op.id())).collect();
        let mut model = Self { ops, places, past, keys: Vec::new(), recipients };
        model.keys = (0..model.ops.len()).map(|o| model.key(o)).collect();
        model
    }

    fn all(&self) -> std::ops::Range<usize> {
        0..self.ops.len()
    }

    fn kind(&self, o: usize) -> &'a Kind {
        self.ops[o].kind()
    }

    fn author(&self, o: usize) -> GroupDevice {
        self.ops[o].author()
    }

    fn order(&self, o: usize) -> (u64, OperationId) {
        (self.ops[o].lamport(), self.ops[o].id())
    }

    fn apart(&self, a: usize, b: usize) -> bool {
        a != b && !self.past[a][b] && !self.past[b][a]
    }

    fn key(&self, o: usize) -> VerifyingKey {
        let candidates = self.all().filter(|p| self.past[o][*p] || *p == o && o == 0);
        candidates
            .filter(|p| self.subject_of_devices(*p) == Some(self.author(o).account))
            .filter_map(|p| self.given(p, &self.author(o).device))
            .map(|device| device.sign)
            .find(|key| self.ops[o].is_signed_by(key))
            .unwrap()
    }

    fn subject_of_devices(&self, o: usize) -> Option<AccountId> {
        match self.kind(o) {
            Kind::Add { account, .. } | Kind::Join { account, .. } => Some(*account),
            Kind::Create { .. } | Kind::Devices { .. } => Some(self.author(o).account),
            _ => None,
        }
    }

    fn given(&self, o: usize, device: &DeviceId) -> Option<&'a DeviceKeys> {
        self.kind(o).devices().iter().find(|keys| keys.id == *device)
    }

    // ---------- the state a set of operations gives

    fn link_of(&self, o: usize) -> Option<usize> {
        match self.kind(o) {
            Kind::Join { link, .. } | Kind::RevokeLink { link } => {
                self.places.get(link).copied().filter(|p| self.past[o][*p])
            }
            _ => None,
        }
    }

    fn entry(&self, o: usize, who: &AccountId) -> Option<Role> {
        match self.kind(o) {
            Kind::Create { .. } if self.author(o).account == *who => Some(Role::Owner),
            Kind::Add { account, role, .. } if account == who => Some(*role),
            Kind::Join { account, .. } if account == who => match self.link_of(o).map(|l| self.kind(l)) {
                Some(Kind::Link { role, .. }) => Some(*role),
                _ => None,
            },
            _ => None,
        }
    }

    fn is_exit(&self, o: usize, who: &AccountId) -> bool {
        match self.kind(o) {
            Kind::Remove { accounts, .. } => accounts.contains(who),
            Kind::Leave { .. } => self.author(o).account == *who,
            _ => false,
        }
    }

    fn entries(&self, who: &AccountId, has: Has) -> Vec<usize> {
        let exits: Vec<usize> = self.all().filter(|k| has(*k) && self.is_exit(*k, who)).collect();
        self.all()
            .filter(|i| has(*i) && self.entry(*i, who).is_some() && exits.iter().all(|k| self.past[*i][*k]))
            .collect()
    }

    fn role(&self, who: &AccountId, has: Has) -> Option<Role> {
        let entries = self.entries(who, has);
        let given: Vec<(usize, Role)> = self
            .all()
            .filter(|o| has(*o))
            .filter_map(|o| match self.kind(o) {
                Kind::Role { account, role } if account == who => {
                    entries.iter().any(|e| self.past[o][*e]).then_some((o, *role))
                }
                _ => entries.contains(&o).then(|| (o, self.entry(o, who).unwrap())),
            })
            .collect();
        let last = |o: &usize| !given.iter().any(|(later, _)| self.past[*later][*o]);
        given.iter().filter(|(o, _)| last(o)).map(|(_, role)| *role).min()
    }

    fn introductions(&self, who: &GroupDevice, has: Has) -> Vec<usize> {
        let entries = self.entries(&who.account, has);
        let own_delta =
            |o: usize| has(o) && matches!(self.kind(o), Kind::Devices { .. }) && self.author(o).account == who.account;
        let drops = |k: usize| matches!(self.kind(k), Kind::Devices { drop, .. } if drop.contains(&who.device));
        let stands: Vec<usize> = self
            .all()
            .filter(|i| self.given(*i, &who.device).is_some())
            .filter(|i| entries.contains(i) || own_delta(*i) && entries.iter().any(|e| self.past[*i][*e]))
            .filter(|i| self.all().filter(|k| own_delta(*k) && drops(*k)).all(|k| k == *i || self.past[*i][k]))
            .collect();
        stands.iter().copied().filter(|i| !stands.iter().any(|later| self.past[*later][*i])).collect()
    }

    fn devices(&self, who: &AccountId, has: Has) -> Vec<DeviceKeys> {
        let named = self.all().filter(|o| self.subject_of_devices(*o) == Some(*who));
        let ids: BTreeSet<DeviceId> = named.flat_map(|o| self.kind(o).devices()).map(|device| device.id).collect();
        ids.into_iter()
            .filter_map(|device| {
                let found = self.introductions(&GroupDevice { account: *who, device }, has);
                let last = found.into_iter().max_by_key(|o| self.order(*o))?;
                Some(self.given(last, &device).unwrap().clone())
            })
            .collect()
    }

    fn add_role(&self, has: Has) -> Role {
        let set = |o: usize| match self.kind(o) {
            Kind::Info(info) | Kind::Create { info, .. } => info.add_role,
            _ => None,
        };
        let last = self.all().filter(|o| has(*o) && set(*o).is_some()).max_by_key(|o| self.order(*o));
        last.and_then(set).unwrap_or(Role::Admin)
    }

    fn frozen(&self, has: Has) -> bool {
        let freeze = |o: usize, wanted: bool| has(o) && matches!(self.kind(o), Kind::Freeze { on } if *on == wanted);
        self.all().filter(|f| freeze(*f, true)).any(|f| !self.all().any(|l| freeze(l, false) && self.past[l][f]))
    }

    fn removed_once(&self, who: &AccountId, has: Has) -> bool {
        self.all().any(|o| has(o) && matches!(self.kind(o), Kind::Remove { accounts, .. } if accounts.contains(who)))
    }

    fn accounts(&self) -> BTreeSet<AccountId> {
        let entered = self.all().filter_map(|o| match self.kind(o) {
            Kind::Devices { .. } => None,
            _ => self.subject_of_devices(o),
        });
        entered.collect()
    }

    // ---------- what an operation's past says of it

    fn view(&self, o: usize, counts: Has) -> Option<View> {
        if o == 0 {
            return Some(View { rank: Role::Owner, need: Role::Reader, raises: false });
        }
        let has = |p: usize| self.past[o][p] && counts(p);
        let has: Has = &has;
        let author = self.author(o);
        let rank = self.role(&author.account, has)?;
        let keys = self.introductions(&author, has);
        if !keys.iter().any(|i| self.given(*i, &author.device).unwrap().sign == self.keys[o]) {
            return None;
        }
        let role = |who: &AccountId| self.role(who, has);
        let high = |role: Option<Role>| role >= Some(Role::Admin);
        let either = |owner: bool| if owner { Role::Owner } else { Role::Admin };
        let (need, raises) = match self.kind(o) {
            Kind::Add { account, role: given, .. } => {
                if role(account).is_some() {
                    return None;
                }
                let least = match given {
                    Role::Owner | Role::Admin => Role::Owner,
                    Role::Moderator => Role::Admin.max(self.add_role(has)),
                    _ if self.removed_once(account, has) => Role::Admin.max(self.add_role(has)),
                    _ => self.add_role(has),
                };
                (least, true)
            }
            Kind::Join { account, .. } => {
                let link = self.link_of(o)?;
                let revoked = self.all().any(|r| {
                    has(r) && matches!(self.kind(r), Kind::RevokeLink { .. }) && self.link_of(r) == Some(link)
                });
                if role(account).is_some() || !has(link) || revoked || self.removed_once(account, has) {
                    return None;
                }
                match self.kind(link) {
                    Kind::Link { approval: true, .. } => (self.add_role(has), true),
                    _ => (Role::Member, true),
                }
            }
            Kind::Remove { accounts, .. } => {
                if accounts.contains(&author.account) {
                    return None;
                }
                (either(accounts.iter().any(|who| high(role(who)))), false)
            }
            Kind::Role { account, role: given } if *account == author.account => {
                let another = self.accounts().iter().any(|a| a != account && role(a) == Some(Role::Owner));
                if *given >= rank || rank == Role::Owner && !another {
                    return None;
                }
                (Role::Reader, false)
            }
            Kind::Role { account, role: given } => {
                let before = role(account)?;
                (either(high(Some(before)) || high(Some(*given))), *given > before)
            }
            Kind::Devices { add, drop } => {
                let mut ids: BTreeSet<DeviceId> = self.devices(&author.account, has).iter().map(|d| d.id).collect();
                drop.iter().for_each(|id| {
                    ids.remove(id);
                });
                ids.extend(add.iter().map(|d| d.id));
                if ids.len() > 16 {
                    return None;
                }
                (Role::Reader, false)
            }
            Kind::Rekey { .. } => (if self.recipients[o] <= 64 { Role::Member } else { Role::Admin }, false),
            Kind::Link { role, .. } => {
                if high(Some(*role)) {
                    return None;
                }
                (Role::Admin, true)
            }
            Kind::Mute { account, .. } => {
                if *account == author.account {
                    return None;
                }
                match role(account)? {
                    Role::Owner | Role::Admin => (Role::Owner, false),
                    Role::Moderator => (Role::Admin, false),
                    _ => (Role::Moderator, false),
                }
            }
            Kind::Leave { .. } | Kind::Other | Kind::Create { .. } => (Role::Reader, false),
            Kind::Info(_) | Kind::RevokeLink { .. } | Kind::Freeze { .. } | Kind::Checkpoint { .. } => {
                (Role::Admin, false)
            }
        };
        (rank >= need && !(raises && self.frozen(has))).then_some(View { rank, need, raises })
    }

    fn reads(&self, o: usize) -> BTreeSet<Topic> {
        let author = self.author(o).account;
        let mut topics = BTreeSet::from([Topic::In(author), Topic::Devices(author)]);
        match self.kind(o) {
            Kind::Add { account, .. } => topics.extend([Topic::In(*account), Topic::AddRole, Topic::Freeze]),
            Kind::Join { account, link, .. } => {
                topics.extend([Topic::In(*account), Topic::AddRole, Topic::Freeze, Topic::Link(*link)]);
            }
            Kind::Remove { accounts, .. } => topics.extend(accounts.iter().map(|a| Topic::In(*a))),
            Kind::Role { account, .. } => {
                topics.extend([Topic::In(*account), Topic::Freeze]);
                if *account == author {
                    topics.insert(Topic::Owners);
                }
            }
            Kind::Link { .. } => topics.extend([Topic::Freeze]),
            Kind::Mute { account, .. } => topics.extend([Topic::In(*account)]),
            _ => {}
        }
        topics
    }

    fn writes(&self, o: usize) -> BTreeSet<Topic> {
        let who: Vec<AccountId> = match self.kind(o) {
            Kind::Create { .. } | Kind::Leave { .. } => vec![self.author(o).account],
            Kind::Add { account, .. } | Kind::Join { account, .. } | Kind::Role { account, .. } => vec![*account],
            Kind::Remove { accounts, .. } => accounts.clone(),
            _ => Vec::new(),
        };
        // A link makes nobody an owner, whatever role it names.
        let may_own = |who: &AccountId| {
            self.all().any(|p| match self.kind(p) {
                Kind::Create { .. } => self.author(p).account == *who,
                Kind::Add { account, role, .. } | Kind::Role { account, role } => {
                    account == who && *role == Role::Owner
                }
                _ => false,
            })
        };
        let mut topics: BTreeSet<Topic> = who.iter().map(|who| Topic::In(*who)).collect();
        if who.iter().any(may_own) {
            topics.insert(Topic::Owners);
        }
        match self.kind(o) {
            Kind::Devices { .. } => drop(topics.insert(Topic::Devices(self.author(o).account))),
            Kind::Info(info) if info.add_role.is_some() => drop(topics.insert(Topic::AddRole)),
            Kind::Freeze { .. } => drop(topics.insert(Topic::Freeze)),
            Kind::Link { .. } => drop(topics.insert(Topic::Link(self.ops[o].id()))),
            Kind::RevokeLink { link } => drop(topics.insert(Topic::Link(*link))),
            _ => {}
        }
        topics
    }

    // ---------- what speaks against what

    /// Whether `r` voids `o`, should it count: `None` if it has nothing to say, else a test of both views.
    fn objects(&self, r: usize, o: usize, view_r: Option<View>, view_o: Option<View>) -> Option<Option<bool>> {
        if !self.apart(r, o) {
            return None;
        }
        let author = self.author(o);
        let mut said: Vec<Option<bool>> = Vec::new();
        let by_account = |who: &AccountId| author.account == *who && !matches!(self.kind(o), Kind::Leave { .. });
        let lowers_account = |who: &AccountId| match self.kind(o) {
            Kind::Remove { accounts, .. } => accounts.contains(who),
            Kind::Role { account, .. } => account == who,
            _ => false,
        };
        let outranked = view_o.map(|o| o.rank < Role::Owner);
        match self.kind(r) {
            Kind::Remove { accounts, .. } if accounts.iter().any(by_account) => said.push(Some(true)),
            Kind::Role { account, role } => {
                if by_account(account) {
                    said.push(view_o.map(|o| *role < o.need));
                }
                if *role >= Role::Admin && lowers_account(account) {
                    said.push(outranked);
                }
            }
            Kind::Add { account, role, .. } if *role >= Role::Admin && lowers_account(account) => said.push(outranked),
            Kind::Devices { drop, .. } if by_account(&self.author(r).account) && drop.contains(&author.device) => {
                said.push(Some(true));
            }
            Kind::Freeze { on: true }
                if matches!(
                    self.kind(o),
                    Kind::Add { .. } | Kind::Join { .. } | Kind::Role { .. } | Kind::Link { .. }
                ) =>
            {
                said.push(view_o.map(|o| o.raises && view_r.is_none_or(|r| r.rank >= o.rank)));
            }
            Kind::RevokeLink { .. }
                if matches!(self.kind(o), Kind::Join { .. })
                    && self.link_of(r).is_some()
                    && self.link_of(r) == self.link_of(o) =>
            {
                said.push(Some(true));
            }
            _ => {}
        }
        if said.is_empty() {
            return None;
        }
        Some(if said.contains(&Some(true)) {
            Some(true)
        } else if said.contains(&None) {
            None
        } else {
            Some(false)
        })
    }

    // ---------- the verdicts

    fn unsound(&self, o: usize) -> bool {
        let heads_bad =
            self.kind(o).heads().unwrap_or_default().iter().any(|head| {
                !self.places.get(head).is_some_and(|p| self.past[o][*p] && self.kind(*p).heads().is_some())
            });
        let join_bad = match self.kind(o) {
            Kind::Join { link, account, devices, proof, .. } => match self.link_of(o).map(|l| self.kind(l)) {
                Some(Kind::Link { key, .. }) => {
                    let group = self.ops[0].group();
                    !super::operation::verify_join(key, &group, link, account, devices, proof)
                }
                _ => true,
            },
            _ => false,
        };
        heads_bad || join_bad
    }

    fn spent(&self, o: usize) -> bool {
        let Kind::Join { account, .. } = self.kind(o) else {
            return false;
        };
        let Some(Kind::Link { uses, .. }) = self.link_of(o).map(|l| self.kind(l)) else {
            return false;
        };
        let mut joins: Vec<usize> = self
            .all()
            .filter(|j| matches!(self.kind(*j), Kind::Join { .. }) && self.link_of(*j) == self.link_of(o))
            .filter(|j| !self.unsound(*j))
            .collect();
        joins.sort_by_key(|j| self.order(*j));
        let mut firsts: Vec<AccountId> = Vec::new();
        for join in joins {
            if let Kind::Join { account, .. } = self.kind(join)
                && !firsts.contains(account)
            {
                firsts.push(*account);
            }
        }
        *uses != 0 && !firsts.iter().take(*uses as usize).any(|first| first == account)
    }

    /// Whether the author is below what such an operation needs at least, however the undecided end.
    fn hopeless(&self, o: usize, verdict: &[Option<bool>]) -> bool {
        let author = self.author(o).account;
        let may = |p: usize| self.past[o][p] && verdict[p] != Some(false);
        let exits: Vec<usize> =
            self.all().filter(|k| self.past[o][*k] && verdict[*k] == Some(true) && self.is_exit(*k, &author)).collect();
        let stands =
            |e: usize| may(e) && self.entry(e, &author).is_some() && exits.iter().all(|exit| self.past[e][*exit]);
        let best = self.all().filter_map(|p| match self.kind(p) {
            Kind::Role { account, role } if *account == author && may(p) => {
                self.all().any(|e| self.past[p][e] && stands(e)).then_some(*role)
            }
            _ => self.entry(p, &author).filter(|_| stands(p)),
        });
        let own = |account: &AccountId| *account == author;
        let need = match self.kind(o) {
            Kind::Remove { accounts, .. } if accounts.contains(&author) => return true,
            Kind::Link { role, .. } if *role >= Role::Admin => return true,
            Kind::Mute { account, .. } if own(account) => return true,
            Kind::Role { account, .. } if own(account) => Role::Reader,
            Kind::Add { role, .. } | Kind::Role { role, .. } if *role >= Role::Admin => Role::Owner,
            Kind::Add { role: Role::Moderator, .. } | Kind::Role { .. } | Kind::Remove { .. } | Kind::Info(_) => {
                Role::Admin
            }
            Kind::Link { .. } | Kind::RevokeLink { .. } | Kind::Freeze { .. } | Kind::Checkpoint { .. } => Role::Admin,
            Kind::Mute { .. } => Role::Moderator,
            _ => Role::Reader,
        };
        best.max().is_none_or(|best| best < need)
    }

    fn verdicts(&self, forced: &BTreeSet<usize>) -> (Vec<bool>, BTreeSet<usize>) {
        let reads: Vec<BTreeSet<Topic>> = self.all().map(|o| self.reads(o)).collect();
        let writes: Vec<BTreeSet<Topic>> = self.all().map(|o| self.writes(o)).collect();
        let looks = |o: usize, p: usize| self.past[o][p] && (p == 0 || !reads[o].is_disjoint(&writes[p]));
        let mut verdict: Vec<Option<bool>> =
            self.all().map(|o| (forced.contains(&o) || self.unsound(o) || self.spent(o)).then_some(false)).collect();
        let mut views: Vec<Option<View>> = vec![None; self.ops.len()];
        let mut broken = BTreeSet::new();
        loop {
            let mut progress = false;
            for o in self.all().filter(|o| verdict[*o].is_none()).collect::<Vec<_>>() {
                if views[o].is_none() && self.all().all(|p| !looks(o, p) || verdict[p].is_some()) {
                    views[o] = self.view(o, &|p| verdict[p] == Some(true));
                    progress = true; // what it speaks against may be clear by that
                    if views[o].is_none() {
                        verdict[o] = Some(false);
                        continue;
                    }
                }
                let objection = |r: usize| self.objects(r, o, views[r], views[o]);
                if self.all().any(|r| verdict[r] == Some(true) && objection(r) == Some(Some(true))) {
                    (verdict[o], progress) = (Some(false), true);
                } else if views[o].is_some()
                    && self.all().all(|r| verdict[r].is_some() || matches!(objection(r), None | Some(Some(false))))
                {
                    (verdict[o], progress) = (Some(true), true);
                }
            }
            if progress {
                continue;
            }
            let open: Vec<usize> = self.all().filter(|o| verdict[*o].is_none()).collect();
            if open.is_empty() {
                return (verdict.into_iter().map(|v| v == Some(true)).collect(), broken);
            }
            let hopeless: Vec<usize> = open.iter().copied().filter(|o| self.hopeless(*o, &verdict)).collect();
            hopeless.iter().for_each(|o| verdict[*o] = Some(false));
            if !hopeless.is_empty() {
                continue;
            }
            // Which undecided operation depends on which, directly or not.
            let mut reach = vec![vec![false; self.ops.len()]; self.ops.len()];
            let says = |r: usize, o: usize| matches!(self.objects(r, o, views[r], views[o]), Some(None | Some(true)));
            for o in &open {
                for p in &open {
                    reach[*o][*p] = looks(*o, *p) || says(*p, *o);
                }
            }
            for middle in &open {
                for from in &open {
                    if reach[*from][*middle] {
                        for to in &open {
                            reach[*from][*to] |= reach[*middle][*to];
                        }
                    }
                }
            }
            let mut decided: Vec<(usize, bool, Option<View>)> = Vec::new();
            for o in &open {
                let circle: Vec<usize> = open.iter().copied().filter(|p| *p == *o || reach[*o][*p]).collect();
                let alone = circle.iter().all(|p| *p == *o || reach[*p][*o]);
                if !alone {
                    continue;
                }
                let against: Vec<usize> =
                    circle.iter().copied().filter(|r| circle.iter().any(|target| says(*r, *target))).collect();
                let sure: Vec<(usize, View)> = against.iter().filter_map(|r| Some((*r, views[*r]?))).collect();
                let chosen = if sure.is_empty() {
                    against.iter().filter_map(|r| Some((*r, self.view(*r, &|p| verdict[p] != Some(false))?))).collect()
                } else {
                    sure
                };
                match chosen.iter().map(|(_, view)| view.rank).max() {
                    None => decided.extend(against.iter().map(|r| (*r, false, None))),
                    Some(top) => decided.extend(
                        chosen.iter().filter(|(_, view)| view.rank == top).map(|(r, view)| (*r, true, Some(*view))),
                    ),
                }
            }
            assert!(!decided.is_empty());
            for (o, counts, view) in decided {
                verdict[o] = Some(counts);
                if counts {
                    views[o] = view;
                    broken.insert(o);
                }
            }
        }
    }

    pub(super) fn said(&self) -> Said {
        let mut forced = BTreeSet::new();
        let mut counts;
        let mut tries = 0;
        loop {
            let broken;
            (counts, broken) = self.verdicts(&forced);
            tries += 1;
            if tries > 8 {
                break;
            }
            let by_itself = |o: usize| match self.kind(o) {
                Kind::Leave { .. } => true,
                Kind::Role { account, .. } => *account == self.author(o).account,
                _ => false,
            };
            let owner = |who: &AccountId, has: Has| self.role(who, has) == Some(Role::Owner);
            if broken.is_empty() || self.accounts().iter().any(|a| owner(a, &|o| counts[o] && !by_itself(o))) {
                break;
            }
            let lowered = |o: usize| match self.kind(o) {
                Kind::Remove { accounts, .. } => accounts.clone(),
                Kind::Role { account, role } if *role < Role::Owner => vec![*account],
                _ => vec![],
            };
            let last_owner = |pool: &[usize]| {
                let mut last = pool.to_vec();
                last.sort_by_key(|o| std::cmp::Reverse(self.order(*o)));
                last.iter()
                    .find_map(|o| lowered(*o).into_iter().find(|who| owner(who, &|p| self.past[*o][p] && counts[p])))
            };
            let circles: Vec<usize> = broken.iter().copied().collect();
            let others: Vec<usize> = self.all().filter(|o| counts[*o] && !by_itself(*o)).collect();
            let spared = last_owner(&circles).map(|who| (who, &circles));
            let Some((spared, pool)) = spared.or_else(|| Some((last_owner(&others)?, &others))) else {
                break;
            };
            forced.extend(pool.iter().copied().filter(|o| lowered(*o).contains(&spared)));
        }
        self.say(&counts)
    }

    fn say(&self, counts: &[bool]) -> Said {
        let has: Has = &|o| counts[o];
        let id = |o: usize| self.ops[o].id();
        let member = |who: AccountId| {
            let role = self.role(&who, has)?;
            let first = self.entries(&who, has).into_iter().min_by_key(|o| self.order(*o)).unwrap();
            let added_by = self.author(first).account;
            Some((who, Member { role, devices: self.devices(&who, has), since: id(first), added_by }))
        };
        let roster: BTreeMap<AccountId, Member> = self.accounts().into_iter().filter_map(member).collect();
        let key = |o: usize| counts[o] && self.kind(o).heads().is_some();
        let builds_on = |later: usize, o: usize| self.kind(later).heads().unwrap().contains(&id(o));
        let link = |o: usize| {
            let Kind::Link { uses, .. } = self.kind(o) else {
                return None;
            };
            let revoked =
                |r: usize| counts[r] && matches!(self.kind(r), Kind::RevokeLink { .. }) && self.link_of(r) == Some(o);
            if !counts[o] || self.all().any(revoked) {
                return None;
            }
            let used: BTreeSet<AccountId> = self
                .all()
                .filter(|j| self.link_of(*j) == Some(o) && !self.unsound(*j))
                .filter_map(|j| match self.kind(j) {
                    Kind::Join { account, .. } => Some(*account),
                    _ => None,
                })
                .collect();
            let left = if *uses == 0 { None } else { Some(uses.saturating_sub(used.len().try_into().unwrap())) };
            Some((id(o), left))
        };
        let muted = |who: &AccountId| {
            let is_mute =
                |o: &usize| counts[*o] && matches!(self.kind(*o), Kind::Mute { account, .. } if account == who);
            match self.kind(self.all().filter(is_mute).max_by_key(|o| self.order(*o))?) {
                Kind::Mute { until_ms, .. } if *until_ms != 0 => Some((*who, *until_ms)),
                _ => None,
            }
        };
        let named = |o: usize| match self.kind(o) {
            Kind::Info(info) | Kind::Create { info, .. } => info.name.clone(),
            _ => None,
        };
        Said {
            void: self.all().filter(|o| !counts[*o]).map(id).collect(),
            key_heads: self
                .all()
                .filter(|o| key(*o) && !self.all().any(|later| key(later) && builds_on(later, *o)))
                .map(id)
                .collect(),
            heads: self.all().filter(|o| !self.all().any(|later| self.past[later][*o])).map(id).collect(),
            links: self.all().filter_map(link).collect(),
            frozen: self.frozen(has),
            muted: roster.keys().filter_map(muted).collect(),
            name: self
                .all()
                .filter(|o| counts[*o] && named(*o).is_some())
                .max_by_key(|o| self.order(*o))
                .and_then(named),
            roster,
        }
    }
}
