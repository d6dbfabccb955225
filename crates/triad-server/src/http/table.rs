//! Lists: looked through, sorted and paged on the server, by links, and the same
//! as CSV.

use std::cmp::Ordering;

use super::words::{self, rfc3339};

/// Rows of one page.
const PAGE_ROWS: usize = 100;
/// Characters of what is looked for.
const SEARCH_MAX: usize = 200;

/// What a list is asked for.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub(super) struct Ask {
    /// What is looked for in every column; nothing in particular when empty.
    #[serde(default)]
    pub(super) q: String,
    /// The key of the column to sort by, with `-` before it for the other
    /// direction.
    #[serde(default)]
    pub(super) sort: String,
    /// From 1.
    #[serde(default)]
    pub(super) page: usize,
    /// `csv` for all rows as a file.
    #[serde(default)]
    pub(super) format: String,
    /// The code of what was done just now.
    #[serde(default)]
    pub(super) done: String,
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    pub(super) is_number: bool,
    /// Its name in a file; a length of time says its unit.
    file_key: &'static str,
}

/// A column of text.
pub(super) const fn text(key: &'static str, title: &'static str) -> Column {
    Column { key, title, is_number: false, file_key: key }
}

/// A column of numbers.
pub(super) const fn number(key: &'static str, title: &'static str) -> Column {
    Column { key, title, is_number: true, file_key: key }
}

/// A column of lengths of time, which a file has in milliseconds.
pub(super) const fn length(
    key: &'static str,
    file_key: &'static str,
    title: &'static str,
) -> Column {
    Column { key, title, is_number: false, file_key }
}

/// One cell.
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    pub(super) text: String,
    /// Where it leads, if anywhere.
    pub(super) href: String,
    /// How good it is, where it is a state: the name of a class.
    pub(super) tone: &'static str,
    /// What it is sorted by, if not its text.
    order: Option<u64>,
    /// What a file has in its place, for programs.
    raw: Option<String>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Cell { text, ..Cell::default() }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Cell { text: number.to_string(), order: Some(number), ..Cell::default() }
    }
}

impl Cell {
    /// Text that is sorted by a number.
    pub(super) fn by(text: impl Into<String>, order: u64) -> Self {
        Cell { text: text.into(), order: Some(order), ..Cell::default() }
    }

    /// The same, with something else in files: what the CSV of the command line has.
    pub(super) fn raw(self, raw: impl Into<String>) -> Self {
        Cell { raw: Some(raw.into()), ..self }
    }

    /// An instant, ms since 1970 UTC.
    pub(super) fn instant(ms: u64) -> Self {
        Cell::by(words::instant(ms), ms).raw(rfc3339(ms))
    }

    /// The last day of what ends at an instant.
    pub(super) fn last_day(ends_ms: u64) -> Self {
        Cell::by(words::last_day(ends_ms), ends_ms).raw(rfc3339(ends_ms))
    }

    /// A length of time.
    pub(super) fn length(ms: u64) -> Self {
        Cell::by(words::length(ms), ms).raw(ms.to_string())
    }

    /// The same, leading to a page.
    pub(super) fn to(self, href: impl Into<String>) -> Self {
        Cell { href: href.into(), ..self }
    }

    /// A state.
    pub(super) fn state(text: impl Into<String>, tone: &'static str) -> Self {
        Cell { text: text.into(), tone, ..Cell::default() }
    }

    fn compare(&self, other: &Cell) -> Ordering {
        self.order.cmp(&other.order).then_with(|| self.text.cmp(&other.text))
    }
}

/// A list as it is shown.
pub(super) struct Listing {
    pub(super) title: &'static str,
    /// The page it is on.
    pub(super) path: &'static str,
    /// What is listed: one, and many.
    pub(super) nouns: (&'static str, &'static str),
    pub(super) columns: &'static [Column],
    /// Those of this page.
    pub(super) rows: Vec<Vec<Cell>>,
    /// How many were found on all pages.
    pub(super) found: usize,
    /// How many there are without a search.
    total: usize,
    pub(super) page: usize,
    pub(super) ask: Ask,
    /// What an empty list says, and where the next step leads.
    pub(super) empty: Empty,
    /// Whether it is looked through, sorted, paged and saved by itself.
    pub(super) is_whole: bool,
}

/// What an empty list says: that it is empty, and the next step.
#[derive(Clone, Copy, Default)]
pub(super) struct Empty {
    pub(super) text: &'static str,
    pub(super) link: &'static str,
    pub(super) href: &'static str,
}

