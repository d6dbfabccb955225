//! Disks that are full, broken or slow.

use std::time::Duration;

use tokio::time::Instant;
use triad_tests::Lab;
use triad_tests::lab::{Gear, Syncs};

use crate::crowd::{Crowd, LEASE, RECOVERY_LIMIT, options};

/// What a leader logs that leaves for the sake of its disk.
const HANDOVER: &str = "this node's disk is slow or full: handing leadership over";
/// How long leadership has to stay where it went.
const STAYS: Duration = Duration::from_secs(5);

/// P2, P5, P16: the leader's disk is nearly full, so it hands leadership over.
/// Then it is full: the node keeps what it promised, and stops when it has to
/// write what does not fit. With room again it comes back with its data.
#[cfg_attr(test, tokio::test)]
pub async fn full_disk() {
    let gear = [Gear::Disks { mib: 128 }];
    let Some(mut lab) = Lab::start_with(options(), &gear).await else { return };
    let crowd = Crowd::start(&lab).await;
    let full = lab.settled().await;
    crowd.book().forget_gaps();
    lab.fill_disk(full, 24).unwrap();
    let began = Instant::now();
    another_leads(&lab, full).await;
    let moved = began.elapsed();
    crowd.until_served(50).await;
    let node = &mut lab.nodes[full];
    println!(
        "full_disk: another leads {moved:.1?} after {}'s disk was nearly full, gap {:.0?}",
        node.name,
        crowd.book().longest_gap()
    );
    assert!(node.process_id().is_some(), "{}", node.log());
    assert!(node.log().contains(HANDOVER), "{}", node.log());
    crowd.book().forget_gaps();
    lab.fill_disk(full, 0).unwrap();
    crowd.go_on(Duration::from_secs(3)).await;
    crowd.until_served(200).await;
    crowd.until_held().await;
    let gap = crowd.book().longest_gap();
    let node = &mut lab.nodes[full];
    let runs = node.process_id().is_some();
    println!("full_disk: {} {}, gap {gap:.0?}", node.name, if runs { "runs" } else { "stopped" });
    assert!(gap < LEASE, "{gap:?}");
    if !runs {
        let status = node.stopped().await;
        assert_eq!(status.code(), Some(1), "{status}: {}", node.log());
        assert!(node.log().contains("No space left"), "{}", node.log());
        lab.free_disk(full);
        lab.nodes[full].start();
    } else {
        lab.free_disk(full);
    }
    crowd.finish("full_disk", lab).await;
}

/// P2, P5: a sync of the leader's disk fails. The node stops, since nobody knows
/// what its disk has, and never says otherwise.
#[cfg_attr(test, tokio::test)]
pub async fn failing_sync() {
    let Some(mut lab) = Lab::start_with(options(), &[Gear::SickDisks]).await else { return };
    let crowd = Crowd::start(&lab).await;
    let mut gaps = Vec::new();
    for _ in 0..3 {
        let sick = lab.settled().await;
        crowd.book().forget_gaps();
        lab.syncs(sick, Syncs::Failing);
        let status = lab.nodes[sick].stopped().await;
        assert_eq!(status.code(), Some(1), "{status}: {}", lab.nodes[sick].log());
        crowd.until_served(100).await;
        gaps.push(crowd.book().longest_gap());
        crowd.until_held().await;
        lab.syncs(sick, Syncs::Well);
        lab.nodes[sick].start();
    }
    println!("failing_sync: 3 nodes stopped; gaps {gaps:.0?}");
    assert!(gaps.iter().all(|gap| *gap < LEASE), "{gaps:?}");
    crowd.finish("failing_sync", lab).await;
}

