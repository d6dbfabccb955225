//! One thing goes wrong in a cluster that is well, and what follows is timed.
//!
//! Among many faults nothing can be said about how soon a seat comes back, or that nobody noticed a
//! failover. So each run begins with one of these, before its faults.

use std::time::Duration;

use triad_proto::v1::Reason;

use crate::auditor::{Blackboard, Errand};
use crate::cluster::NodeState;
use crate::desk::Phase;
use crate::run::Site;

/// For so long it is waited until somebody holds seats.
const HELD_WITHIN: Duration = Duration::from_secs(8);
/// What a leader adds to a lease and to the grace: drift, its ticks, and the way to the log.
const LATE: Duration = Duration::from_millis(1_200);
/// A server hears a session that is not heard any more as silent within this.
const SILENT_WITHIN: Duration = Duration::from_secs(5);
/// In this time a client has heard whether its leader is dead.
const GRACE_MIN: Duration = Duration::from_millis(500);
/// When all see that the leader is gone, another leads within this.
const NEXT_LEADER: Duration = Duration::from_millis(1_500);
/// The same where it says goodbye.
const NEXT_LEADER_AFTER_GOODBYE: Duration = Duration::from_millis(500);
/// A leader whose disk is slow hands over within this.
const NEXT_LEADER_FOR_A_DISK: Duration = Duration::from_secs(6);
/// How long a sync takes then.
const SICK: Duration = Duration::from_millis(500);
/// For so long it is looked whether anybody lost anything.
const AFTER_FAILOVER: Duration = Duration::from_secs(5);
/// A leader without others knows by then that it is alone: what it may take for a quorum, and its looks.
const QUORUM_LEASE: Duration = Duration::from_millis(2_200);
/// Who is not served is told so within this.
const ANSWER: Duration = Duration::from_secs(1);
/// No errand takes longer.
const ERRAND_MAX: Duration = Duration::from_secs(6);
/// A node that was killed is back after this.
const BACK: Duration = Duration::from_secs(3);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drill {
    /// A process dies, and its host says so.
    ProcessDies,
    /// A host vanishes.
    HostVanishes,
    /// A host vanishes, and then the leader dies, which has told the others.
    HostVanishesThenLeaderDies,
    /// Something on the way forgets a host's connections.
    PathDies,
    LeaderDies,
    LeaderStops,
    /// Its disk becomes slow, and the others' are not.
    LeaderSickens,
    /// It is to lead no more, and then the one that leads in its place dies.
    LeaderDrained,
    /// It reaches no other node, and whoever wants a seat reaches it.
    LeaderCutOff,
}

const DRILLS: [Option<Drill>; 10] = [
    Some(Drill::PathDies),
    Some(Drill::ProcessDies),
    Some(Drill::HostVanishes),
    Some(Drill::HostVanishesThenLeaderDies),
    Some(Drill::LeaderDies),
    Some(Drill::LeaderStops),
    Some(Drill::LeaderSickens),
    Some(Drill::LeaderDrained),
    Some(Drill::LeaderCutOff),
    None,
];

