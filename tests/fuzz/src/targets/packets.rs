//! What a radio brings: packets to a fresh link, and records of a hostile end that has made the handshake.

use silbo_protocol::chance::Chance;
use silbo_protocol::limits::FRAME_BYTES_MAX;
use silbo_transports::packets::link::RECORD_BYTES_MAX;
use silbo_transports::packets::noise::{self, TAG_BYTES};
use silbo_transports::packets::packet::{PACKET_BYTES_MAX, PACKET_BYTES_MIN, Packet};
use silbo_transports::packets::pieces::Pieces as Sender;
use silbo_transports::packets::{Broken, End, Instance, News, PacketLink};

use crate::Pieces;

/// First byte: which end, and the size of packets. Then pieces: as packets to a fresh link, and as records to one that is up.
pub fn packets(data: &[u8]) {
    let mut pieces = Pieces::new(data);
    let first = pieces.byte().unwrap_or(0);
    let end = if first & 1 == 0 { End::Listener } else { End::Dialler };
    let size = PACKET_BYTES_MIN + 2 * usize::from(first >> 1);
    let mut inputs = Vec::new();
    loop {
        let piece = pieces.piece();
        if piece.is_empty() || inputs.len() == 256 {
            break;
        }
        inputs.push(piece);
    }
    to_a_fresh_link(end, size, &inputs);
    to_a_sealed_link(&inputs);
}

fn to_a_fresh_link(end: End, size: usize, packets: &[&[u8]]) {
    let mut link = PacketLink::new(end, size, Instance([0; 16]), [9; 32], 0);
    for (now, packet) in (1u64..).zip(packets) {
        if let Ok(read) = Packet::read(packet) {
            assert_eq!(read.write(), *packet, "one form only");
        }
        let broken = link.arrived(packet, now * 100).is_err();
        for _ in 0..64 {
            let Ok(Some(packet)) = link.next_packet(now * 100) else { break };
            assert!(!broken && packet.len() <= size.clamp(PACKET_BYTES_MIN, PACKET_BYTES_MAX));
        }
        while let Some(news) = link.next_news() {
            assert!(!matches!(news, News::Frame(_)) || link.is_up());
        }
    }
}

fn to_a_sealed_link(records: &[&[u8]]) {
    let mut link = PacketLink::new(End::Listener, PACKET_BYTES_MAX, Instance([0; 16]), [9; 32], 0);
    let (initiator, first) = noise::begin(&mut Chance::from_seed([1; 32]));
    let mut sender = Sender::new(PACKET_BYTES_MAX, RECORD_BYTES_MAX + TAG_BYTES);
    sender.send(first);
    exchange(&mut sender, &mut link).expect("a handshake");
    let second = sender.next_record().expect("the second message");
    let mut keys = initiator.finish(&second).expect("keys");
    sender.send(keys.out.seal(&[&[0][..], &[7; 16]].concat()));
    exchange(&mut sender, &mut link).expect("a hello");
    for record in records {
        sender.send(keys.out.seal(record));
        if exchange(&mut sender, &mut link).is_err() {
            assert!(!link.is_up());
            return;
        }
        while let Some(news) = link.next_news() {
            if let News::Frame(frame) = news {
                assert!(frame.len() <= FRAME_BYTES_MAX);
            }
        }
    }
    assert!(link.is_up());
}

fn exchange(sender: &mut Sender, link: &mut PacketLink) -> Result<(), Broken> {
    loop {
        let (to, from) = (sender.next_packet(0).expect("time stands still"), link.next_packet(0)?);
        if let Some(packet) = &to {
            link.arrived(packet, 0)?;
        }
        if let Some(packet) = &from {
            sender.arrived(packet, 0).expect("our own end keeps the rules");
        }
        if to.is_none() && from.is_none() {
            return Ok(());
        }
    }
}

/// The first packet of a dialler, acknowledgements, and records that make frames.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut dialler = PacketLink::new(End::Dialler, 20, Instance([3; 16]), [4; 32], 0);
    let mut first = vec![0];
    while let Ok(Some(packet)) = dialler.next_packet(0) {
        first.extend(crate::piece(&packet));
    }
    let ack = [&[1][..], &crate::piece(&[0x14, 1, 32]), &crate::piece(&[0x0c, 1, 32, 0, 0, 0, 5])].concat();
    let whole = [&[0][..], &crate::piece(b"\x01frame"), &crate::piece(&[&[0][..], &[8; 16]].concat())].concat();
    let parts = [&[0][..], &crate::piece(b"\x02\0\0\0\x06fra"), &crate::piece(b"\x03mes"), &crate::piece(&[0x40])].concat();
    vec![first, ack, whole, parts]
}
