//! What Prometheus' own tool says of our metrics and our alerts, and whether the
//! board and the alerts speak of metrics that are there.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use triad_tests::cluster::FEATURE;
use triad_tests::node::run;
use triad_tests::{Cluster, Options, skip};

const LIMIT: Duration = Duration::from_secs(60);

fn deploy(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(path)
}

/// Prometheus' tool, if it is here.
fn promtool() -> Option<Command> {
    let found = std::process::Command::new("promtool").arg("--version").output();
    if found.is_err() {
        skip::skip("promtool is not installed, see tests/setup.sh");
        return None;
    }
    Some(Command::new("promtool"))
}

#[tokio::test]
async fn the_alerts_fire_when_they_should_and_only_then() {
    for (verb, file) in [("check", "triad.rules.yml"), ("test", "triad.test.yml")] {
        let Some(mut tool) = promtool() else { return };
        tool.args([verb, "rules", file]).current_dir(deploy("prometheus"));
        let ended = run(tool, LIMIT).await;
        assert!(ended.status.success(), "{ended:?}");
    }
}

#[tokio::test]
async fn prometheus_finds_nothing_wrong_with_the_metrics() {
    let Some(_) = promtool() else { return };
    let cluster = Cluster::start(Options::default()).await;
    let client = cluster.client().build().unwrap();
    let _held = client.checkout(FEATURE, "", 1).await.unwrap();
    client.checkout("nothing", "", 1).await.expect_err("nobody sells it");
    for path in ["/metrics", "/metrics/flexlm"] {
        let text = cluster.web(0).get(path, &[]).await.unwrap().text;
        let mut tool = promtool().expect("it was just there");
        tool.args(["check", "metrics"]).stdin(Stdio::piped());
        tool.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut tool = tool.spawn().unwrap();
        let mut input = tool.stdin.take().expect("it is piped");
        input.write_all(text.as_bytes()).await.unwrap();
        drop(input);
        let ended = tool.wait_with_output().await.unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success() && said.is_empty(), "{path}: {said}\n{text}");
    }
}

/// The names of ours in a text: whatever begins as they do.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| word.starts_with("triad_"));
    let plain = |word: &str| {
        let word = word.strip_suffix("_bucket").unwrap_or(word);
        word.to_owned()
    };
    ours.map(plain).collect()
}

#[tokio::test]
async fn the_board_and_the_alerts_name_metrics_that_exist() {
    let page = deploy("../docs/reference/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    let documented: BTreeSet<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect();
    let cluster = Cluster::start(Options { nodes: 1, ..Options::default() }).await;
    let text = cluster.web(0).get("/metrics", &[]).await.unwrap().text;
    let told: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, _)| name.to_owned())
        .collect();
    assert!(told.len() > 30 && told.is_subset(&documented), "{told:?}");
    for file in ["grafana/triad.json", "prometheus/triad.rules.yml", "prometheus/triad.test.yml"] {
        let text = std::fs::read_to_string(deploy(file)).unwrap();
        let named = names(&text);
        assert!(named.len() > 5, "{file}: {named:?}");
        let unknown: Vec<_> = named.difference(&told).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}, which no node tells");
    }
    let board = std::fs::read_to_string(deploy("grafana/triad.json")).unwrap();
    let board: serde_json::Value = serde_json::from_str(&board).unwrap();
    assert!(board["panels"].as_array().unwrap().len() > 10);
}
