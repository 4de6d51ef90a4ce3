//! Every decoder under arbitrary bytes and damaged real values: no panic, one encoding where one is promised, and no
//! more memory than the bytes that came deserve.
//!
//! The fuzz targets in `tests/fuzz` go deeper; these run with every `cargo test`.

#![allow(clippy::unwrap_used)]
// A counting allocator cannot be written without it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use silbo_protocol::chance::Chance;
use silbo_protocol::conversation::event_record::{decode_event, encode_event};
use silbo_protocol::conversation::{Slot, SlotAuthor, SlotOp, SlotOpKind};
use silbo_protocol::crypto::Secret;
use silbo_protocol::crypto::ed25519::SigningKey;
use silbo_protocol::crypto::x25519::SecretKey;
use silbo_protocol::group::chain::EpochChains;
use silbo_protocol::group::epoch::EpochSecret;
use silbo_protocol::group::history;
use silbo_protocol::group::key_graph::{KeyGraph, KeyKind, KeyOperation, epoch_of};
use silbo_protocol::group::key_ring::{HeadSecret, KeyRing, Secrecy};
use silbo_protocol::group::letter::{Cover, Draft, Origin, seal};
use silbo_protocol::group::roots::ReceivingRoot;
use silbo_protocol::group::slices::{
    MadeRekey, PlacedSlice, ProvenSlice, Recipient, RekeyMaterial, RekeyPlace, Slice, make_rekey,
};
use silbo_protocol::group::welcome::Welcome;
use silbo_protocol::identity::account::RootSeed;
use silbo_protocol::identity::card::{CardParts, build_card, open_card, seal_card};
use silbo_protocol::identity::safety_number::SafetyNumber;
use silbo_protocol::identity::{DeviceLog, LogError, OwnAccount};
use silbo_protocol::ids::{AccountId, DeviceId, GroupDevice, GroupId, MessageId, OperationId, PeerKey, Preimage};
use silbo_protocol::input::InviteKind;
use silbo_protocol::limits::{BLOB_BYTES_MAX, ENVELOPE_BYTES_MAX, FRAME_BYTES_MAX};
use silbo_protocol::presence::{self, PresenceError, PresenceKeys};
use silbo_protocol::session::handshake::Responder;
use silbo_protocol::session::{OwnPrekeys, PeerPrekeys, Session, SkippedKey, first_contact, respond_identity};
use silbo_protocol::step::{Event, EventKind};
use silbo_protocol::time::UnixTime;
use silbo_protocol::wire::envelope::{Envelope, EnvelopeError, EnvelopeHead};
use silbo_protocol::wire::frame::{Frame, FrameError};
use silbo_protocol::wire::invite::{Aid20, Hint, InviteCode};
use silbo_protocol::wire::{base32, base64, padding, proto};

const NOW: UnixTime = UnixTime(1_800_000_000_000);
const DAY: u32 = 1_110;

