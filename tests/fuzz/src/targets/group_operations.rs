//! Operations on a group.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use prost::Message;
use silbo_protocol::crypto::ed25519::SigningKey;
use silbo_protocol::crypto::x25519::SecretKey;
use silbo_protocol::group::graph::Graph;
use silbo_protocol::group::operation::{DeviceKeys, Info, Kind, Operation, Role, sign, sign_join};
use silbo_protocol::ids::{AccountId, DeviceId, GroupDevice, OperationId};
use silbo_protocol::wire::proto;
use silbo_protocol::wire::proto::group_op::B;

/// Accounts that may write.
const PEOPLE: u8 = 5;

/// A founder, an owner, an admin, a member and one who is not in.
struct Group {
    base: Vec<Operation>,
}

fn person(number: u8) -> (GroupDevice, SigningKey, DeviceKeys) {
    let key = SigningKey::from_seed(&[number + 1; 32]);
    let agree = SecretKey::from_bytes([number + 1; 32]).public();
    let device = GroupDevice { account: AccountId([number; 32]), device: DeviceId([number; 8]) };
    let keys = DeviceKeys { id: device.device, sign: key.verifying_key(), agree, vouch: Vec::new() };
    (device, key, keys)
}

fn add(graph: &Graph, number: u8, role: Role, head: OperationId) -> Operation {
    let (founder, key, _) = person(0);
    let (who, _, keys) = person(number);
    let kind = Kind::Add { account: who.account, role, devices: vec![keys], heads: vec![head] };
    let signed = graph.write(&kind, &founder, &[head], &key).expect("the parent is here");
    Operation::read(&signed).expect("written by us")
}

fn group() -> &'static Group {
    static GROUP: OnceLock<Group> = OnceLock::new();
    GROUP.get_or_init(|| {
        let (founder, key, keys) = person(0);
        let create = Kind::Create { info: Info::default(), devices: vec![keys] };
        let author = founder.to_bytes().to_vec();
        let op = proto::GroupOp { author, b: create.to_proto([1; 16]), ..Default::default() };
        let genesis = Operation::read(&sign(&key, &op)).expect("written by us");
        let mut graph = Graph::new(genesis.clone()).expect("written by us");
        let mut base = vec![genesis];
        for (number, role) in [(1, Role::Owner), (2, Role::Admin), (3, Role::Member)] {
            let last = base.last().expect("there is one").id();
            let op = add(&graph, number, role, last);
            graph.insert(op.clone(), &founder.account).expect("written by us");
            base.push(op);
        }
        Group { base }
    })
}

fn begin() -> Graph {
    let mut graph = Graph::new(group().base[0].clone()).expect("written by us");
    for op in &group().base[1..] {
        graph.insert(op.clone(), &op.author().account).expect("written by us");
    }
    graph
}

/// Operations: as they are, and with author, parents and heads made real and the signature right.
pub fn operations(data: &[u8]) {
    let Ok(update) = proto::LogUpdate::decode(data) else { return };
    let mut graph = begin();
    for entry in update.entries.iter().take(64) {
        if let Ok(op) = Operation::read(entry) {
            let (from, before) = (op.author().account, graph.count());
            let taken = graph.insert(op, &from);
            assert!(taken.is_ok() || graph.count() == before, "refused operations change nothing");
        }
    }
    let _ = graph.membership();
    let mut ops = group().base.clone();
    let mut graph = begin();
    for entry in update.entries.iter().take(24) {
        let Some(op) = made_real(entry, &ops) else { continue };
        let from = op.author().account;
        if graph.insert(op.clone(), &from).is_ok_and(|taken| !taken.added.is_empty()) {
            ops.push(op);
        }
    }
    assert_eq!(graph.count(), ops.len());
    let mut other = Graph::new(ops[0].clone()).expect("written by us");
    for op in ops[1..].iter().rev() {
        other.insert(op.clone(), &op.author().account).expect("it was taken before");
    }
    let membership = graph.membership();
    assert_eq!(other.membership(), membership, "a group is a function of the set");
    assert!(membership.roster.len() <= ops.len() && !membership.key_heads.is_empty());
}

