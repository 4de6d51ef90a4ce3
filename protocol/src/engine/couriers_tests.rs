//! What strangers who meet this device can make it take, keep and send: the bounds of encounters and bags, each reached.

use super::*;
use crate::input::{Input, Request, RequestId};
use crate::limits::{ENVELOPES_PER_FRAME_MAX, SHEETS_MAX, STRANGER_WINDOW_MS, VACCINES_MAX};
use crate::memory_store::MemoryStore;
use crate::session::tag_of;
use crate::step::{RequestError, Send};
use crate::time::{DAY_MS, EPOCH_2024_MS, Now, UnixTime};
use crate::wire::bag::Bag;
use crate::wire::encounter::{SheetPart, WireVaccine};
use crate::wire::envelope::{Class, EnvelopeHead};
use crate::wire::proto;

const LINK: LinkId = LinkId(1);
/// Offers, vaccines and ids in one frame of somebody who has not proven to be a contact: below 64 KiB.
const PER_FRAME: usize = 3_000;

/// A device with an account, and what it has committed.
struct Device {
    engine: Engine,
    store: MemoryStore,
    now: Now,
}

impl Device {
    fn new() -> Self {
        let now = Now { moment: Moment(DAY_MS), unix: UnixTime(EPOCH_2024_MS + 900 * DAY_MS) };
        let mut store = MemoryStore::new();
        let (engine, step) = Engine::open(&store, [7; 32], now).expect("an empty store opens");
        store.apply(&step.writes);
        let mut device = Self { engine, store, now };
        device.ask(Request::CreateAccount { name: String::from("ann") }).expect("an account is made");
        device
    }

    fn ask(&mut self, request: Request) -> Result<Reply, RequestError> {
        let input = Input::Request { id: RequestId(1), request: Box::new(request) };
        let step = self.engine.handle(input, self.now, &self.store).expect("the store works");
        self.store.apply(&step.writes);
        step.reply.into_iter().next().expect("an answer at once").1
    }

    /// Hands a frame in and gives what is sent back.
    fn take(&mut self, frame: &Frame) -> Vec<Frame> {
        self.give(Input::Frame { link: LINK, bytes: frame.encode() })
    }

    fn give(&mut self, input: Input) -> Vec<Frame> {
        let step = self.engine.handle(input, self.now, &self.store).expect("the store works");
        self.store.apply(&step.writes);
        let sent = step.sends.into_iter().filter_map(|send| match send {
            Send::Frame { bytes, .. } => Some(Frame::decode(&bytes).expect("a frame")),
            _ => None,
        });
        sent.collect()
    }

    /// A stranger comes near, has what this device has, and both know it.
    fn meet_stranger(&mut self) {
        let peer = |n| PeerKey(vec![n; 32]);
        self.give(Input::LinkUp { link: LINK, peer: peer(1), local: peer(2), route: Route::Radio });
        let hello = proto::Hello { v: 1, nonce: vec![3; 16], tokens8: vec![4; 64], roles: 2 };
        let answers = self.take(&Frame::Hello(hello));
        let meet = answers.into_iter().find_map(|frame| match frame {
            Frame::Meet(meet) => Some(meet),
            _ => None,
        });
        self.take(&Frame::Meet(meet.expect("two carriers meet")));
        assert!(self.meeting().compared);
    }

    fn meeting(&mut self) -> &mut Meeting {
        let link = self.engine.links.get_mut(&LINK).expect("the link is up");
        link.meeting.as_deref_mut().expect("an encounter")
    }

    fn wait(&mut self, ms: u64) {
        self.now = Now { moment: self.now.moment.after_ms(ms), unix: self.now.unix.after_ms(ms) };
    }

    /// Carries envelopes for others already.
    fn carry(&mut self, envelopes: impl Iterator<Item = Vec<u8>>) {
        for envelope in envelopes {
            let parcel = Parcel { copies: 1, hops: 1, age_min: 1 };
            let (_, writes) =
                self.engine.carried.put(&envelope, parcel, 3, Pool::KNOWN, self.now.unix).expect("there is room");
            self.store.apply(&writes);
        }
    }

    /// A stranger offers envelopes and hands over all that is asked for.
    fn be_given(&mut self, envelopes: &[Vec<u8>], per_frame: usize) {
        let namer = self.meeting().namer;
        let name = |envelope: &Vec<u8>| {
            let parsed = Envelope::parse(envelope).expect("an envelope");
            namer.envelope(&parsed.tag, &crate::crypto::hash::cid(envelope))
        };
        let by_name: BTreeMap<ItemId, &Vec<u8>> = envelopes.iter().map(|envelope| (name(envelope), envelope)).collect();
        let offer = |(id, envelope): (&ItemId, &&Vec<u8>)| {
            let size = u32::try_from(envelope.len()).expect("small");
            Offer { id: *id, copies: 1, size, gives: true }
        };
        let wanted = self.take(&Frame::Have(by_name.iter().map(offer).collect()));
        let wanted: Vec<ItemId> = wanted_in(&wanted);
        let parcel = |id: &ItemId| {
            let envelope = by_name.get(id).expect("what was offered").to_vec();
            WireParcel { copies: 1, hops: 1, age_min: 1, envelope }
        };
        for part in wanted.chunks(per_frame) {
            self.take(&Frame::Parcels(part.iter().map(parcel).collect()));
        }
    }
}

