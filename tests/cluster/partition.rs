//! Clients that are cut off from a healthy cluster, for a while or for too long.

use std::future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep_until};
use triad_client::{Checkout, Client, Reason, State};
use triad_proto::net::{Connection, Listener, Network, TcpNetwork};
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

/// The client believes in its seats all the while.
async fn believes_until(client: &Client, until: Instant) {
    let mut states = client.states();
    loop {
        let state = states.borrow_and_update().clone();
        assert!(!matches!(state, State::Lost { .. }), "{state:?}");
        tokio::select! {
            changed = states.changed() => changed.unwrap(),
            () = sleep_until(until) => return,
        }
    }
}

async fn is_back(seat: &Checkout) {
    let held = async || match seat.state() {
        State::Held => Ok(()),
        state => Err(format!("{state:?}")),
    };
    wait::until("the client is back", 2 * LEASE, held).await;
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
    believes_until(&client, Instant::now() + 3 * grace).await;
    for n in others {
        cluster.nodes[n].proxy().pass();
    }
    is_back(&seat).await;
    let listed: Vec<u64> = cluster.checkouts().await.into_keys().collect();
    assert_eq!(listed, [seat.id()]);
}

/// The machine's, but for a time in which no attempt to connect gets anywhere.
struct Stuck {
    network: TcpNetwork,
    is_stuck: AtomicBool,
}

impl Network for Stuck {
    fn connect<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
        match self.is_stuck.load(Ordering::Relaxed) {
            true => future::pending().boxed(),
            false => self.network.connect(host_port),
        }
    }

    fn bind<'a>(&'a self, host_port: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        self.network.bind(host_port)
    }

    fn refused_since(&self, host_port: &str, since: Instant) -> Option<Instant> {
        self.network.refused_since(host_port, since)
    }
}

/// P5: one of many clients in a process does not come to dial the dead leader for longer than
/// the grace. That another of them was refused is enough to go on believing.
#[tokio::test]
async fn what_one_hears_of_a_dead_leader_all_of_its_process_know() {
    let grace = Duration::from_millis(600);
    let options = Options { lease: 3 * LEASE, disconnect_grace: grace, ..Options::default() };
    let mut cluster = Cluster::start(options).await;
    let leader = cluster.settled().await;
    let (network, is_stuck) = (TcpNetwork::new(), AtomicBool::new(false));
    let stuck = Arc::new(Stuck { network, is_stuck });
    let client = cluster.direct_client().network(stuck.clone()).build().unwrap();
    let seat = client.checkout(FEATURE, "", 1).await.unwrap();
    stuck.is_stuck.store(true, Ordering::Relaxed);
    cluster.nodes[leader].kill9().await;
    assert!(TcpNetwork::new().connect(&cluster.nodes[leader].address).await.is_err());
    believes_until(&client, Instant::now() + 3 * grace).await;
    stuck.is_stuck.store(false, Ordering::Relaxed);
    is_back(&seat).await;
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
