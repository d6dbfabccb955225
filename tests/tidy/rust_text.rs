//! Rust as text: the code of a file without its comments and literals, and
//! whether it names a path.

/// The code alone: comments and the contents of literals become blanks, so
/// that a rule may be spoken of without being broken. Line ends stay.
pub fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = literal_or_comment_end(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Where the comment or literal that begins at `at` ends; `at` if none does.
fn literal_or_comment_end(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let in_word = at > 0 && is_word(chars[at - 1]);
    match rest {
        ['/', '/', ..] => at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => at + block_comment_length(rest),
        ['"', ..] => at + quoted_length(rest, '"'),
        ['r', '"' | '#', ..] if !in_word => at + raw_string_length(rest, 1),
        ['b' | 'c', 'r', '"' | '#', ..] if !in_word => at + raw_string_length(rest, 2),
        // A quote that closes neither after one character nor after an escape
        // begins a lifetime.
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => at + quoted_length(rest, '\''),
        _ => at,
    }
}

fn block_comment_length(rest: &[char]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (at, depth) = (at + 2, depth + 1),
            ['*', '/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted_length(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    rest.len().min(at + 1)
}

/// The length of a raw string whose hashes begin at `prefix`; 0 for `r#word`.
fn raw_string_length(rest: &[char], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    let body = prefix + hashes + 1;
    if rest.get(body - 1) != Some(&'"') {
        return 0;
    }
    let closes = |at: &usize| {
        rest[*at] == '"' && rest[at + 1..].iter().take_while(|c| **c == '#').count() >= hashes
    };
    (body..rest.len()).find(closes).map_or(rest.len(), |at| at + 1 + hashes)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether the text has this word, whole.
pub fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(start, _)| {
        let before = text[..start].chars().next_back();
        let after = text[start + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Whether the code names `first::second`, also as `first::{..., second...}`
/// and with blanks between.
pub fn names_path(code: &str, first: &str, second: &str) -> bool {
    let tight = without_needless_blanks(code);
    let head = format!("{first}::");
    tight.match_indices(&head).any(|(start, _)| {
        let after = &tight[start + head.len()..];
        !tight[..start].ends_with(is_word) && first_segments(after).any(|found| found == second)
    })
}

/// The code with blanks only where two words would run together.
fn without_needless_blanks(code: &str) -> String {
    let mut tight = String::with_capacity(code.len());
    for word in code.split_whitespace() {
        if tight.ends_with(is_word) && word.starts_with(is_word) {
            tight.push(' ');
        }
        tight.push_str(word);
    }
    tight
}

/// The next segment of a path, or each first segment of a group `{a::b, c}`.
fn first_segments(after: &str) -> impl Iterator<Item = &str> {
    let word = |text: &'_ str| text.find(|c| !is_word(c)).unwrap_or(text.len());
    let mut starts = Vec::new();
    if after.starts_with('{') {
        let mut depth = 0;
        for (at, c) in after.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
            if depth == 1 && matches!(c, '{' | ',') {
                starts.push(at + 1);
            }
        }
    } else {
        starts.push(0);
    }
    starts.into_iter().map(move |at| &after[at..at + word(&after[at..])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blank_and_code_is_not() {
        let text = r###"a; // dbg!(1)
b; /* dbg!( /* nested */ dbg!( */ c; "dbg!(\" dbg!(" d; r#"dbg!(" "# e; b"dbg!(" f;
'"' g; 'x' h; '\'' i; fn j<'a>(k: &'a str) {} r#type "unterminated dbg!("###;
        let code = code_of(text);
        assert!(!code.contains("dbg!"), "{code}");
        for name in ["a;", "b;", "c;", "d;", "e;", "f;", "g;", "h;", "i;", "j<'a>(k: &'a str)"] {
            assert!(code.contains(name), "{name} is gone: {code}");
        }
        assert!(code.contains("r#type"), "{code}");
        assert_eq!(code.lines().count(), text.lines().count());
    }

    #[test]
    fn a_word_is_whole() {
        assert!(has_word("use sled::Db", "sled"));
        assert!(!has_word("bobsled untangled_sled", "sled"));
    }

    #[test]
    fn a_path_is_found_in_every_spelling() {
        for code in [
            "tokio::net::TcpStream",
            "use tokio::{io::{AsyncRead, AsyncWrite}, net::TcpListener};",
            "use tokio::{\n    net,\n};",
            "use ::tokio :: net ;",
            "return tokio::net::lookup_host(name)",
        ] {
            assert!(names_path(code, "tokio", "net"), "{code}");
        }
        for code in [
            "use tokio::{io::net, sync};",
            "use tokio::network;",
            "use my_tokio::net;",
            "tokio::io::x; {net}",
        ] {
            assert!(!names_path(code, "tokio", "net"), "{code}");
        }
    }
}
