//! Networks that are bad: packets are lost, connections are reset.

use std::time::Duration;

use triad_tests::Lab;

use crate::crowd::{Crowd, LEASE, options};

/// P5: a fifth of all packets is lost, everywhere, both ways.
#[cfg_attr(test, tokio::test)]
pub async fn packets_are_lost() {
    let Some(mut lab) = Lab::start(options()).await else { return };
    let crowd = Crowd::start(&lab).await;
    for percent in [5, 20] {
        lab.lose(percent);
        let granted = crowd.book().tally.grants;
        crowd.go_on(Duration::from_secs(6)).await;
        let granted = crowd.book().tally.grants - granted;
        println!("packets_are_lost: {percent} of 100, and {granted} seats granted");
        assert!(granted > 0, "nobody is served with {percent} of 100 lost");
        lab.heal();
        crowd.until_served(100).await;
        crowd.until_held().await;
    }
    crowd.finish("packets_are_lost", lab).await;
}

/// P3, P5: every connection of the leader is reset, and of the followers; those
/// who live on are resumed.
#[cfg_attr(test, tokio::test)]
pub async fn connections_are_reset() {
    const ROUNDS: usize = 6;
    let Some(lab) = Lab::start(options()).await else { return };
    let crowd = Crowd::start(&lab).await;
    for round in 0..ROUNDS {
        let leader = lab.settled().await;
        crowd.book().forget_gaps();
        lab.reset(if round % 3 == 2 { lab.others(leader)[0] } else { leader });
        crowd.until_served(50).await;
        crowd.until_held().await;
        let gap = crowd.book().longest_gap();
        assert!(gap < LEASE, "{gap:?}");
    }
    println!("connections_are_reset: {ROUNDS} times");
    crowd.finish("connections_are_reset", lab).await;
}