// ---------- memory

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system allocator unchanged; the counters are plain thread-local integers.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as this function's caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let _ = LIVE.try_with(|live| live.set(live.get().saturating_sub(layout.size())));
        // SAFETY: as this function's caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: usize) {
    let _ = LIVE.try_with(|live| {
        live.set(live.get().saturating_add(bytes));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

/// The most memory that was in use above the start while `work` ran on this thread.
fn peak_bytes<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.with(Cell::get);
    PEAK.with(|peak| peak.set(before));
    let result = work();
    (result, PEAK.with(Cell::get).saturating_sub(before))
}

// ---------- real values

struct Person {
    account: OwnAccount,
    prekeys: OwnPrekeys,
}

fn person(seed: u8) -> Person {
    let mut chance = Chance::from_seed([seed; 32]);
    let account = OwnAccount::create(&mut chance, DAY);
    Person { account, prekeys: OwnPrekeys::generate(7, Some(9), NOW, &mut chance) }
}

fn bundle(person: &Person) -> proto::PrekeyBundle {
    person.prekeys.bundle(&person.account.device_id(), person.account.dik(), DAY + 38)
}

fn sealed_card(person: &Person, key: &Secret<32>) -> Vec<u8> {
    let parts = CardParts { bundles: vec![bundle(person)], ..CardParts::default() };
    let card = build_card(&person.account, parts);
    seal_card(key, &card, &person.account, &mut Chance::from_seed([1; 32])).unwrap()
}

fn invite() -> InviteCode {
    let peer = PeerKey([&[0x00, 0x24, 0x08, 0x01, 0x12, 0x20][..], &[3; 32]].concat());
    let hints = vec![Hint::Relay { peer, addr: vec![4, 127, 0, 0, 1] }, Hint::Name("Ada".into())];
    InviteCode::new(InviteKind::OneTime, NOW, [3; 16], &AccountId([4; 32]), hints)
}

fn slot() -> Slot {
    let mut slot = Slot::default();
    let op = |n: u8, kind| SlotOp {
        author: SlotAuthor::Peer,
        lamport: u64::from(n),
        ts: NOW,
        op_id: MessageId([n; 12]),
        kind,
    };
    slot.apply(&op(
        1,
        SlotOpKind::Text { body: "hello".into(), reply_to: None, expire_s: 60, mentions: Vec::new(), poll: None },
    ));
    slot.apply(&op(2, SlotOpKind::React { emoji: "+".into(), remove: false }));
    slot
}

fn event() -> Event {
    let kind = EventKind::ContactRequest { name: "Ada".into(), hello: "hi".into() };
    Event { at: NOW, chat: None, message: Some(MessageId([1; 12])), kind }
}

/// One real value for each decoder of [`decode_all`].
fn real_values() -> Vec<Vec<u8>> {
    let person = person(1);
    let mut envelope = [&[0x29, 0x60, 0x12, 0x34][..], &[5; 12], &[0x02, 1, 7]].concat();
    envelope.extend_from_slice(&[0xee; 40]);
    let log = proto::LogUpdate { entries: person.account.log().entries().to_vec(), head: Vec::new() };
    let keys = PresenceKeys::generate(&mut Chance::from_seed([2; 32]));
    let record = presence::publish(&keys, 20_833, 1, &proto::PresencePlain::default(), NOW.0 / 1_000 + 60).unwrap().1;
    vec![
        Frame::Envelopes(vec![envelope.clone(), envelope.clone()]).encode(),
        Frame::Receipts(vec![Preimage([1; 16]); 3]).encode(),
        Frame::Hello(proto::Hello { v: 1, nonce: vec![1; 16], tokens8: vec![2; 64], roles: 1 }).encode(),
        envelope,
        invite().encode(),
        invite().link().into_bytes(),
        invite().qr().into_bytes(),
        log.encode_to_vec(),
        bundle(&person).encode_to_vec(),
        record,
        keys.encode(),
        person.prekeys.encode(),
        person.account.encode(),
        encode_event(&event()),
        slot().encode(),
        padding::pad_to(b"plain", 32).unwrap(),
        sealed_card(&person, &Secret::new([4; 32])),
        SafetyNumber::new(&AccountId([1; 32]), &AccountId([2; 32])).qr().into_bytes(),
        person.account.words().join(" ").into_bytes(),
        welcome().encode(),
        rekey().material.encode(),
        ProvenSlice::of(&rekey().slices, 0).unwrap().encode(),
        told().encode_to_vec(),
    ]
}

/// A group of one device, which signs with `signer`.
fn founded() -> (KeyGraph, GroupDevice) {
    let device = GroupDevice { account: AccountId([1; 32]), device: DeviceId([1; 8]) };
    let genesis =
        KeyOperation { id: OperationId([1; 16]), kind: KeyKind::Genesis, heads: Vec::new(), devices: vec![device] };
    let mut graph = KeyGraph::default();
    graph.insert(&genesis).unwrap();
    (graph, device)
}

fn signer() -> SigningKey {
    SigningKey::from_seed(&[8; 32])
}

/// Two letters of a history.
fn told() -> proto::GroupHistory {
    let (group, heads) = (GroupId([1; 16]), [OperationId([1; 16])]);
    let (epoch, sender) = (epoch_of(&heads), founded().1);
    let root = EpochSecret::read(&[9; 32]).unwrap().unfold(&group, &epoch).chain_root;
    let chains = EpochChains::cut(&root, &[sender]);
    let origin = Origin { group, epoch, sender };
    let cover = Cover {
        head: EnvelopeHead::decode([0x28, 0x60, 0x12, 0x34]).unwrap(),
        extensions: &[],
        class: padding::PadClass::Rich,
    };
    let letter = |seed: u8| {
        let draft = Draft { lamport: 3, parents: vec![[seed; 6]], body: vec![seed; 40] };
        let chain = chains.chain(0).unwrap();
        let sealed = seal(&origin, chain, &signer(), &cover, &draft, &mut Chance::from_seed([seed; 32])).unwrap();
        history::write(&sealed.letter, &heads)
    };
    proto::GroupHistory { gid: group.0.to_vec(), letters: vec![letter(1), letter(2)] }
}

/// Letters of a history that their author has signed.
fn read_told(bytes: &[u8]) -> usize {
    let Ok(history) = proto::GroupHistory::decode(bytes) else { return 0 };
    let (graph, _) = founded();
    let keys = [signer().verifying_key()];
    let genuine = told();
    let read = history.letters.iter().filter(|letter| {
        let read = history::read(letter, GroupId([1; 16]), &graph, |_| &keys).is_some();
        assert_eq!(read, genuine.letters.contains(letter), "only its author makes a letter");
        read
    });
    read.count()
}

fn welcome() -> Welcome {
    let secret = EpochSecret::read(&[7; 32]).unwrap();
    let told = HeadSecret { heads: vec![OperationId([1; 16])], secret, secrecy: Secrecy::Classical };
    Welcome { group: GroupId([1; 16]), secrets: vec![told] }
}

fn rekey() -> MadeRekey {
    let device = GroupDevice { account: AccountId([1; 32]), device: DeviceId([1; 8]) };
    let place = RekeyPlace { group: GroupId([1; 16]), rekeyer: device, heads: vec![OperationId([1; 16])] };
    let to = [Recipient { device, key: SecretKey::from_bytes([1; 32]).public() }];
    make_rekey(&place, &to, &mut BTreeMap::new(), &mut Chance::from_seed([1; 32])).unwrap()
}

/// Everything that reads bytes from outside or from disk, with what is promised of what it accepts.
fn decode_all(bytes: &[u8], target: &Target) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(frame) = Frame::decode(bytes) {
        assert_eq!(Frame::decode(&frame.encode()), Ok(frame));
    }
    if let Ok(envelope) = Envelope::parse(bytes) {
        let fixed = envelope.head.with_tag(&envelope.tag);
        assert_eq!([&fixed[..], envelope.ext, envelope.sealed].concat(), bytes);
    }
    if let Ok(code) = InviteCode::decode(bytes) {
        assert_eq!(code.encode(), bytes);
    }
    if let Ok(code) = InviteCode::parse(&text) {
        assert_eq!(InviteCode::parse(&code.link()), Ok(code));
    }
    if let Some(plain) = padding::unpad(bytes) {
        assert_eq!(padding::pad_to(plain, bytes.len()).as_deref(), Some(bytes));
    }
    if let Some(decoded) = base64::decode(&text) {
        assert_eq!(base64::encode(&decoded), text);
    }
    if let Some(decoded) = base32::decode(&text) {
        assert_eq!(base32::decode(&base32::encode_upper(&decoded)), Some(decoded));
    }
    if let Some(event) = decode_event(bytes) {
        assert_eq!(decode_event(&encode_event(&event)), Some(event));
    }
    if let Some(slot) = Slot::decode(bytes) {
        assert_eq!(Slot::decode(&slot.encode()), Some(slot));
    }
    stable(bytes, Session::decode, Session::encode);
    stable(bytes, SkippedKey::decode, SkippedKey::encode);
    stable(bytes, OwnPrekeys::decode, OwnPrekeys::encode);
    stable(bytes, PresenceKeys::decode, PresenceKeys::encode);
    stable(bytes, OwnAccount::decode, OwnAccount::encode);
    stable(bytes, Welcome::decode, Welcome::encode);
    stable(bytes, KeyOperation::decode, KeyOperation::encode);
    stable(bytes, ReceivingRoot::decode, ReceivingRoot::encode);
    stable(bytes, |bytes| ProvenSlice::decode(bytes).ok(), ProvenSlice::encode);
    stable(bytes, |bytes| RekeyMaterial::decode(bytes, 1).ok(), RekeyMaterial::encode);
    stable(bytes, Slice::read_all, |slices| Slice::write_all(slices));
    for placed in PlacedSlice::read_all(bytes) {
        assert_eq!(PlacedSlice::read_all(&placed.to_bytes()).next(), Some(placed));
    }
    stable(bytes, |bytes| KeyRing::decode(bytes, &[]), KeyRing::encode);
    if let Ok(update) = proto::LogUpdate::decode(bytes)
        && let Ok(log) = DeviceLog::read(&update.entries)
    {
        assert_eq!(DeviceLog::read(log.entries()).unwrap().entries(), log.entries());
    }
    let me = &target.person;
    let dik = me.account.dik().verifying_key();
    if let Ok(bundle) = proto::PrekeyBundle::decode(bytes)
        && let Ok(peer) = PeerPrekeys::read(me.account.aid(), me.account.device_cert_bytes(), &dik, &bundle, DAY)
    {
        assert_eq!(*peer.aid(), me.account.aid());
    }
    if let Ok(init) = proto::InitBlock::decode(bytes) {
        let responder =
            Responder { aid: me.account.aid(), cert: me.account.device_cert_bytes(), ddh: me.account.ddh() };
        assert!(respond_identity(&me.prekeys, &responder, &Secret::new([0; 32]), &init).is_err(), "nobody sealed that");
    }
    assert!(first_contact::open_box(&target.key, bytes).is_none(), "nobody boxed that");
    read_told(bytes);
    let _ = open_card(&target.key, bytes, &Aid20::of(&me.account.aid()));
    let _ = presence::validate(&[0; 32], bytes, NOW.0 / 1_000);
    let _ = presence::open(&target.presence, 20_833, bytes);
    let _ = target.number.compare(&text);
    let _ = RootSeed::from_words(&text);
}

