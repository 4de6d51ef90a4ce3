//! Random groups in partitions: all who hold the same heads hold the same key, and nobody outside can work it out.
//!
//! Every device runs a real ring. Whatever it ever held is written down, and for each message the holdings of all
//! devices that were not in the sender's roster, before and after, are put together and closed under everything that
//! can be computed from them. The key of the message must not be among it. Who is a member is decided by a small
//! model of the rules of membership: enough of them to make additions and rekeys void, to remove at the same time,
//! and to add again. `SILBO_SEEDS` says how many groups are tried.

use std::collections::{BTreeMap, BTreeSet};

use super::epoch::EpochSecret;
use super::key_graph::{KeyKind, KeyOperation, epoch_of};
use super::key_ring::{KeyError, KeyRing};
use super::properties::seeds;
use super::test_group::{GROUP, Holder, device};
use crate::chance::Chance;
use crate::crypto::Secret;
use crate::ids::{EpochId, GroupDevice, OperationId};

const DEVICES_MAX: u64 = 32;
const OPERATIONS_MAX: u64 = 128;

/// Most devices and operations of a group: one in sixteen is large, so that a debug build gets through many.
fn size(seed: u64) -> (u64, u64) {
    if seed % 16 == 15 { (DEVICES_MAX, OPERATIONS_MAX) } else { (10, 48) }
}

/// A set of operations by their place in [`World::all`].
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Places([u64; 3]);

impl Places {
    fn has(&self, place: usize) -> bool {
        self.0[place / 64] >> (place % 64) & 1 == 1
    }

    /// `false` if it was there.
    fn add(&mut self, place: usize) -> bool {
        let absent = !self.has(place);
        self.0[place / 64] |= 1 << (place % 64);
        absent
    }

    fn iter(self) -> impl Iterator<Item = usize> {
        (0..192).filter(move |&place| self.has(place))
    }
}

/// An operation with what the model of membership knows of it.
struct Known {
    operation: KeyOperation,
    heads: Vec<usize>,
    named: Vec<usize>,
    author: usize,
    removed: BTreeSet<usize>,
    x: Secret<32>,
    /// Everything its author knew, itself included.
    past: Places,
}

struct Person {
    holder: Holder,
    has: Places,
    ever: BTreeMap<EpochId, Secret<32>>,
    ever_x: BTreeSet<usize>,
}

struct Sent {
    epoch: EpochId,
    key: Secret<32>,
    outside: Vec<usize>,
}

struct World {
    chance: Chance,
    all: Vec<Known>,
    people: Vec<Person>,
    /// Every set of heads that was ever merged.
    merges: BTreeSet<Vec<OperationId>>,
    sent: Vec<Sent>,
    rekeyed_to_send: u32,
    complements: u32,
    seed: u64,
}

