//! `triad top`: the whole cluster on one screen, alive. Looks at the nodes every
//! other second; asks for nothing that `status`, `features`, `checkouts`, `queue`
//! and `events` would not ask for.

mod screen;
mod terminal;

use std::io::{self, IsTerminal as _};

use tokio::time::Instant;
use triad_proto::v1::{
    CheckoutInfo, HistoryEvent, ListCheckoutsRequest, ListEventsRequest, ListQueueRequest, Pool,
    QueueEntry,
};

use crate::args::watching::TopArguments;
use crate::cluster::{Admin, Cluster};
use crate::duration;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::lists::all_features;
use crate::settings::Settings;
use crate::signals::Signals;
use crate::verdict::Answer;

use screen::{Looks, Screen};
use terminal::{Input, Terminal};

/// Rows that are fetched of checkouts and of the queue: more than fit a screen.
const ROWS_MAX: u32 = 500;
/// Events that are kept to be scrolled through.
const EVENTS_MAX: usize = 500;
/// What has happened before the first look, and is shown.
const EVENTS_BEFORE_MS: u64 = 600_000;

/// What was seen at one look.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// What the nodes said.
    pub answers: Vec<Answer>,
    /// The features.
    pub pools: Vec<Pool>,
    /// Who holds what; the first of them.
    pub checkouts: Vec<CheckoutInfo>,
    /// Who waits; the first of them.
    pub queue: Vec<QueueEntry>,
    /// What happened since the look before.
    pub events: Vec<HistoryEvent>,
    /// What could not be seen, and why.
    pub trouble: Option<String>,
}

/// Shows the cluster until `q`.
pub async fn run(settings: &Settings, arguments: &TopArguments) -> Result<Exit, Failure> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::Usage {
            what: "top needs a terminal".to_owned(),
            remedy: "`triad status --watch` writes to a pipe what it shows".to_owned(),
        });
    }
    // Servers, authority and token are looked at before the screen is taken.
    Cluster::new(settings)?;
    let system = |source| Failure::System { what: "cannot use the terminal", source };
    let looks = Looks { color: settings.output.colors_stdout(), ascii: wants_ascii() };
    let mut screen = Screen::new(looks);
    let mut signals = Signals::listen()?;
    let mut terminal = Terminal::open().map_err(system)?;
    let mut looking = Some(Box::pin(look(settings, 0)));
    let mut look_at = Instant::now();
    loop {
        terminal.draw(|frame| screen.draw(frame)).map_err(system)?;
        let idle = looking.is_none() && !screen.is_paused();
        tokio::select! {
            sight = seen(&mut looking) => {
                screen.see(sight, EVENTS_MAX);
                look_at = Instant::now() + arguments.interval;
            }
            () = duration::until(Some(look_at)), if idle => {
                looking = Some(Box::pin(look(settings, screen.last_event())));
            }
            input = terminal.input() => match input {
                Some(Input::Quit) | None => return Ok(Exit::Ok),
                Some(Input::Refresh) => look_at = Instant::now(),
                Some(input) => screen.press(input),
            },
            _ = signals.next() => return Ok(Exit::Ok),
        }
    }
}

/// The look under way, when it is done; for ever where none is.
async fn seen<F: Future<Output = Sight> + Unpin>(looking: &mut Option<F>) -> Sight {
    match looking {
        Some(look) => {
            let sight = look.await;
            *looking = None;
            sight
        }
        None => std::future::pending().await,
    }
}

/// Looks once. What cannot be seen leaves the rest as it is.
async fn look(settings: &Settings, after_event: u64) -> Sight {
    let mut sight = Sight::default();
    let looked = look_into(settings, after_event, &mut sight).await;
    sight.trouble = looked.err().map(|failure| failure.to_string());
    sight
}

async fn look_into(
    settings: &Settings,
    after_event: u64,
    sight: &mut Sight,
) -> Result<(), Failure> {
    let mut cluster = Cluster::new(settings)?;
    sight.answers = cluster.statuses().await;
    cluster.begin_anew();
    let date_ms = |answer: &Answer| answer.outcome.as_ref().ok().map(|status| status.date_ms);
    let date_ms = sight.answers.iter().find_map(date_ms).unwrap_or(0);
    let read = cluster.read(async |admin: &mut Admin| all_features(admin, "").await).await?;
    sight.pools = read.answer.pools;
    if settings.authorization()?.is_none() {
        return Ok(());
    }
    let since_ms = if after_event == 0 { date_ms.saturating_sub(EVENTS_BEFORE_MS) } else { 0 };
    let read = cluster
        .read(async |admin: &mut Admin| {
            let page = ListCheckoutsRequest { page_size: ROWS_MAX, ..Default::default() };
            let checkouts = admin.list_checkouts(page).await?.into_inner().checkouts;
            let page = ListQueueRequest { page_size: ROWS_MAX, ..Default::default() };
            let queue = admin.list_queue(page).await?.into_inner().entries;
            let request = ListEventsRequest {
                after_sequence: after_event,
                since_ms,
                ..ListEventsRequest::default()
            };
            let mut events = Vec::new();
            let mut stream = admin.list_events(request).await?.into_inner();
            while let Some(answer) = stream.message().await? {
                events.extend(answer.events);
                let surplus = events.len().saturating_sub(EVENTS_MAX);
                events.drain(..surplus);
            }
            Ok((checkouts, queue, events))
        })
        .await?;
    (sight.checkouts, sight.queue, sight.events) = read.answer;
    Ok(())
}

/// Whether the terminal is not to be trusted with more than ASCII.
fn wants_ascii() -> bool {
    let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].iter().find_map(|name| variable(name));
    let is_utf8 = locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    });
    !is_utf8 || variable("TERM").is_none_or(|term| term == "dumb" || term == "linux")
}
