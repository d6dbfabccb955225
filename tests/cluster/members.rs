//! Nodes that join, leave, and take the place of others, while clients hold and
//! take seats.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Child;
use tokio::time::timeout;
use triad_proto::v1::{self, Reason, Refusal};
use triad_tests::cluster::FEATURE;
use triad_tests::{Cluster, Holders, Options, wait};

const LIMIT: Duration = Duration::from_secs(20);

/// `triad node ...` under way.
pub(super) fn spawned(cluster: &Cluster, arguments: &str) -> Child {
    let mut command = cluster.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true).spawn().unwrap()
}

pub(super) async fn done(child: Child) -> String {
    let ended = timeout(2 * LIMIT, child.wait_with_output()).await.expect("it ends").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(ended.status.success(), "{}{}", text(&ended.stdout), text(&ended.stderr));
    text(&ended.stdout)
}

/// Where the directory of a node that joins is made.
pub(super) async fn made(cluster: &Cluster, name: &str) -> PathBuf {
    let directory = cluster.folder().join(name);
    let look = async || directory.join("data/joining").exists().then_some(()).ok_or(String::new());
    wait::until("its directory is made", LIMIT, look).await;
    directory
}

pub(super) async fn is_whole(cluster: &Cluster, nodes: usize) {
    let look = async || {
        let status = cluster.triad("status").await;
        let healthy = format!("Healthy: {nodes} of {nodes} nodes");
        status.stdout.contains(&healthy).then_some(()).ok_or(status.stdout)
    };
    wait::until("the cluster is whole", LIMIT, look).await;
}

/// P5, P8: a node whose disk is gone comes back as a new member, at the same
/// address. Nobody loses a seat, and the new node counts: with it and one other
/// the cluster serves.
#[tokio::test]
async fn a_lost_disk_is_replaced_in_its_place() {
    let mut cluster = Cluster::start(Options::default()).await;
    let holders = Holders::seat(&cluster, 20).await;
    let leader = cluster.settled().await;
    let [lost, other] = cluster.others(leader);
    let name = cluster.nodes[lost].name.clone();
    cluster.nodes[lost].kill9().await;
    std::fs::remove_dir_all(cluster.nodes[lost].data()).unwrap();

    let directory = cluster.folder().display().to_string();
    let replacing = spawned(&cluster, &format!("node replace {name} --dir {directory} --yes"));
    let new = made(&cluster, &format!("{name}-4")).await;
    cluster.adopt(&new, Some(lost));
    cluster.nodes[lost].start();
    let said = done(replacing).await;
    assert!(said.contains(&format!("node 4 ({name}) takes part")), "{said}");
    is_whole(&cluster, 3).await;
    holders.assert_kept(&cluster).await;
    cluster.equal_ledgers().await;

    // It has a vote, and all that the others had.
    cluster.nodes[leader].kill9().await;
    let probe = cluster.client().user("probe").build().unwrap();
    probe.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    holders.until_held(LIMIT).await;
    holders.assert_kept(&cluster).await;
    cluster.nodes[leader].start();
    cluster.settled().await;
    cluster.nodes[other].kill9().await;
    probe.checkout(FEATURE, "", 1).await.unwrap().give_back().await.unwrap();
    holders.until_held(LIMIT).await;
    holders.assert_kept(&cluster).await;
    cluster.nodes[other].start();
    cluster.equal_ledgers().await;
    let verified = cluster.triad("audit verify").await;
    assert_eq!(verified.code(), 0, "{}{}", verified.stdout, verified.stderr);
}

