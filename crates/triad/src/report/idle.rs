//! `triad report idle`: seats that were taken back because nobody used them,
//! and who holds seats without using them now.

use std::collections::BTreeMap;

use serde::Serialize;
use triad_proto::v1::{CheckoutInfo, EndReason, EventKind, GrantedItem, HistoryEvent};

use super::window::Window;
use crate::lists::holder;
use crate::table::{Cell, Column, Table};
use crate::text::{counted, rfc3339};

/// Checkouts of which it is remembered what they hold. A ledger holds fewer.
const HELD_MAX: usize = 1_000_000;

/// Collects what was taken back.
pub struct Idle {
    window: Window,
    feature: String,
    /// What each checkout holds: a return does not repeat it.
    held: BTreeMap<u64, Vec<(String, u64)>>,
    taken: BTreeMap<(String, String, String), Tally>,
}

/// The kinds of events that it takes to know.
pub const KINDS: [EventKind; 4] =
    [EventKind::Granted, EventKind::Moved, EventKind::Borrowed, EventKind::Returned];

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    times: u64,
    seats: u64,
    last_ms: u64,
}

/// Somebody who is idle, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// "idle now" or "taken back".
    pub what: &'static str,
    /// Which feature.
    pub feature: String,
    /// Who.
    pub user: String,
    /// Where.
    pub host: String,
    /// Seats that are held unused; or were taken back, all times together.
    pub seats: u64,
    /// Idle now: for how long.
    #[serde(skip_serializing_if = "is_zero")]
    pub idle_ms: u64,
    /// Idle now: the checkout.
    #[serde(skip_serializing_if = "is_zero")]
    pub checkout: u64,
    /// Taken back: how often.
    #[serde(skip_serializing_if = "is_zero")]
    pub times: u64,
    /// Taken back: the last time, RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last: String,
    #[serde(skip)]
    last_ms: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Idle {
    /// Of the events in the window; of one feature, or of all if it is empty.
    pub fn new(window: Window, feature: &str) -> Self {
        let (held, taken) = (BTreeMap::new(), BTreeMap::new());
        Idle { window, feature: feature.to_owned(), held, taken }
    }

    /// The next event. Only returns for idleness count; those before the window
    /// say what is held when it begins.
    pub fn event(&mut self, event: &HistoryEvent) {
        if !event.granted.is_empty() && self.held.len() < HELD_MAX {
            let item = |item: &GrantedItem| (item.feature.clone(), u64::from(item.seats));
            self.held.insert(event.checkout_id, event.granted.iter().map(item).collect());
        }
        if event.kind() != EventKind::Returned {
            return;
        }
        let items = self.held.remove(&event.checkout_id).unwrap_or_else(|| {
            // Granted before anything that was read: at least a seat of each.
            event.r#use.iter().map(|pool| (pool.feature.clone(), 1)).collect()
        });
        let is_in = (self.window.from_ms..self.window.to_ms).contains(&event.date_ms);
        if !is_in || event.end_reason() != EndReason::Idle {
            return;
        }
        let who = holder(event.holder.as_ref());
        for (feature, seats) in items {
            if self.is_meant(&feature) {
                let key = (feature, who.user.clone(), who.host.clone());
                let tally = self.taken.entry(key).or_default();
                tally.times += 1;
                tally.seats += seats;
                tally.last_ms = event.date_ms;
            }
        }
    }

    fn is_meant(&self, feature: &str) -> bool {
        self.feature.is_empty() || self.feature == feature
    }

    /// Who is idle now, the longest first; then what was taken back, the most
    /// first.
    pub fn rows(&self, checkouts: &[CheckoutInfo]) -> Vec<Row> {
        let mut now: Vec<Row> = Vec::new();
        for checkout in checkouts.iter().filter(|checkout| checkout.idle_ms > 0) {
            let who = holder(checkout.holder.as_ref());
            for item in checkout.items.iter().filter(|item| self.is_meant(&item.feature)) {
                now.push(Row {
                    what: "idle now",
                    feature: item.feature.clone(),
                    user: who.user.clone(),
                    host: who.host.clone(),
                    seats: item.seats.into(),
                    idle_ms: checkout.idle_ms,
                    checkout: checkout.checkout_id,
                    times: 0,
                    last: String::new(),
                    last_ms: 0,
                });
            }
        }
        now.sort_by_key(|row| std::cmp::Reverse(row.idle_ms));
        let mut taken: Vec<Row> = self.taken.iter().map(|(key, tally)| taken(key, tally)).collect();
        taken.sort_by_key(|row| std::cmp::Reverse(row.seats));
        now.extend(taken);
        now
    }
}

