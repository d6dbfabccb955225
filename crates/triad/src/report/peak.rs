//! `triad report peak`: the highest use of each feature, and of each day.

use std::collections::BTreeMap;

use serde::Serialize;

use super::usage::{Observer, Standing};
use super::window::by_day;
use crate::table::{Cell, Column, Table};
use crate::text::rfc3339;

/// Collects the highest and the average use.
#[derive(Default)]
pub struct Peak {
    features: BTreeMap<String, Tally>,
    days: BTreeMap<(u64, String), Tally>,
}

/// What was seen of a feature, in the whole window or on one day.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    peak: Standing,
    at_ms: u64,
    seat_ms: u128,
    length_ms: u64,
}

impl Tally {
    fn stood(&mut self, standing: Standing, from_ms: u64, to_ms: u64) {
        if self.at_ms == 0 || standing.in_use > self.peak.in_use {
            (self.peak, self.at_ms) = (standing, from_ms);
        }
        let length_ms = to_ms - from_ms;
        self.seat_ms += u128::from(standing.in_use) * u128::from(length_ms);
        self.length_ms += length_ms;
    }

    fn also_stood(&mut self, pool: Standing) {
        self.peak.in_use += pool.in_use;
        self.peak.licensed += pool.licensed;
        self.peak.total += pool.total;
        self.peak.uncounted |= pool.uncounted;
        self.seat_ms += u128::from(pool.in_use) * u128::from(self.length_ms);
    }

    /// The average over time, in hundredths of a seat.
    fn average(&self) -> f64 {
        match self.length_ms {
            0 => self.peak.in_use as f64,
            length_ms => (self.seat_ms as f64 * 100.0 / length_ms as f64).round() / 100.0,
        }
    }
}

impl Observer for Peak {
    fn stood(&mut self, feature: &str, standing: Standing, from_ms: u64, to_ms: u64) {
        let tally = self.features.entry(feature.to_owned()).or_default();
        tally.stood(standing, from_ms, to_ms);
        // An instant lies in a day too.
        for part in by_day(from_ms, to_ms.max(from_ms + 1)) {
            let tally = self.days.entry((part.day_ms, feature.to_owned())).or_default();
            tally.stood(standing, part.from_ms, part.to_ms.min(to_ms));
        }
    }

    fn also_stood(&mut self, feature: &str, pool: Standing) {
        if let Some(tally) = self.features.get_mut(feature) {
            tally.also_stood(pool);
        }
        for ((_, name), tally) in &mut self.days {
            if name == feature {
                tally.also_stood(pool);
            }
        }
    }
}

/// The highest use of a feature.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The day, for a row of one day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub day: Option<String>,
    /// Which feature.
    pub feature: String,
    /// The most seats in use.
    pub peak_seats: u64,
    /// When that was first, RFC 3339.
    pub at: String,
    /// Seats bought at that moment.
    pub seats_licensed: u64,
    /// With overdraft.
    pub seats_total: u64,
    /// No count.
    pub uncounted: bool,
    /// Over time, with two decimals.
    pub average_seats: f64,
    #[serde(skip)]
    at_ms: u64,
}

impl Peak {
    /// A row for each feature.
    pub fn features(&self) -> Vec<Row> {
        self.features.iter().map(|(feature, tally)| Row::new(None, feature, tally)).collect()
    }

    /// A row for each day and feature.
    pub fn days(&self) -> Vec<Row> {
        let row = |((day_ms, feature), tally): (&(u64, String), &Tally)| {
            let day = rfc3339(*day_ms).chars().take("2026-11-23".len()).collect();
            Row::new(Some(day), feature, tally)
        };
        self.days.iter().map(row).collect()
    }
}

impl Row {
    fn new(day: Option<String>, feature: &str, tally: &Tally) -> Self {
        Row {
            day,
            feature: feature.to_owned(),
            peak_seats: tally.peak.in_use,
            at: rfc3339(tally.at_ms),
            seats_licensed: tally.peak.licensed,
            seats_total: tally.peak.total,
            uncounted: tally.peak.uncounted,
            average_seats: tally.average(),
            at_ms: tally.at_ms,
        }
    }
}

