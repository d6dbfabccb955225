//! Who leads, as a node announces it to its services: another only while it is
//! heard, itself only when a quorum has confirmed it.

use std::sync::Arc;
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::heard::Heard;
use crate::mutation::{self, Mutation};
use crate::peers::Raft;

/// How long a new leader tries to confirm itself before it looks again whether
/// it still is one.
const CONFIRM_TIMEOUT: Duration = Duration::from_millis(500);

/// Who leads, as this node knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The term.
    pub term: u64,
    /// The leader, if one is known.
    pub leader: Option<u64>,
    /// True once this node leads, a quorum has confirmed it in this term, and
    /// its ledger has applied everything committed before.
    pub serving: bool,
}

/// Keeps `announce` true. A node that becomes leader is announced as serving
/// only once a quorum has confirmed it and its ledger is complete; another
/// leader is announced only while it is heard.
pub(crate) async fn follow(
    raft: Raft,
    node_id: u64,
    heard: Arc<Heard>,
    announce: watch::Sender<Leadership>,
) {
    let mut metrics = raft.server_metrics();
    loop {
        let (leader, term) = {
            let now = metrics.borrow_watched();
            (now.current_leader, now.vote.leader_id.term)
        };
        let other = leader.filter(|leader| *leader != node_id);
        let there_until = other.and_then(|other| heard.until(other, Instant::now()));
        let leader = leader.filter(|leader| *leader == node_id || there_until.is_some());
        let before = *announce.borrow();
        let same = before.term == term && before.leader == leader;
        if before.serving && !same {
            // Whatever comes next, the leadership that was announced is over.
            announce.send_replace(Leadership { term, leader, serving: false });
        }
        let serving =
            leader == Some(node_id) && ((same && before.serving) || confirmed(&raft).await);
        let now = Leadership { term, leader, serving };
        announce.send_if_modified(|before| std::mem::replace(before, now) != now);
        if leader == Some(node_id) && !serving {
            // Not confirmed: look again whether we still lead, and try again.
            continue;
        }
        let changed = tokio::select! {
            changed = metrics.changed() => changed.is_ok(),
            () = heard.news() => true,
            () = until(there_until) => true,
        };
        if !changed {
            announce.send_replace(Leadership::default());
            return;
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Reads ask a quorum: a death notice starts elections inside the leader's lease.
pub(crate) fn read_policy() -> ReadPolicy {
    match mutation::is_on(Mutation::LeaseRead) {
        true => ReadPolicy::LeaseRead,
        false => ReadPolicy::ReadIndex,
    }
}

/// A quorum confirms this leader, and its ledger has applied its own term's
/// first entry and everything before.
async fn confirmed(raft: &Raft) -> bool {
    let confirmation = raft.ensure_linearizable(read_policy());
    let result = timeout(CONFIRM_TIMEOUT, confirmation).await;
    if !matches!(result, Ok(Ok(_))) {
        // Refused at once, without a wait of its own.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    matches!(result, Ok(Ok(_)))
}
