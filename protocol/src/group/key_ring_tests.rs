//! One test a rule of the key graph and the key ring.

use std::collections::BTreeSet;

use super::key_graph::{GraphError, KeyGraph, KeyKind, KeyOperation, epoch_of};
use super::key_ring::{HeadSecret, KeyError, KeyRing, Secrecy, Source};
use super::test_group::{GROUP, Holder, device, devices, id, ids, operation, x};
use super::welcome::Welcome;
use crate::crypto::Secret;
use crate::ids::{EpochId, GroupDevice, OperationId};
use crate::limits::{
    GROUP_DEVICES_EVER_MAX, GROUP_DEVICES_MAX, GROUP_EPOCH_KEEP_MS, GROUP_EPOCHS_MAX, GROUP_KEY_HEADS_MAX,
    GROUP_KEY_OPERATIONS_MAX, GROUP_WELCOME_SECRETS_MAX,
};
use crate::time::UnixTime;

fn genesis() -> KeyOperation {
    operation(1, KeyKind::Genesis, &[], &[1])
}

fn add(n: u8, heads: &[u8], named: &[u16]) -> KeyOperation {
    operation(n, KeyKind::Forward, heads, named)
}

fn rekey(n: u8, heads: &[u8], named: &[u16]) -> KeyOperation {
    operation(n, KeyKind::Rekey, heads, named)
}

/// A device that was told of these operations, in this order, and got its slices.
fn holder(n: u16, operations: &[KeyOperation]) -> Holder {
    let mut holder = Holder::new(n);
    for operation in operations {
        holder.learn(operation, &x(operation.id.0[0]));
    }
    holder
}

/// A device that came by the addition `welcome`, told by `by`.
fn newcomer(n: u16, operations: &[KeyOperation], by: &Holder, welcome: u8) -> Holder {
    let mut new = holder(n, operations);
    let told = by.ring.welcome(&id(welcome), &device(n)).unwrap();
    let changes = new.ring.accept(&told).unwrap();
    new.apply(changes);
    new
}

fn roster(numbers: &[u16]) -> BTreeSet<GroupDevice> {
    devices(numbers).into_iter().collect()
}

fn join<'a>(holder: &'a Holder, heads: &[u8]) -> Option<&'a Secret<32>> {
    holder.ring.epochs.get(&epoch_of(&ids(heads))).map(|epoch| &epoch.join)
}

#[test]
fn an_addition_costs_members_no_message_and_the_newcomer_has_their_key() {
    let operations = [genesis(), add(2, &[1], &[2]), add(3, &[2], &[3])];
    let founder = holder(1, &operations);
    let second = newcomer(2, &operations, &founder, 2);
    assert!(join(&founder, &[3]).is_some());
    assert_eq!(join(&founder, &[3]), join(&second, &[3]));
    assert_eq!(founder.ring.writers(&epoch_of(&ids(&[3]))), Some(devices(&[1, 2, 3])));
}

#[test]
fn t25_a_newcomer_has_no_key_from_before_it() {
    let operations = [genesis(), add(2, &[1], &[2]), add(3, &[2], &[3])];
    let founder = holder(1, &operations);
    let third = newcomer(3, &operations, &founder, 3);
    let held: Vec<&EpochId> = third.ring.epochs().map(|(id, _)| id).collect();
    assert_eq!(held, [&epoch_of(&ids(&[3]))]);
}

#[test]
fn t24_a_removed_device_does_not_follow_a_rekey() {
    let before = [genesis(), add(2, &[1], &[2]), add(3, &[2], &[3])];
    let after = [rekey(4, &[3], &[1, 2]), add(5, &[4], &[6])];
    let founder = holder(1, &[&before[..], &after].concat());
    let mut removed = newcomer(3, &before, &founder, 3);
    for operation in &after {
        removed.learn(operation, &x(0));
    }
    assert!(join(&founder, &[5]).is_some());
    assert_eq!((join(&removed, &[4]), join(&removed, &[5])), (None, None));
    let told = removed.ring.hold_fresh(&id(4), &x(4), Secrecy::Classical);
    assert_eq!(told, Err(KeyError::NotForDevice), "not even with the secret in its hands");
}

