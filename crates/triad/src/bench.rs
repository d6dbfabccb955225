//! `triad bench`: how fast checkouts are, measured with the client library
//! against real nodes.
//!
//! A *cycle* is one checkout and one checkin, each answered only when it is on
//! the disks of two nodes. Every client has a connection and a session of its
//! own, as separate programs would.

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use futures::future::join_all;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};
use triad_client::Client;
use triad_server::init::TlsMode;

use crate::args::{BenchArguments, Workload};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::holding::failure;
use crate::local::{Feature, LocalCluster};
use crate::settings::Settings;

/// The pools that clients draw from, and the seats in each.
const POOLS: usize = 1_000;
const SEATS_PER_POOL: u32 = 100;
/// Cycles of the serial workload.
const SERIAL_CYCLES: usize = 3_000;

#[derive(Debug, Serialize)]
struct Report {
    workload: &'static str,
    clients: usize,
    tls: bool,
    seconds: f64,
    cycles: usize,
    cycles_per_s: f64,
    errors: usize,
    checkout: Percentiles,
    checkin: Percentiles,
    /// Processor time of all three nodes together.
    server_cpu_us_per_cycle: f64,
    /// Resident memory of each node.
    server_rss_kib: Vec<u64>,
}

#[derive(Debug, Serialize)]
struct Percentiles {
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
}

/// What one client measured.
#[derive(Default)]
struct Samples {
    checkouts: Vec<Duration>,
    checkins: Vec<Duration>,
    errors: usize,
}

/// When measuring begins and ends; what lies before is warm-up.
#[derive(Clone, Copy)]
struct Window {
    from: Instant,
    until: Instant,
    cycles_max: usize,
}

/// Runs the benchmark.
pub async fn run(settings: &Settings, arguments: &BenchArguments) -> Result<Exit, Failure> {
    if !arguments.local {
        return Err(Failure::Usage {
            what: "a benchmark needs a cluster of its own".into(),
            remedy: "add --local: three nodes are started for it and removed afterwards".into(),
        });
    }
    let tls = if settings.encrypted() { TlsMode::On } else { TlsMode::Off };
    let pool = |n: usize| Feature { name: pool_name(n), seats: SEATS_PER_POOL };
    let features: Vec<Feature> = (0..POOLS).map(pool).collect();
    let cluster = LocalCluster::start("bench", tls, &features).await?;
    let clients = match arguments.workload {
        Workload::W1 => 1,
        Workload::W2 => arguments.clients as usize,
    };
    settings.output.notice(&format!("three nodes are up; {clients} clients connect\n"));
    let clients = connect(&cluster, clients).await?;
    let report = measure(&cluster, clients, arguments, tls).await;
    settings.output.answer(&report, || render(&report))?;
    Ok(if report.errors == 0 { Exit::Ok } else { Exit::Error })
}

fn pool_name(n: usize) -> String {
    format!("bench-{n:04}")
}

/// Opens every session before anything is measured.
async fn connect(cluster: &LocalCluster, count: usize) -> Result<Vec<Client>, Failure> {
    let client = |n: usize| cluster.client().user(format!("bench{n}")).application("triad bench");
    let mut clients = Vec::new();
    for n in 0..count {
        let client = client(n).build().map_err(failure)?;
        let seat = client.checkout(&pool_name(n % POOLS), "", 1).await;
        seat.map_err(failure)?.give_back().await.map_err(failure)?;
        clients.push(client);
    }
    Ok(clients)
}