impl Listing {
    /// Takes what was asked for out of all rows.
    pub(super) fn new(
        path: &'static str,
        nouns: (&'static str, &'static str),
        columns: &'static [Column],
        rows: Vec<Vec<Cell>>,
        ask: Ask,
        empty: Empty,
    ) -> Self {
        let total = rows.len();
        let wanted: String = ask.q.trim().chars().take(SEARCH_MAX).collect();
        let wanted = wanted.to_lowercase();
        let fits = |row: &Vec<Cell>| {
            wanted.is_empty() || row.iter().any(|cell| cell.text.to_lowercase().contains(&wanted))
        };
        let mut rows: Vec<Vec<Cell>> = rows.into_iter().filter(fits).collect();
        let (key, downwards) = match ask.sort.strip_prefix('-') {
            Some(key) => (key, true),
            None => (ask.sort.as_str(), false),
        };
        if let Some(at) = columns.iter().position(|column| column.key == key) {
            // Stable, so that equal rows stay in the list's own order.
            rows.sort_by(|a, b| {
                let order = a[at].compare(&b[at]);
                if downwards { order.reverse() } else { order }
            });
        }
        let found = rows.len();
        let page = ask.page.clamp(1, found.div_ceil(PAGE_ROWS).max(1));
        if ask.format != "csv" {
            rows = rows.into_iter().skip((page - 1) * PAGE_ROWS).take(PAGE_ROWS).collect();
        }
        let (title, is_whole) = ("", true);
        Listing { title, path, nouns, columns, rows, found, total, page, ask, empty, is_whole }
    }

    /// The same as a part of a page about something else. The rest of a long one is where its own
    /// page is asked for `q`.
    pub(super) fn part(self, title: &'static str, q: &str) -> Self {
        let ask = Ask { q: q.to_owned(), ..self.ask };
        Listing { title, ask, is_whole: false, ..self }
    }

    /// Where all of it is, if this is a part that has no room for it.
    pub(super) fn rest(&self) -> Option<String> {
        let has_more = !self.is_whole && self.pages() > 1;
        has_more.then(|| self.address(&self.ask.sort, 1, ""))
    }

    fn pages(&self) -> usize {
        self.found.div_ceil(PAGE_ROWS).max(1)
    }

    /// What stands above the table: it counts.
    pub(super) fn caption(&self) -> String {
        let Listing { found, total, page, .. } = self;
        let noun = if *found == 1 { self.nouns.0 } else { self.nouns.1 };
        let mut caption = match found == total {
            true => format!("{found} {noun}"),
            false => format!("{found} of {total} {}", self.nouns.1),
        };
        if self.pages() > 1 && !self.is_whole {
            caption.push_str(&format!(", the first {} of them here", self.rows.len()));
        }
        if self.pages() > 1 && self.is_whole {
            let first = (page - 1) * PAGE_ROWS + 1;
            let last = first + self.rows.len() - 1;
            caption.push_str(&format!(", {first} to {last} on this page"));
        }
        caption
    }

    /// What an empty list says. A search that finds nothing is another thing.
    pub(super) fn nothing(&self) -> Empty {
        match self.total {
            0 => self.empty,
            _ => {
                Empty { text: "Nothing fits what you look for.", link: "Show all", href: self.path }
            }
        }
    }

    /// `none`, `ascending` or `descending`.
    pub(super) fn aria_sort(&self, column: &Column) -> &'static str {
        match self.ask.sort.strip_prefix('-') {
            Some(key) if key == column.key => "descending",
            None if self.ask.sort == column.key => "ascending",
            _ => "none",
        }
    }

    /// Where this list is sorted by a column; the other way, if it is already.
    pub(super) fn sorted_by(&self, column: &Column) -> String {
        let reverse = self.aria_sort(column) == "ascending";
        let sort = format!("{}{}", if reverse { "-" } else { "" }, column.key);
        self.address(&sort, 1, "")
    }

    /// The page before this one, if there is one.
    pub(super) fn previous(&self) -> Option<String> {
        (self.page > 1).then(|| self.address(&self.ask.sort, self.page - 1, ""))
    }

    /// The page after this one.
    pub(super) fn next(&self) -> Option<String> {
        (self.page < self.pages()).then(|| self.address(&self.ask.sort, self.page + 1, ""))
    }

    /// All of it as a file.
    pub(super) fn file(&self) -> String {
        self.address(&self.ask.sort, 1, "csv")
    }

    fn address(&self, sort: &str, page: usize, format: &str) -> String {
        let mut address = format!("{}?q={}", self.path, encoded(&self.ask.q));
        if !sort.is_empty() {
            address.push_str(&format!("&sort={}", encoded(sort)));
        }
        if page > 1 {
            address.push_str(&format!("&page={page}"));
        }
        if !format.is_empty() {
            address.push_str(&format!("&format={format}"));
        }
        address
    }

    /// All rows as CSV.
    pub(super) fn csv(&self) -> String {
        let mut text = csv_line(self.columns.iter().map(|column| column.file_key));
        for row in &self.rows {
            text +=
                &csv_line(row.iter().map(|cell| cell.raw.as_ref().unwrap_or(&cell.text).as_str()));
        }
        text
    }
}

