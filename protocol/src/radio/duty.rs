//! How much of the time a radio listens, and how often it says that it is there.
//!
//! | mode | listens | while nothing changes | says so every |
//! |---|---|---|---|
//! | performance | always | always | 100 ms |
//! | balanced | 0.5 s of 2 s (25 %) | 0.5 s of 5 s (10 %) | 200 ms |
//! | saver | 0.5 s of 5 s (10 %) | 0.5 s of 25 s (2 %) | 1 s |
//!
//! Two that come into range need only one of them to listen while the other speaks: with balanced both ways that is 2 s at
//! most and 0.7 s on average. Nothing changes when nobody new is heard and nobody's digest is another; it then takes until
//! the other, who has walked here and hears somebody new, listens at its full share. A device that moves always does.

use crate::limits::{
    BATTERY_LOW_PERCENT, RADIO_ADVERTISE_MS, RADIO_LOOK_MS, RADIO_SCAN_EVERY_MS, RADIO_SCAN_ON_MS, RADIO_STILL_MS,
};
use crate::time::Moment;

/// How much of the battery a person gives the radio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RadioPower {
    /// As little as keeps mail moving.
    Saver,
    /// A message arrives within seconds of being in range.
    #[default]
    Balanced,
    /// Whatever is fastest.
    Performance,
}

/// The battery of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Battery {
    /// From 0 to 100.
    pub percent: u8,
    /// It is not being used up.
    pub charging: bool,
}

/// What the device knows of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// What the person wants.
    pub power: RadioPower,
    /// `None` without one.
    pub battery: Option<Battery>,
    /// Whether it is being carried about; `None` where nothing can tell.
    pub moving: Option<bool>,
}

impl Conditions {
    /// The mode in use: a battery that is nearly empty is saved, whatever was wanted.
    pub fn mode(&self) -> RadioPower {
        match self.battery {
            Some(Battery { percent, charging: false }) if percent <= BATTERY_LOW_PERCENT => RadioPower::Saver,
            _ => self.power,
        }
    }
}

/// When to listen and how often to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duty {
    /// Listens so long,
    pub scan_on_ms: u64,
    /// once in so long; the same number means without a pause.
    pub scan_every_ms: u64,
    /// Advertisements are so far apart.
    pub advertise_ms: u64,
}

impl Duty {
    /// The share for these conditions. `news` is when something last changed around here, `looks_until` until when a
    /// person wants to see who is there.
    pub fn of(conditions: &Conditions, news: Moment, looks_until: Moment, now: Moment) -> Self {
        let mode = conditions.mode();
        let still = conditions.moving != Some(true) && news.after_ms(RADIO_STILL_MS) <= now;
        let [full, quiet] = RADIO_SCAN_EVERY_MS[mode as usize];
        let scan_every_ms = if now < looks_until || mode == RadioPower::Performance {
            RADIO_SCAN_ON_MS
        } else if still {
            quiet
        } else {
            full
        };
        Self { scan_on_ms: RADIO_SCAN_ON_MS, scan_every_ms, advertise_ms: RADIO_ADVERTISE_MS[mode as usize] }
    }

    /// Whether it listens all the time.
    pub fn listens_always(&self) -> bool {
        self.scan_on_ms >= self.scan_every_ms
    }

    /// Whether it listens at this moment, and when that changes at the earliest; windows begin `since` a moment that each
    /// device takes by chance, so that two in the same mode do not sleep at the same time for ever.
    pub fn listens(&self, since: Moment, now: Moment) -> (bool, Moment) {
        if self.listens_always() {
            return (true, now.after_ms(RADIO_LOOK_MS));
        }
        let into = now.0.saturating_sub(since.0) % self.scan_every_ms;
        if into < self.scan_on_ms {
            (true, now.after_ms(self.scan_on_ms - into))
        } else {
            (false, now.after_ms(self.scan_every_ms - into))
        }
    }

    /// Part of the time in which it listens, in percent.
    pub fn scan_percent(&self) -> u8 {
        let percent = self.scan_on_ms.saturating_mul(100) / self.scan_every_ms.max(1);
        u8::try_from(percent.min(100)).unwrap_or(100)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EARLY: Moment = Moment(0);

    fn duty(power: RadioPower, now: u64) -> Duty {
        Duty::of(&Conditions { power, ..Conditions::default() }, EARLY, EARLY, Moment(now))
    }

    #[test]
    fn the_shares_are_those_of_the_table() {
        let of = |power, now| {
            let duty = duty(power, now);
            (duty.scan_percent(), duty.advertise_ms)
        };
        assert_eq!(of(RadioPower::Performance, 1), (100, 100));
        assert_eq!(of(RadioPower::Performance, RADIO_STILL_MS), (100, 100));
        assert_eq!(of(RadioPower::Balanced, 1), (25, 200));
        assert_eq!(of(RadioPower::Balanced, RADIO_STILL_MS), (10, 200));
        assert_eq!(of(RadioPower::Saver, 1), (10, 1_000));
        assert_eq!(of(RadioPower::Saver, RADIO_STILL_MS), (2, 1_000));
    }

    #[test]
    fn a_battery_that_is_nearly_empty_is_saved_unless_it_is_being_charged() {
        let low = |percent, charging| Conditions {
            power: RadioPower::Performance,
            battery: Some(Battery { percent, charging }),
            moving: None,
        };
        assert_eq!(low(BATTERY_LOW_PERCENT, false).mode(), RadioPower::Saver);
        assert_eq!(low(BATTERY_LOW_PERCENT + 1, false).mode(), RadioPower::Performance);
        assert_eq!(low(1, true).mode(), RadioPower::Performance);
    }

    #[test]
    fn who_moves_listens_at_the_full_share_and_who_wants_to_look_all_the_time() {
        let still = Moment(RADIO_STILL_MS);
        let moving = Conditions { moving: Some(true), power: RadioPower::Saver, battery: None };
        assert_eq!(Duty::of(&moving, EARLY, EARLY, still).scan_percent(), 10);
        assert!(Duty::of(&moving, EARLY, Moment(still.0 + 1), still).listens_always());
        assert!(!Duty::of(&moving, EARLY, still, still).listens_always());
    }

    proptest! {
        /// Walking from change to change sees exactly the share that is promised.
        #[test]
        fn windows_come_to_the_share_that_is_said(mode in 0usize..3, since in 0u64..10_000, still in any::<bool>()) {
            let power = [RadioPower::Saver, RadioPower::Balanced, RadioPower::Performance][mode];
            let duty = duty(power, if still { RADIO_STILL_MS } else { 1 });
            let (from, mut now, mut on) = (Moment(20_000), Moment(20_000), 0);
            let until = from.after_ms(duty.scan_every_ms * 40);
            while now < until {
                let (listens, change) = duty.listens(Moment(since), now);
                prop_assert!(change > now);
                let change = change.min(until);
                on += if listens { change.0 - now.0 } else { 0 };
                now = change;
            }
            prop_assert_eq!(on * 100 / (until.0 - from.0), u64::from(duty.scan_percent()));
        }
    }
}
