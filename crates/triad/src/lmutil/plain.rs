//! Words that cannot be mistaken. Names come from anybody who can connect, and
//! the readers of this text split it at blanks and parentheses: nobody shall
//! appear as two users, as a feature, or as a reservation.

/// A longer name is cut: readers have fixed fields.
const LETTERS_MAX: usize = 64;

/// A user, on one word.
pub fn user(text: &str) -> String {
    word(text, "._-\\@+$~", "unknown")
}

/// A display, on one word.
pub fn display(text: &str) -> String {
    word(text, "._-/:", "/dev/tty")
}

/// A group or another subject of a reservation, on one word.
pub fn subject(text: &str) -> String {
    word(text, "._-", "unknown")
}

/// A vendor's daemon: letters, digits and underscores.
pub fn vendor(text: &str) -> String {
    word(text, "_", "triad")
}

/// A host: labels of letters, digits and dashes.
pub fn host(text: &str) -> String {
    let good = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let labels = text.split('.').map(|label| label.chars().map(good).collect::<String>());
    let named: Vec<String> = labels.filter(|label| !label.is_empty()).collect();
    let name: String = named.join(".").chars().take(LETTERS_MAX).collect();
    match name.trim_end_matches('.') {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}

/// A text on one line.
pub fn line(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// Digits and dots: a version without what comes after them.
pub fn version(text: &str) -> String {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    match text[..end].trim_matches('.') {
        "" => "0".to_owned(),
        version => version.to_owned(),
    }
}

fn word(text: &str, besides: &str, instead: &str) -> String {
    let good = |c: char| match c.is_ascii_alphanumeric() || besides.contains(c) {
        true => c,
        false => '_',
    };
    match text.is_empty() {
        true => instead.to_owned(),
        false => text.chars().take(LETTERS_MAX).map(good).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_one_word() {
        let table = [
            ("ann", "ann"),
            ("DOM\\ann.smith", "DOM\\ann.smith"),
            ("John Doe", "John_Doe"),
            ("a\nUsers of x:  (Total", "a_Users_of_x___(Total".replace('(', "_").leak()),
            ("8 RESERVATIONs", "8_RESERVATIONs"),
            ("\x1b[2J\u{17d}", "__2J_"),
            ("", "unknown"),
        ];
        for (text, expected) in table {
            assert_eq!(user(text), expected, "{text:?}");
        }
        assert_eq!(user(&"x".repeat(1_000)).len(), LETTERS_MAX);
        assert_eq!(display(":0.0 (v9)"), ":0.0__v9_");
        assert_eq!(display(""), "/dev/tty");
        assert_eq!(host("n1.example.com"), "n1.example.com");
        assert_eq!(host("..my_host (v1)\n."), "my-host--v1--");
        assert_eq!(host("\u{202e}"), "-");
        assert_eq!(host("..."), "unknown");
        assert_eq!(vendor("Acme CFD, Inc."), "Acme_CFD__Inc_");
    }

    #[test]
    fn versions_are_digits_and_dots() {
        for (text, expected) in [("0.1.0-rc.1", "0.1.0"), ("2026.1", "2026.1"), ("", "0")] {
            assert_eq!(version(text), expected);
        }
    }
}