#[test]
fn heads_of_two_partitions_merge_without_a_message_in_either_order() {
    let base = [genesis(), add(2, &[1], &[2])];
    let (left, right) = (add(3, &[2], &[3]), rekey(4, &[2], &[1, 2]));
    let founder = holder(1, &[&base[..], &[left.clone(), right.clone()]].concat());
    let mut one = holder(1, &[&base[..], &[right, left]].concat());
    let changes = one.ring.merge(&ids(&[3, 4])).unwrap();
    assert_eq!(changes.made.len(), 1);
    assert_eq!(one.ring.merge(&ids(&[3, 4])), Ok(Default::default()), "a second time changes nothing");
    let mut other = newcomer(2, &founder.ring.graph().operations().collect::<Vec<_>>(), &founder, 2);
    other.ring.merge(&ids(&[3, 4])).unwrap();
    assert_eq!(join(&one, &[3, 4]), join(&other, &[3, 4]));
    assert_ne!(join(&one, &[3, 4]), join(&one, &[4]));
}

#[test]
fn a_member_who_lacks_a_head_reads_on_the_others_until_it_gets_a_complement() {
    let base = [genesis(), add(2, &[1], &[2])];
    let branches = [add(3, &[2], &[3]), add(4, &[2], &[4])];
    let mut founder = holder(1, &[&base[..], &branches].concat());
    let mut third = newcomer(3, &[&base[..], &branches].concat(), &founder, 3);
    assert_eq!(third.ring.merge(&ids(&[3, 4])), Err(KeyError::NotHeld));
    assert!(join(&third, &[3]).is_some(), "what it has it can use");
    let changes = founder.ring.merge(&ids(&[3, 4])).unwrap();
    founder.apply(changes);
    let told = founder.ring.complement(&ids(&[3, 4]), &device(3)).unwrap();
    let welcome = Welcome { group: GROUP, secrets: vec![told] };
    let welcome = Welcome::decode(&welcome.encode()).unwrap();
    let changes = third.ring.accept(&welcome.secrets[0]).unwrap();
    third.apply(changes);
    assert_eq!(join(&third, &[3, 4]), join(&founder, &[3, 4]));
    assert_eq!(join(&third, &[4]), None, "the other head stays unknown to it");
    for holder in [&mut founder, &mut third] {
        holder.learn(&add(5, &[3, 4], &[5]), &x(5));
    }
    assert_eq!(join(&third, &[5]), join(&founder, &[5]), "and it follows from there");
}

#[test]
fn a_complement_gives_nothing_sent_in_an_earlier_merge() {
    // 3 and 4 merged before 5 was known there; 5's newcomer is told the merge of all three, and no share of it helps
    // with the merge of two.
    let operations = [genesis(), add(2, &[1], &[2]), rekey(3, &[2], &[1, 2]), add(4, &[2], &[4]), add(5, &[2], &[5])];
    let mut founder = holder(1, &operations);
    for heads in [&[3, 4][..], &[3, 4, 5]] {
        let changes = founder.ring.merge(&ids(heads)).unwrap();
        founder.apply(changes);
    }
    let mut fifth = newcomer(5, &operations, &founder, 5);
    let told = founder.ring.complement(&ids(&[3, 4, 5]), &device(5)).unwrap();
    fifth.ring.accept(&told).unwrap();
    assert_eq!(founder.ring.complement(&ids(&[3, 4]), &device(5)), Err(KeyError::NotForDevice));
    assert!(join(&fifth, &[3, 4, 5]).is_some());
    assert_eq!(fifth.ring.merge(&ids(&[3, 4])), Err(KeyError::NotHeld));
}

