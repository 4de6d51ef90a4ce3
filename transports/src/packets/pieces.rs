//! Records over packets that may be lost, doubled or out of order: numbers, acknowledgements, a window and repeats.
//!
//! Without clock and radio: times are milliseconds of any monotonic clock, packets go in and come out as bytes.
//! Memory is bounded before anything is believed: at most [`WINDOW`] packets wait for a gap to close, and a record in
//! the making never grows over the bound its reader has set.

use std::collections::VecDeque;

use super::packet::{Ack, Malformed, PACKET_BYTES_MAX, PACKET_BYTES_MIN, Packet, Piece, WINDOW, head_bytes};

/// An acknowledgement waits so long for a packet it can go with,
const ACK_DELAY_MS: u64 = 40;
/// or until so many pieces have come: half a window, because an acknowledgement costs the radio as much as a piece.
const ACK_EVERY: u8 = WINDOW / 2;
/// Before the payload of a piece with an acknowledgement that has no gaps.
const ACKED_HEAD_BYTES: usize = 4;
/// A piece is sent again at once when so many later ones have arrived.
const OVERTAKEN_BY: u32 = 3;
/// First guess and bounds of the time after which a piece is sent again.
const REPEAT_FIRST_MS: u64 = 1_000;
const REPEAT_MS: std::ops::RangeInclusive<u64> = 250..=8_000;
/// So many repeats in a row without an answer end the link: some 40 s.
const REPEATS_MAX: u32 = 8;

/// Why a link cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PieceError {
    /// A packet is malformed.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A record is longer than allowed.
    #[error("a record is longer than allowed")]
    TooLong,
    /// The other end does not answer.
    #[error("no answer")]
    Silent,
}

/// A piece that is not acknowledged yet.
struct Sent {
    bytes: Vec<u8>,
    last: bool,
    at: u64,
    times: u32,
    /// The other end has it, but not everything before it.
    held: bool,
    /// To be sent again.
    again: bool,
}

/// Both directions of one link.
pub struct Pieces {
    packet_bytes: usize,
    // sending
    records: VecDeque<Vec<u8>>,
    /// How much of the first record has left.
    offset: usize,
    sent: VecDeque<Sent>,
    /// Number of the first of `sent`.
    first: u8,
    /// Pieces from `first` on that the other end has room for.
    room: u8,
    repeat_ms: u64,
    round_trip: Option<(u64, u64)>,
    repeats: u32,
    repeat_at: Option<u64>,
    // receiving
    next: u8,
    early: [Option<(Vec<u8>, bool)>; WINDOW as usize],
    record: Vec<u8>,
    record_bytes_max: usize,
    whole: VecDeque<Vec<u8>>,
    open: bool,
    owed: u8,
    ack_at: Option<u64>,
    ask: bool,
}

impl Pieces {
    /// A link for packets of this size, whose first records may have `record_bytes_max` bytes.
    pub fn new(packet_bytes: usize, record_bytes_max: usize) -> Self {
        Self {
            packet_bytes: packet_bytes.clamp(PACKET_BYTES_MIN, PACKET_BYTES_MAX),
            records: VecDeque::new(),
            offset: 0,
            sent: VecDeque::new(),
            first: 0,
            room: WINDOW,
            repeat_ms: REPEAT_FIRST_MS,
            round_trip: None,
            repeats: 0,
            repeat_at: None,
            next: 0,
            early: [const { None }; WINDOW as usize],
            record: Vec::new(),
            record_bytes_max,
            whole: VecDeque::new(),
            open: true,
            owed: 0,
            ack_at: None,
            ask: false,
        }
    }

    /// Packets may have this many bytes from now on; what was cut already stays as it is.
    pub fn set_packet_bytes(&mut self, packet_bytes: usize) {
        self.packet_bytes = packet_bytes.clamp(PACKET_BYTES_MIN, PACKET_BYTES_MAX);
    }

    /// The most bytes, up to `bytes`, that fill whole packets: a record that is a little longer costs one packet more.
    pub fn full_packets(&self, bytes: usize) -> usize {
        let space = self.packet_bytes - ACKED_HEAD_BYTES;
        if bytes < space { bytes } else { bytes - bytes % space }
    }

    /// Records may be this long from now on.
    pub fn set_record_bytes_max(&mut self, bytes: usize) {
        self.record_bytes_max = bytes;
    }

    /// Whether the reader takes more. While it does not, the other end learns that there is no room.
    pub fn set_open(&mut self, open: bool) {
        if open && !self.open {
            self.ack_at = Some(0);
        }
        self.open = open;
    }

