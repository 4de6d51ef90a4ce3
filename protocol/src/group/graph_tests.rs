//! Refusals and bounds of the graph: what is taken in, what waits, what is refused for good.

use prost::Message;

use super::graph::{Graph, GraphError, Taken};
use super::operation::{Kind, Operation, OperationError, PARENTS_MAX, Role, sign};
use super::test_people::{World, genesis, keys};
use crate::ids::OperationId;
use crate::limits::{
    GROUP_OPERATION_BYTES_MAX, GROUP_OPERATIONS_MAX, GROUP_OPERATIONS_PER_MEMBER_MAX, GROUP_OPERATIONS_RESERVE,
    GROUP_REMOVALS_PER_OPERATION_MAX, GROUP_TOPIC_BYTES_MAX, GROUP_WAITING_MAX, GROUP_WAITING_PER_MEMBER_MAX,
};
use crate::wire::proto;
use crate::wire::proto::group_op::B;

/// An operation after the genesis, changed before it is signed by the founder.
fn forged(world: &World, change: impl Fn(&mut proto::GroupOp)) -> proto::Signed {
    let signed = world.signed((0, 0), &[0], &Kind::Freeze { on: true });
    let mut op = proto::GroupOp::decode(signed.body.as_slice()).unwrap();
    change(&mut op);
    sign(world.people[0].signing(0), &op)
}

fn insert(world: &mut World, signed: &proto::Signed) -> Result<Taken, GraphError> {
    let from = world.account(0);
    world.graph.insert(Operation::read(signed).unwrap(), &from)
}

#[test]
fn what_contradicts_itself_is_not_read() {
    let world = World::new(2, 1);
    let read = |change: &dyn Fn(&mut proto::GroupOp)| Operation::read(&forged(&world, change)).map(|_| ());
    let malformed = Err(OperationError::Malformed);
    assert_eq!(read(&|_| {}), Ok(()));
    assert_eq!(read(&|op| op.author.truncate(39)), malformed);
    assert_eq!(read(&|op| op.group.truncate(15)), malformed);
    assert_eq!(read(&|op| op.group.clear()), malformed);
    assert_eq!(read(&|op| op.parents.clear()), malformed);
    assert_eq!(read(&|op| op.parents.push(op.parents[0].clone())), malformed, "a parent twice");
    assert_eq!(read(&|op| op.parents = vec![vec![2; 16], vec![1; 16]]), malformed, "parents out of order");
    assert_eq!(read(&|op| op.parents = vec![vec![2; 15]]), malformed);
    assert_eq!(read(&|op| op.lamport = 0), malformed);
    let parents = |count: usize| (0..count).map(|n| vec![u8::try_from(n).unwrap(); 16]).collect::<Vec<_>>();
    assert_eq!(read(&|op| op.parents = parents(PARENTS_MAX)), Ok(()));
    assert_eq!(read(&|op| op.parents = parents(PARENTS_MAX + 1)), malformed);
    let twice = |field: &[u8]| {
        let mut signed = forged(&world, |_| {});
        signed.body.extend(field);
        Operation::read(&signed).map(|_| ())
    };
    assert_eq!(twice(&[0x18, 1]), malformed, "a second lamport");
    assert_eq!(twice(&[0x7a, 0]), malformed, "a second kind");
    assert_eq!(twice(&[0x80]), malformed, "cut off");
    assert_eq!(twice(&[0xc2, 0x3e, 0]), Ok(()), "field 1000, of a later version");
    for change in [
        |signed: &mut proto::Signed| signed.alg = 2,
        |signed: &mut proto::Signed| signed.signer = vec![1; 8],
        |signed: &mut proto::Signed| signed.sig.truncate(63),
    ] {
        let mut signed = forged(&world, |_| {});
        change(&mut signed);
        assert_eq!(Operation::read(&signed).map(|_| ()), malformed);
    }
}

