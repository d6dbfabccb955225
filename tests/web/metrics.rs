//! The metrics of real nodes: what they say is what is so.

use std::collections::BTreeMap;
use std::time::Duration;

use triad_license::Day;
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Options, clock, site, wait};

use crate::strangers;

const LIMIT: Duration = Duration::from_secs(20);
const DAY_MS: u64 = 86_400_000;

/// A feature that no license names; a client makes no series of it.
const UNSOLD: &str = "unsold";

/// The samples of an answer: name with labels, and value.
pub fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        (name.to_owned(), value.parse().unwrap_or_else(|_| panic!("{line}")))
    };
    lines.map(sample).collect()
}

async fn told(cluster: &Cluster, n: usize, path: &str) -> BTreeMap<String, f64> {
    let answer = cluster.web(n).get(path, &[]).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    samples(&answer.text)
}

async fn until(
    cluster: &Cluster,
    n: usize,
    what: &str,
    wanted: impl Fn(&BTreeMap<String, f64>) -> bool,
) -> BTreeMap<String, f64> {
    let look = async || {
        let told = told(cluster, n, "/metrics").await;
        if wanted(&told) { Ok(told) } else { Err(format!("{told:#?}")) }
    };
    wait::until(what, LIMIT, look).await
}

#[tokio::test]
async fn metrics_say_what_is_so_through_grants_denials_and_a_failover() {
    let features = vec![(FEATURE.to_owned(), 3), ("mill".to_owned(), 1)];
    let mut cluster = Cluster::start(Options { features, ..Options::default() }).await;
    let client = cluster.client().user("ann").build().unwrap();
    let held = client.checkout(FEATURE, "", 2).await.unwrap();
    client.checkout("mill", "", 2).await.expect_err("there is one");
    client.checkout(UNSOLD, "", 1).await.expect_err("nobody sells it");

    let leader = cluster.leader().await;
    let now = until(&cluster, leader, "all is told", |told| {
        told.get("triad_denials_total{feature=\"\",reason=\"FEATURE_UNKNOWN\"}") == Some(&1.0)
    });
    let now = now.await;
    let is = |name: &str, value: f64| {
        assert_eq!(now.get(name), Some(&value), "{name}: {now:#?}");
    };
    is("triad_feature_seats_held{feature=\"solver\"}", 2.0);
    is("triad_feature_seats_free{feature=\"solver\"}", 1.0);
    is("triad_feature_seats_licensed{feature=\"mill\"}", 1.0);
    is("triad_grants_total{feature=\"solver\"}", 1.0);
    is("triad_denials_total{feature=\"mill\",reason=\"COUNT_EXCEEDS_TOTAL\"}", 1.0);
    is("triad_sessions", 1.0);
    is("triad_leases", 1.0);
    is("triad_session_streams", 1.0);
    is("triad_checkouts", 1.0);
    is("triad_raft_leader", 1.0);
    is("triad_voters", 3.0);
    assert!(!now.keys().any(|name| name.contains(UNSOLD)), "a client named a series: {now:#?}");
    let node = |name: &str| format!("triad_node_reachable{{node=\"{name}\"}}");
    assert!(["a", "b", "c"].iter().all(|name| now[&node(name)] == 1.0));
    assert!(now["triad_commit_seconds_count"] >= 2.0 && now["triad_log_sync_seconds_count"] >= 2.0);
    assert!(now["triad_disk_free_bytes"] > 0.0);
    let ends =
        now["triad_certificate_expiry_timestamp_seconds"] - now["triad_date_timestamp_seconds"];
    assert!(ends > 80.0 * 86_400.0, "{ends}");

    // A follower says the same of the ledger, and that it does not lead.
    let other = (leader + 1) % 3;
    let theirs = until(&cluster, other, "a follower follows", |told| {
        told.get("triad_checkouts") == Some(&1.0) && told["triad_ready"] == 1.0
    });
    let theirs = theirs.await;
    assert_eq!(theirs["triad_raft_leader"], 0.0);
    assert_eq!(theirs.get("triad_leases"), None);

    cluster.nodes[leader].kill9().await;
    let leader_name = cluster.nodes[leader].name.clone();
    let new = cluster.settled().await;
    let after = until(&cluster, new, "the failover is told", |told| {
        told.get("triad_leaderless_seconds_count").is_some_and(|count| *count >= 1.0)
            && told["triad_leader_changes_total"] >= 1.0
            && told.get(&node(&leader_name)) == Some(&0.0)
    });
    assert_eq!(after.await["triad_feature_seats_held{feature=\"solver\"}"], 2.0);
    drop(held);
}

