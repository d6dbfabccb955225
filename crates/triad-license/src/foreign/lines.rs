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
    /// A quotation mark as word processors set it.
    CurlyQuote(Range<usize>),
    /// Blanks after the backslash.
    BlankAfterBackslash(Range<usize>),
    /// A backslash on the last line of the file.
    NothingContinues(Range<usize>),
    /// A line that goes on in the next without a backslash.
    NoBackslash(Range<usize>),
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
            Doubt::CurlyQuote(at) => (
                at,
                "a typographic quotation mark is a letter like any other",
                "write \" if it is to hold a name together",
            ),
            Doubt::BlankAfterBackslash(at) => (
                at,
                "blanks stand after the backslash: other readers do not continue the line",
                "it was continued here; remove the blanks",
            ),
            Doubt::NoBackslash(at) => (
                at,
                "the line before goes on here without a backslash: old readers do not see it",
                "it was read as one line; end the line before in a backslash",
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

/// The characters of Windows-1252 that stand where Latin-1 has controls;
/// zeros are bytes that mean nothing there either.
const WINDOWS: [u16; 32] = [
    0x20AC, 0, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160, 0x2039,
    0x0152, 0, 0x017D, 0, 0, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014, 0x02DC,
    0x2122, 0x0161, 0x203A, 0x0153, 0, 0x017E, 0x0178,
];

/// The text of a file of any bytes: UTF-8, UTF-16 with its mark, or else
/// Latin-1 as Windows extends it, in which every byte is a character.
pub(crate) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    let utf16 = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    let latin = |byte: &u8| match byte {
        0x80..=0x9F => match WINDOWS[usize::from(byte - 0x80)] {
            0 => char::REPLACEMENT_CHARACTER,
            code => char::from_u32(code.into()).unwrap_or(char::REPLACEMENT_CHARACTER),
        },
        byte => char::from(*byte),
    };
    match bytes {
        [0xFF, 0xFE, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)),
        [0xFE, 0xFF, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)),
        _ => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text.strip_prefix('\u{FEFF}').unwrap_or(text)),
            Err(_) => Cow::Owned(bytes.iter().map(latin).collect()),
        },
    }
}

/// The same text with a line feed for each carriage return that stands alone,
/// as old editors end their lines. Nothing moves.
pub(crate) fn with_line_feeds(text: Cow<'_, str>) -> String {
    let alone: Vec<usize> = text
        .match_indices('\r')
        .map(|(at, _)| at)
        .filter(|at| !text[at + 1..].starts_with('\n'))
        .collect();
    let mut bytes = text.into_owned().into_bytes();
    alone.into_iter().for_each(|at| bytes[at] = b'\n');
    String::from_utf8(bytes).expect("one ASCII character for another")
}

