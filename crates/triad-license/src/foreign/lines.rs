//! The lines of a FlexNet-style text: continuations joined, comments set
//! apart, words split with their quotes removed, each with its place.

use std::borrow::Cow;
use std::ops::Range;

/// The format's own bound on a joined line, in characters. Longer ones are
/// read all the same, and said.
pub(crate) const LINE_CHARACTERS_MAX: usize = 4_000;

/// One line after joining: a statement or a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Its first physical line, counted from 1.
    pub(crate) first: usize,
    /// Its last physical line.
    pub(crate) last: usize,
    /// Its bytes in the text.
    pub(crate) span: Range<usize>,
    /// The words; none in a comment.
    pub(crate) words: Vec<Word>,
    /// What is doubtful about the way it is written.
    pub(crate) doubts: Vec<Doubt>,
}

/// One word, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    /// Its bytes in the text, quotes included.
    pub(crate) span: Range<usize>,
}

/// What is doubtful about the way a line is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// A `#` in a continued line. Other readers take it for a word.
    CommentInside(Range<usize>),
    /// A comment that ends in a backslash; the next line is read.
    CommentContinued(Range<usize>),
    /// A quote that is not closed on its line.
    OpenQuote(Range<usize>),
    /// Blanks after the backslash.
    BlankAfterBackslash(Range<usize>),
    /// A backslash on the last line of the file.
    NothingContinues(Range<usize>),
    /// Longer than [`LINE_CHARACTERS_MAX`].
    Long(Range<usize>),
}

impl Doubt {
    /// Where it stands, and the sentence about it.
    pub(crate) fn told(&self) -> (&Range<usize>, &'static str, &'static str) {
        match self {
            Doubt::CommentInside(at) => (
                at,
                "a comment inside a line: other readers take it for words of the line",
                "it was skipped here; put comments on lines of their own",
            ),
            Doubt::CommentContinued(at) => (
                at,
                "a comment ends in a backslash: other readers skip the next line with it",
                "the next line was read here; remove the backslash",
            ),
            Doubt::OpenQuote(at) => {
                (at, "a quote is not closed", "it was read to the end of its line; close it")
            }
            Doubt::BlankAfterBackslash(at) => (
                at,
                "blanks stand after the backslash: other readers do not continue the line",
                "it was continued here; remove the blanks",
            ),
            Doubt::NothingContinues(at) => {
                (at, "the last line ends in a backslash", "nothing follows; is a line missing?")
            }
            Doubt::Long(at) => (
                at,
                "the line has more than 4,000 characters, which other readers cut off",
                "it was read whole here",
            ),
        }
    }
}

/// The text of a file of any bytes: UTF-8, UTF-16 with its mark, or else
/// Latin-1, in which every byte is a character.
pub(crate) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)),
        [0xFE, 0xFF, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text.strip_prefix('\u{FEFF}').unwrap_or(text)),
            Err(_) => Cow::Owned(bytes.iter().map(|byte| char::from(*byte)).collect()),
        },
    }
}

/// All lines of `text` that are not blank, in order.
pub(crate) fn lines(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut open: Option<Line> = None;
    let (mut offset, mut number) = (0, 0);
    for physical in text.split_inclusive('\n') {
        number += 1;
        let start = offset;
        offset += physical.len();
        let content = physical.trim_end_matches(['\n', '\r']);
        let continued = open.is_some();
        if content.trim().is_empty() {
            lines.extend(open.take());
            continue;
        }
        let begin = start + (content.len() - content.trim_start().len());
        let end = start + content.trim_end().len();
        let line = open.get_or_insert_with(|| Line {
            first: number,
            last: number,
            span: begin..end,
            words: Vec::new(),
            doubts: Vec::new(),
        });
        line.last = number;
        line.span.end = end;
        let body = content.trim_end();
        let continues = body.ends_with('\\');
        let comment = content.trim_start().starts_with('#');
        if comment && !continued {
            if continues {
                line.doubts.push(Doubt::CommentContinued(begin..end));
            }
            lines.extend(open.take());
            continue;
        }
        if continues && body.len() < content.len() {
            line.doubts.push(Doubt::BlankAfterBackslash(end - 1..start + content.len()));
        }
        let body = body.strip_suffix('\\').unwrap_or(body);
        words(body, start, line);
        if !continues {
            lines.extend(open.take());
        }
    }
    if let Some(mut line) = open {
        line.doubts.push(Doubt::NothingContinues(line.span.end - 1..line.span.end));
        lines.push(line);
    }
    for line in &mut lines {
        if text[line.span.clone()].chars().nth(LINE_CHARACTERS_MAX).is_some() {
            line.doubts.push(Doubt::Long(line.span.clone()));
        }
    }
    lines
}

