//! The death notice: a follower that sees the leader's kernel close their
//! connection, and then refuse a new one, need not wait for an election
//! timeout to know that the process is dead.
//!
//! Nothing here can hurt the log: what it starts is an election under Raft's
//! own rules. It does sidestep the rule that a follower waits out the old
//! leader's lease, so nothing may be read or promised on the strength of that
//! lease alone: reads ask a quorum, and a new leader adds the quorum lease to
//! every session's lease.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::raft::TransferLeaderRequest;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use triad_proto::net::SharedNetwork;

use crate::health::Health;
use crate::peers::Raft;

/// The kernel resets connections before it closes the listener, so the first
/// attempts may still be taken; a dead process refuses within a few.
const ATTEMPTS: u32 = 12;
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(3);
/// An attempt that takes longer says nothing about the process.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(50);
/// The second voter waits this long for the first: two at once would split
/// the vote.
const STAGGER: Duration = Duration::from_millis(15);
/// One look per peer and this long, so that a flapping connection cannot make
/// a storm of elections.
const REST: Duration = Duration::from_millis(200);

/// Watches for deaths until the senders are gone.
pub(crate) async fn watch(
    raft: Raft,
    (node_id, health): (u64, Arc<Health>),
    network: SharedNetwork,
    mut lost: mpsc::Receiver<u64>,
) {
    let mut rested = Instant::now();
    while let Some(peer) = lost.recv().await {
        if Instant::now() < rested || !leads(&raft, peer) {
            continue;
        }
        if !is_dead(&raft, peer, &network).await {
            tracing::info!(peer, "the leader's connection closed, but it still listens");
            continue;
        }
        rested = Instant::now() + REST;
        if health.is_drained() {
            continue;
        }
        if !is_first_in_line(&raft, node_id, peer) {
            sleep(STAGGER).await;
        }
        stand_for_election(&raft, node_id, peer).await;
    }
}

fn leads(raft: &Raft, peer: u64) -> bool {
    use openraft::async_runtime::WatchReceiver;
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    metrics.vote.committed && metrics.vote.leader_id.node_id == peer
}

async fn is_dead(raft: &Raft, peer: u64, network: &SharedNetwork) -> bool {
    let Some(address) = address(raft, peer) else { return false };
    for _ in 0..ATTEMPTS {
        match timeout(ATTEMPT_TIMEOUT, network.connect(&address)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return true,
            Ok(Ok(_)) => sleep(ATTEMPT_INTERVAL).await,
            // No answer, or no route: that is for the election timeout.
            Ok(Err(_)) | Err(_) => return false,
        }
    }
    false
}

fn address(raft: &Raft, peer: u64) -> Option<String> {
    use openraft::async_runtime::WatchReceiver;
    let metrics = raft.server_metrics();
    let metrics = metrics.borrow_watched();
    let member = metrics.membership_config.get_node(&peer)?;
    Some(member.peer_address.clone())
}

/// The highest of the surviving voters goes first.
fn is_first_in_line(raft: &Raft, node_id: u64, dead: u64) -> bool {
    raft.voter_ids().filter(|voter| *voter != dead).max() == Some(node_id)
}

async fn stand_for_election(raft: &Raft, node_id: u64, dead: u64) {
    use openraft::async_runtime::WatchReceiver;
    let vote = raft.server_metrics().borrow_watched().vote;
    // Somebody else may have acted meanwhile.
    if !vote.committed || vote.leader_id.node_id != dead {
        return;
    }
    if !raft.voter_ids().any(|voter| voter == node_id) {
        return;
    }
    tracing::info!(dead, "the leader's process is dead: standing for election");
    let request = TransferLeaderRequest::new(vote, node_id, None);
    if let Ok(Err(error)) = raft.handle_transfer_leader(request).await {
        tracing::info!(%error, "not now");
    }
}
