//! What somebody can do with the files of a server that were copied.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tonic::codegen::http::Method;
use triad_tests::{Cluster, Office, Options, wait};

const LIMIT: Duration = Duration::from_secs(30);

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// One server with five seats of its office.
async fn robbed(office: &Office) -> Cluster {
    let (_, rights_id) = office.sell("solver", 5).await;
    let mut cluster = Cluster::create(Options { nodes: 1, ..Options::default() }).await;
    office.adopt(&cluster, &["a"], &[&format!("rights = [{{ id = \"{rights_id}\" }}]")]);
    cluster.nodes[0].start();
    let look = async || {
        let listed = cluster.triad("license list -o json").await.stdout;
        let value: Value = serde_json::from_str(&listed).unwrap_or_default();
        value["licenses"].as_array().is_some_and(|all| all.len() == 1).then_some(()).ok_or(listed)
    };
    wait::until("the rights are there", LIMIT, look).await;
    cluster.nodes[0].sigterm().await;
    cluster
}

/// P10: a copied server on another machine does not serve what it holds.
#[tokio::test]
async fn a_stolen_database_is_useless_on_another_host_id() {
    let office = Office::start().await;
    let cluster = robbed(&office).await;
    // Even with all other files, the key and the certificate among them.
    let node = &cluster.nodes[0];
    node.edit("triad.toml", |text| text.replace("STRING:a", "STRING:thief"));
    let ended = node.start_in_vain().await;
    assert_ne!(ended.code(), 0);
    assert!(ended.stderr.contains("STRING:a") && ended.stderr.contains("bound to"), "{ended:?}");
    // Nor where the publisher is not trusted any more: who copies files can also change them.
    node.edit("triad.toml", |text| {
        let is_key = |line: &&str| !line.starts_with("publisher_keys");
        text.lines().filter(is_key).map(|line| format!("{line}\n")).collect()
    });
    let ended = node.start_in_vain().await;
    assert_ne!(ended.code(), 0);
    assert!(ended.stderr.contains("STRING:a") && ended.stderr.contains("bound to"), "{ended:?}");
}

/// P10: copied data is refused by a node of another cluster.
#[tokio::test]
async fn a_stolen_database_is_useless_in_another_cluster() {
    let office = Office::start().await;
    let cluster = robbed(&office).await;
    let thief = Cluster::create(Options { nodes: 1, ..Options::default() }).await;
    office.adopt(&thief, &["a"], &[""]);
    fs::remove_dir_all(thief.nodes[0].data()).unwrap();
    copy(&cluster.nodes[0].data(), &thief.nodes[0].data());
    let ended = thief.nodes[0].start_in_vain().await;
    assert_ne!(ended.code(), 0);
    let told = "data/log/state: this file belongs to another node or cluster";
    assert!(ended.stderr.contains(told), "{ended:?}");
}

#[tokio::test]
async fn the_office_takes_no_other_key_of_a_server_it_knows() {
    let office = Office::start().await;
    let _cluster = robbed(&office).await;
    // The same host id, a cluster and a key of its own.
    let mut thief = Cluster::create(Options { nodes: 1, ..Options::default() }).await;
    office.adopt(&thief, &["a"], &[""]);
    thief.nodes[0].start();
    let look = async || {
        let requests = office.done(Method::GET, "/requests?q=KEY_CHANGED", Value::Null).await;
        (requests["total"] != 0).then_some(()).ok_or(requests.to_string())
    };
    wait::until("the thief is refused", LIMIT, look).await;
    let listed = thief.triad("license list -o json").await.stdout;
    assert!(!listed.contains("solver"), "{listed}");
    assert!(thief.nodes[0].log().contains("called with another key before"));
}
