//! Nodes and clients that start in any order.

use std::time::Duration;

use triad_client::Reason;
use triad_tests::cluster::{FEATURE, START_LIMIT};
use triad_tests::{Cluster, Options, wait};

const PATIENCE: Duration = Duration::from_secs(30);
const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Starts the nodes one after the other, each when the one before answers and
/// has seen that it is not enough alone.
async fn start_in(cluster: &mut Cluster, order: [usize; 3]) {
    for (place, n) in order.into_iter().enumerate() {
        cluster.nodes[n].start();
        let look = async || match cluster.look(n).await {
            Ok(status) if place > 0 || status.leader_id == 0 => Ok(()),
            Ok(status) => Err(format!("{status:?}")),
            Err(error) => Err(error),
        };
        wait::until("the node answers", START_LIMIT, look).await;
    }
    cluster.settled().await;
}

/// P14: in whatever order three new nodes start, with gaps, they form one
/// cluster; in whatever order three old ones do, they go on. Clients that were
/// there before them are served.
#[tokio::test]
async fn order_free() {
    for order in ORDERS {
        let mut cluster = Cluster::create(Options::default()).await;
        let early = cluster.client().user("early").checkout_timeout(PATIENCE).build().unwrap();
        let asking = tokio::spawn(async move { early.checkout(FEATURE, "", 1).await });
        start_in(&mut cluster, order).await;
        // There is no license yet, and it is the ledger that says so.
        let answer = asking.await.unwrap().unwrap_err();
        assert_eq!(answer.reason(), Some(Reason::FeatureUnknown), "{order:?}: {answer:?}");
        let license = triad_tests::licenses::document(&cluster.draft(), &cluster.publisher);
        cluster.license(&license).await;

        for node in &mut cluster.nodes {
            node.kill9().await;
        }
        let early = cluster.client().user("early").checkout_timeout(PATIENCE).build().unwrap();
        let asking = tokio::spawn(async move { early.checkout(FEATURE, "", 1).await });
        start_in(&mut cluster, [order[2], order[0], order[1]]).await;
        let seat = asking.await.unwrap().unwrap();
        let listed: Vec<u64> = cluster.checkouts().await.into_keys().collect();
        assert_eq!(listed, [seat.id()], "{order:?}");
        cluster.equal_ledgers().await;
    }
}
