//! Random groups, with partitions, backdated operations, forgeries of rank and circles: equal sets of operations give
//! equal groups whatever the order of arrival, and what the rules say when they are read literally.
//!
//! `SILBO_SEEDS` says how many groups: 24, and 200 in CI; `SILBO_FIRST_SEED` with which to begin.

use std::collections::BTreeSet;

use prost::Message;

use super::graph::Graph;
use super::membership::Membership;
use super::model::{Model, Said};
use super::operation::{Info, Kind, Operation, Role, sign};
use super::test_people::{World, deliver, keys, number, shuffle};
use crate::chance::Chance;
use crate::crypto::ed25519::SigningKey;
use crate::ids::OperationId;
use crate::wire::proto;

/// Concurrent operations after the group has been set up.
const OPERATIONS_MAX: u64 = 128;
const PEOPLE_MAX: u64 = 32;

pub(super) fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("SILBO_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(24);
    let first = std::env::var("SILBO_FIRST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    first..first + count
}

/// Groups in which the two readings once differed, one of them found no end, or no owner was left.
const FOUND: [u64; 3] = [1606, 29_022, 69_096];

fn chance(seed: u64) -> Chance {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    Chance::from_seed(bytes)
}

pub(super) struct Random {
    world: World,
    chance: Chance,
    /// What each part of a divided network knows.
    parts: Vec<BTreeSet<usize>>,
}

fn link_secret() -> SigningKey {
    keys(77, 0, 5).0
}

impl Random {
    pub(super) fn play(seed: u64) -> World {
        Self::play_on(seed, None)
    }

    /// With so many operations after the group was set up, or a random number of them.
    pub(super) fn play_on(seed: u64, steps: Option<u64>) -> World {
        let mut chance = chance(seed);
        // Small groups quarrel more.
        let people = if chance.below(2) == 0 { 2 + chance.below(5) } else { 2 + chance.below(PEOPLE_MAX - 1) };
        let world = World::new(usize::try_from(people).unwrap(), u8::try_from(seed % 251).unwrap());
        let parts = vec![BTreeSet::from([0]); usize::try_from(1 + chance.below(4)).unwrap()];
        let mut random = Self { world, chance, parts };
        random.set_up();
        let some = 8 + random.chance.below(OPERATIONS_MAX - 7);
        for _ in 0..steps.unwrap_or(some) {
            random.step();
        }
        random.world
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.chance.below(from.len() as u64)).unwrap()]
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.chance.below(n) == 0
    }

    fn person(&mut self) -> usize {
        let people = self.world.people.len();
        usize::try_from(self.chance.below(people as u64)).unwrap()
    }

    /// Those who came first have the higher roles.
    fn powerful(&mut self) -> usize {
        let below = self.person() as u64 + 1;
        usize::try_from(self.chance.below(below)).unwrap()
    }

    fn set_up(&mut self) {
        let roles = [Role::Owner, Role::Owner, Role::Admin, Role::Admin, Role::Moderator, Role::Member, Role::Reader];
        for person in 1..self.world.people.len() {
            if self.one_in(4) {
                continue;
            }
            let role = self.pick(&roles);
            let last = self.world.last();
            self.world.write(0, &[last], self.world.add(person, role));
        }
        let known: BTreeSet<usize> = (0..=self.world.last()).collect();
        self.parts.iter_mut().for_each(|part| part.clone_from(&known));
    }

    fn step(&mut self) {
        let part = usize::try_from(self.chance.below(self.parts.len() as u64)).unwrap();
        if self.one_in(12) {
            let other = usize::try_from(self.chance.below(self.parts.len() as u64)).unwrap();
            let more = self.parts[other].clone();
            self.parts[part].extend(more);
        }
        let known: Vec<usize> = self.parts[part].iter().copied().collect();
        let mut after: BTreeSet<usize> = BTreeSet::new();
        if self.one_in(6) {
            // As if nothing had happened since.
            after.extend([self.pick(&known), self.pick(&known)]);
        } else {
            let followed = |op: usize| known.iter().any(|later| self.knows(*later, op));
            after.extend(known.iter().copied().filter(|op| !followed(*op)).take(8));
        }
        let after: Vec<usize> = after.into_iter().collect();
        let past: Vec<usize> =
            (0..self.world.ops.len()).filter(|op| after.iter().any(|a| a == op || self.knows(*a, *op))).collect();
        let by = self.powerful();
        let device = if self.one_in(3) { usize::try_from(self.chance.below(3)).unwrap() } else { 0 };
        let signed = if self.one_in(40) {
            self.of_a_later_version((by, device), &after)
        } else {
            let kind = self.kind(by, &past);
            self.world.signed((by, device), &after, &kind)
        };
        let op = Operation::read(&signed).unwrap();
        let fresh = self.world.graph.insert(op.clone(), &self.world.account(0));
        if fresh.is_ok_and(|taken| !taken.added.is_empty()) {
            self.world.ops.push(op);
            let last = self.world.last();
            self.parts[part].extend(past);
            self.parts[part].insert(last);
        }
    }

    fn knows(&self, later: usize, earlier: usize) -> bool {
        self.world.graph.knows(&self.world.id(later), &self.world.id(earlier))
    }

    fn of_a_later_version(&mut self, by: (usize, usize), after: &[usize]) -> proto::Signed {
        let filler = self.world.signed(by, after, &Kind::Leave { reason: 0 });
        let mut op = proto::GroupOp::decode(filler.body.as_slice()).unwrap();
        op.b = None;
        let mut body = op.encode_to_vec();
        // Field 100, a varint: a kind that does not exist.
        body.extend([0xa0, 0x06, u8::try_from(self.chance.below(100)).unwrap()]);
        let key = self.world.people[by.0].signing(by.1);
        let sig = key.sign("silbo/1/sign/group-operation", &[&body]).to_vec();
        assert_ne!(sign(key, &op).body, body);
        proto::Signed { body, sig, alg: 1, signer: Vec::new() }
    }

    fn heads(&mut self, past: &[usize]) -> Vec<OperationId> {
        let keys: Vec<usize> = past.iter().copied().filter(|op| self.world.ops[*op].kind().heads().is_some()).collect();
        let picked: Vec<usize> = (0..=self.chance.below(2)).map(|_| self.pick(&keys)).collect();
        let mut heads: Vec<OperationId> = picked.into_iter().map(|op| self.world.id(op)).collect();
        if self.one_in(30) {
            heads.push(OperationId([7; 16]));
        }
        heads.sort_unstable();
        heads.dedup();
        heads
    }

    fn kind(&mut self, by: usize, past: &[usize]) -> Kind {
        let whom = self.person();
        let roles = [Role::Owner, Role::Owner, Role::Admin, Role::Admin, Role::Moderator, Role::Member, Role::Reader];
        let role = self.pick(&roles);
        let links: Vec<usize> =
            past.iter().copied().filter(|op| matches!(self.world.ops[*op].kind(), Kind::Link { .. })).collect();
        match self.chance.below(100) {
            0..22 => {
                let mut kind = self.world.add(whom, role);
                if let Kind::Add { heads, .. } = &mut kind {
                    *heads = self.heads(past);
                }
                kind
            }
            22..46 => {
                let mut people: Vec<usize> = (0..self.chance.below(3)).map(|_| self.powerful()).collect();
                people.push(whom);
                people.sort_unstable();
                people.dedup();
                self.world.remove(&people)
            }
            46..62 => self.world.set_role(whom, role),
            62..70 => {
                let device = usize::try_from(self.chance.below(3)).unwrap();
                let person = &self.world.people[by];
                let (added, dropped) = (person.keys(device), person.keys((device + 1) % 3).id);
                match self.chance.below(4) {
                    0 | 1 => Kind::Devices { add: vec![added], drop: vec![] },
                    2 => Kind::Devices { add: vec![], drop: vec![dropped] },
                    _ => Kind::Devices { drop: vec![added.id], add: vec![added] },
                }
            }
            70..73 => Kind::Leave { reason: 0 },
            73..78 => {
                let add_role = [None, Some(Role::Member), Some(Role::Admin), Some(Role::Owner)];
                let (name, add_role) = (format!("Name {}", self.chance.below(9)), self.pick(&add_role));
                Kind::Info(Info { name: Some(name), add_role, ..Info::default() })
            }
            78..84 => Kind::Rekey { heads: self.heads(past), material: vec![3; 8] },
            84..87 => Kind::Link {
                key: link_secret().verifying_key(),
                uses: u32::try_from(self.chance.below(3)).unwrap(),
                expires_day: 0,
                role,
                approval: self.one_in(3),
            },
            87..89 if !links.is_empty() => {
                let link = self.pick(&links);
                Kind::RevokeLink { link: self.world.id(link) }
            }
            89..94 if !links.is_empty() => {
                let (link, secret) = (self.pick(&links), if self.one_in(9) { keys(1, 1, 1).0 } else { link_secret() });
                let mut kind = self.world.join(link, &secret, whom);
                if let Kind::Join { heads, .. } = &mut kind {
                    *heads = self.heads(past);
                }
                kind
            }
            94..97 => Kind::Freeze { on: self.one_in(2) },
            97..99 => Kind::Mute { account: self.world.account(whom), until_ms: self.chance.below(3) },
            _ => Kind::Checkpoint { state_hash: vec![1; 32] },
        }
    }
}

