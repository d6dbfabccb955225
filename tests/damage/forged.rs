//! A history and a ledger that somebody rewrote who knew how: nothing on the disk is damaged.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use triad_ledger::names::Label;
use triad_ledger::{Command, Happening};
use triad_raft::{forge_event, forge_ledger};
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Holders, Options};

/// What happened is written to the image so often, as long as something happens.
const IMAGE_INTERVAL: Duration = Duration::from_millis(500);

/// How long anything may take that is waited for.
const LIMIT: Duration = Duration::from_secs(60);
/// The entries between two comparisons of the nodes' ledgers.
const COMPARE_INTERVAL: u64 = 1_024;

/// P8: one grant of the history that one node keeps is given to somebody else,
/// with the checksum that belongs to it. The node starts, since nothing is
/// damaged, and `triad audit verify` names it: its chain of hashes is broken.
#[tokio::test]
async fn a_forged_event_is_found_by_the_audit() {
    let mut cluster = Cluster::start(Options::default()).await;
    let client = cluster.client().user("mallory").build().unwrap();
    let began = Instant::now();
    while began.elapsed() < IMAGE_INTERVAL * 3 {
        client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    }
    client.close().await;
    cluster.equal_ledgers().await;
    let verified = cluster.triad("audit verify").await;
    assert_eq!(verified.code(), 0, "{verified:?}");

    let leader = cluster.settled().await;
    let forged = cluster.others(leader)[0];
    assert_eq!(cluster.nodes[forged].sigterm().await.code(), Some(0));
    let number = forge_event(&cluster.nodes[forged].data(), cluster.id(), |event| {
        let mut forged = event.clone();
        let holder = Arc::make_mut(forged.holder.as_mut()?);
        holder.user = Label::parse("alice").unwrap();
        matches!(event.what, Happening::Granted { .. }).then_some(forged)
    });
    let number = number.unwrap().expect("there are grants");
    cluster.nodes[forged].start();
    cluster.settled().await;
    cluster.equal_ledgers().await;

    let verified = cluster.triad("audit verify").await;
    assert_eq!(verified.code(), 1, "event {number} was forged: {verified:?}");
    let name = &cluster.nodes[forged].name;
    let told = format!("  {name}: the chain of hashes is broken");
    assert!(verified.stdout.contains(&told), "{told}: {verified:?}");
    for node in &cluster.nodes {
        let row = verified.stdout.lines().find(|line| line.starts_with(&format!("{} ", node.name)));
        let verdict = row.and_then(|row| row.split_whitespace().nth(1)).unwrap();
        assert_eq!(verdict == "FAULTY", node.name == *name, "{}: {verified:?}", node.name);
    }
}

/// P1: a node with a wrong ledger comes to lead. At the next point of comparison the other two
/// agree, and it is the leader that stops, names what it found, and is not started again. The
/// others serve, and nobody loses a seat.
#[tokio::test]
async fn a_leader_with_a_wrong_ledger_stops_and_the_others_go_on() {
    let mut cluster = Cluster::start(Options::default()).await;
    let holders = Holders::seat(&cluster, 5).await;
    let leader = cluster.settled().await;
    let wrong = cluster.others(leader)[0];
    assert_eq!(cluster.nodes[wrong].sigterm().await.code(), Some(0));
    let forged = Command::NoteDeed { what: Label::parse("nobody did this").unwrap() };
    forge_ledger(&cluster.nodes[wrong].data(), cluster.id(), &forged).unwrap();
    cluster.nodes[wrong].start();
    cluster.settled().await;
    let name = cluster.nodes[wrong].name.clone();
    let transferred = cluster.triad(&format!("leader transfer --to {name}")).await;
    assert_eq!(transferred.code(), 0, "{transferred:?}");
    assert_eq!(cluster.settled().await, wrong);

    let client = cluster.client().user("busy").build().unwrap();
    // An entry for each call of one client: that many until the nodes compare their ledgers.
    for _ in 0..=COMPARE_INTERVAL / 2 {
        client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    }
    let ended = cluster.nodes[wrong].stopped().await;
    assert_eq!(ended.code(), Some(1));
    let log = cluster.nodes[wrong].log();
    assert!(log.contains("this node's ledger differs from that of the others"), "{log}");
    client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    for other in (0..3).filter(|n| *n != wrong) {
        assert!(cluster.nodes[other].runs());
    }
    let told = cluster.triad("status").await;
    assert!(told.stdout.starts_with("Degraded: 2 of 3 nodes"), "{told:?}");
    holders.until_held(LIMIT).await;
    holders.assert_kept(&cluster).await;
}
