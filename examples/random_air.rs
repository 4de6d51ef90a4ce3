//! Random frames into everything that reads what a radio brings: how much memory that takes, and that nothing panics.
//!
//! ```text
//! cargo run --release -p silbo-node --example random_air -- 10000000
//! ```
//! Each decoder gets that many inputs, half of them noise, half of them real ones with a few bytes changed, so that they
//! come further. Prints a line a decoder; ends with 1 when the process has ever held more than 128 MiB.

use std::net::Ipv6Addr;
use std::process::ExitCode;
use std::time::Instant;

use silbo_protocol::chance::Chance;
use silbo_protocol::ids::PeerKey;
use silbo_protocol::limits::FRAME_BYTES_MAX;
use silbo_protocol::wire::frame::Frame;
use silbo_transports::bluetooth::advert::Advert;
use silbo_transports::packets::link::RECORD_BYTES_MAX;
use silbo_transports::packets::noise::{self, TAG_BYTES};
use silbo_transports::packets::packet::{PACKET_BYTES_MAX, Packet};
use silbo_transports::packets::pieces::Pieces;
use silbo_transports::packets::{End, Instance, News, PacketLink};
use silbo_transports::wifi_direct::record::{self, Name, Pin, Place, Reason, Record};

/// What a phone can spare; the process holds nothing but this.
const MEMORY_KIB_MAX: u64 = 128 * 1_024;

/// Xorshift: a draw costs less than what it is thrown at.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap_or(0) % bound.max(1)
    }

    fn bytes(&mut self, longest: usize) -> Vec<u8> {
        let len = self.below(longest + 1);
        (0..len).map(|_| self.below(256) as u8).collect()
    }

    /// Noise, or something like one of these.
    fn input(&mut self, like: &[Vec<u8>], longest: usize) -> Vec<u8> {
        if self.below(2) == 0 {
            return self.bytes(longest);
        }
        let mut input = like[self.below(like.len())].clone();
        for _ in 0..self.below(4) {
            let at = self.below(input.len());
            match self.below(3) {
                0 => input.truncate(at),
                1 => input.insert(at, self.below(256) as u8),
                _ if at < input.len() => input[at] = self.below(256) as u8,
                _ => {}
            }
        }
        input
    }
}

