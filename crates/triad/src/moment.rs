//! An instant as people write it: `2h` ago, or `2026-11-01`.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::duration;

/// An instant, perhaps counted back from the present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// So long ago.
    Ago(Duration),
    /// Milliseconds since 1970 UTC.
    At(u64),
}

impl Moment {
    /// The instant, when it is `now_ms`.
    pub fn at_ms(self, now_ms: u64) -> u64 {
        match self {
            Moment::Ago(ago) => {
                now_ms.saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX))
            }
            Moment::At(ms) => ms,
        }
    }
}

/// Reads an instant: a length of time that counts back, a day, or a day and a
/// time. Days begin, and times are, in UTC unless an offset is given.
pub fn parse(text: &str) -> Result<Moment, String> {
    if text == "now" {
        return Ok(Moment::Ago(Duration::ZERO));
    }
    let counted = text.ends_with(|letter: char| letter.is_ascii_lowercase());
    if counted && text.starts_with(|digit: char| digit.is_ascii_digit()) {
        return duration::parse(text).map(Moment::Ago);
    }
    let stamp = text.parse::<Timestamp>().ok().or_else(|| {
        let plain: DateTime = text.parse().ok()?;
        plain.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    });
    stamp.and_then(|stamp| u64::try_from(stamp.as_millisecond()).ok()).map(Moment::At).ok_or_else(
        || {
            format!(
                "{text:?} is no instant; write 2h, 30d, 2026-11-01, 2026-11-01T14:00 or \
                 2026-11-01T14:00:00+01:00"
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        let table = [
            ("2h", Moment::Ago(Duration::from_secs(7_200))),
            ("30d", Moment::Ago(Duration::from_secs(30 * 86_400))),
            ("now", Moment::Ago(Duration::ZERO)),
            ("2026-11-23", Moment::At(1_795_392_000_000)),
            ("2026-11-23T14:05", Moment::At(1_795_442_700_000)),
            ("2026-11-23 14:05:09", Moment::At(1_795_442_709_000)),
            ("2026-11-23T14:05:09Z", Moment::At(1_795_442_709_000)),
            ("2026-11-23T15:05:09+01:00", Moment::At(1_795_442_709_000)),
        ];
        for (text, moment) in table {
            assert_eq!(parse(text), Ok(moment), "{text}");
        }
        assert_eq!(Moment::Ago(Duration::from_secs(1)).at_ms(5_000), 4_000);
        assert_eq!(Moment::Ago(Duration::from_secs(9)).at_ms(5_000), 0);
        assert_eq!(Moment::At(7).at_ms(5_000), 7);
    }

    #[test]
    fn what_is_doubtful_is_refused() {
        for text in
            ["", "2", "h", "yesterday", "2026-13-01", "01.11.2026", "1969-12-31", "9999999d"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
