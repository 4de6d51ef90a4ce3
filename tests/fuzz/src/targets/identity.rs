//! Contact cards and device logs.

use prost::Message;
use silbo_protocol::crypto::{aead, kdf};
use silbo_protocol::identity::DeviceLog;
use silbo_protocol::identity::card::open_card;
use silbo_protocol::wire::invite::Aid20;
use silbo_protocol::wire::padding::pad_to;
use silbo_protocol::wire::proto;

use crate::fixture::fixture;

/// A card: as it is, as a plaintext sealed by somebody with the invitation, and as a card its owner signed.
pub fn card(data: &[u8]) {
    let fixture = fixture();
    let account = &fixture.alice.account;
    let aid20 = Aid20::of(&account.aid());
    let _ = open_card(&fixture.card_key, data, &aid20);
    let Some(sealed) = seal(data, &aid20) else { return };
    let _ = open_card(&fixture.card_key, &sealed, &aid20);
    let body = data.to_vec();
    let sig = account.dik().sign("silbo/1/sign/card", &[&aid20.0, &body]).to_vec();
    let signed = proto::Signed { body, sig, alg: 1, signer: account.device_id().0.to_vec() };
    let Some(sealed) = seal(&signed.encode_to_vec(), &aid20) else { return };
    if let Ok(card) = open_card(&fixture.card_key, &sealed, &aid20) {
        assert_eq!(card.aid, account.aid());
        assert!(card.profile.name.len() <= 64 && !card.profile.name.chars().any(char::is_control));
        assert!(card.mailboxes.len() <= 3 && card.peers.len() <= 4 && card.bundles.len() <= 16);
    }
}

fn seal(plain: &[u8], aid20: &Aid20) -> Option<Vec<u8>> {
    let whole = (plain.len() + 41).next_multiple_of(4_096);
    let padded = pad_to(plain, whole - 40)?;
    let salt = [3; 24];
    let (key, nonce) = kdf::<44>(fixture().card_key.expose(), &salt, "silbo/1/card").split();
    Some([&salt[..], &aead::seal(&key, nonce.expose(), &aid20.0, &padded)].concat())
}

/// A batch of entries: as it is, and with every entry signed by root or device as it says.
pub fn device_log(data: &[u8]) {
    let Ok(update) = proto::LogUpdate::decode(data) else { return };
    let alice = &fixture().alice;
    read_and_merge(&update.entries);
    let mut signed = update.entries;
    for entry in signed.iter_mut().take(32) {
        let key = if entry.signer.is_empty() { &alice.root } else { alice.account.dik() };
        entry.alg = 1;
        entry.sig = key.sign("silbo/1/sign/log-entry", &[&entry.signer, &entry.body]).to_vec();
    }
    read_and_merge(&signed);
}

fn read_and_merge(entries: &[proto::Signed]) {
    if let Ok(log) = DeviceLog::read(entries) {
        let reversed: Vec<_> = entries.iter().rev().cloned().collect();
        let other = DeviceLog::read(&reversed).expect("a log is a function of the set");
        same(&log, &other);
    }
    let mut log = fixture().alice.account.log().clone();
    let before = (log.heads(), log.entries().to_vec());
    match log.merge(entries) {
        Ok(_) => {
            let mut again = log.clone();
            assert_eq!(again.merge(entries), Ok(false));
            same(&log, &again);
        }
        Err(_) => assert_eq!((log.heads(), log.entries().to_vec()), before, "refused entries change nothing"),
    }
}

fn same(a: &DeviceLog, b: &DeviceLog) {
    assert_eq!(a.entries(), b.entries());
    assert_eq!(a.live_devices(), b.live_devices());
    assert_eq!((a.heads(), a.root_key(), a.closed()), (b.heads(), b.root_key(), b.closed()));
}
