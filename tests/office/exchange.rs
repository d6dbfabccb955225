//! Three empty nodes and an office that has mapped rights to them: they come up
//! and serve, and follow what changes in the office.

use std::time::Duration;

use serde_json::{Value, json};
use tonic::codegen::http::Method;
use triad_tests::{Cluster, Office, Options, wait};

const LIMIT: Duration = Duration::from_secs(30);
const NAMES: [&str; 3] = ["a", "b", "c"];

/// Registers the triad by hand and maps copies to it.
async fn registered(office: &Office, line_item: i64, copies: u32) -> i64 {
    let hosts = NAMES.map(|name| format!("STRING:{name}"));
    let group = json!({ "kind": "triad", "hostids": hosts });
    let group = office.done(Method::POST, "/groups", group).await["group"].as_i64().unwrap();
    office.map(group, line_item, copies).await;
    group
}

/// Waits until the cluster has so many seats of the feature.
async fn until_seats(cluster: &Cluster, seats: u64) {
    let look = async || {
        let answer = cluster.triad("features -o json").await;
        let value: Value =
            serde_json::from_str(&answer.stdout).map_err(|e| format!("{e} {answer:?}"))?;
        let pools = value["pools"].as_array().cloned().unwrap_or_default();
        let number =
            |pool: &Value| pool["seatsLicensed"].as_str().and_then(|n| n.parse::<u64>().ok());
        let found: u64 = pools.iter().filter_map(number).sum();
        (found == seats).then_some(()).ok_or(format!("{found} seats: {value}"))
    };
    wait::until(&format!("there are {seats} seats"), LIMIT, look).await;
}

/// P14: nodes and office start in any order, and rights arrive by themselves.
#[tokio::test]
async fn an_empty_triad_serves_without_a_hand_on_it_and_follows_the_office() {
    let mut office = Office::start().await;
    let (line_item, _) = office.sell("solver", 10).await;
    let group = registered(&office, line_item, 4).await;
    let mut cluster = Cluster::create(Options::default()).await;
    office.adopt(&cluster, &NAMES, &["", "", ""]);
    for n in [2, 0, 1] {
        cluster.nodes[n].start();
    }
    until_seats(&cluster, 4).await;
    let client = cluster.client().build().unwrap();
    let seat = client.checkout("solver", "", 1).await.unwrap();

    // More and less arrive without a restart; the office credits what came back.
    office.map(group, line_item, 6).await;
    until_seats(&cluster, 6).await;
    office.map(group, line_item, 1).await;
    until_seats(&cluster, 1).await;
    let credited = async || {
        let items = office.done(Method::GET, "/line-items", Value::Null).await;
        let mapped = items["rows"][0]["mapped"].as_i64().unwrap();
        (mapped == 1).then_some(()).ok_or(format!("{mapped} mapped"))
    };
    wait::until("the five copies are credited", LIMIT, credited).await;

    // The office may be away, and the leader may die.
    office.kill9().await;
    let leader = cluster.leader().await;
    cluster.nodes[leader].kill9().await;
    office.up().await;
    office.map(group, line_item, 3).await;
    until_seats(&cluster, 3).await;
    cluster.nodes[leader].start();
    let seen = async || {
        let servers = office.servers().await;
        let called = servers.iter().filter(|row| row["version"] != "").count();
        (called == 3).then_some(()).ok_or(format!("{servers:?}"))
    };
    wait::until("the office has heard of all three", LIMIT, seen).await;
    assert!(office.servers().await.iter().all(|row| row["role"] == "MEMBER"));
    let asks = office.done(Method::GET, "/requests?q=LICENSED", Value::Null).await;
    assert!(asks["rows"].as_array().unwrap().iter().all(|row| row["operation"] == "request"));
    drop(seat);
    drop(client);

    // All of it is taken back: nothing is left to be granted.
    office.map(group, line_item, 0).await;
    until_seats(&cluster, 0).await;
}

#[tokio::test]
async fn servers_that_know_a_rights_id_register_themselves_and_get_their_rights() {
    let office = Office::start().await;
    let (_, rights_id) = office.sell("solver", 7).await;
    let mut cluster = Cluster::create(Options::default()).await;
    let more = format!("rights = [{{ id = \"{rights_id}\", copies = 5 }}, {{ id = \"R-NONE\" }}]");
    office.adopt(&cluster, &NAMES, &[&more, &more, &more]);
    for node in &mut cluster.nodes {
        node.start();
    }
    until_seats(&cluster, 5).await;
    let requests = office.done(Method::GET, "/requests?q=LICENSED", Value::Null).await;
    assert_eq!(requests["rows"][0]["message"], "R…: RIGHTS_UNKNOWN");
    let items = office.done(Method::GET, "/line-items", Value::Null).await;
    assert_eq!(items["rows"][0]["mapped"], 5, "once, however often it was asked");
    let servers = office.servers().await;
    assert_eq!(servers.len(), 3);
    assert!(servers.iter().all(|row| row["group"] == servers[0]["group"]));
}
