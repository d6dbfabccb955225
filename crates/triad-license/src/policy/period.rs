//! Lengths of time as administrators write them: `500ms`, `90s`, `30m`, `4h`,
//! `7d`.

/// The longest period, in milliseconds: ten years.
pub(crate) const PERIOD_MS_MAX: u64 = 10 * 365 * 24 * 60 * 60 * 1_000;

/// From the longest to the shortest.
const UNITS: [(&str, u64); 5] =
    [("d", 24 * 60 * 60 * 1_000), ("h", 60 * 60 * 1_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads digits and a unit, as milliseconds.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit.trim_start())?;
    let period_ms = number.parse::<u64>().ok()?.checked_mul(*unit_ms)?;
    (period_ms <= PERIOD_MS_MAX).then_some(period_ms)
}

/// The same with the longest unit that leaves no rest.
pub(crate) fn show(period_ms: u64) -> String {
    let whole = UNITS.iter().find(|(_, unit_ms)| period_ms.is_multiple_of(*unit_ms));
    match whole {
        Some((unit, unit_ms)) if period_ms > 0 => format!("{}{unit}", period_ms / unit_ms),
        _ => "0s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_shown_as_they_are_read() {
        for (text, period_ms, shown) in [
            ("0s", 0, "0s"),
            ("500ms", 500, "500ms"),
            ("90s", 90_000, "90s"),
            ("120 s", 120_000, "2m"),
            ("48h", 172_800_000, "2d"),
            ("3650d", PERIOD_MS_MAX, "3650d"),
        ] {
            assert_eq!(parse(text), Some(period_ms), "{text:?}");
            assert_eq!(show(period_ms), shown);
            assert_eq!(parse(shown), Some(period_ms));
        }
        for text in ["", "5", "s", "-5s", "1.5h", "5 weeks", "5H", "3651d", "99999999999999999999d"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
