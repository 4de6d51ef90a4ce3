//! What the carrier store takes, keeps and lets go.

use proptest::prelude::*;

use super::*;
use crate::chance::Chance;
use crate::memory_store::MemoryStore;
use crate::wire::envelope::{EnvelopeHead, Ttl};

const NOW: UnixTime = UnixTime(crate::time::EPOCH_2024_MS + 900 * DAY_MS);

fn settings(envelopes_max: u32) -> CarrySettings {
    CarrySettings { envelopes_max, ..CarrySettings::default() }
}

fn store(envelopes_max: u32) -> CarrierStore {
    CarrierStore { settings: settings(envelopes_max), ..CarrierStore::default() }
}

fn envelope(tag: Tag, class: Class, lifetime_ms: u64, body: u8) -> Vec<u8> {
    let head = EnvelopeHead::new(class, lifetime_ms, NOW, &mut Chance::from_seed([body; 32]));
    let mut out = head.with_tag(&tag).to_vec();
    out.extend_from_slice(&[body; 200]);
    out
}

fn tagged(n: u32) -> (Preimage, Tag) {
    let mut preimage = [0; 16];
    preimage[..4].copy_from_slice(&n.to_be_bytes());
    (Preimage(preimage), tag_of(&Preimage(preimage)))
}

fn text(n: u32) -> Vec<u8> {
    envelope(tagged(n).1, Class::Text, 7 * DAY_MS, 1)
}

fn parcel(copies: u8) -> Parcel {
    Parcel { copies, hops: 0, age_min: 0 }
}

/// Puts and commits.
fn put_in(carried: &mut CarrierStore, disk: &mut MemoryStore, bytes: &[u8], pool: u64) -> Result<Cid, Refusal> {
    let (cid, writes) = carried.put(bytes, parcel(8), 3, Pool(pool), NOW)?;
    disk.apply(&writes);
    Ok(cid)
}

#[test]
fn what_was_put_is_there_after_a_restart() {
    let (mut carried, mut disk) = (store(10), MemoryStore::new());
    let cid = put_in(&mut carried, &mut disk, &text(1), 1).unwrap();
    let (again, writes) = CarrierStore::open(&disk, settings(10)).unwrap();
    assert_eq!(writes, []);
    let (before, after) = (carried.copy(&cid).unwrap(), again.copy(&cid).unwrap());
    assert_eq!(
        (before.tag, before.copies, before.hops, before.expires_at),
        (after.tag, after.copies, after.hops, after.expires_at)
    );
    assert_eq!(disk.value(Table::Carried, cid.as_bytes()).unwrap(), Some(text(1)));
    assert_eq!(again.bytes(), carried.bytes());
}

#[test]
fn the_same_envelope_is_taken_once_and_a_third_body_of_a_tag_never() {
    let mut carried = store(10);
    let tag = tagged(1).1;
    assert!(carried.put(&text(1), parcel(8), 3, Pool(1), NOW).is_ok());
    assert_eq!(carried.put(&text(1), parcel(8), 3, Pool(2), NOW).err(), Some(Refusal::Known));
    let squatter = |body| envelope(tag, Class::Text, 7 * DAY_MS, body);
    assert!(carried.put(&squatter(2), parcel(8), 3, Pool(1), NOW).is_ok());
    assert_eq!(carried.put(&squatter(3), parcel(8), 3, Pool(1), NOW).err(), Some(Refusal::Known));
}

#[test]
fn a_vaccine_ends_the_journey_for_good() {
    let (mut carried, mut disk) = (store(10), MemoryStore::new());
    let (preimage, tag) = tagged(1);
    let cid = put_in(&mut carried, &mut disk, &text(1), 1).unwrap();
    let (of, writes) = carried.publish(preimage, NOW.after_ms(DAY_MS), NOW).unwrap();
    disk.apply(&writes);
    assert_eq!(of, tag);
    assert!(carried.copy(&cid).is_none());
    assert_eq!(disk.value(Table::Carried, cid.as_bytes()).unwrap(), None);
    assert_eq!(carried.put(&text(1), parcel(8), 3, Pool(1), NOW).err(), Some(Refusal::Vaccinated));
    assert!(carried.publish(preimage, NOW.after_ms(DAY_MS), NOW).is_none(), "known already");
    let (mut again, _) = CarrierStore::open(&disk, settings(10)).unwrap();
    assert_eq!(again.put(&text(1), parcel(8), 3, Pool(1), NOW).err(), Some(Refusal::Vaccinated));
}

