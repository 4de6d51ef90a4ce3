//! The refusals of the handshake, and what it must never give.

use prost::Message as _;

use super::handshake::{HandshakeError, Initiator, Responder, initiate, respond_identity};
use super::test_pair::{Device, NOW, Peer, TODAY, psk};
use super::{OpenError, OwnPrekeys, PeerPrekeys, SealError, Session};
use crate::chance::Chance;
use crate::crypto::Secret;
use crate::crypto::x25519::{PublicKey, SecretKey, X25519Error};
use crate::ids::AccountId;
use crate::time::{DAY_MS, UnixTime};
use crate::wire::proto;

fn chance() -> Chance {
    Chance::from_seed([77; 32])
}

fn start(a: &Device, b: &Device) -> (proto::InitBlock, Session) {
    let (init, session, id) = initiate(&a.initiator(), &b.published(), &psk(), b"who I am", &mut chance()).unwrap();
    assert_eq!(session.id(), id);
    (init, session)
}

fn answer(b: &Device, init: &proto::InitBlock) -> Result<Vec<u8>, HandshakeError> {
    respond_identity(&b.prekeys, &b.responder(), &psk(), init).map(|half| half.identity().to_vec())
}

fn read(b: &Device, bundle: &proto::PrekeyBundle) -> Result<PeerPrekeys, HandshakeError> {
    PeerPrekeys::read(b.aid, &b.cert, &b.dik.verifying_key(), bundle, TODAY)
}

#[test]
fn both_ends_get_one_session_and_talk() {
    let (a, b) = (Device::new(1), Device::new(2));
    let (init, alice) = start(&a, &b);
    let half = respond_identity(&b.prekeys, &b.responder(), &psk(), &init).unwrap();
    assert_eq!(half.identity(), b"who I am");
    assert_eq!(half.session_id(), alice.id());
    let bob = half.finish(&a.aid, &a.ddh.public()).unwrap().0;
    assert_eq!(bob.id(), alice.id());
    let (mut alice, mut bob) = (Peer::new(alice, 1), Peer::new(bob, 1_000));
    for round in 0..5u8 {
        let there = alice.send(&[round]);
        assert_eq!(bob.receive(&there.envelope).unwrap(), [round]);
        let back = bob.send(&[round, round]);
        assert_eq!(alice.receive(&back.envelope).unwrap(), [round, round]);
    }
}

#[test]
fn a_handshake_works_without_a_one_time_prekey() {
    let (a, mut b) = (Device::new(1), Device::new(2));
    b.prekeys.otk = None;
    let (init, _) = start(&a, &b);
    assert_eq!(init.otk_id, 0);
    assert_eq!(answer(&b, &init), Ok(b"who I am".to_vec()));
}

#[test]
fn the_responder_cannot_seal_before_the_claim_is_proven() {
    let (a, b) = (Device::new(1), Device::new(2));
    let (init, _) = start(&a, &b);
    let half = respond_identity(&b.prekeys, &b.responder(), &psk(), &init).unwrap();
    let mut bob = half.finish(&a.aid, &a.ddh.public()).unwrap().0;
    assert!(!bob.can_seal());
    assert_eq!(bob.seal([0; 4], b"x", [0; 3], NOW, &mut chance()), Err(SealError::NoSendingChain));
}

#[test]
fn t01_every_flipped_bit_of_a_bundle_is_rejected() {
    let b = Device::new(2);
    let bytes = b.bundle().encode_to_vec();
    assert!(read(&b, &proto::PrekeyBundle::decode(bytes.as_slice()).unwrap()).is_ok());
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok(bundle) = proto::PrekeyBundle::decode(flipped.as_slice()) else {
            continue;
        };
        assert!(read(&b, &bundle).is_err(), "bit {bit} of {}", bytes.len() * 8);
    }
}

