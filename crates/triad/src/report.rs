//! `triad report`: what the history comes to. Reading it is here; what it comes
//! to are pure functions over its events, one file each.

mod denials;
mod idle;
mod overdraft;
mod peak;
mod usage;
mod window;

use serde_json::json;
use triad_proto::v1::{EventKind, HistoryEvent, ListEventsRequest, Pool, PoolUse};

use self::denials::Denials;
use self::idle::Idle;
use self::overdraft::Overdraft;
use self::peak::Peak;
use self::usage::{Observer, Usage};
use self::window::Window;
use crate::args::history::{ReportVerb, WindowOptions};
use crate::checkouts::all_checkouts;
use crate::clock;
use crate::cluster::{Admin, Cluster};
use crate::events::missing_events;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::history::History;
use crate::lists::{all_features, warn_if_unknown};
use crate::settings::Settings;
use crate::text::{instant, rfc3339};

/// To know how pools stood when a window began, so many events before it are
/// read. A pool that none of them touched is told by its first event inside.
const LOOK_BACK_EVENTS: u64 = 20_000;

/// Reports what was asked for.
pub async fn run(settings: &Settings, verb: &ReportVerb) -> Result<Exit, Failure> {
    match verb {
        ReportVerb::Peak { window, days } => peak(settings, window, *days).await,
        ReportVerb::Denials { window } => denials(settings, window).await,
        ReportVerb::Idle { window } => idle(settings, window).await,
        ReportVerb::Overdraft { window } => overdraft(settings, window).await,
    }
}

async fn peak(settings: &Settings, options: &WindowOptions, days: bool) -> Result<Exit, Failure> {
    let (window, peak) = used(settings, options, Peak::default()).await?;
    let (features, each_day) = (peak.features(), peak.days());
    let tells_days = days || options.feature.is_some();
    let mut value = json!({
        "from": rfc3339(window.from_ms),
        "to": rfc3339(window.to_ms),
        "features": features,
    });
    if tells_days {
        value["days"] = json!(each_day);
    }
    let mut heading = heading(window);
    if features.is_empty() {
        heading.push_str("nothing was in use\n");
    }
    heading.push('\n');
    if days {
        settings.output.list_below(&heading, &value, &each_day, || peak::table(&each_day, true))?;
        return Ok(Exit::Ok);
    }
    settings.output.list_below(&heading, &value, &features, || peak::table(&features, false))?;
    if tells_days && settings.output.is_for_people() && !each_day.is_empty() {
        settings.output.list_below("\n", &value, &each_day, || peak::table(&each_day, true))?;
    }
    Ok(Exit::Ok)
}

async fn overdraft(settings: &Settings, options: &WindowOptions) -> Result<Exit, Failure> {
    let (window, overdraft) = used(settings, options, Overdraft::default()).await?;
    let rows = overdraft.rows(window);
    let above = rows.iter().filter(|row| row.highest_above > 0).count();
    let summary = match above {
        0 => "no feature was used above what was bought".to_owned(),
        1 => "1 feature was used above what was bought".to_owned(),
        above => format!("{above} features were used above what was bought"),
    };
    let value = json!({
        "from": rfc3339(window.from_ms),
        "to": rfc3339(window.to_ms),
        "features": rows,
    });
    let heading = format!("{}{summary}\n\n", heading(window));
    settings.output.list_below(&heading, &value, &rows, || overdraft::table(&rows))?;
    Ok(Exit::Ok)
}

async fn denials(settings: &Settings, options: &WindowOptions) -> Result<Exit, Failure> {
    let mut reading = Reading::open(settings, options, &[EventKind::Denied]).await?;
    let mut denials = Denials::new(reading.window);
    while let Some(events) = reading.next(settings).await? {
        events.iter().for_each(|event| denials.event(event));
    }
    let rows = denials.rows();
    reading.warn_if_unknown(settings, !rows.is_empty()).await;
    let value = json!({
        "from": rfc3339(reading.window.from_ms),
        "to": rfc3339(reading.window.to_ms),
        "denials": rows,
    });
    let heading = format!("{}{}\n\n", heading(reading.window), denials::summary(&rows));
    settings.output.list_below(&heading, &value, &rows, || denials::table(&rows))?;
    Ok(Exit::Ok)
}