/// P5: the leader itself is replaced by another host while it lives. It hands
/// over first, and its process ends by itself when it learns that it is out.
#[tokio::test]
async fn a_living_leader_is_replaced_by_another_host() {
    let mut cluster = Cluster::start(Options::default()).await;
    let holders = Holders::seat(&cluster, 20).await;
    let old = cluster.settled().await;
    let name = cluster.nodes[old].name.clone();
    let (place, directory) = (cluster.spare_place("d"), cluster.folder().display().to_string());
    let command = format!("node replace {name} --with {place} --dir {directory} --yes");
    let prepared = cluster.triad(&format!("{command} --prepare")).await;
    assert_eq!(prepared.code(), 0, "{}", prepared.stderr);
    let new = cluster.adopt(&cluster.folder().join("d-4"), None);
    cluster.nodes[new].start();
    done(spawned(&cluster, &command)).await;

    let ended = cluster.nodes[old].stopped().await;
    assert_eq!(ended.code(), Some(1), "{}", cluster.nodes[old].log());
    assert!(cluster.nodes[old].log().contains("takes part no longer"));
    // Nor does it come back.
    let refused = cluster.nodes[old].start_or_refuse().await;
    if refused.is_none() {
        assert_eq!(cluster.nodes[old].stopped().await.code(), Some(1));
    }
    is_whole(&cluster, 3).await;
    holders.until_held(LIMIT).await;
    holders.assert_kept(&cluster).await;
    cluster.equal_ledgers().await;
}

/// P5: a site that began with one node grows to three, and back, and nobody
/// loses a seat.
#[tokio::test]
async fn one_grows_to_three_and_back() {
    let mut cluster = Cluster::start(Options { nodes: 1, ..Options::default() }).await;
    let holders = Holders::seat(&cluster, 10).await;
    let directory = cluster.folder().display().to_string();
    for (id, name) in [(2, "b"), (3, "c")] {
        let place = cluster.spare_place(name);
        if id == 2 {
            // Nobody waits for ever, and what was begun goes on.
            let late =
                cluster.triad(&format!("node add {place} --dir {directory} --wait 2s")).await;
            assert_eq!(late.code(), 5, "{}{}", late.stdout, late.stderr);
            let said = "node 2 (b) did not answer at 127.0.0.1:";
            assert!(late.stderr.contains(said), "{}", late.stderr);
            assert!(late.stderr.contains("give the same command again"), "{}", late.stderr);
        }
        let adding = spawned(&cluster, &format!("node add {place} --dir {directory}"));
        let new = made(&cluster, &format!("{name}-{id}")).await;
        let new = cluster.adopt(&new, None);
        cluster.nodes[new].start();
        done(adding).await;
        is_whole(&cluster, id).await;
        holders.assert_kept(&cluster).await;
    }
    cluster.equal_ledgers().await;
    let folder = cluster.folder().to_owned();
    let directory_of = |name: &str| folder.join(name);
    let clients = Holders::seat(&cluster, 5).await;
    let leader = cluster.settled().await;
    cluster.nodes[leader].kill9().await;
    clients.until_held(LIMIT).await;
    cluster.nodes[leader].start();
    cluster.settled().await;

    let refused = cluster.triad("node remove b --yes").await;
    assert_eq!(refused.code(), 2, "{}", refused.stdout);
    assert!(refused.stderr.contains("survive"), "{}", refused.stderr);
    let removed = cluster.triad("node remove b --yes --force").await;
    assert_eq!(removed.code(), 0, "{}", removed.stderr);
    let b = cluster.nodes.iter().position(|node| node.name == "b").unwrap();
    cluster.nodes[b].stopped().await;
    clients.until_held(LIMIT).await;
    clients.assert_kept_among(&cluster, &holders).await;

    // The highest leaves, and its id is not given again: what is left of it may still speak.
    let removed = cluster.triad("node remove c --yes --force").await;
    assert_eq!(removed.code(), 0, "{}", removed.stderr);
    let c = cluster.nodes.iter().position(|node| node.name == "c").unwrap();
    cluster.nodes[c].stopped().await;
    let place = cluster.spare_place("d");
    let adding = format!("node add {place} --dir {directory} --prepare");
    let prepared = cluster.triad(&adding).await;
    assert_eq!(prepared.code(), 0, "{}{}", prepared.stdout, prepared.stderr);
    assert!(directory_of("d-4").exists(), "{}", prepared.stdout);
    let add = Some(v1::NewMember {
        node_id: 3,
        name: "d".to_owned(),
        client_address: "lic-d:27070".to_owned(),
        peer_address: "lic-d:27071".to_owned(),
    });
    let request = cluster.authorized(v1::ChangeMembersRequest { add, remove_node_id: 0 });
    let leader = cluster.leader().await;
    let mut answer = cluster.admin(leader).change_members(request).await.unwrap().into_inner();
    let refusal = Refusal::from_status(&answer.message().await.expect_err("it is refused"));
    assert!(refusal.message.contains("the next one is 4"), "{}", refusal.message);

    // One that was to join and never came is removed like any other.
    let late = cluster.triad(&format!("node add {place} --dir {directory} --wait 1s")).await;
    assert_eq!(late.code(), 5, "{}{}", late.stdout, late.stderr);
    let removed = cluster.triad("node remove d --yes --force").await;
    assert_eq!(removed.code(), 0, "{}{}", removed.stdout, removed.stderr);
    is_whole(&cluster, 1).await;
}

