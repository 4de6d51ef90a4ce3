//! The ratchet against loss, disorder, duplication, manipulation, rollback and copied state.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::test_pair::{HEAD, NOW, Peer, fresh_pair, talking_pair};
use super::{Chain, OpenError, SealError, Session, SkippedKey, TagPlace, open_skipped, tag_of};
use crate::chance::Chance;
use crate::ids::Tag;
use crate::limits::{
    ENVELOPE_BYTES_MAX, RATCHET_JUMP_MAX, SEND_AHEAD_MAX, SKIPPED_KEY_AGE_MS, SKIPPED_KEYS_PER_SESSION_MAX,
    TAG_LANDMARK_STEP,
};

fn chance() -> Chance {
    Chance::from_seed([99; 32])
}

fn place_of(session: &Session, tag: &Tag) -> Option<TagPlace> {
    session.tags().into_iter().find(|(known, _)| known == tag).map(|(_, place)| place)
}

#[test]
fn an_envelope_says_its_tag_and_its_receipt_and_nothing_else_in_clear() {
    let (mut alice, bob) = fresh_pair(1);
    let sealed = alice.send(b"padded plaintext");
    assert_eq!(sealed.envelope[..4], HEAD);
    assert_eq!(sealed.envelope[4..16], sealed.tag.0);
    assert_eq!(tag_of(&sealed.preimage), sealed.tag);
    let place = place_of(&bob.session, &sealed.tag).unwrap();
    let opened = bob.session.open(place, &sealed.envelope, NOW, &mut chance()).unwrap();
    assert_eq!(opened.plaintext, b"padded plaintext");
    assert_eq!(opened.preimage, sealed.preimage);
    assert_eq!(opened.log_head3, [1, 2, 3]);
    assert!(opened.session.answered);
    assert_eq!(opened.session.last_received, NOW);
    assert!(opened.session.can_seal());
}

#[test]
fn the_ratchet_key_is_sent_until_a_receipt_confirms_it() {
    let (mut alice, mut bob) = fresh_pair(1);
    let sizes = |peer: &mut Peer| peer.send(&[0; 64]).envelope.len() - 64;
    assert_eq!(sizes(&mut alice), 16 + 13 + 32 + 16);
    let second = alice.send(&[0; 64]);
    assert_eq!(second.envelope.len() - 64, 16 + 13 + 32 + 16);
    alice.session.receipt(second.place);
    assert_eq!(sizes(&mut alice), 16 + 13 + 16, "45 bytes inside a chain");
    bob.receive(&second.envelope).unwrap();
    assert_eq!(sizes(&mut bob), 16 + 13 + 32 + 16, "a chain of its own");
}

#[test]
fn a_receipt_is_found_by_its_preimage() {
    let (mut alice, _) = fresh_pair(1);
    let sealed: Vec<_> = (0..5).map(|_| alice.send(b"x")).collect();
    let before = alice.session.state_hash();
    assert!(!alice.session.receipt_preimage(&crate::ids::Preimage([0; 16])));
    assert_eq!(alice.session.state_hash(), before);
    assert!(alice.session.receipt_preimage(&sealed[3].preimage));
    let confirmed = alice.session.state_hash();
    assert!(!alice.session.receipt_preimage(&sealed[1].preimage), "below the highest receipt: nothing to learn");
    alice.session.receipt(sealed[1].place);
    assert_eq!(alice.session.state_hash(), confirmed);
}

#[test]
fn receipts_of_an_older_chain_do_not_confirm_the_current_one() {
    let (mut alice, mut bob) = fresh_pair(1);
    let old = alice.send(b"old");
    bob.receive(&old.envelope).unwrap();
    let back = bob.send(b"back");
    alice.receive(&back.envelope).unwrap();
    let before = alice.session.state_hash();
    alice.session.receipt(old.place);
    assert_eq!(alice.session.state_hash(), before);
}

