//! Clusters without a quorum: all nodes down at once, or one left alone.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use triad_client::Error;
use triad_proto::v1::licensing_service_client::LicensingServiceClient;
use triad_proto::v1::session_call::Call;
use triad_proto::v1::{Beat, HeartbeatRequest, Reason, Refusal};
use triad_tests::cluster::{FEATURE, START_LIMIT};
use triad_tests::holders::holder_process;
use triad_tests::{Cluster, Holders, Options, RawSession, Sightings, raw, wait};

const LEASE: Duration = Duration::from_secs(4);
/// What a leader adds to the lease of a session that it takes over, for the
/// leader before.
const LEADER_BEFORE: Duration = Duration::from_secs(2);
/// For timers, polling and a busy machine.
const SLACK: Duration = Duration::from_millis(1_500);
/// How soon a node that is left alone knows it. It is looked at together with
/// nodes that do not answer, which takes its time.
const ALONE_LIMIT: Duration = Duration::from_secs(5);
/// How soon after a quorum is back seats are granted again.
const RETURN_LIMIT: Duration = Duration::from_secs(4);
/// For how long a leader may acknowledge heartbeats without its followers.
const QUORUM_LEASE: Duration = Duration::from_millis(600);

fn options(lease: Duration) -> Options {
    Options { lease, ..Options::default() }
}

async fn kill_all(cluster: &mut Cluster) {
    for node in &mut cluster.nodes {
        node.kill9().await;
    }
}

fn start_all(cluster: &mut Cluster) {
    for node in cluster.nodes.iter_mut().filter(|node| !node.runs()) {
        node.start();
    }
}

/// P2, P5: all three nodes are killed at once. What was granted is still granted
/// when they are back, and clients that come back within their lease saw nothing.
#[tokio::test]
async fn all_down_and_up() {
    let mut cluster = Cluster::start(options(5 * LEASE)).await;
    let holders = Holders::seat(&cluster, 10).await;
    for _ in 0..2 {
        kill_all(&mut cluster).await;
        let killed = Instant::now();
        start_all(&mut cluster);
        cluster.leader().await;
        holders.until_held(5 * LEASE).await;
        println!("all killed, all clients are back after {:.0?}", killed.elapsed());
        holders.assert_kept(&cluster).await;
    }
    cluster.settled().await;
    cluster.equal_ledgers().await;
}

/// P2, P4: all three nodes are killed and the clients never come back. Their
/// seats are kept for a whole lease, and not for much longer.
#[tokio::test]
async fn all_down_and_clients_gone() {
    let mut cluster = Cluster::start(options(LEASE)).await;
    let mut holders = Vec::new();
    for _ in 0..3 {
        holders.push(holder_process(&cluster).await);
    }
    kill_all(&mut cluster).await;
    // Nobody is there to hear that they go.
    for holder in &mut holders {
        holder.kill().await.unwrap();
    }
    let restarted = Instant::now();
    start_all(&mut cluster);
    cluster.leader().await;
    let led = Instant::now();
    assert_eq!(cluster.checkouts().await.len(), 3, "what was granted is granted");
    cluster.until_checkouts(0, 2 * LEASE + LEADER_BEFORE).await;
    let (early, late) = (restarted.elapsed(), led.elapsed());
    println!("the seats are free {late:.1?} after the restart");
    assert!(early >= LEASE, "a new leader gives everybody a whole lease: {early:?}");
    assert!(late <= LEASE + LEADER_BEFORE + SLACK, "{late:?}");
}

/// P4, P5: all three nodes are down for longer than the lease. The next leader would keep the session
/// that its client gave up for a whole lease more; the client says that it is over, and does not find
/// its own seat taken.
#[tokio::test]
async fn all_down_for_longer_than_a_lease() {
    let features = vec![(FEATURE.to_owned(), 1)];
    let mut cluster = Cluster::start(Options { features, ..options(2 * LEASE) }).await;
    let client = cluster.client().user("ann").build().unwrap();
    let seat = client.checkout(FEATURE, "", 1).await.unwrap();
    kill_all(&mut cluster).await;
    timeout(3 * LEASE, seat.lost()).await.expect("it is lost after its lease");
    start_all(&mut cluster);
    cluster.leader().await;
    let again = client.checkout(FEATURE, "", 1).await.expect("asked once, and it is free");
    assert_eq!(cluster.checkouts().await.len(), 1, "the one of before is returned");
    again.give_back().await.unwrap();
}

