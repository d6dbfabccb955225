//! Lengths of time as people write and read them (`300ms`, `5s`, `2m`), and
//! waiting until one is over.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Nobody waits longer, and sums of two cannot overflow.
const DAYS_MAX: u64 = 366;

/// Waits until a time; for ever where there is none. Cancel safe.
pub async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Reads a length of time: a whole number and `ms`, `s`, `m`, `h` or `d`.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a length of time; write 300ms, 5s, 2m, 1h or 1d");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let longest_ms = DAYS_MAX * 86_400_000;
    match number.checked_mul(unit_ms) {
        Some(0) => Err("must be longer than nothing; write 300ms, 5s or 2m".to_owned()),
        Some(ms) if ms <= longest_ms => Ok(Duration::from_millis(ms)),
        _ => Err(format!("must not be longer than {DAYS_MAX} days")),
    }
}

/// A length of time for a person: two units at most, none of them zero.
pub fn show_ms(ms: u64) -> String {
    let (seconds, minutes, hours) = (ms / 1_000, ms / 60_000, ms / 3_600_000);
    let two = |big: u64, big_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big} {big_unit}"),
        _ => format!("{big} {big_unit} {small} {small_unit}"),
    };
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 if ms % 1_000 / 100 == 0 => format!("{seconds} s"),
        1_000..60_000 => format!("{seconds}.{} s", ms % 1_000 / 100),
        60_000..3_600_000 => two(minutes, "min", seconds % 60, "s"),
        3_600_000..86_400_000 => two(hours, "h", minutes % 60, "min"),
        _ => two(hours / 24, "d", hours % 24, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        let table = [("300ms", 300), ("5s", 5_000), ("2m", 120_000), ("1h", 3_600_000)];
        for (text, ms) in table {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_doubtful_is_refused() {
        let long = "9".repeat(30) + "s";
        for text in ["", "5", "s", "5 s", "-5s", "+5s", "1.5s", "5S", "0s", "367d", &long, "５s"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn two_units_are_shown_at_most() {
        let table = [
            (0, "0 ms"),
            (999, "999 ms"),
            (1_000, "1 s"),
            (4_250, "4.2 s"),
            (60_000, "1 min"),
            (61_999, "1 min 1 s"),
            (21_000_000, "5 h 50 min"),
            (183_600_000, "2 d 3 h"),
        ];
        for (ms, text) in table {
            assert_eq!(show_ms(ms), text);
        }
    }
}
