//! `triad events`: what happened, an event on each line, and what happens.

#[path = "events/debug_log.rs"]
mod debug_log;

use triad_proto::v1::{EndReason, EventKind, HistoryEvent, ListEventsRequest};

use crate::args::OutputFormat;
use crate::args::history::EventsArguments;
use crate::clock;
use crate::cluster::Cluster;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::history::{History, Piece};
use crate::lists::{holder, warn_if_unknown};
use crate::output::{Output, Reader, line};
use crate::settings::Settings;
use crate::table::{Cell, Column, Table};
use crate::text::{counted, instant, person, printable, printable_lines};

/// Kinds of events are numbered from 1 without gaps, and there are fewer.
const KINDS_MAX: i32 = 64;

/// Prints the events that were asked for.
pub async fn run(settings: &Settings, arguments: &EventsArguments) -> Result<Exit, Failure> {
    let window = &arguments.window;
    let feature = window.feature.clone().unwrap_or_default();
    let is_from_now = arguments.follow && window.since.is_none();
    let request = |now_ms: u64| {
        // Whoever follows may wait for the time that is to come.
        let latest_ms = if arguments.follow { u64::MAX } else { now_ms.max(clock::now_ms()) };
        let (since_ms, until_ms) = window.bounds_ms(now_ms, latest_ms)?;
        Ok(ListEventsRequest {
            after_sequence: 0,
            // Whoever follows wants to see what happens, not years of it first.
            since_ms: if is_from_now { now_ms } else { since_ms },
            until_ms,
            feature: feature.clone(),
            kinds: arguments.kinds.iter().map(|kind| (*kind).into()).collect(),
            follow: arguments.follow,
        })
    };
    let mut history = History::open(Cluster::new(settings)?, request).await?;
    if let Some(stale) = history.stale() {
        settings.output.warn(stale);
    }
    if is_from_now {
        warn_if_unknown(settings, &feature).await;
    }
    if arguments.debug_log {
        return debug_log::run(settings, history).await;
    }
    let mut printer = Printer::new(settings.output, arguments.follow);
    let mut reader = printer.begin()?;
    let mut is_silent = true;
    while reader == Reader::Reads {
        let Some(Piece { events, missing, notice, .. }) = history.next().await? else { break };
        if let Some(notice) = notice {
            settings.output.warn(&notice);
        }
        if missing > 0 {
            settings.output.warn(&missing_events(missing));
        }
        is_silent &= events.is_empty();
        reader = printer.print(&events)?;
    }
    printer.end()?;
    if is_silent && reader == Reader::Reads {
        warn_if_unknown(settings, &feature).await;
    }
    Ok(Exit::Ok)
}

/// That a node cannot tell all.
pub fn missing_events(missing: u64) -> String {
    format!(
        "{} of this time are not kept on the node that answered; perhaps another node has them \
         (name it alone with --servers)",
        counted(missing, "event")
    )
}

/// All kinds of events.
pub fn kinds() -> impl Iterator<Item = EventKind> {
    (1..KINDS_MAX).filter_map(|number| EventKind::try_from(number).ok())
}

/// The kind as people write it: `denied`, `marked-lost`.
pub fn kind_name(kind: EventKind) -> String {
    let name = kind.as_str_name().trim_start_matches("EVENT_KIND_");
    name.to_ascii_lowercase().replace('_', "-")
}

/// The kind of this name.
pub fn kind_named(name: &str) -> Option<EventKind> {
    kinds().find(|kind| kind_name(*kind) == name)
}

/// Prints events as they come, in whichever format.
struct Printer {
    output: Output,
    format: OutputFormat,
    printed: u64,
}

impl Printer {
    fn new(output: Output, follow: bool) -> Self {
        let format = match output.format() {
            // A document that never ends cannot be read.
            OutputFormat::Json if follow => OutputFormat::Jsonl,
            format => format,
        };
        Printer { output, format, printed: 0 }
    }

    fn begin(&self) -> Result<Reader, Failure> {
        match self.format {
            OutputFormat::Json => self.output.text_to_reader("{\n  \"events\": ["),
            OutputFormat::Csv => {
                // A name that is no column is told before anything is asked.
                let table = self.output.chosen(event_table(&[]))?;
                let head = if self.output.has_headers() { table.csv_head() } else { String::new() };
                self.output.text_to_reader(&head)
            }
            OutputFormat::Table | OutputFormat::Wide | OutputFormat::Jsonl => Ok(Reader::Reads),
        }
    }

    fn print(&mut self, events: &[HistoryEvent]) -> Result<Reader, Failure> {
        if events.is_empty() {
            return Ok(Reader::Reads);
        }
        let text = match self.format {
            OutputFormat::Table => events.iter().map(|event| told(event, false)).collect(),
            OutputFormat::Wide => events.iter().map(|event| told(event, true)).collect(),
            OutputFormat::Csv => self.output.chosen(event_table(events))?.csv_rows(),
            OutputFormat::Jsonl => events.iter().map(line).collect::<Result<String, Failure>>()?,
            OutputFormat::Json => {
                let mut text = String::new();
                for event in events {
                    text.push_str(if self.printed == 0 { "\n    " } else { ",\n    " });
                    text.push_str(line(event)?.trim_end());
                    self.printed += 1;
                }
                text
            }
        };
        self.output.text_to_reader(&text)
    }

    fn end(&self) -> Result<(), Failure> {
        match self.format {
            OutputFormat::Json => self.output.text("\n  ]\n}\n"),
            _ => Ok(()),
        }
    }
}

