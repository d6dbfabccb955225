//! What is wrong or doubtful in a text of the administrator, and where: line,
//! column, an excerpt with a caret, and what to do.

use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;

use serde::Serialize;

use crate::error::printable;

/// The most findings that one check reports. A text with more has one cause.
pub const DIAGNOSTICS_MAX: usize = 200;

/// An excerpt shows at most so many characters of its line.
const EXCERPT_CHARACTERS_MAX: usize = 96;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The text is not accepted.
    Error,
    /// The text is accepted, and probably does not do what was meant.
    Warning,
}

/// One finding in a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// Whether the text can be applied all the same.
    pub severity: Severity,
    /// A stable name of the kind of finding, such as `unknown-group`.
    pub code: &'static str,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do about it; may be empty.
    pub help: String,
    /// The line of the text as far as it is shown.
    #[serde(skip)]
    excerpt: String,
    /// Where in the excerpt the finding stands, in characters.
    #[serde(skip)]
    marked: Range<usize>,
}

impl Diagnostic {
    /// The finding with its place in `file`, the line and a caret under it:
    ///
    /// ```text
    /// error[unknown-group]: no group is called "cdf"
    ///   --> policy.toml:12:9
    ///    |
    /// 12 | group = "cdf"
    ///    |         ^^^^^
    ///    = help: did you mean "cfd"?
    /// ```
    pub fn render(&self, file: &str) -> String {
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let severity = self.severity;
        let mut text = format!("{severity}[{}]: {}\n", self.code, self.message);
        text.push_str(&format!(
            "{margin}--> {}:{}:{}\n{margin} |\n{number} | {}\n{margin} | {}{}\n",
            printable(file),
            self.line,
            self.column,
            self.excerpt,
            " ".repeat(self.marked.start),
            "^".repeat(self.marked.len().max(1)),
        ));
        if !self.help.is_empty() {
            writeln!(text, "{margin} = help: {}", self.help).expect("a string takes any text");
        }
        text
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "; {}", self.help) }
    }
}

/// A text and where its lines begin, so that each of many findings is placed
/// without reading the text again.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let line_starts = std::iter::once(0).chain(starts.map(|(at, _)| at + 1)).collect();
        Source { text, line_starts }
    }

    /// The number of the line, counted from 1, in which byte `offset` stands.
    pub(crate) fn line_at(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset)
    }

    /// A finding about the bytes of `span`; spans that run over several lines
    /// are marked up to the end of the first.
    pub(crate) fn diagnostic(
        &self,
        severity: Severity,
        code: &'static str,
        span: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Diagnostic {
        let offset = span.start.min(self.text.len());
        let line = self.line_at(offset);
        let (start, end) = self.bounds(line);
        let whole = &self.text[start..end];
        let before = characters(whole, offset - start);
        // The place may be the line's own ending, behind all that is shown.
        let marked = characters(whole, span.end.max(offset).min(end) - start) - before;
        // A long line is shown from a little before the place.
        let skipped = if before + marked.min(24) < EXCERPT_CHARACTERS_MAX {
            0
        } else {
            before.saturating_sub(EXCERPT_CHARACTERS_MAX / 4)
        };
        let shown = whole.chars().skip(skipped).take(EXCERPT_CHARACTERS_MAX);
        let excerpt: String = shown.map(shown_as_one).collect();
        let length = excerpt.chars().count();
        let from = (before - skipped).min(length);
        let marked = from..(from + marked).min(length.max(from));
        let excerpt = excerpt.trim_end().to_owned();
        Diagnostic {
            severity,
            code,
            line,
            column: before + 1,
            message: message.into(),
            help: help.into(),
            excerpt,
            marked,
        }
    }

    /// Where line `line` begins and ends, without its line ending.
    fn bounds(&self, line: usize) -> (usize, usize) {
        let start = self.line_starts[line - 1];
        let next = self.line_starts.get(line).map_or(self.text.len(), |next| next - 1);
        let end = start + self.text[start..next].trim_end_matches('\r').len();
        (start, end)
    }
}

/// How many characters begin before byte `offset`.
fn characters(line: &str, offset: usize) -> usize {
    line.char_indices().take_while(|(at, _)| *at < offset).count()
}

/// One printed column for each character, so that the caret stands under it.
fn shown_as_one(character: char) -> char {
    match character {
        '\t' => ' ',
        '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' => '?',
        '\u{FEFF}' => '?',
        c if c.is_control() => '?',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(text: &str, span: Range<usize>) -> Diagnostic {
        Source::new(text).diagnostic(Severity::Error, "test", span, "wrong", "right")
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        let text = "a = 1\nuser\t= \"änna\"\r\nb = 2\n";
        let at = text.find("\"ä").expect("there");
        let rendered = finding(text, at..at + 7).render("policy.toml");
        let expected = "\
error[test]: wrong
 --> policy.toml:2:8
  |
2 | user = \"änna\"
  |        ^^^^^^
  = help: right
";
        assert_eq!(rendered, expected);
    }

    #[test]
    fn long_and_hostile_lines_are_shown_short_and_harmless() {
        let text = format!("{}\u{1b}[2J{}", "x".repeat(5_000), "y".repeat(5_000));
        let found = finding(&text, 5_000..5_004);
        assert_eq!((found.line, found.column), (1, 5_001));
        let rendered = found.render("a\u{1b}b");
        assert!(rendered.contains("?[2Jyyy"), "{rendered}");
        assert!(rendered.lines().all(|line| line.chars().count() < 120), "{rendered}");
        assert!(!rendered.contains('\u{1b}'), "{rendered:?}");
    }

    #[test]
    fn the_end_and_beyond_are_places_too() {
        for (text, span, line, column) in
            [("", 0..0, 1, 1), ("a\n", 2..2, 2, 1), ("a", 99..100, 1, 2), ("a\nb\n", 0..4, 1, 1)]
                .into_iter()
                .chain([("a\r\nb", 2..3, 1, 2), ("a\r\nb", 1..3, 1, 2), ("\r\n", 1..1, 1, 1)])
        {
            let found = finding(text, span);
            assert_eq!((found.line, found.column), (line, column), "{text:?}");
            assert!(found.render("f").contains('^'));
        }
    }
}
