//! People with keys, and a group they write to; for the tests of this module.

use super::graph::Graph;
use super::membership::Membership;
use super::operation::{DeviceKeys, Info, Kind, Operation, Role, sign, sign_join};
use crate::chance::Chance;
use crate::crypto::ed25519::SigningKey;
use crate::crypto::x25519::SecretKey;
use crate::ids::{AccountId, DeviceId, GroupDevice, OperationId};
use crate::wire::proto;

/// Somebody with some devices; the account id begins with the number, so that tests can read it off.
pub(super) struct Person {
    pub(super) account: AccountId,
    keys: Vec<(SigningKey, DeviceKeys)>,
}

impl Person {
    pub(super) fn new(number: usize) -> Self {
        let number = u8::try_from(number).unwrap();
        let mut account = [0xaa; 32];
        account[0] = number;
        let keys = (0..3u8).map(|device| keys(number, device, device)).collect();
        Self { account: AccountId(account), keys }
    }

    pub(super) fn device(&self, device: usize) -> GroupDevice {
        GroupDevice { account: self.account, device: self.keys[device].1.id }
    }

    pub(super) fn keys(&self, device: usize) -> DeviceKeys {
        self.keys[device].1.clone()
    }

    pub(super) fn signing(&self, device: usize) -> &SigningKey {
        &self.keys[device].0
    }
}

/// Keys for the device of a person; another `seed` gives the same device other keys.
pub(super) fn keys(number: u8, device: u8, seed: u8) -> (SigningKey, DeviceKeys) {
    let sign = SigningKey::from_seed(&[number, seed].repeat(16).try_into().unwrap());
    let agree = SecretKey::from_bytes([number ^ seed; 32]).public();
    let id = DeviceId([number, device, 0, 0, 0, 0, 0, 9]);
    let keys = DeviceKeys { id, sign: sign.verifying_key(), agree, vouch: Vec::new() };
    (sign, keys)
}

/// A group of which person 0 is the founder, and everything written to it.
pub(super) struct World {
    pub(super) people: Vec<Person>,
    pub(super) graph: Graph,
    pub(super) ops: Vec<Operation>,
}

impl World {
    pub(super) fn new(people: usize, nonce: u8) -> Self {
        let people: Vec<Person> = (0..people).map(Person::new).collect();
        let genesis = genesis(&people[0], nonce);
        let graph = Graph::new(genesis.clone()).unwrap();
        Self { people, graph, ops: vec![genesis] }
    }

    /// A group in which person `n` has the role `roles[n - 1]`; all additions follow each other.
    pub(super) fn with(roles: &[Role], people: usize, nonce: u8) -> Self {
        let mut world = Self::new(people, nonce);
        for (number, role) in (1..).zip(roles) {
            let last = world.last();
            world.write(0, &[last], world.add(number, *role));
        }
        world
    }

    /// The number of the last operation.
    pub(super) fn last(&self) -> usize {
        self.ops.len() - 1
    }

    pub(super) fn id(&self, op: usize) -> OperationId {
        self.ops[op].id()
    }

    pub(super) fn signed(&self, by: (usize, usize), after: &[usize], kind: &Kind) -> proto::Signed {
        let person = &self.people[by.0];
        let mut parents: Vec<OperationId> = after.iter().map(|op| self.id(*op)).collect();
        parents.sort_unstable();
        self.graph.write(kind, &person.device(by.1), &parents, person.signing(by.1)).unwrap()
    }

    /// Person and device write after these operations; the number of the operation.
    pub(super) fn write_by(&mut self, by: (usize, usize), after: &[usize], kind: Kind) -> usize {
        let op = Operation::read(&self.signed(by, after, &kind)).unwrap();
        assert_eq!(op.kind(), &kind, "what is written is read");
        self.take(op)
    }

    pub(super) fn write(&mut self, by: usize, after: &[usize], kind: Kind) -> usize {
        self.write_by((by, 0), after, kind)
    }

