//! A history that somebody rewrote who knew how: nothing on the disk is damaged.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use triad_ledger::Happening;
use triad_ledger::names::Label;
use triad_raft::forge_event;
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Options};

/// What happened is written to the image so often, as long as something happens.
const IMAGE_INTERVAL: Duration = Duration::from_millis(500);

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
