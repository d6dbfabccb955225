//! Processes that are killed, and processes that stand still.

use std::time::Duration;

use triad_tests::Lab;

use crate::crowd::{Crowd, LEASE, options};

const ROUNDS: usize = 4;

/// P2, P3, P5, P7: the leader, a follower, and all three at once are killed with
/// `kill -9` and start again.
#[cfg_attr(test, tokio::test)]
pub async fn kill_loops() {
    let Some(mut lab) = Lab::start(options()).await else { return };
    let crowd = Crowd::start(&lab).await;
    let mut gaps = Vec::new();
    for _ in 0..ROUNDS {
        let leader = lab.settled().await;
        crowd.book().forget_gaps();
        lab.nodes[leader].kill9().await;
        crowd.until_served(100).await;
        gaps.push(crowd.book().longest_gap());
        lab.nodes[leader].start();
        let leader = lab.settled().await;
        let follower = lab.others(leader)[0];
        lab.nodes[follower].kill9().await;
        crowd.until_served(100).await;
        lab.nodes[follower].start();
    }
    crowd.audit(&lab).await;
    for _ in 0..ROUNDS {
        for node in &mut lab.nodes {
            node.kill9().await;
        }
        for node in &mut lab.nodes {
            node.start();
        }
        crowd.until_served(50).await;
        crowd.until_held().await;
    }
    println!(
        "kill_loops: {ROUNDS} leaders, {ROUNDS} followers, {ROUNDS} times all; gaps {gaps:.0?}"
    );
    assert!(gaps.iter().all(|gap| *gap < LEASE), "{gaps:?}");
    crowd.finish("kill_loops", lab).await;
}

/// P4, P5, P6: a leader stands still and goes on, a follower, and all three.
#[cfg_attr(test, tokio::test)]
pub async fn freeze_and_thaw() {
    let Some(lab) = Lab::start(options()).await else { return };
    let crowd = Crowd::start(&lab).await;
    let mut gaps = Vec::new();
    for _ in 0..2 {
        let leader = lab.settled().await;
        crowd.book().forget_gaps();
        lab.nodes[leader].sigstop();
        crowd.until_served(100).await;
        gaps.push(crowd.book().longest_gap());
        crowd.until_held().await;
        lab.nodes[leader].sigcont();
        let leader = lab.settled().await;
        let follower = lab.others(leader)[0];
        lab.nodes[follower].sigstop();
        crowd.until_served(100).await;
        lab.nodes[follower].sigcont();
        lab.settled().await;
        lab.nodes.iter().for_each(triad_tests::Node::sigstop);
        crowd.go_on(Duration::from_secs(2)).await;
        lab.nodes.iter().for_each(triad_tests::Node::sigcont);
        crowd.until_served(50).await;
        crowd.until_held().await;
    }
    println!("freeze_and_thaw: 2 leaders, 2 followers, 2 times all; gaps {gaps:.0?}");
    assert!(gaps.iter().all(|gap| *gap < LEASE), "{gaps:?}");
    crowd.finish("freeze_and_thaw", lab).await;
}
