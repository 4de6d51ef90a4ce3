//! How much a machine wants to be the owner of a group, who serves it and sleeps less: by what it lives on.

use std::fs;
use std::path::Path;

use super::record::INTENT_MAX;

/// Where Linux shows batteries and mains adapters.
const SUPPLIES: &str = "/sys/class/power_supply";
/// Highest intent of a machine on its battery.
const BATTERY_MAX: u16 = 7;

/// From 0 to [`INTENT_MAX`].
pub(super) fn intent() -> u8 {
    intent_of(Path::new(SUPPLIES))
}

fn intent_of(supplies: &Path) -> u8 {
    let folders = fs::read_dir(supplies).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut charge: Option<u16> = None;
    for folder in folders {
        let text = |name| fs::read_to_string(folder.join(name)).unwrap_or_default().trim().to_owned();
        match text("type").as_str() {
            "Mains" | "USB" if text("online") == "1" => return INTENT_MAX,
            // Batteries of mice and pens are of their own.
            "Battery" if text("scope") != "Device" => {
                let percent: u16 = text("capacity").parse().unwrap_or(0);
                charge = charge.max(Some(percent.min(100)));
            }
            _ => {}
        }
    }
    // Without any battery it lives on the mains.
    charge.map_or(INTENT_MAX, |percent| u8::try_from(percent * BATTERY_MAX / 100).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(name: &str, supplies: &[&[(&str, &str)]]) -> u8 {
        let folder = std::env::temp_dir().join(format!("silbo-power-{name}-{}", std::process::id()));
        for (at, files) in supplies.iter().enumerate() {
            let supply = folder.join(at.to_string());
            fs::create_dir_all(&supply).expect("a folder");
            for (file, text) in *files {
                fs::write(supply.join(file), format!("{text}\n")).expect("a file");
            }
        }
        let intent = intent_of(&folder);
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("it goes");
        }
        intent
    }

    #[test]
    fn mains_wants_most_and_an_empty_battery_least() {
        let battery = |percent| [("type", "Battery"), ("capacity", percent)];
        assert_eq!(machine("desktop", &[]), 14);
        assert_eq!(machine("plugged", &[&battery("20"), &[("type", "Mains"), ("online", "1")]]), 14);
        assert_eq!(machine("full", &[&battery("100"), &[("type", "Mains"), ("online", "0")]]), 7);
        assert_eq!(machine("half", &[&battery("50")]), 3);
        assert_eq!(machine("empty", &[&battery("3")]), 0);
        assert_eq!(machine("odd", &[&[("type", "Battery"), ("capacity", "?")]]), 0);
        assert_eq!(machine("pen", &[&[("type", "Battery"), ("scope", "Device"), ("capacity", "9")]]), 14);
    }
}
