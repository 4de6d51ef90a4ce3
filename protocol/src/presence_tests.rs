//! Tests of presence records: what contacts see, what nodes refuse.

use proptest::prelude::*;

use super::*;

const DAY: u32 = 20_778;
const NOW_S: u64 = DAY as u64 * 86_400 + 3_600;
const EXPIRES_S: u64 = NOW_S + 47 * 3_600;

fn keys() -> PresenceKeys {
    PresenceKeys::generate(&mut Chance::from_seed([6; 32]))
}

fn plain() -> proto::PresencePlain {
    let hint = |byte: u8| proto::PeerHint { peer: vec![byte; 38], addrs: vec![vec![byte; 8]; 3], roles: 0 };
    proto::PresencePlain { me: Some(hint(1)), relays: vec![hint(2), hint(3)], pad: vec![] }
}

fn record() -> ([u8; 32], Vec<u8>) {
    publish(&keys(), DAY, 1, &plain(), EXPIRES_S).unwrap()
}

/// The record with something changed, signed again by `signer`, under the DHT key of its signing key.
fn forged(change: impl FnOnce(&mut proto::PresenceRecord), signer: Option<&SigningKey>) -> ([u8; 32], Vec<u8>) {
    let mut record = proto::PresenceRecord::decode(record().1.as_slice()).unwrap();
    change(&mut record);
    if let Some(signer) = signer {
        record.blinded_vk = signer.verifying_key().as_bytes().to_vec();
        record.sig = signer.sign_raw(&signed_bytes(&record)).to_vec();
    }
    (dht_key(&record.blinded_vk), record.encode_to_vec())
}

#[test]
fn contacts_find_and_open_what_nodes_accept() {
    let (key, value) = record();
    let public = keys().public();
    assert_eq!(lookup_key(&public, DAY), Ok(key));
    assert_eq!(validate(&key, &value, NOW_S), Ok(Validated { seq: 1, expires: EXPIRES_S }));
    assert_eq!(open(&public, DAY, &value), Ok(plain()));
}

#[test]
fn all_records_have_the_same_length() {
    for (seq, relays) in [(0, 0), (1, 2), (1_732_000_000_000, 3), (u64::MAX, 1)] {
        let mut plain = plain();
        plain.relays.truncate(relays);
        for expires_s in [1, EXPIRES_S, u64::MAX] {
            let (_, value) = publish(&keys(), DAY, seq, &plain, expires_s).unwrap();
            assert_eq!(value.len(), DHT_VALUE_BYTES_MAX, "{seq} {relays}");
            assert_eq!(open(&keys().public(), DAY, &value), Ok(plain.clone()));
        }
    }
}

#[test]
fn no_two_days_and_no_two_accounts_share_a_key() {
    let (a, b) = (keys().public(), PresenceKeys::generate(&mut Chance::from_seed([7; 32])).public());
    let found: std::collections::BTreeSet<[u8; 32]> =
        (DAY..DAY + 50).flat_map(|day| [lookup_key(&a, day).unwrap(), lookup_key(&b, day).unwrap()]).collect();
    assert_eq!(found.len(), 100);
    let (_, value) = record();
    assert_eq!(open(&a, DAY + 1, &value), Err(PresenceError::OtherKey));
    assert_eq!(open(&b, DAY, &value), Err(PresenceError::OtherKey));
}

