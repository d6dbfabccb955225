//! Handing leadership over: because somebody wants it, or because a peer has a
//! healthier disk (P16).

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::consensus::{Consensus, MemberView, ProposeError, WeakConsensus};
use crate::leadership::Leadership;

/// A follower that takes leadership over has answered at least this lately.
const ANSWER_AGE_MAX: Duration = Duration::from_millis(500);
/// And is this many entries behind at most: it has to have them all before it
/// may stand, within an election timeout.
const TRANSFER_LAG_MAX: u64 = 100;

/// Syncs of a vote: what waits before it, and its two copies.
const VOTE_SYNCS: u32 = 3;

/// How often a leader asks itself.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// So many looks in a row must find the same.
const LOOKS: u32 = 2;
/// How long it may take.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(2);
/// A node does so once in this time at most, whatever became of it: for as long
/// as it takes, nobody is served.
const REST: Duration = Duration::from_secs(15);

impl Consensus {
    /// Hands leadership over and waits until another node leads. `None`: to
    /// the follower that is furthest ahead. Waits for a follower that can take
    /// over: one that answers, and has nearly all there is.
    ///
    /// Who leads then is not always who was asked: where that one is late, the
    /// others elect.
    ///
    /// # Errors
    ///
    /// This node does not lead, no other can take over, or it did not happen
    /// before the deadline.
    pub async fn transfer(
        &self,
        to: Option<u64>,
        deadline: Instant,
    ) -> Result<Leadership, ProposeError> {
        let node_id = self.node_id();
        let moved = async {
            let mut leadership = self.watch_leadership();
            loop {
                let target = self.successor(to).await?;
                let term = self.leadership().term;
                let asked = self.raft().trigger().transfer_leader(target).await;
                asked.map_err(|_| ProposeError::Stopped)?;
                // Until then this leader proposes nothing more.
                let decided = |now: &Leadership| match now.leader {
                    Some(leader) => leader != node_id || now.term > term,
                    None => false,
                };
                let now = leadership.wait_for(decided).await;
                let now = *now.map_err(|_| ProposeError::Stopped)?;
                if now.leader != Some(node_id) {
                    return Ok(now);
                }
                // The target was late, and the election that followed was ours.
            }
        };
        timeout_at(deadline, moved).await.unwrap_or(Err(ProposeError::NoQuorum))
    }

    /// Whether another could be elected: by the others alone, or with the vote of this node in time.
    /// A vote is synced before it is given, and where it comes too late each election costs another.
    /// To lead slowly is better than to have nobody lead.
    fn may_be_followed(&self, now: Instant) -> bool {
        let view = self.view();
        let answers = |m: &&MemberView| m.answered_ago.is_some_and(|ago| ago < ANSWER_AGE_MAX);
        let voters = view.members.iter().filter(|m| m.is_voter);
        let others = voters.clone().filter(|m| m.node_id != self.node_id());
        let election_min = Duration::from_millis(self.raft().config().election_timeout_min);
        others.filter(answers).count() > voters.count() / 2
            || self.disk_health(now).sync * VOTE_SYNCS < election_min
    }

    /// Waits for a follower that can take leadership over.
    async fn successor(&self, to: Option<u64>) -> Result<u64, ProposeError> {
        let node_id = self.node_id();
        let mut metrics = self.raft().metrics();
        loop {
            if self.leadership().leader != Some(node_id) {
                return Err(ProposeError::NotLeader);
            }
            let view = self.view();
            // A follower that has not answered lately may be dead, and asking it
            // would stop us for nothing.
            let answers = |m: &&MemberView| m.answered_ago.is_some_and(|ago| ago < ANSWER_AGE_MAX);
            let has_nearly_all = |m: &&MemberView| {
                m.matched_index.is_some_and(|index| index + TRANSFER_LAG_MAX >= view.last_index)
            };
            let others = view.members.iter().filter(|m| m.is_voter && m.node_id != node_id);
            let best = others
                .filter(answers)
                .filter(has_nearly_all)
                .filter(|m| to.is_none_or(|to| to == m.node_id))
                .filter(|m| !self.is_unfit(m.node_id))
                .max_by_key(|m| (m.matched_index, m.node_id));
            if let Some(best) = best {
                return Ok(best.node_id);
            }
            metrics.changed().await.map_err(|_| ProposeError::Stopped)?;
        }
    }
}

/// So many looks without a leader make a drained node stand all the same: it may be
/// the only one that has everything that was agreed. Where another stands that has not, it
/// does not wait for that: `Service::has_voted`.
const LAST_RESORT_LOOKS: u32 = 4;

/// Looks after the disk until the node is gone.
pub(crate) async fn run(consensus: WeakConsensus) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut found = 0;
    let mut leaderless = 0;
    let mut rested = Instant::now();
    loop {
        looks.tick().await;
        let Some(consensus) = consensus.upgrade() else { return };
        let now = Instant::now();
        if consensus.is_drained() {
            let nobody = consensus.leadership().leader.is_none();
            leaderless = if nobody { leaderless + 1 } else { 0 };
            if !nobody {
                consensus.health().want(false);
            }
            consensus.may_stand(leaderless >= LAST_RESORT_LOOKS || consensus.health().is_wanted());
        }
        let leads = consensus.leadership().serving;
        let better = consensus.healthier(now).filter(|_| leads && consensus.may_be_followed(now));
        let Some((peer, its)) = better else {
            found = 0;
            continue;
        };
        found += 1;
        if found < LOOKS || now < rested {
            continue;
        }
        let own = consensus.disk_health(now);
        if consensus.is_drained() {
            tracing::info!(to = peer, "this node is drained: handing leadership over");
        } else {
            tracing::warn!(
                to = peer,
                sync_ms = own.sync.as_millis() as u64,
                full = own.is_full,
                its_sync_ms = its.sync.as_millis() as u64,
                "this node's disk is slow or full: handing leadership over"
            );
        }
        match consensus.transfer(Some(peer), now + TRANSFER_TIMEOUT).await {
            Ok(now) => tracing::info!(leader = now.leader, term = now.term, "handed over"),
            Err(error) => tracing::warn!(%error, "nobody took leadership over"),
        }
        found = 0;
        rested = Instant::now() + REST;
    }
}