/// Another node, which hears everything in another order, some of it twice, some of it in two halves.
fn elsewhere(world: &World, chance: &mut Chance) -> Membership {
    let mut order: Vec<&Operation> = world.ops[1..].iter().chain(world.ops.iter().skip(1).step_by(3)).collect();
    shuffle(&mut order, chance);
    let mut graph = Graph::new(world.ops[0].clone()).unwrap();
    deliver(&mut graph, &order);
    assert_eq!(graph.count(), world.ops.len());
    graph.membership()
}

fn check_sense(seed: u64, world: &World, membership: &Membership) {
    let counts = |op: &&Operation| !membership.void.contains_key(&op.id());
    let mut by_itself = false;
    for op in world.ops.iter().filter(counts) {
        match op.kind() {
            Kind::Remove { accounts, .. } => {
                for account in accounts.iter().filter(|account| membership.roster.contains_key(account)) {
                    let back = world.ops.iter().filter(counts).any(|entry| {
                        let brings = match entry.kind() {
                            Kind::Add { account: who, .. } | Kind::Join { account: who, .. } => who == account,
                            _ => false,
                        };
                        brings && world.graph.knows(&entry.id(), &op.id())
                    });
                    assert!(back, "seed {seed}: {} was removed and is in without having come back", number(account));
                }
            }
            Kind::Leave { .. } => by_itself = true,
            Kind::Role { account, .. } => by_itself |= *account == op.author().account,
            _ => {}
        }
    }
    let owned = membership.roster.values().any(|member| member.role == Role::Owner);
    assert!(owned || by_itself, "seed {seed}: no owner is left, and none went by himself");
    assert!(!membership.key_heads.is_empty() && !membership.heads.is_empty(), "seed {seed}");
}

