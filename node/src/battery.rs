//! The battery of this machine, as the kernel shows it.

use std::fs;
use std::path::Path;

use silbo_protocol::radio::Battery;

/// Where Linux shows power supplies, a folder each (Documentation/ABI/testing/sysfs-class-power).
const SUPPLIES: &str = "/sys/class/power_supply";

/// The fullest battery of the machine itself, and whether any is being used up; `None` without one. Batteries of mice and
/// headphones do not count.
pub fn read() -> Option<Battery> {
    read_in(Path::new(SUPPLIES))
}

fn read_in(supplies: &Path) -> Option<Battery> {
    let supplies = fs::read_dir(supplies).ok()?.flatten().filter_map(|supply| {
        let word = |name| fs::read_to_string(supply.path().join(name)).map(|text| text.trim().to_owned()).ok();
        let of_machine = word("type")? == "Battery" && word("scope").is_none_or(|scope| scope == "System");
        let percent = of_machine.then(|| word("capacity"))??.parse().ok()?;
        Some(Battery { percent, charging: word("status")? != "Discharging" })
    });
    supplies.reduce(|one, other| Battery {
        percent: one.percent.max(other.percent),
        charging: one.charging && other.charging,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supply(dir: &Path, name: &str, files: &[(&str, &str)]) {
        let dir = dir.join(name);
        fs::create_dir(&dir).expect("a folder");
        for (name, text) in files {
            fs::write(dir.join(name), format!("{text}\n")).expect("a file");
        }
    }

    #[test]
    fn the_battery_of_the_machine_is_read_and_no_other() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(read_in(dir.path()), None);
        supply(dir.path(), "AC", &[("type", "Mains"), ("online", "0")]);
        supply(
            dir.path(),
            "mouse",
            &[("type", "Battery"), ("scope", "Device"), ("capacity", "99"), ("status", "Discharging")],
        );
        supply(dir.path(), "odd", &[("type", "Battery"), ("capacity", "many"), ("status", "Discharging")]);
        assert_eq!(read_in(dir.path()), None);
        supply(dir.path(), "BAT0", &[("type", "Battery"), ("capacity", "12"), ("status", "Discharging")]);
        assert_eq!(read_in(dir.path()), Some(Battery { percent: 12, charging: false }));
        supply(dir.path(), "BAT1", &[("type", "Battery"), ("capacity", "80"), ("status", "Not charging")]);
        assert_eq!(
            read_in(dir.path()),
            Some(Battery { percent: 80, charging: false }),
            "one is used up after the other"
        );
        fs::write(dir.path().join("BAT0/status"), "Charging\n").expect("a file");
        assert_eq!(read_in(dir.path()), Some(Battery { percent: 80, charging: true }));
    }
}