/// What a user and an administrator see while one node is left.
async fn refused_by_the_rest(cluster: &Cluster, alone: usize) {
    let patience = Duration::from_secs(3);
    let client = cluster.client().user("late").checkout_timeout(patience).build().unwrap();
    let asked = Instant::now();
    let refused = client.checkout(FEATURE, "", 1).await.unwrap_err();
    let took = asked.elapsed();
    assert!(matches!(refused, Error::Unavailable(_)), "{refused:?}");
    assert_eq!(refused.reason(), Some(Reason::NoQuorum), "{refused:?}");
    assert!(took <= patience + Duration::from_millis(500), "{took:?}");

    // Only the node that is left is named.
    let asked = Instant::now();
    let mut command = cluster.command("status");
    command.env("TRIAD_SERVERS", &cluster.nodes[alone].public_address);
    let status = triad_tests::node::run(command, START_LIMIT).await;
    assert_eq!(status.code(), 4, "{status:?}");
    assert!(status.stdout.starts_with("No quorum: 1 of 3 nodes answer"), "{status:?}");
    assert!(status.stdout.contains("(STALE by "), "{status:?}");
    assert!(asked.elapsed() < Duration::from_secs(6), "{:?}", asked.elapsed());
    let json = cluster.triad("status -o json").await;
    assert_eq!(json.code(), 4, "{json:?}");
    let verdict: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(verdict["verdict"], "NO_QUORUM", "{verdict}");
    // What it does not know of may be held all the same.
    let revoke = cluster.triad("checkouts revoke 999999 --yes").await;
    assert_eq!(revoke.code(), 4, "{revoke:?}");
    assert!(revoke.stderr.contains("TRD-1002"), "{revoke:?}");
    assert!(!revoke.stderr.contains("is not held"), "{revoke:?}");

    let checkout = cluster.triad(&format!("checkout {FEATURE} --timeout 3s")).await;
    assert_eq!(checkout.code(), 4, "{checkout:?}");
    assert!(checkout.stderr.contains("TRD-1002"), "{checkout:?}");
}

/// P6, P12: the leader loses both followers. It says so at once, to those who
/// ask and to those whose heartbeats it can no longer acknowledge; these keep
/// their seats until their own lease ends, and no longer. When the others are
/// back, seats are granted again.
#[tokio::test]
async fn a_leader_left_alone() {
    let mut cluster = Cluster::start(options(LEASE)).await;
    let alone = cluster.settled().await;
    let holders = Holders::seat(&cluster, 3).await;
    let channel = cluster.channel(alone);
    let mut session = RawSession::open(channel, raw::open([7; 16], false)).await.unwrap();
    let before = Instant::now();
    for n in cluster.others(alone) {
        cluster.nodes[n].kill9().await;
    }
    let after = Instant::now();

    // Heartbeats are acknowledged within the quorum lease, and then refused.
    let mut beat = 1;
    let status = loop {
        beat += 1;
        session.say(Call::Beat(Beat { beat }));
        if let Err(status) = session.next().await {
            break status;
        }
        let silent = after.elapsed();
        assert!(silent <= QUORUM_LEASE + SLACK, "beat {beat} acknowledged after {silent:?}");
    };
    assert_eq!(Refusal::from_status(&status).reason(), Reason::NoQuorum, "{status:?}");
    println!("the leader fell silent {:.0?} after it was left alone", after.elapsed());
    assert!(holders.0.iter().all(|holder| holder.believes()), "a lease lasts longer than that");
    refused_by_the_rest(&cluster, alone).await;
    // It does not say of a session that it does not know that it is over: another leader may have
    // opened it.
    let mut client = LicensingServiceClient::new(cluster.channel(alone));
    let unknown = HeartbeatRequest { session_id: vec![9; 16] };
    let status = client.heartbeat(unknown).await.unwrap_err();
    assert_eq!(Refusal::from_status(&status).reason(), Reason::NoQuorum, "{status:?}");

    let lost = async || {
        let lost = holders.0.iter().filter(|holder| holder.lost_at().is_some()).count();
        if lost == holders.0.len() { Ok(()) } else { Err(format!("{lost} lost")) }
    };
    wait::until("the clients know that their lease is over", LEASE + 2 * SLACK, lost).await;
    for holder in &holders.0 {
        let lost_at = holder.lost_at().unwrap();
        let (early, late) = (lost_at - before, lost_at - after);
        // The last heartbeat went at most one interval before.
        assert!(early >= LEASE - Duration::from_millis(700), "{}: {early:?}", holder.user);
        assert!(late <= LEASE + QUORUM_LEASE + SLACK, "{}: {late:?}", holder.user);
    }

    let returned = Instant::now();
    start_all(&mut cluster);
    cluster.settled().await;
    let client = cluster.client().user("afterwards").build().unwrap();
    client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    let took = returned.elapsed();
    assert!(took < RETURN_LIMIT, "served again {took:?} after the others came back");
}