fn stable<T>(bytes: &[u8], decode: impl Fn(&[u8]) -> Option<T>, encode: impl Fn(&T) -> Vec<u8>) {
    if let Some(value) = decode(bytes) {
        let canonical = encode(&value);
        assert_eq!(encode(&decode(&canonical).unwrap()), canonical);
    }
}

struct Target {
    person: Person,
    key: Secret<32>,
    presence: proto::Presence,
    number: SafetyNumber,
}

fn target() -> Target {
    Target {
        person: person(1),
        key: Secret::new([4; 32]),
        presence: PresenceKeys::generate(&mut Chance::from_seed([2; 32])).public(),
        number: SafetyNumber::new(&AccountId([1; 32]), &AccountId([2; 32])),
    }
}

thread_local! {
    static TARGET: Target = target();
    static REAL: Vec<Vec<u8>> = real_values();
}

#[test]
fn real_values_are_read() {
    TARGET.with(|target| REAL.with(|real| real.iter().for_each(|value| decode_all(value, target))));
    REAL.with(|real| {
        assert!(real[..3].iter().all(|frame| Frame::decode(frame).is_ok()));
        assert!(Envelope::parse(&real[3]).is_ok() && InviteCode::decode(&real[4]).is_ok());
        assert!(
            OwnAccount::decode(&real[12]).is_some()
                && decode_event(&real[13]).is_some()
                && Slot::decode(&real[14]).is_some()
        );
        assert_eq!(Welcome::decode(&real[19]), Some(welcome()));
        assert_eq!(RekeyMaterial::decode(&real[20], 1), Ok(rekey().material));
        assert!(ProvenSlice::decode(&real[21]).is_ok());
        assert_eq!(read_told(&real[22]), 2);
        assert!(TARGET.with(|t| open_card(&t.key, &real[16], &Aid20::of(&t.person.account.aid())).is_ok()));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn t51_arbitrary_bytes_never_panic_a_decoder(bytes in vec(any::<u8>(), 0..600)) {
        TARGET.with(|target| decode_all(&bytes, target));
    }

    #[test]
    fn t51_arbitrary_text_never_panics_a_decoder(text in "(silbo:i/|SILBO:I/|https://a/k#|SILBO:V/|)[ -~é]{0,300}") {
        TARGET.with(|target| decode_all(text.as_bytes(), target));
    }

    #[test]
    fn t51_damaged_real_values_never_panic_a_decoder(
        which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), damage in 0u8..4, byte: u8, more in vec(any::<u8>(), 0..20),
    ) {
        let mut bytes = REAL.with(|real| which.get(real).clone());
        let at = at.index(bytes.len());
        match damage {
            0 => bytes[at] ^= byte,
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, more)),
            _ => drop(bytes.splice(at..(at + more.len()).min(bytes.len()), more.iter().copied())),
        }
        TARGET.with(|target| decode_all(&bytes, target));
    }

    #[test]
    fn t51_memory_follows_the_bytes_that_came(kind in prop::sample::select(vec![1u8, 2, 3, 0x10, 0x11, 0x12, 0x20, 0x21]), body in vec(any::<u8>(), 0..2_000)) {
        let bytes = [&[kind][..], &body].concat();
        let (_, peak) = peak_bytes(|| Frame::decode(&bytes).is_ok());
        prop_assert!(peak <= 4_096 + 128 * bytes.len(), "{} bytes for {}", peak, bytes.len());
    }
}

