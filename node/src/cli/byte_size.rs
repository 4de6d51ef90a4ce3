//! Amounts of data as people write them: `512MiB`, `20 GB`, `4096` (bytes).

/// Reads an amount of data in bytes.
///
/// # Errors
/// A sentence that says what is accepted.
pub fn parse_byte_size(text: &str) -> Result<u64, String> {
    let refuse = || format!("{text:?} is not an amount such as 500MB, 512MiB or 4GiB");
    let text_only = text.trim();
    let digits = text_only.len() - text_only.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text_only.split_at(digits);
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(refuse()),
    };
    number.checked_mul(factor).ok_or_else(refuse)
}

/// Writes an amount of data: `0 B`, `83.0 MiB`.
#[must_use]
pub fn describe_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1 << 10 {
        return format!("{bytes} B");
    }
    let (mut unit, mut size) = (0, 1_u64 << 10);
    while unit + 1 < UNITS.len() && bytes / size >= 1_024 {
        size <<= 10;
        unit += 1;
    }
    let tenths = u128::from(bytes) * 10 / u128::from(size);
    let name = UNITS.get(unit).copied().unwrap_or("TiB");
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_binary_and_decimal_units() {
        let cases = [
            ("4096", 4_096),
            ("1kb", 1_000),
            ("1KiB", 1_024),
            ("20 MiB", 20 << 20),
            ("5G", 5 << 30),
            ("2GB", 2_000_000_000),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_byte_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5G", "1XB", "99999999999G"] {
            assert!(parse_byte_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_are_written_in_the_unit_that_fits() {
        assert_eq!(describe_bytes(0), "0 B");
        assert_eq!(describe_bytes(1_023), "1023 B");
        assert_eq!(describe_bytes(1_536), "1.5 KiB");
        assert_eq!(describe_bytes(83 << 20), "83.0 MiB");
        assert_eq!(describe_bytes(u64::MAX), "16777215.9 TiB");
    }
}
