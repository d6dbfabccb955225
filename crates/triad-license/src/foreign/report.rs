//! What became of each line of a foreign text: carried over, or not and why.

use std::fmt;

use serde::Serialize;

use crate::diagnostic::Diagnostic;
use crate::error::printable;
use crate::foreign::lines::Line;

/// So much of a line is repeated in its entry.
const SHOWN_CHARACTERS_MAX: usize = 60;

/// What became of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It says the same in the new text.
    Carried,
    /// It has no meaning here and nothing is lost; the remark says why.
    Ignored,
    /// It is missing from the new text; the remark says why.
    NotCarried,
    /// It was a comment.
    Comment,
}

/// One line of a foreign text, after its continuations were joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its first line in the file, counted from 1.
    pub first_line: usize,
    /// Its last line in the file.
    pub last_line: usize,
    /// The beginning of the line.
    pub text: String,
    /// What became of it.
    pub fate: Fate,
    /// Why, or what to know about it; may be empty if it was carried over.
    pub remark: String,
}

/// What became of a foreign text: one entry for each line that is not blank,
/// and what is doubtful about the text as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// In the order of the text.
    pub entries: Vec<Entry>,
    /// In the order of the text, at most
    /// [`DIAGNOSTICS_MAX`](crate::DIAGNOSTICS_MAX).
    pub findings: Vec<Diagnostic>,
}

impl Report {
    /// How many lines met `fate`.
    pub fn count(&self, fate: Fate) -> usize {
        self.entries.iter().filter(|entry| entry.fate == fate).count()
    }

    /// Whether nothing is missing from the new text.
    pub fn is_complete(&self) -> bool {
        self.count(Fate::NotCarried) == 0
    }

    pub(crate) fn add(&mut self, text: &str, line: &Line, fate: Fate, remark: String) {
        let whole = &text[line.span.clone()];
        let mut shown: String = whole.chars().take(SHOWN_CHARACTERS_MAX).collect();
        if whole.chars().nth(SHOWN_CHARACTERS_MAX).is_some() {
            shown.push_str("...");
        }
        let words: Vec<&str> = shown.split_whitespace().filter(|word| *word != "\\").collect();
        let text = printable(&words.join(" "));
        let (first_line, last_line) = (line.first, line.last);
        self.entries.push(Entry { first_line, last_line, text, fate, remark });
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Fate::Carried => "carried over",
            Fate::Ignored => "ignored",
            Fate::NotCarried => "NOT CARRIED",
            Fate::Comment => "comment",
        })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = if self.first_line == self.last_line {
            self.first_line.to_string()
        } else {
            format!("{}-{}", self.first_line, self.last_line)
        };
        write!(f, "{lines:>9}  {:<12}  {}", self.fate, self.text)?;
        if self.remark.is_empty() { Ok(()) } else { write!(f, "\n{:25}{}", "", self.remark) }
    }
}

/// All entries but the comments, and how many of each there are.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in self.entries.iter().filter(|entry| entry.fate != Fate::Comment) {
            writeln!(f, "{entry}")?;
        }
        let count = |fate| self.count(fate);
        writeln!(
            f,
            "{} carried over, {} ignored, {} not carried over; {} comments",
            count(Fate::Carried),
            count(Fate::Ignored),
            count(Fate::NotCarried),
            count(Fate::Comment),
        )
    }
}
