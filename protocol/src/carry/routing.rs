//! Spray and recall, by distance and copies: who gets a copy, and what goes when there is no room.
//!
//! ```text
//!   n          how many copies there are, as far as this one knows: both ends add one when a copy is made
//!   distance   0 for this device · 1 a friend's sheet asks for it · 2 the sheet of a friend's friend · 3 nobody known
//!   weight     distance⁴ · (n + 1)³          the heaviest goes first, the lightest is handed over first
//! ```
//! A copy is given to anybody while it has few (`n` below [`copies_max`]), or not many and the other side has much room;
//! beyond that only to who asks: the recipient, somebody with a sheet entry, or cover. Nothing about people is used or told:
//! no destinations, no histories, no predictions. `docs/decisions.md` has the measurements behind each number.

use crate::carry::store::Copy;
use crate::chance::Chance;
use crate::time::{HOUR_MS, Moment, UnixTime};

/// One envelope in so many that is not given is asked for without need, so that asking proves nothing; at most one at
/// an encounter.
pub const COVER_ASK_ONE_IN: u64 = 50;
/// The distance of an envelope nobody known asks for.
pub const DISTANCE_MAX: u8 = 3;
/// An envelope of one's own says it has travelled for up to so much longer than it has.
pub const DISGUISE_MINUTES_MAX: u64 = 30;
/// Below this pressure (half full) copies are made freely.
const PRESSURE_ROOMY: u8 = 128;
/// Copies known of an envelope up to which it is given freely where people meet often, and where they rarely do. Each
/// new copy raises the number by one at both ends only, so 9 allows 2^8 = 256 copies in all.
const COPIES_MIN: u32 = 4;
const COPIES_MAX: u32 = 9;
/// The same where there is room: more than anybody meets in a day or two, so that nothing is lost for want of copies.
const COPIES_ROOMY_MAX: u32 = 24;
/// Encounters a day of two carriers together at which one copy is enough to start with: 2 · 96.
const RATE_OF_ONE_COPY: u32 = 192;

/// How soon a copy goes when there is no room: the heaviest first.
pub type Weight = u64;

/// The weight of an envelope at this distance with this many copies: the fourth power of
/// `distance · (copies + 1)^(3/4)`, so that whole numbers will do.
pub fn weight(distance: u8, copies: u8) -> Weight {
    let far = u64::from(distance.min(DISTANCE_MAX));
    let many = u64::from(copies) + 1;
    far * far * far * far * many * many * many
}

/// The weight of a copy.
pub fn weight_of(copy: &Copy) -> Weight {
    weight(copy.distance, copy.copies)
}

/// True when a newcomer is light enough to push out a copy of this weight: below 0.85 of it before the fourth power,
/// so that two copies of almost the same worth do not push each other out in turn.
pub fn pushes_out(newcomer: Weight, kept: Weight) -> bool {
    newcomer.saturating_mul(1_000) < kept.saturating_mul(522)
}

/// Copies of an envelope that are made freely where two carriers meet so many others a day: few where everybody meets
/// everybody, more where meetings are rare.
pub fn copies_max(own_rate: u8, their_rate: u8) -> u8 {
    let rates = (u32::from(own_rate) + u32::from(their_rate)).max(1);
    let wanted = RATE_OF_ONE_COPY * RATE_OF_ONE_COPY / (rates * rates);
    u8::try_from(wanted.clamp(COPIES_MIN, COPIES_MAX)).unwrap_or(u8::MAX)
}

/// Whether an envelope is offered to whoever wants it.
pub fn gives(copies: u8, own_rate: u8, their_rate: u8, their_pressure: u8) -> bool {
    let roomy = their_pressure < PRESSURE_ROOMY && u32::from(copies) < COPIES_ROOMY_MAX;
    roomy || copies < copies_max(own_rate, their_rate)
}

/// True when so little of an envelope's time is left that one more carrier would hardly meet the recipient: less than a
/// sixteenth. Who asks for it gets it all the same.
pub fn is_late(born_at: UnixTime, expires_at: UnixTime, now: UnixTime) -> bool {
    let (life, left) = (expires_at.0.saturating_sub(born_at.0), expires_at.0.saturating_sub(now.0));
    left.saturating_mul(16) < life
}

