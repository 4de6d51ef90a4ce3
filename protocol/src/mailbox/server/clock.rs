//! The relay's age clock: how old mail is, whatever happens to the wall clock.
//!
//! While the relay runs, age follows the monotonic clock alone. Across a restart the wall clock is all there is, so the
//! time it says was spent off is counted one day at once and the rest one day per running hour, and only while the wall
//! clock stands by it: a jump of a year, forward or back, purges nothing (T-38).

use super::records::state;
use crate::time::{DAY_MS, HOUR_MS, Moment, Now, UnixTime};

/// Counts how much time has passed for the mail held.
#[derive(Clone, Debug)]
pub(super) struct AgeClock {
    age_ms: u64,
    /// Time off that is not counted yet.
    owed_ms: u64,
    moment: Moment,
    wall: UnixTime,
    paid_at: Moment,
}

impl AgeClock {
    /// A clock that starts at the wall clock, for a relay that has held nothing yet.
    pub(super) fn start(now: Now) -> Self {
        Self { age_ms: now.unix.0, owed_ms: 0, moment: now.moment, wall: now.unix, paid_at: now.moment }
    }

    /// The clock as it was saved, plus what the wall clock says was spent off.
    pub(super) fn resume(saved: &state::Clock, now: Now) -> Self {
        let off = now.unix.0.saturating_sub(saved.wall_ms).saturating_add(saved.owed_ms);
        let counted = off.min(DAY_MS);
        Self {
            age_ms: saved.age_ms.saturating_add(counted),
            owed_ms: off.saturating_sub(counted),
            moment: now.moment,
            wall: now.unix,
            paid_at: now.moment,
        }
    }

    /// What to save, to resume from.
    pub(super) fn save(&self) -> state::Clock {
        state::Clock { age_ms: self.age_ms, wall_ms: self.wall.0, owed_ms: self.owed_ms }
    }

    /// Lets time pass up to `now`.
    pub(super) fn advance(&mut self, now: Now) {
        let elapsed = now.moment.0.saturating_sub(self.moment.0);
        let backwards = self.wall.0.saturating_add(elapsed).saturating_sub(now.unix.0);
        self.age_ms = self.age_ms.saturating_add(elapsed);
        self.owed_ms = self.owed_ms.saturating_sub(backwards);
        self.moment = self.moment.max(now.moment);
        self.wall = now.unix;
        if now.moment.0.saturating_sub(self.paid_at.0) >= HOUR_MS {
            let paid = self.owed_ms.min(DAY_MS);
            self.age_ms = self.age_ms.saturating_add(paid);
            self.owed_ms = self.owed_ms.saturating_sub(paid);
            self.paid_at = now.moment;
        }
    }

    /// Milliseconds on the scale of the wall clock, but never jumping.
    pub(super) fn age_ms(&self) -> u64 {
        self.age_ms
    }

    /// The hour that has begun.
    pub(super) fn hour(&self) -> u32 {
        u32::try_from(self.age_ms / HOUR_MS).unwrap_or(u32::MAX)
    }

    /// What the wall clock will show at the beginning of an hour of this clock.
    pub(super) fn wall_at(&self, hour: u32) -> UnixTime {
        let left = u64::from(hour).saturating_mul(HOUR_MS).saturating_sub(self.age_ms);
        self.wall.after_ms(left)
    }

    /// Whether time off is still being counted, which moves the clock faster than real time.
    pub(super) fn is_catching_up(&self) -> bool {
        self.owed_ms > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(moment: u64, unix: u64) -> Now {
        Now { moment: Moment(moment), unix: UnixTime(unix) }
    }

    const T: u64 = 1_800_000_000_000;
    const YEAR_MS: u64 = 365 * DAY_MS;

    #[test]
    fn t38_a_jump_of_the_wall_clock_while_running_changes_no_age() {
        let mut clock = AgeClock::start(now(0, T));
        clock.advance(now(HOUR_MS, T + YEAR_MS));
        assert_eq!(clock.age_ms(), T + HOUR_MS);
        clock.advance(now(2 * HOUR_MS, T - YEAR_MS));
        assert_eq!(clock.age_ms(), T + 2 * HOUR_MS);
        clock.advance(now(3 * HOUR_MS, 0));
        assert_eq!(clock.age_ms(), T + 3 * HOUR_MS);
    }

    #[test]
    fn t38_time_off_is_counted_one_day_at_once_and_one_day_an_hour() {
        let saved = AgeClock::start(now(0, T)).save();
        let mut clock = AgeClock::resume(&saved, now(0, T + 3 * DAY_MS));
        assert_eq!(clock.age_ms(), T + DAY_MS);
        clock.advance(now(HOUR_MS, T + 3 * DAY_MS + HOUR_MS));
        assert_eq!(clock.age_ms(), T + 2 * DAY_MS + HOUR_MS);
        for hour in 2..9 {
            clock.advance(now(hour * HOUR_MS, T + 3 * DAY_MS + hour * HOUR_MS));
        }
        assert_eq!(clock.age_ms(), T + 3 * DAY_MS + 8 * HOUR_MS);
        assert!(!clock.is_catching_up());
    }

    #[test]
    fn t38_a_false_jump_at_start_is_forgiven_when_the_wall_clock_is_set_right() {
        let saved = AgeClock::start(now(0, T)).save();
        let mut clock = AgeClock::resume(&saved, now(0, T + YEAR_MS));
        clock.advance(now(1_000, T + 1_000));
        clock.advance(now(10 * HOUR_MS, T + 10 * HOUR_MS));
        assert_eq!(clock.age_ms(), T + DAY_MS + 10 * HOUR_MS);
        let clock = AgeClock::resume(&saved, now(0, 0));
        assert_eq!(clock.age_ms(), T);
    }

    #[test]
    fn time_off_not_yet_counted_survives_a_restart() {
        let saved = AgeClock::start(now(0, T)).save();
        let saved = AgeClock::resume(&saved, now(0, T + 5 * DAY_MS)).save();
        let clock = AgeClock::resume(&saved, now(0, T + 5 * DAY_MS));
        assert_eq!(clock.age_ms(), T + 2 * DAY_MS);
        assert!(clock.is_catching_up());
    }
}
