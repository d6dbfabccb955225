//! Rows under columns: for people as a table that is never wrapped, for
//! programs as CSV. Every cell is made safe to print here, so that no verb can
//! forget to.

use comfy_table::{ContentArrangement, Table as Inner, presets};

use crate::duration::show_ms;
use crate::failure::Failure;
use crate::text::{escaped, instant, printable, rfc3339};

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    /// Milliseconds since 1970 UTC.
    Instant,
    /// Milliseconds.
    Length,
}

/// A column: its title, and how its numbers are shown.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    kind: Kind,
    is_wide: bool,
}

impl Column {
    /// Words.
    pub const fn text(title: &'static str) -> Self {
        Column { title, kind: Kind::Text, is_wide: false }
    }

    /// Numbers.
    pub const fn number(title: &'static str) -> Self {
        Column { title, kind: Kind::Number, is_wide: false }
    }

    /// Instants, as milliseconds since 1970 UTC.
    pub const fn instant(title: &'static str) -> Self {
        Column { title, kind: Kind::Instant, is_wide: false }
    }

    /// Lengths of time, in milliseconds.
    pub const fn length(title: &'static str) -> Self {
        Column { title, kind: Kind::Length, is_wide: false }
    }

    /// The same, shown to people only with `-o wide`.
    pub const fn wide(self) -> Self {
        Column { is_wide: true, ..self }
    }

    /// The title as programs want it: `IN USE` is `in_use`, and a length of
    /// time says its unit.
    fn csv_title(self) -> String {
        let title = self.title.to_ascii_lowercase().replace(' ', "_");
        if self.kind == Kind::Length { format!("{title}_ms") } else { title }
    }
}

#[cfg(test)]
impl Table {
    /// All of the CSV.
    pub fn csv(&self) -> String {
        self.csv_head() + &self.csv_rows()
    }

    /// A row of a page for each column: title, name in CSV, what it is, where it
    /// is shown.
    pub fn described(&self) -> String {
        let describe = |column: &Column| {
            let what = match column.kind {
                Kind::Text => "text",
                Kind::Number => "number",
                Kind::Instant => "RFC 3339 instant",
                Kind::Length => "milliseconds",
            };
            let shown = if column.is_wide { "`-o wide`" } else { "always" };
            format!("| {} | `{}` | {what} | {shown} |\n", column.title, column.csv_title())
        };
        self.columns.iter().map(describe).collect()
    }
}

/// What stands in a row under a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// Nothing. People see a dash, so that scripts can split at blanks.
    None,
    /// Words.
    Text(String),
    /// A number of what the column says.
    Number(u64),
    /// How many there are. People see a dash where there are none, programs a 0.
    Count(u64),
}

impl Cell {
    /// A number of which 0 means that there is none.
    pub fn unless_zero(number: impl Into<u64>) -> Self {
        match number.into() {
            0 => Cell::None,
            number => Cell::Number(number),
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        if text.is_empty() { Cell::None } else { Cell::Text(text) }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Cell::from(text.to_owned())
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Cell::Number(number)
    }
}

impl From<u32> for Cell {
    fn from(number: u32) -> Self {
        Cell::Number(number.into())
    }
}

/// Rows under columns. See the module's documentation.
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(columns: &[Column]) -> Self {
        Table { columns: columns.to_vec(), rows: Vec::new() }
    }

    /// Adds a row, with as many cells as there are columns.
    pub fn add<const COLUMNS: usize>(&mut self, cells: [Cell; COLUMNS]) {
        assert_eq!(COLUMNS, self.columns.len(), "a row has a cell for each column");
        self.rows.push(cells.into());
    }

    /// For people, without the columns that are wide; each line is ended by a
    /// line feed.
    pub fn render(&self) -> String {
        self.for_people(false)
    }

    /// The same table with these columns in this order, by their titles or by the
    /// names that CSV has for them.
    pub fn select(self, wanted: &[String]) -> Result<Table, Failure> {
        let plain = |name: &str| name.trim().to_ascii_lowercase().replace([' ', '-'], "_");
        let find = |name: &String| {
            let named = |column: &Column| {
                let name = plain(name);
                plain(column.title) == name || column.csv_title() == name
            };
            self.columns.iter().position(named).ok_or_else(|| {
                let titles: Vec<_> =
                    self.columns.iter().map(|column| plain(column.title)).collect();
                Failure::Usage {
                    what: format!("there is no column {name:?}"),
                    remedy: format!("there are {}", titles.join(", ")),
                }
            })
        };
        let places = wanted.iter().map(find).collect::<Result<Vec<usize>, Failure>>()?;
        let rows = self.rows.iter().map(|row| places.iter().map(|at| row[*at].clone()).collect());
        Ok(Table {
            rows: rows.collect(),
            columns: places.iter().map(|at| self.columns[*at]).collect(),
        })
    }

    /// For people, with all columns if `wide`.
    pub fn for_people(&self, wide: bool) -> String {
        self.for_people_with(wide, true)
    }