async fn idle(settings: &Settings, options: &WindowOptions) -> Result<Exit, Failure> {
    let mut reading = Reading::open(settings, options, &idle::KINDS).await?;
    let feature = options.feature.clone().unwrap_or_default();
    let mut idle = Idle::new(reading.window, &feature);
    reading.before(settings).await?.iter().for_each(|event| idle.event(event));
    while let Some(events) = reading.next(settings).await? {
        events.iter().for_each(|event| idle.event(event));
    }
    let held = Cluster::new(settings)?
        .read(async |admin: &mut Admin| all_checkouts(admin, &feature).await)
        .await?
        .answer;
    let rows = idle.rows(&held.checkouts);
    reading.warn_if_unknown(settings, !held.checkouts.is_empty()).await;
    let value = json!({
        "from": rfc3339(reading.window.from_ms),
        "to": rfc3339(reading.window.to_ms),
        "idle": rows,
    });
    let heading = format!("{}{}\n\n", heading(reading.window), idle::summary(&rows));
    settings.output.list_below(&heading, &value, &rows, || idle::table(&rows))?;
    Ok(Exit::Ok)
}

/// Which time a report is about.
fn heading(window: Window) -> String {
    match window.from_ms {
        0 => format!("up to {}\n", instant(window.to_ms)),
        from_ms => format!("from {} to {}\n", instant(from_ms), instant(window.to_ms)),
    }
}

/// The use of all features in a window, as `observer` sees it.
async fn used<O: Observer>(
    settings: &Settings,
    options: &WindowOptions,
    observer: O,
) -> Result<(Window, O), Failure> {
    let mut reading = Reading::open(settings, options, &[]).await?;
    let window = reading.window;
    let feature = options.feature.clone().unwrap_or_default();
    let mut usage = Usage::new(window, &feature, observer);
    reading.before(settings).await?.iter().for_each(|event| usage.event(event));
    while let Some(events) = reading.next(settings).await? {
        events.iter().for_each(|event| usage.event(event));
    }
    // What stands now says nothing of a window that ended before.
    let mut stands = false;
    if reading.is_to_now {
        let features = Cluster::new(settings)?
            .read(async |admin: &mut Admin| all_features(admin, &feature).await)
            .await?
            .answer;
        stands = !features.pools.is_empty();
        features.pools.iter().map(as_use).for_each(|pool| usage.stands(&pool));
    }
    reading.warn_if_unknown(settings, stands).await;
    Ok((window, usage.finish()))
}

fn as_use(pool: &Pool) -> PoolUse {
    PoolUse {
        pool_id: pool.pool_id,
        feature: pool.feature.clone(),
        seats_in_use: pool.seats_in_use,
        seats_licensed: pool.seats_licensed,
        seats_total: pool.seats_licensed + pool.overdraft,
        uncounted: pool.uncounted,
    }
}

/// Reading the events of a window.
struct Reading {
    history: History,
    window: Window,
    request: ListEventsRequest,
    /// What came first, and says where in the history the window begins.
    pending: Option<Vec<HistoryEvent>>,
    /// The window ends with what stands now.
    is_to_now: bool,
    /// Events were read, in the window or before it.
    found: bool,
}

