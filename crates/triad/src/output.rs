//! What is printed where: answers to stdout, everything else to stderr.

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use crate::args::{ColorOption, OutputFormat};
use crate::failure::Failure;

/// Colours of states. Stripped where colour is not wanted; the words say the
/// same.
pub const GREEN: &str = "\x1b[1;32m";
/// See [`GREEN`].
pub const YELLOW: &str = "\x1b[1;33m";
/// See [`GREEN`].
pub const RED: &str = "\x1b[1;31m";
/// Ends a colour.
pub const PLAIN: &str = "\x1b[0m";

/// How answers are printed.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    format: OutputFormat,
    color: ColorChoice,
}

impl Output {
    /// As the options say.
    pub fn new(format: OutputFormat, color: ColorOption) -> Self {
        let color = match color {
            ColorOption::Auto => ColorChoice::Auto,
            ColorOption::Always => ColorChoice::Always,
            ColorOption::Never => ColorChoice::Never,
        };
        Output { format, color }
    }

    /// Whether answers are for programs.
    pub fn is_json(self) -> bool {
        self.format == OutputFormat::Json
    }

    /// Prints an answer: as JSON, or as the text that `table` makes.
    pub fn answer<T: Serialize>(
        self,
        value: &T,
        table: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Table => self.text(&table()),
            OutputFormat::Json => {
                let mut json = serde_json::to_string_pretty(value).map_err(Failure::Json)?;
                json.push('\n');
                self.text(&json)
            }
        }
    }

    /// Prints text to stdout.
    pub fn text(self, text: &str) -> Result<(), Failure> {
        let mut stdout = AutoStream::new(io::stdout(), self.color);
        let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
        match written {
            // Whoever read it has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(Failure::Print),
        }
    }

    /// Prints a line to stderr that is no error: `warning: ...`.
    pub fn warn(self, text: &str) {
        self.notice(&format!("{YELLOW}warning{PLAIN}: {}\n", crate::text::printable_lines(text)));
    }

    /// Whether stderr is coloured, for what is not written through here.
    pub fn colors_stderr(self) -> bool {
        let choice = match self.color {
            ColorChoice::Auto => AutoStream::choice(&io::stderr()),
            choice => choice,
        };
        choice != ColorChoice::Never
    }

    /// Prints text to stderr.
    pub fn notice(self, text: &str) {
        let mut stderr = AutoStream::new(io::stderr(), self.color);
        // Nobody is left to be told that this cannot be told.
        let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
    }
}