/// The rows as a table; with the day, if they are of days.
pub fn table(rows: &[Row], of_days: bool) -> Table {
    let columns = [
        Column::text("FEATURE"),
        Column::number("PEAK"),
        Column::instant("AT"),
        Column::number("LICENSED"),
        Column::number("WITH OVERDRAFT"),
        Column::text("AVERAGE"),
    ];
    let cells = |row: &Row| {
        let counted = |number| if row.uncounted { Cell::None } else { Cell::Number(number) };
        [
            row.feature.as_str().into(),
            row.peak_seats.into(),
            row.at_ms.into(),
            counted(row.seats_licensed),
            counted(row.seats_total),
            format!("{:.2}", row.average_seats).into(),
        ]
    };
    if !of_days {
        let mut table = Table::new(&columns);
        rows.iter().for_each(|row| table.add(cells(row)));
        return table;
    }
    let mut table = Table::new(&[&[Column::text("DAY")], &columns[..]].concat());
    for row in rows {
        let [a, b, c, d, e, f]: [Cell; 6] = cells(row);
        table.add([row.day.clone().unwrap_or_default().into(), a, b, c, d, e, f]);
    }
    table
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::EventKind::{Granted, Returned};

    use super::super::usage::Usage;
    use super::super::usage::tests::event;
    use super::super::window::{DAY_MS, Window};
    use super::*;

    /// 2026-11-23.
    const DAY: u64 = 1_795_392_000_000;
    const HOUR: u64 = DAY_MS / 24;

    #[test]
    fn the_peak_is_the_highest_and_its_day_averages_are_over_time() {
        let window = Window { from_ms: DAY, to_ms: DAY + 2 * DAY_MS };
        let mut usage = Usage::new(window, "", Peak::default());
        for event in [
            event(DAY - HOUR, Granted, 1, 2, 2),
            event(DAY + 12 * HOUR, Granted, 1, 4, 6),
            // For an instant only.
            event(DAY + 18 * HOUR, Granted, 1, 5, 11),
            event(DAY + 18 * HOUR, Returned, 1, 5, 6),
            event(DAY + DAY_MS + 12 * HOUR, Returned, 1, 6, 0),
        ] {
            usage.event(&event);
        }
        let peak = usage.finish();
        let text = table(&peak.features(), false).render();
        let expected = "\
FEATURE  PEAK  AT                    LICENSED  WITH OVERDRAFT  AVERAGE
solver   11    2026-11-23 18:00:00Z  10        12              3.50
";
        assert_eq!(text, expected);
        let csv = table(&peak.days(), true).csv();
        let expected = "\
day,feature,peak,at,licensed,with_overdraft,average
2026-11-23,solver,11,2026-11-23T18:00:00Z,10,12,4.00
2026-11-24,solver,6,2026-11-24T00:00:00Z,10,12,3.00
";
        assert_eq!(csv, expected);
    }

    #[test]
    fn use_that_never_changed_is_its_own_peak_on_every_day() {
        let window = Window { from_ms: DAY, to_ms: DAY + 3 * DAY_MS };
        let mut usage = Usage::new(window, "", Peak::default());
        usage.stands(&event(0, Granted, 1, 0, 7).r#use[0]);
        let peak = usage.finish();
        assert_eq!(peak.days().len(), 3);
        assert!(peak.days().iter().all(|row| row.peak_seats == 7 && row.average_seats == 7.0));
    }

    #[test]
    fn a_pool_that_is_met_late_is_added_to_what_was_told() {
        let window = Window { from_ms: DAY, to_ms: DAY + DAY_MS };
        let mut usage = Usage::new(window, "", Peak::default());
        usage.event(&event(DAY + 6 * HOUR, Granted, 1, 3, 3));
        usage.event(&event(DAY + 12 * HOUR, Returned, 1, 3, 0));
        usage.event(&event(DAY + 18 * HOUR, Returned, 2, 5, 0));
        let row = &usage.finish().features()[0];
        assert_eq!((row.peak_seats, row.seats_licensed), (8, 20), "{row:?}");
        // 5 seats for 18 hours and 3 for 6.
        assert_eq!(row.average_seats, 4.5);
    }
}