#[tokio::test]
async fn a_node_alone_lives_and_is_not_ready() {
    let mut cluster = Cluster::start(Options::default()).await;
    for n in 0..3 {
        let answer = cluster.web(n).get("/readyz", &[]).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.text.starts_with("ready: "), "{answer:?}");
    }
    cluster.nodes[1].kill9().await;
    cluster.nodes[2].kill9().await;
    let look = async || {
        let answer = cluster.web(0).get("/readyz", &[]).await.unwrap();
        if answer.status == 503 { Ok(answer) } else { Err(format!("{answer:?}")) }
    };
    let answer = wait::until("it says that it is of no use", LIMIT, look).await;
    assert!(answer.text.starts_with("not ready: "), "{answer:?}");
    assert_eq!(cluster.web(0).get("/healthz", &[]).await.unwrap().text, "ok\n");
    assert_eq!(told(&cluster, 0, "/metrics").await["triad_ready"], 0.0);
}

#[tokio::test]
async fn boards_made_for_the_exporter_of_flexnet_find_their_series() {
    let mut cluster = Cluster::start(Options::default()).await;
    let client = cluster.client().user("ann").build().unwrap();
    let _held = client.checkout(FEATURE, "2026.1", 2).await.unwrap();
    let leader = cluster.leader().await;
    let now = told(&cluster, leader, "/metrics/flexlm").await;
    let value = |begin: &str, part: &str| {
        let mut found = now.iter().filter(|(n, _)| n.starts_with(begin) && n.contains(part));
        let (_, value) = found.next().unwrap_or_else(|| panic!("{begin} {part}: {now:#?}"));
        *value
    };
    assert_eq!(value("flexlm_feature_issued{", "name=\"solver\""), 100.0);
    assert_eq!(value("flexlm_feature_used{", "name=\"solver\""), 2.0);
    assert_eq!(value("flexlm_server_status{", "master=\"true\""), 1.0);
    assert_eq!(value("flexlm_vendor_status{", "version=\"v"), 1.0);
    assert_eq!(value("flexlm_lmstat_info{", "build=\"0\",version=\"v"), 1.0);
    let together = "features=\"1\",index=\"0\",licenses=\"100\"";
    let ends = value("flexlm_feature_aggregate_expiration_seconds{", together);
    assert_eq!(value("flexlm_feature_expiration_seconds{", "name=\"solver\""), ends);
    // Nobody is asked for labels that the exporter does not have, nor misses any.
    let labels = |begin: &str| -> Vec<String> {
        let name = now.keys().find(|name| name.starts_with(begin)).expect("it was just there");
        let inside = &name[begin.len()..name.len() - 1];
        inside.split("\",").map(|pair| pair.split_once('=').unwrap().0.to_owned()).collect()
    };
    let of_server = ["app", "fqdn", "master", "port", "version"];
    assert_eq!(labels("flexlm_server_status{"), of_server);
    let of_right = ["app", "index", "licenses", "name", "vendor", "version"];
    assert_eq!(labels("flexlm_feature_expiration_seconds{"), of_right);
    let up = now.keys().filter(|name| name.starts_with("flexlm_server_status{"));
    assert_eq!(up.count(), 3);
    assert!(!now.keys().any(|name| name.contains("ann")), "users are personal: {now:#?}");

    let file = cluster.folder().join("exporter.token");
    let create = format!("token create --role viewer --label exporter --out {}", file.display());
    assert_eq!(cluster.triad(&create).await.code(), 0);
    let bearer = format!("Bearer {}", std::fs::read_to_string(&file).unwrap().trim());
    let headers = [("authorization", bearer.as_str())];
    let answer = cluster.web(leader).get("/metrics/flexlm", &headers).await.unwrap();
    let users: Vec<_> =
        answer.text.lines().filter(|l| l.starts_with("flexlm_feature_used_users{")).collect();
    assert_eq!(users.len(), 1, "{users:?}");
    assert!(users[0].contains("user=\"ann\",version=\"(v20"), "{users:?}");
    let since = users[0].split_once("since=\"").and_then(|(_, rest)| rest.split_once('"')).unwrap();
    let since: u64 = since.0.parse().unwrap();
    let now_s = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    assert!(since.is_multiple_of(60) && now_s.abs_diff(since) < 3_600, "{users:?}");
    assert!(users[0].ends_with(" 2"), "{users:?}");
    // Who asks with a token is in the history.
    wait::until("the use is noted", LIMIT, async || {
        let asked = cluster.authorized(triad_proto::v1::ListTokensRequest {});
        let tokens = cluster.admin(leader).list_tokens(asked).await.unwrap().into_inner().tokens;
        let used = tokens.iter().any(|token| token.label == "exporter" && token.used_ms > 0);
        used.then_some(()).ok_or_else(|| format!("{tokens:?}"))
    })
    .await;

    // A leader that nobody follows is no master.
    for other in cluster.others(leader) {
        cluster.nodes[other].kill9().await;
    }
    wait::until("nobody is master, and this one is up", LIMIT, async || {
        let now = told(&cluster, leader, "/metrics/flexlm").await;
        let servers: Vec<_> = now.iter().filter(|(n, _)| n.starts_with("flexlm_server_")).collect();
        assert_eq!(servers.len(), 3, "{now:#?}");
        let no_master = servers.iter().all(|(name, _)| name.contains("master=\"false\""));
        let up = servers.iter().filter(|(_, up)| **up == 1.0).count();
        if no_master && up == 1 { Ok(()) } else { Err(format!("{servers:?}")) }
    })
    .await;
}