/// Begins a run with the drill of its seed.
pub fn run(site: &mut Site, seed: u64, board: &Blackboard) {
    let Some(drill) = DRILLS[(seed / 5) as usize % DRILLS.len()] else { return };
    let begun = site.world.now();
    let is_ready = |site: &Site| {
        let leads = site.leader().is_some_and(|leader| site.is_up(leader));
        let holds = site.holder().is_some_and(|holder| site.has_in_hand(holder));
        (holds && leads) || site.world.now() > begun + HELD_WITHIN
    };
    until(site, board, is_ready);
    let (Some(victim), Some(leader)) = (site.holder(), site.leader()) else { return };
    site.count(&format!("drills.{drill:?}"));
    match drill {
        Drill::ProcessDies => dies(site, board, victim, false),
        Drill::HostVanishes => dies(site, board, victim, true),
        Drill::HostVanishesThenLeaderDies => vanishes_before_the_leader(site, board, victim),
        Drill::PathDies => {
            site.hold_still(Some(victim));
            site.world.network.forget(site.applications[victim]);
            let lease = site.sessions().lease_default;
            loses_nothing(site, board, lease * 2, "a path was dead");
            site.hold_still(None);
        }
        // Without a grace a client cannot wait to hear that the leader is dead.
        Drill::LeaderDies if site.sessions().disconnect_grace < GRACE_MIN => {}
        Drill::LeaderDies => {
            kill(site, leader);
            fails_over(site, board, NEXT_LEADER);
        }
        Drill::LeaderStops => {
            let Some(stop) = site.nodes[leader].stop.take() else { return };
            let _ = stop.send(());
            fails_over(site, board, NEXT_LEADER_AFTER_GOODBYE);
        }
        Drill::LeaderSickens => {
            let disk = site.nodes[leader].disk.clone();
            disk.slow_down(SICK);
            fails_over(site, board, NEXT_LEADER_FOR_A_DISK);
            disk.slow_down(Duration::ZERO);
        }
        Drill::LeaderDrained => leads_no_more(site, board, leader, (seed / 50).is_multiple_of(2)),
        Drill::LeaderCutOff => is_cut_off(site, board, leader),
    }
}

/// Steps until it is so, or something is wrong.
fn until(site: &mut Site, board: &Blackboard, is_so: impl Fn(&Site) -> bool) {
    while !is_so(site) && !site.is_over() {
        site.stand(Phase::Drill);
        site.step(board);
    }
}

fn kill(site: &mut Site, node: usize) {
    let machine = site.nodes[node].machine;
    site.world.kill(machine);
    site.nodes[node].state = NodeState::Down(site.world.now() + BACK);
}

/// Who is not heard any more holds nothing after this: a lease by clocks that drift.
fn unheard_limit(site: &Site) -> Duration {
    let lease = site.sessions().lease_default;
    lease + lease / 128 + LATE
}

/// P13: the seats of who died are back in time.
fn dies(site: &mut Site, board: &Blackboard, victim: usize, vanishes: bool) {
    let limit = match vanishes {
        true => unheard_limit(site),
        false => {
            let grace = site.sessions().disconnect_grace;
            grace + (grace / 4).max(Duration::from_millis(500)) + LATE
        }
    };
    let died = site.world.now();
    site.stop_application(victim, vanishes);
    are_back(site, board, victim, died, limit);
    site.start_application(victim);
}

/// P13: also if the leader dies after it has seen that a client is silent.
fn vanishes_before_the_leader(site: &mut Site, board: &Blackboard, victim: usize) {
    let vanished = site.world.now();
    site.stop_application(victim, true);
    until(site, board, |site| {
        site.is_suspected(victim)
            || !site.holds(victim)
            || site.world.now() > vanished + SILENT_WITHIN
    });
    if !site.is_suspected(victim) {
        site.violated(format!(
            "P13: application {victim} is silent since {vanished:?}, and no entry says so"
        ));
    } else if let Some(leader) = site.leader() {
        kill(site, leader);
        are_back(site, board, victim, vanished, unheard_limit(site) + NEXT_LEADER);
    }
    site.start_application(victim);
}

fn are_back(site: &mut Site, board: &Blackboard, victim: usize, since: Duration, limit: Duration) {
    until(site, board, |site| !site.holds(victim) || site.world.now() > since + limit);
    if site.holds(victim) {
        site.violated(format!(
            "P13: application {victim} died at {since:?}, and holds seats {limit:?} later"
        ));
    }
    tracing::info!(?since, after = ?(site.world.now() - since), ?limit, "its seats are back");
}

/// P5 and P12: somebody leads soon, and nobody has lost a seat. How long it took.
fn fails_over(site: &mut Site, board: &Blackboard, limit: Duration) {
    leads_again(site, board, limit);
    loses_nothing(site, board, AFTER_FAILOVER, "the leader was gone");
}

/// P12: somebody leads soon.
fn leads_again(site: &mut Site, board: &Blackboard, limit: Duration) {
    let failed = site.world.now();
    let term = site.newest_term();
    until(site, board, |site| site.newest_term() > term || site.world.now() > failed + limit);
    if site.newest_term() == term {
        site.violated(format!(
            "P12: the leader was gone at {failed:?}, and nobody leads {limit:?} later"
        ));
    }
    tracing::info!(took = ?site.world.now() - failed, ?limit, "another leads");
}

