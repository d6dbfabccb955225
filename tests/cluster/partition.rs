//! Clients that are cut off from a healthy cluster, for a while or for too long.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use triad_client::{Reason, State};
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Holders, Options, wait};

const LEASE: Duration = Duration::from_secs(3);

async fn cluster_with_one_seat() -> Cluster {
    let options = Options {
        lease: LEASE,
        features: vec![(FEATURE.into(), 1)],
        with_proxies: true,
        ..Options::default()
    };
    Cluster::start(options).await
}

fn for_all(cluster: &Cluster, order: impl Fn(&triad_tests::Proxy)) {
    cluster.nodes.iter().for_each(|node| order(node.proxy()));
}

/// P4, P5: half a lease without a word from the network costs nothing.
#[tokio::test]
async fn half_a_lease_of_silence_keeps_the_seat() {
    let cluster = cluster_with_one_seat().await;
    let holders = Holders::seat(&cluster, 1).await;
    let other = cluster.direct_client().user("other").build().unwrap();
    for _ in 0..2 {
        let held = Instant::now();
        for_all(&cluster, triad_tests::Proxy::hold);
        while held.elapsed() < LEASE / 2 {
            // The silence is part of the test; the seat is asked for meanwhile.
            let refused = other.checkout(FEATURE, "", 1).await.unwrap_err();
            assert_eq!(refused.reason(), Some(Reason::LicensesExhausted), "{refused:?}");
            sleep_until(Instant::now() + LEASE / 20).await;
        }
        for_all(&cluster, triad_tests::Proxy::pass);
        holders.until_held(LEASE).await;
    }
    // A cut connection is no more than a reason to connect again.
    for_all(&cluster, triad_tests::Proxy::cut);
    holders.until_held(LEASE).await;
    holders.assert_kept(&cluster).await;
}

/// P5: the leader dies, and for longer than the grace of a closed socket no other
/// node can be reached. That the leader's port refuses connections is enough to
/// go on believing: it ends nobody any more.
#[tokio::test]
async fn a_dead_leader_and_silent_followers_keep_the_seat() {
    let grace = Duration::from_millis(600);
    let options = Options {
        lease: 3 * LEASE,
        disconnect_grace: grace,
        with_proxies: true,
        ..Options::default()
    };
    let mut cluster = Cluster::start(options).await;
    let leader = cluster.settled().await;
    let others = cluster.others(leader);
    // A proxy would take the connection that a dead node refuses.
    let leaders = cluster.nodes[leader].address.as_str();
    let servers = [leaders, &cluster.nodes[others[0]].public_address];
    let client = cluster.client().servers(servers.join(",")).build().unwrap();
    let seat = client.checkout(FEATURE, "", 1).await.unwrap();
    for n in others {
        cluster.nodes[n].proxy().hold();
    }
    cluster.nodes[leader].kill9().await;
    let until = Instant::now() + 3 * grace;
    let mut states = client.states();
    loop {
        let state = states.borrow_and_update().clone();
        assert!(!matches!(state, State::Lost { .. }), "{state:?}");
        tokio::select! {
            changed = states.changed() => changed.unwrap(),
            () = sleep_until(until) => break,
        }
    }
    for n in others {
        cluster.nodes[n].proxy().pass();
    }
    let held = async || match seat.state() {
        State::Held => Ok(()),
        state => Err(format!("{state:?}")),
    };
    wait::until("the client is back", 2 * LEASE, held).await;
    let listed: Vec<u64> = cluster.checkouts().await.into_keys().collect();
    assert_eq!(listed, [seat.id()]);
}

/// P4: a client that is cut off for two leases is told that its seat is lost,
/// and nobody else has it before that, by one and the same clock. The heartbeats
/// that were on their way revive nothing.
#[tokio::test]
async fn two_leases_of_silence_lose_the_seat() {
    let cluster = cluster_with_one_seat().await;
    let holders = Holders::seat(&cluster, 1).await;
    let holder = &holders.0[0];
    let first_id = holder.seat.id();
    let other = cluster.direct_client().user("other").build().unwrap();
    let held = Instant::now();
    for_all(&cluster, triad_tests::Proxy::hold);
    let (seat, granted) = loop {
        match other.checkout(FEATURE, "", 1).await {
            Ok(seat) => break (seat, Instant::now()),
            Err(error) => assert_eq!(error.reason(), Some(Reason::LicensesExhausted), "{error:?}"),
        }
        assert!(held.elapsed() < 2 * LEASE, "the seat never came back");
        sleep_until(Instant::now() + Duration::from_millis(5)).await;
    };
    let lost = holder.lost_at().expect("the first client must know before anybody has its seat");
    println!(
        "held for {:.3?}: lost by its own clock after {:.3?}, granted again after {:.3?}",
        held.elapsed(),
        lost - held,
        granted - held,
    );
    assert!(lost <= granted, "two holders for {:?}", lost - granted);
    assert!(lost - held >= LEASE - Duration::from_millis(700), "a lease is a lease");

    // What was held back arrives now: heartbeats of a session that has ended.
    sleep_until(held + 2 * LEASE).await;
    for_all(&cluster, triad_tests::Proxy::pass);
    let mut states = holder.client.states();
    assert!(matches!(holder.seat.state(), State::Lost { .. }));
    // The client is well again, with a session of its own, and without the seat.
    let again = holder.client.checkout(FEATURE, "", 1).await.unwrap_err();
    assert_eq!(again.reason(), Some(Reason::LicensesExhausted), "{again:?}");
    assert_eq!(*states.borrow_and_update(), State::Held);
    assert!(matches!(holder.seat.state(), State::Lost { .. }), "nothing is revived");
    let listed: Vec<u64> = cluster.checkouts().await.into_keys().collect();
    assert_eq!(listed, [seat.id()]);
    assert_ne!(seat.id(), first_id);
}
