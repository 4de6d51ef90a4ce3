//! How much a machine wants to be the owner of a group, who serves it and sleeps less: by what it lives on.

use silbo_protocol::radio::Battery;

use super::record::INTENT_MAX;

/// Highest intent of a machine on its battery.
const BATTERY_MAX: u16 = 7;

/// From 0 to [`INTENT_MAX`]: the highest on the mains, and by its charge on a battery.
pub(super) fn intent(battery: Option<Battery>) -> u8 {
    match battery {
        Some(Battery { percent, charging: false }) => {
            u8::try_from(u16::from(percent.min(100)) * BATTERY_MAX / 100).unwrap_or(0)
        }
        _ => INTENT_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mains_wants_most_and_an_empty_battery_least() {
        let on = |percent, charging| intent(Some(Battery { percent, charging }));
        assert_eq!(intent(None), 14);
        assert_eq!(on(20, true), 14);
        assert_eq!([on(255, false), on(100, false), on(50, false), on(3, false)], [7, 7, 3, 0]);
    }
}
