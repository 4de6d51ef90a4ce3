//! Delivery states as numbers and words, and the order in which evidence raises them.
//!
//! ```text
//!   queued < held < failed < partial < delivered < read        local: nothing to deliver, whatever is said
//! ```
//! `failed` is only a timer's word, so any evidence of delivery overrides it, and it overrides no evidence.

use std::cmp::Reverse;

use crate::input::Route;
use crate::step::{DeliveryState, FailReason, Path};
use crate::time::UnixTime;

use super::state;

impl DeliveryState {
    /// The number stored in `ItemRow::state`. Numbers are stored: never reuse one.
    pub fn code(&self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Held { .. } => 1,
            Self::Delivered { .. } => 2,
            Self::Read { .. } => 3,
            Self::Failed(FailReason::Expired) => 4,
            Self::Failed(FailReason::Blocked) => 5,
            Self::Failed(FailReason::KeyChanged) => 6,
            Self::Failed(FailReason::Refused) => 7,
            Self::Local => 8,
            Self::Partial { .. } => 9,
        }
    }

    /// The state of a number, with its details zeroed (they are in the slot); `None` for an unknown number.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Queued,
            1 => Self::Held { relays: 0, until: UnixTime(0) },
            2 => Self::Delivered { at: UnixTime(0) },
            3 => Self::Read { at: UnixTime(0) },
            4 => Self::Failed(FailReason::Expired),
            5 => Self::Failed(FailReason::Blocked),
            6 => Self::Failed(FailReason::KeyChanged),
            7 => Self::Failed(FailReason::Refused),
            8 => Self::Local,
            9 => Self::Partial { delivered: 0, of: 0 },
            _ => return None,
        })
    }

    /// The word for people and programs: `queued`, `held`, `partial`, `delivered`, `read`, `failed` or `local`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Held { .. } => "held",
            Self::Partial { .. } => "partial",
            Self::Delivered { .. } => "delivered",
            Self::Read { .. } => "read",
            Self::Failed(_) => "failed",
            Self::Local => "local",
        }
    }

    /// The state after more evidence: commutative, associative, idempotent; never less than either.
    pub fn raised(self, evidence: Self) -> Self {
        match (self, evidence) {
            (Self::Held { relays: a, until: x }, Self::Held { relays: b, until: y }) => {
                Self::Held { relays: a.max(b), until: x.max(y) }
            }
            // Whom it was written to is fixed when it is written; only removals make them fewer.
            (Self::Partial { delivered: a, of: x }, Self::Partial { delivered: b, of: y }) => {
                let (delivered, of) = if (a, Reverse(x)) >= (b, Reverse(y)) { (a, x) } else { (b, y) };
                Self::Partial { delivered, of }
            }
            (Self::Delivered { at: a }, Self::Delivered { at: b }) => Self::Delivered { at: a.min(b) },
            (Self::Read { at: a }, Self::Read { at: b }) => Self::Read { at: a.min(b) },
            (Self::Failed(a), Self::Failed(b)) => Self::Failed(a.first(b)),
            (a, b) if a.rank() >= b.rank() => a,
            (_, b) => b,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Held { .. } => 1,
            Self::Failed(_) => 2,
            Self::Partial { .. } => 3,
            Self::Delivered { .. } => 4,
            Self::Read { .. } => 5,
            Self::Local => 6,
        }
    }

    pub(super) fn to_record(self) -> state::Delivery {
        let mut record = state::Delivery { code: self.code().into(), ..Default::default() };
        match self {
            Self::Held { relays, until } => (record.relays, record.until) = (relays.into(), until.0),
            Self::Partial { delivered, of } => (record.delivered, record.of) = (delivered, of),
            Self::Delivered { at } | Self::Read { at } => record.at = at.0,
            Self::Queued | Self::Failed(_) | Self::Local => {}
        }
        record
    }

    pub(super) fn from_record(record: &state::Delivery) -> Option<Self> {
        Some(match Self::from_code(u8::try_from(record.code).ok()?)? {
            Self::Held { .. } => {
                Self::Held { relays: u8::try_from(record.relays).unwrap_or(u8::MAX), until: UnixTime(record.until) }
            }
            Self::Partial { .. } => Self::Partial { delivered: record.delivered, of: record.of },
            Self::Delivered { .. } => Self::Delivered { at: UnixTime(record.at) },
            Self::Read { .. } => Self::Read { at: UnixTime(record.at) },
            other => other,
        })
    }
}

