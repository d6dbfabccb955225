//! Answers that are lost, and requests that are repeated.

use std::time::Duration;

use triad_client::{Error, SharedConnections};
use triad_tests::cluster::FEATURE;
use triad_tests::raw::{self, RawSession};
use triad_tests::{Cluster, Options, Sightings};

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

/// A client is closed before it had the answer to its opening, and that answer is lost:
/// the session that nobody would use is ended all the same, and not by its lease.
#[tokio::test]
async fn closed_before_it_was_open() {
    let cluster = cluster().await;
    let leader = cluster.settled().await;
    let proxy = cluster.nodes[leader].proxy();
    let sessions =
        |count| move |s: &Sightings| (s.0[leader].as_ref().ok()?.sessions == count).then_some(());
    // On a connection that stands; so the opening arrives although no answer does.
    let connections = SharedConnections::default();
    let client = |user| {
        let client = cluster.client().servers(&cluster.nodes[leader].public_address).user(user);
        client.connections(&connections).lease(LIMIT * 6).build().unwrap()
    };
    let (steady, hasty) = (client("steady"), client("hasty"));
    let seat = steady.checkout(FEATURE, "", 1).await.unwrap();
    proxy.drop_answers();
    let asking = tokio::spawn({
        let hasty = hasty.clone();
        async move { hasty.checkout(FEATURE, "", 1).await.map(|_| ()) }
    });
    cluster.until("the leader has opened the session", LIMIT, sessions(2)).await;
    let closing = tokio::spawn(hasty.close());
    let refused = asking.await.unwrap();
    assert!(matches!(refused, Err(Error::Closed)), "{refused:?}");
    proxy.pass();
    proxy.cut();
    closing.await.unwrap();
    cluster.until("the session is over", LIMIT, sessions(1)).await;
    seat.give_back().await.unwrap();
}

/// A session that is open is ended on its stream: nobody is dialled for it.
#[tokio::test]
async fn closed_while_it_is_open() {
    let cluster = cluster().await;
    cluster.settled().await;
    let client = cluster.client().user("orderly").build().unwrap();
    client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    let taken = || cluster.nodes.iter().map(|node| node.proxy().taken()).collect::<Vec<_>>();
    let before = taken();
    client.close().await;
    assert_eq!(taken(), before);
}
