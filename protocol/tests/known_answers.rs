//! Known answers of our own: the files in `vectors/`, computed from fixed inputs and compared with what is checked in.
//!
//! The files hold every input, secrets included, so that a second implementation can compute the same
//! (`tests/reference/silbo_reference.py`, written from `docs/wire-format.md`). A change here is a change of the wire
//! format. `SILBO_BLESS=1 cargo test -p silbo-protocol --test known_answers` rewrites the files.

#![allow(clippy::disallowed_methods)] // a test may read its vectors
#![allow(clippy::unwrap_used)]

use prost::Message;
use serde_json::{Value, json};
use silbo_protocol::chance::Chance;
use silbo_protocol::channel::channel_id;
use silbo_protocol::channel::keys::DayKey;
use silbo_protocol::channel::post::{Place, Post, message_id};
use silbo_protocol::crypto::ed25519::SigningKey;
use silbo_protocol::crypto::kem::DecapsulationKey;
use silbo_protocol::crypto::x25519::SecretKey;
use silbo_protocol::crypto::{Secret, cid, kdf};
use silbo_protocol::group::chain::{Chain, EpochChains};
use silbo_protocol::group::epoch::{EpochSecret, topic_of};
use silbo_protocol::group::graph::Graph;
use silbo_protocol::group::key_graph::epoch_of;
use silbo_protocol::group::key_ring::{HeadSecret, Secrecy};
use silbo_protocol::group::letter::{self, Cover, Draft, Origin};
use silbo_protocol::group::operation::{self, DeviceKeys, Info, Kind, Operation, Role};
use silbo_protocol::group::receipt::LetterReceipt;
use silbo_protocol::group::roots::{RootEnds, make_init, take_init};
use silbo_protocol::group::slices::{ProvenSlice, Recipient, RekeyPlace, make_rekey};
use silbo_protocol::group::welcome::Welcome;
use silbo_protocol::identity::account::{Signer, device_cert};
use silbo_protocol::identity::card::{CardParts, build_card, open_card, seal_card};
use silbo_protocol::identity::safety_number::SafetyNumber;
use silbo_protocol::identity::{DeviceLog, OwnAccount};
use silbo_protocol::ids::{
    AccountId, BlobId, Cid, DeviceId, GroupDevice, GroupId, OperationId, PeerKey, Preimage, QueueRid, QueueSid, Tag,
};
use silbo_protocol::input::InviteKind;
use silbo_protocol::mailbox::auth::{self, LinkBinding};
use silbo_protocol::presence::{self, PresenceKeys};
use silbo_protocol::session::handshake::{Initiator, Responder};
use silbo_protocol::session::{
    OwnPrekeys, PeerPrekeys, Session, SkippedKey, TagPlace, first_contact, initiate, link_token, open_skipped,
    pair_secret, reset_tag, respond_identity, tag_of,
};
use silbo_protocol::time::UnixTime;
use silbo_protocol::wire::channel_link::ChannelLink;
use silbo_protocol::wire::envelope::{Class, Envelope, EnvelopeHead};
use silbo_protocol::wire::frame::Frame;
use silbo_protocol::wire::invite::{Aid20, Hint, InviteCode};
use silbo_protocol::wire::padding::{PadClass, pad};
use silbo_protocol::wire::{base32, base64, proto};

const NOW: UnixTime = UnixTime(1_800_000_000_000);
const TODAY: u32 = 1_110;
const HEAD: [u8; 4] = [0x28, 0x60, 0x12, 0x34];
const PSK: [u8; 32] = [0x50; 32];

// ---------- the files