#[test]
fn a_device_removed_and_added_again_knows_nothing_of_the_time_between() {
    let before = [genesis(), add(2, &[1], &[2]), add(3, &[2], &[3])];
    let between = [rekey(4, &[3], &[1, 2]), add(5, &[4], &[5])];
    let again = add(6, &[5], &[3]);
    let founder = holder(1, &[&before[..], &between, std::slice::from_ref(&again)].concat());
    let mut third = newcomer(3, &before, &founder, 3);
    for operation in between.iter().chain([&again]) {
        third.learn(operation, &x(0));
    }
    let told = founder.ring.welcome(&id(6), &device(3)).unwrap();
    third.ring.accept(&told).unwrap();
    assert_eq!(join(&third, &[6]), join(&founder, &[6]));
    assert_eq!((join(&third, &[4]), join(&third, &[5])), (None, None));
    assert!(third.ring.graph().holders(&ids(&[6])).unwrap().contains(&device(3)), "it is left behind no longer");
}

#[test]
fn two_members_removed_at_once_know_the_merged_key_together_so_the_sender_must_rekey() {
    let base = [genesis(), add(2, &[1], &[2]), add(3, &[2], &[3])];
    // Unseen by each other, one rekey leaves 2 behind, the other 3.
    let removals = [rekey(4, &[3], &[1, 3]), rekey(5, &[3], &[1, 2])];
    let all = [&base[..], &removals].concat();
    let mut founder = holder(1, &all);
    founder.ring.merge(&ids(&[4, 5])).unwrap();
    let (second, third) = (holder(2, &all), holder(3, &all));
    assert!(join(&second, &[4]).is_none() && join(&third, &[5]).is_none());
    // What they have, put together, is the key of everybody.
    let joins = [join(&third, &[4]).unwrap(), join(&second, &[5]).unwrap()];
    let stolen = super::epoch::EpochSecret::merged(&ids(&[4, 5]), &joins);
    assert_eq!(Some(&stolen.unfold(&GROUP, &epoch_of(&ids(&[4, 5]))).join), join(&founder, &[4, 5]));
    let graph = founder.ring.graph();
    assert!(graph.must_rekey(&ids(&[4, 5]), &roster(&[1])));
    assert!(!graph.must_rekey(&ids(&[4]), &roster(&[1, 3])), "one alone is safe");
    founder.learn(&rekey(6, &[4, 5], &[1]), &x(6));
    assert!(!founder.ring.graph().must_rekey(&ids(&[6]), &roster(&[1])));
}

#[test]
fn an_addition_unseen_by_a_removal_merges_without_a_rekey() {
    let base = [genesis(), add(2, &[1], &[2]), add(3, &[2], &[3])];
    let founder = holder(1, &[&base[..], &[rekey(4, &[3], &[1, 2]), add(5, &[3], &[5])]].concat());
    let graph = founder.ring.graph();
    assert!(graph.must_rekey(&ids(&[5]), &roster(&[1, 2, 5])), "without the rekey the removed device knows it");
    assert!(!graph.must_rekey(&ids(&[4, 5]), &roster(&[1, 2, 5])));
    assert!(!graph.holders(&ids(&[4, 5])).unwrap().contains(&device(3)));
    assert_eq!(founder.ring.complement(&ids(&[4, 5]), &device(3)), Err(KeyError::NotForDevice));
}

#[test]
fn whoever_was_left_behind_by_a_removal_that_does_not_count_gets_the_key_by_a_rekey() {
    let base = [genesis(), add(2, &[1], &[2]), add(3, &[2], &[3])];
    // One side removes 2; the other removes whoever did that.
    let all = [&base[..], &[rekey(4, &[3], &[1, 3]), rekey(5, &[3], &[1, 2])]].concat();
    let mut founder = holder(1, &all);
    founder.ring.merge(&ids(&[4, 5])).unwrap();
    let stays = roster(&[1, 2]);
    assert!(founder.ring.graph().leaves_out(&ids(&[4, 5]), &stays));
    assert!(!founder.ring.graph().leaves_out(&ids(&[4, 5]), &roster(&[1])), "who is out misses nothing");
    assert_eq!(founder.ring.complement(&ids(&[4, 5]), &device(2)), Err(KeyError::NotForDevice));
    founder.learn(&rekey(6, &[4, 5], &[1, 2]), &x(6));
    assert!(!founder.ring.graph().leaves_out(&ids(&[6]), &stays));
}