#[test]
fn a_forged_preimage_purges_nothing() {
    let mut carried = store(10);
    carried.put(&text(1), parcel(8), 3, Pool(1), NOW).unwrap();
    carried.publish(Preimage([9; 16]), NOW.after_ms(DAY_MS), NOW).unwrap();
    assert_eq!(carried.len(), 1);
}

#[test]
fn what_is_too_old_too_far_too_large_or_live_is_refused() {
    let mut carried = store(10);
    let mut refused = |bytes: &[u8], parcel| carried.put(bytes, parcel, 3, Pool(1), NOW).err();
    let old = Parcel { age_min: 60 * 24 * 8, ..parcel(8) };
    assert_eq!(refused(&text(1), old), Some(Refusal::Expired));
    assert_eq!(refused(&text(1), Parcel { hops: CARRIED_HOPS_MAX, ..parcel(8) }), Some(Refusal::Expired));
    assert_eq!(refused(&envelope(tagged(1).1, Class::Live, DAY_MS, 1), parcel(8)), Some(Refusal::Malformed));
    assert_eq!(refused(&[0; 10], parcel(8)), Some(Refusal::Malformed));
    let mut large = text(1);
    large.resize(CARRIED_TEXT_BYTES_MAX + 1, 0);
    assert_eq!(refused(&large, parcel(8)), Some(Refusal::TooLarge));
    assert_eq!(store(0).put(&text(1), parcel(8), 3, Pool(1), NOW).err(), Some(Refusal::Full));
    let off = CarrySettings { enabled: false, ..settings(10) };
    let mut off = CarrierStore { settings: off, ..CarrierStore::default() };
    assert_eq!(off.put(&text(1), parcel(8), 3, Pool(1), NOW).err(), Some(Refusal::Off));
}

#[test]
fn whoever_hands_over_a_lot_pushes_out_only_its_own() {
    let mut carried = store(100);
    for n in 0..40 {
        carried.put(&text(n), parcel(8), 3, Pool(u64::from(n % 8) + 1), NOW).unwrap();
    }
    for n in 1_000..3_000 {
        let _ = carried.put(&text(n), parcel(8), 3, Pool(99), NOW);
    }
    assert_eq!(carried.len(), 100);
    let honest = carried.copies().filter(|(_, copy)| copy.pool != Pool(99)).count();
    assert!(honest >= 40, "the flood took the free room and nothing else: {honest}");
}

#[test]
fn expired_copies_and_vaccines_are_swept() {
    let mut carried = store(10);
    carried.put(&text(1), parcel(8), 3, Pool(1), NOW).unwrap();
    carried.publish(tagged(2).0, NOW.after_ms(DAY_MS), NOW).unwrap();
    assert_eq!(carried.sweep(NOW.after_ms(HOUR_MS), 100), []);
    assert!(!carried.sweep(NOW.after_ms(40 * DAY_MS), 100).is_empty());
    assert_eq!((carried.len(), carried.vaccine_count(), carried.bytes()), (0, 0, 0));
    assert_eq!(carried.refused(NOW.after_ms(40 * DAY_MS)).count(), 1, "it does not come back");
}

#[test]
fn damaged_records_are_removed_and_the_rest_stays() {
    let (mut carried, mut disk) = (store(10), MemoryStore::new());
    let cid = put_in(&mut carried, &mut disk, &text(1), 1).unwrap();
    disk.apply(&[
        put(Table::CarriedState, &[7; 16], vec![1, 2, 3]),
        put(Table::Carried, &[8; 16], text(2)),
        put(Table::Vaccine, &[9; 12], vec![0; VACCINE_BYTES]),
    ]);
    let (again, writes) = CarrierStore::open(&disk, settings(10)).unwrap();
    assert_eq!(again.copies().map(|(name, _)| *name).collect::<Vec<_>>(), [cid]);
    disk.apply(&writes);
    assert_eq!((disk.count(Table::Carried), disk.count(Table::CarriedState), disk.count(Table::Vaccine)), (1, 1, 0));
}

