//! The laws of a slot: order, duplication and partition do not matter; what is deleted stays deleted.

use proptest::prelude::*;

use crate::ids::{AccountId, ChatId, MessageId};
use crate::input::Route;
use crate::limits::{
    REACTION_BYTES_MAX, SLOT_EDITORS_MAX, SLOT_EDITS_MAX, SLOT_REACTIONS_MAX, SLOT_VOTES_MAX, TEXT_BYTES_MAX,
};
use crate::step::{DeliveryState, FailReason, Path};
use crate::time::{DAY_MS, UnixTime};
use crate::wire::invite::Aid20;

use super::delivery_state::tests::any_state;
use super::mention::Mention;
use super::poll::{Choices, Poll};
use super::retention::TOMBSTONE_MS;
use super::slot::{Changed, SUPERSEDED_BYTES_MAX, Slot, SlotAuthor, SlotOp, SlotOpKind};
use super::view::view;

const CHAT: ChatId = ChatId([1; 16]);
const ID: MessageId = MessageId([2; 12]);
const NOW: UnixTime = UnixTime(1_800_000_000_000);

fn op(author: SlotAuthor, n: u64, kind: SlotOpKind) -> SlotOp {
    let mut op_id = [0; 12];
    op_id[4..].copy_from_slice(&n.to_be_bytes());
    SlotOp { author, lamport: n, ts: UnixTime(1_000 + n), op_id: MessageId(op_id), kind }
}

fn text(author: SlotAuthor, n: u64, body: &str) -> SlotOp {
    op(
        author,
        n,
        SlotOpKind::Text { body: body.to_owned(), reply_to: None, expire_s: 0, mentions: Vec::new(), poll: None },
    )
}

fn edit(author: SlotAuthor, n: u64, body: &str) -> SlotOp {
    op(author, n, SlotOpKind::Edit { body: body.to_owned(), mentions: Vec::new() })
}

fn react(author: SlotAuthor, n: u64, emoji: &str, remove: bool) -> SlotOp {
    op(author, n, SlotOpKind::React { emoji: emoji.to_owned(), remove })
}

fn delete(author: SlotAuthor, n: u64) -> SlotOp {
    op(author, n, SlotOpKind::Delete)
}

fn poll(options: usize) -> Poll {
    let options = (0..options).map(|n| format!("option {n}")).collect();
    Poll { options, choices_max: 1, ends_at: Some(UnixTime(1_100)) }
}

fn question(author: SlotAuthor, n: u64, options: usize) -> SlotOp {
    let (body, mentions, poll) = ("which?".to_owned(), Vec::new(), Some(poll(options)));
    op(author, n, SlotOpKind::Text { body, reply_to: None, expire_s: 0, mentions, poll })
}

fn vote(author: SlotAuthor, n: u64, numbers: &[u32]) -> SlotOp {
    op(author, n, SlotOpKind::Vote { choices: Choices::of(numbers).unwrap() })
}

fn slot_of<'a>(ops: impl IntoIterator<Item = &'a SlotOp>) -> Slot {
    let mut slot = Slot::default();
    for op in ops {
        slot.apply(op);
    }
    slot
}

fn member(number: u16) -> SlotAuthor {
    let mut account = [0; 32];
    account[..2].copy_from_slice(&number.to_be_bytes());
    SlotAuthor::Member(AccountId(account))
}

/// Three authors; all that the rules compare is their order.
fn any_author() -> impl Strategy<Value = SlotAuthor> {
    prop_oneof![Just(SlotAuthor::Me), Just(member(1)), Just(member(2))]
}

fn any_mentions() -> impl Strategy<Value = Vec<Mention>> {
    let mention = |n: u8| Mention { from: 0, len: 1, account: Aid20([n; 20]) };
    proptest::collection::vec((0_u8..2).prop_map(mention), 0..2)
}