/// What a set of operations says.
struct View {
    roster: BTreeSet<usize>,
    heads: Vec<OperationId>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut chance = Chance::from_seed(bytes);
        let count = 3 + chance.below(size(seed).0 - 2);
        let people = (0..count)
            .map(|n| Person {
                holder: Holder::new(n as u16),
                has: Places::default(),
                ever: BTreeMap::new(),
                ever_x: BTreeSet::new(),
            })
            .collect();
        let mut world = Self {
            chance,
            all: Vec::new(),
            people,
            merges: BTreeSet::new(),
            sent: Vec::new(),
            rekeyed_to_send: 0,
            complements: 0,
            seed,
        };
        world.make(0, KeyKind::Genesis, &[0], BTreeSet::new());
        world
    }

    fn view(&self, has: &Places) -> View {
        let rekeys: Vec<usize> = has.iter().filter(|&e| self.all[e].operation.kind == KeyKind::Rekey).collect();
        let unseen_removal = |o: usize, except: &dyn Fn(usize) -> bool| {
            rekeys.iter().any(|&e| {
                self.all[e].removed.contains(&self.all[o].author)
                    && !self.all[e].past.has(o)
                    && !self.all[o].past.has(e)
                    && !except(e)
            })
        };
        // What somebody does while being removed is void; of two who remove each other, both removals stand.
        let mutual = |o: usize| move |e: usize| self.all[o].removed.contains(&self.all[e].author);
        let mut counts = Places::default();
        for o in has.iter().filter(|&o| !unseen_removal(o, &mutual(o))) {
            counts.add(o);
        }
        if counts == Places::default() {
            counts = *has;
        }
        let mut below = Places::default();
        let mut open: Vec<usize> = counts.iter().collect();
        while let Some(o) = open.pop() {
            open.extend(self.all[o].heads.iter().filter(|&&head| below.add(head)));
        }
        let mut heads: Vec<OperationId> =
            counts.iter().filter(|&o| !below.has(o)).map(|o| self.all[o].operation.id).collect();
        heads.sort_unstable();
        let removals: Vec<usize> = counts.iter().filter(|&e| !self.all[e].removed.is_empty()).collect();
        let stays =
            |d: usize, o: usize| removals.iter().all(|&e| !self.all[e].removed.contains(&d) || self.all[o].past.has(e));
        let mut roster = BTreeSet::new();
        for o in counts.iter().filter(|&o| self.all[o].operation.kind != KeyKind::Rekey) {
            roster.extend(self.all[o].named.iter().filter(|&&d| stays(d, o)));
        }
        View { roster, heads }
    }

    /// `author` makes an operation on the heads it knows.
    fn make(&mut self, author: usize, kind: KeyKind, named: &[usize], removed: BTreeSet<usize>) -> usize {
        let view = self.view(&self.people[author].has);
        let mut devices: Vec<GroupDevice> = named.iter().map(|&d| device(d as u16)).collect();
        devices.sort_unstable();
        let heads = if kind == KeyKind::Genesis { Vec::new() } else { view.heads };
        let operation = KeyOperation { id: OperationId(self.chance.bytes()), kind, heads, devices };
        let place = self.all.len();
        let mut past = self.people[author].has;
        past.add(place);
        let heads = operation.heads.iter();
        let heads = heads.map(|id| self.all.iter().position(|known| known.operation.id == *id).unwrap()).collect();
        let x = Secret::random(&mut self.chance);
        self.all.push(Known { operation, heads, named: named.to_vec(), author, removed, x, past });
        self.tell(author, place);
        place
    }

    fn tell(&mut self, who: usize, place: usize) {
        let person = &mut self.people[who];
        if !person.has.add(place) {
            return;
        }
        let known = &self.all[place];
        person.holder.learn(&known.operation, &known.x);
        if known.operation.kind != KeyKind::Forward && known.operation.devices.contains(&person.holder.me) {
            person.ever_x.insert(place);
        }
        if known.operation.heads.len() > 1 {
            self.merges.insert(known.operation.heads.clone());
        }
        self.note(who);
    }

    /// Writes down all that a device holds.
    fn note(&mut self, who: usize) {
        let Person { holder, ever, .. } = &mut self.people[who];
        for (id, epoch) in holder.ring.epochs() {
            ever.entry(*id).or_insert_with(|| epoch.join.clone());
        }
    }

    /// `to` gets what `from` knows, and the keys it is entitled to.
    fn meet(&mut self, from: usize, to: usize) {
        let had = self.people[to].has;
        for place in self.people[from].has.iter().filter(|&place| !had.has(place)) {
            self.tell(to, place);
        }
        let view = self.view(&self.people[to].has);
        if self.merge(to, &view.heads) || !self.view(&self.people[from].has).roster.contains(&to) {
            return;
        }
        // As many welcomes as help, then the complement for the current heads.
        let additions: Vec<OperationId> = self.people[to].holder.ring.pending.iter().copied().collect();
        for id in additions {
            let told = self.people[from].holder.ring.welcome(&id, &device(to as u16));
            self.take(to, told);
        }
        if !self.merge(to, &view.heads) && view.heads.len() > 1 {
            let told = self.people[from].holder.ring.complement(&view.heads, &device(to as u16));
            self.complements += u32::from(told.is_ok());
            self.take(to, told);
        }
    }

    fn take(&mut self, who: usize, told: Result<super::key_ring::HeadSecret, KeyError>) {
        if let Ok(told) = told
            && let Ok(changes) = self.people[who].holder.ring.accept(&told)
        {
            self.people[who].holder.apply(changes);
            self.note(who);
        }
    }

    /// Whether the key of these heads is held, or can be made.
    fn merge(&mut self, who: usize, heads: &[OperationId]) -> bool {
        let holder = &mut self.people[who].holder;
        if holder.ring.epoch(&epoch_of(heads)).is_some() {
            return true;
        }
        let Ok(changes) = holder.ring.merge(heads) else {
            return false;
        };
        holder.apply(changes);
        self.merges.insert(heads.to_vec());
        self.note(who);
        true
    }

    /// A member writes: on the heads it knows if that is safe, after a rekey otherwise.
    fn write(&mut self, who: usize) {
        let mut view = self.view(&self.people[who].has);
        let roster: BTreeSet<GroupDevice> = view.roster.iter().map(|&d| device(d as u16)).collect();
        let held = self.merge(who, &view.heads);
        if !held || self.people[who].holder.ring.graph().must_rekey(&view.heads, &roster) {
            self.rekey(who, &BTreeSet::new());
            self.rekeyed_to_send += 1;
            view = self.view(&self.people[who].has);
            let graph = self.people[who].holder.ring.graph();
            assert!(!graph.must_rekey(&view.heads, &roster), "after a rekey it is safe");
        }
        let epoch = epoch_of(&view.heads);
        let key = self.people[who].holder.ring.epoch(&epoch).unwrap().join.clone();
        let outside = (0..self.people.len()).filter(|d| !view.roster.contains(d)).collect();
        self.sent.push(Sent { epoch, key, outside });
    }

    fn rekey(&mut self, who: usize, removed: &BTreeSet<usize>) {
        let view = self.view(&self.people[who].has);
        let stay: Vec<usize> = view.roster.difference(removed).copied().collect();
        self.make(who, KeyKind::Rekey, &stay, removed.clone());
    }

    fn add(&mut self, who: usize, newcomer: usize) {
        let view = self.view(&self.people[who].has);
        if view.heads.len() > 1 && !self.merge(who, &view.heads) {
            return; // it would not hold the key of its own addition
        }
        let place = self.make(who, KeyKind::Forward, &[newcomer], BTreeSet::new());
        let id = self.all[place].operation.id;
        for place in self.people[who].has.iter() {
            self.tell(newcomer, place);
        }
        let told = self.people[who].holder.ring.welcome(&id, &device(newcomer as u16));
        self.take(newcomer, told);
    }

    fn run(&mut self) {
        let operations = 8 + self.chance.below(size(self.seed).1 - 7) as usize;
        // In how many parts people are apart; those of one part meet often.
        let parts = 1 + self.chance.below(4) as usize;
        for turn in 0.. {
            let who = self.chance.below(self.people.len() as u64) as usize;
            let view = self.view(&self.people[who].has);
            if self.all.len() >= operations || turn > 40 * operations {
                return;
            }
            if !view.roster.contains(&who) {
                continue;
            }
            match self.chance.below(10) {
                0 | 1 => {
                    let newcomer = self.chance.below(self.people.len() as u64) as usize;
                    if !view.roster.contains(&newcomer) {
                        self.add(who, newcomer);
                    }
                }
                2 => {
                    let mut removed = BTreeSet::new();
                    for _ in 0..self.chance.below(3) {
                        let who_goes = self.chance.below(self.people.len() as u64) as usize;
                        if view.roster.contains(&who_goes) && who_goes != who && view.roster.len() > 2 {
                            removed.insert(who_goes);
                        }
                    }
                    self.rekey(who, &removed);
                }
                3..=5 => self.write(who),
                _ => {
                    let other = self.chance.below(self.people.len() as u64) as usize;
                    if other != who && (other % parts == who % parts || self.chance.below(12) == 0) {
                        self.meet(who, other);
                        self.meet(other, who);
                    }
                }
            }
        }
    }

    /// Everybody meets; whoever cannot follow gets a rekey; then all members hold one key.
    fn heal(&mut self) {
        for who in 0..self.people.len() {
            for place in 0..self.all.len() {
                self.tell(who, place);
            }
        }
        let view = self.view(&self.people[0].has);
        for &who in &view.roster {
            self.merge(who, &view.heads);
        }
        if let Some(&author) = view.roster.first() {
            let roster: BTreeSet<GroupDevice> = view.roster.iter().map(|&d| device(d as u16)).collect();
            let epoch = epoch_of(&view.heads);
            let holders = self.people[author].holder.ring.graph().holders(&view.heads).unwrap();
            for &who in &view.roster {
                for &by in &view.roster {
                    self.meet(by, who);
                }
                let holds = self.people[who].holder.ring.epoch(&epoch).is_some();
                let somebody_has_all = view.roster.iter().any(|&by| {
                    let ring = &self.people[by].holder.ring;
                    view.heads.iter().all(|head| ring.epoch(&epoch_of(&[*head])).is_some())
                });
                if holders.contains(&device(who as u16)) && somebody_has_all && view.heads.len() > 1 {
                    assert!(holds, "a member that may be told is told");
                }
            }
            self.write(author);
            let after = self.view(&self.people[author].has);
            let place = self.all.len() - 1;
            for &who in &view.roster {
                self.tell(who, place);
            }
            let last = &self.all[place].operation;
            let for_all =
                last.kind == KeyKind::Rekey && last.devices.iter().copied().collect::<BTreeSet<_>>() == roster;
            if for_all && after.heads == [last.id] {
                let holds = |who: &usize| self.people[*who].holder.ring.epoch(&epoch_of(&after.heads)).is_some();
                assert!(view.roster.iter().all(holds), "a rekey for everybody reaches everybody");
            }
        }
    }

    /// All who hold an epoch hold the same one.
    fn check_equal_keys(&self) {
        let mut seen: BTreeMap<EpochId, &Secret<32>> = BTreeMap::new();
        for person in &self.people {
            for (id, join) in &person.ever {
                assert_eq!(*seen.entry(*id).or_insert(join), join, "{id}");
            }
        }
        for person in &self.people {
            let ring = &person.holder.ring;
            assert!(ring.epochs.iter().all(|(id, epoch)| person.ever[id] == epoch.join), "a key does not change");
            let operations: Vec<KeyOperation> = ring.graph().operations().collect();
            assert_eq!(KeyRing::decode(&ring.encode(), &operations).as_ref(), Some(ring));
        }
    }

    /// What devices can compute together of all they ever held.
    fn closure(&self, coalition: &[usize]) -> BTreeMap<EpochId, Secret<32>> {
        let mut known: BTreeMap<EpochId, Secret<32>> = BTreeMap::new();
        for &who in coalition {
            known.extend(self.people[who].ever.iter().map(|(id, join)| (*id, join.clone())));
            for &place in &self.people[who].ever_x {
                let Known { operation, x, .. } = &self.all[place];
                let id = epoch_of(&[operation.id]);
                known.insert(id, EpochSecret::fresh(x, &operation.id).unfold(&GROUP, &id).join);
            }
        }
        loop {
            let before = known.len();
            for heads in &self.merges {
                let joins: Option<Vec<&Secret<32>>> = heads.iter().map(|head| known.get(&epoch_of(&[*head]))).collect();
                if let Some(joins) = joins {
                    let id = epoch_of(heads);
                    let join = EpochSecret::merged(heads, &joins).unfold(&GROUP, &id).join;
                    known.entry(id).or_insert(join);
                }
            }
            for Known { operation, .. } in &self.all {
                let base = known.get(&epoch_of(&operation.heads));
                if let Some(base) = base.filter(|_| operation.kind == KeyKind::Forward) {
                    let id = epoch_of(&[operation.id]);
                    let join = EpochSecret::forward(base, &operation.id).unfold(&GROUP, &id).join;
                    known.entry(id).or_insert(join);
                }
            }
            if known.len() == before {
                return known;
            }
        }
    }

    fn check_secrecy(&self) -> usize {
        let mut closures: BTreeMap<&[usize], BTreeMap<EpochId, Secret<32>>> = BTreeMap::new();
        let mut reached = 0;
        for Sent { epoch, key, outside } in &self.sent {
            let known = closures.entry(outside).or_insert_with(|| self.closure(outside));
            assert!(!known.contains_key(epoch), "people outside know the key of {epoch}");
            assert!(known.values().all(|join| join != key));
            reached += usize::from(!known.is_empty());
        }
        reached
    }
}

#[test]
fn in_random_groups_members_share_keys_and_nobody_outside_can_work_one_out() {
    let (mut sent, mut against_somebody, mut rekeyed, mut complements, mut operations) = (0, 0, 0, 0, 0);
    for seed in seeds() {
        let mut world = World::new(seed);
        world.run();
        world.heal();
        world.check_equal_keys();
        against_somebody += world.check_secrecy();
        sent += world.sent.len();
        rekeyed += world.rekeyed_to_send;
        complements += world.complements;
        operations += world.all.len();
    }
    println!(
        "{} groups, {operations} key operations, {sent} messages, {against_somebody} of them with people outside \
         who had held keys, {rekeyed} rekeys before sending, {complements} complements",
        seeds().count()
    );
    assert!(
        seeds().count() < 50 || against_somebody > 100 && complements > 10 && rekeyed > 10,
        "the runs meet what they test"
    );
}
