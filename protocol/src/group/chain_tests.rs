//! Chains, tags, skipped keys and their bounds.

use std::collections::BTreeSet;

use super::chain::{Chain, ChainError, EpochChains, LetterPlace, SenderChains, SkippedLetter};
use super::test_group::{chains_of, device, devices};
use crate::ids::{EpochId, Tag};
use crate::limits::{
    GROUP_CHAINS_MAX, GROUP_DEVICES_MAX, GROUP_JUMP_MAX, GROUP_SKIPPED_KEYS_MAX, GROUP_TAG_WINDOW, SKIPPED_KEY_AGE_MS,
};
use crate::time::UnixTime;

const EPOCH: EpochId = EpochId([1; 16]);
const NOW: UnixTime = UnixTime(1_800_000_000_000);

fn three() -> SenderChains {
    let mut chains = SenderChains::default();
    assert!(chains.insert(EPOCH, chains_of(1, &devices(&[1, 2, 3]))).is_empty());
    chains
}

fn at(writer: u16, n: u32) -> LetterPlace {
    LetterPlace { epoch: EPOCH, writer, n }
}

fn read(chains: &mut SenderChains, place: LetterPlace) -> Result<(), ChainError> {
    let found = chains.find(place)?;
    chains.commit(found, NOW);
    Ok(())
}

#[test]
fn each_device_has_another_chain_and_each_letter_another_key() {
    let chains = three();
    let keys: Vec<_> = (0..3)
        .flat_map(|writer| (0..5).map(move |n| (writer, n)))
        .map(|(writer, n)| *chains.find(at(writer, n)).unwrap().message_key.expose())
        .collect();
    assert_eq!(BTreeSet::from_iter(&keys).len(), 15);
    let other = chains_of(2, &devices(&[1, 2, 3]));
    assert_ne!(other.chain(0).unwrap().tag(0), chains.chain(&EPOCH, 0).unwrap().tag(0));
    assert_eq!(chains.find(at(3, 0)), Err(ChainError::Unknown));
    assert_eq!(chains.find(LetterPlace { epoch: EpochId([9; 16]), ..at(0, 0) }), Err(ChainError::Unknown));
}

#[test]
fn a_chain_that_nobody_was_heard_on_costs_at_most_64_bytes() {
    let tags = crate::limits::GROUP_TAG_WINDOW_SILENT as usize * Tag::LEN;
    assert!(size_of::<Chain>() + tags <= 64, "{} + {tags}", size_of::<Chain>());
    assert_eq!(three().tags().len(), 3 * crate::limits::GROUP_TAG_WINDOW_SILENT as usize);
}

#[test]
fn overtaken_letters_are_read_once_and_then_never_again() {
    let mut chains = three();
    for n in [5, 2, 0, 4, 1, 3] {
        assert_eq!(read(&mut chains, at(1, n)), Ok(()), "{n}");
    }
    let before = chains.clone();
    for n in 0..6 {
        assert_eq!(read(&mut chains, at(1, n)), Err(ChainError::Behind), "{n}");
    }
    assert_eq!(chains, before);
    assert_eq!(chains.skipped_len(), 0);
}

#[test]
fn looking_for_a_key_changes_nothing() {
    let chains = three();
    let before = chains.clone();
    chains.find(at(0, 700)).unwrap();
    assert_eq!(chains, before);
}

#[test]
fn t30_a_letter_25001_ahead_is_refused_and_one_at_the_limit_is_not() {
    let mut chains = three();
    let before = chains.clone();
    for n in [25_001, GROUP_JUMP_MAX + 1, u32::MAX, u32::MAX - 1] {
        assert_eq!(read(&mut chains, at(0, n)), Err(ChainError::TooFar), "{n}");
        assert_eq!(chains, before);
    }
    assert_eq!(read(&mut chains, at(0, GROUP_JUMP_MAX)), Ok(()));
    assert_eq!(chains.skipped_len(), GROUP_JUMP_MAX as usize);
}

#[test]
fn whoever_jumps_ahead_loses_its_own_oldest_keys_and_nobody_elses() {
    let mut chains = three();
    read(&mut chains, at(0, 10)).unwrap();
    read(&mut chains, at(1, GROUP_JUMP_MAX)).unwrap();
    read(&mut chains, at(1, 2 * GROUP_JUMP_MAX)).unwrap();
    assert_eq!(chains.skipped_len(), GROUP_SKIPPED_KEYS_MAX);
    assert!((0..10).all(|n| chains.skipped.contains_key(&at(0, n))));
    assert_eq!(read(&mut chains, at(1, 0)), Err(ChainError::Behind));
    assert_eq!(read(&mut chains, at(1, 2 * GROUP_JUMP_MAX - 1)), Ok(()));
}

