//! Spray and recall, by distance and copies: who gets a copy, and what goes when there is no room.
//!
//! ```text
//!   n          how many copies there are, as far as this one knows: both ends add one when a copy is made
//!   distance   0 for this device · 1 a friend's sheet asks for it · 2 the sheet of a friend's friend · 3 nobody known
//!   weight     distance⁴ · (n + 1)³ · 2^(days on the way / 5)     the heaviest goes first, the lightest is handed over first
//! ```
//! A copy is given to anybody while it has few (`n` below [`copies_max`]), or not many and the other side has much room;
//! beyond that only to who asks: the recipient, somebody with a sheet entry, or cover. Nothing about people is used or told:
//! no destinations, no histories, no predictions. `docs/decisions.md` has the measurements behind each number.

use crate::carry::store::Copy;
use crate::chance::Chance;
use crate::time::{DAY_MS, HOUR_MS, Moment, UnixTime};

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

/// How soon a copy goes when there is no room: the heaviest first. A binary logarithm in units of 1/1,024, as it would be at
/// the Unix epoch: copies grow heavier alike, so their order stays as it is while time passes.
pub type Weight = i64;

/// A binary logarithm of one.
const DOUBLE: Weight = 1_024;
/// After so long on the way an envelope weighs twice as much: whoever was not found by many copies in days is hard to find,
/// and one more copy of what is new is of more use.
const DOUBLES_IN_MS: u64 = 5 * DAY_MS;
/// What is offered does not say how old it is; this is taken.
const OFFERED_AGE_MS: u64 = DAY_MS;
/// Lighter by so much, about a quarter, is light enough to push out.
const PUSHES_OUT: Weight = 400;

/// The weight of an envelope at this distance with this many copies that set out at this time.
pub fn weight(distance: u8, copies: u8, born_at: UnixTime) -> Weight {
    let far = u64::from(distance.min(DISTANCE_MAX));
    let many = u64::from(copies) + 1;
    let Some(worth) = log2(far.pow(4) * many.pow(3)) else { return Weight::MIN };
    let born = u128::from(born_at.0) * u128::from(DOUBLE.unsigned_abs()) / u128::from(DOUBLES_IN_MS);
    worth.saturating_sub(Weight::try_from(born).unwrap_or(Weight::MAX))
}

/// The weight of what is offered at `now`.
pub fn weight_offered(distance: u8, copies: u8, now: UnixTime) -> Weight {
    weight(distance, copies, UnixTime(now.0.saturating_sub(OFFERED_AGE_MS)))
}

/// The weight of a copy.
pub fn weight_of(copy: &Copy) -> Weight {
    weight(copy.distance, copy.copies, copy.born_at)
}

/// True when a newcomer is light enough to push out a copy of this weight, so that two copies of almost the same worth do
/// not push each other out in turn.
pub fn pushes_out(newcomer: Weight, kept: Weight) -> bool {
    newcomer.saturating_add(PUSHES_OUT) < kept
}

/// The binary logarithm in units of 1/1,024, rounded down, the same on every machine: each squaring of the mantissa gives
/// one more bit. `None` for 0.
fn log2(x: u64) -> Option<Weight> {
    let whole = x.checked_ilog2()?;
    let mut mantissa = u128::from(x) << (63 - whole); // 1 to 2, in units of 2^-63
    let mut bits = u64::from(whole);
    for _ in 0..10 {
        mantissa = (mantissa * mantissa) >> 63;
        let two = mantissa >> 64;
        bits = (bits << 1) | u64::from(two == 1);
        mantissa >>= two;
    }
    Weight::try_from(bits).ok()
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
        fn near_rare_and_new_is_kept_before_far_common_and_old(distance in 0_u8..3, copies in 0_u8..255, born: u64) {
            let born = UnixTime(born);
            prop_assert!(weight(distance, copies, born) < weight(distance + 1, copies, born));
            prop_assert!(weight(distance + 1, copies, born) < weight(distance + 1, copies + 1, born));
            prop_assert!(weight(3, copies, UnixTime(born.0 - born.0 / 2)) >= weight(3, copies, born));
            prop_assert!(weight(3, copies, UnixTime(born.0 / 2 + HOUR_MS)) < weight(3, copies, UnixTime(born.0 / 2)));
        }

        #[test]
        fn two_copies_never_push_each_other_out(a in 0_u8..=3, n in 0_u8..255, s: u64, b in 0_u8..=3, m in 0_u8..255, t: u64) {
            let (one, other) = (weight(a, n, UnixTime(s)), weight(b, m, UnixTime(t)));
            prop_assert!(!(pushes_out(one, other) && pushes_out(other, one)));
        }

        #[test]
        fn a_logarithm_is_what_it_says(x in 1_u64..) {
            let exact = (x as f64).log2() * 1_024.0;
            let log = log2(x).unwrap() as f64;
            prop_assert!(log <= exact + 1e-6 && log > exact - 1.001, "{} {}", log, exact);
        }

        #[test]
        fn a_disguise_is_small(copies in 1_u8..=100, seed: [u8; 32]) {
            let (seen, hops, age_min) = disguise(copies, &mut Chance::from_seed(seed));
            prop_assert!(seen >= 1 && (copies - 1..copies + 2).contains(&seen) && hops <= 2 && u64::from(age_min) <= DISGUISE_MINUTES_MAX);
        }
    }

    #[test]
    fn five_days_weigh_as_much_as_a_quarter_more_copies() {
        let at = |days: u64| UnixTime(30 * DAY_MS + days * DAY_MS);
        assert_eq!(weight(3, 7, at(0)) - weight(3, 7, at(5)), DOUBLE);
        assert!(weight(3, 9, at(5)) < weight(3, 7, at(0)) && weight(3, 10, at(5)) > weight(3, 7, at(0)));
        assert!(weight(1, 255, at(5)) > weight(3, 1, at(0)), "not even the nearest is kept in any number");
        assert_eq!(weight(0, 255, at(0)), Weight::MIN, "what is for this device");
        assert!(pushes_out(weight(0, 9, at(0)), weight(1, 1, at(9))));
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
