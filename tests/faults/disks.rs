//! Disks that are full, broken or slow.

use std::time::Duration;

use triad_tests::Lab;
use triad_tests::lab::{Gear, Syncs};

use crate::crowd::{Crowd, LEASE, options};

/// P2, P5, P16: the leader's disk is full. It keeps what it promised, another
/// leads, and with room again the node comes back with the data that it has.
#[tokio::test]
async fn full_disk() {
    let gear = [Gear::Disks { mib: 96 }];
    let Some(mut lab) = Lab::start_with(options(), &gear).await else { return };
    let crowd = Crowd::start(&lab).await;
    let full = lab.settled().await;
    crowd.book().forget_gaps();
    lab.fill_disk(full).unwrap();
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
    crowd.finish("full_disk", &lab).await;
}

/// P2, P5: a sync of the leader's disk fails. The node stops, since nobody knows
/// what its disk has, and never says otherwise.
#[tokio::test]
async fn failing_sync() {
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
    crowd.finish("failing_sync", &lab).await;
}

/// P16: each sync of the leader's disk takes half a second, then two. What is
/// promised is kept, and clients are served.
#[tokio::test]
async fn slow_syncs() {
    let Some(lab) = Lab::start_with(options(), &[Gear::SickDisks]).await else { return };
    let crowd = Crowd::start(&lab).await;
    for slow in [500, 2_000].map(Duration::from_millis) {
        let sick = lab.settled().await;
        crowd.book().forget_gaps();
        lab.syncs(sick, Syncs::Slow(slow));
        let granted = crowd.book().tally.grants;
        crowd.go_on(Duration::from_secs(6)).await;
        let granted = crowd.book().tally.grants - granted;
        let gap = crowd.book().longest_gap();
        let leader = lab.leader().await;
        println!(
            "slow_syncs: {slow:?} each; {granted} granted, gap {gap:.0?}, {} leads, {} was slow",
            lab.nodes[leader].name, lab.nodes[sick].name,
        );
        lab.syncs(sick, Syncs::Well);
        crowd.until_served(50).await;
        crowd.until_held().await;
    }
    crowd.finish("slow_syncs", &lab).await;
}
