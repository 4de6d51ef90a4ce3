//! The two ways not taken, with the same primitives: a ratchet message to each device (pairwise fan-out), and sender
//! keys that are told pair by pair.
//!
//! Sources: Marlinspike, "Private Group Messaging", 2014 (both); Balbás, Collins, Gajland, "WhatsUpp with Sender Keys?",
//! ASIACRYPT 2023 (who has to make a new key when somebody goes: everybody who has one).

use std::time::Instant;

use prost::Message as _;
use silbo_protocol::chance::Chance;
use silbo_protocol::crypto::Secret;
use silbo_protocol::identity::account::OwnAccount;
use silbo_protocol::session::handshake::{Initiator, Responder, initiate, respond_identity};
use silbo_protocol::session::prekeys::{OwnPrekeys, PeerPrekeys};
use silbo_protocol::session::ratchet::Session;
use silbo_protocol::time::{DAY_MS, UnixTime};
use silbo_protocol::wire::envelope::{Class, EnvelopeHead};
use silbo_protocol::wire::padding::{PadClass, pad};

use super::broken;
use crate::failure::Failure;
use silbo_protocol::wire::proto::Text;

const NOW: UnixTime = UnixTime(1_800_000_000_000);
const DAY: u32 = 1_000;

/// One device and its sessions with all others, really made; a message to each of them really sealed and opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Others {
    /// Devices, the own one included.
    pub(super) devices: usize,
    /// Of one message to one device.
    pub(super) envelope: usize,
    /// Sealing it, the mean over all sessions.
    pub(super) seal_ms: f64,
    /// Opening it, the mean of some.
    pub(super) open_ms: f64,
    /// Making one session, both ends.
    pub(super) session_ms: f64,
}

pub(super) fn measure(devices: usize, seed: u64) -> Result<Others, Failure> {
    let mut chance = Chance::from_seed(blake3::derive_key("silbo simulations pairs", &seed.to_be_bytes()));
    let (own, peer) = (OwnAccount::create(&mut chance, DAY), OwnAccount::create(&mut chance, DAY));
    let prekeys = OwnPrekeys::generate(7, None, NOW, &mut chance);
    let bundle = prekeys.bundle(&peer.device_id(), peer.dik(), DAY + 38);
    let dik = peer.dik().verifying_key();
    let published = PeerPrekeys::read(peer.aid(), peer.device_cert_bytes(), &dik, &bundle, DAY).map_err(broken)?;
    let psk = || Secret::new([0x50; 32]);
    let begun = Instant::now();
    let mut sessions: Vec<(Session, Session)> = Vec::new();
    for _ in 1..devices.max(2) {
        let me = Initiator { aid: own.aid(), ddh: own.ddh() };
        let (init, from, _) = initiate(&me, &published, &psk(), b"identity", &mut chance).map_err(broken)?;
        let responder = Responder { aid: peer.aid(), cert: peer.device_cert_bytes(), ddh: peer.ddh() };
        let half = respond_identity(&prekeys, &responder, &psk(), &init).map_err(broken)?;
        let (to, _) = half.finish(&own.aid(), &own.ddh().public()).map_err(broken)?;
        sessions.push((from, to));
    }
    let session_ms = begun.elapsed().as_secs_f64() * 1e3 / sessions.len() as f64;

    let plain = Text { body: "x".repeat(40), ..Text::default() }.encode_to_vec();
    let mut sealed = Vec::new();
    let begun = Instant::now();
    for (from, _) in &mut sessions {
        let head = EnvelopeHead::new(Class::Text, DAY_MS, NOW, &mut chance).encode();
        let padded = pad(PadClass::Rich, &plain, from.seal_overhead()).map_err(broken)?;
        sealed.push(from.seal(head, &padded, [0; 3], NOW, &mut chance).map_err(broken)?);
    }
    let seal_ms = begun.elapsed().as_secs_f64() * 1e3 / sealed.len() as f64;
    let mut open_ms = 0.0;
    for ((_, to), sealed) in sessions.iter().zip(&sealed).take(OPENED) {
        let tags = to.tags();
        let place = tags.iter().find(|(tag, _)| *tag == sealed.tag).map(|(_, place)| *place);
        let place = place.ok_or_else(|| broken("an unknown tag"))?;
        let begun = Instant::now();
        to.open(place, &sealed.envelope, NOW, &mut chance).map_err(broken)?;
        open_ms += begun.elapsed().as_secs_f64() * 1e3;
    }
    let envelope = sealed.first().map_or(0, |sealed| sealed.envelope.len());
    let opened = sealed.len().min(OPENED) as f64;
    Ok(Others { devices, envelope, seal_ms, open_ms: open_ms / opened, session_ms })
}

/// Messages that are opened: each is as dear as the next.
const OPENED: usize = 50;
