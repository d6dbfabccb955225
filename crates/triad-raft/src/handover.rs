//! A leader with a sick disk hands leadership over to a peer with a healthier one
//! (P16).

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::consensus::WeakConsensus;

/// How often a leader asks itself.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// So many looks in a row must find the same.
const LOOKS: u32 = 2;
/// How long it may take.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(2);
/// A node does so once in this time at most, whatever became of it: for as long
/// as it takes, nobody is served.
const REST: Duration = Duration::from_secs(15);

/// Runs until the node is gone.
pub(crate) async fn run(consensus: WeakConsensus) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut found = 0;
    let mut rested = Instant::now();
    loop {
        looks.tick().await;
        let Some(consensus) = consensus.upgrade() else { return };
        let now = Instant::now();
        let leads = consensus.leadership().serving;
        let Some((peer, its)) = consensus.healthier(now).filter(|_| leads) else {
            found = 0;
            continue;
        };
        found += 1;
        if found < LOOKS || now < rested {
            continue;
        }
        let own = consensus.disk_health(now);
        tracing::warn!(
            to = peer,
            sync_ms = own.sync.as_millis() as u64,
            full = own.is_full,
            its_sync_ms = its.sync.as_millis() as u64,
            "this node's disk is slow or full: handing leadership over"
        );
        match consensus.transfer(Some(peer), now + TRANSFER_TIMEOUT).await {
            Ok(now) => tracing::info!(leader = now.leader, term = now.term, "handed over"),
            Err(error) => tracing::warn!(%error, "nobody took leadership over"),
        }
        found = 0;
        rested = Instant::now() + REST;
    }
}
