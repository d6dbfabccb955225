//! `triad report denials`: who was denied what and why, each request once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Serialize;
use triad_proto::v1::{EventKind, HistoryEvent};

use super::window::Window;
use crate::lists::holder;
use crate::table::{Column, Table};
use crate::text::rfc3339;

/// A request is denied once, and a repetition of its denial follows soon; so
/// many are remembered to tell.
const REMEMBERED_MAX: usize = 100_000;

/// Collects denials.
pub struct Denials {
    window: Window,
    counts: BTreeMap<Key, Tally>,
    remembered: BTreeMap<Request, Key>,
    order: VecDeque<Request>,
}

type Request = (String, u64);

/// What is counted together: the feature, the reason, the user.
type Key = (String, &'static str, String);

#[derive(Clone, Copy, Debug)]
struct Tally {
    count: u64,
    first_ms: u64,
    last_ms: u64,
}

impl Denials {
    /// Of the events in the window.
    pub fn new(window: Window) -> Self {
        Denials {
            window,
            counts: BTreeMap::new(),
            remembered: BTreeMap::new(),
            order: VecDeque::new(),
        }
    }

    /// The next event. Only denials count.
    pub fn event(&mut self, event: &HistoryEvent) {
        let Window { from_ms, to_ms } = self.window;
        let Some(denial) = &event.denial else { return };
        let is_in = (from_ms..to_ms).contains(&event.date_ms);
        if event.kind() != EventKind::Denied || !is_in {
            return;
        }
        let feature = match denial.feature.as_str() {
            "" => event.wanted.first().map(|item| item.feature.clone()).unwrap_or_default(),
            feature => feature.to_owned(),
        };
        let key = (feature, denial.reason().name(), holder(event.holder.as_ref()).user);
        let tally = self.counts.entry(key.clone()).or_insert(Tally {
            count: 0,
            first_ms: event.date_ms,
            last_ms: event.date_ms,
        });
        tally.count += 1;
        tally.last_ms = event.date_ms;
        self.remember(event, key);
    }

    /// Takes back the count of an earlier answer to the same request: only the
    /// last is final.
    fn remember(&mut self, event: &HistoryEvent, key: Key) {
        if event.request_id == 0 {
            return;
        }
        let request = (event.session_id.clone(), event.request_id);
        if let Some(earlier) = self.remembered.insert(request.clone(), key) {
            if let Some(tally) = self.counts.get_mut(&earlier) {
                tally.count -= 1;
            }
            self.counts.retain(|_, tally| tally.count > 0);
            return;
        }
        self.order.push_back(request);
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.remembered.remove(&oldest);
        }
    }

    /// A row for each feature, reason and user; the most first.
    pub fn rows(&self) -> Vec<Row> {
        let row = |((feature, reason, user), tally): (&Key, &Tally)| Row {
            feature: feature.clone(),
            reason,
            user: user.clone(),
            denials: tally.count,
            first: rfc3339(tally.first_ms),
            last: rfc3339(tally.last_ms),
            first_ms: tally.first_ms,
            last_ms: tally.last_ms,
        };
        let mut rows: Vec<Row> = self.counts.iter().map(row).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.denials));
        rows
    }
}

/// How often somebody was denied a feature for a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Which feature.
    pub feature: String,
    /// Why, as `triad explain` knows it.
    pub reason: &'static str,
    /// Who.
    pub user: String,
    /// How many requests.
    pub denials: u64,
    /// The first, RFC 3339.
    pub first: String,
    /// The last, RFC 3339.
    pub last: String,
    #[serde(skip)]
    first_ms: u64,
    #[serde(skip)]
    last_ms: u64,
}

