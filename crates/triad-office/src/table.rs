//! A list as every page, the interface for programs and the CSV export share it.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ToSql};
use serde_json::{Map, Value, json};

use crate::error::OfficeError;
use crate::rights::masked;

/// Rows of one page.
pub const PAGE_ROWS: u32 = 50;
/// Rows of one CSV file; more are asked for by page.
pub const CSV_ROWS: u32 = 100_000;

/// What a list is asked for.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub struct Ask {
    /// What is looked for; nothing in particular when empty.
    #[serde(default)]
    pub q: String,
    /// The key of the column to sort by, with `-` before it for the other
    /// direction.
    #[serde(default)]
    pub sort: String,
    /// Counted from 1.
    #[serde(default)]
    pub page: u32,
    /// The code of a message about what was done just now.
    #[serde(default)]
    pub done: String,
    /// Whether whoever asks may see what is of use to whoever has it.
    #[serde(skip)]
    pub sees_secrets: bool,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// For programs.
    pub key: &'static str,
    /// For people.
    pub title: &'static str,
    /// What stands in it.
    pub kind: CellKind,
}

/// What stands in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CellKind {
    /// Text.
    Text,
    /// A number.
    Number,
    /// An instant, ms since 1970 UTC.
    Instant,
    /// Text with a button that copies it: host ids, keys.
    Copied,
    /// The same, of use to whoever has it: rights ids. Others see its beginning.
    Secret,
    /// A state in capital letters.
    State,
    /// Text that leads to the row's own page.
    Link,
}

/// One cell, ready to be shown.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The text.
    pub text: String,
    /// What stands in its column.
    pub kind: CellKind,
    /// Where it leads.
    pub href: String,
}

/// A page of a list.
#[derive(Clone, Debug)]
pub struct Table {
    /// What is listed, such as `servers`.
    pub noun: &'static str,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows; each with its permalink, which may be empty.
    pub rows: Vec<Vec<Cell>>,
    /// How many there are on all pages.
    pub total: u64,
    /// The page, from 1.
    pub page: u32,
    /// What was looked for.
    pub q: String,
    /// How it is sorted.
    pub sort: String,
}

/// A list: where it comes from and how it is looked through.
pub struct List {
    /// What is listed, such as `servers`.
    pub noun: &'static str,
    /// Columns, each with its expression in SQL.
    pub columns: &'static [(Column, &'static str)],
    /// `FROM` and the joins.
    pub from: &'static str,
    /// `WHERE` without a search; `1` for all.
    pub only: &'static str,
    /// The expressions that a search looks into.
    pub searched: &'static [&'static str],
    /// `ORDER BY` unless the user says otherwise.
    pub order: &'static str,
    /// The expression of a row's permalink; `''` for none.
    pub href: &'static str,
}

/// A column of a [`List`].
pub const fn column(key: &'static str, title: &'static str, kind: CellKind) -> Column {
    Column { key, title, kind }
}

impl List {
    /// One page of the list. `only` are the values of `?1`, `?2`... in
    /// [`List::only`].
    pub fn read(
        &self,
        tx: &Connection,
        ask: &Ask,
        only: &[&dyn ToSql],
        rows_max: u32,
    ) -> Result<Table, OfficeError> {
        let (sort, descends) = match ask.sort.strip_prefix('-') {
            Some(key) => (key, true),
            None => (ask.sort.as_str(), false),
        };
        // Nor can it be guessed letter by letter.
        let is_hidden = |column: &Column| column.kind == CellKind::Secret && !ask.sees_secrets;
        let hidden = self.columns.iter().filter(|(column, _)| is_hidden(column));
        let hidden: Vec<&str> = hidden.map(|(_, expression)| *expression).collect();
        let sorted = self.columns.iter().find(|(column, _)| column.key == sort);
        let sorted = sorted.filter(|(_, expression)| !hidden.contains(expression));
        // Expressions come from this program, never from the user.
        let order = match sorted {
            Some((_, expression)) => {
                format!("{expression} {}, {}", if descends { "DESC" } else { "ASC" }, self.order)
            }
            None => self.order.to_owned(),
        };
        let q = ask.q.trim();
        let patterns = patterns(q);
        let mut values: Vec<&dyn ToSql> = only.to_vec();
        let mut searches = Vec::new();
        for pattern in &patterns {
            values.push(pattern);
            let number = values.len();
            let like = |expression: &&str| format!("{expression} LIKE ?{number} ESCAPE '\\'");
            let searched = self.searched.iter().filter(|expression| !hidden.contains(expression));
            searches.extend(searched.map(like));
        }
        let mut filter = format!("({})", self.only);
        if !searches.is_empty() {
            filter.push_str(&format!(" AND ({})", searches.join(" OR ")));
        }
        let from = self.from;
        let count = format!("SELECT count(*) FROM {from} WHERE {filter}");
        let total: u64 = tx.prepare_cached(&count)?.query_row(&values[..], |row| row.get(0))?;
        let pages = u32::try_from(total.div_ceil(u64::from(rows_max))).unwrap_or(u32::MAX);
        let page = ask.page.clamp(1, pages.max(1));
        let expressions: Vec<&str> =
            self.columns.iter().map(|(_, expression)| *expression).collect();
        let text = format!(
            "SELECT {}, {} FROM {from} WHERE {filter} ORDER BY {order} LIMIT {rows_max} OFFSET {}",
            expressions.join(", "),
            self.href,
            u64::from(page - 1) * u64::from(rows_max)
        );
        let mut statement = tx.prepare_cached(&text)?;
        let mut found = statement.query(&values[..])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let href = text_of(row.get_ref(self.columns.len())?);
            let mut cells = Vec::with_capacity(self.columns.len());
            for (index, (column, _)) in self.columns.iter().enumerate() {
                let href = if column.kind == CellKind::Link { href.clone() } else { String::new() };
                let value = row.get_ref(index)?;
                let text = match (column.kind, value) {
                    (CellKind::Instant, ValueRef::Integer(ms)) => when(ms),
                    (CellKind::Secret, value) if !ask.sees_secrets => masked(&text_of(value)),
                    (_, value) => text_of(value),
                };
                cells.push(Cell { text, kind: column.kind, href });
            }
            rows.push(cells);
        }
        Ok(Table {
            noun: self.noun,
            columns: self.columns.iter().map(|(column, _)| *column).collect(),
            rows,
            total,
            page,
            q: q.to_owned(),
            sort: ask.sort.clone(),
        })
    }
}