#[test]
fn t01_a_bundle_under_another_key_or_certificate_is_rejected() {
    let (b, c) = (Device::new(2), Device::new(3));
    let bundle = b.bundle();
    let foreign_key = PeerPrekeys::read(b.aid, &b.cert, &c.dik.verifying_key(), &bundle, TODAY);
    assert_eq!(foreign_key.unwrap_err(), HandshakeError::BadBundle);
    let foreign_cert = PeerPrekeys::read(b.aid, &c.cert, &b.dik.verifying_key(), &bundle, TODAY);
    assert_eq!(foreign_cert.unwrap_err(), HandshakeError::BadBundle);
    let truncated = PeerPrekeys::read(b.aid, &b.cert[..5], &b.dik.verifying_key(), &bundle, TODAY);
    assert_eq!(truncated.unwrap_err(), HandshakeError::BadBundle);
}

#[test]
fn a_bundle_is_good_through_its_last_day() {
    let b = Device::new(2);
    let on = |day| PeerPrekeys::read(b.aid, &b.cert, &b.dik.verifying_key(), &b.bundle(), day).map(|_| ());
    assert_eq!(on(TODAY + 38), Ok(()));
    assert_eq!(on(TODAY + 39), Err(HandshakeError::Expired));
}

#[test]
fn t05_points_of_small_order_are_refused_wherever_a_key_is_read() {
    let (a, b) = (Device::new(1), Device::new(2));
    let mut order_eight = [0; 32];
    order_eight.copy_from_slice(&[
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ]);
    for point in [[0; 32], order_eight] {
        let mut init = start(&a, &b).0;
        init.ek = point.to_vec();
        assert_eq!(answer(&b, &init), Err(HandshakeError::X25519(X25519Error::SmallOrder)), "ephemeral");

        let mut weak = Device::new(2);
        let mut bundle = weak.bundle();
        bundle.spk = point.to_vec();
        resign(&weak, &mut bundle);
        let refused = read(&weak, &bundle).unwrap_err();
        assert_eq!(refused, HandshakeError::X25519(X25519Error::SmallOrder), "signed prekey");

        let mut bundle = weak.bundle();
        bundle.otk = Some(proto::OneTime { id: 9, x25519: point.to_vec() });
        resign(&weak, &mut bundle);
        let refused = read(&weak, &bundle).unwrap_err();
        assert_eq!(refused, HandshakeError::X25519(X25519Error::SmallOrder), "one-time prekey");

        let mut cert = proto::DeviceCert::decode(weak.cert.as_slice()).unwrap();
        cert.ddh = point.to_vec();
        weak.cert = cert.encode_to_vec();
        let refused = read(&weak, &weak.bundle()).unwrap_err();
        assert_eq!(refused, HandshakeError::X25519(X25519Error::SmallOrder), "identity");
        assert!(PublicKey::read(&point).is_err(), "the key handed to HalfOpen::finish cannot be made");
    }
}

/// Signs a changed bundle as its owner would, so that the checks behind the signature are reached.
fn resign(device: &Device, bundle: &mut proto::PrekeyBundle) {
    super::prekeys::sign(bundle, &device.dik);
}

#[test]
fn t06_an_init_block_for_another_account_or_device_is_rejected() {
    let (a, b, c) = (Device::new(1), Device::new(2), Device::new(3));
    let (init, _) = start(&a, &b);
    assert_eq!(answer(&c, &init), Err(HandshakeError::Rejected), "another account whose ids happen to be the same");
    let other_account = Responder { aid: AccountId([9; 32]), ..b.responder() };
    assert!(respond_identity(&b.prekeys, &other_account, &psk(), &init).is_err());
    let other_device = Responder { cert: &c.cert, ..b.responder() };
    assert!(respond_identity(&b.prekeys, &other_device, &psk(), &init).is_err());
    let other_key = Responder { ddh: &c.ddh, ..b.responder() };
    assert!(respond_identity(&b.prekeys, &other_key, &psk(), &init).is_err());
    assert!(respond_identity(&b.prekeys, &b.responder(), &Secret::new([0; 32]), &init).is_err(), "another invite");
    assert_eq!(answer(&a, &init), Err(HandshakeError::Rejected), "reflected to its sender");
}

