//! A node that was away for so long that the log does not reach back to it.

use triad_tests::cluster::{FEATURE, START_LIMIT};
use triad_tests::{Cluster, Options, wait};

/// So many entries make a snapshot, and half as many are kept behind it.
const SNAPSHOT_ENTRIES: usize = 100;

/// P7, P8: a follower that missed more than the log keeps is given the whole ledger,
/// and has then, byte for byte, the same as the others.
#[tokio::test]
async fn catch_up() {
    let more_config = format!("[raft]\nsnapshot_entries = {SNAPSHOT_ENTRIES}\n");
    let mut cluster = Cluster::start(Options { more_config, ..Options::default() }).await;
    let leader = cluster.settled().await;
    let [away, _] = cluster.others(leader);
    let client = cluster.client().user("busy").build().unwrap();
    let kept = client.checkout(FEATURE, "", 1).await.unwrap();
    let (before, _) = cluster.equal_ledgers().await;
    cluster.nodes[away].kill9().await;

    for _ in 0..3 * SNAPSHOT_ENTRIES {
        client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    }
    let (now, _) = cluster.equal_ledgers().await;
    assert!(now - before > 2 * SNAPSHOT_ENTRIES as u64, "from {before} to {now}");
    cluster.nodes[away].start();
    cluster.settled().await;
    let (after, hash) = cluster.equal_ledgers().await;
    println!("one ledger on three nodes at {after}: {hash}");
    let look = async || {
        let replaced = cluster.nodes[away].log().contains("the ledger was replaced by a snapshot");
        replaced.then_some(()).ok_or_else(|| "it caught up by entries".to_owned())
    };
    wait::until("it is given a snapshot", START_LIMIT, look).await;

    // With nothing but a snapshot it can lead at once.
    let moved = cluster.triad(&format!("leader transfer --to {}", cluster.nodes[away].name)).await;
    assert_eq!(moved.code(), 0, "{moved:?}");
    assert_eq!(cluster.settled().await, away);
    let moved =
        cluster.triad(&format!("leader transfer --to {}", cluster.nodes[leader].name)).await;
    assert_eq!(moved.code(), 0, "{moved:?}");

    // What it was given is also what it keeps, and goes on from.
    client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    cluster.nodes[away].kill9().await;
    cluster.nodes[away].start();
    cluster.settled().await;
    cluster.equal_ledgers().await;
    let moved = cluster.triad(&format!("leader transfer --to {}", cluster.nodes[away].name)).await;
    assert_eq!(moved.code(), 0, "{moved:?}");
    assert_eq!(cluster.settled().await, away);
    let listed: Vec<u64> = cluster.checkouts().await.into_keys().collect();
    assert_eq!(listed, [kept.id()]);

    // P8: without its image a node has only the end of the log, and says so rather
    // than begin in the middle.
    cluster.nodes[leader].sigterm().await;
    let image = cluster.nodes[leader].data().join("image");
    std::fs::remove_dir_all(&image).unwrap();
    let ended = cluster.nodes[leader].start_in_vain().await;
    assert_eq!(ended.code(), 1, "{ended:?}");
    let words = [image.to_str().unwrap(), "the log was purged up to entry", "replace-a-node.md"];
    for word in words {
        assert!(ended.stderr.contains(word), "{word:?} is not in {ended:?}");
    }
    client.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
}
