//! Networks that are cut in two, one way or both, and healed.

use std::time::Duration;

use tokio::time::Instant;
use triad_tests::cluster::FEATURE;
use triad_tests::{Holders, Lab, Options};

const RECOVERY_LIMIT: Duration = Duration::from_secs(10);

/// P5, P6, P12: the leader and the others hear nothing of each other; the two
/// elect one, everybody keeps his seat, and the old leader follows when it is
/// back.
#[tokio::test]
async fn leader_partitioned() {
    let Some(mut lab) = Lab::start(Options::default()).await else { return };
    let holders = Holders::seat(&lab, 10).await;
    let probe = lab.client().user("probe").build().unwrap();
    drop(probe.checkout(FEATURE, "", 1).await.unwrap());
    let old = lab.settled().await;
    let cut = Instant::now();
    lab.partition(old);
    let seat = probe.checkout(FEATURE, "", 1).await.unwrap();
    println!("served after {:.0?}", cut.elapsed());
    let new = lab.leader().await;
    assert_ne!(old, new);
    holders.until_held(RECOVERY_LIMIT).await;
    println!("all are back after {:.0?}", cut.elapsed());
    seat.give_back().await.unwrap();
    lab.heal();
    lab.settled().await;
    holders.assert_kept(&lab).await;
    lab.equal_ledgers().await;
}