    pub(super) fn take(&mut self, op: Operation) -> usize {
        let taken = self.graph.insert(op.clone(), &self.people[0].account).unwrap();
        assert_eq!(taken.added, [op.id()]);
        self.ops.push(op);
        self.last()
    }

    /// What the operations say; the same in the order they were written, backwards and in a random one.
    pub(super) fn membership(&self) -> Membership {
        let expected = self.graph.membership();
        let mut order: Vec<&Operation> = self.ops[1..].iter().rev().collect();
        for seed in 0..3u8 {
            let mut graph = Graph::new(self.ops[0].clone()).unwrap();
            deliver(&mut graph, &order);
            assert_eq!(graph.membership(), expected);
            shuffle(&mut order, &mut Chance::from_seed([seed; 32]));
        }
        expected
    }

    /// The numbers of the members.
    pub(super) fn members(&self) -> Vec<usize> {
        self.membership().roster.keys().map(number).collect()
    }

    /// The numbers of the void operations.
    pub(super) fn void(&self) -> Vec<usize> {
        let void = self.membership().void;
        (0..self.ops.len()).filter(|op| void.contains_key(&self.id(*op))).collect()
    }

    pub(super) fn account(&self, person: usize) -> AccountId {
        self.people[person].account
    }

    pub(super) fn role(&self, person: usize) -> Option<Role> {
        Some(self.membership().roster.get(&self.account(person))?.role)
    }

    pub(super) fn add(&self, person: usize, role: Role) -> Kind {
        let devices = vec![self.people[person].keys(0)];
        Kind::Add { account: self.account(person), role, devices, heads: vec![self.id(0)] }
    }

    pub(super) fn remove(&self, people: &[usize]) -> Kind {
        Kind::Remove { accounts: people.iter().map(|person| self.account(*person)).collect(), reason: 0 }
    }

    pub(super) fn set_role(&self, person: usize, role: Role) -> Kind {
        Kind::Role { account: self.account(person), role }
    }

    pub(super) fn join(&self, link: usize, secret: &SigningKey, person: usize) -> Kind {
        let (account, devices, link) = (self.account(person), vec![self.people[person].keys(0)], self.id(link));
        let proof = sign_join(secret, &self.graph.group(), &link, &account, &devices).to_vec();
        Kind::Join { link, account, devices, proof, heads: vec![self.id(0)] }
    }

    pub(super) fn rekey(&self, heads: &[usize]) -> Kind {
        let mut heads: Vec<OperationId> = heads.iter().map(|op| self.id(*op)).collect();
        heads.sort_unstable();
        Kind::Rekey { heads, material: vec![7; 40] }
    }
}

pub(super) fn genesis(founder: &Person, nonce: u8) -> Operation {
    let info = Info { name: Some("Village".into()), ..Info::default() };
    let kind = Kind::Create { info, devices: vec![founder.keys(0)] };
    let op = proto::GroupOp {
        author: founder.device(0).to_bytes().to_vec(),
        b: kind.to_proto([nonce; 16]),
        ..Default::default()
    };
    Operation::read(&sign(founder.signing(0), &op)).unwrap()
}

pub(super) fn number(account: &AccountId) -> usize {
    usize::from(account.0[0])
}

/// Offers the operations in this order until all are in, as a peer would that is asked again.
pub(super) fn deliver(graph: &mut Graph, order: &[&Operation]) {
    let mut left: Vec<&Operation> = order.to_vec();
    while !left.is_empty() {
        let before = left.len();
        let mut refused = Vec::new();
        for op in left {
            // A full waiting room says no; what is missing is offered again.
            if graph.insert(op.clone(), &op.author().account).is_err() {
                refused.push(op);
            }
        }
        assert!(refused.len() < before, "an operation is refused for good");
        left = refused;
    }
    assert_eq!((graph.waiting(), graph.missing()), (0, Vec::new()));
}

pub(super) fn shuffle<T>(list: &mut [T], chance: &mut Chance) {
    for last in (1..list.len()).rev() {
        let other = usize::try_from(chance.below(last as u64 + 1)).unwrap();
        list.swap(last, other);
    }
}