async fn measure(
    cluster: &LocalCluster,
    clients: Vec<Client>,
    arguments: &BenchArguments,
    tls: TlsMode,
) -> Report {
    let count = clients.len();
    let serial = matches!(arguments.workload, Workload::W1);
    let from = Instant::now() + arguments.warmup;
    let duration = if serial { Duration::from_secs(600) } else { arguments.duration };
    let cycles_max = if serial { SERIAL_CYCLES } else { usize::MAX };
    let window = Window { from, until: from + duration, cycles_max };
    let working = clients.into_iter().enumerate().map(|(n, client)| {
        // A seed of its own for each, the same in every run.
        let random = SmallRng::seed_from_u64(n as u64);
        tokio::spawn(work(client, window, random))
    });
    let working: Vec<_> = working.collect();
    sleep_until(from).await;
    let cpu_before = cpu(cluster);
    let began = Instant::now();
    let done = join_all(working).await;
    let seconds = began.elapsed().min(duration).as_secs_f64();
    let cpu_spent = cpu(cluster).saturating_sub(cpu_before);

    let mut all = Samples::default();
    for samples in done.into_iter().flatten() {
        all.checkouts.extend(samples.checkouts);
        all.checkins.extend(samples.checkins);
        all.errors += samples.errors;
    }
    let cycles = all.checkins.len();
    Report {
        workload: if serial { "w1" } else { "w2" },
        clients: count,
        tls: tls == TlsMode::On,
        seconds,
        cycles,
        cycles_per_s: cycles as f64 / seconds,
        errors: all.errors,
        checkout: percentiles(all.checkouts),
        checkin: percentiles(all.checkins),
        server_cpu_us_per_cycle: cpu_spent.as_micros() as f64 / cycles.max(1) as f64,
        server_rss_kib: cluster.process_ids().into_iter().map(rss_kib).collect(),
    }
}

/// One client: cycles without a pause, each on a pool drawn at random.
async fn work(client: Client, window: Window, mut random: SmallRng) -> Samples {
    let mut samples = Samples::default();
    loop {
        let began = Instant::now();
        if began >= window.until || samples.checkins.len() >= window.cycles_max {
            client.close().await;
            return samples;
        }
        let pool = pool_name(random.random_range(0..POOLS));
        let Ok(seat) = client.checkout(&pool, "", 1).await else {
            samples.errors += 1;
            continue;
        };
        let held = Instant::now();
        let returned = seat.give_back().await;
        let now = Instant::now();
        if began < window.from || now > window.until {
            continue;
        }
        match returned {
            Ok(()) => {
                samples.checkouts.push(held - began);
                samples.checkins.push(now - held);
            }
            Err(_) => samples.errors += 1,
        }
    }
}

fn percentiles(mut samples: Vec<Duration>) -> Percentiles {
    samples.sort_unstable();
    let at = |share: f64| {
        let last = samples.len().saturating_sub(1);
        let index = ((samples.len() as f64 * share) as usize).min(last);
        samples.get(index).map_or(0.0, |sample| sample.as_nanos() as f64 / 1e3)
    };
    Percentiles { p50_us: at(0.5), p99_us: at(0.99), p999_us: at(0.999), max_us: at(1.0) }
}

/// Processor time that the nodes have used so far.
fn cpu(cluster: &LocalCluster) -> Duration {
    cluster.process_ids().into_iter().map(process_cpu).sum()
}

fn process_cpu(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name in parentheses may hold blanks; user and system time are the
    // 12th and 13th field after it.
    let fields = stat.rsplit_once(')').map_or("", |(_, after)| after);
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum();
    let per_second = rustix::param::clock_ticks_per_second();
    Duration::from_secs_f64(ticks as f64 / per_second as f64)
}

fn rss_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn render(report: &Report) -> String {
    let mut text = String::new();
    let tls = if report.tls { "TLS" } else { "no TLS" };
    let rss: Vec<String> =
        report.server_rss_kib.iter().map(|kib| format!("{} MiB", kib / 1024)).collect();
    let line = |name: &str, p: &Percentiles| {
        format!(
            "{name}  p50 {:.0} us   p99 {:.0} us   p99.9 {:.0} us   max {:.0} us\n",
            p.p50_us, p.p99_us, p.p999_us, p.max_us
        )
    };
    let _ = writeln!(
        text,
        "{}: {:.0} cycles/s ({} clients, {tls}, {:.1} s, {} errors)",
        report.workload, report.cycles_per_s, report.clients, report.seconds, report.errors,
    );
    text += &line("checkout", &report.checkout);
    text += &line("checkin ", &report.checkin);
    let _ = writeln!(
        text,
        "nodes     {:.0} us of processor per cycle, {} resident",
        report.server_cpu_us_per_cycle,
        rss.join(" / "),
    );
    text
}
