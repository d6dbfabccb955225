//! The duties of a leader: it gives every session a lease, ends those that fall
//! silent, and lets time pass in the ledger when something comes due.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use triad_ledger::names::SessionId;
use triad_ledger::{Answer, Command, Ledger, Outcome, SUSPECTS_SINCE, Session, Silence, Waiting};
use triad_raft::{Leadership, QUORUM_LEASE_MAX};

use crate::mutation::{self, Mutation};
use crate::news::Place;
use crate::node::{Node, heartbeat};
use crate::pair;
use crate::raising;
use crate::restoring;
use crate::sessions::{Known, Sessions};

/// How often the table is looked at: a tenth of the shortest useful grace.
const TICK: Duration = Duration::from_millis(100);
/// The most sessions ended or marked with one proposal.
const SESSIONS_PER_PROPOSAL: usize = 512;
/// How often the date is compared with what is due, and those who wait are told
/// their place.
const DUE_CHECK: Duration = Duration::from_secs(1);

/// While something waits for cluster time, it is written down at least so often.
/// A leader's clock is forgotten with the leader, back to its last entry: without
/// this, whoever waits in a quiet cluster would begin anew at each failover.
const CLOCK_UNWRITTEN_MAX: Duration = Duration::from_secs(2);

/// Runs until the node stops.
pub(crate) async fn run(node: Arc<Node>) {
    let mut leadership = node.consensus.watch_leadership();
    loop {
        let now = *leadership.borrow_and_update();
        if now.serving {
            let ready = async {
                if !restoring::before_serving(&node).await {
                    return false;
                }
                match &node.pair {
                    Some(pair) => pair::before_serving(&node, pair).await,
                    None => true,
                }
            };
            let is_ready = tokio::select! {
                is_ready = ready => is_ready,
                () = until_changed(&mut leadership, now) => continue,
            };
            if !is_ready {
                sleep(TICK).await;
                continue;
            }
            promote(&node, now);
            tokio::select! {
                () = serve(&node, now.term) => {}
                () = raising::run(&node) => {}
                () = until_changed(&mut leadership, now) => {}
                () = must_not_serve(&node) => node.follow(),
            }
        } else {
            node.follow();
            if leadership.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Resolves when a server of a pair is to serve no more; of a cluster of nodes
/// that agree, never.
async fn must_not_serve(node: &Node) {
    match &node.pair {
        Some(pair) => pair.must_not_serve().await,
        None => std::future::pending().await,
    }
}

/// Every session that the ledger knows gets one full lease, and on top of it
/// the longest time for which an earlier leader may still have acknowledged
/// heartbeats (P4, P5); a suspect gets the rest of its lease.
fn promote(node: &Node, leadership: Leadership) {
    let times = node.times();
    // Before the instant from which leases count: nobody is given too little.
    let cluster_ms = node.consensus.cluster_ms();
    let open: Vec<_> = node.consensus.read(|ledger| {
        let part = if mutation::is_on(Mutation::NoGraceOnPromotion) { 8 } else { 1 };
        let bounds = ledger.heartbeat_bounds_ms();
        let known = |(id, session): (SessionId, &Session)| {
            let lease = Duration::from_millis(session.lease_ms / part);
            let silent = session.silent_since_ms.map(|since| cluster_ms.saturating_sub(since));
            Known {
                id,
                lease,
                beat: heartbeat(times, bounds, lease),
                address: session.holder.address,
                silent: silent.map(Duration::from_millis),
            }
        };
        ledger.sessions(None).map(known).collect()
    });
    let count = open.len();
    let suspects = open.iter().filter(|known| known.silent.is_some()).count();
    let before = match mutation::is_on(Mutation::NoGraceOnPromotion) {
        true => Duration::ZERO,
        false => QUORUM_LEASE_MAX,
    };
    let mut sessions = Sessions::promoted(open, before, times.disconnect_grace, Instant::now());
    sessions.mark_suspects(may_mark(node));
    node.lead(leadership.term, sessions);
    node.traces.serves(leadership, node.consensus.node_id(), count, Instant::now());
    tracing::info!(term = leadership.term, sessions = count, suspects, "leading");
}

async fn until_changed(
    leadership: &mut tokio::sync::watch::Receiver<Leadership>,
    from: Leadership,
) {
    let gone = leadership.wait_for(|now| *now != from).await.is_err();
    if gone {
        // The node is going away; so is this task.
        std::future::pending::<()>().await;
    }
}

async fn serve(node: &Arc<Node>, term: u64) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due_checked = Instant::now();
    #[cfg(all(feature = "seeded-bugs", debug_assertions))]
    let mut wall_ms = node.consensus.wall_ms();
    loop {
        ticks.tick().await;
        let now = Instant::now();
        #[cfg(all(feature = "seeded-bugs", debug_assertions))]
        let now = by_the_wall(node, now, &mut wall_ms);
        let fallen = node.sessions(|sessions| {
            sessions.tick(TICK, now);
            sessions.fallen(now)
        });
        let fallen = fallen.unwrap_or_default();
        // In tasks of their own: a proposal that waits for a quorum must not keep
        // the clock from being looked at.
        for some in fallen.ended.chunks(SESSIONS_PER_PROPOSAL) {
            tokio::spawn(end(node.clone(), term, some.to_vec()));
        }
        for some in fallen.suspects.chunks(SESSIONS_PER_PROPOSAL) {
            let commands = suspects(term, some, node.consensus.cluster_ms());
            let node = node.clone();
            // Whatever becomes of it: they count as marked from now on. It is on its way
            // before anybody else has a turn: were a suspect heard in between, the log
            // would say first that he was, and then for ever that he is silent.
            let mut marking = Box::pin(async move { node.propose(commands).await });
            if futures::poll!(&mut marking).is_pending() {
                tokio::spawn(marking);
            }
        }
        if now - due_checked >= DUE_CHECK {
            due_checked = now;
            if node.desk.queue_moved() {
                tell_places(node);
            }
            let marks = may_mark(node);
            node.sessions(|sessions| sessions.mark_suspects(marks));
            let (by_date, by_time, written_ms, suspects) = node.consensus.read(|ledger| {
                let (by_date, by_time) = (ledger.next_due_ms(), ledger.next_due_cluster_ms());
                (by_date, by_time, ledger.at().cluster_ms, ledger.suspect_count() > 0)
            });
            let cluster_ms = node.consensus.cluster_ms();
            let unwritten = Duration::from_millis(cluster_ms.saturating_sub(written_ms));
            let by_date = by_date.filter(|_| !mutation::is_on(Mutation::DueLoansForgotten));
            let is_due = by_date.is_some_and(|due| due <= node.consensus.date_ms())
                || by_time.is_some_and(|due| due <= cluster_ms)
                || (by_time.is_some() || suspects) && unwritten >= CLOCK_UNWRITTEN_MAX;
            if is_due {
                tokio::spawn({
                    let node = node.clone();
                    async move { node.propose(vec![Command::Tick]).await }
                });
            }
        }
    }
}

/// Whether every node knows what a suspect is.
fn may_mark(node: &Node) -> bool {
    node.consensus.read(Ledger::rules) >= SUSPECTS_SINCE && !mutation::is_on(Mutation::NeverSuspect)
}

/// Says in the log who has been silent for how long.
fn suspects(term: u64, silent: &[(SessionId, Duration)], cluster_ms: u64) -> Vec<Command> {
    let command = |&(session, silent): &(SessionId, Duration)| Command::Suspect {
        session,
        term,
        since_ms: cluster_ms.saturating_sub(silent.as_millis() as u64),
    };
    silent.iter().map(command).collect()
}

/// Tells those who wait where they stand.
fn tell_places(node: &Node) {
    let waiting = node.consensus.read(|ledger| {
        let positions = ledger.queue_positions();
        let place = |(ticket, waiting): (u64, &Waiting)| {
            (waiting.session, waiting.request, waiting.items.clone(), positions[&ticket])
        };
        ledger.waiting().map(place).collect::<Vec<_>>()
    });
    let places = waiting.into_iter().map(|(session, request, items, place)| {
        let estimate_ms = node.desk.estimate_ms(&items, place);
        Place { session, request, place, estimate_ms }
    });
    node.desk.tell_places(&places.collect::<Vec<_>>());
}

/// A seeded bug: `now`, and on top of it what the clock on the wall has jumped.
#[cfg(all(feature = "seeded-bugs", debug_assertions))]
fn by_the_wall(node: &Node, now: Instant, before_ms: &mut u64) -> Instant {
    const JUMP_MS: u64 = 1_000;
    if !mutation::is_on(Mutation::ExpireByWallClock) {
        return now;
    }
    let wall_ms = node.consensus.wall_ms();
    let jumped_ms = wall_ms.saturating_sub(*before_ms);
    if jumped_ms < JUMP_MS {
        *before_ms = wall_ms;
        return now;
    }
    now + Duration::from_millis(jumped_ms.min(3_600_000))
}

/// Ends sessions through the log. Void if another leader has taken over.
async fn end(node: Arc<Node>, term: u64, silent: Vec<(SessionId, Silence)>) {
    let command = |(session, silence): &(SessionId, Silence)| Command::End {
        session: *session,
        term,
        silence: *silence,
    };
    let commands = silent.iter().map(command).collect();
    let deadline = Instant::now() + crate::node::PROPOSE_TIMEOUT;
    let answers = node.measured(commands, deadline).await;
    let now = Instant::now();
    node.sessions_of(term, |sessions| match answers {
        Ok(committed) => {
            for ((session, _), answer) in silent.iter().zip(committed.answers) {
                if ended(&answer) {
                    sessions.ended(*session);
                }
            }
        }
        // Perhaps applied: they stay unacknowledged, and are proposed again.
        Err(error)
            if error.outcome_unknown() && !mutation::is_on(Mutation::UnknownEndIsRefused) => {}
        Err(_) => silent.iter().for_each(|(session, _)| sessions.end_refused(*session, now)),
    });
    tracing::debug!(term, sessions = silent.len(), "ended silent sessions");
}

fn ended(answer: &Answer) -> bool {
    matches!(answer, Ok(Outcome::Ended { .. }))
}
