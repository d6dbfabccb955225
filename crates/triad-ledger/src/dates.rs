//! Days as people write them: `2026-11-23`, in UTC.

use core::fmt;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Days from 0000-03-01 to 1970-01-01. With years that begin in March the leap
/// day is the last of its year, and every period below has it at its end.
const MARCH_0000_TO_1970_DAYS: u64 = 719_468;
const FOUR_CENTURIES_DAYS: u64 = 146_097;
const CENTURY_DAYS: u64 = 36_524;
const FOUR_YEARS_DAYS: u64 = 1_461;
const YEAR_DAYS: u64 = 365;
/// From March to January; what is left is February.
const MONTHS_DAYS: [u64; 11] = [31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 31];

/// A day of the Gregorian calendar, shown as `YYYY-MM-DD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Day {
    year: u64,
    month: u64,
    day: u64,
}

/// A right begins and ends at a midnight of its license's own zone, which the instant does not tell.
/// So long before its end it is its last day in UTC, and so long after its beginning its first, for
/// every zone from 10 h behind it to 13 h ahead.
const LAST_DAY_BACK_MS: u64 = 37_800_000;
const FIRST_DAY_ON_MS: u64 = 48_600_000;

impl Day {
    /// The last day of a right that is over at this instant.
    pub(crate) fn last_before(ends_ms: u64) -> Self {
        Day::of(ends_ms.saturating_sub(LAST_DAY_BACK_MS))
    }

    /// The first day of a right that begins at this instant.
    pub(crate) fn first_from(starts_ms: u64) -> Self {
        Day::of(starts_ms.saturating_add(FIRST_DAY_ON_MS))
    }

    /// The day of this instant, ms since 1970 UTC.
    pub(crate) fn of(at_ms: u64) -> Self {
        let mut days = at_ms / DAY_MS + MARCH_0000_TO_1970_DAYS;
        let mut year = days / FOUR_CENTURIES_DAYS * 400;
        days %= FOUR_CENTURIES_DAYS;
        // The last century of the four, and the last year of four, have one day
        // more: it is theirs and begins no fifth.
        let centuries = (days / CENTURY_DAYS).min(3);
        days -= centuries * CENTURY_DAYS;
        year += centuries * 100 + days / FOUR_YEARS_DAYS * 4;
        days %= FOUR_YEARS_DAYS;
        let years = (days / YEAR_DAYS).min(3);
        days -= years * YEAR_DAYS;
        year += years;
        let mut months = 0;
        for length in MONTHS_DAYS {
            if days < length {
                break;
            }
            days -= length;
            months += 1;
        }
        // January and February belong to the next year of the calendar.
        let (month, year) = if months < 10 { (months + 3, year) } else { (months - 9, year + 1) };
        Day { year, month, day: days + 1 }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    fn day(days: u64) -> std::string::String {
        Day::of(days * DAY_MS).to_string()
    }

    #[test]
    fn days_that_everyone_can_check() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(Day::of(1_795_392_000_000).to_string(), "2026-11-23");
        assert_eq!(Day::of(1_795_392_000_000 - 1).to_string(), "2026-11-22");
        assert_eq!(Day::of(951_782_400_000).to_string(), "2000-02-29");
        assert_eq!(Day::of(253_402_300_799_999).to_string(), "9999-12-31");
        assert_eq!(Day::of(u64::MAX).to_string(), "584556019-04-03");
    }

    /// In Honolulu, Greenwich and Auckland.
    #[test]
    fn a_right_has_the_days_of_its_own_zone() {
        let midnight = 1_795_392_000_000_u64;
        for hours in [-13, 0, 10] {
            let here = midnight.saturating_add_signed(hours * 3_600_000_i64);
            assert_eq!(Day::last_before(here).to_string(), "2026-11-22");
            assert_eq!(Day::first_from(here).to_string(), "2026-11-23");
        }
    }

    /// Day by day through a thousand years, by the rules of the calendar.
    #[test]
    fn each_day_is_followed_by_the_next() {
        let mut expected = Day { year: 1970, month: 1, day: 1 };
        for days in 0..365_250 {
            assert_eq!(Day::of(days * DAY_MS), expected);
            assert_eq!(Day::of(days * DAY_MS + DAY_MS - 1), expected);
            let Day { year, month, day } = expected;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let length = match month {
                2 if leap => 29,
                2 => 28,
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (month, day) {
                (12, 31) => Day { year: year + 1, month: 1, day: 1 },
                _ if day == length => Day { year, month: month + 1, day: 1 },
                _ => Day { year, month, day: day + 1 },
            };
        }
    }
}