/// A line of CSV.
pub(super) fn csv_line<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    let fields: Vec<String> = fields.map(quoted).collect();
    format!("{}\r\n", fields.join(","))
}

/// One field of CSV. What a spreadsheet would take for a formula is made text:
/// names are anybody's.
fn quoted(field: &str) -> String {
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let field = if formula { format!("'{field}") } else { field.to_owned() };
    match field.contains([',', '"', '\n', '\r', '\'']) {
        true => format!("\"{}\"", field.replace('"', "\"\"")),
        false => field,
    }
}

/// Text as a part of an address.
pub(super) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[text("user", "User"), number("seats", "Seats")];

    fn list(rows: usize, ask: Ask) -> Listing {
        let row = |n: usize| vec![Cell::from(format!("user{n}")), Cell::from(n as u64)];
        let empty = Empty { text: "Nobody.", ..Empty::default() };
        let rows = (0..rows).map(row).collect();
        Listing::new("/users", ("user", "users"), COLUMNS, rows, ask, empty)
    }

    fn first(listing: &Listing) -> &str {
        &listing.rows[0][0].text
    }

    #[test]
    fn a_list_counts_sorts_pages_and_looks() {
        let all = list(250, Ask { sort: "-seats".into(), page: 2, ..Ask::default() });
        assert_eq!(first(&all), "user149");
        assert_eq!(all.caption(), "250 users, 101 to 200 on this page");
        assert_eq!(all.next().as_deref(), Some("/users?q=&sort=-seats&page=3"));
        assert_eq!(all.previous().as_deref(), Some("/users?q=&sort=-seats"));
        assert_eq!(all.sorted_by(&COLUMNS[1]), "/users?q=&sort=seats");
        // Numbers are sorted as numbers: 9 before 10.
        assert_eq!(first(&list(20, Ask { sort: "seats".into(), ..Ask::default() })), "user0");
        let found = list(250, Ask { q: " USER24".into(), page: 9, ..Ask::default() });
        assert_eq!((found.rows.len(), found.page), (11, 1));
        assert_eq!(found.caption(), "11 of 250 users");
        let none = list(2, Ask { q: "x".into(), ..Ask::default() });
        assert_eq!(none.nothing().link, "Show all");
        assert_eq!(list(0, Ask::default()).nothing().text, "Nobody.");
    }

    #[test]
    fn a_part_says_that_it_is_one_and_where_the_rest_is() {
        let long = list(250, Ask::default()).part("Who", "a&b");
        assert_eq!(long.caption(), "250 users, the first 100 of them here");
        assert_eq!(long.rest().as_deref(), Some("/users?q=a%26b"));
        let short = list(100, Ask::default()).part("Who", "a&b");
        assert_eq!((short.caption().as_str(), short.rest()), ("100 users", None));
        assert_eq!(list(250, Ask::default()).rest(), None);
    }

    #[test]
    fn a_file_has_all_rows_and_no_formulas() {
        let all = list(250, Ask { format: "csv".into(), ..Ask::default() });
        assert_eq!(all.csv().lines().count(), 251);
        // Times as programs want them.
        const TIMES: &[Column] = &[text("since", "Since"), length("held", "held_ms", "Held for")];
        let row = vec![Cell::instant(1_795_442_709_250), Cell::length(35_000)];
        let ask = Ask { format: "csv".into(), ..Ask::default() };
        let times = Listing::new("/", ("", ""), TIMES, vec![row], ask, Empty::default());
        assert_eq!(times.csv(), "since,held_ms\r\n2026-11-23T14:05:09.25Z,35000\r\n");
        assert_eq!(quoted("=1+1"), "\"'=1+1\"");
        assert_eq!(quoted("a,\"b\""), "\"a,\"\"b\"\"\"");
        assert_eq!(encoded("a&b c/é"), "a%26b%20c%2F%C3%A9");
    }
}
