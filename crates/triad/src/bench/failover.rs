//! Failovers: the leader is killed, stands still, or is stopped (W5), and ten
//! thousand clients resume (morning).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, interval, sleep, timeout};
use triad_client::{Checkout, Client, ClientBuilder, State};

use crate::failure::Failure;
use crate::holding::failure;
use crate::local::LocalCluster;
use crate::settings::Settings;

use super::figures::{Errors, Lengths};
use super::progress::{Goal, Progress};
use super::report::Run;
use super::site::{Site, some_at_a_time};
use super::workload::{Fault, Part};

/// A fresh checkout is begun so often on each node that stays.
const PROBE_INTERVAL: Duration = Duration::from_millis(20);
/// How long a failover may take before it is given up.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at a state.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A checkout that was begun during a failover.
struct Probed {
    began: Instant,
    ended: Instant,
    is_granted: bool,
}

/// As many failovers as wanted, each of a new cluster.
pub async fn run(
    start: impl AsyncFn() -> Result<Site, Failure>,
    settings: &Settings,
    part: &Part,
    fault: Fault,
    rounds: u32,
    run: &mut Run,
) -> Result<(), Failure> {
    let gaps = Lengths::new();
    let errors = Errors::default();
    let done = Arc::new(AtomicU64::new(0));
    let (mut lost, mut twice, mut left) = (0, 0, 0);
    let began = Instant::now();
    for _ in 0..rounds {
        let mut site = start().await?;
        let holders = site.holders(settings, part.clients, |client| client).await?;
        let goal = Goal::Count(u64::from(rounds), done.clone());
        let shown = Progress::begin(settings.output, part.title(), goal);
        gaps.add(fail(&mut site, part, fault, &errors).await?);
        let cluster = site.cluster().expect("its nodes were just mistreated");
        let fate = fate(cluster, &holders).await?;
        lost += fate.lost;
        twice += fate.twice;
        close(holders).await;
        left += site.seats_left().await?;
        done.fetch_add(1, Ordering::Relaxed);
        drop(shown);
    }
    run.seconds = began.elapsed().as_secs_f64();
    run.failover = Some(gaps.latency());
    run.seats_lost = Some(lost);
    run.seats_twice = Some(twice);
    run.seats_left = Some(left);
    run.set_errors(&errors);
    Ok(())
}

/// Does it to the leader; how long until a checkout was granted that began after.
async fn fail(
    site: &mut Site,
    part: &Part,
    fault: Fault,
    errors: &Errors,
) -> Result<Duration, Failure> {
    let leader = leader(site.cluster_mut()?).await?;
    let (told, mut probed) = mpsc::unbounded_channel();
    let mut probes = Vec::new();
    let nodes = site.cluster_mut()?.nodes.len();
    for (n, survivor) in (0..nodes).filter(|n| *n != leader).enumerate() {
        probes.push(Probe::begin(site, n, survivor, told.clone()).await?);
    }
    drop(told);
    sleep(part.warm_up + between_probes()?).await;

    let cluster = site.cluster_mut()?;
    let failed = Instant::now();
    let failing = async {
        match fault {
            Fault::Kill => cluster.kill(leader).await,
            Fault::Stop => cluster.stop(leader).await,
            Fault::Freeze => cluster.freeze(leader),
        }
    };
    let granting = async {
        while let Some(probe) = probed.recv().await {
            if !probe.is_granted {
                errors.add_reason("PROBE");
            } else if probe.began >= failed {
                return Some(probe.ended - failed);
            }
        }
        None
    };
    let (faulted, granted) = tokio::join!(failing, timeout(FAILOVER_TIMEOUT, granting));
    faulted?;
    probes.iter().for_each(Probe::stop);
    // What is under way is answered before its client ends.
    let answering = async {
        while let Some(probe) = probed.recv().await {
            if !probe.is_granted {
                errors.add_reason("PROBE");
            }
        }
    };
    let _ = timeout(FAILOVER_TIMEOUT, answering).await;
    if fault == Fault::Freeze {
        // Its sockets were open as long as it counted.
        site.cluster_mut()?.kill(leader).await?;
    }
    join_all(probes.into_iter().map(|probe| probe.client.close())).await;
    let late = || Failure::Serve(format!("no checkout succeeded within {FAILOVER_TIMEOUT:?}"));
    granted.ok().flatten().ok_or_else(late)
}

/// A moment between two probes. They keep step with the clock, as the end of the warm-up does:
/// without this the fault would always come right after a probe, or right before one.
fn between_probes() -> Result<Duration, Failure> {
    let mut drawn = [0; 4];
    getrandom::fill(&mut drawn).map_err(Failure::Random)?;
    let part = f64::from(u32::from_le_bytes(drawn)) / f64::from(u32::MAX);
    Ok(PROBE_INTERVAL.mul_f64(part))
}

/// Checkouts that are begun again and again, whatever becomes of those before.
struct Probe {
    client: Client,
    beginning: JoinHandle<()>,
}