fn wanted_in(frames: &[Frame]) -> Vec<ItemId> {
    let ids = frames.iter().filter_map(|frame| match frame {
        Frame::Want(ids) => Some(ids.clone()),
        _ => None,
    });
    ids.flatten().collect()
}

fn parcels_in(frames: &[Frame]) -> usize {
    let counts = frames.iter().map(|frame| match frame {
        Frame::Parcels(parcels) => parcels.len(),
        _ => 0,
    });
    counts.sum()
}

fn preimage(n: u32) -> Preimage {
    let mut preimage = [0; 16];
    preimage[..4].copy_from_slice(&n.to_be_bytes());
    Preimage(preimage)
}

/// An envelope of this size for nobody here.
fn envelope(n: u32, size: usize, now: UnixTime) -> Vec<u8> {
    let chance = &mut crate::chance::Chance::from_seed([9; 32]);
    let mut out = EnvelopeHead::new(Class::Text, 7 * DAY_MS, now, chance).with_tag(&tag_of(&preimage(n))).to_vec();
    out.resize(size, 5);
    out
}

#[test]
fn a_stranger_who_offers_without_end_is_asked_for_so_much_and_no_more() {
    let mut device = Device::new();
    device.meet_stranger();
    let offered = u32::try_from(ENCOUNTER_ASKED_MAX).expect("small") + 5_000;
    let ids: Vec<u32> = (0..offered).collect();
    let mut asked = 0;
    for part in ids.chunks(PER_FRAME) {
        let offer = |n: &u32| {
            let [a, b, c, d] = n.to_be_bytes();
            Offer { id: [d, c, b, a, 1, 1], copies: 1, size: 200, gives: true }
        };
        asked += wanted_in(&device.take(&Frame::Have(part.iter().map(offer).collect()))).len();
    }
    assert_eq!(asked, ENCOUNTER_ASKED_MAX);
    assert_eq!(device.meeting().asked.len(), ENCOUNTER_ASKED_MAX);
}

#[test]
fn a_stranger_hands_over_so_many_parcels_in_a_while() {
    let mut device = Device::new();
    device.meet_stranger();
    let envelopes: Vec<_> = (0..STRANGER_PARCELS_MAX + 50).map(|n| envelope(n, 236, device.now.unix)).collect();
    device.be_given(&envelopes, ENVELOPES_PER_FRAME_MAX);
    assert_eq!(device.engine.carried.len(), STRANGER_PARCELS_MAX as usize);
    device.wait(STRANGER_WINDOW_MS);
    device.be_given(&envelopes, ENVELOPES_PER_FRAME_MAX);
    assert_eq!(device.engine.carried.len(), envelopes.len());
}

#[test]
fn a_stranger_hands_over_so_many_bytes_in_a_while() {
    let mut device = Device::new();
    device.meet_stranger();
    let envelopes: Vec<_> = (0..70).map(|n| envelope(n, CARRIED_TEXT_BYTES_MAX, device.now.unix)).collect();
    device.be_given(&envelopes, 3);
    assert_eq!(device.engine.carried.bytes(), STRANGER_BYTES_MAX);
    device.wait(STRANGER_WINDOW_MS);
    device.be_given(&envelopes, 3);
    assert_eq!(device.engine.carried.len(), envelopes.len());
}

#[test]
fn one_peer_makes_a_device_check_so_many_proofs_in_a_while() {
    let mut device = Device::new();
    device.meet_stranger();
    let count = u32::try_from(VACCINES_MAX).expect("small");
    let expiry_hour = device.now.unix.after_ms(DAY_MS).hour_2024();
    let vaccines: Vec<_> = (0..=count).map(|n| WireVaccine { preimage: preimage(n), expiry_hour }).collect();
    for part in vaccines.chunks(PER_FRAME) {
        device.take(&Frame::Vaccines(part.to_vec()));
    }
    let last = tag_of(&preimage(count));
    assert!(device.engine.carried.vaccine(&tag_of(&preimage(count - 1))).is_some());
    assert!(device.engine.carried.vaccine(&last).is_none(), "one more than in the bound");
    device.wait(STRANGER_WINDOW_MS);
    device.take(&Frame::Vaccines(vaccines[count as usize..].to_vec()));
    assert!(device.engine.carried.vaccine(&last).is_some());
    assert_eq!(device.engine.carried.vaccine_count(), VACCINES_MAX);
}

#[test]
fn an_encounter_remembers_so_many_items_and_forgets_what_is_beyond() {
    let mut device = Device::new();
    device.meet_stranger();
    let meeting = device.meeting();
    for n in 0..RECONCILE_ITEMS_MAX as u64 + 3 {
        let [.., a, b, c, d] = n.to_be_bytes();
        meeting.remember([a, b, c, d, 0, 0], Item::Copy(Cid([0; 16])));
    }
    assert_eq!(meeting.items.len(), RECONCILE_ITEMS_MAX);
}