#[test]
fn a_sender_stops_when_no_receipt_comes() {
    let (mut alice, mut bob) = fresh_pair(1);
    let mut sealed = Vec::new();
    let mut chance = chance();
    for _ in 0..SEND_AHEAD_MAX {
        sealed.push(alice.session.seal(HEAD, b"", [0; 3], NOW, &mut chance).unwrap());
    }
    let before = alice.session.state_hash();
    assert_eq!(alice.session.seal(HEAD, b"", [0; 3], NOW, &mut chance), Err(SealError::TooFarAhead));
    assert_eq!(alice.session.state_hash(), before);
    bob.receive(&sealed[0].envelope).unwrap();
    let last_landmark = (SEND_AHEAD_MAX - 1) / TAG_LANDMARK_STEP * TAG_LANDMARK_STEP;
    assert!(bob.receive(&sealed[last_landmark as usize].envelope).is_ok(), "the furthest landmark is in the window");
    alice.session.receipt(sealed[10].place);
    assert!(alice.session.seal(HEAD, b"", [0; 3], NOW, &mut chance).is_ok());
}

#[test]
fn too_long_a_plaintext_is_refused_and_changes_nothing() {
    let (mut alice, _) = fresh_pair(1);
    let before = alice.session.state_hash();
    let refused = alice.session.seal(HEAD, &vec![0; ENVELOPE_BYTES_MAX], [0; 3], NOW, &mut chance());
    assert_eq!(refused, Err(SealError::TooLong));
    assert_eq!(alice.session.state_hash(), before);
}

#[test]
fn tags_are_deterministic_and_distinct() {
    let (alice, bob) = talking_pair(1);
    for session in [&alice.session, &bob.session] {
        let tags = session.tags();
        assert_eq!(tags, session.tags());
        let distinct: BTreeSet<Tag> = tags.iter().map(|(tag, _)| *tag).collect();
        assert_eq!(distinct.len(), tags.len());
        assert!((200..=204).contains(&tags.len()), "{}", tags.len());
    }
}

#[test]
fn a_landmark_re_centres_the_window_after_a_gap() {
    let (mut alice, mut bob) = talking_pair(1);
    let sealed: Vec<_> = (0..200).map(|_| alice.send(b"x")).collect();
    bob.receive(&sealed[0].envelope).unwrap();
    assert_eq!(bob.receive(&sealed[150].envelope), Err(OpenError::UnknownTag), "neither dense nor a landmark");
    bob.receive(&sealed[128].envelope).unwrap();
    bob.receive(&sealed[150].envelope).unwrap();
    for missing in (1..128).chain(129..150).chain(151..200) {
        assert_eq!(bob.receive(&sealed[missing].envelope).unwrap(), b"x", "{missing}");
    }
    assert!(bob.skipped.is_empty());
}

#[test]
fn t11_a_second_delivery_finds_no_key() {
    let (mut alice, mut bob) = talking_pair(1);
    let sealed = alice.send(b"once");
    bob.receive(&sealed.envelope).unwrap();
    let before = bob.session.state_hash();
    for _ in 0..3 {
        assert_eq!(bob.receive(&sealed.envelope), Err(OpenError::UnknownTag));
    }
    for n in 0..3 {
        for chain in [Chain::Current, Chain::Next] {
            assert!(bob.session.open(TagPlace { chain, n }, &sealed.envelope, NOW, &mut chance()).is_err());
        }
    }
    assert_eq!(bob.session.state_hash(), before);
}

#[test]
fn t06_an_envelope_reflected_to_its_sender_is_rejected() {
    let (mut alice, mut bob) = talking_pair(1);
    for peer in [&mut alice, &mut bob] {
        let sealed = peer.send(b"mine");
        assert_eq!(peer.receive(&sealed.envelope), Err(OpenError::UnknownTag));
        for chain in [Chain::Current, Chain::Next] {
            for n in 0..4 {
                assert!(peer.session.open(TagPlace { chain, n }, &sealed.envelope, NOW, &mut chance()).is_err());
            }
        }
    }
}

#[test]
fn t06_an_envelope_of_another_session_is_rejected() {
    let (mut alice, _) = talking_pair(1);
    let (_, mut bob_two) = talking_pair(2);
    let sealed = alice.send(b"for bob one");
    assert_eq!(bob_two.receive(&sealed.envelope), Err(OpenError::UnknownTag));
}