impl Reading {
    async fn open(
        settings: &Settings,
        options: &WindowOptions,
        kinds: &[EventKind],
    ) -> Result<Self, Failure> {
        let mut request = ListEventsRequest {
            feature: options.feature.clone().unwrap_or_default(),
            kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
            ..ListEventsRequest::default()
        };
        let asked = |now_ms: u64| {
            let latest_ms = now_ms.max(clock::now_ms());
            (request.since_ms, request.until_ms) = options.bounds_ms(now_ms, latest_ms)?;
            Ok(request.clone())
        };
        let history = History::open(Cluster::new(settings)?, asked).await?;
        if let Some(stale) = history.stale() {
            settings.output.warn(stale);
        }
        // What has not happened yet is part of nothing.
        let is_to_now = request.until_ms == 0 || request.until_ms >= history.date_ms();
        let to_ms = if is_to_now { history.date_ms() } else { request.until_ms };
        let mut window = Window { from_ms: request.since_ms, to_ms };
        // Time before the oldest event is not part of anything.
        let oldest = oldest(settings).await?;
        let oldest_ms = oldest.as_ref().map_or(to_ms, |event| event.date_ms);
        let begins = |event: HistoryEvent| {
            format!("the history that is kept begins at {}", instant(event.date_ms))
        };
        if oldest_ms >= to_ms {
            if let Some(event) = oldest {
                settings.output.warn(&format!("{}, after this time", begins(event)));
            }
        } else if window.from_ms < oldest_ms {
            if let Some(event) = oldest.filter(|event| event.sequence > 1 && window.from_ms > 0) {
                let told = format!("{}; what was before is not counted", begins(event));
                settings.output.warn(&told);
            }
            window.from_ms = oldest_ms;
        }
        let (pending, found) = (None, false);
        let mut reading = Reading { history, window, request, pending, is_to_now, found };
        reading.pending = reading.next(settings).await?;
        reading.found = reading.pending.is_some();
        Ok(reading)
    }

    /// The next events of the window, at least one; `None` after the last.
    async fn next(&mut self, settings: &Settings) -> Result<Option<Vec<HistoryEvent>>, Failure> {
        if let Some(events) = self.pending.take() {
            return Ok(Some(events));
        }
        while let Some(piece) = self.history.next().await? {
            if let Some(notice) = &piece.notice {
                settings.output.warn(notice);
            }
            if piece.missing > 0 {
                settings.output.warn(&missing_events(piece.missing));
            }
            if !piece.events.is_empty() {
                return Ok(Some(piece.events));
            }
        }
        Ok(None)
    }

    /// Events before the window, in order, as far as they are looked at.
    async fn before(&mut self, settings: &Settings) -> Result<Vec<HistoryEvent>, Failure> {
        let (_, last_kept) = self.history.kept();
        let first = self.pending.as_ref().and_then(|events| events.first());
        let first = first.map_or(last_kept + 1, |event| event.sequence);
        let request = ListEventsRequest {
            after_sequence: first.saturating_sub(1 + LOOK_BACK_EVENTS),
            since_ms: 0,
            until_ms: self.window.from_ms,
            ..self.request.clone()
        };
        let mut history = History::open(Cluster::new(settings)?, |_| Ok(request)).await?;
        let mut events = Vec::new();
        while let Some(piece) = history.next().await? {
            events.extend(piece.events);
        }
        self.found |= !events.is_empty();
        Ok(events)
    }

    /// Warns of a feature that no license names, unless something was found of it all the
    /// same: what is no longer licensed has a history.
    async fn warn_if_unknown(&self, settings: &Settings, is_known: bool) {
        if !self.found && !is_known {
            warn_if_unknown(settings, &self.request.feature).await;
        }
    }
}

/// The oldest event that is kept.
async fn oldest(settings: &Settings) -> Result<Option<HistoryEvent>, Failure> {
    let asked = |_| Ok(ListEventsRequest::default());
    let mut history = History::open(Cluster::new(settings)?, asked).await?;
    while let Some(piece) = history.next().await? {
        if let Some(event) = piece.events.into_iter().next() {
            return Ok(Some(event));
        }
    }
    Ok(None)
}
