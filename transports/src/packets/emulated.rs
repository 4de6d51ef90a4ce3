//! Two links over an emulated radio: packets are lost, doubled, late and out of order, by a seed.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;
use silbo_protocol::limits::FRAME_BYTES_MAX;

use super::link::{HANDSHAKE_MS, RECORD_BYTES_MAX};
use super::noise::TAG_BYTES;
use super::packet::{PACKET_BYTES_MAX, PACKET_BYTES_MIN, Packet, Piece, WINDOW};
use super::pieces::{PieceError, Pieces};
use super::*;

/// What an ATT MTU leaves for a packet.
const PACKETS: [usize; 4] = [20, 182, 244, 510];

/// How bad the radio is, in percent and milliseconds.
#[derive(Clone, Copy, Debug)]
struct Air {
    lost: u64,
    doubled: u64,
    late_ms: u64,
}

const CLEAR: Air = Air { lost: 0, doubled: 0, late_ms: 0 };
const BAD: Air = Air { lost: 15, doubled: 10, late_ms: 80 };

struct World {
    ends: [PacketLink; 2],
    air: Air,
    cut: bool,
    /// Arrivals: when, a number that keeps them apart, to whom, what.
    flying: BTreeMap<(u64, u64), (usize, Vec<u8>)>,
    sent: u64,
    bytes: u64,
    now: u64,
    random: u64,
    heard: [VecDeque<Vec<u8>>; 2],
    beside: [Vec<Vec<u8>>; 2],
    up: [Option<(silbo_protocol::ids::PeerKey, silbo_protocol::ids::PeerKey, Instance)>; 2],
    broken: [Option<Broken>; 2],
    told: [Vec<Vec<u8>>; 2],
}

