//! The main server's side.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tonic::Code;
use triad_ledger::{Command, Outcome, decode_commands};
use triad_proto::v1::{FollowAgainRequest, HandBackRequest, PairPhase};
use triad_raft::Member;

use super::{LOOK_INTERVAL, Pair};
use crate::node::Node;

/// How long the back-up may take to say what it granted: a hundred thousand
/// sessions are some seconds.
const HAND_BACK_TIMEOUT: Duration = Duration::from_secs(60);

/// Asks the back-up whether it has served, and takes over what it granted. A
/// back-up whose port refuses does not serve; one that is silent may.
pub(super) async fn before_serving(node: &Arc<Node>, pair: &Arc<Pair>) -> bool {
    if pair.phase() == PairPhase::Main {
        return true;
    }
    let asking_since = Instant::now();
    let has_asked = *pair.has_asked.borrow();
    loop {
        match pair.ask_partner().await {
            Ok(state) if serves(state.phase()) => return take_over(node, pair, state.epoch).await,
            Ok(_) => break,
            Err(status) if is_dead(&status) => break,
            Err(status) => {
                if has_asked || asking_since.elapsed() >= pair.config.takeover_after {
                    tracing::warn!(%status, "the back-up cannot be asked; serving without it");
                    break;
                }
                sleep(LOOK_INTERVAL).await;
            }
        }
    }
    // Numbers that nobody has given out, whoever serves besides.
    if !has_asked && !begin_epoch(node).await {
        return false;
    }
    pair.has_asked.send_replace(true);
    pair.enter(PairPhase::Main);
    true
}

fn serves(phase: PairPhase) -> bool {
    matches!(phase, PairPhase::Alone | PairPhase::HandingBack | PairPhase::Over)
}

/// The process is not there: nobody serves.
fn is_dead(status: &tonic::Status) -> bool {
    status.code() == Code::Unavailable && status.message().contains("refused")
}

/// The next even epoch. The cluster's first is 0, and needs none.
async fn begin_epoch(node: &Arc<Node>) -> bool {
    let (epoch, is_new) = node
        .consensus
        .read(|ledger| (ledger.epoch(), ledger.epoch() == 0 && ledger.checkout_count() == 0));
    if is_new {
        return true;
    }
    let epoch = next_even(epoch);
    match node.propose(vec![Command::BeginEpoch { epoch, adopted: 0, restored: false }]).await {
        Ok(_) => true,
        Err(refusal) => {
            tracing::warn!(%refusal, "the epoch cannot begin");
            false
        }
    }
}

/// Main servers take even epochs.
fn next_even(epoch: u64) -> u64 {
    (epoch / 2 + 1) * 2
}

/// Takes over what the back-up granted in its epoch, and lets it follow again.
async fn take_over(node: &Arc<Node>, pair: &Arc<Pair>, theirs: u64) -> bool {
    let outcome = tokio::time::timeout(HAND_BACK_TIMEOUT, try_take_over(node, pair, theirs)).await;
    match outcome {
        Ok(Ok(())) => {
            pair.has_asked.send_replace(true);
            pair.enter(PairPhase::Main);
            true
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "what the back-up granted cannot be taken over yet");
            sleep(LOOK_INTERVAL).await;
            false
        }
        Err(_) => {
            tracing::error!("the back-up takes too long to hand back");
            false
        }
    }
}

async fn try_take_over(node: &Arc<Node>, pair: &Pair, theirs: u64) -> Result<(), tonic::Status> {
    let broken = |what: String| tonic::Status::internal(what);
    let mut client = pair.partner.client.clone();
    let adopted = node.consensus.read(triad_ledger::Ledger::adopted_epoch);
    if adopted < theirs {
        let epoch = next_even(node.consensus.read(triad_ledger::Ledger::epoch).max(theirs));
        node.propose(vec![Command::BeginEpoch { epoch, adopted: 0, restored: false }]).await?;
        let mut parts = client.hand_back(HandBackRequest {}).await?.into_inner();
        let (mut checkouts, mut overage) = (0, 0);
        while let Some(part) = parts.message().await? {
            let commands = decode_commands(&part.command).map_err(|e| broken(e.to_string()))?;
            let is_asked_for = |command: &Command| match command {
                Command::Adopt { takeover } => takeover.epoch == theirs,
                _ => false,
            };
            if !commands.iter().all(is_asked_for) {
                // It may have begun the next meanwhile.
                let what =
                    format!("the back-up sent something else than what it did in epoch {theirs}");
                return Err(broken(what));
            }
            let committed = node.propose(commands).await?;
            for answer in committed.answers {
                if let Ok(Outcome::Adopted { checkouts: some, overage: now }) = answer {
                    (checkouts, overage) = (checkouts + some, now);
                }
            }
        }
        node.propose(vec![Command::BeginEpoch { epoch: 0, adopted: theirs, restored: false }])
            .await?;
        tracing::warn!(epoch = theirs, checkouts, overage, "took over what the back-up granted");
    } else {
        // It handed back before, and did not hear that it was done.
        let mut parts = client.hand_back(HandBackRequest {}).await?.into_inner();
        while parts.message().await?.is_some() {}
    }
    node.consensus
        .forget_learner(pair.partner.node_id)
        .await
        .map_err(|error| broken(error.to_string()))?;
    client.follow_again(FollowAgainRequest { adopted_epoch: theirs }).await?;
    Ok(())
}

/// Sees to it that the back-up follows, and that one which served is asked.
pub(super) async fn watch(node: Arc<Node>, pair: Arc<Pair>) {
    let mut looks = interval(LOOK_INTERVAL * 4);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        if pair.phase() != PairPhase::Main || node.leading_term().is_none() {
            continue;
        }
        let Ok(state) = pair.ask_partner().await else { continue };
        if serves(state.phase()) {
            tracing::warn!(epoch = state.epoch, "the back-up has served meanwhile");
            pair.enter(PairPhase::Asking);
        } else if state.phase() == PairPhase::Following {
            let entry = &node.config.nodes[&pair.partner.node_id];
            let member: Member = entry.member.clone();
            if let Err(error) = node.consensus.teach(pair.partner.node_id, member).await {
                tracing::warn!(%error, "the back-up is not taught yet");
            }
        }
    }
}
