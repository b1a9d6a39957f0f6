//! Durations and sizes as people write them.

use std::time::Duration;

const DURATIONS: &[(&str, u64)] = &[
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads `"15m"`, `"250ms"`, `"1h30m"`: whole numbers with a unit of `d h m s ms`, largest first.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut total: u64 = 0;
    let mut rest = text;
    let mut larger = u64::MAX;
    while !rest.is_empty() {
        let (count, tail) = number(rest)?;
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let millis = unit_of(DURATIONS, unit).filter(|&millis| millis < larger)?;
        total = total.checked_add(count.checked_mul(millis)?)?;
        (larger, rest) = (millis, tail);
    }
    (!text.is_empty()).then(|| Duration::from_millis(total))
}

/// Reads `"10GiB"`, `"64KiB"`, `"1MB"`, `"512B"`: bytes. KiB counts in 1024, KB in 1000.
pub fn parse_size(text: &str) -> Option<u64> {
    let (count, unit) = number(text)?;
    count.checked_mul(unit_of(SIZES, unit)?)
}

/// The duration as [`parse_duration`] reads it.
pub fn duration_text(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut out = String::new();
    for (unit, millis) in DURATIONS {
        if rest >= *millis {
            out += &format!("{}{unit}", rest / millis);
            rest %= millis;
        }
    }
    if out.is_empty() { "0s".into() } else { out }
}

/// The size as [`parse_size`] reads it, in the largest unit that divides it.
pub fn size_text(bytes: u64) -> String {
    SIZES
        .iter()
        .find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(|| "0B".into(), |(name, unit)| format!("{}{name}", bytes / unit))
}

fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

fn unit_of(units: &[(&str, u64)], name: &str) -> Option<u64> {
    units.iter().find(|(unit, _)| *unit == name).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        let millis = |text| parse_duration(text).map(|d| d.as_millis());
        assert_eq!(millis("15m"), Some(900_000));
        assert_eq!(millis("250ms"), Some(250));
        assert_eq!(millis("1h30m"), Some(5_400_000));
        assert_eq!(millis("0s"), Some(0));
        for wrong in [
            "",
            "15",
            "m",
            "1m1h",
            "1h1h",
            "1.5h",
            "-1s",
            "1 h",
            "99999999999999999999s",
        ] {
            assert_eq!(millis(wrong), None, "{wrong}");
        }
        for text in ["15m", "250ms", "1h30m", "30d", "1s500ms", "0s"] {
            assert_eq!(parse_duration(text).map(duration_text).as_deref(), Some(text));
        }
    }

    #[test]
    fn sizes_are_read_and_shown() {
        assert_eq!(parse_size("10GiB"), Some(10 << 30));
        assert_eq!(parse_size("64KiB"), Some(65_536));
        assert_eq!(parse_size("1MB"), Some(1_000_000));
        for wrong in ["", "64", "KiB", "1kb", "1.5GiB", "99999999999TiB"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
        for text in ["10GiB", "64KiB", "1MB", "1B", "0B"] {
            assert_eq!(parse_size(text).map(size_text).as_deref(), Some(text));
        }
    }
}
