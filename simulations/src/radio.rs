//! The link model of physical contacts: two devices within reach of each other.
//!
//! ```text
//!   contact begins ──set-up──▶ link up ──frames, one after the other in each direction──▶ contact ends: link down
//!                                        └ a frame takes delay + bytes / rate; what is not through is lost
//! ```
//! The engine is promised links on which frames arrive whole, once and in order until the link is down, as every
//! medium gives it (TCP, QUIC, or the retransmission of a radio link). So a frame that is lost on the air costs time
//! and air: it is sent again after [`Radio::RETRY_MS`], and the link goes down when [`Radio::TRIES_MAX`] fail in a row.

use std::ops::RangeInclusive;

use silbo_protocol::chance::Chance;

/// What a physical contact can carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Radio {
    /// Time from the beginning of a contact until frames can be sent; a shorter contact carries nothing.
    pub setup_ms: RangeInclusive<u64>,
    /// Bytes a second in each direction.
    pub rate: u64,
    /// Time until a bit arrives.
    pub delay_ms: u64,
    /// Share of the transmissions of a frame that do not arrive, in per mille.
    pub loss_per_mille: u16,
    /// Largest fragment on the air.
    pub mtu: u64,
    /// Bytes that every fragment needs besides what it carries.
    pub fragment_overhead: u64,
}

impl Default for Radio {
    /// Bluetooth Low Energy with 2 Mbit/s and long packets: about 100 kB/s, 244 bytes a packet, 7 of them headers.
    fn default() -> Self {
        Self { setup_ms: 0..=0, rate: 100_000, delay_ms: 5, loss_per_mille: 0, mtu: 244, fragment_overhead: 7 }
    }
}

impl Radio {
    /// Until a lost frame is sent again.
    pub const RETRY_MS: u64 = 200;
    /// Losses of one frame after which the link counts as gone.
    pub const TRIES_MAX: u32 = 8;

    /// How long sending a frame takes, once.
    pub fn airtime_us(&self, frame_bytes: u64) -> u64 {
        let carried = self.mtu.saturating_sub(self.fragment_overhead).max(1);
        let on_air = frame_bytes + frame_bytes.div_ceil(carried).max(1) * self.fragment_overhead;
        on_air * 1_000_000 / self.rate.max(1)
    }

    /// How long sending a frame takes until it arrives, losses included; `None` when the link breaks over it.
    pub fn transfer_us(&self, frame_bytes: u64, chance: &mut Chance) -> Option<u64> {
        let once = self.airtime_us(frame_bytes);
        let mut total = once;
        if self.loss_per_mille == 0 {
            return Some(total);
        }
        for _ in 0..Self::TRIES_MAX {
            if chance.below(1_000) >= u64::from(self.loss_per_mille) {
                return Some(total);
            }
            total += Self::RETRY_MS * 1_000 + once;
        }
        None
    }

    /// The set-up time of the contact of this number: the same for every router that meets it.
    pub fn setup_of(&self, seed: u64, contact: usize) -> u64 {
        let (from, to) = (*self.setup_ms.start(), *self.setup_ms.end());
        if to <= from {
            return from;
        }
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        bytes[8..].copy_from_slice(&(contact as u64).to_be_bytes());
        let hash = blake3::hash(&bytes);
        let dice = hash.as_bytes()[..8].iter().fold(0_u64, |n, byte| n << 8 | u64::from(*byte));
        from + dice % (to - from + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_takes_its_bytes_and_the_headers_of_its_fragments() {
        let radio = Radio::default();
        assert_eq!(radio.airtime_us(237), 2_440);
        assert_eq!(radio.airtime_us(238), 2_520);
        assert_eq!(radio.airtime_us(0), 70);
    }

    #[test]
    fn losses_cost_time_and_break_a_dead_link() {
        let mut chance = Chance::from_seed([1; 32]);
        let lossy = Radio { loss_per_mille: 100, ..Radio::default() };
        let mean = (0..10_000).filter_map(|_| lossy.transfer_us(237, &mut chance)).sum::<u64>() / 10_000;
        // One frame in nine is sent again: 2.4 ms + 0.11 × 202 ms.
        assert!((22_000..28_000).contains(&mean), "{mean} µs");
        let dead = Radio { loss_per_mille: 1_000, ..Radio::default() };
        assert_eq!(dead.transfer_us(237, &mut chance), None);
    }

    #[test]
    fn set_up_times_follow_from_the_seed_and_stay_in_their_range() {
        let radio = Radio { setup_ms: 1_000..=3_000, ..Radio::default() };
        assert_eq!(radio.setup_of(1, 7), radio.setup_of(1, 7));
        assert!((0..200).all(|contact| (1_000..=3_000).contains(&radio.setup_of(5, contact))));
        assert!((0..200).any(|contact| radio.setup_of(5, contact) != radio.setup_of(6, contact)));
    }
}