#[test]
fn skipped_keys_expire_after_45_days() {
    let mut chains = three();
    read(&mut chains, at(0, 2)).unwrap();
    chains.expire(UnixTime(NOW.0 + SKIPPED_KEY_AGE_MS - 1));
    assert_eq!(chains.skipped_len(), 2);
    chains.expire(NOW.after_ms(SKIPPED_KEY_AGE_MS));
    assert_eq!(chains.skipped_len(), 0);
}

#[test]
fn tags_are_listened_for_where_a_letter_can_come() {
    let mut chains = three();
    read(&mut chains, at(0, 4)).unwrap();
    let tags = chains.tags();
    let numbers = |writer| tags.iter().filter(move |(_, place)| place.writer == writer).map(|(_, place)| place.n);
    assert_eq!(numbers(1).collect::<Vec<_>>(), [0, 1], "silent");
    let of_zero: BTreeSet<u32> = numbers(0).collect();
    let expected: BTreeSet<u32> = (0..4).chain(5..5 + GROUP_TAG_WINDOW).chain((32..=1_029).step_by(32)).collect();
    assert_eq!(of_zero, expected);
    for (tag, place) in &tags {
        assert_eq!(chains.find(*place).unwrap().tag, *tag);
    }
    assert_eq!(BTreeSet::from_iter(tags.iter().map(|(tag, _)| tag)).len(), tags.len());
}

#[test]
fn a_later_letter_of_a_silent_chain_is_found_by_searching() {
    let chains = three();
    for n in [0, 15, 32, 1_024] {
        let tag = chains.chain(&EPOCH, 2).unwrap().tag(n);
        assert_eq!(chains.search_silent(&tag), Some(at(2, n)));
    }
    assert_eq!(chains.search_silent(&Tag([0; 12])), None);
}

#[test]
fn t30_the_oldest_epoch_makes_room_and_a_known_one_is_not_reset() {
    let writers: Vec<_> = (0..GROUP_DEVICES_MAX as u16).map(device).collect();
    let full: EpochChains = chains_of(1, &writers);
    let mut chains = SenderChains::default();
    let epochs = (GROUP_CHAINS_MAX / GROUP_DEVICES_MAX) as u8;
    for n in 0..epochs {
        assert!(chains.insert(EpochId([n; 16]), full.clone()).is_empty());
    }
    read(&mut chains, LetterPlace { epoch: EpochId([0; 16]), writer: 0, n: 1 }).unwrap();
    let before = chains.clone();
    assert!(chains.insert(EpochId([0; 16]), full.clone()).is_empty());
    assert_eq!(chains, before, "known");
    assert_eq!(chains.insert(EpochId([epochs; 16]), full), [EpochId([0; 16])]);
    assert_eq!((chains.epochs.len(), chains.skipped_len()), (usize::from(epochs), 0));
}

#[test]
fn chains_read_back_from_their_records() {
    let mut chains = three();
    read(&mut chains, at(1, 3)).unwrap();
    let kept = chains.epoch(&EPOCH).unwrap();
    let silent = kept.encode_silent();
    let heard = kept.chain(1).unwrap().encode().unwrap();
    assert_eq!(kept.chain(0).unwrap().encode(), None);
    let read_back = EpochChains::decode(&silent, &[(1, Chain::decode(&heard).unwrap())]).unwrap();
    assert_eq!(read_back, *kept);
    assert_eq!(EpochChains::decode(&silent, &[]), None, "a record is missing");
    let skipped = chains
        .skipped()
        .map(|(place, key)| (*place, SkippedLetter::decode(&key.encode()).unwrap()))
        .collect::<Vec<_>>();
    assert_eq!(SenderChains::restore(vec![(EPOCH, read_back)], skipped.clone()), Some(chains));
    assert_eq!(SenderChains::restore(Vec::new(), skipped), None);
    for len in 0..heard.len() {
        assert_eq!(Chain::decode(&heard[..len]), None, "{len} bytes");
    }
}

#[test]
fn a_seed_is_nowhere_in_the_records_once_its_chain_is_heard() {
    let mut chains = three();
    let Some(Chain::Silent(seed)) = chains.chain(&EPOCH, 1).cloned() else { panic!("silent at first") };
    let contains = |bytes: &[u8]| bytes.windows(32).any(|window| window == seed.expose());
    assert!(contains(&chains.epoch(&EPOCH).unwrap().encode_silent()));
    let first = chains.find(at(1, 0)).unwrap().message_key;
    read(&mut chains, at(1, 0)).unwrap();
    let kept = chains.epoch(&EPOCH).unwrap();
    let heard = kept.chain(1).unwrap().encode().unwrap();
    assert!(!contains(&kept.encode_silent()) && !contains(&heard));
    assert!(!heard.windows(32).any(|window| window == first.expose()), "nor the key of the letter");
}