/// Leaders that die while a node joins change nothing: the next one goes on.
#[tokio::test]
async fn leaders_die_while_a_node_is_replaced() {
    let mut cluster = Cluster::start(Options::default()).await;
    let holders = Holders::seat(&cluster, 10).await;
    let directory = cluster.folder().display().to_string();
    let leader = cluster.settled().await;
    let [lost, _] = cluster.others(leader);
    let name = cluster.nodes[lost].name.clone();
    let place = cluster.spare_place("d");
    let command = format!("node replace {name} --with {place} --dir {directory} --yes");
    let replacing = spawned(&cluster, &command);
    let new = made(&cluster, "d-4").await;
    let learns = |node: &v1::NodeStatus| node.name == "d" && node.role() == v1::Role::Learner;
    for _ in 0..3 {
        let is_known = |s: &triad_tests::Sightings| {
            let leader = s.leader()?;
            s.0[leader].as_ref().ok()?.nodes.iter().any(learns).then_some(leader)
        };
        let leader = cluster.until("the new node is known", LIMIT, is_known).await;
        cluster.nodes[leader].kill9().await;
        cluster.leader().await;
        cluster.nodes[leader].start();
        cluster.settled().await;
    }
    let new = cluster.adopt(&new, None);
    cluster.nodes[new].start();
    // Wherever it is by now: before the vote, between its two steps, or after.
    let leader = cluster.leader().await;
    cluster.nodes[leader].kill9().await;
    cluster.nodes[leader].start();
    done(replacing).await;
    if cluster.nodes[lost].runs() {
        cluster.nodes[lost].stopped().await;
    }
    is_whole(&cluster, 3).await;
    holders.until_held(LIMIT).await;
    holders.assert_kept(&cluster).await;
    cluster.equal_ledgers().await;
}

/// What would break the cluster or confuse it is refused, and says why.
#[tokio::test]
async fn changes_that_cannot_be_are_refused() {
    let mut cluster = Cluster::start(Options::default()).await;
    let leader = cluster.settled().await;
    let change = async |add: Option<(u64, &str, &str)>, remove_node_id| {
        let add = add.map(|(node_id, name, peers)| v1::NewMember {
            node_id,
            name: name.to_owned(),
            client_address: "lic-x:27070".to_owned(),
            peer_address: peers.to_owned(),
        });
        let request = cluster.authorized(v1::ChangeMembersRequest { add, remove_node_id });
        let refused = match cluster.admin(leader).change_members(request).await {
            Err(status) => status,
            Ok(answer) => answer.into_inner().message().await.expect_err("it is refused"),
        };
        let refusal = Refusal::from_status(&refused);
        (refusal.reason(), refusal.message)
    };
    let peers = &cluster.nodes[cluster.others(leader)[0]].peer_address;
    for (add, remove, reason, word) in [
        (None, 0, Reason::InvalidRequest, "neither"),
        (Some((3, "x", "lic-x:1")), 0, Reason::InvalidRequest, "takes part already"),
        (Some((4, "a", "lic-x:1")), 0, Reason::InvalidRequest, "belongs to node 1"),
        (Some((4, "x", peers)), 0, Reason::InvalidRequest, "belongs to node"),
        (Some((4, "X\u{1b}[2J", "lic-x:1")), 0, Reason::InvalidRequest, "lower-case"),
        (Some((4, "x", "lic x")), 0, Reason::InvalidRequest, "host:port"),
    ] {
        let (found, message) = change(add, remove).await;
        assert_eq!(found, reason, "{message}");
        assert!(message.contains(word), "{message}");
    }
    let command = "node remove a --yes";
    assert_eq!(cluster.triad(command).await.code(), 2, "what is left would survive less");
    assert_eq!(cluster.triad("node replace x --dir /nowhere --yes").await.code(), 2);
    let rehearsed = cluster.triad("node remove a --dry-run").await;
    assert_eq!(rehearsed.code(), 0, "{}", rehearsed.stderr);
    assert!(rehearsed.stdout.contains("without --force this is refused"), "{rehearsed:?}");
    let rehearsed = cluster.triad("node remove a --dry-run --force").await;
    assert!(!rehearsed.stdout.contains("refused"), "{rehearsed:?}");

    // Without a quorum nothing is changed, and that is said in time.
    for n in cluster.others(leader) {
        cluster.nodes[n].kill9().await;
    }
    let directory = cluster.folder().display().to_string();
    let name = cluster.nodes[cluster.others(leader)[0]].name.clone();
    let refused = cluster.triad(&format!("node replace {name} --dir {directory} --yes")).await;
    assert_eq!(refused.code(), 4, "{}{}", refused.stdout, refused.stderr);
    for n in cluster.others(leader) {
        cluster.nodes[n].start();
    }
    cluster.settled().await;
    is_whole(&cluster, 3).await;
}

