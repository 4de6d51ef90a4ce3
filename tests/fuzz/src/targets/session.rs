//! Handshake and ratchet: envelopes from anybody, and from a peer that holds the keys.

use prost::Message;
use silbo_protocol::chance::Chance;
use silbo_protocol::crypto::{KeyKind, fields, typed};
use silbo_protocol::session::{PeerPrekeys, Session, first_contact, handshake, open_skipped, respond_identity};
use silbo_protocol::time::UnixTime;
use silbo_protocol::wire::{padding, proto};

use crate::fixture::{TODAY, fixture};

/// An envelope at a place of a session: as it is, with the tag of that place, and sealed by the peer.
pub fn open(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let fixture = fixture();
    let session = &fixture.session;
    let (tag, place) = fixture.session_tags[usize::from(*choice) % fixture.session_tags.len()];
    let mut envelope = bytes.to_vec();
    let mut chance = Chance::from_seed([9; 32]);
    for with_tag in [false, true] {
        if with_tag {
            match envelope.get_mut(4..16) {
                Some(slot) => slot.copy_from_slice(tag.as_bytes()),
                None => return,
            }
        }
        if let Ok(opened) = session.open(place, &envelope, UnixTime(1), &mut chance) {
            assert_eq!(silbo_protocol::session::tag_of(&opened.preimage), tag);
            assert!(Session::decode(&opened.session.encode()).is_some());
        }
    }
    assert_eq!(session.state_hash(), fixture.session_hash, "opening never changes the session itself");
}

/// An overtaken envelope.
pub fn skipped(data: &[u8]) {
    let key = &fixture().skipped;
    let _ = open_skipped(key, data);
    let mut envelope = data.to_vec();
    if let Some(slot) = envelope.get_mut(4..16) {
        slot.copy_from_slice(key.tag().as_bytes());
        let _ = open_skipped(key, &envelope);
    }
}

/// The box around an init block: as it is, and boxed by somebody with the invitation.
pub fn init_box(data: &[u8]) {
    let fixture = fixture();
    let _ = first_contact::open_box(&fixture.box_key, data);
    let boxed = first_contact::seal_box(&fixture.box_key, &[0x20; 16], data, &mut Chance::from_seed([8; 32]));
    match first_contact::open_box(&fixture.box_key, &boxed) {
        Some(padded) => {
            assert_eq!(padded, data);
            let _ = padding::unpad(&padded).map(proto::InitBlock::decode);
        }
        None => assert!(boxed.len() > silbo_protocol::limits::ENVELOPE_BYTES_MAX),
    }
}

/// An init block: as it is, and with the ids of the prekeys put in.
pub fn init_block(data: &[u8]) {
    let Ok(mut init) = proto::InitBlock::decode(data) else { return };
    respond(&init);
    (init.suite, init.spk_id, init.pq_id, init.otk_id) = (handshake::SUITE, 7, 7, 9);
    init.kem_ct.resize(1_088, 1);
    respond(&init);
}

fn respond(init: &proto::InitBlock) {
    let bob = &fixture().bob;
    if let Ok(half) = respond_identity(&bob.prekeys, &bob.responder(), &fixture().psk, init) {
        let alice = &fixture().alice;
        if let Ok((session, id)) = half.finish(&alice.account.aid(), &alice.account.ddh().public()) {
            assert_eq!(session.id(), id);
            assert!(!session.can_seal(), "the peer is a claim until it has sent a message");
        }
    }
}

/// A prekey bundle: as it is, and signed by its device.
pub fn prekey_bundle(data: &[u8]) {
    let Ok(mut bundle) = proto::PrekeyBundle::decode(data) else { return };
    let bob = &fixture().bob;
    let dik = bob.account.dik();
    for signed in [false, true] {
        if signed {
            bundle.device_id = bob.account.device_id().0.to_vec();
            bundle.sig = dik.sign("silbo/1/bundle", &[&signed_part(&bundle)]).to_vec();
        }
        let cert = bob.account.device_cert_bytes();
        if let Ok(peer) = PeerPrekeys::read(bob.account.aid(), cert, &dik.verifying_key(), &bundle, TODAY) {
            assert!(bundle.expires_day >= TODAY);
            assert_eq!(*peer.aid(), bob.account.aid());
        }
    }
}

fn signed_part(bundle: &proto::PrekeyBundle) -> Vec<u8> {
    let (has_otk, otk_id, otk) = match &bundle.otk {
        Some(one) => (1, one.id, typed(KeyKind::X25519, &one.x25519)),
        None => (0, 0, Vec::new()),
    };
    fields(&[
        &handshake::SUITE.to_be_bytes(),
        &bundle.device_id,
        &bundle.spk_id.to_be_bytes(),
        &typed(KeyKind::X25519, &bundle.spk),
        &bundle.pq_id.to_be_bytes(),
        &typed(KeyKind::MlKem768, &bundle.pq),
        &[has_otk],
        &otk_id.to_be_bytes(),
        &otk,
        &bundle.expires_day.to_be_bytes(),
    ])
}