#[test]
fn t28_an_absurd_or_forged_lamport_is_refused() {
    let mut world = World::new(2, 1);
    let absurd = forged(&world, |op| op.lamport = GROUP_OPERATIONS_MAX as u64);
    assert_eq!(Operation::read(&absurd), Err(OperationError::Lamport));
    let ahead = forged(&world, |op| op.lamport = 2);
    assert_eq!(insert(&mut world, &ahead), Err(GraphError::Lamport));
    assert_eq!(world.graph.count(), 1);
}

#[test]
fn an_operation_that_is_too_large_is_not_read() {
    let world = World::new(1, 1);
    let rekey = |bytes: usize| {
        let material = vec![1; bytes];
        forged(&world, |op| {
            op.b = Some(B::Rekey(proto::GRekey { heads: vec![world.id(0).0.to_vec()], material: material.clone() }));
        })
    };
    let around = GROUP_OPERATION_BYTES_MAX - 200;
    let frame = rekey(around).body.len() - around;
    assert!(Operation::read(&rekey(GROUP_OPERATION_BYTES_MAX - frame)).is_ok());
    assert_eq!(Operation::read(&rekey(GROUP_OPERATION_BYTES_MAX - frame + 1)), Err(OperationError::TooLarge));
}

#[test]
fn what_a_later_version_says_is_kept_without_effect_and_what_follows_it_counts() {
    let mut world = World::new(3, 1);
    let device = |n: u8| keys(1, n, n).1.to_proto();
    let account = world.account(1).0.to_vec();
    let heads = vec![world.id(0).0.to_vec()];
    let add = |change: &dyn Fn(&mut proto::GAdd)| {
        let mut add = proto::GAdd { aid: account.clone(), role: 1, devices: vec![device(0)], heads: heads.clone() };
        change(&mut add);
        B::Add(add)
    };
    let unreadable = [
        None,
        Some(add(&|add| add.role = 5)),
        Some(add(&|add| add.aid.truncate(31))),
        Some(add(&|add| add.devices.clear())),
        Some(add(&|add| add.devices[0].gpk_ed = vec![0; 32])),
        Some(add(&|add| add.devices = vec![device(1), device(0)])),
        Some(add(&|add| add.devices = (0..17).map(device).collect())),
        Some(add(&|add| add.heads.clear())),
        Some(B::Remove(proto::GRemove { aids: vec![], reason: 0 })),
        Some(B::Remove(proto::GRemove {
            aids: (0..=GROUP_REMOVALS_PER_OPERATION_MAX).map(|n| vec![u8::try_from(n).unwrap(); 32]).collect(),
            reason: 0,
        })),
        Some(B::Info(proto::GInfo { topic: Some("x".repeat(GROUP_TOPIC_BYTES_MAX + 1)), ..Default::default() })),
        Some(B::Info(proto::GInfo { add_role: Some(9), ..Default::default() })),
        Some(B::Devices(proto::GDeviceDelta::default())),
    ];
    for (n, b) in (0u64..).zip(unreadable) {
        let last = world.ops[world.last()].id().0.to_vec();
        let signed = forged(&world, |op| {
            (op.b, op.parents, op.lamport) = (b.clone(), vec![last.clone()], n + 1);
        });
        let op = Operation::read(&signed).unwrap();
        assert_eq!(op.kind(), &Kind::Other, "{b:?}");
        world.take(op);
    }
    let last = world.last();
    world.write(0, &[last], world.add(2, Role::Member));
    assert_eq!(world.members(), [0, 2]);
    assert_eq!(world.void(), []);
}

