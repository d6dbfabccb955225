//! Holders that fall silent at once (W6): their connections stay, nobody is heard,
//! and each seat is free when its lease is over; how much later, is measured.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::args::bench::BenchArguments;
use crate::duration::show_ms;
use crate::failure::Failure;
use crate::settings::Settings;

use super::figures::Lengths;
use super::outstanding::refused;
use super::progress::{Goal, Progress};
use super::report::Run;
use super::site::Site;
use super::wire::{Session, Way};
use super::workload::{HOT_POOL, Part};

/// Between two looks at who still holds.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// How much later than due seats may be free before it is given up.
const LATE_MAX: Duration = Duration::from_secs(120);

/// Measures it.
pub async fn run(
    site: &Site,
    settings: &Settings,
    part: &Part,
    arguments: &BenchArguments,
    run: &mut Run,
) -> Result<(), Failure> {
    let way = Way::to_leader(site, arguments.conns).await?;
    let take = |_, mut session: Session| async move {
        session.take(HOT_POOL).await.map_err(refused)?;
        Ok((session, Instant::now()))
    };
    // Kept, so that no closed socket tells of an end.
    let silent = way.each(settings, part.clients, arguments.lease, take).await?;
    let last = silent.iter().map(|(_, heard)| *heard).max().unwrap_or_else(Instant::now);
    let due = last + arguments.lease;
    let title = format!("{}, {} holders are silent", part.title(), part.clients);
    let goal = Goal::Time(due.saturating_duration_since(Instant::now()));
    let _shown = Progress::begin(settings.output, title, goal);
    while site.seats_in_use().await? > 0 {
        if Instant::now() > due + LATE_MAX {
            let late = show_ms(LATE_MAX.as_millis() as u64);
            return Err(Failure::Serve(format!("seats are held {late} after the last lease")));
        }
        sleep(LOOK_INTERVAL).await;
    }
    if last.elapsed() < arguments.lease / 2 {
        let what = "seats were free long before the lease of their holders was over";
        return Err(Failure::Serve(what.into()));
    }
    let freed = Lengths::new();
    freed.add(due.elapsed());
    run.seconds = last.elapsed().as_secs_f64();
    run.freed = Some(freed.latency());
    run.seats_left = Some(site.seats_in_use().await?);
    drop(silent);
    Ok(())
}