#[test]
fn t12_two_thousand_messages_in_any_order_with_thirty_percent_lost() {
    let (mut alice, mut bob) = talking_pair(3);
    let mut order = Chance::from_seed([5; 32]);
    let mut delivered = 0;
    for round in 0..10u8 {
        // Both directions at once; the batch is shuffled, then 30 % of it is lost for good.
        let mut flight: Vec<(bool, Vec<u8>, Vec<u8>)> = Vec::new();
        for i in 0..100u8 {
            flight.push((true, vec![round, i], alice.send(&[round, i]).envelope));
            flight.push((false, vec![round, i], bob.send(&[round, i]).envelope));
        }
        for i in (1..flight.len()).rev() {
            flight.swap(i, order.below(i as u64 + 1) as usize);
        }
        flight.retain(|(_, text, _)| text[1].is_multiple_of(8) || order.below(10) >= 3);
        // What no window knows yet waits at the relay and comes again.
        while !flight.is_empty() {
            let before = flight.len();
            flight.retain(|(to_bob, text, envelope)| {
                let receiver = if *to_bob { &mut bob } else { &mut alice };
                match receiver.receive(envelope) {
                    Ok(plain) => {
                        assert_eq!(&plain, text);
                        delivered += 1;
                        false
                    }
                    Err(error) => {
                        assert_eq!(error, OpenError::UnknownTag);
                        true
                    }
                }
            });
            assert!(flight.len() < before, "round {round}: {before} envelopes are stuck");
        }
    }
    assert!(delivered > 1_300, "{delivered}");
}

#[test]
fn t13_jumps_beyond_the_bound_are_refused() {
    let (mut alice, mut bob) = talking_pair(1);
    let first = alice.send(b"x");
    bob.receive(&first.envelope).unwrap();
    let sealed = alice.send(b"x");
    let before = bob.session.state_hash();
    for n in [RATCHET_JUMP_MAX + 3, 25_001, 1_000_000, u32::MAX - 1, u32::MAX] {
        for chain in [Chain::Current, Chain::Next] {
            let refused = bob.session.open(TagPlace { chain, n }, &sealed.envelope, NOW, &mut chance());
            assert_eq!(refused, Err(OpenError::TooFar), "{n}");
        }
    }
    assert_eq!(bob.session.state_hash(), before);
}

#[test]
fn t13_a_peer_that_says_its_last_chain_was_endless_is_refused() {
    let (mut alice, mut bob) = talking_pair(1);
    let first = alice.send(b"x");
    bob.receive(&first.envelope).unwrap();
    let turn = bob.send(b"turn");
    alice.receive(&turn.envelope).unwrap();
    for previous_len in [RATCHET_JUMP_MAX + 2, 1_000_000, u32::MAX] {
        let mut lying = alice.clone();
        lying.session.previous_len = previous_len;
        let sealed = lying.send(b"x");
        let before = bob.session.state_hash();
        assert_eq!(bob.receive(&sealed.envelope), Err(OpenError::TooFar));
        assert_eq!(bob.session.state_hash(), before);
    }
    let sealed = alice.send(b"x");
    assert!(bob.receive(&sealed.envelope).is_ok(), "the truth still opens");
}

#[test]
fn t13_skipped_keys_of_one_jump_are_bounded_and_carry_their_age() {
    let (mut alice, mut bob) = talking_pair(1);
    let first = alice.send(b"x");
    bob.receive(&first.envelope).unwrap();
    let mut chance = chance();
    let seal = |_| {
        let sealed = alice.session.seal(HEAD, b"y", [0; 3], NOW, &mut chance).unwrap();
        alice.session.receipt(sealed.place); // a peer that does not keep to the bound
        sealed
    };
    let sealed: Vec<_> = (0..3_200).map(seal).collect();
    let landmark = &sealed[3_167];
    assert_eq!(landmark.place.n % TAG_LANDMARK_STEP, 0);
    let place = place_of(&bob.session, &landmark.tag).unwrap();
    let opened = bob.session.open(place, &landmark.envelope, NOW, &mut chance).unwrap();
    assert_eq!(opened.skipped.len(), SKIPPED_KEYS_PER_SESSION_MAX);
    let (tag, key) = opened.skipped.last().unwrap();
    assert_eq!((*tag, key.n()), (sealed[3_166].tag, landmark.place.n - 1), "the newest are kept");
    assert_eq!(key.expires_at(), NOW.after_ms(SKIPPED_KEY_AGE_MS));
    assert_eq!(key.session(), bob.session.id());
}

