//! Text from elsewhere, made safe to print; instants as dates.

use std::fmt::Write as _;

/// A cell of a table is one line of bounded width, whatever its owner wrote.
const CHARACTERS_MAX: usize = 300;

/// The text without what could move the cursor, colour the terminal, or
/// reorder the line. User and host names come from anybody who can connect.
pub fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars().take(CHARACTERS_MAX) {
        if acts_on_terminals(character) {
            let _ = write!(safe, "{}", character.escape_default());
        } else {
            safe.push(character);
        }
    }
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        safe.push_str("...");
    }
    safe
}

/// The same for text of several lines: line feeds stay, and nothing is cut.
pub fn printable_lines(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character != '\n' && acts_on_terminals(character) {
            let _ = write!(safe, "{}", character.escape_default());
        } else {
            safe.push(character);
        }
    }
    safe
}

/// The same for a cell of a program's table: one line, and nothing is cut.
pub fn escaped(text: &str) -> String {
    printable_lines(text).replace('\n', "\\n")
}

/// A document for a terminal: its lines and tabs stay, what acts is shown.
pub fn printable_document(text: &str) -> String {
    let lines = text.split('\t').map(printable_lines);
    lines.collect::<Vec<_>>().join("\t")
}

/// JSON that says the same and is safe to look at: such characters stand only
/// inside strings, where an escape means the same.
pub fn harmless_json(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && acts_on_terminals(character) {
            let _ = write!(safe, "\\u{:04x}", u32::from(character));
        } else {
            safe.push(character);
        }
    }
    safe
}

/// An instant as `2026-11-23 14:05:09Z`; a dash for 0, which means "none".
pub fn instant(ms: u64) -> String {
    if ms == 0 {
        return "-".to_owned();
    }
    let timestamp =
        i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    match timestamp {
        Some(timestamp) => timestamp.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        None => format!("{ms} ms"),
    }
}

/// The day of an instant for people, in UTC.
pub fn day(ms: u64) -> String {
    let instant = instant(ms);
    instant.split(' ').next().unwrap_or_default().to_owned()
}

/// So long before the end of a day it is the same day in UTC, for every zone from 10 h
/// behind it to 13 h ahead.
pub const LAST_DAY_BACK_MS: u64 = 37_800_000;
/// So long after the beginning of a day, likewise.
pub const FIRST_DAY_ON_MS: u64 = 48_600_000;

/// The last day of a right that ends at this instant, as its license names it: a right
/// ends at a midnight of the license's own zone, which the instant does not tell.
pub fn last_day(ends_ms: u64) -> String {
    day(ends_ms.saturating_sub(LAST_DAY_BACK_MS).max(1))
}

/// An instant for programs, as RFC 3339 has it: `2026-11-23T14:05:09.25Z`.
pub fn rfc3339(ms: u64) -> String {
    let timestamp =
        i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    match timestamp {
        Some(timestamp) => timestamp.to_string(),
        None => ms.to_string(),
    }
}

/// Who, as people write it: `bob@node18`. Safe to print.
pub fn person(user: &str, host: &str) -> String {
    match host {
        "" => printable(user),
        host => format!("{}@{}", printable(user), printable(host)),
    }
}

/// A word to be pasted into a shell: quoted, if it has more than plain letters.
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-.,:/@+".contains(c);
    let shown = printable(text);
    match !shown.is_empty() && shown.chars().all(is_plain) {
        true => shown,
        false => format!("'{}'", shown.replace('\'', "'\\''")),
    }
}

/// `1st`, `2nd`, `3rd`, `4th`.
pub fn ordinal(number: u64) -> String {
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// `512 B`, `1.5 GiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes;
    let mut tenths = 0;
    let mut unit = 0;
    while size >= 1_024 && unit + 1 < UNITS.len() {
        tenths = size % 1_024 * 10 / 1_024;
        size /= 1_024;
        unit += 1;
    }
    match tenths {
        0 => format!("{size} {}", UNITS[unit]),
        _ if size >= 100 => format!("{size} {}", UNITS[unit]),
        _ => format!("{size}.{tenths} {}", UNITS[unit]),
    }
}