    /// The same, without the first line if not `headers`.
    pub fn for_people_with(&self, wide: bool, headers: bool) -> String {
        let shown: Vec<usize> =
            (0..self.columns.len()).filter(|index| wide || !self.columns[*index].is_wide).collect();
        let mut inner = Inner::new();
        inner.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        if headers {
            inner.set_header(shown.iter().map(|index| self.columns[*index].title));
        }
        for row in &self.rows {
            inner.add_row(shown.iter().map(|index| told(self.columns[*index].kind, &row[*index])));
        }
        for column in inner.column_iter_mut() {
            column.set_padding((0, 2));
        }
        inner.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect()
    }

    /// For programs, quoted as RFC 4180 says, each line ended by a line feed: the
    /// first line.
    pub fn csv_head(&self) -> String {
        csv_line(self.columns.iter().map(|column| column.csv_title()))
    }

    /// The other lines.
    pub fn csv_rows(&self) -> String {
        let kinds = || self.columns.iter().map(|column| column.kind);
        let line = |row: &Vec<Cell>| csv_line(kinds().zip(row).map(|(kind, cell)| raw(kind, cell)));
        self.rows.iter().map(line).collect()
    }
}

/// A cell for people.
fn told(kind: Kind, cell: &Cell) -> String {
    match (cell, kind) {
        (Cell::None | Cell::Count(0), _) => "-".to_owned(),
        (Cell::Count(count), _) => count.to_string(),
        (Cell::Text(text), _) => printable(text),
        (Cell::Number(ms), Kind::Instant) => instant(*ms),
        (Cell::Number(ms), Kind::Length) => show_ms(*ms),
        (Cell::Number(number), Kind::Number | Kind::Text) => number.to_string(),
    }
}

/// A cell for programs.
fn raw(kind: Kind, cell: &Cell) -> String {
    match (cell, kind) {
        (Cell::None, _) => String::new(),
        (Cell::Text(text), _) => unarmed(escaped(text)),
        (Cell::Number(ms), Kind::Instant) => rfc3339(*ms),
        (Cell::Number(number) | Cell::Count(number), _) => number.to_string(),
    }
}

/// A spreadsheet runs what begins like a formula, and names come from anybody
/// who can connect.
fn unarmed(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text }
}

fn csv_line(cells: impl Iterator<Item = String>) -> String {
    let quoted = |cell: String| match cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell,
    };
    let mut line = cells.map(quoted).collect::<Vec<_>>().join(",");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [
        Column::text("USER"),
        Column::instant("HELD SINCE"),
        Column::length("IDLE"),
        Column::number("PID").wide(),
    ];

    #[test]
    fn rows_are_aligned_escaped_and_not_wrapped() {
        let mut table = Table::new(&[Column::text("USER"), Column::text("HOST")]);
        table.add(["bob\nroot".into(), "".into()]);
        table.add(["x".repeat(250).into(), "node18".into()]);
        let text = table.render();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].starts_with("bob\\nroot ") && lines[1].ends_with(" -"), "{text}");
        assert!(lines[2].ends_with("x  node18"), "{text}");
        assert_eq!(lines[0].find("HOST"), lines[2].find("node18"), "{text}");
    }

    #[test]
    fn wide_columns_are_shown_on_demand_and_to_programs() {
        let mut table = Table::new(&COLUMNS);
        table.add(["bob".into(), 1_795_442_709_250_u64.into(), 61_000_u64.into(), 7_u32.into()]);
        table.add(["ann".into(), Cell::None, Cell::unless_zero(0_u64), Cell::None]);
        table.add(["cid".into(), Cell::None, Cell::None, Cell::Count(0)]);
        let expected = "\
USER  HELD SINCE            IDLE
bob   2026-11-23 14:05:09Z  1 min 1 s
ann   -                     -
cid   -                     -
";
        assert_eq!(table.render(), expected);
        assert!(table.for_people(true).starts_with("USER  HELD SINCE            IDLE       PID\n"));
        let expected = "\
user,held_since,idle_ms,pid
bob,2026-11-23T14:05:09.25Z,61000,7
ann,,,
cid,,,0
";
        assert_eq!(table.csv(), expected);
    }

    #[test]
    fn csv_is_quoted_and_runs_nothing() {
        let cells = [
            ("plain", "plain"),
            ("a, b", "\"a, b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "two\\nlines"),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@sum", "'@sum"),
            ("a=1", "a=1"),
            ("\t=1", "\\t=1"),
            ("\x1b[2J", "\\u{1b}[2J"),
        ];
        for (text, expected) in cells {
            let mut table = Table::new(&[Column::text("NAME")]);
            table.add([text.into()]);
            assert_eq!(table.csv(), format!("name\n{expected}\n"), "{text:?}");
        }
        assert_eq!(Table::new(&COLUMNS).csv(), "user,held_since,idle_ms,pid\n");
    }
}
