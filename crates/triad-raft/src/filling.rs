//! Filling the gap in the history of a node that was sent a snapshot: the other
//! nodes still have what happened before.

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::time::{MissedTickBehavior, interval, timeout};
use triad_ledger::ChainHash;
use triad_proto::v1;

use crate::history::{EventStore, Part};
use crate::image::ImageWriter;
use crate::network::Peers;
use crate::peers::Raft;

/// How often a node looks whether something is missing.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// How long one part may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Events in one part: a fraction of a message.
pub(crate) const PART_EVENTS: usize = 4_096;

/// Runs until the node stops.
pub(crate) async fn run(
    raft: Raft,
    own: u64,
    peers: Peers,
    events: std::sync::Arc<dyn EventStore>,
    image: ImageWriter,
) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if events.bounds().gap.is_none() {
            continue;
        }
        let others: Vec<(u64, String)> = {
            let metrics = raft.server_metrics();
            let metrics = metrics.borrow_watched();
            let nodes = metrics.membership_config.nodes();
            let others = nodes.filter(|(id, _)| **id != own);
            others.map(|(id, member)| (*id, member.peer_address.clone())).collect()
        };
        for (id, address) in others {
            while let Some((from, to)) = events.bounds().gap {
                let fetching = peers.fetch_history(id, &address, from - 1);
                let part = match timeout(FETCH_TIMEOUT, fetching).await {
                    Ok(Ok(part)) => part,
                    Ok(Err(status)) => {
                        tracing::debug!(node = id, %status, "no part of the history");
                        break;
                    }
                    Err(_) => break,
                };
                if part.first == 0 || (part.events.is_empty() && part.first <= to) {
                    break;
                }
                tracing::info!(node = id, from, to, "the history is completed by another node");
                if image.fill(part).await.is_err() {
                    // The node is about to stop.
                    return;
                }
            }
        }
    }
}

/// A part as it travels.
pub(crate) fn part_to_wire(part: Part) -> v1::FetchHistoryResponse {
    let kept = |(sequence, encoded): (u64, bytes::Bytes)| v1::KeptEvent {
        sequence,
        encoded: encoded.to_vec(),
    };
    v1::FetchHistoryResponse {
        first_sequence: part.first,
        chain_before: part.before.0.to_vec(),
        events: part.events.into_iter().map(kept).collect(),
    }
}

/// The inverse of [`part_to_wire`].
pub(crate) fn part_from_wire(response: v1::FetchHistoryResponse) -> Result<Part, tonic::Status> {
    let before = response.chain_before.try_into();
    let before = before.map_err(|_| tonic::Status::invalid_argument("chain_before"))?;
    let kept = |event: v1::KeptEvent| (event.sequence, event.encoded.into());
    let events = response.events.into_iter().map(kept).collect();
    Ok(Part { first: response.first_sequence, before: ChainHash(before), events })
}
