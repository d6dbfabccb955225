//! Checkouts and checkins, one after the other, by many clients at once: W1, W2,
//! W3 and what is made of them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep, sleep_until};
use triad_client::{Client, Error, Reason};

use crate::failure::Failure;
use crate::settings::Settings;

use super::figures::{Tally, Window, fairness};
use super::outstanding::Outstanding;
use super::progress::{Goal, Progress};
use super::report::Run;
use super::site::{Site, some_at_a_time};
use super::spent::Spent;
use super::syscalls::Strace;
use super::workload::{Cycles, HOT_POOL, Part};

/// After an error a client waits this long, so that errors are not made by the
/// million.
const ERROR_PAUSE: Duration = Duration::from_millis(5);
/// How long system calls are counted: strace makes everything slower, so that
/// nothing else is measured meanwhile.
const STRACE_TIME: Duration = Duration::from_secs(2);

/// What a client needs to know.
struct Task {
    pools: Vec<String>,
    cycles: Cycles,
    tally: Tally,
    window: Window,
}

/// Measures it.
pub async fn run(
    site: &Site,
    settings: &Settings,
    part: &Part,
    cycles: Cycles,
    is_traced: bool,
    run: &mut Run,
) -> Result<(), Failure> {
    let pools: Vec<String> = match cycles.hot {
        Some(_) => vec![HOT_POOL.to_owned()],
        None => (0..site.pools).map(|n| site.pool(n)).collect(),
    };
    let others = Outstanding::take(site, settings, &pools, part.outstanding).await?;
    let ballast = match cycles.hot {
        Some(free) => site.ballast(free, part.outstanding).await?,
        None => None,
    };
    let clients = site.clients(settings, part.clients).await?;

    let measured = measure(site, settings, part, clients, &pools, cycles).await?;
    let (clients, measured) = measured;
    measured.tell(run);
    if is_traced && let Some(strace) = Strace::begin(site, settings).await? {
        let duration = if cycles.cycles_max.is_some() { part.duration } else { STRACE_TIME };
        let part = Part { warm_up: Duration::ZERO, duration, ..part.clone() };
        let (clients, traced) = measure(site, settings, &part, clients, &pools, cycles).await?;
        let all = traced.served.iter().sum();
        run.syscalls_per_cycle = Some(strace.end(all).await?);
        some_at_a_time(clients.into_iter().map(Client::close)).await;
    } else {
        some_at_a_time(clients.into_iter().map(Client::close)).await;
    }
    if let Some((client, held)) = ballast {
        held.give_back().await.map_err(crate::holding::failure)?;
        client.close().await;
    }
    others.give_back().await?;
    run.seats_left = Some(site.seats_left().await?);
    Ok(())
}

struct Measured {
    task: Arc<Task>,
    /// Cycles of each client within the window.
    served: Vec<u64>,
    seconds: f64,
    spent: Spent,
}

async fn measure(
    site: &Site,
    settings: &Settings,
    part: &Part,
    clients: Vec<Client>,
    pools: &[String],
    cycles: Cycles,
) -> Result<(Vec<Client>, Measured), Failure> {
    let watched = Spent::prepare(site).await?;
    let window = Window::after(part.warm_up, part.duration);
    let Window { from, until } = window;
    let task = Task { pools: pools.to_vec(), cycles, tally: Tally::new(), window };
    let task = Arc::new(task);
    let goal = match task.cycles.cycles_max {
        Some(_) => None,
        None => Some(Goal::Time(until - Instant::now())),
    };
    let title = format!("{}, {} clients", part.title(), part.clients);
    let _shown = goal.map(|goal| Progress::begin(settings.output, title, goal));
    let working = clients.into_iter().enumerate().map(|(n, client)| {
        // A seed of its own for each, the same in every run.
        let random = SmallRng::seed_from_u64(n as u64);
        tokio::spawn(work(client, task.clone(), random))
    });
    let all = tokio::spawn(join_all(working.collect::<Vec<_>>()));
    let before = watched.begin_at(from).await;
    // The serial workload ends by its cycles.
    let mut all = all;
    let done = tokio::select! {
        done = &mut all => Some(done),
        () = sleep_until(until) => None,
    };
    let seconds = from.elapsed().as_secs_f64();
    let spent = before.end();
    let done = match done {
        Some(done) => done,
        None => all.await,
    };
    let mut clients = Vec::new();
    let mut served = Vec::new();
    for (client, cycles) in done.into_iter().flatten().flatten() {
        clients.push(client);
        served.push(cycles);
    }
    Ok((clients, Measured { task, served, seconds, spent }))
}

impl Measured {
    fn tell(&self, run: &mut Run) {
        let tally = &self.task.tally;
        let cycles: u64 = self.served.iter().sum();
        run.seconds = self.seconds;
        run.cycles = Some(cycles);
        run.cycles_per_s = Some(super::figures::rounded(cycles as f64 / self.seconds));
        run.denials = Some(tally.denials());
        run.fairness = Some(fairness(&self.served));
        run.checkout = Some(tally.checkouts.latency());
        run.checkin = Some(tally.checkins.latency());
        run.set_errors(&tally.errors);
        self.spent.tell(run, cycles);
    }
}

/// One client: cycles within the window.
async fn work(client: Client, task: Arc<Task>, mut random: SmallRng) -> (Client, u64) {
    let Task { pools, cycles, tally, window } = &*task;
    let mut served = 0;
    while Instant::now() < window.until && cycles.cycles_max.is_none_or(|max| served < max) {
        pause(cycles.pace_max, &mut random).await;
        tally.done.fetch_add(1, Ordering::Relaxed);
        let pool = &pools[random.random_range(0..pools.len())];
        let began = Instant::now();
        let seat = match client.checkout(pool, "", 1).await {
            Ok(seat) => seat,
            Err(Error::Denied(refusal))
                if cycles.hot.is_some() && refusal.reason() == Reason::LicensesExhausted =>
            {
                // That is an answer, and all that a tight pool has at times.
                if window.has(began, Instant::now()) {
                    tally.denials.fetch_add(1, Ordering::Relaxed);
                }
                tokio::task::yield_now().await;
                continue;
            }
            Err(error) => {
                tally.errors.add(&error);
                sleep(ERROR_PAUSE).await;
                continue;
            }
        };
        let granted = Instant::now();
        pause(cycles.pace_max, &mut random).await;
        let returning = Instant::now();
        let returned = seat.give_back().await;
        let ended = Instant::now();
        match returned {
            Ok(()) if window.has(began, ended) => {
                served += 1;
                tally.checkouts.add(granted - began);
                tally.checkins.add(ended - returning);
            }
            Ok(()) => {}
            Err(error) => tally.errors.add(&error),
        }
    }
    (client, served)
}

async fn pause(longest: Duration, random: &mut SmallRng) {
    if !longest.is_zero() {
        sleep(longest.mul_f64(random.random::<f64>())).await;
    }
}
