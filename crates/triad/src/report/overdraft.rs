//! `triad report overdraft`: how long and how high use was above what was
//! bought.

use std::collections::BTreeMap;

use serde::Serialize;

use super::usage::{Observer, Standing};
use super::window::Window;
use crate::table::{Cell, Column, Table};
use crate::text::rfc3339;

/// Collects the time above.
#[derive(Default)]
pub struct Overdraft(BTreeMap<String, Tally>);

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    highest: Standing,
    at_ms: u64,
    above_ms: u64,
    times: u64,
    last: Standing,
}

impl Observer for Overdraft {
    fn stood(&mut self, feature: &str, standing: Standing, from_ms: u64, to_ms: u64) {
        let tally = self.0.entry(feature.to_owned()).or_default();
        if standing.above > 0 {
            tally.above_ms += to_ms - from_ms;
            tally.times += u64::from(tally.last.above == 0);
        }
        if standing.above > tally.highest.above {
            (tally.highest, tally.at_ms) = (standing, from_ms);
        }
        tally.last = standing;
    }

    /// A pool that nobody had mentioned was above all the time, or never.
    fn also_stood(&mut self, feature: &str, pool: Standing) {
        let Some(tally) = self.0.get_mut(feature) else { return };
        tally.highest.above += if tally.highest.above > 0 { pool.above } else { 0 };
        tally.last.above += pool.above;
    }
}

/// The overdraft of a feature.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Which feature.
    pub feature: String,
    /// The most seats in use beyond those bought.
    pub highest_above: u64,
    /// When that was first, RFC 3339. Empty: never.
    pub at: String,
    /// Seats bought: at that moment, or at the end.
    pub seats_licensed: u64,
    /// How many more may be used.
    pub overdraft_allowed: u64,
    /// For how long use was above.
    pub above_ms: u64,
    /// Of the whole time, in percent with one decimal.
    pub above_percent: f64,
    /// How often it rose above.
    pub times: u64,
    /// Above at the end.
    pub above_now: u64,
    #[serde(skip)]
    at_ms: u64,
}

impl Overdraft {
    /// A row for each feature that was above or has an overdraft; the longest
    /// above first.
    pub fn rows(&self, window: Window) -> Vec<Row> {
        let row = |(feature, tally): (&String, &Tally)| {
            let of = if tally.highest.above > 0 { tally.highest } else { tally.last };
            let percent = tally.above_ms as f64 * 100.0 / window.length_ms().max(1) as f64;
            Row {
                feature: feature.clone(),
                highest_above: tally.highest.above,
                at: if tally.at_ms == 0 { String::new() } else { rfc3339(tally.at_ms) },
                seats_licensed: of.licensed,
                overdraft_allowed: of.total.saturating_sub(of.licensed),
                above_ms: tally.above_ms,
                above_percent: (percent * 10.0).round() / 10.0,
                times: tally.times,
                above_now: tally.last.above,
                at_ms: tally.at_ms,
            }
        };
        let mut rows: Vec<Row> = self.0.iter().map(row).collect();
        rows.retain(|row| row.highest_above > 0 || row.overdraft_allowed > 0);
        rows.sort_by_key(|row| std::cmp::Reverse(row.above_ms));
        rows
    }
}

/// The rows as a table.
pub fn table(rows: &[Row]) -> Table {
    let columns = [
        Column::text("FEATURE"),
        Column::number("LICENSED"),
        Column::number("OVERDRAFT"),
        Column::number("HIGHEST ABOVE"),
        Column::instant("AT"),
        Column::length("TIME ABOVE"),
        Column::text("PERCENT"),
        Column::number("TIMES"),
        Column::number("ABOVE NOW"),
    ];
    let mut table = Table::new(&columns);
    for row in rows {
        table.add([
            row.feature.as_str().into(),
            row.seats_licensed.into(),
            row.overdraft_allowed.into(),
            row.highest_above.into(),
            Cell::unless_zero(row.at_ms),
            row.above_ms.into(),
            format!("{:.1}", row.above_percent).into(),
            row.times.into(),
            row.above_now.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::EventKind::{Granted, Returned};

    use super::super::usage::Usage;
    use super::super::usage::tests::event;
    use super::*;

    const WINDOW: Window = Window { from_ms: 1_000_000, to_ms: 2_000_000 };

    fn rows(events: &[(u64, u64)]) -> Vec<Row> {
        let mut usage = Usage::new(WINDOW, "", Overdraft::default());
        let mut in_use = 0;
        for (date_ms, after) in events {
            let kind = if *after > in_use { Granted } else { Returned };
            let seats = after.abs_diff(in_use) as u32;
            usage.event(&event(*date_ms, kind, 1, seats, *after));
            in_use = *after;
        }
        usage.finish().rows(WINDOW)
    }

    #[test]
    fn time_above_is_counted_and_its_highest_is_dated() {
        // Ten are bought: above from 1,100 s to 1,300 s and from 1,900 s on.
        let events = [
            (900_000, 9),
            (1_100_000, 11),
            (1_200_000, 12),
            (1_250_000, 11),
            (1_300_000, 10),
            (1_900_000, 11),
        ];
        let text = table(&rows(&events)).render();
        let expected = "\
FEATURE  LICENSED  OVERDRAFT  HIGHEST ABOVE  AT                    TIME ABOVE  PERCENT  TIMES  ABOVE NOW
solver   10        2          2              1970-01-01 00:20:00Z  5 min       30.0     2      1
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_was_above_before_the_window_counts_from_its_beginning() {
        let row = &rows(&[(500_000, 12)])[0];
        assert_eq!((row.above_ms, row.times, row.highest_above), (1_000_000, 1, 2), "{row:?}");
        assert_eq!(row.above_percent, 100.0);
    }

    #[test]
    fn an_overdraft_that_nobody_used_is_a_row_of_nothing() {
        let row = &rows(&[(1_500_000, 3)])[0];
        assert_eq!((row.above_ms, row.times, row.at.as_str()), (0, 0, ""), "{row:?}");
        assert!(rows(&[]).is_empty());
    }
}