    /// Queues a record, not empty.
    pub fn send(&mut self, record: Vec<u8>) {
        if !record.is_empty() {
            self.records.push_back(record);
        }
    }

    /// Records that have not left completely.
    pub fn waiting(&self) -> usize {
        self.records.len()
    }

    /// Everything was sent and acknowledged.
    pub fn is_idle(&self) -> bool {
        self.records.is_empty() && self.sent.is_empty()
    }

    /// Bytes of the other end that wait for more of them.
    #[cfg(test)]
    pub(super) fn held_bytes(&self) -> usize {
        self.early.iter().flatten().map(|(bytes, _)| bytes.len()).sum::<usize>() + self.record.len()
    }

    /// The next whole record.
    pub fn next_record(&mut self) -> Option<Vec<u8>> {
        self.whole.pop_front()
    }

    /// Asks the other end for a sign of life.
    pub fn ask(&mut self, now: u64) {
        self.ask = true;
        if self.repeat_at.is_none() {
            self.repeat_at = Some(now + self.repeat_ms);
        }
    }

    /// A packet arrived.
    ///
    /// # Errors
    /// [`PieceError`]: the link is to be closed.
    pub fn arrived(&mut self, packet: &[u8], now: u64) -> Result<(), PieceError> {
        let packet = Packet::read(packet)?;
        // Any packet is a sign of life.
        self.repeats = 0;
        if let Some(ack) = packet.ack {
            self.acknowledged(ack, now);
        } else if self.sent.is_empty() && (self.records.is_empty() || self.room > 0) {
            self.repeat_at = None;
        }
        if let Some(piece) = packet.piece {
            self.take(piece, now)?;
        }
        if packet.asks {
            self.ack_at = Some(now);
        }
        Ok(())
    }

    fn acknowledged(&mut self, ack: Ack, now: u64) {
        let done = usize::from(ack.next.wrapping_sub(self.first));
        if done > self.sent.len() {
            return; // older than what we know, from a packet that was overtaken or doubled; or nonsense
        }
        // What waited behind a gap was measured when it was reported; what was sent twice says nothing.
        for sent in self.sent.drain(..done).filter(|sent| sent.times == 1 && !sent.held) {
            measure(&mut self.round_trip, now.saturating_sub(sent.at));
        }
        self.first = ack.next;
        self.room = ack.room;
        let mut later = 0;
        for (at, sent) in self.sent.iter_mut().enumerate().skip(1) {
            if at <= 32 && ack.later & (1 << (at - 1)) != 0 {
                if sent.times == 1 && !sent.held {
                    measure(&mut self.round_trip, now.saturating_sub(sent.at));
                }
                sent.held = true;
                later += 1;
            }
        }
        if later >= OVERTAKEN_BY {
            let patience = self.round_trip.map_or(REPEAT_FIRST_MS, |(mean, _)| mean);
            let behind_all = self.sent.iter().rposition(|sent| sent.held).unwrap_or(0);
            for sent in self.sent.iter_mut().take(behind_all).filter(|sent| !sent.held) {
                sent.again |= now.saturating_sub(sent.at) >= patience;
            }
        }
        if let Some((mean, deviation)) = self.round_trip {
            self.repeat_ms = (mean + 4 * deviation + 2 * ACK_DELAY_MS).clamp(*REPEAT_MS.start(), *REPEAT_MS.end());
        }
        let waits = !self.sent.is_empty() || (!self.records.is_empty() && self.room == 0);
        self.repeat_at = waits.then(|| now + self.repeat_ms);
    }

    fn take(&mut self, piece: Piece<'_>, now: u64) -> Result<(), PieceError> {
        let ahead = piece.seq.wrapping_sub(self.next);
        let Some(slot) = self.early.get_mut(usize::from(ahead)) else {
            // Had already, or so far ahead that it can only be an old one as well: say where we are.
            self.ack_at = Some(now);
            return Ok(());
        };
        // The first with a number counts; whether it was the true one, the seal of the record tells.
        if slot.is_none() {
            *slot = Some((piece.bytes.to_vec(), piece.last));
        }
        self.owed = self.owed.saturating_add(1);
        let soon = ahead != 0 || self.owed >= ACK_EVERY;
        let by = if soon { now } else { now + ACK_DELAY_MS };
        self.ack_at = Some(self.ack_at.map_or(by, |at| at.min(by)));
        while let Some((bytes, last)) = self.early[0].take() {
            self.early.rotate_left(1);
            self.next = self.next.wrapping_add(1);
            if self.record.len() + bytes.len() > self.record_bytes_max {
                return Err(PieceError::TooLong);
            }
            self.record.extend_from_slice(&bytes);
            if last {
                self.whole.push_back(std::mem::take(&mut self.record));
            }
        }
        Ok(())
    }