/// Flips every bit of one envelope at a receiver that would have opened it.
fn flip_every_bit(bytes: usize, bob: &Peer, envelope: &[u8]) {
    assert_eq!(envelope.len(), bytes);
    let tag = Tag::read(&envelope[4..16]).unwrap();
    let place = place_of(&bob.session, &tag).unwrap();
    let before = bob.session.state_hash();
    for bit in 0..bytes * 8 {
        let mut flipped = envelope.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(bob.session.open(place, &flipped, NOW, &mut chance()).is_err(), "bit {bit}");
        if bit % 64 == 0 {
            assert_eq!(bob.session.state_hash(), before);
        }
    }
    assert_eq!(bob.session.state_hash(), before);
    assert!(bob.clone().receive(envelope).is_ok());
}

#[test]
fn t14_every_flipped_bit_is_rejected_in_a_running_chain() {
    let (mut alice, mut bob) = talking_pair(1);
    let first = alice.send(b"x");
    bob.receive(&first.envelope).unwrap();
    alice.session.receipt(first.place);
    let sealed = alice.send(&[0xA5; 4_096 - 45]);
    flip_every_bit(4_096, &bob, &sealed.envelope);
}

#[test]
fn t14_every_flipped_bit_is_rejected_in_the_first_envelope_of_a_chain() {
    let (mut alice, bob) = talking_pair(1);
    let sealed = alice.send(&[0xA5; 1_024 - 77]);
    flip_every_bit(1_024, &bob, &sealed.envelope);
}

#[test]
fn t14_every_flipped_bit_is_rejected_by_a_skipped_key() {
    let (mut alice, mut bob) = talking_pair(1);
    let (overtaken, overtaking) = (alice.send(&[1; 200]), alice.send(b"x"));
    bob.receive(&overtaking.envelope).unwrap();
    let key = bob.skipped.get(&overtaken.tag).unwrap();
    for bit in 0..overtaken.envelope.len() * 8 {
        let mut flipped = overtaken.envelope.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(open_skipped(key, &flipped).is_err(), "bit {bit}");
    }
    let opened = open_skipped(key, &overtaken.envelope).unwrap();
    assert_eq!((opened.plaintext.as_slice(), opened.preimage), ([1; 200].as_slice(), overtaken.preimage));
}

#[test]
fn t15_truncated_lengthened_and_glued_envelopes_are_rejected() {
    let (mut alice, mut bob) = talking_pair(1);
    let (one, two) = (alice.send(&[1; 100]), alice.send(&[2; 100]));
    let before = bob.session.state_hash();
    for len in 0..one.envelope.len() {
        assert!(bob.receive(&one.envelope[..len]).is_err(), "{len} bytes");
    }
    for extra in 1..=64 {
        let longer = [one.envelope.as_slice(), &vec![0; extra]].concat();
        assert!(bob.receive(&longer).is_err(), "{extra} more bytes");
    }
    assert!(bob.receive(&[one.envelope.as_slice(), &two.envelope].concat()).is_err());
    assert_eq!(bob.receive(&vec![0; ENVELOPE_BYTES_MAX + 1]), Err(OpenError::UnknownTag));
    let place = place_of(&bob.session, &one.tag).unwrap();
    let huge = [one.envelope.as_slice(), &vec![0; ENVELOPE_BYTES_MAX]].concat();
    assert_eq!(bob.session.open(place, &huge, NOW, &mut chance()), Err(OpenError::Length));
    assert_eq!(bob.session.state_hash(), before);
    assert!(bob.receive(&one.envelope).is_ok());
}

#[test]
fn t18_a_copied_state_goes_blind_after_one_round_trip() {
    let (mut alice, mut bob) = talking_pair(1);
    let mut thief = alice.clone();
    thief.seed = 1 << 60;
    let there = alice.send(b"there");
    bob.receive(&there.envelope).unwrap();
    let back = bob.send(b"back, under a key the thief has");
    assert!(thief.receive(&back.envelope).is_ok(), "the copy is a real one");
    alice.receive(&back.envelope).unwrap();
    // The round trip is over: Alice has a ratchet key that was never copied.
    let healed = alice.send(b"healed");
    bob.receive(&healed.envelope).unwrap();
    for round in 0..100u8 {
        let sealed = bob.send(&[round]);
        // The header key of this one chain is still the copied one; nothing it protects opens.
        assert!(thief.receive(&sealed.envelope).is_err(), "round {round}");
        alice.receive(&sealed.envelope).unwrap();
    }
}

