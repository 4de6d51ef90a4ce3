use std::collections::{BTreeSet, VecDeque};

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::*;
use crate::carry::salted_set::ItemKey;
use crate::limits::RECONCILE_ITEMS_MAX;

fn key(n: u64) -> ItemKey {
    u128::from(n).to_be_bytes()
}

fn set(salt: u64, items: impl IntoIterator<Item = u64>) -> SaltedSet {
    let salt = u128::from(salt).to_be_bytes();
    SaltedSet::new(&salt, items.into_iter().map(key)).unwrap()
}

struct Run {
    difference: [Difference; 2],
    /// Both directions, without the openings.
    bytes: usize,
    kinds: BTreeSet<u8>,
}

/// Both ends over a lossless link; every message goes through its bytes.
fn run(one: SaltedSet, other: SaltedSet) -> Run {
    let openings = [Opening::of(&one), Opening::of(&other)];
    let (one, first) = Reconciliation::start(one, &openings[1]);
    let (other, second) = Reconciliation::start(other, &openings[0]);
    let mut ends = [one, other];
    let mut wire: VecDeque<(usize, Message)> = first.into_iter().map(|message| (1, message)).collect();
    wire.extend(second.into_iter().map(|message| (0, message)));
    let (mut bytes, mut kinds) = (0, BTreeSet::new());
    while let Some((to, message)) = wire.pop_front() {
        let encoded = message.encode();
        bytes += encoded.len();
        kinds.insert(encoded[0]);
        let mut out = Vec::new();
        assert_eq!(Message::decode(&encoded).as_ref(), Ok(&message));
        ends[to].handle(message, &mut out).unwrap();
        wire.extend(out.into_iter().map(|message| (1 - to, message)));
    }
    let difference = ends.map(|end| end.difference().expect("both ends have a result").clone());
    Run { difference, bytes, kinds }
}

fn keys(set: &SaltedSet, ids: &[SaltedId]) -> BTreeSet<ItemKey> {
    ids.iter().map(|id| *set.item(*id).expect("an id of this set")).collect()
}

/// Both ends have exactly the difference of the two sets.
fn check(salt: u64, one: &BTreeSet<u64>, other: &BTreeSet<u64>) -> Run {
    let (first, second) = (set(salt, one.iter().copied()), set(salt, other.iter().copied()));
    let run = run(first.clone(), second.clone());
    let [here, there] = &run.difference;
    assert_eq!((&here.mine, &here.theirs), (&there.theirs, &there.mine));
    assert_eq!(keys(&first, &here.mine), one.difference(other).copied().map(key).collect());
    assert_eq!(keys(&second, &there.mine), other.difference(one).copied().map(key).collect());
    run
}

#[test]
fn equal_sets_say_nothing() {
    for items in [0, 1, 5_000] {
        let run = run(set(1, 0..items), set(1, 0..items));
        assert_eq!((run.bytes, run.kinds.len()), (0, 0));
        assert_eq!(run.difference, [Difference::default(), Difference::default()]);
    }
}

#[test]
fn twenty_differences_among_ten_thousand_cost_at_most_420_bytes_whatever_the_salt() {
    // The table in `simulations` measures a thousand salts; here, the shapes of the difference.
    for salt in 0..3 {
        for fewer in [0, 3, 10] {
            let run = run(set(salt, 0..10_000 - fewer), set(salt, (20 - fewer)..10_000));
            assert_eq!(run.difference[0].mine.len() + run.difference[0].theirs.len(), 20);
            assert!(run.bytes <= 420, "salt {salt}: {} bytes", run.bytes);
        }
    }
}

#[test]
fn each_method_is_reached() {
    let sums = check(1, &(0..400).collect(), &(5..405).collect());
    assert!(sums.kinds.iter().all(|kind| [1, 2, 5].contains(kind)));
    let cells = check(1, &(0..2_000).collect(), &(0..2_300).collect());
    assert!(cells.kinds.contains(&3) && cells.kinds.iter().all(|kind| [3, 4, 5].contains(kind)));
    let both = check(3, &(0..2_000).collect(), &(35..2_035).collect());
    assert_eq!(both.kinds, BTreeSet::from([1, 2, 3, 4, 5]));
    let list = check(1, &(0..300).collect(), &(250..700).collect());
    assert_eq!(list.kinds, BTreeSet::from([6, 7]));
}