#[test]
fn equal_sets_of_operations_give_equal_groups_in_every_order_of_arrival() {
    for seed in FOUND.into_iter().chain(seeds()) {
        let world = Random::play(seed);
        let expected = world.graph.membership();
        let mut chance = chance(!seed);
        for _ in 0..2 {
            assert_eq!(elsewhere(&world, &mut chance), expected, "seed {seed}");
        }
        check_sense(seed, &world, &expected);
    }
}

/// Both readings of a set of operations that holds the past of each: literally and fast.
fn both(ops: &[&Operation]) -> (Said, Said) {
    let mut graph = Graph::new(ops[0].clone()).unwrap();
    deliver(&mut graph, &ops[1..]);
    let recipients = |id: &OperationId| graph.recipients_of(id).map_or(0, <[_]>::len);
    (Model::new(ops.to_vec(), recipients).said(), Said::of(&graph.membership()))
}

/// Prints the fewest of these operations of which the two readings differ.
fn show_smallest(mut ops: Vec<&Operation>) {
    let mut at = ops.len() - 1;
    while at > 0 {
        let mut gone = BTreeSet::from([ops[at].id()]);
        let mut fewer = ops[..at].to_vec();
        for op in &ops[at + 1..] {
            if op.parents().iter().any(|parent| gone.contains(parent)) {
                gone.insert(op.id());
            } else {
                fewer.push(op);
            }
        }
        let (said, found) = both(&fewer);
        if said != found {
            ops = fewer;
        }
        at = (at - 1).min(ops.len() - 1);
    }
    let (said, found) = both(&ops);
    for op in &ops {
        let (id, verdicts) = (op.id(), [&said, &found].map(|reading| !reading.void.contains(&op.id())));
        let parents = op.parents();
        println!("{id} counts {verdicts:?} by {:?} after {parents:?}: {:?}", op.author(), op.kind());
    }
}

#[test]
fn the_fast_resolution_says_what_the_rules_say_when_they_are_read_literally() {
    let (mut operations, mut void) = (0, 0);
    for seed in FOUND.into_iter().chain(seeds()) {
        let world = Random::play(seed);
        let expected = world.graph.membership();
        let recipients = |id: &OperationId| world.graph.recipients_of(id).map_or(0, <[_]>::len);
        let ops: Vec<&Operation> = world.ops.iter().collect();
        let (said, found) = (Model::new(ops.clone(), recipients).said(), Said::of(&expected));
        if said != found {
            show_smallest(ops);
        }
        assert_eq!(said, found, "seed {seed}");
        // And for whom a rekey is: a group of what it knows.
        let rekeys: Vec<&Operation> = world.ops.iter().filter(|op| matches!(op.kind(), Kind::Rekey { .. })).collect();
        if let Some(rekey) = rekeys.last() {
            let known = world.ops.iter().filter(|op| world.graph.knows(&rekey.id(), &op.id())).collect();
            let said = Model::new(known, recipients).said();
            let devices: Vec<_> = said.roster.iter().flat_map(|(a, m)| m.devices.iter().map(|d| (*a, d.id))).collect();
            let to = world.graph.recipients_of(&rekey.id()).unwrap();
            assert_eq!(to.iter().map(|to| (to.account, to.device)).collect::<Vec<_>>(), devices, "seed {seed}");
        }
        operations += world.ops.len();
        void += expected.void.len();
    }
    println!("{operations} operations, {void} of them void");
}