/// P16: a node that is to lead no more does not, while another can.
fn leads_no_more(site: &mut Site, board: &Blackboard, leader: usize, at_once: bool) {
    let node = site.nodes[leader].id;
    let term = site.newest_term();
    if errand(site, board, Errand::Drain { node, undo: false }) != Some(Ok(())) {
        return;
    }
    let drained = site.world.now();
    until(site, board, |site| {
        site.newest_term() > term || site.world.now() > drained + NEXT_LEADER
    });
    let next = site.leader().unwrap_or(leader);
    if next == leader {
        return site.violated(format!("P16: node {node} is to lead no more, and leads"));
    }
    // Right after that the third may not have everything. Then it cannot win, and the drained node
    // has to.
    let third = (0..site.nodes.len()).find(|index| ![leader, next].contains(index));
    let third = site.nodes[third.expect("there are three")].id;
    let (begins, began) = (site.newest_term_begins(), site.world.now());
    until(site, board, |site| {
        let has_begun = site.applied_by(third) >= begins;
        at_once || has_begun || site.world.now() > began + NEXT_LEADER
    });
    let had = site.applied_by(third);
    kill(site, next);
    if site.sessions().disconnect_grace < GRACE_MIN {
        // A client that had come to it cannot wait to hear that it is dead.
        leads_again(site, board, NEXT_LEADER);
        let begun = site.world.now();
        until(site, board, |site| site.world.now() > begun + AFTER_FAILOVER);
    } else {
        fails_over(site, board, NEXT_LEADER);
    }
    if site.leader() == Some(leader) && had + 1 >= site.newest_term_begins() {
        site.violated(format!("P16: node {node} is to lead no more, and was elected"));
    }
    errand(site, board, Errand::Drain { node, undo: true });
}

/// P6 and P12: a leader without others says at once that it grants nothing.
fn is_cut_off(site: &mut Site, board: &Blackboard, leader: usize) {
    let (node, links) = (site.nodes[leader].id, site.around(site.nodes[leader].machine, false));
    let cut = |site: &Site, is_cut: bool| {
        for (from, to) in &links {
            site.world.network.link(*from, *to, |link| link.is_cut = is_cut);
        }
    };
    cut(site, true);
    let alone = site.world.now();
    until(site, board, |site| site.world.now() > alone + QUORUM_LEASE);
    let asked = site.world.now();
    let answer = errand(site, board, Errand::Ask { node });
    let took = site.world.now() - asked;
    cut(site, false);
    let says_why = matches!(answer, Some(Err(Reason::NoQuorum | Reason::NotLeader)));
    if !says_why || took > ANSWER {
        site.violated(format!(
            "P6/P12: node {node} is alone since {alone:?}, is asked for a seat at {asked:?}, and \
             answers {answer:?} after {took:?}"
        ));
    }
    loses_nothing(site, board, AFTER_FAILOVER, "the leader was cut off");
}

/// Has the auditor do something; what came of it, if anything did.
fn errand(site: &mut Site, board: &Blackboard, errand: Errand) -> Option<Result<(), Reason>> {
    *board.errand.lock().expect("no panic while held") = Some(errand);
    let begun = site.world.now();
    let outcome = || *board.outcome.lock().expect("no panic while held");
    until(site, board, |site| outcome().is_some() || site.world.now() > begun + ERRAND_MAX);
    board.outcome.lock().expect("no panic while held").take()
}

/// P5: nobody says in this time that a seat is lost.
fn loses_nothing(site: &mut Site, board: &Blackboard, time: Duration, because: &str) {
    let begun = site.world.now();
    until(site, board, |site| {
        if let Some((application, checkout)) = site.lost_for_nothing() {
            site.violated(format!(
                "P5: application {application} says that checkout {checkout} is lost, and nothing \
                 but {because} at {begun:?}"
            ));
        }
        site.world.now() > begun + time
    });
}
