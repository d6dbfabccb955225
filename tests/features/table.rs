//! The table: what became of each row under each fault, kept from test to test
//! and printed as a whole.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use crate::columns::Fault;
use crate::rows;

/// What became of a row under a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    Green,
    /// With what was seen.
    Red(String),
}

/// One fault, and what became of each row.
pub struct Column {
    pub fault: String,
    pub took: Duration,
    pub cells: BTreeMap<String, Cell>,
}

impl Column {
    pub fn is_green(&self) -> bool {
        self.cells.values().all(|cell| *cell == Cell::Green)
    }

    /// The red cells, each with what was seen.
    pub fn reds(&self) -> String {
        let mut text = String::new();
        for (row, cell) in &self.cells {
            if let Cell::Red(seen) = cell {
                let _ = writeln!(text, "- {row}: {seen}");
            }
        }
        text
    }

    /// Adds the column to what other tests of this build have found, and gives
    /// the whole table.
    pub fn add_to_table(&self) -> String {
        let folder = folder();
        fs::create_dir_all(&folder).expect("the target directory can be written");
        // One line for each cell, for the tests that come after this one.
        let mut lines = format!("{}\n", self.took.as_secs());
        for (row, cell) in &self.cells {
            let word = if *cell == Cell::Green { "green" } else { "RED" };
            let _ = writeln!(lines, "{word} {row}");
        }
        fs::write(folder.join(&self.fault), lines).expect("the column is kept");
        let mut text = whole_table();
        if !self.is_green() {
            let _ = write!(text, "\nRed under {:?}:\n\n{}", self.fault, self.reds());
        }
        fs::write(folder.join("table.md"), &text).expect("the table is kept");
        text
    }
}

/// Where this build keeps its columns. Those of another build are not its own.
fn folder() -> PathBuf {
    let program = std::env::current_exe().expect("this test is a program");
    let built = fs::metadata(program).and_then(|program| program.modified());
    let built = triad_tests::clock::since_epoch(built.expect("it was built at some time"));
    let build = format!("{}", built.as_millis());
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("feature-table").join(build)
}

fn whole_table() -> String {
    let columns = Fault::NAMES.map(|fault| fs::read_to_string(folder().join(fault)).ok());
    let names = rows::all().into_iter().map(|(name, _)| name);
    let names: Vec<&str> = names.chain([rows::EQUAL_LEDGERS]).collect();
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let mut text = format!("| {:width$} |", "feature");
    for fault in Fault::NAMES {
        let _ = write!(text, " {fault} |");
    }
    let _ = write!(text, "\n|-{}-|", "-".repeat(width));
    for fault in Fault::NAMES {
        let _ = write!(text, "-{}-|", "-".repeat(fault.len()));
    }
    text.push('\n');
    for name in names {
        let _ = write!(text, "| {name:width$} |");
        for (fault, column) in Fault::NAMES.iter().zip(&columns) {
            let word = column.as_deref().map_or("not run", |column| word_of(column, name));
            let _ = write!(text, " {word:0$} |", fault.len());
        }
        text.push('\n');
    }
    let _ = write!(text, "| {:width$} |", "seconds");
    for (fault, column) in Fault::NAMES.iter().zip(&columns) {
        let took = column.as_deref().and_then(|column| column.lines().next()).unwrap_or("");
        let _ = write!(text, " {took:0$} |", fault.len());
    }
    text.push('\n');
    text
}

fn word_of<'a>(column: &'a str, row: &str) -> &'a str {
    let cells = column.lines().skip(1).filter_map(|line| line.split_once(' '));
    cells.into_iter().find(|(_, name)| *name == row).map_or("not run", |(word, _)| word)
}