#[test]
fn long_lists_come_in_parts() {
    let run = check(1, &(0..10_000).collect(), &(9_999..22_000).collect());
    assert_eq!(run.kinds, BTreeSet::from([6, 7]));
    assert!(run.bytes < 6 * 10_000 + 10_000 / 8 + 6 * 12_001 + 16);
}

#[test]
fn cells_that_never_fit_end_in_a_list() {
    let (mine, theirs) = (set(1, 0..200), set(1, 0..260));
    let (mut reader, _) = Reconciliation::start(mine.clone(), &Opening::of(&theirs));
    let (mut teller, mut wire) = Reconciliation::start(theirs, &Opening::of(&mine));
    let mut cells = 0;
    let mut answers = Vec::new();
    while let Some(message) = wire.pop() {
        let garbled = match message {
            Message::Cells(given) => {
                cells += given.len();
                Message::Cells(vec![Cell::read(&[7; Cell::LEN]).unwrap(); given.len()])
            }
            other => other,
        };
        reader.handle(garbled, &mut answers).unwrap();
        if matches!(answers.as_slice(), [Message::Ids(_)]) {
            break;
        }
        for answer in answers.drain(..) {
            teller.handle(answer, &mut wire).unwrap();
        }
    }
    assert!(cells <= 264);
    for answer in answers.drain(..) {
        teller.handle(answer, &mut wire).unwrap();
    }
    for message in wire {
        reader.handle(message, &mut answers).unwrap();
    }
    assert_eq!(reader.difference().unwrap().theirs.len(), 60);
    assert_eq!(reader.difference().unwrap().theirs, teller.difference().unwrap().mine);
}

#[test]
fn ends_with_different_salts_do_not_agree_on_anything() {
    let (one, other) = (set(1, 0..1_000), set(2, 0..1_000));
    let (mut one_end, first) = Reconciliation::start(one.clone(), &Opening::of(&other));
    let (mut other_end, second) = Reconciliation::start(other, &Opening::of(&one));
    let mut wire: VecDeque<_> =
        first.into_iter().map(|m| (true, m)).chain(second.into_iter().map(|m| (false, m))).collect();
    let mut failed = false;
    while let Some((to_other, message)) = wire.pop_front() {
        let mut out = Vec::new();
        let end = if to_other { &mut other_end } else { &mut one_end };
        failed |= end.handle(message, &mut out).is_err();
        wire.extend(out.into_iter().map(|m| (!to_other, m)));
    }
    // The list of the one cannot have the digest that the other expects under its own salt.
    assert!(failed);
}

#[test]
fn messages_nobody_asked_for_close_the_end() {
    let (small, large) = (set(1, 0..1_000), set(1, 5..1_010));
    let unasked = [
        Message::Sums(vec![1]),
        Message::MoreSums(SUMS_MAX),
        Message::Cells(vec![Cell::default()]),
        Message::MoreCells(CELLS_PER_MESSAGE_MAX),
        Message::Found { yours: vec![2_000], mine: Vec::new() },
        Message::Found { yours: vec![1], mine: Vec::new() },
        Message::Ids(vec![small.ids()[3], small.ids()[1]]),
        Message::Lacks(vec![0]),
    ];
    for message in unasked {
        for (own, peer) in [(&small, &large), (&large, &small)] {
            let (mut end, _) = Reconciliation::start(own.clone(), &Opening::of(peer));
            let mut out = Vec::new();
            assert!(end.handle(message.clone(), &mut out).is_err());
            assert!(out.is_empty());
            assert_eq!(end.handle(message.clone(), &mut out), Err(ReconcileError::Closed));
            assert_eq!(end.difference(), None);
        }
    }
}

