//! Lengths of time as people write them: `30s`, `5m`, `1h`, `7d`, `2w`, `1h30m`, and `500ms`.

use std::time::Duration;

/// Longest duration accepted: ten years. Anything longer is a slip of the finger.
const SECONDS_MAX: u64 = 10 * 366 * 24 * 3_600;

/// Reads a duration. A bare number is refused, since nobody can tell seconds from days.
///
/// # Errors
/// A sentence that says what is accepted.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("{text:?} is not a duration such as 30s, 5m, 1h or 7d");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(refuse());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, after) = after.split_at(letters);
        let number: u64 = number.parse().map_err(|_| refuse())?;
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return Err(refuse()),
        };
        let part = Duration::from_millis(number.checked_mul(milliseconds).ok_or_else(refuse)?);
        total = total.checked_add(part).ok_or_else(refuse)?;
        rest = after;
    }
    if total.as_secs() > SECONDS_MAX {
        return Err(format!("{text:?} is longer than ten years"));
    }
    Ok(total)
}

/// Reads a duration or `never`, which is `None`.
///
/// # Errors
/// A sentence that says what is accepted.
pub fn parse_duration_or_never(text: &str) -> Result<Lasting, String> {
    match text.trim() {
        "never" | "forever" | "off" => Ok(Lasting::Forever),
        other => parse_duration(other)
            .map(Lasting::For)
            .map_err(|_| format!("{text:?} is neither a duration such as 7d nor `never`")),
    }
}

/// How long something is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// Until it is deleted by hand.
    Forever,
    /// For so long.
    For(Duration),
}

impl Lasting {
    /// Seconds as the API has them: 0 is for ever.
    #[must_use]
    pub fn seconds(self) -> u64 {
        match self {
            Lasting::Forever => 0,
            Lasting::For(duration) => duration.as_secs(),
        }
    }
}

/// Writes a number of seconds in the two largest units that fit: `3 d 4 h`, `5 min`, `0 s`.
#[must_use]
pub fn describe_seconds(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds % 86_400 / 3_600);
    let (minutes, rest) = (seconds % 3_600 / 60, seconds % 60);
    let parts: [(u64, &str); 4] = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")];
    let words: Vec<String> =
        parts.iter().filter(|(n, _)| *n > 0).take(2).map(|(n, unit)| format!("{n} {unit}")).collect();
    if words.is_empty() { "0 s".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_unit_has_its_length() {
        let cases = [
            ("250ms", 250),
            ("30s", 30_000),
            ("5m", 300_000),
            ("5min", 300_000),
            ("1h", 3_600_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
            ("2w", 1_209_600_000),
            ("0s", 0),
            ("1h30m", 5_400_000),
            (" 30s ", 30_000),
        ];
        for (text, milliseconds) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in
            ["", " ", "30", "s", "-5s", "1.5h", "5 m", "7D", "1y", "30s!", "1h30", "٣s", "99999999999999999999s"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn absurd_lengths_are_refused_without_overflow() {
        for text in ["18446744073709551615d", "18446744073709551615ms1s", "5000d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn never_is_zero_seconds_for_the_api() {
        assert_eq!(parse_duration_or_never("never").map(Lasting::seconds), Ok(0));
        assert_eq!(parse_duration_or_never("7d").map(Lasting::seconds), Ok(604_800));
        assert!(parse_duration_or_never("sometimes").is_err());
    }

    #[test]
    fn durations_are_described_by_their_two_largest_units() {
        assert_eq!(describe_seconds(0), "0 s");
        assert_eq!(describe_seconds(59), "59 s");
        assert_eq!(describe_seconds(3_600), "1 h");
        assert_eq!(describe_seconds(90_061), "1 d 1 h");
        assert_eq!(describe_seconds(604_800), "7 d");
    }
}
