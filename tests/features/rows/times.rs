//! Rows about what ends by the clock.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::people::{HEARD_LIMIT, User};
use crate::scene::Scene;
use crate::site::{IDLE_SHORT_MS, LINGER_SHORT_MS};

/// What ends by the clock may end so much later: the time without a leader, in
/// which the cluster's clock stands, a look once a second, and a busy machine.
const SLACK: Duration = Duration::from_secs(20);

/// A seat that lingers stays taken, comes back to the same desk, and is free
/// when its time is over.
pub async fn linger(mut scene: Scene) {
    let [ann, ben, cid] = scene.users(["ann", "ben", "cid"]).await;
    let long = ann.takes("linger", 1).await;
    let short = ann.takes("linger-short", 1).await;
    let cid_waits = cid.waits(&[("linger-short", 1)]).await;

    scene.last_call().await;
    let returned = Instant::now();
    long.give_back().await.unwrap();
    short.give_back().await.unwrap();
    let served = async {
        let seat = cid.is_served_within(cid_waits, SLACK + HEARD_LIMIT).await;
        (seat, returned.elapsed())
    };

    let expected = [
        "linger: ann 1 lingering",
        "ben: LICENSES_EXHAUSTED, linger, 1 of 1 in use, 1 wanted, held by ann 1",
    ];
    let look =
        async |scene: &Scene| vec![scene.held("linger").await, ben.is_denied("linger", 1).await];
    let ((seat, took), ()) = tokio::join!(served, scene.withstands(&expected, look));

    let lingers = Duration::from_millis(LINGER_SHORT_MS);
    assert!(took >= lingers, "free after {took:?} of {lingers:?}");
    assert!(took <= lingers + SLACK, "free only after {took:?}, it was to linger {lingers:?}");
    assert_eq!(scene.held("linger-short").await, "linger-short: cid 1");
    // From the same desk, in another session.
    let ann_again = scene.user("ann").await;
    let again = ann_again.takes("linger", 1).await;
    assert_eq!(scene.held("linger").await, "linger: ann 1");
    again.give_back().await.unwrap();
    assert_eq!(scene.held("linger").await, "linger: ann 1 lingering");
    ben.is_denied("linger", 1).await;
    drop(seat);
    [ann, ben, cid, ann_again].iter().for_each(User::lost_nothing);
}

/// What idle users hold is taken back when its time is over; others keep theirs.
pub async fn idle(mut scene: Scene) {
    let [ann, ben, cid] = scene.users(["ann", "ben", "cid"]).await;
    let long = ann.takes("idle", 1).await;
    let bens_long = ben.takes("idle", 1).await;
    let short = ann.takes("idle-short", 1).await;
    let bens_short = ben.takes("idle-short", 1).await;
    let cid_waits = cid.waits(&[("idle-short", 1)]).await;

    scene.last_call().await;
    let idle_since = Instant::now();
    ann.client.set_idle(Duration::ZERO);
    scene.until_held("idle: ann 1 idle and ben 1").await;
    let lost = async {
        let reason = timeout(SLACK + HEARD_LIMIT, short.lost()).await;
        (reason.expect("ann loses what she does not use"), idle_since.elapsed())
    };

    let expected = ["idle: ann 1 idle and ben 1"];
    let look = async |scene: &Scene| vec![scene.held("idle").await];
    let ((reason, took), ()) = tokio::join!(lost, scene.withstands(&expected, look));

    // A client that is away when it happens learns it when it comes back.
    assert!(reason.contains("IDLE") || reason.contains("meanwhile"), "{reason}");
    let allowed = Duration::from_millis(IDLE_SHORT_MS);
    assert!(took >= allowed, "taken back after {took:?} of {allowed:?}");
    assert!(took <= allowed + SLACK, "taken back only after {took:?}, not {allowed:?}");
    let seat = cid.is_served(cid_waits).await;
    assert_eq!(scene.held("idle-short").await, "idle-short: ben 1 and cid 1");
    ann.client.set_active();
    scene.until_held("idle: ann 1 and ben 1").await;
    drop((long, bens_long, bens_short, seat));
    [ann, ben, cid].iter().for_each(User::lost_nothing);
}
