//! A client in another language, written from the proto alone.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;
use triad_tests::cluster::FEATURE;
use triad_tests::node::run;
use triad_tests::program::repository;
use triad_tests::skip::skip;
use triad_tests::{Cluster, Options};

const LIMIT: Duration = Duration::from_secs(40);

/// The Python that tests/setup.sh installs, if it has what the client needs.
async fn python() -> Option<PathBuf> {
    let tools = std::env::var_os("TRIAD_TOOLS").map(PathBuf::from).or_else(|| {
        let home = std::env::var_os("HOME").map(PathBuf::from)?;
        Some(home.join(".cache/triad-tools"))
    });
    let python = tools?.join("venv/bin/python");
    let mut check = Command::new(&python);
    check.args(["-c", "import grpc, grpc_tools.protoc, google.rpc.status_pb2"]);
    check.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let found = check.status().await.is_ok_and(|status| status.success());
    if found {
        return Some(python);
    }
    skip(&format!("{} has no gRPC; run tests/setup.sh", python.display()));
    None
}

fn client(python: &PathBuf, cluster: &Cluster, arguments: &str) -> Command {
    let mut command = Command::new(python);
    command.arg(repository().join("tests/python/client.py"));
    command.args(["--servers", &cluster.servers(), "--ca"]).arg(cluster.ca());
    command.args(arguments.split(' ')).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// P5: a client made from the proto alone opens, checks out, keeps its seat
/// through the death of the leader, returns it, and understands a denial.
#[tokio::test]
async fn python_client() {
    let Some(python) = python().await else { return };
    let options = Options { lease: Duration::from_secs(10), ..Options::default() };
    let mut cluster = Cluster::start(options).await;

    let mut keeping = client(&python, &cluster, "--feature solver --beats 30 --beat-every-ms 100");
    keeping.stdout(Stdio::piped()).stderr(Stdio::inherit());
    let process = keeping.spawn().unwrap();
    let granted: Vec<u64> = cluster.until_checkouts(1, LIMIT).await.into_keys().collect();
    let leader = cluster.leader().await;
    cluster.nodes[leader].kill9().await;
    let ended = timeout(LIMIT, process.wait_with_output()).await.unwrap().unwrap();
    let story: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{story}");
    assert_eq!(story["granted"]["checkout_id"], granted[0], "{story}");
    assert_eq!(story["granted"]["items"][0]["feature"], FEATURE, "{story}");
    assert!(story["resumed"].as_u64().is_some_and(|times| times >= 1), "{story}");
    assert_eq!(story["was_held"], true, "{story}");
    assert_eq!(story["closed"], true, "{story}");
    assert_ne!(story["opened"]["leader"], story["leader"], "{story}");
    cluster.until_checkouts(0, LIMIT).await;

    let denied = run(client(&python, &cluster, "--feature nosuch"), LIMIT).await;
    assert_eq!(denied.code(), 7, "{denied:?}");
    let story: Value = serde_json::from_str(&denied.stdout).unwrap();
    assert_eq!(story["denied"]["reason"], "REASON_FEATURE_UNKNOWN", "{story}");
}
