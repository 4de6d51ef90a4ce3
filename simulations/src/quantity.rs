//! Durations and shares as people write them on a command line or in a scenario file.

use std::ops::RangeInclusive;

/// A duration such as `24h`, `7d`, `90m`, `20s` or `500ms`, in milliseconds.
///
/// # Errors
/// What is wrong and how to write it.
pub fn duration_ms(text: &str) -> Result<u64, String> {
    let bad = || format!("\"{text}\" is no duration; write a number and a unit, such as 24h, 7d, 90m, 20s or 500ms");
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
    let (number, unit) = text.split_at(unit_at);
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_ms)).ok_or_else(bad)
}

/// A range of durations such as `1s-3s`, `1-3s`, or one duration.
///
/// # Errors
/// What is wrong and how to write it.
pub fn duration_range_ms(text: &str) -> Result<RangeInclusive<u64>, String> {
    let Some((from, to)) = text.split_once("..").or_else(|| text.split_once('-')) else {
        return duration_ms(text).map(|ms| ms..=ms);
    };
    let to_ms = duration_ms(to)?;
    let unit = to.trim_start_matches(|c: char| c.is_ascii_digit());
    let from_ms = if from.bytes().all(|byte| byte.is_ascii_digit()) {
        duration_ms(&format!("{from}{unit}"))?
    } else {
        duration_ms(from)?
    };
    if from_ms > to_ms {
        return Err(format!("\"{text}\" ends before it starts; write the shorter time first, such as 1s-3s"));
    }
    Ok(from_ms..=to_ms)
}

/// A share such as `0.3` or `30%`, in per mille.
///
/// # Errors
/// What is wrong and how to write it.
pub fn per_mille(text: &str) -> Result<u16, String> {
    let bad = || format!("\"{text}\" is no share; write a number from 0 to 1, such as 0.3, or 30%");
    let (number, scale) = text.strip_suffix('%').map_or((text, 1_000.0), |percent| (percent, 10.0));
    let share: f64 = number.parse().map_err(|_| bad())?;
    let per_mille = (share * scale).round();
    if (0.0..=1_000.0).contains(&per_mille) { Ok(per_mille as u16) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_shares_are_read_as_people_write_them() {
        assert_eq!(duration_ms("24h"), Ok(86_400_000));
        assert_eq!(duration_ms("7d"), Ok(604_800_000));
        assert_eq!(duration_ms("500ms"), Ok(500));
        assert_eq!(duration_range_ms("1-3s"), Ok(1_000..=3_000));
        assert_eq!(duration_range_ms("500ms..2s"), Ok(500..=2_000));
        assert_eq!(duration_range_ms("0s"), Ok(0..=0));
        assert_eq!(per_mille("30%"), Ok(300));
        assert_eq!(per_mille("0.1"), Ok(100));
    }

    #[test]
    fn what_is_neither_says_how_to_write_it() {
        for text in ["", "24", "h", "1w", "-3s", "99999999999999999999d"] {
            assert!(duration_ms(text).is_err_and(|error| error.contains("24h")), "{text}");
        }
        assert!(duration_range_ms("3s-1s").is_err_and(|error| error.contains("1s-3s")));
        assert!(duration_range_ms("1s-").is_err());
        for text in ["", "2", "110%", "-1", "nan"] {
            assert!(per_mille(text).is_err(), "{text}");
        }
    }
}