#[test]
fn whoever_came_by_an_addition_that_does_not_count_makes_senders_rekey() {
    // 3 came by an operation that is void later; 4 was added on top of it.
    let operations = [genesis(), add(2, &[1], &[2]), add(3, &[2], &[3]), add(4, &[3], &[4])];
    let founder = holder(1, &operations);
    assert!(founder.ring.graph().must_rekey(&ids(&[4]), &roster(&[1, 2, 4])));
    assert!(!founder.ring.graph().must_rekey(&ids(&[4]), &roster(&[1, 2, 3, 4])));
}

#[test]
fn a_void_rekey_stays_readable_and_is_no_head() {
    let base = [genesis(), add(2, &[1], &[2]), add(3, &[2], &[3])];
    // 3 rekeys while it is being removed.
    let mut founder = holder(1, &[&base[..], &[rekey(4, &[3], &[1, 2, 3]), rekey(5, &[3], &[1, 2])]].concat());
    founder.ring.keep_current(&ids(&[5]), UnixTime(0));
    assert!(join(&founder, &[4]).is_some());
    assert!(founder.ring.graph().must_rekey(&ids(&[4]), &roster(&[1, 2])));
    assert!(!founder.ring.graph().must_rekey(&ids(&[5]), &roster(&[1, 2])));
}

#[test]
fn operations_in_any_causal_order_give_equal_keys() {
    let one = [genesis(), add(2, &[1], &[2]), add(3, &[2], &[3]), add(4, &[2], &[4]), add(5, &[3, 4], &[5])];
    let mut two = one.clone();
    two.swap(2, 3);
    let (a, b) = (holder(1, &one), holder(1, &two));
    assert_eq!(a.ring.epochs, b.ring.epochs);
    assert_eq!(holder(1, &[&one[..], &one].concat()).ring, a.ring, "told twice");
    assert_eq!(Holder::new(1).ring.learn(&one[1]), Err(KeyError::Graph(GraphError::Gap)));
}

#[test]
fn an_addition_waits_for_the_slice_of_its_base() {
    let operations = [genesis(), add(2, &[1], &[2]), rekey(3, &[2], &[1, 2]), add(4, &[3], &[4])];
    let mut ring = KeyRing::new(GROUP, device(1));
    for operation in &operations {
        assert_eq!(ring.learn(operation), Ok(Default::default()));
    }
    assert_eq!(ring.epochs().count(), 0);
    ring.hold_fresh(&id(1), &x(1), Secrecy::PostQuantum).unwrap();
    let made = ring.hold_fresh(&id(3), &x(3), Secrecy::Classical).unwrap().made;
    let names: Vec<EpochId> = made.iter().map(|made| made.id).collect();
    assert_eq!(names, [epoch_of(&ids(&[3])), epoch_of(&ids(&[4]))]);
    let secrecy = |n| ring.epoch(&epoch_of(&ids(&[n]))).unwrap().secrecy();
    assert_eq!((secrecy(2), secrecy(3), secrecy(4)), (Secrecy::PostQuantum, Secrecy::Classical, Secrecy::Classical));
}

#[test]
fn t30_what_is_told_twice_does_not_reset_a_chain() {
    let operations = [genesis(), add(2, &[1], &[2])];
    let founder = holder(1, &operations);
    let mut second = newcomer(2, &operations, &founder, 2);
    let told = founder.ring.welcome(&id(2), &device(2)).unwrap();
    let before = second.ring.clone();
    assert_eq!(second.ring.accept(&told), Err(KeyError::Held));
    assert_eq!(second.ring, before);
    let mut first = holder(1, &operations);
    assert_eq!(first.ring.hold_fresh(&id(1), &x(9), Secrecy::Classical), Err(KeyError::Held));
    assert_eq!(first.ring.learn(&operations[1]), Ok(Default::default()));
}

