//! "Did you mean": the known word nearest to a misspelt one.

/// Longer words than this are no misspelling of a keyword or a name.
const WORD_BYTES_MAX: usize = 64;

/// The known word that differs from `word` in the fewest letters, if it is
/// near enough to have been meant: one change in short words, a third of the
/// letters (at most three) in longer ones. Case does not count.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > WORD_BYTES_MAX {
        return None;
    }
    let meant = word.to_ascii_lowercase();
    let limit = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .filter(|name| name.len() <= WORD_BYTES_MAX && name.len().abs_diff(word.len()) <= limit)
        .map(|name| (distance(&meant, &name.to_ascii_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// How many letters have to be added, dropped, changed or swapped with their
/// neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut next = vec![i + 1];
        for j in 0..b.len() {
            let changed = row[j] + usize::from(a[i] != b[j]);
            let mut least = changed.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(before[j - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let known = ["RESERVE", "INCLUDE", "INCLUDEALL", "MAX", "GROUP", "HOST_GROUP"];
        for (word, meant) in [
            ("RESERV", Some("RESERVE")),
            ("reserve", Some("RESERVE")),
            ("INCULDE", Some("INCLUDE")),
            ("INCLUDE_ALL", Some("INCLUDEALL")),
            ("HOSTGROUP", Some("HOST_GROUP")),
            ("MXA", Some("MAX")),
            ("solver", None),
            ("X", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word:?}");
        }
        assert_eq!(nearest(&"R".repeat(1 << 20), known), None);
    }

    #[test]
    fn letters_are_characters() {
        assert_eq!(distance("größe", "grösse"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("ab", "ba"), 1);
    }
}