/// A license that is over is told by the metric that alerts look at, and on the
/// first page, until another is in force.
#[tokio::test]
async fn a_license_that_ended_is_told_until_another_is_in_force() {
    let cluster = Cluster::start(Options { nodes: 1, ..Options::default() }).await;
    let mill = site::line("mill", 2, "");
    // The last day ends when the next one begins.
    let ends_ms = (clock::now_ms() / DAY_MS - 2) * DAY_MS;
    let last_day = Day::in_utc(ends_ms - 1).unwrap();
    let ended = mill.replace("\"permanent\"", &last_day.to_string()) + &site::line("lathe", 1, "");
    let metric = "triad_feature_expiry_timestamp_seconds{feature=\"mill\"}";
    let (cookie, _) = strangers::sign_in(&cluster.web(0), cluster.token()).await;
    let page = async || {
        let answer = cluster.web(0).get("/", &[("cookie", &cookie)]).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text
    };
    let told = format!(
        "The license of mill has ended, last day {last_day}, and nothing in force replaces it"
    );

    cluster.license(&site::license(&cluster, 1, &ended)).await;
    until(&cluster, 0, "its end is told", |told| {
        told.get(metric) == Some(&(ends_ms as f64 / 1_000.0))
    })
    .await;
    let shown = page().await;
    assert!(shown.contains(&told) && shown.contains("Degraded"), "{shown}");

    cluster.license(&site::license(&cluster, 2, &(ended + &mill))).await;
    until(&cluster, 0, "it has no end", |told| !told.contains_key(metric)).await;
    let shown = page().await;
    assert!(!shown.contains(&told) && shown.contains("Healthy"), "{shown}");
}