impl FailReason {
    /// The word for people and programs: `expired`, `blocked`, `keyChanged` or `refused`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Blocked => "blocked",
            Self::KeyChanged => "keyChanged",
            Self::Refused => "refused",
        }
    }

    /// Of two reasons, the same one whichever came first: a person's decision says more than a timer.
    fn first(self, other: Self) -> Self {
        if DeliveryState::Failed(self).code() >= DeliveryState::Failed(other).code() { self } else { other }
    }
}

impl Path {
    /// The number it is stored as. Numbers are stored: never reuse one.
    pub fn code(&self) -> u8 {
        match self {
            Self::Direct(Route::Circuit) => 0,
            Self::Direct(Route::Direct) => 1,
            Self::Direct(Route::Local) => 2,
            Self::Relay => 3,
            Self::Local => 4,
            Self::Direct(Route::Radio) => 5,
            Self::Courier => 6,
        }
    }

    /// The path of a number; `None` for an unknown one.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Direct(Route::Circuit),
            1 => Self::Direct(Route::Direct),
            2 => Self::Direct(Route::Local),
            3 => Self::Relay,
            4 => Self::Local,
            5 => Self::Direct(Route::Radio),
            6 => Self::Courier,
            _ => return None,
        })
    }

    /// The word for people and programs: `circuit`, `direct`, `radio`, `relay`, `courier` or `local`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Direct(Route::Circuit) => "circuit",
            Self::Direct(Route::Direct | Route::Local) => "direct",
            Self::Direct(Route::Radio) => "radio",
            Self::Relay => "relay",
            Self::Courier => "courier",
            Self::Local => "local",
        }
    }
}

/// A path that may be missing, as records hold it: 0 is none.
pub fn path_code(path: Option<Path>) -> u32 {
    path.map_or(0, |path| u32::from(path.code()) + 1)
}

/// The inverse of [`path_code`].
pub fn path_of_code(number: u32) -> Option<Path> {
    Path::from_code(u8::try_from(number.checked_sub(1)?).ok()?)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn any_state() -> impl Strategy<Value = DeliveryState> {
        (0_u8..10, 0_u8..3, 1_u64..4).prop_map(|(code, relays, t)| match DeliveryState::from_code(code).unwrap() {
            DeliveryState::Held { .. } => DeliveryState::Held { relays, until: UnixTime(t) },
            DeliveryState::Partial { .. } => {
                DeliveryState::Partial { delivered: relays.into(), of: u32::from(relays) + t as u32 }
            }
            DeliveryState::Delivered { .. } => DeliveryState::Delivered { at: UnixTime(t) },
            DeliveryState::Read { .. } => DeliveryState::Read { at: UnixTime(t) },
            other => other,
        })
    }

    #[test]
    fn every_code_reads_back_and_no_other() {
        for code in 0..=u8::MAX {
            assert_eq!(DeliveryState::from_code(code).map(|state| state.code()), (code < 10).then_some(code));
            assert_eq!(Path::from_code(code).map(|path| path.code()), (code < 7).then_some(code));
        }
        assert_eq!(path_of_code(path_code(None)), None);
        assert_eq!(path_of_code(path_code(Some(Path::Relay))), Some(Path::Relay));
    }

    #[test]
    fn failed_overrides_hope_and_is_overridden_by_evidence() {
        let failed = DeliveryState::Failed(FailReason::Expired);
        let held = DeliveryState::Held { relays: 1, until: UnixTime(9) };
        let delivered = DeliveryState::Delivered { at: UnixTime(9) };
        assert_eq!(DeliveryState::Queued.raised(failed), failed);
        assert_eq!(held.raised(failed), failed);
        assert_eq!(failed.raised(held), failed);
        assert_eq!(delivered.raised(failed), delivered);
        assert_eq!(failed.raised(delivered), delivered);
        assert_eq!(delivered.raised(held), delivered);
        assert_eq!(DeliveryState::Local.raised(delivered), DeliveryState::Local);
    }

    proptest! {
        #[test]
        fn raising_is_a_join(a in any_state(), b in any_state(), c in any_state()) {
            prop_assert_eq!(a.raised(a), a);
            prop_assert_eq!(a.raised(b), b.raised(a));
            prop_assert_eq!(a.raised(b).raised(c), a.raised(b.raised(c)));
        }

        #[test]
        fn records_read_back(state in any_state()) {
            prop_assert_eq!(DeliveryState::from_record(&state.to_record()), Some(state));
        }
    }
}