#[test]
fn what_was_told_wrongly_is_replaced_by_what_is_derived() {
    let operations = [genesis(), add(2, &[1], &[2]), add(3, &[1], &[3])];
    let founder = holder(1, &operations);
    let mut second = newcomer(2, &operations, &founder, 2);
    let heads = ids(&[2, 3]);
    let lie = HeadSecret {
        heads: heads.clone(),
        secret: super::epoch::EpochSecret::read(&[7; 32]).unwrap(),
        secrecy: Secrecy::PostQuantum,
    };
    second.ring.accept(&lie).unwrap();
    assert_eq!(second.ring.epoch(&epoch_of(&heads)).unwrap().source(), Source::Told);
    let onward = add(4, &[2, 3], &[4]);
    assert_eq!(second.ring.learn(&onward).unwrap().made.len(), 1, "made of the lie");
    let dropped = second.ring.distrust(&epoch_of(&heads)).unwrap().dropped;
    assert_eq!(dropped.len(), 2, "the lie, and what was made of it");
    let truth = founder.ring.complement(&heads, &device(2)).unwrap();
    assert_eq!(second.ring.accept(&truth).unwrap().made.len(), 2);
    let mut founder = founder;
    founder.learn(&onward, &x(0));
    assert_eq!(join(&second, &[4]), join(&founder, &[4]));
    // A member that can derive it does not need to distrust.
    let mut first = holder(1, &operations[..1]);
    for operation in &operations[1..] {
        first.ring.graph.insert(operation).unwrap();
    }
    first.ring.accept(&lie).unwrap();
    first.ring.pending.extend(ids(&[2, 3]));
    let changes = first.ring.learn(&onward).unwrap();
    assert!(changes.dropped.contains(&epoch_of(&heads)));
    assert_eq!(join(&first, &[4]), join(&founder, &[4]));
    assert_eq!(first.ring.distrust(&epoch_of(&heads)), Err(KeyError::NotHeld), "derived here");
}

#[test]
fn a_welcome_is_for_whom_the_addition_names() {
    let operations = [genesis(), add(2, &[1], &[2]), rekey(3, &[2], &[1, 2])];
    let founder = holder(1, &operations);
    assert_eq!(founder.ring.welcome(&id(2), &device(3)), Err(KeyError::NotForDevice));
    assert_eq!(founder.ring.welcome(&id(3), &device(2)), Err(KeyError::Unknown), "a rekey has slices");
    assert_eq!(founder.ring.welcome(&id(9), &device(2)), Err(KeyError::Unknown));
    assert_eq!(founder.ring.complement(&ids(&[3]), &device(2)), Err(KeyError::Unknown), "one head is no merge");
    let told = founder.ring.welcome(&id(2), &device(2)).unwrap();
    let mut stranger = holder(5, &operations);
    assert_eq!(stranger.ring.accept(&told), Err(KeyError::NotForDevice));
    let unsorted = HeadSecret { heads: vec![id(3), id(2)], ..told };
    assert_eq!(stranger.ring.accept(&unsorted), Err(KeyError::Unknown));
}

#[test]
fn superseded_epochs_are_erased_after_45_days_and_current_ones_never() {
    let mut founder = holder(1, &[genesis(), add(2, &[1], &[2]), add(3, &[2], &[3])]);
    let start = UnixTime(1_000);
    assert_eq!(founder.ring.keep_current(&ids(&[3]), start), Default::default());
    let early = founder.ring.keep_current(&ids(&[3]), UnixTime(start.0 + GROUP_EPOCH_KEEP_MS - 1));
    assert_eq!(early, Default::default());
    let dropped = founder.ring.keep_current(&ids(&[3]), start.after_ms(GROUP_EPOCH_KEEP_MS)).dropped;
    assert_eq!(BTreeSet::from_iter(dropped), BTreeSet::from([epoch_of(&ids(&[1])), epoch_of(&ids(&[2]))]));
    assert!(join(&founder, &[3]).is_some());
    assert_eq!(founder.ring.welcome(&id(3), &device(3)), Err(KeyError::NotHeld), "its base is gone");
    founder.learn(&add(4, &[2], &[4]), &x(0));
    assert!(join(&founder, &[4]).is_none(), "a partition of 45 days needs a complement or a rekey");
}