#[test]
fn after_rotation_the_old_keys_find_nothing() {
    let rotated = keys().rotated(&mut Chance::from_seed([8; 32]));
    assert_eq!(rotated.public().r#gen, 2);
    let (key, value) = publish(&rotated, DAY, 2, &plain(), EXPIRES_S).unwrap();
    assert_ne!(lookup_key(&keys().public(), DAY), Ok(key));
    assert_eq!(open(&keys().public(), DAY, &value), Err(PresenceError::OtherKey));
}

#[test]
fn who_knows_the_place_but_not_the_secret_reads_nothing() {
    let (_, value) = record();
    let without = proto::Presence { k_pres: vec![0; 32], ..keys().public() };
    assert_eq!(open(&without, DAY, &value), Err(PresenceError::Rejected));
}

#[test]
fn t40_unsigned_records_are_refused() {
    for change in [
        (|r| r.sig.clear()) as fn(&mut proto::PresenceRecord),
        |r| r.sig = vec![0; 64],
        |r| r.sig.truncate(63),
        |r| r.seq += 1,
        |r| r.expires_s -= 1,
        |r| r.ct[20] ^= 1,
    ] {
        let (key, value) = forged(change, None);
        assert_eq!(validate(&key, &value, NOW_S), Err(PresenceError::Signature));
        assert_eq!(open(&keys().public(), DAY, &value), Err(PresenceError::Signature));
    }
}

#[test]
fn t40_records_signed_by_another_key_are_refused() {
    let (key, _) = record();
    let mallory = SigningKey::from_seed(&[1; 32]);
    let (own_key, value) = forged(|_| (), Some(&mallory));
    assert_eq!(validate(&key, &value, NOW_S), Err(PresenceError::OtherKey), "not in the place of the contact");
    assert!(validate(&own_key, &value, NOW_S).is_ok(), "in its own place anybody may store");
    assert_eq!(open(&keys().public(), DAY, &value), Err(PresenceError::OtherKey));
    // Signed by another key under the name of the contact's.
    let (_, value) = forged(|r| r.sig = mallory.sign_raw(&signed_bytes(r)).to_vec(), None);
    assert_eq!(validate(&key, &value, NOW_S), Err(PresenceError::Signature));
}

#[test]
fn t40_an_older_record_does_not_replace_a_newer_one() {
    let at = |seq| {
        let (key, value) = publish(&keys(), DAY, seq, &plain(), EXPIRES_S).unwrap();
        validate(&key, &value, NOW_S).unwrap()
    };
    assert!(at(5).replaces(&at(4)));
    assert!(!at(4).replaces(&at(5)));
    assert!(!at(5).replaces(&at(5)));
}

#[test]
fn t40_expiry_in_2100_and_in_the_past_are_refused() {
    for (expires_s, ok) in [
        (4_102_444_800, false),
        (u64::MAX, false),
        (NOW_S + EXPIRES_AHEAD_S_MAX + 1, false),
        (NOW_S + EXPIRES_AHEAD_S_MAX, true),
        (NOW_S + 1, true),
        (NOW_S, false),
        (0, false),
    ] {
        let (key, value) = publish(&keys(), DAY, 1, &plain(), expires_s).unwrap();
        let expected = if ok { Ok(Validated { seq: 1, expires: expires_s }) } else { Err(PresenceError::Expiry) };
        assert_eq!(validate(&key, &value, NOW_S), expected, "{expires_s}");
    }
    let (key, value) = record();
    assert!(validate(&key, &value, u64::MAX).is_err());
}

#[test]
fn t40_records_of_65_kib_are_refused_before_they_are_read() {
    let (key, value) = forged(|r| r.ct = vec![0; 65 * 1_024], Some(&SigningKey::from_seed(&[1; 32])));
    assert_eq!(validate(&key, &value, NOW_S), Err(PresenceError::TooLong));
    assert_eq!(open(&keys().public(), DAY, &value), Err(PresenceError::TooLong));
}

#[test]
fn t40_a_record_valid_for_another_key_is_refused() {
    let (_, value) = record();
    let (other, _) = publish(&keys(), DAY + 1, 1, &plain(), EXPIRES_S).unwrap();
    assert_eq!(validate(&other, &value, NOW_S), Err(PresenceError::OtherKey));
    assert_eq!(validate(&[], &value, NOW_S), Err(PresenceError::OtherKey));
}

#[test]
fn t14_every_flipped_bit_is_refused() {
    let (key, value) = record();
    for bit in 0..value.len() * 8 {
        let mut bad = value.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(validate(&key, &bad, NOW_S).is_err(), "{bit}");
    }
}

#[test]
fn t15_a_record_has_one_encoding() {
    let (key, value) = record();
    for len in 0..value.len() {
        assert!(validate(&key, &value[..len], NOW_S).is_err(), "{len}");
    }
    let signer = SigningKey::from_seed(&[1; 32]);
    let (key, small) = forged(|r| r.ct = vec![0; 100], Some(&signer));
    assert!(validate(&key, &small, NOW_S).is_ok());
    for extra in 1..=64 {
        let mut longer = small.clone();
        longer.resize(small.len() + extra, 0);
        assert_eq!(validate(&key, &longer, NOW_S), Err(PresenceError::Malformed), "{extra}");
    }
    // An unknown field, and a field given twice.
    for more in [&[0x7a, 1, 7][..], &[0x10, 1]] {
        assert_eq!(validate(&key, &[&small, more].concat(), NOW_S), Err(PresenceError::Malformed));
    }
    assert_eq!(validate(&key, &[&small[..], &small].concat(), NOW_S), Err(PresenceError::Malformed));
}

#[test]
fn too_many_addresses_are_refused_by_the_publisher() {
    let mut plain = plain();
    plain.pad = vec![0; 900];
    assert_eq!(publish(&keys(), DAY, 1, &plain, EXPIRES_S), Err(PresenceError::TooManyAddresses));
}

#[test]
fn presence_keys_that_are_no_keys_are_refused() {
    // Order 8, order 2, the neutral element, no point, wrong lengths, and a good point with a torsion part.
    let good = keys().public();
    let torsion = curve25519_dalek::constants::EIGHT_TORSION[1];
    let mixed = CompressedEdwardsY(good.blind_vk[..].try_into().unwrap()).decompress().unwrap() + torsion;
    let mut neutral = vec![0; 32];
    neutral[0] = 1;
    for blind_vk in [
        torsion.compress().to_bytes().to_vec(),
        curve25519_dalek::constants::EIGHT_TORSION[4].compress().to_bytes().to_vec(),
        mixed.compress().to_bytes().to_vec(),
        neutral,
        vec![2; 32],
        vec![],
        vec![1; 33],
    ] {
        let presence = proto::Presence { blind_vk, ..good.clone() };
        assert!(!is_usable(&presence));
        assert_eq!(lookup_key(&presence, DAY), Err(PresenceError::Keys));
    }
    assert!(is_usable(&good));
    assert!(!is_usable(&proto::Presence { k_pres: vec![0; 31], ..good }));
}

#[test]
fn the_same_seq_with_other_addresses_repeats_no_nonce() {
    let mut other = plain();
    other.relays.clear();
    let siv = |plain: &proto::PresencePlain| {
        let (_, value) = publish(&keys(), DAY, 1, plain, EXPIRES_S).unwrap();
        proto::PresenceRecord::decode(value.as_slice()).unwrap().ct[..SIV_BYTES].to_vec()
    };
    assert_ne!(siv(&plain()), siv(&other));
    assert_eq!(siv(&plain()), siv(&plain()));
}

#[test]
fn the_stored_form_comes_back_and_debug_prints_no_secret() {
    let keys = keys();
    let again = PresenceKeys::decode(&keys.encode()).unwrap();
    assert_eq!(again.public(), keys.public());
    assert_eq!(format!("{keys:?}"), "PresenceKeys { seed: SigningKey(..), k_pres: Secret(..), generation: 1 }");
    for len in 0..keys.encode().len() {
        assert!(PresenceKeys::decode(&keys.encode()[..len]).is_none(), "{len}");
    }
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(value: Vec<u8>, key: [u8; 32]) {
        prop_assert!(validate(&key, &value, NOW_S).is_err());
        prop_assert!(open(&keys().public(), DAY, &value).is_err());
    }
}