/// Adds the words of one physical line that begins at byte `start`.
fn words(body: &str, start: usize, line: &mut Line) {
    let mut word: Option<Word> = None;
    let mut quote: Option<usize> = None;
    for (at, character) in body.char_indices() {
        let at = start + at;
        let end = at + character.len_utf8();
        if quote.is_none() && character.is_whitespace() {
            line.words.extend(word.take());
            continue;
        }
        if word.is_none() && character == '#' {
            line.doubts.push(Doubt::CommentInside(at..start + body.len()));
            return;
        }
        let word = word.get_or_insert_with(|| Word { text: String::new(), span: at..at });
        word.span.end = end;
        if character == '"' {
            quote = if quote.is_some() { None } else { Some(at) };
        } else {
            word.text.push(character);
        }
    }
    if let Some(at) = quote {
        line.doubts.push(Doubt::OpenQuote(at..start + body.len()));
    }
    line.words.extend(word);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &Line) -> Vec<&str> {
        line.words.iter().map(|word| word.text.as_str()).collect()
    }

    #[test]
    fn continued_lines_are_one_and_comments_are_none() {
        let text = "# head\n\nGROUP cfd anna \\\n  ben\\\n\tcarl\nMAX 2 f USER x\n";
        let lines = lines(text);
        assert_eq!(lines.len(), 3);
        assert_eq!((lines[0].first, texts(&lines[0]).len()), (1, 0));
        assert_eq!(texts(&lines[1]), ["GROUP", "cfd", "anna", "ben", "carl"]);
        assert_eq!((lines[1].first, lines[1].last), (3, 5));
        assert_eq!(texts(&lines[2]), ["MAX", "2", "f", "USER", "x"]);
        assert!(lines.iter().all(|line| line.doubts.is_empty()));
        assert_eq!(&text[lines[1].words[4].span.clone()], "carl");
    }

    #[test]
    fn quotes_keep_blanks_and_backslashes_are_letters() {
        let lines = lines("INCLUDE f:VENDOR_STRING=\"a b\" USER \"ACME\\Anna B\" HOST \"\"\r\n");
        let words = ["INCLUDE", "f:VENDOR_STRING=a b", "USER", "ACME\\Anna B", "HOST", ""];
        assert_eq!(texts(&lines[0]), words);
    }

    #[test]
    fn what_other_readers_read_differently_is_a_doubt() {
        type Expected = fn(&Doubt) -> bool;
        let table: [(&str, Expected); 6] = [
            ("GROUP g a \\\n# b \\\nc", |d| matches!(d, Doubt::CommentInside(_))),
            ("MAX 1 f USER a # note", |d| matches!(d, Doubt::CommentInside(_))),
            ("# note \\\nMAX 1 f USER a", |d| matches!(d, Doubt::CommentContinued(_))),
            ("GROUP g a \\ \nb", |d| matches!(d, Doubt::BlankAfterBackslash(_))),
            ("GROUP g \"a b", |d| matches!(d, Doubt::OpenQuote(_))),
            ("GROUP g a \\", |d| matches!(d, Doubt::NothingContinues(_))),
        ];
        for (text, expected) in table {
            let lines = lines(text);
            assert!(lines.iter().flat_map(|line| &line.doubts).any(expected), "{text:?}");
        }
        assert_eq!(texts(&lines("GROUP g a \\\n# b \\\nc")[0]), ["GROUP", "g", "a", "c"]);
        let long = format!("GROUP g {}", "x ".repeat(4_000));
        assert!(matches!(lines(&long)[0].doubts[..], [Doubt::Long(_)]));
    }

    #[test]
    fn files_of_other_encodings_are_read() {
        assert_eq!(decode("\u{FEFF}a".as_bytes()), "a");
        assert_eq!(decode(b"M\xFCller"), "Müller");
        assert_eq!(decode(b"\xFF\xFEM\0A\0X\0"), "MAX");
        assert_eq!(decode(b"\xFE\xFF\0M\0A\0X\0"), "MAX");
    }
}
