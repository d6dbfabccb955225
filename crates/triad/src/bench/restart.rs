//! Restarts (W8): of a follower, of a follower that missed something, and of all
//! nodes at once, while many hold seats.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::failure::Failure;
use crate::holding::failure;
use crate::settings::Settings;

use super::figures::Lengths;
use super::outstanding::Outstanding;
use super::report::Run;
use super::site::Site;
use super::workload::Part;

/// What a follower misses: one in so many of those that hold seats.
const MISSED: u32 = 5;
/// How long a restart may take before it is given up.
const RESTART_TIMEOUT: Duration = Duration::from_secs(120);
/// Between two looks at a node.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Measures it.
pub async fn run(
    mut site: Site,
    settings: &Settings,
    part: &Part,
    run: &mut Run,
) -> Result<(), Failure> {
    let began = Instant::now();
    let pools: Vec<String> = (0..site.pools).map(|n| site.pool(n)).collect();
    let _held = Outstanding::take(&site, settings, &pools, part.outstanding).await?;
    let cluster = site.cluster_mut()?;
    let leader = cluster.leader(RESTART_TIMEOUT).await?.leader;
    let leader = cluster.position(leader).expect("a leader is one of the nodes");
    let follower = (0..cluster.nodes.len()).find(|n| *n != leader).unwrap_or(0);

    cluster.kill(follower).await?;
    run.restart = Some(restarted(&mut site, leader, follower).await?);

    site.cluster_mut()?.kill(follower).await?;
    let missed = part.outstanding / MISSED;
    let _more = Outstanding::take(&site, settings, &pools, missed).await?;
    run.restart_behind = Some(restarted(&mut site, leader, follower).await?);

    let cluster = site.cluster_mut()?;
    let nodes = 0..cluster.nodes.len();
    for n in nodes.clone() {
        cluster.kill(n).await?;
    }
    let started = Instant::now();
    for n in nodes {
        cluster.spawn(n)?;
    }
    let client = site.client(0).checkout_timeout(RESTART_TIMEOUT).build().map_err(failure)?;
    let seat = client.checkout(&site.pool(0), "", 1).await.map_err(failure)?;
    run.cold_start = Some(alone(started.elapsed()));
    seat.give_back().await.map_err(failure)?;
    client.close().await;
    // All those are still held, and nothing else.
    let held = u64::from(part.outstanding) + u64::from(missed);
    let found = site.seats_in_use().await?;
    run.seats_lost = Some(held.saturating_sub(found));
    run.seats_left = Some(found.saturating_sub(held));
    run.seconds = began.elapsed().as_secs_f64();
    Ok(())
}

/// Starts a node, and waits until it has applied what the leader had.
async fn restarted(
    site: &mut Site,
    leader: usize,
    follower: usize,
) -> Result<super::figures::Latency, Failure> {
    let cluster = site.cluster_mut()?;
    let index = |status: triad_proto::v1::StatusResponse| {
        status.freshness.map_or(0, |freshness| freshness.index)
    };
    let status =
        cluster.status(&cluster.nodes[leader]).await.map_err(super::outstanding::refused)?;
    let wanted = index(status);
    let started = Instant::now();
    cluster.spawn(follower)?;
    loop {
        if let Ok(status) = cluster.status(&cluster.nodes[follower]).await
            && status.has_quorum
            && index(status) >= wanted
        {
            return Ok(alone(started.elapsed()));
        }
        if started.elapsed() > RESTART_TIMEOUT {
            let name = &cluster.nodes[follower].name;
            let what = format!("{name} did not catch up within {RESTART_TIMEOUT:?}");
            return Err(Failure::Serve(what));
        }
        sleep(LOOK_INTERVAL).await;
    }
}

fn alone(length: Duration) -> super::figures::Latency {
    let lengths = Lengths::new();
    lengths.add(length);
    lengths.latency()
}
