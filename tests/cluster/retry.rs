//! Answers that are lost, and requests that are repeated.

use std::time::Duration;

use triad_tests::cluster::FEATURE;
use triad_tests::raw::{self, RawSession};
use triad_tests::{Cluster, Options};

const LIMIT: Duration = Duration::from_secs(10);

async fn cluster() -> Cluster {
    let lease = Duration::from_secs(10);
    let disconnect_grace = Duration::from_secs(8);
    let options = Options { lease, disconnect_grace, with_proxies: true, ..Options::default() };
    Cluster::start(options).await
}

/// P3: the answer to a checkout is lost, the leader dies, and the request is
/// repeated on the next leader, and again on the one after. There is one seat,
/// and every answer names it.
#[tokio::test]
async fn retried_checkout() {
    let mut cluster = cluster().await;
    let id = [7; 16];
    let first = cluster.settled().await;
    let channel = cluster.channel_to(&cluster.nodes[first].public_address);
    let session = RawSession::open(channel, raw::open(id, false)).await.unwrap();
    cluster.nodes[first].proxy().drop_answers();
    session.say(raw::take(1, FEATURE, 1));
    let written: Vec<u64> = cluster.until_checkouts(1, LIMIT).await.into_keys().collect();
    cluster.nodes[first].kill9().await;

    let second = cluster.settled().await;
    let resumed = RawSession::open(cluster.channel(second), raw::open(id, true)).await;
    let mut resumed = resumed.unwrap();
    assert_eq!(resumed.opened.checkout_ids, written, "the session knows what it holds");
    for _ in 0..3 {
        let grant = raw::granted(resumed.take(1, FEATURE).await.unwrap());
        assert_eq!(grant.checkout_id, written[0]);
    }
    cluster.nodes[first].start();
    cluster.settled().await;
    let moved = cluster.triad("leader transfer").await;
    assert_eq!(moved.code(), 0, "{moved:?}");
    let third = cluster.settled().await;
    assert_ne!(second, third);
    let resumed = RawSession::open(cluster.channel(third), raw::open(id, true)).await;
    let mut resumed = resumed.unwrap();
    let grant = raw::granted(resumed.take(1, FEATURE).await.unwrap());
    assert_eq!(grant.checkout_id, written[0]);
    let next = raw::granted(resumed.take(2, FEATURE).await.unwrap());
    assert_ne!(next.checkout_id, written[0], "another request is another seat");
    let listed: Vec<u64> = cluster.checkouts().await.into_keys().collect();
    assert_eq!(listed, [written[0], next.checkout_id]);
}

/// P3: the same through the library, which repeats by itself.
#[tokio::test]
async fn retried_checkout_of_the_library() {
    let mut cluster = cluster().await;
    let leader = cluster.settled().await;
    let client = cluster.client().user("retry").build().unwrap();
    client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    cluster.nodes[leader].proxy().drop_answers();
    let asking = tokio::spawn({
        let client = client.clone();
        async move { client.checkout(FEATURE, "", 1).await }
    });
    let written: Vec<u64> = cluster.until_checkouts(1, LIMIT).await.into_keys().collect();
    assert!(!asking.is_finished(), "the answer was to be lost");
    cluster.nodes[leader].kill9().await;
    let seat = asking.await.unwrap().unwrap();
    assert_eq!(seat.id(), written[0]);
    let listed: Vec<u64> = cluster.checkouts().await.into_keys().collect();
    assert_eq!(listed, written);
    seat.give_back().await.unwrap();
    cluster.until_checkouts(0, LIMIT).await;
}
