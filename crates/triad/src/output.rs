//! What is printed where: answers to stdout, everything else to stderr.

use std::io::{self, IsTerminal as _, Write};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use crate::args::{ColorOption, GlobalOptions, OutputFormat, Verb};
use crate::failure::Failure;
use crate::table::Table;
use crate::text::{harmless_json, printable_document};

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
    headers: bool,
    /// Empty: those that the format shows. As long-lived as the command line.
    columns: &'static [String],
}

impl Output {
    /// As the options say.
    pub fn new(options: &GlobalOptions) -> Self {
        let color = match options.color {
            ColorOption::Auto => ColorChoice::Auto,
            ColorOption::Always => ColorChoice::Always,
            ColorOption::Never => ColorChoice::Never,
        };
        let columns: &'static [String] = Vec::leak(options.columns.clone());
        Output { format: options.output, color, headers: !options.no_headers, columns }
    }

    /// Refuses what cannot be printed as wanted, before anything is done.
    pub fn accepts(self, verb: &Verb) -> Result<(), Failure> {
        if self.format == OutputFormat::Csv && !verb.has_rows() {
            return Err(Failure::Usage {
                what: "this answer has no rows, so it cannot be CSV".to_owned(),
                remedy: "take -o json or -o jsonl".to_owned(),
            });
        }
        // For people, events are sentences.
        let is_told = self.is_for_people() && matches!(verb, Verb::Events(_));
        if !self.columns.is_empty() && is_told {
            return Err(Failure::Usage {
                what: "events are told in sentences, which have no columns".to_owned(),
                remedy: "add -o csv for columns, or -o wide for number and kind".to_owned(),
            });
        }
        if !self.columns.is_empty() && (self.is_json() || !verb.has_rows()) {
            return Err(Failure::Usage {
                what: "columns are chosen of tables and CSV, and this is neither".to_owned(),
                remedy: "leave --columns out; of JSON take what you want with jq".to_owned(),
            });
        }
        Ok(())
    }

    /// Whether answers are for programs that read JSON.
    pub fn is_json(self) -> bool {
        matches!(self.format, OutputFormat::Json | OutputFormat::Jsonl)
    }

    /// Whether answers are for people.
    pub fn is_for_people(self) -> bool {
        matches!(self.format, OutputFormat::Table | OutputFormat::Wide)
    }

    /// How answers are printed.
    pub fn format(self) -> OutputFormat {
        self.format
    }

    /// Prints an answer that is no list: as JSON, or as the text that `text`
    /// makes.
    pub fn answer<T: Serialize>(
        self,
        value: &T,
        text: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.format {
            // CSV was refused before anything was done.
            OutputFormat::Table | OutputFormat::Wide | OutputFormat::Csv => self.text(&text()),
            OutputFormat::Json => self.text(&pretty(value)?),
            OutputFormat::Jsonl => self.text(&line(value)?),
        }
    }

    /// Prints a list: `whole` as JSON, `rows` as JSON on a line each, or the
    /// table of them.
    pub fn list<T: Serialize, R: Serialize>(
        self,
        whole: &T,
        rows: &[R],
        table: impl FnOnce() -> Table,
    ) -> Result<(), Failure> {
        self.list_below("", whole, rows, table)
    }

    /// The same below some lines for people.
    pub fn list_below<T: Serialize, R: Serialize>(
        self,
        heading: &str,
        whole: &T,
        rows: &[R],
        table: impl FnOnce() -> Table,
    ) -> Result<(), Failure> {
        // Lines that say all there is need no empty table below them.
        if self.is_for_people() && rows.is_empty() && !heading.is_empty() {
            return self.text(&format!("{}\n", heading.trim_end()));
        }
        match self.format {
            OutputFormat::Table | OutputFormat::Wide => {
                let wide = self.format == OutputFormat::Wide || !self.columns.is_empty();
                let table = self.chosen(table())?;
                self.text(&format!("{heading}{}", table.for_people_with(wide, self.headers)))
            }
            OutputFormat::Json => self.text(&pretty(whole)?),
            OutputFormat::Jsonl => {
                let lines: Result<String, Failure> = rows.iter().map(|row| line(row)).collect();
                self.text(&lines?)
            }
            OutputFormat::Csv => {
                let table = self.chosen(table())?;
                let head = if self.headers { table.csv_head() } else { String::new() };
                self.text(&(head + &table.csv_rows()))
            }
        }
    }

    /// The columns of a table that were asked for.
    pub fn chosen(self, table: Table) -> Result<Table, Failure> {
        match self.columns {
            [] => Ok(table),
            columns => table.select(columns),
        }
    }

    /// Whether tables have a first line.
    pub fn has_headers(self) -> bool {
        self.headers
    }

    /// Prints a document word for word, except on a terminal, where what would
    /// act on it is shown.
    pub fn document(self, text: &str) -> Result<(), Failure> {
        if io::stdout().is_terminal() {
            return self.text(&printable_document(text));
        }
        let mut stdout = io::stdout().lock();
        unless_closed(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())).map(|_| ())
    }

    /// Prints text to stdout.
    pub fn text(self, text: &str) -> Result<(), Failure> {
        self.text_to_reader(text).map(|_| ())
    }

    /// The same; says whether anybody still reads.
    pub fn text_to_reader(self, text: &str) -> Result<Reader, Failure> {
        let mut stdout = AutoStream::new(io::stdout(), self.color);
        unless_closed(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
    }

    /// Prints a line to stderr that is no error: `warning: ...`.
    pub fn warn(self, text: &str) {
        self.notice(&format!("{YELLOW}warning{PLAIN}: {}\n", crate::text::printable_lines(text)));
    }

    /// Whether stdout is coloured, for what is not written through here.
    pub fn colors_stdout(self) -> bool {
        let choice = match self.color {
            ColorChoice::Auto => AutoStream::choice(&io::stdout()),
            choice => choice,
        };
        choice != ColorChoice::Never
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

/// Who reads stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Somebody.
    Reads,
    /// Nobody any more: whoever did has seen enough, which is no error.
    Gone,
}

/// One JSON object on a line of its own.
pub fn line(value: &impl Serialize) -> Result<String, Failure> {
    let json = serde_json::to_string(value).map_err(Failure::Json)?;
    Ok(harmless_json(&json) + "\n")
}

fn pretty(value: &impl Serialize) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(value).map_err(Failure::Json)?;
    Ok(harmless_json(&json) + "\n")
}

fn unless_closed(written: io::Result<()>) -> Result<Reader, Failure> {
    match written {
        Ok(()) => Ok(Reader::Reads),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
        Err(error) => Err(Failure::Print(error)),
    }
}