/// `1 seat`, `2 seats`.
pub fn counted(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn acts_on_terminals(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{061C}'
                | '\u{200B}'..='\u{200F}'
                | '\u{2028}'..='\u{202E}'
                | '\u{2060}'..='\u{206F}'
                | '\u{FEFF}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_harmless() {
        let table = [
            ("bob", "bob"),
            ("Žofie 田中", "Žofie 田中"),
            ("a\x1b[31mred", "a\\u{1b}[31mred"),
            ("two\nlines\r", "two\\nlines\\r"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("eve\u{202e}nimda", "eve\\u{202e}nimda"),
        ];
        for (text, expected) in table {
            assert_eq!(printable(text), expected);
        }
        assert_eq!(printable(&"x".repeat(1_000)).len(), CHARACTERS_MAX + 3);
        assert_eq!(printable_lines("a\n\tb\x07"), "a\n\\tb\\u{7}");
    }

    #[test]
    fn json_keeps_its_meaning_and_loses_its_teeth() {
        let name = "eve\u{202e}\u{9b}2J\u{7f}\n";
        let json = serde_json::to_string(&[name]).unwrap();
        let safe = harmless_json(&json);
        assert_eq!(safe, "[\"eve\\u202e\\u009b2J\\u007f\\n\"]");
        assert_eq!(serde_json::from_str::<[String; 1]>(&safe).unwrap(), [name]);
        assert_eq!(harmless_json("{\n}"), "{\n}");
    }

    #[test]
    fn documents_keep_their_shape() {
        assert_eq!(printable_document("a\t= 1\n\u{9b}2J"), "a\t= 1\n\\u{9b}2J");
        assert_eq!(escaped("a\nb\tc"), "a\\nb\\tc");
        assert_eq!(escaped(&"x".repeat(1_000)).len(), 1_000);
    }

    #[test]
    fn what_is_pasted_into_a_shell_stays_one_word() {
        let table = [
            ("solver", "solver"),
            ("o'neil", "'o'\\''neil'"),
            ("a b", "'a b'"),
            ("$(rm)", "'$(rm)'"),
            ("", "''"),
            ("a\x1b;", "'a\\u{1b};'"),
        ];
        for (text, word) in table {
            assert_eq!(shell_word(text), word);
        }
    }

    #[test]
    fn places_in_a_line_are_counted_as_people_do() {
        let table = [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th")];
        for (number, text) in table.into_iter().chain([(21, "21st"), (113, "113th")]) {
            assert_eq!(ordinal(number), text);
        }
    }

    #[test]
    fn bytes_have_a_unit_that_fits() {
        let table = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (200 << 20, "200 MiB"),
            ((200 << 20) + (1 << 19), "200 MiB"),
            (u64::MAX, "16777215 TiB"),
        ];
        for (number, text) in table {
            assert_eq!(bytes(number), text);
        }
    }

    #[test]
    fn the_last_day_is_the_one_that_the_license_names() {
        for (zone, ends) in [
            ("UTC", "2026-12-03T00:00Z"),
            ("Europe/Berlin", "2026-12-02T23:00Z"),
            ("Asia/Kolkata", "2026-12-02T18:30Z"),
            ("Pacific/Auckland", "2026-12-02T11:00Z"),
            ("America/New_York", "2026-12-03T05:00Z"),
            ("Pacific/Honolulu", "2026-12-03T10:00Z"),
        ] {
            let ends: jiff::Timestamp = ends.parse().unwrap();
            assert_eq!(last_day(ends.as_millisecond() as u64), "2026-12-02", "{zone}");
        }
    }

    #[test]
    fn instants_are_dates_in_utc() {
        assert_eq!(rfc3339(1_795_442_709_250), "2026-11-23T14:05:09.25Z");
        assert_eq!(instant(0), "-");
        assert_eq!(instant(1_795_442_709_000), "2026-11-23 14:05:09Z");
        assert_eq!(instant(u64::MAX), format!("{} ms", u64::MAX));
    }
}
