//! The log in any order, with duplicates, holes, forks and posts out of bounds.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::channel_id;
use super::keys::DayKey;
use super::log::{Bounds, ChannelLog, Verdict};
use super::post::tests::{first_key, owner};
use super::post::{Place, Post, PostHash};
use crate::chance::Chance;

const ANY: Bounds = Bounds { floor: 0, day_min: 0, day_max: 60_000 };

/// A history of the owner's: post `n` of day `700 + n / 4`, continuing `after`.
fn history(branch: u8, first: u64, after: PostHash, count: u64) -> Vec<Post> {
    let (owner, mut chance) = (owner(1), Chance::from_seed([branch; 32]));
    let channel = channel_id(&owner.verifying_key());
    let (mut prev, mut posts) = (after, Vec::new());
    for seq in first..first + count {
        let day = 700 + u32::try_from(seq / 4).expect("few");
        let key: DayKey = first_key().on(day).expect("a later day");
        let text = [branch, u8::try_from(seq).expect("few")];
        let post = Post::write(&owner, channel, &key, Place { seq, prev, day }, &text, &mut chance).expect("short");
        prev = post.hash();
        posts.push(post);
    }
    posts
}

/// Takes posts in this order; true if a fork was seen.
fn take(log: &mut ChannelLog, posts: &[Post]) -> bool {
    let mut forked = false;
    for post in posts {
        match log.judge(post, &ANY) {
            Verdict::New => log.insert(post, post.encode().len()),
            Verdict::Diverging => {
                forked = true;
                log.insert(post, post.encode().len());
            }
            Verdict::Contradicting => forked = true,
            Verdict::Known | Verdict::Refused => {}
        }
    }
    forked
}

fn fork_at(seq: u64) -> (Vec<Post>, Vec<Post>) {
    let ours = history(1, 0, [0; 32], 12);
    let after = if seq == 0 { [0; 32] } else { ours[usize::try_from(seq).expect("few") - 1].hash() };
    let theirs = history(2, seq, after, 12 - seq);
    (ours, theirs)
}

#[test]
fn two_posts_of_one_number_are_a_fork_and_the_first_one_stays() {
    let (ours, theirs) = fork_at(5);
    let mut log = ChannelLog::default();
    assert!(!take(&mut log, &ours));
    assert_eq!(log.judge(&theirs[0], &ANY), Verdict::Contradicting);
    assert!(take(&mut log, &theirs));
    assert_eq!(log.hash_of(5), Some(ours[5].hash()));
}

#[test]
fn a_post_that_names_another_predecessor_is_a_fork_too() {
    let (ours, theirs) = fork_at(5);
    let mut log = ChannelLog::default();
    assert!(!take(&mut log, &ours[..6]));
    assert_eq!(log.judge(&theirs[1], &ANY), Verdict::Diverging, "6 of the other history follows another 5");
    let mut log = ChannelLog::default();
    assert!(!take(&mut log, &theirs[1..]));
    assert_eq!(log.judge(&ours[5], &ANY), Verdict::Diverging, "and from the other side");
}

#[test]
fn what_is_out_of_bounds_is_refused() {
    let posts = history(1, 0, [0; 32], 12);
    let log = ChannelLog::default();
    let judge = |bounds| log.judge(&posts[8], &bounds);
    assert_eq!(judge(Bounds { floor: 9, ..ANY }), Verdict::Refused);
    assert_eq!(judge(Bounds { day_min: 703, ..ANY }), Verdict::Refused);
    assert_eq!(judge(Bounds { day_max: 701, ..ANY }), Verdict::Refused);
    assert_eq!(judge(Bounds { floor: 8, day_min: 702, day_max: 702 }), Verdict::New);
}

#[test]
fn days_go_up_with_numbers() {
    let (ours, theirs) = fork_at(0);
    let mut log = ChannelLog::default();
    log.insert(&ours[8], 1);
    // A post of day 702 with the number 3, as an owner with a faulty clock would sign it.
    let owner = owner(1);
    let key = first_key().on(703).expect("a later day");
    let place = Place { seq: 3, prev: theirs[2].hash(), day: 703 };
    let channel = channel_id(&owner.verifying_key());
    let late = Post::write(&owner, channel, &key, place, b"x", &mut Chance::from_seed([3; 32])).expect("short");
    assert_eq!(log.judge(&late, &ANY), Verdict::Refused);
}

#[test]
fn dropping_the_first_ones_leaves_the_rest_and_counts_right() {
    let posts = history(1, 0, [0; 32], 12);
    let mut log = ChannelLog::default();
    take(&mut log, &posts);
    let whole = log.bytes();
    assert_eq!((log.drop_first(), log.drop_first(), log.len()), (Some(0), Some(1), 10));
    assert_eq!(log.bytes() + posts[0].encode().len() + posts[1].encode().len(), whole);
    assert_eq!(log.held().write(), [2, 10]);
    assert_eq!(log.first_day(), Some(700));
    assert_eq!(log.first_since(701), Some(4));
    assert_eq!(log.first_since(800), None);
    while log.drop_first().is_some() {}
    assert!(log.is_empty() && log.bytes() == 0 && log.held().is_empty() && log.head().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_is_held_and_whether_it_is_forked_do_not_depend_on_the_order(
        order in proptest::collection::vec(0usize..24, 0..60), fork in 0u64..12,
    ) {
        let (ours, theirs) = fork_at(fork);
        let all: Vec<Post> = ours.into_iter().chain(theirs).collect();
        let came: Vec<Post> = order.iter().filter_map(|at| all.get(*at).cloned()).collect();
        let (mut forwards, mut backwards) = (ChannelLog::default(), ChannelLog::default());
        let reversed: Vec<Post> = came.iter().rev().cloned().collect();
        let forked = take(&mut forwards, &came);
        prop_assert_eq!(forked, take(&mut backwards, &reversed));
        prop_assert_eq!(forwards.held(), backwards.held());
        let numbers: BTreeSet<u64> = came.iter().map(|post| post.place().seq).collect();
        prop_assert_eq!(forwards.held().numbers().collect::<BTreeSet<_>>(), numbers.clone());
        // A second time nothing is new.
        let before = forwards.bytes();
        take(&mut forwards, &came);
        prop_assert_eq!((forwards.bytes(), forwards.len()), (before, numbers.len()));
    }

    #[test]
    fn one_history_is_never_called_forked(order in proptest::collection::vec(0usize..12, 0..40)) {
        let posts = history(1, 0, [0; 32], 12);
        let came: Vec<Post> = order.iter().map(|at| posts[*at].clone()).collect();
        prop_assert!(!take(&mut ChannelLog::default(), &came));
    }
}