#[test]
fn who_wants_everything_and_confirms_nothing_gets_one_window_and_fills_no_queue() {
    let mut device = Device::new();
    let now = device.now.unix;
    let envelopes: Vec<_> = (0..ENCOUNTER_IDS_PER_FRAME_MAX as u32 + 100).map(|n| envelope(n, 236, now)).collect();
    device.carry(envelopes.into_iter());
    device.meet_stranger();
    let ids: Vec<ItemId> = device.meeting().items.keys().copied().collect();
    let mut sent = 0;
    for part in ids.chunks(PER_FRAME) {
        sent += parcels_in(&device.take(&Frame::Want(part.to_vec())));
    }
    assert_eq!(sent, PARCELS_IN_FLIGHT_MAX);
    assert_eq!(device.meeting().owed.len(), ENCOUNTER_IDS_PER_FRAME_MAX);
    assert_eq!(parcels_in(&device.take(&Frame::Taken(10))), 10);
}

#[test]
fn large_parcels_fill_a_window_of_bytes() {
    let mut device = Device::new();
    let now = device.now.unix;
    device.carry((0..40).map(|n| envelope(n, CARRIED_TEXT_BYTES_MAX, now)));
    device.meet_stranger();
    let ids: Vec<ItemId> = device.meeting().items.keys().copied().collect();
    let window = PARCELS_IN_FLIGHT_BYTES_MAX / CARRIED_TEXT_BYTES_MAX;
    assert_eq!(parcels_in(&device.take(&Frame::Want(ids))), window);
    assert_eq!(parcels_in(&device.take(&Frame::Taken(3))), 3);
    assert_eq!(parcels_in(&device.take(&Frame::Taken(u32::MAX))), window);
}

#[test]
fn sheets_of_so_many_friends_are_kept() {
    let mut device = Device::new();
    device.meet_stranger();
    for n in 0..SHEETS_MAX + 2 {
        let friend = ChatId([u8::try_from(n).expect("small"); 16]);
        device.engine.links.get_mut(&LINK).expect("the link is up").chat = Some(friend);
        let entries = vec![([1, 2, 3, 4, 5], 0)];
        device.take(&Frame::Sheet(SheetPart {
            version: 1,
            last: true,
            replaces: true,
            entries,
            ..SheetPart::default()
        }));
    }
    assert_eq!(device.engine.sheets.len(), SHEETS_MAX);
}

#[test]
fn small_bags_hold_everything_before_they_repeat_anything() {
    let mut device = Device::new();
    let now = device.now.unix;
    // One of them fits into no bag of a kilobyte.
    device.carry((0..40).map(|n| envelope(n, if n == 20 { 2_000 } else { 236 }, now)));
    let mut packed = Vec::new();
    for _ in 0..13 {
        let request = Request::PackBag { chat: None, bytes_max: 1_024 };
        let Ok(Reply::BagPacked { bag, view, .. }) = device.ask(request) else { panic!("a bag") };
        let parcels = Bag::decode(&bag).expect("a bag").parcels;
        assert_eq!((parcels.len(), view.carried, view.refused), (3, 3, 37));
        packed.extend(parcels.into_iter().map(|parcel| parcel.envelope));
    }
    packed.sort_unstable();
    packed.dedup();
    assert_eq!(packed.len(), 39);
}

#[test]
fn a_bag_is_neither_smaller_nor_larger_than_bags_are() {
    use crate::limits::{BAG_BYTES_MAX, BAG_BYTES_MIN};
    let mut device = Device::new();
    let mut pack = |bytes_max| device.ask(Request::PackBag { chat: None, bytes_max });
    for wrong in [BAG_BYTES_MIN - 1, BAG_BYTES_MAX + 1] {
        assert!(matches!(pack(wrong), Err(RequestError::Invalid { field: "maxBytes", .. })), "{wrong}");
    }
    assert!(pack(BAG_BYTES_MIN).is_ok() && pack(BAG_BYTES_MAX).is_ok());
}

#[test]
fn the_fingerprint_follows_what_is_held_and_the_power_of_the_radios_is_kept() {
    let mut device = Device::new();
    let empty = device.engine.held_fingerprint();
    device.meet_stranger();
    assert_eq!(device.engine.held_fingerprint(), empty);
    let expiry_hour = device.now.unix.after_ms(5 * DAY_MS).hour_2024();
    let vaccine = |n| WireVaccine { preimage: Preimage([n; 16]), expiry_hour };
    let three = vec![vaccine(1), vaccine(2), vaccine(3)];
    device.take(&Frame::Vaccines(three.clone()));
    let held = device.engine.held_fingerprint();
    assert_ne!(held, empty);
    device.take(&Frame::Vaccines(three));
    assert_eq!(device.engine.held_fingerprint(), held);
    device.ask(Request::SetRadioPower(RadioPower::Saver)).expect("a mode");
    let (engine, _) = Engine::open(&device.store, [8; 32], device.now).expect("it opens again");
    assert_eq!((engine.radio_power(), engine.held_fingerprint()), (RadioPower::Saver, held));
}