/// P2, P5, P16: each sync of the leader's disk takes half a second, then two. It
/// hands leadership over to a node whose disk is well, and that stays so.
#[cfg_attr(test, tokio::test)]
pub async fn slow_syncs() {
    let Some(lab) = Lab::start_with(options(), &[Gear::SickDisks]).await else { return };
    let crowd = Crowd::start(&lab).await;
    for slow in [500, 2_000].map(Duration::from_millis) {
        let sick = lab.settled().await;
        crowd.book().forget_gaps();
        lab.syncs(sick, Syncs::Slow(slow));
        let began = Instant::now();
        let healthy = another_leads(&lab, sick).await;
        let moved = began.elapsed();
        crowd.until_served(50).await;
        let gap = crowd.book().longest_gap();
        assert!(gap < LEASE, "{gap:?}");
        let granted = crowd.book().tally.grants;
        let handovers = handovers(&lab);
        crowd.book().forget_gaps();
        crowd.go_on(STAYS).await;
        let granted = crowd.book().tally.grants - granted;
        println!(
            "slow_syncs: {slow:?} each; {} leads after {moved:.1?}, gap {gap:.0?}; then {granted} \
             granted in {STAYS:?}, gap {:.0?}",
            lab.nodes[healthy].name,
            crowd.book().longest_gap(),
        );
        assert_eq!(self::handovers(&lab), handovers, "leadership goes back and forth");
        assert!(lab.nodes[sick].log().contains(HANDOVER));
        crowd.until_held().await;
        lab.syncs(sick, Syncs::Well);
    }
    crowd.finish("slow_syncs", lab).await;
}

/// P2, P5, P16: both followers' disks are slow, so every grant waits for one of
/// them. That is slow, and right; the leader, whose disk is well, stays.
#[cfg_attr(test, tokio::test)]
pub async fn slow_followers() {
    let Some(lab) = Lab::start_with(options(), &[Gear::SickDisks]).await else { return };
    let crowd = Crowd::start(&lab).await;
    let leader = lab.settled().await;
    crowd.book().forget_gaps();
    for other in lab.others(leader) {
        lab.syncs(other, Syncs::Slow(Duration::from_millis(300)));
    }
    let granted = crowd.book().tally.grants;
    crowd.go_on(STAYS).await;
    crowd.until_served(20).await;
    let granted = crowd.book().tally.grants - granted;
    let gap = crowd.book().longest_gap();
    println!("slow_followers: {granted} granted, gap {gap:.0?}");
    assert!(gap < LEASE, "{gap:?}");
    assert!(!lab.nodes[leader].log().contains(HANDOVER));
    crowd.until_held().await;
    for other in lab.others(leader) {
        lab.syncs(other, Syncs::Well);
    }
    crowd.finish("slow_followers", lab).await;
}

/// P5, P12, P16: the leader's disk is slow while a follower is down. The other's disk is better, but
/// could not be elected in time without the vote of the slow one: it stays, and serves slowly.
#[cfg_attr(test, tokio::test)]
pub async fn slow_leader_of_two() {
    let Some(mut lab) = Lab::start_with(options(), &[Gear::SickDisks]).await else { return };
    let crowd = Crowd::start(&lab).await;
    let leader = lab.settled().await;
    let [down, _] = lab.others(leader);
    lab.nodes[down].kill9().await;
    lab.syncs(leader, Syncs::Slow(Duration::from_millis(300)));
    crowd.book().forget_gaps();
    let granted = crowd.book().tally.grants;
    crowd.go_on(STAYS).await;
    crowd.until_served(20).await;
    let granted = crowd.book().tally.grants - granted;
    let gap = crowd.book().longest_gap();
    println!("slow_leader_of_two: {granted} granted, gap {gap:.0?}");
    assert!(gap < LEASE, "{gap:?}");
    assert_eq!(handovers(&lab), 0, "nobody could follow it");
    lab.syncs(leader, Syncs::Well);
    lab.nodes[down].start();
    crowd.until_held().await;
    crowd.finish("slow_leader_of_two", lab).await;
}

/// How often a node has left for the sake of its disk.
fn handovers(lab: &Lab) -> usize {
    lab.nodes.iter().map(|node| node.log().matches(HANDOVER).count()).sum()
}

async fn another_leads(lab: &Lab, sick: usize) -> usize {
    lab.until("another leads", RECOVERY_LIMIT, |seen| seen.leader().filter(|n| *n != sick)).await
}