/// P15: clients that look for a leader for seconds, where nobody leads, ask the
/// node that is left again and again on one connection each: a handshake for
/// each question is what a node has no time for when it is to lead.
#[tokio::test]
async fn searches_share_a_connection() {
    const CLIENTS: usize = 10;
    // A proxy before a dead node takes connections, so nobody learns of its death.
    let disconnect_grace = 5 * LEASE;
    let options = Options { with_proxies: true, disconnect_grace, ..options(5 * LEASE) };
    let mut cluster = Cluster::start(options).await;
    let holders = Holders::seat(&cluster, CLIENTS).await;
    let leader = cluster.settled().await;
    let alone = cluster.others(leader)[0];
    let before = cluster.nodes[alone].proxy().taken();
    for n in cluster.others(alone) {
        cluster.nodes[n].kill9().await;
    }
    tokio::time::sleep(LEASE).await;
    let connections = cluster.nodes[alone].proxy().taken() - before;
    println!("{CLIENTS} clients searched for {LEASE:?} with {connections} connections");
    // One more each, for a proxy that has nobody behind it closes what it took.
    assert!(connections <= 2 * CLIENTS, "{connections} connections of {CLIENTS} clients");
    for n in cluster.others(alone) {
        cluster.nodes[n].start();
    }
    holders.until_held(5 * LEASE).await;
    holders.assert_kept(&cluster).await;
}

/// P5, P6, P12: a follower is left alone by two dead nodes, and the others come
/// back before the leases end. Meanwhile nothing is granted; afterwards nobody
/// has lost anything.
#[tokio::test]
async fn a_follower_left_alone() {
    let mut cluster = Cluster::start(options(Duration::from_secs(25))).await;
    let leader = cluster.settled().await;
    let holders = Holders::seat(&cluster, 3).await;
    let [alone, other] = cluster.others(leader);
    cluster.nodes[other].kill9().await;
    cluster.nodes[leader].kill9().await;
    knows_that_nobody_leads(&cluster, alone).await;
    refused_by_the_rest(&cluster, alone).await;
    assert!(holders.0.iter().all(|holder| holder.believes()));

    // Started anew it remembers who led, and must not believe in it.
    cluster.nodes[alone].kill9().await;
    cluster.nodes[alone].start();
    knows_that_nobody_leads(&cluster, alone).await;
    refused_by_the_rest(&cluster, alone).await;

    start_all(&mut cluster);
    cluster.settled().await;
    holders.until_held(START_LIMIT).await;
    holders.assert_kept(&cluster).await;
}

/// P5, P6, P12: the same when the others are not dead but silent, as behind a
/// broken switch: nothing is closed and nothing refuses.
#[tokio::test]
async fn a_follower_left_alone_in_silence() {
    let cluster = Cluster::start(options(Duration::from_secs(25))).await;
    let leader = cluster.settled().await;
    let holders = Holders::seat(&cluster, 3).await;
    let [alone, other] = cluster.others(leader);
    cluster.nodes[other].sigstop();
    cluster.nodes[leader].sigstop();
    knows_that_nobody_leads(&cluster, alone).await;
    refused_by_the_rest(&cluster, alone).await;
    assert!(holders.0.iter().all(|holder| holder.believes()));
    cluster.nodes[other].sigcont();
    cluster.nodes[leader].sigcont();
    cluster.settled().await;
    holders.until_held(START_LIMIT).await;
    holders.assert_kept(&cluster).await;
}

async fn knows_that_nobody_leads(cluster: &Cluster, alone: usize) {
    let alone_knows = |sightings: &Sightings| {
        let status = sightings.0[alone].as_ref().ok()?;
        (!status.has_quorum && status.leader_id == 0).then_some(())
    };
    cluster.until("the node knows that nobody leads", ALONE_LIMIT, alone_knows).await;
}
