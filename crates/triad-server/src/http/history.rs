//! The page of the history, and news as they happen.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use triad_ledger::decode_event;
use triad_proto::v1::{EventKind, HistoryEvent, ListEventsRequest};

use super::Web;
use super::page::{EventLine, Events, Field, Form, Page, Section, saved};
use super::signin::Visitor;
use super::table::{csv_line, encoded};
use super::words::{instant, rfc3339};
use crate::admin_service::Admin;
use crate::history_admin::{event_to_wire, read_beside};
use crate::tokens::until_unknown;

/// Events on one page.
const PAGE_EVENTS: usize = 100;
/// Events that are looked through for a page of those that fit.
const LOOKED_AT_MAX: u64 = 20_000;
const READ_AT_ONCE: u64 = 1_000;
/// A stream of news ends after this, and the browser opens another: so a sign-in
/// that is over gets none for long. One whose token is revoked gets none at all.
const STREAM_MAX: Duration = Duration::from_secs(300);
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const NOTHING: &str = "Nothing has happened yet. Events appear with the first license.";
const NOTHING_FITS: &str = "Nothing fits what you look for among the events that were looked \
                            through. Go on with older ones, or show all.";

/// What is wanted of the history.
#[derive(Default, serde::Deserialize)]
pub(super) struct Wanted {
    /// What is looked for in an event's words.
    #[serde(default)]
    q: String,
    /// A kind of event; any when empty.
    #[serde(default)]
    kind: String,
    /// The newest event that is wanted; 0: of all.
    #[serde(default)]
    from: u64,
    /// `csv` for all that fit as a file.
    #[serde(default)]
    format: String,
}

fn kind_of(event: &HistoryEvent) -> (String, &'static str) {
    let name = event.kind().as_str_name().trim_start_matches("EVENT_KIND_");
    let tone = match event.kind() {
        EventKind::Granted | EventKind::Borrowed | EventKind::Adopted => "good",
        EventKind::Denied => "bad",
        EventKind::Revoked | EventKind::MarkedLost | EventKind::Queued => "wait",
        EventKind::License | EventKind::Policy | EventKind::Epoch => "calm",
        _ => "off",
    };
    (name.to_lowercase().replace('_', " "), tone)
}

fn line(event: HistoryEvent) -> EventLine {
    let (kind, tone) = kind_of(&event);
    let (sequence, date_ms, text) = (event.sequence, event.date_ms, event.text);
    EventLine { sequence, date_ms, at: instant(date_ms), kind, tone, text }
}

/// Up to `count` events that fit, from one on backwards, and the number before
/// the last one that was looked at; 0: there is none.
async fn backwards(
    web: &Web,
    from: u64,
    count: usize,
    fits: impl Fn(&EventLine) -> bool,
) -> (Vec<EventLine>, u64) {
    let history = web.node.consensus.history();
    let bounds = history.bounds();
    let newest = if from == 0 { bounds.last } else { from.min(bounds.last) };
    let mut next = newest;
    let mut lines = Vec::new();
    while next >= bounds.first.max(1) && newest - next < LOOKED_AT_MAX {
        let after = next.saturating_sub(READ_AT_ONCE.min(count as u64 * 2));
        let (reader, through) = (history.clone(), next);
        let wanted = (through - after) as usize;
        let Ok(part) = read_beside(&web.node, move || reader.read(after, wanted)).await else {
            break;
        };
        for (number, bytes) in part.iter().rev().filter(|(number, _)| *number <= through) {
            next = number - 1;
            let Ok(event) = decode_event(bytes) else { continue };
            let line = line(event_to_wire(&event));
            if fits(&line) {
                lines.push(line);
            }
            if lines.len() == count {
                return (lines, next);
            }
        }
        next = next.min(after);
    }
    let more = next >= bounds.first.max(1);
    (lines, if more { next } else { 0 })
}

/// The newest events, which go on by themselves where scripts may run.
pub(super) async fn latest(web: &Web, count: usize) -> Events {
    let (lines, older) = backwards(web, 0, count, |_| true).await;
    let last = web.node.consensus.history().bounds().last;
    Events {
        title: "What happened last",
        live_after: Some(lines.first().map_or(last, |line| line.sequence)),
        lines,
        older: if older > 0 { format!("/events?from={older}") } else { String::new() },
        newest: String::new(),
        file: String::new(),
        empty: NOTHING,
    }
}

