//! Days and zones: a license counts in whole days, the ledger in milliseconds.

use std::fmt;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};

/// The zones that were compiled in. The machine's own are never asked, so that
/// all nodes agree on the instant at which a day ends.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A calendar day, written `2026-12-31`. Which instants it spans depends on
/// the [`Zone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(Date);

impl Day {
    /// The last day of the year 9999. Its end is out of range.
    pub(crate) const LAST: Day = Day(Date::MAX);

    /// Reads `2026-12-31`; `None` if it is not a day.
    pub fn parse(text: &str) -> Option<Self> {
        let date = text.parse::<Date>().ok()?;
        // jiff also reads whole timestamps and other spellings.
        (date.to_string() == text).then_some(Day(date))
    }

    /// The day that it is at `now_ms` (ms since 1970 UTC) in UTC; `None`
    /// beyond the year 9999.
    pub fn in_utc(now_ms: u64) -> Option<Self> {
        let now = Timestamp::from_millisecond(i64::try_from(now_ms).ok()?).ok()?;
        Some(Day(now.to_zoned(TimeZone::UTC).date()))
    }

    /// The day after; `None` after the last day of the year 9999.
    pub fn tomorrow(self) -> Option<Self> {
        self.0.tomorrow().ok().map(Day)
    }

    pub(crate) fn from_toml(date: toml::value::Date) -> Option<Self> {
        let year = i16::try_from(date.year).ok()?;
        let month = i8::try_from(date.month).ok()?;
        Date::new(year, month, i8::try_from(date.day).ok()?).ok().map(Day)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A time zone by its IANA name, such as `Europe/Berlin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Zone {
    /// Finds a zone by its IANA name; `None` if there is none.
    pub fn parse(name: &str) -> Option<Self> {
        ZONES
            .get(name)
            .ok()
            .filter(|zone| !zone.is_unknown() && zone.iana_name().is_some())
            .map(Zone)
    }

    /// Coordinated Universal Time.
    pub fn utc() -> Self {
        Zone(TimeZone::UTC)
    }

    /// The first instant of `day`, ms since 1970 UTC; `None` if that is before
    /// 1970 or out of range.
    pub fn starts_ms(&self, day: Day) -> Option<u64> {
        // Where the clocks skip midnight, jiff gives the first instant after
        // the gap, which is when that day begins.
        let zoned = day.0.to_zoned(self.0.clone()).ok()?;
        u64::try_from(zoned.timestamp().as_millisecond()).ok()
    }

    /// The first instant after `day`, ms since 1970 UTC; `None` as for
    /// [`Zone::starts_ms`].
    pub fn ends_ms(&self, day: Day) -> Option<u64> {
        self.starts_ms(day.tomorrow()?)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.iana_name().unwrap_or("UTC"))
    }
}

/// `2027-01-01T05:00:00Z`, or the bare number where there is no such date.
pub(crate) fn instant(at_ms: u64) -> String {
    let timestamp = i64::try_from(at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    timestamp.map_or_else(|| format!("{at_ms} ms"), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(zone: &str, day: &str) -> String {
        let zone = Zone::parse(zone).expect(zone);
        instant(zone.ends_ms(Day::parse(day).expect(day)).expect("in range"))
    }

    #[test]
    fn a_day_ends_when_the_next_begins_in_its_zone() {
        assert_eq!(ends("UTC", "2026-12-31"), "2027-01-01T00:00:00Z");
        assert_eq!(ends("America/New_York", "2026-12-31"), "2027-01-01T05:00:00Z");
        assert_eq!(ends("America/New_York", "2026-06-30"), "2026-07-01T04:00:00Z");
        assert_eq!(ends("Asia/Kolkata", "2026-12-31"), "2026-12-31T18:30:00Z");
    }

    #[test]
    fn days_whose_midnight_or_whole_is_skipped_have_a_beginning() {
        // Santiago went from 24:00 on 2024-09-07 straight to 01:00.
        assert_eq!(ends("America/Santiago", "2024-09-07"), "2024-09-08T04:00:00Z");
        // Samoa had no 2011-12-30.
        assert_eq!(ends("Pacific/Apia", "2011-12-29"), "2011-12-30T10:00:00Z");
        assert_eq!(ends("Pacific/Apia", "2011-12-30"), "2011-12-30T10:00:00Z");
    }

    #[test]
    fn only_days_are_days_and_only_zones_are_zones() {
        for text in
            ["", "2026-13-01", "2026-02-29", "2026-1-1", "2026-01-01T00:00", "20260101", "today"]
        {
            assert_eq!(Day::parse(text), None, "{text:?}");
        }
        for name in ["", "Mars/Olympus", "Etc/Unknown", "../UTC", "EST5EDT4,M3.2.0,M11.1.0"] {
            assert_eq!(Zone::parse(name), None, "{name:?}");
        }
        assert_eq!(Zone::parse("UTC").expect("bundled").to_string(), "UTC");
    }

    #[test]
    fn the_ends_of_time_are_refused_rather_than_wrapped() {
        let utc = Zone::utc();
        assert_eq!(utc.ends_ms(Day::parse("9999-12-31").expect("a day")), None);
        assert_eq!(utc.starts_ms(Day::parse("1969-12-31").expect("a day")), None);
        assert_eq!(Day::in_utc(u64::MAX), None);
        assert_eq!(Day::in_utc(0).expect("a day").to_string(), "1970-01-01");
    }
}