/// Compares with the file, or writes it.
fn check(name: &str, made: &Value) {
    let path = format!("{}/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("SILBO_BLESS").is_some_and(|value| value == "1") {
        std::fs::write(&path, serde_json::to_string_pretty(made).unwrap() + "\n").unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let kept: Value = serde_json::from_str(&text).unwrap();
    let (Some(kept), Some(made)) = (kept.as_object(), made.as_object()) else { panic!("{name} holds an object") };
    assert_eq!(kept.keys().collect::<Vec<_>>(), made.keys().collect::<Vec<_>>(), "{name}");
    for (key, value) in made {
        assert_eq!(kept.get(key), Some(value), "{name}: {key}");
    }
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes a fresh generator with this seed gives: what the code under test drew.
fn drawn(seed: u8) -> Chance {
    Chance::from_seed([seed; 32])
}

// ---------- people

struct Person {
    account: OwnAccount,
    prekeys: OwnPrekeys,
}

/// Fields of the stored forms that are inputs of the vectors.
#[derive(Clone, PartialEq, prost::Message)]
struct StoredAccount {
    #[prost(bytes = "vec", tag = "2")]
    root_seed: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    dik_seed: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    ddh: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredPrekeys {
    #[prost(bytes = "vec", tag = "2")]
    spk: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pq_seed: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    otk: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredSession {
    #[prost(bytes = "vec", tag = "3")]
    ad_send: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    ad_receive: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    root: Vec<u8>,
    #[prost(message, optional, tag = "8")]
    sending: Option<StoredChain>,
    #[prost(bytes = "vec", tag = "9")]
    next_send_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "17")]
    next_receive_key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredChain {
    #[prost(bytes = "vec", tag = "1")]
    header_key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    chain_key: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredPresence {
    #[prost(bytes = "vec", tag = "2")]
    seed: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    k_pres: Vec<u8>,
}

impl Person {
    fn new(seed: u8, one_time: Option<u32>) -> Self {
        let mut chance = drawn(seed);
        let account = OwnAccount::create(&mut chance, TODAY);
        Self { account, prekeys: OwnPrekeys::generate(7, one_time, NOW, &mut chance) }
    }

    fn secrets(&self) -> Value {
        let account = StoredAccount::decode(self.account.encode().as_slice()).unwrap();
        let prekeys = StoredPrekeys::decode(self.prekeys.encode().as_slice()).unwrap();
        json!({
            "root_seed": hex(account.root_seed), "dik_seed": hex(account.dik_seed), "ddh": hex(account.ddh),
            "spk": hex(prekeys.spk), "pq_seed": hex(prekeys.pq_seed), "otk": hex(prekeys.otk),
        })
    }

    fn bundle(&self) -> proto::PrekeyBundle {
        self.prekeys.bundle(&self.account.device_id(), self.account.dik(), TODAY + 38)
    }

    fn public(&self) -> Value {
        json!({
            "aid": hex(self.account.aid().0), "device_id": hex(self.account.device_id().0),
            "cert": hex(self.account.device_cert_bytes()), "bundle": hex(self.bundle().encode_to_vec()),
            "log": self.account.log().entries().iter().map(|e| hex(e.encode_to_vec())).collect::<Vec<_>>(),
            "log_heads": self.account.log().heads().iter().map(hex).collect::<Vec<_>>(),
            "log_head3": hex(self.account.log().head3()),
        })
    }

    fn responder(&self) -> Responder<'_> {
        Responder { aid: self.account.aid(), cert: self.account.device_cert_bytes(), ddh: self.account.ddh() }
    }
}

/// A handshake from `a` to `b`; everything it draws comes from one seed.
fn shake(a: &Person, b: &Person, identity: &[u8], seed: u8) -> (proto::InitBlock, Session, Session) {
    let dik = b.account.dik().verifying_key();
    let peer = PeerPrekeys::read(b.account.aid(), b.account.device_cert_bytes(), &dik, &b.bundle(), TODAY).unwrap();
    let me = Initiator { aid: a.account.aid(), ddh: a.account.ddh() };
    let (init, from, _) = initiate(&me, &peer, &Secret::new(PSK), identity, &mut drawn(seed)).unwrap();
    let half = respond_identity(&b.prekeys, &b.responder(), &Secret::new(PSK), &init).unwrap();
    assert_eq!(half.identity(), identity);
    let (to, _) = half.finish(&a.account.aid(), &a.account.ddh().public()).unwrap();
    (init, from, to)
}

fn handshake(one_time: Option<u32>, seed: u8) -> Value {
    let (a, b) = (Person::new(1, None), Person::new(2, one_time));
    let identity = b"an encoded InitIdentity".as_slice();
    let (init, from, to) = shake(&a, &b, identity, seed);
    let mut chance = drawn(seed);
    let (ephemeral, kem_m, ratchet) = (chance.bytes::<32>(), chance.bytes::<32>(), chance.bytes::<32>());
    let from = StoredSession::decode(from.encode().as_slice()).unwrap();
    let to_state = StoredSession::decode(to.encode().as_slice()).unwrap();
    let sending = from.sending.unwrap();
    json!({
        "in": {
            "initiator": a.secrets(), "initiator_public": a.public(), "responder": b.secrets(), "responder_public": b.public(),
            "psk": hex(PSK), "identity": hex(identity),
            "ephemeral": hex(ephemeral), "kem_m": hex(kem_m), "ratchet": hex(ratchet),
        },
        "out": {
            "init_block": hex(init.encode_to_vec()), "kem_ct": hex(&init.kem_ct), "id_ct": hex(&init.id_ct),
            "session_id": hex(to.id().0), "root": hex(to_state.root),
            "header_key_forward": hex(&to_state.next_receive_key), "header_key_back": hex(&to_state.next_send_key),
            "ad_forward": hex(&to_state.ad_receive), "ad_back": hex(&to_state.ad_send),
            "initiator_root": hex(from.root), "initiator_chain_key": hex(sending.chain_key),
            "initiator_next_header_key": hex(from.next_send_key),
        },
    })
}

#[test]
fn the_handshake_gives_the_known_answers() {
    let vectors =
        json!({ "with_one_time_prekey": handshake(Some(9), 11), "without_one_time_prekey": handshake(None, 12) });
    check("handshake", &vectors);
}

// ---------- ratchet

/// Two ends that write down everything they do.
struct Talk {
    ends: [Session; 2],
    skipped: Vec<SkippedKey>,
    sent: Vec<Vec<u8>>,
    seed: u8,
    log: Vec<Value>,
}

impl Talk {
    fn send(&mut self, end: usize, text: &[u8]) -> usize {
        self.seed += 1;
        let sealed = self.ends[end].seal(HEAD, text, [7, 8, 9], NOW, &mut drawn(self.seed)).unwrap();
        self.log.push(json!({
            "do": "send", "end": end, "head": hex(HEAD), "padded": hex(text), "log_head3": "070809",
            "salt": hex(drawn(self.seed).bytes::<8>()), "chain": sealed.place.chain, "n": sealed.place.n,
            "tag": hex(sealed.tag.0), "preimage": hex(sealed.preimage.0), "envelope": hex(&sealed.envelope),
        }));
        self.sent.push(sealed.envelope);
        self.sent.len() - 1
    }

    fn read(&mut self, end: usize, message: usize) {
        self.seed += 1;
        let envelope = &self.sent[message];
        let tag = Tag::read(&envelope[4..16]).unwrap();
        let mut entry =
            json!({ "do": "read", "end": end, "message": message, "ratchet": hex(drawn(self.seed).bytes::<32>()) });
        if let Some(key) = self.skipped.iter().find(|key| key.tag() == tag) {
            let opened = open_skipped(key, envelope).unwrap();
            entry["padded"] = json!(hex(opened.plaintext));
            entry["preimage"] = json!(hex(opened.preimage.0));
        } else {
            let tags: Vec<(Tag, TagPlace)> = self.ends[end].tags();
            let (_, place) = tags.iter().find(|(known, _)| *known == tag).unwrap();
            let opened = self.ends[end].open(*place, envelope, NOW, &mut drawn(self.seed)).unwrap();
            entry["padded"] = json!(hex(&opened.plaintext));
            entry["preimage"] = json!(hex(opened.preimage.0));
            entry["skipped"] = json!(opened.skipped.iter().map(|(tag, _)| hex(tag.0)).collect::<Vec<_>>());
            self.ends[end] = opened.session;
            self.skipped.extend(opened.skipped.into_iter().map(|(_, key)| key));
        }
        self.log.push(entry);
    }

    fn receipt(&mut self, end: usize) {
        self.ends[end].confirm_chain();
        self.log.push(json!({ "do": "confirm", "end": end }));
    }
}

#[test]
fn the_ratchet_gives_the_known_answers() {
    let (a, b) = (Person::new(1, None), Person::new(2, Some(9)));
    let (_, from, to) = shake(&a, &b, b"", 13);
    let start = StoredSession::decode(to.encode().as_slice()).unwrap();
    let mut chance = drawn(13);
    let _ = (chance.bytes::<32>(), chance.bytes::<32>());
    let mut talk = Talk { ends: [from, to], skipped: Vec::new(), sent: Vec::new(), seed: 100, log: Vec::new() };
    let first = talk.send(0, b"first\x80");
    let second = talk.send(0, b"second\x80\0\0");
    talk.read(1, first);
    let answer = talk.send(1, b"answer\x80");
    talk.read(0, answer);
    talk.receipt(1);
    let in_a_row: Vec<usize> = (0..4u8).map(|n| talk.send(0, &[n, 0x80, 0])).collect();
    let confirmed = talk.send(1, b"without ratchet key\x80");
    talk.read(0, confirmed);
    talk.read(1, in_a_row[2]); // closes the first chain with one message missing, skips two of the second
    talk.read(1, second);
    talk.read(1, in_a_row[0]);
    talk.read(1, in_a_row[3]);
    talk.read(1, in_a_row[1]);
    let last = talk.send(1, &[0x80; 200]);
    talk.read(0, last);
    let vectors = json!({
        "session": {
            "root": hex(start.root), "header_key_forward": hex(start.next_receive_key), "header_key_back": hex(start.next_send_key),
            "ad_forward": hex(start.ad_receive), "ad_back": hex(start.ad_send),
            "responder_spk": b.secrets()["spk"], "initiator_ratchet": hex(chance.bytes::<32>()),
        },
        "steps": talk.log,
    });
    check("ratchet", &vectors);
}

// ---------- envelopes, padding, frames, tags, boxes

#[test]
fn envelopes_give_the_known_answers() {
    let heads = [(Class::Control, 1, 0), (Class::Text, 30 * 24, 1), (Class::Live, 2, 0), (Class::Bulk, 10_000, 0)].map(
        |(class, hours, flags)| {
            let mut head = EnvelopeHead::new(class, hours * 3_600_000, NOW, &mut drawn(1));
            (head.urgent, head.no_infra) = (flags == 1, flags == 1);
            json!({
                "class": class as u8, "ttl_code": head.ttl as u8, "urgent": head.urgent, "no_infra": head.no_infra,
                "expiry_hour": head.expiry_hour, "bytes": hex(head.encode()),
                "now_ms": NOW.0, "expires_ms": head.expires_at(NOW).0, "keep_until_ms": head.keep_until(NOW).0,
            })
        },
    );
    let mut whole =
        [&[0x29, 0x61, 0x12, 0x34][..], &[5; 12], &[0x81, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0x02, 1, 7]].concat();
    whole.extend_from_slice(&[0xee; 20]);
    let parsed = Envelope::parse(&whole).unwrap();
    let paddings = [
        (PadClass::Constrained, 0, 0),
        (PadClass::Constrained, 20, 33),
        (PadClass::Rich, 100, 96),
        (PadClass::Rich, 500, 96),
    ]
    .map(|(class, len, overhead)| {
        let plain = vec![0x61; len];
        let padded = pad(class, &plain, overhead).unwrap();
        let class = if class == PadClass::Rich { "rich" } else { "constrained" };
        json!({ "class": class, "plain": hex(plain), "overhead": overhead, "padded": hex(padded) })
    });
    let frames = [
        Frame::Hello(proto::Hello { v: 1, nonce: vec![1; 16], tokens8: vec![2; 16], roles: 1 }),
        Frame::Envelopes(vec![vec![1; 40], vec![2; 200]]),
        Frame::Receipts(vec![Preimage([3; 16]), Preimage([4; 16])]),
    ]
    .map(|frame| hex(frame.encode()));
    let key = Secret::new([6; 32]);
    let fixed = [&HEAD[..], &[9; 12]].concat().try_into().unwrap();
    let (one_time, preimage) = first_contact::one_time_tag(&key, 3);
    let (from, to) = (SecretKey::from_bytes([1; 32]), SecretKey::from_bytes([2; 32]));
    let pair = pair_secret(&from, &to.public()).unwrap();
    let (reset, reset_preimage) = reset_tag(&pair, &AccountId([1; 32]), &AccountId([2; 32]), 5, 0);
    let vectors = json!({
        "heads": heads,
        "parsed": {
            "bytes": hex(&whole), "tag": hex(parsed.tag.0), "ext": hex(parsed.ext), "sealed": hex(parsed.sealed),
            "stamp": hex(parsed.extension(1).unwrap()), "zone": hex(parsed.extension(2).unwrap()), "cid": hex(cid(&whole).0),
        },
        "paddings": paddings,
        "frames": { "hello": frames[0], "envelopes": frames[1], "receipts": frames[2] },
        "tag": { "preimage": hex([0x70; 16]), "tag": hex(tag_of(&Preimage([0x70; 16])).0) },
        "box": {
            "key": hex([6; 32]), "fixed": hex(fixed), "salt": hex(drawn(1).bytes::<16>()), "padded": hex([0x61; 50]),
            "envelope": hex(first_contact::seal_box(&key, &fixed, &[0x61; 50], &mut drawn(1))),
        },
        "invite_tags": {
            "key": hex([6; 32]), "n": 3, "one_time": hex(one_time.0), "preimage": hex(preimage.0),
            "reusable": hex(first_contact::reusable_tag(&key, 3).0),
        },
        "pair": {
            "own": hex([1; 32]), "peer": hex([2; 32]), "secret": hex(pair.expose()),
            "sender_peer": hex(b"peer a"), "receiver_peer": hex(b"peer b"), "nonce": hex([7; 16]),
            "token": hex(link_token(&pair, b"peer a", b"peer b", &[7; 16])),
            "from_aid": hex([1; 32]), "to_aid": hex([2; 32]), "epoch": 5, "n": 0, "reset_tag": hex(reset.0), "reset_preimage": hex(reset_preimage.0),
            "reset_box": hex(kdf::<32>(pair.expose(), b"", "silbo/1/reset-box").expose()),
            "reset_psk": hex(kdf::<32>(pair.expose(), b"", "silbo/1/reset-psk").expose()),
        },
        "texts": { "bytes": hex([0xff, 0, 0x10, 0x83, 0x7e]), "base32": base32::encode_upper(&[0xff, 0, 0x10, 0x83, 0x7e]), "base64": base64::encode(&[0xff, 0, 0x10, 0x83, 0x7e]) },
    });
    check("envelope", &vectors);
}

// ---------- invitations and cards

fn peer_key(n: u8) -> PeerKey {
    PeerKey([&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20][..], &[n; 32]].concat())
}

#[test]
fn invitations_give_the_known_answers() {
    let person = Person::new(1, None);
    let aid = person.account.aid();
    let hints = vec![
        Hint::Relay { peer: peer_key(3), addr: vec![4, 127, 0, 0, 1, 0x91, 2, 0x10, 0, 0xcc, 3] },
        Hint::Peer { peer: peer_key(4), addr: vec![4, 10, 0, 0, 1, 6, 0x10, 0] },
        Hint::Name("Ada".to_owned()),
    ];
    let code = InviteCode::new(InviteKind::Reusable, NOW.after_ms(86_400_000), [0x33; 16], &aid, hints);
    let keys = code.keys();
    let parts = CardParts {
        profile: proto::Profile { name: "Ada".into(), status: String::new(), avatar: Vec::new(), rev: 1 },
        bundles: vec![person.bundle()],
        seq: 4,
        ..CardParts::default()
    };
    let card = build_card(&person.account, parts);
    let sealed = seal_card(&keys.card, &card, &person.account, &mut drawn(5)).unwrap();
    assert_eq!(open_card(&keys.card, &sealed, &Aid20::of(&aid)).unwrap().aid, aid);
    let vectors = json!({
        "in": {
            "version": 1, "kind": 1, "flags": code.flags, "expires_ms": NOW.after_ms(86_400_000).0, "secret": hex([0x33; 16]), "aid": hex(aid.0),
            "relay_key": hex([3; 32]), "relay_addr": "047f00000191021000cc03", "peer_key": hex([4; 32]), "peer_addr": "040a000001061000", "name": "Ada",
        },
        "expiry_day": code.expiry_day, "expires_at_ms": code.expires_at().0,
        "bytes": hex(code.encode()), "link": code.link(), "qr": code.qr(), "web_link": code.web_link("https://silbo.example"),
        "keys": {
            "card": hex(keys.card.expose()), "psk": hex(keys.psk.expose()), "first_contact": hex(keys.first_contact.expose()),
            "rdv": hex(keys.rdv.expose()), "request": hex(keys.request.expose()), "blob_owner_seed": hex(keys.blob_owner.expose()),
            "blob_id": hex(keys.blob_id.0), "init_box": hex(kdf::<32>(keys.first_contact.expose(), b"", "silbo/1/init-box").expose()),
        },
        "card": { "owner": person.secrets(), "owner_public": person.public(), "body": hex(card.encode_to_vec()), "salt": hex(drawn(5).bytes::<24>()), "sealed": hex(sealed) },
    });
    check("invite", &vectors);
}

// ---------- identity, presence, mailboxes

#[test]
fn accounts_and_safety_numbers_give_the_known_answers() {
    let (mut a, b) = (Person::new(1, None), Person::new(2, None));
    let first = a.public();
    a.account.add_device(Signer::ThisDevice, device_cert(b.account.dik(), b.account.ddh(), TODAY)).unwrap();
    a.account.revoke_device(Signer::Root, b.account.device_id(), 1, TODAY).unwrap();
    assert_eq!(DeviceLog::read(a.account.log().entries()).unwrap().live_devices().len(), 1);
    let number = SafetyNumber::new(&a.account.aid(), &b.account.aid());
    let vectors = json!({
        "secrets": a.secrets(), "first": first, "grown": a.public(), "added": b.public(),
        "safety_number": { "own": hex(a.account.aid().0), "theirs": hex(b.account.aid().0), "digits": number.digits(), "qr": number.qr() },
    });
    check("identity", &vectors);
}

#[test]
fn presence_records_give_the_known_answers() {
    let keys = PresenceKeys::generate(&mut drawn(21));
    let stored = StoredPresence::decode(keys.encode().as_slice()).unwrap();
    let hint = |n: u8| proto::PeerHint { peer: peer_key(n).0, addrs: vec![vec![4, 127, 0, 0, 1]], roles: 1 };
    let plain = proto::PresencePlain { me: Some(hint(1)), relays: vec![hint(2)], pad: Vec::new() };
    let (day, seq, expires_s) = (20_833, 77, 1_800_100_000);
    let (key, value) = presence::publish(&keys, day, seq, &plain, expires_s).unwrap();
    assert_eq!(value.len(), 1_024);
    let vectors = json!({
        "seed": hex(stored.seed), "k_pres": hex(stored.k_pres), "blind_vk": hex(keys.public().blind_vk), "day": day, "seq": seq, "expires_s": expires_s,
        "plain": hex(plain.encode_to_vec()), "dht_key": hex(key), "value": hex(value),
    });
    check("presence", &vectors);
}

#[test]
fn channels_give_the_known_answers() {
    let owner = SigningKey::from_seed(&[31; 32]);
    let channel = channel_id(&owner.verifying_key());
    let first = DayKey::read(700, &[32; 32]).unwrap();
    let (mut prev, mut posts) = ([0; 32], Vec::new());
    for (seq, day, plain) in [(0, 700, &b"first"[..]), (1, 703, &[7; 400])] {
        let (key, place) = (first.on(day).unwrap(), Place { seq, prev, day });
        let post = Post::write(&owner, channel, &key, place, plain, &mut drawn(33)).unwrap();
        prev = post.hash();
        posts.push(json!({
            "day": day, "plain": hex(plain), "salt": hex(drawn(33).bytes::<16>()), "post": hex(post.encode()), "hash": hex(prev),
        }));
    }
    let key = first.on(710).unwrap();
    let (from, to, nonce) = (peer_key(1).0, peer_key(2).0, [34; 16]);
    let slots = (0..8).map(|slot| key.slot(slot).unwrap().public());
    let slots: Vec<String> = slots.map(|public| hex([public.blind_vk, public.k_pres].concat())).collect();
    let link = ChannelLink {
        flags: 0,
        key: key.clone(),
        owner: owner.verifying_key(),
        first_seq: 300,
        hints: vec![Hint::Name("news".to_owned())],
    };
    let vectors = json!({
        "seed": hex([31; 32]), "channel": hex(channel.0), "first_day": 700, "first_key": hex([32; 32]), "posts": posts,
        "day": 710, "key": hex(key.expose()), "from": hex(&from), "to": hex(&to), "nonce": hex(nonce),
        "token": hex(key.token(&from, &to, &nonce)), "owner_k_pres": hex(key.owner_record(&owner.verifying_key()).k_pres),
        "slots": slots, "seq": 300, "ts_ms": NOW.0, "message_id": hex(message_id(&channel, 300, NOW).0), "link": link.link(),
    });
    check("channel", &vectors);
}

#[test]
fn mailbox_authenticators_give_the_known_answers() {
    let owner = SigningKey::from_seed(&[7; 32]);
    let binding = LinkBinding { relay_vk: *owner.verifying_key().as_bytes(), challenge: [2; 32] };
    let (rid, sid) = (QueueRid([3; 16]), QueueSid([4; 16]));
    let create = proto::QCreate {
        rid: rid.0.to_vec(),
        sid: sid.0.to_vec(),
        owner_vk: binding.relay_vk.to_vec(),
        send_key: vec![5; 16],
        ttl_days: 30,
        max_env: 100,
        max_kib: 200,
        sig: Vec::new(),
    };
    let limits = proto::Limits {
        retention_days: 30,
        max_env: 100,
        max_kib: 200,
        relay_vk: binding.relay_vk.to_vec(),
        challenge: vec![2; 32],
        sig: Vec::new(),
    };
    let vectors = json!({
        "seed": hex([7; 32]), "challenge": hex([2; 32]), "rid": hex(rid.0), "sid": hex(sid.0), "send_key": hex([5; 16]),
        "ttl_days": 30, "max_env": 100, "max_kib": 200, "cids": [hex([1; 16]), hex([2; 16])], "tags": [hex([6; 12])], "seqs": [1, 300],
        "blob_id": hex([8; 16]), "blob": hex([9; 10]), "until_hour": 12_345, "after": 9,
        "create": hex(auth::create_sig_input(&binding, &create).sign(&owner)),
        "read": hex(auth::read_sig_input(&binding, &rid, 9).sign(&owner)),
        "ack": hex(auth::ack_sig_input(&binding, &rid, &[1, 300]).sign(&owner)),
        "delete": hex(auth::delete_sig_input(&binding, &rid).sign(&owner)),
        "blob_put": hex(auth::blob_put(&binding, &BlobId([8; 16]), &owner, vec![9; 10], 30).sig),
        "blob_del": hex(auth::blob_del(&binding, &BlobId([8; 16]), &owner).sig),
        "held": hex(auth::held_sig_input(&sid.0, &[vec![1; 16], vec![2; 16]], 12_345).sign(&owner)),
        "limits": hex(auth::limits_sig_input(&limits).sign(&owner)),
        "deposit": hex(auth::deposit_mac(&binding, &[5; 16], &sid, &[Cid([1; 16]), Cid([2; 16])])),
        "collect": hex(auth::collect_mac(&binding, &[5; 16], &sid, &[Tag([6; 12])])),
    });
    check("mailbox", &vectors);
}

// ---------- groups

const GROUP: GroupId = GroupId([0x47; 16]);

fn group_device(n: u8) -> GroupDevice {
    GroupDevice { account: AccountId([n; 32]), device: DeviceId([n; 8]) }
}

fn group_epochs() -> Value {
    let ids = [OperationId([1; 16]), OperationId([2; 16]), OperationId([3; 16])];
    let unfolded = |secret: &EpochSecret, heads: &[OperationId]| {
        let id = epoch_of(heads);
        let all = secret.unfold(&GROUP, &id);
        json!({
            "heads": heads.iter().map(|head| hex(head.0)).collect::<Vec<_>>(), "epoch": hex(id.0),
            "secret": hex(secret.expose()), "join": hex(all.join.expose()), "topic": hex(all.topic.expose()),
            "knock": hex(all.knock.expose()), "exporter": hex(all.exporter.expose()),
            "topic_of_day": hex(topic_of(&all.topic, TODAY)),
            "seeds": ([1, 2].map(|n| hex(all.chain_root.seed(&group_device(n)).expose()))),
        })
    };
    let join = |secret: &EpochSecret, id: OperationId| secret.unfold(&GROUP, &epoch_of(&[id])).join;
    let x = Secret::new([0x78; 32]);
    let fresh = EpochSecret::fresh(&x, &ids[0]);
    let forward = EpochSecret::forward(&join(&fresh, ids[0]), &ids[1]);
    let other = EpochSecret::fresh(&Secret::new([0x79; 32]), &ids[2]);
    let heads = [ids[1], ids[2]];
    let merged = EpochSecret::merged(&heads, &[&join(&forward, ids[1]), &join(&other, ids[2])]);
    let told = HeadSecret { heads: heads.to_vec(), secret: merged.clone(), secrecy: Secrecy::Classical };
    json!({
        "group": hex(GROUP.0), "day": TODAY, "x": hex(x.expose()), "other_x": hex([0x79; 32]),
        "devices": ([1, 2].map(|n| hex(group_device(n).to_bytes()))),
        "rekey": unfolded(&fresh, &ids[..1]), "forward": unfolded(&forward, &ids[1..2]),
        "other": unfolded(&other, &ids[2..]), "merge": unfolded(&merged, &heads),
        "welcome": hex(Welcome { group: GROUP, secrets: vec![told] }.encode()),
    })
}

fn group_rekey() -> Value {
    let place =
        RekeyPlace { group: GROUP, rekeyer: group_device(1), heads: vec![OperationId([1; 16]), OperationId([2; 16])] };
    let keys: Vec<SecretKey> = (0..5).map(|n| SecretKey::from_bytes([0x60 + n; 32])).collect();
    let recipients: Vec<Recipient> =
        (1..).zip(&keys).map(|(n, key)| Recipient { device: group_device(n), key: key.public() }).collect();
    let kem = DecapsulationKey::generate(&mut drawn(30));
    let ends = RootEnds { group: GROUP, rekeyer: group_device(1), device: group_device(4) };
    let (init, receiving) = make_init(&ends, &kem.public(), &mut drawn(31));
    let root = take_init(&ends, &kem, &init).unwrap();
    let mut roots = std::collections::BTreeMap::from([(group_device(4), root)]);
    make_rekey(&place, &recipients, &mut roots, &mut drawn(32)).unwrap();
    let made = make_rekey(&place, &recipients, &mut roots, &mut drawn(33)).unwrap();
    assert!(receiving.reach(2).is_some());
    let mut chance = drawn(33);
    let (x, ephemeral) = (chance.bytes::<32>(), chance.bytes::<32>());
    assert_eq!(&x, made.x.expose());
    let head = EnvelopeHead::decode(HEAD).unwrap();
    let proven = ProvenSlice::all(&made.slices);
    let envelopes = made.covers.iter().zip(&proven).map(|(cover, slice)| hex(cover.seal(head, slice).unwrap()));
    json!({
        "head": hex(HEAD), "receipts": made.covers.iter().map(|cover| hex(cover.preimage.0)).collect::<Vec<_>>(),
        "envelopes": envelopes.collect::<Vec<_>>(),
        "group": hex(GROUP.0), "rekeyer": hex(group_device(1).to_bytes()),
        "heads": place.heads.iter().map(|head| hex(head.0)).collect::<Vec<_>>(),
        "devices": recipients.iter().map(|to| hex(to.device.to_bytes())).collect::<Vec<_>>(),
        "device_keys": keys.iter().map(|key| hex(key.expose())).collect::<Vec<_>>(),
        "kem_seed": hex(kem.seed().expose()), "kem_m": hex(drawn(31).bytes::<32>()), "init": hex(init),
        "init_device": 3, "step": 2, "x": hex(x), "ephemeral": hex(ephemeral),
        "material": hex(made.material.encode()),
        "fetched": (0..5).map(|n| hex(ProvenSlice::of(&made.slices, n).unwrap().encode())).collect::<Vec<_>>(),
    })
}

fn group_letter() -> Value {
    let (sender, epoch) = (group_device(2), epoch_of(&[OperationId([1; 16])]));
    let secret = EpochSecret::fresh(&Secret::new([0x78; 32]), &OperationId([1; 16]));
    let chains = EpochChains::cut(&secret.unfold(&GROUP, &epoch).chain_root, &[sender]);
    let mut chain: Chain = chains.chain(0).unwrap().clone();
    let Chain::Silent(seed) = &chain else { panic!("nobody was heard yet") };
    let seed = hex(seed.expose());
    let (origin, signer) = (Origin { group: GROUP, epoch, sender }, SigningKey::from_seed(&[0x5e; 32]));
    let head = EnvelopeHead::decode(HEAD).unwrap();
    let drafts = [
        Draft { lamport: 1, parents: Vec::new(), body: b"first".to_vec() },
        Draft { lamport: 300, parents: vec![[1; 6], [2; 6]], body: vec![0x61; 40] },
    ];
    let letters: Vec<Value> = (40..)
        .zip(&drafts)
        .map(|(drawn_by, draft)| {
            let cover = Cover { head, extensions: &[], class: PadClass::Constrained };
            let sealed = letter::seal(&origin, &chain, &signer, &cover, draft, &mut drawn(drawn_by)).unwrap();
            chain = sealed.chain;
            json!({
                "n": sealed.n, "lamport": draft.lamport, "parents": hex(draft.parents.concat()), "body": hex(&draft.body),
                "salt": hex(drawn(drawn_by).bytes::<16>()), "tag": hex(sealed.tag.0), "id": hex(sealed.id.0),
                "envelope": hex(sealed.envelope),
            })
        })
        .collect();
    json!({
        "group": hex(GROUP.0), "epoch": hex(epoch.0), "sender": hex(sender.to_bytes()), "seed": seed,
        "signer_seed": hex([0x5e; 32]), "head": hex(HEAD), "letters": letters, "tag_1024": hex(chain.tag(1_024).0),
    })
}

fn group_receipt() -> Value {
    let (letter, by) = (Cid([0x1e; 16]), group_device(3));
    let (reader, author) = (SecretKey::from_bytes([0x0d; 32]), SecretKey::from_bytes([0xa1; 32]));
    let receipt = LetterReceipt::make(&GROUP, &letter, &by, &reader, &author.public()).unwrap();
    assert!(receipt.is_of(&GROUP, &letter, &by, &author, &reader.public()));
    json!({
        "group": hex(GROUP.0), "letter": hex(letter.0), "by": hex(by.to_bytes()), "key": hex([0x0d; 32]),
        "author_key": hex([0xa1; 32]), "receipt": hex(receipt.to_bytes()),
    })
}

#[test]
fn group_keys_and_letters_give_the_known_answers() {
    check(
        "group",
        &json!({
            "epochs": group_epochs(), "rekey": group_rekey(), "letter": group_letter(), "receipt": group_receipt(),
        }),
    );
}

// ---------- operations on a group

fn group_person(n: u8) -> (GroupDevice, SigningKey, DeviceKeys) {
    let (sign, agree) = (SigningKey::from_seed(&[n; 32]), SecretKey::from_bytes([n; 32]).public());
    let who = GroupDevice { account: AccountId([n; 32]), device: DeviceId([n; 8]) };
    let keys = DeviceKeys { id: who.device, sign: sign.verifying_key(), agree, vouch: vec![n; 3] };
    (who, sign, keys)
}

#[test]
fn operations_on_a_group_give_the_known_answers() {
    let info = Info { name: Some("Village".into()), history_days: Some(0), ..Info::default() };
    let create = Kind::Create { info, devices: vec![group_person(1).2] };
    let author = group_person(1).0.to_bytes().to_vec();
    let first = proto::GroupOp { author, b: create.to_proto([0x4e; 16]), ..Default::default() };
    let genesis = Operation::read(&operation::sign(&group_person(1).1, &first)).unwrap();
    let mut graph = Graph::new(genesis.clone()).unwrap();
    let mut ops = vec![genesis];
    let link_key = SigningKey::from_seed(&[0x77; 32]);
    let add = |n: u8, role, heads: Vec<OperationId>| Kind::Add {
        account: AccountId([n; 32]),
        role,
        devices: vec![group_person(n).2],
        heads,
    };
    let remove = |n: u8| Kind::Remove { accounts: vec![AccountId([n; 32])], reason: 1 };
    let mut write = |by: u8, after: &[usize], make: &dyn Fn(&[OperationId]) -> Kind| {
        let ids: Vec<OperationId> = ops.iter().map(Operation::id).collect();
        let mut parents: Vec<OperationId> = after.iter().map(|at| ids[*at]).collect();
        parents.sort_unstable();
        let (who, key, _) = group_person(by);
        let op = Operation::read(&graph.write(&make(&ids), &who, &parents, &key).unwrap()).unwrap();
        graph.insert(op.clone(), &who.account).unwrap();
        ops.push(op);
    };
    write(1, &[0], &|ids| add(2, Role::Owner, vec![ids[0]]));
    write(2, &[1], &|ids| add(3, Role::Member, vec![ids[1]]));
    write(1, &[2], &|_| Kind::Link {
        key: link_key.verifying_key(),
        uses: 1,
        expires_day: TODAY,
        role: Role::Member,
        approval: false,
    });
    let (joiner, _, joiner_keys) = group_person(4);
    let group = graph_id(&first);
    write(3, &[3], &|ids| {
        let (link, devices) = (ids[3], vec![joiner_keys.clone()]);
        let proof = operation::sign_join(&link_key, &group, &link, &joiner.account, &devices).to_vec();
        Kind::Join { link, account: joiner.account, devices, proof, heads: vec![ids[2]] }
    });
    write(1, &[4], &|_| remove(3));
    write(2, &[4], &|_| Kind::Role { account: AccountId([3; 32]), role: Role::Admin });
    write(2, &[6], &|ids| Kind::Rekey { heads: vec![ids[4]], material: vec![9; 40] });
    write(1, &[4], &|_| remove(2));
    write(2, &[4], &|_| remove(1));
    let membership = graph.membership();
    let ids = |ids: &mut dyn Iterator<Item = &OperationId>| ids.map(|id| hex(id.0)).collect::<Vec<_>>();
    let member = |n: u8| membership.roster.get(&AccountId([n; 32])).map(|member| member.role as u32);
    let since = |n: u8| membership.roster.get(&AccountId([n; 32])).map(|member| hex(member.since.0));
    let left: Vec<Value> = membership.links.iter().map(|(id, link)| json!([hex(id.0), link.left])).collect();
    let vectors = json!({
        "link_seed": hex([0x77; 32]), "join": { "link": 3, "operation": 4, "aid": hex([4; 32]) },
        "seeds": (1..=4u8).map(|n| hex([n; 32])).collect::<Vec<_>>(),
        "group": hex(graph.group().0),
        "operations": ops.iter().map(|op| json!({ "id": hex(op.id().0), "body": hex(&op.signed().body), "sig": hex(&op.signed().sig) })).collect::<Vec<_>>(),
        "roles": (1..=4u8).map(member).collect::<Vec<_>>(),
        "void": ids(&mut membership.void.keys()), "heads": ids(&mut membership.heads.iter()),
        "key_heads": ids(&mut membership.key_heads.iter()), "unkeyed": ids(&mut membership.unkeyed.iter()),
        "since": (1..=4u8).map(since).collect::<Vec<_>>(), "links_left": left, "state": hex(membership.digest()),
    });
    check("group_operations", &vectors);
}

/// The name of the group that begins with this.
fn graph_id(genesis: &proto::GroupOp) -> silbo_protocol::ids::GroupId {
    let hash = silbo_protocol::crypto::hash("silbo/1/group", &[&genesis.encode_to_vec()]);
    silbo_protocol::ids::GroupId::read(&hash[..16]).unwrap()
}
