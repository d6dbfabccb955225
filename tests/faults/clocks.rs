//! Wall clocks that are wrong.

use std::time::Duration;

use triad_tests::Lab;
use triad_tests::lab::Gear;

use crate::crowd::{Crowd, GAP_MAX, options};

const HOUR_S: i64 = 3_600;
const TEN_YEARS_S: i64 = 10 * 365 * 24 * HOUR_S;

/// P5, P9: the clock of one node jumps, by an hour and by ten years, forward and
/// back, of a follower and of the leader. It ends nobody and extends nothing,
/// and the cluster's date stays where it was.
#[tokio::test]
async fn one_wrong_clock() {
    let Some(lab) = Lab::start_with(options(), &[Gear::Clocks]).await else { return };
    let crowd = Crowd::start(&lab).await;
    let date_ms = async || {
        let leader = lab.leader().await;
        lab.look(leader).await.map(|status| status.date_ms)
    };
    let before_ms = date_ms().await.unwrap();
    let mut jumps = 0;
    for offset_s in [HOUR_S, -HOUR_S, TEN_YEARS_S, -TEN_YEARS_S] {
        for is_leader in [false, true] {
            let leader = lab.settled().await;
            let n = if is_leader { leader } else { lab.others(leader)[0] };
            crowd.book().forget_gaps();
            lab.set_clock(n, offset_s);
            // The node reads its clock's file once a second.
            crowd.go_on(Duration::from_millis(1_500)).await;
            crowd.until_served(50).await;
            let gap = crowd.book().longest_gap();
            assert!(gap < GAP_MAX, "{gap:?} after {offset_s} s of {}", lab.nodes[n].name);
            crowd.until_held().await;
            lab.set_clock(n, 0);
            jumps += 1;
        }
    }
    let passed_ms = date_ms().await.unwrap().abs_diff(before_ms);
    println!("one_wrong_clock: {jumps} jumps; the date moved by {passed_ms} ms");
    assert!(passed_ms < HOUR_S.unsigned_abs() * 1_000 / 6, "the date moved by {passed_ms} ms");
    crowd.finish("one_wrong_clock", &lab).await;
}

/// P5, P9: a node starts with a clock that is an hour wrong.
#[tokio::test]
async fn started_with_a_wrong_clock() {
    let Some(mut lab) = Lab::start_with(options(), &[Gear::Clocks]).await else { return };
    let crowd = Crowd::start(&lab).await;
    for offset_s in [HOUR_S, -HOUR_S] {
        let leader = lab.settled().await;
        lab.nodes[leader].kill9().await;
        lab.set_clock(leader, offset_s);
        lab.nodes[leader].start();
        lab.settled().await;
        crowd.until_served(50).await;
        crowd.until_held().await;
        // Whoever leads, the one with the wrong clock too.
        assert_eq!(lab.triad("leader transfer").await.code(), 0);
        crowd.until_served(50).await;
        lab.set_clock(leader, 0);
    }
    crowd.finish("started_with_a_wrong_clock", &lab).await;
}