/// Few authors, numbers and contents, so that ties, repeats and replacements are frequent.
fn any_op(with_delete: bool) -> impl Strategy<Value = SlotOp> {
    let long = || ("[ab]", "[aä]", 2_040_usize..2_050).prop_map(|(start, rest, n)| start + &rest.repeat(n * 2));
    let body = || prop_oneof![2 => "[ab]", 1 => long()];
    let kind = prop_oneof![
        3 => (body(), proptest::option::of(Just(MessageId([7; 12]))), 0_u32..2)
            .prop_flat_map(|(body, reply_to, expire_s)| {
                (any_mentions(), proptest::option::of(Just(poll(2)))).prop_map(move |(mentions, poll)| {
                    SlotOpKind::Text { body: body.clone(), reply_to, expire_s, mentions, poll }
                })
            }),
        2 => proptest::collection::vec(0_u32..4, 0..2)
            .prop_map(|numbers| SlotOpKind::Vote { choices: Choices::of(&numbers).unwrap_or_default() }),
        4 => (body(), any_mentions()).prop_map(|(body, mentions)| SlotOpKind::Edit { body, mentions }),
        2 => any::<bool>().prop_map(|off| SlotOpKind::Pin { off }),
        3 => ("[xy]", any::<bool>()).prop_map(|(emoji, remove)| SlotOpKind::React { emoji, remove }),
        u32::from(with_delete) => Just(SlotOpKind::Delete),
    ];
    (any_author(), 0_u64..6, 0_u64..2, kind).prop_map(|(author, n, m, kind)| {
        let mut op = op(author, n, kind);
        op.ts = UnixTime(m);
        op
    })
}