#[test]
fn an_epoch_that_is_current_again_is_not_erased() {
    let mut founder = holder(1, &[genesis(), add(2, &[1], &[2]), rekey(3, &[2], &[1])]);
    founder.ring.keep_current(&ids(&[3]), UnixTime(0));
    founder.ring.keep_current(&ids(&[2]), UnixTime(GROUP_EPOCH_KEEP_MS / 2));
    let later = founder.ring.keep_current(&ids(&[2]), UnixTime(GROUP_EPOCH_KEEP_MS * 3 / 2));
    assert!(later.dropped.contains(&epoch_of(&ids(&[3]))) && join(&founder, &[2]).is_some());
}

#[test]
fn malformed_operations_and_contradictions_are_refused() {
    let mut graph = KeyGraph::default();
    assert_eq!(graph.insert(&add(2, &[1], &[2])), Err(GraphError::Gap));
    for bad in [
        operation(1, KeyKind::Genesis, &[], &[]),
        operation(1, KeyKind::Genesis, &[2], &[1]),
        add(2, &[], &[2]),
        rekey(2, &[1], &[]),
        KeyOperation { heads: vec![id(1), id(1)], ..add(2, &[1], &[2]) },
        KeyOperation { devices: vec![device(2), device(1)], ..genesis() },
        KeyOperation { devices: (0..=GROUP_DEVICES_MAX as u16).map(device).collect(), ..genesis() },
        KeyOperation { heads: (0..=GROUP_KEY_HEADS_MAX as u8).map(id).collect(), ..add(200, &[1], &[2]) },
    ] {
        assert_eq!(graph.insert(&bad), Err(GraphError::Malformed), "{:?}", bad.kind);
    }
    assert_eq!(graph.insert(&genesis()), Ok(true));
    assert_eq!(graph.insert(&genesis()), Ok(false));
    assert_eq!(graph.insert(&operation(1, KeyKind::Genesis, &[], &[2])), Err(GraphError::Conflict));
    assert_eq!(graph.insert(&operation(2, KeyKind::Genesis, &[], &[1])), Err(GraphError::Conflict));
    assert_eq!(graph.len(), 1);
}

#[test]
fn the_graph_is_full_at_its_limits_and_what_it_knows_stays() {
    let number = |n: usize| OperationId((n as u128).to_be_bytes());
    let mut graph = KeyGraph::default();
    let mut last = KeyOperation { id: number(0), ..genesis() };
    for n in 1..=GROUP_KEY_OPERATIONS_MAX {
        assert_eq!(graph.insert(&last), Ok(true), "{n}");
        last = KeyOperation { id: number(n), heads: vec![last.id], kind: KeyKind::Forward, devices: Vec::new() };
    }
    assert_eq!(graph.insert(&last), Err(GraphError::Full));
    let mut graph = KeyGraph::default();
    graph.insert(&KeyOperation { id: number(0), ..genesis() }).unwrap();
    for n in 1..=GROUP_DEVICES_EVER_MAX / GROUP_DEVICES_MAX {
        let first = (n * GROUP_DEVICES_MAX) as u16;
        let named = (first..first + GROUP_DEVICES_MAX as u16).map(device).collect();
        let operation =
            KeyOperation { id: number(n), heads: vec![number(n - 1)], kind: KeyKind::Forward, devices: named };
        let full = n * GROUP_DEVICES_MAX + 1 > GROUP_DEVICES_EVER_MAX;
        assert_eq!(graph.insert(&operation), if full { Err(GraphError::Full) } else { Ok(true) }, "{n}");
    }
}