/// How an envelope of one's own looks to whoever gets it: as if it had come from somebody else. Copies (on average as
/// many as there are, or it would spread less), devices passed, minutes travelled.
pub fn disguise(copies: u8, chance: &mut Chance) -> (u8, u8, u32) {
    let small = |bound: u64, chance: &mut Chance| u8::try_from(chance.below(bound)).unwrap_or(0);
    let (more, hops) = (small(3, chance), small(3, chance));
    (copies.saturating_add(more).saturating_sub(1).max(1), hops, u32::from(small(DISGUISE_MINUTES_MAX + 1, chance)))
}

/// Encounters in the last 24 hours, by the hour. One byte of it is told to peers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rate {
    hours: [u16; 24],
    current: u64,
}

impl Rate {
    /// Counts one encounter.
    pub fn count(&mut self, now: Moment) {
        self.roll(now);
        let slot = (self.current % 24) as usize;
        if let Some(hour) = self.hours.get_mut(slot) {
            *hour = hour.saturating_add(1);
        }
    }

    /// Encounters of the last 24 hours, at most 255.
    pub fn per_day(&mut self, now: Moment) -> u8 {
        self.roll(now);
        u8::try_from(self.hours.iter().map(|h| u32::from(*h)).sum::<u32>()).unwrap_or(u8::MAX)
    }

    fn roll(&mut self, now: Moment) {
        let hour = now.0 / HOUR_MS;
        let passed = hour.saturating_sub(self.current).min(24);
        for step in 1..=passed {
            if let Some(slot) = self.hours.get_mut(((self.current + step) % 24) as usize) {
                *slot = 0;
            }
        }
        self.current = self.current.max(hour);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn near_and_rare_is_kept_before_far_and_common(distance in 0_u8..3, copies in 0_u8..255) {
            prop_assert!(weight(distance, copies) < weight(distance + 1, copies));
            prop_assert!(weight(distance + 1, copies) < weight(distance + 1, copies + 1));
        }

        #[test]
        fn two_copies_never_push_each_other_out(a in 0_u8..=3, n in 0_u8..255, b in 0_u8..=3, m in 0_u8..255) {
            prop_assert!(!(pushes_out(weight(a, n), weight(b, m)) && pushes_out(weight(b, m), weight(a, n))));
        }

        #[test]
        fn a_disguise_is_small(copies in 1_u8..=100, seed: [u8; 32]) {
            let (seen, hops, age_min) = disguise(copies, &mut Chance::from_seed(seed));
            prop_assert!(seen >= 1 && (copies - 1..copies + 2).contains(&seen) && hops <= 2 && u64::from(age_min) <= DISGUISE_MINUTES_MAX);
        }
    }

    #[test]
    fn rare_meetings_make_more_copies() {
        assert_eq!(copies_max(0, 0), 9);
        assert_eq!(copies_max(30, 30), 9);
        assert_eq!(copies_max(40, 40), 5);
        assert_eq!(copies_max(255, 255), 4);
        assert!(gives(8, 255, 255, 0), "there is room");
        assert!(!gives(8, 255, 255, 255));
        assert!(!gives(9, 0, 0, 255), "there are enough");
        assert!(gives(23, 0, 0, 0) && !gives(24, 0, 0, 0), "room is not without end");
    }

    #[test]
    fn in_its_last_sixteenth_an_envelope_is_late() {
        let at = |hours: u64| UnixTime(hours * HOUR_MS);
        assert!(!is_late(at(0), at(32), at(30)));
        assert!(is_late(at(0), at(32), UnixTime(30 * HOUR_MS + 1)));
        assert!(is_late(at(0), at(32), at(40)), "over");
        assert!(!is_late(at(50), at(32), at(20)), "a clock that ran ahead says nothing");
    }

    #[test]
    fn only_the_last_day_counts() {
        let mut rate = Rate::default();
        for hour in 0..48 {
            rate.count(Moment(hour * HOUR_MS));
        }
        assert_eq!(rate.per_day(Moment(47 * HOUR_MS)), 24);
        assert_eq!(rate.per_day(Moment(60 * HOUR_MS)), 11);
        assert_eq!(rate.per_day(Moment(500 * HOUR_MS)), 0);
        assert_eq!(Rate::default().per_day(Moment(1_000_000 * HOUR_MS)), 0);
    }
}