/// All lines of `text` that are not blank, in order.
pub(crate) fn lines(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut open: Option<Open> = None;
    let (mut offset, mut number) = (0, 0);
    for physical in text.split_inclusive('\n') {
        number += 1;
        let start = offset;
        offset += physical.len();
        let content = physical.trim_end_matches(['\n', '\r']);
        if content.trim().is_empty() {
            lines.extend(open.take().map(Open::closed));
            continue;
        }
        let begin = start + (content.len() - content.trim_start().len());
        let end = start + content.trim_end().len();
        let continued = open.is_some();
        let joined = open.get_or_insert_with(|| Open::new(number, begin..end));
        joined.line.last = number;
        joined.line.span.end = end;
        let body = content.trim_end();
        let continues = body.ends_with('\\');
        let comment = content.trim_start().starts_with('#');
        if comment && !continued {
            if continues {
                joined.line.doubts.push(Doubt::CommentContinued(begin..end));
            }
            lines.extend(open.take().map(Open::closed));
            continue;
        }
        if continues && body.len() < content.len() {
            let blanks = end - 1..start + content.len();
            joined.line.doubts.push(Doubt::BlankAfterBackslash(blanks));
        }
        joined.words(body.strip_suffix('\\').unwrap_or(body), start);
        if !continues {
            lines.extend(open.take().map(Open::closed));
        }
    }
    if let Some(open) = open {
        let mut line = open.closed();
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

/// A line that may still be continued.
struct Open {
    line: Line,
    /// The word in an open quote, and where the quote stands. A quote may reach
    /// over continuations; the break is one blank.
    quoted: Option<(Word, usize)>,
}

impl Open {
    fn new(number: usize, span: Range<usize>) -> Self {
        let line =
            Line { first: number, last: number, span, words: Vec::new(), doubts: Vec::new() };
        Open { line, quoted: None }
    }

    /// Adds the words of one physical line that begins at byte `start`.
    fn words(&mut self, body: &str, start: usize) {
        let (mut word, mut quote) = match self.quoted.take() {
            Some((mut word, quote)) => {
                word.text.truncate(word.text.trim_end().len());
                word.text.push(' ');
                (Some(word), Some(quote))
            }
            None => (None, None),
        };
        let begin = body.len() - body.trim_start().len();
        for (at, character) in body[begin..].char_indices() {
            let at = start + begin + at;
            let end = at + character.len_utf8();
            if quote.is_none() && character.is_whitespace() {
                self.line.words.extend(word.take());
                continue;
            }
            if word.is_none() && character == '#' {
                self.line.doubts.push(Doubt::CommentInside(at..start + body.len()));
                return;
            }
            if matches!(character, '\u{201C}'..='\u{201F}') {
                self.line.doubts.push(Doubt::CurlyQuote(at..end));
            }
            let word = word.get_or_insert_with(|| Word { text: String::new(), span: at..at });
            word.span.end = end;
            if character == '"' {
                quote = if quote.is_some() { None } else { Some(at) };
            } else {
                word.text.push(character);
            }
        }
        match (word, quote) {
            (Some(word), Some(quote)) => self.quoted = Some((word, quote)),
            (word, _) => self.line.words.extend(word),
        }
    }

    fn closed(mut self) -> Line {
        if let Some((mut word, quote)) = self.quoted {
            word.text.truncate(word.text.trim_end().len());
            self.line.doubts.push(Doubt::OpenQuote(quote..self.line.span.end.max(quote + 1)));
            self.line.words.push(word);
        }
        self.line
    }
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
        let table: [(&str, Expected); 7] = [
            ("GROUP g a \\\n# b \\\nc", |d| matches!(d, Doubt::CommentInside(_))),
            ("MAX 1 f USER a # note", |d| matches!(d, Doubt::CommentInside(_))),
            ("# note \\\nMAX 1 f USER a", |d| matches!(d, Doubt::CommentContinued(_))),
            ("GROUP g a \\ \nb", |d| matches!(d, Doubt::BlankAfterBackslash(_))),
            ("GROUP g \"a b", |d| matches!(d, Doubt::OpenQuote(_))),
            ("GROUP g a \\", |d| matches!(d, Doubt::NothingContinues(_))),
            ("GROUP g \u{201C}a\u{201D}", |d| matches!(d, Doubt::CurlyQuote(_))),
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
    fn quotes_reach_over_continuations() {
        let text = "F NOTICE=\"Licensed to \\\n  Sample corp\" SIGN=\"1 \\\n2\" x\nG \"a\nH b\"\n";
        let lines = lines(text);
        assert_eq!(texts(&lines[0]), ["F", "NOTICE=Licensed to Sample corp", "SIGN=1 2", "x"]);
        assert!(lines[0].doubts.is_empty());
        // Without a backslash a quote ends with its line.
        assert_eq!(texts(&lines[1]), ["G", "a"]);
        assert!(matches!(lines[1].doubts[..], [Doubt::OpenQuote(_)]));
        assert_eq!(texts(&lines[2]), ["H", "b"]);
        let sharp = self::lines("F \"a \\\n# b\" c");
        assert_eq!(texts(&sharp[0]), ["F", "a # b", "c"]);
    }

    #[test]
    fn lines_end_as_three_systems_end_them() {
        let text = "MAX 1\r\n\r\nGROUP a \\\r\n b\rLINGER\n\rNOLOG";
        let lines = lines(&with_line_feeds(Cow::Borrowed(text)));
        let firsts: Vec<(usize, usize)> = lines.iter().map(|l| (l.first, l.last)).collect();
        assert_eq!(firsts, [(1, 1), (3, 4), (5, 5), (7, 7)]);
        assert_eq!(texts(&lines[1]), ["GROUP", "a", "b"]);
    }

    #[test]
    fn files_of_other_encodings_are_read() {
        assert_eq!(decode("\u{FEFF}a".as_bytes()), "a");
        assert_eq!(decode(b"M\xFCller"), "Müller");
        assert_eq!(decode(b"Du\x9Aan \x93\xE9\x94 \x81"), "Dušan “é” \u{FFFD}");
        assert_eq!(decode(b"\xFF\xFEM\0A\0X\0"), "MAX");
        assert_eq!(decode(b"\xFE\xFF\0M\0A\0X\0"), "MAX");
    }
}
