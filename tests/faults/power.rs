//! Power cuts: what was not synced is gone, and what was acknowledged is not.

use triad_tests::Lab;
use triad_tests::lab::Gear;

use crate::crowd::{Crowd, LEASE, options};

const ROUNDS: usize = 3;
/// Room for the log's segments and the image.
const DISKS: Gear = Gear::Disks { mib: 256 };

/// P2, P5, P12: one node loses its power, a leader and a follower in turn.
#[cfg_attr(test, tokio::test)]
pub async fn power_cut_of_one() {
    let Some(mut lab) = Lab::start_with(options(), &[DISKS]).await else { return };
    let crowd = Crowd::start(&lab).await;
    let mut gaps = Vec::new();
    for _ in 0..ROUNDS {
        for is_leader in [true, false] {
            let leader = lab.settled().await;
            let n = if is_leader { leader } else { lab.others(leader)[0] };
            crowd.book().forget_gaps();
            lab.cut_power(&[n]).await;
            crowd.until_served(50).await;
            gaps.push(crowd.book().longest_gap());
            lab.switch_on(n);
        }
        lab.settled().await;
        crowd.audit(&lab).await;
    }
    println!("power_cut_of_one: {} cuts; gaps {gaps:.0?}", gaps.len());
    assert!(gaps.iter().all(|gap| *gap < LEASE), "{gaps:?}");
    crowd.finish("power_cut_of_one", lab).await;
}

/// P2, P3, P5, P7: all three lose their power at one moment, in the middle of
/// everything, and come back. Every client keeps its seat.
#[cfg_attr(test, tokio::test)]
pub async fn power_cut_of_all() {
    let Some(mut lab) = Lab::start_with(options(), &[DISKS]).await else { return };
    let crowd = Crowd::start(&lab).await;
    let mut gaps = Vec::new();
    for _ in 0..ROUNDS {
        lab.settled().await;
        crowd.book().forget_gaps();
        lab.cut_power(&[0, 1, 2]).await;
        for n in 0..3 {
            lab.switch_on(n);
        }
        crowd.until_served(50).await;
        gaps.push(crowd.book().longest_gap());
        crowd.until_held().await;
        crowd.audit(&lab).await;
    }
    println!("power_cut_of_all: {ROUNDS} cuts of three; gaps {gaps:.0?}");
    crowd.finish("power_cut_of_all", lab).await;
}