#[test]
fn t06_the_sender_is_the_one_the_session_was_made_with() {
    let (a, b, c) = (Device::new(1), Device::new(2), Device::new(3));
    let (init, alice) = start(&a, &b);
    let envelope = Peer::new(alice, 1).send(b"hello").envelope;
    for (aid, ddh) in [(c.aid, c.ddh.public()), (c.aid, a.ddh.public()), (a.aid, c.ddh.public())] {
        let half = respond_identity(&b.prekeys, &b.responder(), &psk(), &init).unwrap();
        let mut bob = Peer::new(half.finish(&aid, &ddh).unwrap().0, 2);
        assert_eq!(bob.receive(&envelope), Err(OpenError::UnknownTag));
    }
}

#[test]
fn t07_who_has_only_my_key_cannot_be_somebody_else_to_me() {
    // Mallory knows Bob's DDH secret and writes to Bob as Alice, whose DDH secret she lacks.
    let (a, b) = (Device::new(1), Device::new(2));
    let stolen = SecretKey::from_bytes(*b.ddh.expose());
    let claim = Initiator { aid: a.aid, ddh: &stolen };
    let (init, mallory, _) = initiate(&claim, &b.published(), &psk(), b"I am Alice", &mut chance()).unwrap();
    let half = respond_identity(&b.prekeys, &b.responder(), &psk(), &init).unwrap();
    let mut bob = Peer::new(half.finish(&a.aid, &a.ddh.public()).unwrap().0, 2);
    let envelope = Peer::new(mallory, 1).send(b"trust me").envelope;
    assert_eq!(bob.receive(&envelope), Err(OpenError::UnknownTag));
}

#[test]
fn t08_a_stripped_kem_key_or_another_suite_is_refused() {
    let (a, b) = (Device::new(1), Device::new(2));
    let (init, _) = start(&a, &b);
    for suite in [0, 2, u32::MAX] {
        assert_eq!(answer(&b, &proto::InitBlock { suite, ..init.clone() }), Err(HandshakeError::Suite));
    }
    let stripped = proto::InitBlock { kem_ct: Vec::new(), ..init.clone() };
    assert_eq!(answer(&b, &stripped), Err(HandshakeError::Malformed));
    let without_otk = proto::InitBlock { otk_id: 0, ..init };
    assert_eq!(answer(&b, &without_otk), Err(HandshakeError::Rejected));

    let mut old = Device::new(2);
    let mut cert = proto::DeviceCert::decode(old.cert.as_slice()).unwrap();
    cert.suites.clear();
    old.cert = cert.encode_to_vec();
    assert_eq!(read(&old, &old.bundle()).unwrap_err(), HandshakeError::Suite);
    let mut bundle = b.bundle();
    bundle.pq.clear();
    resign(&b, &mut bundle);
    assert!(matches!(read(&b, &bundle), Err(HandshakeError::Kem(_))));
}

