//! Wall clocks that are wrong.

use triad_tests::Lab;
use triad_tests::lab::Gear;

use crate::crowd::{Crowd, LEASE, RECOVERY_LIMIT, options};

const HOUR_S: i64 = 3_600;
/// Two clocks that are no further apart are the same, on a busy machine.
const CLOSE_MS: u64 = 60_000;
const TEN_YEARS_S: i64 = 10 * 365 * 24 * HOUR_S;

/// P5, P9: the clock of one node jumps, by an hour and by ten years, forward and
/// back, of a follower and of the leader. It ends nobody and extends nothing,
/// and the cluster's date stays where it was.
#[cfg_attr(test, tokio::test)]
pub async fn one_wrong_clock() {
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
            until_clocks_differ_by(&lab, offset_s).await;
            crowd.until_served(50).await;
            let gap = crowd.book().longest_gap();
            assert!(gap < LEASE, "{gap:?} after {offset_s} s of {}", lab.nodes[n].name);
            crowd.until_held().await;
            println!("one_wrong_clock: {offset_s} s, the leader's {is_leader}: gap {gap:.0?}");
            lab.set_clock(n, 0);
            // Two wrong clocks of three are another matter.
            until_clocks_differ_by(&lab, 0).await;
            jumps += 1;
        }
    }
    let passed_ms = date_ms().await.unwrap().abs_diff(before_ms);
    println!("one_wrong_clock: {jumps} jumps; the date moved by {passed_ms} ms");
    assert!(passed_ms < HOUR_S.unsigned_abs() * 1_000 / 6, "the date moved by {passed_ms} ms");
    crowd.finish("one_wrong_clock", lab).await;
}

/// Waits until the leader has heard that one clock is wrong by so much, or that
/// none is. A node reads its clock's file once a second.
async fn until_clocks_differ_by(lab: &Lab, offset_s: i64) {
    let wanted_ms = offset_s.unsigned_abs() * 1_000;
    let what = format!("the clocks differ by {offset_s} s");
    lab.until(&what, RECOVERY_LIMIT, |seen| {
        let leader = seen.0[seen.leader()?].as_ref().ok()?;
        let offsets = leader.nodes.iter().map(|node| node.clock_offset_ms.unsigned_abs());
        (offsets.max()?.abs_diff(wanted_ms) < CLOSE_MS).then_some(())
    })
    .await;
}

/// P5, P9: a node starts with a clock that is an hour wrong.
#[cfg_attr(test, tokio::test)]
pub async fn started_with_a_wrong_clock() {
    let Some(mut lab) = Lab::start_with(options(), &[Gear::Clocks]).await else { return };
    let crowd = Crowd::start(&lab).await;
    for offset_s in [HOUR_S, -HOUR_S] {
        let leader = lab.settled().await;
        crowd.book().forget_gaps();
        lab.nodes[leader].kill9().await;
        lab.set_clock(leader, offset_s);
        lab.nodes[leader].start();
        lab.settled().await;
        until_clocks_differ_by(&lab, offset_s).await;
        crowd.until_served(50).await;
        crowd.until_held().await;
        let gap = crowd.book().longest_gap();
        println!("started_with_a_wrong_clock: {offset_s} s, gap {gap:.0?}");
        // Whoever leads, the one with the wrong clock too.
        assert_eq!(lab.triad("leader transfer").await.code(), 0);
        crowd.until_served(50).await;
        lab.set_clock(leader, 0);
        until_clocks_differ_by(&lab, 0).await;
    }
    crowd.finish("started_with_a_wrong_clock", lab).await;
}
