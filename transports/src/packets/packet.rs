//! One packet of a link: what fits into a single GATT write or notification, or into whatever the radio carries whole.
//!
//! ```text
//!   flags u8 │ seq u8 (DATA) │ next u8, room u8 (ACK) │ later u32 (GAPS) │ payload (DATA)
//! ```

/// Smallest packet a radio must carry: an ATT MTU of 23 less its own 3 bytes.
pub const PACKET_BYTES_MIN: usize = 20;
/// Largest packet: it carries the longest record whole, where the radio does.
pub const PACKET_BYTES_MAX: usize = 2_080;
/// Packets a sender may be ahead of the other end's acknowledgement.
pub const WINDOW: u8 = 32;

const DATA: u8 = 0x01;
const LAST: u8 = 0x02;
const ACK: u8 = 0x04;
const GAPS: u8 = 0x08;
const ASKS: u8 = 0x10;
const KNOWN: u8 = DATA | LAST | ACK | GAPS | ASKS;

/// What a packet says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet<'a> {
    /// A piece of a record.
    pub piece: Option<Piece<'a>>,
    /// How far the sender of this packet has come.
    pub ack: Option<Ack>,
    /// The sender wants an acknowledgement at once.
    pub asks: bool,
}

/// A piece of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its number, modulo 256.
    pub seq: u8,
    /// The record ends with it.
    pub last: bool,
    /// At least one byte.
    pub bytes: &'a [u8],
}

/// An acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Everything before this number has arrived.
    pub next: u8,
    /// Pieces from `next` on that there is room for, at most [`WINDOW`].
    pub room: u8,
    /// Bit i: piece `next + 1 + i` has arrived as well.
    pub later: u32,
}

/// The packet is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a malformed packet")]
pub struct Malformed;

impl<'a> Packet<'a> {
    /// Reads a packet.
    ///
    /// # Errors
    /// [`Malformed`]: unknown flags, cut short, empty, or more room than a window.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (&flags, mut rest) = bytes.split_first().ok_or(Malformed)?;
        let has = |flag: u8| flags & flag != 0;
        let orphan = (has(LAST) && !has(DATA)) || (has(GAPS) && !has(ACK)) || flags & (DATA | ACK | ASKS) == 0;
        if flags & !KNOWN != 0 || orphan {
            return Err(Malformed);
        }
        let mut take = || {
            let (&byte, after) = rest.split_first().ok_or(Malformed)?;
            rest = after;
            Ok(byte)
        };
        let seq = if has(DATA) { Some(take()?) } else { None };
        let ack = if has(ACK) {
            let (next, room) = (take()?, take()?);
            let later = if has(GAPS) { u32::from_be_bytes([take()?, take()?, take()?, take()?]) } else { 0 };
            if room > WINDOW || (has(GAPS) && later == 0) {
                return Err(Malformed);
            }
            Some(Ack { next, room, later })
        } else {
            None
        };
        let piece = seq.map(|seq| Piece { seq, last: has(LAST), bytes: rest });
        if piece.map_or(!rest.is_empty(), |piece| piece.bytes.is_empty()) {
            return Err(Malformed);
        }
        Ok(Self { piece, ack, asks: has(ASKS) })
    }

    /// The bytes on the air.
    pub fn write(&self) -> Vec<u8> {
        let mut flags = 0;
        let mut head = Vec::with_capacity(8);
        if let Some(piece) = &self.piece {
            flags |= DATA | if piece.last { LAST } else { 0 };
            head.push(piece.seq);
        }
        if let Some(ack) = &self.ack {
            flags |= ACK;
            head.extend([ack.next, ack.room]);
            if ack.later != 0 {
                flags |= GAPS;
                head.extend(ack.later.to_be_bytes());
            }
        }
        if self.asks {
            flags |= ASKS;
        }
        let payload = self.piece.map_or(&[][..], |piece| piece.bytes);
        [&[flags][..], &head, payload].concat()
    }
}

/// Bytes before the payload of a piece that goes with this acknowledgement.
pub fn head_bytes(ack: Option<&Ack>) -> usize {
    2 + ack.map_or(0, |ack| if ack.later == 0 { 2 } else { 6 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn packets_that_say_nothing_or_too_much_are_refused() {
        let refused: [&[u8]; 11] = [
            &[],
            &[0],
            &[0x20, 1, 1],
            &[DATA],
            &[DATA, 7],
            &[LAST | ACK, 1, 1],
            &[GAPS, 0, 0, 0, 1],
            &[ACK, 1],
            &[ACK, 1, WINDOW + 1],
            &[ACK | GAPS, 1, 1, 0, 0, 0, 0],
            &[ACK, 1, 1, 9],
        ];
        for bytes in refused {
            assert_eq!(Packet::read(bytes), Err(Malformed), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_the_same(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(packet) = Packet::read(&bytes) {
                prop_assert_eq!(packet.write(), bytes);
            }
        }

        #[test]
        fn whatever_is_written_is_read_the_same(
            seq in any::<u8>(), last in any::<bool>(), payload in prop::collection::vec(any::<u8>(), 1..40),
            data in any::<bool>(), ack in prop::option::of((any::<u8>(), 0..=WINDOW, any::<u32>())), asks in any::<bool>(),
        ) {
            let packet = Packet {
                piece: data.then_some(Piece { seq, last, bytes: &payload }),
                ack: ack.map(|(next, room, later)| Ack { next, room, later }),
                asks: asks || (!data && ack.is_none()),
            };
            let bytes = packet.write();
            if let (Some(piece), false) = (&packet.piece, bytes.is_empty()) {
                prop_assert_eq!(bytes.len(), head_bytes(packet.ack.as_ref()) + piece.bytes.len());
            }
            prop_assert_eq!(Packet::read(&bytes), Ok(packet));
        }
    }
}
