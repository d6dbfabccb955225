//! Days and instants: `2026-11-23` to milliseconds since 1970 UTC and back.

pub const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The first instant of a day.
pub fn day_starts_ms(text: &str) -> Result<u64, String> {
    let days = (0..).take_while(|days| date_of(*days).as_str() < text).count() as u64;
    if date_of(days) == text {
        return Ok(days * DAY_MS);
    }
    Err(format!("{text} is not a day since 1970 as YYYY-MM-DD"))
}

/// An instant: the day alone if it is the day's first.
pub fn instant(at_ms: u64) -> String {
    let (day, ms) = (date_of(at_ms / DAY_MS), at_ms % DAY_MS);
    if ms == 0 {
        return day;
    }
    let (seconds, ms) = (ms / 1000, ms % 1000);
    format!("{day} {:02}:{:02}:{:02}.{ms:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The last day of a right that ends at this instant.
pub fn last_day(expires_ms: u64) -> String {
    instant((expires_ms - 1) / DAY_MS * DAY_MS)
}

/// Counted on the fingers: years, then months, until no whole one is left.
fn date_of(mut days: u64) -> String {
    let mut year = 1970;
    while days >= 365 + leap(year) {
        days -= 365 + leap(year);
        year += 1;
    }
    let months = [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= months[month] {
        days -= months[month];
        month += 1;
    }
    format!("{year}-{:02}-{:02}", month + 1, days + 1)
}

fn leap(year: u64) -> u64 {
    u64::from(year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)))
}

#[test]
fn days_are_counted_as_on_the_wall() {
    assert_eq!(day_starts_ms("1970-01-01"), Ok(0));
    assert_eq!(day_starts_ms("2000-03-01"), Ok(951_868_800_000));
    assert_eq!(day_starts_ms("2026-11-23"), Ok(1_795_392_000_000));
    assert_eq!(instant(1_795_392_000_000 - 1), "2026-11-22 23:59:59.999");
    assert_eq!(last_day(1_795_392_000_000), "2026-11-22");
    assert!(day_starts_ms("2026-02-29").is_err());
}
