//! More clients than seats, while leaders die and licenses shrink.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use triad_client::Reason;
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Options, licenses, wait};

const SEATS: u32 = 3;
const CLIENTS: usize = 12;
const LIMIT: Duration = Duration::from_secs(20);

/// What all clients know together.
#[derive(Default)]
struct Count {
    held: AtomicU32,
    granted: AtomicU64,
    denied: AtomicU64,
    stop: AtomicBool,
}

async fn cluster() -> Cluster {
    let features = vec![(FEATURE.into(), SEATS)];
    Cluster::start(Options { features, ..Options::default() }).await
}

/// P1, P5: twelve clients fight for three seats through the deaths of two
/// leaders. At no moment do more than three of them hold one, and nobody meets
/// another answer than a seat or "all in use".
#[tokio::test]
async fn never_oversold() {
    let mut cluster = cluster().await;
    let count = Arc::new(Count::default());
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let client = cluster.client().user(format!("fighter{n}")).build().unwrap();
        let count = count.clone();
        clients.spawn(async move {
            while !count.stop.load(Ordering::Relaxed) {
                let seat = match client.checkout(FEATURE, "", 1).await {
                    Ok(seat) => seat,
                    Err(error) => {
                        assert_eq!(error.reason(), Some(Reason::LicensesExhausted), "{error:?}");
                        count.denied.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                };
                let before = count.held.fetch_add(1, Ordering::SeqCst);
                assert!(before < SEATS, "{} clients hold {SEATS} seats", before + 1);
                count.granted.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                count.held.fetch_sub(1, Ordering::SeqCst);
                seat.give_back().await.unwrap();
            }
            client.close().await;
        });
    }
    for round in 1..=3 {
        let wanted = count.granted.load(Ordering::Relaxed) + 60;
        let look = async || {
            if let Some(ended) = clients.try_join_next() {
                panic!("a client stopped: {ended:?}");
            }
            let granted = count.granted.load(Ordering::Relaxed);
            if granted >= wanted { Ok(()) } else { Err(format!("{granted} of {wanted}")) }
        };
        wait::until("the fight goes on", LIMIT, look).await;
        if round < 3 {
            let leader = cluster.settled().await;
            cluster.nodes[leader].kill9().await;
            cluster.nodes[leader].start();
        }
    }
    count.stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    cluster.until_checkouts(0, LIMIT).await;
    let (granted, denied) = (count.granted.load(Ordering::Relaxed), &count.denied);
    println!("{granted} seats granted, {} denials, never more than {SEATS} held", {
        denied.load(Ordering::Relaxed)
    });
    cluster.settled().await;
    cluster.equal_ledgers().await;
}

/// P1: a license that shrinks below what is held evicts nobody and grants
/// nothing, until enough seats have come back.
#[tokio::test]
async fn a_license_that_shrinks() {
    let cluster = cluster().await;
    let client = cluster.client().user("holder").build().unwrap();
    let mut seats = Vec::new();
    for _ in 0..SEATS {
        seats.push(client.checkout(FEATURE, "", 1).await.unwrap());
    }
    let mut smaller = cluster.draft();
    smaller.serial = 2;
    smaller.features[0].seats = 2;
    let text = licenses::document(&smaller, &cluster.publisher);
    let applied = cluster.apply_license(&text).await.unwrap();
    assert!(applied.changed, "{applied:?}");
    assert_eq!(applied.overage, 1, "{applied:?}");
    assert_eq!(cluster.checkouts().await.len(), SEATS as usize, "nobody is evicted");

    let other = cluster.client().user("other").build().unwrap();
    for _ in 0..2 {
        let denied = other.checkout(FEATURE, "", 1).await.unwrap_err();
        assert_eq!(denied.reason(), Some(Reason::LicensesExhausted), "{denied:?}");
        seats.pop().unwrap().give_back().await.unwrap();
    }
    let seat = other.checkout(FEATURE, "", 1).await.unwrap();
    let denied = client.checkout(FEATURE, "", 1).await.unwrap_err();
    assert_eq!(denied.reason(), Some(Reason::LicensesExhausted), "{denied:?}");
    let mut listed: Vec<u64> = cluster.checkouts().await.into_keys().collect();
    listed.sort_unstable();
    assert_eq!(listed, [seats[0].id(), seat.id()]);
}