fn any_history() -> impl Strategy<Value = (Vec<SlotOp>, Vec<SlotOp>)> {
    let ops =
        prop_oneof![proptest::collection::vec(any_op(false), 0..12), proptest::collection::vec(any_op(true), 0..12),];
    ops.prop_flat_map(|ops| {
        let again = ops.clone();
        let repeated: Vec<SlotOp> = ops.iter().chain(&again).cloned().collect();
        (Just(ops), Just(repeated).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn equal_operations_give_equal_slots_in_any_order_and_number((ops, shuffled) in any_history()) {
        let (slot, other) = (slot_of(&ops), slot_of(&shuffled));
        prop_assert_eq!(&slot, &other);
        prop_assert_eq!(slot.encode(), other.encode());
    }

    #[test]
    fn equal_operations_give_equal_slots_over_any_partition(
        (ops, shuffled) in any_history(),
        sides in proptest::collection::vec(0_usize..3, 24),
    ) {
        let whole = slot_of(&ops);
        let part = |n: usize| slot_of(shuffled.iter().zip(&sides).filter(|(_, side)| **side == n).map(|(op, _)| op));
        let (a, b, c) = (part(0), part(1), part(2));
        let merged = |parts: [&Slot; 3]| {
            let mut slot = Slot::default();
            for part in parts {
                slot.merge(part);
            }
            slot
        };
        prop_assert_eq!(&merged([&a, &b, &c]), &whole);
        prop_assert_eq!(&merged([&c, &b, &a]), &whole);
        let mut nested = b.clone();
        nested.merge(&c);
        prop_assert_eq!(&merged([&a, &nested, &a]), &whole);
    }

    #[test]
    fn equal_operations_of_a_crowd_give_equal_slots_at_every_bound(
        edits in proptest::collection::vec((0_u16..16, 0_u64..4), 0..60)
            .prop_flat_map(|edits| (Just(edits.clone()), Just(edits).prop_shuffle())),
        first in 0_u16..16,
    ) {
        let slot = |edits: &[(u16, u64)], text_at: usize| {
            let mut slot = Slot::default();
            for (at, (author, n)) in edits.iter().enumerate() {
                if at == text_at {
                    slot.apply(&text(member(first), 1, "t"));
                }
                slot.apply(&edit(member(*author), *n, "e"));
            }
            slot.apply(&text(member(first), 1, "t"));
            slot
        };
        let (one, other) = (slot(&edits.0, 0), slot(&edits.1, edits.1.len() / 2));
        prop_assert_eq!(one.encode(), other.encode());
        prop_assert!((0..16).filter(|author| one.edits_of(member(*author)).count() > 0).count() <= SLOT_EDITORS_MAX);
    }

    #[test]
    fn delivery_and_path_join_in_any_order(
        evidence in proptest::collection::vec((any_state(), proptest::option::of(0_u8..5)), 0..6)
            .prop_flat_map(|list| (Just(list.clone()), Just(list).prop_shuffle())),
    ) {
        let joined = |list: &[(DeliveryState, Option<u8>)]| {
            let mut slot = Slot::default();
            for (state, path) in list {
                slot.raise(*state, path.and_then(Path::from_code));
            }
            slot
        };
        prop_assert_eq!(joined(&evidence.0), joined(&evidence.1));
    }

    #[test]
    fn a_deleted_message_never_comes_back((ops, shuffled) in any_history(), at in 0_usize..12) {
        let mut slot = slot_of(&ops);
        slot.apply(&delete(SlotAuthor::Peer, 0));
        for op in &shuffled {
            slot.apply(op);
        }
        slot.merge(&slot_of(ops.iter().skip(at)));
        prop_assert!(slot.is_deleted() && !slot.is_visible());
        let row = slot.row(CHAT, ID, NOW, 0, NOW);
        let shown = view(&row).unwrap();
        prop_assert!(!row.visible && row.body.is_empty() && shown.body.is_empty());
        prop_assert!(shown.edits.is_empty() && shown.reactions.is_empty() && shown.reply_to.is_none());
        prop_assert!(row.slot.len() < 100, "{} bytes stay of a deleted message", row.slot.len());
    }

    #[test]
    fn a_stored_slot_reads_back(ops in proptest::collection::vec(any_op(true), 0..12), state in any_state()) {
        let mut slot = slot_of(&ops);
        slot.raise(state, Some(Path::Direct(Route::Local)));
        prop_assert_eq!(Slot::decode(&slot.encode()), Some(slot));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Some(slot) = Slot::decode(&bytes) {
            prop_assert_eq!(Slot::decode(&slot.encode()), Some(slot));
        }
    }
}

#[test]
fn nothing_of_a_deleted_text_is_left_to_guess_it_by() {
    let deleted = |body| slot_of([&text(SlotAuthor::Peer, 1, body), &delete(SlotAuthor::Me, 2)]);
    assert_eq!(deleted("yes").encode(), deleted("no").encode());
    let late = slot_of([&delete(SlotAuthor::Me, 2), &text(SlotAuthor::Peer, 1, "maybe")]);
    assert_eq!(late.encode(), deleted("yes").encode());
}

#[test]
fn an_edit_and_a_reaction_wait_for_their_text() {
    let mut slot = Slot::default();
    assert_eq!(slot.apply(&edit(SlotAuthor::Peer, 5, "second")), Changed::Kept);
    assert_eq!(slot.apply(&react(SlotAuthor::Me, 6, "x", false)), Changed::Kept);
    assert!(!slot.row(CHAT, ID, NOW, 0, NOW).visible);
    assert_eq!(slot.apply(&text(SlotAuthor::Peer, 4, "first")), Changed::Appeared);
    let shown = view(&slot.row(CHAT, ID, NOW, 0, NOW)).unwrap();
    assert_eq!((shown.body.as_str(), shown.edits[0].body.as_str()), ("second", "first"));
    assert_eq!(shown.edited_at, Some(UnixTime(1_005)));
    assert_eq!(shown.reactions.len(), 1);
    assert_eq!((shown.outgoing, shown.delivery), (false, DeliveryState::Local));
}

#[test]
fn only_the_author_of_a_text_changes_it() {
    let mut slot = slot_of([&text(SlotAuthor::Me, 1, "mine")]);
    assert_eq!(slot.apply(&edit(SlotAuthor::Peer, 9, "theirs")), Changed::Kept);
    assert_eq!(slot.body(), Some("mine"));
    assert_eq!(slot.apply(&edit(SlotAuthor::Me, 2, "mine too")), Changed::Edited);
    assert_eq!(slot.apply(&edit(SlotAuthor::Me, 2, "mine too")), Changed::Nothing);
    assert_eq!(slot.apply(&edit(SlotAuthor::Me, 1, "older")), Changed::Kept);
    assert_eq!(slot.body(), Some("mine too"));
}

#[test]
fn the_other_side_cannot_take_over_an_own_message_by_its_id() {
    let mut slot = slot_of([&text(SlotAuthor::Me, 50, "mine")]);
    slot.apply(&text(SlotAuthor::Peer, 1, "theirs"));
    assert_eq!((slot.body(), slot.author()), (Some("mine"), Some(SlotAuthor::Me)));
}

#[test]
fn a_second_text_under_the_same_id_shows_as_an_edit() {
    let mut slot = slot_of([&text(SlotAuthor::Peer, 5, "seen")]);
    slot.apply(&text(SlotAuthor::Peer, 1, "slipped under"));
    assert_eq!(slot.body(), Some("seen"));
    let shown = view(&slot.row(CHAT, ID, NOW, 0, NOW)).unwrap();
    assert_eq!(shown.edits[0].body, "slipped under");
}

#[test]
fn the_last_reaction_of_each_side_counts() {
    let mut slot = slot_of([&text(SlotAuthor::Peer, 1, "t")]);
    assert_eq!(slot.apply(&react(SlotAuthor::Peer, 2, "x", false)), Changed::Reacted);
    assert_eq!(slot.apply(&react(SlotAuthor::Me, 3, "y", false)), Changed::Reacted);
    assert_eq!(slot.apply(&react(SlotAuthor::Me, 5, "y", true)), Changed::Reacted);
    assert_eq!(slot.apply(&react(SlotAuthor::Me, 4, "z", false)), Changed::Nothing);
    let shown = view(&slot.row(CHAT, ID, NOW, 0, NOW)).unwrap();
    assert_eq!(
        shown.reactions.iter().map(|r| (r.author, r.emoji.as_str())).collect::<Vec<_>>(),
        [(SlotAuthor::Peer, "x")]
    );
}

#[test]
fn every_member_has_a_reaction_of_their_own_and_the_author_is_shown() {
    let mut slot = slot_of([&text(member(7), 1, "t")]);
    for (author, n, emoji) in [(member(7), 2, "x"), (member(9), 3, "y"), (SlotAuthor::Me, 4, "z")] {
        assert_eq!(slot.apply(&react(author, n, emoji, false)), Changed::Reacted);
    }
    assert_eq!(slot.apply(&react(member(9), 5, "y", true)), Changed::Reacted);
    let row = slot.row(CHAT, ID, NOW, 0, NOW);
    let shown = view(&row).unwrap();
    assert_eq!((row.author, shown.author, row.outgoing), (member(7).member(), member(7).member(), false));
    assert_eq!(shown.delivery, DeliveryState::Local);
    let reactions: Vec<_> = shown.reactions.iter().map(|r| (r.author, r.emoji.as_str())).collect();
    assert_eq!(reactions, [(SlotAuthor::Me, "z"), (member(7), "x")]);
    let own = slot_of([&text(SlotAuthor::Me, 1, "t")]).row(CHAT, ID, NOW, 0, NOW);
    assert_eq!((own.author, own.outgoing), (None, true));
}

#[test]
fn another_member_changes_nothing_that_is_shown() {
    let mut slot = slot_of([&text(member(7), 1, "theirs")]);
    assert_eq!(slot.apply(&edit(member(9), 9, "mine now")), Changed::Kept);
    assert_eq!(slot.apply(&edit(SlotAuthor::Me, 9, "mine now")), Changed::Kept);
    assert_eq!(slot.body(), Some("theirs"));
    assert_eq!(slot.apply(&edit(member(7), 2, "theirs, better")), Changed::Edited);
}

#[test]
fn a_crowd_of_editors_and_reactors_is_bounded_and_the_least_stay() {
    let mut slot = slot_of([&text(member(0), 1, "t")]);
    for author in (0..SLOT_EDITORS_MAX as u16 + 3).rev() {
        slot.apply(&edit(member(author), 5, "e"));
    }
    let kept = |slot: &Slot, author| slot.edits_of(member(author)).count();
    assert!((0..SLOT_EDITORS_MAX as u16).all(|author| kept(&slot, author) == 1));
    assert!((SLOT_EDITORS_MAX as u16..SLOT_EDITORS_MAX as u16 + 3).all(|author| kept(&slot, author) == 0));
    assert_eq!(slot.apply(&edit(member(500), 6, "late")), Changed::Nothing);
    for author in (0..SLOT_REACTIONS_MAX as u16 + 1).rev() {
        assert_eq!(slot.apply(&react(member(author), 7, "x", false)), Changed::Reacted);
    }
    assert_eq!(slot.apply(&react(member(u16::MAX), 8, "y", false)), Changed::Nothing);
    assert_eq!(view(&slot.row(CHAT, ID, NOW, 0, NOW)).unwrap().reactions.len(), SLOT_REACTIONS_MAX);
    assert_eq!(Slot::decode(&slot.encode()), Some(slot));
}

#[test]
fn a_row_from_before_there_were_groups_reads_as_it_did() {
    // Written when `who` was 0 or 1 and there was no account: a seed of the fuzz corpus.
    let old: &[u8] = include_bytes!("../../../tests/fuzz/corpus/slot_record/seed-00");
    let slot = Slot::decode(old).expect("an old row");
    assert_eq!(slot.author(), Some(SlotAuthor::Peer));
    assert_eq!(slot.encode(), old, "and is written as it was");
    let mut unnamed = slot_of([&text(SlotAuthor::Peer, 1, "t")]).encode();
    let at = unnamed.windows(2).position(|bytes| bytes == [0x08, 1]).expect("who of the text");
    unnamed[at + 1] = 2;
    assert_eq!(Slot::decode(&unnamed), None, "a member without an account is damage");
}

#[test]
fn edits_are_bounded_and_the_oldest_go_first() {
    let mut slot = slot_of([&text(SlotAuthor::Me, 0, "t")]);
    let long = "ä".repeat(TEXT_BYTES_MAX / 2);
    for n in 1..=SLOT_EDITS_MAX as u64 + 9 {
        assert_eq!(slot.apply(&edit(SlotAuthor::Me, n, &long)), if n == 1 { Changed::Edited } else { Changed::Kept });
    }
    assert_eq!(slot.apply(&edit(SlotAuthor::Me, 1, "too late")), Changed::Nothing);
    assert_eq!(slot.edits_of(SlotAuthor::Me).count(), SLOT_EDITS_MAX);
    assert_eq!(slot.edits_of(SlotAuthor::Me).next().unwrap().0.lamport, 10);
    assert_eq!(slot.body().unwrap().len(), TEXT_BYTES_MAX);
    assert!(slot.encode().len() < TEXT_BYTES_MAX + SLOT_EDITS_MAX * (SUPERSEDED_BYTES_MAX + 64));
}

#[test]
fn oversized_and_empty_operations_change_nothing() {
    let mut slot = slot_of([&text(SlotAuthor::Peer, 1, "t")]);
    let before = slot.clone();
    let long = "a".repeat(TEXT_BYTES_MAX + 1);
    for op in [
        text(SlotAuthor::Peer, 0, &long),
        text(SlotAuthor::Peer, 0, ""),
        edit(SlotAuthor::Peer, 9, &long),
        edit(SlotAuthor::Peer, 9, ""),
        react(SlotAuthor::Peer, 9, &"a".repeat(REACTION_BYTES_MAX + 1), false),
        react(SlotAuthor::Peer, 9, "", true),
    ] {
        assert_eq!(slot.apply(&op), Changed::Nothing);
    }
    assert_eq!(slot, before);
}

#[test]
fn a_row_disappears_with_its_text_its_conversation_or_its_tombstone() {
    let day_s = 86_400;
    let kind =
        SlotOpKind::Text { body: "t".to_owned(), reply_to: None, expire_s: 60, mentions: Vec::new(), poll: None };
    let mut slot = slot_of([&op(SlotAuthor::Peer, 1, kind)]);
    assert_eq!(slot.row(CHAT, ID, NOW, day_s, NOW).expires_at, NOW.after_ms(60_000));
    slot.apply(&delete(SlotAuthor::Me, 2));
    assert_eq!(slot.row(CHAT, ID, NOW, 0, NOW.after_ms(5)).expires_at, NOW.after_ms(TOMBSTONE_MS + 5));
    assert_eq!(slot.row(CHAT, ID, NOW, day_s, NOW).expires_at, NOW.after_ms(DAY_MS));
    let orphan = slot_of([&edit(SlotAuthor::Peer, 1, "t")]);
    assert_eq!(orphan.row(CHAT, ID, NOW, 0, NOW).expires_at, NOW.after_ms(90 * DAY_MS));
    let plain = slot_of([&text(SlotAuthor::Peer, 1, "t")]);
    assert_eq!(plain.row(CHAT, ID, NOW, 0, NOW).expires_at, UnixTime(0));
}

#[test]
fn the_path_is_that_of_the_highest_state() {
    let mut slot = slot_of([&text(SlotAuthor::Me, 1, "t")]);
    let held = DeliveryState::Held { relays: 1, until: NOW };
    let delivered = DeliveryState::Delivered { at: NOW };
    assert_eq!(slot.delivery(), DeliveryState::Queued);
    assert!(slot.raise(held, Some(Path::Relay)));
    assert!(!slot.raise(held, Some(Path::Relay)));
    assert!(slot.raise(delivered, Some(Path::Direct(Route::Local))));
    assert!(!slot.raise(held, Some(Path::Relay)));
    assert!(!slot.raise(DeliveryState::Failed(FailReason::Expired), None));
    let shown = view(&slot.row(CHAT, ID, NOW, 0, NOW)).unwrap();
    assert_eq!((shown.delivery, shown.path), (delivered, Some(Path::Direct(Route::Local))));
}

#[test]
fn the_last_word_on_a_pin_counts_and_a_deleted_message_is_none() {
    let pin = |author, n, off| op(author, n, SlotOpKind::Pin { off });
    let mut slot = slot_of(&[text(member(1), 1, "a")]);
    assert_eq!(slot.apply(&pin(member(2), 5, false)), Changed::Pinned);
    assert_eq!(slot.pinned().map(|pin| pin.author), Some(member(2)));
    assert_eq!(slot.apply(&pin(SlotAuthor::Me, 4, true)), Changed::Nothing, "said before");
    assert_eq!(slot.apply(&pin(SlotAuthor::Me, 6, false)), Changed::Kept, "pinned already");
    assert_eq!(slot.apply(&pin(member(2), 7, true)), Changed::Pinned);
    assert!(slot.pinned().is_none());
    let mut early = slot_of(&[pin(member(2), 5, false)]);
    assert_eq!(early.apply(&text(member(1), 1, "a")), Changed::Appeared);
    assert!(early.pinned().is_some(), "a pin may come before its message");
    early.apply(&delete(member(1), 9));
    assert!(early.pinned().is_none());
    assert_eq!(early.apply(&pin(member(2), 10, false)), Changed::Nothing);
}

#[test]
fn the_last_vote_of_each_counts_whenever_the_poll_comes() {
    let mut slot = Slot::default();
    assert_eq!(slot.apply(&vote(member(2), 5, &[1])), Changed::Kept, "before its poll");
    assert_eq!(slot.apply(&question(member(1), 1, 3)), Changed::Appeared);
    assert_eq!(slot.apply(&vote(member(2), 4, &[0])), Changed::Nothing, "said before");
    assert_eq!(slot.apply(&vote(SlotAuthor::Me, 6, &[0])), Changed::Voted);
    assert_eq!(slot.apply(&vote(SlotAuthor::Me, 7, &[2])), Changed::Voted, "another choice");
    for (author, n, numbers) in [(3, 8, &[0, 1][..]), (4, 8, &[3]), (5, 101, &[0]), (6, 8, &[])] {
        slot.apply(&vote(member(author), n, numbers)); // too many, none there, after the end, taken back
    }
    assert_eq!(slot.apply(&vote(member(3), 9, &[0, 2])), Changed::Kept, "still too many");
    let shown = view(&slot.row(CHAT, ID, NOW, 0, NOW)).unwrap().poll.unwrap();
    let counted: Vec<_> =
        shown.votes.iter().map(|vote| (vote.author, vote.choices.numbers().collect::<Vec<_>>())).collect();
    assert_eq!(counted, [(SlotAuthor::Me, vec![2]), (member(2), vec![1])]);
    assert_eq!(slot.apply(&vote(SlotAuthor::Me, 9, &[])), Changed::Voted, "taken back");
    slot.apply(&delete(member(1), 20));
    assert!(slot.poll().is_none());
    assert_eq!(slot.apply(&vote(member(2), 21, &[0])), Changed::Nothing);
}

#[test]
fn a_question_stays_as_it_was_asked() {
    let mut slot = slot_of(&[question(member(1), 1, 2)]);
    assert_eq!(slot.apply(&edit(member(1), 2, "another question")), Changed::Kept);
    let shown = view(&slot.row(CHAT, ID, NOW, 0, NOW)).unwrap();
    assert_eq!((shown.body.as_str(), shown.edits.len(), shown.edited_at), ("which?", 0, None));
    let broken = |options| slot_of(&[question(member(1), 1, options)]);
    assert_eq!(broken(1), Slot::default(), "a poll that could not be sent");
}

#[test]
fn the_votes_of_a_crowd_are_bounded_and_the_same_in_any_order() {
    let all = || (0..=u16::try_from(SLOT_VOTES_MAX).unwrap()).map(|n| vote(member(n), 5, &[0]));
    let (mut one, mut other) = (Slot::default(), Slot::default());
    for (vote, last_first) in all().zip(all().rev()) {
        one.apply(&vote);
        other.apply(&last_first);
    }
    assert_eq!(one.votes.len(), SLOT_VOTES_MAX);
    assert_eq!(one, other);
}

#[test]
fn an_edit_says_whom_the_text_mentions_from_then_on() {
    let mention = |n: u8| vec![Mention { from: 0, len: 2, account: Aid20([n; 20]) }];
    let text = |mentions| SlotOpKind::Text { body: "@a".to_owned(), reply_to: None, expire_s: 0, mentions, poll: None };
    let edit = |mentions| SlotOpKind::Edit { body: "@b".to_owned(), mentions };
    let mut slot = slot_of(&[op(member(1), 1, text(mention(1)))]);
    assert_eq!(slot.mentions(), mention(1));
    slot.apply(&op(member(1), 2, edit(mention(2))));
    assert_eq!(slot.mentions(), mention(2));
    assert_eq!(Slot::decode(&slot.encode()), Some(slot.clone()));
    slot.apply(&op(member(1), 3, edit(Vec::new())));
    assert_eq!(slot.mentions(), []);
    slot.apply(&delete(member(1), 4));
    assert_eq!(slot.mentions(), []);
}