impl Probe {
    async fn begin(
        site: &Site,
        n: usize,
        survivor: usize,
        told: mpsc::UnboundedSender<Probed>,
    ) -> Result<Self, Failure> {
        let cluster = site.cluster().expect("only nodes of our own are mistreated");
        let addresses = cluster.nodes.iter().map(|node| node.address.clone());
        // The one that it asks first comes first.
        let mut servers: Vec<String> = addresses.collect();
        servers.swap(0, survivor);
        let number = u32::try_from(n).unwrap_or(0);
        let client = site.client(number).servers(servers.join(",")).user(format!("probe{n}"));
        let client = client.build().map_err(failure)?;
        let pool = site.pool(number);
        client.checkout(&pool, "", 1).await.map_err(failure)?.give_back().await.map_err(failure)?;
        let probing = client.clone();
        let beginning = tokio::spawn(async move {
            let mut ticks = interval(PROBE_INTERVAL);
            loop {
                ticks.tick().await;
                let (client, told, pool) = (probing.clone(), told.clone(), pool.clone());
                tokio::spawn(async move {
                    let began = Instant::now();
                    let seat = client.checkout(&pool, "", 1).await;
                    let is_granted = seat.is_ok();
                    let _ = told.send(Probed { began, ended: Instant::now(), is_granted });
                    if let Ok(seat) = seat {
                        // It is free at the end of the session in any case.
                        let _ = seat.give_back().await;
                    }
                });
            }
        });
        Ok(Probe { client, beginning })
    }

    fn stop(&self) {
        self.beginning.abort();
    }
}

/// What became of seats that were held through a failover.
struct Fate {
    lost: u64,
    twice: u64,
}

/// Waits until every holder is connected again or has lost its seat, and compares
/// what they believe with the ledger.
async fn fate(cluster: &LocalCluster, holders: &[(Client, Checkout)]) -> Result<Fate, Failure> {
    let deadline = Instant::now() + FAILOVER_TIMEOUT;
    let is_settled = |(client, seat): &(Client, Checkout)| {
        matches!(seat.state(), State::Lost { .. }) || client.state() == State::Held
    };
    while !holders.iter().all(is_settled) && Instant::now() < deadline {
        sleep(LOOK_INTERVAL).await;
    }
    let kept: BTreeSet<u64> = holders
        .iter()
        .filter(|(_, seat)| seat.state() == State::Held)
        .map(|(_, seat)| seat.id())
        .collect();
    let listed: Vec<u64> = cluster.checkouts().await?.iter().map(|row| row.checkout_id).collect();
    let known = listed.iter().filter(|id| kept.contains(id)).count();
    Ok(Fate {
        lost: holders.len().saturating_sub(known) as u64,
        // Whoever lost its seat may hold another; nobody asked for one.
        twice: listed.len().saturating_sub(holders.len()) as u64,
    })
}

async fn close(holders: Vec<(Client, Checkout)>) {
    // A seat that is dropped is given back; the end of the session waits for it.
    let clients: Vec<Client> = holders.into_iter().map(|(client, _)| client).collect();
    some_at_a_time(clients.into_iter().map(Client::close)).await;
}

async fn leader(cluster: &LocalCluster) -> Result<usize, Failure> {
    let leader = cluster.leader(FAILOVER_TIMEOUT).await?.leader;
    Ok(cluster.position(leader).expect("a leader is one of the nodes"))
}

/// What all clients were told since the leader was killed.
struct Resuming {
    killed: OnceLock<Instant>,
    resumed: Lengths,
    lost: AtomicU64,
    changed: Notify,
}

impl Resuming {
    /// A client that tells of its first resumption after the kill.
    fn watched(self: &Arc<Self>, client: ClientBuilder) -> ClientBuilder {
        let all = self.clone();
        let (is_broken, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
        client.on_state(move |state| {
            let Some(killed) = all.killed.get() else { return };
            match state {
                State::Reconnecting { .. } => is_broken.store(true, Ordering::Relaxed),
                State::Held if is_broken.load(Ordering::Relaxed) => {
                    if !is_over.swap(true, Ordering::Relaxed) {
                        all.resumed.add(killed.elapsed());
                    }
                }
                State::Lost { .. } => {
                    if !is_over.swap(true, Ordering::Relaxed) {
                        all.lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
                State::Held | State::Idle => {}
            }
            all.changed.notify_one();
        })
    }

    fn over(&self) -> u64 {
        self.resumed.count() + self.lost.load(Ordering::Relaxed)
    }
}

/// Everybody holds a seat, the leader is killed, and all of them resume.
pub async fn morning(
    mut site: Site,
    settings: &Settings,
    part: &Part,
    run: &mut Run,
) -> Result<(), Failure> {
    let resuming = Arc::new(Resuming {
        killed: OnceLock::new(),
        resumed: Lengths::new(),
        lost: AtomicU64::new(0),
        changed: Notify::new(),
    });
    let watched = |client| resuming.watched(client);
    let holders = site.holders(settings, part.clients, watched).await?;
    sleep(part.warm_up).await;
    let leader = leader(site.cluster_mut()?).await?;
    let killed = *resuming.killed.get_or_init(Instant::now);
    let title = format!("{}, {} clients resume", part.title(), part.clients);
    let shown = Progress::begin(settings.output, title, Goal::Time(Duration::from_secs(5)));
    site.cluster_mut()?.kill(leader).await?;
    let all = u64::from(part.clients);
    let everybody = async {
        while resuming.over() < all {
            resuming.changed.notified().await;
        }
    };
    // Whoever is not back by then is counted as lost.
    let _ = timeout(FAILOVER_TIMEOUT, everybody).await;
    drop(shown);
    run.seconds = killed.elapsed().as_secs_f64();
    run.resumed = Some(resuming.resumed.latency());
    let fate = fate(site.cluster_mut()?, &holders).await?;
    run.seats_lost = Some(fate.lost);
    run.seats_twice = Some(fate.twice);
    close(holders).await;
    run.seats_left = Some(site.seats_left().await?);
    Ok(())
}
