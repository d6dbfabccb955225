//! The back-up's side.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use tokio::time::{Instant, MissedTickBehavior, interval};
use triad_ledger::names::CheckoutId;
use triad_ledger::{Command, EndReason, Happening, Takeover, decode_event};
use triad_proto::v1::{PairPhase, Reason, Refusal};

use super::{LOOK_INTERVAL, Pair, marks, serves_until_ms};
use crate::node::Node;

/// Events that are read from disk in one go.
const PAGE_EVENTS: usize = 4_096;
/// Events before the takeover that are looked at as well: the main may have fallen
/// before it kept the last of what it had sent here.
const EVENTS_BEFORE: u64 = 20_000;

/// Begins the epoch in which this serves: another one each time. What it granted in an earlier
/// one the main may have taken over, unheard of, and asks for no more.
pub(super) async fn before_serving(node: &Arc<Node>, pair: &Arc<Pair>) -> bool {
    if pair.phase() != PairPhase::Alone {
        return false;
    }
    let epoch = next_odd(node.consensus.read(triad_ledger::Ledger::epoch));
    let begin = Command::BeginEpoch { epoch, adopted: 0, restored: false };
    match node.propose(vec![begin]).await {
        Ok(_) => {
            tracing::warn!(epoch, "serving in the place of the main server");
            true
        }
        Err(refusal) => {
            tracing::warn!(%refusal, "the epoch cannot begin");
            false
        }
    }
}

/// Back-ups take odd epochs.
fn next_odd(epoch: u64) -> u64 {
    (epoch + 1) | 1
}

/// Watches the main while this follows, and the clock while it serves.
pub(super) async fn watch(node: Arc<Node>, pair: Arc<Pair>) {
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut silent_since = Instant::now();
    let mut handing_since = Instant::now();
    loop {
        looks.tick().await;
        match pair.phase() {
            PairPhase::Following => {
                if node.consensus.leadership().leader.is_some() {
                    silent_since = Instant::now();
                    continue;
                }
                let has_mirror = node.consensus.read(|ledger| ledger.at().index > 0);
                let is_silent = silent_since.elapsed() >= pair.config.takeover_after;
                if !has_mirror || !is_silent || !pair.is_wanted() {
                    continue;
                }
                tracing::warn!(
                    silent_s = silent_since.elapsed().as_secs(),
                    "the main server is silent, and clients ask"
                );
                match marks::go_on_alone(&node.config.data_dir) {
                    Ok(()) => {
                        pair.again.send_replace(true);
                        return;
                    }
                    Err(error) => tracing::error!(%error, "the back-up cannot take over"),
                }
            }
            PairPhase::Alone => {
                let is_begun = node.consensus.read(triad_ledger::Ledger::epoch) % 2 == 1;
                if is_begun && node.consensus.date_ms() >= serves_until_ms(&node) {
                    tracing::error!(
                        "the time is over for which the publisher lets a back-up serve"
                    );
                    pair.enter(PairPhase::Over);
                }
                handing_since = Instant::now();
            }
            PairPhase::HandingBack => {
                // A main that asked and fell silent again: clients come back here.
                let is_heard = pair.ask_partner().await.is_ok();
                if is_heard {
                    handing_since = Instant::now();
                } else if handing_since.elapsed() >= pair.config.takeover_after {
                    tracing::warn!("the main server asked and is silent again");
                    pair.enter(PairPhase::Alone);
                }
            }
            _ => {}
        }
    }
}

/// Stops serving, and says what was granted and given back meanwhile.
pub(super) async fn hand_back(node: &Arc<Node>, pair: &Pair) -> Result<Vec<Takeover>, Refusal> {
    match pair.phase() {
        PairPhase::Alone | PairPhase::Over | PairPhase::HandingBack => {}
        other => {
            let message = format!("it is {}, and has nothing to hand back", other.as_str_name());
            return Err(Refusal::because(Reason::InvalidRequest, message));
        }
    }
    pair.enter(PairPhase::HandingBack);
    node.follow();
    // What was proposed before is applied before this.
    node.propose(vec![Command::Tick]).await?;
    let history = node.consensus.history();
    let (_, _, last_before) = node.consensus.read(triad_ledger::Ledger::epoch_begun);
    let after = last_before.saturating_sub(EVENTS_BEFORE);
    let read = tokio::task::spawn_blocking(move || released(&history, after)).await;
    let released = read.map_err(io::Error::other).and_then(|released| released);
    let released = released.map_err(|error| {
        Refusal::because(Reason::Internal, format!("the history cannot be read: {error}"))
    })?;
    Ok(node.consensus.read(|ledger| ledger.takeover(released)))
}

/// What somebody gave back, or an administrator took, after an event. What fell
/// silent here may have gone on at the main.
fn released(history: &triad_raft::History, mut after: u64) -> io::Result<BTreeSet<CheckoutId>> {
    let mut released = BTreeSet::new();
    loop {
        let events = history.read(after, PAGE_EVENTS).map_err(io::Error::other)?;
        let Some(last) = events.last() else { return Ok(released) };
        after = last.0;
        for (_, encoded) in &events {
            let event = decode_event(encoded).map_err(io::Error::other)?;
            if let Happening::Returned { checkout, reason, .. } = event.what
                && matches!(reason, EndReason::Closed | EndReason::Revoked)
            {
                released.insert(checkout);
            }
        }
    }
}

/// The main holds everything: forgets it and follows again.
pub(super) fn follow_again(node: &Node, pair: &Pair, adopted_epoch: u64) -> Result<(), Refusal> {
    let epoch = node.consensus.read(triad_ledger::Ledger::epoch);
    if pair.phase() != PairPhase::HandingBack || adopted_epoch != epoch {
        let message = format!(
            "epoch {adopted_epoch} was taken over; this is {} in epoch {epoch}",
            pair.phase().as_str_name()
        );
        return Err(Refusal::because(Reason::InvalidRequest, message));
    }
    marks::begin_anew(&node.config.data_dir).map_err(|error| {
        Refusal::because(Reason::Internal, format!("{}: {error}", node.config.data_dir.display()))
    })?;
    pair.again.send_replace(true);
    Ok(())
}
