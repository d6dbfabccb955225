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
    fn instants_are_dates_in_utc() {
        assert_eq!(instant(0), "-");
        assert_eq!(instant(1_795_442_709_000), "2026-11-23 14:05:09Z");
        assert_eq!(instant(u64::MAX), format!("{} ms", u64::MAX));
    }
}