/// An event on one line.
pub fn told(event: &HistoryEvent, wide: bool) -> String {
    let words = match event.text.as_str() {
        "" => in_words(event),
        text => printable(text),
    };
    let date = instant(event.date_ms);
    match wide {
        false => format!("{date}  {words}\n"),
        true => {
            let kind = kind_name(event.kind());
            format!("{:>8}  {date}  {kind:<11}  {words}\n", event.sequence)
        }
    }
}

/// An event of a node that has no words for it.
fn in_words(event: &HistoryEvent) -> String {
    let who = holder(event.holder.as_ref());
    let (features, seats) = items(event);
    let mut words = vec![kind_name(event.kind()), person(&who.user, &who.host)];
    words.extend([printable(&features), seats, printable(&reason(event))]);
    words.retain(|word| !word.is_empty());
    printable_lines(&words.join(" "))
}

/// The features that an event is about, and how many seats of each. A return
/// names only the pools that it changed.
fn items(event: &HistoryEvent) -> (String, String) {
    let granted = event.granted.iter().map(|item| (item.feature.as_str(), item.seats));
    let wanted = event.wanted.iter().map(|item| (item.feature.as_str(), item.seats));
    let all: Vec<(&str, u32)> = granted.chain(wanted).collect();
    if all.is_empty() && event.kind() == EventKind::Returned {
        let features: Vec<&str> = event.r#use.iter().map(|pool| pool.feature.as_str()).collect();
        return (features.join(" "), String::new());
    }
    let features: Vec<&str> = all.iter().map(|(feature, _)| *feature).collect();
    let seats: Vec<String> = all.iter().map(|(_, seats)| seats.to_string()).collect();
    (features.join(" "), seats.join(" "))
}

/// Why, in a word or in those of an administrator.
fn reason(event: &HistoryEvent) -> String {
    match (&event.denial, event.end_reason()) {
        (Some(denial), _) => denial.reason().name().to_owned(),
        (None, EndReason::Unspecified) => event.reason.clone(),
        (None, reason) => reason.as_str_name().trim_start_matches("END_REASON_").to_owned(),
    }
}

pub fn event_table(events: &[HistoryEvent]) -> Table {
    let columns = [
        Column::number("SEQUENCE"),
        Column::instant("DATE"),
        Column::text("KIND"),
        Column::text("USER"),
        Column::text("HOST"),
        Column::text("PROJECT"),
        Column::text("FEATURE"),
        Column::text("SEATS"),
        Column::number("CHECKOUT"),
        Column::text("REASON"),
        Column::text("SESSION"),
        Column::number("REQUEST"),
        Column::text("TEXT"),
    ];
    let mut table = Table::new(&columns);
    for event in events {
        let holder = holder(event.holder.as_ref());
        let (features, seats) = items(event);
        table.add([
            event.sequence.into(),
            event.date_ms.into(),
            kind_name(event.kind()).into(),
            holder.user.into(),
            holder.host.into(),
            holder.project.into(),
            features.into(),
            seats.into(),
            Cell::unless_zero(event.checkout_id),
            reason(event).into(),
            event.session_id.as_str().into(),
            Cell::unless_zero(event.request_id),
            event.text.as_str().into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use triad_proto::v1::{GrantedItem, Holder, Item, Reason, Refusal};

    use super::*;

    fn granted() -> HistoryEvent {
        let item = |feature: &str, seats| GrantedItem {
            feature: feature.into(),
            seats,
            ..GrantedItem::default()
        };
        HistoryEvent {
            sequence: 12,
            date_ms: 1_795_442_709_000,
            kind: EventKind::Granted.into(),
            holder: Some(Holder { user: "=ann".into(), host: "n1".into(), ..Holder::default() }),
            checkout_id: 7,
            granted: vec![item("solver", 2), item("viewer", 1)],
            text: "2 seats of solver\x1b[2J".into(),
            ..HistoryEvent::default()
        }
    }

    #[test]
    fn every_kind_has_a_name_and_is_found_by_it() {
        let names: Vec<_> = kinds().map(kind_name).collect();
        assert_eq!(names.len(), 20, "{names:?}");
        assert!(names.contains(&"marked-lost".to_owned()), "{names:?}");
        for kind in kinds() {
            assert_eq!(kind_named(&kind_name(kind)), Some(kind));
        }
        assert_eq!(kind_named("unspecified"), None);
    }

    #[test]
    fn an_event_is_one_harmless_line() {
        let line = told(&granted(), false);
        assert_eq!(line, "2026-11-23 14:05:09Z  2 seats of solver\\u{1b}[2J\n");
        let line = told(&granted(), true);
        assert!(line.starts_with("      12  2026-11-23 14:05:09Z  granted      2 seats"), "{line}");
        let plain = HistoryEvent { text: String::new(), ..granted() };
        assert_eq!(in_words(&plain), "granted =ann@n1 solver viewer 2 1");
    }

    #[test]
    fn programs_get_a_row_for_each_event() {
        let denied = HistoryEvent {
            kind: EventKind::Denied.into(),
            granted: Vec::new(),
            wanted: vec![Item { feature: "solver".into(), seats: 3, ..Item::default() }],
            denial: Some(Refusal::because(Reason::AllReserved, "no")),
            text: "no, \"not\" now".into(),
            checkout_id: 0,
            ..granted()
        };
        let expected = "\
sequence,date,kind,user,host,project,feature,seats,checkout,reason,session,request,text
12,2026-11-23T14:05:09Z,granted,'=ann,n1,,solver viewer,2 1,7,,,,2 seats of solver\\u{1b}[2J
12,2026-11-23T14:05:09Z,denied,'=ann,n1,,solver,3,,ALL_RESERVED,,,\"no, \"\"not\"\" now\"
";
        assert_eq!(event_table(&[granted(), denied]).csv(), expected);
    }
}
