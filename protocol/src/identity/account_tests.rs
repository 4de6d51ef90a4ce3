//! Tests of the own account: words, storage, recovery, log operations.

use super::*;

fn account() -> OwnAccount {
    OwnAccount::create(&mut Chance::from_seed([8; 32]), 1_055)
}

#[test]
fn a_fresh_account_has_one_live_device_and_no_two_accounts_are_alike() {
    let own = account();
    assert_eq!(own.log().live_devices().len(), 1);
    assert!(own.is_live());
    let device = own.log().device(&own.device_id()).unwrap();
    assert_eq!(device.cert_bytes, own.device_cert_bytes());
    assert_eq!(device.ddh, own.ddh().public());
    assert_eq!(device.cert.created_day, 1_055);
    let other = OwnAccount::create(&mut Chance::from_seed([9; 32]), 1_055);
    assert_ne!(own.aid(), other.aid());
    assert_ne!(own.device_id(), other.device_id());
}

#[test]
fn the_published_words_of_bip_39_hold() {
    let zero = "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about";
    let seed = RootSeed::from_words(zero).unwrap();
    assert_eq!(seed.0.expose(), &[0; 16]);
    assert_eq!(seed.words().join(" "), zero);
    let seed = RootSeed::from_words(" LEGAL winner thank  year wave sausage worth\nuseful legal winner thank yellow ")
        .unwrap();
    assert_eq!(seed.0.expose(), &[0x7f; 16]);
}

#[test]
fn words_with_a_typing_error_are_refused() {
    let words = account().words();
    assert_eq!(words.len(), 12);
    assert_eq!(RootSeed::from_words(&words.join(" ")), Ok(account().root.unwrap()));
    let mut swapped = words.clone();
    swapped.swap(0, 1);
    let all_24 = [words.clone(), words.clone()].concat();
    for bad in [
        String::new(),
        words[..11].join(" "),
        all_24.join(" "),
        format!("{} silbo", words[..11].join(" ")),
        swapped.join(" "),
    ] {
        assert_eq!(RootSeed::from_words(&bad), Err(AccountError::BadWords), "{bad}");
    }
}

#[test]
fn the_stored_form_comes_back() {
    let own = account();
    let again = OwnAccount::decode(&own.encode()).unwrap();
    assert_eq!(again.aid(), own.aid());
    assert_eq!(again.words(), own.words());
    assert_eq!(again.dik().expose(), own.dik().expose());
    assert_eq!(again.ddh().expose(), own.ddh().expose());
    assert_eq!(again.encode(), own.encode());
}

#[test]
fn t15_a_damaged_stored_form_is_refused() {
    let bytes = account().encode();
    for len in 0..bytes.len() {
        assert!(OwnAccount::decode(&bytes[..len]).is_none(), "{len}");
    }
    let mut later = OwnAccountState::decode(bytes.as_slice()).unwrap();
    later.version = 2;
    assert!(OwnAccount::decode(&later.encode_to_vec()).is_none());
    let mut other_key = OwnAccountState::decode(bytes.as_slice()).unwrap();
    other_key.dik_seed = vec![1; 32];
    assert!(OwnAccount::decode(&other_key.encode_to_vec()).is_none());
}

#[test]
fn devices_are_added_and_revoked_by_entries_that_contacts_take_in() {
    let mut own = account();
    let mut at_contact = own.log().clone();
    let (dik, ddh) = (SigningKey::from_seed(&[1; 32]), SecretKey::from_bytes([2; 32]));
    let added = own.add_device(Signer::ThisDevice, device_cert(&dik, &ddh, 1_056)).unwrap();
    let id = device_id(&dik.verifying_key());
    assert_eq!(at_contact.merge(&[added]), Ok(true));
    assert!(at_contact.device(&id).is_some());
    let revoked = own.revoke_device(Signer::Root, id, 1, 1_057).unwrap();
    assert_eq!(at_contact.merge(&[revoked]), Ok(true));
    assert!(at_contact.device(&id).is_none() && at_contact.is_revoked(&id));
    assert_eq!(at_contact.head3(), own.log().head3());
}

#[test]
fn the_words_bring_an_account_back_and_put_every_other_device_out() {
    let own = account();
    let words = own.words().join(" ");
    let again = OwnAccount::from_words(&words, own.log().entries(), &mut Chance::from_seed([1; 32]), 1_100).unwrap();
    assert_eq!(again.aid(), own.aid());
    assert!(again.is_live());
    assert_eq!(again.log().live_devices().len(), 1);
    let mut lost = own.clone();
    lost.merge(again.log().entries()).unwrap();
    assert!(!lost.is_live());
    let other = OwnAccount::create(&mut Chance::from_seed([2; 32]), 0);
    let refused =
        OwnAccount::from_words(&other.words().join(" "), own.log().entries(), &mut Chance::from_seed([1; 32]), 0);
    assert_eq!(refused.err(), Some(AccountError::OtherRoot));
}

#[test]
fn rotated_words_replace_the_old_ones() {
    let mut own = account();
    let old = own.words().join(" ");
    own.rotate_root(&mut Chance::from_seed([3; 32])).unwrap();
    let new = own.words().join(" ");
    assert_ne!(old, new);
    let log = own.log().entries();
    let mut chance = Chance::from_seed([1; 32]);
    assert_eq!(OwnAccount::from_words(&old, log, &mut chance, 0).err(), Some(AccountError::OtherRoot));
    assert!(OwnAccount::from_words(&new, log, &mut chance, 0).is_ok());
    let again = OwnAccount::decode(&own.encode()).unwrap();
    assert_eq!(again.words().join(" "), new);
}

#[test]
fn without_the_words_the_root_cannot_sign() {
    let mut own = account();
    own.root = None;
    let mut linked = OwnAccount::decode(&own.encode()).unwrap();
    assert!(linked.words().is_empty());
    let id = linked.device_id();
    assert_eq!(linked.revoke_device(Signer::Root, id, 0, 0).err(), Some(AccountError::NoRoot));
    assert!(linked.is_live());
}

#[test]
fn debug_prints_no_secret() {
    let own = account();
    let text = format!("{own:?} {:?}", own.root);
    for secret in ["root: Some(RootSeed(..))", "dik: SigningKey(..)", "ddh: SecretKey(..)"] {
        assert!(text.contains(secret), "{text}");
    }
    let bytes = |b: &[u8]| format!("{b:?}").trim_matches(['[', ']']).to_owned();
    for secret in [&own.dik.expose()[..], &own.ddh.expose()[..], &own.root.as_ref().unwrap().0.expose()[..]] {
        assert!(!text.contains(&bytes(&secret[..4])), "{text}");
    }
}