fn taken((feature, user, host): &(String, String, String), tally: &Tally) -> Row {
    Row {
        what: "taken back",
        feature: feature.clone(),
        user: user.clone(),
        host: host.clone(),
        seats: tally.seats,
        idle_ms: 0,
        checkout: 0,
        times: tally.times,
        last: rfc3339(tally.last_ms),
        last_ms: tally.last_ms,
    }
}

/// `3 seats are held unused now; 5 were taken back`.
pub fn summary(rows: &[Row]) -> String {
    let seats = |what| rows.iter().filter(|row| row.what == what).map(|row| row.seats).sum::<u64>();
    let now = match seats("idle now") {
        0 => "no seat is held unused now".to_owned(),
        1 => "1 seat is held unused now".to_owned(),
        seats => format!("{seats} seats are held unused now"),
    };
    match seats("taken back") {
        0 => format!("{now}; none was taken back for idleness"),
        seats => format!("{now}; {} taken back for idleness", counted(seats, "seat")),
    }
}

/// The rows as a table.
pub fn table(rows: &[Row]) -> Table {
    let columns = [
        Column::text("WHAT"),
        Column::text("FEATURE"),
        Column::text("USER"),
        Column::text("HOST"),
        Column::number("SEATS"),
        Column::length("IDLE"),
        Column::number("CHECKOUT"),
        Column::number("TIMES"),
        Column::instant("LAST"),
    ];
    let mut table = Table::new(&columns);
    for row in rows {
        table.add([
            row.what.into(),
            row.feature.as_str().into(),
            row.user.as_str().into(),
            row.host.as_str().into(),
            row.seats.into(),
            Cell::unless_zero(row.idle_ms),
            Cell::unless_zero(row.checkout),
            Cell::unless_zero(row.times),
            Cell::unless_zero(row.last_ms),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::{Holder, PoolUse};

    use super::*;

    fn who(user: &str) -> Option<Holder> {
        Some(Holder { user: user.into(), host: "n1".into(), ..Holder::default() })
    }

    fn item(feature: &str, seats: u32) -> GrantedItem {
        GrantedItem { feature: feature.into(), seats, ..GrantedItem::default() }
    }

    fn granted(date_ms: u64, user: &str, checkout_id: u64) -> HistoryEvent {
        HistoryEvent {
            date_ms,
            kind: EventKind::Granted.into(),
            holder: who(user),
            checkout_id,
            granted: vec![item("solver", 2), item("viewer", 1)],
            ..HistoryEvent::default()
        }
    }

    fn returned(date_ms: u64, user: &str, checkout_id: u64, reason: EndReason) -> HistoryEvent {
        HistoryEvent {
            kind: EventKind::Returned.into(),
            granted: Vec::new(),
            r#use: vec![PoolUse { feature: "solver".into(), ..PoolUse::default() }],
            end_reason: reason.into(),
            ..granted(date_ms, user, checkout_id)
        }
    }

    #[test]
    fn the_idle_of_now_come_before_those_of_then() {
        let mut idle = Idle::new(Window { from_ms: 1_000, to_ms: 100_000 }, "solver");
        for event in [
            granted(400, "ann", 1),
            granted(400, "ann", 2),
            granted(400, "bob", 3),
            returned(500, "ann", 1, EndReason::Idle),
            returned(2_000, "ann", 2, EndReason::Idle),
            returned(3_000, "bob", 3, EndReason::Closed),
            // Granted before anything that is known.
            returned(61_000, "ann", 4, EndReason::Idle),
        ] {
            idle.event(&event);
        }
        let checkout = |user, checkout_id, idle_ms| CheckoutInfo {
            checkout_id,
            holder: who(user),
            items: vec![item("solver", 1), item("viewer", 1)],
            idle_ms,
            ..CheckoutInfo::default()
        };
        let held = [checkout("eve", 7, 60_000), checkout("dan", 8, 0), checkout("kim", 9, 90_000)];
        let rows = idle.rows(&held);
        let expected = "\
WHAT        FEATURE  USER  HOST  SEATS  IDLE        CHECKOUT  TIMES  LAST
idle now    solver   kim   n1    1      1 min 30 s  9         -      -
idle now    solver   eve   n1    1      1 min       7         -      -
taken back  solver   ann   n1    3      -           -         2      1970-01-01 00:01:01Z
";
        assert_eq!(table(&rows).render(), expected);
        assert_eq!(summary(&rows), "2 seats are held unused now; 3 seats taken back for idleness");
        let none = "no seat is held unused now; none was taken back for idleness";
        assert_eq!(summary(&[]), none);
    }
}
