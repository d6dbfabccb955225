//! Times and amounts as people read them.

use triad_license::Day;

/// An instant, ms since 1970 UTC: `2026-11-28 16:20:31`.
pub(super) fn instant(ms: u64) -> String {
    let of_day = ms / 1_000 % 86_400;
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{} {hour:02}:{minute:02}:{second:02}", day(ms))
}

/// An instant for programs, as the command line has it: `2026-11-28T16:20:31.25Z`.
pub(super) fn rfc3339(ms: u64) -> String {
    let fraction = match ms % 1_000 {
        0 => String::new(),
        ms => format!(".{ms:03}").trim_end_matches('0').to_owned(),
    };
    format!("{}{fraction}Z", instant(ms).replacen(' ', "T", 1))
}

/// The day of an instant: `2026-11-28`.
pub(super) fn day(ms: u64) -> String {
    Day::in_utc(ms).map_or_else(|| "far away".to_owned(), |day| day.to_string())
}

/// The last day of what ends at an instant, as its license names it: `2026-11-27`.
pub(super) fn last_day(ends_ms: u64) -> String {
    day(ends_ms.saturating_sub(1))
}

/// A length of time, in the two largest units that say something.
pub(super) fn length(ms: u64) -> String {
    let (s, min, h, days) = (ms / 1_000, ms / 60_000, ms / 3_600_000, ms / 86_400_000);
    match () {
        () if ms < 1_000 => format!("{ms} ms"),
        () if s < 60 => format!("{s} s"),
        () if min < 60 => format!("{min} min"),
        () if h < 48 => format!("{h} h {} min", min % 60),
        () => format!("{days} days"),
    }
}

/// A number of bytes.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut left = bytes;
    while left >= 10_240 && unit + 1 < UNITS.len() {
        left /= 1_024;
        unit += 1;
    }
    format!("{left} {}", UNITS[unit])
}

/// So many of something: `1 node`, `3 nodes`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_amounts_read_well() {
        assert_eq!(instant(1_798_761_600_000 + 3_723_456), "2027-01-01 01:02:03");
        assert_eq!(rfc3339(1_798_761_600_000), "2027-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_798_761_600_000 + 3_723_050), "2027-01-01T01:02:03.05Z");
        for (ms, expected) in [
            (999, "999 ms"),
            (59_999, "59 s"),
            (90_000, "1 min"),
            (21_000_000, "5 h 50 min"),
            (172_800_000, "2 days"),
        ] {
            assert_eq!(length(ms), expected);
        }
        assert_eq!((bytes(10_239), bytes(3 << 30)), ("10239 B".to_owned(), "3072 MiB".to_owned()));
        assert_eq!(count(1, "node", "nodes"), "1 node");
    }
}