/// The history.
pub(super) async fn events(
    State(web): State<Web>,
    visitor: Visitor,
    Query(wanted): Query<Wanted>,
) -> Response {
    let node = &web.node;
    let admin = Admin { node: node.clone() };
    let (freshness, ()) = admin.read(|_| ()).await;
    let looked_for = wanted.q.trim().to_lowercase();
    let fits = |line: &EventLine| {
        (wanted.kind.is_empty() || line.kind == wanted.kind)
            && (looked_for.is_empty() || line.text.to_lowercase().contains(&looked_for))
    };
    if wanted.format == "csv" {
        let (lines, older) = backwards(&web, wanted.from, LOOKED_AT_MAX as usize, fits).await;
        return saved(csv(&lines, older), "events");
    }
    let (lines, older) = backwards(&web, wanted.from, PAGE_EVENTS, fits).await;
    let address = |from: u64| {
        let (q, kind) = (encoded(&wanted.q), encoded(&wanted.kind));
        format!("/events?q={q}&kind={kind}&from={from}")
    };
    let is_all = looked_for.is_empty() && wanted.kind.is_empty();
    let last = node.consensus.history().bounds().last;
    let is_live = is_all && wanted.from == 0;
    let shown = Events {
        title: if is_all {
            "Events, the newest first"
        } else {
            "Events that fit, the newest first"
        },
        live_after: is_live.then(|| lines.first().map_or(last, |line| line.sequence)),
        lines,
        older: if older > 0 { address(older) } else { String::new() },
        newest: if wanted.from > 0 { address(0) } else { String::new() },
        file: format!("{}&format=csv", address(wanted.from)),
        empty: if is_all { NOTHING } else { NOTHING_FITS },
    };
    let mut kind = Field::input("kind", "Kind", "choice");
    let kinds = (1..).map_while(|n| EventKind::try_from(n).ok());
    let kinds =
        kinds.map(|kind| kind_of(&HistoryEvent { kind: kind.into(), ..Default::default() }));
    let all = (String::new(), "all".to_owned());
    kind.choices = [all].into_iter().chain(kinds.map(|(name, _)| (name.clone(), name))).collect();
    kind.value = wanted.kind;
    let mut q = Field::input("q", "Words, such as a user, a host or a feature", "search");
    q.value = wanted.q;
    Page::new("History", "/events", &node.config.name)
        .visitor(Some(visitor))
        .verdict(node.verdict(&freshness))
        .with(Section::Form(Form {
            title: "Look for".into(),
            text: String::new(),
            action: "/events".into(),
            method: "get",
            form_token: String::new(),
            fields: vec![q, kind],
            button: "Search",
        }))
        .with(Section::Events(shown))
        .into_response()
}

/// Events as a file, with the names and forms that the command line has for them. The last line
/// says so if `older` ones, up to that number, were not looked at.
fn csv(lines: &[EventLine], older: u64) -> String {
    let mut text = csv_line(["sequence", "date", "kind", "text"].into_iter());
    for line in lines {
        let (sequence, date) = (line.sequence.to_string(), rfc3339(line.date_ms));
        let kind = line.kind.replace(' ', "-");
        text += &csv_line([&*sequence, &*date, &*kind, &*line.text].into_iter());
    }
    if older > 0 {
        let what = format!("events up to {older} were not looked at; triad events has all of them");
        text += &csv_line(["", "", "cut", &*what].into_iter());
    }
    text
}

/// Where a stream of news begins.
#[derive(serde::Deserialize)]
pub(super) struct Begin {
    after: u64,
}

/// News as they happen, while there is a place for one more stream.
pub(super) async fn live(
    State(web): State<Web>,
    visitor: Visitor,
    headers: HeaderMap,
    Query(begin): Query<Begin>,
) -> Response {
    let Ok(place) = web.streams.clone().try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many are listening\n").into_response();
    };
    // A browser that was cut off says what it saw last.
    let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let after_sequence = seen.unwrap_or(begin.after);
    let admin = Admin { node: web.node.clone() };
    let request = ListEventsRequest { after_sequence, follow: true, ..Default::default() };
    let answers = match admin.events(request).await {
        Ok(answers) => answers,
        Err(refusal) => return (StatusCode::SERVICE_UNAVAILABLE, refusal.message).into_response(),
    };
    let over = until_unknown(web.node.clone(), visitor.bearer);
    let news = answers
        .take_until(tokio::time::sleep(STREAM_MAX))
        .take_until(over)
        .map(move |answer| {
            // The place is taken as long as the stream is there.
            let _ = &place;
            answer.map_or_else(|_| Vec::new(), |answer| answer.events)
        })
        .flat_map(|events| futures::stream::iter(events.into_iter().map(told)));
    Sse::new(news).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

fn told(event: HistoryEvent) -> Result<Event, Infallible> {
    let line = line(event);
    let data = serde_json::json!({
        "sequence": line.sequence, "at": line.at, "kind": line.kind, "tone": line.tone,
        "text": line.text,
    });
    Ok(Event::default().id(line.sequence.to_string()).data(data.to_string()))
}