#[test]
fn a_list_with_the_wrong_items_contradicts_the_opening() {
    let (small, large) = (set(1, 0..20), set(1, 1_000..1_100));
    let (mut teller, _) = Reconciliation::start(large, &Opening::of(&small));
    let wrong = set(1, 1..21);
    let answer = teller.handle(Message::Ids(wrong.ids().to_vec()), &mut Vec::new());
    assert_eq!(answer, Err(ReconcileError::Contradiction));
}

fn opening() -> impl Strategy<Value = Opening> {
    (0..=RECONCILE_ITEMS_MAX as u32, any::<u64>(), any::<[u32; 16]>()).prop_map(|(items, digest, mut sketch)| {
        sketch.sort_unstable();
        Opening { items, digest, sketch }
    })
}

fn id() -> impl Strategy<Value = SaltedId> {
    (1_u64..1 << 48).prop_filter_map("not zero", SaltedId::new)
}

fn message() -> impl Strategy<Value = Message> {
    let ids = |max| btree_set(id(), 0..max).prop_map(|ids| ids.into_iter().collect::<Vec<_>>());
    prop_oneof![
        vec(0_u64..1 << 48, 1..=SUMS_MAX).prop_map(Message::Sums),
        (1..=SUMS_MAX).prop_map(Message::MoreSums),
        vec(any::<[u8; 9]>(), 1..80)
            .prop_map(|cells| Message::Cells(cells.iter().filter_map(|cell| Cell::read(cell)).collect())),
        (1..=CELLS_PER_MESSAGE_MAX).prop_map(Message::MoreCells),
        (btree_set(0..RECONCILE_ITEMS_MAX as u32, 0..20), ids(20))
            .prop_map(|(yours, mine)| Message::Found { yours: yours.into_iter().collect(), mine }),
        ids(20).prop_filter_map("not empty", |ids| (!ids.is_empty()).then_some(Message::Ids(ids))),
        vec(any::<u8>(), 1..40).prop_map(Message::Lacks),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_ends_find_exactly_the_difference(
        salt: u64,
        shared in 0_u64..600,
        one in btree_set(10_000_u64..10_400, 0..120),
        other in btree_set(10_000_u64..10_400, 0..120),
    ) {
        let with = |own: &BTreeSet<u64>| own.iter().copied().chain(0..shared).collect();
        let run = check(salt, &with(&one), &with(&other));
        let items = shared as usize + one.len().min(other.len());
        prop_assert!(run.bytes <= 6 * SUMS_MAX + 9 * (items + 64) + 7 * items + 6 * 120 + 200);
    }

    #[test]
    fn a_message_has_one_encoding(message in message()) {
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn any_bytes_are_no_message_or_one_that_gives_them_back(bytes in vec(any::<u8>(), 0..200), kind in 0_u8..9) {
        let bytes = [&[kind][..], &bytes].concat();
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode(), bytes);
        }
    }

    #[test]
    fn any_peer_comes_to_an_end(
        own in 0_u64..300,
        peer in opening(),
        near in any::<bool>(),
        messages in vec(message(), 0..60),
    ) {
        let set = set(1, 0..own);
        let mut peer = peer;
        if near {
            // Close enough for sums and cells.
            peer.items = own as u32 + peer.items % 3;
            peer.sketch = set.sketch();
        }
        let (mut end, mut sent) = Reconciliation::start(set, &peer);
        for message in messages {
            let message = match (&end.state, message) {
                // What was asked for, but made up.
                (State::Reading(Reading::Sums { asked, .. }), Message::Sums(sums)) => {
                    Message::Sums(sums.into_iter().cycle().take(*asked).collect())
                }
                (State::Reading(Reading::Cells { asked, .. }), Message::Cells(cells)) => {
                    Message::Cells(cells.into_iter().cycle().take(*asked).collect())
                }
                (_, message) => message,
            };
            if end.handle(message, &mut sent).is_err() {
                break;
            }
        }
        let bytes: usize = sent.iter().map(|message| message.encode().len()).sum();
        prop_assert!(bytes <= 6 * SUMS_MAX + 9 * (own as usize + 64) + 7 * own as usize + 300);
    }
}