// ---------- hostile shapes

/// A field of this number whose length is claimed to be 2^31 (or 2^63), with nothing behind it.
fn claims(field: u8, varint: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2][..], varint].concat()
}

#[test]
fn t51_a_claimed_length_allocates_nothing() {
    let two_to_31: &[u8] = &[0x80, 0x80, 0x80, 0x80, 0x08];
    let two_to_63: &[u8] = &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01];
    for varint in [two_to_31, two_to_63] {
        for kind in [0x01, 0x10, 0x11, 0x12, 0x20, 0x21] {
            for field in 1..15 {
                let bytes = [&[kind][..], &claims(field, varint)].concat();
                let (frame, peak) = peak_bytes(|| Frame::decode(&bytes));
                assert_eq!(frame, Err(FrameError::Malformed), "kind {kind} field {field}");
                assert!(peak < 4_096, "{peak} bytes for kind {kind} field {field}");
            }
        }
        let (frame, peak) = peak_bytes(|| Frame::decode(&[&[0x02][..], varint].concat()));
        assert_eq!(frame, Err(FrameError::Malformed));
        assert!(peak < 4_096, "{peak} bytes for envelopes");
        for field in 1..15 {
            let bytes = claims(field, varint);
            let (_, peak) = peak_bytes(|| {
                assert!(proto::InitBlock::decode(bytes.as_slice()).is_err());
                assert!(proto::Plain::decode(bytes.as_slice()).is_err());
                assert!(proto::LogUpdate::decode(bytes.as_slice()).is_err());
                assert!(Welcome::decode(&bytes).is_none() && KeyRing::decode(&bytes, &[]).is_none());
                assert!(RekeyMaterial::decode(&bytes, 1).is_err() && ProvenSlice::decode(&bytes).is_err());
                assert!(
                    Session::decode(&bytes).is_none()
                        && OwnAccount::decode(&bytes).is_none()
                        && Slot::decode(&bytes).is_none()
                );
            });
            assert!(peak < 16_384, "{peak} bytes for field {field}");
        }
    }
}