/// `7 requests were denied: 5 LICENSES_EXHAUSTED, 2 EXCLUDED; 3 users`.
pub fn summary(rows: &[Row]) -> String {
    let total: u64 = rows.iter().map(|row| row.denials).sum();
    if total == 0 {
        return "no request was denied".to_owned();
    }
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for row in rows {
        *reasons.entry(row.reason).or_default() += row.denials;
    }
    let mut reasons: Vec<_> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let reasons: Vec<_> = reasons.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let users: BTreeSet<&str> = rows.iter().map(|row| row.user.as_str()).collect();
    let (requests, were) = if total == 1 { ("request", "was") } else { ("requests", "were") };
    let noun = if users.len() == 1 { "user" } else { "users" };
    format!("{total} {requests} {were} denied: {}; {} {noun}", reasons.join(", "), users.len())
}

/// The rows as a table.
pub fn table(rows: &[Row]) -> Table {
    let columns = [
        Column::text("FEATURE"),
        Column::text("REASON"),
        Column::text("USER"),
        Column::number("DENIALS"),
        Column::instant("FIRST"),
        Column::instant("LAST"),
    ];
    let mut table = Table::new(&columns);
    for row in rows {
        table.add([
            row.feature.as_str().into(),
            row.reason.into(),
            row.user.as_str().into(),
            row.denials.into(),
            row.first_ms.into(),
            row.last_ms.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::{Holder, Item, Reason, Refusal};

    use super::*;

    fn denied(date_ms: u64, user: &str, request_id: u64, reason: Reason) -> HistoryEvent {
        HistoryEvent {
            date_ms,
            kind: EventKind::Denied.into(),
            session_id: user.into(),
            holder: Some(Holder { user: user.into(), ..Holder::default() }),
            request_id,
            wanted: vec![Item { feature: "solver".into(), ..Item::default() }],
            denial: Some(Refusal::because(reason, "no")),
            ..HistoryEvent::default()
        }
    }

    fn rows(events: &[HistoryEvent]) -> Vec<Row> {
        let mut denials = Denials::new(Window { from_ms: 1_000, to_ms: 9_000_000 });
        events.iter().for_each(|event| denials.event(event));
        denials.rows()
    }

    #[test]
    fn denials_are_counted_by_feature_reason_and_user() {
        let events = [
            denied(500, "ann", 1, Reason::LicensesExhausted),
            denied(1_000, "ann", 2, Reason::LicensesExhausted),
            denied(2_000, "bob", 1, Reason::Excluded),
            denied(61_000, "ann", 3, Reason::LicensesExhausted),
            HistoryEvent {
                kind: EventKind::Granted.into(),
                ..denied(3_000, "x", 1, Reason::Excluded)
            },
            denied(9_000_000, "ann", 4, Reason::LicensesExhausted),
        ];
        let rows = rows(&events);
        let expected = "\
FEATURE  REASON              USER  DENIALS  FIRST                 LAST
solver   LICENSES_EXHAUSTED  ann   2        1970-01-01 00:00:01Z  1970-01-01 00:01:01Z
solver   EXCLUDED            bob   1        1970-01-01 00:00:02Z  1970-01-01 00:00:02Z
";
        assert_eq!(table(&rows).render(), expected);
        let told = "3 requests were denied: 2 LICENSES_EXHAUSTED, 1 EXCLUDED; 2 users";
        assert_eq!(summary(&rows), told);
        assert_eq!(summary(&[]), "no request was denied");
    }

    #[test]
    fn a_request_counts_once_and_its_last_answer_is_the_one() {
        let events = [
            denied(2_000, "ann", 7, Reason::LicensesExhausted),
            denied(5_000, "ann", 7, Reason::QueueTimedOut),
            denied(5_000, "bob", 7, Reason::QueueTimedOut),
        ];
        let rows = rows(&events);
        let told: Vec<_> = rows.iter().map(|row| (row.reason, row.denials)).collect();
        assert_eq!(told, [("QUEUE_TIMED_OUT", 1), ("QUEUE_TIMED_OUT", 1)]);
        // Without a number nothing can be the same request.
        let unnumbered = denied(2_000, "ann", 0, Reason::Excluded);
        assert_eq!(
            super::summary(&super::tests::rows(&[unnumbered.clone(), unnumbered])),
            "2 requests were denied: 2 EXCLUDED; 1 user"
        );
    }
}