fn main() -> ExitCode {
    let count: u64 = std::env::args().nth(1).and_then(|n| n.replace('_', "").parse().ok()).unwrap_or(10_000_000);
    let frames: Vec<Vec<u8>> =
        [Frame::Taken(7), Frame::SheetAt(3), Frame::Reconcile(vec![2, 9]), Frame::Want(vec![[5; 6]])]
            .iter()
            .map(|frame| frame.encode())
            .collect();
    let packets: Vec<Vec<u8>> =
        [&[1u8, 0, 7][..], &[3, 0, 1, 2], &[4, 0, 32], &[0x0c, 0, 32, 0, 0, 0, 1], &[5, 0, 0, 32, 9], &[0x10]]
            .iter()
            .map(|bytes| bytes.to_vec())
            .collect();
    let advert = Advert { roles: 1, rid: [6; 6], load: 2, digest: [3; 2] };
    let adverts = [advert.write().to_vec()];
    let mut records: Vec<Vec<u8>> = frames.iter().map(|frame| [&[1], &frame[..]].concat()).collect();
    records.extend([
        [&[0u8][..], &[9; 16]].concat(),
        vec![2, 0, 0, 0, 9, 1],
        vec![3, 1, 2, 3, 4, 5, 6, 7, 8],
        vec![0x40, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2],
        vec![0x41, 1],
        vec![0x42, 0, 0xd5, 7],
    ]);
    let mut noise = Noise(0x5e61_c3a4_9d0b_4f7e);
    run("advertisements", count, || Advert::read(&noise.input(&adverts, 31)).is_some());
    let mut noise = Noise(0x8b52_1f0d_7a90_0001);
    run("packets", count, || Packet::read(&noise.input(&packets, 64)).is_ok());
    for (what, end) in [("a link that listens", End::Listener), ("a link that dials", End::Dialler)] {
        let mut noise = Noise(0x8b52_1f0d_7a90_0002);
        let fresh = || PacketLink::new(end, 182, Instance([1; 16]), [2; 32], 0);
        let mut link = fresh();
        run(what, count, || {
            let taken = link.arrived(&noise.input(&packets, 64), 1).is_ok();
            while let Ok(Some(_)) = link.next_packet(1) {}
            if !taken {
                link = fresh();
            }
            taken
        });
    }
    let mut noise = Noise(0x8b52_1f0d_7a90_0003);
    let mut ends = Ends::new(0);
    run("records of a sealed link", count, || {
        let taken = ends.take(&noise.input(&records, 96));
        if !taken {
            ends = Ends::new(noise.0);
        }
        taken
    });
    let mut noise = Noise(0x8b52_1f0d_7a90_0004);
    run("frames", count, || Frame::decode(&noise.input(&frames, 96)).is_ok());
    let mut noise = Noise(0x8b52_1f0d_7a90_0005);
    let place =
        Place { address: "fe80::1".parse().unwrap_or(Ipv6Addr::LOCALHOST), port: 9, peer: PeerKey(vec![7; 38]) };
    let told = [Record::No(Reason::Busy), Record::Ask { pin: Pin::new(5), intent: 14 }, Record::At(place)];
    let told = told.map(|record| record::write(Name([1; 8]), &record));
    run("what hubs tell each other", count, || record::read(&noise.input(&told, 80)).is_some());
    let peak = peak_kib();
    println!("most memory ever held: {:.1} MiB of {} allowed", peak as f64 / 1_024.0, MEMORY_KIB_MAX / 1_024);
    if peak > MEMORY_KIB_MAX { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run(what: &str, count: u64, mut one: impl FnMut() -> bool) {
    let began = Instant::now();
    let taken = (0..count).filter(|_| one()).count();
    println!(
        "{what}: {count} inputs, {taken} taken, {:.1} s, {} KiB held at most so far",
        began.elapsed().as_secs_f64(),
        peak_kib()
    );
}

/// A link that is up, and the hostile end of it.
struct Ends {
    link: PacketLink,
    sender: Pieces,
    keys: noise::Keys,
}

impl Ends {
    fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut link = PacketLink::new(End::Listener, PACKET_BYTES_MAX, Instance([1; 16]), [3; 32], 0);
        let mut sender = Pieces::new(PACKET_BYTES_MAX, RECORD_BYTES_MAX + TAG_BYTES);
        let (initiator, first) = noise::begin(&mut Chance::from_seed(bytes));
        sender.send(first);
        assert!(exchange(&mut sender, &mut link), "a handshake");
        let keys = initiator.finish(&sender.next_record().expect("the second message")).expect("keys");
        let mut ends = Self { link, sender, keys };
        assert!(ends.take(&[&[0][..], &[9; 16]].concat()), "a hello");
        ends
    }

    fn take(&mut self, record: &[u8]) -> bool {
        self.sender.send(self.keys.out.seal(record));
        let taken = exchange(&mut self.sender, &mut self.link);
        while let Some(news) = self.link.next_news() {
            assert!(!matches!(news, News::Frame(frame) if frame.len() > FRAME_BYTES_MAX));
        }
        taken
    }
}

fn exchange(sender: &mut Pieces, link: &mut PacketLink) -> bool {
    loop {
        let to = sender.next_packet(0).expect("time stands still");
        if to.as_ref().is_some_and(|packet| link.arrived(packet, 0).is_err()) {
            return false;
        }
        let Ok(from) = link.next_packet(0) else { return false };
        if let Some(packet) = &from {
            sender.arrived(packet, 0).expect("our own end keeps the rules");
        }
        if to.is_none() && from.is_none() {
            return true;
        }
    }
}

/// Of this process, as the kernel has seen it.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
