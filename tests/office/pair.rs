//! The incumbent's procedure for a failover pair, step by step, the other way
//! round, and with each step interrupted by `kill -9`: the office shows both
//! servers in the right roles every time.

use std::time::Duration;

use serde_json::Value;
use tonic::codegen::http::Method;
use triad_tests::{Cluster, Office, Options, wait};

const LIMIT: Duration = Duration::from_secs(30);
const BACKUP: &str = "backup_server_hostid = \"STRING:b\"";
const MAIN: &str = "main_server_hostid = \"STRING:a\"";

/// Two servers that are to be a pair, and an office. The back-up knows its main by
/// host id, or not, as in the incumbent's procedure.
async fn two(backup_knows: bool) -> (Office, Cluster) {
    let office = Office::start().await;
    let options = Options { nodes: 2, pair: true, ..Options::default() };
    let cluster = Cluster::create(options).await;
    office.adopt(&cluster, &["a", "b"], &[BACKUP, if backup_knows { MAIN } else { "" }]);
    if !backup_knows {
        cluster.nodes[1].edit("triad.toml", |text| text.replace("hostid = \"STRING:a\"\n", ""));
    }
    (office, cluster)
}

/// What View Server shows of the server of this host: host ids and roles.
async fn view(office: &Office, hostid: &str) -> Vec<(String, String)> {
    let servers = office.servers().await;
    let Some(server) = servers.iter().find(|row| row["hostid"] == hostid) else {
        return Vec::new();
    };
    let path = format!("/servers/{}", server["id"]);
    let view = office.done(Method::GET, &path, Value::Null).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let members = view["members"].as_array().unwrap();
    members.iter().map(|m| (text(&m["hostid"]), text(&m["role"]))).collect()
}

/// Waits until the pages of both servers show the pair.
async fn until_pair(office: &Office) {
    let pair =
        [("STRING:a", "MAIN"), ("STRING:b", "BACKUP")].map(|(h, r)| (h.to_owned(), r.to_owned()));
    let look = async || {
        let seen = (view(office, "STRING:a").await, view(office, "STRING:b").await);
        (seen.0 == pair && seen.1 == pair).then_some(()).ok_or(format!("{seen:?}"))
    };
    wait::until("both pages show the pair", LIMIT, look).await;
}

async fn until_heard(office: &Office, hostid: &str) {
    let look = async || {
        let outcomes = office.outcomes().await;
        outcomes.iter().any(|(host, _)| host == hostid).then_some(()).ok_or(format!("{outcomes:?}"))
    };
    wait::until(&format!("{hostid} has called"), LIMIT, look).await;
}

async fn until_licensed(office: &Office) {
    let look = async || {
        let outcomes = office.outcomes().await;
        outcomes
            .iter()
            .any(|(_, outcome)| outcome == "LICENSED")
            .then_some(())
            .ok_or(format!("{outcomes:?}"))
    };
    wait::until("the pair has its rights", LIMIT, look).await;
}

/// Maps rights to the pair, which get there by themselves.
async fn rights_arrive(office: &Office) {
    let (line_item, _) = office.sell("solver", 3).await;
    let servers = office.servers().await;
    let group = servers[0]["group"].as_str().unwrap().rsplit(' ').next().unwrap().parse().unwrap();
    office.map(group, line_item, 3).await;
    until_licensed(office).await;
}

/// P14: the incumbent's procedure for a pair, step by step.
#[tokio::test]
async fn the_procedure_step_by_step() {
    let (office, mut cluster) = two(false).await;
    // 2. BACKUP_SERVER_HOSTID, by the environment here. 3. The main server first.
    cluster.nodes[0].edit("triad.toml", |text| text.replace(BACKUP, ""));
    cluster.nodes[0].set_environment("BACKUP_SERVER_HOSTID", "STRING:b");
    cluster.nodes[0].start();
    until_pair(&office).await;
    let page = office.done(Method::GET, "/servers/1", Value::Null).await;
    let timeline = page["timeline"].to_string();
    assert!(
        timeline.contains("registered as MAIN, automatically from the request of STRING:a"),
        "{timeline}"
    );
    rights_arrive(&office).await;
    // 4. The back-up once the main server has called.
    cluster.nodes[1].start();
    until_heard(&office, "STRING:b").await;
    until_pair(&office).await;
    // Whoever serves in the place of the main has its rights.
    cluster.equal_ledgers().await;
    cluster.nodes[0].kill9().await;
    let client = cluster.client().build().unwrap();
    let seat = async || client.checkout("solver", "", 3).await.map_err(|error| error.to_string());
    wait::until("the back-up grants all of them", LIMIT, seat).await;
}

/// P14: the same the other way round, where the incumbent fails.
#[tokio::test]
async fn the_procedure_the_other_way_round() {
    let (office, mut cluster) = two(false).await;
    // The incumbent makes the back-up a main server here, and then fails.
    cluster.nodes[1].start();
    until_heard(&office, "STRING:b").await;
    assert_eq!(view(&office, "STRING:b").await, [("STRING:b".to_owned(), "SINGLE".to_owned())]);
    cluster.nodes[0].start();
    until_pair(&office).await;
    rights_arrive(&office).await;
}

#[tokio::test]
async fn a_back_up_that_knows_its_main_waits_for_it() {
    let (office, mut cluster) = two(true).await;
    cluster.nodes[1].start();
    until_heard(&office, "STRING:b").await;
    assert_eq!(
        view(&office, "STRING:b").await,
        [("STRING:b".to_owned(), "PENDING_MAIN".to_owned())]
    );
    assert_eq!(office.outcomes().await[0].1, "PENDING_MAIN");
    cluster.nodes[0].start();
    until_pair(&office).await;
    rights_arrive(&office).await;
}

/// P14: the same in both orders, with servers and office killed at each step.
#[tokio::test]
async fn each_step_interrupted_by_kill_9() {
    for (first, second) in [(0, 1), (1, 0)] {
        for backup_knows in [false, true] {
            let (mut office, mut cluster) = two(backup_knows).await;
            let hosts = ["STRING:a", "STRING:b"];
            // Killed as it starts, and as soon as it has called.
            cluster.nodes[first].start();
            cluster.nodes[first].kill9().await;
            cluster.nodes[first].start();
            until_heard(&office, hosts[first]).await;
            cluster.nodes[first].kill9().await;
            office.kill9().await;
            cluster.nodes[first].start();
            cluster.nodes[second].start();
            office.up().await;
            until_heard(&office, hosts[second]).await;
            office.kill9().await;
            cluster.nodes[second].kill9().await;
            cluster.nodes[second].start();
            office.up().await;
            until_pair(&office).await;
        }
    }
}