    fn ack(&self) -> Ack {
        let later = self.early.iter().skip(1).zip(0u32..).filter(|(slot, _)| slot.is_some());
        let later = later.fold(0, |bits, (_, at)| bits | 1 << at);
        Ack { next: self.next, room: if self.open { WINDOW } else { 0 }, later }
    }

    /// The next packet for the radio, if there is one now.
    ///
    /// # Errors
    /// [`PieceError::Silent`].
    pub fn next_packet(&mut self, now: u64) -> Result<Option<Vec<u8>>, PieceError> {
        if self.repeat_at.is_some_and(|at| at <= now) {
            self.repeats += 1;
            if self.repeats > REPEATS_MAX {
                return Err(PieceError::Silent);
            }
            self.repeat_ms = (self.repeat_ms * 2).min(*REPEAT_MS.end());
            self.repeat_at = Some(now + self.repeat_ms);
            match self.sent.iter_mut().find(|sent| !sent.held) {
                Some(sent) => sent.again = true,
                None => self.ask = true,
            }
        }
        let ack = (self.owed > 0 || self.ack_at.is_some()).then(|| self.ack());
        let packet = self.repeated(ack, now).or_else(|| self.fresh(ack, now)).or_else(|| self.bare(now));
        Ok(packet)
    }

    fn repeated(&mut self, ack: Option<Ack>, now: u64) -> Option<Vec<u8>> {
        let at = self.sent.iter().position(|sent| sent.again)?;
        let seq = self.first.wrapping_add(u8::try_from(at).ok()?);
        let sent = self.sent.get_mut(at)?;
        (sent.again, sent.at) = (false, now);
        sent.times = sent.times.saturating_add(1);
        // What was cut for a larger packet leaves no room for an acknowledgement beside it.
        let ack = ack.filter(|ack| head_bytes(Some(ack)) + sent.bytes.len() <= self.packet_bytes);
        let piece = Piece { seq, last: sent.last, bytes: &sent.bytes };
        let packet = Packet { piece: Some(piece), ack, asks: true }.write();
        self.repeat_at.get_or_insert(now + self.repeat_ms);
        self.said(ack);
        Some(packet)
    }

    fn fresh(&mut self, ack: Option<Ack>, now: u64) -> Option<Vec<u8>> {
        if self.sent.len() >= usize::from(self.room.min(WINDOW)) {
            if !self.records.is_empty() {
                self.repeat_at.get_or_insert(now + self.repeat_ms);
            }
            return None;
        }
        let record = self.records.front()?;
        let rest = record.get(self.offset..)?;
        let space = self.packet_bytes.saturating_sub(head_bytes(ack.as_ref()));
        let (bytes, last) = match rest.split_at_checked(space) {
            Some((bytes, more)) if !more.is_empty() => (bytes.to_vec(), false),
            _ => (rest.to_vec(), true),
        };
        if last {
            self.records.pop_front();
            self.offset = 0;
        } else {
            self.offset += bytes.len();
        }
        let seq = self.first.wrapping_add(u8::try_from(self.sent.len()).ok()?);
        let packet = Packet { piece: Some(Piece { seq, last, bytes: &bytes }), ack, asks: false }.write();
        self.sent.push_back(Sent { bytes, last, at: now, times: 1, held: false, again: false });
        self.repeat_at.get_or_insert(now + self.repeat_ms);
        self.said(ack);
        Some(packet)
    }

    fn bare(&mut self, now: u64) -> Option<Vec<u8>> {
        if !self.ask && self.ack_at.is_none_or(|at| at > now) {
            return None;
        }
        let ack = Some(self.ack());
        let asks = std::mem::take(&mut self.ask);
        self.said(ack);
        Some(Packet { piece: None, ack, asks }.write())
    }

    fn said(&mut self, ack: Option<Ack>) {
        if ack.is_some() {
            (self.owed, self.ack_at) = (0, None);
        }
    }

    /// When `next_packet` should be asked again even if nothing happens.
    pub fn next_wake(&self) -> Option<u64> {
        self.ack_at.into_iter().chain(self.repeat_at).min()
    }
}

/// Mean and deviation of the round trips, smoothed as in RFC 6298.
fn measure(round_trip: &mut Option<(u64, u64)>, took: u64) {
    *round_trip = Some(match *round_trip {
        None => (took, took / 2),
        Some((mean, deviation)) => ((7 * mean + took) / 8, (3 * deviation + mean.abs_diff(took)) / 4),
    });
}