/// The operation, by somebody of the group, after operations there are. `None` if its bytes are none.
fn made_real(entry: &proto::Signed, ops: &[Operation]) -> Option<Operation> {
    let mut op = proto::GroupOp::decode(entry.body.as_slice()).ok()?;
    let known = |id: &Vec<u8>| ops[usize::from(id.first().copied().unwrap_or(0)) % ops.len()].id();
    let real = |ids: &[Vec<u8>]| {
        let ids: BTreeSet<OperationId> = ids.iter().take(8).map(known).collect();
        ids.into_iter().map(|id| id.0.to_vec()).collect::<Vec<_>>()
    };
    if op.parents.is_empty() {
        op.parents.push(Vec::new());
    }
    op.parents = real(&op.parents);
    let (author, key, _) = person(op.author.first().copied().unwrap_or(0) % PEOPLE);
    op.author = author.to_bytes().to_vec();
    op.group = ops[0].group().0.to_vec();
    let lamports = ops.iter().filter(|other| op.parents.contains(&other.id().0.to_vec())).map(Operation::lamport);
    op.lamport = lamports.max()? + 1;
    match &mut op.b {
        Some(B::Add(add)) => add.heads = real(&add.heads),
        Some(B::Rekey(rekey)) => rekey.heads = real(&rekey.heads),
        Some(B::Join(join)) => {
            (join.heads, join.link) = (real(&join.heads), known(&join.link).0.to_vec());
            let link = OperationId::read(&join.link)?;
            let keys = [person(4).2];
            join.devices = keys.iter().map(DeviceKeys::to_proto).collect();
            let account = AccountId::read(&join.aid).unwrap_or(person(4).0.account);
            join.link_sig = sign_join(&person(4).1, &ops[0].group(), &link, &account, &keys).to_vec();
            join.aid = account.0.to_vec();
        }
        Some(B::Link(link)) if link.revoke.is_empty() => {
            link.vk = person(4).1.verifying_key().as_bytes().to_vec();
        }
        Some(B::Link(link)) => link.revoke = known(&link.revoke).0.to_vec(),
        _ => {}
    }
    Operation::read(&sign(&key, &op)).ok()
}

/// Inputs made from real operations: one quarrel, and one of each kind.
pub fn seeds() -> Vec<Vec<u8>> {
    let whom = |number: u8| person(number).0.account;
    let keys = |number: u8| vec![person(number).2];
    let head = vec![group().base[0].id()];
    let kinds = vec![
        (0, Kind::Remove { accounts: vec![whom(1)], reason: 1 }),
        (1, Kind::Remove { accounts: vec![whom(0)], reason: 1 }),
        (2, Kind::Add { account: whom(4), role: Role::Member, devices: keys(4), heads: head.clone() }),
        (1, Kind::Role { account: whom(2), role: Role::Owner }),
        (2, Kind::Devices { add: vec![person(9).2], drop: vec![person(2).0.device] }),
        (3, Kind::Leave { reason: 2 }),
        (2, Kind::Info(Info { name: Some("Village".into()), add_role: Some(Role::Member), ..Info::default() })),
        (3, Kind::Rekey { heads: head.clone(), material: vec![1; 60] }),
        (
            1,
            Kind::Link {
                key: person(4).1.verifying_key(),
                uses: 1,
                expires_day: 9,
                role: Role::Member,
                approval: false,
            },
        ),
        (1, Kind::RevokeLink { link: group().base[1].id() }),
        (0, Kind::Join { link: head[0], account: whom(4), devices: keys(4), proof: vec![1; 64], heads: head.clone() }),
        (2, Kind::Freeze { on: true }),
        (1, Kind::Mute { account: whom(3), until_ms: 7 }),
        (0, Kind::Checkpoint { state_hash: vec![1; 32] }),
    ];
    let graph = begin();
    let last = group().base[3].id();
    let entries: Vec<proto::Signed> = kinds
        .iter()
        .map(|(by, kind)| {
            let (author, key, _) = person(*by);
            graph.write(kind, &author, &[last], &key).expect("the parent is here")
        })
        .collect();
    let batch =
        |entries: &[proto::Signed]| proto::LogUpdate { entries: entries.to_vec(), head: Vec::new() }.encode_to_vec();
    let base: Vec<proto::Signed> = group().base.iter().map(|op| op.signed().clone()).collect();
    vec![batch(&entries), batch(&entries[..3]), batch(&base)]
}