#[test]
fn a_group_begins_with_its_founder_and_no_other_operation() {
    let world = World::new(2, 1);
    let later = Operation::read(&world.signed((0, 0), &[0], &Kind::Freeze { on: true })).unwrap();
    assert_eq!(Graph::new(later).map(|_| ()), Err(GraphError::Genesis));
    let genesis = genesis(&world.people[0], 1);
    let mut body = proto::GroupOp::decode(genesis.signed().body.as_slice()).unwrap();
    let stranger = Operation::read(&sign(world.people[1].signing(0), &body)).unwrap();
    assert_eq!(Graph::new(stranger).map(|_| ()), Err(GraphError::Genesis));
    body.author = world.people[0].device(1).to_bytes().to_vec();
    let other_device = Operation::read(&sign(world.people[0].signing(1), &body)).unwrap();
    assert_eq!(Graph::new(other_device).map(|_| ()), Err(GraphError::Genesis));
    body.author = world.people[0].device(0).to_bytes().to_vec();
    body.b = Some(B::Create(proto::GCreate::default()));
    assert_eq!(Operation::read(&sign(world.people[0].signing(0), &body)), Err(OperationError::Malformed));
}

#[test]
fn strangers_forgers_and_other_groups_are_refused() {
    let mut world = World::with(&[Role::Admin], 3, 1);
    let kind = Kind::Freeze { on: true };
    let stranger = world.signed((2, 0), &[1], &kind);
    assert_eq!(insert(&mut world, &stranger), Err(GraphError::UnknownAuthor));
    let unknown_device = world.signed((1, 1), &[1], &kind);
    assert_eq!(insert(&mut world, &unknown_device), Err(GraphError::UnknownAuthor));
    // Added, but not as far as the operation knows.
    let early = world.signed((1, 0), &[0], &kind);
    assert_eq!(insert(&mut world, &early), Err(GraphError::UnknownAuthor));
    let mut forged = world.signed((1, 0), &[1], &kind);
    forged.sig[5] ^= 1;
    assert_eq!(insert(&mut world, &forged), Err(GraphError::Signature));
    let mut claimed = proto::GroupOp::decode(world.signed((1, 0), &[1], &kind).body.as_slice()).unwrap();
    claimed.author = world.people[0].device(0).to_bytes().to_vec();
    let claimed = sign(world.people[1].signing(0), &claimed);
    assert_eq!(insert(&mut world, &claimed), Err(GraphError::Signature), "in the name of the owner");
    let other = World::new(1, 2);
    let foreign = other.signed((0, 0), &[0], &kind);
    assert_eq!(insert(&mut world, &foreign), Err(GraphError::OtherGroup));
    assert_eq!((world.graph.count(), world.graph.waiting()), (2, 0));
}

#[test]
fn two_signatures_over_the_same_words_are_one_operation() {
    let mut world = World::new(1, 1);
    let signed = world.signed((0, 0), &[0], &Kind::Freeze { on: true });
    assert_eq!(insert(&mut world, &signed).unwrap().added.len(), 1);
    let mut other = signed;
    other.sig[0] ^= 1;
    assert_eq!(insert(&mut world, &other), Ok(Taken::default()));
}

#[test]
fn a_bad_copy_does_not_keep_the_good_operation_out() {
    let mut world = World::new(1, 1);
    let parent = world.signed((0, 0), &[0], &Kind::Freeze { on: true });
    let id = Operation::read(&parent).unwrap().id();
    let child = forged(&world, |op| (op.lamport, op.parents) = (2, vec![id.0.to_vec()]));
    let mut bad = child.clone();
    bad.sig[0] ^= 1;
    assert!(insert(&mut world, &bad).unwrap().waits);
    assert!(insert(&mut world, &child).unwrap().waits);
    assert_eq!(world.graph.missing(), [id]);
    let taken = insert(&mut world, &parent).unwrap();
    let child = Operation::read(&child).unwrap().id();
    assert_eq!(taken.added, [id, child]);
    assert!(taken.refused.iter().all(|refused| *refused == (child, GraphError::Signature)));
    assert_eq!((world.graph.count(), world.graph.waiting()), (3, 0));
}