#[test]
fn t19_a_state_copied_later_opens_nothing_of_the_past() {
    let (mut alice, mut bob) = talking_pair(1);
    let mut past = Vec::new();
    for round in 0..6u8 {
        let there = alice.send(&[round]);
        bob.receive(&there.envelope).unwrap();
        past.push(there.envelope);
        if round % 2 == 0 {
            let back = bob.send(&[round]);
            alice.receive(&back.envelope).unwrap();
            past.push(back.envelope);
        }
    }
    for thief in [&alice, &bob] {
        assert!(thief.skipped.is_empty());
        for envelope in &past {
            let tag = Tag::read(&envelope[4..16]).unwrap();
            assert_eq!(place_of(&thief.session, &tag), None);
            for chain in [Chain::Current, Chain::Next] {
                for n in 0..8 {
                    assert!(thief.session.open(TagPlace { chain, n }, envelope, NOW, &mut chance()).is_err());
                }
            }
        }
    }
}

#[test]
fn t20_envelopes_of_one_session_share_no_bytes_but_the_fixed_part() {
    let (mut alice, _) = talking_pair(1);
    let sealed: Vec<Vec<u8>> = (0..200).map(|_| alice.send(&[0; 64]).envelope).collect();
    for column in 4..sealed[0].len() {
        let values: BTreeSet<u8> = sealed.iter().map(|envelope| envelope[column]).collect();
        assert!(values.len() > 60, "byte {column} takes {} values in 200 envelopes", values.len());
    }
}

#[test]
fn a_rolled_back_state_never_uses_a_key_twice() {
    let (alice, _) = talking_pair(1);
    let mut keys = BTreeSet::new();
    for restored in 0..50u64 {
        let mut again = alice.clone();
        again.seed = restored << 40;
        for text in [&b"one"[..], b"two"] {
            assert!(keys.insert(again.send(text).key_id));
        }
    }
}

#[test]
fn sessions_and_skipped_keys_are_stored_and_read_back() {
    let (mut alice, mut bob) = fresh_pair(1);
    let check = |session: &Session| {
        let read = Session::decode(&session.encode()).unwrap();
        assert!(read == *session);
        assert_eq!(read.state_hash(), session.state_hash());
    };
    check(&alice.session);
    check(&bob.session);
    let (overtaken, overtaking) = (alice.send(b"1"), alice.send(b"2"));
    bob.receive(&overtaking.envelope).unwrap();
    bob.session.epoch = 3;
    check(&bob.session);
    let key = bob.skipped.get(&overtaken.tag).unwrap();
    let read = SkippedKey::decode(&key.encode()).unwrap();
    assert_eq!(&read, key);
    assert_eq!(open_skipped(&read, &overtaken.envelope).unwrap().plaintext, b"1");
    let bytes = bob.session.encode();
    for len in 0..bytes.len() {
        assert!(Session::decode(&bytes[..len]).is_none(), "{len} bytes");
    }
    let mut newer = bytes.clone();
    newer[1] = 2;
    assert!(Session::decode(&newer).is_none(), "a version this program does not know");
}

#[test]
fn nothing_secret_is_printed() {
    let (mut alice, mut bob) = talking_pair(1);
    let (overtaken, overtaking) = (alice.send(b"1"), alice.send(b"2"));
    bob.receive(&overtaking.envelope).unwrap();
    assert_eq!(format!("{:?}", bob.session), format!("Session({})", bob.session.id()));
    let key = format!("{:?}", bob.skipped.get(&overtaken.tag).unwrap());
    assert!(key.contains("message_key: Secret(..)") && key.contains("header_key: Secret(..)"), "{key}");
}

