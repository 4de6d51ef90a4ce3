//! Time as the core knows it: two integers handed in by the driver, never read from a clock.

/// Milliseconds on a monotonic clock that counts sleep. Comparable only within one run of one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

/// Milliseconds since 1970-01-01 UTC, by the wall clock of this device. May jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

/// Both clocks, as the driver read them just before one call of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For time-outs and retries.
    pub moment: Moment,
    /// For what people and other devices see: sent times, expiry.
    pub unix: UnixTime,
}

/// One second in milliseconds.
pub const SECOND_MS: u64 = 1_000;
/// One minute in milliseconds.
pub const MINUTE_MS: u64 = 60 * SECOND_MS;
/// One hour in milliseconds.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
/// One day in milliseconds.
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// 2024-01-01T00:00:00Z in Unix milliseconds: day and hour counters on the wire start here.
pub const EPOCH_2024_MS: u64 = 1_704_067_200_000;

impl Moment {
    /// This moment `ms` milliseconds later.
    pub fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl UnixTime {
    /// This time `ms` milliseconds later.
    pub fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Whole days since 2024-01-01, as invites and certificates carry them; 0 before that day.
    pub fn day_2024(self) -> u32 {
        (self.0.saturating_sub(EPOCH_2024_MS) / DAY_MS).min(u64::from(u32::MAX)) as u32
    }

    /// Whole hours since 2024-01-01 modulo 65,536, as envelopes carry them.
    pub fn hour_2024(self) -> u16 {
        ((self.0.saturating_sub(EPOCH_2024_MS) / HOUR_MS) % 65_536) as u16
    }

    /// The inverse of [`Self::hour_2024`]: of all times with this hour, the one nearest to this time.
    pub fn nearest_hour_2024(self, hour: u16) -> Self {
        let passed = self.0.saturating_sub(EPOCH_2024_MS) / HOUR_MS;
        let ahead = hour.wrapping_sub(self.hour_2024()) as i16;
        Self(EPOCH_2024_MS.saturating_add(passed.saturating_add_signed(i64::from(ahead)).saturating_mul(HOUR_MS)))
    }
}
