//! The history as a debug log of FlexNet, for analysers that read one: a line for
//! each seat that went out, came in, or was denied.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use triad_proto::v1::{EventKind, HistoryEvent};

use crate::cluster::{Admin, Cluster};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::history::{History, Piece};
use crate::lists::{all_features, holder};
use crate::lmutil::plain;
use crate::output::Reader;
use crate::reasons::explanation;
use crate::settings::Settings;

/// Checkouts that are remembered to name them when they come back. A history
/// says of a return only which checkout it was.
const REMEMBERED_MAX: usize = 200_000;

/// Prints the events as they come.
pub async fn run(settings: &Settings, mut history: History) -> Result<Exit, Failure> {
    let read = Cluster::new(settings)?
        .read(async |admin: &mut Admin| all_features(admin, "").await)
        .await?;
    let vendors = read.answer.pools.into_iter().map(|p| (p.feature, plain::vendor(&p.publisher)));
    let mut log = DebugLog::new(vendors.collect(), TimeZone::system());
    let mut reader = Reader::Reads;
    while reader == Reader::Reads {
        let Some(Piece { events, notice, .. }) = history.next().await? else { break };
        if let Some(notice) = notice {
            settings.output.warn(&notice);
        }
        let text: String = events.iter().map(|event| log.lines(event)).collect();
        reader = settings.output.text_to_reader(&text)?;
    }
    Ok(Exit::Ok)
}

/// What a line needs to know besides its event.
struct DebugLog {
    vendors: BTreeMap<String, String>,
    zone: TimeZone,
    day: String,
    /// Who holds what, by checkout: `user@host`, and the features with seats.
    out: BTreeMap<u64, (String, Vec<(String, u32)>)>,
}

impl DebugLog {
    fn new(vendors: BTreeMap<String, String>, zone: TimeZone) -> Self {
        DebugLog { vendors, zone, day: String::new(), out: BTreeMap::new() }
    }

    /// The lines of one event; each is ended by a line feed.
    fn lines(&mut self, event: &HistoryEvent) -> String {
        let who = holder(event.holder.as_ref());
        let who = format!("{}@{}", plain::user(&who.user), plain::host(&who.host));
        let granted = || event.granted.iter().map(|item| (item.feature.clone(), item.seats));
        let (word, who, items, why) = match event.kind() {
            EventKind::Granted | EventKind::Borrowed => {
                let items: Vec<_> = granted().collect();
                self.remember(event.checkout_id, &who, &items);
                ("OUT", who, items, String::new())
            }
            EventKind::Denied => {
                let items = event.wanted.iter().map(|item| (item.feature.clone(), item.seats));
                ("DENIED", who, items.collect(), why(event))
            }
            EventKind::Returned => {
                let known = self.out.remove(&event.checkout_id);
                let (who, items) = known.unwrap_or_else(|| {
                    let pools = event.r#use.iter();
                    (who, pools.map(|pool| (pool.feature.clone(), 1)).collect())
                });
                ("IN", who, items, String::new())
            }
            _ => return String::new(),
        };
        let at = self.at(event.date_ms);
        let mut text = String::new();
        let day = at.strftime("%-m/%-d/%Y").to_string();
        let time = at.strftime("%H:%M:%S");
        if day != self.day {
            let _ = writeln!(text, "{time} (triad) TIMESTAMP {day}");
            self.day = day;
        }
        for (feature, seats) in items {
            let vendor = self.vendors.get(&feature).map_or("triad", String::as_str);
            let feature = plain::subject(&feature);
            let count = if seats > 1 { format!(" ({seats} licenses)") } else { String::new() };
            let _ = writeln!(text, "{time} ({vendor}) {word}: \"{feature}\" {who}{count}{why}");
        }
        text
    }

    fn remember(&mut self, checkout: u64, who: &str, items: &[(String, u32)]) {
        if self.out.len() >= REMEMBERED_MAX {
            self.out.pop_first();
        }
        self.out.insert(checkout, (who.to_owned(), items.to_vec()));
    }

    fn at(&self, ms: u64) -> Zoned {
        let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        at.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone())
    }
}

/// ` (Licensed number of users already reached. (-4))`, in our words.
fn why(event: &HistoryEvent) -> String {
    let Some(denial) = &event.denial else { return String::new() };
    let number = explanation(denial.reason()).flexnet.first();
    let number = number.map_or(String::new(), |number| format!(" ({number})"));
    format!(" ({}{number})", denial.reason().name())
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::{GrantedItem, Holder, Item, PoolUse, Reason, Refusal};

    use super::*;

    fn event(kind: EventKind, date_ms: u64) -> HistoryEvent {
        let holder = Holder { user: "ann b".into(), host: "n1".into(), ..Holder::default() };
        HistoryEvent {
            kind: kind.into(),
            date_ms,
            checkout_id: 7,
            holder: Some(holder),
            ..HistoryEvent::default()
        }
    }

    #[test]
    fn seats_go_out_come_in_and_are_denied() {
        let vendors = [("solver".to_owned(), "acme".to_owned())].into();
        let mut log = DebugLog::new(vendors, TimeZone::UTC);
        let start = 1_795_393_260_000;
        let mut out = event(EventKind::Granted, start);
        out.granted =
            vec![GrantedItem { feature: "solver".into(), seats: 4, ..GrantedItem::default() }];
        let mut denied = event(EventKind::Denied, start + 61_000);
        denied.wanted = vec![Item { feature: "viewer".into(), seats: 1, ..Item::default() }];
        denied.denial = Some(Refusal::because(Reason::FeatureUnknown, "no"));
        let back = HistoryEvent {
            holder: None,
            r#use: vec![PoolUse { feature: "solver".into(), ..PoolUse::default() }],
            ..event(EventKind::Returned, start + 86_400_000)
        };
        let opened = event(EventKind::Opened, start);
        let lines: String =
            [opened, out, denied, back].iter().map(|event| log.lines(event)).collect();
        let expected = "\
00:21:00 (triad) TIMESTAMP 11/23/2026
00:21:00 (acme) OUT: \"solver\" ann_b@n1 (4 licenses)
00:22:01 (triad) DENIED: \"viewer\" ann_b@n1 (FEATURE_UNKNOWN (-5))
00:21:00 (triad) TIMESTAMP 11/24/2026
00:21:00 (acme) IN: \"solver\" ann_b@n1 (4 licenses)
";
        assert_eq!(lines, expected);
    }
}