#[test]
fn vaccines_are_bounded() {
    let mut carried = store(10);
    for n in 0..VACCINES_MAX as u32 + 10 {
        carried.publish(tagged(n).0, NOW.after_ms(DAY_MS + u64::from(n)), NOW).unwrap();
    }
    assert_eq!(carried.vaccine_count(), VACCINES_MAX);
}

#[test]
fn a_lifetime_counts_from_when_it_set_out_not_from_when_it_came() {
    let mut carried = store(10);
    let age_min = 6 * 24 * 60;
    let (cid, _) = carried.put(&text(1), Parcel { age_min, ..parcel(8) }, 3, Pool(1), NOW).unwrap();
    let ends = carried.copy(&cid).unwrap().expires_at;
    assert!(ends <= NOW.after_ms(Ttl::Days7.ms() - 6 * DAY_MS + AGE_TOLERANCE_MS));
    assert_eq!(carried.copy(&cid).unwrap().age_min(NOW.after_ms(HOUR_MS)), age_min + 60);
}

#[test]
fn an_envelope_is_offered_until_its_lifetime_is_over_and_hardly_longer() {
    for (age_min, made_up_min) in [(0, 0), (0, 30), (7 * 60, 0), (23 * 60, 30)] {
        let mut carried = store(10);
        let written = UnixTime(NOW.0 - u64::from(age_min) * MINUTE_MS);
        let head = EnvelopeHead::new(Class::Text, DAY_MS, written, &mut Chance::from_seed([5; 32]));
        let mut bytes = head.with_tag(&tagged(1).1).to_vec();
        bytes.extend_from_slice(&[1; 200]);
        let parcel = Parcel { age_min: age_min + made_up_min, ..parcel(8) };
        let (cid, _) = carried.put(&bytes, parcel, 3, Pool(1), NOW).unwrap();
        let (ends, over) = (carried.copy(&cid).unwrap().expires_at, written.after_ms(DAY_MS));
        assert!(over <= ends && ends <= over.after_ms(AGE_TOLERANCE_MS), "{age_min} min old: {ends:?}, not {over:?}");
    }
}

/// A quota of ten for anybody and ten for friends, with `near` envelopes for friends put first.
fn pinned(near: u32) -> CarrierStore {
    let mut carried = store(10);
    for n in 0..near {
        carried.put(&text(n), parcel(200), PINNED_DISTANCE, Pool(1), NOW).unwrap();
    }
    carried
}

#[test]
fn what_friends_asked_for_takes_no_room_from_others_and_is_not_pushed_out() {
    let mut carried = pinned(10);
    assert_eq!((carried.pinned_count(), carried.pressure()), (10, 0));
    for n in 100..120 {
        let _ = carried.put(&text(n), parcel(1), 3, Pool(u64::from(n)), NOW);
    }
    assert_eq!((carried.len(), carried.pinned_count(), carried.pressure()), (20, 10, 255));
}

#[test]
fn beyond_the_quota_for_friends_their_mail_competes_with_the_rest() {
    let mut carried = pinned(12);
    assert_eq!((carried.len(), carried.pinned_count()), (12, 10));
    let near = (PINNED_DISTANCE, routing::weight_offered(PINNED_DISTANCE, 200, NOW));
    assert_eq!(carried.would_take(&[near; 9]).into_iter().filter(|taken| *taken).count(), 8);
    assert_eq!(pinned(8).would_take(&[near; 13]).into_iter().filter(|taken| *taken).count(), 12);
    let writes = carried.set(settings(5));
    assert_eq!((carried.len(), carried.pinned_count()), (10, 5));
    assert_eq!(writes.len(), 2 * 2, "two envelopes went, each with its state");
}