/// What is looked for, as SQL patterns: as typed, and for a host id as it is
/// spelled here.
fn patterns(q: &str) -> Vec<String> {
    if q.is_empty() {
        return Vec::new();
    }
    let pattern = |text: &str| {
        let escaped = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        format!("%{escaped}%")
    };
    let mut patterns = vec![pattern(q)];
    let digits: String = q.chars().filter(|c| !matches!(c, ':' | '-' | '.')).collect();
    if digits != q && digits.len() >= 4 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        patterns.push(pattern(&digits));
    }
    if let Ok(host) = triad_license::HostId::parse(q) {
        patterns.push(pattern(&host.to_string()));
    }
    patterns
}

fn text_of(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(_) => "(bytes)".to_owned(),
    }
}

/// `2026-11-23 14:05:09 UTC`
pub fn when(ms: i64) -> String {
    let Ok(at) = jiff::Timestamp::from_second(ms.div_euclid(1_000)) else {
        return format!("{ms} ms");
    };
    at.to_string().replace('T', " ").replace('Z', " UTC")
}

impl Table {
    /// How many pages there are.
    pub fn pages(&self) -> u32 {
        u32::try_from(self.total.div_ceil(u64::from(PAGE_ROWS))).unwrap_or(u32::MAX).max(1)
    }

    /// For programs.
    pub fn to_json(&self) -> Value {
        let row = |cells: &Vec<Cell>| {
            let mut object = Map::new();
            for (column, cell) in self.columns.iter().zip(cells) {
                let number = || cell.text.parse::<i64>().ok().map(Value::from);
                let value = match column.kind {
                    CellKind::Number => number().unwrap_or(Value::Null),
                    _ => Value::from(cell.text.as_str()),
                };
                object.insert(column.key.to_owned(), value);
            }
            Value::Object(object)
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        json!({ "total": self.total, "page": self.page, "pages": self.pages(), "rows": rows })
    }

    /// For spreadsheets: RFC 4180, and nothing that one would take for a formula.
    pub fn to_csv(&self) -> String {
        let titles = self.columns.iter().map(|column| quoted(column.key));
        let mut text = titles.collect::<Vec<_>>().join(",") + "\r\n";
        for row in &self.rows {
            let cells = row.iter().map(|cell| quoted(&cell.text));
            text.push_str(&(cells.collect::<Vec<_>>().join(",") + "\r\n"));
        }
        text
    }
}

fn quoted(text: &str) -> String {
    let formula =
        text.starts_with(['=', '+', '@', '\t']) || text.starts_with('-') && text.len() > 1;
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    match text.contains([',', '"', '\r', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_csv_cell_is_neither_two_cells_nor_a_formula() {
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("say \"x\"\n"), "\"say \"\"x\"\"\n\"");
        assert_eq!(quoted("=HYPERLINK(1)"), "'=HYPERLINK(1)");
        assert_eq!(quoted("-"), "-");
    }

    #[test]
    fn a_search_finds_host_ids_however_they_are_spelled() {
        assert_eq!(patterns("00:1A:2b"), ["%00:1A:2b%", "%001A2b%"]);
        let found = patterns("ethernet:00-1A-2B-3C-4D-5E");
        assert_eq!(found[1], "%ETHERNET:001a2b3c4d5e%");
        assert_eq!(patterns("50%_\\"), ["%50\\%\\_\\\\%"]);
        assert!(patterns("").is_empty());
    }
}
