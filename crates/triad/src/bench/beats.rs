//! Heartbeats: as many as there can be (W4a), and those of many sessions that are
//! heard now and then (W4b).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at};

use crate::args::bench::BenchArguments;
use crate::failure::Failure;
use crate::settings::Settings;

use super::figures::{Tally, Window, rounded};
use super::outstanding::refused;
use super::processes::rss_kib;
use super::progress::{Goal, Progress};
use super::report::Run;
use super::site::{Site, some_at_a_time};
use super::spent::{Spent, Watched};
use super::wire::{Session, Way};
use super::workload::Part;

/// Every stream sends a heartbeat, waits for the answer, and so on.
pub async fn run(
    site: &Site,
    settings: &Settings,
    part: &Part,
    arguments: &BenchArguments,
    run: &mut Run,
) -> Result<(), Failure> {
    let way = Way::to_leader(site, arguments.conns).await?;
    let open = |_, session| async move { Ok(session) };
    let sessions = way.each(settings, part.clients, Duration::ZERO, open).await?;
    let tally = Arc::new(Tally::new());
    let watched = Spent::prepare(site).await?;
    let window = Window::after(part.warm_up, part.duration);
    let beats_max = arguments.cycles.map_or(u64::MAX, u64::from);
    let working = sessions.into_iter().map(|session| {
        let tally = tally.clone();
        tokio::spawn(beat_on(session, window, beats_max, tally))
    });
    let working = tokio::spawn(join_all(working.collect::<Vec<_>>()));
    let spent = measure(settings, part, window, watched, working).await;
    tell(run, &tally, spent);
    run.seats_left = Some(site.seats_left().await?);
    Ok(())
}

async fn beat_on(mut session: Session, window: Window, beats_max: u64, tally: Arc<Tally>) {
    let mut beats = 0;
    while Instant::now() < window.until && beats < beats_max {
        let began = Instant::now();
        match session.beat().await {
            Ok(()) if window.has(began, Instant::now()) => {
                beats += 1;
                tally.beats.add(began.elapsed());
            }
            Ok(()) => {}
            Err(status) => return tally.errors.add_status(&status),
        }
    }
    session.close().await;
}

/// Every session holds a seat, and is heard once in each interval.
pub async fn idle(
    site: &Site,
    settings: &Settings,
    part: &Part,
    arguments: &BenchArguments,
    run: &mut Run,
) -> Result<(), Failure> {
    let way = Way::to_leader(site, arguments.conns).await?;
    let before_kib = leader_rss_kib(site).await;
    let tally = Arc::new(Tally::new());
    let lost = Arc::new(AtomicU64::new(0));
    let (open, window) = watch::channel(None);
    let lease = Duration::ZERO;
    let begin = |n, mut session: Session| {
        let (tally, lost, window) = (tally.clone(), lost.clone(), window.clone());
        // A seed of its own for each, the same in every run.
        let share = SmallRng::seed_from_u64(u64::from(n)).random::<f64>();
        async move {
            session.take(&site.pool(n)).await.map_err(refused)?;
            // Never seldomer than a cluster wants that has settings of its own.
            let interval = session.heartbeat.min(arguments.beat);
            Ok(tokio::spawn(async move {
                let kept = heard_now_and_then(session, interval, share, window, &tally).await;
                if kept.is_none() {
                    lost.fetch_add(1, Ordering::Relaxed);
                }
                kept
            }))
        }
    };
    let working = way.each(settings, part.clients, lease, begin).await?;
    let watched = Spent::prepare(site).await?;
    let measured = Window::after(part.warm_up, part.duration);
    open.send_replace(Some(measured));
    let ending = tokio::time::sleep_until(measured.until);
    let spent = measure(settings, part, measured, watched, ending).await;
    let after_kib = leader_rss_kib(site).await;
    drop(open);
    let kept = join_all(working).await.into_iter().flatten().flatten();
    some_at_a_time(kept.map(Session::close)).await;
    tell(run, &tally, spent);
    if let (Some(before), Some(after)) = (before_kib, after_kib) {
        let grown = after.saturating_sub(before) * 1_024;
        run.leader_bytes_per_session = Some(rounded(grown as f64 / f64::from(part.clients)));
    }
    run.sessions_lost = Some(lost.load(Ordering::Relaxed));
    run.seats_left = Some(site.seats_left().await?);
    Ok(())
}

/// Until nobody measures any more. `None` if the session ended sooner.
async fn heard_now_and_then(
    mut session: Session,
    interval: Duration,
    share: f64,
    mut window: watch::Receiver<Option<Window>>,
    tally: &Tally,
) -> Option<Session> {
    // Each at a time of its own, as programs are that started whenever they did.
    let first = Instant::now() + interval.mul_f64(share);
    let mut beats = interval_at(first, interval);
    loop {
        tokio::select! {
            changed = window.changed() => if changed.is_err() { break },
            _ = beats.tick() => {
                let began = Instant::now();
                if let Err(status) = session.beat().await {
                    tally.errors.add_status(&status);
                    return None;
                }
                let open = *window.borrow();
                if open.is_some_and(|window| window.has(began, Instant::now())) {
                    tally.beats.add(began.elapsed());
                }
            }
        }
    }
    Some(session)
}

/// What the nodes spend from the opening of the window until all is done; and how
/// long that was.
async fn measure(
    settings: &Settings,
    part: &Part,
    window: Window,
    watched: Watched<'_>,
    done: impl Future,
) -> (f64, Spent) {
    let title = format!("{}, {} sessions", part.title(), part.clients);
    let goal = Goal::Time(window.until - Instant::now());
    let _shown = Progress::begin(settings.output, title, goal);
    let before = watched.begin_at(window.from).await;
    done.await;
    (window.from.elapsed().as_secs_f64(), before.end())
}

fn tell(run: &mut Run, tally: &Tally, (seconds, spent): (f64, Spent)) {
    let beats = tally.beats.count();
    run.seconds = seconds;
    run.beats = Some(beats);
    run.beats_per_s = Some(rounded(beats as f64 / run.seconds));
    run.beat = Some(tally.beats.latency());
    run.set_errors(&tally.errors);
    spent.tell(run, beats);
}

async fn leader_rss_kib(site: &Site) -> Option<u64> {
    let address = site.leader_address().await.ok()?;
    let node = site.cluster()?.nodes.iter().find(|node| node.address == address)?;
    Some(rss_kib(node.process_id()?))
}
