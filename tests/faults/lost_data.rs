//! Nodes that come back with less than they had promised to remember.

use triad_tests::Lab;

use crate::crowd::{Crowd, options};

/// P2, P8: a node whose disk was wiped does not start, so it does not vote: with
/// one other node it could elect a leader that lacks what was acknowledged.
#[cfg_attr(test, tokio::test)]
pub async fn wiped_disk() {
    let Some(mut lab) = Lab::start(options()).await else { return };
    let crowd = Crowd::start(&lab).await;
    let leader = lab.settled().await;
    let wiped = lab.others(leader)[0];
    lab.nodes[wiped].kill9().await;
    lab.wipe(wiped);
    let ended = lab.nodes[wiped].start_in_vain().await;
    assert_eq!(ended.code(), 1, "{ended:?}");
    assert!(ended.stderr.contains("its data is not here"), "{ended:?}");
    crowd.until_served(100).await;
    crowd.finish("wiped_disk", lab).await;
}

/// P2, P8: a follower's data is put back to an older state, as by a restored
/// snapshot of a virtual machine, without the leader hearing of it in between.
/// The leader, which knows what the node had confirmed, stays; the node is told,
/// and stops.
#[cfg_attr(test, tokio::test)]
pub async fn rolled_back_disk() {
    let Some(mut lab) = Lab::start(options()).await else { return };
    let crowd = Crowd::start(&lab).await;
    let leader = lab.settled().await;
    let old = lab.others(leader)[0];
    assert_eq!(lab.nodes[old].sigterm().await.code(), Some(0));
    let copy = lab.back_up(old);
    lab.nodes[old].start();
    lab.settled().await;
    crowd.until_served(200).await;
    // What it did not confirm since the copy was made it cannot forget either.
    lab.until_confirmed(old).await;
    assert_eq!(lab.leader().await, leader, "another leader knows less of the node");
    lab.nodes[old].kill9().await;
    lab.roll_back(old, &copy);
    lab.nodes[old].start();
    let status = lab.nodes[old].stopped().await;
    let log = lab.nodes[old].log();
    assert_eq!(status.code(), Some(1), "{status}: {log}");
    assert!(log.contains("put back to an older state"), "{log}");
    assert!(lab.nodes[leader].process_id().is_some(), "{}", lab.nodes[leader].log());
    crowd.until_served(100).await;
    crowd.finish("rolled_back_disk", lab).await;
}