#[test]
fn the_waiting_room_is_shared_among_those_who_fill_it() {
    let mut world = World::new(20, 1);
    let mut waiting = 0;
    for person in 0..20 {
        let from = world.account(person);
        for n in 0..=GROUP_WAITING_PER_MEMBER_MAX {
            let parent = [u8::try_from(person).unwrap(), u8::try_from(n).unwrap()].repeat(8);
            let op =
                Operation::read(&forged(&world, |op| (op.lamport, op.parents) = (9, vec![parent.clone()]))).unwrap();
            let room = n < GROUP_WAITING_PER_MEMBER_MAX && waiting < GROUP_WAITING_MAX;
            let result = world.graph.insert(op.clone(), &from);
            assert_eq!(result.is_ok(), room, "{person} {n}");
            waiting += usize::from(room);
            if room {
                assert!(world.graph.insert(op, &from).unwrap().waits, "waiting twice takes one place");
            }
        }
    }
    assert_eq!(world.graph.waiting(), GROUP_WAITING_MAX);
    assert_eq!(world.graph.missing().len(), GROUP_WAITING_MAX);
    // What has its parents is taken in all the same.
    let fine = world.signed((0, 0), &[0], &Kind::Freeze { on: true });
    assert_eq!(insert(&mut world, &fine).unwrap().added.len(), 1);
}

#[test]
fn members_cannot_fill_a_group_up_against_their_removal() {
    let mut world = World::with(&[Role::Member; 4], 5, 1);
    let mut last: Vec<OperationId> = vec![world.id(4)];
    let mut fill = |world: &mut World, by: usize, want: usize| {
        for n in 0..want {
            let kind = Kind::Checkpoint { state_hash: vec![1; 32] };
            let person = &world.people[by];
            let signed = world.graph.write(&kind, &person.device(0), &last, person.signing(0)).unwrap();
            let op = Operation::read(&signed).unwrap();
            let id = op.id();
            match world.graph.insert(op, &person.account) {
                Ok(_) => last = vec![id],
                Err(error) => return (n, Some(error)),
            }
        }
        (want, None)
    };
    for by in 1..4 {
        assert_eq!(fill(&mut world, by, 9_999), (GROUP_OPERATIONS_PER_MEMBER_MAX, Some(GraphError::Full)));
    }
    let left = GROUP_OPERATIONS_MAX - GROUP_OPERATIONS_RESERVE - 5 - 3 * GROUP_OPERATIONS_PER_MEMBER_MAX;
    assert_eq!(fill(&mut world, 4, 9_999), (left, Some(GraphError::Full)));
    assert_eq!(fill(&mut world, 0, GROUP_OPERATIONS_RESERVE), (GROUP_OPERATIONS_RESERVE, None));
    assert_eq!(world.graph.count(), GROUP_OPERATIONS_MAX);
    let one_more = world.signed((0, 0), &[0], &Kind::Freeze { on: true });
    assert_eq!(insert(&mut world, &one_more), Err(GraphError::Full));
}

#[test]
fn an_operation_written_here_follows_at_most_eight_heads_and_first_those_that_count() {
    let mut world = World::with(&[Role::Member], 2, 1);
    for n in 0..12u8 {
        world.write(1, &[1], Kind::Mute { account: world.account(0), until_ms: n.into() });
    }
    let counts = world.write(0, &[1], Kind::Freeze { on: true });
    let membership = world.membership();
    let parents = world.graph.parents_for(&membership);
    assert_eq!((membership.heads.len(), parents.len()), (13, PARENTS_MAX));
    assert!(parents.contains(&world.id(counts)));
    let kind = Kind::Freeze { on: false };
    assert!(world.graph.write(&kind, &world.people[0].device(0), &parents, world.people[0].signing(0)).is_some());
    assert!(world.graph.recipients_after(&parents).is_some_and(|devices| devices.len() == 2));
    assert_eq!(world.graph.recipients_after(&[OperationId([1; 16])]), None);
}
