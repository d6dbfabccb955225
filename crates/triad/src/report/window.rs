//! From when to when a report looks.

/// The length of a day.
pub const DAY_MS: u64 = 86_400_000;

/// A piece of time, milliseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first instant.
    pub from_ms: u64,
    /// The first instant after it.
    pub to_ms: u64,
}

/// A piece of a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayPart {
    /// The day in which it lies, by its first instant.
    pub day_ms: u64,
    /// The first instant.
    pub from_ms: u64,
    /// The first instant after it.
    pub to_ms: u64,
}

impl Window {
    /// How long it is.
    pub fn length_ms(self) -> u64 {
        self.to_ms.saturating_sub(self.from_ms)
    }
}

/// A piece of time, cut where days begin in UTC.
pub fn by_day(from_ms: u64, to_ms: u64) -> impl Iterator<Item = DayPart> {
    let mut next_ms = from_ms;
    std::iter::from_fn(move || {
        if next_ms >= to_ms {
            return None;
        }
        let day_ms = day_of(next_ms);
        let part =
            DayPart { day_ms, from_ms: next_ms, to_ms: day_ms.saturating_add(DAY_MS).min(to_ms) };
        next_ms = part.to_ms;
        Some(part)
    })
}

/// The first instant of the day in UTC.
pub fn day_of(ms: u64) -> u64 {
    ms - ms % DAY_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight() {
        let parts: Vec<_> = by_day(DAY_MS - 10, 2 * DAY_MS + 5).collect();
        let part = |day_ms, from_ms, to_ms| DayPart { day_ms, from_ms, to_ms };
        let expected = [
            part(0, DAY_MS - 10, DAY_MS),
            part(DAY_MS, DAY_MS, 2 * DAY_MS),
            part(2 * DAY_MS, 2 * DAY_MS, 2 * DAY_MS + 5),
        ];
        assert_eq!(parts, expected);
        assert_eq!(by_day(7, 7).count(), 0);
        assert_eq!(by_day(u64::MAX - 1, u64::MAX).count(), 1);
    }
}