#[test]
fn t51_the_most_empty_messages_in_a_frame_stay_within_a_bound() {
    // A fetch of as many empty reads as fit, an answer of empty mails, a log of empty entries: 2 bytes each on the wire.
    let many = |field: u8, count: usize| [field << 3 | 2, 0].repeat(count);
    let room = (FRAME_BYTES_MAX - 16) / 2;
    let reads = many(1, room);
    let mut fetch = vec![0x10, 14 << 3 | 2];
    prost::encoding::encode_varint(reads.len() as u64, &mut fetch);
    fetch.extend_from_slice(&reads);
    let mails = [&[0x11][..], &many(3, room)].concat();
    let pushes = [&[0x12][..], &many(2, room)].concat();
    for bytes in [fetch, mails, pushes] {
        let (frame, peak) = peak_bytes(|| Frame::decode(&bytes).is_ok());
        assert!(frame, "these are well-formed");
        assert!(peak <= 100 * bytes.len(), "{peak} bytes for {}", bytes.len());
    }
    let entries = many(1, 4_096);
    let update = proto::LogUpdate::decode(entries.as_slice()).unwrap();
    assert_eq!(DeviceLog::read(&update.entries).err(), Some(LogError::Full));
}

#[test]
fn t51_large_unknown_fields_are_refused_or_dropped() {
    let unknown = |len: usize| {
        let mut out = vec![0xfa, 0x3f]; // field 1,023, length-delimited
        prost::encoding::encode_varint(len as u64, &mut out);
        out.resize(out.len() + len, 0xaa);
        out
    };
    let large = [&[0x01][..], &unknown(1 << 20)].concat();
    assert_eq!(Frame::decode(&large), Err(FrameError::TooLong));
    let fits = [&[0x01][..], &unknown(200_000)].concat();
    let (frame, peak) = peak_bytes(|| Frame::decode(&fits));
    assert_eq!(frame, Ok(Frame::Hello(proto::Hello::default())), "unknown fields leave nothing behind");
    assert!(peak < 4_096, "{peak} bytes");
    let genesis = person(1).account.log().entries()[0].clone();
    let padded = proto::Signed { body: [&genesis.body[..], &unknown(1 << 20)].concat(), ..genesis };
    assert_eq!(DeviceLog::read(&[padded]).err(), Some(LogError::Malformed));
    let public = PresenceKeys::generate(&mut Chance::from_seed([2; 32])).public();
    assert_eq!(presence::open(&public, 1, &unknown(1 << 20)).err(), Some(PresenceError::TooLong));
    assert_eq!(
        presence::validate(&[0; 32], &unknown(500), 1).err(),
        Some(PresenceError::Malformed),
        "one encoding, nothing beside it"
    );
    assert!(open_card(&Secret::new([4; 32]), &vec![0; BLOB_BYTES_MAX + 4_096], &Aid20([0; 20])).is_err());
    assert_eq!(Envelope::parse(&vec![0x20; ENVELOPE_BYTES_MAX + 1]).err(), Some(EnvelopeError::TooLong));
    assert!(InviteCode::parse(&"silbo:i/".repeat(1 << 17)).is_err());
    assert!(base64::decode(&"A".repeat(1 << 20)).is_some_and(|bytes| bytes.len() == 786_432));
}

#[test]
fn t51_deep_nesting_is_refused_without_deep_recursion() {
    // Groups of an unknown field, each inside the other: a reader that recurses for each runs out of stack.
    let opens = [0xfb, 0x3f].repeat(100_000);
    let closes = [0xfc, 0x3f].repeat(100_000);
    let nested = [opens, closes].concat();
    let on_small_stack = std::thread::Builder::new().stack_size(256 * 1_024).spawn(move || {
        assert!(proto::Plain::decode(nested.as_slice()).is_err());
        assert!(proto::Card::decode(nested.as_slice()).is_err());
        assert!(Slot::decode(&nested).is_none() && OwnAccount::decode(&nested).is_none());
        let frame = [&[0x01][..], nested.get(..200_000).unwrap()].concat();
        assert_eq!(Frame::decode(&frame), Err(FrameError::Malformed));
    });
    on_small_stack.unwrap().join().unwrap();
}