impl World {
    fn new(packet_bytes: usize, air: Air, seed: u64) -> Self {
        let seed_of = |end: u8| {
            let mut bytes = [end; 32];
            bytes[..8].copy_from_slice(&seed.to_be_bytes());
            bytes
        };
        let ends = [
            PacketLink::new(End::Dialler, packet_bytes, Instance([1; 16]), seed_of(1), 0),
            PacketLink::new(End::Listener, packet_bytes, Instance([2; 16]), seed_of(2), 0),
        ];
        Self {
            ends,
            air,
            cut: false,
            flying: BTreeMap::new(),
            sent: 0,
            bytes: 0,
            now: 0,
            random: seed | 1,
            heard: Default::default(),
            beside: Default::default(),
            up: Default::default(),
            broken: [None; 2],
            told: Default::default(),
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound.max(1)
    }

    /// Runs until `done`, or until the time is over; true if it was done.
    fn run(&mut self, for_ms: u64, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + for_ms;
        loop {
            for at in 0..2 {
                self.pump(at);
            }
            if done(self) {
                return true;
            }
            let arrival = self.flying.first_key_value().map(|((at, _), _)| *at);
            let wakes = self.ends.iter().filter_map(PacketLink::next_wake);
            let Some(next) = arrival.into_iter().chain(wakes).min() else { return false };
            self.now = self.now.max(next);
            if self.now > end {
                self.now = end;
                return false;
            }
            while let Some(first) = self.flying.first_entry().filter(|first| first.key().0 <= self.now) {
                let (to, packet) = first.remove();
                if let Err(broken) = self.ends[to].arrived(&packet, self.now) {
                    self.broken[to].get_or_insert(broken);
                }
            }
        }
    }

    fn pump(&mut self, at: usize) {
        while let Some(news) = self.ends[at].next_news() {
            match news {
                News::Up { peer, local, instance } => self.up[at] = Some((peer, local, instance)),
                News::Renamed(instance) => {
                    if let Some((_, _, known)) = &mut self.up[at] {
                        *known = instance;
                    }
                }
                News::Frame(frame) => self.heard[at].push_back(frame),
                News::Told(Addressee::Radio, told) => self.told[at].push(told),
                News::Told(Addressee::Hub, record) => self.beside[at].push(record),
            }
        }
        loop {
            let packet = match self.ends[at].next_packet(self.now) {
                Ok(Some(packet)) => packet,
                Ok(None) => return,
                Err(broken) => {
                    self.broken[at].get_or_insert(broken);
                    return;
                }
            };
            self.bytes += packet.len() as u64;
            let copies = if self.below(100) < self.air.doubled { 2 } else { 1 };
            for _ in 0..copies {
                if self.cut || self.below(100) < self.air.lost {
                    continue;
                }
                self.sent += 1;
                let arrives = self.now + 5 + self.below(self.air.late_ms + 1);
                self.flying.insert((arrives, self.sent), (1 - at, packet.clone()));
            }
        }
    }
}

fn frame(number: u32, len: usize) -> Vec<u8> {
    let mut frame = number.to_be_bytes().to_vec();
    frame.resize(len.max(4), number as u8);
    frame
}

fn both_up(world: &World) -> bool {
    world.up.iter().all(Option::is_some)
}

#[test]
fn both_ends_come_up_and_know_each_other_by_keys_of_this_link_only() {
    for packet_bytes in PACKETS {
        let mut world = World::new(packet_bytes, CLEAR, 7);
        assert!(world.run(1_000, both_up), "{packet_bytes}");
        let [Some((peer_a, local_a, instance_a)), Some((peer_b, local_b, instance_b))] = &world.up else {
            panic!("both are up");
        };
        assert_eq!((peer_a, local_a), (local_b, peer_b));
        assert_ne!(peer_a, peer_b);
        assert_eq!((instance_a.0, instance_b.0), ([2; 16], [1; 16]));
        let mut other = World::new(packet_bytes, CLEAR, 8);
        assert!(other.run(1_000, both_up));
        assert_ne!(world.up[0], other.up[0], "another link, other keys");
    }
}

#[test]
fn a_new_name_is_told_inside_the_link() {
    let mut world = World::new(20, BAD, 4);
    assert!(world.run(4_000, both_up));
    world.ends[0].rename(Instance([9; 16]));
    assert!(world.run(9_000, |world| world.up[1].as_ref().is_some_and(|(_, _, name)| name.0 == [9; 16])));
}

#[test]
fn radios_tell_each_other_things_inside_the_link_and_only_of_the_right_length() {
    let mut world = World::new(20, BAD, 5);
    world.ends[0].tell(Addressee::Radio, b"too early");
    assert!(world.run(4_000, both_up));
    for told in [&[][..], &[7; 65], &[8; 64], b"a"] {
        world.ends[0].tell(Addressee::Radio, told);
    }
    assert!(world.run(9_000, |world| world.told[1].len() == 2));
    assert_eq!(world.told[1], [vec![8; 64], b"a".to_vec()]);
    let (mut link, mut keys, mut pieces) = hostile();
    for told in [0, 65, 1_000] {
        pieces.send(keys.out.seal(&[&[0x42][..], &vec![1; told]].concat()));
    }
    exchange(&mut pieces, &mut link).expect("other lengths are of later versions");
    while let Some(news) = link.next_news() {
        assert!(matches!(news, News::Up { .. }), "{news:?}");
    }
}

#[test]
fn t58_a_sender_that_goes_on_without_room_is_seen() {
    let (mut link, mut keys, mut pieces) = hostile();
    let mut records = 0;
    while !link.is_full() {
        records += 1;
        assert!(records < 1_000, "nothing is ever fetched");
        pieces.send(keys.out.seal(&[&[0x42][..], &[1; 64]].concat()));
        exchange(&mut pieces, &mut link).expect("well-formed");
    }
    while link.next_news().is_some() {}
    assert!(!link.is_full());
    // An honest sender has a window under way when it learns that there is no room; one that does not care goes on.
    let mut held = 0;
    while !link.is_full() {
        pieces.send(keys.out.seal(&[&[1][..], &[0; 1_000]].concat()));
        held += 1_000;
        while let Some(packet) = pieces.next_packet(held).expect("answers come") {
            link.arrived(&packet, held).expect("well-formed");
            let room = crate::packets::packet::Ack { next: packet[1].wrapping_add(1), room: WINDOW, later: 0 };
            pieces.arrived(&Packet { ack: Some(room), ..Packet::default() }.write(), held).expect("an honest link");
        }
        assert!(held < 1_000_000, "it is never full");
    }
}

#[test]
fn a_small_envelope_pays_for_a_handshake_of_less_than_three_hundred_bytes() {
    let mut world = World::new(244, CLEAR, 3);
    assert!(world.run(1_000, both_up));
    world.run(50, |_| false);
    assert!(world.bytes < 300, "{} bytes", world.bytes);
    let before = world.bytes;
    world.ends[0].send(frame(1, 320));
    assert!(world.run(1_000, |world| world.heard[1].len() == 1));
    world.run(50, |_| false);
    assert!(world.bytes - before < 320 + 40, "{} bytes", world.bytes - before);
}

#[test]
fn frames_of_every_size_arrive_whole_in_order_and_once() {
    for packet_bytes in PACKETS {
        for (air, seed) in [(CLEAR, 1), (BAD, 2), (BAD, 3)] {
            let mut world = World::new(packet_bytes, air, seed);
            let sizes = [4, 5, RECORD_BYTES_MAX - 1, RECORD_BYTES_MAX, RECORD_BYTES_MAX + 1, 9_000, 20, 1_000];
            for (number, size) in (0u32..).zip(sizes) {
                world.ends[0].send(frame(number, size));
                world.ends[1].send(frame(100 + number, size));
            }
            let all = |world: &World| world.heard.iter().all(|heard| heard.len() == sizes.len());
            assert!(world.run(60_000, all), "{packet_bytes} {air:?}: {:?}", world.broken);
            for (number, size) in (0u32..).zip(sizes) {
                assert_eq!(world.heard[1].pop_front(), Some(frame(number, size)));
                assert_eq!(world.heard[0].pop_front(), Some(frame(100 + number, size)));
            }
            assert!(world.run(60_000, |world| world.ends.iter().all(PacketLink::is_idle)), "all is acknowledged");
            assert!(world.heard.iter().all(VecDeque::is_empty), "nothing came twice");
        }
    }
}

#[test]
fn records_fill_whole_packets() {
    for packet_bytes in PACKETS {
        let mut world = World::new(packet_bytes, CLEAR, 9);
        assert!(world.run(1_000, both_up));
        world.run(500, |_| false);
        let (frame_bytes, mut packets) = (packet_bytes * 20, 0);
        world.ends[0].send(frame(1, frame_bytes));
        while let Ok(Some(packet)) = world.ends[0].next_packet(world.now) {
            packets += 1;
            world.ends[1].arrived(&packet, world.now).expect("an honest link");
        }
        // Heads of 2 B each, and a seal and five bytes more for each record.
        let least = (frame_bytes + (frame_bytes / RECORD_BYTES_MAX + 1) * (TAG_BYTES + 5)).div_ceil(packet_bytes - 2);
        assert!(packets <= least, "{packets} packets of {packet_bytes} B, where {least} would do");
    }
}

#[test]
fn the_largest_frame_arrives_and_a_changing_packet_size_does_no_harm() {
    let mut world = World::new(244, CLEAR, 5);
    world.ends[0].send(frame(1, FRAME_BYTES_MAX));
    assert!(!world.run(60, |world| !world.heard[1].is_empty()));
    world.ends[0].set_packet_bytes(20);
    assert!(!world.run(60, |world| !world.heard[1].is_empty()));
    world.ends[0].set_packet_bytes(510);
    assert!(world.run(60_000, |world| !world.heard[1].is_empty()), "{:?}", world.broken);
    assert_eq!(world.heard[1].pop_front(), Some(frame(1, FRAME_BYTES_MAX)));
}

#[test]
fn a_pause_of_the_radio_is_survived_and_a_long_one_ends_the_link() {
    let mut world = World::new(182, CLEAR, 6);
    assert!(world.run(1_000, both_up));
    world.cut = true;
    world.ends[0].send(frame(1, 3_000));
    assert!(!world.run(10_000, |world| !world.heard[1].is_empty()));
    world.cut = false;
    assert!(world.run(20_000, |world| !world.heard[1].is_empty()), "{:?}", world.broken);
    world.cut = true;
    assert!(world.run(200_000, |world| world.broken.iter().all(Option::is_some)), "also the end that only listens");
    for broken in world.broken {
        assert_eq!(broken, Some(Broken::Pieces(PieceError::Silent)));
    }
}

#[test]
fn t55_a_handshake_nobody_goes_on_with_ends_in_time() {
    for end in [End::Dialler, End::Listener] {
        let mut link = PacketLink::new(end, 20, Instance([0; 16]), [9; 32], 1_000);
        while let Ok(Some(_)) = link.next_packet(1_000) {}
        assert!(link.next_packet(1_000 + HANDSHAKE_MS - 1).is_ok());
        assert!(link.next_wake().is_some_and(|at| at <= 1_000 + HANDSHAKE_MS));
        assert_eq!(link.next_packet(1_000 + HANDSHAKE_MS), Err(Broken::Late));
        assert_eq!((link.next_packet(90_000), link.next_wake()), (Ok(None), None));
    }
}

#[test]
fn t58_a_record_over_the_bound_ends_the_link_before_it_is_gathered() {
    let mut link = PacketLink::new(End::Listener, 510, Instance([0; 16]), [9; 32], 0);
    let piece = Piece { seq: 0, last: false, bytes: &[0; 500] };
    let packet = Packet { piece: Some(piece), ..Packet::default() }.write();
    assert_eq!(link.arrived(&packet, 0), Err(Broken::Pieces(PieceError::TooLong)));
}

/// A sealed link and the keys of a hostile other end.
fn hostile() -> (PacketLink, noise::Keys, Pieces) {
    let mut link = PacketLink::new(End::Listener, 510, Instance([0; 16]), [9; 32], 0);
    let (initiator, first) = noise::begin(&mut silbo_protocol::chance::Chance::from_seed([1; 32]));
    let mut pieces = Pieces::new(510, RECORD_BYTES_MAX + TAG_BYTES);
    pieces.send(first);
    exchange(&mut pieces, &mut link).expect("a handshake");
    let second = pieces.next_record().expect("the second message");
    let mut keys = initiator.finish(&second).expect("keys");
    pieces.send(keys.out.seal(&[&[0][..], &[7; 16]].concat()));
    exchange(&mut pieces, &mut link).expect("a hello");
    assert!(link.is_up());
    (link, keys, pieces)
}

fn exchange(pieces: &mut Pieces, link: &mut PacketLink) -> Result<(), Broken> {
    loop {
        let (to, from) = (pieces.next_packet(0).expect("no silence"), link.next_packet(0)?);
        if let Some(packet) = &to {
            link.arrived(packet, 0)?;
        }
        if let Some(packet) = &from {
            pieces.arrived(packet, 0).expect("an honest link");
        }
        if to.is_none() && from.is_none() {
            return Ok(());
        }
    }
}

#[test]
fn t58_sealed_nonsense_ends_the_link() {
    let begins = |len: u32| [&[2][..], &len.to_be_bytes(), b"part"].concat();
    let nonsense: [&[&[u8]]; 9] = [
        &[&[]],
        &[&begins(u32::MAX)],
        &[&begins(0x8000_0000)],
        &[&begins(FRAME_BYTES_MAX as u32 + 1)],
        &[&begins(4)],
        &[&begins(100), &begins(100)],
        &[&begins(100), &[3]],
        &[&begins(6), b"\x03more"],
        &[b"\x03more"],
    ];
    for records in nonsense {
        let (mut link, mut keys, mut pieces) = hostile();
        for record in records {
            pieces.send(keys.out.seal(record));
        }
        assert_eq!(exchange(&mut pieces, &mut link), Err(Broken::Nonsense), "{records:?}");
        assert!(link.arrived(&Packet { asks: true, ..Packet::default() }.write(), 0).is_ok(), "over, and quiet");
    }
    let (mut link, mut keys, mut pieces) = hostile();
    pieces.send(keys.out.seal(&[0x41, 1, 2, 3]));
    pieces.send(keys.out.seal(b"\x01frame"));
    exchange(&mut pieces, &mut link).expect("kinds of later versions are passed over");
    while let Some(News::Up { .. }) = link.next_news() {}
    let (mut link, _, mut pieces) = hostile();
    pieces.send(b"not sealed with the key of this link".to_vec());
    assert_eq!(exchange(&mut pieces, &mut link), Err(Broken::Refused(noise::Refused)));
}

#[test]
fn records_beside_the_frames_arrive_in_order_and_long_ones_nowhere() {
    let mut early = PacketLink::new(End::Dialler, 510, Instance([1; 16]), [3; 32], 0);
    early.tell(Addressee::Hub, b"nobody is there yet");
    let mut world = World::new(20, BAD, 12);
    assert!(world.run(4_000, both_up));
    world.ends[0].tell(Addressee::Hub, b"first");
    world.ends[0].tell(Addressee::Hub, &[1; BESIDE_BYTES_MAX + 1]);
    world.ends[0].send(frame(0, 5_000));
    world.ends[0].tell(Addressee::Hub, &[2; BESIDE_BYTES_MAX]);
    assert!(world.run(60_000, |world| world.beside[1].len() == 2 && world.heard[1].len() == 1));
    assert_eq!(world.beside[1], [b"first".to_vec(), vec![2; BESIDE_BYTES_MAX]]);
    assert_eq!(world.beside[0], Vec::<Vec<u8>>::new());

    let (mut link, mut keys, mut pieces) = hostile();
    for len in [BESIDE_BYTES_MAX + 1, 2_000] {
        pieces.send(keys.out.seal(&[&[0x40][..], &vec![7; len]].concat()));
    }
    pieces.send(keys.out.seal(b"\x40short"));
    exchange(&mut pieces, &mut link).expect("too long ones are passed over");
    let news: Vec<News> = std::iter::from_fn(|| link.next_news()).skip(1).collect();
    assert_eq!(news, [News::Told(Addressee::Hub, b"short".to_vec())]);
}

#[test]
fn a_flood_beside_the_frames_waits_for_its_reader_in_bounded_memory() {
    let (mut link, mut keys, mut pieces) = hostile();
    for _ in 0..10_000 {
        pieces.send(keys.out.seal(&[&[0x40][..], &[7; BESIDE_BYTES_MAX]].concat()));
    }
    exchange(&mut pieces, &mut link).expect("an honest flood");
    let read = std::iter::from_fn(|| link.next_news()).filter(|news| matches!(news, News::Told(..))).count();
    assert!(read * BESIDE_BYTES_MAX < 128 * 1024, "{read} were taken before anybody read one");
}

#[test]
fn a_reader_that_does_not_fetch_holds_the_sender_back() {
    let mut world = World::new(510, CLEAR, 11);
    assert!(world.run(1_000, both_up));
    for number in 0..100 {
        world.ends[0].send(frame(number, 10_000));
    }
    // Only the sender's side is served: what arrives is not fetched.
    for _ in 0..100_000 {
        world.now += 1;
        let mut quiet = true;
        for at in 0..2 {
            while let Ok(Some(packet)) = world.ends[at].next_packet(world.now) {
                quiet = false;
                world.ends[1 - at].arrived(&packet, world.now).expect("an honest link");
            }
        }
        if quiet && world.ends[0].next_wake().is_some_and(|at| at > world.now + 200) {
            break;
        }
    }
    let (frames, _) = world.ends[0].queued();
    assert!(frames > 85, "{frames} of 100 still wait");
    assert!(world.run(60_000, |world| world.heard[1].len() == 100), "{:?}", world.broken);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_radio_does_frames_arrive_in_order_and_once(
        packet_bytes in PACKET_BYTES_MIN..=PACKET_BYTES_MAX, seed in any::<u64>(),
        lost in 0u64..25, doubled in 0u64..25, late_ms in 0u64..200,
        sizes in prop::collection::vec(1usize..2_000, 1..8),
    ) {
        let mut world = World::new(packet_bytes, Air { lost, doubled, late_ms }, seed);
        // The time of a handshake is short on purpose; here it is the radio that is tried.
        if world.run(20_000, both_up) {
            for (number, size) in (0u32..).zip(&sizes) {
                world.ends[0].send(frame(number, *size));
            }
            let arrived = world.run(1_800_000, |world| world.heard[1].len() == sizes.len());
            prop_assert!(arrived, "{:?}", world.broken);
            for (number, size) in (0u32..).zip(&sizes) {
                prop_assert_eq!(world.heard[1].pop_front(), Some(frame(number, *size)));
            }
        }
    }

    #[test]
    fn no_packets_break_anything_but_their_own_link(
        packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..64), end in any::<bool>(),
    ) {
        let end = if end { End::Dialler } else { End::Listener };
        let mut link = PacketLink::new(end, 64, Instance([0; 16]), [9; 32], 0);
        let mut now = 0;
        for packet in &packets {
            now += 1;
            let broken = link.arrived(packet, now).is_err();
            let answer = link.next_packet(now);
            prop_assert!(!broken || answer == Ok(None), "a broken link says nothing more");
            prop_assert!(answer.is_ok_and(|packet| packet.is_none_or(|packet| packet.len() <= 64)));
        }
        prop_assert!(!link.is_up());
    }

    #[test]
    fn pieces_of_a_stranger_take_a_bounded_memory(
        pieces in prop::collection::vec((any::<u8>(), any::<bool>(), 1usize..500), 0..400),
    ) {
        let mut reader = Pieces::new(510, 2_000);
        for (seq, last, len) in pieces {
            let bytes = vec![seq; len];
            let packet = Packet { piece: Some(Piece { seq, last, bytes: &bytes }), ..Packet::default() }.write();
            if reader.arrived(&packet, 0).is_err() {
                break;
            }
            while let Some(record) = reader.next_record() {
                prop_assert!(record.len() <= 2_000);
            }
            prop_assert!(reader.held_bytes() <= usize::from(WINDOW) * 510 + 2_000);
        }
    }
}