#[test]
fn too_many_epochs_push_out_superseded_ones_and_never_current_ones() {
    let number = |n: usize| OperationId((n as u128).to_be_bytes());
    let mut ring = KeyRing::new(GROUP, device(1));
    let first = KeyOperation { id: number(0), ..genesis() };
    ring.learn(&first).unwrap();
    ring.hold_fresh(&number(0), &x(1), Secrecy::PostQuantum).unwrap();
    let addition = |n: usize| KeyOperation { id: number(n), ..add(2, &[1], &[]) };
    let chain = |n: usize| KeyOperation { heads: vec![number(n - 1)], ..addition(n) };
    for n in 1..GROUP_EPOCHS_MAX {
        assert_eq!(ring.learn(&chain(n)).unwrap().made.len(), 1);
    }
    let waiting = ring.learn(&chain(GROUP_EPOCHS_MAX)).unwrap();
    assert_eq!(waiting, Default::default(), "all are in use");
    ring.keep_current(&[number(GROUP_EPOCHS_MAX - 1)], UnixTime(0));
    let changes = ring.learn(&chain(GROUP_EPOCHS_MAX + 1)).unwrap();
    assert_eq!((changes.made.len(), changes.dropped.len()), (2, 2));
    assert_eq!(ring.epochs().count(), GROUP_EPOCHS_MAX);
    assert!(ring.epoch(&epoch_of(&[number(GROUP_EPOCHS_MAX - 1)])).is_some());
}

#[test]
fn a_ring_reads_back_from_its_bytes_and_prints_no_secret() {
    let operations = [genesis(), add(2, &[1], &[2]), add(3, &[2], &[3]), rekey(4, &[2], &[1, 2])];
    let mut founder = holder(1, &operations);
    founder.ring.merge(&ids(&[3, 4])).unwrap();
    founder.ring.keep_current(&ids(&[3, 4]), UnixTime(77));
    let bytes = founder.ring.encode();
    let records: Vec<Vec<u8>> = founder.ring.graph().operations().map(|operation| operation.encode()).collect();
    let read: Vec<KeyOperation> = records.iter().map(|record| KeyOperation::decode(record).unwrap()).collect();
    let ring = KeyRing::decode(&bytes, &read).unwrap();
    assert_eq!(ring, founder.ring);
    assert_eq!(ring.encode(), bytes);
    assert_eq!(KeyRing::decode(&bytes, &read[..3]), None, "an operation is missing");
    for len in 0..bytes.len() {
        assert!(KeyRing::decode(&bytes[..len], &read).is_none_or(|ring| ring != founder.ring), "{len} bytes");
    }
    let printed = format!("{:?}", founder.ring);
    let secret = join(&founder, &[4]).unwrap().expose();
    assert!(!printed.contains(&format!("{:?}", &secret[..4])[1..8]) && printed.contains("Secret(..)"));
}

#[test]
fn a_welcome_with_too_many_secrets_or_malformed_heads_is_refused() {
    let secret = super::epoch::EpochSecret::read(&[1; 32]).unwrap();
    let one = HeadSecret { heads: ids(&[1, 2]), secret, secrecy: Secrecy::Classical };
    let of = |secrets: Vec<HeadSecret>| Welcome { group: GROUP, secrets };
    let most = of(vec![one.clone(); GROUP_WELCOME_SECRETS_MAX]);
    assert_eq!(Welcome::decode(&most.encode()), Some(most));
    assert_eq!(Welcome::decode(&of(vec![one.clone(); GROUP_WELCOME_SECRETS_MAX + 1]).encode()), None);
    let none = of(Vec::new());
    assert_eq!(Welcome::decode(&none.encode()), Some(none), "operations alone");
    for heads in [Vec::new(), vec![id(2), id(1)], vec![id(1); 2]] {
        assert_eq!(Welcome::decode(&of(vec![HeadSecret { heads, ..one.clone() }]).encode()), None);
    }
    let bytes = of(vec![one]).encode();
    for len in 0..bytes.len() {
        assert!(Welcome::decode(&bytes[..len]).is_none_or(|read| read.secrets.is_empty()), "{len} bytes");
    }
}