#[test]
fn mail_of_somebody_who_is_no_friend_any_more_goes_when_there_is_no_room_for_it() {
    let mut carried = pinned(10);
    for n in 100..110 {
        carried.put(&text(n), parcel(1), 3, Pool(u64::from(n)), NOW).unwrap();
    }
    let writes = carried.set_distances(|_| 3);
    assert_eq!((carried.len(), carried.pinned_count()), (10, 0));
    assert_eq!(writes.len(), 10 * 2);
    assert!(carried.copies().all(|(_, copy)| copy.copies == 1), "what there are many of goes first");
    carried.set_distances(|_| PINNED_DISTANCE);
    assert_eq!((carried.len(), carried.pinned_count()), (10, 10));
}

#[derive(Clone, Debug)]
enum Act {
    Put { n: u32, pool: u64, copies: u8 },
    Publish { n: u32 },
    Sheets { near: u32 },
    Copied { n: u32 },
    Restart,
    Later { hours: u64 },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0_u32..60, 1_u64..5, 1_u8..40).prop_map(|(n, pool, copies)| Act::Put { n, pool, copies }),
        1 => (0_u32..60).prop_map(|n| Act::Publish { n }),
        1 => (0_u32..60).prop_map(|near| Act::Sheets { near }),
        2 => (0_u32..60).prop_map(|n| Act::Copied { n }),
        1 => Just(Act::Restart),
        1 => (1_u64..40).prop_map(|hours| Act::Later { hours }),
    ];
    proptest::collection::vec(act, 1..120)
}

proptest! {
    /// Whatever happens, bounds hold, memory and disk agree, and what has a vaccine is not carried.
    #[test]
    fn bounds_hold_and_memory_agrees_with_the_disk(acts in acts(), max in 1_u32..40) {
        let (mut carried, mut disk, mut now) = (store(max), MemoryStore::new(), NOW);
        let mut sheets = BTreeSet::new();
        for act in acts {
            let writes = match act {
                Act::Put { n, pool, copies } => {
                    carried.put(&text(n), parcel(copies), 3, Pool(pool), now).map(|(_, w)| w).unwrap_or_default()
                }
                Act::Publish { n } => {
                    carried.publish(tagged(n).0, now.after_ms(9 * DAY_MS), now).map(|(_, w)| w).unwrap_or_default()
                }
                Act::Sheets { near } => {
                    sheets = (0..near).map(|n| tagged(n).1).collect();
                    carried.set_distances(|tag| if sheets.contains(tag) { PINNED_DISTANCE } else { 3 })
                }
                Act::Copied { n } => {
                    let copied = |copy: &mut Copy| copy.copies = copy.copies.saturating_add(1);
                    carried.change(&cid(&text(n)), copied).into_iter().collect()
                }
                Act::Restart => {
                    let (again, mut writes) = CarrierStore::open(&disk, settings(max)).unwrap();
                    carried = again;
                    let distance = |tag: &Tag| if sheets.contains(tag) { PINNED_DISTANCE } else { 3 };
                    writes.extend(carried.set_distances(distance));
                    writes
                }
                Act::Later { hours } => {
                    now = now.after_ms(hours * HOUR_MS);
                    carried.sweep(now, 1_000)
                }
            };
            disk.apply(&writes);
            prop_assert!(carried.order.len() <= max as usize && carried.pinned.len() <= max as usize);
            prop_assert_eq!(disk.count(Table::Carried), carried.len());
            prop_assert_eq!(disk.count(Table::CarriedState), carried.len());
            prop_assert_eq!(carried.order.len() + carried.pinned.len(), carried.len());
            let strangers = carried.copies().filter(|(_, copy)| copy.pool != Pool::KNOWN && !copy.pinned).count();
            prop_assert_eq!(carried.pools.values().map(BTreeSet::len).sum::<usize>(), strangers);
            prop_assert_eq!(carried.copies().map(|(_, c)| u64::from(c.size)).sum::<u64>(), carried.bytes());
            for (_, copy) in carried.copies() {
                prop_assert!(carried.vaccine(&copy.tag).is_none());
                prop_assert!(copy.copies >= 1);
            }
        }
    }
}