/// P8: a node that is to join, with the mark of one that founds, is told by the leader
/// that it takes no part, and stops. Nobody loses anything by it.
#[tokio::test]
async fn a_new_node_with_the_mark_of_a_founder_does_no_harm() {
    let mut cluster = Cluster::start(Options::default()).await;
    let holders = Holders::seat(&cluster, 5).await;
    let (place, directory) = (cluster.spare_place("d"), cluster.folder().display().to_string());
    let command = format!("node add {place} --dir {directory}");
    let prepared = cluster.triad(&format!("{command} --prepare")).await;
    assert_eq!(prepared.code(), 0, "{}", prepared.stderr);
    let new = cluster.adopt(&cluster.folder().join("d-4"), None);
    let data = cluster.nodes[new].data();
    std::fs::rename(data.join("joining"), data.join("newborn")).unwrap();
    let refused = cluster.nodes[new].start_in_vain().await;
    assert_eq!(refused.code(), 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("it takes part no longer"), "{}", refused.stderr);
    is_whole(&cluster, 3).await;
    holders.until_held(LIMIT).await;
    holders.assert_kept(&cluster).await;
    cluster.equal_ledgers().await;

    // With an empty directory and its own mark it is let in.
    std::fs::remove_dir_all(&data).unwrap();
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("joining"), "").unwrap();
    cluster.nodes[new].start();
    let added = cluster.triad(&command).await;
    assert_eq!(added.code(), 0, "{}{}", added.stdout, added.stderr);
    is_whole(&cluster, 4).await;
    cluster.equal_ledgers().await;
    let told = cluster.triad("events").await.stdout;
    assert!(told.contains("node add d (node 4)"), "{told}");
}

/// The highest of those that vote leaves while one is to join that never comes: the id of
/// neither is given again.
#[tokio::test]
async fn ids_are_not_given_again_for_one_that_never_came() {
    let mut cluster = Cluster::start(Options::default()).await;
    let directory = cluster.folder().display().to_string();
    let place = cluster.spare_place("d");
    let late = cluster.triad(&format!("node add {place} --dir {directory} --wait 1s")).await;
    assert_eq!(late.code(), 5, "{}{}", late.stdout, late.stderr);
    for name in ["c", "d"] {
        let removed = cluster.triad(&format!("node remove {name} --yes --force")).await;
        assert_eq!(removed.code(), 0, "{}{}", removed.stdout, removed.stderr);
    }
    cluster.nodes[2].stopped().await;
    let place = cluster.spare_place("e");
    let prepared = cluster.triad(&format!("node add {place} --dir {directory} --prepare")).await;
    assert_eq!(prepared.code(), 0, "{}{}", prepared.stdout, prepared.stderr);
    assert!(cluster.folder().join("e-5").exists(), "{}", prepared.stdout);
}
