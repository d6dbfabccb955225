//! The command line of an administrator against three real nodes, well and ill.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use triad_tests::cluster::START_LIMIT;
use triad_tests::node::{Ended, run};
use triad_tests::{Cluster, Options};

/// What a command may take beyond the time it was given: a process starts, on a
/// machine that does other things besides.
const SLACK: Duration = Duration::from_millis(1_500);

/// An address that swallows packets: a network set aside for documentation.
const BLACK_HOLE: &str = "192.0.2.1:27070";

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

/// Every node says how it does; the leader says how far the others trail and how
/// far their clocks are off.
#[tokio::test]
async fn status_tells_how_each_node_does() {
    let cluster = Cluster::start(Options::default()).await;
    cluster.settled().await;
    let status = cluster.triad("status -o json").await;
    assert_eq!(status.code(), 0, "{status:?}");
    let status = json(&status);
    assert_eq!(status["verdict"], "HEALTHY", "{status}");
    // The tests' licenses end in a day; that makes no cluster less healthy.
    let concerns = status["concerns"].as_array().unwrap();
    assert_eq!(concerns.len(), 1, "{status}");
    assert_eq!(concerns[0]["severity"], "NOTE", "{status}");
    assert!(concerns[0]["what"].as_str().unwrap().starts_with("the license of solver ends in "));
    let nodes = status["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3, "{status}");
    let number = |value: &Value| value.as_str().map_or(0, |text| text.parse::<u64>().unwrap());
    for node in nodes {
        let vitals = &node["status"]["vitals"];
        let date_ms = number(&node["status"]["dateMs"]);
        assert!(number(&vitals["uptimeMs"]) > 0, "{vitals}");
        assert!(number(&vitals["certificateExpiresMs"]) > date_ms, "{vitals}");
        assert!(number(&vitals["diskFreeBytes"]) > 1 << 20, "{vitals}");
        // All clocks are this machine's.
        assert!(number(&vitals["wallMs"]).abs_diff(date_ms) < 5_000, "{vitals} {date_ms}");
    }
    let leads = |node: &&Value| node["status"]["leaderId"] == node["status"]["nodeId"];
    let leader = nodes.iter().find(leads).unwrap();
    for seen in leader["status"]["nodes"].as_array().unwrap() {
        let skew_ms: i64 = seen["clockSkewMs"].as_str().unwrap().parse().unwrap();
        assert!(skew_ms.abs() < 1_000, "{seen}");
    }
    let text = cluster.triad("status").await.stdout;
    assert!(text.starts_with("Healthy: 3 of 3 nodes, leader "), "{text}");
    for told in ["  LAG  CLOCK ", "  CERTIFICATE ", "  DISK FREE ", "  UPTIME ", " license"] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

/// Two nodes are dead and a third address answers nothing. Whoever asks
/// is told so in time, with the remedy, and with an answer that says its age.
#[tokio::test]
async fn with_two_nodes_dead_status_is_stale_and_in_time() {
    let mut cluster = Cluster::start(Options::default()).await;
    let leader = cluster.settled().await;
    for dead in cluster.others(leader) {
        cluster.nodes[dead].kill9().await;
    }
    let servers = format!("{},{BLACK_HOLE}", cluster.servers());
    let asked = Instant::now();
    let mut command = cluster.command("status --timeout 3s");
    command.env("TRIAD_SERVERS", servers);
    let status = run(command, START_LIMIT).await;
    assert!(asked.elapsed() < Duration::from_secs(3) + SLACK, "{:?}", asked.elapsed());
    assert_eq!(status.code(), 4, "{status:?}");
    let text = &status.stdout;
    assert!(text.starts_with("No quorum: 1 of 3 nodes answers; checkouts are refused (STALE by "));
    assert_eq!(text.matches("\n  ERR   ").count(), 2, "{text}");
    assert!(text.contains("systemctl start triad"), "{text}");
}
