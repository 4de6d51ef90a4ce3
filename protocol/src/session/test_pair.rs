//! Two devices for the tests of this folder: keys, certificates, and a peer that files tags and skipped keys.

use std::collections::BTreeMap;

use prost::Message as _;

use super::handshake::{Initiator, Responder, initiate, respond_identity};
use super::{OpenError, OwnPrekeys, PeerPrekeys, Sealed, Session, SkippedKey, open_skipped};
use crate::chance::Chance;
use crate::crypto::Secret;
use crate::crypto::ed25519::SigningKey;
use crate::crypto::x25519::SecretKey;
use crate::ids::{AccountId, DeviceId, Tag};
use crate::time::UnixTime;
use crate::wire::proto;

pub(super) const HEAD: [u8; 4] = [0x28, 0x60, 0x12, 0x34];
pub(super) fn psk() -> Secret<32> {
    Secret::new([0x50; 32])
}

pub(super) const NOW: UnixTime = UnixTime(1_800_000_000_000);
pub(super) const TODAY: u32 = 1_000;

pub(super) struct Device {
    pub(super) aid: AccountId,
    pub(super) dik: SigningKey,
    pub(super) ddh: SecretKey,
    pub(super) cert: Vec<u8>,
    pub(super) prekeys: OwnPrekeys,
}

impl Device {
    pub(super) fn new(seed: u8) -> Self {
        let mut chance = Chance::from_seed([seed; 32]);
        let (dik, ddh) = (SigningKey::generate(&mut chance), SecretKey::generate(&mut chance));
        let cert = proto::DeviceCert {
            device_id: crate::identity::device_log::device_id(&dik.verifying_key()).0.to_vec(),
            dik: dik.verifying_key().as_bytes().to_vec(),
            ddh: ddh.public().as_bytes().to_vec(),
            suites: vec![1],
            ..Default::default()
        };
        let prekeys = OwnPrekeys::generate(7, Some(9), NOW, &mut chance);
        Self { aid: AccountId([seed; 32]), dik, ddh, cert: cert.encode_to_vec(), prekeys }
    }

    pub(super) fn device_id(&self) -> DeviceId {
        crate::identity::device_log::device_id(&self.dik.verifying_key())
    }

    pub(super) fn bundle(&self) -> proto::PrekeyBundle {
        self.prekeys.bundle(&self.device_id(), &self.dik, TODAY + 38)
    }

    pub(super) fn published(&self) -> PeerPrekeys {
        PeerPrekeys::read(self.aid, &self.cert, &self.dik.verifying_key(), &self.bundle(), TODAY).unwrap()
    }

    pub(super) fn initiator(&self) -> Initiator<'_> {
        Initiator { aid: self.aid, ddh: &self.ddh }
    }

    pub(super) fn responder(&self) -> Responder<'_> {
        Responder { aid: self.aid, cert: &self.cert, ddh: &self.ddh }
    }
}

/// One end of a session with what its caller would store.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) session: Session,
    pub(super) skipped: BTreeMap<Tag, SkippedKey>,
    pub(super) seed: u64,
}

impl Peer {
    pub(super) fn new(session: Session, seed: u64) -> Self {
        Self { session, skipped: BTreeMap::new(), seed }
    }

    pub(super) fn chance(&mut self) -> Chance {
        self.seed += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_be_bytes());
        Chance::from_seed(seed)
    }

    pub(super) fn send(&mut self, text: &[u8]) -> Sealed {
        let mut chance = self.chance();
        self.session.seal(HEAD, text, [1, 2, 3], NOW, &mut chance).unwrap()
    }

    /// As the engine does it: by tag through the windows or the skipped keys; commits only on success.
    pub(super) fn receive(&mut self, envelope: &[u8]) -> Result<Vec<u8>, OpenError> {
        let tag = envelope.get(4..16).and_then(Tag::read).ok_or(OpenError::Length)?;
        if let Some(key) = self.skipped.get(&tag) {
            let opened = open_skipped(key, envelope)?;
            self.skipped.remove(&tag);
            return Ok(opened.plaintext);
        }
        let tags = self.session.tags();
        let (_, place) = tags.iter().find(|(known, _)| *known == tag).ok_or(OpenError::UnknownTag)?;
        let mut chance = self.chance();
        let opened = self.session.open(*place, envelope, NOW, &mut chance)?;
        self.session = opened.session;
        self.skipped.extend(opened.skipped);
        Ok(opened.plaintext)
    }
}

/// Alice, who started, and Bob, who has answered nothing yet.
pub(super) fn fresh_pair(seed: u64) -> (Peer, Peer) {
    let (a, b) = (Device::new(1), Device::new(2));
    let mut chance = Chance::from_seed([seed as u8; 32]);
    let (init, alice, _) = initiate(&a.initiator(), &b.published(), &psk(), b"identity of alice", &mut chance).unwrap();
    let half = respond_identity(&b.prekeys, &b.responder(), &psk(), &init).unwrap();
    assert_eq!(half.identity(), b"identity of alice");
    let (bob, _) = half.finish(&a.aid, &a.ddh.public()).unwrap();
    (Peer::new(alice, seed << 32), Peer::new(bob, (seed << 32) + (1 << 31)))
}

/// The same two after one message each way.
pub(super) fn talking_pair(seed: u64) -> (Peer, Peer) {
    let (mut alice, mut bob) = fresh_pair(seed);
    let hello = alice.send(b"hello");
    assert_eq!(bob.receive(&hello.envelope).unwrap(), b"hello");
    let answer = bob.send(b"answer");
    assert_eq!(alice.receive(&answer.envelope).unwrap(), b"answer");
    (alice, bob)
}