#[test]
fn t09_a_corrupt_init_block_is_rejected_and_the_true_one_still_answers() {
    let (a, b) = (Device::new(1), Device::new(2));
    let (init, _) = start(&a, &b);
    let before = b.prekeys.encode();
    let flips = |len: usize| (0..len * 8).step_by(len.div_ceil(32) * 2 + 1);
    for bit in flips(32) {
        let mut bad = init.clone();
        bad.ek[bit / 8] ^= 1 << (bit % 8);
        assert!(answer(&b, &bad).is_err(), "ek bit {bit}");
    }
    for bit in flips(init.kem_ct.len()) {
        let mut bad = init.clone();
        bad.kem_ct[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(answer(&b, &bad), Err(HandshakeError::Rejected), "ct bit {bit}");
    }
    for bit in 0..init.id_ct.len() * 8 {
        let mut bad = init.clone();
        bad.id_ct[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(answer(&b, &bad), Err(HandshakeError::Rejected), "identity bit {bit}");
    }
    for bad in [
        proto::InitBlock { spk_id: 8, ..init.clone() },
        proto::InitBlock { pq_id: 8, ..init.clone() },
        proto::InitBlock { otk_id: 8, ..init.clone() },
    ] {
        assert_eq!(answer(&b, &bad), Err(HandshakeError::UnknownPrekey));
    }
    assert_eq!(b.prekeys.encode(), before);
    assert_eq!(answer(&b, &init), Ok(b"who I am".to_vec()));
}

#[test]
fn t03_a_replayed_init_block_names_the_session_it_made() {
    let (a, b) = (Device::new(1), Device::new(2));
    let (init, alice) = start(&a, &b);
    let again = respond_identity(&b.prekeys, &b.responder(), &psk(), &init).unwrap();
    assert_eq!(again.session_id(), alice.id());
    let mut used = b.prekeys.clone();
    used.drop_one_time();
    let gone = respond_identity(&used, &b.responder(), &psk(), &init);
    assert_eq!(gone.unwrap_err(), HandshakeError::UnknownPrekey);
}

#[test]
fn t04_simultaneous_initiation_gives_two_sessions_that_both_work() {
    let (a, b) = (Device::new(1), Device::new(2));
    let (to_bob, alice_one) = start(&a, &b);
    let (to_alice, bob_two, _) =
        initiate(&b.initiator(), &a.published(), &psk(), b"bob", &mut Chance::from_seed([8; 32])).unwrap();
    let bob_one = respond_identity(&b.prekeys, &b.responder(), &psk(), &to_bob).unwrap();
    let alice_two = respond_identity(&a.prekeys, &a.responder(), &psk(), &to_alice).unwrap();
    let bob_one = bob_one.finish(&a.aid, &a.ddh.public()).unwrap().0;
    let alice_two = alice_two.finish(&b.aid, &b.ddh.public()).unwrap().0;
    assert_ne!(alice_one.id(), alice_two.id());
    let sending = |one: &Session, two: &Session| one.id().min(two.id());
    assert_eq!(sending(&alice_one, &alice_two), sending(&bob_one, &bob_two), "both pick the same");
    for (from, to) in [(alice_one, bob_one), (bob_two, alice_two)] {
        let (mut from, mut to) = (Peer::new(from, 1), Peer::new(to, 1_000));
        let first = from.send(b"one");
        assert_eq!(to.receive(&first.envelope).unwrap(), b"one");
        let back = to.send(b"two");
        assert_eq!(from.receive(&back.envelope).unwrap(), b"two");
    }
}

#[test]
fn two_handshakes_with_one_bundle_share_nothing() {
    let (a, b) = (Device::new(1), Device::new(2));
    let (_, one) = start(&a, &b);
    let (_, two, _) =
        initiate(&a.initiator(), &b.published(), &psk(), b"who I am", &mut Chance::from_seed([1; 32])).unwrap();
    assert_ne!(one.id(), two.id());
    let (one, two) = (one.tags(), two.tags());
    assert!(one.iter().all(|(tag, _)| two.iter().all(|(other, _)| tag != other)));
}

#[test]
fn t16_a_session_without_an_answer_for_31_days_is_stale() {
    let (a, b) = (Device::new(1), Device::new(2));
    let (_, mut session) = start(&a, &b);
    session.set_created_at(NOW);
    let after = |days: u64| UnixTime(NOW.0 + days * DAY_MS);
    assert!(!session.is_stale(after(29)));
    assert!(session.is_stale(after(31)));
    session.answered = true;
    assert!(!session.is_stale(after(31)));
}

#[test]
fn prekeys_are_stored_and_read_back() {
    for one_time_id in [None, Some(3)] {
        let keys = OwnPrekeys::generate(5, one_time_id, NOW, &mut chance());
        assert_eq!(OwnPrekeys::decode(&keys.encode()), Some(keys.clone()));
        assert_eq!(keys.created_at(), NOW);
        assert_eq!(OwnPrekeys::decode(&keys.encode()[..20]), None);
    }
}