/// What the network and the two people do next.
#[derive(Clone, Copy, Debug)]
enum Act {
    Send { from_alice: bool },
    Deliver { pick: usize },
    Duplicate { pick: usize },
    Lose { pick: usize },
    Receipt { from_alice: bool },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => any::<bool>().prop_map(|from_alice| Act::Send { from_alice }),
        4 => any::<usize>().prop_map(|pick| Act::Deliver { pick }),
        1 => any::<usize>().prop_map(|pick| Act::Duplicate { pick }),
        1 => any::<usize>().prop_map(|pick| Act::Lose { pick }),
        1 => any::<bool>().prop_map(|from_alice| Act::Receipt { from_alice }),
    ]
}

struct InFlight {
    to_bob: bool,
    number: usize,
    n: u32,
    copies: u32,
    envelope: Vec<u8>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn t12_whatever_arrives_in_whatever_order_is_read_exactly_once(acts in prop::collection::vec(act(), 1..80)) {
        let (mut alice, mut bob) = fresh_pair(4);
        let mut flight: Vec<InFlight> = Vec::new();
        let mut sent = 0usize;
        let mut lost = BTreeSet::new();
        let mut read = BTreeSet::new();
        let mut last_read = [None, None];
        let mut step = |flight: &mut Vec<InFlight>, at: usize, alice: &mut Peer, bob: &mut Peer, keep: bool| {
            let item = &mut flight[at];
            let receiver = if item.to_bob { bob } else { alice };
            let before = receiver.session.state_hash();
            match receiver.receive(&item.envelope) {
                Ok(plain) => {
                    assert_eq!(plain, item.number.to_be_bytes());
                    assert!(read.insert(item.number), "message {} was read twice", item.number);
                }
                Err(error) => {
                    assert_eq!(error, OpenError::UnknownTag);
                    assert_eq!(receiver.session.state_hash(), before);
                }
            }
            if !keep && read.contains(&item.number) {
                item.copies -= 1;
                if item.copies == 0 {
                    flight.swap_remove(at);
                }
                return true;
            }
            false
        };
        for act in acts {
            match act {
                Act::Send { from_alice } => {
                    let sender = if from_alice { &mut alice } else { &mut bob };
                    if sender.session.can_seal() {
                        let sealed = sender.send(&sent.to_be_bytes());
                        last_read[usize::from(from_alice)] = Some(sealed.place);
                        let (number, n) = (sent, sealed.place.n);
                        flight.push(InFlight { to_bob: from_alice, number, n, copies: 1, envelope: sealed.envelope });
                        sent += 1;
                    }
                }
                Act::Deliver { pick } if !flight.is_empty() => {
                    let at = pick % flight.len();
                    step(&mut flight, at, &mut alice, &mut bob, false);
                }
                Act::Duplicate { pick } if !flight.is_empty() => {
                    let at = pick % flight.len();
                    step(&mut flight, at, &mut alice, &mut bob, true);
                    flight[at].copies += 1;
                }
                Act::Lose { pick } if !flight.is_empty() => {
                    let at = pick % flight.len();
                    // One of the first eight of a chain has to arrive, or nothing of the chain can (landmarks aside).
                    if !flight[at].n.is_multiple_of(8) {
                        lost.insert(flight.swap_remove(at).number);
                    }
                }
                Act::Receipt { from_alice } => {
                    let sender = if from_alice { &mut alice } else { &mut bob };
                    let known = last_read[usize::from(from_alice)];
                    // Only what the peer could have published: a message that was read.
                    if let Some(place) = known.filter(|_| flight.iter().all(|item| item.to_bob != from_alice)) {
                        sender.session.receipt(place);
                    }
                }
                _ => {}
            }
        }
        // In the end the network delivers all it has not lost, as often as it takes.
        loop {
            let mut progress = false;
            let mut at = 0;
            while at < flight.len() {
                if step(&mut flight, at, &mut alice, &mut bob, false) {
                    progress = true;
                } else {
                    at += 1;
                }
            }
            if !progress {
                break;
            }
        }
        prop_assert!(flight.is_empty(), "{} envelopes are stuck", flight.len());
        prop_assert!((0..sent).all(|number| read.contains(&number) || lost.contains(&number)));
        // And the session goes on.
        let more = alice.send(b"more");
        prop_assert_eq!(bob.receive(&more.envelope).unwrap(), b"more");
        let back = bob.send(b"back");
        prop_assert_eq!(alice.receive(&back.envelope).unwrap(), b"back");
    }
}
