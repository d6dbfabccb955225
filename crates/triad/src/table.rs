//! Tables for people: columns by blanks, no lines, never wrapped.

use comfy_table::{ContentArrangement, Table as Inner, presets};

use crate::text::printable;

/// Rows under a heading. Every cell is made safe to print here, so that no
/// verb can forget to.
pub struct Table(Inner);

impl Table {
    /// An empty table with these columns.
    pub fn new(columns: &[&str]) -> Self {
        let mut inner = Inner::new();
        inner.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        inner.set_header(columns.iter().copied());
        for column in inner.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Table(inner)
    }

    /// Adds a row, with as many cells as there are columns. An empty cell is
    /// shown as a dash, so that scripts can split at blanks.
    pub fn add<const COLUMNS: usize>(&mut self, cells: [String; COLUMNS]) {
        let cells =
            cells.map(|cell| if cell.is_empty() { "-".to_owned() } else { printable(&cell) });
        self.0.add_row(cells);
    }

    /// The table as text, each line ended by a line feed.
    pub fn render(&self) -> String {
        self.0.lines().flat_map(|line| [line.trim_end().to_owned(), "\n".to_owned()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_aligned_escaped_and_not_wrapped() {
        let mut table = Table::new(&["USER", "HOST"]);
        table.add(["bob\nroot".to_owned(), String::new()]);
        table.add(["x".repeat(250), "node18".to_owned()]);
        let text = table.render();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].starts_with("bob\\nroot ") && lines[1].ends_with(" -"), "{text}");
        assert!(lines[2].ends_with("x  node18"), "{text}");
        assert_eq!(lines[0].find("HOST"), lines[2].find("node18"), "{text}");
    }
}
